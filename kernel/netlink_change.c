// SPDX-License-Identifier: GPL-2.0
/*
 * How changes are put into messages: of the dump of a dirty set, and of the
 * group of change events.
 *
 * The dump goes by number, so that what comes and goes meanwhile makes it miss
 * nothing: first the entries, then the tree as a whole, if it is noted so.
 */
#include <linux/jhash.h>
#include <linux/slab.h>
#include <net/net_namespace.h>
#include "compat/compat.h"
#include "holdfast.h"
#include "netlink.h"

static int put_u64(struct sk_buff *skb, int attr, u64 value)
{
	return nla_put_u64_64bit(skb, attr, value, HOLDFAST_A_CHANGE_PAD);
}

static int put_who(struct sk_buff *skb, const struct hf_who *who)
{
	return nla_put_u32(skb, HOLDFAST_A_CHANGE_PID, who->pid) ||
	       nla_put_u32(skb, HOLDFAST_A_CHANGE_UID, who->uid) ||
	       nla_put_u32(skb, HOLDFAST_A_CHANGE_LOGINUID, who->loginuid) ||
	       nla_put_string(skb, HOLDFAST_A_CHANGE_COMM, who->comm);
}

static int put_change(struct sk_buff *skb, const struct hf_told *t, const char *path, u32 len)
{
	struct nlattr *nest = nla_nest_start(skb, HOLDFAST_A_CHANGE);

	if (!nest)
		return -EMSGSIZE;
	if (put_u64(skb, HOLDFAST_A_CHANGE_ID, t->id) ||
	    put_u64(skb, HOLDFAST_A_CHANGE_SEQ, t->seq) ||
	    nla_put_u32(skb, HOLDFAST_A_CHANGE_OPS, t->ops) ||
	    nla_put_u32(skb, HOLDFAST_A_CHANGE_STATE, t->state) ||
	    nla_put(skb, HOLDFAST_A_CHANGE_PATH, len, path) ||
	    put_u64(skb, HOLDFAST_A_CHANGE_SINCE, t->since) ||
	    (t->who && put_who(skb, t->who))) {
		nla_nest_cancel(skb, nest);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	return 0;
}

/* what a change takes beside its path, at most */
#define CHANGE_SIZE 160

int hf_netlink_put(struct sk_buff *skb, const struct hf_tree *tree, const struct hf_told *told,
		   bool alone, char *buf)
{
	struct hf_told t = *told;
	u32 room = PATH_MAX - 1;
	int len;

	if (alone)
		room = clamp_t(int, skb_tailroom(skb) - CHANGE_SIZE, 0, room);
	/* what is left lies in a directory that holds it, if as a whole */
	if (t.dir && hf_dir_shorten(&t.dir, &t.len, room))
		t.state |= HOLDFAST_STATE_SUBTREE;
	len = t.dir ? hf_dir_path(tree, t.dir, t.name, t.len, buf) : 0;
	return len < 0 ? len : put_change(skb, &t, buf, len);
}

/*
 * The dump.
 */

struct dump {
	u64 id;		/* of the last entry in the dump */
	bool all;	/* the tree as a whole is in it */
};

static int dump_one(struct sk_buff *skb, struct netlink_callback *cb, const struct hf_tree *tree,
		    const struct hf_told *told, char *buf)
{
	bool alone = !skb->len;
	void *head;
	int err;

	head = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &hf_family,
			   NLM_F_MULTI, HOLDFAST_CMD_DIRTY_GET);
	if (!head)
		return -EMSGSIZE;
	err = nla_put_u32(skb, HOLDFAST_A_TREE_ID, tree->id);
	if (!err)
		err = hf_netlink_put(skb, tree, told, alone, buf);
	if (err) {
		genlmsg_cancel(skb, head);
		/* moved out of the tree, and soon forgotten */
		return err == -ENOENT ? 0 : err;
	}
	/* not before: it marks the one message that it first meets */
	genl_dump_check_consistent(cb, head);
	genlmsg_end(skb, head);
	return 0;
}

static int dump_entries(struct sk_buff *skb, struct netlink_callback *cb, struct hf_tree *tree,
			bool consumer, char *buf)
{
	struct dump *d = (struct dump *)cb->ctx;
	struct hf_entry *e;
	int err;

	while ((e = hf_dirty_next(&tree->dirty, d->id))) {
		struct hf_told t = hf_told_entry(e);

		err = dump_one(skb, cb, tree, &t, buf);
		if (err)
			return err;
		d->id = e->id;
		/* what happens to it from now on is news to the consumer */
		if (consumer)
			e->told = 0;
	}
	return 0;
}

/* The tree as a whole: last, as what has an entry may become part of it. */
static int dump_all(struct sk_buff *skb, struct netlink_callback *cb, struct hf_tree *tree,
		    bool consumer, char *buf)
{
	struct dump *d = (struct dump *)cb->ctx;
	const struct hf_told t = {
		.id = tree->dirty.all_id,
		.seq = tree->dirty.all_seq,
		.since = tree->dirty.since,
		.state = HOLDFAST_STATE_SUBTREE,
	};
	int err;

	if (d->all)
		return 0;
	err = t.id ? dump_one(skb, cb, tree, &t, buf) : 0;
	if (err)
		return err;
	d->all = true;
	if (consumer)
		tree->dirty.all_told = false;
	return 0;
}

/* Of the set as it is now; never 0, which netlink takes for none. */
static u32 dirty_generation(const struct hf_dirty *set)
{
	const u64 of[] = { set->seq, set->count, set->wholes };

	return jhash(of, sizeof(of), 0) ?: 1;
}

int holdfast_nl_dirty_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct hf_tree *tree;
	char *buf;
	bool consumer;
	int err;

	BUILD_BUG_ON(sizeof(struct dump) > sizeof(cb->ctx));
	tree = hf_netlink_tree(hf_dump_attrs(cb), cb->extack, HOLDFAST_CMD_DIRTY_GET);
	if (IS_ERR(tree))
		return PTR_ERR(tree);
	err = -ENOMEM;
	buf = kmalloc(PATH_MAX, GFP_KERNEL);
	if (!buf)
		goto out;
	consumer = !hf_tree_consumed(tree, NETLINK_CB(cb->skb).portid);

	spin_lock(&tree->lock);
	cb->seq = dirty_generation(&tree->dirty);
	err = dump_entries(skb, cb, tree, consumer, buf);
	if (!err)
		err = dump_all(skb, cb, tree, consumer, buf);
	spin_unlock(&tree->lock);

	kfree(buf);
	/* there is more: netlink comes again with a new message */
	if (err == -EMSGSIZE && skb->len)
		err = skb->len;
out:
	hf_tree_put(tree);
	return err;
}

/*
 * The group.
 */

struct sk_buff *hf_netlink_changes(u32 tree_id, void **head, u64 **number, gfp_t gfp)
{
	struct sk_buff *skb = genlmsg_new(GENLMSG_DEFAULT_SIZE, gfp);
	struct nlattr *attr;

	if (!skb)
		return NULL;
	*head = genlmsg_put(skb, 0, 0, &hf_family, 0, HOLDFAST_CMD_CHANGE_NTF);
	if (!*head || nla_put_u32(skb, HOLDFAST_A_TREE_ID, tree_id))
		goto err_free;
	attr = nla_reserve_64bit(skb, HOLDFAST_A_NUMBER, sizeof(**number), HOLDFAST_A_PAD);
	if (!attr)
		goto err_free;
	*number = nla_data(attr);
	return skb;

err_free:
	nlmsg_free(skb);
	return NULL;
}

void hf_netlink_send(struct sk_buff *skb, void *head)
{
	genlmsg_end(skb, head);
	/* who misses it is told by netlink (ENOBUFS), and sees the gap */
	genlmsg_multicast(&hf_family, skb, 0, HOLDFAST_NLGRP_CHANGES, GFP_KERNEL);
}

bool hf_netlink_heard(void)
{
	return genl_has_listeners(&hf_family, &init_net, HOLDFAST_NLGRP_CHANGES);
}
