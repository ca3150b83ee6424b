/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What capturing an entry (capture.c), many of them by name (capture_names.c) and files with several names
 * (capture_links.c) share. */
#ifndef HF_CAPTURE_INT_H
#define HF_CAPTURE_INT_H

#include "tree_int.h"

struct capture {
	struct hf_tree *t;
	const struct hf_tree_db *db;
	struct hf_capture_stat *st;
	struct hf_err *err;
	bool full;
	bool by_name;		/* not in the course of a scan */
	bool whole;		/* in the course of one of the whole tree, which began */
	uint64_t since;		/* then */
	bool relink;		/* what is captured is a name of file @link, whatever was known */
	uint64_t link;
	uint8_t *buf;		/* HF_SMALL and one more: a file that grew is noticed */
	uint8_t *again;		/* for the second reading; made when first needed */
	int db_err;		/* what the generation said; never taken for the file's own errno */
};

int hf_cap_begin(struct capture *c, struct hf_tree *t, const struct hf_tree_db *db, struct hf_capture_stat *st,
		 struct hf_err *err);
void hf_cap_end(struct capture *c);
int hf_cap_del(struct capture *c, const char *rel);		/* it is gone */
int hf_cap_pair(void *ctx, const struct hf_pair *p);		/* for hf_merge() */
/** hf_cap_entry() - what @pair says is in the tree; it may be something else by now, or gone */
int hf_cap_entry(struct capture *c, const struct hf_pair *pair);
/** hf_cap_above() - the directories above @rel that are not known */
int hf_cap_above(struct capture *c, struct hf_dircur *cur, const char *rel);
/** hf_cap_link() - hf_attr.link for a local file that was just looked at; that a name was another's before */
int hf_cap_link(struct capture *c, const struct hf_pair *p, const struct statx *stx, uint64_t *id);
/** hf_cap_lost() - a name that is known is gone, or with @stx is another file now */
int hf_cap_lost(struct capture *c, const struct hf_known *k, const struct statx *stx);
/** hf_cap_links() - all names of the files that were touched are up to date, and known to be one file */
int hf_cap_links(struct capture *c);

#endif
