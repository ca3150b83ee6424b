// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_create SOURCE DIR [bare | burst] - the floor of a restore: makes what is in SOURCE in
 * the empty directory DIR, from memory, with no call that could be left out, and makes
 * it durable. bare: names, types and contents only, without owners, times, attributes.
 * Prints the microseconds until it was written, and until it was durable.
 * burst: as bare, but the directories may be there already, nothing is made durable, and the clock
 * (CLOCK_MONOTONIC, in ns) is printed as it was before and after.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

struct part { off_t at; size_t len; char *data; };

struct entry {
	char *rel, *to, *xattrs;
	struct stat st;
	struct part *part;
	unsigned nparts;
	size_t xlen;
	long lead;			/* the entry that it is another name of, or -1 */
	bool link;			/* of several names */
};

static struct entry *all;
static size_t count, skip;

__attribute__((noreturn))
static void die(const char *what)
{
	fprintf(stderr, "bench_create: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *grown(void *p, size_t n, size_t size)
{
	if (n & (n - 1))
		return p;
	p = realloc(p, (n ? 2 * n : 1) * size);
	if (!p)
		die("memory");
	return p;
}

static void load_data(struct entry *e, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t at = 0, end;

	if (fd < 0)
		die(path);
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		struct part *p;

		end = lseek(fd, at, SEEK_HOLE);
		e->part = grown(e->part, e->nparts, sizeof(*e->part));
		p = &e->part[e->nparts++];
		p->at = at;
		p->len = (size_t)(end - at);
		p->data = malloc(p->len);
		if (!p->data || pread(fd, p->data, p->len, at) != (ssize_t)p->len)
			die(path);
		at = end;
	}
	close(fd);
}

static void load_xattrs(struct entry *e, const char *path)
{
	char names[4096], value[65536];
	ssize_t n = llistxattr(path, names, sizeof(names)), len;

	if (n < 0)
		die(path);
	for (char *name = names; name < names + n; name += strlen(name) + 1) {
		size_t nlen = strlen(name) + 1;
		uint32_t size;

		len = lgetxattr(path, name, value, sizeof(value));
		if (len < 0)
			die(path);
		size = (uint32_t)len;
		e->xattrs = realloc(e->xattrs, e->xlen + nlen + sizeof(size) + size);
		if (!e->xattrs)
			die("memory");
		memcpy(e->xattrs + e->xlen, name, nlen);
		memcpy(e->xattrs + e->xlen + nlen, &size, sizeof(size));
		memcpy(e->xattrs + e->xlen + nlen + sizeof(size), value, size);
		e->xlen += nlen + sizeof(size) + size;
	}
}

static int load(const char *path, const struct stat *st, int type, struct FTW *f)
{
	struct entry *e;

	if (!f->level) {
		skip = strlen(path) + 1;
		return 0;
	}
	all = grown(all, count, sizeof(*all));
	e = &all[count++];
	memset(e, 0, sizeof(*e));
	e->rel = strdup(path + skip);
	e->st = *st;
	e->lead = -1;
	e->link = !S_ISDIR(st->st_mode) && st->st_nlink > 1;
	for (size_t i = 0; e->link && i < count - 1; i++)
		if (all[i].link && all[i].st.st_ino == st->st_ino) {
			e->lead = (long)i;
			return 0;
		}
	load_xattrs(e, path);
	if (S_ISREG(st->st_mode)) {
		load_data(e, path);
	} else if (S_ISLNK(st->st_mode)) {
		e->to = calloc(1, (size_t)st->st_size + 1);
		if (!e->to || readlink(path, e->to, (size_t)st->st_size) != st->st_size)
			die(path);
	} else if (!S_ISDIR(st->st_mode)) {
		errno = EINVAL;
		die(path);
	}
	return 0;
}

static void dress(const struct entry *e, int fd)
{
	struct timespec t[2] = { { 0, UTIME_OMIT }, e->st.st_mtim };

	if (e->st.st_uid || e->st.st_gid) {
		if (fchown(fd, e->st.st_uid, e->st.st_gid))
			die(e->rel);
	}
	for (char *x = e->xattrs; x < e->xattrs + e->xlen; ) {
		char *value = x + strlen(x) + 1 + sizeof(uint32_t);
		uint32_t size;

		memcpy(&size, value - sizeof(size), sizeof(size));
		if (fsetxattr(fd, x, value, size, 0))
			die(e->rel);
		x = value + size;
	}
	if (futimens(fd, t))
		die(e->rel);
}

/* @dir: the directory that @rel lies in, opened once for all that follow one another */
static const char *enter(int root, int *dir, const char **in, size_t *inlen, const char *rel)
{
	const char *slash = strrchr(rel, '/');
	size_t len = slash ? (size_t)(slash - rel) : 0;
	char *name;

	if (*dir >= 0 && len == *inlen && !memcmp(rel, *in, len))
		return slash ? slash + 1 : rel;
	if (*dir >= 0)
		close(*dir);
	name = len ? strndup(rel, len) : strdup(".");
	*dir = name ? openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (*dir < 0)
		die(rel);
	free(name);
	*in = rel;
	*inlen = len;
	return slash ? slash + 1 : rel;
}

static void create(int root, bool bare)
{
	const char *in = NULL;
	size_t inlen = 0;
	int dir = -1, fd;

	for (size_t i = 0; i < count; i++) {
		const struct entry *e = &all[i];
		const char *name = enter(root, &dir, &in, &inlen, e->rel);
		struct timespec t[2] = { { 0, UTIME_OMIT }, e->st.st_mtim };

		if (e->lead >= 0) {
			if (linkat(root, all[e->lead].rel, dir, name, 0))
				die(e->rel);
			continue;
		}
		if (S_ISDIR(e->st.st_mode)) {
			if (mkdirat(dir, name, e->st.st_mode & 07777) && errno != EEXIST)
				die(e->rel);
			continue;
		}
		if (S_ISLNK(e->st.st_mode)) {
			if (symlinkat(e->to, dir, name) ||
			    (!bare && utimensat(dir, name, t, AT_SYMLINK_NOFOLLOW)))
				die(e->rel);
			continue;
		}
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, e->st.st_mode & 07777);
		if (fd < 0)
			die(e->rel);
		for (unsigned p = 0; p < e->nparts; p++)
			if (pwrite(fd, e->part[p].data, e->part[p].len, e->part[p].at) != (ssize_t)e->part[p].len)
				die(e->rel);
		if (!e->nparts || e->part[e->nparts - 1].at + (off_t)e->part[e->nparts - 1].len < e->st.st_size)
			if (ftruncate(fd, e->st.st_size))
				die(e->rel);
		if (!bare)
			dress(e, fd);
		close(fd);
	}
	close(dir);
	for (size_t i = count; !bare && i-- > 0; ) {
		if (!S_ISDIR(all[i].st.st_mode))
			continue;
		fd = openat(root, all[i].rel, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			die(all[i].rel);
		dress(&all[i], fd);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	struct timespec a, b, c;
	bool burst = argc == 4 && !strcmp(argv[3], "burst");
	int root;

	if (argc < 3 || argc > 4 || (argc == 4 && !burst && strcmp(argv[3], "bare"))) {
		fprintf(stderr, "usage: bench_create SOURCE DIR [bare | burst]\n");
		return 2;
	}
	umask(0);
	if (nftw(argv[1], load, 20, FTW_PHYS | FTW_MOUNT))
		die(argv[1]);
	root = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		die(argv[2]);
	clock_gettime(CLOCK_MONOTONIC, &a);
	create(root, argc == 4);
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (burst) {
		printf("%lld %lld\n", (long long)a.tv_sec * 1000000000 + a.tv_nsec,
		       (long long)b.tv_sec * 1000000000 + b.tv_nsec);
		return 0;
	}
	if (syncfs(root))
		die(argv[2]);
	clock_gettime(CLOCK_MONOTONIC, &c);
	printf("%lld %lld\n", ((long long)(b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec) / 1000,
	       ((long long)(c.tv_sec - a.tv_sec) * 1000000000 + c.tv_nsec - a.tv_nsec) / 1000);
	return 0;
}
