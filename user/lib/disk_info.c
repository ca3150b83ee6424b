// SPDX-License-Identifier: LGPL-2.1-or-later
/* What a quorum disk says of itself. Never writes, and works without a daemon; without the
 * right key only the superblock can be read. */
#include "disk_look.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void look_str(struct json_object *o, const char *k, const char *v)
{
	char *s = hf_printable(v, strlen(v));

	json_object_object_add(o, k, s ? json_object_new_string(s) : NULL);
	free(s);
}

void look_num(struct json_object *o, const char *k, uint64_t v)
{
	json_object_object_add(o, k, json_object_new_uint64(v));
}

static void add_bool(struct json_object *o, const char *k, bool v)
{
	json_object_object_add(o, k, json_object_new_boolean(v));
}

static void add_uuid(struct json_object *o, const char *k, const uint8_t u[16])
{
	char s[37];

	hf_uuid_str(u, s);
	look_str(o, k, s);
}

static struct json_object *super_json(const struct super *sb, bool authentic)
{
	struct json_object *o = json_object_new_object();

	look_str(o, "cluster", sb->cluster);
	add_uuid(o, "cluster_uuid", sb->cluster_uuid);
	add_uuid(o, "disk_uuid", sb->disk_uuid);
	add_uuid(o, "set_uuid", sb->set_uuid);
	look_num(o, "set_epoch", sb->set_epoch);
	look_num(o, "version", HFD_VERSION);
	look_num(o, "compat", sb->compat);
	look_num(o, "ro_compat", sb->ro_compat);
	look_num(o, "incompat", sb->incompat);
	look_num(o, "size", sb->size);
	look_num(o, "nodes_max", sb->nodes);
	look_num(o, "resources_max", sb->rows - 1);
	look_num(o, "lease_ms", sb->lease_ms);
	look_num(o, "beat_ms", sb->beat_ms);
	look_num(o, "nodes_possible", sb->slots);
	look_num(o, "area_size", super_area(sb, 0));
	look_num(o, "created_ms", sb->created_ns / 1000000);
	add_bool(o, "authenticated", authentic);
	return o;
}

static struct json_object *nodes_json(struct disk *d)
{
	struct hf_node_info *v = malloc(HF_MAX_NODES * sizeof(*v));
	struct json_object *a = json_object_new_array();
	int n = v ? nodes_list(d, v, HF_MAX_NODES) : 0;

	for (int i = 0; i < n; i++) {
		struct json_object *o = json_object_new_object();

		look_num(o, "slot", v[i].slot);
		look_str(o, "name", v[i].name);
		look_str(o, "host", v[i].host);
		add_uuid(o, "uuid", v[i].uuid);
		add_uuid(o, "incarnation", v[i].incarnation);
		look_num(o, "beats", v[i].counter);
		look_num(o, "area_size", super_area(&d->sb, v[i].slot));
		look_str(o, "version", v[i].version);
		/* one reading cannot tell up from down */
		look_str(o, "state", d->seen[v[i].slot].status == SLOT_BAD ? "damaged" :
			 v[i].state == HF_NODE_LEFT ? "left" : "unknown");
		json_object_array_add(a, o);
	}
	free(v);
	return a;
}

/* those that a node may join into */
static struct json_object *free_json(struct disk *d)
{
	struct json_object *a = json_object_new_array();

	for (uint32_t i = 0; i < d->sb.nodes; i++)
		if (node_state(d, i) == HF_NODE_FREE)
			json_object_array_add(a, json_object_new_int64(i));
	return a;
}

static struct json_object *dirs_json(struct disk *d)
{
	struct json_object *a = json_object_new_array();
	const char *path, *state;

	for (unsigned i = 0; !dir_look(d, i, &path, &state); i++) {
		struct json_object *o = json_object_new_object();

		look_str(o, "directory", path);
		look_str(o, "state", state);
		json_object_array_add(a, o);
	}
	return a;
}

/* Both copies, whatever the key: what each of them is. @sb: the one that counts. @dir: where, or NULL */
static int copies(const uint8_t *p, const char *dir, const struct hf_keys *keys, struct json_object *a,
		  struct super *sb, bool *authentic, struct hf_err *err)
{
	struct super s[2];
	int ret[2], best;
	bool own[2];

	for (int i = 0; i < 2; i++) {
		struct json_object *o = json_object_new_object();
		struct hf_err e = { 0 };

		ret[i] = super_in(&s[i], NULL, p + i * HFD_SECTOR, &e);
		own[i] = !ret[i] && keys && !super_in(&s[i], keys, p + i * HFD_SECTOR, &e);
		if (!ret[i] && keys && !own[i]) {
			super_in(&s[i], NULL, p + i * HFD_SECTOR, NULL);
			look_str(o, "state", "other-key");
		} else {
			look_str(o, "state", !ret[i] ? "sound" : ret[i] == -ENODEV ? "absent" :
				 ret[i] == -ENOTSUP ? "newer" : "damaged");
		}
		if (dir)
			look_str(o, "directory", dir);
		look_num(o, "copy", i + 1);
		look_num(o, "offset", i * HFD_SECTOR);
		if (!ret[i])
			look_num(o, "sequence", s[i].seq);
		json_object_array_add(a, o);
		if (ret[i] && (!i || ret[0]))
			*err = e;
	}
	best = !ret[0] && (ret[1] || s[0].seq >= s[1].seq) ? 0 : 1;
	if (ret[best])
		return ret[0] == -ENODEV ? ret[1] : ret[0];
	*sb = s[best];
	*authentic = own[best];
	return 0;
}

/* The device, or the superblocks of the first directory that answers. */
static int open_super(const char *url, struct hf_err *err)
{
	char *path[DIR_MAX] = { NULL }, file[PATH_MAX];
	int fd = -1, ret = 0;

	if (strncmp(url, "dir:", 4)) {
		fd = open(url, O_RDONLY | O_CLOEXEC);
		ret = fd < 0 ? -errno : 0;
	} else {
		ret = dir_split(url + 4, path, err);
		if (ret < 0)
			return ret;
		for (unsigned i = 0; i < DIR_MAX && path[i] && fd < 0; i++) {
			ret = dir_file(path[i], "super", -1, file, sizeof(file));
			fd = ret ? -1 : open(file, O_RDONLY | O_CLOEXEC);
			ret = ret ? ret : fd < 0 ? -errno : 0;
		}
		dir_unsplit(path);
	}
	return fd >= 0 ? fd : hf_fail(err, ret == -EACCES ? HF_PERM : HF_UNAVAIL, ret, "%s cannot be opened: %s",
				      url, strerror(-ret));
}

/* What can be told of the device whatever the key, and though it may be no quorum disk. */
static int look_raw(struct look *k, struct hf_err *err)
{
	uint8_t *p = dio_alloc(2 * HFD_SECTOR);
	struct json_object *a = json_object_new_array();
	int fd = open_super(k->path, err), ret = fd;
	struct super sb;
	struct hf_err e = { 0 };
	char what[128] = "";
	bool authentic;
	struct stat st;

	if (fd < 0)
		goto out;
	if (!p) {
		ret = hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
		goto out;
	}
	if (!fstat(fd, &st) && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		ret = hf_fail(err, HF_USAGE, -ENOTBLK, "%s is neither a block device nor a file", k->path);
		goto out;
	}
	ret = hf_pread_full(fd, p, 2 * HFD_SECTOR, 0);
	if (ret) {
		if (ret == -ENODATA)
			hf_fail(err, HF_DAMAGED, ret, "%s is no quorum disk: it has less than the %u bytes of a superblock's two copies",
				k->path, 2 * HFD_SECTOR);
		else
			hf_fail(err, HF_UNAVAIL, ret, "%s cannot be read: %s", k->path, strerror(-ret));
		goto out;
	}
	ret = copies(p, NULL, k->keys, a, &sb, &authentic, &e);
	if (!ret) {
		k->out = super_json(&sb, authentic);
		json_object_object_add(k->out, "superblocks", json_object_get(a));
	} else if (ret == -ENODEV) {
		hf_fail(err, HF_DAMAGED, ret, "%s is no quorum disk: %s%s; holdfast init makes one", k->path,
			disk_carries(fd, what, sizeof(what)) > 0 ? "it carries " : "nothing known is on it", what);
	} else {
		hf_fail(err, e.exit, ret, "%s: %s%s", k->path, e.msg, ret == -EBADMSG ?
			", in both copies (offset 0 and 4096): copy one back from an image of the disk, or format it anew" : "");
	}
out:
	if (fd >= 0)
		close(fd);
	json_object_put(a);
	free(p);
	return ret;
}

/* In each directory that counts: a reader manages with one copy of all of them. */
static struct json_object *dirs_copies(struct look *k)
{
	struct json_object *a = json_object_new_array();
	uint8_t *p = dio_alloc(2 * HFD_SECTOR);
	const char *path;
	int fd;

	for (unsigned i = 0; p && (fd = dir_super(k->d, i, &path)) != -ECHILD; i++) {
		int ret = fd < 0 ? fd : hf_pread_full(fd, p, 2 * HFD_SECTOR, 0);
		struct super sb;
		struct hf_err e;
		bool authentic;

		if (fd == -ENODEV)
			continue;
		if (fd >= 0)
			close(fd);
		if (ret) {
			struct json_object *o = json_object_new_object();

			look_str(o, "directory", path);
			look_str(o, "state", "unreadable");
			look_str(o, "error", ret == -ENODATA ? "it is too small" : strerror(-ret));
			json_object_array_add(a, o);
		} else {
			copies(p, path, k->keys, a, &sb, &authentic, &e);
		}
	}
	free(p);
	return a;
}

int look_open(struct look *k, const char *conf, const char *dev, bool need_key, struct hf_err *err)
{
	struct json_object *o;
	struct hf_err e = { 0 };
	int ret = hf_conf_load(conf, &k->conf, err), why = 0;
	bool dirs;

	if (ret)
		return ret;
	if (!dev && !k->conf->url)
		return hf_fail(err, HF_USAGE, -EINVAL, "no disk is named, and none is configured in %s", k->conf->path);
	k->path = dev ? dev : !strncmp(k->conf->url, "disk:", 5) ? k->conf->url + 5 : k->conf->url;
	if (need_key || !access(k->conf->key_file, F_OK) || getenv("CREDENTIALS_DIRECTORY"))
		why = hf_keys_load(k->conf->key_file, &k->keys, &e);
	if (why && need_key)
		return hf_fail(err, e.exit, why, "%s", e.msg);
	dirs = !strncmp(k->path, "dir:", 4);
	ret = look_raw(k, err);
	/* which directory counts tells who has the key */
	if (ret && (!dirs || !k->keys))
		return ret;
	if (why)
		return hf_fail(err, e.exit, why, "%s", e.msg);
	if (!k->keys)
		return 0;
	ret = disk_open_ro(k->path, k->keys, &k->d, err);
	if (!ret) {
		ret = nodes_read(k->d);
		if (ret)
			hf_fail(err, HF_UNAVAIL, ret, "%s cannot be read: %s", k->path, strerror(-ret));
	}
	if (ret)
		return ret;
	o = super_json(&k->d->sb, true);
	if (dirs)
		json_object_object_add(o, "directories", dirs_json(k->d));
	json_object_object_add(o, "superblocks", dirs ? dirs_copies(k) :
			       json_object_get(json_object_object_get(k->out, "superblocks")));
	json_object_object_add(o, "nodes", nodes_json(k->d));
	json_object_object_add(o, "slots_free", free_json(k->d));
	json_object_put(k->out);
	k->out = o;
	return 0;
}

void look_close(struct look *k, char **json)
{
	if (json)
		*json = k->out ? strdup(json_object_to_json_string_ext(k->out, JSON_C_TO_STRING_PLAIN |
								      JSON_C_TO_STRING_NOSLASHESCAPE)) : NULL;
	json_object_put(k->out);
	if (k->d)
		disk_close(&k->d->store);
	hf_keys_free(k->keys);
	hf_conf_free(k->conf);
}

struct json_object *look_log(struct disk *d, uint32_t row, const struct claim_rec *acc)
{
	struct json_object *o = json_object_new_object();
	char name[HF_NAME_MAX + 1];

	node_name(d, acc->acc.slot, name);
	look_num(o, "row", row);
	add_uuid(o, "log", acc->log);
	look_num(o, "epoch", acc->acc.epoch);
	look_str(o, "owner", name);
	add_bool(o, "released", acc->flags & CLAIM_RELEASED);
	look_num(o, "confirmed", acc->gen);
	look_num(o, "base", acc->acc.base.gen);
	return o;
}

int look_each_log(const struct row *r, uint32_t row,
		  int (*fn)(void *ctx, uint32_t row, const struct claim_rec *acc), void *ctx)
{
	int ret = 0;

	for (uint32_t i = 0; i < r->nodes && !ret; i++) {
		const struct claim_rec *acc;
		bool first = r->status[i] == SLOT_OK;

		for (uint32_t k = 0; k < i && first; k++)
			first = r->status[k] != SLOT_OK || memcmp(r->rec[k].log, r->rec[i].log, 16);
		acc = first ? row_accepted(r, r->rec[i].log) : NULL;
		if (acc)
			ret = fn(ctx, row, acc);
	}
	return ret;
}

/* Read after the rows, so that what is in a row and not here is registered no more. */
void look_names(struct disk *d, struct json_object *logs)
{
	struct hf_reg *reg = NULL;
	struct hf_logid id;
	char own[37];

	hf_reg_logid(&id);
	hf_uuid_str(id.uuid, own);
	hf_reg_load(&d->store, &reg, NULL);
	for (size_t i = 0; i < json_object_array_length(logs); i++) {
		struct json_object *o = json_object_array_get_idx(logs, i);
		const char *log = json_object_get_string(json_object_object_get(o, "log")), *name = NULL;

		for (unsigned n = 0; reg && n < reg->nres; n++) {
			char s[37];

			hf_uuid_str(reg->res[n].id.uuid, s);
			if (!strcmp(s, log))
				name = reg->res[n].name;
		}
		json_object_object_add(o, "resource", name ? json_object_new_string(name) : NULL);
		/* what was deleted; its space comes back */
		if (reg)
			add_bool(o, "orphan", !name && strcmp(log, own));
		else
			json_object_object_add(o, "orphan", NULL);
	}
	hf_reg_free(reg);
}

static int info_log(void *ctx, uint32_t row, const struct claim_rec *acc)
{
	struct look *k = ctx;

	json_object_array_add(json_object_object_get(k->out, "logs"), look_log(k->d, row, acc));
	return 0;
}

int hf_disk_info(const char *conf, const char *dev, char **json, struct hf_err *err)
{
	struct look k = { 0 };
	struct row *r = NULL;
	int ret = look_open(&k, conf, dev, false, err);

	if (ret || !k.d)
		goto out;
	json_object_object_add(k.out, "logs", json_object_new_array());
	r = malloc(sizeof(*r));
	if (!r)
		ret = -ENOMEM;
	for (uint32_t row = 0; row < k.d->sb.rows && !ret; row++) {
		ret = row_read(k.d, row, r);
		if (!ret)
			ret = look_each_log(r, row, info_log, &k);
	}
	if (ret)
		hf_fail(err, HF_UNAVAIL, ret, "%s cannot be read: %s", k.path, strerror(-ret));
	else
		look_names(k.d, json_object_object_get(k.out, "logs"));
out:
	free(r);
	look_close(&k, json);
	return ret;
}
