// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P6: names of one file stay names of one file, whatever is done to them in
 * between; those of two never become one. rsync -H is the judge.
 */
#include "tree_test.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

/* a disk on which this name cannot be looked at; and what somebody does right after that one was */
static const char *sick, *meanwhile, *does;
static unsigned looks;

int statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *buf)
{
	int ret;

	looks++;
	if (sick && !strcmp(path, sick)) {
		errno = EIO;
		return -1;
	}
	ret = syscall(SYS_statx, dirfd, path, flags, mask, buf);
	if (meanwhile && !strcmp(path, meanwhile)) {
		meanwhile = NULL;
		sh("%s", does);
	}
	return ret;
}

static int differs(const char *a, const char *b)
{
	const char *out = shout("rsync -aHAXSc --numeric-ids --itemize-changes --dry-run --delete %s/ %s/; "
				/* rsync does not see that too much is one file */
				"one() { find $1 ! -type d -links +1 -printf '%%i %%P\\n' | sort -k2 |"
				" awk '{if (!($1 in a)) a[$1]=++n; print a[$1],$2}' >$1.links; }; one %s; one %s; diff %s.links %s.links",
				a, b, a, b, a, b);

	if (*out)
		printf("# differs:\n# %s\n", out);
	return *out != 0;
}

static struct memdb m;
static struct hf_tree *src, *dst;

/* what was done to src comes to dst by a restore of what was captured of it */
static void brought(const char *what)
{
	struct hf_restore_stat rst;

	mem_commit(&m);
	ok(restore(dst, &m, &rst, NULL) == 0 && !differs("src", "dst"), "%s: restored exactly", what);
	ok(!differences(dst, &m), "%s: and equal", what);
	is(restore(dst, &m, &rst, NULL), 0, "again");
	ok(!(rst.written + rst.meta + rst.removed), "%s: a second restore changes nothing", what);
}

static uint64_t link_of(const char *rel)
{
	struct mem_ent *e = mem_ent(&m, rel, false);
	struct hf_attr a;
	uint64_t id;

	if (!e || !e->now.there || hf_attr_decode(e->now.attr, e->now.attrlen, &a))
		return 0;
	id = a.link;
	hf_attr_free(&a);
	return id;
}

static void names(const char *list, struct hf_capture_stat *st)
{
	char *copy = strdup(list), *save = NULL;

	for (char *p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save))
		is(capture(src, &m, p, st), 0, p);
	free(copy);
}

/* what an event tells: only the name that was used */
static void by_events(void)
{
	struct hf_capture_stat st;

	usleep(30000);
	scan(src, &m, false);
	sh("echo changed >>src/a");
	names("a", &st);
	is(differences(src, &m), 0, "a write through one name is captured for all");
	brought("written through one name");
	sh("echo alone >src/alone");
	names("alone", &st);
	sh("echo more >>src/alone");
	names("alone", &st);
	ok(st.looked <= 2, "who captures another file later does not look at them again (%llu)", (unsigned long long)st.looked);
	sh("ln src/single src/d/second");
	names("d/second", &st);
	is(differences(src, &m), 0, "a file that gets a second name");
	ok(link_of("single") && link_of("single") == link_of("d/second"), "shares a number");
	brought("a second name");
	sh("ln -f src/a src/d/second");
	names("d/second", &st);
	is(differences(src, &m), 0, "a name goes from one file to another");
	brought("a name goes over");
	sh("mv src/d/b src/moved");
	names("d/b moved", &st);
	is(differences(src, &m), 0, "a name moves");
	brought("a name moves");
	sh("rm src/a; echo other >src/a");
	names("a", &st);
	is(differences(src, &m), 0, "a name becomes a file of its own");
	brought("a name leaves");
	sh("ln src/a src/a2; ln src/a src/a3");
	names("a2 a3", &st);
	sh("rm src/moved; ln src/a src/moved");
	names("moved", &st);
	is(differences(src, &m), 0, "from group to group");
	brought("from group to group");
	sh("cp -al src/d src/dcopy");
	is(hf_capture_scan(src, &m.db, "dcopy", false, &st, NULL), 0, "a copy of links");
	names("dcopy", &st);
	is(differences(src, &m), 0, "of a whole directory");
	brought("a copy of links");
	hf_tree_close(src);
	src = opent("src", 0, false);
	sh("echo more >>src/dcopy/second");
	names("dcopy/second", &st);
	is(differences(src, &m), 0, "a tree that was opened again knows the other names too");
	brought("opened again");
}

/* Who captures one name finds the others without looking at all there is. */
static void among_many(void)
{
	struct hf_capture_stat st;

	sh("mkdir -p src/many; cd src/many; for i in $(seq 500); do echo $i >$i; done; ln 400 400b");
	usleep(30000);
	scan(src, &m, false);
	sh("ln src/many/250 src/d/other");
	looks = 0;
	names("d/other", &st);
	ok(looks < 50, "a file among many gets a second name: %u looks", looks);
	ok(link_of("many/250") && link_of("many/250") == link_of("d/other"), "both have its number");
	is(differences(src, &m), 0, "and nothing differs");
	usleep(30000);
	sh("ln src/d/other src/d/third");
	looks = 0;
	names("d/third", &st);
	ok(looks < 50, "and a third one: %u looks", looks);
	is(differences(src, &m), 0, "of the same file");
	sh("rm src/many/250");
	looks = 0;
	names("many/250", &st);
	ok(looks < 50, "the first one goes: %u looks", looks);
	is(differences(src, &m), 0, "the others stay");
	sh("echo new >src/many/new");
	names("many/new", &st);
	sh("ln src/many/new src/d/new");
	looks = 0;
	names("d/new", &st);
	ok(looks < 50, "a file that was captured right after it was written: %u looks", looks);
	is(differences(src, &m), 0, "has two names");
	hf_tree_close(src);
	src = opent("src", 0, false);
	sh("echo more >>src/many/400b");
	looks = 0;
	names("many/400b", &st);
	ok(looks < 50, "a tree that was opened again: %u looks", looks);
	is(differences(src, &m), 0, "knows the other name too");
	brought("names among many");
	/* the name that is remembered is another file by now, and nobody has told of that yet */
	usleep(30000);
	scan(src, &m, false);
	sh("cd src/many; ln 400 untold; mv 7 400b; echo more >>400");
	names("many/400", &st);
	ok(link_of("many/400") && link_of("many/400") == link_of("many/untold"), "a name that nobody told of yet is found in the tree");
	names("many/7 many/400b many/untold", &st);
	is(differences(src, &m), 0, "what was told later");
	ok(!link_of("many/400b"), "has no number");
	brought("told late");
	sh("rm -r src/many src/d/other src/d/third src/d/new");
	names("many d/other d/third d/new", &st);
}

/* P2: a link that is made while the tree is looked through, between the places of both names */
static void made_meanwhile(void)
{
	struct hf_capture_stat st;

	sh("cd src; mkdir zz; echo 1 >q1; echo 2 >q2; ln q2 q4");
	names("zz q1 q2 q4", &st);
	usleep(30000);
	does = "ln src/q1 src/zz/q3";
	/* and once more, when it was alone in between */
	for (int i = 5; i < 7; i++) {
		meanwhile = "q1";
		sh("ln src/q2 src/q%d", i);
		names("q4", &st);
		ok(!meanwhile, "a link is made meanwhile");
		names(i == 5 ? "q5 zz/q3" : "q6 zz/q3", &st);
		ok(link_of("q1") && link_of("q1") == link_of("zz/q3"), "both names are found to be one file");
		sh("printf x%d 1<>src/zz/q3", i);
		names("zz/q3", &st);
		is(differences(src, &m), 0, "and what is written through one is captured for both");
		sh("rm src/zz/q3");
		names("zz/q3", &st);
		usleep(30000);
	}
	sh("rm -rf src/q? src/zz");
	names("q1 q2 q4 q5 q6 zz", &st);
}

static void from_one_to_another(void)
{
	struct hf_capture_stat st;
	struct hf_restore_stat rst;
	uint64_t id;

	sh("cd src; echo 1 >w1; ln w1 w2; echo 2 >v1; ln v1 v2; echo 3 >u");
	usleep(30000);
	scan(src, &m, false);
	sh("cd src; printf x 1<>w2; ln -f v1 w2; echo more >>v1");
	names("v1", &st);
	is(differences(src, &m), 0, "P2: a file that lost a name is found while the names of another one are looked for");
	brought("found on the way");
	/* what a log says that was read anew: no entry remembers which file it was */
	sh("cd src; ln -f w1 w2; ln -f u v2");
	names("w2 v2", &st);
	brought("two and two");
	mem_forget(&m);
	hf_tree_close(src);
	src = opent("src", 0, false);
	sh("cd src; ln -f v1 w2; echo more >>v1");
	names("v1", &st);
	ok(link_of("w1") != link_of("w2"), "P6: a number that nobody remembers the file of is not that of two files");
	names("w2", &st);
	is(differences(src, &m), 0, "of which nothing differs");
	brought("nobody remembers");
	sh("cd src; ln -f w1 w2; rm v1; echo 2 >v1");
	names("w2 v1", &st);
	id = link_of("w1");
	ok(id && link_of("w2") == id, "names of one file");
	hf_tree_close(src);
	src = opent("src", 0, false);
	sh("ln -f src/v1 src/w2");
	sick = "w1";
	is(capture(src, &m, "w2", &st), -EIO, "one becomes another file's, and the other cannot be read");
	ok(link_of("w2") != link_of("w1"), "P6: they do not share a number then");
	sick = NULL;
	names("w2", &st);
	is(differences(src, &m), 0, "it is captured when it can");
	/* between the look at it and its opening */
	sh("cd src; ln -f w1 w2; rm v1; echo 2 >v1; echo 4 >instead");
	names("w2 v1 instead", &st);
	usleep(30000);
	scan(src, &m, false);
	sh("printf y 1<>src/w2");
	meanwhile = "w2";
	does = "mv src/instead src/w2";
	names("w2 instead", &st);
	is(differences(src, &m), 0, "P2: a name that is another file's when it is opened");
	brought("replaced while it was captured");
	/* the directory that another name is in now comes later */
	sh("mkdir src/old; ln src/w1 src/old/w");
	names("old old/w", &st);
	sh("mv src/old src/young; echo more >>src/w1");
	names("w1 old", &st);
	mem_commit(&m);
	is(restore(dst, &m, &rst, NULL), 0, "P5: a name in a directory that nobody told of yet can be restored");
	names("young", &st);
	is(differences(src, &m), 0, "when it is told nothing differs");
	brought("a directory with one of the names");
	sh("cd src; rm -r w1 w2 v1 v2 u young");
	names("w1 w2 v1 v2 u young", &st);
}

/*
 * Whatever is done to files with several names, and whatever is told of it in whichever order, or later: only what was made,
 * written through and removed again before anybody looked is not found (Documentation/consistency.rst).
 */
#define NAMES 12
static int show(void *ctx, enum hf_change ch, const char *rel)
{
	printf("# %d %s\n", ch, rel);
	return 0;
}

static void at_random(unsigned seed, unsigned rounds)
{
	struct hf_capture_stat st;
	bool told[NAMES] = { false }, moved[NAMES] = { false };
	unsigned wrong = 0, linked = 0;

	srand(seed);
	for (unsigned i = 0; i < rounds && !wrong; i++) {
		bool late = i + 1 < rounds && rand() % 3 == 0;
		char name[NAMES][PATH_MAX + 32], log[1024] = "";
		unsigned ops = 1 + rand() % 4;

		for (unsigned k = 0; k < NAMES; k++)
			snprintf(name[k], sizeof(name[k]), "%s/src/r%u/%u", top, k % 3, k);
		while (ops--) {
			unsigned a = rand() % NAMES, b = rand() % NAMES, what = rand() % 8;
			int fd, ret = -1;

			if (a == b)
				continue;
			if (what < 2 && !moved[a]) {
				fd = open(name[a], O_WRONLY | O_CREAT | O_CLOEXEC | (what ? O_APPEND : O_TRUNC), 0600);
				ret = fd < 0 || dprintf(fd, "%u\n", i) < 0 || close(fd);
				b = a;
			} else if (what == 2 && !moved[a]) {
				ret = chmod(name[a], 0600 | rand() % 0100);
				b = a;
			} else if (what == 3) {
				ret = unlink(name[b]);
				moved[b] |= !ret;
			} else if (what == 4) {
				/* of two names of one file nothing becomes */
				ret = rename(name[a], name[b]);
				moved[a] = moved[b] = true;
				told[a] |= !ret;
			} else if (what > 4) {
				ret = link(name[a], name[b]);
				moved[b] |= !ret;
				linked += !ret;
			}
			told[b] |= !ret;
			snprintf(log + strlen(log), sizeof(log) - strlen(log), " %u:%u,%u=%d", what, a, b, ret);
		}
		if (rand() % 20 == 0) {
			hf_tree_close(src);
			src = opent("src", 0, false);
			if (rand() % 2)
				mem_forget(&m);
		}
		if (rand() % 8 == 0)
			usleep(10000);
		for (unsigned k = 0, at = rand(); k < NAMES; k++) {
			unsigned n = (at + k) % NAMES;

			if (!told[n] || (late && rand() % 2))
				continue;
			wrong += capture(src, &m, name[n] + strlen(top) + 5, &st) != 0;
			told[n] = moved[n] = false;
		}
		wrong += !late && differences(src, &m) != 0;
		mem_commit(&m);
		if (wrong) {
			printf("# seed %u, round %u:%s; differs:\n", seed, i, log);
			hf_compare(src, &m.db, show, NULL, NULL);
			printf("%s", shout("cd src; stat -c '# %%n %%i %%h' r?/*"));
		}
	}
	ok(wrong || linked > rounds / 20, "%u links are made at random", linked);
	is(wrong, 0, "P2: names of files that come and go at random");
}

/* And whatever another node has in their place, a restore makes it exactly what was captured. */
static void elsewhere_at_random(unsigned rounds)
{
	struct hf_restore_stat rst;
	unsigned wrong = 0;

	for (unsigned i = 0; i < rounds && !wrong; i++) {
		char log[1024] = "";

		for (unsigned ops = 1 + rand() % 8; ops--; ) {
			char a[PATH_MAX + 32], b[PATH_MAX + 32];
			unsigned x = rand() % NAMES, y = rand() % NAMES, what = rand() % 8;
			int ret = 0;

			snprintf(a, sizeof(a), "%s/dst/r%u/%u", top, x % 3, x);
			snprintf(b, sizeof(b), "%s/dst/r%u/%u", top, y % 3, y);
			switch (what) {
			case 0: ret = unlink(a); break;
			case 1: ret = rename(a, b); break;
			case 2: ret = chmod(a, 0600 | rand() % 0100); break;
			case 3: ret = truncate(a, rand() % 3); break;
			case 4: ret = unlink(a) || mkdir(a, 0700); break;
			case 5: ret = unlink(a) || symlink(b, a); break;
			default: ret = link(a, b); break;
			}
			snprintf(log + strlen(log), sizeof(log) - strlen(log), " %u:%u,%u=%d", what, x, y, ret);
		}
		wrong += restore(dst, &m, &rst, NULL) != 0;
		wrong += differences(dst, &m) != 0 || differs("src", "dst");
		wrong += restore(dst, &m, &rst, NULL) || rst.written || rst.meta || rst.removed;
		if (wrong) {
			printf("# round %u:%s; differs:\n", i, log);
			hf_compare(dst, &m.db, show, NULL, NULL);
		}
	}
	is(wrong, 0, "P6: what another node has at random is made what was captured");
}

/* P2: what was changed through a name that is gone waits until the others can be read */
static void left_behind(bool scans)
{
	struct hf_capture_stat st;

	sh("echo 1 >src/goes; ln src/goes src/left");
	names("goes left", &st);
	is(differences(src, &m), 0, "two names");
	sh("printf 2 1<>src/goes; rm src/goes");
	sick = "left";
	is(capture(src, &m, "goes", &st), -EIO, "one goes, and what is left cannot be read");
	if (scans)
		is(hf_capture_scan(src, &m.db, "", false, &st, NULL), -EIO, "nor when all is looked at");
	sick = NULL;
	names("goes", &st);
	is(differences(src, &m), 0, "it is captured when it can");
	brought("left behind");
	sh("rm src/left");
	names("left", &st);
}

static void locally_wrong(void)
{
	static const struct { const char *what, *cmd; } t[] = {
		{ "one name has other contents", "rm a2; echo own >a2" },
		{ "one name is a copy", "cp -p a2 x; mv x a2" },
		{ "all names are copies", "for i in a a2 a3 moved; do cp -p $i x; mv x $i; done" },
		{ "all are gone", "rm a a2 a3 moved" },
		{ "one is gone", "rm a2" },
		{ "the first is gone", "rm a" },
		{ "attributes differ", "chmod 600 a" },
		{ "attributes differ, and one is missing", "chmod 600 a; rm a3" },
		{ "contents differ", "echo x >>a" },
		{ "two groups are one", "ln -f a d/second" },
		{ "a lone file is one of a group", "cat lone >copy; ln -f a lone" },
		{ "two lone files are one", "ln -f lone lone2" },
		{ "one is a directory", "rm a; mkdir a; echo x >a/x" },
		{ "all are directories", "rm a a2 a3 moved; mkdir a a2 a3 moved" },
		{ "a directory of the generation is one of the names", "rm -r d; ln a d" },
		{ "extra names", "ln a zz; ln a 0" },
		{ "the links are crossed", "ln -f a x; ln -f s1 a2; ln -f x s1" },
	};
	struct hf_restore_stat rst;

	sh("echo l >src/lone; echo l >src/lone2; touch -d @1 src/lone src/lone2; ln -s a src/s1; ln src/s1 src/s2; mkfifo src/p1; ln src/p1 src/p2; mknod src/n1 c 1 3; ln src/n1 src/n2");
	scan(src, &m, false);
	brought("links of links, pipes and devices");
	for (unsigned i = 0; i < HF_ARRAY(t); i++) {
		sh("cd dst; %s", t[i].cmd);
		ok(differences(dst, &m) > 0, "%s: is seen", t[i].what);
		brought(t[i].what);
	}
	/* attributes alone: in place, for all names at once */
	sh("cd dst; chmod 600 a; stat -c %%i a >../ino");
	is(restore(dst, &m, &rst, NULL), 0, "attributes of a file with several names");
	is(rst.written, 0, "are set in place");
	is(rst.meta, 1, "once");
	/* contents: written once */
	sh("cd dst; echo x >>a");
	is(restore(dst, &m, &rst, NULL), 0, "contents of a file with several names");
	is(rst.bytes, strtoul(shout("stat -c %%s src/a"), NULL, 10), "are written once");
}

static unsigned told;
static void tell(void *ctx, const char *rel, uint64_t inside, uint64_t all)
{
	told++;
	ok(!strcmp(rel, "a") && inside == 4 && all == 5, "the name in the tree: %s, %d of %d", rel, (int)inside, (int)all);
}

static void outside(void)
{
	struct hf_capture_stat st;
	struct hf_restore_stat rst;

	sh("ln src/a beside");
	scan(src, &m, false);
	hf_tree_outside(src, tell, NULL);
	is(told, 1, "a file with a name outside is told");
	brought("a name outside");
	sh("rm beside; ln src/lone beside");
	scan(src, &m, false);
	is(link_of("lone"), 0, "a name outside of the tree makes no number");
	m.puts = 0;
	sh("echo x >>beside");
	names("lone", &st);
	is(m.puts, 1, "it is captured as one file");
	sh("rm beside");
	brought("written outside");
	/* a restore must not write through to the outside */
	sh("ln -f dst/a dstout; echo changed >>src/a; cp -p dstout before");
	names("a", &st);
	is(restore(dst, &m, &rst, NULL), 0, "restore over a file with a name outside");
	ok(!sh("cmp -s dstout before && [ $(stat -c %%h dstout) = 1 ]"), "leaves that one alone");
	ok(!differs("src", "dst"), "exactly");
	sh("ln -f dst/a dstout; chmod 711 dstout; cp -p dstout before");
	is(restore(dst, &m, &rst, NULL), 0, "attributes of one");
	ok(!sh("[ $(stat -c %%a dstout) = 711 ]"), "are not set through it either");
	ok(!differs("src", "dst"), "exactly");
}

static int replace_one(void *ctx, uint64_t done, uint64_t total)
{
	if (!done)
		sh("rm dst/a; echo own >dst/a");
	return 0;
}

/* one name of a file whose attributes are to be set is replaced meanwhile: the others are not forgotten */
static void replaced_meanwhile(void)
{
	struct hf_restore_opts o = { .progress = replace_one };
	struct hf_restore_stat rst = { 0 };
	struct hf_err err = { 0 };
	int ret;

	sh("cd dst; chmod 611 a");
	ret = hf_restore(dst, &m.db, &o, &rst, &err);
	ok(ret || !differences(dst, &m), "P5: a restore that is disturbed is exact, or says that it is not: %d %s", ret, err.msg);
	brought("in peace");
}

int main(void)
{
	struct hf_capture_stat st;

	scratch_begin();
	mem_init(&m);
	sh("mkdir -p src/d src/e; echo one >src/a; ln src/a src/d/b; ln src/a src/e/c; echo two >src/single; echo same >src/x; cp -p src/x src/y;"
	   "ln src/y src/e/y; setfattr -n user.k -v v src/y; setfacl -m u:bin:r src/a; touch -d 2001-01-01 src/a src/x src/y");
	src = opent("src", 0, false);
	dst = opent("dst", 0, true);
	scan(src, &m, false);
	is(link_of("single"), 0, "a file with one name has no number");
	ok(link_of("a") && link_of("a") == link_of("d/b") && link_of("a") == link_of("e/c"), "names of one file share one");
	ok(link_of("y") && link_of("y") != link_of("a"), "another file has another");
	is(differences(src, &m), 0, "the source equals what was captured");
	m.puts = 0;
	scan(src, &m, false);
	usleep(30000);
	scan(src, &m, true);
	is(m.puts, 0, "a second scan puts nothing");
	mem_forget(&m);
	brought("into an empty directory");
	/* the numbers come from the generation: another node puts nothing */
	m.puts = 0;
	scan(dst, &m, true);
	is(m.puts, 0, "a scan of what was restored puts nothing");
	by_events();
	among_many();
	from_one_to_another();
	made_meanwhile();
	sh("mkdir src/r0 src/r1 src/r2");
	names("r0 r1 r2", &st);
	at_random(time(NULL), 2000);
	brought("at random");
	elsewhere_at_random(40);
	sh("rm -r src/r0 src/r1 src/r2");
	names("r0 r1 r2", &st);
	brought("none of them");
	left_behind(false);
	left_behind(true);
	locally_wrong();
	replaced_meanwhile();
	outside();
	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
	return scratch_end();
}
