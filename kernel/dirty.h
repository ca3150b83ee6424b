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
 * bound, or when memory runs out, one of a directory's entries is made to stand
 * for the directory as a whole (hf_dirty_whole()); where there is none, one of a
 * directory above; where there is none at all, the set says "all"
 * (hf_dirty_all()), which it has the room for in itself. None of this takes
 * memory, so it can not fail: the set gets coarser, never smaller.
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

struct hf_entry {
	struct rb_node by_id, by_name;
	struct list_head news;	/* in set->news, or empty */
	union {
		struct hf_names *dir;
		struct hf_entry *next;	/* of the spare ones */
	};
	u64 id, seq, since;
	u16 ops;		/* HOLDFAST_OP_* since it became dirty */
	u16 told;		/* those that were told since it was dumped last */
	u16 len;		/* 0: the directory itself */
	u16 room;		/* the length it was allocated for */
	u8 state;		/* HOLDFAST_STATE_* */
	struct hf_who who;
	char name[];
};

/* names of one directory */
struct hf_names {
	struct rb_root names;	/* of struct hf_entry */
	struct hf_entry *whole;	/* stands for all of them, and all below; else NULL */
};

struct hf_dirty {
	struct rb_root by_id;
	struct list_head news;	/* entries whose change is still to be told */
	u64 seq;		/* of the newest change */
	u64 count;		/* entries, and 1 for all_id */
	u64 all_id;		/* of the tree as a whole; 0: not noted */
	u64 all_seq;
	u64 wholes;		/* entries that stand for directories, and 1 for all_id */
	u64 since;		/* of the oldest change in any of these, while there are some */
	bool all_news;		/* it is still to be told */
	bool all_told;		/* since the set was dumped last */
	struct hf_entry *spare;	/* some that were acknowledged */
	unsigned int spares;
};

/* what is to be noted */
struct hf_change {
	const char *name;
	u32 len;
	u16 ops;
	u8 set, clear;		/* HOLDFAST_STATE_*; SUBTREE is never cleared */
	bool quiet;		/* only if nothing is noted yet, and it is no news */
	const struct hf_who *who; /* NULL: the calling process */
};

void hf_dirty_init(struct hf_dirty *set);
/** hf_dirty_fini() - all directories were dropped; not locked */
void hf_dirty_fini(struct hf_dirty *set);

/**
 * hf_entry_alloc() - memory for an entry, charged to the bound
 * @len: of the name, at most U16_MAX
 * Return: NULL beyond the bound or when there is none. Not locked, may sleep.
 */
struct hf_entry *hf_entry_alloc(u32 len, gfp_t gfp);
void hf_entry_free(struct hf_entry *e);
u64 hf_dirty_bytes(void);

/** hf_who_is_it() - the calling process */
void hf_who_is_it(struct hf_who *who);

/**
 * hf_dirty_note() - note a change of a name
 * @spare: an entry for it, or NULL
 * Return: the entry, which may be news now (hf_entry_is_news()); NULL when the name
 * has none and @spare is NULL. @spare is set to NULL if it was used.
 */
struct hf_entry *hf_dirty_note(struct hf_dirty *set, struct hf_names *dir,
			       const struct hf_change *c, struct hf_entry **spare);

/** hf_entry_is_news() - whether something happened that was not told, nor is about to be */
static inline bool hf_entry_is_news(const struct hf_entry *e)
{
	return (e->ops & ~e->told) && list_empty(&e->news);
}

/**
 * hf_dirty_whole() - note a directory as a whole, in the place of one of its
 * entries; the others go with what is noted later
 * Return: the entry, NULL when it has none
 */
struct hf_entry *hf_dirty_whole(struct hf_dirty *set, struct hf_names *dir);
/** hf_dirty_all() - note the tree as a whole */
void hf_dirty_all(struct hf_dirty *set);

/**
 * hf_dirty_drop() - forget entries of a directory that is gone, up to @max
 * Return: whether there are more
 */
bool hf_dirty_drop(struct hf_dirty *set, struct hf_names *dir, unsigned int max);
static inline bool hf_names_noted(const struct hf_names *dir)
{
	return dir->whole || !RB_EMPTY_ROOT(&dir->names);
}

/** hf_dirty_ack() - forget @id unless it changed after @seq; whether it was found */
bool hf_dirty_ack(struct hf_dirty *set, u64 id, u64 seq);

/** hf_dirty_next() - the entry with the lowest id above @id, or NULL */
struct hf_entry *hf_dirty_next(const struct hf_dirty *set, u64 id);
/** hf_dirty_since() - when the oldest entry became dirty, 0 when clean */
u64 hf_dirty_since(const struct hf_dirty *set);

#endif
