// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading a log: from its newest accepted claim back through the seals to a
 * base (or further, for its history), then forward, record by record.
 *
 * Only what is reached so counts: each record is bound to the one before it,
 * an epoch that was sealed ends where its seal says, and of the newest one the
 * longest prefix that is whole counts.
 */
#include "disk_int.h"
#include <sodium.h>
#include <stdlib.h>

#define WINDOW (512u << 10)
#define CHAIN_MAX 65536

struct reader {
	struct disk *d;
	uint8_t *win;
	size_t win_cap;
	uint64_t win_off;
	size_t win_len;
	uint8_t *rec[2];	/* the record at hand, and the one before */
	size_t rec_cap[2];
};

static void reader_exit(struct reader *rd)
{
	free(rd->win);
	free(rd->rec[0]);
	free(rd->rec[1]);
}

/* @n bytes at @off, reading ahead up to @end */
static int view(struct reader *rd, uint64_t off, size_t n, uint64_t end, uint8_t **p)
{
	int ret;

	if (off < rd->win_off || off + n > rd->win_off + rd->win_len) {
		size_t want = n > WINDOW ? n : WINDOW;

		if (want > end - off)
			want = end - off;
		if (want < n)
			return -EBADMSG;
		if (rd->win_cap < want) {
			free(rd->win);
			rd->win_cap = 0;
			rd->win = dio_alloc(want);
			if (!rd->win)
				return -ENOMEM;
			rd->win_cap = want;
		}
		rd->win_len = 0;
		ret = disk_read(rd->d, rd->win, want, off);
		if (ret)
			return ret;
		rd->win_off = off;
		rd->win_len = want;
	}
	*p = rd->win + (off - rd->win_off);
	return 0;
}

struct held {			/* a record that was read and not yet handed on */
	bool have;
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
		free(rd->rec[which]);
		rd->rec[which] = malloc(n);
		rd->rec_cap[which] = rd->rec[which] ? n : 0;
		if (!rd->rec[which])
			return -ENOMEM;
	}
	memcpy(rd->rec[which], p, n);
	memcpy(rb.uuid, e->uuid, 16);
	memcpy(rb.incarnation, e->incarnation, 16);
	memcpy(rb.log, log, 16);
	memcpy(rb.prev, pos->prev, 16);
	ret = rec_in(&out->r, &rd->d->bind, &rb, rd->rec[which], out->tail_hash);
	if (ret)
		return ret;
	out->r.tail = pos->place + n;
	out->pos = *pos;
	out->have = true;
	return 0;
}

static int tail_ok(struct reader *rd, const struct held *h)
{
	size_t n = (size_t)h->h.tail * HFD_SECTOR;
	uint8_t sum[32], *p;
	int ret;

	if (!n)
		return 0;
	ret = view(rd, h->r.tail, n, h->pos.seg + h->pos.seglen, &p);
	if (ret)
		return ret;
	hf_mac(rd->d->keys->mac, p, n, sum);
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
};

static bool seg_sane(struct disk *d, const struct epoch_desc *e, const struct pos *p)
{
	return p->seglen && area_has(d, e->slot, p->seg, p->seglen) && p->place >= p->seg &&
	       p->place < p->seg + p->seglen && !(p->place % HFD_SECTOR);
}

static void see_seg(struct walk *w, const struct epoch_desc *e, const struct pos *p)
{
	if (w->o->seg)
		w->o->seg(w->o->ctx, e->slot, p->seg, p->seglen);
}

static int hand_on(struct walk *w, const struct epoch_desc *e, const struct held *h)
{
	const struct hf_rec *r = &h->r;
	struct hf_rd rd;

	switch ((int)r->kind) {
	case REC_PINS:
		w->pins = h->pos;
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
		}
		break;
	default:
		break;
	}
	if (!(r->flags & HF_REC_PART)) {
		w->end->gen = r->gen;
		w->end->seq = h->pos.seq;
		memcpy(w->end->tag, h->h.tag, 16);
		w->end->released = r->kind == HF_REC_RELEASE;
	}
	return r->kind == HF_REC_SEAL || !w->o->fn ? 0 : w->o->fn(w->o->ctx, r);
}

/* @bound: the epoch was sealed; else it ends with the last whole record, which
 * must not come before @known */
static int walk_epoch(struct walk *w, const struct epoch_desc *e, const struct pos *from, bool bound,
		      uint64_t known, struct hf_err *err)
{
	struct disk *d = w->rd.d;
	struct held held[2] = { 0 };
	struct pos pos = *from;
	unsigned cur = 0;
	int ret;

	if (!seg_sane(d, e, &pos))
		return hf_fail(err, HF_DAMAGED, -EBADMSG, "%s: epoch %llu begins outside the area of its node",
			       d->path, (unsigned long long)e->epoch);
	see_seg(w, e, &pos);
	w->in_base = false;
	for (;;) {
		struct held *h = &held[cur], *before = &held[!cur];

		if (bound && pos.seq > e->end_seq)
			break;
		h->have = false;
		ret = read_rec(&w->rd, e, w->acc->log, &pos, cur, h);
		if (ret == -EBADMSG && !bound && pos.seq > known)
			break;
		if (ret)
			goto bad;
		if (before->have) {
			ret = w->o->verify_tails ? tail_ok(&w->rd, before) : 0;
			if (ret)
				goto bad;
			before->have = false;
			ret = hand_on(w, e, before);
			if (ret)
				return ret;
		}
		pos.seq++;
		memcpy(pos.prev, h->h.tag, 16);
		pos.place += ((uint64_t)h->h.sectors + h->h.tail) * HFD_SECTOR;
		if (h->r.kind == HF_REC_NEXT) {
			struct pos next = pos;

			ret = next_payload_in(h->r.payload, h->r.len, &next.seg, &next.seglen);
			next.place = next.seg;
			if (ret || !seg_sane(d, e, &next))
				goto bad;
			pos = next;
			see_seg(w, e, &pos);
		}
		cur = !cur;
	}
	/* the last one may be torn in what travelled with it */
	struct held *last = &held[!cur];

	if (!last->have)
		return 0;
	ret = tail_ok(&w->rd, last);
	if (ret == -EBADMSG && !bound && last->pos.seq > known)
		return 0;
	if (!ret && bound && memcmp(last->h.tag, e->end_tag, 16))
		ret = -EBADMSG;
	if (ret)
		goto bad;
	return hand_on(w, e, last);
bad:
	if (ret == -EBADMSG)
		return hf_fail(err, HF_DAMAGED, ret,
			       "%s: record %llu of epoch %llu (node slot %u, offset %llu) is damaged or not authentic",
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

int log_walk(struct disk *d, const struct claim_rec *acc, const struct walk_opts *o,
	     struct walk_end *end, struct hf_err *err)
{
	struct walk w = { .rd = { .d = d }, .acc = acc, .o = o, .end = end };
	struct epoch_desc *ch = malloc(sizeof(*ch));
	bool at_base = !o->history;
	size_t n = 1, oldest;
	int ret = 0;

	memset(end, 0, sizeof(*end));
	if (!ch)
		return -ENOMEM;
	ch[0] = acc->acc;
	while (o->history || !ch[n - 1].base.place) {
		struct epoch_desc prev, *p;

		ret = prev_epoch(&w, &ch[n - 1], &prev);
		if (ret == 1)
			break;
		if (ret == -EBADMSG) {
			size_t k = n;

			/* what is older than a base may have been trimmed, and is not needed */
			while (k > 1 && !ch[k - 1].base.place)
				k--;
			if (ch[k - 1].base.place) {
				n = k;
				at_base = true;
				break;
			}
		}
		if (ret) {
			if (ret == -EBADMSG)
				hf_fail(err, HF_DAMAGED, ret,
					"%s: the seal of epoch %llu (node slot %u, offset %llu) is damaged or not authentic",
					d->path, (unsigned long long)ch[n - 1].epoch, ch[n - 1].slot,
					(unsigned long long)ch[n - 1].first.place);
			else
				hf_fail(err, HF_UNAVAIL, ret, "%s cannot be read: %s", d->path, strerror(-ret));
			goto out;
		}
		p = n < CHAIN_MAX ? realloc(ch, (n + 1) * sizeof(*ch)) : NULL;
		if (!p) {
			ret = -ENOMEM;
			goto out;
		}
		ch = p;
		ch[n++] = prev;
	}
	for (oldest = n - 1; ; ) {
		if (o->restart)
			o->restart(o->ctx);
		memset(end, 0, sizeof(*end));
		ret = 0;
		for (size_t i = oldest + 1; i-- > 0 && !ret; ) {
			const struct epoch_desc *e = &ch[i];
			bool base = i == oldest && at_base && e->base.place;

			ret = walk_epoch(&w, e, base ? &e->base : &e->first, i > 0, i ? 0 : acc->gen_seq, err);
		}
		if (ret != -EBADMSG || !o->history)
			break;
		/* older history may be trimmed at any time: go on from the next base */
		if (at_base || !ch[oldest].base.place) {
			do {
				if (!oldest)
					goto out;
			} while (!ch[--oldest].base.place);
		}
		at_base = true;
	}
	if (n > 1)
		end->below = ch[1];
out:
	reader_exit(&w.rd);
	free(ch);
	return ret;
}
