/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of the kernel source: track_kernel.c registers trees and reads the
 * hints, track_pull.c pulls dirty sets and gives acknowledgements back,
 * track_left.c looks at what predecessors left.
 *
 * Locks, in the order they are taken: t->lock; nl.lock, for the time of one
 * request, which may wait for a directory that somebody else holds; w->lock,
 * for a moment. What a status needs is therefore answered from what was learnt
 * last when nl.lock is taken.
 */
#ifndef HF_TRACK_KERN_H
#define HF_TRACK_KERN_H

#include <sys/stat.h>
#include "track_nl.h"

#define HF_KERN_ACKS 256

struct kern {
	struct hf_track base;
	struct hf_nl nl;
	char consumer[64];
	int mounts_fd;
	char *buf;			/* events; under t->lock */
};

/* An entry "scan this subtree" as it was when its directories were marked. */
struct kern_walked {
	uint64_t id, seq;
	bool failed;			/* not all were: the entry must stay */
};

struct kern_ack { uint64_t id, seq; };

struct kern_watch {
	struct hf_watch base;
	char *resource, *path;
	int rootfd;
	struct stat st;			/* of the root */
	bool resumed;
	uint64_t known;
	/* t->lock */
	uint64_t next;			/* number of the next event */
	/* nl.lock */
	uint32_t id;			/* 0: another watch of this process has it */
	unsigned int exclude;
	/* w->lock */
	struct hf_nlmsg now;		/* as learnt last */
	bool gone;			/* the module does not know it any more */
	struct kern_ack acks[HF_KERN_ACKS];
	unsigned int nacks;
	struct kern_walked *walked;
	size_t nwalked;
	bool failed;			/* one of them did */
	/* what no entry of the module stands for: directories that could not be marked when the tree
	 * was added, or that a mount covered. The tree has an entry of its own then, with id 0. */
	bool unmarked, rewalk, skipped, own_dirty;
	uint64_t own_seq, own_ns;
	uint64_t retry_at, retry_ms;	/* of marking */
};

#define kern_of(t) hf_container(t, struct kern, base)
#define kern_watch_of(w) hf_container(w, struct kern_watch, base)

/** hf_kern_look() - ask how the tree is, into w->now
 *  @wait: else -EAGAIN when another request is under way */
int hf_kern_look(struct kern_watch *w, bool wait);
/** hf_kern_soil() - the whole tree is to be scanned; w->lock held */
void hf_kern_soil(struct kern_watch *w);
/** hf_kern_walk_root() - mark everything; what fails is tried again later */
void hf_kern_walk_root(struct kern_watch *w);
int hf_kern_snapshot(struct hf_watch *b, struct hf_dirty **out, size_t *n);
void hf_kern_ack(struct hf_watch *b, uint64_t id, uint64_t seq);
void hf_kern_ack_flush(struct hf_watch *b);
bool hf_kern_left(struct hf_track *t, const char *resource, uint64_t known);
int hf_kern_reap(struct hf_track *t, bool (*keep)(void *arg, const char *resource), void *arg);

#endif
