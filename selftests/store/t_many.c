// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A transaction of thousands: contents that somebody else seals meanwhile, failures that are told
 * later, and a first state that is a base by itself.
 */
#include "store_test.h"
#include <dlfcn.h>
#include <pthread.h>

#define MANY 7000u

static struct node a, b;
static struct hf_logid id = LOGID(9, 2), other = LOGID(10, 3);
static uint8_t bytes[400000];

static bool no_threads;

int pthread_create(pthread_t *restrict t, const pthread_attr_t *restrict how, void *(*fn)(void *), void *restrict arg)
{
	int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	*(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
	return no_threads ? EAGAIN : real(t, how, fn, arg);
}

static size_t size_of(unsigned i)
{
	return i % 1000 == 7 ? 70000 : i == 2500 ? 300000 : i % 5 ? i * 37 % 3000 : 0;
}

/* of every tenth item those of the one before: kept once */
static const uint8_t *content_of(unsigned i) { return bytes + (i % 10 ? i : i - 1) * 7; }

static ssize_t from_bytes(void *arg, void *buf, size_t len, uint64_t off)
{
	memcpy(buf, (uint8_t *)arg + off, len);
	return len;
}

static int put_later(struct hf_log *l, const char *key, const void *p, size_t n)
{
	struct hf_source s = { .size = n, .read = from_bytes, .arg = (void *)p };

	return hf_log_put_later(l, key, strlen(key), "attr", 4, n ? &s : NULL, &err);
}

static int put_all(struct hf_log *l, unsigned n)
{
	char key[16];
	int ret = 0;

	for (unsigned i = 0; i < n && !ret; i++) {
		snprintf(key, sizeof(key), "f%05u", i);
		ret = put_later(l, key, content_of(i), size_of(i));
	}
	return ret;
}

static unsigned wrong(struct hf_log *l)
{
	struct hf_item it;
	unsigned bad = 0;
	char key[16];

	for (unsigned i = 0; i < MANY; i++) {
		snprintf(key, sizeof(key), "f%05u", i);
		bad += !hf_log_get(l, key, 6, &it) || it.size != size_of(i) || !holds(l, key, content_of(i), size_of(i));
	}
	return bad;
}

static int note_gen(void *ctx, const struct hf_gen_info *g)
{
	struct hf_gen_info *v = ctx;

	if (g->gen < 3)
		v[g->gen] = *g;
	return 0;
}

static void first_state(void)
{
	struct hf_gen_info h[3] = { 0 };
	struct hf_item it, two;
	struct hf_log_stat st;
	struct hf_log *l, *r;
	uint64_t gen;

	must(hf_log_claim(a.st, &id, 0, &l, &err));
	must(put_all(l, MANY));
	ok(hf_log_mark(l, "f00001", 6) && !hf_log_mark(l, "none", 4), "the mark of an item is at hand");
	ok(hf_log_get(l, "f06999", 6, &it) && it.size == size_of(6999), "one that was put last has its size");
	ok(hf_log_get(l, "f06990", 6, &it) && hf_log_get(l, "f06989", 6, &two) &&
	   (size_of(6990) || !memcmp(it.hash, (uint8_t[HF_HASH]){ 0 }, HF_HASH)), "and its hash");
	ok(holds(l, "f02500", content_of(2500), 300000), "its contents are read before the commit");
	must(put_later(l, "f00001", "other", 5));
	must(put_later(l, "f00001", content_of(1), size_of(1)));
	must(put_later(l, "gone", "x", 1));
	must(hf_log_del(l, "gone", 4));
	is(wrong(l), 0, "all that was put is there");
	must(hf_log_commit(l, 0, "the first", &gen, &err));
	must(hf_log_confirm(l, &err));
	is(gen, 1, "one generation");
	must(hf_log_history(b.st, &id, note_gen, h, &err));
	is(h[1].kind, HF_REC_BASE, "the first state is a base");
	is(h[1].puts, MANY, "with every item");
	ok(!strcmp(h[1].note, "the first"), "and its note");
	must(hf_log_read(b.st, &id, 0, &r, &err));
	is(wrong(r), 0, "another node reads the same");
	hf_log_close(r);

	must(put(l, "f00001", "changed", 7));
	must(hf_log_commit(l, 0, NULL, &gen, &err));
	must(hf_log_confirm(l, &err));
	must(a.st->ops->stat(a.st, &id, &st, &err));
	is(st.base_gen, 0, "the row does not tell of it yet");
	ok(hf_log_wants_base(l), "that is to be done");
	is(hf_log_base_part(l, 1, &err), 0, "there is nothing to be copied");
	must(hf_log_tell(l, 10, &err));
	must(a.st->ops->stat(a.st, &id, &st, &err));
	is(st.base_gen, 1, "it is the base of the first generation that is told of");
	ok(!hf_log_wants_base(l), "no other one is wanted");
	must(hf_log_base(l, 10, &err));
	must(a.st->ops->stat(a.st, &id, &st, &err));
	is(st.base_gen, 2, "a base of the newest is another one");
	must(hf_log_read(b.st, &id, 1, &r, &err));
	is(wrong(r), 0, "the first state can still be read");
	hf_log_close(r);
	must(hf_log_release(l, &err));
	hf_log_close(l);
	must(hf_log_claim(b.st, &id, 0, &l, &err));
	ok(holds(l, "f00001", "changed", 7), "another node goes on with it");
	hf_log_close(l);
	is(sound(), 0, "the disk is sound");
}

static void failures(void)
{
	struct hf_log *l, *r;
	uint64_t gen;
	int ret;

	must(hf_log_claim(a.st, &other, 0, &l, &err));
	hf_seam_init("disk.pack:1:eio");	/* while more is sealed */
	ret = put_all(l, MANY);
	if (!ret)
		ret = hf_log_commit(l, 0, NULL, &gen, &err);
	hf_seam_init("");
	is(ret, -EIO, "what fails for somebody else is told, by a later put or the commit");
	ok(err.msg[0] != 0, "and why");
	is(hf_log_commit(l, 0, NULL, &gen, &err), -EIO, "it is not forgotten before the transaction is");
	hf_log_abort(l);
	ok(!hf_log_pending(l) && !hf_log_get(l, "f00001", 6, &(struct hf_item){ 0 }), "nothing of it is left");
	hf_log_close(l);
	must(hf_log_read(b.st, &other, 0, &r, &err));
	is(hf_log_gen(r), 0, "nor on the disk");
	hf_log_close(r);
	must(hf_log_claim(a.st, &other, 0, &l, &err));
	must(put_all(l, 200));
	hf_log_abort(l);
	must(put_all(l, 100));
	for (unsigned i = 0; i < 100; i++) {
		char key[16];

		snprintf(key, sizeof(key), "f%05u", i);
		must(hf_log_unput(l, key, 6));
	}
	ok(!hf_log_pending(l), "all of it is taken back");
	no_threads = true;
	is(put_all(l, MANY), 0, "without a thread to be had it is sealed all the same");
	must(hf_log_commit(l, HF_REC_FUZZY, NULL, &gen, &err));
	must(hf_log_confirm(l, &err));
	no_threads = false;
	must(hf_log_read(b.st, &other, 0, &r, &err));
	is(wrong(r), 0, "a claim later all of it is written");
	ok(hf_log_fuzzy(r), "and fuzzy, as was said");
	hf_log_close(r);
	/* the owner dies before the row tells of the base */
	hf_log_close(l);
	must(hf_log_claim(b.st, &other, HF_CLAIM_FENCED, &l, &err));
	is(wrong(l), 0, "who takes over finds the base without the row");
	must(hf_log_base(l, 0, &err));
	hf_log_close(l);
	is(sound(), 0, "the disk is sound");
}

int main(void)
{
	unsigned seed = 5;

	setup(2, 192u << 20, 500);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		seed = seed * 1103515245 + 12345;
		bytes[i] = seed >> (i % 3 ? 29 : 16);
	}
	node_make(&a, "alpha");
	node_make(&b, "beta");
	first_state();
	failures();
	return tap_done();
}
