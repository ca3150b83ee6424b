// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading a log: from its newest accepted claim back through the seals to a
 * base (or further, for its history), then forward, record by record.
 *
 * Only what is reached so counts: each record is bound to the one before it,
 * an epoch that was sealed ends where its seal says, and of the newest one the
 * longest prefix that is whole counts.
 *
 * What is read in order is read in growing pieces, the next one while the one at hand is
 * looked at: it may lie beyond the segment, where the log goes on more often than not.
 */
#include "disk_int.h"
#include <sodium.h>
#include <stdlib.h>

#define WINDOW_MIN (32u << 10)
#define WINDOW (512u << 10)
#define CHAIN_MAX 65536

struct window { uint8_t *p; size_t cap, len; uint64_t off; };

struct ahead {			/* a window that is being read */
	struct disk *d;
	struct window win;
	pthread_t thread;
	bool busy;
	int ret;
};

struct reader {
	struct disk *d;
	struct window win;
	struct ahead next;
	size_t step;		/* what was read at once */
	uint8_t *rec[2];	/* the record at hand, and the one before */
	size_t rec_cap[2];
};

static void reader_exit(struct reader *rd)
{
	if (rd->next.busy) {
		pthread_join(rd->next.thread, NULL);
		disk_counted(rd->next.win.len);
	}
	free(rd->next.win.p);
	free(rd->win.p);
	for (unsigned i = 0; i < 2; i++) {	/* decrypted */
		if (rd->rec[i])
			sodium_memzero(rd->rec[i], rd->rec_cap[i]);
		free(rd->rec[i]);
	}
}

static int fill(struct disk *d, struct window *w, uint64_t off, size_t n)
{
	int ret;

	w->len = 0;
	if (w->cap < n) {
		free(w->p);
		w->cap = 0;
		w->p = dio_alloc(n);
		if (!w->p)
			return -ENOMEM;
		w->cap = n;
	}
	ret = disk_read(d, w->p, n, off);
	if (ret)
		return ret;
	w->off = off;
	w->len = n;
	return 0;
}

static void *read_ahead(void *arg)
{
	struct ahead *a = arg;

	a->ret = fill(a->d, &a->win, a->win.off, WINDOW);
	return NULL;
}

static bool within(const struct window *w, uint64_t off, size_t n)
{
	return off >= w->off && off + n <= w->off + w->len;
}

/* @n bytes at @off, which is sector-aligned, of a segment that ends at @end */
static int view(struct reader *rd, uint64_t off, size_t n, uint64_t end, uint8_t **p)
{
	uint64_t size = __atomic_load_n(&rd->d->sb.size, __ATOMIC_RELAXED), limit = size > end ? size : end;
	struct window *w = &rd->win;
	struct ahead *a = &rd->next;
	size_t want;
	int ret;

	if (off + n > end)
		return -EBADMSG;
	if (within(w, off, n))
		goto out;
	if (a->busy) {
		struct window old = *w;

		pthread_join(a->thread, NULL);
		disk_counted(a->win.len);
		a->busy = false;
		if (!a->ret && within(&a->win, off, n)) {
			*w = a->win;
			a->win = old;
		}
	}
	if (!within(w, off, n)) {
		rd->step = w->len && off == w->off + w->len ? rd->step * 2 : WINDOW_MIN;
		if (rd->step > WINDOW)
			rd->step = WINDOW;
		want = n > rd->step ? n : rd->step;
		if (want > limit - off)
			want = limit - off;
		ret = fill(rd->d, w, off, want);
		if (ret && off + want > end)	/* what is beyond it is not needed */
			ret = fill(rd->d, w, off, end - off);
		if (ret)
			return ret;
	}
	if (rd->step == WINDOW && w->off + w->len + WINDOW <= limit) {
		a->d = rd->d;
		a->win.off = w->off + w->len;
		a->busy = !pthread_create(&a->thread, NULL, read_ahead, a);
	}
out:
	*p = w->p + (off - w->off);
	return 0;
}

struct held {			/* a record that was read and not yet handed on */
	bool have;
	bool before;		/* an earlier reading handed it on */
	struct hf_rec r;
	struct rec_hdr h;
	struct pos pos;
	uint8_t tail_hash[32];
};

/* The record at @pos into rec[which]. -EBADMSG: there is none that counts. */
static int read_rec(struct reader *rd, const struct epoch_desc *e, const uint8_t log[16],
		    const struct pos *pos, unsigned which, struct held *out)
{
	struct rec_bind rb = { .slot = e->slot, .epoch = e->epoch };
	uint64_t end = pos->seg + pos->seglen;
	size_t n;
	uint8_t *p;
	int ret;

	if (pos->place + HFD_SECTOR > end)
		return -EBADMSG;
	ret = view(rd, pos->place, HFD_SECTOR, end, &p);
	if (ret)
		return ret;
	if (!rec_peek(p, end - pos->place, &out->h) || out->h.seq != pos->seq)
		return -EBADMSG;
	n = (size_t)out->h.sectors * HFD_SECTOR;
	ret = view(rd, pos->place, n, end, &p);
	if (ret)
		return ret;
	if (rd->rec_cap[which] < n) {
		if (rd->rec[which])
			sodium_memzero(rd->rec[which], rd->rec_cap[which]);
		free(rd->rec[which]);
		rd->rec[which] = malloc(n);
		rd->rec_cap[which] = rd->rec[which] ? n : 0;
		if (!rd->rec[which])
			return -ENOMEM;
	}
	memcpy(rd->rec[which], p, rec_tail_at(&out->h));
	memcpy(rb.uuid, e->uuid, 16);
	memcpy(rb.incarnation, e->incarnation, 16);
	memcpy(rb.log, log, 16);
	memcpy(rb.prev, pos->prev, 16);
	ret = rec_in(&out->r, &rd->d->bind, &rb, rd->rec[which], out->tail_hash);
	if (ret)
		return ret;
	out->r.tail = pos->place + rec_tail_at(&out->h);
	out->pos = *pos;
	out->have = true;
	out->before = false;
	return 0;
}

static int tail_ok(struct reader *rd, const struct held *h)
{
	size_t n = rec_tail(&h->h), in = h->r.tail % HFD_SECTOR;
	uint8_t sum[32], *p;
	int ret;

	if (!n)
		return 0;
	ret = view(rd, h->r.tail - in, in + n, h->pos.seg + h->pos.seglen, &p);
	if (ret)
		return ret;
	hf_mac(rd->d->keys->mac, p + in, n, sum);
	return sodium_memcmp(sum, h->tail_hash, 32) ? -EBADMSG : 0;
}

struct walk {
	struct reader rd;
	const struct claim_rec *acc;
	const struct walk_opts *o;
	struct walk_end *end;
	struct pos pins;	/* the last PINS record: where a base begins */
	bool in_base;
	struct pos base_begin;
	bool around;		/* pass over a base that is damaged, where what came before it is there */
	bool headless;		/* what came before is not there: nothing counts until a base */
	const struct walk_at *from;	/* the record that is read next was handed on before */
};

/* The record up to which a reading got, and what it knew then. In the memory of who reads:
 * it only ever saves reading again what the log proves to be in it still. */
struct walk_at {
	uint64_t epoch;
	uint32_t slot;
	uint8_t uuid[16], incarnation[16];
	struct pos rec, next;
	uint8_t tag[16];
	struct walk_end end;
};
static_assert(sizeof(struct walk_at) <= sizeof(((struct hf_at *)0)->opaque), "it is kept there");

static struct walk_at *walk_at(struct hf_at *at) { return (struct walk_at *)at->opaque; }

static bool seg_sane(struct disk *d, const struct epoch_desc *e, const struct pos *p)
{
	return p->seglen && !((p->seg | p->seglen) % HFD_BLOCK) && area_has(d, e->slot, p->seg, p->seglen) &&
	       p->place >= p->seg && p->place < p->seg + p->seglen && !(p->place % HFD_SECTOR);
}

static void see_seg(struct walk *w, const struct epoch_desc *e, const struct pos *p)
{
	if (w->o->seg)
		w->o->seg(w->o->ctx, e->slot, p->seg, p->seglen);
}

static void next_pos(struct pos *p, const struct held *h)
{
	p->seq++;
	memcpy(p->prev, h->h.tag, 16);
	p->place += rec_size(&h->h);
}

/*
 * What was read up to @pos, which cannot be read, is the very state that the newest base of the epoch
 * holds, and where the log goes on behind that base is known: the claim says both, so nothing
 * can have been left out.
 */
static bool may_pass(const struct walk *w, const struct epoch_desc *e, const struct pos *from, const struct pos *pos)
{
	const struct pos *b = &e->base, *a = &e->after;

	return w->around && !w->headless && b->place && a->place && from->seq < b->seq && pos->seq >= b->seq &&
	       pos->seq < a->seq && w->end->gen == b->gen &&
	       (pos->seq > b->seq || !memcmp(pos->prev, b->prev, 16));
}

static void pass(struct walk *w, const struct epoch_desc *e, struct pos *pos)
{
	struct disk *d = w->rd.d;

	hf_logf(HF_LOG_ERR, "%s: the base of generation %llu at offset %llu is damaged (record %llu of epoch %llu, node slot %u); what it held is put together from what came before it",
		d->path, (unsigned long long)e->base.gen, (unsigned long long)e->base.place,
		(unsigned long long)pos->seq, (unsigned long long)e->epoch, e->slot);
	w->end->damaged = w->end->base = e->base;
	w->end->after = e->after;
	w->end->base_epoch = e->epoch;
	w->end->seq = e->after.seq - 1;
	memcpy(w->end->tag, e->after.prev, 16);
	w->end->bare = false;
	w->in_base = false;
	*pos = e->after;
}

/* Older than what is kept: some of it may be there still, but its contents need not be. What is
 * kept begins with a base. */
static bool trimmed(const struct walk *w, const struct hf_rec *r)
{
	uint64_t keep = w->acc->acc.keep;

	return w->o->history && keep && (r->gen < keep || (r->gen == keep && r->kind == HF_REC_DELTA));
}

static uint64_t block_of(uint64_t place) { return place / HFD_BLOCK; }

/*
 * Is what lies at @p damaged, or was its block used again? Blocks are written from their begin
 * on: where something before @p in the same block was read (@read_from: since where), nothing is
 * newer; nor where the header at @p still has the tag that the record after it, or the seal, names.
 * Only for what lies in one block.
 */
static bool not_reused(struct walk *w, const struct epoch_desc *e, const struct pos *p, uint64_t read_from)
{
	uint64_t end = p->seg + p->seglen, block = block_of(p->place) * HFD_BLOCK;
	struct pos next = *p;
	struct held h = { 0 };
	struct rec_hdr hdr;
	uint8_t *v;
	bool whole;

	if (!seg_sane(w->rd.d, e, p) || view(&w->rd, p->place, HFD_SECTOR, end, &v))
		return false;
	whole = rec_peek(v, end - p->place, &hdr);
	if (whole && block_of(p->place + rec_size(&hdr) - 1) != block_of(p->place))
		return false;
	if (block < p->place && read_from <= block)
		return true;
	if (!whole)
		return false;
	if (e->end_seq == p->seq && !memcmp(hdr.tag, e->end_tag, 16))
		return true;
	next.place += rec_size(&hdr);
	next.seq++;
	memcpy(next.prev, hdr.tag, 16);
	return !read_rec(&w->rd, e, w->acc->log, &next, 0, &h);
}

static void see_gap(struct walk *w, struct walk_gap *g, const struct epoch_desc *e, const struct pos *p,
		    uint64_t read_from)
{
	g->epoch = e->epoch;
	g->slot = e->slot;
	g->seq = p->seq;
	g->place = p->place;
	g->seal = !p->seq;
	g->sure = not_reused(w, e, p, read_from);
}

static void remember(struct walk *w, const struct epoch_desc *e, const struct held *h)
{
	struct walk_at *at = walk_at(w->o->at);

	at->epoch = e->epoch;
	at->slot = e->slot;
	memcpy(at->uuid, e->uuid, 16);
	memcpy(at->incarnation, e->incarnation, 16);
	at->rec = at->next = h->pos;
	next_pos(&at->next, h);
	memcpy(at->tag, h->h.tag, 16);
	at->end = *w->end;
	w->o->at->here = true;
	w->o->at->epoch = e->epoch;
	w->o->at->gen = h->r.gen;
}

static int hand_on(struct walk *w, const struct epoch_desc *e, const struct held *h)
{
	const struct hf_rec *r = &h->r;
	bool skip = trimmed(w, r) || (w->headless && r->kind != HF_REC_BASE);
	struct hf_rd rd;
	int ret = 0;

	if (h->before)
		return 0;
	switch ((int)r->kind) {
	case REC_PINS:
		w->pins = h->pos;
		/* no place to go on from, as a seal need not count it, but nothing new either */
		if (w->o->at && w->o->at->here && walk_at(w->o->at)->next.place == h->pos.place)
			next_pos(&walk_at(w->o->at)->next, h);
		hf_rd_init(&rd, r->payload, r->len);
		while (w->o->seg && rd.p < rd.end && !rd.bad) {
			uint32_t at = hf_rd_u32(&rd), n = hf_rd_u32(&rd), left;

			/* a run of blocks may go on in the next part of the area */
			while (n) {
				uint64_t place = area_at(w->rd.d, e->slot, at, &left);

				if (!left)
					break;
				left = left < n ? left : n;
				w->o->seg(w->o->ctx, e->slot, place, (uint64_t)left * HFD_BLOCK);
				at += left;
				n -= left;
			}
		}
		return 0;
	case HF_REC_NEXT:
		return 0;
	case HF_REC_BASE:
		if (!w->in_base || (r->flags & HF_REC_FIRST))
			w->base_begin = w->pins;
		w->in_base = r->flags & HF_REC_PART;
		if (!w->in_base) {
			w->end->base = w->base_begin;
			w->end->base.gen = r->gen;
			w->end->base_epoch = e->epoch;
			w->end->after = h->pos;
			w->end->after.gen = 0;
			next_pos(&w->end->after, h);
			w->headless &= skip;
		}
		break;
	default:
		break;
	}
	if (r->kind == HF_REC_DELTA || r->kind == HF_REC_BASE)
		w->end->bare = false;
	if (!(r->flags & HF_REC_PART)) {
		w->end->gen = r->gen;
		w->end->seq = h->pos.seq;
		memcpy(w->end->tag, h->h.tag, 16);
		w->end->released = r->kind == HF_REC_RELEASE;
	}
	if (r->kind != HF_REC_SEAL && w->o->fn && !skip)
		ret = w->o->fn(w->o->ctx, r);
	if (!ret && w->o->at && !(r->flags & HF_REC_PART))
		remember(w, e, h);
	return ret;
}

/* @bound: the epoch was sealed; else it ends with the last whole record, which
 * must not come before @known */
static int walk_epoch(struct walk *w, const struct epoch_desc *e, const struct pos *from, bool bound,
		      uint64_t known, struct hf_err *err)
{
	struct disk *d = w->rd.d;
	struct held held[2] = { 0 };
	struct pos pos = *from;
	uint64_t read_from = pos.place;
	unsigned cur = 0;
	int ret;

	if (!seg_sane(d, e, &pos)) {
		see_gap(w, &w->end->gap, e, &pos, pos.place);
		return hf_fail(err, HF_DAMAGED, -EBADMSG, "%s: epoch %llu begins outside the area of its node",
			       d->path, (unsigned long long)e->epoch);
	}
	see_seg(w, e, &pos);
	w->in_base = false;
	for (;;) {
		struct held *h = &held[cur], *before = &held[!cur];
		bool cut;

		if (bound && pos.seq > e->end_seq)
			break;
		h->have = false;
		ret = read_rec(&w->rd, e, w->acc->log, &pos, cur, h);
		cut = ret == -EBADMSG && w->around && e->base.seq <= pos.seq && pos.seq < e->after.seq;
		if (ret == -EBADMSG && !bound && pos.seq > known && !cut)
			break;
		if (ret && !cut)
			goto bad;
		if (w->from) {
			h->before = true;
			ret = memcmp(h->h.tag, w->from->tag, 16) ? -EBADMSG : 0;
			w->from = NULL;
			if (ret)
				goto bad;
		}
		if (before->have) {
			ret = w->o->verify_tails || cut ? tail_ok(&w->rd, before) : 0;
			if (ret) {
				pos = before->pos;
				goto bad;
			}
			before->have = false;
			ret = hand_on(w, e, before);
			if (ret)
				return ret;
		}
		if (cut) {
			if (!may_pass(w, e, from, &pos) || !seg_sane(d, e, &e->after)) {
				ret = -EBADMSG;
				goto bad;
			}
			see_gap(w, &w->end->passed, e, &pos, read_from);
			pass(w, e, &pos);
			read_from = pos.place;
			see_seg(w, e, &pos);
			continue;
		}
		next_pos(&pos, h);
		if (h->r.kind == HF_REC_NEXT) {
			struct pos next = pos;

			ret = next_payload_in(h->r.payload, h->r.len, &next.seg, &next.seglen);
			next.place = next.seg;
			if (ret || !seg_sane(d, e, &next))
				goto bad;
			pos = next;
			read_from = pos.place;
			see_seg(w, e, &pos);
		}
		cur = !cur;
	}
	/* the last one may be torn in what travelled with it */
	struct held *last = &held[!cur];

	if (!last->have)
		return w->from ? -EBADMSG : 0;
	ret = tail_ok(&w->rd, last);
	if (ret == -EBADMSG && !bound && last->pos.seq > known && !last->before)
		return 0;
	if (!ret && bound && memcmp(last->h.tag, e->end_tag, 16))
		ret = -EBADMSG;
	if (!ret)
		return hand_on(w, e, last);
	pos = last->pos;
bad:
	see_gap(w, &w->end->gap, e, &pos, read_from);
	if (ret == -EBADMSG)
		return hf_fail(err, HF_DAMAGED, ret,
			       "%s: record %llu of epoch %llu (node slot %u, offset %llu) is damaged or not authentic; `holdfast disk check` tells what is damaged",
			       d->path, (unsigned long long)pos.seq, (unsigned long long)e->epoch, e->slot,
			       (unsigned long long)pos.place);
	return hf_fail(err, HF_UNAVAIL, ret, "%s cannot be read: %s", d->path, strerror(-ret));
}

/* The epoch before @e, from @e's seal. 1: there is none that can be asked for. */
static int prev_epoch(struct walk *w, const struct epoch_desc *e, struct epoch_desc *prev)
{
	struct held h = { 0 };
	int ret;

	if (!seg_sane(w->rd.d, e, &e->first))
		return -EBADMSG;
	if (e->first.seq)
		return 1;	/* trimmed up to a base */
	ret = read_rec(&w->rd, e, w->acc->log, &e->first, 0, &h);
	if (ret)
		return ret;
	if (h.r.kind != HF_REC_SEAL || seal_payload_in(h.r.payload, h.r.len, prev))
		return -EBADMSG;
	/* only ever downwards: no ring */
	if (prev->epoch >= e->epoch)
		return -EBADMSG;
	return prev->epoch ? 0 : 1;
}

struct chain { struct epoch_desc *e; size_t n; };	/* newest first */

static int chain_add(struct chain *c, const struct epoch_desc *e)
{
	struct epoch_desc *p = c->n < CHAIN_MAX ? realloc(c->e, (c->n + 1) * sizeof(*p)) : NULL;

	if (!p)
		return -ENOMEM;
	c->e = p;
	p[c->n++] = *e;
	return 0;
}

/* Follow the seals down to an epoch with a base; @all: to the first, @more: below the last of
 * the chain at any rate. -EBADMSG: a seal cannot be read. */
static int chain_down(struct walk *w, struct chain *c, bool all, bool more, struct hf_err *err)
{
	struct disk *d = w->rd.d;

	for (; all || more || !c->e[c->n - 1].base.place; more = false) {
		const struct epoch_desc *e = &c->e[c->n - 1];
		struct epoch_desc prev;
		int ret = prev_epoch(w, e, &prev);

		if (ret == 1)
			break;
		if (ret)
			see_gap(w, &w->end->gap, e, &e->first, e->first.place);
		if (ret == -EBADMSG)
			return hf_fail(err, HF_DAMAGED, ret,
				       "%s: the seal of epoch %llu (node slot %u, offset %llu) is damaged or not authentic; `holdfast disk check` tells what is damaged",
				       d->path, (unsigned long long)e->epoch, e->slot, (unsigned long long)e->first.place);
		if (ret)
			return hf_fail(err, HF_UNAVAIL, ret, "%s cannot be read: %s", d->path, strerror(-ret));
		ret = chain_add(c, &prev);
		if (ret)
			return ret;
	}
	return 0;
}

/* Forward from the epoch @oldest; @at_base: from its base, if it has one. */
static int chain_up(struct walk *w, const struct chain *c, size_t oldest, bool at_base, struct hf_err *err)
{
	struct walk_end fresh = { .gap = w->end->gap };
	int ret = 0;

	if (w->o->restart)
		w->o->restart(w->o->ctx);
	*w->end = fresh;
	w->headless = oldest + 1 < c->n && !(at_base && c->e[oldest].base.place);
	for (size_t i = oldest + 1; i-- > 0 && !ret; ) {
		const struct epoch_desc *e = &c->e[i];
		bool base = i == oldest && at_base && e->base.place;

		w->end->bare = true;
		ret = walk_epoch(w, e, base ? &e->base : &e->first, i > 0, i ? 0 : w->acc->gen_seq, err);
	}
	return ret ? ret : w->headless ? -EBADMSG : 0;
}

/* From as far back as it can be read. What is older than a base may be trimmed at any time, and is not needed: what is
 * kept may begin with any base of an epoch, not only with its newest. */
static int walk_history(struct walk *w, struct chain *c, struct hf_err *err)
{
	bool at_base = false;
	size_t oldest;
	int ret = chain_down(w, c, true, false, err);

	w->around = true;
	oldest = c->n - 1;
	if (ret == -EBADMSG) {
		while (oldest && !c->e[oldest].base.place)
			oldest--;
		if (!c->e[oldest].base.place)
			return ret;
		at_base = oldest + 1 == c->n;
		ret = 0;
	}
	while (!ret) {
		ret = chain_up(w, c, oldest, at_base, err);
		if (ret != -EBADMSG)
			break;
		at_base = !at_base && c->e[oldest].base.place;
		while (!at_base) {
			if (!oldest)
				return ret;
			if (c->e[--oldest].base.place)
				break;
		}
		ret = 0;
	}
	return ret;
}

/*
 * Go on where an earlier reading ended: at a record of an epoch of this chain which is there as
 * it was, and behind which the epoch keeps everything. -EBADMSG: it must be read from a base.
 */
static int chain_resume(struct walk *w, const struct chain *c, struct hf_err *err)
{
	const struct walk_at at = *walk_at(w->o->at);
	size_t from = 0;
	int ret = 0;

	while (from < c->n && (c->e[from].epoch != at.epoch || c->e[from].slot != at.slot ||
			       memcmp(c->e[from].uuid, at.uuid, 16) ||
			       memcmp(c->e[from].incarnation, at.incarnation, 16)))
		from++;
	if (from == c->n || at.rec.seq < c->e[from].first.seq || (from && at.rec.seq > c->e[from].end_seq))
		return -EBADMSG;
	w->from = &at;
	*w->end = at.end;
	for (size_t i = from + 1; i-- > 0 && !ret; ) {
		const struct epoch_desc *e = &c->e[i];

		if (i < from)
			w->end->bare = true;
		ret = walk_epoch(w, e, i == from ? &at.rec : &e->first, i > 0, i ? 0 : w->acc->gen_seq, err);
	}
	w->from = NULL;
	return ret;
}

/* From the newest base; if that is damaged, from the one before it, or from where the log begins. */
static int walk_newest(struct walk *w, struct chain *c, struct hf_err *err)
{
	struct hf_err first = { 0 };
	struct walk_gap gap;
	struct epoch_desc *e;
	size_t n;
	int ret = chain_down(w, c, false, false, &first), again = -EBADMSG;

	n = c->n;
	e = &c->e[n - 1];
	if (!ret && w->o->at && w->o->at->here) {
		ret = chain_resume(w, c, err);
		if (ret != -EBADMSG)
			return ret;
		memset(w->end, 0, sizeof(*w->end));
		if (err)
			memset(err, 0, sizeof(*err));
		ret = 0;
	}
	if (w->o->at)
		w->o->at->here = false;
	if (!ret)
		ret = chain_up(w, c, n - 1, true, &first);
	gap = w->end->gap;
	if (ret == -EBADMSG && e->base.place && e->after.place) {
		w->around = true;
		again = e->first.seq ? 0 : chain_down(w, c, false, true, NULL);
		if (!again)
			again = chain_up(w, c, c->n - 1, c->n > n, NULL);
	}
	/* what is told is why it could not be read at first */
	if (again == -EBADMSG) {
		w->end->gap = gap;
		if (ret && err)
			*err = first;
		return ret;
	}
	return again;
}

int log_walk(struct disk *d, const struct claim_rec *acc, const struct walk_opts *o,
	     struct walk_end *end, struct hf_err *err)
{
	struct walk w = { .rd = { .d = d }, .acc = acc, .o = o, .end = end };
	struct chain c = { 0 };
	int ret = chain_add(&c, &acc->acc);

	memset(end, 0, sizeof(*end));
	if (!ret && o->kept) {
		w.around = true;
		ret = chain_up(&w, &c, 0, false, err);
	} else if (!ret) {
		ret = o->history ? walk_history(&w, &c, err) : walk_newest(&w, &c, err);
	}
	if (c.n > 1)
		end->below = c.e[1];
	reader_exit(&w.rd);
	free(c.e);
	return ret;
}

/* Only a hint, so nothing is authenticated: who reads on does that. */
int log_more(struct disk *d, const struct hf_at *hint)
{
	const struct pos *p = &((const struct walk_at *)hint->opaque)->next;
	uint32_t slot = ((const struct walk_at *)hint->opaque)->slot;
	struct rec_hdr h;
	uint8_t *v;
	int ret;

	if (!hint->here || p->place + HFD_SECTOR > p->seg + p->seglen || !in_area(d, slot, p->place, HFD_SECTOR))
		return 1;
	v = dio_alloc(HFD_SECTOR);
	if (!v)
		return -ENOMEM;
	ret = disk_read(d, v, HFD_SECTOR, p->place);
	if (!ret)
		ret = rec_peek(v, p->seg + p->seglen - p->place, &h) && h.seq == p->seq;
	free(v);
	return ret;
}
