// SPDX-License-Identifier: LGPL-2.1-or-later
/* The dirty set, and how it gets coarser instead of smaller. */
#include "dirty.h"
#include <stdlib.h>

#define DEFAULT_MAX 16384
#define MIN_BITS 6
#define MAX_BITS 20

struct hf_dirty_ent {
	struct hf_dirty_ent *rel_next, *id_next;	/* hash chains */
	struct hf_dirty_ent *prev, *next;		/* by first_ns */
	uint64_t id, seq, first_ns;
	struct hf_who who;
	unsigned int flags;
	uint32_t hash, len, depth;	/* of rel; depth 0 is the root alone */
	bool linked;
	char rel[];
};

static uint32_t hash_rel(const char *rel, size_t len)
{
	uint32_t h = 2166136261u;

	while (len--)
		h = (h ^ (uint8_t)*rel++) * 16777619u;
	return h ^ (h >> 15);
}

static uint32_t depth_of(const char *rel, size_t len)
{
	uint32_t d = len ? 1 : 0;

	while (len--)
		d += *rel++ == '/';
	return d;
}

static size_t slot(const struct hf_dirtyset *s, uint64_t h)
{
	return h & (((uint64_t)1 << s->bits) - 1);
}

int hf_dset_init(struct hf_dirtyset *s, _Atomic uint64_t *seq, uint64_t max)
{
	memset(s, 0, sizeof(*s));
	s->seq = seq;
	s->max = max ? max : DEFAULT_MAX;
	s->next_id = 1;
	s->bits = MIN_BITS;
	s->by_rel = hf_alloc(sizeof(*s->by_rel) << s->bits);
	s->by_id = hf_alloc(sizeof(*s->by_id) << s->bits);
	s->root = hf_alloc(sizeof(*s->root) + 1);
	if (!s->by_rel || !s->by_id || !s->root) {
		hf_dset_fini(s);
		return -ENOMEM;
	}
	s->root->hash = hash_rel("", 0);
	return 0;
}

void hf_dset_fini(struct hf_dirtyset *s)
{
	struct hf_dirty_ent *e, *next;

	for (e = s->first; e; e = next) {
		next = e->next;
		if (e != s->root)
			free(e);
	}
	free(s->root);
	free(s->by_rel);
	free(s->by_id);
	memset(s, 0, sizeof(*s));
}

static void hash_in(struct hf_dirtyset *s, struct hf_dirty_ent *e)
{
	struct hf_dirty_ent **r = &s->by_rel[slot(s, e->hash)];
	struct hf_dirty_ent **i = &s->by_id[slot(s, e->id)];

	e->rel_next = *r;
	*r = e;
	e->id_next = *i;
	*i = e;
}

static void hash_out(struct hf_dirtyset *s, struct hf_dirty_ent *e)
{
	struct hf_dirty_ent **p;

	for (p = &s->by_rel[slot(s, e->hash)]; *p != e; p = &(*p)->rel_next)
		;
	*p = e->rel_next;
	for (p = &s->by_id[slot(s, e->id)]; *p != e; p = &(*p)->id_next)
		;
	*p = e->id_next;
}

/* Longer chains are the worst that failing here does. */
static void grow(struct hf_dirtyset *s)
{
	unsigned int bits = s->bits + 1;
	struct hf_dirty_ent **rel, **id, *e;

	if (s->count < (uint64_t)1 << s->bits || bits > MAX_BITS)
		return;
	rel = hf_alloc(sizeof(*rel) << bits);
	id = hf_alloc(sizeof(*id) << bits);
	if (!rel || !id) {
		free(rel);
		free(id);
		return;
	}
	free(s->by_rel);
	free(s->by_id);
	s->by_rel = rel;
	s->by_id = id;
	s->bits = bits;
	for (e = s->first; e; e = e->next)
		hash_in(s, e);
}

static struct hf_dirty_ent *find(const struct hf_dirtyset *s, const char *rel, size_t len,
				 uint32_t hash)
{
	struct hf_dirty_ent *e;

	for (e = s->by_rel[slot(s, hash)]; e; e = e->rel_next)
		if (e->hash == hash && e->len == len && !memcmp(e->rel, rel, len))
			return e;
	return NULL;
}

/* @before NULL: at the end */
static void list_in(struct hf_dirtyset *s, struct hf_dirty_ent *e, struct hf_dirty_ent *before)
{
	e->next = before;
	e->prev = before ? before->prev : s->tail;
	*(e->prev ? &e->prev->next : &s->first) = e;
	*(before ? &before->prev : &s->tail) = e;
}

static void list_out(struct hf_dirtyset *s, struct hf_dirty_ent *e)
{
	*(e->prev ? &e->prev->next : &s->first) = e->next;
	*(e->next ? &e->next->prev : &s->tail) = e->prev;
}

static void entry_in(struct hf_dirtyset *s, struct hf_dirty_ent *e, struct hf_dirty_ent *before)
{
	e->id = s->next_id++;
	e->linked = true;
	s->count++;
	list_in(s, e, before);
	hash_in(s, e);
}

static void entry_out(struct hf_dirtyset *s, struct hf_dirty_ent *e)
{
	hash_out(s, e);
	list_out(s, e);
	s->count--;
	e->linked = false;
	e->flags = 0;
	if (e != s->root)
		free(e);
}

static size_t parent_len(const struct hf_dirty_ent *e)
{
	size_t n = e->len;

	while (n && e->rel[n - 1] != '/')
		n--;
	return n ? n - 1 : 0;
}

/*
 * Replace @e by its directory. Needs no memory: the name of the directory is
 * the beginning of the entry's own, and the root's entry was allocated ahead.
 *
 * @seq is a fresh number and not the newest of those that are merged: somebody
 * may hold (id, seq) of the directory's entry from before, and must not be able
 * to acknowledge with it what is only now put under it.
 */
static void fold(struct hf_dirtyset *s, struct hf_dirty_ent *e, uint64_t seq)
{
	size_t len = parent_len(e);
	uint32_t hash = hash_rel(e->rel, len);
	struct hf_dirty_ent *p = find(s, e->rel, len, hash);

	if (!p && !len) {
		p = s->root;
		p->first_ns = e->first_ns;
		p->who = e->who;
		p->seq = e->seq;
		entry_in(s, p, e);
	}
	if (!p) {
		hash_out(s, e);
		e->rel[len] = '\0';
		e->len = len;
		e->hash = hash;
		e->depth--;
		e->flags = HF_DIRTY_SUBTREE;
		e->id = s->next_id++;
		e->seq = seq;
		hash_in(s, e);
		return;
	}
	if (e->first_ns < p->first_ns) {
		p->first_ns = e->first_ns;
		list_out(s, p);
		list_in(s, p, e);
	}
	if (e->seq > p->seq)
		p->who = e->who;
	p->seq = seq;
	p->flags = HF_DIRTY_SUBTREE;
	entry_out(s, e);
}

/* Deepest names first, level by level, until there is room again. */
static void coalesce(struct hf_dirtyset *s)
{
	uint64_t want = s->max - s->max / 4, seq = atomic_fetch_add(s->seq, 1) + 1;
	struct hf_dirty_ent *e, *next;
	uint32_t deepest;

	s->last = seq;
	while (s->count > want) {
		deepest = 0;
		for (e = s->first; e; e = e->next)
			if (e->depth > deepest)
				deepest = e->depth;
		if (!deepest)
			return;
		for (e = s->first; e; e = next) {
			next = e->next;
			if (e->depth == deepest)
				fold(s, e, seq);
		}
	}
}

void hf_dset_soil(struct hf_dirtyset *s, const char *rel, unsigned int set,
		  unsigned int clear, const struct hf_who *who)
{
	static const struct hf_who nobody = { .uid = (uid_t)-1, .login = (uid_t)-1 };
	size_t len = strlen(rel);
	uint32_t hash = hash_rel(rel, len);
	struct hf_dirty_ent *e = find(s, rel, len, hash);
	bool fresh = !e;

	if (!e && len && len < UINT32_MAX) {
		e = malloc(sizeof(*e) + len + 1);
		if (e) {
			memset(e, 0, sizeof(*e));
			memcpy(e->rel, rel, len + 1);
			e->len = len;
			e->hash = hash;
			e->depth = depth_of(rel, len);
		}
	}
	if (!e) {
		/* the root itself, or no memory for less than the root */
		e = s->root;
		fresh = !e->linked;
		if (len)
			set |= HF_DIRTY_SUBTREE;
	}
	e->seq = s->last = atomic_fetch_add(s->seq, 1) + 1;
	e->who = who ? *who : nobody;
	e->flags = (e->flags & ~(clear & ~(unsigned int)HF_DIRTY_SUBTREE)) | set;
	if (!fresh)
		return;
	e->first_ns = hf_now_ns();
	entry_in(s, e, NULL);
	grow(s);
	if (s->count > s->max)
		coalesce(s);
}

bool hf_dset_ack(struct hf_dirtyset *s, uint64_t id, uint64_t seq)
{
	struct hf_dirty_ent *e;

	for (e = s->by_id[slot(s, id)]; e && e->id != id; e = e->id_next)
		;
	if (!e || e->seq > seq)
		return false;
	entry_out(s, e);
	return true;
}

int hf_dset_snapshot(const struct hf_dirtyset *s, struct hf_dirty **out, size_t *n)
{
	const struct hf_dirty_ent *e;
	size_t names = 0;
	struct hf_dirty *d;
	char *p;

	*out = NULL;
	*n = 0;
	if (!s->count)
		return 0;
	for (e = s->first; e; e = e->next)
		names += e->len + 1;
	d = malloc(s->count * sizeof(*d) + names);
	if (!d)
		return -ENOMEM;
	*out = d;
	*n = s->count;
	p = (char *)(d + s->count);
	for (e = s->first; e; e = e->next, d++) {
		memcpy(p, e->rel, e->len + 1);
		memset(d, 0, sizeof(*d));
		d->id = e->id;
		d->seq = e->seq;
		d->rel = p;
		d->flags = e->flags;
		d->pid = e->who.pid;
		d->uid = e->who.uid;
		d->login = e->who.login;
		memcpy(d->comm, e->who.comm, sizeof(d->comm));
		d->first_ns = e->first_ns;
		p += e->len + 1;
	}
	return 0;
}

uint64_t hf_dset_oldest(const struct hf_dirtyset *s)
{
	return s->first ? s->first->first_ns : 0;
}
