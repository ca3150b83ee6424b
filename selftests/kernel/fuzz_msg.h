/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages for fuzz.c: mostly what an operation wants, with something wrong in it:
 * attributes that are cut, too long, of another type, nested too deep, there twice or
 * not at all; numbers of trees that are there or not; descriptors of all kinds.
 */
#ifndef HF_FUZZ_MSG_H
#define HF_FUZZ_MSG_H
#include "track_nl.h"

#define FUZZ_CMDS 16		/* what is beyond the last command is counted there */
#define FUZZ_FDS 32
#define FUZZ_BUF 65536

struct fuzz {
	uint64_t random;
	uint16_t family;
	uint32_t valid;		/* the tree of somebody who has nothing to do with this */
	uint32_t own;		/* the tree that the socket consumes which this is for, or 0 */
	uint32_t newest;	/* number of a tree that was made last */
	int fd[FUZZ_FDS], nfds;
	size_t len;
	char buf[FUZZ_BUF];
};

static uint32_t rnd(struct fuzz *f, uint32_t below)
{
	f->random ^= f->random << 13;
	f->random ^= f->random >> 7;
	f->random ^= f->random << 17;
	return (uint32_t)(f->random >> 32) % below;
}

static void raw(struct fuzz *f, const void *p, size_t n)
{
	if (f->len + n > FUZZ_BUF)
		return;
	memcpy(f->buf + f->len, p, n);
	f->len += n;
}

static void noise(struct fuzz *f, size_t n)
{
	char c;

	while (n--) {
		c = (char)rnd(f, 256);
		raw(f, &c, 1);
	}
}

static void pad(struct fuzz *f)
{
	static const char zero[4];

	raw(f, zero, -f->len & 3);
}

/* @len: what it says of itself beyond the data */
static void put(struct fuzz *f, uint16_t type, const void *p, size_t n, int len)
{
	struct nlattr a = { .nla_type = type, .nla_len = (uint16_t)(sizeof(a) + n + len) };

	raw(f, &a, sizeof(a));
	raw(f, p, n);
	pad(f);
}

static uint64_t number(struct fuzz *f)
{
	static const uint64_t of[] = { 0, 1, 2, 3, 7, 255, 256, 1000, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX };

	return rnd(f, 3) ? of[rnd(f, HF_ARRAY(of))] : f->random;
}

static uint32_t some_tree(struct fuzz *f)
{
	switch (rnd(f, 8)) {
	case 0:
		return (uint32_t)number(f);
	case 1:
		return f->valid;
	case 2:
		return f->newest;
	case 3: case 4: case 5: case 6:
		if (f->own)
			return f->own;
	}
	return f->newest > 20 ? f->newest - rnd(f, 20) : rnd(f, 20);
}

static uint32_t some_fd(struct fuzz *f)
{
	return rnd(f, 10) ? (uint32_t)f->fd[rnd(f, f->nfds)] : (uint32_t)number(f);
}

static const char *some_text(struct fuzz *f)
{
	static const char *const of[] = { "a", "b", "x" };

	return of[rnd(f, HF_ARRAY(of))];
}

static void put_text(struct fuzz *f, uint16_t type)
{
	static const char long_text[5000] = { [0 ... 4998] = 'l' };

	if (rnd(f, 40))
		put(f, type, some_text(f), 2, 0);
	else
		put(f, type, long_text + rnd(f, 4990), rnd(f, 10), 0);
}

static void put_bytes(struct fuzz *f, uint16_t type)
{
	static const char *const odd[] = { "", ".", "..", "/", "a/b", "/x", "\xff\xfe" };
	const char *s = rnd(f, 20) ? some_text(f) : odd[rnd(f, HF_ARRAY(odd))];

	put(f, type, s, strlen(s) + !rnd(f, 30), 0);
}

/* An attribute as it should be. */
static void put_good(struct fuzz *f, uint16_t type)
{
	struct { struct nlattr a; uint64_t v; } __attribute__((packed)) ack[2] = {
		{ { 12, HOLDFAST_A_ACK_ID }, rnd(f, 2000) }, { { 12, HOLDFAST_A_ACK_SEQ }, number(f) },
	};
	uint64_t v64 = number(f);
	uint32_t v32, n;

	switch (type) {
	case HOLDFAST_A_TREE_ID:
		v32 = some_tree(f);
		put(f, type, &v32, 4, 0);
		break;
	case HOLDFAST_A_ROOT_FD:
	case HOLDFAST_A_DIR_FD:
		v32 = some_fd(f);
		put(f, type, &v32, 4, 0);
		break;
	case HOLDFAST_A_EXCLUDE:
		v32 = rnd(f, 3);
		put(f, type, &v32, 4, 0);
		break;
	case HOLDFAST_A_RESOURCE:
	case HOLDFAST_A_CONSUMER:
		put_text(f, type);
		break;
	case HOLDFAST_A_PATH:
	case HOLDFAST_A_FILE:
		put_bytes(f, type);
		break;
	case HOLDFAST_A_ACK:
		n = rnd(f, 12);	/* one of the two, or none, may be missing */
		put(f, type | (rnd(f, 8) ? NLA_F_NESTED : 0), &ack[n == 1], n > 2 ? sizeof(ack) : n ? sizeof(*ack) : 0, 0);
		break;
	default:
		put(f, type, &v64, rnd(f, 2) ? 4 : 8, 0);
	}
}

/* Nests in nests, each as long as what is in it. */
static void put_deep(struct fuzz *f)
{
	int depth = 1 + rnd(f, 300), i;
	struct nlattr a;

	for (i = depth; i; i--) {
		a.nla_type = (rnd(f, 2) ? HOLDFAST_A_ACK : rnd(f, 40)) | NLA_F_NESTED;
		a.nla_len = (uint16_t)(i * sizeof(a));
		raw(f, &a, sizeof(a));
	}
}

/* One as it should not be. */
static void put_bad(struct fuzz *f)
{
	uint16_t type = rnd(f, 4) ? rnd(f, HOLDFAST_A_MAX + 4) : rnd(f, 65536);
	char data[80];
	size_t i;

	for (i = 0; i < sizeof(data); i++)
		data[i] = (char)rnd(f, 256);
	switch (rnd(f, 8)) {
	case 0:
		put(f, type, NULL, 0, -(int)(1 + rnd(f, 4)));	/* shorter than itself */
		break;
	case 1:
		put(f, type, data, rnd(f, 20), 1 + rnd(f, 60000));	/* beyond the end */
		break;
	case 2:
		put_deep(f);
		break;
	case 3:
		put_good(f, type | NLA_F_NESTED);
		break;
	case 4:
		put_good(f, type | NLA_F_NET_BYTEORDER);
		break;
	case 5:
		put(f, HOLDFAST_A_ACK | NLA_F_NESTED, data, rnd(f, sizeof(data)), 0);
		break;
	case 6:
		noise(f, rnd(f, 7));
		break;
	default:
		put(f, type, data, rnd(f, sizeof(data)), 0);
	}
}

static const struct { uint8_t cmd; bool dump; uint8_t attr[6]; } wanted[] = {
	{ HOLDFAST_CMD_VERSION_GET, false, { 0 } },
	{ HOLDFAST_CMD_TREE_ADD, false, { HOLDFAST_A_ROOT_FD, HOLDFAST_A_RESOURCE, HOLDFAST_A_PATH, HOLDFAST_A_CONSUMER,
					  HOLDFAST_A_FILE } },
	{ HOLDFAST_CMD_TREE_ADD, false, { HOLDFAST_A_ROOT_FD, HOLDFAST_A_RESOURCE, HOLDFAST_A_PATH, HOLDFAST_A_CONSUMER } },
	{ HOLDFAST_CMD_TREE_DEL, false, { HOLDFAST_A_TREE_ID } },
	{ HOLDFAST_CMD_TREE_GET, false, { HOLDFAST_A_TREE_ID } },
	{ HOLDFAST_CMD_TREE_GET, true, { 0 } },
	{ HOLDFAST_CMD_MARK, false, { HOLDFAST_A_TREE_ID, HOLDFAST_A_DIR_FD } },
	{ HOLDFAST_CMD_BARRIER, false, { HOLDFAST_A_TREE_ID } },
	{ HOLDFAST_CMD_DIRTY_GET, true, { HOLDFAST_A_TREE_ID } },
	{ HOLDFAST_CMD_ACK, false, { HOLDFAST_A_TREE_ID, HOLDFAST_A_ACK } },
	{ HOLDFAST_CMD_EXCLUDE, false, { HOLDFAST_A_TREE_ID, HOLDFAST_A_EXCLUDE } },
};

static void damage(struct fuzz *f, struct nlmsghdr *h, size_t start)
{
	static const uint16_t types[] = { 0, NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN, 0xffff };
	size_t n = f->len - start, i;

	switch (rnd(f, 6)) {
	case 0:
		h->nlmsg_len = rnd(f, 2) ? rnd(f, (uint32_t)n + 1) : (uint32_t)(n + rnd(f, 100));
		break;
	case 1:
		h->nlmsg_flags = rnd(f, 65536);
		break;
	case 2:
		h->nlmsg_type = types[rnd(f, HF_ARRAY(types))];
		break;
	case 3:
		h->nlmsg_len = (uint32_t)number(f);
		break;
	default:
		for (i = 1 + rnd(f, 8); i && n > MNL_NLMSG_HDRLEN; i--)
			f->buf[start + MNL_NLMSG_HDRLEN + rnd(f, n - MNL_NLMSG_HDRLEN)] ^= 1 << rnd(f, 8);
	}
}

/* Adds a message to the datagram; returns its command. */
static uint8_t fuzz_message(struct fuzz *f, uint32_t seq)
{
	static const uint16_t flags[] = { NLM_F_ECHO, NLM_F_ROOT, NLM_F_MATCH, NLM_F_ATOMIC, NLM_F_DUMP, NLM_F_MULTI };
	uint32_t w = rnd(f, HF_ARRAY(wanted)), n;
	bool good = rnd(f, 10) < 4, dump = wanted[w].dump ^ !rnd(f, 30);
	struct nlmsghdr h = { .nlmsg_type = f->family, .nlmsg_seq = seq };
	struct genlmsghdr g = { .cmd = wanted[w].cmd, .version = HOLDFAST_FAMILY_VERSION };
	size_t start = f->len;

	if (FUZZ_BUF - start < 16384)
		return 0;
	h.nlmsg_flags = NLM_F_REQUEST | (rnd(f, 4) ? NLM_F_ACK : 0) | (dump ? NLM_F_DUMP : 0);
	if (!good && !rnd(f, 5))
		h.nlmsg_flags ^= flags[rnd(f, HF_ARRAY(flags))];
	if (!good && !rnd(f, 8))
		g.cmd = rnd(f, 256);
	if (!good && !rnd(f, 8))
		g.version = rnd(f, 256);
	if (!good && !rnd(f, 8))
		g.reserved = rnd(f, 65536);
	raw(f, &h, sizeof(h));
	raw(f, &g, sizeof(g));
	for (int i = 0; i < 6 && wanted[w].attr[i]; i++) {
		uint8_t type = wanted[w].attr[i];
		bool many = type == HOLDFAST_A_DIR_FD || type == HOLDFAST_A_ACK;

		if (!good && !rnd(f, 12))
			continue;
		for (n = many ? 1 + rnd(f, rnd(f, 20) ? 4 : 400) : !good && !rnd(f, 12) ? 2 : 1; n; n--)
			put_good(f, type);
	}
	for (n = good ? 0 : rnd(f, 3); n; n--)
		put_bad(f);
	h.nlmsg_len = (uint32_t)(f->len - start);
	pad(f);
	if (!good && !rnd(f, 3))
		damage(f, &h, start);
	memcpy(f->buf + start, &h, sizeof(h));
	return g.cmd;
}
#endif
