// SPDX-License-Identifier: LGPL-2.1-or-later
/* Byte order, versions and seals of what is on a quorum disk, in one place. */
#include "ondisk.h"
#include <sodium.h>

static void w16(d16 *d, uint16_t v) { for (int i = 0; i < 2; i++) d->b[i] = v >> (8 * i); }
static void w32(d32 *d, uint32_t v) { for (int i = 0; i < 4; i++) d->b[i] = v >> (8 * i); }
static void w64(d64 *d, uint64_t v) { for (int i = 0; i < 8; i++) d->b[i] = v >> (8 * i); }
static uint16_t r16(d16 d) { return d.b[0] | d.b[1] << 8; }
static uint32_t r32(d32 d) { return d.b[0] | d.b[1] << 8 | d.b[2] << 16 | (uint32_t)d.b[3] << 24; }
static uint64_t r64(d64 d)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v |= (uint64_t)d.b[i] << (8 * i);
	return v;
}

/* names: NUL-padded on disk, always terminated in memory */
static void name_out(uint8_t *d, const char *s, size_t n)
{
	size_t len = strnlen(s, n - 1);

	memset(d, 0, n);
	memcpy(d, s, len);
}

static void name_in(char *s, const uint8_t *d, size_t n)
{
	memcpy(s, d, n - 1);
	s[n - 1] = 0;
}

#define U16(f) memcpy(d.f, s->f, 16)
#define FROM16(f) memcpy(s->f, d.f, 16)

static void plain_sum(const void *p, size_t n, uint8_t out[32])
{
	crypto_generichash(out, 32, p, n, NULL, 0);
}

void super_out(const struct super *s, const struct hf_keys *k, void *sector)
{
	struct hfd_super d = { 0 };

	memcpy(d.magic, HFD_MAGIC, 8);
	w32(&d.version, HFD_VERSION);
	w32(&d.sector, HFD_SECTOR);
	w64(&d.compat, s->compat);
	w64(&d.ro_compat, s->ro_compat);
	w64(&d.incompat, s->incompat);
	U16(cluster_uuid);
	U16(disk_uuid);
	U16(set_uuid);
	w64(&d.set_epoch, s->set_epoch);
	name_out(d.cluster, s->cluster, 64);
	w64(&d.seq, s->seq);
	w64(&d.created_ns, s->created_ns);
	w32(&d.nodes, s->nodes);
	w32(&d.rows, s->rows);
	w32(&d.lease_ms, s->lease_ms);
	w32(&d.beat_ms, s->beat_ms);
	w16(&d.aead, 1);
	w16(&d.hash, 1);
	w16(&d.zip, 1);
	w32(&d.block, HFD_BLOCK);
	w64(&d.size, s->size);
	w64(&d.node_off, s->node_off);
	w64(&d.row_off, s->row_off);
	w64(&d.row_stride, s->row_stride);
	w32(&d.slots, s->slots);
	w32(&d.parts, s->nparts);
	for (uint32_t i = 0; i < s->nparts; i++) {
		w32(&d.part[i].first, s->part[i].first);
		w32(&d.part[i].count, s->part[i].count);
		w64(&d.part[i].off, s->part[i].off);
		w64(&d.part[i].size, s->part[i].size);
	}
	plain_sum(&d, offsetof(struct hfd_super, sum), d.sum);
	hf_mac(k->mac, &d, offsetof(struct hfd_super, sum), d.mac);
	memcpy(sector, &d, sizeof(d));
}

/* One behind the other, in whole blocks, and none of them beyond the disk. */
static bool parts_sane(const struct super *s)
{
	uint64_t end = s->row_off + s->row_stride * s->rows, got = 0;

	for (uint32_t i = 0; i < s->nparts; i++) {
		const struct part *p = &s->part[i];

		if (p->off < end || p->off > s->size || !p->count || p->first >= s->nodes ||
		    p->count > s->nodes - p->first || !p->size || p->size >= 1ull << 46 ||
		    (p->off | p->size) % HFD_BLOCK || p->size * p->count > s->size - p->off)
			return false;
		end = p->off + p->size * p->count;
		for (uint32_t n = p->first; n < p->first + p->count; n++)
			got |= 1ull << n;
	}
	return got == UINT64_MAX >> (64 - s->nodes);
}

/* A forged or damaged geometry must not make us read or write elsewhere. */
static bool super_sane(const struct super *s)
{
	uint64_t slots = 2ull * HFD_SECTOR * s->slots;

	return s->nodes >= 1 && s->nodes <= s->slots && s->slots <= HF_MAX_NODES &&
	       s->rows >= 2 && s->rows <= 1u << 20 &&
	       s->lease_ms >= 500 && s->lease_ms <= 600000 && s->beat_ms >= 50 &&
	       s->beat_ms * 3 <= s->lease_ms && s->size < 1ull << 60 &&
	       s->node_off >= HFD_NODE_OFF && s->node_off < 1ull << 60 &&
	       s->row_off >= s->node_off + slots && s->row_off < 1ull << 60 &&
	       s->row_stride >= slots && s->row_stride < 1ull << 30 &&
	       !((s->node_off | s->row_off | s->row_stride) % HFD_SECTOR) && parts_sane(s);
}

int super_in(struct super *s, const struct hf_keys *k, const void *sector, struct hf_err *err)
{
	struct hfd_super d;
	uint8_t sum[32];

	memcpy(&d, sector, sizeof(d));
	memset(s, 0, sizeof(*s));
	if (memcmp(d.magic, HFD_MAGIC, 8))
		return hf_fail(err, HF_DAMAGED, -ENODEV, "it is not a quorum disk");
	plain_sum(&d, offsetof(struct hfd_super, sum), sum);
	if (memcmp(sum, d.sum, 32))
		return hf_fail(err, HF_DAMAGED, -EBADMSG, "its superblock is damaged");
	if (k) {
		hf_mac(k->mac, &d, offsetof(struct hfd_super, sum), sum);
		if (sodium_memcmp(sum, d.mac, 32))
			return hf_fail(err, HF_DAMAGED, -EKEYREJECTED,
				       "the key of this node is not the key of this disk");
	}
	s->compat = r64(d.compat);
	s->ro_compat = r64(d.ro_compat);
	s->incompat = r64(d.incompat);
	if (r32(d.version) != HFD_VERSION || r32(d.sector) != HFD_SECTOR ||
	    r16(d.aead) != 1 || r16(d.hash) != 1 || r16(d.zip) != 1 || r32(d.block) != HFD_BLOCK ||
	    (s->incompat & ~HFD_INCOMPAT_KNOWN))
		return hf_fail(err, HF_FAILED, -ENOTSUP,
			       "its format (version %u, incompatible features %#llx) is newer than this program; upgrade holdfast on this node",
			       r32(d.version), (unsigned long long)s->incompat);
	FROM16(cluster_uuid);
	FROM16(disk_uuid);
	FROM16(set_uuid);
	s->set_epoch = r64(d.set_epoch);
	name_in(s->cluster, d.cluster, 64);
	s->seq = r64(d.seq);
	s->created_ns = r64(d.created_ns);
	s->nodes = r32(d.nodes);
	s->rows = r32(d.rows);
	s->lease_ms = r32(d.lease_ms);
	s->beat_ms = r32(d.beat_ms);
	s->size = r64(d.size);
	s->node_off = r64(d.node_off);
	s->row_off = r64(d.row_off);
	s->row_stride = r64(d.row_stride);
	s->slots = r32(d.slots);
	s->nparts = r32(d.parts);
	for (uint32_t i = 0; i < s->nparts && i < HFD_PARTS; i++)
		s->part[i] = (struct part){ r32(d.part[i].first), r32(d.part[i].count),
					    r64(d.part[i].off), r64(d.part[i].size) };
	if (s->nparts > HFD_PARTS || !super_sane(s))
		return hf_fail(err, HF_DAMAGED, -EBADMSG, "the geometry in its superblock is impossible");
	return 0;
}

/* ---- slots of rows ---- */

struct slot_ad {
	uint8_t what[8];
	uint8_t cluster[16], disk[16];
	d32 row, slot, which, version;
};

static size_t slot_ad(struct slot_ad *ad, enum slot_kind kind, const struct bind *b, uint32_t row,
		      uint32_t slot, unsigned which)
{
	memset(ad, 0, sizeof(*ad));
	memcpy(ad->what, kind == SLOT_NODE ? "hf-node" : "hf-clam", 8);
	memcpy(ad->cluster, b->cluster, 16);
	memcpy(ad->disk, b->disk, 16);
	w32(&ad->row, row);
	w32(&ad->slot, slot);
	w32(&ad->which, which);
	w32(&ad->version, HFD_VERSION);
	return sizeof(*ad);
}

static const char *slot_magic(enum slot_kind kind) { return kind == SLOT_NODE ? "HFN1" : "HFC1"; }

static void slot_out(enum slot_kind kind, const struct bind *b, uint32_t row, uint32_t slot,
		     unsigned which, const void *body, size_t len, void *sector)
{
	struct hfd_slot d = { 0 };
	struct slot_ad ad;
	size_t adlen = slot_ad(&ad, kind, b, row, slot, which);

	memcpy(d.magic, slot_magic(kind), 4);
	w16(&d.version, HFD_VERSION);
	w16(&d.len, HFD_SLOT_BODY);
	memcpy(d.body, body, len);
	hf_seal(b->keys->aead, &ad, adlen, d.body, HFD_SLOT_BODY, d.nonce, d.tag);
	memset(sector, 0, HFD_SECTOR);
	memcpy(sector, &d, sizeof(d));
}

static enum slot_status slot_in(enum slot_kind kind, const struct bind *b, uint32_t row, uint32_t slot,
				unsigned which, const void *sector, void *body, size_t len)
{
	static const struct hfd_slot none;
	struct hfd_slot d;
	struct slot_ad ad;
	size_t adlen;

	/* most of a row: not in constant time, which takes as long as all else that reads it */
	if (!memcmp(sector, &none, sizeof(none)))
		return SLOT_EMPTY;
	adlen = slot_ad(&ad, kind, b, row, slot, which);
	memcpy(&d, sector, sizeof(d));
	if (memcmp(d.magic, slot_magic(kind), 4) || r16(d.version) != HFD_VERSION ||
	    r16(d.len) != HFD_SLOT_BODY || !sodium_is_zero(d.pad, sizeof(d.pad)))
		return SLOT_BAD;
	if (hf_unseal(b->keys->aead, &ad, adlen, d.body, HFD_SLOT_BODY, d.nonce, d.tag))
		return SLOT_BAD;
	memcpy(body, d.body, len);
	sodium_memzero(d.body, sizeof(d.body));
	return SLOT_OK;
}

void node_out(const struct node_rec *s, const struct bind *b, uint32_t slot, unsigned which, void *sector)
{
	struct hfd_node d = { 0 };

	w64(&d.seq, s->seq);
	U16(uuid);
	U16(incarnation);
	name_out(d.name, s->name, 64);
	name_out(d.host, s->host, 64);
	U16(boot);
	w64(&d.lock_dev, s->lock_dev);
	w64(&d.lock_ino, s->lock_ino);
	w64(&d.counter, s->counter);
	w64(&d.started_ns, s->started_ns);
	name_out(d.version, s->version, 16);
	w32(&d.state, s->state);
	w16(&d.proto_min, s->proto_min);
	w16(&d.proto_max, s->proto_max);
	slot_out(SLOT_NODE, b, 0, slot, which, &d, sizeof(d), sector);
}

enum slot_status node_in(struct node_rec *s, const struct bind *b, uint32_t slot, unsigned which,
			 const void *sector)
{
	struct hfd_node d;
	enum slot_status st = slot_in(SLOT_NODE, b, 0, slot, which, sector, &d, sizeof(d));

	memset(s, 0, sizeof(*s));
	if (st != SLOT_OK)
		return st;
	s->seq = r64(d.seq);
	FROM16(uuid);
	FROM16(incarnation);
	name_in(s->name, d.name, 64);
	name_in(s->host, d.host, 64);
	FROM16(boot);
	s->lock_dev = r64(d.lock_dev);
	s->lock_ino = r64(d.lock_ino);
	s->counter = r64(d.counter);
	s->started_ns = r64(d.started_ns);
	name_in(s->version, d.version, 16);
	s->state = r32(d.state);
	s->proto_min = r16(d.proto_min);
	s->proto_max = r16(d.proto_max);
	return SLOT_OK;
}

static void pos_out(struct hfd_pos *d, const struct pos *s)
{
	w64(&d->place, s->place);
	w64(&d->seg, s->seg);
	w32(&d->seglen, s->seglen);
	w64(&d->seq, s->seq);
	w64(&d->gen, s->gen);
	memcpy(d->prev, s->prev, 16);
}

static void pos_in(struct pos *s, const struct hfd_pos *d)
{
	s->place = r64(d->place);
	s->seg = r64(d->seg);
	s->seglen = r32(d->seglen);
	s->seq = r64(d->seq);
	s->gen = r64(d->gen);
	memcpy(s->prev, d->prev, 16);
}

static void epoch_out(struct hfd_epoch *d, const struct epoch_desc *s)
{
	w64(&d->epoch, s->epoch);
	w32(&d->slot, s->slot);
	memcpy(d->uuid, s->uuid, 16);
	memcpy(d->incarnation, s->incarnation, 16);
	pos_out(&d->first, &s->first);
	pos_out(&d->base, &s->base);
	w64(&d->keep, s->keep);
	w64(&d->end_gen, s->end_gen);
	w64(&d->end_seq, s->end_seq);
	memcpy(d->end_tag, s->end_tag, 16);
	pos_out(&d->after, &s->after);
}

static void epoch_in(struct epoch_desc *s, const struct hfd_epoch *d)
{
	s->epoch = r64(d->epoch);
	s->slot = r32(d->slot);
	memcpy(s->uuid, d->uuid, 16);
	memcpy(s->incarnation, d->incarnation, 16);
	pos_in(&s->first, &d->first);
	pos_in(&s->base, &d->base);
	s->keep = r64(d->keep);
	s->end_gen = r64(d->end_gen);
	s->end_seq = r64(d->end_seq);
	memcpy(s->end_tag, d->end_tag, 16);
	pos_in(&s->after, &d->after);
}

void claim_out(const struct claim_rec *s, const struct bind *b, uint32_t row, uint32_t slot,
	       unsigned which, void *sector)
{
	struct hfd_claim d = { 0 };

	w64(&d.seq, s->seq);
	U16(log);
	U16(uuid);
	U16(incarnation);
	w64(&d.ballot, s->ballot);
	w32(&d.flags, s->flags);
	epoch_out(&d.acc, &s->acc);
	w64(&d.gen, s->gen);
	w64(&d.gen_seq, s->gen_seq);
	w64(&d.based, s->based);
	slot_out(SLOT_CLAIM, b, row, slot, which, &d, sizeof(d), sector);
}

enum slot_status claim_in(struct claim_rec *s, const struct bind *b, uint32_t row, uint32_t slot,
			  unsigned which, const void *sector)
{
	struct hfd_claim d;
	enum slot_status st = slot_in(SLOT_CLAIM, b, row, slot, which, sector, &d, sizeof(d));

	memset(s, 0, sizeof(*s));
	if (st != SLOT_OK)
		return st;
	s->seq = r64(d.seq);
	FROM16(log);
	FROM16(uuid);
	FROM16(incarnation);
	s->ballot = r64(d.ballot);
	s->flags = r32(d.flags);
	epoch_in(&s->acc, &d.acc);
	s->gen = r64(d.gen);
	s->gen_seq = r64(d.gen_seq);
	s->based = r64(d.based);
	return SLOT_OK;
}

/* ---- records ---- */

struct rec_ad {
	uint8_t what[8];
	uint8_t cluster[16], disk[16];
	uint8_t uuid[16], incarnation[16], log[16];
	d64 epoch;
	d32 slot, pad;
	uint8_t prev[16];
	uint8_t hdr[offsetof(struct hfd_rec, nonce)];
};

static void rec_ad(struct rec_ad *ad, const struct bind *b, const struct rec_bind *rb,
		   const struct hfd_rec *h)
{
	memset(ad, 0, sizeof(*ad));
	memcpy(ad->what, "hf-rec\0", 8);
	memcpy(ad->cluster, b->cluster, 16);
	memcpy(ad->disk, b->disk, 16);
	memcpy(ad->uuid, rb->uuid, 16);
	memcpy(ad->incarnation, rb->incarnation, 16);
	memcpy(ad->log, rb->log, 16);
	w64(&ad->epoch, rb->epoch);
	w32(&ad->slot, rb->slot);
	memcpy(ad->prev, rb->prev, 16);
	memcpy(ad->hdr, h, sizeof(ad->hdr));
}

uint32_t rec_sectors(size_t len)
{
	return (sizeof(struct hfd_rec) + sizeof(struct hfd_body) + len + HFD_SECTOR - 1) / HFD_SECTOR;
}

struct rec_shape rec_shape(size_t len, size_t taillen)
{
	size_t body = sizeof(struct hfd_rec) + sizeof(struct hfd_body) + len;
	struct rec_shape s = { .sectors = rec_sectors(len) };

	if (!taillen)
		return s;
	body = (body + HFD_BODY_UNIT - 1) / HFD_BODY_UNIT * HFD_BODY_UNIT;
	s.lead = (size_t)s.sectors * HFD_SECTOR - body;
	if (taillen > s.lead)
		s.tail = (taillen - s.lead + HFD_SECTOR - 1) / HFD_SECTOR;
	return s;
}

static size_t body_len(const struct rec_shape *s) { return rec_tail_at(s) - sizeof(struct hfd_rec); }

void rec_out(const struct hf_rec *r, uint64_t seq, const void *tail, size_t taillen,
	     const struct bind *b, const struct rec_bind *rb, void *p, uint8_t tag[16])
{
	struct hfd_rec h = { 0 };
	struct hfd_body d = { 0 };
	struct rec_ad ad;
	struct rec_shape s = rec_shape(r->len, taillen);
	uint8_t *body = (uint8_t *)p + sizeof(h), *tp = (uint8_t *)p + rec_tail_at(&s);

	if (taillen) {
		memcpy(tp, tail, taillen);
		hf_padding(tp + taillen, rec_tail(&s) - taillen);
		hf_mac(b->keys->mac, tp, rec_tail(&s), d.tail_hash);
	}
	w32(&h.magic, HFD_REC_MAGIC);
	w16(&h.version, HFD_VERSION);
	w16(&h.lead, s.lead);
	w32(&h.sectors, s.sectors);
	w32(&h.tail, s.tail);
	w64(&h.seq, seq);
	w16(&d.kind, r->kind);
	w16(&d.flags, r->flags);
	w32(&d.len, r->len);
	w64(&d.gen, r->gen);
	w64(&d.when_ns, r->when_ns);
	memcpy(body, &d, sizeof(d));
	if (r->len)
		memcpy(body + sizeof(d), r->payload, r->len);
	rec_ad(&ad, b, rb, &h);
	hf_seal(b->keys->aead, &ad, sizeof(ad), body, body_len(&s), h.nonce, h.tag);
	memcpy(p, &h, sizeof(h));
	memcpy(tag, h.tag, 16);
}

bool rec_peek(const void *p, uint64_t max, struct rec_hdr *out)
{
	struct hfd_rec h;

	if (max < HFD_SECTOR)
		return false;
	memcpy(&h, p, sizeof(h));
	out->sectors = r32(h.sectors);
	out->tail = r32(h.tail);
	out->lead = r16(h.lead);
	out->seq = r64(h.seq);
	memcpy(out->tag, h.tag, 16);
	return r32(h.magic) == HFD_REC_MAGIC && r16(h.version) == HFD_VERSION &&
	       out->lead < HFD_SECTOR && !(out->lead % HFD_BODY_UNIT) && out->sectors >= 1 &&
	       out->sectors <= rec_sectors(HF_REC_MAX) && out->tail <= HF_TAIL_MAX / HFD_SECTOR &&
	       rec_size(out) <= max;
}

int rec_in(struct hf_rec *r, const struct bind *b, const struct rec_bind *rb, void *p,
	   uint8_t tail_hash[32])
{
	struct hfd_rec h;
	struct hfd_body d;
	struct rec_ad ad;
	uint8_t *body = (uint8_t *)p + sizeof(h);
	struct rec_shape s;
	size_t bodylen;

	memcpy(&h, p, sizeof(h));
	s = (struct rec_shape){ .sectors = r32(h.sectors), .lead = r16(h.lead) };
	bodylen = body_len(&s);
	rec_ad(&ad, b, rb, &h);
	if (hf_unseal(b->keys->aead, &ad, sizeof(ad), body, bodylen, h.nonce, h.tag))
		return -EBADMSG;
	memcpy(&d, body, sizeof(d));
	memset(r, 0, sizeof(*r));
	r->kind = r16(d.kind);
	r->flags = r16(d.flags);
	r->gen = r64(d.gen);
	r->when_ns = r64(d.when_ns);
	r->len = r32(d.len);
	r->payload = body + sizeof(d);
	r->epoch = rb->epoch;
	r->slot = rb->slot;
	if (r->len > bodylen - sizeof(d))
		return -EBADMSG;
	if (tail_hash)
		memcpy(tail_hash, d.tail_hash, 32);
	return 0;
}

void seal_payload_out(const struct epoch_desc *prev, struct hf_buf *b)
{
	struct hfd_epoch d = { 0 };

	epoch_out(&d, prev);
	hf_buf_put(b, &d, sizeof(d));
}

int seal_payload_in(const void *p, size_t n, struct epoch_desc *prev)
{
	struct hfd_epoch d;

	if (n < sizeof(d))
		return -EBADMSG;
	memcpy(&d, p, sizeof(d));
	epoch_in(prev, &d);
	return 0;
}

void next_payload_out(uint64_t seg, uint32_t seglen, struct hf_buf *b)
{
	struct hfd_next d = { 0 };

	w64(&d.seg, seg);
	w32(&d.seglen, seglen);
	hf_buf_put(b, &d, sizeof(d));
}

int next_payload_in(const void *p, size_t n, uint64_t *seg, uint32_t *seglen)
{
	struct hfd_next d;

	if (n < sizeof(d))
		return -EBADMSG;
	memcpy(&d, p, sizeof(d));
	*seg = r64(d.seg);
	*seglen = r32(d.seglen);
	return 0;
}
