/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the dirty set to a confirmed generation. */
#ifndef HFD_REPLICATOR_H
#define HFD_REPLICATOR_H

#include "resource.h"

struct rep {
	/* in */
	bool scan;		/* compare the whole trees as well */
	bool full;		/* contents too */
	bool confirm;		/* read the row even when nothing is new */
	bool strict;		/* what could not be captured is a failure */
	bool allow_delete;
	bool waits;		/* nobody waits for it: it may be put off while a deletion goes on */
	uint64_t patience_ms;	/* how long to wait for a cut; 0: five rounds */
	const char *note;
	struct group *group;	/* one cut with others (group.c): it, or nothing; NULL none */
	unsigned member;
	/* out */
	uint64_t gen;
	bool consistent, committed;
	bool unsettled;		/* something stayed dirty: try again */
	bool urgent;		/* some of it was complete when it was captured */
};

/**
 * replicate() - capture, commit, confirm, acknowledge
 *
 * Return: 0; -ESTALE: fenced out (the caller steps down); -EBUSY with
 * HF_REFUSED: the delete-guard holds the commit back; -EINPROGRESS: it puts it
 * off, with rep.waits; else the store's or the tree's failure. The dirty set is only acknowledged when it returns 0.
 */
int replicate(struct resource *r, struct rep *a, struct hf_err *err);
void replicator_run(struct resource *r);			/* what is due, from the worker */
uint64_t replicator_due(struct resource *r, uint64_t now);	/* with r->lock held */
int job_sync(struct resource *r, struct job *j);
int not_here(struct resource *r, struct hf_err *err);	/* why it cannot be synchronised */
/* history pin and unpin */
int job_pin(struct resource *r, struct job *j);
int job_flush(struct resource *r, struct job *j);	/* before the daemon ends */
void replicator_reset(struct resource *r);		/* a new term begins */
/* a resource that was brought online without the store: claim it; -ESTALE: another had it */
int rejoin(struct resource *r, struct hf_err *err);
bool owned_meanwhile(const struct resource *r, const struct hf_log_stat *st);
/* the log, claimed anew by its own owner after a failed write */
int reclaim(struct resource *r, struct hf_err *err);

/* Which failures of the store leave the log unfit for another append. */
bool breaks_log(int ret);
/* @gen is confirmed: what it is about is told to those who watch */
void published(struct resource *r, uint64_t gen, bool consistent, bool committed, uint64_t puts, uint64_t dels,
	       uint64_t ms, const char *note);
/* the area is full: a base here, and everybody else's history of what can be spared */
int make_room(struct resource *r, struct hf_err *err);	/* -ESTALE: the caller steps down */

/* guard.c: before a commit; -EBUSY and -EINPROGRESS as above */
int guard_look(struct resource *r, const struct rep *a, struct hf_err *err);
uint64_t guard_pause(struct resource *r);	/* ms until it is looked at again */

/* patterns.c */
struct cut;
/* at the beginning of a transaction: entries go that are excluded now and were not */
int patterns_begin(struct resource *r, struct hf_err *err);
/* at its end, into it: what is excluded; @noted: that is news */
int patterns_note(struct resource *r, bool *noted, struct hf_err *err);
bool patterns_changed(struct resource *r);	/* the log has other ones than those in force */
/* 1: @c goes by those of @cp from now on; 0: it does already */
int patterns_replace(struct resource *r, struct ckpt *c, const struct hf_checkpoint *cp);

/* capture.c */
struct noted {
	unsigned cp;
	uint64_t id, seq;
	char *rel;
	unsigned flags;
	bool todo, stuck, failed;
	bool twice;		/* of a blind tree: was read before */
	pid_t pid;
	uid_t uid, login;
	char comm[16];
};
struct cut {
	struct noted *v;
	size_t n, sorted, cap;
	bool oom;
	uint64_t unstable;	/* files that did not hold still */
	uint64_t moved;		/* names of blind trees that were not the same twice */
	bool mapped;		/* something may change without a sign */
	bool settled;
	bool gone;		/* it failed because a root went away meanwhile: nothing of it may be committed */
	int tree_ret;		/* first failure of a tree, when not strict */
	struct hf_err tree_err;
};
int capture_cut(struct resource *r, struct rep *a, struct cut *c, struct hf_err *err);

/* For how long a cut is tried for; all zero before rounds_begin() */
enum verdict { ROUND_AGAIN, ROUND_SETTLED, ROUND_ENOUGH };
struct rounds { unsigned n, tries, pause_ms; uint64_t until, burst, from, took; };
void rounds_begin(struct rounds *t, uint64_t patience_ms);
enum verdict rounds_look(struct rounds *t, bool still);	/* @still: nothing moved since the last one; before another one pause_ms */
void rounds_worked(struct rounds *t, size_t work);
void cut_ack(struct resource *r, struct cut *c);
void cut_free(struct cut *c);

/* who.c: "root (login bob): vim[4711]" */
void who_name(uid_t uid, uid_t login, pid_t pid, const char *comm, char out[128]);
/* why, and who changed what, as much as fits */
void who_note(const struct resource *r, const struct cut *c, const char *why, char out[128]);

#endif
