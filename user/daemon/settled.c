// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How this node's entries looked when they last equalled a generation, and what was in them:
 * written when a term ends, used by the next restore. What still looks so is merely out of date
 * when a newer generation replaces it, and is not kept aside as a change of
 * this node (P7). Only in doubt is more kept than need be. What is here stays true
 * when it grows old: an entry that looks as it did then has not been changed since.
 *
 * So what is to be restored and was in it then need not be read to be compared. That holds
 * until the machine boots: after a crash a file may look as it did, without what was not written back.
 *
 * state_dir/settled/NAME: "HFSET3\n", zero; uuid of the resource; this boot's; then, sorted, 16
 * bytes of keyed hash of the entry's key in the log, 16 of what it says, and its mark. Made on this
 * machine for itself, so in its byte order; anything odd and it is ignored.
 */
#include "resource.h"
#include "treedb.h"
#include <sodium.h>
#include <stdlib.h>

struct entry { uint8_t key[16], what[16]; struct hf_mark mark; };
struct head { char magic[8]; uint8_t uuid[16]; char boot[40]; };
struct settled { struct entry *e; size_t n; char *file; bool booted; };

static char *path_of(const char *resource)
{
	return hf_strf("%s/settled/%s", hfd.conf->state_dir, resource);
}

static int make_dir(void)
{
	char *dir = hf_strf("%s/settled", hfd.conf->state_dir);
	int ret = dir ? hf_mkdirs(dir, 0700) : -ENOMEM;

	free(dir);
	return ret;
}

_Static_assert(crypto_shorthash_siphashx24_BYTES == 16, "entries are found by 16 bytes");

/* Three for each entry of a takeover: short ones, under a key of their own. */
static uint8_t hash_key[crypto_shorthash_siphashx24_KEYBYTES];
static pthread_once_t derived = PTHREAD_ONCE_INIT;

static void derive(void)
{
	crypto_generichash(hash_key, sizeof(hash_key), (const uint8_t *)"settled", 7, hfd.keys->local, 32);
}

static void hash(const void *p, size_t n, uint8_t out[16])
{
	pthread_once(&derived, derive);
	crypto_shorthash_siphashx24(out, p, n, hash_key);
}

static void name_of(const void *key, size_t len, uint8_t out[16])
{
	hash(key, len, out);
}

/* contents and all else that makes the entry, as the log has it */
static void what_of(const struct hf_item *it, uint8_t out[16])
{
	struct { uint64_t size; uint8_t hash[HF_HASH], attr[16]; } what = { .size = it->size };

	memcpy(what.hash, it->hash, HF_HASH);
	hash(it->attr, it->attrlen, what.attr);
	hash(&what, sizeof(what), out);
}

static int by_key(const void *a, const void *b) { return memcmp(a, b, 16); }

struct saving { struct hf_buf b; };

static int save_one(void *ctx, const struct hf_item *it)
{
	struct saving *s = ctx;
	struct entry e;

	if (!it->mark || !hf_mark_tells(it->mark))
		return 0;
	name_of(it->key, it->keylen, e.key);
	what_of(it, e.what);
	e.mark = *it->mark;
	hf_buf_put(&s->b, &e, sizeof(e));
	return s->b.bad ? -ENOMEM : 0;
}

/* From the marks of @log, whose newest generation the trees were compared with. */
void settled_save(const char *resource, const uint8_t uuid[16], struct hf_log *log)
{
	struct saving s = { HF_BUF_INIT };
	struct head h = { .magic = "HFSET3\n" };
	char *path = path_of(resource);
	int ret;

	memcpy(h.uuid, uuid, 16);
	boot_id(h.boot);
	hf_buf_put(&s.b, &h, sizeof(h));
	ret = hf_log_each(log, "", 0, save_one, &s);
	if (!ret && path && !s.b.bad) {
		qsort(s.b.p + sizeof(h), (s.b.len - sizeof(h)) / sizeof(struct entry), sizeof(struct entry), by_key);
		ret = make_dir();
		if (!ret)
			ret = hf_write_file(path, s.b.p, s.b.len, 0600);
		if (ret)
			hf_logf(HF_LOG_WARN, "%s: cannot write %s: %s; the next restore keeps aside more than it need",
				resource, path, strerror(-ret));
	}
	hf_buf_free(&s.b);
	free(path);
}

struct settled *settled_load(const char *resource, const uint8_t uuid[16])
{
	struct settled *s = hf_alloc(sizeof(*s));
	char *path = path_of(resource), boot[37];
	size_t n;

	boot_id(boot);

	if (s && path && !hf_read_file(path, 1u << 30, &s->file, &n) && n >= sizeof(struct head) &&
	    !memcmp(s->file, "HFSET3\n", 8) && !memcmp(s->file + 8, uuid, 16) &&
	    !((n - sizeof(struct head)) % sizeof(struct entry))) {
		s->e = (struct entry *)(s->file + sizeof(struct head));
		s->n = (n - sizeof(struct head)) / sizeof(struct entry);
		s->booted = strncmp(((struct head *)s->file)->boot, boot, sizeof(boot));
	}
	free(path);
	return s;
}

void settled_free(struct settled *s)
{
	if (s)
		free(s->file);
	free(s);
}

/* what @it says is what was in the entry that looked so */
static const struct entry *same_in(const struct settled *s, const struct hf_item *it)
{
	struct entry *e, want;

	name_of(it->key, it->keylen, want.key);
	e = s->n ? bsearch(&want, s->e, s->n, sizeof(*s->e), by_key) : NULL;
	if (e)
		what_of(it, want.what);
	return e && !memcmp(e->what, want.what, sizeof(want.what)) ? e : NULL;
}

bool settled_has(const struct settled *s, const struct hf_item *it)
{
	return s && !s->booted && same_in(s, it);
}

static int mark_one(void *ctx, const struct hf_item *it)
{
	const struct settled *s = ctx;
	const struct entry *e = it->mark && !hf_mark_tells(it->mark) ? same_in(s, it) : NULL;

	if (e)
		*it->mark = e->mark;
	return 0;
}

void settled_marks(struct settled *s, struct hf_log *log)
{
	if (s && s->n && !s->booted)
		hf_log_each(log, "", 0, mark_one, s);
}

size_t settled_bytes(const struct settled *s) { return s ? s->n * sizeof(*s->e) : 0; }

bool settled_is(const struct settled *s, uint32_t id, const char *rel, const struct hf_mark *now)
{
	char prefix[TREEDB_PREFIX + 1], *key;
	struct entry *e = NULL, want;

	if (!s || !s->n)
		return false;
	treedb_prefix(id, prefix);
	key = hf_strf("%s%s", prefix, rel);
	if (key) {
		name_of(key, strlen(key), want.key);
		e = bsearch(&want, s->e, s->n, sizeof(*s->e), by_key);
	}
	free(key);
	return e && !memcmp(&e->mark, now, sizeof(*now));
}

void settled_note(struct resource *r, struct hf_log *log)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);

	if (def)
		settled_save(r->name, def->id.uuid, log);
	regs_put(pin);
}
