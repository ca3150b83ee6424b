// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Capture: one name at a time, unstable files, excluded names, edits that leave
 * size and times as they were (P1, P3), what vanishes and what changes its type.
 */
#include "tree_test.h"
#include "tree_int.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

static atomic_bool stop;
static atomic_ulong rounds;

/* looks that go by more than a name, and so along whatever is on the way */
static atomic_uint by_path;

int statx(int dirfd, const char *restrict path, int flags, unsigned mask, struct statx *restrict stx)
{
	by_path += *path != '/' && strchr(path, '/');
	return syscall(SYS_statx, dirfd, path, flags, mask, stx);
}

static bool holds(struct memdb *m, const char *rel, const char *text)
{
	struct mem_ent *e = mem_ent(m, rel, false);

	return e && e->now.there && e->now.size == strlen(text) && !memcmp(e->now.data, text, e->now.size);
}

static bool there(struct memdb *m, const char *rel)
{
	struct hf_known k;

	return mem_get(m, rel, &k);
}

static void names(void)
{
	struct hf_capture_stat st;
	struct memdb m;
	struct hf_tree *t;

	mem_init(&m);
	sh("mkdir -p n/a/b; echo one >n/a/b/f; echo x >n/a/other");
	t = opent("n", 0, false);
	is(capture(t, &m, "a/b/f", &st), 0, "capture one name");
	ok(holds(&m, "a/b/f", "one\n"), "it is there");
	ok(there(&m, "") && there(&m, "a") && there(&m, "a/b"), "its parents are too");
	ok(!there(&m, "a/other"), "its neighbours are not");
	is(capture(t, &m, "a", &st), 0, "a known directory");
	ok(!there(&m, "a/other"), "its own attributes only");
	sh("mkdir -p n/new/x; echo deep >n/new/x/y");
	is(capture(t, &m, "new", &st), 0, "an unknown directory");
	ok(holds(&m, "new/x/y", "deep\n"), "is scanned");
	sh("rm -r n/new");
	is(capture(t, &m, "new/x/y", &st), 0, "a name below a directory that is gone");
	ok(!there(&m, "new/x/y") && !there(&m, "new/x") && !there(&m, "new"), "all of it is deleted");
	is(st.deleted, 3, "and counted");
	sh("rm -r n/a/b; echo file >n/a/b");
	is(capture(t, &m, "a/b/f", &st), 0, "a directory became a file");
	ok(holds(&m, "a/b", "file\n") && !there(&m, "a/b/f"), "the file is there, what was below is not");
	sh("rm n/a/b; ln -s /etc n/a/b");
	is(capture(t, &m, "a/b/passwd", &st), 0, "a link that leads out");
	ok(there(&m, "a/b") && !there(&m, "a/b/passwd"), "is kept as a link, not followed");
	is(capture(t, &m, "../etc/passwd", &st), -EINVAL, "a name that leads out is refused");
	is(capture(t, &m, "a//b", &st), -EINVAL, "so is a malformed one");
	is(capture(t, &m, "never/was", &st), 0, "a name that never was");
	is(st.put + st.deleted, 0, "does nothing but look at the root");
	mem_commit(&m);
	scan(t, &m, true);
	is(differences(t, &m), 0, "one name after the other makes the whole");
	m.puts = 0;
	sh("sleep 0.05; echo added >n/a/fresh");
	capture(t, &m, "a/fresh", &st);
	is(differences(t, &m), 0, "a new name brings its directory's new times along");
	is(m.puts, 2, "with two puts");
	hf_tree_close(t);

	/* the root goes */
	t = opent("n", 0, false);
	sh("rm -r n");
	struct hf_err err = { 0 };
	struct hf_capture_stat cst = { 0 };
	size_t before = mem_count(&m);

	is(hf_capture_scan(t, &m.db, "", true, &cst, &err), -ENOENT, "a lost root is an error");
	is(mem_count(&m), before, "and not an empty tree");
	is(hf_tree_alive(t), -ENOENT, "and not alive");
	hf_tree_close(t);
	mem_free(&m);
}

static int many_at_once(struct hf_tree *t, struct memdb *m, const char *const *rel, size_t n, const char *between,
			struct hf_err *err)
{
	struct hf_capture_stat st = { 0 };
	struct hf_ahead *ahead;
	struct hf_names *s;
	int ret = hf_names_begin(t, &m->db, &s, err), end;

	if (ret)
		return ret;
	ahead = hf_ahead_start(t, rel, n);
	ok(!ahead == (n < 4), "somebody goes ahead of many, and of them only");
	for (size_t i = 0; i < n && !ret; i++) {
		hf_ahead_at(ahead, i);
		ret = hf_names_one(s, rel[i], &st, err);
		if (i == n / 2 && between)
			sh("%s", between);
	}
	hf_ahead_stop(ahead);
	end = hf_names_end(s, &st, ret ? NULL : err);
	return ret ? ret : end;
}

static int put_fails(void *arg, const char *rel, const void *attr, size_t attrlen, const struct hf_source *src,
		     const struct hf_mark *mark, uint8_t hash[32])
{
	return strcmp(rel, "e/bad") ? mem_put(arg, rel, attr, attrlen, src, mark, hash) : -EIO;
}

/* what one name fails with is no failure of what is done once for all of them */
static void one_fails(struct hf_tree *t, struct memdb *m)
{
	struct hf_capture_stat st = { 0 };
	struct hf_err err = { 0 };
	struct hf_names *s;

	sh("echo good >w/e/bad; sleep 0.05");
	is(many_at_once(t, m, (const char *[]){ "e/bad" }, 1, NULL, &err), 0, "a name");
	sh("echo bad >w/e/bad");
	/* its directory is looked at, and is as it was */
	mem_forget(m);
	m->db.put = put_fails;
	is(hf_names_begin(t, &m->db, &s, &err), 0, "begin");
	is(hf_names_one(s, "e/bad", &st, &err), -EIO, "it fails now, as the last one");
	is(hf_names_end(s, &st, &err), 0, "and is the only one that does");
	m->db.put = mem_put;
	sh("rm w/e/bad");
	is(many_at_once(t, m, (const char *[]){ "e/bad" }, 1, NULL, &err), 0, "it goes");
}

static void many(void)
{
	static const char *const added[] = { "d/n1", "d/n2", "d/n3", "d/n4", "e/n5", "e/n6" };
	static const char *const mixed[] = {
		"d/1", "gone/deep/x", "d/2", "e/2", "d/3", "pipe", "away", "sub/new/a", "sub/new/b", "d", "", "sub/was/f",
	};
	static const char *const again[] = { "d/1", "d/2", "d/n1" }, *const out[] = { "d/1", "../x" };
	static const char *const own[] = { "e/n7", "e", "e/n8" }, *const moved[] = { "e/n9", "e" };
	static const char *const swapped[] = { "other", "d", "d/1", "d/2", "d/n1" };
	struct hf_err err = { 0 };
	struct memdb m;
	struct hf_tree *t;

	mem_init(&m);
	sh("mkdir -p w/d w/e w/gone/deep w/sub/was; touch w/d/1 w/d/2 w/d/3 w/gone/deep/x w/away w/sub/was/f");
	t = opent("w", 0, false);
	scan(t, &m, true);
	mem_commit(&m);
	sh("sleep 0.05; for i in 1 2 3 4; do echo $i >w/d/n$i; done; echo 5 >w/e/n5; echo 6 >w/e/n6");
	m.puts = 0;
	is(many_at_once(t, &m, added, 6, NULL, &err), 0, "many names at once");
	is(m.puts, 8, "each is put, and once each directory that got new times");
	is(differences(t, &m), 0, "that makes the whole");
	sh("echo one >w/d/1; mv w/d/2 w/e/2; ln w/d/3 w/e/hard; rm -r w/gone w/away w/sub/was; mkdir w/sub/new; "
	   "echo a >w/sub/new/a; echo b >w/sub/new/b; mkfifo w/pipe; echo f >w/sub/was; chmod 700 w/d");
	is(many_at_once(t, &m, mixed, 12, NULL, &err), 0, "of all kinds");
	is(differences(t, &m), 0, "the other name of a file was found, and what was below a directory is gone");
	sh("sleep 0.05; echo 7 >w/e/n7; chmod 710 w/e; echo 8 >w/e/n8");
	m.puts = 0;
	is(many_at_once(t, &m, own, 3, NULL, &err), 0, "a directory among what is in it");
	is(m.puts, 3, "is put once");
	sh("sleep 0.05; mv w/e w/x; mv w/x w/e; echo 9 >w/e/n9");
	is(many_at_once(t, &m, moved, 2, NULL, &err), 0, "one that was moved");
	is(differences(t, &m), 0, "brings new times to the one that it lies in");
	one_fails(t, &m);
	is(by_path, 0, "P10: none of the looks follows a link in the place of a directory");
	is(many_at_once(t, &m, out, 2, NULL, &err), -EINVAL, "a name that leads out is refused");
	mem_commit(&m);

	/* the tracker notes both, after the first names were taken */
	is(many_at_once(t, &m, again, 3, "mv w/d w/other; mkdir w/d; echo two >w/d/1", &err), 0, "another directory comes in its place");
	is(many_at_once(t, &m, swapped, 5, NULL, &err), 0, "and is captured by the next ones");
	scan(t, &m, false);
	is(differences(t, &m), 0, "nothing is mistaken for what is in the other");

	err = (struct hf_err){ 0 };
	is(many_at_once(t, &m, again, 3, "rm -r w", &err), -ENOENT, "a root that goes meanwhile is an error");
	is(hf_names_begin(t, &m.db, &(struct hf_names *){ NULL }, &err), -ENOENT, "one that is gone too");
	hf_tree_close(t);
	mem_free(&m);
}

/* every write is the same length: the checksum is in the contents */
static const char *to_write;
static unsigned readied;
static char was[8192];

/* what is made ready is told before a cleaning that waits: others come in between */
static void ready(void *arg, const void *p, size_t n)
{
	readied++;
	memcpy(was, p, n < sizeof(was) ? n : sizeof(was));
	if (to_write)
		sh("%s", to_write);
	to_write = NULL;
}

static void made_ready(void)
{
	const char *const name[] = { "f", "" };
	struct hf_err err = { 0 };
	struct memdb m;
	struct hf_tree *t;

	mem_init(&m);
	m.db.ready = ready;
	sh("mkdir -p rd/d; echo one >rd/f; sleep 0.05");
	t = opent("rd", 0, false);
	/* nobody can say then that the disk need not be waited for */
	t->blind = true;
	scan(t, &m, true);
	is(readied, 0, "a scan makes nothing ready");
	mem_commit(&m);
	sh("echo two >rd/f");
	is(many_at_once(t, &m, name, 2, NULL, &err), 0, "a name is captured");
	ok(readied == 1 && !memcmp(was, "two\n", 4), "its contents were made ready");
	is(differences(t, &m), 0, "and put");
	to_write = "echo tri >rd/f";
	sh("echo abc >rd/f");
	is(many_at_once(t, &m, name, 2, NULL, &err), 0, "they change after that, to as many");
	ok(readied == 2 && !memcmp(was, "abc\n", 4), "they were made ready as they had been");
	is(differences(t, &m), 0, "and put as they are");
	to_write = "echo longer >>rd/f";
	sh("echo def >rd/f");
	is(many_at_once(t, &m, name, 2, NULL, &err), 0, "to more");
	is(differences(t, &m), 0, "so too");
	to_write = "rm rd/f";
	sh("echo ghi >rd/f");
	is(many_at_once(t, &m, name, 2, NULL, &err), 0, "the file goes");
	is(many_at_once(t, &m, name, 2, NULL, &err), 0, "of which there is an event of its own");
	is(differences(t, &m), 0, "so too");
	to_write = "rm rd/f; mkfifo rd/f";
	sh("echo ghi >rd/f");
	is(many_at_once(t, &m, name, 2, NULL, &err), 0, "or becomes something else");
	is(many_at_once(t, &m, name, 2, NULL, &err), 0, "as there is of that");
	is(differences(t, &m), 0, "so too");
	readied = 0;
	sh("rm rd/f; head -c 65536 /dev/zero >rd/f");
	is(many_at_once(t, &m, name, 2, NULL, &err), 0, "64 KiB");
	is(readied, 1, "are made ready");
	sh("echo >>rd/f");
	is(many_at_once(t, &m, name, 2, NULL, &err), 0, "more");
	is(readied, 1, "are not");
	sh(": >rd/f");
	is(many_at_once(t, &m, name, 2, NULL, &err), 0, "nothing");
	is(readied, 1, "is not");
	is(differences(t, &m), 0, "it is the tree");
	hf_tree_close(t);
	mem_free(&m);
}

static void *rewrite(void *arg)
{
	static char buf[600000];
	int fd = open(arg, O_WRONLY);

	for (unsigned i = 0; !stop; i++) {
		memset(buf, 'a' + i % 26, sizeof(buf));
		for (size_t off = 0; off < sizeof(buf) && !stop; off += 60000)
			if (pwrite(fd, buf + off, 60000, off) < 0)
				break;
		rounds++;
	}
	close(fd);
	return NULL;
}

static void *replace(void *arg)
{
	char tmp[PATH_MAX + 8];

	snprintf(tmp, sizeof(tmp), "%s.tmp", (char *)arg);
	for (unsigned i = 0; !stop; i++) {
		int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC, 0644);
		char buf[5000];

		memset(buf, 'a' + i % 26, sizeof(buf));
		if (write(fd, buf, sizeof(buf)) < 0)
			break;
		close(fd);
		if (rename(tmp, arg))
			break;
	}
	return NULL;
}

static bool uniform(const struct mem_ent *e)
{
	const char *p = e->now.data;

	for (uint64_t i = 1; i < e->now.size; i++)
		if (p[i] != p[0])
			return false;
	return true;
}

/* who writes to the file between its being read and looked at again, each time */
static int written_fd = -1;

static int put_then_write(void *arg, const char *rel, const void *attr, size_t attrlen,
			  const struct hf_source *src, const struct hf_mark *mark, uint8_t hash[32])
{
	static char byte;
	int ret = mem_put(arg, rel, attr, attrlen, src, mark, hash);

	byte++;
	return pwrite(written_fd, &byte, 1, 300000) == 1 ? ret : -EIO;
}

static void written_in_each_try(struct hf_tree *t, struct memdb *m)
{
	struct hf_capture_stat st;
	uint8_t hash[32];

	memcpy(hash, mem_ent(m, "f", false)->now.hash, 32);
	written_fd = open(path_of("u/f"), O_WRONLY);
	is(pwrite(written_fd, "w", 1, 0), 1, "it is written to");
	m->db.put = put_then_write;
	capture(t, m, "f", &st);
	m->db.put = mem_put;
	close(written_fd);
	is(st.unstable, 1, "a file that is written to whenever it is read is found unstable");
	is(m->unputs, 1, "and what was put of it is taken back: once for each look, because it takes room all the same");
	is(memcmp(hash, mem_ent(m, "f", false)->now.hash, 32), 0, "the generation keeps the state before");
	mem_commit(m);
}

static void unstable(void)
{
	struct hf_capture_stat st;
	struct memdb m;
	struct hf_tree *t;
	pthread_t th;
	unsigned torn = 0, moved = 0, altered = 0;

	mem_init(&m);
	sh("mkdir u; head -c 600000 /dev/zero | tr '\\0' x >u/f; head -c 5000 /dev/zero | tr '\\0' y >u/r");
	t = opent("u", 0, false);
	capture(t, &m, "f", &st);
	mem_commit(&m);
	written_in_each_try(t, &m);
	stop = false;
	pthread_create(&th, NULL, rewrite, path_of("u/f"));
	while (!rounds)
		usleep(100);
	/* between two writes it may be still for long enough, now and then */
	for (int i = 0; i < 300 && moved < 10; i++) {
		uint8_t hash[32];

		memcpy(hash, mem_ent(&m, "f", false)->now.hash, 32);
		capture(t, &m, "f", &st);
		moved += st.unstable;
		altered += st.unstable && memcmp(hash, mem_ent(&m, "f", false)->now.hash, 32);
		mem_commit(&m);
	}
	stop = true;
	pthread_join(th, NULL);
	/* how often depends on who gets the processor */
	ok(!altered, "what another thread writes meanwhile is left out when unstable (%u times)", moved);
	capture(t, &m, "f", &st);
	is(st.unstable, 0, "still now");
	is(differences(t, &m) <= 1, 1, "and captured");
	scan(t, &m, false);
	is(differences(t, &m), 0, "all of it");

	torn = 0;
	stop = false;
	pthread_create(&th, NULL, replace, path_of("u/r"));
	for (int i = 0; i < 200; i++) {
		if (capture(t, &m, "r", &st))
			torn++;
		else if (there(&m, "r") && (!uniform(mem_ent(&m, "r", false)) || mem_ent(&m, "r", false)->now.size != 5000))
			torn++;
		if (!there(&m, "r"))
			torn++;
		mem_commit(&m);
	}
	stop = true;
	pthread_join(th, NULL);
	is(torn, 0, "a file that is replaced all the time is always captured whole");
	hf_tree_close(t);
	mem_free(&m);
}

static void *churn(void *arg)
{
	char p[PATH_MAX + 32], q[PATH_MAX + 32];

	for (unsigned i = 0; !stop; i++) {
		snprintf(p, sizeof(p), "%s/x%u", (char *)arg, i % 7);
		snprintf(q, sizeof(q), "%s/x%u", (char *)arg, (i + 3) % 7);
		switch (i % 6) {
		case 0: mkdir(p, 0755); break;
		case 1: rename(p, q); break;
		case 2: close(open(p, O_CREAT | O_WRONLY, 0600)); break;
		case 3: unlink(p); break;
		case 4: rmdir(q); break;
		case 5: if (symlink("/etc", p)) {} break;
		}
	}
	return NULL;
}

static void vanishing(void)
{
	struct hf_capture_stat st;
	struct hf_err err = { 0 };
	struct memdb m;
	struct hf_tree *t;
	pthread_t th;
	unsigned bad = 0;

	mem_init(&m);
	sh("mkdir -p v/d");
	t = opent("v", 0, false);
	stop = false;
	pthread_create(&th, NULL, churn, path_of("v/d"));
	for (int i = 0; i < 300; i++) {
		char rel[16];

		memset(&st, 0, sizeof(st));
		if (i % 3)
			snprintf(rel, sizeof(rel), "d/x%d", i % 7);
		else
			rel[0] = 0;
		if (*rel ? hf_capture_name(t, &m.db, rel, &st, &err) : hf_capture_scan(t, &m.db, "", false, &st, &err))
			bad++;
		mem_commit(&m);
	}
	stop = true;
	pthread_join(th, NULL);
	is(bad, 0, "names that come, go and change type are no error");
	if (bad)
		printf("# %s\n", err.msg);
	scan(t, &m, false);
	is(differences(t, &m), 0, "and in the end all is as it is");
	for (size_t i = 0; i < m.n; i++)
		bad += m.e[i]->now.there && !strncmp(m.e[i]->rel, "d/x", 3) && strchr(m.e[i]->rel + 3, '/');
	is(bad, 0, "nothing behind a link was captured");
	hf_tree_close(t);
	mem_free(&m);
}

static void set_times(const char *path, time_t s)
{
	struct timespec ts[2] = { { s, 0 }, { s, 0 } };

	utimensat(AT_FDCWD, path, ts, 0);
}

/* same size, same mtime, written right after it was captured */
static void racy(void)
{
	struct hf_capture_stat st;
	struct memdb m;
	struct hf_tree *t;
	unsigned missed = 0;
	char *p;

	mem_init(&m);
	sh("mkdir r; echo 0000 >r/f");
	p = path_of("r/f");
	t = opent("r", 0, false);
	for (unsigned i = 1; i < 300; i++) {
		char text[8];
		int fd = open(p, O_WRONLY);

		snprintf(text, sizeof(text), "%04u\n", i);
		if (pwrite(fd, text, 5, 0) != 5)
			missed++;
		close(fd);
		set_times(p, 1000000000);
		memset(&st, 0, sizeof(st));
		if (i % 50 == 0)
			usleep(25000);	/* now and then a mark is noted */
		hf_capture_scan(t, &m.db, "", false, &st, NULL);
		if (!holds(&m, "f", text))
			missed++;
		mem_commit(&m);
	}
	is(missed, 0, "no edit of the same size and time is missed");
	is(m.puts >= 299, 1, "each was put");
	hf_tree_close(t);
	mem_free(&m);
}

static void exclusion(void)
{
	static const char *const ex[] = { "*.swp", "cache", "etc/*.local" };
	struct hf_restore_stat rst;
	struct hf_capture_stat st;
	struct hf_err err = { 0 };
	struct hf_tree *t;
	struct memdb m;

	mem_init(&m);
	sh("mkdir -p x/cache/deep x/etc/sub x/gone/cache x/gone/d; touch x/a x/a.swp x/cache/f x/cache/deep/g x/etc/a.local x/etc/sub/b.local x/%s x/.holdfast-other x/.holdfast-abcdefgh", tmpname("abcdefgh"));
	is(hf_tree_open("/", path_of("x"), 0, false, ex, 3, &t, &err), 0, "open with exclusions");
	scan(t, &m, false);
	ok(there(&m, "a") && there(&m, "etc/sub/b.local"), "others are captured");
	ok(!there(&m, "a.swp") && !there(&m, "cache") && !there(&m, "cache/f") && !there(&m, "etc/a.local"),
	   "excluded names are not");
	ok(!there(&m, tmpname("abcdefgh")), "nor is a restore's temporary file");
	ok(there(&m, ".holdfast-abcdefgh") && there(&m, ".holdfast-other"), "one that is only called nearly so is");
	capture(t, &m, "cache/deep/g", &st);
	capture(t, &m, "a.swp", &st);
	ok(!there(&m, "cache") && !there(&m, "cache/deep/g") && !there(&m, "a.swp"), "not by name either");
	is(differences(t, &m), 0, "they are no difference");
	/* the generation loses a directory that holds an excluded name here */
	mem_del(&m, "gone");
	mem_del(&m, "gone/cache");
	mem_del(&m, "gone/d");
	mem_commit(&m);
	is(restore(t, &m, &rst, NULL), 0, "restore with exclusions");
	ok(!access(path_of("x/gone/cache"), F_OK), "a directory that holds an excluded name stays");
	ok(access(path_of("x/gone/d"), F_OK), "what else is in it goes");
	ok(!access(path_of("x/a.swp"), F_OK) && !access(path_of("x/cache/deep/g"), F_OK), "excluded names stay");
	ok(!sh("test ! -e x/%s", tmpname("abcdefgh")), "a leftover goes");
	ok(!access(path_of("x/.holdfast-abcdefgh"), F_OK), "that which is not stays");
	is(differences(t, &m), 0, "that is no difference");
	is(restore(t, &m, &rst, NULL), 0, "again");
	is(rst.written + rst.meta + rst.removed, 0, "nothing to do");
	hf_tree_close(t);
	mem_free(&m);
}

static void single_file(void)
{
	struct hf_restore_stat rst;
	struct hf_capture_stat st;
	struct hf_err err = { 0 };
	struct hf_tree *t, *d;
	struct memdb m;

	mem_init(&m);
	sh("mkdir s s2 s3; echo conf >s/app.conf; echo other >s/other; chmod 640 s/app.conf; ln -s app.conf s/link; touch s2/beside s2/%s", tmpname("zzzzzzzz"));
	is(hf_tree_open("/", path_of("s/app.conf"), 0, true, NULL, 0, &d, &err), -ENOTDIR, "P5: a file is no directory");
	t = opent("s/app.conf", HF_TREE_FILE, false);
	ok(hf_tree_name(t) && !strcmp(hf_tree_name(t), "app.conf"), "a file is a tree of one name");
	scan(t, &m, false);
	is(mem_count(&m), 1, "nothing else is captured");
	capture(t, &m, "other", &st);
	is(mem_count(&m), 1, "not by name either");
	is(differences(t, &m), 0, "no difference");
	is(hf_tree_open("/", path_of("s2/app.conf"), HF_TREE_FILE, true, NULL, 0, &d, &err), 0, "open where it is missing");
	is(restore(d, &m, &rst, NULL), 0, "restore it");
	ok(!strcmp(shout("stat -c %%a s2/app.conf; cat s2/app.conf; ls -A s2 | wc -l"), "640\nconf\n3\n"), "only it was touched");
	is(restore(d, &m, &rst, NULL), 0, "again");
	is(rst.written + rst.meta + rst.removed, 0, "nothing to do");
	is(hf_tree_alive(d), 0, "alive");
	hf_tree_close(d);
	sh("rm s/app.conf");
	capture(t, &m, "app.conf", &st);
	is(mem_count(&m), 0, "its removal is captured");
	hf_tree_close(t);
	d = NULL;
	is(hf_tree_open("/", path_of("s/link"), 0, false, NULL, 0, &d, &err), -ELOOP, "a link is refused");
	is(hf_tree_open("/", path_of("s/none"), 0, false, NULL, 0, &d, &err), -ENOENT, "a missing path is refused");
	is(hf_tree_open("/", path_of("s/none"), HF_TREE_FILE, false, NULL, 0, &d, &err), -ENOENT, "a missing file too");
	is(hf_tree_open("/", path_of("s"), HF_TREE_FILE, true, NULL, 0, &d, &err), -EISDIR, "a directory is no file");
	is(hf_tree_open("/", path_of("s/../s"), 0, false, NULL, 0, &d, &err), -EINVAL, "no '..' in a path");
	is(hf_tree_open("/", path_of("s/other/x"), 0, true, NULL, 0, &d, &err), -ENOTDIR, "nothing below a file");
	/* a root of the node's own: links stay in it */
	sh("mkdir -p root/etc root/real/app; ln -s /real root/etc/via; touch root/real/app/f");
	is(hf_tree_open(path_of("root"), "/etc/via/app", 0, false, NULL, 0, &d, &err), 0, "a link on the way is resolved");
	struct hf_tree_stat ts;

	is(hf_tree_measure(d, 0, &ts, &err), 0, "measure");
	is(ts.files, 1, "inside the node's root");
	is(hf_tree_alive(d), 0, "alive");
	sh("mv root/real/app root/real/app2; mkdir root/real/app");
	is(hf_tree_alive(d), -ENOENT, "another directory in its place is not it");
	hf_tree_close(d);
	mem_free(&m);
}

static void mounts(void)
{
	struct hf_restore_stat rst;
	struct hf_err err = { 0 };
	struct hf_tree *t;
	struct memdb m;
	char id[PATH_MAX];

	mem_init(&m);
	sh("mkdir -p m/in m/plain; touch m/plain/f");
	if (mount("none", path_of("m/in"), "tmpfs", 0, "size=1m")) {
		skip("no mounts here");
		return;
	}
	sh("touch m/in/hidden");
	t = opent("m", 0, false);
	scan(t, &m, false);
	ok(there(&m, "plain/f") && !there(&m, "in/hidden") && !there(&m, "in"), "a scan does not cross a mount");
	is(differences(t, &m), 0, "a mount point is no difference");
	is(restore(t, &m, &rst, NULL), 0, "a restore leaves it alone");
	ok(!access(path_of("m/in/hidden"), F_OK), "with what is on it");
	umount(path_of("m/in"));
	scan(t, &m, false);
	ok(there(&m, "in"), "without the mount it is a directory");
	mem_commit(&m);
	if (!mount("none", path_of("m/in"), "tmpfs", 0, "size=1m")) {
		scan(t, &m, false);
		ok(there(&m, "in"), "what a mount hides is not deleted");
		is(restore(t, &m, &rst, &err), -EXDEV, "but cannot be restored");
		ok(strstr(err.msg, "/m/in"), "and is named: %s", err.msg);
		umount(path_of("m/in"));
	}
	hf_tree_close(t);

	/* a root on a mount of its own */
	if (!mount("none", path_of("m/in"), "tmpfs", 0, "size=1m")) {
		sh("mkdir -p m/in/deep/tree");
		is(hf_tree_open(top, "/m/in/deep/tree", 0, false, NULL, 0, &t, &err), 0, "open below a mount");
		is(hf_tree_mounted(t, id, sizeof(id)), 1, "it is known to lie on one");
		ok(!strcmp(id, "/m/in"), "which is named: %s", id);
		is(hf_tree_alive(t), 0, "alive");
		umount2(path_of("m/in"), MNT_DETACH);
		is(hf_tree_alive(t), -ENOENT, "the mount is lost, and the tree with it");
		sh("mkdir -p m/in/deep/tree");
		is(hf_tree_alive(t), -EXDEV, "what was below the mount is not it");
		hf_tree_close(t);
	}
	is(hf_tree_open(top, "/m/plain", 0, false, NULL, 0, &t, &err), 0, "open elsewhere");
	is(hf_tree_mounted(t, id, sizeof(id)), 0, "no mount of its own");
	hf_tree_close(t);
	mem_free(&m);
}

/* deeper than PATH_MAX and than the descriptors that are kept */
static void deep(void)
{
	struct hf_restore_stat rst;
	struct hf_tree_stat ts;
	struct hf_tree *t, *d;
	struct memdb m;
	char name[120];
	int fd, at;

	mem_init(&m);
	memset(name, 'd', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	sh("mkdir deep");
	at = open(path_of("deep"), O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 120; i++) {
		mkdirat(at, name, 0755);
		fd = openat(at, name, O_RDONLY | O_DIRECTORY);
		close(at);
		at = fd;
		close(openat(at, "f", O_CREAT | O_WRONLY, 0600));
		close(openat(at, "z", O_CREAT | O_WRONLY, 0600));
	}
	close(at);
	t = opent("deep", 0, false);
	scan(t, &m, false);
	is(mem_count(&m), 1 + 120 * 3, "paths of 14,000 bytes are captured");
	d = opent("deep2", 0, true);
	is(restore(d, &m, &rst, NULL), 0, "and restored");
	is(differences(d, &m), 0, "exactly");
	is(hf_tree_measure(d, 0, &ts, NULL), 0, "and counted");
	is(ts.files, 240, "all of them");
	hf_tree_close(d);
	hf_tree_close(t);
	mem_free(&m);
}

static void sockets(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct hf_restore_stat rst;
	struct hf_tree *t;
	struct memdb m;
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	mem_init(&m);
	sh("mkdir k; touch k/f");
	snprintf(un.sun_path, sizeof(un.sun_path), "%.80s/k/sock", top);
	ok(!bind(s, (void *)&un, sizeof(un)), "a socket");
	t = opent("k", 0, false);
	scan(t, &m, false);
	ok(there(&m, "f") && !there(&m, "sock"), "is skipped");
	is(differences(t, &m), 0, "is no difference");
	is(restore(t, &m, &rst, NULL), 0, "restore");
	ok(!access(path_of("k/sock"), F_OK), "leaves it");
	close(s);
	hf_tree_close(t);
	mem_free(&m);
}

int main(void)
{
	scratch_begin();
	names();
	many();
	made_ready();
	unstable();
	vanishing();
	racy();
	exclusion();
	single_file();
	mounts();
	deep();
	sockets();
	return scratch_end();
}
