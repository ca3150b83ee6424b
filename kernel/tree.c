// SPDX-License-Identifier: GPL-2.0
/*
 * Trees: the registry, who consumes them, their end.
 *
 * A tree is its root's inode. It is found by number; taken over by who has the
 * same name (consumer), when the socket of the one before is closed. It ends
 * when it is deleted, never by itself: a tree whose root is gone is lost, and
 * stays until its consumer has taken note.
 *
 * Each registered tree holds the module. The memory outlives the registration
 * until fsnotify has let go of the group (hf_tree_free()), for which the
 * module's exit waits.
 */
#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/kthread.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/slab.h>
#include "holdfast.h"

static LIST_HEAD(trees);
static DEFINE_MUTEX(hf_trees_lock);
static u32 last_id, count;

void hf_tree_ref(struct hf_tree *tree)
{
	refcount_inc(&tree->refs);
}

void hf_tree_put(struct hf_tree *tree)
{
	if (refcount_dec_and_test(&tree->refs))
		fsnotify_put_group(tree->group);
}

void hf_tree_free(struct hf_tree *tree)
{
	kfree(tree->resource);
	kfree(tree->consumer);
	kfree(tree->path);
	kfree(tree->file);
	hf_dirty_fini(&tree->dirty);
	kfree(tree);
	hf_ledger_out(HF_TREE);
}

/*
 * Filesystems that others change by a way that fsnotify does not see: on a
 * server, on a shared disk, or in the layers of an overlay.
 */
static bool foreign(const struct super_block *sb)
{
	static const u32 magic[] = {
		NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC,
		FUSE_SUPER_MAGIC, CEPH_SUPER_MAGIC, V9FS_MAGIC, AFS_FS_MAGIC,
		CODA_SUPER_MAGIC, OCFS2_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC,
		0x01161970,	/* gfs2, whose number no header has */
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(magic); i++)
		if (sb->s_magic == magic[i])
			return true;
	return false;
}

static struct hf_tree *tree_alloc(const struct hf_tree_spec *spec)
{
	struct inode *inode = file_inode(spec->root);
	struct fsnotify_group *group;
	struct hf_tree *tree;

	tree = kzalloc(sizeof(*tree), GFP_KERNEL);
	if (!tree)
		return ERR_PTR(-ENOMEM);
	hf_ledger_in(HF_TREE);
	hf_dirty_init(&tree->dirty);
	tree->resource = kstrdup(spec->resource, GFP_KERNEL);
	tree->consumer = kstrdup(spec->consumer, GFP_KERNEL);
	tree->path = kmemdup(spec->path, spec->path_len, GFP_KERNEL);
	tree->path_len = spec->path_len;
	if (!tree->resource || !tree->consumer || (!tree->path && spec->path_len))
		goto err_free;
	if (spec->file_len) {
		tree->file = kmemdup(spec->file, spec->file_len, GFP_KERNEL);
		if (!tree->file)
			goto err_free;
		tree->file_len = spec->file_len;
	}
	tree->device = new_encode_dev(inode->i_sb->s_dev);
	tree->inode = inode->i_ino;
	tree->sb = inode->i_sb;
	tree->root_inode = inode;
	tree->foreign = foreign(inode->i_sb);
	tree->portid = spec->portid;
	refcount_set(&tree->refs, 1);
	INIT_LIST_HEAD(&tree->list);
	INIT_LIST_HEAD(&tree->place);
	kthread_init_work(&tree->tell, hf_tell_work);
	INIT_WORK(&tree->prune, hf_watch_prune);
	spin_lock_init(&tree->lock);
	group = hf_watch_group(tree);
	if (IS_ERR(group))
		goto err_free;
	tree->group = group;
	return tree;

err_free:
	hf_tree_free(tree);
	return ERR_PTR(-ENOMEM);
}

static bool same(struct hf_tree *tree, const struct hf_tree_spec *spec)
{
	bool live;

	if (strcmp(tree->consumer, spec->consumer) || strcmp(tree->resource, spec->resource) ||
	    tree->path_len != spec->path_len || memcmp(tree->path, spec->path, spec->path_len) ||
	    tree->file_len != spec->file_len || memcmp(tree->file, spec->file, spec->file_len))
		return false;
	/* While it is marked, or about to be, its inode can not be another one's. */
	spin_lock(&tree->lock);
	live = !hf_lost(tree) && !tree->dying;
	spin_unlock(&tree->lock);
	return live && tree->root_inode == file_inode(spec->root);
}

/* Take over a tree that is there, or add @tree. */
static struct hf_tree *take_or_add(struct hf_tree *tree, const struct hf_tree_spec *spec)
{
	struct hf_tree *old;

	mutex_lock(&hf_trees_lock);
	list_for_each_entry(old, &trees, list) {
		if (!same(old, spec))
			continue;
		if (old->portid) {
			old = ERR_PTR(-EBUSY);
		} else {
			old->portid = spec->portid;
			hf_tree_ref(old);
		}
		goto out;
	}
	if (last_id == U32_MAX) {
		old = ERR_PTR(-ENOSPC);
		goto out;
	}
	tree->id = ++last_id;
	hf_tree_ref(tree);
	list_add_tail(&tree->list, &trees);
	count++;
	old = tree;
out:
	mutex_unlock(&hf_trees_lock);
	return old;
}

struct hf_tree *hf_tree_add(const struct hf_tree_spec *spec, bool *resumed)
{
	struct hf_tree *tree, *ret;
	int err;

	*resumed = false;
	if (!S_ISDIR(file_inode(spec->root)->i_mode))
		return ERR_PTR(-ENOTDIR);
	if (!try_module_get(THIS_MODULE))
		return ERR_PTR(-ENODEV);
	tree = tree_alloc(spec);
	if (IS_ERR(tree)) {
		module_put(THIS_MODULE);
		return tree;
	}
	ret = take_or_add(tree, spec);
	if (ret != tree) {
		hf_tree_put(tree);
		module_put(THIS_MODULE);
		*resumed = !IS_ERR(ret);
		return ret;
	}
	hf_stores_of(tree, file_inode(spec->root));
	err = hf_place_begin(tree, file_inode(spec->root));
	if (!err)
		err = hf_watch_root(tree, spec->root);
	/* deleted before it was marked: nothing would ever say so */
	if (!err && !file_inode(spec->root)->i_nlink)
		err = -ESTALE;
	if (err) {
		/* it may have been deleted before it was anywhere */
		if (hf_tree_del(tree, spec->portid))
			hf_place_end(tree);
		hf_tree_put(tree);
		return ERR_PTR(err);
	}
	return tree;
}

struct hf_tree *hf_tree_get(u32 id)
{
	struct hf_tree *tree = id ? hf_tree_next(id - 1) : NULL;

	if (tree && tree->id != id) {
		hf_tree_put(tree);
		tree = NULL;
	}
	return tree;
}

struct hf_tree *hf_tree_next(u32 id)
{
	struct hf_tree *tree, *found = NULL;

	/* by number, as numbers only grow */
	mutex_lock(&hf_trees_lock);
	list_for_each_entry(tree, &trees, list) {
		if (tree->id > id) {
			hf_tree_ref(tree);
			found = tree;
			break;
		}
	}
	mutex_unlock(&hf_trees_lock);
	return found;
}

u32 hf_trees_count(void)
{
	return READ_ONCE(count);
}

static void end_exclusion(struct hf_tree *tree)
{
	struct pid *pid;

	spin_lock(&tree->lock);
	pid = tree->exclude;
	tree->exclude = NULL;
	spin_unlock(&tree->lock);
	put_pid(pid);
}

int hf_tree_del(struct hf_tree *tree, u32 portid)
{
	int ret = 0;

	mutex_lock(&hf_trees_lock);
	if (list_empty(&tree->list)) {
		ret = -ENOENT;
	} else if (tree->portid && tree->portid != portid) {
		ret = -EBUSY;
	} else {
		list_del_init(&tree->list);
		count--;
	}
	mutex_unlock(&hf_trees_lock);
	if (ret)
		return ret;
	/*
	 * Marks first: their events may still tell something. Then nothing is
	 * told any more. The module stays for as long as the caller, whose
	 * request netlink waits for before the family goes.
	 */
	hf_watch_clear(tree);
	hf_tell_stop(tree);
	end_exclusion(tree);
	hf_tree_put(tree);
	module_put(THIS_MODULE);
	return 0;
}

int hf_tree_consumed(struct hf_tree *tree, u32 portid)
{
	u32 consumer = READ_ONCE(tree->portid);

	return consumer == portid ? 0 : consumer ? -EBUSY : -EPERM;
}

bool hf_tree_attached(const struct hf_tree *tree)
{
	return READ_ONCE(tree->portid);
}

void hf_trees_release(u32 portid)
{
	struct hf_tree *tree;

	mutex_lock(&hf_trees_lock);
	list_for_each_entry(tree, &trees, list) {
		if (tree->portid != portid)
			continue;
		end_exclusion(tree);
		WRITE_ONCE(tree->portid, 0);
	}
	mutex_unlock(&hf_trees_lock);
}

int hf_tree_exclude(struct hf_tree *tree, bool on)
{
	struct pid *old, *pid = on ? get_pid(task_tgid(current)) : NULL;

	spin_lock(&tree->lock);
	if (tree->dying) {
		old = pid;
	} else {
		old = tree->exclude;
		tree->exclude = pid;
	}
	spin_unlock(&tree->lock);
	put_pid(old);
	return 0;
}
