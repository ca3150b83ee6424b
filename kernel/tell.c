// SPDX-License-Identifier: GPL-2.0
/*
 * Change events, pushed to the netlink group in batches.
 *
 * Whoever notes a change queues its tree's work under tree->lock, and goes on.
 * The work takes what is new and puts it into messages, each as full as it can
 * be under one hold of the lock: what comes while it runs goes along, or queues
 * it again. It never runs twice at a time for one tree, so messages are in order
 * and only the work changes tree->number.
 *
 * While the work is queued it holds a reference to its tree, taken under the
 * lock that the work itself takes before it puts it. A dying tree's is not queued.
 */
#include <linux/delay.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include "holdfast.h"

static struct workqueue_struct *wq;

void hf_tell(struct hf_tree *tree)
{
	lockdep_assert_held(&tree->lock);
	if (!tree->dying && queue_work(wq, &tree->tell))
		hf_tree_ref(tree);
}

/* Something as a whole: the root stands for whatever it is. */
static bool whole(const struct hf_tree *tree)
{
	return tree->dirty.scan_news || (tree->lost && !tree->lost_told);
}

static void whole_told(struct hf_tree *tree)
{
	if (tree->dirty.scan_news)
		tree->dirty.scan_told = true;
	tree->dirty.scan_news = false;
	tree->lost_told = tree->lost;
}

static struct hf_entry *next_news(struct hf_tree *tree)
{
	return list_first_entry_or_null(&tree->dirty.news, struct hf_entry, news);
}

static void entry_told(struct hf_entry *e)
{
	list_del_init(&e->news);
	e->told |= e->ops;
}

/* Fill a message; how many changes. */
static u64 fill(struct sk_buff *skb, struct hf_tree *tree, char *buf)
{
	struct hf_entry *e;
	u64 count = 0;

	if (whole(tree)) {
		struct hf_told t = {
			.seq = tree->dirty.seq,
			.since = hf_dirty_since(&tree->dirty),
			.state = HOLDFAST_STATE_SUBTREE,
		};

		if (!hf_netlink_put(skb, tree, &t, true, buf))
			count++;
		whole_told(tree);
	}
	while ((e = next_news(tree))) {
		struct hf_told t = hf_told_entry(e);
		int err = hf_netlink_put(skb, tree, &t, !count, buf);

		if (err == -EMSGSIZE && count)
			break;
		/* else it was moved out of the tree, and its old place is told */
		if (!err)
			count++;
		entry_told(e);
	}
	return count;
}

/* One message; whether there was memory for it. */
static bool tell_message(struct hf_tree *tree, char *buf)
{
	struct sk_buff *skb;
	void *head;
	u64 count;

	skb = hf_netlink_changes(tree->id, tree->number + 1, &head, GFP_KERNEL);
	if (!skb)
		return false;
	spin_lock(&tree->lock);
	count = fill(skb, tree, buf);
	tree->number += count;
	spin_unlock(&tree->lock);
	if (count)
		hf_netlink_send(skb, head);
	else
		kfree_skb(skb);
	return true;
}

/*
 * Drop what is new while nobody listens. Numbers are counted all the same. It is
 * asked under the lock, so that whoever begins to listen and then dumps the set
 * finds in there what was dropped.
 */
static void tell_nobody(struct hf_tree *tree)
{
	struct hf_entry *e;

	spin_lock(&tree->lock);
	while (!hf_netlink_heard()) {
		e = next_news(tree);
		if (whole(tree))
			whole_told(tree);
		else if (e)
			entry_told(e);
		else
			break;
		tree->number++;
		cond_resched_lock(&tree->lock);
	}
	spin_unlock(&tree->lock);
}

static bool news(struct hf_tree *tree)
{
	bool ret;

	spin_lock(&tree->lock);
	ret = !tree->dying && (whole(tree) || next_news(tree));
	spin_unlock(&tree->lock);
	return ret;
}

void hf_tell_work(struct work_struct *work)
{
	struct hf_tree *tree = container_of(work, struct hf_tree, tell);
	char *buf = NULL;

	while (news(tree)) {
		if (!hf_netlink_heard()) {
			tell_nobody(tree);
			continue;
		}
		if (!buf)
			buf = kmalloc(PATH_MAX, GFP_KERNEL);
		/* without memory what is new stays so until there is some */
		if (!buf || !tell_message(tree, buf))
			msleep(50);
	}
	kfree(buf);
	hf_tree_put(tree);
}

void hf_tell_stop(struct hf_tree *tree)
{
	if (cancel_work_sync(&tree->tell))
		hf_tree_put(tree);
}

int __init hf_tell_init(void)
{
	/* unbound, as its messages should not wait for the processor of a writer */
	wq = alloc_workqueue("holdfast_tell", WQ_UNBOUND | WQ_HIGHPRI, 0);
	return wq ? 0 : -ENOMEM;
}

void hf_tell_exit(void)
{
	destroy_workqueue(wq);
}
