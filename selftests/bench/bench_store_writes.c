// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_store_writes DEVICE WORKDIR
 *
 * What the block device DEVICE, which is formatted, is told to write for the contents that
 * change: bytes and requests as its own counters have them. NAME CHANGED WRITTEN REQUESTS COMMITS.
 */
#include "bench_store.h"
#include <sys/sysmacros.h>

#define FILES 1000u

static struct hf_log *l;
static uint8_t text[1 << 20];

/* completed write requests, a flush is one, and bytes */
static void counters(uint64_t *requests, uint64_t *bytes)
{
	unsigned long long n, sectors;
	struct stat sb;
	char path[64];
	FILE *f;

	if (stat(dev, &sb) || !S_ISBLK(sb.st_mode)) {
		fprintf(stderr, "%s is no block device\n", dev);
		exit(1);
	}
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(sb.st_rdev), minor(sb.st_rdev));
	f = fopen(path, "r");
	if (!f || fscanf(f, "%*u %*u %*u %*u %llu %*u %llu", &n, &sectors) != 2) {
		fprintf(stderr, "%s cannot be read\n", path);
		exit(1);
	}
	fclose(f);
	*requests = n;
	*bytes = sectors * 512;
}

/* @commits of @files with @size bytes each; @bases: where one is due */
static void run(const char *name, unsigned commits, unsigned files, size_t size, bool bases)
{
	uint64_t n[2], b[2];

	counters(&n[0], &b[0]);
	for (unsigned i = 0; i < commits; i++) {
		for (unsigned k = 0; k < files; k++) {
			fill(text, size);
			put_file(l, (i * files + k) % FILES, text, size);
		}
		commit(l);
		if (bases && hf_log_wants_base(l))
			must(hf_log_base(l, 0, &err));
	}
	counters(&n[1], &b[1]);
	printf("%s %llu %llu %llu %u\n", name, (unsigned long long)commits * files * size,
	       (unsigned long long)(b[1] - b[0]), (unsigned long long)(n[1] - n[0]), commits);
}

int main(int argc, char **argv)
{
	struct hf_logid lid;

	if (argc != 3) {
		fprintf(stderr, "usage: bench_store_writes DEVICE WORKDIR\n");
		return 2;
	}
	dev = argv[1];
	work = argv[2];
	setup(16);
	logid(&lid, 0);
	must(hf_log_claim(st, &lid, 0, &l, &err));
	run("seed", 1, FILES, 2048, false);
	must(hf_log_base(l, 0, &err));
	run("one-small", 1000, 1, 2048, false);
	run("ten-small", 200, 10, 2048, false);
	run("one-large", 20, 1, 1u << 20, false);
	must(hf_log_base(l, 0, &err));
	run("thousand", 5, FILES, 8192, false);
	must(hf_log_base(l, 0, &err));
	run("one-small-bases", 5000, 1, 2048, true);
	hf_log_close(l);
	close_store();
	return 0;
}
