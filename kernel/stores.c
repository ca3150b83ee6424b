// SPDX-License-Identifier: GPL-2.0
/*
 * Stores to shared mappings, of which fsnotify knows nothing.
 *
 * The tracepoint writeback_dirty_folio fires when a clean page of a file is
 * written, by whatever means. Its probe runs under the lock of the page cache, so
 * all it does is to keep the inode, if that is mapped by somebody who may write,
 * and lies on a superblock with a tree. A work finds its names and notes them. A
 * barrier waits for the work. Whoever captures a file cleans it first, so that the
 * next store comes here again, and after its number was read: the number is taken
 * when the change is noted, which is later than the store, never earlier.
 *
 * Files wait in a table of fixed size, each once. When it is full the trees of
 * the superblock are noted as a whole.
 *
 * A kept inode may not outlive its filesystem. Whoever stores holds a mapping or a
 * file and thus the mount; a filesystem that is unmounted sends its trees' roots
 * away first (hf_stores_end()), which waits until nothing on it is kept, and
 * after that nothing is kept any more.
 *
 * Where pages are never cleaned (tmpfs) the tracepoint says nothing: there each
 * barrier looks for files that are mapped so.
 *
 * places_lock is held while trees are noted by their place, never while an inode
 * is let go of that a disk may have to be asked about.
 */
#include <linux/backing-dev.h>
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/jiffies.h>
#include <linux/magic.h>
#include <linux/moduleparam.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include "compat/compat.h"
#include "holdfast.h"

#undef pr_fmt
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#define SETTLE_MS 100
/* a frozen filesystem may keep an inode for longer than a request can wait */
#define END_MS 5000
/* names of a file beyond this: its trees are noted as a whole */
#define ALIASES 64
#define TABLE_BITS 8
/* inodes that are looked at under one hold of a superblock's lock */
#define LOOKS 4096

static char *tracepoint = "writeback_dirty_folio";
module_param_named(stores_tracepoint, tracepoint, charp, 0444);
MODULE_PARM_DESC(stores_tracepoint, "Tracepoint that fires when a clean page is written; empty: stores to shared mappings are not noted");

static unsigned int stores_max = 1024;
module_param(stores_max, uint, 0444);
MODULE_PARM_DESC(stores_max, "Files whose stores may wait to be noted (default: 1024); beyond it the trees of their filesystem are noted as a whole");

/* a superblock with trees */
struct place {
	struct list_head list;		/* places; RCU, changed under places_lock */
	refcount_t refs;		/* the list's, and one for each inode that is kept */
	struct super_block *sb;
	struct list_head trees;		/* places_lock */
	bool dead, full;		/* lock */
	struct rcu_head rcu;
};

/* a file that was written */
struct store {
	struct hlist_node hash;		/* while it waits */
	struct list_head list;		/* unused or waiting */
	struct place *place;
	struct inode *inode;
	struct hf_who who;
	struct work_struct release;
};

static LIST_HEAD(places);
static DEFINE_MUTEX(places_lock);

/* What a probe changes. It runs with interrupts off, on any kernel. */
static DEFINE_RAW_SPINLOCK(lock);
static struct store *table;
static LIST_HEAD(unused);
static LIST_HEAD(waiting);
static DEFINE_HASHTABLE(by_inode, TABLE_BITS);	/* those that wait */
/* how many came to wait, and how many of them are noted */
static u64 came;
static u64 done;
static bool overflow;

static DECLARE_WAIT_QUEUE_HEAD(settled);
static struct workqueue_struct *wq;
static struct tracepoint *tp;

static void note_work(struct work_struct *work);
static DECLARE_WORK(noting, note_work);

/*
 * The probe.
 */

static struct store *find_waiting(const struct inode *inode)
{
	struct store *s;

	hash_for_each_possible(by_inode, s, hash, (unsigned long)inode)
		if (s->inode == inode)
			return s;
	return NULL;
}

/* It waits to be noted; lock held. Whether that is news to the work. */
static bool wait_for_note(struct place *place, struct inode *inode)
{
	struct store *s = find_waiting(inode);

	if (place->dead || s)
		return false;
	s = list_first_entry_or_null(&unused, struct store, list);
	/* 0: on its way out, and still written */
	if (!s || !atomic_inc_not_zero(&inode->i_count)) {
		place->full = true;
		overflow = true;
		came++;
		return true;
	}
	s->inode = inode;
	s->place = place;
	refcount_inc(&place->refs);
	hf_who_is_it(&s->who);
	hash_add(by_inode, &s->hash, (unsigned long)inode);
	list_move_tail(&s->list, &waiting);
	came++;
	return true;
}

static noinline void stored(struct inode *inode)
{
	struct place *place;
	unsigned long flags;
	bool queue = false;

	if (!S_ISREG(inode->i_mode))
		return;
	/* newer kernels call probes under SRCU only */
	rcu_read_lock();
	list_for_each_entry_rcu(place, &places, list) {
		if (place->sb != inode->i_sb)
			continue;
		raw_spin_lock_irqsave(&lock, flags);
		queue = wait_for_note(place, inode);
		raw_spin_unlock_irqrestore(&lock, flags);
		break;
	}
	rcu_read_unlock();
	if (queue)
		queue_work(wq, &noting);
}

static void on_dirty_folio(void *data, struct folio *folio, struct address_space *mapping)
{
	if (unlikely(mapping_writably_mapped(mapping)))
		stored(mapping->host);
}

/*
 * Names.
 */

static void put_place(struct place *place)
{
	if (refcount_dec_and_test(&place->refs))
		kfree_rcu(place, rcu);
}

static struct place *find_place(const struct super_block *sb)
{
	struct place *place;

	lockdep_assert_held(&places_lock);
	list_for_each_entry(place, &places, list)
		if (place->sb == sb)
			return place;
	return NULL;
}

static void note_all_trees(struct place *place)
{
	struct hf_tree *tree;

	list_for_each_entry(tree, &place->trees, place)
		hf_watch_note_all(tree);
}

struct alias {
	struct inode *dir;	/* with a reference */
	u32 len;
	char name[NAME_MAX + 1];
};

/*
 * The name number @n that leads to @inode, of those that are known.
 * Return: whether there is one
 */
static bool get_alias(struct inode *inode, unsigned int n, struct alias *alias)
{
	struct dentry *dentry;
	bool found = false;

	spin_lock(&inode->i_lock);
	for_each_alias(dentry, inode) {
		spin_lock(&dentry->d_lock);
		if (!d_unhashed(dentry) && !IS_ROOT(dentry) && dentry->d_name.len <= NAME_MAX &&
		    !n--) {
			found = true;
			/* as long as it hangs there its parent has an inode that is used */
			alias->dir = d_inode(dentry->d_parent);
			ihold(alias->dir);
			alias->len = dentry->d_name.len;
			memcpy(alias->name, dentry->d_name.name, alias->len);
		}
		spin_unlock(&dentry->d_lock);
		if (found)
			break;
	}
	spin_unlock(&inode->i_lock);
	return found;
}

static void note_alias(struct place *place, const struct alias *alias, const struct hf_change *c)
{
	struct hf_change named = *c;
	struct hf_tree *tree;

	named.name = alias->name;
	named.len = alias->len;
	list_for_each_entry(tree, &place->trees, place)
		hf_watch_note(tree, alias->dir, &named);
}

/* The caller has a reference to @inode. @alias: where there is room for one. */
static void note_inode(struct inode *inode, const struct hf_change *c, struct alias *alias)
{
	struct place *place;
	unsigned int n;

	for (n = 0; alias && n < ALIASES && get_alias(inode, n, alias); n++) {
		mutex_lock(&places_lock);
		place = find_place(inode->i_sb);
		if (place)
			note_alias(place, alias, c);
		mutex_unlock(&places_lock);
		iput(alias->dir);
	}
	/* It has a name that nobody knows, or too many to look for. */
	if (inode->i_nlink && (!n || n == ALIASES)) {
		mutex_lock(&places_lock);
		place = find_place(inode->i_sb);
		if (place)
			note_all_trees(place);
		mutex_unlock(&places_lock);
	}
}

void hf_stores_note(struct inode *inode, const struct hf_change *c)
{
	struct alias *alias = kmalloc(sizeof(*alias), GFP_KERNEL | __GFP_NOWARN);

	note_inode(inode, c, alias);
	kfree(alias);
}

/*
 * The works: one notes, in the order in which files came to wait. Then each is let
 * go of by a work of its own, as that may have to wait for a filesystem that is
 * frozen.
 */

static void note_full(void)
{
	struct place *place;
	bool full;

	list_for_each_entry(place, &places, list) {
		raw_spin_lock_irq(&lock);
		full = place->full;
		place->full = false;
		raw_spin_unlock_irq(&lock);
		if (full)
			note_all_trees(place);
	}
}

/* From here on a store makes it wait again. */
static struct store *next_waiting(u64 *so_far, bool *full)
{
	struct store *s;

	raw_spin_lock_irq(&lock);
	s = list_first_entry_or_null(&waiting, struct store, list);
	if (s) {
		hash_del(&s->hash);
		list_del_init(&s->list);
	}
	*full = overflow;
	overflow = false;
	*so_far = came;
	raw_spin_unlock_irq(&lock);
	return s;
}

static void note_store(struct store *s)
{
	const struct hf_change c = {
		.ops = HOLDFAST_OP_MODIFY, .set = HOLDFAST_STATE_OPEN, .who = &s->who,
	};
	static struct alias alias;	/* the work's, which never runs twice at a time */

	note_inode(s->inode, &c, &alias);
}

static void note_work(struct work_struct *work)
{
	/* a filesystem that waits for memory may wait for us */
	unsigned int flags = memalloc_nofs_save();
	struct store *s;
	bool full;
	u64 so_far;

	for (;;) {
		s = next_waiting(&so_far, &full);
		if (full) {
			mutex_lock(&places_lock);
			note_full();
			mutex_unlock(&places_lock);
		}
		if (!s)
			break;
		note_store(s);
		queue_work(wq, &s->release);
		cond_resched();
	}
	memalloc_nofs_restore(flags);
	raw_spin_lock_irq(&lock);
	done = so_far;
	raw_spin_unlock_irq(&lock);
	wake_up_all(&settled);
}

static void release_work(struct work_struct *work)
{
	struct store *s = container_of(work, struct store, release);
	struct place *place = s->place;

	iput(s->inode);
	raw_spin_lock_irq(&lock);
	list_add(&s->list, &unused);
	raw_spin_unlock_irq(&lock);
	put_place(place);
	wake_up_all(&settled);
}

/*
 * Where no store is seen.
 */

/*
 * Note what is mapped by who may write, unless it is noted already. places_lock
 * is held, and to let go of an inode takes no disk here.
 */
static void look_for_mapped(struct place *place)
{
	/* not whoever asks for the barrier; who did is not known */
	static const struct hf_who nobody = { .uid = -1, .loginuid = -1 };
	static const struct hf_change c = {
		.ops = HOLDFAST_OP_MODIFY, .quiet = true, .who = &nobody,
		.set = HOLDFAST_STATE_OPEN | HOLDFAST_STATE_MAPPED,
	};
	static struct alias alias;	/* places_lock */
	struct super_block *sb = place->sb;
	struct inode *inode, *last = NULL;
	unsigned int looks = 0, n;

	spin_lock(&sb->s_inode_list_lock);
	list_for_each_entry(inode, &sb->s_inodes, i_sb_list) {
		bool mapped = S_ISREG(inode->i_mode) && mapping_writably_mapped(inode->i_mapping);

		/* with an inode in hand the list may be let go of */
		if ((!mapped && ++looks % LOOKS) || !igrab(inode))
			continue;
		spin_unlock(&sb->s_inode_list_lock);
		for (n = 0; mapped && get_alias(inode, n, &alias); n++) {
			note_alias(place, &alias, &c);
			iput(alias.dir);
		}
		iput(last);
		last = inode;
		cond_resched();
		spin_lock(&sb->s_inode_list_lock);
	}
	spin_unlock(&sb->s_inode_list_lock);
	iput(last);
}

static bool all_noted(u64 so_far)
{
	bool ret;

	raw_spin_lock_irq(&lock);
	ret = done >= so_far;
	raw_spin_unlock_irq(&lock);
	return ret;
}

int hf_stores_settle(struct hf_tree *tree)
{
	u64 so_far;

	raw_spin_lock_irq(&lock);
	so_far = came;
	raw_spin_unlock_irq(&lock);
	if (wait_event_killable_timeout(settled, all_noted(so_far),
					msecs_to_jiffies(SETTLE_MS)) <= 0)
		return -EAGAIN;
	if (!tree->unseen)
		return 0;
	mutex_lock(&places_lock);
	/* once its root is gone its superblock may be, too */
	if (!list_empty(&tree->place))
		look_for_mapped(find_place(tree->sb));
	mutex_unlock(&places_lock);
	return 0;
}

/*
 * Trees.
 */

bool hf_stores_seen(void)
{
	return tp;
}

int hf_stores_begin(struct hf_tree *tree, struct inode *root)
{
	struct super_block *sb = root->i_sb;
	bool cleaned = sb->s_bdi->capabilities & BDI_CAP_WRITEBACK;
	struct place *place, *new;

	tree->unseen = !cleaned;
	/* the pages of an overlay are those of the layer below */
	tree->stores = (tp || !cleaned) && sb->s_magic != OVERLAYFS_SUPER_MAGIC;

	new = kzalloc(sizeof(*new), GFP_KERNEL);
	if (!new)
		return -ENOMEM;
	refcount_set(&new->refs, 1);
	new->sb = sb;
	INIT_LIST_HEAD(&new->trees);

	mutex_lock(&places_lock);
	place = find_place(sb);
	if (!place) {
		place = new;
		new = NULL;
		list_add_tail_rcu(&place->list, &places);
	}
	list_add_tail(&tree->place, &place->trees);
	mutex_unlock(&places_lock);
	kfree(new);
	return 0;
}

void hf_stores_end(struct hf_tree *tree, bool forever)
{
	struct place *place = NULL;

	mutex_lock(&places_lock);
	if (!list_empty(&tree->place)) {
		place = find_place(tree->sb);
		list_del_init(&tree->place);
		if (list_empty(&place->trees)) {
			list_del_rcu(&place->list);
			/* from here on no probe keeps anything */
			raw_spin_lock_irq(&lock);
			place->dead = true;
			raw_spin_unlock_irq(&lock);
		} else {
			place = NULL;
		}
	}
	mutex_unlock(&places_lock);
	if (!place)
		return;
	if (forever)
		wait_event(settled, refcount_read(&place->refs) == 1);
	else
		wait_event_timeout(settled, refcount_read(&place->refs) == 1,
				   msecs_to_jiffies(END_MS));
	put_place(place);
}

/*
 * Begin and end.
 */

static void find_tracepoint(struct tracepoint *t, void *priv)
{
	if (!strcmp(t->name, tracepoint))
		tp = t;
}

static int watch_stores(void)
{
	int ret;

	for_each_kernel_tracepoint(find_tracepoint, NULL);
	ret = tp ? tracepoint_probe_register(tp, on_dirty_folio, NULL) : -ENOENT;
	if (!ret)
		return 0;
	tp = NULL;
	/* all else works without */
	pr_notice("stores to shared mappings are not noted: tracepoint '%s': %s\n", tracepoint,
		  ret == -ENOENT ? "there is none" : "it cannot be used");
	return ret == -ENOENT ? 0 : ret;
}

int __init hf_stores_init(void)
{
	unsigned int i;
	int ret;

	table = kvcalloc(stores_max ?: 1, sizeof(*table), GFP_KERNEL);
	if (!table)
		return -ENOMEM;
	for (i = 0; i < stores_max; i++) {
		INIT_WORK(&table[i].release, release_work);
		list_add_tail(&table[i].list, &unused);
	}
	ret = -ENOMEM;
	wq = alloc_workqueue("holdfast_stores", WQ_UNBOUND | WQ_HIGHPRI, 0);
	if (!wq)
		goto err_table;
	ret = watch_stores();
	if (ret)
		goto err_wq;
	return 0;

err_wq:
	destroy_workqueue(wq);
err_table:
	kvfree(table);
	return ret;
}

void hf_stores_exit(void)
{
	if (tp) {
		tracepoint_probe_unregister(tp, on_dirty_folio, NULL);
		tracepoint_synchronize_unregister();
	}
	/* one round queues works of another kind, and waits for those as well */
	destroy_workqueue(wq);
	kvfree(table);
	/* places are freed by RCU, without us */
}
