// SPDX-License-Identifier: LGPL-2.1-or-later
/* The dirty set of a watch whose source keeps none: in this process, under w->lock. */
#include "track_int.h"

int hf_local_init(struct hf_watch *w, struct hf_track *t, const char *name)
{
	int ret = hf_dset_init(&w->dirty, &t->seq, 0);

	if (ret)
		return ret;
	ret = hf_watch_init(w, t, name);
	if (ret)
		hf_dset_fini(&w->dirty);
	return ret;
}

void hf_local_fini(struct hf_watch *w)
{
	hf_dset_fini(&w->dirty);
	hf_watch_fini(w);
}

void hf_watch_taint(struct hf_watch *w, const char *rel, unsigned int set, unsigned int clear,
		    const struct hf_who *who, bool urgent)
{
	pthread_mutex_lock(&w->lock);
	hf_dset_soil(&w->dirty, rel, set, clear, who);
	pthread_mutex_unlock(&w->lock);
	hf_watch_wake(w, urgent);
}

uint64_t hf_local_seq(struct hf_watch *w)
{
	uint64_t v;

	pthread_mutex_lock(&w->lock);
	v = w->dirty.last;
	pthread_mutex_unlock(&w->lock);
	return v;
}

uint64_t hf_local_count(struct hf_watch *w)
{
	uint64_t v;

	pthread_mutex_lock(&w->lock);
	v = w->dirty.count;
	pthread_mutex_unlock(&w->lock);
	return v;
}

uint64_t hf_local_oldest(struct hf_watch *w)
{
	uint64_t v;

	pthread_mutex_lock(&w->lock);
	v = hf_dset_oldest(&w->dirty);
	pthread_mutex_unlock(&w->lock);
	return v;
}

int hf_local_snapshot(struct hf_watch *w, struct hf_dirty **out, size_t *n)
{
	int ret;

	pthread_mutex_lock(&w->lock);
	ret = hf_dset_snapshot(&w->dirty, out, n);
	pthread_mutex_unlock(&w->lock);
	return ret;
}

void hf_local_ack(struct hf_watch *w, uint64_t id, uint64_t seq)
{
	pthread_mutex_lock(&w->lock);
	hf_dset_ack(&w->dirty, id, seq);
	pthread_mutex_unlock(&w->lock);
}
