// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Bases: the whole state in one commit, so that what is older can go. Contents that
 * lie in other nodes' areas, or that pin mostly unused blocks, are copied into
 * packs first. Then the records are made (log_base_make.c), and then appended.
 */
#include "log_int.h"
#include <stdlib.h>

bool hf_log_wants_base(const struct hf_log *l)
{
	uint64_t room, total, limit = 2 * l->base_bytes, spare = l->base_bytes;

	if (!l->claim || l->npend || !l->gen)
		return false;
	if (!l->loaded_base || l->untold || l->make)	/* and what was begun is to be finished */
		return true;
	room = l->claim->ops->room(l->claim, &total);
	if (limit < 256u << 10)
		limit = 256u << 10;
	if (limit > total / 8)
		limit = total / 8;
	if (l->since > limit || l->packed > total / 16)
		return true;
	/* what of this log could go, if space must come before history */
	if (spare < total / 64)
		spare = total / 64;
	return room < total / 4 && l->held + l->since + l->packed > spare;
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
		ret = chunk_seal(&l->ck, l->ck.plain, old.len, old.hash, true, r);
	if (!ret) {
		r->slot = l->slot;
		ret = ops->put_bytes(l->claim, l->ck.buf, chunk_stored(r), &r->place, err);
	}
	chunk_forget(&l->ck, &old);
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

/* Of the own area: are more blocks given back than are taken? Copies would else be made with each base, and history
 * would keep all of them. @w: by place */
static bool pays(const struct hf_log *l, const struct want *w, size_t n)
{
	uint64_t bytes = 0, blocks = 0, last = UINT64_MAX;

	for (size_t i = 0; i < n; i++) {
		const struct hf_ref *r = &w[i].e->ref[w[i].i];
		uint64_t first = r->place / HFD_BLOCK, end = (r->place + chunk_stored(r) - 1) / HFD_BLOCK;

		if (r->slot != l->slot)
			continue;
		bytes += chunk_stored(r);
		blocks += (first != last) + (end != first);
		last = end;
	}
	return blocks > 2 * (bytes / HFD_BLOCK + 1);
}

/* About @bytes of it; 1: there is more. */
static int copy_contents(struct hf_log *l, size_t bytes, struct hf_err *err)
{
	const struct hf_store_ops *ops = l->store->ops;
	struct want *w = NULL;
	size_t n = 0, cap = 0, i, done = 0;
	bool full;
	int ret = 0;

	for (size_t s = 0; s < l->items.cap; s++)
		for (struct ent *e = l->items.slot[s]; e; e = e->next)
			for (uint32_t k = 0; k < e->nref; k++) {
				struct hf_ref *r = &e->ref[k];

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
				w[n++] = (struct want){ e, k };
			}
	if (n)
		qsort(w, n, sizeof(*w), by_place);
	full = !pays(l, w, n);
	for (i = 0; i < n && !ret && done < bytes; i++) {
		struct hf_ref *r = &w[i].e->ref[w[i].i];
		bool own = r->slot == l->slot;

		if (own && full)
			continue;
		ret = copy_one(l, r, err);
		if (own && ret == -ENOSPC) {	/* what is here already is only better elsewhere */
			full = true;
			ret = 0;
			continue;
		}
		if (!ret)
			make_moved(l, w[i].e);
		done += chunk_stored(r);
	}
	free(w);
	if (ret == -EBADMSG) {	/* a newer owner may have let what it was be used again */
		int now = ops->confirm(l->claim, err);

		ret = now ? now : ret;
	}
	return ret ? ret : i < n;
}

int hf_log_base_part(struct hf_log *l, size_t bytes, struct hf_err *err)
{
	int ret;

	if (!l->claim || l->npend)
		return -EBUSY;
	if (l->untold)
		return 0;
	ret = hf_seam("make.part");
	if (!ret && l->make)
		ret = make_part(l);
	/* first of all; and what commits have left to be copied meanwhile */
	if (!ret)
		ret = copy_contents(l, bytes, err);
	if (!ret && !l->make) {
		ret = make_begin(l);
		if (!ret)
			make_drop(l);
	}
	if (ret < 0)
		make_drop(l);
	return ret;
}

static int base_append(struct hf_log *l, struct hf_err *err)
{
	struct base_rec **v = NULL;
	size_t n = 0;
	uint64_t bytes = 0, total;
	int ret = make_all(l, &v, &n, err);

	for (size_t i = 0; i < n; i++)
		bytes += rec_sectors(v[i]->b.len) * (uint64_t)HFD_SECTOR;
	/* half a base would take room and give none back: the ends of segments, and the list of blocks before it */
	if (!ret && bytes > HFD_SECTOR && bytes + bytes / 8 + HFD_SECTOR > l->claim->ops->room(l->claim, &total)) {
		ret = hf_fail(err, HF_UNAVAIL, -ENOSPC, "%s: there is no room for a base of %llu bytes", l->id.name,
			      (unsigned long long)bytes);
		pin_names(l, err);
	}
	if (!ret) {
		l->held += l->since + l->packed;
		l->since = l->packed = 0;
	}
	for (size_t i = 0; i < n && !ret; i++) {
		unsigned flags = v[i]->flags | (l->fuzzy ? HF_REC_FUZZY : 0);

		flags |= (i ? 0 : HF_REC_FIRST) | (i + 1 < n ? HF_REC_PART : 0);
		if (i + 1 == n)
			ret = hf_seam("base.append");
		if (!ret)
			ret = log_append_packed(l, &v[i]->b, HF_REC_BASE, flags, l->gen, NULL, err);
	}
	free(v);
	return ret;
}

/* There is a base of base_gen: what is older than is to be kept may go. */
static int base_told(struct hf_log *l, uint64_t retain, struct hf_err *err)
{
	uint64_t keep, room, total;
	int ret;

	keep = keep_from(l, retain);
	room = l->claim->ops->room(l->claim, &total);
	ret = l->claim->ops->trim(l->claim, keep, err);
	if (ret)
		return ret;
	l->untold = false;
	if (room < total / 4)
		l->held = 0;
	dedup_sweep(&l->dedup);
	keep_forget(l, keep);
	return 0;
}

int hf_log_tell(struct hf_log *l, uint64_t retain, struct hf_err *err)
{
	int ret;

	if (!l->claim || l->npend)
		return -EBUSY;
	if (!l->untold)
		return 0;
	ret = l->claim->ops->flush(l->claim, err);
	return ret ? ret : base_told(l, retain, err);
}

static int base_now(struct hf_log *l, uint64_t retain, struct hf_err *err)
{
	uint64_t when = l->when_ns;
	bool first = l->untold;
	int ret;

	hf_log_abort(l);	/* what was put and taken back may lose its place now */
	ret = hf_log_tell(l, retain, err);
	if (ret || (first && l->base_gen == l->gen))
		return ret;
	ret = copy_contents(l, SIZE_MAX, err);
	if (!ret)
		ret = l->claim->ops->flush(l->claim, err);
	if (!ret)
		ret = base_append(l, err);
	l->when_ns = when;
	if (ret)
		return ret;
	l->base_bytes = l->since;
	l->since = 0;
	l->loaded_base = true;
	l->base_gen = l->gen;
	keep_note(l, l->gen, l->when_ns, true);
	return base_told(l, retain, err);
}

int hf_log_base(struct hf_log *l, uint64_t retain, struct hf_err *err)
{
	int ret;

	if (!l->claim || l->npend)
		return -EBUSY;
	ret = base_now(l, retain, err);
	make_drop(l);
	return ret;
}
