/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A mirror: the names of a tree, and what lstat() said of them last.
 */
#ifndef STORM_MIRROR_H
#define STORM_MIRROR_H

#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SHOWN 12

struct node {
	struct node *next, *below;
	struct stat st;
	char target[32];
	char name[];
};

static struct node **slot(struct node *dir, const char *name, size_t len)
{
	struct node **p = &dir->below;

	while (*p && (strncmp((*p)->name, name, len) || (*p)->name[len]))
		p = &(*p)->next;
	return p;
}

static void drop(struct node **p)
{
	struct node *n = *p;

	if (!n)
		return;
	*p = n->next;
	while (n->below)
		drop(&n->below);
	free(n);
}

static size_t count(const struct node *n, bool dirs)
{
	size_t c = !dirs || S_ISDIR(n->st.st_mode);

	for (const struct node *b = n->below; b; b = b->next)
		c += count(b, dirs);
	return c;
}

static void show(const char *path, const char *what, const struct node *n)
{
	printf("# %s %s: mode %o inode %lu size %lld mtime %lld.%09ld%s%s\n", path, what,
	       n->st.st_mode, (unsigned long)n->st.st_ino, (long long)n->st.st_size,
	       (long long)n->st.st_mtim.tv_sec, n->st.st_mtim.tv_nsec, *n->target ? " to " : "",
	       n->target);
}

static bool same(const struct node *a, const struct node *b)
{
	return a->st.st_ino == b->st.st_ino && a->st.st_mode == b->st.st_mode &&
	       (S_ISDIR(a->st.st_mode) || a->st.st_size == b->st.st_size) &&
	       a->st.st_mtim.tv_sec == b->st.st_mtim.tv_sec &&
	       a->st.st_mtim.tv_nsec == b->st.st_mtim.tv_nsec && !strcmp(a->target, b->target);
}

/* How many; @bad were found before. The first ones are shown. */
static unsigned int differ(const char *path, struct node *mirror, struct node *there,
			   unsigned int bad)
{
	char below[PATH_MAX];
	struct node *n, *o;

	if (!same(mirror, there) && bad++ < SHOWN) {
		show(path, "mirrored", mirror);
		show(path, "there", there);
	}
	for (n = there->below; n; n = n->next) {
		snprintf(below, sizeof(below), "%s/%s", path, n->name);
		o = *slot(mirror, n->name, strlen(n->name));
		if (o)
			bad = differ(below, o, n, bad);
		else if (bad++ < SHOWN)
			show(below, "missed", n);
	}
	for (o = mirror->below; o; o = o->next) {
		snprintf(below, sizeof(below), "%s/%s", path, o->name);
		if (!*slot(there, o->name, strlen(o->name)) && bad++ < SHOWN)
			show(below, "not there", o);
	}
	return bad;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	remove(path);
	return 0;
}

static void remove_all(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
