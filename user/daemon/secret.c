// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What makes a crypto checkpoint: a file, or a tree, that others than its owner and group
 * cannot get at. A directory that others cannot search keeps from them all that is below it,
 * whatever the modes there: that is how a GnuPG home and a token directory do it. What leads
 * to the checkpoint itself does not count, because it is not restored along with it.
 */
#include "resource.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define OTHERS_READ 0004
#define OTHERS_WRITE 0002
#define OTHERS_SEARCH 0001

static const char *open_to_others(const struct stat *st)
{
	/* of a directory the names may be known */
	if (S_ISDIR(st->st_mode))
		return (st->st_mode & OTHERS_WRITE) && (st->st_mode & OTHERS_SEARCH) ? "changed" : NULL;
	if (!S_ISREG(st->st_mode))
		return NULL;
	return st->st_mode & OTHERS_READ ? "read" : st->st_mode & OTHERS_WRITE ? "changed" : NULL;
}

static int refuse(const char *path, const char *rel, const struct stat *st, const char *what, struct hf_err *err)
{
	char *r = rel ? hf_printable(rel, strlen(rel)) : NULL;
	int ret = hf_fail(err, HF_REFUSED, -EBUSY,
			  "%s%s%s can be %s by everybody (mode %04o), so it is no secret; `chmod o=` it first",
			  path, rel ? "/" : "", r ? r : "", what, st->st_mode & 07777);

	free(r);
	return ret;
}

/* @dir is consumed; @rel is what leads to it */
static int look(const char *path, const char *rel, int dir, struct hf_err *err)
{
	DIR *d = fdopendir(dir);
	struct dirent *e;
	const char *what;
	struct stat st;
	char *below;
	int ret = 0, fd;

	if (!d) {
		close(dir);
		return hf_fail(err, HF_FAILED, -errno, "%s cannot be looked through: %s", path, strerror(errno));
	}
	while (!ret && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		below = hf_strf("%s%s%s", rel, *rel ? "/" : "", e->d_name);
		what = open_to_others(&st);
		if (!below) {
			ret = hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
		} else if (what) {
			ret = refuse(path, below, &st, what, err);
		} else if (S_ISDIR(st.st_mode) && (st.st_mode & OTHERS_SEARCH)) {
			fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (fd >= 0)
				ret = look(path, below, fd, err);
			else if (errno != ENOENT)
				ret = hf_fail(err, HF_FAILED, -errno, "%s/%s cannot be looked through: %s", path, below,
					      strerror(errno));
		}
		free(below);
	}
	closedir(d);
	return ret;
}

int secret_check(struct ckpt *c, struct hf_err *err)
{
	const char *name = hf_tree_name(c->tree), *what;
	struct stat st;
	int fd;

	if (name ? fstatat(hf_tree_fd(c->tree), name, &st, AT_SYMLINK_NOFOLLOW) : fstat(hf_tree_fd(c->tree), &st))
		return hf_fail(err, HF_REFUSED, -EBUSY,
			       "%s is not there; a crypto checkpoint is added where its key lies", c->path);
	what = open_to_others(&st);
	if (what)
		return refuse(c->path, NULL, &st, what, err);
	if (!S_ISDIR(st.st_mode) || !(st.st_mode & OTHERS_SEARCH))
		return 0;
	fd = openat(hf_tree_fd(c->tree), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? hf_fail(err, HF_FAILED, -errno, "%s cannot be looked through: %s", c->path, strerror(errno)) :
			look(c->path, "", fd, err);
}
