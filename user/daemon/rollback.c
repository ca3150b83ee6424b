// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Back to an earlier generation, while online: what is there is committed, that generation
 * restored, and what then is there becomes the newest one.
 *
 * The journal says `restoring` meanwhile: after a crash half-way the newest generation is
 * restored, which is the one before, or the one that was rolled back to. Runs in the worker.
 */
#include "group_look.h"
#include "replicator.h"
#include "treedb.h"
#include <stdlib.h>

static int open_generation(struct resource *r, struct job *j, struct hf_log **from)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	char *text = NULL;
	int ret;

	atomic_store(&r->busy, hf_now_ms());
	ret = def ? hf_log_read(hfd.store, &def->id, j->to_gen, from, &j->err) : -ENOENT;
	if (!ret && !hf_log_fuzzy(*from) && (text = group_note(pin, *from)))
		snprintf(j->note, sizeof(j->note), "%s", text);
	free(text);
	atomic_store(&r->busy, 0);
	if (ret == -ENOENT)
		hf_fail(&j->err, HF_NOTFOUND, ret, "%s has no generation %llu; `holdfast history %s` lists those that can be read",
			r->name, (unsigned long long)j->to_gen, r->name);
	if (!ret && hf_log_fuzzy(*from))
		snprintf(j->note, sizeof(j->note), "generation %llu is not a consistent cut: files of it belong to slightly different moments",
			 (unsigned long long)j->to_gen);
	regs_put(pin);
	return ret;
}

/* A checkpoint that is lost, or was added since, has nothing to go back to. */
static int ready(struct resource *r, struct job *j)
{
	if (!r->live)
		return hf_fail(&j->err, HF_REFUSED, -EBUSY,
			       "%s is not online on this node; roll back where it is, or bring it online first: `holdfast online %s` starts no service",
			       r->name, r->name);
	if (r->without_store)
		return hf_fail(&j->err, HF_UNAVAIL, -ENODEV,
			       "%s was brought online without the store; there is no generation to go back to yet", r->name);
	for (unsigned i = 0; i < r->ncp; i++)
		if (hf_tree_alive(r->cp[i]->tree))
			return hf_fail(&j->err, HF_REFUSED, -ENXIO, "%s: %s is gone or not the tree it was; bring it back, or delete the checkpoint",
				       r->name, r->cp[i]->path);
	return 0;
}

/* So that it can be gone back to as well. What cannot be committed is kept aside by the restore: *@all is false then. */
static int commit_before(struct resource *r, struct job *j, bool *all)
{
	struct rep a = { .scan = true, .full = true, .confirm = true, .strict = true, .patience_ms = 2000,
			 .note = "before a rollback" };
	struct hf_err e = { 0 };
	int ret = replicate(r, &a, &e);

	*all = !ret;
	/* the guard holds back a deletion, which a rollback may be meant to undo; a file that never
	 * holds still */
	if ((ret == -EBUSY && e.exit == HF_REFUSED) || (ret == -EAGAIN && e.exit == HF_FAILED))
		return 0;
	j->err = e;
	return ret;
}

/*
 * It is half there, or not in the log: what was before comes back. If it cannot, the term ends: such a
 * mixture is never captured. @from: what is as it has it was written by the rollback; NULL: or may have been so.
 */
static bool take_back(struct resource *r, struct job *j, struct hf_log *from)
{
	struct job *back = r->log ? job_new(NULL) : NULL;
	struct hf_err e = { 0 }, why = j->err;
	int ret;

	if (back) {
		back->rollback = true;
		back->undone = from;
	}
	ret = back ? restore_all(r, r->log, back, &e) :
		     hf_fail(&e, HF_UNAVAIL, -ENODEV, "%s: its log cannot be read", r->name);
	job_put(back);
	if (!ret) {
		hf_fail(&j->err, why.exit, 0, "%.900s; what was before the rollback is here again", why.msg);
		return true;
	}
	hf_fail(&j->err, why.exit, 0, "%.500s; nor could what was before be restored, so %s is failed, and offline: %.300s",
		why.msg, r->name, e.msg);
	pthread_mutex_lock(&r->lock);
	r->live = false;
	pthread_mutex_unlock(&r->lock);
	give_up(r, true);
	resource_journal(r, JR_NONE, 0, 0);
	resource_refresh(r);
	resource_event(r, EV_BROKEN, j->err.msg);
	return false;
}

static int roll_back(struct resource *r, struct job *j, struct hf_log *from, bool all)
{
	struct rep a = { .scan = true, .full = true, .confirm = true, .strict = true, .allow_delete = true,
			 .patience_ms = 2000 };
	uint64_t before = hf_log_gen(r->log);
	char note[192];
	bool goes_on = true;
	int ret;

	/* what a restore writes is in no dirty set */
	for (unsigned i = 0; i < r->ncp; i++)
		r->cp[i]->whole = false;
	pthread_mutex_lock(&r->lock);
	r->j.tracked = 0;
	pthread_mutex_unlock(&r->lock);
	ret = resource_journal(r, JR_RESTORING, r->epoch, r->confirmed);
	if (ret)
		return hf_fail(&j->err, HF_FAILED, ret, "%s: its journal in %s cannot be written: %s; make room there",
			       r->name, hfd.journal_dir, strerror(-ret));
	ret = restore_all(r, from, j, &j->err);
	if (!ret)
		ret = hf_seam("rollback.restored");
	if (!ret) {
		snprintf(note, sizeof(note), "rollback to %llu by %s", (unsigned long long)j->to_gen, j->who);
		a.note = note;
		r->need_scan = true;
		ret = replicate(r, &a, &j->err);
		/* it stays dirty, and is committed when it holds still */
		if (ret == -EAGAIN && j->err.exit == HF_FAILED)
			ret = 0;
	}
	if (ret && ret != -ESTALE && (!r->log || hf_log_gen(r->log) == before))
		goes_on = take_back(r, j, all ? from : NULL);
	if (goes_on && ret != -ESTALE)
		resource_journal(r, JR_ONLINE, r->epoch, r->confirmed);
	j->gen = r->confirmed;
	j->committed = a.committed;
	return ret;
}

int job_rollback(struct resource *r, struct job *j)
{
	struct hf_log *from = NULL;
	bool all = false;
	int ret = ready(r, j);

	if (!ret && !j->dry_run)
		ret = commit_before(r, j, &all);
	if (!ret)
		ret = open_generation(r, j, &from);
	if (!ret && j->dry_run)
		ret = restore_would(r, from, j, &j->err);
	else if (!ret)
		ret = roll_back(r, j, from, all);
	hf_log_close(from);
	if (ret == -ESTALE)
		step_down(r, j->err.msg);
	return ret;
}
