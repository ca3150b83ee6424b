// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The two sockets of the kernel source. The one for requests is what the module
 * knows the consumer by: trees that it added or took over are its own until it
 * is closed. Requests are worked off inside sendto(), so that an answer is
 * there when that returns; a wait for one is bounded all the same.
 */
#include "track_nl.h"
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

#define ANSWER_S 10
#define EVENTS_BUF (4 << 20)

static int open_socket(struct mnl_socket **out)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	int ret;

	if (!s)
		return -errno;
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
		ret = -errno;
		mnl_socket_close(s);
		return ret;
	}
	*out = s;
	return 0;
}

static struct nlmsghdr *begin(struct hf_nl *n, uint16_t type, uint8_t cmd, uint8_t version)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(n->req);
	struct genlmsghdr *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));

	h->nlmsg_type = type;
	g->cmd = cmd;
	g->version = version;
	return h;
}

struct nlmsghdr *hf_nl_begin(struct hf_nl *n, uint8_t cmd)
{
	return begin(n, n->family.id, cmd, HOLDFAST_FAMILY_VERSION);
}

static int send_request(struct hf_nl *n, bool dump)
{
	struct nlmsghdr *h = (void *)n->req;

	h->nlmsg_flags = NLM_F_REQUEST | (dump ? NLM_F_DUMP : NLM_F_ACK);
	h->nlmsg_seq = ++n->seq;
	while (mnl_socket_sendto(n->cmd, h, h->nlmsg_len) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* 1: that was the last message */
static int one_answer(struct hf_nl *n, const struct nlmsghdr *h, bool dump,
		      int (*fn)(void *ctx, const struct nlmsghdr *h), void *ctx, int *ret)
{
	int r;

	n->interrupted |= !!(h->nlmsg_flags & NLM_F_DUMP_INTR);
	if (h->nlmsg_type == NLMSG_NOOP)
		return 0;
	if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE) {
		r = hf_nlmsg_error(h, &n->error);
		if (!r)
			r = n->error.error;
		if (!*ret || r)
			*ret = r;
		return 1;
	}
	if (*ret || !fn)
		return 0;
	*ret = fn(ctx, h);
	return 0;
}

int hf_nl_call(struct hf_nl *n, bool dump, int (*fn)(void *ctx, const struct nlmsghdr *h), void *ctx)
{
	const struct nlmsghdr *h;
	int ret, len, last = 0;
	ssize_t got;

	memset(&n->error, 0, sizeof(n->error));
	n->interrupted = false;
	ret = send_request(n, dump);
	if (ret)
		return ret;
	while (!last) {
		got = mnl_socket_recvfrom(n->cmd, n->buf, HF_NL_BUF);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		len = (int)got;
		for (h = (void *)n->buf; !last && hf_nlmsg_ok(h, len); h = mnl_nlmsg_next(h, &len))
			/* what belongs to a request that was given up is left aside */
			if (h->nlmsg_seq == n->seq)
				last = one_answer(n, h, dump, fn, ctx, &ret);
		if (!last && len > 0)
			return -EBADMSG;
	}
	return ret;
}

static int note_msg(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;
	int ret = hf_nlmsg_parse(h, &m, NULL, NULL);

	/* strings lie in the buffer that the acknowledgement is received into */
	m.version = m.consumer = m.resource = NULL;
	if (!ret)
		*(struct hf_nlmsg *)ctx = m;
	return ret;
}

int hf_nl_tree(struct hf_nl *n, uint8_t cmd, uint32_t tree, struct hf_nlmsg *m)
{
	struct nlmsghdr *h = hf_nl_begin(n, cmd);
	struct hf_nlmsg none;

	if (!m)
		m = &none;
	memset(m, 0, sizeof(*m));
	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, tree);
	return hf_nl_call(n, false, note_msg, m);
}

static int note_family(void *ctx, const struct nlmsghdr *h)
{
	return hf_nlmsg_family(h, ctx);
}

static int find_family(struct hf_nl *n, struct hf_err *err)
{
	/* the kernel loads the module when it is asked for a family by name, if it is installed */
	struct nlmsghdr *h = begin(n, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	int ret;

	mnl_attr_put_strz(h, CTRL_ATTR_FAMILY_NAME, HOLDFAST_FAMILY_NAME);
	ret = hf_nl_call(n, false, note_family, &n->family);
	if (ret == -ENOENT)
		return hf_fail(err, HF_OK, -ENODEV,
			       "the holdfast module is not loaded; run `holdfast module load`, or set [track] source = fanotify to do without it");
	if (ret)
		return hf_fail(err, HF_OK, ret, "cannot ask the kernel for the holdfast module: %s",
			       strerror(-ret));
	return 0;
}

struct version { uint32_t abi; char text[32]; };

static int note_version(void *ctx, const struct nlmsghdr *h)
{
	struct version *v = ctx;
	struct hf_nlmsg m;
	int ret = hf_nlmsg_parse(h, &m, NULL, NULL);

	if (!ret) {
		v->abi = m.abi;
		snprintf(v->text, sizeof(v->text), "%s", m.version ? m.version : "of unknown version");
	}
	return ret;
}

static int check_version(struct hf_nl *n, struct hf_err *err)
{
	struct version v = { 0 };
	int ret;

	hf_nl_begin(n, HOLDFAST_CMD_VERSION_GET);
	ret = hf_nl_call(n, false, note_version, &v);
	if (ret == -EPERM)
		return hf_fail(err, HF_OK, ret,
			       "the holdfast module may only be used with CAP_NET_ADMIN; give it to the daemon's unit");
	if (ret)
		return hf_fail(err, HF_OK, ret, "the holdfast module does not answer: %s", strerror(-ret));
	if (v.abi != HOLDFAST_ABI)
		return hf_fail(err, HF_FAILED, -EPROTO,
			       "the loaded holdfast module (%s) has interface %u and this program has %d; install the module of this version and run `holdfast module reload`",
			       v.text, v.abi, HOLDFAST_ABI);
	return 0;
}

int hf_nl_again(struct hf_nl *n, struct hf_err *err)
{
	int ret = find_family(n, err);

	if (!ret)
		ret = check_version(n, err);
	if (ret)
		return ret;
	/* once more for the same group changes nothing */
	if (mnl_socket_setsockopt(n->events, NETLINK_ADD_MEMBERSHIP, &n->family.group, sizeof(n->family.group)) < 0)
		return hf_fail(err, HF_OK, -errno, "cannot receive the change events of the holdfast module: %s",
			       strerror(errno));
	return 0;
}

void hf_nl_close(struct hf_nl *n)
{
	if (n->events)
		mnl_socket_close(n->events);
	if (n->cmd)
		mnl_socket_close(n->cmd);
	free(n->buf);
	free(n->req);
	pthread_mutex_destroy(&n->lock);
	memset(n, 0, sizeof(*n));
}

int hf_nl_open(struct hf_nl *n, struct hf_err *err)
{
	struct timeval tv = { .tv_sec = ANSWER_S };
	int on = 1, size = EVENTS_BUF, ret;

	memset(n, 0, sizeof(*n));
	pthread_mutex_init(&n->lock, NULL);
	n->buf = malloc(HF_NL_BUF);
	n->req = malloc(HF_NL_REQ);
	ret = n->buf && n->req ? open_socket(&n->cmd) : -ENOMEM;
	if (!ret)
		ret = open_socket(&n->events);
	if (ret) {
		hf_fail(err, HF_OK, ret, "cannot open a netlink socket: %s", strerror(-ret));
		goto out;
	}
	mnl_socket_setsockopt(n->cmd, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(n->cmd, NETLINK_CAP_ACK, &on, sizeof(on));
	setsockopt(mnl_socket_get_fd(n->cmd), SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (setsockopt(mnl_socket_get_fd(n->events), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(mnl_socket_get_fd(n->events), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	ret = hf_nl_again(n, err);
out:
	if (ret)
		hf_nl_close(n);
	return ret;
}
