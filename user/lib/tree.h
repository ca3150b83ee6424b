/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trees: attributes, scan, capture, compare, restore, kept-aside copies.
 * Knows no store: it sees the newest generation through struct hf_tree_db,
 * which the daemon implements above the log, and the tests above a map.
 *
 * A path inside a tree ("rel") is relative to the root, without a leading or
 * trailing slash, any bytes but NUL; the root itself is "". For a checkpoint
 * of a single file the root is its parent directory and the only rel is the
 * file's name.
 */
#ifndef HF_TREE_H
#define HF_TREE_H

#include "base.h"
#include <sys/stat.h>

/* What makes a file that file, besides its contents. */
struct hf_xattr { char *name; void *value; uint32_t len; };
struct hf_acl_name { bool group; uint32_t id; char *name; };
struct hf_attr {
	uint32_t mode;			/* type and permissions */
	uint32_t uid, gid;
	char *user, *group;		/* names; "" where the number has none */
	int64_t mtime_s, atime_s;
	uint32_t mtime_ns, atime_ns;
	uint32_t rdev_major, rdev_minor;
	uint64_t size;			/* of contents; 0 unless a regular file */
	uint64_t link;			/* entries with the same are names of one file; 0: it has one name */
	char *target;			/* of a symlink, else NULL */
	struct hf_xattr *xattr;		/* sorted by name */
	uint32_t nxattr;
	struct hf_acl_name *acl;	/* of the numbers in its ACLs; sorted by group and id */
	uint32_t nacl;
	bool here;			/* numbers are this node's; no part of the encoding */
};
void hf_attr_free(struct hf_attr *a);
/** hf_attr_encode() - versioned, little-endian, canonical: equal attributes give equal
 *  bytes. atime is stored but does not count for equality (hf_attr_same()). */
int hf_attr_encode(const struct hf_attr *a, struct hf_buf *b);
/** hf_attr_decode() - from hostile bytes; -EBADMSG when malformed */
int hf_attr_decode(const void *p, size_t n, struct hf_attr *a);
/** hf_attr_mode() - of an encoding, without the rest; 0 if it is none */
uint32_t hf_attr_mode(const void *p, size_t n);
/** hf_attr_same() - all but atime is equal */
bool hf_attr_same(const struct hf_attr *a, const struct hf_attr *b);

/* Where a content comes from. read() is like pread on it. */
struct hf_source {
	uint64_t size;
	ssize_t (*read)(void *arg, void *buf, size_t len, uint64_t off);
	void *arg;
};

/* What identifies a local file's state. Without a time only which file it was is known (or nothing, all zero):
 * contents are to be compared. */
struct hf_mark {
	uint64_t dev, ino;
	uint64_t size;
	uint64_t ctime_ns;		/* CLOCK_REALTIME of the filesystem; 0: too young to tell a later write by it */
};
static inline bool hf_mark_tells(const struct hf_mark *m) { return m->ctime_ns; }

/* An entry of the newest generation as the tree code sees it. Valid until the
 * next put or del. */
struct hf_known {
	const void *attr;
	size_t attrlen;
	uint64_t size;
	uint8_t hash[32];		/* hf_tree_db.hash of the contents */
	struct hf_mark mark;		/* as last given to put() or mark() */
};

/**
 * struct hf_tree_db - the generation a tree is compared with, and where its
 * next one is written to
 * @get: the entry of @rel; false if there is none
 * @each: all entries at or below @prefix ("" for all), in bytewise order of
 *        rel with '/' lowest (a directory comes before what is in it); the
 *        callback may call put, del, mark and read for any rel; nonzero stops
 * @all: all entries, in no order, for less; the callback changes nothing; nonzero stops
 * @put: the next generation holds @rel so; @src NULL without contents. Reads
 *        @src to its end before it returns; the later put of a rel wins.
 *        @hash (32 bytes, keyed) is filled with the hash of the contents that were read; NULL:
 *        nobody asks, and what goes wrong with them may be told by a later put
 * @unput: take back what this transaction put or deleted for @rel: the entry
 *        stays as it was in the generation before
 * @del: the next generation does not hold @rel
 * @mark: remember how the local file looked that is known to equal the entry
 * @read: the contents of @rel, to @sink in order; -EBADMSG when damaged
 * @hash_init: keyed hash of contents, streamed (begin, any number of updates, final)
 *
 * All return 0 or -errno. Calls come from one thread at a time.
 */
struct hf_tree_db {
	void *arg;
	bool (*get)(void *arg, const char *rel, struct hf_known *out);
	int (*each)(void *arg, const char *prefix,
		    int (*fn)(void *ctx, const char *rel, const struct hf_known *k), void *ctx);
	int (*all)(void *arg, int (*fn)(void *ctx, const char *rel, const struct hf_known *k), void *ctx);
	int (*put)(void *arg, const char *rel, const void *attr, size_t attrlen,
		   const struct hf_source *src, const struct hf_mark *mark, uint8_t hash[32]);
	int (*unput)(void *arg, const char *rel);
	int (*del)(void *arg, const char *rel);
	void (*mark)(void *arg, const char *rel, const struct hf_mark *mark);
	int (*read)(void *arg, const char *rel,
		    int (*sink)(void *ctx, const void *p, size_t n), void *ctx);
	/* NULL, or what a put of these contents costs but for the writing: likely the next, or not */
	void (*ready)(void *arg, const void *p, size_t n);
	void (*hash_init)(void *arg, void *st);		/* st: HF_HASH_STATE bytes, 64-aligned; ended by hash_final */
	void (*hash_update)(void *arg, void *st, const void *p, size_t n);
	void (*hash_final)(void *arg, void *st, uint8_t out[32]);
};

struct hf_tree;

enum {
	HF_TREE_CRYPTO = 1,		/* stricter rules; contents and names never logged */
	HF_TREE_NUMBERS = 2,		/* owners = number: restore by number */
	HF_TREE_FILE = 4,		/* the path is (or will be) a single file */
	HF_TREE_SOCKETS = 8,		/* sockets = keep: they are entries like others; else left alone */
};

/**
 * hf_tree_open() - open the root of a tree
 * @node_root: the node's root directory (`root =`), "/" normally
 * @path: absolute path of the tree below @node_root; resolved there and never
 *        out of it
 * @flags: HF_TREE_*
 * @create: make a missing root directory (0700, root) for a restore; for
 *        HF_TREE_FILE its parent must exist
 * @exclude, @nexclude: patterns (pattern.h) of names that are left alone, as are the
 *        directories that hold them when the tree has lost them; of a single file none is
 *
 * A root that is a symbolic link is refused. Errors: -ENOENT, -ENOTDIR,
 * -ELOOP, each with @err.
 */
int hf_tree_open(const char *node_root, const char *path, unsigned flags, bool create,
		 const char *const *exclude, unsigned nexclude,
		 struct hf_tree **out, struct hf_err *err);
void hf_tree_close(struct hf_tree *t);
/** hf_tree_patterns() - other patterns from now on; -ENOMEM: those that were stay */
int hf_tree_patterns(struct hf_tree *t, const char *const *exclude, unsigned n);
/** hf_tree_patterns_too() - what these say, and the generation does not have, is left alone as well, until it is
 *  called with none: of what was excluded when it was captured a generation says nothing */
int hf_tree_patterns_too(struct hf_tree *t, const char *const *exclude, unsigned n);
/** hf_tree_excludes() - whether the tree's own patterns leave out @rel, of type @mode */
bool hf_tree_excludes(const struct hf_tree *t, const char *rel, mode_t mode);
int hf_tree_fd(const struct hf_tree *t);		/* of the root, O_PATH or O_RDONLY directory */
const char *hf_tree_name(const struct hf_tree *t);	/* of the single file, else NULL */
/** hf_tree_blind() - whether its filesystem keeps no sign of stores to mapped files (tmpfs):
 *  no change time is believed there, contents are compared */
bool hf_tree_blind(const struct hf_tree *t);
/** hf_tree_alive() - 0 while the root is still what its path leads to;
 *  -ENOENT gone or replaced, -EXDEV it is on another mount than when opened,
 *  -ENOTDIR something else is in the place of a single file */
int hf_tree_alive(const struct hf_tree *t);
/** hf_owners_here() - whether this node has all owners, and all names in ACLs, that a restore of @db to @path
 *  would need; for a tree that is not there yet. @flags: HF_TREE_*. -ENOENT with @err */
int hf_owners_here(const char *path, unsigned flags, const struct hf_tree_db *db, struct hf_err *err);
/** hf_tree_mounted() - whether the root is, or lies below, a mount of its own
 *  other than that of @node_root; what a registration remembers so that a lost mount is noticed
 *  (exit 5). @id receives a text that names the mount point relative to node_root. */
int hf_tree_mounted(const struct hf_tree *t, char *id, size_t n);

/**
 * hf_tree_scout() - begin to look at all of the tree, beside what the caller does next, for the hf_restore() that
 * comes next
 *
 * Only for who is told of every change from now on, and takes one that comes before the restore for one that
 * came after it. A tree that is large is looked at by the restore all the same. -ENOMEM
 */
int hf_tree_scout(struct hf_tree *t);
/** hf_tree_unscout() - what was seen is not believed */
void hf_tree_unscout(struct hf_tree *t);

struct hf_tree_stat { uint64_t dirs, files, others, bytes; };
/** hf_tree_measure() - count a tree that nobody restores; -EFBIG as soon as bytes exceed @max (0: no bound) */
int hf_tree_measure(struct hf_tree *t, uint64_t max, struct hf_tree_stat *st, struct hf_err *err);

struct hf_capture_stat { uint64_t looked, put, deleted, unstable, bytes; };
/**
 * hf_capture_name() - bring one name up to date in @db
 * @rel: what changed; missing there: it and all below it is deleted in @db
 *
 * A regular file is cleaned first (its pages are write-protected), read,
 * and looked at again; one that moved meanwhile is tried 4 times, then put back
 * (unput) and counted as unstable. A directory: its own attributes only;
 * one that @db does not know is scanned (hf_capture_scan()). An excluded name is ignored.
 * Parents that @db does not know are put as well, and of a file with several names (hard
 * links) all that lie in the tree.
 */
int hf_capture_name(struct hf_tree *t, const struct hf_tree_db *db, const char *rel,
		    struct hf_capture_stat *st, struct hf_err *err);
/*
 * The same of many names: what they share is done once. @st of hf_names_one() is of that name alone,
 * that of hf_names_end() of what belongs to none: times of directories that lost or got names, and
 * other names of files. When hf_names_end() fails nothing counts as captured. The names must be known to
 * have changed before hf_names_begin().
 */
struct hf_names;
int hf_names_begin(struct hf_tree *t, const struct hf_tree_db *db, struct hf_names **out, struct hf_err *err);
int hf_names_one(struct hf_names *s, const char *rel, struct hf_capture_stat *st, struct hf_err *err);
int hf_names_end(struct hf_names *s, struct hf_capture_stat *st, struct hf_err *err);	/* frees @s */
/** hf_ahead_start() - have the writing of files begun that are to be captured; NULL: not worth it, or not
 *  to be had, which changes nothing. @rel stays until hf_ahead_stop(). */
struct hf_ahead;
struct hf_ahead *hf_ahead_start(const struct hf_tree *t, const char *const *rel, size_t n);
void hf_ahead_at(struct hf_ahead *a, size_t i);		/* that one's turn has come */
void hf_ahead_stop(struct hf_ahead *a);
/**
 * hf_capture_scan() - bring everything at and below @rel up to date
 * @full: compare contents even where the mark says that nothing changed
 *
 * Mark equal (dev, ino, size, ctime) and older than two clock ticks (or seconds, where times are
 * whole ones): unchanged, unless the tree is blind.
 * Never crosses a mount. What @db holds and the tree does not is deleted.
 */
int hf_capture_scan(struct hf_tree *t, const struct hf_tree_db *db, const char *rel,
		    bool full, struct hf_capture_stat *st, struct hf_err *err);

/** hf_tree_outside() - the files that have names outside of the tree too, as the last scan of the
 *  whole tree saw them
 *  @fn: gets one name in the tree, how many are in it and how many there are in all */
void hf_tree_outside(struct hf_tree *t, void (*fn)(void *ctx, const char *rel, uint64_t inside, uint64_t all),
		     void *ctx);
/** hf_tree_look() - the attributes that @rel has now; -ENOENT. hf_attr_free() @a after use. */
int hf_tree_look(struct hf_tree *t, const char *rel, struct hf_attr *a);
/** hf_tree_content() - the contents that regular file @rel has now, appended to @out; -ESTALE when it
 *  is none, -EFBIG when they are more than @max bytes */
int hf_tree_content(struct hf_tree *t, const char *rel, size_t max, struct hf_buf *out);

enum hf_change { HF_CH_ADDED, HF_CH_REMOVED, HF_CH_CONTENT, HF_CH_META, HF_CH_TYPE };
/**
 * hf_compare() - how the tree differs from @db
 * @fn: called for each difference (ADDED: only the tree has it); nonzero stops.
 *
 * Sets marks (db->mark) of what is equal. Writes nothing.
 */
int hf_compare(struct hf_tree *t, const struct hf_tree_db *db,
	       int (*fn)(void *ctx, enum hf_change ch, const char *rel), void *ctx, struct hf_err *err);

struct hf_displaced;
struct hf_restore_stat {
	uint64_t looked, written, meta, removed, displaced, bytes;
	uint64_t not_kept;	/* overwritten without a copy; filled by who asks the set */
	uint64_t ns_compare, ns_keep, ns_write, ns_sync;	/* where the time went */
};
struct hf_restore_opts {
	struct hf_displaced *keep;	/* where overwritten state goes; NULL: nowhere */
	/* does the local entry look as it did when it last equalled a generation? Then it is
	 * merely out of date, and is not kept; NULL: keep all */
	bool (*settled)(void *ctx, const char *rel, const struct hf_mark *now);
	/* a generation of which a restore wrote some: what looks as that has it is not kept; may be NULL */
	const struct hf_tree_db *undone;
	/* a directory that the generation does not have stays, for what is left alone in it; may be NULL */
	void (*stays)(void *ctx, const char *rel);
	/* nothing is changed; what would stop a restore before its first change is an error all the same */
	bool only_look;
	/* called now and then, for progress; non-zero stops with -ECANCELED */
	int (*progress)(void *ctx, uint64_t done, uint64_t total);
	void *ctx;
};
/**
 * hf_restore() - make the tree equal to @db, writing only what differs
 *
 * Files: temporary file (0600, a name as in tmpname.h), contents, owner, xattrs,
 * mode, times, rename; directories' attributes last, deepest first. All lookups
 * with openat2 RESOLVE_BENEATH|NO_SYMLINKS|NO_XDEV. What is overwritten or removed goes
 * to @o->keep before that. Excluded names, and directories holding them, stay. Durable
 * when it returns 0 (syncfs). Leftover temporary files of an interrupted
 * restore are removed. Running it twice changes nothing the second time.
 * A missing user or group name is an error (-ENOENT with path and name) unless
 * HF_TREE_NUMBERS. Steps call hf_seam("restore.write"), hf_seam("restore.rename"),
 * hf_seam("restore.remove"), hf_seam("restore.meta").
 */
int hf_restore(struct hf_tree *t, const struct hf_tree_db *db, const struct hf_restore_opts *o,
	       struct hf_restore_stat *st, struct hf_err *err);

/*
 * Kept-aside copies: one encrypted file for each restore that overwrote
 * something, under state_dir/displaced/RESOURCE/. crypto_secretstream; a file
 * that was cut short still gives what it holds.
 */
/** hf_displaced_begin() - nothing is created until the first hf_displaced_add()
 *  @key: 32 bytes, of this node (hf_keys.local)
 *  @reason: "offline-change", "unconfirmed", "takeover", … */
int hf_displaced_begin(const char *dir, const uint8_t key[32], const char *resource,
		       const char *checkpoint, const char *reason, struct hf_displaced **out,
		       struct hf_err *err);
/** hf_displaced_add() - what cannot be written, or is beyond the limit, is left out and counted: never a
 *  reason to refuse a takeover (P7). -ENOMEM */
int hf_displaced_add(struct hf_displaced *d, struct hf_tree *t, const char *rel, struct hf_err *err);
/** hf_displaced_generation() - the one that is restored: a set that was left unfinished is gone on with only if
 *  it was made for the same; before the first hf_displaced_add() */
void hf_displaced_generation(struct hf_displaced *d, uint64_t gen);
/** hf_displaced_limit() - what does not fit into that many bytes is left out */
void hf_displaced_limit(struct hf_displaced *d, uint64_t max);
/** hf_displaced_left_out() - how many entries were not kept; @why: the failure, 0: for want of room, be it
 *  that the limit says so or that what is restored needs what the disk has left */
uint64_t hf_displaced_left_out(const struct hf_displaced *d, int *why);
/** hf_displaced_left_first() - the first of them, below the tree's root; NULL: none, or it is not known */
const char *hf_displaced_left_first(const struct hf_displaced *d);
/** hf_displaced_end() - make it durable; @id (64 bytes) receives its name, "" when nothing was kept
 *  @whole: the restore came to its end. Else the next set of this checkpoint, reason and generation goes on
 *  with this one, and keeps what is in it not once more. */
int hf_displaced_end(struct hf_displaced *d, bool whole, char id[64], uint64_t *count, struct hf_err *err);
/** hf_displaced_list() - for each kept-aside set of @resource (NULL: all): id, when, reason,
 *  checkpoint, and for each entry path, size, mode (fn gets rel NULL at the start of a set) */
int hf_displaced_list(const char *dir, const uint8_t key[32], const char *resource,
		      int (*fn)(void *ctx, const char *id, uint64_t when_ns, const char *reason,
				const char *resource, const char *checkpoint, const char *rel,
				const struct hf_attr *a), void *ctx, struct hf_err *err);
/** hf_displaced_read() - contents of one entry, to @sink in order; -ENOENT when it is
 *  not there or was cut short (what @sink was given then is to be thrown away) */
int hf_displaced_read(const char *dir, const uint8_t key[32], const char *resource, const char *id,
		      const char *rel, int (*sink)(void *ctx, const void *p, size_t n), void *ctx,
		      struct hf_err *err);
/** hf_displaced_restore() - bring entries of a set back into @to, durably
 *  @rel: one, with all below it; NULL: all
 *  @keep: where what they overwrite goes; may be NULL
 *  @count: how many they were
 *  What else is in the tree stays. -ENOENT when there is no such entry */
int hf_displaced_restore(const char *dir, const uint8_t key[32], const char *resource, const char *id,
			 const char *rel, struct hf_tree *to, struct hf_displaced *keep, uint64_t *count,
			 struct hf_err *err);
/** hf_displaced_prune() - oldest go first, until total size and age are within bounds */
int hf_displaced_prune(const char *dir, uint64_t max_bytes, uint64_t keep_s);

#endif
