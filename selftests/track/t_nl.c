// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel source's socket without a kernel: what libmnl would send goes to a
 * made-up module here, and what it would receive is what that answers. A dump that
 * met a change says so in one message, which may be any, also the one that ends it:
 * whichever it is, the source must notice, and begin again.
 */
#include "../tap.h"
#include "track_nl.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAMILY 37
#define ENTRIES 6
#define QUEUE 64

/* What the next dump is like. */
static struct {
	int interrupted;	/* so many dumps are, then no more */
	int at;			/* in this message; ENTRIES: the one that ends it */
	int walk;		/* added to @at for each dump */
	bool together;		/* all in one datagram */
	int overruns;		/* so many dumps end half-way with ENOBUFS */
	int fail;		/* what the last message tells */
	bool stale;		/* messages of an earlier dump, interrupted, come before */
} script;
static int dumps, acks;

static struct { char *p; size_t len; int error; } queue[QUEUE];
static unsigned int head, tail;
static char part[32768];
static size_t filled;

static void flush(void)
{
	if (!filled)
		return;
	if (tail - head == QUEUE)
		abort();
	queue[tail % QUEUE].p = memcpy(malloc(filled), part, filled);
	queue[tail % QUEUE].len = filled;
	queue[tail++ % QUEUE].error = 0;
	filled = 0;
}

static void overrun(void)
{
	flush();
	queue[tail % QUEUE].p = NULL;
	queue[tail++ % QUEUE].error = ENOBUFS;
}

static struct nlmsghdr *message(uint16_t type, uint8_t cmd, uint32_t seq, uint16_t flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(part + filled);

	h->nlmsg_type = type;
	h->nlmsg_seq = seq;
	h->nlmsg_flags = flags;
	((struct genlmsghdr *)mnl_nlmsg_put_extra_header(h, sizeof(struct genlmsghdr)))->cmd = cmd;
	return h;
}

static void end(const struct nlmsghdr *h)
{
	filled += MNL_ALIGN(h->nlmsg_len);
}

static void result(uint16_t type, uint32_t seq, uint16_t flags, int error)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(part + filled);
	struct nlmsgerr *e = mnl_nlmsg_put_extra_header(h, type == NLMSG_DONE ? sizeof(int) : sizeof(*e));

	h->nlmsg_type = type;
	h->nlmsg_seq = seq;
	h->nlmsg_flags = flags | NLM_F_CAPPED;
	e->error = error;
	end(h);
}

static void entry(uint32_t seq, uint16_t flags, int number, int i)
{
	struct nlmsghdr *h = message(FAMILY, HOLDFAST_CMD_DIRTY_GET, seq, NLM_F_MULTI | flags);
	struct nlattr *n;
	char path[32];

	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, 1);
	n = mnl_attr_nest_start(h, HOLDFAST_A_CHANGE);
	mnl_attr_put_u64(h, HOLDFAST_A_CHANGE_ID, i + 1);
	mnl_attr_put_u64(h, HOLDFAST_A_CHANGE_SEQ, number * 100 + i);
	mnl_attr_put_u32(h, HOLDFAST_A_CHANGE_OPS, HOLDFAST_OP_CREATE);
	/* each dump has another name, so that what is left of an earlier one is seen */
	snprintf(path, sizeof(path), "dump%d-%d", number, i);
	mnl_attr_put(h, HOLDFAST_A_CHANGE_PATH, strlen(path), path);
	mnl_attr_nest_end(h, n);
	end(h);
	if (!script.together)
		flush();
}

static void answer_dump(uint32_t seq)
{
	int number = dumps++, at = -1;

	if (script.interrupted > number)
		at = (script.at + script.walk * number) % (ENTRIES + 1);
	if (script.stale)
		for (int i = 0; i < ENTRIES; i++)
			entry(seq - 1, NLM_F_DUMP_INTR, 99, i);
	for (int i = 0; i < ENTRIES; i++) {
		if (number < script.overruns && i == ENTRIES / 2) {
			overrun();
			return;
		}
		entry(seq, i == at ? NLM_F_DUMP_INTR : 0, number, i);
	}
	result(NLMSG_DONE, seq, NLM_F_MULTI | (at == ENTRIES ? NLM_F_DUMP_INTR : 0), script.fail);
	flush();
}

static void answer(const struct nlmsghdr *q)
{
	const struct genlmsghdr *g = mnl_nlmsg_get_payload(q);
	struct nlattr *groups, *one;
	struct nlmsghdr *h = NULL;

	if (q->nlmsg_type == GENL_ID_CTRL) {
		h = message(GENL_ID_CTRL, CTRL_CMD_NEWFAMILY, q->nlmsg_seq, 0);
		mnl_attr_put_u16(h, CTRL_ATTR_FAMILY_ID, FAMILY);
		groups = mnl_attr_nest_start(h, CTRL_ATTR_MCAST_GROUPS);
		one = mnl_attr_nest_start(h, 1);
		mnl_attr_put_u32(h, CTRL_ATTR_MCAST_GRP_ID, 5);
		mnl_attr_put_strz(h, CTRL_ATTR_MCAST_GRP_NAME, HOLDFAST_MCGRP_CHANGES);
		mnl_attr_nest_end(h, one);
		mnl_attr_nest_end(h, groups);
	} else if (g->cmd == HOLDFAST_CMD_DIRTY_GET) {
		answer_dump(q->nlmsg_seq);
		return;
	} else if (g->cmd == HOLDFAST_CMD_VERSION_GET) {
		h = message(FAMILY, g->cmd, q->nlmsg_seq, 0);
		mnl_attr_put_u32(h, HOLDFAST_A_ABI, HOLDFAST_ABI);
	} else if (g->cmd == HOLDFAST_CMD_ACK) {
		acks++;
	} else {
		h = message(FAMILY, g->cmd, q->nlmsg_seq, 0);
		mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, 1);
	}
	if (h)
		end(h);
	result(NLMSG_ERROR, q->nlmsg_seq, 0, 0);
	flush();
}

/* libmnl's, which these stand for */

ssize_t mnl_socket_sendto(const struct mnl_socket *nl, const void *buf, size_t size)
{
	answer(buf);
	return size;
}

ssize_t mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size)
{
	size_t len;

	if (head == tail) {
		errno = EAGAIN;
		return -1;
	}
	if (queue[head % QUEUE].error) {
		errno = queue[head++ % QUEUE].error;
		return -1;
	}
	len = queue[head % QUEUE].len;
	if (len > size)
		abort();
	memcpy(buf, queue[head % QUEUE].p, len);
	free(queue[head++ % QUEUE].p);
	return len;
}

int mnl_socket_setsockopt(const struct mnl_socket *nl, int type, void *buf, socklen_t len)
{
	return 0;
}

static struct hf_nl nl;
static unsigned int messages;

static int count(void *ctx, const struct nlmsghdr *h)
{
	messages++;
	return 0;
}

static int call(void)
{
	dumps = 0;
	messages = 0;
	hf_nl_begin(&nl, HOLDFAST_CMD_DIRTY_GET);
	return hf_nl_call(&nl, true, count, NULL);
}

static void test_call(void)
{
	struct hf_err err = { 0 };
	int at, together, bad = 0;

	memset(&script, 0, sizeof(script));
	is(hf_nl_open(&nl, &err), 0, "the made-up module is reached");
	for (together = 0; together < 2; together++) {
		for (at = 0; at <= ENTRIES; at++) {
			memset(&script, 0, sizeof(script));
			script.interrupted = 1;
			script.at = at;
			script.together = together;
			bad += call() || !nl.interrupted || messages != ENTRIES;
		}
		script.interrupted = 0;
		bad += call() || nl.interrupted || messages != ENTRIES;
	}
	ok(!bad, "a dump that was interrupted is known by any of its messages, and only by that");
	script.stale = true;
	ok(!call() && !nl.interrupted && messages == ENTRIES, "what belongs to another dump says nothing of this one");
	memset(&script, 0, sizeof(script));
	script.interrupted = 1;
	script.at = ENTRIES;
	script.fail = -ENOENT;
	is(call(), -ENOENT, "one that ends with an error");
	ok(nl.interrupted, "and is interrupted");
	hf_nl_close(&nl);
}

static int seen, wrong;

static int one_dirty(void *ctx, const struct hf_dirty *d)
{
	char want[32];

	snprintf(want, sizeof(want), "dump%d-%d", *(int *)ctx, (int)d->id - 1);
	wrong += !!strcmp(d->rel, want) || d->seq != (uint64_t)(*(int *)ctx * 100 + (int)d->id - 1);
	seen++;
	return 0;
}

/* @last: number of the dump that counts */
static bool pull(struct hf_watch *w, int last)
{
	dumps = seen = wrong = 0;
	return !hf_watch_dirty(w, one_dirty, &last) && seen == ENTRIES && !wrong && dumps == last + 1;
}

static void test_pull(void)
{
	struct hf_track_label label = { .resource = "r", .path = "p" };
	struct hf_err err = { 0 };
	struct hf_track *t;
	struct hf_watch *w;
	int fd = open(".", O_RDONLY | O_DIRECTORY), k, at, bad = 0;

	memset(&script, 0, sizeof(script));
	if (hf_track_open("kernel", "t_nl", &t, &err) ||
	    hf_track_add(t, fd, NULL, &label, NULL, NULL, &w, &err)) {
		printf("Bail out! %s\n", err.msg);
		exit(1);
	}
	close(fd);
	ok(pull(w, 0), "a dirty set is pulled by one dump");
	for (at = 0; at <= ENTRIES; at++) {
		memset(&script, 0, sizeof(script));
		script.interrupted = 1;
		script.at = at;
		bad += !pull(w, 1);
	}
	ok(!bad, "and by another one after it was interrupted, in whichever message; of the first nothing is left");
	for (k = 2, bad = 0; k < 8; k++) {
		memset(&script, 0, sizeof(script));
		script.interrupted = k;
		script.walk = 1;
		script.together = k & 1;
		bad += !pull(w, k);
	}
	ok(!bad, "again and again");
	script.interrupted = 1000;
	ok(pull(w, 7), "the eighth is taken as it is: it has all that was dirty before it began");
	memset(&script, 0, sizeof(script));
	script.overruns = 2;
	ok(pull(w, 2), "one that lost messages is begun again");
	script.overruns = 0;
	script.fail = -EINTR;
	ok(!pull(w, 0) && dumps == 8 && seen == 0, "one that always fails is given up, and nothing passes for its contents");
	script.fail = 0;
	acks = 0;
	hf_watch_ack(w, 3, 2);
	hf_watch_ack_flush(w);
	is(acks, 1, "acknowledged");
	hf_track_del(w);
	hf_track_close(t);
}

int main(void)
{
	test_call();
	test_pull();
	return tap_done();
}
