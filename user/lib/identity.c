// SPDX-License-Identifier: LGPL-2.1-or-later
/* state_dir/identity: who this node is on which disk; state_dir/joining: who it is about to be. */
#include "store.h"
#include "names.h"
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define IDENTITY_MAX 65536

static char *file_of(const char *state_dir, const char *name, struct hf_err *err)
{
	char *p = hf_strf("%s/%s", state_dir, name);

	if (!p)
		hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	return p;
}

static const char *text_of(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string) ?
	       json_object_get_string(v) : "";
}

static int parse(const char *text, struct hf_identity *id)
{
	struct json_object *o = json_tokener_parse(text), *slot;
	const char *name;
	int64_t n;
	int ret = -EBADMSG;

	*id = (struct hf_identity){ 0 };
	if (!json_object_is_type(o, json_type_object))
		goto out;
	name = text_of(o, "name");
	if (hf_uuid_parse(text_of(o, "uuid"), id->uuid) || hf_uuid_parse(text_of(o, "disk"), id->disk) ||
	    hf_name_check(name, "node", NULL))
		goto out;
	if (!json_object_object_get_ex(o, "slot", &slot) || !json_object_is_type(slot, json_type_int))
		goto out;
	n = json_object_get_int64(slot);
	if (n < 0 || n >= HF_MAX_NODES)
		goto out;
	id->slot = n;
	strcpy(id->name, name);		/* at most HF_NAME_MAX: hf_name_check() */
	ret = 0;
out:
	json_object_put(o);
	return ret;
}

int hf_identity_load(const char *state_dir, struct hf_identity *id, struct hf_err *err)
{
	char *path = file_of(state_dir, "identity", err), *text = NULL;
	int ret;

	if (!path)
		return -ENOMEM;
	ret = hf_read_file(path, IDENTITY_MAX, &text, NULL);
	if (ret == -ENOENT)
		hf_fail(err, HF_NOTFOUND, ret, "%s: this node has no identity yet; run holdfast init DEV --name "
			"CLUSTER on the first node, holdfast join DEV on the others", path);
	else if (ret)
		hf_fail(err, HF_OK, ret, "%s: cannot be read: %s", path, strerror(-ret));
	else {
		ret = parse(text, id);
		if (ret)
			hf_fail(err, HF_DAMAGED, ret, "%s: is not an identity; restore it from a backup of this node, "
				"or remove it and join under another name", path);
	}
	free(text);
	free(path);
	return ret;
}

static int save(const char *state_dir, const char *file, const struct hf_identity *id, const char *old,
		struct hf_err *err)
{
	struct json_object *o = json_object_new_object();
	char *path = file_of(state_dir, file, err), uuid[37], disk[37];
	const char *text;
	char *line = NULL;
	int ret = -ENOMEM;

	if (!path || !o)
		goto out;
	hf_uuid_str(id->uuid, uuid);
	hf_uuid_str(id->disk, disk);
	json_object_object_add(o, "v", json_object_new_int(1));
	json_object_object_add(o, "name", json_object_new_string(id->name));
	json_object_object_add(o, "uuid", json_object_new_string(uuid));
	json_object_object_add(o, "disk", json_object_new_string(disk));
	json_object_object_add(o, "slot", json_object_new_int64(id->slot));
	if (old)
		json_object_object_add(o, "replaces", json_object_new_string(old));
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);
	line = text ? hf_strf("%s\n", text) : NULL;
	if (!line)
		goto out;
	ret = hf_mkdirs(state_dir, 0700);
	if (!ret)
		ret = hf_write_file(path, line, strlen(line), 0600);
out:
	if (ret)
		hf_fail(err, HF_OK, ret, "%s: cannot be written: %s", path ? path : state_dir, strerror(-ret));
	free(line);
	free(path);
	json_object_put(o);
	return ret;
}

int hf_identity_save(const char *state_dir, const struct hf_identity *id, struct hf_err *err)
{
	int ret = save(state_dir, "identity", id, NULL, err);

	if (!ret)
		hf_joining_end(state_dir);
	return ret;
}

int hf_joining_save(const char *state_dir, const struct hf_identity *id, const char *old, struct hf_err *err)
{
	return save(state_dir, "joining", id, old, err);
}

int hf_joining_load(const char *state_dir, struct hf_identity *id, char old[HF_NAME_MAX + 1])
{
	char *path = file_of(state_dir, "joining", NULL), *text = NULL;
	struct json_object *o;
	int ret = path ? hf_read_file(path, IDENTITY_MAX, &text, NULL) : -ENOMEM;

	if (!ret)
		ret = parse(text, id);
	if (!ret) {
		o = json_tokener_parse(text);
		snprintf(old, HF_NAME_MAX + 1, "%s", text_of(o, "replaces"));
		json_object_put(o);
	}
	free(text);
	free(path);
	return ret;
}

void hf_joining_end(const char *state_dir)
{
	char *path = file_of(state_dir, "joining", NULL);

	if (path)
		unlink(path);
	free(path);
}
