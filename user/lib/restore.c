// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Making a tree equal to a generation.
 *
 * First everything is compared and what is to be done is noted; then what will
 * be overwritten is kept aside, durably; only then is anything changed:
 * directories and files from the top, removals from the bottom, what was a
 * directory and becomes something else, the attributes of directories from the
 * bottom. A failure before the first change leaves the tree as it was.
 */
#include "tree_int.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum op {
	OP_NONE,		/* only listed: a directory whose attributes are right so far */
	OP_LEFTOVER,
	OP_MKDIR,
	OP_WRITE,
	OP_META,
	OP_REMOVE,
	OP_LATE,		/* a directory becomes something else, once it is empty */
};

/* how something looked: the local entry when it was compared, or when it was written */
struct look {
	uint64_t ino, ctime, size;
	int64_t mtime_s;
	uint32_t mtime_ns, mode;
};

struct item {
	char *rel;
	enum op op;
	bool keep, done;
	struct look seen;
};

struct list {
	struct item *e;
	size_t n, cap;
};

struct restore {
	struct hf_tree *t;
	const struct hf_tree_db *db;
	const struct hf_restore_opts *o;
	struct hf_restore_stat *st;
	struct hf_err *err;
	struct hf_dircur cur;
	struct list items, dirs;
	uint8_t *buf;
	bool changed, unsure;	/* unsure: equal by contents, not known to be durable */
	uint64_t steps;
};

static void take_look(struct look *l, const struct statx *s)
{
	l->ino = s->stx_ino;
	l->ctime = hf_ctime_ns(s);
	l->size = s->stx_size;
	l->mtime_s = s->stx_mtime.tv_sec;
	l->mtime_ns = s->stx_mtime.tv_nsec;
	l->mode = s->stx_mode;
}

static bool looks_same(const struct look *l, const struct statx *s)
{
	return l->ino == s->stx_ino && l->ctime == hf_ctime_ns(s) && l->mode == s->stx_mode &&
	       (l->size == s->stx_size || S_ISDIR(l->mode));
}

static struct item *add(struct list *l, const char *rel, enum op op, const struct statx *stx)
{
	struct item *it;

	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;

		it = realloc(l->e, cap * sizeof(*it));
		if (!it)
			return NULL;
		l->e = it;
		l->cap = cap;
	}
	it = &l->e[l->n];
	memset(it, 0, sizeof(*it));
	it->rel = strdup(rel);
	if (!it->rel)
		return NULL;
	it->op = op;
	if (stx)
		take_look(&it->seen, stx);
	l->n++;
	return it;
}

static void list_free(struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->e[i].rel);
	free(l->e);
}

static int fail(struct restore *r, int ret, const char *what, const char *rel)
{
	return hf_tree_fail(r->t, r->err, ret, what, rel);
}

/* EPERM to root has one usual reason */
static int fail_at(struct restore *r, int ret, const char *what, int dirfd, const char *name, const char *rel)
{
	struct statx s;
	bool entry = !hf_tree_statx(dirfd, name, &s) &&
		     (s.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND));
	bool dir = !entry && !hf_fd_statx(dirfd, &s) &&
		   (s.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND));
	char *text;

	if (ret != -EPERM || (!entry && !dir))
		return fail(r, ret, what, rel);
	text = hf_tree_text(r->t, rel);
	hf_fail(r->err, HF_OK, ret, "%s %.700s: %s is immutable or append-only; chattr -i -a it", what,
		text ? text : "?", entry ? "it" : "its directory");
	free(text);
	return ret;
}

static int step(struct restore *r)
{
	if (!r->o || !r->o->progress || r->steps++ % 64)
		return 0;
	if (r->o->progress(r->o->ctx, r->steps - 1, r->items.n))
		return hf_fail(r->err, HF_OK, -ECANCELED, "%s: the restore was stopped", r->t->path);
	return 0;
}

/* the plan */

static int plan_known(struct restore *r, const struct hf_pair *p, const struct hf_attr *want)
{
	struct hf_pair now = *p;
	struct statx stx;
	struct hf_diff d;
	struct item *it;
	bool want_dir = S_ISDIR(want->mode), local_dir;
	uint32_t uid, gid;
	int ret = -ENOENT;

	/* before anything is changed: a missing user must not leave half a tree */
	if ((ret = hf_attr_owner(r->t, want, &uid, &gid, p->rel, r->err)))
		return ret;
	if (want_dir && !add(&r->dirs, p->rel, OP_NONE, NULL))
		return -ENOMEM;
	ret = -ENOENT;
	if (p->name) {
		stx = *p->stx;
		now.stx = &stx;
		ret = hf_same(r->t, r->db, &now, want, r->buf, &d);
		for (int i = 1; ret == -ESTALE && i < HF_TRIES; i++) {
			ret = hf_tree_statx(p->dirfd, p->name, &stx);
			if (!ret)
				ret = hf_same(r->t, r->db, &now, want, r->buf, &d);
		}
	}
	if (ret == -ENOENT)
		return add(&r->items, p->rel, want_dir ? OP_MKDIR : OP_WRITE, NULL) ? 0 : -ENOMEM;
	if (ret)
		return fail(r, ret, "cannot compare", p->rel);
	local_dir = S_ISDIR(stx.stx_mode);
	if (!d.type && !d.content && !d.meta) {
		if (memcmp(&d.mark, &p->known->mark, sizeof(d.mark)))
			r->db->mark(r->db->arg, p->rel, &d.mark);
		if (!hf_mark_same(&p->known->mark, &stx))
			r->unsure = true;
		return 0;
	}
	if (d.type && local_dir) {
		ret = hf_tree_holds(r->t, p->rel);
		if (ret > 0) {
			char *text = hf_tree_text(r->t, p->rel);

			hf_fail(r->err, HF_REFUSED, -EBUSY, "%.700s is to become something else than a directory, "
				"but holds an excluded name, a mount point or a socket; move that away",
				text ? text : "?");
			free(text);
			return -EBUSY;
		}
		if (ret < 0)
			return fail(r, ret, "cannot read", p->rel);
		it = add(&r->items, p->rel, OP_LATE, &stx);
	} else if (d.type) {
		it = add(&r->items, p->rel, want_dir ? OP_MKDIR : OP_WRITE, &stx);
	} else if (local_dir) {
		/* the attributes come at the end; times alone are not worth a copy */
		r->changed = true;
		it = d.only_mtime ? NULL : add(&r->items, p->rel, OP_NONE, &stx);
		if (!it)
			return d.only_mtime ? 0 : -ENOMEM;
	} else {
		/* another name of the same file may lie outside: then it gets a file of its own */
		bool in_place = S_ISREG(want->mode) && !d.content && stx.stx_nlink == 1;

		it = add(&r->items, p->rel, in_place ? OP_META : OP_WRITE, &stx);
	}
	if (!it)
		return -ENOMEM;
	it->keep = !S_ISSOCK(stx.stx_mode);
	return 0;
}

static int plan_pair(void *ctx, const struct hf_pair *p)
{
	struct restore *r = ctx;
	struct hf_attr want;
	struct item *it;
	int ret;

	if (p->kind == HF_WALK_LEFTOVER)
		return add(&r->items, p->rel, OP_LEFTOVER, p->stx) ? 0 : -ENOMEM;
	if (p->kind == HF_WALK_MOUNT)
		return p->known ? fail(r, -EXDEV, "cannot restore", p->rel) : 0;
	r->st->looked++;
	if (!p->known) {
		if (S_ISSOCK(p->stx->stx_mode))
			return 0;
		if (S_ISDIR(p->stx->stx_mode)) {
			ret = hf_tree_holds(r->t, p->rel);
			if (ret)
				return ret > 0 ? 0 : fail(r, ret, "cannot read", p->rel);
		}
		it = add(&r->items, p->rel, OP_REMOVE, p->stx);
		if (it)
			it->keep = true;
		return it ? 0 : -ENOMEM;
	}
	ret = hf_attr_decode(p->known->attr, p->known->attrlen, &want);
	if (!ret && !*p->rel && !S_ISDIR(want.mode)) {
		hf_attr_free(&want);
		ret = -EBADMSG;		/* the root is a directory */
	}
	if (ret)
		return fail(r, ret, "the generation's entry for", p->rel);
	ret = plan_known(r, p, &want);
	hf_attr_free(&want);
	return ret;
}

/* keeping aside */

static int keep(struct restore *r, const char *rel)
{
	return r->o && r->o->keep ? hf_displaced_add(r->o->keep, r->t, rel, r->err) : 0;
}

static int keep_flush(struct restore *r)
{
	int ret = r->o ? hf_displaced_flush(r->o->keep) : 0;

	return ret ? hf_fail(r->err, HF_OK, ret, "cannot write the kept-aside copies of %s: %s", r->t->path,
			     strerror(-ret)) : 0;
}

static int keep_all(struct restore *r)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < r->items.n; i++)
		if (r->items.e[i].keep)
			ret = keep(r, r->items.e[i].rel);
	return ret ? ret : keep_flush(r);
}

/* what is about to go is not what was kept: somebody changed it since */
static int keep_late(struct restore *r, const struct item *it, int dirfd, const char *name)
{
	struct statx stx;
	int ret;

	if (!r->o || !r->o->keep)
		return 0;
	ret = hf_tree_statx(dirfd, name, &stx);
	if (ret == -ENOENT || S_ISDIR(stx.stx_mode))
		return 0;
	if (ret)
		return fail(r, ret, "cannot look at", it->rel);
	if (looks_same(&it->seen, &stx))
		return 0;
	ret = keep(r, it->rel);
	return ret ? ret : keep_flush(r);
}

/* writing */

static void tmp_name(const struct hf_tree *t, char out[HF_TMP_LEN + 1])
{
	static const char az[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t rnd[8];

	randombytes_buf(rnd, sizeof(rnd));
	memcpy(out, HF_TMP_PREFIX, sizeof(HF_TMP_PREFIX) - 1);
	out += sizeof(HF_TMP_PREFIX) - 1;
	for (int i = 0; i < 8; i++)
		out[i] = t->name && i < 4 ? t->own_tmp[i] : az[rnd[i] & 31];
	out[8] = 0;
}

struct sink {
	int fd;
	uint64_t off, end;	/* end: of what was written, holes not counted */
	uint64_t max;
};

#define BLOCK 4096u

static bool zeros(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/* what of @n bytes lies in the block of @off */
static size_t in_block(uint64_t off, size_t n)
{
	size_t left = BLOCK - off % BLOCK;

	return n < left ? n : left;
}

static int sink_write(void *ctx, const void *data, size_t n)
{
	struct sink *s = ctx;
	const uint8_t *p = data;

	if (n > s->max - s->off)
		return -EBADMSG;
	while (n) {
		size_t run = in_block(s->off, n);
		int ret;

		/* the file is new: where nothing is written it reads as zeros, and whole
		 * blocks of them stay holes */
		if (!zeros(p, run)) {
			while (run < n && !zeros(p + run, in_block(s->off + run, n - run)))
				run += in_block(s->off + run, n - run);
			ret = hf_pwrite_full(s->fd, p, run, s->off);
			if (ret)
				return ret;
			s->end = s->off + run;
		}
		s->off += run;
		p += run;
		n -= run;
	}
	return 0;
}

static int fill_regular(struct restore *r, int fd, const struct hf_attr *want, const char *rel)
{
	struct sink s = { .fd = fd, .max = want->size };
	int ret = 0;

	if (want->size)
		ret = r->db->read(r->db->arg, rel, sink_write, &s);
	if (!ret && s.off != want->size)
		ret = -EBADMSG;
	if (!ret && s.end != want->size && ftruncate(fd, want->size))
		ret = -errno;
	if (!ret)
		r->st->bytes += want->size;
	return ret;
}

/* a temporary that is no regular file was made by name: make sure it is ours and
 * not a link to somebody else's before it gets an owner */
static int open_made(int dirfd, const char *tmp, mode_t type)
{
	struct statx s;
	int fd = hf_tree_openat(dirfd, tmp, O_PATH), ret;

	if (fd < 0)
		return fd;
	ret = hf_fd_statx(fd, &s);
	if (!ret && ((s.stx_mode & S_IFMT) != type || s.stx_nlink != 1 || s.stx_uid != geteuid()))
		ret = -ESTALE;
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

static int write_new(struct restore *r, struct item *it, int dirfd, const char *name,
		     const struct hf_attr *want)
{
	char tmp[HF_TMP_LEN + 1];
	mode_t type = want->mode & S_IFMT;
	struct statx stx;
	int fd = -1, ret;

	ret = hf_seam("restore.write");
	if (ret)
		return fail(r, ret, "cannot write", it->rel);
	tmp_name(r->t, tmp);
	if (type == S_IFREG) {
		fd = openat(dirfd, tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		ret = fd < 0 ? -errno : 0;
	} else if (type == S_IFLNK) {
		ret = symlinkat(want->target, dirfd, tmp) ? -errno : 0;
	} else {
		ret = mknodat(dirfd, tmp, type | 0600, makedev(want->rdev_major, want->rdev_minor)) ? -errno : 0;
	}
	if (ret)
		return ret == -ENOENT ? ret : fail_at(r, ret, "cannot create", dirfd, name, it->rel);
	if (type == S_IFREG)
		ret = fill_regular(r, fd, want, it->rel);
	else
		ret = fd = open_made(dirfd, tmp, type);
	if (ret < 0) {
		fail(r, ret, ret == -EBADMSG ? "the stored contents of" : "cannot write", it->rel);
		goto err_unlink;
	}
	ret = hf_attr_apply(r->t, fd, type != S_IFREG, true, want, it->rel, r->err);
	if (ret)
		goto err_unlink;
	ret = hf_fd_statx(fd, &stx);
	if (ret)
		goto err_unlink;
	take_look(&it->seen, &stx);
	ret = hf_seam("restore.rename");
	if (!ret && renameat(dirfd, tmp, dirfd, name))
		ret = -errno;
	if (ret) {
		fail_at(r, ret, "cannot replace", dirfd, name, it->rel);
		goto err_unlink;
	}
	close(fd);
	it->done = true;
	r->st->written++;
	return 0;

err_unlink:
	unlinkat(dirfd, tmp, 0);
	if (fd >= 0)
		close(fd);
	return ret;
}

static int wanted(struct restore *r, const char *rel, struct hf_attr *want)
{
	struct hf_known k;
	int ret = r->db->get(r->db->arg, rel, &k) ? hf_attr_decode(k.attr, k.attrlen, want) : -EBADMSG;

	return ret ? fail(r, ret, "the generation's entry for", rel) : 0;
}

/* attributes in place, if it still is the file whose contents were compared; 1: it is not */
static int set_meta(struct restore *r, struct item *it, int dirfd, const char *name, const struct hf_attr *want)
{
	struct statx stx;
	int fd, ret;

	fd = hf_open_regular(dirfd, name);
	if (fd < 0)
		return fd == -ENOENT || fd == -ESTALE ? 1 : fail(r, fd, "cannot open", it->rel);
	ret = hf_fd_statx(fd, &stx);
	if (!ret && (!looks_same(&it->seen, &stx) || stx.stx_nlink != 1))
		ret = 1;
	if (ret)
		goto out;
	ret = hf_seam("restore.meta");
	if (ret)
		fail(r, ret, "cannot set the attributes of", it->rel);
	else
		ret = hf_attr_apply(r->t, fd, false, false, want, it->rel, r->err);
	if (!ret)
		ret = hf_fd_statx(fd, &stx);
	if (!ret) {
		take_look(&it->seen, &stx);
		it->done = true;
		r->st->meta++;
	}
out:
	close(fd);
	return ret;
}

static int make_dir(struct restore *r, struct item *it, int dirfd, const char *name)
{
	struct statx stx;
	int ret = hf_seam("restore.write");

	if (ret)
		return fail(r, ret, "cannot make", it->rel);
	if (!hf_tree_statx(dirfd, name, &stx)) {
		if (S_ISDIR(stx.stx_mode))
			return 0;
		ret = keep_late(r, it, dirfd, name);
		if (ret)
			return ret;
		if (unlinkat(dirfd, name, 0) && errno != ENOENT)
			return fail_at(r, -errno, "cannot remove", dirfd, name, it->rel);
	}
	/* nobody else may look inside before it has its attributes */
	if (mkdirat(dirfd, name, 0700) && errno != EEXIST)
		return errno == ENOENT ? -ENOENT : fail_at(r, -errno, "cannot make", dirfd, name, it->rel);
	r->st->written++;
	return 0;
}

static int do_write(struct restore *r, struct item *it)
{
	struct hf_attr want = { 0 };
	const char *name;
	int dirfd, ret;

	for (int i = 0; i < 2; i++) {
		dirfd = hf_dircur_parent(&r->cur, it->rel, &name);
		ret = dirfd;
		if (dirfd < 0)
			break;
		if (it->op == OP_LEFTOVER) {
			/* of a restore that ended long ago; gone is as good */
			ret = unlinkat(dirfd, name, 0) && errno != ENOENT && errno != EISDIR ? -errno : 0;
			if (ret)
				fail_at(r, ret, "cannot remove", dirfd, name, it->rel);
			return ret;
		}
		if (it->op == OP_MKDIR) {
			ret = make_dir(r, it, dirfd, name);
		} else {
			ret = wanted(r, it->rel, &want);
			if (ret)
				return ret;
			ret = it->op == OP_META ? set_meta(r, it, dirfd, name, &want) : 1;
			if (ret == 1) {
				ret = keep_late(r, it, dirfd, name);
				if (!ret)
					ret = write_new(r, it, dirfd, name, &want);
			}
			hf_attr_free(&want);
		}
		if (ret != -ENOENT)
			return ret;
		/* the directory that is held open was replaced: look for it again */
		hf_dircur_reset(&r->cur);
	}
	return fail(r, ret, "cannot write", it->rel);
}

/* removing */

static int remove_one(struct restore *r, struct item *it);

/* something was put into a directory that is to go; 1 if anything was removed */
static int purge(struct restore *r, const char *rel)
{
	struct list more = { 0 };
	struct hf_walk w;
	int ret;

	hf_dircur_reset(&r->cur);
	ret = hf_walk_init(&w, r->t, rel, true);
	while (!ret && (ret = hf_walk_next(&w)) == 1) {
		ret = 0;
		if (!strcmp(w.rel, rel))
			continue;
		ret = add(&more, w.rel, OP_REMOVE, &w.stx) ? 0 : -ENOMEM;
		if (!ret && w.kind == HF_WALK_ENTRY)
			ret = keep(r, w.rel);
	}
	hf_walk_free(&w);
	if (!ret)
		ret = keep_flush(r);
	for (size_t i = more.n; !ret && i-- > 0; )
		ret = remove_one(r, &more.e[i]);
	if (!ret)
		ret = more.n > 0;
	list_free(&more);
	return ret;
}

static int remove_one(struct restore *r, struct item *it)
{
	struct statx stx;
	const char *name;
	int dirfd, ret;

	ret = hf_seam("restore.remove");
	if (ret)
		return fail(r, ret, "cannot remove", it->rel);
	for (int i = 0; i < HF_TRIES; i++) {
		dirfd = hf_dircur_parent(&r->cur, it->rel, &name);
		if (dirfd == -ENOENT)
			return 0;
		if (dirfd < 0)
			return fail(r, dirfd, "cannot remove", it->rel);
		ret = hf_tree_statx(dirfd, name, &stx);
		if (ret == -ENOENT)
			return 0;
		if (!ret && !S_ISDIR(stx.stx_mode))
			ret = keep_late(r, it, dirfd, name);
		if (ret)
			return ret;
		if (!unlinkat(dirfd, name, S_ISDIR(stx.stx_mode) ? AT_REMOVEDIR : 0)) {
			r->st->removed++;
			return 0;
		}
		ret = -errno;
		if (ret == -ENOENT)
			return 0;
		if (ret != -ENOTEMPTY && ret != -EEXIST)
			break;
		ret = hf_tree_holds(r->t, it->rel);
		if (ret > 0)
			return 0;	/* it stays for what it holds */
		if (!ret)
			ret = purge(r, it->rel);
		if (ret < 0)
			return ret;
		if (!ret)
			return 0;	/* what it holds is none of ours */
		ret = -ENOTEMPTY;
	}
	return fail_at(r, ret, "cannot remove", dirfd, name, it->rel);
}

static int do_late(struct restore *r, struct item *it)
{
	struct statx stx;
	const char *name;
	int dirfd, ret;

	dirfd = hf_dircur_parent(&r->cur, it->rel, &name);
	ret = dirfd < 0 ? dirfd : hf_tree_statx(dirfd, name, &stx);
	if (!ret && S_ISDIR(stx.stx_mode)) {
		ret = remove_one(r, it);
		if (ret)
			return ret;
	}
	it->op = OP_WRITE;
	return do_write(r, it);
}

/* directories: their attributes, and the marks at the end */

static int finish_dir(struct restore *r, struct item *it)
{
	struct hf_pair p = { .rel = it->rel, .kind = HF_WALK_ENTRY, .name = "" };
	struct hf_attr want = { 0 };
	struct hf_known k;
	struct hf_diff d;
	struct statx stx;
	int fd, ret;

	ret = wanted(r, it->rel, &want);
	if (ret)
		return ret;
	fd = hf_dircur_get(&r->cur, it->rel, strlen(it->rel));
	ret = fd < 0 ? fd : hf_fd_statx(fd, &stx);
	if (ret) {
		fail(r, ret, "cannot open", it->rel);
		goto out;
	}
	if (!r->db->get(r->db->arg, it->rel, &k)) {
		ret = fail(r, -EBADMSG, "the generation's entry for", it->rel);
		goto out;
	}
	p.dirfd = fd;
	p.stx = &stx;
	p.known = &k;
	ret = hf_same(r->t, r->db, &p, &want, r->buf, &d);
	if (ret) {
		fail(r, ret, "cannot look at", it->rel);
		goto out;
	}
	if (d.meta) {
		ret = hf_seam("restore.meta");
		if (ret)
			fail(r, ret, "cannot set the attributes of", it->rel);
		else
			ret = hf_attr_apply(r->t, fd, false, false, &want, it->rel, r->err);
		if (ret)
			goto out;
		if (it->op == OP_NONE)
			r->st->meta++;
		ret = hf_fd_statx(fd, &stx);
		if (ret)
			goto out;
	}
	take_look(&it->seen, &stx);
	it->done = true;
out:
	hf_attr_free(&want);
	return ret;
}

/*
 * What was written may be noted only after the clock has moved on. Until then
 * another process may have changed it: it would not have brought back our times.
 */
static void note_marks(struct restore *r, const struct list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct item *it = &l->e[i];
		struct hf_mark m;
		struct statx s;
		const char *name;
		uint64_t now;
		int fd;

		if (!it->done)
			continue;
		fd = *it->rel ? hf_dircur_parent(&r->cur, it->rel, &name) : r->t->root;
		now = hf_wall_ns();
		if (fd < 0 || (*it->rel ? hf_tree_statx(fd, name, &s) : hf_fd_statx(fd, &s)))
			continue;
		if (it->seen.ino != s.stx_ino || it->seen.mode != s.stx_mode ||
		    it->seen.mtime_s != s.stx_mtime.tv_sec || it->seen.mtime_ns != s.stx_mtime.tv_nsec ||
		    (S_ISREG(s.stx_mode) && it->seen.size != s.stx_size))
			continue;
		hf_mark_set(&m, &s, now);
		if (m.ino)
			r->db->mark(r->db->arg, it->rel, &m);
	}
}

static int execute(struct restore *r)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < r->items.n; i++) {
		struct item *it = &r->items.e[i];

		ret = step(r);
		if (!ret && (it->op == OP_LEFTOVER || it->op == OP_MKDIR || it->op == OP_WRITE || it->op == OP_META))
			ret = do_write(r, it);
	}
	for (size_t i = r->items.n; !ret && i-- > 0; )
		if (r->items.e[i].op == OP_REMOVE) {
			ret = step(r);
			if (!ret)
				ret = remove_one(r, &r->items.e[i]);
		}
	hf_dircur_reset(&r->cur);
	for (size_t i = 0; !ret && i < r->items.n; i++)
		if (r->items.e[i].op == OP_LATE)
			ret = do_late(r, &r->items.e[i]);
	for (size_t i = r->dirs.n; !ret && i-- > 0; )
		ret = finish_dir(r, &r->dirs.e[i]);
	return ret;
}

int hf_restore(struct hf_tree *t, const struct hf_tree_db *db, const struct hf_restore_opts *o,
	       struct hf_restore_stat *st, struct hf_err *err)
{
	struct restore r = { .t = t, .db = db, .o = o, .st = st, .err = err };
	struct hf_err own = { 0 };
	uint64_t before;
	int ret;

	if (!err)
		r.err = &own;
	ret = hf_tree_check_root(t, r.err);
	if (ret)
		return ret;
	before = o && o->keep ? hf_displaced_count(o->keep) : 0;
	hf_ids_begin(t, true);
	r.buf = malloc(HF_SMALL);
	ret = r.buf ? hf_dircur_init(&r.cur, t) : -ENOMEM;
	if (!ret)
		ret = hf_merge(t, db, "", true, plan_pair, &r, r.err);
	if (!ret)
		ret = keep_all(&r);
	if (!ret && (r.items.n || r.changed))
		ret = execute(&r);
	if (!ret && (r.items.n || r.changed || r.unsure) && syncfs(t->root))
		ret = hf_fail(r.err, HF_OK, -errno, "%s: what was restored cannot be made durable: %s",
			      t->path, strerror(errno));
	if (!ret) {
		hf_dircur_reset(&r.cur);
		note_marks(&r, &r.items);
		note_marks(&r, &r.dirs);
	}
	if (!ret && o && o->progress)
		o->progress(o->ctx, r.items.n, r.items.n);
	if (ret == -ENOMEM)
		hf_fail(r.err, HF_OK, ret, "out of memory");
	if (o && o->keep)
		st->displaced += hf_displaced_count(o->keep) - before;
	hf_dircur_free(&r.cur);
	list_free(&r.items);
	list_free(&r.dirs);
	hf_scratch_free(t, r.buf, HF_SMALL);
	return ret;
}
