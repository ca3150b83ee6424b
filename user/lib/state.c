// SPDX-License-Identifier: LGPL-2.1-or-later
/* A hash table of items. An entry lives while the table, a transaction or somebody
 * who goes through it uses it. */
#include "state.h"
#include <stdlib.h>

#define COUNTS 64	/* of prefixes that are kept */

/* FNV-1a's way with eight bytes at a time, and the halves mixed where it would lose them */
static uint64_t sum_of(const uint8_t *p, uint32_t n)
{
	uint64_t h = 0xcbf29ce484222325ull ^ n, v;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&v, p, 8);
		h = (h ^ v) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
	}
	v = 0;
	memcpy(&v, p, n);
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

static struct hf_ref *own_refs(struct ent *e)
{
	size_t at = (sizeof(*e) + e->keylen + e->attrlen + _Alignof(struct hf_ref) - 1) &
		    ~(_Alignof(struct hf_ref) - 1);

	return (struct hf_ref *)((uint8_t *)e + at);
}

struct ent *ent_new(const void *key, uint32_t keylen, const void *attr, uint32_t attrlen, uint32_t nref)
{
	struct ent *e = calloc(1, sizeof(*e) + keylen + attrlen + _Alignof(struct hf_ref) +
			       nref * sizeof(struct hf_ref));

	if (!e)
		return NULL;
	e->nref = nref;
	e->keylen = keylen;
	e->attrlen = attrlen;
	e->users = 1;
	memcpy(e->data, key, keylen);
	if (attrlen)
		memcpy(e->data + keylen, attr, attrlen);
	if (nref)
		e->ref = own_refs(e);
	e->sum = sum_of(key, keylen);
	return e;
}

int ent_more(struct ent *e, uint32_t n)
{
	bool own = e->ref == own_refs(e);
	struct hf_ref *v = n > UINT32_MAX - e->nref ? NULL :
			   realloc(own ? NULL : e->ref, ((size_t)e->nref + n) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	if (own)
		memcpy(v, e->ref, e->nref * sizeof(*v));
	memset(v + e->nref, 0, n * sizeof(*v));
	e->ref = v;
	e->nref += n;
	return 0;
}

void ent_put(struct ent *e)
{
	if (!e || --e->users)
		return;
	if (e->ref != own_refs(e))
		free(e->ref);
	free(e);
}

struct ent *table_get(const struct table *t, const void *key, uint32_t keylen)
{
	uint64_t sum = sum_of(key, keylen);
	struct ent *e;

	if (!t->cap)
		return NULL;
	for (e = t->slot[sum & (t->cap - 1)]; e; e = e->next)
		if (e->sum == sum && e->keylen == keylen && !memcmp(ent_key(e), key, keylen))
			break;
	return e;
}

static int grow(struct table *t)
{
	size_t cap = t->cap ? t->cap * 2 : 64;
	struct ent **s = calloc(cap, sizeof(*s));

	if (!s)
		return -ENOMEM;
	for (size_t i = 0; i < t->cap; i++)
		while (t->slot[i]) {
			struct ent *e = t->slot[i];
			size_t h = e->sum & (cap - 1);

			t->slot[i] = e->next;
			e->next = s[h];
			s[h] = e;
		}
	free(t->slot);
	t->slot = s;
	t->cap = cap;
	return 0;
}

bool ent_begins(const struct ent *e, const void *prefix, uint32_t plen)
{
	return e->keylen >= plen && !memcmp(ent_key(e), prefix, plen);
}

/* @e came or goes */
static void changed(struct table *t, const struct ent *e, int by)
{
	free(t->order);
	t->order = NULL;
	for (unsigned i = 0; i < t->ncount; i++)
		if (ent_begins(e, t->count[i].prefix, t->count[i].plen))
			t->count[i].n += by;
}

size_t table_count(struct table *t, const void *prefix, uint32_t plen)
{
	struct table_count *c;
	size_t n = 0;

	if (!plen)
		return t->n;
	for (unsigned i = 0; i < t->ncount; i++)
		if (t->count[i].plen == plen && !memcmp(t->count[i].prefix, prefix, plen))
			return t->count[i].n;
	for (size_t i = 0; i < t->cap; i++)
		for (const struct ent *e = t->slot[i]; e; e = e->next)
			n += ent_begins(e, prefix, plen);
	if (plen > sizeof(c->prefix) || t->ncount == COUNTS)
		return n;
	c = realloc(t->count, (t->ncount + 1) * sizeof(*c));
	if (!c)
		return n;	/* it is counted again the next time */
	t->count = c;
	c += t->ncount++;
	memcpy(c->prefix, prefix, plen);
	c->plen = plen;
	c->n = n;
	return n;
}

int table_add(struct table *t, struct ent *e)
{
	size_t h;

	if (t->n >= t->cap / 2 && grow(t) && !t->cap)
		return -ENOMEM;
	h = e->sum & (t->cap - 1);
	e->next = t->slot[h];
	e->flags &= ~ENT_OUT;
	t->slot[h] = e;
	t->n++;
	changed(t, e, 1);
	return 0;
}

void table_del(struct table *t, struct ent *e)
{
	struct ent **p = &t->slot[e->sum & (t->cap - 1)];

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	t->n--;
	changed(t, e, -1);
	e->flags |= ENT_OUT;
	ent_put(e);
}

void table_clear(struct table *t)
{
	for (size_t i = 0; i < t->cap; i++)
		while (t->slot[i]) {
			struct ent *e = t->slot[i];

			t->slot[i] = e->next;
			e->flags |= ENT_OUT;
			ent_put(e);
		}
	free(t->slot);
	free(t->order);
	free(t->count);
	*t = (struct table){ 0 };
}

int ent_order(const void *a, const void *b)
{
	const struct ent *x = *(struct ent *const *)a, *y = *(struct ent *const *)b;
	const uint8_t *p = ent_key(x), *q = ent_key(y);
	uint32_t n = x->keylen < y->keylen ? x->keylen : y->keylen;

	for (uint32_t i = 0; i < n; i++)
		if (p[i] != q[i])
			return (p[i] == '/' ? -1 : p[i]) - (q[i] == '/' ? -1 : q[i]);
	return (x->keylen > y->keylen) - (x->keylen < y->keylen);
}

int table_order(struct table *t)
{
	struct ent **v;
	size_t k = 0;

	if (t->order)
		return 0;
	v = malloc((t->n ? t->n : 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < t->cap; i++)
		for (struct ent *e = t->slot[i]; e; e = e->next)
			v[k++] = e;
	qsort(v, k, sizeof(*v), ent_order);
	t->order = v;
	return 0;
}

/* the first in order whose key begins with @prefix, or with what comes after it */
static size_t first_with(const struct table *t, const struct ent *prefix, bool after)
{
	size_t lo = 0, hi = t->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct ent *e = t->order[mid];
		bool has = ent_begins(e, ent_key(prefix), prefix->keylen);

		if (has ? after : ent_order(&e, &prefix) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int sorted_from_order(const struct table *t, const void *prefix, uint32_t plen, struct ent ***out, size_t *n)
{
	struct ent *p = ent_new(prefix, plen, NULL, 0, 0), **v = NULL;
	size_t from, k;

	if (!p)
		return -ENOMEM;
	from = first_with(t, p, false);
	k = first_with(t, p, true) - from;
	ent_put(p);
	v = malloc((k ? k : 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	memcpy(v, t->order + from, k * sizeof(*v));
	*out = v;
	*n = k;
	return 0;
}

int table_sorted(struct table *t, const void *prefix, uint32_t plen, struct ent ***out, size_t *n)
{
	struct ent **v;
	size_t k = 0;

	if (t->order)
		return sorted_from_order(t, prefix, plen, out, n);
	v = malloc((t->n ? t->n : 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < t->cap; i++)
		for (struct ent *e = t->slot[i]; e; e = e->next)
			if (ent_begins(e, prefix, plen))
				v[k++] = e;
	/* most of them, which is asked for again before long: in order all of them cost the same */
	if (k > t->n / 2 && k > 1 && !table_order(t)) {
		free(v);
		return sorted_from_order(t, prefix, plen, out, n);
	}
	qsort(v, k, sizeof(*v), ent_order);
	*out = v;
	*n = k;
	return 0;
}
