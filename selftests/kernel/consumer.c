// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The consumer's socket is closed at any time: its process is killed in the middle of
 * dumping, marking or acknowledging, or another thread closes it, while a writer goes
 * on. What was not acknowledged is there for the next one, who takes the tree over at
 * once (P2).
 *
 * The writer counts in files, and says in shared memory how far it has come. A consumer
 * says there, before it acknowledges, what it has read. So when all is acknowledged,
 * both are the same, whatever was cut off in between. Only a consumer that has read
 * what an entry stands for may acknowledge it; a directory's entry that says so stands
 * for all files in it.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <threads.h>
#include "nltree.h"

#define KILLED 60
#define CLOSED 40
#define DIRS 8
#define FILES 6

static struct {
	volatile unsigned int wrote[DIRS][FILES], read[DIRS][FILES];
	volatile unsigned int acks, marks, dumps;	/* of all consumers */
	volatile bool calm;				/* the writer is to end */
} *shared;

static struct hf_nl nl;
static uint32_t tree;

struct entry { uint64_t id, seq; bool whole; char path[64]; };
struct entries { struct entry *e; unsigned int n; };

static unsigned int number(const char *path)
{
	char text[16] = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof(text) - 1, 0);

	if (fd >= 0)
		close(fd);
	return n > 0 ? strtoul(text, NULL, 10) : 0;
}

/* Counts in files; makes directories, and moves them away and back. */
static pid_t start_writer(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned int i = 1; !shared->calm; i++) {
		unsigned int d = i * 7 % DIRS, f = i % FILES;
		char path[64], text[16];
		int fd, n;

		if (i % 11 == 0) {
			snprintf(path, sizeof(path), "t/d%u", d);
			must(rename(path, "away"));
			must(rename("away", path));
		}
		snprintf(path, sizeof(path), "t/d%u/f%u", d, f);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		must(fd);
		n = snprintf(text, sizeof(text), "%010u", i);
		if (pwrite(fd, text, n, 0) != n)
			die(path);
		close(fd);
		shared->wrote[d][f] = i;
	}
	_exit(0);
}

static void stop_writer(pid_t pid)
{
	int status;

	shared->calm = true;
	must(waitpid(pid, &status, 0));
	shared->calm = false;
	if (status)
		die("the writer");
}

static void take(unsigned int d, unsigned int f)
{
	char path[64];

	snprintf(path, sizeof(path), "t/d%u/f%u", d, f);
	shared->read[d][f] = number(path);
}

static int on_change(void *ctx, const struct hf_nlchange *c)
{
	struct entries *l = ctx;
	struct entry *e;

	l->e = realloc(l->e, (l->n + 1) * sizeof(*l->e));
	e = &l->e[l->n++];
	*e = (struct entry){ .id = c->id, .seq = c->seq,
			     .whole = c->state & HOLDFAST_STATE_SUBTREE };
	snprintf(e->path, sizeof(e->path), "%.*s", (int)c->len, c->path);
	return 0;
}

static int on_dirty(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;

	return hf_nlmsg_parse(h, &m, on_change, ctx);
}

/* One round; an error is that of the socket, which somebody closed. @left: dumped */
static int consume(unsigned int *left)
{
	int root = open("t", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;
	struct entries l = { 0 };
	struct nlmsghdr *h;
	bool skipped;

	must(root);
	h = hf_nl_begin(&nl, HOLDFAST_CMD_DIRTY_GET);
	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, tree);
	ret = hf_nl_call(&nl, true, on_dirty, &l);
	shared->dumps++;
	for (unsigned int i = 0; !ret && i < l.n; i++) {
		struct entry *e = &l.e[i];
		unsigned int d, f;
		struct nlattr *nest;

		if (e->whole) {
			ret = hf_nl_walk(&nl, tree, root, e->path, &skipped);
			shared->marks++;
		}
		if (ret == -EAGAIN) {	/* it is there the next time, too */
			ret = 0;
			continue;
		}
		if (ret)
			break;
		if (sscanf(e->path, "d%u/f%u", &d, &f) == 2)
			take(d, f);
		else if (e->whole && sscanf(e->path, "d%u", &d) == 1)
			for (f = 0; f < FILES; f++)
				take(d, f);
		else if (e->whole)
			for (d = 0; d < DIRS; d++)
				for (f = 0; f < FILES; f++)
					take(d, f);
		h = hf_nl_begin(&nl, HOLDFAST_CMD_ACK);
		mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, tree);
		nest = mnl_attr_nest_start(h, HOLDFAST_A_ACK);
		mnl_attr_put_u64(h, HOLDFAST_A_ACK_ID, e->id);
		mnl_attr_put_u64(h, HOLDFAST_A_ACK_SEQ, e->seq);
		mnl_attr_nest_end(h, nest);
		ret = hf_nl_call(&nl, false, NULL, NULL);
		shared->acks++;
	}
	*left = l.n;
	free(l.e);
	close(root);
	return ret;
}

static void take_over(unsigned int *resumed)
{
	struct hf_err err = { 0 };

	if (hf_nl_open(&nl, &err))
		die(err.msg);
	/* dies when the tree has a consumer still */
	*resumed += tree_add(&nl, "t", "mortal") == tree;
}

/* Consumes until it is killed. */
static pid_t start_consumer(void)
{
	pid_t pid = fork();
	unsigned int resumed = 0, left;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	take_over(&resumed);
	if (!resumed)
		die("not taken over");
	while (!consume(&left))
		;
	die("consume");
	return 0;
}

static int consume_on(void *arg)
{
	unsigned int left;

	while (!consume(&left))
		;
	return 0;
}

static void is_whole(unsigned int resumed, unsigned int of, const char *how)
{
	unsigned int lost = 0, left, tries = 0;
	struct hf_nlmsg m;
	int ret;

	is(resumed, of, how);
	do
		ret = consume(&left);
	while (!ret && left && tries++ < 1000);
	is(ret || left, 0, "what they left can be settled");
	do
		ret = hf_nl_tree(&nl, HOLDFAST_CMD_BARRIER, tree, &m);
	while (ret == -EAGAIN);
	is(m.dirty, 0, "and nothing is dirty");
	is(m.marks, 1 + DIRS, "each directory is marked");
	for (int d = 0; d < DIRS; d++)
		for (int f = 0; f < FILES; f++)
			lost += shared->wrote[d][f] != shared->read[d][f];
	is(lost, 0, "P2: every file was read again after its last change");
	printf("# %u dumps, %u acknowledgements, %u scans\n", shared->dumps, shared->acks, shared->marks);
}

static void end(pid_t pid)
{
	int status;

	must(kill(pid, SIGKILL));
	must(waitpid(pid, &status, 0));
	if (!WIFSIGNALED(status))
		die("a process ended before it was killed");
}

static void killed(void)
{
	unsigned int resumed = 0, done = 0;
	pid_t writer = start_writer(), pid;

	for (int i = 0; i < KILLED; i++) {
		unsigned int before = shared->dumps;

		pid = start_consumer();
		/* somewhere in its first rounds */
		for (int k = 0; shared->dumps == before && k < 5000; k++)
			usleep(1000);
		usleep(rand() % 15000);
		end(pid);
		done += shared->dumps != before;
		if (i % 10)
			continue;
		take_over(&resumed);
		hf_nl_close(&nl);
	}
	stop_writer(writer);
	is(done, KILLED, "consumers are killed while they work");
	take_over(&resumed);
	is_whole(resumed, KILLED / 10 + 1, "P2: the tree is taken over at once, as it was");
	hf_nl_close(&nl);
}

static void closed(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	unsigned int resumed = 0;
	pid_t writer = start_writer();
	thrd_t thread;

	for (int i = 0; i < CLOSED; i++) {
		take_over(&resumed);
		if (thrd_create(&thread, consume_on, NULL) != thrd_success)
			die("thread");
		usleep(rand() % 20000);
		/* closes what was there; no other file gets its number meanwhile */
		must(dup2(null, mnl_socket_get_fd(nl.cmd)));
		thrd_join(thread, NULL);
		hf_nl_close(&nl);
	}
	stop_writer(writer);
	close(null);
	take_over(&resumed);
	is_whole(resumed, CLOSED + 1, "P2: the same when another thread closes the socket");
}

/* Who asked for a dump and reads a part of it, or nothing. */
static void half_read(void)
{
	struct hf_err err = { 0 };
	unsigned int wrong = 0;
	char path[64];

	for (int i = 0; i < 400; i++) {
		snprintf(path, sizeof(path), "t/d0/more%d", i);
		touch(path);
	}
	for (int i = 0; i < 20; i++) {
		struct nlmsghdr *h;
		struct hf_nl other;

		if (hf_nl_open(&other, &err))
			die(err.msg);
		h = hf_nl_begin(&other, HOLDFAST_CMD_DIRTY_GET);
		h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, tree);
		must(mnl_socket_sendto(other.cmd, h, h->nlmsg_len));
		if (i % 2)
			must(recv(mnl_socket_get_fd(other.cmd), other.buf, HF_NL_BUF, 0));
		/* the tree is deleted under the last of them */
		if (i == 19)
			wrong += hf_nl_tree(&nl, HOLDFAST_CMD_TREE_DEL, tree, NULL) != 0;
		hf_nl_close(&other);
	}
	is(wrong, 0, "dumps that nobody reads to their end hold nothing");
}

int main(void)
{
	begin_module(&nl);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	must(mkdir("t", 0755));
	for (int d = 0; d < DIRS; d++) {
		char path[64];

		snprintf(path, sizeof(path), "t/d%d", d);
		must(mkdir(path, 0755));
	}
	tree = tree_add_all(&nl, "t", "mortal");
	hf_nl_close(&nl);
	killed();
	closed();
	half_read();
	hf_nl_close(&nl);
	return tap_done();
}
