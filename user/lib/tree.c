// SPDX-License-Identifier: LGPL-2.1-or-later
/* The root of a tree: finding it, noticing that it is gone, what belongs to it. */
#include "tree_int.h"
#include <limits.h>
#include <linux/magic.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

int hf_openat2(int dirfd, const char *name, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve };
	int fd;

	/* EAGAIN: a rename somewhere made a lookup that must stay below uncertain */
	for (int i = 0; i < 64; i++) {
		fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
		if (fd >= 0)
			return fd;
		if (errno != EINTR && (errno != EAGAIN || !(resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT))))
			break;
		if (errno == EAGAIN && i > 8)
			hf_sleep_ms(1);		/* or somebody holds a lease on it */
	}
	return -errno;
}

int hf_tree_openat(int dirfd, const char *name, int flags)
{
	return hf_openat2(dirfd, name, flags | O_NOFOLLOW,
			  RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

#define WANT (STATX_BASIC_STATS | STATX_MNT_ID)

int hf_tree_statx(int dirfd, const char *name, struct statx *stx)
{
	return statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, WANT, stx) ? -errno : 0;
}

int hf_fd_statx(int fd, struct statx *stx)
{
	return statx(fd, "", AT_EMPTY_PATH, WANT, stx) ? -errno : 0;
}

/* resolved as in a chroot at node_root: links on the way may lead about in it,
 * the last component may not be one */
static int open_below(const char *node_root, const char *path, int flags)
{
	int top = open(node_root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd;

	if (top < 0)
		return -errno;
	while (*path == '/')
		path++;
	fd = hf_openat2(top, *path ? path : ".", flags | O_NOFOLLOW,
			RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
	close(top);
	return fd;
}

/* as open_below(), but a link as the last component is followed too */
static int open_dir_below(const char *node_root, const char *path, int flags)
{
	char *dot = hf_strf("%s/.", path);
	int fd = dot ? open_below(node_root, dot, flags | O_DIRECTORY) : -ENOMEM;

	free(dot);
	return fd;
}

static char *normalise(const char *path)
{
	char *out = malloc(strlen(path) + 2), *q = out;

	if (!out)
		return NULL;
	for (const char *p = path; *p; ) {
		size_t n = strcspn(p, "/");

		if (n == 2 && !memcmp(p, "..", 2)) {
			free(out);
			return NULL;
		}
		if (n && !(n == 1 && *p == '.')) {
			*q++ = '/';
			memcpy(q, p, n);
			q += n;
		}
		p += n;
		p += *p == '/';
	}
	if (q == out)
		*q++ = '/';
	*q = 0;
	return out;
}

static char *parent_of(const char *path)
{
	const char *s = strrchr(path, '/');

	return s == path ? strdup("/") : strndup(path, s - path);
}

static int make_parents(const char *node_root, const char *path)
{
	char *tmp = strdup(path);
	int ret = 0;

	if (!tmp)
		return -ENOMEM;
	for (char *s = tmp + 1; !ret && *s; s++) {
		if (*s != '/')
			continue;
		*s = 0;
		int fd = open_dir_below(node_root, tmp, O_PATH);

		if (fd == -ENOENT) {
			char *up = parent_of(tmp);
			int dir = up ? open_dir_below(node_root, up, O_PATH) : -ENOMEM;

			ret = dir < 0 ? dir : 0;
			if (dir >= 0) {
				/* these are not the tree's: what others need to pass is open */
				if (mkdirat(dir, strrchr(tmp, '/') + 1, 0755) && errno != EEXIST)
					ret = -errno;
				close(dir);
			}
			free(up);
		} else if (fd >= 0) {
			close(fd);
		} else {
			ret = fd;
		}
		*s = '/';
	}
	free(tmp);
	return ret;
}

static int open_root(struct hf_tree *t, bool create, struct hf_err *err)
{
	struct statx stx;
	char *up;
	int dir = -1, ret;
	const char *last;

	if (!strcmp(t->path, "/")) {
		if (t->flags & HF_TREE_FILE)
			return hf_fail(err, HF_USAGE, -EISDIR, "%s/ is a directory, not a file", t->node_root);
		t->dirpath = strdup("/");
		t->root = open_below(t->node_root, "/", O_RDONLY | O_DIRECTORY);
		ret = t->root;
		goto out;
	}
	up = parent_of(t->path);
	if (!up)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	last = strrchr(t->path, '/') + 1;
	if (create && !(t->flags & HF_TREE_FILE)) {
		ret = make_parents(t->node_root, t->path);
		if (ret)
			goto out_up;
	}
	dir = open_dir_below(t->node_root, up, O_RDONLY);
	ret = dir;
	if (dir < 0)
		goto out_up;
	ret = hf_tree_statx(dir, last, &stx);
	if (ret == -ENOENT && create && !(t->flags & HF_TREE_FILE)) {
		ret = mkdirat(dir, last, 0700) && errno != EEXIST ? -errno : hf_tree_statx(dir, last, &stx);
		if (ret)
			goto out_up;
	}
	if (ret == -ENOENT && (t->flags & HF_TREE_FILE) && create) {
		ret = 0;		/* the restore makes it */
	} else if (ret) {
		goto out_up;
	} else if (S_ISLNK(stx.stx_mode)) {
		ret = -ELOOP;
		goto out_up;
	} else if (S_ISDIR(stx.stx_mode)) {
		if (t->flags & HF_TREE_FILE) {
			ret = hf_fail(err, HF_REFUSED, -EISDIR,
				      "%s is registered as a file but is a directory here; move it away", t->path);
			goto out_said;
		}
		t->root = hf_openat2(dir, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
				     RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
		ret = t->root;
		t->dirpath = strdup(t->path);
		goto out_up;
	} else if (S_ISREG(stx.stx_mode) && !(t->flags & HF_TREE_FILE)) {
		ret = hf_fail(err, HF_REFUSED, -ENOTDIR,
			      "%s is registered as a directory but is a file here; move it away", t->path);
		goto out_said;
	} else if (!S_ISREG(stx.stx_mode)) {
		ret = hf_fail(err, HF_USAGE, -ENOTDIR, "%s is neither a directory nor a regular file", t->path);
		goto out_said;
	}
	/* a single file */
	t->name = strdup(last);
	t->dirpath = up;
	up = NULL;
	t->root = dir;
	dir = -1;
	if (!t->name)
		ret = -ENOMEM;
out_up:
	if (dir >= 0)
		close(dir);
	free(up);
out:
	if (ret >= 0 && !t->dirpath)
		ret = -ENOMEM;
	if (ret < 0)
		return hf_fail(err, ret == -ENOTDIR || ret == -ELOOP ? HF_USAGE : HF_OK, ret, "%s%s: %s",
			       strcmp(t->node_root, "/") ? t->node_root : "", t->path,
			       ret == -ELOOP ? "is a symbolic link; register the path it leads to" : strerror(-ret));
	return 0;
out_said:
	if (dir >= 0)
		close(dir);
	free(up);
	return ret;
}

/* temporary files of two checkpoints in one directory must be told apart: four
 * of the eight characters are the file's own */
static void set_own_tmp(struct hf_tree *t)
{
	static const char az[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t h[crypto_generichash_BYTES];

	crypto_generichash(h, sizeof(h), (const uint8_t *)t->name, strlen(t->name), NULL, 0);
	for (int i = 0; i < 4; i++)
		t->own_tmp[i] = az[h[i] & 31];
}

/* Nothing is ever written back there, so no page gets clean, and a store into one that is
 * mapped already changes no time. */
static bool is_blind(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

int hf_tree_open(const char *node_root, const char *path, unsigned flags, bool create,
		 const char *const *exclude, unsigned nexclude,
		 struct hf_tree **out, struct hf_err *err)
{
	struct hf_tree *t;
	struct statx stx;
	int ret;

	if (flags & ~(HF_TREE_CRYPTO | HF_TREE_NUMBERS | HF_TREE_FILE | HF_TREE_SOCKETS))
		return hf_fail(err, HF_USAGE, -EINVAL, "unknown tree flags %#x", flags);
	if (!path || path[0] != '/')
		return hf_fail(err, HF_USAGE, -EINVAL, "%s is not an absolute path", path ? path : "(none)");
	t = hf_alloc(sizeof(*t));
	if (!t)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	t->root = -1;
	t->flags = flags;
	t->node_root = strdup(node_root && *node_root ? node_root : "/");
	t->path = normalise(path);
	if (!t->path) {
		ret = hf_fail(err, HF_USAGE, -EINVAL, "%s: a path with '..' cannot be registered", path);
		goto err_close;
	}
	ret = -ENOMEM;
	if (!t->node_root || hf_patterns_new(exclude, nexclude, &t->exclude))
		goto err_nomem;
	ret = open_root(t, create, err);
	if (ret)
		goto err_close;
	if (t->name)
		set_own_tmp(t);
	ret = hf_fd_statx(t->root, &stx);
	if (ret) {
		hf_fail(err, HF_OK, ret, "%s: %s", t->path, strerror(-ret));
		goto err_close;
	}
	t->dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	t->ino = stx.stx_ino;
	t->mnt = stx.stx_mnt_id;
	t->blind = is_blind(t->root);
	*out = t;
	return 0;

err_nomem:
	hf_fail(err, HF_OK, ret, "out of memory");
err_close:
	hf_tree_close(t);
	return ret;
}

void hf_tree_close(struct hf_tree *t)
{
	if (!t)
		return;
	hf_tree_unscout(t);
	hf_ids_free(t);
	hf_links_free(&t->links);
	if (t->root >= 0)
		close(t->root);
	hf_patterns_free(t->exclude);
	hf_patterns_free(t->exclude_too);
	free(t->name);
	free(t->dirpath);
	free(t->path);
	free(t->node_root);
	free(t);
}

int hf_tree_patterns(struct hf_tree *t, const char *const *exclude, unsigned n)
{
	struct hf_patterns *p;
	int ret = hf_patterns_new(exclude, n, &p);

	if (ret)
		return ret;
	hf_tree_unscout(t);
	hf_patterns_free(t->exclude);
	t->exclude = p;
	return 0;
}

int hf_tree_patterns_too(struct hf_tree *t, const char *const *exclude, unsigned n)
{
	struct hf_patterns *p;
	int ret = hf_patterns_new(exclude, n, &p);

	if (ret)
		return ret;
	hf_patterns_free(t->exclude_too);
	t->exclude_too = p;
	return 0;
}

int hf_tree_fd(const struct hf_tree *t)
{
	return t->root;
}

const char *hf_tree_name(const struct hf_tree *t)
{
	return t->name;
}

bool hf_tree_blind(const struct hf_tree *t)
{
	return t->blind;
}

int hf_tree_alive(const struct hf_tree *t)
{
	struct statx stx;
	int fd, ret;

	fd = t->name ? open_dir_below(t->node_root, t->dirpath, O_PATH) :
		       open_below(t->node_root, t->dirpath, O_PATH);
	if (fd < 0)
		return fd == -ENOMEM ? fd : -ENOENT;
	ret = hf_fd_statx(fd, &stx);
	close(fd);
	if (ret)
		return ret;
	if (stx.stx_mnt_id != t->mnt)
		return -EXDEV;
	if (stx.stx_ino != t->ino || makedev(stx.stx_dev_major, stx.stx_dev_minor) != t->dev)
		return -ENOENT;
	/* a generation with something else in place of the file could not be opened again by any node */
	if (t->name && !hf_tree_statx(t->root, t->name, &stx) && !S_ISREG(stx.stx_mode))
		return -ENOTDIR;
	return 0;
}

int hf_tree_check_root(const struct hf_tree *t, struct hf_err *e)
{
	struct statx stx;
	int ret = hf_fd_statx(t->root, &stx);

	if (!ret && !stx.stx_nlink)
		ret = -ENOENT;
	if (ret)
		return hf_fail(e, HF_REFUSED, ret,
			       "%s is gone; a tree that was lost is not taken for an empty one", t->dirpath);
	return 0;
}

int hf_tree_mounted(const struct hf_tree *t, char *id, size_t n)
{
	struct statx top, stx;
	size_t best;
	char *p;
	int fd, ret;

	if (n)
		id[0] = 0;
	fd = open(t->node_root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = hf_fd_statx(fd, &top);
	close(fd);
	if (ret)
		return ret;
	if (top.stx_mnt_id == t->mnt)
		return 0;
	/* upwards along the path for as long as it stays on the root's mount */
	p = strdup(t->dirpath);
	if (!p)
		return -ENOMEM;
	best = strlen(p);
	for (;;) {
		char *s = strrchr(p, '/');

		if (!s || s == p)
			break;
		*s = 0;
		fd = open_dir_below(t->node_root, p, O_PATH);
		if (fd < 0)
			break;
		ret = hf_fd_statx(fd, &stx);
		close(fd);
		if (ret || stx.stx_mnt_id != t->mnt)
			break;
		best = strlen(p);
	}
	free(p);
	if (n)
		snprintf(id, n, "%.*s", (int)best, t->dirpath);
	return 1;
}

bool hf_tmp_name(const struct hf_tree *t, const char *name)
{
	return hf_tmpname_is(name, strlen(name)) &&
	       (!t->name || !strncmp(name + sizeof(HF_TMP_PREFIX) - 1, t->own_tmp, 4));
}

unsigned hf_tree_out_name(const struct hf_tree *t, const char *rel, size_t len)
{
	const char *name = len ? memrchr(rel, '/', len) : NULL;

	name = name ? name + 1 : rel;
	if (hf_tmpname_is(name, rel + len - name))
		return HF_OUT;
	/* of a single file nothing is left out */
	return t->name ? 0 : hf_patterns_name(t->exclude, rel, len);
}

unsigned hf_tree_out(const struct hf_tree *t, const char *rel)
{
	for (const char *s = strchr(rel, '/'); s; s = strchr(s + 1, '/'))
		if (hf_tree_out_name(t, rel, s - rel) & HF_OUT_DIR)
			return HF_OUT;
	return hf_tree_out_name(t, rel, strlen(rel));
}

bool hf_tree_unsaid(const struct hf_tree *t, const char *rel, mode_t mode)
{
	return !t->name && hf_patterns_path(t->exclude_too, rel) & (S_ISDIR(mode) ? HF_OUT_DIR : HF_OUT_FILE);
}

bool hf_tree_excludes(const struct hf_tree *t, const char *rel, mode_t mode)
{
	return !t->name && hf_patterns_path(t->exclude, rel) & (S_ISDIR(mode) ? HF_OUT_DIR : HF_OUT_FILE);
}

bool hf_tree_mine(const struct hf_tree *t, const char *rel)
{
	const char *p = rel;

	if (t->name)
		return !strcmp(rel, t->name);
	while (*p) {
		size_t n = strcspn(p, "/");

		if (!n || n > NAME_MAX || (p[0] == '.' && (n == 1 || (n == 2 && p[1] == '.'))))
			return false;
		p += n;
		if (*p && !*++p)
			return false;	/* a trailing slash */
	}
	return true;
}

char *hf_tree_text(const struct hf_tree *t, const char *rel)
{
	const char *top = strcmp(t->dirpath, "/") ? t->dirpath : "";
	char *raw, *out = NULL;

	if (t->flags & HF_TREE_CRYPTO)
		return hf_strf("%s (crypto checkpoint)", t->path);
	raw = *rel ? hf_strf("%s/%s", top, rel) : strdup(t->dirpath);
	if (raw)
		out = hf_printable(raw, strlen(raw));
	free(raw);
	return out;
}

int hf_tree_fail(const struct hf_tree *t, struct hf_err *e, int ret, const char *what, const char *rel)
{
	char *text = hf_tree_text(t, rel);
	const char *why = ret == -EXDEV ? "something is mounted there, or a link leads out of the tree; unmount or remove it, then try again" :
			  ret == -ELOOP ? "a symbolic link is in the way" :
			  ret == -EBADMSG ? "damaged or malformed" : strerror(-ret);

	hf_fail(e, HF_OK, ret, "%s %.800s: %s", what, text ? text : "?", why);
	free(text);
	return ret;
}

int hf_rel_cmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	/* the end first, then '/', then the other bytes */
	int x = !*a ? 0 : *a == '/' ? 1 : (unsigned char)*a + 1;
	int y = !*b ? 0 : *b == '/' ? 1 : (unsigned char)*b + 1;

	return x - y;
}

bool hf_rel_below(const char *rel, const char *top)
{
	size_t n = strlen(top);

	return !n || (!strncmp(rel, top, n) && (!rel[n] || rel[n] == '/'));
}

/*
 * A change that comes after the look that @now was taken before has a change
 * time of its own only if the clock has moved on since; before that the file is
 * not remembered, and its contents are compared the next time.
 */
void hf_mark_set(struct hf_mark *m, const struct statx *stx, uint64_t now)
{
	uint64_t c = hf_ctime_ns(stx);

	memset(m, 0, sizeof(*m));
	m->dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);
	m->ino = stx->stx_ino;
	if (!hf_settled(c, now))
		return;
	m->size = S_ISREG(stx->stx_mode) ? stx->stx_size : 0;
	m->ctime_ns = c;
}

bool hf_mark_same(const struct hf_mark *m, const struct statx *stx)
{
	return hf_mark_tells(m) && m->ino == stx->stx_ino && m->ctime_ns == hf_ctime_ns(stx) &&
	       m->dev == makedev(stx->stx_dev_major, stx->stx_dev_minor) &&
	       m->size == (S_ISREG(stx->stx_mode) ? stx->stx_size : 0);
}

bool hf_unchanged(const struct hf_tree *t, const struct hf_mark *m, const struct statx *stx)
{
	return hf_mark_same(m, stx) && !(t->blind && S_ISREG(stx->stx_mode));
}

int hf_tree_measure(struct hf_tree *t, uint64_t max, struct hf_tree_stat *st, struct hf_err *err)
{
	struct hf_walk w;
	int ret;

	memset(st, 0, sizeof(*st));
	hf_tree_scout(t);	/* without it, it takes longer */
	ret = hf_walk_init(&w, t, "", HF_WALK_LEFTOVERS);
	while (!ret && (ret = hf_walk_next(&w)) == 1) {
		ret = 0;
		if (w.at.kind != HF_WALK_ENTRY)
			continue;
		if (S_ISDIR(w.at.stx.stx_mode)) {
			st->dirs++;
		} else if (S_ISREG(w.at.stx.stx_mode)) {
			st->files++;
			st->bytes += w.at.stx.stx_size;
		} else {
			st->others++;
		}
		if (max && st->bytes > max)
			ret = hf_fail(err, HF_REFUSED, -EFBIG, "%s holds more than %llu bytes", t->path,
				      (unsigned long long)max);
	}
	if (ret < 0 && ret != -EFBIG)
		hf_tree_fail(t, err, ret, "cannot read", w.rel ? w.rel : "");
	hf_walk_free(&w);
	hf_tree_unscout(t);	/* one that the walk could not take would be a later restore's */
	return ret;
}
