// SPDX-License-Identifier: LGPL-2.1-or-later
/* Trees that the module keeps for this consumer, and no watch of this process has. */
#include "track_kern.h"
#include <stdio.h>
#include <stdlib.h>

struct left { uint32_t id; char resource[256]; };
struct leftovers {
	const char *consumer;
	struct left *v;
	size_t n, cap;
};

static int one_left(void *ctx, const struct nlmsghdr *h)
{
	struct leftovers *l = ctx;
	struct hf_nlmsg m;
	int ret = hf_nlmsg_parse(h, &m, NULL, NULL);

	if (ret || !m.consumer || strcmp(m.consumer, l->consumer))
		return ret;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		struct left *v = realloc(l->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n].id = m.tree;
	snprintf(l->v[l->n].resource, sizeof(l->v[l->n].resource), "%s", m.resource ? m.resource : "");
	l->n++;
	return 0;
}

static int find_left(struct kern *k, struct leftovers *l)
{
	int ret;

	pthread_mutex_lock(&k->nl.lock);
	hf_nl_begin(&k->nl, HOLDFAST_CMD_TREE_GET);
	ret = hf_nl_call(&k->nl, true, one_left, l);
	pthread_mutex_unlock(&k->nl.lock);
	return ret;
}

bool hf_kern_left(struct hf_track *t, const char *resource, uint64_t known)
{
	struct leftovers l = { .consumer = kern_of(t)->consumer };
	bool found = false;
	size_t i;

	find_left(kern_of(t), &l);
	for (i = 0; i < l.n; i++)
		found |= l.v[i].id <= known && !strcmp(l.v[i].resource, resource);
	free(l.v);
	return found;
}

/*
 * Whom @keep wants to keep is asked without locks. A tree that a watch takes
 * over meanwhile is among the watches when they are looked at, as they are
 * added under t->lock.
 */
int hf_kern_reap(struct hf_track *t, bool (*keep)(void *arg, const char *resource), void *arg)
{
	struct kern *k = kern_of(t);
	struct leftovers l = { .consumer = k->consumer };
	struct hf_watch *b;
	size_t i;
	int ret = find_left(k, &l);

	for (i = 0; i < l.n && !ret; i++)
		if (keep(arg, l.v[i].resource))
			l.v[i].id = 0;
	pthread_mutex_lock(&t->lock);
	for (i = 0; i < l.n && !ret; i++) {
		for (b = t->watches; b && l.v[i].id; b = b->next)
			if (kern_watch_of(b)->id == l.v[i].id)
				l.v[i].id = 0;
		if (!l.v[i].id)
			continue;
		pthread_mutex_lock(&k->nl.lock);
		if (!hf_nl_tree(&k->nl, HOLDFAST_CMD_TREE_DEL, l.v[i].id, NULL))
			hf_logf(HF_LOG_NOTE, "a tree of %s that an earlier daemon left in the module is not tracked any more",
				l.v[i].resource);
		pthread_mutex_unlock(&k->nl.lock);
	}
	pthread_mutex_unlock(&t->lock);
	free(l.v);
	return ret;
}
