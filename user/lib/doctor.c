// SPDX-License-Identifier: LGPL-2.1-or-later
/* What can be found out about this node without a daemon: configuration, key, identity, store. */
#include "conf.h"
#include "crypto.h"
#include "store.h"
#include "names.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <sys/stat.h>

static void put(struct json_object *o, const char *key, const char *s)
{
	char *text = s ? hf_printable(s, strlen(s)) : NULL;

	if (text)
		json_object_object_add(o, key, json_object_new_string(text));
	free(text);
}

static void find(struct json_object *arr, const char *verdict, const char *check, const char *about, const char *what,
		 const char *todo)
{
	struct json_object *o = json_object_new_object();

	put(o, "check", check);
	put(o, "about", about);
	put(o, "verdict", verdict);
	put(o, "what", what);
	put(o, "do", todo);
	json_object_array_add(arr, o);
}

/* What only root may read says nothing to others. */
static void unreadable(struct json_object *arr, int ret, const char *check, const char *about, const struct hf_err *err,
		       const char *todo)
{
	if (ret == -EACCES || ret == -EPERM)
		find(arr, "warn", check, about, err->msg, "ask as root");
	else
		find(arr, "bad", check, about, err->msg, todo);
}

/* Our row of the disk is ours still. */
static void row(struct json_object *arr, const char *info, const struct hf_identity *id)
{
	struct json_object *o = info ? json_tokener_parse(info) : NULL, *nodes, *v;
	char uuid[37];

	hf_uuid_str(id->uuid, uuid);
	if (!o || !json_object_object_get_ex(o, "nodes", &nodes))
		goto out;
	for (size_t i = 0; i < json_object_array_length(nodes); i++) {
		struct json_object *n = json_object_array_get_idx(nodes, i);

		if (!json_object_object_get_ex(n, "slot", &v) || json_object_get_int64(v) != id->slot)
			continue;
		if (json_object_object_get_ex(n, "state", &v) && !strcmp(json_object_get_string(v), "damaged"))
			find(arr, "bad", "identity", id->name, "this node's row on the store is damaged", "holdfast disk check says more");
		else if (!json_object_object_get_ex(n, "uuid", &v) || strcmp(json_object_get_string(v), uuid))
			find(arr, "bad", "identity", id->name, "this node was removed or replaced: its place on the store is another's",
			     "holdfast join makes this machine a new node");
		else
			find(arr, "ok", "identity", id->name, "has its place on the store", NULL);
		goto out;
	}
	find(arr, "bad", "identity", id->name, "this node has no place on the store: it was removed, or the disk is another one",
	     "holdfast join makes this machine a new node");
out:
	json_object_put(o);
}

static void store(struct json_object *arr, const char *conf, const struct hf_conf *c, const struct hf_identity *id)
{
	struct hf_err err = { 0 };
	char *info = NULL;
	int ret = hf_disk_info(conf, NULL, &info, &err);

	if (ret)
		unreadable(arr, ret, "disk", c->url, &err,
			   err.exit == HF_DAMAGED ? "holdfast disk check says what is damaged; a wrong key: copy it from another node" :
			   "see that the device is there and can be read on this node");
	else
		find(arr, "ok", "disk", c->url, "is read and authenticated from this node", NULL);
	if (!ret && id)
		row(arr, info, id);
	free(info);
}

static void key(struct json_object *arr, const struct hf_conf *c, bool *good)
{
	struct hf_err err = { 0 };
	struct hf_keys *k = NULL;
	int ret = hf_keys_load(c->key_file, &k, &err);

	*good = !ret;
	if (ret && err.exit == HF_PERM && ret == -EPERM)
		find(arr, "bad", "key", c->key_file, err.msg, "and think of whether somebody read it: holdfast has no other secret");
	else if (ret)
		unreadable(arr, ret, "key", c->key_file, &err, "copy it from another node of the cluster, as root, mode 0600");
	else
		find(arr, "ok", "key", c->key_file, "can be read, and by nobody else", NULL);
	hf_keys_free(k);
}

int hf_node_doctor(const char *conf, char **json)
{
	struct json_object *o = json_object_new_object(), *arr = json_object_new_array();
	struct hf_conf *c = NULL;
	struct hf_identity id;
	struct hf_err err = { 0 };
	bool good = false;
	int ret = hf_conf_load(conf, &c, &err);

	if (ret) {
		find(arr, "bad", "configuration", NULL, err.msg, "mend that line; holdfast.conf(5) lists all keys");
	} else if (!c->exists || !c->url) {
		find(arr, "bad", "configuration", c->path, c->exists ? "names no store" : "is not there",
		     "holdfast init DEV --name CLUSTER makes a cluster, holdfast join DEV joins one");
	} else {
		find(arr, "ok", "configuration", c->path, "is read without a complaint", NULL);
		key(arr, c, &good);
		ret = hf_identity_load(c->state_dir, &id, &err);
		if (ret)
			unreadable(arr, ret, "identity", c->state_dir, &err, NULL);
		if (good)
			store(arr, conf, c, ret ? NULL : &id);
	}
	if (c)
		put(o, "source", c->track_source);
	json_object_object_add(o, "findings", arr);
	*json = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
	hf_conf_free(c);
	return *json ? 0 : -ENOMEM;
}
