// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Bases: the whole state in one commit, so that what is older can go. Contents that
 * lie in other nodes' areas, or that pin mostly unused blocks, are copied into
 * packs first.
 */
#include "log_int.h"
#include <stdlib.h>

bool hf_log_wants_base(const struct hf_log *l)
{
	uint64_t total, limit = 2 * l->base_bytes;

	if (!l->claim || l->npend || !l->gen)
		return false;
	if (!l->loaded_base)
		return true;
	l->claim->ops->room(l->claim, &total);
	if (limit < 256u << 10)
		limit = 256u << 10;
	if (limit > total / 8)
		limit = total / 8;
	return l->since > limit;
}

struct want { struct ent *e; uint32_t i; };

static int by_place(const void *a, const void *b)
{
	const struct hf_ref *x = &((const struct want *)a)->e->ref[((const struct want *)a)->i];
	const struct hf_ref *y = &((const struct want *)b)->e->ref[((const struct want *)b)->i];

	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

static int copy_one(struct hf_log *l, struct hf_ref *r, struct hf_err *err)
{
	const struct hf_ref *same = dedup_get(&l->dedup, r->hash);
	struct hf_ref old = *r;
	const struct hf_store_ops *ops = l->store->ops;
	/* a base of this very generation that is there already refers to it still */
	uint64_t dead = l->gen + (l->loaded_base && l->base_gen == l->gen);
	int ret;

	/* an equal chunk may have been copied already */
	if (same && same->place != old.place && same->len == r->len &&
	    !ops->wants_copy(l->claim, same->slot, same->place, chunk_stored(same))) {
		*r = *same;
		goto out;
	}
	ret = log_fetch(l, r, err);	/* only what is authentic is copied */
	if (!ret)
		ret = chunk_seal(&l->ck, l->ck.plain, old.len, old.hash, r);
	if (!ret) {
		r->slot = l->slot;
		ret = ops->put_bytes(l->claim, l->ck.buf, chunk_stored(r), &r->place, err);
	}
	if (ret) {
		*r = old;
		return ret;
	}
out:
	ops->use(l->claim, r->slot, r->place, chunk_stored(r), 1, l->gen);
	if (old.slot == l->slot) {
		ops->use(l->claim, old.slot, old.place, chunk_stored(&old), -1, dead);
		dedup_del(&l->dedup, &old);
	}
	dedup_add(&l->dedup, r);
	return 0;
}

static int copy_contents(struct hf_log *l, struct hf_err *err)
{
	const struct hf_store_ops *ops = l->store->ops;
	struct want *w = NULL;
	size_t n = 0, cap = 0;
	int ret = 0;

	for (size_t s = 0; s < l->items.cap; s++)
		for (struct ent *e = l->items.slot[s]; e; e = e->next)
			for (uint32_t i = 0; i < e->nref; i++) {
				struct hf_ref *r = &e->ref[i];

				if (!ops->wants_copy(l->claim, r->slot, r->place, chunk_stored(r)))
					continue;
				if (n == cap) {
					struct want *v = realloc(w, (cap = cap ? cap * 2 : 64) * sizeof(*w));

					if (!v) {
						free(w);
						return -ENOMEM;
					}
					w = v;
				}
				w[n++] = (struct want){ e, i };
			}
	if (n)
		qsort(w, n, sizeof(*w), by_place);
	for (size_t i = 0; i < n && !ret; i++)
		ret = copy_one(l, &w[i].e->ref[w[i].i], err);
	free(w);
	return ret;
}

int hf_log_base(struct hf_log *l, uint64_t retain, struct hf_err *err)
{
	struct hf_buf b = HF_BUF_INIT;
	unsigned flags = (l->fuzzy ? HF_REC_FUZZY : 0) | HF_REC_FIRST;
	uint64_t when = l->when_ns;
	struct ent **v = NULL;
	size_t n;
	int ret;

	if (!l->claim || l->npend)
		return -EBUSY;
	ret = copy_contents(l, err);
	if (!ret)
		ret = l->claim->ops->flush(l->claim, err);
	if (!ret)
		ret = table_sorted(&l->items, "", 0, &v, &n);
	if (ret)
		return ret;
	l->since = 0;
	codec_begin(&b, NULL);
	for (size_t i = 0; i < n && !ret; i++) {
		if (i && b.len + 64 + v[i]->keylen + v[i]->attrlen + v[i]->nref * 64ull > LOG_PART_MAX) {
			ret = log_append(l, &b, HF_REC_BASE, flags | HF_REC_PART, l->gen, NULL, err);
			flags &= ~HF_REC_FIRST;
			hf_buf_free(&b);
			codec_begin(&b, NULL);
		}
		codec_put(&b, v[i]);
	}
	free(v);
	if (!ret)
		ret = hf_seam("base.append");
	if (!ret)
		ret = log_append(l, &b, HF_REC_BASE, flags, l->gen, NULL, err);
	hf_buf_free(&b);
	l->when_ns = when;
	if (ret)
		return ret;
	l->base_bytes = l->since;
	l->since = 0;
	l->loaded_base = true;
	l->base_gen = l->gen;
	return l->claim->ops->trim(l->claim, l->gen > retain ? l->gen - retain : 0, err);
}
