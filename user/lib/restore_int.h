/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What planning a restore (restore.c) and writing one entry (restore_write.c) share. */
#ifndef HF_RESTORE_INT_H
#define HF_RESTORE_INT_H

#include "tree_int.h"
#include <pthread.h>

enum op {
	OP_NONE,		/* only listed: a directory whose attributes are right so far */
	OP_LEFTOVER,
	OP_TIGHTEN,		/* a directory that is there, whose attributes are wrong */
	OP_MKDIR,
	OP_WRITE,
	OP_META,
	OP_REMOVE,
	OP_LINK,		/* becomes a name of another entry's file, when all of those are there */
	OP_LATE,		/* a directory becomes something else, once it is empty */
};

struct item {
	char *rel;
	enum op op;
	bool keep, done;
	size_t nested;		/* of a directory that is to be made: files that are made with it */
	struct hf_look seen;
	/* of a name whose file has others: */
	char *to;		/* the one to link to, */
	size_t lead;		/* its item, if it has one (else SIZE_MAX), */
	uint64_t ino;		/* or what it was when it was compared */
	uint32_t names;		/* to be set in place: as many names must be seen */
};

struct list {
	struct item *e;
	size_t n, cap;
};

struct hf_fetch;
struct hf_content {		/* what a file is to be, all of it */
	struct hf_attr want;
	uint8_t *data;
	size_t len;
	bool whole;		/* else it is none */
};

struct restore {
	struct hf_tree *t;
	const struct hf_tree_db *db;
	const struct hf_restore_opts *o;
	struct hf_restore_stat *st;
	struct hf_err *err;
	struct hf_dircur cur, other;	/* other: of the file that is linked to */
	struct list items, dirs;
	struct hf_lnames links;
	struct hf_holds holds;
	uint8_t *buf;
	bool changed, unsure;	/* unsure: equal by contents, not known to be durable */
	uint64_t steps;
	struct hf_fetch *fetch;		/* reads what is to be written; NULL: nobody does */
	struct hf_early *early;		/* syncs what was written first; NULL: nobody does */
	struct hf_content *content;	/* of what is written now, if it was read already */
	bool no_nameless;	/* O_TMPFILE is not to be had */
	size_t *order;		/* of the items, in which they are written */
	size_t used_up;		/* so many of the next contents were read ahead, and are gone */
	bool no_nest;		/* a directory cannot be given its name so that nothing is overwritten */
	mode_t umask;		/* bits that new files may lack */
	/* a new file in the directory that an entry named so far lies in; no mode: it must be looked at */
	const char *born_in;
	size_t born_len;
	struct statx born;
};

int hf_rst_fail(struct restore *r, int ret, const char *what, const char *rel);
/** hf_rst_fail_at() - the same; EPERM to root has one usual reason, and says so */
int hf_rst_fail_at(struct restore *r, int ret, const char *what, int dirfd, const char *name,
		   const char *rel);
/** hf_rst_settled() - out of date, not changed here (hf_restore_opts.settled) */
bool hf_rst_settled(struct restore *r, const char *rel, const struct statx *stx);
int hf_rst_keep(struct restore *r, const char *rel);
void hf_rst_keep_flush(struct restore *r);
/** hf_rst_keep_late() - keep @it aside again if it is not what was kept */
int hf_rst_keep_late(struct restore *r, const struct item *it, int dirfd, const char *name);
/** hf_rst_wanted() - the attributes that the generation has for @rel */
int hf_rst_wanted(struct restore *r, const char *rel, struct hf_attr *want);
/** hf_rst_write() - an entry with OP_LEFTOVER, OP_TIGHTEN, OP_MKDIR, OP_WRITE, OP_META or OP_LINK */
int hf_rst_write(struct restore *r, struct item *it);

/** hf_early_step() - @done of the items are; in the middle of many their syncing begins */
void hf_early_step(struct restore *r, size_t done);
void hf_early_end(struct restore *r);

/** hf_rst_step() - progress; -ECANCELED */
int hf_rst_step(struct restore *r);
/** hf_rst_write_in() - OP_WRITE of a file that is not there, as @name in a directory that nobody sees yet */
int hf_rst_write_in(struct restore *r, struct item *it, int dirfd, const char *name);
void hf_tmp_name_make(const struct hf_tree *t, char out[HF_TMP_LEN + 1]);

/* restore_nest.c */
/** hf_nest_order() - r->order: leftovers; then files right behind the directory that they are made with */
int hf_nest_order(struct restore *r);
/** hf_nest_write() - directory @dir with its files @v; 1: not so, but one by one */
int hf_nest_write(struct restore *r, struct item *dir, const size_t *v);
/** hf_nest_remove() - what a restore that was killed left of one; anybody else's stays */
int hf_nest_remove(struct hf_tree *t, int dirfd, const char *tmp);

/* restore_read.c */
/** hf_fetch_begin() - read the contents of the items with OP_WRITE, in their order; NULL: they are few */
struct hf_fetch *hf_fetch_begin(struct restore *r);
/** hf_fetch_next() - those of the next one, the caller's until hf_fetch_done(); NULL: to be read by the caller */
struct hf_content *hf_fetch_next(struct hf_fetch *f);
void hf_fetch_done(struct hf_fetch *f);
void hf_fetch_end(struct hf_fetch *f);
/** hf_fetch_lock() - for the caller's own use of the database meanwhile */
void hf_fetch_lock(struct hf_fetch *f);
void hf_fetch_unlock(struct hf_fetch *f);

#endif
