// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_scan DIR - getdents and statx of all that is in DIR, which is the least that
 * tells whether something differs. Prints how many there are and the microseconds.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t entries;

static void scan(int fd, const char *name)
{
	char buf[32768];
	long n;

	while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < n; ) {
			struct dirent64 *d = (struct dirent64 *)(buf + at);
			struct statx stx;
			int sub;

			at += d->d_reclen;
			if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
				continue;
			entries++;
			if (statx(fd, d->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stx))
				goto failed;
			if (!S_ISDIR(stx.stx_mode))
				continue;
			sub = openat(fd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (sub < 0)
				goto failed;
			scan(sub, d->d_name);
			close(sub);
		}
	}
	if (!n)
		return;
failed:
	fprintf(stderr, "bench_scan: in %s: %s\n", name, strerror(errno));
	exit(1);
}

int main(int argc, char **argv)
{
	struct timespec a, b;
	int fd;

	if (argc != 2) {
		fprintf(stderr, "usage: bench_scan DIR\n");
		return 2;
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	scan(fd, argv[1]);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%llu %lld\n", (unsigned long long)entries,
	       ((long long)(b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec) / 1000);
	return 0;
}
