// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P11: every byte of a disk that is in use is changed, one at a time. Contents that differ
 * from what was committed are never served. Where a reader needs the byte, `disk check` names
 * the damage (exit 8); where there is a second copy, it is noted; and what nobody needs is
 * told from ondisk.rst: what lies behind the structures of a sector, and space that is free.
 */
#include "store_test.h"
#include "disk_int.h"
#include "log_int.h"
#include <malloc.h>

#define KEYS 8
/* the sanitizers take many times as long, and are after something else */
#ifdef __SANITIZE_ADDRESS__
#define EVERY 17
#else
#define EVERY 1
#endif

static struct node a, b;
static struct hf_logid id = LOGID(51, 2);
static uint8_t *img;
static size_t img_len;
static int fd;
static struct super sb;
static struct { bool there; size_t n; char v[9000]; } want[KEYS];
static uint64_t want_gen;
/* for each byte: a reader needs it, or there is another copy of what it is part of */
enum { UNUSED, NEEDED, OTHER_COPY };
static uint8_t *needed;

static void fill(char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = seed >> 16;
	}
}

static const char *key_of(unsigned k)
{
	static char s[8];

	snprintf(s, sizeof(s), "k%u", k);
	return s;
}

static void commit(struct hf_log *l, unsigned k, size_t n)
{
	want[k].there = n;
	want[k].n = n;
	fill(want[k].v, n, 100 * k + n);
	if (n)
		must(put(l, key_of(k), want[k].v, n));
	else
		must(hf_log_del(l, key_of(k), 2));
	must(hf_log_commit(l, 0, NULL, &want_gen, &err));
	must(hf_log_confirm(l, &err));
}

/* ---- what is needed ---- */

static void need(uint64_t at, uint64_t n, int how)
{
	memset(needed + at, how, n);
}

static void need_slots(uint64_t off)
{
	for (unsigned w = 0; w < 2; w++)
		if (img[off + w * HFD_SECTOR])
			need(off + w * HFD_SECTOR, sizeof(struct hfd_slot), OTHER_COPY);
}

/* the records of an epoch, from @p on */
static void need_records(struct pos p)
{
	struct rec_hdr h;

	while (rec_peek(img + p.place, sb.size - p.place, &h) && h.seq == p.seq) {
		need(p.place, rec_size(&h), NEEDED);
		p.place += rec_size(&h);
		p.seq++;
	}
}

static void map_needed(struct node *n)
{
	struct disk *d = disk_of(n->st);
	struct walk_opts o = { 0 };
	struct walk_end end;
	struct row *r = malloc(sizeof(*r));
	const struct claim_rec *acc;
	struct hf_log *l;

	memset(needed, UNUSED, img_len);
	need(0, sizeof(struct hfd_super), NEEDED);
	need(HFD_SECTOR, sizeof(struct hfd_super), NEEDED);
	for (uint32_t i = 0; i < sb.nodes; i++) {
		need_slots(sb.node_off + i * 2ull * HFD_SECTOR);
		need_slots(sb.row_off + id.row * sb.row_stride + i * 2ull * HFD_SECTOR);
	}
	must(row_read(d, id.row, r));
	acc = row_accepted(r, id.uuid);
	must(log_walk(d, acc, &o, &end, &err));
	need_records(acc->acc.first);
	if (!acc->acc.base.place)
		need_records(end.below.base);
	must(hf_log_read(n->st, &id, 0, &l, &err));
	for (size_t s = 0; s < l->items.cap; s++)
		for (struct ent *e = l->items.slot[s]; e; e = e->next)
			for (uint32_t i = 0; i < e->nref; i++)
				need(e->ref[i].place, chunk_stored(&e->ref[i]), NEEDED);
	hf_log_close(l);
	free(r);
}

/* ---- one byte ---- */

/* 0: all of it, as it was committed; -EBADMSG: refused; -EILSEQ: something else */
static int served(void)
{
	struct hf_store_params p = { .keys = keys };
	struct hf_store *st;
	struct hf_log *l = NULL;
	int ret = hf_store_open(dev, &p, &st, &err);

	if (ret)
		return ret;
	ret = hf_log_read(st, &id, 0, &l, &err);
	if (!ret && hf_log_gen(l) != want_gen)
		ret = -EILSEQ;
	for (unsigned k = 0; k < KEYS && !ret; k++) {
		struct sunk s = { 0 };
		struct hf_item it;

		if (hf_log_get(l, key_of(k), 2, &it) != want[k].there)
			ret = -EILSEQ;
		else if (want[k].there)
			ret = hf_log_content(l, key_of(k), 2, sink, &s, &err);
		if (!ret && want[k].there && (s.n != want[k].n || memcmp(s.p, want[k].v, s.n)))
			ret = -EILSEQ;
		free(s.p);
	}
	hf_log_close(l);
	st->ops->close(st);
	return ret;
}

/* 0: clean, 1: clean, and a copy is noted as torn, -EBADMSG: named as damage with exit 8 */
static int checked(void)
{
	struct hf_err e = { 0 };
	char *json = NULL;
	int ret = hf_disk_check(conf, dev, &json, &e);

	if (ret && e.exit != HF_DAMAGED)
		ret = -EILSEQ;
	else if (!ret)
		ret = !!strstr(json, "\"kind\":\"torn\"");
	else if (!*e.msg)
		ret = -EILSEQ;
	free(json);
	return ret;
}

static struct { size_t named, noted, unused, bad; } sum;

static void flip(size_t at)
{
	uint8_t x = img[at] ^ 1 << at % 8;
	int s, c, good;

	must(hf_pwrite_full(fd, &x, 1, at));
	c = checked();
	/* who checks reads all that a reader does: where damage is to be named, one of eight is read, too */
	s = c == -EBADMSG && needed[at] == NEEDED && at % 8 ? c : served();
	must(hf_pwrite_full(fd, img + at, 1, at));
	switch (needed[at]) {
	case NEEDED:
		good = c == -EBADMSG && (!s || s == -EBADMSG);
		break;
	case OTHER_COPY:
		good = c == 1 && !s;
		break;
	default:
		good = (!c || c == -EBADMSG) && !s;
	}
	sum.named += c == -EBADMSG;
	sum.noted += c == 1;
	sum.unused += !c;
	if (!good && sum.bad++ < 20)
		printf("# byte %zu (%s): read %d, disk check %d %s\n", at,
		       needed[at] == NEEDED ? "needed" : needed[at] == OTHER_COPY ? "there is another copy" : "unused", s, c, err.msg);
}

static void look(struct node *n)
{
	must(hf_pread_full(fd, img, img_len, 0));
	map_needed(n);
	is(served(), 0, "what was committed is read");
	is(checked(), 0, "and the disk is sound");
}

/* Each byte, or one of @step, of the sectors that were written in this range. */
static void sweep(uint64_t from, uint64_t to, unsigned step, const char *what)
{
	size_t flips = 0;

	memset(&sum, 0, sizeof(sum));
	for (size_t off = from; off + HFD_SECTOR <= to; off += HFD_SECTOR) {
		static const uint8_t zero[HFD_SECTOR];

		if (!memcmp(img + off, zero, HFD_SECTOR))
			continue;
		for (size_t at = off; at < off + HFD_SECTOR; at += needed[at] ? step : 61) {
			flip(at);
			flips++;
		}
	}
	ok(!sum.bad, "P11: %s: of %zu bytes %zu named as damage, %zu noted beside a good copy, %zu that nobody uses; never another content",
	   what, flips, sum.named, sum.noted, sum.unused);
	ok(sum.named > sum.unused, "most of it is named");
}

int main(void)
{
	/* no more rows, and room in them, than are used: all of them are read for each byte */
	struct hf_format f = { .cluster = "test", .nodes = 2, .nodes_max = 2, .lease_ms = 500, .resources = 2, .force = 1 };
	struct hf_log *l;
	uint64_t area, before;

	/* the same buffers come and go for each byte */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	/* in memory, where that can be: each byte is a write and many reads */
	if (!access("/dev/shm", W_OK))
		setenv("TMPDIR", "/dev/shm", 1);
	setup(2, 4u << 20, 500);
	must(hf_disk_format(conf, dev, &f, &err));
	node_make(&a, "alpha");
	node_make(&b, "beta");
	fd = open(dev, O_RDWR | O_CLOEXEC);
	img_len = lseek(fd, 0, SEEK_END);
	img = malloc(img_len);
	needed = malloc(img_len);
	sb = disk_of(a.st)->sb;

	/* one epoch with a base, and a newer one of another node without */
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	commit(l, 0, 300);
	commit(l, 1, 3000);
	must(hf_log_base(l, 1000, &err));
	commit(l, 0, 200);
	commit(l, 2, 5000);
	must(hf_log_note(l, &err));
	hf_log_close(l);
	must(hf_log_claim(b.st, &id, HF_CLAIM_FENCED, &l, &err));
	commit(l, 3, 2000);
	commit(l, 1, 0);
	must(hf_log_note(l, &err));
	must(b.st->ops->beat(b.st, &err));
	must(a.st->ops->beat(a.st, &err));
	look(&b);
	sweep(0, img_len, EVERY, "two epochs");
	area = before = sb.part[0].off + b.id.slot * sb.part[0].size;
	while (memcmp(img + before, (const uint8_t[8]){ 0 }, 8))
		before += HFD_SECTOR;

	/* and with a base, into which contents were copied, in packs of its own */
	must(hf_log_base(l, 1000, &err));
	commit(l, 4, 1000);
	must(hf_log_note(l, &err));
	look(&b);
	sweep(area, before, 13, "the past that is kept behind a base");
	sweep(before, img_len, EVERY, "a base");
	hf_log_close(l);
	node_close(&a);
	node_close(&b);
	close(fd);
	return tap_done();
}
