// SPDX-License-Identifier: GPL-2.0-or-later
/* Verbs that act on a resource: each becomes a job of its worker. */
#include "group.h"
#include "verbs.h"
#include <stdlib.h>

static void put_restored(struct json_object *o, const struct hf_restore_stat *s)
{
	struct json_object *t = jobj();

	ju64(t, "looked", s->looked);
	ju64(t, "written", s->written);
	ju64(t, "meta", s->meta);
	ju64(t, "removed", s->removed);
	ju64(t, "displaced", s->displaced);
	ju64(t, "not_kept", s->not_kept);
	ju64(t, "bytes", s->bytes);
	json_object_object_add(o, "restored", t);
}

static void put_ms(struct json_object *o, const struct job *j)
{
	struct json_object *t = jobj();

	ju64(t, "claim", j->ms_claim);
	ju64(t, "track", j->ms_track);
	ju64(t, "restore", j->ms_restore);
	ju64(t, "total", j->ms_total);
	json_object_object_add(o, "ms", t);
	t = jobj();
	ju64(t, "claim_read", j->claim_read_ns / 1000);
	ju64(t, "restore_read", j->restore_read_ns / 1000);
	ju64(t, "compare", j->restored.ns_compare / 1000);
	ju64(t, "keep", j->restored.ns_keep / 1000);
	ju64(t, "write", j->restored.ns_write / 1000);
	ju64(t, "sync", j->restored.ns_sync / 1000);
	json_object_object_add(o, "us", t);
	t = jobj();
	ju64(t, "warm", j->warm_gen);
	ju64(t, "read", j->claim_bytes);
	json_object_object_add(o, "claim", t);
}

static const char *state_now(struct resource *r)
{
	enum rstate s;

	pthread_mutex_lock(&r->lock);
	s = r->state;
	pthread_mutex_unlock(&r->lock);
	return rstate_name(s);
}

static struct job *make(struct req *q, int (*fn)(struct resource *r, struct job *j), struct hf_err *err)
{
	struct job *j = job_new(fn);
	uint64_t ms = jget_u64(q->args, "timeout_ms");

	if (!j) {
		hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
		return NULL;
	}
	j->conn = q->conn;
	if (jhas(q->args, "timeout_ms"))
		j->deadline_ms = hf_now_ms() + (j->timeout_ms = ms < 86400000 ? ms : 86400000);
	return j;
}

/* the same, with the resource that it is for: resource_put() it */
static int make_for(struct req *q, int (*fn)(struct resource *r, struct job *j), struct resource **r, struct job **j,
		    struct hf_err *err)
{
	*r = verb_resource(jget_str(q->args, "resource"), err);
	if (!*r)
		return err->exit == HF_USAGE ? -EINVAL : -ENOENT;
	*j = make(q, fn, err);
	if (*j)
		return 0;
	resource_put(*r);
	return -ENOMEM;
}

/* What became of a job that was waited for: its own failure, or that of waiting. */
static int outcome(struct job *j, int ret, struct hf_err *err)
{
	if (ret)
		return ret;
	if (j->ret)
		*err = j->err;
	return j->ret;
}

static int online(struct req *q, struct hf_err *err)
{
	struct json_object *o;
	struct resource *r;
	struct job *j;
	int ret = make_for(q, job_online, &r, &j, err);

	if (ret)
		return ret;
	j->fenced = jget_bool(q->args, "fenced");
	j->dry_run = jget_bool(q->args, "dry_run");
	j->keep_local = jget_bool(q->args, "keep_local");
	j->allow_empty = jget_bool(q->args, "allow_empty");
	j->without_store = jget_bool(q->args, "without_store");
	if (j->keep_local && j->dry_run) {
		ret = hf_fail(err, HF_USAGE, -EINVAL,
			      "--keep-local overwrites nothing here, so there is nothing for --dry-run to show");
		goto out;
	}
	ret = outcome(j, job_run(r, j, err), err);
	if (ret)
		goto out;
	q->result = o = jobj();
	jstr(o, "state", state_now(r));
	ju64(o, "epoch", j->epoch);
	ju64(o, "generation", j->gen);
	if (j->already)
		jbool(o, "already", true);
	if (j->note[0])
		jstr(o, "note", j->note);
	if (j->dry_run) {
		json_object_object_add(o, "changes", json_object_get(j->changes));
	} else if (!j->already) {
		put_restored(o, &j->restored);
		json_object_object_add(o, "displaced", j->displaced ? json_object_get(j->displaced) :
							json_object_new_array());
		if (j->stayed)
			json_object_object_add(o, "stayed", json_object_get(j->stayed));
		put_ms(o, j);
	}
out:
	job_put(j);
	resource_put(r);
	return ret;
}

static int offline(struct req *q, struct hf_err *err)
{
	struct hf_policy pol;
	struct json_object *o;
	struct resource *r;
	struct job *j;
	bool spooled;
	int ret = make_for(q, job_offline, &r, &j, err);

	if (ret)
		return ret;
	resource_policy(r, &pol);
	ret = job_run(r, j, err);
	spooled = ret == -ETIMEDOUT && !pol.strict_stop;
	if (spooled) {
		/* the worker hangs in the store; it goes on to commit and release when the
		 * store answers, and the journal knows it is online until then */
		hf_logf(HF_LOG_WARN, "%s: offline without the store: %s", r->name, err->msg);
		q->result = o = jobj();
		jstr(o, "state", "offline");
		jbool(o, "spooled", true);
		jstr(o, "note", err->msg);
		ret = 0;
		goto out;
	}
	ret = outcome(j, ret, err);
	if (ret)
		goto out;
	q->result = o = jobj();
	jstr(o, "state", state_now(r));
	ju64(o, "generation", j->gen);
	if (j->already)
		jbool(o, "already", true);
	if (j->spooled)
		jbool(o, "spooled", true);
	if (j->note[0])
		jstr(o, "note", j->note);
out:
	job_put(j);
	resource_put(r);
	return ret;
}

static void sync_done(struct json_object *arr, const char *name, uint64_t gen, bool consistent, bool committed)
{
	struct json_object *o = jobj();

	jstr(o, "resource", name);
	ju64(o, "generation", gen);
	jbool(o, "confirmed", true);
	jbool(o, "consistent", consistent);
	jbool(o, "committed", committed);
	json_object_array_add(arr, o);
}

static int sync_one(struct req *q, struct resource *r, struct json_object *arr, struct hf_err *err)
{
	struct job *j = make(q, job_sync, err);
	int ret;

	if (!j)
		return -ENOMEM;
	j->quick = jget_bool(q->args, "quick");
	j->allow_delete = jget_bool(q->args, "allow_delete");
	ret = outcome(j, job_run(r, j, err), err);
	if (!ret)
		sync_done(arr, r->name, j->gen, j->consistent, j->committed);
	job_put(j);
	return ret;
}

/* all of them, or none */
static int sync_group(struct req *q, struct resource **v, size_t n, struct json_object *arr, struct hf_err *err)
{
	const struct job how = { .quick = jget_bool(q->args, "quick"), .allow_delete = jget_bool(q->args, "allow_delete") };
	uint64_t gens[HF_GROUP_MAX];
	uint8_t id[16];
	char text[37];
	int ret;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			if (v[k] == v[i])
				return hf_fail(err, HF_USAGE, -EINVAL, "sync: %s is given twice", v[i]->name);
	ret = group_sync(v, n, &how, id, gens, err);
	for (size_t i = 0; i < n && !ret; i++)
		sync_done(arr, v[i]->name, gens[i], true, true);
	if (!ret) {
		hf_uuid_str(id, text);
		jstr(q->result, "group", text);
	}
	return ret;
}

static int sync_verb(struct req *q, struct hf_err *err)
{
	struct json_object *list = NULL, *arr = json_object_new_array();
	struct resource **v;
	size_t n;
	int ret = 0;

	json_object_object_get_ex(q->args, "resources", &list);
	n = json_object_array_length(list);
	v = calloc(n + 1, sizeof(*v));
	q->result = jobj();
	json_object_object_add(q->result, "resources", arr);
	if (!n || !v) {
		ret = hf_fail(err, HF_USAGE, -EINVAL, "sync: name at least one resource");
		goto out;
	}
	if (n > HF_GROUP_MAX) {
		ret = hf_fail(err, HF_USAGE, -EINVAL, "sync: a group has at most %d resources", HF_GROUP_MAX);
		goto out;
	}
	for (size_t i = 0; i < n && !ret; i++) {
		v[i] = verb_resource(json_object_get_string(json_object_array_get_idx(list, i)), err);
		if (!v[i])
			ret = err->exit == HF_USAGE ? -EINVAL : -ENOENT;
	}
	if (!ret)
		ret = n == 1 ? sync_one(q, v[0], arr, err) : sync_group(q, v, n, arr, err);
out:
	for (size_t i = 0; v && i < n; i++)
		resource_put(v[i]);
	free(v);
	if (ret) {
		json_object_put(q->result);
		q->result = NULL;
	}
	return ret;
}

static int rollback(struct req *q, struct hf_err *err)
{
	struct json_object *o;
	struct resource *r;
	struct job *j;
	int ret = make_for(q, job_rollback, &r, &j, err);

	if (ret)
		return ret;
	j->rollback = true;
	memcpy(j->who, q->who, sizeof(j->who));
	j->dry_run = jget_bool(q->args, "dry_run");
	j->to_gen = jget_u64(q->args, "to");
	ret = j->to_gen ? outcome(j, job_run(r, j, err), err) :
	      hf_fail(err, HF_USAGE, -EINVAL, "generations begin at 1; see `holdfast history %s`", r->name);
	if (ret)
		goto out;
	q->result = o = jobj();
	if (j->dry_run) {
		json_object_object_add(o, "changes", json_object_get(j->changes));
	} else {
		ju64(o, "generation", j->gen);
		jbool(o, "committed", j->committed);
		put_restored(o, &j->restored);
		json_object_object_add(o, "displaced", j->displaced ? json_object_get(j->displaced) :
							json_object_new_array());
		if (j->stayed)
			json_object_object_add(o, "stayed", json_object_get(j->stayed));
	}
	if (j->note[0])
		jstr(o, "note", j->note);
out:
	job_put(j);
	resource_put(r);
	return ret;
}

static int reset(struct req *q, struct hf_err *err)
{
	struct resource *r = verb_resource(jget_str(q->args, "name"), err);
	struct job *j;
	int ret;

	if (!r)
		return err->exit == HF_USAGE ? -EINVAL : -ENOENT;
	j = make(q, job_reset, err);
	ret = j ? outcome(j, job_run(r, j, err), err) : -ENOMEM;
	if (!ret) {
		q->result = jobj();
		jstr(q->result, "state", state_now(r));
	}
	job_put(j);
	resource_put(r);
	return ret;
}

static int rebuild(struct req *q, struct hf_err *err)
{
	struct resource *r = verb_resource(jget_str(q->args, "name"), err);
	struct json_object *o;
	struct job *j;
	int ret;

	if (!r)
		return err->exit == HF_USAGE ? -EINVAL : -ENOENT;
	j = make(q, job_rebuild, err);
	if (!j) {
		resource_put(r);
		return -ENOMEM;
	}
	j->dry_run = jget_bool(q->args, "dry_run");
	j->allow_empty = jget_bool(q->args, "allow_empty");
	j->keep_local = jget_bool(q->args, "keep_local");
	ret = outcome(j, job_run(r, j, err), err);
	if (ret)
		goto out;
	q->result = o = jobj();
	ju64(o, "generation", j->gen);
	jbool(o, "unreadable", j->rebuilt.unreadable);
	ju64(o, "damaged", j->rebuilt.damaged);
	json_object_object_add(o, "paths", j->paths ? json_object_get(j->paths) : json_object_new_array());
	json_object_object_add(o, "pins", j->pins ? json_object_get(j->pins) : json_object_new_array());
	if (!j->dry_run) {
		jstr(o, "state", state_now(r));
		ju64(o, "oldest", j->rebuilt.oldest);
		ju64(o, "generations", j->rebuilt.generations);
	}
	if (j->note[0])
		jstr(o, "note", j->note);
out:
	job_put(j);
	resource_put(r);
	return ret;
}

const struct verb verbs_res[] = {
	{ "online", 0, "resource:s! fenced:b dry_run:b keep_local:b allow_empty:b without_store:b timeout_ms:u", online },
	{ "offline", 0, "resource:s! timeout_ms:u", offline },
	{ "sync", 0, "resources:l! quick:b allow_delete:b", sync_verb },
	{ "rollback", 0, "resource:s! to:u! dry_run:b", rollback },
	{ "resource.reset", 0, "name:s!", reset },
	{ "resource.rebuild", 0, "name:s! dry_run:b keep_local:b allow_empty:b", rebuild },
	{ NULL, 0, NULL, NULL },
};
