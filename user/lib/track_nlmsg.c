// SPDX-License-Identifier: LGPL-2.1-or-later
/* Messages of the holdfast module, taken apart. No socket, no system call. */
#include "track_nl.h"
#include <limits.h>
#include <stdio.h>
#include <linux/netlink.h>

#define URGENT (~(uint32_t)HOLDFAST_OP_MODIFY)

static int u32_of(const struct nlattr *a, uint32_t *v)
{
	if (mnl_attr_validate(a, MNL_TYPE_U32) < 0)
		return -EBADMSG;
	*v = mnl_attr_get_u32(a);
	return 0;
}

static int u64_of(const struct nlattr *a, uint64_t *v)
{
	if (mnl_attr_validate(a, MNL_TYPE_U64) < 0)
		return -EBADMSG;
	*v = mnl_attr_get_u64(a);
	return 0;
}

static int str_of(const struct nlattr *a, const char **s)
{
	if (mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0)
		return -EBADMSG;
	*s = mnl_attr_get_str(a);
	return 0;
}

/* Names are bytes: anything but a NUL, and no way out of the tree. */
static int path_of(const struct nlattr *a, struct hf_nlchange *c)
{
	const char *p = mnl_attr_get_payload(a), *end, *q;

	c->len = mnl_attr_get_payload_len(a);
	c->path = p;
	end = p + c->len;
	if (c->len >= PATH_MAX || memchr(p, '\0', c->len))
		return -EBADMSG;
	for (; p < end; p = q + 1) {
		q = memchr(p, '/', end - p);
		if (!q)
			q = end;
		if (q == p || (q - p == 1 && *p == '.') || (q - p == 2 && p[0] == '.' && p[1] == '.') ||
		    q + 1 == end)
			return -EBADMSG;
	}
	return 0;
}

/* mnl_attr_for_each() stops at what does not fit: then something must be left over */
static bool whole(const struct nlattr *end, const void *tail)
{
	return (const char *)end >= (const char *)tail;
}

static int one_change(const struct nlattr *nest, struct hf_nlchange *c)
{
	const char *comm = "";
	const struct nlattr *a;
	int ret = 0;

	memset(c, 0, sizeof(*c));
	c->uid = c->login = UINT32_MAX;
	c->path = "";
	mnl_attr_for_each_nested(a, nest) {
		switch (mnl_attr_get_type(a)) {
		case HOLDFAST_A_CHANGE_ID:
			ret = u64_of(a, &c->id);
			break;
		case HOLDFAST_A_CHANGE_SEQ:
			ret = u64_of(a, &c->seq);
			break;
		case HOLDFAST_A_CHANGE_SINCE:
			ret = u64_of(a, &c->since);
			break;
		case HOLDFAST_A_CHANGE_OPS:
			ret = u32_of(a, &c->ops);
			break;
		case HOLDFAST_A_CHANGE_STATE:
			ret = u32_of(a, &c->state);
			break;
		case HOLDFAST_A_CHANGE_PID:
			ret = u32_of(a, &c->pid);
			break;
		case HOLDFAST_A_CHANGE_UID:
			ret = u32_of(a, &c->uid);
			break;
		case HOLDFAST_A_CHANGE_LOGINUID:
			ret = u32_of(a, &c->login);
			break;
		case HOLDFAST_A_CHANGE_COMM:
			ret = str_of(a, &comm);
			break;
		case HOLDFAST_A_CHANGE_PATH:
			ret = path_of(a, c);
			break;
		}
		if (ret)
			return ret;
	}
	strncpy(c->comm, comm, sizeof(c->comm) - 1);
	return whole(a, (const char *)mnl_attr_get_payload(nest) + mnl_attr_get_payload_len(nest)) ?
		0 : -EBADMSG;
}

static int one_attr(const struct nlattr *a, struct hf_nlmsg *m, hf_nlchange_fn fn, void *ctx)
{
	struct hf_nlchange c;
	int ret;

	switch (mnl_attr_get_type(a)) {
	case HOLDFAST_A_TREE_ID:
		return u32_of(a, &m->tree);
	case HOLDFAST_A_TREE_FLAGS:
		return u32_of(a, &m->flags);
	case HOLDFAST_A_ABI:
		return u32_of(a, &m->abi);
	case HOLDFAST_A_QUALITY:
		return u32_of(a, &m->quality);
	case HOLDFAST_A_STORES:
		return u32_of(a, &m->stores);
	case HOLDFAST_A_SEQ:
		return u64_of(a, &m->seq);
	case HOLDFAST_A_DIRTY:
		return u64_of(a, &m->dirty);
	case HOLDFAST_A_MARKS:
		return u64_of(a, &m->marks);
	case HOLDFAST_A_SINCE:
		return u64_of(a, &m->since);
	case HOLDFAST_A_NUMBER:
		return u64_of(a, &m->number);
	case HOLDFAST_A_VERSION:
		return str_of(a, &m->version);
	case HOLDFAST_A_CONSUMER:
		return str_of(a, &m->consumer);
	case HOLDFAST_A_RESOURCE:
		return str_of(a, &m->resource);
	case HOLDFAST_A_CHANGE:
		m->changes++;
		ret = one_change(a, &c);
		return ret ? ret : fn ? fn(ctx, &c) : 0;
	}
	return 0;
}

int hf_nlmsg_parse(const struct nlmsghdr *h, struct hf_nlmsg *m, hf_nlchange_fn fn, void *ctx)
{
	const struct genlmsghdr *g = mnl_nlmsg_get_payload(h);
	const struct nlattr *a;
	int ret;

	memset(m, 0, sizeof(*m));
	if (mnl_nlmsg_get_payload_len(h) < sizeof(*g))
		return -EBADMSG;
	m->cmd = g->cmd;
	mnl_attr_for_each(a, h, sizeof(*g)) {
		ret = one_attr(a, m, fn, ctx);
		if (ret)
			return ret;
	}
	return whole(a, mnl_nlmsg_get_payload_tail(h)) ? 0 : -EBADMSG;
}

static int one_group(const struct nlattr *nest, struct hf_nlfamily *f)
{
	const struct nlattr *a;
	const char *name = "";
	uint32_t id = 0;
	int ret = 0;

	mnl_attr_for_each_nested(a, nest) {
		if (mnl_attr_get_type(a) == CTRL_ATTR_MCAST_GRP_NAME)
			ret = str_of(a, &name);
		else if (mnl_attr_get_type(a) == CTRL_ATTR_MCAST_GRP_ID)
			ret = u32_of(a, &id);
		if (ret)
			return ret;
	}
	if (!strcmp(name, HOLDFAST_MCGRP_CHANGES))
		f->group = id;
	return 0;
}

int hf_nlmsg_family(const struct nlmsghdr *h, struct hf_nlfamily *f)
{
	const struct nlattr *a, *g;
	int ret = 0;

	memset(f, 0, sizeof(*f));
	if (mnl_nlmsg_get_payload_len(h) < sizeof(struct genlmsghdr))
		return -EBADMSG;
	mnl_attr_for_each(a, h, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(a) == CTRL_ATTR_FAMILY_ID) {
			if (mnl_attr_validate(a, MNL_TYPE_U16) < 0)
				return -EBADMSG;
			f->id = mnl_attr_get_u16(a);
		} else if (mnl_attr_get_type(a) == CTRL_ATTR_MCAST_GROUPS) {
			mnl_attr_for_each_nested(g, a) {
				ret = one_group(g, f);
				if (ret)
					return ret;
			}
		}
	}
	return f->id && f->group ? 0 : -EBADMSG;
}

int hf_nlmsg_error(const struct nlmsghdr *h, struct hf_nlerror *e)
{
	const char *p = mnl_nlmsg_get_payload(h), *text;
	size_t len = mnl_nlmsg_get_payload_len(h), at = sizeof(int);
	const struct nlmsgerr *in = (const void *)p;
	const struct nlattr *a;

	memset(e, 0, sizeof(*e));
	if (len < sizeof(int))
		return h->nlmsg_type == NLMSG_DONE ? 0 : -EBADMSG;
	memcpy(&e->error, p, sizeof(int));
	if (e->error > 0)
		return -EBADMSG;
	if (h->nlmsg_type == NLMSG_ERROR) {
		if (len < sizeof(*in))
			return -EBADMSG;
		at = sizeof(*in);
		/* the request, unless it was left out */
		if (!(h->nlmsg_flags & NLM_F_CAPPED)) {
			if (in->msg.nlmsg_len < sizeof(in->msg) || in->msg.nlmsg_len > len - sizeof(int))
				return -EBADMSG;
			at = sizeof(int) + MNL_ALIGN(in->msg.nlmsg_len);
		}
	}
	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS) || at > len)
		return 0;
	mnl_attr_for_each(a, h, at) {
		if (mnl_attr_get_type(a) == NLMSGERR_ATTR_OFFS && u32_of(a, &e->offset))
			return -EBADMSG;
		if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG) {
			if (str_of(a, &text))
				return -EBADMSG;
			snprintf(e->text, sizeof(e->text), "%s", text);
		}
	}
	return 0;
}

static int look_at(void *ctx, const struct hf_nlchange *c)
{
	struct hf_nlevent *e = ctx;

	e->urgent |= !c->ops || (c->ops & URGENT) || (c->state & HOLDFAST_STATE_SUBTREE);
	return 0;
}

int hf_nlmsg_events(const void *buf, size_t n, uint16_t family,
		    void (*fn)(void *ctx, const struct hf_nlevent *e), void *ctx)
{
	const struct nlmsghdr *h = buf;
	int len = (int)n, ret = 0;
	struct hf_nlevent e;
	struct hf_nlmsg m;

	for (; hf_nlmsg_ok(h, len); h = mnl_nlmsg_next(h, &len)) {
		if (h->nlmsg_type == NLMSG_NOOP)
			continue;
		memset(&e, 0, sizeof(e));
		if (h->nlmsg_type != family || hf_nlmsg_parse(h, &m, look_at, &e) ||
		    m.cmd != HOLDFAST_CMD_CHANGE_NTF || !m.tree || (m.changes && !m.number)) {
			ret = -EBADMSG;
			continue;
		}
		e.tree = m.tree;
		e.number = m.number;
		e.changes = m.changes;
		e.urgent |= !m.changes;
		fn(ctx, &e);
	}
	return len > 0 ? -EBADMSG : ret;
}

bool hf_nlevent_gap(uint64_t *next, const struct hf_nlevent *e)
{
	uint64_t want = *next, end = e->number + e->changes;

	if (!e->changes)
		return false;
	if (end > want)
		*next = end;
	return want && e->number != want;
}
