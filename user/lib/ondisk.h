/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is on a quorum disk, byte by byte; Documentation/ondisk.rst says what
 * it means. Little-endian. Converted in ondisk.c and nowhere else.
 */
#ifndef HF_ONDISK_H
#define HF_ONDISK_H

#include <assert.h>
#include <stdint.h>
#include <stddef.h>
#include "crypto.h"
#include "store.h"

#define HFD_SECTOR 4096u
#define HFD_BLOCK (64u << 10)		/* what space is given out in */
#define HFD_MAGIC "HOLDFAST"
#define HFD_VERSION 1
#define HFD_NODE_OFF (64u << 10)

typedef struct { uint8_t b[2]; } d16;
typedef struct { uint8_t b[4]; } d32;
typedef struct { uint8_t b[8]; } d64;

#define HFD_AT(t, m, off) static_assert(offsetof(struct t, m) == (off), #t "." #m)
#define HFD_SIZE(t, n) static_assert(sizeof(struct t) == (n), #t)

/* A share of the disk: `count` nodes from slot `first` on have `size` bytes each there. */
struct hfd_part {
	d32 first, count;
	d64 off, size;
};
HFD_AT(hfd_part, off, 8);
HFD_SIZE(hfd_part, 24);
#define HFD_PARTS 64

/* sectors 0 and 1 */
struct hfd_super {
	uint8_t magic[8];
	d32 version;
	d32 sector;
	d64 compat, ro_compat, incompat;
	uint8_t cluster_uuid[16];
	uint8_t disk_uuid[16];
	uint8_t set_uuid[16];		/* the set of disks it belongs to */
	d64 set_epoch;
	uint8_t cluster[64];
	d64 seq;			/* of this copy; the higher one counts */
	d64 created_ns;
	d32 nodes, rows;
	d32 lease_ms, beat_ms;
	d16 aead, hash, zip, pad;	/* algorithms: 1 each */
	d32 block;
	d32 slots;			/* that rows have room for */
	d64 size;
	d64 node_off;
	d64 row_off, row_stride;
	d32 parts, pad2;
	uint8_t pad3[8];
	struct hfd_part part[HFD_PARTS];	/* of areas, in the order of the disk */
	uint8_t reserved[2240];
	uint8_t sum[32];		/* BLAKE2b of what is before, no key: damage */
	uint8_t mac[32];		/* keyed, of what is before `sum`: authenticity */
};
HFD_AT(hfd_super, compat, 16);
HFD_AT(hfd_super, cluster_uuid, 40);
HFD_AT(hfd_super, set_epoch, 88);
HFD_AT(hfd_super, cluster, 96);
HFD_AT(hfd_super, seq, 160);
HFD_AT(hfd_super, nodes, 176);
HFD_AT(hfd_super, aead, 192);
HFD_AT(hfd_super, slots, 204);
HFD_AT(hfd_super, size, 208);
HFD_AT(hfd_super, parts, 240);
HFD_AT(hfd_super, part, 256);
HFD_AT(hfd_super, sum, 4032);
HFD_AT(hfd_super, mac, 4064);
HFD_SIZE(hfd_super, 4096);

/* One slot of a row: a sector of which the first 512 bytes are used. */
#define HFD_SLOT_BODY 448
struct hfd_slot {
	uint8_t magic[4];		/* "HFN1" nodes, "HFC1" claims */
	d16 version;
	d16 len;			/* of the body */
	uint8_t nonce[24];
	uint8_t tag[16];
	uint8_t pad[16];
	uint8_t body[HFD_SLOT_BODY];	/* sealed */
};
HFD_AT(hfd_slot, nonce, 8);
HFD_AT(hfd_slot, tag, 32);
HFD_AT(hfd_slot, body, 64);
HFD_SIZE(hfd_slot, 512);

struct hfd_node {
	d64 seq;
	uint8_t uuid[16];
	uint8_t incarnation[16];
	uint8_t name[64];
	uint8_t host[64];
	uint8_t boot[16];
	d64 lock_dev, lock_ino;		/* of the predecessor's lock file */
	d64 counter;
	d64 started_ns;
	uint8_t version[16];
	d32 state;			/* 1 up, 2 left, 3 removed */
	d16 proto_min, proto_max;
	uint8_t reserved[32];
};
HFD_AT(hfd_node, uuid, 8);
HFD_AT(hfd_node, name, 40);
HFD_AT(hfd_node, boot, 168);
HFD_AT(hfd_node, counter, 200);
HFD_AT(hfd_node, state, 232);
HFD_SIZE(hfd_node, 272);

/* A place where a log can be read from. */
struct hfd_pos {
	d64 place;			/* of the record; 0: none */
	d64 seg;			/* of its segment */
	d32 seglen, pad;
	d64 seq;			/* of the record in its epoch */
	d64 gen;			/* the generation whose base it is; 0 a seal */
	uint8_t prev[16];		/* tag of the record before; zero for a seal */
};
HFD_AT(hfd_pos, seq, 24);
HFD_AT(hfd_pos, prev, 40);
HFD_SIZE(hfd_pos, 56);

/* An epoch, as its owner's claim and the next epoch's seal tell of it. */
struct hfd_epoch {
	d64 epoch;
	d32 slot, pad;
	uint8_t uuid[16];		/* of the node */
	uint8_t incarnation[16];
	struct hfd_pos first;		/* its seal */
	struct hfd_pos base;		/* its newest confirmed base */
	d64 keep;			/* generations before it need not be kept */
	d64 end_gen, end_seq;		/* in a seal: the last that counts */
	uint8_t end_tag[16];
	struct hfd_pos after;		/* behind that base, should it be damaged */
};
HFD_AT(hfd_epoch, first, 48);
HFD_AT(hfd_epoch, base, 104);
HFD_AT(hfd_epoch, keep, 160);
HFD_AT(hfd_epoch, end_tag, 184);
HFD_AT(hfd_epoch, after, 200);
HFD_SIZE(hfd_epoch, 256);

struct hfd_claim {
	d64 seq;
	uint8_t log[16];
	uint8_t uuid[16];		/* of the node */
	uint8_t incarnation[16];
	d64 ballot;
	d32 flags;			/* 1: released */
	d32 pad;
	struct hfd_epoch acc;		/* accepted; epoch 0: none */
	d64 gen;			/* a generation that was confirmed */
	d64 gen_seq;			/* the record that completed it */
	d64 based;			/* newest epoch known to have a confirmed base */
	uint8_t reserved[24];
};
HFD_AT(hfd_claim, ballot, 56);
HFD_AT(hfd_claim, acc, 72);
HFD_AT(hfd_claim, gen, 328);
HFD_SIZE(hfd_claim, 376);

/* In front of each record; not encrypted, but authenticated. */
struct hfd_rec {
	d32 magic;
	d16 version;
	d16 lead;			/* how much of the last of these sectors the tail begins with */
	d32 sectors;			/* of header and body */
	d32 tail;			/* sectors of bytes that travel along, beyond */
	d64 seq;
	uint8_t nonce[24];
	uint8_t tag[16];
};
#define HFD_REC_MAGIC 0x43524648	/* "HFRC" */
HFD_AT(hfd_rec, lead, 6);
HFD_AT(hfd_rec, seq, 16);
HFD_AT(hfd_rec, nonce, 24);
HFD_AT(hfd_rec, tag, 48);
HFD_SIZE(hfd_rec, 64);

/* Beside a tail the body is as long as it must be in these units, else it fills its sectors. */
#define HFD_BODY_UNIT 512u

/* The sealed body begins with this, then the payload, then zeros. */
struct hfd_body {
	d16 kind, flags;
	d32 len;
	d64 gen;
	d64 when_ns;
	uint8_t tail_hash[32];		/* keyed, of all bytes of the tail; zero without */
};
HFD_AT(hfd_body, tail_hash, 24);
HFD_SIZE(hfd_body, 56);

/* payload of a NEXT record */
struct hfd_next { d64 seg; d32 seglen, pad; };
HFD_SIZE(hfd_next, 16);

/* a sealed chunk: nonce, tag, then the bytes */
#define HFD_CHUNK_HDR (HF_NONCE + HF_TAG)

/* ---- the same in memory ---- */

struct part { uint32_t first, count; uint64_t off, size; };

struct super {
	uint64_t compat, ro_compat, incompat;
	uint8_t cluster_uuid[16], disk_uuid[16], set_uuid[16];
	uint64_t set_epoch;
	char cluster[64];
	uint64_t seq, created_ns;
	uint32_t nodes, rows, slots, lease_ms, beat_ms;
	uint64_t size, node_off, row_off, row_stride;
	uint32_t nparts;
	struct part part[HFD_PARTS];
};

struct node_rec {
	uint64_t seq;
	uint8_t uuid[16], incarnation[16];
	char name[64], host[64];
	uint8_t boot[16];
	uint64_t lock_dev, lock_ino, counter, started_ns;
	char version[16];
	uint32_t state;
	uint16_t proto_min, proto_max;
};
enum { NODE_ST_UP = 1, NODE_ST_LEFT = 2, NODE_ST_REMOVED = 3 };

struct pos {
	uint64_t place, seg;
	uint32_t seglen;
	uint64_t seq, gen;
	uint8_t prev[16];
};

struct epoch_desc {
	uint64_t epoch;
	uint32_t slot;
	uint8_t uuid[16], incarnation[16];
	struct pos first, base;
	uint64_t keep;
	uint64_t end_gen, end_seq;
	uint8_t end_tag[16];
	struct pos after;
};

struct claim_rec {
	uint64_t seq;
	uint8_t log[16], uuid[16], incarnation[16];
	uint64_t ballot;
	uint32_t flags;
	struct epoch_desc acc;
	uint64_t gen, gen_seq, based;
};
enum { CLAIM_RELEASED = 1 };

/* what every seal is bound to */
struct bind {
	uint8_t cluster[16], disk[16];
	const struct hf_keys *keys;
};

enum slot_kind { SLOT_NODE, SLOT_CLAIM };
enum slot_status { SLOT_EMPTY, SLOT_OK, SLOT_BAD };

/** super_out() - into a sector of HFD_SECTOR bytes, sum and mac included */
void super_out(const struct super *s, const struct hf_keys *k, void *sector);
/** super_in() - 0, -ENODEV no magic, -EBADMSG damaged, -EKEYREJECTED another key (@k
 *  NULL: not checked), -ENOTSUP a version or feature from the future, -EINVAL impossible geometry */
int super_in(struct super *s, const struct hf_keys *k, const void *sector, struct hf_err *err);
#define HFD_INCOMPAT_KNOWN 0ull
#define HFD_RO_COMPAT_KNOWN 0ull

void node_out(const struct node_rec *n, const struct bind *b, uint32_t slot, unsigned which, void *sector);
enum slot_status node_in(struct node_rec *n, const struct bind *b, uint32_t slot, unsigned which,
			 const void *sector);
void claim_out(const struct claim_rec *c, const struct bind *b, uint32_t row, uint32_t slot,
	       unsigned which, void *sector);
enum slot_status claim_in(struct claim_rec *c, const struct bind *b, uint32_t row, uint32_t slot,
			  unsigned which, const void *sector);

/* what a record is bound to beyond struct bind */
struct rec_bind {
	uint32_t slot;
	uint8_t uuid[16], incarnation[16], log[16];
	uint64_t epoch;
	uint8_t prev[16];
};
/* of a record: sectors of header and body, of which the tail takes the last @lead bytes, and @tail
 * more sectors */
struct rec_shape { uint32_t sectors, tail, lead; };
struct rec_hdr { uint32_t sectors, tail, lead; uint64_t seq; uint8_t tag[16]; };
/** rec_shape() - how it is laid out: one with a small tail takes one sector */
struct rec_shape rec_shape(size_t len, size_t taillen);
/* of a shape or a header: bytes of all of it; bytes of the tail; where that begins */
#define rec_size(s) (((size_t)(s)->sectors + (s)->tail) * HFD_SECTOR)
#define rec_tail(s) ((size_t)(s)->tail * HFD_SECTOR + (s)->lead)
#define rec_tail_at(s) ((size_t)(s)->sectors * HFD_SECTOR - (s)->lead)
/** rec_sectors() - how many a payload of @len bytes needs without a tail */
uint32_t rec_sectors(size_t len);
/** rec_out() - seal @r and @tail into @p (zeroed, rec_size() bytes); @tag receives the record's tag */
void rec_out(const struct hf_rec *r, uint64_t seq, const void *tail, size_t taillen,
	     const struct bind *b, const struct rec_bind *rb, void *p, uint8_t tag[16]);
/** rec_peek() - the header; false if it cannot be one that fits into @max bytes */
bool rec_peek(const void *p, uint64_t max, struct rec_hdr *h);
/** rec_in() - unseal in place; r->payload points into @p. -EBADMSG. @tail_hash may be NULL */
int rec_in(struct hf_rec *r, const struct bind *b, const struct rec_bind *rb, void *p,
	   uint8_t tail_hash[32]);

void seal_payload_out(const struct epoch_desc *prev, struct hf_buf *b);
int seal_payload_in(const void *p, size_t n, struct epoch_desc *prev);
void next_payload_out(uint64_t seg, uint32_t seglen, struct hf_buf *b);
int next_payload_in(const void *p, size_t n, uint64_t *seg, uint32_t *seglen);

#endif
