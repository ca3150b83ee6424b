// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Registrations above a log that this file plays: lost races, commits that were
 * adopted although their owner could not confirm them, limits, damage.
 */
#include "../tap.h"
#include "reg.h"
#include <json-c/json.h>

/* --- the log: one global list for the registrations, counters for the rest --- */
struct entry { char *key; char *attr; uint32_t attrlen; };
struct list { struct entry e[512]; unsigned n; };
struct hf_log { struct hf_logid id; struct list work; bool pending, claimed; };

static struct list stored;
static uint64_t gen;
static int claims, open_logs, releases;
static int lose_claims, lose_confirms, adopt, resource_busy, emptied, damage_commit;

static void list_free(struct list *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		free(l->e[i].key);
		free(l->e[i].attr);
	}
	l->n = 0;
}

static void list_set(struct list *l, const char *key, const void *attr, uint32_t n)
{
	unsigned i;

	for (i = 0; i < l->n && strcmp(l->e[i].key, key); i++)
		;
	if (i == l->n) {
		l->n++;
		l->e[i].key = strdup(key);
	} else {
		free(l->e[i].attr);
	}
	l->e[i].attr = malloc(n + 1);
	memcpy(l->e[i].attr, attr, n);
	l->e[i].attrlen = n;
}

static void list_copy(struct list *to, const struct list *from)
{
	list_free(to);
	for (unsigned i = 0; i < from->n; i++)
		list_set(to, from->e[i].key, from->e[i].attr, from->e[i].attrlen);
}

int hf_log_claim(struct hf_store *s, const struct hf_logid *id, unsigned flags, struct hf_log **out,
		 struct hf_err *err)
{
	struct hf_log *l;

	if (id->row && resource_busy)
		return hf_fail(err, 0, -EBUSY, "%s is online on alpha", id->name);
	if (!id->row && !(flags & HF_CLAIM_WAIT))
		return -EINVAL;
	if (!id->row && lose_claims > 0) {
		lose_claims--;
		return hf_fail(err, 0, -EAGAIN, "raced");
	}
	l = calloc(1, sizeof(*l));
	l->id = *id;
	l->claimed = true;
	if (!id->row)
		list_copy(&l->work, &stored);
	else
		list_set(&l->work, "00000001/", "x", 1);
	claims++;
	open_logs++;
	*out = l;
	return 0;
}

int hf_log_read(struct hf_store *s, const struct hf_logid *id, uint64_t at, struct hf_log **out,
		struct hf_err *err)
{
	if (!gen)
		return hf_fail(err, 0, -ENOENT, "nothing there");
	*out = calloc(1, sizeof(**out));
	list_copy(&(*out)->work, &stored);
	open_logs++;
	return 0;
}

void hf_log_close(struct hf_log *l)
{
	list_free(&l->work);
	free(l);
	open_logs--;
}

uint64_t hf_log_gen(const struct hf_log *l) { return gen; }
bool hf_log_pending(const struct hf_log *l) { return l->pending; }
void hf_log_abort(struct hf_log *l) { l->pending = false; }
bool hf_log_wants_base(const struct hf_log *l) { return false; }

int hf_log_base(struct hf_log *l, uint64_t retain, struct hf_err *err)
{
	emptied += l->id.row && !l->work.n;
	return 0;
}

int hf_log_release(struct hf_log *l, struct hf_err *err)
{
	releases++;
	return 0;
}

bool hf_log_get(struct hf_log *l, const void *key, uint32_t keylen, struct hf_item *out)
{
	for (unsigned i = 0; i < l->work.n; i++) {
		struct entry *e = &l->work.e[i];

		if (strlen(e->key) != keylen || memcmp(e->key, key, keylen))
			continue;
		*out = (struct hf_item){ .key = e->key, .keylen = keylen, .attr = e->attr, .attrlen = e->attrlen };
		return true;
	}
	return false;
}

int hf_log_each(struct hf_log *l, const void *prefix, uint32_t plen,
		int (*fn)(void *ctx, const struct hf_item *it), void *ctx)
{
	struct list copy = { 0 };
	int ret = 0;

	list_copy(&copy, &l->work);
	for (unsigned i = 0; i < copy.n && !ret; i++) {
		struct hf_item it = { .key = copy.e[i].key, .keylen = strlen(copy.e[i].key),
				      .attr = copy.e[i].attr, .attrlen = copy.e[i].attrlen };

		if (it.keylen >= plen && !memcmp(it.key, prefix, plen))
			ret = fn(ctx, &it);
	}
	list_free(&copy);
	return ret;
}

int hf_log_put(struct hf_log *l, const void *key, uint32_t keylen, const void *attr, uint32_t attrlen,
	       const struct hf_source *src, uint8_t hash[HF_HASH], struct hf_err *err)
{
	char k[256];

	snprintf(k, sizeof(k), "%.*s", (int)keylen, (const char *)key);
	list_set(&l->work, k, attr, attrlen);
	l->pending = true;
	return 0;
}

int hf_log_del(struct hf_log *l, const void *key, uint32_t keylen)
{
	for (unsigned i = 0; i < l->work.n; i++) {
		struct entry *e = &l->work.e[i];

		if (strlen(e->key) != keylen || memcmp(e->key, key, keylen))
			continue;
		free(e->key);
		free(e->attr);
		*e = l->work.e[--l->work.n];
		l->pending = true;
		return 0;
	}
	return -ENOENT;
}

int hf_log_commit(struct hf_log *l, unsigned flags, const char *note, uint64_t *g, struct hf_err *err)
{
	if (damage_commit)
		return hf_fail(err, 0, -EIO, "the disk says no");
	if (l->id.row)
		return 0;
	if (!lose_confirms || adopt) {
		list_copy(&stored, &l->work);
		gen++;
	}
	*g = gen;
	return 0;
}

int hf_log_confirm(struct hf_log *l, struct hf_err *err)
{
	if (!l->id.row && lose_confirms > 0) {
		lose_confirms--;
		return hf_fail(err, 0, -ESTALE, "a newer epoch");
	}
	l->pending = false;
	return 0;
}

static void info(struct hf_store *s, char c[HF_NAME_MAX + 1], uint8_t u[16], unsigned *lease, unsigned *beat,
		 unsigned *rows, unsigned *nodes)
{
	*rows = 4;
}
static const struct hf_store_ops ops = { .info = info };
static struct hf_store store = { .ops = &ops };

/* --- tests -------------------------------------------------------------------- */

static struct hf_err err;

static const struct hf_resource *res(struct hf_reg **reg, const char *name)
{
	err = (struct hf_err){ 0 };
	if (hf_reg_load(&store, reg, &err))
		return NULL;
	return hf_reg_find(*reg, name);
}

static int cp_add(const char *r, const char *path, char **ex, unsigned nex, uint32_t *id)
{
	struct hf_checkpoint cp = { .view = "native", .exclude = ex, .nexclude = nex };
	char buf[5000];
	int ret;

	snprintf(buf, sizeof(buf), "%s", path);
	cp.path = buf;
	err = (struct hf_err){ 0 };
	ret = hf_reg_checkpoint_add(&store, r, &cp, &err);
	if (id)
		*id = cp.id;
	return ret;
}

static void resources(void)
{
	struct hf_reg *reg = NULL;
	const struct hf_resource *r;
	uint8_t uuid[16];

	ok(!res(&reg, "pg") && reg && !reg->nres && err.exit == HF_OK, "no registrations yet: none, and no error");
	hf_reg_free(reg);
	is(hf_reg_resource_add(&store, "pg@main", "postgresql", &err), 0, "add");
	is(hf_reg_resource_add(&store, "cups", NULL, &err), 0, "add without a type");
	ok(hf_reg_resource_add(&store, "cups", NULL, &err) == -EEXIST && err.exit == HF_EXISTS, "twice is refused");
	is(hf_reg_resource_add(&store, "a b", NULL, &err), -EINVAL, "a bad name");
	is(hf_reg_resource_add(&store, "x", "a/b", &err), -EINVAL, "a bad type");
	r = res(&reg, "pg@main");
	ok(r && reg->nres == 2 && !strcmp(reg->res[0].name, "cups") && r->id.row == 1 && reg->res[0].id.row == 2 &&
	   !strcmp(r->type, "postgresql") && r->policy.settle_ms == 5 && !strcmp(r->policy_json, "{}"), "both are there");
	memcpy(uuid, r->id.uuid, 16);
	hf_reg_free(reg);
	is(hf_reg_resource_add(&store, "third", NULL, &err), 0, "the last row");
	ok(hf_reg_resource_add(&store, "fourth", NULL, &err) == -ENOSPC && err.exit == HF_REFUSED && strstr(err.msg, " 3 "),
	   "no row left: says how many there are");
	resource_busy = 1;
	ok(hf_reg_resource_delete(&store, "cups", &err) == -EBUSY && err.exit == HF_REFUSED, "not while it is online");
	resource_busy = 0;
	r = res(&reg, "cups");
	ok(r, "and then it is still there");
	hf_reg_free(reg);
	emptied = 0;
	is(hf_reg_resource_delete(&store, "cups", &err), 0, "delete");
	is(emptied, 1, "its log is emptied");
	ok(!res(&reg, "cups") && reg, "gone");
	hf_reg_free(reg);
	is(hf_reg_resource_delete(&store, "cups", &err), -ENOENT, "again: not found");
	is(hf_reg_resource_add(&store, "fourth", NULL, &err), 0, "its row is free again");
	r = res(&reg, "fourth");
	ok(r && r->id.row == 2 && memcmp(r->id.uuid, uuid, 16), "and used again under another id");
	hf_reg_free(reg);
}

static void policies(void)
{
	const char *k[] = { "settle", "retain" }, *v[] = { "20ms", "8,1d" }, *none[] = { NULL };
	const char *wrong[] = { "settle", "nonsense" };
	struct hf_reg *reg = NULL;
	const struct hf_resource *r;

	is(hf_reg_resource_set(&store, "pg@main", k, v, 2, &err), 0, "set two");
	r = res(&reg, "pg@main");
	ok(r && r->policy.settle_ms == 20 && r->policy.retain_gens == 8 && r->policy.retain_age_s == 86400 &&
	   strstr(r->policy_json, "\"20ms\""), "they hold");
	hf_reg_free(reg);
	ok(hf_reg_resource_set(&store, "pg@main", wrong, v, 2, &err) == -EINVAL, "one bad key: none is set");
	is(hf_reg_resource_set(&store, "pg@main", wrong + 1, none, 1, &err), -EINVAL, "an unknown key cannot be reset");
	is(hf_reg_resource_set(&store, "pg@main", k, none, 1, &err), 0, "reset one");
	r = res(&reg, "pg@main");
	ok(r && r->policy.settle_ms == 5 && r->policy.retain_gens == 8, "the other stays");
	hf_reg_free(reg);
	is(hf_reg_resource_set(&store, "pg@main", NULL, NULL, 0, &err), 0, "reset all");
	r = res(&reg, "pg@main");
	ok(r && r->policy.retain_gens == 64 && !strcmp(r->policy_json, "{}"), "all are default");
	hf_reg_free(reg);
	is(hf_reg_resource_set(&store, "nobody", k, v, 2, &err), -ENOENT, "no such resource");
}

static void checkpoints(void)
{
	char *ex[] = { "secrets", "*.tmp" }, *empty[] = { "" }, *own[] = { "/x/y" };
	char *back[] = { "!x", "*" }, *open[] = { "a[b" }, *both[] = { "/*", "!/x" }, *none[] = { "secret" };
	struct hf_reg *reg = NULL;
	const struct hf_resource *r;
	uint32_t a, b;

	is(cp_add("pg@main", "/etc//pg/", ex, 2, &a), 0, "add");
	is(cp_add("pg@main", "/srv/%i/%n", NULL, 0, &b), 0, "add one with %i and %n");
	ok(a == 1 && b == 2, "ids count up");
	ok(cp_add("pg@main", "/etc/pg", NULL, 0, NULL) == -EEXIST && err.exit == HF_EXISTS, "the same path is refused");
	ok(cp_add("pg@main", "/etc/pg/sub", NULL, 0, NULL) == -EBUSY && err.exit == HF_REFUSED, "one below it overlaps");
	ok(cp_add("pg@main", "/etc", NULL, 0, NULL) == -EBUSY && err.exit == HF_REFUSED, "one above it overlaps");
	is(cp_add("pg@main", "/etc/pg/secrets/deep", NULL, 0, &b), 0, "what is excluded from it does not");
	is(cp_add("pg@main", "/etc/pg2", NULL, 0, NULL), 0, "a longer name is not below");
	is(cp_add("pg@main", "/proc/x", NULL, 0, NULL), -EINVAL, "a path of the kernel's");
	is(cp_add("pg@main", "/srv/%z", NULL, 0, NULL), -EINVAL, "an unknown %");
	is(cp_add("pg@main", "/srv/%", NULL, 0, NULL), -EINVAL, "a % at the end");
	is(cp_add("pg@main", "/srv/%%z", NULL, 0, NULL), 0, "%% is one");
	is(cp_add("third", "/srv/%i", NULL, 0, NULL), -EINVAL, "%i without an instance");
	is(cp_add("third", "/x", empty, 1, NULL), -EINVAL, "an empty pattern");
	is(cp_add("third", "/x", own, 1, NULL), -EINVAL, "one that begins with the path");
	is(cp_add("third", "/x", back, 2, NULL), -EINVAL, "one that takes back in first of all");
	is(cp_add("third", "/x", open, 1, NULL), -EINVAL, "one that can match nothing");
	is(cp_add("nobody", "/x", NULL, 0, NULL), -ENOENT, "no such resource");
	is(hf_reg_checkpoint_patterns(&store, "pg@main", "/etc/pg2", both, 2, &err), 0, "other patterns");
	is(hf_reg_checkpoint_patterns(&store, "pg@main", "/etc/pg", none, 1, &err), -EBUSY,
	   "not so that two overlap");
	is(hf_reg_checkpoint_patterns(&store, "pg@main", "/etc/pg3", both, 2, &err), -ENOENT, "of one that there is");
	is(hf_reg_checkpoint_mount(&store, "pg@main", 1, "/mnt", &err), 0, "its mount is noted");
	is(hf_reg_checkpoint_mount(&store, "pg@main", 99, "/mnt", &err), -ENOENT, "not of one that is not there");
	r = res(&reg, "pg@main");
	ok(r && r->ncp == 5 && !strcmp(r->cp[0].path, "/etc/pg") && r->cp[0].nexclude == 2 &&
	   !strcmp(r->cp[0].exclude[1], "*.tmp") && r->cp[0].mount && !strcmp(r->cp[0].mount, "/mnt") && !r->cp[1].mount &&
	   r->cp[3].nexclude == 2 && !strcmp(r->cp[3].exclude[1], "!/x"), "all is read back");
	hf_reg_free(reg);
	is(hf_reg_checkpoint_delete(&store, "pg@main", "/srv//%%z/", &err), 0, "delete, however it is written");
	ok(hf_reg_checkpoint_delete(&store, "pg@main", "/srv/%%z", &err) == -ENOENT && err.exit == HF_NOTFOUND, "not twice");
	is(cp_add("pg@main", "/new", NULL, 0, &b), 0, "add another");
	is(b, 6, "an id is never used again");
}

static void races(void)
{
	struct hf_reg *reg = NULL;
	uint32_t id;
	int before;

	before = claims;
	lose_claims = 3;
	is(cp_add("third", "/raced", NULL, 0, &id), 0, "three lost races, then done");
	is(claims - before, 1, "claimed once");
	lose_confirms = 1;
	adopt = 0;
	is(cp_add("third", "/lost", NULL, 0, &id), 0, "a commit that was lost is made again");
	is(id, 2, "under the next id");
	lose_confirms = 1;
	adopt = 1;
	id = 0;
	is(cp_add("third", "/adopted", NULL, 0, &id), 0, "one that was adopted is not made twice");
	is(id, 3, "and its id is told");
	lose_confirms = 1;
	is(hf_reg_checkpoint_delete(&store, "third", "/adopted", &err), 0, "nor deleted twice");
	lose_confirms = 1;
	is(hf_reg_resource_delete(&store, "fourth", &err), 0, "a resource neither");
	lose_confirms = 1;
	is(hf_reg_resource_add(&store, "fourth", NULL, &err), 0, "nor added twice");
	lose_claims = 1000000;
	ok(hf_reg_resource_add(&store, "fifth", NULL, &err) == -ETIMEDOUT && err.exit == HF_UNAVAIL, "the bound holds");
	lose_claims = 0;
	damage_commit = 1;
	is(cp_add("third", "/io", NULL, 0, NULL), -EIO, "an I/O error is no race");
	damage_commit = 0;
	ok(res(&reg, "third") && hf_reg_find(reg, "third")->ncp == 2, "and changes nothing");
	hf_reg_free(reg);
	is(open_logs, 0, "every log was closed");
}

static void damage(void)
{
	static const char *const bad[][2] = {
		{ "r/x", "not json" }, { "r/x", "[]" }, { "r/x", "{\"uuid\":\"x\",\"row\":1}" },
		{ "r/x", "{\"uuid\":\"6a5b1c60-0000-4000-8000-000000000000\",\"row\":0}" }, { "r/", "{}" },
		{ "r/a b", "{\"uuid\":\"6a5b1c60-0000-4000-8000-000000000000\",\"row\":1}" },
		{ "c/third/", "{\"path\":\"/x\"}" }, { "c/third/9x", "{\"path\":\"/x\"}" }, { "c/third/7", "{}" },
		{ "c/third/7", "{\"path\":\"../x\"}" }, { "c/third/99999999999", "{\"path\":\"/x\"}" },
		{ "c/nobody/1", "{\"path\":\"/x\"}" }, { "c/", "" }, { "c/third", "{\"path\":\"/x\"}" },
	};
	static const char newer[] = "{\"uuid\":\"6a5b1c60-0000-4000-8000-000000000000\",\"row\":9,\"colour\":\"red\","
		"\"policy\":{\"colour\":\"red\",\"settle\":\"1s\"}}";
	struct list was = { 0 };
	struct hf_reg *reg;

	list_copy(&was, &stored);
	for (size_t i = 0; i < HF_ARRAY(bad); i++) {
		list_set(&stored, bad[i][0], bad[i][1], strlen(bad[i][1]));
		ok(hf_reg_load(&store, &reg, &err) == -EBADMSG && !reg && err.exit == HF_DAMAGED, "damage %zu", i);
		list_copy(&stored, &was);
	}
	list_set(&stored, "r/new", newer, strlen(newer));
	reg = NULL;
	ok(!hf_reg_load(&store, &reg, &err) && hf_reg_find(reg, "new") && hf_reg_find(reg, "new")->policy.settle_ms == 1000,
	   "what a newer version added is passed over");
	hf_reg_free(reg);
	const char *k[] = { "rpo" }, *v[] = { "1s" };
	is(hf_reg_resource_set(&store, "new", k, v, 1, &err), 0, "and changing it");
	ok(!hf_reg_load(&store, &reg, &err) && strstr(hf_reg_find(reg, "new")->policy_json, "colour"), "keeps it");
	hf_reg_free(reg);
	list_free(&was);
	list_free(&stored);
}

int main(void)
{
	resources();
	policies();
	checkpoints();
	races();
	damage();
	return tap_done();
}
