// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fenced out: a newer epoch exists. Nothing is answered, acknowledged or
 * committed any more; what is here and not in the last generation of the own
 * term that the new owner stands on is kept aside and reported.
 */
#include "account.h"
#include "notice.h"
#include "replicator.h"
#include "treedb.h"
#include <stdlib.h>

#define EXAMINE_MIN_MS 2000
#define EXAMINE_MAX_MS 300000

void step_down(struct resource *r, const char *why)
{
	uint64_t dirty = 0, epoch, gen;

	pthread_mutex_lock(&r->lock);
	r->live = false;
	r->stale = true;
	r->degraded = r->unreleased = r->without_store = false;
	for (unsigned i = 0; i < r->ncp; i++)
		if (r->cp[i]->watch)
			dirty += hf_watch_count(r->cp[i]->watch);
	epoch = r->epoch;
	gen = r->confirmed;
	pthread_mutex_unlock(&r->lock);
	notice(N_STALE, HF_LOG_ERR, r->name, "%s: stale: %s; %llu changes were not captured yet", r->name, why,
	       (unsigned long long)dirty);
	hf_log_close(r->log);
	r->log = NULL;
	for (unsigned i = 0; i < r->ncp; i++) {
		struct ckpt *c = r->cp[i];
		struct hf_watch *w;

		pthread_mutex_lock(&r->lock);
		w = c->watch;
		c->watch = NULL;
		pthread_mutex_unlock(&r->lock);
		if (w)
			hf_track_del(w);
		place_release(c->place);
		c->place = NULL;
	}
	resource_journal(r, JR_STALE, epoch, gen);
	replicator_reset(r);
	resource_refresh(r);
	resource_event(r, EV_FENCED, why);
	hook_run(r, HOOK_STALE, gen, why);
	pthread_mutex_lock(&r->lock);
	r->examine = true;
	r->examine_ms = hf_now_ms();
	pthread_mutex_unlock(&r->lock);
	r->examine_wait_ms = 0;
}

struct ours {
	uint64_t epoch;
	uint64_t own, upto;	/* newest of this node's term; newest not after it */
};

static int find_ours(void *ctx, const struct hf_gen_info *g)
{
	struct ours *o = ctx;

	if (g->kind != HF_REC_DELTA && g->kind != HF_REC_BASE)
		return 0;
	if (g->epoch > o->epoch)
		return 0;
	if (g->epoch == o->epoch && g->slot == hfd.id.slot && g->gen > o->own)
		o->own = g->gen;
	if (g->gen > o->upto)
		o->upto = g->gen;
	return 0;
}

struct holding {
	struct resource *r;
	struct ckpt *c;
	struct hf_displaced *keep;
	uint64_t count;
	struct hf_err *err;
};
#define NAMED 20	/* of each checkpoint; who wants all looks into the set */

static void name_it(struct holding *h, enum hf_change ch, const char *rel)
{
	static const char *const names[] = {
		[HF_CH_ADDED] = "added", [HF_CH_REMOVED] = "removed", [HF_CH_CONTENT] = "contents of",
		[HF_CH_META] = "attributes of", [HF_CH_TYPE] = "another type of",
	};
	char *text = hf_printable(rel, strlen(rel));

	/* of a crypto checkpoint not even the names (P11) */
	if (h->count <= NAMED && !h->c->crypto && text)
		hf_logf(HF_LOG_WARN, "%s: never confirmed: %s %s%s%s", h->r->name, names[ch], h->c->path,
			*text ? "/" : "", text);
	else if (h->count == NAMED + 1 && !h->c->crypto)
		hf_logf(HF_LOG_WARN, "%s: never confirmed: and more of %s", h->r->name, h->c->path);
	free(text);
}

static int hold(void *ctx, enum hf_change ch, const char *rel)
{
	struct holding *h = ctx;

	h->count++;
	name_it(h, ch, rel);
	/* deleted here and not confirmed: counted, there is nothing to keep */
	return ch == HF_CH_REMOVED ? 0 : hf_displaced_add(h->keep, h->c->tree, rel, h->err);
}

static int examine_one(struct resource *r, struct ckpt *c, struct hf_log *log, uint64_t *count,
		       char ids[UNC_IDS], struct hf_err *err)
{
	struct holding h = { .r = r, .c = c, .err = err };
	struct treedb db;
	uint64_t kept;
	char this_id[64] = "";
	int ret, r2;

	ret = hf_displaced_begin(hfd.displaced_dir, hfd.keys->local, r->name, c->path, "unconfirmed",
				 &h.keep, err);
	if (ret)
		return ret;
	hf_displaced_limit(h.keep, hfd.conf->displaced_bytes);
	treedb_init(&db, log, hfd.keys, c->id, &r->busy);
	progress_scan(r, "compare", &db);
	ret = patterns_heed(c, log);
	if (!ret)
		ret = hf_compare(c->tree, &db.db, hold, &h, err);
	patterns_heed_no_more(c);
	treedb_exit(&db);
	displaced_warn(r->name, c, h.keep);
	r2 = hf_displaced_end(h.keep, !ret, this_id, &kept, ret ? NULL : err);
	*count += h.count;
	if (this_id[0])
		snprintf(ids + strlen(ids), UNC_IDS - strlen(ids), "%s%s", *ids ? " " : "", this_id);
	return ret ? ret : r2;
}

static int examine(struct resource *r, const struct hf_resource *def, uint64_t *gen, uint64_t *count,
		   char ids[UNC_IDS], struct hf_err *err)
{
	struct ours o = { .epoch = r->j.epoch };
	struct hf_log *log = NULL;
	int ret = hf_seam("stale.examine");

	if (ret)
		return hf_fail(err, HF_FAILED, ret, "injected failure before the comparison");
	atomic_store(&r->busy, hf_now_ms());
	ret = hf_log_history(hfd.store, &def->id, find_ours, &o, err);
	*gen = o.own ? o.own : o.upto;
	/* trimmed already: the newest state is what is left to compare with */
	if (!ret && *gen)
		ret = hf_log_read(hfd.store, &def->id, *gen, &log, err);
	if (ret == -ENOENT || (!ret && !log))
		ret = hf_log_read(hfd.store, &def->id, 0, &log, err);
	atomic_store(&r->busy, 0);
	if (ret)
		return ret;
	if (!*gen)
		*gen = hf_log_gen(log);
	for (unsigned i = 0; i < def->ncp && !ret; i++) {
		struct ckpt *c = NULL, *own = NULL;
		struct hf_err e = { 0 };

		for (unsigned k = 0; k < r->ncp; k++)
			if (r->cp[k]->id == def->cp[i].id && r->cp[k]->tree)
				c = r->cp[k];
		if (!c) {
			if (ckpt_make(def, &def->cp[i], &own, &e)) {
				hf_logf(HF_LOG_WARN, "%s: %s cannot be compared: %s", r->name, def->cp[i].path, e.msg);
				continue;
			}
			own->file = ckpt_is_file(own, def->cp[i].file, log);
			c = own;
			/* a filesystem that is not mounted has lost nothing */
			if (ckpt_open(own, def, false, &e) || ckpt_mount_check(own, r->name, &e)) {
				hf_logf(HF_LOG_WARN, "%s: %s cannot be compared: %s", r->name, own->path, e.msg);
				ckpt_free(own);
				continue;
			}
		}
		ret = examine_one(r, c, log, count, ids, err);
		ckpt_free(own);
	}
	if (!ret)
		settled_save(r->name, def->id.uuid, log);
	hf_log_close(log);
	return ret;
}

/* Nobody else will say what was lost, so there is no end to it; but the trees can be unmounted again. */
static void compare_later(struct resource *r, const struct hf_err *e)
{
	uint64_t wait = r->examine_wait_ms ? 2 * r->examine_wait_ms : EXAMINE_MIN_MS;

	if (!r->examine_wait_ms)
		hf_logf(HF_LOG_WARN, "%s: what was held here cannot be compared yet: %s", r->name, e->msg);
	if (wait > EXAMINE_MAX_MS) {
		wait = EXAMINE_MAX_MS;
		if (r->examine_wait_ms != wait)
			hf_logf(HF_LOG_WARN, "%s: what was held here can still not be compared, and that is tried every five minutes: %s",
				r->name, e->msg);
		ckpts_drop_all(r);
	}
	pthread_mutex_lock(&r->lock);
	r->examine_wait_ms = wait;
	r->examine_ms = hf_now_ms() + (hf_seam("stale.wait") ? 10 : wait);
	pthread_mutex_unlock(&r->lock);
}

void stale_examine(struct resource *r)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	uint64_t gen = 0, count = 0;
	struct hf_err e = { 0 };
	char ids[UNC_IDS] = "";
	int ret = def ? examine(r, def, &gen, &count, ids, &e) : -ENOENT;

	regs_put(pin);
	if (ret && def) {
		compare_later(r, &e);
		return;
	}
	pthread_mutex_lock(&r->lock);
	r->examine = false;
	if (!ret) {
		r->j.has_unconfirmed = true;
		r->j.unc_generation = gen;
		r->j.unc_count = count;
		snprintf(r->j.unc_displaced, sizeof(r->j.unc_displaced), "%s", ids);
	}
	pthread_mutex_unlock(&r->lock);
	ckpts_drop_all(r);
	resource_journal(r, JR_NONE, 0, 0);
	if (!ret)
		record_unconfirmed(r->name, gen, count);
	if (!ret)
		notice(N_UNCONFIRMED, count ? HF_LOG_WARN : HF_LOG_NOTE, r->name,
		       "%s: compared with generation %llu, %llu entries of this node were never confirmed%s%s",
		       r->name, (unsigned long long)gen, (unsigned long long)count,
		       ids[0] ? "; they are kept aside as " : "", ids);
	hf_displaced_prune(hfd.displaced_dir, hfd.conf->displaced_bytes, hfd.conf->displaced_keep_s);
}
