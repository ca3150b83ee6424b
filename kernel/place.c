// SPDX-License-Identifier: GPL-2.0
/*
 * Superblocks with trees: which trees lie on one, the names that lead to an inode
 * there, and what a filesystem that is unmounted has to wait for.
 *
 * What is kept here, an inode, may not outlive its filesystem. fsnotify tells of
 * that in time, on the way of an unmount: so each place has a mark on the root of
 * its filesystem, of no event, and the end of that mark waits until nothing is kept.
 * Who ends the mark before (the last tree went) does so when nothing is kept, and
 * nothing will be.
 *
 * A place is its mark. Its references: the list's, and one for each that is kept.
 */
#include <linux/dcache.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include "compat/compat.h"
#include "place.h"

/* names of a file beyond this: its trees are noted as a whole */
#define ALIASES 8

struct hf_place {
	struct fsnotify_mark mark;
	struct list_head list;		/* places; RCU, changed under places_lock */
	struct list_head trees;		/* places_lock */
	struct super_block *sb;
	raw_spinlock_t lock;		/* of what follows */
	unsigned int kept;
	bool dead;			/* in the list no more */
	bool full;			/* to be noted as a whole */
	struct rcu_head rcu;
};

static LIST_HEAD(places);
static DEFINE_MUTEX(places_lock);
static struct fsnotify_group *group;
static DECLARE_WAIT_QUEUE_HEAD(released);
static atomic_t count;

static struct hf_place *place_of(struct fsnotify_mark *mark)
{
	return container_of(mark, struct hf_place, mark);
}

struct hf_place *hf_place_find(const struct super_block *sb)
{
	struct hf_place *place;

	list_for_each_entry_rcu(place, &places, list, lockdep_is_held(&places_lock))
		if (place->sb == sb)
			return place;
	return NULL;
}

struct super_block *hf_place_sb(const struct hf_place *place)
{
	return place->sb;
}

bool hf_place_keep(struct hf_place *place)
{
	unsigned long flags;
	bool alive;

	raw_spin_lock_irqsave(&place->lock, flags);
	alive = !place->dead;
	if (alive) {
		place->kept++;
		refcount_inc(&place->mark.refcnt);
	}
	raw_spin_unlock_irqrestore(&place->lock, flags);
	return alive;
}

void hf_place_release(struct hf_place *place)
{
	bool last;

	raw_spin_lock_irq(&place->lock);
	last = !--place->kept && place->dead;
	raw_spin_unlock_irq(&place->lock);
	if (last) {
		wake_up_all(&released);
		fsnotify_destroy_mark(&place->mark, group);
	}
	fsnotify_put_mark(&place->mark);
}

static bool kept(struct hf_place *place)
{
	bool ret;

	raw_spin_lock_irq(&place->lock);
	ret = place->kept;
	raw_spin_unlock_irq(&place->lock);
	return ret;
}

/*
 * Out of the list: nothing is kept any more from here on. places_lock held.
 * Return: whether nothing is
 */
static bool bury(struct hf_place *place)
{
	bool idle;

	list_del_rcu(&place->list);
	raw_spin_lock_irq(&place->lock);
	place->dead = true;
	idle = !place->kept;
	raw_spin_unlock_irq(&place->lock);
	return idle;
}

/* The filesystem goes, or bury() came before. */
static void freeing_mark(struct fsnotify_mark *mark, struct fsnotify_group *g)
{
	struct hf_place *place = place_of(mark);
	struct hf_tree *tree, *next;
	bool mine;

	mutex_lock(&places_lock);
	mine = !place->dead;
	if (mine) {
		list_for_each_entry_safe(tree, next, &place->trees, place)
			list_del_init(&tree->place);
		bury(place);
	}
	mutex_unlock(&places_lock);
	wait_event(released, !kept(place));
	if (mine)
		fsnotify_put_mark(mark);
}

static void free_mark(struct fsnotify_mark *mark)
{
	struct hf_place *place = place_of(mark);

	/* a probe may still look at it */
	kfree_rcu(place, rcu);
	atomic_dec(&count);
}

static const struct fsnotify_ops ops = {
	.freeing_mark = freeing_mark,
	.free_mark = free_mark,
};

/*
 * Trees.
 */

static struct hf_place *place_new(struct super_block *sb)
{
	struct hf_place *place = kzalloc(sizeof(*place), GFP_KERNEL);

	if (!place)
		return NULL;
	atomic_inc(&count);
	fsnotify_init_mark(&place->mark, group);
	place->sb = sb;
	raw_spin_lock_init(&place->lock);
	INIT_LIST_HEAD(&place->trees);
	return place;
}

int hf_place_begin(struct hf_tree *tree, struct inode *root)
{
	struct super_block *sb = root->i_sb;
	struct hf_place *place;
	int ret = 0;

	mutex_lock(&places_lock);
	place = hf_place_find(sb);
	if (!place) {
		ret = -ENOMEM;
		place = place_new(sb);
		if (!place)
			goto out;
		ret = fsnotify_add_inode_mark(&place->mark, d_inode(sb->s_root), 0);
		if (ret) {
			fsnotify_put_mark(&place->mark);
			goto out;
		}
		list_add_tail_rcu(&place->list, &places);
	}
	list_add_tail(&tree->place, &place->trees);
out:
	mutex_unlock(&places_lock);
	return ret;
}

void hf_place_end(struct hf_tree *tree)
{
	struct hf_place *place = NULL;
	bool idle = false;

	mutex_lock(&places_lock);
	if (!list_empty(&tree->place)) {
		place = hf_place_find(tree->sb);
		list_del_init(&tree->place);
		if (list_empty(&place->trees))
			idle = bury(place);
		else
			place = NULL;
	}
	mutex_unlock(&places_lock);
	if (!place)
		return;
	/* else who lets go of the last one does it */
	if (idle)
		fsnotify_destroy_mark(&place->mark, group);
	fsnotify_put_mark(&place->mark);
}

struct hf_place *hf_place_of(struct hf_tree *tree)
{
	struct hf_place *place = NULL;

	mutex_lock(&places_lock);
	if (!list_empty(&tree->place)) {
		place = hf_place_find(tree->sb);
		if (!hf_place_keep(place))
			place = NULL;
	}
	mutex_unlock(&places_lock);
	return place;
}

static void note_all(struct hf_place *place, bool quiet)
{
	struct hf_tree *tree;

	list_for_each_entry(tree, &place->trees, place)
		hf_watch_note_all(tree, quiet);
}

void hf_place_fill(struct hf_place *place)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&place->lock, flags);
	place->full = true;
	raw_spin_unlock_irqrestore(&place->lock, flags);
}

void hf_places_note_full(void)
{
	struct hf_place *place;
	bool full;

	mutex_lock(&places_lock);
	list_for_each_entry(place, &places, list) {
		raw_spin_lock_irq(&place->lock);
		full = place->full;
		place->full = false;
		raw_spin_unlock_irq(&place->lock);
		if (full)
			note_all(place, false);
	}
	mutex_unlock(&places_lock);
}

void hf_place_note_all(struct hf_place *place)
{
	mutex_lock(&places_lock);
	note_all(place, false);
	mutex_unlock(&places_lock);
}

/*
 * Names.
 */

struct alias {
	struct inode *dir;	/* with a reference */
	u32 len;
	char name[NAME_MAX + 1];
};

struct hf_aliases {
	unsigned int n;
	bool more;		/* than there is room for */
	struct alias at[ALIASES];
};

/* The names that lead to @inode, of those that are known: as they are at one moment. */
static void get_aliases(struct inode *inode, struct hf_aliases *a)
{
	struct dentry *dentry;

	a->n = 0;
	a->more = false;
	spin_lock(&inode->i_lock);
	for_each_alias(dentry, inode) {
		struct alias *alias = &a->at[a->n];

		a->more = a->n == ALIASES;
		if (a->more)
			break;
		spin_lock(&dentry->d_lock);
		if (!d_unhashed(dentry) && !IS_ROOT(dentry) && dentry->d_name.len <= NAME_MAX) {
			/* as long as it hangs there its parent has an inode that is used */
			alias->dir = d_inode(dentry->d_parent);
			ihold(alias->dir);
			alias->len = dentry->d_name.len;
			memcpy(alias->name, dentry->d_name.name, alias->len);
			a->n++;
		}
		spin_unlock(&dentry->d_lock);
	}
	spin_unlock(&inode->i_lock);
}

static void note_alias(struct hf_place *place, const struct alias *alias,
		       const struct hf_change *c)
{
	struct hf_change named = *c;
	struct hf_tree *tree;

	named.name = alias->name;
	named.len = alias->len;
	list_for_each_entry(tree, &place->trees, place)
		hf_watch_note(tree, alias->dir, &named);
}

void hf_aliases_put(struct hf_aliases *aliases)
{
	unsigned int i;

	for (i = 0; aliases && i < aliases->n; i++)
		iput(aliases->at[i].dir);
	kfree(aliases);
}

void hf_place_note(struct inode *inode, const struct hf_change *c, struct hf_aliases **aliases)
{
	/* what is freed for the sake of memory may want the lock */
	unsigned int flags = memalloc_nofs_save(), i;
	struct hf_aliases *a = kmalloc(sizeof(*a), GFP_KERNEL | __GFP_NOWARN);
	struct hf_place *place;

	if (a)
		get_aliases(inode, a);
	mutex_lock(&places_lock);
	place = hf_place_find(inode->i_sb);
	for (i = 0; place && a && i < a->n; i++)
		note_alias(place, &a->at[i], c);
	/* It has a name that nobody knows, or too many to look for. */
	if (place && inode->i_nlink && (!a || !a->n || a->more))
		note_all(place, c->quiet);
	mutex_unlock(&places_lock);
	memalloc_nofs_restore(flags);
	if (aliases)
		*aliases = a;
	else
		hf_aliases_put(a);
}

int __init hf_places_init(void)
{
	/* a place that is on its way out may have its mark still where another begins */
	group = fsnotify_alloc_group(&ops, FSNOTIFY_GROUP_NOFS | FSNOTIFY_GROUP_DUPS);
	return PTR_ERR_OR_ZERO(group);
}

void hf_places_exit(void)
{
	/* fsnotify frees marks after a grace period, and calls us for it */
	do {
		fsnotify_wait_marks_destroyed();
	} while (atomic_read(&count) && (msleep(20), true));
	fsnotify_wait_marks_destroyed();
	fsnotify_put_group(group);
}
