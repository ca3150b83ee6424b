// SPDX-License-Identifier: LGPL-2.1-or-later
/* The quorum disk: device, superblock, format, and its table of functions. */
#include "disk_int.h"
#include <blkid/blkid.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sodium.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "conf.h"

void *dio_alloc(size_t n)
{
	void *p = NULL;

	n = (n + HFD_SECTOR - 1) / HFD_SECTOR * HFD_SECTOR;
	if (posix_memalign(&p, HFD_SECTOR, n ? n : HFD_SECTOR))
		return NULL;
	memset(p, 0, n);
	return p;
}

int disk_read(struct disk *d, void *p, size_t n, uint64_t off)
{
	int ret = hf_seam("disk.read");

	return ret ? ret : hf_pread_full(d->fd, p, n, off);
}

int disk_write(struct disk *d, const void *p, size_t n, uint64_t off)
{
	int ret = hf_seam("disk.write");

	return ret ? ret : hf_pwrite_full(d->fd, p, n, off);
}

uint64_t area_place(const struct disk *d, uint32_t slot)
{
	return d->sb.area_off + d->sb.area_size * slot;
}

bool in_area(const struct disk *d, uint32_t slot, uint64_t place, uint64_t n)
{
	return slot < d->sb.nodes && place >= area_place(d, slot) && n <= d->sb.area_size &&
	       place - area_place(d, slot) <= d->sb.area_size - n;
}

static int dev_size(int fd, uint64_t *size)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISREG(st.st_mode)) {
		*size = st.st_size;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return -ENOTBLK;
	return ioctl(fd, BLKGETSIZE64, size) ? -errno : 0;
}

/* Both copies; the newer sound one counts. */
static int super_read(int fd, const struct hf_keys *keys, struct super *sb, struct hf_err *err)
{
	uint8_t *p = dio_alloc(2 * HFD_SECTOR);
	struct super s[2];
	struct hf_err e[2] = { 0 };
	int ret, r[2];

	if (!p)
		return -ENOMEM;
	ret = hf_pread_full(fd, p, 2 * HFD_SECTOR, 0);
	if (ret) {
		ret = ret == -ENODATA ? hf_fail(err, HF_DAMAGED, -ENODEV, "it is too small to be a quorum disk") :
		      hf_fail(err, HF_UNAVAIL, ret, "it cannot be read: %s", strerror(-ret));
		goto out;
	}
	for (int i = 0; i < 2; i++)
		r[i] = super_in(&s[i], keys, p + i * HFD_SECTOR, &e[i]);
	if (!r[0] && (r[1] || s[0].seq >= s[1].seq))
		*sb = s[0];
	else if (!r[1])
		*sb = s[1];
	else {
		int i = r[0] == -ENODEV && r[1] != -ENODEV;

		ret = hf_fail(err, e[i].exit, r[i], "%s", e[i].msg);
	}
out:
	free(p);
	return ret;
}

/* Is it still the disk that was opened? Who formats a disk anew cannot tell those who
 * use it. Damage of the superblock alone is no reason to stop. */
int super_check(struct disk *d, struct hf_err *err)
{
	struct super sb;
	uint64_t size;
	int ret = dev_size(d->fd, &size);

	if (!ret && size < d->sb.size)
		ret = -EIO;	/* gone for now, as a path that failed */
	if (!ret)
		ret = super_read(d->fd, d->keys, &sb, NULL);
	if (ret == -EBADMSG || ret == -ENOTSUP)
		return 0;
	if (ret == -ENODEV || ret == -EKEYREJECTED || (!ret && memcmp(sb.disk_uuid, d->sb.disk_uuid, 16)))
		return hf_fail(err, HF_STALE, -ESTALE,
			       "%s is not the disk of cluster %s any more: it was formatted anew or overwritten; this node writes nothing to it",
			       d->path, d->sb.cluster);
	return ret;
}

static int super_write(int fd, const struct super *sb, const struct hf_keys *keys)
{
	uint8_t *p = dio_alloc(HFD_SECTOR);
	int ret = 0;

	if (!p)
		return -ENOMEM;
	super_out(sb, keys, p);
	/* one after the other: a torn one leaves the other */
	for (int i = 0; i < 2 && !ret; i++)
		ret = hf_pwrite_full(fd, p, HFD_SECTOR, i * HFD_SECTOR);
	free(p);
	return ret;
}

/* O_DIRECT where it is to be had: tmpfs, where tests may live, has none on old kernels */
static int open_direct(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT | O_CLOEXEC);

	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int disk_new(const char *path, const struct hf_keys *keys, bool write, struct disk **out,
		    struct hf_err *err)
{
	struct disk *d = hf_alloc(sizeof(*d));
	struct hf_err e = { 0 };
	uint64_t size;
	int ret;

	if (!d)
		return -ENOMEM;
	d->store.ops = &hf_store_disk;
	d->store.keys = keys;
	d->fd = d->pack_fd = d->lock_fd = -1;
	d->keys = keys;
	pthread_mutex_init(&d->row_mu, NULL);
	pthread_cond_init(&d->row_cv, NULL);
	pthread_mutex_init(&d->area_mu, NULL);
	pthread_mutex_init(&d->node_mu, NULL);
	pthread_mutex_init(&d->cache_mu, NULL);
	d->path = strdup(path);
	d->fd = d->path ? open_direct(path, write ? O_RDWR | O_DSYNC : O_RDONLY) : -ENOMEM;
	if (d->fd < 0) {
		ret = hf_fail(err, HF_UNAVAIL, d->fd, "the quorum disk %s cannot be opened: %s", path,
			      strerror(-d->fd));
		goto err;
	}
	ret = super_read(d->fd, keys, &d->sb, &e);
	if (ret) {
		hf_fail(err, e.exit, ret, "%s: %s%s", path, e.msg,
			ret == -ENODEV ? "; holdfast init makes one" : "");
		goto err;
	}
	ret = dev_size(d->fd, &size);
	if (ret || size < d->sb.size) {
		ret = hf_fail(err, HF_DAMAGED, -EBADMSG, "%s is smaller than when it was formatted (%llu bytes)",
			      path, (unsigned long long)d->sb.size);
		goto err;
	}
	if (write && (d->sb.ro_compat & ~HFD_RO_COMPAT_KNOWN)) {
		ret = hf_fail(err, HF_FAILED, -ENOTSUP,
			      "%s has features that this program may read but not write; upgrade holdfast on this node", path);
		goto err;
	}
	memcpy(d->bind.cluster, d->sb.cluster_uuid, 16);
	memcpy(d->bind.disk, d->sb.disk_uuid, 16);
	d->bind.keys = keys;
	if (write) {
		d->pack_fd = open_direct(path, O_RDWR);
		if (d->pack_fd < 0) {
			ret = hf_fail(err, HF_UNAVAIL, d->pack_fd, "%s: %s", path, strerror(-d->pack_fd));
			goto err;
		}
	}
	d->row_busy = hf_alloc(d->sb.rows);
	if (!d->row_busy || readahead_init(d)) {
		ret = -ENOMEM;
		goto err;
	}
	*out = d;
	return 0;
err:
	disk_close(&d->store);
	return ret;
}

int disk_open_ro(const char *path, const struct hf_keys *keys, struct disk **out, struct hf_err *err)
{
	return disk_new(path, keys, false, out, err);
}

static int disk_open(const char *arg, const struct hf_store_params *p, struct hf_store **out,
		     struct hf_err *err)
{
	struct disk *d;
	int ret = disk_new(arg, p->keys, p->id != NULL, &d, err);

	if (ret)
		return ret;
	if (p->id) {
		d->id = *p->id;
		if (memcmp(d->id.disk, d->sb.disk_uuid, 16) || d->id.slot >= d->sb.nodes) {
			ret = hf_fail(err, HF_REFUSED, -EBUSY,
				      "%s is not the disk that this node joined; was it formatted anew? holdfast join %s makes a new identity (move the old one in the state directory away first)",
				      arg, arg);
			disk_close(&d->store);
			return ret;
		}
	}
	if (p->lock_fd)
		d->lock_fd = *p->lock_fd;
	*out = &d->store;
	return 0;
}

void disk_close(struct hf_store *s)
{
	struct disk *d = disk_of(s);

	area_exit(d);
	if (d->fd >= 0)
		close(d->fd);
	if (d->pack_fd >= 0)
		close(d->pack_fd);
	free(d->row_busy);
	readahead_exit(d);
	free(d->path);
	pthread_cond_destroy(&d->row_cv);
	pthread_mutex_destroy(&d->row_mu);
	pthread_mutex_destroy(&d->area_mu);
	pthread_mutex_destroy(&d->node_mu);
	pthread_mutex_destroy(&d->cache_mu);
	free(d);
}

static int disk_join(struct hf_store *s, struct hf_err *err)
{
	struct disk *d = disk_of(s);
	int ret = node_join(d, err);

	if (!ret)
		ret = area_rebuild(d, err);
	if (ret) {	/* without a map of the area nothing may be claimed */
		d->joined = false;
		area_exit(d);
	}
	return ret;
}

static int disk_beat(struct hf_store *s, struct hf_err *err) { return node_beat(disk_of(s), err); }
static int disk_leave(struct hf_store *s) { return node_leave(disk_of(s)); }

static int disk_nodes(struct hf_store *s, struct hf_node_info *arr, unsigned max)
{
	return nodes_list(disk_of(s), arr, max);
}

static void disk_info(struct hf_store *s, char cluster[HF_NAME_MAX + 1], uint8_t uuid[16],
		      unsigned *lease_ms, unsigned *beat_ms, unsigned *rows, unsigned *nodes)
{
	struct disk *d = disk_of(s);

	if (cluster)
		memcpy(cluster, d->sb.cluster, sizeof(d->sb.cluster));
	if (uuid)
		memcpy(uuid, d->sb.disk_uuid, 16);
	if (lease_ms)
		*lease_ms = d->sb.lease_ms;
	if (beat_ms)
		*beat_ms = d->sb.beat_ms;
	if (rows)
		*rows = d->sb.rows;
	if (nodes)
		*nodes = d->sb.nodes;
}

static uint64_t disk_epoch(const struct hf_claim *c) { return claim_of(c)->epoch; }
static uint32_t disk_slot(const struct hf_claim *c) { return claim_of(c)->d->id.slot; }

static int disk_put(struct hf_claim *pc, const void *p, size_t n, uint64_t *place, struct hf_err *err)
{
	struct claim *c = claim_of(pc);
	int ret;

	pthread_mutex_lock(&c->mu);
	ret = pack_put(c, p, n, place, err);
	pthread_mutex_unlock(&c->mu);
	return ret;
}

static int disk_flush(struct hf_claim *pc, struct hf_err *err)
{
	struct claim *c = claim_of(pc);
	int ret;

	pthread_mutex_lock(&c->mu);
	ret = pack_flush(c, err);
	pthread_mutex_unlock(&c->mu);
	return ret;
}

static void disk_settle(struct hf_claim *pc)
{
	struct claim *c = claim_of(pc);

	pthread_mutex_lock(&c->mu);
	pack_settle(c);
	pthread_mutex_unlock(&c->mu);
}

static void disk_use(struct hf_claim *pc, uint32_t slot, uint64_t place, uint32_t len, int delta,
		     uint64_t gen)
{
	struct claim *c = claim_of(pc);

	if (slot != c->d->id.slot || !in_area(c->d, slot, place, len))
		return;
	pthread_mutex_lock(&c->mu);
	claim_use(c, place, len, delta, gen);
	pthread_mutex_unlock(&c->mu);
}

static bool disk_wants_copy(struct hf_claim *pc, uint32_t slot, uint64_t place, uint32_t len)
{
	struct claim *c = claim_of(pc);

	/* copying takes room before it gives any back */
	return slot != c->d->id.slot || !in_area(c->d, slot, place, len) ||
	       (area_sparse(c->d, place, len) && area_room(c->d, NULL) > 2ull * area_reserve(c->d) * HFD_BLOCK);
}

static uint64_t disk_room(struct hf_claim *pc, uint64_t *total)
{
	return area_room(claim_of(pc)->d, total);
}

static int disk_get(struct hf_store *s, uint32_t slot, uint64_t place, void *buf, size_t n,
		    bool fresh, struct hf_err *err)
{
	struct disk *d = disk_of(s);
	int ret;

	if (!in_area(d, slot, place, n))
		return hf_fail(err, HF_DAMAGED, -EBADMSG, "%s: a record points outside the area of its node", d->path);
	ret = readahead_get(d, place, area_place(d, slot) + d->sb.area_size, buf, n, fresh);
	if (ret)
		hf_fail(err, HF_UNAVAIL, ret, "%s cannot be read: %s", d->path, strerror(-ret));
	return ret;
}

static void disk_known(struct hf_store *s, const uint8_t (*uuid)[16], size_t n)
{
	area_known(disk_of(s), uuid, n);
}

const struct hf_store_ops hf_store_disk = {
	.scheme = "disk",
	.open = disk_open,
	.close = disk_close,
	.join = disk_join,
	.beat = disk_beat,
	.leave = disk_leave,
	.nodes = disk_nodes,
	.info = disk_info,
	.stat = claim_stat,
	.claim = claim_take,
	.epoch = disk_epoch,
	.slot = disk_slot,
	.append = claim_append,
	.put_bytes = disk_put,
	.flush = disk_flush,
	.settle = disk_settle,
	.use = disk_use,
	.wants_copy = disk_wants_copy,
	.room = disk_room,
	.confirm = claim_confirm,
	.trim = claim_trim,
	.note = claim_note,
	.release = claim_release,
	.known = disk_known,
	.drop = claim_drop,
	.read = claim_read,
	.get_bytes = disk_get,
};

/* ---- format ---- */

/* What is on the device that formatting would destroy; 0: nothing known. */
static int foreign(int fd, const char *dev, char *what, size_t n)
{
	static const struct { uint64_t off; const void *magic; size_t len; const char *name; } more[] = {
		/* libblkid does not know these: sanlock's DELTA_DISK_MAGIC 0x12212010 and
		 * PAXOS_DISK_MAGIC 0x06152010, little-endian, and the head of SBD */
		{ 0, "\x10\x20\x21\x12", 4, "a sanlock lockspace" },
		{ 0, "\x10\x20\x15\x06", 4, "a sanlock resource" },
		{ 0, "SBD_SBD_", 8, "an SBD device" },
	};
	uint8_t *p = dio_alloc(2 * HFD_SECTOR);
	const char *v;
	blkid_probe pr;
	int ret = 0;

	if (!p)
		return -ENOMEM;
	if (hf_pread_full(fd, p, 2 * HFD_SECTOR, 0))
		goto out;	/* shorter than that: nothing on it */
	for (size_t i = 0; i < HF_ARRAY(more) && !ret; i++)
		if (!memcmp(p + more[i].off, more[i].magic, more[i].len)) {
			snprintf(what, n, "%s", more[i].name);
			ret = 1;
		}
	for (int i = 0; i < 2 && !ret; i++)
		if (!memcmp(p + i * HFD_SECTOR, HFD_MAGIC, 8)) {
			snprintf(what, n, "a quorum disk (cluster %.63s)",
				 (char *)p + i * HFD_SECTOR + offsetof(struct hfd_super, cluster));
			ret = 1;
		}
	if (ret)
		goto out;
	pr = blkid_new_probe();
	if (!pr)
		goto out;
	if (!blkid_probe_set_device(pr, fd, 0, 0)) {
		blkid_probe_enable_superblocks(pr, 1);
		blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE);
		blkid_probe_enable_partitions(pr, 1);
		int r = blkid_do_safeprobe(pr);

		if (r == -2) {
			snprintf(what, n, "several things at once");
			ret = 1;
		} else if (!r) {
			if (!blkid_probe_lookup_value(pr, "TYPE", &v, NULL))
				snprintf(what, n, "%s", v);
			else if (!blkid_probe_lookup_value(pr, "PTTYPE", &v, NULL))
				snprintf(what, n, "a %s partition table", v);
			else
				snprintf(what, n, "something");
			ret = 1;
		}
	}
	blkid_free_probe(pr);
out:
	free(p);
	return ret;
}

static uint64_t up(uint64_t v, uint64_t to) { return (v + to - 1) / to * to; }

static int layout(struct super *sb, const struct hf_format *f, uint64_t size, struct hf_err *err)
{
	uint64_t stride, rows;

	sb->nodes = f->nodes ? f->nodes : 8;
	sb->lease_ms = f->lease_ms ? f->lease_ms : 5000;
	sb->beat_ms = sb->lease_ms / 5;
	if (sb->nodes > HF_MAX_NODES)
		return hf_fail(err, HF_USAGE, -EINVAL, "%u nodes: at most %u are possible", sb->nodes, HF_MAX_NODES);
	if (sb->lease_ms < 500 || sb->lease_ms > 600000)
		return hf_fail(err, HF_USAGE, -EINVAL, "a lease of %u ms: between 500 ms and 10 min are possible", sb->lease_ms);
	stride = 2ull * HFD_SECTOR * sb->nodes;
	rows = f->resources ? f->resources + 1ull : size / 16 / stride;
	if (!f->resources && rows < 16)
		rows = 16;
	if (!f->resources && rows > 1025)
		rows = 1025;
	if (rows > 1u << 20)
		return hf_fail(err, HF_USAGE, -EINVAL, "%u resources are too many", f->resources);
	sb->rows = rows;
	sb->size = size;
	sb->node_off = HFD_NODE_OFF;
	sb->row_off = up(sb->node_off + stride, HFD_BLOCK);
	sb->row_stride = stride;
	sb->area_off = up(sb->row_off + stride * rows, HFD_BLOCK);
	if (size > sb->area_off)
		sb->area_size = (size - sb->area_off) / sb->nodes / HFD_BLOCK * HFD_BLOCK;
	if (sb->area_size > 1ull << 40)
		sb->area_size = 1ull << 40;	/* blocks are numbered in 32 bits, and kept in memory */
	if (sb->area_size < 1u << 20)
		return hf_fail(err, HF_USAGE, -EINVAL,
			       "%llu bytes are too small for %u nodes: %llu are needed at least",
			       (unsigned long long)size, sb->nodes,
			       (unsigned long long)(sb->area_off + sb->nodes * (1ull << 20)));
	return 0;
}

/* Formatting under a daemon that beats would leave both with a damaged disk. */
static int in_use(const char *dev, const struct hf_keys *keys, struct hf_err *err)
{
	uint64_t counter[HF_MAX_NODES], start = hf_now_ms();
	struct disk *d;
	bool any = false;
	int ret;

	if (disk_open_ro(dev, keys, &d, NULL))
		return 0;	/* not ours: the caller was asked about that */
	ret = nodes_read(d);
	for (uint32_t i = 0; i < d->sb.nodes; i++) {
		counter[i] = d->seen[i].rec.counter;
		any |= d->seen[i].status == SLOT_OK && d->seen[i].rec.state == NODE_ST_UP;
	}
	while (!ret && any && hf_now_ms() - start < d->sb.lease_ms) {
		hf_sleep_ms(d->sb.beat_ms / 2);
		ret = nodes_read(d);
		for (uint32_t i = 0; i < d->sb.nodes && !ret; i++)
			if (d->seen[i].rec.counter != counter[i])
				ret = hf_fail(err, HF_REFUSED, -EBUSY,
					      "%s is in use: the daemon of node %s of cluster %s is alive; stop it first",
					      dev, d->seen[i].rec.name, d->sb.cluster);
	}
	disk_close(&d->store);
	return ret == -EBUSY ? ret : 0;
}

/* All rows must read as never written; areas need not: nothing points there. */
static int wipe(int fd, uint64_t from, uint64_t to)
{
	size_t n = 1u << 20;
	uint8_t *p = dio_alloc(n);
	int ret = 0;

	if (!p)
		return -ENOMEM;
	while (from < to && !ret) {
		size_t m = to - from < n ? to - from : n;

		ret = hf_pwrite_full(fd, p, m, from);
		from += m;
	}
	free(p);
	return ret;
}

int hf_disk_format(const char *conf, const char *dev, const struct hf_format *f, struct hf_err *err)
{
	struct hf_conf *cf = NULL;
	struct hf_keys *keys = NULL;
	struct super sb = { 0 };
	char what[128];
	uint64_t size;
	bool created = false;
	int fd = -1, sync_fd = -1, ret;
	struct stat st;

	if (!f->cluster || !*f->cluster || strlen(f->cluster) > HF_NAME_MAX)
		return hf_fail(err, HF_USAGE, -EINVAL, "the cluster needs a name of 1 to %d bytes", HF_NAME_MAX);
	ret = hf_conf_load(conf, &cf, err);
	if (!ret)
		ret = hf_keys_load(cf->key_file, &keys, err);
	if (ret)
		goto out;
	fd = open(dev, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && f->size) {
		fd = open(dev, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		created = fd >= 0;
	}
	if (fd < 0) {
		ret = hf_fail(err, errno == ENOENT ? HF_NOTFOUND : HF_UNAVAIL, -errno, "%s cannot be opened: %s%s", dev,
			      strerror(errno), errno == ENOENT ? "; give --size to make a file" : "");
		goto out;
	}
	if (fstat(fd, &st)) {
		ret = -errno;
		goto out;
	}
	/* whoever has the device open for themselves (mounted, LVM) keeps it */
	if (S_ISBLK(st.st_mode)) {
		sync_fd = open(dev, O_RDWR | O_EXCL | O_CLOEXEC);
		if (sync_fd < 0) {
			ret = hf_fail(err, HF_REFUSED, -EBUSY, "%s is in use: %s", dev, strerror(errno));
			goto out;
		}
	}
	if (created && fallocate(fd, 0, 0, f->size) && ftruncate(fd, f->size)) {
		ret = hf_fail(err, HF_FAILED, -errno, "%s: %s", dev, strerror(errno));
		goto out;
	}
	ret = dev_size(fd, &size);
	if (ret) {
		hf_fail(err, HF_USAGE, ret, "%s is neither a block device nor a file", dev);
		goto out;
	}
	if (!f->force) {
		ret = foreign(fd, dev, what, sizeof(what));
		if (ret > 0)
			ret = hf_fail(err, HF_REFUSED, -EBUSY, "%s carries %s; --force destroys it", dev, what);
		if (ret)
			goto out;
	}
	ret = layout(&sb, f, size, err);
	if (!ret && f->force)
		ret = in_use(dev, keys, err);
	if (ret)
		goto out;
	snprintf(sb.cluster, sizeof(sb.cluster), "%s", f->cluster);
	hf_uuid_make(sb.cluster_uuid);
	hf_uuid_make(sb.disk_uuid);
	hf_uuid_make(sb.set_uuid);
	sb.set_epoch = 1;
	sb.seq = 1;
	sb.created_ns = hf_wall_ns();
	/* old magic first, superblock last: cut off in between, it is no quorum disk */
	ret = wipe(fd, 0, sb.area_off);
	/* a file's blocks are written once, so that a commit changes no metadata */
	if (!ret && S_ISREG(st.st_mode))
		ret = wipe(fd, sb.area_off, sb.area_off + sb.area_size * sb.nodes);
	if (!ret && fsync(fd))
		ret = -errno;
	if (!ret)
		ret = super_write(fd, &sb, keys);
	if (!ret && fsync(fd))
		ret = -errno;
	if (ret)
		hf_fail(err, HF_UNAVAIL, ret, "%s cannot be written: %s", dev, strerror(-ret));
out:
	if (created && ret)
		unlink(dev);
	if (fd >= 0)
		close(fd);
	if (sync_fd >= 0)
		close(sync_fd);
	hf_keys_free(keys);
	hf_conf_free(cf);
	return ret;
}
