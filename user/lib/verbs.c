// SPDX-License-Identifier: LGPL-2.1-or-later
/* The verbs of the public header: arguments into JSON, hf_call(), and the answer out of it. */
#include "conf.h"
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

/* One request that is being put together; what does not fit into memory is told by ask(). */
struct ask {
	struct json_object *args;
	bool bad;
};

static void put(struct ask *a, const char *key, struct json_object *v)
{
	if (!a->args)
		a->args = json_object_new_object();
	if (!a->args || !v || json_object_object_add(a->args, key, v)) {
		json_object_put(v);
		a->bad = true;
	}
}

static void put_str(struct ask *a, const char *key, const char *s)
{
	if (s)
		put(a, key, json_object_new_string(s));
}

static void put_num(struct ask *a, const char *key, uint64_t v)
{
	if (v)
		put(a, key, json_object_new_int64(v < INT64_MAX ? (int64_t)v : INT64_MAX));
}

static void put_list(struct ask *a, const char *key, const char *const *list, unsigned n)
{
	struct json_object *arr = json_object_new_array();

	for (unsigned i = 0; arr && i < n; i++)
		if (json_object_array_add(arr, list[i] ? json_object_new_string(list[i]) : NULL))
			a->bad = true;
	put(a, key, arr);
}

static const struct { unsigned flag; const char *key; } flag_keys[] = {
	{ HF_FENCED, "fenced" }, { HF_DRY_RUN, "dry_run" }, { HF_KEEP_LOCAL, "keep_local" },
	{ HF_ALLOW_EMPTY, "allow_empty" }, { HF_WITHOUT_STORE, "without_store" }, { HF_QUICK, "quick" },
	{ HF_ALLOW_DELETE, "allow_delete" }, { HF_FORCE, "force" }, { HF_CRYPTO, "crypto" },
};

static int put_flags(struct ask *a, const char *verb, unsigned flags, unsigned known, struct hf_err *err)
{
	if (flags & ~known)
		return hf_fail(err, HF_USAGE, -EINVAL, "%s: flags %#x mean nothing to it", verb, flags & ~known);
	for (size_t i = 0; i < HF_ARRAY(flag_keys); i++)
		if (flags & flag_keys[i].flag)
			put(a, flag_keys[i].key, json_object_new_boolean(1));
	return 0;
}

/* Consumes @a. @json: the text of the result, @o: the same taken apart; either may be NULL. */
static int ask(struct hf_conn *c, const char *verb, struct ask *a, hf_event_fn event, void *arg, char **json,
	       struct json_object **o, struct hf_err *err)
{
	char *text = NULL;
	int ret;

	if (json)
		*json = NULL;
	if (o)
		*o = NULL;
	if (a->bad)
		ret = hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	else
		ret = hf_call(c, verb, a->args ? json_object_to_json_string(a->args) : NULL, event, arg,
			      json || o ? &text : NULL, err);
	json_object_put(a->args);
	if (!ret && o) {
		*o = json_tokener_parse(text);
		if (!*o)
			ret = hf_fail(err, HF_FAILED, -EPROTO, "%s: the daemon's answer is not understood", verb);
	}
	if (!ret && json)
		*json = text;
	else
		free(text);
	return ret;
}

static int simple(struct hf_conn *c, const char *verb, struct ask *a, struct hf_err *err)
{
	return ask(c, verb, a, NULL, NULL, NULL, NULL, err);
}

static uint64_t number(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_uint64(v) : 0;
}

static bool yes(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_get_boolean(v);
}

static void text(struct json_object *o, const char *key, char *out, size_t n)
{
	struct json_object *v;

	snprintf(out, n, "%s", json_object_object_get_ex(o, key, &v) && v ? json_object_get_string(v) : "");
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A path as it is, out of what the answer shows it as; its bytes without the NUL. @out may be NULL. */
static size_t plain(const char *s, char *out)
{
	size_t n = 0;

	for (; *s; s++, n++) {
		char ch = *s;

		if (ch == '\\' && s[1] == 'x' && hex(s[2]) >= 0 && hex(s[3]) >= 0) {
			ch = (char)(hex(s[2]) << 4 | hex(s[3]));
			s += 3;
		}
		if (out)
			out[n] = ch;
	}
	if (out)
		out[n] = '\0';
	return n;
}

/* The strings at @key of the objects in list @list, one after the other. */
static int strings(struct json_object *o, const char *list, const char *key, char *buf, size_t *size,
		   struct hf_err *err)
{
	size_t room = *size, need = 1, at = 0;
	struct json_object *arr = NULL, *v;

	json_object_object_get_ex(o, list, &arr);
	for (size_t i = 0; arr && i < json_object_array_length(arr); i++)
		if (json_object_object_get_ex(json_object_array_get_idx(arr, i), key, &v))
			need += plain(json_object_get_string(v), NULL) + 1;
	*size = need;
	if (need > room)
		return hf_fail(err, HF_FAILED, -ERANGE, "the list takes %zu bytes, and there is room for %zu", need, room);
	for (size_t i = 0; arr && i < json_object_array_length(arr); i++)
		if (json_object_object_get_ex(json_object_array_get_idx(arr, i), key, &v))
			at += plain(json_object_get_string(v), buf + at) + 1;
	buf[at] = '\0';
	return 0;
}

int hf_ping(struct hf_conn *c, char **json, struct hf_err *err)
{
	struct ask a = { 0 };

	return ask(c, "ping", &a, NULL, NULL, json, NULL, err);
}

int hf_resource_add(struct hf_conn *c, const char *resource, const char *type, struct hf_err *err)
{
	struct ask a = { 0 };

	put_str(&a, "name", resource);
	put_str(&a, "type", type);
	return simple(c, "resource.add", &a, err);
}

int hf_resource_delete(struct hf_conn *c, const char *resource, unsigned flags, struct hf_err *err)
{
	struct ask a = { 0 };
	int ret = put_flags(&a, "resource.delete", flags, HF_DRY_RUN, err);

	if (ret)
		return ret;
	put_str(&a, "name", resource);
	return simple(c, "resource.delete", &a, err);
}

int hf_resource_set(struct hf_conn *c, const char *resource, const char *key, const char *value,
		    struct hf_err *err)
{
	struct json_object *values = json_object_new_object();
	struct ask a = { 0 };

	if (!key || !*key) {
		json_object_put(values);
		return hf_fail(err, HF_USAGE, -EINVAL, "resource.set: the key is empty");
	}
	if (!values || json_object_object_add(values, key, value ? json_object_new_string(value) : NULL))
		a.bad = true;
	put_str(&a, "name", resource);
	put(&a, "values", values);
	return simple(c, "resource.set", &a, err);
}

int hf_resource_reset(struct hf_conn *c, const char *resource, struct hf_err *err)
{
	struct ask a = { 0 };

	put_str(&a, "name", resource);
	return simple(c, "resource.reset", &a, err);
}

int hf_resource_rebuild(struct hf_conn *c, const char *resource, unsigned flags, hf_event_fn event, void *arg,
			char **json, struct hf_err *err)
{
	struct ask a = { 0 };
	int ret = put_flags(&a, "resource.rebuild", flags, HF_DRY_RUN | HF_KEEP_LOCAL | HF_ALLOW_EMPTY, err);

	if (ret)
		return ret;
	put_str(&a, "name", resource);
	return ask(c, "resource.rebuild", &a, event, arg, json, NULL, err);
}

int hf_resource_list(struct hf_conn *c, const char *type, char *buf, size_t *size, struct hf_err *err)
{
	struct ask a = { 0 };
	struct json_object *o;
	int ret;

	put_str(&a, "type", type);
	ret = ask(c, "resource.list", &a, NULL, NULL, NULL, &o, err);
	if (!ret)
		ret = strings(o, "resources", "name", buf, size, err);
	json_object_put(o);
	return ret;
}

int hf_resource_stat(struct hf_conn *c, const char *resource, struct hf_resource_state *st, size_t size,
		     struct hf_err *err)
{
	struct hf_resource_state s = { 0 };
	struct json_object *o, *arr, *r;
	struct ask a = { 0 };
	char alive[16];
	int ret;

	memset(st, 0, size);
	if (!resource)
		return hf_fail(err, HF_USAGE, -EINVAL, "status: which resource?");
	put_str(&a, "resource", resource);
	ret = ask(c, "status", &a, NULL, NULL, NULL, &o, err);
	if (ret)
		return ret;
	r = json_object_object_get_ex(o, "resources", &arr) ? json_object_array_get_idx(arr, 0) : NULL;
	if (!r) {
		json_object_put(o);
		return hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no resource %s", resource);
	}
	text(r, "state", s.state, sizeof(s.state));
	text(r, "owner", s.owner, sizeof(s.owner));
	text(r, "owner_state", alive, sizeof(alive));
	text(r, "error", s.error, sizeof(s.error));
	s.owner_alive = !strcmp(alive, "up");
	s.degraded = yes(r, "degraded");
	s.consistent = yes(r, "consistent");
	s.checkpoints = number(r, "checkpoints");
	s.epoch = number(r, "epoch");
	s.generation = number(r, "generation");
	s.confirmed = number(r, "confirmed");
	s.dirty = number(r, "dirty");
	s.oldest_dirty_ms = number(r, "oldest_dirty_ms");
	memcpy(st, &s, size < sizeof(s) ? size : sizeof(s));
	json_object_put(o);
	return 0;
}

int hf_checkpoint_add(struct hf_conn *c, const char *resource, const char *path, const char *view,
		      unsigned flags, const char *const *exclude, unsigned nexclude, uint64_t *generation,
		      struct hf_err *err)
{
	struct ask a = { 0 };
	struct json_object *o;
	int ret = put_flags(&a, "checkpoint.add", flags, HF_CRYPTO | HF_ALLOW_EMPTY | HF_FORCE, err);

	if (ret)
		return ret;
	put_str(&a, "resource", resource);
	put_str(&a, "path", path);
	put_str(&a, "view", view);
	if (nexclude)
		put_list(&a, "exclude", exclude, nexclude);
	ret = ask(c, "checkpoint.add", &a, NULL, NULL, NULL, &o, err);
	if (!ret && generation)
		*generation = number(o, "generation");
	json_object_put(o);
	return ret;
}

int hf_checkpoint_delete(struct hf_conn *c, const char *resource, const char *path, unsigned flags,
			 struct hf_err *err)
{
	struct ask a = { 0 };
	int ret = put_flags(&a, "checkpoint.delete", flags, HF_DRY_RUN, err);

	if (ret)
		return ret;
	put_str(&a, "resource", resource);
	put_str(&a, "path", path);
	return simple(c, "checkpoint.delete", &a, err);
}

int hf_checkpoint_list(struct hf_conn *c, const char *resource, char *buf, size_t *size, struct hf_err *err)
{
	struct ask a = { 0 };
	struct json_object *o;
	int ret;

	put_str(&a, "resource", resource);
	ret = ask(c, "checkpoint.list", &a, NULL, NULL, NULL, &o, err);
	if (!ret)
		ret = strings(o, "checkpoints", "path", buf, size, err);
	json_object_put(o);
	return ret;
}

int hf_online(struct hf_conn *c, const char *resource, unsigned flags, unsigned timeout_ms, hf_event_fn event,
	      void *arg, uint64_t *generation, struct hf_err *err)
{
	struct ask a = { 0 };
	struct json_object *o;
	int ret = put_flags(&a, "online", flags, HF_FENCED | HF_KEEP_LOCAL | HF_ALLOW_EMPTY | HF_WITHOUT_STORE, err);

	if (ret)
		return ret;
	put_str(&a, "resource", resource);
	put_num(&a, "timeout_ms", timeout_ms);
	ret = ask(c, "online", &a, event, arg, NULL, &o, err);
	if (!ret && generation)
		*generation = number(o, "generation");
	json_object_put(o);
	return ret;
}

int hf_offline(struct hf_conn *c, const char *resource, unsigned timeout_ms, uint64_t *generation, int *spooled,
	       struct hf_err *err)
{
	struct ask a = { 0 };
	struct json_object *o;
	int ret;

	put_str(&a, "resource", resource);
	put_num(&a, "timeout_ms", timeout_ms);
	ret = ask(c, "offline", &a, NULL, NULL, NULL, &o, err);
	if (!ret && generation)
		*generation = number(o, "generation");
	if (!ret && spooled)
		*spooled = yes(o, "spooled");
	json_object_put(o);
	return ret;
}

static int sync_all(struct hf_conn *c, const char *const *resources, unsigned n, unsigned flags, uint64_t *generations,
		    char *group, struct hf_err *err)
{
	struct ask a = { 0 };
	struct json_object *o, *arr;
	int ret = put_flags(&a, "sync", flags, HF_QUICK | HF_ALLOW_DELETE, err);

	if (ret)
		return ret;
	put_list(&a, "resources", resources, n);
	ret = ask(c, "sync", &a, NULL, NULL, NULL, &o, err);
	if (!ret && generations && json_object_object_get_ex(o, "resources", &arr))
		for (unsigned i = 0; i < n; i++)
			generations[i] = number(json_object_array_get_idx(arr, i), "generation");
	if (!ret && group)
		text(o, "group", group, 37);
	json_object_put(o);
	return ret;
}

int hf_sync(struct hf_conn *c, const char *const *resources, unsigned n, unsigned flags, uint64_t *generations,
	    struct hf_err *err)
{
	return sync_all(c, resources, n, flags, generations, NULL, err);
}

int hf_sync_group(struct hf_conn *c, const char *const *resources, unsigned n, unsigned flags, uint64_t *generations,
		  char *group, struct hf_err *err)
{
	if (n < 2)
		return hf_fail(err, HF_USAGE, -EINVAL, "sync: a group has at least two resources");
	return sync_all(c, resources, n, flags, generations, group, err);
}

int hf_status(struct hf_conn *c, const char *resource, char **json, struct hf_err *err)
{
	struct ask a = { 0 };

	put_str(&a, "resource", resource);
	return ask(c, "status", &a, NULL, NULL, json, NULL, err);
}

int hf_watch(struct hf_conn *c, const char *resource, hf_event_fn event, void *arg, struct hf_err *err)
{
	struct ask a = { 0 };

	put_str(&a, "resource", resource);
	return ask(c, "watch", &a, event, arg, NULL, NULL, err);
}

int hf_metrics(struct hf_conn *c, char **json, struct hf_err *err)
{
	struct ask a = { 0 };

	return ask(c, "metrics", &a, NULL, NULL, json, NULL, err);
}

int hf_report(struct hf_conn *c, const char *resource, uint64_t from_ms, uint64_t to_ms, char **json,
	      struct hf_err *err)
{
	struct ask a = { 0 };

	put_str(&a, "resource", resource);
	put_num(&a, "from_ms", from_ms);
	put_num(&a, "to_ms", to_ms);
	return ask(c, "report", &a, NULL, NULL, json, NULL, err);
}

int hf_doctor(struct hf_conn *c, const char *resource, char **json, struct hf_err *err)
{
	struct ask a = { 0 };

	put_str(&a, "resource", resource);
	return ask(c, "doctor", &a, NULL, NULL, json, NULL, err);
}

int hf_history(struct hf_conn *c, const char *resource, char **json, struct hf_err *err)
{
	struct ask a = { 0 };

	put_str(&a, "resource", resource);
	return ask(c, "history", &a, NULL, NULL, json, NULL, err);
}

int hf_history_pin(struct hf_conn *c, const char *resource, uint64_t generation, const char *name,
		   struct hf_err *err)
{
	struct ask a = { 0 };

	put_str(&a, "resource", resource);
	put_str(&a, "name", name);
	put_num(&a, "generation", generation);
	return simple(c, generation ? "history.pin" : "history.unpin", &a, err);
}

int hf_diff(struct hf_conn *c, const char *resource, uint64_t from, uint64_t to, char **json, struct hf_err *err)
{
	struct ask a = { 0 };

	put_str(&a, "resource", resource);
	put_num(&a, "from", from);
	put_num(&a, "to", to);
	return ask(c, "diff", &a, NULL, NULL, json, NULL, err);
}

int hf_rollback(struct hf_conn *c, const char *resource, uint64_t to, uint64_t *generation, struct hf_err *err)
{
	struct ask a = { 0 };
	struct json_object *o;
	int ret;

	put_str(&a, "resource", resource);
	put_num(&a, "to", to);
	ret = ask(c, "rollback", &a, NULL, NULL, NULL, &o, err);
	if (!ret && generation)
		*generation = number(o, "generation");
	json_object_put(o);
	return ret;
}

int hf_extract(struct hf_conn *c, const char *resource, uint64_t generation, const char *to, char **json,
	       struct hf_err *err)
{
	struct ask a = { 0 };

	put_str(&a, "resource", resource);
	put_num(&a, "generation", generation);
	put_str(&a, "to", to);
	return ask(c, "restore", &a, NULL, NULL, json, NULL, err);
}

int hf_displaced(struct hf_conn *c, const char *resource, char **json, struct hf_err *err)
{
	struct ask a = { 0 };

	put_str(&a, "resource", resource);
	return ask(c, "displaced.list", &a, NULL, NULL, json, NULL, err);
}

int hf_displaced_bring(struct hf_conn *c, const char *resource, const char *id, const char *rel, const char *to,
		       struct hf_err *err)
{
	struct ask a = { 0 };

	put_str(&a, "resource", resource);
	put_str(&a, "id", id);
	put_str(&a, "rel", rel);
	put_str(&a, "to", to);
	return simple(c, "displaced.restore", &a, err);
}

int hf_nodes(struct hf_conn *c, char **json, struct hf_err *err)
{
	struct ask a = { 0 };

	return ask(c, "node.list", &a, NULL, NULL, json, NULL, err);
}

int hf_node_remove(struct hf_conn *c, const char *name, unsigned flags, struct hf_err *err)
{
	struct ask a = { 0 };
	int ret = put_flags(&a, "node.remove", flags, HF_DRY_RUN, err);

	if (ret)
		return ret;
	put_str(&a, "name", name);
	return simple(c, "node.remove", &a, err);
}

const char *hf_version(void)
{
	return HF_VERSION;
}
