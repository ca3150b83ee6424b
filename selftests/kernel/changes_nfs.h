/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Operations of changes.c by the kernel's NFS server, for a client in the same
 * machine. What exportfs and mountd would tell the server it is told here: who
 * 127.0.0.1 is, and that the root of its exports is the tree.
 */
#ifndef CHANGES_NFS_H
#define CHANGES_NFS_H

#include <sys/mount.h>
#include <sys/xattr.h>
#include "changes.h"
#include "changes_async.h"
#include "changes_data.h"

#define NFSD "/proc/fs/nfsd/threads"
#define CACHE "/proc/net/rpc/"
#define FOREVER "4000000000"
/* async, no_subtree_check, fsid=; NFSEXP_ of the kernel's export.h */
#define EXPORT_FLAGS (0x10 | 0x400 | 0x2000)

static bool nfs_mounted;

static void nfs_export(void)
{
	char line[PATH_MAX + 100];

	put(CACHE "auth.unix.ip/channel", "nfsd 127.0.0.1 " FOREVER " us\n");
	snprintf(line, sizeof(line), "us %s/tree " FOREVER " %d 65534 65534 0\n", mounted,
		 EXPORT_FLAGS);
	put(CACHE "nfsd.export/channel", line);
	snprintf(line, sizeof(line), "us 1 \\x00000000 " FOREVER " %s/tree\n", mounted);
	put(CACHE "nfsd.fh/channel", line);
}

/* It forgets what it was told, and then closes the files that it keeps. */
static void nfs_forget(void)
{
	put(CACHE "nfsd.fh/flush", "1\n");
	put(CACHE "nfsd.export/flush", "1\n");
	put(CACHE "auth.unix.ip/flush", "1\n");
}

static const char *nfs(const char *name)
{
	static char buf[2][PATH_MAX + 100];
	static int next;

	next = !next;
	snprintf(buf[next], sizeof(buf[next]), "%s/nfs/%d/%s", mounted, number, name);
	return buf[next];
}

static void nfs_file(void)
{
	static char point[PATH_MAX + 8];

	a_file();
	nfs_export();
	if (nfs_mounted)
		return;
	snprintf(point, sizeof(point), "%s/nfs", mounted);
	must(mkdir(point, 0755), point);
	must(mount("127.0.0.1:/", point, "nfs4", 0,
		   "vers=4.2,sec=sys,addr=127.0.0.1,clientaddr=127.0.0.1"), "mount nfs4");
	nfs_mounted = true;
}

static void nfs_written(void)
{
	nfs_forget();
	was_open = true;
	wait_closed();
}

static void nfs_unmount(void)
{
	if (!nfs_mounted)
		return;
	must(umount("nfs"), "umount");
	nfs_mounted = false;
	nfs_forget();
}

static int nfs_create(void)
{
	fd[0] = open(nfs("n"), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return done(fd[0]);
}

static void nfs_open(void)
{
	fd[0] = open(nfs("f"), O_RDWR | O_CLOEXEC);
	must(fd[0], "f");
}

static int nfs_write(void)
{
	nfs_open();
	must(write(fd[0], "1", 1), "f");
	return done(fsync(fd[0]));
}

static int nfs_truncate(void)
{
	return done(truncate(nfs("f"), 1));
}

static int nfs_allocate(void)
{
	nfs_open();
	return do_allocate();
}

static int nfs_chmod(void)
{
	return done(chmod(nfs("f"), 0600));
}

static int nfs_setxattr(void)
{
	return done(setxattr(nfs("f"), "user.a", "b", 1, 0));
}

static int nfs_rename(void)
{
	return done(rename(nfs("f"), nfs("g")));
}

static int nfs_link(void)
{
	return done(link(nfs("f"), nfs("g")));
}

static int nfs_unlink(void)
{
	return done(unlink(nfs("f")));
}

static int nfs_mkdir(void)
{
	return done(mkdir(nfs("d"), 0755));
}

#endif
