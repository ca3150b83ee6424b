// SPDX-License-Identifier: GPL-2.0-or-later
/* The trees of a resource made equal to a generation, and what that would change. */
#include "resource.h"
#include "treedb.h"
#include <stdlib.h>

#define MAX_CHANGES 20000	/* in an answer */

struct restoring { struct job *j; const struct settled *settled; uint32_t id; };

static int progress(void *ctx, uint64_t done, uint64_t total)
{
	job_progress(((struct restoring *)ctx)->j, "restore", done, total);
	return 0;
}

static bool is_settled(void *ctx, const char *rel, const struct hf_mark *now)
{
	struct restoring *x = ctx;

	return settled_is(x->settled, x->id, rel, now);
}

static int restore_one(struct resource *r, struct ckpt *c, struct hf_log *from, struct job *j,
		       const struct settled *settled, struct hf_err *err)
{
	struct restoring x = { j, settled, c->id };
	struct hf_restore_opts o = { .progress = progress, .settled = is_settled, .ctx = &x };
	struct hf_restore_stat st = { 0 };
	struct hf_displaced *keep = NULL;
	struct hf_err e = { 0 };
	struct treedb db;
	char id[64] = "";
	uint64_t count = 0;
	int ret, r2;

	/* a root that was made a moment ago holds nothing to keep */
	ret = c->made ? 0 : hf_displaced_begin(hfd.displaced_dir, hfd.keys->local, r->name, c->path,
					       "offline-change", &keep, &e);
	if (ret)
		return hf_fail(err, e.exit, ret, "%s: %s: %s", r->name, c->path, e.msg);
	o.keep = keep;
	treedb_init(&db, from, hfd.keys, c->id, &r->busy);
	/* what the restore itself writes is not a change; what others write is */
	ret = hf_watch_exclude_begin(c->watch);
	if (!ret) {
		tracker_calm(1);
		ret = hf_restore(c->tree, &db.db, &o, &st, &e);
		tracker_calm(-1);
		hf_watch_exclude_end(c->watch);
	}
	if (ret)
		hf_fail(err, db.ret ? db.err.exit : e.exit, ret, "%s: restore of %s failed: %s", r->name,
			c->path, e.msg[0] ? e.msg : db.ret ? db.err.msg : strerror(-ret));
	treedb_exit(&db);
	/* also after a failure: what was overwritten until then is kept */
	memset(&e, 0, sizeof(e));
	r2 = keep ? hf_displaced_end(keep, id, &count, &e) : 0;
	if (r2 && !ret)
		ret = hf_fail(err, e.exit, r2, "%s: %s: cannot keep aside what was overwritten: %s", r->name,
			      c->path, e.msg);
	if (id[0]) {
		if (!j->displaced)
			j->displaced = json_object_new_array();
		json_object_array_add(j->displaced, json_object_new_string(id));
		hf_logf(HF_LOG_NOTE, "%s: %llu entries of %s were kept aside as %s", r->name,
			(unsigned long long)count, c->path, id);
	}
	j->restored.looked += st.looked;
	j->restored.written += st.written;
	j->restored.meta += st.meta;
	j->restored.removed += st.removed;
	j->restored.displaced += st.displaced;
	j->restored.bytes += st.bytes;
	return ret;
}

int restore_all(struct resource *r, struct hf_log *from, struct job *j, struct hf_err *err)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	struct settled *settled = def ? settled_load(r->name, def->id.uuid) : NULL;
	int ret = 0;

	regs_put(pin);
	for (unsigned i = 0; i < r->ncp && !ret; i++)
		if (treedb_has_any(from, r->cp[i]->id))
			ret = restore_one(r, r->cp[i], from, j, settled, err);
	settled_free(settled);
	hf_displaced_prune(hfd.displaced_dir, hfd.conf->displaced_bytes, hfd.conf->displaced_keep_s);
	return ret;
}

struct listing {
	struct json_object *arr;
	const struct ckpt *c;
};

static int list_change(void *ctx, enum hf_change ch, const char *rel)
{
	/* what online would do to the tree, so the other way round than the tree's difference */
	static const char *const word[] = {
		[HF_CH_ADDED] = "removed", [HF_CH_REMOVED] = "added", [HF_CH_CONTENT] = "content",
		[HF_CH_META] = "meta", [HF_CH_TYPE] = "type",
	};
	struct listing *l = ctx;
	struct json_object *o;

	if (json_object_array_length(l->arr) >= MAX_CHANGES)
		return 1;
	o = jobj();
	jbytes(o, "path", l->c->path);
	jbytes(o, "rel", l->c->crypto || l->c->file ? "" : rel);
	jstr(o, "change", word[ch]);
	json_object_array_add(l->arr, o);
	return 0;
}

static int list_missing(void *ctx, const char *rel, const struct hf_known *k)
{
	return list_change(ctx, HF_CH_REMOVED, rel);
}

/* Reads only: no claim, no change. */
int online_dry_run(struct resource *r, struct job *j, struct hf_err *err)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	struct hf_log *log = NULL;
	struct ckpt *c = NULL;
	int ret = 0;

	j->changes = json_object_new_array();
	if (!def) {
		ret = hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no resource %s", r->name);
		goto out;
	}
	atomic_store(&r->busy, hf_now_ms());
	ret = hf_log_read(hfd.store, &def->id, 0, &log, err);
	atomic_store(&r->busy, 0);
	if (ret == -ENOENT) {
		ret = 0;	/* no generation: nothing would be overwritten */
		goto out;
	}
	if (ret)
		goto out;
	j->gen = hf_log_gen(log);
	for (unsigned i = 0; i < def->ncp && !ret; i++) {
		struct listing l = { .arr = j->changes };
		struct treedb db;

		if (!treedb_has_any(log, def->cp[i].id))
			continue;
		ret = ckpt_make(def, &def->cp[i], &c, err);
		if (ret)
			break;
		l.c = c;
		c->file = ckpt_is_file(c, def->cp[i].file, log);
		treedb_init(&db, log, hfd.keys, c->id, &r->busy);
		ret = ckpt_open(c, def, false, err);
		if (!ret)
			ret = hf_compare(c->tree, &db.db, list_change, &l, err);
		else if (ret == -ENOENT)
			ret = db.db.each(&db, "", list_missing, &l);
		if (ret == 1)
			ret = 0;
		treedb_exit(&db);
		ckpt_free(c);
		c = NULL;
	}
out:
	hf_log_close(log);
	regs_put(pin);
	return ret;
}
