// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The claim protocol: Disk Paxos (Gafni and Lamport, "Disk Paxos", 2003) with
 * one disk, whose ballot is the epoch, deciding how far the epochs before reach.
 * Documentation/claims.rst numbers the steps as here and argues why what was
 * confirmed stays.
 *
 * Who writes what: a node only its own slots of a row, under row_busy (one
 * claim of a row at a time in this process) and claim.mu.
 */
#include "disk_int.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BUSY_MS 20000		/* for the other thread of this process */

static int io_err(struct disk *d, struct hf_err *err, int ret)
{
	return hf_fail(err, ret == -ESTALE ? HF_STALE : HF_UNAVAIL, ret,
		       ret == -ESTALE ? "%s is not written any more: %s" : "the quorum disk %s does not answer: %s", d->path, disk_strerror(d, ret));
}

/* One claim of a row at a time in this process. */
static int row_lock(struct disk *d, uint32_t row)
{
	struct timespec ts;
	int ret = 0;

	hf_deadline(&ts, BUSY_MS);
	pthread_mutex_lock(&d->row_mu);
	while (d->row_busy[row] && !ret)
		ret = pthread_cond_clockwait(&d->row_cv, &d->row_mu, CLOCK_MONOTONIC, &ts);
	if (d->row_busy[row])
		ret = -EAGAIN;
	else {
		d->row_busy[row] = 1;
		ret = 0;
	}
	pthread_mutex_unlock(&d->row_mu);
	return ret;
}

static void row_unlock(struct disk *d, uint32_t row)
{
	pthread_mutex_lock(&d->row_mu);
	d->row_busy[row] = 0;
	pthread_cond_broadcast(&d->row_cv);
	pthread_mutex_unlock(&d->row_mu);
}

/* the slot of the row that cannot be decided; -1: none */
static int undecided(const struct row *r)
{
	for (uint32_t i = 0; i < r->nodes; i++)
		if (r->status[i] == SLOT_BAD)
			return i;
	return -1;
}

/* Ballots are unique to a node: the round times the greatest number of nodes,
 * plus the slot. */
static uint64_t next_ballot(uint64_t above, uint32_t slot)
{
	return (above / HF_MAX_NODES + 1) * HF_MAX_NODES + slot;
}

/* Does a live node hold it? Waits for up to a lease where that cannot be said yet. */
static int owner_alive(struct disk *d, const struct hf_logid *id, struct row *r, struct hf_err *err)
{
	uint64_t start = hf_now_ms();
	char name[HF_NAME_MAX + 1];
	enum hf_node_state st;
	bool anew = false;

	for (;;) {
		const struct claim_rec *acc = row_accepted(r, id->uuid);
		int ret;

		if (!acc || acc->acc.slot == d->id.slot || (acc->flags & CLAIM_RELEASED))
			return 0;
		st = node_owner(d, &acc->acc, name);
		if (!anew && (st == HF_NODE_DOWN || st == HF_NODE_LEFT)) {
			/* it may be back since the heartbeats were read */
			ret = nodes_read(d);
			if (ret)
				return io_err(d, err, ret);
			anew = true;
			continue;
		}
		if (st == HF_NODE_DOWN || st == HF_NODE_LEFT || st == HF_NODE_FREE)
			return 0;
		if (st == HF_NODE_UP)
			return hf_fail(err, HF_REFUSED, -EBUSY,
				       "%s is online on %s, which is alive; take it offline there (if it was stopped there already, `holdfast status %s` there says why it is not released), or say --fenced if %s was fenced",
				       id->name, name, id->name, name);
		if (hf_now_ms() - start > 2ull * d->sb.lease_ms)
			return hf_fail(err, HF_UNAVAIL, -ETIMEDOUT, "it cannot be told whether %s, the owner of %s, is alive: the heartbeats cannot be read",
				       name, id->name);
		hf_sleep_ms(d->sb.beat_ms / 2);
		ret = row_read(d, id->row, r);
		if (ret)
			return io_err(d, err, ret);
	}
}

/* Registrations: who holds them is about to let go. Wait, but no longer than
 * HOLD_MS without a sign of life in the row. */
#define HOLD_MS 1000
static int holder_done(struct disk *d, const struct hf_logid *id, struct row *r)
{
	uint64_t start = hf_now_ms(), last = 0;
	int ret = 0;

	while (hf_now_ms() - start < HOLD_MS) {
		const struct claim_rec *top = NULL;

		for (uint32_t i = 0; i < r->nodes; i++)
			if (r->status[i] == SLOT_OK && !memcmp(r->rec[i].log, id->uuid, 16) &&
			    (!top || r->rec[i].ballot > top->ballot))
				top = &r->rec[i];
		/* it released what it had accepted, and is not at a claim again */
		if (!top || !memcmp(top->uuid, d->id.uuid, 16) ||
		    ((top->flags & CLAIM_RELEASED) && top->ballot == top->acc.epoch))
			return 0;
		if (top->seq + top->ballot != last) {
			last = top->seq + top->ballot;
			start = hf_now_ms();
		}
		hf_sleep_ms(2 + randombytes_uniform(8));
		ret = row_read(d, id->row, r);
		if (ret)
			break;
	}
	return ret;
}

static struct claim *claim_new(struct disk *d, const struct hf_logid *id)
{
	struct claim *c = hf_alloc(sizeof(*c));

	if (!c)
		return NULL;
	c->pub.ops = d->store.ops;
	c->pub.store = &d->store;
	c->pub.id = *id;
	c->d = d;
	pthread_mutex_init(&c->mu, NULL);
	c->rb.slot = d->id.slot;
	memcpy(c->rb.uuid, d->id.uuid, 16);
	memcpy(c->rb.incarnation, d->incarnation, 16);
	memcpy(c->rb.log, id->uuid, 16);
	return c;
}

/* Only now: what area_collect() frees by it is what no later claimer can stand on. */
static void owned(struct claim *c)
{
	pthread_mutex_lock(&c->d->row_mu);
	c->d->row_owned[c->pub.id.row] = c->epoch;
	pthread_mutex_unlock(&c->d->row_mu);
}

/* Nobody can come upon a seal that was never told of; one whose write failed may land yet, or that of the row. */
static void claim_unseal(struct claim *c, bool told)
{
	struct blockset s;
	struct pin *p;

	if ((c->broken || told) && c->nseg) {
		if (blockset_init(&s, c->d))
			return;
		for (size_t i = 0; i < c->nseg; i++)
			blockset_add(&s, c->seg[i].place, c->seg[i].len);
		p = blockset_pin(&s, c->pub.id.row, c->rb.log, c->epoch, c->gen);
		if (!p)
			return;
		p->told = told;
		pin_vain(c->d, p);
	}
	for (size_t i = 0; i < c->nseg; i++)
		area_pin(c->d, c->seg[i].place, c->seg[i].len, -1);
	c->nseg = 0;
}

static int lost_race(struct hf_err *err, const struct hf_logid *id)
{
	return hf_fail(err, HF_REFUSED, -EAGAIN, "another node is claiming %s at the same time", id->name);
}

/*
 * HF_CLAIM_ANEW: what this node owned cannot be read, and it has the originals. The seal tells of that
 * epoch with an end that nobody reaches: who comes upon the new one before the row tells of a base in it
 * finds the damage as before, and never an empty log.
 */
static void begin_anew(struct claim *c, const struct claim_rec *acc, uint64_t seen, struct hf_at *at,
		       hf_restart_fn restart, void *ctx, struct epoch_desc *old)
{
	if (at)
		at->here = false;
	if (restart)
		restart(ctx);
	c->pub.anew = true;
	c->pub.before_slot = acc->acc.slot;
	c->pub.above = acc->gen > seen ? acc->gen : seen;
	*old = acc->acc;
	old->end_gen = c->pub.above;
	old->end_seq = UINT64_MAX;
	memset(old->end_tag, 0, sizeof(old->end_tag));
}

/* An error of reading says nothing of what is there; sectors that are lost cannot be read later either. */
#define LOST_TRIES 5
#define LOST_MS 200

/* Steps 3 and 4: what is accepted, and all of it that counts. The row may move
 * on while the log is read; then the reading begins anew. */
static int adopt(struct claim *c, struct row *r, bool anew, struct hf_at *at, hf_restart_fn restart, hf_rec_fn fn,
		 void *ctx, struct epoch_desc *old, struct hf_err *err)
{
	struct disk *d = c->d;
	const struct hf_logid *id = &c->pub.id;
	struct walk_opts o = { .at = at, .restart = restart, .fn = fn, .ctx = ctx };
	struct walk_end end = { 0 };
	struct claim_rec acc;
	unsigned failed = 0;
	uint64_t seen = 0;
	int ret = 0;

	for (unsigned tries = 0; ; tries++) {
		const struct claim_rec *a;
		int was = ret;

		ret = hf_seam("claim.read");
		if (!ret)
			ret = row_read(d, id->row, r);
		if (ret)
			return io_err(d, err, ret);
		if (undecided(r) >= 0) {
			char name[HF_NAME_MAX + 1];

			/* its node may be writing there just now */
			node_name(d, undecided(r), name);
			return hf_fail(err, HF_DAMAGED, -EAGAIN,
				       "%s: the claim of %s cannot be read, so %s cannot be taken; if that stays it is damaged: holdfast disk check",
				       d->path, name, id->name);
		}
		if (row_max_ballot(r) > c->mine.ballot)
			return lost_race(err, id);
		a = row_accepted(r, id->uuid);
		memset(old, 0, sizeof(*old));
		c->pub.first = !a;
		if (!a) {
			if (at)
				at->here = false;
			if (restart)
				restart(ctx);
			return 0;
		}
		/* nobody trimmed it: it is damaged */
		if (tries && claim_same_place(a, &acc) && (was == -EBADMSG || failed >= LOST_TRIES)) {
			if (!anew || memcmp(acc.acc.uuid, d->id.uuid, 16))
				return was;
			begin_anew(c, &acc, seen, at, restart, ctx, old);
			return 0;
		}
		acc = *a;
		ret = log_walk(d, &acc, &o, &end, err);
		seen = end.gen > seen ? end.gen : seen;
		if (ret == -EBADMSG && tries <= 8)
			continue;
		/* the row could be read */
		if (anew && (ret == -EIO || ret == -ENODATA) && tries <= 8) {
			if (++failed < LOST_TRIES)
				hf_sleep_ms(LOST_MS);
			continue;
		}
		if (ret)
			break;
		ret = row_read(d, id->row, r);
		if (ret)
			return io_err(d, err, ret);
		/* where its owner trimmed it meanwhile, what was read may end too early: a record that was
		 * overwritten looks like one that was cut off */
		if (claim_same_place(row_accepted(r, id->uuid), &acc))
			break;
		if (tries > 8)
			return lost_race(err, id);
	}
	if (ret)
		return ret;
	c->pub.before_slot = acc.acc.slot;
	if (end.bare) {
		/* it holds its seal alone, or that and its release: what the seal tells of is adopted as
		 * it is, so that a row of claims in vain makes no longer and longer chain */
		*old = end.below;
		return 0;
	}
	*old = acc.acc;
	/* a base of that very epoch may be complete and not yet told of in the row: what is before
	 * it may be gone as soon as it is */
	if (end.base.place && end.base_epoch == old->epoch) {
		old->base = end.base;
		old->after = end.after;
	}
	old->end_gen = end.gen;
	old->end_seq = end.seq;
	memcpy(old->end_tag, end.tag, 16);
	return 0;
}

int claim_take(struct hf_store *s, const struct hf_logid *id, unsigned flags, struct hf_at *at,
	       hf_restart_fn restart, hf_rec_fn fn, void *ctx, struct hf_claim **out, struct hf_err *err)
{
	struct disk *d = disk_of(s);
	struct row *r = malloc(sizeof(*r));
	struct hf_buf b = HF_BUF_INIT;
	struct epoch_desc old;
	struct claim *c = NULL;
	uint64_t based, total;
	bool told = false;
	int ret;

	if (!r)
		return -ENOMEM;
	if (!d->joined || id->row >= d->sb.rows) {
		free(r);
		return hf_fail(err, HF_FAILED, -EINVAL, "%s: no such row of claims, or no identity", id->name);
	}
	ret = row_lock(d, id->row);
	if (ret) {
		free(r);
		return lost_race(err, id);
	}
	c = claim_new(d, id);
	if (!c) {
		ret = -ENOMEM;
		goto out;
	}

	/* step 1: choose a ballot above every one seen; nothing else of this reading is used,
	 * but for the question whether the owner lives */
	ret = row_read(d, id->row, r);
	if (ret) {
		io_err(d, err, ret);
		goto out;
	}
	if (r->status[d->id.slot] == SLOT_BAD) {
		/* what was promised there is not known, so nothing may be promised over it */
		ret = hf_fail(err, HF_DAMAGED, -EBADMSG, "%s: the claims of node %s in row %u are damaged in both copies",
			      d->path, d->id.name, id->row);
		goto out;
	}
	if (flags & HF_CLAIM_WAIT)
		ret = holder_done(d, id, r);
	else if (!(flags & HF_CLAIM_FENCED))
		ret = owner_alive(d, id, r, err);
	if (ret)
		goto out;
	if (r->status[d->id.slot] == SLOT_OK) {
		c->mine = r->rec[d->id.slot];
		c->which = r->newest[d->id.slot];
	}
	if (memcmp(c->mine.log, id->uuid, 16)) {	/* the row was another log's */
		uint64_t seq = c->mine.seq;

		memset(&c->mine, 0, sizeof(c->mine));
		c->mine.seq = seq;
		memcpy(c->mine.log, id->uuid, 16);
	}
	memcpy(c->mine.uuid, d->id.uuid, 16);
	memcpy(c->mine.incarnation, d->incarnation, 16);
	c->mine.ballot = next_ballot(row_max_ballot(r), d->id.slot);
	c->epoch = c->rb.epoch = c->mine.ballot;

	/* an epoch that holds its seal alone gives nothing back: make room before there is one */
	if (area_room(d, &total) < total / 8)
		area_collect(d);

	/* step 2: write the ballot */
	ret = hf_seam("claim.ballot");
	if (!ret)
		ret = row_write(d, id->row, &c->mine, &c->which);
	if (ret) {
		io_err(d, err, ret);
		goto out;
	}

	/* steps 3 and 4: what was accepted, and what of it counts */
	ret = adopt(c, r, flags & HF_CLAIM_ANEW, at, restart, fn, ctx, &old, err);
	if (ret)
		goto out;
	based = row_based(r, id->uuid);

	/* who is overtaken already need not spend space on a seal; step 7 is what decides */
	ret = row_read(d, id->row, r);
	if (ret) {
		io_err(d, err, ret);
		goto out;
	}
	if (row_max_ballot(r) > c->mine.ballot) {
		ret = lost_race(err, id);
		goto out;
	}

	/* step 5: seal it, as the first record of a segment of our own */
	c->gen = old.end_gen;
	seal_payload_out(&old, &b);
	struct hf_rec seal = { .kind = HF_REC_SEAL, .gen = c->gen, .when_ns = hf_wall_ns(),
			       .payload = b.p, .len = b.len };

	ret = b.bad ? -ENOMEM : seg_open(c, err);
	if (!ret)
		ret = hf_seam("claim.seal");
	c->mine.acc = (struct epoch_desc){ .epoch = c->epoch, .slot = d->id.slot, .keep = old.keep,
					   .first = { .place = c->place, .seg = c->place } };
	if (c->nseg)
		c->mine.acc.first.seglen = c->seg[0].len;
	if (!ret)
		ret = seg_append(c, &seal, NULL, 0, NULL, err);
	if (ret)
		goto out;

	/* step 6: accept */
	memcpy(c->mine.acc.uuid, d->id.uuid, 16);
	memcpy(c->mine.acc.incarnation, d->incarnation, 16);
	c->mine.gen = c->gen;
	c->mine.gen_seq = 0;
	c->mine.based = based;
	c->mine.flags = 0;	/* released said that of the epoch before */
	ret = hf_seam("claim.accept");
	if (!ret) {
		told = true;
		ret = row_write(d, id->row, &c->mine, &c->which);
	}
	/* before anything stands on it, the other sector has it too: damage to one of them would else
	 * look like a write that was cut off, and the epoch before would count again */
	if (!ret)
		ret = row_write(d, id->row, &c->mine, &c->which);
	if (ret) {
		io_err(d, err, ret);
		goto out;
	}

	/* step 7: still the highest? Else what was accepted binds later claimers, not us */
	ret = hf_seam("claim.check");
	if (!ret)
		ret = claim_confirm(&c->pub, err);
	if (ret == -ESTALE)
		ret = lost_race(err, id);
	if (!ret) {
		owned(c);
		*out = &c->pub;
	}
out:
	hf_buf_free(&b);
	free(r);
	if (ret) {
		if (c && (!told || ret != -EAGAIN))
			claim_unseal(c, told);
		if (c)
			claim_drop(&c->pub);
		else
			row_unlock(d, id->row);
	}
	return ret;
}

int claim_append(struct hf_claim *pc, const struct hf_rec *r, const void *tail, size_t taillen,
		 uint64_t *tail_place, struct hf_err *err)
{
	struct claim *c = claim_of(pc);
	int ret;

	pthread_mutex_lock(&c->mu);
	ret = c->stale ? hf_fail(err, HF_STALE, -ESTALE, "%s: a newer epoch exists", pc->id.name) :
	      seg_append(c, r, tail, taillen, tail_place, err);
	pthread_mutex_unlock(&c->mu);
	return ret;
}

static int confirm_locked(struct claim *c, struct hf_err *err)
{
	struct disk *d = c->d;
	const struct hf_logid *id = &c->pub.id;
	struct row *r;
	const struct claim_rec *own;
	int ret;

	if (c->stale)
		return hf_fail(err, HF_STALE, -ESTALE, "%s: this node was fenced out, a newer epoch exists", id->name);
	if (c->broken)
		return hf_fail(err, HF_UNAVAIL, -EREMOTEIO, "an earlier write to %s failed: the log of %s must be claimed anew",
			       d->path, id->name);
	r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	ret = row_read(d, id->row, r);
	if (ret) {
		free(r);
		return io_err(d, err, ret);
	}
	own = &r->rec[d->id.slot];
	if (r->status[d->id.slot] != SLOT_OK || own->seq != c->mine.seq || own->ballot != c->mine.ballot ||
	    memcmp(own->incarnation, d->incarnation, 16) || own->acc.epoch != c->mine.acc.epoch ||
	    memcmp(own->log, id->uuid, 16))
		ret = hf_fail(err, HF_STALE, -ESTALE,
			      "%s: the claim of node %s is not as it was written; does another daemon use its identity?",
			      id->name, d->id.name);
	for (uint32_t i = 0; i < r->nodes && !ret; i++) {
		char name[HF_NAME_MAX + 1];

		if (i == d->id.slot || r->status[i] == SLOT_EMPTY)
			continue;
		node_name(d, i, name);
		if (r->status[i] == SLOT_BAD)
			ret = hf_fail(err, HF_STALE, -ESTALE, "%s: the claim of %s cannot be told, so it counts as newer",
				      id->name, name);
		else if (r->rec[i].ballot > c->mine.ballot)
			ret = hf_fail(err, HF_STALE, -ESTALE, "%s was taken over by %s", id->name, name);
	}
	free(r);
	if (ret)
		c->stale = true;
	return ret;
}

int claim_confirm(struct hf_claim *pc, struct hf_err *err)
{
	struct claim *c = claim_of(pc);
	int ret;

	pthread_mutex_lock(&c->mu);
	ret = confirm_locked(c, err);
	pthread_mutex_unlock(&c->mu);
	return ret;
}

/* Our slot of the row again, with what changed in c->mine. After a failed write it is not
 * known which of the two counts: only a new claim can tell. */
static int say(struct claim *c, struct hf_err *err)
{
	int ret = row_write(c->d, c->pub.id.row, &c->mine, &c->which);

	if (ret)
		c->broken = true;
	return ret ? io_err(c->d, err, ret) : 0;
}

/* Step 8. The newest base, appended before, is confirmed now; then the row says so; only then is
 * what is older free. */
int claim_trim(struct hf_claim *pc, uint64_t keep, struct hf_err *err)
{
	struct claim *c = claim_of(pc);
	struct pos *oldest = NULL, *newest;
	uint64_t total;
	bool tight;
	int ret;

	pthread_mutex_lock(&c->mu);
	ret = c->broken ? -EREMOTEIO : hf_seam("trim.confirm");
	if (!ret)
		ret = confirm_locked(c, err);
	if (ret || !c->nbase)
		goto out;
	newest = &c->base[c->nbase - 1];
	tight = area_tight(c->d);
	/* what is kept begins with a base, also where that of the first state is told of later */
	if (tight && keep < newest->gen && newest->gen > 1) {	/* before the first there is none */
		if (!c->short_said)
			hf_logf(HF_LOG_NOTE,
				"%s: space is short in the area of %s: history before generation %llu goes",
				pc->id.name, c->d->id.name, (unsigned long long)newest->gen);
		keep = pc->short_from = newest->gen;	/* space before history */
	} else if (keep >= pc->short_from) {
		pc->short_from = 0;
	}
	c->short_said = tight;
	for (size_t i = 0; i < c->nbase; i++)
		if (c->base[i].gen <= keep)
			oldest = &c->base[i];
	c->mine.acc.base = *newest;
	c->mine.acc.after = c->after;
	if (tight)
		oldest = newest;
	if (oldest)
		c->mine.acc.first = *oldest;
	if (keep > c->mine.acc.keep)
		c->mine.acc.keep = keep;
	c->mine.gen = c->gen;
	c->mine.gen_seq = c->seq - 1;
	ret = hf_seam("trim.row");
	/* in both sectors, before what only the older one tells of is used again */
	for (unsigned i = 0; i < 2 && !ret; i++)
		ret = say(c, err);
	if (ret)
		goto out;
	if (oldest) {
		struct pos p = *oldest;

		claim_free_before(c, &p);
	}
out:
	pthread_mutex_unlock(&c->mu);
	if (ret)
		return ret;
	/* of others only where room gets short: with a thousand logs that is a thousand rows */
	if (area_room(c->d, &total) < total / 2)
		area_collect(c->d);
	else
		area_collect_log(c->d, pc->id.row, pc->id.uuid);
	return 0;
}

int claim_note(struct hf_claim *pc, struct hf_err *err)
{
	struct claim *c = claim_of(pc);
	int ret = 0;

	pthread_mutex_lock(&c->mu);
	if (!c->broken && c->mine.gen_seq != c->seq - 1) {
		ret = confirm_locked(c, err);
		if (!ret) {
			c->mine.gen = c->gen;
			c->mine.gen_seq = c->seq - 1;
			ret = say(c, err);
		}
	}
	pthread_mutex_unlock(&c->mu);
	return ret;
}

int claim_release(struct hf_claim *pc, struct hf_err *err)
{
	struct claim *c = claim_of(pc);
	int ret;

	pthread_mutex_lock(&c->mu);
	ret = hf_seam("release.row");
	if (!ret)
		ret = confirm_locked(c, err);
	if (!ret) {
		c->mine.flags |= CLAIM_RELEASED;
		c->mine.gen = c->gen;
		c->mine.gen_seq = c->seq - 1;
		ret = say(c, err);
	}
	pthread_mutex_unlock(&c->mu);
	return ret;
}

void claim_drop(struct hf_claim *pc)
{
	struct claim *c = claim_of(pc);
	struct disk *d = c->d;
	uint32_t row = pc->id.row;

	claim_space_drop(c);
	pthread_mutex_destroy(&c->mu);
	free(c);
	row_unlock(d, row);
}

int claim_stat(struct hf_store *s, const struct hf_logid *id, struct hf_log_stat *st, struct hf_err *err)
{
	struct disk *d = disk_of(s);
	struct row *r = malloc(sizeof(*r));
	const struct claim_rec *acc;
	int ret;

	memset(st, 0, sizeof(*st));
	if (!r)
		return -ENOMEM;
	if (id->row >= d->sb.rows) {
		free(r);
		return -ENOENT;
	}
	ret = row_read(d, id->row, r);
	if (ret) {
		io_err(d, err, ret);
		goto out;
	}
	if (!d->joined)
		nodes_read(d);
	acc = row_accepted(r, id->uuid);
	st->ballot = row_max_ballot(r);
	if (acc) {
		st->epoch = acc->acc.epoch;
		st->slot = acc->acc.slot;
		memcpy(st->incarnation, acc->acc.incarnation, 16);
		st->released = acc->flags & CLAIM_RELEASED;
		st->mine = d->joined && !memcmp(acc->acc.incarnation, d->incarnation, 16);
		st->gen = acc->gen;
		st->base_gen = acc->acc.base.gen;
		st->owner = node_owner(d, &acc->acc, st->node);
	}
out:
	free(r);
	return ret;
}

int claim_read(struct hf_store *s, const struct hf_logid *id, uint64_t gen_from, struct hf_at *at,
	       hf_restart_fn restart, hf_rec_fn fn, void *ctx, struct hf_err *err)
{
	struct disk *d = disk_of(s);
	struct row *r = malloc(sizeof(*r));
	struct walk_opts o = { .history = gen_from != 0, .at = at, .restart = restart, .fn = fn, .ctx = ctx };
	struct walk_end end;
	struct claim_rec acc = { 0 };
	int ret;

	if (!r)
		return -ENOMEM;
	if (id->row >= d->sb.rows) {
		free(r);
		return -ENOENT;
	}
	for (unsigned tries = 0; ; tries++) {
		const struct claim_rec *a;
		struct hf_err e = { 0 };

		ret = row_read(d, id->row, r);
		if (ret) {
			io_err(d, err, ret);
			break;
		}
		a = row_accepted(r, id->uuid);
		if (!a) {
			if (at)
				at->here = false;
			ret = hf_fail(err, HF_NOTFOUND, -ENOENT, "%s has no generation yet", id->name);
			break;
		}
		if (tries > 1 && claim_same_place(a, &acc)) {
			ret = -EBADMSG;
			break;
		}
		acc = *a;
		ret = log_walk(d, &acc, &o, &end, &e);
		if (err && ret)
			*err = e;
		if (ret == -EBADMSG && tries <= 8)
			continue;
		if (ret)
			break;
		ret = row_read(d, id->row, r);
		if (ret) {
			io_err(d, err, ret);
			break;
		}
		/* as in adopt() */
		if (claim_same_place(row_accepted(r, id->uuid), &acc))
			break;
		if (tries > 8) {
			ret = hf_fail(err, HF_UNAVAIL, -EAGAIN, "%s is trimmed faster than it can be read; try again", id->name);
			break;
		}
	}
	free(r);
	return ret;
}
