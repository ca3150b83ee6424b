// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Pinned generations: a copy of what was in one of them, in the newest state, under keys of
 * its own. So a base takes it along, a new owner adopts it, and it goes with the log. Contents
 * that the newest state has too are there once.
 *
 *	@NAME		what it is: u16 version (1), u16 flags, u64 generation, u64 time of its commit,
 *			u64 time of the pin, u64 entries, u64 bytes of contents
 *	@NAME/KEY	an item
 */
#include "log_int.h"
#include "names.h"
#include <stdio.h>
#include <stdlib.h>

#define PIN '@'
#define PREFIX_MAX (HF_NAME_MAX + 2)

static uint32_t pin_key(const char *name, bool items, char key[PREFIX_MAX + 1])
{
	return snprintf(key, PREFIX_MAX + 1, "%c%.*s%s", PIN, HF_NAME_MAX, name, items ? "/" : "");
}

bool pin_is(const struct ent *e) { return e->keylen && ent_key(e)[0] == PIN; }

bool hf_log_pin_of(const struct hf_item *it, char name[HF_NAME_MAX + 1])
{
	const char *key = it->key;
	uint32_t n = 0;

	if (!it->keylen || *key != PIN)
		return false;
	while (n < HF_NAME_MAX && n + 1 < it->keylen && key[n + 1] != '/')
		n++;
	memcpy(name, key + 1, n);
	name[n] = '\0';
	return true;
}

/* Of a key that is a pin's itself. */
static int pin_info(const struct hf_item *it, struct hf_pin_info *p)
{
	struct hf_rd rd;

	memset(p, 0, sizeof(*p));
	if (!it->keylen || *(const char *)it->key != PIN || it->keylen > HF_NAME_MAX + 1 ||
	    memchr(it->key, '/', it->keylen))
		return -ENOENT;
	memcpy(p->name, (const char *)it->key + 1, it->keylen - 1);
	hf_rd_init(&rd, it->attr, it->attrlen);
	if (hf_rd_u16(&rd) != 1)
		return -EBADMSG;
	p->flags = hf_rd_u16(&rd);
	p->gen = hf_rd_u64(&rd);
	p->when_ns = hf_rd_u64(&rd);
	p->made_ns = hf_rd_u64(&rd);
	p->items = hf_rd_u64(&rd);
	p->bytes = hf_rd_u64(&rd);
	return rd.bad ? -EBADMSG : 0;
}

struct each { int (*fn)(void *ctx, const struct hf_pin_info *p); void *ctx; };

static int each_one(void *ctx, const struct hf_item *it)
{
	struct each *e = ctx;
	struct hf_pin_info p;
	int ret = pin_info(it, &p);

	return ret == -ENOENT ? 0 : ret ? ret : e->fn(e->ctx, &p);
}

int hf_log_pins(struct hf_log *l, int (*fn)(void *ctx, const struct hf_pin_info *p), void *ctx)
{
	const char at = PIN;
	struct each e = { fn, ctx };

	return hf_log_each(l, &at, 1, each_one, &e);
}

int hf_log_pin_group(struct hf_log *l, const struct hf_pin_info *p, struct hf_group **out)
{
	char key[PREFIX_MAX + 2];
	uint32_t n = pin_key(p->name, true, key);
	struct hf_item it;

	*out = NULL;
	key[n++] = GROUP_KEY;
	return hf_log_get(l, key, n, &it) ? group_in(it.attr, it.attrlen, p->gen, out) : 0;
}

static int pin_item(struct hf_log *l, struct hf_log *from, const struct ent *e, const char *name,
		    struct hf_err *err)
{
	char prefix[PREFIX_MAX + 1];
	uint32_t n = pin_key(name, true, prefix);
	struct ent *c;
	uint8_t *key;
	int ret = 0;

	if (log_weight(n + e->keylen, e->attrlen, 1) > LOG_REC_MAX)
		return hf_fail(err, HF_FAILED, -EFBIG, "%s: an entry of that generation is too large to be pinned", l->id.name);
	key = malloc(n + e->keylen);
	if (!key)
		return -ENOMEM;
	memcpy(key, prefix, n);
	memcpy(key + n, ent_key(e), e->keylen);
	c = ent_new(key, n + e->keylen, ent_attr(e), e->attrlen, e->nref);
	free(key);
	if (!c)
		return -ENOMEM;
	c->size = e->size;
	c->gen = l->gen + 1;
	memcpy(c->hash, e->hash, HF_HASH);
	for (uint32_t i = 0; i < e->nref && !ret; i++) {
		const struct hf_ref *r = &e->ref[i];

		/* Its place may be given to others as soon as nobody trims any more: what
		 * the newest state does not have is copied. */
		ret = log_fetch(from, r, err);
		if (!ret)
			ret = log_put_chunk(l, from->ck.plain, r->len, r->hash, &c->ref[i], err);
		chunk_forget(&from->ck, r);
	}
	if (ret) {
		ent_put(c);
		return ret;
	}
	return log_change(l, c);
}

int hf_log_pin(struct hf_log *l, uint64_t gen, const char *name, struct hf_err *err)
{
	char key[PREFIX_MAX + 1];
	uint32_t n = pin_key(name, false, key);
	struct hf_buf b = HF_BUF_INIT;
	uint64_t items = 0, bytes = 0;
	struct hf_log *from = NULL;
	struct hf_item it;
	int ret = hf_name_check(name, "pin", err);

	if (ret)
		return ret;
	if (!l->claim || l->npend)
		return -EBUSY;
	if (hf_log_get(l, key, n, &it))
		return hf_fail(err, HF_EXISTS, -EEXIST, "%s: there is a pin %s already; holdfast history %s lists them",
			       l->id.name, name, l->id.name);
	ret = hf_log_read(l->store, &l->id, gen, &from, err);
	for (size_t s = 0; !ret && s < from->items.cap; s++)
		for (struct ent *e = from->items.slot[s]; e && !ret; e = e->next) {
			if (pin_is(e))
				continue;
			ret = pin_item(l, from, e, name, err);
			items++;
			bytes += e->size;
		}
	if (!ret) {
		hf_buf_u16(&b, 1);
		hf_buf_u16(&b, from->fuzzy ? HF_REC_FUZZY : 0);
		hf_buf_u64(&b, from->gen);
		hf_buf_u64(&b, from->when_ns);
		hf_buf_u64(&b, hf_wall_ns());
		hf_buf_u64(&b, items);
		hf_buf_u64(&b, bytes);
		ret = b.bad ? -ENOMEM : hf_log_put(l, key, n, b.p, b.len, NULL, NULL, err);
	}
	hf_buf_free(&b);
	hf_log_close(from);
	if (ret)
		hf_log_abort(l);
	return ret;
}

static int drop_one(void *ctx, const struct hf_item *it) { return hf_log_del(ctx, it->key, it->keylen); }

int hf_log_unpin(struct hf_log *l, const char *name, struct hf_err *err)
{
	char key[PREFIX_MAX + 1];
	uint32_t n = pin_key(name, false, key);
	struct hf_item it;
	int ret = hf_name_check(name, "pin", err);

	if (ret)
		return ret;
	if (!l->claim)
		return -EBUSY;
	if (!hf_log_get(l, key, n, &it))
		return hf_fail(err, HF_NOTFOUND, -ENOENT, "%s: there is no pin %s; holdfast history %s lists those there are",
			       l->id.name, name, l->id.name);
	ret = hf_log_del(l, key, n);
	n = pin_key(name, true, key);
	if (!ret)
		ret = hf_log_each(l, key, n, drop_one, l);
	if (ret)
		hf_log_abort(l);
	return ret;
}

struct search { uint64_t gen; struct hf_pin_info found; };

static int search_one(void *ctx, const struct hf_pin_info *p)
{
	struct search *s = ctx;

	if (p->gen != s->gen)
		return 0;
	s->found = *p;
	return 1;
}

int pin_load(struct hf_log *l, uint64_t gen)
{
	struct search s = { .gen = gen };
	struct table t = { 0 };
	char prefix[PREFIX_MAX + 1];
	uint32_t n;
	int ret = hf_log_pins(l, search_one, &s);

	if (ret != 1)
		return ret ? ret : -ENOENT;
	n = pin_key(s.found.name, true, prefix);
	ret = 0;
	for (size_t i = 0; i < l->items.cap && !ret; i++)
		for (struct ent *e = l->items.slot[i]; e && !ret; e = e->next) {
			struct ent *c;

			if (e->keylen <= n || memcmp(ent_key(e), prefix, n))
				continue;
			c = ent_new(ent_key(e) + n, e->keylen - n, ent_attr(e), e->attrlen, e->nref);
			if (!c) {
				ret = -ENOMEM;
				break;
			}
			c->size = e->size;
			c->gen = gen;
			memcpy(c->hash, e->hash, HF_HASH);
			if (e->nref)
				memcpy(c->ref, e->ref, e->nref * sizeof(*c->ref));
			ret = table_add(&t, c);
			if (ret)
				ent_put(c);
		}
	if (ret) {
		table_clear(&t);
		return ret;
	}
	table_clear(&l->items);
	l->items = t;
	l->gen = gen;
	l->when_ns = s.found.when_ns;
	l->fuzzy = s.found.flags & HF_REC_FUZZY;
	return 0;
}

static int name_one(void *ctx, const struct hf_pin_info *p)
{
	struct hf_err *err = ctx;
	size_t n = strlen(err->msg);

	if (n + HF_NAME_MAX + 40 > sizeof(err->msg))
		return 1;
	snprintf(err->msg + n, sizeof(err->msg) - n, " %s (generation %llu)", p->name, (unsigned long long)p->gen);
	return 0;
}

void pin_names(struct hf_log *l, struct hf_err *err)
{
	static const char what[] = "; pinned and kept:";
	size_t n = err ? strlen(err->msg) : 0;

	if (!n || n + sizeof(what) >= sizeof(err->msg))
		return;
	memcpy(err->msg + n, what, sizeof(what));
	hf_log_pins(l, name_one, err);
	if (strlen(err->msg) == n + sizeof(what) - 1)
		err->msg[n] = 0;
}
