// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which directories are in the set of a store, said by an administrator while no daemon runs:
 * one is replaced, one that was left out is taken in again, one is given up. Those that
 * lack something are filled from one that has everything; only then the new set is
 * told of, with a higher epoch, so that whatever is left of the old one is not used again.
 */
#include "dir_int.h"
#include "conf.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COPY (1u << 20)

static int copy_range(int from, int to, uint8_t *buf, uint64_t at, uint64_t end)
{
	int ret = 0;

	while (at < end && !ret) {
		size_t n = end - at < COPY ? end - at : COPY;

		ret = hf_pread_full(from, buf, n, at);
		if (!ret)
			ret = hf_pwrite_full(to, buf, n, at);
		at += n;
	}
	return ret;
}

/* what was written of it; the rest reads as zeros there and here */
static int copy_node(const char *from, const char *to, uint32_t slot, const struct super *sb)
{
	uint8_t *buf = dio_alloc(COPY);
	char path[PATH_MAX];
	int in = -1, out = -1, ret = buf ? dir_create_node(to, slot, sb) : -ENOMEM;
	off_t at = 0, end;

	if (!ret)
		ret = dir_file(from, "node", slot, path, sizeof(path));
	if (!ret && (in = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		ret = -errno;
	if (!ret)
		ret = dir_file(to, "node", slot, path, sizeof(path));
	if (!ret && (out = open(path, O_RDWR | O_CLOEXEC)) < 0)
		ret = -errno;
	while (!ret && (at = lseek(in, at, SEEK_DATA)) >= 0) {
		end = lseek(in, at, SEEK_HOLE);
		ret = end < 0 ? -errno : copy_range(in, out, buf, at, end);
		at = end;
	}
	if (!ret && at < 0 && errno != ENXIO)
		ret = -errno;
	if (!ret && fsync(out))
		ret = -errno;
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	free(buf);
	return ret;
}

/* in place, one copy after the other: cut off in between, one of them is whole */
static int update_super(const char *dir, const struct super *sb, const struct hf_keys *keys)
{
	char path[PATH_MAX];
	int fd, ret = dir_file(dir, "super", -1, path, sizeof(path));

	if (ret)
		return ret;
	fd = open(path, O_RDWR | O_DSYNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (int i = 0; i < 2 && !ret; i++)
		ret = super_write(fd, i, sb, keys);
	close(fd);
	return ret;
}

/* the member that is @path, or NULL */
static struct member *member_of(const struct dirset *s, const char *path)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->m[i] && !strcmp(s->m[i]->path, path))
			return s->m[i];
	return NULL;
}

static bool has_all(const struct dirset *s, const struct member *m)
{
	return m && (s->live & 1u << m->rec.index);
}

/* The first directory that has everything: what it has all others of them have as well. */
static const char *source(const struct dirset *s, char *path[DIR_MAX], bool force)
{
	for (unsigned i = 0; i < s->count; i++)
		if (has_all(s, s->m[i]))
			return s->m[i]->path;
	for (unsigned i = 0; i < DIR_MAX && path[i] && force; i++)
		if (member_of(s, path[i]))
			return path[i];
	return NULL;
}

/* It may be filled: it is of this store, or nothing is there. */
static int check_filled(const struct disk *d, const char *path, struct hf_err *err)
{
	struct member_rec rec;
	int ret;

	if (member_of(d->dirs, path))
		return 0;
	ret = member_load(path, d->keys, &rec, err);
	if (ret == -ENODEV)
		return dir_check_target(path, false, err);
	if (!ret && memcmp(rec.set_uuid, d->sb.set_uuid, 16))
		ret = hf_fail(err, HF_REFUSED, -EBUSY, "%s holds another store", path);
	return ret;
}

/* A later directory must have all that an earlier one has, confirmed or not: what is kept is kept
 * in its old order, and what is filled is filled from the one before. */
static int change(struct disk *d, char *path[DIR_MAX], unsigned n, const char *from, struct hf_err *err)
{
	struct super sb = d->sb;
	const char *at = path[0];
	int ret = 0, last = -1;

	sb.set_epoch++;
	sb.seq++;
	for (unsigned k = 0; k < n && !ret; k++, from = at) {
		const struct member *m = member_of(d->dirs, path[k]);

		at = path[k];
		if (!strcmp(at, from) || (has_all(d->dirs, m) && (int)m->rec.index > last)) {
			last = m->rec.index;
			continue;
		}
		ret = dir_unlink_member(at);
		for (uint32_t slot = 0; slot < dir_files(&sb) && !ret; slot++)
			ret = copy_node(from, at, slot, &sb);
		if (!ret)
			ret = dir_create_super(at, &sb, d->keys);
	}
	for (unsigned k = 0; k < n && !ret; k++) {
		at = path[k];
		ret = update_super(at, &sb, d->keys);
	}
	for (unsigned k = 0; k < n && !ret; k++) {
		struct member_rec r = dir_rec(&sb, k, n);

		at = path[k];
		ret = member_save(at, d->keys, &r);
	}
	return ret ? hf_fail(err, HF_UNAVAIL, ret, "%s cannot be written: %s; the set is as it was, or the same command completes it",
			     at, strerror(-ret)) : 0;
}

static int set(const char *arg, const struct hf_keys *keys, bool force, struct hf_err *err)
{
	char *path[DIR_MAX] = { NULL }, *url = hf_strf("dir:%s", arg);
	struct disk *d = NULL;
	const char *from;
	int n = url ? dir_split(arg, path, err) : -ENOMEM, ret = n < 0 ? n : dir_check_distinct(path, err);

	if (!ret)
		ret = disk_in_use(url, keys, err);
	if (!ret)
		ret = disk_open_ro(url, keys, &d, err);
	if (ret)
		goto out;
	ret = set_seen(d);
	if (ret && !force) {
		ret = hf_fail(err, HF_UNAVAIL, ret, "these are too few of the %u directories of the set to tell whether others have newer generations; name those too, or, if they are lost for good, say --force",
			      d->dirs->count);
		goto out;
	}
	from = source(d->dirs, path, force);
	ret = from ? 0 : hf_fail(err, HF_UNAVAIL, -ENODEV, "none of these directories has all that was confirmed; name one that has, or, if those are lost for good, say --force: then the first one named counts");
	for (int k = 0; k < n && !ret; k++)
		ret = check_filled(d, path[k], err);
	if (!ret)
		ret = change(d, path, n, from, err);
out:
	if (d)
		disk_close(&d->store);
	if (n >= 0)
		dir_unsplit(path);
	free(url);
	return ret;
}

int hf_dir_set(const char *conf, const char *url, int force, struct hf_err *err)
{
	struct hf_conf *cf = NULL;
	struct hf_keys *keys = NULL;
	int ret;

	if (strncmp(url, "dir:", 4))
		return hf_fail(err, HF_USAGE, -EINVAL, "%s: name all directories of the set: dir:/srv/one:/srv/two", url);
	ret = hf_conf_load(conf, &cf, err);
	if (!ret)
		ret = hf_keys_load(cf->key_file, &keys, err);
	if (!ret)
		ret = set(url + 4, keys, force, err);
	hf_keys_free(keys);
	hf_conf_free(cf);
	return ret;
}
