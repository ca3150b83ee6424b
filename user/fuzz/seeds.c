// SPDX-License-Identifier: GPL-2.0-or-later
/* seeds DIR: the corpus of each fuzzer, DIR/NAME/…, cut out of a disk that real code wrote;
 * and what once made one of them fail, as code. */
#include "../lib/ondisk.c"
#include "fuzz.h"
#include "state.h"
#include "disk_int.h"
#include <sys/stat.h>

static const char *top;

static void write_seed(const char *fuzzer, const char *name, unsigned mode, const void *p, size_t n)
{
	char *path = hf_strf("%s/%s", top, fuzzer), *file = hf_strf("%s/%s", path, name);
	FILE *f;

	must(path && file && !hf_mkdirs(path, 0755));
	f = fopen(file, "w");
	must(f);
	if (mode < 256)
		putc(mode, f);
	must(!n || fwrite(p, n, 1, f) == 1);
	must(!fclose(f));
	free(file);
	free(path);
}
#define PLAIN 256	/* no byte before it */

static void seed_super(void)
{
	write_seed("super", "first", 0, image.data, HFD_SECTOR);
	write_seed("super", "made", 3, image.data, HFD_SECTOR);
}

static void seed_slots(void)
{
	for (unsigned i = 0; i < 2 * image.sb.nodes; i++)
		for (unsigned kind = 0; kind < 2; kind++) {
			uint64_t off = (kind ? image.sb.row_off + image.sb.row_stride : image.sb.node_off) + i * HFD_SECTOR;
			uint8_t body[HFD_SLOT_BODY];
			char name[32];

			snprintf(name, sizeof(name), "%s%u", kind ? "claim" : "node", i);
			write_seed("slot", name, kind, image.data + off, 512);
			if (slot_in(kind ? SLOT_CLAIM : SLOT_NODE, &image.bind, kind, i / 2, i % 2, image.data + off,
				    body, sizeof(body)) != SLOT_OK)
				continue;
			snprintf(name, sizeof(name), "%s%u-body", kind ? "claim" : "node", i);
			write_seed("slot", name, kind | 2, body, sizeof(struct hfd_claim));
		}
}

/* a list of items for the fuzzer of registrations */
static void item(struct hf_buf *b, const char *key, const char *attr)
{
	hf_buf_u8(b, strlen(key));
	hf_buf_u16(b, strlen(attr));
	hf_buf_put(b, key, strlen(key));
	hf_buf_put(b, attr, strlen(attr));
}

static void seed_reg(void)
{
	struct hf_buf b = HF_BUF_INIT;

	item(&b, "r/pg", "{\"uuid\":\"6f1c2c1a-98a5-4b0c-8a36-0d3a0a0f9a11\",\"row\":1,\"type\":\"db\","
	     "\"policy\":{\"settle\":\"5ms\",\"retain\":\"64,7d\",\"owners\":\"number\",\"delete-guard\":\"50%\"}}");
	item(&b, "c/pg/1", "{\"path\":\"/etc/postgresql\",\"view\":\"native\",\"crypto\":true,\"file\":false,"
	     "\"exclude\":[\"*.swp\",\"tmp/*\"],\"mount\":\"/etc\"}");
	item(&b, "c/pg/2", "{\"path\":\"/etc/other\"}");
	write_seed("reg", "usual", PLAIN, b.p, b.len);
	b.len = 0;
	item(&b, "r/x", "{}");
	write_seed("reg", "empty", PLAIN, b.p, b.len);
	hf_buf_free(&b);
}

static void seed_identity(void)
{
	static const char text[] = "{\"v\":1,\"name\":\"alpha\",\"uuid\":\"6f1c2c1a-98a5-4b0c-8a36-0d3a0a0f9a11\","
		"\"disk\":\"0d3a0a0f-98a5-4b0c-8a36-6f1c2c1a9a11\",\"slot\":3}\n";

	write_seed("identity", "usual", PLAIN, text, strlen(text));
}

static void frame(struct hf_buf *b, const struct hf_buf *f)
{
	hf_buf_u16(b, f->len);
	hf_buf_put(b, f->p, f->len);
}

static void seed_displaced(const void *attr, uint32_t attrlen)
{
	struct hf_buf b = HF_BUF_INIT, f = HF_BUF_INIT;

	hf_buf_u8(&f, 'S');
	hf_buf_blob(&f, "takeover", 8);
	hf_buf_blob(&f, "pg", 2);
	hf_buf_blob(&f, "/etc/pg", 7);
	hf_buf_u64(&f, 1704164645);
	frame(&b, &f);
	f.len = 0;
	hf_buf_u8(&f, 'E');
	hf_buf_blob(&f, "f", 1);
	hf_buf_blob(&f, attr, attrlen);
	frame(&b, &f);
	f.len = 0;
	hf_buf_put(&f, "Dcontents", 9);
	frame(&b, &f);
	f.len = 0;
	hf_buf_u8(&f, 'Z');
	hf_buf_u64(&f, 8);
	frame(&b, &f);
	f.len = 0;
	hf_buf_u8(&f, 'F');
	hf_buf_u64(&f, 1);
	hf_buf_u8(&f, 0);
	frame(&b, &f);
	write_seed("displaced", "usual", 1, b.p, b.len);
	write_seed("displaced", "magic", 0, "HFDISPL1", 8);
	hf_buf_free(&b);
	hf_buf_free(&f);
}

struct found { unsigned rec, ent; struct hf_buf log; };

static int on_put(void *ctx, struct ent *e)
{
	struct found *s = ctx;
	char name[32];

	snprintf(name, sizeof(name), "attr%u", s->ent);
	if (s->ent++ < 4)
		write_seed("attr", name, PLAIN, ent_attr(e), e->attrlen);
	if (s->ent == 1)
		seed_displaced(ent_attr(e), e->attrlen);
	for (uint32_t i = 0; i < e->nref && i < 2; i++) {
		const struct hf_ref *r = &e->ref[i];
		uint8_t head[9] = { r->len, r->len >> 8, r->len >> 16, r->len >> 24,
				    r->clen, r->clen >> 8, r->clen >> 16, r->clen >> 24, r->flags };

		struct { uint8_t what[8], disk[16], hash[HF_HASH]; } ad = { "hf-chunk", { 0 }, { 0 } };
		const uint8_t *at = image.data + r->place;
		struct hf_buf b = HF_BUF_INIT;

		if (r->clen > 8192)
			continue;
		head[8] |= 0x80;
		memcpy(ad.disk, image.sb.disk_uuid, 16);
		memcpy(ad.hash, r->hash, HF_HASH);
		hf_buf_put(&b, head, sizeof(head));
		hf_buf_put(&b, at, HFD_CHUNK_HDR + r->clen);
		must(!hf_unseal(image.keys->aead, &ad, sizeof(ad), b.p + sizeof(head) + HFD_CHUNK_HDR, r->clen, at, at + HF_NONCE));
		snprintf(name, sizeof(name), "chunk%u-%u", s->ent, i);
		write_seed("chunk", name, PLAIN, b.p, b.len);
		hf_buf_free(&b);
	}
	ent_put(e);
	return 0;
}

static int on_del(void *ctx, const void *key, uint32_t keylen)
{
	return 0;
}

static int on_rec(void *ctx, const struct hf_rec *r)
{
	struct found *s = ctx;
	const struct codec_fn fn = { .put = on_put, .del = on_del, .ctx = s };
	struct hf_buf raw = HF_BUF_INIT;
	char name[32];

	snprintf(name, sizeof(name), "rec%u", s->rec++);
	if (r->len < 8192) {
		hf_buf_u8(&s->log, r->kind);
		hf_buf_u8(&s->log, r->flags);
		hf_buf_u8(&s->log, r->gen);
		hf_buf_u8(&s->log, 0);
		hf_buf_u16(&s->log, r->len);
		hf_buf_put(&s->log, r->payload, r->len);
	}
	if (r->kind != HF_REC_DELTA && r->kind != HF_REC_BASE)
		return 0;
	write_seed("codec", name, !!(r->flags & HF_REC_ZSTD), r->payload, r->len);
	must(!codec_unpack(r, &raw));
	must(!codec_each(raw.p, raw.len, r->slot, r->tail, r->gen, &fn));
	hf_buf_free(&raw);
	return 0;
}

static void seed_log(void)
{
	/* known, base, then a seal that tells of no epoch before; what follows is real */
	static const uint8_t seal[] = { 0, 0, HF_REC_SEAL, 0, 0, 0, 0, 0, 0 };
	/* a commit of no bytes at all: its buffer had no address, and was read from */
	static const uint8_t nothing[] = { 0, 0, HF_REC_SEAL, 0, 0, 0, 0, 0, 0, HF_REC_DELTA, HF_REC_FIRST, 1, 0, 0, 0 };
	static const uint8_t next[] = { 0, 0, HF_REC_NEXT, 0, 0, 0, 0, 0, REC_PINS, 0, 0, 1, 8, 0, 2, 0, 0, 0, 3, 0, 0, 0 };
	struct found s = { .log = HF_BUF_INIT };
	struct walk_opts o = { .history = true, .fn = on_rec, .ctx = &s };
	struct claim_rec acc = { 0 };
	struct walk_end end;
	struct hf_err err;
	struct disk *d;
	struct row r;

	hf_buf_put(&s.log, seal, sizeof(seal));
	must(!disk_open_ro(image.path, image.keys, &d, &err));
	must(!row_read(d, image_log.row, &r));
	must(row_accepted(&r, image_log.uuid));
	acc = *row_accepted(&r, image_log.uuid);
	must(!log_walk(d, &acc, &o, &end, &err));
	must(end.gen == IMAGE_GENS && s.rec > IMAGE_GENS);
	disk_close(&d->store);
	hf_buf_put(&s.log, next + 2, sizeof(next) - 2);
	write_seed("log", "real", PLAIN, s.log.p, s.log.len);
	write_seed("log", "next", PLAIN, next, sizeof(next));
	write_seed("log", "no-payload", PLAIN, nothing, sizeof(nothing));
	/* records as they lie there */
	for (size_t off = image.sb.part[0].off, n = 0; off + HFD_SECTOR <= image.size && n < 8; off += HFD_SECTOR)
		if (!memcmp(image.data + off, "HFRC", 4)) {
			char name[32];

			snprintf(name, sizeof(name), "disk%zu", n++);
			write_seed("record", name, 0, image.data + off, HFD_SECTOR);
		}
	hf_buf_free(&s.log);
}

/* chunks that come in several pieces; the last payload lacks some */
static void seed_more(void)
{
	struct ent *e = ent_new("0000000a/big", 12, "attr", 4, 5);
	struct hf_buf b = HF_BUF_INIT;
	uint32_t n;

	must(e);
	for (uint32_t i = 0; i < e->nref; i++) {
		e->ref[i] = (struct hf_ref){ .len = 65536, .clen = 60 + i, .flags = HF_REC_ZSTD, .place = 65536 * (i + 9) };
		memset(e->ref[i].hash, i, HF_HASH);
		e->size += e->ref[i].len;
	}
	codec_begin(&b, "note");
	n = codec_put(&b, e, b.len + 170);
	n += codec_more(&b, e, n, b.len + 120);
	must(n < e->nref);
	write_seed("codec", "lacks", 0, b.p, b.len);
	while (n < e->nref)
		n += codec_more(&b, e, n, b.len + 120);
	codec_del(&b, e);
	write_seed("codec", "more", 0, b.p, b.len);
	hf_buf_free(&b);
	ent_put(e);
}

static void seed_record(void)
{
	struct epoch_desc e = { .epoch = 64, .slot = 1, .first = { .place = 1 << 20, .seg = 1 << 20, .seglen = 1 << 18 } };
	struct hf_buf b = HF_BUF_INIT, body = HF_BUF_INIT;
	static const uint8_t zero[64];

	seal_payload_out(&e, &b);
	hf_buf_put(&body, zero, 64);	/* header */
	hf_buf_u16(&body, HF_REC_SEAL);
	hf_buf_u16(&body, 0);
	hf_buf_u32(&body, b.len);
	hf_buf_put(&body, zero, 48);
	hf_buf_put(&body, b.p, b.len);
	write_seed("record", "seal", 1, body.p, body.len);
	hf_buf_free(&b);
	hf_buf_free(&body);
}

static void seed_disk(void)
{
	static const struct { const char *name; uint8_t len, v[24]; } s[] = {
		{ "untouched", 0, { 0 } },
		{ "flip", 7, { 0, 1, 0, 10, 0, 1, 0xff } },
		{ "zero", 3, { 1, 9, 0 } },
		{ "copy", 5, { 2, 9, 0, 8, 0 } },
		{ "cut", 3, { 3, 40, 0 } },
		{ "claim", 9, { 4, 1, 0, 1, 60, 2, 1, 1, 1 } },
		{ "node", 9, { 5, 1, 0, 1, 60, 2, 1, 1, 1 } },
		{ "record", 9, { 6, 2, 0, 0, 56, 4, 1, 0, 0 } },
		{ "super", 9, { 7, 0, 0, 0, 176, 0, 1, 4, 0 } },
		/* the second part (at 280 of the superblock): whose, where, how large; that there is none */
		{ "part-slot", 9, { 7, 0, 0, 0, 24, 1, 2, 1, 0 } },
		{ "part-place", 10, { 7, 0, 0, 0, 32, 1, 3, 0, 0, 1 } },
		{ "part-size", 10, { 7, 0, 0, 0, 40, 1, 3, 0, 0, 1 } },
		{ "part-none", 8, { 7, 0, 0, 0, 240, 0, 1, 1 } },
		{ "part-more", 8, { 7, 0, 0, 0, 240, 0, 1, 3 } },
	};

	for (size_t i = 0; i < HF_ARRAY(s); i++)
		write_seed("disk", s[i].name, PLAIN, s[i].v, s[i].len);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: seeds DIR\n");
		return 2;
	}
	top = argv[1];
	image_make();
	seed_super();
	seed_slots();
	seed_record();
	seed_more();
	seed_log();
	seed_reg();
	seed_identity();
	seed_disk();
	return 0;
}
