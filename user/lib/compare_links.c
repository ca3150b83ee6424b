// SPDX-License-Identifier: LGPL-2.1-or-later
/* Which names are one file, in the tree and in the generation; and what makes the former the latter. */
#include "tree_int.h"
#include <stdlib.h>
#include <sys/sysmacros.h>

struct hf_lname *hf_lnames_add(struct hf_lnames *s, const char *rel, uint64_t link, const struct statx *stx)
{
	struct hf_lname *e;

	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 64;

		e = realloc(s->e, cap * sizeof(*e));
		if (!e)
			return NULL;
		s->e = e;
		s->cap = cap;
	}
	e = &s->e[s->n];
	memset(e, 0, sizeof(*e));
	e->rel = strdup(rel);
	if (!e->rel)
		return NULL;
	e->link = link;
	if (stx) {
		e->dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);
		e->nlink = stx->stx_nlink;
		hf_look(&e->seen, stx);
	}
	e->at = s->n++;
	return e;
}

void hf_lnames_free(struct hf_lnames *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->e[i].rel);
	free(s->e);
	memset(s, 0, sizeof(*s));
}

static int by_inode(const void *a, const void *b)
{
	const struct hf_lname *x = *(struct hf_lname *const *)a, *y = *(struct hf_lname *const *)b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->seen.ino < y->seen.ino ? -1 : x->seen.ino > y->seen.ino;
}

static int by_link(const void *a, const void *b)
{
	const struct hf_lname *x = *(struct hf_lname *const *)a, *y = *(struct hf_lname *const *)b;

	if (x->link != y->link)
		return x->link < y->link ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

/* an inode, and whose it is going to be: the first in the array of those that share it tells */
static bool taken(const struct hf_lname *e, const struct hf_lname *group)
{
	return e->inode->owner && e->inode->owner != group;
}

/* how many of the @n names from @g on are of @e's inode */
static size_t on_inode(struct hf_lname *const *g, size_t n, const struct hf_lname *e)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++)
		k += g[i]->there && g[i]->inode == e->inode;
	return k;
}

/* the names @g[0..n) are one file in the generation */
static void resolve(struct hf_lname **g, size_t n)
{
	struct hf_lname *home = NULL, *lead = NULL;
	bool meta = false;

	for (size_t i = 0; i < n && !home; i++)
		if (g[i]->there && g[i]->equal && !taken(g[i], g[0]))
			home = g[i];
	/* attributes can be set in place if nobody else sees it */
	for (size_t i = 0; i < n && !home && n > 1; i++)
		if (g[i]->there && g[i]->meta && !taken(g[i], g[0]) && on_inode(g, n, g[i]) == g[i]->nlink) {
			home = g[i];
			meta = true;
		}
	if (home) {
		lead = home;
		home->inode->owner = g[0];
	}
	for (size_t i = 0; i < n && !lead; i++)
		if (!g[i]->late)
			lead = g[i];
	if (!lead)
		lead = g[0];
	for (size_t i = 0; i < n; i++) {
		bool at_home = home && g[i]->there && g[i]->inode == home->inode;

		g[i]->lead = lead;
		g[i]->verdict = at_home ? (!meta ? HF_LN_RIGHT : g[i] == lead ? HF_LN_META : HF_LN_RIGHT) :
				g[i] == lead ? HF_LN_WRITE : HF_LN_LINK;
	}
}

int hf_lnames_resolve(struct hf_lnames *s)
{
	struct hf_lname **v;

	if (!s->n)
		return 0;
	v = malloc(s->n * sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < s->n; i++)
		v[i] = &s->e[i];
	qsort(v, s->n, sizeof(*v), by_inode);
	for (size_t i = 0; i < s->n; i++)
		v[i]->inode = i && !by_inode(&v[i - 1], &v[i]) ? v[i - 1]->inode : v[i];
	qsort(v, s->n, sizeof(*v), by_link);
	for (size_t i = 0, n; i < s->n; i += n) {
		for (n = 1; v[i]->link && i + n < s->n && v[i + n]->link == v[i]->link; n++)
			;
		resolve(v + i, n);
	}
	free(v);
	return 0;
}
