// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Restore against trees that resist: links swapped in while it runs, owners
 * that are missing, immutable files, failures and kills between two steps (P5,
 * P6), and what others write meanwhile (P7).
 */
#include "tree_test.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

static atomic_bool stop;

static void *swap_links(void *arg)
{
	char d[PATH_MAX + 32], bak[PATH_MAX + 32], f[PATH_MAX + 32], out[PATH_MAX + 32];

	/* path_of() is for one thread */
	snprintf(out, sizeof(out), "%s/../outside/f", (char *)arg);
	snprintf(d, sizeof(d), "%s/d", (char *)arg);
	snprintf(bak, sizeof(bak), "%s/bak", (char *)arg);
	snprintf(f, sizeof(f), "%s/e/f", (char *)arg);
	while (!stop) {
		if (!rename(d, bak)) {
			if (symlink("../outside", d) == 0)
				usleep(50);
			unlink(d);
			if (rename(bak, d))
				usleep(1);
		} else if (errno == ENOENT) {
			mkdir(d, 0755);
		}
		unlink(f);
		if (symlink("../../outside/f", f) == 0)
			usleep(20);
		unlink(f);
		if (link(out, f) == 0)
			usleep(20);
	}
	return NULL;
}

/* what lies outside has the names of what lies inside: one step out would be seen */
static void attack(void)
{
	struct hf_restore_stat rst;
	struct hf_tree *src, *dst;
	struct memdb m, odd;
	unsigned failed = 0, done = 0, outside = 0;
	char before[400], *inside;
	pthread_t th;

	mem_init(&m);
	sh("mkdir -p asrc/d/s asrc/e outside; for i in $(seq 40); do echo inside >asrc/d/f$i; done; echo inside >asrc/d/s/x; echo inside >asrc/e/f;"
	   "chown -R daemon asrc; chmod -R 0604 asrc/d/f* asrc/e/f;"
	   "mkdir outside/s; echo sentinel >outside/f; echo sentinel >outside/f1; echo sentinel >outside/s/x; touch -d 2001-01-01 outside/f1");
	src = opent("asrc", 0, false);
	scan(src, &m, false);
	/* the other generation: other contents for one half, other attributes for all */
	mem_init(&odd);
	sh("for i in $(seq 20); do echo other >asrc/d/f$i; done; chmod 0640 asrc/d/f* asrc/e/f; chown -R bin asrc; touch asrc/d/n1 asrc/d/s/n2");
	scan(src, &odd, false);
	/* links to the sentinel from inside change its change time: look at the rest */
	snprintf(before, sizeof(before), "%s", shout("find outside -printf '%%P %%u %%m %%T@ %%s %%y\\n' | sort; cat outside/f* outside/s/x"));
	sh("mkdir -p adst/d adst/e");
	stop = false;
	inside = strdup(path_of("adst"));
	pthread_create(&th, NULL, swap_links, inside);
	for (int i = 0; i < 250; i++) {
		if (restore_amid("adst", i % 2 ? &odd : &m))
			failed++;
		else
			done++;
		outside += !!strcmp(before, shout("find outside -printf '%%P %%u %%m %%T@ %%s %%y\\n' | sort; cat outside/f* outside/s/x"));
		if (outside) {
			printf("# before:\n%s# after:\n%s", before, shout("find outside -printf '%%P %%u %%m %%T@ %%s %%y\n' | sort; cat outside/f* outside/s/x"));
			break;
		}
	}
	stop = true;
	pthread_join(th, NULL);
	is(outside, 0, "nothing outside is touched while links are swapped in");
	printf("# %u restores done, %u gave up with an error\n", done, failed);
	dst = opent("adst", 0, true);
	is(restore(dst, &m, &rst, NULL), 0, "left in peace it finishes");
	is(differences(dst, &m), 0, "exactly");
	hf_tree_close(dst);
	hf_tree_close(src);
	free(inside);
	mem_free(&odd);
	mem_free(&m);
}

static void set_owner(struct memdb *m, const char *rel, uint32_t uid, const char *user)
{
	struct mem_ent *e = mem_ent(m, rel, false);
	struct hf_buf b = HF_BUF_INIT;
	struct hf_attr a;

	ok(!hf_attr_decode(e->now.attr, e->now.attrlen, &a), "decode");
	a.uid = uid;
	free(a.user);
	a.user = strdup(user);
	hf_attr_encode(&a, &b);
	hf_attr_free(&a);
	free(e->now.attr);
	e->now.attr = malloc(b.len);
	memcpy(e->now.attr, b.p, b.len);
	e->now.attrlen = b.len;
	/* on a slow machine it may be known already that it is what it was */
	memset(&e->now.mark, 0, sizeof(e->now.mark));
	hf_buf_free(&b);
}

static uid_t owner(const char *name)
{
	struct stat st;

	return lstat(path_of(name), &st) ? (uid_t)-1 : st.st_uid;
}

static void owners(void)
{
	struct hf_restore_stat rst;
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	struct memdb m;

	mem_init(&m);
	sh("mkdir osrc odst; echo 1 >osrc/a; echo 2 >osrc/z; echo local >odst/a");
	src = opent("osrc", 0, false);
	scan(src, &m, false);
	set_owner(&m, "z", 4711, "no-such-user-hf");
	dst = opent("odst", 0, false);
	is(restore(dst, &m, &rst, &err), -ENOENT, "a missing user is an error");
	ok(strstr(err.msg, "no-such-user-hf") && strstr(err.msg, "/odst/z"), "with path and name: %s", err.msg);
	ok(!strcmp(shout("cat odst/a; ls -A odst | wc -l"), "local\n1\n"), "and nothing was changed");
	hf_tree_close(dst);
	dst = opent("odst", HF_TREE_NUMBERS, false);
	is(restore(dst, &m, &rst, NULL), 0, "owners = number");
	is(owner("odst/z"), 4711, "takes the number");
	is(differences(dst, &m), 0, "and is equal then");
	hf_tree_close(dst);
	set_owner(&m, "z", 4712, "daemon");
	dst = opent("odst", 0, false);
	is(restore(dst, &m, &rst, NULL), 0, "a name that has another number here");
	is(owner("odst/z"), 1, "gets the number that it has here");
	is(restore(dst, &m, &rst, NULL), 0, "again");
	is(rst.written + rst.meta, 0, "nothing to do");
	set_owner(&m, "z", 54321, "");
	is(restore(dst, &m, &rst, NULL), 0, "a number that had no name");
	is(owner("odst/z"), 54321, "stays a number");
	hf_tree_close(dst);
	hf_tree_close(src);
	mem_free(&m);
}

static int stop_it(void *ctx, uint64_t done, uint64_t total)
{
	return ++*(int *)ctx > 1;
}

static void failures(void)
{
	struct hf_restore_opts o = { 0 };
	struct hf_restore_stat rst;
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	struct memdb m;
	struct stat a, b;
	int calls = 0, status;
	pid_t pid;

	mem_init(&m);
	sh("mkdir -p fsrc/d fdst/d; for i in $(seq 200); do echo new >fsrc/d/f$i; done; echo old >fdst/d/f1; chmod 600 fsrc/d/f1");
	src = opent("fsrc", 0, false);
	scan(src, &m, false);
	dst = opent("fdst", 0, false);
	if (sh("chattr +i fdst/d/f1 2>/dev/null") == 0) {
		is(restore(dst, &m, &rst, &err), -EPERM, "an immutable file is an error");
		ok(strstr(err.msg, "/fdst/d/f1") && strstr(err.msg, "immutable"), "that says so: %s", err.msg);
		ok(!*shout("find fdst -name '.holdfast-*'"), "no temporary file is left");
		sh("chattr -i fdst/d/f1");
	} else {
		skip("no immutable files here");
	}
	sh("rm -rf fdst/d; mkdir fdst/d; echo old >fdst/d/f1; chmod 644 fdst/d/f1");
	static const char *const seams[] = { "restore.write:1:eio", "restore.rename:1:eio" };

	for (unsigned i = 0; i < HF_ARRAY(seams); i++) {
		hf_seam_init(seams[i]);
		is(restore(dst, &m, &rst, &err), -EIO, seams[i]);
		ok(strstr(err.msg, "/fdst/d/f1"), "names the path: %s", err.msg);
		ok(!strcmp(shout("cat fdst/d/f1; ls -A fdst/d | wc -l"), "old\n1\n"), "the old file is whole, nothing is left");
	}
	hf_seam_init(NULL);
	o.progress = stop_it;
	o.ctx = &calls;
	memset(&rst, 0, sizeof(rst));
	is(hf_restore(dst, &m.db, &o, &rst, &err), -ECANCELED, "a restore can be stopped");
	ok(rst.written > 0 && rst.written < 200, "in the middle");

	/* killed at every kind of step, then finished */
	static const char *const kills[] = { "restore.write:20:kill", "restore.rename:7:kill", "restore.rename:100:kill",
					     "restore.remove:2:kill", "restore.meta:1:kill" };
	for (unsigned i = 0; i < HF_ARRAY(kills); i++) {
		bool named;

		sh("rm -rf fdst; mkdir -p fdst/d fdst/extra; echo old >fdst/d/f1; touch fdst/extra/1 fdst/extra/2; echo new >fdst/d/f2; chmod 777 fdst/d/f2");
		hf_tree_close(dst);
		/* what is not there is made without a name */
		named = strstr(kills[i], "rename:100");
		if (named)
			sh("for i in $(seq 200); do echo old >fdst/d/f$i; done");
		dst = opent("fdst", 0, false);
		pid = fork();
		if (!pid) {
			hf_seam_init(kills[i]);
			restore(dst, &m, &rst, NULL);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s", kills[i]);
		ok(!*shout("find fdst/d -name 'f*' -type f ! -size 4c"), "every file is whole, old or new");
		if (strstr(kills[i], "rename"))
			ok(!*shout("find fdst -name '.holdfast-*'") == !named, "a temporary file was left where one was to be replaced");
		is(restore(dst, &m, &rst, NULL), 0, "the next one finishes it");
		is(differences(dst, &m), 0, "exactly");
		ok(!*shout("find fdst -name '.holdfast-*'"), "leftovers are gone");
	}

	/* another name of a file outside of the tree: it must not be changed through it */
	sh("mkdir ext; echo new >ext/f; chmod 755 ext/f; ln -f ext/f fdst/d/f1");
	stat(path_of("ext/f"), &a);
	is(restore(dst, &m, &rst, NULL), 0, "a file with a name outside");
	stat(path_of("ext/f"), &b);
	ok(a.st_mode == b.st_mode && b.st_nlink == 1 && a.st_mtime == b.st_mtime, "gets a file of its own");
	is(differences(dst, &m), 0, "exactly");
	hf_tree_close(dst);
	hf_tree_close(src);
	mem_free(&m);
}

/* an inherited ACL must neither open the file on the way nor stay */
static void inherited(void)
{
	struct hf_restore_stat rst;
	struct hf_tree *src, *dst;
	struct memdb m;

	mem_init(&m);
	sh("mkdir isrc idst; echo secret >isrc/f; chmod 600 isrc/f; mkdir isrc/d");
	if (sh("setfacl -d -m u:daemon:rwx idst 2>/dev/null")) {
		skip("no ACLs here");
		return;
	}
	src = opent("isrc", 0, false);
	scan(src, &m, false);
	dst = opent("idst", 0, false);
	is(restore(dst, &m, &rst, NULL), 0, "restore below a default ACL");
	ok(!strstr(shout("getfacl -R idst 2>/dev/null"), "daemon"), "nothing of it stays");
	is(differences(dst, &m), 0, "exactly");
	hf_tree_close(dst);
	hf_tree_close(src);
	mem_free(&m);
}

/* marks: what was restored is cheap to look at later, and never believed too early */
static void marks(void)
{
	struct hf_restore_stat rst;
	struct hf_tree *src, *dst;
	struct memdb m;
	int missed = 0;

	mem_init(&m);
	sh("mkdir msrc; for i in $(seq 20); do echo 0000 >msrc/f$i; done");
	src = opent("msrc", 0, false);
	scan(src, &m, false);
	for (int i = 0; i < 20; i++) {
		char p[32];

		mem_forget(&m);
		sh("rm -rf mdst; mkdir mdst");
		dst = opent("mdst", 0, true);
		restore(dst, &m, &rst, NULL);
		/* the same size and time, right after it was restored */
		snprintf(p, sizeof(p), "mdst/f%d", i + 1);
		sh("touch -r %s ref; printf 1111 | dd of=%s conv=notrunc 2>/dev/null; touch -r ref %s", p, p, p);
		missed += differences(dst, &m) != 1;
		hf_tree_close(dst);
	}
	is(missed, 0, "an edit right after a restore is seen");
	mem_free(&m);
	hf_tree_close(src);
}

/* P11: errors go to logs, and names of a crypto checkpoint may not */
static void crypto_names(void)
{
	struct hf_restore_stat rst;
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	struct memdb m;

	mem_init(&m);
	sh("mkdir csrc cdst; echo key >csrc/private-name; setfattr -n user.private-x -v private-v csrc/private-name");
	src = opent("csrc", HF_TREE_CRYPTO, false);
	scan(src, &m, false);
	dst = opent("cdst", HF_TREE_CRYPTO, false);
	hf_seam_init("restore.rename:1:eio");
	is(restore(dst, &m, &rst, &err), -EIO, "a failure in a crypto checkpoint");
	hf_seam_init(NULL);
	ok(!strstr(err.msg, "private") && strstr(err.msg, "/cdst"), "names the checkpoint and not the file: %s", err.msg);
	is(restore(dst, &m, &rst, NULL), 0, "restore it");
	is(differences(dst, &m), 0, "exactly");
	hf_tree_close(dst);
	hf_tree_close(src);
	mem_free(&m);
}

static unsigned stayed;
static void stays(void *ctx, const char *rel)
{
	stayed += !strcmp(rel, "gone");
}

/* names that begin like ours, and are not: left alone, and so said before anything is changed */
static void reserved(void)
{
	struct hf_restore_opts o = { .stays = stays };
	const char *tmp = tmpname("notesabc");
	struct hf_restore_stat rst = { 0 };
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	struct memdb m;

	mem_init(&m);
	sh("mkdir -p vsrc vdst/gone vdst/kind; echo new >vsrc/f; echo old >vdst/f; mkdir vdst/gone/%s; echo y >vdst/gone/y", tmp);
	src = opent("vsrc", 0, false);
	scan(src, &m, false);
	dst = opent("vdst", 0, false);
	is(hf_restore(dst, &m.db, &o, &rst, &err), 0, "a directory that is to go holds a directory that only has the name of ours");
	ok(!sh("[ -d vdst/gone/%s ] && [ ! -e vdst/gone/y ]", tmp), "that stays");
	is(stayed, 1, "and the directory is told");
	is(differences(dst, &m), 0, "as no difference");
	sh("echo kind >vsrc/kind; mkdir -p vdst/kind/%s; echo old >vdst/f", tmp);
	scan(src, &m, false);
	is(restore(dst, &m, &rst, &err), -EBUSY, "one that is to become a file");
	ok(!strcmp(shout("cat vdst/f"), "old\n"), "is refused before anything is changed: %s", err.msg);
	hf_tree_close(dst);
	hf_tree_close(src);
	mem_free(&m);
}

static char told[4096];
static void tell(void *ctx, const char *rel)
{
	snprintf(told + strlen(told), sizeof(told) - strlen(told), "%s ", rel);
}

/* directories that are to go, some of which hold what is left alone, at any depth */
static void left_alone(void)
{
	static const char *const v[] = { "*.log" };
	struct hf_restore_opts o = { .stays = tell };
	struct hf_restore_stat rst = { 0 };
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	struct memdb m;

	mem_init(&m);
	sh("mkdir -p lsrc ldst/del/a/b/c/y ldst/del/a/a ldst/del/a/d/d ldst/del/e/f ldst/del/g/h ldst/z; cd ldst/del; touch a/b/c/x.log a/b/c/y/1 a/d/d/1 e/f/x.log e/f/z g/h/1;"
	   "for i in $(seq 700); do mkdir q; touch q/f; cd -P q; done");
	src = opent("lsrc", 0, false);
	scan(src, &m, false);
	is(hf_tree_open("/", path_of("ldst"), 0, false, v, 1, &dst, &err), 0, "open");
	is(hf_restore(dst, &m.db, &o, &rst, &err), 0, "what is not in the generation goes, but for what is left alone");
	ok(!strcmp(told, "del del/a del/a/b del/a/b/c del/e del/e/f "), "and the directories above that, which are told: %s", told);
	ok(!strcmp(shout("cd ldst; find . | sort | tr '\\n' ' '"), ". ./del ./del/a ./del/a/b ./del/a/b/c ./del/a/b/c/x.log ./del/e ./del/e/f ./del/e/f/x.log "),
	   "exactly: %s", shout("cd ldst; find . | sort | tr '\\n' ' '"));
	is(differences(dst, &m), 0, "they are no difference");
	hf_tree_close(dst);
	hf_tree_close(src);
	mem_free(&m);
}

/* a pattern of directories only, and a file of that name in the generation */
static void excluded_dir(void)
{
	static const char *const v[] = { "cache/", "*.d", "!*.d/" };
	struct hf_restore_stat rst;
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	struct memdb m;

	mem_init(&m);
	sh("mkdir -p xsrc xdst/cache; echo new >xsrc/a; echo file >xsrc/cache; echo old >xdst/a; echo kept >xdst/cache/k");
	src = opent("xsrc", 0, false);
	scan(src, &m, false);
	is(hf_tree_open("/", path_of("xdst"), 0, false, v, 3, &dst, &err), 0, "open");
	is(restore(dst, &m, &rst, &err), -EBUSY, "a file where an excluded directory is");
	ok(strstr(err.msg, "/xdst/cache") && !strcmp(shout("cat xdst/a xdst/cache/k"), "old\nkept\n"), "is refused before anything is changed: %s", err.msg);
	sh("mv xdst/cache aside; mkdir xsrc/conf.d; echo excluded >xdst/conf.d");
	scan(src, &m, false);
	is(restore(dst, &m, &rst, &err), -EBUSY, "a directory where an excluded file is");
	ok(strstr(err.msg, "/xdst/conf.d") && !strcmp(shout("cat xdst/a xdst/conf.d"), "old\nexcluded\n"), "is refused too: %s", err.msg);
	sh("mv xdst/conf.d aside2");
	is(restore(dst, &m, &rst, NULL), 0, "then it works");
	is(differences(dst, &m), 0, "exactly");
	hf_tree_close(dst);
	hf_tree_close(src);
	mem_free(&m);
}

/* what a restore would refuse is found without one */
static void only_look(void)
{
	struct hf_restore_opts o = { .only_look = true };
	const char *tmp = tmpname("left2345");
	struct hf_restore_stat rst = { 0 };
	struct hf_tree *src, *dst;
	struct hf_err err = { 0 };
	struct memdb m;
	char *before;

	mem_init(&m);
	sh("mkdir -p wsrc wdst/x wdst/extra; echo new >wsrc/f; echo 1 >wsrc/x; echo old >wdst/f; echo y >wdst/x/y; mknod wdst/%s p", tmp);
	src = opent("wsrc", 0, false);
	scan(src, &m, false);
	dst = opent("wdst", 0, false);
	before = strdup(shout("find wdst -printf '%%P %%i %%T@ %%C@ %%m\n' | sort"));
	is(hf_restore(dst, &m.db, &o, &rst, &err), 0, "a look at what would be restored");
	set_owner(&m, "f", 4711, "no-such-user-hf");
	ok(hf_restore(dst, &m.db, &o, &rst, &err) == -ENOENT && strstr(err.msg, "no-such-user-hf"), "finds a user who is missing: %s", err.msg);
	set_owner(&m, "f", 0, "root");
	sh("mount -t tmpfs none wdst/extra && mkdir wdst/x/m && mount -t tmpfs none wdst/x/m");
	ok(hf_restore(dst, &m.db, &o, &rst, &err) == -EBUSY && strstr(err.msg, "/wdst/x"), "and what is in the way: %s", err.msg);
	sh("umount wdst/extra wdst/x/m && rmdir wdst/x/m && touch -d @1 wdst/x; true");
	ok(!strcmp(shout("cat wdst/f wdst/x/y"), "old\ny\n") && strstr(before, tmp) && !sh("test -p wdst/%s", tmp),
	   "nothing is changed");
	is(restore(dst, &m, &rst, NULL), 0, "by a restore it is");
	is(differences(dst, &m), 0, "exactly");
	free(before);
	hf_tree_close(dst);
	hf_tree_close(src);
	mem_free(&m);
}

int main(void)
{
	scratch_begin();
	reserved();
	left_alone();
	excluded_dir();
	only_look();
	crypto_names();
	attack();
	owners();
	failures();
	inherited();
	marks();
	return scratch_end();
}
