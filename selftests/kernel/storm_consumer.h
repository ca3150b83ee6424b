/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A consumer that keeps a mirror of a tree (storm_mirror.h), from the dirty set alone
 * and to the letter of the netlink specification: a name is looked at again; what is
 * below it is only if the entry says so, each directory marked before it is read; what
 * was dumped is acknowledged with the number it was dumped with, nothing else. When
 * nobody changes anything and the set is clean, the mirror must be what is there.
 */
#ifndef STORM_CONSUMER_H
#define STORM_CONSUMER_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../tap.h"
#include "storm_mirror.h"
#include "track_nl.h"

#define ROUNDS_AFTER 300
#define ACKS 256

struct entry {
	struct entry *next;
	uint64_t id, seq;
	bool whole, done;
	uint32_t len;
	char path[];
};

struct side {
	const char *dir;
	int fd;
	uint32_t tree;
	struct node *root;
	struct entry *first, **last;	/* of a dump */
	bool marking;			/* else only what is there */
	bool unmarked;			/* a directory could not be marked, by the bound */
	bool again;			/* the first scan met the bound */
};

static struct hf_nl nl;
static struct hf_err err;
static unsigned long entries, scans, rounds;

static void die(const char *what, int error)
{
	printf("Bail out! %s: %s %s\n", what, strerror(error), err.msg);
	exit(1);
}

/* A request that got no memory is sent again: where allocations are made to fail,
 * that is no answer. */
static bool no_memory(int ret)
{
	return ret == -ENOMEM || ret == -ENOBUFS;
}

static int call(int (*fn)(void *ctx, const struct nlmsghdr *h), void *ctx)
{
	int ret;

	do
		ret = hf_nl_call(&nl, false, fn, ctx);
	while (no_memory(ret));
	return ret;
}

/* What is there, taken into the mirror */

/* it was moved or removed since; then it has an entry that was not dumped yet */
static bool gone(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ESTALE;
}

static int mark(struct side *s, int fd)
{
	struct nlmsghdr *h;
	int ret;

	do {
		h = hf_nl_begin(&nl, HOLDFAST_CMD_MARK);
		mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, s->tree);
		mnl_attr_put_u32(h, HOLDFAST_A_DIR_FD, fd);
		ret = call(NULL, NULL);
	} while (ret == -EAGAIN);
	return -ret;
}

static void take(struct side *s, int at, struct node *dir, const char *name, bool whole,
		 bool mark_it);

/* What is below; takes @fd over. */
static void scan(struct side *s, int fd, struct node *n, bool mark_it)
{
	struct dirent *e;
	int ret = 0;
	DIR *d;

	while (n->below)
		drop(&n->below);
	scans++;
	if (s->marking && mark_it) {
		ret = mark(s, fd);
		if (gone(ret)) {
			close(fd);
			return;
		}
		if (ret && ret != ENOSPC)
			die("mark", ret);
		mark_it = !ret;
	}
	if (s->marking && !mark_it)
		s->unmarked = true;
	d = fdopendir(fd);
	if (!d || fstat(fd, &n->st))
		die("scan", errno);
	/* btrfs shows what was there when it was opened, which was before the mark */
	rewinddir(d);
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			take(s, fd, n, e->d_name, true, mark_it);
	closedir(d);
}

static void take(struct side *s, int at, struct node *dir, const char *name, bool whole,
		 bool mark_it)
{
	struct node **p = slot(dir, name, strlen(name)), *n = *p;
	struct stat st;
	ssize_t len;
	int fd;

	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW)) {
		if (!gone(errno))
			die(name, errno);
		drop(p);
		return;
	}
	if (!n) {
		n = *p = calloc(1, sizeof(*n) + strlen(name) + 1);
		if (!n)
			die(name, ENOMEM);
		strcpy(n->name, name);
	} else if (!S_ISDIR(st.st_mode) || st.st_ino != n->st.st_ino) {
		while (n->below)
			drop(&n->below);
	}
	n->st = st;
	len = S_ISLNK(st.st_mode) ? readlinkat(at, name, n->target, sizeof(n->target) - 1) : 0;
	n->target[len > 0 ? len : 0] = '\0';
	if (!whole || !S_ISDIR(st.st_mode))
		return;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		scan(s, fd, n, mark_it);
	else if (!gone(errno))
		die(name, errno);
}

/* that a directory's own times change with its names is no news of the module */
static void look_again(int fd, struct node *n)
{
	struct stat st;

	if (!fstat(fd, &st) && st.st_ino == n->st.st_ino)
		n->st = st;
}

static int open_below(int root, const char *path, size_t len)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS,
	};
	char copy[PATH_MAX];

	snprintf(copy, sizeof(copy), "./%.*s", (int)len, path);
	return syscall(SYS_openat2, root, copy, &how, sizeof(how));
}

static void take_root(struct side *s)
{
	scan(s, openat(s->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), s->root, true);
}

static void apply(struct side *s, const struct entry *e)
{
	const char *name = e->path, *slash;
	struct node *dir = s->root;
	int fd;

	if (!e->len) {
		if (e->whole)
			take_root(s);
		else
			look_again(s->fd, dir);
		return;
	}
	for (; dir && (slash = strchr(name, '/')); name = slash + 1)
		dir = *slot(dir, name, slash - name);
	/* what it lies in is not known: an entry above it says to scan */
	if (!dir)
		return;
	fd = open_below(s->fd, e->path, name - e->path);
	if (fd < 0) {
		if (!gone(errno))
			die(e->path, errno);
		drop(slot(dir, name, strlen(name)));
		return;
	}
	look_again(fd, dir);
	take(s, fd, dir, name, e->whole, true);
	close(fd);
}

/* What is noted, and acknowledged */

static int on_change(void *ctx, const struct hf_nlchange *c)
{
	struct entry *e = calloc(1, sizeof(*e) + c->len + 1);
	struct side *s = ctx;

	if (!e)
		return -ENOMEM;
	e->id = c->id;
	e->seq = c->seq;
	e->whole = c->state & HOLDFAST_STATE_SUBTREE;
	e->len = c->len;
	memcpy(e->path, c->path, c->len);
	*s->last = e;
	s->last = &e->next;
	return 0;
}

static int on_dirty(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;

	return hf_nlmsg_parse(h, &m, on_change, ctx);
}

static int on_added(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;
	int ret = hf_nlmsg_parse(h, &m, NULL, NULL);

	*(struct hf_nlmsg *)ctx = m;
	return ret;
}

static struct hf_nlmsg add(struct side *s)
{
	struct nlmsghdr *h = hf_nl_begin(&nl, HOLDFAST_CMD_TREE_ADD);
	struct hf_nlmsg m = { 0 };
	int ret;

	mnl_attr_put_u32(h, HOLDFAST_A_ROOT_FD, s->fd);
	mnl_attr_put_strz(h, HOLDFAST_A_RESOURCE, "storm");
	mnl_attr_put_strz(h, HOLDFAST_A_CONSUMER, "storm");
	mnl_attr_put(h, HOLDFAST_A_PATH, strlen(s->dir), s->dir);
	ret = call(on_added, &m);
	if (ret)
		die("tree-add", -ret);
	return m;
}

/* of a tree in which everything that had returned before is noted */
static struct hf_nlmsg state(const struct side *s)
{
	struct hf_nlmsg m;
	int ret;

	/* EAGAIN: a writer is in the middle of something, and has not got the processor */
	do
		ret = hf_nl_tree(&nl, HOLDFAST_CMD_BARRIER, s->tree, &m);
	while (ret == -EAGAIN || no_memory(ret));
	if (ret)
		die("barrier", -ret);
	return m;
}

static void open_socket(void)
{
	int ret;

	do
		ret = hf_nl_open(&nl, &err);
	while (no_memory(ret));
	if (ret)
		die("the module", -ret);
}

static void ack(const struct side *s, struct entry *e)
{
	while (e) {
		struct nlmsghdr *h = hf_nl_begin(&nl, HOLDFAST_CMD_ACK);
		int n = 0, ret;

		mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, s->tree);
		for (; e && n < ACKS; e = e->next) {
			struct nlattr *nest;

			if (!e->done)
				continue;
			nest = mnl_attr_nest_start(h, HOLDFAST_A_ACK);
			mnl_attr_put_u64(h, HOLDFAST_A_ACK_ID, e->id);
			mnl_attr_put_u64(h, HOLDFAST_A_ACK_SEQ, e->seq);
			mnl_attr_nest_end(h, nest);
			n++;
		}
		ret = n ? call(NULL, NULL) : 0;
		if (ret)
			die("ack", -ret);
	}
}

static void drop_entries(struct side *s)
{
	struct entry *e;

	while ((e = s->first)) {
		s->first = e->next;
		free(e);
	}
	s->last = &s->first;
}

/* What is dirty, into s->first, which is empty */
static void dump(struct side *s)
{
	struct nlmsghdr *h = hf_nl_begin(&nl, HOLDFAST_CMD_DIRTY_GET);
	int ret;

	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, s->tree);
	do {
		drop_entries(s);
		ret = hf_nl_call(&nl, true, on_dirty, s);
	} while (no_memory(ret));
	if (ret)
		die("dirty-get", -ret);
}

/* Whether anything of what was dumped could be done with. */
static bool work_off(struct side *s)
{
	bool more = false;
	struct entry *e;

	if (s->again) {
		s->unmarked = false;
		take_root(s);
		more |= !s->unmarked;
		s->again = s->unmarked;
	}
	for (e = s->first; e; e = e->next) {
		s->unmarked = false;
		apply(s, e);
		e->done = !s->unmarked;
		more |= e->done;
		entries++;
	}
	ack(s, s->first);
	drop_entries(s);
	return more;
}

static bool one_round(struct side *s)
{
	rounds++;
	dump(s);
	return work_off(s);
}

static bool settle(struct side *s)
{
	for (int i = 0; i < ROUNDS_AFTER; i++)
		if (!one_round(s))
			return true;
	return false;
}

static void begin(struct side *s, const char *dir)
{
	*s = (struct side){ .dir = dir, .marking = true };
	s->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s->root = calloc(1, sizeof(*s->root) + 1);
	if (s->fd < 0 || !s->root)
		die(dir, errno);
	s->tree = add(s).tree;
}

static void is_mirrored(struct side *s, const char *name, const char *when, bool all)
{
	struct side there = { .fd = s->fd, .root = calloc(1, sizeof(*there.root) + 1) };
	struct hf_nlmsg m;
	size_t dirs;

	take_root(&there);
	ok(!differ(s->dir, s->root, there.root, 0), "%s: P2: %s: the mirror of %s is what is there",
	   name, when, s->dir);
	dirs = count(there.root, true);
	/* marks of what was moved out end a little later */
	for (int i = 0; m = state(s), m.marks > dirs && i < 500; i++)
		usleep(10000);
	if (all)
		ok(m.marks == dirs && !m.dirty,
		   "%s: %s: all %zu directories of %s are marked (%llu), none dirty (%llu)", name, when,
		   dirs, s->dir, (unsigned long long)m.marks, (unsigned long long)m.dirty);
	drop(&there.root);
}

static void end(struct side *s)
{
	if (hf_nl_tree(&nl, HOLDFAST_CMD_TREE_DEL, s->tree, NULL))
		die("tree-del", 0);
	drop(&s->root);
	close(s->fd);
}

#endif
