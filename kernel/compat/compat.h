/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The module is written for the newest kernel it is built for. What older ones
 * lack is here, by feature: HF_HAVE_... comes from Kbuild, which looks into the
 * kernel's headers. Each part names the upstream commit that it stands for.
 */
#ifndef HF_COMPAT_H
#define HF_COMPAT_H

#include <linux/dcache.h>
#include <linux/fsnotify_backend.h>
#include <net/genetlink.h>

/*
 * Without the flag whoever likes joins the group, and reads the names of files
 * that it may not see. There is no way around that in here.
 */
#ifndef GENL_MCAST_CAP_NET_ADMIN
#error "no GENL_MCAST_CAP_NET_ADMIN: update to 6.7, or to a stable kernel since December 2023"
#endif

/*
 * cad3f4a22cfa ("inotify: Fix possible deadlock in fsnotify_destroy_mark"):
 * every group behaves as if it had the flag, which is gone
 */
#ifndef FSNOTIFY_GROUP_NOFS
#define FSNOTIFY_GROUP_NOFS 0
#endif

/* 230d97d39ee2 ("fsnotify: create a wrapper fsnotify_find_inode_mark()") */
#ifndef HF_HAVE_FIND_INODE_MARK
static inline struct fsnotify_mark *fsnotify_find_inode_mark(struct inode *inode,
							     struct fsnotify_group *group)
{
	return fsnotify_find_mark(&inode->i_fsnotify_marks, group);
}
#endif

/*
 * 7288dd2fd488 ("genetlink: use attrs from struct genl_info"): a dump's request
 * is described as any other is
 */
#ifdef HF_HAVE_DUMP_INFO
static inline struct nlattr **hf_dump_attrs(struct netlink_callback *cb)
{
	return genl_info_dump(cb)->attrs;
}
#else
static inline struct nlattr **hf_dump_attrs(struct netlink_callback *cb)
{
	return genl_dumpit_info(cb)->attrs;
}
#endif

/*
 * 408d8af01f3a ("for_each_alias(): helper macro for iterating through dentries of given
 * inode"): after it the union that holds d_alias lost its name
 */
#ifndef for_each_alias
#define for_each_alias(dentry, inode) \
	hlist_for_each_entry(dentry, &(inode)->i_dentry, d_u.d_alias)
#endif

#endif
