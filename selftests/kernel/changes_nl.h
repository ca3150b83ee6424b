/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The consumer of changes.c. */
#ifndef CHANGES_NL_H
#define CHANGES_NL_H

#include "track_nl.h"
#include "changes.h"

#define ENTRIES 4096
#define ACKS 256

struct noted {
	uint64_t id, seq;
	uint32_t ops, state, pid;
	char path[256];
};

struct tree {
	int fd;
	uint32_t id, quality;
	uint64_t marks;
};

static struct hf_nl nl;
static struct tree tree, other, *watched = &tree;
static struct noted noted[ENTRIES];
static size_t nnoted;

static int on_message(void *ctx, const struct nlmsghdr *h)
{
	struct tree *t = ctx;
	const struct nlattr *a;
	struct hf_nlmsg m;
	int ret = hf_nlmsg_parse(h, &m, NULL, NULL);

	t->id = m.tree;
	t->marks = m.marks;
	mnl_attr_for_each(a, h, GENL_HDRLEN)
		if (mnl_attr_get_type(a) == HOLDFAST_A_QUALITY)
			t->quality = mnl_attr_get_u32(a);
	return ret;
}

static int walk(const struct tree *t, const char *path)
{
	bool skipped = false;

	return hf_nl_walk(&nl, t->id, t->fd, path, &skipped);
}

static struct tree watch(const char *dir)
{
	struct nlmsghdr *h = hf_nl_begin(&nl, HOLDFAST_CMD_TREE_ADD);
	struct tree t = { .fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	int ret;

	must(t.fd, dir);
	mnl_attr_put_u32(h, HOLDFAST_A_ROOT_FD, t.fd);
	mnl_attr_put_strz(h, HOLDFAST_A_RESOURCE, "changes");
	mnl_attr_put_strz(h, HOLDFAST_A_CONSUMER, "changes");
	mnl_attr_put(h, HOLDFAST_A_PATH, strlen(dir), dir);
	ret = hf_nl_call(&nl, false, on_message, &t);
	if (!ret)
		ret = walk(&t, "");
	if (ret)
		die("tree-add", -ret);
	return t;
}

static void forget(struct tree *t)
{
	int ret = hf_nl_tree(&nl, HOLDFAST_CMD_TREE_DEL, t->id, NULL);

	if (ret)
		die("tree-del", -ret);
	close(t->fd);
	*t = (struct tree){ .fd = -1 };
}

/* Its marks and quality. */
static void look(struct tree *t)
{
	static const uint8_t cmd[] = { HOLDFAST_CMD_BARRIER, HOLDFAST_CMD_TREE_GET };
	int ret;

	for (int i = 0; i < 2; i++) {
		struct tree got = *t;

		do {
			struct nlmsghdr *h = hf_nl_begin(&nl, cmd[i]);

			mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, t->id);
			ret = hf_nl_call(&nl, false, on_message, &got);
		} while (ret == -EAGAIN);
		if (ret)
			die("barrier, tree-get", -ret);
		t->quality = got.quality;
		if (!i)
			t->marks = got.marks;
	}
}

static int on_change(void *ctx, const struct hf_nlchange *c)
{
	struct noted *n = &noted[nnoted];

	if (nnoted == ENTRIES || c->len >= sizeof(n->path))
		return -E2BIG;
	*n = (struct noted){ c->id, c->seq, c->ops, c->state, c->pid, "" };
	memcpy(n->path, c->path, c->len);
	nnoted++;
	return 0;
}

static int on_dirty(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;

	return hf_nlmsg_parse(h, &m, on_change, NULL);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct noted *)a)->path, ((const struct noted *)b)->path);
}

/* All that had returned before is in noted[]. */
static void dump(struct tree *t)
{
	struct nlmsghdr *h;
	int ret;

	look(t);
	do {
		nnoted = 0;
		h = hf_nl_begin(&nl, HOLDFAST_CMD_DIRTY_GET);
		mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, t->id);
		ret = hf_nl_call(&nl, true, on_dirty, NULL);
		if (ret)
			die("dirty-get", -ret);
	} while (nl.interrupted);
	qsort(noted, nnoted, sizeof(*noted), by_path);
}

static void acknowledge(const struct tree *t)
{
	for (size_t i = 0; i < nnoted;) {
		struct nlmsghdr *h = hf_nl_begin(&nl, HOLDFAST_CMD_ACK);
		int ret;

		mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, t->id);
		for (int k = 0; k < ACKS && i < nnoted; k++, i++) {
			struct nlattr *nest = mnl_attr_nest_start(h, HOLDFAST_A_ACK);

			mnl_attr_put_u64(h, HOLDFAST_A_ACK_ID, noted[i].id);
			mnl_attr_put_u64(h, HOLDFAST_A_ACK_SEQ, noted[i].seq);
			mnl_attr_nest_end(h, nest);
		}
		ret = hf_nl_call(&nl, false, NULL, NULL);
		if (ret)
			die("ack", -ret);
	}
}

/* Marks what arrived, until nothing is noted any more. */
static void settle(struct tree *t)
{
	for (int i = 0; i < 100; i++) {
		dump(t);
		if (!nnoted)
			return;
		for (size_t k = 0; k < nnoted; k++) {
			int ret = 0;

			if (noted[k].state & HOLDFAST_STATE_SUBTREE)
				ret = walk(t, noted[k].path);
			if (ret)
				die("mark", -ret);
		}
		acknowledge(t);
	}
	die("the dirty set does not come to rest", EBUSY);
}

static const char *names(char *buf, uint32_t bits, const char *const *name)
{
	for (*buf = '\0'; bits; bits &= bits - 1)
		sprintf(buf + strlen(buf), "%s%s", *buf ? "," : "", name[__builtin_ctz(bits)]);
	return buf;
}

/* noted[] in words; names in @dir without it */
static const char *in_words(const char *dir)
{
	static const char *const op[32] = {
		"create", "modify", "close-write", "attrib", "delete", "moved-from", "moved-to",
	};
	static const char *const state[32] = { "subtree", "open", "mapped" };
	static char all[4096];
	size_t len = 0;

	*all = '\0';
	for (size_t i = 0; i < nnoted && len < sizeof(all) - 600; i++) {
		const struct noted *n = &noted[i];
		char ops[100], states[40];
		bool in = !strncmp(n->path, dir, strlen(dir)) && n->path[strlen(dir)] == '/';

		len += sprintf(all + len, "%s%s%s %s", i ? "; " : "", in ? "" : "/",
			       n->path + (in ? strlen(dir) + 1 : 0), names(ops, n->ops, op));
		if (n->state)
			len += sprintf(all + len, " %s", names(states, n->state, state));
	}
	return all;
}

#endif
