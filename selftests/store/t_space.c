// SPDX-License-Identifier: GPL-2.0-or-later
/* Space on the quorum disk: what is retained, pinned, stored once, given back; and a full area. */
#include "store_test.h"
#include "disk_int.h"
#include <time.h>

static struct node a, b, c;
static char *noise;
#define NOISE (4u << 20)

static void fill(char *p, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		p[i] = seed >> 56;
	}
}

static uint64_t used(struct node *n)
{
	uint64_t total, room = area_room(disk_of(n->st), &total);

	return total - room;
}

static struct hf_log *claim(struct node *n, const struct hf_logid *id)
{
	struct hf_log *l;

	must(hf_log_claim(n->st, id, HF_CLAIM_FENCED, &l, &err));
	return l;
}

static uint64_t commit(struct hf_log *l)
{
	uint64_t gen;

	must(hf_log_commit(l, 0, NULL, &gen, &err));
	must(hf_log_confirm(l, &err));
	return gen;
}

/* generation g has g in "x" */
static void step(struct hf_log *l)
{
	char v[24];

	snprintf(v, sizeof(v), "%llu", (unsigned long long)hf_log_gen(l) + 1);
	must(put(l, "x", v, strlen(v)));
	commit(l);
}

static bool readable(const struct hf_logid *id, uint64_t gen)
{
	struct hf_log *l;
	char v[24];
	bool good;

	snprintf(v, sizeof(v), "%llu", (unsigned long long)gen);
	if (hf_log_read(a.st, id, gen, &l, &err))
		return false;
	good = hf_log_gen(l) == gen && holds(l, "x", v, strlen(v));
	hf_log_close(l);
	return good;
}

/* the oldest generation from which on all can be read */
static uint64_t oldest(const struct hf_logid *id, uint64_t newest)
{
	while (newest > 1 && readable(id, newest - 1))
		newest--;
	return newest;
}

static void retain_gens(void)
{
	struct hf_logid id = LOGID(1, 1);
	struct hf_log *l = claim(&a, &id);

	for (int i = 0; i < 50; i++)
		step(l);
	must(hf_log_base(l, 10, &err));
	hf_log_close(l);
	/* the next owner has no base for some while, then trims: what it must keep begins in the
	 * epoch before, and is read from a base that lies there */
	l = claim(&b, &id);
	for (int i = 0; i < 6; i++)
		step(l);
	must(hf_log_base(l, 10, &err));
	for (int i = 0; i < 6; i++)
		step(l);
	must(hf_log_base(l, 10, &err));
	area_collect(disk_of(a.st));
	hf_log_close(l);
	node_close(&a);
	node_open(&a);
	l = claim(&a, &(struct hf_logid)LOGID(2, 2));	/* over whatever counts as free */
	for (int i = 0; i < 24; i++) {
		fill(noise, 1 << 18, i);
		must(put(l, "n", noise, 1 << 18));
		commit(l);
	}
	must(hf_log_base(l, 0, &err));
	hf_log_close(l);
	is(oldest(&id, 62) <= 52, 1, "ten generations can be read, across a takeover and a base");
	l = claim(&a, &id);
	for (int i = 0; i < 40; i++) {
		step(l);
		if (i % 5 == 4)
			must(hf_log_base(l, 10, &err));
	}
	is(oldest(&id, 102), 92, "and not many more than that, where bases are frequent");
	hf_log_close(l);
}

static void retain_age(void)
{
	struct hf_logid id = LOGID(3, 3);
	struct hf_log *l = claim(&a, &id);
	struct timespec second = { .tv_sec = 1, .tv_nsec = 100000000 };

	hf_log_retain_age(l, 3600);
	for (int i = 1; i <= 40; i++) {
		step(l);
		if (i % 10 == 0)
			must(hf_log_base(l, 0, &err));
	}
	is(oldest(&id, 40), 1, "an age keeps what the number would not");
	hf_log_close(l);
	l = claim(&b, &id);
	hf_log_retain_age(l, 3600);
	step(l);
	must(hf_log_base(l, 0, &err));
	step(l);
	must(hf_log_base(l, 0, &err));
	is(oldest(&id, 42), 1, "whoever owns it");
	/* a second later nobody wants the first ones: their times came with the bases */
	nanosleep(&second, NULL);
	hf_log_close(l);
	l = claim(&a, &id);
	hf_log_retain_age(l, 1);
	must(hf_log_base(l, 0, &err));
	ok(oldest(&id, 42) >= 42 && readable(&id, 42), "P1: what is older than the age goes, the newest of that time stays");
	step(l);
	step(l);
	must(hf_log_base(l, 100, &err));
	is(oldest(&id, 44) <= 42, 1, "either rule keeps what it wants");
	hf_log_close(l);
	/* what is older than the newest base is dated too: it was told by its owner */
	id = (struct hf_logid)LOGID(41, 12);
	l = claim(&a, &id);
	hf_log_retain_age(l, 3600);
	for (int i = 1; i <= 20; i++) {
		step(l);
		if (i == 10) {
			must(hf_log_base(l, 0, &err));
			nanosleep(&second, NULL);
		}
	}
	must(hf_log_base(l, 0, &err));
	hf_log_close(l);
	l = claim(&b, &id);
	hf_log_retain_age(l, 1);
	must(hf_log_base(l, 0, &err));
	ok(oldest(&id, 20) >= 10, "a new owner knows how old is what it has not read");
	hf_log_close(l);
}

static int find_pin(void *ctx, const struct hf_pin_info *p)
{
	struct hf_pin_info *want = ctx;

	if (strcmp(p->name, want->name))
		return 0;
	*want = *p;
	return 1;
}

static void pins(void)
{
	struct hf_logid id = LOGID(4, 4), other = LOGID(5, 5);
	struct hf_log *l = claim(&a, &id), *r;
	struct hf_pin_info p = { .name = "golden" };
	struct node *order[] = { &b, &c, &a, &b };
	uint64_t before, cost;

	fill(noise, 1 << 20, 7);
	must(put(l, "big", noise, 1 << 20));
	must(put(l, "gone", "not for long", 12));
	commit(l);
	for (int i = 0; i < 9; i++)
		step(l);
	before = used(&a);
	must(hf_log_pin(l, 3, "golden", &err));
	commit(l);
	cost = used(&a) - before;
	ok(cost <= 256 << 10, "a pin stores nothing twice (%llu bytes)", (unsigned long long)cost);
	is(hf_log_pin(l, 4, "golden", &err), -EEXIST, "its name is taken");
	is(err.exit, HF_EXISTS, "which is what is said");
	is(hf_log_pin(l, 900, "future", &err), -ENOENT, "what is not there cannot be pinned");
	must(hf_log_del(l, "gone", 4));
	must(put(l, "big", noise, 1 << 19));
	commit(l);
	hf_log_close(l);
	for (unsigned i = 0; i < HF_ARRAY(order); i++) {
		struct hf_log *o;

		l = claim(order[i], &id);
		for (int k = 0; k < 10; k++) {
			step(l);
			must(hf_log_base(l, 0, &err));
		}
		hf_log_close(l);
		node_close(order[i]);
		node_open(order[i]);
		for (unsigned m = 0; m < HF_ARRAY(order); m++) {
			o = claim(order[m], &other);
			for (int k = 0; k < 10; k++) {
				fill(noise + (1 << 20), 300000, i * 1000 + m * 100 + k);
				must(put(o, "n", noise + (1 << 20), 300000));
				commit(o);
				must(hf_log_base(o, 0, &err));
			}
			hf_log_close(o);
		}
	}
	must(hf_log_read(c.st, &id, 0, &l, &err));
	is(hf_log_pins(l, find_pin, &p), 1, "the pin is listed");
	ok(p.gen == 3 && p.items == 3 && p.when_ns && p.made_ns >= p.when_ns, "with its generation, and when that was");
	hf_log_close(l);
	must(hf_log_read(c.st, &id, 3, &r, &err));
	is(hf_log_gen(r), 3, "a pinned generation is read under its number");
	ok(holds(r, "x", "3", 1) && holds(r, "big", noise, 1 << 20) && holds(r, "gone", "not for long", 12),
	   "after four owners it is as it was");
	ok(!hf_log_get(r, "@golden", 7, &(struct hf_item){ 0 }), "and nothing else is in it");
	hf_log_close(r);
	is(hf_log_read(c.st, &id, 4, &r, &err), -ENOENT, "the one after it has gone");
	l = claim(&c, &id);
	must(hf_log_base(l, 0, &err));
	before = used(&c);
	must(hf_log_unpin(l, "golden", &err));
	commit(l);
	is(hf_log_unpin(l, "golden", &err), -ENOENT, "a pin goes once");
	for (int k = 0; k < 3; k++) {
		step(l);
		must(hf_log_base(l, 0, &err));
	}
	/* half of "big", but for what of it lies in the pack that is open, and less the log's next segment */
	ok(used(&c) + (1 << 17) <= before, "and its space comes back (%llu of %llu)",
	   (unsigned long long)used(&c), (unsigned long long)before);
	is(hf_log_read(c.st, &id, 3, &r, &err), -ENOENT, "it cannot be read any more");
	hf_log_close(l);
	/* of what another node had, and has replaced since */
	l = claim(&a, &id);
	fill(noise, 300000, 31);
	must(put(l, "was", noise, 300000));
	before = commit(l);
	fill(noise + (1 << 20), 300000, 32);
	must(put(l, "was", noise + (1 << 20), 300000));
	commit(l);
	hf_log_close(l);
	l = claim(&b, &id);
	must(hf_log_pin(l, before, "was", &err));
	commit(l);
	must(hf_log_read(c.st, &id, before, &r, &err));
	ok(holds(r, "was", noise, 300000), "a pin stands in the owner's area from its commit on");
	hf_log_close(r);
	must(hf_log_base(l, 0, &err));
	step(l);
	must(hf_log_base(l, 0, &err));
	hf_log_close(l);
	node_close(&b);
	node_open(&b);
	must(hf_log_read(c.st, &id, before, &r, &err));
	ok(holds(r, "was", noise, 300000), "what lay in another node's area is pinned in the own");
	hf_log_close(r);
}

static void once(void)
{
	struct hf_logid id = LOGID(6, 6);
	struct hf_log *l = claim(&a, &id);
	uint64_t before = used(&a), after;
	char key[16];

	fill(noise, 1 << 18, 99);
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "copy%d", i);
		must(put(l, key, noise, 1 << 18));
	}
	commit(l);
	after = used(&a);
	ok(after - before <= 2 << 20, "forty equal files of 256 KiB in one commit are stored once (%llu bytes)",
	   (unsigned long long)(after - before));
	for (int round = 0; round < 30; round++) {	/* and what comes back finds itself again */
		for (int k = 0; k < 2; k++) {
			fill(noise + (1 << 20), 1 << 18, 1000 + k);
			must(put(l, "turn", noise + (1 << 20), 1 << 18));
			commit(l);
		}
	}
	ok(used(&a) - after <= 3 << 20, "contents that come and go within history are stored once (%llu bytes)",
	   (unsigned long long)(used(&a) - after));
	ok(holds(l, "copy0", noise, 1 << 18) && holds(l, "copy39", noise, 1 << 18), "and are there");
	must(hf_log_base(l, 0, &err));
	must(put(l, "late", noise, 1 << 18));
	commit(l);
	must(hf_log_base(l, 0, &err));
	ok(holds(l, "late", noise, 1 << 18) && holds(l, "copy7", noise, 1 << 18), "also after a base");
	/* what has gone for good is stored anew: its place is another's */
	fill(noise, 1 << 18, 77);
	must(put(l, "old", noise, 1 << 18));
	commit(l);
	must(hf_log_del(l, "old", 3));
	commit(l);
	for (int i = 0; i < 100; i++) {
		fill(noise + (1 << 20), 300000, 5000 + i);
		must(put(l, "n", noise + (1 << 20), 300000));
		commit(l);
		if (i % 2)
			must(hf_log_base(l, 0, &err));
	}
	must(put(l, "old", noise, 1 << 18));
	commit(l);
	ok(holds(l, "old", noise, 1 << 18), "P1: what comes back after its place was given away is stored again");
	hf_log_close(l);
}

/* A base is prepared in parts, and commits come between; whoever takes over finds all. */
static void parts(void)
{
	struct hf_logid id = LOGID(7, 7);
	struct hf_log *l = claim(&a, &id), *r;
	unsigned between = 0;
	char key[16];
	int ret;

	for (int i = 0; i < 24; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fill(noise, 100000, i);
		must(put(l, key, noise, 100000));
	}
	commit(l);
	hf_log_close(l);
	for (int ends = 0; ends < 2; ends++) {
		l = claim(ends ? &c : &b, &id);
		while ((ret = hf_log_base_part(l, 200000, &err)) == 1) {
			step(l);
			snprintf(key, sizeof(key), "k%u", between++ % 24);
			fill(noise, 100000, between % 24);	/* what another has */
			must(put(l, key, noise, 100000));
			commit(l);
			fill(noise, 100000, between - 1);
			must(put(l, key, noise, 100000));
			commit(l);
			if (!ends && between == 6)
				break;		/* it never comes to the base */
		}
		if (ends)
			must(hf_log_base(l, 0, &err));
		step(l);
		hf_log_close(l);
		node_close(ends ? &c : &b);
		node_open(ends ? &c : &b);
	}
	ok(between > 12, "commits came between the parts of a base (%u)", between);
	must(hf_log_read(a.st, &id, 0, &r, &err));
	for (int i = 0; i < 24; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fill(noise, 100000, i);
		err = (struct hf_err){ 0 };
		if (!holds(r, key, noise, 100000)) {
			printf("# %s: %s\n", key, err.msg);
			break;
		}
		ret = i;
	}
	is(ret, 23, "P1: all contents are there, whether the base was made or not");
	hf_log_close(r);
}

/* random contents until nothing fits any more; how many were confirmed */
static unsigned fill_up(struct hf_log *l, size_t size)
{
	uint64_t gen;
	char key[16];
	unsigned n = 0;
	int ret = 0;

	for (; !ret && n < 4000; n++) {
		snprintf(key, sizeof(key), "f%u", n);
		fill(noise, size, n);
		ret = put(l, key, noise, size);
		if (!ret)
			ret = hf_log_commit(l, 0, NULL, &gen, &err);
		if (!ret)
			must(hf_log_confirm(l, &err));
		else
			n--;
		if (!ret && hf_log_wants_base(l)) {
			ret = hf_log_base(l, 0, &err);
			if (ret == -ENOSPC)
				ret = 0;
		}
	}
	is(ret, -ENOSPC, "a full area refuses");
	hf_log_abort(l);
	return n;
}

static bool all_there(struct hf_store *st, const struct hf_logid *id, unsigned from, unsigned n, size_t size)
{
	struct hf_log *l;
	bool good = true;
	char key[16];

	must(hf_log_read(st, id, 0, &l, &err));
	for (unsigned i = from; i < n && good; i++) {
		snprintf(key, sizeof(key), "f%u", i);
		fill(noise, size, i);
		good = holds(l, key, noise, size);
		if (!good)
			printf("# %s: %s\n", key, err.msg);
	}
	hf_log_close(l);
	return good;
}

static void full(void)
{
	struct hf_logid id = LOGID(8, 8), two = LOGID(10, 10);
	struct hf_log *l = claim(&a, &id), *o, *many[19];
	struct hf_err e;
	uint64_t empty = used(&a), gen;
	unsigned n;
	char key[24];

	must(put(l, "precious", "kept", 4));
	commit(l);
	must(hf_log_pin(l, hf_log_gen(l), "golden", &err));
	commit(l);
	n = fill_up(l, 150000);
	e = err;
	ok(n >= 10, "after many files (%u)", n);
	is(e.exit, HF_UNAVAIL, "the exit code says that the store cannot");
	ok(strstr(e.msg, "is full") && strstr(e.msg, "golden (generation 1)"), "the error says why, and names the pins");
	ok(all_there(b.st, &id, 0, n, 150000), "P1: nothing that was confirmed is lost");
	for (int i = 0; i < 12; i++) {
		char v[16];

		snprintf(v, sizeof(v), "%d", i);
		must(put(l, "small", v, strlen(v)) ? 0 : hf_log_commit(l, 0, NULL, &gen, &err) == -ENOSPC ? 0 : hf_log_confirm(l, &err));
		hf_log_abort(l);
	}
	/* what needs no room for contents goes on for a while */
	for (int i = 0, ret = 0; !ret && i < 20000; i++) {
		snprintf(key, sizeof(key), "empty%d", i);
		must(put(l, key, NULL, 0));
		ret = hf_log_commit(l, 0, NULL, &gen, &err);
	}
	hf_log_abort(l);
	is(hf_log_base(l, 1000000, &err) != 0 && err.exit != HF_UNAVAIL, 0, "in the end a base is made, or has no room");
	/* many are taken over at once */
	for (int i = 0; i < 19; i++) {
		struct hf_logid any = LOGID(60 + i, 20 + i);

		many[i] = claim(&a, &any);
	}
	for (int i = 0; i < 19; i++) {
		must(hf_log_release(many[i], &err));
		hf_log_close(many[i]);
	}
	/* all other logs are claimed and released, again and again */
	for (int i = 0; i < 60; i++) {
		struct hf_logid any = LOGID(20 + i % 4, 11 + i % 4);

		o = claim(&a, &any);
		if (i > 30)
			must(hf_log_release(o, &err));
		hf_log_close(o);
	}
	ok(1, "P4: in a full area logs can be claimed and released");
	is(all_there(b.st, &id, 0, n, 150000), 1, "P1: which cost nothing that is there");
	/* it restarts full, and is taken over full */
	hf_log_close(l);
	node_close(&a);
	node_open(&a);
	l = claim(&a, &id);
	ok(all_there(a.st, &id, 0, n, 150000), "P1: a daemon that starts on a full area has all");
	for (unsigned i = 0; i < n; i += 2) {
		snprintf(key, sizeof(key), "f%u", i);
		must(hf_log_del(l, key, strlen(key)));
	}
	commit(l);
	ok(1, "in a full area things are deleted");
	must(hf_log_base(l, 0, &err));
	must(put(l, "again", noise, 150000));
	commit(l);
	ok(1, "and there is room again");
	must(hf_log_read(b.st, &id, 1, &o, &err));
	ok(holds(o, "precious", "kept", 4), "the pin was not given up for space");
	hf_log_close(o);

	/* the area of b is full when it takes over what is too large for it */
	o = claim(&b, &two);
	n = fill_up(o, 200000);
	hf_log_close(l);
	l = claim(&b, &id);
	ok(1, "P1: a log is claimed by a node whose area is full");
	ok(holds(l, "precious", "kept", 4), "with all that is in it");
	is(hf_log_base(l, 0, &err), -ENOSPC, "a base has no room");
	is(hf_log_base(l, 0, &err), -ENOSPC, "nor later");
	must(hf_log_del(l, "precious", 8));
	commit(l);
	for (unsigned i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "f%u", i);
		must(hf_log_del(o, key, strlen(key)));
	}
	commit(o);
	must(hf_log_base(o, 0, &err));
	must(hf_log_base(l, 0, &err));
	ok(1, "when the other one gives room back, it has");
	hf_log_close(l);
	/* all goes, and all comes back: what is left is what one log more costs */
	l = claim(&a, &id);
	must(hf_log_unpin(l, "golden", &err));
	commit(l);
	for (unsigned i = 0; i < 4000; i++) {
		snprintf(key, sizeof(key), "f%u", i);
		must(hf_log_del(l, key, strlen(key)));
	}
	must(hf_log_del(l, "again", 5));
	commit(l);
	for (int i = 0; i < 3; i++) {
		step(l);
		must(hf_log_base(l, 0, &err));
	}
	area_collect(disk_of(a.st));
	ok(used(&a) <= empty + (3 << 20), "the space is back (%llu after %llu)", (unsigned long long)used(&a),
	   (unsigned long long)empty);
	hf_log_close(l);
	hf_log_close(o);
}

/* P8: a deleted log's space comes back where its owner was, and at a dead node that returns. */
static void deleted(void)
{
	struct hf_logid id = LOGID(40, 11);
	uint8_t known[1][16] = { { 1, 1, 2, 3 } };
	struct hf_log *l;
	uint64_t before_a, before_b = used(&b);

	area_known(disk_of(a.st), known, 1);
	area_known(disk_of(a.st), known, 1);
	before_a = used(&a);
	l = claim(&a, &id);
	fill(noise, 3 << 20, 3);
	must(put(l, "big", noise, 3 << 20));
	commit(l);
	hf_log_close(l);
	node_close(&a);		/* dies */
	l = claim(&b, &id);
	must(hf_log_del(l, "big", 3));
	commit(l);
	must(hf_log_base(l, 0, &err));
	must(hf_log_release(l, &err));
	hf_log_close(l);
	for (int i = 0; i < 2; i++)
		area_known(disk_of(b.st), known, 1);
	ok(used(&b) <= before_b, "W8: a deleted log leaves nothing where it was deleted (%llu, %llu)",
	   (unsigned long long)used(&b), (unsigned long long)before_b);
	node_open(&a);
	for (int i = 0; i < 2; i++)
		area_known(disk_of(a.st), known, 1);
	/* a start takes what a base lists for used, though some of it may be free */
	ok(used(&a) <= before_a + (1 << 18), "P8: nor at a dead node that returns (%llu, %llu)", (unsigned long long)used(&a),
	   (unsigned long long)before_a);
}

int main(void)
{
	char *json;

	noise = malloc(NOISE);
	setup(3, 60u << 20, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	node_make(&c, "gamma");
	retain_gens();
	retain_age();
	pins();
	once();
	parts();
	full();
	err = (struct hf_err){ 0 };
	is(hf_disk_check(conf, dev, &json, &err), 0, "the disk is sound");
	if (err.exit)
		printf("# %s\n", err.msg);
	free(json);
	deleted();
	free(noise);
	return tap_done();
}
