// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The front of tracking: which source, the dirty sets, and who is told.
 *
 * There are two locks, taken in this order:
 *
 *   t->lock   the source's queue and tables, the list of watches, and of each
 *             watch queued, urgent, dead, busy and wake_next
 *   w->lock   w->dirty
 *
 * Notify functions are called without any. A watch on the wake list has its
 * busy count raised; hf_track_del() marks it dead, so that no call begins any
 * more, and waits for the count on t->idle before it frees the memory. The wake
 * list is always taken over by the thread that filled it before that thread
 * drops t->lock: so it is empty whenever somebody else takes the lock.
 */
#include "track_int.h"
#include <stdlib.h>

static int source_of(const char *name, const struct hf_track_ops **ops, struct hf_err *err)
{
	if (!strcmp(name, "auto") || !strcmp(name, "fanotify")) {
		*ops = &hf_track_fanotify;
		return 0;
	}
	if (!strcmp(name, "kernel"))
		return hf_fail(err, HF_OK, -ENODEV,
			       "the holdfast module is not loaded; use source = fanotify or source = auto");
	return hf_fail(err, HF_OK, -EINVAL,
		       "\"%.64s\" is not a source of changes; source is auto, kernel or fanotify", name);
}

int hf_track_open(const char *source, struct hf_track **out, struct hf_err *err)
{
	const struct hf_track_ops *ops;
	int ret = source_of(source, &ops, err);

	return ret ? ret : hf_track_open_ops(ops, 0, out, err);
}

int hf_track_open_ops(const struct hf_track_ops *ops, unsigned int flags, struct hf_track **out,
		      struct hf_err *err)
{
	struct hf_track *t;
	int ret = ops->open(flags, &t, err);

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
		hf_track_del(t->watches);
	pthread_cond_destroy(&t->idle);
	pthread_mutex_destroy(&t->lock);
	t->ops->close(t);
}

const char *hf_track_source(const struct hf_track *t)
{
	return t->ops->name;
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

void hf_watch_taint(struct hf_watch *w, const char *rel, unsigned int set, unsigned int clear,
		    const struct hf_who *who, bool urgent)
{
	pthread_mutex_lock(&w->lock);
	hf_dset_soil(&w->dirty, rel, set, clear, who);
	pthread_mutex_unlock(&w->lock);
	hf_watch_wake(w, urgent);
}

/* Drop t->lock and call whom the caller put on the wake list under it. */
static void unlock_and_wake(struct hf_track *t)
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
	unlock_and_wake(t);
	return ret;
}

int hf_track_add(struct hf_track *t, int rootfd, const char *name,
		 hf_notify_fn notify, void *arg, struct hf_watch **out, struct hf_err *err)
{
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
		ret = t->ops->add(t, rootfd, name, &w, err);
	else
		hf_fail(err, HF_OK, ret, "cannot read the queue of changes: %s", strerror(-ret));
	if (!ret) {
		w->notify = notify;
		w->arg = arg;
		w->next = t->watches;
		t->watches = w;
		*out = w;
	}
	unlock_and_wake(t);
	return ret;
}

/* for the sources: what every watch begins with */
int hf_watch_init(struct hf_watch *w, struct hf_track *t, const char *name)
{
	int ret = hf_dset_init(&w->dirty, &t->seq, 0);

	if (ret)
		return ret;
	if (name) {
		w->name = strdup(name);
		if (!w->name) {
			hf_dset_fini(&w->dirty);
			return -ENOMEM;
		}
	}
	w->t = t;
	pthread_mutex_init(&w->lock, NULL);
	return 0;
}

void hf_watch_fini(struct hf_watch *w)
{
	pthread_mutex_destroy(&w->lock);
	hf_dset_fini(&w->dirty);
	free(w->name);
	free(w);
}

void hf_track_del(struct hf_watch *w)
{
	struct hf_watch **p;
	struct hf_track *t;

	if (!w)
		return;
	t = w->t;
	pthread_mutex_lock(&t->lock);
	w->dead = true;
	for (p = &t->watches; *p != w; p = &(*p)->next)
		;
	*p = w->next;
	t->ops->del(w);
	while (w->busy)
		pthread_cond_wait(&t->idle, &t->lock);
	pthread_mutex_unlock(&t->lock);
	hf_watch_fini(w);
}

uint64_t hf_watch_seq(struct hf_watch *w)
{
	uint64_t v;

	pthread_mutex_lock(&w->lock);
	v = w->dirty.last;
	pthread_mutex_unlock(&w->lock);
	return v;
}

uint64_t hf_watch_count(struct hf_watch *w)
{
	uint64_t v;

	pthread_mutex_lock(&w->lock);
	v = w->dirty.count;
	pthread_mutex_unlock(&w->lock);
	return v;
}

uint64_t hf_watch_oldest_ns(struct hf_watch *w)
{
	uint64_t v;

	pthread_mutex_lock(&w->lock);
	v = hf_dset_oldest(&w->dirty);
	pthread_mutex_unlock(&w->lock);
	return v;
}

int hf_watch_dirty(struct hf_watch *w, int (*fn)(void *ctx, const struct hf_dirty *d), void *ctx)
{
	struct hf_dirty *d;
	size_t i, n;
	int ret;

	pthread_mutex_lock(&w->lock);
	ret = hf_dset_snapshot(&w->dirty, &d, &n);
	pthread_mutex_unlock(&w->lock);
	if (ret)
		return ret;
	for (i = 0; i < n && !ret; i++)
		ret = fn(ctx, &d[i]);
	free(d);
	return ret;
}

void hf_watch_ack(struct hf_watch *w, uint64_t id, uint64_t seq)
{
	pthread_mutex_lock(&w->lock);
	hf_dset_ack(&w->dirty, id, seq);
	pthread_mutex_unlock(&w->lock);
}

void hf_watch_soil(struct hf_watch *w, const char *rel, unsigned int flags)
{
	struct hf_track *t = w->t;

	flags &= HF_DIRTY_SUBTREE | HF_DIRTY_OPEN;
	pthread_mutex_lock(&t->lock);
	hf_watch_taint(w, rel, flags, ~flags, NULL, !(flags & HF_DIRTY_OPEN));
	unlock_and_wake(t);
}

bool hf_watch_lost(struct hf_watch *w)
{
	bool lost;

	pthread_mutex_lock(&w->t->lock);
	lost = w->t->ops->lost(w);
	unlock_and_wake(w->t);
	return lost;
}

const char *hf_watch_quality(struct hf_watch *w)
{
	const char *q;

	pthread_mutex_lock(&w->t->lock);
	q = w->t->ops->quality(w);
	pthread_mutex_unlock(&w->t->lock);
	return q;
}

uint64_t hf_watch_dirs(struct hf_watch *w)
{
	uint64_t n;

	pthread_mutex_lock(&w->t->lock);
	n = w->t->ops->dirs(w);
	pthread_mutex_unlock(&w->t->lock);
	return n;
}

int hf_watch_exclude_begin(struct hf_watch *w)
{
	struct hf_track *t = w->t;
	int ret;

	pthread_mutex_lock(&t->lock);
	ret = t->ops->drain(t);
	if (!ret)
		ret = t->ops->exclude(w, true);
	unlock_and_wake(t);
	return ret;
}

void hf_watch_exclude_end(struct hf_watch *w)
{
	struct hf_track *t = w->t;

	pthread_mutex_lock(&t->lock);
	/* should the queue not be readable, what is left in it is reported: more, not less */
	t->ops->drain(t);
	t->ops->exclude(w, false);
	unlock_and_wake(t);
}
