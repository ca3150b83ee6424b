// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is damaged on the store is made again from the trees of the node that owns it: contents that cannot
 * be read are put anew, and a new base makes the newest state stand on nothing older. A log that cannot be
 * read any more begins anew, empty, and that first state is told of in the row at once: until then whoever
 * else comes finds the damage, as before (hf_log_claim_anew()).
 *
 * Only by the node whose epoch is the newest: what others have may be older. And a log begins anew only from
 * trees that are known to be all of that epoch (journal.whole): the node may have claimed it, and died, or
 * failed, before they were restored. Where that is not known an administrator has to say it. Runs in the worker.
 */
#include "notice.h"
#include "replicator.h"
#include "treedb.h"
#include <stdlib.h>

#define PATHS 1000	/* that are named */

static int owned(struct resource *r, const struct hf_resource *def, struct hf_log_stat *st, struct hf_err *err)
{
	int ret;

	if (r->stale)
		return hf_fail(err, HF_STALE, -ESTALE,
			       "%s: this node was fenced out; only its owner's trees can stand for what is damaged", r->name);
	if (r->without_store)
		return hf_fail(err, HF_UNAVAIL, -ENODEV,
			       "%s was brought online without the store; nothing is committed yet", r->name);
	atomic_store(&r->busy, hf_now_ms());
	ret = hfd.store->ops->stat(hfd.store, &def->id, st, err);
	atomic_store(&r->busy, 0);
	if (ret && ret != -ENOENT)
		return ret;
	if (ret || !st->epoch)
		return hf_fail(err, HF_REFUSED, -EBUSY, "%s has no generation yet: `holdfast online %s` makes the first one",
			       r->name, r->name);
	if (st->slot != hfd.id.slot)
		return hf_fail(err, HF_REFUSED, -EBUSY,
			       "%s %s %s (epoch %llu): only its trees can stand for what is damaged; rebuild it there",
			       r->name, st->released ? "was last owned by" : "is owned by", st->node,
			       (unsigned long long)st->epoch);
	for (unsigned i = 0; r->live && i < r->ncp; i++)
		if (hf_tree_alive(r->cp[i]->tree))
			return hf_fail(err, HF_REFUSED, -ENXIO,
				       "%s: %s is gone or not the tree it was; bring it back, or delete the checkpoint", r->name,
				       r->cp[i]->path);
	return 0;
}

/* Damaged, or sectors that are lost, where the store answers otherwise: what is asked of it next tells. */
static bool lost(int ret) { return ret == -EBADMSG || ret == -EIO || ret == -ENODATA; }

static int vouched(struct resource *r, const struct hf_resource *def, const struct hf_log_stat *st, struct job *j)
{
	if (r->j.whole == st->epoch && !memcmp(r->j.uuid, def->id.uuid, sizeof(r->j.uuid)))
		return 0;
	if (j->keep_local && !j->dry_run)
		hf_logf(HF_LOG_WARN, "%s: AUDIT: by --keep-local its log is to begin anew from what is here, which epoch %llu may not have had",
			r->name, (unsigned long long)st->epoch);
	if (j->keep_local)
		return 0;
	return hf_fail(&j->err, HF_REFUSED, -EBUSY,
		       "%s: its log cannot be read, and nothing tells that this node's trees are all that was in it: epoch %llu is this node's, but it did not come online in it, or was booted since; copy here what is newer on the node that had it before (`holdfast displaced list %s` has what a restore overwrote here), then say --keep-local",
		       r->name, (unsigned long long)st->epoch, r->name);
}

/* Should it be cut short, the epoch that is claimed may be the newest already. */
static int note_anew(struct resource *r, struct job *j)
{
	int ret;

	pthread_mutex_lock(&r->lock);
	r->j.anew = true;
	pthread_mutex_unlock(&r->lock);
	ret = journal_write(r->name, &r->j);
	return !ret ? 0 : hf_fail(&j->err, HF_FAILED, ret, "%s: its journal in %s cannot be written: %s; make room there",
				  r->name, hfd.journal_dir, strerror(-ret));
}

void rebuild_stands(struct resource *r, const struct hf_log_stat *st)
{
	pthread_mutex_lock(&r->lock);
	r->j.anew = false;
	if (st->epoch && st->slot == hfd.id.slot)
		r->j.whole = st->epoch;
	pthread_mutex_unlock(&r->lock);
}

/* Can the newest state be read, as another node would? 1, 0, or an error. */
static int readable(struct resource *r, const struct hf_resource *def, struct hf_err *err)
{
	struct hf_log_stat st;
	struct hf_log *log;
	struct hf_err e;
	int ret;

	for (unsigned tries = 0; tries < 3; tries++) {
		log = NULL;
		memset(&e, 0, sizeof(e));
		atomic_store(&r->busy, hf_now_ms());
		ret = hf_log_read(hfd.store, &def->id, 0, &log, &e);
		atomic_store(&r->busy, 0);
		hf_log_close(log);
		if (!ret || ret == -ENOENT)
			return 1;
		if (ret != -EIO && ret != -ENODATA)
			break;
		hf_sleep_ms(200);
	}
	if (lost(ret) && !hfd.store->ops->stat(hfd.store, &def->id, &st, NULL)) {
		hf_logf(HF_LOG_WARN, "%s: rebuild: %s", r->name, e.msg);
		return 0;
	}
	*err = e;
	return ret;
}

struct sweep { struct resource *r; struct job *j; uint64_t read; };

static void name_it(struct json_object **list, const char *name)
{
	if (!*list)
		*list = json_object_new_array();
	for (size_t i = 0; i < json_object_array_length(*list); i++)
		if (!strcmp(json_object_get_string(json_object_array_get_idx(*list, i)), name))
			return;
	if (json_object_array_length(*list) < PATHS)
		json_object_array_add(*list, json_object_new_string(name));
}

/* Of a crypto checkpoint its path is told, and no name in it. */
static void name_path(struct sweep *s, const struct hf_item *it, uint32_t id)
{
	for (unsigned i = 0; i < s->r->ncp; i++) {
		const struct ckpt *c = s->r->cp[i];
		size_t n = it->keylen - TREEDB_PREFIX;
		char *path, *shown;

		if (c->id != id)
			continue;
		path = c->crypto || !n ? strdup(c->path) : hf_strf("%s/%.*s", c->path, (int)n, (const char *)it->key + TREEDB_PREFIX);
		shown = path ? hf_printable(path, strlen(path)) : NULL;
		if (shown)
			name_it(&s->j->paths, shown);
		free(shown);
		free(path);
	}
}

/* Who waits for the job is not to take a long reading for a store that hangs. */
static int pace(void *ctx, struct hf_log *l, size_t bytes)
{
	struct sweep *s = ctx;

	atomic_store(&s->r->busy, hf_now_ms());
	progress_tell(s->r, "pieces read from the store", ++s->read, 0);
	return 0;
}

static int bad_item(void *ctx, const struct hf_item *it)
{
	struct sweep *s = ctx;
	char name[HF_NAME_MAX + 1];
	uint32_t id;

	/* it cannot be made again: what it was of is past */
	if (hf_log_pin_of(it, name)) {
		name_it(&s->j->pins, name);
		return 0;
	}
	s->j->rebuilt.damaged++;
	if (treedb_key_id(it->key, it->keylen, &id))
		name_path(s, it, id);
	return s->j->dry_run ? 0 : hf_log_del(s->r->log, it->key, it->keylen);
}

/* Of the newest state, into a transaction: what is damaged goes, so that the capture puts it anew. */
static int sweep(struct resource *r, struct job *j)
{
	struct sweep s = { r, j, 0 };
	int ret;

	atomic_store(&r->busy, hf_now_ms());
	ret = hf_log_damaged(r->log, pace, bad_item, &s, &j->err);
	for (size_t i = 0; !ret && !j->dry_run && j->pins && i < json_object_array_length(j->pins); i++)
		ret = hf_log_unpin(r->log, json_object_get_string(json_object_array_get_idx(j->pins, i)), &j->err);
	atomic_store(&r->busy, 0);
	if (ret)
		hf_log_abort(r->log);
	return ret;
}

static int count_one(void *ctx, const struct hf_gen_info *g)
{
	struct rebuilt *b = ctx;

	if (!b->generations++)
		b->oldest = g->gen;
	return 0;
}

/* The state that is in the log now, as a base; nothing older is kept beside one that could not be read. */
static int base_anew(struct resource *r, const struct hf_resource *def, struct job *j)
{
	struct hf_policy pol;
	int ret;

	resource_policy(r, &pol);
	hf_log_retain_age(r->log, j->rebuilt.unreadable ? 0 : pol.retain_age_s);
	atomic_store(&r->busy, hf_now_ms());
	ret = hf_seam("rebuild.base");
	if (!ret)
		ret = hf_log_base(r->log, j->rebuilt.unreadable ? 0 : pol.retain_gens, &j->err);
	atomic_store(&r->busy, 0);
	if (ret) {
		r->log_broken |= breaks_log(ret);
		return ret;
	}
	r->base_ms = r->base_retry_ms = 0;
	ret = readable(r, def, &j->err);
	if (!ret)
		return hf_fail(&j->err, HF_DAMAGED, -EBADMSG,
			       "%s: what was written just now cannot be read either: the disk loses or changes it; see `holdfast disk check`",
			       r->name);
	if (ret < 0)
		return ret;
	/* only to tell of it */
	atomic_store(&r->busy, hf_now_ms());
	hf_log_history(hfd.store, &def->id, count_one, &j->rebuilt, NULL);
	atomic_store(&r->busy, 0);
	return 0;
}

/* The log cannot be claimed as it is. If it can after all, another may have had it since, as in reclaim(). */
static int begin_anew(struct resource *r, const struct hf_resource *def, const struct hf_log_stat *st, struct job *j)
{
	uint64_t epoch = r->epoch, tried = r->log_tried_gen;
	int ret;

	memset(&j->err, 0, sizeof(j->err));
	ret = vouched(r, def, st, j);
	if (!ret)
		ret = note_anew(r, j);
	if (ret)
		return ret;
	ret = claim_anew(r, def, j, &j->err);
	if (!ret && !hf_log_anew(r->log)) {
		pthread_mutex_lock(&r->lock);
		r->epoch = epoch;
		pthread_mutex_unlock(&r->lock);
		r->log_tried_gen = tried;
		ret = reclaim(r, &j->err);
	} else if (!ret) {
		j->rebuilt.unreadable = true;
		resource_journal(r, JR_ONLINE, r->epoch, r->confirmed);
	}
	for (unsigned i = 0; !ret && i < r->ncp; i++)
		r->cp[i]->seed = !treedb_seeded(r->log, r->cp[i]->id);
	return ret;
}

/* Online here: the log is this node's, or can be claimed by it. */
static int rebuild_owned(struct resource *r, const struct hf_resource *def, const struct hf_log_stat *st, struct job *j)
{
	struct rep a = { .scan = true, .full = true, .confirm = true, .strict = true, .patience_ms = 2000,
			 .note = "rebuild" };
	bool broken = r->log_broken || !r->log;
	int ret = broken && !j->dry_run ? reclaim(r, &j->err) : 0;

	if (lost(ret)) {
		ret = begin_anew(r, def, st, j);
	} else if (!ret) {
		ret = r->log && !r->log_broken ? hf_log_confirm(r->log, &j->err) : 0;
		if (!ret)
			ret = readable(r, def, &j->err);
		j->rebuilt.unreadable = !ret;
		ret = ret < 0 ? ret : 0;
	}
	if (!ret && r->log && !r->log_broken)
		ret = sweep(r, j);
	if (ret || j->dry_run)
		return ret;
	ret = replicate(r, &a, &j->err);
	/* a file that never holds still is captured when it does; what was damaged of it is gone */
	if (ret == -EAGAIN && j->err.exit == HF_FAILED) {
		snprintf(j->note, sizeof(j->note), "%.250s", j->err.msg);
		memset(&j->err, 0, sizeof(j->err));
		ret = 0;
	}
	return ret ? ret : base_anew(r, def, j);
}

/* Not online here, and not to be brought online, as its log cannot be read. */
static int rebuild_lost(struct resource *r, const struct hf_resource *def, const struct hf_log_stat *st, bool ended,
			struct job *j)
{
	struct job end = { .refs = 1 };
	int ret = readable(r, def, &j->err);

	if (ret == 1)
		return hf_fail(&j->err, HF_REFUSED, -EBUSY,
			       "%s is not online here, and its log can be read: bring it online first; rebuild makes anew what is damaged of its contents then",
			       r->name);
	j->rebuilt.unreadable = true;
	if (!ret)
		ret = vouched(r, def, st, j);
	if (ret || j->dry_run)
		return ret;
	ret = note_anew(r, j);
	if (!ret)
		ret = online_anew(r, j);
	if (!ret) {
		j->rebuilt.unreadable = hf_log_anew(r->log);
		ret = base_anew(r, def, j);
	}
	if (ret || !ended)
		return ret;
	/* as it was: stopped */
	ret = job_offline(r, &end);
	if (ret)
		j->err = end.err;
	if (end.note[0])
		snprintf(j->note, sizeof(j->note), "%s", end.note);
	return ret;
}

int job_rebuild(struct resource *r, struct job *j)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	struct hf_log_stat st = { 0 };
	int ret = def ? owned(r, def, &st, &j->err) :
		  hf_fail(&j->err, HF_NOTFOUND, -ENOENT, "there is no resource %s", r->name);

	if (!ret)
		ret = r->live ? rebuild_owned(r, def, &st, j) :
		      rebuild_lost(r, def, &st, st.released || r->unreleased, j);
	/* no tree was changed by it; if another node had it meanwhile, that says nothing */
	if (ret && ret != -ESTALE && (j->anew || r->j.anew)) {
		if (hfd.store->ops->stat(hfd.store, &def->id, &st, NULL))
			st.epoch = 0;
		rebuild_stands(r, &st);
		journal_write(r->name, &r->j);
	}
	regs_put(pin);
	j->gen = r->confirmed;
	/* no base may tell of a log that began anew before it has everything, nor may what is in it be confirmed */
	if (ret && !j->dry_run && r->live && r->log && hf_log_anew(r->log))
		r->log_broken = true;
	if (ret == -ESTALE && r->live)
		step_down(r, j->err.msg);
	if (ret || j->dry_run)
		return ret;
	notice(N_REBUILT, HF_LOG_WARN, r->name,
	       "%s: AUDIT: rebuilt from this node's trees: generation %llu; %s%llu entries had damaged contents; %llu generations can be read",
	       r->name, (unsigned long long)j->gen,
	       j->rebuilt.unreadable ? "the log could not be read, its history and pins are gone; " : "",
	       (unsigned long long)j->rebuilt.damaged, (unsigned long long)j->rebuilt.generations);
	return 0;
}
