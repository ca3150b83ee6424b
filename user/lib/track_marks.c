// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Marks, and a table of directories that follows the real trees.
 *
 * Events lag behind, are merged into older ones and so come out of order: they
 * are never taken for what they say, only for where to look. For every event
 * on a directory's name the table is made to agree with what that name is when
 * the event is processed, which is after it happened. This holds:
 *
 *   each directory that lies in a scanned one is either known there, or an
 *   event that names it is still in the queue (or, where marking failed, the
 *   watch is incomplete, is scanned, and marking is tried again).
 *
 * A directory is marked before it is read, so what comes into it is either
 * read or reported. One that is no longer where it was becomes an orphan; what
 * happens to it then reaches nobody, so if it turns up again it is soiled as a
 * whole, and read again if a directory in it changed meanwhile. Orphans are
 * dropped when the queue is drained; a dropped one that turns up later is new.
 */
#include "tmpname.h"
#include "track_fan.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID 0x200	/* Linux 6.5 */
#endif
#define OVERLAYFS_MAGIC 0x794c7630
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define ROOT_MASK (FAN_DELETE_SELF | FAN_MOVE_SELF)
#define FEW_MARKS 16

struct big_handle {
	struct file_handle h;
	uint8_t bytes[128];
};

bool hf_fan_is_temp(const char *name)
{
	return hf_tmpname_is(name, strlen(name));
}

static int open_beneath(int dirfd, const char *path)
{
	struct open_how how = {
		.flags = DIR_FLAGS,
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH,
	};
	int fd;

	do {
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	} while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : fd;
}

/* @fid: in a form that only identifies, where the other one can not be had */
static int handle_of(int fd, bool fid, struct hf_fh *fh)
{
	struct big_handle b;
	int mnt;

	b.h.handle_bytes = sizeof(b.bytes);
	if (name_to_handle_at(fd, "", &b.h, &mnt, AT_EMPTY_PATH | (fid ? AT_HANDLE_FID : 0)))
		return -errno;
	fh->type = b.h.handle_type;
	fh->len = b.h.handle_bytes;
	memcpy(fh->bytes, b.h.f_handle, fh->len);
	return 0;
}

static int fsid_of(int fd, uint64_t *fsid)
{
	struct statfs st;

	if (fstatfs(fd, &st))
		return -errno;
	memcpy(fsid, &st.f_fsid, sizeof(*fsid));
	return 0;
}

static int mark(struct fan *f, int fd, uint64_t extra)
{
	unsigned int how = FAN_MARK_ADD | FAN_MARK_ONLYDIR;

	if (((f->flags & HF_TRACK_FEW_MARKS) && f->dirs.count > FEW_MARKS) || hf_seam("track.mark"))
		return -ENOSPC;
	if (!fanotify_mark(f->fd, how, f->mask | extra, fd, NULL))
		return 0;
	if (errno != EINVAL || !(f->mask & FAN_RENAME))
		return -errno;
	/* before Linux 5.17 a rename is two events */
	f->mask = (f->mask & ~(uint64_t)FAN_RENAME) | FAN_MOVED_FROM | FAN_MOVED_TO;
	return fanotify_mark(f->fd, how, f->mask | extra, fd, NULL) ? -errno : 0;
}

/* the path from the root of @w down to @n, which lies below it, in f->path */
static const char *path_below(struct fan *f, const struct fan_watch *w, const struct hf_dnode *n)
{
	size_t at = PATH_MAX, len;

	if (f->path_cap < PATH_MAX)
		return NULL;
	f->path[--at] = '\0';
	for (; n != w->node; n = n->parent) {
		len = n->parent ? strlen(n->name) : PATH_MAX;
		if (at < len + 1)
			return NULL;
		at -= len;
		memcpy(f->path + at, n->name, len);
		if (n->parent != w->node)
			f->path[--at] = '/';
	}
	return f->path + at;
}

/* Where it is now does not matter to a handle. By path, it must be the same. */
static int open_node(struct fan *f, struct fan_watch *w, struct hf_dnode *n)
{
	struct big_handle b;
	const char *path;
	struct hf_fh fh;
	int fd;

	if (n == w->node) {
		fd = openat(w->rootfd, ".", DIR_FLAGS);
		return fd < 0 ? -errno : fd;
	}
	if (!w->path_only) {
		b.h.handle_bytes = n->len;
		b.h.handle_type = n->type;
		memcpy(b.h.f_handle, n->fh, n->len);
		fd = open_by_handle_at(w->rootfd, &b.h, DIR_FLAGS);
		if (fd >= 0)
			return fd;
		if (errno != EPERM && errno != EOPNOTSUPP)
			return -errno;
		w->path_only = true;
	}
	path = path_below(f, w, n);
	if (!path)
		return -ENAMETOOLONG;
	fd = open_beneath(w->rootfd, path);
	if (fd < 0)
		return fd;
	if (!handle_of(fd, false, &fh) || !handle_of(fd, true, &fh))
		if (fh.type == n->type && fh.len == n->len && !memcmp(fh.bytes, n->fh, fh.len))
			return fd;
	close(fd);
	return -ESTALE;
}

static bool gone(int ret)
{
	return ret == -ENOENT || ret == -ESTALE || ret == -ENOTDIR || ret == -ELOOP;
}

static struct fan_watch *deep_at(const struct hf_dnode *n)
{
	struct fan_watch *w = n->watches;

	while (w && w->base.name)
		w = w->node_next;
	return w;
}

/* the innermost tree that @n belongs to */
static struct fan_watch *deep_above(const struct hf_dnode *n)
{
	struct fan_watch *w = NULL;

	for (; n && !w; n = n->parent)
		w = deep_at(n);
	return w;
}

/* Something below @n could not be looked at or marked: from now on changes may
 * go unreported there. Soil, and say so, and try again. */
static void incomplete(struct fan *f, const struct hf_dnode *n, int ret)
{
	struct fan_watch *w;

	for (; n; n = n->parent) {
		for (w = n->watches; w; w = w->node_next) {
			if (w->base.name)
				continue;
			if (!w->incomplete)
				hf_logf(HF_LOG_WARN, "not every directory of a tree can be marked (%s); "
					"it is scanned instead until that works", strerror(-ret));
			w->incomplete = true;
			hf_watch_taint(&w->base, "", HF_DIRTY_SUBTREE, 0, NULL, true);
		}
	}
	if (!f->retry_at) {
		f->retry_ms = 1000;
		f->retry_at = hf_now_ms() + f->retry_ms;
	}
}

static int push(struct fan *f, struct hf_dnode *n)
{
	size_t cap = f->stack_cap ? f->stack_cap * 2 : 64;
	struct hf_dnode **p;

	if (f->stack_n == f->stack_cap) {
		p = realloc(f->stack, cap * sizeof(*p));
		if (!p)
			return -ENOMEM;
		f->stack = p;
		f->stack_cap = cap;
	}
	f->stack[f->stack_n++] = n;
	return 0;
}

/*
 * The directory @name in @n, which is open as @dfd, gets its node. Return: it in
 * @out; NULL with 0 when there is no such directory (any more) or it is a mount
 * point.
 */
static int adopt(struct fan *f, struct fan_watch *w, struct hf_dnode *n, int dfd, dev_t dev,
		 const char *name, struct hf_dnode **out)
{
	struct hf_dnode *c = hf_dirs_child(&f->dirs, n, name), *child;
	struct stat st;
	struct hf_fh fh;
	int fd, ret;

	*out = NULL;
	fd = open_beneath(dfd, name);
	if (fd == -EXDEV) {
		w->skipped = true;
		if (c)
			c->seen = f->walk;
		return 0;
	}
	if (gone(fd)) {
		if (c)
			hf_dirs_detach(&f->dirs, c);
		return 0;
	}
	if (fd < 0)
		return fd;
	ret = handle_of(fd, false, &fh);
	if (ret == -EOPNOTSUPP) {
		w->path_only = true;
		ret = handle_of(fd, true, &fh);
	}
	if (!ret && fstat(fd, &st))
		ret = -errno;
	fh.fsid = n->fsid;
	if (!ret && st.st_dev != dev)	/* a subvolume */
		ret = fsid_of(fd, &fh.fsid);
	close(fd);
	if (ret)
		return ret;
	child = hf_dirs_find(&f->dirs, &fh);
	if (!child)
		child = hf_dirs_new(&f->dirs, &fh);
	if (!child)
		return -ENOMEM;
	ret = hf_dirs_attach(&f->dirs, child, n, name);
	if (ret == -ELOOP) {
		/* a link of the table between them is out of date, and there is no telling which */
		f->rewalk = true;
		return 0;
	}
	if (ret) {
		if (!child->parent && !child->watches && !child->orphan)
			hf_dirs_detach(&f->dirs, child);
		return ret;
	}
	child->seen = f->walk;
	*out = child;
	return 0;
}

/* what was known in @n, and did not turn up in it */
static void forget_unseen(struct fan *f, struct hf_dnode *n)
{
	struct hf_dnode *child, *next;

	for (child = n->child; child; child = next) {
		next = child->sib;
		if (child->seen != f->walk)
			hf_dirs_detach(&f->dirs, child);
	}
}

/* mark one directory, then read which directories are in it */
static int scan(struct fan *f, struct fan_watch *w, struct hf_dnode *n)
{
	struct hf_dnode *child;
	int fd, ret, err = 0;
	struct dirent *de;
	struct stat st;
	DIR *dir;

	fd = open_node(f, w, n);
	if (fd < 0)
		return gone(fd) ? 0 : fd;
	ret = mark(f, fd, n->watches ? ROOT_MASK : 0);
	if (!ret && w->links_tell && hf_is_leaf(fd)) {
		n->scanned = true;
		forget_unseen(f, n);
		close(fd);
		return 0;
	}
	if (!ret && fstat(fd, &st))
		ret = -errno;
	dir = ret ? NULL : fdopendir(fd);
	if (!dir) {
		if (!ret)
			ret = -errno;
		close(fd);
		return ret;
	}
	/* or the time of the reading is written back for each; who may not say so does without */
	fcntl(fd, F_SETFL, O_NOATIME);
	n->scanned = true;
	while (errno = 0, (de = readdir(dir))) {
		if (de->d_type != DT_DIR && de->d_type != DT_UNKNOWN)
			continue;
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..") ||
		    hf_fan_is_temp(de->d_name))
			continue;
		ret = adopt(f, w, n, fd, st.st_dev, de->d_name, &child);
		if (!ret && child)
			ret = push(f, child);
		if (ret)
			err = ret;
	}
	if (errno && !err)
		err = -errno;
	closedir(dir);
	if (err)
		n->scanned = false;
	else
		forget_unseen(f, n);
	return err;
}

/* through the mount of @w */
static void walk_in(struct fan *f, struct fan_watch *w, struct hf_dnode *n)
{
	int ret;

	f->walk++;
	f->stack_n = 0;
	ret = push(f, n);
	if (ret)
		incomplete(f, n, ret);
	while (f->stack_n) {
		n = f->stack[--f->stack_n];
		ret = scan(f, w, n);
		if (ret)
			incomplete(f, n, ret);
	}
}

void hf_fan_walk(struct fan *f, struct hf_dnode *n)
{
	struct fan_watch *first = deep_above(n), *w;
	struct hf_dnode *p;

	if (!first)
		return;
	hf_seam("track.walk");
	walk_in(f, first, n);
	/* another tree may see the same directories through another mount, in
	 * which other parts of them are covered */
	for (p = n; p; p = p->parent)
		for (w = p->watches; w; w = w->node_next)
			if (!w->base.name && w->mnt_id != first->mnt_id)
				walk_in(f, w, n);
}

void hf_fan_sync_child(struct fan *f, struct hf_dnode *n, const char *name)
{
	struct fan_watch *w = deep_above(n);
	struct hf_dnode *child;
	struct stat st;
	int dfd, ret;

	if (!w) {
		/* of an orphan, or beside a single file: when this or anything
		 * around it becomes part of a tree (again), it must be read */
		for (; n; n = n->parent)
			n->scanned = false;
		return;
	}
	dfd = open_node(f, w, n);
	if (dfd < 0) {
		child = hf_dirs_child(&f->dirs, n, name);
		if (!gone(dfd))
			incomplete(f, n, dfd);
		else if (child)
			hf_dirs_detach(&f->dirs, child);
		return;
	}
	if (fstat(dfd, &st))
		ret = -errno;
	else
		ret = adopt(f, w, n, dfd, st.st_dev, name, &child);
	close(dfd);
	if (ret)
		incomplete(f, n, ret);
	else if (child && (!child->scanned || w->path_only))
		hf_fan_walk(f, child);
}

/* Without a parent that keeps it in a tree, what is below @n is nobody's. */
static void shed(struct fan *f, struct hf_dnode *n)
{
	struct hf_dnode *c;

	n->scanned = false;
	while ((c = n->child)) {
		hf_dirs_detach(&f->dirs, c);
		if (c->watches && !deep_at(c))
			shed(f, c);
	}
}

static bool unmark_through(struct fan *f, struct fan_watch *w, const struct hf_dnode *n)
{
	struct big_handle b;
	uint64_t fsid = 0;
	bool same;
	int fd;

	b.h.handle_bytes = n->len;
	b.h.handle_type = n->type;
	memcpy(b.h.f_handle, n->fh, n->len);
	fd = open_by_handle_at(w->rootfd, &b.h, DIR_FLAGS);
	if (fd < 0)
		return false;
	/* the same handle may be another directory of another filesystem */
	same = !fsid_of(fd, &fsid) && fsid == n->fsid;
	if (same)
		fanotify_mark(f->fd, FAN_MARK_REMOVE, f->mask | ROOT_MASK, fd, NULL);
	close(fd);
	return same;
}

static void unmark(struct fan *f, struct fan_watch *also, const struct hf_dnode *n)
{
	struct hf_watch *w;

	if (also && unmark_through(f, also, n))
		return;
	for (w = f->base.watches; w; w = w->next)
		if (fan_watch_of(w)->fsid == n->fsid && unmark_through(f, fan_watch_of(w), n))
			return;
}

void hf_fan_reap(struct fan *f, struct fan_watch *also)
{
	struct hf_dnode *n;

	while ((n = f->dirs.orphans)) {
		shed(f, n);
		if (f->base.watches)
			unmark(f, also, n);
		hf_dirs_free(&f->dirs, n);
	}
}

void hf_fan_unwatch(struct fan *f, struct fan_watch *w)
{
	struct fan_watch **p = (struct fan_watch **)&w->node->watches;
	struct hf_dnode *n = w->node;

	for (; *p != w; p = &(*p)->node_next)
		;
	*p = w->node_next;
	if (!deep_above(n)) {
		shed(f, n);
		if (!n->watches)
			hf_dirs_detach(&f->dirs, n);
	}
	w->node = NULL;
	hf_fan_reap(f, w);
	if (!f->base.watches)
		fanotify_mark(f->fd, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL);
}

/* The mount table is read again only when the kernel says that it has changed. */
void hf_fan_mounts(struct fan *f)
{
	struct pollfd p = { .fd = f->mounts_fd, .events = POLLPRI };
	struct fan_watch *w;
	struct hf_watch *b;
	unsigned long id;
	FILE *in;
	char *line = NULL;
	size_t cap = 0;

	if (f->mounts_fd < 0 || poll(&p, 1, 0) <= 0)
		return;
	in = fopen("/proc/self/mountinfo", "re");
	if (!in)
		return;
	for (b = f->base.watches; b; b = b->next)
		fan_watch_of(b)->unmounted = fan_watch_of(b)->visible;
	while (getline(&line, &cap, in) > 0) {
		id = strtoul(line, NULL, 10);
		for (b = f->base.watches; b; b = b->next)
			if (fan_watch_of(b)->mnt_id == id)
				fan_watch_of(b)->unmounted = false;
	}
	free(line);
	fclose(in);
	/* what a mount covered may have come to light */
	for (b = f->base.watches; b; b = b->next) {
		w = fan_watch_of(b);
		if (!w->skipped || !w->node)
			continue;
		w->skipped = false;
		hf_fan_walk(f, w->node);
		hf_watch_taint(b, "", HF_DIRTY_SUBTREE, 0, NULL, true);
	}
}

static bool mount_visible(uint64_t mnt_id)
{
	FILE *in = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t cap = 0;
	bool found = false;

	while (in && !found && getline(&line, &cap, in) > 0)
		found = strtoul(line, NULL, 10) == mnt_id;
	free(line);
	if (in)
		fclose(in);
	return found;
}

char *hf_fan_where(int fd)
{
	char link[40], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return NULL;
	path[n] = '\0';
	return strdup(path);
}

int hf_fan_watch_root(struct fan *f, struct fan_watch *w, struct hf_err *err)
{
	struct hf_dnode *n;
	struct statx stx;
	struct statfs st;
	struct hf_fh fh;
	int ret;

	if (statx(w->rootfd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) || fstatfs(w->rootfd, &st))
		return hf_fail(err, HF_OK, -errno, "cannot look at the root of the tree: %s",
			       strerror(errno));
	/* what changed before this tree was added is no news to it */
	hf_fan_mounts(f);
	hf_fan_reap(f, NULL);
	w->mnt_id = stx.stx_mnt_id;
	w->where = hf_fan_where(w->rootfd);
	w->visible = mount_visible(w->mnt_id);
	w->overlay = st.f_type == OVERLAYFS_MAGIC;
	w->links_tell = hf_links_tell(w->rootfd);
	memcpy(&w->fsid, &st.f_fsid, sizeof(w->fsid));
	w->path_only = f->flags & HF_TRACK_NO_HANDLE;
	ret = handle_of(w->rootfd, false, &fh);
	if (ret == -EOPNOTSUPP) {
		w->path_only = true;
		ret = handle_of(w->rootfd, true, &fh);
	}
	if (!ret)
		ret = mark(f, w->rootfd, ROOT_MASK);
	if (ret == -EPERM || ret == -ENOMEM)
		return hf_fail(err, HF_OK, ret, "cannot mark the root of the tree: %s", strerror(-ret));
	if (ret) {
		hf_logf(HF_LOG_WARN, "the kernel cannot report changes on this tree's filesystem (%s); "
			"they are found by scanning only", strerror(-ret));
		return 0;
	}
	fh.fsid = w->fsid;
	n = hf_dirs_find(&f->dirs, &fh);
	if (!n)
		n = hf_dirs_new(&f->dirs, &fh);
	if (!n)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	w->node = n;
	w->node_next = n->watches;
	n->watches = w;
	if (!w->base.name)
		hf_fan_walk(f, n);
	return 0;
}
