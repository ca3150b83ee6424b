// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A log of puts and deletes: its newest state in memory, transactions, reading.
 * log_base.c compacts it. One thread at a time, so there are no locks.
 *
 * Contents become chunks. Small ones travel in the same write as the record that
 * refers to them (up to TAIL bytes of a commit), others go ahead into packs.
 */
#include "log_int.h"
#include <stdlib.h>
#include <stdio.h>

#define TAIL (192u << 10)
#define PART_MAX LOG_PART_MAX
/* what comes first and is no longer than this travels in the record's own sector as it is: a sector is
 * a sector, and compressing is most of what such a commit costs beyond its writing */
#define ALONE 3072u

int log_new(struct hf_store *s, const struct hf_logid *id, struct hf_log **out)
{
	struct hf_log *l = hf_alloc(sizeof(*l));
	uint8_t disk[16];
	int ret;

	if (!l)
		return -ENOMEM;
	l->store = s;
	l->id = *id;
	s->ops->info(s, NULL, disk, NULL, NULL, NULL, NULL);
	ret = chunker_init(&l->ck, hf_store_keys(s), disk);
	if (ret) {
		hf_log_close(l);
		return ret;
	}
	*out = l;
	return 0;
}

/* ---- loading ---- */

void log_load_restart(void *ctx)
{
	struct hf_log *l = ctx;

	stage_drop(&l->stage);
	table_clear(&l->items);
	l->gen = l->gen_epoch = 0;
	l->loaded_base = false;
	l->since = l->nmark = 0;
}

static int load_put(void *ctx, struct ent *e)
{
	struct hf_log *l = ctx;
	struct ent *old = table_get(&l->items, ent_key(e), e->keylen);
	int ret;

	if (old)
		table_del(&l->items, old);
	ret = table_add(&l->items, e);
	if (ret)
		ent_put(e);
	return ret;
}

static int load_del(void *ctx, const void *key, uint32_t keylen)
{
	struct hf_log *l = ctx;
	struct ent *e = table_get(&l->items, key, keylen);

	if (e)
		table_del(&l->items, e);
	return 0;
}

static void load_when(void *ctx, const struct gen_mark *m)
{
	keep_note(ctx, m->gen, m->when_ns, m->base);
}

int log_load_rec(void *ctx, const struct hf_rec *r)
{
	struct hf_log *l = ctx;
	const struct codec_fn fn = { .put = load_put, .del = load_del, .when = load_when, .ctx = l };
	uint64_t when;
	int ret;

	if (r->kind != HF_REC_DELTA && r->kind != HF_REC_BASE)
		return 0;
	if (l->stop_gen && r->gen > l->stop_gen && r->kind == HF_REC_DELTA)
		return l->gen == l->stop_gen ? 1 : -ENOENT;
	ret = stage_rec(&l->stage, r);
	if (ret != 1)
		return ret;
	if (r->kind == HF_REC_BASE) {
		/* a base says all of it; what was there is the same, or was not read */
		table_clear(&l->items);
		l->loaded_base = true;
		l->since = 0;
	} else {
		l->since += rec_sectors(r->len) * (uint64_t)HFD_SECTOR;
	}
	ret = stage_play(&l->stage, r->gen, fn);
	if (ret)
		return ret;
	l->gen = r->gen;
	l->gen_epoch = r->epoch;
	keep_note(l, r->gen, r->when_ns, r->kind == HF_REC_BASE);
	when = keep_when(l, r->gen);	/* a base may have come later */
	l->when_ns = when ? when : r->when_ns;
	l->fuzzy = r->flags & HF_REC_FUZZY;
	return l->stop_gen && l->gen == l->stop_gen ? 1 : 0;
}

/* The newest state began or ceased to refer to what @e refers to. */
void log_refs(struct hf_log *l, const struct ent *e, int delta, uint64_t gen)
{
	if (!l->claim)
		return;
	for (uint32_t i = 0; i < e->nref; i++) {
		const struct hf_ref *r = &e->ref[i];

		if (r->slot != l->slot)
			continue;
		l->claim->ops->use(l->claim, r->slot, r->place, chunk_stored(r), delta, gen);
		if (delta > 0)
			dedup_add(&l->dedup, r);
		else
			dedup_del(&l->dedup, r);
	}
}

void log_load_done(struct hf_log *l) { stage_drop(&l->stage); }

void log_claimed(struct hf_log *l)
{
	stage_drop(&l->stage);
	l->slot = l->store->ops->slot(l->claim);
	l->loaded_base = false;		/* none in this epoch */
	for (size_t i = 0; i < l->items.cap; i++)
		for (struct ent *e = l->items.slot[i]; e; e = e->next)
			log_refs(l, e, 1, l->gen);
}

int hf_log_claim(struct hf_store *s, const struct hf_logid *id, unsigned flags,
		 struct hf_log **out, struct hf_err *err)
{
	struct hf_log *l;
	int ret = log_new(s, id, &l);

	if (ret)
		return ret;
	ret = s->ops->claim(s, id, flags, NULL, log_load_restart, log_load_rec, l, &l->claim, err);
	if (ret) {
		if (ret == -EBADMSG && err && !err->exit)
			hf_fail(err, HF_DAMAGED, ret, "a record of %s cannot be understood", id->name);
		hf_log_close(l);
		return ret;
	}
	log_claimed(l);
	*out = l;
	return 0;
}

int hf_log_read(struct hf_store *s, const struct hf_logid *id, uint64_t gen, struct hf_log **out,
		struct hf_err *err)
{
	struct hf_log *l;
	int ret = log_new(s, id, &l);

	if (ret)
		return ret;
	ret = s->ops->read(s, id, 0, NULL, log_load_restart, log_load_rec, l, err);
	if (!ret && gen && gen != l->gen)
		ret = pin_load(l, gen);
	if (ret == -ENOENT && gen && gen < l->gen) {
		l->stop_gen = gen;
		ret = s->ops->read(s, id, gen, NULL, log_load_restart, log_load_rec, l, err);
		if (ret == 1)
			ret = 0;
		if (!ret && l->gen != gen)
			ret = -ENOENT;
	}
	if (ret == -ENOENT)
		hf_fail(err, HF_NOTFOUND, ret, gen ? "%s has no generation %llu (any more); holdfast history %s lists them" :
			"%s has no generation yet", id->name, (unsigned long long)gen, id->name);
	if (ret == -EBADMSG && err && !err->exit)
		hf_fail(err, HF_DAMAGED, ret, "a record of %s cannot be understood", id->name);
	if (ret) {
		hf_log_close(l);
		return ret;
	}
	stage_drop(&l->stage);
	*out = l;
	return 0;
}

void hf_log_close(struct hf_log *l)
{
	if (!l)
		return;
	hf_log_abort(l);
	make_drop(l);
	if (l->claim)
		l->claim->ops->drop(l->claim);
	stage_drop(&l->stage);
	table_clear(&l->items);
	dedup_clear(&l->dedup);
	dedup_clear(&l->fresh);
	stash_free(l->stash);
	chunker_exit(&l->ck);
	hf_buf_free(&l->tail);
	free(l->pend);
	free(l->mark);
	free(l);
}

uint64_t hf_log_gen(const struct hf_log *l) { return l->gen; }
uint64_t hf_log_epoch(const struct hf_log *l) { return l->claim ? l->claim->ops->epoch(l->claim) : 0; }
bool hf_log_fuzzy(const struct hf_log *l) { return l->fuzzy; }

bool hf_log_kept(const struct hf_log *l, uint64_t epoch)
{
	return l->claim && (l->claim->first || l->claim->before_slot == l->slot) && l->gen_epoch <= epoch;
}

uint64_t hf_log_when(const struct hf_log *l) { return l->when_ns; }
uint64_t hf_log_short(const struct hf_log *l) { return l->claim ? l->claim->short_from : 0; }

void log_item_of(struct hf_log *l, struct ent *e, struct hf_item *out)
{
	if (e->flags & ENT_LATE)
		seal_wait(l, NULL);	/* a failure is told by the commit */
	*out = (struct hf_item){
		.key = ent_key(e), .keylen = e->keylen, .attr = ent_attr(e), .attrlen = e->attrlen,
		.size = e->size, .gen = e->gen, .mark = &e->mark,
	};
	memcpy(out->hash, e->hash, HF_HASH);
}

bool hf_log_get(struct hf_log *l, const void *key, uint32_t keylen, struct hf_item *out)
{
	struct ent *e = table_get(&l->items, key, keylen);

	if (!e || (e->flags & ENT_DEAD))
		return false;
	log_item_of(l, e, out);
	return true;
}

struct hf_mark *hf_log_mark(struct hf_log *l, const void *key, uint32_t keylen)
{
	struct ent *e = table_get(&l->items, key, keylen);

	return e && !(e->flags & ENT_DEAD) ? &e->mark : NULL;
}

int hf_log_each(struct hf_log *l, const void *prefix, uint32_t plen,
		int (*fn)(void *ctx, const struct hf_item *it), void *ctx)
{
	struct ent **v;
	size_t n;
	int ret = table_sorted(&l->items, prefix, plen, &v, &n);

	if (ret)
		return ret;
	for (size_t i = 0; i < n; i++)
		v[i]->users++;
	for (size_t i = 0; i < n; i++) {
		struct hf_item it;

		/* the callback may have changed what comes later */
		if (!ret && !(v[i]->flags & (ENT_DEAD | ENT_OUT))) {
			log_item_of(l, v[i], &it);
			l->at = v[i];
			ret = fn(ctx, &it);
			l->at = NULL;
		}
		ent_put(v[i]);
	}
	free(v);
	return ret;
}

int hf_log_all(struct hf_log *l, const void *prefix, uint32_t plen,
	       int (*fn)(void *ctx, const struct hf_item *it), void *ctx)
{
	int ret = 0;

	for (size_t i = 0; i < l->items.cap && !ret; i++)
		for (struct ent *e = l->items.slot[i]; e && !ret; e = e->next) {
			struct hf_item it;

			if ((e->flags & ENT_DEAD) || !ent_begins(e, prefix, plen))
				continue;
			log_item_of(l, e, &it);
			ret = fn(ctx, &it);
		}
	return ret;
}

int log_fetch(struct hf_log *l, const struct hf_ref *r, struct hf_err *err)
{
	struct hf_ref plain = *r;
	int ret = -EBADMSG;

	plain.flags &= ~REF_TAIL;
	if (r->flags & REF_TAIL) {
		memcpy(l->ck.buf, l->tail.p + r->place, chunk_stored(r));
		return chunk_open(&l->ck, &plain);
	}
	if (l->stash && stash_get(l->stash, r, l->ck.buf) && !chunk_open(&l->ck, &plain))
		return 0;
	for (int fresh = 0; fresh < 2 && ret == -EBADMSG; fresh++) {
		ret = l->store->ops->get_bytes(l->store, r->slot, r->place, l->ck.buf, chunk_stored(r),
					       fresh, err);
		if (!ret)
			ret = chunk_open(&l->ck, &plain);
	}
	if (ret == -EBADMSG)
		hf_fail(err, HF_DAMAGED, ret, l->claim ? "%s: contents at offset %llu are damaged or not authentic" :
			"%s: contents at offset %llu are damaged or not authentic, or the space of that generation was used again; holdfast history tells which those are",
			l->id.name, (unsigned long long)r->place);
	return ret;
}

int hf_log_content(struct hf_log *l, const void *key, uint32_t keylen,
		   int (*sink)(void *ctx, const void *p, size_t n), void *ctx, struct hf_err *err)
{
	struct ent *e = l->at;
	int ret = 0;

	/* mostly it is the one that is shown */
	if (!e || (e->flags & ENT_OUT) || key != ent_key(e) || keylen != e->keylen)
		e = table_get(&l->items, key, keylen);
	if (!e || (e->flags & ENT_DEAD))
		return -ENOENT;
	ret = seal_wait(l, err);
	e->users++;
	for (uint32_t i = 0; i < e->nref && !ret; i++) {
		const struct hf_ref *r = &e->ref[i];

		if (!(r->flags & REF_TAIL) && l->claim && r->slot == l->slot)
			ret = l->claim->ops->flush(l->claim, err);	/* it may be of this transaction */
		if (!ret)
			ret = log_fetch(l, r, err);
		if (!ret)
			ret = sink(ctx, l->ck.plain, r->len);
		chunk_forget(&l->ck, r);
	}
	ent_put(e);
	return ret;
}

/* ---- transactions ---- */

static struct pend *pend_of(struct hf_log *l, struct ent *cur)
{
	struct pend *p, **v;

	if (l->npend == l->pend_cap) {
		size_t cap = l->pend_cap ? l->pend_cap * 2 : 16;

		v = realloc(l->pend, cap * sizeof(*v));
		if (!v)
			return NULL;
		l->pend = v;
		l->pend_cap = cap;
	}
	p = hf_alloc(sizeof(*p));
	if (!p)
		return NULL;
	p->cur = cur;
	p->idx = l->npend;
	l->pend[l->npend++] = p;
	return p;
}

static void pend_drop(struct hf_log *l, struct pend *p)
{
	l->pend[p->idx] = l->pend[--l->npend];
	l->pend[p->idx]->idx = p->idx;
	free(p);
}

int log_change(struct hf_log *l, struct ent *e)
{
	struct ent *now = table_get(&l->items, ent_key(e), e->keylen);
	struct pend *p = now ? now->pend : NULL;
	int ret;

	if (!p) {
		p = pend_of(l, e);
		if (!p) {
			ent_put(e);
			return -ENOMEM;
		}
		if (now) {
			p->old = now;
			now->users++;
		}
	}
	if (now)
		table_del(&l->items, now);
	ret = table_add(&l->items, e);	/* cannot fail unless the table is empty */
	if (ret) {
		pend_drop(l, p);
		ent_put(e);
		return ret;
	}
	e->pend = p;
	p->cur = e;
	return 0;
}

const struct hf_ref *log_has_chunk(const struct hf_log *l, uint32_t len, const uint8_t hash[HF_HASH])
{
	const struct hf_ref *same = dedup_get(&l->dedup, hash);

	if (!same)
		same = dedup_get(&l->fresh, hash);
	return same && same->len == len ? same : NULL;
}

int log_seal_chunk(struct hf_log *l, const void *p, uint32_t len, const uint8_t hash[HF_HASH], struct hf_ref *r)
{
	return chunk_seal(&l->ck, p, len, hash, l->tail.len || len > ALONE, r);
}

/* what is sealed in l->ck.buf */
static int place_chunk(struct hf_log *l, struct hf_ref *r, struct hf_err *err)
{
	int ret;

	r->slot = l->slot;
	if (l->tail.len + chunk_stored(r) <= TAIL) {
		r->flags |= REF_TAIL;
		r->place = l->tail.len;
		hf_buf_put(&l->tail, l->ck.buf, chunk_stored(r));
		ret = l->tail.bad ? -ENOMEM : 0;
	} else {
		ret = l->claim->ops->put_bytes(l->claim, l->ck.buf, chunk_stored(r), &r->place, err);
		l->packed += chunk_stored(r);
	}
	if (!ret)
		dedup_add(&l->fresh, r);
	return ret;
}

static int put_chunk(struct hf_log *l, const void *p, uint32_t len, const uint8_t hash[HF_HASH],
		     struct hf_ref *r, struct hf_err *err)
{
	const struct hf_ref *same = log_has_chunk(l, len, hash);
	int ret;

	if (same) {
		*r = *same;
		return 0;
	}
	ret = ready_take(l, len, hash, r) ? 0 : log_seal_chunk(l, p, len, hash, r);
	return ret ? ret : place_chunk(l, r, err);
}

int log_sealed(struct hf_log *l, struct ent *e, const struct hf_ref *ref, const uint8_t *sealed, struct hf_err *err)
{
	const struct hf_ref *same = log_has_chunk(l, ref->len, ref->hash);
	int ret = 0;

	e->ref[0] = same ? *same : *ref;
	if (!same) {
		memcpy(l->ck.buf, sealed, chunk_stored(ref));
		ret = place_chunk(l, &e->ref[0], err);
	}
	e->nref = !ret;
	e->size = ref->len;
	memcpy(e->hash, ref->hash, HF_HASH);
	return ret;
}

int log_put_chunk(struct hf_log *l, const void *p, uint32_t len, const uint8_t hash[HF_HASH],
		  struct hf_ref *r, struct hf_err *err)
{
	int ret = seal_wait(l, err);

	if (!ret)
		ret = put_chunk(l, p, len, hash, r, err);
	if (ret == -ENOSPC)
		pin_names(l, err);
	return ret;
}

size_t log_weight(uint32_t keylen, uint32_t attrlen, uint64_t nref)
{
	return 64 + (size_t)keylen + attrlen + nref * 64;
}

void log_hash(struct hf_log *l, const void *p, size_t n, uint8_t out[HF_HASH])
{
	uint8_t st[HF_HASH_STATE] __attribute__((aligned(64)));

	hf_hash_init(l->ck.keys, st);
	hf_hash_update(st, p, n);
	hf_hash_final(st, out);
}

int log_source(const struct hf_source *src, uint8_t *p, uint64_t off, size_t len, size_t *n)
{
	*n = 0;
	while (*n < len) {
		ssize_t r = src->read(src->arg, p + *n, len - *n, off + *n);

		if (r < 0 && r != -EINTR)
			return r;
		if (!r)
			break;
		*n += r > 0 ? r : 0;
	}
	return 0;
}

int log_contents(struct hf_log *l, struct ent *e, const struct hf_source *src, const uint8_t *mem,
		 const uint8_t *hash, uint64_t size, struct hf_err *err)
{
	uint8_t st[HF_HASH_STATE] __attribute__((aligned(64)));
	size_t buflen = size < HF_CHUNK_MAX ? size : HF_CHUNK_MAX, n = buflen;
	uint8_t *buf = mem ? NULL : malloc(buflen);
	bool parts = size > HF_CHUNK_MAX;
	uint64_t off = 0;
	int ret = mem || buf ? 0 : -ENOMEM;

	e->nref = 0;
	if (parts)
		hf_hash_init(l->ck.keys, st);
	while (!ret && off < size) {
		size_t want = size - off < HF_CHUNK_MAX ? size - off : HF_CHUNK_MAX;
		const uint8_t *p = mem ? mem + off : buf;
		uint8_t h[HF_HASH];

		n = want;
		if (!mem)
			ret = log_source(src, buf, off, want, &n);
		if (ret || !n)
			break;		/* it got shorter; who reads looks again */
		if (hash)
			memcpy(h, hash, HF_HASH);
		else if (!ready_hash(l, p, n, h))
			log_hash(l, p, n, h);
		if (parts)
			hf_hash_update(st, p, n);
		else
			memcpy(e->hash, h, HF_HASH);
		ret = put_chunk(l, p, n, h, &e->ref[e->nref], err);
		if (ret)
			break;
		e->nref++;
		off += n;
		if (n < want)
			break;
	}
	if (parts)
		hf_hash_final(st, off ? e->hash : NULL);
	e->size = off;
	if (buf) {
		explicit_bzero(buf, buflen);
		free(buf);
	}
	return ret;
}

/* where so many were changed, waiting for somebody else is worth it */
#define MANY 32

static int put(struct hf_log *l, const void *key, uint32_t keylen, const void *attr, uint32_t attrlen,
	       const struct hf_source *src, bool later, uint8_t hash[HF_HASH], struct hf_err *err)
{
	uint64_t size = src ? src->size : 0;
	struct ent *e;
	int ret;

	if (!l->claim || !keylen)
		return -EINVAL;
	/* but for most of its chunks it must fit into one record even if that does not compress */
	if (size > LOG_ITEM_MAX || log_weight(keylen, attrlen, 1) > LOG_REC_MAX)
		return hf_fail(err, HF_FAILED, -EFBIG,
			       "%s: an entry of %llu bytes with %u bytes of attributes is too large for the store (64 GiB, about 1 MiB)",
			       l->id.name, (unsigned long long)size, attrlen);
	e = ent_new(key, keylen, attr, attrlen, (size + HF_CHUNK_MAX - 1) / HF_CHUNK_MAX);
	if (!e)
		return -ENOMEM;
	e->gen = l->gen + 1;
	if (!size) {
		ret = 0;
	} else if (later && size <= SEAL_MAX && l->npend >= MANY) {
		ret = seal_put(l, e, src, err);
	} else {
		ret = seal_wait(l, err);
		if (!ret)
			ret = log_contents(l, e, src, NULL, NULL, size, err);
	}
	if (ret == -ENOSPC)
		pin_names(l, err);
	if (ret) {
		ent_put(e);
		return ret;
	}
	if (hash)
		memcpy(hash, e->hash, HF_HASH);
	return log_change(l, e);
}

int hf_log_put(struct hf_log *l, const void *key, uint32_t keylen, const void *attr,
	       uint32_t attrlen, const struct hf_source *src, uint8_t hash[HF_HASH],
	       struct hf_err *err)
{
	return put(l, key, keylen, attr, attrlen, src, false, hash, err);
}

int hf_log_put_later(struct hf_log *l, const void *key, uint32_t keylen, const void *attr, uint32_t attrlen,
		     const struct hf_source *src, struct hf_err *err)
{
	return put(l, key, keylen, attr, attrlen, src, true, NULL, err);
}

int hf_log_del(struct hf_log *l, const void *key, uint32_t keylen)
{
	struct ent *now = table_get(&l->items, key, keylen), *e;

	if (!l->claim)
		return -EINVAL;
	if (!now || (now->flags & ENT_DEAD))
		return 0;
	if (now->pend && !now->pend->old)
		return hf_log_unput(l, key, keylen);	/* it never was */
	e = ent_new(key, keylen, NULL, 0, 0);
	if (!e)
		return -ENOMEM;
	e->flags = ENT_DEAD;
	return log_change(l, e);
}

static void undo(struct hf_log *l, struct pend *p)
{
	table_del(&l->items, p->cur);
	if (p->old) {
		p->old->pend = NULL;
		table_add(&l->items, p->old);	/* there was room for it */
	}
	pend_drop(l, p);
}

int hf_log_unput(struct hf_log *l, const void *key, uint32_t keylen)
{
	struct ent *now = table_get(&l->items, key, keylen);

	if (now && now->pend)
		undo(l, now->pend);
	if (!l->npend)
		seal_end(l);
	return 0;
}

bool hf_log_pending(const struct hf_log *l) { return l->npend; }

void hf_log_pending_stat(struct hf_log *l, const void *prefix, uint32_t plen,
			 uint64_t *puts, uint64_t *dels, uint64_t *before)
{
	*puts = *dels = 0;
	*before = table_count(&l->items, prefix, plen);
	for (size_t i = 0; i < l->npend; i++) {
		const struct ent *e = l->pend[i]->cur;

		if (e->keylen < plen || memcmp(ent_key(e), prefix, plen))
			continue;
		*before -= !l->pend[i]->old;
		if (e->flags & ENT_DEAD)
			++*dels;
		else
			++*puts;
	}
}

void hf_log_abort(struct hf_log *l)
{
	seal_end(l);
	ready_drop(l);
	while (l->npend)
		undo(l, l->pend[l->npend - 1]);
	l->tail.len = 0;
	dedup_clear(&l->fresh);
	if (l->claim)
		l->claim->ops->settle(l->claim);
}

/* What travels along must be in the same record as what refers to it: where a commit
 * needs several records, it goes ahead into a pack instead. */
static int tail_to_pack(struct hf_log *l, struct hf_err *err)
{
	uint64_t place;
	int ret;

	if (!l->tail.len)
		return 0;
	ret = l->claim->ops->put_bytes(l->claim, l->tail.p, l->tail.len, &place, err);
	if (ret)
		return ret;
	for (size_t i = 0; i < l->npend; i++) {
		struct ent *e = l->pend[i]->cur;

		for (uint32_t k = 0; k < e->nref; k++)
			if (e->ref[k].flags & REF_TAIL) {
				e->ref[k].flags &= ~REF_TAIL;
				e->ref[k].place += place;
			}
	}
	l->tail.len = 0;
	dedup_clear(&l->fresh);
	return 0;
}

int log_append(struct hf_log *l, struct hf_buf *b, enum hf_rec_kind kind, unsigned flags, uint64_t gen,
	       uint64_t *tail_place, struct hf_err *err)
{
	int ret = codec_pack(b, &l->ck.zip, &flags);

	return ret ? ret : log_append_packed(l, b, kind, flags, gen, tail_place, err);
}

int log_append_packed(struct hf_log *l, const struct hf_buf *b, enum hf_rec_kind kind, unsigned flags, uint64_t gen,
		      uint64_t *tail_place, struct hf_err *err)
{
	size_t taillen = tail_place ? l->tail.len : 0;
	struct hf_rec r = { .kind = kind, .gen = gen, .when_ns = hf_wall_ns(), .flags = flags,
			    .payload = b->p, .len = b->len };
	int ret;

	l->when_ns = r.when_ns;
	ret = l->claim->ops->append(l->claim, &r, l->tail.p, taillen, tail_place, err);
	if (!ret)
		l->since += rec_sectors(b->len) * (uint64_t)HFD_SECTOR + taillen;
	else if (ret == -ENOSPC)
		pin_names(l, err);
	return ret;
}

static size_t weight_of(const struct ent *e) { return log_weight(e->keylen, e->attrlen, e->nref); }

int log_item(struct hf_buf *b, const struct ent *e, bool some, int (*next)(void *ctx, struct hf_buf *b), void *ctx)
{
	uint32_t told;
	int ret = 0;

	if (some && b->len + weight_of(e) > PART_MAX)
		ret = next(ctx, b);
	if (ret)
		return ret;
	for (told = codec_put(b, e, LOG_REC_MAX); told < e->nref && !ret; ) {
		ret = next(ctx, b);
		if (!ret)
			told += codec_more(b, e, told, LOG_REC_MAX);
	}
	return ret;
}

struct delta { struct hf_log *l; enum hf_rec_kind kind; unsigned flags; uint64_t gen; struct hf_err *err; };

static int delta_part(void *ctx, struct hf_buf *b)
{
	struct delta *d = ctx;
	int ret = log_append(d->l, b, d->kind, d->flags | HF_REC_PART, d->gen, NULL, d->err);

	d->flags &= ~HF_REC_FIRST;
	hf_buf_free(b);
	codec_begin(b, NULL);
	return ret;
}

int hf_log_commit(struct hf_log *l, unsigned flags, const char *note, uint64_t *gen, struct hf_err *err)
{
	struct hf_buf b = HF_BUF_INIT;
	uint64_t next = l->gen + 1, tail_place = 0;
	struct delta d = { l, HF_REC_DELTA, flags | HF_REC_FIRST, next, err };
	size_t total = LOG_HEAD_MAX;
	int ret = 0;

	if (!l->claim)
		return -EINVAL;
	if (!l->npend) {
		*gen = l->gen;
		return 0;
	}
	ret = seal_wait(l, err);
	if (ret == -ENOSPC)
		pin_names(l, err);
	if (ret)
		return ret;
	for (size_t i = 0; i < l->npend; i++)
		total += weight_of(l->pend[i]->cur);
	if (total > PART_MAX)
		ret = tail_to_pack(l, err);
	/* the first state of all: told as a base, it need not be told once more in the background */
	if (total > PART_MAX && !l->gen)
		d.kind = HF_REC_BASE;
	codec_begin(&b, note);
	for (size_t i = 0; i < l->npend && !ret; i++) {
		struct ent *e = l->pend[i]->cur;

		if (!(e->flags & ENT_DEAD))
			ret = log_item(&b, e, i, delta_part, &d);
		else if (i && b.len + weight_of(e) > PART_MAX)
			ret = delta_part(&d, &b);
		if (!ret && (e->flags & ENT_DEAD))
			codec_del(&b, e);
	}
	if (!ret && (ret = hf_seam("commit.append")))
		hf_fail(err, HF_UNAVAIL, ret, "%s: injected failure of an append", l->id.name);
	if (!ret)
		ret = log_append(l, &b, d.kind, d.flags, next, &tail_place, err);
	hf_buf_free(&b);
	if (ret)
		return ret;

	seal_end(l);
	ready_drop(l);
	l->gen = next;
	l->fuzzy = flags & HF_REC_FUZZY;
	while (l->npend) {
		struct pend *p = l->pend[l->npend - 1];
		struct ent *e = p->cur;

		for (uint32_t k = 0; k < e->nref; k++)
			if (e->ref[k].flags & REF_TAIL) {
				e->ref[k].flags &= ~REF_TAIL;
				e->ref[k].place += tail_place;
			}
		e->pend = NULL;
		log_refs(l, e, 1, next);	/* before what it replaces lets go of the same chunks */
		if (p->old) {
			log_refs(l, p->old, -1, next);
			ent_put(p->old);
		}
		make_note(l, e);
		if (e->flags & ENT_DEAD)
			table_del(&l->items, e);
		pend_drop(l, p);
	}
	l->tail.len = 0;
	dedup_clear(&l->fresh);
	keep_note(l, next, l->when_ns, d.kind == HF_REC_BASE);
	if (d.kind == HF_REC_BASE) {
		l->loaded_base = l->untold = true;
		l->base_gen = next;
		l->base_bytes = l->since;
		l->held += l->packed;
		l->since = l->packed = 0;
	}
	l->claim->ops->settle(l->claim);
	*gen = next;
	return 0;
}

int hf_log_confirm(struct hf_log *l, struct hf_err *err)
{
	return l->claim ? l->claim->ops->confirm(l->claim, err) : -EINVAL;
}

int hf_log_note(struct hf_log *l, struct hf_err *err)
{
	return l->claim ? l->claim->ops->note(l->claim, err) : -EINVAL;
}

int hf_log_release(struct hf_log *l, struct hf_err *err)
{
	struct hf_rec r = { .kind = HF_REC_RELEASE, .gen = l->gen, .when_ns = hf_wall_ns() };
	int ret;

	if (!l->claim)
		return -EINVAL;
	ret = hf_seam("release.append");
	if (!ret)
		ret = l->claim->ops->append(l->claim, &r, NULL, 0, NULL, err);
	return ret ? ret : l->claim->ops->release(l->claim, err);
}
