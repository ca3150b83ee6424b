// SPDX-License-Identifier: GPL-2.0-or-later
/* A disk that goes away while the daemon lives, and comes back: FAULT_DISK, as long as the file FAULT_FLAG exists. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SEEN __attribute__((visibility("default")))

static int gone(int fd)
{
	struct stat a, b;

	if (access(getenv("FAULT_FLAG"), F_OK) || fstat(fd, &a) || stat(getenv("FAULT_DISK"), &b))
		return 0;
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

SEEN ssize_t pread(int fd, void *p, size_t n, off_t off)
{
	if (gone(fd)) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, p, n, off);
}

SEEN ssize_t pwrite(int fd, const void *p, size_t n, off_t off)
{
	if (gone(fd)) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, p, n, off);
}
