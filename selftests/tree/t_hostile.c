// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Restore into what resists: names exchanged for links while it runs, mounts, files that are busy or
 * immutable, a full disk, a read-only one (P5: resource, path and cause).
 */
#include "tree_test.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

static struct memdb m, odd;
static struct hf_tree *dst;
static struct hf_err err;
static struct hf_restore_stat rst;
static atomic_bool stop;
static atomic_ulong swaps;

/* by descriptor: the attack itself must not be led astray */
struct swap { int dir; const char *a, *b; };

/* at no moment is the name missing, and half the time it leads outside */
static void *exchange(void *arg)
{
	struct swap *s = arg;

	while (!stop) {
		if (!syscall(SYS_renameat2, s->dir, s->a, s->dir, s->b, RENAME_EXCHANGE))
			swaps++;
		else
			/* a restore took it away: put it back */
			if (symlinkat("../outside/d", s->dir, s->b) && errno == ENOENT)
				usleep(10);
	}
	return NULL;
}

#define OUTSIDE "find outside -printf '%%P %%u %%m %%T@ %%C@ %%n %%s %%y\\n' | sort; cat outside/d/f* outside/d/s/x"

static void exchanged(void)
{
	struct swap s[3] = { { .a = "d", .b = "zd" }, { .a = "s", .b = "zs" }, { .a = "e", .b = "ze" } };
	unsigned done = 0, failed = 0;
	char *before;
	pthread_t th[3];
	struct hf_tree *src;

	sh("mkdir -p src/d/s src/e/s outside/d/s outside/e/s; for i in $(seq 30); do echo inside >src/d/f$i; echo inside >src/e/f$i; echo sentinel >outside/d/f$i; done;"
	   "echo inside >src/d/s/x; echo inside >src/e/s/x; echo sentinel >outside/d/s/x; ln src/d/f1 src/d/s/l; ln src/d/f1 src/e/l; chmod 604 src/d/f*; chown -R daemon src");
	src = opent("src", 0, false);
	scan(src, &m, false);
	sh("for i in $(seq 15); do echo other >src/d/f$i; done; rm src/e/l; ln src/d/f2 src/e/l; chmod 640 src/d/f*; chown -R bin src; rm src/e/f3");
	ok(!sh("setfacl -m u:games:rw src/d/f9"), "an ACL can be set here");
	scan(src, &odd, false);
	hf_tree_close(src);
	before = strdup(shout(OUTSIDE));
	/* in the tree the names of directories are exchanged for links to the same names outside */
	sh("mkdir -p dst/d/s dst/e/s; ln -s ../outside/d dst/zd; ln -s ../../outside/d/s dst/d/zs; ln -s /proc/self/cwd dst/ze");
	stop = false;
	/* all of them before any name is exchanged: that of one leads outside then */
	for (int i = 0; i < 3; i++)
		s[i].dir = open(path_of(i == 1 ? "dst/d" : "dst"), O_PATH | O_DIRECTORY);
	for (int i = 0; i < 3; i++)
		pthread_create(&th[i], NULL, exchange, &s[i]);
	for (int i = 0; i < 60; i++) {
		if (restore_amid("dst", i % 2 ? &odd : &m))
			failed++;
		else
			done++;
		if (strcmp(before, shout(OUTSIDE)))
			break;
	}
	stop = true;
	for (int i = 0; i < 3; i++) {
		pthread_join(th[i], NULL);
		close(s[i].dir);
	}
	ok(!strcmp(before, shout(OUTSIDE)), "P6: nothing outside is touched while names are exchanged for links (%u done, %u gave up, %lu exchanges)",
	   done, failed, (unsigned long)swaps);
	ok(swaps > 100, "they were");
	sh("cd dst; for i in d zd e ze d/s d/zs; do [ ! -L $i ] || rm $i; done");
	dst = opent("dst", 0, true);
	is(restore(dst, &m, &rst, NULL), 0, "left in peace it finishes");
	is(differences(dst, &m), 0, "exactly");
	ok(!strcmp(before, shout(OUTSIDE)), "and nothing outside is touched");
	free(before);
}

/* it fails, and says where and why; then the cause goes away */
static void refused(const char *what, int want, const char *path, const char *why, const char *mend)
{
	int ret;

	memset(&err, 0, sizeof(err));
	ret = restore(dst, &m, &rst, &err);
	ok(ret == want && strstr(err.msg, path) && strstr(err.msg, why), "P5: %s: %d %s", what, ret, err.msg);
	ok(!*shout("find dst -xdev -name '.holdfast-*'"), "no temporary file is left");
	if (sh("%s", mend))
		printf("# cannot: %s\n", mend);
	is(restore(dst, &m, &rst, NULL), 0, "then it works");
	is(differences(dst, &m), 0, "exactly");
}

static void obstacles(void)
{
	pid_t pid;
	int fd, status;

	sh("echo x >>dst/d/f5; mount -t tmpfs none dst/e");
	refused("a mount over a directory of the generation", -EXDEV, "/dst/e", "mount", "umount dst/e");
	sh(": >dst/d/f6; mount --bind outside/d/f6 dst/d/f6");
	refused("a mount over a file", -EXDEV, "/dst/d/f6", "mount", "umount dst/d/f6");
	ok(!strcmp(shout("cat outside/d/f6"), "sentinel\n"), "what is mounted there is not touched");
	if (!sh("rm -r dst/d/s; touch dst/d/f7; chattr +i dst/d 2>/dev/null"))
		refused("an immutable directory", -EPERM, "/dst/d/s", "immutable", "chattr -i dst/d");
	if (!sh("echo x >>dst/d/f7; chattr +a dst/d/f7 2>/dev/null"))
		refused("a file that may only grow", -EPERM, "/dst/d/f7", "append-only", "chattr -a dst/d/f7");
	if (!sh("echo x >dst/d/extra; chattr +i dst/d/extra 2>/dev/null"))
		refused("an immutable file that is to go", -EPERM, "/dst/d/extra", "immutable", "chattr -i dst/d/extra");
	hf_tree_close(dst);
	sh("mount --bind dst dst && mount -o remount,bind,ro dst; true");
	dst = opent("dst", 0, true);
	sh("mount -o remount,bind,rw dst; rm dst/d/f8; mount -o remount,bind,ro dst");
	refused("a read-only mount", -EROFS, "/dst/d/f8", "Read-only", "mount -o remount,bind,rw dst");
	hf_tree_close(dst);
	sh("umount dst");
	/* a full disk: what is there stays whole */
	sh("mkdir small; mount -t tmpfs -o size=1m,nr_inodes=1k none small && mkdir small/t && head -c 300000 /dev/zero | tr '\\0' o >small/t/big && head -c 700000 /dev/urandom >small/fill;"
	   "mkdir bsrc; head -c 400000 /dev/urandom >bsrc/big");
	struct hf_tree *src = opent("bsrc", 0, false), *t = opent("small/t", 0, false);
	struct memdb b;

	mem_init(&b);
	scan(src, &b, false);
	memset(&err, 0, sizeof(err));
	ok(restore(t, &b, &rst, &err) == -ENOSPC && strstr(err.msg, "/small/t/big") && strstr(err.msg, "No space"), "P5: a full disk: %s", err.msg);
	ok(!sh("[ $(stat -c %%s small/t/big) = 300000 ] && [ $(tr -d o <small/t/big | wc -c) = 0 ] && [ $(ls -A small/t | wc -l) = 1 ]"), "P6: the old file is whole, and nothing else is left");
	sh("rm small/fill");
	is(restore(t, &b, &rst, NULL), 0, "then it works");
	is(differences(t, &b), 0, "exactly");
	hf_tree_close(t);
	hf_tree_close(src);
	mem_free(&b);
	sh("umount small");

	/* busy: a program that runs, a file that is open, mapped and locked */
	dst = opent("dst", 0, true);
	sh("cp /bin/sleep dst/d/f10");
	pid = fork();
	if (!pid) {
		execl(path_of("dst/d/f10"), "sleep", "60", (char *)NULL);
		_exit(1);
	}
	usleep(100000);
	sh("echo old-contents >dst/d/f11");
	fd = open(path_of("dst/d/f11"), O_RDWR);
	is(restore(dst, &m, &rst, NULL), 0, "over a program that runs and a file that is open");
	is(differences(dst, &m), 0, "exactly");
	char buf[64] = "";

	ok(pread(fd, buf, sizeof(buf), 0) == 13 && !strncmp(buf, "old-contents", 12), "who has it open still reads what he opened");
	ok(pwrite(fd, "late", 4, 0) == 4 && !differences(dst, &m), "and what he writes goes there");
	close(fd);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

static unsigned stayed;
static void stays(void *ctx, const char *rel)
{
	stayed++;
	ok(!strcmp(rel, "kept") || !strcmp(rel, "kept/deep"), "told: %s", rel);
}

static void excluded(void)
{
	static const char *const ex[] = { "*.pid" };
	struct hf_restore_opts o = { .stays = stays };
	struct hf_tree *t = NULL;

	sh("mkdir -p dst/kept/deep dst/gone; echo 1 >dst/kept/deep/x.pid; echo 1 >dst/kept/file; echo 1 >dst/gone/file");
	is(hf_tree_open("/", path_of("dst"), 0, false, ex, 1, &t, &err), 0, "a tree with an excluded name");
	memset(&rst, 0, sizeof(rst));
	is(hf_restore(t, &m.db, &o, &rst, &err), 0, "restore");
	is(stayed, 2, "the directories that stay for it are told");
	ok(!sh("[ -e dst/kept/deep/x.pid ] && [ ! -e dst/kept/file ] && [ ! -e dst/gone ]"), "and nothing else of them stays");
	is(differences(t, &m), 0, "that is no difference");
	is(hf_restore(t, &m.db, NULL, &rst, &err), 0, "again");
	hf_tree_close(t);
}

int main(void)
{
	scratch_begin();
	mem_init(&m);
	mem_init(&odd);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		printf("Bail out! no mount namespace\n");
		return 1;
	}
	exchanged();
	obstacles();
	excluded();
	hf_tree_close(dst);
	mem_free(&m);
	mem_free(&odd);
	return scratch_end();
}
