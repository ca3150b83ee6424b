// SPDX-License-Identifier: GPL-2.0-or-later
/* How generations differ from each other and from this node's trees: diff. */
#include "resource.h"
#include "treedb.h"
#include "udiff.h"
#include "verbs.h"
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#define MAX_CHANGES 50000	/* in an answer; it says so when there are more */
#define NAMES_MAX (32u << 20)	/* bytes of names and words in it: the same */
#define TEXT_MAX (256u << 10)	/* of one file */
#define TEXTS_MAX (8u << 20)	/* of all differences in an answer */

struct diff {
	uint64_t conn;
	struct json_object *arr;
	const char *path;
	bool crypto, cut;
	bool file;		/* the checkpoint is one file: its path says it all */
	bool text;
	size_t texts;		/* bytes of it so far, */
	size_t names;		/* and of names and words */
	char prefix[TREEDB_PREFIX + 1];
	struct hf_log *from, *to;	/* @to NULL: @c */
	struct ckpt *c;
	bool backwards;
};

static void word(struct json_object *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void word(struct json_object *list, const char *fmt, ...)
{
	char *s, *p;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	p = s ? hf_printable(s, strlen(s)) : NULL;
	if (p)
		json_object_array_add(list, json_object_new_string(p));
	free(p);
	free(s);
}

static const char *owner(const char *name, uint32_t id, char buf[16])
{
	if (name && *name)
		return name;
	snprintf(buf, 16, "%u", id);
	return buf;
}

static void moment(int64_t s, uint32_t ns, char *buf, size_t size)
{
	time_t t = s;
	struct tm tm;
	size_t n = gmtime_r(&t, &tm) ? strftime(buf, size, "%Y-%m-%dT%H:%M:%S", &tm) : 0;

	snprintf(buf + n, size - n, ".%09uZ", ns);
}

static void xattrs(struct json_object *list, const struct hf_attr *a, const struct hf_attr *b)
{
	uint32_t i = 0, k = 0;

	while (i < a->nxattr || k < b->nxattr) {
		int c = i == a->nxattr ? 1 : k == b->nxattr ? -1 : strcmp(a->xattr[i].name, b->xattr[k].name);

		if (c < 0)
			word(list, "%s removed", a->xattr[i].name);
		else if (c > 0)
			word(list, "%s added", b->xattr[k].name);
		else if (a->xattr[i].len != b->xattr[k].len ||
			 memcmp(a->xattr[i].value, b->xattr[k].value, a->xattr[i].len))
			word(list, "%s changed", a->xattr[i].name);
		i += c <= 0;
		k += c >= 0;
	}
}

/* In words what differs besides contents. */
static struct json_object *meta(const struct hf_attr *a, const struct hf_attr *b)
{
	struct json_object *list = json_object_new_array();
	char x[64], y[64];

	if ((a->mode ^ b->mode) & 07777)
		word(list, "mode %04o -> %04o", a->mode & 07777, b->mode & 07777);
	if (strcmp(owner(a->user, a->uid, x), owner(b->user, b->uid, y)))
		word(list, "owner %s -> %s", owner(a->user, a->uid, x), owner(b->user, b->uid, y));
	if (strcmp(owner(a->group, a->gid, x), owner(b->group, b->gid, y)))
		word(list, "group %s -> %s", owner(a->group, a->gid, x), owner(b->group, b->gid, y));
	if (a->target && b->target && strcmp(a->target, b->target))
		word(list, "target %s -> %s", a->target, b->target);
	if (a->rdev_major != b->rdev_major || a->rdev_minor != b->rdev_minor)
		word(list, "device %u,%u -> %u,%u", a->rdev_major, a->rdev_minor, b->rdev_major, b->rdev_minor);
	xattrs(list, a, b);
	if (a->mtime_s != b->mtime_s || a->mtime_ns != b->mtime_ns) {
		moment(a->mtime_s, a->mtime_ns, x, sizeof(x));
		moment(b->mtime_s, b->mtime_ns, y, sizeof(y));
		word(list, "time %s -> %s", x, y);
	}
	return list;
}

/* @rel as it is on the side of @log, or in the tree when that is NULL; false when it is not there */
static bool attr_on(struct diff *d, struct hf_log *log, const char *rel, struct hf_attr *a)
{
	char *key = hf_strf("%s%s", d->prefix, rel);
	struct hf_item it;
	bool ok = false;

	memset(a, 0, sizeof(*a));
	if (!log)
		ok = d->c && d->c->tree && !hf_tree_look(d->c->tree, rel, a);
	else if (key && hf_log_get(log, key, strlen(key), &it))
		ok = !hf_attr_decode(it.attr, it.attrlen, a);
	free(key);
	return ok;
}

static int gather(void *ctx, const void *p, size_t n)
{
	struct hf_buf *b = ctx;

	if (b->len + n > TEXT_MAX)
		return -EFBIG;
	hf_buf_put(b, p, n);
	return b->bad ? -ENOMEM : 0;
}

static int content_on(struct diff *d, struct hf_log *log, const char *rel, struct hf_buf *out)
{
	struct hf_err e = { 0 };
	char *key;
	int ret;

	if (!log)
		return hf_tree_content(d->c->tree, rel, TEXT_MAX, out);
	key = hf_strf("%s%s", d->prefix, rel);
	ret = key ? hf_log_content(log, key, strlen(key), gather, out, &e) : -ENOMEM;
	free(key);
	return ret;
}

/* The lines that differ, where both sides are text that is not too long; NULL where not. */
static char *unified(struct diff *d, const char *rel, bool was, bool is)
{
	struct hf_buf a = HF_BUF_INIT, b = HF_BUF_INIT, out = HF_BUF_INIT;
	int ret = was ? content_on(d, d->from, rel, &a) : 0;

	if (!ret && is)
		ret = content_on(d, d->to, rel, &b);
	if (!ret && hf_udiff_text(a.p, a.len) && hf_udiff_text(b.p, b.len))
		ret = hf_udiff(a.p, a.len, b.p, b.len, &out);
	hf_buf_u8(&out, 0);
	hf_buf_free(&a);
	hf_buf_free(&b);
	if (!ret && !out.bad && out.len > 1)
		return (char *)out.p;
	hf_buf_free(&out);
	return NULL;
}

static void details(struct diff *d, struct json_object *o, const char *rel, const char *kind)
{
	struct hf_attr a, b;
	struct json_object *list;
	bool was = attr_on(d, d->from, rel, &a), is = attr_on(d, d->to, rel, &b);
	char *text;

	if (was && is && (a.mode & S_IFMT) == (b.mode & S_IFMT)) {
		list = meta(&a, &b);
		/* what no attribute tells: which names are names of one file */
		if (!strcmp(kind, "meta") && !json_object_array_length(list))
			word(list, "hard links");
		for (size_t i = 0; i < json_object_array_length(list); i++)
			d->names += json_object_get_string_len(json_object_array_get_idx(list, i));
		json_object_object_add(o, "meta", list);
	}
	if (d->text && d->texts < TEXTS_MAX && (!was || S_ISREG(a.mode)) && (!is || S_ISREG(b.mode))) {
		text = unified(d, rel, was, is);
		if (text) {
			d->texts += strlen(text);
			jstr(o, "text", text);
		}
		free(text);
	}
	hf_attr_free(&a);
	hf_attr_free(&b);
}

static int change(struct diff *d, const char *rel, size_t len, const char *kind)
{
	struct json_object *o;
	char *s;

	if (json_object_array_length(d->arr) >= MAX_CHANGES || d->names >= NAMES_MAX) {
		d->cut = true;
		return 1;
	}
	o = jobj();
	jbytes(o, "path", d->path);
	s = hf_printable(rel, d->crypto || d->file ? 0 : len);
	jstr(o, "rel", s);
	d->names += strlen(d->path) + (s ? strlen(s) : 0);
	free(s);
	jstr(o, "change", kind);
	/* of what is in a crypto checkpoint nothing is told */
	s = d->crypto ? NULL : strndup(rel, len);
	if (s)
		details(d, o, s, kind);
	free(s);
	json_object_array_add(d->arr, o);
	return 0;
}

static int tree_change(void *ctx, enum hf_change ch, const char *rel)
{
	static const char *const kind[] = {
		[HF_CH_ADDED] = "added", [HF_CH_REMOVED] = "removed", [HF_CH_CONTENT] = "content",
		[HF_CH_META] = "meta", [HF_CH_TYPE] = "type",
	};

	return change(ctx, rel, strlen(rel), kind[ch]);
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
	d->c = c;
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
	d->c = NULL;
	ckpt_free(c);
	return ret == 1 ? 0 : ret;
}

/* How two items of one key differ; NULL: not at all that counts. */
static const char *item_change(const struct hf_item *a, const struct hf_item *b)
{
	struct hf_attr x = { 0 }, y = { 0 };
	const char *kind = NULL;
	struct hf_buf bx = HF_BUF_INIT, by = HF_BUF_INIT;

	if (hf_attr_decode(a->attr, a->attrlen, &x) || hf_attr_decode(b->attr, b->attrlen, &y)) {
		kind = "content";
		goto out;
	}
	if ((x.mode & S_IFMT) != (y.mode & S_IFMT)) {
		kind = "type";
	} else if (x.target && y.target && strcmp(x.target, y.target)) {
		kind = "content";
	} else if (a->size != b->size || memcmp(a->hash, b->hash, sizeof(a->hash))) {
		kind = "content";
	} else {
		x.atime_s = y.atime_s = 0;
		x.atime_ns = y.atime_ns = 0;
		hf_attr_encode(&x, &bx);
		hf_attr_encode(&y, &by);
		if (bx.len != by.len || memcmp(bx.p, by.p, bx.len))
			kind = "meta";
	}
out:
	hf_buf_free(&bx);
	hf_buf_free(&by);
	hf_attr_free(&x);
	hf_attr_free(&y);
	return kind;
}

static int item(void *ctx, const struct hf_item *it)
{
	struct diff *d = ctx;
	const char *rel = (const char *)it->key + TREEDB_PREFIX, *kind;
	struct hf_item o;

	if (!hf_log_get(d->backwards ? d->from : d->to, it->key, it->keylen, &o))
		return change(d, rel, it->keylen - TREEDB_PREFIX, d->backwards ? "added" : "removed");
	if (d->backwards)
		return 0;
	kind = item_change(it, &o);
	return kind ? change(d, rel, it->keylen - TREEDB_PREFIX, kind) : 0;
}

static int diff_logs(struct diff *d)
{
	int ret;

	d->backwards = false;
	ret = hf_log_each(d->from, d->prefix, TREEDB_PREFIX, item, d);
	if (ret)
		return ret == 1 ? 0 : ret;
	d->backwards = true;
	ret = hf_log_each(d->to, d->prefix, TREEDB_PREFIX, item, d);
	return ret == 1 ? 0 : ret;
}

static int diff_verb(struct req *q, struct hf_err *err)
{
	uint64_t g1 = jget_u64(q->args, "from"), g2 = jget_u64(q->args, "to");
	bool two = jhas(q->args, "to");
	struct hf_log *from = NULL, *to = NULL;
	struct diff d = { .conn = q->conn, .arr = json_object_new_array() };
	const struct hf_resource *def;
	struct resource *r;
	struct regs *pin;
	int ret = verb_registered_now(jget_str(q->args, "resource"), &r, &pin, &def, err);

	if (ret)
		goto out;
	d.text = jget_bool(q->args, "text");
	if (d.text && !q->root) {
		ret = hf_fail(err, HF_PERM, -EPERM, "diff: only root may see what is in the files");
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
		treedb_prefix(def->cp[i].id, d.prefix);
		d.from = from;
		d.to = to;
		ret = two ? diff_logs(&d) : diff_tree(def, &def->cp[i], from, &d, err);
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
	if (d.texts >= TEXTS_MAX)
		jstr(q->result, "note", "of some files the text is left out, as there is too much of it");
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
	{ "diff", V_READ, "resource:s! from:u to:u text:b", diff_verb },
	{ NULL, 0, NULL, NULL },
};
