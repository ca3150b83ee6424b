// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Many trees: one after the other, thousands of times, while what is in them changes;
 * and a thousand at a time. What they took is given back, each notes its own changes
 * only (P2), and the count of what is registered is right at every moment.
 */
#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "nltree.h"

#define TREES 1000
#define DIRS 6			/* of the tree that comes and goes */

static struct hf_nl nl, second;

static int request(struct hf_nl *n, uint8_t cmd, uint32_t tree, struct hf_nlmsg *m)
{
	int ret;

	do
		ret = hf_nl_tree(n, cmd, tree, m);
	while (ret == -EAGAIN);
	return ret;
}

struct usage { uint32_t trees; uint64_t marks, bytes; };

static int note_usage(void *ctx, const struct nlmsghdr *h)
{
	struct usage *u = ctx;
	const struct nlattr *a;

	mnl_attr_for_each(a, h, GENL_HDRLEN) {
		switch (mnl_attr_get_type(a)) {
		case HOLDFAST_A_TREES:
			u->trees = mnl_attr_get_u32(a);
			break;
		case HOLDFAST_A_MARKS:
			u->marks = mnl_attr_get_u64(a);
			break;
		case HOLDFAST_A_DIRTY_BYTES:
			u->bytes = mnl_attr_get_u64(a);
			break;
		}
	}
	return 0;
}

static struct usage usage(void)
{
	struct usage u = { 0 };

	hf_nl_begin(&nl, HOLDFAST_CMD_VERSION_GET);
	must(hf_nl_call(&nl, false, note_usage, &u));
	return u;
}

/* marks are freed a little after their tree */
static void is_empty(const char *when)
{
	struct usage u = usage();

	for (int i = 0; (u.marks || u.bytes) && i < 1000; i++) {
		usleep(10000);
		u = usage();
	}
	is(u.trees, 0, when);
	is(u.marks, 0, "no directory is marked any more");
	is(u.bytes, 0, "nor is memory taken for what is noted");
}

/*
 * One after the other.
 */

static pid_t start_writer(void)
{
	int ready[2];
	char c;
	pid_t pid;

	must(pipe(ready));
	pid = fork();
	if (pid) {
		must(pid);
		close(ready[1]);
		must(read(ready[0], &c, 1));
		close(ready[0]);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* or the consumer would stay when its own process closes it, which it does once we have */
	hf_nl_close(&nl);
	close(ready[0]);
	close(ready[1]);
	for (unsigned int i = 0;; i++) {
		char path[64], other[64];

		snprintf(path, sizeof(path), "c/%u/f%u", i % (DIRS - 1), i % 7);
		touch(path);
		snprintf(path, sizeof(path), "c/%u/d%u", i % (DIRS - 1), i % 3);
		snprintf(other, sizeof(other), "c/%u/d%u", (i + 1) % (DIRS - 1), i % 3);
		if (mkdir(path, 0755) && rename(path, other))
			rmdir(path);
		if (i % 5 == 0)
			unlink("c/0/f0");
	}
}

static void cycles(unsigned int count)
{
	unsigned int resumed = 0, wrong = 0, dirty = 0;
	struct hf_err err;
	uint32_t last = 0;
	int status;
	pid_t pid;

	must(mkdir("c", 0755));
	for (int i = 0; i < DIRS - 1; i++) {
		char path[64];

		snprintf(path, sizeof(path), "c/%d", i);
		must(mkdir(path, 0755));
	}
	pid = start_writer();
	must(hf_nl_open(&second, &err));
	for (unsigned int i = 0; i < count; i++) {
		uint32_t id = i % 3 ? tree_add_all(&nl, "c", "one") : tree_add(&nl, "c", "one");
		struct hf_nlmsg m;

		wrong += last && id != last + 1;
		last = id;
		if (i % 4 == 1) {
			/* who comes too early, and too late */
			wrong += request(&second, HOLDFAST_CMD_TREE_DEL, id, NULL) != -EBUSY;
			wrong += request(&nl, HOLDFAST_CMD_BARRIER, id, &m) != 0;
			dirty += m.dirty != 0;
		}
		if (i % 50 == 2) {
			/* its consumer goes, another one takes it over and deletes it */
			hf_nl_close(&nl);
			resumed += tree_add(&second, "c", "one") == id;
			wrong += request(&second, HOLDFAST_CMD_TREE_DEL, id, NULL) != 0;
			must(hf_nl_open(&nl, &err));
		} else {
			wrong += request(&nl, HOLDFAST_CMD_TREE_DEL, id, NULL) != 0;
		}
		wrong += request(&nl, HOLDFAST_CMD_TREE_DEL, id, NULL) != -ENOENT;
	}
	must(kill(pid, SIGKILL));
	must(waitpid(pid, &status, 0));
	hf_nl_close(&second);
	is(wrong, 0, "P2: a tree is added, marked and deleted again and again while it changes");
	is(resumed, count / 50, "and taken over in between");
	ok(WIFSIGNALED(status), "who writes in it never failed (P9)");
	printf("# %u times, %u with changes noted by then\n", count, dirty);
	is_empty("no tree is left of them");
}

/*
 * All at once.
 */

static uint32_t tree[TREES];

static void path_of(char *path, int i, const char *rest)
{
	sprintf(path, "m/%d%s", i, rest);
}

struct own { const char *name; unsigned int entries, others; };

static int on_change(void *ctx, const struct hf_nlchange *c)
{
	struct own *o = ctx;

	o->entries++;
	o->others += c->len != strlen(o->name) || memcmp(c->path, o->name, c->len);
	return 0;
}

static int on_dirty(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;

	return hf_nlmsg_parse(h, &m, on_change, ctx);
}

static struct own dump(uint32_t id, const char *name)
{
	struct nlmsghdr *h = hf_nl_begin(&nl, HOLDFAST_CMD_DIRTY_GET);
	struct own o = { .name = name };

	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, id);
	must(hf_nl_call(&nl, true, on_dirty, &o));
	return o;
}

static int on_tree(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;
	int ret = hf_nlmsg_parse(h, &m, NULL, NULL);

	((unsigned int *)ctx)[0]++;
	((unsigned int *)ctx)[1] += m.marks;
	return ret;
}

static void list(unsigned int trees, unsigned int marks, const char *when)
{
	unsigned int all[2] = { 0 };

	hf_nl_begin(&nl, HOLDFAST_CMD_TREE_GET);
	must(hf_nl_call(&nl, true, on_tree, all));
	is(all[0], trees, when);
	is(all[1], marks, "each with its marks");
}

static void at_once(void)
{
	char path[64], name[64];
	unsigned int wrong = 0;
	uint32_t outer;
	struct own o;

	must(mkdir("m", 0755));
	for (int i = 0; i < TREES; i++) {
		path_of(path, i, "");
		must(mkdir(path, 0755));
		path_of(path, i, "/sub");
		must(mkdir(path, 0755));
		path_of(path, i, "");
		tree[i] = tree_add_all(&nl, path, "many");
	}
	list(TREES, 2 * TREES, "P2: a thousand trees are there at once");
	/* and one that all of them lie in */
	outer = tree_add_all(&nl, "m", "many");
	list(TREES + 1, 2 * TREES + 2 * TREES + 1, "and one around them");
	for (int i = 0; i < TREES; i++) {
		path_of(path, i, "/sub/f");
		sprintf(path + strlen(path), "%d", i);
		touch(path);
	}
	for (int i = 0; i < TREES; i++) {
		sprintf(name, "sub/f%d", i);
		must(request(&nl, HOLDFAST_CMD_BARRIER, tree[i], NULL));
		o = dump(tree[i], name);
		wrong += o.entries != 1 || o.others;
	}
	is(wrong, 0, "P2: each has noted its own change and no other");
	is(dump(outer, "").entries, TREES, "P2: the one around them all of them");
	printf("# %llu bytes for %d entries\n", (unsigned long long)usage().bytes, 2 * TREES);
	/* every other one, from both ends */
	for (int i = 0; i < TREES; i += 2)
		must(request(&nl, HOLDFAST_CMD_TREE_DEL, tree[i], NULL));
	is(usage().trees, TREES / 2 + 1, "half of them are deleted");
	for (int i = 0; i < TREES; i++) {
		path_of(path, i, "/sub/more");
		touch(path);
	}
	wrong = 0;
	for (int i = 1; i < TREES; i += 2)
		wrong += dump(tree[i], "").entries != 2;
	is(wrong, 0, "P2: the others go on");
	is(dump(outer, "").entries, 2 * TREES, "P2: so does the one around them");
	for (int i = TREES - 1; i > 0; i -= 2)
		must(request(&nl, HOLDFAST_CMD_TREE_DEL, tree[i], NULL));
	must(request(&nl, HOLDFAST_CMD_TREE_DEL, outer, NULL));
	is_empty("no tree is left of them");
}

int main(int argc, char **argv)
{
	begin_module(&nl);
	cycles(argc > 1 ? (unsigned int)atoi(argv[1]) : 5000);
	at_once();
	hf_nl_close(&nl);
	return tap_done();
}
