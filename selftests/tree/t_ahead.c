// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P5, P6, P7 where other threads work ahead of a restore: one that was looked at before it began, and
 * one whose contents are read beside it, give what the plain one gives.
 */
#include "tree_test.h"
#include "../../user/lib/tree_int.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static const uint8_t key[32] = { 9 };

/* what happens right before a directory gets its name */
static void (*at_rename)(const char *name);

int renameat2(int fromfd, const char *from, int tofd, const char *to, unsigned flags)
{
	if (at_rename)
		at_rename(to);
	return syscall(SYS_renameat2, fromfd, from, tofd, to, flags);
}

/* right before a file without a name gets one */
static void (*at_link)(void);

int linkat(int fromfd, const char *from, int tofd, const char *to, int flags)
{
	if (at_link)
		at_link();
	return syscall(SYS_linkat, fromfd, from, tofd, to, flags);
}

/* a filesystem that has modes of its own for what is made in it */
static bool own_modes;

int openat(int dirfd, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;
	int fd;

	va_start(ap, flags);
	if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
		mode = va_arg(ap, mode_t);
	va_end(ap);
	fd = syscall(SYS_openat, dirfd, path, flags, mode);
	if (fd >= 0 && mode && own_modes && fchmod(fd, mode | 0022))
		printf("# fchmod: %s\n", strerror(errno));
	return fd;
}

/* a disk on which somebody cannot look at one file: nobody, those who look ahead, everybody */
static enum { SOUND, AHEAD, ALL } sick;
static const char *sick_at;
static pthread_t user;
/* one that takes its time with those who look ahead; how often it was asked by them */
static useconds_t slow;
static atomic_uint by_others;

int statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *buf)
{
	if (sick != SOUND && !strcmp(path, sick_at) && (sick == ALL || !pthread_equal(pthread_self(), user))) {
		errno = EIO;
		return -1;
	}
	if (!pthread_equal(pthread_self(), user)) {
		by_others++;
		usleep(slow);
	}
	return syscall(SYS_statx, dirfd, path, flags, mask, buf);
}

/* looked at, and done with it; or still at it */
static void scout(struct hf_tree *t)
{
	static unsigned dice;

	dice++;
	is(hf_tree_scout(t), 0, "looked at ahead");
	ok(t->scout, "by somebody");
	if (dice % 2)
		hf_scout_rest(t->scout);
}

static void same(const char *a, const char *b, const char *name)
{
	const char *out = shout("rsync -aHAXSc --itemize-changes --dry-run --delete %s/ %s/", a, b);

	if (*out)
		printf("# %.400s\n", out);
	ok(!*out, "%s", name);
}

/* many of everything: in directories that are there, in such that are made, and in ones that others may read */
static void many(struct memdb *m, bool ahead)
{
	struct hf_restore_stat rst;
	struct hf_tree *dst;

	sh("rm -rf dst; mkdir -p dst/old/sub dst/gone/deeper 'dst/a b' dst/open dst/set; chmod 0755 dst dst/open; chmod 2700 dst/set; chgrp mail dst/set;"
	   "for i in $(seq 100); do echo $i >dst/gone/deeper/$i; done; cp -a src/old/. dst/old; echo other >dst/old/f7; rm dst/old/f8;"
	   "touch dst/%s; setfacl -d -m u:games:rwx dst/open; mkdir -m 700 dst/acl; setfacl -d -m u:games:rwx dst/acl; mkfifo dst/new; ln -s nowhere dst/was", tmpname("aaaaaaaa"));
	mem_forget(m);
	dst = opent("dst", 0, false);
	if (ahead)
		scout(dst);
	is(restore(dst, m, &rst, NULL), 0, "restore");
	same("src", "dst", ahead ? "P6: exact, looked at ahead" : "P6: exact");
	is(rst.removed, 102, "all that is too many is gone");
	ok(!*shout("find dst -name '.holdfast-*'"), "no leftovers");
	if (ahead)
		scout(dst);
	is(restore(dst, m, &rst, NULL), 0, "again");
	is(rst.written + rst.meta + rst.removed, 0, "changes nothing");
	is(differences(dst, m), 0, "nothing differs");
	hf_tree_close(dst);
}

/* what is excluded is known only when the generation is; a mount point stays what it is */
static void left_alone(void)
{
	const char *const too[] = { "cache", "*.o" };
	struct hf_restore_stat rst;
	struct hf_tree *src, *dst;
	struct memdb m;
	bool mounted;

	mem_init(&m);
	sh("mkdir -p xs/d xs/e xd/d/cache/deep xd/cache xd/e xd/m; echo 1 >xs/d/1; echo 2 >xs/e/2; cp -a xs/. xd; touch xd/d/cache/deep/x xd/cache/y xd/e/z.o xd/e/zz");
	mounted = !mount("none", path_of("xd/m"), "tmpfs", 0, "size=1m");
	if (!mounted)
		skip("a mount point: no mounts here");
	sh("touch xd/m/inside");
	src = opent("xs", 0, false);
	scan(src, &m, false);
	dst = opent("xd", 0, false);
	scout(dst);
	hf_tree_patterns_too(dst, too, 2);
	is(restore(dst, &m, &rst, NULL), 0, "restore");
	ok(!sh("[ -e xd/d/cache/deep/x ] && [ -e xd/cache/y ] && [ -e xd/e/z.o ]"), "what is excluded since stays");
	ok(!sh("[ ! -e xd/e/zz ]"), "what is not goes");
	if (mounted)
		ok(!sh("[ -e xd/m/inside ]"), "a mount point stays");
	umount(path_of("xd/m"));
	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
}

/*
 * A scan that failed midway, after the patterns were changed, left a generation that has some of what they
 * took in: that is restored, and of the rest it still says nothing.
 */
static void taken_in(bool ahead)
{
	const char *const too[] = { "cache/", "*.o" };
	struct hf_restore_stat rst;
	struct hf_tree *src, *dst;
	struct memdb m;

	mem_init(&m);
	sh("rm -rf is id; mkdir -p is/d/cache/sub is/far/cache id/d/cache/sub id/d/cache/more id/e; echo new | tee is/d/cache/1 is/d/cache/sub/2 is/far/cache/3 is/a.o >/dev/null;"
	   "echo old | tee id/d/cache/1 id/d/cache/sub/2 id/d/cache/here id/d/cache/sub/here id/d/cache/more/here id/b.o id/e/here >/dev/null");
	src = opent("is", 0, false);
	scan(src, &m, false);
	mem_forget(&m);
	dst = opent("id", 0, false);
	if (ahead)
		scout(dst);
	hf_tree_patterns_too(dst, too, 2);
	is(restore(dst, &m, &rst, NULL), 0, "restore");
	ok(!strcmp(shout("cd id; cat a.o d/cache/1 d/cache/sub/2 far/cache/3"), "new\nnew\nnew\nnew\n"), "P1: what was excluded, and is in the generation, is restored");
	ok(!strcmp(shout("cd id; cat b.o d/cache/here d/cache/sub/here d/cache/more/here"), "old\nold\nold\nold\n"), "what it does not have stays");
	ok(!sh("[ ! -e id/e ]"), "what was never excluded goes");
	is(differences(dst, &m), 0, "then nothing differs");
	is(restore(dst, &m, &rst, NULL), 0, "again");
	is(rst.written + rst.meta + rst.removed, 0, "changes nothing");
	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
}

/* P7 and the root: what changes between the look and the restore */
static void changed_since(void)
{
	struct hf_restore_opts o = { 0 };
	struct hf_restore_stat st = { 0 };
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	struct memdb m;
	uint64_t kept = 0;
	char id[64];

	mem_init(&m);
	sh("mkdir -p cs/d cs/e outside cd; for i in 1 2 3; do echo new $i >cs/d/$i; echo new $i >cs/e/$i; done; cp -a cs/. cd; echo old >cd/d/1; echo sentinel >outside/1; echo sentinel >outside/2");
	src = opent("cs", 0, false);
	scan(src, &m, false);
	mem_forget(&m);
	dst = opent("cd", 0, false);
	scout(dst);
	/* overwritten by the restore, and changed in the last moment */
	sh("echo last >cd/d/1");
	is(hf_displaced_begin(path_of("state"), key, "r", "/cd", "offline-change", &o.keep, &err), 0, "begin");
	is(hf_restore(dst, &m.db, &o, &st, &err), 0, "restore");
	is(hf_displaced_end(o.keep, true, id, &kept, &err), 0, "end");
	same("cs", "cd", "what differed is right");
	ok(kept, "P7: what was there in the end is kept");
	sh("echo old >cd/e/1; rm cd/e/2");
	scout(dst);
	sh("mv cd/e cd.e; ln -s ../outside cd/e");
	/* a link in the place of a directory is replaced, or is an error: never followed */
	restore(dst, &m, &st, &err);
	ok(!sh("[ \"$(cat outside/1)\" = sentinel ] && [ \"$(cat outside/2)\" = sentinel ] && [ $(ls outside | wc -l) = 2 ]"),
	   "outside of the root nothing changed");
	sh("rm -rf cd.e");
	is(restore(dst, &m, &st, NULL), 0, "the next one");
	same("cs", "cd", "is exact");
	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
}

/* who looks ahead may be called off, or never be asked */
static void called_off(void)
{
	const char *const too[] = { "nothing", "is", "called", "so" };
	struct hf_tree *t = opent("src", 0, false);

	for (int i = 0; i < 20; i++) {
		hf_tree_scout(t);
		hf_tree_unscout(t);
		/* nobody looks with what is freed: a sanitizer tells */
		hf_tree_scout(t);
		is(hf_tree_patterns_too(t, too, 4), 0, "excluded while somebody looks");
		hf_tree_patterns_too(t, NULL, 0);
		hf_tree_patterns(t, too, 2 + i % 3);
		ok(!t->scout, "what was seen by other patterns is nothing");
		hf_tree_patterns(t, NULL, 0);
	}
	is(hf_tree_scout(t), 0, "once more");
	hf_tree_close(t);
	t = opent("src/old/f1", HF_TREE_FILE, false);
	is(hf_tree_scout(t), 0, "of a single file");
	ok(!t->scout, "there is nothing to be seen ahead");
	hf_tree_close(t);
}

/* a count ends with the first file that is too much, whatever a directory is like in which somebody looks just then */
static void counted(void)
{
	struct hf_tree_stat ts;
	struct hf_err err = { 0 };
	struct hf_tree *t;
	unsigned seen;

	sh("rm -rf many; mkdir -p many/a many/b; truncate -s 2000 many/a/f; cd many/b; seq 3000 | xargs touch");
	t = opent("many", 0, false);
	is(hf_tree_measure(t, 2000, &ts, &err), 0, "counted");
	is(ts.dirs * 10000 + ts.files, 33001, "all of it");
	ok(!t->scout, "nobody looks any more");
	user = pthread_self();
	slow = 1000;
	by_others = 0;
	is(hf_tree_measure(t, 1999, &ts, &err), -EFBIG, "too much is told");
	seen = by_others;
	slow = 0;
	ok(seen < 1500, "at once: others had looked at %u names of 3003", seen);
	ok(!t->scout, "nobody looks any more");
	hf_tree_close(t);
}

/* what those who went ahead did not see is seen all the same, and what cannot be seen is told */
static void stumbled(struct memdb *m)
{
	struct hf_restore_stat rst;
	struct hf_err err = { 0 };
	struct hf_tree *dst;

	sh("rm -rf dst; cp -a src dst; echo other >dst/was/3; rm -r dst/open");
	mem_forget(m);
	dst = opent("dst", 0, false);
	user = pthread_self();
	sick_at = "f50";
	for (int i = 0; i < 4; i++) {
		sick = ALL;
		scout(dst);
		is(restore(dst, m, &rst, &err), -EIO, "P5: what cannot be looked at fails the restore");
		ok(strstr(err.msg, "/old: "), "which says where: %.200s", err.msg);
		ok(!sh("[ \"$(cat dst/was/3)\" = other ] && [ ! -e dst/open ]"), "and changed nothing");
	}
	for (int i = 0; i < 4; i++) {
		sick = AHEAD;
		sick_at = i == 3 ? "old" : "f50";
		scout(dst);
		is(restore(dst, m, &rst, NULL), 0, i == 3 ? "who goes ahead stumbles at once" : "who goes ahead stumbles");
		same("src", "dst", "P6: exact");
		sh("echo other >dst/new/deep/3; rm -r dst/open dst/old/f50; mkdir -p dst/more/and/more; touch dst/more/and/more/1");
	}
	sick = SOUND;
	hf_tree_close(dst);
}

/* contents that cannot be had: told as always, and what is there by then is whole */
static void damaged(struct memdb *m)
{
	struct hf_err err = { 0 };
	struct hf_restore_stat rst;
	struct hf_tree *dst;

	sh("rm -rf dst; mkdir dst");
	mem_forget(m);
	dst = opent("dst", 0, false);
	m->damage = true;
	ok(restore(dst, m, &rst, &err) != 0, "P11: damaged contents fail the restore");
	ok(strstr(err.msg, "the stored contents of"), "which says so: %.200s", err.msg);
	ok(!*shout("find dst -type f"), "and leaves nothing of them");
	m->damage = false;
	is(restore(dst, m, &rst, NULL), 0, "the next one");
	same("src", "dst", "P6: finishes it");
	hf_tree_close(dst);
}

static void somebody_was_faster(const char *name)
{
	if (!strcmp(name, "deep"))
		sh("mkdir dst/new/deep; echo mine >dst/new/deep/1; echo mine >dst/new/deep/zzz; ln -s /etc dst/new/deep/2; chmod 0777 dst/new/deep; chown games dst/new/deep");
}

static unsigned open_to_others;

static void who_may(void)
{
	struct stat st;

	if (!stat(path_of("dst/new/deep"), &st))
		open_to_others += st.st_uid == 5 || (st.st_mode & 0022);
}

/* a directory that comes into being while it is made with its files */
static void overtaken(struct memdb *m)
{
	struct hf_restore_opts o = { 0 };
	struct hf_restore_stat st = { 0 };
	struct hf_tree *dst;
	struct hf_err err = { 0 };
	uint64_t kept = 0;
	char id[64];

	sh("rm -rf dst; mkdir dst");
	mem_forget(m);
	dst = opent("dst", 0, false);
	at_rename = somebody_was_faster;
	at_link = who_may;
	is(hf_displaced_begin(path_of("state"), key, "r", "/dst", "offline-change", &o.keep, &err), 0, "begin");
	is(hf_restore(dst, &m->db, &o, &st, &err), 0, "restore");
	is(hf_displaced_end(o.keep, true, id, &kept, &err), 0, "end");
	at_rename = NULL;
	at_link = NULL;
	is(kept, 2, "P7: what came meanwhile is kept");
	is(open_to_others, 0, "P6: nothing is put into a directory of somebody else's before it is as it is to be");
	ok(!sh("[ -e dst/new/deep/zzz ] && rm dst/new/deep/zzz && touch -d @$(stat -c %%Y src/new/deep) dst/new/deep"), "what is in nobody's way stays");
	is(restore(dst, m, &st, NULL), 0, "once more");
	same("src", "dst", "P6: exact");
	ok(!*shout("find dst -name '.holdfast-*'"), "no leftovers");
	hf_tree_close(dst);
}

static void somebody_put_another(const char *name)
{
	if (!strcmp(name, "deep"))
		sh("n=$(echo dst/new/.holdfast-*); mv $n gone; mkdir $n");
}

/* the one that was filled is not the one that gets the name */
static void exchanged(struct memdb *m)
{
	struct hf_restore_stat st;
	struct hf_err err = { 0 };
	struct hf_tree *dst;

	sh("rm -rf dst gone; mkdir dst");
	mem_forget(m);
	dst = opent("dst", 0, false);
	at_rename = somebody_put_another;
	ok(restore(dst, m, &st, &err) != 0, "P5: a directory that was taken away fails the restore");
	at_rename = NULL;
	is(restore(dst, m, &st, NULL), 0, "the next one");
	same("src", "dst", "P6: is exact");
	hf_tree_close(dst);
}

/* what one that was killed left behind; and what only looks like it: the name can be given by who may write there */
static void left_behind(struct memdb *m)
{
	struct hf_restore_stat st;
	struct hf_tree *dst = opent("dst", 0, false);
	const char *d = tmpname("dddddddd"), *e = tmpname("eeeeeeee"), *f = tmpname("ffffffff");
	char at[64], want[256];
	bool mounted;

	sh("b=%s c=%s g=%s; mkdir -m 1700 dst/new/$b dst/$c; echo half >dst/new/$b/1; mkdir -p dst/gone/b; echo x >dst/gone/b/x; mkdir -m 1700 dst/gone/b/$g; : >dst/gone/b/$g/1",
	   tmpname("bbbbbbbb"), tmpname("cccccccc"), tmpname("gggggggg"));
	sh("d=%s e=%s f=%s; mkdir -m 755 dst/$d; echo mine >dst/$d/f; chown daemon dst/$d; mkdir -p dst/gone/a; mkdir -m 700 dst/gone/a/$e dst/$f; echo root >dst/gone/a/$e/f; echo x >dst/gone/a/x",
	   d, e, f);
	snprintf(at, sizeof(at), "dst/%s", f);
	mounted = !mount("none", path_of(at), "tmpfs", 0, "size=1m");
	is(restore(dst, m, &st, NULL), 0, "restore");
	if (mounted)
		umount(path_of(at));
	snprintf(want, sizeof(want), "./%s ./%s/f ./%s ./gone/a/%s ./gone/a/%s/f ", d, d, f, e, e);
	is(strcmp(shout("cd dst; find . -path '*/.holdfast-*' | sort | tr '\\n' ' '"), want),
	   0, "leftovers are gone, anybody else's are not");
	ok(!sh("[ ! -e dst/gone/b ] && [ -d dst/gone/a ]"), "what is to go goes, but for what holds one of those");
	is(restore(dst, m, &st, NULL), 0, "again");
	is(st.written + st.meta + st.removed, 0, "changes nothing");
	hf_tree_close(dst);
}

static void take_its_place(void)
{
	sh("mv dst/A taken; mkdir dst/A; chmod 777 dst/A; chown daemon dst/A; setfacl -d -m u:games:rwx dst/A");
}

static int after_1024(void *ctx, uint64_t done, uint64_t total)
{
	if (done == 1024)
		take_its_place();
	return 0;
}

/* a directory that takes the place of one that was made with its first thousand files */
static void another_since(void)
{
	struct hf_restore_opts o = { .progress = after_1024 };
	struct hf_restore_stat st = { 0 };
	struct hf_err err = { 0 };
	struct hf_tree *t;
	struct memdb m;

	mem_init(&m);
	sh("rm -rf big dst taken; mkdir -p big/A dst; chmod 755 big dst; umask 027; for i in $(seq -w 23); do echo $i >big/0$i; done; for i in $(seq -w 1100); do echo $i >big/A/$i; done; chmod 700 big/A");
	t = opent("big", 0, false);
	scan(t, &m, false);
	hf_tree_close(t);
	t = opent("dst", 0, false);
	hf_restore(t, &m.db, &o, &st, &err);
	ok(!sh("[ -e taken/0001 ]"), "another directory came into its place");
	ok(!*shout("getfacl -Rp dst | grep games"), "P6: nobody may do in it what he may not in the generation");
	hf_tree_close(t);
	mem_free(&m);
}

/* nobody looks at a new file in a private directory; but in the end it is seen how it is */
static void modes_of_its_own(struct memdb *m)
{
	struct hf_restore_stat st;
	struct hf_tree *dst;

	sh("rm -rf dst; mkdir -p dst/new/deep; chmod -R 700 dst");
	mem_forget(m);
	dst = opent("dst", 0, false);
	own_modes = true;
	is(restore(dst, m, &st, NULL), 0, "restore");
	own_modes = false;
	same("src", "dst", "P6: exact where new files get other modes");
	hf_tree_close(dst);
}

int main(void)
{
	struct hf_tree *src;
	struct memdb m;

	scratch_begin();
	mem_init(&m);
	sh("mkdir -p src/old/sub 'src/a b' src/new/deep src/was src/open src/set src/empty src/acl; for i in $(seq 150); do echo contents $i >src/old/f$i; echo $i >\"src/a b/$i\"; head -c $((i * 37)) /dev/urandom >src/new/deep/$i; done;"
	   "for i in $(seq 20); do echo $i >src/open/$i; echo $i >src/set/$i; echo $i >src/was/$i; echo $i >src/acl/$i; : >src/new/0$i; done; head -c 700000 /dev/urandom >src/new/big; truncate -s 300000 src/new/hole; ln src/new/deep/7 src/new/7; ln src/old/f9 src/9;"
	   "chown daemon:mail src/new/deep/1* src/new; chmod 6755 src/new/deep/12 src/new/deep/60; chmod 1777 src/new; chmod 000 src/new/deep/40; setfattr -n user.k -v v src/new/deep/50 src/new/deep/51; setfacl -m u:bin:rw src/new/deep/52 src/open/3;"
	   "setfacl -d -m g:mail:r src/new/deep; ln -s 'deep/1' src/new/link; mkfifo src/new/p; touch -h -d 2001-01-01 src/new/link src/new/deep src/old; chgrp -R mail src/set; chmod 2750 src/set");
	src = opent("src", 0, false);
	scan(src, &m, false);
	hf_tree_close(src);
	umask(0077);
	many(&m, false);
	many(&m, true);
	is(umask(0077), 0077, "the process has the mask that it had");
	left_alone();
	taken_in(false);
	taken_in(true);
	changed_since();
	called_off();
	counted();
	stumbled(&m);
	damaged(&m);
	overtaken(&m);
	exchanged(&m);
	left_behind(&m);
	modes_of_its_own(&m);
	another_since();
	mem_free(&m);
	return scratch_end();
}
