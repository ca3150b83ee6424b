// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Space in the own area, in blocks of 64 KiB. A block is free when no segment
 * of a log and no live chunk lies in it. Nothing of this is on the disk: it
 * is found again at each start by walking every log that stands on this area
 * (area_rebuild()), so it cannot disagree with the logs.
 */
#include "disk_int.h"
#include <stdio.h>
#include <stdlib.h>

int area_init(struct disk *d)
{
	int ret;

	pthread_mutex_lock(&d->area_mu);
	ret = area_extend(d, super_area(&d->sb, d->id.slot) / HFD_BLOCK);
	pthread_mutex_unlock(&d->area_mu);
	return ret;
}

int area_extend(struct disk *d, uint32_t nblk)
{
	struct block *b = realloc(d->blk, (nblk ? nblk : 1) * sizeof(*b));

	if (!b)
		return -ENOMEM;
	memset(b + d->nblk, 0, (nblk - d->nblk) * sizeof(*b));
	d->blk = b;
	d->nfree += nblk - d->nblk;
	__atomic_store_n(&d->nblk, nblk, __ATOMIC_RELAXED);
	return 0;
}

/* It grows at any time. */
uint32_t area_blocks(const struct disk *d)
{
	return __atomic_load_n(&d->nblk, __ATOMIC_RELAXED);
}

void area_exit(struct disk *d)
{
	while (d->pins || d->vain) {
		struct pin **list = d->pins ? &d->pins : &d->vain, *p = *list;

		*list = p->next;
		free(p->blk);
		free(p);
	}
	free(d->blk);
	d->blk = NULL;
	d->nblk = d->nfree = 0;
}

static bool is_free(const struct block *b) { return !b->logs && !b->chunks; }

/* with area_mu held */
static void adjust(struct disk *d, uint32_t i, int logs, int chunks, int bytes)
{
	struct block *b = &d->blk[i];

	d->nfree -= is_free(b);
	b->logs += logs;
	b->chunks += chunks;
	b->bytes += bytes;
	d->nfree += is_free(b);
}

/*
 * In a full area a log can be claimed and released still: a block for each row, or a
 * sixteenth of the area. Above that, things can be deleted, and a base written that gives
 * their space back. Contents leave all that alone.
 */
uint32_t area_reserve(const struct disk *d, enum tier t)
{
	uint32_t share = area_blocks(d) / 16 + 1;
	uint32_t work = share > 64 ? 64 : share, claims = share > d->sb.rows ? d->sb.rows : share;

	switch (t) {
	case TIER_CONTENTS:
		return claims + work;
	case TIER_DELTA:
		return claims + work / 2;
	case TIER_BASE:
		return claims;
	default:
		return 0;
	}
}

/* blocks that are kept for epochs of @log before its claim */
uint32_t area_pinned(struct disk *d, const uint8_t log[16])
{
	uint32_t n = 0;

	pthread_mutex_lock(&d->row_mu);
	for (const struct pin *p = d->pins; p; p = p->next)
		n += memcmp(p->log, log, 16) ? 0 : p->n;
	pthread_mutex_unlock(&d->row_mu);
	return n;
}

void area_space(struct disk *d, struct hf_space *sp)
{
	sp->free = area_room(d, &sp->total);
	sp->low = sp->total ? sp->total / 4 + (uint64_t)area_reserve(d, TIER_BASE) * HFD_BLOCK : 0;
}

bool area_tight(struct disk *d)
{
	struct hf_space sp;

	area_space(d, &sp);
	return sp.free < sp.low;
}

#define TENTHS(bytes) (unsigned long long)((bytes) >> 20), (unsigned long long)((bytes) % (1 << 20) * 10 >> 20)

int area_warning(struct disk *d, char *text, size_t n)
{
	struct hf_space sp;

	area_space(d, &sp);
	/* before it comes to that */
	if (sp.free >= sp.low + sp.total / 16)
		return -ENOENT;
	snprintf(text, n, "%llu.%llu MiB of %llu.%llu MiB are free in the area of node %s: %s %llu.%llu MiB history goes earlier than retain asks for. Set a smaller retain, unpin generations, or grow the disk (SPACE in holdfast(8))",
		 TENTHS(sp.free), TENTHS(sp.total), d->id.name, sp.free < sp.low ? "below" : "with less than", TENTHS(sp.low));
	return 0;
}

static uint32_t block_of(struct disk *d, uint64_t place)
{
	return area_block(d, d->id.slot, place);
}

/* @n blocks at @place, or as many as are free there, at least @min */
int area_take_at(struct disk *d, uint64_t place, uint32_t n, uint32_t min, uint32_t leave, uint32_t *len)
{
	uint32_t run = 0, first = 0, left;
	int ret = -ENOSPC;

	pthread_mutex_lock(&d->area_mu);
	/* not where another part begins: what is written at once lies in one */
	left = area_left(d, d->id.slot, place - 1) / HFD_BLOCK;
	if (left)
		first = block_of(d, place);
	if (d->nfree < n + leave)
		n = d->nfree > leave ? d->nfree - leave : 0;
	while (run < left && run < n && first + run < d->nblk && is_free(&d->blk[first + run]))
		run++;
	if (run && run >= min) {
		for (uint32_t i = 0; i < run; i++)
			adjust(d, first + i, 1, 0, 0);
		*len = run * HFD_BLOCK;
		d->hint = (first + run) % d->nblk;
		ret = 0;
	}
	pthread_mutex_unlock(&d->area_mu);
	return ret;
}

/* @n blocks in a row, or the longest run of at least @min; pinned once. */
int area_take(struct disk *d, uint32_t n, uint32_t min, uint32_t leave, uint64_t *place, uint32_t *len)
{
	uint32_t best = 0, best_len = 0;
	int ret = -ENOSPC;

	pthread_mutex_lock(&d->area_mu);
	if (d->nfree < n + leave)
		n = d->nfree > leave ? d->nfree - leave : 0;
	for (uint32_t k = 0; n && k < d->nblk; ) {
		uint32_t i = (d->hint + k) % d->nblk, run = 0, left;

		(void)area_at(d, d->id.slot, i, &left);
		while (run < left && run < n && is_free(&d->blk[i + run]))
			run++;
		if (run > best_len) {
			best = i;
			best_len = run;
		}
		if (run == n)
			break;
		k += run < left ? run + 1 : run;
	}
	if (best_len >= min && best_len) {
		for (uint32_t i = 0; i < best_len; i++)
			adjust(d, best + i, 1, 0, 0);
		*place = area_at(d, d->id.slot, best, &n);
		*len = best_len * HFD_BLOCK;
		/* go round: what was freed last is used last, so that a reader of an old
		 * place meets its old contents for as long as there is room */
		d->hint = (best + best_len) % d->nblk;
		ret = 0;
	}
	pthread_mutex_unlock(&d->area_mu);
	return ret;
}

void area_pin(struct disk *d, uint64_t place, uint64_t len, int delta)
{
	if (!len || !in_area(d, d->id.slot, place, len))
		return;
	pthread_mutex_lock(&d->area_mu);
	for (uint32_t b = block_of(d, place); b <= block_of(d, place + len - 1); b++)
		adjust(d, b, delta, 0, 0);
	pthread_mutex_unlock(&d->area_mu);
}

void area_chunk(struct disk *d, uint64_t place, uint32_t len, int delta)
{
	pthread_mutex_lock(&d->area_mu);
	for (uint32_t b = block_of(d, place); b <= block_of(d, place + len - 1); b++)
		adjust(d, b, 0, delta, delta * (int)len);
	pthread_mutex_unlock(&d->area_mu);
}

/* Does @place pin a block of which less than a quarter is of use? */
bool area_sparse(struct disk *d, uint64_t place, uint32_t len)
{
	bool sparse;

	pthread_mutex_lock(&d->area_mu);
	sparse = d->blk[block_of(d, place)].bytes < HFD_BLOCK / 4 &&
		 d->blk[block_of(d, place + len - 1)].bytes < HFD_BLOCK / 4;
	pthread_mutex_unlock(&d->area_mu);
	return sparse;
}

/* Is any chunk in use there? */
bool area_chunks(struct disk *d, uint64_t place, uint64_t len)
{
	bool any = false;

	pthread_mutex_lock(&d->area_mu);
	for (uint32_t b = block_of(d, place); b <= block_of(d, place + len - 1); b++)
		any |= d->blk[b].chunks != 0;
	pthread_mutex_unlock(&d->area_mu);
	return any;
}

uint64_t area_room(struct disk *d, uint64_t *total)
{
	uint64_t n;

	pthread_mutex_lock(&d->area_mu);
	n = d->nfree;
	if (total)
		*total = (uint64_t)d->nblk * HFD_BLOCK;
	pthread_mutex_unlock(&d->area_mu);
	return n * HFD_BLOCK;
}

static void pin_free(struct disk *d, struct pin *p)
{
	pthread_mutex_lock(&d->area_mu);
	for (size_t i = 0; i < p->n; i++)
		adjust(d, p->blk[i], -1, 0, 0);
	pthread_mutex_unlock(&d->area_mu);
	free(p->blk);
	free(p);
}

static void seg_in(void *ctx, uint32_t slot, uint64_t place, uint64_t len)
{
	struct blockset *b = ctx;

	if (slot == b->d->id.slot)
		blockset_add(b, place, len);
}

/* Take all pins of @log out of @list. */
static struct pin *take_pins(struct pin **list, const uint8_t log[16])
{
	struct pin *out = NULL, *p;

	for (struct pin **pp = list; (p = *pp); ) {
		if (memcmp(p->log, log, 16)) {
			pp = &p->next;
			continue;
		}
		*pp = p->next;
		p->next = out;
		out = p;
	}
	return out;
}

static void free_pins(struct disk *d, struct pin *p)
{
	while (p) {
		struct pin *next = p->next;

		pin_free(d, p);
		p = next;
	}
}

/*
 * Was the epoch of @acc, whose log ends with @end, ever owned? Its claimer knows; to others its log tells, because only
 * an owner appends anything to its seal. It had read the row after accepting and found no higher ballot, so whoever claims
 * later finds this epoch accepted, and adopts it, what its seal tells of, or what stands on one of them. An epoch of another
 * that holds its seal alone may have been claimed in vain, while another claimer, not seen yet, stands on what its claimer left
 * out: a row is not read at one moment.
 */
static bool was_owned(struct disk *d, uint32_t row, const struct claim_rec *acc, const struct walk_end *end)
{
	bool own;

	pthread_mutex_lock(&d->row_mu);
	own = d->row_owned[row] == acc->acc.epoch;
	pthread_mutex_unlock(&d->row_mu);
	return own || acc->acc.base.place || end->seq;
}

/*
 * Which of @old may go? A confirmed base of any newer epoch makes all before it needless. Else
 * only the chain from the highest accepted epoch counts, if that was ever owned.
 * History is kept as long as its owner asks for it and there is room.
 */
static struct pin *collect_log(struct disk *d, const struct row *r, struct pin *old, bool tight)
{
	const struct claim_rec *acc = row_accepted(r, old->log);
	uint64_t based = row_based(r, old->log);
	uint32_t row = old->row;
	struct walk_opts o = { .seg = seg_in };
	struct walk_end end;
	struct blockset set;
	struct pin *keep = NULL, *p, **pp;
	bool bare = true, newest = false, early = false;
	int ret = 0;

	for (uint32_t i = 0; i < r->nodes; i++)
		if (r->status[i] == SLOT_BAD)
			return old;
	if (!acc) {	/* the row is another log's */
		free_pins(d, old);
		return NULL;
	}
	for (pp = &old; (p = *pp); ) {
		if (p->epoch >= based || (!tight && acc->acc.keep <= p->last_gen)) {
			pp = &p->next;
			continue;
		}
		*pp = p->next;
		early |= acc->acc.keep <= p->last_gen;
		pin_free(d, p);
	}
	if (early)
		hf_logf(HF_LOG_NOTE, "row %u of %s: space is short in the area of %s: history goes that lies there, and was to be kept",
			row, d->path, d->id.name);
	if (!old)
		return NULL;
	for (p = old; p; p = p->next) {
		bare &= p->bare;
		newest |= p->epoch >= acc->acc.epoch;
	}
	if (bare || !tight || blockset_init(&set, d))
		return old;
	o.ctx = &set;
	/* the past of what we hold, as far as the row tells, is trimmed by a row that tells it */
	if (newest && !(acc->flags & CLAIM_RELEASED) && !memcmp(acc->acc.incarnation, d->incarnation, 16)) {
		o.kept = true;
		ret = log_walk(d, acc, &o, &end, NULL);
		o.kept = false;
	}
	if (ret || log_walk(d, acc, &o, &end, NULL) || !was_owned(d, old->row, acc, &end)) {
		blockset_free(&set);
		return old;
	}
	/* the newest epoch accounts for itself as long as its claim lives */
	keep = blockset_pin(&set, old->row, old->log, acc->acc.epoch - !newest, end.gen);
	if (!keep)
		return old;
	keep->bare = newest;
	free_pins(d, old);
	return keep;
}

/* What failed may land for half a lease, as is assumed of a node that is gone; twice that is waited for here. Nothing
 * stands on an epoch that was never owned, but who comes upon it in its row reads its seal. */
static void collect_vain(struct disk *d)
{
	struct pin *p, *list, *keep = NULL, **end;
	uint64_t now;

	hf_seam("collect.vain");
	pthread_mutex_lock(&d->row_mu);
	list = d->vain;
	d->vain = NULL;
	now = hf_now_ms();	/* none of them failed later */
	pthread_mutex_unlock(&d->row_mu);
	while ((p = list)) {
		list = p->next;
		if (now - p->failed_ms < d->sb.lease_ms || (p->told && row_tells(d, p->row, p->log, p->epoch))) {
			p->next = keep;
			keep = p;
		} else {
			pin_free(d, p);
		}
	}
	pthread_mutex_lock(&d->row_mu);
	for (end = &keep; *end; end = &(*end)->next)
		;
	*end = d->vain;
	d->vain = keep;
	pthread_mutex_unlock(&d->row_mu);
}

void area_collect(struct disk *d)
{
	struct row *r = malloc(sizeof(*r));
	struct pin *list, *done = NULL, **end;
	bool tight;

	if (!r)
		return;
	collect_vain(d);
	tight = area_tight(d);
	/* disk I/O is not done under row_mu: take the list away meanwhile */
	pthread_mutex_lock(&d->row_mu);
	list = d->pins;
	d->pins = NULL;
	pthread_mutex_unlock(&d->row_mu);
	while (list) {
		struct pin *of;
		uint8_t log[16];

		memcpy(log, list->log, 16);
		if (row_read(d, list->row, r)) {
			of = take_pins(&list, log);
		} else {
			of = take_pins(&list, log);
			if (of)
				of = collect_log(d, r, of, tight);
		}
		for (end = &of; *end; end = &(*end)->next)
			;
		*end = done;
		done = of;
	}
	pthread_mutex_lock(&d->row_mu);
	for (end = &done; *end; end = &(*end)->next)
		;
	*end = d->pins;
	d->pins = done;
	pthread_mutex_unlock(&d->row_mu);
	free(r);
}

/* The same for one log, which has just been given a base: others are looked at when space is short. */
void area_collect_log(struct disk *d, uint32_t row, const uint8_t log[16])
{
	struct row *r = malloc(sizeof(*r));
	struct pin *p;

	if (!r)
		return;
	pthread_mutex_lock(&d->row_mu);
	p = take_pins(&d->pins, log);
	pthread_mutex_unlock(&d->row_mu);
	if (p && !row_read(d, row, r))
		p = collect_log(d, r, p, false);
	while (p) {
		struct pin *next = p->next;

		pin_add(d, p);
		p = next;
	}
	free(r);
}

/* Logs that are registered no more need nothing. A log may have been registered
 * after the list was read: it must be missing from two lists. */
void area_known(struct disk *d, const uint8_t (*uuid)[16], size_t n)
{
	struct pin *p, **pp, *dead = NULL;

	pthread_mutex_lock(&d->row_mu);
	for (pp = &d->pins; (p = *pp); ) {
		bool known = !p->row;

		for (size_t i = 0; i < n && !known; i++)
			known = !memcmp(uuid[i], p->log, 16);
		if (!known && p->doubt) {
			*pp = p->next;
			p->next = dead;
			dead = p;
			continue;
		}
		p->doubt = !known;
		pp = &p->next;
	}
	pthread_mutex_unlock(&d->row_mu);
	while ((p = dead)) {
		dead = p->next;
		pin_free(d, p);
	}
}

int blockset_init(struct blockset *b, struct disk *d)
{
	b->d = d;
	b->bad = false;
	b->n = area_blocks(d);
	b->bits = hf_alloc(b->n ? b->n : 1);
	b->from = b->to = 0;
	return b->bits ? 0 : -ENOMEM;
}

void blockset_free(struct blockset *b)
{
	free(b->bits);
	b->bits = NULL;
}

void blockset_add(struct blockset *b, uint64_t place, uint64_t len)
{
	if (!len || !in_area(b->d, b->d->id.slot, place, len))
		return;
	uint32_t first = block_of(b->d, place), end = block_of(b->d, place + len - 1) + 1;

	if (end > b->n) {	/* the area has grown since */
		uint8_t *p = realloc(b->bits, end);

		if (!p) {
			b->bad = true;
			return;
		}
		memset(p + b->n, 0, end - b->n);
		b->bits = p;
		b->n = end;
	}
	memset(b->bits + first, 1, end - first);
	if (b->from == b->to)
		b->from = first;
	b->from = first < b->from ? first : b->from;
	b->to = end > b->to ? end : b->to;
}

struct pin *blockset_pin(struct blockset *b, uint32_t row, const uint8_t log[16], uint64_t epoch, uint64_t last_gen)
{
	struct disk *d = b->d;
	struct pin *p = hf_alloc(sizeof(*p));
	size_t n = 0;

	for (uint32_t i = b->from; i < b->to; i++)
		n += b->bits[i];
	if (p && !b->bad)
		p->blk = malloc((n ? n : 1) * sizeof(*p->blk));
	if (!p || !p->blk) {
		free(p);
		blockset_free(b);
		return NULL;
	}
	p->row = row;
	memcpy(p->log, log, 16);
	p->epoch = epoch;
	p->last_gen = last_gen;
	pthread_mutex_lock(&d->area_mu);
	for (uint32_t i = b->from; i < b->to; i++)
		if (b->bits[i]) {
			p->blk[p->n++] = i;
			adjust(d, i, 1, 0, 0);
		}
	pthread_mutex_unlock(&d->area_mu);
	blockset_free(b);
	return p;
}

void pin_add(struct disk *d, struct pin *p)
{
	pthread_mutex_lock(&d->row_mu);
	p->next = d->pins;
	d->pins = p;
	pthread_mutex_unlock(&d->row_mu);
}

void pin_vain(struct disk *d, struct pin *p)
{
	p->failed_ms = hf_now_ms();
	pthread_mutex_lock(&d->row_mu);
	p->next = d->vain;
	d->vain = p;
	pthread_mutex_unlock(&d->row_mu);
}

static int ignore_rec(void *ctx, const struct hf_rec *r) { return 0; }

/* What a log stands on that is told of by @acc. Only what is damaged for good is passed over:
 * what lies behind it nobody can read any more. */
static int rebuild_log(struct disk *d, uint32_t row, const struct claim_rec *acc, bool last, bool *owned,
		       struct hf_err *err)
{
	struct blockset set;
	struct walk_opts o = { .history = true, .seg = seg_in, .fn = ignore_rec, .ctx = &set };
	struct walk_end end;
	struct hf_err e = { 0 };
	struct pin *p;
	int ret;

	/* another's epoch that was trimmed up to a base of its own: its chain ends in that area */
	if (acc->acc.slot != d->id.slot && acc->acc.first.seq && acc->acc.base.place) {
		*owned = true;
		return 0;
	}
	ret = blockset_init(&set, d);
	if (ret)
		return ret;
	ret = log_walk(d, acc, &o, &end, &e);
	if (ret && (ret != -EBADMSG || !last)) {
		blockset_free(&set);
		return ret == -EBADMSG ? ret :
		       hf_fail(err, e.exit ? e.exit : HF_UNAVAIL, ret, "row %u of %s cannot be read: %s", row,
			       d->path, e.msg[0] ? e.msg : strerror(-ret));
	}
	if (ret)
		hf_logf(HF_LOG_ERR, "row %u of %s: %s", row, d->path, e.msg);
	*owned = !ret && was_owned(d, row, acc, &end);
	/* another's epoch stands on what was here before it */
	p = blockset_pin(&set, row, acc->log, acc->acc.epoch - (acc->acc.slot != d->id.slot), end.gen);
	if (!p)
		return -ENOMEM;
	pin_add(d, p);
	return 0;
}

/* -EBADMSG: not to be decided, or the row has moved on meanwhile. @last: take it as it is. */
static int rebuild_row(struct disk *d, uint32_t row, const struct row *r, bool last, struct hf_err *err)
{
	bool owned[HF_MAX_NODES] = { false }, any;
	int ret = 0;

	for (uint32_t i = 0; i < r->nodes && !last; i++)
		if (r->status[i] == SLOT_BAD)
			return -EBADMSG;
	/* once for each log: a row that was used before holds several */
	for (uint32_t i = 0; i < r->nodes && !ret; i++)
		if (r->status[i] == SLOT_OK && &r->rec[i] == row_accepted(r, r->rec[i].log))
			ret = rebuild_log(d, row, &r->rec[i], last, &owned[i], err);
	/* where the highest may be in vain, a claimer may stand on any other */
	for (uint32_t i = 0; i < r->nodes && !ret; i++) {
		const struct claim_rec *acc = r->status[i] == SLOT_OK ? row_accepted(r, r->rec[i].log) : NULL;

		if (acc && acc != &r->rec[i] && r->rec[i].acc.epoch && !owned[acc - r->rec])
			ret = rebuild_log(d, row, &r->rec[i], last, &any, err);
	}
	return ret;
}

/* Several threads share the rows: most of the time each waits for the disk. */
#define WALKERS 4
#define ROWS_BYTES (1u << 20)
struct rebuild {
	struct disk *d;
	pthread_mutex_t mu;	/* what follows */
	uint32_t next;		/* row */
	int ret;		/* the first failure: all stop */
	struct hf_err err;
};

/* what could not be read a moment ago, and nobody has moved, stays so */
static bool same_row(const struct row *a, const struct row *b)
{
	for (uint32_t i = 0; i < b->nodes; i++)
		if (b->status[i] == SLOT_BAD || b->status[i] != a->status[i] || b->rec[i].seq != a->rec[i].seq)
			return false;
	return true;
}

/* @n rows, read at once; those that cannot be decided, or that moved on, again by themselves. @r: two of them */
static int rebuild_rows(struct disk *d, uint32_t row, uint32_t n, uint8_t *buf, struct row *r, struct hf_err *err)
{
	int ret = disk_read(d, buf, n * d->sb.row_stride, d->sb.row_off + d->sb.row_stride * row);

	for (uint32_t i = 0; i < n && !ret; i++) {
		ret = row_parse(d, row + i, buf + i * d->sb.row_stride, r);
		for (unsigned tries = 0; !ret && tries < 8; tries++) {
			bool same = tries && same_row(&r[1], &r[0]);

			ret = rebuild_row(d, row + i, r, tries == 7 || same, err);
			if (ret != -EBADMSG || tries == 7)
				break;
			hf_sleep_ms(2u << tries);
			r[1] = r[0];
			ret = row_read(d, row + i, r);
		}
	}
	if (ret && !err->exit)
		hf_fail(err, HF_UNAVAIL, ret, "%s: what is in use of the own area cannot be found: %s", d->path,
			strerror(-ret));
	return ret;
}

static void *rebuild_some(void *arg)
{
	struct rebuild *b = arg;
	struct disk *d = b->d;
	uint32_t at_once = ROWS_BYTES / d->sb.row_stride, row, n;
	struct row *r = malloc(2 * sizeof(*r));
	struct hf_err err = { 0 };
	uint8_t *buf;
	int ret;

	at_once = at_once ? at_once : 1;
	buf = dio_alloc(at_once * d->sb.row_stride);
	ret = r && buf ? 0 : hf_fail(&err, HF_FAILED, -ENOMEM, "no memory");
	for (;;) {
		pthread_mutex_lock(&b->mu);
		if (ret && !b->ret) {
			b->ret = ret;
			b->err = err;
		}
		row = b->next;
		n = d->sb.rows - row < at_once ? d->sb.rows - row : at_once;
		b->next += n;
		ret = b->ret;
		pthread_mutex_unlock(&b->mu);
		if (ret || !n)
			break;
		ret = rebuild_rows(d, row, n, buf, r, &err);
	}
	free(buf);
	free(r);
	return NULL;
}

/* Find again what of the own area is in use: walk every log that has a claim. What cannot be
 * read now counts as used by nobody if this goes on, so it does not. */
int area_rebuild(struct disk *d, struct hf_err *err)
{
	struct rebuild b = { .d = d, .mu = PTHREAD_MUTEX_INITIALIZER };
	pthread_t thread[WALKERS - 1];
	unsigned n = 0;
	int ret = area_init(d);

	if (ret)
		return ret;
	while (n < WALKERS - 1 && !pthread_create(&thread[n], NULL, rebuild_some, &b))
		n++;
	rebuild_some(&b);
	while (n)
		pthread_join(thread[--n], NULL);
	if (b.ret && err)
		*err = b.err;
	return b.ret;
}
