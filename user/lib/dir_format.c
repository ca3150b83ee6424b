// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Making a store of shared directories. The file `member` comes last: a directory without it
 * is no store.
 */
#include "dir_int.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE_DEFAULT (1ull << 30)

uint32_t dir_files(const struct super *sb) { return sb->row_stride / (2 * HFD_SECTOR); }

static bool ours(const char *name)
{
	unsigned slot;
	char end;

	return !strcmp(name, "super") || !strcmp(name, "member") || sscanf(name, "node-%2u%c", &slot, &end) == 1;
}

/* May it become a store? It is there, and empty. */
int dir_check_target(const char *path, bool force, struct hf_err *err)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	int ret = 0;

	if (!dir)
		return hf_fail(err, errno == ENOENT ? HF_NOTFOUND : HF_UNAVAIL, -errno,
			       "%s cannot be opened: %s; make the directory on a filesystem that all nodes share", path, strerror(errno));
	while (!force && !ret && (e = readdir(dir))) {
		if (e->d_name[0] == '.' || !strcmp(e->d_name, "lost+found"))
			continue;
		ret = hf_fail(err, HF_REFUSED, -EBUSY, "%s carries %s; --force %s", path,
			      ours(e->d_name) ? "a store" : "other files",
			      ours(e->d_name) ? "destroys it" : "makes a store beside them");
	}
	closedir(dir);
	return ret;
}

int dir_check_distinct(char *path[DIR_MAX], struct hf_err *err)
{
	struct stat a, b;

	for (unsigned i = 0; i < DIR_MAX && path[i]; i++)
		for (unsigned k = 0; k < i; k++)
			if (!stat(path[i], &a) && !stat(path[k], &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
				return hf_fail(err, HF_USAGE, -EINVAL, "%s and %s are the same directory", path[k], path[i]);
	return 0;
}

static int create(const char *dir, const char *name, int slot, const struct super *sb, int *fd)
{
	char path[PATH_MAX];
	int ret = dir_file(dir, name, slot, path, sizeof(path));

	if (ret)
		return ret;
	*fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0)
		return -errno;
	return ftruncate(*fd, sb->size) ? -errno : 0;
}

/* Its area is allocated now, where the filesystem can: it does not fill up later. */
int dir_create_node(const char *dir, uint32_t slot, const struct super *sb)
{
	int fd = -1, ret = create(dir, "node", slot, sb, &fd);

	if (!ret && slot < sb->nodes &&
	    fallocate(fd, 0, sb->part[0].off + sb->part[0].size * slot, sb->part[0].size) && errno == ENOSPC)
		ret = -ENOSPC;
	if (!ret && fsync(fd))
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

int dir_create_super(const char *dir, const struct super *sb, const struct hf_keys *keys)
{
	int fd = -1, ret = create(dir, "super", -1, sb, &fd);

	for (int i = 0; i < 2 && !ret; i++)
		ret = super_write(fd, i, sb, keys);
	if (!ret && fsync(fd))
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

int dir_unlink_member(const char *dir)
{
	char path[PATH_MAX];
	int ret = dir_file(dir, "member", -1, path, sizeof(path));

	return ret ? ret : unlink(path) && errno != ENOENT ? -errno : 0;
}

struct member_rec dir_rec(const struct super *sb, unsigned index, unsigned count)
{
	struct member_rec r = { .set_epoch = sb->set_epoch, .index = index, .count = count };

	memcpy(r.set_uuid, sb->set_uuid, 16);
	memcpy(r.disk_uuid, sb->disk_uuid, 16);
	return r;
}

static void unmake(const char *dir, const struct super *sb)
{
	char path[PATH_MAX];

	(void)dir_unlink_member(dir);
	if (!dir_file(dir, "super", -1, path, sizeof(path)))
		unlink(path);
	for (uint32_t i = 0; i < dir_files(sb); i++)
		if (!dir_file(dir, "node", i, path, sizeof(path)))
			unlink(path);
}

int dir_format(const char *arg, const struct hf_keys *keys, const struct hf_format *f, struct hf_err *err)
{
	struct super sb = { 0 };
	char *path[DIR_MAX], *url = hf_strf("dir:%s", arg);
	unsigned i = 0;
	int n = url ? dir_split(arg, path, err) : -ENOMEM, ret = n < 0 ? n : dir_check_distinct(path, err);

	for (int k = 0; k < n && !ret; k++)
		ret = dir_check_target(path[k], f->force, err);
	if (!ret)
		ret = super_layout(&sb, f, f->size ? f->size : SIZE_DEFAULT, err);
	if (!ret && f->force)
		ret = disk_in_use(url, keys, err);
	if (ret)
		goto out;
	super_name(&sb, f->cluster);
	for (int k = 0; k < n && !ret; k++)
		ret = dir_unlink_member(path[k]);
	for (i = 0; i < (unsigned)n && !ret; i++) {
		for (uint32_t slot = 0; slot < dir_files(&sb) && !ret; slot++)
			ret = dir_create_node(path[i], slot, &sb);
		if (!ret)
			ret = dir_create_super(path[i], &sb, keys);
	}
	for (int k = 0; k < n && !ret; k++) {
		struct member_rec r = dir_rec(&sb, k, n);

		ret = member_save(path[k], keys, &r);
	}
	if (ret) {
		hf_fail(err, HF_UNAVAIL, ret, "%s cannot be written: %s%s", path[i ? i - 1 : 0], strerror(-ret),
			ret == -ENOSPC ? "; --size says how much a store may take" : "");
		for (unsigned k = 0; k < i && !f->force; k++)
			unmake(path[k], &sb);
	}
out:
	if (n >= 0)
		dir_unsplit(path);
	free(url);
	return ret;
}
