// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The superblock, and what it lays out: which bytes are whose area.
 *
 * The layout only ever grows (disk_grow.c), while others use the disk: rows have room for
 * `slots` nodes from the start and are always read whole, so that nobody who knows an older
 * layout overlooks a claim; areas get further parts. Parts are never changed or
 * taken away: whoever knows fewer of them uses less of the own area, and looks again before
 * it calls a place in another's impossible.
 *
 * area_mu is held while the layout grows; `nparts` is set last, so parts are read without it.
 */
#include "disk_int.h"
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static uint32_t parts(const struct disk *d)
{
	return __atomic_load_n(&d->sb.nparts, __ATOMIC_ACQUIRE);
}

/* @p's share of @slot; false: none */
static bool share(const struct part *p, uint32_t slot, uint64_t *place)
{
	if (slot < p->first || slot - p->first >= p->count)
		return false;
	*place = p->off + p->size * (slot - p->first);
	return true;
}

bool in_area(const struct disk *d, uint32_t slot, uint64_t place, uint64_t n)
{
	return area_left(d, slot, place) >= n && area_left(d, slot, place);
}

uint64_t area_left(const struct disk *d, uint32_t slot, uint64_t place)
{
	uint64_t at;

	for (uint32_t i = 0, n = parts(d); i < n; i++) {
		const struct part *p = &d->sb.part[i];

		if (share(p, slot, &at) && place >= at && place - at < p->size)
			return p->size - (place - at);
	}
	return 0;
}

uint64_t area_at(const struct disk *d, uint32_t slot, uint32_t block, uint32_t *left)
{
	uint64_t at, n;

	for (uint32_t i = 0, np = parts(d); i < np; i++) {
		if (!share(&d->sb.part[i], slot, &at))
			continue;
		n = d->sb.part[i].size / HFD_BLOCK;
		if (block < n) {
			*left = n - block;
			return at + (uint64_t)block * HFD_BLOCK;
		}
		block -= n;
	}
	*left = 0;
	return 0;
}

uint32_t area_block(const struct disk *d, uint32_t slot, uint64_t place)
{
	uint64_t at, before = 0;

	for (uint32_t i = 0, n = parts(d); i < n; i++) {
		const struct part *p = &d->sb.part[i];

		if (!share(p, slot, &at))
			continue;
		if (place >= at && place - at < p->size)
			return before + (place - at) / HFD_BLOCK;
		before += p->size / HFD_BLOCK;
	}
	return UINT32_MAX;	/* the caller asked in_area() */
}

uint64_t super_area(const struct super *sb, uint32_t slot)
{
	uint64_t at, n = 0;

	for (uint32_t i = 0; i < sb->nparts; i++)
		if (share(&sb->part[i], slot, &at))
			n += sb->part[i].size;
	return n;
}

int dev_size(int fd, uint64_t *size)
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

int super_copies(int fd, const struct hf_keys *keys, struct super s[2], int r[2], struct hf_err *err)
{
	uint8_t *p = dio_alloc(2 * HFD_SECTOR);
	struct hf_err e[2] = { 0 };
	int ret;

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
		ret = 0;
	else if (!r[1])
		ret = 1;
	else {
		int i = r[0] == -ENODEV && r[1] != -ENODEV;

		ret = hf_fail(err, e[i].exit, r[i], "%s", e[i].msg);
	}
out:
	free(p);
	return ret;
}

/* Both copies; the newer sound one counts. */
int super_read(int fd, const struct hf_keys *keys, struct super *sb, struct hf_err *err)
{
	struct super *s = malloc(2 * sizeof(*s));
	int r[2], ret = s ? super_copies(fd, keys, s, r, err) : -ENOMEM;

	if (ret >= 0) {
		*sb = s[ret];
		ret = 0;
	}
	free(s);
	return ret;
}

int super_write(int fd, int which, const struct super *sb, const struct hf_keys *keys)
{
	uint8_t *p = dio_alloc(HFD_SECTOR);
	int ret;

	if (!p)
		return -ENOMEM;
	super_out(sb, keys, p);
	ret = hf_seam("disk.write");
	if (!ret)
		ret = hf_pwrite_full(fd, p, HFD_SECTOR, which * HFD_SECTOR);
	free(p);
	return ret;
}

/* Is @new what @d uses, grown? */
static bool grown(const struct super *old, const struct super *new)
{
	return !memcmp(old->cluster_uuid, new->cluster_uuid, 16) && old->rows == new->rows &&
	       old->slots == new->slots && old->node_off == new->node_off && old->row_off == new->row_off &&
	       old->row_stride == new->row_stride && old->nodes <= new->nodes && old->nparts <= new->nparts &&
	       !memcmp(old->part, new->part, old->nparts * sizeof(*old->part));
}

static int adopt(struct disk *d, const struct super *new, struct hf_err *err)
{
	int ret = 0;

	pthread_mutex_lock(&d->area_mu);
	if (new->seq <= d->sb.seq)
		goto out;
	if (!grown(&d->sb, new)) {
		ret = hf_fail(err, HF_DAMAGED, -EBADMSG, "%s: its superblock changed to a layout that does not follow from the one before",
			      d->path);
		goto out;
	}
	memcpy(d->sb.part, new->part, sizeof(d->sb.part));
	ret = d->blk ? area_extend(d, super_area(new, d->id.slot) / HFD_BLOCK) : 0;
	if (ret)
		goto out;
	__atomic_store_n(&d->sb.size, new->size, __ATOMIC_RELAXED);
	__atomic_store_n(&d->sb.seq, new->seq, __ATOMIC_RELAXED);
	__atomic_store_n(&d->sb.nodes, new->nodes, __ATOMIC_RELAXED);
	__atomic_store_n(&d->sb.nparts, new->nparts, __ATOMIC_RELEASE);
out:
	pthread_mutex_unlock(&d->area_mu);
	return ret;
}

/* What counts of it; which copies do not is noted. A write that is under way may be read in the middle */
static int look(struct disk *d, struct super *sb)
{
	struct super *s = malloc(2 * sizeof(*s));
	unsigned bad = 0, before = 3;
	int r[2], ret = s ? 0 : -ENOMEM;

	for (unsigned tries = 0; ret >= 0 && tries < 2 && before; tries++) {
		bad = 0;
		ret = super_copies(d->fd, d->keys, s, r, NULL);
		for (unsigned i = 0; i < 2 && ret >= 0; i++)
			bad |= (r[i] != 0) << i;
		before = bad &= before;
	}
	if (ret >= 0) {
		*sb = s[ret];
		ret = 0;
		__atomic_store_n(&d->super_bad, bad, __ATOMIC_RELAXED);
	}
	free(s);
	return ret;
}

int super_warning(struct disk *d, unsigned i, char *text, size_t n)
{
	unsigned bad = __atomic_load_n(&d->super_bad, __ATOMIC_RELAXED);

	if (i || !bad)
		return -ENOENT;
	snprintf(text, n, "copy %u of the superblock of %s is damaged, and the other one is all there is: look at the device; holdfast disk check tells more",
		 bad & 1 ? 1 : 2, d->path);
	return 0;
}

int super_check(struct disk *d, struct hf_err *err)
{
	struct super sb;
	uint64_t size;
	int ret = dev_size(d->fd, &size);

	if (!ret && size < __atomic_load_n(&d->sb.size, __ATOMIC_RELAXED))
		ret = -EIO;	/* gone for now, as a path that failed */
	if (!ret)
		ret = look(d, &sb);
	/* damage of the superblock alone is no reason to stop */
	if (ret == -EBADMSG || ret == -ENOTSUP)
		return 0;
	if (ret == -ENODEV || ret == -EKEYREJECTED || (!ret && memcmp(sb.disk_uuid, d->sb.disk_uuid, 16)))
		return hf_fail(err, HF_STALE, -ESTALE,
			       "%s is not the disk of cluster %s any more: it was formatted anew or overwritten; this node writes nothing to it",
			       d->path, d->sb.cluster);
	if (ret || sb.seq <= __atomic_load_n(&d->sb.seq, __ATOMIC_RELAXED))
		return ret;
	if (size < sb.size) {
		/* the other nodes see it larger already; what is known here stays right */
		if (sb.seq != __atomic_exchange_n(&d->small_seq, sb.seq, __ATOMIC_RELAXED))
			hf_logf(HF_LOG_WARN, "%s was grown, but this node sees %llu of its %llu bytes: let the kernel look at the device again",
				d->path, (unsigned long long)size, (unsigned long long)sb.size);
		return 0;
	}
	ret = adopt(d, &sb, err);
	return ret == -EBADMSG ? ret : 0;
}

bool area_has(struct disk *d, uint32_t slot, uint64_t place, uint64_t n)
{
	return in_area(d, slot, place, n) || (!super_check(d, NULL) && in_area(d, slot, place, n));
}
