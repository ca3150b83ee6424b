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

uint64_t node_off(const struct disk *d, uint32_t slot, unsigned which)
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
	out->torn = st[0] == SLOT_BAD || st[1] == SLOT_BAD;
out:
	free(again);
	return ret;
}

/* A node counts on over all its incarnations. Of the own row everything is news. */
static bool goes_back(const struct disk *d, uint32_t slot, const struct node_rec *known, const struct node_rec *now)
{
	return !(d->joined && slot == d->id.slot) && !memcmp(known->uuid, now->uuid, 16) &&
	       now->counter < known->counter;
}

int nodes_read(struct disk *d)
{
	size_t n = 2ull * HFD_SECTOR * d->sb.slots;
	uint8_t *p = dio_alloc(n);
	bool anew = false;
	int ret;

	if (!p)
		return -ENOMEM;
	ret = disk_read(d, p, n, d->sb.node_off);
	if (!ret) {
		/* who was not looking (stopped, or a disk that hung) cannot tell who is dead */
		uint64_t now;

		hf_seam("nodes.read");
		pthread_mutex_lock(&d->node_mu);
		/* not before the look of another thread */
		now = hf_now_ms();
		anew = !d->looked_ms || now - d->looked_ms > d->sb.lease_ms / 2;
		for (uint32_t i = 0; i < d->sb.slots && anew; i++)
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
		if (s->status == SLOT_OK && (now.status != SLOT_OK || goes_back(d, i, &s->rec, &now.rec))) {
			/* undecided, or played again: what was known of it still holds */
			now.rec = s->rec;
			now.newest = s->newest;
			now.status = s->status;
		} else if (now.status == SLOT_OK && s->status == SLOT_OK &&
			   (now.rec.counter != s->rec.counter ||
			    memcmp(now.rec.incarnation, s->rec.incarnation, 16))) {
			now.changed_ms = t;
		} else if (now.status == SLOT_OK && s->status == SLOT_EMPTY && !anew) {
			now.changed_ms = t;	/* a node that has just joined */
		}
		*s = now;
		pthread_mutex_unlock(&d->node_mu);
	}
	free(p);
	return ret;
}

int node_write(struct disk *d)
{
	uint8_t *p = dio_alloc(HFD_SECTOR);
	uint64_t seq;
	unsigned which;
	int ret;

	if (!p)
		return -ENOMEM;
	pthread_mutex_lock(&d->node_mu);
	seq = ++d->me.seq;
	d->me.counter++;
	which = !d->me_which;
	node_out(&d->me, &d->bind, d->id.slot, which, p);
	pthread_mutex_unlock(&d->node_mu);
	ret = disk_write(d, p, HFD_SECTOR, node_off(d, d->id.slot, which));
	if (!ret) {
		d->me_which = which;
		__atomic_store_n(&d->me_written, seq, __ATOMIC_RELAXED);
	}
	free(p);
	return ret;
}

static int look_held(struct disk *d, uint64_t *asked)
{
	struct seen out = { 0 };
	uint8_t *p;
	int ret;

	if (d->io->held)
		return d->io->held(d, asked);
	*asked = hf_now_ms();
	p = dio_alloc(2 * HFD_SECTOR);
	ret = p ? d->io->read(d, p, 2 * HFD_SECTOR, node_off(d, d->id.slot, 0)) : -ENOMEM;
	if (!ret)
		ret = parse_node(d, d->id.slot, p, &out);
	free(p);
	return ret ? ret : out.status == SLOT_OK && memcmp(out.rec.incarnation, d->incarnation, 16) ? -ESTALE : 0;
}

/* Nobody stops a write whose writer was stopped itself, but its time is asked for: after half a lease
 * without a heartbeat the row is read before anything is written, so that one who comes back late finds
 * whoever holds the identity now, or the slot. */
int node_held(struct disk *d)
{
	uint64_t asked;
	int ret;

	if (!d->joined || hf_now_ms() - __atomic_load_n(&d->held_ms, __ATOMIC_RELAXED) < d->sb.lease_ms / 2)
		return 0;
	ret = look_held(d, &asked);
	if (!ret)
		__atomic_store_n(&d->held_ms, asked, __ATOMIC_RELAXED);
	return ret;
}

void node_boot_id(uint8_t b[16])
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

/* The slot is another's, or free for another. */
static int node_gone(struct disk *d, const struct node_rec *now, enum hf_exit code, struct hf_err *err)
{
	int ret = code == HF_STALE ? -ESTALE : -EBUSY;

	if (now->state == NODE_ST_REMOVED)
		return hf_fail(err, code, ret,
			       "node %s was removed from cluster %s, and writes nothing to %s any more; `holdfast join %s` makes this machine a new node of it",
			       d->id.name, d->sb.cluster, d->path, d->path);
	return hf_fail(err, code, ret,
		       "slot %u of %s belongs to node %s (host %s) now, not to this identity of %s, which was replaced or removed: it writes nothing any more; `holdfast join %s` makes this machine a new node",
		       d->id.slot, d->path, now->name, now->host, d->id.name, d->path);
}

/* who has it, as far as the last reading told */
static int node_lost(struct disk *d, struct hf_err *err)
{
	const struct seen *s = &d->seen[d->id.slot];

	if (s->status == SLOT_OK && (s->rec.state == NODE_ST_REMOVED || memcmp(s->rec.uuid, d->id.uuid, 16)))
		return node_gone(d, &s->rec, HF_STALE, err);
	if (s->status == SLOT_OK && memcmp(s->rec.incarnation, d->incarnation, 16))
		return hf_fail(err, HF_STALE, -ESTALE,
			       "another daemon, on host %s, holds the identity of node %s now: this one must not write any more",
			       s->rec.host, d->id.name);
	return hf_fail(err, HF_STALE, -ESTALE,
		       "another daemon, or another node, has slot %u of %s now, which was that of node %s: this one must not write any more",
		       d->id.slot, d->path, d->id.name);
}

static int io_err(struct disk *d, struct hf_err *err, int ret)
{
	if (ret == -ESTALE)
		return node_lost(d, err);
	return hf_fail(err, HF_UNAVAIL, ret, "the quorum disk %s does not answer: %s", d->path, disk_strerror(d, ret));
}

int node_join(struct disk *d, struct hf_err *err)
{
	struct seen *s = &d->seen[d->id.slot];
	struct node_rec me = { 0 }, old;
	struct stat st;
	uint64_t start, asked;
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
	if (memcmp(old.uuid, d->id.uuid, 16) || old.state == NODE_ST_REMOVED)
		return node_gone(d, &old, HF_REFUSED, err);
	memcpy(me.uuid, d->id.uuid, 16);
	hf_uuid_make(me.incarnation);
	snprintf(me.name, sizeof(me.name), "%s", d->id.name);
	gethostname(me.host, sizeof(me.host) - 1);
	node_boot_id(me.boot);
	if (d->lock_fd >= 0 && !fstat(d->lock_fd, &st)) {
		me.lock_dev = st.st_dev;
		me.lock_ino = st.st_ino;
	}
	me.started_ns = hf_wall_ns();
	snprintf(me.version, sizeof(me.version), "%s", HF_VERSION);
	me.state = NODE_ST_UP;
	me.proto_min = me.proto_max = 1;
	/* a directory that does not answer now may tell of more that a predecessor tried to write */
	me.seq = old.seq + (d->dirs ? 1u << 20 : 0);
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
	ret = node_write(d);
	if (ret)
		return io_err(d, err, ret);
	if (!quick)
		hf_sleep_ms(d->sb.lease_ms / 2);
	asked = hf_now_ms();
	ret = nodes_read(d);
	if (ret)
		return io_err(d, err, ret);
	if (s->status != SLOT_OK || memcmp(s->rec.incarnation, me.incarnation, 16))
		return not_held(d, err, &s->rec);
	memcpy(d->incarnation, me.incarnation, 16);
	__atomic_store_n(&d->held_ms, asked, __ATOMIC_RELAXED);
	d->joined = true;
	return 0;
}

int node_beat(struct disk *d, struct hf_err *err)
{
	struct seen *s = &d->seen[d->id.slot];
	uint64_t asked = hf_now_ms();
	int ret = d->io->held ? d->io->held(d, &asked) : 0;
	bool lied;

	if (!ret && d->io->beat)
		ret = d->io->beat(d);
	if (ret == -ESTALE)
		(void)nodes_read(d);	/* for who it is */
	else if (!ret && (ret = super_check(d, err)) == -ESTALE)
		return ret;
	if (!ret)
		ret = nodes_read(d);
	if (ret)
		return io_err(d, err, ret);
	if (s->status == SLOT_OK && (s->rec.state == NODE_ST_REMOVED || memcmp(s->rec.incarnation, d->incarnation, 16)))
		return node_lost(d, err);
	__atomic_store_n(&d->held_ms, asked, __ATOMIC_RELAXED);
	lied = s->status == SLOT_OK && s->rec.seq < d->me_written;
	ret = node_write(d);
	if (!ret && lied)	/* it may have lost records as well, which nobody reads now */
		return hf_fail(err, HF_DAMAGED, -EIO,
			       "the quorum disk %s loses writes: it does not have the heartbeat that it acknowledged; what was confirmed since may not be on it. Look at its cache and at its path",
			       d->path);
	return ret ? io_err(d, err, ret) : 0;
}

int node_leave(struct disk *d)
{
	if (!d->joined)
		return 0;
	pthread_mutex_lock(&d->node_mu);
	d->me.state = NODE_ST_LEFT;
	pthread_mutex_unlock(&d->node_mu);
	return node_write(d);
}

static enum hf_node_state state_of(struct disk *d, const struct seen *s)
{
	uint64_t t = hf_now_ms();

	if (s->status == SLOT_EMPTY || (s->status == SLOT_OK && s->rec.state == NODE_ST_REMOVED))
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

enum hf_node_state node_owner(struct disk *d, const struct epoch_desc *e, char name[HF_NAME_MAX + 1])
{
	enum hf_node_state st = HF_NODE_UNKNOWN;

	snprintf(name, HF_NAME_MAX + 1, "slot %u", e->slot);
	if (e->slot >= d->sb.slots)
		return st;
	pthread_mutex_lock(&d->node_mu);
	const struct seen *s = &d->seen[e->slot];

	if (s->status == SLOT_OK && memcmp(s->rec.uuid, e->uuid, 16)) {
		st = HF_NODE_FREE;
		snprintf(name, HF_NAME_MAX + 1, "a node that is gone");
	} else {
		st = state_of(d, s);
		if (s->status == SLOT_OK)
			memcpy(name, s->rec.name, HF_NAME_MAX + 1);
	}
	pthread_mutex_unlock(&d->node_mu);
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

		if (state_of(d, s) == HF_NODE_FREE)
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
