// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Slots and who they belong to: given to a node that joins, handed on to one that replaces a dead one,
 * and taken back from one that is removed.
 *
 * A slot is more than its row of nodes: its claims and its area go on. Whoever has it next takes over the numbers
 * of its sectors and its ballots, and finds by walking the logs what of the area they stand on
 * (area_rebuild()), as after a restart. Epochs tell whose they were, so that they stay readable.
 *
 * That a node is dead is judged as for a start on another machine: no sign of life for a lease; then
 * the row is written, and read again after longer than a write can stay in flight. One that was only
 * stopped finds another incarnation in its row before it writes (node_held()).
 */
#include "disk_int.h"
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>

static int io_err(struct disk *d, struct hf_err *err, int ret)
{
	return hf_fail(err, HF_UNAVAIL, ret, "the quorum disk %s does not answer: %s", d->path, disk_strerror(d, ret));
}

static bool held(const struct seen *s)
{
	return s->status == SLOT_OK && s->rec.state != NODE_ST_REMOVED;
}

/* for writing into rows, with an identity that nobody has yet */
static int open_as(const char *dev, const struct hf_keys *keys, const uint8_t uuid[16], struct hf_identity *id,
		   struct disk **out, struct hf_err *err)
{
	struct hf_store_params p = { .keys = keys };
	struct hf_store *st;
	int ret;

	if (uuid)
		memcpy(id->uuid, uuid, 16);
	else
		hf_uuid_make(id->uuid);
	/* opened without an identity for its superblock, then for writing */
	ret = hf_store_open(dev, &p, &st, err);
	if (ret)
		return ret;
	memcpy(id->disk, disk_of(st)->sb.disk_uuid, 16);
	disk_close(st);
	p.id = id;
	ret = hf_store_open(dev, &p, &st, err);
	if (!ret)
		*out = disk_of(st);
	return ret;
}

static int name_free(struct disk *d, const char *name, uint32_t but, struct hf_err *err)
{
	for (uint32_t i = 0; i < d->sb.slots; i++)
		if (i != but && held(&d->seen[i]) && !strcmp(d->seen[i].rec.name, name))
			return hf_fail(err, HF_EXISTS, -EEXIST,
				       "cluster %s has a node %s already (host %s); give this one another name in [node] name, or, if that machine is gone for good, take its place with holdfast node replace %s",
				       d->sb.cluster, name, d->seen[i].rec.host, name);
	return 0;
}

/* Write @id into the row of @slot, wait, and read: 1 it is there, 0 another is. */
static int settle_in(struct disk *d, struct hf_identity *id, uint32_t slot, struct hf_err *err)
{
	const struct seen *s = &d->seen[slot];
	int ret;

	id->slot = d->id.slot = slot;
	memset(&d->me, 0, sizeof(d->me));
	d->me_which = 0;
	if (s->status == SLOT_OK) {
		d->me.seq = s->rec.seq;
		d->me.counter = s->rec.counter;
		d->me_which = s->newest;
	}
	memcpy(d->me.uuid, id->uuid, 16);
	hf_uuid_make(d->me.incarnation);
	snprintf(d->me.name, sizeof(d->me.name), "%s", id->name);
	gethostname(d->me.host, sizeof(d->me.host) - 1);
	d->me.state = NODE_ST_LEFT;
	d->me.proto_min = d->me.proto_max = 1;
	snprintf(d->me.version, sizeof(d->me.version), "%s", HF_VERSION);
	ret = node_write(d);
	if (ret)
		return io_err(d, err, ret);
	hf_sleep_ms(d->sb.lease_ms / 2);
	ret = nodes_read(d);
	if (ret)
		return io_err(d, err, ret);
	return s->status == SLOT_OK && !memcmp(s->rec.uuid, id->uuid, 16);
}

/* Two nodes that join at once may pick the same slot: who lost takes the next. */
int hf_disk_take_slot(const char *dev, const struct hf_keys *keys, const uint8_t uuid[16], const char *name,
		      struct hf_identity *out, struct hf_err *err)
{
	struct hf_identity id = { 0 };
	struct disk *d;
	int ret;

	snprintf(id.name, sizeof(id.name), "%s", name);
	ret = open_as(dev, keys, uuid, &id, &d, err);
	if (ret)
		return ret;
	do {
		uint32_t slot = 0;

		ret = nodes_read(d);
		if (ret) {
			io_err(d, err, ret);
			break;
		}
		ret = name_free(d, name, UINT32_MAX, err);
		if (ret)
			break;
		while (slot < d->sb.nodes && d->seen[slot].status != SLOT_EMPTY &&
		       (d->seen[slot].status != SLOT_OK || held(&d->seen[slot])))
			slot++;
		ret = slot == d->sb.nodes ?
		      hf_fail(err, HF_REFUSED, -EBUSY,
			      "all %u areas of %s are taken; `holdfast disk grow %s --nodes N` makes more, `holdfast node remove` frees that of a node that is gone",
			      d->sb.nodes, dev, dev) : settle_in(d, &id, slot, err);
	} while (!ret);
	disk_close(&d->store);
	if (ret < 0)
		return ret;
	*out = id;
	return 0;
}

static int alive(struct disk *d, const struct node_rec *r, struct hf_err *err)
{
	return hf_fail(err, HF_REFUSED, -EBUSY,
		       "node %s of cluster %s is alive on host %s; stop its daemon first", r->name, d->sb.cluster, r->host);
}

int hf_disk_replace(const char *dev, const struct hf_keys *keys, const uint8_t uuid[16], const char *old,
		    const char *name, struct hf_identity *out, struct hf_err *err)
{
	struct hf_identity id = { 0 };
	struct node_rec was;
	struct disk *d;
	uint32_t slot = 0;
	uint64_t start;
	int ret;

	snprintf(id.name, sizeof(id.name), "%s", name);
	ret = open_as(dev, keys, uuid, &id, &d, err);
	if (ret)
		return ret;
	ret = nodes_read(d);
	if (ret) {
		io_err(d, err, ret);
		goto out;
	}
	while (slot < d->sb.slots && !(held(&d->seen[slot]) && !strcmp(d->seen[slot].rec.name, old)))
		slot++;
	if (slot == d->sb.slots) {
		ret = hf_fail(err, HF_NOTFOUND, -ENOENT, "cluster %s has no node %s; `holdfast disk info %s` lists those it has",
			      d->sb.cluster, old, dev);
		goto out;
	}
	ret = name_free(d, name, slot, err);
	was = d->seen[slot].rec;
	for (start = hf_now_ms(); !ret && hf_now_ms() - start < d->sb.lease_ms; ) {
		hf_sleep_ms(d->sb.beat_ms / 2);
		ret = nodes_read(d);
		if (ret)
			io_err(d, err, ret);
		else if (d->seen[slot].rec.counter != was.counter ||
			 memcmp(d->seen[slot].rec.incarnation, was.incarnation, 16))
			ret = alive(d, &d->seen[slot].rec, err);
	}
	if (!ret)
		ret = settle_in(d, &id, slot, err);
	if (!ret)
		ret = alive(d, &d->seen[slot].rec, err);
	if (ret == 1) {
		*out = id;
		ret = 0;
	}
out:
	disk_close(&d->store);
	return ret;
}

static const struct seen *row_of(struct disk *d, const uint8_t uuid[16])
{
	for (uint32_t i = 0; i < d->sb.slots; i++)
		if (held(&d->seen[i]) && !memcmp(d->seen[i].rec.uuid, uuid, 16))
			return &d->seen[i];
	return NULL;
}

int hf_disk_slot_of(const char *dev, const struct hf_keys *keys, const uint8_t uuid[16], struct hf_identity *out,
		    struct hf_err *err)
{
	struct hf_store_params p = { .keys = keys };
	const struct seen *s = NULL;
	struct hf_store *st;
	struct disk *d;
	int ret = hf_store_open(dev, &p, &st, err);

	if (ret)
		return ret;
	d = disk_of(st);
	/* as long after the write as who was cut off would have looked */
	for (unsigned i = 0; i < 2 && !ret && (!i || s); i++) {
		if (i)
			hf_sleep_ms(d->sb.lease_ms / 2);
		ret = nodes_read(d);
		s = row_of(d, uuid);
	}
	if (ret) {
		io_err(d, err, ret);
	} else if (!s) {
		ret = -ENOENT;
	} else {
		*out = (struct hf_identity){ .slot = s - d->seen };
		memcpy(out->uuid, s->rec.uuid, 16);
		memcpy(out->disk, d->sb.disk_uuid, 16);
		snprintf(out->name, sizeof(out->name), "%s", s->rec.name);
	}
	disk_close(st);
	return ret;
}

struct search { uint32_t slot; bool found; };

static void seen_seg(void *ctx, uint32_t slot, uint64_t place, uint64_t len)
{
	struct search *s = ctx;

	s->found |= slot == s->slot;
}

int hf_disk_stands_on(struct hf_store *s, const struct hf_logid *id, uint32_t slot, struct hf_err *err)
{
	struct disk *d = disk_of(s);
	struct row *r = malloc(sizeof(*r));
	struct search find = { .slot = slot };
	struct walk_opts o = { .seg = seen_seg, .ctx = &find };
	struct walk_end end;
	int ret = r ? 0 : -ENOMEM;

	for (unsigned tries = 0; !ret; tries++) {
		const struct claim_rec *acc;

		ret = row_read(d, id->row, r);
		if (ret) {
			io_err(d, err, ret);
			break;
		}
		acc = row_accepted(r, id->uuid);
		if (!acc) {
			ret = -ENOENT;
			break;
		}
		find.found = false;
		ret = log_walk(d, acc, &o, &end, err);
		if (ret != -EBADMSG || tries > 8)
			break;
		ret = 0;	/* trimmed meanwhile, maybe */
	}
	free(r);
	return ret ? ret : find.found;
}

int hf_disk_remove(struct hf_store *st, uint32_t slot, const uint8_t uuid[16], struct hf_err *err)
{
	struct disk *d = disk_of(st);
	struct node_rec gone;
	uint8_t *p;
	unsigned which;
	bool there;
	int ret;

	if (!d->joined || slot == d->id.slot || slot >= d->sb.slots)
		return -EINVAL;
	if (node_state(d, slot) == HF_NODE_UP)
		return alive(d, &d->seen[slot].rec, err);
	p = dio_alloc(HFD_SECTOR);
	if (!p)
		return -ENOMEM;
	pthread_mutex_lock(&d->node_mu);
	there = held(&d->seen[slot]) && !memcmp(d->seen[slot].rec.uuid, uuid, 16);
	gone = d->seen[slot].rec;
	which = !d->seen[slot].newest;
	pthread_mutex_unlock(&d->node_mu);
	if (!there) {
		free(p);
		return hf_fail(err, HF_NOTFOUND, -ENOENT, "slot %u of %s belongs to another node by now, or to none", slot, d->path);
	}
	gone.seq++;
	gone.counter++;
	gone.state = NODE_ST_REMOVED;
	hf_uuid_make(gone.incarnation);
	node_out(&gone, &d->bind, slot, which, p);
	ret = hf_seam("remove.row");
	if (!ret)
		ret = disk_write(d, p, HFD_SECTOR, node_off(d, slot, which));
	free(p);
	if (!ret)
		ret = hf_seam("remove.done");
	if (!ret) {
		hf_sleep_ms(d->sb.lease_ms / 2);
		ret = nodes_read(d);
	}
	if (ret)
		return io_err(d, err, ret);
	pthread_mutex_lock(&d->node_mu);
	there = d->seen[slot].status == SLOT_OK && !memcmp(d->seen[slot].rec.uuid, uuid, 16) &&
		d->seen[slot].rec.state != NODE_ST_REMOVED;
	pthread_mutex_unlock(&d->node_mu);
	return there ? alive(d, &gone, err) : 0;
}
