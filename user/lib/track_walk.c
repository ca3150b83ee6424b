// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The marking walk of the kernel source: mark first, then scan.
 *
 * A directory is marked before it is opened to be read, so that what comes into
 * it afterwards has an event. (btrfs shows to a reader what was there when it
 * opened the directory, not what came since.) Between the two its path may come to lead elsewhere.
 * That loses nothing: what moves inside the tree, or into it, has an entry of
 * the dirty set that says "scan this subtree", and that entry is walked in turn.
 * For the same reason what is gone when it is to be opened or marked is passed
 * over. Directories that wait to be read are remembered by path, not held open.
 */
#include "tmpname.h"
#include "track_nl.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BATCH 32
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)

struct walk {
	struct hf_nl *n;
	uint32_t tree;
	int rootfd;
	char **stack;			/* paths of marked directories that are still to be read */
	size_t top, cap;
	int fds[BATCH];			/* opened, to be marked */
	char *names[BATCH];
	unsigned int count;
	int failed;			/* why not all is marked */
	bool full, skipped;
	bool links_tell;		/* which directories have others in them */
};

bool hf_nl_is_temp(const char *rel)
{
	for (; rel; rel = strchr(rel, '/')) {
		rel += *rel == '/';
		if (hf_tmpname_is(rel, strcspn(rel, "/")))
			return true;
	}
	return false;
}

static bool gone(int ret)
{
	return ret == -ENOENT || ret == -ENOTDIR || ret == -ELOOP || ret == -ESTALE;
}

static int open_below(int dirfd, const char *path)
{
	struct open_how how = { .flags = DIR_FLAGS,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV };
	int tries, fd = -1;

	/* -EAGAIN: a rename somewhere made the kernel unsure */
	for (tries = 0; tries < 64; tries++) {
		fd = syscall(SYS_openat2, dirfd, *path ? path : ".", &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd < 0 ? -errno : fd;
}

static int push(struct walk *w, char *path)
{
	if (w->top == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 64;
		char **s = realloc(w->stack, cap * sizeof(*s));

		if (!s) {
			free(path);
			return -ENOMEM;
		}
		w->stack = s;
		w->cap = cap;
	}
	w->stack[w->top++] = path;
	return 0;
}

/* Mark @fds in order; how many were, and why not the next one: the offset of the
 * attribute at fault tells which that is. */
static unsigned int mark(struct walk *w, const int *fds, unsigned int count, int *why)
{
	struct nlmsghdr *h;
	unsigned int done;
	uint32_t first;
	bool told = true;

	pthread_mutex_lock(&w->n->lock);
	h = hf_nl_begin(w->n, HOLDFAST_CMD_MARK);
	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, w->tree);
	first = h->nlmsg_len;
	for (done = 0; done < count; done++)
		mnl_attr_put_u32(h, HOLDFAST_A_DIR_FD, (uint32_t)fds[done]);
	*why = hf_nl_call(w->n, false, NULL, NULL);
	if (*why) {
		told = w->n->error.offset >= first;
		done = told ? (w->n->error.offset - first) / (MNL_ATTR_HDRLEN + sizeof(uint32_t)) : 0;
	}
	pthread_mutex_unlock(&w->n->lock);
	if (!told && count > 1)
		return mark(w, fds, 1, why);
	return *why && done >= count ? 0 : done;
}

static int child(struct walk *w, const char *rel, const char *name)
{
	char *path = *rel ? hf_strf("%s/%s", rel, name) : strdup(name);

	return path ? push(w, path) : -ENOMEM;
}

static void fail(struct walk *w, int ret)
{
	w->failed = ret;
	/* then every other mark fails as well */
	w->full |= ret == -ENOSPC || ret == -ENOMEM || ret == -ETIMEDOUT || ret == -EPERM || ret == -EBUSY;
}

static void flush(struct walk *w, const char *rel)
{
	unsigned int i = 0, k, done;
	int why, ret;

	while (i < w->count && !w->full) {
		done = mark(w, w->fds + i, w->count - i, &why);
		for (k = i; k < i + done; k++) {
			ret = child(w, rel, w->names[k]);
			if (ret)
				fail(w, ret);
		}
		i += done;
		if (why && !gone(why))
			fail(w, why);
		i += why != 0;
	}
	for (i = 0; i < w->count; i++) {
		close(w->fds[i]);
		free(w->names[i]);
	}
	w->count = 0;
}

static void found(struct walk *w, int dirfd, const char *rel, const char *name)
{
	int fd = open_below(dirfd, name);

	if (fd == -EXDEV) {
		w->skipped = true;
		return;
	}
	if (fd < 0) {
		if (!gone(fd))
			w->failed = fd;
		return;
	}
	w->names[w->count] = strdup(name);
	if (!w->names[w->count]) {
		close(fd);
		fail(w, -ENOMEM);
		return;
	}
	w->fds[w->count++] = fd;
	if (w->count == BATCH)
		flush(w, rel);
}

static void read_dir(struct walk *w, const char *rel)
{
	int fd = open_below(w->rootfd, rel);
	struct dirent *de;
	DIR *dir;

	if (fd < 0) {
		if (!gone(fd) && fd != -EXDEV)
			w->failed = fd;
		w->skipped |= fd == -EXDEV;
		return;
	}
	if (w->links_tell && hf_is_leaf(fd)) {
		close(fd);
		return;
	}
	dir = fdopendir(fd);
	if (!dir) {
		w->failed = -errno;
		close(fd);
		return;
	}
	/* or the time of the reading is written back for each; who may not say so does without */
	fcntl(fd, F_SETFL, O_NOATIME);
	for (errno = 0; !w->full && (de = readdir(dir)); errno = 0) {
		if ((de->d_type != DT_DIR && de->d_type != DT_UNKNOWN) || !strcmp(de->d_name, ".") ||
		    !strcmp(de->d_name, "..") || hf_nl_is_temp(de->d_name))
			continue;
		found(w, fd, rel, de->d_name);
	}
	if (errno && !w->full && !gone(-errno))
		w->failed = -errno;
	flush(w, rel);
	closedir(dir);
}

/* @rel itself: its parent is marked, or below an entry of its own. */
static void mark_top(struct walk *w, const char *rel)
{
	int fd = open_below(w->rootfd, rel), why = 0;
	char *path;

	if (fd < 0) {
		if (!gone(fd) && fd != -EXDEV)
			w->failed = fd;
		w->skipped |= fd == -EXDEV;
		return;
	}
	if (*rel)
		mark(w, &fd, 1, &why);
	close(fd);
	path = why ? NULL : strdup(rel);
	if (!why)
		why = path ? push(w, path) : -ENOMEM;
	if (why && !gone(why))
		fail(w, why);
}

int hf_nl_walk(struct hf_nl *n, uint32_t tree, int rootfd, const char *rel, bool *skipped)
{
	struct walk w = { .n = n, .tree = tree, .rootfd = rootfd };
	char *path;

	w.links_tell = hf_links_tell(rootfd);
	mark_top(&w, rel);
	while (w.top) {
		path = w.stack[--w.top];
		if (!w.full)
			read_dir(&w, path);
		free(path);
	}
	free(w.stack);
	*skipped |= w.skipped;
	return w.failed;
}
