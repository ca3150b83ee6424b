// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A record: its header, its body, and what SEAL and NEXT say. First byte: 1 the rest is
 * header fields and a body, to be sealed; else it is what lies on the disk.
 */
#include "../lib/ondisk.c"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	image_keys();
	return 0;
}

static void payload(const struct hf_rec *r)
{
	struct epoch_desc e;
	uint64_t seg;
	uint32_t len;
	struct hf_buf b = HF_BUF_INIT;

	if (!seal_payload_in(r->payload, r->len, &e)) {
		struct hf_buf again = HF_BUF_INIT;

		seal_payload_out(&e, &b);
		must(!seal_payload_in(b.p, b.len, &e));
		seal_payload_out(&e, &again);
		must(again.len == b.len && !memcmp(again.p, b.p, b.len));
		hf_buf_free(&again);
		b.len = 0;
	}
	if (!next_payload_in(r->payload, r->len, &seg, &len)) {
		next_payload_out(seg, len, &b);
		must(b.len == sizeof(struct hfd_next) && !memcmp(b.p, r->payload, 12));
	}
	hf_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct bytes in = { p, p + n };
	unsigned mode = take(&in, 1);
	struct bind b = { .cluster = "cluster", .disk = "disk", .keys = image.keys };
	struct rec_bind rb = { .slot = 1, .uuid = "node", .log = "log", .epoch = 65 };
	uint8_t hash[32], *rec;
	struct rec_hdr h;
	struct hf_rec r;
	size_t len;

	if (mode & 1) {
		struct hfd_rec d;
		struct rec_ad ad;

		take_bytes(&in, &d, sizeof(d));
		len = sizeof(d) + left(&in);
		len = (len + HFD_SECTOR - 1) / HFD_SECTOR * HFD_SECTOR;
		rec = malloc(len);
		must(rec);
		take_bytes(&in, rec + sizeof(d), len - sizeof(d));
		w32(&d.magic, HFD_REC_MAGIC);
		w16(&d.version, HFD_VERSION);
		w16(&d.lead, r16(d.lead) / HFD_BODY_UNIT % (HFD_SECTOR / HFD_BODY_UNIT) * HFD_BODY_UNIT);
		w32(&d.sectors, len / HFD_SECTOR);
		rec_ad(&ad, &b, &rb, &d);
		hf_seal(b.keys->aead, &ad, sizeof(ad), rec + sizeof(d), len - r16(d.lead) - sizeof(d),
			d.nonce, d.tag);
		memcpy(rec, &d, sizeof(d));
	} else {
		rec = take_copy(&in, 64 * HFD_SECTOR, &len);
	}
	/* as chain.c does: the header bounds what is read of the body */
	if (rec_peek(rec, len, &h)) {
		must(rec_size(&h) <= len);
		if (!rec_in(&r, &b, &rb, rec, hash)) {
			must((uint8_t *)r.payload + r.len <= rec + rec_tail_at(&h));
			payload(&r);
		}
	}
	free(rec);
	return 0;
}
