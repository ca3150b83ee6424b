// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The delete-guard's arithmetic, with a clock and a log that this file plays: what a window holds, what is
 * put off while it goes on, and that what is held back stays so.
 */
#include "../tap.h"
#include "../../user/daemon/replicator.h"
#include "../../user/daemon/treedb.h"

static uint64_t clock_ms = 1000, committed, pending;	/* entries */
static struct hf_policy policy;

static uint64_t fake_now(void) { return clock_ms; }
static void fake_stat(uint64_t *puts, uint64_t *dels, uint64_t *before)
{
	*puts = 0;
	*dels = committed > pending ? committed - pending : 0;
	*before = committed;
}
static void fake_each(int (*fn)(void *ctx, const struct hf_item *it), void *ctx)
{
	for (uint64_t i = 0; i < pending; i++)
		fn(ctx, NULL);
}

#define hf_now_ms() fake_now()
#define hf_log_pending_stat(l, p, n, puts, dels, before) fake_stat(puts, dels, before)
#define hf_log_each(l, p, n, fn, ctx) fake_each(fn, ctx)
#define hf_log_gen(l) 7ull
#define treedb_prefix(id, p) ((void)(p))
#define resource_policy(r, p) (*(p) = policy)
#include "../../user/daemon/guard.c"

static struct ckpt cp = { .path = "/t" }, *list[] = { &cp };
static struct resource res = { .name = "r", .cp = list, .ncp = 1 };
static struct hf_err err;

/* a commit after which there would be @left; what came of it */
static int commit(uint64_t left, bool waits, bool allow)
{
	const struct rep a = { .waits = waits, .allow_delete = allow };
	int ret;

	pending = left;
	ret = guard_look(&res, &a, &err);
	if (!ret)
		committed = left;
	return ret;
}

static void begin(uint64_t entries)
{
	cp.guard = (struct guard){ 0 };
	clock_ms += 1000000;
	committed = entries;
	commit(entries, false, false);
}

int main(void)
{
	policy = (struct hf_policy){ .delete_guard_pct = 50, .settle_ms = 5 };

	begin(100);
	ok(!commit(92, true, false), "a handful is committed at once");
	ok(commit(91, true, false) == -EINPROGRESS, "more is put off");
	clock_ms += 50;
	ok(!commit(91, true, false), "until nothing more has gone");
	ok(!commit(91, true, false), "the same again is no deletion");

	begin(100);
	ok(commit(70, true, false) == -EINPROGRESS, "a deletion begins");
	clock_ms += 50;
	ok(commit(55, true, false) == -EINPROGRESS, "it goes on");
	clock_ms += 50;
	ok(commit(40, true, false) == -EBUSY && committed == 100, "it is too large: nothing of it was committed");
	ok(!strstr(err.msg, "already"), "which the error does not say");

	begin(100);
	for (uint64_t left = 90; left >= 71; left--) {
		if (!commit(left, true, false))
			break;
		clock_ms += 60;
	}
	ok(committed < 80 && committed > 70, "one that takes its time is committed in parts");
	clock_ms += 60;
	ok(commit(45, true, false) == -EBUSY, "but the guard counts all of it");
	ok(strstr(err.msg, "55 of 100 entries of /t would be deleted (") && strstr(err.msg, "generation 7 has them"), "and tells which part is gone");
	clock_ms += 61000;
	ok(commit(45, true, false) == -EBUSY, "after a minute as well");
	clock_ms += 61000;
	ok(commit(45, false, false) == -EBUSY, "and whoever asks");
	ok(!commit(45, false, true), "until it is allowed");
	ok(!commit(40, false, false), "from then on it counts anew");

	begin(100);
	ok(commit(30, true, false) == -EBUSY, "held back");
	ok(!commit(90, false, false), "what comes back is committed");
	clock_ms += 61000;
	ok(!commit(50, false, false), "what went long ago does not count");
	clock_ms += 1000;
	ok(commit(40, false, false) == -EBUSY, "what went a moment ago does");

	begin(100);
	ok(!commit(60, false, false), "who waits for it does not wait for the end of a deletion");

	/* what is excluded is taken out again in each transaction, until one is committed */
	begin(100);
	cp.taken_out = 10;
	ok(commit(70, true, false) == -EINPROGRESS, "a deletion, beside what is excluded now");
	clock_ms += 50;
	ok(!commit(70, true, false), "that has ended is put off no longer");
	cp.taken_out = 0;

	begin(100);
	ok(commit(80, true, false) == -EINPROGRESS, "a deletion begins");
	clock_ms += 50;
	ok(!commit(75, false, false), "somebody asks for a commit");
	clock_ms += 2000;
	ok(commit(65, true, false) == -EINPROGRESS, "it goes on: its end is waited for as ever");
	begin(100);
	ok(commit(80, true, false) == -EINPROGRESS, "a deletion begins");
	clock_ms += 50;
	ok(!commit(100, true, false), "and is undone");
	clock_ms += 2000;
	ok(commit(80, true, false) == -EINPROGRESS, "the next one is waited for as ever");

	begin(100);
	ok(commit(30, true, false) == -EBUSY, "held back");
	policy.delete_guard_pct = 0;
	ok(!commit(30, true, false), "until there is no guard");
	policy.delete_guard_pct = 50;
	clock_ms += 61000;
	ok(!commit(29, false, false), "what went then does not count");

	policy.settle_ms = 5000;
	begin(100);
	ok(commit(80, true, false) == -EINPROGRESS && guard_pause(&res) == 5000, "settle is how long a pause is");
	clock_ms += 5000;
	ok(!commit(79, true, false), "and how long it is put off at most");
	policy.rpo_ms = 1000;
	begin(100);
	commit(80, true, false);
	clock_ms += 500;
	ok(!commit(79, true, false), "half of rpo, where there is one");
	policy.rpo_ms = 0;

	policy.delete_guard_pct = 0;
	begin(100);
	ok(!commit(0, true, false), "no guard, no wait");
	policy.delete_guard_pct = 100;
	begin(100);
	ok(!commit(0, false, false), "all of it, where that is allowed");
	policy.delete_guard_pct = 1;
	begin(8);
	ok(!commit(0, true, false), "8 entries always may");
	begin(9);
	ok(commit(0, true, false) == -EBUSY, "9 may not");
	return tap_done();
}
