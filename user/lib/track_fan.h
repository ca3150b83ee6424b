/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside the fanotify source: track_fanotify.c reads events and soils,
 * track_marks.c keeps marks and the table of directories like the real trees.
 * Everything here is under t->lock, but for `scan`.
 */
#ifndef HF_TRACK_FAN_H
#define HF_TRACK_FAN_H

#include "track_int.h"

struct fan_watch {
	struct hf_watch base;
	struct fan_watch *node_next;	/* node->watches */
	struct hf_dnode *node;		/* of the root; NULL: nothing can be marked, scan only */
	int rootfd;
	char *where;			/* its path when it was added, as the kernel tells it */
	uint64_t fsid, mnt_id;
	bool overlay;
	bool links_tell;		/* which directories have others in them */
	bool path_only;			/* directories can not be opened by handle */
	bool incomplete;		/* not all directories are marked */
	_Atomic bool scan;		/* its quality, as it was when somebody asked last */
	bool skipped;			/* there are mount points below the root */
	bool visible;			/* its mount was in our mount table when it was added */
	bool moved, unmounted;
	unsigned int exclude;
};

struct fan {
	struct hf_track base;
	int fd, mounts_fd;
	pid_t self;
	uint64_t mask;
	unsigned int flags;
	struct hf_dirtable dirs;
	uint32_t walk;
	bool lost_events;		/* the queue overran: believe nothing, look at everything */
	bool rewalk;			/* the table contradicts itself: as above */
	uint64_t retry_at, retry_ms;	/* of marking what could not be marked */
	struct hf_dnode **stack;
	size_t stack_n, stack_cap;
	char *path;
	size_t path_cap;
	struct hf_who who[16];		/* of this drain */
	unsigned int nwho;
	char buf[65536];
};

#define fan_of(t) hf_container(t, struct fan, base)
#define fan_watch_of(w) hf_container(w, struct fan_watch, base)

/** hf_fan_is_temp() - a restore's temporary file: never reported, never followed */
bool hf_fan_is_temp(const char *name);
/** hf_fan_watch_root() - mark the root of @w and, for a tree, all below it; -errno with @err */
int hf_fan_watch_root(struct fan *f, struct fan_watch *w, struct hf_err *err);
void hf_fan_unwatch(struct fan *f, struct fan_watch *w);
/** hf_fan_sync_child() - a directory came, went or moved: make the table agree
 *  with what @name in @n is now, and mark what is new */
void hf_fan_sync_child(struct fan *f, struct hf_dnode *n, const char *name);
/** hf_fan_where() - the path of @fd now; NULL when it can not be told. free() */
char *hf_fan_where(int fd);
/** hf_fan_walk() - mark and re-read everything at and below @n */
void hf_fan_walk(struct fan *f, struct hf_dnode *n);
/** hf_fan_reap() - forget the directories that did not turn up again */
void hf_fan_reap(struct fan *f, struct fan_watch *also);
/** hf_fan_mounts() - look whether mounts have changed, at most one system call if not */
void hf_fan_mounts(struct fan *f);

#endif
