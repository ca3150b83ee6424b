// SPDX-License-Identifier: GPL-2.0-or-later
/* Going offline: last capture with a full comparison, commit, confirm, release, untrack. */
#include "notice.h"
#include "replicator.h"

#define SPOOL_RETRY_MS 2000

static void ended(struct resource *r, const char *why)
{
	pthread_mutex_lock(&r->lock);
	r->live = false;
	pthread_mutex_unlock(&r->lock);
	ckpts_drop_all(r);
	hf_log_close(r->log);
	r->log = NULL;
	replicator_reset(r);
	if (!r->unreleased)
		resource_refresh(r);
	resource_event(r, EV_STOPPED, why);
}

static int release(struct resource *r, struct hf_err *err)
{
	int ret;

	atomic_store(&r->busy, hf_now_ms());
	ret = hf_log_release(r->log, err);
	atomic_store(&r->busy, 0);
	return ret;
}

/* The store cannot be reached, or is full: the trees themselves are the spool, and
 * the journal says that their last state was not committed. */
static void spool(struct resource *r, struct job *j, int why)
{
	bool away = j->err.exit == HF_UNAVAIL && why != -ENOSPC;
	/* without a claim: the newest epoch that was seen when it went online */
	uint64_t epoch = r->without_store ? r->j.epoch : r->epoch, gen = r->confirmed;
	bool synced = true;

	if (!r->quiet)
		notice(N_UNRELEASED, HF_LOG_WARN, r->name,
		       away ?
			       "%s: stopped without the store (%s); its last changes are committed when it is back" :
			       "%s: stopped, and not released yet (%s); its last changes are committed when that is possible",
		       r->name, j->err.msg);
	if (!away)
		snprintf(j->note, sizeof(j->note), "%.250s", j->err.msg);
	pthread_mutex_lock(&r->lock);
	r->unreleased = true;
	pthread_mutex_unlock(&r->lock);
	r->spool_ms = hf_now_ms() + SPOOL_RETRY_MS;
	/* they are after a power cut too, before the journal says so */
	for (unsigned i = 0; i < r->ncp; i++)
		if (r->cp[i]->tree && syncfs(hf_tree_fd(r->cp[i]->tree))) {
			synced = false;
			hf_logf(HF_LOG_WARN, "%s: %s cannot be written to its disk: %s", r->name,
				r->cp[i]->path, strerror(errno));
		}
	ended(r, away ? "without the store" : "not released yet");
	pthread_mutex_lock(&r->lock);
	r->j.synced = synced;
	pthread_mutex_unlock(&r->lock);
	resource_journal(r, JR_UNRELEASED, epoch, gen);
	j->spooled = true;
	memset(&j->err, 0, sizeof(j->err));
}

int job_offline(struct resource *r, struct job *j)
{
	struct rep a = { .scan = true, .confirm = true, .strict = true, .patience_ms = 2000,
			 .note = "offline" };
	struct hf_policy pol;
	struct hf_err e = { 0 };
	enum rstate was;
	bool strict, left = false;
	int ret;

	j->gen = r->confirmed;
	if (!r->live) {
		j->already = true;
		if (r->state == RS_FAILED) {
			/* a resume that failed still has something to commit, and must not be
			 * resumed again after a stop */
			if (r->j.state == JR_ONLINE) {
				pthread_mutex_lock(&r->lock);
				r->unreleased = true;
				r->without_store = r->j.without_store;
				/* the boot that wrote "online" is not told any more by what is written now */
				r->j.torn = r->j.rebooted;
				pthread_mutex_unlock(&r->lock);
				r->spool_ms = hf_now_ms();
				resource_journal(r, JR_UNRELEASED, r->j.epoch, r->j.generation);
			}
			resource_event(r, EV_STOPPED, NULL);
		}
		return 0;
	}
	resource_policy(r, &pol);
	was = r->state;
	resource_event(r, EV_STOP, NULL);
	pthread_mutex_lock(&r->lock);
	j->pends = pol.strict_stop && !r->quiet;
	j->step = "committing the last changes";
	pthread_mutex_unlock(&r->lock);
	/* brought online without the store: it may be back by now */
	ret = r->without_store ? rejoin(r, &j->err) : 0;
	if (!ret)
		ret = replicate(r, &a, &j->err);
	if (ret == -ENOSPC && make_room(r, &e) == -ESTALE) {
		j->err = e;
		ret = -ESTALE;
	}
	if ((ret == -EREMOTEIO || ret == -EIO || ret == -ENOSPC) && !r->without_store) {
		memset(&j->err, 0, sizeof(j->err));
		ret = replicate(r, &a, &j->err);
	}
	strict = !r->quiet && (pol.strict_stop || j->strict);
	if (ret && ret != -ESTALE && j->err.exit != HF_UNAVAIL && r->log && !r->log_broken && !strict) {
		/* the guard, a tree that is gone, a file that never holds still: what is
		 * confirmed stands, and a failed stop would mean fencing */
		hf_logf(HF_LOG_WARN, "%s: stopped at generation %llu, with changes that are on this node only: %s", r->name,
			(unsigned long long)r->confirmed, j->err.msg);
		snprintf(j->note, sizeof(j->note), "%.250s", j->err.msg);
		left = true;
		memset(&j->err, 0, sizeof(j->err));
		atomic_store(&r->busy, hf_now_ms());
		ret = hf_log_confirm(r->log, &j->err);
		atomic_store(&r->busy, 0);
	}
	if (!ret)
		ret = release(r, &j->err);
	if (ret == -ESTALE) {
		/* somebody else has it: a stop of what is not ours succeeds */
		step_down(r, j->err.msg);
		snprintf(j->note, sizeof(j->note), "stale: %.240s", j->err.msg);
		memset(&j->err, 0, sizeof(j->err));
		return 0;
	}
	/* one that ends an earlier stop has nobody to tell */
	if (ret && strict) {
		e = j->err;
		resource_event(r, was == RS_FAILED ? EV_BROKEN : EV_KEPT, was == RS_FAILED ? e.msg : "the stop failed");
		/* who moves it has words of its own */
		return j->strict ? hf_fail(&j->err, HF_UNAVAIL, ret, "%s", e.msg) :
		       hf_fail(&j->err, HF_UNAVAIL, ret, "%s: not stopped, because strict-stop is set: %.900s", r->name, e.msg);
	}
	if (ret) {
		spool(r, j, ret);
		return 0;
	}
	j->gen = r->confirmed;
	j->epoch = r->epoch;
	pthread_mutex_lock(&r->lock);
	r->unreleased = false;
	r->j.has_left = left;
	r->j.left_generation = r->confirmed;
	snprintf(r->j.left_why, sizeof(r->j.left_why), "%s", left ? j->note : "");
	pthread_mutex_unlock(&r->lock);
	settled_note(r, r->log);
	ended(r, NULL);
	resource_journal(r, JR_NONE, 0, 0);
	return 0;
}

/* Stopped without the store: once it answers, commit what was held back and
 * release, unless another node has taken over. To everybody else the resource
 * is offline all the time. */
void spool_retry(struct resource *r)
{
	struct job j = { .refs = 1 };

	r->quiet = true;
	job_resume(r, &j);
	r->quiet = false;
	r->spool_ms = hf_now_ms() + SPOOL_RETRY_MS;
	pthread_mutex_lock(&r->lock);
	/* void, or fenced out: there is nothing to end any more */
	if (r->j.state != JR_UNRELEASED)
		r->unreleased = r->without_store = false;
	pthread_mutex_unlock(&r->lock);
	tracker_reap();
	json_object_put(j.displaced);
	json_object_put(j.changes);
}

int job_reset(struct resource *r, struct job *j)
{
	bool vouched;	/* for what a restore that did not end has left */

	/* commits that fail again shall be told again */
	pthread_mutex_lock(&r->lock);
	r->degraded = false;
	vouched = !r->live && r->j.half;
	if (vouched)
		r->j.half = false;
	pthread_mutex_unlock(&r->lock);
	if (vouched)
		journal_write(r->name, &r->j);
	resource_event(r, r->live ? EV_REGAIN : EV_RESET, "reset");
	r->failures = 0;
	r->retry_ms = 0;
	return 0;
}
