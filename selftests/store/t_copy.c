// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P1: a base refers to nothing in another node's area, which is used again once the base is confirmed. What
 * lies in the own area and would only be better elsewhere may stay where there is no room for it. P4: one of an owner
 * that was fenced out meanwhile. P1: what was copied, and is not written yet, is not damaged.
 */
#include "store_test.h"
#include "disk_int.h"
#include "log_int.h"
#include <sodium.h>

static struct node a, b;
static struct hf_logid id = LOGID(1, 1);
static char mine[400], theirs[50000], between[150000];
static unsigned calls, fails;	/* of put_bytes; the first ones */
static int why;

static bool want_all(struct hf_claim *c, uint32_t slot, uint64_t place, uint32_t len) { return true; }

static int put_some(struct hf_claim *c, const void *p, size_t n, uint64_t *place, struct hf_err *e)
{
	return calls++ < fails ? why : hf_store_disk.put_bytes(c, p, n, place, e);
}

static unsigned foreign(struct hf_log *l)
{
	unsigned n = 0;

	for (size_t i = 0; i < l->items.cap; i++)
		for (struct ent *e = l->items.slot[i]; e; e = e->next)
			for (uint32_t k = 0; k < e->nref; k++)
				n += e->ref[k].slot != l->slot;
	return n;
}

static int base(struct hf_log *l, unsigned first, int error)
{
	static struct hf_store_ops ops;
	int ret;

	ops = hf_store_disk;
	ops.wants_copy = want_all;
	ops.put_bytes = put_some;
	calls = 0;
	fails = first;
	why = error;
	l->store->ops = &ops;
	err = (struct hf_err){ 0 };
	ret = hf_log_base(l, 0, &err);
	l->store->ops = &hf_store_disk;
	return ret;
}

static void commit(struct hf_log *l, const char *key, const char *p, size_t n)
{
	uint64_t gen;

	must(put(l, key, p, n));
	must(hf_log_commit(l, 0, NULL, &gen, &err));
	must(hf_log_confirm(l, &err));
}

/* What an owner copies may be gone when it was fenced out: that is no damage. */
static void fenced(void)
{
	struct hf_log *l, *r;
	int ret;

	id = (struct hf_logid)LOGID(2, 2);
	must(hf_log_claim(b.st, &id, HF_CLAIM_FENCED, &l, &err));
	commit(l, "theirs", theirs, sizeof(theirs));
	hf_log_close(l);
	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &l, &err));
	must(hf_log_claim(b.st, &id, HF_CLAIM_FENCED, &r, &err));
	for (unsigned i = 0; i < 300; i++) {	/* three times the area */
		randombytes_buf(between, sizeof(between));
		commit(r, "theirs", between, sizeof(between));
		must(hf_log_base(r, 0, &err));
	}
	err = (struct hf_err){ 0 };
	ret = hf_log_base(l, 0, &err);
	ok(ret == -ESTALE && strstr(err.msg, "taken over"), "P4: who was fenced out is told so where contents are gone: %d %s", ret, err.msg);
	hf_log_close(l);
	hf_log_close(r);
}

static int no_pace(void *ctx, struct hf_log *l, size_t bytes) { return 0; }
static int count(void *ctx, const struct hf_item *it) { return ++*(unsigned *)ctx, 0; }

/* A rebuild unpins what is found damaged, and finds it so between two parts of a base. */
static void unwritten(void)
{
	unsigned n = 0;
	struct hf_log *l;

	id = (struct hf_logid)LOGID(3, 3);
	must(hf_log_claim(b.st, &id, HF_CLAIM_FENCED, &l, &err));
	commit(l, "theirs", theirs, sizeof(theirs));
	hf_log_close(l);
	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &l, &err));
	must(hf_log_base_part(l, SIZE_MAX, &err) < 0 ? -EIO : 0);
	ok(!foreign(l), "a part of a base has copied contents");
	must(hf_log_damaged(l, no_pace, count, &n, &err));
	ok(!n, "P1: and they are not damaged: %u", n);
	hf_log_close(l);
}

int main(void)
{
	char key[8];
	struct hf_log *l;
	bool all;

	randombytes_buf(mine, sizeof(mine));
	randombytes_buf(theirs, sizeof(theirs));
	setup(2, 32u << 20, 500);
	node_make(&a, "alpha");		/* its contents are looked at first */
	node_make(&b, "beta");
	must(hf_log_claim(b.st, &id, HF_CLAIM_FENCED, &l, &err));
	commit(l, "theirs", theirs, sizeof(theirs));
	hf_log_close(l);
	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &l, &err));
	commit(l, "mine0", mine, 100);
	ok(foreign(l) == 1, "contents in two areas");
	ok(base(l, 2, -ENOSPC) == -ENOSPC && calls == 1, "its own, in one block, are left there: a copy would take another one");
	for (unsigned i = 0; i < 4; i++) {
		snprintf(key, sizeof(key), "mine%u", i);
		commit(l, key, mine + 100 * i, 100);
		randombytes_buf(between, sizeof(between));
		commit(l, "between", between, sizeof(between));
	}
	must(hf_log_del(l, "between", 7));
	commit(l, "x", "", 0);
	is(base(l, 2, -ENOSPC), -ENOSPC, "no room for either: there is no base");
	ok(calls == 2 && foreign(l) == 1, "both were tried");
	ok(!base(l, 1, -ENOSPC) && !foreign(l), "no room for its own: the base is made, without what is another's");
	all = holds(l, "theirs", theirs, sizeof(theirs));
	for (unsigned i = 0; i < 4; i++) {
		snprintf(key, sizeof(key), "mine%u", i);
		all &= holds(l, key, mine + 100 * i, 100);
	}
	ok(all, "and all is there");
	is(base(l, 1, -EIO), -EIO, "what cannot be written is no want of room");
	hf_log_close(l);
	fenced();
	unwritten();
	node_close(&a);
	node_close(&b);
	hf_keys_free(keys);
	return tap_done();
}
