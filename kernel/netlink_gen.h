/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/holdfast.yaml */
/* YNL-GEN kernel header */

#ifndef _LINUX_HOLDFAST_GEN_H
#define _LINUX_HOLDFAST_GEN_H

#include <net/netlink.h>
#include <net/genetlink.h>

#include <uapi/linux/holdfast.h>

/* Common nested types */
extern const struct nla_policy holdfast_ack_nl_policy[HOLDFAST_A_ACK_SEQ + 1];

/* Global operation policy for holdfast */
extern const struct nla_policy holdfast_nl_policy[HOLDFAST_A_EXCLUDE + 1];

/* Ops table for holdfast */
extern const struct genl_small_ops holdfast_nl_ops[9];

int holdfast_nl_version_get_doit(struct sk_buff *skb, struct genl_info *info);
int holdfast_nl_tree_add_doit(struct sk_buff *skb, struct genl_info *info);
int holdfast_nl_tree_del_doit(struct sk_buff *skb, struct genl_info *info);
int holdfast_nl_tree_get_doit(struct sk_buff *skb, struct genl_info *info);
int holdfast_nl_tree_get_dumpit(struct sk_buff *skb,
				struct netlink_callback *cb);
int holdfast_nl_mark_doit(struct sk_buff *skb, struct genl_info *info);
int holdfast_nl_barrier_doit(struct sk_buff *skb, struct genl_info *info);
int holdfast_nl_dirty_get_dumpit(struct sk_buff *skb,
				 struct netlink_callback *cb);
int holdfast_nl_ack_doit(struct sk_buff *skb, struct genl_info *info);
int holdfast_nl_exclude_doit(struct sk_buff *skb, struct genl_info *info);

enum {
	HOLDFAST_NLGRP_CHANGES,
};

#endif /* _LINUX_HOLDFAST_GEN_H */
