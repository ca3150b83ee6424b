/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files of a tree that have several names: what was seen of them so far. Hints:
 * whoever uses a name looks again whether it still is one of that file.
 */
#ifndef HF_LINKS_H
#define HF_LINKS_H

#include <stdbool.h>
#include <stdint.h>

struct hf_links_file {
	struct hf_links_file *next, *id_next;	/* hash chains */
	uint64_t dev, ino;
	uint64_t nlink;			/* when last seen */
	uint64_t ctime;			/* when last seen */
	uint64_t outside;		/* names that were not found in the tree */
	struct { uint64_t nlink; unsigned n; } doubt;	/* what a look at the whole tree found while it changed */
	uint64_t id;			/* hf_attr.link; 0: none given */
	char **name;
	unsigned n, cap;
	bool touched;			/* to be settled by the capture that runs */
};
struct hf_links {
	struct hf_links_file **slot, **by_id;
	unsigned count, cap;
	unsigned touched;
	bool failed;			/* a capture did: what it was to settle is not known any more */
	uint64_t *lost;			/* numbers of files that lost a name, whose others are still to be looked at */
	unsigned nlost, lost_cap;
};

struct statx;
/** hf_links_clear() - of what was seen; that names were lost stays */
void hf_links_clear(struct hf_links *l);
void hf_links_free(struct hf_links *l);
/** hf_links_note() - @rel was seen to be a name of that file; NULL: no memory */
struct hf_links_file *hf_links_note(struct hf_links *l, const struct statx *stx, const char *rel);
/** hf_links_single() - a file that may have had several names has no more than one */
void hf_links_single(struct hf_links *l, const struct statx *stx);
/** hf_links_find() - the file with this inode, if it was seen to have several names; NULL */
struct hf_links_file *hf_links_find(const struct hf_links *l, uint64_t dev, uint64_t ino);
void hf_links_drop(struct hf_links_file *f, unsigned i);	/* name @i is none any more */
void hf_links_set_id(struct hf_links *l, struct hf_links_file *f, uint64_t id);
/** hf_links_owner() - the file that has @id; NULL: none */
struct hf_links_file *hf_links_owner(const struct hf_links *l, uint64_t id);
/** hf_links_lose() - the file with @id lost a name; -ENOMEM */
int hf_links_lose(struct hf_links *l, uint64_t id);
/** hf_links_is_lost() - whether a file with @id did, until the next one does; after hf_links_sort_lost() */
bool hf_links_is_lost(const struct hf_links *l, uint64_t id);
void hf_links_sort_lost(struct hf_links *l);
/** hf_links_each() - nonzero from @fn stops; @fn may drop names, and note some */
int hf_links_each(struct hf_links *l, int (*fn)(void *ctx, struct hf_links_file *f), void *ctx);

#endif
