// SPDX-License-Identifier: GPL-2.0-or-later
/* P7: what a restore overwrites is kept aside: whole, dated, encrypted, bounded. */
#include "tree_test.h"
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static uint8_t key[32] = { 1, 2, 3 };

struct seen {
	unsigned sets, entries;
	char id[64], rels[4096], reason[64], resource[64], checkpoint[64];
	uint64_t sizes, when;
	int stop;
};

static int see(void *ctx, const char *id, uint64_t when_ns, const char *reason,
	       const char *resource, const char *checkpoint, const char *rel, const struct hf_attr *a)
{
	struct seen *s = ctx;

	if (!rel) {
		s->sets++;
		s->when = when_ns;
		snprintf(s->id, sizeof(s->id), "%s", id);
		snprintf(s->reason, sizeof(s->reason), "%s", reason);
		snprintf(s->resource, sizeof(s->resource), "%s", resource);
		snprintf(s->checkpoint, sizeof(s->checkpoint), "%s", checkpoint);
		return s->stop;
	}
	s->entries++;
	s->sizes += a->size;
	strncat(s->rels, rel, sizeof(s->rels) - strlen(s->rels) - 2);
	strcat(s->rels, " ");
	return 0;
}

static struct seen list(const char *resource, int want, const uint8_t *k)
{
	struct seen s = { 0 };
	struct hf_err err = { 0 };
	int ret = hf_displaced_list(path_of("state"), k, resource, see, &s, &err);

	if (ret != want)
		printf("# list: %d %s\n", ret, err.msg);
	is(ret, want, "list");
	return s;
}

static struct hf_displaced *begin(const char *resource)
{
	struct hf_displaced *d = NULL;
	struct hf_err err = { 0 };

	is(hf_displaced_begin(path_of("state"), key, resource, "/etc/app", "offline-change", &d, &err), 0, "begin");
	return d;
}

struct text { char p[1 << 20]; size_t n; };

static int to_text(void *ctx, const void *p, size_t n)
{
	struct text *t = ctx;

	if (t->n + n > sizeof(t->p))
		return -E2BIG;
	memcpy(t->p + t->n, p, n);
	t->n += n;
	return 0;
}

static void kept_by_restore(void)
{
	struct hf_restore_opts o = { 0 };
	struct hf_restore_stat rst = { 0 };
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	struct memdb m;
	static struct text text;
	char id[64], id2[64];
	uint64_t n;

	mem_init(&m);
	sh("mkdir -p src/d; echo new >src/f; echo same >src/same; ln -s a src/l; echo m >src/m; touch -d 2001-01-01 src/f src/same src/m src/d");
	src = opent("src", 0, false);
	scan(src, &m, false);
	sh("cp -a src dst; head -c 200000 /dev/urandom >big; cp big dst/f; echo SECRET-marker >dst/extra; ln -sfn b dst/l; chmod 600 dst/m; mkdir dst/gone; echo x >dst/gone/x");
	dst = opent("dst", 0, false);
	o.keep = begin("app/../1 %n");
	is(hf_restore(dst, &m.db, &o, &rst, &err), 0, "restore");
	is(rst.displaced, 6, "what it overwrites is counted");
	is(hf_displaced_end(o.keep, true, id, &n, &err), 0, "end");
	is(n, 6, "six entries");
	ok(*id, "the set is %s", id);
	struct seen s = list(NULL, 0, key);

	is(s.sets, 1, "one set");
	is(s.entries, 6, "six entries");
	ok(!strcmp(s.rels, "extra f gone gone/x l m "), "which are: %s", s.rels);
	is(s.sizes, 200000 + 14 + 2 + 2, "with their sizes");
	ok(!strcmp(s.id, id) && !strcmp(s.reason, "offline-change") && !strcmp(s.resource, "app/../1 %n") &&
	   !strcmp(s.checkpoint, "/etc/app"), "the set says whose it is and why");
	ok(hf_wall_ns() - s.when < 100000000000ull, "and when");
	is(hf_displaced_read(path_of("state"), key, "app/../1 %n", id, "f", to_text, &text, &err), 0, "an entry is read back");
	FILE *f = fopen(path_of("big"), "r");
	static char big[200000];

	ok(fread(big, 1, sizeof(big), f) == sizeof(big) && text.n == sizeof(big) && !memcmp(big, text.p, sizeof(big)),
	   "byte for byte");
	fclose(f);
	is(hf_displaced_read(path_of("state"), key, "app/../1 %n", id, "none", to_text, &text, &err), -ENOENT, "one that is not there is not");
	is(hf_displaced_read(path_of("state"), key, "app/../1 %n", "../../x", "f", to_text, &text, &err), -ENOENT, "nor is a set elsewhere");
	ok(sh("grep -rq SECRET-marker state"), "nothing is in the clear");
	ok(sh("grep -rq gone/x state"), "names neither");
	is(strtol(shout("find state -mindepth 1 -maxdepth 1 | wc -l"), NULL, 10), 1, "one directory for the resource");
	ok(!strcmp(shout("find state -type f -printf %%m"), "600"), "readable by root alone");
	is(list("other", 0, key).sets, 0, "another resource has none");
	is(list("app/../1 %n", 0, key).sets, 1, "the resource has one");

	o.keep = begin("app/../1 %n");
	memset(&rst, 0, sizeof(rst));
	is(hf_restore(dst, &m.db, &o, &rst, &err), 0, "restore again");
	is(hf_displaced_end(o.keep, true, id2, &n, &err), 0, "end");
	ok(!*id2 && !n, "nothing was kept: no set");
	is(list(NULL, 0, key).sets, 1, "still one set");

	uint8_t other[32] = { 9 };

	is(list(NULL, -EBADMSG, other).sets, 0, "with another key nothing is listed");
	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
}

/* P7: a name that begins as those of a restore's temporary files do is somebody's own all the same */
static void nearly_ours(void)
{
	struct hf_restore_opts o = { 0 };
	struct hf_restore_stat rst = { 0 };
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	struct memdb m;
	struct seen s;

	mem_init(&m);
	sh("mkdir nsrc ndst; echo new >nsrc/.holdfast-mynotes2; echo mine >ndst/.holdfast-mynotes2; echo mine >ndst/.holdfast-keepthis; echo x >ndst/%s", tmpname("abcdefgh"));
	src = opent("nsrc", 0, false);
	scan(src, &m, false);
	dst = opent("ndst", 0, false);
	o.keep = begin("nearly");
	is(hf_restore(dst, &m.db, &o, &rst, &err), 0, "restore of a tree with such names");
	is(hf_displaced_end(o.keep, true, NULL, NULL, &err), 0, "end");
	s = list("nearly", 0, key);
	ok(!strcmp(s.rels, ".holdfast-keepthis .holdfast-mynotes2 "), "what goes is kept aside, a restore's own leftover is not: %s", s.rels);
	ok(!strcmp(shout("cd ndst; ls -A; cat .holdfast-mynotes2"), ".holdfast-mynotes2\nnew\n"), "the generation's comes back");
	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
	sh("rm -rf state nsrc ndst");
}

static void cut_and_flipped(void)
{
	struct hf_displaced *d;
	struct hf_tree *t;
	struct hf_err err = { 0 };
	char id[64], *path = strdup(path_of("state/r")), file[PATH_MAX], *raw;
	unsigned bad = 0, last = 0, wrong = 0, shrunk = 0;
	size_t n;
	uint64_t count;

	sh("rm -rf state; mkdir t; echo one >t/1; echo two >t/2; ln -s x t/3");
	t = opent("t", 0, false);
	d = begin("r");
	is(hf_displaced_add(d, t, "1", &err), 0, "add");
	is(hf_displaced_add(d, t, "2", &err), 0, "add");
	is(hf_displaced_add(d, t, "3", &err), 0, "add a link");
	is(hf_displaced_add(d, t, "none", &err), 0, "what is not there needs no copy");
	is(hf_displaced_end(d, true, id, &count, &err), 0, "end");
	is(count, 3, "three");
	snprintf(file, sizeof(file), "%.1000s/%s", path, id);
	is(hf_read_file(file, 1 << 20, &raw, &n), 0, "read it");
	for (size_t cut = 0; cut <= n; cut++) {
		struct seen s = { 0 };

		hf_write_file(file, raw, cut, 0600);
		bad += hf_displaced_list(path_of("state"), key, "r", see, &s, &err) != 0;
		shrunk += s.entries < last;
		last = s.entries;
	}
	is(bad, 0, "a set that was cut short anywhere is listed");
	is(shrunk, 0, "and gives what it holds");
	is(last, 3, "all of it in the end");
	for (size_t at = 0; at < n; at++) {
		struct seen s = { 0 };
		int ret;

		raw[at] ^= 0x10;
		hf_write_file(file, raw, n, 0600);
		ret = hf_displaced_list(path_of("state"), key, "r", see, &s, &err);
		/* a longer length looks like a cut; anything else is damage; neither gives more */
		wrong += (ret != -EBADMSG && ret != 0) || s.entries > 3 || (!ret && s.entries == 3 && at < n - 40);
		raw[at] ^= 0x10;
	}
	is(wrong, 0, "a flipped bit is found, wherever it is");
	free(raw);
	free(path);
	hf_tree_close(t);
}

static void pruning(void)
{
	struct hf_tree *t = opent("t", 0, false);
	struct hf_err err = { 0 };
	char ids[5][64];
	uint64_t n;

	sh("rm -rf state; head -c 10000 /dev/urandom >t/k");
	for (int i = 0; i < 5; i++) {
		struct hf_displaced *d = begin(i % 2 ? "odd" : "even");

		hf_displaced_add(d, t, "k", &err);
		hf_displaced_end(d, true, ids[i], &n, &err);
		usleep(2000);
	}
	is(hf_displaced_prune(path_of("state"), 1 << 20, 86400), 0, "prune within bounds");
	is(list(NULL, 0, key).sets, 5, "removes nothing");
	is(hf_displaced_prune(path_of("state"), 35000, 86400), 0, "prune to a size");
	is(list(NULL, 0, key).sets, 3, "removes the oldest");
	struct seen s = list("odd", 0, key);

	is(s.sets, 1, "of all resources");
	ok(!strcmp(s.id, ids[3]), "and keeps the newest");
	sh("cd state/odd && mv %s 20010101T000000.000Z-00000000 && touch notaset", ids[3]);
	is(hf_displaced_prune(path_of("state"), 1 << 30, 86400), 0, "prune to an age");
	is(list(NULL, 0, key).sets, 3, "leaves what was written to since, whatever its name says");
	sh("touch -d 2001-01-01 state/odd/2001*");
	is(hf_displaced_prune(path_of("state"), 1 << 30, 86400), 0, "prune to an age");
	is(list(NULL, 0, key).sets, 2, "removes what is too old");
	ok(!access(path_of("state/odd/notaset"), F_OK), "and no foreign file");
	/* of who was killed while he went on with a set that is gone by now */
	sh("mkdir state/killed state/busy; touch state/odd/.continued; touch -d 2001-01-01 state/killed/.continued state/busy/.continued");
	int fd = open(path_of("state/busy/.continued"), O_RDONLY | O_CLOEXEC);

	flock(fd, LOCK_EX);
	is(hf_displaced_prune(path_of("state"), 1 << 30, 86400), 0, "prune");
	ok(access(path_of("state/killed/.continued"), F_OK), "what was to go on with a set goes");
	ok(!access(path_of("state/busy/.continued"), F_OK) && !access(path_of("state/odd/.continued"), F_OK),
	   "not while somebody writes it, or may");
	close(fd);
	is(hf_displaced_prune(path_of("nowhere"), 1, 1), 0, "nothing there is nothing to prune");
	hf_tree_close(t);
}

static int edit_late(void *ctx, uint64_t done, uint64_t total)
{
	/* called before the first change: what was kept is not what is there now */
	if (!done)
		sh("echo late >late/f");
	return 0;
}

static void late(void)
{
	struct hf_restore_opts o = { .progress = edit_late };
	struct hf_restore_stat rst = { 0 };
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	static struct text text;
	struct memdb m;
	char id[64];
	uint64_t n;

	mem_init(&m);
	sh("rm -rf state; mkdir lsrc late; echo new >lsrc/f; echo early >late/f");
	src = opent("lsrc", 0, false);
	scan(src, &m, false);
	dst = opent("late", 0, false);
	o.keep = begin("late");
	is(hf_restore(dst, &m.db, &o, &rst, &err), 0, "a file that changes after it was kept aside");
	is(hf_displaced_end(o.keep, true, id, &n, &err), 0, "end");
	is(n, 2, "is kept aside again");
	is(hf_displaced_read(path_of("state"), key, "late", id, "f", to_text, &text, &err), 0, "read");
	ok(text.n == 6 && !memcmp(text.p, "early\n", 6), "the first is there");
	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
}

/* while the new contents are written somebody writes the old file, or makes one: kept aside as well */
static void while_written(bool there)
{
	struct hf_restore_opts o = { 0 };
	struct hf_restore_stat rst = { 0 };
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	static struct text text;
	struct memdb m;
	char id[64];
	int status;
	uint64_t n;
	pid_t pid;

	mem_init(&m);
	sh("rm -rf state wwsrc ww; mkdir wwsrc ww; echo new >wwsrc/f; %s", there ? "echo early >ww/f" : "true");
	src = opent("wwsrc", 0, false);
	scan(src, &m, false);
	dst = opent("ww", 0, false);
	pid = fork();
	if (!pid) {
		/* its points are not the parent's */
		if (!freopen("/dev/null", "w", stdout))
			_exit(2);
		o.keep = begin("ww");
		hf_seam_init("restore.rename:1:stop");
		status = hf_restore(dst, &m.db, &o, &rst, &err);
		hf_displaced_end(o.keep, true, id, &n, &err);
		_exit(status ? 1 : 0);
	}
	ok(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "just before the new file takes its place");
	sh("echo late-word >ww/f");
	kill(pid, SIGCONT);
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && !WEXITSTATUS(status), "the restore ends");
	is(differences(dst, &m), 0, "exactly");
	struct seen s = list("ww", 0, key);

	is(s.sizes, there ? 6 + 10 : 10, "P7: what was written is kept aside");
	text.n = 0;
	if (!there)
		ok(!hf_displaced_read(path_of("state"), key, "ww", s.id, "f", to_text, &text, &err) && !memcmp(text.p, "late-word", 9), "whole");
	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
}

/* P7: a restore that is tried again goes on with the set of the one before */
static void tried_again(void)
{
	struct hf_restore_opts o = { 0 };
	struct hf_restore_stat rst;
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	struct memdb m;
	char first[64], later[64] = "", id[64];
	uint64_t n;

	mem_init(&m);
	sh("rm -rf state; mkdir -p rsrc/d again/d; for i in 1 2 3 4 5; do echo new >rsrc/d/f$i; echo local $i >again/d/f$i; done; touch -d @1 rsrc/d; chmod 750 rsrc/d");
	src = opent("rsrc", 0, false);
	scan(src, &m, false);
	dst = opent("again", 0, false);
	for (int i = 0; i < 3; i++) {
		o.keep = begin("again");
		hf_seam_init(i < 2 ? i ? "restore.rename:4:eio" : "restore.rename:2:eio" : NULL);
		memset(&rst, 0, sizeof(rst));
		is(hf_restore(dst, &m.db, &o, &rst, &err), i < 2 ? -EIO : 0, i < 2 ? "a restore that fails" : "and one that does not");
		is(hf_displaced_end(o.keep, i == 2, id, &n, &err), 0, "end");
		if (!i)
			memcpy(first, id, 64);
		ok(!strcmp(first, id), "the set keeps its name");
		is(list("again", 0, key).sets, 1, "one set");
		is(list("again", 0, key).entries, 6, "in which each is once");
	}
	ok(!*shout("find state -name '.c*'"), "nothing else is left");
	sh("echo later >again/d/f1");
	o.keep = begin("again");
	is(hf_restore(dst, &m.db, &o, &rst, &err), 0, "the next takeover");
	is(hf_displaced_end(o.keep, true, id, &n, &err), 0, "end");
	ok(strcmp(first, id) && n == 1, "has a set of its own");
	/* a directory that an interrupted restore made of a file, and has begun to set the attributes of */
	sh("mkdir rsrc/x; chmod 2750 rsrc/x; echo 1 >rsrc/x/y; chown bin rsrc/x; rm -rf again/x; echo was >again/x");
	scan(src, &m, false);
	for (int i = 0; i < 3; i++) {
		o.keep = begin("again");
		hf_seam_init(i < 2 ? i ? "restore.write:1:eio" : "restore.meta:1:eio" : NULL);
		if (i == 1)
			sh("chown bin again/x; chmod 750 again/x; rm again/x/y");
		is(hf_restore(dst, &m.db, &o, &rst, &err), i < 2 ? -EIO : 0, "a file becomes a directory");
		is(hf_displaced_end(o.keep, i == 2, id, &n, &err), 0, "end");
	}
	struct hf_tree *to = opent("againback", 0, true);

	is(hf_displaced_restore(path_of("state"), key, "again", id, "x", to, NULL, &n, &err), 0, "brought back");
	ok(n == 1 && !strcmp(shout("cat againback/x"), "was\n"), "it is the file that it was");
	hf_tree_close(to);
	/* nor does a restore of another generation: what it finds is what that one wrote */
	sh("echo local >again/d/f1; echo local >again/d/f2");
	for (int i = 0; i < 3; i++) {
		o.keep = begin("gens");
		hf_displaced_generation(o.keep, i ? 8 : 7);
		hf_seam_init(i < 2 ? "restore.rename:2:eio" : NULL);
		is(hf_restore(dst, &m.db, &o, &rst, &err), i < 2 ? -EIO : 0, i < 2 ? "a restore that fails" : "and one that does not");
		is(hf_displaced_end(o.keep, i == 2, id, &n, &err), 0, "end");
		if (!i) {
			memcpy(first, id, 64);
			sh("echo newer >rsrc/d/f1; echo newer >rsrc/d/f2");
			scan(src, &m, false);
		}
		ok(!strcmp(first, id) == !i, i == 2 ? "of the same generation: the set is gone on with" : "of another one: a set of its own");
		if (i == 1)
			memcpy(later, id, 64);
	}
	ok(!strcmp(id, later), "which is that of the one before");
	to = opent("gensback", 0, true);
	is(hf_displaced_restore(path_of("state"), key, "gens", first, NULL, to, NULL, &n, &err), 0, "the first is brought back");
	ok(!strcmp(shout("cat gensback/d/f1 gensback/d/f2"), "local\nlocal\n"), "P7: it is what was there before");
	hf_tree_close(to);
	/* of two reasons or checkpoints none goes on with the other's */
	sh("echo x >again/d/f2");
	o.keep = begin("again");
	hf_displaced_add(o.keep, dst, "d/f2", &err);
	hf_displaced_end(o.keep, false, first, &n, &err);
	hf_displaced_begin(path_of("state"), key, "again", "/etc/other", "offline-change", &o.keep, &err);
	hf_displaced_add(o.keep, dst, "d/f2", &err);
	hf_displaced_end(o.keep, true, id, &n, &err);
	ok(strcmp(first, id) && n == 1, "another checkpoint has its own");
	hf_displaced_begin(path_of("state"), key, "again", "/etc/app", "unconfirmed", &o.keep, &err);
	hf_displaced_add(o.keep, dst, "d/f2", &err);
	hf_displaced_end(o.keep, true, id, &n, &err);
	ok(strcmp(first, id) && n == 1, "another reason too");
	o.keep = begin("again");
	hf_displaced_end(o.keep, true, id, &n, &err);
	ok(!strcmp(first, id) && n == 1, "a restore that has nothing to keep ends what was begun");
	o.keep = begin("again");
	hf_displaced_end(o.keep, true, id, &n, &err);
	ok(!*id, "once");
	/* one that is still being written is not taken for one that was left */
	struct hf_displaced *one = begin("again"), *two = begin("again");

	hf_displaced_add(one, dst, "d/f2", &err);
	hf_displaced_add(two, dst, "d/f3", &err);
	hf_displaced_add(one, dst, "d/f4", &err);
	hf_displaced_end(two, true, id, &n, &err);
	ok(n == 1, "two at a time");
	hf_displaced_end(one, true, first, &n, &err);
	ok(n == 2 && strcmp(first, id), "have a set each");
	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
}

/* P7: never a reason to refuse a takeover */
static void no_room(void)
{
	struct hf_restore_opts o = { 0 };
	struct hf_restore_stat rst = { 0 };
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	struct memdb m;
	char id[64];
	uint64_t n;
	int why;

	mem_init(&m);
	sh("rm -rf state; mkdir nsrc; for i in 1 2 3; do echo new >nsrc/$i; done; cp -a nsrc room; head -c 100000 /dev/urandom >room/2; echo small >room/1; echo small >room/3");
	src = opent("nsrc", 0, false);
	scan(src, &m, false);
	dst = opent("room", 0, false);
	o.keep = begin("room");
	hf_displaced_limit(o.keep, 50000);
	is(hf_restore(dst, &m.db, &o, &rst, &err), 0, "a restore that overwrites more than may be kept");
	is(hf_displaced_left_out(o.keep, &why), 1, "leaves out what is too large");
	is(why, 0, "for want of room");
	is(hf_displaced_end(o.keep, true, id, &n, &err), 0, "end");
	is(n, 2, "and keeps the rest");
	sh("rm -rf state; mkdir state; mount -t tmpfs -o size=64k none state && cp -a nsrc/. room && head -c 200000 /dev/urandom >room/2 && echo small >room/1");
	o.keep = begin("room");
	is(hf_restore(dst, &m.db, &o, &rst, &err), 0, "a full disk where copies go does not stop a restore");
	ok(hf_displaced_left_out(o.keep, &why) >= 1 && why == -ENOSPC, "but it is told");
	hf_displaced_end(o.keep, true, id, &n, &err);
	is(differences(dst, &m), 0, "exactly");
	sh("umount state; rmdir state; : >state; echo small >room/1");
	o.keep = begin("room");
	is(hf_restore(dst, &m.db, &o, &rst, &err), 0, "nor does a directory that is none");
	ok(hf_displaced_left_out(o.keep, &why) == 1 && why, "which is told too");
	hf_displaced_end(o.keep, true, id, &n, &err);
	sh("rm -f state");
	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
}

/* copies on the disk of the tree take none of the room that the restore needs */
static void one_disk(void)
{
	struct hf_restore_opts o = { 0 };
	struct hf_restore_stat rst = { 0 };
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	struct memdb m;
	char id[64];
	uint64_t n;
	int why;

	mem_init(&m);
	sh("rm -rf state; mkdir osrc disk; mount -t tmpfs -o size=16m none disk; mkdir disk/state disk/t; ln -s disk/state state;"
	   "head -c 6000000 /dev/urandom >osrc/new; echo good >osrc/small; head -c 7000000 /dev/urandom >disk/t/junk; echo local >disk/t/small");
	src = opent("osrc", 0, false);
	scan(src, &m, false);
	dst = opent("disk/t", 0, false);
	o.keep = begin("one");
	ok(!hf_restore(dst, &m.db, &o, &rst, &err), "P7: a restore that fits does fit with copies: %s", err.msg);
	is(differences(dst, &m), 0, "exactly");
	is(hf_displaced_left_out(o.keep, &why), 1, "one was left out");
	is(why, 0, "for want of room");
	hf_displaced_end(o.keep, true, id, &n, &err);
	is(n, 1, "the other is kept");
	hf_tree_close(dst);
	hf_tree_close(src);
	sh("umount disk; rm state");
	mem_free(&m);
}

/* names of one file are that again, and directories on the way what they were */
static void links_back(void)
{
	struct hf_restore_opts o = { 0 };
	struct hf_restore_stat rst = { 0 };
	struct hf_tree *src, *dst;
	struct hf_displaced *keep;
	struct hf_err err = { 0 };
	struct memdb m;
	char id[64], id2[64];
	uint64_t n;

	mem_init(&m);
	sh("rm -rf state src dst; mkdir -p src dst/d/e; echo 1 >dst/a; ln dst/a dst/d/b; ln dst/a dst/d/e/c; echo 1 >dst/d/own; touch -r dst/a dst/d/own; ln -s x dst/l; ln dst/l dst/d/l;"
	   "mkfifo dst/p; ln dst/p dst/d/p; echo 2 >dst/out; ln dst/out outside-of-it; chmod 711 dst/d; chown bin dst/d/e; chmod 1770 dst/d/e; cp -a dst before2");
	src = opent("src", 0, false);
	scan(src, &m, false);
	dst = opent("dst", 0, false);
	o.keep = begin("links");
	is(hf_restore(dst, &m.db, &o, &rst, &err), 0, "restore");
	is(hf_displaced_end(o.keep, true, id, &n, &err), 0, "end");
	is(hf_displaced_restore(path_of("state"), key, "links", id, "d/e/c", dst, NULL, &n, &err), 0, "one name brought back");
	is(n, 1, "alone");
	ok(!strcmp(shout("stat -c '%%a %%U' dst/d dst/d/e"), "711 root\n1770 bin\n"), "the directories above it are what they were: %s", shout("stat -c '%%a %%U' dst/d dst/d/e"));
	sh("chmod 700 dst/d/e; setfattr -n user.k -v mine dst/d");
	keep = begin("links");
	ok(!hf_displaced_restore(path_of("state"), key, "links", id, NULL, dst, keep, &n, &err), "all of them: %s", err.msg);
	ok(!*shout("rsync -aHAXSc --numeric-ids -i --dry-run --delete --omit-dir-times before2/ dst/"), "P7: names of one file are that again: %s",
	   shout("rsync -aHAXSc --numeric-ids -i --dry-run --delete --omit-dir-times before2/ dst/"));
	ok(!*shout("[ $(stat -c %%h dst/a) = 3 ] && [ $(stat -c %%h dst/d/own) = 1 ] && [ $(stat -c %%h dst/out) = 1 ] || echo no"), "and others are not");
	is(hf_displaced_end(keep, true, id2, &n, &err), 0, "end");
	ok(strstr(list("links", 0, key).rels, "d d/e d/e/c "), "the attributes of directories that this overwrote are kept aside");
	sh("rm outside-of-it");
	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
}

static void brought_back(void)
{
	struct hf_restore_opts o = { 0 };
	struct hf_restore_stat rst = { 0 };
	struct hf_tree *src, *dst, *to;
	struct hf_displaced *keep;
	struct hf_err err = { 0 };
	struct memdb m;
	char id[64], id2[64];
	uint64_t n;

	mem_init(&m);
	sh("rm -rf state src dst; mkdir -p src dst/gone/deep; echo new >src/f; echo same >src/other; head -c 200000 /dev/urandom >dst/f; chown daemon dst/f; chmod 4711 dst/f;"
	   "setfattr -n user.k -v v dst/f; setfacl -m u:bin:r dst/f; echo x >dst/gone/deep/x; ln -s to dst/l; mkfifo dst/gone/p; chmod 1777 dst/gone; touch -d 2001-01-01 dst/f dst/gone; cp -a dst before");
	src = opent("src", 0, false);
	scan(src, &m, false);
	dst = opent("dst", 0, false);
	o.keep = begin("back");
	is(hf_restore(dst, &m.db, &o, &rst, &err), 0, "restore");
	is(hf_displaced_end(o.keep, true, id, &n, &err), 0, "end");
	to = opent("elsewhere", 0, true);
	is(hf_displaced_restore(path_of("state"), key, "back", id, NULL, to, NULL, &n, &err), 0, "P7: brought back elsewhere");
	is(n, 6, "all of it");
	ok(!*shout("rsync -aAXSc --numeric-ids --omit-dir-times -i --dry-run --delete before/ elsewhere/ | grep -v '^.d.* ./$'"), "as it was: %s",
	   shout("rsync -aAXSc --numeric-ids -i --dry-run --delete before/ elsewhere/"));
	hf_tree_close(to);
	keep = begin("back");
	is(hf_displaced_restore(path_of("state"), key, "back", id, "f", dst, keep, &n, &err), 0, "one name brought back into the tree");
	is(n, 1, "alone");
	is(hf_displaced_end(keep, true, id2, &n, &err), 0, "end");
	is(n, 1, "what it overwrote is kept aside");
	ok(!sh("cmp -s before/f dst/f && [ $(cat dst/other) = same ] && [ ! -e dst/gone ]"), "the rest stays as it is");
	is(hf_displaced_restore(path_of("state"), key, "back", id, "gone", dst, NULL, &n, &err), 0, "a directory");
	is(n, 4, "with what was in it");
	ok(!sh("[ $(cat dst/gone/deep/x) = x ] && [ -p dst/gone/p ] && [ $(stat -c %%a dst/gone) = 1777 ]"), "as it was");
	is(hf_displaced_restore(path_of("state"), key, "back", id, "none", dst, NULL, &n, &err), -ENOENT, "one that is not in it");
	is(hf_displaced_restore(path_of("state"), key, "back", "../../x", "f", dst, NULL, &n, &err), -ENOENT, "nor a set elsewhere");
	/* what was a directory, and was made a file */
	sh("rm -r dst/gone; echo file >dst/gone");
	keep = begin("back");
	ok(!hf_displaced_restore(path_of("state"), key, "back", id, "gone", dst, keep, &n, &err), "a directory where a file is now: %s", err.msg);
	is(hf_displaced_end(keep, true, id2, &n, &err), 0, "end");
	ok(n == 1 && !sh("[ $(cat dst/gone/deep/x) = x ]"), "is there again, and that is kept aside");
	/* a directory that was swapped for a link is not followed */
	sh("rm -r dst/gone; mkdir dstout; ln -s ../dstout dst/gone");
	ok(hf_displaced_restore(path_of("state"), key, "back", id, "gone/deep/x", dst, NULL, &n, &err) < 0, "a link in the way: %s", err.msg);
	ok(!*shout("ls -A dstout; find dst -name '.holdfast*'"), "is not followed, and nothing is left");
	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
}

/* What another process does when this one is about to lock the file that is to go on with a set. */
static void (*meanwhile)(void);

static void removed(void)
{
	sh("rm state/race/.continued");
}

static void finished(void)
{
	sh("mv state/race/.continued state/race/whole; echo all >state/race/whole");
}

static void another(void)
{
	sh("cd state/two; mv .continued whole; echo young >.continued");
}

int flock(int fd, int op)
{
	void (*other)(void) = meanwhile;
	char link[64], name[PATH_MAX] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (!other || !(op & LOCK_EX) || readlink(link, name, sizeof(name) - 1) < 0 || !strstr(name, "/.continued"))
		return syscall(SYS_flock, fd, op);
	meanwhile = NULL;
	other();
	/* who does not wait for it has not got it */
	if (other == removed && (op & LOCK_NB)) {
		errno = EWOULDBLOCK;
		return -1;
	}
	return syscall(SYS_flock, fd, op);
}

/* P7: who goes on with a set, and who removes what was left of that, beside each other */
static void rests(void)
{
	struct hf_displaced *d;
	struct hf_tree *t;
	struct hf_err err = { 0 };
	char first[64], id[64];
	uint64_t n;
	int why;

	sh("rm -rf state; mkdir -p three; for i in 1 2 3; do echo $i >three/$i; done");
	t = opent("three", 0, false);
	d = begin("race");
	hf_displaced_add(d, t, "1", &err);
	hf_displaced_add(d, t, "2", &err);
	is(hf_displaced_end(d, false, first, &n, &err), 0, "a set that is not finished");
	sh("touch -d 2001-01-01 state/race/.continued");
	meanwhile = removed;
	d = begin("race");
	hf_displaced_add(d, t, "3", &err);
	ok(!meanwhile, "the rest is removed when it is gone on with");
	is(hf_displaced_left_out(d, &why), 0, "P7: nothing is left out");
	is(hf_displaced_end(d, true, id, &n, &err), 0, "end");
	ok(n == 3 && !strcmp(first, id), "all of it is kept");
	is(list("race", 0, key).entries, 3, "and listed");

	d = begin("race");
	hf_displaced_add(d, t, "1", &err);
	is(hf_displaced_end(d, false, first, &n, &err), 0, "one more that is not finished");
	sh("echo part >state/race/.continued");
	meanwhile = finished;
	d = begin("race");
	hf_displaced_add(d, t, "2", &err);
	is(hf_displaced_end(d, true, id, &n, &err), 0, "another ends what was to be gone on with");
	ok(!meanwhile && n == 2 && !strcmp(first, id), "this one goes on with a file of its own");
	ok(!strcmp(shout("cat state/race/whole"), "all\n"), "P7: the other's is as it was");

	sh("mkdir state/two; touch -d 2001-01-01 state/two/.continued");
	meanwhile = another;
	is(hf_displaced_prune(path_of("state"), 1 << 30, 1u << 30), 0, "what was left is removed");
	ok(!meanwhile, "while another is made");
	ok(!strcmp(shout("cat state/two/.continued"), "young\n"), "P7: which stays");
	hf_tree_close(t);
}

int main(void)
{
	scratch_begin();
	kept_by_restore();
	nearly_ours();
	cut_and_flipped();
	pruning();
	late();
	tried_again();
	while_written(true);
	while_written(false);
	no_room();
	one_disk();
	brought_back();
	links_back();
	rests();
	return scratch_end();
}
