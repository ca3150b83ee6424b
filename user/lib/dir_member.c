// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One shared directory: `super`, `member`, and for each node one file that it alone writes (but
 * whoever removes it writes its row).
 * A byte lies in its file where it would lie on a quorum disk, so the files are sparse; all
 * have their full length from the start, and no file is made or renamed later, so that no
 * client's cache of names or sizes can hide anything.
 *
 * Read and written with O_DIRECT, which reaches the server (NFS) or the cluster's lock (GFS2,
 * OCFS2) each time. Where it is not to be had a file is opened for each reading: caches are
 * checked then (close-to-open).
 */
#include "dir_int.h"
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMBER_MAGIC "HFMEMBER"
#define MEMBER_VERSION 1
#define MEMBER_MAC 32
#define MEMBER_LEN (64 + MEMBER_MAC)

int dir_file(const char *dir, const char *name, int slot, char path[], size_t n)
{
	int len = slot < 0 ? snprintf(path, n, "%s/%s", dir, name) :
		  snprintf(path, n, "%s/%s-%02d", dir, name, slot);

	return len >= (int)n ? -ENAMETOOLONG : 0;
}

/* ---- the file `member` ---- */

static void member_out(const struct member_rec *r, struct hf_buf *b)
{
	hf_buf_put(b, MEMBER_MAGIC, 8);
	hf_buf_u32(b, MEMBER_VERSION);
	hf_buf_u32(b, r->index);
	hf_buf_u32(b, r->count);
	hf_buf_u32(b, 0);
	hf_buf_put(b, r->set_uuid, 16);
	hf_buf_put(b, r->disk_uuid, 16);
	hf_buf_u64(b, r->set_epoch);
}

int member_save(const char *path, const struct hf_keys *keys, const struct member_rec *rec)
{
	struct hf_buf b = HF_BUF_INIT;
	uint8_t mac[MEMBER_MAC];
	char file[PATH_MAX];
	int ret = dir_file(path, "member", -1, file, sizeof(file));

	member_out(rec, &b);
	if (b.bad)
		ret = -ENOMEM;
	if (!ret) {
		hf_mac(keys->mac, b.p, b.len, mac);
		hf_buf_put(&b, mac, sizeof(mac));
		ret = b.bad ? -ENOMEM : hf_write_file(file, b.p, b.len, 0600);
	}
	hf_buf_free(&b);
	return ret;
}

int member_load(const char *path, const struct hf_keys *keys, struct member_rec *rec, struct hf_err *err)
{
	char file[PATH_MAX], *text = NULL;
	uint8_t mac[MEMBER_MAC];
	struct hf_rd rd;
	size_t n = 0;
	int ret = dir_file(path, "member", -1, file, sizeof(file));

	memset(rec, 0, sizeof(*rec));
	if (!ret)
		ret = hf_read_file(file, HFD_SECTOR, &text, &n);
	if (ret)
		return hf_fail(err, HF_UNAVAIL, ret == -ENOENT ? -ENODEV : ret, "%s %s: %s", path,
			       ret == -ENOENT ? "holds no store" : "cannot be read",
			       ret == -ENOENT ? "is the shared filesystem mounted? holdfast init makes a new store" :
			       strerror(-ret));
	ret = -EBADMSG;
	if (n != MEMBER_LEN || memcmp(text, MEMBER_MAGIC, 8))
		goto out;
	hf_mac(keys->mac, text, n - MEMBER_MAC, mac);
	if (sodium_memcmp(mac, text + n - MEMBER_MAC, MEMBER_MAC)) {
		ret = -EKEYREJECTED;
		goto out;
	}
	hf_rd_init(&rd, text, n - MEMBER_MAC);
	hf_rd_bytes(&rd, 8);
	if (hf_rd_u32(&rd) != MEMBER_VERSION) {
		ret = -ENOTSUP;
		goto out;
	}
	rec->index = hf_rd_u32(&rd);
	rec->count = hf_rd_u32(&rd);
	hf_rd_u32(&rd);
	memcpy(rec->set_uuid, hf_rd_bytes(&rd, 16), 16);
	memcpy(rec->disk_uuid, hf_rd_bytes(&rd, 16), 16);
	rec->set_epoch = hf_rd_u64(&rd);
	if (!rd.bad && rec->count >= 1 && rec->count <= DIR_MAX && rec->index < rec->count)
		ret = 0;
out:
	free(text);
	if (ret == -EKEYREJECTED)
		hf_fail(err, HF_DAMAGED, ret, "%s: damaged, or the key of this node is not the key of this store", file);
	else if (ret)
		hf_fail(err, ret == -ENOTSUP ? HF_FAILED : HF_DAMAGED, ret, "%s: %s", file,
			ret == -ENOTSUP ? "its format is newer than this program; upgrade holdfast on this node" :
			"is damaged");
	return ret;
}

/* ---- its files ---- */

struct member *member_new(const char *path, const struct member_rec *rec)
{
	struct member *m = hf_alloc(sizeof(*m));

	if (!m)
		return NULL;
	m->rec = *rec;
	m->own_fd = m->put_fd = -1;
	m->direct = true;
	for (unsigned i = 0; i < HF_MAX_NODES; i++)
		m->fd[i] = -1;
	pthread_rwlock_init(&m->use, NULL);
	m->path = strdup(path);
	if (m->path)
		return m;
	member_free(m);
	return NULL;
}

static void close_all(struct member *m)
{
	for (unsigned i = 0; i < HF_MAX_NODES; i++) {
		if (m->fd[i] >= 0)
			close(m->fd[i]);
		m->fd[i] = -1;
	}
	if (m->own_fd >= 0)
		close(m->own_fd);
	if (m->put_fd >= 0)
		close(m->put_fd);
	m->own_fd = m->put_fd = -1;
	m->ino = 0;
}

void member_free(struct member *m)
{
	if (!m)
		return;
	close_all(m);
	pthread_rwlock_destroy(&m->use);
	free(m->path);
	free(m);
}

static int open_file(struct member *m, const char *name, int slot, int flags)
{
	char path[PATH_MAX];
	int fd, ret = dir_file(m->path, name, slot, path, sizeof(path));

	if (ret)
		return ret;
	if (m->direct && !hf_seam("dir.direct")) {
		fd = open(path, flags | O_DIRECT | O_CLOEXEC);
		if (fd >= 0 || errno != EINVAL)
			return fd < 0 ? -errno : fd;
	}
	m->direct = false;
	/* nothing waits in a cache, from where it would come after a pause */
	fd = open(path, flags | O_CLOEXEC | (flags & O_RDWR ? O_DSYNC : 0));
	return fd < 0 ? -errno : fd;
}

int member_super(struct member *m, bool write)
{
	return open_file(m, "super", -1, write ? O_RDWR | O_DSYNC : O_RDONLY);
}

/* formatting a directory replaces this file */
static int stat_member(const struct member *m, struct stat *st)
{
	char path[PATH_MAX];
	int ret = dir_file(m->path, "member", -1, path, sizeof(path));

	return ret ? ret : stat(path, st) ? -errno : 0;
}

/* Nothing is open. Is it still what it was when it was opened first? */
static int identify(struct member *m, const struct hf_keys *keys)
{
	struct member_rec now;
	struct stat st;
	int ret = stat_member(m, &st);

	if (!ret)
		ret = member_load(m->path, keys, &now, NULL);
	if (ret || memcmp(&now, &m->rec, sizeof(now)))
		return -ENODEV;
	m->dev = st.st_dev;
	m->ino = st.st_ino;
	return 0;
}

int member_same(struct member *m)
{
	struct stat st;
	int ret = stat_member(m, &st);

	pthread_rwlock_wrlock(&m->use);
	if (ret || st.st_dev != m->dev || st.st_ino != m->ino)
		close_all(m);
	pthread_rwlock_unlock(&m->use);
	return ret;
}

/* a descriptor to use, -errno; under m->use */
static int file_of(struct disk *d, struct member *m, uint32_t slot, int *fd, int flags)
{
	int ret = 0;

	pthread_mutex_lock(&d->dirs->mu);
	if (!m->ino)
		ret = identify(m, d->keys);
	/* whoever takes a place tries one after the other */
	if (flags != O_RDONLY && *fd >= 0 && m->own != slot) {
		close(*fd);
		*fd = -1;
	}
	if (flags != O_RDONLY)
		m->own = slot;
	if (!ret && *fd < 0)
		*fd = open_file(m, "node", slot, flags);
	if (!ret)
		ret = *fd;
	pthread_mutex_unlock(&d->dirs->mu);
	return ret;
}

static int seam(const struct member *m)
{
	char name[16];

	snprintf(name, sizeof(name), "dir.%u", m->rec.index);
	return hf_seam(name);
}

/* Files have their full length from the start; and a stale handle of NFS is no stale epoch. */
static int io(int ret)
{
	return ret == -ENODATA || ret == -ESTALE ? -EIO : ret;
}

int member_read(struct disk *d, struct member *m, uint32_t slot, void *p, size_t n, uint64_t off)
{
	int fd, ret = seam(m);

	if (ret)
		return ret;
	pthread_rwlock_rdlock(&m->use);
	fd = file_of(d, m, slot, &m->fd[slot], O_RDONLY);
	if (fd >= 0 && !m->direct) {
		fd = open_file(m, "node", slot, O_RDONLY);
		ret = fd < 0 ? fd : hf_pread_full(fd, p, n, off);
		if (fd >= 0)
			close(fd);
	} else {
		ret = fd < 0 ? fd : hf_pread_full(fd, p, n, off);
	}
	pthread_rwlock_unlock(&m->use);
	return io(ret);
}

/* Of another node's file only the row is ever written, by who removes that node. */
static int write_foreign(struct disk *d, struct member *m, uint32_t slot, const void *p, size_t n, uint64_t off)
{
	int fd = file_of(d, m, slot, &m->fd[slot], O_RDONLY), ret;

	if (fd >= 0)
		fd = open_file(m, "node", slot, O_RDWR | O_DSYNC);
	ret = fd < 0 ? fd : hf_pwrite_full(fd, p, n, off);
	if (fd >= 0)
		close(fd);
	return ret;
}

int member_write(struct disk *d, struct member *m, uint32_t slot, const void *p, size_t n, uint64_t off, bool durable)
{
	int fd, ret = seam(m);

	if (ret)
		return ret;
	pthread_rwlock_rdlock(&m->use);
	if (slot != d->id.slot) {
		ret = write_foreign(d, m, slot, p, n, off);
	} else {
		fd = file_of(d, m, slot, durable ? &m->own_fd : &m->put_fd, durable ? O_RDWR | O_DSYNC : O_RDWR);
		ret = fd < 0 ? fd : hf_pwrite_full(fd, p, n, off);
	}
	pthread_rwlock_unlock(&m->use);
	return io(ret);
}

int member_flush(struct disk *d, struct member *m)
{
	int ret = seam(m);

	if (ret)
		return ret;
	pthread_rwlock_rdlock(&m->use);
	/* closed since: the directory was replaced, and with it what was put there */
	ret = m->put_fd < 0 ? -EIO : fdatasync(m->put_fd) ? -errno : 0;
	pthread_rwlock_unlock(&m->use);
	return io(ret);
}
