// SPDX-License-Identifier: LGPL-2.1-or-later
/* Kept-aside copies: keeping what a restore is about to overwrite. displaced_int.h has the format. */
#include "displaced_int.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

struct hf_displaced {
	char *dir, *resource, *checkpoint, *reason;
	uint8_t key[32];
	char id[64];
	int dirfd, fd;		/* fd -1: nothing was added yet */
	crypto_secretstream_xchacha20poly1305_state ss;
	uint64_t gen;		/* that is restored; 0 none */
	uint64_t count, bytes, max;	/* max: of the file; 0 none */
	uint64_t left_out;	/* entries that could not be kept */
	char *left_first;	/* one of them */
	int why;		/* the first failure; 0: they were beyond max */
	struct kept { uint8_t rel[16], what[32]; } *kept;	/* what an interrupted restore kept; sorted */
	size_t nkept, kept_cap;
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
	free(d->kept);
	free(d->left_first);
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
	const uint32_t zeros = n - 1;
	const uint8_t hole[5] = { 'H', zeros, zeros >> 8, zeros >> 16, zeros >> 24 };
	uint8_t *out = d->out;
	uint32_t len;
	int ret;

	if (n > sizeof(hole) && hf_displaced_zeros(p, n)) {
		p = hole;
		n = sizeof(hole);
	}
	len = n + ABYTES;
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
	else
		d->bytes += 4 + len;
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

static bool is_named(int dirfd, const char *name, const struct stat *st)
{
	struct stat now;

	return !fstatat(dirfd, name, &now, AT_SYMLINK_NOFOLLOW) && now.st_dev == st->st_dev && now.st_ino == st->st_ino;
}

/*
 * Its lock says that it is being written: none that has not ended yet is taken for one that was left. Others have it for
 * a moment, to look, or to remove it, or until their set has ended, which has got its own name by then: then it is
 * another file that is written.
 */
static int open_locked(struct hf_displaced *d, const char *name, int flags)
{
	struct stat st = { 0 };
	int ret;

	do {
		if (d->fd >= 0)
			close(d->fd);
		d->fd = openat(d->dirfd, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
		if (d->fd < 0)
			return -errno;
		/* a filesystem may have no locks */
		while (flock(d->fd, LOCK_EX) && errno == EINTR)
			;
		ret = fstat(d->fd, &st) ? -errno : 0;
	} while (!ret && !is_named(d->dirfd, name, &st));
	if (!ret && st.st_size && ftruncate(d->fd, 0))
		ret = -errno;
	if (ret) {
		close(d->fd);
		d->fd = -1;
	}
	return ret;
}

/* a file named @name with all that goes before the first entry */
static int begin_file(struct hf_displaced *d, const char *name, int flags, uint64_t when)
{
	struct hf_buf b = HF_BUF_INIT;
	uint8_t hdr[HDR];
	int ret = open_locked(d, name, flags);

	if (ret)
		return ret;
	memcpy(hdr, MAGIC, 8);
	crypto_secretstream_xchacha20poly1305_init_push(&d->ss, hdr + 8, d->key);
	ret = write_all(d->fd, hdr, sizeof(hdr));
	if (ret) {
		d->broken = true;
		return ret;
	}
	d->bytes = sizeof(hdr);
	hf_buf_u8(&b, 'S');
	put_text(&b, d->reason);
	put_text(&b, d->resource);
	put_text(&b, d->checkpoint);
	hf_buf_u64(&b, when);
	hf_buf_u64(&b, d->gen);
	return frame_buf(d, &b, 0);
}

/*
 * What an entry is, to tell whether it is kept already: its type and contents. Other attributes
 * are what an interrupted restore may have set half of: no state that was ever meant.
 */
static void entry_begin(crypto_generichash_state *h, const struct hf_attr *a)
{
	const uint32_t type = a->mode & S_IFMT;

	crypto_generichash_init(h, NULL, 0, 32);
	crypto_generichash_update(h, (const uint8_t *)&type, sizeof(type));
	if (a->target)
		crypto_generichash_update(h, (const uint8_t *)a->target, strlen(a->target));
}

static void name_hash(const char *rel, size_t n, uint8_t out[16])
{
	crypto_generichash(out, 16, (const uint8_t *)rel, n, NULL, 0);
}

static int by_rel(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

static int kept_add(struct hf_displaced *d, const uint8_t rel[16], crypto_generichash_state *h)
{
	if (d->nkept == d->kept_cap) {
		size_t cap = d->kept_cap ? 2 * d->kept_cap : 64;
		void *p = realloc(d->kept, cap * sizeof(*d->kept));

		if (!p)
			return -ENOMEM;
		d->kept = p;
		d->kept_cap = cap;
	}
	memcpy(d->kept[d->nkept].rel, rel, 16);
	crypto_generichash_final(h, d->kept[d->nkept++].what, 32);
	return 0;
}

struct going_on {
	struct hf_displaced *d;
	uint64_t whole, when;	/* entries that are */
	bool counting;
	uint8_t rel[16];
	crypto_generichash_state h;
};

static int old_frame(void *ctx, const uint8_t *p, size_t n, uint8_t tag)
{
	struct going_on *g = ctx;
	struct hf_displaced_head head;
	uint32_t rlen, alen;
	const uint8_t *rel, *attr;
	struct hf_attr a;
	struct hf_rd rd;
	int ret;

	if (g->counting) {
		if (p[0] == 'S' && !hf_displaced_head(p, n, &head)) {
			g->when = head.when;
			hf_displaced_head_free(&head);
		}
		g->whole += p[0] == 'Z';
		return 0;
	}
	if (p[0] == 'S')
		return 0;
	if (g->d->count == g->whole)
		return 1;	/* the next one was cut short */
	if (p[0] == 'E') {
		hf_rd_init(&rd, p + 1, n - 1);
		rel = hf_rd_blob(&rd, &rlen);
		attr = hf_rd_blob(&rd, &alen);
		ret = rel && attr ? hf_attr_decode(attr, alen, &a) : -EBADMSG;
		if (ret)
			return ret;
		name_hash((const char *)rel, rlen, g->rel);
		entry_begin(&g->h, &a);
		hf_attr_free(&a);
	} else if (p[0] == 'D') {
		crypto_generichash_update(&g->h, p + 1, n - 1);
	}
	ret = frame(g->d, p, n, 0);
	if (!ret && p[0] == 'Z') {
		g->d->count++;
		ret = kept_add(g->d, g->rel, &g->h);
	}
	return ret;
}

/* goes on with what a restore that did not come to its end left; 1: there is nothing */
static int go_on(struct hf_displaced *d)
{
	struct going_on g = { .d = d, .counting = true };
	int ret = hf_displaced_unfinished(d->dirfd, d->key, d->checkpoint, d->reason, d->gen, d->id);

	if (ret != 1)
		return ret < 0 ? ret : 1;
	ret = hf_displaced_each_frame(d->dirfd, d->id, d->key, old_frame, &g);
	if (ret)
		return 1;	/* damaged: it stays for who can make something of it */
	g.counting = false;
	ret = begin_file(d, REST, 0, g.when);
	if (!ret)
		ret = hf_displaced_each_frame(d->dirfd, d->id, d->key, old_frame, &g);
	if (ret == 1)
		ret = 0;
	if (!ret && (fdatasync(d->fd) || renameat(d->dirfd, REST, d->dirfd, d->id) || fsync(d->dirfd)))
		ret = -errno;
	if (ret) {
		d->broken = true;
		unlinkat(d->dirfd, REST, 0);
	}
	if (d->nkept)
		qsort(d->kept, d->nkept, sizeof(*d->kept), by_rel);
	return ret;
}

static int open_dir(struct hf_displaced *d, bool make)
{
	char *name = hf_displaced_escape(d->resource), *path = name ? hf_strf("%s/%s", d->dir, name) : NULL;
	int ret = path ? 0 : -ENOMEM;

	if (!ret && make)
		ret = hf_mkdirs(path, 0700);
	if (!ret) {
		d->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ret = d->dirfd < 0 ? -errno : 0;
	}
	free(path);
	free(name);
	return ret;
}

static int create(struct hf_displaced *d)
{
	uint64_t now = hf_wall_ns();
	int ret = d->dirfd < 0 ? open_dir(d, true) : 0;

	if (!ret)
		ret = go_on(d);
	if (ret != 1)
		return ret;
	make_id(d->id, now);
	return begin_file(d, d->id, O_EXCL, now);
}

/* bytes of @fd that are not in holes, as what D frames they are in */
static uint64_t data_bytes(int fd, uint64_t size)
{
	uint64_t sum = 0;
	off_t at = 0, end;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		if (end < 0)
			return size;
		sum += (end + DATA_MAX - 1) / DATA_MAX * DATA_MAX - at / DATA_MAX * DATA_MAX;
		at = end;
	}
	return errno == ENXIO && sum < size ? sum : size;
}

/* contents of @fd, as frames if @write */
static int add_contents(struct hf_displaced *d, int fd, bool write, crypto_generichash_state *h, uint64_t *size)
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
		if (h)
			crypto_generichash_update(h, d->buf + 1, n);
		ret = write ? frame(d, d->buf, n + 1, 0) : 0;
		if (ret)
			return ret;
		*size += n;
	}
}

/* whether the same is in the set already: 1, 0, -errno */
static int is_kept(struct hf_displaced *d, const uint8_t rel[16], const struct hf_attr *a, int fd)
{
	crypto_generichash_state h;
	uint8_t what[32];
	uint64_t size;
	int ret;
	struct kept *k = d->nkept ? bsearch(rel, d->kept, d->nkept, sizeof(*k), by_rel) : NULL;

	if (!k)
		return 0;
	entry_begin(&h, a);
	ret = fd < 0 ? 0 : add_contents(d, fd, false, &h, &size);
	if (ret)
		return ret;
	crypto_generichash_final(&h, what, 32);
	while (k > d->kept && !by_rel(k - 1, rel))
		k--;
	for (; k < d->kept + d->nkept && !by_rel(k, rel); k++)
		if (!memcmp(k->what, what, 32))
			return 1;
	return 0;
}

static void leave_out(struct hf_displaced *d, const char *rel)
{
	if (!d->left_out++)
		d->left_first = strdup(rel);
}

/* @shared: the generation has it too; *begun: the entry was there and could be looked at */
static int add_entry(struct hf_displaced *d, struct hf_tree *t, const char *rel, bool shared, bool *begun)
{
	struct hf_attr a = { 0 };
	struct hf_buf b = HF_BUF_INIT, e = HF_BUF_INIT;
	uint8_t rel_hash[16];
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
	/* which names were one file, should more of them be kept */
	if (!ret && stx.stx_nlink > 1 && !S_ISDIR(stx.stx_mode))
		a.link = stx.stx_ino;
	if (!ret)
		ret = hf_attr_encode(&a, &e);
	if (ret)
		goto out;
	*begun = true;
	if (d->fd < 0) {
		ret = create(d);
		if (ret)
			goto out;
	}
	/* of a directory only attributes are kept, and these an interrupted restore may have begun to set */
	if (shared && d->nkept)
		goto out;
	name_hash(rel, strlen(rel), rel_hash);
	ret = is_kept(d, rel_hash, &a, S_ISREG(stx.stx_mode) ? fd : -1);
	if (ret) {
		ret = ret < 0 ? ret : 0;
		goto out;
	}
	if (d->max && d->bytes + e.len + (S_ISREG(stx.stx_mode) ? data_bytes(fd, stx.stx_size) : 0) +
	    stx.stx_size / 1024 + 4096 > d->max) {
		leave_out(d, rel);
		goto out;
	}
	hf_buf_u8(&b, 'E');
	put_text(&b, rel);
	hf_buf_blob(&b, e.p, e.len);
	ret = frame_buf(d, &b, 0);
	if (!ret && S_ISREG(stx.stx_mode))
		ret = add_contents(d, fd, true, NULL, &size);
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

static int add(struct hf_displaced *d, struct hf_tree *t, const char *rel, bool shared, struct hf_err *err)
{
	bool begun = false;
	int ret = -ESTALE;

	/* what changes its type under the hand is looked at again; what is gone needs no copy */
	for (int i = 0; i < HF_TRIES && ret == -ESTALE && !begun; i++)
		ret = add_entry(d, t, rel, shared, &begun);
	if (ret == -ENOMEM)
		return hf_fail(err, HF_OK, ret, "out of memory");
	/* where there is no room, or no disk, what must be restored is restored all the same (P7) */
	if (ret && (ret != -ENOENT || begun)) {
		if (!d->why)
			d->why = ret;
		leave_out(d, rel);
	}
	return 0;
}

int hf_displaced_add(struct hf_displaced *d, struct hf_tree *t, const char *rel, struct hf_err *err)
{
	return add(d, t, rel, false, err);
}

int hf_displaced_add_dir(struct hf_displaced *d, struct hf_tree *t, const char *rel, struct hf_err *err)
{
	return add(d, t, rel, true, err);
}

void hf_displaced_generation(struct hf_displaced *d, uint64_t gen)
{
	d->gen = gen;
}

void hf_displaced_limit(struct hf_displaced *d, uint64_t max)
{
	d->max = max;
}

void hf_displaced_spare(struct hf_displaced *d, int fd, uint64_t need)
{
	struct stat here, there;
	struct statvfs v;
	uint64_t left;

	if (stat(d->dir, &here) || fstat(fd, &there) || here.st_dev != there.st_dev || fstatvfs(fd, &v))
		return;
	left = (uint64_t)v.f_bfree * v.f_frsize;
	need += need / 16 + (1 << 20);		/* indirect blocks, directories */
	/* what does not fit anyway has holes, or fails without copies too */
	if (need > left)
		return;
	if (!d->max || left - need < d->max)
		d->max = left - need;
}

const char *hf_displaced_left_first(const struct hf_displaced *d) { return d->left_first; }

uint64_t hf_displaced_left_out(const struct hf_displaced *d, int *why)
{
	*why = d->why;
	return d->left_out;
}

uint64_t hf_displaced_count(const struct hf_displaced *d)
{
	return d->count;
}

void hf_displaced_flush(struct hf_displaced *d)
{
	if (!d || d->fd < 0 || !d->dirty)
		return;
	if ((fdatasync(d->fd) || fsync(d->dirfd)) && !d->why)
		d->why = -errno;
	d->dirty = false;
}

static int finish(struct hf_displaced *d, bool whole)
{
	struct hf_buf b = HF_BUF_INIT;
	int up, ret = 0;

	/* nothing new: but what an interrupted restore began ends with this one */
	if (d->fd < 0 && whole && !open_dir(d, false)) {
		ret = go_on(d);
		ret = ret == 1 ? 0 : ret;
	}
	if (d->fd < 0 || ret)
		return ret;
	if (whole) {
		hf_buf_u8(&b, 'F');
		hf_buf_u64(&b, d->count);
		hf_buf_u8(&b, 0);
		ret = frame_buf(d, &b, crypto_secretstream_xchacha20poly1305_TAG_FINAL);
	}
	if (!ret && (fdatasync(d->fd) || fsync(d->dirfd)))
		ret = -errno;
	/* the resource's directory may be new too */
	up = ret ? -1 : open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!ret && (up < 0 || fsync(up)))
		ret = -errno;
	if (up >= 0)
		close(up);
	return ret;
}

int hf_displaced_end(struct hf_displaced *d, bool whole, char id[64], uint64_t *count, struct hf_err *err)
{
	int ret = finish(d, whole);

	if (id)
		memcpy(id, d->fd >= 0 ? d->id : "", d->fd >= 0 ? sizeof(d->id) : 1);
	if (count)
		*count = d->count;
	if (ret)
		hf_fail(err, HF_OK, ret, "cannot write kept-aside set %s in %s: %s", d->id, d->dir, strerror(-ret));
	displaced_free(d);
	return ret;
}
