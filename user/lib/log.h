/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A log of puts and deletes above a store: what trees, registrations and (later)
 * jobs have in common. An item has a key, attributes that the log does not
 * look into, and contents, which it keeps as chunks.
 *
 * A struct hf_log is used by one thread at a time, except hf_log_confirm().
 */
#ifndef HF_LOG_H
#define HF_LOG_H

#include "store.h"
#include "tree.h"	/* struct hf_source, struct hf_mark */

struct hf_log;

/* An item of the newest generation; valid until the log changes. */
struct hf_item {
	const void *key;
	uint32_t keylen;
	const void *attr;
	uint32_t attrlen;
	uint64_t size;
	uint8_t hash[HF_HASH];	/* of the contents; zero if size is 0 */
	uint64_t gen;		/* that put it */
	struct hf_mark *mark;	/* a local note for the user of the log; never stored */
};

/* Generations of several logs that are one cut, as each of them tells of it */
#define HF_GROUP_MAX 64
struct hf_group_member {
	uint8_t log[16];
	uint64_t gen;
	char name[HF_NAME_MAX + 1];	/* of the resource, then */
};
struct hf_group {
	uint8_t id[16];			/* random */
	unsigned n, self;		/* self: which of them tells */
	struct hf_group_member m[];
};

struct hf_gen_info {
	uint64_t gen, epoch, when_ns;
	unsigned flags;		/* HF_REC_FUZZY */
	enum hf_rec_kind kind;
	uint32_t slot;
	uint64_t puts, dels, bytes;
	uint64_t pins;		/* of the puts */
	char note[128];		/* who and why, for people: "sync", "offline", "bob: vim" */
	struct hf_group *group;	/* that it says it belongs to; NULL none; gone after the call */
	bool whole;		/* only the base that was made of it is there: epoch and slot are of who made that,
				 * puts and bytes all there is; who committed it, and what it changed, went with its delta */
};

/** hf_log_claim() - become the owner. flags as for a store's claim. On success the
 *  state is that of the last generation of the epochs before. */
int hf_log_claim(struct hf_store *s, const struct hf_logid *id, unsigned flags,
		 struct hf_log **out, struct hf_err *err);
/** hf_log_read() - the newest state (@gen 0), or that at @gen, without claiming.
 *  -ENOENT: nothing there, or that generation is not (any more). */
int hf_log_read(struct hf_store *s, const struct hf_logid *id, uint64_t gen,
		struct hf_log **out, struct hf_err *err);
/*
 * Following: what a standby keeps of another's log, so that its claim reads what came since
 * alone. All of it is in memory; contents are kept sealed, as the store has them.
 */
/** hf_log_pace_fn - called before @bytes more are taken in; may wait; nonzero ends the reading,
 *  which goes on from there the next time */
typedef int (*hf_log_pace_fn)(void *ctx, struct hf_log *l, size_t bytes);
/** hf_log_follow() - bring *@l (NULL: nothing yet) to the newest state; 0, or an error, beside
 *  which *@l is as it was, or further on, or NULL. -ENOENT: the log has no generation. */
int hf_log_follow(struct hf_store *s, const struct hf_logid *id, struct hf_log **l, hf_log_pace_fn pace,
		  void *ctx, struct hf_err *err);
/** hf_log_more() - has the log that is followed gone on in its epoch (told in *@epoch)? 0, 1 maybe, or an error */
int hf_log_more(struct hf_log *l, uint64_t *epoch);
/** hf_log_claim_followed() - as hf_log_claim(), from *@l (may be NULL), which becomes the owner's. After
 *  an error *@l is still a log to be followed, or NULL. */
int hf_log_claim_followed(struct hf_store *s, const struct hf_logid *id, unsigned flags, struct hf_log **l,
			  struct hf_err *err);
/**
 * hf_log_warm() - read contents ahead of their use: of what was put last first, until @room bytes
 * of memory are taken; lets go of what the newest state has no more
 * @wants: false for an item whose contents nobody will ask for; NULL: all are wanted
 * @missing: receives the bytes of wanted contents that there is no room for
 */
int hf_log_warm(struct hf_log *l, size_t room, bool (*wants)(void *ctx, const struct hf_item *it),
		hf_log_pace_fn pace, void *ctx, uint64_t *missing, struct hf_err *err);
/** hf_log_order() - sort now what hf_log_each() would have to sort; it stays so until an item comes or goes */
int hf_log_order(struct hf_log *l);
bool hf_log_ordered(const struct hf_log *l);
/** hf_log_cool() - forget contents that were read ahead, and what was compressed or decompressed last */
void hf_log_cool(struct hf_log *l);
/** hf_log_memory() - about how much the state takes, and (@contents, may be NULL) what was read ahead */
size_t hf_log_memory(const struct hf_log *l, size_t *contents);
/** hf_log_close() - writes nothing; use hf_log_release() before to end in order */
void hf_log_close(struct hf_log *l);

uint64_t hf_log_gen(const struct hf_log *l);	/* 0: there is no generation yet */
uint64_t hf_log_epoch(const struct hf_log *l);
/** hf_log_kept() - after a claim: nobody else had the log since this node's @epoch. A claim
 *  may win over one that began later, so that asking before it does not tell. */
bool hf_log_kept(const struct hf_log *l, uint64_t epoch);
bool hf_log_fuzzy(const struct hf_log *l);	/* the newest generation */
uint64_t hf_log_when(const struct hf_log *l);
/** hf_log_short() - of an owned log: history before that generation went for want of space though it was to be kept; 0: nothing
 *  did, or it would have gone by now anyway */
uint64_t hf_log_short(const struct hf_log *l);
bool hf_log_get(struct hf_log *l, const void *key, uint32_t keylen, struct hf_item *out);
/** hf_log_each() - items whose key begins with @prefix, sorted bytewise except that '/'
 *  is lowest; the callback may call any function of the log */
int hf_log_each(struct hf_log *l, const void *prefix, uint32_t plen,
		int (*fn)(void *ctx, const struct hf_item *it), void *ctx);
/** hf_log_all() - the same in no order, and at no cost but going through them; the callback changes nothing */
int hf_log_all(struct hf_log *l, const void *prefix, uint32_t plen,
	       int (*fn)(void *ctx, const struct hf_item *it), void *ctx);
/** hf_log_content() - contents of an item of the newest committed generation, in order */
int hf_log_content(struct hf_log *l, const void *key, uint32_t keylen,
		   int (*sink)(void *ctx, const void *p, size_t n), void *ctx, struct hf_err *err);

/*
 * A transaction: puts and dels are visible to hf_log_get() and hf_log_each() at once
 * and undone by hf_log_abort(). Committing an empty one makes no generation.
 */
int hf_log_put(struct hf_log *l, const void *key, uint32_t keylen, const void *attr,
	       uint32_t attrlen, const struct hf_source *src, uint8_t hash[HF_HASH],
	       struct hf_err *err);
/** hf_log_put_later() - the same, for one of many. What becomes of the contents may be seen later only: a
 *  failure (-ENOSPC, …) may be told by a later put, or by the commit */
int hf_log_put_later(struct hf_log *l, const void *key, uint32_t keylen, const void *attr, uint32_t attrlen,
		     const struct hf_source *src, struct hf_err *err);
/** hf_log_ready() - @p will most likely be the contents of the next put: what that costs is done now, by who has time to.
 *  More than a chunk is not made ready. Kept in the clear until the commit, the abort, or hf_log_ready() of nothing. */
void hf_log_ready(struct hf_log *l, const void *p, size_t n);
/** hf_log_mark() - hf_item.mark of an item, without the rest; NULL: there is none */
struct hf_mark *hf_log_mark(struct hf_log *l, const void *key, uint32_t keylen);
int hf_log_del(struct hf_log *l, const void *key, uint32_t keylen);
int hf_log_unput(struct hf_log *l, const void *key, uint32_t keylen);
bool hf_log_pending(const struct hf_log *l);
/** hf_log_pending_stat() - what a commit would do to keys beginning with @prefix */
void hf_log_pending_stat(struct hf_log *l, const void *prefix, uint32_t plen,
			 uint64_t *puts, uint64_t *dels, uint64_t *total_before);
void hf_log_abort(struct hf_log *l);
/**
 * hf_log_commit() - durable append; not yet confirmed
 * @flags: HF_REC_FUZZY
 * @note: for history, at most 127 bytes, NULL for none
 * @gen: receives the number of the generation (that of the newest one when the
 *       transaction was empty)
 *
 * On failure the transaction stays pending, except -ESTALE. After an I/O error
 * the log must be claimed anew before anything else is appended (-EREMOTEIO until then).
 */
int hf_log_commit(struct hf_log *l, unsigned flags, const char *note, uint64_t *gen,
		  struct hf_err *err);
/** hf_log_confirm() - reads the row; 0 confirms all that was committed before */
int hf_log_confirm(struct hf_log *l, struct hf_err *err);
/** hf_log_note() - note in the row what is confirmed; for idle moments, at most once a beat */
int hf_log_note(struct hf_log *l, struct hf_err *err);
/** hf_log_wants_base() - whether the deltas since the last base outweigh it, the epoch has none, or
 *  space is short and one would give some back */
bool hf_log_wants_base(const struct hf_log *l);
/** hf_log_retain_age() - beside the generations that hf_log_base() is told of, those stay that
 *  were the newest state within so many seconds; 0 none */
void hf_log_retain_age(struct hf_log *l, uint64_t seconds);
/** hf_log_tell() - where the first commit was a base of which the row does not tell yet: tell of it, and trim
 *  as hf_log_base() does, which does this first. Costs a write of the row; else nothing. */
int hf_log_tell(struct hf_log *l, uint64_t retain, struct hf_err *err);
/** hf_log_base_part() - do a part of what comes before a base: copy about @bytes of contents that
 *  lie in other nodes' areas, or scattered; when that is done, make a part of its records. 1: there is
 *  more. Commits may come between. What is made is kept until hf_log_base(), which goes on from there. */
int hf_log_base_part(struct hf_log *l, size_t bytes, struct hf_err *err);
/** hf_log_base() - append a base of the newest generation, confirm it, trim what is older than
 *  @retain generations. Does first what is left of its parts. */
int hf_log_base(struct hf_log *l, uint64_t retain, struct hf_err *err);
/**
 * hf_log_damaged() - read all contents of the newest state from the store itself
 * @pace: called ahead of each piece of them, @ctx its first argument; nonzero ends it
 * @fn: called, when all were read, with each item of which something cannot be read as it was written;
 *      may delete it, so that it can be put anew. Nonzero stops, and is returned
 *
 * What is damaged is not referred to by anything that is put from now on, equal as it may be.
 * -EBUSY: within a transaction. A store out of reach is an error.
 */
int hf_log_damaged(struct hf_log *l, hf_log_pace_fn pace, int (*fn)(void *ctx, const struct hf_item *it), void *ctx,
		   struct hf_err *err);
/**
 * hf_log_claim_anew() - become the owner again of a log of this node that cannot be read: it begins anew, empty
 * @above: a number that generations of it had, as far as the caller knows
 *
 * Only of a log whose newest epoch is this node's own. Until there is a base that its row tells of, whoever
 * else reads it finds the damage, as before, and no empty log. What can be read is adopted as by any claim:
 * hf_log_anew() tells.
 */
int hf_log_claim_anew(struct hf_store *s, const struct hf_logid *id, uint64_t above, struct hf_log **out,
		      struct hf_err *err);
bool hf_log_anew(const struct hf_log *l);
/** hf_log_release() - end the epoch in order */
int hf_log_release(struct hf_log *l, struct hf_err *err);

/** hf_log_history() - generations that can still be read, oldest first */
int hf_log_history(struct hf_store *s, const struct hf_logid *id,
		   int (*fn)(void *ctx, const struct hf_gen_info *g), void *ctx, struct hf_err *err);

/** hf_log_gone() - those of them of which contents are gone, because their space was used again: to read them
 *  fails. Reads what the newest state does not have. */
int hf_log_gone(struct hf_store *s, const struct hf_logid *id, void (*fn)(void *ctx, uint64_t gen), void *ctx,
		struct hf_err *err);

/** hf_log_group_put() - into the transaction: its generation is that of member g->self */
int hf_log_group_put(struct hf_log *l, const struct hf_group *g, struct hf_err *err);
/** hf_log_group() - the group that the newest generation of @l says it belongs to; *@out to be freed, NULL: none */
int hf_log_group(struct hf_log *l, struct hf_group **out);

/* A pinned generation: stays whatever is trimmed and whoever owns the log, until it is unpinned. */
struct hf_pin_info {
	char name[HF_NAME_MAX + 1];
	uint64_t gen, when_ns;		/* of the generation */
	unsigned flags;			/* HF_REC_FUZZY */
	uint64_t made_ns;		/* when it was pinned */
	uint64_t items, bytes;
};
/** hf_log_pin() - put what @gen was into the transaction, which must be empty; commit it then.
 *  -ENOENT: no such generation (any more); -EEXIST: the name is taken */
int hf_log_pin(struct hf_log *l, uint64_t gen, const char *name, struct hf_err *err);
/** hf_log_unpin() - the reverse, in a transaction as well, which need not be empty; a failure aborts it. -ENOENT */
int hf_log_unpin(struct hf_log *l, const char *name, struct hf_err *err);
/** hf_log_pin_of() - is it an item of a pinned generation? of which */
bool hf_log_pin_of(const struct hf_item *it, char name[HF_NAME_MAX + 1]);
/** hf_log_pins() - those of the newest state, by name; hf_log_read() reads their generations */
int hf_log_pins(struct hf_log *l, int (*fn)(void *ctx, const struct hf_pin_info *p), void *ctx);
/** hf_log_pin_group() - as hf_log_group(), of a pinned generation */
int hf_log_pin_group(struct hf_log *l, const struct hf_pin_info *p, struct hf_group **out);

#endif
