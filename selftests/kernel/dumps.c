// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Dumps of a large dirty set, as the daemon's library takes them: complete, each
 * entry once, by number, while nothing changes and while others write; that a dump
 * met a change is said in one message alone, in whichever that is, also in the one
 * that ends it. And change events that nobody reads: that some are lost is noticed,
 * and the dump has everything (P2).
 */
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "nltree.h"
#include "track.h"

#define DIRS 10
#define NAMES 1000		/* in each */
#define CHANGES 20000

struct taken {
	unsigned int entries, twice, strange, unsorted;
	unsigned int marked, messages;	/* messages with NLM_F_DUMP_INTR, but for the last; all of them */
	uint64_t last;
	bool seen[DIRS][2 * NAMES];
	void (*meanwhile)(void);	/* called in the first message */
};

static struct hf_nl nl, other;
static struct taken taken;
static uint32_t tree;
static char top[256];

static int one_change(void *ctx, const struct hf_nlchange *c)
{
	char path[32];
	int d, i;

	snprintf(path, sizeof(path), "%.*s", (int)c->len, c->path);
	taken.entries++;
	taken.unsorted += c->id <= taken.last;
	taken.last = c->id;
	if (sscanf(path, "%d/%d", &d, &i) != 2 || d < 0 || d >= DIRS || i < 0 || i >= 2 * NAMES)
		return taken.strange++, 0;
	taken.twice += taken.seen[d][i];
	taken.seen[d][i] = true;
	return 0;
}

static int one_message(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;
	int ret = hf_nlmsg_parse(h, &m, one_change, NULL);

	taken.messages++;
	taken.marked += !!(h->nlmsg_flags & NLM_F_DUMP_INTR);
	if (taken.meanwhile && taken.messages == 1)
		taken.meanwhile();
	return ret;
}

static int dump(void (*meanwhile)(void))
{
	memset(&taken, 0, sizeof(taken));
	taken.meanwhile = meanwhile;
	mnl_attr_put_u32(hf_nl_begin(&other, HOLDFAST_CMD_DIRTY_GET), HOLDFAST_A_TREE_ID, tree);
	return hf_nl_call(&other, true, one_message, NULL);
}

/* how many of the first @n names of each directory are missing */
static unsigned int missing(int n)
{
	unsigned int lost = 0;

	for (int d = 0; d < DIRS; d++)
		for (int i = 0; i < n; i++)
			lost += !taken.seen[d][i];
	return lost;
}

static void make(int d, int i)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "tree/%d/%d", d, i);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || close(fd))
		die(path);
}

static void change_one(void)
{
	make(3, 7);
}

static struct { uint64_t id[DIRS * NAMES], seq[DIRS * NAMES]; size_t n; } noted;

static int note(void *ctx, const struct hf_nlchange *c)
{
	if (noted.n < HF_ARRAY(noted.id)) {
		noted.id[noted.n] = c->id;
		noted.seq[noted.n++] = c->seq;
	}
	return 0;
}

static int note_message(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;

	return hf_nlmsg_parse(h, &m, note, NULL);
}

static void note_all(void)
{
	noted.n = 0;
	mnl_attr_put_u32(hf_nl_begin(&nl, HOLDFAST_CMD_DIRTY_GET), HOLDFAST_A_TREE_ID, tree);
	must(hf_nl_call(&nl, true, note_message, NULL));
}

static void ack_noted(void)
{
	for (size_t i = 0; i < noted.n;) {
		struct nlmsghdr *h = hf_nl_begin(&nl, HOLDFAST_CMD_ACK);

		mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, tree);
		for (int k = 0; k < 256 && i < noted.n; k++, i++) {
			struct nlattr *nest = mnl_attr_nest_start(h, HOLDFAST_A_ACK);

			mnl_attr_put_u64(h, HOLDFAST_A_ACK_ID, noted.id[i]);
			mnl_attr_put_u64(h, HOLDFAST_A_ACK_SEQ, noted.seq[i]);
			mnl_attr_nest_end(h, nest);
		}
		must(hf_nl_call(&nl, false, NULL, NULL));
	}
}

/* A process that changes what is there, makes what is not and takes it away, until it is killed. */
static pid_t writer(void)
{
	char path[32];
	pid_t pid = fork();

	if (pid) {
		must(pid);
		return pid;
	}
	for (unsigned int k = 0;; k++) {
		int d = k % DIRS, i = k * 7919 % NAMES;

		make(d, i);
		make(d, NAMES + i);
		if (k % 3 == 0) {
			snprintf(path, sizeof(path), "tree/%d/%d", d, NAMES + i);
			unlink(path);
		}
	}
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_quiet(void)
{
	int ret;

	for (int d = 0; d < DIRS; d++)
		for (int i = 0; i < NAMES; i++)
			make(d, i);
	ret = dump(NULL);
	ok(!ret && taken.entries == DIRS * NAMES && !missing(NAMES) && !taken.twice && !taken.strange,
	   "%u entries, each once (%d)", taken.entries, ret);
	ok(!taken.unsorted, "by number");
	ok(!other.interrupted && !taken.marked, "nothing changed, and no message says so");
}

static void test_where(void)
{
	int ret = dump(change_one);

	ok(!ret && taken.marked == 1 && other.interrupted, "a change that a dump meets is told in one message of %u",
	   taken.messages);
	ok(!missing(NAMES) && !taken.twice, "which has everything all the same");
	note_all();
	ret = dump(ack_noted);
	ok(!ret && taken.entries < DIRS * NAMES && !taken.marked && other.interrupted,
	   "or, when nothing comes after it, in the one that ends the dump (after %u)", taken.messages);
	ret = dump(NULL);
	ok(!ret && !taken.entries && !other.interrupted, "acknowledged, and the next dump is of one moment");
}

static void test_writer(void)
{
	unsigned int interrupted = 0, wrong = 0, lost = 0, i;
	pid_t pid;

	for (int d = 0; d < DIRS; d++)
		for (int k = 0; k < NAMES; k++)
			make(d, k);
	must(dump(NULL));
	ok(!missing(NAMES), "all of them are written to once more");
	pid = writer();
	for (i = 0; i < 12 || (!interrupted && i < 200); i++) {
		must(dump(NULL));
		interrupted += other.interrupted;
		wrong += taken.twice + taken.unsorted + taken.strange;
		lost += missing(NAMES);
		wrong += taken.marked && !other.interrupted;
	}
	stop(pid);
	ok(interrupted && !wrong, "beside a writer %u of %u dumps say that they met changes; each entry once, by number",
	   interrupted, i);
	ok(!lost, "P2: and have all that was dirty before");
	must(dump(NULL));
	ok(!other.interrupted && !missing(NAMES), "begun again without it, one is of one moment");
}

/*
 * The same by the library's own pull, which begins again by itself.
 */

static unsigned int urgents;

static void notify(void *arg, bool urgent)
{
	urgents += urgent;
}

static int one_dirty(void *ctx, const struct hf_dirty *d)
{
	struct hf_nlchange c = { .id = ++*(uint64_t *)ctx, .path = d->rel, .len = strlen(d->rel) };

	return one_change(NULL, &c);
}

static int pull(struct hf_watch *w)
{
	uint64_t n = 0;

	memset(&taken, 0, sizeof(taken));
	return hf_watch_dirty(w, one_dirty, &n);
}

static struct hf_watch *watch(struct hf_track *t, const char *path)
{
	struct hf_track_label label = { .resource = "dumps", .path = path };
	struct hf_err err = { 0 };
	struct hf_watch *w = NULL;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	must(fd);
	if (hf_track_add(t, fd, NULL, &label, notify, NULL, &w, &err))
		die(err.msg);
	close(fd);
	return w;
}

static void test_library(void)
{
	int size = 1;
	struct hf_err err = { 0 };
	struct hf_track *t;
	struct hf_watch *w;

	if (hf_track_open("kernel", "dumps-library", &t, &err))
		die(err.msg);
	/* as small as the kernel makes it */
	must(setsockopt(hf_track_fd(t), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
	w = watch(t, "tree");
	must(pull(w));
	urgents = 0;
	for (int k = 0; k < CHANGES / NAMES / DIRS; k++)
		for (int d = 0; d < DIRS; d++)
			for (int i = 0; i < NAMES; i++)
				make(d, i + k * NAMES);
	must(hf_track_drain(t));
	ok(urgents, "P2: the library's socket overruns: it is noticed");
	must(pull(w));
	ok(taken.entries == CHANGES && !missing(2 * NAMES) && !taken.twice, "P2: and what is pulled has all of %d changes (%u)",
	   CHANGES, taken.entries);
	hf_track_del(w);
	hf_track_close(t);
}

/*
 * The group's socket by itself.
 */

struct ear {
	uint64_t next;
	unsigned int got, gaps, overruns;
};

static void note_event(void *ctx, const struct hf_nlevent *e)
{
	struct ear *ear = ctx;

	if (e->tree != tree)
		return;
	ear->gaps += hf_nlevent_gap(&ear->next, e);
	ear->got += e->changes;
}

/* until nothing comes any more; @wait: something will */
static void hear(struct ear *ear, bool wait)
{
	struct pollfd p = { .fd = mnl_socket_get_fd(other.events), .events = POLLIN };
	ssize_t n;

	if (wait && poll(&p, 1, 60000) <= 0)
		die("no event");
	for (;;) {
		n = recv(p.fd, other.buf, HF_NL_BUF, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno == ENOBUFS)
			ear->overruns++;
		else if (n < 0 || hf_nlmsg_events(other.buf, n, other.family.id, note_event, ear))
			die("events");
	}
}

static void test_overrun(void)
{
	struct ear ear = { 0 };
	int size = 1;

	note_all();
	ack_noted();
	make(0, 0);
	hear(&ear, true);
	while (!ear.got)
		hear(&ear, true);
	ear = (struct ear){ .next = ear.next };
	must(setsockopt(mnl_socket_get_fd(other.events), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
	for (int k = 0; k < CHANGES / NAMES / DIRS; k++)
		for (int d = 0; d < DIRS; d++)
			for (int i = 0; i < NAMES; i++)
				make(d, i + k * NAMES);
	/* they are told by a thread of the kernel */
	for (int i = 0; i < 600 && !ear.overruns; i++) {
		usleep(i ? 100000 : 0);
		hear(&ear, false);
	}
	ok(ear.overruns > 0, "P2: nobody read the events of %d changes: ENOBUFS, beside %u events", CHANGES, ear.got);
	for (int i = 0; i < 600 && !ear.gaps; i++) {
		note_all();
		make(0, 0);
		hear(&ear, true);
	}
	ok(ear.gaps > 0, "P2: and a gap in their numbers");
	must(dump(NULL));
	ok(taken.entries == CHANGES && !missing(2 * NAMES) && !taken.twice, "P2: a dump has all of them (%u)",
	   taken.entries);
}

int main(void)
{
	char path[32];

	begin_module(&nl);
	must(mkdir("tree", 0755));
	for (int d = 0; d < DIRS; d++) {
		snprintf(path, sizeof(path), "tree/%d", d);
		must(mkdir(path, 0755));
	}
	must(hf_nl_open(&other, &(struct hf_err){ 0 }));
	if (!getcwd(top, sizeof(top) - 8))
		die("getcwd");
	strcat(top, "/tree");
	tree = tree_add_all(&nl, top, "dumps");
	test_quiet();
	test_where();
	test_writer();
	test_overrun();
	must(hf_nl_tree(&nl, HOLDFAST_CMD_TREE_DEL, tree, NULL));
	hf_nl_close(&other);
	hf_nl_close(&nl);
	test_library();
	return tap_done();
}
