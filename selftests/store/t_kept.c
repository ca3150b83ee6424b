// SPDX-License-Identifier: GPL-2.0-or-later
/* What is kept of the past can be read, although what was before it is gone. */
#include "store_test.h"
#include "disk_int.h"

static struct node a, b;
static char *noise;
#define NOISE (1u << 20)
#define PIECE (192u << 10)	/* three chunks */

static void fill(char *p, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		p[i] = seed >> 56;
	}
}

static struct hf_log *claim(struct node *n, const struct hf_logid *id)
{
	struct hf_log *l;

	must(hf_log_claim(n->st, id, HF_CLAIM_FENCED, &l, &err));
	return l;
}

static int commit(struct hf_log *l)
{
	uint64_t gen;
	int ret = hf_log_commit(l, 0, NULL, &gen, &err);

	if (ret)
		hf_log_abort(l);
	return ret ? ret : hf_log_confirm(l, &err);
}


/* generation g has g in "x" */
static void steps(struct hf_log *l, int n)
{
	char v[24];

	while (n--) {
		snprintf(v, sizeof(v), "%llu", (unsigned long long)hf_log_gen(l) + 1);
		must(put(l, "x", v, strlen(v)));
		must(commit(l));
	}
}

static int readable(const struct hf_logid *id, uint64_t gen)
{
	struct hf_log *l;
	char v[24];
	int good;

	snprintf(v, sizeof(v), "%llu", (unsigned long long)gen);
	if (hf_log_read(b.st, id, gen, &l, &err))
		return 0;
	good = hf_log_gen(l) == gen && holds(l, "x", v, strlen(v));
	hf_log_close(l);
	return good;
}

static int seen_first;
static int note_first(void *ctx, const struct hf_gen_info *g)
{
	if (!seen_first)
		seen_first = g->gen;
	return 0;
}

int main(void)
{
	struct hf_logid id = LOGID(1, 1), other = LOGID(2, 2);
	struct hf_log *l;
	int n = 0;

	noise = malloc(NOISE);
	setup(2, 16u << 20, 1000);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	l = claim(&a, &id);
	steps(l, 5);
	must(hf_log_base(l, 1000, &err));
	hf_log_close(l);
	l = claim(&b, &id);
	for (int i = 0; i < 3; i++) {
		steps(l, 5);
		must(hf_log_base(l, 1000, &err));
	}
	hf_log_close(l);
	/* the rule becomes a shorter one: it wants what begins with a base in the middle of an epoch */
	l = claim(&b, &id);
	steps(l, 5);
	must(hf_log_base(l, 12, &err));
	area_collect(disk_of(a.st));
	hf_log_close(l);
	l = claim(&a, &other);
	for (int i = 0; i < 60; i++) {	/* over whatever counts as free */
		fill(noise, NOISE / 4, i);
		must(put(l, "n", noise, NOISE / 4));
		must(commit(l));
		must(hf_log_base(l, 0, &err));
	}
	for (uint64_t g = 13; g <= 25; g++)
		n += readable(&id, g);
	is(n, 13, "all that the rule keeps can be read, although the epoch before it is gone");
	must(hf_log_history(b.st, &id, note_first, NULL, &err));
	ok(seen_first <= 13, "and history tells of it (from %d)", seen_first);
	node_close(&b);
	node_open(&b);
	hf_log_close(l);
	l = claim(&b, &other);
	for (int i = 0; i < 60; i++) {
		fill(noise, NOISE / 4, i);
		must(put(l, "n", noise, NOISE / 4));
		must(commit(l));
		must(hf_log_base(l, 0, &err));
	}
	n = 0;
	for (uint64_t g = 13; g <= 25; g++)
		n += readable(&id, g);
	is(n, 13, "also after a start, and over what counts as free then");
	hf_log_close(l);
	for (uint64_t g = 1; g <= 12; g++)
		if (!hf_log_read(b.st, &id, g, &l, &err)) {
			hf_log_close(l);
			n += !readable(&id, g);
		}
	is(n, 13, "what can be read of older ones is right");
	free(noise);
	node_close(&a);
	node_close(&b);
	hf_keys_free(keys);
	return tap_done();
}
