// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Contents that were read ahead of their use, as the store has them: sealed. A chunk is found
 * by its keyed hash, under which it was sealed too, so what is not what was asked for, or was
 * tampered with, does not open, and who asked reads it from the store.
 */
#include "log_int.h"
#include <stdlib.h>

struct one {
	struct one *next;
	uint8_t hash[HF_HASH];
	uint32_t n;
	bool kept;
	uint8_t data[];
};
struct stash { struct one **slot; size_t cap, n, bytes; };

static size_t slot_of(const uint8_t hash[HF_HASH], size_t cap)
{
	uint64_t h;

	memcpy(&h, hash, 8);	/* uniform already */
	return h & (cap - 1);
}

static struct one *find(const struct stash *s, const struct hf_ref *r)
{
	struct one *o = s->cap ? s->slot[slot_of(r->hash, s->cap)] : NULL;

	while (o && (o->n != chunk_stored(r) || memcmp(o->hash, r->hash, HF_HASH)))
		o = o->next;
	return o;
}

struct stash *stash_new(void) { return hf_alloc(sizeof(struct stash)); }

static void sweep(struct stash *s, bool all)
{
	for (size_t i = 0; i < s->cap; i++)
		for (struct one **p = &s->slot[i], *o; (o = *p); ) {
			if (o->kept && !all) {
				p = &o->next;
				continue;
			}
			*p = o->next;
			s->bytes -= sizeof(*o) + o->n;
			s->n--;
			free(o);
		}
}

void stash_free(struct stash *s)
{
	if (!s)
		return;
	sweep(s, true);
	free(s->slot);
	free(s);
}

size_t stash_bytes(const struct stash *s) { return s ? s->bytes + s->cap * sizeof(*s->slot) : 0; }

bool stash_get(const struct stash *s, const struct hf_ref *r, uint8_t *buf)
{
	const struct one *o = find(s, r);

	if (o)
		memcpy(buf, o->data, o->n);
	return o;
}

static int resize(struct stash *s, size_t cap)
{
	struct one **v = calloc(cap, sizeof(*v)), *o;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < s->cap; i++)
		while ((o = s->slot[i])) {
			s->slot[i] = o->next;
			o->next = v[slot_of(o->hash, cap)];
			v[slot_of(o->hash, cap)] = o;
		}
	free(s->slot);
	s->slot = v;
	s->cap = cap;
	return 0;
}

int stash_add(struct stash *s, const struct hf_ref *r, const uint8_t *buf)
{
	struct one *o, **p;

	if (s->n >= s->cap && resize(s, s->cap ? s->cap * 2 : 64))
		return -ENOMEM;
	o = malloc(sizeof(*o) + chunk_stored(r));
	if (!o)
		return -ENOMEM;
	memcpy(o->hash, r->hash, HF_HASH);
	o->n = chunk_stored(r);
	o->kept = true;
	memcpy(o->data, buf, o->n);
	p = &s->slot[slot_of(r->hash, s->cap)];
	o->next = *p;
	*p = o;
	s->n++;
	s->bytes += sizeof(*o) + o->n;
	return 0;
}

void stash_mark(struct stash *s)
{
	for (size_t i = 0; i < s->cap; i++)
		for (struct one *o = s->slot[i]; o; o = o->next)
			o->kept = false;
}

bool stash_keep(struct stash *s, const struct hf_ref *r)
{
	struct one *o = find(s, r);

	if (o)
		o->kept = true;
	return o;
}

void stash_sweep(struct stash *s)
{
	sweep(s, false);
	while (s->cap > 64 && s->n < s->cap / 4 && !resize(s, s->cap / 2))
		;
}
