// SPDX-License-Identifier: LGPL-2.1-or-later
/* The quorum disk: the device, and its table of functions. */
#include "dir_int.h"
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>

void *dio_alloc(size_t n)
{
	void *p = NULL;

	n = (n + HFD_SECTOR - 1) / HFD_SECTOR * HFD_SECTOR;
	if (posix_memalign(&p, HFD_SECTOR, n ? n : HFD_SECTOR))
		return NULL;
	memset(p, 0, n);
	return p;
}

static _Thread_local struct { uint64_t calls, bytes, ns; } reads;

void hf_store_reads(uint64_t *calls, uint64_t *bytes)
{
	*calls = reads.calls;
	*bytes = reads.bytes;
}

uint64_t hf_store_read_ns(void) { return reads.ns; }

/* by another thread, for this one */
void disk_counted(uint64_t bytes)
{
	reads.calls++;
	reads.bytes += bytes;
}

int disk_read(struct disk *d, void *p, size_t n, uint64_t off)
{
	uint64_t t = hf_now_ns();
	int ret = hf_seam("disk.read");

	reads.calls++;
	reads.bytes += n;
	if (!ret)
		ret = d->io->read(d, p, n, off);
	reads.ns += hf_now_ns() - t;
	return ret;
}

int disk_write(struct disk *d, const void *p, size_t n, uint64_t off)
{
	int ret = hf_seam("disk.write");

	if (!ret)
		ret = node_held(d);
	return ret ? ret : d->io->write(d, p, n, off);
}

int disk_write_pack(struct disk *d, const void *p, size_t n, uint64_t off)
{
	int ret = hf_seam("disk.pack");

	if (!ret)
		ret = node_held(d);
	return ret ? ret : d->io->put(d, p, n, off);
}

int disk_sync(struct disk *d) { return d->io->flush(d); }

/* ---- the device ---- */

static int dev_read(struct disk *d, void *p, size_t n, uint64_t off)
{
	return hf_pread_full(d->fd, p, n, off);
}

static int dev_write(struct disk *d, const void *p, size_t n, uint64_t off)
{
	return hf_pwrite_full(d->fd, p, n, off);
}

static int dev_put(struct disk *d, const void *p, size_t n, uint64_t off)
{
	return hf_pwrite_full(d->pack_fd, p, n, off);
}

static int dev_flush(struct disk *d) { return fdatasync(d->pack_fd) ? -errno : 0; }

static void dev_close(struct disk *d)
{
	if (d->pack_fd >= 0)
		close(d->pack_fd);
}

static const struct blocks_ops blocks_device = {
	.read = dev_read,
	.write = dev_write,
	.put = dev_put,
	.flush = dev_flush,
	.close = dev_close,
};

/* O_DIRECT where it is to be had: tmpfs, where tests may live, has none on old kernels. Elsewhere nothing
 * waits in a cache, from where it would come after a pause. */
int open_direct(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT | O_CLOEXEC);

	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags | O_CLOEXEC | (flags & O_RDWR ? O_DSYNC : 0));
	return fd < 0 ? -errno : fd;
}

static int dev_open(struct disk *d, const char *path, bool write, struct hf_err *err)
{
	d->fd = open_direct(path, write ? O_RDWR | O_DSYNC : O_RDONLY);
	if (d->fd < 0)
		return hf_fail(err, HF_UNAVAIL, d->fd, "the quorum disk %s cannot be opened: %s", path,
			       strerror(-d->fd));
	if (!write)
		return 0;
	d->pack_fd = open_direct(path, O_RDWR);
	return d->pack_fd < 0 ? hf_fail(err, HF_UNAVAIL, d->pack_fd, "%s: %s", path, strerror(-d->pack_fd)) : 0;
}

int disk_new(const char *path, const struct hf_keys *keys, bool write, struct disk **out,
		    struct hf_err *err)
{
	struct disk *d = hf_alloc(sizeof(*d));
	struct hf_err e = { 0 };
	uint64_t size;
	int ret;

	if (!d)
		return -ENOMEM;
	bool dirs = !strncmp(path, "dir:", 4);

	d->store.ops = dirs ? &hf_store_dir : &hf_store_disk;
	d->io = &blocks_device;
	d->store.keys = keys;
	d->fd = d->pack_fd = d->lock_fd = -1;
	d->keys = keys;
	pthread_mutex_init(&d->row_mu, NULL);
	pthread_cond_init(&d->row_cv, NULL);
	pthread_mutex_init(&d->area_mu, NULL);
	pthread_mutex_init(&d->node_mu, NULL);
	pthread_mutex_init(&d->cache_mu, NULL);
	d->path = strdup(path);
	ret = !d->path ? -ENOMEM : dirs ? dir_open(d, path + 4, write, err) : dev_open(d, path, write, err);
	if (ret)
		goto err;
	ret = super_read(d->fd, keys, &d->sb, &e);
	if (ret) {
		hf_fail(err, e.exit, ret, "%s: %s%s", path, e.msg,
			ret == -ENODEV ? "; holdfast init makes one" : "");
		goto err;
	}
	ret = dev_size(d->fd, &size);
	if (ret || size < d->sb.size) {
		ret = hf_fail(err, HF_DAMAGED, -EBADMSG,
			      "%s is smaller than when it was formatted or grown (%llu bytes, not %llu); if other nodes see more of it, let the kernel look at the device again",
			      path, (unsigned long long)size, (unsigned long long)d->sb.size);
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
	d->row_busy = hf_alloc(d->sb.rows);
	d->row_owned = hf_alloc(d->sb.rows * sizeof(*d->row_owned));
	if (!d->row_busy || !d->row_owned || readahead_init(d)) {
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

/* the same, which messages and disk_new() know by its scheme */
static int dirs_open(const char *arg, const struct hf_store_params *p, struct hf_store **out, struct hf_err *err)
{
	char *url = hf_strf("dir:%s", arg);
	int ret = url ? disk_open(url, p, out, err) : -ENOMEM;

	free(url);
	return ret;
}

void disk_close(struct hf_store *s)
{
	struct disk *d = disk_of(s);

	area_exit(d);
	if (d->fd >= 0)
		close(d->fd);
	d->io->close(d);
	free(d->row_busy);
	free(d->row_owned);
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
	int ret = d->io->join ? d->io->join(d, false, err) : 0;

	if (!ret)
		ret = node_join(d, err);
	if (!ret && d->io->join)
		ret = d->io->join(d, true, err);

	if (!ret)
		ret = area_rebuild(d, err);
	if (ret) {	/* without a map of the area nothing may be claimed */
		d->joined = false;
		area_exit(d);
	}
	return ret;
}

static int disk_more(struct hf_store *s, const struct hf_at *at) { return log_more(disk_of(s), at); }
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

static int disk_warning(struct hf_store *s, unsigned i, char *text, size_t n)
{
	struct disk *d = disk_of(s);
	unsigned k = 0;

	while (!(d->dirs ? dir_warning(d, k, text, n) : super_warning(d, k, text, n)))
		if (k++ == i)
			return 0;
	return k == i ? area_warning(d, text, n) : -ENOENT;
}

static void disk_space(struct hf_store *s, struct hf_space *sp) { area_space(disk_of(s), sp); }

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

	if (slot != c->d->id.slot || !in_area(c->d, slot, place, len))
		return true;
	/* what was put there last is not scattered, but the beginning of something */
	for (size_t i = 0; i < c->npack; i++)
		if (place >= c->pack[i].place && place < c->pack[i].place + c->pack[i].len)
			return false;
	/* copying takes room before it gives any back */
	return (area_sparse(c->d, place, len) && area_room(c->d, NULL) > 2ull * area_reserve(c->d, TIER_CONTENTS) * HFD_BLOCK);
}

static uint64_t disk_room(struct hf_claim *pc, uint64_t *total)
{
	struct claim *c = claim_of(pc);
	uint64_t room = area_room(c->d, total), leave = (uint64_t)base_reserve(c) * HFD_BLOCK;

	return room > leave ? room - leave : 0;
}

static int disk_get(struct hf_store *s, uint32_t slot, uint64_t place, void *buf, size_t n,
		    bool fresh, struct hf_err *err)
{
	struct disk *d = disk_of(s);
	int ret;

	if (!area_has(d, slot, place, n))
		return hf_fail(err, HF_DAMAGED, -EBADMSG, "%s: a record points outside the area of its node", d->path);
	ret = readahead_get(d, place, place + area_left(d, slot, place), buf, n, fresh);
	if (ret)
		hf_fail(err, HF_UNAVAIL, ret, "%s cannot be read: %s", d->path, strerror(-ret));
	return ret;
}

static void disk_known(struct hf_store *s, const uint8_t (*uuid)[16], size_t n)
{
	area_known(disk_of(s), uuid, n);
}

/* the one protocol, over two kinds of blocks */
#define OPS(name, how) { .scheme = name, .open = how, \
	.close = disk_close, .join = disk_join, .beat = disk_beat, .leave = disk_leave, \
	.nodes = disk_nodes, .warning = disk_warning, .space = disk_space, .info = disk_info, .stat = claim_stat, .claim = claim_take, \
	.epoch = disk_epoch, .slot = disk_slot, .append = claim_append, \
	.put_bytes = disk_put, .flush = disk_flush, .settle = disk_settle, .use = disk_use, \
	.wants_copy = disk_wants_copy, .room = disk_room, .confirm = claim_confirm, \
	.trim = claim_trim, .note = claim_note, .release = claim_release, \
	.known = disk_known, .drop = claim_drop, .read = claim_read, .more = disk_more, .get_bytes = disk_get }

const struct hf_store_ops hf_store_disk = OPS("disk", disk_open);
const struct hf_store_ops hf_store_dir = OPS("dir", dirs_open);
