// SPDX-License-Identifier: GPL-2.0-or-later
/* Pinned generations: a change of the resource's log, made by its owner, or by any node while
 * nobody owns it. */
#include "replicator.h"

static int change(struct hf_log *l, struct job *j, uint64_t *gen)
{
	int ret = j->pin_gen ? hf_log_pin(l, j->pin_gen, j->pin, &j->err) : hf_log_unpin(l, j->pin, &j->err);

	/* what it says of the state itself is as before */
	if (!ret)
		ret = hf_log_commit(l, hf_log_fuzzy(l) ? HF_REC_FUZZY : 0, j->pin_gen ? "history pin" : "history unpin",
				    gen, &j->err);
	if (!ret)
		ret = hf_log_confirm(l, &j->err);
	if (ret)
		hf_log_abort(l);
	return ret;
}

static int change_owned(struct resource *r, struct job *j)
{
	uint64_t gen, t0 = hf_now_ms();
	int ret = 0;

	if (r->without_store)
		return hf_fail(&j->err, HF_UNAVAIL, -ENODEV, "%s was brought online without the store; nothing is committed",
			       r->name);
	for (unsigned tries = 0; tries < 2; tries++) {
		struct hf_err e = { 0 };

		memset(&j->err, 0, sizeof(j->err));
		ret = r->log_broken || !r->log ? reclaim(r, &j->err) : 0;
		if (ret)
			break;
		r->log_tried_gen = hf_log_gen(r->log) + 1;
		atomic_store(&r->busy, hf_now_ms());
		ret = change(r->log, j, &gen);
		atomic_store(&r->busy, 0);
		if (ret != -ENOSPC)
			break;
		if (make_room(r, &e) == -ESTALE) {
			j->err = e;
			ret = -ESTALE;
			break;
		}
	}
	if (ret == -ESTALE)
		step_down(r, j->err.msg);
	else if (ret && ret != -ENOENT && ret != -EEXIST && ret != -EINVAL && ret != -EFBIG)
		r->log_broken |= breaks_log(ret);
	if (ret)
		return ret;
	j->gen = gen;
	/* nothing of the trees is in it, so nothing is acknowledged */
	published(r, gen, !hf_log_fuzzy(r->log), true, 0, 0, hf_now_ms() - t0, NULL);
	if (!j->pin_gen) {
		r->base_ms = hf_now_ms();
		r->rebase = true;
	}
	return 0;
}

static int change_free(struct resource *r, struct job *j)
{
	struct regs *pin = NULL;
	const struct hf_resource *def;
	struct hf_log_stat st;
	struct hf_log *l = NULL;
	int ret;

	/* which log it is, and how much history it keeps */
	atomic_store(&r->busy, hf_now_ms());
	ret = regs_refresh(&j->err);
	if (ret)
		goto out;
	def = resource_def(r, &pin);
	if (!def) {
		ret = hf_fail(&j->err, HF_NOTFOUND, -ENOENT, "there is no resource %s", r->name);
		goto out;
	}
	ret = hfd.store->ops->stat(hfd.store, &def->id, &st, &j->err);
	if (!ret && !st.epoch)
		ret = hf_fail(&j->err, HF_NOTFOUND, -ENOENT, "%s has no generation yet", r->name);
	else if (!ret && !st.released)
		ret = hf_fail(&j->err, HF_REFUSED, -EBUSY,
			      "%s belongs to %s; pin and unpin there, or bring it online here or take it offline first", r->name,
			      st.node[0] ? st.node : "another node");
	if (!ret)
		ret = hf_log_claim(hfd.store, &def->id, 0, &l, &j->err);
	if (!ret)
		ret = change(l, j, &j->gen);
	if (ret == -ENOSPC && !hf_log_base(l, 0, &j->err)) {
		memset(&j->err, 0, sizeof(j->err));
		ret = change(l, j, &j->gen);
	}
	if (!ret && !j->pin_gen) {
		struct hf_err e = { 0 };

		hf_log_retain_age(l, def->policy.retain_age_s);
		if (hf_log_base(l, def->policy.retain_gens, &e))
			hf_logf(HF_LOG_WARN, "%s: base: %s", r->name, e.msg);
	}
	if (l && ret != -ESTALE) {
		struct hf_err e = { 0 };

		if (hf_log_release(l, &e))
			hf_logf(HF_LOG_WARN, "%s: not released: %s", r->name, e.msg);
	}
	hf_log_close(l);
	if (ret == -EAGAIN || ret == -ESTALE)
		hf_fail(&j->err, HF_REFUSED, -EBUSY, "%s is being brought online by another node; pin and unpin there",
			r->name);
out:
	atomic_store(&r->busy, 0);
	regs_put(pin);
	return ret;
}

int job_pin(struct resource *r, struct job *j)
{
	return r->live ? change_owned(r, j) : change_free(r, j);
}
