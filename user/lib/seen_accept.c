// SPDX-License-Identifier: LGPL-2.1-or-later
/* `holdfast disk accept`: an administrator says that an older state of the disk is the one to use. */
#include "seen.h"
#include "conf.h"
#include <json-c/json.h>
#include <stdlib.h>

struct look {
	struct hf_store *st;
	struct hf_seen *old;
	struct json_object *arr;
};

static void told(struct look *k, const struct hf_err *e)
{
	char *s = hf_printable(e->msg, strcspn(e->msg, ";"));

	json_object_array_add(k->arr, s ? json_object_new_string(s) : NULL);
	free(s);
}

static int look_at(void *ctx, const struct hf_logid *id)
{
	struct look *k = ctx;
	struct hf_log_stat st;
	struct hf_err e = { 0 };
	int ret = k->st->ops->stat(k->st, id, &st, &e);

	if (ret && ret != -ENOENT)
		return ret;
	if (hf_seen_stat(k->old, id, &st, &e))
		told(k, &e);
	return 0;
}

static int nodes(struct look *k)
{
	struct hf_node_info *v = calloc(HF_MAX_NODES, sizeof(*v));
	int n = v ? k->st->ops->nodes(k->st, v, HF_MAX_NODES) : -ENOMEM;

	for (int i = 0; i < n; i++) {
		struct hf_err e = { 0 };

		if (hf_seen_node(k->old, &v[i], &e))
			told(k, &e);
	}
	free(v);
	return n < 0 ? n : 0;
}

int hf_disk_accept(const char *conf, char **json, struct hf_err *err)
{
	struct hf_conf *cf = NULL;
	struct hf_keys *keys = NULL;
	struct hf_store_params p = { 0 };
	struct hf_seen *fresh = NULL;
	struct hf_identity id;
	struct look k = { .arr = json_object_new_array() };
	struct json_object *o = json_object_new_object();
	int ret = hf_conf_load(conf, &cf, err);

	*json = NULL;
	if (!ret && !cf->url)
		ret = hf_fail(err, HF_USAGE, -EINVAL, "no disk is configured in %s", cf->path);
	if (!ret)
		ret = hf_keys_load(cf->key_file, &keys, err);
	if (!ret)
		ret = hf_identity_load(cf->state_dir, &id, err);
	p.keys = keys;
	if (!ret)
		ret = hf_store_open(cf->url, &p, &k.st, err);
	if (ret)
		goto out;
	/* what cannot be read is as good as nothing here */
	if (hf_seen_load(cf->state_dir, id.disk, &k.old, NULL))
		json_object_array_add(k.arr, json_object_new_string("what this node remembered cannot be read"));
	ret = hf_seen_new(cf->state_dir, id.disk, &fresh);
	if (!ret && k.old)
		ret = hf_seen_each(k.old, look_at, &k);
	if (!ret && k.old)
		ret = nodes(&k);
	if (!ret)
		ret = hf_seen_sync(fresh, true);
	if (ret)
		hf_fail(err, err && err->exit ? err->exit : HF_OK, ret, "%s: %s", cf->state_dir,
			err && err->exit ? err->msg : strerror(-ret));
	json_object_object_add(o, "accepted", json_object_get(k.arr));
	if (!ret)
		*json = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
out:
	hf_seen_free(k.old);
	hf_seen_free(fresh);
	if (k.st)
		k.st->ops->close(k.st);
	json_object_put(k.arr);
	json_object_put(o);
	hf_keys_free(keys);
	hf_conf_free(cf);
	return ret;
}
