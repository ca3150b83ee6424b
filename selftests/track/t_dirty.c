// SPDX-License-Identifier: GPL-2.0-or-later
/* The dirty set by itself (P2): one entry for each name, acknowledgements that
 * race with changes, and a bound that makes it coarser, never smaller. */
#include "../tap.h"
#include "dirty.h"
#include <stdlib.h>

static _Atomic uint64_t seq;
static struct hf_dirtyset s;
static struct hf_dirty *d;
static size_t n;

static void snap(void)
{
	free(d);
	if (hf_dset_snapshot(&s, &d, &n))
		abort();
}

static const struct hf_dirty *get(const char *rel)
{
	size_t i;

	snap();
	for (i = 0; i < n; i++)
		if (!strcmp(d[i].rel, rel))
			return &d[i];
	return NULL;
}

/* whether an entry is @rel, or a subtree above it */
static bool covered(const char *rel)
{
	size_t i, len;

	for (i = 0; i < n; i++) {
		len = strlen(d[i].rel);
		if (!strcmp(d[i].rel, rel))
			return true;
		if ((d[i].flags & HF_DIRTY_SUBTREE) && !strncmp(d[i].rel, rel, len) &&
		    (!len || rel[len] == '/'))
			return true;
	}
	return false;
}

static void begin(uint64_t max)
{
	hf_dset_fini(&s);
	if (hf_dset_init(&s, &seq, max))
		abort();
}

static void test_entries(void)
{
	struct hf_who who = { .pid = 7, .uid = 3, .comm = "sed" };
	const struct hf_dirty *e;
	uint64_t id, q;
	int i;

	begin(0);
	snap();
	is(n, 0, "a new set is clean");
	is(hf_dset_oldest(&s), 0, "and has no oldest entry");
	for (i = 0; i < 100; i++)
		hf_dset_soil(&s, "etc/a", HF_DIRTY_OPEN, 0, NULL);
	hf_dset_soil(&s, "etc/b", 0, 0, NULL);
	hf_dset_soil(&s, "etc/a", 0, HF_DIRTY_OPEN, &who);
	is(s.count, 2, "one entry for each name however often it was written");
	e = get("etc/a");
	ok(e && e->seq == s.last && s.last == 102, "with the number of its last change");
	ok(e && e->pid == 7 && e->uid == 3 && !strcmp(e->comm, "sed"), "and who did that");
	ok(e && e->flags == 0, "a close ends OPEN");
	ok(n == 2 && !strcmp(d[0].rel, "etc/a") && d[0].first_ns <= d[1].first_ns,
	   "the oldest comes first though it changed last");
	ok(hf_dset_oldest(&s) == d[0].first_ns, "the set knows its oldest");
	e = get("etc/b");
	ok(e && e->pid == 0 && e->uid == (uid_t)-1 && !*e->comm, "unknown is said to be unknown");

	e = get("etc/a");
	id = e->id;
	q = e->seq;
	hf_dset_soil(&s, "etc/a", 0, 0, NULL);
	ok(!hf_dset_ack(&s, id, q), "P2 an entry that changed after the noted number stays");
	ok(get("etc/a"), "it is there");
	ok(hf_dset_ack(&s, id, s.last), "with the newer number it goes");
	ok(!get("etc/a") && s.count == 1, "it is gone");
	ok(!hf_dset_ack(&s, id, s.last), "twice is nothing");
	hf_dset_soil(&s, "etc/a", 0, 0, NULL);
	ok(get("etc/a")->id != id, "dirty again, it is another entry");
	ok(!hf_dset_ack(&s, id, UINT64_MAX), "which the old id does not reach");

	hf_dset_soil(&s, "dir", HF_DIRTY_SUBTREE, 0, NULL);
	hf_dset_soil(&s, "dir", HF_DIRTY_OPEN, HF_DIRTY_SUBTREE, NULL);
	ok(get("dir")->flags == (HF_DIRTY_SUBTREE | HF_DIRTY_OPEN),
	   "P2 nothing but an acknowledgement ends SUBTREE");
	hf_dset_soil(&s, "", 0, 0, NULL);
	ok(get("") && get("")->flags == 0, "the root can be dirty by itself");
	id = get("")->id;
	ok(hf_dset_ack(&s, id, s.last) && !get(""), "and be acknowledged");
	hf_dset_soil(&s, "", 0, 0, NULL);
	ok(get("") && get("")->id != id, "and be dirty again");
}

static void test_bound(void)
{
	char rel[64];
	uint64_t id, q, oldest;
	bool all = true, bounded = true;
	int i;

	begin(64);
	hf_dset_soil(&s, "top", 0, 0, NULL);
	hf_dset_soil(&s, "a/deep", 0, 0, NULL);
	id = get("a/deep")->id;
	q = s.last;
	oldest = hf_dset_oldest(&s);
	for (i = 0; i < 70; i++) {
		snprintf(rel, sizeof(rel), "a/deep/%d", i);
		hf_dset_soil(&s, rel, 0, 0, NULL);
		bounded &= s.count <= 64;
	}
	ok(bounded, "the bound is kept");
	snap();
	for (i = 0; i < 70; i++) {
		snprintf(rel, sizeof(rel), "a/deep/%d", i);
		all &= covered(rel);
	}
	ok(all, "P2 every name is covered by what is left");
	ok(get("a/deep")->flags & HF_DIRTY_SUBTREE, "by a scan of their directory");
	ok(get("top") && !(get("top")->flags & HF_DIRTY_SUBTREE), "what is elsewhere stays precise");
	ok(!hf_dset_ack(&s, id, q), "P2 who captured the directory before can not acknowledge them");
	ok(get("a/deep")->id == id && hf_dset_ack(&s, id, get("a/deep")->seq),
	   "who looks now can");
	ok(hf_dset_oldest(&s) == oldest, "the age of the oldest stays");

	begin(64);
	for (i = 0; i < 200; i++) {
		snprintf(rel, sizeof(rel), "%d", i);
		hf_dset_soil(&s, rel, 0, 0, NULL);
	}
	snap();
	for (all = true, i = 0; i < 200; i++) {
		snprintf(rel, sizeof(rel), "%d", i);
		all &= covered(rel);
	}
	ok(all && s.count <= 64 && get("")->flags & HF_DIRTY_SUBTREE,
	   "P2 names in the root coalesce into the root");
	begin(1);
	hf_dset_soil(&s, "a/b/c", 0, 0, NULL);
	hf_dset_soil(&s, "x/y", 0, 0, NULL);
	snap();
	ok(n == 1 && covered("a/b/c") && covered("x/y"), "a set of one is the root");
}

/* A model beside the set: every name that is dirty in the model must be
 * covered, and numbers, order and bound must hold, after each of many steps. */
static void test_random(void)
{
	static const char *const part[] = { "a", "b", "c", "dd", "e" };
	struct { char rel[64]; uint64_t seq; } m[800] = { 0 };
	uint64_t noted_id[64], noted_seq[64];
	char noted_rel[64][64];
	unsigned int noted_flags[64], noted = 0, r = 12345, step, i, j, depth;
	bool good = true, ordered = true;

	begin(40);
	for (step = 0; step < 30000; step++) {
		r = r * 1103515245 + 12345;
		if ((r >> 16) % 10 < 8) {
			char rel[64] = "";

			depth = (r >> 8) % 5;
			for (i = 0; i < depth; i++) {
				r = r * 1103515245 + 12345;
				snprintf(rel + strlen(rel), sizeof(rel) - strlen(rel), "%s%s",
					 i ? "/" : "", part[(r >> 16) % 5]);
			}
			hf_dset_soil(&s, rel, 0, 0, NULL);
			for (i = 0; i < 800 && m[i].seq && strcmp(m[i].rel, rel); i++)
				;
			for (j = 0; i == 800 && j < 800; j++)
				if (!m[j].seq)
					i = j;
			if (i == 800)
				break;
			strcpy(m[i].rel, rel);
			m[i].seq = s.last;
		} else if ((r >> 16) % 10 == 8) {
			snap();
			for (noted = 0; noted < 64 && noted < n; noted++) {
				noted_id[noted] = d[noted].id;
				noted_seq[noted] = d[noted].seq;
				noted_flags[noted] = d[noted].flags;
				snprintf(noted_rel[noted], 64, "%s", d[noted].rel);
				ordered &= !noted || d[noted - 1].first_ns <= d[noted].first_ns;
			}
		} else if (noted) {
			/* what a capture between snapshot and acknowledgement has seen:
			 * changes up to the snapshot below the noted entry */
			noted--;
			if (hf_dset_ack(&s, noted_id[noted], noted_seq[noted])) {
				size_t len = strlen(noted_rel[noted]);

				for (i = 0; i < 800; i++)
					if (m[i].seq && m[i].seq <= noted_seq[noted] &&
					    (!strcmp(m[i].rel, noted_rel[noted]) ||
					     (noted_flags[noted] & HF_DIRTY_SUBTREE &&
					      !strncmp(m[i].rel, noted_rel[noted], len) &&
					      (!len || m[i].rel[len] == '/'))))
						m[i].seq = 0;
			}
		}
		if (step % 7)
			continue;
		snap();
		for (i = 0; i < 800; i++)
			good &= !m[i].seq || covered(m[i].rel);
		good &= s.count <= 40;
	}
	ok(step == 30000, "30,000 random steps were made");
	ok(good, "P2 against a model: nothing that was not acknowledged is uncovered");
	ok(ordered, "snapshots are oldest first");
}

static void test_many(void)
{
	char rel[32];
	int i;

	begin(100000);
	for (i = 0; i < 50000; i++) {
		snprintf(rel, sizeof(rel), "d%d/f%d", i % 100, i);
		hf_dset_soil(&s, rel, 0, 0, NULL);
	}
	snap();
	is(n, 50000, "50,000 entries");
	for (i = 0; i < 50000; i++)
		hf_dset_ack(&s, d[i].id, d[i].seq);
	is(s.count, 0, "all acknowledged");
}

int main(void)
{
	test_entries();
	test_bound();
	test_random();
	test_many();
	hf_dset_fini(&s);
	free(d);
	return tap_done();
}
