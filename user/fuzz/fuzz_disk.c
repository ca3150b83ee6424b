// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A whole disk that was changed: what `disk info`, `disk check` and a reader make of it.
 * The input is a list of changes: what (1), which sector of those in use (2), then
 *
 *	0 bytes: where in it (2), how many (1), the bytes	1 zeros		2 a copy of another one (2)
 *	3 the disk ends there
 *	4 a claim, 5 a node's row: bytes of its body (1 where/2, 1 how many), sealed again
 *	6 a record: bytes of its body (2, 1), sealed again
 *	7 the superblock: bytes (2, 1), with the right sum and MAC
 *
 * Whoever has no key (0 to 3) may hide what is there, but never make anything be believed
 * that was not written.
 */
#include "../lib/ondisk.c"
#include "fuzz.h"
#include "disk_int.h"
#include <json-c/json.h>
#include <unistd.h>

#define MAX_CHANGES 16

static uint32_t used[4096];	/* sectors that are not zero */
static size_t nused;

struct known { uint32_t keylen; uint8_t key[32]; uint64_t size; uint8_t hash[HF_HASH]; };
static struct known known[256];
static size_t nknown;

static int learn(void *ctx, const struct hf_item *it)
{
	struct known k = { .keylen = it->keylen, .size = it->size };

	must(it->keylen <= sizeof(k.key));
	memcpy(k.key, it->key, it->keylen);
	memcpy(k.hash, it->hash, HF_HASH);
	for (size_t i = 0; i < nknown; i++)
		if (!memcmp(&known[i], &k, sizeof(k)))
			return 0;
	must(nknown < HF_ARRAY(known));
	known[nknown++] = k;
	return 0;
}

static int nothing(void *ctx, const void *p, size_t n)
{
	return 0;
}

static int recognise(void *ctx, const struct hf_item *it)
{
	size_t i = 0;

	while (i < nknown && (known[i].keylen != it->keylen || memcmp(known[i].key, it->key, it->keylen) ||
			      known[i].size != it->size || memcmp(known[i].hash, it->hash, HF_HASH)))
		i++;
	must(i < nknown);
	hf_log_content(ctx, it->key, it->keylen, nothing, NULL, NULL);
	return 0;
}

static int reads(void *ctx, const struct hf_item *it)
{
	hf_log_content(ctx, it->key, it->keylen, nothing, NULL, NULL);
	return 0;
}

/* the newest state and each generation by @step, with @fn for each of its items */
static void look(int (*fn)(void *ctx, const struct hf_item *it), bool self, unsigned step)
{
	const struct hf_store_params p = { .keys = image.keys };
	struct hf_store *s;
	struct hf_log *l;

	if (hf_store_open(image.path, &p, &s, NULL))
		return;
	for (uint64_t g = 0; g <= IMAGE_GENS; g += step)
		if (!hf_log_read(s, &image_log, g, &l, NULL)) {
			hf_log_each(l, "", 0, fn, self ? l : NULL);
			hf_log_close(l);
		}
	s->ops->close(s);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint8_t zero[HFD_SECTOR];

	image_make();
	for (size_t i = 0; i < image.size / HFD_SECTOR && nused < HF_ARRAY(used); i++)
		if (memcmp(image.data + i * HFD_SECTOR, zero, HFD_SECTOR))
			used[nused++] = i;
	look(learn, false, 1);
	must(nknown > IMAGE_GENS);
	return 0;
}

static struct { uint64_t off; size_t len; } changed[MAX_CHANGES];
static size_t nchanged;

static void put(const void *p, size_t n, uint64_t off)
{
	changed[nchanged].off = off;
	changed[nchanged++].len = n;
	must(!hf_pwrite_full(image.fd, p, n, off));
}

static void patch(struct bytes *in, uint8_t *p, size_t max, size_t at)
{
	size_t n = take(in, 1);

	at %= max;
	take_bytes(in, p + at, n < max - at ? n : max - at);
}

static void seal_slot(enum slot_kind kind, struct bytes *in, unsigned which)
{
	uint32_t slot = which / 2 % image.sb.nodes, row = kind == SLOT_CLAIM;
	uint64_t off = (kind == SLOT_NODE ? image.sb.node_off : image.sb.row_off + row * image.sb.row_stride) +
		       (2 * slot + which % 2) * HFD_SECTOR;
	uint8_t sector[HFD_SECTOR], body[HFD_SLOT_BODY] = { 0 };

	slot_in(kind, &image.bind, row, slot, which % 2, image.data + off, body, sizeof(body));
	for (unsigned i = take(in, 1) % 4 + 1; i; i--)
		patch(in, body, sizeof(body), take(in, 1) * 2);
	slot_out(kind, &image.bind, row, slot, which % 2, body, sizeof(body), sector);
	put(sector, HFD_SECTOR, off);
}

/* each record of the newest epoch that the image had, and what it is bound to */
struct found { uint64_t place; struct rec_bind rb; };

static size_t records(struct found *v, size_t max)
{
	struct claim_rec acc = { 0 }, c;
	struct pos p;
	size_t n = 0;

	for (uint32_t i = 0; i < 2 * image.sb.nodes; i++) {
		uint64_t off = image.sb.row_off + image.sb.row_stride + i * HFD_SECTOR;

		if (claim_in(&c, &image.bind, 1, i / 2, i % 2, image.data + off) == SLOT_OK &&
		    (c.acc.epoch > acc.acc.epoch || (c.acc.epoch == acc.acc.epoch && c.seq > acc.seq)))
			acc = c;
	}
	p = acc.acc.first;
	while (n < max) {
		struct rec_hdr h;

		if (!rec_peek(image.data + p.place, p.seg + p.seglen - p.place, &h) || h.seq != p.seq)
			break;
		v[n].place = p.place;
		v[n].rb = (struct rec_bind){ .slot = acc.acc.slot, .epoch = acc.acc.epoch };
		memcpy(v[n].rb.uuid, acc.acc.uuid, 16);
		memcpy(v[n].rb.incarnation, acc.acc.incarnation, 16);
		memcpy(v[n].rb.log, acc.log, 16);
		memcpy(v[n++].rb.prev, p.prev, 16);
		memcpy(p.prev, h.tag, 16);
		p.place += rec_size(&h);
		p.seq++;
	}
	return n;
}

static void seal_record(struct bytes *in, unsigned which)
{
	static struct found v[16];
	static size_t n;
	uint8_t *rec, *body;
	struct hfd_rec h;
	struct rec_ad ad;
	size_t len, bodylen;

	if (!n)
		n = records(v, HF_ARRAY(v));
	must(n);
	which %= n;
	memcpy(&h, image.data + v[which].place, sizeof(h));
	len = r32(h.sectors) * HFD_SECTOR;
	rec = malloc(len);
	must(rec);
	memcpy(rec, image.data + v[which].place, len);
	body = rec + sizeof(h);
	bodylen = len - r16(h.lead) - sizeof(h);
	rec_ad(&ad, &image.bind, &v[which].rb, &h);
	must(!hf_unseal(image.keys->aead, &ad, sizeof(ad), body, bodylen, h.nonce, h.tag));
	for (unsigned i = take(in, 1) % 4 + 1; i; i--)
		patch(in, body, bodylen, take(in, 1));
	hf_seal(image.keys->aead, &ad, sizeof(ad), body, bodylen, h.nonce, h.tag);
	memcpy(rec, &h, sizeof(h));
	put(rec, len, v[which].place);
	free(rec);
}

static void seal_super(struct bytes *in)
{
	uint8_t *p = malloc(2 * HFD_SECTOR);

	must(p);
	memcpy(p, image.data, HFD_SECTOR);
	for (unsigned i = take(in, 1) % 4 + 1; i; i--)
		patch(in, p, offsetof(struct hfd_super, sum), take(in, 2));
	crypto_generichash(p + offsetof(struct hfd_super, sum), 32, p, offsetof(struct hfd_super, sum), NULL, 0);
	hf_mac(image.keys->mac, p, offsetof(struct hfd_super, sum), p + offsetof(struct hfd_super, mac));
	memcpy(p + HFD_SECTOR, p, HFD_SECTOR);
	put(p, 2 * HFD_SECTOR, 0);
	free(p);
}

/* true: with the key */
static bool change(struct bytes *in, bool *cut)
{
	unsigned what = take(in, 1) % 8, which = take(in, 2);
	uint64_t off = (uint64_t)used[which % nused] * HFD_SECTOR;
	uint8_t sector[HFD_SECTOR];

	memcpy(sector, image.data + off, sizeof(sector));
	switch (what) {
	case 0:
		patch(in, sector, sizeof(sector), take(in, 2));
		break;
	case 1:
		memset(sector, 0, sizeof(sector));
		break;
	case 2:
		memcpy(sector, image.data + (uint64_t)used[take(in, 2) % nused] * HFD_SECTOR, sizeof(sector));
		break;
	case 3:
		*cut = true;
		must(!ftruncate(image.fd, off));
		return false;
	case 4:
	case 5:
		seal_slot(what == 4 ? SLOT_CLAIM : SLOT_NODE, in, which);
		return true;
	case 6:
		seal_record(in, which);
		return true;
	default:
		seal_super(in);
		return true;
	}
	put(sector, sizeof(sector), off);
	return false;
}

/* what is written of the disk is JSON, and what is wrong is said */
static void tools(void)
{
	struct hf_err err = { 0 };
	char *json = NULL;
	int ret = hf_disk_info(image.conf, image.path, &json, &err);
	struct json_object *o = json ? json_tokener_parse(json) : NULL;

	must(ret ? err.exit && err.msg[0] : o != NULL);
	json_object_put(o);
	free(json);
	json = NULL;
	ret = hf_disk_check(image.conf, image.path, &json, &err);
	o = json ? json_tokener_parse(json) : NULL;
	must(ret ? err.exit && err.msg[0] : o != NULL);
	json_object_put(o);
	free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct bytes in = { p, p + n };
	bool sealed = false, cut = false;

	for (unsigned i = 0; i < MAX_CHANGES && left(&in) && !cut; i++)
		sealed |= change(&in, &cut);
	tools();
	look(sealed ? reads : recognise, true, IMAGE_GENS / 2 - 1);
	if (cut)
		must(!hf_pwrite_full(image.fd, image.data, image.size, 0));
	for (; nchanged; nchanged--)
		must(!hf_pwrite_full(image.fd, image.data + changed[nchanged - 1].off, changed[nchanged - 1].len,
				     changed[nchanged - 1].off));
	return 0;
}
