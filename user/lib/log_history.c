// SPDX-License-Identifier: LGPL-2.1-or-later
/* Which generations can still be read, and of which contents are gone. */
#include "log_int.h"
#include <stdio.h>
#include <stdlib.h>

struct hist {
	struct hf_gen_info *v;
	size_t n, cap;
	struct hf_gen_info cur;		/* whose records are being read */
	struct codec_part part;
};

static void hist_note(void *ctx, const char *s)
{
	struct hist *h = ctx;

	snprintf(h->cur.note, sizeof(h->cur.note), "%s", s);
}

static int hist_put(void *ctx, struct ent *e)
{
	struct hist *h = ctx;
	int ret = 0;

	if (group_is(e)) {
		free(h->cur.group);
		ret = group_in(ent_attr(e), e->attrlen, h->cur.gen, &h->cur.group);
	} else {
		h->cur.puts++;
		h->cur.pins += pin_is(e);
		h->cur.bytes += e->size;
	}
	ent_put(e);
	return ret;
}

static int hist_del(void *ctx, const void *key, uint32_t keylen)
{
	((struct hist *)ctx)->cur.dels++;
	return 0;
}

/* a base may come later than what it is the base of */
static void hist_when(void *ctx, const struct gen_mark *m)
{
	struct hist *h = ctx;

	if (m->gen == h->cur.gen)
		h->cur.when_ns = m->when_ns;
}

static void hist_drop(struct hist *h)
{
	free(h->cur.group);
	memset(&h->cur, 0, sizeof(h->cur));
}

static void hist_restart(void *ctx)
{
	struct hist *h = ctx;

	while (h->n)
		free(h->v[--h->n].group);
	hist_drop(h);
	codec_part_drop(&h->part);
}

static int hist_rec(void *ctx, const struct hf_rec *r)
{
	struct hist *h = ctx;
	const struct codec_fn fn = { hist_note, hist_put, hist_del, h, hist_when, &h->part };
	struct hf_buf b = HF_BUF_INIT;
	int ret;

	if (r->kind != HF_REC_DELTA && r->kind != HF_REC_BASE)
		return 0;
	if (h->cur.gen != r->gen || h->cur.epoch != r->epoch || h->cur.kind != r->kind || (r->flags & HF_REC_FIRST)) {
		hist_drop(h);
		codec_part_drop(&h->part);
	}
	h->cur.gen = r->gen;
	h->cur.epoch = r->epoch;
	h->cur.kind = r->kind;
	h->cur.slot = r->slot;
	if (!h->cur.when_ns || r->kind == HF_REC_DELTA)
		h->cur.when_ns = r->when_ns;
	h->cur.flags = r->flags & HF_REC_FUZZY;
	ret = codec_unpack(r, &b);
	if (!ret)
		ret = codec_each(b.p, b.len, r->slot, r->tail, r->gen, &fn);
	hf_buf_free(&b);
	if (ret || (r->flags & HF_REC_PART))
		return ret;
	if (h->n && h->v[h->n - 1].gen == r->gen) {
		/* a base of a generation that its own delta tells of */
		h->v[h->n - 1].kind = HF_REC_BASE;
		h->v[h->n - 1].pins += h->cur.pins;
		hist_drop(h);
		return 0;
	}
	if (h->n == h->cap) {
		struct hf_gen_info *v = realloc(h->v, (h->cap = h->cap ? h->cap * 2 : 64) * sizeof(*v));

		if (!v)
			return -ENOMEM;
		h->v = v;
	}
	/* the first state of all is told by a base as well, with a note */
	h->cur.whole = r->kind == HF_REC_BASE && !h->cur.note[0];
	h->v[h->n++] = h->cur;
	memset(&h->cur, 0, sizeof(h->cur));
	return 0;
}

int hf_log_history(struct hf_store *s, const struct hf_logid *id,
		   int (*fn)(void *ctx, const struct hf_gen_info *g), void *ctx, struct hf_err *err)
{
	struct hist h = { 0 };
	int ret = s->ops->read(s, id, 1, NULL, hist_restart, hist_rec, &h, err);

	for (size_t i = 0; i < h.n && !ret; i++)
		ret = fn(ctx, &h.v[i]);
	hist_restart(&h);
	free(h.v);
	return ret;
}

/*
 * Records of what was there before a takeover, or of a log that nobody holds, may outlive contents that
 * they refer to: a node that needs room uses it again block by block. So who lists history looks. What
 * the newest state has in the same place is pinned, and what the epoch that is held wrote is its owner's.
 */
struct gone {
	struct hf_log *now;		/* the newest state; fetches */
	uint64_t held;			/* this epoch needs no looking at; 0 none */
	struct table items;		/* of the generation that is being read */
	uint64_t nbad;			/* of them, with contents that are gone */
	struct staging stage;
	struct hf_buf bad;		/* generations (8), in the order of their records */
};
#define ENT_GONE 0x100			/* in flags of the items here, which nobody else has */

static bool same_place(const struct ent *a, const struct ent *b)
{
	return a && a->nref == b->nref && a->size == b->size &&
	       (!a->nref || (a->ref[0].slot == b->ref[0].slot && a->ref[0].place == b->ref[0].place &&
			     !memcmp(a->hash, b->hash, HF_HASH)));
}

static void gone_drop(struct gone *g, struct ent *e)
{
	if (!e)
		return;
	g->nbad -= !!(e->flags & ENT_GONE);
	table_del(&g->items, e);
}

static int gone_put(void *ctx, struct ent *e)
{
	struct gone *g = ctx;
	struct ent *old = table_get(&g->items, ent_key(e), e->keylen);
	int ret = 0;

	if (same_place(old, e)) {
		e->flags |= old->flags & ENT_GONE;
	} else if (g->stage.epoch != g->held && !same_place(table_get(&g->now->items, ent_key(e), e->keylen), e)) {
		for (uint32_t i = 0; i < e->nref && !ret; i++) {
			ret = log_fetch(g->now, &e->ref[i], NULL);
			chunk_forget(&g->now->ck, &e->ref[i]);
		}
		if (ret == -EBADMSG) {
			e->flags |= ENT_GONE;
			ret = 0;
		}
	}
	gone_drop(g, old);
	if (!ret) {
		g->nbad += !!(e->flags & ENT_GONE);
		ret = table_add(&g->items, e);
	}
	if (ret)
		ent_put(e);
	return ret;
}

static int gone_del(void *ctx, const void *key, uint32_t keylen)
{
	struct gone *g = ctx;

	gone_drop(g, table_get(&g->items, key, keylen));
	return 0;
}

static void gone_restart(void *ctx)
{
	struct gone *g = ctx;

	table_clear(&g->items);
	stage_drop(&g->stage);
	g->nbad = 0;
	g->bad.len = 0;
}

static int gone_rec(void *ctx, const struct hf_rec *r)
{
	struct gone *g = ctx;
	const struct codec_fn fn = { .put = gone_put, .del = gone_del, .ctx = g };
	int ret;

	if (r->kind != HF_REC_DELTA && r->kind != HF_REC_BASE)
		return 0;
	ret = stage_rec(&g->stage, r);
	if (ret != 1)
		return ret;
	ret = stage_play(&g->stage, r->gen, fn);
	if (!ret && g->nbad)
		hf_buf_put(&g->bad, &r->gen, sizeof(r->gen));
	return ret ? ret : g->bad.bad ? -ENOMEM : 0;
}

int hf_log_gone(struct hf_store *s, const struct hf_logid *id, void (*fn)(void *ctx, uint64_t gen), void *ctx,
		struct hf_err *err)
{
	struct gone g = { .bad = HF_BUF_INIT };
	struct hf_log_stat st;
	uint64_t gen, last = 0;
	int ret = s->ops->stat(s, id, &st, err);

	if (!ret)
		ret = hf_log_read(s, id, 0, &g.now, err);
	if (ret)
		return ret;
	g.held = st.released ? 0 : st.epoch;
	ret = s->ops->read(s, id, 1, NULL, gone_restart, gone_rec, &g, err);
	for (size_t i = 0; i + 8 <= g.bad.len && !ret; i += 8) {
		memcpy(&gen, g.bad.p + i, 8);
		if (gen != last)
			fn(ctx, gen);
		last = gen;
	}
	table_clear(&g.items);
	stage_drop(&g.stage);
	hf_buf_free(&g.bad);
	hf_log_close(g.now);
	return ret;
}
