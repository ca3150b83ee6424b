// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The front of tracking: which source, the watches, and who is told.
 *
 * There are two locks, taken in this order:
 *
 *   t->lock   the source's queue and tables, the list of watches, and of each
 *             watch queued, urgent, dead, busy and wake_next
 *   w->lock   w->dirty, or what the source keeps of the watch
 *
 * Notify functions are called without any. A watch on the wake list has its
 * busy count raised; hf_track_del() marks it dead, so that no call begins any
 * more, and waits for the count on t->idle before it frees the memory. The wake
 * list is always taken over by the thread that filled it before that thread
 * drops t->lock: so it is empty whenever somebody else takes the lock.
 */
#include "track_int.h"
#include <stdio.h>
#include <stdlib.h>

int hf_track_open(const char *source, const char *consumer, struct hf_track **out, struct hf_err *err)
{
	struct hf_err e = { 0 };
	bool any = !strcmp(source, "auto");
	int ret;

	if (!any && strcmp(source, "kernel") && strcmp(source, "fanotify"))
		return hf_fail(err, HF_OK, -EINVAL,
			       "\"%.64s\" is not a source of changes; source is auto, kernel or fanotify", source);
	if (strcmp(source, "fanotify")) {
		ret = hf_track_open_ops(&hf_track_kernel, consumer, 0, out, &e);
		if (!ret)
			return 0;
		if (!any)
			return hf_fail(err, e.exit, ret, "%s", e.msg);
	}
	ret = hf_track_open_ops(&hf_track_fanotify, consumer, 0, out, err);
	if (!ret)
		snprintf((*out)->why, sizeof((*out)->why), "%.255s", e.msg);
	return ret;
}

int hf_track_open_ops(const struct hf_track_ops *ops, const char *consumer, unsigned int flags,
		      struct hf_track **out, struct hf_err *err)
{
	struct hf_track *t;
	int ret = ops->open(consumer, flags, &t, err);

	if (ret)
		return ret;
	t->ops = ops;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->idle, NULL);
	*out = t;
	return 0;
}

void hf_track_close(struct hf_track *t)
{
	if (!t)
		return;
	while (t->watches)
		hf_track_leave(t->watches);
	pthread_cond_destroy(&t->idle);
	pthread_mutex_destroy(&t->lock);
	t->ops->close(t);
}

const char *hf_track_source(const struct hf_track *t)
{
	return t->ops->name;
}

const char *hf_track_why(const struct hf_track *t)
{
	return t->why;
}

int hf_track_fd(const struct hf_track *t)
{
	return t->ops->fd(t);
}

void hf_watch_wake(struct hf_watch *w, bool urgent)
{
	w->urgent |= urgent;
	if (w->queued)
		return;
	w->queued = true;
	w->busy++;
	w->wake_next = w->t->wake;
	w->t->wake = w;
}

void hf_track_unlock(struct hf_track *t)
{
	struct hf_watch *w = t->wake, *next;
	bool urgent, dead;

	t->wake = NULL;
	while (w) {
		/* from here on another thread may queue it again, on its own list */
		next = w->wake_next;
		w->queued = false;
		urgent = w->urgent;
		w->urgent = false;
		dead = w->dead;
		pthread_mutex_unlock(&t->lock);
		if (!dead && w->notify)
			w->notify(w->arg, urgent);
		pthread_mutex_lock(&t->lock);
		if (!--w->busy)
			pthread_cond_broadcast(&t->idle);
		w = next;
	}
	pthread_mutex_unlock(&t->lock);
}

int hf_track_drain(struct hf_track *t)
{
	int ret;

	pthread_mutex_lock(&t->lock);
	ret = t->ops->drain(t);
	hf_track_unlock(t);
	return ret;
}

int hf_track_add(struct hf_track *t, int rootfd, const char *name, const struct hf_track_label *label,
		 hf_notify_fn notify, void *arg, struct hf_watch **out, struct hf_err *err)
{
	static const struct hf_track_label none = { .resource = "", .path = "" };
	struct hf_watch *w;
	int ret;

	if (name && (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..")))
		return hf_fail(err, HF_OK, -EINVAL, "the name of a single file can not be \"%.255s\"",
			       name);
	pthread_mutex_lock(&t->lock);
	/* what is still in the queue was before: a tree that shares directories
	 * with this one must not put it into the new set */
	ret = t->ops->drain(t);
	if (!ret)
		ret = t->ops->add(t, rootfd, name, label ? label : &none, &w, err);
	else
		hf_fail(err, HF_OK, ret, "cannot read the queue of changes: %s", strerror(-ret));
	if (!ret) {
		w->notify = notify;
		w->arg = arg;
		w->next = t->watches;
		t->watches = w;
	}
	hf_track_unlock(t);
	if (!ret && t->ops->walk) {
		ret = t->ops->walk(w, err);
		if (ret)
			hf_track_del(w);
	}
	if (!ret)
		*out = w;
	return ret;
}

/* for the sources: what every watch begins with */
int hf_watch_init(struct hf_watch *w, struct hf_track *t, const char *name)
{
	if (name) {
		w->name = strdup(name);
		if (!w->name)
			return -ENOMEM;
	}
	w->t = t;
	pthread_mutex_init(&w->lock, NULL);
	return 0;
}

void hf_watch_fini(struct hf_watch *w)
{
	pthread_mutex_destroy(&w->lock);
	free(w->name);
	free(w);
}

static void end(struct hf_watch *w, bool keep)
{
	const struct hf_track_ops *ops;
	struct hf_watch **p;
	struct hf_track *t;

	if (!w)
		return;
	t = w->t;
	ops = t->ops;
	pthread_mutex_lock(&t->lock);
	w->dead = true;
	for (p = &t->watches; *p != w; p = &(*p)->next)
		;
	*p = w->next;
	ops->del(w);
	while (w->busy)
		pthread_cond_wait(&t->idle, &t->lock);
	pthread_mutex_unlock(&t->lock);
	ops->fini(w, keep);
}

void hf_track_del(struct hf_watch *w)
{
	end(w, false);
}

void hf_track_leave(struct hf_watch *w)
{
	end(w, true);
}

int hf_track_reap(struct hf_track *t, bool (*keep)(void *arg, const char *resource), void *arg)
{
	return t->ops->reap ? t->ops->reap(t, keep, arg) : 0;
}

bool hf_track_left(struct hf_track *t, const char *resource, uint64_t known)
{
	return known && t->ops->left && t->ops->left(t, resource, known);
}

uint64_t hf_watch_id(struct hf_watch *w)
{
	return w->t->ops->id ? w->t->ops->id(w) : 0;
}

bool hf_watch_resumed(struct hf_watch *w)
{
	return w->t->ops->resumed && w->t->ops->resumed(w);
}

uint64_t hf_watch_seq(struct hf_watch *w)
{
	return w->t->ops->seq(w);
}

uint64_t hf_watch_count(struct hf_watch *w)
{
	return w->t->ops->count(w);
}

uint64_t hf_watch_oldest_ns(struct hf_watch *w)
{
	return w->t->ops->oldest(w);
}

int hf_watch_dirty(struct hf_watch *w, int (*fn)(void *ctx, const struct hf_dirty *d), void *ctx)
{
	struct hf_dirty *d;
	size_t i, n;
	int ret = w->t->ops->snapshot(w, &d, &n);

	if (ret)
		return ret;
	for (i = 0; i < n && !ret; i++)
		ret = fn(ctx, &d[i]);
	free(d);
	return ret;
}

void hf_watch_ack(struct hf_watch *w, uint64_t id, uint64_t seq)
{
	w->t->ops->ack(w, id, seq);
}

void hf_watch_ack_flush(struct hf_watch *w)
{
	if (w->t->ops->ack_flush)
		w->t->ops->ack_flush(w);
}

bool hf_watch_lost(struct hf_watch *w)
{
	return w->t->ops->lost(w);
}

const char *hf_watch_quality(struct hf_watch *w)
{
	return w->t->ops->quality(w);
}

uint64_t hf_watch_dirs(struct hf_watch *w)
{
	return w->t->ops->dirs(w);
}

int hf_watch_exclude_begin(struct hf_watch *w)
{
	return w->t->ops->exclude(w, true);
}

void hf_watch_exclude_end(struct hf_watch *w)
{
	w->t->ops->exclude(w, false);
}
