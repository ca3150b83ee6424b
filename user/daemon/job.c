// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Jobs: what a request asks of a resource's worker. The one who asked waits
 * here; when the store does not answer it stops waiting, and the worker
 * goes on. Locking: see resource.c; a job's results are the worker's until done is
 * set under r->lock.
 */
#include "replicator.h"
#include <stdlib.h>

struct job *job_new(int (*fn)(struct resource *r, struct job *j))
{
	struct job *j = hf_alloc(sizeof(*j));

	if (!j)
		return NULL;
	j->fn = fn;
	j->refs = 1;
	return j;
}

void job_put(struct job *j)
{
	if (!j || __atomic_sub_fetch(&j->refs, 1, __ATOMIC_ACQ_REL))
		return;
	json_object_put(j->displaced);
	json_object_put(j->stayed);
	json_object_put(j->changes);
	group_put(j->group);
	json_object_put(j->paths);
	json_object_put(j->pins);
	free(j);
}

void job_finish(struct resource *r, struct job *j, int ret)
{
	j->ret = ret;
	if (ret && !j->err.exit)
		hf_fail(&j->err, HF_OK, ret, "%s: %s", r->name, strerror(-ret));
	j->done = true;
	pthread_cond_broadcast(&r->done);
}

int job_post(struct resource *r, struct job *j, struct hf_err *err)
{
	int ret;

	pthread_mutex_lock(&r->lock);
	ret = resource_start(r, err);
	if (!ret) {
		*r->jobs_tail = j;
		r->jobs_tail = &j->next;
		pthread_cond_signal(&r->wake);
	}
	pthread_mutex_unlock(&r->lock);
	if (ret)
		job_put(j);
	return ret;
}

/* With r->lock held, which it gives up to tell: its time is up. */
static void expire(struct resource *r, struct job *j)
{
	struct passage p;

	if (!j->pends || j->expired || (r->state != RS_ONLINE_PENDING && r->state != RS_OFFLINE_PENDING))
		return;
	snprintf(j->late, sizeof(j->late), "not %s within %llu ms: it was still %s",
		 r->state == RS_OFFLINE_PENDING ? "offline" : "online", (unsigned long long)j->timeout_ms,
		 j->step ? j->step : "waiting");
	j->expired = true;
	p = resource_step(r, EV_TIMEOUT, j->late);
	pthread_mutex_unlock(&r->lock);
	resource_tell(r, p, EV_TIMEOUT, j->late);
	pthread_mutex_lock(&r->lock);
}

bool job_late(struct resource *r, struct job *j)
{
	bool late;

	pthread_mutex_lock(&r->lock);
	if (j->deadline_ms && hf_now_ms() >= j->deadline_ms)
		expire(r, j);
	late = j->expired;
	pthread_mutex_unlock(&r->lock);
	return late;
}

static int no_time(struct resource *r, struct job *j, struct hf_err *err)
{
	return hf_fail(err, HF_FAILED, -ETIMEDOUT, "%s: not done within %llu ms%s%s", r->name,
		       (unsigned long long)j->timeout_ms, j->step ? "; it was still " : "", j->step ? j->step : "");
}

int job_step(struct resource *r, struct job *j, const char *step, struct hf_err *err)
{
	bool late;

	pthread_mutex_lock(&r->lock);
	late = j->deadline_ms && hf_now_ms() >= j->deadline_ms;
	if (late)
		expire(r, j);
	late |= j->expired;
	if (!late)
		j->step = step;
	/* nothing comes after the last one that could be given up */
	if (!late && !step)
		j->pends = false;
	pthread_mutex_unlock(&r->lock);
	return late ? no_time(r, j, err) : 0;
}

/* with r->lock held; false: it is being worked on */
static bool unqueue(struct resource *r, struct job *j)
{
	struct job **p = &r->jobs;

	while (*p && *p != j)
		p = &(*p)->next;
	if (!*p)
		return false;
	*p = j->next;
	if (!*p)
		r->jobs_tail = p;
	job_put(j);
	return true;
}

static void wait_slice(struct resource *r)
{
	struct timespec ts;

	hf_deadline(&ts, 200);
	pthread_cond_timedwait(&r->done, &r->lock, &ts);
}

/* With r->lock held: how long the worker may wait for the store until @j is told that it does not answer. A claim
 * may wait for a lease by right, and longer than a commit; a sync may stand behind one. */
static uint64_t patience(const struct resource *r, const struct job *j, const struct hf_policy *pol)
{
	uint64_t claim = 3ull * hfd.lease_ms;

	if (j->fn == job_sync && (!r->job || r->job->fn == job_sync))
		return pol->commit_timeout_ms;
	return pol->commit_timeout_ms > claim ? pol->commit_timeout_ms : claim;
}

int job_run(struct resource *r, struct job *j, struct hf_err *err)
{
	struct hf_policy pol;
	uint64_t busy, now;
	int ret;

	resource_policy(r, &pol);
	__atomic_add_fetch(&j->refs, 1, __ATOMIC_RELAXED);
	hf_seam("job.run");
	ret = job_post(r, j, err);
	if (ret)
		return ret;
	pthread_mutex_lock(&r->lock);
	while (!j->done) {
		wait_slice(r);
		if (j->done)
			break;
		now = hf_now_ms();
		busy = atomic_load(&r->busy);
		if (busy && now > busy && now - busy > patience(r, j, &pol)) {
			ret = hf_fail(err, HF_UNAVAIL, -ETIMEDOUT,
				      "%s: the store has not answered for %llu s; the work goes on as soon as it does",
				      r->name, (unsigned long long)(now - busy) / 1000);
			break;
		}
		/* the worker knows the deadline too, and may have the better reason */
		if (!j->deadline_ms || now <= j->deadline_ms + 500)
			continue;
		if (unqueue(r, j)) {
			ret = hf_fail(err, HF_FAILED, -ETIMEDOUT,
				      "%s: not begun within %llu ms, because of what this node does with it already; nothing was changed",
				      r->name, (unsigned long long)j->timeout_ms);
			break;
		}
		expire(r, j);
		ret = j->expired ? no_time(r, j, err) :
		      hf_fail(err, HF_FAILED, -ETIMEDOUT, "%s: not done within the time given; the work goes on", r->name);
		break;
	}
	pthread_mutex_unlock(&r->lock);
	return ret;
}
