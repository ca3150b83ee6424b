// SPDX-License-Identifier: LGPL-2.1-or-later
/* What is done on this node without a daemon: key, identity, and what is set up. */
#include "conf.h"
#include "crypto.h"
#include "disk.h"
#include "names.h"
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* /a/b/c: makes /a/b, which others may look into: read_group finds its configuration there */
static int make_parent(const char *path)
{
	char dir[PATH_MAX], *slash;

	if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = 0;
	return hf_mkdirs(dir, 0755);
}

static int crypto(struct hf_err *err)
{
	int ret = hf_crypto_init();

	return ret ? hf_fail(err, HF_FAILED, ret, "libsodium cannot be used: %s", strerror(-ret)) : 0;
}

static int keygen(const char *path, struct hf_err *err)
{
	int ret = crypto(err);

	if (ret)
		return ret;
	ret = make_parent(path);
	if (ret)
		return hf_fail(err, HF_OK, ret, "%s: the directory of the key cannot be made: %s", path, strerror(-ret));
	return hf_keyfile_create(path, err);
}

int hf_keygen(const char *conf, const char *path, struct hf_err *err)
{
	struct hf_conf *c = NULL;
	int ret = 0;

	if (!path) {
		ret = hf_conf_load(conf, &c, err);
		if (ret)
			return ret;
	}
	ret = keygen(path ? path : c->key_file, err);
	hf_conf_free(c);
	return ret;
}

/* --- join ------------------------------------------------------------------- */

struct join {
	struct hf_conf *conf;
	char *dev;			/* absolute, or dir:… */
	char *url;
	const char *old;		/* the node that is replaced; NULL: none */
	struct hf_identity had;		/* the identity before, if there was one */
	bool has_identity;
};

static void join_free(struct join *j)
{
	hf_conf_free(j->conf);
	free(j->dev);
	free(j->url);
}

/* All that can be said before anything is written. */
static int join_check(const char *conf, const char *dev, struct join *j, struct hf_err *err)
{
	char cwd[PATH_MAX];
	struct hf_err e;
	bool dirs;
	int ret = 0;

	*j = (struct join){ 0 };
	if (!dev) {	/* the one that is configured */
		ret = hf_conf_load(conf, &j->conf, err);
		if (ret)
			return ret;
		if (!j->conf->url)
			return hf_fail(err, HF_USAGE, -EINVAL, "no disk is named, and none is configured in %s", j->conf->path);
		dev = j->conf->url;
	}
	dirs = !strncmp(dev, "dir:", 4);
	dev += strncmp(dev, "disk:", 5) ? 0 : 5;
	if (!*dev)
		return hf_fail(err, HF_USAGE, -EINVAL, "no disk is named; write /dev/disk/by-id/…");
	if (!hf_utf8_valid(dev) || strstr(dev, " ;") || strlen(dev) >= PATH_MAX)
		return hf_fail(err, HF_USAGE, -EINVAL, "a configuration file cannot hold the name of this disk; "
			       "name it by a link, for instance one of /dev/disk/by-id");
	if (!j->conf)
		ret = hf_conf_load(conf, &j->conf, err);
	if (ret)
		return ret;
	if (dev[0] == '/' || dirs)
		j->dev = strdup(dev);
	else if (getcwd(cwd, sizeof(cwd)))
		j->dev = hf_strf("%s/%s", cwd, dev);
	j->url = j->dev ? hf_strf("%s%s", dirs ? "" : "disk:", j->dev) : NULL;
	if (!j->url)
		return hf_fail(err, HF_OK, -ENOMEM, "%s: no absolute path for it: %s", dev, strerror(errno));
	if (j->conf->url && !hf_url_same(j->conf->url, j->url))
		return hf_fail(err, HF_EXISTS, -EEXIST, "%s: names another store already (url = %s); this node belongs "
			       "to it", j->conf->path, j->conf->url);

	ret = hf_identity_load(j->conf->state_dir, &j->had, &e);
	j->has_identity = !ret;
	if (ret && ret != -ENOENT)
		return hf_fail(err, e.exit, ret, "%s", e.msg);
	/* an identity of a disk that the configuration does not know: another cluster's */
	if (j->has_identity && !j->conf->url)
		return hf_fail(err, HF_EXISTS, -EEXIST, "%s/identity: this node is %s of another disk already; give it "
			       "another state_dir, or remove that file if the disk is gone for good",
			       j->conf->state_dir, j->had.name);
	return 0;
}

/* Whether the disk still knows the identity that is here. */
static int identity_on_disk(const struct join *j, const struct hf_keys *keys, bool *known, struct hf_err *err)
{
	struct hf_store_params p = { .keys = keys };
	struct hf_node_info node[HF_MAX_NODES];
	struct hf_store *s;
	int n, ret;

	*known = false;
	ret = hf_store_open(j->url, &p, &s, err);
	if (ret)
		return ret;
	n = s->ops->nodes(s, node, HF_MAX_NODES);
	for (int i = 0; i < n; i++)
		*known |= !memcmp(node[i].uuid, j->had.uuid, 16);
	s->ops->close(s);
	return n < 0 ? hf_fail(err, HF_OK, n, "%s: its nodes cannot be read: %s", j->dev, strerror(-n)) : 0;
}

/* How much of @path is there already: the length of what would have to be removed
 * down to, if what is about to be made is unmade. */
static size_t there(const char *path)
{
	char dir[PATH_MAX];
	size_t n = strlen(path);

	if (n >= sizeof(dir))
		return n;
	memcpy(dir, path, n + 1);
	while (n > 1 && access(dir, F_OK)) {
		while (n > 1 && dir[n - 1] != '/')
			n--;
		while (n > 1 && dir[n - 1] == '/')
			n--;
		dir[n] = 0;
	}
	return n;
}

static void unmake(const char *path, size_t keep)
{
	char dir[PATH_MAX];
	size_t n = strlen(path);

	if (n >= sizeof(dir))
		return;
	memcpy(dir, path, n + 1);
	while (n > keep && !rmdir(dir)) {
		while (n > keep && dir[n - 1] != '/')
			n--;
		while (n > keep && dir[n - 1] == '/')
			n--;
		dir[n] = 0;
	}
}

/* An area that was taken cannot be given back: try first whether its identity can be kept. */
static int try_state_dir(const char *dir, struct hf_err *err)
{
	char *probe = hf_strf("%s/.identity-probe", dir);
	char page[4096] = { 0 };
	int ret = probe ? hf_mkdirs(dir, 0700) : -ENOMEM;

	if (!ret) {
		ret = hf_write_file(probe, page, sizeof(page), 0600);
		unlink(probe);
	}
	free(probe);
	return ret ? hf_fail(err, HF_OK, ret, "%s: the identity cannot be kept there: %s; see state_dir in "
			     "holdfast.conf(5)", dir, strerror(-ret)) : 0;
}

static int join_json(const struct hf_identity *id, const struct join *j, const char *cluster, char **json)
{
	struct json_object *o = json_object_new_object();
	char uuid[37];

	hf_uuid_str(id->uuid, uuid);
	json_object_object_add(o, "node", json_object_new_string(id->name));
	json_object_object_add(o, "slot", json_object_new_int64(id->slot));
	json_object_object_add(o, "uuid", json_object_new_string(uuid));
	json_object_object_add(o, "cluster", json_object_new_string(cluster));
	json_object_object_add(o, "store", json_object_new_string(j->url));
	json_object_object_add(o, "conf", json_object_new_string(j->conf->path));
	*json = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
	return *json ? 0 : -ENOMEM;
}

static void cluster_name(const struct join *j, const struct hf_keys *keys, char name[HF_NAME_MAX + 1])
{
	struct hf_store_params p = { .keys = keys };
	unsigned lease, beat, rows, nodes;
	struct hf_store *s;
	uint8_t uuid[16];

	name[0] = 0;
	if (hf_store_open(j->url, &p, &s, NULL))
		return;
	s->ops->info(s, name, uuid, &lease, &beat, &rows, &nodes);
	s->ops->close(s);
}

/* This node's place on the disk: what one that was cut off was given already, or a new one. The note of it
 * stays when it is not known whether the disk has it. */
static int take(const struct join *j, const struct hf_keys *keys, struct hf_identity *id, struct hf_err *err)
{
	const char *dir = j->conf->state_dir, *name = j->conf->node_name;
	char old[HF_NAME_MAX + 1];
	struct hf_identity other;
	int ret = hf_joining_load(dir, id, old);

	if (!ret) {
		ret = hf_disk_slot_of(j->dev, keys, id->uuid, id, err);
		if (!ret && (strcmp(id->name, name) || strcmp(old, j->old ? j->old : ""))) {
			ret = hf_identity_save(dir, id, err);
			return ret ? ret : hf_fail(err, HF_EXISTS, -EEXIST,
						   "an earlier `holdfast %s` was cut off, and is done now: this node is %s of %s already",
						   *old ? "node replace" : "join", id->name, j->dev);
		}
		if (ret != -ENOENT)
			return ret;
	}
	*id = (struct hf_identity){ 0 };
	snprintf(id->name, sizeof(id->name), "%s", name);
	hf_uuid_make(id->uuid);
	/* nothing is noted for a disk that cannot be read, as with another key */
	ret = hf_disk_slot_of(j->dev, keys, id->uuid, &other, err);
	if (ret != -ENOENT)
		return ret;
	ret = hf_joining_save(dir, id, j->old ? j->old : "", err);
	if (ret)
		return ret;
	ret = j->old ? hf_disk_replace(j->dev, keys, id->uuid, j->old, name, id, err) :
	      hf_disk_take_slot(j->dev, keys, id->uuid, name, id, err);
	if (ret == -EBUSY || ret == -EEXIST || ret == -ENOENT)
		hf_joining_end(dir);
	return ret ? ret : hf_seam("join.taken");
}

static int join(struct join *j, char **json, struct hf_err *err)
{
	struct hf_conf *c = j->conf;
	struct hf_keys *keys = NULL;
	struct hf_identity id = { 0 };
	char cluster[HF_NAME_MAX + 1];
	bool wrote_conf = false, known, had_file = !access(c->path, F_OK);
	int ret;

	ret = crypto(err);
	if (!ret)
		ret = hf_keys_load(c->key_file, &keys, err);
	if (ret)
		return ret;
	if (j->has_identity) {
		ret = identity_on_disk(j, keys, &known, err);
		if (!ret && known)
			ret = hf_fail(err, HF_EXISTS, -EEXIST, "this node is %s of %s already (%s/identity)", j->had.name,
				      j->dev, c->state_dir);
		if (ret)
			goto out_keys;
	}
	ret = try_state_dir(c->state_dir, err);
	if (ret)
		goto out_keys;
	if (!c->url) {
		ret = hf_conf_write(c->path, j->url, err);
		if (ret)
			goto out_keys;
		wrote_conf = true;
	}
	ret = take(j, keys, &id, err);
	if (ret)
		goto err_conf;
	ret = hf_identity_save(c->state_dir, &id, err);
	if (ret)
		goto err_conf;
	if (json) {
		cluster_name(j, keys, cluster);
		ret = join_json(&id, j, cluster, json);
		if (ret)
			ret = hf_fail(err, HF_OK, ret, "out of memory; the node has joined all the same");
	}
	goto out_keys;

err_conf:
	if (wrote_conf && had_file) {
		char *dropin = hf_strf("%s.d/store.conf", c->path);

		if (dropin) {
			unlink(dropin);
			*strrchr(dropin, '/') = 0;
			rmdir(dropin);		/* unless it holds more */
		}
		free(dropin);
	} else if (wrote_conf) {
		unlink(c->path);
	}
out_keys:
	hf_keys_free(keys);
	return ret;
}

static int join_as(const char *conf, const char *dev, const char *old, char **json, struct hf_err *err)
{
	struct join j;
	size_t had;
	int ret;

	if (json)
		*json = NULL;
	ret = join_check(conf, dev, &j, err);
	j.old = old;
	if (!ret) {
		had = there(j.conf->state_dir);
		ret = join(&j, json, err);
		if (ret)
			unmake(j.conf->state_dir, had);
	}
	join_free(&j);
	return ret;
}

int hf_node_join(const char *conf, const char *dev, char **json, struct hf_err *err)
{
	return join_as(conf, dev, NULL, json, err);
}

int hf_node_replace(const char *conf, const char *dev, const char *old, char **json, struct hf_err *err)
{
	return join_as(conf, dev, old, json, err);
}

static int init(struct join *j, const char *conf, const struct hf_format *f, char **json, struct hf_err *err)
{
	struct hf_conf *c = j->conf;
	struct hf_conn *conn = NULL;
	bool made_key = false;
	int ret;

	if (!hf_connect(conf, &conn, NULL)) {
		hf_disconnect(conn);
		return hf_fail(err, HF_REFUSED, -EBUSY, "holdfastd is running on this node (runtime_dir = %s); stop it first",
			       c->runtime_dir);
	}
	ret = try_state_dir(c->state_dir, err);
	if (ret)
		return ret;
	if (access(c->key_file, F_OK) && errno == ENOENT && !getenv("CREDENTIALS_DIRECTORY")) {
		ret = keygen(c->key_file, err);
		if (ret)
			return ret;
		made_key = true;
	}
	ret = hf_disk_format(conf, j->dev, f, err);
	if (!ret)
		return join(j, json, err);
	if (made_key)		/* nothing was written under it */
		unlink(c->key_file);
	return ret;
}

int hf_node_init(const char *conf, const char *dev, const struct hf_format *f, char **json,
		 struct hf_err *err)
{
	struct join j;
	size_t had;
	int ret;

	if (json)
		*json = NULL;
	ret = join_check(conf, dev, &j, err);
	if (!ret) {
		had = there(j.conf->state_dir);
		ret = init(&j, conf, f, json, err);
		if (ret)
			unmake(j.conf->state_dir, had);
	}
	join_free(&j);
	return ret;
}

/* --- cluster-state ------------------------------------------------------------ */

static bool executable(const char *dir, size_t n)
{
	char *p = hf_strf("%.*s/holdfastd", (int)n, dir);
	struct stat st;
	bool yes = p && !stat(p, &st) && S_ISREG(st.st_mode) && (st.st_mode & 0111);

	free(p);
	return yes;
}

static bool installed(void)
{
	const char *path = getenv("PATH");
	char exe[PATH_MAX];
	ssize_t n;

	while (path && *path) {
		size_t len = strcspn(path, ":");

		if (len && executable(path, len))
			return true;
		path += len + (path[len] == ':');
	}
	if (executable("/usr/sbin", strlen("/usr/sbin")))
		return true;
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n <= 0)
		return false;
	exe[n] = 0;
	return executable(exe, strrchr(exe, '/') - exe);
}

static void add_member(struct json_object *to, struct json_object *from, const char *key)
{
	struct json_object *v;

	if (json_object_object_get_ex(from, key, &v))
		json_object_object_add(to, key, json_object_get(v));
}

/* 3 or 19; @o gets cluster and node from the daemon */
static int ask_daemon(const char *conf, struct json_object *o, struct hf_err *err)
{
	struct hf_conn *conn;
	struct json_object *pong;
	char *text = NULL;
	int ret;

	ret = hf_connect(conf, &conn, err);
	if (ret)
		return 3;
	ret = hf_call(conn, "ping", NULL, NULL, NULL, &text, err);
	hf_disconnect(conn);
	if (ret && err->exit == HF_NODAEMON)
		return 3;
	pong = text ? json_tokener_parse(text) : NULL;
	if (json_object_is_type(pong, json_type_object)) {
		add_member(o, pong, "cluster");
		add_member(o, pong, "node");
	}
	json_object_put(pong);
	free(text);
	return 19;
}

int hf_cluster_state(const char *conf, char **json)
{
	struct json_object *o = json_object_new_object();
	struct hf_conf *c = NULL;
	struct hf_identity id;
	struct hf_err err = { 0 };
	int state = 1, ret;

	ret = hf_conf_load(conf, &c, &err);
	if (!ret && !c->url)
		hf_fail(&err, HF_OK, -ENOENT, "%s: names no store; run holdfast init or join", c->path);
	if (!ret && c->url) {
		ret = hf_identity_load(c->state_dir, &id, &err);
		if (!ret)
			json_object_object_add(o, "node", json_object_new_string(id.name));
		/* who may not look is not told that there is nothing */
		if (!ret || ret == -EACCES)
			state = ask_daemon(conf, o, &err);
	}
	if (state == 1 && !installed()) {
		state = 0;
		hf_fail(&err, HF_OK, -ENOENT, "holdfastd is neither in PATH nor in /usr/sbin");
	}
	json_object_object_add(o, "state", json_object_new_string(state == 0 ? "not-installed" : state == 1 ?
				"not-configured" : state == 3 ? "not-running" : "running"));
	json_object_object_add(o, "code", json_object_new_int(state));
	if (state != 19 && err.msg[0])
		json_object_object_add(o, "why", json_object_new_string(err.msg));
	if (json)
		*json = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
							      JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
	hf_conf_free(c);
	return state;
}
