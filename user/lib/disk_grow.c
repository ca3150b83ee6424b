// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * More room on a disk that became larger, and areas for more nodes, while daemons use it.
 *
 * Nothing that is used is moved or written: what is new gets parts of its own behind the old ones, and
 * counts with the superblock that tells of it. Rows had room from the start (super.c). The superblock
 * is the one thing that several nodes might write, so who does has the sector behind it first, as an identity is
 * held: watch it for a lease, write it, wait, read it again.
 */
#include "disk_int.h"
#include "conf.h"
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <sys/stat.h>

#define GROW_OFF (2 * HFD_SECTOR)

static int io_err(struct disk *d, struct hf_err *err, int ret)
{
	return hf_fail(err, HF_UNAVAIL, ret, "%s cannot be read or written: %s", d->path, strerror(-ret));
}

static int sector_read(struct disk *d, uint8_t who[16])
{
	uint8_t *p = dio_alloc(HFD_SECTOR);
	int ret = p ? disk_read(d, p, HFD_SECTOR, GROW_OFF) : -ENOMEM;

	if (!ret)
		memcpy(who, p, 16);
	free(p);
	return ret;
}

static int sector_write(struct disk *d, const uint8_t who[16])
{
	uint8_t *p = dio_alloc(HFD_SECTOR);
	int ret = p ? 0 : -ENOMEM;

	if (!ret) {
		memcpy(p, who, 16);
		ret = disk_write(d, p, HFD_SECTOR, GROW_OFF);
	}
	free(p);
	return ret;
}

static int mine_still(struct disk *d, const uint8_t me[16], struct hf_err *err)
{
	uint8_t now[16];
	int ret = sector_read(d, now);

	if (ret)
		return io_err(d, err, ret);
	return memcmp(now, me, 16) ? hf_fail(err, HF_REFUSED, -EBUSY,
					     "%s is being grown by somebody else; try again when that has ended", d->path) : 0;
}

/* One that was cut off leaves the sector as it is: it counts only for as long as it changes. */
static int hold(struct disk *d, const uint8_t me[16], struct hf_err *err)
{
	uint8_t before[16], now[16], none[16] = { 0 };
	uint64_t start;
	int ret = sector_read(d, before);

	for (start = hf_now_ms(); !ret && memcmp(before, none, 16) && hf_now_ms() - start < d->sb.lease_ms; ) {
		hf_sleep_ms(d->sb.beat_ms / 2);
		ret = sector_read(d, now);
		if (ret || !memcmp(now, before, 16))
			continue;
		if (memcmp(now, none, 16))
			return hf_fail(err, HF_REFUSED, -EBUSY,
				       "%s is being grown by somebody else; try again when that has ended", d->path);
		break;
	}
	if (!ret)
		ret = sector_write(d, me);
	if (ret)
		return io_err(d, err, ret);
	hf_sleep_ms(d->sb.lease_ms / 2);
	return mine_still(d, me, err);
}

/* The newest superblock, in both copies. The older one of two is mended first: while one is
 * written, the other must be all that is known by anybody. */
static int settle(struct disk *d, struct super *sb, bool *mended, struct hf_err *err)
{
	struct super *s = malloc(2 * sizeof(*s));
	int r[2], which = s ? super_copies(d->fd, d->keys, s, r, err) : -ENOMEM, ret = 0;

	*mended = false;
	if (which < 0) {
		ret = which;
		goto out;
	}
	*sb = s[which];
	if (r[!which] || s[!which].seq != sb->seq) {
		ret = super_write(d->fd, !which, sb, d->keys);
		*mended = !ret;
	}
	if (ret)
		io_err(d, err, ret);
out:
	free(s);
	return ret;
}

static uint64_t blocks(uint64_t n) { return n / HFD_BLOCK * HFD_BLOCK; }
#define ull(v) ((unsigned long long)(v))

/* What @free bytes behind the last part are given to: new nodes get as much as the others will
 * have, as far as there is so much. */
static int share_out(struct disk *d, struct super *sb, uint32_t nodes, uint64_t size, struct hf_err *err)
{
	const struct part *last = &sb->part[sb->nparts - 1];
	uint64_t end = last->off + last->size * last->count, free = size - end, all = free, old, new = 0;
	uint32_t more = nodes - sb->nodes;

	for (uint32_t i = 0; i < sb->nodes; i++)
		all += super_area(sb, i);
	if (more) {
		new = blocks(all / nodes < free / more ? all / nodes : free / more);
		new = new < AREA_MAX ? new : AREA_MAX;
		if (new < AREA_MIN)
			return hf_fail(err, HF_REFUSED, -EBUSY,
				       "%s has %llu bytes left for the areas of %u more nodes, which is too little: make the device %llu bytes larger at least, then try again",
				       d->path, ull(free), more, ull(more * (uint64_t)AREA_MIN - free));
	}
	old = blocks((free - new * more) / sb->nodes);
	for (uint32_t i = 0; i < sb->nodes; i++)
		if (old > AREA_MAX - super_area(sb, i))
			old = AREA_MAX - super_area(sb, i);
	if (!more && !old && size == sb->size)
		return hf_fail(err, HF_REFUSED, -EBUSY,
			       "%s did not become larger: it has %llu bytes, all of which are in use; enlarge the volume, LUN or file first, and let the kernel of this node look at the device again",
			       d->path, ull(size));
	if (!more && !old)
		return hf_fail(err, HF_REFUSED, -EBUSY,
			       "%s has %llu bytes that are not in use, which is too little for %u areas, or they are as large as they can be",
			       d->path, ull(free), sb->nodes);
	if (sb->nparts + !!old + !!more > HFD_PARTS)
		return hf_fail(err, HF_REFUSED, -EBUSY, "%s was grown too often: its superblock can tell of %d parts",
			       d->path, HFD_PARTS);
	if (old) {
		sb->part[sb->nparts++] = (struct part){ 0, sb->nodes, end, old };
		end += old * sb->nodes;
	}
	if (more)
		sb->part[sb->nparts++] = (struct part){ sb->nodes, more, end, new };
	sb->nodes = nodes;
	sb->size = size;
	sb->seq++;
	return 0;
}

/* A file gets its blocks now, so that a commit need not. Not by writing zeros: who was overtaken must
 * do no harm. */
static void fill(struct disk *d, const struct super *before, const struct super *sb)
{
	uint64_t from = sb->part[before->nparts].off;
	struct stat st;

	if (!fstat(d->fd, &st) && S_ISREG(st.st_mode))
		(void)!fallocate(d->fd, FALLOC_FL_KEEP_SIZE, from, sb->size - from);
}

static int grow(struct disk *d, uint32_t nodes, const uint8_t me[16], struct super *before, struct super *sb,
		struct hf_err *err)
{
	bool mended;
	uint64_t size;
	int ret = hold(d, me, err);

	if (!ret)
		ret = settle(d, before, &mended, err);
	if (ret)
		return ret;
	*sb = *before;
	if (!nodes)
		nodes = sb->nodes;
	ret = dev_size(d->fd, &size);
	if (ret)
		return io_err(d, err, ret);
	if (nodes < sb->nodes)
		return hf_fail(err, HF_REFUSED, -EBUSY,
			       "%s has areas for %u nodes, and they do not become fewer; `holdfast node remove` frees one for another node",
			       d->path, sb->nodes);
	if (nodes > sb->slots)
		return hf_fail(err, HF_REFUSED, -EBUSY,
			       "%s was formatted for %u nodes at most (--nodes-max); `holdfast node remove` frees the area of one that is gone",
			       d->path, sb->slots);
	ret = share_out(d, sb, nodes, size, err);
	if (ret == -EBUSY && mended && nodes == before->nodes && size == before->size) {
		/* an earlier one was cut off between the two copies */
		*err = (struct hf_err){ 0 };
		return 0;
	}
	if (ret)
		return ret;
	fill(d, before, sb);
	ret = mine_still(d, me, err);
	for (int i = 0; i < 2 && !ret; i++) {
		ret = super_write(d->fd, i, sb, d->keys);
		if (ret)
			io_err(d, err, ret);
	}
	return ret;
}

static char *result(const struct super *before, const struct super *sb)
{
	struct json_object *o = json_object_new_object(), *a = json_object_new_array();
	char *s;

	json_object_object_add(o, "size", json_object_new_uint64(sb->size));
	json_object_object_add(o, "nodes_max", json_object_new_int64(sb->nodes));
	for (uint32_t i = 0; i < sb->nodes; i++) {
		struct json_object *p = json_object_new_object();

		json_object_object_add(p, "slot", json_object_new_int64(i));
		json_object_object_add(p, "area_size", json_object_new_uint64(super_area(sb, i)));
		json_object_object_add(p, "grown", json_object_new_uint64(super_area(sb, i) - super_area(before, i)));
		json_object_array_add(a, p);
	}
	json_object_object_add(o, "areas", a);
	s = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
	return s;
}

int hf_disk_grow(const char *conf, const char *dev, unsigned nodes, char **json, struct hf_err *err)
{
	struct super *sb = calloc(2, sizeof(*sb));
	uint8_t me[16], none[16] = { 0 };
	struct hf_err e = { 0 };
	struct hf_conf *cf = NULL;
	struct hf_keys *keys = NULL;
	struct disk *d = NULL;
	int ret = sb ? hf_conf_load(conf, &cf, &e) : -ENOMEM;

	if (json)
		*json = NULL;
	if (!ret)
		ret = hf_keys_load(cf->key_file, &keys, &e);
	if (!ret && !strncmp(dev, "dir:", 4))
		ret = hf_fail(&e, HF_USAGE, -EINVAL, "%s: shared directories do not grow; only a quorum disk does", dev);
	if (!ret)
		ret = disk_new(dev, keys, true, &d, &e);
	if (ret)
		goto out;
	hf_uuid_make(me);
	ret = grow(d, nodes, me, &sb[0], &sb[1], &e);
	if (!mine_still(d, me, NULL))
		(void)sector_write(d, none);
	if (!ret && json && !(*json = result(&sb[0], &sb[1])))
		ret = -ENOMEM;
out:
	if (ret && err)
		*err = e;
	if (d)
		disk_close(&d->store);
	hf_keys_free(keys);
	hf_conf_free(cf);
	free(sb);
	return ret;
}
