// SPDX-License-Identifier: LGPL-2.1-or-later
/* Making a device a quorum disk. */
#include "dir_int.h"
#include <blkid/blkid.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "conf.h"

/* What is on the device that formatting would destroy; 0: nothing known. */
int disk_carries(int fd, char *what, size_t n)
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

#define SPARE 4		/* slots that rows have room for beyond the nodes that are asked for */

static uint64_t up(uint64_t v, uint64_t to) { return (v + to - 1) / to * to; }

int super_layout(struct super *sb, const struct hf_format *f, uint64_t size, struct hf_err *err)
{
	uint64_t stride, rows, off, each = 0;

	sb->nodes = f->nodes ? f->nodes : 8;
	sb->slots = f->nodes_max;
	if (!sb->slots)
		sb->slots = sb->nodes + SPARE < HF_MAX_NODES ? sb->nodes + SPARE : HF_MAX_NODES;
	sb->lease_ms = f->lease_ms ? f->lease_ms : 5000;
	sb->beat_ms = sb->lease_ms / 5;
	if (sb->nodes > HF_MAX_NODES || sb->slots > HF_MAX_NODES)
		return hf_fail(err, HF_USAGE, -EINVAL, "%u nodes: at most %u are possible",
			       sb->nodes > sb->slots ? sb->nodes : sb->slots, HF_MAX_NODES);
	if (sb->slots < sb->nodes)
		return hf_fail(err, HF_USAGE, -EINVAL, "%u nodes at most, and areas for %u: one of them is too much or too little",
			       sb->slots, sb->nodes);
	if (sb->lease_ms < 500 || sb->lease_ms > 600000)
		return hf_fail(err, HF_USAGE, -EINVAL, "a lease of %u ms: between 500 ms and 10 min are possible", sb->lease_ms);
	stride = 2ull * HFD_SECTOR * sb->slots;
	rows = f->resources ? f->resources + 1ull : size / 16 / (2ull * HFD_SECTOR * sb->nodes);
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
	off = up(sb->row_off + stride * rows, HFD_BLOCK);
	if (size > off)
		each = (size - off) / sb->nodes / HFD_BLOCK * HFD_BLOCK;
	if (each > AREA_MAX)
		each = AREA_MAX;
	if (each < AREA_MIN)
		return hf_fail(err, HF_USAGE, -EINVAL,
			       "%llu bytes are too small for %u nodes: %llu are needed at least",
			       (unsigned long long)size, sb->nodes,
			       (unsigned long long)(off + sb->nodes * (uint64_t)AREA_MIN));
	sb->nparts = 1;
	sb->part[0] = (struct part){ 0, sb->nodes, off, each };
	return 0;
}

void super_name(struct super *sb, const char *cluster)
{
	snprintf(sb->cluster, sizeof(sb->cluster), "%s", cluster);
	hf_uuid_make(sb->cluster_uuid);
	hf_uuid_make(sb->disk_uuid);
	hf_uuid_make(sb->set_uuid);
	sb->set_epoch = 1;
	sb->seq = 1;
	sb->created_ns = hf_wall_ns();
}

/* Formatting under a daemon that beats would leave both with a damaged disk. */
int disk_in_use(const char *dev, const struct hf_keys *keys, struct hf_err *err)
{
	uint64_t counter[HF_MAX_NODES], start = hf_now_ms();
	struct disk *d;
	bool any = false;
	int ret;

	if (disk_open_ro(dev, keys, &d, NULL))
		return 0;	/* not ours: the caller was asked about that */
	ret = nodes_read(d);
	for (uint32_t i = 0; i < d->sb.slots; i++) {
		counter[i] = d->seen[i].rec.counter;
		any |= d->seen[i].status == SLOT_OK && d->seen[i].rec.state == NODE_ST_UP;
	}
	while (!ret && any && hf_now_ms() - start < d->sb.lease_ms) {
		hf_sleep_ms(d->sb.beat_ms / 2);
		ret = nodes_read(d);
		for (uint32_t i = 0; i < d->sb.slots && !ret; i++)
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
	if (!ret && !strncmp(dev, "dir:", 4)) {
		ret = dir_format(dev + 4, keys, f, err);
		goto out;
	}
	if (ret)
		goto out;
	fd = open(dev, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && f->size) {
		fd = open(dev, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		created = fd >= 0;
	}
	if (fd < 0) {
		ret = hf_fail(err, errno == ENOENT ? HF_NOTFOUND : HF_UNAVAIL, -errno, "%s cannot be opened: %s%s", dev,
			      strerror(errno), errno != ENOENT ? "" :
			      f->size ? "; make the directory first" : "; give --size to make a file");
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
		ret = disk_carries(fd, what, sizeof(what));
		if (ret > 0)
			ret = hf_fail(err, HF_REFUSED, -EBUSY, "%s carries %s; --force destroys it", dev, what);
		if (ret)
			goto out;
	}
	ret = super_layout(&sb, f, size, err);
	if (!ret && f->force)
		ret = disk_in_use(dev, keys, err);
	if (ret)
		goto out;
	super_name(&sb, f->cluster);
	/* old magic first, superblock last: cut off in between, it is no quorum disk */
	ret = wipe(fd, 0, sb.part[0].off);
	/* a file's blocks are written once, so that a commit changes no metadata */
	if (!ret && S_ISREG(st.st_mode))
		ret = wipe(fd, sb.part[0].off, sb.part[0].off + sb.part[0].size * sb.nodes);
	if (!ret && fsync(fd))
		ret = -errno;
	for (int i = 0; i < 2 && !ret; i++)
		ret = super_write(fd, i, &sb, keys);
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
