// SPDX-License-Identifier: GPL-2.0-or-later
/* What a resource that goes from owner to owner takes of the areas: history of as many takeovers as `retain` asks for
 * fits into a small disk. */
#include "store_test.h"
#include "disk_int.h"

#define CYCLES 50
#define RETAIN 64

static struct node a, b;

static uint32_t used(struct node *n)
{
	uint64_t total, room = area_room(disk_of(n->st), &total);

	return (total - room) / HFD_BLOCK;
}

static void commit(struct hf_log *l)
{
	uint64_t gen;

	must(hf_log_commit(l, 0, NULL, &gen, &err));
	must(hf_log_confirm(l, &err));
}

static struct hf_log *claim(struct node *n, const struct hf_logid *id)
{
	struct hf_log *l;

	must(hf_log_claim(n->st, id, 0, &l, &err));
	return l;
}

static void release(struct hf_log *l)
{
	must(hf_log_base(l, RETAIN, &err));
	must(hf_log_release(l, &err));
	hf_log_close(l);
}

/* generation g has g in "x", beside @files others */
static void begin(const struct hf_logid *id, unsigned files)
{
	struct hf_log *l = claim(&a, id);
	char key[64], v[200];

	for (unsigned i = 0; i < files; i++) {
		snprintf(key, sizeof(key), "some/directory/file%u", i);
		memset(v, 'a' + i % 26, sizeof(v));
		must(put(l, key, v, 100 + i % 100));
	}
	must(put(l, "x", "1", 1));
	commit(l);
	release(l);
}

static void cycle(struct node *n, const struct hf_logid *id, bool change)
{
	struct hf_log *l = claim(n, id);
	char v[24];

	snprintf(v, sizeof(v), "%llu", (unsigned long long)hf_log_gen(l) + 1);
	if (change) {
		must(put(l, "x", v, strlen(v)));
		commit(l);
	}
	release(l);
}

/* how many of the generations 1 to @n can be read as they were */
static unsigned there(const struct hf_logid *id, unsigned n)
{
	unsigned good = 0;
	struct hf_log *l;
	char v[24];

	for (unsigned g = 1; g <= n; g++) {
		if (hf_log_read(a.st, id, g, &l, &err))
			continue;
		snprintf(v, sizeof(v), "%u", g);
		good += hf_log_gen(l) == g && holds(l, "x", v, strlen(v));
		hf_log_close(l);
	}
	return good;
}

/* @each: blocks of both areas for each cycle, at most */
static void run(uint8_t number, unsigned files, bool swap, bool change, unsigned each)
{
	struct hf_logid id = LOGID(number, number);
	uint32_t before, after;

	begin(&id, files);
	before = used(&a) + used(&b);
	for (unsigned i = 0; i < CYCLES; i++)
		cycle(swap && !(i % 2) ? &b : &a, &id, change);
	after = used(&a) + used(&b);
	ok(after - before <= CYCLES * each, "C42: %u %s of %u files%s take no more than %u blocks each (%u in all)", CYCLES,
	   swap ? "takeovers" : "stops and starts", files + 1, change ? " that change" : "", each, after - before);
	is(there(&id, change ? CYCLES + 1 : 1), change ? CYCLES + 1 : 1, "C42: and every generation can be read");
}

int main(void)
{
	uint32_t before;

	setup(2, 80u << 20, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	run(1, 0, false, false, 1);
	run(2, 0, false, true, 1);
	run(3, 0, true, true, 2);
	run(4, 1000, false, true, 4);
	run(5, 1000, true, true, 5);
	before = used(&a);
	node_close(&a);
	node_open(&a);
	ok(used(&a) <= before + before / 8, "a daemon that starts finds about the same in use (%u after %u)", used(&a), before);
	is(sound(), 0, "the disk is sound");
	node_close(&a);
	node_close(&b);
	return tap_done();
}
