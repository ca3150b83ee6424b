/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations of changes.c through mounts of other kinds, and by file handle. */
#ifndef CHANGES_LAYERS_H
#define CHANGES_LAYERS_H

#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include "changes.h"
#include "changes_nl.h"

static void watch_other(const char *dir)
{
	other = watch(dir);
	watched = &other;
}

static void no_other(void)
{
	if (watched == &other)
		forget(&other);
	watched = &tree;
}

static const char *mount_point(void)
{
	must(mkdir(out("m"), 0755), "m");
	return out("m");
}

static void unmount(void)
{
	no_other();
	must(umount(out("m")), "umount");
}

/* bind mounts */

static void a_bind_mount(void)
{
	must(mount(".", mount_point(), NULL, MS_BIND, NULL), "mount --bind");
}

static void a_tree_by_bind_mount(void)
{
	must(mkdir(out("r"), 0755), "r");
	must(mount(out("r"), mount_point(), NULL, MS_BIND, NULL), "mount --bind");
	watch_other(out("m"));
}

static int do_write_by_mount(void)
{
	make(out("m/f"));
	return 0;
}

static int do_write_below(void)
{
	make(out("r/f"));
	return 0;
}

/* overlayfs: f is in the lower directory, g in the upper one */

static void overlay(const char *where)
{
	static char options[4 * PATH_MAX], upper[PATH_MAX + 128];
	static char in_upper[PATH_MAX + 130];

	strcpy(upper, where);
	must(mkdir(upper, 0755), upper);
	must(mkdir(out("w"), 0755), "w");
	must(mkdir(out("l"), 0755), "l");
	make(out("l/f"));
	snprintf(in_upper, sizeof(in_upper), "%s/g", upper);
	make(in_upper);
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s", out("l"), upper,
		 out("w"));
	must(mount("changes", mount_point(), "overlay", 0, options), "overlay");
}

static void an_overlay(void)
{
	overlay("u");
}

static void an_overlay_written(void)
{
	overlay("u");
	fd[0] = open(out("m/g"), O_RDWR | O_CLOEXEC);
	must(fd[0], "g");
}

static void a_tree_on_overlay(void)
{
	overlay(out("u"));
	watch_other(out("m"));
}

static int overlay_create(void)
{
	fd[0] = open(out("m/n"), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return done(fd[0]);
}

static int overlay_copy_up(void)
{
	fd[0] = open(out("m/f"), O_RDWR | O_CLOEXEC);
	return done(fd[0]);
}

static int overlay_chmod(void)
{
	return done(chmod(out("m/g"), 0600));
}

static int overlay_rename(void)
{
	return done(rename(out("m/g"), out("m/h")));
}

static int overlay_unlink(void)
{
	return done(unlink(out("m/g")));
}

static int overlay_unlink_lower(void)
{
	return done(unlink(out("m/f")));
}

static int overlay_write(void)
{
	fd[0] = open(out("m/g"), O_WRONLY | O_CLOEXEC);
	must(fd[0], "g");
	return done(write(fd[0], "1", 1));
}

static int overlay_upper_write(void)
{
	fd[0] = open(out("u/g"), O_WRONLY | O_CLOEXEC);
	must(fd[0], "g");
	return done(write(fd[0], "1", 1));
}

/* a filesystem on a loop device over f */

static void run(const char *const *argv)
{
	int status = -1;
	pid_t pid = fork();

	must(pid, "fork");
	if (!pid) {
		execvp(argv[0], (char **)argv);
		_exit(127);
	}
	must(waitpid(pid, &status, 0), argv[0]);
	if (status)
		die(argv[0], EIO);
}

static void a_loop(void)
{
	static const char *const mkfs[] = { "mke2fs", "-q", "-F", "-t", "ext2", "f", NULL };
	struct loop_config c = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), file, loop, i;
	char device[32];

	file = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	must(control, "/dev/loop-control");
	must(file, "f");
	must(ftruncate(file, 4 << 20), "f");
	run(mkfs);
	i = ioctl(control, LOOP_CTL_GET_FREE);
	must(i, "LOOP_CTL_GET_FREE");
	snprintf(device, sizeof(device), "/dev/loop%d", i);
	loop = open(device, O_RDWR | O_CLOEXEC);
	must(loop, device);
	c.fd = file;
	must(ioctl(loop, LOOP_CONFIGURE, &c), "LOOP_CONFIGURE");
	must(mount(device, mount_point(), "ext2", 0, NULL), "mount ext2");
	close(loop);
	close(file);
	close(control);
}

static int do_write_in_loop(void)
{
	int f = open(out("m/x"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	must(f, "x");
	must(write(f, page(), 4096), "x");
	must(syncfs(f), "x");
	return done(close(f));
}

/* file handles */

static void open_handle(bool forgotten)
{
	union {
		struct file_handle h;
		char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u = { .h.handle_bytes = MAX_HANDLE_SZ };
	int mount_id, m = open(mounted, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	a_file();
	must(m, mounted);
	must(name_to_handle_at(AT_FDCWD, "f", &u.h, &mount_id, 0), "name_to_handle_at");
	if (forgotten)
		drop_names();
	fd[0] = open_by_handle_at(m, &u.h, O_RDWR | O_CLOEXEC);
	must(fd[0], "open_by_handle_at");
	close(m);
}

static void a_handle(void)
{
	open_handle(false);
}

static void a_forgotten_handle(void)
{
	open_handle(true);
}

#endif
