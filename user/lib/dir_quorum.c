// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which directories of a set count: those that have everything that was ever confirmed. One that
 * failed is left out by a vote: Disk Paxos over a majority of all directories of the set, one
 * instance for each change. Each node has a vote in each directory, two slots at the head
 * of its file, in the form of a claim: of the row VOTE_ROW, with
 *
 *	gen		the instance, which begin with the set's epoch << 32; gen_seq: which count in it
 *	ballot		the highest ballot it has begun
 *	acc.epoch	the ballot in which it accepted acc.end_gen as the next ones
 *
 * Whoever decided an instance tells of the next one on a majority before it acts on it. So who
 * reads a majority and finds no later instance knows that nobody had acted on one when it
 * began to read: set_learn(). All under vote_mu.
 */
#include "dir_int.h"
#include <sodium.h>
#include <stdlib.h>

#define VOTE_ROW UINT32_MAX
#define TRIES 30

/* Of an even number the first directory has two votes: one of two goes on alone. */
bool dir_quorum(const struct dirset *s, uint32_t members)
{
	unsigned even = !(s->count % 2);

	return 2u * (unsigned)(__builtin_popcount(members) + (even && (members & 1))) > s->count + even;
}

static uint32_t slots(const struct disk *d) { return d->sb.row_stride / (2 * HFD_SECTOR); }

/* as rows are read: beside a torn slot the other counts, if it was read after it */
static int vote_read(struct disk *d, struct member *m, uint32_t slot, uint8_t *p, struct claim_rec *out,
		     enum slot_status *status)
{
	for (unsigned tries = 0; ; tries++) {
		struct claim_rec rec[2];
		enum slot_status st[2];
		int ret = member_read(d, m, slot, p, 2 * HFD_SECTOR, 0);

		if (ret)
			return ret;
		for (unsigned w = 0; w < 2; w++)
			st[w] = claim_in(&rec[w], &d->bind, VOTE_ROW, slot, w, p + w * HFD_SECTOR);
		if ((st[0] == SLOT_BAD || st[1] == SLOT_BAD) && tries < 4) {
			hf_sleep_ms(1);
			continue;
		}
		*status = SLOT_EMPTY;
		if (st[0] == SLOT_OK || st[1] == SLOT_OK) {
			*out = rec[st[1] == SLOT_OK && (st[0] != SLOT_OK || rec[1].seq > rec[0].seq)];
			*status = SLOT_OK;
		} else if (st[0] == SLOT_BAD) {
			*status = SLOT_BAD;	/* the second one is written first: see parse_slot() */
		}
		return 0;
	}
}

struct tally {
	uint64_t inst, top, bal;	/* newest instance; in it the highest ballot, and accepted one */
	uint32_t live, value;		/* who counts in it; what was accepted in bal */
	uint32_t told;			/* directories that say so */
	struct claim_rec own;
	bool has_own;
};

static void count_vote(struct tally *t, const struct claim_rec *v, unsigned member)
{
	if (v->gen > t->inst) {
		t->inst = v->gen;
		t->live = v->gen_seq;
		t->top = t->bal = 0;
		t->told = 0;
	}
	if (v->gen != t->inst)
		return;
	t->told |= 1u << member;
	if (v->ballot > t->top)
		t->top = v->ballot;
	if (v->acc.epoch > t->bal) {
		t->bal = v->acc.epoch;
		t->value = v->acc.end_gen;
	}
}

/* All votes, of a majority of the directories at least. */
static int votes_read(struct disk *d, struct tally *t)
{
	struct dirset *s = d->dirs;
	uint8_t *p = dio_alloc(2 * HFD_SECTOR);
	uint32_t read = 0;
	int ret = 0, last = -EIO;

	*t = (struct tally){ .inst = s->inst0, .live = (1u << s->count) - 1 };
	if (!p)
		return -ENOMEM;
	for (unsigned i = 0; i < s->count; i++) {
		for (uint32_t slot = 0; s->m[i] && slot < slots(d); slot++) {
			struct claim_rec v;
			enum slot_status st;

			ret = vote_read(d, s->m[i], slot, p, &v, &st);
			if (!ret && st == SLOT_BAD)
				ret = -EBADMSG;		/* not to be told: as if it could not be read */
			if (ret)
				break;
			if (st != SLOT_OK)
				continue;
			count_vote(t, &v, i);
			if (slot == d->id.slot && (!t->has_own || v.seq > t->own.seq)) {
				t->own = v;
				t->has_own = true;
			}
		}
		if (s->m[i] && !ret)
			read |= 1u << i;
		else if (s->m[i])
			last = ret;
		ret = 0;
	}
	free(p);
	return dir_quorum(s, read) ? 0 : last;
}

void set_adopt(struct disk *d, uint64_t inst, uint32_t live)
{
	struct dirset *s = d->dirs;

	pthread_mutex_lock(&s->mu);
	s->inst = inst;
	s->live = live;
	pthread_mutex_unlock(&s->mu);
}

/* The own vote, durably, in a majority; nothing of it once another has the slot: its votes lie there. */
static int vote_write(struct disk *d, struct claim_rec *v)
{
	struct dirset *s = d->dirs;
	uint8_t *p = dio_alloc(HFD_SECTOR);
	uint32_t wrote = 0;
	int ret = 0, last = -EIO;

	if (!p)
		return -ENOMEM;
	memcpy(v->log, d->sb.set_uuid, 16);
	memcpy(v->uuid, d->id.uuid, 16);
	memcpy(v->incarnation, d->incarnation, 16);
	v->seq = ++s->seq;
	s->which = !s->which;
	claim_out(v, &d->bind, VOTE_ROW, d->id.slot, s->which, p);
	for (unsigned i = 0; i < s->count && !ret; i++) {
		int done;

		ret = node_held(d);
		if (ret)
			break;
		done = s->m[i] ? member_write(d, s->m[i], d->id.slot, p, HFD_SECTOR, s->which * HFD_SECTOR, true) : -ENODEV;
		if (done)
			last = done;
		else
			wrote |= 1u << i;
	}
	free(p);
	return ret ? ret : dir_quorum(s, wrote) ? 0 : last;
}

/* A predecessor may have left votes that this majority does not show: go on well above them. */
static void take_up(struct disk *d, const struct tally *t)
{
	struct dirset *s = d->dirs;

	if (s->fresh)
		return;
	s->fresh = true;
	s->seq = (t->has_own ? t->own.seq : 0) + (1u << 20);
	s->which = 0;
}

/* 1: it is another set now. What is known to few yet nobody acts on: a majority is told first. */
static int learnt(struct disk *d, const struct tally *t)
{
	struct dirset *s = d->dirs;
	int ret;

	if (t->inst <= s->inst)
		return 0;
	if (!dir_quorum(s, t->told)) {
		struct claim_rec v = { .gen = t->inst, .gen_seq = t->live };

		if (s->phase != DIR_MEMBER)
			return 0;
		if (t->has_own && t->own.gen == t->inst)
			v = t->own;
		take_up(d, t);
		ret = vote_write(d, &v);
		if (ret)
			return ret;
	}
	for (unsigned i = 0; i < s->count; i++)
		if (s->live & ~t->live & 1u << i)
			hf_logf(HF_LOG_WARN, "%s failed, and counts no more: what is confirmed from now on is not there. When it is whole again, stop all daemons and run holdfast disk set",
				s->m[i] ? s->m[i]->path : "a directory that is not there, or that [store] url does not name,");
	set_adopt(d, t->inst, t->live);
	return 1;
}

int set_learn(struct disk *d)
{
	struct tally t;
	int ret;

	pthread_mutex_lock(&d->dirs->vote_mu);
	ret = votes_read(d, &t);
	if (!ret)
		ret = learnt(d, &t);
	pthread_mutex_unlock(&d->dirs->vote_mu);
	return ret;
}

static uint64_t ballot_above(uint64_t b, uint32_t slot)
{
	return (b / HF_MAX_NODES + 1) * HF_MAX_NODES + slot;
}

int set_seen(struct disk *d)
{
	struct tally t;
	int ret;

	pthread_mutex_lock(&d->dirs->vote_mu);
	ret = votes_read(d, &t);
	if (t.inst > d->dirs->inst)
		set_adopt(d, t.inst, t.live);
	pthread_mutex_unlock(&d->dirs->vote_mu);
	return ret;
}

/* One ballot of the instance at hand. 1: decided, told of and adopted; -EAGAIN: overtaken */
static int ballot(struct disk *d, struct tally *t, uint32_t bad)
{
	struct dirset *s = d->dirs;
	struct claim_rec v = { .gen = t->inst, .gen_seq = t->live };
	uint64_t inst = t->inst;
	uint32_t value;
	bool first = !s->fresh;
	int ret;

	take_up(d, t);
	if (t->has_own && t->own.gen == inst)
		v.acc = t->own.acc;
	v.ballot = ballot_above(t->top + (first ? (uint64_t)HF_MAX_NODES << 20 : 0), d->id.slot);
	ret = hf_seam("set.ballot");
	if (!ret)
		ret = vote_write(d, &v);
	if (!ret)
		ret = votes_read(d, t);
	if (ret)
		return ret;
	if (t->inst > inst || t->top > v.ballot)
		return t->inst > inst ? learnt(d, t) : -EAGAIN;
	value = t->bal ? t->value : t->live & ~bad;
	v.acc.epoch = v.ballot;
	v.acc.end_gen = value;
	ret = hf_seam("set.accept");
	if (!ret)
		ret = vote_write(d, &v);
	if (!ret)
		ret = votes_read(d, t);
	if (ret)
		return ret;
	if (t->inst > inst || t->top > v.ballot)
		return t->inst > inst ? learnt(d, t) : -EAGAIN;
	/* decided; others act on it only after a majority knows, and so do we */
	v.gen = inst + 1;
	v.gen_seq = value;
	v.ballot = 0;
	memset(&v.acc, 0, sizeof(v.acc));
	ret = hf_seam("set.tell");
	if (!ret)
		ret = vote_write(d, &v);
	if (ret)
		return ret;
	*t = (struct tally){ .inst = inst + 1, .live = value, .told = (1u << s->count) - 1 };
	return learnt(d, t);
}

int set_drop(struct disk *d, uint32_t bad)
{
	struct dirset *s = d->dirs;
	struct tally t;
	int ret = 0;

	if (s->phase != DIR_MEMBER)
		return -EIO;
	pthread_mutex_lock(&s->vote_mu);
	for (unsigned tries = 0; tries < TRIES; tries++) {
		ret = votes_read(d, &t);
		if (ret)
			break;
		ret = learnt(d, &t);
		if (ret < 0 || !(s->live & bad))
			break;
		if (!(s->live & ~bad)) {
			ret = -EIO;	/* nobody else has everything */
			break;
		}
		ret = ballot(d, &t, bad);
		if (ret < 0 && ret != -EAGAIN)
			break;
		if (ret == -EAGAIN)
			hf_sleep_ms(randombytes_uniform(20u << (tries < 5 ? tries : 5)));
	}
	if (ret > 0)
		ret = s->live & bad ? -EIO : 0;
	pthread_mutex_unlock(&s->vote_mu);
	return ret;
}
