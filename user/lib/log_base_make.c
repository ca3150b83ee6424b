// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The records of a base, made in parts between which commits come: to sort, encode and compress all entries at
 * once takes longer than a commit should have to wait for.
 *
 * What is committed is cut into ranges of keys, each about as much as a record takes. A range is sorted, encoded and
 * compressed by itself, and made again when a commit has changed something in it.
 *
 * Between transactions, and as long as the log has a struct base_make:
 * - what the ranges and todo have together, without what has ENT_OUT, is all of the table, each entry once, and in
 *   the range to which its key belongs. make_all() counts them.
 * - the records of a range that is not stale tell of what it has. An entry is never changed after its commit, but for
 *   where its chunks lie (copy_contents()): who copies says so by make_moved().
 * An entry is used (ent->users) by the range, or todo, that has it, and by the range of which it is the first key.
 */
#include "log_int.h"
#include <stdlib.h>

#define RANGE LOG_PART_MAX	/* by weight, which is somewhat more than what is encoded */
#define SAMPLES 64		/* of a range: it is as large as that within an eighth or so */
#define FILE_AT_ONCE 8192	/* entries that are put into ranges by one part */

struct range {
	struct ent *from;	/* the first key that belongs here; NULL: the first range */
	struct ent **v;
	size_t n, cap;
	struct base_rec *rec;
	size_t nrec;
	bool stale;
};

struct base_make {
	struct range *r;
	size_t nr;
	struct ent **todo;	/* in no range yet */
	size_t ntodo;
	size_t at;		/* the range that is looked at next */
	size_t left;		/* so many are made in parts at most */
	size_t notes;
};

static void recs_drop(struct range *r)
{
	for (size_t i = 0; i < r->nrec; i++)
		hf_buf_free(&r->rec[i].b);
	free(r->rec);
	r->rec = NULL;
	r->nrec = 0;
}

void make_drop(struct hf_log *l)
{
	struct base_make *m = l->make;

	if (!m)
		return;
	for (size_t i = 0; i < m->nr; i++) {
		struct range *r = &m->r[i];

		for (size_t k = 0; k < r->n; k++)
			ent_put(r->v[k]);
		ent_put(r->from);
		free(r->v);
		recs_drop(r);
	}
	while (m->ntodo)
		ent_put(m->todo[--m->ntodo]);
	free(m->todo);
	free(m->r);
	free(m);
	l->make = NULL;
}

static struct range *range_of(const struct base_make *m, const struct ent *e)
{
	size_t lo = 0, hi = m->nr;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (ent_order(&m->r[mid].from, &e) <= 0)
			lo = mid;
		else
			hi = mid;
	}
	return &m->r[lo];
}

/* what was replaced since */
static void range_sift(struct range *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		if (r->v[i]->flags & ENT_OUT)
			ent_put(r->v[i]);
		else
			r->v[n++] = r->v[i];
	r->n = n;
}

/* takes over a use of @e */
static int range_add(struct range *r, struct ent *e)
{
	bool full = r->n == r->cap;

	if (full)	/* what changes all the time is to be there once */
		range_sift(r);
	if (full && r->n >= r->cap / 4 * 3) {
		size_t cap = r->cap ? r->cap * 2 : 64;
		struct ent **v = realloc(r->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		r->v = v;
		r->cap = cap;
	}
	r->v[r->n++] = e;
	r->stale = true;
	return 0;
}

/* The first keys of the ranges: of entries that lie at equal distances in the table, where they are in no order,
 * each as many times as its weight asks for. */
static int ranges_cut(struct base_make *m, size_t range)
{
	struct ent **s = NULL;
	size_t n = 0, cap = 0, weight = 0;

	for (size_t i = 0; i < m->ntodo; i++) {
		const struct ent *e = m->todo[i];

		for (weight += log_weight(e->keylen, e->attrlen, e->nref); weight >= range / SAMPLES; weight -= range / SAMPLES) {
			if (n == cap) {
				struct ent **p = realloc(s, (cap = cap ? cap * 2 : 256) * sizeof(*p));

				if (!p) {
					free(s);
					return -ENOMEM;
				}
				s = p;
			}
			s[n++] = m->todo[i];
		}
	}
	if (n)
		qsort(s, n, sizeof(*s), ent_order);
	m->r = calloc(n / SAMPLES + 1, sizeof(*m->r));
	if (!m->r) {
		free(s);
		return -ENOMEM;
	}
	m->nr = 1;
	m->r[0].stale = true;
	for (size_t i = SAMPLES; i < n; i += SAMPLES) {
		if (s[i] == m->r[m->nr - 1].from)
			continue;	/* one that is larger than a range */
		m->r[m->nr++].from = s[i];
		s[i]->users++;
	}
	free(s);
	return 0;
}

/* 1, or an error; 0: it is so little that it is not worth being made in parts */
int make_begin(struct hf_log *l)
{
	struct base_make *m = hf_alloc(sizeof(*m));
	int ret;

	if (!m)
		return -ENOMEM;
	l->make = m;
	m->todo = malloc((l->items.n + 1) * sizeof(*m->todo));
	if (!m->todo)
		return -ENOMEM;
	for (size_t i = 0; i < l->items.cap; i++)
		for (struct ent *e = l->items.slot[i]; e; e = e->next) {
			e->users++;
			m->todo[m->ntodo++] = e;
		}
	/* the tests have small logs of many ranges */
	ret = ranges_cut(m, hf_seam("make.range") ? RANGE / 512 : RANGE);
	if (ret)
		return ret;
	m->left = 2 * m->nr;
	return m->nr > 2;	/* the last two are left to make_all() */
}

static int file_some(struct base_make *m, size_t max)
{
	for (; m->ntodo && max; max--) {
		struct ent *e = m->todo[m->ntodo - 1];
		int ret = range_add(range_of(m, e), e);

		if (ret)
			return ret;
		m->ntodo--;
	}
	return 0;
}

static int rec_add(struct hf_log *l, struct range *r, struct hf_buf *b)
{
	unsigned flags = 0;
	struct base_rec *p;
	int ret = codec_pack(b, &l->ck.zip, &flags);

	p = ret ? NULL : realloc(r->rec, (r->nrec + 1) * sizeof(*p));
	if (!p) {
		hf_buf_free(b);
		return ret ? ret : -ENOMEM;
	}
	r->rec = p;
	p[r->nrec++] = (struct base_rec){ *b, flags };
	*b = (struct hf_buf)HF_BUF_INIT;
	return 0;
}

struct recs { struct hf_log *l; struct range *r; };

static int rec_next(void *ctx, struct hf_buf *b)
{
	struct recs *x = ctx;
	int ret = rec_add(x->l, x->r, b);

	codec_begin(b, NULL);
	return ret;
}

static int range_make(struct hf_log *l, struct range *r)
{
	struct recs x = { l, r };
	struct hf_buf b = HF_BUF_INIT;
	bool first = !r->from;
	int ret = 0;

	recs_drop(r);
	range_sift(r);
	r->stale = false;
	if (!r->n && !first)
		return 0;
	if (r->n)
		qsort(r->v, r->n, sizeof(*r->v), ent_order);
	codec_begin(&b, NULL);
	if (first)
		keep_out(l, &b);
	for (size_t i = 0; i < r->n && !ret; i++)
		ret = log_item(&b, r->v[i], i || b.len > LOG_HEAD_MAX, rec_next, &x);
	if (!ret)
		ret = rec_add(l, r, &b);
	hf_buf_free(&b);
	if (ret)
		recs_drop(r);
	r->stale = ret;
	return ret;
}

int make_part(struct hf_log *l)
{
	struct base_make *m = l->make;
	struct range *next = NULL;
	size_t stale = 0;
	int ret;

	if (m->ntodo && m->left) {
		ret = file_some(m, FILE_AT_ONCE);
		return ret ? ret : 1;
	}
	for (size_t i = 0; i < m->nr; i++) {
		struct range *r = &m->r[(m->at + i) % m->nr];

		stale += r->stale;
		if (!next && r->stale && r->from)
			next = r;
	}
	/* the first one tells of history, which each commit changes. One more may as well be made then: else what
	 * changes all the time would be made all the time. */
	if (stale <= 2 || !m->left)
		return 0;
	m->left--;
	m->at = next - m->r + 1;
	ret = range_make(l, next);
	return ret ? ret : 1;
}

int make_all(struct hf_log *l, struct base_rec ***out, size_t *n, struct hf_err *err)
{
	int ret = l->make ? 0 : make_begin(l);
	struct base_make *m = l->make;
	struct base_rec **v;
	size_t items = 0, recs = 0;

	if (ret < 0)
		return ret;
	ret = file_some(m, SIZE_MAX);
	for (size_t i = 0; i < m->nr && !ret; i++) {
		if (m->r[i].stale)	/* the first one is always */
			ret = range_make(l, &m->r[i]);
		items += m->r[i].n;
		recs += m->r[i].nrec;
	}
	if (ret)
		return ret;
	/* P1: what is not in a base is gone */
	if (items != l->items.n)
		return hf_fail(err, HF_FAILED, -EAGAIN, "%s: a bug of Holdfast: its base would have %zu entries of %zu; it is made anew",
			       l->id.name, items, l->items.n);
	v = malloc(recs * sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < m->nr; i++)
		for (size_t k = 0; k < m->r[i].nrec; k++)
			v[(*n)++] = &m->r[i].rec[k];
	*out = v;
	return 0;
}

void make_note(struct hf_log *l, struct ent *e)
{
	struct base_make *m = l->make;
	struct range *r = m ? range_of(m, e) : NULL;

	if (!r)
		return;
	r->stale = true;	/* by what it replaces, too */
	if (e->flags & ENT_DEAD)
		return;
	e->users++;
	if (range_add(r, e)) {
		ent_put(e);
		make_drop(l);
		return;
	}
	/* it would not come to an end so: the rest is made at once */
	if (++m->notes > l->items.n)
		m->left = 0;
}

void make_moved(struct hf_log *l, const struct ent *e)
{
	if (l->make)
		range_of(l->make, e)->stale = true;
}
