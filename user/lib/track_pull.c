// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The dirty set of a tree, pulled from the module, and its acknowledgements.
 *
 * An entry that says "scan this subtree" stands for directories that may not be
 * marked. They are marked before it is handed over, so that whoever scans it
 * then misses nothing later; should that fail the entry is handed over all the
 * same, but never acknowledged: it stays, and is scanned each time.
 */
#include "track_kern.h"
#include <stdlib.h>

#define DUMPS 8
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 300000

struct entry {
	struct hf_dirty d;
	char *rel;
};

struct pull {
	struct kern_watch *w;
	struct entry *v;
	size_t n, cap;
};

static void empty(struct pull *p)
{
	while (p->n)
		free(p->v[--p->n].rel);
}

static int add(struct pull *p, const struct hf_dirty *d, const char *rel, size_t len)
{
	struct entry *e;

	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 64;

		e = realloc(p->v, cap * sizeof(*e));
		if (!e)
			return -ENOMEM;
		p->v = e;
		p->cap = cap;
	}
	e = &p->v[p->n];
	e->d = *d;
	e->rel = strndup(rel, len);
	if (!e->rel)
		return -ENOMEM;
	p->n++;
	return 0;
}

static int one_change(void *ctx, const struct hf_nlchange *c)
{
	struct pull *p = ctx;
	const char *name = p->w->base.name;
	struct hf_dirty d = { .id = c->id, .seq = c->seq, .first_ns = c->since,
			      .pid = (pid_t)c->pid, .uid = (uid_t)c->uid, .login = (uid_t)c->login };

	if (!c->id)
		return -EBADMSG;
	memcpy(d.comm, c->comm, sizeof(d.comm));
	if (c->state & HOLDFAST_STATE_SUBTREE && !name)
		d.flags |= HF_DIRTY_SUBTREE;
	if (c->state & HOLDFAST_STATE_OPEN)
		d.flags |= HF_DIRTY_OPEN;
	if (c->state & HOLDFAST_STATE_MAPPED)
		d.flags |= HF_DIRTY_MAPPED;
	/* of a single file all that can be dirty is that file */
	return name ? add(p, &d, name, strlen(name)) : add(p, &d, c->path, c->len);
}

static int one_msg(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;

	return hf_nlmsg_parse(h, &m, one_change, ctx);
}

/*
 * A dump that was interrupted holds all that was dirty before it began, and may
 * lack what came later. That has an event of its own, so the last try is taken
 * as it is.
 */
static int dump(struct kern_watch *w, struct pull *p)
{
	struct hf_nl *nl = &kern_of(w->base.t)->nl;
	int tries = 0, ret;

	pthread_mutex_lock(&nl->lock);
	do {
		empty(p);
		mnl_attr_put_u32(hf_nl_begin(nl, HOLDFAST_CMD_DIRTY_GET), HOLDFAST_A_TREE_ID, w->id);
		ret = hf_nl_call(nl, true, one_msg, p);
	} while ((!ret || ret == -EINTR || ret == -ENOBUFS) && (nl->interrupted || ret) && ++tries < DUMPS);
	pthread_mutex_unlock(&nl->lock);
	return ret;
}

/* nl.lock held */
static void send_acks(struct kern_watch *w)
{
	struct hf_nl *nl = &kern_of(w->base.t)->nl;
	struct kern_ack acks[HF_KERN_ACKS];
	struct nlmsghdr *h;
	struct nlattr *nest;
	unsigned int n, i;

	pthread_mutex_lock(&w->base.lock);
	n = w->nacks;
	memcpy(acks, w->acks, n * sizeof(*acks));
	w->nacks = 0;
	pthread_mutex_unlock(&w->base.lock);
	if (!n)
		return;
	h = hf_nl_begin(nl, HOLDFAST_CMD_ACK);
	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, w->id);
	for (i = 0; i < n; i++) {
		nest = mnl_attr_nest_start(h, HOLDFAST_A_ACK);
		mnl_attr_put_u64(h, HOLDFAST_A_ACK_ID, acks[i].id);
		mnl_attr_put_u64(h, HOLDFAST_A_ACK_SEQ, acks[i].seq);
		mnl_attr_nest_end(h, nest);
	}
	/* what is not acknowledged stays dirty, and is captured once more */
	hf_nl_call(nl, false, NULL, NULL);
}

void hf_kern_ack_flush(struct hf_watch *b)
{
	struct hf_nl *nl = &kern_of(b->t)->nl;

	pthread_mutex_lock(&nl->lock);
	send_acks(kern_watch_of(b));
	pthread_mutex_unlock(&nl->lock);
}

int hf_kern_look(struct kern_watch *w, bool wait)
{
	struct hf_nl *nl = &kern_of(w->base.t)->nl;
	struct hf_nlmsg m;
	int ret;

	if (wait)
		pthread_mutex_lock(&nl->lock);
	else if (pthread_mutex_trylock(&nl->lock))
		return -EAGAIN;
	send_acks(w);
	/* who only wants to tell need not wait for what is under way */
	ret = hf_nl_tree(nl, wait ? HOLDFAST_CMD_BARRIER : HOLDFAST_CMD_TREE_GET, w->id, &m);
	pthread_mutex_unlock(&nl->lock);
	pthread_mutex_lock(&w->base.lock);
	if (!ret) {
		/* a barrier does not tell it */
		if (wait)
			m.quality = w->now.quality;
		w->now = m;
	}
	w->gone |= ret == -ENOENT;
	pthread_mutex_unlock(&w->base.lock);
	return ret;
}

static const struct kern_walked *find_walked(const struct kern_watch *w, uint64_t id)
{
	for (size_t i = 0; i < w->nwalked; i++)
		if (w->walked[i].id == id)
			return &w->walked[i];
	return NULL;
}

static void queue_ack(struct kern_watch *w, uint64_t id, uint64_t seq)
{
	bool full;

	do {
		pthread_mutex_lock(&w->base.lock);
		full = w->nacks == HF_KERN_ACKS;
		if (!full)
			w->acks[w->nacks++] = (struct kern_ack){ id, seq };
		pthread_mutex_unlock(&w->base.lock);
		if (full)
			hf_kern_ack_flush(&w->base);
	} while (full);
}

void hf_kern_ack(struct hf_watch *b, uint64_t id, uint64_t seq)
{
	struct kern_watch *w = kern_watch_of(b);
	const struct kern_walked *k;
	bool stays;

	pthread_mutex_lock(&b->lock);
	k = find_walked(w, id);
	stays = !id || (k && k->failed);
	if (!id && seq == w->own_seq)
		w->own_dirty = false;
	pthread_mutex_unlock(&b->lock);
	if (!stays)
		queue_ack(w, id, seq);
}

void hf_kern_soil(struct kern_watch *w)
{
	if (!w->own_dirty)
		w->own_ns = hf_now_ns();
	w->own_dirty = true;
	w->own_seq++;
}

/* w->lock held */
static void try_later(struct kern_watch *w)
{
	w->retry_ms = w->retry_ms ? w->retry_ms * 2 : RETRY_MIN_MS;
	if (w->retry_ms > RETRY_MAX_MS)
		w->retry_ms = RETRY_MAX_MS;
	w->retry_at = hf_now_ms() + w->retry_ms;
}

static void say(const struct kern_watch *w, int ret)
{
	hf_logf(HF_LOG_WARN, "%s: not every directory of %s can be marked: %s%s; it is scanned instead",
		w->resource, w->path, strerror(-ret),
		ret == -ENOSPC ? " (raise /sys/module/holdfast/parameters/marks_max)" : "");
}

void hf_kern_walk_root(struct kern_watch *w)
{
	bool skipped = false, first;
	int ret;

	ret = hf_nl_walk(&kern_of(w->base.t)->nl, w->id, w->rootfd, "", &skipped);
	pthread_mutex_lock(&w->base.lock);
	first = ret && !w->unmarked;
	w->unmarked = ret;
	w->rewalk = false;
	w->skipped |= skipped;
	if (ret) {
		hf_kern_soil(w);
		try_later(w);
	} else if (!w->failed) {
		w->retry_at = w->retry_ms = 0;
	}
	pthread_mutex_unlock(&w->base.lock);
	if (first)
		say(w, ret);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->rel, ((const struct entry *)b)->rel);
}

static int by_age(const void *a, const void *b)
{
	const struct hf_dirty *x = &((const struct entry *)a)->d, *y = &((const struct entry *)b)->d;

	if (x->first_ns != y->first_ns)
		return x->first_ns < y->first_ns ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static bool below(const char *rel, const char *top)
{
	size_t n = strlen(top);

	return !n || (!strncmp(rel, top, n) && (!rel[n] || rel[n] == '/'));
}

/* Mark the directories that entry @d stands for, unless that was done already. */
static int walk_entry(struct kern_watch *w, const struct entry *e, const char *top, int top_ret,
		      bool retry, bool *skipped)
{
	const struct kern_walked *k = find_walked(w, e->d.id);

	if (top && below(e->rel, top))
		return top_ret;
	if (k && k->seq == e->d.seq && !k->failed)
		return 0;
	if (k && k->failed && !retry)
		return -EAGAIN;
	return hf_nl_walk(&kern_of(w->base.t)->nl, w->id, w->rootfd, e->rel, skipped);
}

/*
 * Only the thread that captures a tree pulls it: between two calls nobody else
 * changes w->walked.
 */
static int walk_all(struct kern_watch *w, struct pull *p)
{
	struct kern_walked *now = calloc(p->n + 1, sizeof(*now));
	const char *top = NULL;
	bool retry, skipped = false, failed = false, was;
	int ret, why = 0, top_ret = 0;
	size_t i, n = 0;

	if (!now)
		return -ENOMEM;
	retry = !w->retry_at || hf_now_ms() >= w->retry_at;
	if (p->n)
		qsort(p->v, p->n, sizeof(*p->v), by_path);
	for (i = 0; i < p->n; i++) {
		const struct entry *e = &p->v[i];

		if (!(e->d.flags & HF_DIRTY_SUBTREE))
			continue;
		ret = walk_entry(w, e, top, top_ret, retry, &skipped);
		if (!top || !below(e->rel, top)) {
			/* what was not walked now says nothing about what lies below it */
			const struct kern_walked *k = find_walked(w, e->d.id);
			bool done = !k || k->seq != e->d.seq || (k->failed && retry);

			top = done ? e->rel : NULL;
			top_ret = ret;
		}
		now[n++] = (struct kern_walked){ .id = e->d.id, .seq = e->d.seq, .failed = ret };
		failed |= ret;
		if (ret && ret != -EAGAIN)
			why = ret;
	}
	pthread_mutex_lock(&w->base.lock);
	free(w->walked);
	w->walked = now;
	w->nwalked = n;
	was = w->failed;
	w->failed = failed;
	w->skipped |= skipped;
	if (why)
		try_later(w);
	else if (!failed && !w->unmarked)
		w->retry_at = w->retry_ms = 0;
	pthread_mutex_unlock(&w->base.lock);
	if (why && !was)
		say(w, why);
	return 0;
}

/* A restore's temporary names are nobody's news. */
static void drop_temps(struct kern_watch *w, struct pull *p)
{
	size_t i, n = 0;

	for (i = 0; i < p->n; i++) {
		if (hf_nl_is_temp(p->v[i].rel)) {
			queue_ack(w, p->v[i].d.id, p->v[i].d.seq);
			free(p->v[i].rel);
		} else {
			p->v[n++] = p->v[i];
		}
	}
	p->n = n;
}

static int pack(struct pull *p, struct hf_dirty **out, size_t *count)
{
	size_t names = 0, i, len;
	struct hf_dirty *d;
	char *s;

	*out = NULL;
	*count = p->n;
	if (!p->n)
		return 0;
	for (i = 0; i < p->n; i++)
		names += strlen(p->v[i].rel) + 1;
	d = malloc(p->n * sizeof(*d) + names);
	if (!d)
		return -ENOMEM;
	qsort(p->v, p->n, sizeof(*p->v), by_age);
	s = (char *)(d + p->n);
	for (i = 0; i < p->n; i++) {
		len = strlen(p->v[i].rel) + 1;
		d[i] = p->v[i].d;
		d[i].rel = memcpy(s, p->v[i].rel, len);
		s += len;
	}
	*out = d;
	return 0;
}

int hf_kern_snapshot(struct hf_watch *b, struct hf_dirty **out, size_t *n)
{
	struct kern_watch *w = kern_watch_of(b);
	struct hf_dirty own = { .uid = (uid_t)-1, .login = (uid_t)-1, .flags = HF_DIRTY_SUBTREE };
	struct pull p = { .w = w };
	bool rewalk, dirty;
	int ret;

	hf_kern_ack_flush(b);
	pthread_mutex_lock(&b->lock);
	rewalk = w->rewalk;
	pthread_mutex_unlock(&b->lock);
	if (rewalk)
		hf_kern_walk_root(w);
	ret = dump(w, &p);
	if (!ret) {
		drop_temps(w, &p);
		ret = walk_all(w, &p);
	}
	pthread_mutex_lock(&b->lock);
	dirty = w->own_dirty;
	own.seq = w->own_seq;
	own.first_ns = w->own_ns;
	pthread_mutex_unlock(&b->lock);
	if (!ret && dirty)
		ret = add(&p, &own, "", 0);
	if (!ret)
		ret = pack(&p, out, n);
	empty(&p);
	free(p.v);
	return ret;
}
