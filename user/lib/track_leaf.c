// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Whether a directory need be read to know which directories are in it. Most are leaves, and reading
 * them is most of what marking a tree costs.
 *
 * Who asks has marked the directory before. One that comes into it raises its number of links first
 * and is reported then, so it is either counted here or reported.
 */
#include "track_int.h"
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* A directory of ext4 with more than it can count says 1, and for a moment 2 while one more comes: it is far larger. */
#define MANY_BYTES (512 << 10)

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

bool hf_links_tell(int fd)
{
	struct statfs st;

	if (fstatfs(fd, &st))
		return false;
	/* ext4's is that of ext2 and ext3, too */
	return st.f_type == EXT4_SUPER_MAGIC || st.f_type == XFS_SUPER_MAGIC || st.f_type == TMPFS_MAGIC;
}

bool hf_is_leaf(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_nlink == 2 && st.st_size < MANY_BYTES;
}
