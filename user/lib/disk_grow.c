// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * More room on a disk that became larger, and areas for more nodes, while daemons use it.
 *
 * Nothing that is used is moved or written: what is new gets parts of its own behind the old ones, and
 * counts with the superblock that tells of it. Rows had room from the start (super.c). The superblock
 * is the one thing that several nodes might write, and who writes it late destroys. So who does goes through
 * a door that lets one in at most, whatever is stopped for how long (L. Lamport, "A fast mutual exclusion
 * algorithm", 1987, its first half): two sectors, `asks` and `holds`.
 *
 *	asks = me; if holds is somebody: refused; holds = me; if asks is not me: refused; in; holds = nobody
 *
 * While somebody is in, nobody but he empties `holds`, so who comes later is refused there; who had found
 * it empty before has been overtaken in `asks`. Who is refused empties nothing: it may be another's by then.
 * So who was killed inside, or two that met at the door, leave it closed. The former is opened by the next one on
 * the same machine, which has the lock of the device and finds there that he was in and had that lock; all else by who
 * was told that no other is at it (--force).
 */
#include "disk_int.h"
#include "conf.h"
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#define HOLDS_OFF (2 * HFD_SECTOR)
#define ASKS_OFF (3 * HFD_SECTOR)

/* Somebody at the door, as it lies on the disk; zeros: nobody. `in` comes last: what is before it
 * does not change after it was written. */
struct grower {
	uint8_t id[16];			/* random, of this one run */
	uint8_t boot[16];		/* of the machine; zeros: it has no lock */
	uint8_t lock[16];		/* device and inode of what it has locked, as that machine has them */
	uint8_t in;
};

static int io_err(struct disk *d, struct hf_err *err, int ret)
{
	return hf_fail(err, HF_UNAVAIL, ret, "%s cannot be read or written: %s", d->path, strerror(-ret));
}

static int sector_read(struct disk *d, uint64_t off, struct grower *g)
{
	uint8_t *p = dio_alloc(HFD_SECTOR);
	int ret = p ? disk_read(d, p, HFD_SECTOR, off) : -ENOMEM;

	if (!ret)
		memcpy(g, p, sizeof(*g));
	free(p);
	return ret;
}

static int sector_write(struct disk *d, uint64_t off, const struct grower *g)
{
	uint8_t *p = dio_alloc(HFD_SECTOR);
	int ret = p ? 0 : -ENOMEM;

	if (!ret) {
		memcpy(p, g, sizeof(*g));
		ret = disk_write(d, p, HFD_SECTOR, off);
	}
	free(p);
	return ret;
}

static int closed(struct disk *d, struct hf_err *err)
{
	return hf_fail(err, HF_REFUSED, -EBUSY,
		       "%s is being grown by another `holdfast disk grow`, or one was cut off at it; if none runs on any node any more, add --force",
		       d->path);
}

static bool same(const struct grower *a, const struct grower *b) { return !memcmp(a->id, b->id, 16); }

/* Whoever has this lock on this boot is the only one there. Without one nobody is taken for dead. */
static int lock(struct disk *d, struct grower *me, struct hf_err *err)
{
	uint64_t start = hf_now_ms();
	struct stat st;
	int ret;

	hf_uuid_make(me->id);
	/* udev looks at devices under it */
	while ((ret = hf_seam("grow.lock")) == 0 && flock(d->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {
		if (hf_now_ms() - start >= d->sb.lease_ms)
			return hf_fail(err, HF_REFUSED, -EBUSY,
				       "%s is locked by another process on this node, maybe another `holdfast disk grow`; try again when that has ended",
				       d->path);
		hf_sleep_ms(50);
	}
	if (ret || fstat(d->fd, &st))
		return 0;
	node_boot_id(me->boot);
	memcpy(me->lock, &(uint64_t){ st.st_dev }, 8);
	memcpy(me->lock + 8, &(uint64_t){ st.st_ino }, 8);
	return 0;
}

/* he was in, on this boot, with the lock that is ours now */
static bool dead(const struct grower *him, const struct grower *me)
{
	static const uint8_t none[16];

	return him->in == 1 && memcmp(me->boot, none, 16) && !memcmp(him->boot, me->boot, 16) &&
	       !memcmp(him->lock, me->lock, 16);
}

static int open_to(struct disk *d, const struct grower *me, bool force, struct hf_err *err)
{
	static const struct grower nobody;
	struct grower g;
	int ret = sector_read(d, HOLDS_OFF, &g);

	if (ret)
		return io_err(d, err, ret);
	return force || !memcmp(&g, &nobody, sizeof(g)) || dead(&g, me) ? 0 : closed(d, err);
}

static int enter(struct disk *d, struct grower *me, bool force, struct hf_err *err)
{
	struct grower g;
	int ret = open_to(d, me, force, err);	/* so as not to stand in the way of who is in */

	if (ret)
		return ret;
	ret = sector_write(d, ASKS_OFF, me);
	if (ret)
		return io_err(d, err, ret);
	ret = open_to(d, me, force, err);
	if (ret)
		return ret;
	ret = sector_write(d, HOLDS_OFF, me);
	if (!ret)
		ret = sector_read(d, ASKS_OFF, &g);
	if (ret)
		return io_err(d, err, ret);
	if (!same(&g, me))
		return closed(d, err);
	me->in = 1;
	ret = sector_write(d, HOLDS_OFF, me);
	return ret ? io_err(d, err, ret) : 0;
}

static int mine_still(struct disk *d, const struct grower *me, struct hf_err *err)
{
	struct grower now;
	int ret = sector_read(d, HOLDS_OFF, &now);

	if (ret)
		return io_err(d, err, ret);
	return same(&now, me) ? 0 : closed(d, err);
}

static void leave(struct disk *d, const struct grower *me)
{
	static const struct grower nobody;

	if (me->in && !mine_still(d, me, NULL))
		(void)sector_write(d, HOLDS_OFF, &nobody);
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

/* A file gets its blocks now, so that a commit need not. Not by writing zeros: who was taken for dead
 * (--force) must do no harm. */
static void fill(struct disk *d, const struct super *before, const struct super *sb)
{
	uint64_t from = sb->part[before->nparts].off;
	struct stat st;

	if (!fstat(d->fd, &st) && S_ISREG(st.st_mode))
		(void)!fallocate(d->fd, FALLOC_FL_KEEP_SIZE, from, sb->size - from);
}

static int grow(struct disk *d, uint32_t nodes, const struct grower *me, struct super *before, struct super *sb,
		struct hf_err *err)
{
	bool mended;
	uint64_t size;
	int ret = settle(d, before, &mended, err);

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

int hf_disk_grow(const char *conf, const char *dev, unsigned nodes, int force, char **json, struct hf_err *err)
{
	struct super *sb = calloc(2, sizeof(*sb));
	struct grower me = { 0 };
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
	ret = lock(d, &me, &e);
	if (!ret)
		ret = enter(d, &me, force, &e);
	if (!ret)
		ret = grow(d, nodes, &me, &sb[0], &sb[1], &e);
	leave(d, &me);
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
