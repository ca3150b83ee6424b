// SPDX-License-Identifier: LGPL-2.1-or-later
/* Whether a local entry is what the generation says, and how the tree differs. */
#include "tree_int.h"
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* cachestat(2), Linux 6.5; the headers of Debian 12 do not have it. One number on all architectures but alpha. */
#define NR_CACHESTAT 451

struct cache_range { uint64_t off, len; };
struct cache_stat { uint64_t cached, dirty, writeback, evicted, recently_evicted; };

#define LOOK_MAX (1u << 20)	/* each page of the file is looked at */

/* 1: some are dirty, 0: none is, -1: nobody knows. What has no pages of the usual kind is not asked for. */
static int dirty_pages(const struct hf_tree *t, int fd, const struct statx *stx)
{
	struct cache_range all = { 0 };
	struct cache_stat st;

	if (t->blind || stx->stx_size > LOOK_MAX || (stx->stx_attributes & STATX_ATTR_DAX))
		return -1;
	return syscall(NR_CACHESTAT, fd, &all, &st, 0) ? -1 : !!st.dirty;
}

bool hf_clean_begin(const struct hf_tree *t, int fd, const struct statx *stx)
{
	int dirty = dirty_pages(t, fd, stx);

	if (dirty > 0 && !sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE))
		dirty = dirty_pages(t, fd, stx);
	return !dirty;
}

int hf_clean(int fd)
{
	if (!sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			     SYNC_FILE_RANGE_WAIT_AFTER))
		return 0;
	/* filesystems that have no such thing; reading works all the same */
	return errno == EINVAL || errno == ESPIPE || errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
}

int hf_open_regular(int dirfd, const char *name)
{
	int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
	int fd = hf_tree_openat(dirfd, name, flags | O_NOATIME);

	if (fd == -EPERM)
		fd = hf_tree_openat(dirfd, name, flags);
	return fd == -ELOOP || fd == -ENXIO || fd == -ENODEV ? -ESTALE : fd;
}

int hf_open_dir(int dirfd, const char *name)
{
	int flags = O_RDONLY | O_DIRECTORY;
	int fd;

	if (!*name)
		name = ".";
	fd = hf_tree_openat(dirfd, name, flags | O_NOATIME);
	if (fd == -EPERM)
		fd = hf_tree_openat(dirfd, name, flags);
	return fd == -ELOOP || fd == -ENOTDIR ? -ESTALE : fd;
}

ssize_t hf_read_small(int fd, uint8_t *buf, size_t cap, size_t expect)
{
	size_t len = 0;

	while (len < cap) {
		ssize_t n = pread(fd, buf + len, cap - len, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		len += n;
		/* less than was asked for, and all that is to be there: that was the end */
		if (!n || (len == expect && len < cap))
			break;
	}
	return len;
}

bool hf_hash_is(const struct hf_tree_db *db, const void *buf, uint64_t size, const struct hf_known *k)
{
	uint8_t st[HF_HASH_STATE] __attribute__((aligned(64)));
	uint8_t h[32];

	if (size != k->size)
		return false;
	if (!size)
		return true;
	db->hash_init(db->arg, st);
	db->hash_update(db->arg, st, buf, size);
	db->hash_final(db->arg, st, h);
	return !memcmp(h, k->hash, sizeof(h));
}

int hf_content_is(const struct hf_tree_db *db, int fd, uint8_t *buf, uint64_t size, const struct hf_known *k)
{
	uint8_t st[HF_HASH_STATE] __attribute__((aligned(64)));
	uint8_t h[32];
	uint64_t off = 0;
	int ret = 0;

	if (size != k->size)
		return 0;
	if (!size)
		return 1;
	db->hash_init(db->arg, st);
	while (off < size) {
		size_t want = size - off < HF_SMALL ? size - off : HF_SMALL;
		ssize_t n = pread(fd, buf, want, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			ret = -errno;
		if (n <= 0)
			break;		/* 0: it shrank */
		db->hash_update(db->arg, st, buf, n);
		off += n;
	}
	db->hash_final(db->arg, st, h);
	if (off == size)
		ret = !memcmp(h, k->hash, sizeof(h));
	return ret;
}

void hf_look(struct hf_look *l, const struct statx *s)
{
	l->dev = makedev(s->stx_dev_major, s->stx_dev_minor);
	l->ino = s->stx_ino;
	l->ctime = hf_ctime_ns(s);
	l->mtime = (uint64_t)s->stx_mtime.tv_sec * 1000000000ull + s->stx_mtime.tv_nsec;
	l->size = s->stx_size;
	l->mode = s->stx_mode;
	l->nlink = s->stx_nlink;
}

void hf_look_mark(const struct hf_look *l, uint64_t now, struct hf_mark *m)
{
	*m = (struct hf_mark){ .dev = l->dev, .ino = l->ino };
	if (!hf_settled(l->ctime, now))
		return;
	m->size = S_ISREG(l->mode) ? l->size : 0;
	m->ctime_ns = l->ctime;
}

bool hf_looks_same(const struct hf_look *l, const struct statx *s)
{
	struct hf_look now;

	hf_look(&now, s);
	return l->ino == now.ino && l->mode == now.mode && (l->size == now.size || S_ISDIR(l->mode)) &&
	       (l->ctime == now.ctime || (l->nlink > 1 && !S_ISDIR(l->mode) && l->mtime == now.mtime));
}

void hf_scratch_free(struct hf_tree *t, uint8_t *buf, size_t n)
{
	if (buf && (t->flags & HF_TREE_CRYPTO))
		sodium_memzero(buf, n);
	free(buf);
}

/* A mark says that nothing was changed here, not what names of owners mean here now, or whether
 * they count. */
static bool owned_so(struct hf_tree *t, struct hf_attr *want, const struct statx *stx)
{
	return !want->nacl && !hf_attr_here(t, want, "", NULL) && want->uid == stx->stx_uid && want->gid == stx->stx_gid;
}

static bool owner_is(struct hf_tree *t, bool group, const char *name, uint32_t len, uint32_t id, uint32_t now)
{
	char s[LOGIN_NAME_MAX + 1];

	if (len && !(t->flags & HF_TREE_NUMBERS)) {
		if (len > LOGIN_NAME_MAX)
			return false;
		memcpy(s, name, len);
		s[len] = '\0';
		if (hf_id_here(t, group, s, "", &id, "", NULL))
			return false;
	}
	return id == now;
}

bool hf_same_by_mark(struct hf_tree *t, const struct hf_pair *p)
{
	const struct statx *stx = p->stx;
	struct hf_attr_glance g;

	return hf_unchanged(t, &p->known->mark, stx) && hf_attr_glance(p->known->attr, p->known->attrlen, &g) &&
	       (g.mode & S_IFMT) == (stx->stx_mode & S_IFMT) && !g.acl && !hf_linked(t, g.link, stx) &&
	       owner_is(t, false, g.user, g.nuser, g.uid, stx->stx_uid) &&
	       owner_is(t, true, g.group, g.ngroup, g.gid, stx->stx_gid);
}

int hf_same(struct hf_tree *t, const struct hf_tree_db *db, const struct hf_pair *p,
	    struct hf_attr *want, uint8_t *buf, struct hf_diff *d)
{
	const struct statx *stx = p->stx;
	mode_t type = stx->stx_mode & S_IFMT;
	struct hf_attr have = { 0 };
	struct statx s1, s2;
	uint64_t now;
	bool same, known;
	int fd = -1, dirfd, ret;

	memset(d, 0, sizeof(*d));
	if (type != (want->mode & S_IFMT)) {
		d->type = true;
		return 0;
	}
	known = hf_unchanged(t, &p->known->mark, stx);
	if (known && owned_so(t, want, stx)) {
		d->mark = p->known->mark;
		return 0;
	}
	dirfd = hf_pair_dir(p);
	if (dirfd < 0)
		return dirfd == -ENOTDIR || dirfd == -ELOOP ? -ENOENT : dirfd;
	if (type == S_IFREG || type == S_IFDIR) {
		fd = type == S_IFREG ? hf_open_regular(dirfd, p->name) : hf_open_dir(dirfd, p->name);
		if (fd < 0)
			return fd;
		/* before the cleaning: see try_regular() */
		now = hf_wall_ns();
		if (type == S_IFREG && stx->stx_size == p->known->size && !known) {
			ret = hf_clean_begin(t, fd, stx) ? 0 : hf_clean(fd);
			if (ret)
				goto out;
		}
		ret = hf_fd_statx(fd, &s1);
	} else {
		now = hf_wall_ns();
		ret = hf_tree_statx(dirfd, p->name, &s1);
	}
	if (ret)
		goto out;
	if ((s1.stx_mode & S_IFMT) != type) {
		ret = -ESTALE;
		goto out;
	}
	/* whoever the names of owners mean by now, the contents are those that were found equal */
	same = known && hf_unchanged(t, &p->known->mark, &s1);
	if (type == S_IFREG && !same) {
		ret = hf_content_is(db, fd, buf, s1.stx_size, p->known);
		if (ret < 0)
			goto out;
		d->content = !ret;
	}
	ret = hf_attr_read(t, fd, dirfd, p->name, &s1, &have);
	if (ret)
		goto out;
	if (d->content)
		have.size = want->size;
	/* the target is a symbolic link's content */
	if (S_ISLNK(type) && strcmp(have.target, want->target)) {
		d->content = true;
		free(have.target);
		have.target = strdup(want->target);
		if (!have.target) {
			ret = -ENOMEM;
			goto out;
		}
	}
	d->meta = !hf_attr_equal(t, &have, want, false);
	d->only_mtime = d->meta && hf_attr_equal(t, &have, want, true);
	ret = fd >= 0 ? hf_fd_statx(fd, &s2) : hf_tree_statx(dirfd, p->name, &s2);
	if (ret)
		goto out;
	if (!hf_stx_same(&s1, &s2) && type != S_IFDIR)
		d->content = true;
	else if (!d->content && !d->meta && same)
		d->mark = p->known->mark;
	else if (!d->content && !d->meta && !known && hf_stx_same(&s1, &s2))
		hf_mark_set(&d->mark, &s1, now);
out:
	hf_attr_free(&have);
	if (fd >= 0)
		close(fd);
	return ret;
}

struct compare {
	struct hf_tree *t;
	const struct hf_tree_db *db;
	int (*fn)(void *ctx, enum hf_change ch, const char *rel);
	void *ctx;
	uint8_t *buf;
	struct hf_err *err;
	struct hf_lnames links;
	struct hf_holds holds;
};

static int compare_pair(void *ctx, const struct hf_pair *p)
{
	struct compare *c = ctx;
	struct hf_attr want;
	struct hf_diff d;
	bool known;
	int ret;

	if (p->kind == HF_WALK_MOUNT) {
		if (!p->known)
			return 0;
		return hf_tree_fail(c->t, c->err, -EXDEV, "cannot compare", p->rel);
	}
	known = p->known && !hf_left_alone(c->t, hf_attr_mode(p->known->attr, p->known->attrlen));
	if (!known && (!p->name || hf_left_alone(c->t, p->stx->stx_mode)))
		return 0;
	if (!p->name)
		return c->fn(c->ctx, HF_CH_REMOVED, p->rel);
	if (!known) {
		/* a directory that stays because of what it holds is no difference */
		if (S_ISDIR(p->stx->stx_mode)) {
			ret = hf_tree_holds_next(c->t, p->rel, &c->holds);
			if (ret)
				return ret > 0 ? 0 : ret;
		}
		return c->fn(c->ctx, HF_CH_ADDED, p->rel);
	}
	if (hf_same_by_mark(c->t, p))
		return 0;
	ret = hf_attr_decode(p->known->attr, p->known->attrlen, &want);
	if (ret)
		return hf_tree_fail(c->t, c->err, ret, "the generation's entry for", p->rel);
	ret = hf_same(c->t, c->db, p, &want, c->buf, &d);
	if (!ret && !d.type && hf_linked(c->t, want.link, p->stx)) {
		struct hf_lname *e = hf_lnames_add(&c->links, p->rel, want.link, p->stx);

		ret = e ? 0 : -ENOMEM;
		if (e) {
			e->there = true;
			e->meta = !d.content;
			e->equal = !d.content && !d.meta;
		}
	}
	hf_attr_free(&want);
	if (ret == -ENOENT)
		return c->fn(c->ctx, HF_CH_REMOVED, p->rel);
	if (ret == -ESTALE)
		return c->fn(c->ctx, HF_CH_TYPE, p->rel);
	if (ret)
		return hf_tree_fail(c->t, c->err, ret, "cannot compare", p->rel);
	if (d.type)
		return c->fn(c->ctx, HF_CH_TYPE, p->rel);
	if (d.content)
		return c->fn(c->ctx, HF_CH_CONTENT, p->rel);
	if (d.meta)
		return c->fn(c->ctx, HF_CH_META, p->rel);
	if (memcmp(&d.mark, &p->known->mark, sizeof(d.mark)))
		c->db->mark(c->db->arg, p->rel, &d.mark);
	return 0;
}

int hf_compare(struct hf_tree *t, const struct hf_tree_db *db,
	       int (*fn)(void *ctx, enum hf_change ch, const char *rel), void *ctx, struct hf_err *err)
{
	struct compare c = { .t = t, .db = db, .fn = fn, .ctx = ctx, .err = err };
	int ret = hf_tree_check_root(t, err);

	if (ret)
		return ret;
	hf_ids_begin(t, true);
	c.buf = malloc(HF_SMALL);
	if (!c.buf)
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	ret = hf_merge(t, db, "", 0, compare_pair, &c, err);
	if (!ret)
		ret = hf_lnames_resolve(&c.links);
	for (size_t i = 0; !ret && i < c.links.n; i++)
		if (c.links.e[i].equal && c.links.e[i].verdict != HF_LN_RIGHT)
			ret = fn(ctx, HF_CH_META, c.links.e[i].rel);
	hf_lnames_free(&c.links);
	hf_holds_free(&c.holds);
	hf_scratch_free(t, c.buf, HF_SMALL);
	return ret;
}
