// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Messages of the module, without one: as it sends them, and damaged, lost, out
 * of order and cut at every byte. What can not be read must count as lost, and
 * never be read beyond its end (run under sanitizers by `make lint`).
 */
#include "../tap.h"
#include "tmpname.h"
#include "track_nl.h"
#include <stdlib.h>

#define FAMILY 37

static char buf[8192];
static struct hf_nlevent got[64];
static unsigned int ngot;

static void note_event(void *ctx, const struct hf_nlevent *e)
{
	if (ngot < HF_ARRAY(got))
		got[ngot++] = *e;
}

static struct hf_nlchange change;
static unsigned int changes;

static int note_change(void *ctx, const struct hf_nlchange *c)
{
	changes++;
	change = *c;
	return 0;
}

static struct nlmsghdr *begin(void *at, uint16_t type, uint8_t cmd)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(at);
	struct genlmsghdr *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));

	h->nlmsg_type = type;
	g->cmd = cmd;
	return h;
}

static void put_change(struct nlmsghdr *h, uint64_t id, uint32_t ops, uint32_t state, const char *path)
{
	struct nlattr *n = mnl_attr_nest_start(h, HOLDFAST_A_CHANGE);

	mnl_attr_put_u64(h, HOLDFAST_A_CHANGE_ID, id);
	mnl_attr_put_u64(h, HOLDFAST_A_CHANGE_SEQ, id + 100);
	mnl_attr_put_u32(h, HOLDFAST_A_CHANGE_OPS, ops);
	mnl_attr_put_u32(h, HOLDFAST_A_CHANGE_STATE, state);
	mnl_attr_put(h, HOLDFAST_A_CHANGE_PATH, strlen(path), path);
	mnl_attr_put_u32(h, HOLDFAST_A_CHANGE_PID, 7);
	mnl_attr_put_u32(h, HOLDFAST_A_CHANGE_UID, 8);
	mnl_attr_put_strz(h, HOLDFAST_A_CHANGE_COMM, "a-very-long-command");
	mnl_attr_put_u64(h, HOLDFAST_A_CHANGE_SINCE, 99);
	mnl_attr_nest_end(h, n);
}

static size_t event(void *at, uint32_t tree, uint64_t number, unsigned int n, uint32_t ops, uint32_t state)
{
	struct nlmsghdr *h = begin(at, FAMILY, HOLDFAST_CMD_CHANGE_NTF);

	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, tree);
	mnl_attr_put_u64(h, HOLDFAST_A_NUMBER, number);
	while (n--)
		put_change(h, number + n, ops, state, "dir/name");
	return MNL_ALIGN(h->nlmsg_len);
}

/* on memory of exactly this size, so that a sanitizer sees what is read behind it */
static int read_events(const void *p, size_t n)
{
	char *copy = malloc(n ? n : 1);
	int ret;

	if (!copy)
		abort();
	memcpy(copy, p, n);
	ngot = 0;
	ret = hf_nlmsg_events(copy, n, FAMILY, note_event, NULL);
	free(copy);
	return ret;
}

static void test_events(void)
{
	size_t n;

	n = event(buf, 3, 1, 2, HOLDFAST_OP_MODIFY, HOLDFAST_STATE_OPEN);
	n += event(buf + n, 4, 10, 1, HOLDFAST_OP_CREATE, 0);
	n += event(buf + n, 4, 11, 0, 0, 0);
	is(read_events(buf, n), 0, "three messages in one read");
	is(ngot, 3, "are three");
	ok(got[0].tree == 3 && got[0].number == 1 && got[0].changes == 2 && !got[0].urgent,
	   "writes to what is open are not urgent");
	ok(got[1].tree == 4 && got[1].changes == 1 && got[1].urgent, "a creation is");
	ok(got[2].changes == 0 && got[2].urgent, "so is a message without a change");
	n = event(buf, 3, 1, 1, HOLDFAST_OP_MODIFY, HOLDFAST_STATE_SUBTREE);
	read_events(buf, n);
	ok(ngot == 1 && got[0].urgent, "and a subtree");
	n = event(buf, 3, 1, 1, HOLDFAST_OP_MODIFY | HOLDFAST_OP_CLOSE_WRITE, 0);
	read_events(buf, n);
	ok(ngot == 1 && got[0].urgent, "and a close");
	is(read_events(buf, 0), 0, "nothing is nothing");
}

static void test_cut(void)
{
	size_t n = event(buf, 3, 1, 2, 1, 0), one = n, i;
	bool all = true;

	n += event(buf + n, 4, 1, 1, 1, 0);
	for (i = 1; i < n; i++)
		if (i != one)
			all &= read_events(buf, i) == -EBADMSG && ngot == (i > one);
	ok(all, "cut at any byte: a loss, and what came before it counts");
}

static void test_damage(void)
{
	size_t n = event(buf, 3, 1, 3, 1, 0), i;
	unsigned int good = 0, k;
	char save;

	for (i = 0; i < n; i++) {
		for (k = 0; k < 8; k++) {
			save = buf[i];
			buf[i] ^= 1 << k;
			good += !read_events(buf, n);
			buf[i] = save;
		}
	}
	ok(good && good < n * 8, "any bit turned over is survived (%u of %zu are believed)", good, n * 8);
	srandom(1);
	for (k = 0; k < 20000; k++) {
		n = event(buf, 3, 1, 3, 1, 0);
		for (i = 0; i < 4; i++)
			buf[random() % n] = random();
		read_events(buf, n);
	}
	ok(1, "so is what is written over at random");
	n = event(buf, 3, 1, 1, 1, 0);
	((struct nlmsghdr *)buf)->nlmsg_type = FAMILY + 1;
	is(read_events(buf, n), -EBADMSG, "another family's message is a loss");
	n = event(buf, 0, 1, 1, 1, 0);
	is(read_events(buf, n), -EBADMSG, "so is one without a tree");
}

static void test_gap(void)
{
	struct hf_nlevent e = { .tree = 1, .number = 1, .changes = 3 };
	uint64_t next = 1;

	ok(!hf_nlevent_gap(&next, &e) && next == 4, "the first, in order");
	e.number = 4;
	e.changes = 1;
	ok(!hf_nlevent_gap(&next, &e) && next == 5, "the next");
	e.number = 7;
	ok(hf_nlevent_gap(&next, &e) && next == 8, "two are missing");
	e.number = 8;
	ok(!hf_nlevent_gap(&next, &e), "told once");
	e.number = 6;
	ok(hf_nlevent_gap(&next, &e) && next == 9, "out of order: not to be trusted, and not forgotten");
	e.number = 9;
	ok(!hf_nlevent_gap(&next, &e), "and on");
	e.changes = 0;
	e.number = 0;
	ok(!hf_nlevent_gap(&next, &e) && next == 10, "a message without a change has no number");
	next = 0;
	e.changes = 1;
	e.number = 500;
	ok(!hf_nlevent_gap(&next, &e) && next == 501, "after a takeover any is the first");
}

static int one_path(const char *path, size_t len)
{
	struct nlmsghdr *h = begin(buf, FAMILY, HOLDFAST_CMD_DIRTY_GET);
	struct nlattr *n = mnl_attr_nest_start(h, HOLDFAST_A_CHANGE);
	struct hf_nlmsg m;

	mnl_attr_put(h, HOLDFAST_A_CHANGE_PATH, len, path);
	mnl_attr_nest_end(h, n);
	changes = 0;
	return hf_nlmsg_parse(h, &m, note_change, NULL);
}

static void test_entries(void)
{
	static const char *const bad[] = { "/etc", "a/", "a//b", ".", "..", "a/../b", "../a", "a/..", "./a" };
	struct nlmsghdr *h = begin(buf, FAMILY, HOLDFAST_CMD_DIRTY_GET);
	char big[5000];
	struct hf_nlmsg m;
	unsigned int i;

	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, 5);
	put_change(h, 12, HOLDFAST_OP_CREATE, HOLDFAST_STATE_SUBTREE, "a\n\xff/b");
	changes = 0;
	is(hf_nlmsg_parse(h, &m, note_change, NULL), 0, "an entry of a dump");
	ok(m.tree == 5 && changes == 1 && change.id == 12 && change.seq == 112 && change.since == 99 &&
	   change.state == HOLDFAST_STATE_SUBTREE && change.pid == 7 && change.uid == 8, "with its numbers");
	ok(change.len == 5 && !memcmp(change.path, "a\n\xff/b", 5), "and a name that is bytes");
	ok(!strcmp(change.comm, "a-very-long-com"), "the command is cut");
	ok(!one_path("", 0) && !change.len, "the root");
	for (i = 0; i < HF_ARRAY(bad); i++)
		is(one_path(bad[i], strlen(bad[i])), -EBADMSG, bad[i]);
	is(one_path("a\0b", 3), -EBADMSG, "a NUL");
	ok(!one_path("...", 3) && !one_path("..a/.b", 6), "names with dots are names");
	memset(big, 'x', sizeof(big));
	is(one_path(big, 4096), -EBADMSG, "longer than any path");
	is(one_path(big, 4095), 0, "as long as may be");
	h = begin(buf, FAMILY, HOLDFAST_CMD_DIRTY_GET);
	put_change(h, 13, HOLDFAST_OP_MODIFY, HOLDFAST_STATE_OPEN | HOLDFAST_STATE_MAPPED, "m");
	ok(!hf_nlmsg_parse(h, &m, note_change, NULL) &&
	   change.state == (HOLDFAST_STATE_OPEN | HOLDFAST_STATE_MAPPED), "one that is mapped");
	h = begin(buf, FAMILY, HOLDFAST_CMD_DIRTY_GET);
	mnl_attr_put_u16(h, HOLDFAST_A_TREE_ID, 5);
	is(hf_nlmsg_parse(h, &m, NULL, NULL), -EBADMSG, "a number of another size");
	h = begin(buf, FAMILY, HOLDFAST_CMD_TREE_GET);
	mnl_attr_put(h, HOLDFAST_A_CONSUMER, 3, "abc");
	is(hf_nlmsg_parse(h, &m, NULL, NULL), -EBADMSG, "text without an end");
	h = begin(buf, FAMILY, HOLDFAST_CMD_TREE_GET);
	mnl_attr_put_u32(h, 999, 1);
	is(hf_nlmsg_parse(h, &m, NULL, NULL), 0, "an attribute of a later version is passed over");
}

static void test_tree(void)
{
	struct nlmsghdr *h = begin(buf, FAMILY, HOLDFAST_CMD_TREE_GET);
	struct hf_nlmsg m;

	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, 5);
	mnl_attr_put_u32(h, HOLDFAST_A_TREE_FLAGS, HOLDFAST_TREE_FLAG_ATTACHED | HOLDFAST_TREE_FLAG_STORES);
	ok(!hf_nlmsg_parse(h, &m, NULL, NULL) && m.tree == 5 && (m.flags & HOLDFAST_TREE_FLAG_STORES) &&
	   m.quality == HOLDFAST_QUALITY_EVENTS, "a tree whose stores are noted");
	mnl_attr_put_u32(h, HOLDFAST_A_QUALITY, HOLDFAST_QUALITY_SCAN);
	ok(!hf_nlmsg_parse(h, &m, NULL, NULL) && m.quality == HOLDFAST_QUALITY_SCAN, "one that is to be scanned");
	mnl_attr_put_u64(h, HOLDFAST_A_QUALITY, HOLDFAST_QUALITY_SCAN);
	is(hf_nlmsg_parse(h, &m, NULL, NULL), -EBADMSG, "a quality of another size");
	h = begin(buf, FAMILY, HOLDFAST_CMD_VERSION_GET);
	mnl_attr_put_u32(h, HOLDFAST_A_ABI, HOLDFAST_ABI);
	mnl_attr_put_u32(h, HOLDFAST_A_STORES, 1);
	ok(!hf_nlmsg_parse(h, &m, NULL, NULL) && m.abi == HOLDFAST_ABI && m.stores == 1,
	   "a module that notes stores");
}

static void test_errors(void)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct hf_nlerror e;
	struct nlmsgerr *in;
	int done = -ENOENT;

	h->nlmsg_type = NLMSG_ERROR;
	h->nlmsg_flags = NLM_F_CAPPED | NLM_F_ACK_TLVS;
	in = mnl_nlmsg_put_extra_header(h, sizeof(*in));
	in->error = -ESTALE;
	in->msg.nlmsg_len = 500;
	mnl_attr_put_strz(h, NLMSGERR_ATTR_MSG, "not marked");
	mnl_attr_put_u32(h, NLMSGERR_ATTR_OFFS, 44);
	ok(!hf_nlmsg_error(h, &e) && e.error == -ESTALE && e.offset == 44 && !strcmp(e.text, "not marked"),
	   "an error, where and why");
	h->nlmsg_flags = NLM_F_ACK_TLVS;
	is(hf_nlmsg_error(h, &e), -EBADMSG, "a request in it that is longer than it");
	h->nlmsg_flags = NLM_F_CAPPED;
	h->nlmsg_len = MNL_NLMSG_HDRLEN + 2;
	is(hf_nlmsg_error(h, &e), -EBADMSG, "one that is cut");
	h = mnl_nlmsg_put_header(buf);
	h->nlmsg_type = NLMSG_DONE;
	memcpy(mnl_nlmsg_put_extra_header(h, sizeof(done)), &done, sizeof(done));
	ok(!hf_nlmsg_error(h, &e) && e.error == -ENOENT, "the end of a dump that failed");
	h->nlmsg_len = MNL_NLMSG_HDRLEN;
	ok(!hf_nlmsg_error(h, &e) && !e.error, "of one that did not");
}

static void test_temp(void)
{
	char name[HF_TMP_LEN + 1], in[64], below[64], longer[64];

	hf_tmpname_make("abcdefgh", name);
	snprintf(in, sizeof(in), "a/%s", name);
	snprintf(below, sizeof(below), "a/%s/b", name);
	snprintf(longer, sizeof(longer), "a/%sb", name);
	ok(hf_nl_is_temp(name) && hf_nl_is_temp(in) && hf_nl_is_temp(below), "temporary names of a restore");
	ok(!hf_nl_is_temp("") && !hf_nl_is_temp(longer) && !hf_nl_is_temp(".holdfast-abcdefghabcdefgh") && !hf_nl_is_temp(".holdfast/a"),
	   "and others");
}

int main(void)
{
	test_events();
	test_cut();
	test_damage();
	test_gap();
	test_entries();
	test_tree();
	test_errors();
	test_temp();
	return tap_done();
}
