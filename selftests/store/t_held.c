// SPDX-License-Identifier: GPL-2.0-or-later
/* A log that was closed and not released is held still, as far as its row tells: its past stays, also when space is short. */
#include "store_test.h"

#define SIZE (8u << 20)

static struct node a;
static char noise[100000];

static int commit(struct hf_log *l)
{
	uint64_t gen;
	int ret = hf_log_commit(l, 0, NULL, &gen, &err);

	return ret ? ret : hf_log_confirm(l, &err);
}

static void fill(unsigned seed)
{
	for (size_t i = 0; i < sizeof(noise); i++) {
		seed = seed * 1103515245 + 12345;
		noise[i] = seed >> 16;
	}
}

/* write over all that counts as free */
static unsigned churn(void)
{
	struct hf_logid id = LOGID(2, 2);
	struct hf_log *l;
	unsigned full = 0;

	must(hf_log_claim(a.st, &id, 0, &l, &err));
	for (unsigned i = 0; i < 300; i++) {
		char key[16];

		fill(i);
		snprintf(key, sizeof(key), "k%u", i % 40);
		if (put(l, key, noise, sizeof(noise)) || commit(l)) {
			hf_log_abort(l);
			full++;
		}
		if (i % 4 == 3)
			(void)hf_log_base(l, 0, &err);
	}
	hf_log_close(l);
	return full;
}

int main(void)
{
	struct hf_logid id = LOGID(1, 1);
	struct hf_log *l;

	setup(1, SIZE, 500);
	node_make(&a, "alpha");
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	for (unsigned i = 0; i < 8; i++) {
		fill(1000 + i);
		must(put(l, "x", noise, sizeof(noise)));
		must(commit(l));
	}
	must(hf_log_base(l, 1000, &err));
	hf_log_close(l);
	is(sound(), 0, "the disk is sound");
	ok(churn(), "space gets short");
	is(sound(), 0, "the past of a log that is held is not written over, though it is not open");
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	fill(1007);
	ok(holds(l, "x", noise, sizeof(noise)), "P1: it is claimed again");
	must(hf_log_base(l, 0, &err));
	hf_log_close(l);
	(void)churn();
	is(sound(), 0, "what its owner trims is used again");
	node_close(&a);
	cleanup();
	return tap_done();
}
