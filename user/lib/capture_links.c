// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Files with several names (hard links). Each name is an entry of its own, with attributes
 * and contents; a number that they share says that they are one file.
 *
 * Nobody reports that the other names of a file have changed with it, nor that a file which
 * had one name has two: so whoever captures one name captures them all. Where more names are
 * missing than are known to lie outside of the tree, they are looked for: among the entries, which
 * remember the inode, and if that is not all of them in the whole tree. A file
 * that lost a name may have been changed through it before, so the others are captured as well.
 */
#include "capture_int.h"
#include <sodium.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

static bool linked(const struct capture *c, const struct statx *stx)
{
	return stx->stx_nlink > 1 && !S_ISDIR(stx->stx_mode) && !c->t->name;
}

static bool was(const struct hf_known *k, uint64_t dev, uint64_t ino)
{
	return k->mark.ino == ino && k->mark.dev == dev;
}

/* a number that one of the names has already, if no other file has it, nor had when that name was captured */
static int choose(struct capture *c, struct hf_links_file *f)
{
	struct hf_links *l = &c->t->links;
	struct hf_links_file *owner;
	bool unsure = false;
	struct hf_known k;
	uint64_t id = 0;
	int ret = 0;

	for (unsigned i = 0; i < f->n && !id; i++)
		if (c->db->get(c->db->arg, f->name[i], &k) && (!k.mark.ino || was(&k, f->dev, f->ino))) {
			id = hf_attr_link(k.attr, k.attrlen);
			unsure = !k.mark.ino;
			owner = hf_links_owner(l, id);
			if (owner && owner != f)
				id = 0;
		}
	/* nobody remembers which file that name was: all that have the number are looked at */
	if (id && unsure && !c->whole)
		ret = hf_links_lose(l, id);
	while (!id || ((owner = hf_links_owner(l, id)) && owner != f))
		randombytes_buf(&id, sizeof(id));
	hf_links_set_id(l, f, id);
	return ret;
}

int hf_cap_link(struct capture *c, const struct hf_pair *p, const struct statx *stx, uint64_t *id)
{
	struct hf_links_file *f;
	int ret = p->known && !c->relink ? hf_cap_lost(c, p->known, stx) : 0;

	*id = 0;
	if (ret)
		return ret;
	if (!linked(c, stx)) {
		hf_links_single(&c->t->links, stx);
		return 0;
	}
	f = hf_links_note(&c->t->links, stx, p->rel);
	if (!f)
		return -ENOMEM;
	if (c->relink) {
		/* it was that file's name when it was looked at */
		*id = c->link;
		return c->link && f->id != c->link ? -ESTALE : 0;
	}
	ret = f->n > 1 && !f->id ? choose(c, f) : 0;
	if (ret)
		return ret;
	/* of the first name: that the others still belong to it is settled when all were seen */
	*id = f->id ? f->id : p->known && (!p->known->mark.ino || was(p->known, f->dev, f->ino)) ?
		hf_attr_link(p->known->attr, p->known->attrlen) : 0;
	return 0;
}

static int forget_names(void *ctx, struct hf_links_file *f)
{
	while (f->n)
		hf_links_drop(f, f->n - 1);
	f->nlink = 0;	/* it may have but one by now */
	return 0;
}

/*
 * A name that was seen as the only one and then got another, which was seen as well, is none that is missing. So what
 * changed since the whole tree began to be looked at (@ctx) is believed when it is found so for the second time.
 */
static int count_outside(void *ctx, struct hf_links_file *f)
{
	const uint64_t *since = ctx;

	f->outside = f->nlink > f->n ? f->nlink - f->n : 0;
	if (f->outside && !hf_settled(f->ctime, *since) && (f->doubt.nlink != f->nlink || f->doubt.n != f->n)) {
		f->doubt.nlink = f->nlink;
		f->doubt.n = f->n;
		f->outside = 0;
	}
	return 0;
}

static bool has_names(const struct capture *c, const struct statx *stx)
{
	return linked(c, stx) && !hf_left_alone(c->t, stx->stx_mode);
}

/* every name of every file that has several */
static int look_through(struct capture *c)
{
	struct hf_links *l = &c->t->links;
	uint64_t since = hf_wall_ns();
	struct hf_walk w;
	int ret;

	hf_links_each(l, forget_names, NULL);
	ret = hf_walk_init(&w, c->t, "", 0);
	while (!ret && (ret = hf_walk_next(&w)) == 1) {
		ret = 0;
		if (w.at.kind == HF_WALK_ENTRY && has_names(c, &w.at.stx) && !hf_links_note(l, &w.at.stx, w.rel))
			ret = -ENOMEM;
	}
	if (ret)
		hf_tree_fail(c->t, c->err, ret, "cannot read", w.rel ? w.rel : "");
	hf_walk_free(&w);
	return ret ? ret : hf_links_each(l, count_outside, &since);
}

static bool is_of(const struct hf_links_file *f, const struct statx *stx)
{
	return stx->stx_ino == f->ino && makedev(stx->stx_dev_major, stx->stx_dev_minor) == f->dev;
}

/* 1: @rel is there, @p and @stx say what it is; 0: it is not, of which another event tells */
static int look_at(struct capture *c, struct hf_dircur *cur, const char *rel, struct hf_pair *p, struct statx *stx)
{
	int ret;

	*p = (struct hf_pair){ .rel = rel, .kind = HF_WALK_ENTRY, .stx = stx };
	p->dirfd = hf_dircur_parent(cur, rel, &p->name);
	ret = p->dirfd < 0 ? p->dirfd : hf_tree_statx(p->dirfd, p->name, stx);
	if (ret == -ENOENT || ret == -ENOTDIR || ret == -ELOOP || ret == -EXDEV)
		return 0;
	if (ret)
		return hf_tree_fail(c->t, c->err, ret, "cannot capture", rel);
	return stx->stx_mnt_id == c->t->mnt;
}

/* Brings a name of @f (NULL: of whichever file) up to date; with @link it gets that number. *gone: it is none of its names. */
static int capture_again(struct capture *c, struct hf_dircur *cur, const struct hf_links_file *f,
			 const char *rel, bool link, bool *gone)
{
	struct hf_buf attr = HF_BUF_INIT;
	struct hf_known k;
	struct hf_pair p;
	struct statx stx;
	/* nobody may have told of its directory yet */
	int ret = c->db->get(c->db->arg, rel, &k) ? 0 : hf_cap_above(c, cur, rel);

	*gone = true;
	if (ret && ret != -EXDEV)
		return hf_tree_fail(c->t, c->err, ret, "cannot capture", rel);
	ret = look_at(c, cur, rel, &p, &stx);
	if (ret != 1 || (f ? !is_of(f, &stx) : S_ISDIR(stx.stx_mode)))
		return ret < 0 ? ret : 0;
	*gone = false;
	if (c->db->get(c->db->arg, rel, &k)) {
		hf_buf_put(&attr, k.attr, k.attrlen);
		if (attr.bad)
			return -ENOMEM;
		k.attr = attr.p;
		p.known = &k;
	}
	c->relink = link;
	c->link = link ? f->id : 0;
	ret = hf_cap_entry(c, &p);
	c->relink = false;
	hf_buf_free(&attr);
	return ret;
}

int hf_cap_lost(struct capture *c, const struct hf_known *k, const struct statx *stx)
{
	struct hf_links_file *f;
	uint64_t id;

	if (stx && was(k, makedev(stx->stx_dev_major, stx->stx_dev_minor), stx->stx_ino))
		return 0;
	id = hf_attr_link(k->attr, k->attrlen);
	f = hf_links_owner(&c->t->links, id);
	if (!id || (stx && !k->mark.ino && f && is_of(f, stx)))
		return 0;
	return hf_links_lose(&c->t->links, id);
}

struct left {
	const struct hf_links *l;
	struct { char *rel; uint64_t id; } *e;
	size_t n;
};

static int find_left(void *ctx, const char *rel, const struct hf_known *k)
{
	uint64_t id = hf_attr_link(k->attr, k->attrlen);
	struct left *l = ctx;
	void *e;

	if (!id || !hf_links_is_lost(l->l, id))
		return 0;
	e = realloc(l->e, (l->n + 1) * sizeof(*l->e));
	if (!e)
		return -ENOMEM;
	l->e = e;
	l->e[l->n].rel = strdup(rel);
	l->e[l->n].id = id;
	return l->e[l->n].rel ? (l->n++, 0) : -ENOMEM;
}

/*
 * What is known as a name of a file that lost another one. Where one of them cannot be captured, or does not hold
 * still, the next capture looks again: the name that is gone is known no more, and would not tell of it twice.
 */
static int capture_left(struct capture *c, struct hf_dircur *cur)
{
	struct hf_links *l = &c->t->links;
	struct left left = { .l = l };
	uint64_t unstable;
	bool gone;
	int ret;

	hf_links_sort_lost(l);
	ret = c->db->all(c->db->arg, find_left, &left);
	if (!ret)
		l->nlost = 0;
	for (size_t i = 0; i < left.n; i++) {
		unstable = c->st->unstable;
		if (!ret)
			ret = capture_again(c, cur, NULL, left.e[i].rel, false, &gone);
		if ((ret || c->st->unstable != unstable) && hf_links_lose(l, left.e[i].id) && !ret)
			ret = -ENOMEM;
		free(left.e[i].rel);
	}
	free(left.e);
	return ret;
}

/* all names of @f have its number; @whole: they were captured a moment ago */
static int settle(struct capture *c, struct hf_dircur *cur, struct hf_links_file *f, bool whole)
{
	uint64_t nlink = f->nlink, unstable = c->st->unstable;
	unsigned n = f->n;
	bool gone;
	int ret = 0;

	for (unsigned i = f->n; !whole && !ret && i-- > 0; ) {
		ret = capture_again(c, cur, f, f->name[i], false, &gone);
		if (!ret && gone)
			hf_links_drop(f, i);
	}
	if (f->n < 2)
		hf_links_set_id(&c->t->links, f, 0);
	else if (!f->id && !ret)
		ret = choose(c, f);
	for (unsigned i = f->n; !ret && i-- > 0; ) {
		struct hf_known k;

		/* what is not known yet did not hold still, and is captured later */
		if (c->db->get(c->db->arg, f->name[i], &k) && hf_attr_link(k.attr, k.attrlen) != f->id)
			ret = capture_again(c, cur, f, f->name[i], true, &gone);
	}
	/* that was us: it is only to be settled once more if it is not what it was, or was not got hold of */
	if (!ret && f->touched && f->nlink == nlink && f->n == n && c->st->unstable == unstable) {
		f->touched = false;
		c->t->links.touched--;
	}
	return ret;
}

/* more of a touched file's names are missing than lie outside, as far as is known */
static bool lacks(const struct hf_links_file *f)
{
	return f->touched && f->nlink > f->n && f->nlink - f->n > f->outside;
}

static int incomplete(void *ctx, struct hf_links_file *f)
{
	if (lacks(f))
		return 1;
	if (f->touched)
		f->outside = f->nlink > f->n ? f->nlink - f->n : 0;
	if (f->touched && !f->outside)
		f->doubt.nlink = 0;	/* all of them were found */
	return 0;
}

struct found { const struct hf_links *l; char **rel; size_t n; };

static int find_name(void *ctx, const char *rel, const struct hf_known *k)
{
	struct found *v = ctx;
	struct hf_links_file *f = k->mark.ino ? hf_links_find(v->l, k->mark.dev, k->mark.ino) : NULL;
	char **p;

	if (!f || !lacks(f))
		return 0;
	p = realloc(v->rel, (v->n + 1) * sizeof(*p));
	if (!p)
		return -ENOMEM;
	v->rel = p;
	p[v->n] = strdup(rel);
	return p[v->n] ? (v->n++, 0) : -ENOMEM;
}

/* The entries remember which inode they were: most names of a file are found by it, without the tree. */
static int look_among_known(struct capture *c, struct hf_dircur *cur)
{
	struct found v = { .l = &c->t->links };
	int ret = c->db->all(c->db->arg, find_name, &v);
	struct hf_pair p;
	struct statx stx;

	for (size_t i = 0; i < v.n; i++) {
		if (!ret && (ret = look_at(c, cur, v.rel[i], &p, &stx)) == 1)
			ret = !has_names(c, &stx) || hf_links_note(&c->t->links, &stx, v.rel[i]) ? 0 : -ENOMEM;
		free(v.rel[i]);
	}
	free(v.rel);
	return ret;
}

struct todo { struct hf_links_file **f; size_t n; };

static int collect(void *ctx, struct hf_links_file *f)
{
	struct todo *t = ctx;

	if (f->touched)
		t->f[t->n++] = f;
	f->touched = false;
	return 0;
}

int hf_cap_links(struct capture *c)
{
	struct hf_links *l = &c->t->links;
	bool whole = c->whole;
	struct hf_dircur cur;
	bool moved = false;
	int ret;

	if (whole)
		hf_links_each(l, count_outside, &c->since);
	if (!l->touched && !l->nlost)
		return 0;
	ret = hf_dircur_init(&cur, c->t);
	/* what is captured once more can show files that were not seen before, and names that were lost */
	for (int i = 0; !ret && (l->touched || (l->nlost && !moved)) && i < HF_TRIES; i++) {
		struct todo todo = { 0 };

		if (l->nlost && !moved) {
			uint64_t unstable = c->st->unstable;

			ret = capture_left(c, &cur);
			moved = c->st->unstable != unstable;
		}
		if (!ret && !l->failed && hf_links_each(l, incomplete, NULL))
			ret = look_among_known(c, &cur);
		if (!ret && (l->failed || hf_links_each(l, incomplete, NULL))) {
			ret = look_through(c);
			whole = l->failed = false;
		}
		if (ret)
			break;
		todo.f = malloc((l->count + 1) * sizeof(*todo.f));
		if (!todo.f) {
			ret = -ENOMEM;
			break;
		}
		hf_links_each(l, collect, &todo);
		l->touched = 0;
		for (size_t k = 0; !ret && k < todo.n; k++)
			ret = settle(c, &cur, todo.f[k], whole);
		free(todo.f);
	}
	hf_dircur_free(&cur);
	l->failed |= ret != 0;
	return ret;
}

struct outside {
	void (*fn)(void *ctx, const char *rel, uint64_t inside, uint64_t all);
	void *ctx;
};

static int tell_outside(void *ctx, struct hf_links_file *f)
{
	struct outside *o = ctx;

	if (f->n && f->nlink > f->n)
		o->fn(o->ctx, f->name[0], f->n, f->nlink);
	return 0;
}

void hf_tree_outside(struct hf_tree *t, void (*fn)(void *ctx, const char *rel, uint64_t inside, uint64_t all),
		     void *ctx)
{
	struct outside o = { fn, ctx };

	hf_links_each(&t->links, tell_outside, &o);
}
