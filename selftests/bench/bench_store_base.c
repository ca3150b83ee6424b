// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_store_base DEVICE SCRATCH WORKDIR ENTRIES SIZE ROUNDS
 *
 * How long a commit has to wait for a base of a log with ENTRIES files of SIZE bytes: for one
 * part of the contents, which are copied when a node has taken the log over; then, ROUNDS times with a few commits
 * between, for one part of the records of the base, each followed by a commit, and for what is left
 * in the end.
 *
 * The log is made in the file SCRATCH and copied to DEVICE, which is overwritten. Times are in nanoseconds.
 */
#include "bench_store.h"
#include "log_int.h"

#define PART (2u << 20)		/* as the daemon does */
#define PARTS 4096u
#define COMMITS 200u

static void make(const struct hf_logid *lid, unsigned entries, uint8_t *text, size_t size)
{
	struct hf_log *l;

	must(hf_log_claim(st, lid, 0, &l, &err));
	for (unsigned i = 0; i < entries; i++) {
		fill(text, size);
		put_file(l, i, text, size);
		if (i % 100 == 99 || i + 1 == entries)
			commit(l);
	}
	must(hf_log_base(l, 0, &err));
	must(hf_log_note(l, &err));
	hf_log_close(l);
}

static void change(struct hf_log *l, unsigned n, uint8_t *text, size_t size)
{
	fill(text, size);
	put_file(l, n, text, size);
}

/* Another node of the same store. */
static void other_node(void)
{
	char path[4096];

	close_store();
	close(lock_fd);
	must(hf_disk_take_slot(dev, keys, NULL, "other", &id, &err));
	snprintf(path, sizeof(path), "%s/lock-other", work);
	lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock_fd < 0 || flock(lock_fd, LOCK_EX | LOCK_NB))
		must(-errno);
	open_store();
}

static void say(const char *what, uint64_t *v, size_t n)
{
	printf("%s %zu %llu %llu\n", what, n, (unsigned long long)quantile(v, n, 500),
	       (unsigned long long)quantile(v, n, 999));
}

int main(int argc, char **argv)
{
	static uint64_t part[PARTS], once[COMMITS * 64], made[PARTS * 64], base[64];
	unsigned entries, rounds;
	size_t size, n = 0, done = 0, records = 0;
	struct hf_logid lid;
	struct hf_log *l;
	uint8_t *text;
	uint64_t t;
	int more;

	if (argc != 7 || (rounds = (unsigned)strtoul(argv[6], NULL, 10)) > 64) {
		fprintf(stderr, "usage: bench_store_base DEVICE SCRATCH WORKDIR ENTRIES SIZE ROUNDS   (ROUNDS: 64 at most)\n");
		return 2;
	}
	dev = argv[2];
	work = argv[3];
	entries = (unsigned)strtoul(argv[4], NULL, 10);
	size = strtoul(argv[5], NULL, 10);
	text = malloc(size);
	if (!text)
		must(-ENOMEM);
	setup(16);
	logid(&lid, 0);
	make(&lid, entries, text, size);
	move_to(argv[1]);
	other_node();
	must(hf_log_claim(st, &lid, HF_CLAIM_FENCED, &l, &err));
	do {
		t = hf_now_ns();
		more = hf_log_base_part(l, PART, &err);
		part[n++] = hf_now_ns() - t;
	} while (more == 1 && !l->make && n < PARTS);
	must(more < 0 ? more : 0);
	must(hf_log_base(l, 0, &err));
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned i = 0; i < COMMITS; i++) {
			change(l, (r * COMMITS + i) % entries, text, size);
			t = hf_now_ns();
			commit(l);
			once[done++] = hf_now_ns() - t;
		}
		for (;;) {
			t = hf_now_ns();
			more = hf_log_base_part(l, PART, &err);
			if (more != 1 || records == HF_ARRAY(made))
				break;
			made[records++] = hf_now_ns() - t;
			change(l, next_random() % entries, text, size);
			commit(l);
		}
		must(more < 0 ? more : 0);
		must(hf_log_base(l, 0, &err));
		base[r] = hf_now_ns() - t;
	}
	hf_log_close(l);
	say("part", part, n);
	say("made", made, records);
	say("base", base, rounds);
	say("alone", once, done);
	close_store();
	free(text);
	return 0;
}
