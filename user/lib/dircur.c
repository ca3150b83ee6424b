// SPDX-License-Identifier: LGPL-2.1-or-later
/* A cursor over the directories of a tree: those on the way to the last one stay open. */
#include "tree_int.h"
#include <stdlib.h>
#include <unistd.h>

#define KEEP_OPEN 48	/* directories of one path; those above are opened again when needed */

int hf_dircur_init(struct hf_dircur *c, struct hf_tree *t)
{
	memset(c, 0, sizeof(*c));
	c->t = t;
	c->cap = 256;
	c->lvcap = 16;
	c->path = malloc(c->cap);
	c->lv = malloc(c->lvcap * sizeof(*c->lv));
	if (!c->path || !c->lv)
		return -ENOMEM;
	c->path[0] = 0;
	c->lv[0].len = 0;
	c->lv[0].fd = t->root;
	return 0;
}

static void pop_to(struct hf_dircur *c, unsigned depth)
{
	for (; c->depth > depth; c->depth--)
		if (c->lv[c->depth].fd >= 0)
			close(c->lv[c->depth].fd);
	c->len = c->lv[c->depth].len;
	c->path[c->len] = 0;
}

void hf_dircur_reset(struct hf_dircur *c)
{
	if (c->lv && c->path)
		pop_to(c, 0);
}

void hf_dircur_free(struct hf_dircur *c)
{
	hf_dircur_reset(c);
	free(c->lv);
	free(c->path);
	c->lv = NULL;
	c->path = NULL;
}

static int open_level(struct hf_dircur *c, int up, const char *name)
{
	int fd = hf_tree_openat(up, name, O_RDONLY | O_DIRECTORY | O_NOATIME);

	return fd == -EPERM ? hf_tree_openat(up, name, O_RDONLY | O_DIRECTORY) : fd;
}

static int push(struct hf_dircur *c, const char *comp, size_t n)
{
	int fd;

	if (c->len + n + 2 > c->cap) {
		size_t cap = 2 * (c->len + n + 2);
		char *p = realloc(c->path, cap);

		if (!p)
			return -ENOMEM;
		c->path = p;
		c->cap = cap;
	}
	if (c->depth + 1 == c->lvcap) {
		void *p = realloc(c->lv, 2 * c->lvcap * sizeof(*c->lv));

		if (!p)
			return -ENOMEM;
		c->lv = p;
		c->lvcap *= 2;
	}
	size_t at = c->len ? c->len + 1 : 0;

	memcpy(c->path + at, comp, n);
	c->path[at + n] = 0;
	fd = open_level(c, c->lv[c->depth].fd, c->path + at);
	if (fd < 0) {
		c->path[c->len] = 0;
		return fd;
	}
	if (c->len)
		c->path[c->len] = '/';
	c->len = at + n;
	c->depth++;
	c->lv[c->depth].len = c->len;
	c->lv[c->depth].fd = fd;
	if (c->depth > KEEP_OPEN) {
		int *old = &c->lv[c->depth - KEEP_OPEN].fd;

		if (*old >= 0)
			close(*old);
		*old = -1;
	}
	return 0;
}

/* the deepest level may have been closed while the cursor was deeper */
static int reopen_top(struct hf_dircur *c)
{
	unsigned want = c->depth, d = want;
	char *path;
	int ret = 0;

	while (c->lv[d].fd < 0)
		d--;		/* the root stays open */
	if (d == want)
		return 0;
	path = strdup(c->path);
	if (!path)
		return -ENOMEM;
	size_t *ends = malloc((want + 1) * sizeof(*ends));

	if (!ends) {
		free(path);
		return -ENOMEM;
	}
	for (unsigned i = 0; i <= want; i++)
		ends[i] = c->lv[i].len;
	pop_to(c, d);
	for (unsigned i = d + 1; !ret && i <= want; i++) {
		size_t at = ends[i - 1] ? ends[i - 1] + 1 : 0;

		ret = push(c, path + at, ends[i] - at);
	}
	free(ends);
	free(path);
	return ret;
}

int hf_dircur_get(struct hf_dircur *c, const char *rel, size_t len)
{
	unsigned d = 0;
	int ret;

	if (len == c->len && !memcmp(c->path, rel, len))
		d = c->depth;
	else
		for (; d < c->depth; d++) {
			size_t n = c->lv[d + 1].len;

			if (n > len || memcmp(c->path, rel, n) || (n < len && rel[n] != '/'))
				break;
		}
	pop_to(c, d);
	ret = reopen_top(c);
	while (!ret && c->len < len) {
		const char *comp = rel + (c->len ? c->len + 1 : 0);
		size_t n = 0;

		while (comp + n < rel + len && comp[n] != '/')
			n++;
		ret = push(c, comp, n);
	}
	return ret ? ret : c->lv[c->depth].fd;
}

int hf_dircur_parent(struct hf_dircur *c, const char *rel, const char **name)
{
	const char *s = strrchr(rel, '/');

	*name = s ? s + 1 : rel;
	return hf_dircur_get(c, rel, s ? s - rel : 0);
}
