// SPDX-License-Identifier: LGPL-2.1-or-later
/* Whether a quorum disk is sound: superblock, rows, every log with its history, and what is
 * in use of the areas. Never writes, and works while daemons do. */
#include "disk_look.h"
#include <stdio.h>
#include <stdlib.h>

struct json_object *check_say(struct check *k, uint32_t row, const char *kind, const char *fmt, ...)
{
	struct json_object *o = json_object_new_object();
	char text[768];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (row != UINT32_MAX)
		look_num(o, "row", row);
	look_str(o, "kind", kind);
	look_str(o, "what", text);
	return o;
}

void check_place(struct check *k, struct json_object *o, uint32_t slot, uint64_t place)
{
	char name[HF_NAME_MAX + 1];

	node_name(k->d, slot, name);
	look_num(o, "slot", slot);
	look_str(o, "node", name);
	look_num(o, "offset", place);
}

void check_tick(struct check *k)
{
	if (k->progress)
		k->progress(k->ctx, k->rows, k->d->sb.rows, k->contents);
}

static bool registered(const struct check *k, const uint8_t log[16])
{
	/* of a store that was never used by a daemon nothing is told */
	bool known = !k->reg || !k->reg->gen;

	for (unsigned i = 0; !known && i < k->reg->nres; i++)
		known = !memcmp(k->reg->res[i].id.uuid, log, 16);
	return known;
}

static void registrations(struct check *k)
{
	hf_reg_free(k->reg);
	k->reg = NULL;
	if (hf_reg_load(&k->d->store, &k->reg, NULL))
		k->reg = NULL;
}

bool check_deleted(struct check *k, uint32_t row, const uint8_t log[16], bool anew)
{
	if (!row || (!anew && registered(k, log)))
		return false;
	registrations(k);	/* it may have been registered since */
	return !registered(k, log);
}

/*
 * The two sectors of a slot, of row @row of claims or of the nodes (UINT32_MAX). One that is
 * torn beside one that is whole is what a crash leaves; what is written just now is not. @p: as they
 * were read with the whole row.
 */
static int slot_look(struct check *k, uint32_t row, uint32_t slot, uint8_t *p)
{
	const struct super *sb = &k->d->sb;
	uint64_t off = (row == UINT32_MAX ? sb->node_off : sb->row_off + row * sb->row_stride) +
		       2ull * slot * HFD_SECTOR;
	enum slot_status st[2];
	uint8_t before[2][sizeof(struct hfd_slot)];
	char name[HF_NAME_MAX + 1], where[96];
	struct json_object *o;

	for (unsigned tries = 0; ; tries++) {
		struct claim_rec c;
		struct node_rec n;
		int ret = tries ? disk_read(k->d, p, 2 * HFD_SECTOR, off) : 0;

		if (ret)
			return ret;
		for (unsigned w = 0; w < 2; w++)
			st[w] = row == UINT32_MAX ? node_in(&n, &k->d->bind, slot, w, p + w * HFD_SECTOR) :
				claim_in(&c, &k->d->bind, row, slot, w, p + w * HFD_SECTOR);
		if ((st[0] != SLOT_BAD && st[1] != SLOT_BAD) || tries == 8)
			break;
		/* nobody writes it just now */
		if (tries && (st[0] == SLOT_OK || st[1] == SLOT_OK) && !memcmp(before[0], p, sizeof(before[0])) &&
		    !memcmp(before[1], p + HFD_SECTOR, sizeof(before[1])))
			break;
		memcpy(before[0], p, sizeof(before[0]));
		memcpy(before[1], p + HFD_SECTOR, sizeof(before[1]));
		hf_sleep_ms(1u << tries);
	}
	if (st[0] != SLOT_BAD && st[1] != SLOT_BAD)
		return 0;
	node_name(k->d, slot, name);
	if (row == UINT32_MAX)
		snprintf(where, sizeof(where), "the row of node %.40s (slot %u)", name, slot);
	else
		snprintf(where, sizeof(where), "the claim of node %.40s (slot %u) in row %u", name, slot, row);
	/* a first write goes to the second sector: torn beside zeros, nothing was there yet */
	if (st[0] == SLOT_BAD && st[1] != SLOT_OK)
		o = check_say(k, row, "slot", "%s is damaged in both sectors (offset %llu)%s", where, (unsigned long long)off,
			      row == UINT32_MAX ? "" : ": nobody can confirm or claim what this row is for until that node writes it again");
	else
		o = check_say(k, row, "torn", "%s is torn in its %s sector (offset %llu), as a crash leaves it; the other one counts",
			      where, st[0] == SLOT_BAD ? "first" : "second",
			      (unsigned long long)off + (st[0] == SLOT_BAD ? 0 : HFD_SECTOR));
	check_place(k, o, slot, off);
	json_object_array_add(st[0] == SLOT_BAD && st[1] != SLOT_OK ? k->found : k->notes, o);
	return 0;
}

/* @p: room for a row. 1: nobody ever wrote there */
static int slots_look(struct check *k, uint32_t row, uint8_t *p)
{
	const struct super *sb = &k->d->sb;
	size_t n = 2ull * HFD_SECTOR * sb->slots;
	int ret = disk_read(k->d, p, n, row == UINT32_MAX ? sb->node_off : sb->row_off + row * sb->row_stride);

	if (!ret && !p[0] && !memcmp(p, p + 1, n - 1))
		return 1;
	for (uint32_t i = 0; i < sb->slots && !ret; i++)
		ret = slot_look(k, row, i, p + 2ull * HFD_SECTOR * i);
	return ret;
}

static int one_log(void *ctx, uint32_t row, const struct claim_rec *acc)
{
	struct check *k = ctx;
	int ret;

	if (k->one && row && memcmp(acc->log, k->only.uuid, sizeof(k->only.uuid)))
		return 0;
	ret = check_log(k, row, acc);
	if (ret == -ENOMEM)
		return ret;
	if (ret) {	/* the others may be read all the same */
		k->io = true;
		json_object_array_add(k->found, check_say(k, row, "io", "the log of row %u cannot be read: %s", row, strerror(-ret)));
	}
	return 0;
}

static const char *text_in(struct json_object *o, const char *key)
{
	return json_object_get_string(json_object_object_get(o, key));
}

static void superblocks(struct check *k)
{
	struct json_object *a = json_object_object_get(k->look.out, "superblocks");

	for (size_t i = 0; i < json_object_array_length(a); i++) {
		struct json_object *c = json_object_array_get_idx(a, i), *o;
		const char *state = text_in(c, "state"), *dir = text_in(c, "directory");
		uint64_t copy = json_object_get_uint64(json_object_object_get(c, "copy"));
		bool other;

		if (!strcmp(state, "sound"))
			continue;
		if (!copy) {
			o = check_say(k, UINT32_MAX, "superblock", "%s: its superblock cannot be read: %s", dir, text_in(c, "error"));
		} else {
			other = !strcmp(text_in(json_object_array_get_idx(a, copy == 1 ? i + 1 : i - 1), "state"), "sound");
			o = check_say(k, UINT32_MAX, "superblock", "%s%scopy %llu of the superblock (offset %llu) is %s%s",
				      dir ? dir : "", dir ? ": " : "", (unsigned long long)copy,
				      (unsigned long long)(copy - 1) * HFD_SECTOR,
				      !strcmp(state, "absent") ? "overwritten" :
				      !strcmp(state, "other-key") ? "of another key" : "damaged",
				      other ? "; the other one counts" : "");
			look_num(o, "offset", (copy - 1) * HFD_SECTOR);
		}
		json_object_array_add(k->found, o);
	}
}

static uint64_t blocks(const struct check *k, uint32_t slot, unsigned mask, unsigned want)
{
	uint64_t n = 0;

	for (uint32_t b = 0; b < k->nblk[slot]; b++)
		n += (k->map[slot][b] & mask) == want;
	return n;
}

/* the areas as they are when the check begins; what they grow by meanwhile is not summed up */
static int maps_make(struct check *k)
{
	for (uint32_t i = 0; i < k->d->sb.nodes; i++) {
		uint32_t n = super_area(&k->d->sb, i) / HFD_BLOCK;

		k->map[i] = hf_alloc(n ? n : 1);
		if (!k->map[i])
			return -ENOMEM;
		k->nblk[i] = n;
	}
	return 0;
}

/* Of each area that somebody has: what the newest states stand on, what is there for history alone. */
static struct json_object *space(const struct check *k)
{
	struct json_object *a = json_object_new_array();

	for (uint32_t i = 0; i < k->d->sb.slots; i++) {
		uint32_t left;
		uint64_t live = blocks(k, i, USED_LIVE, USED_LIVE), old = blocks(k, i, USED_LIVE | USED_OLD, USED_OLD);
		struct json_object *o;
		char name[HF_NAME_MAX + 1];

		if (k->d->seen[i].status == SLOT_EMPTY && !live && !old)
			continue;
		o = json_object_new_object();
		node_name(k->d, i, name);
		look_num(o, "slot", i);
		look_str(o, "node", name);
		look_num(o, "offset", area_at(k->d, i, 0, &left));
		look_num(o, "area_size", (uint64_t)k->nblk[i] * HFD_BLOCK);
		look_num(o, "live_bytes", live * HFD_BLOCK);
		look_num(o, "history_bytes", old * HFD_BLOCK);
		look_num(o, "free_bytes", (k->nblk[i] - live - old) * HFD_BLOCK);
		json_object_array_add(a, o);
	}
	return a;
}

/* "row 3: …" is said of the resource when it is known. */
static void name_all(struct check *k, struct json_object *list)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i), *row = json_object_object_get(o, "row");
		const char *what = json_object_get_string(json_object_object_get(o, "what"));

		for (size_t l = 0; row && l < json_object_array_length(k->logs); l++) {
			struct json_object *log = json_object_array_get_idx(k->logs, l);
			const char *name = json_object_get_string(json_object_object_get(log, "resource"));
			uint64_t n = json_object_get_uint64(row);
			char head[32], *text;
			int len = snprintf(head, sizeof(head), "row %llu: ", (unsigned long long)n);

			if (!name || json_object_get_uint64(json_object_object_get(log, "row")) != n)
				continue;
			look_str(o, "resource", name);
			if (strncmp(what, head, len))
				break;
			text = hf_strf("resource %s: %s", name, what + len);
			if (text)
				look_str(o, "what", text);
			free(text);
			break;
		}
	}
}

static int check_all(struct check *k)
{
	struct row *r = malloc(sizeof(*r));
	uint8_t *p = dio_alloc(2ull * HFD_SECTOR * k->d->sb.slots);
	int ret = r && p ? slots_look(k, UINT32_MAX, p) : -ENOMEM;

	for (uint32_t row = 0; row < k->d->sb.rows && ret >= 0; row++) {
		k->rows = row;
		if (k->one && row && row != k->only.row)
			continue;
		ret = slots_look(k, row, p);
		if (!ret)
			ret = row_read(k->d, row, r);
		if (!ret)
			ret = look_each_log(r, row, one_log, k);
		check_tick(k);
	}
	ret = ret < 0 ? ret : 0;
	k->rows = k->d->sb.rows;
	check_tick(k);
	free(p);
	free(r);
	return ret;
}

/* Where the registrations cannot be read all is looked at, which finds why. */
static int narrow(struct check *k, const char *resource, struct hf_err *err)
{
	const struct hf_resource *r = k->reg ? hf_reg_find(k->reg, resource) : NULL;

	if (k->reg && !r)
		return hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no resource %s on %s", resource, k->look.path);
	k->one = r;
	if (r)
		k->only = r->id;
	return 0;
}

static int check(struct check *k, const char *resource, struct hf_err *err)
{
	struct disk *d = k->d = k->look.d;
	struct json_object *out = k->look.out;
	size_t bad;
	int ret = 0;

	registrations(k);
	if (resource)
		ret = narrow(k, resource, err);
	if (ret) {
		hf_reg_free(k->reg);
		return ret;
	}
	ret = chunker_init(&k->ck, k->look.keys, d->sb.disk_uuid);
	k->logs = json_object_new_array();
	k->found = json_object_new_array();
	k->notes = json_object_new_array();
	if (!ret)
		ret = maps_make(k);
	superblocks(k);
	if (!ret)
		ret = check_all(k);
	look_names(d, k->logs);
	name_all(k, k->found);
	name_all(k, k->notes);
	json_object_object_add(out, "logs", k->logs);
	look_num(out, "generations", k->generations);
	look_num(out, "records", k->records);
	look_num(out, "record_bytes", k->record_bytes);
	look_num(out, "chunks", k->chunks);
	look_num(out, "content_bytes", k->contents);
	if (!k->one)
		json_object_object_add(out, "space", space(k));
	json_object_object_add(out, "notes", k->notes);
	json_object_object_add(out, "findings", k->found);
	bad = json_object_array_length(k->found);
	if (ret)
		hf_fail(err, ret == -ENOMEM ? HF_FAILED : HF_UNAVAIL, ret, "%s cannot be read: %s", k->look.path, strerror(-ret));
	else if (bad)
		ret = hf_fail(err, k->io ? HF_UNAVAIL : HF_DAMAGED, k->io ? -EIO : -EBADMSG, "%s is damaged: %s%s", k->look.path,
			      json_object_get_string(json_object_object_get(json_object_array_get_idx(k->found, 0), "what")),
			      bad > 1 ? "; and more" : "");
	for (uint32_t i = 0; i < HF_MAX_NODES; i++)
		free(k->map[i]);
	hf_reg_free(k->reg);
	chunker_exit(&k->ck);
	return ret;
}

int hf_disk_check_resource(const char *conf, const char *dev, const char *resource,
			   void (*progress)(void *ctx, uint64_t done, uint64_t total, uint64_t bytes), void *ctx,
			   char **json, struct hf_err *err)
{
	struct check k = { .progress = progress, .ctx = ctx };
	int ret = look_open(&k.look, conf, dev, true, err);

	if (!ret)
		ret = check(&k, resource, err);
	look_close(&k.look, json);
	return ret;
}

int hf_disk_check_watched(const char *conf, const char *dev,
			  void (*progress)(void *ctx, uint64_t done, uint64_t total, uint64_t bytes), void *ctx,
			  char **json, struct hf_err *err)
{
	return hf_disk_check_resource(conf, dev, NULL, progress, ctx, json, err);
}

int hf_disk_check(const char *conf, const char *dev, char **json, struct hf_err *err)
{
	return hf_disk_check_watched(conf, dev, NULL, NULL, json, err);
}
