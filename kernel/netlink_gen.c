// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/holdfast.yaml */
/* YNL-GEN kernel source */

#include <net/netlink.h>
#include <net/genetlink.h>

#include "netlink_gen.h"

#include <uapi/linux/holdfast.h>

/* Common nested types */
const struct nla_policy holdfast_ack_nl_policy[HOLDFAST_A_ACK_SEQ + 1] = {
	[HOLDFAST_A_ACK_ID] = { .type = NLA_U64, },
	[HOLDFAST_A_ACK_SEQ] = { .type = NLA_U64, },
};

/* Global operation policy for holdfast */
const struct nla_policy holdfast_nl_policy[HOLDFAST_A_EXCLUDE + 1] = {
	[HOLDFAST_A_TREE_ID] = { .type = NLA_U32, },
	[HOLDFAST_A_ROOT_FD] = { .type = NLA_U32, },
	[HOLDFAST_A_FILE] = { .type = NLA_BINARY, },
	[HOLDFAST_A_RESOURCE] = { .type = NLA_NUL_STRING, .len = 255, },
	[HOLDFAST_A_PATH] = { .type = NLA_BINARY, },
	[HOLDFAST_A_CONSUMER] = { .type = NLA_NUL_STRING, .len = 63, },
	[HOLDFAST_A_DIR_FD] = { .type = NLA_U32, },
	[HOLDFAST_A_ACK] = NLA_POLICY_NESTED(holdfast_ack_nl_policy),
	[HOLDFAST_A_EXCLUDE] = NLA_POLICY_MAX(NLA_U32, 1),
};

/* Ops table for holdfast */
const struct genl_small_ops holdfast_nl_ops[9] = {
	{
		.cmd	= HOLDFAST_CMD_VERSION_GET,
		.doit	= holdfast_nl_version_get_doit,
		.flags	= GENL_ADMIN_PERM,
	},
	{
		.cmd	= HOLDFAST_CMD_TREE_ADD,
		.doit	= holdfast_nl_tree_add_doit,
		.flags	= GENL_ADMIN_PERM,
	},
	{
		.cmd	= HOLDFAST_CMD_TREE_DEL,
		.doit	= holdfast_nl_tree_del_doit,
		.flags	= GENL_ADMIN_PERM,
	},
	{
		.cmd	= HOLDFAST_CMD_TREE_GET,
		.doit	= holdfast_nl_tree_get_doit,
		.dumpit	= holdfast_nl_tree_get_dumpit,
		.flags	= GENL_ADMIN_PERM,
	},
	{
		.cmd	= HOLDFAST_CMD_MARK,
		.doit	= holdfast_nl_mark_doit,
		.flags	= GENL_ADMIN_PERM,
	},
	{
		.cmd	= HOLDFAST_CMD_BARRIER,
		.doit	= holdfast_nl_barrier_doit,
		.flags	= GENL_ADMIN_PERM,
	},
	{
		.cmd	= HOLDFAST_CMD_DIRTY_GET,
		.dumpit	= holdfast_nl_dirty_get_dumpit,
		.flags	= GENL_ADMIN_PERM,
	},
	{
		.cmd	= HOLDFAST_CMD_ACK,
		.doit	= holdfast_nl_ack_doit,
		.flags	= GENL_ADMIN_PERM,
	},
	{
		.cmd	= HOLDFAST_CMD_EXCLUDE,
		.doit	= holdfast_nl_exclude_doit,
		.flags	= GENL_ADMIN_PERM,
	},
};

static const struct genl_multicast_group holdfast_nl_mcgrps[] = {
	[HOLDFAST_NLGRP_CHANGES] = { "changes", },
};
