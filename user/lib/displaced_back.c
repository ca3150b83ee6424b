// SPDX-License-Identifier: LGPL-2.1-or-later
/* Kept-aside copies brought back: into their tree, or into another directory. */
#include "displaced_int.h"
#include <stdlib.h>
#include <unistd.h>

struct named { char *rel; struct hf_attr a; uint64_t ino; };
struct names { struct named *e; size_t n, cap; };

struct back {
	struct hf_tree *t;
	const char *want;		/* it and what is below it; NULL: all */
	struct hf_displaced *keep;	/* what is overwritten by it; may be NULL */
	struct hf_err *err;
	struct hf_dircur cur, other;	/* other: of the file that is linked to */
	uint64_t count;
	/* the entry that is being read */
	char *rel;
	struct hf_attr a;
	char tmp[HF_TMP_LEN + 1];
	int fd;
	uint64_t off;
	struct names dirs;		/* get their attributes last */
	struct names above;		/* those of the set above @want, should they have to be made */
	struct names linked;		/* of files with several names the one that was brought back */
};

static int push(struct names *l, struct named e)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		void *p = realloc(l->e, cap * sizeof(*l->e));

		if (!p)
			return -ENOMEM;
		l->e = p;
		l->cap = cap;
	}
	l->e[l->n++] = e;
	return 0;
}

/* the entry that is being read goes into @l */
static int note(struct back *b, struct names *l, uint64_t ino)
{
	int ret = push(l, (struct named){ b->rel, b->a, ino });

	if (!ret) {
		b->rel = NULL;
		memset(&b->a, 0, sizeof(b->a));
	}
	return ret;
}

static void names_free(struct names *l)
{
	while (l->n) {
		free(l->e[--l->n].rel);
		hf_attr_free(&l->e[l->n].a);
	}
	free(l->e);
}

static int fail(struct back *b, int ret, const char *what)
{
	return hf_tree_fail(b->t, b->err, ret, what, b->rel);
}

/* directory @rel was made: it is to be as the set has it */
static int made(struct back *b, const char *rel)
{
	for (size_t i = 0; i < b->above.n; i++) {
		struct named e = b->above.e[i];

		if (strcmp(e.rel, rel))
			continue;
		if (push(&b->dirs, e))
			return -ENOMEM;
		b->above.e[i] = b->above.e[--b->above.n];
		return 0;
	}
	return 0;
}

/* the directory of the entry, made where it is missing */
static int parent(struct back *b, const char **name)
{
	int fd = hf_dircur_parent(&b->cur, b->rel, name);

	for (const char *s = b->rel; fd == -ENOENT && (s = strchr(s, '/')); s++) {
		char *up = strndup(b->rel, s - b->rel);
		const char *last;
		int dir = up ? hf_dircur_parent(&b->cur, up, &last) : -ENOMEM;

		if (dir >= 0 && !mkdirat(dir, last, 0700))
			dir = made(b, up);
		else if (dir >= 0 && errno != EEXIST)
			dir = -errno;
		free(up);
		if (dir < 0)
			return dir;
	}
	return fd == -ENOENT ? hf_dircur_parent(&b->cur, b->rel, name) : fd;
}

static void drop(struct back *b)
{
	const char *name;
	int dirfd;

	if (b->fd >= 0) {
		close(b->fd);
		dirfd = hf_dircur_parent(&b->cur, b->rel, &name);
		if (dirfd >= 0)
			unlinkat(dirfd, b->tmp, 0);
	}
	b->fd = -1;
	free(b->rel);
	b->rel = NULL;
	hf_attr_free(&b->a);
}

/* what is there now goes the same way */
static int keep(struct back *b)
{
	int ret = b->keep ? hf_displaced_add(b->keep, b->t, b->rel, b->err) : 0;

	hf_displaced_flush(b->keep);
	return ret;
}

static int begin_dir(struct back *b)
{
	const char *name = "";
	int dirfd = *b->rel ? parent(b, &name) : b->t->root, ret = 0;
	struct statx stx;

	if (dirfd < 0)
		return fail(b, dirfd, "cannot open");
	/* the restore made a file of it */
	if (*name && !hf_tree_statx(dirfd, name, &stx) && !S_ISDIR(stx.stx_mode)) {
		ret = keep(b);
		if (!ret && unlinkat(dirfd, name, 0) && errno != ENOENT)
			ret = fail(b, -errno, "cannot remove");
		if (ret)
			return ret;
	}
	if (*name && mkdirat(dirfd, name, 0700))
		ret = -errno;
	if (ret && ret != -EEXIST)
		return fail(b, ret, "cannot make");
	/* of one that is there the attributes are overwritten */
	if (!*name || ret) {
		ret = keep(b);
		dirfd = ret ? ret : hf_dircur_get(&b->cur, b->rel, strlen(b->rel));
		if (dirfd < 0)
			return ret ? ret : fail(b, dirfd, "cannot open");
		ret = hf_attr_tighten(b->t, dirfd, &b->a, b->rel, b->err);
		if (ret)
			return ret;
	}
	ret = note(b, &b->dirs, 0);
	b->count += !ret;
	return ret;
}

static int begin(struct back *b, const uint8_t *p, size_t n)
{
	uint32_t rlen, alen;
	const uint8_t *rel, *attr;
	const char *name;
	struct hf_rd rd;
	int ret, dirfd;

	drop(b);
	hf_rd_init(&rd, p + 1, n - 1);
	rel = hf_rd_blob(&rd, &rlen);
	attr = hf_rd_blob(&rd, &alen);
	if (!rel || !attr || memchr(rel, 0, rlen))
		return -EBADMSG;
	b->rel = strndup((const char *)rel, rlen);
	if (!b->rel)
		return -ENOMEM;
	ret = hf_attr_decode(attr, alen, &b->a);
	if (ret || !hf_tree_mine(b->t, b->rel) || (b->want && !hf_rel_below(b->rel, b->want))) {
		if (!ret && S_ISDIR(b->a.mode) && hf_tree_mine(b->t, b->rel) && hf_rel_below(b->want, b->rel))
			ret = note(b, &b->above, 0);
		drop(b);
		return ret;
	}
	/* before anything is made: whoever owns it must be known here */
	ret = hf_attr_here(b->t, &b->a, b->rel, b->err);
	if (ret)
		return ret;
	if (S_ISDIR(b->a.mode))
		return begin_dir(b);
	dirfd = parent(b, &name);
	if (dirfd < 0)
		return fail(b, dirfd, "cannot open");
	b->off = 0;
	b->fd = hf_tmp_make(b->t, dirfd, b->tmp, &b->a);
	return b->fd < 0 ? fail(b, b->fd, "cannot create") : 0;
}

/* its file was brought back under another name, which it joins: 1, 0, -errno */
static int join(struct back *b, int dirfd)
{
	const struct named *e = NULL;
	struct statx stx;
	const char *from;
	int fd;

	/* what was written between the two looks makes them two files */
	for (size_t i = 0; b->a.link && !e && i < b->linked.n; i++)
		if (hf_attr_same(&b->linked.e[i].a, &b->a))
			e = &b->linked.e[i];
	fd = e ? hf_dircur_parent(&b->other, e->rel, &from) : -1;
	if (fd < 0 || hf_tree_statx(fd, from, &stx) || stx.stx_ino != e->ino)
		return 0;
	if (unlinkat(dirfd, b->tmp, 0) || linkat(fd, from, dirfd, b->tmp, 0))
		return fail(b, -errno, "cannot make a hard link");
	/* somebody may have exchanged it in between */
	if (!hf_tree_statx(dirfd, b->tmp, &stx) && stx.stx_ino == e->ino)
		return 1;
	unlinkat(dirfd, b->tmp, 0);
	return fail(b, -ESTALE, "cannot make a hard link");
}

static int end(struct back *b)
{
	struct statx stx;
	const char *name;
	int dirfd, joins, ret;

	/* where nothing was written it reads as zeros */
	if (S_ISREG(b->a.mode) && ftruncate(b->fd, b->off))
		return fail(b, -errno, "cannot write");
	ret = hf_attr_apply(b->t, b->fd, !S_ISREG(b->a.mode), true, &b->a, b->rel, b->err);
	if (ret)
		return ret;
	ret = keep(b);
	dirfd = ret ? ret : hf_dircur_parent(&b->cur, b->rel, &name);
	if (dirfd < 0)
		return fail(b, dirfd, "cannot open");
	joins = join(b, dirfd);
	if (joins < 0)
		return joins;
	if (renameat(dirfd, b->tmp, dirfd, name))
		return fail(b, -errno, "cannot replace");
	/* two names of one file: then the rename does nothing */
	if (joins)
		unlinkat(dirfd, b->tmp, 0);
	ret = hf_fd_statx(b->fd, &stx);
	close(b->fd);
	b->fd = -1;
	b->count++;
	if (!ret && b->a.link && !joins)
		ret = note(b, &b->linked, stx.stx_ino);
	drop(b);
	return ret;
}

static int frame(void *ctx, const uint8_t *p, size_t n, uint8_t tag)
{
	struct back *b = ctx;
	int ret = 0;

	if (p[0] == 'E')
		return begin(b, p, n);
	if (b->fd < 0)
		return 0;	/* of an entry that nobody asked for */
	if (p[0] == 'D') {
		if (!hf_displaced_zeros(p, n))
			ret = hf_pwrite_full(b->fd, p + 1, n - 1, b->off);
		b->off += n - 1;
		return ret ? fail(b, ret, "cannot write") : 0;
	}
	return p[0] == 'Z' ? end(b) : 0;
}

int hf_displaced_restore(const char *dir, const uint8_t key[32], const char *resource, const char *id,
			 const char *rel, struct hf_tree *to, struct hf_displaced *keep, uint64_t *count,
			 struct hf_err *err)
{
	struct back b = { .t = to, .want = rel, .keep = keep, .err = err, .fd = -1 };
	char *name = hf_displaced_escape(resource), *path = name ? hf_strf("%s/%s", dir, name) : NULL;
	int ret = path ? hf_dircur_init(&b.cur, to) : -ENOMEM, dirfd = -1;

	free(name);
	if (!ret)
		ret = hf_dircur_init(&b.other, to);
	if (!ret) {
		hf_ids_begin(to, true);
		dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ret = dirfd < 0 || !hf_displaced_when(id) ? -ENOENT : 0;
	}
	if (!ret)
		ret = hf_displaced_each_frame(dirfd, id, key, frame, &b);
	drop(&b);
	for (size_t i = b.dirs.n; !ret && i-- > 0; ) {
		struct named *e = &b.dirs.e[i];
		int fd = hf_dircur_get(&b.cur, e->rel, strlen(e->rel));

		ret = fd < 0 ? hf_tree_fail(to, err, fd, "cannot open", e->rel) :
			hf_attr_apply(to, fd, false, false, &e->a, e->rel, err);
	}
	if (!ret && syncfs(to->root))
		ret = -errno;
	if (!ret && !b.count)
		ret = -ENOENT;
	if (ret && err && err->exit == HF_OK && !err->msg[0])
		hf_fail(err, ret == -ENOENT ? HF_NOTFOUND : HF_OK, ret, ret == -ENOENT ?
			"kept-aside set %s/%s holds no such entry" : "cannot read kept-aside set %s/%s", path ? path : dir, id);
	*count = b.count;
	names_free(&b.dirs);
	names_free(&b.above);
	names_free(&b.linked);
	hf_dircur_free(&b.cur);
	hf_dircur_free(&b.other);
	if (dirfd >= 0)
		close(dirfd);
	free(path);
	return ret;
}
