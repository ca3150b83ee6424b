// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Whose is the own slot of a store on several directories? Told by the own rows of a majority, read
 * straight from each of them: who takes a slot writes its row to a majority, and waits for half a
 * lease, before it votes or uses the area. That needs no vote itself, so a vote can wait for it.
 */
#include "dir_int.h"
#include <stdlib.h>

/* -EBADMSG: not to be told */
static int own_row(struct disk *d, struct member *m, uint8_t *p, struct node_rec *out)
{
	for (unsigned tries = 0; ; tries++) {
		struct node_rec r[2];
		enum slot_status st[2];
		int ret = m ? member_read(d, m, d->id.slot, p, 2 * HFD_SECTOR, node_off(d, d->id.slot, 0)) : -ENODEV;

		if (ret)
			return ret;
		for (unsigned w = 0; w < 2; w++)
			st[w] = node_in(&r[w], &d->bind, d->id.slot, w, p + w * HFD_SECTOR);
		if ((st[0] == SLOT_BAD || st[1] == SLOT_BAD) && tries < 4) {
			hf_sleep_ms(1);
			continue;
		}
		unsigned w = st[1] == SLOT_OK && (st[0] != SLOT_OK || r[1].seq > r[0].seq);

		*out = r[w];
		return st[w] == SLOT_OK ? 0 : -EBADMSG;
	}
}

int dir_settled(struct disk *d)
{
	struct dirset *s = d->dirs;
	uint8_t *p = dio_alloc(2 * HFD_SECTOR);
	uint32_t good = 0;
	int ret = p ? 0 : -ENOMEM;

	for (unsigned i = 0; i < s->count && !ret; i++) {
		struct node_rec r;
		int got = s->missed & 1u << i ? -EIO : own_row(d, s->m[i], p, &r);

		if (got && got != -EBADMSG)
			continue;
		if (got || memcmp(r.incarnation, d->incarnation, 16))
			ret = -EBUSY;
		good |= 1u << i;
	}
	free(p);
	return ret ? ret : dir_quorum(s, good) ? 0 : -EIO;
}

/* A directory that missed the join has an older incarnation, with a lower number (node_join()); whoever
 * came after has a higher one than what this one got acknowledged. One that answered late is asked again,
 * without those that failed: what was read too long ago tells nothing. */
int dir_held(struct disk *d, uint64_t *asked)
{
	struct dirset *s = d->dirs;
	uint64_t written = __atomic_load_n(&d->me_written, __ATOMIC_RELAXED), at[DIR_MAX];
	uint8_t *p = dio_alloc(2 * HFD_SECTOR);
	uint32_t failed = 0, good;
	int ret = p ? -ETIMEDOUT : -ENOMEM, last = -EIO;

	for (unsigned pass = 0; pass < 3 && ret == -ETIMEDOUT; pass++) {
		good = 0;
		for (unsigned i = 0; i < s->count && ret != -ESTALE; i++) {
			struct node_rec r;
			int got;

			if (failed & 1u << i)
				continue;
			at[i] = hf_now_ms();
			got = own_row(d, s->m[i], p, &r);
			if (got == -EBADMSG && s->count == 1) {
				good = 1;	/* as on a disk: the next heartbeat mends it */
			} else if (got) {
				last = got;
				failed |= 1u << i;
			} else if (memcmp(r.incarnation, d->incarnation, 16) && r.seq > written) {
				ret = -ESTALE;
			} else {
				good |= 1u << i;
			}
		}
		if (ret == -ETIMEDOUT && !dir_quorum(s, good))
			ret = last;
		*asked = hf_now_ms();
		for (unsigned i = 0; i < s->count; i++) {
			if (good & 1u << i && hf_now_ms() - at[i] >= d->sb.lease_ms / 2)
				good &= ~(1u << i);
			else if (good & 1u << i && at[i] < *asked)
				*asked = at[i];
		}
		if (ret == -ETIMEDOUT && dir_quorum(s, good))
			ret = 0;
	}
	free(p);
	return ret;
}
