// SPDX-License-Identifier: LGPL-2.1-or-later
/* Attributes: their encoding, reading them from local files, applying them. */
#include "tree_int.h"
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/*
 * The encoding: version, then atime at a fixed place (it is the one thing that
 * does not count when two are compared), then the rest.
 */
#define ATTR_VERSION 1
#define XATTR_MAX 65536

void hf_attr_free(struct hf_attr *a)
{
	free(a->user);
	free(a->group);
	free(a->target);
	for (uint32_t i = 0; i < a->nxattr; i++) {
		free(a->xattr[i].name);
		/* a value may be a secret of a crypto checkpoint */
		if (a->xattr[i].value)
			sodium_memzero(a->xattr[i].value, a->xattr[i].len);
		free(a->xattr[i].value);
	}
	free(a->xattr);
	memset(a, 0, sizeof(*a));
}

int hf_attr_encode(const struct hf_attr *a, struct hf_buf *b)
{
	const char *user = a->user ? a->user : "", *group = a->group ? a->group : "";

	hf_buf_u8(b, ATTR_VERSION);
	hf_buf_u64(b, a->atime_s);
	hf_buf_u32(b, a->atime_ns);
	hf_buf_u32(b, a->mode);
	hf_buf_u32(b, a->uid);
	hf_buf_u32(b, a->gid);
	hf_buf_u64(b, a->mtime_s);
	hf_buf_u32(b, a->mtime_ns);
	hf_buf_u32(b, a->rdev_major);
	hf_buf_u32(b, a->rdev_minor);
	hf_buf_u64(b, a->size);
	hf_buf_blob(b, user, strlen(user));
	hf_buf_blob(b, group, strlen(group));
	hf_buf_blob(b, a->target, a->target ? strlen(a->target) : 0);
	hf_buf_u32(b, a->nxattr);
	for (uint32_t i = 0; i < a->nxattr; i++) {
		hf_buf_blob(b, a->xattr[i].name, strlen(a->xattr[i].name));
		hf_buf_blob(b, a->xattr[i].value, a->xattr[i].len);
	}
	return b->bad ? -ENOMEM : 0;
}

static char *rd_text(struct hf_rd *r, uint32_t max)
{
	uint32_t n;
	const uint8_t *p = hf_rd_blob(r, &n);

	if (!p || n > max || memchr(p, 0, n)) {
		r->bad = true;
		return NULL;
	}
	return strndup((const char *)p, n);
}

static int decode_xattrs(struct hf_rd *r, struct hf_attr *a)
{
	uint32_t n = hf_rd_u32(r);

	/* each takes at least 9 bytes: bounds what a hostile count can allocate */
	if (r->bad || n > (size_t)(r->end - r->p) / 9)
		return -EBADMSG;
	if (!n)
		return 0;
	a->xattr = hf_alloc(n * sizeof(*a->xattr));
	if (!a->xattr)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		struct hf_xattr *x = &a->xattr[i];
		const uint8_t *v;

		a->nxattr = i + 1;
		x->name = rd_text(r, XATTR_NAME_MAX);
		if (r->bad)
			return -EBADMSG;
		if (!x->name)
			return -ENOMEM;
		if (!*x->name || (i && strcmp(a->xattr[i - 1].name, x->name) >= 0))
			return -EBADMSG;
		v = hf_rd_blob(r, &x->len);
		if (!v || x->len > XATTR_MAX) {
			x->len = 0;
			return -EBADMSG;
		}
		x->value = malloc(x->len ? x->len : 1);
		if (!x->value)
			return -ENOMEM;
		memcpy(x->value, v, x->len);
	}
	return 0;
}

static bool sane(const struct hf_attr *a)
{
	mode_t type = a->mode & S_IFMT;

	if (a->mode & ~(uint32_t)(S_IFMT | 07777))
		return false;
	if (type != S_IFREG && type != S_IFDIR && type != S_IFLNK && type != S_IFIFO &&
	    type != S_IFCHR && type != S_IFBLK)
		return false;
	if (a->mtime_ns >= 1000000000 || a->atime_ns >= 1000000000)
		return false;
	if (a->size && type != S_IFREG)
		return false;
	if (a->size > INT64_MAX)
		return false;
	if ((a->rdev_major || a->rdev_minor) && type != S_IFCHR && type != S_IFBLK)
		return false;
	if (a->uid == UINT32_MAX || a->gid == UINT32_MAX)
		return false;
	return true;
}

int hf_attr_decode(const void *p, size_t n, struct hf_attr *a)
{
	struct hf_rd r;
	int ret;

	memset(a, 0, sizeof(*a));
	hf_rd_init(&r, p, n);
	if (hf_rd_u8(&r) != ATTR_VERSION)
		return -EBADMSG;
	a->atime_s = hf_rd_u64(&r);
	a->atime_ns = hf_rd_u32(&r);
	a->mode = hf_rd_u32(&r);
	a->uid = hf_rd_u32(&r);
	a->gid = hf_rd_u32(&r);
	a->mtime_s = hf_rd_u64(&r);
	a->mtime_ns = hf_rd_u32(&r);
	a->rdev_major = hf_rd_u32(&r);
	a->rdev_minor = hf_rd_u32(&r);
	a->size = hf_rd_u64(&r);
	if (r.bad || !sane(a))
		return -EBADMSG;
	a->user = rd_text(&r, LOGIN_NAME_MAX);
	a->group = rd_text(&r, LOGIN_NAME_MAX);
	a->target = rd_text(&r, PATH_MAX - 1);
	if (r.bad)
		ret = -EBADMSG;
	else if (!a->user || !a->group || !a->target)
		ret = -ENOMEM;
	else if (S_ISLNK(a->mode) != (*a->target != 0))
		ret = -EBADMSG;
	else
		ret = decode_xattrs(&r, a);
	if (!ret && r.p != r.end)
		ret = -EBADMSG;
	if (ret) {
		hf_attr_free(a);
		return ret;
	}
	if (!S_ISLNK(a->mode)) {
		free(a->target);
		a->target = NULL;
	}
	return 0;
}

/* the mode of an encoding, without the rest; 0 if it is none */
uint32_t hf_attr_mode(const void *p, size_t n)
{
	struct hf_rd r;

	hf_rd_init(&r, p, n);
	if (hf_rd_u8(&r) != ATTR_VERSION || !hf_rd_bytes(&r, 12))
		return 0;
	return hf_rd_u32(&r);
}

/* extended attributes */

static bool xattr_kept(const char *name)
{
	/* evm and ima seal one inode of one machine: elsewhere they are wrong */
	if (!strcmp(name, "security.evm") || !strcmp(name, "security.ima"))
		return false;
	return !strncmp(name, "user.", 5) || !strncmp(name, "security.", 9) ||
	       !strncmp(name, "trusted.", 8) || !strcmp(name, "system.posix_acl_access") ||
	       !strcmp(name, "system.posix_acl_default");
}

/* labels that this node's security module gives to every file of its own: not
 * an extra to be removed */
static bool xattr_given(const char *name)
{
	return !strncmp(name, "security.", 9) && strcmp(name, "security.capability");
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
		return 0;
err:
	hf_attr_free(a);
	return ret;
}

/* every xattr of @want is there; what else is there may stay only if it is given by the node */
static bool xattrs_equal(const struct hf_attr *have, const struct hf_attr *want)
{
	uint32_t i = 0, j = 0;

	while (i < have->nxattr || j < want->nxattr) {
		int c = i == have->nxattr ? 1 : j == want->nxattr ? -1 :
			strcmp(have->xattr[i].name, want->xattr[j].name);

		if (c < 0 && xattr_given(have->xattr[i].name)) {
			i++;
			continue;
		}
		if (c || have->xattr[i].len != want->xattr[j].len ||
		    memcmp(have->xattr[i].value, want->xattr[j].value, want->xattr[j].len))
			return false;
		i++;
		j++;
	}
	return true;
}

static bool texts_equal(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

bool hf_attr_same(const struct hf_attr *a, const struct hf_attr *b)
{
	return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
	       texts_equal(a->user, b->user) && texts_equal(a->group, b->group) &&
	       a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns &&
	       a->rdev_major == b->rdev_major && a->rdev_minor == b->rdev_minor &&
	       a->size == b->size && texts_equal(a->target, b->target) &&
	       a->nxattr == b->nxattr && xattrs_equal(a, b) && xattrs_equal(b, a);
}

bool hf_attr_equal(struct hf_tree *t, const struct hf_attr *have, const struct hf_attr *want, bool but_mtime)
{
	uint32_t uid, gid;

	if (have->mode != want->mode || have->size != want->size ||
	    have->rdev_major != want->rdev_major || have->rdev_minor != want->rdev_minor ||
	    !texts_equal(have->target, want->target))
		return false;
	if (!but_mtime && (have->mtime_s != want->mtime_s || have->mtime_ns != want->mtime_ns))
		return false;
	if (hf_attr_owner(t, want, &uid, &gid, "", NULL) || uid != have->uid || gid != have->gid)
		return false;
	return xattrs_equal(have, want);
}

/* applying */

static const struct hf_xattr *find(const struct hf_attr *a, const char *name)
{
	for (uint32_t i = 0; i < a->nxattr; i++)
		if (!strcmp(a->xattr[i].name, name))
			return &a->xattr[i];
	return NULL;
}

static int apply_xattrs(const struct xref *x, const struct hf_attr *want, const char **which)
{
	struct hf_attr have = { 0 };
	int ret = read_xattrs(x, &have);

	*which = "";
	for (uint32_t i = 0; !ret && i < have.nxattr; i++) {
		const char *name = have.xattr[i].name;

		if (find(want, name) || xattr_given(name))
			continue;
		if ((x->fd >= 0 ? fremovexattr(x->fd, name) : removexattr(x->path, name)) && errno != ENODATA) {
			ret = -errno;
			*which = "an extended attribute that is to go";
		}
	}
	for (uint32_t i = 0; !ret && i < want->nxattr; i++) {
		const struct hf_xattr *w = &want->xattr[i], *h = find(&have, w->name);

		if (h && h->len == w->len && !memcmp(h->value, w->value, w->len))
			continue;
		if (x->fd >= 0 ? fsetxattr(x->fd, w->name, w->value, w->len, 0) :
				 setxattr(x->path, w->name, w->value, w->len, 0)) {
			ret = -errno;
			*which = w->name;
		}
	}
	hf_attr_free(&have);
	return ret;
}

int hf_attr_apply(struct hf_tree *t, int fd, bool opath, bool fresh, const struct hf_attr *want,
		  const char *rel, struct hf_err *err)
{
	const struct timespec ts[2] = {
		{ want->atime_s, want->atime_ns }, { want->mtime_s, want->mtime_ns }
	};
	struct xref x = { .fd = opath ? -1 : fd };
	const char *what = "cannot look at", *which;
	mode_t perm = want->mode & 07777;
	struct statx stx;
	uint32_t uid, gid;
	int ret;

	ret = hf_attr_owner(t, want, &uid, &gid, rel, err);
	if (ret)
		return ret;
	ret = hf_fd_statx(fd, &stx);
	if (ret)
		goto err;
	if ((stx.stx_mode & S_IFMT) != (want->mode & S_IFMT)) {
		ret = -ESTALE;
		goto err;
	}
	snprintf(x.path, sizeof(x.path), "/proc/self/fd/%d", fd);
	what = "cannot set the mode of";
	/* on the way from one owner to the next nobody may do more than in the end */
	if (!fresh && !opath && (stx.stx_mode & 07777) != (stx.stx_mode & perm & 0777) &&
	    fchmod(fd, stx.stx_mode & perm & 0777))
		goto err_errno;
	what = "cannot set the owner of";
	if ((stx.stx_uid != uid || stx.stx_gid != gid) && fchownat(fd, "", uid, gid, AT_EMPTY_PATH))
		goto err_errno;
	what = "cannot set an extended attribute of";
	ret = apply_xattrs(&x, want, &which);
	if (ret) {
		char *text = hf_tree_text(t, rel), *xn = hf_printable(which, strlen(which));

		hf_fail(err, HF_OK, ret, "%s %.600s (%.200s): %s", what, text ? text : "?",
			t->flags & HF_TREE_CRYPTO ? "name withheld" : xn ? xn : "?",
			ret == -EOPNOTSUPP ? "the filesystem has none such" : strerror(-ret));
		free(xn);
		free(text);
		return ret;
	}
	what = "cannot set the mode of";
	if (!S_ISLNK(want->mode) && (opath ? chmod(x.path, perm) : fchmod(fd, perm)))
		goto err_errno;
	what = "cannot set the times of";
	if (opath ? utimensat(fd, "", ts, AT_EMPTY_PATH) : futimens(fd, ts))
		goto err_errno;
	return 0;

err_errno:
	ret = -errno;
err:
	if (ret == -EPERM && (stx.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND))) {
		char *text = hf_tree_text(t, rel);

		hf_fail(err, HF_OK, ret, "%s %.700s: it is immutable or append-only (chattr -i -a it)", what,
			text ? text : "?");
		free(text);
		return ret;
	}
	return hf_tree_fail(t, err, ret, what, rel);
}
