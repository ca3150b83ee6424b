// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which places of which filesystems the trees of this node's resources are.
 * Two resources may not own the same files at once, whatever names lead there:
 * symbolic links are gone from an open directory's path, and a bind mount is
 * seen through by taking the path inside the filesystem (the mount's root,
 * then what lies below the mount point).
 *
 * Lock: places_lock, a leaf, protects the list.
 */
#include "resource.h"
#include "pattern.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct place {
	struct place *next;
	char resource[HF_NAME_MAX + 1];
	char *shown;		/* path as registered */
	uint64_t dev, ino;	/* ino 0: it is not there (place_look()) */
	char fsdev[32];		/* major:minor of the filesystem */
	char *path;		/* inside it; with the file's name if it is one file */
	bool file;
	const struct ckpt *of;	/* the worker's that reserved it */
};

static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;
static struct place *places;

/* \040 and the like, as mountinfo writes them */
static void unescape(char *s)
{
	char *o = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*o++ = (s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0');
			s += 3;
		} else {
			*o++ = *s;
		}
	}
	*o = '\0';
}

static bool below(const char *top, const char *path)
{
	size_t n = strlen(top);

	if (!strcmp(top, "/"))
		return true;
	return !strncmp(top, path, n) && (path[n] == '/' || path[n] == '\0');
}

/* Path of @dir inside its filesystem, from the row of its mount. */
static int inside(struct place *p, uint64_t mnt_id, const char *dir, const char *name)
{
	char *line = NULL, *root = NULL, *point = NULL;
	size_t cap = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	int ret = -ENOENT;

	if (!f)
		return -errno;
	while (getline(&line, &cap, f) > 0) {
		unsigned long long id;
		char dev[32];

		free(root);
		free(point);
		root = point = NULL;
		if (sscanf(line, "%llu %*s %31s %ms %ms", &id, dev, &root, &point) != 4 || id != mnt_id)
			continue;
		unescape(root);
		unescape(point);
		if (!below(point, dir))
			continue;
		dir += strcmp(point, "/") ? strlen(point) : 0;
		while (*dir == '/')
			dir++;
		memcpy(p->fsdev, dev, sizeof(dev));
		p->path = hf_strf("%s%s%s%s%s", strcmp(root, "/") ? root : "", *dir ? "/" : "", dir,
				  name ? "/" : "", name ? name : "");
		if (p->path && !*p->path) {
			free(p->path);
			p->path = strdup("/");
		}
		ret = p->path ? 0 : -ENOMEM;
		break;
	}
	free(root);
	free(point);
	free(line);
	fclose(f);
	return ret;
}

static void place_free(struct place *p)
{
	free(p->shown);
	free(p->path);
	free(p);
}

/* @dir, or the file @name in it */
static struct place *place_of(int fd, const char *name, const char *shown, const char *resource)
{
	struct place *p = hf_alloc(sizeof(*p));
	char link[64], dir[4097];
	struct statx sx;
	ssize_t n;

	if (!p)
		return NULL;
	snprintf(p->resource, sizeof(p->resource), "%s", resource);
	p->shown = strdup(shown);
	p->file = name != NULL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, dir, sizeof(dir) - 1);
	if (!p->shown || n <= 0 || statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &sx)) {
		place_free(p);
		return NULL;
	}
	dir[n] = '\0';
	p->dev = (uint64_t)sx.stx_dev_major << 32 | sx.stx_dev_minor;
	p->ino = sx.stx_ino;
	if (inside(p, sx.stx_mnt_id, dir, name)) {
		/* not in our namespace's table: the name it has here must do */
		snprintf(p->fsdev, sizeof(p->fsdev), "%u:%u", sx.stx_dev_major, sx.stx_dev_minor);
		p->path = hf_strf("%s%s%s", dir, name ? "/" : "", name ? name : "");
	}
	return p;
}

static bool one_dir(const struct place *a, const struct place *b)
{
	return !a->file && !b->file && a->dev == b->dev && a->ino == b->ino && a->ino;
}

static bool overlap(const struct place *a, const struct place *b)
{
	if (one_dir(a, b))
		return true;
	if (!a->path || !b->path || strcmp(a->fsdev, b->fsdev))
		return false;
	return below(a->path, b->path) || below(b->path, a->path);
}

/* Whether the outer one of two leaves the other out, which its owner may have seen to: both are
 * of one resource, so both belong to the worker that asks. */
static bool left_out(const struct place *a, const struct place *b)
{
	const struct place *outer = strlen(a->path) < strlen(b->path) ? a : b, *inner = outer == a ? b : a;
	const char *rel = inner->path + strlen(outer->path);
	struct hf_patterns *p;
	unsigned out;

	if (outer->file || !*rel ||
	    hf_patterns_new((const char *const *)outer->of->exclude, outer->of->nexclude, &p))
		return false;
	out = hf_patterns_path(p, rel + (*rel == '/'));
	hf_patterns_free(p);
	return out & (inner->file ? HF_OUT_FILE : HF_OUT_DIR);
}

static bool collide(const struct place *a, const struct place *b, bool same)
{
	if (!overlap(a, b))
		return false;
	return !same || one_dir(a, b) || !left_out(a, b);
}

static int own_one(const struct place *p, const char *path, bool file, struct hf_err *err)
{
	char *dir = strdup(path), *slash = dir ? strrchr(dir, '/') : NULL;
	const char *name = file && slash ? path + (slash - dir) + 1 : NULL;
	struct place *own = NULL;
	bool hit = false;
	int fd;

	if (name)
		slash[slash == dir] = '\0';
	fd = dir ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	if (fd >= 0) {
		own = place_of(fd, name, path, "");
		close(fd);
	}
	if (own) {
		hit = overlap(own, p);
		place_free(own);
	}
	free(dir);
	return hit ? hf_fail(err, HF_USAGE, -EINVAL, "'%s' cannot be registered: Holdfast itself keeps its state in %s",
			     p->shown, path) : 0;
}

/* What Holdfast keeps for itself is in no tree, whatever name or view leads there. */
static int own_check(const struct place *p, struct hf_err *err)
{
	int ret = own_one(p, hfd.conf->state_dir, false, err);

	if (!ret)
		ret = own_one(p, hfd.conf->runtime_dir, false, err);
	return ret ? ret : own_one(p, hfd.conf->key_file, true, err);
}

static struct place *place_here(struct ckpt *c, const char *resource, struct hf_err *err)
{
	struct place *p = place_of(hf_tree_fd(c->tree), hf_tree_name(c->tree), c->path, resource);

	if (!p) {
		hf_fail(err, HF_FAILED, -ENOMEM, "%s: cannot find out where %s lies", resource, c->path);
	} else if (own_check(p, err)) {
		place_free(p);
		p = NULL;
	}
	return p;
}

static struct place *place_if_there(struct ckpt *c, const struct hf_resource *def)
{
	struct hf_err e;
	struct stat st;

	if (!c->tree) {
		c->file = !ckpt_stat(c, &st) && !S_ISDIR(st.st_mode);
		if (ckpt_open(c, def, false, &e))
			return NULL;
	}
	return place_of(hf_tree_fd(c->tree), hf_tree_name(c->tree), c->path, def->name);
}

/* Whether two trees would be at the same files; by their names while not both are there. */
static bool meet(struct ckpt *a, const struct hf_resource *of_a, const struct hf_checkpoint *other,
		 const struct hf_resource *of_other)
{
	struct place *p = NULL, *o = NULL;
	struct ckpt *b = NULL;
	struct hf_err e;
	bool hit = false;

	if (ckpt_make(of_other, other, &b, &e))
		return false;
	p = place_if_there(a, of_a);
	o = p ? place_if_there(b, of_other) : NULL;
	if (p && o)
		hit = overlap(p, o);
	else if (!strcmp(a->root, b->root))
		hit = below(a->local, b->local) || below(b->local, a->local);
	if (p)
		place_free(p);
	if (o)
		place_free(o);
	ckpt_free(b);
	return hit;
}

struct json_object *place_meets(const struct regs *regs, const struct hf_resource *def, const struct hf_checkpoint *cp)
{
	struct json_object *arr = json_object_new_array(), *o;
	struct ckpt *c = NULL;
	struct hf_err e;

	if (ckpt_make(def, cp, &c, &e))
		return arr;
	for (unsigned i = 0; i < regs->reg->nres; i++) {
		const struct hf_resource *r = &regs->reg->res[i];

		for (unsigned k = 0; strcmp(r->name, def->name) && k < r->ncp; k++) {
			if (!meet(c, def, &r->cp[k], r))
				continue;
			o = jobj();
			jstr(o, "resource", r->name);
			jbytes(o, "path", r->cp[k].path);
			json_object_array_add(arr, o);
		}
	}
	ckpt_free(c);
	return arr;
}

int place_check(struct ckpt *c, const char *resource, struct hf_err *err)
{
	struct place *p = place_here(c, resource, err);

	if (!p)
		return -EINVAL;
	place_free(p);
	return 0;
}

struct place *place_look(struct ckpt *c, const char *resource)
{
	struct place *p;
	const char *rest;
	int fd;

	if (c->tree) {
		p = place_of(hf_tree_fd(c->tree), hf_tree_name(c->tree), c->path, resource);
	} else {
		fd = ckpt_open_above(c, &rest);
		if (fd < 0)
			return NULL;
		p = place_of(fd, *rest ? rest : NULL, c->path, resource);
		close(fd);
	}
	if (p)
		p->of = c;
	if (p && !c->tree) {
		p->file = c->file;
		p->ino = 0;
	}
	return p;
}

bool place_collides(const struct place *a, const struct place *b)
{
	return collide(a, b, !strcmp(a->resource, b->resource));
}

int place_reserve(struct ckpt *c, const char *resource, struct hf_err *err)
{
	struct place *p = place_here(c, resource, err);
	int ret = 0;

	if (!p)
		return -EINVAL;
	p->of = c;
	pthread_mutex_lock(&places_lock);
	for (struct place *o = places; o && !ret; o = o->next) {
		bool same = !strcmp(o->resource, resource);

		if (collide(o, p, same))
			ret = hf_fail(err, HF_REFUSED, -EBUSY,
				      "%s: its tree %s overlaps %s of %s%s; two instances must use different paths",
				      resource, c->path, o->shown, same ? "the same resource" : o->resource,
				      same ? "" : ", which is online on this node");
	}
	if (!ret) {
		p->next = places;
		places = p;
		c->place = p;
	}
	pthread_mutex_unlock(&places_lock);
	if (ret)
		place_free(p);
	return ret;
}

int place_outside(int fd, const char *shown, struct hf_err *err)
{
	struct place *p = place_of(fd, NULL, shown, "");
	int ret = 0;

	if (!p)
		return hf_fail(err, HF_FAILED, -ENOMEM, "cannot find out where %s lies", shown);
	pthread_mutex_lock(&places_lock);
	for (struct place *o = places; o && !ret; o = o->next)
		if (!o->file && ((o->dev == p->dev && o->ino == p->ino) ||
				 (o->path && p->path && !strcmp(o->fsdev, p->fsdev) && below(o->path, p->path))))
			ret = hf_fail(err, HF_REFUSED, -EBUSY, "%s lies in %s of %s, which is online on this node; "
				      "name a directory outside of it", shown, o->shown, o->resource);
	pthread_mutex_unlock(&places_lock);
	place_free(p);
	return ret;
}

void place_release(struct place *p)
{
	struct place **pp;

	if (!p)
		return;
	pthread_mutex_lock(&places_lock);
	for (pp = &places; *pp && *pp != p; pp = &(*pp)->next)
		;
	if (*pp)
		*pp = p->next;
	pthread_mutex_unlock(&places_lock);
	place_free(p);
}
