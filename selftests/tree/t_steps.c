// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P5, P6, P7: a restore that is killed before any of its system calls leaves every file whole,
 * old or new; the next one finishes it exactly, and keeps what it overwrites aside once.
 * At none of these calls may anybody do what he may not in the end, nor could before.
 */
#include "tree_test.h"
#include "trace.h"
#include <dirent.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/stat.h>

static struct memdb m;
static struct hf_tree *dst;
static const uint8_t key[32] = { 7 };

static void restore_it(void *arg)
{
	struct hf_restore_opts o = { 0 };
	struct hf_restore_stat st = { 0 };
	struct hf_err err = { 0 };
	int ret;

	hf_displaced_begin(path_of("state"), key, "r", "/dst", "offline-change", &o.keep, &err);
	ret = hf_restore(dst, &m.db, &o, &st, &err);
	if (ret)
		printf("# restore: %d %s\n", ret, err.msg);
	hf_displaced_end(o.keep, !ret, NULL, NULL, &err);
	if (arg)
		*(int *)arg = ret;
}

struct plan { long n, todo[5000], count; };

/* between two calls that change nothing it is all the same */
static int note(void *arg, long n, bool changed)
{
	struct plan *p = arg;

	if ((n == 1 || changed) && p->count < (long)HF_ARRAY(p->todo))
		p->todo[p->count++] = n;
	return 0;
}

static int kill_at(void *arg, long n, bool changed) { return n == ((struct plan *)arg)->n; }

struct copies { unsigned sets, n; char rels[1000]; };

static int count_copies(void *ctx, const char *id, uint64_t when, const char *reason, const char *resource,
			const char *checkpoint, const char *rel, const struct hf_attr *a)
{
	struct copies *c = ctx;

	c->sets += !rel;
	if (!rel)
		return 0;
	c->n++;
	snprintf(c->rels + strlen(c->rels), sizeof(c->rels) - strlen(c->rels), "%s ", rel);
	return 0;
}

static void killed_everywhere(void)
{
	static const char *const old_or_new = "cd dst; for f in $(find . -name '.holdfast-*' -prune -o -type f -print); do "
		"grep -q -x -e 'old ./.*' -e 'new ./.*' $f || [ $f = ./d/big ] || echo $f; done; [ ! -f d/big ] || "
		"cmp -s d/big ../old.big || cmp -s d/big ../src/d/big || echo big";
	static struct plan p;
	long calls, bad = 0, inexact = 0, left = 0, twice = 0, killed = 0;
	struct hf_restore_stat rst;

	sh("mkdir src tmpl; cd src; mkdir -p d/e new/deep was; for f in a d/x d/e/y new/deep/z new/1 new/2 new/3 new/4 was/dir same b1; do echo \"new ./$f\" >$f; done;"
	   "head -c 300000 /dev/urandom >d/big; ln b1 b2; ln b1 d/b3; ln -s new l; mkfifo p; chown daemon:mail a new; chmod 2750 d; chmod 0400 d/x;"
	   "setfattr -n user.k -v v d/e/y; setfacl -m u:bin:r d/e/y; setfacl -d -m u:bin:rx new; touch -d 2001-01-01 same a d/e .");
	sh("cd tmpl; cp -p ../src/same .; mkdir -p d/e gone/deeper a; for f in a/1 d/x d/e/y gone/1 gone/deeper/2 was b1 b2; do echo \"old ./$f\" >$f; done;"
	   "head -c 300000 /dev/urandom >d/big; cp d/big ../old.big; ln -s old l; mkdir p; chmod 777 d; chown bin d; setfacl -m u:games:rwx d/e/y; ln b1 gone/b1; echo left >%s", tmpname("aaaaaaaa"));
	struct hf_tree *src = opent("src", 0, false);

	scan(src, &m, false);
	hf_tree_close(src);
	mem_forget(&m);
	sh("cp -a tmpl dst");
	dst = opent("dst", 0, false);
	calls = traced(restore_it, note, &p);
	if (calls <= 0) {
		skip("no process can be traced here");
		return;
	}
	is(differences(dst, &m), 0, "not killed: exact");
	struct copies all = { 0 };

	hf_displaced_list(path_of("state"), key, NULL, count_copies, &all, NULL);
	ok(all.n >= 10, "%u entries kept aside: %s", all.n, all.rels);
	for (long i = 0; i < p.count; i++) {
		struct copies c = { 0 };
		long n = p.n = p.todo[i];
		int ret;

		hf_tree_close(dst);
		sh("rm -rf dst state; cp -a tmpl dst");
		dst = opent("dst", 0, false);
		killed += traced(restore_it, kill_at, &p) == -n;
		if (*shout("%s", old_or_new)) {
			if (!bad++)
				printf("# killed before call %ld, not whole: %s\n", n, shout("%s", old_or_new));
		}
		restore_it(&ret);
		if (ret || differences(dst, &m))
			if (!inexact++)
				printf("# killed before call %ld: not exact\n", n);
		left += *shout("find dst -name '.holdfast-*'; find state -name '.c*'") != 0;
		hf_displaced_list(path_of("state"), key, NULL, count_copies, &c, NULL);
		/* what was there to be kept, once; the root has no times left to differ when it is finished */
		if (c.n > all.n || c.n + 1 < all.n || c.sets != 1) {
			if (!twice++)
				printf("# killed before call %ld: kept aside in %u sets: %s\n", n, c.sets, c.rels);
		}
	}
	/* what the allocator asks for, and time, differ a little from run to run */
	ok(p.count > 100 && killed > p.count - 10, "P5: killed after %ld of %ld system calls, each that changes a file", killed, calls);
	is(bad, 0, "P6: every file is whole, old or new");
	is(inexact, 0, "P5: the next restore finishes it, exactly");
	is(left, 0, "no temporary file is left");
	is(twice, 0, "P7: what was overwritten is kept aside once");
	is(restore(dst, &m, &rst, NULL), 0, "again");
	is(rst.written + rst.meta + rst.removed, 0, "P6: nothing to do");
	hf_tree_close(dst);
	mem_free(&m);
}

/* who is who: owners of files, members of groups, others */
static const struct { uid_t uid; gid_t gid; } who[] = { { 1, 1 }, { 2, 2 }, { 3, 12 }, { 65534, 65534 }, { 5, 60 } };

struct right { char rel[64], what[24]; bool may[HF_ARRAY(who)][2]; };
struct rights { struct right r[200]; unsigned n; };

static void may(const char *top_dir, const char *rel, bool out[HF_ARRAY(who)][2])
{
	char p[PATH_MAX];
	struct stat st;
	bool dir;

	snprintf(p, sizeof(p), "%s/%s", top_dir, rel);
	dir = !lstat(p, &st) && S_ISDIR(st.st_mode);
	for (unsigned i = 0; i < HF_ARRAY(who); i++) {
		setfsgid(who[i].gid);
		setfsuid(who[i].uid);
		for (int w = 0; w < 2; w++) {
			int fd = open(p, (w ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

			out[i][w] = fd >= 0;
			if (fd >= 0)
				close(fd);
		}
		/* in a directory, to write is to make names, and to remove those of others */
		if (dir)
			out[i][1] = !syscall(SYS_faccessat2, AT_FDCWD, p, W_OK | X_OK, AT_EACCESS) &&
				    (!(st.st_mode & S_ISVTX) || st.st_uid == who[i].uid);
		setfsuid(0);
		setfsgid(0);
	}
}

static void look_into(const char *top_dir, const char *rel, struct rights *r)
{
	char p[PATH_MAX], sub[PATH_MAX];
	struct dirent **v = NULL;
	struct stat st;
	struct right *e;
	int n, fd;

	snprintf(p, sizeof(p), "%s/%s", top_dir, rel);
	if (lstat(p, &st) || r->n == HF_ARRAY(r->r) || S_ISLNK(st.st_mode) || S_ISFIFO(st.st_mode))
		return;
	e = &r->r[r->n++];
	memset(e, 0, sizeof(*e));
	snprintf(e->rel, sizeof(e->rel), "%.60s", rel);
	may(top_dir, rel, e->may);
	if (S_ISREG(st.st_mode)) {
		fd = open(p, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, e->what, sizeof(e->what) - 1);
		e->what[n > 0 ? n : 0] = 0;
		if (fd >= 0)
			close(fd);
	}
	if (!S_ISDIR(st.st_mode))
		return;
	n = scandir(p, &v, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		if (strcmp(v[i]->d_name, ".") && strcmp(v[i]->d_name, "..")) {
			snprintf(sub, sizeof(sub), "%s%s%s", rel, *rel ? "/" : "", v[i]->d_name);
			look_into(top_dir, sub, r);
		}
		free(v[i]);
	}
	free(v);
}

struct watching { struct rights before, after, now; char dir[PATH_MAX]; unsigned wider; };

static bool had(const struct rights *r, const struct right *e, unsigned i, int w)
{
	for (unsigned k = 0; k < r->n; k++) {
		const struct right *o = &r->r[k];
		bool same = *e->what ? !strcmp(o->what, e->what) : !strcmp(o->rel, e->rel);

		/* what has no contents yet will be one of those beside it */
		if (strstr(e->rel, ".holdfast-") && !*e->what) {
			const char *s = strrchr(e->rel, '/');
			size_t n = s ? s - e->rel + 1 : 0;

			same = *o->what && !strncmp(o->rel, e->rel, n) && !strchr(o->rel + n, '/');
		}
		if (same && o->may[i][w])
			return true;
	}
	return false;
}

static int watch(void *arg, long n, bool changed)
{
	struct watching *x = arg;

	if (!changed)
		return 0;
	x->now.n = 0;
	look_into(x->dir, "", &x->now);
	for (unsigned k = 0; k < x->now.n; k++)
		for (unsigned i = 0; i < HF_ARRAY(who); i++)
			for (int w = 0; w < 2; w++) {
				const struct right *e = &x->now.r[k];

				if (!e->may[i][w] || had(&x->before, e, i, w) || had(&x->after, e, i, w))
					continue;
				if (!x->wider++)
					printf("# before call %ld %u:%u may %s %s (%.20s)\n", n, who[i].uid, who[i].gid,
					       w ? "write" : "read", e->rel, e->what);
			}
	return 0;
}

static void never_wider(void)
{
	static struct watching x;
	struct hf_tree *src;

	mem_init(&m);
	sh("rm -rf src dst tmpl state; mkdir src tmpl; chmod 755 . src tmpl; cd src; mkdir -p closed/in shared sticky acl;"
	   "i=0; for f in closed/world closed/in/deep shared/f shared/own shared/r0 shared/none sticky/f acl/named acl/group; do echo \"new $f\" >$f; done;"
	   "chmod 0644 closed/world closed/in/deep; chmod 0700 closed; chown daemon closed; chown bin shared/own; chmod 0400 shared/own; chmod 0 shared/none;"
	   "chown daemon:bin shared/r0; chmod 0440 shared/r0; chmod 2770 shared; chown :man shared; chmod 1777 sticky; chmod 0640 acl/named acl/group;"
	   "setfacl -m u:bin:r,g::-,m:r acl/named; chown :man acl/group; setfacl -m u:sys:rw,g::r acl/group; setfacl -d -m u:games:rwx acl");
	sh("cp -a src tmpl/1; mv tmpl/1/* tmpl; rmdir tmpl/1; cd tmpl; for f in closed/world closed/in/deep shared/f shared/own shared/r0 shared/none sticky/f; do"
	   " rm -f $f; echo \"old $f\" >$f; chmod 666 $f; done; chmod 777 closed shared; chown games sticky; chown nobody closed; setfacl -b acl/named acl/group; setfacl -k acl;"
	   "chmod 0660 acl/named; chown games:games acl/named acl/group; setfacl -m u:nobody:rw acl/group; setfacl -m u:games:rwx acl; rm shared/r0 closed/in/deep");
	if (!*shout("getfacl -c src/acl/named | grep user:bin")) {
		skip("no ACLs here");
		return;
	}
	src = opent("src", 0, false);
	scan(src, &m, false);
	hf_tree_close(src);
	mem_forget(&m);
	chmod(top, 0755);
	setgroups(0, NULL);
	for (int i = 0; i < 2; i++) {
		/* over a tree that is more open, and into nothing */
		sh("rm -rf dst state; %s dst; chmod 755 dst", i ? "mkdir" : "cp -a tmpl");
		snprintf(x.dir, sizeof(x.dir), "%s", path_of("src"));
		x.before.n = x.after.n = x.wider = 0;
		look_into(x.dir, "", &x.after);
		snprintf(x.dir, sizeof(x.dir), "%s", path_of("dst"));
		look_into(x.dir, "", &x.before);
		dst = opent("dst", 0, false);
		if (traced(restore_it, watch, &x) <= 0)
			skip("no process can be traced here");
		else
			is(x.wider, 0, i ? "P6: nor in what is made" : "P6: at no system call may anybody do more than before or after");
		is(differences(dst, &m), 0, "exact");
		hf_tree_close(dst);
	}
	mem_free(&m);
}

int main(void)
{
	scratch_begin();
	mem_init(&m);
	killed_everywhere();
	never_wider();
	return scratch_end();
}
