/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A store is an authenticated, epoch-fenced log for each resource. One table
 * of functions and one file for each kind; the quorum disk (`disk:`) is the
 * first. A store knows records and chunks, no trees: see log.h for what is in
 * them, and Documentation/claims.rst for why what it confirms is kept.
 *
 * Results tell apart: 0, -ENOENT (no such log yet), -EBUSY (owner alive),
 * -ESTALE (a newer epoch exists), -EAGAIN (lost a race: try again after a
 * random pause), -ENOSPC, -EBADMSG (damaged or not authentic), and
 * -EIO/-ENODEV/-ETIMEDOUT (out of reach).
 */
#ifndef HF_STORE_H
#define HF_STORE_H

#include "base.h"
#include "crypto.h"

#define HF_NAME_MAX 63
#define HF_MAX_NODES 64

struct hf_store;
struct hf_claim;

/* which log: the row of claims, and the id of what is kept in it. */
struct hf_logid {
	uint8_t uuid[16];
	uint32_t row;		/* 0: the registrations of the cluster */
	char name[HF_NAME_MAX + 1];	/* for messages */
};

struct hf_identity {		/* state_dir/identity */
	uint8_t uuid[16];
	uint8_t disk[16];
	uint32_t slot;
	char name[HF_NAME_MAX + 1];
};

struct hf_store_params {
	const struct hf_keys *keys;
	const struct hf_identity *id;	/* NULL: read only, without a place of its own */
	const int *lock_fd;	/* state_dir/lock, held with flock(): a predecessor of this boot
				 * is dead for certain, and join() need not wait; NULL: none */
};

enum hf_node_state { HF_NODE_FREE, HF_NODE_UP, HF_NODE_DOWN, HF_NODE_LEFT, HF_NODE_UNKNOWN };
struct hf_node_info {
	uint32_t slot;
	char name[HF_NAME_MAX + 1];
	uint8_t uuid[16], incarnation[16];
	uint64_t counter;	/* of heartbeats */
	uint64_t age_ms;	/* since it was last seen to change, on this node's clock */
	enum hf_node_state state;	/* UNKNOWN: not watched for a lease yet */
	char host[HF_NAME_MAX + 1];
	char version[16];
};

struct hf_log_stat {
	uint64_t epoch;		/* highest accepted; 0 none */
	uint32_t slot;		/* its node */
	char node[HF_NAME_MAX + 1];
	uint8_t incarnation[16];
	bool released;
	bool mine;		/* this incarnation's */
	enum hf_node_state owner;	/* heartbeat of its node */
	uint64_t gen;		/* a generation known to be confirmed, maybe not the newest */
	uint64_t ballot;	/* highest seen */
	uint64_t base_gen;
};

struct hf_space {		/* of the own area, in bytes */
	uint64_t total, free;	/* total 0: there is none */
	uint64_t low;		/* with less than that free, space goes before history */
};

/* kinds of records */
enum hf_rec_kind {
	HF_REC_SEAL = 1,	/* first of an epoch; written by the store */
	HF_REC_DELTA = 2,
	HF_REC_BASE = 3,
	HF_REC_RELEASE = 4,	/* the epoch ends in order */
	HF_REC_NEXT = 5,	/* the log goes on elsewhere; written by the store */
};
enum {
	HF_REC_PART = 1,	/* more records of this commit follow */
	HF_REC_FUZZY = 2,	/* not a consistent cut */
	HF_REC_ZSTD = 4,	/* payload compressed (log.c) */
	HF_REC_FIRST = 8,	/* a commit begins: parts of one before that failed are void */
};

struct hf_rec {
	enum hf_rec_kind kind;
	unsigned flags;
	uint64_t gen;
	uint64_t when_ns;	/* wall clock of the writer */
	const void *payload;
	size_t len;		/* at most HF_REC_MAX */
	/* on reading */
	uint64_t epoch;
	uint32_t slot;		/* whose area */
	uint64_t tail;		/* place of the bytes that travelled with it */
};
#define HF_REC_MAX (1u << 20)
#define HF_TAIL_MAX (256u << 10)

enum {
	HF_CLAIM_FENCED = 1,	/* the caller says that the owner was fenced */
	HF_CLAIM_WAIT = 2,	/* registrations: wait a bounded time for a live holder, then take it */
	HF_CLAIM_ANEW = 4,	/* of an own log that is damaged nothing need be adopted; one that can be read is */
};

/* Called for each record of a log, oldest first: from the newest base on, or
 * from the oldest that is there. Non-zero ends the reading with that value. */
typedef int (*hf_rec_fn)(void *ctx, const struct hf_rec *r);
/*
 * Where a reading of a log got to, so that the next one, or a claim, may go on there instead of at
 * the newest base. Zeroed by its owner, then the store's; good for one store and one log while
 * it is open. It is believed in nothing: a reading that goes on has found, in the row as it is now
 * and on the disk, that the log still leads through that very record.
 */
struct hf_at {
	bool here;		/* it says something */
	uint64_t epoch, gen;	/* of the last record */
	uint64_t opaque[96];
};
/* Called before a reading starts, and again when it has to be started afresh
 * because the log was trimmed underneath: forget what came before. */
typedef void (*hf_restart_fn)(void *ctx);

struct hf_store_ops {
	const char *scheme;	/* "disk" */
	int (*open)(const char *arg, const struct hf_store_params *p, struct hf_store **out,
		    struct hf_err *err);
	void (*close)(struct hf_store *s);

	/* This node takes its place: blocks for up to the lease time. After it
	 * the identity is held by a new incarnation. -EBUSY: held by another (says which). */
	int (*join)(struct hf_store *s, struct hf_err *err);
	/* Heartbeat: write the own row, read all. Called once each beat_ms by one thread.
	 * -ESTALE: another incarnation holds the identity: stop everything. */
	int (*beat)(struct hf_store *s, struct hf_err *err);
	/* leave in order: others need not wait for the lease */
	int (*leave)(struct hf_store *s);
	int (*nodes)(struct hf_store *s, struct hf_node_info *arr, unsigned max);	/* count */
	/* What is to be mended although the store does all it must: warning @i, from memory, with what to do.
	 * -ENOENT: there are not so many. */
	int (*warning)(struct hf_store *s, unsigned i, char *text, size_t n);
	void (*space)(struct hf_store *s, struct hf_space *sp);	/* from memory */
	void (*info)(struct hf_store *s, char cluster[HF_NAME_MAX + 1], uint8_t uuid[16],
		     unsigned *lease_ms, unsigned *beat_ms, unsigned *rows, unsigned *nodes);

	int (*stat)(struct hf_store *s, const struct hf_logid *id, struct hf_log_stat *st,
		    struct hf_err *err);
	/* Steps 1 to 7 of a claim. Calls @fn for all of the adopted log; with @at, without @restart
	 * before it, for what is behind that. @at is moved on. */
	int (*claim)(struct hf_store *s, const struct hf_logid *id, unsigned flags, struct hf_at *at,
		     hf_restart_fn restart, hf_rec_fn fn, void *ctx, struct hf_claim **out,
		     struct hf_err *err);
	uint64_t (*epoch)(const struct hf_claim *c);
	/* Append one record, durable when it returns; @tail: bytes that travel in the same
	 * write (chunks that the payload refers to by offset), at @tail_place afterwards. */
	int (*append)(struct hf_claim *c, const struct hf_rec *r, const void *tail, size_t taillen,
		      uint64_t *tail_place, struct hf_err *err);
	/* Put bytes into the own area, to be referred to by later records. Durable once
	 * flush() has returned, which append() does by itself. */
	int (*put_bytes)(struct hf_claim *c, const void *p, size_t n, uint64_t *place,
			 struct hf_err *err);
	int (*flush)(struct hf_claim *c, struct hf_err *err);
	/* Of what was put, nothing waits for a record that refers to it any more. */
	void (*settle)(struct hf_claim *c);
	/* The newest state began (@delta 1) or ceased (-1) at generation @gen to refer to
	 * bytes. What lies in other nodes' areas is ignored. */
	void (*use)(struct hf_claim *c, uint32_t slot, uint64_t place, uint32_t len, int delta,
		    uint64_t gen);
	/* Should a base copy these bytes? (They lie elsewhere, or pin mostly unused space.) */
	bool (*wants_copy)(struct hf_claim *c, uint32_t slot, uint64_t place, uint32_t len);
	uint32_t (*slot)(const struct hf_claim *c);
	uint64_t (*room)(struct hf_claim *c, uint64_t *total);	/* bytes that a base may take in the own area */
	/* Still the owner? Read the row: 0, -ESTALE, or out of reach. Whatever was appended
	 * before the call is confirmed when it returns 0. */
	int (*confirm)(struct hf_claim *c, struct hf_err *err);
	/* The base that was appended last is confirmed: say so in the row, and take
	 * back the space of what only generations older than @keep need. */
	int (*trim)(struct hf_claim *c, uint64_t keep, struct hf_err *err);
	/* What was confirmed so far is noted in the row, so that damage to it can be told
	 * from a torn end. For idle moments. */
	int (*note)(struct hf_claim *c, struct hf_err *err);
	/* RELEASE was appended and confirmed: say so in the row. */
	int (*release)(struct hf_claim *c, struct hf_err *err);
	/* The logs that are registered now; the space of others comes back. */
	void (*known)(struct hf_store *s, const uint8_t (*uuid)[16], size_t n);
	/* Let go of the handle: nothing is written. */
	void (*drop)(struct hf_claim *c);

	/* Read a log without claiming it. @gen_from 0: from the newest base; else as
	 * far back as needed to have a base at or before that generation, or the
	 * oldest there is (1). @at: as for a claim, with @gen_from 0 alone. */
	int (*read)(struct hf_store *s, const struct hf_logid *id, uint64_t gen_from, struct hf_at *at,
		    hf_restart_fn restart, hf_rec_fn fn, void *ctx, struct hf_err *err);
	/* For who follows: has the log gone on behind @at, in its epoch? 0, 1 maybe, or an error. Costs next to nothing. */
	int (*more)(struct hf_store *s, const struct hf_at *at);
	/* @fresh: from the store itself, not from what was read ahead. */
	int (*get_bytes)(struct hf_store *s, uint32_t slot, uint64_t place, void *buf, size_t n,
			 bool fresh, struct hf_err *err);
};

struct hf_store { const struct hf_store_ops *ops; const struct hf_keys *keys; };
#define hf_store_keys(s) ((s)->keys)
struct hf_claim {
	const struct hf_store_ops *ops;
	struct hf_store *store;
	struct hf_logid id;
	bool first;		/* nobody had it before */
	uint32_t before_slot;	/* whose epoch this claim sealed */
	bool anew;		/* HF_CLAIM_ANEW: nothing was adopted */
	uint64_t above;		/* then: a generation that the log is known to have had */
	uint64_t short_from;	/* of what was to be kept, history before this one went for want of space; 0 nothing */
};

extern const struct hf_store_ops hf_store_disk, hf_store_dir;

/** hf_store_open() - by URL: "disk:PATH", "dir:PATH[:PATH...]"; a bare absolute path is a disk.
 *  Unknown scheme: -EINVAL. Wrong key: -EKEYREJECTED, HF_DAMAGED. */
int hf_store_open(const char *url, const struct hf_store_params *p, struct hf_store **out,
		  struct hf_err *err);

/** hf_store_reads() - what the calling thread has read from stores up to now */
void hf_store_reads(uint64_t *calls, uint64_t *bytes);
/** hf_store_read_ns() - how long it waited for those that it made itself */
uint64_t hf_store_read_ns(void);

int hf_identity_load(const char *state_dir, struct hf_identity *id, struct hf_err *err);
int hf_identity_save(const char *state_dir, const struct hf_identity *id, struct hf_err *err);
/* Who takes an area notes as whom before the disk knows, in state_dir/joining; hf_identity_save() removes it.
 * @old: the node that is replaced, "" none */
int hf_joining_save(const char *state_dir, const struct hf_identity *id, const char *old, struct hf_err *err);
int hf_joining_load(const char *state_dir, struct hf_identity *id, char old[HF_NAME_MAX + 1]);
void hf_joining_end(const char *state_dir);

#endif
