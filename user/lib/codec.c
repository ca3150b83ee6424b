// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is in the payload of a DELTA or BASE record:
 *
 *	u16 version (1), u16 zero, blob note
 *	then operations, each beginning with a u8:
 *	  1 put: blob key, blob attributes, u64 size of the contents;
 *		 if that is not 0: 32 bytes hash, u32 number of chunks, and for each:
 *		 u8 where (0 place on the disk, 1 offset in what travels along), u8 compressed,
 *		 u16 zero, u32 bytes, u32 bytes as stored, u64 place; 32 bytes hash if it is not all contents
 *	  2 del: blob key
 *	  3 when (in a base): u64 generation, u64 time, u8 1 if there is a base of it
 *	  4 more: u32 number of chunks, and these, of the put before, which lacks some; perhaps in
 *		 the next record of the commit
 *
 * A blob is a u32 length and its bytes. With HF_REC_ZSTD the payload is a u32 length
 * and a zstd frame of that many bytes.
 */
#include "chunk.h"
#include "state.h"
#include <stdlib.h>
#include <zstd.h>

#define RAW_MAX (4u << 20)
#define KEEP_MAX (32u << 10)	/* a context that compressed more keeps much memory */
#define OP_PUT 1
#define OP_DEL 2
#define OP_WHEN 3
#define OP_MORE 4
#define REF_MAX (20 + HF_HASH)	/* what a chunk takes */

void codec_begin(struct hf_buf *b, const char *note)
{
	hf_buf_u16(b, 1);
	hf_buf_u16(b, 0);
	hf_buf_blob(b, note ? note : "", note ? strnlen(note, 127) : 0);
}

/* its chunks from @from on, as many as fit into @max bytes of payload, at least one */
static uint32_t put_refs(struct hf_buf *b, const struct ent *e, uint32_t from, size_t max)
{
	size_t room = b->len + 4 < max ? (max - b->len - 4) / REF_MAX : 0;
	uint32_t n = e->nref - from;

	if (n > room)
		n = room ? room : 1;
	hf_buf_u32(b, n);
	for (uint32_t i = from; i < from + n; i++) {
		const struct hf_ref *r = &e->ref[i];

		hf_buf_u8(b, !!(r->flags & REF_TAIL));
		hf_buf_u8(b, !!(r->flags & HF_REC_ZSTD));
		hf_buf_u16(b, 0);
		hf_buf_u32(b, r->len);
		hf_buf_u32(b, r->clen);
		hf_buf_u64(b, r->place);
		if (r->len != e->size)
			hf_buf_put(b, r->hash, HF_HASH);
	}
	return n;
}

uint32_t codec_put(struct hf_buf *b, const struct ent *e, size_t max)
{
	hf_buf_u8(b, OP_PUT);
	hf_buf_blob(b, ent_key(e), e->keylen);
	hf_buf_blob(b, ent_attr(e), e->attrlen);
	hf_buf_u64(b, e->size);
	if (!e->size)
		return 0;
	hf_buf_put(b, e->hash, HF_HASH);
	return put_refs(b, e, 0, max);
}

uint32_t codec_more(struct hf_buf *b, const struct ent *e, uint32_t from, size_t max)
{
	hf_buf_u8(b, OP_MORE);
	return put_refs(b, e, from, max);
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

int codec_pack(struct hf_buf *b, void **zip, unsigned *flags)
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
	if (b->len <= KEEP_MAX && !*zip)
		*zip = chunker_zip();
	n = b->len <= KEEP_MAX && *zip ? ZSTD_compress2(*zip, z.p + z.len, z.cap - z.len, b->p, b->len) :
	    ZSTD_compress(z.p + z.len, z.cap - z.len, b->p, b->len, 1);
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

/* chunks of an entry into its places from @at on */
static int get_refs(struct hf_rd *rd, struct codec_part *p, uint32_t at, uint32_t slot, uint64_t tail)
{
	struct ent *e = p->e;

	for (uint32_t i = at; i < e->nref; i++) {
		struct hf_ref *r = &e->ref[i];
		uint8_t where = hf_rd_u8(rd), zip = hf_rd_u8(rd);
		const uint8_t *hash = e->hash;

		hf_rd_u16(rd);
		r->slot = slot;
		r->len = hf_rd_u32(rd);
		r->clen = hf_rd_u32(rd);
		r->place = hf_rd_u64(rd) + (where ? tail : 0);
		r->flags = zip ? HF_REC_ZSTD : 0;
		if (r->len != e->size)
			hash = hf_rd_bytes(rd, HF_HASH);
		if (rd->bad || !r->len || r->len > HF_CHUNK_MAX || !r->clen || r->clen > r->len || r->len > p->left)
			return -EBADMSG;
		memcpy(r->hash, hash, HF_HASH);
		p->left -= r->len;
	}
	return 0;
}

static uint32_t get_count(struct hf_rd *rd)
{
	uint32_t n = hf_rd_u32(rd);

	return rd->bad || n > (size_t)(rd->end - rd->p) / 20 ? 0 : n;
}

static int one_put(struct hf_rd *rd, uint32_t slot, uint64_t tail, uint64_t gen, struct codec_part *p)
{
	uint32_t klen, alen, nref = 0;
	const uint8_t *key = hf_rd_blob(rd, &klen), *attr = hf_rd_blob(rd, &alen), *hash = NULL;
	uint64_t size = hf_rd_u64(rd);

	if (size) {
		hash = hf_rd_bytes(rd, HF_HASH);
		nref = get_count(rd);
	}
	if (rd->bad || !klen || (size && !nref))
		return -EBADMSG;
	p->e = ent_new(key, klen, attr, alen, nref);
	if (!p->e)
		return -ENOMEM;
	p->e->size = p->left = size;
	p->e->gen = gen;
	if (size)
		memcpy(p->e->hash, hash, HF_HASH);
	return get_refs(rd, p, 0, slot, tail);
}

static int one_more(struct hf_rd *rd, uint32_t slot, uint64_t tail, struct codec_part *p)
{
	uint32_t n = get_count(rd), at;
	int ret;

	if (!p->e || !n)
		return -EBADMSG;
	at = p->e->nref;
	ret = ent_more(p->e, n);
	return ret ? ret : get_refs(rd, p, at, slot, tail);
}

void codec_part_drop(struct codec_part *p)
{
	ent_put(p->e);
	p->e = NULL;
}

int codec_each(const void *p, size_t n, uint32_t slot, uint64_t tail, uint64_t gen, const struct codec_fn *fn)
{
	struct codec_part alone = { 0 }, *part = fn->part ? fn->part : &alone;
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
		uint8_t op = hf_rd_u8(&rd);
		struct ent *e;

		if (part->e && op != OP_MORE) {
			ret = -EBADMSG;
			break;
		}
		switch (op) {
		case OP_PUT:
		case OP_MORE:
			ret = op == OP_PUT ? one_put(&rd, slot, tail, gen, part) : one_more(&rd, slot, tail, part);
			if (ret || part->left)
				break;
			e = part->e;
			part->e = NULL;
			ret = fn->put(fn->ctx, e);
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
	if (!ret && alone.e)
		ret = -EBADMSG;
	if (ret)
		codec_part_drop(part);
	codec_part_drop(&alone);
	return ret;
}
