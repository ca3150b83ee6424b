// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A cut through the trees of a resource while others write to them: note the
 * sequence, capture what is dirty, look at the sequence again, and capture what
 * moved meanwhile, until nothing did.
 *
 * Why that is a cut: each name was captured after its last noted change, and
 * between the last two readings of the sequence nothing changed; so the
 * transaction equals the trees at the moment of the former of the two.
 *
 * In a blind tree (tmpfs) a store to a mapped file moves no number. What is dirty
 * there is read in each round, and has to be the same in two rounds that follow each
 * other: then it was so at the reading of the sequence between them.
 *
 * Runs in the worker, without locks.
 */
#include "group.h"
#include "notice.h"
#include "server.h"
#include "treedb.h"
#include <stdlib.h>

static int noted_cmp(const void *a, const void *b)
{
	const struct noted *x = a, *y = b;

	if (x->cp != y->cp)
		return x->cp < y->cp ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

struct collect { struct cut *c; unsigned cp; };

static void whose(struct noted *e, const struct hf_dirty *d)
{
	e->pid = d->pid;
	e->uid = d->uid;
	e->login = d->login;
	memcpy(e->comm, d->comm, sizeof(e->comm));
}

static int collect(void *ctx, const struct hf_dirty *d)
{
	struct collect *k = ctx;
	struct cut *c = k->c;
	struct noted key = { .cp = k->cp, .id = d->id }, *e;

	c->mapped |= d->flags & HF_DIRTY_MAPPED;
	e = c->sorted ? bsearch(&key, c->v, c->sorted, sizeof(*c->v), noted_cmp) : NULL;
	if (e) {
		if (e->seq != d->seq || e->flags != d->flags) {
			e->seq = d->seq;
			e->flags = d->flags;
			whose(e, d);
			e->todo = true;
		}
		return 0;
	}
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 64;
		struct noted *v = realloc(c->v, cap * sizeof(*v));

		if (!v)
			goto oom;
		c->v = v;
		c->cap = cap;
	}
	e = &c->v[c->n];
	*e = (struct noted){ .cp = k->cp, .id = d->id, .seq = d->seq, .flags = d->flags, .todo = true };
	whose(e, d);
	e->rel = strdup(d->rel);
	if (!e->rel)
		goto oom;
	c->n++;
	return 0;
oom:
	c->oom = true;
	return -ENOMEM;
}

static void tell(struct resource *r, const struct ckpt *cp, const struct noted *e)
{
	struct json_object *o;
	char who[128];

	if (!server_watched())
		return;
	o = jobj();
	jstr(o, "event", "change");
	jstr(o, "resource", r->name);
	jbytes(o, "path", cp->path);
	/* names inside a crypto checkpoint are not told */
	jbytes(o, "rel", cp->crypto || cp->file ? "" : e->rel);
	if (e->comm[0] && e->pid) {
		who_name(e->uid, e->login, e->pid, e->comm, who);
		jstr(o, "who", who);
	}
	server_broadcast(r->name, o);
}

/* A tree whose root is gone is lost, never empty: it is not captured. When its path
 * leads to a directory again, that is taken up instead. */
static bool tree_there(struct resource *r, unsigned i, struct cut *cut, bool *fresh)
{
	struct ckpt *c = r->cp[i];
	struct regs *pin;
	const struct hf_resource *def;
	struct hf_tree *old = c->tree;
	struct hf_watch *w = NULL, *oldw;
	struct hf_err e = { 0 };
	int ret;

	ret = hf_tree_alive(c->tree);
	if (!ret && !hf_watch_lost(c->watch)) {
		c->lost = false;
		return true;
	}
	def = resource_def(r, &pin);
	c->tree = NULL;
	ret = def ? ckpt_open(c, def, false, &e) : -ENOENT;
	if (!ret)
		ret = ckpt_mount_check(c, r->name, &e);
	if (!ret) {
		place_release(c->place);
		c->place = NULL;
		ret = place_reserve(c, r->name, &e);
	}
	if (!ret) {
		resource_forget_tracked(r);
		ret = ckpt_track(r, c, 0, &w, &e);
	}
	regs_put(pin);
	if (ret) {
		if (c->tree)
			hf_tree_close(c->tree);
		c->tree = old;
		if (!c->lost)
			notice(N_LOST, HF_LOG_ERR, r->name, "%s: %s is lost (%s); nothing of it is captured until it is back",
			       r->name, c->path, e.msg[0] ? e.msg : strerror(-ret));
		c->lost = true;
		if (!cut->tree_ret)
			cut->tree_ret = hf_fail(&cut->tree_err, HF_FAILED, -ENXIO,
						"%s: %s is gone or not the tree it was; bring it back, or delete the checkpoint",
						r->name, c->path);
		return false;
	}
	hf_logf(HF_LOG_NOTE, "%s: %s was replaced; tracking the new one", r->name, c->path);
	pthread_mutex_lock(&r->lock);
	oldw = c->watch;
	c->watch = w;
	pthread_mutex_unlock(&r->lock);
	if (oldw)
		hf_track_del(oldw);
	hf_tree_close(old);
	c->lost = c->whole = false;
	*fresh = true;
	return true;
}

/* What is wrong with the tree is told, and spares the rest; what is wrong with the log does not. */
static int tree_failed(struct resource *r, const struct ckpt *c, const struct treedb *db, int ret,
		       const struct hf_err *te, struct cut *cut, struct hf_err *err)
{
	if (ret && db->ret) {
		*err = db->err;
		return db->ret;
	}
	if (ret && !cut->tree_ret) {
		cut->tree_ret = ret;
		hf_fail(&cut->tree_err, te->exit, ret, "%s: %s: %s", r->name, c->path,
			te->msg[0] ? te->msg : strerror(-ret));
	}
	return 0;
}

/* Others wait for it, and somebody looks whether it goes on. */
static void into_tree(struct resource *r, const struct rep *a)
{
	atomic_store(&r->in_tree, a->group ? hf_now_ms() : 0);
}

static void open_db(struct resource *r, const struct ckpt *c, struct treedb *db)
{
	treedb_init(db, r->log, hfd.keys, c->id, &r->busy);
	if (atomic_load(&r->in_tree))
		db->seen = &r->in_tree;
}

/* @s: not needed for a whole tree */
static int capture_one(struct resource *r, struct ckpt *c, struct treedb *db, struct hf_names *s, struct noted *e,
		       struct cut *cut, struct hf_err *err)
{
	struct hf_capture_stat st = { 0 };
	struct hf_err te = { 0 };
	int ret = 0;

	if (e->flags & HF_DIRTY_SUBTREE) {
		progress_scan(r, "capture", db);
		ret = hf_capture_scan(c->tree, &db->db, e->rel, false, &st, &te);
		db->tick = NULL;
	}
	/* the directory that a subtree came to, or went from, has new times, of which the module
	 * makes no entry */
	if (!(e->flags & HF_DIRTY_SUBTREE) || (!ret && *e->rel))
		ret = hf_names_one(s, e->rel, &st, &te);
	e->todo = hf_tree_blind(c->tree);
	if (e->todo)
		cut->moved += !e->twice + st.put + st.deleted;
	e->twice = true;
	e->failed = ret;
	e->stuck = st.unstable || ret;
	cut->unstable += st.unstable;
	return tree_failed(r, c, db, ret, &te, cut, err);
}

/* What is to be done of v[from..to), which are of one tree. *work: how much there was */
static int capture_some(struct resource *r, struct cut *cut, size_t from, size_t to, size_t *work, struct hf_err *err)
{
	struct ckpt *c = r->cp[cut->v[from].cp];
	const char **rel = calloc(to - from, sizeof(*rel));
	struct hf_capture_stat st = { 0 };
	struct hf_ahead *ahead = NULL;
	struct hf_names *s = NULL;
	struct hf_err te = { 0 };
	struct treedb db;
	size_t n = 0, k = 0;
	int ret = 0, end;

	for (size_t i = from; rel && i < to; i++)
		if (cut->v[i].todo)
			rel[n++] = cut->v[i].rel;
	if (!rel || !n) {
		free(rel);
		return rel ? 0 : hf_fail(err, HF_FAILED, -ENOMEM, "%s: out of memory", r->name);
	}
	*work += n;
	open_db(r, c, &db);
	end = hf_names_begin(c->tree, &db.db, &s, &te);
	if (s) {
		hf_seam("capture.names");
		ahead = hf_ahead_start(c->tree, rel, n);
	}
	/* nobody goes ahead of so few: each waits for the disk */
	if (!ahead)
		treedb_few(&db);
	for (size_t i = from; s && i < to && !ret; i++) {
		struct noted *e = &cut->v[i];

		if (!e->todo)
			continue;
		hf_ahead_at(ahead, k++);
		ret = capture_one(r, c, &db, s, e, cut, err);
	}
	hf_ahead_stop(ahead);
	if (s)
		end = hf_names_end(s, &st, &te);
	/* not while it is captured: who is told wants a processor too, and while the commit is written
	 * there is one */
	for (size_t i = from > cut->sorted ? from : cut->sorted; i < to; i++)
		if (!(cut->v[i].flags & HF_DIRTY_MAPPED))	/* what is only mapped need not have changed */
			tell(r, c, &cut->v[i]);
	if (hf_tree_blind(c->tree))
		cut->moved += st.put + st.deleted;
	cut->unstable += st.unstable;
	for (size_t i = from; (end || st.unstable) && i < to; i++)
		cut->v[i].stuck = true;
	if (!ret)
		ret = tree_failed(r, c, &db, end, &te, cut, err);
	treedb_exit(&db);
	free(rel);
	return ret;
}

struct outside { struct resource *r; struct ckpt *c; uint64_t files; };

static void count_outside(void *ctx, const char *rel, uint64_t inside, uint64_t all)
{
	((struct outside *)ctx)->files++;
}

static void name_outside(void *ctx, const char *rel, uint64_t inside, uint64_t all)
{
	struct outside *o = ctx;
	char *text = hf_printable(rel, strlen(rel));

	if (o->files++ < 20)
		hf_logf(HF_LOG_NOTE, "%s: %s/%s has %llu names, %llu of them outside of the tree: what is written "
			"through those is found by sync only, and a restore makes it a file of its own", o->r->name,
			o->c->path, text ? text : "?", (unsigned long long)all, (unsigned long long)(all - inside));
	free(text);
}

/* Hard links that lead out of the tree are named once, and again when there are others. */
static void tell_outside(struct resource *r, struct ckpt *c)
{
	struct outside o = { r, c, 0 };

	hf_tree_outside(c->tree, count_outside, &o);
	if (o.files == c->outside)
		return;
	c->outside = o.files;
	o.files = 0;
	if (c->crypto && c->outside)
		hf_logf(HF_LOG_NOTE, "%s: %llu files of %s have names outside of the tree", r->name,
			(unsigned long long)c->outside, c->path);
	else
		hf_tree_outside(c->tree, name_outside, &o);
	if (o.files > 20)
		hf_logf(HF_LOG_NOTE, "%s: %s: and %llu more", r->name, c->path, (unsigned long long)o.files - 20);
}

static int scan_one(struct resource *r, struct ckpt *c, bool full, struct cut *cut,
		    struct hf_err *err)
{
	struct noted root = { .rel = (char *)"", .flags = HF_DIRTY_SUBTREE };
	struct hf_capture_stat st = { 0 };
	struct hf_err te = { 0 };
	struct treedb db;
	int ret;

	open_db(r, c, &db);
	if (!full) {
		ret = capture_one(r, c, &db, NULL, &root, cut, err);
		c->scanned &= !root.failed;
		treedb_exit(&db);
		tell_outside(r, c);
		return ret;
	}
	progress_scan(r, "compare", &db);
	ret = hf_capture_scan(c->tree, &db.db, "", true, &st, &te);
	cut->unstable += st.unstable;
	if (ret)
		*err = db.ret ? db.err : te;
	ret = db.ret ? db.ret : ret;
	treedb_exit(&db);
	tell_outside(r, c);
	return ret;
}

static void read_seq(struct resource *r, uint64_t *seq)
{
	for (unsigned i = 0; i < r->ncp; i++)
		seq[i] = r->cp[i]->watch ? hf_watch_seq(r->cp[i]->watch) : 0;
}

/* Names that were not there do not mean that they were removed, if the tree itself is not there (any more). */
static int roots_there(struct resource *r, const bool *there, struct hf_err *err)
{
	for (unsigned i = 0; i < r->ncp; i++)
		if (there[i] && hf_tree_alive(r->cp[i]->tree))
			return hf_fail(err, HF_REFUSED, -ENXIO, "%s: %s went away while it was captured", r->name,
				       r->cp[i]->path);
	return 0;
}

/* What did not hold still or failed is tried again: the next round may be luckier. */
static void retry_stuck(struct cut *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->v[i].stuck)
			c->v[i].todo = true;
}

/* Drain, and read the numbers, which nobody of a group does before all have captured what they wanted to. */
static int look(struct resource *r, struct rep *a, struct cut *c, struct rounds *t, const uint64_t *s0, uint64_t *s1,
		size_t work, enum verdict *v, struct hf_err *err)
{
	int ret = a->group ? group_meet(a->group, err) : 0;
	unsigned pause_ms;
	bool still;

	if (ret)
		return ret;
	hf_track_drain(hfd.track);
	read_seq(r, s1);
	still = !memcmp(s0, s1, r->ncp * sizeof(*s0)) && !c->unstable && !c->moved;
	if (a->group) {
		ret = group_agree(a->group, still, work, v, &pause_ms, err);
		if (ret)
			return ret;
	} else {
		*v = rounds_look(t, still);
		pause_ms = t->pause_ms;
	}
	if (*v == ROUND_AGAIN && pause_ms)
		hf_sleep_ms(pause_ms);
	return 0;
}

int capture_cut(struct resource *r, struct rep *a, struct cut *c, struct hf_err *err)
{
	uint64_t *s0, *s1;
	struct rounds t;
	enum verdict v;
	bool *there, *scan;	/* scan: still to be compared as a whole */
	size_t work = 0;
	int ret = 0;

	memset(c, 0, sizeof(*c));
	rounds_begin(&t, a->patience_ms);
	s0 = calloc(2 * r->ncp + 1, sizeof(*s0));
	s1 = s0 ? s0 + r->ncp : NULL;
	there = calloc(2 * r->ncp + 1, sizeof(*there));
	scan = there ? there + r->ncp : NULL;
	if (!s0 || !there) {
		ret = hf_fail(err, HF_FAILED, -ENOMEM, "%s: out of memory", r->name);
		goto out;
	}
	pthread_mutex_lock(&r->lock);
	a->urgent |= r->urgent;
	r->soiled = r->urgent = false;
	pthread_mutex_unlock(&r->lock);
	for (unsigned i = 0; i < r->ncp; i++) {
		into_tree(r, a);
		scan[i] = a->scan || r->need_scan;
		there[i] = tree_there(r, i, c, &scan[i]);
		r->cp[i]->scanned = there[i] && scan[i];
	}
	for (unsigned round = 0;; round++) {
		atomic_store(&r->in_tree, 0);
		ret = look(r, a, c, &t, s0, s1, work, &v, err);
		if (ret)
			goto out;
		into_tree(r, a);
		c->settled = v == ROUND_SETTLED;
		if (v != ROUND_AGAIN)
			break;
		work = 0;
		memcpy(s0, s1, r->ncp * sizeof(*s0));
		retry_stuck(c);
		c->unstable = c->moved = 0;
		for (unsigned i = 0; i < r->ncp && !c->oom; i++) {
			struct collect k = { .c = c, .cp = i };

			if (!there[i] || !r->cp[i]->watch)
				continue;
			ret = hf_watch_dirty(r->cp[i]->watch, collect, &k);
			if (ret && !c->oom && !c->tree_ret)
				/* what is dirty is not known: nothing here may pass for captured */
				c->tree_ret = hf_fail(&c->tree_err, HF_FAILED, ret,
						      "%s: what has changed in %s cannot be read: %s",
						      r->name, r->cp[i]->path, strerror(-ret));
			ret = 0;
		}
		if (c->oom) {
			ret = hf_fail(err, HF_FAILED, -ENOMEM, "%s: out of memory", r->name);
			goto out;
		}
		for (size_t from = 0, to; from < c->n && !ret; from = to) {
			for (to = from + 1; to < c->n && c->v[to].cp == c->v[from].cp; to++)
				;
			ret = capture_some(r, c, from, to, &work, err);
		}
		for (unsigned i = 0; i < r->ncp && !ret; i++) {
			uint64_t before = c->unstable;

			if (!there[i] || !scan[i])
				continue;
			work++;
			ret = scan_one(r, r->cp[i], a->full, c, err);
			scan[i] = c->unstable > before;
		}
		if (ret)
			goto out;
		if (c->n)
			qsort(c->v, c->n, sizeof(*c->v), noted_cmp);
		c->sorted = c->n;
		/* it will be no cut any more, and there are others who wait */
		if (a->group && c->tree_ret)
			break;
		rounds_worked(&t, work);
		/* clean, and nobody asked for more: the reading above is the cut */
		if (!round && !work && !a->group) {
			c->settled = true;
			break;
		}
	}
	if (hf_log_pending(r->log)) {
		ret = roots_there(r, there, err);
		c->gone = ret;
	}
out:
	atomic_store(&r->in_tree, 0);
	hf_log_ready(r->log, NULL, 0);
	free(there);
	free(s0);
	return ret;
}

void cut_ack(struct resource *r, struct cut *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct noted *e = &c->v[i];

		if (!e->stuck && e->cp < r->ncp && r->cp[e->cp]->watch)
			hf_watch_ack(r->cp[e->cp]->watch, e->id, e->seq);
	}
	for (unsigned i = 0; i < r->ncp; i++)
		if (r->cp[i]->watch)
			hf_watch_ack_flush(r->cp[i]->watch);
}

void cut_free(struct cut *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->v[i].rel);
	free(c->v);
	memset(c, 0, sizeof(*c));
}
