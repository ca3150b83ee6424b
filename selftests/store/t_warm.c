// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Following a log (X8): a claim that goes on from there reads the tail alone, and adopts what one
 * that reads all would: across bases, trims, epochs, growth and failures, and whatever is wrong
 * with what was kept (P1, P4, P11).
 */
#include "store_test.h"
#include "disk_int.h"
#include "log_int.h"

static struct node a, b, c;
static struct hf_log *own, *warm;
static struct hf_logid id = LOGID(41, 2);
static char big[300000];

static void fill(char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = seed >> 16;
	}
}

static uint64_t of_areas;
static struct blocks_ops counting;
static int (*really)(struct disk *d, void *p, size_t n, uint64_t off);

static int counted(struct disk *d, void *p, size_t n, uint64_t off)
{
	if (off >= d->sb.part[0].off)
		of_areas += n;
	return really(d, p, n, off);
}

static void count(struct node *n)
{
	struct disk *d = disk_of(n->st);

	really = d->io->read;
	counting = *d->io;
	counting.read = counted;
	d->io = &counting;
}

/* by beta, but for the rows */
static uint64_t bytes_read(void) { return of_areas; }

static void commit(void)
{
	uint64_t gen;

	must(hf_log_commit(own, 0, NULL, &gen, &err));
	must(hf_log_confirm(own, &err));
}

static void set(const char *key, const char *val)
{
	must(put(own, key, val, strlen(val)));
	commit();
}

static void many(unsigned from, unsigned n)
{
	char key[40], val[200];

	for (unsigned i = from; i < from + n; i++) {
		snprintf(key, sizeof(key), "some/where/file-%u", i);
		fill(val, sizeof(val), i);
		must(put(own, key, val, sizeof(val)));
	}
	commit();
}

static int follow(void) { return hf_log_follow(b.st, &id, &warm, NULL, NULL, &err); }

struct sum { uint8_t h[HF_HASH]; uint64_t n; struct hf_log *l; };

static int add_up(void *ctx, const struct hf_item *it)
{
	struct sum *s = ctx;
	struct sunk k = { 0 };

	for (uint32_t i = 0; i < HF_HASH; i++)
		s->h[i] = s->h[i] * 31 + it->hash[i] + ((const uint8_t *)it->key)[i % it->keylen] + it->gen * 7 + it->size;
	if (hf_log_content(s->l, it->key, it->keylen, sink, &k, &err) || k.n != it->size)
		s->n += 1000000;
	free(k.p);
	s->n++;
	return 0;
}

/* items, generations and contents are equal; and so are the places of the contents */
static bool equal(struct hf_log *x, struct hf_log *y)
{
	struct sum p = { .l = x }, q = { .l = y };

	if (hf_log_gen(x) != hf_log_gen(y) || hf_log_fuzzy(x) != hf_log_fuzzy(y) || x->since != y->since)
		return false;
	must(hf_log_each(x, "", 0, add_up, &p));
	must(hf_log_each(y, "", 0, add_up, &q));
	if (p.n != q.n || memcmp(p.h, q.h, HF_HASH))
		return false;
	for (size_t i = 0; i < x->items.cap; i++)
		for (struct ent *e = x->items.slot[i]; e; e = e->next) {
			struct ent *f = table_get(&y->items, ent_key(e), e->keylen);

			if (!f || f->nref != e->nref || (e->nref && memcmp(f->ref, e->ref, e->nref * sizeof(*e->ref))))
				return false;
		}
	return true;
}

static bool as_read_anew(void)
{
	struct hf_log *r;
	bool same;

	must(hf_log_read(c.st, &id, 0, &r, &err));
	same = warm && equal(warm, r);
	hf_log_close(r);
	return same;
}

static void release(void)
{
	must(hf_log_release(own, &err));
	hf_log_close(own);
	own = NULL;
}

static void reads_the_tail(void)
{
	uint64_t cold, t, epoch;
	struct hf_log *r;

	must(hf_log_claim(a.st, &id, 0, &own, &err));
	many(0, 2000);
	must(put(own, "big", big, sizeof(big)));
	commit();
	must(hf_log_base(own, 0, &err));
	t = bytes_read();
	must(hf_log_read(b.st, &id, 0, &r, &err));
	cold = bytes_read() - t;
	hf_log_close(r);
	t = bytes_read();
	is(follow(), 0, "X8: a log is followed");
	ok(bytes_read() - t <= cold && as_read_anew(), "at first all of it is read");
	t = bytes_read();
	is(follow(), 0, "followed again, and nothing came");
	ok(as_read_anew(), "it is the same");
	t = bytes_read();
	is(hf_log_more(warm, &epoch), 0, "a look tells that nothing came");
	is(bytes_read() - t, 4096, "for one sector");
	set("k", "one");
	is(hf_log_more(warm, &epoch), 1, "and that something came");
	is(follow(), 0, "which is followed");
	set("k", "two");
	t = bytes_read();
	is(follow(), 0, "and the next");
	ok(bytes_read() - t <= 65536 && as_read_anew(), "it reads those alone (%llu bytes)", (unsigned long long)(bytes_read() - t));
	set("last", "words");
	t = bytes_read();
	is(hf_log_claim_followed(b.st, &id, HF_CLAIM_FENCED, &warm, &err), 0, "X8: the takeover");
	t = bytes_read() - t;
	ok(t <= 65536, "X8: reads the tail only: %llu bytes, %llu without what was followed",
	   (unsigned long long)t, (unsigned long long)cold);
	ok(holds(warm, "last", "words", 5) && holds(warm, "k", "two", 3) && holds(warm, "big", big, sizeof(big)),
	   "P1: and has all that was confirmed");
	is(hf_log_confirm(own, &err), -ESTALE, "P4: the one before it cannot confirm");
	hf_log_close(own);
	own = warm;
	warm = NULL;
	set("new", "owner");
	must(hf_log_base(own, 0, &err));
	must(hf_log_read(c.st, &id, 0, &r, &err));
	ok(equal(own, r) || (holds(r, "new", "owner", 5) && hf_log_gen(r) == hf_log_gen(own)), "what it goes on to commit is read by others");
	hf_log_close(r);
	release();
}

static void through_all(void)
{
	char key[20];

	for (unsigned round = 0; round < 12; round++) {
		struct node *n = round % 2 ? &a : &c;

		must(hf_log_claim(n->st, &id, HF_CLAIM_FENCED, &own, &err));
		for (unsigned i = 0; i < 6; i++) {
			snprintf(key, sizeof(key), "r%u", round * 6 + i);
			set(key, "v");
			if (i == 2 && round % 3)
				must(hf_log_del(own, "r1", 2));
			if (round % 4 == 1 && i == 3)
				many(round * 10, 500);
			if (round % 2 && i == 4)
				must(hf_log_base(own, round % 3 ? 0 : 1000, &err));
			if ((round + i) % 3 == 0) {
				must(follow());
				if (!as_read_anew())
					goto bad;
			}
		}
		release();
		if (round % 3 == 0) {
			must(follow());
			if (!as_read_anew())
				goto bad;
		}
	}
	must(follow());
	ok(as_read_anew(), "followed through bases, trims, epochs and releases it is what a reading anew finds");
	return;
bad:
	ok(0, "followed through bases, trims, epochs and releases it is what a reading anew finds");
}

/* Not looked at for a while: its place was trimmed, and used again. */
static void overtaken(void)
{
	uint64_t t;

	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &own, &err));
	set("o", "1");
	must(follow());
	for (unsigned i = 0; i < 30; i++) {
		fill(big, sizeof(big), i);
		must(put(own, "big", big, sizeof(big)));
		commit();
		if (i % 5 == 4)
			must(hf_log_base(own, 0, &err));
	}
	set("o", "2");
	t = bytes_read();
	is(follow(), 0, "what it stood at was trimmed and used again");
	ok(as_read_anew() && bytes_read() > t, "so it begins at the newest base");
	release();
}

static void believes_nothing(void)
{
	struct hf_log *r;
	struct hf_at was;
	bool good = true;

	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &own, &err));
	set("p", "1");
	set("p", "2");
	must(follow());
	was = warm->upto;
	/* every byte of what it knows of its place, wrong in turn */
	for (size_t i = 0; i < sizeof(was.opaque) && good; i++) {
		struct hf_at bad = was;
		struct hf_log *w = NULL;
		int ret;

		((uint8_t *)bad.opaque)[i] ^= 0x41;
		must(hf_log_follow(b.st, &id, &w, NULL, NULL, &err));
		/* it says that it is at the end, and is */
		w->upto = bad;
		ret = hf_log_follow(b.st, &id, &w, NULL, NULL, &err);
		if (!ret && w) {
			must(hf_log_read(c.st, &id, 0, &r, &err));
			good = equal(w, r);
			hf_log_close(r);
		}
		hf_log_close(w);
		if (!good)
			printf("# byte %zu\n", i);
	}
	ok(good, "P11: a place that is wrong is not gone on from");
	must(follow());
	ok(as_read_anew(), "one that is right is");
	release();
}

/* A record that was seen and is not there any more: the disk was put back (X9). The log has no base. */
static void put_back(void)
{
	const struct hf_logid was = id;
	int fd = open(dev, O_RDWR | O_CLOEXEC);
	struct hf_log *r, *other = warm;
	struct stat st;
	char *image;

	id = (struct hf_logid)LOGID(43, 4);
	warm = NULL;
	must(fd < 0 || fstat(fd, &st));
	image = malloc(st.st_size);
	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &own, &err));
	set("q", "1");
	must(hf_pread_full(fd, image, st.st_size, 0));
	set("q", "2");
	set("later", "2");
	must(follow());
	ok(holds(warm, "q", "2", 1) && holds(warm, "later", "2", 1), "the follower has what is newest");
	hf_log_close(own);
	must(hf_pwrite_full(fd, image, st.st_size, 0));
	must(follow());
	ok(holds(warm, "q", "1", 1) && !hf_log_get(warm, "later", 5, &(struct hf_item){ 0 }) && as_read_anew(),
	   "X9: what the disk has no more is not there, though it was kept");
	is(hf_log_claim_followed(b.st, &id, HF_CLAIM_FENCED, &warm, &err), 0, "nor for a takeover");
	must(hf_log_read(c.st, &id, 0, &r, &err));
	ok(holds(r, "q", "1", 1), "which seals what is there");
	hf_log_close(r);
	own = warm;
	release();
	warm = other;
	id = was;
	free(image);
	close(fd);
}

/* Two records with the same number, epoch and tag before them, of which one was seen: an
 * owner that was copied while it ran. What is on the disk counts. */
static void copied(void)
{
	int status;
	pid_t p;

	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &own, &err));
	set("x", "0");
	must(follow());
	fflush(stdout);
	p = fork();
	if (!p) {
		set("x", "1");
		_exit(0);
	}
	must(p < 0 || waitpid(p, &status, 0) != p || status);
	must(follow());
	ok(holds(warm, "x", "1", 1), "one of two records with the same number is seen");
	set("x", "2");
	must(follow());
	ok(holds(warm, "x", "2", 1) && as_read_anew(), "P11: the other one is on the disk, and counts");
	release();
}

static unsigned stop_after;
static int pace(void *ctx, struct hf_log *l, size_t n) { return stop_after && !--stop_after ? -ECANCELED : 0; }

static void interrupted(void)
{
	bool good = true;

	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &own, &err));
	many(5000, 3000);
	set("i", "1");
	set("i", "2");
	hf_log_close(warm);
	warm = NULL;
	for (unsigned n = 1; n < 12 && good; n++) {
		struct hf_log *w = NULL;
		int ret;

		stop_after = n;
		ret = hf_log_follow(b.st, &id, &w, pace, NULL, &err);
		stop_after = 0;
		if (ret && ret != -ECANCELED)
			good = false;
		/* what is left of it is good to go on with */
		hf_log_close(warm);
		warm = w;
		must(follow());
		good &= as_read_anew();
	}
	ok(good, "a reading that was called off anywhere is gone on with");
	for (unsigned n = 1; n < 6; n++) {
		char spec[40];

		hf_log_close(warm);
		warm = NULL;
		must(follow());
		set("i", "3");
		many(9000, 10);
		snprintf(spec, sizeof(spec), "disk.read:%u+:eio", n);
		hf_seam_init(spec);
		ok(follow() && 1, "the store is out of reach from read %u on", n);
		hf_seam_init(NULL);
		is(follow(), 0, "and back");
		good &= as_read_anew();
	}
	ok(good, "it is what is there then");
	release();
}

static bool no_big(void *ctx, const struct hf_item *it) { return it->keylen != 3 || memcmp(it->key, "big", 3); }

static size_t taken(void)
{
	size_t contents;

	hf_log_memory(warm, &contents);
	return contents;
}

/* does memory that belongs to the log hold the bytes? */
static bool in_stash(const struct stash *s, const void *p, size_t n)
{
	struct view { struct view *next; uint8_t hash[HF_HASH]; uint32_t n; bool kept; uint8_t data[]; } **slot, *o;
	struct { struct view **slot; size_t cap, n, bytes; } *v = (void *)s;

	slot = v->slot;
	for (size_t i = 0; i < v->cap; i++)
		for (o = slot[i]; o; o = o->next)
			if (memmem(o->data, o->n, p, n))
				return true;
	return false;
}

static void contents(void)
{
	static const char secret[] = "-----BEGIN PRIVATE KEY----- 4711 0815 not for anybody's eyes";
	uint64_t missing, t, first;
	struct hf_log *w = NULL;
	int fd, ret;

	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &own, &err));
	fill(big, sizeof(big), 98);
	must(put(own, "big", big, sizeof(big)));
	commit();
	must(hf_log_pin(own, hf_log_gen(own), "kept", &err));
	commit();
	fill(big, sizeof(big), 99);
	must(put(own, "big", big, sizeof(big)));
	commit();
	set("crypto/key", secret);
	must(follow());
	is(hf_log_warm(warm, 8u << 20, NULL, NULL, NULL, &missing, &err), 0, "contents are read ahead");
	is(missing, 0, "all of them");
	ok(!stash_keep(warm->stash, &table_get(&warm->items, "@kept/big", 9)->ref[0]), "but for those of what is pinned");
	ok(taken() > sizeof(big) && taken() <= 8u << 20, "they take %zu bytes", taken());
	ok(!in_stash(warm->stash, secret, 20) && !in_stash(warm->stash, big, 64), "P11: and are there as the store has them: sealed");
	t = bytes_read();
	ok(holds(warm, "big", big, sizeof(big)) && holds(warm, "crypto/key", secret, strlen(secret)), "they are what they should be");
	is(bytes_read() - t, 0, "and nothing is read for them");
	first = bytes_read();
	is(hf_log_warm(warm, 8u << 20, NULL, NULL, NULL, &missing, &err), 0, "again");
	is(bytes_read() - first, 0, "reads nothing either");
	for (size_t room = 1u << 20; room; room /= 4) {
		must(hf_log_warm(warm, room, NULL, NULL, NULL, &missing, &err));
		ok(taken() <= room + 16384, "no more than %zu bytes are taken (%zu)", room, taken());
	}
	ok(missing > sizeof(big), "what there is no room for is told");
	must(hf_log_warm(warm, 64u << 10, NULL, NULL, NULL, &missing, &err));
	t = bytes_read();
	ok(holds(warm, "crypto/key", secret, strlen(secret)) && bytes_read() == t, "what was put last has room first");
	must(hf_log_warm(warm, 8u << 20, no_big, NULL, NULL, &missing, &err));
	t = bytes_read();
	ok(holds(warm, "big", big, sizeof(big)) && bytes_read() > t, "what is not wanted is not kept");
	/* poisoned: every chunk that is kept differs in a bit */
	must(hf_log_warm(warm, 8u << 20, NULL, NULL, NULL, &missing, &err));
	struct view { struct view *next; uint8_t hash[HF_HASH]; uint32_t n; bool kept; uint8_t data[]; };
	struct { struct view **slot; size_t cap, n, bytes; } *v = (void *)warm->stash;

	for (size_t i = 0; i < v->cap; i++)
		for (struct view *o = v->slot[i]; o; o = o->next)
			o->data[o->n / 2] ^= 1;
	t = bytes_read();
	ok(holds(warm, "big", big, sizeof(big)) && holds(warm, "crypto/key", secret, strlen(secret)),
	   "P11: contents that were tampered with are not believed, but read");
	hf_log_cool(warm);
	is(taken(), 0, "they go when they are not needed any more");
	/* damaged on the disk: not taken in, and no reason to fail for ever */
	fd = open(dev, O_RDWR | O_CLOEXEC);
	must(hf_log_follow(c.st, &id, &w, NULL, NULL, &err));
	struct ent *e = table_get(&w->items, "big", 3);
	uint8_t was[512], x[512];

	must(hf_pread_full(fd, was, 512, e->ref[0].place / 512 * 512 + 512));
	memset(x, 0x5a, 512);
	must(hf_pwrite_full(fd, x, 512, e->ref[0].place / 512 * 512 + 512));
	ret = hf_log_warm(w, 8u << 20, NULL, NULL, NULL, &missing, &err);
	ok(ret == -EBADMSG, "what does not authenticate is not kept (%d)", ret);
	must(hf_pwrite_full(fd, was, 512, e->ref[0].place / 512 * 512 + 512));
	is(hf_log_warm(w, 8u << 20, NULL, NULL, NULL, &missing, &err), 0, "until it does");
	hf_log_close(w);
	close(fd);
	release();
}

/* Two logs that claim at once: who loses keeps what it followed. */
static void lost_race(void)
{
	struct hf_log *w = NULL;
	uint64_t t;

	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &own, &err));
	many(0, 2000);
	must(follow());
	must(hf_log_follow(c.st, &id, &w, NULL, NULL, &err));
	must(a.st->ops->beat(a.st, &err));
	must(b.st->ops->beat(b.st, &err));
	must(a.st->ops->beat(a.st, &err));
	must(b.st->ops->beat(b.st, &err));
	is(hf_log_claim_followed(b.st, &id, 0, &warm, &err), -EBUSY, "P4: a live owner is not taken over");
	ok(warm && as_read_anew(), "what was followed is kept");
	must(hf_log_claim_followed(c.st, &id, HF_CLAIM_FENCED, &w, &err));
	hf_log_close(own);
	own = w;
	set("winner", "c");
	t = bytes_read();
	must(follow());
	t = bytes_read() - t;
	ok(as_read_anew() && holds(warm, "winner", "c", 1), "and goes on through the next epoch");
	ok(t < 400000, "without all of it anew (%llu bytes)", (unsigned long long)t);
	release();
}

static void gone(void)
{
	struct hf_logid none = LOGID(42, 3);
	struct hf_log *w = NULL;

	is(hf_log_follow(b.st, &none, &w, NULL, NULL, &err), -ENOENT, "a log without a generation");
	ok(!w, "is not followed");
	must(hf_log_claim_followed(b.st, &none, 0, &w, &err));
	ok(hf_log_gen(w) == 0, "but can be claimed");
	must(put(w, "x", "y", 1));
	own = w;
	commit();
	release();
}

int main(void)
{
	setup(4, 64u << 20, 500);
	fill(big, sizeof(big), 7);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	node_make(&c, "gamma");
	count(&b);
	reads_the_tail();
	through_all();
	overtaken();
	believes_nothing();
	interrupted();
	contents();
	lost_race();
	copied();
	put_back();
	gone();
	hf_log_close(warm);
	node_close(&a);
	node_close(&b);
	node_close(&c);
	hf_keys_free(keys);
	return tap_done();
}
