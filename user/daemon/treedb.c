// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * struct hf_tree_db above struct hf_log: the key of an entry is the id of its
 * checkpoint in eight hex digits, a slash, and its path in the tree. Beside them
 * stand the id and '!': it was captured once, though nothing may be left of it; and
 * the id and '?': why its owner could not capture it; the id and '=': what is excluded from it.
 */
#include "treedb.h"
#include <stdio.h>
#include <stdlib.h>

void treedb_prefix(uint32_t id, char out[TREEDB_PREFIX + 1])
{
	snprintf(out, TREEDB_PREFIX + 1, "%08x/", id);
}

bool treedb_key_id(const void *key, uint32_t len, uint32_t *id)
{
	const char *k = key;
	uint32_t v = 0;

	/* a slash, or one of the marks beside the entries */
	if (len < TREEDB_PREFIX || !k[8] || !strchr("/!?=", k[8]))
		return false;
	for (int i = 0; i < 8; i++) {
		unsigned d;

		if (k[i] >= '0' && k[i] <= '9')
			d = k[i] - '0';
		else if (k[i] >= 'a' && k[i] <= 'f')
			d = k[i] - 'a' + 10;
		else
			return false;
		v = v << 4 | d;
	}
	*id = v;
	return true;
}

static int stop_at_first(void *ctx, const struct hf_item *it)
{
	return 1;
}

bool treedb_has_root(struct hf_log *log, uint32_t id)
{
	char p[TREEDB_PREFIX + 1];
	struct hf_item it;

	treedb_prefix(id, p);
	return hf_log_get(log, p, TREEDB_PREFIX, &it);
}

bool treedb_has_any(struct hf_log *log, uint32_t id)
{
	char p[TREEDB_PREFIX + 1];

	if (treedb_has_root(log, id))
		return true;
	/* a single file has no root */
	treedb_prefix(id, p);
	return hf_log_each(log, p, TREEDB_PREFIX, stop_at_first, NULL) == 1;
}

static void mark_key(uint32_t id, char mark, char out[TREEDB_PREFIX + 1])
{
	snprintf(out, TREEDB_PREFIX + 1, "%08x%c", id, mark);
}

bool treedb_marked(struct hf_log *log, uint32_t id, char mark, struct hf_item *it)
{
	char k[TREEDB_PREFIX + 1];
	struct hf_item own;

	mark_key(id, mark, k);
	return hf_log_get(log, k, TREEDB_PREFIX, it ? it : &own);
}

int treedb_mark(struct hf_log *log, uint32_t id, char mark, const char *text, struct hf_err *err)
{
	char k[TREEDB_PREFIX + 1];
	uint8_t hash[HF_HASH];

	mark_key(id, mark, k);
	return hf_log_put(log, k, TREEDB_PREFIX, text, strlen(text), NULL, hash, err);
}

int treedb_unmark(struct hf_log *log, uint32_t id, char mark)
{
	char k[TREEDB_PREFIX + 1];

	mark_key(id, mark, k);
	return treedb_marked(log, id, mark, NULL) ? hf_log_del(log, k, TREEDB_PREFIX) : 0;
}

/* Logs from before the mark have entries, or nothing to tell them by. */
bool treedb_seeded(struct hf_log *log, uint32_t id)
{
	return treedb_has_any(log, id) || treedb_marked(log, id, TREEDB_SEEDED, NULL);
}

/* The key of @rel in the scratch buffer; its length, or 0 when out of memory. */
static uint32_t key_of(struct treedb *t, const char *rel)
{
	size_t n = strlen(rel), need = TREEDB_PREFIX + n + 1;

	if (need > t->cap) {
		char *p = realloc(t->key, need * 2);

		if (!p) {
			t->ret = t->ret ? t->ret : -ENOMEM;
			return 0;
		}
		t->key = p;
		t->cap = need * 2;
	}
	memcpy(t->key, t->prefix, TREEDB_PREFIX);
	memcpy(t->key + TREEDB_PREFIX, rel, n + 1);
	return TREEDB_PREFIX + n;
}

static void known_of(const struct hf_item *it, struct hf_known *k)
{
	k->attr = it->attr;
	k->attrlen = it->attrlen;
	k->size = it->size;
	memcpy(k->hash, it->hash, sizeof(k->hash));
	if (it->mark)
		k->mark = *it->mark;
	else
		memset(&k->mark, 0, sizeof(k->mark));
}

static void seen(const struct treedb *t)
{
	if (t->seen)
		atomic_store(t->seen, hf_now_ms());
}

static bool db_get(void *arg, const char *rel, struct hf_known *out)
{
	struct treedb *t = arg;
	uint32_t n = key_of(t, rel);
	struct hf_item it;

	seen(t);
	if (!n || !hf_log_get(t->log, t->key, n, &it))
		return false;
	known_of(&it, out);
	return true;
}

struct each {
	int (*fn)(void *ctx, const char *rel, const struct hf_known *k);
	void *ctx;
	struct treedb *t;
	char *rel;
	size_t cap;
};

static int each_item(void *ctx, const struct hf_item *it)
{
	struct each *e = ctx;
	size_t n = it->keylen - TREEDB_PREFIX;
	struct hf_known k;

	seen(e->t);
	if (e->t->tick)
		e->t->tick(e->t->tick_arg);
	if (n + 1 > e->cap) {
		char *p = realloc(e->rel, (n + 1) * 2);

		if (!p)
			return -ENOMEM;
		e->rel = p;
		e->cap = (n + 1) * 2;
	}
	/* a copy: the callback may change the log, and keys carry no NUL */
	memcpy(e->rel, (const char *)it->key + TREEDB_PREFIX, n);
	e->rel[n] = '\0';
	known_of(it, &k);
	return e->fn(e->ctx, e->rel, &k);
}

static int db_each(void *arg, const char *prefix,
		   int (*fn)(void *ctx, const char *rel, const struct hf_known *k), void *ctx)
{
	struct treedb *t = arg;
	struct each e = { .fn = fn, .ctx = ctx, .t = t };
	char *below;
	int ret = 0;

	if (!*prefix) {
		ret = hf_log_each(t->log, t->prefix, TREEDB_PREFIX, each_item, &e);
	} else {
		struct hf_known k;

		/* "etc" itself, then "etc/…": a plain prefix would find "etcetera" too */
		below = hf_strf("%s%s/", t->prefix, prefix);
		if (!below)
			return -ENOMEM;
		if (db_get(t, prefix, &k))
			ret = fn(ctx, prefix, &k);
		if (!ret)
			ret = hf_log_each(t->log, below, strlen(below), each_item, &e);
		free(below);
	}
	free(e.rel);
	return ret;
}

static int db_all(void *arg, int (*fn)(void *ctx, const char *rel, const struct hf_known *k), void *ctx)
{
	struct treedb *t = arg;
	struct each e = { .fn = fn, .ctx = ctx, .t = t };
	int ret = hf_log_all(t->log, t->prefix, TREEDB_PREFIX, each_item, &e);

	free(e.rel);
	return ret;
}

static int failed(struct treedb *t, int ret, const struct hf_err *e)
{
	if (ret && !t->ret) {
		t->ret = ret;
		t->err = *e;
	}
	return ret;
}

/* A file that moves while it is read fails the put too: that is the tree's affair. */
struct watched_source {
	const struct hf_source *src;
	bool fault;
	const struct treedb *t;
};

static ssize_t watched_read(void *arg, void *buf, size_t len, uint64_t off)
{
	struct watched_source *w = arg;
	atomic_ullong *busy = w->t->busy;
	ssize_t n;

	/* a tree that hangs is no store that does, where somebody looks after both */
	if (busy && w->t->seen)
		atomic_store(busy, 0);
	n = w->src->read(w->src->arg, buf, len, off);
	seen(w->t);
	/* a large file takes its time; a store that answers is not silent */
	if (busy)
		atomic_store(busy, hf_now_ms());
	if (n < 0 || (size_t)n < len)
		w->fault = true;
	return n;
}

static int db_put(void *arg, const char *rel, const void *attr, size_t attrlen,
		  const struct hf_source *src, const struct hf_mark *mark, uint8_t hash[32])
{
	struct treedb *t = arg;
	struct hf_err e = { 0 };
	struct watched_source w = { .src = src, .t = t };
	struct hf_source ws = { .size = src ? src->size : 0, .read = watched_read, .arg = &w };
	const struct hf_source *from = src ? &ws : NULL;
	struct hf_mark *m;
	uint32_t n = key_of(t, rel);
	int ret;

	if (!n)
		return -ENOMEM;
	if (attrlen > UINT32_MAX)
		return -E2BIG;
	if (t->tick && !hf_log_mark(t->log, t->key, n))
		t->tick(t->tick_arg);
	if (t->busy)
		atomic_store(t->busy, hf_now_ms());
	ret = hash ? hf_log_put(t->log, t->key, n, attr, attrlen, from, hash, &e) :
		     hf_log_put_later(t->log, t->key, n, attr, attrlen, from, &e);
	if (t->busy)
		atomic_store(t->busy, 0);
	if (ret)
		return w.fault ? ret : failed(t, ret, &e);
	m = hf_log_mark(t->log, t->key, n);
	if (m && mark)
		*m = *mark;
	else if (m)
		memset(m, 0, sizeof(*m));
	return 0;
}

static void db_ready(void *arg, const void *p, size_t n)
{
	hf_log_ready(((struct treedb *)arg)->log, p, n);
}

static int db_unput(void *arg, const char *rel)
{
	struct treedb *t = arg;
	uint32_t n = key_of(t, rel);

	return n ? hf_log_unput(t->log, t->key, n) : -ENOMEM;
}

static int db_del(void *arg, const char *rel)
{
	struct treedb *t = arg;
	uint32_t n = key_of(t, rel);

	return n ? hf_log_del(t->log, t->key, n) : -ENOMEM;
}

static void db_mark(void *arg, const char *rel, const struct hf_mark *mark)
{
	struct treedb *t = arg;
	uint32_t n = key_of(t, rel);
	struct hf_mark *m = n ? hf_log_mark(t->log, t->key, n) : NULL;

	if (m)
		*m = *mark;
}

static int db_read(void *arg, const char *rel, int (*sink)(void *ctx, const void *p, size_t n),
		   void *ctx)
{
	struct treedb *t = arg;
	struct hf_err e = { 0 };
	uint32_t n = key_of(t, rel);
	int ret;

	if (!n)
		return -ENOMEM;
	ret = hf_log_content(t->log, t->key, n, sink, ctx, &e);
	/* the sink's own failure carries no message */
	return ret && e.exit ? failed(t, ret, &e) : ret;
}

static void db_hash_init(void *arg, void *st)
{
	hf_hash_init(((struct treedb *)arg)->keys, st);
}

static void db_hash_update(void *arg, void *st, const void *p, size_t n)
{
	seen(arg);
	hf_hash_update(st, p, n);
}

static void db_hash_final(void *arg, void *st, uint8_t out[32])
{
	hf_hash_final(st, out);
}

void treedb_init(struct treedb *t, struct hf_log *log, const struct hf_keys *keys, uint32_t id,
		 atomic_ullong *busy)
{
	memset(t, 0, sizeof(*t));
	t->db = (struct hf_tree_db){
		.arg = t, .get = db_get, .each = db_each, .all = db_all, .put = db_put, .unput = db_unput,
		.del = db_del, .mark = db_mark, .read = db_read, .hash_init = db_hash_init,
		.hash_update = db_hash_update, .hash_final = db_hash_final,
	};
	t->log = log;
	t->keys = keys;
	t->busy = busy;
	treedb_prefix(id, t->prefix);
}

void treedb_few(struct treedb *t)
{
	t->db.ready = db_ready;
}

void treedb_exit(struct treedb *t)
{
	free(t->key);
	t->key = NULL;
}
