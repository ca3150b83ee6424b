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
#include <linux/slab.h>
#include "holdfast.h"
#include "compat/compat.h"

/* FS_RENAME has both names of a rename; FS_MOVED_FROM and _TO would come as well */
#define HF_NAMES (FS_CREATE | FS_DELETE | FS_RENAME)
#define HF_EVENTS (HF_NAMES | FS_MODIFY | FS_CLOSE_WRITE | FS_ATTRIB)

/* in events: a writer never fails or waits for the sake of a large allocation */
#define HF_GFP (GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)

/* entries that are dropped under one hold of the lock */
#define DROPS 256

static struct workqueue_struct *wq;

static struct hf_dir *dir_of(struct fsnotify_mark *mark)
{
	return container_of(mark, struct hf_dir, mark);
}

/* tree->lock held */
static void prune_later(struct hf_tree *tree)
{
	if (!hlist_empty(&tree->outside) && !tree->dying && !tree->lost &&
	    queue_work(wq, &tree->prune))
		hf_tree_ref(tree);
}

/*
 * Out of the table, and what was noted in it with it. tree->lock held; given up
 * in between.
 */
static void forget(struct hf_tree *tree, struct hf_dir *dir)
{
	hf_dir_unlink(tree, dir);
	while (hf_dirty_drop(&tree->dirty, &dir->names, DROPS))
		cond_resched_lock(&tree->lock);
}

/* End a mark that the caller took out of the table. */
static void end_mark(struct hf_tree *tree, struct hf_dir *dir)
{
	fsnotify_destroy_mark(&dir->mark, tree->group);
	fsnotify_put_mark(&dir->mark);
}

/* There is no memory to note a change in @dir. tree->lock held. */
static void note_coarsely(struct hf_tree *tree, struct hf_dir *dir)
{
	struct hf_entry *e = NULL;

	for (; !e && dir; dir = dir->parent)
		e = hf_dirty_whole(&tree->dirty, &dir->names);
	if (!e) {
		hf_dirty_all(&tree->dirty);
		hf_tell_whole(tree);
	} else if (hf_entry_is_news(e)) {
		hf_tell(tree, e);
	}
}

/* tree->lock held; false when it takes an entry */
static bool try_note(struct hf_tree *tree, struct hf_dir *dir, const struct hf_change *c,
		     struct hf_entry **spare)
{
	struct hf_entry *e = hf_dirty_note(&tree->dirty, &dir->names, c, spare);

	/* it may not have been told since it was dumped, and is no news for all that */
	if (e && !c->quiet && hf_entry_is_news(e))
		hf_tell(tree, e);
	return e;
}

/* Whether a change by this process in a directory counts; tree->lock held. */
static bool counts(const struct hf_tree *tree, const struct hf_dir *dir, bool always)
{
	return dir->linked && (always || !tree->exclude || tree->exclude != task_tgid(current));
}

static noinline void note_with_memory(struct hf_tree *tree, struct hf_dir *dir,
				      const struct hf_change *c, bool always)
{
	struct hf_entry *spare = hf_entry_alloc(c->len, HF_GFP);

	spin_lock(&tree->lock);
	if (counts(tree, dir, always) && !try_note(tree, dir, c, &spare))
		note_coarsely(tree, dir);
	spin_unlock(&tree->lock);
	hf_entry_free(spare);
}

/*
 * Note a change. @always: not even an exclusion leaves it out. Memory is taken
 * without the lock.
 */
static void note(struct hf_tree *tree, struct hf_dir *dir, const struct hf_change *c, bool always)
{
	struct hf_entry *none = NULL;
	bool noted;

	spin_lock(&tree->lock);
	noted = !counts(tree, dir, always) || try_note(tree, dir, c, &none);
	spin_unlock(&tree->lock);
	if (!noted)
		note_with_memory(tree, dir, c, always);
}

static noinline bool other_file(const struct hf_tree *tree, const struct hf_change *c)
{
	return c->len != tree->file_len || memcmp(c->name, tree->file, c->len);
}

/* Whether a tree of a single file is not concerned. */
static __always_inline bool other_name(const struct hf_tree *tree, const struct hf_change *c)
{
	return unlikely(tree->file) && other_file(tree, c);
}

void hf_watch_note(struct hf_tree *tree, struct inode *dir, const struct hf_change *c)
{
	struct fsnotify_mark *mark = fsnotify_find_inode_mark(dir, tree->group);

	if (!mark)
		return;
	if (!other_name(tree, c))
		note(tree, dir_of(mark), c, false);
	fsnotify_put_mark(mark);
}

void hf_watch_note_all(struct hf_tree *tree, bool quiet)
{
	spin_lock(&tree->lock);
	if (tree->root && !(quiet && tree->dirty.all_id)) {
		hf_dirty_all(&tree->dirty);
		hf_tell_whole(tree);
	}
	spin_unlock(&tree->lock);
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
	dir->mark.mask = HF_EVENTS | FS_EVENT_ON_CHILD | (parent ? 0 : FS_MOVE_SELF);
	/*
	 * In the table first: an event must find it there. The reference of its
	 * birth is the table's, this one keeps it until it is added.
	 */
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

/* It is not in the tree any more, or where it could not be followed. */
static void gone(struct hf_tree *tree, struct inode *inode)
{
	struct fsnotify_mark *mark = inode ? fsnotify_find_inode_mark(inode, tree->group) : NULL;
	struct hf_dir *dir;

	if (!mark)
		return;
	dir = dir_of(mark);
	spin_lock(&tree->lock);
	/* the root stays where the table has it */
	if (dir->linked && dir != tree->root) {
		hf_dir_move_out(tree, dir);
		prune_later(tree);
	}
	spin_unlock(&tree->lock);
	fsnotify_put_mark(mark);
}

/* Something is at a name now. */
static void arrived(struct hf_tree *tree, struct hf_dir *dir, struct hf_change *c, u32 mask,
		    struct inode *inode)
{
	bool is_dir = (mask & FS_ISDIR) && !tree->file;

	if (other_name(tree, c))
		return;
	c->clear = HOLDFAST_STATE_OPEN;
	if (is_dir)
		c->set = HOLDFAST_STATE_SUBTREE;
	/* what others do below a directory goes with it, so no exclusion counts */
	note(tree, dir, c, is_dir);
	/* should it not be marked, the entry covers it */
	if (is_dir && inode && mark_dir(tree, dir, inode, c->name, c->len) &&
	    (mask & FS_RENAME))
		gone(tree, inode);
}

/* Something is not at a name any more. */
static void left(struct hf_tree *tree, struct hf_dir *dir, struct hf_change *c, u32 mask)
{
	c->clear = HOLDFAST_STATE_OPEN;
	if (!other_name(tree, c))
		note(tree, dir, c, (mask & FS_ISDIR) && (mask & FS_RENAME));
}

/* In @from, or to @to, or both, which are of this tree. */
static void renamed(struct hf_tree *tree, struct fsnotify_mark *from, struct fsnotify_mark *to,
		    u32 mask, const struct qstr *old, const struct dentry *moved)
{
	struct hf_change leaves = {
		.name = old->name, .len = old->len, .ops = HOLDFAST_OP_MOVED_FROM,
	};
	/* both directories are locked */
	struct hf_change arrives = {
		.name = moved->d_name.name, .len = moved->d_name.len, .ops = HOLDFAST_OP_MOVED_TO,
	};

	if (from)
		left(tree, dir_of(from), &leaves, mask);
	if (to)
		arrived(tree, dir_of(to), &arrives, mask, d_inode(moved));
	else if (mask & FS_ISDIR)
		gone(tree, d_inode(moved));
}

/* What a name leads to has changed. */
static void changed(struct hf_tree *tree, struct hf_dir *dir, u32 mask, const void *data,
		    int data_type, const struct qstr *name)
{
	const struct dentry *dentry = fsnotify_data_dentry(data, data_type);
	struct hf_change c = {
		.name = name->name, .len = name->len,
		.ops = (mask & FS_MODIFY ? HOLDFAST_OP_MODIFY : 0) |
		       (mask & FS_CLOSE_WRITE ? HOLDFAST_OP_CLOSE_WRITE : 0) |
		       (mask & FS_ATTRIB ? HOLDFAST_OP_ATTRIB : 0),
	};

	if (!(mask & FS_ISDIR)) {
		c.set = mask & FS_MODIFY ? HOLDFAST_STATE_OPEN : 0;
		c.clear = mask & FS_CLOSE_WRITE ? HOLDFAST_STATE_OPEN : 0;
		/*
		 * It was opened by a name that is no more (unlink, rename over it), or
		 * never was (O_TMPFILE).
		 */
		if (dentry && unlikely(d_unhashed(dentry))) {
			if (d_really_is_positive(dentry) && d_inode(dentry)->i_nlink)
				hf_place_note(d_inode(dentry), &c, NULL);
			return;
		}
	}
	if (!other_name(tree, &c))
		note(tree, dir, &c, false);
}

/* Of itself, not of a name in it. That of others is noted by their names. */
static void root_event(struct hf_tree *tree, struct hf_dir *dir, u32 mask)
{
	static const struct hf_change attrib = { .name = "", .ops = HOLDFAST_OP_ATTRIB };

	if (mask & FS_MOVE_SELF) {
		spin_lock(&tree->lock);
		tree->moved = true;
		spin_unlock(&tree->lock);
	}
	/* FS_MODIFY: its mtime was set */
	if ((mask & (FS_ATTRIB | FS_MODIFY)) && !tree->file)
		note(tree, dir, &attrib, false);
}

static int handle_event(struct fsnotify_group *group, u32 mask, const void *data, int data_type,
			struct inode *in, const struct qstr *name, u32 cookie,
			struct fsnotify_iter_info *iter)
{
	struct fsnotify_mark *parent = fsnotify_iter_parent_mark(iter);
	struct fsnotify_mark *mark = fsnotify_iter_inode_mark(iter);
	struct hf_tree *tree = group->private;

	if (mask & HF_NAMES) {
		struct hf_change c = { };

		if (mask & FS_RENAME) {
			renamed(tree, mark, fsnotify_iter_mark(iter, FSNOTIFY_ITER_TYPE_INODE2),
				mask, name, fsnotify_data_dentry(data, data_type));
			return 0;
		}
		c.name = name->name;
		c.len = name->len;
		c.ops = mask & FS_CREATE ? HOLDFAST_OP_CREATE : HOLDFAST_OP_DELETE;
		if (mask & FS_CREATE)
			arrived(tree, dir_of(mark), &c, mask, fsnotify_data_inode(data, data_type));
		else
			left(tree, dir_of(mark), &c, mask);
		/* its inode may stay: a name that somebody looked for in it is cached */
		if ((mask & FS_DELETE) && (mask & FS_ISDIR))
			gone(tree, fsnotify_data_inode(data, data_type));
		return 0;
	}
	if (parent && name)
		changed(tree, dir_of(parent), mask, data, data_type, name);
	if (mark && READ_ONCE(tree->root) == dir_of(mark))
		root_event(tree, dir_of(mark), mask);
	return 0;
}

/* tree->lock held */
static bool noted_below(const struct hf_dir *dir)
{
	return dir->linked && dir->parent && hf_names_noted(&dir->names);
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
		if (spare && spare->room < dir->len) {
			hf_entry_free(spare);
			spare = NULL;
		}
		c.name = dir->name;
		c.len = dir->len;
		if (!try_note(tree, dir->parent, &c, &spare))
			note_coarsely(tree, dir->parent);
	}
	/* if it is not, whoever took it out ends it */
	if (linked) {
		if (dir == tree->root && !tree->dying)
			tree->lost = true;
		forget(tree, dir);
		prune_later(tree);
		hf_tell_whole(tree);
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
	.handle_event = handle_event,
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
	/*
	 * while this is held nothing in it is renamed or removed, and no event
	 * about a name in it is under way
	 */
	if (!hf_settle_lock(d_inode(up))) {
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
	while (!hlist_empty(&tree->outside)) {
		dir = hlist_entry(tree->outside.first, struct hf_dir, sibling);
		forget(tree, dir);
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
		forget(tree, root);
	spin_unlock(&tree->lock);
	if (root)
		end_mark(tree, root);
	end_outside(tree);
	hf_place_end(tree);
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
	/*
	 * Whoever is in the middle of an unmount, or of a permission event of
	 * fanotify's, may hold a mark of a tree that was deleted long ago.
	 */
	fsnotify_wait_marks_destroyed();
	while (hf_ledger_open(HF_TREE)) {
		msleep(20);
		fsnotify_wait_marks_destroyed();
	}
	/* who freed the last one may still be on its way out of here */
	fsnotify_wait_marks_destroyed();
}
