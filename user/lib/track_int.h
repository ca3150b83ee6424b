/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between the front of tracking (track.c), its sources (one struct
 * hf_track_ops each) and the fanotify source's table of directories.
 */
#ifndef HF_TRACK_INT_H
#define HF_TRACK_INT_H

#include <pthread.h>
#include "dirty.h"

/* flags of a source's open, for tests */
enum {
	HF_TRACK_BOUNDED = 1,		/* keep the kernel's bound of the queue, so that it can overflow */
	HF_TRACK_NO_RENAME = 2,		/* as on a kernel without FAN_RENAME */
	HF_TRACK_NO_HANDLE = 4,		/* as where directories can not be opened by handle */
	HF_TRACK_FEW_MARKS = 8,		/* as where marks run out after 16 */
};

/**
 * struct hf_track_ops - a source of changes
 * @open: allocates its own struct that begins with struct hf_track
 * @drain, @add, @del: called with t->lock held, all others without
 * @add: allocates its own struct that begins with struct hf_watch
 * @del: forget the watch in all own structures
 * @walk: what is to be done for a new watch without the lock; may be NULL
 * @fini: free the watch, after @del; with @keep what is registered elsewhere stays
 * @ack_flush, @id, @resumed, @left, @reap: may be NULL
 *
 * What changed is told with hf_watch_taint() or hf_watch_wake(). A source that
 * has no dirty set elsewhere uses the hf_local_*() functions.
 */
struct hf_track_ops {
	const char *name;
	int (*open)(const char *consumer, unsigned int flags, struct hf_track **out, struct hf_err *err);
	void (*close)(struct hf_track *t);
	int (*fd)(const struct hf_track *t);
	int (*drain)(struct hf_track *t);
	int (*add)(struct hf_track *t, int rootfd, const char *name, const struct hf_track_label *label,
		   struct hf_watch **out, struct hf_err *err);
	int (*walk)(struct hf_watch *w, struct hf_err *err);
	void (*del)(struct hf_watch *w);
	void (*fini)(struct hf_watch *w, bool keep);
	uint64_t (*seq)(struct hf_watch *w);
	uint64_t (*count)(struct hf_watch *w);
	uint64_t (*oldest)(struct hf_watch *w);
	/* @out: one block, names included; oldest first */
	int (*snapshot)(struct hf_watch *w, struct hf_dirty **out, size_t *n);
	void (*ack)(struct hf_watch *w, uint64_t id, uint64_t seq);
	void (*ack_flush)(struct hf_watch *w);
	bool (*lost)(struct hf_watch *w);
	const char *(*quality)(struct hf_watch *w);
	uint64_t (*dirs)(struct hf_watch *w);
	int (*exclude)(struct hf_watch *w, bool on);
	uint64_t (*id)(struct hf_watch *w);
	bool (*resumed)(struct hf_watch *w);
	bool (*left)(struct hf_track *t, const char *resource, uint64_t known);
	int (*reap)(struct hf_track *t, bool (*keep)(void *arg, const char *resource), void *arg);
};
extern const struct hf_track_ops hf_track_kernel;
extern const struct hf_track_ops hf_track_fanotify;

struct hf_track {
	const struct hf_track_ops *ops;
	_Atomic uint64_t seq;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	struct hf_watch *watches;
	struct hf_watch *wake;		/* whose notify function is to be called */
	char why[256];			/* why it is not the module, where that was looked for */
};

struct hf_watch {
	struct hf_track *t;
	struct hf_watch *next;		/* t->watches */
	struct hf_watch *wake_next;	/* t->wake, or the list of who took it over */
	char *name;			/* the single file, or NULL */
	hf_notify_fn notify;
	void *arg;
	bool queued, urgent, dead;
	unsigned int busy;		/* deliveries that may still call notify */
	pthread_mutex_t lock;		/* dirty, or what the source says */
	struct hf_dirtyset dirty;	/* of a source without a set elsewhere */
};

int hf_track_open_ops(const struct hf_track_ops *ops, const char *consumer, unsigned int flags,
		      struct hf_track **out, struct hf_err *err);
/** hf_track_unlock() - drop t->lock and call whom the caller put on the wake list under it */
void hf_track_unlock(struct hf_track *t);
/** hf_watch_init() - fill in what every watch begins with; -ENOMEM */
int hf_watch_init(struct hf_watch *w, struct hf_track *t, const char *name);
void hf_watch_fini(struct hf_watch *w);

/** hf_links_tell() - whether a directory's links tell how many directories are in it, on the filesystem of @fd */
bool hf_links_tell(int fd);
/** hf_is_leaf() - no directory is in @fd, where hf_links_tell(), or its event is yet to be read; it is marked */
bool hf_is_leaf(int fd);

/* track_local.c: a dirty set in this process */
int hf_local_init(struct hf_watch *w, struct hf_track *t, const char *name);	/* for hf_watch_init() */
void hf_local_fini(struct hf_watch *w);
uint64_t hf_local_seq(struct hf_watch *w);
uint64_t hf_local_count(struct hf_watch *w);
uint64_t hf_local_oldest(struct hf_watch *w);
int hf_local_snapshot(struct hf_watch *w, struct hf_dirty **out, size_t *n);
void hf_local_ack(struct hf_watch *w, uint64_t id, uint64_t seq);
/** hf_watch_taint() - @rel changed; t->lock held */
void hf_watch_taint(struct hf_watch *w, const char *rel, unsigned int set, unsigned int clear,
		    const struct hf_who *who, bool urgent);
/** hf_watch_wake() - call the notify function when t->lock is dropped; t->lock held */
void hf_watch_wake(struct hf_watch *w, bool urgent);

/*
 * The table of directories (track_dirs.c): which inode, by filesystem and file
 * handle, is which name in which directory. A directory has one parent, so
 * trees that overlap share its node; a watch hangs at the node of its root.
 * A node is below a parent, or a root (watches hang at it), or an orphan: it is
 * not where it was, and either turns up again before the events are drained
 * or is dropped.
 */
struct hf_fh {
	uint64_t fsid;
	int type;
	uint32_t len;
	uint8_t bytes[128];
};

struct hf_dnode {
	struct hf_dnode *fh_next, *name_next;		/* hash chains */
	struct hf_dnode *parent, *child, *sib, **psib;	/* sib: orphans too */
	void *watches;			/* of the source; not NULL: a root */
	char *name;			/* in parent; NULL without one */
	uint64_t fsid;
	int type;
	uint32_t seen;			/* number of the walk that met it last */
	bool orphan;
	bool scanned;			/* all directories in it are known, or their event is queued */
	uint8_t len;
	uint8_t fh[];
};

struct hf_dirtable {
	struct hf_dnode **by_fh, **by_name;
	unsigned int bits;
	uint64_t count;
	uint32_t seed;
	struct hf_dnode *orphans;
};

int hf_dirs_init(struct hf_dirtable *d);
void hf_dirs_fini(struct hf_dirtable *d);
struct hf_dnode *hf_dirs_find(const struct hf_dirtable *d, const struct hf_fh *fh);
struct hf_dnode *hf_dirs_child(const struct hf_dirtable *d, const struct hf_dnode *parent,
			       const char *name);
/** hf_dirs_new() - a node that is nowhere yet; NULL when out of memory */
struct hf_dnode *hf_dirs_new(struct hf_dirtable *d, const struct hf_fh *fh);
/** hf_dirs_attach() - @n is @name in @parent now, wherever it was; what was known
 *  by that name becomes an orphan. -ELOOP when @parent lies below @n, -ENOMEM. */
int hf_dirs_attach(struct hf_dirtable *d, struct hf_dnode *n, struct hf_dnode *parent,
		   const char *name);
/** hf_dirs_detach() - @n is not where it was: a root or an orphan */
void hf_dirs_detach(struct hf_dirtable *d, struct hf_dnode *n);
/** hf_dirs_free() - remove @n, which has no children */
void hf_dirs_free(struct hf_dirtable *d, struct hf_dnode *n);
/** hf_dirs_next() - the tree below @root in preorder; start with @n = @root, NULL at its end */
struct hf_dnode *hf_dirs_next(const struct hf_dnode *root, struct hf_dnode *n);

#endif
