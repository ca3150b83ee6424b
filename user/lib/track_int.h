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
 * @drain, @add, @del, @lost, @quality, @dirs, @exclude: called with t->lock held
 * @add: allocates its own struct that begins with struct hf_watch
 * @del: forget the watch in all own structures and close what it holds open;
 *	 the front frees the memory, later
 *
 * What changed is handed over with hf_watch_taint() and hf_watch_wake().
 */
struct hf_track_ops {
	const char *name;
	int (*open)(unsigned int flags, struct hf_track **out, struct hf_err *err);
	void (*close)(struct hf_track *t);
	int (*fd)(const struct hf_track *t);
	int (*drain)(struct hf_track *t);
	int (*add)(struct hf_track *t, int rootfd, const char *name, struct hf_watch **out,
		   struct hf_err *err);
	void (*del)(struct hf_watch *w);
	bool (*lost)(struct hf_watch *w);
	const char *(*quality)(struct hf_watch *w);
	uint64_t (*dirs)(struct hf_watch *w);
	int (*exclude)(struct hf_watch *w, bool on);
};
extern const struct hf_track_ops hf_track_fanotify;

struct hf_track {
	const struct hf_track_ops *ops;
	_Atomic uint64_t seq;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	struct hf_watch *watches;
	struct hf_watch *wake;		/* whose notify function is to be called */
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
	pthread_mutex_t lock;		/* dirty */
	struct hf_dirtyset dirty;
};

int hf_track_open_ops(const struct hf_track_ops *ops, unsigned int flags, struct hf_track **out,
		      struct hf_err *err);
/** hf_watch_init() - fill in what every watch begins with; -ENOMEM. The front calls hf_watch_fini(). */
int hf_watch_init(struct hf_watch *w, struct hf_track *t, const char *name);
void hf_watch_fini(struct hf_watch *w);
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
