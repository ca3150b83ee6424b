/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tracking: which names of which trees have changed and were not acknowledged.
 * Two sources share this interface: the kernel module and fanotify. Knows
 * neither contents nor stores.
 *
 * A tracker is safe to use from several threads. One thread (or an event loop)
 * calls hf_track_drain() whenever hf_track_fd() is readable; anyone may call it
 * as a barrier.
 */
#ifndef HF_TRACK_H
#define HF_TRACK_H

#include "base.h"

struct hf_track;
struct hf_watch;

/* what an entry of the dirty set covers */
enum {
	HF_DIRTY_SUBTREE = 1,	/* scan everything at and below it */
	HF_DIRTY_OPEN = 2,	/* written, and not closed yet as far as is known */
	HF_DIRTY_MAPPED = 4,	/* may be written at any time without a sign of it; dirty again
				 * when it was acknowledged */
};

struct hf_dirty {
	uint64_t id;		/* of the entry, while it exists */
	uint64_t seq;		/* number of its last change */
	const char *rel;	/* as in tree.h; "" the root */
	unsigned flags;		/* HF_DIRTY_* */
	pid_t pid;		/* who did the last change; 0 unknown */
	uid_t uid, login;	/* login: who that was when he logged in; -1 unknown, none */
	char comm[16];		/* "" unknown */
	uint64_t first_ns;	/* hf_now_ns() when it became dirty */
};

/**
 * hf_track_open() - start tracking
 * @source: "auto", "kernel" or "fanotify". auto takes the module when it is
 *	    loaded, may be used and speaks this version, else fanotify.
 * @consumer: who tracks: an identity of at most 63 bytes that outlives the
 *	    process and nobody else has. The module keeps a tree for it.
 *
 * Return: 0; -ENODEV, -EPERM, -EPROTO (another version) and others, with @err
 */
int hf_track_open(const char *source, const char *consumer, struct hf_track **out, struct hf_err *err);
/** hf_track_close() - ends all watches as hf_track_leave() does */
void hf_track_close(struct hf_track *t);
const char *hf_track_source(const struct hf_track *t);	/* "kernel" or "fanotify" */
const char *hf_track_why(const struct hf_track *t);	/* why "auto" is not the module; else "" */
int hf_track_fd(const struct hf_track *t);

/**
 * hf_track_drain() - barrier: when it returns, every change that had returned
 * before the call is in the dirty set of its tree
 *
 * On loss (a queue overrun) the root of every watch becomes dirty with
 * HF_DIRTY_SUBTREE; nothing is ever silently missed. Calls the watches'
 * notify functions from this thread, without locks held.
 */
int hf_track_drain(struct hf_track *t);

/** typedef hf_notify_fn - the dirty set of a watch grew.
 *  @urgent: a change was completed (close, rename, delete, attributes); false
 *  when a file was only written to and is still open. Must not block. */
typedef void (*hf_notify_fn)(void *arg, bool urgent);

struct hf_track_label {
	const char *resource, *path;	/* of at most 255 and 4095 bytes */
	uint64_t known;		/* hf_watch_id() up to which trees are known to be marked as a whole; 0 none */
};

/**
 * hf_track_add() - track a tree
 * @rootfd: its root directory; duplicated. The tree is this filesystem and this inode.
 * @name: the single file in it, or NULL for all
 * @label: whose tree it is; a tree that the module kept is found by that. NULL: nobody's
 * @notify, @arg: see hf_notify_fn; may be called before this returns
 *
 * Marks first, then scans: when it returns 0 no later change is missed, and
 * what happened before is not reported, unless it is hf_watch_resumed(). Mount
 * points below the root are not entered.
 */
int hf_track_add(struct hf_track *t, int rootfd, const char *name, const struct hf_track_label *label,
		 hf_notify_fn notify, void *arg, struct hf_watch **out, struct hf_err *err);
/** hf_track_del() - stop; the notify function is not running and will not be
 *  called when it returns */
void hf_track_del(struct hf_watch *w);
/** hf_track_leave() - the same, but where the source can it goes on collecting, for
 *  who takes the tree over when this tracker is closed */
void hf_track_leave(struct hf_watch *w);
/** hf_watch_resumed() - the tree was tracked since before hf_track_add(), by a
 *  predecessor that had marked all of it: its dirty set misses nothing */
bool hf_watch_resumed(struct hf_watch *w);
/** hf_watch_id() - what a successor needs to know for that; grows with each tree
 *  that is added. 0: this source keeps nothing */
uint64_t hf_watch_id(struct hf_watch *w);
/** hf_track_left() - whether a predecessor left a tree of @resource with an hf_watch_id() of at
 *  most @known; if not, such numbers may be given out anew and mean nothing */
bool hf_track_left(struct hf_track *t, const char *resource, uint64_t known);
/** hf_track_reap() - forget what predecessors left and no watch took over, but
 *  for resources that @keep wants to keep; called without locks */
int hf_track_reap(struct hf_track *t, bool (*keep)(void *arg, const char *resource), void *arg);

/** hf_watch_seq() - number of the last change that was taken into this dirty
 *  set; drain first. Two equal readings with a drain before each: nothing changed. */
uint64_t hf_watch_seq(struct hf_watch *w);
/** hf_watch_dirty() - call @fn for a snapshot of the entries, oldest first;
 *  no lock is held during the calls; non-zero stops and is returned */
int hf_watch_dirty(struct hf_watch *w, int (*fn)(void *ctx, const struct hf_dirty *d), void *ctx);
uint64_t hf_watch_count(struct hf_watch *w);
uint64_t hf_watch_oldest_ns(struct hf_watch *w);	/* first_ns of the oldest entry; 0: clean */
/** hf_watch_ack() - forget entry @id unless it changed after @seq */
void hf_watch_ack(struct hf_watch *w, uint64_t id, uint64_t seq);
/** hf_watch_ack_flush() - acknowledgements may be gathered: send them now. One
 *  that is not sent leaves its entry dirty, which is harmless. */
void hf_watch_ack_flush(struct hf_watch *w);
/** hf_watch_lost() - the root was unmounted, deleted or moved away; the tree is lost, never empty */
bool hf_watch_lost(struct hf_watch *w);
/** hf_watch_quality() - "events", or "scan" where not all of it could be marked, or
 *  others change the filesystem unheard */
const char *hf_watch_quality(struct hf_watch *w);
uint64_t hf_watch_dirs(struct hf_watch *w);		/* marked directories */

/**
 * hf_watch_exclude_begin() - changes by this process to this tree are a
 * restore's own until hf_watch_exclude_end(); what others change stays dirty
 */
int hf_watch_exclude_begin(struct hf_watch *w);
void hf_watch_exclude_end(struct hf_watch *w);

#endif
