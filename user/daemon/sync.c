// SPDX-License-Identifier: GPL-2.0-or-later
/* Jobs of a worker that make its newest state a confirmed generation at once. */
#include "replicator.h"

int not_here(struct resource *r, struct hf_err *err)
{
	struct hf_log_stat st;
	bool stale;

	/* who owns it now, rather than at the last heartbeat */
	resource_refresh(r);
	pthread_mutex_lock(&r->lock);
	stale = r->stale;
	st = r->st;
	pthread_mutex_unlock(&r->lock);
	if (stale)
		return hf_fail(err, HF_STALE, -ESTALE,
			       "%s: this node was fenced out; %s%sowns it (epoch %llu). `holdfast status %s` says what was held here and never confirmed",
			       r->name, st.node, st.node[0] ? " " : "a newer epoch ",
			       (unsigned long long)st.epoch, r->name);
	if (st.epoch && !st.released && !st.mine)
		return hf_fail(err, HF_REFUSED, -EBUSY, "%s is not online on this node but on %s; ask there",
			       r->name, st.node);
	return hf_fail(err, HF_REFUSED, -EBUSY, "%s is not online on this node", r->name);
}

/* Others that wait for the same are answered by the same capture: each asked
 * before it began. */
static struct job *take_company(struct resource *r, struct job *j)
{
	struct job *list = NULL, **p = &list, **q;

	pthread_mutex_lock(&r->lock);
	for (q = &r->jobs; *q;) {
		struct job *o = *q;

		if (o->fn != job_sync || o->quick != j->quick || o->allow_delete != j->allow_delete)
			break;
		*q = o->next;
		o->next = NULL;
		*p = o;
		p = &o->next;
	}
	if (!r->jobs)
		r->jobs_tail = &r->jobs;
	pthread_mutex_unlock(&r->lock);
	return list;
}

static int sync_once(struct resource *r, struct rep *a, uint64_t until, struct hf_err *err)
{
	int ret;

	for (unsigned i = 0;; i++) {
		memset(err, 0, sizeof(*err));
		ret = replicate(r, a, err);
		if (!ret || ret == -ESTALE || err->exit == HF_REFUSED || i == 3 ||
		    hf_now_ms() + (20u << i) > until)
			return ret;
		if (ret == -ENOSPC && !i && make_room(r, err) == -ESTALE)
			return -ESTALE;
		hf_sleep_ms(20u << i);
	}
}

int job_sync(struct resource *r, struct job *j)
{
	struct job *company, *o;
	struct hf_policy pol;
	struct rep a = { 0 };
	uint64_t until;
	int ret;

	if (!r->live)
		return not_here(r, &j->err);
	resource_policy(r, &pol);
	until = j->deadline_ms ? j->deadline_ms : hf_now_ms() + pol.commit_timeout_ms;
	company = take_company(r, j);
	a.scan = !j->quick;
	a.confirm = a.strict = true;
	a.allow_delete = j->allow_delete;
	a.patience_ms = pol.commit_timeout_ms < 4000 ? pol.commit_timeout_ms / 2 : 2000;
	a.note = "sync";
	ret = sync_once(r, &a, until, &j->err);
	if (!ret) {
		ret = hf_seam("sync.reply");
		j->gen = a.gen;
		j->consistent = a.consistent;
		j->committed = a.committed;
		j->epoch = r->epoch;
	}
	if (ret == -ESTALE)
		step_down(r, j->err.msg);
	pthread_mutex_lock(&r->lock);
	while ((o = company)) {
		company = o->next;
		o->err = j->err;
		o->gen = j->gen;
		o->consistent = j->consistent;
		o->committed = j->committed;
		o->epoch = j->epoch;
		job_finish(r, o, ret);
		job_put(o);
	}
	pthread_mutex_unlock(&r->lock);
	return ret;
}

/* The daemon ends: one last chance for what is dirty. The resource stays online. */
int job_flush(struct resource *r, struct job *j)
{
	struct rep a = { .note = "daemon stop" };
	int ret;

	if (!r->live)
		return 0;
	ret = replicate(r, &a, &j->err);
	if (ret == -ESTALE)
		step_down(r, j->err.msg);
	else if (ret)
		hf_logf(HF_LOG_WARN, "%s: %s; captured at the next start", r->name, j->err.msg);
	return ret;
}
