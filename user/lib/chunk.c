// SPDX-License-Identifier: LGPL-2.1-or-later
/* Chunks: compressed, then sealed under a random nonce and bound to the disk and their
 * keyed hash. Their place is not bound: a base may copy them as they are. */
#include "chunk.h"
#include <sodium.h>
#include <stddef.h>
#include <stdlib.h>
#define ZSTD_STATIC_LINKING_ONLY	/* memory of our own: it holds parts of what was compressed */
#include <zstd.h>

struct dd { struct dd *next; struct hf_ref ref; uint32_t count; };

static size_t slot_of(const struct dedup *t, const uint8_t hash[HF_HASH])
{
	uint64_t h;

	memcpy(&h, hash, 8);	/* uniform already */
	return h & (t->cap - 1);
}

static struct dd **find(const struct dedup *t, const uint8_t hash[HF_HASH])
{
	struct dd **p = &t->slot[slot_of(t, hash)];

	while (*p && memcmp((*p)->ref.hash, hash, HF_HASH))
		p = &(*p)->next;
	return p;
}

/* Not finding a chunk again only costs space, so failing to note one is no error. */
void dedup_add(struct dedup *t, const struct hf_ref *r)
{
	struct dd **p, *d;

	if (t->n >= t->cap) {
		size_t cap = t->cap ? t->cap * 4 : 256;
		struct dedup nt = { .slot = calloc(cap, sizeof(*nt.slot)), .cap = cap, .n = t->n };

		if (!nt.slot)
			return;
		for (size_t i = 0; i < t->cap; i++)
			while ((d = t->slot[i])) {
				t->slot[i] = d->next;
				d->next = nt.slot[slot_of(&nt, d->ref.hash)];
				nt.slot[slot_of(&nt, d->ref.hash)] = d;
			}
		free(t->slot);
		*t = nt;
	}
	p = find(t, r->hash);
	if (*p && (*p)->ref.place == r->place) {
		(*p)->count++;
		return;
	}
	if (*p) {	/* the newer copy is the better one: it pins less */
		(*p)->ref = *r;
		(*p)->count = 1;
		return;
	}
	d = malloc(sizeof(*d));
	if (!d)
		return;
	d->ref = *r;
	d->count = 1;
	d->next = NULL;
	*p = d;
	t->n++;
}

void dedup_del(struct dedup *t, const struct hf_ref *r)
{
	struct dd *d = t->cap ? *find(t, r->hash) : NULL;

	if (d && d->ref.place == r->place && d->count)
		d->count--;
}

void dedup_forget(struct dedup *t, const uint8_t hash[HF_HASH])
{
	struct dd **p = t->cap ? find(t, hash) : NULL, *d = p ? *p : NULL;

	if (!d)
		return;
	*p = d->next;
	free(d);
	t->n--;
}

void dedup_sweep(struct dedup *t)
{
	for (size_t i = 0; i < t->cap; i++)
		for (struct dd **p = &t->slot[i], *d; (d = *p); ) {
			if (d->count) {
				p = &d->next;
				continue;
			}
			*p = d->next;
			free(d);
			t->n--;
		}
}

const struct hf_ref *dedup_get(const struct dedup *t, const uint8_t hash[HF_HASH])
{
	struct dd *d = t->cap ? *find(t, hash) : NULL;

	return d ? &d->ref : NULL;
}

void dedup_clear(struct dedup *t)
{
	for (size_t i = 0; i < t->cap; i++)
		while (t->slot[i]) {
			struct dd *d = t->slot[i];

			t->slot[i] = d->next;
			free(d);
		}
	free(t->slot);
	*t = (struct dedup){ 0 };
}

union head { size_t n; max_align_t align; };

static void *zalloc(void *opaque, size_t n)
{
	union head *h = malloc(sizeof(*h) + n);

	if (h)
		h->n = n;
	return h ? h + 1 : NULL;
}

static void zfree(void *opaque, void *p)
{
	union head *h = (union head *)p - 1;

	if (!p)
		return;
	sodium_memzero(p, h->n);
	free(h);
}

static const ZSTD_customMem wiped = { .customAlloc = zalloc, .customFree = zfree };

/*
 * Level 1 that looks at fewer places where nothing matches, with a table that a processor's caches are
 * not emptied by: a single small file between two rests takes half the time, each of many three quarters,
 * for one to six percent more bytes. (A level below 1 would leave literals as they are.)
 * That literals are compressed even so must be said first, and needs a zstd that knows it: from what one
 * does not know on, it does as it would.
 */
void *chunker_zip(void)
{
	static const struct { ZSTD_cParameter p; int v; } set[] = {
		{ ZSTD_c_compressionLevel, 1 }, { ZSTD_c_literalCompressionMode, ZSTD_ps_enable },
		{ ZSTD_c_targetLength, 3 }, { ZSTD_c_minMatch, 5 }, { ZSTD_c_hashLog, 13 },
	};
	ZSTD_CCtx *z = ZSTD_createCCtx_advanced(wiped);

	for (size_t i = 0; z && i < HF_ARRAY(set); i++)
		if (ZSTD_isError(ZSTD_CCtx_setParameter(z, set[i].p, set[i].v)))
			break;
	return z;
}

int chunker_init(struct chunker *c, const struct hf_keys *keys, const uint8_t disk[16])
{
	memset(c, 0, sizeof(*c));
	c->keys = keys;
	memcpy(c->disk, disk, 16);
	c->buf = malloc(HF_CHUNK_MAX + HFD_CHUNK_HDR);
	c->plain = malloc(HF_CHUNK_MAX);
	return c->buf && c->plain ? 0 : -ENOMEM;
}

void chunker_cool(struct chunker *c)
{
	ZSTD_freeCCtx(c->zip);
	ZSTD_freeDCtx(c->unzip);
	c->zip = c->unzip = NULL;
}

void chunker_exit(struct chunker *c)
{
	chunker_cool(c);
	if (c->plain)
		sodium_memzero(c->plain, HF_CHUNK_MAX);
	if (c->buf)	/* chunks are opened in place */
		sodium_memzero(c->buf, HF_CHUNK_MAX + HFD_CHUNK_HDR);
	free(c->plain);
	free(c->buf);
}

void chunk_forget(struct chunker *c, const struct hf_ref *ref)
{
	if (ref->len > HF_CHUNK_MAX || ref->clen > HF_CHUNK_MAX)
		return;
	sodium_memzero(c->plain, ref->len);
	sodium_memzero(c->buf, ref->clen + HFD_CHUNK_HDR);
}

struct chunk_ad { uint8_t what[8], disk[16], hash[HF_HASH]; };

static void chunk_ad(const struct chunker *c, const uint8_t hash[HF_HASH], struct chunk_ad *ad)
{
	memcpy(ad->what, "hf-chunk", 8);
	memcpy(ad->disk, c->disk, 16);
	memcpy(ad->hash, hash, HF_HASH);
}

int chunk_seal(struct chunker *c, const void *p, uint32_t len, const uint8_t hash[HF_HASH], bool zip,
	       struct hf_ref *ref)
{
	uint8_t *body = c->buf + HFD_CHUNK_HDR;
	struct chunk_ad ad;
	size_t n = 0;

	if (len > HF_CHUNK_MAX)
		return -EMSGSIZE;
	ref->len = len;
	ref->flags = 0;
	memcpy(ref->hash, hash, HF_HASH);
	if (zip && len >= 512) {
		if (!c->zip)
			c->zip = chunker_zip();
		if (!c->zip)
			return -ENOMEM;
		n = ZSTD_compress2(c->zip, body, len, p, len);
	}
	if (n && !ZSTD_isError(n) && n < len - len / 8) {
		ref->clen = n;
		ref->flags = HF_REC_ZSTD;
	} else {
		memcpy(body, p, len);
		ref->clen = len;
	}
	chunk_ad(c, hash, &ad);
	hf_seal(c->keys->aead, &ad, sizeof(ad), body, ref->clen, c->buf, c->buf + HF_NONCE);
	return 0;
}

bool chunk_whole(const struct chunker *c, const struct hf_ref *ref)
{
	struct chunk_ad ad;

	if (ref->clen > HF_CHUNK_MAX)
		return false;
	chunk_ad(c, ref->hash, &ad);
	return hf_sealed(c->keys->aead, &ad, sizeof(ad), c->buf + HFD_CHUNK_HDR, ref->clen, c->buf, c->buf + HF_NONCE);
}

int chunk_open(struct chunker *c, const struct hf_ref *ref)
{
	uint8_t *body = c->buf + HFD_CHUNK_HDR;
	struct chunk_ad ad;

	if (ref->len > HF_CHUNK_MAX || ref->clen > ref->len || (!(ref->flags & HF_REC_ZSTD) && ref->clen != ref->len))
		return -EBADMSG;
	chunk_ad(c, ref->hash, &ad);
	if (hf_unseal(c->keys->aead, &ad, sizeof(ad), body, ref->clen, c->buf, c->buf + HF_NONCE))
		return -EBADMSG;
	if (!(ref->flags & HF_REC_ZSTD)) {
		memcpy(c->plain, body, ref->len);
		return 0;
	}
	if (!c->unzip)
		c->unzip = ZSTD_createDCtx_advanced(wiped);
	if (!c->unzip)
		return -ENOMEM;
	return ZSTD_decompressDCtx(c->unzip, c->plain, ref->len, body, ref->clen) == ref->len ? 0 : -EBADMSG;
}
