/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The items of a log in memory, and how they are written in records. Private to log.c, state.c and codec.c. */
#ifndef HF_STATE_H
#define HF_STATE_H

#include "log.h"

enum {
	ENT_DEAD = 1,		/* deleted by the transaction */
	ENT_OUT = 2,		/* not in the table any more */
	ENT_LATE = 4,		/* what its contents are stored as is not known yet (log_seal.c) */
};

#define HF_CHUNK_MAX (64u << 10)	/* plain bytes in a chunk */

/* Where a chunk lies. */
struct hf_ref {
	uint32_t slot;
	uint32_t len, clen;	/* plain bytes; as stored, without nonce and tag */
	uint32_t flags;		/* HF_REC_ZSTD, REF_TAIL */
	uint64_t place;
	uint8_t hash[HF_HASH];	/* keyed, of the plain bytes */
};

#define REF_TAIL 0x100		/* flags of a ref: place is an offset in what travels along */

struct pend;
struct ent {
	struct ent *next;
	uint64_t sum;		/* of the key, for the table */
	struct pend *pend;	/* of the transaction that changed it */
	struct hf_ref *ref;
	uint32_t nref, keylen, attrlen;
	uint32_t users;
	unsigned flags;
	uint64_t size, gen;
	uint8_t hash[HF_HASH];
	struct hf_mark mark;
	uint8_t data[];		/* key, attributes; refs that came with ent_new() */
};
#define ent_key(e) ((e)->data)
#define ent_attr(e) ((e)->data + (e)->keylen)

struct pend {			/* one key that a transaction touched */
	struct ent *cur, *old;	/* in the table now; what was there before, NULL nothing */
	size_t idx;
};

struct table {
	struct ent **slot;
	size_t cap, n;
	struct ent **order;	/* all of them as table_sorted() gives them, until one comes or goes; or NULL */
	struct table_count { uint8_t prefix[16]; uint32_t plen; size_t n; } *count;	/* that were asked for */
	unsigned ncount;
};

struct ent *ent_new(const void *key, uint32_t keylen, const void *attr, uint32_t attrlen, uint32_t nref);
int ent_more(struct ent *e, uint32_t n);	/* room for so many chunks more */
void ent_put(struct ent *e);
/* for qsort(), of pointers: by key, bytewise, but '/' sorts before all else, so that a directory's entries follow it */
int ent_order(const void *a, const void *b);
struct ent *table_get(const struct table *t, const void *key, uint32_t keylen);
int table_add(struct table *t, struct ent *e);	/* takes over the caller's use */
void table_del(struct table *t, struct ent *e);	/* drops it */
void table_clear(struct table *t);
bool ent_begins(const struct ent *e, const void *prefix, uint32_t plen);
int table_sorted(struct table *t, const void *prefix, uint32_t plen, struct ent ***out, size_t *n);
/* how many begin with @prefix; counted once, and kept from then on */
size_t table_count(struct table *t, const void *prefix, uint32_t plen);
int table_order(struct table *t);	/* sorts now what table_sorted() would have to sort then */

/* when a generation was committed; whether there is a base of it */
struct gen_mark { uint64_t gen, when_ns; bool base; };

/* codec.c */
void codec_begin(struct hf_buf *b, const char *note);
/** codec_put() - with as many of its chunks as fit into @max bytes of payload, at least one; how many.
 *  codec_more() tells of those from @from on in the same way, in the same record or the next one. */
uint32_t codec_put(struct hf_buf *b, const struct ent *e, size_t max);
uint32_t codec_more(struct hf_buf *b, const struct ent *e, uint32_t from, size_t max);
void codec_del(struct hf_buf *b, const struct ent *e);
void codec_when(struct hf_buf *b, const struct gen_mark *m);
/** codec_pack() - compress if it pays. @zip: a ZSTD_CCtx, made when first needed: to make one takes longer than
 *  to compress a small commit */
int codec_pack(struct hf_buf *b, void **zip, unsigned *flags);
/** codec_unpack() - the ops of a record; @out is filled */
int codec_unpack(const struct hf_rec *r, struct hf_buf *out);
/* a put of which chunks are to come with the next record of the commit; all zero at its begin */
struct codec_part { struct ent *e; uint64_t left; };
void codec_part_drop(struct codec_part *p);
struct codec_fn {
	void (*note)(void *ctx, const char *s);
	int (*put)(void *ctx, struct ent *e);	/* takes over the entry */
	int (*del)(void *ctx, const void *key, uint32_t keylen);
	void *ctx;
	void (*when)(void *ctx, const struct gen_mark *m);	/* NULL: not asked for */
	struct codec_part *part;	/* from one record to the next; NULL: a record stands alone */
};
int codec_each(const void *p, size_t n, uint32_t slot, uint64_t tail, uint64_t gen, const struct codec_fn *fn);

/* stage.c: records of a commit that is being read; all zero at the begin */
struct staging { struct staged *v; size_t n; uint64_t epoch; enum hf_rec_kind kind; };
/** stage_rec() - take in a DELTA or a BASE. 1: it was the last one of a commit, 0: there are more, or an error */
int stage_rec(struct staging *s, const struct hf_rec *r);
/** stage_play() - the operations of all that was taken in, which is dropped; fn.part is not looked at */
int stage_play(struct staging *s, uint64_t gen, struct codec_fn fn);
void stage_drop(struct staging *s);
size_t stage_bytes(const struct staging *s);

#endif
