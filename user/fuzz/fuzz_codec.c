// SPDX-License-Identifier: GPL-2.0-or-later
/* The payload of DELTA and BASE. First byte: 1 the payload is marked as compressed, 2 the rest is
 * compressed here. What can be read is written again, and says the same. */
#include "fuzz.h"
#include "state.h"
#include <zstd.h>

#define TAIL 0x100000

struct list { struct hf_buf b; unsigned n; };

static int on_put(void *ctx, struct ent *e)
{
	struct list *l = ctx;

	for (uint32_t i = 0; i < e->nref; i++)
		must(e->ref[i].len && e->ref[i].len <= HF_CHUNK_MAX && e->ref[i].clen <= e->ref[i].len);
	/* in pieces of a few chunks */
	for (uint32_t n = codec_put(&l->b, e, l->b.len + 200); n < e->nref; )
		n += codec_more(&l->b, e, n, l->b.len + 200);
	l->n++;
	ent_put(e);
	return 0;
}

static int on_del(void *ctx, const void *key, uint32_t keylen)
{
	struct list *l = ctx;
	struct ent *e = ent_new(key, keylen, NULL, 0, 0);

	must(e);
	codec_del(&l->b, e);
	l->n++;
	ent_put(e);
	return 0;
}

static void on_when(void *ctx, const struct gen_mark *m)
{
	struct list *l = ctx;

	codec_when(&l->b, m);
	l->n++;
}

static void on_note(void *ctx, const char *s)
{
	must(strlen(s) < 128);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct bytes in = { p, p + n };
	unsigned mode = take(&in, 1);
	struct hf_buf out = HF_BUF_INIT, z = HF_BUF_INIT;
	size_t len;
	uint8_t *raw = take_copy(&in, HF_REC_MAX, &len);
	struct hf_rec r = { .kind = HF_REC_DELTA, .payload = raw, .len = len };
	struct list a = { .b = HF_BUF_INIT }, b = { .b = HF_BUF_INIT };
	struct codec_fn fn = { .note = on_note, .put = on_put, .del = on_del, .ctx = &a, .when = on_when };

	if (mode & 2) {
		hf_buf_u32(&z, len);
		must(!hf_buf_room(&z, ZSTD_compressBound(len)));
		z.len += ZSTD_compress(z.p + z.len, z.cap - z.len, raw, len, 1);
		r.payload = z.p;
		r.len = z.len;
	}
	r.flags = mode & 3 ? HF_REC_ZSTD : 0;
	if (!codec_unpack(&r, &out)) {
		codec_begin(&a.b, NULL);
		if (!codec_each(out.p, out.len, 1, TAIL, 5, &fn)) {
			fn.ctx = &b;
			codec_begin(&b.b, NULL);
			must(!codec_each(a.b.p, a.b.len, 1, 0, 5, &fn));
			must(a.n == b.n && a.b.len == b.b.len && !memcmp(a.b.p, b.b.p, a.b.len));
		}
	}
	hf_buf_free(&a.b);
	hf_buf_free(&b.b);
	hf_buf_free(&out);
	hf_buf_free(&z);
	free(raw);
	return 0;
}
