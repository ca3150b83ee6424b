// SPDX-License-Identifier: LGPL-2.1-or-later
/* What a quorum disk says of itself, and whether it is sound. Never writes, and works
 * without a daemon; without the key only the superblock can be read. */
#include "dir_int.h"
#include "conf.h"
#include "reg.h"
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>

static void add_str(struct json_object *o, const char *k, const char *v)
{
	char *s = hf_printable(v, strlen(v));

	json_object_object_add(o, k, s ? json_object_new_string(s) : NULL);
	free(s);
}

static void add_num(struct json_object *o, const char *k, uint64_t v)
{
	json_object_object_add(o, k, json_object_new_uint64(v));
}

static void add_uuid(struct json_object *o, const char *k, const uint8_t u[16])
{
	char s[37];

	hf_uuid_str(u, s);
	add_str(o, k, s);
}

static struct json_object *super_json(const struct super *sb, bool authentic)
{
	struct json_object *o = json_object_new_object();

	add_str(o, "cluster", sb->cluster);
	add_uuid(o, "cluster_uuid", sb->cluster_uuid);
	add_uuid(o, "disk_uuid", sb->disk_uuid);
	add_uuid(o, "set_uuid", sb->set_uuid);
	add_num(o, "set_epoch", sb->set_epoch);
	add_num(o, "version", HFD_VERSION);
	add_num(o, "compat", sb->compat);
	add_num(o, "ro_compat", sb->ro_compat);
	add_num(o, "incompat", sb->incompat);
	add_num(o, "size", sb->size);
	add_num(o, "nodes_max", sb->nodes);
	add_num(o, "resources_max", sb->rows - 1);
	add_num(o, "lease_ms", sb->lease_ms);
	add_num(o, "beat_ms", sb->beat_ms);
	add_num(o, "nodes_possible", sb->slots);
	add_num(o, "area_size", super_area(sb, 0));
	add_num(o, "created_ms", sb->created_ns / 1000000);
	json_object_object_add(o, "authenticated", json_object_new_boolean(authentic));
	return o;
}

static const char *state_name(enum hf_node_state s)
{
	static const char *const n[] = { "free", "up", "down", "left", "unknown" };

	return n[s];
}

static struct json_object *nodes_json(struct disk *d)
{
	struct hf_node_info *v = malloc(HF_MAX_NODES * sizeof(*v));
	struct json_object *a = json_object_new_array();
	int n = v ? nodes_list(d, v, HF_MAX_NODES) : 0;

	for (int i = 0; i < n; i++) {
		struct json_object *o = json_object_new_object();

		add_num(o, "slot", v[i].slot);
		add_str(o, "name", v[i].name);
		add_str(o, "host", v[i].host);
		add_uuid(o, "uuid", v[i].uuid);
		add_uuid(o, "incarnation", v[i].incarnation);
		add_num(o, "beats", v[i].counter);
		add_num(o, "area_size", super_area(&d->sb, v[i].slot));
		add_str(o, "version", v[i].version);
		/* one reading cannot tell up from down */
		add_str(o, "state", v[i].state == HF_NODE_LEFT ? "left" : state_name(HF_NODE_UNKNOWN));
		json_object_array_add(a, o);
	}
	free(v);
	return a;
}

static void add_dirs(struct json_object *o, struct disk *d)
{
	struct json_object *a = json_object_new_array();
	const char *path, *state;

	for (unsigned i = 0; !dir_look(d, i, &path, &state); i++) {
		struct json_object *one = json_object_new_object();

		add_str(one, "directory", path);
		add_str(one, "state", state);
		json_object_array_add(a, one);
	}
	if (json_object_array_length(a))
		json_object_object_add(o, "directories", a);
	else
		json_object_put(a);
}

static int find_conf(const char *conf, const char *dev, struct hf_conf **cf, const char **path, struct hf_err *err)
{
	int ret = hf_conf_load(conf, cf, err);

	if (ret)
		return ret;
	if (!dev && !(*cf)->url) {
		hf_fail(err, HF_USAGE, -EINVAL, "no disk is named, and none is configured in %s", (*cf)->path);
		hf_conf_free(*cf);
		*cf = NULL;
		return -EINVAL;
	}
	*path = dev ? dev : !strncmp((*cf)->url, "disk:", 5) ? (*cf)->url + 5 : (*cf)->url;
	return 0;
}

/* the superblock alone, as whoever has no key sees it */
static int info_without_key(const char *path, char **json, struct hf_err *err)
{
	uint8_t *p = dio_alloc(2 * HFD_SECTOR);
	struct super sb;
	struct hf_err e = { 0 };
	char *file = strncmp(path, "dir:", 4) ? strdup(path) : hf_strf("%.*s/super", (int)strcspn(path + 4, ":"), path + 4);
	int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1, ret;

	if (fd < 0 || !p) {
		ret = hf_fail(err, HF_UNAVAIL, fd < 0 ? -errno : -ENOMEM, "%s cannot be opened: %s", path, strerror(errno));
		goto out;
	}
	ret = hf_pread_full(fd, p, 2 * HFD_SECTOR, 0);
	if (ret) {
		hf_fail(err, ret == -ENODATA ? HF_DAMAGED : HF_UNAVAIL, ret, "%s cannot be read, or is no quorum disk", path);
		goto out;
	}
	ret = super_in(&sb, NULL, p, &e);
	if (ret)
		ret = super_in(&sb, NULL, p + HFD_SECTOR, &e);
	if (ret) {
		hf_fail(err, e.exit, ret, "%s: %s", path, e.msg);
		goto out;
	}
	struct json_object *o = super_json(&sb, false);

	*json = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
out:
	if (fd >= 0)
		close(fd);
	free(file);
	free(p);
	return ret;
}

/* each log that a row holds claims of, once */
static int each_log(struct disk *d, uint32_t row, struct row *r,
		    int (*fn)(void *ctx, uint32_t row, const struct claim_rec *acc), void *ctx)
{
	int ret = row_read(d, row, r);

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

struct look {
	struct disk *d;
	struct json_object *logs, *bad, *torn;
	uint64_t records, bytes, contents;
	struct hf_reg *reg;	/* NULL: not asked, or not to be read */
	bool check;
};

static int log_info(void *ctx, uint32_t row, const struct claim_rec *acc)
{
	struct look *k = ctx;
	struct json_object *o = json_object_new_object();
	char name[HF_NAME_MAX + 1];

	node_name(k->d, acc->acc.slot, name);
	add_num(o, "row", row);
	add_uuid(o, "log", acc->log);
	add_num(o, "epoch", acc->acc.epoch);
	add_str(o, "owner", name);
	json_object_object_add(o, "released", json_object_new_boolean(acc->flags & CLAIM_RELEASED));
	add_num(o, "confirmed", acc->gen);
	add_num(o, "base", acc->acc.base.gen);
	json_object_array_add(k->logs, o);
	return 0;
}

int hf_disk_info(const char *conf, const char *dev, char **json, struct hf_err *err)
{
	struct hf_conf *cf = NULL;
	struct hf_keys *keys = NULL;
	struct disk *d = NULL;
	struct look k = { 0 };
	struct row *r = NULL;
	struct json_object *o;
	const char *path;
	int ret = find_conf(conf, dev, &cf, &path, err);

	*json = NULL;
	if (ret)
		return ret;
	if (access(cf->key_file, F_OK)) {
		ret = info_without_key(path, json, err);
		goto out;
	}
	ret = hf_keys_load(cf->key_file, &keys, err);
	if (!ret)
		ret = disk_open_ro(path, keys, &d, err);
	if (!ret)
		ret = nodes_read(d);
	if (ret)
		goto out;
	r = malloc(sizeof(*r));
	o = super_json(&d->sb, true);
	add_dirs(o, d);
	json_object_object_add(o, "nodes", nodes_json(d));
	k.d = d;
	k.logs = json_object_new_array();
	for (uint32_t row = 0; r && row < d->sb.rows && !ret; row++)
		ret = each_log(d, row, r, log_info, &k);
	json_object_object_add(o, "logs", k.logs);
	if (ret)
		hf_fail(err, HF_UNAVAIL, ret, "%s cannot be read: %s", path, strerror(-ret));
	else
		*json = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
out:
	free(r);
	if (d)
		disk_close(&d->store);
	hf_keys_free(keys);
	hf_conf_free(cf);
	return ret;
}

static void finding(struct look *k, uint32_t row, const char *what)
{
	struct json_object *o = json_object_new_object();

	add_num(o, "row", row);
	add_str(o, "what", what);
	json_object_array_add(k->bad, o);
}

/* Not damage: a write that was cut off leaves the same, and the other copy has what counts. */
static void torn(struct look *k, uint32_t row, const char *whose, uint32_t slot)
{
	struct json_object *o = json_object_new_object();
	char what[128];

	snprintf(what, sizeof(what), "one copy of the %s of node slot %u is torn or damaged; the other one counts", whose, slot);
	add_num(o, "row", row);
	add_str(o, "what", what);
	json_object_array_add(k->torn, o);
}

/* Both copies are written once, and again by whoever changes the disk's size. */
static int check_super(struct look *k, int fd, const char *where)
{
	uint8_t *p = dio_alloc(2 * HFD_SECTOR);
	int ret = p ? hf_pread_full(fd, p, 2 * HFD_SECTOR, 0) : -ENOMEM;
	char what[PATH_MAX + 200];
	struct hf_err e[2] = { 0 };
	struct super sb;
	bool bad[2] = { false };

	for (unsigned i = 0; i < 2 && !ret; i++)
		bad[i] = super_in(&sb, k->d->keys, p + i * HFD_SECTOR, &e[i]);
	for (unsigned i = 0; i < 2 && !ret; i++) {
		if (!bad[i])
			continue;
		snprintf(what, sizeof(what), "%scopy %u of the superblock cannot be used (%.100s)%s", where, i + 1, e[i].msg,
			 bad[!i] ? "" : "; the other one is sound");
		finding(k, 0, what);
	}
	free(p);
	return ret;
}

/* The disk's, or one in each directory that counts: there one that cannot be read is a finding too. */
static int check_supers(struct look *k)
{
	char where[PATH_MAX + 4], what[PATH_MAX + 200];
	const char *path;
	int fd;

	if (!k->d->dirs)
		return check_super(k, k->d->fd, "");
	for (unsigned i = 0; (fd = dir_super(k->d, i, &path)) != -ECHILD; i++) {
		int ret;

		if (fd == -ENODEV)
			continue;
		snprintf(where, sizeof(where), "%s: ", path);
		ret = fd < 0 ? fd : check_super(k, fd, where);
		if (fd >= 0)
			close(fd);
		if (ret == -ENOMEM)
			return ret;
		if (ret) {
			snprintf(what, sizeof(what), "%sits superblock cannot be read: %s", where,
				 ret == -ENODATA ? "it is too small" : strerror(-ret));
			finding(k, 0, what);
		}
	}
	return 0;
}

static int count_rec(void *ctx, const struct hf_rec *r)
{
	struct look *k = ctx;

	k->records++;
	k->bytes += r->len;
	return 0;
}

static int count_sink(void *ctx, const void *p, size_t n)
{
	((struct look *)ctx)->contents += n;
	return 0;
}

/* What was deleted is told of by its row still, and its space may be another's by now. */
static bool deleted(const struct look *k, uint32_t row, const uint8_t log[16])
{
	if (!row || !k->reg || !k->reg->gen)
		return false;
	for (unsigned i = 0; i < k->reg->nres; i++)
		if (!memcmp(k->reg->res[i].id.uuid, log, 16))
			return false;
	return true;
}

struct item_look { struct look *k; struct hf_log *l; uint32_t row; };

static int check_item(void *ctx, const struct hf_item *it)
{
	struct item_look *c = ctx;
	struct hf_err e = { 0 };
	int ret = hf_log_content(c->l, it->key, it->keylen, count_sink, c->k, &e);

	if (ret == -EBADMSG) {
		finding(c->k, c->row, e.msg);
		return 0;
	}
	return ret;
}

/* Does the incarnation that accepted this epoch still hold it, as far as the disk tells? */
static bool held(const struct disk *d, const struct claim_rec *acc)
{
	const struct seen *s = &d->seen[acc->acc.slot % HF_MAX_NODES];

	return !(acc->flags & CLAIM_RELEASED) && acc->acc.slot < d->sb.slots && s->status == SLOT_OK &&
	       s->rec.state == NODE_ST_UP && !memcmp(s->rec.incarnation, acc->acc.incarnation, 16);
}

/*
 * The records of a log. The past of an epoch that is held is trimmed by its owner alone, who says so in
 * the row first; any other past may go when somebody needs the room, so what cannot be read of that may have gone. A
 * log is live while it is checked: what looks damaged counts if the row is then as it was.
 */
static int records_check(struct look *k, uint32_t row, const struct claim_rec *acc)
{
	struct walk_opts all = { .history = true, .verify_tails = true, .fn = count_rec, .ctx = k };
	struct walk_opts newest = { .verify_tails = true }, kept = { .kept = true, .verify_tails = true };
	struct walk_end end;
	struct hf_err e = { 0 };
	struct row *r;
	int ret = log_walk(k->d, acc, &all, &end, &e);

	if (ret == -EBADMSG)
		ret = log_walk(k->d, acc, &newest, &end, &e);
	/* one that a newer base follows is not needed */
	if (!ret && end.damaged.place && end.damaged.place == end.base.place)
		ret = hf_fail(&e, HF_DAMAGED, -EBADMSG,
			      "%s: the base of generation %llu at offset %llu is damaged; what it held can be put together from what came before it",
			      k->d->path, (unsigned long long)end.damaged.gen, (unsigned long long)end.damaged.place);
	if (!ret && held(k->d, acc))
		ret = log_walk(k->d, acc, &kept, &end, &e);
	if (ret != -EBADMSG)
		return ret;
	r = malloc(sizeof(*r));
	ret = r ? row_read(k->d, row, r) : -ENOMEM;
	if (!ret && claim_same_place(row_accepted(r, acc->log), acc))
		finding(k, row, e.msg);
	free(r);
	return ret;
}

static int log_check(void *ctx, uint32_t row, const struct claim_rec *acc)
{
	struct look *k = ctx;
	struct hf_logid id = { .row = row };
	struct item_look c = { .k = k, .row = row };
	struct hf_err e = { 0 };
	size_t found = json_object_array_length(k->bad);
	int ret;

	if (deleted(k, row, acc->log))
		return 0;
	log_info(ctx, row, acc);
	memcpy(id.uuid, acc->log, 16);
	snprintf(id.name, sizeof(id.name), "row %u", row);
	ret = records_check(k, row, acc);
	if (!ret)
		ret = hf_log_read(&k->d->store, &id, 0, &c.l, &e);
	if (ret == -EBADMSG) {
		if (json_object_array_length(k->bad) == found)
			finding(k, row, e.msg);
		return 0;
	}
	size_t before = json_object_array_length(k->bad), now;

	for (unsigned tries = 0; !ret; tries++) {
		ret = hf_log_each(c.l, "", 0, check_item, &c);
		hf_log_close(c.l);
		c.l = NULL;
		now = json_object_array_length(k->bad);
		if (ret || now == before || tries == 3)
			break;
		/* a new base may have copied them meanwhile, and their place was used again */
		json_object_array_del_idx(k->bad, before, now - before);
		ret = hf_log_read(&k->d->store, &id, 0, &c.l, &e);
	}
	hf_log_close(c.l);
	return ret;
}

int hf_disk_check(const char *conf, const char *dev, char **json, struct hf_err *err)
{
	struct hf_conf *cf = NULL;
	struct hf_keys *keys = NULL;
	struct disk *d = NULL;
	struct row *r = NULL;
	struct look k = { .check = true };
	struct json_object *o;
	const char *path;
	size_t bad;
	int ret = find_conf(conf, dev, &cf, &path, err);

	*json = NULL;
	if (ret)
		return ret;
	ret = hf_keys_load(cf->key_file, &keys, err);
	if (!ret)
		ret = disk_open_ro(path, keys, &d, err);
	if (!ret && !(r = malloc(sizeof(*r))))
		ret = -ENOMEM;
	if (!ret)
		ret = nodes_read(d);
	if (ret)
		goto out;
	o = super_json(&d->sb, true);
	add_dirs(o, d);
	json_object_object_add(o, "nodes", nodes_json(d));
	k.d = d;
	k.logs = json_object_new_array();
	k.bad = json_object_new_array();
	k.torn = json_object_new_array();
	ret = check_supers(&k);
	for (uint32_t i = 0; i < d->sb.slots; i++)
		if (d->seen[i].torn) {
			torn(&k, 0, "row", i);
		} else if (d->seen[i].status == SLOT_BAD) {
			char what[96];

			snprintf(what, sizeof(what), "the row of node slot %u is damaged in both copies", i);
			finding(&k, 0, what);
		}
	/* if they are damaged, that is found below */
	if (hf_reg_load(&d->store, &k.reg, NULL))
		k.reg = NULL;
	for (uint32_t row = 0; row < d->sb.rows && !ret; row++) {
		ret = each_log(d, row, r, log_check, &k);
		for (uint32_t i = 0; i < r->nodes && !ret; i++)
			if (r->torn[i]) {
				torn(&k, row, "claims", i);
			} else if (r->status[i] == SLOT_BAD) {
				char what[96];

				snprintf(what, sizeof(what), "the claims of node slot %u in row %u are damaged in both copies", i, row);
				finding(&k, row, what);
			}
	}
	json_object_object_add(o, "logs", k.logs);
	add_num(o, "records", k.records);
	add_num(o, "record_bytes", k.bytes);
	add_num(o, "content_bytes", k.contents);
	hf_reg_free(k.reg);
	bad = json_object_array_length(k.bad);
	json_object_object_add(o, "findings", k.bad);
	json_object_object_add(o, "torn", k.torn);
	*json = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	if (ret)
		hf_fail(err, HF_UNAVAIL, ret, "%s cannot be read: %s", path, strerror(-ret));
	else if (bad)
		ret = hf_fail(err, HF_DAMAGED, -EBADMSG, "%s is damaged: %s%s", path,
			      json_object_get_string(json_object_object_get(json_object_array_get_idx(k.bad, 0), "what")),
			      bad > 1 ? ", and more" : "");
	json_object_put(o);
out:
	free(r);
	if (d)
		disk_close(&d->store);
	hf_keys_free(keys);
	hf_conf_free(cf);
	return ret;
}
