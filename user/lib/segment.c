// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The segments and packs of a claim: appending records, putting bytes, and
 * which blocks of the own area the log stands on. All under claim.mu.
 *
 * A segment holds records, each with the bytes that travel with it, and ends
 * with a NEXT record. A pack holds bytes alone. So that the area can be mapped again
 * from the logs, a log tells of its packs (PINS) before a record refers to
 * them, and a base is preceded by the list of all blocks that are in use.
 */
#include "disk_int.h"
#include <stdlib.h>
#include <unistd.h>

#define PACK_BUF (256u << 10)
#define PACK_MUCH (1u << 20)	/* where there is more: each write waits for a thread and for the disk */

static int no_space(struct claim *c, struct hf_err *err)
{
	return hf_fail(err, HF_UNAVAIL, -ENOSPC,
		       "the area of node %s on %s is full; what was confirmed is safe, and changes wait on this node, together, until they fit. Delete files, history pins or resources, set a smaller retain, or grow the disk",
		       c->d->id.name, c->d->path);
}

static int io_err(struct claim *c, struct hf_err *err, int ret, const char *done)
{
	return hf_fail(err, ret == -ESTALE ? HF_STALE : HF_UNAVAIL, ret, "%s cannot be %s: %s", c->d->path, done,
		       disk_strerror(c->d, ret));
}

/* A base goes as deep as it gives back: or claims, which have no other use for their blocks than
 * to hold them, could keep all others from making room. */
uint32_t base_reserve(const struct claim *c)
{
	uint32_t leave = area_reserve(c->d, TIER_BASE), back = area_pinned(c->d, c->pub.id.uuid);

	for (size_t i = 0; i + 1 < c->nseg; i++)
		back += c->seg[i].len / HFD_BLOCK;
	return leave > back ? leave - back : 0;
}

static uint32_t leave_free(const struct claim *c)
{
	return c->tier == TIER_BASE ? base_reserve(c) : area_reserve(c->d, c->tier);
}

/* a log that has room ahead is a comfort; with many of them, or in the end, none takes more than
 * it needs */
static uint32_t modest(const struct claim *c, uint32_t want, uint32_t min)
{
	uint64_t total, room = area_room(c->d, &total);

	if (want <= min)
		return min;
	if (room >= total / 2)
		return want;
	return want / 4 > min && !area_tight(c->d) ? want / 4 : min;
}

static int take(struct claim *c, uint32_t want, uint32_t min, uint64_t *place, uint32_t *len,
		struct hf_err *err)
{
	uint32_t leave = leave_free(c);

	want = modest(c, want, min);
	if (!area_take(c->d, want, min, leave, place, len))
		return 0;
	area_collect(c->d);
	return area_take(c->d, want, min, leave, place, len) ? no_space(c, err) : 0;
}

static int push(struct seg **arr, size_t *n, const struct seg *s)
{
	struct seg *p = realloc(*arr, (*n + 1) * sizeof(**arr));

	if (!p)
		return -ENOMEM;
	p[(*n)++] = *s;
	*arr = p;
	return 0;
}

static struct seg *last_seg(struct claim *c) { return c->nseg ? &c->seg[c->nseg - 1] : NULL; }

/*
 * A new segment that has room for @bytes and a NEXT record. @more will follow at once: each NEXT is a
 * durable write of its own. An epoch that only passes from node to node ends in its first block,
 * and history keeps all that it took: it gets more when it has filled that.
 */
static int seg_new(struct claim *c, uint64_t bytes, bool more, struct seg *s, struct hf_err *err)
{
	uint32_t min = (bytes + HFD_SECTOR + HFD_BLOCK - 1) / HFD_BLOCK;
	uint32_t want = 1;

	if (c->pub.id.row && area_blocks(c->d) >= 256 && c->nseg)
		want = more ? 2 * min : c->nseg < 2 ? 2 : 4;
	want = want < 16 ? want : 16;
	*s = (struct seg){ .last_gen = c->gen };
	return take(c, want > min ? want : min, min, &s->place, &s->len, err);
}

int seg_open(struct claim *c, struct hf_err *err)
{
	struct seg s;
	int ret;

	c->tier = TIER_SEAL;
	ret = seg_new(c, HFD_SECTOR, false, &s, err);
	if (ret)
		return ret;
	ret = push(&c->seg, &c->nseg, &s);
	if (ret) {
		area_pin(c->d, s.place, s.len, -1);
		return ret;
	}
	c->place = s.place;
	return 0;
}

static int room_buf(struct claim *c, size_t n)
{
	if (c->bufcap < n) {
		uint8_t *p = dio_alloc(n);

		if (!p)
			return -ENOMEM;
		free(c->buf);
		c->buf = p;
		c->bufcap = n;
	}
	memset(c->buf, 0, n);
	return 0;
}

/* one record into the open segment, which has room for it */
static int put_rec(struct claim *c, const struct hf_rec *r, const void *tail, size_t taillen,
		   uint64_t *tail_place, struct hf_err *err)
{
	struct rec_shape s = rec_shape(r->len, taillen);
	size_t n = rec_size(&s);
	uint8_t tag[16];
	int ret = room_buf(c, n);

	if (ret)
		return ret;
	rec_out(r, c->seq, tail, taillen, &c->d->bind, &c->rb, c->buf, tag);
	ret = disk_write(c->d, c->buf, n, c->place);
	if (ret) {
		/* some of it may have landed: nothing can follow it */
		c->broken = true;
		return io_err(c, err, ret, "written");
	}
	if (tail_place)
		*tail_place = c->place + rec_tail_at(&s);
	memcpy(c->rb.prev, tag, 16);
	c->seq++;
	c->place += n;
	last_seg(c)->last_gen = r->gen;
	return 0;
}

static int ensure_room(struct claim *c, size_t n, bool more, struct hf_err *err)
{
	struct hf_buf b = HF_BUF_INIT;
	struct seg s;
	int ret;

	if (c->place + n + HFD_SECTOR <= last_seg(c)->place + last_seg(c)->len)
		return 0;
	ret = seg_new(c, n, more, &s, err);
	if (ret)
		return ret;
	next_payload_out(s.place, s.len, &b);
	struct hf_rec r = { .kind = HF_REC_NEXT, .gen = c->gen, .when_ns = hf_wall_ns(),
			    .payload = b.p, .len = b.len };

	ret = b.bad ? -ENOMEM : put_rec(c, &r, NULL, 0, NULL, err);
	hf_buf_free(&b);
	if (!ret)
		ret = push(&c->seg, &c->nseg, &s);
	if (ret) {
		area_pin(c->d, s.place, s.len, -1);
		c->broken = true;
		return ret;
	}
	c->place = s.place;
	return 0;
}

static int append_one(struct claim *c, const struct hf_rec *r, const void *tail, size_t taillen,
		      uint64_t *tail_place, struct hf_err *err)
{
	struct rec_shape s = rec_shape(r->len, taillen);
	int ret = ensure_room(c, rec_size(&s), r->flags & HF_REC_PART, err);

	return ret ? ret : put_rec(c, r, tail, taillen, tail_place, err);
}

/* runs of blocks: offset in the own area and length, in blocks; gaps of up to @gap blocks are
 * taken for used, which wastes them after a restart, but loses nothing */
static void runs_out(const struct blockset *s, uint32_t gap, struct hf_buf *b)
{
	for (uint32_t i = s->from; i < s->to; i++) {
		uint32_t k = i, end = i;

		if (!s->bits[i])
			continue;
		while (k < s->to && k - end <= gap)
			if (s->bits[k++])
				end = k;
		hf_buf_u32(b, i);
		hf_buf_u32(b, end - i);
		i = end - 1;
	}
}

static void all_blocks(struct claim *c, struct blockset *s)
{
	for (size_t i = 0; i < c->nseg; i++)
		blockset_add(s, c->seg[i].place, c->seg[i].len);
	for (size_t i = 0; i < c->npack; i++)
		blockset_add(s, c->pack[i].place, c->pack[i].len);
	for (size_t i = 0; i < c->chunk_cap; i++)
		for (struct chunk *k = c->chunk[i]; k; k = k->next)
			blockset_add(s, k->place, k->len);
}

/* What the newest state stands on besides what follows: its chunks, and the packs that are being
 * filled. What only the past stands on is found by walking the past, where it is kept: the base
 * that it begins with told of it, or what came after. */
static void live_blocks(struct claim *c, struct blockset *s)
{
	for (size_t i = 0; i < c->npack; i++)
		blockset_add(s, c->pack[i].place, c->pack[i].len);
	for (size_t i = 0; i < c->chunk_cap; i++)
		for (struct chunk *k = c->chunk[i]; k; k = k->next)
			if (k->count)
				blockset_add(s, k->place, k->len);
}

static int put_pins(struct claim *c, bool all, struct pos *begin, struct hf_err *err)
{
	struct hf_buf b = HF_BUF_INIT;
	struct blockset s;
	int ret = blockset_init(&s, c->d);

	if (ret)
		return ret;
	if (all)
		live_blocks(c, &s);
	for (size_t i = 0; i < c->npack; i++)
		if (!c->pack[i].announced)
			blockset_add(&s, c->pack[i].place, c->pack[i].len);
	if (s.bad) {
		blockset_free(&s);
		return -ENOMEM;
	}
	runs_out(&s, 0, &b);
	for (uint32_t gap = 1; b.len > HF_REC_MAX; gap *= 2) {
		b.len = 0;
		runs_out(&s, gap, &b);
	}
	blockset_free(&s);
	struct hf_rec r = { .kind = REC_PINS, .gen = c->gen, .when_ns = hf_wall_ns(),
			    .payload = b.p, .len = b.len };

	ret = b.bad ? -ENOMEM : ensure_room(c, (size_t)rec_sectors(r.len) * HFD_SECTOR, false, err);
	if (!ret && begin) {
		*begin = (struct pos){ .place = c->place, .seg = last_seg(c)->place,
				       .seglen = last_seg(c)->len, .seq = c->seq, .gen = c->gen };
		memcpy(begin->prev, c->rb.prev, 16);
	}
	if (!ret)
		ret = put_rec(c, &r, NULL, 0, NULL, err);
	hf_buf_free(&b);
	for (size_t i = 0; i < c->npack && !ret; i++)
		c->pack[i].announced = true;
	return ret;
}

int seg_append(struct claim *c, const struct hf_rec *r, const void *tail, size_t taillen,
	       uint64_t *tail_place, struct hf_err *err)
{
	int ret;

	if (c->broken)
		return hf_fail(err, HF_UNAVAIL, -EREMOTEIO,
			       "an earlier write to %s failed: the log of %s must be claimed anew", c->d->path, c->pub.id.name);
	if (r->len > HF_REC_MAX || taillen > HF_TAIL_MAX)
		return -EMSGSIZE;
	ret = pack_flush(c, err);
	if (ret)
		return ret;
	/* a base of the first state of all gives nothing back: it is a commit */
	c->tier = r->kind == HF_REC_BASE ? (c->gen ? TIER_BASE : TIER_DELTA) : r->kind != HF_REC_DELTA ? TIER_SEAL :
		  taillen ? TIER_CONTENTS : TIER_DELTA;
	if (r->kind == HF_REC_BASE && (!c->begin.place || (r->flags & HF_REC_FIRST))) {
		ret = put_pins(c, true, &c->begin, err);
	} else {
		bool news = false;

		for (size_t i = 0; i < c->npack; i++)
			news |= !c->pack[i].announced;
		if (news)
			ret = put_pins(c, false, NULL, err);
	}
	if (!ret)
		ret = append_one(c, r, tail, taillen, tail_place, err);
	if (ret || (r->flags & HF_REC_PART))
		return ret;
	c->gen = r->gen;
	last_seg(c)->last_gen = r->gen;
	if (r->kind == HF_REC_BASE) {
		struct pos *p = realloc(c->base, (c->nbase + 1) * sizeof(*p));

		if (!p)
			return -ENOMEM;
		c->base = p;
		c->begin.gen = r->gen;
		c->base[c->nbase++] = c->begin;
		c->after = (struct pos){ .place = c->place, .seg = last_seg(c)->place,
					 .seglen = last_seg(c)->len, .seq = c->seq };
		memcpy(c->after.prev, c->rb.prev, 16);
		/* which blocks are in use once more, for who has to do without that base */
		if (put_pins(c, true, NULL, err))
			memset(&c->after, 0, sizeof(c->after));
		memset(&c->begin, 0, sizeof(c->begin));
	}
	return 0;
}

/* ---- packs ---- */

static void *write_on(void *arg)
{
	struct pack_io *io = arg;

	io->ret = disk_write_pack(io->d, io->buf, io->n, io->off);
	return NULL;
}

/* nothing is on its way any more */
static int pack_wait(struct claim *c, struct hf_err *err)
{
	if (!c->io.busy)
		return 0;
	pthread_join(c->io.thread, NULL);
	c->io.busy = false;
	if (!c->io.ret)
		return 0;
	c->broken = true;
	return io_err(c, err, c->io.ret, "written");
}

/* @more: there is, so that it may be written while that is made */
static int pack_write(struct claim *c, bool more, struct hf_err *err)
{
	size_t n = (c->plen + HFD_SECTOR - 1) / HFD_SECTOR * HFD_SECTOR;
	int ret = pack_wait(c, err);
	uint8_t *buf = c->pbuf;

	if (ret || !c->plen)
		return ret;
	hf_padding(buf + c->plen, n - c->plen);
	if (more && c->io.cap < PACK_MUCH) {
		free(c->io.buf);
		c->io.buf = dio_alloc(PACK_MUCH + HFD_SECTOR);
		c->io.cap = c->io.buf ? PACK_MUCH : 0;
	}
	if (more && c->io.buf) {
		size_t cap = c->pcap;

		c->pbuf = c->io.buf;
		c->pcap = c->io.cap;
		c->io = (struct pack_io){ .d = c->d, .buf = buf, .cap = cap, .n = n, .off = c->poff };
		c->io.busy = !pthread_create(&c->io.thread, NULL, write_on, &c->io);
	}
	ret = c->io.busy ? 0 : disk_write_pack(c->d, buf, n, c->poff);
	if (ret) {
		c->broken = true;
		return io_err(c, err, ret, "written");
	}
	c->dirty_pack = true;
	c->poff += n;
	c->plen = 0;
	return 0;
}

static uint32_t blocks(uint64_t n) { return (n + HFD_BLOCK - 1) / HFD_BLOCK; }

/* A pack goes on where another ends, if that is free: or a chunk of little more than a block, as the
 * largest are, would waste most of another. */
static int pack_extend(struct claim *c, const struct seg *s, size_t n, uint32_t want, struct seg *next)
{
	uint64_t end = s->place + s->len;
	uint32_t min = blocks(c->poff + c->plen + n - end);

	next->place = end;
	return area_take_at(c->d, end, modest(c, want, min), min, leave_free(c), &next->len);
}

int pack_put(struct claim *c, const void *p, size_t n, uint64_t *place, struct hf_err *err)
{
	struct seg *s = c->npack ? &c->pack[c->npack - 1] : NULL, fresh = { 0 };
	uint32_t most = area_blocks(c->d) >= 256 ? 16 : 4, want = s ? blocks(s->len) + 1 : blocks(n);
	int ret = 0;

	if (c->broken)
		return -EREMOTEIO;
	c->tier = TIER_CONTENTS;
	want = want < most ? want : most;
	if (n > PACK_BUF)
		return -EMSGSIZE;
	if (!c->pbuf) {
		c->pbuf = dio_alloc(PACK_BUF + HFD_SECTOR);
		c->pcap = PACK_BUF;
	}
	if (!c->pbuf)
		return -ENOMEM;
	if (c->plen + n > c->pcap)
		ret = pack_write(c, true, err);
	if (!ret && (!s || c->poff + c->plen + n > s->place + s->len)) {
		bool goes_on = s && !pack_extend(c, s, n, want, &fresh);

		if (!goes_on)
			ret = pack_write(c, true, err);
		if (!goes_on && !ret)
			ret = take(c, want, blocks(n), &fresh.place, &fresh.len, err);
		if (!ret) {
			ret = push(&c->pack, &c->npack, &fresh);
			if (ret)
				area_pin(c->d, fresh.place, fresh.len, -1);
			else if (!goes_on)
				c->poff = fresh.place;
		}
	}
	if (ret)
		return ret;
	memcpy(c->pbuf + c->plen, p, n);
	*place = c->poff + c->plen;
	c->plen += n;
	return 0;
}

/* nothing is on its way: what was for much at once goes */
static void pack_idle(struct claim *c)
{
	free(c->io.buf);
	c->io.buf = NULL;
	c->io.cap = 0;
	if (!c->plen && c->pcap > PACK_BUF) {
		free(c->pbuf);
		c->pbuf = NULL;
	}
}

int pack_flush(struct claim *c, struct hf_err *err)
{
	int ret = pack_write(c, false, err);

	pack_idle(c);
	if (ret || !c->dirty_pack)
		return ret;
	ret = disk_sync(c->d);
	if (ret) {
		c->broken = true;
		return io_err(c, err, ret, "flushed");
	}
	c->dirty_pack = false;
	return 0;
}

/* what was put and is not written yet may begin in a pack before the open one, which goes on from it */
static bool unwritten(const struct claim *c, const struct seg *s)
{
	return c->plen && c->poff < s->place + s->len && c->poff + c->plen > s->place;
}

/* Nothing that was put waits for its record any more: full packs are held by what is in use of
 * them, and one that no record may refer to unless it was announced, by its chunks' claim. */
void pack_settle(struct claim *c)
{
	size_t n = 0;

	/* a place that is given up must not be written any more */
	pack_wait(c, NULL);
	pack_idle(c);
	for (size_t i = 0; i < c->npack; i++) {
		const struct seg *s = &c->pack[i];

		if (i + 1 < c->npack && !unwritten(c, s) && (s->announced || !area_chunks(c->d, s->place, s->len)))
			area_pin(c->d, s->place, s->len, -1);
		else
			c->pack[n++] = *s;
	}
	c->npack = n;
}

/* ---- what the log stands on ---- */

static struct chunk **chunk_slot(struct claim *c, uint64_t place)
{
	return &c->chunk[(place * 0x9e3779b97f4a7c15ull >> 20) & (c->chunk_cap - 1)];
}

static int chunk_grow(struct claim *c)
{
	size_t cap = c->chunk_cap ? c->chunk_cap * 4 : 256;
	struct chunk **old = c->chunk, **arr = hf_alloc(cap * sizeof(*arr));
	size_t n = c->chunk_cap;

	if (!arr)
		return -ENOMEM;
	c->chunk = arr;
	c->chunk_cap = cap;
	for (size_t i = 0; i < n; i++)
		while (old[i]) {
			struct chunk *k = old[i], **s = chunk_slot(c, k->place);

			old[i] = k->next;
			k->next = *s;
			*s = k;
		}
	free(old);
	return 0;
}

void claim_use(struct claim *c, uint64_t place, uint32_t len, int delta, uint64_t gen)
{
	struct chunk *k = NULL, **s;

	if (c->nchunk >= c->chunk_cap && chunk_grow(c) && !c->chunk_cap)
		goto lost;
	s = chunk_slot(c, place);
	for (k = *s; k && k->place != place; k = k->next)
		;
	if (!k) {
		if (delta < 0)
			return;
		k = hf_alloc(sizeof(*k));
		if (!k)
			goto lost;
		k->place = place;
		k->len = len;
		k->next = *s;
		*s = k;
		c->nchunk++;
		area_chunk(c->d, place, len, 1);
	}
	k->count += delta;
	if (!k->count)
		k->dead_gen = gen;
	return;
lost:
	/* it cannot be noted: its blocks are not used again while we run, and no base, which
	 * would have to tell of them, is made before the log was read again */
	area_pin(c->d, place, len, 1);
	c->broken = true;
}

/* What only generations before @base needed is free. */
void claim_free_before(struct claim *c, const struct pos *base)
{
	size_t n = 0, keep = 0;

	while (n < c->nseg && !(base->place >= c->seg[n].place && base->place < c->seg[n].place + c->seg[n].len))
		n++;
	if (n == c->nseg)
		return;		/* not ours: nothing before it is */
	pack_wait(c, NULL);
	for (size_t i = 0; i < n; i++)
		area_pin(c->d, c->seg[i].place, c->seg[i].len, -1);
	memmove(c->seg, c->seg + n, (c->nseg - n) * sizeof(*c->seg));
	c->nseg -= n;
	/* closed packs are held by their chunks from now on */
	for (size_t i = 0; i + 1 < c->npack; i++)
		area_pin(c->d, c->pack[i].place, c->pack[i].len, -1);
	if (c->npack > 1) {
		c->pack[0] = c->pack[c->npack - 1];
		c->npack = 1;
	}
	for (size_t i = 0; i < c->chunk_cap; i++)
		for (struct chunk **s = &c->chunk[i], *k; (k = *s); ) {
			if (k->count || k->dead_gen > base->gen) {
				s = &k->next;
				continue;
			}
			area_chunk(c->d, k->place, k->len, -1);
			*s = k->next;
			free(k);
			c->nchunk--;
		}
	while (keep < c->nbase && c->base[keep].place != base->place)
		keep++;
	memmove(c->base, c->base + keep, (c->nbase - keep) * sizeof(*c->base));
	c->nbase -= keep;
}

/* The claim ends, its log does not: pin what it stands on. */
void claim_space_drop(struct claim *c)
{
	struct blockset s;
	struct pin *kept = NULL;

	pack_wait(c, NULL);
	if (c->nseg && !blockset_init(&s, c->d)) {
		all_blocks(c, &s);
		kept = blockset_pin(&s, c->pub.id.row, c->rb.log, c->epoch, c->gen);
	}
	if (kept) {
		pin_add(c->d, kept);
		for (size_t i = 0; i < c->nseg; i++)
			area_pin(c->d, c->seg[i].place, c->seg[i].len, -1);
		for (size_t i = 0; i < c->npack; i++)
			area_pin(c->d, c->pack[i].place, c->pack[i].len, -1);
	}
	for (size_t i = 0; i < c->chunk_cap; i++)
		while (c->chunk[i]) {
			struct chunk *k = c->chunk[i];

			c->chunk[i] = k->next;
			if (kept)
				area_chunk(c->d, k->place, k->len, -1);
			free(k);
		}
	free(c->chunk);
	free(c->seg);
	free(c->pack);
	free(c->base);
	free(c->pbuf);
	free(c->io.buf);
	free(c->buf);
}
