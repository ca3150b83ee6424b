// SPDX-License-Identifier: GPL-2.0-or-later
/// Nothing sleeps under a spinlock, nor in a function that says (by
/// lockdep_assert_held()) that it is called under one. Beyond what the kernel's
/// own locks/call_kern.cocci knows: what the module uses of fsnotify and of the
/// dentry cache, and its own functions that sleep.
// Run by scripts/check.sh. Options: --no-includes --include-headers

virtual report

@held exists@
expression L;
position p;
identifier sleeps = {
	cond_resched, dput, flush_work, flush_workqueue, fsnotify_add_inode_mark,
	fsnotify_add_mark, fsnotify_destroy_mark, fsnotify_put_group, fsnotify_put_mark,
	fsnotify_wait_marks_destroyed, hf_settle, hf_stores_begin, hf_stores_end,
	hf_stores_note, hf_stores_settle, hf_watch_clear, hf_watch_note, iput, kvfree,
	kvmalloc, kvzalloc, might_sleep, msleep, mutex_lock, path_put, synchronize_rcu,
	synchronize_srcu, tracepoint_synchronize_unregister, usleep_range, vfree,
	wait_event, wait_event_killable_timeout, wait_event_timeout, wait_for_completion
};
@@
(
 spin_lock(L);
|
 spin_lock_bh(L);
|
 spin_lock_irq(L);
|
 spin_lock_irqsave(L, ...);
|
 raw_spin_lock(L);
|
 raw_spin_lock_irq(L);
|
 raw_spin_lock_irqsave(L, ...);
|
 lockdep_assert_held(L);
)
 ... when != spin_unlock(L)
     when != spin_unlock_bh(L)
     when != spin_unlock_irq(L)
     when != spin_unlock_irqrestore(L, ...)
     when != raw_spin_unlock(L)
     when != raw_spin_unlock_irq(L)
     when != raw_spin_unlock_irqrestore(L, ...)
 sleeps@p(...)

@script:python depends on report@
p << held.p;
f << held.sleeps;
l << held.L;
@@

coccilib.report.print_report(p[0], "%s() sleeps, and %s is held" % (f, l))

@alloc exists@
expression L;
position p;
identifier f;
identifier gfp = { GFP_KERNEL, GFP_KERNEL_ACCOUNT, GFP_NOFS, GFP_NOIO, GFP_USER, HF_GFP };
expression E;
@@
(
 spin_lock(L);
|
 spin_lock_bh(L);
|
 spin_lock_irq(L);
|
 spin_lock_irqsave(L, ...);
|
 raw_spin_lock(L);
|
 raw_spin_lock_irq(L);
|
 raw_spin_lock_irqsave(L, ...);
|
 lockdep_assert_held(L);
)
 ... when != spin_unlock(L)
     when != spin_unlock_bh(L)
     when != spin_unlock_irq(L)
     when != spin_unlock_irqrestore(L, ...)
     when != raw_spin_unlock(L)
     when != raw_spin_unlock_irq(L)
     when != raw_spin_unlock_irqrestore(L, ...)
(
 f@p(..., gfp)
|
 f@p(..., gfp | E)
)

@script:python depends on report@
p << alloc.p;
f << alloc.f;
l << alloc.L;
g << alloc.gfp;
@@

coccilib.report.print_report(p[0], "%s(%s) may sleep, and %s is held" % (f, g, l))
