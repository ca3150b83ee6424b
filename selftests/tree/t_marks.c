// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P1: a mark may only be set where a later change gives another change time.
 * What happens between two steps is forced: the calls of the C library that
 * stand between them are defined here.
 */
#include "tree_test.h"
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <time.h>

static void (*after_clean)(void), (*at_syncfs)(void);

int sync_file_range(int fd, off_t off, off_t n, unsigned flags)
{
	int ret = syscall(SYS_sync_file_range, fd, off, n, flags);

	if (after_clean)
		after_clean();
	return ret;
}

int syncfs(int fd)
{
	int ret = syscall(SYS_syncfs, fd);

	if (at_syncfs)
		at_syncfs();
	return ret;
}

static void (*after_keep)(void);

int fdatasync(int fd)
{
	void (*fn)(void) = after_keep;
	int ret = syscall(SYS_fdatasync, fd);

	after_keep = NULL;
	if (fn)
		fn();
	return ret;
}

static char *map;
static bool old_times;

/* a page becomes dirty right after the file was cleaned, and we sleep for long */
static void store_and_sleep(void)
{
	memcpy(map, "first ", 6);
	if (old_times)
		sh("touch -d @1000000000 m/f");
	usleep(60000);
}

static void mapped_store(bool compare)
{
	struct hf_tree *t;
	struct memdb m;
	int fd;

	mem_init(&m);
	sh("rm -rf m; mkdir m; head -c 4096 /dev/zero >m/f");
	t = opent("m", 0, false);
	scan(t, &m, false);
	usleep(60000);
	fd = open(path_of("m/f"), O_RDWR);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || map == MAP_FAILED) {
		ok(0, "a mapping");
		return;
	}
	if (compare) {
		/* the same bytes as before, so that it is found equal */
		memset(map, 0, 4096);
		memcpy(map, "first ", 6);
		sh("touch -d @1000000000 m/f");
		scan(t, &m, false);
		sh("touch m/f; touch -d @1000000000 m/f");
	}
	old_times = compare;
	after_clean = store_and_sleep;
	if (compare)
		differences(t, &m);
	else
		scan(t, &m, false);
	after_clean = NULL;
	usleep(60000);
	memcpy(map, "second", 6);
	scan(t, &m, false);
	/* marks are not believed by a full one */
	is(scan(t, &m, true).put, 0, compare ? "after a comparison the second store is seen" :
	   "after a capture the second store is seen");
	munmap(map, 4096);
	close(fd);
	hf_tree_close(t);
	mem_free(&m);
}

/* Where nothing is ever written back a page stays dirty, and a further store into it
 * changes no time: marks are not believed there. */
static void blind_store(void)
{
	struct hf_capture_stat st = { 0 };
	struct hf_err err = { 0 };
	struct hf_tree *t;
	struct memdb m;
	int fd;

	mem_init(&m);
	sh("rm -rf m; mkdir m");
	if (mount("none", path_of("m"), "tmpfs", 0, "size=1m")) {
		skip("stores on tmpfs: no mounts here");
		return;
	}
	sh("head -c 4096 /dev/zero >m/f; echo still >m/still");
	t = opent("m", 0, false);
	fd = open(path_of("m/f"), O_RDWR);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || map == MAP_FAILED) {
		ok(0, "a mapping");
		return;
	}
	memcpy(map, "first ", 6);
	usleep(60000);
	scan(t, &m, false);
	ok(hf_tree_blind(t), "tmpfs is known to keep no sign of stores");
	memcpy(map, "second", 6);
	is(hf_capture_name(t, &m.db, "f", &st, &err), 0, "a name is captured there");
	is(st.put, 1, "with what was stored since");
	memcpy(map, "third ", 6);
	is(differences(t, &m), 1, "a comparison sees the next store");
	is(scan(t, &m, false).put, 1, "and so does a scan");
	is(scan(t, &m, false).put, 0, "which finds nothing else");
	munmap(map, 4096);
	close(fd);
	hf_tree_close(t);
	umount(path_of("m"));
	mem_free(&m);
}

static void change_again(void) { sh("echo keep2 >m/t/f"); }

static void second_begins(void)
{
	struct timespec now;

	do
		clock_gettime(CLOCK_REALTIME, &now);
	while (now.tv_nsec > 200000000);
}

/* Where times are whole seconds, two changes in one of them are told apart by their contents alone. */
static void coarse_times(void)
{
	static const uint8_t key[32] = { 5 };
	struct hf_restore_stat rst = { 0 };
	struct hf_restore_opts o = { 0 };
	struct hf_err err = { 0 };
	struct hf_tree *t, *src;
	struct memdb m, g;
	uint64_t kept = 0;

	mem_init(&m);
	mem_init(&g);
	sh("rm -rf m; mkdir m");
	if (sh("truncate -s 8M img && mkfs.ext4 -q -F -I 128 img && mount -o loop img m") || sh("mkdir m/t")) {
		skip("times of whole seconds: no such filesystem here");
		return;
	}
	t = opent("m/t", 0, false);
	second_begins();
	sh("echo first >m/t/f; sleep 0.1");
	scan(t, &m, false);
	sh("echo other >m/t/f; sleep 0.05");
	is(scan(t, &m, false).put, 1, "P1: a change in the second of the one before is seen");
	second_begins();
	sh("mkdir g; echo third >g/f; touch -d @1000000000 g/f");
	src = opent("g", 0, false);
	scan(src, &g, false);
	is(restore(t, &g, &rst, NULL), 0, "restore");
	sh("sleep 0.1; echo mine! >m/t/f; sleep 0.05; touch -r g/f m/t/f");
	is(restore(t, &g, &rst, NULL), 0, "another one");
	ok(!sh("cmp -s g/f m/t/f"), "P6: sees what was changed in the second of the first");
	second_begins();
	sh("echo keep1 >m/t/f");
	is(hf_displaced_begin(path_of("state"), key, "r", "/m/t", "offline-change", &o.keep, &err), 0, "begin");
	after_keep = change_again;
	is(hf_restore(t, &g.db, &o, &rst, &err), 0, "one that keeps aside");
	is(hf_displaced_end(o.keep, true, NULL, &kept, &err), 0, "end");
	is(kept, 2, "P7: what was changed in the second in which it was kept is kept too");
	hf_tree_close(src);
	hf_tree_close(t);
	sh("umount m; rm img");
	mem_free(&m);
	mem_free(&g);
}

static void meddle(void)
{
	if (chown(path_of("dst/f"), 1234, 1234) || chown(path_of("dst/d"), 1234, 1234) ||
	    setxattr(path_of("dst/g"), "user.mine", "x", 1, 0))
		printf("# cannot meddle: %s\n", strerror(errno));
	usleep(60000);
}

/* owner and attributes that another process sets while a restore runs are its changes */
static void changed_in_restore(void)
{
	struct hf_tree *src, *dst;
	struct hf_restore_stat rst;
	struct hf_capture_stat st;
	struct memdb m;

	mem_init(&m);
	sh("mkdir -p src/d dst/d; echo f >src/f; echo g >src/g; echo h >src/d/h; chmod 700 src/d");
	src = opent("src", 0, false);
	scan(src, &m, false);
	dst = opent("dst", HF_TREE_NUMBERS, false);
	at_syncfs = meddle;
	is(restore(dst, &m, &rst, NULL), 0, "restore");
	at_syncfs = NULL;
	usleep(60000);
	st = scan(dst, &m, false);
	is(st.put, 3, "the next scan finds all three");
	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
}

int main(void)
{
	struct statfs fs;

	scratch_begin();
	if (!statfs(top, &fs) && fs.f_type == OVERLAYFS_SUPER_MAGIC) {
		skip("mapped stores: the scratch directory is on a filesystem that gives no sign of them");
	} else {
		mapped_store(false);
		mapped_store(true);
	}
	blind_store();
	coarse_times();
	changed_in_restore();
	return scratch_end();
}
