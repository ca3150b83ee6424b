// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * birth: directories that arrive while others make things in them already.
 *
 *	birth NAME=DIR=BIRTHS...
 *
 * A directory can be seen before the event that tells of it, which is all that can
 * mark it. So each one here is made, or moved in, only when another process is already
 * trying to make a file in it, again and again until it works. Wherever that file was
 * before the mark was, no event tells of it, and only "scan this subtree" does.
 *
 * The consumer (storm_consumer.h) scans what entries say, nothing else: nothing here
 * comes later that would have a directory scanned for another reason.
 */
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include "storm_consumer.h"

#define HOLDERS 10		/* files of one that is moved to and fro */
#define BIRTHS_MAX 1000

/* Of which birth: somebody tries to be in it, it is there, somebody was in it */
static struct { atomic_uint tried, made, entered; } *turn;

static void await(atomic_uint *at, unsigned int n)
{
	while (atomic_load(at) < n)
		sched_yield();
}

static pid_t start(void (*fn)(unsigned int n), unsigned int n)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fn(n);
	_exit(0);
}

static bool well(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && !status;
}

static void make_file(int at, const char *path)
{
	int fd = openat(at, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || close(fd))
		die(path, errno);
}

static void make_dir(int at, const char *path)
{
	if (mkdirat(at, path, 0755))
		die(path, errno);
}

/* d0, d1, … come to the tree, each when somebody waits for it */
static void bear(unsigned int n)
{
	char path[64], from[64];

	for (unsigned int i = 0; i < n; i++) {
		bool moved = i % 4 == 3;

		snprintf(path, sizeof(path), "tree/d%u", i);
		/* from within the tree, or from outside of it */
		snprintf(from, sizeof(from), "%s/from%u", i % 8 == 3 ? "tree" : "out", i);
		if (moved)
			make_dir(AT_FDCWD, from);
		await(&turn->tried, i + 1);
		if (moved ? rename(from, path) : mkdir(path, 0755))
			die(path, errno);
		atomic_store(&turn->made, i + 1);
		await(&turn->entered, i + 1);
	}
}

/* Makes a file in d@i as soon as that can be. */
static void enter(int at, unsigned int i)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "d%u/f", i);
	for (unsigned int tries = 0;; tries++) {
		fd = openat(at, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd >= 0)
			break;
		if (errno != ENOENT)
			die(path, errno);
		if (tries == 1)
			atomic_store(&turn->tried, i + 1);
	}
	close(fd);
}

/* and then, in some, a directory with a file */
static void follow(unsigned int n)
{
	int at = open("tree", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char path[64];

	for (unsigned int i = 0; i < n; i++) {
		enter(at, i);
		if (i % 3 == 0) {
			snprintf(path, sizeof(path), "d%u/e", i);
			make_dir(at, path);
			snprintf(path, sizeof(path), "d%u/e/f", i);
			make_file(at, path);
		}
		atomic_store(&turn->entered, i + 1);
	}
}

static const struct entry *entry_of(const struct side *s, const char *path)
{
	const struct entry *e = s->first;

	while (e && strcmp(e->path, path))
		e = e->next;
	return e;
}

/* Whether who does what the entries say comes to look at @path. */
static bool covered(const struct side *s, const char *path)
{
	for (const struct entry *e = s->first; e; e = e->next)
		if (!strcmp(e->path, path) ||
		    (e->whole && (!e->len || (!strncmp(e->path, path, e->len) &&
					      path[e->len] == '/'))))
			return true;
	return false;
}

static void begin_tree(struct side *s)
{
	make_dir(AT_FDCWD, "tree");
	make_dir(AT_FDCWD, "out");
	atomic_store(&turn->tried, 0);
	atomic_store(&turn->made, 0);
	atomic_store(&turn->entered, 0);
	open_socket();
	begin(s, "tree");
	take_root(s);
}

static void end_tree(struct side *s)
{
	end(s);
	hf_nl_close(&nl);
	/* the next one begins with nothing */
	if (rename("tree", "old") || rename("out", "old/out"))
		die("old", errno);
	remove_all("old");
}

/*
 * What a barrier covers: it is asked for by who was in the directory, when its maker
 * may not have returned yet.
 */
static void barriers(const char *name, unsigned int n)
{
	unsigned int missed = 0, before = 0, unseen = 0;
	char path[64];
	struct side s;
	pid_t pid;

	begin_tree(&s);
	pid = start(bear, n);
	for (unsigned int i = 0; i < n; i++) {
		enter(s.fd, i);
		before += atomic_load(&turn->made) <= i;
		state(&s);
		dump(&s);
		snprintf(path, sizeof(path), "d%u/f", i);
		missed += !covered(&s, path);
		unseen += !entry_of(&s, path);
		await(&turn->made, i + 1);
		work_off(&s);
		atomic_store(&turn->entered, i + 1);
	}
	ok(well(pid), "%s: %u directories arrive", name, n);
	ok(!missed, "%s: P2: after a barrier what was made in each is noted, or to be scanned (%u not)",
	   name, missed);
	ok(settle(&s), "%s: the dirty set comes to rest", name);
	is_mirrored(&s, name, "after barriers", true);
	printf("# %s: %u files were there before their directory's event was over, %u had none\n",
	       name, before, unseen);
	end_tree(&s);
}

/* of which d… an entry of its f was seen: f had an event */
static bool heard[BIRTHS_MAX];

/* Each once, in however many dumps an entry is. */
static void hear(const struct side *s)
{
	unsigned int i;
	char c;

	for (const struct entry *e = s->first; e; e = e->next)
		if (sscanf(e->path, "d%u/%c", &i, &c) == 2 && c == 'f' && i < BIRTHS_MAX)
			heard[i] = true;
}

/* The same with a consumer that acknowledges all the time. @races: it shows the race */
static void births(const char *name, unsigned int n, bool races)
{
	unsigned int unheard = 0;
	pid_t maker, user;
	struct side s;
	bool good;

	begin_tree(&s);
	memset(heard, 0, sizeof(heard));
	/* not before the socket: it is closed with its last holder */
	maker = start(bear, n);
	user = start(follow, n);
	while (atomic_load(&turn->entered) < n) {
		dump(&s);
		hear(&s);
		if (!work_off(&s))
			usleep(2000);
	}
	good = well(maker);
	ok(well(user) && good, "%s: %u directories arrive under a consumer", name, n);
	ok(settle(&s), "%s: the dirty set comes to rest", name);
	is_mirrored(&s, name, "after births", true);
	for (unsigned int i = 0; i < n; i++)
		unheard += !heard[i];
	printf("# %s: %u of %u files had no event\n", name, unheard, n);
	if (races)
		ok(unheard, "%s: some of them came before the mark", name);
	end_tree(&s);
}

/* One directory goes in and out while somebody in it goes on. */
static void hold(unsigned int n)
{
	int at = open("out/m", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char path[64];

	if (at < 0)
		die("out/m", errno);
	for (unsigned int i = 0; atomic_load(&turn->made) <= n; i++) {
		snprintf(path, sizeof(path), "f%u", i % HOLDERS);
		make_file(at, path);
		/* the last ones stay */
		if (atomic_load(&turn->made) < n && i % 3)
			unlinkat(at, path, 0);
		atomic_store(&turn->tried, i + 1);
	}
}

static void moves(const char *name, unsigned int n)
{
	static const char *const place[] = { "out/m", "tree/m", "tree/way/m", "tree/n" };
	const char *now = place[0], *next;
	struct side s;
	pid_t pid;

	begin_tree(&s);
	make_dir(AT_FDCWD, "tree/way");
	make_dir(AT_FDCWD, now);
	pid = start(hold, n);
	await(&turn->tried, 1);
	for (unsigned int i = 1; i <= n; i++) {
		unsigned int seen = atomic_load(&turn->tried);

		/* in the tree at last */
		next = place[i == n ? 3 : i % 3];
		if (rename(now, next))
			die(next, errno);
		now = next;
		if (i % 2)
			one_round(&s);
		await(&turn->tried, seen + 1);
		atomic_store(&turn->made, i);
	}
	atomic_store(&turn->made, n + 1);
	ok(well(pid), "%s: a directory is moved %u times under its user", name, n);
	ok(settle(&s), "%s: the dirty set comes to rest", name);
	is_mirrored(&s, name, "after moves", true);
	end_tree(&s);
}

/* Arrived, and marked: no consumer needs to look first. */
static void arrival(const char *name, struct side *s, const char *how, const char *dir)
{
	const struct entry *e;
	char path[64];

	snprintf(path, sizeof(path), "%s/new", dir);
	make_file(s->fd, path);
	state(s);
	dump(s);
	e = entry_of(s, dir);
	ok(e && e->whole, "%s: P2: a directory that was %s is to be scanned", name, how);
	ok(entry_of(s, path), "%s: and is marked: a change in it is noted by its name", name);
	work_off(s);
	settle(s);
}

static void arrivals(const char *name)
{
	struct side s;

	begin_tree(&s);
	make_dir(s.fd, "made");
	arrival(name, &s, "made", "made");
	make_dir(AT_FDCWD, "out/moved");
	make_dir(AT_FDCWD, "out/moved/below");
	if (rename("out/moved", "tree/moved"))
		die("rename", errno);
	arrival(name, &s, "moved in", "moved");
	make_file(s.fd, "moved/below/f");
	state(&s);
	dump(&s);
	ok(entry_of(&s, "moved/below/f"), "%s: what lies below it since it was scanned", name);
	if (rename("tree/moved", "tree/made/within"))
		die("rename", errno);
	work_off(&s);
	arrival(name, &s, "moved within", "made/within");
	make_dir(AT_FDCWD, "out/one");
	if (renameat2(AT_FDCWD, "out/one", AT_FDCWD, "tree/made", RENAME_EXCHANGE))
		die("exchange", errno);
	arrival(name, &s, "exchanged for another", "made");
	if (rename("out/one", "tree/back"))
		die("rename", errno);
	arrival(name, &s, "moved back in", "back");
	is_mirrored(&s, name, "after arrivals", true);
	end_tree(&s);
}

static void one(char *arg)
{
	int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *name = strtok(arg, "="), *dir = strtok(NULL, "="), *many = strtok(NULL, "=");
	unsigned int n = many ? strtoul(many, NULL, 10) : 0;
	time_t begun = time(NULL);

	if (n < 4 || chdir(dir))
		die(arg, errno);
	arrivals(name);
	barriers(name, n / 2);
	births(name, n, !strcmp(name, "dirsync"));
	moves(name, n / 4);
	printf("# %s: %ld s\n", name, (long)(time(NULL) - begun));
	if (fchdir(back))
		die(name, errno);
	close(back);
}

int main(int argc, char **argv)
{
	umask(0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	turn = mmap(NULL, sizeof(*turn), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (turn == MAP_FAILED)
		die("mmap", errno);
	for (int i = 1; i < argc; i++)
		one(argv[i]);
	return tap_done();
}
