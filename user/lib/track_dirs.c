// SPDX-License-Identifier: LGPL-2.1-or-later
/* The table of directories of the fanotify source: a data structure, no calls to the system. */
#include "track_int.h"
#include <stdlib.h>
#include <sys/random.h>

#define MIN_BITS 8
#define MAX_BITS 20

static uint32_t mix(uint32_t h, const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n--)
		h = (h ^ *b++) * 16777619u;
	return h ^ (h >> 15);
}

static struct hf_dnode **fh_slot(const struct hf_dirtable *d, uint64_t fsid, int type,
				 const uint8_t *fh, size_t len)
{
	uint32_t h = mix(mix(d->seed, &fsid, sizeof(fsid)), fh, len) + (uint32_t)type;

	return &d->by_fh[h & ((1u << d->bits) - 1)];
}

static struct hf_dnode **name_slot(const struct hf_dirtable *d, const struct hf_dnode *parent,
				   const char *name)
{
	uint32_t h = mix(mix(d->seed, &parent, sizeof(parent)), name, strlen(name));

	return &d->by_name[h & ((1u << d->bits) - 1)];
}

int hf_dirs_init(struct hf_dirtable *d)
{
	memset(d, 0, sizeof(*d));
	d->bits = MIN_BITS;
	d->by_fh = hf_alloc(sizeof(*d->by_fh) << d->bits);
	d->by_name = hf_alloc(sizeof(*d->by_name) << d->bits);
	if (!d->by_fh || !d->by_name) {
		hf_dirs_fini(d);
		return -ENOMEM;
	}
	/* whoever may write to a tree chooses names: no one long chain for them */
	if (getrandom(&d->seed, sizeof(d->seed), GRND_NONBLOCK) != sizeof(d->seed))
		d->seed = (uint32_t)hf_now_ns();
	return 0;
}

void hf_dirs_fini(struct hf_dirtable *d)
{
	struct hf_dnode *n, *next;
	size_t i;

	for (i = 0; d->by_fh && i < (size_t)1 << d->bits; i++) {
		for (n = d->by_fh[i]; n; n = next) {
			next = n->fh_next;
			free(n->name);
			free(n);
		}
	}
	free(d->by_fh);
	free(d->by_name);
	memset(d, 0, sizeof(*d));
}

/* Longer chains are the worst that failing here does. */
static void grow(struct hf_dirtable *d)
{
	struct hf_dnode **fh, **name, **old = d->by_fh, **slot, *n, *next;
	size_t i, was = (size_t)1 << d->bits;

	if (d->count < was || d->bits >= MAX_BITS)
		return;
	fh = hf_alloc(sizeof(*fh) * was * 2);
	name = hf_alloc(sizeof(*name) * was * 2);
	if (!fh || !name) {
		free(fh);
		free(name);
		return;
	}
	free(d->by_name);
	d->by_fh = fh;
	d->by_name = name;
	d->bits++;
	for (i = 0; i < was; i++) {
		for (n = old[i]; n; n = next) {
			next = n->fh_next;
			slot = fh_slot(d, n->fsid, n->type, n->fh, n->len);
			n->fh_next = *slot;
			*slot = n;
			if (!n->parent)
				continue;
			slot = name_slot(d, n->parent, n->name);
			n->name_next = *slot;
			*slot = n;
		}
	}
	free(old);
}

struct hf_dnode *hf_dirs_find(const struct hf_dirtable *d, const struct hf_fh *fh)
{
	struct hf_dnode *n;

	for (n = *fh_slot(d, fh->fsid, fh->type, fh->bytes, fh->len); n; n = n->fh_next)
		if (n->fsid == fh->fsid && n->type == fh->type && n->len == fh->len &&
		    !memcmp(n->fh, fh->bytes, fh->len))
			return n;
	return NULL;
}

struct hf_dnode *hf_dirs_child(const struct hf_dirtable *d, const struct hf_dnode *parent,
			       const char *name)
{
	struct hf_dnode *n;

	for (n = *name_slot(d, parent, name); n; n = n->name_next)
		if (n->parent == parent && !strcmp(n->name, name))
			return n;
	return NULL;
}

static void sib_in(struct hf_dnode **head, struct hf_dnode *n)
{
	n->sib = *head;
	n->psib = head;
	if (n->sib)
		n->sib->psib = &n->sib;
	*head = n;
}

static void sib_out(struct hf_dnode *n)
{
	if (!n->psib)
		return;
	*n->psib = n->sib;
	if (n->sib)
		n->sib->psib = n->psib;
	n->psib = NULL;
	n->sib = NULL;
}

/* out of its parent or the orphans; then it is nowhere */
static void unhang(struct hf_dirtable *d, struct hf_dnode *n)
{
	struct hf_dnode **p;

	sib_out(n);
	n->orphan = false;
	if (!n->parent)
		return;
	for (p = name_slot(d, n->parent, n->name); *p != n; p = &(*p)->name_next)
		;
	*p = n->name_next;
	n->parent = NULL;
	free(n->name);
	n->name = NULL;
}

struct hf_dnode *hf_dirs_new(struct hf_dirtable *d, const struct hf_fh *fh)
{
	struct hf_dnode *n = hf_alloc(sizeof(*n) + fh->len), **slot;

	if (!n)
		return NULL;
	n->fsid = fh->fsid;
	n->type = fh->type;
	n->len = (uint8_t)fh->len;
	memcpy(n->fh, fh->bytes, fh->len);
	slot = fh_slot(d, n->fsid, n->type, n->fh, n->len);
	n->fh_next = *slot;
	*slot = n;
	d->count++;
	grow(d);
	return n;
}

int hf_dirs_attach(struct hf_dirtable *d, struct hf_dnode *n, struct hf_dnode *parent,
		   const char *name)
{
	struct hf_dnode *p, **slot;
	char *copy;

	for (p = parent; p; p = p->parent)
		if (p == n)
			return -ELOOP;
	p = hf_dirs_child(d, parent, name);
	if (p == n)
		return 0;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	if (p)
		hf_dirs_detach(d, p);
	unhang(d, n);
	n->parent = parent;
	n->name = copy;
	slot = name_slot(d, parent, name);
	n->name_next = *slot;
	*slot = n;
	sib_in(&parent->child, n);
	return 0;
}

void hf_dirs_detach(struct hf_dirtable *d, struct hf_dnode *n)
{
	unhang(d, n);
	if (n->watches)
		return;
	n->orphan = true;
	sib_in(&d->orphans, n);
}

void hf_dirs_free(struct hf_dirtable *d, struct hf_dnode *n)
{
	struct hf_dnode **p;

	unhang(d, n);
	for (p = fh_slot(d, n->fsid, n->type, n->fh, n->len); *p != n; p = &(*p)->fh_next)
		;
	*p = n->fh_next;
	d->count--;
	free(n);
}

struct hf_dnode *hf_dirs_next(const struct hf_dnode *root, struct hf_dnode *n)
{
	if (n->child)
		return n->child;
	while (n != root && !n->sib)
		n = n->parent;
	return n == root ? NULL : n->sib;
}
