/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this node is doing with a resource, as it must be known after a crash. */
#ifndef HFD_JOURNAL_H
#define HFD_JOURNAL_H

#include "base.h"

enum journal_state {
	JR_NONE,		/* nothing: offline here */
	JR_CLAIMING,		/* a claim may be ours; if it is, the trees may be between two states: restore */
	JR_RESTORING,		/* the claim is ours, the trees are between two states */
	JR_ONLINE,		/* the local trees are the truth */
	JR_UNRELEASED,		/* stopped while the store was out of reach */
	JR_STALE,		/* fenced out; what is here was not compared yet */
};

struct journal {
	enum journal_state state;
	uint8_t uuid[16];	/* of the resource's log */
	uint64_t epoch;
	uint64_t generation;	/* confirmed, or being restored */
	bool rebooted;		/* read: written before this machine booted; what was only in memory is gone */
	bool torn;		/* unreleased, and not restored since the machine went down: not to be captured */
	bool synced;		/* unreleased: what the trees had was on their disks before that was written */
	bool without_store;
	uint64_t tracked;	/* hf_watch_id() up to which trees of it were captured as a whole */
	bool strict_stop;	/* the policy, as it was when this was written */
	uint64_t whole;		/* epoch of this node whose newest state the trees were, in this boot; 0 not known */
	bool anew;		/* ... or whichever follows: a log is begun anew from them (rebuild.c) */
	bool released;		/* without the store: @epoch is the newest that was seen, and had ended */
	/* what a fenced-out owner held, for status; count 0 and no id: nothing */
	bool has_unconfirmed;
	uint64_t unc_generation, unc_count;
#define UNC_IDS 1024
	char unc_displaced[UNC_IDS];	/* names of sets, one for each checkpoint */
	bool half;		/* a restore into the trees began here, or may have, and did not end */
	/* stopped and released, with changes that could not be committed */
	bool has_left;
	uint64_t left_generation;
	char left_why[256];
};

void boot_id(char id[37]);		/* of this boot of the machine */
int journal_write(const char *resource, const struct journal *j);
/** journal_read() - -ENOENT: nothing; -EBADMSG: not readable as a journal */
int journal_read(const char *resource, struct journal *j);
int journal_remove(const char *resource);
/** journal_each() - names of all resources that have one */
int journal_each(void (*fn)(const char *resource));

#endif
