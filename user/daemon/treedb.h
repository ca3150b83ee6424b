/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A checkpoint's part of a resource's log, as the tree code wants to see it. */
#ifndef HFD_TREEDB_H
#define HFD_TREEDB_H

#include <stdatomic.h>
#include "crypto.h"
#include "log.h"
#include "tree.h"

#define TREEDB_PREFIX 9		/* "00000001/" */
#define TREEDB_SEEDED '!'	/* marks: captured once */
#define TREEDB_REFUSED '?'	/* could not be captured; the attribute says why */
#define TREEDB_PATTERNS '='	/* what was excluded from the newest generation: a line for each pattern */

struct treedb {
	struct hf_tree_db db;	/* give &t.db to the tree code */
	struct hf_log *log;
	const struct hf_keys *keys;
	char prefix[TREEDB_PREFIX + 1];
	char *key;		/* scratch */
	size_t cap;
	int ret;		/* first failure of the log itself: not the tree's fault */
	struct hf_err err;
	void (*tick)(void *arg);	/* for each entry that is gone through; NULL */
	void *tick_arg;
	atomic_ullong *busy;	/* set while the store is being waited for; may be NULL */
	atomic_ullong *seen;	/* hf_now_ms() when the tree was last gone on with; may be NULL */
};

void treedb_init(struct treedb *t, struct hf_log *log, const struct hf_keys *keys, uint32_t id,
		 atomic_ullong *busy);
/* of few entries that are put contents are made ready while each is waited for */
void treedb_few(struct treedb *t);
void treedb_exit(struct treedb *t);
void treedb_prefix(uint32_t id, char out[TREEDB_PREFIX + 1]);
/* the checkpoint that an entry or a mark belongs to; false when it is none */
bool treedb_key_id(const void *key, uint32_t len, uint32_t *id);
bool treedb_has_any(struct hf_log *log, uint32_t id);
bool treedb_seeded(struct hf_log *log, uint32_t id);	/* some generation had it */
bool treedb_marked(struct hf_log *log, uint32_t id, char mark, struct hf_item *it);	/* @it: may be NULL */
int treedb_mark(struct hf_log *log, uint32_t id, char mark, const char *text, struct hf_err *err);
int treedb_unmark(struct hf_log *log, uint32_t id, char mark);
bool treedb_has_root(struct hf_log *log, uint32_t id);

#endif
