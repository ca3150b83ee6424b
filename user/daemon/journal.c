// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One small JSON file for each resource under state_dir/resources, replaced
 * atomically and durably at each step of which a restart must know.
 */
#include "daemon.h"
#include "journal.h"
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const names[] = {
	[JR_NONE] = "offline", [JR_CLAIMING] = "claiming", [JR_RESTORING] = "restoring",
	[JR_ONLINE] = "online", [JR_UNRELEASED] = "unreleased", [JR_STALE] = "stale",
};

static char *path_of(const char *resource)
{
	return hf_strf("%s/%s", hfd.journal_dir, resource);
}

void boot_id(char id[37])
{
	char *s = NULL;

	snprintf(id, 37, "unknown");
	if (!hf_read_file("/proc/sys/kernel/random/boot_id", 64, &s, NULL))
		snprintf(id, 37, "%.36s", s);
	free(s);
}

int journal_write(const char *resource, const struct journal *j)
{
	struct json_object *o, *u;
	char uuid[37], boot[37], *path;
	const char *text;
	int ret = -ENOMEM;

	if (j->state == JR_NONE && !j->has_unconfirmed && !j->has_left && !j->whole && !j->half)
		return journal_remove(resource);
	o = jobj();
	path = path_of(resource);
	if (!o || !path)
		goto out;
	hf_uuid_str(j->uuid, uuid);
	ju64(o, "v", 1);
	jstr(o, "state", names[j->state]);
	jstr(o, "uuid", uuid);
	boot_id(boot);
	jstr(o, "boot", boot);
	ju64(o, "epoch", j->epoch);
	ju64(o, "generation", j->generation);
	ju64(o, "tracked", j->tracked);
	jbool(o, "torn", j->torn);
	jbool(o, "synced", j->synced);
	jbool(o, "without_store", j->without_store);
	jbool(o, "released", j->released);
	jbool(o, "strict_stop", j->strict_stop);
	ju64(o, "whole", j->whole);
	jbool(o, "anew", j->anew);
	jbool(o, "half", j->half);
	if (j->has_unconfirmed) {
		u = jobj();
		ju64(u, "generation", j->unc_generation);
		ju64(u, "count", j->unc_count);
		jstr(u, "displaced", j->unc_displaced);
		json_object_object_add(o, "unconfirmed", u);
	}
	if (j->has_left) {
		u = jobj();
		ju64(u, "generation", j->left_generation);
		jbytes(u, "why", j->left_why);
		json_object_object_add(o, "left", u);
	}
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	if (text)
		ret = hf_write_file(path, text, strlen(text), 0600);
out:
	if (ret)
		hf_logf(HF_LOG_ERR, "%s: cannot write %s: %s", resource, path ? path : "its journal",
			strerror(-ret));
	json_object_put(o);
	free(path);
	return ret;
}

int journal_read(const char *resource, struct journal *j)
{
	struct json_object *o = NULL, *u;
	char *path = path_of(resource), *text = NULL;
	char boot[37];
	const char *s;
	size_t n;
	int ret = -ENOMEM;

	memset(j, 0, sizeof(*j));
	if (!path)
		goto out;
	ret = hf_read_file(path, 64 << 10, &text, &n);
	if (ret)
		goto out;
	ret = -EBADMSG;
	o = json_tokener_parse(text);
	s = jget_str(o, "state");
	if (jget_u64(o, "v") != 1 || !s)
		goto out;
	for (unsigned i = 0; i < HF_ARRAY(names); i++)
		if (!strcmp(s, names[i])) {
			j->state = i;
			ret = 0;
		}
	s = jget_str(o, "uuid");
	if (!s || hf_uuid_parse(s, j->uuid))
		ret = -EBADMSG;
	boot_id(boot);
	s = jget_str(o, "boot");
	j->rebooted = !s || strcmp(s, boot);
	j->epoch = jget_u64(o, "epoch");
	j->generation = jget_u64(o, "generation");
	j->tracked = jget_u64(o, "tracked");
	j->synced = jget_bool(o, "synced");
	j->torn = jget_bool(o, "torn") || (j->state == JR_UNRELEASED && j->rebooted && !j->synced);
	j->without_store = jget_bool(o, "without_store");
	j->released = jget_bool(o, "released");
	j->strict_stop = jget_bool(o, "strict_stop");
	/* what was not written back when the machine went down is not in the trees */
	j->whole = j->rebooted ? 0 : jget_u64(o, "whole");
	j->anew = !j->rebooted && jget_bool(o, "anew");
	j->half = jget_bool(o, "half");
	if (json_object_object_get_ex(o, "unconfirmed", &u)) {
		j->has_unconfirmed = true;
		j->unc_generation = jget_u64(u, "generation");
		j->unc_count = jget_u64(u, "count");
		s = jget_str(u, "displaced");
		snprintf(j->unc_displaced, sizeof(j->unc_displaced), "%s", s ? s : "");
	}
	if (json_object_object_get_ex(o, "left", &u)) {
		j->has_left = true;
		j->left_generation = jget_u64(u, "generation");
		s = jget_str(u, "why");
		snprintf(j->left_why, sizeof(j->left_why), "%s", s ? s : "");
	}
out:
	json_object_put(o);
	free(text);
	free(path);
	return ret;
}

int journal_remove(const char *resource)
{
	char *path = path_of(resource);
	int ret = 0;

	if (!path)
		return -ENOMEM;
	if (unlink(path) && errno != ENOENT)
		ret = -errno;
	free(path);
	return ret;
}

int journal_each(void (*fn)(const char *resource))
{
	struct dirent **ent = NULL;
	int n = scandir(hfd.journal_dir, &ent, NULL, alphasort);

	if (n < 0)
		return errno == ENOENT ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		/* what hf_write_file() left behind in a crash is no name of a resource */
		if (!hf_name_check(ent[i]->d_name, "resource", NULL))
			fn(ent[i]->d_name);
		free(ent[i]);
	}
	free(ent);
	return 0;
}
