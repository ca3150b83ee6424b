// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Each allocation of the module fails once.
 *
 *	faults load FILE	while it is loaded; it is not, afterwards
 *	faults each DIR		at each thing that it is asked, and that happens to a
 *				tree below DIR
 *	faults stores DIR	stores to a shared mapping in a tree below DIR, while
 *				allocations fail at random: a work notes them, which no
 *				fail-nth of ours reaches
 *
 * Who has set failslab up says which allocations are the module's (debug/lib.sh);
 * this process fails the n-th of them (/proc/self/fail-nth), for each n until there
 * are no more.
 *
 * What is asked may be refused with ENOMEM, and is done when it is asked again.
 * What happens is no concern of the module's (P9), and is never lost (P2): an entry
 * or one above it that is to be scanned stands for it; and after a scan the tree is
 * as good as before.
 */
int hfnl_main(int argc, char **argv);
#define main hfnl_main
#include "hfnl.c"
#undef main
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "../tap.h"

#define MOST 1000
#define STORES 100

static int nth_fd, held;
static size_t trees;

static void fail_nth(int n)
{
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%d", n);

	if (pwrite(nth_fd, buf, len, 0) != len) {
		printf("Bail out! fail-nth: %s\n", strerrorname_np(errno));
		exit(1);
	}
}

/* Whether the allocation was met; none fails any more. */
static bool has_failed(void)
{
	char buf[16] = "";

	if (pread(nth_fd, buf, sizeof(buf) - 1, 0) <= 0) {
		printf("Bail out! fail-nth: %s\n", strerrorname_np(errno));
		exit(1);
	}
	fail_nth(0);
	return !atoi(buf);
}

static int touch(const char *path)
{
	return write_file(path, "x");
}

static int barrier(void)
{
	int ret;

	do
		ret = simple(HOLDFAST_CMD_BARRIER, NLM_F_ACK, NULL);
	while (ret == -EAGAIN);
	return ret;
}

/* Whether the dump has @path, "" for the root, or something above it that is to be scanned. */
static bool covered(const char *path, bool scan)
{
	for (size_t i = 0; i < nseen; i++) {
		const char *p = seen[i].path;
		size_t len = strlen(p);

		if (!strcmp(p, path) && (seen[i].scan || !scan))
			return true;
		if (seen[i].scan && !strncmp(p, path, len) && (!len || path[len] == '/'))
			return true;
	}
	return false;
}

/*
 * What happens: before() with nothing failing, and what it changed acknowledged;
 * then change(), of which names[] are to tell; a change of probe is noted after
 * the scan; after() for the next time.
 */

static int nothing(void)
{
	return 0;
}

static int make_file(void)
{
	return touch("t/f");
}

static int create_file(void)
{
	int fd = open("t/f", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	return fd < 0 || close(fd) ? -errno : 0;
}

static int remove_file(void)
{
	return SYS(unlink("t/f"));
}

static int open_file(void)
{
	held = open("t/f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return SYS(held < 0);
}

static int write_held(void)
{
	return SYS(write(held, "y", 1) != 1);
}

static int close_held(void)
{
	return SYS(close(held) || unlink("t/f"));
}

static int chmod_file(void)
{
	return SYS(chmod("t/f", 0600));
}

static int chmod_root(void)
{
	return SYS(chmod("t", 0700) || chmod("t", 0755));
}

static int rename_file(void)
{
	return SYS(rename("t/f", "t/g"));
}

static int remove_renamed(void)
{
	return SYS(unlink("t/g"));
}

static int make_dir(void)
{
	return SYS(mkdir("t/d", 0755));
}

static int remove_dir(void)
{
	return SYS(rmdir("t/d/e/f") || rmdir("t/d/e") || rmdir("t/d"));
}

static int remove_one_dir(void)
{
	return SYS(rmdir("t/d"));
}

static int make_deep(void)
{
	return SYS(mkdir("t/d", 0755) || mkdir("t/d/e", 0755) || mkdir("t/d/e/f", 0755));
}

static int make_outside(void)
{
	return SYS(mkdir("o/d", 0755) || mkdir("o/d/e", 0755) || mkdir("o/d/e/f", 0755));
}

static int move_in(void)
{
	return SYS(rename("o/d", "t/d"));
}

static int move_out(void)
{
	return SYS(rename("t/d", "o/d"));
}

static int remove_outside(void)
{
	return SYS(rmdir("o/d/e/f") || rmdir("o/d/e") || rmdir("o/d"));
}

static int rename_dir(void)
{
	return SYS(rename("t/d", "t/r"));
}

static int rename_back(void)
{
	return SYS(rename("t/r", "t/d")) ?: remove_dir();
}

static int empty_dir(void)
{
	int ret = touch("t/d/y");

	return ret ? ret : SYS(unlink("t/d/y") || rmdir("t/d"));
}

static const struct happening {
	const char *name;
	int (*before)(void), (*change)(void);
	const char *names[2], *scan;
	const char *probe;
	int (*after)(void);
	bool ready;	/* what it needs lies ready: nothing is allocated */
} happenings[] = {
	{ "a file is made", nothing, create_file, { "f" }, .after = remove_file },
	{ "written and closed", make_file, make_file, { "f" }, .after = remove_file, .ready = true },
	{ "written and not closed", open_file, write_held, { "f" }, .after = close_held, .ready = true },
	{ "its mode is changed", make_file, chmod_file, { "f" }, .after = remove_file, .ready = true },
	{ "renamed", make_file, rename_file, { "f", "g" }, .after = remove_renamed },
	{ "removed", make_file, remove_file, { "f" }, .after = nothing, .ready = true },
	{ "the root's mode is changed", nothing, chmod_root, { "" }, .after = nothing, .ready = true },
	{ "a directory is made", nothing, make_dir, { "d" }, "d", "t/d/x", remove_one_dir, false },
	{ "with directories in it", nothing, make_deep, { "d" }, "d", "t/d/e/f/x", remove_dir, false },
	{ "renamed with all that is in it", make_deep, rename_dir, { "d", "r" }, "r", "t/r/e/f/x",
	  rename_back, false },
	{ "moved in", make_outside, move_in, { "d" }, "d", "t/d/e/f/x", remove_dir, false },
	{ "moved out", make_deep, move_out, { "d" }, .after = remove_outside, .ready = true },
	{ "emptied and removed", make_dir, empty_dir, { "d" }, .after = nothing },
};

/* as the names of the tree are below t/ */
static bool told(const struct happening *h)
{
	for (int i = 0; i < 2 && h->names[i]; i++)
		if (!covered(h->names[i], h->scan && !strcmp(h->names[i], h->scan)))
			return false;
	return true;
}

static bool as_before(const struct happening *h)
{
	if (!h->probe)
		return true;
	return !touch(h->probe) && !barrier() && !dirty(false) && covered(h->probe + 2, false) &&
	       !unlink(h->probe);
}

static void happen(const struct happening *h)
{
	const char *bad = NULL;
	int n, ret = 0;
	bool failed = true;

	for (n = 0; failed && !bad && n < MOST; n++) {
		ret = h->before();
		if (ret || (ret = settle())) {
			bad = "the tree does not come to rest";
			break;
		}
		fail_nth(n + 1);
		ret = h->change();
		failed = has_failed();
		if (ret)
			bad = "P9: it failed";
		else if ((ret = barrier()) || (ret = dirty(false)))
			bad = "the dirty set cannot be read";
		else if (!told(h))
			bad = "P2: it was not noted";
		else if ((ret = settle()))
			bad = "it cannot be acknowledged";
		else if (!as_before(h))
			bad = "P2: what came after it was not noted";
		if (bad) {
			printf("# at allocation %d:", n + 1);
			for (size_t i = 0; i < nseen; i++)
				printf(" %s%s", seen[i].path, seen[i].scan ? "/..." : "");
			printf("\n");
		}
		h->after();
	}
	ok(!bad, "P2, P9: %s, and each of %d allocations fails", h->name, n - 1);
	if (bad)
		printf("# %s: %d %s\n", bad, ret, why);
	ok((n > 1) != h->ready, "%s: %s", h->name,
	   h->ready ? "what it needs lies ready" : "there was one to fail");
}

/*
 * What is asked: with before(), it may be refused, and is done the next time.
 */

static void count_tree(const struct nlmsghdr *h)
{
	trees++;
}

static int list_trees(void)
{
	trees = 0;
	request(family, HOLDFAST_CMD_TREE_GET, NLM_F_DUMP);
	return exchange(count_tree);
}

static int ask_version(void)
{
	request(family, HOLDFAST_CMD_VERSION_GET, NLM_F_ACK);
	return exchange(NULL);
}

static int ask_tree(void)
{
	return simple(HOLDFAST_CMD_TREE_GET, NLM_F_ACK, NULL);
}

static int ask_dirty(void)
{
	int ret = dirty(false);

	return ret ? ret : covered("f", false) ? 0 : -ENODATA;
}

static int ask_ack(void)
{
	return ack(seen, nseen);
}

static int dump_file(void)
{
	int ret = touch("t/f");

	return ret ? ret : dirty(false);
}

static int arrive(void)
{
	int ret = make_outside();

	return ret ? ret : move_in();
}

static int mark_below(void)
{
	char *dirs[] = { "t/d", "t/d/e", "t/d/e/f" };

	return mark_dirs(3, dirs);
}

static int remove_marked(void)
{
	return remove_dir() ?: settle();
}

static int exclude_on(void)
{
	return exclude(true);
}

static int exclude_off(void)
{
	return exclude(false);
}

static int add_other(void)
{
	uint32_t one = tree;
	char *where = rootdir;
	int ret;

	rootdir = NULL;
	ret = add("o", NULL);
	if (!ret)
		ret = simple(HOLDFAST_CMD_TREE_DEL, NLM_F_ACK, NULL);
	/* of one that was refused nothing is left */
	tree = one;
	free(rootdir);
	rootdir = where;
	return ret;
}

static const struct asked {
	const char *name;
	int (*before)(void), (*ask)(void), (*after)(void);
} questions[] = {
	{ "version-get", nothing, ask_version, nothing },
	{ "tree-get", nothing, ask_tree, nothing },
	{ "tree-get of all", nothing, list_trees, nothing },
	{ "tree-add and tree-del", nothing, add_other, nothing },
	{ "mark", arrive, mark_below, remove_marked },
	{ "barrier", make_file, barrier, remove_file },
	{ "dirty-get", make_file, ask_dirty, remove_file },
	{ "ack", dump_file, ask_ack, remove_file },
	{ "exclude", nothing, exclude_on, exclude_off },
};

static void ask(const struct asked *q)
{
	int n, ret = 0, refused = 0, before;
	const char *bad = NULL;
	bool failed = true;

	for (n = 0; failed && !bad && n < MOST; n++) {
		ret = q->before();
		if (ret || (ret = list_trees())) {
			bad = "before it";
			break;
		}
		before = trees;
		fail_nth(n + 1);
		ret = q->ask();
		failed = has_failed();
		refused += !!ret;
		if (ret && (!failed || (ret != -ENOMEM && ret != -ENOBUFS)))
			bad = "it was refused";
		else if (ret && (ret = q->ask()))
			bad = "it was refused once more";
		else if ((ret = list_trees()) || (int)trees != before)
			bad = "there are more trees now, or fewer";
		else if ((ret = q->after()))
			bad = "after it";
	}
	ok(!bad, "%s: each of %d allocations fails, %d of them to the asker", q->name, n - 1, refused);
	if (bad)
		printf("# %s: allocation %d: %d %s\n", bad, n, ret, why);
}

/* until there was memory for it */
static int insist(int (*asked)(void))
{
	int ret;

	do
		ret = asked();
	while (ret == -ENOMEM || ret == -ENOBUFS);
	return ret;
}

static int add_tree(void)
{
	return add("t", NULL);
}

static int dump_all(void)
{
	return dirty(false);
}

static int stores(const char *dir)
{
	int fd, i, ret = 0;
	const char *bad = NULL;
	char *page;

	if (chdir(dir) || mkdir("t", 0755) || touch("t/f") || start() || insist(add_tree)) {
		printf("Bail out! there is no tree: %s\n", why);
		return 1;
	}
	fd = open("t/f", O_RDWR | O_CLOEXEC);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED) {
		printf("Bail out! mmap: %s\n", strerrorname_np(errno));
		return 1;
	}
	for (i = 0; i < STORES && !bad; i++) {
		if ((ret = insist(settle)) ||
		    (ret = SYS(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE |
					       SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER))))
			bad = "the file does not get clean";
		(*(volatile char *)page)++;
		if (!bad && ((ret = insist(barrier)) || (ret = insist(dump_all))))
			bad = "the dirty set cannot be read";
		if (!bad && !covered("f", false))
			bad = "it was not noted";
	}
	ok(!bad, "P2: each of %d stores to a shared mapping is noted", STORES);
	if (bad)
		printf("# %s: store %d: %d %s\n", bad, i, ret, why);
	munmap(page, 4096);
	close(fd);
	ret = simple(HOLDFAST_CMD_TREE_DEL, NLM_F_ACK, NULL);
	ok(!ret && !unlink("t/f") && !rmdir("t"), "nothing is left");
	return tap_done();
}

static int load(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), n, ret = 0, refused = 0;
	bool failed = true;

	for (n = 0; failed && !ret && n < MOST; n++) {
		fail_nth(n + 1);
		ret = SYS(syscall(SYS_finit_module, fd, "", 0));
		failed = has_failed();
		if (!ret)
			ret = SYS(syscall(SYS_delete_module, "holdfast", O_NONBLOCK));
		else if (failed && ret == -ENOMEM)
			refused++, ret = 0;
	}
	ok(!ret, "it is loaded, and each of %d allocations fails, %d with ENOMEM", n - 1, refused);
	if (ret)
		printf("# allocation %d: %s\n", n, strerrorname_np(-ret));
	ok(refused, "there was one to fail");
	return tap_done();
}

static int each(const char *dir)
{
	int ret;

	if (chdir(dir) || mkdir("t", 0755) || mkdir("o", 0755) || start() || add("t", NULL) ||
	    walk_at("") || settle()) {
		printf("Bail out! there is no tree: %s\n", why);
		return 1;
	}
	for (size_t i = 0; i < sizeof(happenings) / sizeof(*happenings); i++)
		happen(&happenings[i]);
	for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++)
		ask(&questions[i]);
	ret = simple(HOLDFAST_CMD_TREE_DEL, NLM_F_ACK, NULL);
	ok(!ret && !rmdir("t") && !rmdir("o"), "nothing is left");
	return tap_done();
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth_fd < 0) {
		printf("1..0 # SKIP the kernel cannot fail allocations\n");
		return 4;
	}
	if (argc == 3 && !strcmp(argv[1], "load"))
		return load(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "each"))
		return each(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "stores"))
		return stores(argv[2]);
	fprintf(stderr, "usage: faults load FILE | each DIR | stores DIR\n");
	return 2;
}
