// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Looking at all of a tree ahead of a restore, by threads of its own: two directories at a time, and
 * while their user does something else. What was seen is kept until it was given out, in the order of a
 * walk, for which they need not have ended. A directory that they did not come to, and one where they
 * failed, its user looks at himself: then he knows why.
 *
 * It is as good as looking later, for who is told of every change since it began: a change that came
 * after the look is one that came after the comparison.
 *
 * Lock: s->mu, a leaf, protects the lists of directories, their `state`, `busy`, `bytes` and `stop`. What
 * is in a directory belongs to who has taken it from the list of those that wait, and when it is SEEN to
 * the user.
 */
#include "tree_int.h"
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS 2u
#define MEMORY (32u << 20)	/* of what is kept; beyond it nobody goes ahead */

struct seen {
	const char *name;
	struct dir *dir;	/* what is in it, if it is entered */
	enum hf_walk_kind kind;
	uint32_t mode, nlink, uid, gid, dev_major, dev_minor;
	uint64_t ino, size, mnt;
	struct statx_timestamp mtime, ctime, atime;
	uint32_t rdev_major, rdev_minor;
};

enum dir_state { LEFT, WAITS, TAKEN, SEEN };

struct dir {
	struct dir *next, **pnext;	/* that waits, */
	struct dir *all, **pall;	/* and of all there are */
	enum dir_state state;
	char *rel;
	size_t len;
	struct hf_dirnames names;
	struct seen *e;
	unsigned n;
};

struct hf_scout {
	struct hf_tree *t;
	pthread_t thread[THREADS];
	unsigned started;
	pthread_mutex_t mu;
	pthread_cond_t more, seen;
	struct dir *wait, *all;
	unsigned busy;
	size_t bytes;
	bool stop;
	atomic_bool off;	/* nobody wants to know any more, not even of the directory in hand */
	/* the user's: where he is */
	struct dir *top;
	struct { struct dir *d; unsigned i; bool seen; } *lv;
	unsigned depth, lvcap;
	struct hf_dircur cur;
	struct hf_buf rel;
	bool taken;
};

static void keep(struct seen *e, const struct statx *s)
{
	e->mode = s->stx_mode;
	e->nlink = s->stx_nlink;
	e->uid = s->stx_uid;
	e->gid = s->stx_gid;
	e->dev_major = s->stx_dev_major;
	e->dev_minor = s->stx_dev_minor;
	e->rdev_major = s->stx_rdev_major;
	e->rdev_minor = s->stx_rdev_minor;
	e->ino = s->stx_ino;
	e->size = s->stx_size;
	e->mnt = s->stx_mnt_id;
	e->mtime = s->stx_mtime;
	e->ctime = s->stx_ctime;
	e->atime = s->stx_atime;
}

static void show(const struct seen *e, struct statx *s)
{
	memset(s, 0, sizeof(*s));
	s->stx_mode = e->mode;
	s->stx_nlink = e->nlink;
	s->stx_uid = e->uid;
	s->stx_gid = e->gid;
	s->stx_dev_major = e->dev_major;
	s->stx_dev_minor = e->dev_minor;
	s->stx_rdev_major = e->rdev_major;
	s->stx_rdev_minor = e->rdev_minor;
	s->stx_ino = e->ino;
	s->stx_size = e->size;
	s->stx_mnt_id = e->mnt;
	s->stx_mtime = e->mtime;
	s->stx_ctime = e->ctime;
	s->stx_atime = e->atime;
}

static struct dir *dir_new(const char *up, size_t uplen, const char *name)
{
	size_t n = strlen(name), at = uplen ? uplen + 1 : 0;
	struct dir *d = hf_alloc(sizeof(*d));

	if (!d)
		return NULL;
	d->len = at + n;
	d->rel = malloc(d->len + 1);
	if (!d->rel) {
		free(d);
		return NULL;
	}
	memcpy(d->rel, up, uplen);
	if (uplen)
		d->rel[uplen] = '/';
	memcpy(d->rel + at, name, n + 1);
	return d;
}

static size_t dir_bytes(const struct dir *d)
{
	return sizeof(*d) + d->len + d->names.bytes + d->names.n * sizeof(*d->e);
}

/* but for the directories in it, which are in the lists by themselves */
static void dir_free(struct dir *d)
{
	hf_dirnames_free(&d->names);
	free(d->e);
	free(d->rel);
	free(d);
}

/* With s->mu held; those that were found last first. */
static void wait_for(struct hf_scout *s, struct dir *d)
{
	d->state = WAITS;
	d->pnext = &s->wait;
	d->next = s->wait;
	if (d->next)
		d->next->pnext = &d->next;
	s->wait = d;
	d->pall = &s->all;
	d->all = s->all;
	if (d->all)
		d->all->pall = &d->all;
	s->all = d;
	pthread_cond_signal(&s->more);
}

/* with s->mu held: @d waits */
static void take(struct hf_scout *s, struct dir *d)
{
	*d->pnext = d->next;
	if (d->next)
		d->next->pnext = d->pnext;
	d->state = TAKEN;
	s->busy++;
}

/* With s->mu held: @d was looked at. */
static void put(struct hf_scout *s, struct dir *d, int ret)
{
	for (unsigned i = d->n; i-- > 0; )
		if (d->e[i].dir && !ret)
			wait_for(s, d->e[i].dir);
		else if (d->e[i].dir)
			dir_free(d->e[i].dir);
	if (ret) {
		hf_dirnames_free(&d->names);
		free(d->e);
		d->e = NULL;
		d->n = 0;
	}
	s->bytes += ret ? 0 : dir_bytes(d);
	s->stop |= ret || s->bytes > MEMORY;
	d->state = ret ? LEFT : SEEN;
	s->busy--;
	if (s->stop || (!s->wait && !s->busy))
		pthread_cond_broadcast(&s->more);
	pthread_cond_signal(&s->seen);
}

static int look(struct hf_scout *s, struct hf_dircur *cur, struct dir *d, struct hf_buf *rel)
{
	int fd = hf_dircur_get(cur, d->rel, d->len), ret;

	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return 0;	/* gone, or something else by now */
	ret = fd < 0 ? fd : hf_dirnames_read(s->t, fd, &d->names);
	if (ret || !d->names.n)
		return ret;
	d->e = malloc(d->names.n * sizeof(*d->e));
	if (!d->e)
		return -ENOMEM;
	for (unsigned i = 0; i < d->names.n && !ret; i++) {
		struct seen *e = &d->e[d->n];
		const char *name = d->names.name[i];
		struct hf_found f;

		rel->len = 0;
		hf_buf_put(rel, d->rel, d->len);
		if (d->len)
			hf_buf_u8(rel, '/');
		hf_buf_put(rel, name, strlen(name) + 1);
		if (rel->bad)
			return -ENOMEM;
		if (atomic_load_explicit(&s->off, memory_order_relaxed))
			return -ECANCELED;
		ret = hf_walk_look(s->t, (const char *)rel->p, rel->len - 1, fd, name, HF_WALK_LEFTOVERS, DT_UNKNOWN, &f);
		if (ret <= 0)
			continue;
		ret = 0;
		memset(e, 0, sizeof(*e));
		e->name = name;
		e->kind = f.kind;
		keep(e, &f.stx);
		if (f.descend) {
			e->dir = dir_new(d->rel, d->len, name);
			if (!e->dir)
				return -ENOMEM;
		}
		d->n++;
	}
	return ret;
}

static void *run(void *arg)
{
	struct hf_scout *s = arg;
	struct hf_buf rel = HF_BUF_INIT;
	struct hf_dircur cur;
	struct dir *d;
	int ret = hf_dircur_init(&cur, s->t);

	pthread_mutex_lock(&s->mu);
	while (!ret) {
		while (!s->wait && s->busy && !s->stop)
			pthread_cond_wait(&s->more, &s->mu);
		d = s->wait;
		if (!d || s->stop)
			break;
		take(s, d);
		pthread_mutex_unlock(&s->mu);
		ret = look(s, &cur, d, &rel);
		pthread_mutex_lock(&s->mu);
		put(s, d, ret);
	}
	pthread_mutex_unlock(&s->mu);
	hf_dircur_free(&cur);
	hf_buf_free(&rel);
	return NULL;
}

int hf_tree_scout(struct hf_tree *t)
{
	struct hf_scout *s;
	struct dir *d;

	if (t->scout || t->name)
		return 0;
	s = hf_alloc(sizeof(*s));
	d = dir_new("", 0, "");
	if (!s || !d) {
		free(s);
		if (d)
			dir_free(d);
		return -ENOMEM;
	}
	s->t = t;
	pthread_mutex_init(&s->mu, NULL);
	pthread_cond_init(&s->more, NULL);
	pthread_cond_init(&s->seen, NULL);
	s->top = d;
	wait_for(s, d);
	while (s->started < THREADS && !pthread_create(&s->thread[s->started], NULL, run, s))
		s->started++;
	t->scout = s;
	return 0;
}

static void end(struct hf_scout *s, bool stop)
{
	if (stop)
		atomic_store(&s->off, true);
	pthread_mutex_lock(&s->mu);
	s->stop |= stop;
	pthread_cond_broadcast(&s->more);
	pthread_mutex_unlock(&s->mu);
	while (s->started)
		pthread_join(s->thread[--s->started], NULL);
}

void hf_scout_rest(struct hf_scout *s)
{
	if (s)
		end(s, false);
}

void hf_scout_free(struct hf_scout *s)
{
	struct dir *d;

	if (!s)
		return;
	end(s, true);
	while ((d = s->all)) {
		s->all = d->all;
		dir_free(d);
	}
	pthread_cond_destroy(&s->seen);
	pthread_cond_destroy(&s->more);
	pthread_mutex_destroy(&s->mu);
	hf_dircur_free(&s->cur);
	hf_buf_free(&s->rel);
	free(s->lv);
	free(s);
}

void hf_tree_unscout(struct hf_tree *t)
{
	hf_scout_free(t->scout);
	t->scout = NULL;
}

struct hf_scout *hf_scout_take(struct hf_tree *t)
{
	struct hf_scout *s = t->scout;

	if (!s || s->taken)
		return NULL;
	s->taken = true;
	if (!hf_dircur_init(&s->cur, t))
		return s;
	hf_tree_unscout(t);
	return NULL;
}

/* What is in @d is known then. */
static int see(struct hf_scout *s, struct dir *d)
{
	int ret = 0;

	pthread_mutex_lock(&s->mu);
	while (d->state == TAKEN)
		pthread_cond_wait(&s->seen, &s->mu);
	if (d->state == WAITS)
		take(s, d);
	else if (d->state == LEFT)
		s->busy++;
	if (d->state != SEEN) {
		d->state = TAKEN;
		pthread_mutex_unlock(&s->mu);
		ret = look(s, &s->cur, d, &s->rel);
		pthread_mutex_lock(&s->mu);
		put(s, d, ret);
	}
	pthread_mutex_unlock(&s->mu);
	return ret;
}

/* all of it was given out */
static void leave(struct hf_scout *s)
{
	struct dir *d = s->lv[--s->depth].d;

	pthread_mutex_lock(&s->mu);
	*d->pall = d->all;
	if (d->all)
		d->all->pall = d->pall;
	s->bytes -= dir_bytes(d);
	pthread_mutex_unlock(&s->mu);
	dir_free(d);
}

static int enter(struct hf_scout *s, struct dir *d)
{
	if (s->depth == s->lvcap) {
		unsigned cap = s->lvcap ? 2 * s->lvcap : 16;
		void *p = realloc(s->lv, cap * sizeof(*s->lv));

		if (!p)
			return -ENOMEM;
		s->lv = p;
		s->lvcap = cap;
	}
	s->lv[s->depth].d = d;
	s->lv[s->depth].i = 0;
	s->lv[s->depth++].seen = false;
	return 0;
}

int hf_scout_next(struct hf_scout *s, const char **dir, size_t *len, const char **name, struct hf_found *f)
{
	struct dir *d;
	struct seen *e;
	int ret;

	if (s->top) {
		ret = enter(s, s->top);
		if (ret)
			return ret;
		s->top = NULL;
	}
	for (;;) {
		if (!s->depth)
			return 0;
		d = s->lv[s->depth - 1].d;
		ret = s->lv[s->depth - 1].seen ? 0 : see(s, d);
		if (ret)
			return ret;
		s->lv[s->depth - 1].seen = true;
		if (s->lv[s->depth - 1].i < d->n)
			break;
		leave(s);
	}
	e = &d->e[s->lv[s->depth - 1].i++];
	*dir = d->rel;
	*len = d->len;
	*name = e->name;
	f->kind = e->kind;
	f->descend = e->dir;
	show(e, &f->stx);
	ret = e->dir ? enter(s, e->dir) : 0;
	return ret ? ret : 1;
}

void hf_scout_skip(struct hf_scout *s)
{
	s->depth--;
}
