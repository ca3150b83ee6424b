// SPDX-License-Identifier: GPL-2.0-or-later
/* The fanotify source: what both sources do, marks, overlays, an overrun queue. */
#include "track_common.h"

/* what the kernel holds for this group */
static unsigned int group_marks(void)
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

/* Directories of an overlay change their handles when they are copied up: no
 * promise by events there, but nothing is missed altogether either. */
static void test_overlay(void)
{
	struct hf_watch *v;

	must(mkdir("out/ovl", 0755));
	must(mkdir("out/merged", 0755));
	must(mount("none", "out/ovl", "tmpfs", 0, NULL));
	must(mkdir("out/ovl/lower", 0755));
	must(mkdir("out/ovl/upper", 0755));
	must(mkdir("out/ovl/work", 0755));
	must(mkdir("out/ovl/lower/d", 0755));
	put("out/ovl/lower/d/f", "x");
	if (mount("overlay", "out/merged", "overlay", 0,
		  "lowerdir=out/ovl/lower,upperdir=out/ovl/upper,workdir=out/ovl/work")) {
		skip("no overlayfs here");
	} else {
		v = watch("out/merged", NULL);
		ok(!strcmp(hf_watch_quality(v), "scan"), "an overlay is to be scanned");
		put("out/merged/d/f", "y");
		collect(v);
		ok(saw("d/f") || (saw("") && saw("")->flags & HF_DIRTY_SUBTREE),
		   "a change that copies up is reported all the same");
		must(mkdir("out/merged/d/e", 0755));
		put("out/merged/d/e/f", "y");
		collect(v);
		put("out/merged/d/e/f", "z");
		collect(v);
		ok(saw("d/e/f") || (saw("") && saw("")->flags & HF_DIRTY_SUBTREE),
		   "and one in a new directory");
		hf_track_del(v);
		must(umount2("out/merged", MNT_DETACH));
	}
	must(umount2("out/ovl", MNT_DETACH));
	rm_rf("out/ovl");
	rm_rf("out/merged");
}

static void test_few_marks(void)
{
	struct hf_track *few, *save = t;
	struct hf_watch *v;
	char path[64];
	int i;

	must(mkdir("out/many", 0755));
	for (i = 0; i < 40; i++) {
		snprintf(path, sizeof(path), "out/many/%d", i);
		must(mkdir(path, 0755));
	}
	if (hf_track_open_ops(&hf_track_fanotify, "test", HF_TRACK_FEW_MARKS, &few, &err))
		die("open");
	t = few;
	v = watch("out/many", NULL);
	ok(!strcmp(hf_watch_quality(v), "scan"), "marks run out: the quality says so");
	collect(v);
	ok(saw("") && saw("")->flags & HF_DIRTY_SUBTREE, "P2 and the tree is to be scanned");
	hf_track_close(t);
	t = save;
	rm_rf("out/many");
}

static int queue_max(void)
{
	FILE *in = fopen("/proc/sys/fs/fanotify/max_queued_events", "r");
	int max = 16384;

	if (in && fscanf(in, "%d", &max) != 1)
		max = 16384;
	if (in)
		fclose(in);
	return max;
}

/* @n events: one file that changes its name */
static void flood(const char *dir, int n)
{
	char a[64], b[64];

	snprintf(a, sizeof(a), "%s/0", dir);
	must(mknod(a, S_IFREG | 0600, 0));
	for (; n; n--) {
		snprintf(b, sizeof(b), "%s/%d", dir, n);
		must(rename(a, b));
		strcpy(a, b);
	}
	must(unlink(a));
}

static void test_overflow(unsigned int flags)
{
	struct hf_track *small, *save = t;
	struct hf_watch *v, *away;

	if (queue_max() > 100000) {
		skip("the queue of this machine is too long to overrun");
		return;
	}

	must(mkdir("out/flood", 0755));
	if (hf_track_open_ops(&hf_track_fanotify, "test", flags | HF_TRACK_BOUNDED, &small, &err))
		die("open");
	t = small;
	v = watch("out/flood", NULL);
	must(mkdir("out/away", 0755));
	away = watch("out/away", NULL);
	must(mkdir("out/flood/gone", 0755));
	collect(v);
	flood("out/flood", queue_max() + 100);
	must(rename("out/away", "out/away2"));
	rm_rf("out/flood/gone");
	must(mkdir("out/flood/late", 0755));
	must(mkdir("out/flood/late/r", 0755));
	hf_track_drain(t);
	do
		nseen = 0;
	while (hf_watch_dirty(v, note, v) == -E2BIG);
	put("out/flood/late/r/f", "x");
	collect(v);
	ok(saw("late/r/f"), "P2 what was made while events were lost is tracked");
	is(hf_watch_dirs(v), 3, "and what went is forgotten");
	ok(hf_watch_lost(away) && !hf_watch_lost(v), "a root that was moved meanwhile is lost");
	must(rmdir("out/away2"));
	hf_track_close(t);
	t = save;
	rm_rf("out/flood");
}

static int root_of(void *ctx, const struct hf_dirty *d)
{
	if (!*d->rel)
		*(unsigned int *)ctx = d->flags;
	return 0;
}

static void test_overflow_soils(void)
{
	struct hf_track *small;
	struct hf_watch *v[2];
	unsigned int f[2] = { 0, 0 };
	int i, fd, max = queue_max();

	if (max > 100000) {
		skip("the queue of this machine is too long to overrun");
		return;
	}
	must(mkdir("out/flood", 0755));
	must(mkdir("out/quiet", 0755));
	if (hf_track_open_ops(&hf_track_fanotify, "test", HF_TRACK_BOUNDED, &small, &err))
		die("open");
	for (i = 0; i < 2; i++) {
		must(fd = open_dir(i ? "out/quiet" : "out/flood"));
		if (hf_track_add(small, fd, NULL, NULL, NULL, NULL, &v[i], &err))
			die("add");
		close(fd);
	}
	flood("out/flood", max + 100);
	hf_track_drain(small);
	for (i = 0; i < 2; i++)
		hf_watch_dirty(v[i], root_of, &f[i]);
	ok(f[0] & HF_DIRTY_SUBTREE && f[1] & HF_DIRTY_SUBTREE,
	   "P2 the queue overran: the root of every tree is to be scanned");
	hf_track_close(small);
	rm_rf("out/flood");
	rm_rf("out/quiet");
}

static void run(const char *base, unsigned int flags, const char *what)
{
	unsigned int fds = open_fds();

	printf("# %s in %s\n", what, base);
	snprintf(top, sizeof(top), "%s/holdfast-track.XXXXXX", base);
	if (!mkdtemp(top) || chdir(top))
		die(top);
	must(mkdir("tree", 0755));
	must(mkdir("out", 0755));
	if (hf_track_open_ops(&hf_track_fanotify, "test", flags, &t, &err))
		die("hf_track_open");
	w = watch("tree", NULL);
	ok(!strcmp(hf_watch_quality(w), "events"), "the quality is events");
	/* marks of what moved out can not be taken away there */
	marks = flags & HF_TRACK_NO_HANDLE ? NULL : group_marks;
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
	if (!flags) {
		if (private)
			test_overlay();
		else
			skip("mount(2) is not permitted here");
		test_few_marks();
		test_overflow_soils();
	}
	test_overflow(flags);
	hf_track_del(w);
	is(group_marks(), 0, "without a tree there is no mark");
	hf_track_close(t);
	is(open_fds(), fds, "and every descriptor is closed");
	must(chdir("/"));
	rm_rf(top);
}

static void test_open(void)
{
	struct hf_track *x;
	struct pollfd p;

	is(hf_track_open("inotify", "test", &x, &err), -EINVAL, "an unknown source is refused");
	is(hf_track_open("fanotify", "test", &x, &err), 0, "fanotify");
	ok(!strcmp(hf_track_source(x), "fanotify") && !*hf_track_why(x), "is what was asked for");
	hf_track_close(x);
	if (!hf_track_open("kernel", "test", &x, &err)) {
		is(strcmp(hf_track_source(x), "kernel"), 0, "the module is there");
		hf_track_close(x);
		return;
	}
	ok(strstr(err.msg, "module"), "the module is not to be had, and why");
	is(hf_track_open("auto", "test", &x, &err), 0, "auto");
	ok(!strcmp(hf_track_source(x), "fanotify") && strstr(hf_track_why(x), "module"),
	   "is fanotify, and says why");
	p.fd = hf_track_fd(x);
	p.events = POLLIN;
	ok(p.fd >= 0 && poll(&p, 1, 0) == 0, "with a descriptor to wait on");
	is(hf_track_drain(x), 0, "without trees there is nothing to drain");
	hf_track_close(x);
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");

	/* mounts are private to this test */
	private = !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	test_open();
	run(tmp ? tmp : "/tmp", 0, "as it is");
	run(tmp ? tmp : "/tmp", HF_TRACK_NO_RENAME, "without FAN_RENAME");
	run(tmp ? tmp : "/tmp", HF_TRACK_NO_HANDLE, "without open by handle");
	if (access("/dev/shm", W_OK))
		skip("/dev/shm is not writable");
	else
		run("/dev/shm", 0, "as it is");
	return tap_done();
}
