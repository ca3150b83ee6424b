/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the tree library share: the open root, a cursor over its
 * directories, a walker over its names, attributes of local files.
 *
 * Nothing here ever resolves more than one component at a time below the root:
 * a directory is opened from its parent's descriptor (beneath, no symbolic
 * link, no other mount), so paths may be longer than PATH_MAX, and a symbolic
 * link that is swapped in meets an error instead of being followed.
 */
#ifndef HF_TREE_INT_H
#define HF_TREE_INT_H

#include "pattern.h"
#include "tmpname.h"
#include "tree.h"
#include "links.h"
#include <fcntl.h>
#include <linux/openat2.h>

#define HF_SETTLE_NS 20000000ull	/* two ticks of the slowest clock */
#define HF_SETTLE_COARSE_NS (2000000000ull + HF_SETTLE_NS)	/* where times are whole seconds, or two of them */
#define HF_TRIES 4			/* for what moves while it is read */
#define HF_SMALL (256u << 10)		/* contents up to this are read once, into memory */

/* owners by number and by name, as this node's databases have them */
struct hf_idname {
	uint32_t id;
	bool by_id;		/* the answer to "who is this number": of several names, the first */
	bool known;		/* false: the database had no answer */
	char *name;
};
struct hf_idcache {
	struct hf_idname *e;
	unsigned n, cap;
};

struct hf_tree {
	int root;		/* O_RDONLY directory; of a single file its parent */
	char *node_root;
	char *path;		/* below node_root, normalised, begins with '/' */
	char *dirpath;		/* what @root was opened as: path, or its parent */
	char *name;		/* the single file, or NULL */
	unsigned flags;
	struct hf_patterns *exclude;
	struct hf_patterns *exclude_too;	/* so is what these say, where the generation does not have it */
	uint64_t dev, ino, mnt;
	bool blind;
	char own_tmp[5];	/* of a single file: which temporary files are its own */
	struct hf_idcache users, groups;
	uint64_t ids_ns;	/* when the caches were emptied */
	struct hf_scout *scout;
	struct hf_links links;
	/* inodes of files too big to hold that moved while they were stored; see capture.c */
	uint64_t restless[8];
	unsigned nrestless;
};

/** hf_left_alone() - a socket, unless sockets are kept */
static inline bool hf_left_alone(const struct hf_tree *t, uint32_t mode)
{
	return S_ISSOCK(mode) && !(t->flags & HF_TREE_SOCKETS);
}

/** hf_is_mount() - something is mounted there: it is left alone, with all below it */
static inline bool hf_is_mount(const struct hf_tree *t, const struct statx *stx)
{
	return stx->stx_mnt_id != t->mnt || (stx->stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* tree.c */
int hf_openat2(int dirfd, const char *name, uint64_t flags, uint64_t resolve);
/** hf_tree_openat() - one component below an open directory of the tree */
int hf_tree_openat(int dirfd, const char *name, int flags);
int hf_tree_statx(int dirfd, const char *name, struct statx *stx);
int hf_fd_statx(int fd, struct statx *stx);
/** hf_tree_out() - what @rel is left alone as (HF_OUT_FILE, HF_OUT_DIR): itself, or with a directory
 *  above it; temporary files of a restore are no names for a checkpoint */
unsigned hf_tree_out(const struct hf_tree *t, const char *rel);
/** hf_tree_out_name() - the same of the first @len bytes, when the directories above are in */
unsigned hf_tree_out_name(const struct hf_tree *t, const char *rel, size_t len);
/** hf_tree_excluded() - whether @rel, of type @mode, is left alone */
static inline bool hf_tree_excluded(const struct hf_tree *t, const char *rel, mode_t mode)
{
	return hf_tree_out(t, rel) & (S_ISDIR(mode) ? HF_OUT_DIR : HF_OUT_FILE);
}
/** hf_tree_unsaid() - whether the generation would not have @rel, of type @mode, if it was there when that was captured */
bool hf_tree_unsaid(const struct hf_tree *t, const char *rel, mode_t mode);
/** hf_tree_mine() - whether @rel can be in the tree at all (single files), and is well formed */
bool hf_tree_mine(const struct hf_tree *t, const char *rel);
bool hf_tmp_name(const struct hf_tree *t, const char *name);	/* a restore's leftover */
/** hf_tree_text() - @rel for a person: absolute, printable; of a crypto tree only its path.
 *  malloc'ed, never NULL-checked by the callers: "?" constants are duplicated */
char *hf_tree_text(const struct hf_tree *t, const char *rel);
/** hf_tree_fail() - "WHAT PATH: why" into @e */
int hf_tree_fail(const struct hf_tree *t, struct hf_err *e, int ret, const char *what, const char *rel);
int hf_tree_check_root(const struct hf_tree *t, struct hf_err *e);
/** hf_rel_cmp() - the order of hf_tree_db.each */
int hf_rel_cmp(const char *a, const char *b);
bool hf_rel_below(const char *rel, const char *top);	/* at or below */
void hf_mark_set(struct hf_mark *m, const struct statx *stx, uint64_t now_wall);
bool hf_mark_same(const struct hf_mark *m, const struct statx *stx);
/** hf_unchanged() - whether what @m was set from need not be looked into again */
bool hf_unchanged(const struct hf_tree *t, const struct hf_mark *m, const struct statx *stx);
static inline uint64_t hf_ctime_ns(const struct statx *s)
{
	return (uint64_t)s->stx_ctime.tv_sec * 1000000000ull + s->stx_ctime.tv_nsec;
}
/** hf_settled() - whether at @now a further change gives another change time than @ctime */
static inline bool hf_settled(uint64_t ctime, uint64_t now)
{
	return now >= ctime && now - ctime >= (ctime % 1000000000ull ? HF_SETTLE_NS : HF_SETTLE_COARSE_NS);
}
static inline bool hf_stx_same(const struct statx *a, const struct statx *b)
{
	return a->stx_ino == b->stx_ino && a->stx_size == b->stx_size &&
	       hf_ctime_ns(a) == hf_ctime_ns(b) && a->stx_mode == b->stx_mode;
}

/* dircur.c: a cursor keeps the directories above the last one that was asked for open */
struct hf_dircur {
	struct hf_tree *t;
	char *path;			/* of the deepest level */
	size_t len, cap;
	struct { size_t len; int fd; } *lv;	/* [0] is the root */
	unsigned depth, lvcap;
};
int hf_dircur_init(struct hf_dircur *c, struct hf_tree *t);
void hf_dircur_free(struct hf_dircur *c);
void hf_dircur_reset(struct hf_dircur *c);
/** hf_dircur_get() - descriptor of directory @rel[0..len), borrowed until the next call.
 *  On failure c->len is how far it came. */
int hf_dircur_get(struct hf_dircur *c, const char *rel, size_t len);
/** hf_dircur_parent() - of @rel's parent; *name points into @rel */
int hf_dircur_parent(struct hf_dircur *c, const char *rel, const char **name);

/* walk.c */
enum hf_walk_kind {
	HF_WALK_ENTRY,
	HF_WALK_MOUNT,		/* a mount point: left alone with all below it */
	HF_WALK_LEFTOVER,	/* a temporary file of an interrupted restore */
};
struct hf_found {
	enum hf_walk_kind kind;
	bool descend;			/* what is in it comes next */
	struct statx stx;
};
struct hf_scout;
struct hf_walk {
	struct hf_tree *t;
	struct hf_dircur cur;
	struct hf_scout *scout;		/* that was there before; or NULL */
	struct hf_walk_level *lv;
	unsigned depth, lvcap;
	bool started;
	unsigned how;
	char *rel;			/* the entry */
	size_t len, cap;
	const char *name;		/* its last component; of the root "" */
	int dirfd;			/* of its parent; of the root: the root; -1: a scout was there */
	struct hf_found at;
};
#define HF_WALK_LEFTOVERS 1	/* temporary files of a restore too */
#define HF_WALK_RESERVED 2	/* those that are none, and stay, too: only their name is such a one */
#define HF_WALK_LAZY 4		/* of what is a regular file, as its directory tells, only that: stx_mask is 0 */
int hf_walk_init(struct hf_walk *w, struct hf_tree *t, const char *rel, unsigned how);
/** hf_walk_next() - 1 with an entry, 0 at the end; order of hf_rel_cmp() */
int hf_walk_next(struct hf_walk *w);
/** hf_walk_skip() - what is in the directory that was given out last is not to be */
void hf_walk_skip(struct hf_walk *w);
void hf_walk_free(struct hf_walk *w);

/** hf_walk_look() - what @rel, which is @name in @dirfd, is for a walk: 1 if it gives it out
 *  @type: d_type, as far as its directory told */
int hf_walk_look(struct hf_tree *t, const char *rel, size_t len, int dirfd, const char *name, unsigned how,
		 unsigned char type, struct hf_found *f);
/** hf_nest_ours() - whether a directory with a leftover's name is one */
bool hf_nest_ours(const struct statx *s);
/* the names in a directory, sorted, without those that are never looked at */
struct hf_dirnames {
	char *arena;			/* each with its NUL, and its type (d_type) before it */
	char **name;
	unsigned n;
	size_t bytes;			/* of memory */
};
int hf_dirnames_read(struct hf_tree *t, int fd, struct hf_dirnames *out);
void hf_dirnames_free(struct hf_dirnames *n);

/* scout.c */
/** hf_scout_take() - what hf_tree_scout() sees, for one walk; it stays the tree's. NULL: nobody looks */
struct hf_scout *hf_scout_take(struct hf_tree *t);
/** hf_scout_next() - 1 with an entry, @name in @dir[0..len), 0 at the end; all but the root. What is in the last
 *  directory that was given out is waited for, and -errno why it cannot be read */
int hf_scout_next(struct hf_scout *s, const char **dir, size_t *len, const char **name, struct hf_found *f);
/** hf_scout_skip() - what is in the directory that was given out last is not to be */
void hf_scout_skip(struct hf_scout *s);
/** hf_scout_rest() - until nobody looks any more: before patterns change. @s may be NULL */
void hf_scout_rest(struct hf_scout *s);
void hf_scout_free(struct hf_scout *s);

/* tree and generation side by side, in order; either may be missing */
struct hf_pair {
	const char *rel;
	const char *name;		/* of the local entry, in hf_pair_dir(); NULL: none */
	int dirfd;			/* -1: @cur opens it */
	struct hf_dircur *cur;
	enum hf_walk_kind kind;
	const struct statx *stx;	/* stx_mask 0: it was not looked at yet */
	const struct hf_known *known;	/* a copy: stays valid */
};
/** hf_pair_dir() - descriptor of the directory that the local entry is in; -errno */
int hf_pair_dir(const struct hf_pair *p);
int hf_merge(struct hf_tree *t, const struct hf_tree_db *db, const char *rel, unsigned how,
	     int (*fn)(void *ctx, const struct hf_pair *p), void *ctx, struct hf_err *err);
/** hf_tree_holds() - 1 if the directory has something below that is left alone
 *  (excluded name, mount point, socket) */
int hf_tree_holds(struct hf_tree *t, const char *rel);
/** hf_tree_holds_next() - the same for directories in order, each entry looked at once or twice however deep
 *  they are: @h, zero at first, remembers what was found. hf_holds_free() it. */
struct hf_holds { char *none, *found; };
int hf_tree_holds_next(struct hf_tree *t, const char *rel, struct hf_holds *h);
void hf_holds_free(struct hf_holds *h);

/* owner.c */
/** hf_ids_begin() - believe nothing that is older than some seconds, or with @fresh nothing */
void hf_ids_begin(struct hf_tree *t, bool fresh);
void hf_ids_free(struct hf_tree *t);
/** hf_name_of() - "" where the number has no name; valid until hf_ids_begin() */
int hf_name_of(struct hf_tree *t, bool group, uint32_t id, const char **name);
/** hf_id_here() - the number that @name has here; -ENOENT with @err
 *  @role: "that owns" */
int hf_id_here(struct hf_tree *t, bool group, const char *name, const char *role, uint32_t *id,
	       const char *rel, struct hf_err *err);
/** hf_attr_here() - turn the numbers of @a, those in its ACLs too, into those that their names
 *  have on this node; once. -ENOENT with @err */
int hf_attr_here(struct hf_tree *t, struct hf_attr *a, const char *rel, struct hf_err *err);

/* acl.c */
/** hf_acl_names() - note the names of the numbers in @a's ACLs, and put their entries in order */
int hf_acl_names(struct hf_tree *t, struct hf_attr *a);
int hf_acl_here(struct hf_tree *t, struct hf_attr *a, const char *rel, struct hf_err *err);

/* attr.c */
#define XATTR_MAX 65536
/** hf_xattr_given() - this node's security module gives it to every file of its own: not an
 *  extra to be removed */
bool hf_xattr_given(const char *name);
/** hf_xattrs_equal() - every xattr of @want is there; what else is there may stay only if it is
 *  given by the node */
bool hf_xattrs_equal(const struct hf_attr *have, const struct hf_attr *want);
/** hf_attr_link() - the same for the file that it is a name of */
uint64_t hf_attr_link(const void *p, size_t n);
/* what an encoding says of whose an entry is; the names lie in it, and do not end with a NUL */
struct hf_attr_glance {
	uint32_t mode, uid, gid, nuser, ngroup;
	uint64_t link;
	const char *user, *group;
	bool acl;
};
/** hf_attr_glance() - without decoding the rest of it; false if it is none */
bool hf_attr_glance(const void *p, size_t n, struct hf_attr_glance *g);

/* attr_local.c */
/** hf_attr_read() - of a local file: @fd (regular file or directory) or, if @fd is
 *  negative, @name in @dirfd */
int hf_attr_read(struct hf_tree *t, int fd, int dirfd, const char *name,
		 const struct statx *stx, struct hf_attr *a);
/** hf_attr_equal() - whether local attributes @have are what @want asks for on this node;
 *  @but_mtime: times do not count. Which names are one file is not looked at. */
bool hf_attr_equal(struct hf_tree *t, const struct hf_attr *have, struct hf_attr *want,
		   bool but_mtime);
/**
 * hf_attr_apply() - make the open file @fd what @want asks for
 * @opath: @fd was opened with O_PATH (anything but regular files and directories)
 * @fresh: this process made the file and nobody reads it yet
 */
int hf_attr_apply(struct hf_tree *t, int fd, bool opath, bool fresh, struct hf_attr *want,
		  const char *rel, struct hf_err *err);

/** hf_attr_apply_born() - the same for a regular file that this process just made where nobody else comes: it is
 *  as @born says, and has no attributes but labels */
int hf_attr_apply_born(struct hf_tree *t, int fd, const struct statx *born, struct hf_attr *want,
		       const char *rel, struct hf_err *err);
bool hf_has_default_acl(int fd);	/* which what is made in a directory would inherit */

/** hf_attr_tighten() - directory @fd belongs to whom it will in the end, and lets nobody do what
 *  @want does not: before what is in it is touched */
int hf_attr_tighten(struct hf_tree *t, int fd, struct hf_attr *want, const char *rel, struct hf_err *err);

/* compare.c */
/**
 * hf_clean_begin() - have the pages of a regular file write-protected, so that a later store through a mapping faults,
 * and changes ctime again
 * @stx: from before, and no more than a hint
 *
 * Pages are write-protected when their writing begins, so mostly the disk needs not be waited for.
 * Return: whether all are. If not (some were being written already when they became dirty, the filesystem begins
 * later, or the kernel can't be asked), hf_clean() waits until they are.
 */
bool hf_clean_begin(const struct hf_tree *t, int fd, const struct statx *stx);
int hf_clean(int fd);
/** hf_open_regular() - for reading; -ESTALE when it is no regular file (any more) */
int hf_open_regular(int dirfd, const char *name);
/** hf_open_dir() - @name in @dirfd, "" is @dirfd itself; -ESTALE when it is none */
int hf_open_dir(int dirfd, const char *name);
/** hf_read_small() - up to @cap bytes from the start; returns their number. @expect: so many there should be */
ssize_t hf_read_small(int fd, uint8_t *buf, size_t cap, size_t expect);
/** hf_content_is() - whether @size bytes of @fd hash to what @k says: 1, 0, -errno */
int hf_content_is(const struct hf_tree_db *db, int fd, uint8_t *buf, uint64_t size,
		  const struct hf_known *k);
/** hf_hash_is() - the same for a buffer */
bool hf_hash_is(const struct hf_tree_db *db, const void *buf, uint64_t size, const struct hf_known *k);
struct hf_diff {
	bool type, content, meta;
	bool only_mtime;	/* @meta, and nothing but mtime */
	struct hf_mark mark;	/* where nothing differs; zero where none may be noted */
};
/**
 * hf_same() - how a local entry differs from the known one
 * @want: the known attributes
 * @buf: HF_SMALL bytes
 *
 * Return: 0, -ENOENT when it vanished, -ESTALE when it became something else,
 * -errno. What moves while it is read counts as different.
 */
int hf_same(struct hf_tree *t, const struct hf_tree_db *db, const struct hf_pair *p,
	    struct hf_attr *want, uint8_t *buf, struct hf_diff *d);

/** hf_same_by_mark() - whether the mark alone tells that nothing differs, and that no other name is
 *  concerned: for most entries, and for next to nothing */
bool hf_same_by_mark(struct hf_tree *t, const struct hf_pair *p);

/* how something looked: the local entry when it was compared, or when it was written */
struct hf_look {
	uint64_t dev, ino, ctime, mtime, size;
	uint32_t mode, nlink;
};
void hf_look(struct hf_look *l, const struct statx *s);
/** hf_look_mark() - as hf_mark_set(), of what looked so */
void hf_look_mark(const struct hf_look *l, uint64_t now_wall, struct hf_mark *m);
/** hf_looks_same() - of a file with several names the change time does not count: another
 *  name that comes or goes changes it */
bool hf_looks_same(const struct hf_look *l, const struct statx *s);

void hf_scratch_free(struct hf_tree *t, uint8_t *buf, size_t n);	/* wiped, of a crypto tree */

/* compare_links.c: names whose file has others, in the tree or in the generation */
enum hf_lverdict {
	HF_LN_RIGHT,		/* is a name of the right file, or will be when that has its attributes */
	HF_LN_META,		/* attributes are to be set in place, for all its names */
	HF_LN_WRITE,		/* is to be written as a file of its own */
	HF_LN_LINK,		/* is to become a name of @lead's file */
};
struct hf_lname {
	char *rel;
	uint64_t link, dev;
	uint32_t nlink;
	struct hf_look seen;
	bool there;		/* locally, as the right type */
	bool equal, meta;	/* contents and attributes are right; or contents at least */
	bool late;		/* a directory is in the way */
	size_t item;		/* the caller's */
	enum hf_lverdict verdict;
	struct hf_lname *lead;
	/* of hf_lnames_resolve() */
	size_t at;
	struct hf_lname *inode, *owner;
};
/** hf_linked() - whether an entry belongs among them; @stx: of the local one, or NULL */
static inline bool hf_linked(const struct hf_tree *t, uint64_t link, const struct statx *stx)
{
	return !t->name && (link || (stx && stx->stx_nlink > 1 && !S_ISDIR(stx->stx_mode)));
}
struct hf_lnames { struct hf_lname *e; size_t n, cap; };
/** hf_lnames_add() - valid until the next one; NULL: no memory */
struct hf_lname *hf_lnames_add(struct hf_lnames *s, const char *rel, uint64_t link, const struct statx *stx);
/** hf_lnames_resolve() - verdicts; -ENOMEM */
int hf_lnames_resolve(struct hf_lnames *s);
void hf_lnames_free(struct hf_lnames *s);

/** hf_tmp_make() - a new file of @want's type under a temporary name, which goes to @tmp
 *  Return: its descriptor (O_PATH unless it is a regular file), -errno */
int hf_tmp_make(struct hf_tree *t, int dirfd, char tmp[HF_TMP_LEN + 1], const struct hf_attr *want);

/* displaced.c */
void hf_displaced_flush(struct hf_displaced *d);	/* durable so far */
uint64_t hf_displaced_count(const struct hf_displaced *d);
/** hf_displaced_add_dir() - the same of a directory that the generation has too: not in a set that goes on,
 *  as the interrupted restore may have made it */
int hf_displaced_add_dir(struct hf_displaced *d, struct hf_tree *t, const char *rel, struct hf_err *err);
/** hf_displaced_spare() - leave @need bytes to the filesystem of @fd, should the set go there too */
void hf_displaced_spare(struct hf_displaced *d, int fd, uint64_t need);

#endif
