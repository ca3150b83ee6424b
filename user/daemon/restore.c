// SPDX-License-Identifier: GPL-2.0-or-later
/* The trees of a resource made equal to a generation, and what that would change. */
#include "notice.h"
#include "resource.h"
#include "treedb.h"
#include <stdlib.h>

#define MAX_CHANGES 20000	/* in an answer, and */
#define MAX_NAMES (32u << 20)	/* bytes of names in it; it says so when there are more */
#define MAX_STAYED 1000

struct restoring {
	struct job *j;
	const struct settled *settled;
	uint32_t id;
	struct resource *r;
	const struct ckpt *c;
};

static int progress(void *ctx, uint64_t done, uint64_t total)
{
	struct restoring *x = ctx;

	progress_tell(x->r, "restore", done, total);
	return job_late(x->r, x->j);
}

static bool is_settled(void *ctx, const char *rel, const struct hf_mark *now)
{
	struct restoring *x = ctx;
	struct hf_known k;
	struct treedb db;
	bool same;

	if (!x->j->rollback)
		return settled_is(x->settled, x->id, rel, now);
	/* as it was when the newest generation was captured, which has it */
	treedb_init(&db, x->r->log, hfd.keys, x->id, NULL);
	same = db.db.get(&db, rel, &k) && hf_mark_tells(&k.mark) && !memcmp(&k.mark, now, sizeof(*now));
	treedb_exit(&db);
	return same;
}

/* Those in it stay with it, and are not told one by one; nor is anything inside a crypto checkpoint. */
static void stays(void *ctx, const char *rel)
{
	struct restoring *x = ctx;
	struct json_object *list = x->j->stayed;
	char *path = x->c->crypto ? strdup(x->c->path) : hf_strf("%s/%s", x->c->path, rel), *text;
	size_t n = list ? json_object_array_length(list) : 0, len;
	const char *last;

	text = path ? hf_printable(path, strlen(path)) : NULL;
	free(path);
	if (!text || n >= MAX_STAYED)
		goto out;
	last = n ? json_object_get_string(json_object_array_get_idx(list, n - 1)) : NULL;
	len = last ? strlen(last) : 0;
	if (last && !strncmp(text, last, len) && (!text[len] || text[len] == '/'))
		goto out;
	if (!list)
		list = x->j->stayed = json_object_new_array();
	json_object_array_add(list, json_object_new_string(text));
	hf_logf(HF_LOG_NOTE, "%s is not in the generation, and stays: something in it is excluded, a mount point or a socket",
		text);
out:
	free(text);
}

/* Copies that could not be kept are no reason to refuse a takeover (P7), but are told. */
uint64_t displaced_warn(const char *resource, struct ckpt *c, const struct hf_displaced *keep)
{
	int why;
	uint64_t n = hf_displaced_left_out(keep, &why);
	const char *rel = c->crypto || c->file ? NULL : hf_displaced_left_first(keep);
	char *first = rel && *rel ? hf_printable(rel, strlen(rel)) : NULL;

	if (n || why)
		hf_logf(HF_LOG_WARN, "%s: %llu entries of %s could not be kept aside in %s%s%s: %s; what was there is gone",
			resource, (unsigned long long)n, c->path, hfd.displaced_dir, first ? ", the first is " : "",
			first ? first : "", why ? strerror(-why) : "more than [displaced] size, or than the disk has room for");
	free(first);
	return n;
}

static int restore_one(struct resource *r, struct ckpt *c, struct hf_log *from, struct job *j,
		       const struct settled *settled, struct hf_err *err)
{
	struct restoring x = { j, settled, c->id, r, c };
	struct hf_restore_opts o = { .progress = progress, .settled = is_settled, .stays = stays, .ctx = &x };
	struct hf_restore_stat st = { 0 };
	struct hf_displaced *keep = NULL;
	struct hf_err e = { 0 };
	struct treedb db, undone;
	char id[64] = "";
	uint64_t count = 0;
	int ret, r2;

	/* a root that was made a moment ago holds nothing to keep */
	ret = c->made ? 0 : hf_displaced_begin(hfd.displaced_dir, hfd.keys->local, r->name, c->path,
					       j->rollback ? "rollback" : "offline-change", &keep, &e);
	if (ret)
		return hf_fail(err, e.exit, ret, "%s: %s: %s", r->name, c->path, e.msg);
	if (keep) {
		hf_displaced_limit(keep, hfd.conf->displaced_bytes);
		/* what goes back goes on with what was kept on the way there */
		hf_displaced_generation(keep, hf_log_gen(j->undone ? j->undone : from));
	}
	o.keep = keep;
	treedb_init(&db, from, hfd.keys, c->id, &r->busy);
	if (j->undone) {
		treedb_init(&undone, j->undone, hfd.keys, c->id, &r->busy);
		o.undone = &undone.db;
	}
	progress_scan(r, "compare", &db);
	ret = patterns_heed(c, from);
	/* what the restore itself writes is not a change; what others write is */
	if (!ret)
		ret = hf_watch_exclude_begin(c->watch);
	if (!ret) {
		tracker_calm(1);
		ret = hf_restore(c->tree, &db.db, &o, &st, &e);
		tracker_calm(-1);
		hf_watch_exclude_end(c->watch);
	}
	patterns_heed_no_more(c);
	if (ret)
		hf_fail(err, db.ret ? db.err.exit : e.exit, ret, "%s: restore of %s failed: %s", r->name,
			c->path, e.msg[0] ? e.msg : db.ret ? db.err.msg : strerror(-ret));
	if (j->undone)
		treedb_exit(&undone);
	treedb_exit(&db);
	/* also after a failure: what was overwritten until then is kept */
	memset(&e, 0, sizeof(e));
	if (keep)
		j->restored.not_kept += displaced_warn(r->name, c, keep);
	r2 = keep ? hf_displaced_end(keep, !ret, id, &count, &e) : 0;
	if (r2)
		hf_logf(HF_LOG_WARN, "%s: %s: %s", r->name, c->path, e.msg);
	if (id[0]) {
		if (!j->displaced)
			j->displaced = json_object_new_array();
		json_object_array_add(j->displaced, json_object_new_string(id));
		notice(N_KEPT_ASIDE, HF_LOG_NOTE, r->name, "%s: %llu entries of %s were kept aside as %s", r->name,
		       (unsigned long long)count, c->path, id);
	}
	j->restored.looked += st.looked;
	j->restored.written += st.written;
	j->restored.meta += st.meta;
	j->restored.removed += st.removed;
	j->restored.displaced += st.displaced;
	j->restored.bytes += st.bytes;
	j->restored.ns_compare += st.ns_compare;
	j->restored.ns_keep += st.ns_keep;
	j->restored.ns_write += st.ns_write;
	j->restored.ns_sync += st.ns_sync;
	return ret;
}

int restore_all(struct resource *r, struct hf_log *from, struct job *j, struct hf_err *err)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	struct settled *settled = def ? settled_load(r->name, def->id.uuid) : NULL;
	int ret = 0;

	regs_put(pin);
	settled_marks(settled, from);
	for (unsigned i = 0; i < r->ncp && !ret; i++)
		if (treedb_seeded(from, r->cp[i]->id))
			ret = restore_one(r, r->cp[i], from, j, settled, err);
	settled_free(settled);
	hf_displaced_prune(hfd.displaced_dir, hfd.conf->displaced_bytes, hfd.conf->displaced_keep_s);
	if (!ret)
		hook_run(r, HOOK_RESTORED, hf_log_gen(from), j->rollback ? "rollback" : NULL);
	return ret;
}

struct listing {
	struct job *j;
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

	if (json_object_array_length(l->j->changes) >= MAX_CHANGES || l->j->names >= MAX_NAMES) {
		if (!l->j->note[0])
			snprintf(l->j->note, sizeof(l->j->note), "there are more changes than are listed here");
		return 1;
	}
	l->j->names += strlen(l->c->path) + strlen(rel);
	o = jobj();
	jbytes(o, "path", l->c->path);
	jbytes(o, "rel", l->c->crypto || l->c->file ? "" : rel);
	jstr(o, "change", word[ch]);
	json_object_array_add(l->j->changes, o);
	return 0;
}

static int list_missing(void *ctx, const char *rel, const struct hf_known *k)
{
	return list_change(ctx, HF_CH_REMOVED, rel);
}

/* One checkpoint as online would find it: 0, or what online would refuse. @log: may be NULL. */
static int look_one(struct resource *r, const struct hf_resource *def, struct job *j, struct ckpt *c,
		    const struct hf_checkpoint *cp, struct hf_log *log, struct hf_err *err)
{
	bool seed = !log || !treedb_seeded(log, c->id);
	struct hf_err e = { 0 };
	int ret;

	c->file = ckpt_is_file(c, cp->file, log);
	ret = ckpt_open(c, def, false, &e);
	if (ret && ret != -ENOENT)
		return hf_fail(err, e.exit == HF_USAGE ? HF_REFUSED : e.exit, ret, "%s: %s: %s", r->name, c->path, e.msg);
	ret = ckpt_mount_check(c, r->name, err);
	if (!ret && c->tree && !r->live)
		ret = place_reserve(c, r->name, err);
	if (ret || !seed || j->allow_empty || (c->tree && !ckpt_empty(c)))
		return ret;
	return hf_fail(err, HF_REFUSED, -EBUSY,
		       "%s: %s is %s on this node, and no generation has it; fill it, or use --allow-empty",
		       r->name, c->path, c->tree && !c->file ? "empty" : "not there");
}

static int compare_one(struct resource *r, struct job *j, struct ckpt *c, struct hf_log *from,
		       struct hf_err *err)
{
	const struct hf_restore_opts look = { .only_look = true };
	struct listing l = { .j = j, .c = c };
	struct hf_restore_stat st = { 0 };
	struct treedb db;
	int ret;

	treedb_init(&db, from, hfd.keys, c->id, &r->busy);
	progress_scan(r, "compare", &db);
	ret = patterns_heed(c, from);
	if (!ret && c->tree)
		ret = hf_compare(c->tree, &db.db, list_change, &l, err);
	else if (!ret)
		ret = db.db.each(&db, "", list_missing, &l);
	ret = ret == 1 ? 0 : ret;
	/* what would stop it, a user who is missing here, say, is no difference */
	db.tick = NULL;
	if (!ret && c->tree)
		ret = hf_restore(c->tree, &db.db, &look, &st, err);
	else if (!ret)
		ret = hf_owners_here(c->local, c->flags, &db.db, err);
	treedb_exit(&db);
	return ret;
}

int restore_would(struct resource *r, struct hf_log *from, struct job *j, struct hf_err *err)
{
	int ret = 0;

	j->changes = json_object_new_array();
	for (unsigned i = 0; i < r->ncp && !ret; i++) {
		if (!treedb_seeded(from, r->cp[i]->id))
			continue;
		ret = compare_one(r, j, r->cp[i], from, err);
		patterns_heed_no_more(r->cp[i]);
	}
	return ret;
}

/* Reads only: no claim, no change. What online would refuse is refused. */
int online_dry_run(struct resource *r, struct job *j, struct hf_err *err)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	struct hf_log *log = NULL, *from = NULL;
	struct hf_log_stat st = { 0 };
	struct ckpt **v = NULL;
	unsigned n = 0;
	int ret;

	j->changes = json_object_new_array();
	if (!def) {
		ret = hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no resource %s", r->name);
		goto out;
	}
	v = calloc(def->ncp + 1, sizeof(*v));
	if (!v) {
		ret = hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
		goto out;
	}
	atomic_store(&r->busy, hf_now_ms());
	ret = hfd.store->ops->stat(hfd.store, &def->id, &st, err);
	if (!ret && !j->fenced && st.epoch && !st.released && st.slot != hfd.id.slot && st.owner == HF_NODE_UP)
		/* a standby may look before it is needed */
		snprintf(j->note, sizeof(j->note), "%s is online on %s, which is alive: this is what would be if it were not",
			 r->name, st.node);
	if (!ret)
		ret = hf_log_read(hfd.store, &def->id, 0, &log, err);
	atomic_store(&r->busy, 0);
	if (ret == -ENOENT)
		ret = 0;	/* no generation: nothing would be overwritten */
	if (!ret && log) {
		j->gen = hf_log_gen(log);
		ret = choose_generation(r, def, j, log, &from, err);
	}
	for (unsigned i = 0; i < def->ncp && !ret; i++) {
		ret = ckpt_make(def, &def->cp[i], &v[n], err);
		if (!ret)
			ret = look_one(r, def, j, v[n++], &def->cp[i], log, err);
	}
	for (unsigned i = 0; i < n && !ret; i++)
		if (log && treedb_seeded(log, v[i]->id))
			ret = compare_one(r, j, v[i], from ? from : log, err);
out:
	for (unsigned i = 0; i < n; i++)
		ckpt_free(v[i]);
	free(v);
	hf_log_close(from);
	hf_log_close(log);
	regs_put(pin);
	return ret;
}
