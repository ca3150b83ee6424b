// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One entry of a restore: kept aside if it changed since it was compared,
 * written without a name, or under one that nobody looks for, made visible by a link or a rename.
 */
#include "restore_int.h"
#include <sodium.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int hf_rst_fail(struct restore *r, int ret, const char *what, const char *rel)
{
	return hf_tree_fail(r->t, r->err, ret, what, rel);
}

/* EPERM to root has one usual reason */
int hf_rst_fail_at(struct restore *r, int ret, const char *what, int dirfd, const char *name, const char *rel)
{
	struct statx s;
	bool entry = !hf_tree_statx(dirfd, name, &s) &&
		     (s.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND));
	bool dir = !entry && !hf_fd_statx(dirfd, &s) &&
		   (s.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND));
	char *text;

	if (ret != -EPERM || (!entry && !dir))
		return hf_rst_fail(r, ret, what, rel);
	text = hf_tree_text(r->t, rel);
	hf_fail(r->err, HF_OK, ret, "%s %.700s: %s is immutable or append-only; chattr -i -a it", what,
		text ? text : "?", entry ? "it" : "its directory");
	free(text);
	return ret;
}

/* keeping aside */

bool hf_rst_settled(struct restore *r, const char *rel, const struct statx *stx)
{
	struct hf_mark now;

	if (!r->o || !r->o->settled)
		return false;
	hf_mark_set(&now, stx, UINT64_MAX);
	return r->o->settled(r->o->ctx, rel, &now);
}

int hf_rst_keep(struct restore *r, const char *rel)
{
	return r->o && r->o->keep ? hf_displaced_add(r->o->keep, r->t, rel, r->err) : 0;
}

void hf_rst_keep_flush(struct restore *r)
{
	if (r->o && r->o->keep)
		hf_displaced_flush(r->o->keep);
}

/* what is about to go is not what was kept: somebody changed it since */
int hf_rst_keep_late(struct restore *r, const struct item *it, int dirfd, const char *name)
{
	struct statx stx;
	int ret;

	if (!r->o || !r->o->keep)
		return 0;
	ret = hf_tree_statx(dirfd, name, &stx);
	if (ret == -ENOENT || S_ISDIR(stx.stx_mode))
		return 0;
	if (ret)
		return hf_rst_fail(r, ret, "cannot look at", it->rel);
	/* where times are whole seconds it may look the same all the same */
	if (hf_looks_same(&it->seen, &stx) &&
	    (hf_ctime_ns(&stx) % 1000000000ull || hf_settled(hf_ctime_ns(&stx), hf_wall_ns())))
		return 0;
	ret = hf_rst_keep(r, it->rel);
	hf_rst_keep_flush(r);
	return ret;
}

/* writing */

void hf_tmp_name_make(const struct hf_tree *t, char out[HF_TMP_LEN + 1])
{
	static const char az[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t rnd[HF_TMP_RANDOM];
	char text[HF_TMP_RANDOM];

	randombytes_buf(rnd, sizeof(rnd));
	for (int i = 0; i < HF_TMP_RANDOM; i++)
		text[i] = t->name && i < 4 ? t->own_tmp[i] : az[rnd[i] & 31];
	hf_tmpname_make(text, out);
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

	if (r->content) {
		ret = sink_write(&s, r->content->data, r->content->len);
	} else if (want->size) {
		hf_fetch_lock(r->fetch);
		ret = r->db->read(r->db->arg, rel, sink_write, &s);
		hf_fetch_unlock(r->fetch);
	}
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

int hf_tmp_make(struct hf_tree *t, int dirfd, char tmp[HF_TMP_LEN + 1], const struct hf_attr *want)
{
	mode_t type = want->mode & S_IFMT;
	int ret;

	hf_tmp_name_make(t, tmp);
	/* it belongs to its owner before it has its mode: never more than that in the end */
	if (type == S_IFREG) {
		ret = openat(dirfd, tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, want->mode & 0600);
		return ret < 0 ? -errno : ret;
	}
	if (type == S_IFLNK)
		ret = symlinkat(want->target, dirfd, tmp);
	else
		ret = mknodat(dirfd, tmp, type | (want->mode & 0600), makedev(want->rdev_major, want->rdev_minor));
	if (ret)
		return -errno;
	ret = open_made(dirfd, tmp, type);
	if (ret < 0)
		unlinkat(dirfd, tmp, 0);
	return ret;
}

static bool accessed_so(const struct statx *now, const struct hf_attr *want)
{
	return (now->stx_mode == want->mode || S_ISLNK(want->mode)) && now->stx_uid == want->uid &&
	       now->stx_gid == want->gid;
}

/*
 * It is where it belongs: what is to be remembered of it is what was meant, and nobody else's.
 * @dressed: it was not looked at, and is not as was thought where a filesystem gives modes or owners of its own.
 */
static int written(struct restore *r, struct item *it, int fd, struct hf_attr *want, bool dressed)
{
	struct statx now;
	int ret, bad = 0;

	ret = hf_fd_statx(fd, &now);
	if (!ret && dressed && !accessed_so(&now, want)) {
		bad = hf_attr_apply(r->t, fd, false, false, want, it->rel, r->err);
		ret = hf_fd_statx(fd, &now);
	}
	if (!ret)
		hf_look(&it->seen, &now);
	it->done = !ret && (!S_ISREG(want->mode) || now.stx_size == want->size) && accessed_so(&now, want) &&
		   now.stx_mtime.tv_sec == want->mtime_s && now.stx_mtime.tv_nsec == want->mtime_ns;
	close(fd);
	r->st->written++;
	return bad;
}

/*
 * Whether nobody but root can get at what is in the directory: how a file is that was just made in it is then
 * known without looking (r->born). Asked once for all that are made in it one after the other.
 */
static bool private_dir(struct restore *r, const struct item *it, int dirfd, const char *name)
{
	size_t n = name - it->rel;
	struct statx s;

	if (r->born_in && r->born_len == n && !memcmp(r->born_in, it->rel, n))
		return r->born.stx_mode;
	r->born_in = it->rel;
	r->born_len = n;
	memset(&r->born, 0, sizeof(r->born));
	if (hf_fd_statx(dirfd, &s) || s.stx_uid != geteuid() || (s.stx_mode & 0777) != 0700 || hf_has_default_acl(dirfd))
		return false;
	/* some filesystems always give the group of the directory */
	if (s.stx_gid != getegid() && !(s.stx_mode & S_ISGID))
		return false;
	r->born.stx_mode = S_IFREG;
	r->born.stx_uid = s.stx_uid;
	r->born.stx_gid = s.stx_gid;
	return true;
}

/* a file that was made in a private directory */
static int dress(struct restore *r, int fd, struct hf_attr *want, const char *rel, struct hf_err *err)
{
	r->born.stx_mode = S_IFREG | (want->mode & 0777 & ~r->umask);
	return hf_attr_apply_born(r->t, fd, &r->born, want, rel, err);
}

/*
 * A file that is not there yet needs no temporary name: made without any, nobody can open
 * it before it is whole, and gets its own. Return: 1 if that cannot be had.
 */
static int write_nameless(struct restore *r, struct item *it, int dirfd, const char *name, struct hf_attr *want)
{
	uint64_t bytes = r->st->bytes;
	struct hf_err e = { 0 };
	bool own = false;
	int fd, ret;

	if (!S_ISREG(want->mode) || it->seen.ino || r->no_nameless)
		return 1;
	fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, want->mode & 0777);
	if (fd < 0) {
		r->no_nameless = errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL;
		return 1;
	}
	ret = fill_regular(r, fd, want, it->rel);
	if (!ret && (own = private_dir(r, it, dirfd, name)))
		ret = dress(r, fd, want, it->rel, &e);
	else if (!ret)
		ret = hf_attr_apply(r->t, fd, false, true, want, it->rel, &e);
	if (!ret && (ret = hf_seam("restore.rename"))) {
		close(fd);
		return hf_rst_fail_at(r, ret, "cannot replace", dirfd, name, it->rel);
	}
	if (!ret && !linkat(fd, "", dirfd, name, AT_EMPTY_PATH))
		return written(r, it, fd, want, own);
	/* the other way has the same reasons to fail, and says them; it may be that there is
	 * something by now, or that this may not be done here */
	r->no_nameless |= !ret && errno != EEXIST;
	r->st->bytes = bytes;
	close(fd);
	return 1;
}

static int write_new(struct restore *r, struct item *it, int dirfd, const char *name,
		     struct hf_attr *want)
{
	char tmp[HF_TMP_LEN + 1];
	mode_t type = want->mode & S_IFMT;
	int fd = -1, ret;

	ret = hf_seam("restore.write");
	if (ret)
		return hf_rst_fail(r, ret, "cannot write", it->rel);
	/* overwrites nothing */
	ret = write_nameless(r, it, dirfd, name, want);
	if (ret <= 0)
		return ret;
	fd = hf_tmp_make(r->t, dirfd, tmp, want);
	if (fd < 0)
		return fd == -ENOENT ? fd : hf_rst_fail_at(r, fd, "cannot create", dirfd, name, it->rel);
	ret = type == S_IFREG ? fill_regular(r, fd, want, it->rel) : 0;
	if (ret < 0) {
		hf_rst_fail(r, ret, ret == -EBADMSG ? "the stored contents of" : "cannot write", it->rel);
		goto err_unlink;
	}
	ret = hf_attr_apply(r->t, fd, type != S_IFREG, true, want, it->rel, r->err);
	if (ret)
		goto err_unlink;
	ret = hf_seam("restore.rename");
	if (ret) {
		hf_rst_fail_at(r, ret, "cannot replace", dirfd, name, it->rel);
		goto err_unlink;
	}
	/* only now: contents take their time, in which somebody else may write too */
	ret = hf_rst_keep_late(r, it, dirfd, name);
	if (ret)
		goto err_unlink;
	if (renameat(dirfd, tmp, dirfd, name)) {
		ret = -errno;
		hf_rst_fail_at(r, ret, "cannot replace", dirfd, name, it->rel);
		goto err_unlink;
	}
	return written(r, it, fd, want, false);

err_unlink:
	unlinkat(dirfd, tmp, 0);
	if (fd >= 0)
		close(fd);
	return ret;
}

/* whole or not at all by the directory's name: until it has one nobody looks for what is in it */
static int write_direct(struct restore *r, struct item *it, int dirfd, const char *name, struct hf_attr *want)
{
	int fd, ret = hf_seam("restore.write");

	if (ret)
		return hf_rst_fail(r, ret, "cannot write", it->rel);
	fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, want->mode & 0777);
	if (fd < 0)
		return hf_rst_fail_at(r, -errno, "cannot create", dirfd, name, it->rel);
	ret = fill_regular(r, fd, want, it->rel);
	if (ret)
		hf_rst_fail(r, ret, ret == -EBADMSG ? "the stored contents of" : "cannot write", it->rel);
	else
		ret = dress(r, fd, want, it->rel, r->err);
	if (!ret)
		return written(r, it, fd, want, true);
	close(fd);
	return ret;
}

int hf_rst_write_in(struct restore *r, struct item *it, int dirfd, const char *name)
{
	struct hf_attr want = { 0 };
	int ret = hf_rst_wanted(r, it->rel, &want);

	if (!ret)
		ret = S_ISREG(want.mode) && private_dir(r, it, dirfd, name) ? write_direct(r, it, dirfd, name, &want) :
		      write_new(r, it, dirfd, name, &want);
	hf_attr_free(&want);
	return ret;
}

int hf_rst_wanted(struct restore *r, const char *rel, struct hf_attr *want)
{
	struct hf_known k;
	int ret;

	if (r->content && r->content->want.mode) {
		*want = r->content->want;
		memset(&r->content->want, 0, sizeof(r->content->want));
		return 0;
	}
	hf_fetch_lock(r->fetch);
	ret = r->db->get(r->db->arg, rel, &k) ? hf_attr_decode(k.attr, k.attrlen, want) : -EBADMSG;
	hf_fetch_unlock(r->fetch);
	return ret ? hf_rst_fail(r, ret, "the generation's entry for", rel) : 0;
}

/* attributes in place, if it still is the file whose contents were compared; 1: it is not */
static int set_meta(struct restore *r, struct item *it, int dirfd, const char *name, struct hf_attr *want)
{
	struct statx stx;
	int fd, ret;

	fd = hf_open_regular(dirfd, name);
	if (fd < 0)
		return fd == -ENOENT || fd == -ESTALE ? 1 : hf_rst_fail(r, fd, "cannot open", it->rel);
	ret = hf_fd_statx(fd, &stx);
	if (!ret && (!hf_looks_same(&it->seen, &stx) || stx.stx_nlink != (it->names ? it->names : 1)))
		ret = 1;
	if (ret)
		goto out;
	ret = hf_seam("restore.meta");
	if (ret)
		hf_rst_fail(r, ret, "cannot set the attributes of", it->rel);
	else
		ret = hf_attr_apply(r->t, fd, false, false, want, it->rel, r->err);
	if (!ret)
		ret = hf_fd_statx(fd, &stx);
	if (!ret) {
		hf_look(&it->seen, &stx);
		it->done = true;
		r->st->meta++;
	}
out:
	close(fd);
	return ret;
}

/* a further name of a file that is in place already */
static int write_link(struct restore *r, struct item *it, int dirfd, const char *name)
{
	uint64_t ino = it->lead == SIZE_MAX ? it->ino : r->items.e[it->lead].seen.ino;
	char tmp[HF_TMP_LEN + 1];
	const char *from;
	struct statx stx;
	int fd, ret = hf_seam("restore.write");

	if (ret)
		return hf_rst_fail(r, ret, "cannot write", it->rel);
	hf_tmp_name_make(r->t, tmp);
	fd = hf_dircur_parent(&r->other, it->to, &from);
	if (fd < 0)
		return hf_rst_fail(r, fd, "cannot open", it->to);
	if (linkat(fd, from, dirfd, tmp, 0)) {
		hf_dircur_reset(&r->other);
		return errno == ENOENT ? -ENOENT : hf_rst_fail_at(r, -errno, "cannot make a hard link", dirfd, name, it->rel);
	}
	ret = hf_tree_statx(dirfd, tmp, &stx);
	/* what stands there now may have been put there by somebody else */
	if (!ret && stx.stx_ino != ino)
		ret = -ESTALE;
	if (!ret)
		ret = hf_seam("restore.rename");
	if (!ret && renameat(dirfd, tmp, dirfd, name))
		ret = -errno;
	/* two names of one file: then the rename does nothing */
	unlinkat(dirfd, tmp, 0);
	if (ret)
		return hf_rst_fail_at(r, ret, "cannot replace", dirfd, name, it->rel);
	if (!hf_tree_statx(dirfd, name, &stx) && stx.stx_ino == ino) {
		hf_look(&it->seen, &stx);
		it->done = true;
		/* a name more changed the change time of the others */
		if (it->lead != SIZE_MAX && r->items.e[it->lead].done &&
		    r->items.e[it->lead].seen.mtime == it->seen.mtime && r->items.e[it->lead].seen.size == it->seen.size)
			r->items.e[it->lead].seen = it->seen;
	}
	r->st->written++;
	return 0;
}

static int tighten(struct restore *r, struct item *it)
{
	struct hf_attr want = { 0 };
	int fd = hf_dircur_get(&r->cur, it->rel, strlen(it->rel));
	int ret = fd < 0 ? hf_rst_fail(r, fd, "cannot open", it->rel) : hf_rst_wanted(r, it->rel, &want);

	if (!ret)
		ret = hf_attr_tighten(r->t, fd, &want, it->rel, r->err);
	hf_attr_free(&want);
	return ret;
}

static int make_dir(struct restore *r, struct item *it, int dirfd, const char *name)
{
	struct statx stx;
	int ret = hf_seam("restore.write");

	if (ret)
		return hf_rst_fail(r, ret, "cannot make", it->rel);
	if (!hf_tree_statx(dirfd, name, &stx)) {
		if (S_ISDIR(stx.stx_mode))
			return tighten(r, it);
		ret = hf_rst_keep_late(r, it, dirfd, name);
		if (ret)
			return ret;
		if (unlinkat(dirfd, name, 0) && errno != ENOENT)
			return hf_rst_fail_at(r, -errno, "cannot remove", dirfd, name, it->rel);
	}
	/* nobody else may look inside before it has its attributes, whoever made it */
	if (mkdirat(dirfd, name, 0700))
		return errno == ENOENT ? -ENOENT : errno == EEXIST ? tighten(r, it) :
		       hf_rst_fail_at(r, -errno, "cannot make", dirfd, name, it->rel);
	r->st->written++;
	return 0;
}

int hf_rst_write(struct restore *r, struct item *it)
{
	struct hf_attr want = { 0 };
	const char *name;
	int dirfd, ret;

	/* the directory may be opened anew after it */
	if (it->op != OP_WRITE)
		r->born_in = NULL;
	if (it->op == OP_TIGHTEN)
		return tighten(r, it);
	for (int i = 0; i < 2; i++) {
		dirfd = hf_dircur_parent(&r->cur, it->rel, &name);
		ret = dirfd;
		if (dirfd < 0)
			break;
		if (it->op == OP_LEFTOVER) {
			/* of a restore that ended long ago; gone is as good */
			ret = unlinkat(dirfd, name, 0) && errno != ENOENT ? -errno : 0;
			if (ret == -EISDIR)
				ret = hf_nest_remove(r->t, dirfd, name);
			if (ret)
				hf_rst_fail_at(r, ret, "cannot remove", dirfd, name, it->rel);
			return ret;
		}
		if (it->op == OP_MKDIR) {
			ret = make_dir(r, it, dirfd, name);
		} else if (it->op == OP_LINK) {
			ret = hf_rst_keep_late(r, it, dirfd, name);
			if (!ret)
				ret = write_link(r, it, dirfd, name);
		} else {
			ret = hf_rst_wanted(r, it->rel, &want);
			if (ret)
				return ret;
			ret = it->op == OP_META ? set_meta(r, it, dirfd, name, &want) : 1;
			/* its other names are right only if it is */
			if (ret == 1 && it->names > 1)
				ret = hf_rst_fail(r, -EBUSY, "somebody changed", it->rel);
			else if (ret == 1)
				ret = write_new(r, it, dirfd, name, &want);
			hf_attr_free(&want);
		}
		if (ret != -ENOENT)
			return ret;
		/* the directory that is held open was replaced: look for it again */
		hf_dircur_reset(&r->cur);
		r->born_in = NULL;
	}
	return hf_rst_fail(r, ret, "cannot write", it->rel);
}
