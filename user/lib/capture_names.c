// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Names that are captured one after the other. The directories above them stay open from one to
 * the next: whoever puts another in the place of one of these meanwhile makes a change of its own.
 */
#include "capture_int.h"
#include <stdlib.h>

struct gone {
	struct capture *c;
	const char *top;
	bool spare_top;
};

static int gone_one(void *ctx, const char *rel, const struct hf_known *k)
{
	struct gone *g = ctx;

	if (!hf_rel_below(rel, g->top) || hf_tree_excluded(g->c->t, rel, hf_attr_mode(k->attr, k->attrlen)) ||
	    (g->spare_top && !strcmp(rel, g->top)))
		return 0;
	return hf_cap_del(g->c, rel);
}

/* @rel is not there (any more), or with @spare_top is no directory any more */
static int gone(struct capture *c, const char *rel, bool spare_top)
{
	struct gone g = { c, rel, spare_top };

	return c->db->each(c->db->arg, rel, gone_one, &g);
}

/* the directory @rel[0..len) itself; @must: although it is known */
static int capture_dir(struct capture *c, struct hf_dircur *cur, const char *rel, size_t len, bool must)
{
	struct hf_pair p = { .kind = HF_WALK_ENTRY };
	struct hf_buf attr = HF_BUF_INIT;
	struct hf_known k;
	struct statx stx;
	char *dir = strndup(rel, len);
	int ret = 0;

	if (!dir)
		return -ENOMEM;
	if (c->db->get(c->db->arg, dir, &k)) {
		if (!must && S_ISDIR(hf_attr_mode(k.attr, k.attrlen)))
			goto out;
		hf_buf_put(&attr, k.attr, k.attrlen);
		if (attr.bad) {
			ret = -ENOMEM;
			goto out;
		}
		k.attr = attr.p;
		p.known = &k;
	}
	p.rel = dir;
	p.name = "";
	p.dirfd = hf_dircur_get(cur, dir, len);
	p.stx = &stx;
	ret = p.dirfd < 0 ? p.dirfd : hf_fd_statx(p.dirfd, &stx);
	if (!ret)
		ret = hf_cap_entry(c, &p);
	if (ret == -ENOENT || ret == -ENOTDIR || ret == -ELOOP)
		ret = 0;	/* another event tells of that */
out:
	hf_buf_free(&attr);
	free(dir);
	return ret;
}

int hf_cap_above(struct capture *c, struct hf_dircur *cur, const char *rel)
{
	int ret = capture_dir(c, cur, rel, 0, false);

	for (const char *p = strchr(rel, '/'); !ret && p; p = strchr(p + 1, '/'))
		ret = capture_dir(c, cur, rel, p - rel, false);
	return ret;
}

/* *dir: it is a directory that is known; what it is itself is still to be captured */
static int capture_found(struct capture *c, int dirfd, const char *name, const char *rel, bool *dir)
{
	struct hf_pair p = { .rel = rel, .name = name, .dirfd = dirfd, .kind = HF_WALK_ENTRY };
	struct hf_buf attr = HF_BUF_INIT;
	bool was_dir = false, is_dir;
	struct hf_known k;
	struct statx stx;
	int ret;

	ret = *name ? hf_tree_statx(dirfd, name, &stx) : hf_fd_statx(dirfd, &stx);
	if (ret == -ENOENT)
		return gone(c, rel, false);
	if (ret)
		return hf_tree_fail(c->t, c->err, ret, "cannot capture", rel);
	if (*name && hf_is_mount(c->t, &stx))
		return 0;
	/* what it was before may have been no excluded name: `cache/` is one of directories only */
	if (hf_tree_excluded(c->t, rel, stx.stx_mode))
		return gone(c, rel, false);
	is_dir = S_ISDIR(stx.stx_mode);
	if (c->db->get(c->db->arg, rel, &k)) {
		was_dir = S_ISDIR(hf_attr_mode(k.attr, k.attrlen));
		hf_buf_put(&attr, k.attr, k.attrlen);
		if (attr.bad)
			return -ENOMEM;
		k.attr = attr.p;
		p.known = &k;
	}
	p.stx = &stx;
	*dir = is_dir && was_dir;
	if (*dir)
		ret = 0;
	else if (is_dir)
		ret = hf_merge(c->t, c->db, rel, HF_WALK_LAZY, hf_cap_pair, c, c->err);
	else
		ret = hf_cap_entry(c, &p);
	if (!ret && was_dir && !is_dir)
		ret = gone(c, rel, true);
	hf_buf_free(&attr);
	return ret;
}

struct hf_names {
	struct capture c;
	struct hf_dircur cur;
	struct hf_buf dir;		/* a directory whose own attributes are still to be captured, */
	bool due;			/* if this says so: as names in it came or went, or it is to be itself */
	struct hf_capture_stat late;	/* what belongs to no single name */
	struct hf_err err;
	int ret;
};

int hf_names_begin(struct hf_tree *t, const struct hf_tree_db *db, struct hf_names **out, struct hf_err *err)
{
	struct hf_names *s = hf_alloc(sizeof(*s));
	int ret = s ? hf_cap_begin(&s->c, t, db, &s->late, err) : -ENOMEM;

	if (!ret)
		ret = hf_dircur_init(&s->cur, t);
	if (ret) {
		if (s)
			hf_cap_end(&s->c);
		free(s);
		return ret == -ENOMEM ? hf_fail(err, HF_OK, ret, "out of memory") : ret;
	}
	hf_ids_begin(t, false);
	s->c.by_name = true;
	*out = s;
	return 0;
}

static bool same_dir(const struct hf_names *s, const char *rel, size_t len)
{
	return s->due && s->dir.len == len + 1 && !memcmp(s->dir.p, rel, len);
}

/* a name that came or went changed its directory's times, which nobody reports */
static void dir_times(struct hf_names *s)
{
	int ret;

	if (!s->due)
		return;
	s->due = false;
	s->c.st = &s->late;
	s->c.err = &s->err;
	s->c.db_err = 0;	/* of a name before, if any */
	ret = capture_dir(&s->c, &s->cur, (const char *)s->dir.p, s->dir.len - 1, true);
	if (!s->ret)
		s->ret = ret;
}

/* the directory @rel[0..len) is captured before another one's turn, or at the end */
static int dir_due(struct hf_names *s, const char *rel, size_t len)
{
	if (same_dir(s, rel, len))
		return 0;
	dir_times(s);
	s->dir.len = 0;
	hf_buf_put(&s->dir, rel, len);
	hf_buf_u8(&s->dir, 0);
	s->due = !s->dir.bad;
	return s->dir.bad ? -ENOMEM : 0;
}

/* those above @rel that are not known; @len: of its directory */
static int capture_above(struct hf_names *s, const char *rel, size_t len)
{
	int ret;

	if (same_dir(s, rel, len))
		return 0;
	dir_times(s);
	ret = hf_cap_above(&s->c, &s->cur, rel);
	return ret ? ret : dir_due(s, rel, len);
}

static int capture_below(struct hf_names *s, const char *rel)
{
	struct hf_tree *t = s->c.t;
	const char *name;
	char *up = NULL;
	bool dir = false;
	int fd, ret = 0;

	/* it is due already: there is only the one that it lies in */
	if (*rel && same_dir(s, rel, strlen(rel))) {
		name = strrchr(rel, '/');
		return capture_dir(&s->c, &s->cur, rel, name ? name - rel : 0, true);
	}
	while ((fd = hf_dircur_parent(&s->cur, rel, &name)) < 0) {
		/* something above is no directory (any more): that is what changed */
		if (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP) {
			/* below a mount nothing is ours */
			ret = fd == -EXDEV ? 0 : hf_tree_fail(t, s->c.err, fd, "cannot capture", rel);
			goto out;
		}
		size_t n = s->cur.len ? s->cur.len + 1 : 0;

		n += strcspn(rel + n, "/");
		char *shorter = strndup(rel, n);

		free(up);
		rel = up = shorter;
		if (!up) {
			ret = -ENOMEM;
			goto out;
		}
	}
	if (*rel && !t->name) {
		struct hf_capture_stat *st = s->c.st;
		struct hf_err *err = s->c.err;

		ret = capture_above(s, rel, name > rel ? name - rel - 1 : 0);
		s->c.st = st;
		s->c.err = err;
		if (ret)
			goto out;
		fd = hf_dircur_parent(&s->cur, rel, &name);
		if (fd < 0) {
			ret = fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ? 0 : fd;
			goto out;
		}
	}
	ret = capture_found(&s->c, fd, *rel ? name : "", rel, &dir);
	if (!ret && dir)
		ret = dir_due(s, rel, strlen(rel));
out:
	free(up);
	return ret;
}

int hf_names_one(struct hf_names *s, const char *rel, struct hf_capture_stat *st, struct hf_err *err)
{
	struct hf_tree *t = s->c.t;
	int ret;

	if (t->name && !*rel)
		rel = t->name;
	if (!hf_tree_mine(t, rel))
		return t->name ? 0 : hf_fail(err, HF_USAGE, -EINVAL, "%s: not a name in a tree", t->path);
	if (hf_tree_out(t, rel) == HF_OUT)
		return 0;
	s->c.st = st;
	s->c.err = err;
	s->c.db_err = 0;
	ret = capture_below(s, rel);
	return ret == -ENOMEM ? hf_fail(err, HF_OK, ret, "out of memory") : ret;
}

int hf_names_end(struct hf_names *s, struct hf_capture_stat *st, struct hf_err *err)
{
	struct hf_err e = { 0 };
	int ret;

	dir_times(s);
	s->c.st = &s->late;
	s->c.err = &e;
	s->c.db_err = 0;
	ret = hf_cap_links(&s->c);
	/* one that went away meanwhile looks empty */
	if (!ret)
		ret = hf_tree_check_root(s->c.t, &e);
	if (s->ret) {
		ret = s->ret;
		e = s->err;
	}
	if (ret)
		hf_fail(err, e.exit, ret, "%s", ret == -ENOMEM ? "out of memory" : e.msg);
	st->looked += s->late.looked;
	st->put += s->late.put;
	st->deleted += s->late.deleted;
	st->unstable += s->late.unstable;
	st->bytes += s->late.bytes;
	hf_dircur_free(&s->cur);
	hf_buf_free(&s->dir);
	hf_cap_end(&s->c);
	free(s);
	return ret;
}

int hf_capture_name(struct hf_tree *t, const struct hf_tree_db *db, const char *rel,
		    struct hf_capture_stat *st, struct hf_err *err)
{
	struct hf_names *s;
	int ret = hf_names_begin(t, db, &s, err), end;

	if (ret)
		return ret;
	ret = hf_names_one(s, rel, st, err);
	end = hf_names_end(s, st, ret ? NULL : err);
	return ret ? ret : end;
}
