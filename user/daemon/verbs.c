// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From a line to a request: well-formed, a known verb, known arguments of the
 * right type, permitted; then a thread of its own unless memory alone
 * answers it. The number of threads is bounded.
 */
#include "account.h"
#include "verbs.h"
#include <stdatomic.h>
#include <stdlib.h>

#define MAX_RUNNING 64

static atomic_uint running;
static const struct verb *const tables[] = { verbs_read, verbs_store, verbs_diff, verbs_restore, verbs_reg, verbs_res, verbs_node,
					    verbs_count, verbs_doctor, verbs_move };

unsigned verbs_running(void)
{
	return atomic_load(&running);
}

static const struct verb *find(const char *name)
{
	for (unsigned t = 0; t < HF_ARRAY(tables); t++)
		for (const struct verb *v = tables[t]; v->name; v++)
			if (!strcmp(v->name, name))
				return v;
	return NULL;
}

static bool plain_string(struct json_object *v)
{
	/* no NUL inside: what follows it would be checked by nobody */
	return json_object_is_type(v, json_type_string) &&
	       strlen(json_object_get_string(v)) == (size_t)json_object_get_string_len(v);
}

static bool fits(struct json_object *v, char type)
{
	switch (type) {
	case 's':
		return plain_string(v) && json_object_get_string_len(v) <= 4096;
	case 'b':
		return json_object_is_type(v, json_type_boolean);
	case 'u':
		return json_object_is_type(v, json_type_int) && json_object_get_int64(v) >= 0 &&
		       json_object_get_uint64(v) <= UINT64_MAX / 2;
	case 'l':
		if (!json_object_is_type(v, json_type_array) || json_object_array_length(v) > 1024)
			return false;
		for (size_t i = 0; i < json_object_array_length(v); i++)
			if (!fits(json_object_array_get_idx(v, i), 's'))
				return false;
		return true;
	case 'o':
		if (!json_object_is_type(v, json_type_object))
			return false;
		json_object_object_foreach(v, key, val) {
			(void)key;
			if (val && !fits(val, 's'))
				return false;
		}
		return true;
	}
	return false;
}

static const char *type_name(char t)
{
	return t == 's' ? "a string" : t == 'b' ? "true or false" : t == 'u' ? "a number, 0 or more" :
	       t == 'l' ? "a list of strings" : "an object of strings";
}

/* The spec of @key in @args: its type and whether it is required; 0 unknown. */
static char spec_of(const char *args, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = args; *p; p += strcspn(p, " "), p += strspn(p, " "))
		if (!strncmp(p, key, n) && p[n] == ':')
			return p[n + 1];
	return 0;
}

static int check_args(const struct verb *v, struct json_object *args, struct hf_err *err)
{
	if (args && !json_object_is_type(args, json_type_object))
		return hf_fail(err, HF_USAGE, -EINVAL, "%s: args must be an object", v->name);
	if (args) {
		json_object_object_foreach(args, key, val) {
			char t = spec_of(v->args, key);

			if (!t) {
				char *k = hf_printable(key, strnlen(key, 64));

				hf_fail(err, HF_USAGE, -EINVAL, "%s: unknown argument '%s'", v->name, k ? k : "");
				free(k);
				return -EINVAL;
			}
			if (!val || !fits(val, t))
				return hf_fail(err, HF_USAGE, -EINVAL, "%s: argument '%s' must be %s",
					       v->name, key, type_name(t));
		}
	}
	for (const char *p = v->args; *p; p += strcspn(p, " "), p += strspn(p, " ")) {
		char key[32];
		const char *colon = strchr(p, ':');

		if (colon[1] == 0 || colon[2] != '!')
			continue;
		snprintf(key, sizeof(key), "%.*s", (int)(colon - p), p);
		if (!jhas(args, key))
			return hf_fail(err, HF_USAGE, -EINVAL, "%s: argument '%s' is missing", v->name, key);
	}
	return 0;
}

static struct json_object *parse(const char *line, size_t len)
{
	struct json_tokener *t = json_tokener_new();
	struct json_object *o;

	if (!t)
		return NULL;
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(t, line, len + 1);
	if (json_tokener_get_error(t) != json_tokener_success ||
	    json_tokener_get_parse_end(t) < len) {
		json_object_put(o);
		o = NULL;
	}
	json_tokener_free(t);
	return o;
}

static void *thread(void *arg)
{
	struct req *q = arg;

	record_forced_begin(q);
	q->ret = q->verb->fn(q, &q->err);
	record_forced_end(q);
	req_done(q);
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static int start(struct req *q)
{
	pthread_attr_t a;
	pthread_t t;
	int ret;

	if (atomic_fetch_add(&running, 1) >= MAX_RUNNING) {
		atomic_fetch_sub(&running, 1);
		return hf_fail(&q->err, HF_FAILED, -EAGAIN,
			       "%d requests are being worked on already; try again later", MAX_RUNNING);
	}
	pthread_attr_init(&a);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	ret = pthread_create(&t, &a, thread, q);
	pthread_attr_destroy(&a);
	if (ret) {
		atomic_fetch_sub(&running, 1);
		return hf_fail(&q->err, HF_FAILED, -ret, "cannot start a thread: %s", strerror(ret));
	}
	return 0;
}

void verbs_dispatch(uint64_t conn, bool root, bool reader, uid_t uid, pid_t pid,
		    const char *line, size_t len)
{
	struct req *q = hf_alloc(sizeof(*q));
	const char *name;

	if (!q)
		abort();
	q->conn = conn;
	q->root = root;
	q->uid = uid;
	q->pid = pid;
	if (!root && !reader) {
		q->ret = hf_fail(&q->err, HF_PERM, -EPERM,
				 "only root, and the group named by read_group, may talk to holdfastd");
		goto out;
	}
	q->msg = parse(line, len);
	name = jget_str(q->msg, "verb");
	if (!q->msg || !json_object_is_type(q->msg, json_type_object) || !name) {
		q->ret = hf_fail(&q->err, HF_USAGE, -EINVAL,
				 "a request is one JSON object with a verb (Documentation/socket.rst)");
		goto out;
	}
	if (jget_u64(q->msg, "v") != 1) {
		q->ret = hf_fail(&q->err, HF_USAGE, -EPROTO,
				 "this daemon (%s) speaks version 1 of the protocol", HF_VERSION);
		goto out;
	}
	q->verb = find(name);
	if (!q->verb) {
		char *k = hf_printable(name, strnlen(name, 64));

		q->ret = hf_fail(&q->err, HF_USAGE, -EINVAL, "unknown verb '%s'", k ? k : "");
		free(k);
		goto out;
	}
	if (!root && !(q->verb->flags & V_READ)) {
		q->ret = hf_fail(&q->err, HF_PERM, -EPERM, "%s: only root may do that", name);
		goto out;
	}
	if (json_object_object_get_ex(q->msg, "args", &q->args) && !q->args)
		q->args = NULL;
	q->ret = check_args(q->verb, q->args, &q->err);
	if (q->ret)
		goto out;
	if (!(q->verb->flags & V_MEMORY)) {
		int ret = start(q);

		/* its thread may have ended, and freed it, by now */
		if (!ret)
			return;
		q->ret = ret;
		goto out;
	}
	q->ret = q->verb->fn(q, &q->err);
out:
	req_done(q);
}

/* @r is consumed, unless it is returned */
static struct resource *if_registered(struct resource *r, const char *name, struct hf_err *err)
{
	bool gone;

	if (r) {
		pthread_mutex_lock(&r->lock);
		gone = r->gone || !regs_find(r->regs, name);
		pthread_mutex_unlock(&r->lock);
		if (!gone)
			return r;
		resource_put(r);
	}
	hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no resource %s; `holdfast resource list` shows those there are",
		name);
	return NULL;
}

struct resource *verb_resource(const char *name, struct hf_err *err)
{
	struct resource *r;

	if (hf_name_check(name, "resource", err))
		return NULL;
	r = resource_get(name);
	if (!r && !regs_reload(NULL))	/* another node may just have added it */
		r = resource_get(name);
	return if_registered(r, name, err);
}

int verb_resource_now(const char *name, struct resource **out, struct hf_err *err)
{
	int ret;

	*out = NULL;
	if (hf_name_check(name, "resource", err))
		return -EINVAL;
	ret = regs_refresh(err);
	if (ret)
		return ret;
	*out = if_registered(resource_get(name), name, err);
	return *out ? 0 : -ENOENT;
}

int verb_registered_now(const char *name, struct resource **out, struct regs **pin, const struct hf_resource **def,
			struct hf_err *err)
{
	int ret = verb_resource_now(name, out, err);

	*pin = NULL;
	*def = ret ? NULL : resource_def(*out, pin);
	return ret || *def ? ret : hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no resource %s", name);
}
