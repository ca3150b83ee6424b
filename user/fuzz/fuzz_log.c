// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A log that somebody with the key wrote: records that are chained and sealed as they
 * must be, with whatever in them. The input is a list of records: kind (1), flags (1),
 * generation (1), with a tail (1), length of the payload (2), the payload. Of SEAL and NEXT
 * it is the difference to what would be right.
 */
#include "fuzz.h"
#include "disk_int.h"
#include <unistd.h>

#define MAX_RECORDS 24

static uint8_t *buf;
/* what travels with records: nothing, in the record's sectors, beyond them */
static const size_t tails[] = { 0, 1, HFD_SECTOR };
static const uint8_t travels[HFD_SECTOR];
static size_t cap;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	image_make();
	cap = HF_REC_MAX + HF_TAIL_MAX + 2 * HFD_SECTOR;
	buf = malloc(cap);
	must(buf);
	return 0;
}

static int on_rec(void *ctx, const struct hf_rec *r)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < r->len; i++)
		sum += ((const uint8_t *)r->payload)[i];
	return sum == UINT64_MAX;	/* never: but all of it was read */
}

static void on_seg(void *ctx, uint32_t slot, uint64_t place, uint64_t len)
{
	must(slot < image.sb.nodes);
}

static int nothing(void *ctx, const void *p, size_t n)
{
	return 0;
}

static int on_item(void *ctx, const struct hf_item *it)
{
	hf_log_content(ctx, it->key, it->keylen, nothing, NULL, NULL);
	return 0;
}

static int on_gen(void *ctx, const struct hf_gen_info *g)
{
	must(strlen(g->note) < sizeof(g->note));
	return 0;
}

static void read_all(void)
{
	const struct hf_store_params p = { .keys = image.keys };
	struct hf_err err;
	struct hf_store *s;
	struct hf_log *l;

	must(!hf_store_open(image.path, &p, &s, &err));
	for (uint64_t g = 0; g < 4; g++)
		if (!hf_log_read(s, &image_log, g, &l, &err)) {
			hf_log_each(l, "", 0, on_item, l);
			hf_log_close(l);
		}
	hf_log_history(s, &image_log, on_gen, NULL, &err);
	s->ops->close(s);
}

#define SEG (2 * HFD_BLOCK)	/* the first part of the area has eight */

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct bytes in = { p, p + n };
	uint64_t area = image.sb.part[0].off, end = area + image.sb.part[0].size, row = image.sb.row_off + image.sb.row_stride;
	struct claim_rec c = { .seq = 1, .ballot = 64 };
	struct rec_bind rb = { .slot = 0, .uuid = "alpha", .incarnation = "now", .epoch = 64 };
	struct pos pos = { .place = area, .seg = area, .seglen = SEG };
	uint8_t sector[2 * HFD_SECTOR] = { 0 };
	struct walk_opts o = { .verify_tails = true, .fn = on_rec, .seg = on_seg };
	struct walk_end we;
	struct hf_err err;
	struct disk *d;
	uint64_t last = area;

	memcpy(rb.log, image_log.uuid, 16);
	c.acc = (struct epoch_desc){ .epoch = 64, .first = pos };
	memcpy(c.acc.uuid, rb.uuid, 16);
	memcpy(c.acc.incarnation, rb.incarnation, 16);
	memcpy(c.log, rb.log, 16);
	/* a base of this epoch, or none; which records are known to be whole */
	c.gen_seq = take(&in, 1) % 4;
	for (unsigned i = 0, base = take(&in, 1) % 8; i < MAX_RECORDS && left(&in); i++) {
		struct hf_rec r = { .kind = take(&in, 1) % 8, .flags = take(&in, 1), .gen = take(&in, 1) };
		size_t tail = tails[take(&in, 1) % HF_ARRAY(tails)], len = take(&in, 2), have, size;
		struct rec_shape shape;
		struct hf_buf b = HF_BUF_INIT;
		uint8_t *v, tag[16];

		if (r.kind == HF_REC_SEAL) {
			struct epoch_desc before = c.acc;

			before.epoch = take(&in, 1);
			before.end_seq = i;
			seal_payload_out(&before, &b);
		}
		if (r.kind == HF_REC_NEXT)
			next_payload_out(area + (i + 1) * SEG, SEG, &b);
		v = take_copy(&in, len, &have);
		for (size_t k = 0; k < have && b.len; k++)
			b.p[k % b.len] ^= v[k];
		if (!b.len)
			hf_buf_put(&b, v, have);
		r.payload = b.p;
		r.len = b.len;
		shape = rec_shape(r.len, tail);
		size = rec_size(&shape);
		if (pos.place + size > end) {
			free(v);
			hf_buf_free(&b);
			break;
		}
		memset(buf, 0, size);
		memcpy(rb.prev, pos.prev, 16);
		rec_out(&r, pos.seq, travels, tail, &image.bind, &rb, buf, tag);
		must(!hf_pwrite_full(image.fd, buf, size, pos.place));
		if (base == i && i)
			c.acc.base = pos;
		pos.place += size;
		last = pos.place > last ? pos.place : last;
		if (r.kind == HF_REC_NEXT && !next_payload_in(r.payload, r.len, &pos.seg, &pos.seglen)) {
			pos.place = pos.seg;
			if (pos.seg < area || pos.seg >= end)
				in.p = in.end;	/* there nothing can be written */
		}
		pos.seq++;
		memcpy(pos.prev, tag, 16);
		free(v);
		hf_buf_free(&b);
	}
	claim_out(&c, &image.bind, 1, 0, 1, sector + HFD_SECTOR);
	must(!hf_pwrite_full(image.fd, sector, sizeof(sector), row));
	memset(sector, 0, sizeof(sector));
	must(!hf_pwrite_full(image.fd, sector, sizeof(sector), row + sizeof(sector)));

	must(!disk_open_ro(image.path, image.keys, &d, &err));
	for (int i = 0; i < 2; i++) {
		o.history = i;
		log_walk(d, &c, &o, &we, &err);
	}
	disk_close(&d->store);
	read_all();
	/* what this run wrote is no log of the next one's */
	must(!hf_pwrite_full(image.fd, image.data + area, last - area, area));
	return 0;
}
