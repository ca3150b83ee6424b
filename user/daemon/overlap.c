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
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct place {
	struct place *next;
	char resource[HF_NAME_MAX + 1];
	char *shown;		/* path as registered */
	uint64_t dev, ino;
	char fsdev[32];		/* major:minor of the filesystem */
	char *path;		/* inside it; with the file's name if it is one file */
	bool file;
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

/* of directory @fd, or of @name in it */
static struct place *place_at(int fd, const char *name, const char *shown, const char *resource)
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
		free(p->shown);
		free(p);
		return NULL;
	}
	dir[n] = '\0';
	p->dev = (uint64_t)sx.stx_dev_major << 32 | sx.stx_dev_minor;
	p->ino = sx.stx_ino;
	if (inside(p, sx.stx_mnt_id, dir, name)) {
		/* not in our namespace's table: the name it has here must do */
		snprintf(p->fsdev, sizeof(p->fsdev), "%u:%u", sx.stx_dev_major, sx.stx_dev_minor);
		p->path = hf_strf("%s%s%s", dir, p->file ? "/" : "", p->file ? name : "");
	}
	return p;
}

static bool overlap(const struct place *a, const struct place *b)
{
	if (!a->file && !b->file && a->dev == b->dev && a->ino == b->ino)
		return true;
	if (!a->path || !b->path || strcmp(a->fsdev, b->fsdev))
		return false;
	return below(a->path, b->path) || below(b->path, a->path);
}

static void place_free(struct place *p)
{
	free(p->shown);
	free(p->path);
	free(p);
}

int place_reserve(struct ckpt *c, const char *resource, struct hf_err *err)
{
	struct place *p = place_at(hf_tree_fd(c->tree), hf_tree_name(c->tree), c->path, resource);
	int ret = 0;

	if (!p)
		return hf_fail(err, HF_FAILED, -ENOMEM, "%s: cannot find out where %s lies", resource, c->path);
	pthread_mutex_lock(&places_lock);
	for (struct place *o = places; o && !ret; o = o->next) {
		bool same = !strcmp(o->resource, resource);

		/* of one resource the outer tree may leave the inner one out */
		if (same ? !o->file && !p->file && o->dev == p->dev && o->ino == p->ino : overlap(o, p))
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
	struct place *p = place_at(fd, NULL, shown, "");
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
