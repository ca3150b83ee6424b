// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Rows of claims: what each node has written of one log. A node writes only
 * its own two slots, in turn; all are read at once.
 */
#include "disk_int.h"
#include <stdlib.h>

static uint64_t claim_off(const struct disk *d, uint32_t row, uint32_t slot, unsigned which)
{
	return d->sb.row_off + d->sb.row_stride * row + (2ull * slot + which) * HFD_SECTOR;
}

/* The slot with the higher number counts. Beside a torn one the other counts only
 * if it was read after the torn one: read as a pair, the valid one may be the
 * older of two, and the torn one its successor's successor. */
static int parse_slot(struct disk *d, uint32_t row, uint32_t slot, const uint8_t *p, struct row *r)
{
	struct claim_rec rec[2];
	enum slot_status st[2];
	uint8_t *again = NULL;
	int ret = 0;

	for (unsigned w = 0; w < 2; w++)
		st[w] = claim_in(&rec[w], &d->bind, row, slot, w, p + w * HFD_SECTOR);
	for (unsigned tries = 0; (st[0] == SLOT_BAD || st[1] == SLOT_BAD) && tries < 4; tries++) {
		unsigned bad = st[0] == SLOT_BAD ? 0 : 1;

		if (!again && !(again = dio_alloc(HFD_SECTOR)))
			return -ENOMEM;
		for (unsigned i = 0; i < 2; i++) {
			unsigned w = i ? !bad : bad;

			ret = disk_read(d, again, HFD_SECTOR, claim_off(d, row, slot, w));
			if (ret)
				goto out;
			st[w] = claim_in(&rec[w], &d->bind, row, slot, w, again);
		}
		if (st[!bad] == SLOT_OK)
			break;
		hf_sleep_ms(1);
	}
	if (st[0] != SLOT_OK && st[1] != SLOT_OK) {
		/* A first write goes to the second sector. Torn beside the first one, which was never
		 * written, it has not returned, or never did: what was there before is nothing. */
		r->status[slot] = st[0] == SLOT_EMPTY ? SLOT_EMPTY : SLOT_BAD;
		goto out;
	}
	r->newest[slot] = st[1] == SLOT_OK && (st[0] != SLOT_OK || rec[1].seq > rec[0].seq);
	r->rec[slot] = rec[r->newest[slot]];
	r->status[slot] = SLOT_OK;
	r->torn[slot] = st[0] == SLOT_BAD || st[1] == SLOT_BAD;
out:
	free(again);
	return ret;
}

int row_parse(struct disk *d, uint32_t row, const uint8_t *p, struct row *r)
{
	int ret = 0;

	r->nodes = d->sb.slots;
	memset(r->rec, 0, r->nodes * sizeof(*r->rec));
	memset(r->status, 0, sizeof(r->status));
	memset(r->newest, 0, sizeof(r->newest));
	memset(r->torn, 0, sizeof(r->torn));
	for (uint32_t i = 0; i < r->nodes && !ret; i++)
		ret = parse_slot(d, row, i, p + 2ull * i * HFD_SECTOR, r);
	return ret;
}

int row_read(struct disk *d, uint32_t row, struct row *r)
{
	size_t n = 2ull * HFD_SECTOR * d->sb.slots;
	void *p;
	int ret;

	if (posix_memalign(&p, HFD_SECTOR, n))
		return -ENOMEM;
	ret = disk_read(d, p, n, claim_off(d, row, 0, 0));
	if (!ret)
		ret = row_parse(d, row, p, r);
	free(p);
	return ret;
}

int row_write(struct disk *d, uint32_t row, struct claim_rec *rec, unsigned *which)
{
	uint8_t *p = dio_alloc(HFD_SECTOR);
	int ret;

	if (!p)
		return -ENOMEM;
	rec->seq++;
	claim_out(rec, &d->bind, row, d->id.slot, !*which, p);
	ret = disk_write(d, p, HFD_SECTOR, claim_off(d, row, d->id.slot, !*which));
	if (!ret)
		*which = !*which;
	free(p);
	return ret;
}

bool row_tells(struct disk *d, uint32_t row, const uint8_t log[16], uint64_t epoch)
{
	uint8_t *p = dio_alloc(2 * HFD_SECTOR);
	bool tells = !p || disk_read(d, p, 2 * HFD_SECTOR, claim_off(d, row, d->id.slot, 0));

	for (unsigned w = 0; w < 2 && !tells; w++) {
		struct claim_rec rec;
		enum slot_status st = claim_in(&rec, &d->bind, row, d->id.slot, w, p + w * HFD_SECTOR);

		tells = st == SLOT_BAD || (st == SLOT_OK && !memcmp(rec.log, log, 16) && rec.acc.epoch == epoch);
	}
	free(p);
	return tells;
}

static bool of_log(const struct row *r, uint32_t i, const uint8_t log[16])
{
	return r->status[i] == SLOT_OK && !memcmp(r->rec[i].log, log, 16);
}

uint64_t row_max_ballot(const struct row *r)
{
	uint64_t max = 0;

	for (uint32_t i = 0; i < r->nodes; i++)
		if (r->status[i] == SLOT_OK && r->rec[i].ballot > max)
			max = r->rec[i].ballot;
	return max;
}

const struct claim_rec *row_accepted(const struct row *r, const uint8_t log[16])
{
	const struct claim_rec *best = NULL;

	for (uint32_t i = 0; i < r->nodes; i++)
		if (of_log(r, i, log) && r->rec[i].acc.epoch &&
		    (!best || r->rec[i].acc.epoch > best->acc.epoch))
			best = &r->rec[i];
	return best;
}

uint64_t row_based(const struct row *r, const uint8_t log[16])
{
	uint64_t max = 0;

	for (uint32_t i = 0; i < r->nodes; i++)
		if (of_log(r, i, log)) {
			const struct claim_rec *c = &r->rec[i];

			if (c->based > max)
				max = c->based;
			if (c->acc.base.place && c->acc.epoch > max)
				max = c->acc.epoch;
		}
	return max;
}

bool claim_same_place(const struct claim_rec *a, const struct claim_rec *b)
{
	return a && a->acc.epoch == b->acc.epoch && a->acc.base.place == b->acc.base.place &&
	       a->acc.first.place == b->acc.first.place;
}
