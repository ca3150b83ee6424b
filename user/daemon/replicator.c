// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The replicator: capture, commit, confirm, acknowledge, in this order and
 * never another (Documentation/claims.rst). Runs in the resource's worker; what
 * it shares with others it writes under r->lock.
 */
#include "account.h"
#include "group.h"
#include "notice.h"
#include "server.h"
#include "treedb.h"
#include <stdlib.h>

#define MAPPED_MS 1000
#define FUZZY_MS 5		/* until what moved is looked at again, doubled up to */
#define FUZZY_MAX_MS 100
#define ROOT_TRIES 4		/* for roots that go away while they are captured */
#define BASE_PART (2u << 20)	/* bytes that are copied before a commit gets its turn */

void replicator_reset(struct resource *r)
{
	pthread_mutex_lock(&r->lock);
	r->degraded = false;
	r->warn_guard[0] = r->warn_commit[0] = r->warn_other[0] = '\0';
	r->short_from = 0;
	pthread_mutex_unlock(&r->lock);
	r->failures = 0;
	r->retry_ms = r->fuzzy_ms = r->base_ms = r->base_retry_ms = 0;
	r->last_commit_ms = r->last_dur_ms = r->prev_dur_ms = 0;
	r->noted = r->note_retry_ms = r->mapped_ms = 0;
	r->reload_ms = r->reload_wait_ms = 0;
	r->scrub_ms = hf_now_ms();
	r->log_broken = r->need_scan = r->forget = r->base_part = r->rebase = false;
}

int reclaim(struct resource *r, struct hf_err *err)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	struct hf_log_stat st;
	struct hf_log *log = NULL;
	int ret;

	if (!def) {
		ret = hf_fail(err, HF_STALE, -ESTALE, "%s was deleted", r->name);
		goto out;
	}
	atomic_store(&r->busy, hf_now_ms());
	ret = hfd.store->ops->stat(hfd.store, &def->id, &st, err);
	if (!ret && !st.mine)
		ret = hf_fail(err, HF_STALE, -ESTALE, "%s: %s owns it now (epoch %llu)", r->name, st.node,
			      (unsigned long long)st.epoch);
	if (ret)
		goto out;
	hf_log_close(r->log);
	r->log = NULL;
	ret = hf_log_claim(hfd.store, &def->id, 0, &log, err);
	if (ret == -EBUSY)
		ret = -ESTALE;
	if (ret)
		goto out;
	/* another may have had it between the question and the claim, or since an earlier claim of
	 * ours that failed half-way; numbers of generations do not tell */
	if (!hf_log_kept(log, r->epoch) || hf_log_gen(log) > r->log_tried_gen) {
		struct hf_err e = { 0 };

		/* so that whoever had it, or another, may claim it */
		hf_log_release(log, &e);
		hf_log_close(log);
		ret = hf_fail(err, HF_STALE, -ESTALE, "%s: another node has owned it meanwhile", r->name);
		goto out;
	}
	r->log = log;
	r->log_broken = false;
	r->need_scan = true;
	pthread_mutex_lock(&r->lock);
	r->epoch = hf_log_epoch(log);
	r->gen = hf_log_gen(log);
	pthread_mutex_unlock(&r->lock);
	resource_journal(r, r->quiet ? JR_UNRELEASED : JR_ONLINE, r->epoch, r->gen);
	hf_logf(HF_LOG_NOTE, "%s: claimed anew, epoch %llu", r->name, (unsigned long long)r->epoch);
out:
	atomic_store(&r->busy, 0);
	regs_put(pin);
	return ret;
}

/* For a successor: which trees it need not compare as a whole (take() in takeover.c), and how to stop. */
static void note_whole(struct resource *r)
{
	struct hf_policy pol;
	uint64_t tracked;

	for (unsigned i = 0; i < r->ncp; i++)
		r->cp[i]->whole |= r->cp[i]->scanned;
	tracked = resource_tracked(r);
	resource_policy(r, &pol);
	if (!r->live || r->quiet || (tracked <= r->j.tracked && pol.strict_stop == r->j.strict_stop))
		return;
	pthread_mutex_lock(&r->lock);
	if (tracked > r->j.tracked)
		r->j.tracked = tracked;
	pthread_mutex_unlock(&r->lock);
	resource_journal(r, JR_ONLINE, r->epoch, r->confirmed);
}

void published(struct resource *r, uint64_t gen, bool consistent, bool committed, uint64_t puts, uint64_t dels,
	       uint64_t ms, const char *note)
{
	struct json_object *ev;
	bool recovered;

	pthread_mutex_lock(&r->lock);
	r->gen = r->confirmed = gen;
	if (committed)
		r->consistent = consistent;
	recovered = r->degraded;
	r->degraded = false;
	r->warn_guard[0] = r->warn_commit[0] = '\0';
	pthread_mutex_unlock(&r->lock);
	if (recovered)
		notice(N_RECOVERED, HF_LOG_NOTE, r->name, "%s: no longer degraded, generation %llu is confirmed", r->name,
		       (unsigned long long)gen);
	r->failures = 0;
	r->retry_ms = 0;
	if (!committed)
		return;
	r->last_commit_ms = hf_now_ms();
	/* somebody waits for that */
	if (server_watched()) {
		ev = jobj();
		jstr(ev, "event", "commit");
		jstr(ev, "resource", r->name);
		ju64(ev, "generation", gen);
		jbool(ev, "consistent", consistent);
		ju64(ev, "puts", puts);
		ju64(ev, "dels", dels);
		ju64(ev, "ms", ms);
		if (note && *note)
			jbytes(ev, "note", note);
		server_tell(r->name, ev);
	}
	account_commit(r, consistent, r->oldest_ns, ms);
	r->oldest_ns = 0;
	hook_run(r, HOOK_COMMITTED, gen, NULL);
}

bool breaks_log(int ret)
{
	return ret != -ENOSPC && ret != -ENOMEM && ret != -ESTALE && ret != -E2BIG && ret != -ECANCELED;
}

/* With the first generation that has a checkpoint, or has it no more: that it was captured. */
static int mark_seeded(struct resource *r, const struct cut *c, struct hf_err *err)
{
	bool pending = hf_log_pending(r->log);
	uint64_t puts, dels, before;
	int ret = 0;

	for (unsigned i = 0; i < r->ncp && !ret; i++) {
		struct ckpt *cp = r->cp[i];
		char prefix[TREEDB_PREFIX + 1];

		if (cp->lost || treedb_marked(r->log, cp->id, TREEDB_SEEDED, NULL))
			continue;
		treedb_prefix(cp->id, prefix);
		hf_log_pending_stat(r->log, prefix, TREEDB_PREFIX, &puts, &dels, &before);
		if ((pending && (before || puts)) || (cp->seed && !c->tree_ret))
			ret = treedb_mark(r->log, cp->id, TREEDB_SEEDED, "1", err);
		if (!ret && pending)
			ret = treedb_unmark(r->log, cp->id, TREEDB_REFUSED);
	}
	return ret;
}

/* It is left to its next commit, which may be fuzzy. */
static int no_group(const struct cut *c, struct hf_err *err)
{
	if (c->tree_ret) {
		*err = c->tree_err;
		if (c->tree_ret == -ENXIO)	/* a lost tree */
			err->exit = HF_REFUSED;
		return c->tree_ret;
	}
	return hf_fail(err, HF_FAILED, -EAGAIN,
		       "there was no moment at which the files of all of them held still; try again when less is written, or sync each by itself");
}

/* That it still is the owner is looked at before any member commits: it mostly is none of them then. */
static int group_ready(struct resource *r, const struct rep *a, struct hf_err *err)
{
	int ret;

	atomic_store(&r->busy, hf_now_ms());
	ret = hf_log_confirm(r->log, err);
	atomic_store(&r->busy, 0);
	if (ret == -EREMOTEIO)
		r->log_broken = true;
	return ret ? ret : group_turn(a->group, a->member, err);
}

/* What was taken for removed in a tree whose root then turned out to be gone is not: it is captured again
 * without that tree, which is known to be lost by then. What the caller has put already would be lost by that. */
static int capture(struct resource *r, struct rep *a, struct cut *c, struct hf_err *err)
{
	bool begun = hf_log_pending(r->log);
	int ret;

	for (int tries = 0; ; tries++) {
		if (r->forget)
			forget_unregistered(r, false);
		ret = patterns_begin(r, err);
		if (!ret)
			ret = capture_cut(r, a, c, err);
		if (!c->gone || a->group || begun || tries == ROOT_TRIES)
			return ret;
		cut_free(c);
		atomic_store(&r->busy, hf_now_ms());
		hf_log_abort(r->log);
		atomic_store(&r->busy, 0);
	}
}

int replicate(struct resource *r, struct rep *a, struct hf_err *err)
{
	uint64_t t0 = hf_now_ms(), puts = 0, dels = 0, before, gen, wait;
	struct cut c = { 0 };
	bool pending, repatterned, news;
	char note[128] = "";
	int ret;

	a->committed = a->unsettled = a->urgent = false;
	if (r->without_store)
		return hf_fail(err, HF_UNAVAIL, -ENODEV,
			       "%s was brought online without the store; nothing is committed", r->name);
	if (r->log_broken || !r->log) {
		ret = reclaim(r, err);
		if (ret) {
			/* what it was for is not done, and need not be dirty */
			pthread_mutex_lock(&r->lock);
			r->soiled = r->urgent = true;
			r->soiled_ms = hf_now_ms();
			pthread_mutex_unlock(&r->lock);
			return ret;
		}
	}
	r->oldest_ns = account_oldest(r);
	ret = a->group ? group_enter(a->group, a->member, r, err) : 0;
	if (!ret)
		ret = capture(r, a, &c, err);
	if (ret) {
		r->log_broken |= !c.gone && breaks_log(ret);
		goto fail;
	}
	if (a->group && !c.settled) {
		ret = no_group(&c, err);
		goto fail;
	}
	/* contents may still be on their way, and who looks at an entry waits for the store */
	atomic_store(&r->busy, hf_now_ms());
	ret = patterns_note(r, &repatterned, err);
	if (!ret)
		ret = mark_seeded(r, &c, err);
	if (!ret && a->group)
		ret = group_tell(a->group, a->member, r->log, err);
	atomic_store(&r->busy, 0);
	if (ret) {
		r->log_broken |= breaks_log(ret);
		goto fail;
	}
	pending = hf_log_pending(r->log);
	if (pending) {
		atomic_store(&r->busy, hf_now_ms());
		ret = guard_look(r, a, err);
		atomic_store(&r->busy, 0);
		if (ret == -EINPROGRESS)
			goto fail;
		if (ret) {
			pthread_mutex_lock(&r->lock);
			news = !*r->warn_guard;
			snprintf(r->warn_guard, sizeof(r->warn_guard), "delete-guard: %.490s", err->msg);
			pthread_mutex_unlock(&r->lock);
			if (news)
				notice(N_GUARD, HF_LOG_WARN, r->name, "delete-guard: %s", err->msg);
			goto fail;
		}
	}
	a->consistent = c.settled && !c.tree_ret;
	if (pending) {
		hf_log_pending_stat(r->log, "", 0, &puts, &dels, &before);
		who_note(r, &c, a->note, note);
		ret = a->group ? group_ready(r, a, err) : 0;
		if (ret)
			goto fail;
		r->log_tried_gen = hf_log_gen(r->log) + 1;
		ret = hf_seam("commit.captured");
		if (ret) {
			hf_fail(err, HF_UNAVAIL, ret, "%s: injected failure before the commit", r->name);
			goto fail;
		}
		atomic_store(&r->busy, hf_now_ms());
		ret = hf_log_commit(r->log, a->consistent ? 0 : HF_REC_FUZZY, *note ? note : NULL, &gen, err);
		atomic_store(&r->busy, 0);
		if (ret) {
			r->log_broken = breaks_log(ret);
			goto fail;
		}
		pthread_mutex_lock(&r->lock);
		r->gen = gen;
		pthread_mutex_unlock(&r->lock);
		ret = hf_seam("commit.durable");
	} else {
		gen = hf_log_gen(r->log);
	}
	/* nothing is told to anybody, and nothing forgotten, before the row was read */
	if (pending || a->confirm || r->confirmed < gen) {
		if (!ret)
			ret = hf_seam("confirm.read");
		if (ret) {
			hf_fail(err, HF_UNAVAIL, ret, "%s: injected failure before confirming", r->name);
			goto fail;
		}
		atomic_store(&r->busy, hf_now_ms());
		ret = hf_log_confirm(r->log, err);
		atomic_store(&r->busy, 0);
		if (ret == -EREMOTEIO)
			r->log_broken = true;
		if (!ret)
			ret = hf_seam("confirm.done");
		if (ret)
			goto fail;
	}
	if (a->group)
		group_pass(a->group, a->member);
	cut_ack(r, &c);
	r->forget = false;
	a->gen = gen;
	a->committed = pending;
	a->unsettled = !c.settled || c.tree_ret;
	r->need_scan = r->need_scan && a->unsettled;
	/* how long it takes again: not what somebody asked for, or a comparison of all */
	if (pending && a->waits && !a->scan) {
		r->prev_dur_ms = r->last_dur_ms;
		r->last_dur_ms = hf_now_ms() - t0;
	}
	published(r, gen, a->consistent, pending, puts, dels, hf_now_ms() - t0, note);
	if (!a->unsettled)
		note_whole(r);
	/* what is older has other names, and a reader of the log should not have to know */
	if (repatterned)
		r->base_ms = hf_now_ms();
	r->rebase |= repatterned;
	r->base_part = false;
	if (!pending)
		a->consistent = r->consistent;
	if (a->strict && c.tree_ret) {
		*err = c.tree_err;
		ret = c.tree_ret;
		if (ret == -ENXIO)	/* a lost tree */
			err->exit = HF_REFUSED;
	} else if (a->strict && c.unstable) {
		ret = hf_fail(err, HF_FAILED, -EAGAIN,
			      "%s: %llu files never held still while they were read; what was written to them is not committed yet",
			      r->name, (unsigned long long)c.unstable);
	}
fail:
	/* at most a tenth of the time is spent on what nobody tells of */
	wait = 10 * (hf_now_ms() - t0);
	r->mapped_ms = c.mapped ? hf_now_ms() + (wait > MAPPED_MS ? wait : MAPPED_MS) : 0;
	/* that others held it up is no failure of its own */
	if (ret && !a->committed && ret != -EINPROGRESS && !(a->group && (ret == -ECANCELED || ret == -EAGAIN)))
		account_failure(r, hf_now_ms() - t0);
	/* what is not committed stays dirty and is captured again */
	if (ret && r->log && !a->committed) {
		atomic_store(&r->busy, hf_now_ms());
		hf_log_abort(r->log);
		atomic_store(&r->busy, 0);
	}
	if (ret && !a->committed && a->scan)
		r->need_scan = true;
	if (ret || a->unsettled) {
		pthread_mutex_lock(&r->lock);
		r->soiled = true;
		/* retry_ms says when, and not how long the one before took */
		r->urgent |= ret && a->urgent;
		r->soiled_ms = hf_now_ms();
		pthread_mutex_unlock(&r->lock);
	}
	cut_free(&c);
	return ret;
}

/* Another node has owned what was brought online here without the store, since it was. */
bool owned_meanwhile(const struct resource *r, const struct hf_log_stat *st)
{
	return st->epoch && st->slot != hfd.id.slot &&
	       (st->epoch != r->j.epoch || (st->released && !r->j.released));
}

/* Claims for a resource that was started without the store, once it is back. */
int rejoin(struct resource *r, struct hf_err *err)
{
	struct regs *pin;
	const struct hf_resource *def;
	struct hf_log_stat st = { 0 };
	int ret;

	ret = regs_reload(err);
	if (ret)
		return ret;
	def = resource_def(r, &pin);
	if (!def) {
		regs_put(pin);
		return hf_fail(err, HF_NOTFOUND, -ENOENT, "%s is not registered", r->name);
	}
	atomic_store(&r->busy, hf_now_ms());
	ret = hfd.store->ops->stat(hfd.store, &def->id, &st, err);
	if (ret == -ENOENT)
		ret = 0;
	if (!ret && owned_meanwhile(r, &st)) {
		pthread_mutex_lock(&r->lock);
		r->epoch = r->j.epoch;
		pthread_mutex_unlock(&r->lock);
		ret = hf_fail(err, HF_STALE, -ESTALE, "%s: %s has owned it meanwhile (epoch %llu)", r->name,
			      st.node, (unsigned long long)st.epoch);
	}
	if (!ret)
		ret = hf_log_claim(hfd.store, &def->id, 0, &r->log, err);
	atomic_store(&r->busy, 0);
	if (ret) {
		regs_put(pin);
		return ret;
	}
	regs_put(pin);
	pthread_mutex_lock(&r->lock);
	r->without_store = false;
	r->account.when_ms = hf_log_when(r->log) / 1000000;
	r->epoch = hf_log_epoch(r->log);
	r->gen = r->confirmed = hf_log_gen(r->log);
	r->consistent = !hf_log_fuzzy(r->log);
	/* that nothing has changed since it was online does not mean that the log has it */
	r->soiled = r->urgent = true;
	r->soiled_ms = hf_now_ms();
	pthread_mutex_unlock(&r->lock);
	r->need_scan = r->forget = true;
	r->log_broken = false;
	r->log_tried_gen = r->gen;
	resource_journal(r, r->quiet ? JR_UNRELEASED : JR_ONLINE, r->epoch, r->gen);
	hf_logf(HF_LOG_NOTE, "%s: the store is back; this node's trees become its next generation", r->name);
	return 0;
}

static void failed(struct resource *r, int ret, const struct hf_err *e)
{
	struct hf_policy pol;
	bool now_degraded = false;

	resource_policy(r, &pol);
	r->failures++;
	r->retry_ms = hf_now_ms() + (r->failures > 6 ? 5000 : 50u << r->failures);
	pthread_mutex_lock(&r->lock);
	/* what the guard holds back has a warning of its own */
	if (e->exit == HF_REFUSED && r->warn_guard[0])
		r->warn_commit[0] = '\0';
	else
		snprintf(r->warn_commit, sizeof(r->warn_commit), "commit: %.240s", e->msg);
	if (r->failures > pol.tolerate && !r->degraded && !r->warn_guard[0]) {
		r->degraded = true;
		now_degraded = true;
	}
	pthread_mutex_unlock(&r->lock);
	if (now_degraded)
		notice(N_DEGRADED, HF_LOG_ERR, r->name, "degraded: %s", e->msg);
	else if (r->failures == 1)
		hf_logf(HF_LOG_WARN, "%s", e->msg);
	if (now_degraded)
		hook_run(r, HOOK_DEGRADED, r->confirmed, e->msg);
	if (now_degraded && pol.exceed_failed)
		resource_event(r, EV_BROKEN, e->msg);
}

static bool broken(const struct resource *r)
{
	return !r->log || r->log_broken;
}

/* In parts, between which commits get their turn; @whole: all of it, because there is no room
 * for a commit. */
static int do_base(struct resource *r, bool whole, struct hf_err *err)
{
	struct hf_policy pol;
	int ret = broken(r) ? reclaim(r, err) : 0;

	if (ret) {
		r->base_retry_ms = hf_now_ms() + 5000;
		return ret;
	}
	resource_policy(r, &pol);
	hf_log_retain_age(r->log, pol.retain_age_s);
	atomic_store(&r->busy, hf_now_ms());
	ret = hf_log_tell(r->log, pol.retain_gens, err);
	if (!ret && (whole || r->rebase || hf_log_wants_base(r->log))) {
		ret = whole ? 0 : hf_log_base_part(r->log, BASE_PART, err);
		r->base_part = ret == 1;
		if (!ret)
			ret = hf_log_base(r->log, pol.retain_gens, err);
	}
	atomic_store(&r->busy, 0);
	pthread_mutex_lock(&r->lock);
	r->short_from = hf_log_short(r->log);
	pthread_mutex_unlock(&r->lock);
	if (ret == 1)
		return 0;
	if (!ret) {
		r->base_ms = r->base_retry_ms = 0;
		r->rebase = false;
	} else if (ret != -ESTALE) {
		hf_logf(HF_LOG_WARN, "%s: base: %s", r->name, err->msg);
		r->log_broken |= ret == -EREMOTEIO || ret == -EIO;
		r->base_retry_ms = hf_now_ms() + 5000;
	}
	return ret;
}

static void press(struct resource *r, void *arg)
{
	if (r != arg)
		resource_kick(r);
}

int make_room(struct resource *r, struct hf_err *err)
{
	int ret;

	if (broken(r))
		return 0;
	ret = do_base(r, true, err);
	resources_each(press, r);
	return ret;
}

/* A row that tells how far the log was confirmed lets damage be told from a torn end.
 * It costs a write, so only when nothing else is to be done. */
static uint64_t note_due(const struct resource *r)
{
	if (r->without_store || r->soiled || r->noted >= r->confirmed)
		return UINT64_MAX;
	return r->last_commit_ms + hfd.beat_ms > r->note_retry_ms ? r->last_commit_ms + hfd.beat_ms : r->note_retry_ms;
}

static void do_note(struct resource *r)
{
	struct hf_err e = { 0 };
	uint64_t upto = r->confirmed;
	int ret = broken(r) ? reclaim(r, &e) : 0;

	/* what was compressed last is in memory for as long as more of it may come */
	for (unsigned i = 0; i < r->ncp; i++)
		if (r->cp[i]->crypto && !ret)
			hf_log_cool(r->log);
	atomic_store(&r->busy, hf_now_ms());
	if (!ret)
		ret = hf_seam("note.row");
	if (!ret)
		ret = hf_log_note(r->log, &e);
	atomic_store(&r->busy, 0);
	if (ret == -ESTALE) {
		step_down(r, e.msg);
	} else if (ret) {
		r->log_broken |= ret == -EREMOTEIO || ret == -EIO;
		r->note_retry_ms = hf_now_ms() + 5000;
	} else {
		r->noted = upto;
	}
}

static uint64_t base_due(struct resource *r, uint64_t now)
{
	uint64_t t;

	if (!r->base_ms && !broken(r) && hf_log_wants_base(r->log))
		r->base_ms = now;
	if (!r->base_ms || r->without_store)
		return UINT64_MAX;
	/* when there is nothing else to do; at the latest after two seconds */
	t = r->soiled ? r->base_ms + 2000 : r->base_ms;
	return t > r->base_retry_ms ? t : r->base_retry_ms;
}

static uint64_t commit_due(struct resource *r)
{
	const struct hf_resource *def = regs_find(r->regs, r->name);
	struct hf_policy pol;
	uint64_t t = UINT64_MAX, b, wait;

	if (def)
		pol = def->policy;
	else
		hf_policy_default(&pol);
	if (r->soiled) {
		t = r->soiled_ms;
		if (!r->urgent) {
			/* still open: more will follow; at most a tenth of the time is spent on it */
			wait = 10 * (r->last_dur_ms < r->prev_dur_ms ? r->last_dur_ms : r->prev_dur_ms);
			t += wait > pol.settle_ms ? wait : pol.settle_ms;
		} else if (t < r->last_commit_ms + pol.settle_ms) {
			t += pol.settle_ms;
		}
		if (t < r->last_commit_ms + pol.min_pause_ms)
			t = r->last_commit_ms + pol.min_pause_ms;
		if (t < r->retry_ms)
			t = r->retry_ms;
	}
	if (r->mapped_ms) {
		b = r->mapped_ms < r->retry_ms ? r->retry_ms : r->mapped_ms;
		t = b < t ? b : t;
	}
	if (hfd.conf->scrub_s) {
		b = r->scrub_ms + 1000ull * hfd.conf->scrub_s;
		if (b < r->retry_ms)
			b = r->retry_ms;
		t = b < t ? b : t;
	}
	return t;
}

uint64_t replicator_due(struct resource *r, uint64_t now)
{
	uint64_t t, b;

	if (r->reload)
		return now;
	if (r->without_store)
		return r->retry_ms;
	t = commit_due(r);
	if (r->reload_ms && r->reload_ms < t)
		t = r->reload_ms;
	b = base_due(r, now);
	t = b < t ? b : t;
	b = note_due(r);
	return b < t ? b : t;
}

void replicator_run(struct resource *r)
{
	uint64_t now = hf_now_ms(), took;
	struct rep a = { .waits = true };
	struct hf_err e = { 0 };
	bool soiled, reload, base, note, commit;
	int ret;

	hf_seam("replicator.run");
	pthread_mutex_lock(&r->lock);
	soiled = r->soiled;
	reload = r->reload || (r->reload_ms && r->reload_ms <= now && !r->without_store);
	r->reload = false;
	base = base_due(r, now) <= now && !(r->base_part && commit_due(r) <= now);
	note = note_due(r) <= now;
	commit = r->without_store || commit_due(r) <= now;
	pthread_mutex_unlock(&r->lock);
	if (reload) {
		ret = checkpoints_reload(r, &e);
		if (ret == -ESTALE)
			step_down(r, e.msg);
		else if (ret)
			hf_logf(HF_LOG_WARN, "%s: %s", r->name, e.msg);
		return;
	}
	if (base) {
		if (do_base(r, false, &e) == -ESTALE)
			step_down(r, e.msg);
		return;
	}
	if (note) {
		do_note(r);
		return;
	}
	/* a change has come since, and what was due has to wait for it */
	if (!commit)
		return;
	if (r->without_store) {
		ret = rejoin(r, &e);
		if (ret == -ESTALE)
			step_down(r, e.msg);
		else if (ret)
			r->retry_ms = now + 5000;
		return;
	}
	if (hfd.conf->scrub_s && now >= r->scrub_ms + 1000ull * hfd.conf->scrub_s) {
		r->scrub_ms = now;
		a.scan = true;
		a.note = soiled ? NULL : "scrub";
	}
	ret = replicate(r, &a, &e);
	if (ret == -ESTALE) {
		step_down(r, e.msg);
	} else if (ret == -EINPROGRESS) {
		/* at most half of the time is spent on looking how it goes on */
		took = hf_now_ms() - now;
		r->retry_ms = now + took + (took > guard_pause(r) ? took : guard_pause(r));
	} else if (ret == -ENOSPC) {
		/* make room, then try once more */
		failed(r, ret, &e);
		if (make_room(r, &e) == -ESTALE)
			step_down(r, e.msg);
	} else if (ret) {
		failed(r, ret, &e);
	} else if (a.unsettled) {
		/* most of it is a burst that ends; what never holds still must not keep a processor busy */
		r->fuzzy_ms = !r->fuzzy_ms ? FUZZY_MS : r->fuzzy_ms < FUZZY_MAX_MS / 2 ? 2 * r->fuzzy_ms : FUZZY_MAX_MS;
		r->retry_ms = hf_now_ms() + (hf_seam("fuzzy.wait") ? 1000 : 1) * r->fuzzy_ms;
	} else {
		r->fuzzy_ms = 0;
	}
}
