/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between the parts of the module:
 *
 *   tree.c	trees: registered, found by number, taken over, deleted
 *   dir.c	marked directories: where each lies in its tree, and its path
 *   watch.c	fsnotify: marks, and what the events mean
 *   settle.c	waiting until what has returned is noted
 *   place.c	superblocks with trees: files by their inode, and unmounts
 *   stores.c	the tracepoint: stores to shared mappings
 *   dirty.c	the dirty set (dirty.h)
 *   tell.c	change events, pushed in batches
 *   netlink.c	the family, with netlink_change.c: changes in messages
 *   main.c	the module's parameters, the ledger of its objects
 *
 * Locks, in the order they are taken:
 *
 *   inode->i_rwsem	(a directory's, shared, to mark what lies in it; the VFS
 *			holds it for us in events about names)
 *   group->mark_mutex	(fsnotify's, while a mark is added or removed)
 *   hf_trees_lock	(mutex) the registry: which trees there are, and their consumers
 *   places_lock	(mutex, place.c) which trees lie on which superblock
 *   tree->lock		(spinlock) everything else of a tree: its directories, its
 *			dirty set, its flags
 *
 * Nothing sleeps and nothing else is taken under tree->lock. The registry's
 * mutex is never held while a mark is added or removed.
 *
 * What keeps what alive: the registry holds a reference to a tree, and so does
 * whoever found it there. A tree holds its fsnotify group, each mark holds the
 * group as well, and the group's end frees the tree: so an event may use
 * mark -> group -> tree without a reference, under fsnotify's SRCU. A directory
 * is its mark; the reference of the mark's birth belongs to the tree's table of
 * directories and is put where it is taken out of it (hf_dir_unlink()).
 */
#ifndef HF_HOLDFAST_H
#define HF_HOLDFAST_H

#include <linux/fs.h>
#include <linux/fsnotify_backend.h>
#include <linux/kthread.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <uapi/linux/holdfast.h>
#include "base.h"
#include "dirty.h"

#define HF_MODULE_VERSION "0.1.0"

struct hf_tree {
	u32 id;
	refcount_t refs;
	struct list_head list;		/* hf_trees */
	struct fsnotify_group *group;
	/* never changes */
	char *resource, *consumer;
	u8 *path;
	u32 path_len;
	u8 *file;			/* the single file, or NULL */
	u32 file_len;
	u32 device;
	u64 inode;
	const struct super_block *sb;	/* compared only, and only while the root is linked */
	const struct inode *root_inode;	/* the same */
	bool foreign;			/* others change its filesystem, unheard */
	bool stores, unseen;		/* stores to mappings: are noted; by barriers alone */
	/* hf_trees_lock */
	u32 portid;			/* of the consumer's socket; 0: none */
	struct kthread_work tell;

	spinlock_t lock;		/* of what follows */
	struct hf_dir *root;		/* NULL: lost, or not there yet */
	struct hf_dirty dirty;
	struct hlist_head outside;	/* directories that were moved out, to be unmarked */
	struct work_struct prune;
	struct pid *exclude;		/* whose changes are left out, or NULL */
	u64 marks;
	u64 moves;			/* of directories, in the table */
	u64 number;			/* of the last change event */
	u32 sweep;			/* the last hf_settle() */
	bool dying, lost, moved, coarse, lost_told;

	struct list_head place;		/* places_lock: the trees of its superblock */
};

/*
 * One marked directory. There may be very many, so what it takes is counted
 * (make bench-kernel): it may not be much more than an inotify watch.
 */
struct hf_dir {
	struct fsnotify_mark mark;
	struct hf_dir *parent;		/* NULL: the root, moved out, or gone */
	struct hlist_head children;
	struct hlist_node sibling;	/* in parent->children, or in tree->outside */
	struct hf_names names;
	char *name;			/* in parent; NULL for the root */
	struct inode *inode;		/* pinned by the mark, for as long as it is linked */
	u32 sweep;			/* the last hf_settle() that saw it unlocked */
	u16 len;
	bool linked;			/* in the table; else what comes is ignored */
	bool charged;			/* to the bound of marks */
};

/* tree->lock held. The inode of a root that was removed may stay for a while. */
static inline bool hf_lost(const struct hf_tree *tree)
{
	return tree->lost || (tree->root && IS_DEADDIR(tree->root->inode));
}

/* tree.c */

struct hf_tree_spec {
	struct file *root;
	const char *resource, *consumer;
	const u8 *path, *file;
	u32 path_len, file_len;
	u32 portid;
};

/**
 * hf_tree_add() - register a tree, or take it over
 * Return: the tree with a reference, @resumed says which; ERR_PTR: as the
 * netlink specification says of tree-add
 */
struct hf_tree *hf_tree_add(const struct hf_tree_spec *spec, bool *resumed);
/** hf_tree_get() - by number; NULL when there is none */
struct hf_tree *hf_tree_get(u32 id);
/** hf_tree_next() - the one with the lowest number above @id */
struct hf_tree *hf_tree_next(u32 id);
void hf_tree_ref(struct hf_tree *tree);
void hf_tree_put(struct hf_tree *tree);
/** hf_tree_free() - the end of its group: nothing refers to it any more */
void hf_tree_free(struct hf_tree *tree);
/**
 * hf_tree_del() - forget a tree
 * Return: 0; -EBUSY when a socket other than @portid consumes it; -ENOENT when it
 * is deleted already
 */
int hf_tree_del(struct hf_tree *tree, u32 portid);
/** hf_tree_consumed() - 0: @portid is the consumer; -EBUSY: another one; -EPERM: none */
int hf_tree_consumed(struct hf_tree *tree, u32 portid);
/** hf_tree_attached() - whether there is a consumer */
bool hf_tree_attached(const struct hf_tree *tree);
/** hf_trees_release() - the socket @portid was closed */
void hf_trees_release(u32 portid);
u32 hf_trees_count(void);
/** hf_tree_exclude() - leave out what the calling process changes, or no longer */
int hf_tree_exclude(struct hf_tree *tree, bool on);

/* dir.c; tree->lock held unless it says otherwise */

/**
 * hf_dir_alloc() - a directory, not in the table yet; @len 0: the root. Not locked
 * Return: NULL beyond the bound of marks (@nospc) or without memory
 */
struct hf_dir *hf_dir_alloc(const char *name, u32 len, bool *nospc, gfp_t gfp);
void hf_dir_free(struct hf_dir *dir);
void hf_dir_link(struct hf_tree *tree, struct hf_dir *dir, struct hf_dir *parent);
/**
 * hf_dir_unlink() - out of the table; its children have no parent then. The
 * caller owns the reference that the table had, and drops what is noted of it.
 */
void hf_dir_unlink(struct hf_tree *tree, struct hf_dir *dir);
/** hf_dir_move() - it is @name in @parent now; takes @name over */
void hf_dir_move(struct hf_tree *tree, struct hf_dir *dir, struct hf_dir *parent,
		 char *name, u32 len);
/** hf_dir_move_out() - it is not below the root any more */
void hf_dir_move_out(struct hf_tree *tree, struct hf_dir *dir);
/**
 * hf_dir_path() - path of @name in @dir below the root, without a final NUL
 * @buf: of at least PATH_MAX
 * Return: its length, 0 for the root; -ENOENT when @dir is not below the root; -ENAMETOOLONG
 */
int hf_dir_path(const struct hf_tree *tree, const struct hf_dir *dir,
		const char *name, u32 len, char *buf);
/**
 * hf_dir_shorten() - take names off the end of a path until it has @room bytes at most
 * @len: of the name in @dir; 0: the path is that of @dir itself
 * Return: whether there were too many
 */
bool hf_dir_shorten(const struct hf_dir **dir, u32 *len, u32 room);
/** hf_dir_next() - preorder below and with the root; start with NULL */
struct hf_dir *hf_dir_next(const struct hf_tree *tree, struct hf_dir *dir);

static inline struct hf_dir *hf_dir_of(struct hf_names *names)
{
	return container_of(names, struct hf_dir, names);
}

u64 hf_marks(void);		/* of all trees; not locked */
int hf_dirs_init(void);
void hf_dirs_exit(void);

/* watch.c; not locked */

struct fsnotify_group *hf_watch_group(struct hf_tree *tree);
/** hf_watch_root() - mark the root */
int hf_watch_root(struct hf_tree *tree, struct file *root);
/** hf_watch_mark() - mark a directory below; as the specification says of mark */
int hf_watch_mark(struct hf_tree *tree, struct file *dir);
/** hf_watch_clear() - unmark everything; the tree is dying, or was never there */
void hf_watch_clear(struct hf_tree *tree);
void hf_watch_prune(struct work_struct *work);
/** hf_watch_note() - note a change in @dir, if that is a directory of the tree */
void hf_watch_note(struct hf_tree *tree, struct inode *dir, const struct hf_change *c);
/** hf_watch_note_all() - note the tree as a whole; @quiet: unless it is noted so */
void hf_watch_note_all(struct hf_tree *tree, bool quiet);
int hf_watch_init(void);
/** hf_watch_exit() - wait until fsnotify has let go of all marks and groups */
void hf_watch_exit(void);

/* settle.c; not locked */

/**
 * hf_settle() - wait until what had returned before is in the dirty set
 * Return: 0, -EAGAIN when an operation in one of its directories does not end
 */
int hf_settle(struct hf_tree *tree);
/** hf_settle_lock() - a directory's i_rwsem, shared; false when it can't be had in some 100 ms */
bool hf_settle_lock(struct inode *inode);

/* place.c; not locked */

/**
 * hf_place_begin() - a tree is about to be marked
 * @root: its root, which the caller holds
 * Return: 0, -ENOMEM
 */
int hf_place_begin(struct hf_tree *tree, struct inode *root);
/** hf_place_end() - it is marked no more; may be called twice */
void hf_place_end(struct hf_tree *tree);
struct hf_aliases;
/**
 * hf_place_note() - note a change of a file under each name that leads to it, in all trees
 * @inode: the file; the caller holds it
 * @c: what happened; without a name
 * @aliases: receives what hf_aliases_put() is to let go of, for who must not wait for a
 *	filesystem that is frozen; NULL: done at once
 */
void hf_place_note(struct inode *inode, const struct hf_change *c, struct hf_aliases **aliases);
/** hf_aliases_put() - let go of the directories of names; NULL is none. Sleeps */
void hf_aliases_put(struct hf_aliases *aliases);
int hf_places_init(void);
void hf_places_exit(void);

/* stores.c; not locked */

/** hf_stores_of() - how stores are noted in a tree that is new */
void hf_stores_of(struct hf_tree *tree, const struct inode *root);
/**
 * hf_stores_settle() - wait until the stores that were made before are noted
 *
 * Where stores can't be seen, notes what they may have changed.
 * Return: 0, -EAGAIN when that takes too long
 */
int hf_stores_settle(struct hf_tree *tree);
/** hf_stores_seen() - whether the tracepoint is there */
bool hf_stores_seen(void);
int hf_stores_init(void);
void hf_stores_exit(void);

/* tell.c */

/** hf_tell() - something new happened to @e; tree->lock held */
void hf_tell(struct hf_tree *tree, struct hf_entry *e);
/** hf_tell_whole() - the tree as a whole was noted, or lost; tree->lock held */
void hf_tell_whole(struct hf_tree *tree);
void hf_tell_work(struct kthread_work *work);
/** hf_tell_stop() - not locked; nothing is told any more when it returns */
void hf_tell_stop(struct hf_tree *tree);
int hf_tell_init(void);
void hf_tell_exit(void);

/* netlink.c */

int hf_netlink_init(void);
void hf_netlink_exit(void);
/**
 * hf_netlink_changes() - a message of the group; the caller sets @number, unaligned,
 * fills it and sends it with hf_netlink_send()
 */
struct sk_buff *hf_netlink_changes(u32 tree_id, void **head, u64 **number, gfp_t gfp);

/* a change as it is told */
struct hf_told {
	const struct hf_dir *dir;	/* NULL: the root, whatever has become of it */
	const char *name;		/* in @dir */
	u32 len;			/* 0: @dir itself */
	u64 id, seq, since;
	u32 ops;
	u8 state;
	const struct hf_who *who;	/* or NULL */
};

/** hf_told_entry() - how an entry is told */
static inline struct hf_told hf_told_entry(const struct hf_entry *e)
{
	return (struct hf_told) {
		.dir = hf_dir_of(e->dir), .name = e->name, .len = e->len,
		.id = e->id, .seq = e->seq, .since = e->since,
		.ops = e->ops, .state = e->state, .who = &e->who,
	};
}

/**
 * hf_netlink_put() - put a change into a message; tree->lock held
 * @alone: nothing else is in the message: if it does not fit all the same, it
 * is told as the directory above it that does, as a whole
 * @buf: of PATH_MAX
 * Return: -EMSGSIZE when it does not fit any more, -ENOENT when it is not below
 * the root
 */
int hf_netlink_put(struct sk_buff *skb, const struct hf_tree *tree, const struct hf_told *told,
		   bool alone, char *buf);
void hf_netlink_send(struct sk_buff *skb, void *head);
/** hf_netlink_heard() - whether anybody listens to the group */
bool hf_netlink_heard(void);

#endif
