/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What both sources of changes must do on real directories: each operation is
 * reported, under its name, with who did it; nested trees, single files,
 * exclusion, loss. The source's own test includes this and calls the parts.
 */
#ifndef HF_TRACK_COMMON_H
#define HF_TRACK_COMMON_H
#include "../tap.h"
#include "tmpname.h"
#include "track_int.h"
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static struct hf_track *t;
static struct hf_watch *w;
static struct hf_err err;
static char top[256];		/* holds the tree and its outside */
static int calls, urgents;
static bool private;		/* mounts made here are seen here only */
static bool module;		/* the source is the module: a directory's own times are no news to it,
				 * and a name that went has no subtree */
static unsigned int (*marks)(void);	/* what the kernel holds for this group; NULL: not to be told */

static void die(const char *what)
{
	printf("Bail out! %s: %s %s\n", what, strerror(errno), err.msg);
	exit(1);
}
#define must(x) do { if ((x) < 0) die(#x); } while (0)

static void notify(void *arg, bool urgent)
{
	calls++;
	urgents += urgent;
}

static int rm_one(const char *p, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(p);
}

static void rm_rf(const char *p)
{
	nftw(p, rm_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static int open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	must(fd);
	return fd;
}

static struct hf_watch *watch(const char *path, const char *name)
{
	static unsigned int count;
	char unique[32];
	struct hf_track_label label = { .resource = "test", .path = unique };
	struct hf_watch *v;
	int fd = open_dir(path);

	/* trees of one root are told apart by their labels */
	snprintf(unique, sizeof(unique), "%u", count++);
	if (hf_track_add(t, fd, name, &label, notify, NULL, &v, &err))
		die(path);
	close(fd);
	return v;
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	must(fd);
	must(write(fd, text, strlen(text)));
	close(fd);
}

static unsigned int open_fds(void)
{
	unsigned int n = 0, i;

	for (i = 0; i < 1024; i++)
		n += fcntl((int)i, F_GETFD) >= 0;
	return n;
}

struct seen { char rel[512]; unsigned int flags; pid_t pid; uid_t uid; char comm[16]; };
static struct seen seen[4096];
static unsigned int nseen;

static int note(void *ctx, const struct hf_dirty *d)
{
	struct seen *s = &seen[nseen];

	if (nseen == HF_ARRAY(seen))
		return -E2BIG;
	nseen++;
	snprintf(s->rel, sizeof(s->rel), "%s", d->rel);
	s->flags = d->flags;
	s->pid = d->pid;
	s->uid = d->uid;
	memcpy(s->comm, d->comm, sizeof(s->comm));
	hf_watch_ack(ctx, d->id, d->seq);
	return 0;
}

static void collect(struct hf_watch *v)
{
	nseen = 0;
	if (hf_track_drain(t) || hf_watch_dirty(v, note, v))
		die("drain");
	hf_watch_ack_flush(v);
}

static struct seen *saw(const char *rel)
{
	unsigned int i;

	for (i = 0; i < nseen; i++)
		if (!strcmp(seen[i].rel, rel))
			return &seen[i];
	return NULL;
}

/* the module tells in its own time: wait for that, however long it takes */
static void told(bool urgent)
{
	struct pollfd p = { .fd = hf_track_fd(t), .events = POLLIN };

	while (!(urgent ? urgents : calls) && poll(&p, 1, 20000) > 0)
		hf_track_drain(t);
}

/* marks of what moved out end in the background */
static void dirs_are(struct hf_watch *v, uint64_t want, const char *what)
{
	int i;

	for (i = 0; i < 2000 && module && hf_watch_dirs(v) != want; i++)
		hf_sleep_ms(10);
	is(hf_watch_dirs(v), want, what);
}

/* exactly the names in @want (separated by spaces, "." the root, a slash at the
 * end: the subtree) are dirty; in brackets, and the subtree for a tilde, but not
 * for the module */
static void expect(struct hf_watch *v, const char *want, const char *what)
{
	char copy[512], *p, *save;
	unsigned int n = 0, i;
	bool good = true;

	collect(v);
	snprintf(copy, sizeof(copy), "%s", want);
	for (p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save), n++) {
		char *last = p + strlen(p) - 1;
		bool sub = *last == '/' || (*last == '~' && !module);
		struct seen *s;

		if (*p == '(' && module) {
			n--;
			continue;
		}
		if (*last == '/' || *last == '~' || *last == ')')
			*last = '\0';
		p += *p == '(';
		s = saw(strcmp(p, ".") ? p : "");
		good &= s && !!(s->flags & HF_DIRTY_SUBTREE) == sub;
	}
	if (ok(good && n == nseen, "%s", what))
		return;
	printf("# want: %s\n", want);
	for (i = 0; i < nseen; i++)
		printf("# dirty: \"%s\" flags %u\n", seen[i].rel, seen[i].flags);
}

static void test_files(void)
{
	struct timespec ts[2] = { { .tv_sec = 1 }, { .tv_sec = 2 } };
	char comm[16] = "";
	struct seen *s;
	int fd;

	calls = urgents = 0;
	fd = open("tree/f", O_WRONLY | O_CREAT, 0644);
	must(fd);
	told(true);
	ok(calls && urgents, "create is told as a completed change");
	expect(w, "f (.)", "and noted");
	calls = urgents = 0;
	must(write(fd, "x", 1));
	told(false);
	ok(calls && !urgents, "a write is told without urgency");
	collect(w);
	s = saw("f");
	ok(nseen == 1 && s && s->flags == HF_DIRTY_OPEN, "and reported as open");
	must(write(fd, "y", 1));
	hf_track_drain(t);
	close(fd);
	told(true);
	collect(w);
	s = saw("f");
	ok(nseen == 1 && s && s->flags == 0 && urgents, "its close ends that");
	prctl(PR_GET_NAME, comm);
	ok(s && s->pid == getpid() && s->uid == getuid() && !strcmp(s->comm, comm),
	   "with process, user and command");
	must(truncate("tree/f", 100));
	collect(w);
	ok(saw("f"), "truncate");
	must(chmod("tree/f", 0600));
	expect(w, "f", "chmod");
	must(chown("tree/f", 1, 1));
	expect(w, "f", "chown");
	must(utimensat(AT_FDCWD, "tree/f", ts, 0));
	expect(w, "f", "utimes");
	if (setxattr("tree/f", "user.holdfast", "1", 1, 0) && errno == EOPNOTSUPP) {
		must(setxattr("tree/f", "trusted.holdfast", "1", 1, 0));
	}
	expect(w, "f", "setxattr");
	must(link("tree/f", "tree/l"));
	collect(w);
	ok(saw("l") && (module || saw("")), "link");
	must(symlink("f", "tree/s"));
	expect(w, "s (.)", "symlink");
	must(mkfifo("tree/p", 0600));
	expect(w, "p (.)", "mkfifo");
	must(rename("tree/s", "tree/s2"));
	expect(w, "s s2 (.)", "rename inside");
	must(rename("tree/s2", "out/s2"));
	expect(w, "s2 (.)", "rename out of the tree");
	must(rename("out/s2", "tree/s3"));
	expect(w, "s3 (.)", "rename into the tree");
	must(renameat2(AT_FDCWD, "tree/s3", AT_FDCWD, "tree/p", RENAME_EXCHANGE));
	expect(w, "s3 p (.)", "exchange");
	must(rename("tree/l", "tree/p"));
	collect(w);
	ok(saw("l") && saw("p"), "rename over another");
	must(unlink("tree/f"));
	collect(w);
	ok(saw("f") && (module || saw("")), "unlink");
	must(chmod("tree", 0700));
	expect(w, ".", "chmod of the root");
	expect(w, "", "nothing more");
	put("out/f", "x");
	expect(w, "", "what happens outside is not reported");
}

static void test_dirs(void)
{
	struct timespec only_mtime[2] = { { 0, UTIME_OMIT }, { .tv_sec = 5 } };

	must(mkdir("tree/d", 0755));
	expect(w, "d/ (.)", "mkdir");
	put("tree/d/f", "x");
	expect(w, "d/f (d)", "a file in the new directory");
	must(chmod("tree/d", 0700));
	expect(w, "d", "chmod of a directory is its own only");
	must(utimensat(AT_FDCWD, "tree/d", only_mtime, 0));
	expect(w, "d", "so is setting its mtime alone");
	must(utimensat(AT_FDCWD, "tree", only_mtime, 0));
	expect(w, ".", "and that of the root");
	must(mkdir("tree/d/e", 0755));
	must(mkdir("tree/d/e/g", 0755));
	put("tree/d/e/g/f", "x");
	collect(w);
	ok(saw("d/e") && saw("d/e")->flags & HF_DIRTY_SUBTREE, "mkdir and all in it at once");
	put("tree/d/e/g/f", "y");
	expect(w, "d/e/g/f", "and the next write there");
	dirs_are(w, 4, "four directories are marked");
	must(rename("tree/d", "tree/n"));
	expect(w, "d~ n/ (.)", "rename of a directory");
	put("tree/n/e/g/f", "z");
	expect(w, "n/e/g/f", "what lies below has its new path");
	must(mkdir("tree/m", 0755));
	collect(w);
	must(rename("tree/n/e", "tree/m/e"));
	put("tree/m/e/g/f", "w");
	collect(w);
	ok(saw("n/e") && saw("m/e") && saw("m/e")->flags & HF_DIRTY_SUBTREE &&
	   (saw("n/e/g/f") || saw("m/e/g/f")), "moved to another directory");
	put("tree/m/e/g/f", "v");
	expect(w, "m/e/g/f", "and written there");
	must(renameat2(AT_FDCWD, "tree/m", AT_FDCWD, "tree/n", RENAME_EXCHANGE));
	expect(w, "m/ n/ (.)", "exchange of directories");
	put("tree/n/e/g/f", "u");
	expect(w, "n/e/g/f", "followed");
	must(rename("tree/n/e", "out/e"));
	expect(w, "n/e~ (n)", "moved out of the tree");
	put("out/e/g/f", "t");
	must(mkdir("out/e/g/h", 0755));
	expect(w, "", "it is not reported any more");
	dirs_are(w, 3, "and not known");
	if (marks)
		is(marks(), 3, "nor marked");
	must(rename("out/e", "tree/e"));
	expect(w, "e/ (.)", "moved into the tree");
	put("tree/e/g/h/f", "s");
	expect(w, "e/g/h/f (e/g/h)", "everything below is tracked");
	rm_rf("tree/e");
	collect(w);
	ok(saw("e") && (module || saw("e")->flags & HF_DIRTY_SUBTREE), "rm -rf");
	dirs_are(w, 3, "its directories are forgotten");
	must(mkdir("out/x", 0755));
	must(mkdir("out/x/y", 0755));
	must(rename("out/x", "tree/x"));
	must(rename("tree/x/y", "tree/y"));
	must(rename("tree/x", "tree/y/x"));
	collect(w);
	put("tree/y/x/f", "r");
	expect(w, "y/x/f (y/x)", "a directory that went below its former child");
	rm_rf("tree/y");
	collect(w);
}

static void test_merged(void)
{
	int i;

	/* all of it in the queue before any is read */
	for (i = 0; i < 5; i++) {
		must(mkdir("tree/q", 0755));
		put("tree/q/f", "x");
		must(rename("tree/q", "tree/r"));
		must(mkdir("tree/r/s", 0755));
		must(rename("tree/r", "out/r"));
		must(rename("out/r", "tree/q"));
		if (i < 4)
			rm_rf("tree/q");
	}
	put("tree/q/s/f", "x");
	collect(w);
	ok(saw("q") && saw("q")->flags & HF_DIRTY_SUBTREE, "a long queue about one name");
	put("tree/q/s/f", "y");
	expect(w, "q/s/f", "leaves what is there tracked");
	rm_rf("tree/q");
	collect(w);
	ok(saw("q"), "until it goes");
}

static void test_deep(void)
{
	char path[8192] = "tree/";
	int i, fd, next;
	pid_t pid;

	must(fd = open_dir("tree"));
	for (i = 0; i < 40; i++) {
		must(mkdirat(fd, "deep-directory", 0755));
		must(next = openat(fd, "deep-directory", O_RDONLY | O_DIRECTORY));
		close(fd);
		fd = next;
		strcat(path, "deep-directory/");
	}
	close(fd);
	pid = fork();
	if (!pid) {
		strcat(path, "f");
		put(path, "x");
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	collect(w);
	ok(saw("deep-directory") && saw("deep-directory")->flags & HF_DIRTY_SUBTREE,
	   "mkdir -p, forty deep, is below a subtree that is dirty");
	strcat(path, "f");
	put(path, "y");
	collect(w);
	ok(nseen && seen[0].pid == getpid() && strlen(seen[0].rel) > 500, "and all of it marked");
	rm_rf("tree/deep-directory");
	collect(w);
}

static void test_temp(void)
{
	char tmp[64] = "tree/", in[80];

	hf_tmpname_make("abcdefgh", tmp + 5);
	put(tmp, "x");
	expect(w, "", "a restore's temporary file is not reported");
	must(rename(tmp, "tree/real"));
	expect(w, "real (.)", "its rename to a real name is");
	hf_tmpname_make("ijklmnop", tmp + 5);
	snprintf(in, sizeof(in), "%s/f", tmp);
	must(mkdir(tmp, 0755));
	put(in, "x");
	expect(w, "", "nor is a directory of that kind");
	must(rename(tmp, "tree/dir"));
	expect(w, "dir/ (.)", "its rename is");
	put("tree/dir/f", "x");
	expect(w, "dir/f", "and it is tracked");
	must(rename("tree/dir", tmp));
	expect(w, "dir~ (.)", "the way back removes it");
	rm_rf(tmp);
	put("tree/.holdfast-ijklmnop", "x");
	expect(w, ".holdfast-ijklmnop (.)", "a file that only begins so is somebody's own");
	must(unlink("tree/.holdfast-ijklmnop"));
	must(unlink("tree/real"));
	collect(w);
}

static void test_exclude(void)
{
	pid_t pid;

	put("tree/before", "x");
	is(hf_watch_exclude_begin(w), 0, "exclusion begins");
	expect(w, "before (.)", "what was before it is reported");
	put("tree/own", "x");
	must(mkdir("tree/owndir", 0755));
	put("tree/owndir/f", "x");
	pid = fork();
	if (!pid) {
		put("tree/other", "x");
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	/* what others put into a directory of ours before it was marked cannot be told apart */
	expect(w, "other (.) owndir/", "own changes are left out, but new directories; others' are reported");
	ok(saw("other") && saw("other")->pid == pid, "as theirs");
	put("tree/own", "y");
	hf_watch_exclude_end(w);
	expect(w, "", "up to its end");
	put("tree/own", "z");
	put("tree/owndir/f", "z");
	expect(w, "own owndir/f", "then they are changes again, in new directories too");
	rm_rf("tree/owndir");
	unlink("tree/own");
	unlink("tree/other");
	unlink("tree/before");
	collect(w);
}

static void test_overlap(void)
{
	struct hf_watch *in, *same, *file;

	must(mkdir("tree/a", 0755));
	must(mkdir("tree/a/b", 0755));
	put("tree/a/b/f", "x");
	in = watch("tree/a", NULL);
	same = watch("tree", NULL);
	file = watch("tree/a/b", "f");
	collect(w);
	is(hf_watch_count(in) + hf_watch_count(same) + hf_watch_count(file), 0,
	   "what was before a tree was added is not reported to it");
	put("tree/a/b/f", "y");
	expect(w, "a/b/f", "the outer tree");
	expect(in, "b/f", "the inner one");
	expect(same, "a/b/f", "an equal one");
	expect(file, "f", "and the single file all learn of it");
	put("tree/a/b/g", "y");
	expect(in, "b/g (b)", "another file");
	expect(file, "", "is nothing to the single file");
	must(rename("tree/a/b/g", "tree/a/b/f"));
	expect(file, "f", "a rename onto it is");
	must(mkdir("tree/a/b/c", 0755));
	put("tree/a/b/c/f", "x");
	collect(in);
	ok(saw("b/c"), "a new directory in the inner tree");
	expect(file, "", "is nothing to it");
	hf_track_del(w);
	hf_track_del(same);
	put("tree/a/b/c/f", "y");
	expect(in, "b/c/f", "with the outer ones gone the inner tree goes on");
	dirs_are(in, 3, "with its directories");
	if (marks)
		is(marks(), 3, "and no other mark");
	hf_track_del(in);
	put("tree/a/b/f", "z");
	put("tree/a/b/c/f", "z");
	expect(file, "f", "then the single file");
	dirs_are(file, 1, "with one");
	if (marks)
		is(marks(), 1, "and one mark");
	w = watch("tree", NULL);
	put("tree/a/b/c/f", "0");
	expect(w, "a/b/c/f", "a tree around it has everything again");
	must(rename("tree/a/b", "out/b"));
	collect(w);
	ok(module || hf_watch_lost(file), "its directory moved away: the file's tree is lost");
	ok(!hf_watch_lost(w), "the one around it is not");
	hf_track_del(file);
	rm_rf("out/b");
	rm_rf("tree/a");
	collect(w);
}

static void test_single(void)
{
	struct hf_watch *f = watch("out", "conf");

	put("out/conf", "x");
	expect(f, "conf", "a single file that appears");
	put("out/other", "x");
	must(mkdir("out/sub", 0755));
	put("out/sub/conf", "x");
	must(chmod("out", 0750));
	expect(f, "", "and nothing else");
	put("out/.conf.tmp", "y");
	must(rename("out/.conf.tmp", "out/conf"));
	expect(f, "conf", "replaced by rename");
	must(unlink("out/conf"));
	expect(f, "conf", "removed");
	ok(!hf_watch_lost(f), "which is not to be lost");
	hf_track_del(f);
	rm_rf("out/sub");
	ok(hf_track_add(t, 0, "a/b", NULL, notify, NULL, &f, &err) == -EINVAL && *err.msg,
	   "a name with a slash is refused");
}

static void test_seq(void)
{
	uint64_t q, ns;

	collect(w);
	q = hf_watch_seq(w);
	collect(w);
	ok(hf_watch_seq(w) == q, "nothing changed: the number stays");
	is(hf_watch_oldest_ns(w), 0, "and nothing is old");
	ns = hf_now_ns();
	put("tree/cut", "x");
	hf_track_drain(t);
	ok(hf_watch_seq(w) > q, "P3 a change moves it");
	ok(hf_watch_oldest_ns(w) + 20000000 >= ns && hf_watch_oldest_ns(w) <= hf_now_ns(), "and has its time, to a clock tick");
	ok(hf_watch_count(w) >= 1, "and counts");
	collect(w);
	is(hf_watch_count(w), 0, "until it is acknowledged");
	is(hf_watch_oldest_ns(w), 0, "and clean again");
	unlink("tree/cut");
	collect(w);
}

static void test_lost(void)
{
	struct hf_watch *v;

	must(mkdir("out/root", 0755));
	v = watch("out/root", NULL);
	put("out/root/f", "x");
	hf_track_drain(t);
	ok(!hf_watch_lost(v), "a root in its place is not lost");
	must(rename("out/root", "out/moved"));
	hf_track_drain(t);
	/* the module goes on below a root that moved; the daemon looks at the path */
	ok(module || hf_watch_lost(v), "moved away: lost");
	is(hf_watch_count(v), module ? 1 : 2, "and its entries stay");
	hf_track_del(v);
	rm_rf("out/moved");

	must(mkdir("out/root", 0755));
	v = watch("out/root", NULL);
	rm_rf("out/root");
	hf_track_drain(t);
	ok(hf_watch_lost(v), "deleted: lost");
	hf_track_del(v);
}

static void test_mounts(void)
{
	struct hf_watch *v;

	must(mkdir("out/mnt", 0755));
	if (!private || mount("none", "out/mnt", "tmpfs", 0, NULL)) {
		skip("mount(2) is not permitted here");
		return;
	}
	v = watch("out", NULL);
	put("out/mnt/f", "x");
	must(mkdir("out/mnt/d", 0755));
	expect(v, "", "a mount below the root is not entered");
	dirs_are(v, 1, "nor marked");
	hf_track_del(v);
	v = watch("out/mnt", NULL);
	put("out/mnt/d/f", "x");
	expect(v, "d/f (d)", "it can be a tree");
	must(umount2("out/mnt", MNT_DETACH));
	ok(module || hf_watch_lost(v), "unmounted: lost");
	hf_track_del(v);
	must(rmdir("out/mnt"));
}

static void test_uncovered(void)
{
	struct hf_watch *v;

	must(mkdir("out/mnt", 0755));
	must(mkdir("out/mnt/below", 0755));
	if (!private || mount("none", "out/mnt", "tmpfs", 0, NULL)) {
		skip("mount(2) is not permitted here");
		rm_rf("out/mnt");
		return;
	}
	v = watch("out", NULL);
	must(umount("out/mnt"));
	collect(v);
	ok(saw("") && saw("")->flags & HF_DIRTY_SUBTREE, "a mount below the root goes: look again");
	put("out/mnt/below/f", "x");
	expect(v, "mnt/below/f (mnt/below)", "what it covered is tracked");
	hf_track_del(v);
	rm_rf("out/mnt");
}

#define LEAVES 3
#define COME 30

static void *come(void *arg)
{
	char path[64];

	for (int i = 0; i < COME; i++) {
		snprintf(path, sizeof(path), "out/leaf/%d/%d", i % LEAVES, i);
		must(mkdir(path, 0755));
	}
	return NULL;
}

/* Directories come into ones that have none, while these are marked: whether they are known afterwards,
 * and were marked themselves. */
static void test_leaves(void)
{
	/* in an emulated machine each takes its time */
	unsigned int known = 0, told_of = 0, round, rounds = module ? 8 : 40;
	struct hf_watch *v;
	pthread_t who;
	char path[64];
	int i;

	for (round = 0; round < rounds; round++) {
		must(mkdir("out/leaf", 0755));
		for (i = 0; i < LEAVES; i++) {
			snprintf(path, sizeof(path), "out/leaf/%d", i);
			must(mkdir(path, 0755));
		}
		if (pthread_create(&who, NULL, come, NULL))
			die("pthread_create");
		v = watch("out/leaf", NULL);
		pthread_join(who, NULL);
		collect(v);
		for (i = 0; i < 2000 && module && hf_watch_dirs(v) != 1 + LEAVES + COME; i++) {
			hf_sleep_ms(10);
			collect(v);
		}
		known += hf_watch_dirs(v) == 1 + LEAVES + COME;
		for (i = 0; i < COME; i++) {
			snprintf(path, sizeof(path), "out/leaf/%d/%d/f", i % LEAVES, i);
			put(path, "x");
		}
		collect(v);
		for (i = 0; i < COME; i++) {
			snprintf(path, sizeof(path), "%d/%d/f", i % LEAVES, i);
			told_of += saw(path) != NULL;
		}
		hf_track_del(v);
		rm_rf("out/leaf");
	}
	is(known, round, "P2 directories that come into leaves while those are marked are known");
	is(told_of, round * COME, "P2 and what changes in them is told");
}

#endif
