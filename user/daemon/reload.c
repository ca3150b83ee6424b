// SPDX-License-Identifier: GPL-2.0-or-later
/* Checkpoints that come and go while their resource is online here. Runs in the worker. */
#include "replicator.h"
#include "treedb.h"
#include <stdlib.h>

#define RETRY_MIN_MS 5000
#define RETRY_MAX_MS 300000

static bool registered(const struct hf_resource *def, uint32_t id)
{
	for (unsigned i = 0; i < def->ncp; i++)
		if (def->cp[i].id == id)
			return true;
	return false;
}

struct forget {
	struct resource *r;
	const struct hf_resource *def;
	bool all;
};

/* perhaps not registered any more, but captured until the next reload */
static bool captured(const struct resource *r, uint32_t id)
{
	for (unsigned i = 0; i < r->ncp; i++)
		if (r->cp[i]->id == id)
			return true;
	return false;
}

static int forget_item(void *ctx, const struct hf_item *it)
{
	struct forget *f = ctx;
	uint32_t id;

	if (treedb_key_id(it->key, it->keylen, &id) && !registered(f->def, id) && !captured(f->r, id) &&
	    (f->all || ((const char *)it->key)[8] != TREEDB_REFUSED))
		return hf_log_del(f->r->log, it->key, it->keylen);
	return 0;
}

/* A deleted checkpoint's entries leave the log with its owner's next commit. */
void forget_unregistered(struct resource *r, bool all)
{
	struct regs *pin;
	struct forget f = { .r = r, .def = resource_def(r, &pin), .all = all };

	if (f.def)
		hf_log_each(r->log, "", 0, forget_item, &f);
	regs_put(pin);
}

/* Remember that a tree lies on a mount of its own, so that a lost one is noticed. */
void note_mounts(struct resource *r)
{
	for (unsigned i = 0; i < r->ncp; i++) {
		struct ckpt *c = r->cp[i];
		struct hf_err e = { 0 };
		char id[1024];
		int ret;

		if (*c->mount || hf_tree_mounted(c->tree, id, sizeof(id)) <= 0)
			continue;
		ret = hf_reg_checkpoint_mount(hfd.store, r->name, c->id, id, &e);
		if (ret) {
			hf_logf(HF_LOG_WARN, "%s: that %s lies on a mount could not be registered: %s",
				r->name, c->path, e.msg);
			continue;
		}
		free(c->mount);
		c->mount = strdup(id);
		if (!c->mount)
			c->mount = calloc(1, 1);
	}
}

static int add_one(struct resource *r, const struct hf_resource *def, const struct hf_checkpoint *cp,
		   struct hf_err *err)
{
	struct hf_watch *w;
	struct ckpt *c;
	int ret = ckpt_make(def, cp, &c, err);

	if (ret)
		return ret;
	c->file = ckpt_is_file(c, cp->file, r->log);
	ret = hf_seam("reload.add");
	if (!ret)
		ret = ckpt_open(c, def, false, err);
	if (!ret)
		ret = ckpt_mount_check(c, r->name, err);
	if (!ret)
		ret = place_reserve(c, r->name, err);
	c->seed = !ret && r->log && !treedb_seeded(r->log, c->id);
	if (c->seed && c->crypto)
		ret = secret_check(c, err);
	if (!ret) {
		resource_forget_tracked(r);
		ret = ckpt_track(r, c, 0, &w, err);
	}
	if (!ret) {
		c->watch = w;
		ret = ckpts_add(r, c);
	}
	if (ret)
		ckpt_free(c);
	return ret;
}

/*
 * What cannot be captured as it was registered must not stay registered: it would
 * block the next takeover. Why is committed for the node that asked (and kept here for
 * one that asked on this node), then the registration is taken back.
 */
static void take_back(struct resource *r, const struct hf_checkpoint *cp, const struct hf_err *why)
{
	struct rep a = { .confirm = true, .note = "checkpoint refused" };
	struct hf_err e = { 0 };
	int ret = 0;

	pthread_mutex_lock(&r->lock);
	r->refused_id = cp->id;
	snprintf(r->refused_why, sizeof(r->refused_why), "%.250s", why->msg);
	pthread_mutex_unlock(&r->lock);
	if (r->log_broken || !r->log)
		ret = reclaim(r, &e);
	if (!ret)
		ret = treedb_mark(r->log, cp->id, TREEDB_REFUSED, r->refused_why, &e);
	if (!ret)
		ret = replicate(r, &a, &e);
	if (!ret)
		ret = hf_reg_checkpoint_delete(hfd.store, r->name, cp->path, &e);
	if (ret && ret != -ENOENT)
		hf_logf(HF_LOG_WARN, "%s: the registration of %s stays: %s", r->name, cp->path, e.msg);
}

/* Not what may be otherwise in a moment: memory, descriptors, the store. */
static bool lasting(const struct resource *r, const struct hf_checkpoint *cp, const struct hf_err *e)
{
	return !r->without_store && (e->exit == HF_REFUSED || e->exit == HF_USAGE) &&
	       !(r->log && treedb_seeded(r->log, cp->id));
}

static void try_later(struct resource *r)
{
	uint64_t wait = 2 * r->reload_wait_ms;

	wait = !wait ? RETRY_MIN_MS : wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS;
	r->reload_wait_ms = wait;
	r->reload_ms = hf_now_ms() + wait;
}

int checkpoints_reload(struct resource *r, struct hf_err *err)
{
	struct rep a = { .scan = true, .confirm = true, .strict = true, .note = "checkpoints changed" };
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	bool added = false, dropped = false, changed = false;
	int ret = 0, first = 0;
	struct hf_err e = { 0 };

	pthread_mutex_lock(&r->lock);
	r->warn_other[0] = '\0';
	pthread_mutex_unlock(&r->lock);
	if (!def) {
		ret = hf_fail(err, HF_STALE, -ESTALE, "the resource was deleted");
		goto out;
	}
	for (unsigned i = r->ncp; i-- > 0;)
		if (!registered(def, r->cp[i]->id)) {
			hf_logf(HF_LOG_NOTE, "%s: %s is no longer a checkpoint", r->name, r->cp[i]->path);
			ckpts_drop(r, i);
			dropped = true;
		}
	for (unsigned i = 0; i < def->ncp; i++) {
		bool have = false;

		for (unsigned k = 0; k < r->ncp; k++)
			if (r->cp[k]->id == def->cp[i].id) {
				have = true;
				ret = patterns_replace(r, r->cp[k], &def->cp[i]);
				changed |= ret == 1;
			}
		if (ret < 0) {
			hf_fail(err, HF_FAILED, ret, "%s: out of memory", r->name);
			goto out;
		}
		if (have)
			continue;
		memset(&e, 0, sizeof(e));
		ret = add_one(r, def, &def->cp[i], &e);
		if (ret && e.exit == HF_NOTFOUND)
			hf_fail(&e, HF_REFUSED, ret, "%s is not there on %s", def->cp[i].path, hfd.id.name);
		if (ret) {
			hf_logf(HF_LOG_WARN, "%s: %s cannot be captured: %s", r->name, def->cp[i].path, e.msg);
			pthread_mutex_lock(&r->lock);
			snprintf(r->warn_other, sizeof(r->warn_other), "checkpoint: %.200s", e.msg);
			pthread_mutex_unlock(&r->lock);
			if (!first) {
				first = ret;
				hf_fail(err, e.exit, ret, "%s", e.msg);
			}
			if (lasting(r, &def->cp[i], &e))
				take_back(r, &def->cp[i], &e);
			continue;
		}
		added = true;
	}
	ret = 0;
	if ((added || dropped || changed) && !r->without_store) {
		r->forget = true;
		ret = replicate(r, &a, err);
	}
	if (!ret && added)
		note_mounts(r);
out:
	regs_put(pin);
	ret = ret ? ret : first;
	/* nobody else would: it is registered, and what it leads to may not change */
	if (!ret)
		r->reload_wait_ms = r->reload_ms = 0;
	else
		try_later(r);
	return ret;
}

int job_reload(struct resource *r, struct job *j)
{
	int ret;

	if (!r->live)
		return 0;
	pthread_mutex_lock(&r->lock);
	r->reload = false;
	pthread_mutex_unlock(&r->lock);
	ret = checkpoints_reload(r, &j->err);
	j->gen = r->confirmed;
	j->epoch = r->epoch;
	if (ret == -ESTALE)
		step_down(r, j->err.msg);
	return ret;
}
