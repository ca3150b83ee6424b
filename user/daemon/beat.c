// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The heartbeat thread: the only one that writes this node's heartbeat, and
 * the one that looks at the rows of claims, so that everybody else answers
 * from memory. When the store hangs, this thread hangs, and nothing else.
 *
 * Lock: beat_lock, a leaf, protects what is remembered; never held while the
 * store is used.
 */
#include "memory.h"
#include "notice.h"
#include "replicator.h"
#include <stdlib.h>

static pthread_mutex_t beat_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t beat_cond;
static pthread_t thread;
static bool started, stop, lost;
static uint64_t last_ok, nodes_at;
static char last_err[512];
static struct hf_node_info nodes[HF_MAX_NODES];
static unsigned nnodes;

static void exit_stale(void *arg)
{
	sd_event_exit(hfd.event, HF_STALE);
}

static void remember(int ret, const struct hf_err *e)
{
	struct hf_node_info *n = NULL;
	int count = 0;

	if (!ret) {
		n = calloc(HF_MAX_NODES, sizeof(*n));
		count = n ? hfd.store->ops->nodes(hfd.store, n, HF_MAX_NODES) : 0;
	}
	pthread_mutex_lock(&beat_lock);
	if (!ret) {
		last_ok = hf_now_ms();
		last_err[0] = '\0';
		if (count > 0) {
			nnodes = count;
			nodes_at = last_ok;
			memcpy(nodes, n, count * sizeof(*n));
		}
	} else {
		snprintf(last_err, sizeof(last_err), "%.500s", e->msg[0] ? e->msg : strerror(-ret));
	}
	pthread_mutex_unlock(&beat_lock);
	free(n);
}

/* The first of them is to be found, and that it is over. */
static void tell_store(int ret, const struct hf_err *e)
{
	static uint64_t since;
	uint64_t now = hf_now_ms();

	if (ret && since)
		hf_logf(HF_LOG_WARN, "heartbeat: %s", e->msg);
	else if (ret)
		notice(N_STORE_SILENT, HF_LOG_WARN, NULL, "heartbeat: %s", e->msg);
	else if (since)
		notice(N_STORE_BACK, HF_LOG_NOTE, NULL, "heartbeat: the store answers again, after %llu s",
		       (unsigned long long)(now - since) / 1000);
	since = !ret ? 0 : since ? since : now;
}

/* An owner with nothing to commit would not find out that it was fenced out: let it confirm. */
static void confirm_now(struct resource *r)
{
	struct job *j = job_new(job_sync);

	if (!j)
		return;
	j->quick = true;
	job_post(r, j, NULL);
}

static void look_at(struct resource *r, void *arg)
{
	struct hf_log_stat st;
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	struct hf_err e = { 0 };
	struct hf_logid id;
	uint64_t confirmed;
	bool news = false, newer;
	int ret;

	if (!def) {
		regs_put(pin);
		return;
	}
	id = def->id;
	regs_put(pin);
	pthread_mutex_lock(&r->lock);
	confirmed = r->live && !r->without_store ? r->confirmed : 0;
	pthread_mutex_unlock(&r->lock);
	ret = hfd.store->ops->stat(hfd.store, &id, &st, NULL);
	if (ret && ret != -ENOENT)
		return;
	if (ret)
		memset(&st, 0, sizeof(st));
	ret = memory_look(&id, &st, confirmed, &e);
	pthread_mutex_lock(&r->lock);
	r->st = st;
	r->st_valid = true;
	news = ret && !*r->warn_behind;
	newer = r->live && !r->without_store && !r->jobs && !r->job && st.slot != hfd.id.slot && st.epoch > r->epoch;
	snprintf(r->warn_behind, sizeof(r->warn_behind), "%.255s", ret ? e.msg : "");
	pthread_mutex_unlock(&r->lock);
	if (news)
		notice(N_BEHIND, HF_LOG_ERR, r->name, "%s: %s", r->name, e.msg);
	if (newer)
		confirm_now(r);
	move_look(r);
}

/* Has anybody changed the registrations since they were read last? */
static void look_at_regs(void)
{
	struct hf_log_stat st;
	struct hf_logid id;
	struct hf_err e = { 0 };
	static bool behind;
	bool was = behind;

	if (hf_seam("beat.registrations"))
		return;
	hf_reg_logid(&id);
	if (hfd.store->ops->stat(hfd.store, &id, &st, &e))
		return;
	behind = memory_look(&id, &st, 0, &e);
	if (behind && !was)
		notice(N_BEHIND, HF_LOG_ERR, NULL, "%s", e.msg);
	memset(&e, 0, sizeof(e));
	if (regs_follow(&st, &e))
		hf_logf(HF_LOG_WARN, "registrations: %s", e.msg);
}

static void *run(void *arg)
{
	unsigned beats = 0;
	struct timespec ts;

	pthread_mutex_lock(&beat_lock);
	while (!stop) {
		struct hf_err e = { 0 };
		uint64_t t0 = hf_now_ms(), took;
		int ret;

		pthread_mutex_unlock(&beat_lock);
		ret = hfd.store->ops->beat(hfd.store, &e);
		remember(ret, &e);
		if (ret == -ESTALE) {
			notice(N_IDENTITY, HF_LOG_ERR, NULL,
			       "another incarnation holds this node's identity; stopping: %s", e.msg);
			pthread_mutex_lock(&beat_lock);
			lost = true;
			pthread_mutex_unlock(&beat_lock);
			post(exit_stale, NULL);
			return NULL;
		}
		tell_store(ret, &e);
		if (!ret) {
			look_at_regs();
			if (++beats % 16 == 0)
				regs_tell_store();
			resources_each(look_at, NULL);
			memory_beat();
		}
		took = hf_now_ms() - t0;
		pthread_mutex_lock(&beat_lock);
		if (stop || took >= hfd.beat_ms)
			continue;
		hf_deadline(&ts, hfd.beat_ms - took);
		pthread_cond_timedwait(&beat_cond, &beat_lock, &ts);
	}
	pthread_mutex_unlock(&beat_lock);
	return NULL;
}

int beat_start(struct hf_err *err)
{
	pthread_condattr_t a;
	int ret;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&beat_cond, &a);
	pthread_condattr_destroy(&a);
	last_ok = hf_now_ms();
	ret = pthread_create(&thread, NULL, run, NULL);
	if (ret)
		return hf_fail(err, HF_FAILED, -ret, "cannot start a thread: %s", strerror(ret));
	started = true;
	return 0;
}

/* Bounded: a thread that hangs in the store is left behind. */
void beat_stop(void)
{
	if (!started)
		return;
	pthread_mutex_lock(&beat_lock);
	stop = true;
	pthread_cond_signal(&beat_cond);
	pthread_mutex_unlock(&beat_lock);
	if (thread_ends(thread, 2000))
		started = false;
}

bool beat_lost(void)
{
	bool l;

	pthread_mutex_lock(&beat_lock);
	l = lost;
	pthread_mutex_unlock(&beat_lock);
	return l;
}

char *beat_store_text(void)
{
	uint64_t age;
	char *s;

	pthread_mutex_lock(&beat_lock);
	age = hf_now_ms() - last_ok;
	if (age <= 3ull * hfd.beat_ms + 500)
		s = strdup("ok");
	else
		s = hf_strf("the store has been silent for %llu.%llu s%s%s", (unsigned long long)age / 1000,
			    (unsigned long long)age % 1000 / 100, last_err[0] ? ": " : "", last_err);
	pthread_mutex_unlock(&beat_lock);
	return s;
}

uint64_t beat_silent_ms(void)
{
	uint64_t ms;

	pthread_mutex_lock(&beat_lock);
	ms = hf_now_ms() - last_ok;
	pthread_mutex_unlock(&beat_lock);
	return ms;
}

unsigned beat_nodes(struct hf_node_info *arr, unsigned max)
{
	uint64_t now;
	unsigned n;

	hf_seam("beat.nodes");
	pthread_mutex_lock(&beat_lock);
	/* not before what it is compared with */
	now = hf_now_ms();
	n = nnodes < max ? nnodes : max;
	memcpy(arr, nodes, n * sizeof(*arr));
	for (unsigned i = 0; i < n; i++)
		arr[i].age_ms += now - nodes_at;
	pthread_mutex_unlock(&beat_lock);
	return n;
}
