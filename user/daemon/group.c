// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sync --group. Each member's worker captures its own trees, and between two rounds all of them meet:
 * when the numbers are read nobody is capturing, and it is the cut only if all of them held still since
 * they were read before (Documentation/consistency.rst). Then one after the other commits and
 * confirms, so that what fails leaves those after it uncommitted.
 *
 * Workers wait here for each other without a limit. Who asked waits too, and looks after them: when
 * one cannot come, or hangs in the store or in its trees, the group is broken, which wakes all of them. Jobs
 * of one group are queued together, so two groups cannot wait for each other.
 *
 * Locks: group.lock, the innermost.
 */
#include "group.h"
#include <stdlib.h>

struct group {
	unsigned refs;			/* atomic: jobs, and who asked */
	uint64_t patience_ms;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned come, met;		/* members on the way to the next meeting; meetings that were */
	bool still;
	size_t work;
	struct rounds rounds;
	enum verdict verdict;
	bool ready;			/* all have a transaction that is the cut */
	unsigned turn;			/* whose it is to commit */
	int ret;			/* broken */
	struct hf_err err;
	struct { bool begun, done, over; } is[HF_GROUP_MAX];	/* done: confirmed */
	struct hf_group what;		/* the last: has members */
};

static pthread_mutex_t posting = PTHREAD_MUTEX_INITIALIZER;

static struct group *group_new(unsigned n, uint64_t patience_ms)
{
	struct group *g = hf_alloc(sizeof(*g) + n * sizeof(g->what.m[0]));
	pthread_condattr_t a;

	if (!g)
		return NULL;
	g->refs = 1;
	g->patience_ms = patience_ms;
	g->still = true;
	g->what.n = n;
	hf_uuid_make(g->what.id);
	pthread_mutex_init(&g->lock, NULL);
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&g->cond, &a);
	pthread_condattr_destroy(&a);
	return g;
}

void group_put(struct group *g)
{
	if (!g || __atomic_sub_fetch(&g->refs, 1, __ATOMIC_ACQ_REL))
		return;
	pthread_cond_destroy(&g->cond);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

/* The first reason counts. */
static void group_break(struct group *g, int ret, const struct hf_err *why)
{
	pthread_mutex_lock(&g->lock);
	if (!g->ret && ret) {
		g->ret = ret;
		g->err = *why;
	}
	pthread_cond_broadcast(&g->cond);
	pthread_mutex_unlock(&g->lock);
}

static int broken(struct hf_err *err)
{
	return hf_fail(err, HF_FAILED, -ECANCELED, "given up, because of another resource of the group");
}

/* with g->lock held; @last: by who comes last, before anybody goes on */
static int meet(struct group *g, void (*last)(struct group *g), struct hf_err *err)
{
	unsigned met = g->met;

	if (!g->ret && ++g->come == g->what.n) {
		g->come = 0;
		g->met++;
		if (last)
			last(g);
		pthread_cond_broadcast(&g->cond);
	}
	while (!g->ret && g->met == met)
		pthread_cond_wait(&g->cond, &g->lock);
	return g->ret ? broken(err) : 0;
}

int group_enter(struct group *g, unsigned me, struct resource *r, struct hf_err *err)
{
	struct hf_group_member *m = &g->what.m[me];
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	int ret = def ? 0 : hf_fail(err, HF_STALE, -ESTALE, "%s was deleted", r->name);

	if (!ret) {
		memcpy(m->log, def->id.uuid, sizeof(m->log));
		m->gen = hf_log_gen(r->log) + 1;
		snprintf(m->name, sizeof(m->name), "%s", r->name);
	}
	regs_put(pin);
	return ret;
}

int group_meet(struct group *g, struct hf_err *err)
{
	int ret;

	pthread_mutex_lock(&g->lock);
	ret = meet(g, NULL, err);
	pthread_mutex_unlock(&g->lock);
	return ret;
}

static void agree(struct group *g)
{
	if (g->rounds.n)
		rounds_worked(&g->rounds, g->work);
	else
		rounds_begin(&g->rounds, g->patience_ms);
	g->verdict = rounds_look(&g->rounds, g->still);
	g->still = true;
	g->work = 0;
}

int group_agree(struct group *g, bool still, size_t work, enum verdict *v, unsigned *pause_ms, struct hf_err *err)
{
	int ret;

	pthread_mutex_lock(&g->lock);
	g->still &= still;
	g->work += work;
	ret = meet(g, agree, err);
	/* the next to agree come after another meeting, so it stands until all have seen it */
	*v = g->verdict;
	*pause_ms = g->rounds.pause_ms;
	pthread_mutex_unlock(&g->lock);
	return ret;
}

int group_tell(struct group *g, unsigned me, struct hf_log *log, struct hf_err *err)
{
	size_t size = sizeof(g->what) + g->what.n * sizeof(g->what.m[0]);
	struct hf_group *own = malloc(size);
	int ret;

	if (!own)
		return hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
	memcpy(own, &g->what, size);
	own->self = me;
	ret = hf_log_group_put(log, own, err);
	free(own);
	return ret;
}

static void ready(struct group *g)
{
	g->ready = true;
}

int group_turn(struct group *g, unsigned me, struct hf_err *err)
{
	int ret;

	pthread_mutex_lock(&g->lock);
	ret = meet(g, ready, err);
	while (!ret && g->turn != me) {
		pthread_cond_wait(&g->cond, &g->lock);
		if (g->ret)
			ret = broken(err);
	}
	pthread_mutex_unlock(&g->lock);
	if (ret)
		return ret;
	ret = hf_seam("group.commit");
	return ret ? hf_fail(err, HF_UNAVAIL, ret, "%s: injected failure before the commit", g->what.m[me].name) : 0;
}

void group_pass(struct group *g, unsigned me)
{
	hf_seam("group.pass");
	pthread_mutex_lock(&g->lock);
	g->is[me].done = true;
	g->turn++;
	pthread_cond_broadcast(&g->cond);
	pthread_mutex_unlock(&g->lock);
}

/* The worker's part. */
static int job_member(struct resource *r, struct job *j)
{
	struct rep a = { .scan = !j->quick, .confirm = true, .strict = true, .allow_delete = j->allow_delete,
			 .note = "sync --group", .group = j->group, .member = j->member };
	struct group *g = j->group;
	struct hf_err e = { 0 };
	int ret;

	pthread_mutex_lock(&g->lock);
	g->is[j->member].begun = true;
	ret = g->ret ? broken(&j->err) : 0;
	pthread_mutex_unlock(&g->lock);
	if (!ret && !r->live)
		ret = not_here(r, &j->err);
	else if (!ret)
		ret = replicate(r, &a, &j->err);
	group_break(g, ret, &j->err);
	if (r->live && ret == -ENOSPC && make_room(r, &e) == -ESTALE) {
		j->err = e;
		ret = -ESTALE;
	}
	if (r->live && ret == -ESTALE)
		step_down(r, j->err.msg);
	pthread_mutex_lock(&g->lock);
	g->is[j->member].over = true;
	pthread_cond_broadcast(&g->cond);
	pthread_mutex_unlock(&g->lock);
	return ret;
}

/* Until a tree is taken for one that hangs: to write back one large file takes its time, too. */
#define TREE_PATIENCE 4

/* Can it not come, or not go on? Then why, and it is not waited for. */
static int look_after(struct resource *r, struct job *j, bool begun, bool ready, uint64_t until, struct hf_err *err)
{
	uint64_t now = hf_now_ms(), busy = atomic_load(&r->busy), tree = atomic_load(&r->in_tree);
	struct hf_policy pol;
	uint64_t patience;
	bool done, stop = false;

	pthread_mutex_lock(&r->lock);
	done = j->done;
	for (struct job *o = r->jobs; o; o = o->next)
		stop |= o->fn == job_offline;
	pthread_mutex_unlock(&r->lock);
	if (done) {
		*err = j->err;
		return j->ret ? j->ret : -ECANCELED;
	}
	/* a stop that fails means fencing: it waits for no other resource */
	if (begun && !ready && stop)
		return hf_fail(err, HF_REFUSED, -EBUSY, "%s is being taken offline", r->name);
	resource_policy(r, &pol);
	patience = pol.commit_timeout_ms > 3ull * hfd.lease_ms ? pol.commit_timeout_ms : 3ull * hfd.lease_ms;
	if (busy && now > busy && now - busy > patience)
		return hf_fail(err, HF_UNAVAIL, -ETIMEDOUT, "%s: the store has not answered for %llu s; the work goes on as soon as it does",
			       r->name, (unsigned long long)(now - busy) / 1000);
	if (begun && tree && now > tree && now - tree > TREE_PATIENCE * patience)
		return hf_fail(err, HF_FAILED, -EAGAIN,
			       "%s: its trees have not answered for %llu s: is their server gone, or their filesystem frozen? The work goes on as soon as they do",
			       r->name, (unsigned long long)(now - tree) / 1000);
	if (!begun && now > until)
		return hf_fail(err, HF_FAILED, -EBUSY, "%s: this node is busy with it already; try again later", r->name);
	return 0;
}

static bool all_over(const struct group *g)
{
	for (unsigned i = 0; i < g->what.n; i++)
		if (!g->is[i].over)
			return false;
	return true;
}

static void look_after_all(struct group *g, struct resource **v, struct job **j, uint64_t until)
{
	uint64_t next = hf_now_ms() + 200;
	struct timespec ts;

	pthread_mutex_lock(&g->lock);
	while (!all_over(g)) {
		hf_deadline(&ts, 200);
		pthread_cond_timedwait(&g->cond, &g->lock, &ts);
		/* not each time that they meet */
		if (hf_now_ms() < next)
			continue;
		next = hf_now_ms() + 200;
		for (unsigned i = 0; i < g->what.n; i++) {
			bool begun = g->is[i].begun, over = g->is[i].over, ready = g->ready;
			struct hf_err e = { 0 };
			int ret;

			pthread_mutex_unlock(&g->lock);
			ret = over ? 0 : look_after(v[i], j[i], begun, ready, until, &e);
			if (ret)
				group_break(g, ret, &e);
			pthread_mutex_lock(&g->lock);
			g->is[i].over |= ret;
		}
	}
	pthread_mutex_unlock(&g->lock);
}

/* What is to be known beside the reason: which are generations of a group that is none. */
static void tell_rest(struct group *g, struct hf_err *err)
{
	size_t len;

	hf_fail(err, g->err.exit ? g->err.exit : hf_exit_of(g->ret), 0, "%.600s; %s", g->err.msg,
		g->ret == -ETIMEDOUT ? "history tells whether it becomes a group" : "it is no group");
	for (unsigned i = 0; i < g->what.n; i++) {
		len = strlen(err->msg);
		if (g->is[i].done && len + HF_NAME_MAX + 40 < sizeof(err->msg))
			snprintf(err->msg + len, sizeof(err->msg) - len, ", though %s generation %llu is confirmed",
				 g->what.m[i].name, (unsigned long long)g->what.m[i].gen);
	}
}

static int attempt(struct resource **v, unsigned n, const struct job *how, uint64_t patience_ms, uint64_t until,
		   uint8_t id[16], uint64_t *gens, struct hf_err *err)
{
	struct group *g = group_new(n, patience_ms);
	struct job *j[HF_GROUP_MAX] = { NULL };
	int ret = g ? 0 : -ENOMEM;

	for (unsigned i = 0; i < n && !ret; i++) {
		j[i] = job_new(job_member);
		if (!j[i]) {
			ret = -ENOMEM;
			break;
		}
		j[i]->quick = how->quick;
		j[i]->allow_delete = how->allow_delete;
		j[i]->member = i;
		j[i]->group = g;
		__atomic_add_fetch(&g->refs, 1, __ATOMIC_RELAXED);
	}
	if (ret) {
		hf_fail(err, HF_FAILED, ret, "out of memory");
		goto out;
	}
	pthread_mutex_lock(&posting);
	for (unsigned i = 0; i < n; i++) {
		struct hf_err e = { 0 };

		__atomic_add_fetch(&j[i]->refs, 1, __ATOMIC_RELAXED);
		ret = job_post(v[i], j[i], &e);
		if (!ret)
			continue;
		group_break(g, ret, &e);
		pthread_mutex_lock(&g->lock);
		g->is[i].over = true;
		pthread_mutex_unlock(&g->lock);
	}
	pthread_mutex_unlock(&posting);
	look_after_all(g, v, j, until);
	pthread_mutex_lock(&g->lock);
	ret = g->ret;
	if (ret)
		tell_rest(g, err);
	memcpy(id, g->what.id, 16);
	for (unsigned i = 0; i < n && !ret; i++)
		gens[i] = g->what.m[i].gen;
	pthread_mutex_unlock(&g->lock);
out:
	for (unsigned i = 0; i < n; i++)
		job_put(j[i]);
	group_put(g);
	return ret;
}

int group_sync(struct resource **v, unsigned n, const struct job *how, uint8_t id[16], uint64_t *gens, struct hf_err *err)
{
	uint64_t wait = 0, until;
	struct hf_policy pol;
	int ret;

	for (unsigned i = 0; i < n; i++) {
		resource_policy(v[i], &pol);
		wait = pol.commit_timeout_ms > wait ? pol.commit_timeout_ms : wait;
	}
	until = hf_now_ms() + wait;
	for (unsigned i = 0;; i++) {
		memset(err, 0, sizeof(*err));
		ret = attempt(v, n, how, wait < 4000 ? wait / 2 : 2000, until, id, gens, err);
		/* the store may be luckier the next time; the rest stays as it is */
		if (!ret || ret == -ESTALE || ret == -EAGAIN || ret == -ETIMEDOUT || err->exit == HF_REFUSED || i == 3 ||
		    hf_now_ms() + (20u << i) > until)
			return ret;
		hf_sleep_ms(20u << i);
	}
}
