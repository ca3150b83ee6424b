// SPDX-License-Identifier: GPL-2.0
/*
 * Waiting until what has returned is in the dirty set.
 *
 * A name can be seen, and what it leads to changed, before the event that tells
 * of it: ext4 waits for its journal in between. But the directory is locked
 * until after the event. So when each marked one was seen unlocked, whatever had
 * returned before is in the set, and so is what it built upon.
 *
 * A look at a lock that is free costs a few instructions: who noted something
 * and then let go did both before we had tree->lock, and who is still to note
 * something has to wait for that, and holds the other meanwhile. The inode is
 * there for as long as the directory is in the table.
 *
 * Whoever holds such a lock may be waiting for a disk or a server that does not
 * answer, and a request of netlink's must not wait for that: netlink as a whole
 * would. So there is a bound.
 */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/sched/signal.h>
#include "holdfast.h"

#define TRIES 200
/* directories that are looked at under one hold of tree->lock */
#define LOOKS 512

static bool pause_between(int *tries)
{
	if (++*tries > TRIES || fatal_signal_pending(current))
		return false;
	usleep_range(200, 1000);
	return true;
}

bool hf_settle_lock(struct inode *inode)
{
	int tries = 0;

	while (!inode_trylock_shared(inode))
		if (!pause_between(&tries))
			return false;
	return true;
}

/* Whether an operation on names is under way in it. Readers take the lock too. */
static bool busy(struct inode *inode)
{
	if (!rwsem_is_locked(&inode->i_rwsem))
		return false;
	if (!inode_trylock_shared(inode))
		return true;
	inode_unlock_shared(inode);
	return false;
}

/*
 * Give tree->lock up for a moment. @dir stays in memory, but the walk can only go
 * on from there when no directory was moved from before to behind it. Else the
 * caller has to put @gone.
 */
static bool breathe(struct hf_tree *tree, struct hf_dir *dir, struct hf_dir **gone)
{
	u64 moves = tree->moves;
	bool same;

	refcount_inc(&dir->mark.refcnt);
	spin_unlock(&tree->lock);
	cond_resched();
	spin_lock(&tree->lock);
	same = dir->linked && tree->moves == moves;
	/* not the last one, as the table has another */
	if (same)
		refcount_dec(&dir->mark.refcnt);
	else
		*gone = dir;
	return same;
}

/*
 * Look at each directory that was not seen unlocked in this sweep.
 * Return: 0 when all were; -EAGAIN: wait and come again
 */
static int sweep(struct hf_tree *tree, u32 number)
{
	struct hf_dir *dir = NULL, *gone = NULL;
	unsigned int looks = 0;
	int ret = 0;

	spin_lock(&tree->lock);
	while (!ret && (dir = hf_dir_next(tree, dir))) {
		if (dir->sweep != number && busy(dir->inode))
			ret = -EAGAIN;
		else
			dir->sweep = number;
		if (++looks % LOOKS == 0 && !breathe(tree, dir, &gone))
			ret = -EAGAIN;
	}
	spin_unlock(&tree->lock);
	if (gone)
		fsnotify_put_mark(&gone->mark);
	return ret;
}

int hf_settle(struct hf_tree *tree)
{
	int tries = 0, ret;
	u32 number;

	spin_lock(&tree->lock);
	number = ++tree->sweep ?: ++tree->sweep;
	spin_unlock(&tree->lock);
	do
		ret = sweep(tree, number);
	while (ret && pause_between(&tries));
	return ret ?: hf_stores_settle(tree);
}
