// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P1: a base whose records are made in parts, with commits between, tells of exactly what its generation
 * holds: every entry once, in order, with its contents where they lie by then. Each one is read record by record, and
 * compared with the owner's state; and its log read anew with what the test knows of it.
 */
#include "store_test.h"
#include "disk_int.h"
#include "log_int.h"

#define KEYS 1500u		/* and so many again that come only between others */
#define PART 100000u

static struct node a, b;
static struct hf_log *l;
static struct hf_logid id;
static unsigned ver[2 * KEYS + 2], nver;	/* 0: it is not there */
static char text[3000];

/* the first one before all others, the last one behind them; directories between */
static uint32_t key_of(unsigned i, char key[40])
{
	if (!i || i == 2 * KEYS + 1)
		return snprintf(key, 40, i ? "z" : "A");
	return snprintf(key, 40, "k%03u/%s%04u", i / 100, i % 3 ? "f" : "sub/", i);
}

static size_t size_of(unsigned v) { return v % 4 ? 0 : 1 + v * 37 % sizeof(text); }

static void change(unsigned i, bool del)
{
	struct hf_source s = { .read = mem_read, .arg = text };
	char key[40];
	uint32_t n = key_of(i, key);

	ver[i] = del ? 0 : ++nver;
	if (del) {
		must(hf_log_del(l, key, n));
		return;
	}
	for (unsigned k = 0, x = nver; k < sizeof(text); k++)
		text[k] = (x = x * 1103515245 + 12345) >> 16;
	s.size = size_of(nver);
	must(hf_log_put(l, key, n, &ver[i], sizeof(ver[i]), s.size ? &s : NULL, NULL, &err));
}

static uint64_t commit_as(unsigned flags)
{
	uint64_t gen;

	must(hf_log_commit(l, flags, "test", &gen, &err));
	must(hf_log_confirm(l, &err));
	return gen;
}

static uint64_t commit(void) { return commit_as(0); }

/* ---- what was written ---- */

static struct found {
	unsigned recs, items, marks, bad;
	uint64_t gen, newest_mark;
	unsigned flags;
	bool open;
	struct ent *last;
	struct codec_part part;
} f;

static int base_put(void *ctx, struct ent *e)
{
	struct ent *now = table_get(&l->items, ent_key(e), e->keylen);

	if (f.last && ent_order(&f.last, &e) >= 0)
		f.bad++;
	ent_put(f.last);
	f.last = e;
	f.items++;
	if (!now || now->attrlen != e->attrlen || memcmp(ent_attr(now), ent_attr(e), e->attrlen) || now->size != e->size ||
	    memcmp(now->hash, e->hash, HF_HASH) || now->nref != e->nref) {
		f.bad++;
		return 0;
	}
	for (uint32_t k = 0; k < e->nref; k++)
		f.bad += now->ref[k].place != e->ref[k].place || now->ref[k].slot != e->ref[k].slot ||
			 now->ref[k].clen != e->ref[k].clen || memcmp(now->ref[k].hash, e->ref[k].hash, HF_HASH);
	return 0;
}

static int base_del(void *ctx, const void *key, uint32_t n) { return f.bad++; }

static void base_when(void *ctx, const struct gen_mark *m)
{
	f.marks++;
	f.newest_mark = m->gen;
	f.bad += f.items || f.recs;	/* in the first record, ahead of all */
}

static void base_begin(void *ctx)
{
	ent_put(f.last);
	codec_part_drop(&f.part);
	memset(&f, 0, sizeof(f));
}

static int base_rec(void *ctx, const struct hf_rec *r)
{
	const struct codec_fn fn = { .put = base_put, .del = base_del, .when = base_when, .part = &f.part };
	struct hf_buf ops = HF_BUF_INIT;

	if (r->kind != HF_REC_BASE)
		return 0;
	if (r->flags & HF_REC_FIRST)
		base_begin(NULL);
	else
		f.bad += !f.open || r->gen != f.gen;
	f.open = r->flags & HF_REC_PART;
	f.gen = r->gen;
	f.flags = r->flags;
	must(codec_unpack(r, &ops));
	if (codec_each(ops.p, ops.len, r->slot, r->tail, r->gen, &fn))
		f.bad++;
	hf_buf_free(&ops);
	f.recs++;
	return 0;
}

/* the newest base of the log is one of the state it has now */
static bool base_right(void)
{
	bool good;

	must(b.st->ops->read(b.st, &id, 0, NULL, base_begin, base_rec, NULL, &err));
	good = !f.bad && !f.open && f.gen == hf_log_gen(l) && f.items == l->items.n && f.newest_mark == f.gen &&
	       !(f.flags & HF_REC_FUZZY) == !hf_log_fuzzy(l) && !l->make;
	if (!good)
		printf("# %u wrong, %u of %zu entries, generation %llu of %llu, %u records\n", f.bad, f.items, l->items.n,
		       (unsigned long long)f.gen, (unsigned long long)hf_log_gen(l), f.recs);
	ent_put(f.last);
	f.last = NULL;
	codec_part_drop(&f.part);
	return good;
}

static bool item_right(struct hf_log *r, unsigned i)
{
	struct hf_item it;
	char key[40];
	uint32_t n = key_of(i, key);
	unsigned x = ver[i];

	if (!hf_log_get(r, key, n, &it) || !ver[i])
		return !hf_log_get(r, key, n, &it) && !ver[i];
	if (it.attrlen != sizeof(ver[i]) || memcmp(it.attr, &ver[i], it.attrlen) || it.size != size_of(ver[i]))
		return false;
	for (unsigned k = 0; k < sizeof(text); k++)
		text[k] = (x = x * 1103515245 + 12345) >> 16;
	return !it.size || holds(r, key, text, it.size);
}

/* and whoever reads the log anew has what the test knows */
static bool state_right(void)
{
	size_t want = 0;
	unsigned bad = 0;
	struct hf_log *r;

	must(hf_log_read(b.st, &id, 0, &r, &err));
	for (unsigned i = 0; i < HF_ARRAY(ver); i++) {
		want += !!ver[i];
		bad += !item_right(r, i);
	}
	if (bad || r->items.n != want || r->gen != l->gen)
		printf("# %u wrong, %zu of %zu entries\n", bad, r->items.n, want);
	bad += r->items.n != want || r->gen != l->gen;
	hf_log_close(r);
	return !bad;
}

static void begin(struct node *n, uint8_t number)
{
	struct hf_logid new = LOGID(number, number);

	id = new;
	memset(ver, 0, sizeof(ver));
	must(hf_log_claim(n->st, &id, 0, &l, &err));
	for (unsigned i = 1; i < KEYS; i++)
		change(2 * i, false);
	commit();
	must(hf_log_base(l, 0, &err));
	change(KEYS, false);
	commit();
}

/* @n parts, or all there are; how many it were, and negative as long as there are more */
static int parts(int n)
{
	int done = 0, ret = 1;

	while (done != n && (ret = hf_log_base_part(l, PART, &err)) == 1)
		done++;
	must(ret < 0 ? ret : 0);
	return ret ? -done : done;
}

static void still(void)
{
	int n;
	bool whole;

	begin(&a, 1);
	must(hf_log_base(l, 0, &err));
	whole = base_right();
	n = f.recs;
	ok(whole && n > 20, "a base that is made at once is right, of many records: %d", n);
	change(7, false);
	commit();
	ok(parts(-1) > n / 2, "its parts");
	ok(l->make && hf_log_wants_base(l), "what was begun is wanted until it is done");
	ok(!parts(-1), "there are no more of them");
	must(hf_log_base(l, 0, &err));
	ok(base_right() && state_right(), "what was made in parts is the same");
	ok(abs((int)f.recs - n) <= 1, "in as many records: %u", f.recs);
}

/* the first and the last, before and behind them, and where ranges begin; @step: how far the base is */
static void touch(unsigned step)
{
	unsigned at[] = { 0, 1, 2, 3, KEYS - 1, KEYS, KEYS + 1, 2 * KEYS - 2, 2 * KEYS - 1, 2 * KEYS, 2 * KEYS + 1 };

	for (unsigned i = 0; i < HF_ARRAY(at); i++)
		change(at[i], (step + i) % 3 == 0);
	for (unsigned i = 0; i < 120; i++)	/* all of some ranges */
		change(300 * (step % 9) + i, step % 2);
}

static void between(void)
{
	unsigned right = 0, rounds = 0;
	uint64_t gen = 0;
	int n, fails = 0;

	for (int at = 0; at < 160; at += at < 4 ? 1 : 13, rounds++) {
		n = parts(at);
		touch(at);
		fails += commit() <= gen;
		gen = hf_log_gen(l);
		touch(at + 1);
		fails += hf_log_base_part(l, PART, &err) != -EBUSY;	/* not within a transaction */
		hf_log_abort(l);
		for (unsigned i = 0; i < HF_ARRAY(ver); i++) {	/* it is as it was */
			struct hf_item it;
			char key[40];
			uint32_t len = key_of(i, key);

			ver[i] = 0;
			if (hf_log_get(l, key, len, &it))
				memcpy(&ver[i], it.attr, sizeof(ver[i]));
		}
		if (at % 2)
			n = parts(-1);
		must(hf_log_base(l, 0, &err));
		right += base_right() && state_right();
	}
	ok(right == rounds && !fails, "commits after so many parts, and then the base: %u of %u, the last after %d", right, rounds, n);
}

static void others(void)
{
	char key[40];
	uint64_t gen;

	hf_log_retain_age(l, 3600);
	parts(5);
	gen = commit();		/* of nothing */
	change(11, false);
	commit_as(HF_REC_FUZZY);
	parts(20);
	change(12, false);
	key_of(12, key);
	must(hf_log_unput(l, key, key_of(12, key)));
	must(hf_log_get(l, key, strlen(key), &(struct hf_item){ 0 }) ? 0 : -ENOENT);
	change(12, false);
	commit_as(HF_REC_FUZZY);
	must(hf_log_base(l, 0, &err));
	ok(base_right() && (f.flags & HF_REC_FUZZY), "of a fuzzy generation");
	parts(30);
	change(11, false);
	commit();
	must(hf_log_base(l, 0, &err));
	ok(base_right() && !(f.flags & HF_REC_FUZZY) && f.marks >= 3 && f.gen == gen + 3,
	   "of one that is not, with when those were committed that came between");
	hf_log_retain_age(l, 0);

	hf_seam_init("make.range:0:eio,make.part:9:eio");
	ok(parts(8) == -8 && hf_log_base_part(l, PART, &err) == -EIO && !l->make, "a part that fails leaves nothing");
	hf_seam_init("make.range:0:eio,base.append:1:eio");
	parts(-1);
	change(13, false);
	commit();
	is(hf_log_base(l, 0, &err), -EIO, "a base that fails");
	ok(!l->make, "leaves nothing either");
	hf_seam_init("make.range:0:eio");
	ok(state_right(), "and is no base");
	parts(7);
	change(14, false);
	commit();
	must(hf_log_base(l, 0, &err));
	ok(base_right() && state_right(), "the next one is");

	parts(-1);
	l->items.n++;
	ok(hf_log_base(l, 0, &err) == -EAGAIN, "one that would lack an entry is not written: %s", err.msg);
	l->items.n--;
	must(hf_log_base(l, 0, &err));
	ok(base_right() && state_right(), "but made anew");
}

static void restless(void)
{
	unsigned n = 0, last = 0;
	int ret;

	while ((ret = hf_log_base_part(l, PART, &err)) == 1) {
		n++;
		change(2 * (1 + n * 7919 % (KEYS - 1)), false);
		commit();
	}
	must(ret);
	must(hf_log_base(l, 0, &err));
	ok(base_right() && state_right() && n < 3 * f.recs, "a commit after each part: it comes to an end, after %u", n);
	for (n = 0; (ret = hf_log_base_part(l, PART, &err)) == 1; n++) {
		for (unsigned i = 1; i < KEYS; i++)
			change(2 * i, false);
		commit();
		last = f.recs;
	}
	must(ret);
	must(hf_log_base(l, 0, &err));
	ok(base_right() && state_right() && n < 4, "sooner where each changes everything: %u (%u)", n, last);
	for (unsigned i = 0; i < HF_ARRAY(ver); i++) {
		if (ver[i])
			change(i, true);
		if (i >= KEYS && i % 50 == 0) {
			commit();
			parts(i == KEYS ? 15 : 1);
		}
	}
	commit();
	must(hf_log_base(l, 0, &err));
	ok(base_right() && f.recs == 1 && !f.items && state_right(), "of nothing, in the end");
	hf_log_close(l);
}

/* What was replaced is not kept until the base comes, which others may hold up for long. */
static void busy(void)
{
	struct ent *e;
	char key[40];

	begin(&a, 6);
	parts(3);
	e = table_get(&l->items, key, key_of(40, key));
	e->users++;
	for (unsigned i = 0; i < 500; i++) {
		change(40, i % 5 == 1);
		commit();
	}
	is(e->users, 1, "replaced many times between two parts: it is let go");
	ent_put(e);
	must(hf_log_base(l, 0, &err));
	ok(base_right() && state_right(), "and the base is right");
	hf_log_close(l);
}

/* The same by chance, with owners that come and go. */
static void rounds(unsigned count)
{
	unsigned right = 0, seed = 4711;
	struct node *n = &a;

	begin(&a, 2);
	for (unsigned r = 0; r < count; r++) {
		for (unsigned k = rand_r(&seed) % 12; k--; ) {
			if (rand_r(&seed) % 3)
				parts(rand_r(&seed) % 40);
			for (unsigned i = rand_r(&seed) % (rand_r(&seed) % 8 ? 5 : 300); i--; )
				change(rand_r(&seed) % HF_ARRAY(ver), rand_r(&seed) % 3 == 0);
			if (rand_r(&seed) % 9 == 0)
				must(hf_log_base(l, 0, &err) == -EBUSY || !hf_log_pending(l) ? 0 : -EINVAL);
			commit_as(rand_r(&seed) % 2 ? HF_REC_FUZZY : 0);
		}
		switch (rand_r(&seed) % 8) {
		case 0:		/* another owner, who has contents to copy */
			must(hf_log_release(l, &err));
			hf_log_close(l);
			n = n == &a ? &b : &a;
			must(hf_log_claim(n->st, &id, 0, &l, &err));
			break;
		case 1:		/* claimed anew */
			hf_log_close(l);
			must(hf_log_claim(n->st, &id, 0, &l, &err));
			break;
		case 2:
			parts(-1);
			/* fall through */
		default:
			must(hf_log_base(l, rand_r(&seed) % 3, &err));
			right += !base_right();
		}
		right += !state_right();
	}
	ok(!right, "nothing is wrong after any of %u rounds: %u", count, right);
	ok(!sound(), "disk check finds nothing");
	hf_log_close(l);
}

static bool want_all(struct hf_claim *c, uint32_t slot, uint64_t place, uint32_t len) { return true; }

static void copies(void)
{
	static struct hf_store_ops ops;
	unsigned n = 0;

	begin(&a, 3);
	must(hf_log_release(l, &err));
	hf_log_close(l);
	must(hf_log_claim(b.st, &id, 0, &l, &err));
	for (unsigned i = 0; hf_log_base_part(l, PART, &err) == 1; i++, n++) {
		change(2 * (1 + i * 31 % (KEYS - 1)), i % 4 == 0);
		commit();
	}
	must(hf_log_base(l, 0, &err));
	ok(base_right() && state_right() && n > 5, "contents that were copied first, with commits between: %u parts", n);
	change(2, false);
	commit();
	parts(-1);
	ops = hf_store_disk;
	ops.wants_copy = want_all;
	l->store->ops = &ops;
	must(hf_log_base(l, 0, &err));
	l->store->ops = &hf_store_disk;
	ok(base_right() && state_right(), "and such as are copied when the records are there already");
	for (unsigned i = 0; i < 5; i++) {
		change(2 * i + 2, false);
		commit();
		must(hf_log_base(l, 0, &err));
	}
	ok(state_right() && !sound(), "nothing stands on where they were");
	hf_log_close(l);
}

/* whose chunks fill more than a record; a range of it alone */
#define ATTR (1000u << 10)
#define LONG (50u << 20)
static char *attr;

static ssize_t numbered(void *arg, void *buf, size_t len, uint64_t off)
{
	uint64_t v = (uint64_t)(uintptr_t)arg << 32 | off >> 16;

	memset(buf, 0, len);
	memcpy(buf, &v, len < sizeof(v) ? len : sizeof(v));
	return len;
}

static void put_long(const char *key, unsigned version)
{
	struct hf_source s = { .size = LONG, .read = numbered, .arg = (void *)(uintptr_t)version };

	must(hf_log_put(l, key, strlen(key), attr, ATTR, &s, NULL, &err));
}

static void large(void)
{
	unsigned right = 0;

	begin(&a, 4);
	put_long("k010/", 1);
	put_long("k010/~", 2);
	commit();
	for (unsigned at = 0; at < 4; at++) {
		parts(at ? 60 * at : 1);
		put_long(at % 2 ? "k010/" : "k010/~", 3 + at);
		change(20 + at, false);
		commit();
		if (at == 3)
			must(hf_log_del(l, "k010/", 5));
		if (at == 3)
			commit();
		parts(at % 2 ? -1 : 1);
		must(hf_log_base(l, 0, &err));
		right += base_right();
	}
	is(right, 4, "with entries that take more than a record");
	hf_log_close(l);
}

/* as large as they are */
static void full_size(void)
{
	struct hf_logid new = LOGID(5, 5);
	uint64_t n = 0;
	char key[64];

	hf_seam_init("");
	id = new;
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	for (unsigned i = 0; i < 30000; i++) {
		snprintf(key, sizeof(key), "dir%u/file%u", i % 70, i);
		must(hf_log_put(l, key, strlen(key), attr + i % 1000, 100, NULL, NULL, &err));
	}
	commit();
	must(hf_log_base(l, 0, &err));
	for (int ret; (ret = hf_log_base_part(l, PART, &err)); n++) {
		must(ret < 0 ? ret : 0);
		snprintf(key, sizeof(key), "dir%u/more%u", (unsigned)n % 70, (unsigned)n);
		must(hf_log_put(l, key, strlen(key), attr, 100, NULL, NULL, &err));
		commit();
	}
	must(hf_log_base(l, 0, &err));
	ok(base_right() && n > 4 && f.recs > 4 && f.items == 30000 + n, "with records of their full size: %u, %u parts", f.recs, (unsigned)n);
	hf_log_close(l);
}

int main(void)
{
	attr = malloc(ATTR);
	for (unsigned i = 0, x = 1; i < ATTR; i++)
		attr[i] = (x = x * 1103515245 + 12345) >> 16;
	setup(2, 256 << 20, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	hf_seam_init("make.range:0:eio");
	still();
	between();
	others();
	restless();
	busy();
	rounds(60);
	copies();
	large();
	full_size();
	node_close(&a);
	node_close(&b);
	hf_keys_free(keys);
	free(attr);
	return tap_done();
}
