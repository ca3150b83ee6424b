// SPDX-License-Identifier: GPL-2.0
/*
 * fsnotify: one group for each tree, one mark for each of its directories, and
 * what the events mean.
 *
 * Invariant: every unmarked directory of a tree lies below an entry with
 * HOLDFAST_STATE_SUBTREE. A directory that is made or moved in is marked inside
 * its event, but by then others may have made things in it, so its entry says
 * "scan this subtree" all the same; whoever scans marks each directory before
 * reading it (hf_watch_mark()), and acknowledges the entry only afterwards.
 *
 * Events about names come with the i_rwsem of the directories held, those about
 * contents and attributes with nothing. A handler runs under fsnotify's SRCU:
 * the mark it is called with, its group and so its tree stay for that long. A
 * directory that was taken out of the table meanwhile (!linked) is ignored.
 *
 * fsnotify ends a mark by itself when the inode is deleted or its filesystem
 * unmounted (freeing_mark); all other marks are ended here, in this order: out
 * of the table under tree->lock, so that no new event counts; fsnotify lets go
 * of it; the reference that the table had is put, and fsnotify frees it after a
 * grace period.
 */
#include <linux/dcache.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "holdfast.h"
#include "compat/compat.h"

#define HF_NAMES (FS_CREATE | FS_DELETE | FS_MOVED_FROM | FS_MOVED_TO)
#define HF_EVENTS (HF_NAMES | FS_MODIFY | FS_CLOSE_WRITE | FS_ATTRIB | \
		   FS_MOVE_SELF | FS_DELETE_SELF | FS_UNMOUNT)

/* in events: a writer never fails or waits for the sake of a large allocation */
#define HF_GFP (GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)

static struct workqueue_struct *wq;

static struct hf_tree *tree_of(const struct fsnotify_mark *mark)
{
	return mark->group->private;
}

static struct hf_dir *dir_of(struct fsnotify_mark *mark)
{
	return container_of(mark, struct hf_dir, mark);
}

/* tree->lock held */
static void prune_later(struct hf_tree *tree)
{
	if (!list_empty(&tree->outside) && !tree->dying && !tree->lost && queue_work(wq, &tree->prune))
		hf_tree_ref(tree);
}

/* tree->lock held */
static void tell(struct hf_tree *tree)
{
	if (tree->lost || tree->dirty.scan_news || !list_empty(&tree->dirty.news))
		hf_tell(tree);
}

/* End a mark that the caller took out of the table. */
static void end_mark(struct hf_tree *tree, struct hf_dir *dir)
{
	fsnotify_destroy_mark(&dir->mark, tree->group);
	fsnotify_put_mark(&dir->mark);
}

/*
 * Note a change. @always: not even an exclusion leaves it out. Memory is taken
 * without the lock; where there is none the directory is noted as a whole.
 */
static void note(struct hf_tree *tree, struct hf_dir *dir, const struct hf_change *c, bool always)
{
	struct hf_entry *spare = NULL;
	bool tried = false;
	int ret = 0;

	spin_lock(&tree->lock);
	while (dir->linked && (always || !tree->exclude || tree->exclude != task_tgid(current))) {
		ret = hf_dirty_note(&tree->dirty, &dir->names, c, &spare);
		if (ret && tried) {
			hf_dirty_scan(&tree->dirty, &dir->names);
			ret = 0;
		}
		if (!ret) {
			tell(tree);
			break;
		}
		spin_unlock(&tree->lock);
		spare = hf_entry_alloc(c->len, HF_GFP);
		tried = true;
		spin_lock(&tree->lock);
	}
	spin_unlock(&tree->lock);
	hf_entry_free(spare);
}

/*
 * Mark @inode, which is @name in @parent (NULL: the root). The caller holds what
 * keeps it there: its parent's i_rwsem, or a reference to the root. @parent is
 * kept by the caller, too.
 */
static int mark_dir(struct hf_tree *tree, struct hf_dir *parent, struct inode *inode,
		    const char *name, u32 len)
{
	struct fsnotify_mark *mark;
	struct hf_dir *dir;
	bool nospc, lost;
	char *copy;
	int ret;

again:
	mark = fsnotify_find_inode_mark(inode, tree->group);
	if (mark) {
		dir = dir_of(mark);
		copy = kmemdup(name, len, HF_GFP);
		ret = copy || !len ? 0 : -ENOMEM;
		spin_lock(&tree->lock);
		lost = !dir->linked;
		if (!lost && parent && !parent->linked)
			ret = -ESTALE;
		/* the root stays where the table has it, wherever it is moved to */
		if (!lost && !ret && parent && dir != tree->root) {
			hf_dir_move(tree, dir, parent, copy, len);
			copy = NULL;
		}
		spin_unlock(&tree->lock);
		kfree(copy);
		/* on its way out: help it along, and mark anew */
		if (lost)
			fsnotify_destroy_mark(mark, tree->group);
		fsnotify_put_mark(mark);
		if (lost)
			goto again;
		return ret;
	}

	dir = hf_dir_alloc(name, len, &nospc, HF_GFP);
	if (!dir)
		return nospc ? -ENOSPC : -ENOMEM;
	fsnotify_init_mark(&dir->mark, tree->group);
	dir->inode = inode;
	dir->mark.mask = HF_EVENTS | FS_EVENT_ON_CHILD;
	/* In the table first: an event must find it there. The reference of its
	 * birth is the table's, this one keeps it until it is added. */
	refcount_inc(&dir->mark.refcnt);
	spin_lock(&tree->lock);
	if (tree->dying || (parent && !parent->linked)) {
		spin_unlock(&tree->lock);
		fsnotify_put_mark(&dir->mark);
		fsnotify_put_mark(&dir->mark);
		return -ESTALE;
	}
	hf_dir_link(tree, dir, parent);
	spin_unlock(&tree->lock);

	ret = fsnotify_add_inode_mark(&dir->mark, inode, 0);

	spin_lock(&tree->lock);
	lost = !dir->linked;
	if (ret && !lost)
		hf_dir_unlink(tree, dir);
	spin_unlock(&tree->lock);
	if (ret && !lost)
		fsnotify_put_mark(&dir->mark);
	else if (!ret && lost)
		/* who took it out came before it was added */
		fsnotify_destroy_mark(&dir->mark, tree->group);
	fsnotify_put_mark(&dir->mark);
	if (ret == -EEXIST)
		goto again;
	return ret ? ret : lost ? -ESTALE : 0;
}

static void dir_left(struct hf_tree *tree, struct inode *inode)
{
	struct fsnotify_mark *mark = inode ? fsnotify_find_inode_mark(inode, tree->group) : NULL;

	if (!mark)
		return;
	spin_lock(&tree->lock);
	dir_of(mark)->moving = true;
	spin_unlock(&tree->lock);
	fsnotify_put_mark(mark);
}

/* Of itself, not of a name in it. */
static void self_event(struct hf_tree *tree, struct hf_dir *dir, u32 mask)
{
	static const struct hf_change attrib = { .name = "", .ops = HOLDFAST_OP_ATTRIB };

	if (mask & FS_MOVE_SELF) {
		spin_lock(&tree->lock);
		if (dir->linked && dir == tree->root) {
			tree->moved = true;
		} else if (dir->linked && dir->moving) {
			/* it left a directory of ours, and came to none */
			dir->moving = false;
			hf_dir_move_out(tree, dir);
			prune_later(tree);
		}
		spin_unlock(&tree->lock);
	}
	/* those of others are noted by their names; FS_MODIFY: its mtime was set */
	if ((mask & (FS_ATTRIB | FS_MODIFY)) && !tree->file && READ_ONCE(tree->root) == dir)
		note(tree, dir, &attrib, false);
}

static u16 ops_of(u32 mask)
{
	return (mask & FS_CREATE ? HOLDFAST_OP_CREATE : 0) |
	       (mask & FS_MODIFY ? HOLDFAST_OP_MODIFY : 0) |
	       (mask & FS_CLOSE_WRITE ? HOLDFAST_OP_CLOSE_WRITE : 0) |
	       (mask & FS_ATTRIB ? HOLDFAST_OP_ATTRIB : 0) |
	       (mask & FS_DELETE ? HOLDFAST_OP_DELETE : 0) |
	       (mask & FS_MOVED_FROM ? HOLDFAST_OP_MOVED_FROM : 0) |
	       (mask & FS_MOVED_TO ? HOLDFAST_OP_MOVED_TO : 0);
}

static int handle_inode_event(struct fsnotify_mark *mark, u32 mask, struct inode *inode,
			      struct inode *in, const struct qstr *name, u32 cookie)
{
	struct hf_tree *tree = tree_of(mark);
	struct hf_dir *dir = dir_of(mark);
	struct hf_change c = { .ops = ops_of(mask) };
	bool arrives, leaves;

	if (!name) {
		self_event(tree, dir, mask);
		return 0;
	}
	if (!c.ops)
		return 0;
	c.name = name->name;
	c.len = name->len;
	c.hash = hf_name_hash(c.name, c.len);
	if (tree->file && (c.hash != tree->file_hash || c.len != tree->file_len ||
			   memcmp(c.name, tree->file, c.len)))
		return 0;
	if ((mask & FS_MODIFY) && !(mask & FS_ISDIR))
		c.set = HOLDFAST_STATE_OPEN;
	if (mask & (FS_CLOSE_WRITE | HF_NAMES))
		c.clear = HOLDFAST_STATE_OPEN;

	arrives = (mask & FS_ISDIR) && (mask & (FS_CREATE | FS_MOVED_TO)) && !tree->file;
	leaves = (mask & FS_ISDIR) && (mask & FS_MOVED_FROM);
	if (arrives)
		c.set |= HOLDFAST_STATE_SUBTREE;
	/* what others did below a directory goes with it */
	note(tree, dir, &c, arrives || leaves);
	if (arrives && inode) {
		/* should it fail, the entry covers what is not marked */
		if (mark_dir(tree, dir, inode, c.name, c.len) && (mask & FS_MOVED_TO))
			dir_left(tree, inode);
	} else if (leaves) {
		dir_left(tree, inode);
	}
	return 0;
}

/* tree->lock held */
static bool noted_below(const struct hf_dir *dir)
{
	return dir->linked && dir->parent &&
	       (dir->names.scan_id || !RB_EMPTY_ROOT(&dir->names.names));
}

/*
 * A mark ends. When fsnotify ends it, the inode was deleted or the filesystem
 * is being unmounted. What was noted in a deleted directory lives on as its
 * name in its parent, so that it does not vanish from the dirty set before the
 * event that says that the directory is gone.
 */
static void freeing_mark(struct fsnotify_mark *mark, struct fsnotify_group *group)
{
	struct hf_tree *tree = group->private;
	struct hf_dir *dir = dir_of(mark);
	struct hf_change c = { .ops = HOLDFAST_OP_DELETE };
	struct hf_entry *spare = NULL;
	bool linked;

	spin_lock(&tree->lock);
	if (noted_below(dir)) {
		c.len = dir->len;
		spin_unlock(&tree->lock);
		spare = hf_entry_alloc(c.len, GFP_NOFS | __GFP_NOWARN);
		spin_lock(&tree->lock);
	}
	linked = dir->linked;
	if (noted_below(dir)) {
		/* a rename may have come between */
		if (spare && c.len != dir->len) {
			hf_entry_free(spare);
			spare = NULL;
		}
		c.name = dir->name;
		c.len = dir->len;
		c.hash = hf_name_hash(c.name, c.len);
		if (hf_dirty_note(&tree->dirty, &dir->parent->names, &c, &spare))
			hf_dirty_scan(&tree->dirty, &dir->parent->names);
	}
	/* if it is not, whoever took it out ends it */
	if (linked) {
		if (dir == tree->root && !tree->dying)
			tree->lost = true;
		hf_dir_unlink(tree, dir);
		prune_later(tree);
		tell(tree);
	}
	spin_unlock(&tree->lock);
	hf_entry_free(spare);
	if (linked)
		fsnotify_put_mark(mark);
}

static void free_mark(struct fsnotify_mark *mark)
{
	hf_dir_free(dir_of(mark));
}

static void free_group(struct fsnotify_group *group)
{
	hf_tree_free(group->private);
}

static const struct fsnotify_ops ops = {
	.handle_inode_event = handle_inode_event,
	.freeing_mark = freeing_mark,
	.free_mark = free_mark,
	.free_group_priv = free_group,
};

struct fsnotify_group *hf_watch_group(struct hf_tree *tree)
{
	struct fsnotify_group *group = fsnotify_alloc_group(&ops, FSNOTIFY_GROUP_NOFS);

	if (!IS_ERR(group))
		group->private = tree;
	return group;
}

int hf_watch_root(struct hf_tree *tree, struct file *root)
{
	return mark_dir(tree, NULL, file_inode(root), NULL, 0);
}

/*
 * Whoever holds it may be waiting for a disk or a server that does not answer,
 * and a request of netlink's must not wait for that: netlink as a whole would.
 */
#define LOCK_TRIES 200

static bool pause_between(int *tries)
{
	if (++*tries > LOCK_TRIES || fatal_signal_pending(current))
		return false;
	usleep_range(200, 1000);
	return true;
}

static bool lock_dir(struct inode *inode)
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
 * A name can be seen, and what it leads to changed, before the event that tells
 * of it: ext4 waits for its journal in between. But the directory is locked
 * until after the event. So when each marked one was seen unlocked, whatever had
 * returned before is in the set, and so is what it built upon.
 *
 * A look at a lock that is free costs a few instructions: who noted something
 * and then let go did both before we had tree->lock, and who is still to note
 * something has to wait for that, and holds the other meanwhile. The inode is
 * there for as long as the directory is in the table.
 */
int hf_watch_settle(struct hf_tree *tree)
{
	static atomic64_t sweeps;
	u64 sweep = atomic64_inc_return(&sweeps);
	struct hf_dir *dir = NULL;
	int tries = 0, ret = 0;

	spin_lock(&tree->lock);
	while (!ret && (dir = hf_dir_next(tree, dir))) {
		if (dir->sweep == sweep)
			continue;
		if (!busy(dir->inode)) {
			dir->sweep = sweep;
			continue;
		}
		spin_unlock(&tree->lock);
		if (!pause_between(&tries))
			ret = -EAGAIN;
		spin_lock(&tree->lock);
		/* the table may be another by now */
		dir = NULL;
	}
	spin_unlock(&tree->lock);
	return ret;
}

int hf_watch_mark(struct hf_tree *tree, struct file *file)
{
	struct dentry *dentry = file->f_path.dentry, *up;
	struct inode *inode = file_inode(file);
	struct fsnotify_mark *mark = NULL;
	struct name_snapshot name;
	bool root, there;
	int ret;

	if (!S_ISDIR(inode->i_mode))
		return -ENOTDIR;
	spin_lock(&tree->lock);
	there = tree->root;
	root = there && inode == tree->root_inode;
	spin_unlock(&tree->lock);
	if (root)
		return 0;
	if (!there || inode->i_sb != tree->sb)
		return -ESTALE;

	up = dget_parent(dentry);
	/* while this is held nothing in it is renamed or removed, and no event
	 * about a name in it is under way */
	if (!lock_dir(d_inode(up))) {
		dput(up);
		return -EAGAIN;
	}
	ret = -ESTALE;
	if (dentry->d_parent == up && !IS_ROOT(dentry) && !d_unhashed(dentry))
		mark = fsnotify_find_inode_mark(d_inode(up), tree->group);
	if (mark) {
		/* a network filesystem renames under a shared lock, too */
		take_dentry_name_snapshot(&name, dentry);
		ret = mark_dir(tree, dir_of(mark), inode, name.name.name, name.name.len);
		release_dentry_name_snapshot(&name);
		fsnotify_put_mark(mark);
	}
	inode_unlock_shared(d_inode(up));
	dput(up);
	if (ret == -ENOSPC || ret == -ENOMEM) {
		spin_lock(&tree->lock);
		tree->coarse = true;
		spin_unlock(&tree->lock);
	}
	return ret;
}

/* End one mark after the other; the lock is given up for each. */
static void end_outside(struct hf_tree *tree)
{
	struct hf_dir *dir;

	spin_lock(&tree->lock);
	while ((dir = list_first_entry_or_null(&tree->outside, struct hf_dir, outside))) {
		hf_dir_unlink(tree, dir);
		spin_unlock(&tree->lock);
		end_mark(tree, dir);
		cond_resched();
		spin_lock(&tree->lock);
	}
	spin_unlock(&tree->lock);
}

void hf_watch_prune(struct work_struct *work)
{
	struct hf_tree *tree = container_of(work, struct hf_tree, prune);

	end_outside(tree);
	hf_tree_put(tree);
}

void hf_watch_clear(struct hf_tree *tree)
{
	struct hf_dir *root;

	spin_lock(&tree->lock);
	tree->dying = true;
	root = tree->root;
	if (root)
		hf_dir_unlink(tree, root);
	spin_unlock(&tree->lock);
	if (root)
		end_mark(tree, root);
	end_outside(tree);
}

int __init hf_watch_init(void)
{
	wq = alloc_workqueue("holdfast_prune", WQ_UNBOUND, 0);
	return wq ? 0 : -ENOMEM;
}

void hf_watch_exit(void)
{
	/* works hold trees, trees hold groups, marks hold groups: in this order */
	destroy_workqueue(wq);
	/* Whoever is in the middle of an unmount, or of a permission event of
	 * fanotify's, may hold a mark of a tree that was deleted long ago. */
	fsnotify_wait_marks_destroyed();
	while (hf_ledger_open(HF_TREE)) {
		msleep(20);
		fsnotify_wait_marks_destroyed();
	}
	/* who freed the last one may still be on its way out of here */
	fsnotify_wait_marks_destroyed();
}
