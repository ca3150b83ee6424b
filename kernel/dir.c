// SPDX-License-Identifier: GPL-2.0
/*
 * Marked directories, and the table of a tree that says where each lies.
 *
 * The table is the tree's own copy of names and parents. It is kept because a
 * dentry can be dropped from the cache while its inode stays marked, and a path
 * that is not known is a change that can not be captured; and because a
 * directory's death must be noted by its name in its parent at once, before
 * what was noted below it is dropped (P3).
 *
 * A directory in the table hangs below its parent, or is the root, or is on
 * tree->outside: it was moved out, or its parent went before it, and waits to
 * be unmarked. Everything here runs under tree->lock, but alloc and free.
 */
#include <linux/slab.h>
#include "holdfast.h"

static struct kmem_cache *cache;
static atomic_long_t marks;

u64 hf_marks(void)
{
	return atomic_long_read(&marks);
}

struct hf_dir *hf_dir_alloc(const char *name, u32 len, bool *nospc, gfp_t gfp)
{
	struct hf_dir *dir;

	*nospc = atomic_long_inc_return(&marks) > READ_ONCE(hf_marks_max);
	if (*nospc)
		goto err_uncharge;
	dir = kmem_cache_zalloc(cache, gfp);
	if (!dir)
		goto err_uncharge;
	if (len) {
		dir->name = kmemdup(name, len, gfp);
		if (!dir->name)
			goto err_free;
		dir->len = len;
	}
	INIT_HLIST_HEAD(&dir->children);
	INIT_HLIST_NODE(&dir->sibling);
	dir->names.names = RB_ROOT;
	dir->charged = true;
	hf_ledger_in(HF_DIR);
	return dir;

err_free:
	kmem_cache_free(cache, dir);
err_uncharge:
	atomic_long_dec(&marks);
	return NULL;
}

/*
 * When it leaves the table, as inotify does: fsnotify frees it after a grace
 * period, and who makes and removes trees quickly would meet the bound.
 */
static void uncharge(struct hf_dir *dir)
{
	if (dir->charged)
		atomic_long_dec(&marks);
	dir->charged = false;
}

void hf_dir_free(struct hf_dir *dir)
{
	uncharge(dir);
	kfree(dir->name);
	kmem_cache_free(cache, dir);
	hf_ledger_out(HF_DIR);
}

static void detach(struct hf_dir *dir)
{
	hlist_del_init(&dir->sibling);
	dir->parent = NULL;
}

static void attach(struct hf_dir *dir, struct hf_dir *parent)
{
	dir->parent = parent;
	hlist_add_head(&dir->sibling, &parent->children);
}

void hf_dir_link(struct hf_tree *tree, struct hf_dir *dir, struct hf_dir *parent)
{
	lockdep_assert_held(&tree->lock);
	if (parent)
		attach(dir, parent);
	else
		tree->root = dir;
	dir->linked = true;
	tree->marks++;
}

void hf_dir_unlink(struct hf_tree *tree, struct hf_dir *dir)
{
	struct hlist_node *n;
	struct hf_dir *child;

	lockdep_assert_held(&tree->lock);
	hlist_for_each_entry_safe(child, n, &dir->children, sibling)
		hf_dir_move_out(tree, child);
	detach(dir);
	if (dir == tree->root)
		tree->root = NULL;
	dir->linked = false;
	tree->marks--;
	uncharge(dir);
}

void hf_dir_move(struct hf_tree *tree, struct hf_dir *dir, struct hf_dir *parent,
		 char *name, u32 len)
{
	struct hf_dir *up;

	lockdep_assert_held(&tree->lock);
	detach(dir);
	tree->moves++;
	kfree(dir->name);
	dir->name = name;
	dir->len = len;
	/*
	 * A network filesystem may move what it finds moved on its server, and
	 * say nothing: then the table was wrong about @parent.
	 */
	for (up = parent; up; up = up->parent) {
		if (up != dir)
			continue;
		hf_dir_move_out(tree, parent);
		hf_dirty_all(&tree->dirty);
		hf_tell_whole(tree);
		break;
	}
	attach(dir, parent);
}

void hf_dir_move_out(struct hf_tree *tree, struct hf_dir *dir)
{
	lockdep_assert_held(&tree->lock);
	detach(dir);
	tree->moves++;
	hlist_add_head(&dir->sibling, &tree->outside);
}

bool hf_dir_shorten(const struct hf_dir **dir, u32 *len, u32 room)
{
	const struct hf_dir *d;
	u64 total = *len;

	for (d = *dir; d->parent; d = d->parent)
		total += d->len + (total != 0);
	if (total <= room)
		return false;
	if (*len)
		total -= *len + ((*dir)->parent ? 1 : 0);
	*len = 0;
	for (d = *dir; d->parent && total > room; d = d->parent)
		total -= d->len + (d->parent->parent ? 1 : 0);
	*dir = d;
	return true;
}

int hf_dir_path(const struct hf_tree *tree, const struct hf_dir *dir,
		const char *name, u32 len, char *buf)
{
	const struct hf_dir *d;
	u32 total = len;
	char *p;

	lockdep_assert_held(&tree->lock);
	for (d = dir; d->parent; d = d->parent)
		total += d->len + (total != 0);
	if (d != tree->root)
		return -ENOENT;
	if (total >= PATH_MAX)
		return -ENAMETOOLONG;
	p = buf + total;
	if (len) {
		p -= len;
		memcpy(p, name, len);
	}
	for (d = dir; d->parent; d = d->parent) {
		if (p != buf + total)
			*--p = '/';
		p -= d->len;
		memcpy(p, d->name, d->len);
	}
	return total;
}

struct hf_dir *hf_dir_next(const struct hf_tree *tree, struct hf_dir *dir)
{
	lockdep_assert_held(&tree->lock);
	if (!dir)
		return tree->root;
	if (!hlist_empty(&dir->children))
		return hlist_entry(dir->children.first, struct hf_dir, sibling);
	for (; dir && dir != tree->root; dir = dir->parent)
		if (dir->sibling.next)
			return hlist_entry(dir->sibling.next, struct hf_dir, sibling);
	return NULL;
}

int __init hf_dirs_init(void)
{
	cache = kmem_cache_create("holdfast_dir", sizeof(struct hf_dir), 0, 0, NULL);
	return cache ? 0 : -ENOMEM;
}

void hf_dirs_exit(void)
{
	kmem_cache_destroy(cache);
}
