// SPDX-License-Identifier: GPL-2.0-or-later
/* Bytes that were put ahead of a record which never came: nothing else is lost by them. */
#include "store_test.h"
#include "disk_int.h"

static struct node a;
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

static struct hf_log *claim(const struct hf_logid *id)
{
	struct hf_log *l;

	must(hf_log_claim(a.st, id, HF_CLAIM_FENCED, &l, &err));
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

#define KEYS 8
static int version[KEYS];

/* round the whole area, over whatever counts as free, until it is full of what is live */
static void churn(struct hf_log *l, int rounds)
{
	char key[24];

	for (int i = 0; i < rounds; i++) {
		snprintf(key, sizeof(key), "k%d", i % KEYS);
		fill(noise, PIECE, 1000 * ++version[i % KEYS] + i % KEYS);
		must(put(l, key, noise, PIECE));
		must(commit(l));
		if (i % 2)
			must(hf_log_base(l, 0, &err));
	}
}

static int bad_of(const struct hf_logid *id)
{
	struct hf_log *l;
	char key[24];
	int bad = 0;

	must(hf_log_read(a.st, id, 0, &l, &err));
	for (int i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fill(noise, PIECE, 1000 * version[i] + i);
		bad += !holds(l, key, noise, PIECE);
	}
	hf_log_close(l);
	return bad;
}

/* What was put and given up is written late, if at all: never over what has its place since. */
static void aborted(struct hf_log *l, struct hf_log *m, const struct hf_logid *two, unsigned size)
{
	fill(noise, size, size);
	must(put(l, "x", noise, size));
	hf_log_abort(l);
	churn(m, 6 + size % 13);
	ok(!bad_of(two), "another log takes the place of %u bytes that were given up", size);
	must(put(l, "small", "v", 1));
	must(commit(l));
	ok(!bad_of(two), "P1: it has all that was confirmed still");
	must(hf_log_base(l, 0, &err));
}

static ssize_t fails_late(void *arg, void *buf, size_t len, uint64_t off)
{
	if (off >= 500000)
		return -EAGAIN;
	memcpy(buf, (char *)arg + off, len);
	return len;
}

/* What was put and taken back, or only in part, is not known by its contents once its place may be another's. */
static void taken_back(struct hf_log *l, struct hf_log *m, const struct hf_logid *one, const struct hf_logid *two, bool part)
{
	struct hf_source s = { .size = 600000, .read = fails_late, .arg = noise };
	struct hf_log *r;

	fill(noise, 600000, 7 + part);
	if (part) {
		is(hf_log_put(l, "x", 1, "attr", 4, &s, NULL, &err), -EAGAIN, "a file that changes while it is read");
	} else {
		must(put(l, "x", noise, 600000));
		must(hf_log_unput(l, "x", 1));
	}
	is(hf_log_pending(l), 0, "nothing is left to be committed");
	must(hf_log_base(l, 0, &err));
	churn(m, 2 * KEYS);
	fill(noise, 600000, 7 + part);
	must(put(l, "x", noise, 600000));
	must(commit(l));
	must(hf_log_read(a.st, one, 0, &r, &err));
	ok(holds(r, "x", noise, 600000), "P1: the same contents can be read once they are committed");
	hf_log_close(r);
	ok(!bad_of(two), "and so can what took their place");
	must(hf_log_del(l, "x", 1));
	must(commit(l));
	must(hf_log_base(l, 0, &err));
}

/* a large first state: a base, of which the row does not tell yet */
#define FIRST 2000
static struct hf_log *first(const struct hf_logid *id)
{
	struct hf_log *l = claim(id);
	char key[24], attr[500];

	memset(attr, 'a', sizeof(attr));
	for (int i = 0; i < FIRST; i++) {
		snprintf(key, sizeof(key), "f%d", i);
		must(hf_log_put(l, key, strlen(key), attr, sizeof(attr), NULL, NULL, &err));
	}
	must(commit(l));
	return l;
}

/* The same as above, while the base is still to be told of. */
static void told_late(struct hf_log *m, const struct hf_logid *two, unsigned k)
{
	struct hf_logid id = LOGID(10 + k, 3);
	struct hf_log *l = first(&id), *r;
	unsigned size = 400000 + k * 40000;

	fill(noise, size, size);
	must(put(l, "x", noise, size));
	if (k % 2)
		must(hf_log_unput(l, "x", 1));
	else
		hf_log_abort(l);
	must(hf_log_base(l, 0, &err));
	churn(m, 2 * KEYS);
	must(put(l, "small", "v", 1));
	fill(noise, size, size);
	if (k % 2)
		must(put(l, "x", noise, size));
	must(commit(l));
	ok(!bad_of(two), "P1: %u bytes that were %s before a first base is told of are not written over another log", size,
	   k % 2 ? "taken back" : "given up");
	must(hf_log_read(a.st, &id, 0, &r, &err));
	fill(noise, size, size);
	ok(!(k % 2) || holds(r, "x", noise, size), "and not known by a place that they have no more");
	hf_log_close(r);
	hf_log_close(l);
}

static int count(void *ctx, const struct hf_item *it)
{
	++*(int *)ctx;
	return 0;
}

/* Space is short when it is told of, and there are generations since: what is kept of them is whole. */
static void told_when_short(struct hf_log *m)
{
	struct hf_logid id = LOGID(9, 3);
	struct hf_log *l = first(&id), *r;
	unsigned n = 0, whole = 0, gone = 0;
	char key[24];

	while (!area_tight(disk_of(a.st))) {
		snprintf(key, sizeof(key), "more%u", n++);
		fill(noise, PIECE, n);
		must(put(m, key, noise, PIECE));
		must(commit(m));
	}
	for (unsigned i = 0; i < 5; i++) {
		if (i == 2)
			must(hf_log_base(l, 10, &err));
		snprintf(key, sizeof(key), "g%u", i);
		must(put(l, key, "v", 1));
		must(commit(l));
	}
	for (unsigned gen = 1; gen < 6; gen++) {
		int items = 0, ret = hf_log_read(a.st, &id, gen, &r, &err);

		gone += ret == -ENOENT;
		if (ret)
			continue;
		must(hf_log_each(r, "", 0, count, &items));
		whole += items == (int)(FIRST + gen - 1);
		hf_log_close(r);
	}
	ok(whole + gone == 5, "P6: a generation that can be read is whole, whatever space there was (%u are, %u are gone)", whole, gone);
	hf_log_close(l);
}

int main(void)
{
	struct hf_logid one = LOGID(1, 1), two = LOGID(2, 2);
	struct hf_log *l, *m;

	noise = malloc(NOISE);
	setup(2, 13u << 20, 1000);
	node_make(&a, "alpha");
	l = claim(&one);
	m = claim(&two);
	churn(m, 2 * KEYS);
	for (unsigned k = 10; k < 20; k++)
		aborted(l, m, &two, k * 40000);
	taken_back(l, m, &one, &two, false);
	taken_back(l, m, &one, &two, true);
	hf_log_close(l);
	for (unsigned k = 0; k < 10; k++)
		told_late(m, &two, k);
	told_when_short(m);
	hf_log_close(m);
	node_close(&a);
	free(noise);
	hf_keys_free(keys);
	return tap_done();
}
