// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * storm: the module under several writers at once, against an oracle.
 *
 *	storm [-s SEED] [-n CHANGES] [-w WRITERS] NAME=DIR[,OPTION]...
 *
 * For each NAME: writers (storm_writer.h) change DIR/storm/tree and what is beside
 * it, while a consumer keeps a mirror of the tree, from the dirty set alone and to
 * the letter of the netlink specification: a name is looked at again; what is below
 * it is only if the entry says so, each directory marked before it is read; what was
 * dumped is acknowledged with the number it was dumped with, nothing else. When they
 * have stopped and the set is clean, the mirror must be what is there, and each
 * directory marked and known by its path.
 *
 *	nested		a second tree inside of the first
 *	marks=N		bound of marked directories while the writers run
 *	dirty=N		bound of the dirty set's bytes while the writers run
 *
 * Writers are as random as SEED makes them; how they meet is not in it.
 */
#include <dirent.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <time.h>
#include "../tap.h"
#include "storm_mirror.h"
#include "storm_writer.h"
#include "track_nl.h"

#define WRITERS_MAX 16
#define ROUNDS_AFTER 300
#define TAKE_OVER 25		/* rounds from one consumer to the next */
#define ACKS 256

struct entry {
	struct entry *next;
	uint64_t id, seq;
	bool whole, done;
	uint32_t len;
	char path[];
};

struct side {
	const char *dir;
	int fd;
	uint32_t tree;
	struct node *root;
	struct entry *first, **last;	/* of a dump */
	bool marking;			/* else only what is there */
	bool unmarked;			/* a directory could not be marked, by the bound */
	bool again;			/* the first scan met the bound */
};

static struct hf_nl nl;
static struct hf_err err;
static unsigned long entries, scans, rounds, takeovers;

static void die(const char *what, int error)
{
	printf("Bail out! %s: %s %s\n", what, strerror(error), err.msg);
	exit(1);
}

/*
 * What is there, taken into the mirror.
 */

/* it was moved or removed since; then it has an entry that was not dumped yet */
static bool gone(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ESTALE;
}

static int mark(struct side *s, int fd)
{
	struct nlmsghdr *h;
	int ret;

	do {
		h = hf_nl_begin(&nl, HOLDFAST_CMD_MARK);
		mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, s->tree);
		mnl_attr_put_u32(h, HOLDFAST_A_DIR_FD, fd);
		ret = hf_nl_call(&nl, false, NULL, NULL);
	} while (ret == -EAGAIN);
	return -ret;
}

static void take(struct side *s, int at, struct node *dir, const char *name, bool whole,
		 bool mark_it);

/* What is below; takes @fd over. */
static void scan(struct side *s, int fd, struct node *n, bool mark_it)
{
	struct dirent *e;
	int ret = 0;
	DIR *d;

	while (n->below)
		drop(&n->below);
	scans++;
	if (s->marking && mark_it) {
		ret = mark(s, fd);
		if (gone(ret)) {
			close(fd);
			return;
		}
		if (ret && ret != ENOSPC)
			die("mark", ret);
		mark_it = !ret;
	}
	if (s->marking && !mark_it)
		s->unmarked = true;
	d = fdopendir(fd);
	if (!d || fstat(fd, &n->st))
		die("scan", errno);
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			take(s, fd, n, e->d_name, true, mark_it);
	closedir(d);
}

static void take(struct side *s, int at, struct node *dir, const char *name, bool whole,
		 bool mark_it)
{
	struct node **p = slot(dir, name, strlen(name)), *n = *p;
	struct stat st;
	ssize_t len;
	int fd;

	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW)) {
		if (!gone(errno))
			die(name, errno);
		drop(p);
		return;
	}
	if (!n) {
		n = *p = calloc(1, sizeof(*n) + strlen(name) + 1);
		if (!n)
			die(name, ENOMEM);
		strcpy(n->name, name);
	} else if (!S_ISDIR(st.st_mode) || st.st_ino != n->st.st_ino) {
		while (n->below)
			drop(&n->below);
	}
	n->st = st;
	len = S_ISLNK(st.st_mode) ? readlinkat(at, name, n->target, sizeof(n->target) - 1) : 0;
	n->target[len > 0 ? len : 0] = '\0';
	if (!whole || !S_ISDIR(st.st_mode))
		return;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		scan(s, fd, n, mark_it);
	else if (!gone(errno))
		die(name, errno);
}

/* that a directory's own times change with its names is no news of the module */
static void look_again(int fd, struct node *n)
{
	struct stat st;

	if (!fstat(fd, &st) && st.st_ino == n->st.st_ino)
		n->st = st;
}

static int open_below(int root, const char *path, size_t len)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS,
	};
	char copy[PATH_MAX];

	snprintf(copy, sizeof(copy), "./%.*s", (int)len, path);
	return syscall(SYS_openat2, root, copy, &how, sizeof(how));
}

static void take_root(struct side *s)
{
	scan(s, openat(s->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), s->root, true);
}

static void apply(struct side *s, const struct entry *e)
{
	const char *name = e->path, *slash;
	struct node *dir = s->root;
	int fd;

	if (!e->len) {
		if (e->whole)
			take_root(s);
		else
			look_again(s->fd, dir);
		return;
	}
	for (; dir && (slash = strchr(name, '/')); name = slash + 1)
		dir = *slot(dir, name, slash - name);
	/* what it lies in is not known: an entry above it says to scan */
	if (!dir)
		return;
	fd = open_below(s->fd, e->path, name - e->path);
	if (fd < 0) {
		if (!gone(errno))
			die(e->path, errno);
		drop(slot(dir, name, strlen(name)));
		return;
	}
	look_again(fd, dir);
	take(s, fd, dir, name, e->whole, true);
	close(fd);
}

/*
 * The consumer.
 */

static int on_change(void *ctx, const struct hf_nlchange *c)
{
	struct entry *e = calloc(1, sizeof(*e) + c->len + 1);
	struct side *s = ctx;

	if (!e)
		return -ENOMEM;
	e->id = c->id;
	e->seq = c->seq;
	e->whole = c->state & HOLDFAST_STATE_SUBTREE;
	e->len = c->len;
	memcpy(e->path, c->path, c->len);
	*s->last = e;
	s->last = &e->next;
	return 0;
}

static int on_dirty(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;

	return hf_nlmsg_parse(h, &m, on_change, ctx);
}

static int on_added(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;
	int ret = hf_nlmsg_parse(h, &m, NULL, NULL);

	*(struct hf_nlmsg *)ctx = m;
	return ret;
}

static struct hf_nlmsg add(struct side *s)
{
	struct nlmsghdr *h = hf_nl_begin(&nl, HOLDFAST_CMD_TREE_ADD);
	struct hf_nlmsg m = { 0 };
	int ret;

	mnl_attr_put_u32(h, HOLDFAST_A_ROOT_FD, s->fd);
	mnl_attr_put_strz(h, HOLDFAST_A_RESOURCE, "storm");
	mnl_attr_put_strz(h, HOLDFAST_A_CONSUMER, "storm");
	mnl_attr_put(h, HOLDFAST_A_PATH, strlen(s->dir), s->dir);
	ret = hf_nl_call(&nl, false, on_added, &m);
	if (ret)
		die("tree-add", -ret);
	return m;
}

static struct hf_nlmsg state(const struct side *s)
{
	struct hf_nlmsg m;
	int ret;

	/* EAGAIN: a writer is in the middle of something, and has not got the processor */
	do
		ret = hf_nl_tree(&nl, HOLDFAST_CMD_BARRIER, s->tree, &m);
	while (ret == -EAGAIN);
	if (ret)
		die("barrier", -ret);
	return m;
}

static void open_socket(void)
{
	if (hf_nl_open(&nl, &err))
		die("the module", 0);
}

/* Another consumer goes on where this one ended. */
static void take_over(struct side *s, unsigned int n)
{
	hf_nl_close(&nl);
	open_socket();
	for (; n--; s++) {
		struct hf_nlmsg m = add(s);

		if (m.tree != s->tree || !(m.flags & HOLDFAST_TREE_FLAG_RESUMED))
			die("the tree was not taken over", 0);
	}
	takeovers++;
}

static void ack(const struct side *s, struct entry *e)
{
	while (e) {
		struct nlmsghdr *h = hf_nl_begin(&nl, HOLDFAST_CMD_ACK);
		int n = 0, ret;

		mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, s->tree);
		for (; e && n < ACKS; e = e->next) {
			struct nlattr *nest;

			if (!e->done)
				continue;
			nest = mnl_attr_nest_start(h, HOLDFAST_A_ACK);
			mnl_attr_put_u64(h, HOLDFAST_A_ACK_ID, e->id);
			mnl_attr_put_u64(h, HOLDFAST_A_ACK_SEQ, e->seq);
			mnl_attr_nest_end(h, nest);
			n++;
		}
		ret = n ? hf_nl_call(&nl, false, NULL, NULL) : 0;
		if (ret)
			die("ack", -ret);
	}
}

/* Whether anything was dirty that could be done with. */
static bool one_round(struct side *s)
{
	struct nlmsghdr *h = hf_nl_begin(&nl, HOLDFAST_CMD_DIRTY_GET);
	bool more = false;
	struct entry *e;
	int ret;

	rounds++;
	s->first = NULL;
	s->last = &s->first;
	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, s->tree);
	ret = hf_nl_call(&nl, true, on_dirty, s);
	if (ret)
		die("dirty-get", -ret);
	if (s->again) {
		s->unmarked = false;
		take_root(s);
		more |= !s->unmarked;
		s->again = s->unmarked;
	}
	for (e = s->first; e; e = e->next) {
		s->unmarked = false;
		apply(s, e);
		e->done = !s->unmarked;
		more |= e->done;
		entries++;
	}
	ack(s, s->first);
	while ((e = s->first)) {
		s->first = e->next;
		free(e);
	}
	return more;
}

static bool settle(struct side *s)
{
	for (int i = 0; i < ROUNDS_AFTER; i++)
		if (!one_round(s))
			return true;
	return false;
}

static void begin(struct side *s, const char *dir)
{
	*s = (struct side){ .dir = dir, .marking = true };
	s->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s->root = calloc(1, sizeof(*s->root) + 1);
	if (s->fd < 0 || !s->root)
		die(dir, errno);
	s->tree = add(s).tree;
}

static void is_mirrored(struct side *s, const char *name, const char *when, bool all)
{
	struct side there = { .fd = s->fd, .root = calloc(1, sizeof(*there.root) + 1) };
	struct hf_nlmsg m;
	size_t dirs;

	take_root(&there);
	ok(!differ(s->dir, s->root, there.root, 0), "%s: P2: %s: the mirror of %s is what is there",
	   name, when, s->dir);
	dirs = count(there.root, true);
	/* marks of what was moved out end a little later */
	for (int i = 0; m = state(s), m.marks > dirs && i < 500; i++)
		usleep(10000);
	if (all)
		ok(m.marks == dirs && !m.dirty,
		   "%s: %s: all %zu directories of %s are marked (%llu), none dirty (%llu)", name, when,
		   dirs, s->dir, (unsigned long long)m.marks, (unsigned long long)m.dirty);
	drop(&there.root);
}

/* A change in each directory must be noted by the directory's path. */
static int probe(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char file[PATH_MAX];
	int fd;

	if (type != FTW_D)
		return 0;
	snprintf(file, sizeof(file), "%s/probe", path);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		die(file, errno);
	close(fd);
	return 0;
}

/*
 * One storm.
 */

static const char *const outer[] = { "tree", "out", NULL };
static const char *const inner[] = { "tree/in", "tree", "out", NULL };

static unsigned long bound(const char *which, unsigned long value)
{
	char path[64];
	unsigned long was = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/holdfast/parameters/%s", which);
	f = fopen(path, "r+");
	if (!f || fscanf(f, "%lu", &was) != 1)
		die(path, errno);
	rewind(f);
	if ((value && fprintf(f, "%lu", value) < 0) || fclose(f))
		die(path, errno);
	return was;
}

/* Waits for all; the consumers go on meanwhile. */
static bool weather(struct side *s, unsigned int trees, pid_t *pid, unsigned int writers)
{
	unsigned int left = writers, before = rounds;
	bool good = true;
	int status;

	while (left) {
		bool more = false;

		for (unsigned int i = 0; i < trees; i++)
			more |= one_round(&s[i]);
		if (rounds - before >= TAKE_OVER) {
			take_over(s, trees);
			before = rounds;
		}
		for (unsigned int i = 0; i < writers; i++) {
			if (pid[i] && waitpid(pid[i], &status, WNOHANG) == pid[i]) {
				good &= !status;
				pid[i] = 0;
				left--;
			}
		}
		if (!more)
			usleep(3000);
	}
	return good;
}

static void storm(const char *name, bool nested, unsigned long marks, unsigned long dirty,
		  uint64_t seed, unsigned int writers, unsigned int changes)
{
	unsigned int trees = nested ? 2 : 1, i;
	const char *const *where = nested ? inner : outer;
	unsigned long marks_max, dirty_max;
	pid_t pid[WRITERS_MAX];
	struct side s[2];
	time_t start = time(NULL);
	bool calm = true;

	if (mkdir("tree", 0755) || mkdir("out", 0755) || (nested && mkdir("tree/in", 0755)))
		die(name, errno);
	entries = scans = rounds = takeovers = 0;
	/* something is there before the trees are, and while they are scanned */
	if (waitpid(start_writer(seed, where, 100), NULL, 0) < 0)
		die("wait", errno);
	for (i = 0; i < writers; i++)
		pid[i] = start_writer(seed + 1 + i, where, changes);
	/* not before: writers would hold it, too */
	open_socket();
	for (i = 0; i < trees; i++)
		begin(&s[i], i ? "tree/in" : "tree");
	/* not before: a root has to be marked */
	marks_max = bound("marks_max", marks);
	dirty_max = bound("dirty_max", dirty);
	for (i = 0; i < trees; i++) {
		take_root(&s[i]);
		s[i].again = s[i].unmarked;
	}

	ok(weather(s, trees, pid, writers), "%s: %u writers made %u changes each", name, writers,
	   changes);
	for (i = 0; i < trees; i++)
		calm &= settle(&s[i]);
	ok(calm, "%s: the dirty set comes to rest", name);
	for (i = 0; i < trees; i++)
		is_mirrored(&s[i], name, "after the storm", !marks);
	bound("marks_max", marks_max);
	bound("dirty_max", dirty_max);
	if (marks || dirty) {
		for (i = 0; i < trees; i++) {
			if (!settle(&s[i]))
				die("the dirty set does not come to rest", 0);
			is_mirrored(&s[i], name, "within bounds", true);
		}
	}
	nftw("tree", probe, 16, FTW_PHYS);
	for (i = 0; i < trees; i++) {
		settle(&s[i]);
		is_mirrored(&s[i], name, "with one more change in each directory",
			    true);
		printf("# %s: %s: %zu names\n", name, s[i].dir, count(s[i].root, false) - 1);
		if (hf_nl_tree(&nl, HOLDFAST_CMD_TREE_DEL, s[i].tree, NULL))
			die("tree-del", 0);
		drop(&s[i].root);
		close(s[i].fd);
	}
	printf("# %s: seed %llu: %lu rounds, %lu entries, %lu directories read, %lu consumers more, %ld s\n",
	       name, (unsigned long long)seed, rounds, entries, scans, takeovers,
	       (long)(time(NULL) - start));
	hf_nl_close(&nl);
}

static void one(char *arg, uint64_t seed, unsigned int writers, unsigned int changes)
{
	char *dir = strchr(arg, '='), *option;
	unsigned long marks = 0, dirty = 0;
	bool nested = false;
	int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (!dir)
		die(arg, EINVAL);
	*dir++ = '\0';
	strtok(dir, ",");
	while ((option = strtok(NULL, ","))) {
		if (!strcmp(option, "nested"))
			nested = true;
		else if (sscanf(option, "marks=%lu", &marks) != 1 &&
			 sscanf(option, "dirty=%lu", &dirty) != 1)
			die(option, EINVAL);
	}
	if (chdir(dir) || mkdir("storm", 0755) || chdir("storm"))
		die(dir, errno);
	storm(arg, nested, marks, dirty, seed, writers, changes);
	if (chdir(".."))
		die(dir, errno);
	remove_all("storm");
	if (fchdir(back))
		die(dir, errno);
	close(back);
}

int main(int argc, char **argv)
{
	unsigned int writers = 4, changes = 400;
	uint64_t seed = 1;
	int c;

	umask(0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt(argc, argv, "s:n:w:")) != -1) {
		if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (c == 'n')
			changes = strtoul(optarg, NULL, 0);
		else if (c == 'w')
			writers = strtoul(optarg, NULL, 0);
		else
			return 2;
	}
	if (writers > WRITERS_MAX)
		writers = WRITERS_MAX;
	for (; optind < argc; optind++)
		one(argv[optind], seed, writers, changes);
	return tap_done();
}
