/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The conformance suite of the store interface: one set of tests over struct hf_store_ops and
 * hf_log_*, which every kind of store passes. t_conform_KIND.c says how one is made and
 * where its bytes are, and runs them all. HF_SEED repeats a run.
 */
#ifndef CONFORM_H
#define CONFORM_H
#include "store_test.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

struct backend {
	const char *name;
	void (*make)(unsigned nodes, uint64_t size);	/* format a new one; sets dev, conf, keys */
	unsigned (*files)(char path[][400], unsigned max);	/* where its bytes are */
};
static const struct backend *be;
static struct node na, nb, nc;

static unsigned seed_of_run(void)
{
	static unsigned seed;

	if (!seed) {
		seed = getenv("HF_SEED") ? strtoul(getenv("HF_SEED"), NULL, 0) : (unsigned)time(NULL);
		printf("# HF_SEED=%u repeats it\n", seed);
	}
	return seed;
}

static void fill(char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = seed >> 16;
	}
}

/* a store with nodes alpha, beta and gamma, as many as wanted */
static void store(unsigned nodes, uint64_t size)
{
	err = (struct hf_err){ 0 };
	be->make(nodes < 2 ? 2 : nodes, size);
	node_make(&na, "alpha");
	if (nodes > 1)
		node_make(&nb, "beta");
	if (nodes > 2)
		node_make(&nc, "gamma");
}

static void store_end(void)
{
	struct node *n[] = { &na, &nb, &nc };

	for (unsigned i = 0; i < 3; i++) {
		if (n[i]->st)
			node_close(n[i]);
		n[i]->st = NULL;
	}
	hf_keys_free(keys);
	keys = NULL;
	cleanup();
}

/* Who is gone without a word: nothing is released or left. */
static void kill_node(struct node *n)
{
	node_close(n);
	n->st = NULL;
}

/* the same identity once more, as a machine that was copied has it: without the lock */
static int open_clone(const struct node *n, struct hf_store **st)
{
	struct hf_store_params p = { .keys = keys, .id = &n->id };

	must(hf_store_open(dev, &p, st, &err));
	return (*st)->ops->join(*st, &err);
}

static struct hf_store *reader(void)
{
	struct hf_store_params p = { .keys = keys };
	struct hf_store *st;

	must(hf_store_open(dev, &p, &st, &err));
	return st;
}

/* ---- heartbeats ---- */

static struct { pthread_t t; atomic_int stop, ret; struct hf_store *st; } beater[3];

static void *beat(void *arg)
{
	unsigned i = (uintptr_t)arg;

	while (!beater[i].stop) {
		struct hf_err e;
		int ret = beater[i].st->ops->beat(beater[i].st, &e);

		if (ret)
			beater[i].ret = ret;
		usleep(50000);
	}
	return NULL;
}

static void beat_start(unsigned i, struct node *n)
{
	beater[i].stop = beater[i].ret = 0;
	beater[i].st = n->st;
	pthread_create(&beater[i].t, NULL, beat, (void *)(uintptr_t)i);
}

static int beat_stop(unsigned i)
{
	beater[i].stop = 1;
	pthread_join(beater[i].t, NULL);
	return beater[i].ret;
}

/* ---- short forms ---- */

static int commit(struct hf_log *l)
{
	uint64_t gen;
	int ret = hf_log_commit(l, 0, "note", &gen, &err);

	return ret ? ret : hf_log_confirm(l, &err);
}

static int set(struct hf_log *l, const char *key, const char *value)
{
	must(put(l, key, value, strlen(value)));
	return commit(l);
}

static int ignore_rec(void *ctx, const struct hf_rec *r) { return 0; }

static int take(struct node *n, const struct hf_logid *id, unsigned flags, struct hf_claim **c)
{
	err = (struct hf_err){ 0 };
	return n->st->ops->claim(n->st, id, flags, NULL, NULL, ignore_rec, NULL, c, &err);
}

static int add(struct hf_claim *c, enum hf_rec_kind kind, uint64_t gen, const char *text)
{
	struct hf_rec r = { .kind = kind, .flags = HF_REC_FIRST, .gen = gen, .payload = text, .len = strlen(text) };

	return c->ops->append(c, &r, NULL, 0, NULL, &err);
}

/* what a log holds, as one text */
struct told { char text[4096]; unsigned n, restarts; uint64_t last; };

static int tell(void *ctx, const struct hf_rec *r)
{
	struct told *t = ctx;

	t->n++;
	t->last = r->gen;
	snprintf(t->text + strlen(t->text), sizeof(t->text) - strlen(t->text), "%llu:%.*s ",
		 (unsigned long long)r->gen, (int)(r->len > 64 ? 64 : r->len), (const char *)r->payload);
	return 0;
}

static void tell_again(void *ctx)
{
	struct told *t = ctx;

	t->restarts++;
	t->n = 0;
	t->text[0] = 0;
}

static int read_all(struct hf_store *st, const struct hf_logid *id, struct told *t)
{
	*t = (struct told){ 0 };
	return st->ops->read(st, id, 0, NULL, tell_again, tell, t, &err);
}

#endif
