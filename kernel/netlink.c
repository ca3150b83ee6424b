// SPDX-License-Identifier: GPL-2.0
/*
 * The netlink family: requests, dumps, and the messages of the group. What
 * it says is in Documentation/netlink/specs/holdfast.yaml; the policy and the
 * table of operations are generated from there. Changes are netlink_change.c's.
 *
 * Requests run in parallel (parallel_ops), and none waits for a directory's lock
 * without a bound: netlink as a whole would, should it not be let go. Each holds a reference to
 * its tree. What needs memory gets it before tree->lock is taken: what is read
 * under the lock goes into the message under the same lock.
 */
#include <linux/file.h>
#include <linux/netlink.h>
#include <linux/sched/signal.h>
#include <net/net_namespace.h>
#include "compat/compat.h"
#include "holdfast.h"
#include "netlink.h"

/*
 * Attributes.
 */

#define A(name)	BIT(HOLDFAST_A_##name)

/* what a request may have; the policy is one for all */
static const u32 allowed[] = {
	[HOLDFAST_CMD_VERSION_GET] = 0,
	[HOLDFAST_CMD_TREE_ADD] = A(ROOT_FD) | A(RESOURCE) | A(PATH) | A(CONSUMER) | A(FILE),
	[HOLDFAST_CMD_TREE_DEL] = A(TREE_ID),
	[HOLDFAST_CMD_TREE_GET] = A(TREE_ID),
	[HOLDFAST_CMD_MARK] = A(TREE_ID) | A(DIR_FD),
	[HOLDFAST_CMD_BARRIER] = A(TREE_ID),
	[HOLDFAST_CMD_DIRTY_GET] = A(TREE_ID),
	[HOLDFAST_CMD_ACK] = A(TREE_ID) | A(ACK),
	[HOLDFAST_CMD_EXCLUDE] = A(TREE_ID) | A(EXCLUDE),
	[HOLDFAST_CMD_CHANGE_NTF] = 0,
};

static const char *const missing[ARRAY_SIZE(holdfast_nl_policy)] = {
	[HOLDFAST_A_TREE_ID] = "the attribute tree-id is missing",
	[HOLDFAST_A_ROOT_FD] = "the attribute root-fd is missing",
	[HOLDFAST_A_RESOURCE] = "the attribute resource is missing",
	[HOLDFAST_A_PATH] = "the attribute path is missing",
	[HOLDFAST_A_CONSUMER] = "the attribute consumer is missing",
	[HOLDFAST_A_DIR_FD] = "the attribute dir-fd is missing",
	[HOLDFAST_A_ACK] = "the attribute ack is missing",
	[HOLDFAST_A_EXCLUDE] = "the attribute exclude is missing",
};

static int refuse(struct netlink_ext_ack *extack, const struct nlattr *attr, int err,
		  const char *why)
{
	if (extack) {
		extack->_msg = why;
		extack->bad_attr = attr;
	}
	return err;
}

static int check_attrs(struct nlattr **attrs, struct netlink_ext_ack *extack, u32 may, u32 must)
{
	int i;

	/* one more operation or attribute is one more to think of here */
	BUILD_BUG_ON(ARRAY_SIZE(allowed) != HOLDFAST_CMD_MAX + 1 || HOLDFAST_CMD_MAX != 10);
	BUILD_BUG_ON(HOLDFAST_A_MAX != 27);

	/* attributes beyond the policy are netlink's to refuse, and not in @attrs */
	for (i = 1; i < ARRAY_SIZE(holdfast_nl_policy); i++) {
		if (attrs[i] && !(may & BIT(i)))
			return refuse(extack, attrs[i], -EINVAL,
				      "the operation does not take this attribute");
		if (!attrs[i] && (must & BIT(i))) {
			NL_SET_ERR_ATTR_MISS(extack, NULL, i);
			return refuse(extack, NULL, -EINVAL, missing[i]);
		}
	}
	return 0;
}

struct hf_tree *hf_netlink_tree(struct nlattr **attrs, struct netlink_ext_ack *extack, u8 cmd)
{
	struct hf_tree *tree;
	int err;

	err = check_attrs(attrs, extack, allowed[cmd], allowed[cmd]);
	if (err)
		return ERR_PTR(err);
	tree = hf_tree_get(nla_get_u32(attrs[HOLDFAST_A_TREE_ID]));
	if (!tree)
		return ERR_PTR(refuse(extack, attrs[HOLDFAST_A_TREE_ID], -ENOENT,
				      "no tree has this number; tree-get lists them"));
	return tree;
}

/* The same for what only its consumer may do. */
static struct hf_tree *own_tree_of(struct genl_info *info)
{
	struct hf_tree *tree = hf_netlink_tree(info->attrs, info->extack, info->genlhdr->cmd);
	int err;

	if (IS_ERR(tree))
		return tree;
	err = hf_tree_consumed(tree, info->snd_portid);
	if (!err)
		return tree;
	hf_tree_put(tree);
	return ERR_PTR(refuse(info->extack, info->attrs[HOLDFAST_A_TREE_ID], err,
			      err == -EBUSY ? "another socket consumes this tree" :
			      "this socket does not consume the tree; take it over with tree-add"));
}

/*
 * Replies.
 */

struct view {
	u64 seq, dirty, marks, since;
	u32 flags, quality;
};

static void view_tree(struct hf_tree *tree, struct view *v)
{
	v->flags = (hf_tree_attached(tree) ? HOLDFAST_TREE_FLAG_ATTACHED : 0) |
		   (tree->stores ? HOLDFAST_TREE_FLAG_STORES : 0);
	spin_lock(&tree->lock);
	v->flags |= (hf_lost(tree) ? HOLDFAST_TREE_FLAG_LOST : 0) |
		    (tree->moved ? HOLDFAST_TREE_FLAG_MOVED : 0) |
		    (tree->coarse ? HOLDFAST_TREE_FLAG_COARSE : 0) |
		    (tree->exclude ? HOLDFAST_TREE_FLAG_EXCLUDING : 0);
	v->seq = tree->dirty.seq;
	v->dirty = tree->dirty.count;
	v->marks = tree->marks;
	v->since = hf_dirty_since(&tree->dirty);
	v->quality = tree->coarse || tree->foreign ? HOLDFAST_QUALITY_SCAN :
						     HOLDFAST_QUALITY_EVENTS;
	spin_unlock(&tree->lock);
}

static int put_u64(struct sk_buff *skb, int attr, u64 value)
{
	return nla_put_u64_64bit(skb, attr, value, HOLDFAST_A_PAD);
}

static int put_state(struct sk_buff *skb, const struct hf_tree *tree, const struct view *v)
{
	return nla_put_u32(skb, HOLDFAST_A_TREE_ID, tree->id) ||
	       nla_put_u32(skb, HOLDFAST_A_TREE_FLAGS, v->flags) ||
	       put_u64(skb, HOLDFAST_A_SEQ, v->seq) ||
	       put_u64(skb, HOLDFAST_A_DIRTY, v->dirty) ||
	       put_u64(skb, HOLDFAST_A_MARKS, v->marks) ||
	       put_u64(skb, HOLDFAST_A_SINCE, v->since);
}

static int put_tree(struct sk_buff *skb, const struct hf_tree *tree, const struct view *v,
		    bool path)
{
	return put_state(skb, tree, v) ||
	       nla_put_string(skb, HOLDFAST_A_RESOURCE, tree->resource) ||
	       nla_put_string(skb, HOLDFAST_A_CONSUMER, tree->consumer) ||
	       (path && nla_put(skb, HOLDFAST_A_PATH, tree->path_len, tree->path)) ||
	       (tree->file && nla_put(skb, HOLDFAST_A_FILE, tree->file_len, tree->file)) ||
	       nla_put_u32(skb, HOLDFAST_A_DEVICE, tree->device) ||
	       put_u64(skb, HOLDFAST_A_INODE, tree->inode) ||
	       nla_put_u32(skb, HOLDFAST_A_QUALITY, v->quality);
}

static struct sk_buff *reply_new(struct genl_info *info, size_t more, void **head)
{
	struct sk_buff *skb = genlmsg_new(GENLMSG_DEFAULT_SIZE + more, GFP_KERNEL);

	if (skb)
		*head = genlmsg_put_reply(skb, info, &hf_family, 0, info->genlhdr->cmd);
	return skb;
}

/* @err: of what was put, which fits as replies are made large enough */
static int reply(struct sk_buff *skb, void *head, struct genl_info *info, int err)
{
	if (WARN_ON_ONCE(err)) {
		nlmsg_free(skb);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, head);
	return genlmsg_reply(skb, info);
}

/*
 * Requests.
 */

int holdfast_nl_version_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *msg;
	void *head;
	int err;

	err = check_attrs(info->attrs, info->extack, allowed[HOLDFAST_CMD_VERSION_GET], 0);
	if (err)
		return err;
	msg = reply_new(info, 0, &head);
	if (!msg)
		return -ENOMEM;
	err = nla_put_string(msg, HOLDFAST_A_VERSION, HF_MODULE_VERSION) ||
	      nla_put_u32(msg, HOLDFAST_A_ABI, HOLDFAST_ABI) ||
	      nla_put_u32(msg, HOLDFAST_A_TREES, hf_trees_count()) ||
	      put_u64(msg, HOLDFAST_A_MARKS, hf_marks()) ||
	      put_u64(msg, HOLDFAST_A_MARKS_MAX, READ_ONCE(hf_marks_max)) ||
	      put_u64(msg, HOLDFAST_A_DIRTY_BYTES, hf_dirty_bytes()) ||
	      put_u64(msg, HOLDFAST_A_DIRTY_MAX, READ_ONCE(hf_dirty_max)) ||
	      put_u64(msg, HOLDFAST_A_SEQ, hf_seq_read()) ||
	      nla_put_u32(msg, HOLDFAST_A_STORES, hf_stores_seen());
	return reply(msg, head, info, err);
}

static int parse_spec(struct genl_info *info, struct hf_tree_spec *spec)
{
	struct netlink_ext_ack *extack = info->extack;
	struct nlattr **attrs = info->attrs, *a;
	int err;

	err = check_attrs(attrs, extack, allowed[HOLDFAST_CMD_TREE_ADD],
			  allowed[HOLDFAST_CMD_TREE_ADD] & ~A(FILE));
	if (err)
		return err;
	spec->portid = info->snd_portid;
	spec->resource = nla_data(attrs[HOLDFAST_A_RESOURCE]);
	spec->consumer = nla_data(attrs[HOLDFAST_A_CONSUMER]);
	if (!*spec->consumer)
		return refuse(extack, attrs[HOLDFAST_A_CONSUMER], -EINVAL,
			      "the consumer has no name");
	a = attrs[HOLDFAST_A_PATH];
	spec->path = nla_data(a);
	spec->path_len = nla_len(a);
	if (!spec->path_len || spec->path_len >= PATH_MAX || memchr(spec->path, 0, spec->path_len))
		return refuse(extack, a, -EINVAL, "a path has 1 to 4095 bytes, none of them 0");
	a = attrs[HOLDFAST_A_FILE];
	if (!a)
		return 0;
	spec->file = nla_data(a);
	spec->file_len = nla_len(a);
	if (!spec->file_len || spec->file_len > NAME_MAX ||
	    memchr(spec->file, 0, spec->file_len) || memchr(spec->file, '/', spec->file_len) ||
	    (spec->file[0] == '.' && (spec->file_len == 1 ||
				      (spec->file_len == 2 && spec->file[1] == '.'))))
		return refuse(extack, a, -EINVAL,
			      "a file is one name of 1 to 255 bytes, and neither . nor ..");
	return 0;
}

static int refuse_fd(struct netlink_ext_ack *extack, const struct nlattr *attr, int err)
{
	const char *why = NULL;

	switch (err) {
	case -EBADF:
		why = "the descriptor is not an open file (O_PATH is not enough)";
		break;
	case -ENOTDIR:
		why = "the descriptor is not one of a directory";
		break;
	case -ESTALE:
		why = "the directory is deleted, or does not lie in a marked directory of the tree";
		break;
	case -EAGAIN:
		why = "an operation in the directory above does not come to its end; try again";
		break;
	case -ENOSPC:
		why = "as many directories are marked as the parameter marks_max allows; raise it";
		break;
	case -EBUSY:
		why = "another socket consumes this tree";
		break;
	}
	return refuse(extack, attr, err, why);
}

int holdfast_nl_tree_add_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct hf_tree_spec spec = { };
	struct hf_tree *tree;
	struct sk_buff *msg;
	struct view v;
	bool resumed;
	void *head;
	int err;

	err = parse_spec(info, &spec);
	if (err)
		return err;
	/* before the tree, so that none is there whose number nobody knows */
	msg = reply_new(info, 0, &head);
	if (!msg)
		return -ENOMEM;
	spec.root = fget(nla_get_u32(info->attrs[HOLDFAST_A_ROOT_FD]));
	tree = spec.root ? hf_tree_add(&spec, &resumed) : ERR_PTR(-EBADF);
	if (spec.root)
		fput(spec.root);
	if (IS_ERR(tree)) {
		nlmsg_free(msg);
		return refuse_fd(info->extack, info->attrs[HOLDFAST_A_ROOT_FD], PTR_ERR(tree));
	}
	view_tree(tree, &v);
	if (resumed)
		v.flags |= HOLDFAST_TREE_FLAG_RESUMED;
	err = nla_put_u32(msg, HOLDFAST_A_TREE_ID, tree->id) ||
	      nla_put_u32(msg, HOLDFAST_A_TREE_FLAGS, v.flags) ||
	      put_u64(msg, HOLDFAST_A_SEQ, v.seq);
	hf_tree_put(tree);
	return reply(msg, head, info, err);
}

int holdfast_nl_tree_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct hf_tree *tree = hf_netlink_tree(info->attrs, info->extack, HOLDFAST_CMD_TREE_DEL);
	int err;

	if (IS_ERR(tree))
		return PTR_ERR(tree);
	err = hf_tree_del(tree, info->snd_portid);
	hf_tree_put(tree);
	if (err == -EBUSY)
		refuse(info->extack, info->attrs[HOLDFAST_A_TREE_ID], err,
		       "another socket consumes this tree");
	return err;
}

int holdfast_nl_tree_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct hf_tree *tree = hf_netlink_tree(info->attrs, info->extack, HOLDFAST_CMD_TREE_GET);
	struct sk_buff *msg;
	struct view v;
	void *head;
	int err;

	if (IS_ERR(tree))
		return PTR_ERR(tree);
	msg = reply_new(info, tree->path_len, &head);
	if (!msg) {
		hf_tree_put(tree);
		return -ENOMEM;
	}
	view_tree(tree, &v);
	err = put_tree(msg, tree, &v, true);
	hf_tree_put(tree);
	return reply(msg, head, info, err);
}

int holdfast_nl_mark_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct hf_tree *tree = own_tree_of(info);
	const struct nlattr *a;
	struct file *file;
	int rem, err = 0;

	if (IS_ERR(tree))
		return PTR_ERR(tree);
	nla_for_each_attr(a, genlmsg_data(info->genlhdr), genlmsg_len(info->genlhdr), rem) {
		if (nla_type(a) != HOLDFAST_A_DIR_FD)
			continue;
		file = fget(nla_get_u32(a));
		err = file ? hf_watch_mark(tree, file) : -EBADF;
		if (file)
			fput(file);
		if (!err && fatal_signal_pending(current))
			err = -EINTR;
		if (err) {
			refuse_fd(info->extack, a, err);
			break;
		}
		cond_resched();
	}
	hf_tree_put(tree);
	return err;
}

int holdfast_nl_barrier_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct hf_tree *tree = hf_netlink_tree(info->attrs, info->extack, HOLDFAST_CMD_BARRIER);
	struct sk_buff *msg;
	struct view v;
	void *head;
	int err;

	if (IS_ERR(tree))
		return PTR_ERR(tree);
	msg = reply_new(info, 0, &head);
	if (!msg) {
		hf_tree_put(tree);
		return -ENOMEM;
	}
	err = hf_settle(tree);
	if (err) {
		nlmsg_free(msg);
		hf_tree_put(tree);
		return refuse(info->extack, NULL, err,
			      "an operation in a directory of the tree does not come to its end; try again");
	}
	view_tree(tree, &v);
	err = put_state(msg, tree, &v);
	hf_tree_put(tree);
	return reply(msg, head, info, err);
}

static int parse_ack(const struct nlattr *a, u64 *id, u64 *seq, struct netlink_ext_ack *extack)
{
	struct nlattr *tb[HOLDFAST_A_ACK_MAX + 1];
	int err;

	err = nla_parse_nested(tb, HOLDFAST_A_ACK_MAX, a, holdfast_ack_nl_policy, extack);
	if (err)
		return err;
	if (!tb[HOLDFAST_A_ACK_ID] || !tb[HOLDFAST_A_ACK_SEQ])
		return refuse(extack, a, -EINVAL, "an ack has an id and a seq");
	*id = nla_get_u64(tb[HOLDFAST_A_ACK_ID]);
	*seq = nla_get_u64(tb[HOLDFAST_A_ACK_SEQ]);
	return 0;
}

int holdfast_nl_ack_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct hf_tree *tree = own_tree_of(info);
	const struct nlattr *a;
	int rem, err = 0;
	u64 id, seq;

	if (IS_ERR(tree))
		return PTR_ERR(tree);
	nla_for_each_attr(a, genlmsg_data(info->genlhdr), genlmsg_len(info->genlhdr), rem) {
		if (nla_type(a) != HOLDFAST_A_ACK)
			continue;
		err = parse_ack(a, &id, &seq, info->extack);
		if (err)
			goto out;
	}
	spin_lock(&tree->lock);
	nla_for_each_attr(a, genlmsg_data(info->genlhdr), genlmsg_len(info->genlhdr), rem) {
		if (nla_type(a) != HOLDFAST_A_ACK || parse_ack(a, &id, &seq, NULL) || !id)
			continue;
		hf_dirty_ack(&tree->dirty, id, seq);
		/* each by itself: writers need not wait for all of them */
		cond_resched_lock(&tree->lock);
	}
	spin_unlock(&tree->lock);
out:
	hf_tree_put(tree);
	return err;
}

int holdfast_nl_exclude_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct hf_tree *tree = own_tree_of(info);
	int err;

	if (IS_ERR(tree))
		return PTR_ERR(tree);
	err = hf_tree_exclude(tree, nla_get_u32(info->attrs[HOLDFAST_A_EXCLUDE]));
	hf_tree_put(tree);
	return err;
}

static int dump_tree(struct sk_buff *skb, struct netlink_callback *cb, struct hf_tree *tree,
		     bool path)
{
	struct view v;
	void *head;

	head = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &hf_family,
			   NLM_F_MULTI, HOLDFAST_CMD_TREE_GET);
	if (!head)
		return -EMSGSIZE;
	view_tree(tree, &v);
	if (put_tree(skb, tree, &v, path)) {
		genlmsg_cancel(skb, head);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, head);
	return 0;
}

int holdfast_nl_tree_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	u32 *last = (u32 *)cb->ctx;
	struct hf_tree *tree;
	int err;

	err = check_attrs(hf_dump_attrs(cb), cb->extack, 0, 0);
	if (err)
		return err;
	while ((tree = hf_tree_next(*last))) {
		err = dump_tree(skb, cb, tree, true);
		/* the path can be longer than a whole message, and is only for listings */
		if (err && !skb->len)
			err = dump_tree(skb, cb, tree, false);
		if (!err)
			*last = tree->id;
		hf_tree_put(tree);
		if (err)
			return skb->len ? skb->len : err;
	}
	return 0;
}

/*
 * The family.
 */

static const struct genl_multicast_group groups[] = {
	[HOLDFAST_NLGRP_CHANGES] = {
		.name = HOLDFAST_MCGRP_CHANGES,
		.flags = GENL_MCAST_CAP_NET_ADMIN,
	},
};

struct genl_family hf_family __ro_after_init = {
	.name = HOLDFAST_FAMILY_NAME,
	.version = HOLDFAST_FAMILY_VERSION,
	.maxattr = ARRAY_SIZE(holdfast_nl_policy) - 1,
	.policy = holdfast_nl_policy,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.small_ops = holdfast_nl_ops,
	.n_small_ops = ARRAY_SIZE(holdfast_nl_ops),
	.mcgrps = groups,
	.n_mcgrps = ARRAY_SIZE(groups),
};

static int socket_closed(struct notifier_block *nb, unsigned long event, void *data)
{
	struct netlink_notify *n = data;

	/* the family is there in the first network namespace alone */
	if (event == NETLINK_URELEASE && n->protocol == NETLINK_GENERIC &&
	    net_eq(n->net, &init_net))
		hf_trees_release(n->portid);
	return NOTIFY_DONE;
}

static struct notifier_block notifier = { .notifier_call = socket_closed };

int __init hf_netlink_init(void)
{
	int err, tries;

	/* first, so that no consumer's end is missed */
	err = netlink_register_notifier(&notifier);
	if (err)
		return err;
	/*
	 * Anybody can join a group that is not there yet, and its members are not
	 * asked again when it comes. To go makes them leave.
	 */
	for (tries = 0; tries < 10; tries++) {
		err = genl_register_family(&hf_family);
		if (err || !hf_netlink_heard())
			break;
		genl_unregister_family(&hf_family);
		err = -EBUSY;
	}
	if (err)
		netlink_unregister_notifier(&notifier);
	return err;
}

void hf_netlink_exit(void)
{
	/* waits for requests that are under way; dumps hold the module */
	genl_unregister_family(&hf_family);
	netlink_unregister_notifier(&notifier);
}
