// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P6: entries whose chunks do not fit into one record go on in the next: what the owner and
 * others read, history, bases, pins, disk check, and the document; what never came to its end.
 */
#include "store_test.h"
#include "log_int.h"
#include <json-c/json.h>

static struct node a, b;
static struct hf_logid id = LOGID(41, 2), huge_id = LOGID(42, 3), vain_id = LOGID(43, 4);

#define ATTR (1000u << 10)	/* leaves room for some 400 chunks in a record */
#define LONG (50u << 20)
#define HUGE ((1ull << 30) + (300u << 20) + 12345)

static char *attr;

/* not two chunks of it are equal, and it compresses: the disk need not be large */
static ssize_t numbered(void *arg, void *buf, size_t len, uint64_t off)
{
	uint64_t v = (uint64_t)(uintptr_t)arg << 32 | off >> 16;

	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (off + i) % 4096 < 8 ? v >> 8 * ((off + i) % 4096) : 0;
	return len;
}

static int put_long(struct hf_log *l, const char *key, unsigned version)
{
	struct hf_source s = { .size = LONG, .read = numbered, .arg = (void *)(uintptr_t)version };

	return hf_log_put(l, key, strlen(key), attr, ATTR, &s, NULL, &err);
}

struct cmp { uint64_t at; unsigned version; };

static int same(void *ctx, const void *p, size_t n)
{
	static uint8_t want[65536];
	struct cmp *c = ctx;

	numbered((void *)(uintptr_t)c->version, want, n, c->at);
	c->at += n;
	return memcmp(p, want, n) ? -EILSEQ : 0;
}

static bool has_long(struct hf_log *l, const char *key, unsigned version)
{
	struct cmp c = { 0, version };
	struct hf_item it;

	return hf_log_get(l, key, strlen(key), &it) && it.size == LONG && it.attrlen == ATTR &&
	       !memcmp(it.attr, attr, ATTR) &&
	       !hf_log_content(l, key, strlen(key), same, &c, &err) && c.at == LONG;
}

static void commit(struct hf_log *l)
{
	uint64_t gen;

	must(hf_log_commit(l, 0, "test", &gen, &err));
	must(hf_log_confirm(l, &err));
}

static bool reads(uint64_t gen, unsigned v1, unsigned v2)
{
	struct hf_log *r;
	bool good;

	if (hf_log_read(b.st, &id, gen, &r, &err))
		return false;
	good = has_long(r, "one", v1) && (v2 ? has_long(r, "two", v2) : !hf_log_get(r, "two", 3, &(struct hf_item){ 0 })) &&
	       holds(r, "small", "hello", 5);
	hf_log_close(r);
	return good;
}

struct hist { unsigned n; uint64_t puts, bytes; };

static int count(void *ctx, const struct hf_gen_info *g)
{
	struct hist *h = ctx;

	h->n++;
	h->puts += g->puts;
	h->bytes += g->bytes;
	return 0;
}

static void no_gone(void *ctx, uint64_t gen) { ++*(unsigned *)ctx; }

#define DECODE "selftests/store/decode.py"

/* 0: the document's own reader understands it; 77: it cannot be run here */
static int decoded(void)
{
	char cmd[2000];
	int ret;

	snprintf(cmd, sizeof(cmd), "test -r " DECODE " || exit 77; for p in python3 /usr/bin/python3; do "
		 "$p -c 'import nacl.bindings' 2>/dev/null || continue; "
		 "$p " DECODE " -a '%s' '%s/key' | grep -q '\"more chunks\"'; exit $?; done; exit 77", dev, dir);
	ret = system(cmd);
	return WIFEXITED(ret) ? WEXITSTATUS(ret) : -1;
}

static void in_records(void)
{
	struct hist h = { 0 };
	struct hf_log *l;
	unsigned gone = 0;
	uint64_t gen;
	int ret;

	must(hf_log_claim(a.st, &id, 0, &l, &err));
	must(put(l, "small", "hello", 5));
	must(put_long(l, "one", 1));
	commit(l);
	ok(has_long(l, "one", 1), "an entry whose chunks fill several records: its owner reads it");
	ok(reads(0, 1, 0), "so does another node");
	must(put_long(l, "one", 2));
	must(put_long(l, "two", 3));
	commit(l);
	ok(reads(0, 2, 3) && reads(1, 1, 0), "two of them, and history");
	must(hf_log_history(b.st, &id, count, &h, &err));
	ok(h.n == 2 && h.puts == 4 && h.bytes == 3ull * LONG + 5, "history counts each once: %u, %llu, %llu", h.n,
	   (unsigned long long)h.puts, (unsigned long long)h.bytes);
	must(hf_log_gone(b.st, &id, no_gone, &gone, &err));
	is(gone, 0, "nothing of it is gone");
	ok(!sound(), "disk check finds nothing");

	/* all records of a commit but the last one */
	must(put_long(l, "one", 4));
	hf_seam_init("commit.append:1:eio");
	is(hf_log_commit(l, 0, "test", &gen, &err), -EIO, "a commit that fails before its last record");
	hf_seam_init("");
	ok(reads(0, 2, 3), "counts for nothing");
	hf_log_abort(l);
	must(put_long(l, "one", 5));
	commit(l);
	ok(reads(3, 5, 3) && reads(2, 2, 3), "the next one does not go on with what it left");
	memset(&h, 0, sizeof(h));
	must(hf_log_history(b.st, &id, count, &h, &err));
	ok(h.n == 3 && h.puts == 5 && h.bytes == 4ull * LONG + 5, "nor does history: %u, %llu, %llu", h.n,
	   (unsigned long long)h.puts, (unsigned long long)h.bytes);
	must(hf_log_gone(b.st, &id, no_gone, &gone, &err));
	is(gone, 0, "nor who looks for what is gone");
	ok(!sound(), "nor disk check");

	must(hf_log_pin(l, 1, "first", &err));
	commit(l);
	must(hf_log_base(l, 0, &err));
	ok(has_long(l, "one", 5) && reads(0, 5, 3), "a base tells of all");
	ok(reads(1, 1, 0), "what was pinned stays");
	must(put_long(l, "two", 6));
	commit(l);
	ok(reads(0, 5, 6), "commits after it");
	ok(!sound(), "disk check finds nothing then");
	ret = decoded();
	if (ret == 77)
		skip("needs python3-nacl, and to be run in the source");
	else
		is(ret, 0, "the document says how to read it");
	must(hf_log_release(l, &err));
	hf_log_close(l);

	must(hf_log_claim(b.st, &id, 0, &l, &err));
	ok(has_long(l, "one", 5) && has_long(l, "two", 6), "another owner");
	must(hf_log_base(l, 0, &err));
	ok(reads(0, 5, 6) && reads(1, 1, 0), "and what it copied");
	ok(!sound(), "disk check finds nothing at last");
	hf_log_close(l);
}

/* What the parts of a failed commit refer to may be used again, and nobody misses it. */
static void in_vain(void)
{
	int fd = open(dev, O_RDWR | O_CLOEXEC);
	uint64_t gen, place;
	struct hf_log *l;
	unsigned gone = 0;

	must(hf_log_claim(a.st, &vain_id, 0, &l, &err));
	must(put(l, "never", attr, ATTR));
	must(put_long(l, "one", 4));
	hf_seam_init("commit.append:1:eio");
	is(hf_log_commit(l, 0, "test", &gen, &err), -EIO, "a commit that fails before its last record");
	hf_seam_init("");
	place = table_get(&l->items, "never", 5)->ref[8].place;
	hf_log_abort(l);
	must(put(l, "small", "hello", 5));
	commit(l);
	must(hf_log_release(l, &err));
	hf_log_close(l);
	must(fd < 0 || hf_pwrite_full(fd, attr, 512, place / 512 * 512 + 512));
	close(fd);
	must(hf_log_gone(b.st, &vain_id, no_gone, &gone, &err));
	is(gone, 0, "of the generation after it nothing is gone, though what it had put is");
}

static ssize_t hole(void *arg, void *buf, size_t len, uint64_t off)
{
	memset(buf, 0, len);
	if (off + len == HUGE)
		memcpy((char *)buf + len - 3, "end", 3);
	return len;
}

static int hole_same(void *ctx, const void *p, size_t n)
{
	static uint8_t want[65536];
	uint64_t *at = ctx;

	hole(NULL, want, n, *at);
	*at += n;
	return memcmp(p, want, n) ? -EILSEQ : 0;
}

static bool has_hole(struct hf_log *l)
{
	uint64_t at = 0;

	return !hf_log_content(l, "huge", 4, hole_same, &at, &err) && at == HUGE;
}

static void in_size(void)
{
	struct hf_source s = { .size = HUGE, .read = hole }, more = { .size = (64ull << 30) + 1, .read = hole };
	uint64_t before, after, total;
	struct hf_log *l;

	must(hf_log_claim(a.st, &huge_id, 0, &l, &err));
	before = l->claim->ops->room(l->claim, &total);
	must(hf_log_put(l, "huge", 4, "attr", 4, &s, NULL, &err));
	commit(l);
	must(hf_log_base(l, 0, &err));
	after = l->claim->ops->room(l->claim, &total);
	ok(before - after < 4u << 20, "a file of more than 1 GiB with a hole takes next to nothing: %llu KiB",
	   (unsigned long long)(before - after) / 1024);
	is(hf_log_put(l, "more", 4, "attr", 4, &more, NULL, &err), -EFBIG, "one that is too large is refused");
	ok(strstr(err.msg, "64 GiB"), "with the limit: %s", err.msg);
	hf_log_close(l);
	must(hf_log_claim(b.st, &huge_id, HF_CLAIM_FENCED, &l, &err));
	ok(has_hole(l), "and its next owner has it, byte by byte");
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
	in_records();
	in_vain();
	in_size();
	node_close(&a);
	node_close(&b);
	free(attr);
	return tap_done();
}
