/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/holdfast.yaml */
/* YNL-GEN uapi header */

#ifndef _UAPI_LINUX_HOLDFAST_H
#define _UAPI_LINUX_HOLDFAST_H

#define HOLDFAST_FAMILY_NAME	"holdfast"
#define HOLDFAST_FAMILY_VERSION	1

#define HOLDFAST_ABI	1

/**
 * enum holdfast_tree_flag
 * @HOLDFAST_TREE_FLAG_LOST: The root was unmounted or deleted. Nothing is
 *   noted any more; never to be taken for an empty tree.
 * @HOLDFAST_TREE_FLAG_MOVED: The root was renamed since it was added.
 * @HOLDFAST_TREE_FLAG_COARSE: Not every directory could be marked; the tree is
 *   to be scanned.
 * @HOLDFAST_TREE_FLAG_ATTACHED: There is a consumer.
 * @HOLDFAST_TREE_FLAG_RESUMED: In the reply to tree-add only. The tree was
 *   there, and nothing was missed since.
 * @HOLDFAST_TREE_FLAG_EXCLUDING: Changes by one process are left out at the
 *   moment.
 * @HOLDFAST_TREE_FLAG_STORES: Stores to shared mappings are noted.
 */
enum holdfast_tree_flag {
	HOLDFAST_TREE_FLAG_LOST = 1,
	HOLDFAST_TREE_FLAG_MOVED = 2,
	HOLDFAST_TREE_FLAG_COARSE = 4,
	HOLDFAST_TREE_FLAG_ATTACHED = 8,
	HOLDFAST_TREE_FLAG_RESUMED = 16,
	HOLDFAST_TREE_FLAG_EXCLUDING = 32,
	HOLDFAST_TREE_FLAG_STORES = 64,
};

/**
 * enum holdfast_quality - What a tree can be known by.
 * @HOLDFAST_QUALITY_EVENTS: What changes is noted.
 * @HOLDFAST_QUALITY_SCAN: Changes come that nobody notes: the tree is coarse,
 *   or others change the filesystem (a network's, FUSE, an overlay's layers).
 *   It is to be scanned.
 */
enum holdfast_quality {
	HOLDFAST_QUALITY_EVENTS,
	HOLDFAST_QUALITY_SCAN,
};

/**
 * enum holdfast_op - What happened to a name since it became dirty.
 */
enum holdfast_op {
	HOLDFAST_OP_CREATE = 1,
	HOLDFAST_OP_MODIFY = 2,
	HOLDFAST_OP_CLOSE_WRITE = 4,
	HOLDFAST_OP_ATTRIB = 8,
	HOLDFAST_OP_DELETE = 16,
	HOLDFAST_OP_MOVED_FROM = 32,
	HOLDFAST_OP_MOVED_TO = 64,
};

/**
 * enum holdfast_state
 * @HOLDFAST_STATE_SUBTREE: Everything at and below the name is to be scanned,
 *   its directories marked before.
 * @HOLDFAST_STATE_OPEN: Written, and not closed yet as far as is known.
 * @HOLDFAST_STATE_MAPPED: Mapped by somebody who may write to it, where no
 *   store can be seen (tmpfs): noted again by each barrier, as it may have
 *   changed.
 */
enum holdfast_state {
	HOLDFAST_STATE_SUBTREE = 1,
	HOLDFAST_STATE_OPEN = 2,
	HOLDFAST_STATE_MAPPED = 4,
};

enum {
	HOLDFAST_A_PAD = 1,
	HOLDFAST_A_TREE_ID,
	HOLDFAST_A_ROOT_FD,
	HOLDFAST_A_FILE,
	HOLDFAST_A_RESOURCE,
	HOLDFAST_A_PATH,
	HOLDFAST_A_CONSUMER,
	HOLDFAST_A_TREE_FLAGS,
	HOLDFAST_A_SEQ,
	HOLDFAST_A_DIRTY,
	HOLDFAST_A_MARKS,
	HOLDFAST_A_SINCE,
	HOLDFAST_A_DEVICE,
	HOLDFAST_A_INODE,
	HOLDFAST_A_DIR_FD,
	HOLDFAST_A_ACK,
	HOLDFAST_A_EXCLUDE,
	HOLDFAST_A_NUMBER,
	HOLDFAST_A_CHANGE,
	HOLDFAST_A_VERSION,
	HOLDFAST_A_ABI,
	HOLDFAST_A_TREES,
	HOLDFAST_A_DIRTY_BYTES,
	HOLDFAST_A_DIRTY_MAX,
	HOLDFAST_A_MARKS_MAX,
	HOLDFAST_A_QUALITY,
	HOLDFAST_A_STORES,

	__HOLDFAST_A_MAX,
	HOLDFAST_A_MAX = (__HOLDFAST_A_MAX - 1)
};

enum {
	HOLDFAST_A_CHANGE_PAD = 1,
	HOLDFAST_A_CHANGE_ID,
	HOLDFAST_A_CHANGE_SEQ,
	HOLDFAST_A_CHANGE_OPS,
	HOLDFAST_A_CHANGE_STATE,
	HOLDFAST_A_CHANGE_PATH,
	HOLDFAST_A_CHANGE_PID,
	HOLDFAST_A_CHANGE_UID,
	HOLDFAST_A_CHANGE_LOGINUID,
	HOLDFAST_A_CHANGE_COMM,
	HOLDFAST_A_CHANGE_SINCE,

	__HOLDFAST_A_CHANGE_MAX,
	HOLDFAST_A_CHANGE_MAX = (__HOLDFAST_A_CHANGE_MAX - 1)
};

enum {
	HOLDFAST_A_ACK_PAD = 1,
	HOLDFAST_A_ACK_ID,
	HOLDFAST_A_ACK_SEQ,

	__HOLDFAST_A_ACK_MAX,
	HOLDFAST_A_ACK_MAX = (__HOLDFAST_A_ACK_MAX - 1)
};

enum {
	HOLDFAST_CMD_VERSION_GET = 1,
	HOLDFAST_CMD_TREE_ADD,
	HOLDFAST_CMD_TREE_DEL,
	HOLDFAST_CMD_TREE_GET,
	HOLDFAST_CMD_MARK,
	HOLDFAST_CMD_BARRIER,
	HOLDFAST_CMD_DIRTY_GET,
	HOLDFAST_CMD_ACK,
	HOLDFAST_CMD_EXCLUDE,
	HOLDFAST_CMD_CHANGE_NTF,

	__HOLDFAST_CMD_MAX,
	HOLDFAST_CMD_MAX = (__HOLDFAST_CMD_MAX - 1)
};

#define HOLDFAST_MCGRP_CHANGES	"changes"

#endif /* _UAPI_LINUX_HOLDFAST_H */
