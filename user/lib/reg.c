// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Registrations: the log of row 0 as resources and checkpoints, and the loop
 * that changes it.
 *
 * Locks: change_mu is held over a whole hf_reg_change(), so that the threads of
 * one daemon queue up here and not as rivals for the row. known_mu is held from
 * before the registrations are read until the store was told of them: a log may
 * lose its space only when it is missing from two lists of which the second was
 * read after the first had been told. Neither is taken under the other; under
 * both the store takes its own. A struct hf_reg is immutable.
 */
#include "reg_int.h"
#include "names.h"
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CHANGE_BOUND_MS 10000
#define BACKOFF_MIN_MS 5
#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 500
#define RETAIN 32		/* generations of the registrations */
#define ATTR_MAX (256u << 10)

static pthread_mutex_t change_mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t known_mu = PTHREAD_MUTEX_INITIALIZER;

void hf_reg_logid(struct hf_logid *id)
{
	*id = (struct hf_logid){ .uuid = "registrations", .row = 0, .name = "the registrations" };
}

void reg_resource_key(char key[REG_KEY_MAX], const char *name)
{
	snprintf(key, REG_KEY_MAX, "r/%.*s", HF_NAME_MAX, name);
}

void reg_checkpoint_key(char key[REG_KEY_MAX], const char *name, uint32_t id)
{
	snprintf(key, REG_KEY_MAX, "c/%.*s/%u", HF_NAME_MAX, name, id);
}

const char *reg_str(struct json_object *o, const char *member)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, member, &v) || !json_object_is_type(v, json_type_string))
		return NULL;
	return json_object_get_string(v);
}

uint64_t reg_num(struct json_object *o, const char *member)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, member, &v) || !json_object_is_type(v, json_type_int))
		return 0;
	return json_object_get_uint64(v);
}

struct json_object *reg_strings(char *const *list, unsigned n)
{
	struct json_object *a = json_object_new_array();

	for (unsigned i = 0; i < n; i++)
		json_object_array_add(a, json_object_new_string(list[i]));
	return a;
}

static struct json_object *attr_parse(const void *attr, uint32_t len)
{
	struct json_object *o = NULL;
	char *text;

	if (len > ATTR_MAX)
		return NULL;
	text = malloc(len + 1);
	if (!text)
		return NULL;
	memcpy(text, attr, len);
	text[len] = 0;
	o = json_tokener_parse(text);
	free(text);
	if (o && !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		o = NULL;
	}
	return o;
}

struct json_object *reg_attr(struct hf_log *l, const char *key)
{
	struct hf_item it;

	return hf_log_get(l, key, strlen(key), &it) ? attr_parse(it.attr, it.attrlen) : NULL;
}

int reg_attr_put(struct hf_log *l, const char *key, struct json_object *o, struct hf_err *err)
{
	const struct hf_source none = { 0 };
	uint8_t hash[HF_HASH];
	size_t n;
	const char *s = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN |
							  JSON_C_TO_STRING_NOSLASHESCAPE, &n);

	if (!s)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	if (n > ATTR_MAX)
		return hf_fail(err, HF_USAGE, -EINVAL, "%s: more than %u KiB of registration", key + 2,
			       ATTR_MAX >> 10);
	return hf_log_put(l, key, strlen(key), s, n, &none, hash, err);
}

/* --- from items to structs ------------------------------------------------ */

struct loader {
	struct hf_reg *reg;
	struct hf_err *err;
};

static int damaged(struct loader *ld, const struct hf_item *it)
{
	char *k = hf_printable(it->key, it->keylen < 80 ? it->keylen : 80);
	int ret = hf_fail(ld->err, HF_OK, -EBADMSG,
			  "the registrations hold an entry that makes no sense: %s; holdfast disk check tells more",
			  k ? k : "");

	free(k);
	return ret;
}

static char **strings_dup(struct json_object *o, const char *member, unsigned *n)
{
	struct json_object *a;
	char **list;
	size_t len;

	*n = 0;
	if (!json_object_object_get_ex(o, member, &a) || !json_object_is_type(a, json_type_array))
		return NULL;
	len = json_object_array_length(a);
	list = calloc(len + 1, sizeof(*list));
	for (size_t i = 0; list && i < len; i++) {
		struct json_object *s = json_object_array_get_idx(a, i);

		if (json_object_is_type(s, json_type_string))
			list[*n] = strdup(json_object_get_string(s));
		*n += !!list[*n];
	}
	return list;
}

static void policy_load(struct hf_resource *r, struct json_object *o)
{
	struct json_object *set;
	struct hf_err e;

	hf_policy_default(&r->policy);
	if (!json_object_object_get_ex(o, "policy", &set) || !json_object_is_type(set, json_type_object)) {
		r->policy_json = strdup("{}");
		return;
	}
	json_object_object_foreach(set, key, val) {
		/* one that a newer version wrote: this one goes by its default */
		if (!json_object_is_type(val, json_type_string) ||
		    hf_policy_parse(&r->policy, key, json_object_get_string(val), &e))
			hf_logf(HF_LOG_WARN, "%s: policy %s is not understood and left out", r->name, key);
	}
	r->policy_json = strdup(json_object_to_json_string_ext(set, JSON_C_TO_STRING_PLAIN));
}

static int load_resource(void *ctx, const struct hf_item *it)
{
	struct loader *ld = ctx;
	struct hf_reg *reg = ld->reg;
	struct json_object *o = attr_parse(it->attr, it->attrlen);
	const char *uuid = o ? reg_str(o, "uuid") : NULL, *type = o ? reg_str(o, "type") : NULL;
	const char *move = o ? reg_str(o, "move") : NULL;
	struct json_object *moved;
	struct hf_resource *list, *r;
	uint64_t row = o ? reg_num(o, "row") : 0;
	int ret = 0;

	if (!uuid || !row || row > UINT32_MAX || it->keylen < 3 || it->keylen > 2 + HF_NAME_MAX) {
		ret = damaged(ld, it);
		goto out;
	}
	list = realloc(reg->res, (reg->nres + 1) * sizeof(*list));
	if (!list) {
		ret = -ENOMEM;
		goto out;
	}
	reg->res = list;
	r = &list[reg->nres++];
	*r = (struct hf_resource){ .id.row = row };
	memcpy(r->id.name, (const char *)it->key + 2, it->keylen - 2);
	if (hf_uuid_parse(uuid, r->id.uuid) || hf_name_check(r->id.name, "resource", NULL)) {
		ret = damaged(ld, it);
		goto out;
	}
	r->name = strdup(r->id.name);
	r->type = strdup(type ? type : "");
	snprintf(r->move, sizeof(r->move), "%s", move ? move : "");
	if (json_object_object_get_ex(o, "moved", &moved) && reg_str(moved, "why")) {
		r->unmoved = strdup(reg_str(moved, "why"));
		r->unmoved_exit = reg_num(moved, "exit");
	}
	policy_load(r, o);
	if (!r->name || !r->type || !r->policy_json)
		ret = -ENOMEM;
out:
	json_object_put(o);
	return ret;
}

static struct hf_resource *find(struct hf_reg *reg, const char *name, size_t n)
{
	for (unsigned i = 0; i < reg->nres; i++)
		if (strlen(reg->res[i].name) == n && !memcmp(reg->res[i].name, name, n))
			return &reg->res[i];
	return NULL;
}

static int load_checkpoint(void *ctx, const struct hf_item *it)
{
	struct loader *ld = ctx;
	struct json_object *o = attr_parse(it->attr, it->attrlen), *v;
	const char *key = it->key, *slash = memchr(key + 2, '/', it->keylen - 2), *s;
	struct hf_resource *r = slash ? find(ld->reg, key + 2, slash - key - 2) : NULL;
	struct hf_checkpoint *list, *cp;
	uint64_t id = 0;
	int ret = 0;

	for (const char *d = slash ? slash + 1 : NULL; d && d < key + it->keylen && id <= UINT32_MAX; d++)
		id = *d >= '0' && *d <= '9' ? id * 10 + (*d - '0') : UINT64_MAX / 16;
	if (!o || !r || !id || id > UINT32_MAX || !reg_str(o, "path")) {
		ret = damaged(ld, it);
		goto out;
	}
	list = realloc(r->cp, (r->ncp + 1) * sizeof(*list));
	if (!list) {
		ret = -ENOMEM;
		goto out;
	}
	r->cp = list;
	cp = &list[r->ncp++];
	*cp = (struct hf_checkpoint){ .id = id };
	cp->path = strdup(reg_str(o, "path"));
	s = reg_str(o, "view");
	cp->view = strdup(s ? s : "native");
	s = reg_str(o, "mount");
	cp->mount = s ? strdup(s) : NULL;
	cp->crypto = json_object_object_get_ex(o, "crypto", &v) && json_object_get_boolean(v);
	cp->file = json_object_object_get_ex(o, "file", &v) && json_object_get_boolean(v);
	cp->exclude = strings_dup(o, "exclude", &cp->nexclude);
	if (!cp->path || !cp->view)
		ret = -ENOMEM;
	else if (hf_path_check(cp->path, NULL, NULL))
		ret = damaged(ld, it);
out:
	json_object_put(o);
	return ret;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct hf_resource *)a)->name, ((const struct hf_resource *)b)->name);
}

static int by_id(const void *a, const void *b)
{
	uint32_t x = ((const struct hf_checkpoint *)a)->id, y = ((const struct hf_checkpoint *)b)->id;

	return x < y ? -1 : x > y;
}

static int reg_of_log(struct hf_log *l, struct hf_reg **out, struct hf_err *err)
{
	struct hf_reg *reg = hf_alloc(sizeof(*reg));
	struct loader ld = { reg, err };
	int ret;

	*out = NULL;
	if (!reg)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	if (l)
		reg->gen = hf_log_gen(l);
	ret = l ? hf_log_each(l, "r/", 2, load_resource, &ld) : 0;
	if (!ret && l)
		ret = hf_log_each(l, "c/", 2, load_checkpoint, &ld);
	if (ret) {
		if (ret == -ENOMEM)
			hf_fail(err, HF_OK, ret, "out of memory");
		hf_reg_free(reg);
		return ret;
	}
	if (reg->nres)
		qsort(reg->res, reg->nres, sizeof(*reg->res), by_name);
	for (unsigned i = 0; i < reg->nres; i++)
		if (reg->res[i].ncp)
			qsort(reg->res[i].cp, reg->res[i].ncp, sizeof(*reg->res[i].cp), by_id);
	*out = reg;
	return 0;
}

static void tell_known(struct hf_store *s, const struct hf_reg *reg)
{
	uint8_t (*uuid)[16] = malloc((reg->nres + 1) * sizeof(*uuid));

	if (!uuid)
		return;		/* space comes back next time */
	for (unsigned i = 0; i < reg->nres; i++)
		memcpy(uuid[i], reg->res[i].id.uuid, 16);
	s->ops->known(s, uuid, reg->nres);
	free(uuid);
}

int hf_reg_load(struct hf_store *s, struct hf_reg **out, struct hf_err *err)
{
	bool tell = s->ops->known && !pthread_mutex_trylock(&known_mu);
	struct hf_logid id;
	struct hf_log *l = NULL;
	int ret;

	*out = NULL;
	hf_reg_logid(&id);
	ret = hf_log_read(s, &id, 0, &l, err);
	if (ret && ret != -ENOENT)
		goto out;
	if (ret && err)		/* nobody has registered anything yet */
		*err = (struct hf_err){ 0 };
	ret = reg_of_log(ret ? NULL : l, out, err);
	if (!ret && tell)
		tell_known(s, *out);
	if (l)
		hf_log_close(l);
out:
	if (tell)
		pthread_mutex_unlock(&known_mu);
	return ret;
}

void hf_reg_free(struct hf_reg *reg)
{
	if (!reg)
		return;
	for (unsigned i = 0; i < reg->nres; i++) {
		struct hf_resource *r = &reg->res[i];

		for (unsigned j = 0; j < r->ncp; j++) {
			struct hf_checkpoint *cp = &r->cp[j];

			for (unsigned k = 0; k < cp->nexclude; k++)
				free(cp->exclude[k]);
			free(cp->exclude);
			free(cp->path);
			free(cp->view);
			free(cp->mount);
		}
		free(r->cp);
		free(r->name);
		free(r->type);
		free(r->policy_json);
		free(r->unmoved);
	}
	free(reg->res);
	free(reg);
}

const struct hf_resource *hf_reg_find(const struct hf_reg *reg, const char *name)
{
	return find((struct hf_reg *)reg, name, strlen(name));
}

/* --- changing -------------------------------------------------------------- */

/* One attempt. -EAGAIN and -ESTALE: another node was first. */
static int change_once(struct hf_store *s, int (*fn)(void *ctx, struct hf_log *l, const struct hf_reg *now,
						     struct hf_err *err),
		       void *ctx, const char *note, struct hf_err *err)
{
	struct hf_reg *now = NULL;
	struct hf_err later;
	struct hf_logid id;
	struct hf_log *l;
	uint64_t gen;
	bool owner = true;
	int ret;

	hf_reg_logid(&id);
	ret = hf_log_claim(s, &id, HF_CLAIM_WAIT, &l, err);
	if (ret)
		return ret;
	ret = reg_of_log(l, &now, err);
	if (!ret)
		ret = fn(ctx, l, now, err);
	if (ret || !hf_log_pending(l)) {
		hf_log_abort(l);
		goto out_release;
	}
	ret = hf_log_commit(l, 0, note, &gen, err);
	if (!ret)
		ret = hf_log_confirm(l, err);
	if (ret) {
		owner = false;
		goto out_release;
	}
	/* what follows is upkeep: the change itself stands */
	if (hf_log_wants_base(l) && hf_log_base(l, RETAIN, &later))
		hf_logf(HF_LOG_WARN, "%s: no new base: %s", id.name, later.msg);
out_release:
	if (owner && hf_log_release(l, &later))
		hf_logf(HF_LOG_WARN, "%s: not released, the next change has to wait: %s", id.name, later.msg);
	hf_log_close(l);
	hf_reg_free(now);
	return ret;
}

int hf_reg_change(struct hf_store *s, int (*fn)(void *ctx, struct hf_log *l, const struct hf_reg *now,
						struct hf_err *err),
		  void *ctx, const char *note, struct hf_err *err)
{
	uint64_t end = hf_now_ms() + CHANGE_BOUND_MS;
	unsigned pause = BACKOFF_FIRST_MS;
	struct timespec until;
	int ret;

	hf_deadline(&until, CHANGE_BOUND_MS);
	if (pthread_mutex_clocklock(&change_mu, CLOCK_MONOTONIC, &until))
		return hf_fail(err, HF_OK, -ETIMEDOUT, "another change of the registrations on this node did "
			       "not end within %d s; see holdfast status", CHANGE_BOUND_MS / 1000);
	for (;;) {
		ret = change_once(s, fn, ctx, note, err);
		if (ret != -EAGAIN && ret != -ESTALE)
			break;
		if (hf_now_ms() + pause >= end) {
			ret = hf_fail(err, HF_OK, -ETIMEDOUT, "other nodes changed the registrations for %d s "
				      "without a pause; try again", CHANGE_BOUND_MS / 1000);
			break;
		}
		hf_sleep_ms(BACKOFF_MIN_MS + randombytes_uniform(pause - BACKOFF_MIN_MS));
		pause = pause * 2 < BACKOFF_MAX_MS ? pause * 2 : BACKOFF_MAX_MS;
	}
	pthread_mutex_unlock(&change_mu);
	return ret;
}
