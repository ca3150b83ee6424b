// SPDX-License-Identifier: LGPL-2.1-or-later
/* Files with several names, by device and inode. links.h says what for. */
#include "links.h"
#include "tree_int.h"
#include <stdlib.h>
#include <sys/sysmacros.h>

void hf_links_clear(struct hf_links *l)
{
	for (unsigned i = 0; i < l->cap; i++)
		while (l->slot[i]) {
			struct hf_links_file *f = l->slot[i];

			l->slot[i] = f->next;
			while (f->n)
				free(f->name[--f->n]);
			free(f->name);
			free(f);
		}
	free(l->slot);
	free(l->by_id);
	*l = (struct hf_links){ .lost = l->lost, .nlost = l->nlost, .lost_cap = l->lost_cap };
}

void hf_links_free(struct hf_links *l)
{
	hf_links_clear(l);
	free(l->lost);
}

static struct hf_links_file **find(const struct hf_links *l, uint64_t dev, uint64_t ino)
{
	struct hf_links_file **p = &l->slot[(ino * 0x9e3779b97f4a7c15ull >> 32) & (l->cap - 1)];

	while (*p && ((*p)->ino != ino || (*p)->dev != dev))
		p = &(*p)->next;
	return p;
}

struct hf_links_file *hf_links_find(const struct hf_links *l, uint64_t dev, uint64_t ino)
{
	return l->cap ? *find(l, dev, ino) : NULL;
}

static struct hf_links_file **find_id(const struct hf_links *l, uint64_t id)
{
	struct hf_links_file **p = &l->by_id[id & (l->cap - 1)];

	while (*p && (*p)->id != id)
		p = &(*p)->id_next;
	return p;
}

static bool grow(struct hf_links *l)
{
	struct hf_links n = *l;

	if (l->count < l->cap)
		return true;
	n.cap = l->cap ? 2 * l->cap : 64;
	n.slot = hf_alloc(n.cap * sizeof(*n.slot));
	n.by_id = hf_alloc(n.cap * sizeof(*n.by_id));
	if (!n.slot || !n.by_id) {
		free(n.slot);
		free(n.by_id);
		return l->cap != 0;	/* longer chains are the worst of it */
	}
	for (unsigned i = 0; i < l->cap; i++)
		while (l->slot[i]) {
			struct hf_links_file *f = l->slot[i], **p;

			l->slot[i] = f->next;
			f->next = f->id_next = NULL;
			p = find(&n, f->dev, f->ino);
			*p = f;
			if (f->id)
				*find_id(&n, f->id) = f;
		}
	free(l->slot);
	free(l->by_id);
	*l = n;
	return true;
}

struct hf_links_file *hf_links_note(struct hf_links *l, const struct statx *stx, const char *rel)
{
	uint64_t dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);
	struct hf_links_file **p, *f;

	if (!grow(l))
		return NULL;
	p = find(l, dev, stx->stx_ino);
	f = *p;
	if (!f) {
		f = *p = hf_alloc(sizeof(*f));
		if (!f)
			return NULL;
		f->dev = dev;
		f->ino = stx->stx_ino;
		l->count++;
	}
	f->nlink = stx->stx_nlink;
	f->ctime = hf_ctime_ns(stx);
	if (!f->touched) {
		f->touched = true;
		l->touched++;
	}
	for (unsigned i = f->n; i-- > 0; )
		if (!strcmp(f->name[i], rel))
			return f;
	if (f->n == f->cap) {
		unsigned cap = f->cap ? 2 * f->cap : 2;
		char **name = realloc(f->name, cap * sizeof(*name));

		if (!name)
			return NULL;
		f->name = name;
		f->cap = cap;
	}
	f->name[f->n] = strdup(rel);
	return f->name[f->n++] ? f : (f->n--, NULL);
}

void hf_links_single(struct hf_links *l, const struct statx *stx)
{
	struct hf_links_file *f = hf_links_find(l, makedev(stx->stx_dev_major, stx->stx_dev_minor), stx->stx_ino);

	/* its names stay, since somebody may go through them; no further one lies outside of the tree */
	if (f) {
		f->nlink = stx->stx_nlink;
		f->outside = 0;
	}
}

void hf_links_drop(struct hf_links_file *f, unsigned i)
{
	free(f->name[i]);
	memmove(f->name + i, f->name + i + 1, (--f->n - i) * sizeof(*f->name));
}

void hf_links_set_id(struct hf_links *l, struct hf_links_file *f, uint64_t id)
{
	if (f->id) {
		struct hf_links_file **p = find_id(l, f->id);

		*p = f->id_next;
		f->id_next = NULL;
	}
	f->id = id;
	if (id) {
		f->id_next = l->by_id[id & (l->cap - 1)];
		l->by_id[id & (l->cap - 1)] = f;
	}
}

struct hf_links_file *hf_links_owner(const struct hf_links *l, uint64_t id)
{
	return id && l->cap ? *find_id(l, id) : NULL;
}

int hf_links_lose(struct hf_links *l, uint64_t id)
{
	/* mostly names of one file go one after the other; the rest is found when they are sorted */
	if (l->nlost && l->lost[l->nlost - 1] == id)
		return 0;
	if (l->nlost == l->lost_cap) {
		unsigned cap = l->lost_cap ? 2 * l->lost_cap : 16;
		uint64_t *lost = realloc(l->lost, cap * sizeof(*lost));

		if (!lost)
			return -ENOMEM;
		l->lost = lost;
		l->lost_cap = cap;
	}
	l->lost[l->nlost++] = id;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void hf_links_sort_lost(struct hf_links *l)
{
	if (l->nlost)
		qsort(l->lost, l->nlost, sizeof(*l->lost), by_number);
}

bool hf_links_is_lost(const struct hf_links *l, uint64_t id)
{
	return l->nlost && bsearch(&id, l->lost, l->nlost, sizeof(*l->lost), by_number);
}

int hf_links_each(struct hf_links *l, int (*fn)(void *ctx, struct hf_links_file *f), void *ctx)
{
	int ret = 0;

	for (unsigned i = 0; i < l->cap && !ret; i++)
		for (struct hf_links_file *f = l->slot[i]; f && !ret; f = f->next)
			ret = fn(ctx, f);
	return ret;
}
