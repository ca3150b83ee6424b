// SPDX-License-Identifier: GPL-2.0-or-later
/* How generations differ from each other and from this node's trees: diff. */
#include "resource.h"
#include "treedb.h"
#include "verbs.h"
#include <stdlib.h>

#define MAX_CHANGES 50000	/* in an answer; it says so when there are more */

struct diff {
	uint64_t conn;
	struct json_object *arr;
	const char *path;
	bool crypto, cut;
	bool file;		/* the checkpoint is one file: its path says it all */
	struct hf_log *other;
	bool backwards;
};

static int change(struct diff *d, const char *rel, size_t len, const char *word)
{
	struct json_object *o;
	char *s;

	if (json_object_array_length(d->arr) >= MAX_CHANGES) {
		d->cut = true;
		return 1;
	}
	o = jobj();
	jbytes(o, "path", d->path);
	if (d->crypto || d->file)
		len = 0;
	s = hf_printable(rel, len);
	jstr(o, "rel", s);
	free(s);
	jstr(o, "change", word);
	json_object_array_add(d->arr, o);
	return 0;
}

static int tree_change(void *ctx, enum hf_change ch, const char *rel)
{
	static const char *const word[] = {
		[HF_CH_ADDED] = "added", [HF_CH_REMOVED] = "removed", [HF_CH_CONTENT] = "content",
		[HF_CH_META] = "meta", [HF_CH_TYPE] = "type",
	};

	return change(ctx, rel, strlen(rel), word[ch]);
}

static int tree_missing(void *ctx, const char *rel, const struct hf_known *k)
{
	return change(ctx, rel, strlen(rel), "removed");
}

/* This thread's own: no worker is asked. */
struct ticking { uint64_t conn; const char *resource; uint64_t done, total, told_ms; };

static void tick(void *arg)
{
	struct ticking *t = arg;
	uint64_t now = hf_now_ms();
	struct json_object *o;

	t->done++;
	if (now - t->told_ms < 100)
		return;
	t->told_ms = now;
	o = jobj();
	jstr(o, "event", "progress");
	jstr(o, "resource", t->resource);
	jstr(o, "what", "compare");
	ju64(o, "done", t->done);
	ju64(o, "total", t->total);
	server_event(t->conn, o);
}

static int diff_tree(const struct hf_resource *def, const struct hf_checkpoint *cp, struct hf_log *from,
		     struct diff *d, struct hf_err *err)
{
	struct ticking t = { .conn = d->conn, .resource = def->name };
	uint64_t puts, dels;
	struct treedb db;
	struct ckpt *c;
	int ret = ckpt_make(def, cp, &c, err);

	if (ret)
		return ret;
	d->file = c->file = ckpt_is_file(c, cp->file, from);
	treedb_init(&db, from, hfd.keys, c->id, NULL);
	hf_log_pending_stat(from, db.prefix, TREEDB_PREFIX, &puts, &dels, &t.total);
	db.tick = tick;
	db.tick_arg = &t;
	ret = ckpt_open(c, def, false, err);
	if (!ret)
		ret = patterns_heed(c, from);
	if (!ret)
		ret = hf_compare(c->tree, &db.db, tree_change, d, err);
	else if (ret == -ENOENT)
		ret = db.db.each(&db, "", tree_missing, d);
	treedb_exit(&db);
	ckpt_free(c);
	return ret == 1 ? 0 : ret;
}

/* How two items of one key differ; NULL: not at all that counts. */
static const char *item_change(const struct hf_item *a, const struct hf_item *b)
{
	struct hf_attr x = { 0 }, y = { 0 };
	const char *word = NULL;
	struct hf_buf bx = HF_BUF_INIT, by = HF_BUF_INIT;

	if (hf_attr_decode(a->attr, a->attrlen, &x) || hf_attr_decode(b->attr, b->attrlen, &y)) {
		word = "content";
		goto out;
	}
	if ((x.mode & S_IFMT) != (y.mode & S_IFMT)) {
		word = "type";
	} else if (a->size != b->size || memcmp(a->hash, b->hash, sizeof(a->hash))) {
		word = "content";
	} else {
		x.atime_s = y.atime_s = 0;
		x.atime_ns = y.atime_ns = 0;
		hf_attr_encode(&x, &bx);
		hf_attr_encode(&y, &by);
		if (bx.len != by.len || memcmp(bx.p, by.p, bx.len))
			word = "meta";
	}
out:
	hf_buf_free(&bx);
	hf_buf_free(&by);
	hf_attr_free(&x);
	hf_attr_free(&y);
	return word;
}

static int item(void *ctx, const struct hf_item *it)
{
	struct diff *d = ctx;
	const char *rel = (const char *)it->key + TREEDB_PREFIX, *word;
	struct hf_item o;

	if (!hf_log_get(d->other, it->key, it->keylen, &o))
		return change(d, rel, it->keylen - TREEDB_PREFIX, d->backwards ? "added" : "removed");
	if (d->backwards)
		return 0;
	word = item_change(it, &o);
	return word ? change(d, rel, it->keylen - TREEDB_PREFIX, word) : 0;
}

static int diff_logs(const struct hf_checkpoint *cp, struct hf_log *from, struct hf_log *to, struct diff *d)
{
	char prefix[TREEDB_PREFIX + 1];
	int ret;

	treedb_prefix(cp->id, prefix);
	d->other = to;
	d->backwards = false;
	ret = hf_log_each(from, prefix, TREEDB_PREFIX, item, d);
	if (ret)
		return ret == 1 ? 0 : ret;
	d->other = from;
	d->backwards = true;
	ret = hf_log_each(to, prefix, TREEDB_PREFIX, item, d);
	return ret == 1 ? 0 : ret;
}

static int diff_verb(struct req *q, struct hf_err *err)
{
	uint64_t g1 = jget_u64(q->args, "from"), g2 = jget_u64(q->args, "to");
	bool two = jhas(q->args, "to");
	struct hf_log *from = NULL, *to = NULL;
	struct diff d = { .conn = q->conn, .arr = json_object_new_array() };
	struct regs *pin = NULL;
	const struct hf_resource *def;
	struct resource *r;
	int ret = verb_resource_now(jget_str(q->args, "resource"), &r, err);

	if (ret)
		goto out;
	def = resource_def(r, &pin);
	if (!def) {
		ret = hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no resource %s", r->name);
		goto out;
	}
	if ((jhas(q->args, "from") && !g1) || (two && !g2)) {
		ret = hf_fail(err, HF_USAGE, -EINVAL, "generations begin at 1; see `holdfast history %s`", r->name);
		goto out;
	}
	ret = hf_log_read(hfd.store, &def->id, g1, &from, err);
	if (!ret && two)
		ret = hf_log_read(hfd.store, &def->id, g2, &to, err);
	if (ret == -ENOENT)
		hf_fail(err, HF_NOTFOUND, ret, "%s has no generation %s; `holdfast history %s` lists those that can be read",
			r->name, g1 || g2 ? "of that number" : "yet", r->name);
	for (unsigned i = 0; i < def->ncp && !ret; i++) {
		d.path = def->cp[i].path;
		d.crypto = def->cp[i].crypto;
		d.file = def->cp[i].file;
		ret = two ? diff_logs(&def->cp[i], from, to, &d) : diff_tree(def, &def->cp[i], from, &d, err);
	}
	if (ret)
		goto out;
	q->result = jobj();
	ju64(q->result, "from", hf_log_gen(from));
	if (two)
		ju64(q->result, "to", hf_log_gen(to));
	else
		json_object_object_add(q->result, "to", NULL);
	json_object_object_add(q->result, "changes", json_object_get(d.arr));
	if (d.cut)
		jstr(q->result, "note", "there are more changes than are listed here");
out:
	hf_log_close(to);
	hf_log_close(from);
	json_object_put(d.arr);
	regs_put(pin);
	resource_put(r);
	return ret;
}

const struct verb verbs_diff[] = {
	{ "diff", V_READ, "resource:s! from:u to:u", diff_verb },
	{ NULL, 0, NULL, NULL },
};
