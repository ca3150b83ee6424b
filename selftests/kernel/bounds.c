// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bounds NAME=DIR...: the dirty set and the marks when there is hardly any room
 * for them. A change is always covered: by its entry, by that of its directory
 * as a whole, or by that of the tree; never by less, and until it is acknowledged.
 *
 * The bounds are the module's, for all trees: nothing else may have one then.
 */
#include <stdint.h>
#include <sys/stat.h>
#include "consumer.h"

#define DIRS 4
#define FILES 10
#define MANY 300
#define WRITES 100000

static const char *name;	/* of the filesystem, for what is printed */

static unsigned long bound(const char *which, unsigned long to)
{
	char path[64];
	unsigned long was = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/holdfast/parameters/%s", which);
	f = fopen(path, "r+");
	if (!f || fscanf(f, "%lu", &was) != 1)
		die(path, errno);
	rewind(f);
	if (fprintf(f, "%lu", to) < 0 || fclose(f))
		die(path, errno);
	return was;
}

static const char *below(const char *dir, const char *rel)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, rel);
	return path;
}

static void touch(const char *dir, const char *rel)
{
	int fd = open(below(dir, rel), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || pwrite(fd, "x", 1, 0) != 1 || close(fd))
		die(rel, errno);
}

static void make_dir(const char *dir, const char *rel)
{
	if (mkdir(below(dir, rel), 0755))
		die(rel, errno);
}

/* A tree of DIRS directories, d0 to d3, that is clean. */
static void begin(struct consumer *c, const char *dir)
{
	char rel[16];

	if (mkdir(dir, 0755))
		die(dir, errno);
	for (int d = 0; d < DIRS; d++) {
		sprintf(rel, "d%d", d);
		make_dir(dir, rel);
	}
	add_tree(c, dir, NULL);
	for (int d = 0; d < DIRS; d++) {
		sprintf(rel, "d%d", d);
		if (mark_dir(c, rel))
			die("mark", 0);
	}
	look(c);
	ack_dumped(c);
}

static void end(struct consumer *c)
{
	char command[PATH_MAX];

	snprintf(command, sizeof(command), "rm -rf %s", c->dir);
	del_tree(c);
	if (system(command))
		die(command, 0);
}

static const struct entry *whole(const struct consumer *c, const char *path)
{
	const struct entry *e = find(c, path);

	return e && (e->state & HOLDFAST_STATE_SUBTREE) ? e : NULL;
}

static bool shown(const struct consumer *c, bool good)
{
	if (!good)
		show_dump(c);
	return good;
}

/* No room at all: the tree as a whole, which takes none. */
static void nothing(void)
{
	struct consumer c;
	unsigned long was;
	struct entry e;

	begin(&c, "tree");
	was = bound("dirty_max", 0);
	touch("tree", "d0/f");
	touch("tree", "d1/f");
	make_dir("tree", "new");
	touch("tree", "new/f");
	rename("tree/d0/f", "tree/g");
	look(&c);
	ok(shown(&c, c.n == 1 && whole(&c, "")), "%s: P2: without room the tree as a whole is noted", name);
	is(told(0, HOLDFAST_A_DIRTY_BYTES), 0, "which takes no memory");
	ok(c.state.dirty == 1 && c.state.since, "%s: it is one entry, and old", name);
	if (!c.n) {
		bound("dirty_max", was);
		end(&c);
		return;
	}
	e = c.e[0];
	touch("tree", "d2/f");
	ack(&c, e.id, e.seq);
	look(&c);
	ok(shown(&c, c.n == 1 && whole(&c, "") && c.e[0].seq > e.seq),
	   "%s: P2: it stays if anything changed since it was dumped", name);
	ack_dumped(&c);
	look(&c);
	ok(shown(&c, !c.n), "%s: and is acknowledged if nothing did", name);
	touch("tree", "d3/f");
	look(&c);
	ok(shown(&c, c.n == 1 && whole(&c, "")), "%s: P2: until the next change", name);
	bound("dirty_max", was);
	touch("tree", "d3/g");
	look(&c);
	ok(whole(&c, "") && covered(&c, "d3/g"), "%s: room alone does not make it smaller", name);
	mark_dir(&c, "new");
	ack_dumped(&c);
	touch("tree", "d3/g");
	look(&c);
	ok(shown(&c, c.n == 1 && find(&c, "d3/g")), "%s: acknowledged, names are noted again", name);
	end(&c);
}

static unsigned int missed(const struct consumer *c, const bool changed[DIRS][FILES])
{
	unsigned int n = 0;
	char rel[16];

	for (int d = 0; d < DIRS; d++) {
		for (int f = 0; f < FILES; f++) {
			sprintf(rel, "d%d/f%d", d, f);
			n += changed[d][f] && !covered(c, rel);
		}
	}
	return n;
}

/* Room for some: after each change all that were made so far are covered. */
static void few(void)
{
	static const unsigned long room[] = { 1, 150, 400, 1000, 2500 };
	bool changed[DIRS][FILES];
	unsigned int lost = 0, trees = 0, dirs = 0, over = 0;
	struct consumer c;
	unsigned long was = 0;
	char rel[16];

	begin(&c, "tree");
	for (size_t i = 0; i < sizeof(room) / sizeof(room[0]); i++) {
		unsigned long before = bound("dirty_max", room[i]);

		was = was ? was : before;
		memset(changed, 0, sizeof(changed));
		for (int k = 0; k < DIRS * FILES; k++) {
			int d = k % DIRS, f = k / DIRS;

			sprintf(rel, "d%d/f%d", d, f);
			touch("tree", rel);
			changed[d][f] = true;
			look(&c);
			lost += missed(&c, (const bool (*)[FILES])changed);
			over += told(0, HOLDFAST_A_DIRTY_BYTES) > room[i];
		}
		trees += !!whole(&c, "");
		for (int d = 0; d < DIRS; d++) {
			sprintf(rel, "d%d", d);
			dirs += !!whole(&c, rel);
		}
		ack_dumped(&c);
		look(&c);
		lost += c.n;
	}
	ok(!lost, "%s: P2: with room for some entries every change is covered, and acknowledged", name);
	ok(!over, "%s: and the bound is kept", name);
	ok(trees && dirs, "%s: some by their directory, some by the tree (%u, %u)", name, dirs, trees);
	bound("dirty_max", was);
	touch("tree", "d0/f0");
	look(&c);
	ok(shown(&c, c.n == 1 && find(&c, "d0/f0")), "%s: with room, by their names", name);
	end(&c);
}

/* A directory that is noted as a whole goes where it goes. */
static void moves(void)
{
	struct consumer c;
	unsigned long was;
	bool dir;
	char rel[16];

	begin(&c, "tree");
	was = bound("dirty_max", 1500);
	for (int f = 0; f < 40; f++) {
		sprintf(rel, "d0/f%d", f);
		touch("tree", rel);
	}
	look(&c);
	dir = whole(&c, "d0");
	ok(shown(&c, dir && !whole(&c, "")),
	   "%s: P2: a directory of too many names is noted as a whole, the tree is not", name);
	bound("dirty_max", was);
	if (rename("tree/d0", "tree/d1/in"))
		die("rename", errno);
	look(&c);
	ok(shown(&c, covered(&c, "d1/in/f39")), "%s: P2: it is where the directory is renamed to", name);
	touch("tree", "d1/in/more");
	look(&c);
	ok(covered(&c, "d1/in/more"), "%s: P2: with what is made in it then", name);
	if (system("rm -rf tree/d1/in"))
		die("rm", 0);
	look(&c);
	ok(covered(&c, "d1/in"), "%s: P2: of a directory that is gone its name is left", name);
	ack_dumped(&c);
	look(&c);
	ok(shown(&c, !c.n), "%s: and no more", name);
	end(&c);
}

/* What one tree takes of the room another does not lose. */
static void two_trees(void)
{
	struct consumer a, b;
	unsigned int lost = 0;
	unsigned long was;
	char rel[32];

	begin(&a, "tree");
	begin(&b, "other");
	was = bound("dirty_max", 2000);
	touch("other", "d0/before");
	for (int f = 0; f < MANY; f++) {
		sprintf(rel, "d%d/f%d", f % DIRS, f);
		touch("tree", rel);
		if (f == MANY / 2)
			touch("other", "d1/while");
	}
	touch("other", "d2/after");
	look(&a);
	look(&b);
	for (int f = 0; f < MANY; f++) {
		sprintf(rel, "d%d/f%d", f % DIRS, f);
		lost += !covered(&a, rel);
	}
	ok(!lost, "%s: P2: of two trees one takes the room, and loses nothing", name);
	ok(shown(&b, covered(&b, "d0/before") && covered(&b, "d1/while") && covered(&b, "d2/after")),
	   "%s: P2: nor does the other", name);
	ack_dumped(&a);
	look(&b);
	ok(covered(&b, "d0/before") && covered(&b, "d1/while") && covered(&b, "d2/after"),
	   "%s: P2: which an acknowledgement in the first is nothing to", name);
	ack_dumped(&b);
	touch("tree", "d0/f0");
	touch("other", "d0/f0");
	look(&a);
	look(&b);
	ok(a.n == 1 && find(&a, "d0/f0") && b.n == 1 && find(&b, "d0/f0"),
	   "%s: with room again both have names", name);
	bound("dirty_max", was);
	end(&a);
	end(&b);
}

/* More directories than may be marked. */
static void marks(void)
{
	struct consumer c;
	unsigned long was;
	int ret;

	begin(&c, "tree");
	is(told(c.tree, HOLDFAST_A_QUALITY), HOLDFAST_QUALITY_EVENTS, "all of it is known by its events");
	was = bound("marks_max", told(0, HOLDFAST_A_MARKS) + 1);
	make_dir("tree", "first");
	make_dir("tree", "second");
	touch("tree", "second/f");
	look(&c);
	ok(shown(&c, whole(&c, "second") && covered(&c, "second/f")),
	   "%s: P2: a directory that can not be marked is to be scanned", name);
	ret = mark_dir(&c, "second");
	ok(ret == -ENOSPC, "%s: who wants to mark it is refused", name);
	ok(told(c.tree, HOLDFAST_A_TREE_FLAGS) & HOLDFAST_TREE_FLAG_COARSE, "%s: the tree is coarse", name);
	is(told(c.tree, HOLDFAST_A_QUALITY), HOLDFAST_QUALITY_SCAN, "and to be scanned");
	make_dir("tree", "second/deeper");
	touch("tree", "second/deeper/f");
	look(&c);
	ok(covered(&c, "second/deeper/f"), "%s: P2: and so is what lies below it", name);
	bound("marks_max", was);
	ok(!mark_dir(&c, "second") && !mark_dir(&c, "second/deeper"), "%s: with room they are marked", name);
	look(&c);
	ack_dumped(&c);
	touch("tree", "second/deeper/f");
	look(&c);
	ok(shown(&c, c.n == 1 && find(&c, "second/deeper/f")), "%s: and their names noted", name);
	end(&c);
}

static unsigned long slab(void)
{
	unsigned long kb = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "SUnreclaim: %lu", &kb);
	if (f)
		fclose(f);
	return kb;
}

/* However often a name is written it takes what it takes once. */
static void again(void)
{
	unsigned long before, after, room;
	struct consumer c;
	uint64_t bytes;
	int fd;

	begin(&c, "tree");
	touch("tree", "d0/f");
	look(&c);
	bytes = told(0, HOLDFAST_A_DIRTY_BYTES);
	before = slab();
	fd = open("tree/d0/f", O_WRONLY | O_CLOEXEC);
	for (int i = 0; i < WRITES; i++)
		if (pwrite(fd, "y", 1, 0) != 1)
			die("pwrite", errno);
	look(&c);
	after = slab();
	ok(c.n == 1 && told(0, HOLDFAST_A_DIRTY_BYTES) == bytes,
	   "%s: %u writes of one name are one entry, of the same size", name, WRITES);
	/* a kernel with KASAN keeps what is freed for a while */
	room = access("/sys/kernel/debug/kmemleak", F_OK) ? 4 << 10 : 64 << 10;
	ok(after < before + room, "%s: and the kernel's memory does not grow with them", name);
	printf("# %lu KiB before, %lu KiB after\n", before, after);
	close(fd);
	end(&c);
}

static void one(char *arg)
{
	char *dir = strchr(arg, '=');
	int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (!dir)
		die(arg, EINVAL);
	*dir++ = '\0';
	name = arg;
	if (chdir(dir) || mkdir("bounds", 0755) || chdir("bounds"))
		die(dir, errno);
	nothing();
	few();
	moves();
	two_trees();
	marks();
	again();
	if (chdir("..") || rmdir("bounds") || fchdir(back))
		die("bounds", errno);
	close(back);
}

int main(int argc, char **argv)
{
	umask(022);
	setvbuf(stdout, NULL, _IOLBF, 0);
	open_netlink();
	for (int i = 1; i < argc; i++)
		one(argv[i]);
	hf_nl_close(&nl);
	return tap_done();
}
