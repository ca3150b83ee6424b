// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is in the payload of a DELTA or BASE record:
 *
 *	u16 version (1), u16 zero, blob note
 *	then operations, each beginning with a u8:
 *	  1 put: blob key, blob attributes, u64 size of the contents;
 *		 if that is not 0: 32 bytes hash, u32 number of chunks, and for each:
 *		 u8 where (0 place on the disk, 1 offset in what travels along), u8 compressed,
 *		 u16 zero, u32 bytes, u32 bytes as stored, u64 place; 32 bytes hash if there are several
 *	  2 del: blob key
 *	  3 when (in a base): u64 generation, u64 time, u8 1 if there is a base of it
 *
 * A blob is a u32 length and its bytes. With HF_REC_ZSTD the payload is a u32 length
 * and a zstd frame of that many bytes.
 */
#include "state.h"
#include <stdlib.h>
#include <zstd.h>

#define RAW_MAX (4u << 20)
#define OP_PUT 1
#define OP_DEL 2
#define OP_WHEN 3

void codec_begin(struct hf_buf *b, const char *note)
{
	hf_buf_u16(b, 1);
	hf_buf_u16(b, 0);
	hf_buf_blob(b, note ? note : "", note ? strnlen(note, 127) : 0);
}

void codec_put(struct hf_buf *b, const struct ent *e)
{
	hf_buf_u8(b, OP_PUT);
	hf_buf_blob(b, ent_key(e), e->keylen);
	hf_buf_blob(b, ent_attr(e), e->attrlen);
	hf_buf_u64(b, e->size);
	if (!e->size)
		return;
	hf_buf_put(b, e->hash, HF_HASH);
	hf_buf_u32(b, e->nref);
	for (uint32_t i = 0; i < e->nref; i++) {
		const struct hf_ref *r = &e->ref[i];

		hf_buf_u8(b, !!(r->flags & REF_TAIL));
		hf_buf_u8(b, !!(r->flags & HF_REC_ZSTD));
		hf_buf_u16(b, 0);
		hf_buf_u32(b, r->len);
		hf_buf_u32(b, r->clen);
		hf_buf_u64(b, r->place);
		if (e->nref > 1)
			hf_buf_put(b, r->hash, HF_HASH);
	}
}

void codec_del(struct hf_buf *b, const struct ent *e)
{
	hf_buf_u8(b, OP_DEL);
	hf_buf_blob(b, ent_key(e), e->keylen);
}

void codec_when(struct hf_buf *b, const struct gen_mark *m)
{
	hf_buf_u8(b, OP_WHEN);
	hf_buf_u64(b, m->gen);
	hf_buf_u64(b, m->when_ns);
	hf_buf_u8(b, m->base);
}

int codec_pack(struct hf_buf *b, unsigned *flags)
{
	struct hf_buf z = HF_BUF_INIT;
	size_t n;

	if (b->bad)
		return -ENOMEM;
	if (b->len < 2048)	/* one sector either way */
		return 0;
	hf_buf_u32(&z, b->len);
	if (hf_buf_room(&z, ZSTD_compressBound(b->len))) {
		hf_buf_free(&z);
		return -ENOMEM;
	}
	n = ZSTD_compress(z.p + z.len, z.cap - z.len, b->p, b->len, 1);
	if (ZSTD_isError(n) || n + 4 >= b->len) {
		hf_buf_free(&z);
		return 0;
	}
	z.len += n;
	hf_buf_free(b);
	*b = z;
	*flags |= HF_REC_ZSTD;
	return 0;
}

int codec_unpack(const struct hf_rec *r, struct hf_buf *out)
{
	struct hf_rd rd;
	uint32_t n;

	if (!(r->flags & HF_REC_ZSTD)) {
		hf_buf_put(out, r->payload, r->len);
		return out->bad ? -ENOMEM : 0;
	}
	hf_rd_init(&rd, r->payload, r->len);
	n = hf_rd_u32(&rd);
	if (rd.bad || n > RAW_MAX)
		return -EBADMSG;
	if (hf_buf_room(out, n))
		return -ENOMEM;
	if (ZSTD_decompress(out->p, n, rd.p, rd.end - rd.p) != n)
		return -EBADMSG;
	out->len = n;
	return 0;
}

static int one_put(struct hf_rd *rd, uint32_t slot, uint64_t tail, uint64_t gen, const struct codec_fn *fn)
{
	uint32_t klen, alen, nref = 0;
	const uint8_t *key = hf_rd_blob(rd, &klen), *attr = hf_rd_blob(rd, &alen), *hash = NULL;
	uint64_t size = hf_rd_u64(rd), sum = 0;
	struct ent *e;

	if (size) {
		hash = hf_rd_bytes(rd, HF_HASH);
		nref = hf_rd_u32(rd);
	}
	if (rd->bad || !klen || nref > (size_t)(rd->end - rd->p) / 20 || (size && !nref))
		return -EBADMSG;
	e = ent_new(key, klen, attr, alen, nref);
	if (!e)
		return -ENOMEM;
	e->size = size;
	e->gen = gen;
	if (size)
		memcpy(e->hash, hash, HF_HASH);
	for (uint32_t i = 0; i < nref; i++) {
		struct hf_ref *r = &e->ref[i];
		uint8_t where = hf_rd_u8(rd), zip = hf_rd_u8(rd);

		hf_rd_u16(rd);
		r->slot = slot;
		r->len = hf_rd_u32(rd);
		r->clen = hf_rd_u32(rd);
		r->place = hf_rd_u64(rd) + (where ? tail : 0);
		r->flags = zip ? HF_REC_ZSTD : 0;
		if (nref > 1)
			hash = hf_rd_bytes(rd, HF_HASH);
		if (rd->bad || !r->len || r->len > HF_CHUNK_MAX || !r->clen || r->clen > r->len)
			goto bad;
		memcpy(r->hash, hash, HF_HASH);
		sum += r->len;
	}
	if (sum != size)
		goto bad;
	return fn->put(fn->ctx, e);
bad:
	ent_put(e);
	return -EBADMSG;
}

int codec_each(const void *p, size_t n, uint32_t slot, uint64_t tail, uint64_t gen, const struct codec_fn *fn)
{
	struct gen_mark mark;
	struct hf_rd rd;
	const uint8_t *note;
	uint32_t len;
	char s[128];
	int ret = 0;

	hf_rd_init(&rd, p, n);
	if (hf_rd_u16(&rd) != 1)
		return -EBADMSG;
	hf_rd_u16(&rd);
	note = hf_rd_blob(&rd, &len);
	if (rd.bad || len > 127)
		return -EBADMSG;
	memcpy(s, note, len);
	s[len] = 0;
	if (fn->note && len)
		fn->note(fn->ctx, s);
	while (!ret && rd.p < rd.end) {
		const uint8_t *key;

		switch (hf_rd_u8(&rd)) {
		case OP_PUT:
			ret = one_put(&rd, slot, tail, gen, fn);
			break;
		case OP_DEL:
			key = hf_rd_blob(&rd, &len);
			ret = rd.bad ? -EBADMSG : fn->del(fn->ctx, key, len);
			break;
		case OP_WHEN:
			mark.gen = hf_rd_u64(&rd);
			mark.when_ns = hf_rd_u64(&rd);
			mark.base = hf_rd_u8(&rd);
			if (rd.bad)
				ret = -EBADMSG;
			else if (fn->when)
				fn->when(fn->ctx, &mark);
			break;
		default:
			ret = -EBADMSG;
		}
	}
	return ret;
}
