// SPDX-License-Identifier: GPL-2.0
/*
 * Change events, pushed to the netlink group in batches.
 *
 * Whoever notes a change while nobody listens drops it at once; else it queues
 * its tree's work under tree->lock, and goes on. One thread does all works.
 * The work takes what is new and puts it into messages, each as full as it can
 * be under one hold of the lock: what comes while it runs goes along, or queues
 * it again. It never runs twice at a time for one tree, so messages are in order.
 *
 * While the work is queued it holds a reference to its tree, taken under the
 * lock that the work itself takes before it puts it. A dying tree's is not queued.
 */
#include <linux/delay.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/sched.h>
#include <linux/kthread.h>
#include "holdfast.h"

/* events that are dropped under one hold of the lock */
#define DROPS 256
/* messages of one tree before it is the turn of others */
#define TURNS 16

static struct kthread_worker *worker;

/* Something as a whole: the root stands for whatever it is. */
static bool whole(const struct hf_tree *tree)
{
	return tree->dirty.all_news || (tree->lost && !tree->lost_told);
}

static void whole_told(struct hf_tree *tree)
{
	if (tree->dirty.all_news)
		tree->dirty.all_told = true;
	tree->dirty.all_news = false;
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
	u64 count, first, *number;
	void *head;

	skb = hf_netlink_changes(tree->id, &head, &number, GFP_KERNEL);
	if (!skb)
		return false;
	spin_lock(&tree->lock);
	first = tree->number + 1;
	memcpy(number, &first, sizeof(first));
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
 * Nobody listens: what is new is dropped. Numbers are counted all the same. It is
 * asked under the lock, so that whoever begins to listen and then dumps the set
 * finds in there what was dropped.
 */
static void drop_entry(struct hf_tree *tree, struct hf_entry *e)
{
	entry_told(e);
	tree->number++;
}

static void drop_whole(struct hf_tree *tree)
{
	whole_told(tree);
	tree->number++;
}

/* Up to @max; tree->lock held. */
static void tell_nobody(struct hf_tree *tree, unsigned int max)
{
	struct hf_entry *e;

	while (max-- && !hf_netlink_heard()) {
		e = next_news(tree);
		if (whole(tree))
			drop_whole(tree);
		else if (e)
			drop_entry(tree, e);
		else
			break;
	}
}

static void queue(struct hf_tree *tree)
{
	if (!tree->dying && kthread_queue_work(worker, &tree->tell))
		hf_tree_ref(tree);
}

void hf_tell(struct hf_tree *tree, struct hf_entry *e)
{
	lockdep_assert_held(&tree->lock);
	if (!hf_netlink_heard()) {
		drop_entry(tree, e);
		return;
	}
	list_add_tail(&e->news, &tree->dirty.news);
	queue(tree);
}

void hf_tell_whole(struct hf_tree *tree)
{
	lockdep_assert_held(&tree->lock);
	if (!whole(tree))
		return;
	if (hf_netlink_heard())
		queue(tree);
	else
		drop_whole(tree);
}

static bool news(struct hf_tree *tree)
{
	bool ret;

	spin_lock(&tree->lock);
	ret = !tree->dying && (whole(tree) || next_news(tree));
	spin_unlock(&tree->lock);
	return ret;
}

/* Queue the work that runs once more, behind those that wait. */
static bool again(struct hf_tree *tree)
{
	bool queued;

	cond_resched();
	spin_lock(&tree->lock);
	queue(tree);
	queued = !tree->dying;
	spin_unlock(&tree->lock);
	return queued;
}

void hf_tell_work(struct kthread_work *work)
{
	struct hf_tree *tree = container_of(work, struct hf_tree, tell);
	unsigned int turns = 0;
	char *buf = NULL;

	while (news(tree)) {
		/* others wait for the thread, too */
		if (++turns > TURNS && again(tree))
			break;
		if (!hf_netlink_heard()) {
			spin_lock(&tree->lock);
			tell_nobody(tree, DROPS);
			spin_unlock(&tree->lock);
			cond_resched();
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
	if (kthread_cancel_work_sync(&tree->tell))
		hf_tree_put(tree);
}

int __init hf_tell_init(void)
{
	/*
	 * One thread for all trees, and not a workqueue: whoever writes pays for
	 * waking it, and a workqueue asks for a fifth more.
	 */
	worker = kthread_create_worker(0, "holdfast_tell");
	if (IS_ERR(worker))
		return PTR_ERR(worker);
	/* the daemon's commit waits for what it says */
	set_user_nice(worker->task, MIN_NICE);
	return 0;
}

void hf_tell_exit(void)
{
	kthread_destroy_worker(worker);
}
