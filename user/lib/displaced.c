// SPDX-License-Identifier: LGPL-2.1-or-later
/* Kept-aside copies: keeping what a restore is about to overwrite. displaced_int.h has the format. */
#include "displaced_int.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct hf_displaced {
	char *dir, *resource, *checkpoint, *reason;
	uint8_t key[32];
	char id[64];
	int dirfd, fd;		/* fd -1: nothing was added yet */
	crypto_secretstream_xchacha20poly1305_state ss;
	uint64_t count;
	bool dirty, broken;	/* broken: a frame was half written; nothing may follow it */
	uint8_t *buf, *out;
};

static void displaced_free(struct hf_displaced *d)
{
	if (d->fd >= 0)
		close(d->fd);
	if (d->dirfd >= 0)
		close(d->dirfd);
	if (d->buf)
		sodium_memzero(d->buf, DATA_MAX + 1);
	free(d->buf);
	free(d->out);
	free(d->dir);
	free(d->resource);
	free(d->checkpoint);
	free(d->reason);
	sodium_memzero(d, sizeof(*d));
	free(d);
}

int hf_displaced_begin(const char *dir, const uint8_t key[32], const char *resource,
		       const char *checkpoint, const char *reason, struct hf_displaced **out,
		       struct hf_err *err)
{
	struct hf_displaced *d = hf_alloc(sizeof(*d));

	if (!d)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	d->fd = d->dirfd = -1;
	d->dir = strdup(dir);
	d->resource = strdup(resource);
	d->checkpoint = strdup(checkpoint);
	d->reason = strdup(reason);
	d->buf = malloc(DATA_MAX + 1);
	d->out = malloc(4 + DATA_MAX + 1 + ABYTES);
	memcpy(d->key, key, sizeof(d->key));
	if (!d->dir || !d->resource || !d->checkpoint || !d->reason || !d->buf || !d->out) {
		displaced_free(d);
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	}
	*out = d;
	return 0;
}

static int write_all(int fd, const void *p, size_t n)
{
	while (n) {
		ssize_t r = write(fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		p = (const char *)p + r;
		n -= r;
	}
	return 0;
}

static int frame(struct hf_displaced *d, const void *p, size_t n, uint8_t tag)
{
	uint8_t *out = d->out;
	uint32_t len = n + ABYTES;
	int ret;

	if (d->broken)
		return -EIO;
	if (n > FRAME_MAX)
		return -E2BIG;
	if (n > DATA_MAX + 1) {
		out = malloc(4 + len);
		if (!out)
			return -ENOMEM;
	}
	for (int i = 0; i < 4; i++)
		out[i] = len >> (8 * i);
	crypto_secretstream_xchacha20poly1305_push(&d->ss, out + 4, NULL, p, n, out, 4, tag);
	d->dirty = true;
	ret = write_all(d->fd, out, 4 + len);
	if (ret)
		d->broken = true;
	if (out != d->out)
		free(out);
	return ret;
}

static int frame_buf(struct hf_displaced *d, struct hf_buf *b, uint8_t tag)
{
	int ret = b->bad ? -ENOMEM : frame(d, b->p, b->len, tag);

	hf_buf_free(b);
	return ret;
}

static void put_text(struct hf_buf *b, const char *s)
{
	hf_buf_blob(b, s, strlen(s));
}

/* names sort by age */
static void make_id(char id[64], uint64_t now)
{
	time_t s = now / 1000000000;
	struct tm tm;

	gmtime_r(&s, &tm);
	snprintf(id, 64, "%04d%02d%02dT%02d%02d%02d.%03uZ-%08x", tm.tm_year + 1900, tm.tm_mon + 1,
		 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(now / 1000000 % 1000),
		 randombytes_random());
}

static int create(struct hf_displaced *d)
{
	char *name = hf_displaced_escape(d->resource), *path = name ? hf_strf("%s/%s", d->dir, name) : NULL;
	uint64_t now = hf_wall_ns();
	struct hf_buf b = HF_BUF_INIT;
	uint8_t hdr[HDR];
	int ret = -ENOMEM;

	if (!path)
		goto out;
	ret = hf_mkdirs(path, 0700);
	if (ret)
		goto out;
	d->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->dirfd < 0) {
		ret = -errno;
		goto out;
	}
	make_id(d->id, now);
	d->fd = openat(d->dirfd, d->id, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->fd < 0) {
		ret = -errno;
		goto out;
	}
	memcpy(hdr, MAGIC, 8);
	crypto_secretstream_xchacha20poly1305_init_push(&d->ss, hdr + 8, d->key);
	ret = write_all(d->fd, hdr, sizeof(hdr));
	if (ret) {
		d->broken = true;
		goto out;
	}
	hf_buf_u8(&b, 'S');
	put_text(&b, d->reason);
	put_text(&b, d->resource);
	put_text(&b, d->checkpoint);
	hf_buf_u64(&b, now);
	ret = frame_buf(d, &b, 0);
out:
	free(path);
	free(name);
	return ret;
}

static int add_contents(struct hf_displaced *d, int fd, uint64_t *size)
{
	for (*size = 0; ; ) {
		ssize_t n = pread(fd, d->buf + 1, DATA_MAX, *size);
		int ret;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return 0;
		d->buf[0] = 'D';
		ret = frame(d, d->buf, n + 1, 0);
		if (ret)
			return ret;
		*size += n;
	}
}

/* *ours: the failure, if any, is the set's and not the tree's */
static int add_entry(struct hf_displaced *d, struct hf_tree *t, const char *rel, bool *ours)
{
	struct hf_attr a = { 0 };
	struct hf_buf b = HF_BUF_INIT, e = HF_BUF_INIT;
	struct hf_dircur cur;
	const char *name = "";
	struct statx stx;
	uint64_t size = 0;
	int dirfd, fd = -1, ret;

	ret = hf_dircur_init(&cur, t);
	if (ret)
		goto out;
	dirfd = *rel ? hf_dircur_parent(&cur, rel, &name) : t->root;
	ret = dirfd < 0 ? dirfd : *name ? hf_tree_statx(dirfd, name, &stx) : hf_fd_statx(dirfd, &stx);
	if (!ret && hf_left_alone(t, stx.stx_mode))
		goto out;
	if (!ret && S_ISREG(stx.stx_mode))
		ret = fd = hf_open_regular(dirfd, name);
	else if (!ret && S_ISDIR(stx.stx_mode))
		ret = fd = hf_open_dir(dirfd, name);
	if (fd >= 0)
		ret = hf_fd_statx(fd, &stx);
	if (!ret)
		ret = hf_attr_read(t, fd, dirfd, name, &stx, &a);
	if (!ret)
		ret = hf_attr_encode(&a, &e);
	if (ret)
		goto out;
	*ours = true;
	if (d->fd < 0) {
		ret = create(d);
		if (ret)
			goto out;
	}
	hf_buf_u8(&b, 'E');
	put_text(&b, rel);
	hf_buf_blob(&b, e.p, e.len);
	ret = frame_buf(d, &b, 0);
	if (!ret && S_ISREG(stx.stx_mode))
		ret = add_contents(d, fd, &size);
	if (ret)
		goto out;
	hf_buf_u8(&b, 'Z');
	hf_buf_u64(&b, size);
	ret = frame_buf(d, &b, 0);
	if (!ret)
		d->count++;
out:
	hf_buf_free(&e);
	hf_attr_free(&a);
	if (fd >= 0)
		close(fd);
	hf_dircur_free(&cur);
	return ret;
}

int hf_displaced_add(struct hf_displaced *d, struct hf_tree *t, const char *rel, struct hf_err *err)
{
	bool ours = false;
	int ret = -ESTALE;

	/* what changes its type under the hand is looked at again; what is gone needs no copy */
	for (int i = 0; i < HF_TRIES && ret == -ESTALE && !ours; i++)
		ret = add_entry(d, t, rel, &ours);
	if (ret == -ENOENT && !ours)
		return 0;
	if (ret) {
		char *text = hf_tree_text(t, rel);

		hf_fail(err, HF_OK, ret, ours ? "cannot keep a copy of %.500s in %.300s: %s; free space there "
			"or lower [displaced] size" : "cannot keep a copy of %.500s in %.300s: %s",
			text ? text : "?", d->dir, strerror(-ret));
		free(text);
	}
	return ret;
}

uint64_t hf_displaced_count(const struct hf_displaced *d)
{
	return d->count;
}

int hf_displaced_flush(struct hf_displaced *d)
{
	if (!d || d->fd < 0 || !d->dirty)
		return 0;
	if (fdatasync(d->fd) || fsync(d->dirfd))
		return -errno;
	d->dirty = false;
	return 0;
}

int hf_displaced_end(struct hf_displaced *d, char id[64], uint64_t *count, struct hf_err *err)
{
	struct hf_buf b = HF_BUF_INIT;
	int ret = 0;

	if (id)
		id[0] = 0;
	if (count)
		*count = d->count;
	if (d->fd >= 0) {
		hf_buf_u8(&b, 'F');
		hf_buf_u64(&b, d->count);
		ret = frame_buf(d, &b, crypto_secretstream_xchacha20poly1305_TAG_FINAL);
		if (!ret)
			ret = hf_displaced_flush(d);
		/* the resource's directory may be new too */
		if (!ret) {
			int up = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			if (up < 0 || fsync(up))
				ret = -errno;
			if (up >= 0)
				close(up);
		}
		if (id)
			memcpy(id, d->id, sizeof(d->id));
		if (ret)
			hf_fail(err, HF_OK, ret, "cannot write kept-aside set %s in %s: %s", d->id, d->dir,
				strerror(-ret));
	}
	displaced_free(d);
	return ret;
}

