// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writers that chain on calls which returned, so that what each cut through their files must look
 * like is known; cut.py looks at it.
 *
 *	cut_writer DIR KIND SECONDS [SLOWLY]
 *
 *	counters	two processes take turns: a, then b, then c (by rename), then a again
 *	across		the same, in order, for a file `n` in each of the directories 0, 1, … that are there
 *	mapped		the same with stores into shared mappings of a and b, and a write to c
 *	dirs		a directory is prepared and exchanged for `live`, then `now` tells of it
 *	journal, wal	an sqlite3 moves amounts between accounts; then `now` tells of it
 *	tdb		a TDB transaction sets ten records; then `now` tells of it
 *	tdb-nommap	the same without mapping the file
 *
 * SECONDS 0: until SIGTERM. SLOWLY, up to 30: times longer pauses, for an emulated machine. Says how often. Exit status 4: what it needs is not there.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

#define WIDTH 16	/* digits of a number in a file */

static struct timespec begun;
static double seconds;
static unsigned slowly = 1;
static unsigned long step;
static volatile sig_atomic_t stop;

static void on_term(int sig) { stop = 1; }

#define must(expr) do { \
	if (!(expr)) { \
		fprintf(stderr, "cut_writer: %s: %s\n", #expr, strerror(errno)); \
		exit(1); \
	} \
} while (0)

/* bursts of a few steps, with pauses in which a capture may come to its end, or not */
static bool go_on(void)
{
	static unsigned left;
	struct timespec t;

	if (!left--) {
		long ns = random() % 4 ? random() % 6000000 : 25000000;
		struct timespec pause = { 0, ns * slowly };

		left = random() % 12;
		nanosleep(&pause, NULL);
	}
	clock_gettime(CLOCK_MONOTONIC, &t);
	step++;
	return !stop && (!seconds || t.tv_sec - begun.tv_sec + (t.tv_nsec - begun.tv_nsec) / 1e9 < seconds);
}

static int open_new(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	must(fd >= 0);
	return fd;
}

static void set(int fd, unsigned long n)
{
	char b[WIDTH + 2];

	snprintf(b, sizeof(b), "%0*lu\n", WIDTH, n);
	must(pwrite(fd, b, WIDTH + 1, 0) == WIDTH + 1);
}

static void put(const char *name, unsigned long n)
{
	int fd = open_new(name);

	set(fd, n);
	close(fd);
}

static void counters(void)
{
	int a = open_new("a"), there[2], back[2];
	unsigned long n;

	must(!pipe(there) && !pipe(back));
	set(a, 0);
	put("b", 0);
	put("c", 0);
	if (!fork()) {
		int b = open_new("b");

		close(there[1]);
		while (read(there[0], &n, sizeof(n)) == sizeof(n)) {
			set(b, n);
			put("new", n);
			must(!rename("new", "c"));
			must(write(back[1], &n, sizeof(n)) == sizeof(n));
		}
		_exit(0);
	}
	while (go_on()) {
		set(a, step);
		must(write(there[1], &step, sizeof(step)) == sizeof(step) && read(back[0], &n, sizeof(n)) == sizeof(n));
	}
	close(there[1]);
	wait(NULL);
}

/* of several resources: the last one by rename, and all but the first by another process */
static void across(void)
{
	int fd[64], dirs = 0, there[2], back[2];
	char name[32], last[32];
	unsigned long n;

	for (; dirs < 64; dirs++) {
		snprintf(name, sizeof(name), "%d", dirs);
		if (access(name, F_OK))
			break;
		snprintf(name, sizeof(name), "%d/n", dirs);
		put(name, 0);
		fd[dirs] = open_new(name);
	}
	must(dirs > 1 && !pipe(there) && !pipe(back));
	snprintf(last, sizeof(last), "%d/new", dirs - 1);
	snprintf(name, sizeof(name), "%d/n", dirs - 1);
	if (!fork()) {
		close(there[1]);
		while (read(there[0], &n, sizeof(n)) == sizeof(n)) {
			for (int i = 1; i < dirs - 1; i++)
				set(fd[i], n);
			put(last, n);
			must(!rename(last, name));
			must(write(back[1], &n, sizeof(n)) == sizeof(n));
		}
		_exit(0);
	}
	while (go_on()) {
		set(fd[0], step);
		must(write(there[1], &step, sizeof(step)) == sizeof(step) && read(back[0], &n, sizeof(n)) == sizeof(n));
	}
	close(there[1]);
	wait(NULL);
}

static volatile char *map(const char *name)
{
	int fd = open_new(name);
	char *p;

	must(!ftruncate(fd, 8192));
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(p != MAP_FAILED);
	close(fd);
	return p;
}

static void mapped(void)
{
	volatile uint64_t *a = (volatile uint64_t *)map("a"), *b = (volatile uint64_t *)map("b");
	int c = open_new("c");

	set(c, 0);
	while (go_on()) {
		/* in the page that is seen first, and in the other one */
		a[step % 2 * 512] = step;
		__sync_synchronize();
		b[0] = step;
		__sync_synchronize();
		set(c, step);
	}
}

static void prepare(const char *dir, unsigned long n)
{
	char name[64];

	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "%s/f%u-%lu", dir, i, (n - 2) % 5);
		unlink(name);
		snprintf(name, sizeof(name), "%s/f%u-%lu", dir, i, n % 5);
		put(name, n);
	}
	snprintf(name, sizeof(name), "%s/sub", dir);
	mkdir(name, 0755);
	snprintf(name, sizeof(name), "%s/sub/f", dir);
	put(name, n);
}

static void dirs(void)
{
	int now = open_new("now");

	must(!mkdir("live", 0755) && !mkdir("stage", 0755));
	step = 5;
	prepare("live", step);
	set(now, step);
	while (go_on()) {
		prepare("stage", step);
		must(!syscall(SYS_renameat2, AT_FDCWD, "stage", AT_FDCWD, "live", RENAME_EXCHANGE));
		set(now, step);
	}
}

static void sql(bool wal)
{
	int in[2], out[2], now = open_new("now");
	FILE *to, *from;
	char line[64];

	if (system("sqlite3 -version >/dev/null 2>&1")) {
		fprintf(stderr, "no sqlite3 here\n");
		exit(4);
	}
	must(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
	if (!fork()) {
		signal(SIGTERM, SIG_IGN);	/* it ends with its input */
		dup2(in[0], 0);
		dup2(out[1], 1);
		execlp("sqlite3", "sqlite3", "-batch", "db", (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	to = fdopen(in[1], "w");
	from = fdopen(out[0], "r");
	fprintf(to, "PRAGMA synchronous = OFF; PRAGMA journal_mode = %s; PRAGMA wal_autocheckpoint = 20;\n", wal ? "WAL" : "DELETE");
	fprintf(to, "BEGIN; CREATE TABLE t(n); INSERT INTO t VALUES(0); CREATE TABLE account(id INTEGER PRIMARY KEY, v, pad);\n");
	for (unsigned i = 0; i < 40; i++)
		fprintf(to, "INSERT INTO account VALUES(%u, 1000, hex(zeroblob(150)));\n", i);
	fprintf(to, "COMMIT; SELECT 'ready';\n");
	fflush(to);
	do
		must(fgets(line, sizeof(line), from));
	while (strcmp(line, "ready\n"));
	set(now, 0);
	while (go_on()) {
		fprintf(to, "BEGIN; UPDATE account SET v = v - %lu WHERE id = %lu; UPDATE account SET v = v + %lu WHERE id = %lu;"
			"UPDATE t SET n = %lu; COMMIT; SELECT n FROM t;\n", step, step % 40, step, step * 7 % 40, step);
		fflush(to);
		must(fgets(line, sizeof(line), from) && strtoul(line, NULL, 10) == step);
		set(now, step);
	}
	fclose(to);
	wait(NULL);
}

struct tdb_data { unsigned char *p; size_t n; };

static void tdb(int flags)
{
	void *so = dlopen("libtdb.so.1", RTLD_NOW), *t;
	void *(*open_tdb)(const char *, int, int, int, mode_t);
	int (*begin)(void *), (*commit)(void *), (*store)(void *, struct tdb_data, struct tdb_data, int), (*end)(void *);
	int now = open_new("now");
	char key[8], val[40];

	if (!so) {
		fprintf(stderr, "no libtdb here: %s\n", dlerror());
		exit(4);
	}
	*(void **)&open_tdb = dlsym(so, "tdb_open");
	*(void **)&begin = dlsym(so, "tdb_transaction_start");
	*(void **)&commit = dlsym(so, "tdb_transaction_commit");
	*(void **)&store = dlsym(so, "tdb_store");
	*(void **)&end = dlsym(so, "tdb_close");
	must(open_tdb && begin && commit && store && end);
	t = open_tdb("db.tdb", 0, flags, O_RDWR | O_CREAT, 0644);
	must(t);
	set(now, 0);
	do {
		must(!begin(t));
		for (unsigned i = 0; i < 10; i++) {
			struct tdb_data k = { (unsigned char *)key, snprintf(key, sizeof(key), "k%u", i) };
			struct tdb_data v = { (unsigned char *)val, snprintf(val, sizeof(val), "%0*lu", WIDTH + (int)(step + i) % 8, step) };

			must(!store(t, k, v, 0));
		}
		must(!commit(t));
		set(now, step);
	} while (go_on());
	end(t);
}

int main(int argc, char **argv)
{
	if (argc < 4 || argc > 5 || chdir(argv[1]))
		return 2;
	seconds = atof(argv[3]);
	if (argc == 5)
		slowly = atoi(argv[4]);
	sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_term, .sa_flags = SA_RESTART }, NULL);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	srandom(begun.tv_nsec);
	if (!strcmp(argv[2], "counters"))
		counters();
	else if (!strcmp(argv[2], "across"))
		across();
	else if (!strcmp(argv[2], "mapped"))
		mapped();
	else if (!strcmp(argv[2], "dirs"))
		dirs();
	else if (!strcmp(argv[2], "journal") || !strcmp(argv[2], "wal"))
		sql(*argv[2] == 'w');
	else if (!strcmp(argv[2], "tdb"))
		tdb(64);	/* no fsync */
	else if (!strcmp(argv[2], "tdb-nommap"))
		tdb(64 | 8);
	else
		return 2;
	printf("%lu\n", step);
	return 0;
}
