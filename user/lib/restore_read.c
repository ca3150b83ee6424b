// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What a restore is about to write, read ahead by a thread of its own: to authenticate and to unpack takes about
 * as long as to write. The order in which the tree is changed is that of one thread all the same.
 *
 * Lock: mu, a leaf, protects all of struct hf_fetch but what the slots hold: that is the thread's up to
 * `made`, and the user's from then on until it asks for the next one. db_mu is held around each use of the
 * database, which knows one thread at a time; never together with mu.
 */
#include "restore_int.h"
#include <stdlib.h>

#define SLOTS 32u
#define FEW 64u		/* for less it is not worth a thread */

struct slot {
	struct hf_content c;
	size_t cap;
};

struct hf_fetch {
	struct restore *r;
	pthread_t thread;
	pthread_mutex_t mu, db_mu;
	pthread_cond_t more, less;
	uint64_t made, used;
	bool stop;
	struct slot slot[SLOTS];
};

static int take_in(void *ctx, const void *p, size_t n)
{
	struct slot *s = ctx;

	if (n > s->cap - s->c.len)
		return -EBADMSG;
	memcpy(s->c.data + s->c.len, p, n);
	s->c.len += n;
	return 0;
}

/* What cannot be had so its writer asks for himself: then it is told why. */
static void read_one(struct hf_fetch *a, const char *rel, struct slot *s)
{
	const struct hf_tree_db *db = a->r->db;
	struct hf_known k;

	s->c.len = 0;
	s->c.whole = false;
	pthread_mutex_lock(&a->db_mu);
	if (!db->get(db->arg, rel, &k) || !S_ISREG(hf_attr_mode(k.attr, k.attrlen)) || k.size > HF_SMALL)
		goto out;
	if (s->cap < k.size) {
		hf_scratch_free(a->r->t, s->c.data, s->cap);
		s->c.data = malloc(k.size);
		s->cap = s->c.data ? k.size : 0;
	}
	hf_attr_free(&s->c.want);
	s->c.whole = s->cap >= k.size && !hf_attr_decode(k.attr, k.attrlen, &s->c.want) &&
		     (!k.size || !db->read(db->arg, rel, take_in, s)) && s->c.len == k.size;
out:
	pthread_mutex_unlock(&a->db_mu);
}

static void *run(void *arg)
{
	struct hf_fetch *a = arg;
	const struct list *l = &a->r->items;

	for (size_t i = 0; i < l->n; i++) {
		const struct item *it = &l->e[a->r->order[i]];

		if (it->op != OP_WRITE)
			continue;
		pthread_mutex_lock(&a->mu);
		while (a->made - a->used >= SLOTS && !a->stop)
			pthread_cond_wait(&a->less, &a->mu);
		if (a->stop)
			i = l->n;
		pthread_mutex_unlock(&a->mu);
		if (i == l->n)
			break;
		read_one(a, it->rel, &a->slot[a->made % SLOTS]);
		pthread_mutex_lock(&a->mu);
		a->made++;
		pthread_cond_signal(&a->more);
		pthread_mutex_unlock(&a->mu);
	}
	return NULL;
}

struct hf_fetch *hf_fetch_begin(struct restore *r)
{
	struct hf_fetch *a;
	size_t n = 0;

	for (size_t i = 0; i < r->items.n; i++)
		n += r->items.e[i].op == OP_WRITE;
	a = n < FEW ? NULL : hf_alloc(sizeof(*a));
	if (!a)
		return NULL;
	a->r = r;
	pthread_mutex_init(&a->mu, NULL);
	pthread_mutex_init(&a->db_mu, NULL);
	pthread_cond_init(&a->more, NULL);
	pthread_cond_init(&a->less, NULL);
	if (!pthread_create(&a->thread, NULL, run, a))
		return a;
	free(a);
	return NULL;
}

struct hf_content *hf_fetch_next(struct hf_fetch *a)
{
	struct slot *s;

	if (!a)
		return NULL;
	pthread_mutex_lock(&a->mu);
	while (a->made == a->used)
		pthread_cond_wait(&a->more, &a->mu);
	s = &a->slot[a->used % SLOTS];
	pthread_mutex_unlock(&a->mu);
	return s->c.whole ? &s->c : NULL;
}

void hf_fetch_done(struct hf_fetch *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->mu);
	/* woken for half of them, not for each */
	if (++a->used + SLOTS / 2 >= a->made)
		pthread_cond_signal(&a->less);
	pthread_mutex_unlock(&a->mu);
}

void hf_fetch_end(struct hf_fetch *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->mu);
	a->stop = true;
	pthread_cond_signal(&a->less);
	pthread_mutex_unlock(&a->mu);
	pthread_join(a->thread, NULL);
	for (unsigned i = 0; i < SLOTS; i++) {
		hf_attr_free(&a->slot[i].c.want);
		hf_scratch_free(a->r->t, a->slot[i].c.data, a->slot[i].cap);
	}
	pthread_cond_destroy(&a->more);
	pthread_cond_destroy(&a->less);
	pthread_mutex_destroy(&a->mu);
	pthread_mutex_destroy(&a->db_mu);
	free(a);
}

void hf_fetch_lock(struct hf_fetch *a)
{
	if (a)
		pthread_mutex_lock(&a->db_mu);
}

void hf_fetch_unlock(struct hf_fetch *a)
{
	if (a)
		pthread_mutex_unlock(&a->db_mu);
}
