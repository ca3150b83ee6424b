// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The netlink family, spoken without a library: what is refused, and why; dumps
 * that take several messages, or meet changes; names that no message holds;
 * numbers of change events; who consumes; who may not (P10).
 */
#include "netlink_sock.h"
#include <sched.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int n, failed;

__attribute__((format(printf, 2, 3)))
static bool ok_(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", good ? "" : "not ", ++n);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	failed += !good;
	return good;
}

/* what is printed is evaluated after the condition */
#define ok(cond, ...) ({ bool good_ = (cond); ok_(good_, __VA_ARGS__); })

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0644);

	if (fd < 0 || write(fd, "x", 1) != 1 || close(fd))
		die(path);
}

static void param(const char *name, const char *value)
{
	char p[128];
	int fd;

	snprintf(p, sizeof(p), "/sys/module/holdfast/parameters/%s", name);
	fd = open(p, O_WRONLY);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		die(p);
	close(fd);
}

static char top[128];

static void refused(struct sock *s)
{
	static char long_path[PATH_MAX + 1];
	struct msg m;
	int fd = open(top, O_RDONLY | O_DIRECTORY), p = open(top, O_PATH), f;

	begin(&m, family, 0, HOLDFAST_CMD_VERSION_GET);
	put32(&m, HOLDFAST_A_TREE_ID, 1);
	ok(call(s, &m, NULL) == -EINVAL && strstr(why, "does not take") &&
	   bad_offset == NLMSG_HDRLEN + GENL_HDRLEN, "an attribute too many is refused: %s", why);
	begin(&m, family, 0, HOLDFAST_CMD_BARRIER);
	ok(call(s, &m, NULL) == -EINVAL && strstr(why, "tree-id"), "one that is missing is named: %s", why);
	ok(miss_type == HOLDFAST_A_TREE_ID || !miss_type, "and told by number");
	begin(&m, family, 0, HOLDFAST_CMD_BARRIER);
	put32(&m, 60, 1);
	ok(call(s, &m, NULL) == -EINVAL, "an unknown attribute is refused: %s", why);
	begin(&m, family, 0, HOLDFAST_CMD_CHANGE_NTF);
	ok(call(s, &m, NULL) == -EOPNOTSUPP, "the event's command is none");
	ok(simple(s, HOLDFAST_CMD_BARRIER, 4711) == -ENOENT && why[0], "no such tree: %s", why);
	ok(dump(s, HOLDFAST_CMD_DIRTY_GET, 4711, sizeof(m), NULL) == -ENOENT, "nor in a dump: %s", why);
	ok(dump(s, HOLDFAST_CMD_DIRTY_GET, 0, sizeof(m), NULL) == -EINVAL, "a dump without a tree: %s", why);
	ok(dump(s, HOLDFAST_CMD_TREE_GET, 1, sizeof(m), NULL) == -EINVAL, "trees are dumped all or none: %s", why);

	ok(add_full(s, 999, "c", "/x", 2, NULL, 0, NULL) == -EBADF && why[0], "no descriptor: %s", why);
	ok(add_full(s, p, "c", "/x", 2, NULL, 0, NULL) == -EBADF, "O_PATH: %s", why);
	f = open("/proc/self/exe", O_RDONLY);
	ok(add_full(s, f, "c", "/x", 2, NULL, 0, NULL) == -ENOTDIR && why[0], "not a directory: %s", why);
	close(f);
	ok(add_full(s, fd, "", "/x", 2, NULL, 0, NULL) == -EINVAL && why[0], "no consumer: %s", why);
	ok(add_full(s, fd, "c", "", 0, NULL, 0, NULL) == -EINVAL && why[0], "no path: %s", why);
	memset(long_path, 'p', sizeof(long_path));
	ok(add_full(s, fd, "c", long_path, PATH_MAX, NULL, 0, NULL) == -EINVAL, "path of 4096 bytes");
	ok(add_full(s, fd, "c", "/x", 2, "a/b", 3, NULL) == -EINVAL &&
	   add_full(s, fd, "c", "/x", 2, ".", 1, NULL) == -EINVAL &&
	   add_full(s, fd, "c", "/x", 2, "..", 2, NULL) == -EINVAL &&
	   add_full(s, fd, "c", "/x", 2, "", 0, NULL) == -EINVAL &&
	   add_full(s, fd, "c", "/x", 2, "a\0b", 3, NULL) == -EINVAL &&
	   add_full(s, fd, "c", "/x", 2, long_path, 256, NULL) == -EINVAL, "bad files: %s", why);
	begin(&m, family, 0, HOLDFAST_CMD_TREE_ADD);
	put32(&m, HOLDFAST_A_ROOT_FD, fd);
	ok(call(s, &m, NULL) == -EINVAL && strstr(why, "resource"), "tree-add: %s", why);
	ok(dump(s, HOLDFAST_CMD_TREE_GET, 0, sizeof(m), NULL) == 0 && listed == 0, "and no tree is there");
	close(fd);
	close(p);
}

static void unprivileged(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct sock s;
		struct msg m;

		if (setresuid(65534, 65534, 65534))
			_exit(9);
		s = sock_new();
		begin(&m, family, 0, HOLDFAST_CMD_VERSION_GET);
		if (call(&s, &m, NULL) != -EPERM)
			_exit(1);
		begin(&m, family, NLM_F_DUMP, HOLDFAST_CMD_TREE_GET);
		if (call(&s, &m, NULL) != -EPERM)
			_exit(2);
		if (join(&s) != -EPERM)
			_exit(3);
		if (unshare(CLONE_NEWUSER) == 0 && join(&s) != -EPERM)
			_exit(4);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	ok(status == 0, "P10: without privilege no request, no dump, no event (%#x)", status);
}

static void consumers(struct sock *s)
{
	struct sock other = sock_new();
	uint32_t id;
	struct msg m;
	int e1, e2;

	id = add(s, top, "node-1");
	ok((int)id > 0 && !(reply_flags & HOLDFAST_TREE_FLAG_RESUMED), "a tree is added");
	ok(reply_flags & HOLDFAST_TREE_FLAG_ATTACHED, "and attached");
	e1 = add(&other, top, "node-1");
	ok(e1 == -EBUSY && why[0], "it has one consumer: %s", why);
	e2 = mark(&other, id, 1, (int[]){ 0 });
	ok(e2 == -EBUSY, "another marks nothing: %s", why);
	begin(&m, family, 0, HOLDFAST_CMD_ACK);
	put32(&m, HOLDFAST_A_TREE_ID, id);
	put_ack(&m, 1, 1);
	ok(call(&other, &m, NULL) == -EBUSY, "nor acknowledges");
	begin(&m, family, 0, HOLDFAST_CMD_EXCLUDE);
	put32(&m, HOLDFAST_A_TREE_ID, id);
	put32(&m, HOLDFAST_A_EXCLUDE, 1);
	ok(call(&other, &m, NULL) == -EBUSY, "nor excludes");
	ok(simple(&other, HOLDFAST_CMD_TREE_DEL, id) == -EBUSY && why[0], "nor deletes: %s", why);
	close(s->fd);
	*s = sock_new();
	barrier(&other, id);
	ok(!(g32(st[HOLDFAST_A_TREE_FLAGS]) & HOLDFAST_TREE_FLAG_ATTACHED), "closed: nobody consumes it");
	ok(mark(&other, id, 1, (int[]){ 0 }) == -EPERM && why[0], "and whoever would has to take it over: %s", why);
	touch("while-nobody");
	ok(add(s, top, "node-1") == (int)id && (reply_flags & HOLDFAST_TREE_FLAG_RESUMED), "it is taken over");
	ok(dump(s, HOLDFAST_CMD_DIRTY_GET, id, sizeof(m), NULL) == 0 && find("while-nobody"),
	   "P2: with what came meanwhile");
	ok(find("while-nobody") && find("while-nobody")->pid == (uint32_t)getpid(), "and who did it");
	ok(ack_all(s, id) == 0 && dump(s, HOLDFAST_CMD_DIRTY_GET, id, sizeof(m), NULL) == 0 && !listed,
	   "acknowledged, it is clean");
	ok(simple(s, HOLDFAST_CMD_TREE_DEL, id) == 0 && simple(s, HOLDFAST_CMD_BARRIER, id) == -ENOENT,
	   "deleted, it is gone");
	close(other.fd);
}

static void marks(struct sock *s)
{
	uint32_t id = add(s, top, "node-1");
	int fd[4];

	mkdir("m", 0755);
	mkdir("m/a", 0755);
	mkdir("/node/outside", 0755);
	fd[0] = open("m", O_RDONLY);
	fd[1] = open("m/a", O_RDONLY);
	fd[2] = open("/node/outside", O_RDONLY);
	fd[3] = open("while-nobody", O_RDONLY);
	ok(mark(s, id, 2, fd) == 0, "directories are marked in their order: %s", why);
	ok(mark(s, id, 2, fd) == 0, "and again");
	ok(mark(s, id, 3, fd) == -ESTALE && bad_offset == NLMSG_HDRLEN + GENL_HDRLEN + 8 * 3,
	   "the one that does not lie in the tree is pointed to: %s", why);
	ok(mark(s, id, 1, fd + 3) == -ENOTDIR, "a file is none: %s", why);
	barrier(s, id);
	ok(g64(st[HOLDFAST_A_MARKS]) == 3, "three are marked");
	simple(s, HOLDFAST_CMD_TREE_DEL, id);
	for (int i = 0; i < 4; i++)
		close(fd[i]);
}

static int made;
static void make_more(void)
{
	char name[32];

	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "many/%05d", made++);
		touch(name);
	}
}

static void dumps(struct sock *s)
{
	uint32_t id;
	int i, before, dup = 0, lost = 0;
	char name[32];
	uint64_t last = 0;

	mkdir("many", 0755);
	id = add(s, top, "node-1");
	i = open("many", O_RDONLY);
	mark(s, id, 1, &i);
	close(i);
	while (made < 2000)
		make_more();
	ok(dump_small(HOLDFAST_CMD_DIRTY_GET, id, NULL) == 0 && listed == 2000 && messages > 50 &&
	   !inconsistent, "a dump of %d entries in %d messages, into 4096 bytes", listed, messages);
	ok(dump(s, HOLDFAST_CMD_DIRTY_GET, id, 32768, NULL) == 0 && listed == 2000 && !inconsistent,
	   "and in %d into 32768", messages);
	for (i = 0; i < listed; i++) {
		dup += list[i].id <= last;
		last = list[i].id;
	}
	ok(!dup, "by number");
	before = made;
	ok(dump_small(HOLDFAST_CMD_DIRTY_GET, id, make_more) == 0 && inconsistent,
	   "one that meets changes says so, once (%d)", inconsistent);
	for (i = 0; i < before; i++) {
		snprintf(name, sizeof(name), "many/%05d", i);
		lost += !find(name);
	}
	ok(!lost, "and has all that was there");
	ok(ack_all(s, id) == 0 && dump(s, HOLDFAST_CMD_DIRTY_GET, id, 32768, NULL) == 0, "acknowledged");
	barrier(s, id);
	ok((int)g64(st[HOLDFAST_A_DIRTY]) == listed, "what is left is counted: %d", listed);

	/* changed since it was dumped: it stays */
	ack_all(s, id);
	touch("many/00001");
	dump(s, HOLDFAST_CMD_DIRTY_GET, id, 32768, NULL);
	touch("many/00001");
	ack_all(s, id);
	dump(s, HOLDFAST_CMD_DIRTY_GET, id, 32768, NULL);
	ok(listed == 1 && find("many/00001"), "P2: what changed since it was dumped stays");
	ack_all(s, id);
	dump(s, HOLDFAST_CMD_DIRTY_GET, id, 32768, NULL);
	ok(!listed, "until it is acknowledged as it is");
	barrier(s, id);
	ok(g64(st[HOLDFAST_A_SINCE]) == 0 && g64(st[HOLDFAST_A_DIRTY]) == 0, "clean");
	simple(s, HOLDFAST_CMD_TREE_DEL, id);
}

static void coarse(struct sock *s)
{
	uint32_t id;
	int i, fd, lost = 0, dup = 0;
	char name[64];
	uint64_t last = 0;

	mkdir("c", 0755);
	for (i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "c/%03d", i);
		mkdir(name, 0755);
	}
	id = add(s, top, "node-1");
	fd = open("c", O_RDONLY);
	mark(s, id, 1, &fd);
	close(fd);
	for (i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "c/%03d", i);
		fd = open(name, O_RDONLY);
		if (mark(s, id, 1, &fd))
			die("mark");
		close(fd);
	}
	for (i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "c/%03d/e", i);
		touch(name);
	}
	param("dirty_max", "1");
	/* backwards, so that numbers and the table's order differ */
	for (i = 299; i >= 0; i--) {
		snprintf(name, sizeof(name), "c/%03d/f", (i * 7) % 300);
		touch(name);
	}
	param("dirty_max", "16777216");
	touch("c/other");
	ok(dump_small(HOLDFAST_CMD_DIRTY_GET, id, NULL) == 0 && listed == 301 && !inconsistent,
	   "P2: without memory directories are noted: %d", listed);
	for (i = 0; i < 300; i++) {
		struct change *c;

		snprintf(name, sizeof(name), "c/%03d", i);
		c = find(name);
		lost += !c || c->state != HOLDFAST_STATE_SUBTREE;
		dup += i + 1 < listed && list[i + 1].id <= last;
		last = i + 1 < listed ? list[i + 1].id : last;
	}
	ok(!lost && !dup, "each once, as a whole, by number (%d %d)", lost, dup);
	touch("c/007/again");
	ack_all(s, id);
	dump_small(HOLDFAST_CMD_DIRTY_GET, id, NULL);
	ok(listed == 1 && find("c/007"), "what changed since stays (%d)", listed);
	ack_all(s, id);
	barrier(s, id);
	ok(g64(st[HOLDFAST_A_DIRTY]) == 0, "then all is clean");
	simple(s, HOLDFAST_CMD_TREE_DEL, id);
}

static void deep(struct sock *s)
{
	char name[201];
	uint32_t id;
	int fd, home = open(".", O_RDONLY), i, len = 4;

	memset(name, 'd', 200);
	name[200] = 0;
	mkdir("deep", 0755);
	if (chdir("deep"))
		die("deep");
	id = add(s, top, "node-1");
	fd = open(".", O_RDONLY);
	mark(s, id, 1, &fd);
	close(fd);
	for (i = 0; i < 25; i++) {
		if (mkdir(name, 0755) || chdir(name))
			die("mkdir");
		fd = open(".", O_RDONLY);
		if (mark(s, id, 1, &fd))
			die("mark");
		close(fd);
	}
	dump(s, HOLDFAST_CMD_DIRTY_GET, id, 32768, NULL);
	ack_all(s, id);
	/* 4 + 25 * 201 bytes: beyond PATH_MAX */
	touch("leaf");
	ok(dump(s, HOLDFAST_CMD_DIRTY_GET, id, 32768, NULL) == 0 && listed == 1,
	   "a change beyond PATH_MAX is dumped");
	len = listed ? list[0].len : 0;
	ok(len > PATH_MAX - 210 && len < PATH_MAX && (list[0].state & HOLDFAST_STATE_SUBTREE),
	   "as what it lies in, as a whole (%d bytes)", len);
	ok(dump_small(HOLDFAST_CMD_DIRTY_GET, id, NULL) == 0 && listed == 1 &&
	   list[0].len > 3000 && list[0].len < 3776 && (list[0].state & HOLDFAST_STATE_SUBTREE),
	   "and by even less into 4096 bytes (%d)", listed ? list[0].len : 0);
	ok(ack_all(s, id) == 0 && dump_small(HOLDFAST_CMD_DIRTY_GET, id, NULL) == 0 && !listed,
	   "acknowledged like any other");
	simple(s, HOLDFAST_CMD_TREE_DEL, id);
	if (fchdir(home))
		die("home");
	close(home);
}

static void events(struct sock *s)
{
	struct sock ear = sock_new();
	uint32_t id;
	int fd, i;
	char name[64];

	ok(join(&ear) == 0, "the group is joined");
	mkdir("e", 0755);
	id = add(s, top, "node-1");
	fd = open("e", O_RDONLY);
	mark(s, id, 1, &fd);
	close(fd);
	touch("e/first");
	ok(hear(&ear, id, "e/first"), "a change is told");
	ok(last_change.pid == (uint32_t)getpid() && last_change.comm[0], "with who did it: %s", last_change.comm);
	ok(next_number >= 2, "and a number");
	for (i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "e/%04d", i);
		touch(name);
	}
	touch("e/last");
	ok(hear(&ear, id, "e/last") && !gaps, "numbers have no gaps (%d changes)", seen_changes);
	touch("e/first");
	touch("e/mark1");
	hear(&ear, id, "e/mark1");
	dump(s, HOLDFAST_CMD_DIRTY_GET, id, 32768, NULL);
	touch("e/first");
	ok(hear(&ear, id, "e/first"), "after a dump the same change is news again");
	dump(&ear, HOLDFAST_CMD_DIRTY_GET, id, 32768, NULL);
	ok(find("e/first") != NULL, "who listens may dump, too");

	/* nobody listens for a while; how long it takes to be noticed is not known */
	for (i = 0; !gaps && i < 100; i++) {
		close(ear.fd);
		dump(s, HOLDFAST_CMD_DIRTY_GET, id, 32768, NULL);
		touch("e/0001");
		usleep(20000);
		ear = sock_new();
		join(&ear);
		dump(s, HOLDFAST_CMD_DIRTY_GET, id, 32768, NULL);
		touch("e/first");
		if (!hear(&ear, id, "e/first"))
			break;
	}
	ok(gaps == 1, "what nobody heard is a gap in the numbers (%d)", i);

	/* a directory as a whole */
	param("dirty_max", "1");
	touch("e/no-memory");
	ok(hear(&ear, id, "e") && last_change.state == HOLDFAST_STATE_SUBTREE,
	   "a directory as a whole is told as such");
	dump(s, HOLDFAST_CMD_DIRTY_GET, id, 32768, NULL);
	ok(find("e") && find("e")->state == HOLDFAST_STATE_SUBTREE, "and dumped as what it is");
	ack_all(s, id);
	touch("e/none-at-all");
	param("dirty_max", "16777216");
	ok(hear(&ear, id, "") && last_change.state == HOLDFAST_STATE_SUBTREE, "P2: the tree as a whole as the root");
	dump(s, HOLDFAST_CMD_DIRTY_GET, id, 32768, NULL);
	ok(listed == 1 && find("") && find("")->state == HOLDFAST_STATE_SUBTREE, "and dumped so");
	simple(s, HOLDFAST_CMD_TREE_DEL, id);
	close(ear.fd);
}

static void lost(struct sock *s)
{
	struct sock ear = sock_new();
	uint32_t id;

	join(&ear);
	mkdir("tmpfs", 0755);
	if (mount("none", "tmpfs", "tmpfs", 0, NULL))
		die("mount");
	id = add(s, "tmpfs", "node-1");
	touch("tmpfs/x");
	next_number = 0;
	ok(hear(&ear, id, "x"), "a tree on a filesystem of its own");
	if (umount("tmpfs"))
		die("umount");
	ok(hear(&ear, id, "") && (last_change.state & HOLDFAST_STATE_SUBTREE), "unmounted: it is told");
	barrier(s, id);
	ok(g32(st[HOLDFAST_A_TREE_FLAGS]) & HOLDFAST_TREE_FLAG_LOST, "and lost");
	ok(dump_small(HOLDFAST_CMD_DIRTY_GET, id, NULL) == 0, "a dump is none the worse");
	ok(silent(&ear), "told once");
	simple(s, HOLDFAST_CMD_TREE_DEL, id);
	close(ear.fd);
}

static void listing(struct sock *s)
{
	static char path[PATH_MAX];
	static struct msg r;
	struct msg m;
	const struct nlattr *tb[NATTR];
	uint32_t ids[3];
	int fd = open(top, O_RDONLY);

	memset(path, 'p', sizeof(path));
	ids[0] = add(s, top, "a");
	add_full(s, fd, "b", path, PATH_MAX - 1, "name", 4, &r);
	attrs_of(&r.h, tb);
	ids[1] = g32(tb[HOLDFAST_A_TREE_ID]);
	ids[2] = add(s, top, "c");
	ok(dump(s, HOLDFAST_CMD_TREE_GET, 0, 32768, NULL) == 0 && listed == 3 && names == 3, "three trees");
	ok(dump_small(HOLDFAST_CMD_TREE_GET, 0, NULL) == 0 && listed == 3 && names == 2,
	   "in small messages without the path that is too long");
	begin(&m, family, 0, HOLDFAST_CMD_TREE_GET);
	put32(&m, HOLDFAST_A_TREE_ID, ids[1]);
	ok(call(s, &m, &r) == 0, "one tree: %s", why);
	attrs_of(&r.h, tb);
	ok(tb[HOLDFAST_A_PATH] && dlen(tb[HOLDFAST_A_PATH]) == PATH_MAX - 1 &&
	   dlen(tb[HOLDFAST_A_FILE]) == 4 && !strcmp(data(tb[HOLDFAST_A_CONSUMER]), "b") &&
	   !strcmp(data(tb[HOLDFAST_A_RESOURCE]), "web") && tb[HOLDFAST_A_INODE] && tb[HOLDFAST_A_DEVICE],
	   "and all of it");
	for (int i = 0; i < 3; i++)
		simple(s, HOLDFAST_CMD_TREE_DEL, ids[i]);
	begin(&m, family, 0, HOLDFAST_CMD_VERSION_GET);
	ok(call(s, &m, &r) == 0, "version-get");
	attrs_of(&r.h, tb);
	ok(g32(tb[HOLDFAST_A_ABI]) == HOLDFAST_ABI && g32(tb[HOLDFAST_A_TREES]) == 0 &&
	   g64(tb[HOLDFAST_A_MARKS_MAX]) >= 8192 && g64(tb[HOLDFAST_A_DIRTY_MAX]) == 16777216,
	   "abi %u, version %s, marks %llu of %llu", g32(tb[HOLDFAST_A_ABI]),
	   (const char *)data(tb[HOLDFAST_A_VERSION]), (unsigned long long)g64(tb[HOLDFAST_A_MARKS]),
	   (unsigned long long)g64(tb[HOLDFAST_A_MARKS_MAX]));
	ok(g64(tb[HOLDFAST_A_DIRTY_BYTES]) == 0, "no memory is left in dirty sets");
	close(fd);
}

int main(void)
{
	struct sock s;

	printf("TAP version 13\n");
	if (system("modprobe holdfast"))
		die("modprobe holdfast");
	if (!getcwd(top, sizeof(top)))
		die("getcwd");
	s = sock_new();
	resolve(&s);
	refused(&s);
	unprivileged();
	consumers(&s);
	marks(&s);
	dumps(&s);
	coarse(&s);
	deep(&s);
	events(&s);
	lost(&s);
	listing(&s);
	printf("1..%d\n", n);
	return failed != 0;
}
