// SPDX-License-Identifier: LGPL-2.1-or-later
/* Going through a tree: its names in the order of a generation, and the two side by side. */
#include "tree_int.h"
#include <dirent.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct hf_walk_level {
	struct hf_dirnames names;
	unsigned i;
	size_t rel_len;		/* of the directory's own rel */
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct dent64 {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

void hf_dirnames_free(struct hf_dirnames *n)
{
	free(n->arena);
	free(n->name);
	memset(n, 0, sizeof(*n));
}

int hf_dirnames_read(struct hf_tree *t, int fd, struct hf_dirnames *out)
{
	const size_t chunk = 32768;
	uint8_t *buf = malloc(chunk);
	size_t len = 0, cap = 0;
	unsigned n = 0;
	int ret = 0;

	memset(out, 0, sizeof(*out));
	if (!buf)
		return -ENOMEM;
	if (lseek(fd, 0, SEEK_SET) < 0) {
		ret = -errno;
		goto out;
	}
	for (;;) {
		long got = syscall(SYS_getdents64, fd, buf, chunk);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			ret = errno == ENOENT ? 0 : -errno;	/* removed while open: empty */
		if (got <= 0)
			break;
		for (long at = 0; at < got; ) {
			const struct dent64 *d = (const void *)(buf + at);
			size_t l = strlen(d->name) + 1;

			at += d->reclen;
			if (d->name[0] == '.' && (l == 2 || (l == 3 && d->name[1] == '.')))
				continue;
			/* beside a single file only its own leftovers matter */
			if (t->name && strcmp(d->name, t->name) && !hf_tmp_name(t, d->name))
				continue;
			if (len + l + 1 > cap) {
				char *p = realloc(out->arena, cap = 2 * (len + l + 1) + 1024);

				if (!p) {
					ret = -ENOMEM;
					goto out;
				}
				out->arena = p;
			}
			out->arena[len++] = d->type;
			memcpy(out->arena + len, d->name, l);
			len += l;
			n++;
		}
	}
	if (ret || !n)
		goto out;
	out->name = malloc(n * sizeof(char *));
	if (!out->name) {
		ret = -ENOMEM;
		goto out;
	}
	for (char *p = out->arena + 1; out->n < n; p += strlen(p) + 2)
		out->name[out->n++] = p;
	qsort(out->name, n, sizeof(char *), by_name);
	out->bytes = cap + n * sizeof(char *);
out:
	free(buf);
	if (ret)
		hf_dirnames_free(out);
	return ret;
}

static void drop_level(struct hf_walk *w)
{
	hf_dirnames_free(&w->lv[--w->depth].names);
}

/* into the directory that w->rel names */
static int enter(struct hf_walk *w)
{
	struct hf_walk_level *lv;
	int fd, ret;

	fd = hf_dircur_get(&w->cur, w->rel, w->len);
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return 0;	/* gone, or something else by now */
	if (fd < 0)
		return fd;
	if (w->depth == w->lvcap) {
		unsigned cap = w->lvcap ? 2 * w->lvcap : 16;
		void *p = realloc(w->lv, cap * sizeof(*w->lv));

		if (!p)
			return -ENOMEM;
		w->lv = p;
		w->lvcap = cap;
	}
	lv = &w->lv[w->depth++];
	memset(lv, 0, sizeof(*lv));
	lv->rel_len = w->len;
	ret = hf_dirnames_read(w->t, fd, &lv->names);
	if (ret)
		drop_level(w);
	return ret;
}

static int set_rel(struct hf_walk *w, size_t dirlen, const char *name)
{
	size_t n = strlen(name), at = dirlen ? dirlen + 1 : 0;

	if (at + n + 1 > w->cap) {
		size_t cap = 2 * (at + n + 1);
		char *p = realloc(w->rel, cap);

		if (!p)
			return -ENOMEM;
		w->rel = p;
		w->cap = cap;
	}
	if (dirlen)
		w->rel[dirlen] = '/';
	memcpy(w->rel + at, name, n + 1);
	w->len = at + n;
	w->name = w->rel + at;
	return 0;
}

int hf_walk_init(struct hf_walk *w, struct hf_tree *t, const char *rel, unsigned how)
{
	memset(w, 0, sizeof(*w));
	w->t = t;
	w->how = how;
	w->cap = 256 + strlen(rel);
	w->rel = malloc(w->cap);
	if (!w->rel)
		return -ENOMEM;
	strcpy(w->rel, rel);
	w->len = strlen(rel);
	/* what is looked at ahead is that, and is good for one time */
	w->scout = (how & HF_WALK_LEFTOVERS) && !w->len ? hf_scout_take(t) : NULL;
	return hf_dircur_init(&w->cur, t);
}

void hf_walk_free(struct hf_walk *w)
{
	if (w->scout)
		hf_tree_unscout(w->t);
	while (w->depth)
		drop_level(w);
	free(w->lv);
	free(w->rel);
	w->rel = NULL;
	hf_dircur_free(&w->cur);
}

/* what @name in @dirfd is, @lazy: of which a regular file is all that need be known; 1 if it is to be given out */
static int classify(struct hf_tree *t, int dirfd, const char *name, bool lazy, struct hf_found *f)
{
	int ret;

	f->kind = HF_WALK_ENTRY;
	f->descend = false;
	if (lazy) {
		memset(&f->stx, 0, sizeof(f->stx));
		f->stx.stx_mode = S_IFREG;
		return 1;
	}
	ret = hf_tree_statx(dirfd, name, &f->stx);
	if (ret == -ENOENT)
		return 0;
	if (ret)
		return ret;
	if (hf_is_mount(t, &f->stx)) {
		f->kind = HF_WALK_MOUNT;
		return 1;
	}
	f->descend = S_ISDIR(f->stx.stx_mode);
	return 1;
}

/* @out: what it is left alone as */
static bool left_alone(const struct hf_found *f, unsigned out)
{
	return out & (S_ISDIR(f->stx.stx_mode) ? HF_OUT_DIR : HF_OUT_FILE);
}

int hf_walk_look(struct hf_tree *t, const char *rel, size_t len, int dirfd, const char *name, unsigned how,
		 unsigned char type, struct hf_found *f)
{
	bool tmp = hf_tmp_name(t, name);
	unsigned out;
	int ret;

	if (tmp && !(how & (HF_WALK_LEFTOVERS | HF_WALK_RESERVED)))
		return 0;
	/* not even looked at, if whatever it is it is left alone */
	out = tmp ? 0 : hf_tree_out_name(t, rel, len);
	if (out == HF_OUT)
		return 0;
	ret = classify(t, dirfd, name, (how & HF_WALK_LAZY) && type == DT_REG, f);
	if (ret <= 0 || left_alone(f, out))
		return ret < 0 ? ret : 0;
	/* goes with the next restore: it is in nobody's way */
	if (tmp && !(how & HF_WALK_LEFTOVERS) && (!S_ISDIR(f->stx.stx_mode) || hf_nest_ours(&f->stx)))
		return 0;
	if (tmp) {
		f->descend = false;
		f->kind = HF_WALK_LEFTOVER;
	}
	return 1;
}

/* the entry that the walk begins with */
static int start(struct hf_walk *w)
{
	const char *name;
	unsigned out;
	int fd, ret;

	w->started = true;
	if (w->t->name && !w->len) {
		/* a single file: its directory is no entry */
		if (w->how & HF_WALK_LEFTOVERS)
			return enter(w);
		if ((ret = set_rel(w, 0, w->t->name)))
			return ret;
	}
	if (!w->len) {
		w->name = w->rel;
		w->dirfd = w->t->root;
		w->at.kind = HF_WALK_ENTRY;
		w->at.descend = true;
		ret = hf_fd_statx(w->t->root, &w->at.stx);
		return ret ? ret : 1;
	}
	out = hf_tree_out(w->t, w->rel);
	if (out == HF_OUT)
		return 0;
	fd = hf_dircur_parent(&w->cur, w->rel, &name);
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return 0;
	if (fd < 0)
		return fd;
	w->dirfd = fd;
	w->name = name;
	ret = classify(w->t, fd, name, false, &w->at);
	return ret == 1 && left_alone(&w->at, out) ? 0 : ret;
}

/* as it was seen by those who went ahead */
static int next_seen(struct hf_walk *w)
{
	const char *dir, *name;
	size_t len;
	int ret;

	ret = hf_scout_next(w->scout, &dir, &len, &name, &w->at);
	if (ret != 1)
		return ret;
	if (len >= w->cap) {
		char *p = realloc(w->rel, 2 * len);

		if (!p)
			return -ENOMEM;
		w->rel = p;
		w->cap = 2 * len;
	}
	memcpy(w->rel, dir, len);
	ret = set_rel(w, len, name);
	w->dirfd = -1;
	return ret ? ret : 1;
}

void hf_walk_skip(struct hf_walk *w)
{
	if (w->at.descend && w->scout && w->started && w->len)
		hf_scout_skip(w->scout);
	w->at.descend = false;
}

int hf_walk_next(struct hf_walk *w)
{
	int ret;

	if (!w->started) {
		ret = start(w);
		if (ret)
			return ret;
	} else if (w->scout) {
		return next_seen(w);
	} else if (w->at.descend) {
		w->at.descend = false;
		ret = enter(w);
		if (ret)
			return ret;
	}
	while (w->depth) {
		struct hf_walk_level *lv = &w->lv[w->depth - 1];

		if (lv->i == lv->names.n) {
			drop_level(w);
			continue;
		}
		const char *name = lv->names.name[lv->i++];

		ret = set_rel(w, lv->rel_len, name);
		if (ret)
			return ret;
		w->dirfd = hf_dircur_get(&w->cur, w->rel, lv->rel_len);
		if (w->dirfd == -ENOENT || w->dirfd == -ENOTDIR || w->dirfd == -ELOOP) {
			lv->i = lv->names.n;	/* the directory went away */
			continue;
		}
		if (w->dirfd < 0)
			return w->dirfd;
		ret = hf_walk_look(w->t, w->rel, w->len, w->dirfd, w->name, w->how,
				   name[-1], &w->at);
		if (ret)
			return ret;
	}
	return 0;
}

/* *@found: what it is, malloc'ed; may be NULL */
static int holds(struct hf_tree *t, const char *rel, char **found)
{
	struct hf_walk w;
	int ret;

	/* excluded names are not given out: look at every name, without exclusion */
	struct hf_patterns *exclude = t->exclude;

	hf_scout_rest(t->scout);
	t->exclude = NULL;
	ret = hf_walk_init(&w, t, rel, HF_WALK_RESERVED);
	while (!ret && (ret = hf_walk_next(&w)) == 1) {
		ret = 0;
		t->exclude = exclude;
		bool alone = w.at.kind == HF_WALK_MOUNT || hf_left_alone(t, w.at.stx.stx_mode) ||
			     hf_tree_excluded(t, w.rel, w.at.stx.stx_mode) ||
			     hf_tree_unsaid(t, w.rel, w.at.stx.stx_mode);
		t->exclude = NULL;
		if (alone) {
			if (found)
				*found = strdup(w.rel);
			ret = 1;
			break;
		}
	}
	t->exclude = exclude;
	hf_walk_free(&w);
	return ret;
}

int hf_tree_holds(struct hf_tree *t, const char *rel)
{
	return holds(t, rel, NULL);
}

int hf_tree_holds_next(struct hf_tree *t, const char *rel, struct hf_holds *h)
{
	int ret;

	if (h->found && hf_rel_below(h->found, rel))
		return 1;
	if (h->none && hf_rel_below(rel, h->none))
		return 0;
	free(h->found);
	h->found = NULL;
	ret = holds(t, rel, &h->found);
	if (!ret) {
		free(h->none);
		h->none = strdup(rel);
	}
	return ret;
}

void hf_holds_free(struct hf_holds *h)
{
	free(h->none);
	free(h->found);
}

/* tree and generation side by side */

struct merge {
	struct hf_tree *t;
	struct hf_walk w;
	bool have, end;
	const char *top;
	char *alone;		/* a mount point: what is known below it is not there, nor missing */
	struct hf_buf in;	/* a directory that is not left alone, with what is above it */
	struct hf_buf copy;
	int (*fn)(void *ctx, const struct hf_pair *p);
	void *ctx;
	int walk_err;
};

static int peek(struct merge *m)
{
	int ret;

	if (m->have || m->end)
		return 0;
	ret = hf_walk_next(&m->w);
	if (ret < 0) {
		m->walk_err = ret;
		return ret;
	}
	m->have = ret;
	m->end = !ret;
	return 0;
}

static int give(struct merge *m, const char *rel, bool local, const struct hf_known *k)
{
	struct hf_pair p = { .rel = rel, .known = k, .dirfd = -1, .kind = HF_WALK_ENTRY };

	if (local && !k && m->t->exclude_too && m->w.at.kind == HF_WALK_ENTRY &&
	    hf_tree_unsaid(m->t, rel, m->w.at.stx.stx_mode)) {
		hf_walk_skip(&m->w);
		m->have = false;
		return 0;
	}
	if (local) {
		p.name = m->w.name;
		p.dirfd = m->w.dirfd;
		p.cur = &m->w.cur;
		p.kind = m->w.at.kind;
		p.stx = &m->w.at.stx;
		m->have = false;
		if (p.kind == HF_WALK_MOUNT) {
			free(m->alone);
			m->alone = strdup(rel);
			if (!m->alone)
				return -ENOMEM;
		}
	} else if (m->alone && hf_rel_below(rel, m->alone)) {
		p.kind = HF_WALK_MOUNT;
	}
	return m->fn(m->ctx, &p);
}

/* What follows in order mostly lies in the same directory, which is then known to be in. */
static bool known_out(struct merge *m, const char *rel, const struct hf_known *k)
{
	const char *name = strrchr(rel, '/');
	size_t n = name ? name - rel : 0;
	unsigned out;

	if (m->in.len == n + 1 && !memcmp(m->in.p, rel, n)) {
		out = hf_tree_out_name(m->t, rel, strlen(rel));
	} else {
		out = hf_tree_out(m->t, rel);
		m->in.len = 0;
		if (out != HF_OUT) {
			hf_buf_put(&m->in, rel, n);
			hf_buf_u8(&m->in, 0);
		}
	}
	return out & (S_ISDIR(hf_attr_mode(k->attr, k->attrlen)) ? HF_OUT_DIR : HF_OUT_FILE);
}

static int on_known(void *ctx, const char *rel, const struct hf_known *known)
{
	struct merge *m = ctx;
	struct hf_known k = *known;
	size_t n;
	int ret;

	if (!hf_tree_mine(m->t, rel))
		return m->t->name ? 0 : -EBADMSG;
	if (!hf_rel_below(rel, m->top) || known_out(m, rel, known))
		return 0;
	ret = peek(m);
	if (ret)
		return ret;
	/* puts for what comes before would invalidate it */
	n = strlen(rel) + 1;
	m->copy.len = 0;
	hf_buf_put(&m->copy, rel, n);
	hf_buf_put(&m->copy, known->attr, known->attrlen);
	if (m->copy.bad)
		return -ENOMEM;
	rel = (const char *)m->copy.p;
	k.attr = m->copy.p + n;
	while (m->have) {
		int c = hf_rel_cmp(m->w.rel, rel);

		if (c > 0)
			break;
		ret = c ? give(m, m->w.rel, true, NULL) : give(m, rel, true, &k);
		if (ret || !c)
			return ret;
		ret = peek(m);
		if (ret)
			return ret;
	}
	return give(m, rel, false, &k);
}

int hf_pair_dir(const struct hf_pair *p)
{
	const char *name;

	return p->dirfd < 0 && p->cur ? hf_dircur_parent(p->cur, p->rel, &name) : p->dirfd;
}

int hf_merge(struct hf_tree *t, const struct hf_tree_db *db, const char *rel, unsigned how,
	     int (*fn)(void *ctx, const struct hf_pair *p), void *ctx, struct hf_err *err)
{
	struct merge m = { .t = t, .top = rel, .in = HF_BUF_INIT, .fn = fn, .ctx = ctx };
	int ret;

	ret = hf_walk_init(&m.w, t, rel, how);
	if (!ret)
		ret = db->each(db->arg, rel, on_known, &m);
	while (!ret) {
		ret = peek(&m);
		if (ret || !m.have)
			break;
		ret = give(&m, m.w.rel, true, NULL);
	}
	if (m.walk_err)
		hf_tree_fail(t, err, m.walk_err, "cannot read", m.w.rel ? m.w.rel : "");
	else if (ret == -EBADMSG && err && err->exit == HF_OK)
		hf_fail(err, HF_OK, ret, "%s: the generation has a malformed name or is damaged", t->path);
	free(m.alone);
	hf_buf_free(&m.copy);
	hf_buf_free(&m.in);
	hf_walk_free(&m.w);
	return ret;
}
