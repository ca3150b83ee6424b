// SPDX-License-Identifier: GPL-2.0
/*
 * The module: parameters, the sequence, the ledger, and the order in which the
 * parts begin and end.
 */
#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <net/genetlink.h>
#include "holdfast.h"

#undef pr_fmt
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

unsigned long hf_dirty_max = 16UL << 20;
module_param_named(dirty_max, hf_dirty_max, ulong, 0644);
MODULE_PARM_DESC(dirty_max, "Memory for what changed and was not acknowledged, in bytes, all trees (default: 16 MiB); beyond it directories are noted as a whole");

unsigned long hf_marks_max;
module_param_named(marks_max, hf_marks_max, ulong, 0644);
MODULE_PARM_DESC(marks_max, "Marked directories of all trees (default: 1 % of the memory, at about 1.4 KiB each, but 8192 at least); beyond it a tree is coarse");

static atomic64_t seq;

u64 hf_seq_next(void)
{
	return atomic64_inc_return(&seq);
}

u64 hf_seq_read(void)
{
	return atomic64_read(&seq);
}

static atomic64_t created[HF_OBJECTS], destroyed[HF_OBJECTS];

void hf_ledger_in(enum hf_object what)
{
	atomic64_inc(&created[what]);
}

void hf_ledger_out(enum hf_object what)
{
	atomic64_inc(&destroyed[what]);
}

u64 hf_ledger_open(enum hf_object what)
{
	return atomic64_read(&created[what]) - atomic64_read(&destroyed[what]);
}

static void ledger_close(void)
{
	u64 in[HF_OBJECTS], out[HF_OBJECTS];
	bool balanced = true;
	int i;

	for (i = 0; i < HF_OBJECTS; i++) {
		in[i] = atomic64_read(&created[i]);
		out[i] = atomic64_read(&destroyed[i]);
		balanced = balanced && in[i] == out[i];
	}
	pr_info("ledger: tree %llu/%llu dir %llu/%llu entry %llu/%llu\n",
		in[HF_TREE], out[HF_TREE], in[HF_DIR], out[HF_DIR], in[HF_ENTRY], out[HF_ENTRY]);
	WARN(!balanced, "%s: objects were not destroyed, see its ledger\n", KBUILD_MODNAME);
}

/*
 * As inotify bounds its watches: what costs is the inode that a mark pins, and
 * what its filesystem and the security modules keep beside it.
 */
static unsigned long default_marks_max(void)
{
	struct sysinfo si;
	u64 bytes;

	si_meminfo(&si);
	bytes = div_u64((u64)(si.totalram - si.totalhigh) << PAGE_SHIFT, 100);
	bytes = div_u64(bytes, sizeof(struct hf_dir) + 2 * sizeof(struct inode));
	return clamp_t(u64, bytes, 8192, 1048576);
}

static int __init hf_init(void)
{
	int ret;

	if (!hf_marks_max)
		hf_marks_max = default_marks_max();
	ret = hf_dirs_init();
	if (ret)
		return ret;
	ret = hf_places_init();
	if (ret)
		goto err_dirs;
	ret = hf_stores_init();
	if (ret)
		goto err_places;
	ret = hf_watch_init();
	if (ret)
		goto err_stores;
	ret = hf_tell_init();
	if (ret)
		goto err_watch;
	/* last: from here on there are requests */
	ret = hf_netlink_init();
	if (ret)
		goto err_tell;
	pr_info("version %s, abi %d\n", HF_MODULE_VERSION, HOLDFAST_ABI);
	return 0;

err_tell:
	hf_tell_exit();
err_watch:
	hf_watch_exit();
err_stores:
	hf_stores_exit();
err_places:
	hf_places_exit();
err_dirs:
	hf_dirs_exit();
	return ret;
}

static void __exit hf_exit(void)
{
	/*
	 * No tree is registered any more, as each holds the module; but a tree
	 * that was deleted may still be on its way out.
	 * First no request can come that would find anything.
	 */
	hf_netlink_exit();
	/*
	 * A work that tells holds a reference to its tree: it puts the last one
	 * maybe, and only then fsnotify can let go of the tree's group.
	 */
	hf_tell_exit();
	/*
	 * Works that unmark directories, and then fsnotify's own, which frees
	 * marks, groups and trees.
	 */
	hf_watch_exit();
	/* No tree is left that a store could be noted in, */
	hf_stores_exit();
	/* and nothing is kept that an unmount could wait for. */
	hf_places_exit();
	/* No mark is left, so no directory. */
	hf_dirs_exit();
	ledger_close();
}

module_init(hf_init);
module_exit(hf_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("Holdfast developers");
MODULE_DESCRIPTION("Notes what changes in registered trees of directories, for failover of configuration");
MODULE_VERSION(HF_MODULE_VERSION);
MODULE_ALIAS_GENL_FAMILY(HOLDFAST_FAMILY_NAME);
