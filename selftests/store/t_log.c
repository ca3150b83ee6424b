// SPDX-License-Identifier: GPL-2.0-or-later
/* The log on a quorum disk: commits, confirmation, takeover, bases, trimming, damage. */
#include "store_test.h"

static struct node a, b;
static struct hf_logid id = LOGID(7, 3);

static void fill(char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = seed >> 16;
	}
}

static void commit(struct hf_log *l, uint64_t want)
{
	uint64_t gen;

	must(hf_log_commit(l, 0, "test", &gen, &err));
	must(hf_log_confirm(l, &err));
	is(gen, want, "the generation has its number");
}

static void basics(void)
{
	struct hf_log *l, *r;
	struct hf_log_stat st;
	char *big = malloc(1000000);
	uint64_t gen;

	fill(big, 1000000, 1);
	must(a.st->ops->stat(a.st, &id, &st, &err));
	is(st.epoch, 0, "no epoch before the first claim");
	is(hf_log_read(a.st, &id, 0, &l, &err), -ENOENT, "nothing to read");
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	is(hf_log_gen(l), 0, "no generation yet");
	must(put(l, "one", "hello", 5));
	must(put(l, "empty", NULL, 0));
	must(put(l, "big", big, 1000000));
	commit(l, 1);
	ok(holds(l, "one", "hello", 5) && holds(l, "big", big, 1000000) && holds(l, "empty", NULL, 0),
	   "the owner reads what it wrote");
	must(put(l, "one", "changed", 7));
	must(hf_log_del(l, "empty", 5));
	must(put(l, "gone", "x", 1));
	must(hf_log_unput(l, "gone", 4));
	commit(l, 2);
	must(hf_log_commit(l, 0, NULL, &gen, &err));
	is(gen, 2, "an empty transaction makes no generation");
	must(put(l, "never", "x", 1));
	hf_log_abort(l);
	ok(!hf_log_get(l, "never", 5, &(struct hf_item){ 0 }), "an abort undoes");

	must(hf_log_read(b.st, &id, 0, &r, &err));
	is(hf_log_gen(r), 2, "another node reads the newest");
	ok(holds(r, "one", "changed", 7) && holds(r, "big", big, 1000000), "and its contents");
	ok(!hf_log_get(r, "empty", 5, &(struct hf_item){ 0 }), "what was deleted is not there");
	hf_log_close(r);
	must(hf_log_read(b.st, &id, 1, &r, &err));
	ok(holds(r, "one", "hello", 5) && hf_log_get(r, "empty", 5, &(struct hf_item){ 0 }), "an older generation is as it was");
	hf_log_close(r);
	is(hf_log_read(b.st, &id, 9, &r, &err), -ENOENT, "a generation that is not there");

	/* a is alive: b is refused, unless it says that a was fenced */
	must(a.st->ops->beat(a.st, &err));
	must(b.st->ops->beat(b.st, &err));
	must(a.st->ops->beat(a.st, &err));
	must(b.st->ops->beat(b.st, &err));
	is(hf_log_claim(b.st, &id, 0, &r, &err), -EBUSY, "P4: a live owner is not taken over");
	must(hf_log_confirm(l, &err));
	must(hf_log_claim(b.st, &id, HF_CLAIM_FENCED, &r, &err));
	is(hf_log_gen(r), 2, "the new owner starts where the old one ended");
	ok(holds(r, "one", "changed", 7) && holds(r, "big", big, 1000000), "with all contents");
	must(put(l, "late", "lost", 4));
	must(hf_log_commit(l, 0, NULL, &gen, &err));
	is(hf_log_confirm(l, &err), -ESTALE, "P4: the old owner cannot confirm");
	is(hf_log_confirm(l, &err), -ESTALE, "nor later");
	must(put(r, "two", "b's", 3));
	commit(r, 3);
	ok(!hf_log_get(r, "late", 4, &(struct hf_item){ 0 }), "what was not confirmed is not there");
	must(hf_log_base(r, 0, &err));
	must(put(r, "three", "3", 1));
	commit(r, 4);
	must(hf_log_release(r, &err));
	hf_log_close(r);
	hf_log_close(l);

	must(hf_log_claim(a.st, &id, 0, &l, &err));
	is(hf_log_gen(l), 4, "a released log is claimed without further ado");
	ok(holds(l, "one", "changed", 7) && holds(l, "big", big, 1000000) && holds(l, "three", "3", 1),
	   "and holds everything");
	must(hf_log_base(l, 0, &err));
	ok(holds(l, "big", big, 1000000), "a base copied the contents");
	must(hf_log_release(l, &err));
	hf_log_close(l);
	free(big);
}

/* a small disk runs for ever */
/* Contents that were made ready before they are put, or others are. */
static void ready(void)
{
	struct hf_logid rid = LOGID(9, 4);
	struct hf_log *l, *r;
	char *p = malloc(100000), *q = malloc(100000);
	uint64_t puts, dels, before;

	fill(p, 100000, 7);
	memset(q, 'q', 100000);
	must(hf_log_claim(a.st, &rid, 0, &l, &err));
	hf_log_ready(l, p, 5000);
	must(put(l, "same", p, 5000));
	must(put(l, "again", p, 5000));
	commit(l, 1);
	hf_log_ready(l, p, 5000);
	p[4999] ^= 1;
	must(put(l, "differs", p, 5000));
	hf_log_ready(l, p, 6000);
	must(put(l, "shorter", p, 5999));
	hf_log_ready(l, p, 6000);
	must(put(l, "longer", p, 6001));
	hf_log_ready(l, q, 8000);
	hf_log_ready(l, q + 1, 100);
	must(put(l, "zipped", q, 8000));
	commit(l, 2);
	hf_log_ready(l, q, 7000);
	must(put(l, "undone", q, 7000));
	hf_log_abort(l);
	must(put(l, "undone", q, 7000));
	hf_log_ready(l, p, 100000);
	hf_log_ready(l, NULL, 0);
	commit(l, 3);
	hf_log_ready(l, q, 7001);	/* kept over what is no transaction */
	hf_log_pending_stat(l, "", 0, &puts, &dels, &before);
	must(put(l, "late", q, 7001));
	commit(l, 4);
	/* so many are sealed by a thread of its own, which has nothing to do with that */
	hf_log_ready(l, q, 4321);
	for (unsigned i = 0; i < 200; i++) {
		struct hf_source src = { .size = 4321, .read = mem_read, .arg = q };
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		must(hf_log_put_later(l, key, strlen(key), "", 0, &src, &err));
		hf_log_ready(l, p, 1000 + i);
	}
	commit(l, 5);
	must(hf_log_read(b.st, &rid, 0, &r, &err));
	p[4999] ^= 1;
	ok(holds(r, "same", p, 5000) && holds(r, "again", p, 5000), "what was made ready is put, once and again");
	p[4999] ^= 1;
	ok(holds(r, "differs", p, 5000), "others are put as they are");
	ok(holds(r, "shorter", p, 5999) && holds(r, "longer", p, 6001), "shorter and longer ones too");
	ok(holds(r, "zipped", q, 8000) && holds(r, "undone", q, 7000), "after an abort too");
	ok(holds(r, "late", q, 7001), "in another transaction");
	ok(holds(r, "k0", q, 4321) && holds(r, "k199", q, 4321), "and beside a sealer");
	hf_log_close(r);
	must(hf_log_release(l, &err));
	hf_log_close(l);
	free(p);
	free(q);
}

static void churn(void)
{
	struct hf_logid other = LOGID(9, 4);
	char buf[20000];
	int bad = 0;

	for (unsigned round = 0; round < 12 && !bad; round++) {
		struct node *n = round & 1 ? &b : &a;
		struct hf_log *l;
		uint64_t gen;

		must(hf_log_claim(n->st, &other, HF_CLAIM_FENCED, &l, &err));
		for (unsigned i = 0; i < 60 && !bad; i++) {
			char key[16];

			for (unsigned k = 0; k < 3; k++) {
				snprintf(key, sizeof(key), "k%u", (i * 3 + k) % 20);
				fill(buf, sizeof(buf), round * 1000 + i * 3 + k);
				bad |= put(l, key, buf, 1 + (i * 331 + k * 7001) % sizeof(buf));
			}
			bad |= hf_log_commit(l, 0, NULL, &gen, &err);
			if (!bad && hf_log_wants_base(l))
				bad |= hf_log_base(l, 10, &err);
			bad |= hf_log_confirm(l, &err);
		}
		if (bad)
			printf("# round %u: %s\n", round, err.msg);
		hf_log_close(l);
	}
	ok(!bad, "720 commits of 60 kB by two owners fit into a disk of 16 MiB");
}

static int count_gen(void *ctx, const struct hf_gen_info *g)
{
	uint64_t *n = ctx;

	if (n[1] && g->gen != n[1] + 1)
		n[2]++;
	n[1] = g->gen;
	n[0]++;
	return 0;
}

static void history(void)
{
	struct hf_logid h = LOGID(11, 5);
	struct hf_log *l;
	uint64_t n[3] = { 0 }, gen;
	char v[16];

	must(hf_log_claim(a.st, &h, 0, &l, &err));
	for (int i = 1; i <= 30; i++) {
		snprintf(v, sizeof(v), "v%d", i);
		must(put(l, "x", v, strlen(v)));
		must(hf_log_commit(l, 0, v, &gen, &err));
		if (i % 10 == 0)
			must(hf_log_base(l, 15, &err));
	}
	must(hf_log_history(b.st, &h, count_gen, n, &err));
	ok(n[0] >= 15 && n[1] == 30 && !n[2], "history keeps at least what was asked for, without a gap (%llu)",
	   (unsigned long long)n[0]);
	hf_log_close(l);
	must(hf_log_claim(b.st, &h, HF_CLAIM_FENCED, &l, &err));
	must(put(l, "x", "by b", 4));
	must(hf_log_commit(l, 0, "b", &gen, &err));
	must(hf_log_base(l, 15, &err));
	memset(n, 0, sizeof(n));
	must(hf_log_history(a.st, &h, count_gen, n, &err));
	ok(n[0] >= 15 && n[1] == 31 && !n[2], "history reaches across a takeover (%llu)", (unsigned long long)n[0]);
	hf_log_close(l);
	must(hf_log_read(a.st, &h, 25, &l, &err));
	ok(holds(l, "x", "v25", 3), "a generation of the owner before can be read");
	hf_log_close(l);
}

static void restart(void)
{
	struct hf_log *l;
	uint64_t gen;
	struct hf_logid r = LOGID(13, 6);
	char *big = malloc(300000);

	fill(big, 300000, 5);
	must(hf_log_claim(a.st, &r, 0, &l, &err));
	must(put(l, "big", big, 300000));
	must(hf_log_commit(l, 0, NULL, &gen, &err));
	must(hf_log_base(l, 0, &err));
	must(put(l, "s", "1", 1));
	must(hf_log_commit(l, 0, NULL, &gen, &err));
	hf_log_close(l);
	/* the daemon dies: a new incarnation maps its area again from the logs */
	node_close(&a);
	node_open(&a);
	for (int i = 0; i < 40; i++) {	/* overwrite whatever counts as free */
		struct hf_logid o = LOGID(50, 7);

		must(hf_log_claim(a.st, &o, HF_CLAIM_FENCED, &l, &err));
		big[i] ^= 1;
		must(put(l, "z", big, 300000));
		must(hf_log_commit(l, 0, NULL, &gen, &err));
		must(hf_log_base(l, 0, &err));
		big[i] ^= 1;
		hf_log_close(l);
	}
	must(hf_log_claim(a.st, &r, HF_CLAIM_FENCED, &l, &err));
	ok(holds(l, "big", big, 300000) && holds(l, "s", "1", 1), "P1: a new incarnation does not overwrite what its predecessor confirmed");
	hf_log_close(l);
	free(big);
}

int main(void)
{
	char *json;

	setup(2, 16u << 20, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	basics();
	ready();
	churn();
	history();
	restart();
	is(hf_disk_check(conf, dev, &json, &err), 0, "the disk is sound");
	if (err.exit)
		printf("# %s\n", err.msg);
	free(json);
	return tap_done();
}
