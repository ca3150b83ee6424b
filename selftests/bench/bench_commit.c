// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_commit SOCKET RESOURCE TREE FLOORDIR FLOORDISK COUNT SEED [rename] [mirror FROM TO]
 *
 * From the close of a changed file to the `commit` event that the daemon sends
 * as soon as it has confirmed that change, COUNT times, 50 ms apart; and between them, so
 * that both meet the same machine, the floor: what the same promise costs when
 * nothing but its parts is done, one after the other in one process.
 *
 * With mirror the same change is made in FROM, a copy of TREE, too, which somebody mirrors to
 * TO: from the close until TO has it.
 *
 * FLOORDISK must lie on the same device as the quorum disk, and is overwritten.
 * Prints NAME and all it took, in microseconds, a line.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096u
#define ROW 98304u
#define CHANGE 120u
#define GAP_US 25000u

static uint64_t rng;

static uint64_t next(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

__attribute__((format(printf, 1, 2), noreturn))
static void die(const char *fmt, ...)
{
	va_list ap;
	int err = errno;

	va_start(ap, fmt);
	fprintf(stderr, "bench_commit: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "%s%s\n", err ? ": " : "", err ? strerror(err) : "");
	va_end(ap);
	exit(1);
}

/* --- the daemon's events ------------------------------------------------- */

struct watch {
	int fd;
	size_t len;
	char buf[65536];
};

static void watch_open(struct watch *w, const char *path, const char *resource)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char req[256];
	int n;

	if (strlen(path) >= sizeof(sa.sun_path)) {
		errno = ENAMETOOLONG;
		die("%s", path);
	}
	strcpy(sa.sun_path, path);
	w->len = 0;
	w->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (w->fd < 0 || connect(w->fd, (struct sockaddr *)&sa, sizeof(sa)))
		die("%s", path);
	n = snprintf(req, sizeof(req), "{\"v\":1,\"verb\":\"watch\",\"args\":{\"resource\":\"%s\"}}\n",
		     resource);
	if (write(w->fd, req, (size_t)n) != n)
		die("%s", path);
}

/*
 * Waits for the commit event that follows the news of a change of @name (NULL:
 * for any commit); returns when its last byte was read, 0 when none came.
 */
static uint64_t watch_commit(struct watch *w, const char *name, int timeout_ms)
{
	size_t len = name ? strlen(name) : 0;
	bool seen = !name;

	for (;;) {
		struct pollfd p = { .fd = w->fd, .events = POLLIN };
		char *nl = memchr(w->buf, '\n', w->len);
		ssize_t n;

		if (nl) {
			uint64_t t = now_ns();
			const char *at = NULL;
			bool hit;

			*nl = 0;
			if (!seen && strstr(w->buf, "\"change\""))
				at = strstr(w->buf, name);
			seen |= at && at[len] == '"';
			hit = seen && strstr(w->buf, "\"commit\"") && strstr(w->buf, "\"generation\"");
			if (strstr(w->buf, "\"error\"")) {
				errno = 0;
				die("the daemon says: %s", w->buf);
			}
			w->len -= (size_t)(nl + 1 - w->buf);
			memmove(w->buf, nl + 1, w->len);
			if (hit)
				return t;
			continue;
		}
		if (w->len == sizeof(w->buf)) {
			errno = EMSGSIZE;
			die("event");
		}
		if (poll(&p, 1, timeout_ms) == 0)
			return 0;
		n = read(w->fd, w->buf + w->len, sizeof(w->buf) - w->len);
		if (n <= 0)
			die("the daemon closed the connection");
		w->len += (size_t)n;
	}
}

/* --- the floor ------------------------------------------------------------- */

struct floor {
	int fan, disk, file;
	char path[4096];
	uint8_t *block, *row;
	uint64_t off, size;
	bool renames;
};

static uint64_t change_in_place(const char *path, const char *change);
static uint64_t change_by_rename(const char *path, const char *change);

static void floor_open(struct floor *f, const char *dir, const char *disk, bool renames)
{
	struct stat st;
	void *p;

	snprintf(f->path, sizeof(f->path), "%s/floor.conf", dir);
	f->renames = renames;
	f->file = open(f->path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	if (f->file < 0 || ftruncate(f->file, 8192))
		die("%s", f->path);
	f->fan = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_REPORT_DFID_NAME, O_RDONLY);
	if (f->fan < 0 || fanotify_mark(f->fan, FAN_MARK_ADD, renames ? FAN_MOVED_TO :
					FAN_CLOSE_WRITE | FAN_EVENT_ON_CHILD, AT_FDCWD, dir))
		die("fanotify on %s", dir);
	f->disk = open(disk, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
	if (f->disk < 0 || fstat(f->disk, &st))
		die("%s", disk);
	f->size = (uint64_t)st.st_size;
	if (posix_memalign(&p, BLOCK, BLOCK))
		die("memory");
	f->block = p;
	if (posix_memalign(&p, BLOCK, ROW))
		die("memory");
	f->row = p;
	f->off = ROW;
	memset(f->block, 0xa5, BLOCK);
}

enum { PART_EVENT, PART_RANGE, PART_WRITE, PART_READ, PARTS };

static uint64_t floor_once(struct floor *f, const char *change, uint64_t part[PARTS])
{
	char ev[4096];
	uint64_t t[PARTS + 1];

	t[0] = f->renames ? change_by_rename(f->path, change) : change_in_place(f->path, change);
	if (f->renames) {
		close(f->file);
		f->file = open(f->path, O_RDONLY | O_CLOEXEC);
		if (f->file < 0)
			die("%s", f->path);
	}
	if (read(f->fan, ev, sizeof(ev)) <= 0)
		die("fanotify event");
	t[1] = now_ns();
	if (sync_file_range(f->file, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			    SYNC_FILE_RANGE_WAIT_AFTER))
		die("sync_file_range");
	t[2] = now_ns();
	memcpy(f->block, change, CHANGE);
	if (pwrite(f->disk, f->block, BLOCK, (off_t)f->off) != BLOCK)
		die("direct write");
	t[3] = now_ns();
	if (pread(f->disk, f->row, ROW, 0) != ROW)
		die("direct read");
	t[4] = now_ns();
	f->off += BLOCK;
	if (f->off + BLOCK > f->size)
		f->off = ROW;
	for (int i = 0; i < PARTS; i++)
		part[i] = t[i + 1] - t[i];
	return t[4] - t[0];
}

/* --- a change -------------------------------------------------------------- */

static char **files;
static unsigned nfiles;

static void collect(const char *dir)
{
	struct dirent *d;
	DIR *s = opendir(dir);

	if (!s)
		die("%s", dir);
	while ((d = readdir(s))) {
		char path[4096];

		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, d->d_name);
		if (d->d_type == DT_DIR) {
			collect(path);
			continue;
		}
		if (!(nfiles & (nfiles - 1))) {
			files = realloc(files, sizeof(*files) * (nfiles ? 2 * nfiles : 1));
			if (!files)
				die("memory");
		}
		files[nfiles] = strdup(path);
		if (!files[nfiles++])
			die("memory");
	}
	closedir(s);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static uint64_t change_in_place(const char *path, const char *change)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	uint64_t t;

	if (fd < 0 || pwrite(fd, change, CHANGE, 0) != CHANGE)
		die("%s", path);
	t = now_ns();
	close(fd);
	return t;
}

static uint64_t change_by_rename(const char *path, const char *change)
{
	char tmp[4096], body[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, body, sizeof(body), 0);
	uint64_t t;

	if (n < 0)
		die("%s", path);
	close(fd);
	memcpy(body, change, CHANGE);
	if (n < (ssize_t)CHANGE)
		n = CHANGE;
	snprintf(tmp, sizeof(tmp), "%s.new", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, body, (size_t)n) != n || close(fd))
		die("%s", tmp);
	t = now_ns();
	if (rename(tmp, path))
		die("%s", path);
	return t;
}

/* --- a mirror --------------------------------------------------------------- */

static int mirror_open(const char *to)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct dirent *d;
	DIR *s = opendir(to);

	if (fd < 0 || !s)
		die("%s", to);
	while ((d = readdir(s))) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", to, d->d_name);
		if (d->d_name[0] != '.' && inotify_add_watch(fd, path, IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO) < 0)
			die("%s", path);
	}
	closedir(s);
	return fd;
}

/* when @path had @change, 0 if not in time */
static uint64_t mirror_wait(int fd, const char *path, const char *change, int timeout_ms)
{
	uint64_t end = now_ns() + (uint64_t)timeout_ms * 1000000u;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (now_ns() < end) {
		char ev[65536], is[CHANGE];
		int f = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = f < 0 ? -1 : read(f, is, CHANGE);
		uint64_t t = now_ns();

		if (f >= 0)
			close(f);
		if (n == CHANGE && !memcmp(is, change, CHANGE))
			return t;
		poll(&p, 1, timeout_ms);
		while (read(fd, ev, sizeof(ev)) > 0)
			;
	}
	return 0;
}

/* --- figures --------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *name, uint64_t *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_value);
	printf("%s", name);
	for (unsigned i = 0; i < n; i++)
		printf(" %llu", (unsigned long long)v[i] / 1000);
	printf("\n");
}

int main(int argc, char **argv)
{
	static const char *const part_name[PARTS] = { "event", "range", "write", "read" };
	uint64_t *commit, *base, *mirror, *part[PARTS], one[PARTS];
	const char *from = NULL, *to = NULL;
	static struct watch w;
	static struct floor f;
	unsigned count, i, k, done = 0;
	int renames, watched = -1;

	renames = argc > 8 && !strcmp(argv[8], "rename");
	if (argc == 11 + renames && !strcmp(argv[8 + renames], "mirror")) {
		from = argv[9 + renames];
		to = argv[10 + renames];
	} else if (argc != 8 + renames) {
		fprintf(stderr, "usage: bench_commit SOCKET RESOURCE TREE FLOORDIR FLOORDISK COUNT SEED [rename] [mirror FROM TO]\n");
		return 2;
	}
	count = (unsigned)strtoul(argv[6], NULL, 10);
	rng = 0x9e3779b97f4a7c15ull ^ (strtoull(argv[7], NULL, 10) << 20);
	collect(argv[3]);
	if (!nfiles || !count) {
		errno = 0;
		die("nothing to change");
	}
	qsort(files, nfiles, sizeof(*files), by_name);
	commit = calloc(count, sizeof(*commit));
	base = calloc(count, sizeof(*base));
	mirror = calloc(count, sizeof(*mirror));
	for (k = 0; k < PARTS; k++)
		part[k] = calloc(count, sizeof(**part));
	if (!commit || !base || !mirror || !part[PARTS - 1])
		die("memory");
	watch_open(&w, argv[1], argv[2]);
	floor_open(&f, argv[4], argv[5], renames);
	if (from)
		watched = mirror_open(to);
	usleep(200000);

	for (i = 0; i < count; i++) {
		const char *path = files[next() % nfiles];
		char change[CHANGE];
		uint64_t t0, t1;
		int n = snprintf(change, sizeof(change), "# change %u: %016llx ", i,
				 (unsigned long long)next());

		memset(change + n, '-', sizeof(change) - (size_t)n - 1);
		change[CHANGE - 1] = '\n';
		while (watch_commit(&w, NULL, 0))
			;	/* of what came before */
		t0 = renames ? change_by_rename(path, change) : change_in_place(path, change);
		t1 = watch_commit(&w, strrchr(path, '/') + 1, 5000);
		if (!t1) {
			errno = ETIMEDOUT;
			die("change %u of %s was not confirmed within 5 s", i, path);
		}
		commit[done] = t1 - t0;
		usleep(GAP_US);
		base[done] = floor_once(&f, change, one);
		for (k = 0; k < PARTS; k++)
			part[k][done] = one[k];
		usleep(GAP_US);
		if (from) {
			char there[4096], copy[4096];

			snprintf(there, sizeof(there), "%s%s", from, path + strlen(argv[3]));
			snprintf(copy, sizeof(copy), "%s%s", to, path + strlen(argv[3]));
			t0 = renames ? change_by_rename(there, change) : change_in_place(there, change);
			t1 = mirror_wait(watched, copy, change, 5000);
			if (!t1) {
				errno = ETIMEDOUT;
				die("change %u of %s was not mirrored within 5 s", i, there);
			}
			mirror[done] = t1 - t0;
			usleep(GAP_US);
		}
		done++;
	}
	report("confirmed", commit, done);
	report("floor", base, done);
	if (from)
		report("mirror", mirror, done);
	for (k = 0; k < PARTS; k++)
		report(part_name[k], part[k], done);
	return 0;
}
