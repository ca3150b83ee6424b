// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What its journal says of a resource is gone on with: it is online again, a takeover that was cut off is ended or
 * void, a stop without the store is ended. A job that main() posts for each journal when the daemon starts;
 * spool_retry() calls it later, with r->quiet. Runs in the resource's worker, both times.
 */
#include "replicator.h"

/* What was stopped before it could be restored: what is here is nobody's truth, and the next takeover keeps
 * aside what differs. So nothing is captured. */
static int let_go(struct resource *r, const struct hf_resource *def, struct job *j)
{
	struct hf_log *log = NULL;
	int ret;

	atomic_store(&r->busy, hf_now_ms());
	ret = hf_log_claim(hfd.store, &def->id, 0, &log, &j->err);
	if (!ret)
		ret = hf_log_release(log, &j->err);
	atomic_store(&r->busy, 0);
	hf_log_close(log);
	if (ret)
		return ret;
	hf_logf(HF_LOG_NOTE, "%s: released; it was stopped before its last generation was restored here", r->name);
	leave_half(r);
	resource_refresh(r);
	return 0;
}

/* What is here is all that there is of that term. */
static int resume_without_store(struct resource *r, struct job *j, enum journal_state was)
{
	bool stopped = was == JR_UNRELEASED;
	int ret;

	pthread_mutex_lock(&r->lock);
	r->without_store = true;
	r->unreleased |= stopped && !r->quiet;
	pthread_mutex_unlock(&r->lock);
	/* the worker ends it, and it stays stopped */
	if (stopped && !r->quiet)
		return 0;
	ret = online_without_store(r, j, true);
	return ret || !stopped ? ret : job_offline(r, j);
}

/* At the daemon's start, for a resource with a journal. */
int job_resume(struct resource *r, struct job *j)
{
	struct journal jr = r->j;
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	struct hf_log_stat st = { 0 };
	/* What the trees had that was not written back when the machine went down is gone, confirmed or not: files
	 * are older, or empty, than what `sync` has promised. The log is the truth; what differs is kept aside. */
	bool torn = jr.torn || (jr.state == JR_ONLINE && jr.rebooted), ours;
	int ret = 0;

	if (!def || memcmp(def->id.uuid, jr.uuid, sizeof(jr.uuid))) {
		hf_logf(HF_LOG_WARN, "%s: it was deleted while this daemon was away; its trees are left as they are",
			r->name);
		r->j.has_unconfirmed = r->j.has_left = false;
		r->j.whole = 0;
		resource_journal(r, JR_NONE, 0, 0);
		goto out;
	}
	/* stale: compared again, or for the first time: who knows what was written meanwhile */
	if (jr.state != JR_STALE) {
		for (unsigned i = 0; i < (r->quiet ? 1 : 10); i++) {
			ret = hfd.store->ops->stat(hfd.store, &def->id, &st, &j->err);
			if (!ret || ret == -ENOENT)
				break;
			hf_sleep_ms(500);
		}
		if (ret && ret != -ENOENT && jr.state == JR_UNRELEASED && !r->quiet) {
			/* the worker goes on trying */
			pthread_mutex_lock(&r->lock);
			r->unreleased = true;
			r->without_store = jr.without_store;
			pthread_mutex_unlock(&r->lock);
			ret = 0;
			goto out;
		}
		if (ret && ret != -ENOENT && !(jr.without_store && jr.state == JR_ONLINE && !torn)) {
			resource_event(r, EV_BROKEN, j->err.msg);
			goto out;
		}
		ret = 0;
	}
	if (jr.anew)
		rebuild_stands(r, &st);
	switch (jr.state) {
	case JR_NONE:
		break;
	case JR_STALE:
		pthread_mutex_lock(&r->lock);
		r->stale = r->examine = true;
		pthread_mutex_unlock(&r->lock);
		break;
	case JR_CLAIMING:
	case JR_RESTORING:
		if (!st.epoch || st.released || st.slot != hfd.id.slot) {
			hf_logf(HF_LOG_NOTE, "%s: an interrupted takeover is void", r->name);
			leave_half(r);
			break;
		}
		hf_logf(HF_LOG_NOTE, "%s: an interrupted takeover is finished first", r->name);
		/* not as if its owner was fenced: that may be another by now */
		ret = go_online(r, j, TAKE_OVER);
		break;
	case JR_ONLINE:
	case JR_UNRELEASED:
		if (jr.without_store && owned_meanwhile(r, &st)) {
			pthread_mutex_lock(&r->lock);
			r->epoch = jr.epoch;
			pthread_mutex_unlock(&r->lock);
			step_down(r, "another node has owned it meanwhile");
			break;
		}
		if (jr.without_store && !torn) {
			ret = resume_without_store(r, j, jr.state);
			break;
		}
		ours = st.epoch && !st.released && st.slot == hfd.id.slot;
		if (!ours && (jr.without_store ? jr.state == JR_UNRELEASED : st.released && st.slot == hfd.id.slot)) {
			resource_journal(r, JR_NONE, 0, 0);
			break;
		}
		if (!ours && !jr.without_store) {
			pthread_mutex_lock(&r->lock);
			r->epoch = jr.epoch;
			pthread_mutex_unlock(&r->lock);
			step_down(r, "another node took over while this daemon was away");
			break;
		}
		if (jr.state == JR_ONLINE && torn) {
			hf_logf(HF_LOG_NOTE, "%s: this machine booted since it was online; its last generation is restored",
				r->name);
			ret = go_online(r, j, TAKE_OVER);
			break;
		}
		if (jr.state == JR_ONLINE) {
			ret = go_online(r, j, RESUME);
			break;
		}
		if (!r->quiet) {
			/* the worker does it, as for one that was stopped in this life */
			pthread_mutex_lock(&r->lock);
			r->unreleased = true;
			pthread_mutex_unlock(&r->lock);
			break;
		}
		if (torn) {
			ret = let_go(r, def, j);
			break;
		}
		ret = go_online(r, j, RESUME);
		if (!ret)
			ret = job_offline(r, j);
		break;
	}
out:
	regs_put(pin);
	/* what was void, or deleted: nothing is pending any more */
	if (!r->live && r->state == RS_ONLINE_PENDING) {
		resource_refresh(r);
		resource_event(r, EV_REFUSED, "nothing to resume");
	}
	if (ret)
		hf_logf(r->quiet ? HF_LOG_DEBUG : HF_LOG_ERR, "%s: not resumed: %s", r->name, j->err.msg);
	/* what is left of it in the module, should nothing have come of it */
	tracker_reap();
	return ret;
}
