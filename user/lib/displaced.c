// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Kept-aside copies: what a restore is about to overwrite.
 *
 * A set is one file: magic, secretstream header, frames. A frame is a 32-bit
 * length and that many bytes of ciphertext; its first plain byte says what it
 * is. The file grows only at its end and has its final name from the start, so
 * what a crash leaves is a set that ends early, and lists what is whole in it.
 *
 *   S  reason, resource, checkpoint, time      once, first
 *   E  rel, attributes                         begins an entry
 *   D  up to 64 KiB of its contents
 *   Z  size of the contents                    the entry is whole
 *   F  number of entries (tag FINAL)           the set is whole
 */
#include "tree_int.h"
#include <dirent.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MAGIC "HFDISPL1"
#define HDR (8 + crypto_secretstream_xchacha20poly1305_HEADERBYTES)
#define ABYTES crypto_secretstream_xchacha20poly1305_ABYTES
#define DATA_MAX 65536u
#define FRAME_MAX (32u << 20)	/* attributes with many xattrs are the largest */

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

/* a resource's name as one directory's name */
static char *escape(const char *name)
{
	char *out = malloc(3 * strlen(name) + 2), *q = out;

	if (!out)
		return NULL;
	if (!*name)
		*q++ = '%';
	for (const uint8_t *p = (const uint8_t *)name; *p; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= '0' && *p <= '9') || *p == '_' || *p == '-' ||
			     (*p == '.' && q != out);

		if (plain)
			*q++ = *p;
		else
			q += sprintf(q, "%%%02X", *p);
	}
	*q = 0;
	return out;
}

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

/* 0: no such name */
static uint64_t id_when(const char *id)
{
	int y, mo, d, h, mi, s, used = 0;
	unsigned ms;

	if (sscanf(id, "%4d%2d%2dT%2d%2d%2d.%3uZ-%n", &y, &mo, &d, &h, &mi, &s, &ms, &used) != 7 ||
	    used != 21 || strlen(id) != 29 || strspn(id + 21, "0123456789abcdef") != 8)
		return 0;
	struct tm tm = { .tm_year = y - 1900, .tm_mon = mo - 1, .tm_mday = d,
			 .tm_hour = h, .tm_min = mi, .tm_sec = s };
	time_t t = timegm(&tm);

	return t <= 0 ? 0 : (uint64_t)t * 1000000000ull + ms * 1000000ull;
}

static int create(struct hf_displaced *d)
{
	char *name = escape(d->resource), *path = name ? hf_strf("%s/%s", d->dir, name) : NULL;
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
	if (!ret && S_ISSOCK(stx.stx_mode))
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

/* reading */

struct reader {
	FILE *f;
	crypto_secretstream_xchacha20poly1305_state ss;
	uint8_t *in, *plain;
	size_t cap;
};

/* 1 a frame, 0 the set ends here (cut short), -EBADMSG */
static int next_frame(struct reader *r, size_t *n, uint8_t *tag)
{
	uint8_t head[4];
	unsigned long long plain;
	uint32_t len;

	if (fread(head, 1, 4, r->f) != 4)
		return ferror(r->f) ? -EIO : 0;
	len = head[0] | head[1] << 8 | head[2] << 16 | (uint32_t)head[3] << 24;
	if (len < ABYTES + 1 || len > FRAME_MAX + ABYTES)
		return -EBADMSG;
	if (len > r->cap) {
		uint8_t *in, *out;

		/* a length is not believed further than the file goes */
		off_t at = ftello(r->f), end;

		if (fseeko(r->f, 0, SEEK_END) || (end = ftello(r->f)) < 0 || fseeko(r->f, at, SEEK_SET))
			return -EIO;
		if (end - at < len)
			return 0;
		in = realloc(r->in, len);
		if (!in)
			return -ENOMEM;
		r->in = in;
		out = malloc(len);
		if (!out)
			return -ENOMEM;
		if (r->plain)
			sodium_memzero(r->plain, r->cap);
		free(r->plain);
		r->plain = out;
		r->cap = len;
	}
	if (fread(r->in, 1, len, r->f) != len)
		return ferror(r->f) ? -EIO : 0;
	if (crypto_secretstream_xchacha20poly1305_pull(&r->ss, r->plain, &plain, tag, r->in, len, head, 4))
		return -EBADMSG;
	*n = plain;
	return plain ? 1 : -EBADMSG;
}

static char *rd_str(struct hf_rd *r)
{
	uint32_t n;
	const uint8_t *p = hf_rd_blob(r, &n);
	char *s;

	if (!p || memchr(p, 0, n))
		r->bad = true;
	s = r->bad ? NULL : strndup((const char *)p, n);
	if (!s)
		r->bad = true;
	return s;
}

struct listing {
	const uint8_t *key;
	int (*fn)(void *ctx, const char *id, uint64_t when_ns, const char *reason,
		  const char *resource, const char *checkpoint, const char *rel,
		  const struct hf_attr *a);
	void *ctx;
	bool stopped;
	/* or, instead of all that, the contents of one entry */
	const char *want;
	int (*sink)(void *ctx, const void *p, size_t n);
	bool found;
};

static int read_set(struct listing *l, int dirfd, const char *id)
{
	char *reason = NULL, *resource = NULL, *checkpoint = NULL, *rel = NULL;
	struct hf_attr a = { 0 };
	struct reader r = { 0 };
	uint64_t when = 0;
	uint8_t hdr[HDR], tag;
	struct hf_rd rd;
	size_t n;
	int fd = openat(dirfd, id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int ret;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	r.f = fdopen(fd, "r");
	if (!r.f) {
		close(fd);
		return -ENOMEM;
	}
	ret = 0;
	if (fread(hdr, 1, sizeof(hdr), r.f) != sizeof(hdr))
		goto out;	/* cut off before it began */
	ret = -EBADMSG;
	if (memcmp(hdr, MAGIC, 8) ||
	    crypto_secretstream_xchacha20poly1305_init_pull(&r.ss, hdr + 8, l->key))
		goto out;
	for (bool first = true; (ret = next_frame(&r, &n, &tag)) == 1; first = false) {
		uint8_t kind = r.plain[0];

		ret = -EBADMSG;
		hf_rd_init(&rd, r.plain + 1, n - 1);
		if (first != (kind == 'S'))
			break;
		if (kind == 'S') {
			reason = rd_str(&rd);
			resource = rd_str(&rd);
			checkpoint = rd_str(&rd);
			when = hf_rd_u64(&rd);
			if (rd.bad)
				break;
			ret = l->fn ? l->fn(l->ctx, id, when, reason, resource, checkpoint, NULL, NULL) : 0;
			l->stopped = ret;
		} else if (kind == 'E') {
			uint32_t alen;
			const uint8_t *ap;

			free(rel);
			hf_attr_free(&a);
			rel = rd_str(&rd);
			ap = hf_rd_blob(&rd, &alen);
			if (rd.bad)
				break;
			ret = hf_attr_decode(ap, alen, &a);
		} else if (kind == 'D') {
			ret = !rel ? -EBADMSG :
			      l->want && !strcmp(rel, l->want) ? l->sink(l->ctx, r.plain + 1, n - 1) : 0;
		} else if (kind == 'Z') {
			uint64_t size = hf_rd_u64(&rd);

			if (rd.bad || !rel)
				break;
			if (S_ISREG(a.mode))
				a.size = size;
			ret = l->fn ? l->fn(l->ctx, id, when, reason, resource, checkpoint, rel, &a) : 0;
			l->stopped = ret;
			if (l->want && !strcmp(rel, l->want)) {
				l->found = true;
				break;
			}
			free(rel);
			rel = NULL;
			hf_attr_free(&a);
		} else if (kind == 'F' && tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL) {
			ret = 0;
			break;
		}
		if (ret)
			break;
	}
out:
	if (r.plain)
		sodium_memzero(r.plain, r.cap);
	free(r.plain);
	free(r.in);
	fclose(r.f);
	free(reason);
	free(resource);
	free(checkpoint);
	free(rel);
	hf_attr_free(&a);
	return ret;
}

static int only_sets(const struct dirent *e)
{
	return id_when(e->d_name) != 0;
}

static int only_names(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

/* calls @fn for every set of a resource (escaped name, NULL: all), oldest first in each */
static int each_set(const char *dir, const char *resource,
		    int (*fn)(void *ctx, int dirfd, const char *sub, const char *id), void *ctx)
{
	struct dirent **subs = NULL;
	int top, n, ret = 0;

	top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0)
		return errno == ENOENT ? 0 : -errno;
	n = scandirat(top, ".", &subs, only_names, alphasort);
	if (n < 0)
		ret = -errno;
	for (int i = 0; i < n; i++) {
		struct dirent **ids = NULL;
		int sub = -1, m = 0;

		if (!ret && (!resource || !strcmp(resource, subs[i]->d_name)))
			sub = openat(top, subs[i]->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (sub >= 0)
			m = scandirat(sub, ".", &ids, only_sets, alphasort);
		if (m < 0)
			ret = -errno;
		for (int j = 0; j < m; j++) {
			if (!ret)
				ret = fn(ctx, sub, subs[i]->d_name, ids[j]->d_name);
			free(ids[j]);
		}
		free(ids);
		if (sub >= 0)
			close(sub);
		free(subs[i]);
	}
	free(subs);
	close(top);
	return ret;
}

struct list_ctx {
	struct listing l;
	int damaged;
	struct hf_err *err;
	const char *dir;
};

static int list_one(void *ctx, int dirfd, const char *sub, const char *id)
{
	struct list_ctx *c = ctx;
	int ret = read_set(&c->l, dirfd, id);

	if (!ret || c->l.stopped)
		return ret;
	/* the others can still be read */
	if (!c->damaged)
		hf_fail(c->err, HF_OK, ret, "kept-aside set %s/%s/%s: %s", c->dir, sub, id,
			ret == -EBADMSG ? "damaged, or not made with this node's key" : strerror(-ret));
	c->damaged = ret;
	return 0;
}

int hf_displaced_list(const char *dir, const uint8_t key[32], const char *resource,
		      int (*fn)(void *ctx, const char *id, uint64_t when_ns, const char *reason,
				const char *resource, const char *checkpoint, const char *rel,
				const struct hf_attr *a), void *ctx, struct hf_err *err)
{
	struct list_ctx c = { .l = { .key = key, .fn = fn, .ctx = ctx }, .err = err, .dir = dir };
	char *name = NULL;
	int ret;

	if (resource) {
		name = escape(resource);
		if (!name)
			return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	}
	ret = each_set(dir, name, list_one, &c);
	free(name);
	if (ret && !c.l.stopped)
		hf_fail(err, HF_OK, ret, "cannot read %s: %s", dir, strerror(-ret));
	return ret ? ret : c.damaged;
}

int hf_displaced_read(const char *dir, const uint8_t key[32], const char *resource, const char *id,
		      const char *rel, int (*sink)(void *ctx, const void *p, size_t n), void *ctx,
		      struct hf_err *err)
{
	struct listing l = { .key = key, .ctx = ctx, .want = rel, .sink = sink };
	char *name = escape(resource), *path = name ? hf_strf("%s/%s", dir, name) : NULL;
	int dirfd, ret = -ENOENT;

	free(name);
	if (!path)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd >= 0 && id_when(id)) {
		ret = read_set(&l, dirfd, id);
		if (!ret && !l.found)
			ret = -ENOENT;
	}
	if (ret)
		hf_fail(err, HF_OK, ret, ret == -ENOENT ? "kept-aside set %s/%s holds no such entry, or not all of it" :
			"cannot read kept-aside set %s/%s", path, id);
	if (dirfd >= 0)
		close(dirfd);
	free(path);
	return ret;
}

struct set {
	char *path;		/* below the directory */
	const char *id;
	uint64_t size;
};
struct sets {
	struct set *e;
	unsigned n, cap;
};

static int collect(void *ctx, int dirfd, const char *sub, const char *id)
{
	struct sets *s = ctx;
	struct stat st;

	if (fstatat(dirfd, id, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	if (s->n == s->cap) {
		unsigned cap = s->cap ? 2 * s->cap : 16;
		void *p = realloc(s->e, cap * sizeof(*s->e));

		if (!p)
			return -ENOMEM;
		s->e = p;
		s->cap = cap;
	}
	s->e[s->n].path = hf_strf("%s/%s", sub, id);
	if (!s->e[s->n].path)
		return -ENOMEM;
	s->e[s->n].id = strrchr(s->e[s->n].path, '/') + 1;
	s->e[s->n++].size = st.st_size;
	return 0;
}

static int by_age(const void *a, const void *b)
{
	return strcmp(((const struct set *)a)->id, ((const struct set *)b)->id);
}

int hf_displaced_prune(const char *dir, uint64_t max_bytes, uint64_t keep_s)
{
	struct sets s = { 0 };
	uint64_t now = hf_wall_ns(), total = 0;
	int ret = each_set(dir, NULL, collect, &s);
	int top = ret || !s.n ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (!ret && s.n && top < 0)
		ret = -errno;
	for (unsigned i = 0; i < s.n; i++)
		total += s.e[i].size;
	if (s.n)
		qsort(s.e, s.n, sizeof(*s.e), by_age);
	for (unsigned i = 0; !ret && i < s.n; i++) {
		uint64_t when = id_when(s.e[i].id);
		bool old = now > when && (now - when) / 1000000000 >= keep_s;

		if (!old && total <= max_bytes)
			break;
		if (unlinkat(top, s.e[i].path, 0) && errno != ENOENT)
			ret = -errno;
		else
			total -= s.e[i].size;
	}
	for (unsigned i = 0; i < s.n; i++)
		free(s.e[i].path);
	free(s.e);
	if (top >= 0)
		close(top);
	return ret;
}
