/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations of changes.c on names and attributes. */
#ifndef CHANGES_NAMES_H
#define CHANGES_NAMES_H

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include "changes.h"

/* what is there before */

static void a_dir(void)
{
	must(mkdir("d", 0755), "d");
}

static void a_dir_outside(void)
{
	must(mkdir(out("d"), 0755), "d");
	must(mkdir(out("d/e"), 0755), "e");
}

static void a_file_and_a_dir(void)
{
	a_file();
	a_dir();
}

static void two_names(void)
{
	a_file();
	must(link("f", "g"), "g");
}

static void one_in_one_out(void)
{
	make("f");
	make(out("f"));
}

static void a_symlink(void)
{
	must(symlink("nowhere", "f"), "f");
}

static void an_xattr(void)
{
	a_file();
	/* where there are none the operation says so */
	if (setxattr("f", "user.a", "b", 1, 0) && errno != EOPNOTSUPP)
		die("user.a", errno);
}

/* names */

static int do_create(void)
{
	fd[0] = open("f", O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return done(fd[0]);
}

static int do_create_written(void)
{
	make("f");
	return 0;
}

static int do_mkdir(void)
{
	return done(mkdir("d", 0755));
}

static int do_rmdir(void)
{
	return done(rmdir("d"));
}

static int do_symlink(void)
{
	return done(symlink("nowhere", "f"));
}

static int do_fifo(void)
{
	return done(mkfifo("f", 0600));
}

static int do_device(void)
{
	return done(mknod("f", S_IFCHR | 0600, makedev(1, 3)));
}

static int do_socket(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "f" };

	fd[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return done(bind(fd[0], (struct sockaddr *)&a, sizeof(a)));
}

static int do_link(void)
{
	return done(link("f", "g"));
}

static int do_link_in(void)
{
	return done(link(out("f"), "f"));
}

static int do_unlink(void)
{
	return done(unlink("f"));
}

static int do_rename(void)
{
	return done(rename("f", "g"));
}

static int do_rename_dir(void)
{
	return done(rename("d", "e"));
}

static int do_rename_out(void)
{
	return done(rename("f", out("f")));
}

static int do_rename_dir_out(void)
{
	return done(rename("d", out("d")));
}

static int do_rename_in(void)
{
	return done(rename(out("f"), "f"));
}

static int do_rename_dir_in(void)
{
	return done(rename(out("d"), "d"));
}

static int do_exchange(void)
{
	return done(renameat2(AT_FDCWD, "f", AT_FDCWD, "g", RENAME_EXCHANGE));
}

static int do_exchange_dir(void)
{
	return done(renameat2(AT_FDCWD, "f", AT_FDCWD, "d", RENAME_EXCHANGE));
}

static int do_exchange_border(void)
{
	return done(renameat2(AT_FDCWD, "f", AT_FDCWD, out("f"), RENAME_EXCHANGE));
}

static int do_whiteout(void)
{
	return done(renameat2(AT_FDCWD, "f", AT_FDCWD, "g", RENAME_WHITEOUT));
}

static int do_whiteout_out(void)
{
	return done(renameat2(AT_FDCWD, "f", AT_FDCWD, out("f"), RENAME_WHITEOUT));
}

/* descriptors of what had another name, or none; written to later */

static int give_name(const char *name)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd[0]);
	return linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
}

static void tmpfile_in(const char *dir)
{
	fd[0] = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	must(fd[0], "O_TMPFILE");
	must(write(fd[0], page(), 4096), "O_TMPFILE");
}

static void a_tmpfile(void)
{
	tmpfile_in(".");
}

static void a_tmpfile_outside(void)
{
	tmpfile_in(out("."));
}

static int do_name_tmpfile(void)
{
	return done(give_name("f"));
}

static void a_named_tmpfile(void)
{
	a_tmpfile();
	must(give_name("f"), "linkat");
}

static void a_tmpfile_from_outside(void)
{
	a_tmpfile_outside();
	must(give_name("f"), "linkat");
}

static void one_name_gone(void)
{
	two_names();
	fd[0] = open("f", O_RDWR | O_CLOEXEC);
	must(fd[0], "f");
	must(unlink("f"), "f");
}

static void one_renamed_over(void)
{
	one_name_gone();
	make("h");
	make("f");
	must(rename("h", "f"), "h");
}

static void one_moved_away(void)
{
	an_open_file();
	must(rename("f", "g"), "g");
}

/* the name by which it was opened was never in the tree */
static void one_name_gone_outside(void)
{
	make(out("f"));
	must(link(out("f"), "f"), "f");
	fd[0] = open(out("f"), O_RDWR | O_CLOEXEC);
	must(fd[0], "f");
	must(unlink(out("f")), "f");
}

static void drop_names(void)
{
	sync();
	put("/proc/sys/vm/drop_caches", "2");
}

/* only the disk knows the name that is left */
static void one_name_forgotten(void)
{
	two_names();
	drop_names();
	fd[0] = open("f", O_RDWR | O_CLOEXEC);
	must(fd[0], "f");
	must(unlink("f"), "f");
}

static void a_name_outside(void)
{
	a_file();
	must(link("f", out("g")), "g");
	fd[0] = open(out("g"), O_RDWR | O_CLOEXEC);
	must(fd[0], "g");
}

/* attributes */

static int do_chmod(void)
{
	return done(chmod("f", 0600));
}

static int do_chmod_dir(void)
{
	return done(chmod("d", 0700));
}

static int do_chmod_root(void)
{
	return done(chmod("..", 0751));
}

static int do_chmod_outside(void)
{
	return done(fchmod(fd[0], 0600));
}

static int do_chown(void)
{
	return done(chown("f", 1, 1));
}

static int do_lchown(void)
{
	return done(lchown("f", 1, 1));
}

static int do_times(void)
{
	struct timespec t[2] = { { 1, 0 }, { 2, 0 } };

	return done(utimensat(AT_FDCWD, "f", t, 0));
}

static int do_setxattr(void)
{
	return done(setxattr("f", "user.a", "b", 1, 0));
}

static int do_trusted(void)
{
	return done(setxattr("f", "trusted.a", "b", 1, 0));
}

static int do_removexattr(void)
{
	return done(removexattr("f", "user.a"));
}

static int set_acl(const char *path, const char *name)
{
	struct {
		struct posix_acl_xattr_header h;
		struct posix_acl_xattr_entry e[5];
	} acl = {
		{ POSIX_ACL_XATTR_VERSION },
		{ { ACL_USER_OBJ, 6, -1 }, { ACL_USER, 6, 1000 }, { ACL_GROUP_OBJ, 4, -1 },
		  { ACL_MASK, 6, -1 }, { ACL_OTHER, 4, -1 } },
	};

	return done(setxattr(path, name, &acl, sizeof(acl), 0));
}

static int do_acl(void)
{
	return set_acl("f", "system.posix_acl_access");
}

static int do_default_acl(void)
{
	return set_acl("d", "system.posix_acl_default");
}

static int do_capability(void)
{
	struct vfs_cap_data cap = {
		.magic_etc = VFS_CAP_REVISION_2,
		.data = { { 1U << CAP_NET_BIND_SERVICE, 0 } },
	};

	return done(setxattr("f", "security.capability", &cap, sizeof(cap), 0));
}

static int do_label(void)
{
	static const char label[] = "system_u:object_r:etc_t:s0";

	return done(setxattr("f", "security.selinux", label, sizeof(label), 0));
}

static int do_chattr(void)
{
	int flags = 0;

	if (ioctl(fd[0], FS_IOC_GETFLAGS, &flags))
		return errno;
	flags |= FS_NODUMP_FL;
	return done(ioctl(fd[0], FS_IOC_SETFLAGS, &flags));
}

static int do_fsxattr(void)
{
	struct fsxattr x;

	if (ioctl(fd[0], FS_IOC_FSGETXATTR, &x))
		return errno;
	x.fsx_xflags |= FS_XFLAG_NOATIME;
	return done(ioctl(fd[0], FS_IOC_FSSETXATTR, &x));
}

#endif
