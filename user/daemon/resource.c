// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The life of a resource on this node. One struct for each that is registered
 * or has a journal; a worker thread from the first job on.
 *
 * Locks, in the order in which they may nest:
 *
 *   load_lock (regs.c)	held while the registrations are read from the store
 *   table_lock		the list of resources
 *   r->lock		what struct resource says; never held over a wait for a
 *			store or a disk, so that `status` answers whatever hangs
 *   leaves		the tracker's own locks (hf_watch_count() is called under
 *			r->lock; hf_track_del() and hf_track_drain() never, as they
 *			wait for resource_notify()), places_lock (overlap.c),
 *			cur_lock (regs.c), post_lock (post.c), follow_lock (follow.c), those
 *			of beat.c, hook_lock (hooks.c)
 *
 * What keeps what alive: the table has one reference to a resource, its worker
 * another, and whoever looked it up a third. Trees, watches and the log belong
 * to the worker alone; r->cp is changed under r->lock, so that others may read
 * the watches' counters there.
 */
#include "account.h"
#include "notice.h"
#include "replicator.h"
#include "server.h"
#include <stdlib.h>

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct resource *table;

static struct resource *resource_ref(struct resource *r)
{
	__atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
	return r;
}

void resource_put(struct resource *r)
{
	if (!r || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL))
		return;
	regs_put(r->regs);
	follow_free(r->follow);
	pthread_cond_destroy(&r->wake);
	pthread_cond_destroy(&r->done);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* Lost and unregistered trees excepted, a resource's struct outlives its users. */
static struct resource *resource_new(const char *name)
{
	struct resource *r = hf_alloc(sizeof(*r));
	pthread_condattr_t a;

	if (!r)
		return NULL;
	snprintf(r->name, sizeof(r->name), "%s", name);
	r->refs = 1;
	r->jobs_tail = &r->jobs;
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&r->wake, &a);
	pthread_cond_init(&r->done, &a);
	pthread_condattr_destroy(&a);
	if (journal_read(name, &r->j) == -EBADMSG)
		hf_logf(HF_LOG_ERR, "%s: its journal is not readable; this node treats it as offline", name);
	return r;
}

static struct resource *find_locked(const char *name)
{
	for (struct resource *r = table; r; r = r->next)
		if (!strcmp(r->name, name))
			return r;
	return NULL;
}

struct resource *resource_get(const char *name)
{
	struct resource *r;

	pthread_mutex_lock(&table_lock);
	r = find_locked(name);
	if (r)
		resource_ref(r);
	pthread_mutex_unlock(&table_lock);
	return r;
}

static struct resource *make_locked(const char *name)
{
	struct resource *r = find_locked(name), **p;

	if (r)
		return r;
	r = resource_new(name);
	if (!r)
		return NULL;
	for (p = &table; *p && strcmp((*p)->name, name) < 0; p = &(*p)->next)
		;
	r->next = *p;
	*p = r;
	return r;
}

struct resource *resource_make(const char *name)
{
	struct resource *r;

	pthread_mutex_lock(&table_lock);
	r = make_locked(name);
	if (r)
		resource_ref(r);
	pthread_mutex_unlock(&table_lock);
	return r;
}

void resources_each(void (*fn)(struct resource *r, void *arg), void *arg)
{
	struct resource **v = NULL;
	unsigned n = 0, i = 0;

	pthread_mutex_lock(&table_lock);
	for (struct resource *r = table; r; r = r->next)
		n++;
	v = calloc(n + 1, sizeof(*v));
	for (struct resource *r = table; v && r; r = r->next)
		v[i++] = resource_ref(r);
	pthread_mutex_unlock(&table_lock);
	for (unsigned k = 0; k < i; k++) {
		fn(v[k], arg);
		resource_put(v[k]);
	}
	free(v);
}

void resources_publish(struct regs *n)
{
	struct resource **p, *r;
	struct regs *old;

	pthread_mutex_lock(&table_lock);
	for (unsigned i = 0; i < n->reg->nres; i++)
		if (!make_locked(n->reg->res[i].name))
			hf_logf(HF_LOG_ERR, "out of memory for resource %s", n->reg->res[i].name);
	for (p = &table; (r = *p);) {
		bool drop;

		pthread_mutex_lock(&r->lock);
		old = r->regs;
		__atomic_add_fetch(&n->refs, 1, __ATOMIC_RELAXED);
		r->regs = n;
		r->gone = !regs_find(n, r->name);
		r->reload = r->live;
		drop = r->gone && !r->live && !r->jobs && r->state == RS_OFFLINE && !r->examine;
		if (drop)
			r->quit = true;
		pthread_cond_signal(&r->wake);
		pthread_mutex_unlock(&r->lock);
		regs_put(old);
		if (drop) {
			*p = r->next;
			journal_remove(r->name);
			resource_put(r);
		} else {
			p = &r->next;
		}
	}
	pthread_mutex_unlock(&table_lock);
}

void resource_kick(struct resource *r)
{
	pthread_mutex_lock(&r->lock);
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

/* Called by the tracker, from whichever thread drains. */
void resource_notify(void *arg, bool urgent)
{
	struct resource *r = arg;

	pthread_mutex_lock(&r->lock);
	if (!r->soiled) {
		r->soiled = true;
		r->soiled_ms = hf_now_ms();
	}
	r->urgent |= urgent;
	pthread_mutex_unlock(&r->lock);
	/* not under the lock, which the worker wants first of all */
	pthread_cond_signal(&r->wake);
}

struct passage resource_step(struct resource *r, enum revent ev, const char *why)
{
	struct passage p = { r->state, rstate_next(r->state, ev) };

	if (r->quiet)
		return (struct passage){ r->state, r->state };
	if (p.to < 0)
		return p;
	r->state = p.to;
	/* of several reasons for one failure the first tells most */
	if (p.to != RS_FAILED)
		r->error[0] = '\0';
	else if (p.from != RS_FAILED)
		snprintf(r->error, sizeof(r->error), "%s", why && *why ? why : revent_name(ev));
	return p;
}

void resource_tell(struct resource *r, struct passage p, enum revent what, const char *why)
{
	enum rstate was = p.from, s = p.to;
	struct json_object *ev;

	if (p.to < 0)
		hf_logf(HF_LOG_ERR, "%s: a bug of holdfastd: '%s' while %s; it stays that", r->name,
			revent_name(what), rstate_name(was));
	if (p.to < 0 || was == s)
		return;
	notice(s == RS_FAILED ? N_FAILED : N_STATE, s == RS_FAILED ? HF_LOG_ERR : HF_LOG_NOTE, r->name,
	       "%s: %s -> %s%s%s", r->name, rstate_name(was), rstate_name(s), why ? ": " : "", why ? why : "");
	ev = jobj();
	jstr(ev, "event", "state");
	jstr(ev, "resource", r->name);
	jstr(ev, "from", rstate_name(was));
	jstr(ev, "to", rstate_name(s));
	if (why)
		jstr(ev, "why", why);
	server_broadcast(r->name, ev);
	record_state(r->name, rstate_name(was), rstate_name(s), why);
	hook_state(r, was, s, why);
}

void resource_event(struct resource *r, enum revent ev, const char *why)
{
	struct passage p;

	pthread_mutex_lock(&r->lock);
	p = resource_step(r, ev, why);
	pthread_mutex_unlock(&r->lock);
	resource_tell(r, p, ev, why);
}

const struct hf_resource *resource_def(struct resource *r, struct regs **pin)
{
	pthread_mutex_lock(&r->lock);
	*pin = r->regs;
	if (*pin)
		__atomic_add_fetch(&(*pin)->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&r->lock);
	return regs_find(*pin, r->name);
}

/* The newest epoch of @id, and whether its owner lives: who has been watched for less than a lease is
 * waited for, for two at most. */
int owner_now(const struct hf_logid *id, struct hf_log_stat *st, struct hf_err *err)
{
	uint64_t until = hf_now_ms() + 2ull * hfd.lease_ms;
	int ret;

	while (!(ret = hfd.store->ops->stat(hfd.store, id, st, err)) && st->epoch && !st->released &&
	       st->owner == HF_NODE_UNKNOWN && hf_now_ms() < until)
		hf_sleep_ms(hfd.beat_ms / 2);
	return ret;
}

/* The row as it is now, for who asks next; the heartbeat would see it a moment later. */
void resource_refresh(struct resource *r)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	struct hf_log_stat st;
	int ret = -ENOENT;

	if (def) {
		atomic_store(&r->busy, hf_now_ms());
		ret = hfd.store->ops->stat(hfd.store, &def->id, &st, NULL);
		atomic_store(&r->busy, 0);
	}
	regs_put(pin);
	if (ret)
		return;
	pthread_mutex_lock(&r->lock);
	r->st = st;
	r->st_valid = true;
	pthread_mutex_unlock(&r->lock);
}

void resource_policy(struct resource *r, struct hf_policy *p)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);

	if (def)
		*p = def->policy;
	else
		hf_policy_default(p);
	regs_put(pin);
}

int resource_journal(struct resource *r, enum journal_state s, uint64_t epoch, uint64_t gen)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	struct journal j;

	pthread_mutex_lock(&r->lock);
	/* a rollback that neither ended nor was taken back */
	r->j.half |= r->j.state == JR_RESTORING;
	r->j.state = s;
	r->j.torn &= s == JR_UNRELEASED;
	r->j.synced &= s == JR_UNRELEASED;
	r->j.rebooted = false;
	r->j.epoch = epoch;
	r->j.generation = gen;
	r->j.without_store = r->without_store;
	/* a restore that has not ended leaves the epoch before, which is not the newest any more */
	if (s == JR_RESTORING || (def && memcmp(r->j.uuid, def->id.uuid, sizeof(r->j.uuid))))
		r->j.whole = 0;
	if (s == JR_ONLINE || (s == JR_UNRELEASED && !r->j.torn))
		r->j.whole = epoch;
	if (s == JR_ONLINE || (def && memcmp(r->j.uuid, def->id.uuid, sizeof(r->j.uuid))))
		r->j.half = false;
	r->j.anew &= s == JR_CLAIMING;
	if (def) {
		memcpy(r->j.uuid, def->id.uuid, sizeof(r->j.uuid));
		r->j.strict_stop = def->policy.strict_stop;
	}
	j = r->j;
	pthread_mutex_unlock(&r->lock);
	regs_put(pin);
	return journal_write(r->name, &j);
}

uint64_t resource_tracked(struct resource *r)
{
	uint64_t id, newest = 0;

	for (unsigned i = 0; i < r->ncp; i++) {
		id = r->cp[i]->watch && r->cp[i]->whole ? hf_watch_id(r->cp[i]->watch) : 0;
		if (!id)
			return 0;
		newest = id > newest ? id : newest;
	}
	return newest;
}

void resource_forget_tracked(struct resource *r)
{
	if (!r->j.tracked)
		return;
	pthread_mutex_lock(&r->lock);
	r->j.tracked = 0;
	pthread_mutex_unlock(&r->lock);
	journal_write(r->name, &r->j);
}

static void wait_locked(struct resource *r, uint64_t ms)
{
	struct timespec ts;

	hf_deadline(&ts, ms);
	pthread_cond_timedwait(&r->wake, &r->lock, &ts);
}

static void run_job(struct resource *r, struct job *j)
{
	int ret;

	r->job = j;
	pthread_mutex_unlock(&r->lock);
	ret = j->fn(r, j);
	pthread_mutex_lock(&r->lock);
	r->job = NULL;
	if (!j->done)
		job_finish(r, j, ret);
	job_put(j);
}

static void *worker(void *arg)
{
	struct resource *r = arg;
	uint64_t now, due, told;
	struct job *j;

	pthread_mutex_lock(&r->lock);
	while (!r->quit) {
		now = hf_now_ms();
		due = UINT64_MAX;
		if (r->examine && now >= r->examine_ms) {
			pthread_mutex_unlock(&r->lock);
			stale_examine(r);
			pthread_mutex_lock(&r->lock);
			continue;
		}
		j = r->jobs;
		if (j) {
			r->jobs = j->next;
			if (!r->jobs)
				r->jobs_tail = &r->jobs;
			run_job(r, j);
			continue;
		}
		if (r->live) {
			due = replicator_due(r, now);
			if (due <= now) {
				pthread_mutex_unlock(&r->lock);
				replicator_run(r);
				pthread_mutex_lock(&r->lock);
				continue;
			}
		}
		if (r->unreleased && !r->live) {
			if (r->spool_ms <= now) {
				pthread_mutex_unlock(&r->lock);
				spool_retry(r);
				pthread_mutex_lock(&r->lock);
				continue;
			}
			due = r->spool_ms;
		}
		if (r->examine && r->examine_ms < due)
			due = r->examine_ms;
		told = account_due(r);
		if (told <= now) {
			/* without the lock: what came meanwhile has woken nobody */
			pthread_mutex_unlock(&r->lock);
			account_flush(r);
			pthread_mutex_lock(&r->lock);
			continue;
		}
		if (told < due)
			due = told;
		wait_locked(r, due == UINT64_MAX ? 60000 : due - now);
	}
	while ((j = r->jobs)) {
		r->jobs = j->next;
		hf_fail(&j->err, HF_FAILED, -ECANCELED, "%s: the daemon is stopping", r->name);
		job_finish(r, j, -ECANCELED);
		job_put(j);
	}
	r->jobs_tail = &r->jobs;
	r->live = false;
	pthread_mutex_unlock(&r->lock);
	account_flush(r);
	ckpts_leave(r);
	hf_log_close(r->log);
	r->log = NULL;
	pthread_mutex_lock(&r->lock);
	r->running = false;
	pthread_cond_broadcast(&r->done);
	pthread_mutex_unlock(&r->lock);
	resource_put(r);
	return NULL;
}

/* with r->lock held */
int resource_start(struct resource *r, struct hf_err *err)
{
	int ret;

	/* also while it runs: it may have looked at its jobs for the last time */
	if (r->quit)
		return r->gone ? hf_fail(err, HF_NOTFOUND, -ENOENT, "%s: no such resource", r->name) :
		       hf_fail(err, HF_FAILED, -ECANCELED, "%s: the daemon is stopping", r->name);
	if (r->running)
		return 0;
	resource_ref(r);
	ret = pthread_create(&r->thread, NULL, worker, r);
	if (ret) {
		__atomic_sub_fetch(&r->refs, 1, __ATOMIC_RELAXED);
		return hf_fail(err, HF_FAILED, -ret, "%s: cannot start a thread: %s", r->name, strerror(ret));
	}
	pthread_detach(r->thread);
	r->running = true;
	return 0;
}

bool resources_any_live(void)
{
	bool any = false;

	pthread_mutex_lock(&table_lock);
	for (struct resource *r = table; r; r = r->next) {
		pthread_mutex_lock(&r->lock);
		any |= r->live || r->unreleased || r->state == RS_ONLINE_PENDING;
		pthread_mutex_unlock(&r->lock);
	}
	pthread_mutex_unlock(&table_lock);
	return any;
}

struct stopping { uint64_t until; bool flush; };

static void ask_flush(struct resource *r, void *arg)
{
	struct stopping *s = arg;
	struct job *j;
	bool live;

	pthread_mutex_lock(&r->lock);
	live = r->live;
	pthread_mutex_unlock(&r->lock);
	j = live && s->flush ? job_new(job_flush) : NULL;
	if (j) {
		j->deadline_ms = s->until;
		job_post(r, j, NULL);
	}
}

static void ask_quit(struct resource *r, void *arg)
{
	struct stopping *s = arg;
	struct timespec ts;

	/* the flush first: jobs that are queued when quit is set are refused */
	pthread_mutex_lock(&r->lock);
	while (r->jobs && hf_now_ms() < s->until) {
		pthread_mutex_unlock(&r->lock);
		hf_sleep_ms(10);
		pthread_mutex_lock(&r->lock);
	}
	r->quit = true;
	pthread_cond_signal(&r->wake);
	while (r->running && hf_now_ms() < s->until) {
		hf_deadline(&ts, 1000);
		pthread_cond_timedwait(&r->done, &r->lock, &ts);
	}
	if (r->running)
		hf_logf(HF_LOG_WARN, "%s: still waiting for the store; its last changes are captured at the next start",
			r->name);
	pthread_mutex_unlock(&r->lock);
}

/* Bounded by @ms in total, however many there are and whatever hangs. */
void resources_stop(unsigned ms, bool flush)
{
	struct stopping s = { .until = hf_now_ms() + ms, .flush = flush };

	resources_each(ask_flush, &s);
	resources_each(ask_quit, &s);
}
