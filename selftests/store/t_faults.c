// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P1, P5 and P8 when things fail, one case at a time: an area that is full, commits
 * that fail half-way, entries that are too large, starts and claims that fail, torn
 * rows, and many threads. t_storm.c has the random ones.
 */
#include "store_test.h"
#include <pthread.h>
#include <stdatomic.h>

static struct node a, b;

static void fill(char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = seed >> 16;
	}
}

static int commit(struct hf_log *l)
{
	uint64_t gen;
	int ret = hf_log_commit(l, 0, "t", &gen, &err);

	return ret ? ret : hf_log_confirm(l, &err);
}

static void start(unsigned nodes, uint64_t size)
{
	setup(nodes, size, 500);
	node_make(&a, "alpha");
	if (nodes > 1)
		node_make(&b, "beta");
}

static void end(void)
{
	node_close(&a);
	if (b.st)
		node_close(&b);
	b.st = NULL;
	hf_keys_free(keys);
	cleanup();
}

/* use up what counts as free in the area of @n */
static void overwrite(struct node *n, unsigned rounds)
{
	static struct hf_logid o = LOGID(90, 9);
	static char buf[60000];
	struct hf_log *l;

	for (unsigned r = 0; r < rounds; r++) {
		must(hf_log_claim(n->st, &o, HF_CLAIM_FENCED, &l, &err));
		for (unsigned i = 0; i < 8; i++) {
			uint64_t gen;

			fill(buf, sizeof(buf), r * 100 + i);
			if (put(l, "z", buf, sizeof(buf)) || hf_log_commit(l, 0, NULL, &gen, &err))
				hf_log_abort(l);
			if (i % 2)
				(void)hf_log_base(l, 0, &err);
		}
		hf_log_close(l);
	}
}

/* An area that is full: nothing outside of it is written, nothing is lost, and after
 * deletions it goes on. */
static void full(void)
{
	struct hf_logid id = LOGID(1, 2);
	struct hf_log *l;
	static char big[400000], super[65536 * 3], now[65536 * 3];
	char key[16];
	int fd, ret = 0, kept = 0, bad = 0;

	start(2, 6u << 20);
	fd = open(dev, O_RDONLY | O_CLOEXEC);
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	must(hf_pread_full(fd, super, 65536, 0));
	for (int i = 0; i < 40 && !ret; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fill(big, sizeof(big), i);
		ret = put(l, key, big, sizeof(big));
		if (!ret)
			ret = commit(l);
		kept += !ret;
	}
	is(ret, -ENOSPC, "an area becomes full");
	/* whoever captured goes on with the next file */
	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "s%d", i);
		(void)put(l, key, big, 50000 - i * 2000);
	}
	(void)commit(l);
	hf_log_abort(l);
	must(hf_pread_full(fd, now, 65536, 0));
	ok(!memcmp(super, now, 65536), "a full area does not spill over the superblock");
	for (int i = 0; i < kept; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fill(big, sizeof(big), i);
		bad += !holds(l, key, big, sizeof(big));
	}
	ok(kept && !bad, "P1: what was confirmed is there (%d)", kept);
	for (int i = 0; i < kept; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		must(hf_log_del(l, key, strlen(key)));
	}
	ret = commit(l);
	if (!ret)
		ret = hf_log_base(l, 0, &err);
	is(ret, 0, "P8: deleting in a full area works");
	if (ret)
		printf("# %s\n", err.msg);
	ret = put(l, "again", big, sizeof(big));
	if (!ret)
		ret = commit(l);
	is(ret, 0, "and makes room");
	hf_log_close(l);
	is(sound(), 0, "the disk is sound");
	close(fd);
	end();
}

/* Records of a commit that failed half-way are not part of the next one. */
static void parts(void)
{
	struct hf_logid id = LOGID(2, 2);
	struct hf_log *l, *r = NULL;
	static char attr[200000];
	uint64_t gen;
	char key[16];

	start(2, 16u << 20);
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	must(put(l, "keep", "kept", 4));
	must(commit(l));
	must(hf_log_del(l, "keep", 4));
	for (int i = 0; i < 8; i++) {
		snprintf(key, sizeof(key), "p%d", i);
		fill(attr, sizeof(attr), i);
		must(hf_log_put(l, key, strlen(key), attr, sizeof(attr), NULL, NULL, &err));
	}
	hf_seam_init("commit.append:1:eio");
	is(hf_log_commit(l, 0, NULL, &gen, &err), -EIO, "the last record of several fails");
	hf_seam_init("");
	hf_log_abort(l);
	must(put(l, "other", "o", 1));
	must(commit(l));
	must(hf_log_read(b.st, &id, 0, &r, &err));
	ok(holds(r, "keep", "kept", 4), "P1: a deletion that was taken back is not read");
	ok(holds(r, "other", "o", 1) && !hf_log_get(r, "p1", 2, &(struct hf_item){ 0 }), "nor anything else of it");
	hf_log_close(r);
	hf_log_close(l);
	end();
}

/* What is written can be read, however large it is and however well it compresses. */
static void large(void)
{
	struct hf_logid id = LOGID(3, 2);
	struct hf_log *l, *r = NULL;
	char *attr = calloc(1, 6u << 20), small[3000];
	int ret, bad = 0;

	start(2, 32u << 20);
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	must(put(l, "x", "1", 1));
	must(commit(l));
	ret = hf_log_put(l, "huge", 4, attr, 6u << 20, NULL, NULL, &err);
	if (!ret)
		ret = commit(l);
	if (ret)
		hf_log_abort(l);
	must(hf_log_read(b.st, &id, 0, &r, &err));
	ok(holds(r, "x", "1", 1), "an entry too large for a record is refused, or can be read (%d)", ret);
	hf_log_close(r);
	/* commits around the size where they need a second record, with bytes that travel along */
	fill(small, sizeof(small), 7);
	for (size_t n = (768u << 10) - 480; n < (768u << 10) && !bad; n += 8) {
		fill(small, 100, n);
		must(put(l, "small", small, sizeof(small)));
		must(hf_log_put(l, "large", 5, attr, n, NULL, NULL, &err));
		bad |= hf_log_commit(l, 0, "a note that is long enough to matter: it is part of the first record, of 127 bytes at most, and cut",
				     &(uint64_t){ 0 }, &err);
		must(hf_log_read(b.st, &id, 0, &r, &err));
		bad |= !holds(r, "small", small, sizeof(small));
		if (bad)
			printf("# %zu bytes: %s\n", n, err.msg);
		hf_log_close(r);
	}
	ok(!bad, "P1: contents that travel along are found around the size of one record");
	hf_log_close(l);
	free(attr);
	end();
}

/* A takes over from B and bases; B's space is used again; A restarts and must still know
 * what its log stands on although the history before its base is gone. */
static void rebuild(void)
{
	struct hf_logid id = LOGID(4, 3);
	struct hf_log *l, *r = NULL;
	static char v[50000];
	char key[16];
	int bad = 0;

	start(2, 8u << 20);
	must(hf_log_claim(b.st, &id, 0, &l, &err));
	must(put(l, "old", "o", 1));
	must(commit(l));
	hf_log_close(l);
	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &l, &err));
	for (int i = 0; i < 12; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fill(v, sizeof(v), i);
		must(put(l, key, v, sizeof(v)));
		must(commit(l));
	}
	must(hf_log_base(l, 1000, &err));
	must(put(l, "new", "n", 1));
	must(commit(l));
	hf_log_close(l);
	/* B needs the space */
	struct hf_logid o = LOGID(91, 8);

	must(hf_log_claim(b.st, &o, 0, &l, &err));
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "b%d", i);
		fill(v, sizeof(v), 1000 + i);
		if (put(l, key, v, sizeof(v)) || commit(l))
			break;
		if (i % 4 == 3 && hf_log_base(l, 0, &err))
			break;
	}
	hf_log_close(l);
	overwrite(&b, 8);
	node_close(&a);
	node_open(&a);
	overwrite(&a, 20);
	int ret = hf_log_read(b.st, &id, 0, &r, &err);

	for (int i = 0; i < 12 && !ret; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fill(v, sizeof(v), i);
		bad += !holds(r, key, v, sizeof(v));
	}
	ok(!ret && !bad && holds(r, "new", "n", 1), "P1: a restart finds what a log stands on, though its history is gone (%d, %d bad, %s)",
	   ret, bad, err.msg);
	hf_log_close(r);
	is(hf_log_read(b.st, &id, 13, &r, &err), 0, "a generation after the base is read, though older history is gone");
	if (r)
		hf_log_close(r);
	end();
}

/* Errors while the area is mapped again: the start fails, or nothing is forgotten. */
static void rebuild_eio(void)
{
	struct hf_logid id = LOGID(5, 3);
	struct hf_log *l, *r = NULL;
	static char v[50000];
	char key[16], spec[40];
	unsigned failed = 0, bad = 0;
	struct hf_store_params p = { .keys = keys };

	start(1, 6u << 20);
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	for (int i = 0; i < 12; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fill(v, sizeof(v), i);
		must(put(l, key, v, sizeof(v)));
		must(commit(l));
	}
	hf_log_close(l);
	for (unsigned n = 1; n < 300; n++) {
		int ret;

		a.st->ops->close(a.st);
		p = (struct hf_store_params){ .keys = keys, .id = &a.id, .lock_fd = &a.lock };
		must(hf_store_open(dev, &p, &a.st, &err));
		snprintf(spec, sizeof(spec), "disk.read:%u:eio", n);
		hf_seam_init(spec);
		ret = a.st->ops->join(a.st, &err);
		hf_seam_init("");
		if (ret) {
			failed++;
			continue;
		}
		overwrite(&a, 8);
		break;
	}
	must(hf_log_read(a.st, &id, 0, &r, &err));
	for (int i = 0; i < 12; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fill(v, sizeof(v), i);
		bad += !holds(r, key, v, sizeof(v));
	}
	ok(failed && !bad, "P1: a read error at the start makes it fail (%u times), nothing is overwritten (%u)", failed, bad);
	hf_log_close(r);
	end();
}

/* A claim that fails is not an owner: what was released stays so, and no space is gone. */
static void failed_claim(void)
{
	struct hf_logid id = LOGID(6, 3);
	struct hf_log *l;
	struct hf_log_stat st;
	int ret = 0;

	start(2, 8u << 20);
	for (int i = 0; i < 4; i++) {
		must(a.st->ops->beat(a.st, &err));
		must(b.st->ops->beat(b.st, &err));
	}
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	must(put(l, "x", "1", 1));
	must(commit(l));
	must(hf_log_release(l, &err));
	hf_log_close(l);
	hf_seam_init("claim.seal:0:eio");
	for (int i = 0; i < 60; i++)
		ret |= hf_log_claim(a.st, &id, 0, &l, &err);
	hf_seam_init("");
	ok(ret, "claims fail");
	must(a.st->ops->stat(a.st, &id, &st, &err));
	ok(st.released, "P5: what was released stays released");
	ret = hf_log_claim(b.st, &id, 0, &l, &err);
	is(ret, 0, "another node may have it, although the first one lives");
	if (!ret)
		hf_log_close(l);
	ret = hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &l, &err);
	is(ret, 0, "claims that failed used up no space");
	if (!ret)
		hf_log_close(l);
	end();
}

/* The very first write of a slot is torn by a power cut: there was no claim, and there is none. */
static void torn_first(void)
{
	struct hf_logid id = LOGID(7, 3);
	struct hf_log *l;
	uint8_t sector[4096];
	int fd;
	off_t at;

	start(2, 8u << 20);
	must(hf_log_claim(b.st, &id, 0, &l, &err));
	hf_log_close(l);
	fd = open(dev, O_RDWR | O_CLOEXEC);
	/* where B wrote in row 3 tells where A will write in row 4: look for the magic */
	static uint8_t img[8u << 20];
	must(hf_pread_full(fd, img, sizeof(img), 0));
	for (at = 131072; memcmp(img + at, "HFC1", 4); at += 4096)
		;
	at = at / 4096 * 4096;
	memcpy(sector, img + at, 4096);
	/* B's first slot in row 3 is at @at; its second write is beside it */
	while (memcmp(img + at + 4096, "HFC1", 4))
		at += 4096;
	memset(sector + 200, 0x5a, 100);
	must(hf_pwrite_full(fd, sector, 4096, at + 4096));
	memset(sector, 0, sizeof(sector));
	must(hf_pwrite_full(fd, sector, 4096, at));
	int ret = hf_log_claim(a.st, &id, 0, &l, &err);

	is(ret, 0, "a node's first claim that is torn holds nobody up");
	if (!ret)
		hf_log_close(l);
	ret = hf_log_claim(b.st, &id, HF_CLAIM_FENCED, &l, &err);
	is(ret, 0, "not that node either");
	if (!ret)
		hf_log_close(l);
	close(fd);
	end();
}

/* ---- many threads on one store, as the daemon has them ---- */

static struct { atomic_int stop, bad; } th;

static void *worker_thread(void *arg)
{
	unsigned me = (uintptr_t)arg, seed = me;
	struct hf_logid id = LOGID(40 + me, 2 + me);
	char buf[20000], key[8];

	for (unsigned r = 0; r < 6; r++) {
		struct hf_err e = { 0 };
		struct hf_log *l;
		int ret = hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &l, &e);

		for (unsigned i = 0; i < 12 && !ret; i++) {
			struct hf_source s = { .size = 1 + rand_r(&seed) % sizeof(buf), .read = mem_read, .arg = buf };
			uint64_t gen;

			fill(buf, sizeof(buf), seed);
			snprintf(key, sizeof(key), "k%u", i % 5);
			ret = hf_log_put(l, key, 2, "a", 1, &s, NULL, &e);
			if (!ret)
				ret = hf_log_commit(l, 0, NULL, &gen, &e);
			if (!ret)
				ret = hf_log_confirm(l, &e);
			if (!ret && i % 4 == 3)
				ret = hf_log_base(l, 3, &e);
		}
		if (ret) {
			printf("# worker %u: %d %s\n", me, ret, e.msg);
			th.bad++;
			return NULL;
		}
		hf_log_close(l);
	}
	return NULL;
}

static int count_one(void *ctx, const struct hf_gen_info *g) { ++*(unsigned *)ctx; return 0; }

static void *reader_thread(void *arg)
{
	struct hf_node_info ni[4];
	struct hf_log_stat st;

	for (unsigned r = 0; !th.stop; r++) {
		struct hf_logid id = LOGID(40 + r % 3, 2 + r % 3);
		struct hf_err e = { 0 };
		struct hf_log *l;
		unsigned n = 0;

		if (!hf_log_read(a.st, &id, 0, &l, &e)) {
			struct sunk s = { 0 };

			(void)hf_log_content(l, "k1", 2, sink, &s, &e);
			free(s.p);
			hf_log_close(l);
		}
		(void)hf_log_history(a.st, &id, count_one, &n, &e);
		a.st->ops->stat(a.st, &id, &st, &e);
		a.st->ops->nodes(a.st, ni, 4);
	}
	return NULL;
}

static void *beat_thread(void *arg)
{
	uint8_t uuid[3][16] = { { 40, 1, 2, 3 }, { 41, 1, 2, 3 }, { 42, 1, 2, 3 } };
	struct hf_err e;

	while (!th.stop) {
		if (a.st->ops->beat(a.st, &e))
			th.bad++;
		a.st->ops->known(a.st, uuid, 3);
		usleep(2000);
	}
	return NULL;
}

static void threads(void)
{
	pthread_t w[3], r[2];

	start(1, 10u << 20);
	th.stop = th.bad = 0;
	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&w[i], NULL, worker_thread, (void *)i);
	pthread_create(&r[0], NULL, reader_thread, NULL);
	pthread_create(&r[1], NULL, beat_thread, NULL);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(w[i], NULL);
	th.stop = 1;
	for (unsigned i = 0; i < 2; i++)
		pthread_join(r[i], NULL);
	ok(!th.bad, "workers, readers and the heartbeat share a store");
	is(sound(), 0, "the disk is sound");
	end();
}

int main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : "";
	static const struct { const char *name; void (*fn)(void); } t[] = {
		{ "full", full }, { "parts", parts }, { "large", large }, { "rebuild", rebuild },
		{ "rebuild_eio", rebuild_eio }, { "failed_claim", failed_claim }, { "torn_first", torn_first },
		{ "threads", threads },
	};

	for (size_t i = 0; i < HF_ARRAY(t); i++)
		if (!*only || !strcmp(only, t[i].name))
			t[i].fn();
	return tap_done();
}
