// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Is a log sound? All that its newest state stands on, and all generations that can
 * still be read: records, what travels with them, contents.
 *
 * A log lives while it is looked at: an owner says in the row up to where its history was
 * trimmed, and only then uses the space again. So what looks damaged is believed when the
 * row says the same before and after, twice. Epochs older than the newest one, and that one when
 * nobody holds it any more, may lose their history without a word in the row (area_collect()): what
 * cannot be read there is damaged only if it can be told that its block was not used
 * again, and else worth a note. A log that was deleted says nothing at all.
 */
#include "disk_look.h"
#include "state.h"
#include <stdio.h>
#include <stdlib.h>

#define TRIES 24

struct run { uint64_t place, len; uint32_t slot; unsigned bit; };
struct old { struct hf_ref ref; uint64_t epoch, gen; bool ok; };

struct one {
	struct check *k;
	uint32_t row;
	char name[HF_NAME_MAX + 32];
	const struct claim_rec *acc;
	bool held;			/* nobody but the owner of acc trims it */
	/* the log as it is read */
	struct staging stage;
	struct table items;
	struct old *old;		/* chunks that any generation refers to */
	size_t nold, old_cap;
	struct run *run;
	size_t nrun, run_cap;
	unsigned bit;
	uint64_t epoch, gen;		/* of the record at hand */
	uint64_t records, bytes, gens, first_gen, last_gen, fuzzy, bases, odd_gen;
	uint64_t seen_chunks, seen_bytes, item_bytes;
	struct walk_end end;
	struct json_object *bad, *doubt;
};

static void forget(void *ctx)
{
	struct one *o = ctx;

	stage_drop(&o->stage);
	table_clear(&o->items);
	o->nold = 0;
	o->records = o->bytes = o->gens = o->first_gen = o->last_gen = o->fuzzy = o->bases = o->odd_gen = 0;
}

static void one_exit(struct one *o)
{
	forget(o);
	free(o->old);
	free(o->run);
	json_object_put(o->bad);
	json_object_put(o->doubt);
}

static void on_seg(void *ctx, uint32_t slot, uint64_t place, uint64_t len)
{
	struct one *o = ctx;

	if (!in_area(o->k->d, slot, place, len))
		return;
	if (o->nrun == o->run_cap) {
		size_t cap = o->run_cap ? 2 * o->run_cap : 64;
		struct run *v = realloc(o->run, cap * sizeof(*v));

		if (!v)
			return;		/* less is said to be in use than is */
		o->run = v;
		o->run_cap = cap;
	}
	o->run[o->nrun++] = (struct run){ place, len, slot, o->bit };
}

static int on_put(void *ctx, struct ent *e)
{
	struct one *o = ctx;
	struct ent *before = table_get(&o->items, ent_key(e), e->keylen);
	int ret;

	if (o->nold + e->nref > o->old_cap) {
		size_t cap = 2 * (o->nold + e->nref);
		struct old *v = realloc(o->old, cap * sizeof(*v));

		if (!v) {
			ent_put(e);
			return -ENOMEM;
		}
		o->old = v;
		o->old_cap = cap;
	}
	for (uint32_t i = 0; i < e->nref; i++)
		o->old[o->nold++] = (struct old){ e->ref[i], o->epoch, o->gen, true };
	if (before)
		table_del(&o->items, before);
	ret = table_add(&o->items, e);
	if (ret)
		ent_put(e);
	return ret;
}

static int on_del(void *ctx, const void *key, uint32_t keylen)
{
	struct one *o = ctx;
	struct ent *e = table_get(&o->items, key, keylen);

	if (e)
		table_del(&o->items, e);
	return 0;
}

static int commit(struct one *o, const struct hf_rec *r)
{
	const struct codec_fn fn = { .put = on_put, .del = on_del, .ctx = o };

	if (r->kind == HF_REC_BASE) {
		table_clear(&o->items);
		o->bases++;
	}
	if (o->last_gen != r->gen || !o->gens) {
		o->gens++;
		o->first_gen = o->gens == 1 ? r->gen : o->first_gen;
		o->last_gen = r->gen;
		o->fuzzy += !!(r->flags & HF_REC_FUZZY);
	}
	o->epoch = r->epoch;
	o->gen = r->gen;
	return stage_play(&o->stage, r->gen, fn);
}

static int on_rec(void *ctx, const struct hf_rec *r)
{
	struct one *o = ctx;
	int ret;

	o->records++;
	o->bytes += rec_sectors(r->len) * (uint64_t)HFD_SECTOR;
	check_tick(o->k);
	if (r->kind != HF_REC_DELTA && r->kind != HF_REC_BASE)
		return 0;
	ret = stage_rec(&o->stage, r);
	if (ret == 1)
		ret = commit(o, r);
	if (ret == -EBADMSG) {		/* authentic, and yet makes no sense */
		stage_drop(&o->stage);
		o->odd_gen = r->gen;
		ret = 0;
	}
	return ret;
}

__attribute__((format(printf, 4, 5)))
static struct json_object *wrong(struct one *o, struct json_object *list, const char *kind, const char *fmt, ...)
{
	struct json_object *f;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f = check_say(o->k, o->row, kind, "%s: %s", o->name, text);
	json_object_array_add(list, f);
	return f;
}

/* What it is of older generations alone. */
static void of_history(struct json_object *f)
{
	json_object_object_add(f, "history", json_object_new_boolean(true));
}

static struct json_object *wrong_record(struct one *o, struct json_object *list, const struct walk_gap *g, const char *then)
{
	char node[HF_NAME_MAX + 1];
	struct json_object *f;

	node_name(o->k->d, g->slot, node);
	f = wrong(o, list, g->seal ? "seal" : "record",
		  "%s %llu of epoch %llu (node %s, offset %llu) is damaged or not authentic; %s",
		  g->seal ? "the seal, record" : "record", (unsigned long long)g->seq, (unsigned long long)g->epoch,
		  node, (unsigned long long)g->place, then);
	check_place(o->k, f, g->slot, g->place);
	look_num(f, "epoch", g->epoch);
	return f;
}

static void wrong_history(struct one *o, bool all)
{
	const struct walk_gap *g = &o->end.gap;
	bool sure = all || g->sure || (g->epoch == o->acc->acc.epoch && o->held);

	of_history(wrong_record(o, sure ? o->bad : o->doubt, g, sure ? "older generations cannot be read" :
				"older generations cannot be read; it may be that they were trimmed"));
}

/* What a base held is there without it, or it would not have been passed over. */
static void wrong_base(struct one *o)
{
	bool newest = o->end.damaged.place == o->end.base.place;
	char text[160];

	snprintf(text, sizeof(text), "it is of the base of generation %llu, and what that held can be put together from what came before it%s",
		 (unsigned long long)o->end.damaged.gen, newest ? "" : "; there is a newer base");
	wrong_record(o, newest ? o->bad : o->doubt, &o->end.passed, text);
}

/* into ck.plain; -EBADMSG, or what the device says */
static int fetch(struct one *o, const struct hf_ref *r)
{
	struct check *k = o->k;
	uint8_t st[HF_HASH_STATE] __attribute__((aligned(64))), sum[HF_HASH];
	int ret = -EBADMSG;

	if (!in_area(k->d, r->slot, r->place, chunk_stored(r)))
		return -EBADMSG;
	for (int fresh = 0; fresh < 2 && ret == -EBADMSG; fresh++) {
		ret = k->d->store.ops->get_bytes(&k->d->store, r->slot, r->place, k->ck.buf, chunk_stored(r), fresh, NULL);
		if (!ret)
			ret = chunk_open(&k->ck, r);
	}
	if (ret)
		return ret;
	hf_hash_init(k->d->keys, st);
	hf_hash_update(st, k->ck.plain, r->len);
	hf_hash_final(st, sum);
	o->seen_chunks++;
	o->seen_bytes += r->len;
	k->contents += r->len;
	check_tick(k);
	return memcmp(sum, r->hash, HF_HASH) ? -EBADMSG : 0;
}

static int wrong_chunk(struct one *o, int err, struct json_object *list, const struct hf_ref *r, uint64_t gen,
		       const char *of)
{
	char node[HF_NAME_MAX + 1];
	struct json_object *f;

	if (err != -EBADMSG && err != -EIO)
		return err;
	o->k->io |= err == -EIO;
	node_name(o->k->d, r->slot, node);
	f = wrong(o, list, "contents", "contents of generation %llu%s (node %s, offset %llu, %u bytes) %s",
		  (unsigned long long)gen, of, node, (unsigned long long)r->place, chunk_stored(r),
		  err == -EIO ? "cannot be read: I/O error" : list == o->bad ? "are damaged or not authentic" :
		  "are damaged or not authentic; it may be that they were trimmed");
	check_place(o->k, f, r->slot, r->place);
	if (!*of)
		of_history(f);
	return 0;
}

static int newest_items(struct one *o)
{
	uint8_t st[HF_HASH_STATE] __attribute__((aligned(64))), sum[HF_HASH];
	int ret = 0;

	o->bit = USED_LIVE;
	o->item_bytes = 0;
	for (size_t i = 0; i < o->items.cap; i++)
		for (struct ent *e = o->items.slot[i]; e; e = e->next) {
			bool whole = true;

			hf_hash_init(o->k->d->keys, st);
			for (uint32_t n = 0; n < e->nref; n++) {
				ret = fetch(o, &e->ref[n]);
				if (!ret)
					hf_hash_update(st, o->k->ck.plain, e->ref[n].len);
				else
					ret = wrong_chunk(o, ret, o->bad, &e->ref[n], e->gen, ", in use by the newest one");
				if (ret)
					break;
				whole &= json_object_array_length(o->bad) == 0;
				on_seg(o, e->ref[n].slot, e->ref[n].place, chunk_stored(&e->ref[n]));
			}
			hf_hash_final(st, sum);
			if (ret)
				return ret;
			o->item_bytes += e->size;
			if (e->nref > 1 && whole && memcmp(sum, e->hash, HF_HASH))
				wrong(o, o->bad, "contents", "contents of generation %llu are not those whose hash it has",
				      (unsigned long long)e->gen);
		}
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct old *x = a, *y = b;
	int c = (x->ref.place > y->ref.place) - (x->ref.place < y->ref.place);

	if (!c)
		c = memcmp(x->ref.hash, y->ref.hash, HF_HASH);
	return c ? c : (x->epoch < y->epoch) - (x->epoch > y->epoch);	/* the newest first */
}

static bool same_place(const struct hf_ref *a, const struct hf_ref *b)
{
	return a->place == b->place && !memcmp(a->hash, b->hash, HF_HASH);
}

/* A block is written from its begin on: if what lies there is as it was before, so is the rest. */
static bool not_reused(const struct one *o, const struct hf_ref *r, uint64_t gen)
{
	uint64_t start = r->place / HFD_BLOCK * HFD_BLOCK;

	if (start == r->place || start + HFD_BLOCK < r->place + chunk_stored(r))
		return false;
	for (size_t i = 0; i < o->nold; i++) {
		const struct hf_ref *c = &o->old[i].ref;

		if (o->old[i].ok && o->old[i].gen < gen && c->place <= start && c->place + chunk_stored(c) > start)
			return true;
	}
	return false;
}

/* what the newest state does not refer to any more */
static int older_contents(struct one *o)
{
	struct old *live = NULL;
	size_t n = 0;
	int ret = 0;

	for (size_t i = 0; i < o->items.cap; i++)
		for (struct ent *e = o->items.slot[i]; e; e = e->next)
			n += e->nref;
	live = malloc((n + 1) * sizeof(*live));
	if (!live)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; i < o->items.cap; i++)
		for (struct ent *e = o->items.slot[i]; e; e = e->next)
			for (uint32_t c = 0; c < e->nref; c++)
				live[n++] = (struct old){ .ref = e->ref[c] };
	qsort(live, n, sizeof(*live), by_place);
	if (o->nold)
		qsort(o->old, o->nold, sizeof(*o->old), by_place);
	o->bit = USED_OLD;
	for (size_t i = 0, l = 0; i < o->nold && !ret; i++) {
		struct old *c = &o->old[i];

		if (i && same_place(&c->ref, &o->old[i - 1].ref)) {
			c->ok = o->old[i - 1].ok;
			continue;
		}
		while (l < n && live[l].ref.place < c->ref.place)
			l++;
		if (l < n && same_place(&live[l].ref, &c->ref))
			continue;
		on_seg(o, c->ref.slot, c->ref.place, chunk_stored(&c->ref));
		ret = fetch(o, &c->ref);
		if (ret == -EBADMSG && (c->epoch != o->acc->acc.epoch || !o->held)) {
			c->ok = false;
			ret = 0;
		} else if (ret) {
			ret = wrong_chunk(o, ret, o->bad, &c->ref, c->gen, "");
		}
	}
	free(live);
	for (size_t i = 0; i < o->nold && !ret; i++) {
		const struct old *c = &o->old[i];

		if (!c->ok && (!i || !same_place(&c->ref, &o->old[i - 1].ref)))
			ret = wrong_chunk(o, -EBADMSG, not_reused(o, &c->ref, c->gen) ? o->bad : o->doubt, &c->ref, c->gen, "");
	}
	return ret;
}

/* Once. 0: looked at, what is wrong is in bad and doubt. */
static int look(struct one *o)
{
	struct walk_opts must = { .verify_tails = true, .seg = on_seg, .ctx = o };
	struct walk_opts all = { .history = true, .verify_tails = true, .seg = on_seg, .fn = on_rec,
				 .restart = forget, .ctx = o };
	int ret;

	forget(o);
	o->nrun = 0;
	json_object_put(o->bad);
	json_object_put(o->doubt);
	o->bad = json_object_new_array();
	o->doubt = json_object_new_array();
	o->seen_chunks = o->seen_bytes = 0;
	o->bit = USED_LIVE;
	ret = log_walk(o->k->d, o->acc, &must, &o->end, NULL);
	if (ret == -EBADMSG) {
		wrong_record(o, o->bad, &o->end.gap, "its newest generation cannot be read");
		return 0;
	}
	if (ret)
		return ret;
	o->bit = USED_OLD;
	ret = log_walk(o->k->d, o->acc, &all, &o->end, NULL);
	if (ret && ret != -EBADMSG)
		return ret;
	if (o->end.gap.epoch)
		wrong_history(o, ret);
	if (o->end.passed.epoch)
		wrong_base(o);
	if (ret)
		return 0;
	if (o->odd_gen)
		wrong(o, o->bad, "record", "generation %llu is authentic and cannot be understood; was it written by a newer version?",
		      (unsigned long long)o->odd_gen);
	if (o->end.gen < o->acc->gen)
		wrong(o, o->bad, "record", "generation %llu was confirmed, and the log ends with %llu",
		      (unsigned long long)o->acc->gen, (unsigned long long)o->end.gen);
	ret = newest_items(o);
	return ret ? ret : older_contents(o);
}

/* Does the incarnation that accepted this epoch still hold it, as far as the disk tells? */
static bool held(const struct disk *d, const struct claim_rec *acc)
{
	const struct seen *s = &d->seen[acc->acc.slot % HF_MAX_NODES];

	return !(acc->flags & CLAIM_RELEASED) && acc->acc.slot < d->sb.slots && s->status == SLOT_OK &&
	       s->rec.state == NODE_ST_UP && !memcmp(s->rec.incarnation, acc->acc.incarnation, 16);
}

/* The claim as it is by now. -ENOENT: the row is another log's. */
static int again(struct check *k, uint32_t row, struct claim_rec *acc)
{
	struct row *r = malloc(sizeof(*r));
	const struct claim_rec *now;
	int ret = r ? row_read(k->d, row, r) : -ENOMEM;

	if (!ret) {
		now = row_accepted(r, acc->log);
		if (now)
			*acc = *now;
		else
			ret = -ENOENT;
	}
	free(r);
	return ret;
}

static void take_all(struct json_object *to, struct json_object *from)
{
	for (size_t i = 0; i < json_object_array_length(from); i++)
		json_object_array_add(to, json_object_get(json_object_array_get_idx(from, i)));
}

static void settle(struct one *o)
{
	struct check *k = o->k;
	struct json_object *info = look_log(k->d, o->row, o->acc);

	look_num(info, "generations", o->gens);
	look_num(info, "oldest", o->first_gen);
	look_num(info, "newest", o->last_gen);
	look_num(info, "fuzzy", o->fuzzy);
	look_num(info, "bases", o->bases);
	look_num(info, "records", o->records);
	look_num(info, "items", o->items.n);
	look_num(info, "items_bytes", o->item_bytes);
	look_num(info, "chunks", o->seen_chunks);
	look_num(info, "contents_bytes", o->seen_bytes);
	json_object_array_add(k->logs, info);
	k->records += o->records;
	k->record_bytes += o->bytes;
	k->chunks += o->seen_chunks;
	k->generations += o->gens;
	for (size_t i = 0; i < o->nrun; i++) {
		const struct run *r = &o->run[i];
		uint32_t from = area_block(k->d, r->slot, r->place);
		uint32_t to = area_block(k->d, r->slot, r->place + r->len - 1);

		for (uint32_t b = from; b <= to && r->len && b < k->nblk[r->slot]; b++)
			k->map[r->slot][b] |= r->bit;
	}
	take_all(k->found, o->bad);
	take_all(k->notes, o->doubt);
}

int check_log(struct check *k, uint32_t row, const struct claim_rec *acc)
{
	struct claim_rec now = *acc, before;
	struct one o = { .k = k, .row = row, .acc = &now };
	unsigned same = 0;
	int ret;

	if (check_deleted(k, row, acc->log, false))
		return 0;
	snprintf(o.name, sizeof(o.name), row ? "row %u" : "the registrations", row);
	for (unsigned tries = 0; ; tries++) {
		o.held = held(k->d, &now);
		ret = look(&o);
		if (ret)
			break;
		if (!json_object_array_length(o.bad))
			break;
		before = now;
		ret = again(k, row, &now);
		if (ret)
			break;
		same = claim_same_place(&before, &now) ? same + 1 : 0;
		if (same > 1 || tries == TRIES)
			break;
		hf_sleep_ms(1u << (tries < 6 ? tries : 6));
	}
	if (!ret && same < 2 && json_object_array_length(o.bad)) {
		json_object_array_add(k->notes, check_say(k, row, "busy",
			"%s: it is trimmed faster than it can be read; check it again when less is going on", o.name));
		json_object_put(o.bad);
		o.bad = json_object_new_array();
	}
	if (!ret && json_object_array_length(o.bad) && check_deleted(k, row, acc->log, true))
		ret = -ENOENT;
	if (!ret)
		settle(&o);
	if (ret == -ENOENT)		/* deleted meanwhile */
		ret = 0;
	one_exit(&o);
	return ret;
}
