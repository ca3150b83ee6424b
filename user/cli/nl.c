// SPDX-License-Identifier: GPL-2.0-or-later
/* The module's netlink family. A request has a socket, change events have another one. */
#include "nl.h"
#include "nl_parse.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <uapi/linux/holdfast.h>

#define DUMPS 8			/* tries to get one that nothing changed under */
#define ANSWER_S 30		/* the longest wait for an answer */
#define EVENTS_BYTES (1 << 20)	/* of the socket that events come in at */

struct hf_nl {
	struct cli *c;
	struct nl_sock *sk, *events;
	int family;
};

/* One request, while it is answered. */
struct ask {
	struct json_object *list;	/* an object for each message */
	struct json_object *(*parse)(struct nlattr *const *a);
	int error;			/* -errno that the module answered */
	char why[160];			/* and its sentence, if it had one */
	bool done, interrupted;
};

int because(struct cli *c, enum hf_exit exit, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->err.msg, sizeof(c->err.msg), fmt, ap);
	va_end(ap);
	c->err.exit = exit;
	return exit;
}

static int on_message(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[HOLDFAST_A_MAX + 1];
	struct json_object *o = NULL;
	struct ask *ask = arg;

	if (!genlmsg_parse(nlmsg_hdr(msg), 0, a, HOLDFAST_A_MAX, nl_policy))
		o = ask->parse(a);
	if (o)
		json_object_array_add(ask->list, o);
	else
		ask->error = -EBADMSG;
	return NL_OK;
}

static int on_end(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *h = nlmsg_hdr(msg);
	struct ask *ask = arg;
	int error;

	ask->done = true;
	/* how a dump ended that failed when it had begun */
	if (h->nlmsg_type == NLMSG_DONE && nlmsg_datalen(h) >= (int)sizeof(error)) {
		memcpy(&error, nlmsg_data(h), sizeof(error));
		if (error < 0)
			ask->error = error;
	}
	return NL_STOP;
}

static int on_interrupted(struct nl_msg *msg, void *arg)
{
	((struct ask *)arg)->interrupted = true;
	return NL_OK;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *e, void *arg)
{
	/* what libnl hands over is the payload of the message */
	const struct nlmsghdr *h = (const struct nlmsghdr *)((const char *)e - NLMSG_HDRLEN);
	struct ask *ask = arg;

	ask->error = e->error;
	ask->done = true;
	if (h->nlmsg_flags & NLM_F_ACK_TLVS) {
		size_t skip = sizeof(*e) + (h->nlmsg_flags & NLM_F_CAPPED ? 0 : e->msg.nlmsg_len - NLMSG_HDRLEN);
		size_t len = h->nlmsg_len - NLMSG_HDRLEN;
		struct nlattr *a;

		a = skip < len ? nla_find((struct nlattr *)((char *)e + NLMSG_ALIGN(skip)), len - NLMSG_ALIGN(skip),
					  NLMSGERR_ATTR_MSG) : NULL;
		if (a)
			snprintf(ask->why, sizeof(ask->why), "%.*s", nla_len(a), (char *)nla_data(a));
	}
	return NL_STOP;
}

/* Sends @msg, consumes it, and takes all that is answered. -errno: not the module's answer. */
static int exchange(struct hf_nl *nl, struct nl_msg *msg, struct ask *ask)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int ret = cb ? nl_send_auto(nl->sk, msg) : -NLE_NOMEM;

	nlmsg_free(msg);
	if (cb) {
		nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_message, ask);
		nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, ask);
		nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, ask);
		nl_cb_set(cb, NL_CB_DUMP_INTR, NL_CB_CUSTOM, on_interrupted, ask);
		nl_cb_err(cb, NL_CB_CUSTOM, on_error, ask);
	}
	while (ret >= 0 && !ask->done)
		ret = nl_recvmsgs(nl->sk, cb);
	if (cb)
		nl_cb_put(cb);
	if (ret < 0 && !ask->done)
		return because(nl->c, HF_FAILED, "holdfast.ko does not answer: %s", nl_geterror(ret));
	return 0;
}

static int module_error(struct hf_nl *nl, const struct ask *ask)
{
	switch (-ask->error) {
	case 0:
		return 0;
	case EPERM:
		return because(nl->c, HF_PERM, "not permitted; this needs CAP_NET_ADMIN outside of containers: run it as root");
	case ENOENT:
		return because(nl->c, HF_NOTFOUND, "there is no such tree; holdfast tree list shows them");
	case EBUSY:
		return because(nl->c, HF_REFUSED, "the tree has a consumer");
	default:
		return because(nl->c, HF_FAILED, "holdfast.ko answered: %s%s%s", strerror(-ask->error),
			       *ask->why ? ": " : "", ask->why);
	}
}

/* One request. @list, if wanted, receives an array with an object for each message. */
static int ask(struct hf_nl *nl, int cmd, int flag, uint32_t id, struct json_object *(*parse)(struct nlattr *const *),
	       struct json_object **list)
{
	struct ask q;
	int ret;

	for (int try = 1; ; try++) {
		struct nl_msg *msg = nlmsg_alloc();

		q = (struct ask){ .parse = parse, .list = json_object_new_array() };
		if (!msg || !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, nl->family, 0, flag, cmd,
					 HOLDFAST_FAMILY_VERSION) ||
		    (id && nla_put_u32(msg, HOLDFAST_A_TREE_ID, id))) {
			nlmsg_free(msg);
			json_object_put(q.list);
			return because(nl->c, HF_FAILED, "out of memory");
		}
		ret = exchange(nl, msg, &q);
		if (!ret)
			ret = module_error(nl, &q);
		/* what was there before the last try began is in it, so that one is taken as it is */
		if (ret || !q.interrupted || try == DUMPS)
			break;
		json_object_put(q.list);
	}
	if (ret || !list)
		json_object_put(q.list);
	else
		*list = q.list;
	return ret;
}

int hf_nl_version(struct hf_nl *nl, struct json_object **out)
{
	struct json_object *list;
	int ret = ask(nl, HOLDFAST_CMD_VERSION_GET, 0, 0, parse_version, &list);

	if (ret)
		return ret;
	*out = json_object_get(json_object_array_get_idx(list, 0));
	json_object_put(list);
	return *out ? 0 : because(nl->c, HF_FAILED, "holdfast.ko does not tell its version");
}

int hf_nl_trees(struct hf_nl *nl, struct json_object **out)
{
	return ask(nl, HOLDFAST_CMD_TREE_GET, NLM_F_DUMP, 0, parse_tree, out);
}

int hf_nl_dirty(struct hf_nl *nl, struct json_object *tree, struct json_object *list)
{
	struct json_object *more;
	int ret = ask(nl, HOLDFAST_CMD_DIRTY_GET, NLM_F_DUMP, jint(tree, "id"), parse_dirty, &more);

	if (ret)
		return ret;
	for (size_t i = 0; i < json_object_array_length(more); i++) {
		struct json_object *o = json_object_get(json_object_array_get_idx(more, i));

		json_object_object_add(o, "tree", json_object_get(jobj(tree, "id")));
		json_object_object_add(o, "resource", json_object_get(jobj(tree, "resource")));
		json_object_object_add(o, "path", json_object_get(jobj(tree, "path")));
		json_object_array_add(list, o);
	}
	json_object_put(more);
	return 0;
}

int hf_nl_tree_delete(struct hf_nl *nl, uint32_t id)
{
	return ask(nl, HOLDFAST_CMD_TREE_DEL, NLM_F_ACK, id, parse_tree, NULL);
}

static struct nl_sock *socket_new(void)
{
	struct nl_sock *sk = nl_socket_alloc();

	if (sk && genl_connect(sk)) {
		nl_socket_free(sk);
		sk = NULL;
	}
	return sk;
}

static int not_loaded(struct cli *c)
{
	return because(c, HF_NOTFOUND, "holdfast.ko is not loaded; load it with holdfast module load (holdfast module status "
		       "says if something stands against that)");
}

int hf_nl_open(struct cli *c, struct hf_nl **out)
{
	struct timeval limit = { .tv_sec = ANSWER_S };
	struct hf_nl *nl = calloc(1, sizeof(*nl));
	int ret;

	if (!nl)
		return because(c, HF_FAILED, "out of memory");
	nl->c = c;
	/* to ask for the family of a module that is not there would load it */
	if (!access("/sys/module", F_OK) && access("/sys/module/holdfast", F_OK)) {
		ret = not_loaded(c);
		goto err;
	}
	nl->sk = socket_new();
	if (!nl->sk) {
		ret = because(c, HF_FAILED, "no netlink socket can be had: %s", strerror(errno));
		goto err;
	}
	setsockopt(nl_socket_get_fd(nl->sk), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	/* messages of a dump may be larger than libnl's buffer */
	nl_socket_enable_msg_peek(nl->sk);
	nl->family = genl_ctrl_resolve(nl->sk, HOLDFAST_FAMILY_NAME);
	if (nl->family < 0) {
		if (access("/sys/module/holdfast", F_OK))
			ret = not_loaded(c);
		else
			ret = because(c, HF_PERM, "holdfast.ko is loaded, but is not reached from this network namespace; "
				      "run it in the first one, outside of containers");
		goto err;
	}
	*out = nl;
	return 0;
err:
	hf_nl_close(nl);
	return ret;
}

void hf_nl_close(struct hf_nl *nl)
{
	if (!nl)
		return;
	nl_socket_free(nl->sk);
	nl_socket_free(nl->events);
	free(nl);
}

int hf_nl_join(struct hf_nl *nl)
{
	int group = genl_ctrl_resolve_grp(nl->sk, HOLDFAST_FAMILY_NAME, HOLDFAST_MCGRP_CHANGES);
	int size = EVENTS_BYTES, fd, ret;

	nl->events = socket_new();
	if (!nl->events || group < 0)
		return because(nl->c, HF_FAILED, "change events cannot be had from holdfast.ko: %s",
			       group < 0 ? nl_geterror(group) : strerror(errno));
	fd = nl_socket_get_fd(nl->events);
	/* best effort: a small buffer loses more, and says so */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	nl_socket_disable_auto_ack(nl->events);	/* nor are the numbers of messages in order then */
	nl_socket_enable_msg_peek(nl->events);
	nl_socket_set_nonblocking(nl->events);
	ret = nl_socket_add_membership(nl->events, group);
	if (ret == -NLE_PERM)
		return because(nl->c, HF_PERM, "not permitted; this needs CAP_NET_ADMIN outside of containers: run it as root");
	if (ret)
		return because(nl->c, HF_FAILED, "change events cannot be had from holdfast.ko: %s", nl_geterror(ret));
	return 0;
}

int hf_nl_fd(struct hf_nl *nl)
{
	return nl_socket_get_fd(nl->events);
}

struct receive {
	hf_nl_event_fn fn;
	void *arg;
};

static int on_event(struct nl_msg *msg, void *arg)
{
	struct genlmsghdr *g = genlmsg_hdr(nlmsg_hdr(msg));
	struct nlattr *a[HOLDFAST_A_MAX + 1], *at;
	struct json_object *changes;
	struct receive *r = arg;
	int left;

	if (genlmsg_parse(nlmsg_hdr(msg), 0, a, HOLDFAST_A_MAX, nl_policy) || g->cmd != HOLDFAST_CMD_CHANGE_NTF ||
	    !a[HOLDFAST_A_TREE_ID] || !a[HOLDFAST_A_NUMBER])
		return NL_SKIP;
	changes = json_object_new_array();
	nla_for_each_attr(at, genlmsg_attrdata(g, 0), genlmsg_attrlen(g, 0), left)
		if (nla_type(at) == HOLDFAST_A_CHANGE)
			json_object_array_add(changes, parse_change(at));
	r->fn(r->arg, nla_get_u32(a[HOLDFAST_A_TREE_ID]), nla_get_u64(a[HOLDFAST_A_NUMBER]), changes);
	json_object_put(changes);
	return NL_OK;
}

int hf_nl_events(struct hf_nl *nl, hf_nl_event_fn fn, void *arg, bool *lost)
{
	struct receive r = { fn, arg };
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int ret;

	*lost = false;
	if (!cb)
		return because(nl->c, HF_FAILED, "out of memory");
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_event, &r);
	ret = nl_recvmsgs(nl->events, cb);
	nl_cb_put(cb);
	if (ret == -NLE_NOMEM) {	/* ENOBUFS, as libnl calls it */
		*lost = true;
		return 0;
	}
	if (ret < 0 && ret != -NLE_AGAIN && ret != -NLE_INTR)
		return because(nl->c, HF_FAILED, "change events cannot be read: %s", nl_geterror(ret));
	return 0;
}
