// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Rows of nodes: who holds which identity, and who is alive.
 *
 * An identity is held as a delta lease is (Chockler and Malkhi, "Light-weight
 * leases for storage-centric coordination", 2004; as in sanlock): watch the row
 * for a lease, write a new incarnation, wait longer than any write of a predecessor
 * can stay in flight, read again. Documentation/claims.rst has the timing.
 *
 * node_mu protects what was seen, and the own row's contents; the heartbeat's
 * thread alone writes the row once joined.
 */
#include "disk_int.h"
#include <stdlib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t node_off(const struct disk *d, uint32_t slot, unsigned which)
{
	return d->sb.node_off + (2ull * slot + which) * HFD_SECTOR;
}

/* The newer of a node's two slots. A slot that is torn while its writer is at
 * it leaves the other, if that is read after it. */
static int parse_node(struct disk *d, uint32_t slot, const uint8_t *p, struct seen *out)
{
	struct node_rec rec[2];
	enum slot_status st[2];
	uint8_t *again = NULL;
	int ret = 0;

	for (unsigned w = 0; w < 2; w++)
		st[w] = node_in(&rec[w], &d->bind, slot, w, p + w * HFD_SECTOR);
	for (unsigned tries = 0; (st[0] == SLOT_BAD || st[1] == SLOT_BAD) && tries < 3; tries++) {
		if (!again && !(again = dio_alloc(HFD_SECTOR)))
			return -ENOMEM;
		/* the bad one first, then the other */
		unsigned bad = st[0] == SLOT_BAD ? 0 : 1;

		for (unsigned i = 0; i < 2; i++) {
			unsigned w = i ? !bad : bad;

			ret = disk_read(d, again, HFD_SECTOR, node_off(d, slot, w));
			if (ret)
				goto out;
			st[w] = node_in(&rec[w], &d->bind, slot, w, again);
		}
		if (st[!bad] == SLOT_OK)
			break;
	}
	if (st[0] != SLOT_OK && st[1] != SLOT_OK) {
		/* a first write goes to the second sector: torn, it was never there */
		out->status = st[0] == SLOT_EMPTY ? SLOT_EMPTY : SLOT_BAD;
		goto out;
	}
	out->newest = st[1] == SLOT_OK && (st[0] != SLOT_OK || rec[1].seq > rec[0].seq);
	out->rec = rec[out->newest];
	out->status = SLOT_OK;
out:
	free(again);
	return ret;
}

int nodes_read(struct disk *d)
{
	size_t n = 2ull * HFD_SECTOR * d->sb.slots;
	uint8_t *p = dio_alloc(n);
	int ret;

	if (!p)
		return -ENOMEM;
	ret = disk_read(d, p, n, d->sb.node_off);
	if (!ret) {
		/* who was not looking (stopped, or a disk that hung) cannot tell who is dead */
		uint64_t now = hf_now_ms();

		pthread_mutex_lock(&d->node_mu);
		for (uint32_t i = 0; i < d->sb.slots && now - d->looked_ms > d->sb.lease_ms / 2; i++)
			d->seen[i].watched_ms = now;
		d->looked_ms = now;
		pthread_mutex_unlock(&d->node_mu);
	}
	for (uint32_t i = 0; i < d->sb.slots && !ret; i++) {
		struct seen now = { 0 }, *s = &d->seen[i];
		uint64_t t;

		ret = parse_node(d, i, p + 2ull * i * HFD_SECTOR, &now);
		if (ret)
			break;
		t = hf_now_ms();
		pthread_mutex_lock(&d->node_mu);
		now.watched_ms = s->watched_ms ? s->watched_ms : t;
		now.changed_ms = s->changed_ms;
		if (now.status != SLOT_OK && s->status == SLOT_OK) {
			/* undecided: what was known of it still holds */
			now.rec = s->rec;
			now.newest = s->newest;
			now.status = s->status;
		} else if (now.status == SLOT_OK && s->status == SLOT_OK &&
			   (now.rec.counter != s->rec.counter ||
			    memcmp(now.rec.incarnation, s->rec.incarnation, 16))) {
			now.changed_ms = t;
		} else if (now.status == SLOT_OK && s->status == SLOT_EMPTY && s->watched_ms) {
			now.changed_ms = t;	/* a node that has just joined */
		}
		*s = now;
		pthread_mutex_unlock(&d->node_mu);
	}
	free(p);
	return ret;
}

static int me_write(struct disk *d)
{
	uint8_t *p = dio_alloc(HFD_SECTOR);
	unsigned which;
	int ret;

	if (!p)
		return -ENOMEM;
	pthread_mutex_lock(&d->node_mu);
	d->me.seq++;
	d->me.counter++;
	which = !d->me_which;
	node_out(&d->me, &d->bind, d->id.slot, which, p);
	pthread_mutex_unlock(&d->node_mu);
	ret = disk_write(d, p, HFD_SECTOR, node_off(d, d->id.slot, which));
	if (!ret)
		d->me_which = which;
	free(p);
	return ret;
}

static void boot_id(uint8_t b[16])
{
	char *s = NULL;

	memset(b, 0, 16);
	if (!hf_read_file("/proc/sys/kernel/random/boot_id", 64, &s, NULL)) {
		s[36 < strlen(s) ? 36 : strlen(s)] = 0;
		hf_uuid_parse(s, b);
		free(s);
	}
}

/* Is the row's holder this machine's own predecessor, dead for certain? Then it
 * held the very lock that is held now, and none of its writes is in flight: a
 * process that is gone has waited for its direct writes. */
static bool predecessor(struct disk *d, const struct node_rec *r, const struct node_rec *me)
{
	return d->lock_fd >= 0 && !memcmp(r->boot, me->boot, 16) &&
	       r->lock_dev == me->lock_dev && r->lock_ino == me->lock_ino;
}

static int not_held(struct disk *d, struct hf_err *err, const struct node_rec *r)
{
	return hf_fail(err, HF_REFUSED, -EBUSY,
		       "node %s (slot %u of cluster %s) is held by a daemon on host %s that is alive; if this machine is a copy of it, remove the copied identity from the state directory and run holdfast join",
		       d->id.name, d->id.slot, d->sb.cluster, r->host);
}

static int io_err(struct disk *d, struct hf_err *err, int ret)
{
	return hf_fail(err, HF_UNAVAIL, ret, "the quorum disk %s does not answer: %s", d->path, strerror(-ret));
}

int node_join(struct disk *d, struct hf_err *err)
{
	struct seen *s = &d->seen[d->id.slot];
	struct node_rec me = { 0 }, old;
	struct stat st;
	uint64_t start;
	bool quick;
	int ret;

	ret = nodes_read(d);
	if (ret)
		return io_err(d, err, ret);
	if (s->status != SLOT_OK)
		return hf_fail(err, s->status == SLOT_BAD ? HF_DAMAGED : HF_NOTFOUND,
			       s->status == SLOT_BAD ? -EBADMSG : -ENOENT,
			       "%s: the row of node %s (slot %u) is %s", d->path, d->id.name, d->id.slot,
			       s->status == SLOT_BAD ? "damaged" : "empty; was the node removed?");
	old = s->rec;
	if (memcmp(old.uuid, d->id.uuid, 16))
		return hf_fail(err, HF_REFUSED, -EBUSY, "slot %u of %s belongs to node %s now, not to this identity of %s",
			       d->id.slot, d->path, old.name, d->id.name);
	memcpy(me.uuid, d->id.uuid, 16);
	hf_uuid_make(me.incarnation);
	snprintf(me.name, sizeof(me.name), "%s", d->id.name);
	gethostname(me.host, sizeof(me.host) - 1);
	boot_id(me.boot);
	if (d->lock_fd >= 0 && !fstat(d->lock_fd, &st)) {
		me.lock_dev = st.st_dev;
		me.lock_ino = st.st_ino;
	}
	me.started_ns = hf_wall_ns();
	snprintf(me.version, sizeof(me.version), "%s", HF_VERSION);
	me.state = NODE_ST_UP;
	me.proto_min = me.proto_max = 1;
	me.seq = old.seq;
	me.counter = old.counter;

	quick = predecessor(d, &old, &me);
	if (!quick && old.state == NODE_ST_UP) {
		for (start = hf_now_ms(); hf_now_ms() - start < d->sb.lease_ms; ) {
			hf_sleep_ms(d->sb.beat_ms / 2);
			ret = nodes_read(d);
			if (ret)
				return io_err(d, err, ret);
			if (s->rec.counter != old.counter || memcmp(s->rec.incarnation, old.incarnation, 16))
				return not_held(d, err, &s->rec);
		}
	}
	pthread_mutex_lock(&d->node_mu);
	d->me = me;
	d->me_which = s->newest;
	pthread_mutex_unlock(&d->node_mu);
	ret = me_write(d);
	if (ret)
		return io_err(d, err, ret);
	if (!quick)
		hf_sleep_ms(d->sb.lease_ms / 2);
	ret = nodes_read(d);
	if (ret)
		return io_err(d, err, ret);
	if (s->status != SLOT_OK || memcmp(s->rec.incarnation, me.incarnation, 16))
		return not_held(d, err, &s->rec);
	memcpy(d->incarnation, me.incarnation, 16);
	d->joined = true;
	return 0;
}

int node_beat(struct disk *d, struct hf_err *err)
{
	struct seen *s = &d->seen[d->id.slot];
	int ret = super_check(d, err);

	if (ret == -ESTALE)
		return ret;
	if (!ret)
		ret = nodes_read(d);
	if (ret)
		return io_err(d, err, ret);
	if (s->status == SLOT_OK && memcmp(s->rec.incarnation, d->incarnation, 16))
		return hf_fail(err, HF_STALE, -ESTALE,
			       "another daemon, on host %s, holds the identity of node %s now: this one must not write any more",
			       s->rec.host, d->id.name);
	ret = me_write(d);
	return ret ? io_err(d, err, ret) : 0;
}

int node_leave(struct disk *d)
{
	if (!d->joined)
		return 0;
	pthread_mutex_lock(&d->node_mu);
	d->me.state = NODE_ST_LEFT;
	pthread_mutex_unlock(&d->node_mu);
	return me_write(d);
}

static enum hf_node_state state_of(struct disk *d, const struct seen *s)
{
	uint64_t t = hf_now_ms();

	if (s->status == SLOT_EMPTY)
		return HF_NODE_FREE;
	if (s->status != SLOT_OK)
		return HF_NODE_UNKNOWN;
	if (s->rec.state == NODE_ST_LEFT)
		return HF_NODE_LEFT;
	if (d->joined && s == &d->seen[d->id.slot])
		return HF_NODE_UP;
	if (s->changed_ms && t - s->changed_ms < d->sb.lease_ms)
		return HF_NODE_UP;
	/* nothing can be said of who was not watched for a whole lease, up to now */
	if (t - s->watched_ms < d->sb.lease_ms || t - d->looked_ms > d->sb.lease_ms / 2)
		return HF_NODE_UNKNOWN;
	return HF_NODE_DOWN;
}

enum hf_node_state node_state(struct disk *d, uint32_t slot)
{
	enum hf_node_state st = HF_NODE_UNKNOWN;

	if (slot < d->sb.slots) {
		pthread_mutex_lock(&d->node_mu);
		st = state_of(d, &d->seen[slot]);
		pthread_mutex_unlock(&d->node_mu);
	}
	return st;
}

void node_name(struct disk *d, uint32_t slot, char name[HF_NAME_MAX + 1])
{
	snprintf(name, HF_NAME_MAX + 1, "slot %u", slot);
	if (slot >= d->sb.slots)
		return;
	pthread_mutex_lock(&d->node_mu);
	if (d->seen[slot].status == SLOT_OK)
		memcpy(name, d->seen[slot].rec.name, HF_NAME_MAX + 1);
	pthread_mutex_unlock(&d->node_mu);
}

int nodes_list(struct disk *d, struct hf_node_info *arr, unsigned max)
{
	unsigned n = 0;

	if (!d->joined) {	/* nobody beats for us */
		int ret = nodes_read(d);

		if (ret)
			return ret;
	}
	pthread_mutex_lock(&d->node_mu);
	for (uint32_t i = 0; i < d->sb.slots && n < max; i++) {
		const struct seen *s = &d->seen[i];
		struct hf_node_info *o = &arr[n];

		if (s->status == SLOT_EMPTY)
			continue;
		memset(o, 0, sizeof(*o));
		o->slot = i;
		memcpy(o->name, s->rec.name, sizeof(o->name));
		memcpy(o->host, s->rec.host, sizeof(o->host));
		memcpy(o->uuid, s->rec.uuid, 16);
		memcpy(o->incarnation, s->rec.incarnation, 16);
		memcpy(o->version, s->rec.version, sizeof(o->version));
		o->counter = s->rec.counter;
		o->age_ms = hf_now_ms() - (s->changed_ms ? s->changed_ms : s->watched_ms);
		o->state = state_of(d, s);
		n++;
	}
	pthread_mutex_unlock(&d->node_mu);
	return n;
}

/* Two nodes that join at once may pick the same slot: write, wait, read again,
 * as for an incarnation; who lost takes the next. */
int hf_disk_take_slot(const char *dev, const struct hf_keys *keys, const char *name,
		      struct hf_identity *out, struct hf_err *err)
{
	struct hf_store_params p = { .keys = keys };
	struct hf_identity id = { 0 };
	struct hf_store *st;
	struct disk *d;
	int ret;

	snprintf(id.name, sizeof(id.name), "%s", name);
	hf_uuid_make(id.uuid);
	/* opened without an identity for its superblock, then for writing */
	ret = hf_store_disk.open(dev, &p, &st, err);
	if (ret)
		return ret;
	memcpy(id.disk, disk_of(st)->sb.disk_uuid, 16);
	disk_close(st);
	p.id = &id;
	ret = hf_store_disk.open(dev, &p, &st, err);
	if (ret)
		return ret;
	d = disk_of(st);
	for (;;) {
		uint32_t slot = UINT32_MAX;

		ret = nodes_read(d);
		if (ret) {
			io_err(d, err, ret);
			break;
		}
		for (uint32_t i = 0; i < d->sb.nodes; i++) {
			const struct seen *s = &d->seen[i];

			if (s->status == SLOT_EMPTY && slot == UINT32_MAX)
				slot = i;
			if (s->status == SLOT_OK && !strcmp(s->rec.name, id.name)) {
				ret = hf_fail(err, HF_EXISTS, -EEXIST,
					      "cluster %s has a node %s already (host %s); give this one another name in [node] name",
					      d->sb.cluster, id.name, s->rec.host);
				goto out;
			}
		}
		if (slot == UINT32_MAX) {
			ret = hf_fail(err, HF_REFUSED, -EBUSY, "all %u areas of %s are taken; `holdfast disk grow %s --nodes N` makes more, `holdfast node remove` frees that of a node that is gone",
				      d->sb.nodes, dev, dev);
			break;
		}
		id.slot = d->id.slot = slot;
		memset(&d->me, 0, sizeof(d->me));
		memcpy(d->me.uuid, id.uuid, 16);
		hf_uuid_make(d->me.incarnation);
		snprintf(d->me.name, sizeof(d->me.name), "%s", id.name);
		gethostname(d->me.host, sizeof(d->me.host) - 1);
		d->me.state = NODE_ST_LEFT;
		d->me.proto_min = d->me.proto_max = 1;
		snprintf(d->me.version, sizeof(d->me.version), "%s", HF_VERSION);
		ret = me_write(d);
		if (ret) {
			io_err(d, err, ret);
			break;
		}
		hf_sleep_ms(d->sb.lease_ms / 2);
		ret = nodes_read(d);
		if (ret) {
			io_err(d, err, ret);
			break;
		}
		if (d->seen[slot].status == SLOT_OK && !memcmp(d->seen[slot].rec.uuid, id.uuid, 16))
			break;
	}
out:
	disk_close(st);
	if (!ret)
		*out = id;
	return ret;
}
