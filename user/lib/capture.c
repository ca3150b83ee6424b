// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Bringing a generation up to date with the tree.
 *
 * Each regular file that is put was, as a whole, in the tree at one moment: it
 * is cleaned, looked at, read, and looked at again. Cleaning comes first
 * because only a store into a clean page changes ctime. Where the clock is too
 * coarse for ctime to tell two writes apart, it is read twice: what reads the
 * same twice was so between the two.
 */
#include "capture_int.h"
#include <stdlib.h>
#include <unistd.h>

int hf_cap_begin(struct capture *c, struct hf_tree *t, const struct hf_tree_db *db, struct hf_capture_stat *st,
		 struct hf_err *err)
{
	int ret = hf_tree_check_root(t, err);

	memset(c, 0, sizeof(*c));
	c->t = t;
	c->db = db;
	c->st = st;
	c->err = err;
	if (ret)
		return ret;
	c->buf = malloc(HF_SMALL + 1);
	return c->buf ? 0 : hf_fail(err, HF_OK, -ENOMEM, "out of memory");
}

void hf_cap_end(struct capture *c)
{
	hf_scratch_free(c->t, c->buf, HF_SMALL + 1);
	hf_scratch_free(c->t, c->again, HF_SMALL + 1);
}

int hf_cap_del(struct capture *c, const char *rel)
{
	struct hf_known k;
	int ret = c->db->get(c->db->arg, rel, &k) ? hf_cap_lost(c, &k, NULL) : 0;

	if (!ret)
		ret = c->db->del(c->db->arg, rel);
	if (ret)
		return hf_tree_fail(c->t, c->err, ret, "cannot record the removal of", rel);
	c->st->deleted++;
	return 0;
}

/* whether local attributes are those that are known; damage counts as a difference */
static bool attr_is_known(struct capture *c, const struct hf_attr *have, const struct hf_known *k)
{
	struct hf_attr want;
	bool same;

	if (!k || hf_attr_decode(k->attr, k->attrlen, &want))
		return false;
	same = hf_attr_equal(c->t, have, &want, false) && have->link == want.link;
	hf_attr_free(&want);
	return same;
}

static int put(struct capture *c, const char *rel, const struct hf_attr *a,
	       const struct hf_source *src, const struct hf_mark *mark, uint8_t *hash)
{
	struct hf_buf b = HF_BUF_INIT;
	int ret = hf_attr_encode(a, &b);

	if (!ret)
		ret = c->db_err = c->db->put(c->db->arg, rel, b.p, b.len, src, mark, hash);
	hf_buf_free(&b);
	return ret;
}

/* a file too big to hold is read twice at most: a writer may cut it short meanwhile */
struct big {
	int fd;
	uint64_t size;
	bool moved;
};

static ssize_t big_read(void *arg, void *buf, size_t len, uint64_t off)
{
	struct big *b = arg;
	size_t got = 0;

	if (off >= b->size)
		return 0;
	if (len > b->size - off)
		len = b->size - off;
	while (got < len) {
		ssize_t n = pread(b->fd, (char *)buf + got, len - got, off + got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n) {
			/* the reader was promised this many; it is taken back anyway */
			memset((char *)buf + got, 0, len - got);
			b->moved = true;
			break;
		}
		got += n;
	}
	return len;
}

static ssize_t small_read(void *arg, void *buf, size_t len, uint64_t off)
{
	const struct hf_source *s = arg;

	if (off >= s->size)
		return 0;
	if (len > s->size - off)
		len = s->size - off;
	memcpy(buf, (const uint8_t *)s->arg + off, len);
	return len;
}

/* whether c->buf reads the same once more; 0 it does, 1 it does not */
static int read_again(struct capture *c, int fd, size_t n)
{
	ssize_t m;

	if (!c->again)
		c->again = malloc(HF_SMALL + 1);
	if (!c->again)
		return -ENOMEM;
	m = hf_read_small(fd, c->again, HF_SMALL + 1, n);
	return m < 0 ? m : (size_t)m != n || memcmp(c->buf, c->again, n);
}

/*
 * Where cleaning waits for the disk, what will most likely be found afterwards is made ready to be put meanwhile. It
 * counts for nothing: what is put is what is read then.
 */
#define READY_MAX (64u << 10)	/* more takes longer than the disk does */

static void make_ready(struct capture *c, int fd, uint64_t size)
{
	ssize_t n;

	if (!c->db->ready || !c->by_name || !size || size > READY_MAX)
		return;
	sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	n = hf_read_small(fd, c->buf, HF_SMALL + 1, size);
	if (n > 0)
		c->db->ready(c->db->arg, c->buf, n);
}

/*
 * What is stored of a file that then turns out to have moved takes room in the store until the transaction ends, and
 * one that is always written to would take all there is. So it is stored once for each look, and the next time only if
 * it held still while it was read.
 */
static uint64_t *restless(struct hf_tree *t, uint64_t ino)
{
	for (unsigned i = 0; i < HF_ARRAY(t->restless); i++)
		if (t->restless[i] == ino)
			return &t->restless[i];
	return NULL;
}

static void moved(struct hf_tree *t, uint64_t ino)
{
	if (!restless(t, ino))
		t->restless[t->nrestless++ % HF_ARRAY(t->restless)] = ino;
}

static void still(struct hf_tree *t, uint64_t ino)
{
	uint64_t *p = restless(t, ino);

	if (p)
		*p = 0;
}

/* one try; 1: it moved, MOVED_STORED: and was stored in vain */
#define MOVED_STORED 2
static int try_regular(struct capture *c, const struct hf_pair *p, int fd)
{
	struct hf_attr have = { 0 };
	struct statx s1, s2;
	struct hf_mark mark;
	struct big big = { .fd = fd };
	struct hf_source bytes = { .arg = c->buf };
	struct hf_source src = { .read = small_read, .arg = &bytes };
	struct hf_known written = { 0 };
	bool same, young, stored = false;
	uint64_t now;
	int ret;

	/* before the cleaning: a page that a store makes dirty right after it takes further
	 * stores without a sign, so its change time must count as young however long we slept */
	now = hf_wall_ns();
	if (!hf_clean_begin(c->t, fd, p->stx)) {
		make_ready(c, fd, p->stx->stx_size);
		ret = hf_clean(fd);
		if (ret)
			return ret;
	}
	ret = hf_fd_statx(fd, &s1);
	if (ret)
		return ret;
	if (!S_ISREG(s1.stx_mode))
		return -ESTALE;
	hf_mark_set(&mark, &s1, now);
	young = !hf_mark_tells(&mark);
	ret = hf_attr_read(c->t, fd, p->dirfd, p->name, &s1, &have);
	if (!ret)
		ret = hf_cap_link(c, p, &s1, &have.link);
	if (ret)
		goto out;
	same = attr_is_known(c, &have, p->known);
	src.size = bytes.size = big.size = s1.stx_size;
	if (s1.stx_size <= HF_SMALL) {
		ssize_t n = hf_read_small(fd, c->buf, HF_SMALL + 1, s1.stx_size);

		ret = n < 0 ? n : (uint64_t)n != s1.stx_size;
		if (!ret && young && n)
			ret = read_again(c, fd, n);
		if (ret)
			goto out;
		same = same && hf_hash_is(c->db, c->buf, n, p->known);
	} else {
		src.read = big_read;
		src.arg = &big;
		if (same) {
			ret = hf_content_is(c->db, fd, c->buf, s1.stx_size, p->known);
			if (ret < 0)
				goto out;
			same = ret;
		}
		if (!same && restless(c->t, s1.stx_ino)) {
			struct hf_known any = { .size = s1.stx_size };

			ret = hf_content_is(c->db, fd, c->buf, s1.stx_size, &any);
			if (ret >= 0)
				ret = hf_fd_statx(fd, &s2);
			if (!ret)
				ret = !hf_stx_same(&s1, &s2);
			if (ret)
				goto out;
		}
		if (!same) {
			ret = put(c, p->rel, &have, &src, &mark, written.hash);
			if (ret)
				goto out;
			stored = true;
			written.size = s1.stx_size;
			if (young) {
				ret = hf_content_is(c->db, fd, c->buf, s1.stx_size, &written);
				big.moved |= ret != 1;
			}
		}
	}
	ret = hf_fd_statx(fd, &s2);
	if (ret)
		goto out;
	if (big.moved || !hf_stx_same(&s1, &s2)) {
		ret = c->db_err = stored ? c->db->unput(c->db->arg, p->rel) : 0;
		if (stored)
			moved(c->t, s1.stx_ino);
		if (!ret)
			ret = stored ? MOVED_STORED : 1;
		goto out;
	}
	if (stored)
		still(c->t, s1.stx_ino);
	if (same) {
		if (memcmp(&mark, &p->known->mark, sizeof(mark)))
			c->db->mark(c->db->arg, p->rel, &mark);
		goto out;
	}
	if (!stored)
		ret = put(c, p->rel, &have, &src, &mark, NULL);
	if (!ret) {
		c->st->put += !c->relink;
		c->st->bytes += s1.stx_size;
	}
out:
	hf_attr_free(&have);
	return ret;
}

static int try_other(struct capture *c, const struct hf_pair *p)
{
	mode_t type = p->stx->stx_mode & S_IFMT;
	struct hf_attr have = { 0 };
	struct hf_mark mark;
	struct statx s1, s2;
	uint64_t now;
	int fd = -1, ret;

	if (type == S_IFDIR) {
		fd = hf_open_dir(p->dirfd, p->name);
		if (fd < 0)
			return fd;
	}
	now = hf_wall_ns();
	ret = fd >= 0 ? hf_fd_statx(fd, &s1) : hf_tree_statx(p->dirfd, p->name, &s1);
	if (!ret && (s1.stx_mode & S_IFMT) != type)
		ret = -ESTALE;
	if (!ret)
		ret = hf_attr_read(c->t, fd, p->dirfd, p->name, &s1, &have);
	if (!ret)
		ret = hf_cap_link(c, p, &s1, &have.link);
	if (!ret)
		ret = fd >= 0 ? hf_fd_statx(fd, &s2) : hf_tree_statx(p->dirfd, p->name, &s2);
	if (ret)
		goto out;
	hf_mark_set(&mark, &s1, now);
	if (!hf_stx_same(&s1, &s2)) {
		/* a directory always changes while names come and go in it */
		if (type != S_IFDIR) {
			ret = 1;
			goto out;
		}
		memset(&mark, 0, sizeof(mark));
	}
	if (attr_is_known(c, &have, p->known)) {
		if (memcmp(&mark, &p->known->mark, sizeof(mark)))
			c->db->mark(c->db->arg, p->rel, &mark);
		goto out;
	}
	ret = put(c, p->rel, &have, NULL, &mark, NULL);
	if (!ret)
		c->st->put += !c->relink;
out:
	hf_attr_free(&have);
	if (fd >= 0)
		close(fd);
	return ret;
}

int hf_cap_entry(struct capture *c, const struct hf_pair *pair)
{
	struct hf_pair p = *pair;
	struct statx stx = *pair->stx;
	int ret;

	p.stx = &stx;
	c->st->looked++;
	/* who opens it anyway looks at it then */
	if (!stx.stx_mask && p.known && !c->full) {
		ret = hf_tree_statx(p.dirfd, p.name, &stx);
		if (ret == -ENOENT)
			return hf_cap_del(c, p.rel);
		if (ret)
			return hf_tree_fail(c->t, c->err, ret, "cannot capture", p.rel);
		if (hf_is_mount(c->t, &stx))
			return 0;
	}
	if (!c->full && !c->relink && p.known && hf_unchanged(c->t, &p.known->mark, &stx)) {
		uint64_t id;

		return hf_cap_link(c, &p, &stx, &id);
	}
	for (int i = 0; i < HF_TRIES; i++) {
		if (i) {
			hf_sleep_ms(1u << (i - 1));
			ret = *p.name ? hf_tree_statx(p.dirfd, p.name, &stx) : hf_fd_statx(p.dirfd, &stx);
			if (ret)
				break;
		}
		if (c->t->name && !S_ISREG(stx.stx_mode))
			return hf_fail(c->err, HF_REFUSED, -ENOTDIR, "%s is no regular file any more; make it one again", c->t->path);
		if (hf_left_alone(c->t, stx.stx_mode)) {
			return p.known ? hf_cap_del(c, p.rel) : 0;
		} else if (S_ISREG(stx.stx_mode)) {
			int fd = hf_open_regular(p.dirfd, p.name);

			ret = fd;
			if (fd == -EXDEV)
				return 0;	/* something is mounted there */
			if (fd >= 0) {
				ret = try_regular(c, &p, fd);
				close(fd);
			}
		} else {
			ret = try_other(c, &p);
		}
		if (c->db_err)
			return hf_tree_fail(c->t, c->err, c->db_err, "cannot record", p.rel);
		if (ret != 1 && ret != -ESTALE && ret != -EAGAIN)
			break;
	}
	if (ret == -ENOENT)
		return p.known ? hf_cap_del(c, p.rel) : 0;
	if (ret == 1 || ret == MOVED_STORED || ret == -ESTALE || ret == -EAGAIN) {
		c->st->unstable++;
		return 0;
	}
	return ret ? hf_tree_fail(c->t, c->err, ret, "cannot capture", p.rel) : 0;
}

int hf_cap_pair(void *ctx, const struct hf_pair *p)
{
	struct capture *c = ctx;

	if (p->kind != HF_WALK_ENTRY)
		return 0;
	return p->name ? hf_cap_entry(c, p) : hf_cap_del(c, p->rel);
}

int hf_capture_scan(struct hf_tree *t, const struct hf_tree_db *db, const char *rel,
		    bool full, struct hf_capture_stat *st, struct hf_err *err)
{
	struct capture c;
	int ret;

	if (t->name && !*rel)
		rel = t->name;
	if (!hf_tree_mine(t, rel))
		return t->name ? 0 : hf_fail(err, HF_USAGE, -EINVAL, "%s: not a name in a tree", t->path);
	ret = hf_cap_begin(&c, t, db, st, err);
	if (ret)
		return ret;
	hf_ids_begin(t, full);
	c.full = full;
	c.whole = !*rel;
	c.since = hf_wall_ns();
	if (!*rel)
		hf_links_clear(&t->links);
	ret = hf_merge(t, db, rel, HF_WALK_LAZY, hf_cap_pair, &c, err);
	/* a root that went away in the middle looks empty */
	if (!ret)
		ret = hf_tree_check_root(t, err);
	if (!ret)
		ret = hf_cap_links(&c);
	if (ret == -ENOMEM)
		hf_fail(err, HF_OK, ret, "out of memory");
	hf_cap_end(&c);
	return ret;
}
