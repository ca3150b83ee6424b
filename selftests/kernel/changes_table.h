/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is expected: `changes -l` prints it, and Documentation/module.rst has it
 * word for word (scripts/check.sh seen).
 */
#ifndef CHANGES_TABLE_H
#define CHANGES_TABLE_H

#include "changes_names.h"
#include "changes_data.h"
#include "changes_async.h"
#include "changes_layers.h"
#include "changes_nfs.h"

#define ON(ext4, xfs, btrfs, tmpfs) { ext4, xfs, btrfs, tmpfs }
#define ALL ON("yy", "yy", "yy", "yy")
#define NONE ON("nn", "nn", "nn", "nn")
#define WRITTEN "f modify open"
#define ROW(WHAT, NOTED, WHERE, BEFORE, RUN) \
	{ .what = WHAT, .noted = NOTED, .on = WHERE, .before = BEFORE, .run = RUN }
#define MOUNTED(WHAT, NOTED, WHERE, BEFORE, RUN, OTHERS) \
	{ .what = WHAT, .noted = NOTED, .on = WHERE, .before = BEFORE, .run = RUN, \
	  .after = unmount, .others = OTHERS }
/* something else than this process may have it open, too */
#define LATE(WHAT, NOTED, WHERE, BEFORE, RUN) \
	{ .what = WHAT, .noted = NOTED, .on = WHERE, .before = BEFORE, .run = RUN, \
	  .after = wait_closed }
#define NFS(WHAT, NOTED, WHERE, RUN, AFTER) \
	{ .what = WHAT, .noted = NOTED, .on = WHERE, .before = nfs_file, .run = RUN, \
	  .after = AFTER, .others = true, .needs = NFSD }

static const struct row rows[] = {
	ROW("read, fsync, close", "", ALL, a_file, do_read),
	ROW("open for writing, close", "f close-write", ALL, a_file, do_open_for_writing),
	ROW("create", "f create", ALL, NULL, do_create),
	ROW("create, write, close", "f create,modify,close-write", ALL, NULL, do_create_written),
	ROW("mkdir", "d create subtree", ALL, NULL, do_mkdir),
	ROW("rmdir", "d delete", ALL, a_dir, do_rmdir),
	ROW("symlink", "f create", ALL, NULL, do_symlink),
	ROW("mknod: FIFO", "f create", ALL, NULL, do_fifo),
	ROW("mknod: device", "f create", ALL, NULL, do_device),
	ROW("bind: socket", "f create", ALL, NULL, do_socket),
	ROW("link", "g create", ALL, a_file, do_link),
	ROW("link of a file outside", "f create", ALL, a_file_outside, do_link_in),
	ROW("unlink", "f delete", ALL, a_file, do_unlink),
	ROW("unlink, another link stays", "f delete", ALL, two_names, do_unlink),
	ROW("rename", "f moved-from; g moved-to", ALL, a_file, do_rename),
	ROW("rename over another", "f moved-from; g moved-to", ALL, two_files, do_rename),
	ROW("rename: directory", "d moved-from; e moved-to subtree", ALL, a_dir, do_rename_dir),
	ROW("rename out of the tree", "f moved-from", ALL, a_file, do_rename_out),
	ROW("rename out: directory", "d moved-from", ALL, a_dir, do_rename_dir_out),
	ROW("rename into the tree", "f moved-to", ALL, a_file_outside, do_rename_in),
	ROW("rename in: directory", "d moved-to subtree", ALL, a_dir_outside, do_rename_dir_in),
	ROW("RENAME_EXCHANGE", "f moved-from,moved-to; g moved-from,moved-to", ALL, two_files,
	    do_exchange),
	ROW("RENAME_EXCHANGE: file f, directory d",
	    "d moved-from,moved-to; f moved-from,moved-to subtree", ALL, a_file_and_a_dir,
	    do_exchange_dir),
	ROW("RENAME_EXCHANGE with a file outside", "f moved-from,moved-to", ALL, one_in_one_out,
	    do_exchange_border),
	ROW("RENAME_WHITEOUT", "f moved-from; g moved-to", ALL, a_file, do_whiteout),
	ROW("RENAME_WHITEOUT out of the tree", "f moved-from", ALL, a_file, do_whiteout_out),

	ROW("chmod", "f attrib", ALL, a_file, do_chmod),
	ROW("chmod: directory", "d attrib", ALL, a_dir, do_chmod_dir),
	ROW("chmod: the root", "/ attrib", ALL, NULL, do_chmod_root),
	ROW("chown", "f attrib", ALL, a_file, do_chown),
	ROW("lchown: symlink", "f attrib", ALL, a_symlink, do_lchown),
	ROW("utimensat", "f attrib", ALL, a_file, do_times),
	ROW("setxattr: user", "f attrib", ON("yy", "yy", "yy", "-y"), a_file, do_setxattr),
	ROW("removexattr: user", "f attrib", ON("yy", "yy", "yy", "-y"), an_xattr, do_removexattr),
	ROW("setxattr: trusted", "f attrib", ALL, a_file, do_trusted),
	ROW("POSIX ACL", "f attrib", ALL, a_file, do_acl),
	ROW("POSIX default ACL", "d attrib", ALL, a_dir, do_default_acl),
	ROW("file capabilities", "f attrib", ALL, a_file, do_capability),
	ROW("security label", "f attrib", ALL, a_file, do_label),
	ROW("chattr (FS_IOC_SETFLAGS)", "f attrib", NONE, an_open_file, do_chattr),
	ROW("FS_IOC_FSSETXATTR", "f attrib", NONE, an_open_file, do_fsxattr),

	ROW("write", WRITTEN, ALL, an_open_file, do_write),
	ROW("pwritev", WRITTEN, ALL, an_open_file, do_writev),
	ROW("pwritev2: RWF_APPEND, RWF_DSYNC", WRITTEN, ALL, an_open_file, do_append),
	ROW("write: O_DIRECT", WRITTEN, ON("yy", "yy", "yy", "-y"), an_open_file, do_direct),
	ROW("close after writing", "f close-write", ALL, a_written_file, do_close),
	ROW("truncate", WRITTEN, ALL, a_file, do_truncate),
	ROW("ftruncate", WRITTEN, ALL, an_open_file, do_ftruncate),
	ROW("open: O_TRUNC", WRITTEN, ALL, a_file, do_o_trunc),
	ROW("fallocate", WRITTEN, ALL, an_open_file, do_allocate),
	ROW("fallocate: KEEP_SIZE", WRITTEN, ALL, an_open_file, do_keep_size),
	ROW("fallocate: PUNCH_HOLE", WRITTEN, ALL, an_open_file, do_punch),
	ROW("fallocate: ZERO_RANGE", WRITTEN, ON("yy", "yy", "yy", "--"), an_open_file, do_zero),
	ROW("fallocate: COLLAPSE_RANGE", WRITTEN, ON("yy", "yy", "--", "--"), an_open_file,
	    do_collapse),
	ROW("fallocate: INSERT_RANGE", WRITTEN, ON("yy", "yy", "--", "--"), an_open_file,
	    do_insert),
	ROW("fallocate: UNSHARE_RANGE", WRITTEN, ON("--", "yy", "--", "--"), an_open_file,
	    do_unshare),
	ROW("copy_file_range", WRITTEN, ALL, a_source, do_copy_range),
	ROW("sendfile", WRITTEN, ALL, a_source, do_sendfile),
	ROW("splice from a pipe", WRITTEN, ALL, a_full_pipe, do_splice),
	ROW("vmsplice, splice", WRITTEN, ALL, a_pipe, do_vmsplice),
	ROW("FICLONE", WRITTEN, ON("--", "yy", "yy", "--"), a_source, do_clone),
	ROW("FICLONERANGE", WRITTEN, ON("--", "yy", "yy", "--"), a_source, do_clone_range),
	ROW("FIDEDUPERANGE, contents stay", "", ON("--", "yy", "yy", "--"), a_source, do_dedupe),

	ROW("linkat after O_TMPFILE", "f create", ALL, a_tmpfile, do_name_tmpfile),
	ROW("linkat after O_TMPFILE outside", "f create", ALL, a_tmpfile_outside, do_name_tmpfile),
	ROW("write, opened with O_TMPFILE", WRITTEN, ALL, a_named_tmpfile, do_write),
	ROW("write, opened with O_TMPFILE outside", WRITTEN, NONE, a_tmpfile_from_outside,
	    do_write),
	ROW("write, f was renamed to g", "g modify open", ALL, one_moved_away, do_write),
	ROW("write, f was unlinked, g stays", "g modify open", ALL, one_name_gone, do_write),
	ROW("write, f was renamed over, g stays", "g modify open", ALL, one_renamed_over, do_write),
	ROW("the same, g not in the cache", "g modify open", ON("ww", "ww", "ww", "yy"),
	    one_name_forgotten, do_write),
	ROW("write, opened by a name outside", WRITTEN, NONE, a_name_outside, do_write),
	ROW("the same, that name was unlinked", WRITTEN, NONE, one_name_gone_outside, do_write),
	ROW("chmod by a name outside", "f attrib", NONE, a_name_outside, do_chmod_outside),

	LATE("io_uring: write", WRITTEN, ALL, an_open_file, ring_write),
	LATE("io_uring: write by a worker", WRITTEN, ALL, an_open_file, ring_write_async),
	LATE("io_uring: write, SQPOLL", WRITTEN, ALL, an_open_file, ring_sqpoll),
	LATE("io_uring: write, O_DIRECT", WRITTEN, ON("yy", "yy", "yy", "-y"), a_file,
	    ring_direct),
	LATE("io_uring: write, O_DIRECT, IOPOLL", WRITTEN, ON("nn", "nn", "--", "--"), a_file,
	    ring_iopoll),
	LATE("io_uring: splice", WRITTEN, ALL, a_full_pipe, ring_splice),
	LATE("io_uring: fallocate", WRITTEN, ALL, an_open_file, ring_fallocate),
	LATE("io_uring: ftruncate", WRITTEN, ON("-y", "-y", "-y", "-y"), an_open_file,
	    ring_ftruncate),
	LATE("io_uring: openat, O_TRUNC", WRITTEN, ALL, a_file, ring_open),
	LATE("io_uring: fsetxattr", "f attrib", ALL, an_open_file, ring_setxattr),
	ROW("io_uring: renameat", "f moved-from; g moved-to", ALL, a_file, ring_rename),
	ROW("io_uring: linkat", "g create", ALL, a_file, ring_link),
	ROW("io_uring: unlinkat", "f delete", ALL, a_file, ring_unlink),
	ROW("io_uring: mkdirat", "d create subtree", ALL, NULL, ring_mkdir),
	ROW("io_uring: symlinkat", "f create", ALL, NULL, ring_symlink),
	LATE("aio: write", WRITTEN, NONE, an_open_file, aio_write),
	LATE("aio: write, O_DIRECT", WRITTEN, ON("nn", "nn", "nn", "-n"), a_file, aio_direct),
	ROW("aio: close afterwards", "f close-write", ALL, aio_written, do_close),

	ROW("file handle: write", WRITTEN, ALL, a_handle, do_write),
	ROW("the same, its name not in the cache", WRITTEN, ON("nn", "nn", "nn", "yy"),
	    a_forgotten_handle, do_write),
	MOUNTED("through a bind mount", "f create,modify,close-write", ALL, a_bind_mount,
	    do_write_by_mount, false),
	MOUNTED("the tree was registered through one", "/f create,modify,close-write", ALL,
	    a_tree_by_bind_mount, do_write_below, false),
	MOUNTED("overlay on u: create", "u/n create", ALL, an_overlay, overlay_create, false),
	MOUNTED("overlay on u: write", "u/g modify open", ON("ny", "ny", "ny", "ny"),
	    an_overlay_written, do_write, false),
	MOUNTED("overlay on u: copy up", "u attrib; u/f create", ALL, an_overlay, overlay_copy_up, false),
	MOUNTED("overlay on u: chmod", "u/g attrib", ALL, an_overlay, overlay_chmod, false),
	MOUNTED("overlay on u: rename", "u/g moved-from; u/h moved-to", ALL, an_overlay,
	    overlay_rename, false),
	MOUNTED("overlay on u: unlink", "u/g delete", ALL, an_overlay, overlay_unlink, false),
	MOUNTED("overlay on u: unlink in the lower layer", "u/f moved-to", ALL,
	    an_overlay, overlay_unlink_lower, false),
	MOUNTED("overlay, registered: write through it", "/g modify open", ALL, a_tree_on_overlay,
	    overlay_write, false),
	MOUNTED("overlay, registered: write in its layer", "/g modify open", NONE,
	    a_tree_on_overlay, overlay_upper_write, false),
	MOUNTED("loop device over f", WRITTEN, ON("yn", "yn", "yn", "yn"), a_loop,
	    do_write_in_loop, true),

	NFS("nfsd: create", "n create,attrib", ALL, nfs_create, NULL),
	NFS("nfsd: write", WRITTEN, ALL, nfs_write, nfs_written),
	NFS("nfsd: truncate", WRITTEN, ALL, nfs_truncate, NULL),
	NFS("nfsd: fallocate", WRITTEN, ALL, nfs_allocate, nfs_written),
	NFS("nfsd: chmod", "f attrib", ALL, nfs_chmod, NULL),
	NFS("nfsd: setxattr", "f attrib", ON("yy", "yy", "yy", "-y"), nfs_setxattr, NULL),
	NFS("nfsd: rename", "f moved-from; g moved-to", ALL, nfs_rename, NULL),
	NFS("nfsd: link", "g create", ALL, nfs_link, NULL),
	NFS("nfsd: unlink", "f delete", ALL, nfs_unlink, NULL),
	NFS("nfsd: mkdir", "d create subtree", ALL, nfs_mkdir, NULL),
};

#define ROWS (sizeof(rows) / sizeof(*rows))

#endif
