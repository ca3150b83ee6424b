// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A directory that is not there, made with the files in it: under a temporary name, where nobody looks for
 * them and they need none of their own. Then it gets its own, all at once. One that is left behind is
 * removed with what is in it, as temporary files are.
 */
#include "restore_int.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FEW 3u
#define MANY 1000u	/* so many are begun again, should it be killed */

static const char *name_in(const struct item *dir, const struct item *it)
{
	size_t n = strlen(dir->rel);

	return strncmp(it->rel, dir->rel, n) || it->rel[n] != '/' ? NULL : it->rel + n + 1;
}

/* files that go into the directory of item @at; they are told in @v */
static size_t files_of(const struct restore *r, size_t at, size_t *v)
{
	const struct item *dir = &r->items.e[at], *it;
	const char *name;
	size_t n = 0;

	if (dir->op != OP_MKDIR || dir->seen.ino)
		return 0;
	for (size_t i = at + 1; i < r->items.n && n < MANY; i++) {
		it = &r->items.e[i];
		name = name_in(dir, it);
		if (!name)
			break;
		if (it->op == OP_WRITE && !it->seen.ino && !strchr(name, '/'))
			v[n++] = i;
	}
	return n > FEW ? n : 0;
}

int hf_nest_order(struct restore *r)
{
	bool *done = calloc(r->items.n + 1, sizeof(*done));
	size_t n = 0;

	r->order = malloc((r->items.n + 1) * sizeof(*r->order));
	if (!done || !r->order) {
		free(done);
		return -ENOMEM;
	}
	/* what an interrupted one left takes room */
	for (size_t i = 0; i < r->items.n; i++) {
		done[i] = r->items.e[i].op == OP_LEFTOVER;
		if (done[i])
			r->order[n++] = i;
	}
	for (size_t i = 0; i < r->items.n; i++) {
		if (done[i])
			continue;
		r->order[n++] = i;
		r->items.e[i].nested = files_of(r, i, r->order + n);
		for (size_t k = 0; k < r->items.e[i].nested; k++)
			done[r->order[n++]] = true;
	}
	free(done);
	return 0;
}

static void empty(struct hf_tree *t, int dirfd, const char *tmp, int fd)
{
	struct hf_dirnames names;

	if (!hf_dirnames_read(t, fd, &names)) {
		for (unsigned i = 0; i < names.n; i++)
			unlinkat(fd, names.name[i], 0);
		hf_dirnames_free(&names);
	}
	unlinkat(dirfd, tmp, AT_REMOVEDIR);
}

/*
 * Who may write beside it could give such a name to a directory that is not his, and have it emptied. So one
 * that is ours tells by its mode, which he cannot set, and hardly any other has: sticky, though nobody else may write in it.
 */
#define OUR_MODE 01700

bool hf_nest_ours(const struct statx *s)
{
	return S_ISDIR(s->stx_mode) && s->stx_uid == geteuid() && (s->stx_mode & 01777) == OUR_MODE;
}

static bool ours(int fd)
{
	struct statx s;

	return !hf_fd_statx(fd, &s) && hf_nest_ours(&s);
}

int hf_nest_remove(struct hf_tree *t, int dirfd, const char *tmp)
{
	int fd = hf_open_dir(dirfd, tmp);

	if (fd < 0)
		return fd == -ENOENT || fd == -ESTALE || fd == -EXDEV ? 0 : fd;
	if (ours(fd))
		empty(t, dirfd, tmp, fd);
	close(fd);
	return 0;
}

/* the directory: its descriptor, or -ENOENT where that is not to be had */
static int begin(struct restore *r, int dirfd, char tmp[HF_TMP_LEN + 1])
{
	int fd;

	hf_tmp_name_make(r->t, tmp);
	if (mkdirat(dirfd, tmp, OUR_MODE))
		return -ENOENT;
	fd = hf_open_dir(dirfd, tmp);
	if (fd >= 0 && ours(fd))
		return fd;
	if (fd >= 0)
		close(fd);
	unlinkat(dirfd, tmp, AT_REMOVEDIR);
	return -ENOENT;
}

static bool is_at(int dirfd, const char *name, int fd)
{
	struct statx a, b;

	return !hf_tree_statx(dirfd, name, &a) && !hf_fd_statx(fd, &b) && a.stx_ino == b.stx_ino &&
	       a.stx_dev_major == b.stx_dev_major && a.stx_dev_minor == b.stx_dev_minor;
}

/* none of it was written; what was read ahead for it is used up */
static void undo(struct restore *r, const struct item *dir, const size_t *v, const struct hf_restore_stat *was)
{
	for (size_t i = 0; i < dir->nested; i++) {
		memset(&r->items.e[v[i]].seen, 0, sizeof(r->items.e[v[i]].seen));
		r->items.e[v[i]].done = false;
	}
	*r->st = *was;
	r->used_up = dir->nested;
}

int hf_nest_write(struct restore *r, struct item *dir, const size_t *v)
{
	const struct hf_restore_stat was = *r->st;
	char tmp[HF_TMP_LEN + 1];
	const char *name;
	int dirfd, fd, ret;

	if (r->no_nest)
		return 1;
	dirfd = hf_dircur_parent(&r->cur, dir->rel, &name);
	if (dirfd < 0)
		return 1;
	ret = hf_seam("restore.write");
	if (ret)
		return hf_rst_fail(r, ret, "cannot make", dir->rel);
	fd = begin(r, dirfd, tmp);
	if (fd < 0)
		return 1;
	r->born_in = NULL;
	for (size_t i = 0; !ret && i < dir->nested; i++) {
		struct item *it = &r->items.e[v[i]];

		ret = hf_rst_step(r);
		r->content = ret ? NULL : hf_fetch_next(r->fetch);
		if (!ret)
			ret = hf_rst_write_in(r, it, fd, name_in(dir, it));
		r->content = NULL;
		hf_fetch_done(r->fetch);
	}
	if (!ret && (ret = hf_seam("restore.rename")))
		hf_rst_fail_at(r, ret, "cannot make", dirfd, name, dir->rel);
	if (!ret && renameat2(dirfd, tmp, dirfd, name, RENAME_NOREPLACE)) {
		/* there is something by now, or this cannot be had here: the usual way */
		r->no_nest |= errno != EEXIST;
		ret = 1;
	}
	/* somebody who may write beside it may have put another one in its place */
	if (!ret && !is_at(dirfd, name, fd))
		ret = hf_rst_fail(r, -ESTALE, "cannot make", dir->rel);
	if (!ret)
		r->st->written++;
	else
		empty(r->t, dirfd, tmp, fd);
	if (ret == 1)
		undo(r, dir, v, &was);
	/* from now on it is found by its name, which another one may have by then */
	r->born_in = NULL;
	close(fd);
	return ret;
}
