// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is damaged in the store, for an owner who has the originals: contents of the newest state that
 * cannot be read as they were written, and a log that cannot be read at all.
 */
#include "log_int.h"
#include <stdlib.h>

/* numbers of generations that an unreadable log may have had, and nobody noted */
#define GEN_STEP 1000

static bool sound(struct hf_log *l, const struct hf_ref *r, int *ret, struct hf_err *err)
{
	*ret = l->store->ops->get_bytes(l->store, r->slot, r->place, l->ck.buf, chunk_stored(r), true, err);
	return !*ret && chunk_whole(&l->ck, r);
}

int hf_log_damaged(struct hf_log *l, hf_log_pace_fn pace, int (*fn)(void *ctx, const struct hf_item *it), void *ctx,
		   struct hf_err *err)
{
	struct hf_err e = { 0 };
	struct hf_item it;
	struct ent **v;
	size_t n, nbad = 0;
	int ret;

	if (!l->claim || l->npend)
		return -EBUSY;
	l->untold = false;	/* a base that the row does not tell of yet may be damaged too: the next one is another */
	ret = l->claim->ops->flush(l->claim, err);	/* a part of a base may have copied some */
	if (!ret)
		ret = table_sorted(&l->items, "", 0, &v, &n);
	if (ret)
		return ret;
	for (size_t i = 0; i < n && !ret; i++) {
		bool bad = false;

		for (uint32_t k = 0; k < v[i]->nref && !ret; k++) {
			const struct hf_ref *r = &v[i]->ref[k], *same = dedup_get(&l->dedup, r->hash);

			ret = pace(ctx, l, chunk_stored(r));
			if (ret || sound(l, r, &ret, &e))
				continue;
			/* a sector that is lost for good is no store that is out of reach: that the next write tells */
			if (ret == -EBADMSG || ret == -EIO || ret == -ENODATA)
				ret = 0;
			bad |= !ret;
			/* nothing that is put from now on is to refer to it */
			if (!ret && same && same->place == r->place)
				dedup_forget(&l->dedup, r->hash);
		}
		if (bad) {
			v[i]->users++;
			v[nbad++] = v[i];
		}
	}
	if (ret && err)
		*err = e;
	for (size_t i = 0; i < nbad; i++) {
		if (!ret && !(v[i]->flags & (ENT_DEAD | ENT_OUT))) {
			log_item_of(l, v[i], &it);
			ret = fn(ctx, &it);
		}
		ent_put(v[i]);
	}
	free(v);
	return ret;
}

int hf_log_claim_anew(struct hf_store *s, const struct hf_logid *id, uint64_t above, struct hf_log **out,
		      struct hf_err *err)
{
	struct hf_log *l;
	int ret = hf_log_claim(s, id, HF_CLAIM_ANEW, &l, err);

	if (ret)
		return ret;
	if (l->claim->anew) {
		above = above > l->claim->above ? above : l->claim->above;
		l->gen = (above / GEN_STEP + 1) * GEN_STEP;
	}
	*out = l;
	return 0;
}

bool hf_log_anew(const struct hf_log *l) { return l->claim && l->claim->anew; }
