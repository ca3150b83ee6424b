/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The dirty set of one tree: which names have changed and nobody has
 * acknowledged. A data structure: it knows no source of events, no file and no
 * lock; the caller serializes all calls for a set.
 *
 * One entry for each name however often it was written. Every change takes a
 * number from a counter that all sets of a tracker share. The set is bounded:
 * beyond the bound, or when memory runs out, entries are replaced by a "scan
 * this subtree" of the directory they lie in, up to the root: the set gets
 * coarser, never smaller, and a change of that kind can not fail (P2).
 */
#ifndef HF_DIRTY_H
#define HF_DIRTY_H

#include <stdatomic.h>
#include "track.h"

struct hf_who {
	pid_t pid;		/* 0 unknown */
	uid_t uid, login;	/* login: of the session; -1 unknown */
	char comm[16];
};

struct hf_dirty_ent;

struct hf_dirtyset {
	_Atomic uint64_t *seq;
	uint64_t last;			/* newest number that was given out to this set */
	uint64_t next_id;
	uint64_t count, max;
	struct hf_dirty_ent *first, *tail;	/* by first_ns */
	struct hf_dirty_ent **by_rel, **by_id;
	unsigned int bits;
	struct hf_dirty_ent *root;	/* of "", allocated ahead; linked when dirty */
};

/** hf_dset_init() - an empty set of at most @max entries (0: 16384) that takes
 *  its numbers from @seq; -ENOMEM */
int hf_dset_init(struct hf_dirtyset *s, _Atomic uint64_t *seq, uint64_t max);
void hf_dset_fini(struct hf_dirtyset *s);

/** hf_dset_soil() - @rel has changed
 *  @set, @clear: HF_DIRTY_* bits; SUBTREE is never cleared but by an acknowledgement
 *  @who: NULL when unknown */
void hf_dset_soil(struct hf_dirtyset *s, const char *rel, unsigned int set,
		  unsigned int clear, const struct hf_who *who);

/** hf_dset_ack() - forget entry @id unless it changed after @seq; whether it was forgotten */
bool hf_dset_ack(struct hf_dirtyset *s, uint64_t id, uint64_t seq);

/** hf_dset_snapshot() - a copy of all entries, oldest first, names included
 *  @out: one block, free(); NULL when there are none */
int hf_dset_snapshot(const struct hf_dirtyset *s, struct hf_dirty **out, size_t *n);

/** hf_dset_oldest() - first_ns of the oldest entry, 0 when clean */
uint64_t hf_dset_oldest(const struct hf_dirtyset *s);

#endif
