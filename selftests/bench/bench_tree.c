// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_tree DIR FILES MEAN SEED [PERDIR [mixed]] - a tree of FILES files in directories of
 * PERDIR (100), sizes exponentially distributed around MEAN, that look like configuration.
 * mixed: 2.5 % have an extended attribute, 2.5 % an ACL, 2 % are symbolic links, 2 % other
 * names of the file before, and the last four are sparse, of 10 MiB.
 * The same seed gives the same tree. Prints the bytes of contents.
 */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SPARSE (10u << 20)

static uint64_t rng;

static uint64_t next(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

static int make_file(const char *path, size_t size)
{
	static const char *const key[] = {
		"listen_addresses", "max_connections", "ssl_cert_file", "log_line_prefix",
		"path", "browseable", "valid users", "BrowsePoll", "ServerName", "target",
	};
	FILE *f = fopen(path, "w");
	size_t done = 0;

	if (!f)
		return -errno;
	while (done < size) {
		char line[128];
		int n = snprintf(line, sizeof(line), "%s = '%016llx'\n", key[next() % 10],
				 (unsigned long long)next());

		if ((size_t)n > size - done)
			n = (int)(size - done);
		if (fwrite(line, 1, (size_t)n, f) != (size_t)n)
			break;
		done += (size_t)n;
	}
	if (fclose(f) || done < size)
		return -EIO;
	return 0;
}

/* user::rw- user:1:r-- group::r-- mask::r-- other::r-- */
static const unsigned char acl[] = {
	2, 0, 0, 0,
	0x01, 0, 6, 0, 0xff, 0xff, 0xff, 0xff,
	0x02, 0, 4, 0, 1, 0, 0, 0,
	0x04, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
	0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
	0x20, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
};

/* file @i of a mixed tree: 0 done, 1 an ordinary one, which may get something added */
static int make_other(const char *path, const char *before, unsigned i, unsigned files)
{
	const char *name = strrchr(before, '/');

	if (i + 4 >= files) {
		int ret = make_file(path, 65536);

		return ret ? ret : truncate(path, SPARSE) ? -errno : 0;
	}
	if (!name || i % 100 == 0)
		return 1;
	if (i % 50 == 11)
		return symlink(name + 1, path) ? -errno : 0;
	if (i % 50 == 21)
		return link(before, path) ? -errno : 0;
	return 1;
}

static int add_attr(const char *path, unsigned i)
{
	if (i % 40 == 6)
		return setxattr(path, "user.bench", path, strlen(path), 0) ? -errno : 0;
	if (i % 40 == 16)
		return setxattr(path, "system.posix_acl_access", acl, sizeof(acl), 0) ? -errno : 0;
	return 0;
}

int main(int argc, char **argv)
{
	unsigned files, i, per = 100;
	char before[4096] = "";
	uint64_t total = 0;
	int ret, mixed;
	double mean;

	if (argc < 5 || argc > 7 || (argc == 7 && strcmp(argv[6], "mixed"))) {
		fprintf(stderr, "usage: bench_tree DIR FILES MEAN SEED [PERDIR [mixed]]\n");
		return 2;
	}
	if (argc > 5)
		per = (unsigned)strtoul(argv[5], NULL, 10);
	mixed = argc > 6;
	files = (unsigned)strtoul(argv[2], NULL, 10);
	mean = strtod(argv[3], NULL);
	rng = 0x9e3779b97f4a7c15ull ^ (strtoull(argv[4], NULL, 10) << 20);

	for (i = 0; i < files; i++) {
		double u = ((double)(next() >> 11) + 1) / 9007199254740993.0;
		size_t size = (size_t)(-mean * log(u)) + 1;
		char path[4096];

		if (i % per == 0) {
			snprintf(path, sizeof(path), "%s/d%03u", argv[1], i / per);
			if (mkdir(path, 0755) && errno != EEXIST) {
				perror(path);
				return 1;
			}
		}
		snprintf(path, sizeof(path), "%s/d%03u/f%05u.conf", argv[1], i / per, i);
		ret = mixed ? make_other(path, before, i, files) : 1;
		if (ret == 1) {
			ret = make_file(path, size);
			if (!ret && mixed)
				ret = add_attr(path, i);
			strcpy(before, path);
			total += size;
		}
		if (ret) {
			fprintf(stderr, "%s: %s\n", path, strerror(-ret));
			return 1;
		}
	}
	printf("%llu\n", (unsigned long long)total);
	return 0;
}
