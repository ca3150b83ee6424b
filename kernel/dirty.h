/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The dirty set of one tree: which names have changed and nobody has
 * acknowledged. Knows neither fsnotify nor netlink; a directory is to it what
 * holds names (struct hf_names), nothing else.
 *
 * All functions are called with the lock of the tree held, which serializes
 * everything about a set. None of them sleeps; memory for a new entry is
 * allocated by the caller before it takes the lock.
 *
 * There is one entry for each name however often it was written. Beyond the
 * bound, or when memory runs out, a directory is noted as a whole instead
 * (hf_dirty_scan()), which takes no memory and so can not fail: the set gets
 * coarser, never smaller.
 */
#ifndef HF_DIRTY_H
#define HF_DIRTY_H

#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/types.h>
#include <linux/sched.h>

struct hf_who {
	u32 pid;
	u32 uid;
	u32 loginuid;
	char comm[TASK_COMM_LEN];
};

/* names of one directory */
struct hf_names {
	struct rb_root names;	/* of struct hf_entry */
	u64 scan_id;		/* of the directory as a whole; 0: not noted */
	u64 scan_seq;
	struct list_head whole;	/* set->whole, while it is noted */
};

struct hf_dirty {
	struct rb_root by_id;
	struct list_head news;	/* entries whose change is still to be told */
	struct list_head whole;	/* directories that are noted as such, by number */
	u64 seq;		/* of the newest change */
	u64 since;		/* when the oldest whole directory became dirty, while scans != 0 */
	u64 count;		/* entries, scans included */
	u64 scans;		/* of them directories as a whole */
	bool scan_news;		/* one of them is still to be told */
	bool scan_told;		/* since the set was dumped last */
};

struct hf_entry {
	struct rb_node by_id, by_name;
	struct list_head news;	/* empty: told, or nothing to tell */
	struct hf_names *dir;
	u64 id, seq, since;
	u32 hash;
	u16 ops;		/* HOLDFAST_OP_* since it became dirty */
	u16 told;		/* those that were told since it was dumped last */
	u8 state;		/* HOLDFAST_STATE_* */
	u16 len;		/* 0: the directory itself */
	struct hf_who who;
	char name[];
};

/* what is to be noted */
struct hf_change {
	const char *name;
	u32 len, hash;
	u16 ops;
	u8 set, clear;		/* HOLDFAST_STATE_*; SUBTREE is never cleared */
};

void hf_dirty_init(struct hf_dirty *set);

/**
 * hf_entry_alloc() - memory for an entry, charged to the bound
 * @len: of the name, at most 255
 * Return: NULL beyond the bound or when there is none. Not locked, may sleep.
 */
struct hf_entry *hf_entry_alloc(u32 len, gfp_t gfp);
void hf_entry_free(struct hf_entry *e);
u64 hf_dirty_bytes(void);

u32 hf_name_hash(const char *name, u32 len);

/**
 * hf_dirty_note() - note a change of a name
 * @spare: an entry for it, or NULL
 * Return: 0, -ENOENT when the name has no entry and @spare is NULL. @spare is
 * set to NULL if it was used.
 */
int hf_dirty_note(struct hf_dirty *set, struct hf_names *dir, const struct hf_change *c,
		  struct hf_entry **spare);

/** hf_dirty_scan() - note a directory as a whole; replaces its entries by that */
void hf_dirty_scan(struct hf_dirty *set, struct hf_names *dir);

/** hf_dirty_drop() - forget what is noted of a directory, which is gone */
void hf_dirty_drop(struct hf_dirty *set, struct hf_names *dir);

/** hf_dirty_ack() - forget entry or whole directory @id unless it changed after @seq;
 *  whether it was found */
bool hf_dirty_ack(struct hf_dirty *set, u64 id, u64 seq);

/** hf_dirty_next() - the entry with the lowest id above @id, or NULL */
struct hf_entry *hf_dirty_next(const struct hf_dirty *set, u64 id);
/** hf_dirty_since() - when the oldest entry became dirty, 0 when clean */
u64 hf_dirty_since(const struct hf_dirty *set);

#endif
