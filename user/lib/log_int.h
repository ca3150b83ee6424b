/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A log from inside: shared by log.c, log_seal.c, log_ready.c, log_base.c, log_base_make.c, log_history.c, log_keep.c, log_pin.c and log_group.c. */
#ifndef HF_LOG_INT_H
#define HF_LOG_INT_H

#include "log.h"
#include "state.h"
#include "chunk.h"

struct hf_log {
	struct hf_store *store;
	struct hf_claim *claim;		/* NULL: only read */
	struct hf_logid id;
	uint32_t slot;			/* own area */
	struct chunker ck;
	struct table items;
	struct ent *at;			/* hf_log_each() shows it just now */
	struct dedup dedup;		/* of what is committed */
	struct dedup fresh;		/* of this transaction */
	uint64_t gen, when_ns;
	uint64_t gen_epoch;		/* the newest one in which something was written */
	bool fuzzy;
	uint64_t since, base_bytes;	/* written since the last base; its size */
	uint64_t packed;		/* put into packs since then */
	uint64_t held;			/* both, since space went before history */
	bool loaded_base;		/* there is a base in this epoch */
	uint64_t base_gen;		/* of the last one */
	bool untold;			/* the first commit was one, and the row does not tell of it yet */

	struct gen_mark *mark;		/* oldest first */
	size_t nmark;
	uint64_t retain_age_s;

	struct pend **pend;		/* the transaction */
	size_t npend, pend_cap;
	struct hf_buf tail;		/* sealed chunks that travel with its record */

	struct {
		uint8_t *p;		/* as they are, @n bytes, and behind them sealed; NULL: none */
		size_t n;
		struct hf_ref ref;
		bool sealed;		/* and not put yet */
	} ready;			/* contents that may be put next */

	struct staging stage;		/* the commit that is being read */
	uint64_t stop_gen;

	struct hf_at upto;	/* of who follows: what is here is the state there */
	struct stash *stash;		/* sealed contents that were read ahead of their use; NULL none */
	struct base_make *make;		/* the records of the next base, as far as they are made; NULL none */
	struct sealer *sealer;		/* of this transaction; NULL: contents are sealed as they come */
};

/* log.c: how what is read becomes the state */
int log_new(struct hf_store *s, const struct hf_logid *id, struct hf_log **out);
void log_load_restart(void *ctx);
int log_load_rec(void *ctx, const struct hf_rec *r);
void log_load_done(struct hf_log *l);
/* the claim that was won is this log's */
void log_claimed(struct hf_log *l);

void log_item_of(struct hf_log *l, struct ent *e, struct hf_item *out);
void log_refs(struct hf_log *l, const struct ent *e, int delta, uint64_t gen);
/* a chunk into l->ck.plain */
int log_fetch(struct hf_log *l, const struct hf_ref *r, struct hf_err *err);
int log_append(struct hf_log *l, struct hf_buf *b, enum hf_rec_kind kind, unsigned flags, uint64_t gen,
	       uint64_t *tail_place, struct hf_err *err);
/* of what codec_pack() made */
int log_append_packed(struct hf_log *l, const struct hf_buf *b, enum hf_rec_kind kind, unsigned flags,
		      uint64_t gen, uint64_t *tail_place, struct hf_err *err);
int log_put_chunk(struct hf_log *l, const void *p, uint32_t len, const uint8_t hash[HF_HASH],
		  struct hf_ref *r, struct hf_err *err);
/* @len bytes of @src at @off, *@n: or as many as there are */
int log_source(const struct hf_source *src, uint8_t *p, uint64_t off, size_t len, size_t *n);
/* the contents of @e, of @src or as they lie at @mem, into chunks; @e has room for as many as @size bytes take.
 * @hash: of @mem, if it is known and they are one chunk */
int log_contents(struct hf_log *l, struct ent *e, const struct hf_source *src, const uint8_t *mem,
		 const uint8_t *hash, uint64_t size, struct hf_err *err);
/* @e takes the place of what has its key, in the transaction; takes over the caller's use of it */
int log_change(struct hf_log *l, struct ent *e);
/* what an item needs in a record at most; the rest is for the head of the payload */
#define LOG_HEAD_MAX 256
size_t log_weight(uint32_t keylen, uint32_t attrlen, uint64_t nref);
#define LOG_REC_MAX (HF_REC_MAX - LOG_HEAD_MAX)
/* contents of one item: in memory a chunk takes 64 bytes, however little is stored of it */
#define LOG_ITEM_MAX (64ull << 30)
/* @e into the payload @b, which holds @some already; what has no room there goes on in the payload
 * that @next begins when it has taken this one */
int log_item(struct hf_buf *b, const struct ent *e, bool some, int (*next)(void *ctx, struct hf_buf *b), void *ctx);

/* what a chunk is made of: its keyed hash; whether there is one; sealed, in l->ck.buf */
void log_hash(struct hf_log *l, const void *p, size_t n, uint8_t out[HF_HASH]);
const struct hf_ref *log_has_chunk(const struct hf_log *l, uint32_t len, const uint8_t hash[HF_HASH]);
int log_seal_chunk(struct hf_log *l, const void *p, uint32_t len, const uint8_t hash[HF_HASH], struct hf_ref *r);
/* contents of one chunk that is sealed already: @ref but for its place */
int log_sealed(struct hf_log *l, struct ent *e, const struct hf_ref *ref, const uint8_t *sealed, struct hf_err *err);

/* log_ready.c: what hf_log_ready() knows of @p already; a chunk that it has sealed, into l->ck.buf, once */
bool ready_hash(const struct hf_log *l, const void *p, size_t n, uint8_t hash[HF_HASH]);
bool ready_take(struct hf_log *l, uint32_t len, const uint8_t hash[HF_HASH], struct hf_ref *r);
void ready_drop(struct hf_log *l);

/* log_seal.c */
#define SEAL_MAX (256u << 10)	/* more contents at once are not handed over */
/* read the contents of @e, and have them sealed by somebody else. What fails there is told by this, for another
 * entry, or by seal_wait(), until seal_end() */
int seal_put(struct hf_log *l, struct ent *e, const struct hf_source *src, struct hf_err *err);
int seal_wait(struct hf_log *l, struct hf_err *err);	/* all that was handed over is done */
void seal_end(struct hf_log *l);

/* stash.c: sealed chunks in memory, found by their keyed hash */
struct stash *stash_new(void);
void stash_free(struct stash *s);
size_t stash_bytes(const struct stash *s);
bool stash_get(const struct stash *s, const struct hf_ref *r, uint8_t *buf);
int stash_add(struct stash *s, const struct hf_ref *r, const uint8_t *buf);
void stash_mark(struct stash *s);	/* what is not kept until the sweep goes then */
bool stash_keep(struct stash *s, const struct hf_ref *r);	/* false: it is not there */
void stash_sweep(struct stash *s);

/* log_base_make.c: the records of a base of all that is committed. Between transactions, except make_note() */
struct base_rec { struct hf_buf b; unsigned flags; };	/* but for those that come from its place among them */
int make_begin(struct hf_log *l);
int make_part(struct hf_log *l);	/* 1: there is more, 0: what is left to make_all() is little, or an error */
/* all of them, in *@out, in order; what is in the array stays the log's, until make_drop() */
int make_all(struct hf_log *l, struct base_rec ***out, size_t *n, struct hf_err *err);
void make_drop(struct hf_log *l);
void make_note(struct hf_log *l, struct ent *e);	/* @e was committed */
void make_moved(struct hf_log *l, const struct ent *e);	/* its contents lie elsewhere now */

/* log_keep.c */
void keep_note(struct hf_log *l, uint64_t gen, uint64_t when_ns, bool base);
uint64_t keep_when(const struct hf_log *l, uint64_t gen);	/* 0: not known */
uint64_t keep_from(const struct hf_log *l, uint64_t gens);
void keep_forget(struct hf_log *l, uint64_t before);
void keep_out(const struct hf_log *l, struct hf_buf *b);

/* log_pin.c */
/* the state that was pinned as generation @gen takes the place of @l's; -ENOENT: none was */
int pin_load(struct hf_log *l, uint64_t gen);
/* is it of a pinned generation? */
bool pin_is(const struct ent *e);
/* the names of what is pinned, for who looks for room */
void pin_names(struct hf_log *l, struct hf_err *err);

/* log_group.c */
#define GROUP_KEY '&'
bool group_is(const struct ent *e);
/* of the attributes of such an item, in the state of generation @gen; *@out NULL: that belongs to none */
int group_in(const void *attr, uint32_t len, uint64_t gen, struct hf_group **out);

/* raw payload of one record: fits even if it does not compress */
#define LOG_PART_MAX (768u << 10)

#endif
