/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A consumer to the letter of the netlink specification, for tests that are
 * programs: it adds trees, dumps, acknowledges, and says what is covered by an
 * entry. What fails for want of memory is asked again, so that these tests can
 * run where allocations are made to fail.
 */
#ifndef CONSUMER_H
#define CONSUMER_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../tap.h"
#include "track_nl.h"

#define TRIES 2000
#define ENTRIES_MAX 16384

struct entry {
	uint64_t id, seq;
	uint32_t ops, state, pid, uid;
	char comm[16];
	char *path;
};

struct consumer {
	const char *dir;
	int fd;
	uint32_t tree;
	struct hf_nlmsg state;		/* as of the last barrier */
	struct entry *e;		/* of the last dump */
	unsigned int n;
};

static struct hf_nl nl;
static struct hf_err err;

__attribute__((noreturn))
static inline void die(const char *what, int error)
{
	printf("Bail out! %s: %s %s\n", what, strerror(error), err.msg);
	exit(1);
}

static inline int call(bool dump, int (*fn)(void *ctx, const struct nlmsghdr *h), void *ctx)
{
	int ret = -ENOMEM;

	for (int i = 0; i < TRIES && (ret == -ENOMEM || ret == -EAGAIN || ret == -ENOBUFS); i++) {
		if (i)
			usleep(1000);
		ret = hf_nl_call(&nl, dump, fn, ctx);
	}
	return ret;
}

static inline int on_msg(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;
	int ret = hf_nlmsg_parse(h, &m, NULL, NULL);

	if (!ret)
		*(struct hf_nlmsg *)ctx = m;
	return ret;
}

static inline void open_netlink(void)
{
	if (hf_nl_open(&nl, &err))
		die("the module", 0);
}

/* @file: the single file, or NULL */
static inline void add_tree(struct consumer *c, const char *dir, const char *file)
{
	struct nlmsghdr *h;
	int ret;

	memset(c, 0, sizeof(*c));
	c->dir = dir;
	c->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->fd < 0)
		die(dir, errno);
	h = hf_nl_begin(&nl, HOLDFAST_CMD_TREE_ADD);
	mnl_attr_put_u32(h, HOLDFAST_A_ROOT_FD, c->fd);
	if (file)
		mnl_attr_put(h, HOLDFAST_A_FILE, strlen(file), file);
	mnl_attr_put_strz(h, HOLDFAST_A_RESOURCE, "test");
	mnl_attr_put_strz(h, HOLDFAST_A_CONSUMER, "test");
	mnl_attr_put(h, HOLDFAST_A_PATH, strlen(dir), dir);
	ret = call(false, on_msg, &c->state);
	if (ret)
		die("tree-add", -ret);
	c->tree = c->state.tree;
}

/* Mark the directory at @rel; what lies in it is not looked at. */
static inline int mark_dir(struct consumer *c, const char *rel)
{
	int fd = openat(c->fd, rel, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;
	struct nlmsghdr *h;

	if (fd < 0)
		die(rel, errno);
	h = hf_nl_begin(&nl, HOLDFAST_CMD_MARK);
	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, c->tree);
	mnl_attr_put_u32(h, HOLDFAST_A_DIR_FD, fd);
	ret = call(false, NULL, NULL);
	close(fd);
	return ret;
}

static inline void barrier(struct consumer *c)
{
	int ret;

	mnl_attr_put_u32(hf_nl_begin(&nl, HOLDFAST_CMD_BARRIER), HOLDFAST_A_TREE_ID, c->tree);
	ret = call(false, on_msg, &c->state);
	if (ret)
		die("barrier", -ret);
}

static inline void forget(struct consumer *c)
{
	while (c->n)
		free(c->e[--c->n].path);
}

static inline int on_change(void *ctx, const struct hf_nlchange *ch)
{
	struct consumer *c = ctx;
	struct entry *e;

	if (c->n == ENTRIES_MAX)
		return -E2BIG;
	if (!c->e)
		c->e = calloc(ENTRIES_MAX, sizeof(*c->e));
	if (!c->e)
		return -ENOMEM;
	e = &c->e[c->n];
	*e = (struct entry){ .id = ch->id, .seq = ch->seq, .ops = ch->ops, .state = ch->state,
			     .pid = ch->pid, .uid = ch->uid };
	memcpy(e->comm, ch->comm, sizeof(e->comm));
	e->path = strndup(ch->path, ch->len);
	if (!e->path)
		return -ENOMEM;
	c->n++;
	return 0;
}

static inline int on_dirty(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;

	return hf_nlmsg_parse(h, &m, on_change, ctx);
}

/* One that met a change is as good: what was dirty before it began is in it. */
static inline void dump(struct consumer *c)
{
	int ret = -ENOMEM;

	for (int i = 0; i < TRIES && (ret == -ENOMEM || ret == -ENOBUFS); i++) {
		if (i)
			usleep(1000);
		forget(c);
		mnl_attr_put_u32(hf_nl_begin(&nl, HOLDFAST_CMD_DIRTY_GET), HOLDFAST_A_TREE_ID, c->tree);
		ret = hf_nl_call(&nl, true, on_dirty, c);
	}
	if (ret)
		die("dirty-get", -ret);
}

static inline void look(struct consumer *c)
{
	barrier(c);
	dump(c);
}

static inline const struct entry *find(const struct consumer *c, const char *path)
{
	for (unsigned int i = 0; i < c->n; i++)
		if (!strcmp(c->e[i].path, path))
			return &c->e[i];
	return NULL;
}

/* by the whole of a directory above it, or of the tree */
static inline const struct entry *covered(const struct consumer *c, const char *path)
{
	const struct entry *e = find(c, path);

	for (unsigned int i = 0; !e && i < c->n; i++) {
		size_t len = strlen(c->e[i].path);

		if ((c->e[i].state & HOLDFAST_STATE_SUBTREE) &&
		    (!len || (!strncmp(path, c->e[i].path, len) && path[len] == '/')))
			e = &c->e[i];
	}
	return e;
}

static inline void ack(struct consumer *c, uint64_t id, uint64_t seq)
{
	struct nlmsghdr *h = hf_nl_begin(&nl, HOLDFAST_CMD_ACK);
	struct nlattr *nest;
	int ret;

	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, c->tree);
	nest = mnl_attr_nest_start(h, HOLDFAST_A_ACK);
	mnl_attr_put_u64(h, HOLDFAST_A_ACK_ID, id);
	mnl_attr_put_u64(h, HOLDFAST_A_ACK_SEQ, seq);
	mnl_attr_nest_end(h, nest);
	ret = call(false, NULL, NULL);
	if (ret)
		die("ack", -ret);
}

/* as it was dumped */
static inline void ack_dumped(struct consumer *c)
{
	for (unsigned int i = 0; i < c->n; i++)
		ack(c, c->e[i].id, c->e[i].seq);
}

static inline void del_tree(struct consumer *c)
{
	int ret;

	mnl_attr_put_u32(hf_nl_begin(&nl, HOLDFAST_CMD_TREE_DEL), HOLDFAST_A_TREE_ID, c->tree);
	ret = call(false, NULL, NULL);
	if (ret)
		die("tree-del", -ret);
	forget(c);
	free(c->e);
	close(c->fd);
}

struct number { uint16_t attr; uint64_t value; };

static inline int on_number(void *ctx, const struct nlmsghdr *h)
{
	struct number *n = ctx;
	const struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(a) != n->attr)
			continue;
		n->value = mnl_attr_get_payload_len(a) == 8 ? mnl_attr_get_u64(a) : mnl_attr_get_u32(a);
	}
	return 0;
}

/* A number that version-get (@tree 0) or tree-get tells; UINT64_MAX: it does not. */
static inline uint64_t told(uint32_t tree, uint16_t attr)
{
	struct nlmsghdr *h = hf_nl_begin(&nl, tree ? HOLDFAST_CMD_TREE_GET : HOLDFAST_CMD_VERSION_GET);
	struct number n = { attr, UINT64_MAX };
	int ret;

	if (tree)
		mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, tree);
	ret = call(false, on_number, &n);
	if (ret)
		die("get", -ret);
	return n.value;
}

static inline void show_dump(const struct consumer *c)
{
	for (unsigned int i = 0; i < c->n && i < 20; i++)
		printf("# \"%s\" id %llu seq %llu ops %x state %x pid %u %s\n", c->e[i].path,
		       (unsigned long long)c->e[i].id, (unsigned long long)c->e[i].seq, c->e[i].ops,
		       c->e[i].state, c->e[i].pid, c->e[i].comm);
	if (c->n > 20)
		printf("# and %u more\n", c->n - 20);
}

static inline void make(const char *path, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || ftruncate(fd, size) || fsync(fd) || close(fd))
		die(path, errno);
}

/* As the daemon does: after this the next store is seen. */
static inline uint64_t clean_and_read(const char *path, uint64_t at)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t v = 0;

	if (fd < 0 || sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				      SYNC_FILE_RANGE_WAIT_AFTER))
		die(path, errno);
	if (pread(fd, &v, sizeof(v), at) < 0)
		die(path, errno);
	close(fd);
	return v;
}

#endif
