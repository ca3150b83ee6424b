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
	static const size_t size[] = { 1, 2, 511, 512, 2000, 4056, 4057, 8152, 8153, 60000 };
	struct hf_log *l;
	unsigned sectors, run, smallest = 0;

	setup(1, 16u << 20, 500);
	raw = open(dev, O_RDWR | O_CLOEXEC);
	node_make(&a, "alpha");
	must(hf_log_claim(a.st, &one, 0, &l, &err));
	for (size_t i = 0; i < HF_ARRAY(size); i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%zu", i);
		commit_of(l, key, size[i], &sectors, &run);
		if (!i)
			smallest = sectors;
		if (size[i] <= 2000)
			ok(sectors == smallest, "%zu bytes take as many sectors as 1 (%u)", size[i], sectors);
		ok(run < 8, "%zu bytes do not show where they end (%u equal)", size[i], run);
	}
	hf_log_close(l);
	return tap_done();
}
