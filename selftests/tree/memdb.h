/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A generation in memory, for the tests of the tree library. */
#ifndef HF_MEMDB_H
#define HF_MEMDB_H
#include "../../user/lib/tree.h"
#include <sodium.h>
#include <stdlib.h>

struct mem_val {
	bool there;
	void *attr, *data;
	size_t attrlen;
	uint64_t size;
	uint8_t hash[32];
	struct hf_mark mark;
};
struct mem_ent {
	char *rel;
	struct mem_val now, old;	/* old: before the transaction */
	bool touched;
};
struct memdb {
	struct mem_ent **e;
	size_t n, cap;
	unsigned puts, dels, unputs, marks, reads;
	bool damage;			/* read() gives other bytes and says so */
	struct hf_tree_db db;
};

__attribute__((unused))
static int mem_cmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	int x = !*a ? 0 : *a == '/' ? 1 : (unsigned char)*a + 1;
	int y = !*b ? 0 : *b == '/' ? 1 : (unsigned char)*b + 1;

	return x - y;
}

static size_t mem_find(struct memdb *m, const char *rel, bool *hit)
{
	size_t lo = 0, hi = m->n;

	*hit = false;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = mem_cmp(m->e[mid]->rel, rel);

		if (!c) {
			*hit = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct mem_ent *mem_ent(struct memdb *m, const char *rel, bool make)
{
	bool hit;
	size_t i = mem_find(m, rel, &hit);

	if (hit || !make)
		return hit ? m->e[i] : NULL;
	if (m->n == m->cap)
		m->e = realloc(m->e, (m->cap = m->cap ? 2 * m->cap : 64) * sizeof(*m->e));
	memmove(m->e + i + 1, m->e + i, (m->n - i) * sizeof(*m->e));
	m->n++;
	m->e[i] = calloc(1, sizeof(**m->e));
	m->e[i]->rel = strdup(rel);
	return m->e[i];
}

static void mem_val_free(struct mem_val *v)
{
	free(v->attr);
	free(v->data);
	memset(v, 0, sizeof(*v));
}

/* a change within the transaction */
static void mem_touch(struct mem_ent *e)
{
	if (e->touched) {
		mem_val_free(&e->now);
	} else {
		e->old = e->now;
		memset(&e->now, 0, sizeof(e->now));
		e->touched = true;
	}
}

__attribute__((unused))
static void mem_commit(struct memdb *m)
{
	for (size_t i = 0; i < m->n; i++) {
		mem_val_free(&m->e[i]->old);
		m->e[i]->touched = false;
	}
}

static bool mem_get(void *arg, const char *rel, struct hf_known *out)
{
	struct mem_ent *e = mem_ent(arg, rel, false);

	if (!e || !e->now.there)
		return false;
	out->attr = e->now.attr;
	out->attrlen = e->now.attrlen;
	out->size = e->now.size;
	memcpy(out->hash, e->now.hash, 32);
	out->mark = e->now.mark;
	return true;
}

static int mem_each(void *arg, const char *prefix,
		    int (*fn)(void *ctx, const char *rel, const struct hf_known *k), void *ctx)
{
	struct memdb *m = arg;
	size_t n = m->n, pl = strlen(prefix);
	char **names = malloc((n + 1) * sizeof(*names));
	int ret = 0;

	/* the callback may put and delete; entries are never freed while it runs */
	for (size_t i = 0; i < n; i++)
		names[i] = m->e[i]->rel;
	for (size_t i = 0; !ret && i < n; i++) {
		struct hf_known k;
		char *rel;

		if (pl && (strncmp(names[i], prefix, pl) || (names[i][pl] && names[i][pl] != '/')))
			continue;
		if (!mem_get(m, names[i], &k))
			continue;
		rel = strdup(names[i]);
		/* a copy that is gone after the call: what is kept of it would be noticed */
		void *attr = malloc(k.attrlen ? k.attrlen : 1);

		memcpy(attr, k.attr, k.attrlen);
		k.attr = attr;
		ret = fn(ctx, rel, &k);
		free(attr);
		free(rel);
	}
	free(names);
	return ret;
}

static int mem_all(void *arg, int (*fn)(void *ctx, const char *rel, const struct hf_known *k), void *ctx)
{
	return mem_each(arg, "", fn, ctx);
}

static void mem_hash_init(void *arg, void *st)
{
	_Static_assert(sizeof(crypto_generichash_state) <= HF_HASH_STATE, "state");
	crypto_generichash_init(st, NULL, 0, 32);
}

static void mem_hash_update(void *arg, void *st, const void *p, size_t n)
{
	crypto_generichash_update(st, p, n);
}

static void mem_hash_final(void *arg, void *st, uint8_t out[32])
{
	crypto_generichash_final(st, out, 32);
}

static int mem_put(void *arg, const char *rel, const void *attr, size_t attrlen,
		   const struct hf_source *src, const struct hf_mark *mark, uint8_t hash[32])
{
	struct memdb *m = arg;
	struct mem_ent *e = mem_ent(m, rel, true);
	uint64_t size = src ? src->size : 0;
	void *a = malloc(attrlen), *data = malloc(size + 1);

	memcpy(a, attr, attrlen);
	for (uint64_t off = 0; off < size; ) {
		ssize_t n = src->read(src->arg, (char *)data + off, size - off > 70000 ? 70000 : size - off, off);

		if (n <= 0) {
			free(a);
			free(data);
			return n ? n : -ENODATA;
		}
		off += n;
	}
	mem_touch(e);
	e->now.there = true;
	e->now.attr = a;
	e->now.attrlen = attrlen;
	e->now.data = data;
	e->now.size = size;
	if (size)
		crypto_generichash(e->now.hash, 32, data, size, NULL, 0);
	if (hash)
		memcpy(hash, e->now.hash, 32);
	if (mark)
		e->now.mark = *mark;
	m->puts++;
	return 0;
}

static int mem_unput(void *arg, const char *rel)
{
	struct memdb *m = arg;
	struct mem_ent *e = mem_ent(m, rel, false);

	m->unputs++;
	if (e && e->touched) {
		mem_val_free(&e->now);
		e->now = e->old;
		memset(&e->old, 0, sizeof(e->old));
		e->touched = false;
	}
	return 0;
}

static int mem_del(void *arg, const char *rel)
{
	struct memdb *m = arg;
	struct mem_ent *e = mem_ent(m, rel, true);

	mem_touch(e);
	m->dels++;
	return 0;
}

static void mem_mark(void *arg, const char *rel, const struct hf_mark *mark)
{
	struct memdb *m = arg;
	struct mem_ent *e = mem_ent(m, rel, false);

	m->marks++;
	if (e)
		e->now.mark = *mark;
}

static int mem_read(void *arg, const char *rel,
		    int (*sink)(void *ctx, const void *p, size_t n), void *ctx)
{
	struct memdb *m = arg;
	struct mem_ent *e = mem_ent(m, rel, false);
	int ret = 0;

	m->reads++;
	if (!e || !e->now.there || m->damage)
		return -EBADMSG;
	/* pieces of an awkward size */
	for (uint64_t off = 0; !ret && off < e->now.size; off += 50001) {
		uint64_t n = e->now.size - off < 50001 ? e->now.size - off : 50001;

		ret = sink(ctx, (char *)e->now.data + off, n);
	}
	return ret;
}

__attribute__((unused))
static void mem_init(struct memdb *m)
{
	memset(m, 0, sizeof(*m));
	m->db = (struct hf_tree_db){
		.arg = m, .get = mem_get, .each = mem_each, .all = mem_all, .put = mem_put, .unput = mem_unput,
		.del = mem_del, .mark = mem_mark, .read = mem_read, .hash_init = mem_hash_init,
		.hash_update = mem_hash_update, .hash_final = mem_hash_final,
	};
}

__attribute__((unused))
static void mem_free(struct memdb *m)
{
	for (size_t i = 0; i < m->n; i++) {
		mem_val_free(&m->e[i]->now);
		mem_val_free(&m->e[i]->old);
		free(m->e[i]->rel);
		free(m->e[i]);
	}
	free(m->e);
	memset(m, 0, sizeof(*m));
}

/* forget what local files looked like: as on another node */
__attribute__((unused))
static void mem_forget(struct memdb *m)
{
	for (size_t i = 0; i < m->n; i++)
		memset(&m->e[i]->now.mark, 0, sizeof(m->e[i]->now.mark));
}

__attribute__((unused))
static size_t mem_count(struct memdb *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n; i++)
		n += m->e[i]->now.there;
	return n;
}
#endif
