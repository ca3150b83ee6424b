/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Chunks: sealed, compressed, found again by their keyed hash. Private to the log. */
#ifndef HF_CHUNK_H
#define HF_CHUNK_H

#include "state.h"
#include "ondisk.h"

/* chunks of the own area, by hash, so that equal contents are kept once */
struct dedup { struct dd **slot; size_t cap, n; };
void dedup_add(struct dedup *t, const struct hf_ref *r);
void dedup_del(struct dedup *t, const struct hf_ref *r);
const struct hf_ref *dedup_get(const struct dedup *t, const uint8_t hash[HF_HASH]);
void dedup_forget(struct dedup *t, const uint8_t hash[HF_HASH]);
/* chunks that nothing refers to any more stay until they are reclaimed: then they go */
void dedup_sweep(struct dedup *t);
void dedup_clear(struct dedup *t);

struct chunker {
	const struct hf_keys *keys;
	uint8_t disk[16];
	void *zip, *unzip;	/* zstd contexts */
	uint8_t *buf, *plain;	/* sealed and plain, HF_CHUNK_MAX and a header each */
};
int chunker_init(struct chunker *c, const struct hf_keys *keys, const uint8_t disk[16]);
void chunker_exit(struct chunker *c);
void *chunker_zip(void);	/* a ZSTD_CCtx whose memory is wiped when it is freed */
void chunker_cool(struct chunker *c);	/* nothing of what it did stays in memory; it goes on when it is used again */
/** chunk_seal() - @p into c->buf, compressed if @zip and if it pays; ref: len, clen, flags, hash are
 *  filled; place is the caller's */
int chunk_seal(struct chunker *c, const void *p, uint32_t len, const uint8_t hash[HF_HASH], bool zip,
	       struct hf_ref *ref);
/** chunk_open() - c->buf (clen and header bytes, as read) to c->plain; -EBADMSG. */
int chunk_open(struct chunker *c, const struct hf_ref *ref);
/** chunk_forget() - wipe what chunk_open() of @ref left in both; a log stays open for long */
void chunk_forget(struct chunker *c, const struct hf_ref *ref);
/** chunk_whole() - whether that would succeed; it stays sealed */
bool chunk_whole(const struct chunker *c, const struct hf_ref *ref);
#define chunk_stored(ref) ((ref)->clen + (uint32_t)HFD_CHUNK_HDR)

#endif
