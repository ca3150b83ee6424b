// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Making a tree equal to a generation.
 *
 * First everything is compared and what is to be done is noted; then what will
 * be overwritten is kept aside, durably; only then is anything changed:
 * directories and files from the top, removals from the bottom, what was a
 * directory and becomes something else, the attributes of directories from the
 * bottom. A failure before the first change leaves the tree as it was.
 */
#include "restore_int.h"
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

static struct item *add(struct list *l, const char *rel, enum op op, const struct statx *stx)
{
	struct item *it;

	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;

		it = realloc(l->e, cap * sizeof(*it));
		if (!it)
			return NULL;
		l->e = it;
		l->cap = cap;
	}
	it = &l->e[l->n];
	memset(it, 0, sizeof(*it));
	it->rel = strdup(rel);
	if (!it->rel)
		return NULL;
	it->op = op;
	if (stx)
		hf_look(&it->seen, stx);
	l->n++;
	return it;
}

static void list_free(struct list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->e[i].rel);
		free(l->e[i].to);
	}
	free(l->e);
}

int hf_rst_step(struct restore *r)
{
	if (!r->o || !r->o->progress || r->steps++ % 64)
		return 0;
	if (r->o->progress(r->o->ctx, r->steps - 1, r->items.n))
		return hf_fail(r->err, HF_OK, -ECANCELED, "%s: the restore was stopped", r->t->path);
	return 0;
}

/* the plan */

static int in_the_way(struct restore *r, const char *rel, const char *why)
{
	char *text = hf_tree_text(r->t, rel);

	hf_fail(r->err, HF_REFUSED, -EBUSY, "%.700s is to become something else than it is, but %s; move that away",
		text ? text : "?", why);
	free(text);
	return -EBUSY;
}

/* patterns may leave alone what is here, and not what the generation has under that name */
static int plan_hidden(struct restore *r, const char *rel)
{
	unsigned out = hf_tree_out(r->t, rel);
	const char *name;
	struct statx stx;
	int dirfd = out ? hf_dircur_parent(&r->cur, rel, &name) : -ENOENT;

	if (dirfd < 0 || hf_tree_statx(dirfd, name, &stx) ||
	    !(out & (S_ISDIR(stx.stx_mode) ? HF_OUT_DIR : HF_OUT_FILE)))
		return 0;
	return in_the_way(r, rel, "is excluded");
}

/* a directory as a restore makes it, which was interrupted then */
static bool made(const struct statx *stx)
{
	return (stx->stx_mode & 06777) == 0700 && stx->stx_uid == geteuid();
}

/* whether what is there came from the generation whose restore is undone, which has it still */
static bool undone(struct restore *r, const struct hf_pair *p, const struct statx *stx)
{
	const struct hf_tree_db *db = r->o ? r->o->undone : NULL;
	struct hf_pair now = *p;
	struct hf_attr want;
	struct hf_known k;
	struct hf_diff d;
	bool same;

	if (!db || !db->get(db->arg, p->rel, &k) || hf_attr_decode(k.attr, k.attrlen, &want))
		return false;
	now.stx = stx;
	now.known = &k;
	same = !hf_attr_here(r->t, &want, p->rel, NULL) && !hf_same(r->t, db, &now, &want, r->buf, &d) &&
	       !d.type && !d.content && (!d.meta || d.only_mtime || (S_ISDIR(stx->stx_mode) && made(stx)));
	hf_attr_free(&want);
	return same;
}

static int plan_known(struct restore *r, const struct hf_pair *p, struct hf_attr *want)
{
	struct hf_pair now = *p;
	struct statx stx;
	struct hf_lname *ln = NULL;
	struct hf_diff d;
	struct item *it;
	bool want_dir = S_ISDIR(want->mode), local_dir;
	int ret = -ENOENT;

	/* before anything is changed: a missing user must not leave half a tree */
	if ((ret = hf_attr_here(r->t, want, p->rel, r->err)))
		return ret;
	if (want_dir && !add(&r->dirs, p->rel, OP_NONE, NULL))
		return -ENOMEM;
	if (!p->name && (ret = plan_hidden(r, p->rel)))
		return ret;
	ret = -ENOENT;
	if (p->name) {
		stx = *p->stx;
		now.stx = &stx;
		ret = hf_same(r->t, r->db, &now, want, r->buf, &d);
		for (int i = 1; ret == -ESTALE && i < HF_TRIES; i++) {
			ret = hf_pair_dir(p);
			if (ret >= 0)
				ret = hf_tree_statx(ret, p->name, &stx);
			if (!ret)
				ret = hf_same(r->t, r->db, &now, want, r->buf, &d);
		}
	}
	if ((!ret || ret == -ENOENT) && !want_dir && hf_linked(r->t, want->link, ret ? NULL : &stx)) {
		ln = hf_lnames_add(&r->links, p->rel, want->link, ret ? NULL : &stx);
		if (!ln)
			return -ENOMEM;
		ln->item = r->items.n;
	}
	if (ret == -ENOENT)
		return add(&r->items, p->rel, want_dir ? OP_MKDIR : OP_WRITE, NULL) ? 0 : -ENOMEM;
	if (ret)
		return hf_rst_fail(r, ret, "cannot compare", p->rel);
	local_dir = S_ISDIR(stx.stx_mode);
	if (ln) {
		ln->there = !d.type;
		ln->late = d.type && local_dir;
		ln->meta = !d.type && !d.content && S_ISREG(want->mode);
		ln->equal = !d.type && !d.content && !d.meta;
		if (ln->equal)
			ln->item = SIZE_MAX;
	}
	if (!d.type && !d.content && !d.meta) {
		if (memcmp(&d.mark, &p->known->mark, sizeof(d.mark)))
			r->db->mark(r->db->arg, p->rel, &d.mark);
		if (!hf_mark_same(&p->known->mark, &stx))
			r->unsure = true;
		return 0;
	}
	if (d.type && local_dir) {
		ret = hf_tree_holds_next(r->t, p->rel, &r->holds);
		if (ret > 0)
			return in_the_way(r, p->rel, "holds an excluded name, a mount point or a socket");
		if (ret < 0)
			return hf_rst_fail(r, ret, "cannot read", p->rel);
		it = add(&r->items, p->rel, OP_LATE, &stx);
	} else if (d.type) {
		it = add(&r->items, p->rel, want_dir ? OP_MKDIR : OP_WRITE, &stx);
	} else if (local_dir) {
		/* the attributes come at the end; times alone are not worth a copy */
		r->changed = true;
		it = d.only_mtime ? NULL : add(&r->items, p->rel, OP_TIGHTEN, &stx);
		if (!it)
			return d.only_mtime ? 0 : -ENOMEM;
	} else {
		/* another name of the same file may lie outside: then it gets a file of its own */
		bool in_place = S_ISREG(want->mode) && !d.content && stx.stx_nlink == 1;

		it = add(&r->items, p->rel, in_place ? OP_META : OP_WRITE, &stx);
	}
	if (!it)
		return -ENOMEM;
	it->keep = !hf_left_alone(r->t, stx.stx_mode) && !hf_rst_settled(r, p->rel, &stx) && !undone(r, p, &stx);
	/* nobody's state */
	if (want_dir && local_dir && made(&stx))
		it->keep = false;
	return 0;
}

static int plan_pair(void *ctx, const struct hf_pair *p)
{
	struct restore *r = ctx;
	struct hf_attr want;
	struct item *it;
	int ret;

	if (p->kind == HF_WALK_LEFTOVER)
		return add(&r->items, p->rel, OP_LEFTOVER, p->stx) ? 0 : -ENOMEM;
	if (p->kind == HF_WALK_MOUNT)
		return p->known ? hf_rst_fail(r, -EXDEV, "cannot restore", p->rel) : 0;
	r->st->looked++;
	if (!p->known || hf_left_alone(r->t, hf_attr_mode(p->known->attr, p->known->attrlen))) {
		if (!p->name || hf_left_alone(r->t, p->stx->stx_mode))
			return 0;
		if (S_ISDIR(p->stx->stx_mode)) {
			ret = hf_tree_holds_next(r->t, p->rel, &r->holds);
			if (ret > 0 && r->o && r->o->stays)
				r->o->stays(r->o->ctx, p->rel);
			if (ret)
				return ret > 0 ? 0 : hf_rst_fail(r, ret, "cannot read", p->rel);
		}
		it = add(&r->items, p->rel, OP_REMOVE, p->stx);
		if (it)
			it->keep = !hf_rst_settled(r, p->rel, p->stx) && !undone(r, p, p->stx);
		return it ? 0 : -ENOMEM;
	}
	if (p->name && hf_same_by_mark(r->t, p))
		return !S_ISDIR(p->stx->stx_mode) || add(&r->dirs, p->rel, OP_NONE, NULL) ? 0 : -ENOMEM;
	ret = hf_attr_decode(p->known->attr, p->known->attrlen, &want);
	if (!ret && !*p->rel && !S_ISDIR(want.mode)) {
		hf_attr_free(&want);
		ret = -EBADMSG;		/* the root is a directory */
	}
	if (ret)
		return hf_rst_fail(r, ret, "the generation's entry for", p->rel);
	ret = plan_known(r, p, &want);
	hf_attr_free(&want);
	return ret;
}

/* an entry whose file has other names */
static int plan_name(struct restore *r, struct hf_lname *e)
{
	struct item *it;

	if (e->item == SIZE_MAX && e->verdict == HF_LN_RIGHT)
		return 0;
	if (e->item == SIZE_MAX) {
		/* equal, but a name of the wrong file: there is nothing to keep aside */
		it = add(&r->items, e->rel, OP_WRITE, NULL);
		if (!it)
			return -ENOMEM;
		it->seen = e->seen;
		e->item = r->items.n - 1;
	}
	it = &r->items.e[e->item];
	if (e->verdict == HF_LN_RIGHT) {
		it->op = OP_NONE;
	} else if (e->verdict == HF_LN_META) {
		it->op = OP_META;
		it->names = e->nlink;
	} else if (e->verdict == HF_LN_LINK) {
		it->op = it->op == OP_LATE ? OP_LATE : OP_LINK;
		it->lead = e->lead->item;
		it->ino = e->lead->seen.ino;
		it->to = strdup(e->lead->rel);
		return it->to ? 0 : -ENOMEM;
	}
	return 0;
}

static int plan_links(struct restore *r)
{
	int ret = hf_lnames_resolve(&r->links);

	/* those that others are linked to first: they get their items */
	for (int link = 0; link < 2; link++)
		for (size_t i = 0; !ret && i < r->links.n; i++)
			if ((r->links.e[i].verdict == HF_LN_LINK) == link)
				ret = plan_name(r, &r->links.e[i]);
	return ret;
}

/* the most that the filesystem must have free at one time: a file goes when its successor is whole */
static uint64_t room_needed(struct restore *r)
{
	int64_t now = 0, most = 0;

	for (size_t i = 0; i < r->items.n; i++) {
		const struct item *it = &r->items.e[i];
		struct hf_known k;

		if (it->op != OP_WRITE || !r->db->get(r->db->arg, it->rel, &k))
			continue;
		now += (k.size + 8191) & ~4095ull;
		most = now > most ? now : most;
		if (S_ISREG(it->seen.mode) && it->seen.nlink == 1)
			now -= it->seen.size & ~4095ull;
	}
	return most;
}

static int keep_all(struct restore *r)
{
	bool any = false;
	int ret = 0;

	for (size_t i = 0; !any && i < r->items.n; i++)
		any = r->items.e[i].keep;
	if (any && r->o && r->o->keep)
		hf_displaced_spare(r->o->keep, r->t->root, room_needed(r));
	for (size_t i = 0; !ret && i < r->items.n; i++) {
		const struct item *it = &r->items.e[i];

		if (it->keep && it->op == OP_TIGHTEN)
			ret = r->o && r->o->keep ? hf_displaced_add_dir(r->o->keep, r->t, it->rel, r->err) : 0;
		else if (it->keep)
			ret = hf_rst_keep(r, it->rel);
	}
	hf_rst_keep_flush(r);
	return ret;
}

/* removing */

static int remove_one(struct restore *r, struct item *it);

/* something was put into a directory that is to go; 1 if anything was removed */
static int purge(struct restore *r, const char *rel)
{
	struct list more = { 0 };
	struct hf_walk w;
	int ret;

	hf_dircur_reset(&r->cur);
	r->born_in = NULL;
	ret = hf_walk_init(&w, r->t, rel, HF_WALK_LEFTOVERS);
	while (!ret && (ret = hf_walk_next(&w)) == 1) {
		ret = 0;
		if (!strcmp(w.rel, rel))
			continue;
		if (hf_tree_unsaid(r->t, w.rel, w.at.stx.stx_mode)) {
			hf_walk_skip(&w);
			continue;
		}
		ret = add(&more, w.rel, OP_REMOVE, &w.at.stx) ? 0 : -ENOMEM;
		if (!ret && w.at.kind == HF_WALK_ENTRY)
			ret = hf_rst_keep(r, w.rel);
	}
	hf_walk_free(&w);
	hf_rst_keep_flush(r);
	for (size_t i = more.n; !ret && i-- > 0; )
		ret = remove_one(r, &more.e[i]);
	if (!ret)
		ret = more.n > 0;
	list_free(&more);
	return ret;
}

static int remove_one(struct restore *r, struct item *it)
{
	struct statx stx;
	const char *name;
	int dirfd, ret;

	ret = hf_seam("restore.remove");
	if (ret)
		return hf_rst_fail(r, ret, "cannot remove", it->rel);
	for (int i = 0; i < HF_TRIES; i++) {
		dirfd = hf_dircur_parent(&r->cur, it->rel, &name);
		if (dirfd == -ENOENT)
			return 0;
		if (dirfd < 0)
			return hf_rst_fail(r, dirfd, "cannot remove", it->rel);
		ret = hf_tree_statx(dirfd, name, &stx);
		if (ret == -ENOENT)
			return 0;
		if (!ret && !S_ISDIR(stx.stx_mode))
			ret = hf_rst_keep_late(r, it, dirfd, name);
		if (ret)
			return ret;
		if (!unlinkat(dirfd, name, S_ISDIR(stx.stx_mode) ? AT_REMOVEDIR : 0)) {
			r->st->removed++;
			return 0;
		}
		ret = -errno;
		if (ret == -ENOENT)
			return 0;
		if (ret != -ENOTEMPTY && ret != -EEXIST)
			break;
		ret = hf_tree_holds(r->t, it->rel);
		if (ret > 0)
			return 0;	/* it stays for what it holds */
		if (!ret)
			ret = purge(r, it->rel);
		if (ret < 0)
			return ret;
		if (!ret)
			return 0;	/* what it holds is none of ours */
		ret = -ENOTEMPTY;
	}
	return hf_rst_fail_at(r, ret, "cannot remove", dirfd, name, it->rel);
}

static int do_late(struct restore *r, struct item *it)
{
	struct statx stx;
	const char *name;
	int dirfd, ret;

	dirfd = hf_dircur_parent(&r->cur, it->rel, &name);
	ret = dirfd < 0 ? dirfd : hf_tree_statx(dirfd, name, &stx);
	if (!ret && S_ISDIR(stx.stx_mode)) {
		ret = remove_one(r, it);
		if (ret)
			return ret;
	}
	it->op = it->to ? OP_LINK : OP_WRITE;
	return it->to ? 0 : hf_rst_write(r, it);
}

/* directories: their attributes, and the marks at the end */

static int finish_dir(struct restore *r, struct item *it)
{
	struct hf_pair p = { .rel = it->rel, .kind = HF_WALK_ENTRY, .name = "" };
	struct hf_attr want = { 0 };
	struct hf_known k;
	struct hf_diff d;
	struct statx stx;
	int fd, ret;

	ret = hf_rst_wanted(r, it->rel, &want);
	if (ret)
		return ret;
	fd = hf_dircur_get(&r->cur, it->rel, strlen(it->rel));
	ret = fd < 0 ? fd : hf_fd_statx(fd, &stx);
	if (ret) {
		hf_rst_fail(r, ret, "cannot open", it->rel);
		goto out;
	}
	if (!r->db->get(r->db->arg, it->rel, &k)) {
		ret = hf_rst_fail(r, -EBADMSG, "the generation's entry for", it->rel);
		goto out;
	}
	p.dirfd = fd;
	p.stx = &stx;
	p.known = &k;
	ret = hf_same(r->t, r->db, &p, &want, r->buf, &d);
	if (ret) {
		hf_rst_fail(r, ret, "cannot look at", it->rel);
		goto out;
	}
	if (d.meta) {
		ret = hf_seam("restore.meta");
		if (ret)
			hf_rst_fail(r, ret, "cannot set the attributes of", it->rel);
		else
			ret = hf_attr_apply(r->t, fd, false, false, &want, it->rel, r->err);
		if (ret)
			goto out;
		if (it->op == OP_NONE)
			r->st->meta++;
		ret = hf_fd_statx(fd, &stx);
		if (ret)
			goto out;
	}
	hf_look(&it->seen, &stx);
	it->done = true;
out:
	hf_attr_free(&want);
	return ret;
}

/* the change time of a file with several names is not ours: one that came later changed it */
static void look_again(struct restore *r, struct item *it)
{
	struct statx s;
	const char *name;
	int fd = hf_dircur_parent(&r->cur, it->rel, &name);

	it->done = fd >= 0 && !hf_tree_statx(fd, name, &s) && hf_looks_same(&it->seen, &s);
	if (it->done)
		hf_look(&it->seen, &s);
}

/*
 * How an entry looked when it was written says what is in it for as long as it looks so, where the
 * clock has moved on since: a change in the same tick may look the same.
 */
static void note_marks(struct restore *r, const struct list *l)
{
	uint64_t now = hf_wall_ns();

	for (size_t i = 0; i < l->n; i++) {
		struct item *it = &l->e[i];
		struct hf_mark m;

		if (it->done && it->seen.nlink > 1 && !S_ISDIR(it->seen.mode))
			look_again(r, it);
		if (!it->done)
			continue;
		hf_look_mark(&it->seen, now, &m);
		r->db->mark(r->db->arg, it->rel, &m);
	}
}

static int write_item(struct restore *r, struct item *it)
{
	int ret;

	if (it->op == OP_LEFTOVER || it->op == OP_TIGHTEN || it->op == OP_MKDIR || it->op == OP_META)
		return hf_rst_write(r, it);
	if (it->op != OP_WRITE)
		return 0;
	if (r->used_up) {
		r->used_up--;
		return hf_rst_write(r, it);
	}
	r->content = hf_fetch_next(r->fetch);
	ret = hf_rst_write(r, it);
	r->content = NULL;
	hf_fetch_done(r->fetch);
	return ret;
}

static int execute(struct restore *r)
{
	int ret = hf_nest_order(r);

	r->fetch = ret ? NULL : hf_fetch_begin(r);
	for (size_t i = 0; !ret && i < r->items.n; i++) {
		struct item *it = &r->items.e[r->order[i]];

		hf_early_step(r, i);
		ret = hf_rst_step(r);
		if (!ret && it->nested) {
			ret = hf_nest_write(r, it, r->order + i + 1);
			if (!ret)
				i += it->nested;
			if (ret <= 0)
				continue;
		}
		if (ret >= 0)
			ret = write_item(r, it);
	}
	hf_fetch_end(r->fetch);
	r->fetch = NULL;
	for (size_t i = r->items.n; !ret && i-- > 0; )
		if (r->items.e[i].op == OP_REMOVE) {
			ret = hf_rst_step(r);
			if (!ret)
				ret = remove_one(r, &r->items.e[i]);
		}
	hf_dircur_reset(&r->cur);
	r->born_in = NULL;
	for (size_t i = 0; !ret && i < r->items.n; i++)
		if (r->items.e[i].op == OP_LATE)
			ret = do_late(r, &r->items.e[i]);
	for (size_t i = 0; !ret && i < r->items.n; i++)
		if (r->items.e[i].op == OP_LINK)
			ret = hf_rst_write(r, &r->items.e[i]);
	for (size_t i = r->dirs.n; !ret && i-- > 0; )
		ret = finish_dir(r, &r->dirs.e[i]);
	return ret;
}

static uint64_t since(uint64_t *clock)
{
	uint64_t from = *clock;

	*clock = hf_now_ns();
	return *clock - from;
}

int hf_restore(struct hf_tree *t, const struct hf_tree_db *db, const struct hf_restore_opts *o,
	       struct hf_restore_stat *st, struct hf_err *err)
{
	struct restore r = { .t = t, .db = db, .o = o, .st = st, .err = err };
	struct hf_err own = { 0 };
	uint64_t before, clock = hf_now_ns();
	bool go = !o || !o->only_look;
	mode_t umask_was = 0;
	int ret;

	if (!err)
		r.err = &own;
	ret = hf_tree_check_root(t, r.err);
	if (ret)
		return ret;
	/* each mode is given as it is to be; other threads keep theirs */
	r.umask = 0777;
	if (!unshare(CLONE_FS)) {
		r.umask = 0;
		umask_was = umask(0);
	}
	before = o && o->keep ? hf_displaced_count(o->keep) : 0;
	hf_ids_begin(t, true);
	r.buf = malloc(HF_SMALL);
	ret = r.buf ? hf_dircur_init(&r.cur, t) : -ENOMEM;
	if (!ret)
		ret = hf_dircur_init(&r.other, t);
	if (!ret)
		ret = hf_merge(t, db, "", HF_WALK_LEFTOVERS, plan_pair, &r, r.err);
	if (!ret)
		ret = plan_links(&r);
	st->ns_compare += since(&clock);
	if (!ret && go)
		ret = keep_all(&r);
	st->ns_keep += since(&clock);
	if (!ret && go && (r.items.n || r.changed))
		ret = execute(&r);
	st->ns_write += since(&clock);
	hf_early_end(&r);
	if (!ret && go && (r.items.n || r.changed || r.unsure) && syncfs(t->root))
		ret = hf_fail(r.err, HF_OK, -errno, "%s: what was restored cannot be made durable: %s",
			      t->path, strerror(errno));
	st->ns_sync += since(&clock);
	if (!ret) {
		hf_dircur_reset(&r.cur);
		note_marks(&r, &r.items);
		note_marks(&r, &r.dirs);
	}
	if (!ret && o && o->progress)
		o->progress(o->ctx, r.items.n, r.items.n);
	if (ret == -ENOMEM)
		hf_fail(r.err, HF_OK, ret, "out of memory");
	if (o && o->keep)
		st->displaced += hf_displaced_count(o->keep) - before;
	hf_dircur_free(&r.cur);
	hf_dircur_free(&r.other);
	hf_lnames_free(&r.links);
	hf_holds_free(&r.holds);
	hf_links_clear(&t->links);
	free(r.order);
	list_free(&r.items);
	list_free(&r.dirs);
	hf_scratch_free(t, r.buf, HF_SMALL);
	if (!r.umask)
		umask(umask_was);
	return ret;
}
