// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The source that is the kernel module: what both sources do, and what only a
 * dirty set that outlives its consumer can: P2 across the death of a daemon.
 * Runs where the module is loaded (selftests/vm).
 */
#include "track_common.h"
#include "track_kern.h"
#include <signal.h>
#include <sys/socket.h>

#define MARKS_MAX "/sys/module/holdfast/parameters/marks_max"
#define DIRTY_MAX "/sys/module/holdfast/parameters/dirty_max"
#define ME "t_kernel"

static struct hf_watch *take(struct hf_track *x, const char *path, const char *resource, uint64_t known)
{
	struct hf_track_label label = { .resource = resource, .path = path, .known = known };
	struct hf_watch *v;
	int fd = open_dir(path);

	if (hf_track_add(x, fd, NULL, &label, notify, NULL, &v, &err))
		die(path);
	close(fd);
	return v;
}

static struct hf_track *open_as(const char *consumer)
{
	struct hf_track *x;

	if (hf_track_open("kernel", consumer, &x, &err))
		die("hf_track_open");
	return x;
}

/* A daemon that tracks @path, acknowledges what @path/acked did, and is killed. */
static uint64_t short_life(const char *path, const char *resource, bool exclude)
{
	uint64_t id = 0;
	int fd[2], status;
	pid_t pid;
	char file[128];

	must(pipe(fd));
	pid = fork();
	if (!pid) {
		t = open_as("mortal");
		w = take(t, path, resource, 0);
		if (hf_watch_resumed(w))
			_exit(1);
		snprintf(file, sizeof(file), "%s/acked", path);
		put(file, "x");
		collect(w);
		hf_watch_ack_flush(w);
		snprintf(file, sizeof(file), "%s/pending", path);
		put(file, "x");
		if (exclude)
			must(hf_watch_exclude_begin(w));
		id = hf_watch_id(w);
		must(write(fd[1], &id, sizeof(id)));
		pause();
	}
	close(fd[1]);
	if (read(fd[0], &id, sizeof(id)) != sizeof(id))
		die("the child");
	close(fd[0]);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return id;
}

static void test_resume(void)
{
	struct hf_track *x, *save = t;
	struct hf_watch *v;
	uint64_t id, newer;

	must(mkdir("out/keep", 0755));
	must(mkdir("out/keep/old", 0755));
	id = short_life("out/keep", "r", false);
	ok(id > 0, "a tree has a number");
	put("out/keep/late", "x");
	must(mkdir("out/keep/sub", 0755));
	put("out/keep/sub/f", "x");
	put("out/keep/old/f", "x");
	must(rename("out/keep/old", "out/keep/new"));
	put("out/keep/new/g", "x");
	t = x = open_as("mortal");
	v = take(x, "out/keep", "r", id);
	ok(hf_watch_resumed(v), "P2 the successor takes the tree over");
	is(hf_watch_id(v), id, "which is the same");
	calls = 0;
	ok(hf_watch_count(v) > 0, "with what is dirty");
	collect(v);
	ok(saw("pending") && saw("late"), "P2 what nobody acknowledged, and what changed in between");
	ok(saw("sub") && saw("sub")->flags & HF_DIRTY_SUBTREE, "P2 a directory that was made in between");
	ok(saw("new") && saw("new")->flags & HF_DIRTY_SUBTREE && saw("old"), "P2 and one that was renamed");
	ok(!saw("acked"), "and not what was acknowledged");
	expect(v, "", "then nothing");
	put("out/keep/sub/f", "y");
	put("out/keep/new/g", "y");
	expect(v, "sub/f new/g", "and all of it is tracked");
	put("out/keep/again", "x");
	hf_track_close(x);
	t = x = open_as("mortal");
	v = take(x, "out/keep", "r", id);
	expect(v, "again", "P2 an end in order leaves the tree as well");
	put("out/keep/unproven", "x");
	hf_track_leave(v);
	hf_track_close(x);
	t = x = open_as("mortal");
	v = take(x, "out/keep", "r", id - 1);
	newer = hf_watch_id(v);
	ok(!hf_watch_resumed(v) && newer > id, "a tree that may not be marked as a whole is begun anew");
	expect(v, "", "with nothing noted");
	put("out/keep/sub/f", "z");
	expect(v, "sub/f", "and everything marked");
	hf_track_del(v);
	v = take(x, "out/keep", "r", newer);
	ok(!hf_watch_resumed(v), "what was deleted does not come back");
	hf_track_del(v);
	hf_track_close(x);

	id = short_life("out/keep", "r", true);
	t = x = open_as("mortal");
	v = take(x, "out/keep", "r", id);
	collect(v);
	put("out/keep/f", "x");
	expect(v, "f", "an exclusion ends with its daemon");
	hf_track_del(v);
	hf_track_close(x);
	t = save;
	rm_rf("out/keep");
}

static bool keep_b(void *arg, const char *resource)
{
	return !strcmp(resource, "b");
}

static bool keep_none(void *arg, const char *resource)
{
	return false;
}

static void test_reap(void)
{
	struct hf_track *x, *other, *save = t;
	struct hf_watch *v[3], *foreign;
	uint64_t id[3], fid;
	int i;

	for (i = 0; i < 3; i++) {
		static const char *const dir[] = { "out/ra", "out/rb", "out/rc" };

		must(mkdir(dir[i], 0755));
		id[i] = short_life(dir[i], i == 0 ? "a" : i == 1 ? "b" : "c", false);
	}
	must(mkdir("out/rf", 0755));
	other = open_as("somebody else");
	foreign = take(other, "out/rf", "a", 0);
	fid = hf_watch_id(foreign);
	hf_track_close(other);
	t = x = open_as("mortal");
	v[2] = take(x, "out/rc", "c", id[2]);
	is(hf_track_reap(x, keep_b, NULL), 0, "what is left over is deleted");
	v[0] = take(x, "out/ra", "a", id[0]);
	v[1] = take(x, "out/rb", "b", id[1]);
	ok(!hf_watch_resumed(v[0]), "the tree of a resource that nobody resumes");
	ok(hf_watch_resumed(v[1]), "not that of one that is still to be resumed");
	put("out/rc/f", "x");
	collect(v[2]);
	ok(saw("f"), "nor one that is watched");
	other = open_as("somebody else");
	foreign = take(other, "out/rf", "a", fid);
	ok(hf_watch_resumed(foreign), "nor another consumer's");
	hf_track_del(foreign);
	for (i = 0; i < 3; i++)
		hf_track_leave(v[i]);
	is(hf_track_reap(x, keep_none, NULL), 0, "and in the end all");
	v[1] = take(x, "out/rb", "b", id[1]);
	ok(!hf_watch_resumed(v[1]), "nothing of them is left");
	hf_track_del(v[1]);
	hf_track_close(x);
	hf_track_close(other);
	t = save;
	rm_rf("out/ra");
	rm_rf("out/rb");
	rm_rf("out/rc");
	rm_rf("out/rf");
}

static void test_owner(void)
{
	struct hf_track_label label = { .resource = "r", .path = "same" };
	struct hf_track *x = open_as(ME);
	struct hf_watch *a, *b;
	int fd = open_dir("out");

	if (hf_track_add(t, fd, NULL, &label, notify, NULL, &a, &err))
		die("out");
	is(hf_track_add(x, fd, NULL, &label, notify, NULL, &b, &err), -EBUSY, "a tree has one consumer");
	ok(strstr(err.msg, "another process"), "and it says so");
	if (hf_track_add(t, fd, NULL, &label, notify, NULL, &b, &err))
		die("out");
	ok(hf_watch_lost(a), "the same process finds it by another way: the older watch is lost");
	put("out/f", "x");
	expect(b, "f", "the newer one goes on");
	hf_track_del(a);
	put("out/f", "y");
	expect(b, "f", "also when the older one ends");
	hf_track_del(b);
	hf_track_close(x);
	close(fd);
	unlink("out/f");
}

static void test_acks(void)
{
	char path[32];
	int i;

	for (i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "tree/%d", i);
		put(path, "x");
	}
	collect(w);
	is(nseen, 1000, "a thousand names");
	hf_watch_ack_flush(w);
	is(hf_watch_count(w), 0, "are acknowledged");
	for (i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "tree/%d", i);
		unlink(path);
	}
	collect(w);
}

static int leave(void *ctx, const struct hf_dirty *d)
{
	struct hf_dirty *out = ctx;

	*out = *d;
	return 0;
}

static void test_race(void)
{
	struct hf_dirty d = { 0 };

	put("tree/f", "x");
	hf_track_drain(t);
	hf_watch_dirty(w, leave, &d);
	put("tree/f", "y");
	hf_watch_ack(w, d.id, d.seq);
	hf_watch_ack_flush(w);
	expect(w, "f", "P2 what changed after it was read is not acknowledged");
	unlink("tree/f");
	collect(w);
}

/* the queue of events is too short for what happens */
static void test_loss(void)
{
	struct hf_watch *quiet = watch("out", NULL);
	char path[32];
	int i, size = 1;

	collect(w);
	must(setsockopt(hf_track_fd(t), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
	for (i = 0; i < 3000; i++) {
		snprintf(path, sizeof(path), "tree/%d", i);
		must(mknod(path, S_IFREG | 0600, 0));
		must(unlink(path));
	}
	calls = urgents = 0;
	told(true);
	ok(urgents > 0, "P2 events were lost: all are told");
	collect(w);
	is(nseen, 3000, "P2 and the dirty set has everything");
	hf_track_del(quiet);
	size = 1 << 20;
	setsockopt(hf_track_fd(t), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

static void parameter(const char *path, long v)
{
	FILE *f = fopen(path, "w");

	if (!f || fprintf(f, "%ld", v) < 0 || fclose(f))
		die(path);
}

static long parameter_is(const char *path)
{
	FILE *f = fopen(path, "r");
	long v = 0;

	if (!f || fscanf(f, "%ld", &v) != 1)
		die(path);
	fclose(f);
	return v;
}

/* The module knows which filesystems others change, and says so from the beginning. */
static void test_overlay(void)
{
	struct hf_watch *v;

	must(mkdir("out/ovl", 0755));
	must(mkdir("out/merged", 0755));
	must(mount("none", "out/ovl", "tmpfs", 0, NULL));
	must(mkdir("out/ovl/lower", 0755));
	must(mkdir("out/ovl/upper", 0755));
	must(mkdir("out/ovl/work", 0755));
	must(mount("overlay", "out/merged", "overlay", 0,
		   "lowerdir=out/ovl/lower,upperdir=out/ovl/upper,workdir=out/ovl/work"));
	v = watch("out/merged", NULL);
	pthread_mutex_lock(&kern_of(t)->nl.lock);
	ok(!strcmp(hf_watch_quality(v), "scan"), "an overlay is to be scanned");
	pthread_mutex_unlock(&kern_of(t)->nl.lock);
	put("out/merged/f", "x");
	expect(v, "f", "although what changes in it is noted");
	hf_track_drain(t);
	hf_watch_seq(v);
	pthread_mutex_lock(&kern_of(t)->nl.lock);
	ok(!strcmp(hf_watch_quality(v), "scan"), "and a barrier does not forget it");
	pthread_mutex_unlock(&kern_of(t)->nl.lock);
	hf_track_del(v);
	must(umount("out/merged"));
	must(umount("out/ovl"));
	rm_rf("out/ovl");
	rm_rf("out/merged");
}

static void test_few_marks(void)
{
	struct hf_track_label label = { .resource = "few", .path = "marks" };
	long was = parameter_is(MARKS_MAX);
	struct hf_watch *v;
	char path[64];
	int i, fd;

	must(mkdir("out/many", 0755));
	for (i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "out/many/%d", i);
		must(mkdir(path, 0755));
	}
	parameter(MARKS_MAX, (long)hf_watch_dirs(w) + 20);
	fd = open_dir("out/many");
	/* those of trees that went before are given back in the background */
	for (i = 0; i < 2000 && hf_track_add(t, fd, NULL, &label, notify, NULL, &v, &err); i++)
		hf_sleep_ms(10);
	if (i == 2000)
		die("out/many");
	close(fd);
	ok(!strcmp(hf_watch_quality(v), "scan"), "marks run out: the quality says so");
	collect(v);
	ok(saw("") && saw("")->flags & HF_DIRTY_SUBTREE, "P2 and the tree is to be scanned");
	expect(v, "", "once");
	hf_track_del(v);
	parameter(MARKS_MAX, was);
	v = watch("out/many/0", NULL);
	parameter(MARKS_MAX, 1);
	must(mkdir("out/up", 0755));
	must(mkdir("out/up/a", 0755));
	for (i = 0; i < 40; i++) {
		snprintf(path, sizeof(path), "out/up/a/%d", i);
		must(mkdir(path, 0755));
	}
	must(rename("out/up", "out/many/0/up"));
	collect(v);
	ok(saw("up") && saw("up")->flags & HF_DIRTY_SUBTREE, "a subtree that can not be marked");
	hf_watch_ack_flush(v);
	ok(hf_watch_count(v) > 0, "P2 stays dirty whoever acknowledges it");
	collect(v);
	ok(saw("up"), "and is scanned each time");
	ok(!strcmp(hf_watch_quality(v), "scan"), "the quality says so");
	parameter(MARKS_MAX, was);
	for (i = 0; i < 1000 && hf_watch_count(v); i++) {
		hf_sleep_ms(50);
		collect(v);
		hf_watch_ack_flush(v);
	}
	is(hf_watch_count(v), 0, "until there is room again");
	put("out/many/0/up/a/7/f", "x");
	collect(v);
	ok(saw("up/a/7/f"), "then all of it is tracked");
	hf_track_del(v);
	rm_rf("out/many");
}

static void test_little_memory(void)
{
	long was = parameter_is(DIRTY_MAX);
	char path[64];
	int i;

	must(mkdir("tree/mem", 0755));
	collect(w);
	parameter(DIRTY_MAX, 2000);
	for (i = 0; i < 200; i++) {
		snprintf(path, sizeof(path), "tree/mem/%d", i);
		put(path, "x");
	}
	collect(w);
	ok(nseen < 50 && saw("mem") && saw("mem")->flags & HF_DIRTY_SUBTREE,
	   "P2 without memory for each name the directory is noted as a whole");
	hf_watch_ack_flush(w);
	is(hf_watch_count(w), 0, "which is acknowledged as one");
	parameter(DIRTY_MAX, was);
	put("tree/mem/7", "y");
	expect(w, "mem/7", "and then names are again");
	rm_rf("tree/mem");
	collect(w);
}

/* Who makes and moves directories is quicker than any mark: the walk must find them. */
static void test_storm(void)
{
	unsigned int n, i, k;
	pid_t pid[4];
	char a[32], b[64];

	for (k = 0; k < 4; k++) {
		pid[k] = fork();
		if (pid[k])
			continue;
		for (i = 0; i < 300; i++) {
			snprintf(a, sizeof(a), "tree/s%u.%u", k, i % 10);
			mkdir(a, 0755);
			snprintf(b, sizeof(b), "%s/x", a);
			mkdir(b, 0755);
			snprintf(b, sizeof(b), "%s/x/%u", a, i);
			mkdir(b, 0755);
			snprintf(b, sizeof(b), "tree/s%u.%u/in%u", (k + 1) % 4, (i + 3) % 10, k);
			if (i % 3 == 0)
				rename(a, b);
		}
		_exit(0);
	}
	for (n = 4; n;) {
		nseen = 0;
		hf_track_drain(t);
		hf_watch_dirty(w, note, w);
		while (n && waitpid(-1, NULL, WNOHANG) > 0)
			n--;
	}
	do
		nseen = 0;
	while (hf_watch_dirty(w, note, w) == -E2BIG);
	hf_watch_ack_flush(w);
	is(hf_watch_count(w), 0, "a storm of directories is over");
	n = 0;
	if (system("find tree -type d -exec touch {}/probe \\; ; find tree -type d | wc -l >out/dirs"))
		die("find");
	FILE *f = fopen("out/dirs", "r");
	if (!f || fscanf(f, "%u", &n) != 1)
		die("out/dirs");
	fclose(f);
	collect(w);
	for (i = k = 0; i < nseen; i++)
		k += strstr(seen[i].rel, "probe") != NULL;
	is(k, n, "P2 each of them is marked");
	dirs_are(w, n, "and counted");
	unlink("out/dirs");
	if (system("rm -rf tree/*"))
		die("rm");
	collect(w);
}

static void run(const char *base)
{
	unsigned int fds = open_fds();

	printf("# in %s\n", base);
	snprintf(top, sizeof(top), "%s/holdfast-track.XXXXXX", base);
	if (!mkdtemp(top) || chdir(top))
		die(top);
	must(mkdir("tree", 0755));
	must(mkdir("out", 0755));
	t = open_as(ME);
	ok(!strcmp(hf_track_source(t), "kernel"), "the source is the module");
	w = watch("tree", NULL);
	ok(!strcmp(hf_watch_quality(w), "events"), "the quality is events");
	test_files();
	test_dirs();
	test_merged();
	test_deep();
	test_temp();
	test_exclude();
	test_overlap();
	test_single();
	test_seq();
	test_lost();
	test_mounts();
	test_uncovered();
	test_leaves();
	test_resume();
	test_reap();
	test_owner();
	test_acks();
	test_race();
	test_loss();
	test_overlay();
	test_few_marks();
	test_little_memory();
	test_storm();
	hf_track_del(w);
	hf_track_close(t);
	is(open_fds(), fds, "every descriptor is closed");
	must(chdir("/"));
	rm_rf(top);
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");

	if (hf_track_open("kernel", ME, &t, &err)) {
		printf("1..0 # SKIP %s\n", err.msg);
		return 0;
	}
	hf_track_close(t);
	module = true;
	/* mounts are private to this test */
	private = !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	run(tmp ? tmp : "/tmp");
	return tap_done();
}
