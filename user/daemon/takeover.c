// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Going online: claim, track, restore, confirm, and only then say so. Each step
 * after which a crash would leave something is journalled before it. Runs in
 * the resource's worker.
 */
#include "account.h"
#include "memory.h"
#include "notice.h"
#include "replicator.h"
#include "treedb.h"
#include <stdlib.h>
#include <unistd.h>

#define LOOK_MS 1000

/* What can be refused without a claim is refused without one. */
static int open_before(struct resource *r, const struct hf_resource *def, struct hf_err *err)
{
	for (unsigned i = 0; i < def->ncp; i++) {
		struct hf_err e = { 0 };
		struct ckpt *c;
		int ret = ckpt_make(def, &def->cp[i], &c, err);

		if (ret)
			return ret;
		c->file = ckpt_is_file(c, def->cp[i].file, NULL);
		ret = ckpts_add(r, c);
		if (ret) {
			ckpt_free(c);
			return hf_fail(err, HF_FAILED, ret, "%s: out of memory", r->name);
		}
		/* a failure is looked at again after the claim, when the log is known */
		ret = ckpt_open(c, def, false, &e);
		if (!ret || *c->mount) {
			ret = ckpt_mount_check(c, r->name, err);
			if (ret)
				return ret;
		}
		if (c->tree) {
			ret = place_reserve(c, r->name, err);
			if (ret)
				return ret;
		}
	}
	return 0;
}

static void set_watch(struct resource *r, struct ckpt *c, struct hf_watch *w)
{
	pthread_mutex_lock(&r->lock);
	c->watch = w;
	pthread_mutex_unlock(&r->lock);
}

static int open_after(struct resource *r, const struct hf_resource *def, struct job *j, enum mode mode,
		      struct hf_err *err)
{
	for (unsigned i = 0; i < r->ncp; i++) {
		struct ckpt *c = r->cp[i];
		struct hf_err e = { 0 };
		bool file, missing;
		int ret;

		c->seed = !treedb_seeded(r->log, c->id);
		file = c->seed ? c->file : ckpt_is_file(c, def->cp[i].file, r->log);
		if (c->tree && file != c->file) {
			struct hf_watch *w = c->watch;

			set_watch(r, c, NULL);
			if (w)
				hf_track_del(w);
			place_release(c->place);
			c->place = NULL;
			hf_tree_close(c->tree);
			c->tree = NULL;
		}
		c->file = file;
		missing = !c->tree;
		if (missing) {
			/* nothing is made where the trees themselves are the truth */
			bool make = mode == TAKE_OVER && !j->keep_local && (!c->seed || j->allow_empty);

			if (make)
				ret = ckpt_make_parents(c, &e);
			else
				ret = 0;
			if (!ret)
				/* a file that its owner had deleted is one that is not there */
				ret = ckpt_open(c, def, make || (mode == RESUME && c->file && !c->seed), &e);
			if (ret == -ENOENT && !make)
				return hf_fail(err, HF_REFUSED, -EBUSY,
					       "%s: %s is not there%s", r->name, c->path,
					       c->seed ? ", and no generation has it; make it, or use --allow-empty" :
					       mode == RESUME ? "; bring it back, then `holdfast online`" : "");
			if (ret)
				return hf_fail(err, e.exit == HF_NOTFOUND || e.exit == HF_USAGE ? HF_REFUSED : e.exit, ret,
					       "%s: %s: %s", r->name, c->path, e.msg);
			c->made = make && !hf_tree_name(c->tree);
			ret = ckpt_mount_check(c, r->name, err);
			if (!ret)
				ret = place_reserve(c, r->name, err);
			if (ret)
				return ret;
		}
		if (c->crypto && c->seed && mode == TAKE_OVER) {
			ret = secret_check(c, err);
			if (ret)
				return ret;
		}
		if ((c->seed || j->keep_local) && !j->allow_empty && mode == TAKE_OVER && ckpt_empty(c))
			return hf_fail(err, HF_REFUSED, -EBUSY,
				       "%s: %s is %s on this node%s; fill it, or use --allow-empty", r->name,
				       c->path, c->file ? "not there" : "empty",
				       c->seed ? ", and no generation has it" : "");
	}
	return 0;
}

static int track_all(struct resource *r, uint64_t known, struct hf_err *err)
{
	for (unsigned i = 0; i < r->ncp; i++) {
		struct ckpt *c = r->cp[i];
		struct hf_watch *w;
		struct hf_err e = { 0 };
		int ret = c->watch ? 0 : ckpt_track(r, c, known, &w, &e);

		if (ret)
			return hf_fail(err, e.exit, ret, "%s: cannot track %s: %s", r->name, c->path, e.msg);
		if (!c->watch)
			set_watch(r, c, w);
	}
	return 0;
}

/*
 * A thread of its own: the trees that are here are looked at while the claim waits for the store. They are
 * tracked by then: what changes after the look is dirty, as what changes after a comparison always is.
 * What fails is tried, and told, in its turn.
 */
static void *look_ahead(void *arg)
{
	struct resource *r = arg;

	for (unsigned i = 0; i < r->ncp; i++) {
		struct ckpt *c = r->cp[i];
		struct hf_watch *w;
		struct hf_err e = { 0 };

		if (!c->tree || ckpt_track(r, c, 0, &w, &e))
			continue;
		set_watch(r, c, w);
		hf_tree_scout(c->tree);
	}
	return NULL;
}

/* What is older than this was seen too long ago to stand for what was here when the claim was won. */
static void look_anew(struct resource *r, uint64_t since_ms)
{
	for (unsigned i = 0; hf_now_ms() - since_ms > LOOK_MS && i < r->ncp; i++)
		/* one that is not tracked yet is looked at later */
		if (r->cp[i]->tree && r->cp[i]->watch) {
			hf_tree_unscout(r->cp[i]->tree);
			hf_tree_scout(r->cp[i]->tree);
		}
}

/* What is kept of it in memory may be whole, but it is not what another node would find. */
static int begin_anew(struct resource *r, const struct hf_resource *def, struct hf_log **log, struct hf_err *err)
{
	uint64_t above = memory_newest(&def->id);

	hf_log_close(*log);
	*log = NULL;
	above = above > r->confirmed ? above : r->confirmed;
	return hf_log_claim_anew(hfd.store, &def->id, above > r->j.generation ? above : r->j.generation, log, err);
}

static int claim(struct resource *r, const struct hf_resource *def, struct job *j, enum mode mode,
		 struct hf_err *err)
{
	uint64_t until = j->deadline_ms ? j->deadline_ms : hf_now_ms() + 30000;
	unsigned flags = j->fenced ? HF_CLAIM_FENCED : 0, pause = 10;
	struct hf_log *log = mode == TAKE_OVER ? follow_take(r) : NULL;
	uint64_t calls, before, waited;
	struct hf_log_stat st;
	int ret;

	j->warm_gen = log ? hf_log_gen(log) : 0;
	hf_store_reads(&calls, &before);
	waited = hf_store_read_ns();

	atomic_store(&r->busy, hf_now_ms());
	ret = hfd.store->ops->stat(hfd.store, &def->id, &st, err);
	if (ret == -ENOENT)
		ret = 0;
	else if (!ret && mode == RESUME && st.slot != hfd.id.slot)
		ret = hf_fail(err, HF_STALE, -ESTALE, "%s: %s has taken over (epoch %llu)", r->name, st.node,
			      (unsigned long long)st.epoch);
	if (!ret)
		ret = memory_claim(&def->id, err);
	while (!ret) {
		ret = j->anew ? begin_anew(r, def, &log, err) :
		      hf_log_claim_followed(hfd.store, &def->id, flags, &log, err);
		if (ret != -EAGAIN || hf_now_ms() + pause > until) {
			/* one that goes on until its time is up has timed out, whatever stood in its way */
			while (ret == -EAGAIN && j->deadline_ms && !job_late(r, j) && hf_now_ms() <= until)
				hf_sleep_ms(10);
			break;
		}
		hf_sleep_ms(pause / 2 + random() % pause);
		pause = pause < 500 ? pause * 2 : 500;
		atomic_store(&r->busy, hf_now_ms());
		ret = 0;
	}
	atomic_store(&r->busy, 0);
	hf_store_reads(&calls, &j->claim_bytes);
	j->claim_bytes -= before;
	j->claim_read_ns = hf_store_read_ns() - waited;
	if (ret)
		follow_give(r, log);
	else
		r->log = log;
	/* the trees here are only the truth if nobody else had the log since: taken over in the
	 * meantime, by one that lives, or that has gone again */
	if (mode == RESUME && ret == -EBUSY)
		ret = hf_fail(err, HF_STALE, -ESTALE, "%s: another node has taken over", r->name);
	if (!ret && mode == RESUME && !hf_log_kept(r->log, r->j.epoch)) {
		struct hf_err e = { 0 };

		hf_log_release(r->log, &e);
		ret = hf_fail(err, HF_STALE, -ESTALE, "%s: another node has owned it meanwhile", r->name);
	}
	if (!ret)
		ret = memory_claimed(&def->id, hf_log_gen(r->log), err);
	if (ret)
		return ret;
	r->log_broken = false;
	r->log_tried_gen = hf_log_gen(r->log);
	pthread_mutex_lock(&r->lock);
	r->epoch = hf_log_epoch(r->log);
	r->gen = r->confirmed = hf_log_gen(r->log);
	r->consistent = !hf_log_fuzzy(r->log);
	pthread_mutex_unlock(&r->lock);
	return 0;
}

struct newest { uint64_t gen; };

static int find_consistent(void *ctx, const struct hf_gen_info *g)
{
	struct newest *n = ctx;

	if (!(g->flags & HF_REC_FUZZY) && g->gen > n->gen)
		n->gen = g->gen;
	return 0;
}

int choose_generation(struct resource *r, const struct hf_resource *def, struct job *j,
		      struct hf_log *log, struct hf_log **from, struct hf_err *err)
{
	struct newest n = { 0 };
	int ret;

	*from = NULL;
	if (!hf_log_gen(log) || !hf_log_fuzzy(log))
		return 0;
	if (!def->policy.takeover_consistent) {
		snprintf(j->note, sizeof(j->note),
			 "generation %llu is not a consistent cut: files of it belong to slightly different moments",
			 (unsigned long long)hf_log_gen(log));
		if (j->dry_run)
			return 0;
		pthread_mutex_lock(&r->lock);
		snprintf(r->warn_other, sizeof(r->warn_other), "fuzzy: %.240s", j->note);
		pthread_mutex_unlock(&r->lock);
		return 0;
	}
	atomic_store(&r->busy, hf_now_ms());
	ret = hf_log_history(hfd.store, &def->id, find_consistent, &n, err);
	if (!ret && !n.gen)
		ret = hf_fail(err, HF_REFUSED, -EBUSY,
			      "%s: no consistent generation is left, and takeover-from = consistent", r->name);
	if (!ret)
		ret = hf_log_read(hfd.store, &def->id, n.gen, from, err);
	atomic_store(&r->busy, 0);
	if (!ret)
		snprintf(j->note, sizeof(j->note), "restored generation %llu, the newest consistent one",
			 (unsigned long long)n.gen);
	return ret;
}

static int confirm(struct resource *r, struct hf_err *err)
{
	int ret;

	atomic_store(&r->busy, hf_now_ms());
	ret = hf_log_confirm(r->log, err);
	atomic_store(&r->busy, 0);
	return ret;
}

/*
 * Whether the dirty sets alone tell what is not confirmed, so that a resumed
 * owner need not compare its trees. The argument:
 *
 * - The journal says `online` with a number of trees (journal.tracked) only
 *   after each tree up to that one was marked, and confirmed as a whole while it
 *   was tracked. So a daemon that died while it marked, seeded, or took up a
 *   checkpoint or a replaced root, leaves trees with higher numbers, which are
 *   begun anew and compared. One that died in a restore leaves another journal
 *   (`claiming`, of a rollback `restoring`), and so does one that was excluding its
 *   own changes, which are in no dirty set: only a restore does that.
 * - Numbers grow while the module is loaded. One that is loaded anew knows no
 *   tree; so where none of the numbers is left, they are taken back, durably,
 *   before a tree is added (hf_track_left(), resource_forget_tracked()).
 * - The module noted every change since, and an entry is only acknowledged after
 *   what it stood for was confirmed. Died between confirm and acknowledgement:
 *   the entry is captured again, and is nothing new. Died before, or failed to
 *   capture: it is dirty still.
 * - Nobody else had the log meanwhile (claim()), so what was confirmed is in it.
 *   What was appended and not confirmed may be in it or not; it is dirty either way.
 * - A tree that was unmounted, replaced or lost is not found again: compared.
 */
static bool all_resumed(const struct resource *r)
{
	for (unsigned i = 0; i < r->ncp; i++)
		if (r->cp[i]->seed || !hf_watch_resumed(r->cp[i]->watch))
			return false;
	return r->ncp;
}

/* Make what this node has the next generation, where there is something to make. */
static int first_capture(struct resource *r, struct job *j, const char *note, bool any, bool dirty_only,
			 struct hf_err *err)
{
	struct rep a = { .scan = !dirty_only, .full = !dirty_only, .confirm = true, .strict = true,
			 .patience_ms = 2000, .note = note, .allow_delete = any };
	int ret = replicate(r, &a, err);

	/* a file that never holds still is captured when it does; it stays dirty */
	if (ret == -EAGAIN && err->exit == HF_FAILED)
		ret = 0;
	j->committed = a.committed;
	return ret;
}

static int no_journal(struct resource *r, int ret, struct hf_err *err)
{
	return hf_fail(err, HF_FAILED, ret, "%s: its journal in %s cannot be written: %s; make room there",
		       r->name, hfd.journal_dir, strerror(-ret));
}

static int take(struct resource *r, const struct hf_resource *def, struct job *j, enum mode mode,
		bool *restoring, struct hf_err *err)
{
	uint64_t t0 = hf_now_ms(), t, known;
	struct hf_log *from = NULL;
	bool seeds = false, resumed, ahead, left;
	pthread_t looks;
	int ret;

	known = mode == RESUME ? r->j.tracked : 0;
	if (!hf_track_left(hfd.track, r->name, known))
		known = 0;
	pthread_mutex_lock(&r->lock);
	r->j.tracked = known;
	r->j.anew &= j->anew;
	pthread_mutex_unlock(&r->lock);
	ret = open_before(r, def, err);
	if (ret)
		return ret;
	t = hf_now_ms();
	/* What an earlier term left there must not be believed after a crash: not of the trees that are tracked
	 * anew from now on either, which have numbers again that it knows if the module was loaded since. */
	left = mode == TAKE_OVER && r->j.state != JR_NONE;
	if (left)
		ret = resource_journal(r, JR_CLAIMING, 0, 0);
	ahead = !ret && mode == TAKE_OVER && !j->keep_local && !pthread_create(&looks, NULL, look_ahead, r);
	if (mode == TAKE_OVER && !left)
		ret = resource_journal(r, JR_CLAIMING, 0, 0);
	if (ret)
		ret = no_journal(r, ret, err);
	else
		ret = job_step(r, j, "claiming it", err);
	if (!ret)
		ret = claim(r, def, j, mode, err);
	j->ms_claim = hf_now_ms() - t;
	if (ahead)
		pthread_join(looks, NULL);
	j->ms_track = hf_now_ms() - t - j->ms_claim;
	if (ret)
		return ret;
	look_anew(r, t);
	/* of a takeover the journal says enough: if the claim is ours, the trees are to be restored */
	if (r->quiet || mode == RESUME || j->keep_local)
		ret = resource_journal(r, r->quiet ? JR_UNRELEASED : JR_ONLINE, r->epoch, hf_log_gen(r->log));
	if (ret)
		return no_journal(r, ret, err);
	ret = open_after(r, def, j, mode, err);
	if (ret)
		return ret;
	t = hf_now_ms();
	ret = job_step(r, j, "beginning to track it", err);
	if (!ret)
		ret = track_all(r, known, err);
	j->ms_track += hf_now_ms() - t;
	if (ret)
		return ret;
	for (unsigned i = 0; i < r->ncp; i++)
		seeds |= r->cp[i]->seed;
	/* now, when the trees are still being looked at, it takes no time; what fails aborts it */
	forget_unregistered(r, true);
	/* if the first capture is held back that goes with it, and comes again with the next */
	r->forget = hf_log_pending(r->log);
	if (mode == TAKE_OVER && !j->keep_local) {
		t = hf_now_ms();
		ret = choose_generation(r, def, j, r->log, &from, err);
		if (ret)
			return ret;
		ret = job_step(r, j, "restoring it", err);
		if (ret) {
			hf_log_close(from);
			return ret;
		}
		*restoring = true;
		j->restore_read_ns = hf_store_read_ns();
		ret = restore_all(r, from ? from : r->log, j, err);
		j->restore_read_ns = hf_store_read_ns() - j->restore_read_ns;
		hf_log_cool(r->log);
		j->ms_restore = hf_now_ms() - t;
		hf_log_close(from);
		if (ret)
			return ret;
		*restoring = false;
	}
	/* of what was to be seeded nothing was restored */
	for (unsigned i = 0; i < r->ncp; i++)
		hf_tree_unscout(r->cp[i]->tree);
	resumed = mode == RESUME && all_resumed(r);
	/* what was restored is the generation, but for what others change and the dirty sets tell */
	for (unsigned i = 0; i < r->ncp; i++)
		r->cp[i]->whole = resumed || (mode == TAKE_OVER && !j->keep_local && !from && !r->cp[i]->seed);
	ret = job_step(r, j, "confirming it", err);
	if (ret)
		return ret;
	if (resumed)
		hf_logf(HF_LOG_NOTE, "%s: the module kept track while the daemon was away; no scan is needed",
			r->name);
	if (mode == RESUME)
		ret = first_capture(r, j, "resumed", false, resumed, err);
	else if (j->keep_local)
		ret = first_capture(r, j, j->anew ? "rebuild" : "keep-local", true, false, err);
	else if (from || seeds || hf_log_pending(r->log) || patterns_changed(r))
		ret = first_capture(r, j, from ? "back to a consistent generation" : "first capture",
				    from != NULL, false, err);
	else
		ret = confirm(r, err);
	/* a resumed owner stays one while the guard holds its capture back */
	if (mode == RESUME && ret == -EBUSY && err->exit == HF_REFUSED)
		ret = confirm(r, err);
	if (ret)
		return ret;
	j->ms_total = hf_now_ms() - t0;
	return 0;
}

void give_up(struct resource *r, bool release)
{
	struct hf_err e = { 0 };

	ckpts_drop_all(r);
	if (r->log && release) {
		/* so that another node may try; nothing of ours is half in it */
		hf_log_abort(r->log);
		atomic_store(&r->busy, hf_now_ms());
		if (hf_log_release(r->log, &e))
			hf_logf(HF_LOG_WARN, "%s: its claim could not be released: %s", r->name, e.msg);
		atomic_store(&r->busy, 0);
	}
	hf_log_close(r->log);
	r->log = NULL;
}

/* The trees are between two states, and nobody goes on with them. */
void leave_half(struct resource *r)
{
	pthread_mutex_lock(&r->lock);
	r->j.half = true;
	pthread_mutex_unlock(&r->lock);
	resource_journal(r, JR_NONE, 0, 0);
}

/* Of a restore that did not end nobody vouches for what is here by saying that it is this node's. */
static int whole_here(struct resource *r, struct hf_err *err)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	int ret = 0;

	if (def && r->j.half && !memcmp(r->j.uuid, def->id.uuid, sizeof(r->j.uuid)))
		ret = hf_fail(err, HF_REFUSED, -EBUSY,
			      "%s: what is here may be half of a generation, whose restore began and did not end; `holdfast online %s` ends it, and `holdfast displaced list %s` has what it overwrote; if what is here is to stand all the same, `holdfast resource reset %s` first",
			      r->name, r->name, r->name, r->name);
	regs_put(pin);
	return ret;
}

static void undo(struct resource *r, struct job *j, enum mode mode, int ret, bool restoring,
		 const char *why)
{
	if (ret == -ESTALE && mode == RESUME) {
		step_down(r, why);
		return;
	}
	for (unsigned i = r->ncp; i-- > 0;)
		ckpt_unmake(r->cp[i]);
	give_up(r, mode == TAKE_OVER && ret != -ESTALE);
	if (mode == TAKE_OVER && restoring)
		leave_half(r);
	else if (mode == TAKE_OVER)
		resource_journal(r, JR_NONE, 0, 0);
	resource_refresh(r);
	/* what timed out is failed already, and says so */
	if (!j->expired)
		resource_event(r, restoring || mode == RESUME ? EV_BROKEN : EV_REFUSED, why);
}

/* Unless its time is up already. */
static int begin(struct resource *r, struct job *j, const char *why)
{
	int ret = job_step(r, j, "at its beginning", &j->err);

	if (ret)
		return ret;
	resource_event(r, EV_BEGIN, why);
	pthread_mutex_lock(&r->lock);
	j->pends = !r->quiet;
	pthread_mutex_unlock(&r->lock);
	return 0;
}

int go_online(struct resource *r, struct job *j, enum mode mode)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	bool restoring = false;
	int ret;

	if (!def) {
		ret = hf_fail(&j->err, HF_NOTFOUND, -ENOENT, "there is no resource %s", r->name);
		goto out;
	}
	/* what an earlier failed or fenced-out term left open */
	ckpts_drop_all(r);
	hf_log_close(r->log);
	r->log = NULL;
	r->examine = false;
	pthread_mutex_lock(&r->lock);
	r->live = r->without_store = false;
	pthread_mutex_unlock(&r->lock);
	replicator_reset(r);
	ret = begin(r, j, NULL);
	if (ret)
		goto out;
	ret = take(r, def, j, mode, &restoring, &j->err);
	if (!ret)
		ret = job_step(r, j, NULL, &j->err);
	if (ret == -ECANCELED && j->expired)
		ret = job_step(r, j, j->step, &j->err);
	if (ret) {
		undo(r, j, mode, ret, restoring, j->err.msg);
		goto out;
	}
	pthread_mutex_lock(&r->lock);
	r->live = true;
	r->account.when_ms = hf_log_when(r->log) / 1000000;
	r->j.tracked = r->quiet ? 0 : resource_tracked(r);
	/* checkpoints that came while it was on its way */
	r->reload |= r->regs != pin;
	r->stale = r->without_store = false;
	if (!r->quiet) {
		r->unreleased = false;
		r->j.has_unconfirmed = r->j.has_left = false;
	}
	j->epoch = r->epoch;
	j->gen = r->gen;
	pthread_mutex_unlock(&r->lock);
	/* if it cannot be written the one before says "claiming": then a crash keeps aside what
	 * was not confirmed, instead of committing it */
	resource_journal(r, r->quiet ? JR_UNRELEASED : JR_ONLINE, j->epoch, j->gen);
	resource_event(r, EV_READY, NULL);
	if (mode == TAKE_OVER)
		account_takeover(r, j);
	note_mounts(r);
	if (hf_log_wants_base(r->log))
		r->base_ms = hf_now_ms();
out:
	regs_put(pin);
	return ret;
}

int claim_anew(struct resource *r, const struct hf_resource *def, struct job *j, struct hf_err *err)
{
	j->anew = true;
	return claim(r, def, j, TAKE_OVER, err);
}

int online_anew(struct resource *r, struct job *j)
{
	j->anew = j->keep_local = true;
	return go_online(r, j, TAKE_OVER);
}

/* Audited: the administrator vouches for what is here. What others owned until then
 * is noted: who owns it later makes what is here stale. */
int online_without_store(struct resource *r, struct job *j, bool resumed)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	int ret;

	if (!def) {
		ret = hf_fail(&j->err, HF_NOTFOUND, -ENOENT, "there is no resource %s", r->name);
		goto out;
	}
	if (!resumed)
		notice(N_FORCED, HF_LOG_WARN, r->name,
		       "%s: AUDIT: brought online without the store, with what is on this node", r->name);
	ckpts_drop_all(r);
	hf_log_close(r->log);
	r->log = NULL;
	r->examine = false;
	replicator_reset(r);
	ret = begin(r, j, "without the store");
	if (ret)
		goto out;
	ret = open_before(r, def, &j->err);
	for (unsigned i = 0; i < r->ncp && !ret; i++)
		if (!r->cp[i]->tree)
			ret = hf_fail(&j->err, HF_REFUSED, -EBUSY, "%s: %s is not on this node", r->name,
				      r->cp[i]->path);
	if (!ret) {
		resource_forget_tracked(r);
		ret = track_all(r, 0, &j->err);
	}
	if (!ret)
		ret = job_step(r, j, NULL, &j->err);
	if (ret) {
		undo(r, j, resumed ? RESUME : TAKE_OVER, ret, false, j->err.msg);
		goto out;
	}
	pthread_mutex_lock(&r->lock);
	r->live = r->without_store = true;
	r->stale = false;
	if (!r->quiet)
		r->unreleased = false;
	if (!resumed) {
		r->j.epoch = r->st_valid ? r->st.epoch : 0;
		r->j.released = r->st_valid && r->st.released;
	}
	pthread_mutex_unlock(&r->lock);
	r->retry_ms = resumed ? hf_now_ms() : hf_now_ms() + 5000;
	resource_journal(r, r->quiet ? JR_UNRELEASED : JR_ONLINE, r->j.epoch, 0);
	resource_event(r, EV_READY, "without the store");
out:
	regs_put(pin);
	return ret;
}

/* After a claim that failed before it was made: what an earlier stop left is still to be ended. */
static int online_after_stop(struct resource *r, struct job *j)
{
	struct journal was;
	uint64_t epoch;
	bool without;
	int ret;

	spool_retry(r);
	was = r->j;
	epoch = r->epoch;
	without = r->without_store;
	ret = go_online(r, j, TAKE_OVER);
	if (ret && r->unreleased && r->epoch == epoch && was.state == JR_UNRELEASED) {
		pthread_mutex_lock(&r->lock);
		r->without_store = without;
		r->j.torn = was.torn;
		r->j.synced = was.synced;
		pthread_mutex_unlock(&r->lock);
		resource_journal(r, was.state, was.epoch, was.generation);
	}
	return ret;
}

/* Who was paused does not know yet that another node has taken over, and must not tell its caller that the
 * service may start. A store that does not answer proves nothing: what is online stays so. */
static bool fenced_out(struct resource *r)
{
	struct hf_err e = { 0 };
	int ret;

	if (r->without_store)
		return false;
	ret = r->log && !r->log_broken ? confirm(r, &e) : -EREMOTEIO;
	/* an earlier write failed: that tells nothing of whose it is now */
	if (ret == -EREMOTEIO)
		ret = reclaim(r, &e);
	if (ret == -ESTALE)
		step_down(r, e.msg);
	return ret == -ESTALE;
}

int job_online(struct resource *r, struct job *j)
{
	int ret;

	if (r->live && r->state == RS_FAILED && !j->dry_run)
		return hf_fail(&j->err, HF_REFUSED, -EBUSY,
			       "%s is failed on this node (%.200s); `holdfast offline %s`, or `holdfast resource reset %s`, first",
			       r->name, r->error, r->name, r->name);
	if (r->live && r->state == RS_ONLINE && !j->dry_run && !fenced_out(r)) {
		pthread_mutex_lock(&r->lock);
		j->already = true;
		j->epoch = r->epoch;
		j->gen = r->gen;
		pthread_mutex_unlock(&r->lock);
		return 0;
	}
	ret = regs_reload(&j->err);
	if (j->without_store && !j->dry_run) {
		if (!ret)
			return hf_fail(&j->err, HF_REFUSED, -EBUSY,
				       "%s: the store can be reached; go online without --without-store", r->name);
		memset(&j->err, 0, sizeof(j->err));
		ret = whole_here(r, &j->err);
		return ret ? ret : online_without_store(r, j, false);
	}
	if (ret)
		return ret;
	if (j->dry_run)
		return online_dry_run(r, j, &j->err);
	ret = j->keep_local ? whole_here(r, &j->err) : 0;
	if (ret)
		return ret;
	/* what was held back by a stop without the store comes first */
	if (r->unreleased)
		return online_after_stop(r, j);
	return go_online(r, j, TAKE_OVER);
}
