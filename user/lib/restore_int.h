/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What planning a restore (restore.c) and writing one entry (restore_write.c) share. */
#ifndef HF_RESTORE_INT_H
#define HF_RESTORE_INT_H

#include "tree_int.h"

enum op {
	OP_NONE,		/* only listed: a directory whose attributes are right so far */
	OP_LEFTOVER,
	OP_MKDIR,
	OP_WRITE,
	OP_META,
	OP_REMOVE,
	OP_LATE,		/* a directory becomes something else, once it is empty */
};

/* how something looked: the local entry when it was compared, or when it was written */
struct look {
	uint64_t ino, ctime, size;
	uint32_t mode;
};

struct item {
	char *rel;
	enum op op;
	bool keep, done;
	struct look seen;
};

struct list {
	struct item *e;
	size_t n, cap;
};

struct restore {
	struct hf_tree *t;
	const struct hf_tree_db *db;
	const struct hf_restore_opts *o;
	struct hf_restore_stat *st;
	struct hf_err *err;
	struct hf_dircur cur;
	struct list items, dirs;
	uint8_t *buf;
	bool changed, unsure;	/* unsure: equal by contents, not known to be durable */
	uint64_t steps;
};

void hf_look(struct look *l, const struct statx *s);
bool hf_looks_same(const struct look *l, const struct statx *s);
int hf_rst_fail(struct restore *r, int ret, const char *what, const char *rel);
/** hf_rst_fail_at() - the same; EPERM to root has one usual reason, and says so */
int hf_rst_fail_at(struct restore *r, int ret, const char *what, int dirfd, const char *name,
		   const char *rel);
/** hf_rst_settled() - out of date, not changed here (hf_restore_opts.settled) */
bool hf_rst_settled(struct restore *r, const char *rel, const struct statx *stx);
int hf_rst_keep(struct restore *r, const char *rel);
int hf_rst_keep_flush(struct restore *r);
/** hf_rst_keep_late() - keep @it aside again if it is not what was kept */
int hf_rst_keep_late(struct restore *r, const struct item *it, int dirfd, const char *name);
/** hf_rst_wanted() - the attributes that the generation has for @rel */
int hf_rst_wanted(struct restore *r, const char *rel, struct hf_attr *want);
/** hf_rst_write() - an entry with OP_LEFTOVER, OP_MKDIR, OP_WRITE or OP_META */
int hf_rst_write(struct restore *r, struct item *it);

#endif
