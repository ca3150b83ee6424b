/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between netlink.c, the family and its requests, and netlink_change.c, how
 * changes are dumped and told.
 */
#ifndef HF_NETLINK_H
#define HF_NETLINK_H

#include <net/genetlink.h>
#include "netlink_gen.h"

extern struct genl_family hf_family;

/**
 * hf_netlink_tree() - the tree of a request that takes nothing else, or has
 * everything that it takes
 * Return: with a reference; ERR_PTR with @extack filled
 */
struct hf_tree *hf_netlink_tree(struct nlattr **attrs, struct netlink_ext_ack *extack, u8 cmd);

#endif
