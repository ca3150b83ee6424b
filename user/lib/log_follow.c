// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Following another node's log: its newest state is kept, with the place up to which it was
 * read, and contents that a takeover would need. A claim, or the next reading, goes on from
 * that place if the log still leads through it; else all is read anew.
 */
#include "log_int.h"
#include <stdlib.h>

struct following {
	struct hf_log *l;
	hf_log_pace_fn pace;
	void *ctx;
	bool odd;	/* a record was half taken in */
};

static void restart(void *ctx) { log_load_restart(((struct following *)ctx)->l); }

static int take_in(void *ctx, const struct hf_rec *r)
{
	struct following *f = ctx;
	int ret = f->pace ? f->pace(f->ctx, f->l, r->len) : 0;

	if (ret)
		return ret;
	ret = log_load_rec(f->l, r);
	f->odd = ret;
	return ret;
}

/* Where that is not the state it says it is, it says nothing. */
static void check(struct hf_log **l, bool odd)
{
	log_load_done(*l);
	if ((*l)->upto.here && !odd)
		return;
	hf_log_close(*l);
	*l = NULL;
}

int hf_log_follow(struct hf_store *s, const struct hf_logid *id, struct hf_log **l, hf_log_pace_fn pace,
		  void *ctx, struct hf_err *err)
{
	struct following f = { .pace = pace, .ctx = ctx };
	int ret = *l ? 0 : log_new(s, id, l);

	if (ret)
		return ret;
	f.l = *l;
	ret = s->ops->read(s, id, 0, &f.l->upto, restart, take_in, &f, err);
	check(l, f.odd);
	return ret;
}

int hf_log_more(struct hf_log *l, uint64_t *epoch)
{
	*epoch = l->upto.epoch;
	return l->store->ops->more(l->store, &l->upto);
}

int hf_log_claim_followed(struct hf_store *s, const struct hf_logid *id, unsigned flags, struct hf_log **l,
			  struct hf_err *err)
{
	struct following f = { 0 };
	int ret = *l ? 0 : log_new(s, id, l);

	if (ret)
		return ret;
	f.l = *l;
	ret = s->ops->claim(s, id, flags, &f.l->upto, restart, take_in, &f, &f.l->claim, err);
	if (!ret) {
		log_claimed(f.l);
		return 0;
	}
	f.l->claim = NULL;
	if (ret == -EBADMSG && err && !err->exit)
		hf_fail(err, HF_DAMAGED, ret, "a record of %s cannot be understood", id->name);
	check(l, f.odd);
	return ret;
}

size_t hf_log_memory(const struct hf_log *l, size_t *contents)
{
	size_t n = sizeof(*l) + l->items.cap * sizeof(*l->items.slot) + 2 * HF_CHUNK_MAX +
		   l->items.n * sizeof(*l->items.order) + stage_bytes(&l->stage);

	for (size_t i = 0; i < l->items.cap; i++)
		for (const struct ent *e = l->items.slot[i]; e; e = e->next)
			n += sizeof(*e) + e->keylen + e->attrlen + e->nref * sizeof(*e->ref) + 32;
	if (contents)
		*contents = stash_bytes(l->stash);
	return n;
}

int hf_log_order(struct hf_log *l) { return table_order(&l->items); }
bool hf_log_ordered(const struct hf_log *l) { return l->items.order; }

void hf_log_cool(struct hf_log *l)
{
	stash_free(l->stash);
	l->stash = NULL;
	chunker_cool(&l->ck);
}

/* the newest first; of one commit in the order in which they lie */
static int newest(const void *a, const void *b)
{
	const struct ent *x = *(struct ent *const *)a, *y = *(struct ent *const *)b;

	if (x->gen != y->gen)
		return x->gen < y->gen ? 1 : -1;
	return x->ref[0].place < y->ref[0].place ? -1 : x->ref[0].place > y->ref[0].place;
}

static int fetch(struct hf_log *l, const struct hf_ref *r, struct hf_err *err)
{
	int ret = r->clen > HF_CHUNK_MAX ? -EBADMSG : 0;

	for (int fresh = 0; fresh < 2 && !ret; fresh++) {
		ret = l->store->ops->get_bytes(l->store, r->slot, r->place, l->ck.buf, chunk_stored(r), fresh, err);
		if (!ret && chunk_whole(&l->ck, r))
			return stash_add(l->stash, r, l->ck.buf);
	}
	return ret ? ret : -EBADMSG;
}

int hf_log_warm(struct hf_log *l, size_t room, bool (*wants)(void *ctx, const struct hf_item *it),
		hf_log_pace_fn pace, void *ctx, uint64_t *missing, struct hf_err *err)
{
	struct ent **v = malloc((l->items.n + 1) * sizeof(*v));
	size_t n = 0, used = 0;
	int ret = 0;

	*missing = 0;
	if (!l->stash)
		l->stash = stash_new();
	if (!v || !l->stash) {
		free(v);
		return -ENOMEM;
	}
	for (size_t i = 0; i < l->items.cap; i++)
		for (struct ent *e = l->items.slot[i]; e; e = e->next) {
			struct hf_item it;

			/* no takeover restores what is pinned */
			if (!e->nref || pin_is(e) || (wants && (hf_log_get(l, ent_key(e), e->keylen, &it), !wants(ctx, &it))))
				continue;
			v[n++] = e;
		}
	qsort(v, n, sizeof(*v), newest);
	/* first what goes, then what comes: never more than @room */
	stash_mark(l->stash);
	for (int come = 0; come < 2 && !ret; come++) {
		used = *missing = 0;
		for (size_t i = 0; i < n && !ret; i++)
			for (uint32_t k = 0; k < v[i]->nref && !ret; k++) {
				const struct hf_ref *r = &v[i]->ref[k];
				size_t size = chunk_stored(r) + 96;

				if (used + size > room) {
					*missing += chunk_stored(r);
					continue;
				}
				used += size;
				if (stash_keep(l->stash, r) || !come)
					continue;
				ret = pace ? pace(ctx, l, chunk_stored(r)) : 0;
				if (!ret)
					ret = fetch(l, r, err);
			}
		if (!come)
			stash_sweep(l->stash);
	}
	free(v);
	return ret;
}
