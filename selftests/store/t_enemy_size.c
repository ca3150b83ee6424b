// SPDX-License-Identifier: GPL-2.0-or-later
/* X9: the sizes of small files are not told: their commits take the same sectors, which
 * tell nothing of where contents end. Documentation/ondisk.rst has the classes. */
#include "enemy.h"

static struct node a;
static struct hf_logid one = LOGID(71, 2);
static char buf[400000];

/* sectors of the record that a commit of @n bytes made, and its last run of one byte */
static void commit_of(struct hf_log *l, const char *key, size_t n, unsigned *sectors, unsigned *run)
{
	struct rec v[256];
	uint64_t gen;
	uint8_t *p;
	size_t k, len, last = 0;

	for (size_t i = 0; i < n; i++)
		buf[i] = random();
	must(put(l, key, buf, n));
	must(hf_log_commit(l, 0, NULL, &gen, &err));
	k = records(area_at(0), area_at(0) + area_len(), v, 256);
	for (size_t i = 0; i < k; i++)
		if (v[i].seq > v[last].seq)
			last = i;
	len = (v[last].sectors + v[last].tail) * SECT;
	p = take(v[last].off, len);
	*sectors = len / SECT;
	*run = 0;
	while (*run < len && p[len - 1 - *run] == p[len - 1])
		++*run;
	free(p);
}

int main(void)
{
	static const struct { size_t size; unsigned class; } c[] = {
		{ 1, 2 }, { 2, 2 }, { 511, 2 }, { 512, 2 }, { 2000, 2 }, { 4056, 2 }, { 4057, 3 }, { 8152, 3 }, { 8153, 4 },
	};
	struct hf_log *l;
	unsigned sectors, run;

	setup(1, 16u << 20, 500);
	raw = open(dev, O_RDWR | O_CLOEXEC);
	node_make(&a, "alpha");
	must(hf_log_claim(a.st, &one, 0, &l, &err));
	for (size_t i = 0; i < HF_ARRAY(c); i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%zu", i);
		commit_of(l, key, c[i].size, &sectors, &run);
		ok(sectors == c[i].class, "%zu bytes take the sectors of their class (%u)", c[i].size, sectors);
		ok(run < 8, "and do not show where they end (%u equal bytes)", run);
	}
	hf_log_close(l);
	return tap_done();
}
