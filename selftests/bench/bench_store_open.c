// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_store_open DEVICE OTHER SCRATCH WORKDIR RESOURCES ENTRIES
 *
 * A store of RESOURCES with ENTRIES in all: how long opening it takes; how long a claim takes
 * there and, in turn, in one with a single such resource; and the memory of the process
 * with none, one and two hundred of them open.
 *
 * The stores are made in the file SCRATCH, and copied to DEVICE and OTHER, which are overwritten. Times are in nanoseconds, memory in KiB.
 */
#include "bench_store.h"
#include <malloc.h>

#define SMALL 300u

static void make(uint32_t n, unsigned entries)
{
	struct hf_logid l;
	struct hf_log *log;
	uint8_t text[SMALL];

	logid(&l, n);
	must(hf_log_claim(st, &l, 0, &log, &err));
	for (unsigned i = 0; i < entries; i++) {
		fill(text, sizeof(text));
		put_file(log, i, text, sizeof(text));
	}
	commit(log);
	must(hf_log_base(log, 0, &err));
	/* and a few changes since */
	for (unsigned i = 0; i < 3; i++) {
		fill(text, sizeof(text));
		put_file(log, i, text, sizeof(text));
		commit(log);
	}
	must(hf_log_note(log, &err));
	hf_log_close(log);
}

#define CLAIMS 200u
static void claims(struct hf_store *among, struct hf_store *alone)
{
	static uint64_t v[2][CLAIMS];
	struct hf_logid l;
	struct hf_log *log;

	logid(&l, 0);
	for (unsigned i = 0; i < CLAIMS; i++)
		for (unsigned k = 0; k < 2; k++) {
			unsigned which = (i ^ k) & 1;
			uint64_t t = hf_now_ns();

			must(hf_log_claim(which ? alone : among, &l, 0, &log, &err));
			v[which][i] = hf_now_ns() - t;
			must(hf_log_base(log, 0, &err));
			hf_log_close(log);
		}
	printf("claim-ratio %llu\n", (unsigned long long)ratio_of(v[0], v[1], CLAIMS, 10));
	for (unsigned k = 0; k < 2; k++)
		printf("claim-%s %llu %llu\n", k ? "alone" : "among",
		       (unsigned long long)quantile(v[k], CLAIMS, 500),
		       (unsigned long long)quantile(v[k], CLAIMS, 990));
}

static void opens(const char *name, unsigned times)
{
	uint64_t v[16];

	for (unsigned i = 0; i < times; i++) {
		uint64_t t;

		close_store();
		t = hf_now_ns();
		open_store();
		v[i] = hf_now_ns() - t;
	}
	printf("%s %llu %llu\n", name, (unsigned long long)quantile(v, times, 500),
	       (unsigned long long)quantile(v, times, 999));
}

static void memories(unsigned each)
{
	static const unsigned at[] = { 0, 100, 200 };
	static struct hf_log *log[200];
	unsigned n = 0;

	for (size_t i = 0; i < HF_ARRAY(at); i++) {
		for (; n < at[i]; n++) {
			struct hf_logid l;
			uint8_t text[SMALL];

			logid(&l, n);
			must(hf_log_claim(st, &l, 0, &log[n], &err));
			fill(text, sizeof(text));
			put_file(log[n], n, text, sizeof(text));
			commit(log[n]);
		}
		malloc_trim(0);
		printf("memory %u %llu\n", n, (unsigned long long)memory("VmRSS"));
	}
	while (n--)
		hf_log_close(log[n]);
	printf("each %u\n", each);
}

int main(int argc, char **argv)
{
	struct hf_identity other;
	struct hf_store *alone;
	unsigned resources, entries;

	if (argc != 7) {
		fprintf(stderr, "usage: bench_store_open DEVICE OTHER SCRATCH WORKDIR RESOURCES ENTRIES\n");
		return 2;
	}
	work = argv[4];
	resources = (unsigned)strtoul(argv[5], NULL, 10);
	entries = (unsigned)strtoul(argv[6], NULL, 10) / resources;
	dev = argv[3];
	setup(resources);
	make(0, entries);
	move_to(argv[2]);
	alone = st;
	dev = argv[3];
	setup(resources);
	for (uint32_t i = 0; i < resources; i++)
		make(i, entries);
	move_to(argv[1]);
	claims(st, alone);
	alone->ops->close(alone);
	opens("open", 9);
	memories(entries);
	close_store();
	/* a node that has nothing here meets all of it as well */
	must(hf_disk_take_slot(dev, keys, NULL, "other", &other, &err));
	id = other;
	open_store();
	opens("open-other", 9);
	close_store();
	return 0;
}
