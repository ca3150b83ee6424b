// SPDX-License-Identifier: LGPL-2.1-or-later
/* Attributes of local files: reading them, comparing them, applying them. */
#include "tree_int.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

static bool xattr_kept(const char *name)
{
	/* evm and ima seal one inode of one machine: elsewhere they are wrong */
	if (!strcmp(name, "security.evm") || !strcmp(name, "security.ima"))
		return false;
	return !strncmp(name, "user.", 5) || !strncmp(name, "security.", 9) ||
	       !strncmp(name, "trusted.", 8) || !strcmp(name, ACL_ACCESS) ||
	       !strcmp(name, ACL_DEFAULT);
}

static int by_xname(const void *a, const void *b)
{
	return strcmp(((const struct hf_xattr *)a)->name, ((const struct hf_xattr *)b)->name);
}

/* @fd for the f-calls; else @path, of which the last component is not followed if @nofollow */
struct xref {
	int fd;
	char path[64 + NAME_MAX];
	bool nofollow;
};

static ssize_t x_list(const struct xref *x, char *buf, size_t n)
{
	ssize_t r = x->fd >= 0 ? flistxattr(x->fd, buf, n) :
		    x->nofollow ? llistxattr(x->path, buf, n) : listxattr(x->path, buf, n);

	return r < 0 ? -errno : r;
}

static ssize_t x_get(const struct xref *x, const char *name, void *buf, size_t n)
{
	ssize_t r = x->fd >= 0 ? fgetxattr(x->fd, name, buf, n) :
		    x->nofollow ? lgetxattr(x->path, name, buf, n) : getxattr(x->path, name, buf, n);

	return r < 0 ? -errno : r;
}

static int xattr_value(const struct xref *x, const char *name, struct hf_xattr *out)
{
	size_t cap = 256;

	for (;;) {
		ssize_t n;

		out->value = malloc(cap);
		if (!out->value)
			return -ENOMEM;
		n = x_get(x, name, out->value, cap);
		if (n >= 0) {
			out->len = n;
			return 0;
		}
		free(out->value);
		out->value = NULL;
		if (n != -ERANGE || cap >= XATTR_MAX)
			return n;
		cap = XATTR_MAX;
	}
}

static int read_xattrs(const struct xref *x, struct hf_attr *a)
{
	char small[1024], *list = small;
	ssize_t n = x_list(x, small, sizeof(small));
	unsigned count = 0;
	int ret = 0;

	if (n == -ERANGE) {
		list = malloc(XATTR_LIST_MAX);
		if (!list)
			return -ENOMEM;
		n = x_list(x, list, XATTR_LIST_MAX);
	}
	if (n == -EOPNOTSUPP || n == -ENOSYS)
		n = 0;
	ret = n < 0 ? n : 0;
	if (n <= 0)
		goto out;
	for (const char *p = list; p < list + n; p += strlen(p) + 1)
		count++;
	a->xattr = hf_alloc(count * sizeof(*a->xattr));
	if (!a->xattr) {
		ret = -ENOMEM;
		goto out;
	}
	for (const char *p = list; p < list + n; p += strlen(p) + 1) {
		struct hf_xattr *e = &a->xattr[a->nxattr];

		if (!xattr_kept(p))
			continue;
		ret = xattr_value(x, p, e);
		if (ret == -ENODATA || ret == -EPERM || ret == -EACCES || ret == -EOPNOTSUPP) {
			ret = 0;	/* removed meanwhile, or not for us to read */
			continue;
		}
		if (ret)
			goto out;
		a->nxattr++;
		e->name = strdup(p);
		if (!e->name) {
			ret = -ENOMEM;
			goto out;
		}
	}
	qsort(a->xattr, a->nxattr, sizeof(*a->xattr), by_xname);
out:
	if (list != small)
		free(list);
	return ret;
}

int hf_attr_read(struct hf_tree *t, int fd, int dirfd, const char *name,
		 const struct statx *stx, struct hf_attr *a)
{
	struct xref x = { .fd = fd, .nofollow = true };
	const char *user, *group;
	char link[PATH_MAX];
	int ret;

	memset(a, 0, sizeof(*a));
	a->mode = stx->stx_mode;
	a->uid = stx->stx_uid;
	a->gid = stx->stx_gid;
	a->mtime_s = stx->stx_mtime.tv_sec;
	a->mtime_ns = stx->stx_mtime.tv_nsec;
	a->atime_s = stx->stx_atime.tv_sec;
	a->atime_ns = stx->stx_atime.tv_nsec;
	if (S_ISREG(a->mode))
		a->size = stx->stx_size;
	if (S_ISCHR(a->mode) || S_ISBLK(a->mode)) {
		a->rdev_major = stx->stx_rdev_major;
		a->rdev_minor = stx->stx_rdev_minor;
	}
	if ((ret = hf_name_of(t, false, a->uid, &user)))
		goto err;
	a->user = strdup(user);
	if ((ret = hf_name_of(t, true, a->gid, &group)))
		goto err;
	a->group = strdup(group);
	ret = -ENOMEM;
	if (!a->user || !a->group)
		goto err;
	if (S_ISLNK(a->mode)) {
		ssize_t n = readlinkat(dirfd, name, link, sizeof(link) - 1);

		/* EINVAL: it is no link any more */
		ret = n < 0 ? (errno == EINVAL ? -ESTALE : -errno) : !n ? -ESTALE : 0;
		if (ret)
			goto err;
		link[n] = 0;
		a->target = strdup(link);
		if (!a->target) {
			ret = -ENOMEM;
			goto err;
		}
	}
	if (fd < 0)
		snprintf(x.path, sizeof(x.path), "/proc/self/fd/%d/%s", dirfd, name);
	ret = read_xattrs(&x, a);
	if (!ret)
		ret = hf_acl_names(t, a);
	if (!ret)
		return 0;
err:
	hf_attr_free(a);
	return ret;
}

static bool texts_equal(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

bool hf_attr_equal(struct hf_tree *t, const struct hf_attr *have, struct hf_attr *want, bool but_mtime)
{
	if (have->mode != want->mode || have->size != want->size ||
	    have->rdev_major != want->rdev_major || have->rdev_minor != want->rdev_minor ||
	    !texts_equal(have->target, want->target))
		return false;
	if (!but_mtime && (have->mtime_s != want->mtime_s || have->mtime_ns != want->mtime_ns))
		return false;
	if (hf_attr_here(t, want, "", NULL) || want->uid != have->uid || want->gid != have->gid)
		return false;
	return hf_xattrs_equal(have, want);
}

/* applying */

static const struct hf_xattr *find(const struct hf_attr *a, const char *name)
{
	for (uint32_t i = 0; i < a->nxattr; i++)
		if (!strcmp(a->xattr[i].name, name))
			return &a->xattr[i];
	return NULL;
}

/* @chowned: which takes a file's capabilities from it */
static int apply_xattrs(const struct xref *x, const struct hf_attr *have, const struct hf_attr *want,
			bool chowned, const char **which)
{
	int ret = 0;

	*which = "";
	for (uint32_t i = 0; !ret && i < have->nxattr; i++) {
		const char *name = have->xattr[i].name;

		if (find(want, name) || hf_xattr_given(name))
			continue;
		if ((x->fd >= 0 ? fremovexattr(x->fd, name) : removexattr(x->path, name)) && errno != ENODATA) {
			ret = -errno;
			*which = "an extended attribute that is to go";
		}
	}
	for (uint32_t i = 0; !ret && i < want->nxattr; i++) {
		const struct hf_xattr *w = &want->xattr[i], *h = find(have, w->name);

		if (h && h->len == w->len && !memcmp(h->value, w->value, w->len) &&
		    !(chowned && !strcmp(w->name, "security.capability")))
			continue;
		if (x->fd >= 0 ? fsetxattr(x->fd, w->name, w->value, w->len, 0) :
				 setxattr(x->path, w->name, w->value, w->len, 0)) {
			ret = -errno;
			*which = w->name;
		}
	}
	return ret;
}

/*
 * The permissions on the way from one owner and ACL to the others: nobody may do more than
 * before, nor more than in the end. The group's bits are the mask of an ACL.
 */
static mode_t between(const struct statx *stx, const struct hf_attr *have, const struct hf_attr *want)
{
	const struct hf_xattr *h = find(have, ACL_ACCESS), *w = find(want, ACL_ACCESS);
	mode_t mode = stx->stx_mode & want->mode & 0777;

	if (stx->stx_uid != want->uid)
		mode &= ~0700;
	if (stx->stx_gid != want->gid || (h || w))
		mode &= h && w && h->len == w->len && !memcmp(h->value, w->value, w->len) &&
			stx->stx_gid == want->gid ? 0777 : 0707;
	/* sticky takes rights away */
	return mode | ((stx->stx_mode | want->mode) & (S_ISDIR(want->mode) ? S_ISVTX : 0));
}

int hf_attr_tighten(struct hf_tree *t, int fd, struct hf_attr *want, const char *rel, struct hf_err *err)
{
	struct xref x = { .fd = fd };
	struct hf_attr have = { 0 };
	struct statx stx;
	mode_t mode;
	int ret;

	ret = hf_attr_here(t, want, rel, err);
	if (ret)
		return ret;
	ret = hf_fd_statx(fd, &stx);
	if (!ret)
		ret = read_xattrs(&x, &have);
	if (!ret) {
		mode = between(&stx, &have, want);
		if ((stx.stx_mode & 07777) != mode && fchmod(fd, mode))
			ret = -errno;
		else if ((stx.stx_uid != want->uid || stx.stx_gid != want->gid) && fchown(fd, want->uid, want->gid))
			ret = -errno;
	}
	hf_attr_free(&have);
	return ret ? hf_tree_fail(t, err, ret, "cannot set the mode of", rel) : 0;
}

/* @born: how @fd is, which has no attributes; NULL: it is looked at */
static int apply(struct hf_tree *t, int fd, bool opath, bool fresh, const struct statx *born, struct hf_attr *want,
		 const char *rel, struct hf_err *err)
{
	const struct timespec ts[2] = {
		{ want->atime_s, want->atime_ns }, { want->mtime_s, want->mtime_ns }
	};
	struct xref x = { .fd = opath ? -1 : fd };
	const char *what = "cannot look at", *which;
	mode_t perm = want->mode & 07777;
	struct hf_attr have = { 0 };
	struct statx stx = { 0 };
	bool chowned, mode_right;
	int ret;

	ret = hf_attr_here(t, want, rel, err);
	if (ret)
		return ret;
	if (born)
		stx = *born;
	else
		ret = hf_fd_statx(fd, &stx);
	if (ret)
		goto err;
	if ((stx.stx_mode & S_IFMT) != (want->mode & S_IFMT)) {
		ret = -ESTALE;
		goto err;
	}
	if (opath)
		snprintf(x.path, sizeof(x.path), "/proc/self/fd/%d", fd);
	ret = born ? 0 : read_xattrs(&x, &have);
	if (ret)
		goto err;
	what = "cannot set the mode of";
	if (!fresh && !opath && (stx.stx_mode & 07777) != between(&stx, &have, want) &&
	    fchmod(fd, between(&stx, &have, want)))
		goto err_errno;
	what = "cannot set the owner of";
	chowned = stx.stx_uid != want->uid || stx.stx_gid != want->gid;
	if (chowned && fchownat(fd, "", want->uid, want->gid, AT_EMPTY_PATH))
		goto err_errno;
	what = "cannot set an extended attribute of";
	ret = apply_xattrs(&x, &have, want, chowned, &which);
	if (ret) {
		char *text = hf_tree_text(t, rel), *xn = hf_printable(which, strlen(which));

		hf_fail(err, HF_OK, ret, "%s %.600s (%.200s): %s", what, text ? text : "?",
			t->flags & HF_TREE_CRYPTO ? "name withheld" : xn ? xn : "?",
			ret == -EOPNOTSUPP ? "the filesystem has none such" : strerror(-ret));
		free(xn);
		free(text);
		hf_attr_free(&have);
		return ret;
	}
	what = "cannot set the mode of";
	/* an ACL gives some bits; a change of owner takes away those that a file is not made with */
	mode_right = fresh && !have.nxattr && !want->nxattr && (stx.stx_mode & 07777) == perm && !(chowned && perm & 07000);
	if (!S_ISLNK(want->mode) && !mode_right && (opath ? chmod(x.path, perm) : fchmod(fd, perm)))
		goto err_errno;
	what = "cannot set the times of";
	if (opath ? utimensat(fd, "", ts, AT_EMPTY_PATH) : futimens(fd, ts))
		goto err_errno;
	hf_attr_free(&have);
	return 0;

err_errno:
	ret = -errno;
err:
	hf_attr_free(&have);
	if (ret == -EPERM && (stx.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND))) {
		char *text = hf_tree_text(t, rel);

		hf_fail(err, HF_OK, ret, "%s %.700s: it is immutable or append-only (chattr -i -a it)", what,
			text ? text : "?");
		free(text);
		return ret;
	}
	return hf_tree_fail(t, err, ret, what, rel);
}

int hf_attr_apply(struct hf_tree *t, int fd, bool opath, bool fresh, struct hf_attr *want,
		  const char *rel, struct hf_err *err)
{
	return apply(t, fd, opath, fresh, NULL, want, rel, err);
}

int hf_attr_apply_born(struct hf_tree *t, int fd, const struct statx *born, struct hf_attr *want,
		       const char *rel, struct hf_err *err)
{
	return apply(t, fd, false, true, born, want, rel, err);
}

bool hf_has_default_acl(int fd)
{
	return fgetxattr(fd, ACL_DEFAULT, NULL, 0) >= 0 || (errno != ENODATA && errno != EOPNOTSUPP);
}
