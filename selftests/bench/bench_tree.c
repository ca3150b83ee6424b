// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_tree DIR FILES MEAN SEED - a tree of FILES files in directories of 100,
 * sizes exponentially distributed around MEAN, that look like configuration.
 * The same seed gives the same tree.
 */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

int main(int argc, char **argv)
{
	uint64_t total = 0;
	unsigned files, i;
	double mean;
	int ret;

	if (argc != 5) {
		fprintf(stderr, "usage: bench_tree DIR FILES MEAN SEED\n");
		return 2;
	}
	files = (unsigned)strtoul(argv[2], NULL, 10);
	mean = strtod(argv[3], NULL);
	rng = 0x9e3779b97f4a7c15ull ^ (strtoull(argv[4], NULL, 10) << 20);

	for (i = 0; i < files; i++) {
		double u = ((double)(next() >> 11) + 1) / 9007199254740993.0;
		size_t size = (size_t)(-mean * log(u)) + 1;
		char path[4096];

		if (i % 100 == 0) {
			snprintf(path, sizeof(path), "%s/d%03u", argv[1], i / 100);
			if (mkdir(path, 0755) && errno != EEXIST) {
				perror(path);
				return 1;
			}
		}
		snprintf(path, sizeof(path), "%s/d%03u/f%05u.conf", argv[1], i / 100, i);
		ret = make_file(path, size);
		if (ret) {
			fprintf(stderr, "%s: %s\n", path, strerror(-ret));
			return 1;
		}
		total += size;
	}
	printf("%llu\n", (unsigned long long)total);
	return 0;
}
