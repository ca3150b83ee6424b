// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P6: a rich tree comes back exactly, as rsync judges; a second restore
 * changes nothing; a restore writes only what differs.
 */
#include "tree_test.h"

static void rich_tree(void)
{
	sh("mkdir -p src/empty src/a/b/c src/perm 'src/odd names' src/many");
	sh("cd src; echo hello >plain; : >zero; head -c 300000 /dev/urandom >big; head -c 262144 /dev/urandom >edge;"
	   "head -c 4095 /dev/urandom >p1; head -c 4097 /dev/urandom >p2; head -c 8192 /dev/zero >zeros;"
	   "truncate -s 20000000 sparse; echo x | dd of=sparse bs=1 seek=10000000 conv=notrunc 2>/dev/null;"
	   "echo end >>sparse");
	sh("cd src; ln -s plain link; ln -s /nonexistent/target dangling; ln -s ../../outside a/up; ln plain hard");
	sh("cd src/perm; for m in 0000 0400 0644 0755 1777 2755 4755 6711; do echo $m >f$m; chmod $m f$m; done;"
	   "mkdir d1777 d2770 d0500; chmod 1777 d1777; chmod 2770 d2770; chmod 0500 d0500");
	sh("cd 'src/odd names'; echo 1 >'-n'; echo 2 >\"$(printf 'tab\\there')\"; echo 3 >\"$(printf 'nl\\nx')\";"
	   "echo 4 >\"$(printf '\\377\\376')\"; echo 5 >'a b'; echo 6 >'*'; echo 7 >\"$(printf '%%255s' | tr ' ' q)\";"
	   "mkdir a; echo 8 >a/x; echo 9 >a.b; echo 10 >\"$(printf 'a\\001')\"; echo 11 >a-b;"
	   "for d in ab a.d a-; do mkdir $d; echo $d >$d/x; done");
	sh("cd src; i=0; while [ $i -lt 300 ]; do echo $i >many/f$i; i=$((i+1)); done");
	sh("cd src; mkfifo fifo; mknod null c 1 3; mknod loop b 7 99; chmod 0640 fifo");
	sh("cd src; chown daemon:mail a plain; chown -h bin:games link; chown 54321:54322 big; chmod 4750 big");
	sh("cd src; setfattr -n user.k -v value plain; setfattr -n user.empty a; setfattr -n trusted.t -v 0x0001ff p1;"
	   "setfattr -h -n trusted.onlink -v yes dangling; setfattr -n user.large -v 0x$(head -c 2000 /dev/urandom | od -An -tx1 | tr -d ' \\n') p2");
	ok(!sh("cd src; setfacl -m u:daemon:rwx,g:games:r,m:rx p1 && setfacl -d -m u:bin:rx a"), "ACLs can be set here");
	ok(!sh("cd src; setcap cap_net_bind_service+ep p2"), "so can capabilities");
	sh("cd src; touch -h -d '2001-02-03 04:05:06.789012345' link; touch -d '1999-01-01 00:00:00.000000001' plain;"
	   "touch -d '1969-12-31 12:00:00' zero; touch -d '2040-06-01' a/b; touch -d '2010-01-01 01:01:01.111111111' a perm .");
}

static int rsync_differs(const char *a, const char *b)
{
	const char *out = shout("rsync -aHAXSc --numeric-ids --itemize-changes --dry-run --delete %s/ %s/", a, b);

	if (*out)
		printf("# rsync says:\n# %s\n", out);
	return *out != 0;
}

static char *stats_of(const char *dir)
{
	return strdup(shout("find %s -printf '%%P %%y %%i %%m %%U %%G %%C@ %%T@ %%s %%l\\n' | sort | sha256sum", dir));
}

int main(void)
{
	struct hf_restore_stat rst;
	struct hf_capture_stat cst;
	struct hf_tree *src, *dst;
	struct memdb m;
	char *before, *after;
	size_t names;

	scratch_begin();
	mem_init(&m);
	rich_tree();
	src = opent("src", 0, false);
	cst = scan(src, &m, false);
	names = strtoul(shout("find src -printf x | wc -c"), NULL, 10);
	is(cst.put, names, "every name was put");
	is(mem_count(&m), names, "and is known");
	is(cst.unstable, 0, "nothing was unstable");
	is(differences(src, &m), 0, "the source equals what was captured");
	mem_commit(&m);
	usleep(30000);
	scan(src, &m, false);
	m.puts = m.marks = 0;
	cst = scan(src, &m, false);
	is(cst.put + cst.deleted, 0, "a second scan puts nothing");
	is(m.marks, 0, "and finds every mark in place");

	dst = opent("dst", 0, true);
	mem_forget(&m);
	is(restore(dst, &m, &rst, NULL), 0, "restore into an empty directory");
	ok(!rsync_differs("src", "dst"), "rsync finds no difference");
	ok(!*shout("find dst -name '.holdfast-*'"), "no temporary file is left");
	{
		char *a = strdup(shout("cd src && find . -mindepth 1 -exec getfattr -h -d -m - -e hex {} + | sha256sum"));
		const char *b = shout("cd dst && find . -mindepth 1 -exec getfattr -h -d -m - -e hex {} + | sha256sum");

		ok(!strcmp(a, b), "getfattr finds no difference");
		free(a);
		a = strdup(shout("cd src && find . -printf '%%P %%y %%m %%U %%G %%T@ %%l\\n' | sort | sha256sum"));
		b = shout("cd dst && find . -printf '%%P %%y %%m %%U %%G %%T@ %%l\\n' | sort | sha256sum");
		ok(!strcmp(a, b), "types, modes, owners, times and targets are equal");
		free(a);
	}
	is(strtol(shout("du -k dst/sparse | cut -f1"), NULL, 10) < 100, 1, "holes stay holes");
	is(differences(dst, &m), 0, "compare finds no difference");

	before = stats_of("dst");
	is(restore(dst, &m, &rst, NULL), 0, "restore again");
	is(rst.written + rst.meta + rst.removed, 0, "it wrote nothing");
	after = stats_of("dst");
	ok(!strcmp(before, after), "no inode number and no change time moved");
	free(after);
	mem_forget(&m);
	is(restore(dst, &m, &rst, NULL), 0, "and again, comparing contents");
	is(rst.written + rst.meta + rst.removed, 0, "it wrote nothing");
	after = stats_of("dst");
	ok(!strcmp(before, after), "no inode number and no change time moved");
	free(before);
	free(after);

	sh("cd dst; echo changed >plain; rm link; chmod 0600 p1; touch new; mkdir -p newdir/x; touch newdir/x/y;"
	   "setfattr -x user.large p2; setfattr -n user.extra -v 1 edge; touch -d 2000-01-01 a/b; rm -r many; : >%s;"
	   "for d in a a- a.d ab; do echo changed >'odd names'/$d/x; done", tmpname("aaaabbbb"));
	before = strdup(shout("stat -c '%%i %%z' dst/big dst/sparse dst/zeros"));
	ok(differences(dst, &m) > 0, "compare sees the changes");
	is(restore(dst, &m, &rst, NULL), 0, "restore what was changed");
	ok(!rsync_differs("src", "dst"), "rsync finds no difference");
	is(rst.removed, 4, "what is extra went");
	is(rst.written, 2 + 1 + 301 + 4, "only what differs was written");
	is(rst.meta, 3 + 2 + 5, "attributes alone were set in place: three files, a/b, root, directories of what was written");
	ok(!*shout("find dst -name '.holdfast-*'"), "a leftover is removed");
	after = strdup(shout("stat -c '%%i %%z' dst/big dst/sparse dst/zeros"));
	ok(!strcmp(before, after), "other files were not touched");
	free(before);
	free(after);

	/* type changes, each way */
	sh("cd dst; rm -r a; echo file >a; rm plain; mkdir -p plain/sub; echo z >plain/sub/z; rm link; mkdir link;"
	   "rm fifo; ln -s x fifo; rm null; echo dev >null; rm -r empty; ln -s /etc empty");
	is(restore(dst, &m, &rst, NULL), 0, "restore across changes of type");
	ok(!rsync_differs("src", "dst"), "rsync finds no difference");

	/* damaged contents are never made visible */
	sh("echo local >dst/plain");
	m.damage = true;
	{
		struct hf_err err = { 0 };

		is(restore(dst, &m, &rst, &err), -EBADMSG, "damaged contents are refused");
		ok(strstr(err.msg, "/dst/hard"), "and named: %s", err.msg);
	}
	m.damage = false;
	ok(!strcmp(shout("cat dst/plain"), "local\n"), "the local file is untouched");
	ok(!*shout("find dst -name '.holdfast-*'"), "no temporary file is left");

	hf_tree_close(src);
	hf_tree_close(dst);
	mem_free(&m);
	return scratch_end();
}
