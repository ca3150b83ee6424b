// SPDX-License-Identifier: LGPL-2.1-or-later
/* Which generations can still be read. */
#include "log_int.h"
#include <stdio.h>
#include <stdlib.h>

struct hist {
	struct hf_gen_info *v;
	size_t n, cap;
	struct hf_gen_info cur;		/* whose records are being read */
};

static void hist_note(void *ctx, const char *s)
{
	struct hist *h = ctx;

	snprintf(h->cur.note, sizeof(h->cur.note), "%s", s);
}

static int hist_put(void *ctx, struct ent *e)
{
	struct hist *h = ctx;

	h->cur.puts++;
	h->cur.bytes += e->size;
	ent_put(e);
	return 0;
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

static void hist_restart(void *ctx)
{
	struct hist *h = ctx;

	h->n = 0;
	memset(&h->cur, 0, sizeof(h->cur));
}

static int hist_rec(void *ctx, const struct hf_rec *r)
{
	struct hist *h = ctx;
	const struct codec_fn fn = { hist_note, hist_put, hist_del, h, hist_when };
	struct hf_buf b = HF_BUF_INIT;
	int ret;

	if (r->kind != HF_REC_DELTA && r->kind != HF_REC_BASE)
		return 0;
	if (h->cur.gen != r->gen || h->cur.epoch != r->epoch || h->cur.kind != r->kind || (r->flags & HF_REC_FIRST))
		memset(&h->cur, 0, sizeof(h->cur));
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
		memset(&h->cur, 0, sizeof(h->cur));
		return 0;
	}
	if (h->n == h->cap) {
		struct hf_gen_info *v = realloc(h->v, (h->cap = h->cap ? h->cap * 2 : 64) * sizeof(*v));

		if (!v)
			return -ENOMEM;
		h->v = v;
	}
	h->v[h->n++] = h->cur;
	memset(&h->cur, 0, sizeof(h->cur));
	return 0;
}

int hf_log_history(struct hf_store *s, const struct hf_logid *id,
		   int (*fn)(void *ctx, const struct hf_gen_info *g), void *ctx, struct hf_err *err)
{
	struct hist h = { 0 };
	int ret = s->ops->read(s, id, 1, hist_restart, hist_rec, &h, err);

	for (size_t i = 0; i < h.n && !ret; i++)
		ret = fn(ctx, &h.v[i]);
	free(h.v);
	return ret;
}
