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
 * Files wait in a table of fixed size, each once, and keep their place (place.c).
 * When it is full the trees of the superblock are noted as a whole.
 *
 * Where pages are never cleaned (tmpfs) the tracepoint says nothing: there each
 * barrier looks for files that are mapped so.
 */
#include <linux/backing-dev.h>
#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/jiffies.h>
#include <linux/magic.h>
#include <linux/moduleparam.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include "place.h"

#undef pr_fmt
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#define SETTLE_MS 100
#define TABLE_BITS 8
/* inodes that are looked at under one hold of a superblock's lock */
#define LOOKS 512

/* the only one whose arguments the probe knows */
#define TRACEPOINT "writeback_dirty_folio"

static char *tracepoint = TRACEPOINT;
module_param_named(stores_tracepoint, tracepoint, charp, 0444);
MODULE_PARM_DESC(stores_tracepoint, "Tracepoint of a clean page that is written; empty: stores to shared mappings are not noted");

static unsigned int stores_max = 1024;
module_param(stores_max, uint, 0444);
MODULE_PARM_DESC(stores_max, "Files whose stores may wait to be noted (default: 1024); beyond it the trees of their filesystem are noted as a whole");

/* a file that was written */
struct store {
	struct hlist_node hash;		/* while it waits */
	struct list_head list;		/* unused or waiting */
	struct hf_place *place;		/* kept */
	struct inode *inode;		/* with a reference; NULL: any of the place */
	struct hf_aliases *aliases;		/* under which it was noted */
	struct hf_who who;
	u64 number;			/* of came, when it came to wait */
	struct work_struct release;
};

/* What a probe changes. It runs with interrupts off, on any kernel. */
static DEFINE_RAW_SPINLOCK(lock);
static struct store *table;
static LIST_HEAD(unused);
static LIST_HEAD(waiting);
static DEFINE_HASHTABLE(by_inode, TABLE_BITS);	/* those that wait */
/* how many came to wait, and how many of them are noted */
static u64 came;
static u64 done;

static DECLARE_WAIT_QUEUE_HEAD(settled);
static struct workqueue_struct *note_wq;
static struct workqueue_struct *release_wq;
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

static void store_on(struct hf_place *place, struct inode *inode)
{
	struct store *s;

	lockdep_assert_held(&lock);
	if (find_waiting(inode))
		return;
	s = list_first_entry_or_null(&unused, struct store, list);
	if (s && !hf_place_keep(place))
		return;
	came++;
	if (s) {
		/* it may be on its way out, and is still written */
		s->inode = atomic_inc_not_zero(&inode->i_count) ? inode : NULL;
		s->place = place;
		s->number = came;
		hf_who_is_it(&s->who);
		if (s->inode)
			hash_add(by_inode, &s->hash, (unsigned long)inode);
		list_move_tail(&s->list, &waiting);
	} else {
		hf_place_fill(place);
	}
	queue_work(note_wq, &noting);
}

static noinline void stored(struct inode *inode)
{
	struct hf_place *place;
	unsigned long flags;

	if (!S_ISREG(inode->i_mode))
		return;
	/* newer kernels call probes under SRCU only */
	rcu_read_lock();
	place = hf_place_find(inode->i_sb);
	if (place) {
		raw_spin_lock_irqsave(&lock, flags);
		store_on(place, inode);
		raw_spin_unlock_irqrestore(&lock, flags);
	}
	rcu_read_unlock();
}

static void on_dirty_folio(void *data, struct folio *folio, struct address_space *mapping)
{
	if (unlikely(mapping_writably_mapped(mapping)))
		stored(mapping->host);
}

/*
 * The works: one notes, in the order in which files came to wait. Then each is let
 * go of by a work of its own, as that may have to wait for a filesystem that is
 * frozen.
 */

/* From here on a store makes it wait again. */
static struct store *next_waiting(u64 *so_far)
{
	struct store *s;

	raw_spin_lock_irq(&lock);
	s = list_first_entry_or_null(&waiting, struct store, list);
	if (s) {
		if (s->inode)
			hash_del(&s->hash);
		list_del_init(&s->list);
	}
	*so_far = s ? s->number : came;
	raw_spin_unlock_irq(&lock);
	return s;
}

static void noted(u64 so_far)
{
	raw_spin_lock_irq(&lock);
	done = so_far;
	raw_spin_unlock_irq(&lock);
	wake_up_all(&settled);
}

/*
 * The tracepoint comes before the page is tagged as dirty, under the same lock. Who captures
 * the file once it is noted goes by the tags (sync_file_range(), cachestat()).
 */
static void wait_tagged(struct inode *inode)
{
	xa_lock_irq(&inode->i_mapping->i_pages);
	xa_unlock_irq(&inode->i_mapping->i_pages);
}

static void note_work(struct work_struct *work)
{
	struct store *s;
	u64 so_far;

	do {
		s = next_waiting(&so_far);
		/* those for which there was no room came before */
		hf_places_note_full();
		if (s) {
			const struct hf_change c = {
				.ops = HOLDFAST_OP_MODIFY, .set = HOLDFAST_STATE_OPEN,
				.who = &s->who,
			};

			if (s->inode) {
				wait_tagged(s->inode);
				hf_place_note(s->inode, &c, &s->aliases);
			} else {
				hf_place_note_all(s->place);
			}
			queue_work(release_wq, &s->release);
		}
		/* others may come for ever; what came before is noted */
		noted(so_far);
		cond_resched();
	} while (s);
}

static void release_work(struct work_struct *work)
{
	struct store *s = container_of(work, struct store, release);
	struct hf_place *place = s->place;

	hf_aliases_put(s->aliases);
	s->aliases = NULL;
	iput(s->inode);
	raw_spin_lock_irq(&lock);
	list_add(&s->list, &unused);
	raw_spin_unlock_irq(&lock);
	hf_place_release(place);
}

/*
 * Where no store is seen.
 */

/* Note what is mapped by who may write, unless it is noted already. @place is kept. */
static void look_for_mapped(struct hf_place *place)
{
	/* not whoever asks for the barrier; who did is not known */
	static const struct hf_who nobody = { .uid = -1, .loginuid = -1 };
	static const struct hf_change c = {
		.ops = HOLDFAST_OP_MODIFY, .quiet = true, .who = &nobody,
		.set = HOLDFAST_STATE_OPEN | HOLDFAST_STATE_MAPPED,
	};
	struct super_block *sb = hf_place_sb(place);
	struct inode *inode, *last = NULL;
	unsigned int looks = 0;

	spin_lock(&sb->s_inode_list_lock);
	list_for_each_entry(inode, &sb->s_inodes, i_sb_list) {
		bool mapped = S_ISREG(inode->i_mode) && mapping_writably_mapped(inode->i_mapping);

		/* with an inode in hand the list may be let go of */
		if ((!mapped && ++looks % LOOKS) || !igrab(inode))
			continue;
		spin_unlock(&sb->s_inode_list_lock);
		if (mapped)
			hf_place_note(inode, &c, NULL);
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
	struct hf_place *place;
	u64 so_far;

	raw_spin_lock_irq(&lock);
	so_far = came;
	raw_spin_unlock_irq(&lock);
	if (wait_event_killable_timeout(settled, all_noted(so_far),
					msecs_to_jiffies(SETTLE_MS)) <= 0)
		return -EAGAIN;
	place = tree->unseen ? hf_place_of(tree) : NULL;
	if (place) {
		look_for_mapped(place);
		hf_place_release(place);
	}
	return 0;
}

/*
 * Begin and end.
 */

bool hf_stores_seen(void)
{
	return tp;
}

void hf_stores_of(struct hf_tree *tree, const struct inode *root)
{
	const struct super_block *sb = root->i_sb;
	/* the pages of an overlay are those of the layer below */
	bool overlay = sb->s_magic == OVERLAYFS_SUPER_MAGIC;
	/* pages of DAX are the device itself */
	bool cleaned = (sb->s_bdi->capabilities & BDI_CAP_WRITEBACK) && !IS_DAX(root);

	tree->unseen = !cleaned && !overlay;
	tree->stores = (tp || !cleaned) && !overlay;
}

static void find_tracepoint(struct tracepoint *t, void *priv)
{
	if (!strcmp(t->name, TRACEPOINT))
		tp = t;
}

static int watch_stores(void)
{
	int ret;

	if (!strcmp(tracepoint, TRACEPOINT))
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
	/* an unmount waits for both, and memory may be waiting for that */
	ret = -ENOMEM;
	note_wq = alloc_workqueue("holdfast_stores", WQ_UNBOUND | WQ_HIGHPRI | WQ_MEM_RECLAIM, 0);
	if (!note_wq)
		goto err_table;
	release_wq = alloc_workqueue("holdfast_release", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!release_wq)
		goto err_note;
	ret = watch_stores();
	if (ret)
		goto err_release;
	return 0;

err_release:
	destroy_workqueue(release_wq);
err_note:
	destroy_workqueue(note_wq);
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
	destroy_workqueue(note_wq);
	destroy_workqueue(release_wq);
	kvfree(table);
}
