/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A netlink socket that speaks the family without a library: messages, acks with what they say of the error,
 * dumps with buffers of any size, change events and the gaps in their numbers.
 */
#ifndef HF_NETLINK_SOCK_H
#define HF_NETLINK_SOCK_H
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <uapi/linux/holdfast.h>
#include <linux/netlink.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

struct sock {
	int fd;
	uint32_t seq;
};

struct msg {
	union {
		struct nlmsghdr h;
		char b[32768];
	};
};

static uint16_t family;
static uint32_t group;
/* of the last error */
static char why[256];
static int bad_offset, miss_type;

static struct sock sock_new(void)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK };
	struct timeval tv = { .tv_sec = 20 };
	struct sock s = { .fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC) };
	int one = 1, big = 4 << 20;

	if (s.fd < 0 || bind(s.fd, (struct sockaddr *)&a, sizeof(a)))
		die("netlink socket");
	setsockopt(s.fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	setsockopt(s.fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	setsockopt(s.fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return s;
}

static void begin(struct msg *m, uint16_t type, uint16_t flags, uint8_t cmd)
{
	struct genlmsghdr *g = (void *)(m->b + NLMSG_HDRLEN);

	memset(m, 0, NLMSG_HDRLEN + GENL_HDRLEN);
	m->h.nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN;
	m->h.nlmsg_type = type;
	m->h.nlmsg_flags = NLM_F_REQUEST | flags;
	g->cmd = cmd;
	g->version = 1;
}

static void put(struct msg *m, int type, const void *data, size_t len)
{
	struct nlattr *a = (void *)(m->b + m->h.nlmsg_len);

	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + len;
	if (len)
		memcpy((char *)a + NLA_HDRLEN, data, len);
	memset((char *)a + a->nla_len, 0, NLA_ALIGN(a->nla_len) - a->nla_len);
	m->h.nlmsg_len += NLA_ALIGN(a->nla_len);
}

static void put32(struct msg *m, int type, uint32_t v)
{
	put(m, type, &v, sizeof(v));
}

static void put_ack(struct msg *m, uint64_t id, uint64_t seq)
{
	struct nlattr *a = (void *)(m->b + m->h.nlmsg_len);

	put(m, HOLDFAST_A_ACK | NLA_F_NESTED, NULL, 0);
	put(m, HOLDFAST_A_ACK_ID, &id, 8);
	put(m, HOLDFAST_A_ACK_SEQ, &seq, 8);
	a->nla_len = m->b + m->h.nlmsg_len - (char *)a;
}

#define NATTR 64
static void parse(const void *p, int len, const struct nlattr **tb)
{
	const struct nlattr *a = p;

	memset(tb, 0, NATTR * sizeof(*tb));
	while (len >= (int)sizeof(*a) && a->nla_len >= sizeof(*a) && a->nla_len <= len) {
		int t = a->nla_type & NLA_TYPE_MASK;

		if (t < NATTR)
			tb[t] = a;
		len -= NLA_ALIGN(a->nla_len);
		a = (const void *)((const char *)a + NLA_ALIGN(a->nla_len));
	}
}

static const void *data(const struct nlattr *a) { return (const char *)a + NLA_HDRLEN; }
static int dlen(const struct nlattr *a) { return a->nla_len - NLA_HDRLEN; }
static uint32_t g32(const struct nlattr *a) { uint32_t v = -1; if (a) memcpy(&v, data(a), 4); return v; }
static uint64_t g64(const struct nlattr *a) { uint64_t v = -1; if (a) memcpy(&v, data(a), 8); return v; }

static int error_of(const struct nlmsghdr *h, int err)
{
	const struct nlattr *tb[NATTR];
	const char *p;

	why[0] = 0;
	bad_offset = miss_type = 0;
	if (h->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *e = NLMSG_DATA(h);

		p = (const char *)h + NLMSG_HDRLEN + sizeof(*e);
		if (!(h->nlmsg_flags & NLM_F_CAPPED))
			p += NLMSG_ALIGN(e->msg.nlmsg_len) - NLMSG_HDRLEN;
	} else {
		p = (const char *)h + NLMSG_HDRLEN + sizeof(int);
	}
	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return err;
	parse(p, (const char *)h + h->nlmsg_len - p, tb);
	if (tb[NLMSGERR_ATTR_MSG])
		snprintf(why, sizeof(why), "%s", (const char *)data(tb[NLMSGERR_ATTR_MSG]));
	if (tb[NLMSGERR_ATTR_OFFS])
		bad_offset = g32(tb[NLMSGERR_ATTR_OFFS]);
	if (tb[NLMSGERR_ATTR_MISS_TYPE])
		miss_type = g32(tb[NLMSGERR_ATTR_MISS_TYPE]);
	return err;
}

/* Send; take the reply, if there is one; the error of the ack. */
static int call(struct sock *s, struct msg *m, struct msg *r)
{
	static struct msg in;
	bool got = false;

	if (r)
		r->h.nlmsg_len = 0;
	m->h.nlmsg_flags |= NLM_F_ACK;
	m->h.nlmsg_seq = ++s->seq;
	if (send(s->fd, m, m->h.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		int len = recv(s->fd, &in, sizeof(in), 0);
		struct nlmsghdr *h = &in.h;

		if (len < 0)
			die("no answer");
		for (; NLMSG_OK(h, (unsigned int)len); h = NLMSG_NEXT(h, len)) {
			if (h->nlmsg_seq != s->seq)
				continue;
			if (h->nlmsg_type == NLMSG_ERROR) {
				const struct nlmsgerr *e = NLMSG_DATA(h);

				return error_of(h, e->error);
			}
			if (r && !got)
				memcpy(r, h, h->nlmsg_len);
			got = true;
		}
	}
}

static void attrs_of(const struct nlmsghdr *h, const struct nlattr **tb)
{
	parse((const char *)h + NLMSG_HDRLEN + GENL_HDRLEN,
	      h->nlmsg_len - NLMSG_HDRLEN - GENL_HDRLEN, tb);
}

struct change {
	uint64_t id, seq;
	uint32_t ops, state, pid;
	int len;
	char path[PATH_MAX];
	char comm[32];
};

static struct change *list;
static int listed, inconsistent, messages, names;

static void change_of(const struct nlattr *nest, struct change *c)
{
	const struct nlattr *tb[NATTR];

	parse(data(nest), dlen(nest), tb);
	memset(c, 0, sizeof(*c));
	c->id = g64(tb[HOLDFAST_A_CHANGE_ID]);
	c->seq = g64(tb[HOLDFAST_A_CHANGE_SEQ]);
	c->ops = g32(tb[HOLDFAST_A_CHANGE_OPS]);
	c->state = g32(tb[HOLDFAST_A_CHANGE_STATE]);
	c->pid = g32(tb[HOLDFAST_A_CHANGE_PID]);
	c->len = dlen(tb[HOLDFAST_A_CHANGE_PATH]);
	memcpy(c->path, data(tb[HOLDFAST_A_CHANGE_PATH]), c->len);
	if (tb[HOLDFAST_A_CHANGE_COMM])
		snprintf(c->comm, sizeof(c->comm), "%s",
			 (const char *)data(tb[HOLDFAST_A_CHANGE_COMM]));
}

/* A dump, with a receive buffer of @size; @meanwhile is called after its first part. */
static int dump(struct sock *s, uint8_t cmd, uint32_t tree, size_t size, void (*meanwhile)(void))
{
	static struct msg in;
	struct msg m;
	int err = 1;

	begin(&m, family, NLM_F_DUMP, cmd);
	if (tree)
		put32(&m, HOLDFAST_A_TREE_ID, tree);
	m.h.nlmsg_seq = ++s->seq;
	listed = inconsistent = messages = names = 0;
	if (send(s->fd, &m, m.h.nlmsg_len, 0) < 0)
		die("send");
	while (err > 0) {
		int len = recv(s->fd, &in, size, MSG_TRUNC);
		struct nlmsghdr *h = &in.h;

		if (len < 0)
			die("dump");
		if (len > (int)size || !len)
			return -EMSGSIZE;
		messages++;
		for (; NLMSG_OK(h, (unsigned int)len); h = NLMSG_NEXT(h, len)) {
			const struct nlattr *tb[NATTR];

			if (h->nlmsg_seq != s->seq)
				continue;
			inconsistent += !!(h->nlmsg_flags & NLM_F_DUMP_INTR);
			if (h->nlmsg_type == NLMSG_DONE) {
				int v;

				memcpy(&v, NLMSG_DATA(h), sizeof(v));
				err = error_of(h, v);
				break;
			}
			if (h->nlmsg_type == NLMSG_ERROR)
				return error_of(h, ((struct nlmsgerr *)NLMSG_DATA(h))->error);
			attrs_of(h, tb);
			if (cmd == HOLDFAST_CMD_TREE_GET) {
				names += tb[HOLDFAST_A_PATH] != NULL;
				listed++;
				continue;
			}
			list = realloc(list, (listed + 1) * sizeof(*list));
			change_of(tb[HOLDFAST_A_CHANGE], &list[listed++]);
		}
		if (meanwhile)
			meanwhile();
		meanwhile = NULL;
	}
	return err;
}

/* The same on a socket of its own: netlink fills what the last buffer could take. */
static int dump_small(uint8_t cmd, uint32_t tree, void (*meanwhile)(void))
{
	struct sock s = sock_new();
	int err = dump(&s, cmd, tree, 4096, meanwhile);

	close(s.fd);
	return err;
}

static struct change *find(const char *path)
{
	for (int i = 0; i < listed; i++)
		if (list[i].len == (int)strlen(path) && !memcmp(list[i].path, path, list[i].len))
			return &list[i];
	return NULL;
}

static int add_full(struct sock *s, int fd, const char *consumer, const char *path, size_t path_len,
		    const char *file, size_t file_len, struct msg *r)
{
	struct msg m;

	begin(&m, family, 0, HOLDFAST_CMD_TREE_ADD);
	put32(&m, HOLDFAST_A_ROOT_FD, fd);
	put(&m, HOLDFAST_A_RESOURCE, "web", 4);
	put(&m, HOLDFAST_A_PATH, path, path_len);
	put(&m, HOLDFAST_A_CONSUMER, consumer, strlen(consumer) + 1);
	if (file)
		put(&m, HOLDFAST_A_FILE, file, file_len);
	return call(s, &m, r);
}

static uint32_t reply_flags;

static int add(struct sock *s, const char *dir, const char *consumer)
{
	static struct msg r;
	const struct nlattr *tb[NATTR];
	int fd = open(dir, O_RDONLY | O_DIRECTORY), err;

	err = add_full(s, fd, consumer, dir, strlen(dir), NULL, 0, &r);
	close(fd);
	if (err)
		return err;
	attrs_of(&r.h, tb);
	reply_flags = g32(tb[HOLDFAST_A_TREE_FLAGS]);
	return g32(tb[HOLDFAST_A_TREE_ID]);
}

static int simple(struct sock *s, uint8_t cmd, uint32_t tree)
{
	struct msg m;

	begin(&m, family, 0, cmd);
	put32(&m, HOLDFAST_A_TREE_ID, tree);
	return call(s, &m, NULL);
}

static const struct nlattr *st[NATTR];
static int barrier(struct sock *s, uint32_t tree)
{
	static struct msg r;
	struct msg m;
	int err;

	begin(&m, family, 0, HOLDFAST_CMD_BARRIER);
	put32(&m, HOLDFAST_A_TREE_ID, tree);
	err = call(s, &m, &r);
	attrs_of(&r.h, st);
	return err;
}

static int mark(struct sock *s, uint32_t tree, int count, const int *fd)
{
	struct msg m;

	begin(&m, family, 0, HOLDFAST_CMD_MARK);
	put32(&m, HOLDFAST_A_TREE_ID, tree);
	for (int i = 0; i < count; i++)
		put32(&m, HOLDFAST_A_DIR_FD, fd[i]);
	return call(s, &m, NULL);
}

/* Acknowledge everything that was listed. */
static int ack_all(struct sock *s, uint32_t tree)
{
	struct msg m;
	int err = 0;

	for (int i = 0; i < listed && !err;) {
		begin(&m, family, 0, HOLDFAST_CMD_ACK);
		put32(&m, HOLDFAST_A_TREE_ID, tree);
		for (int k = 0; k < 500 && i < listed; k++, i++)
			put_ack(&m, list[i].id, list[i].seq);
		err = call(s, &m, NULL);
	}
	return err;
}

static void resolve(struct sock *s)
{
	static struct msg r;
	struct msg m;
	const struct nlattr *tb[NATTR], *g[NATTR], *one[NATTR];

	begin(&m, GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY);
	put(&m, CTRL_ATTR_FAMILY_NAME, HOLDFAST_FAMILY_NAME, sizeof(HOLDFAST_FAMILY_NAME));
	if (call(s, &m, &r))
		die("no family holdfast");
	attrs_of(&r.h, tb);
	memcpy(&family, data(tb[CTRL_ATTR_FAMILY_ID]), 2);
	parse(data(tb[CTRL_ATTR_MCAST_GROUPS]), dlen(tb[CTRL_ATTR_MCAST_GROUPS]), g);
	parse(data(g[1]), dlen(g[1]), one);
	group = g32(one[CTRL_ATTR_MCAST_GRP_ID]);
}

static int join(struct sock *s)
{
	return setsockopt(s->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) ?
		-errno : 0;
}

static uint64_t next_number;
static int gaps, seen_changes;
static struct change last_change;

/* Take change events until @path was told; whether it was. */
static bool hear(struct sock *s, uint32_t tree, const char *path)
{
	static struct msg in;

	for (;;) {
		struct nlmsghdr *h = &in.h;
		int len = recv(s->fd, &in, sizeof(in), 0);
		bool found = false;

		if (len < 0)
			return false;
		for (; NLMSG_OK(h, (unsigned int)len); h = NLMSG_NEXT(h, len)) {
			const struct nlattr *a = (void *)((char *)h + NLMSG_HDRLEN + GENL_HDRLEN);
			int left = h->nlmsg_len - NLMSG_HDRLEN - GENL_HDRLEN;
			const struct nlattr *tb[NATTR];
			uint64_t number;

			attrs_of(h, tb);
			if (g32(tb[HOLDFAST_A_TREE_ID]) != tree)
				continue;
			number = g64(tb[HOLDFAST_A_NUMBER]);
			if (next_number && number != next_number)
				gaps++;
			next_number = number;
			for (; left >= (int)sizeof(*a);
			     left -= NLA_ALIGN(a->nla_len), a = (void *)((char *)a + NLA_ALIGN(a->nla_len))) {
				struct change c;

				if ((a->nla_type & NLA_TYPE_MASK) != HOLDFAST_A_CHANGE)
					continue;
				change_of(a, &c);
				next_number++;
				seen_changes++;
				if (c.len == (int)strlen(path) && !memcmp(c.path, path, c.len)) {
					found = true;
					last_change = c;
				}
			}
		}
		if (found)
			return true;
	}
}

static bool silent(struct sock *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 0;
}

#endif
