// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P2 in a storm: several processes make, write, move and remove whatever they
 * meet, across the border of a tree, while a consumer takes what is dirty and
 * brings a model up to date with it. When they have stopped, the model must be
 * what a scan finds, and every directory must be tracked.
 *
 * t_storm [SEED [OPERATIONS]]
 */
#include "../tap.h"
#include "track_int.h"
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WRITERS 4

struct item {
	struct item *next;
	struct stat st;
	char target[64];
	char rel[];
};
struct model { struct item *bucket[4096]; size_t n; int root; };
struct side { struct hf_watch *w; struct model m; const char *path; uint64_t applied; } sides[2];

static struct hf_track *t;
static bool module;		/* the source is the module */
static struct hf_err err;
static unsigned int rnd;
static atomic_bool over;

static unsigned int dice(unsigned int n)
{
	rnd = rnd * 1664525 + 1013904223;
	return (rnd >> 10) % n;
}

static void die(const char *what)
{
	printf("Bail out! %s: %s %s\n", what, strerror(errno), err.msg);
	exit(1);
}

/* ---- the model ---- */

static unsigned int hash(const char *s)
{
	unsigned int h = 5381;

	while (*s)
		h = h * 33 ^ (unsigned char)*s++;
	return h % 4096;
}

static struct item **find(struct model *m, const char *rel)
{
	struct item **p = &m->bucket[hash(rel)];

	while (*p && strcmp((*p)->rel, rel))
		p = &(*p)->next;
	return p;
}

static void forget(struct model *m, const char *rel, bool itself)
{
	size_t len = strlen(rel), i;
	struct item **p, *e;

	for (i = 0; i < 4096; i++) {
		for (p = &m->bucket[i]; (e = *p);) {
			if ((itself && !strcmp(e->rel, rel)) ||
			    (!strncmp(e->rel, rel, len) && (len ? e->rel[len] == '/' : *e->rel))) {
				*p = e->next;
				free(e);
				m->n--;
			} else {
				p = &e->next;
			}
		}
	}
}

static bool same(const struct item *a, const struct item *b)
{
	return a->st.st_ino == b->st.st_ino && a->st.st_mode == b->st.st_mode &&
	       a->st.st_uid == b->st.st_uid && (S_ISDIR(a->st.st_mode) || a->st.st_size == b->st.st_size) &&
	       a->st.st_mtim.tv_sec == b->st.st_mtim.tv_sec &&
	       a->st.st_mtim.tv_nsec == b->st.st_mtim.tv_nsec && !strcmp(a->target, b->target);
}

/* as hf_capture_name() and hf_capture_scan() do it */
static void capture(struct model *m, const char *rel, bool scan)
{
	struct item **p = find(m, rel), *e = *p;
	char up[PATH_MAX], *slash;
	struct dirent *de;
	struct stat st;
	ssize_t n;
	DIR *d;
	int fd;

	if (fstatat(m->root, *rel ? rel : ".", &st, AT_SYMLINK_NOFOLLOW)) {
		if (errno != ENOENT && errno != ENOTDIR)
			die(rel);
		forget(m, rel, true);
		return;
	}
	snprintf(up, sizeof(up), "%s", rel);
	slash = strrchr(up, '/');
	if (slash)
		*slash = '\0';
	if (slash && !*find(m, up)) {
		capture(m, up, true);
		p = find(m, rel);
		e = *p;
	}
	if (!S_ISDIR(st.st_mode)) {
		/* whatever it was: a name below it may have been taken in since */
		forget(m, rel, false);
		p = find(m, rel);
		e = *p;
	}
	if (!e || !S_ISDIR(e->st.st_mode))
		scan |= S_ISDIR(st.st_mode);
	if (!e) {
		e = calloc(1, sizeof(*e) + strlen(rel) + 1);
		if (!e)
			die("calloc");
		strcpy(e->rel, rel);
		*p = e;
		m->n++;
	}
	e->st = st;
	n = S_ISLNK(st.st_mode) ? readlinkat(m->root, rel, e->target, sizeof(e->target) - 1) : 0;
	e->target[n > 0 ? n : 0] = '\0';
	if (!scan || !S_ISDIR(st.st_mode))
		return;
	forget(m, rel, false);
	fd = openat(m->root, *rel ? rel : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	d = fd < 0 ? NULL : fdopendir(fd);
	while (d && (de = readdir(d))) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (snprintf(up, sizeof(up), "%s%s%s", rel, *rel ? "/" : "", de->d_name) < PATH_MAX)
			capture(m, up, true);
	}
	if (d)
		closedir(d);
}

static int apply(void *ctx, const struct hf_dirty *d)
{
	struct side *s = ctx;

	char up[PATH_MAX], *slash;

	capture(&s->m, d->rel, d->flags & HF_DIRTY_SUBTREE);
	/* that a directory's times change with its names is no news to the module */
	snprintf(up, sizeof(up), "%s", d->rel);
	slash = strrchr(up, '/');
	*(slash ? slash : up) = '\0';
	if (module && *d->rel)
		capture(&s->m, up, false);
	hf_watch_ack(s->w, d->id, d->seq);
	s->applied++;
	return 0;
}

static size_t compare(struct model *a, struct model *b, const char *what)
{
	size_t i, bad = 0;
	struct item *e, **o;

	for (i = 0; i < 4096; i++) {
		for (e = a->bucket[i]; e; e = e->next) {
			o = find(b, e->rel);
			if (*o && same(e, *o))
				continue;
			if (bad++ >= 10)
				continue;
			printf("# %s: \"%s\" ino %lu mode %o size %lld mtime %lld.%09ld%s\n", what, e->rel,
			       (unsigned long)e->st.st_ino, e->st.st_mode, (long long)e->st.st_size,
			       (long long)e->st.st_mtim.tv_sec, e->st.st_mtim.tv_nsec,
			       *o ? "" : ", in one only");
		}
	}
	return bad;
}

/* ---- the storm ---- */

static void some_path(char *p, size_t n)
{
	unsigned int depth = 1 + dice(4);
	size_t at = snprintf(p, n, "%s", dice(3) ? "tree" : "out");

	while (depth--)
		at += snprintf(p + at, n - at, "/%c", "abcdef"[dice(6)]);
}

static int rm_one(const char *p, const struct stat *st, int type, struct FTW *ftw)
{
	remove(p);
	return 0;
}

static void rm_rf(const char *p)
{
	nftw(p, rm_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void parents(const char *path)
{
	char copy[256], *p;

	snprintf(copy, sizeof(copy), "%s", path);
	for (p = strchr(copy, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		mkdir(copy, 0755);
		*p = '/';
	}
}

static void writer(unsigned int ops)
{
	struct timespec ts[2] = { { 0, UTIME_OMIT }, { 0, 0 } };
	char a[256], b[256], text[100];
	int fd;

	memset(text, 'x', sizeof(text));
	while (ops--) {
		if (!(ops % 16))
			usleep(dice(3000));
		some_path(a, sizeof(a));
		some_path(b, sizeof(b));
		switch (dice(16)) {
		case 0: case 1: case 2:
			parents(a);
			mkdir(a, 0755);
			break;
		case 3: case 4: case 5: case 6:
			if (dice(2))
				parents(a);
			fd = open(a, O_WRONLY | O_CREAT | O_NOFOLLOW | (dice(2) ? O_APPEND : O_TRUNC), 0644);
			if (fd < 0)
				break;
			if (write(fd, text, dice(100)) < 0)
				die("write");
			if (!dice(4))
				usleep(dice(500));
			if (write(fd, text, dice(100)) < 0)
				die("write");
			close(fd);
			break;
		case 7: case 8: case 9: case 10:
			rename(a, b);
			break;
		case 11:
			renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
			break;
		case 12:
			if (!dice(3))
				rm_rf(a);
			break;
		case 13:
			if (remove(a) && !symlink("nowhere", a))
				break;
			break;
		case 14:
			if (fchmodat(AT_FDCWD, a, 0700 | dice(64), 0))
				break;
			break;
		case 15:
			ts[1].tv_sec = dice(1000000);
			if (dice(2))
				utimensat(AT_FDCWD, a, ts, AT_SYMLINK_NOFOLLOW);
			else if (truncate(a, dice(1000)))
				break;
			break;
		}
	}
}

static atomic_int notified, extra;

static void notify(void *arg, bool urgent)
{
	notified++;
}

static void notify_extra(void *arg, bool urgent)
{
	if (!*(atomic_bool *)arg)
		die("a notify function was called after hf_track_del()");
	extra++;
}

/* a second one that drains, and has trees inside the others come and go */
static void *other_drainer(void *arg)
{
	static const struct hf_track_label label = { .resource = "storm", .path = "extra" };
	static atomic_bool wanted;
	unsigned int *seed = arg, i;
	struct hf_watch *w = NULL;
	char path[16];
	int fd;

	for (i = 0; !over; i++) {
		hf_track_drain(t);
		hf_watch_count(sides[0].w);
		usleep(200);
		if (i % 8)
			continue;
		if (w) {
			hf_watch_lost(w);
			hf_track_del(w);
			wanted = false;
			w = NULL;
			continue;
		}
		snprintf(path, sizeof(path), "%s/%c", rand_r(seed) % 2 ? "tree" : "out",
			 "abcdef"[rand_r(seed) % 6]);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
		if (fd < 0)
			continue;
		wanted = true;
		if (hf_track_add(t, fd, rand_r(seed) % 3 ? NULL : "a", &label, notify_extra, &wanted, &w, &err)) {
			/* deleted since it was opened */
			if (!module || err.exit != HF_NOTFOUND)
				die("add");
			w = NULL;
		}
		close(fd);
	}
	hf_track_del(w);
	return NULL;
}

/* what the kernel holds for this group */
static unsigned int marks(void)
{
	char path[64], line[512];
	unsigned int n = 0;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", hf_track_fd(t));
	in = fopen(path, "r");
	while (in && fgets(line, sizeof(line), in))
		n += !strncmp(line, "fanotify ino:", 13);
	if (in)
		fclose(in);
	return n;
}

static int touch_dir(const char *p, const struct stat *st, int type, struct FTW *ftw)
{
	char path[PATH_MAX];
	int fd;

	if (type != FTW_D)
		return 0;
	snprintf(path, sizeof(path), "%s/probe", p);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd >= 0)
		close(fd);
	return 0;
}

static size_t count_dirs(const struct model *m)
{
	size_t i, n = 0;
	const struct item *e;

	for (i = 0; i < 4096; i++)
		for (e = m->bucket[i]; e; e = e->next)
			n += S_ISDIR(e->st.st_mode);
	return n;
}

static int not_subtree(void *ctx, const struct hf_dirty *d)
{
	(*(size_t *)ctx) += !(d->flags & HF_DIRTY_SUBTREE) && strstr(d->rel, "probe");
	return 0;
}

static void storm(const struct hf_track_ops *source, const char *base, unsigned int flags,
		  unsigned int seed, unsigned int ops, const char *what)
{
	struct hf_track_label label = { .resource = "storm" };
	char top[PATH_MAX];
	struct model *truth;
	pthread_t th;
	pid_t pid[WRITERS];
	unsigned int i, left, rounds = 0, own = seed;
	size_t probes;
	struct pollfd p;

	snprintf(top, sizeof(top), "%s/holdfast-storm.XXXXXX", base);
	if (!mkdtemp(top) || chdir(top) || mkdir("tree", 0755) || mkdir("out", 0755))
		die(top);
	rnd = seed;
	writer(200);
	if (hf_track_open_ops(source, "storm", flags, &t, &err))
		die("open");
	module = source != &hf_track_fanotify;
	sides[0].path = "tree";
	sides[1].path = ".";
	for (i = 0; i < 2; i++) {
		struct side *s = &sides[i];

		memset(&s->m, 0, sizeof(s->m));
		s->applied = 0;
		s->m.root = open(s->path, O_RDONLY | O_DIRECTORY);
		label.path = s->path;
		if (hf_track_add(t, s->m.root, NULL, &label, notify, NULL, &s->w, &err))
			die("add");
		capture(&s->m, "", true);
	}
	for (i = 0; i < WRITERS; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			rnd = seed * 77 + i * 1000003;
			writer(ops);
			_exit(0);
		}
	}
	over = false;
	if (pthread_create(&th, NULL, other_drainer, &own))
		die("pthread_create");
	p.fd = hf_track_fd(t);
	p.events = POLLIN;
	for (left = WRITERS; left;) {
		poll(&p, 1, 5);
		if (!dice(8))
			usleep(dice(60000));	/* the queue and the sets grow */
		if (hf_track_drain(t))
			die("drain");
		for (i = 0; i < 2; i++)
			hf_watch_dirty(sides[i].w, apply, &sides[i]);
		rounds++;
		while (left && waitpid(-1, NULL, WNOHANG) > 0)
			left--;
	}
	over = true;
	pthread_join(th, NULL);
	hf_track_drain(t);
	for (i = 0; i < 2; i++)
		hf_watch_dirty(sides[i].w, apply, &sides[i]);
	printf("# %s in %s, seed %u: %u rounds, %llu + %llu entries, %llu directories\n", what, base,
	       seed, rounds, (unsigned long long)sides[0].applied,
	       (unsigned long long)sides[1].applied, (unsigned long long)hf_watch_dirs(sides[1].w));
	truth = calloc(1, sizeof(*truth));
	for (i = 0; i < 2; i++) {
		is(hf_watch_count(sides[i].w), 0, "nothing is left to acknowledge");
		truth->root = sides[i].m.root;
		capture(truth, "", true);
		ok(compare(truth, &sides[i].m, "missed") + compare(&sides[i].m, truth, "stale") == 0,
		   "P2 %s: the model of %s is what a scan finds (%zu names)", what, sides[i].path, truth->n);
		for (left = 0; left < 2000 && module && hf_watch_dirs(sides[i].w) != count_dirs(truth); left++)
			usleep(10000);	/* marks of what was moved out end in the background */
		is(hf_watch_dirs(sides[i].w), count_dirs(truth), "its directories are tracked");
		forget(truth, "", true);
	}
	if (!module)
		is(marks(), hf_watch_dirs(sides[1].w), "and nothing else is marked");
	nftw(".", touch_dir, 16, FTW_PHYS);
	hf_track_drain(t);
	for (i = 0; i < 2; i++) {
		truth->root = sides[i].m.root;
		capture(truth, "", true);
		probes = 0;
		hf_watch_dirty(sides[i].w, not_subtree, &probes);
		is(probes, count_dirs(truth), "a file made in each of them is reported by name");
		forget(truth, "", true);
		forget(&sides[i].m, "", true);
		close(sides[i].m.root);
	}
	ok(notified, "and the consumer was told");
	free(truth);
	for (i = 0; i < 2; i++)
		hf_track_del(sides[i].w);
	hf_track_close(t);
	if (chdir("/"))
		die("/");
	rm_rf(top);
}

int main(int argc, char **argv)
{
	unsigned int seed = argc > 1 ? strtoul(argv[1], NULL, 10) : (unsigned int)getpid();
	unsigned int ops = argc > 2 ? strtoul(argv[2], NULL, 10) : 2000;
	const char *tmp = getenv("TMPDIR");

	if (!tmp)
		tmp = "/tmp";
	storm(&hf_track_fanotify, tmp, 0, seed, ops, "as it is");
	storm(&hf_track_fanotify, tmp, HF_TRACK_NO_RENAME, seed + 1, ops, "without FAN_RENAME");
	storm(&hf_track_fanotify, tmp, HF_TRACK_NO_HANDLE, seed + 2, ops / 2, "without open by handle");
	if (access("/dev/shm", W_OK))
		skip("/dev/shm is not writable");
	else
		storm(&hf_track_fanotify, "/dev/shm", 0, seed + 3, ops, "as it is");
	if (hf_track_open_ops(&hf_track_kernel, "storm", 0, &t, &err)) {
		skip(err.msg);
	} else {
		hf_track_close(t);
		storm(&hf_track_kernel, tmp, 0, seed + 4, ops, "with the module");
	}
	return tap_done();
}
