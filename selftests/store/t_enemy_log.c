// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * X9, P11: records, tails and chunks in the hands of an enemy. Whatever he moves,
 * forges or takes away: what is served is some generation of that very log, never a
 * newer one, and nothing before what its owner noted as confirmed is missed without a word.
 */
#include "enemy.h"

#define MAXREC 128

static struct node a, b;
static struct hf_logid one = LOGID(41, 2), two = LOGID(42, 3);
static uint8_t *whole;
static size_t whole_len;
static uint64_t top[2];			/* newest generation of each */

struct tally { unsigned tried, named, older, same, wrong; };

/* After the enemy was there: look at both logs, count, put the disk right again.
 * @noted: everything was noted, so that nothing may be missing. */
static void look(struct tally *t, bool noted, const char *what, uint64_t at)
{
	struct hf_logid *id[] = { &one, &two };

	for (int i = 0; i < 2; i++) {
		uint64_t gen;
		int ret = served(id[i], &gen);

		t->tried++;
		if (ret == -EBADMSG)
			t->named++;
		else if (!ret && gen == top[i])
			t->same++;
		else if (!ret && gen < top[i] && !noted)
			t->older++;
		else if (t->wrong++ < 5)
			printf("# %s at %llu: log %d: %d, generation %llu of %llu %s\n", what, (unsigned long long)at, i,
			       ret, (unsigned long long)gen, (unsigned long long)top[i], err.msg);
	}
}

static void restore(uint64_t off, size_t n) { put_at(off, whole + off, n); }

static void say(const struct tally *t, const char *what)
{
	ok(!t->wrong && t->named + t->older, "%s: of %u readings %u named, %u an older prefix, %u untouched, none wrong", what,
	   t->tried, t->named, t->older, t->same);
}

static size_t all(struct rec *v)
{
	return records(area_at(0), area_at(2), v, MAXREC);
}

/* each record over each other one: other positions, resources, epochs, nodes */
static void moved(bool noted)
{
	struct rec v[MAXREC];
	struct tally t = { 0 };
	size_t n = all(v);

	for (size_t s = 0; s < n; s++)
		for (size_t d = 0; d < n; d++) {
			size_t len = (v[s].sectors + v[s].tail) * SECT;

			if (s == d || (s * n + d) % (noted ? 3 : 7))
				continue;
			put_at(v[d].off, whole + v[s].off, len);
			look(&t, noted, "moved", v[d].off);
			restore(v[d].off, len);
		}
	say(&t, noted ? "records moved over noted ones" : "records moved");
	t = (struct tally){ 0 };
	for (size_t s = 0; s + 1 < n; s++) {	/* neighbours of one size change places */
		struct rec *x = &v[s], *y = &v[s + 1];

		if (x->sectors + x->tail != y->sectors + y->tail)
			continue;
		put_at(x->off, whole + y->off, (y->sectors + y->tail) * SECT);
		put_at(y->off, whole + x->off, (x->sectors + x->tail) * SECT);
		look(&t, noted, "swapped", x->off);
		restore(x->off, (x->sectors + x->tail) * SECT);
		restore(y->off, (y->sectors + y->tail) * SECT);
	}
	say(&t, "neighbours swapped");
}

static void forged(bool noted)
{
	static const struct { unsigned at, len; } field[] = {
		{ 0, 4 }, { 4, 2 }, { 6, 2 }, { 8, 4 }, { 12, 4 }, { 16, 8 },
	};
	static const uint64_t val[] = { 0, 1, 2, 3, 16, 255, 256, 65, 512, 3584, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff,
					0x100000000, ~0ull };
	struct rec v[MAXREC];
	struct tally t = { 0 };
	size_t n = all(v);

	for (size_t i = 0; i < n; i++)
		for (size_t f = 0; f < HF_ARRAY(field); f++)
			for (size_t k = (i + f) % 3; k < HF_ARRAY(val); k += 3) {
				uint8_t bytes[8];

				for (int j = 0; j < 8; j++)
					bytes[j] = val[k] >> (8 * j);
				put_at(v[i].off + field[f].at, bytes, field[f].len);
				look(&t, noted, "forged", v[i].off + field[f].at);
				restore(v[i].off, SECT);
			}
	say(&t, "lengths, counts and numbers in headers forged");
}

static size_t lead(const struct rec *r) { return num(whole + r->off + 6, 2); }

/* tails, parts of tails, and blocks of packs of other records */
static void spliced(bool noted)
{
	struct rec v[MAXREC];
	struct tally t = { 0 };
	size_t n = all(v), chunks = 0;

	for (size_t s = 0; s < n; s++)
		for (size_t d = 0; d < n; d++) {
			size_t n1 = lead(&v[s]) + v[s].tail * SECT, n2 = lead(&v[d]) + v[d].tail * SECT;
			uint64_t from = v[s].off + v[s].sectors * SECT - lead(&v[s]);
			uint64_t to = v[d].off + v[d].sectors * SECT - lead(&v[d]);
			size_t len = n1 < n2 ? n1 : n2;

			if (s == d || len < 1024)
				continue;
			put_at(to, whole + from, len);
			look(&t, noted, "tail", to);
			restore(to, len);
			from += n1 - 1024;
			to += n2 - 1024;
			put_at(to, whole + from, 1024);
			look(&t, noted, "end of a tail", to);
			restore(to, 1024);
		}
	say(&t, "tails of other records");
	/* blocks without a record in use are packs: all zero ones are not in use */
	t = (struct tally){ 0 };
	for (uint64_t x = area_at(0); x + 131072 <= area_at(2); x += 65536) {
		bool pack = false;

		for (size_t k = 0; k < 65536 && !pack; k++)
			pack = whole[x + k];
		for (size_t k = 0; k < n && pack; k++)
			pack = v[k].off / 65536 != x / 65536;
		if (!pack)
			continue;
		chunks++;
		put_at(x, whole + x + 4096, 65536 - 4096);	/* shifted */
		look(&t, noted, "chunk shifted", x);
		restore(x, 65536);
		put_at(x, whole + x + 65536, 65536);		/* the next pack's, or nothing */
		look(&t, noted, "chunk of another", x);
		restore(x, 65536);
	}
	ok(chunks > 2, "there are packs (%zu blocks)", chunks);
	say(&t, "chunks moved within packs and between them");
}

static void deleted(bool noted)
{
	static uint8_t zero[1 << 21];
	struct rec v[MAXREC];
	struct tally t = { 0 };
	size_t n = all(v);

	for (size_t i = 0; i < n; i++) {	/* seals, bases and commits alike */
		size_t len = (v[i].sectors + v[i].tail) * SECT;

		put_at(v[i].off, zero, len);
		look(&t, noted, "zeroed", v[i].off);
		restore(v[i].off, len);
	}
	say(&t, noted ? "a record, a seal, a base zeroed" : "the same before it was noted");
}

/* the same key, the same names, the same history on a second disk of another cluster */
static void other_disk(void)
{
	char first[300], second[sizeof(dev) + 10];
	struct hf_format f = { .cluster = "test", .nodes = 2, .lease_ms = 500, .size = 16u << 20 };
	struct node c;
	struct hf_log *l;
	struct rec v[MAXREC], w[MAXREC];
	struct tally t = { 0 };
	size_t n = all(v), m;
	int first_raw = raw;
	uint8_t *foreign;

	strcpy(first, dev);
	snprintf(second, sizeof(second), "%s.2", dev);
	must(hf_disk_format(conf, second, &f, &err));
	strcpy(dev, second);
	raw = open(dev, O_RDWR | O_CLOEXEC);
	node_make(&c, "gamma");
	must(hf_log_claim(c.st, &one, 0, &l, &err));
	commits(l, &one, 6);
	m = all(w);
	foreign = image(&(size_t){ 0 });
	hf_log_close(l);
	node_close(&c);
	close(raw);
	strcpy(dev, first);
	raw = first_raw;
	for (size_t i = 0; i < m; i++)
		for (size_t d = i % 3; d < n; d += 3) {
			size_t len = (w[i].sectors + w[i].tail) * SECT;

			put_at(v[d].off, foreign + w[i].off, len);
			look(&t, true, "of another disk", v[d].off);
			restore(v[d].off, len);
		}
	say(&t, "records of another disk with the same key");
	t = (struct tally){ 0 };
	for (uint32_t s = 0; s < 2; s++) {
		put_at(area_at(s), foreign + area_at(s), area_len());
		look(&t, true, "area of another disk", s);
		restore(area_at(s), area_len());
	}
	say(&t, "whole areas of it");
	free(foreign);
	unlink(second);
}

int main(void)
{
	struct hf_log *l, *k;
	struct tally t = { 0 };
	uint8_t *old;
	uint64_t gen;

	setup(2, 16u << 20, 500);
	raw = open(dev, O_RDWR | O_CLOEXEC);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	/* three epochs of two nodes, and a log beside them in the same area */
	must(hf_log_claim(a.st, &two, 0, &k, &err));
	commits(k, &two, 3);
	must(hf_log_claim(a.st, &one, 0, &l, &err));
	commits(l, &one, 3);
	hf_log_close(l);
	must(hf_log_claim(b.st, &one, HF_CLAIM_FENCED, &l, &err));
	commits(l, &one, 2);
	must(hf_log_base(l, 100, &err));
	commits(l, &one, 1);
	hf_log_close(l);
	old = take(area_at(0), area_len());
	must(hf_log_claim(a.st, &one, HF_CLAIM_FENCED, &l, &err));
	commits(l, &one, 3);
	top[0] = hf_log_gen(l);
	top[1] = hf_log_gen(k);
	whole = image(&whole_len);
	is(served(&one, &gen), 0, "it reads");
	is(gen, 9, "to its end");
	moved(false);
	deleted(false);
	/* its owner has not noted them yet: to who reads the disk alone it is a shorter log */
	put_at(area_at(0), old, area_len());
	is(served(&one, &gen) == -EBADMSG || gen < 9, 1, "an old area: damaged, or a prefix");
	restore(area_at(0), area_len());

	/* noted: nothing of it can go without a word */
	must(hf_log_note(l, &err));
	must(hf_log_note(k, &err));
	free(whole);
	whole = image(&whole_len);
	moved(true);
	forged(true);
	spliced(true);
	deleted(true);
	put_at(area_at(0), old, area_len());
	look(&t, true, "old area", area_at(0));
	ok(check() == -EBADMSG, "disk check names it");
	say(&t, "an old area put back");
	restore(area_at(0), area_len());
	other_disk();
	is(served(&one, &gen), 0, "put right again it reads");
	is(gen, 9, "to its end");
	is(check(), 0, "and is sound");
	hf_log_close(l);
	hf_log_close(k);
	free(old);
	free(whole);
	return tap_done();
}
