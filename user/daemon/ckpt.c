// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A checkpoint that is open on this node: where it lies, its tree, its watch.
 * No lock of its own: the worker owns it; see resource.c for r->cp.
 */
#include "resource.h"
#include "treedb.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where a view's root lies, below the node's: a symbolic link on the way does not lead out of that. */
static char *view_root(const char *base, const char *view, const char *v, struct hf_err *err)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int top = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;
	char link[64], path[PATH_MAX], *s = NULL;
	ssize_t n = -1;

	fd = top < 0 ? -1 : (int)syscall(SYS_openat2, top, v, &how, sizeof(how));
	if (fd >= 0) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, path, sizeof(path));
	}
	if (n > 0 && (size_t)n < sizeof(path))
		s = hf_strf("%.*s", (int)n, path);
	else
		hf_fail(err, HF_REFUSED, -EBUSY, "view %s: its root %s is not there below %s (%s); make it, or change [view] in %s",
			view, v, base, strerror(errno), hfd.conf->path);
	if (fd >= 0)
		close(fd);
	if (top >= 0)
		close(top);
	return s;
}

char *node_root(const char *view, struct hf_err *err)
{
	const char *base = hfd.conf->root ? hfd.conf->root : "/", *v = hf_conf_view(hfd.conf, view);
	size_t n = strlen(base);
	char *s;

	if (!v) {
		hf_fail(err, HF_USAGE, -EINVAL, "this node knows no view '%s'; add it to [view] in %s", view,
			hfd.conf->path);
		return NULL;
	}
	while (n > 1 && base[n - 1] == '/')
		n--;
	if (!strcmp(v, "/"))
		s = hf_strf("%.*s", (int)n, base);
	else
		return view_root(base, view, v, err);
	if (!s)
		hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
	return s;
}

int ckpt_make(const struct hf_resource *def, const struct hf_checkpoint *cp, struct ckpt **out,
	      struct hf_err *err)
{
	struct ckpt *c = hf_alloc(sizeof(*c));
	const char *view = cp->view && *cp->view ? cp->view : "native";
	int ret = -ENOMEM;

	if (!c)
		goto oom;
	c->id = cp->id;
	c->crypto = cp->crypto;
	c->flags = (cp->crypto ? HF_TREE_CRYPTO : 0) | (def->policy.owners_number ? HF_TREE_NUMBERS : 0) |
		   (def->policy.sockets_keep ? HF_TREE_SOCKETS : 0);
	c->root = node_root(view, err);
	if (!c->root) {
		ret = err && err->exit == HF_REFUSED ? -EBUSY : -EINVAL;
		goto fail;
	}
	c->path = strdup(cp->path);
	c->local = hf_path_expand(cp->path, hfd.conf->node_name, def->name);
	c->mount = strdup(cp->mount ? cp->mount : "");
	c->exclude = calloc(cp->nexclude + 1, sizeof(*c->exclude));
	if (!c->path || !c->local || !c->mount || !c->exclude)
		goto oom;
	for (; c->nexclude < cp->nexclude; c->nexclude++) {
		c->exclude[c->nexclude] = strdup(cp->exclude[c->nexclude]);
		if (!c->exclude[c->nexclude])
			goto oom;
	}
	*out = c;
	return 0;
oom:
	hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
fail:
	ckpt_free(c);
	return ret;
}

int ckpt_stat(const struct ckpt *c, struct stat *st)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	int root = open(c->root, O_PATH | O_DIRECTORY | O_CLOEXEC), fd, ret = 0;

	if (root < 0)
		return -errno;
	fd = syscall(SYS_openat2, root, c->local, &how, sizeof(how));
	if (fd < 0)
		ret = -errno;
	else if (fstat(fd, st))
		ret = -errno;
	if (fd >= 0)
		close(fd);
	close(root);
	return ret;
}

bool ckpt_is_file(const struct ckpt *c, bool registered, struct hf_log *log)
{
	struct stat st;

	if (registered)
		return true;
	if (log && treedb_seeded(log, c->id))
		return !treedb_has_root(log, c->id);
	return !ckpt_stat(c, &st) && !S_ISDIR(st.st_mode);
}

int ckpt_open(struct ckpt *c, const struct hf_resource *def, bool create, struct hf_err *err)
{
	return hf_tree_open(c->root, c->local, c->flags | (c->file ? HF_TREE_FILE : 0), create,
			    (const char *const *)c->exclude, c->nexclude, &c->tree, err);
}

/* The directory that the first @n bytes of the path lead to, never out of the root. */
static int open_up(const struct ckpt *c, size_t n)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	int root = open(c->root, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;
	char *part;

	if (root < 0)
		return -errno;
	part = hf_strf("/%.*s", (int)n, c->local);
	fd = part ? syscall(SYS_openat2, root, part, &how, sizeof(how)) : -1;
	if (fd < 0)
		fd = part ? -errno : -ENOMEM;
	free(part);
	close(root);
	return fd;
}

int ckpt_open_above(const struct ckpt *c, const char **rest)
{
	size_t n = strlen(c->local);
	int fd;

	do {
		while (n > 1 && c->local[n - 1] != '/')
			n--;
		*rest = c->local + n;
		fd = open_up(c, --n);
	} while (fd < 0 && n);
	return fd;
}

static int make_up(struct ckpt *c, size_t up, size_t n)
{
	int dir = open_up(c, up), ret = 0;
	char *name;

	if (dir < 0)
		return dir;
	name = hf_strf("%.*s", (int)(n - up - 1), c->local + up + 1);
	if (!name) {
		ret = -ENOMEM;
	} else if (!mkdirat(dir, name, 0755)) {
		c->made_up++;
		/* not the tree's own: whoever must pass may, whatever our umask is */
		ret = fchmodat(dir, name, 0755, 0) ? -errno : 0;
	} else if (errno != EEXIST) {
		ret = -errno;
	}
	free(name);
	close(dir);
	return ret;
}

int ckpt_make_parents(struct ckpt *c, struct hf_err *err)
{
	size_t up = 0, n;
	int ret = 0;

	for (n = 1; !ret && c->local[n]; n++) {
		int fd;

		if (c->local[n] != '/')
			continue;
		fd = open_up(c, n);
		if (fd >= 0)
			close(fd);
		else
			ret = fd == -ENOENT ? make_up(c, up, n) : fd;
		up = n;
	}
	if (ret)
		return hf_fail(err, ret == -ENOTDIR || ret == -ELOOP ? HF_REFUSED : HF_FAILED, ret,
			       "%s%.*s cannot be made: %s; %s", strcmp(c->root, "/") ? c->root : "",
			       (int)up, c->local, strerror(-ret),
			       ret == -ENOTDIR || ret == -ELOOP ? "move away what is in its way" :
			       "make it, then try again");
	return 0;
}

static bool unmake_at(const struct ckpt *c, size_t n)
{
	size_t up = n;
	char *name;
	bool gone;
	int dir;

	while (up && c->local[up - 1] != '/')
		up--;
	if (!up)
		return false;
	name = hf_strf("%.*s", (int)(n - up), c->local + up);
	dir = open_up(c, up - 1);
	gone = name && dir >= 0 && !unlinkat(dir, name, AT_REMOVEDIR);
	if (dir >= 0)
		close(dir);
	free(name);
	return gone;
}

void ckpt_unmake(struct ckpt *c)
{
	size_t n = strlen(c->local);

	if (c->made && !unmake_at(c, n))
		return;
	c->made = false;
	for (; c->made_up; c->made_up--) {
		while (n && c->local[n - 1] != '/')
			n--;
		if (!n || !unmake_at(c, --n))
			return;
	}
}

void ckpt_untrack(struct ckpt *c)
{
	if (c->watch)
		hf_track_del(c->watch);
	c->watch = NULL;
}

void ckpt_free(struct ckpt *c)
{
	if (!c)
		return;
	ckpt_untrack(c);
	place_release(c->place);
	if (c->tree)
		hf_tree_close(c->tree);
	for (unsigned i = 0; i < c->nexclude; i++)
		free(c->exclude[i]);
	free(c->exclude);
	free(c->path);
	free(c->root);
	free(c->local);
	free(c->mount);
	free(c);
}

/* Nothing in it that a generation would hold; a file that is not there. */
bool ckpt_empty(struct ckpt *c)
{
	const char *name = hf_tree_name(c->tree);
	struct stat st;
	struct dirent *d;
	bool empty = true;
	DIR *dir;
	int fd;

	if (name)
		return fstatat(hf_tree_fd(c->tree), name, &st, AT_SYMLINK_NOFOLLOW) != 0;
	fd = openat(hf_tree_fd(c->tree), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return true;
	}
	while (empty && (d = readdir(dir)))
		empty = !strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") ||
			!strcmp(d->d_name, "lost+found");
	closedir(dir);
	return empty;
}

/* Whether something is mounted where the path lay on a mount, though the path is not there. */
static bool mount_there(const struct ckpt *c)
{
	struct ckpt at = { .root = c->root, .local = c->mount };
	size_t n = strlen(c->mount), up = n;
	struct statx sx[2];
	bool ok = true;

	while (up && c->mount[up - 1] != '/')
		up--;
	for (int i = 0; i < 2 && ok; i++) {
		int fd = open_up(&at, i ? up : n);

		ok = fd >= 0 && !statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &sx[i]);
		if (fd >= 0)
			close(fd);
	}
	return ok && sx[0].stx_mnt_id != sx[1].stx_mnt_id;
}

/* A path that lay on a mount of its own and now does not is not the same tree. */
int ckpt_mount_check(struct ckpt *c, const char *resource, struct hf_err *err)
{
	char id[1024];

	if (!*c->mount)
		return 0;
	if (c->tree ? hf_tree_mounted(c->tree, id, sizeof(id)) > 0 && !strcmp(id, c->mount) :
		      mount_there(c))
		return 0;
	return hf_fail(err, HF_REFUSED, -EBUSY,
		       "%s: %s lay on a filesystem mounted at %s, and that is not mounted; mount it, then try again (if there is none on this node: online in holdfast(8))",
		       resource, c->path, c->mount);
}

/* @known: see struct hf_track_label */
int ckpt_track(struct resource *r, struct ckpt *c, uint64_t known, struct hf_watch **w, struct hf_err *err)
{
	struct hf_track_label label = { .resource = r->name, .path = c->path, .known = known };

	return hf_track_add(hfd.track, hf_tree_fd(c->tree), hf_tree_name(c->tree), &label,
			    resource_notify, r, w, err);
}

int ckpts_add(struct resource *r, struct ckpt *c)
{
	struct ckpt **v = calloc(r->ncp + 1, sizeof(*v)), **old;

	if (!v)
		return -ENOMEM;
	if (r->ncp)
		memcpy(v, r->cp, r->ncp * sizeof(*v));
	v[r->ncp] = c;
	pthread_mutex_lock(&r->lock);
	old = r->cp;
	r->cp = v;
	r->ncp++;
	pthread_mutex_unlock(&r->lock);
	free(old);
	return 0;
}

void ckpts_drop(struct resource *r, unsigned i)
{
	struct ckpt *c = r->cp[i];

	pthread_mutex_lock(&r->lock);
	memmove(r->cp + i, r->cp + i + 1, (r->ncp - i - 1) * sizeof(*r->cp));
	r->ncp--;
	pthread_mutex_unlock(&r->lock);
	/* not under r->lock: it waits for resource_notify() to be over */
	ckpt_free(c);
}

void ckpts_drop_all(struct resource *r)
{
	while (r->ncp)
		ckpts_drop(r, r->ncp - 1);
	pthread_mutex_lock(&r->lock);
	free(r->cp);
	r->cp = NULL;
	pthread_mutex_unlock(&r->lock);
}

void ckpts_leave(struct resource *r)
{
	struct hf_watch *w;

	for (unsigned i = 0; i < r->ncp; i++) {
		pthread_mutex_lock(&r->lock);
		w = r->cp[i]->watch;
		r->cp[i]->watch = NULL;
		pthread_mutex_unlock(&r->lock);
		if (w)
			hf_track_leave(w);
	}
	ckpts_drop_all(r);
}
