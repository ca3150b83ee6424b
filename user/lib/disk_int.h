/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The quorum disk from inside: what its files share with each other alone.
 *
 *	disk.c		the device, the table of functions
 *	super.c		the superblock, and whose area lies where
 *	disk_format.c	making a quorum disk
 *	disk_grow.c	making it larger
 *	node.c		rows of nodes: identity, incarnation, heartbeats
 *	node_slot.c	giving slots to nodes, and taking them back
 *	row.c		rows of claims: reading, writing, alternating slots
 *	area.c		space in the own area
 *	chain.c		reading a log
 *	segment.c	appending to one
 *	claim.c		the claim protocol
 *	disk_info.c	what a disk says of itself
 *	disk_check.c	whether it is sound; disk_check_log.c a log of it
 *	readahead.c	blocks of areas, for contents
 *
 * Locks, in the order in which they are taken:
 *
 *	claim.mu	a claim: its row slot, the position of its log, its buffers
 *	disk.row_mu	which rows are claimed by this process (row_busy), the newest epoch of each
 *			that it came to own (row_owned), the lists of pins
 *	disk.area_mu	blocks of the own area
 *	disk.node_mu	rows of nodes as last seen
 *	disk.cache_mu	what get_bytes read ahead
 *
 * Disk I/O is done under claim.mu (it is one log's) and under cache_mu, never
 * under row_mu, area_mu or node_mu, but for the heartbeat's own row.
 */
#ifndef HF_DISK_INT_H
#define HF_DISK_INT_H

#include <pthread.h>
#include "ondisk.h"
#include "disk.h"
#include "holdfast.h"

#define AREA_MIN (1u << 20)
#define AREA_MAX (1ull << 40)	/* blocks are numbered in 32 bits, and kept in memory */

struct seen {			/* a node's row as last read */
	struct node_rec rec;
	enum slot_status status;
	uint64_t changed_ms;	/* when counter or incarnation was last seen to change */
	uint64_t watched_ms;	/* since when it has been looked at */
	unsigned newest;	/* which slot */
	bool torn;		/* the other copy is torn or damaged */
};

struct block { uint32_t logs, chunks, bytes; };	/* pins; live bytes of chunks */

/* What is written, by how far down into what is left of the area it may go: what may
 * give space back goes further than what takes it, and there is always room to claim. */
enum tier { TIER_CONTENTS, TIER_DELTA, TIER_BASE, TIER_SEAL };

/* Blocks of the own area that a log stands on although this process does not own
 * it (any more): kept until a newer epoch has a confirmed base. */
struct pin {
	struct pin *next;
	uint32_t row;
	uint8_t log[16];
	uint64_t epoch, last_gen;
	uint64_t failed_ms;	/* in disk.vain: when the claim failed */
	bool told;		/* there: its row may tell of it */
	bool doubt;		/* the registrations did not know its log */
	bool bare;		/* without history: nothing more can be spared */
	uint32_t *blk;
	size_t n;
};

/* Where the bytes of a store are: a device (disk.c), or directories (dir_set.c). */
struct disk;
struct blocks_ops {
	int (*read)(struct disk *d, void *p, size_t n, uint64_t off);
	int (*write)(struct disk *d, const void *p, size_t n, uint64_t off);	/* durable */
	int (*put)(struct disk *d, const void *p, size_t n, uint64_t off);
	int (*flush)(struct disk *d);			/* what was put is durable */
	void (*close)(struct disk *d);
	/* before the identity is taken, and when it is */
	int (*join)(struct disk *d, bool done, struct hf_err *err);
	int (*beat)(struct disk *d);	/* ahead of each heartbeat */
	/* Is the own row this incarnation's? -ESTALE: no. *asked: no earlier than it was looked at. NULL: read it */
	int (*held)(struct disk *d, uint64_t *asked);
};
extern const struct blocks_ops blocks_dir;

struct disk {
	struct hf_store store;
	const struct blocks_ops *io;
	struct dirset *dirs;
	char *path;
	int fd;			/* O_DIRECT|O_DSYNC, or O_RDONLY; of directories, that of a superblock */
	int pack_fd;		/* O_DIRECT; made durable by fdatasync */
	struct super sb;
	unsigned super_bad;	/* a bit for each copy of the superblock that the last heartbeat found damaged */
	uint64_t small_seq;	/* of a superblock that tells of more than this node sees */
	struct bind bind;
	const struct hf_keys *keys;

	bool joined;
	struct hf_identity id;
	uint8_t incarnation[16];
	uint64_t held_ms;	/* when the own row was last seen to be this incarnation's */
	int lock_fd;

	pthread_mutex_t row_mu;
	pthread_cond_t row_cv;
	uint8_t *row_busy;
	uint64_t *row_owned;
	struct pin *pins;
	struct pin *vain;	/* seals of claims that failed: a write may land yet, or the row tells of it */

	pthread_mutex_t area_mu;
	struct block *blk;
	uint32_t nblk, nfree, hint;

	pthread_mutex_t node_mu;
	struct seen seen[HF_MAX_NODES];
	uint64_t looked_ms;	/* when they were last read */
	struct node_rec me;
	unsigned me_which;
	uint64_t me_written;		/* seq of the last heartbeat that returned */

	pthread_mutex_t cache_mu;
	struct readahead *ahead;
};
#define disk_of(s) hf_container(s, struct disk, store)

/* -ENODEV is this program's own word for a directory that is not there, -ESTALE for what node_held() found */
static inline const char *disk_strerror(const struct disk *d, int ret)
{
	return ret == -ESTALE ? "another daemon, or another node, has this node's slot by now" :
	       d->dirs && ret == -ENODEV ? "a directory that counts is not there, or is not named" : strerror(-ret);
}

/* One row of claims as one reading of it found it. */
struct row {
	uint32_t nodes;
	struct claim_rec rec[HF_MAX_NODES];
	enum slot_status status[HF_MAX_NODES];	/* BAD: undecided */
	unsigned newest[HF_MAX_NODES];
	bool torn[HF_MAX_NODES];	/* the other copy is torn or damaged */
};

struct seg { uint64_t place; uint32_t len; uint64_t last_gen; bool announced; };

struct chunk {			/* bytes of the own area that some generation refers to */
	struct chunk *next;
	uint64_t place, dead_gen;
	uint32_t len, count;
};

struct pack_io {		/* a full buffer that is being written */
	struct disk *d;
	uint8_t *buf;
	size_t cap, n;
	uint64_t off;
	pthread_t thread;
	bool busy;
	int ret;
};

struct claim {
	struct hf_claim pub;
	struct disk *d;
	pthread_mutex_t mu;
	struct claim_rec mine;		/* as last written into the row */
	unsigned which;			/* slot it was written to */
	uint64_t epoch;
	bool stale, broken;		/* fenced out; an append failed */
	bool short_said;		/* that space goes before history */
	struct rec_bind rb;		/* prev: tag of the last record */
	uint64_t seq;			/* of the next record */
	uint64_t gen;			/* newest generation appended */
	uint64_t place;			/* of the next record */
	struct seg *seg;		/* own segments, oldest first; the last is open */
	size_t nseg;
	struct pos *base;		/* complete bases, oldest first */
	size_t nbase;
	struct pos begin;		/* where the base that is being appended begins */
	struct pos after;		/* behind the newest complete base */
	struct chunk **chunk;		/* by place */
	size_t nchunk, chunk_cap;
	struct seg *pack;		/* what put_bytes filled; the last is open */
	size_t npack;
	uint8_t *pbuf;			/* not written yet: plen bytes that belong at poff */
	uint64_t poff;
	size_t plen, pcap;
	struct pack_io io;
	bool dirty_pack;		/* written, not flushed */
	enum tier tier;			/* of what is written now */
	uint8_t *buf;
	size_t bufcap;
};
#define claim_of(c) hf_container(c, struct claim, pub)

/* disk.c */
void *dio_alloc(size_t n);			/* zeroed, aligned; free() */
int disk_read(struct disk *d, void *p, size_t n, uint64_t off);
void disk_counted(uint64_t bytes);		/* for hf_store_reads() */
int disk_write(struct disk *d, const void *p, size_t n, uint64_t off);	/* durable */
int disk_write_pack(struct disk *d, const void *p, size_t n, uint64_t off);	/* durable after disk_sync() */
int disk_sync(struct disk *d);
int open_direct(const char *path, int flags);
int disk_new(const char *path, const struct hf_keys *keys, bool write, struct disk **out, struct hf_err *err);

/* disk_format.c, of use for directories too */
int super_layout(struct super *sb, const struct hf_format *f, uint64_t size, struct hf_err *err);
void super_name(struct super *sb, const char *cluster);	/* a new one: names, numbers */
int disk_in_use(const char *dev, const struct hf_keys *keys, struct hf_err *err);

/* super.c */
int dev_size(int fd, uint64_t *size);
/** super_copies() - both; r[i]: as super_in(). Return: which counts, or an error */
int super_copies(int fd, const struct hf_keys *keys, struct super s[2], int r[2], struct hf_err *err);
int super_read(int fd, const struct hf_keys *keys, struct super *sb, struct hf_err *err);
/* one of the two; never the only sound one that is as new */
int super_write(int fd, int which, const struct super *sb, const struct hf_keys *keys);
/** super_check() - use what was grown since. -ESTALE: it is another disk by now: whoever formats
 *  one anew cannot tell those who use it */
int super_check(struct disk *d, struct hf_err *err);
int super_warning(struct disk *d, unsigned i, char *text, size_t n);	/* as store.h */
uint64_t super_area(const struct super *sb, uint32_t slot);	/* bytes of it */
/* within one part of the area, as all that is written at once is */
bool in_area(const struct disk *d, uint32_t slot, uint64_t place, uint64_t n);
/* the same, after a look whether the disk was grown meanwhile */
bool area_has(struct disk *d, uint32_t slot, uint64_t place, uint64_t n);
uint64_t area_left(const struct disk *d, uint32_t slot, uint64_t place);	/* bytes to the end of that part */
/* Blocks of an area are counted through all of its parts. *left: up to the end of its part,
 * this one included; 0: there is no such block */
uint64_t area_at(const struct disk *d, uint32_t slot, uint32_t block, uint32_t *left);
uint32_t area_block(const struct disk *d, uint32_t slot, uint64_t place);

/* readahead.c */
int readahead_init(struct disk *d);
void readahead_exit(struct disk *d);
int readahead_get(struct disk *d, uint64_t place, uint64_t end, void *buf, size_t n, bool fresh);

/* node.c */
int nodes_read(struct disk *d);
int node_join(struct disk *d, struct hf_err *err);
int node_beat(struct disk *d, struct hf_err *err);
int node_leave(struct disk *d);
int node_held(struct disk *d);		/* -ESTALE: the slot is somebody else's by now */
void node_boot_id(uint8_t b[16]);
int node_write(struct disk *d);		/* d->me into the own row */
uint64_t node_off(const struct disk *d, uint32_t slot, unsigned which);
/* of the owner of an epoch, which may not be who has its slot now: then FREE */
enum hf_node_state node_owner(struct disk *d, const struct epoch_desc *e, char name[HF_NAME_MAX + 1]);
int nodes_list(struct disk *d, struct hf_node_info *arr, unsigned max);
enum hf_node_state node_state(struct disk *d, uint32_t slot);
void node_name(struct disk *d, uint32_t slot, char name[HF_NAME_MAX + 1]);

/* row.c */
int row_read(struct disk *d, uint32_t row, struct row *r);
/* @p: the row as it was read, sb.row_stride bytes */
int row_parse(struct disk *d, uint32_t row, const uint8_t *p, struct row *r);
int row_write(struct disk *d, uint32_t row, struct claim_rec *rec, unsigned *which);
/* rec's seq is advanced even on failure; which: the slot that was written last, changed
 * on success: a write that failed is repeated in its place, beside the one that counts */
/* does either sector of the own slot tell of this epoch, or cannot be read? */
bool row_tells(struct disk *d, uint32_t row, const uint8_t log[16], uint64_t epoch);
/* over all logs that ever used the row: who was given the row later counts as newer */
uint64_t row_max_ballot(const struct row *r);
/* the newest epoch that anybody knows to have a confirmed base; 0 none */
uint64_t row_based(const struct row *r, const uint8_t log[16]);
const struct claim_rec *row_accepted(const struct row *r, const uint8_t log[16]);
/* nothing was trimmed between two readings of a row; @a may be NULL */
bool claim_same_place(const struct claim_rec *a, const struct claim_rec *b);

/* area.c */
int area_init(struct disk *d);
int area_extend(struct disk *d, uint32_t nblk);	/* under area_mu */
uint32_t area_blocks(const struct disk *d);
void area_exit(struct disk *d);
/* @leave: so many blocks must be free afterwards */
int area_take_at(struct disk *d, uint64_t place, uint32_t n, uint32_t min, uint32_t leave, uint32_t *len);
int area_take(struct disk *d, uint32_t n, uint32_t min, uint32_t leave, uint64_t *place, uint32_t *len);
/* so many blocks what is written in this tier leaves free */
uint32_t area_reserve(const struct disk *d, enum tier t);
uint32_t area_pinned(struct disk *d, const uint8_t log[16]);
/* space goes before history */
bool area_tight(struct disk *d);
void area_space(struct disk *d, struct hf_space *sp);
int area_warning(struct disk *d, char *text, size_t n);	/* as store.h; there is one at most */
void area_pin(struct disk *d, uint64_t place, uint64_t len, int delta);
void area_chunk(struct disk *d, uint64_t place, uint32_t len, int delta);
bool area_chunks(struct disk *d, uint64_t place, uint64_t len);
uint64_t area_room(struct disk *d, uint64_t *total);
bool area_sparse(struct disk *d, uint64_t place, uint32_t len);
int area_rebuild(struct disk *d, struct hf_err *err);
void area_collect(struct disk *d);
void area_collect_log(struct disk *d, uint32_t row, const uint8_t log[16]);
void area_known(struct disk *d, const uint8_t (*uuid)[16], size_t n);

struct blockset { uint8_t *bits; uint32_t n, from, to; bool bad; struct disk *d; };	/* none outside from..to; bad: no memory for all */
int blockset_init(struct blockset *b, struct disk *d);
void blockset_add(struct blockset *b, uint64_t place, uint64_t len);
/* turn it into a pin of @log, which is the caller's, and free the set; NULL: no memory */
struct pin *blockset_pin(struct blockset *b, uint32_t row, const uint8_t log[16], uint64_t epoch,
			 uint64_t last_gen);
void pin_add(struct disk *d, struct pin *p);
void pin_vain(struct disk *d, struct pin *p);	/* until no write can land any more, nor the row tells of it */
void blockset_free(struct blockset *b);

/* chain.c: reading a log */
#define REC_PINS 6		/* in the log, of the store's own: blocks that it stands on */
/* What could not be read; epoch 0: nothing. sure: its block was not used again, so it is damaged. */
struct walk_gap {
	uint64_t epoch, seq, place;
	uint32_t slot;
	bool seal, sure;
};
struct walk_end {
	uint64_t gen, seq;	/* of the last record that counts */
	uint8_t tag[16];
	struct pos base;	/* newest complete base */
	uint64_t base_epoch;
	struct pos after;	/* behind it */
	struct pos damaged;	/* the newest base that was passed over; place 0: none */
	bool released;
	bool bare;		/* the newest epoch committed nothing */
	struct epoch_desc below;	/* what the newest epoch's seal tells of; epoch 0 none */
	struct walk_gap gap;	/* why it failed, or, of history, where that ends */
	struct walk_gap passed;	/* of the base that was passed over last */
};
struct walk_opts {
	bool history;		/* from as far back as it can be read */
	bool kept;		/* all that the newest epoch keeps, which nobody trims while it is held */
	bool verify_tails;	/* of each record, not only of the last */
	struct hf_at *at;	/* newest state: go on from there, if that is part of it; NULL no */
	hf_restart_fn restart;
	hf_rec_fn fn;
	void (*seg)(void *ctx, uint32_t slot, uint64_t place, uint64_t len);
	void *ctx;
};
/* Read all that counts of a log, from what its newest accepted claim tells.
 * -EBADMSG: damaged, or trimmed meanwhile: the caller looks at the row again. */
int log_walk(struct disk *d, const struct claim_rec *acc, const struct walk_opts *o,
	     struct walk_end *end, struct hf_err *err);

/* is there a record behind it? 0, 1 maybe, or an error */
int log_more(struct disk *d, const struct hf_at *at);

/* segment.c: appending to one */
int seg_open(struct claim *c, struct hf_err *err);
int seg_append(struct claim *c, const struct hf_rec *r, const void *tail, size_t taillen,
	       uint64_t *tail_place, struct hf_err *err);
/* what a base of it leaves free; for the one who appends, without claim.mu */
uint32_t base_reserve(const struct claim *c);
int pack_put(struct claim *c, const void *p, size_t n, uint64_t *place, struct hf_err *err);
int pack_flush(struct claim *c, struct hf_err *err);
void claim_use(struct claim *c, uint64_t place, uint32_t len, int delta, uint64_t gen);
void claim_free_before(struct claim *c, const struct pos *base);
void claim_space_drop(struct claim *c);
void pack_settle(struct claim *c);

/* claim.c: the table's functions */
int claim_take(struct hf_store *s, const struct hf_logid *id, unsigned flags, struct hf_at *at,
	       hf_restart_fn restart, hf_rec_fn fn, void *ctx, struct hf_claim **out, struct hf_err *err);
int claim_append(struct hf_claim *pc, const struct hf_rec *r, const void *tail, size_t taillen,
		 uint64_t *tail_place, struct hf_err *err);
int claim_confirm(struct hf_claim *pc, struct hf_err *err);
int claim_trim(struct hf_claim *pc, uint64_t keep, struct hf_err *err);
int claim_note(struct hf_claim *pc, struct hf_err *err);
int claim_release(struct hf_claim *pc, struct hf_err *err);
void claim_drop(struct hf_claim *pc);
int claim_stat(struct hf_store *s, const struct hf_logid *id, struct hf_log_stat *st, struct hf_err *err);
int claim_read(struct hf_store *s, const struct hf_logid *id, uint64_t gen_from, struct hf_at *at,
	       hf_restart_fn restart, hf_rec_fn fn, void *ctx, struct hf_err *err);

/* disk_info.c and disk_check.c need them */
int disk_carries(int fd, char *what, size_t n);	/* 1: something foreign, named in @what */
int disk_open_ro(const char *path, const struct hf_keys *keys, struct disk **out, struct hf_err *err);
void disk_close(struct hf_store *s);

#endif
