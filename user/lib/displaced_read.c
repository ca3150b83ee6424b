// SPDX-License-Identifier: LGPL-2.1-or-later
/* Kept-aside copies: listing them, reading one back, removing the oldest. */
#include "displaced_int.h"
#include <dirent.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

char *hf_displaced_escape(const char *name)
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

uint64_t hf_displaced_when(const char *id)
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

int hf_displaced_each_frame(int dirfd, const char *id, const uint8_t key[32],
			    int (*fn)(void *ctx, const uint8_t *p, size_t n, uint8_t tag), void *ctx)
{
	struct reader r = { 0 };
	uint8_t hdr[HDR], tag;
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
	if (memcmp(hdr, MAGIC, 8) || crypto_secretstream_xchacha20poly1305_init_pull(&r.ss, hdr + 8, key))
		goto out;
	for (bool first = true; (ret = next_frame(&r, &n, &tag)) == 1; first = false) {
		static const uint8_t hole[1 + DATA_MAX] = { 'D' };
		const uint8_t *p = r.plain;

		if (p[0] == 'H') {
			struct hf_rd rd;

			hf_rd_init(&rd, p + 1, n - 1);
			n = 1 + hf_rd_u32(&rd);
			p = hole;
			if (rd.bad || n < 2 || n > sizeof(hole)) {
				ret = -EBADMSG;
				break;
			}
		}
		ret = first != (p[0] == 'S') ? -EBADMSG : fn(ctx, p, n, tag);
		if (ret || (r.plain[0] == 'F' && tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL))
			break;
	}
out:
	if (r.plain)
		sodium_memzero(r.plain, r.cap);
	free(r.plain);
	free(r.in);
	fclose(r.f);
	return ret;
}

int hf_displaced_head(const uint8_t *p, size_t n, struct hf_displaced_head *h)
{
	struct hf_rd rd;

	memset(h, 0, sizeof(*h));
	hf_rd_init(&rd, p + 1, n - 1);
	h->reason = rd_str(&rd);
	h->resource = rd_str(&rd);
	h->checkpoint = rd_str(&rd);
	h->when = hf_rd_u64(&rd);
	h->gen = rd.bad || rd.p == rd.end ? 0 : hf_rd_u64(&rd);
	return rd.bad ? -EBADMSG : 0;
}

void hf_displaced_head_free(struct hf_displaced_head *h)
{
	free(h->reason);
	free(h->resource);
	free(h->checkpoint);
	memset(h, 0, sizeof(*h));
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
	/* where it is */
	const char *id;
	struct hf_displaced_head h;
	char *rel;
	struct hf_attr a;
};

static int tell(struct listing *l, bool entry)
{
	int ret = l->fn ? l->fn(l->ctx, l->id, l->h.when, l->h.reason, l->h.resource, l->h.checkpoint,
				entry ? l->rel : NULL, entry ? &l->a : NULL) : 0;

	l->stopped = ret;
	return ret;
}

static int list_frame(void *ctx, const uint8_t *p, size_t n, uint8_t tag)
{
	struct listing *l = ctx;
	bool wanted = l->rel && l->want && !strcmp(l->rel, l->want);
	const uint8_t *ap;
	struct hf_rd rd;
	uint32_t alen;
	uint64_t size;
	int ret;

	hf_rd_init(&rd, p + 1, n - 1);
	switch (p[0]) {
	case 'S':
		ret = hf_displaced_head(p, n, &l->h);
		return ret ? ret : tell(l, false);
	case 'E':
		free(l->rel);
		hf_attr_free(&l->a);
		l->rel = rd_str(&rd);
		ap = hf_rd_blob(&rd, &alen);
		return rd.bad ? -EBADMSG : hf_attr_decode(ap, alen, &l->a);
	case 'D':
		return !l->rel ? -EBADMSG : wanted ? l->sink(l->ctx, p + 1, n - 1) : 0;
	case 'Z':
		size = hf_rd_u64(&rd);
		if (rd.bad || !l->rel)
			return -EBADMSG;
		if (S_ISREG(l->a.mode))
			l->a.size = size;
		ret = tell(l, true);
		l->found = wanted;
		free(l->rel);
		l->rel = NULL;
		hf_attr_free(&l->a);
		return ret ? ret : wanted;
	case 'F':
		return 0;
	default:
		return -EBADMSG;
	}
}

static int read_set(struct listing *l, int dirfd, const char *id)
{
	int ret;

	l->id = id;
	ret = hf_displaced_each_frame(dirfd, id, l->key, list_frame, l);
	hf_displaced_head_free(&l->h);
	free(l->rel);
	l->rel = NULL;
	hf_attr_free(&l->a);
	return l->found && !l->stopped && ret == 1 ? 0 : ret;
}

static int only_sets(const struct dirent *e)
{
	return hf_displaced_when(e->d_name) != 0;
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

struct head_is { const char *checkpoint, *reason; bool same; uint64_t gen; };

static int first_frame(void *ctx, const uint8_t *p, size_t n, uint8_t tag)
{
	struct head_is *w = ctx;
	struct hf_displaced_head h;

	w->same = !hf_displaced_head(p, n, &h) && !strcmp(h.checkpoint, w->checkpoint) && !strcmp(h.reason, w->reason);
	w->gen = h.gen;
	hf_displaced_head_free(&h);
	return 1;
}

/* by the lengths of the last two frames, without reading what is before it; one that is being written
 * is for nobody else to go on with */
static bool finished(int dirfd, const char *id)
{
	static const uint8_t want[4] = { END_LEN }, before[4] = { Z_LEN };
	uint8_t tail[4 + Z_LEN + 4];
	struct stat st;
	int fd = openat(dirfd, id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool busy = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
	bool yes = busy || (fd >= 0 && !fstat(fd, &st) && st.st_size > (off_t)(sizeof(tail) + END_LEN) &&
		   pread(fd, tail, sizeof(tail), st.st_size - sizeof(tail) - END_LEN) == sizeof(tail) &&
		   !memcmp(tail, before, 4) && !memcmp(tail + 4 + Z_LEN, want, 4));

	if (fd >= 0)
		close(fd);
	return yes;
}

int hf_displaced_unfinished(int dirfd, const uint8_t key[32], const char *checkpoint, const char *reason,
			    uint64_t gen, char id[64])
{
	struct head_is w = { .checkpoint = checkpoint, .reason = reason };
	struct dirent **ids = NULL;
	int n = scandirat(dirfd, ".", &ids, only_sets, alphasort), ret = n < 0 ? -errno : 0;

	for (int i = n; i-- > 0; free(ids[i])) {
		if (ret || w.same)
			continue;
		/* one that is damaged is none of ours */
		hf_displaced_each_frame(dirfd, ids[i]->d_name, key, first_frame, &w);
		if (w.same && w.gen == gen && !finished(dirfd, ids[i]->d_name)) {
			snprintf(id, 64, "%.63s", ids[i]->d_name);
			ret = 1;
		}
	}
	free(ids);
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
		name = hf_displaced_escape(resource);
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
	char *name = hf_displaced_escape(resource), *path = name ? hf_strf("%s/%s", dir, name) : NULL;
	int dirfd, ret = -ENOENT;

	free(name);
	if (!path)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd >= 0 && hf_displaced_when(id)) {
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

#define REST_S 60

struct set {
	char *path;		/* below the directory */
	const char *id;
	uint64_t size, when;
};
struct sets {
	struct set *e;
	unsigned n, cap;
};

static int collect(void *ctx, int dirfd, const char *sub, const char *id)
{
	struct sets *s = ctx;
	uint64_t when = hf_displaced_when(id), written;
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
	/* one that a later restore went on with is as old as what that put into it */
	written = st.st_mtim.tv_sec * 1000000000ull + st.st_mtim.tv_nsec;
	s->e[s->n].when = written > when ? written : when;
	s->e[s->n++].size = st.st_size;
	return 0;
}

/* What was to go on with a set, and was cut short: nothing refers to it. One that is being written is young, or locked, and
 * who waits for the lock looks whether it is there still. It may have got its own name, and another one this. */
static void drop_rests(int top)
{
	struct dirent **subs = NULL;
	int n = scandirat(top, ".", &subs, only_names, alphasort);

	for (int i = 0; i < n; i++) {
		char *path = hf_strf("%s/" REST, subs[i]->d_name);
		int fd = path ? openat(top, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
		struct stat st, now;

		if (fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &st) && S_ISREG(st.st_mode) &&
		    time(NULL) - st.st_mtime >= REST_S && !fstatat(top, path, &now, AT_SYMLINK_NOFOLLOW) &&
		    now.st_dev == st.st_dev && now.st_ino == st.st_ino)
			unlinkat(top, path, 0);
		if (fd >= 0)
			close(fd);
		free(path);
		free(subs[i]);
	}
	free(subs);
}

static int by_age(const void *a, const void *b)
{
	const struct set *x = a, *y = b;

	return x->when != y->when ? (x->when > y->when ? 1 : -1) : strcmp(x->id, y->id);
}

int hf_displaced_prune(const char *dir, uint64_t max_bytes, uint64_t keep_s)
{
	struct sets s = { 0 };
	uint64_t now = hf_wall_ns(), total = 0;
	int ret = each_set(dir, NULL, collect, &s);
	int top = ret ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (!ret && s.n && top < 0)
		ret = -errno;
	if (top >= 0)
		drop_rests(top);
	for (unsigned i = 0; i < s.n; i++)
		total += s.e[i].size;
	if (s.n)
		qsort(s.e, s.n, sizeof(*s.e), by_age);
	for (unsigned i = 0; !ret && i < s.n; i++) {
		uint64_t when = s.e[i].when;
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
