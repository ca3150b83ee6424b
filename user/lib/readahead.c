// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Blocks of areas as they were last read, for contents: what a base wrote is read
 * in the order in which it lies, so some is read ahead; what many small commits wrote lies
 * scattered, so no more than that block is read for it.
 *
 * What is here may have been overwritten on the disk since; the seal of a
 * chunk tells, and its reader asks again, @fresh.
 *
 * cache_mu protects all of it, and is held over the reads.
 */
#include "disk_int.h"
#include <stdlib.h>

#define SLOTS 32u
#define AHEAD 8u

struct readahead {
	uint64_t block[SLOTS];		/* number of the block, plus one */
	uint8_t *data;			/* SLOTS blocks */
};

int readahead_init(struct disk *d)
{
	d->ahead = hf_alloc(sizeof(*d->ahead));
	if (!d->ahead)
		return -ENOMEM;
	/* not zeroed: what was not read yet is not looked at, and its pages are never touched */
	return posix_memalign((void **)&d->ahead->data, HFD_SECTOR, SLOTS * HFD_BLOCK) ? -ENOMEM : 0;
}

void readahead_exit(struct disk *d)
{
	if (d->ahead)
		free(d->ahead->data);
	free(d->ahead);
	d->ahead = NULL;
}

static bool here(const struct readahead *a, uint64_t b)
{
	return a->block[b % SLOTS] == b + 1;
}

static int load(struct disk *d, uint64_t b, uint64_t end)
{
	struct readahead *a = d->ahead;
	uint64_t n = b && here(a, b - 1) ? AHEAD : 1;
	int ret;

	if (n > SLOTS - b % SLOTS)
		n = SLOTS - b % SLOTS;	/* they lie in a row */
	if (n > end - b)
		n = end - b;
	for (uint64_t i = 0; i < n; i++)
		a->block[(b + i) % SLOTS] = 0;
	ret = disk_read(d, a->data + b % SLOTS * HFD_BLOCK, n * HFD_BLOCK, b * HFD_BLOCK);
	for (uint64_t i = 0; i < n && !ret; i++)
		a->block[(b + i) % SLOTS] = b + i + 1;
	return ret;
}

/* @n bytes at @place, which is in the area that ends at @end */
int readahead_get(struct disk *d, uint64_t place, uint64_t end, void *buf, size_t n, bool fresh)
{
	struct readahead *a = d->ahead;
	uint8_t *out = buf;
	int ret = 0;

	pthread_mutex_lock(&d->cache_mu);
	while (n && !ret) {
		uint64_t b = place / HFD_BLOCK;
		size_t at = place % HFD_BLOCK, len = HFD_BLOCK - at < n ? HFD_BLOCK - at : n;

		if (fresh || !here(a, b))
			ret = load(d, b, end / HFD_BLOCK);
		if (ret)
			break;
		memcpy(out, a->data + b % SLOTS * HFD_BLOCK + at, len);
		out += len;
		place += len;
		n -= len;
	}
	pthread_mutex_unlock(&d->cache_mu);
	return ret;
}
