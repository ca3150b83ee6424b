// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz [SEED [SECONDS]]: what nobody should send to the family, by who may send to
 * it: messages that are almost right (fuzz_msg.h), from many sockets that are closed
 * at any time, with dumps that are begun and never read, while others write, and one
 * uses the module as it is meant to be used. What is sent is as random as SEED makes
 * it; how the processes meet is not in it.
 *
 * Afterwards all still works. That nothing leaked or went wrong unseen is for the
 * machine's verdict to say.
 */
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "nltree.h"
#include "fuzz_msg.h"

#define FUZZERS 2
#define SOCKETS 8
#define CYCLES_AFTER 5
#define ERRNOS 134

struct told {
	unsigned long sent, parts, answers, malformed, closed, overruns;
	unsigned long error[FUZZ_CMDS][ERRNOS];
};

/* between the processes */
static struct {
	volatile bool stop, last;
	volatile unsigned long cycles;
	volatile uint32_t valid;
	char why[128];
	struct told told[FUZZERS];
} *all;

static struct hf_nl nl;

/*
 * Who uses it as it is meant to be used.
 */

struct look {
	char path[32];
	uint64_t id, seq;	/* 0: it is not there */
};

static int look_at(void *ctx, const struct hf_nlchange *c)
{
	struct look *l = ctx;

	if (c->len != strlen(l->path) || memcmp(c->path, l->path, c->len))
		return 0;
	l->id = c->id;
	l->seq = c->seq;
	return 0;
}

static int one_message(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;

	return hf_nlmsg_parse(h, &m, look_at, ctx);
}

static int look(struct hf_nl *n, uint32_t tree, struct look *l)
{
	l->id = l->seq = 0;
	mnl_attr_put_u32(hf_nl_begin(n, HOLDFAST_CMD_DIRTY_GET), HOLDFAST_A_TREE_ID, tree);
	return hf_nl_call(n, true, one_message, l);
}

static int ack(struct hf_nl *n, uint32_t tree, const struct look *l)
{
	struct nlmsghdr *h = hf_nl_begin(n, HOLDFAST_CMD_ACK);
	struct nlattr *nest;

	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, tree);
	nest = mnl_attr_nest_start(h, HOLDFAST_A_ACK);
	mnl_attr_put_u64(h, HOLDFAST_A_ACK_ID, l->id);
	mnl_attr_put_u64(h, HOLDFAST_A_ACK_SEQ, l->seq);
	mnl_attr_nest_end(h, nest);
	return hf_nl_call(n, false, NULL, NULL);
}

static void wrong(const char *what, int error)
{
	snprintf(all->why, sizeof(all->why), "cycle %lu: %s: %s", all->cycles, what, strerror(-error));
	_exit(1);
}

static void one_cycle(struct hf_nl *n, uint32_t tree, unsigned long i)
{
	char file[64];
	struct look l;
	struct hf_nlmsg m;
	int ret, tries;

	snprintf(l.path, sizeof(l.path), "v%lu", i % 100);
	snprintf(file, sizeof(file), "valid/%s", l.path);
	touch(file);
	for (tries = 0; tries < 100; tries++) {
		ret = hf_nl_tree(n, HOLDFAST_CMD_BARRIER, tree, &m);
		if (ret != -EAGAIN)
			break;
	}
	if (ret || !(m.flags & HOLDFAST_TREE_FLAG_ATTACHED) || (m.flags & HOLDFAST_TREE_FLAG_EXCLUDING))
		wrong("the barrier", ret);
	ret = look(n, tree, &l);
	if (ret || !l.id)
		wrong("what was written is not dirty", ret);
	ret = ack(n, tree, &l);
	if (ret)
		wrong("the acknowledgement", ret);
	ret = look(n, tree, &l);
	if (ret || l.id)
		wrong("what was acknowledged is dirty", ret);
}

static void valid(void)
{
	struct hf_err err = { 0 };
	struct hf_nl n;
	unsigned long end;
	uint32_t tree;

	if (hf_nl_open(&n, &err))
		wrong("open", -errno);
	tree = tree_add_all(&n, "valid", "valid");
	all->valid = tree;
	while (!all->last)
		one_cycle(&n, tree, all->cycles++);
	/* when all is quiet again, too */
	for (end = all->cycles + CYCLES_AFTER; all->cycles < end; all->cycles++)
		one_cycle(&n, tree, all->cycles);
	hf_nl_close(&n);
	_exit(0);
}

static void writer(void)
{
	char a[64], b[64];

	for (unsigned int i = 0; !all->stop; i++) {
		snprintf(a, sizeof(a), "f%u/s/w%u", i % 3, i % 17);
		snprintf(b, sizeof(b), "f%u/w%u", (i + 1) % 3, i % 13);
		touch(a);
		rename(a, b);
		snprintf(a, sizeof(a), "f%u/d%u", i % 3, i % 11);
		if (mkdir(a, 0755) && rmdir(a))
			die(a);
		snprintf(a, sizeof(a), "valid/other%u", i % 50);
		touch(a);
	}
	_exit(0);
}

/*
 * Who does not.
 */

static int genl(struct fuzz *f)
{
	static const int options[] = { NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK, NETLINK_NO_ENOBUFS,
				       NETLINK_BROADCAST_ERROR };
	struct sockaddr_nl a = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC), on = 1, group = nl.family.group, size = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		die("netlink socket");
	for (size_t i = 0; i < HF_ARRAY(options); i++)
		if (!rnd(f, 2))
			setsockopt(fd, SOL_NETLINK, options[i], &on, sizeof(on));
	if (!rnd(f, 4))
		setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group));
	if (!rnd(f, 4))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return fd;
}

static void take_fd(struct fuzz *f, int fd)
{
	if (fd >= 0 && f->nfds < FUZZ_FDS)
		f->fd[f->nfds++] = fd;
}

static void open_fds(struct fuzz *f)
{
	static const char *const dir[] = {
		"f0", "f1", "f2", "f0/s", "f1/s", "f2/s", "f0", "f0/s", "valid", ".", "/tmp", "/proc", "/proc/self", "/sys",
		"/dev", "/sys/fs/cgroup",
	};
	int p[2];

	for (size_t i = 0; i < HF_ARRAY(dir); i++)
		take_fd(f, open(dir[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	take_fd(f, open("f0", O_PATH | O_CLOEXEC));
	take_fd(f, open("valid/file", O_RDWR | O_CREAT | O_CLOEXEC, 0644));
	take_fd(f, open("/dev/null", O_RDWR | O_CLOEXEC));
	take_fd(f, epoll_create1(EPOLL_CLOEXEC));
	take_fd(f, eventfd(0, EFD_CLOEXEC));
	take_fd(f, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	take_fd(f, genl(f));
	if (!pipe2(p, O_CLOEXEC)) {
		take_fd(f, p[0]);
		take_fd(f, p[1]);
	}
	if (!mkdir("gone", 0755)) {
		take_fd(f, open("gone", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
		must(rmdir("gone"));
	}
}

static void count(struct told *t, uint8_t cmd, int error)
{
	if (error > 0 || error <= -ERRNOS)
		t->malformed++;
	else
		t->error[cmd < FUZZ_CMDS ? cmd : FUZZ_CMDS - 1][-error]++;
}

static void one_answer(struct fuzz *f, struct told *t, const struct nlmsghdr *h, const uint8_t *cmds)
{
	struct hf_nlmsg m;
	int error;

	t->answers++;
	if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE) {
		if (mnl_nlmsg_get_payload_len(h) < sizeof(error))
			return (void)t->malformed++;
		memcpy(&error, mnl_nlmsg_get_payload(h), sizeof(error));
		count(t, cmds[h->nlmsg_seq % 65536], error);
	} else if (h->nlmsg_type == f->family) {
		if (hf_nlmsg_parse(h, &m, NULL, NULL))
			return (void)t->malformed++;
		if (m.cmd == HOLDFAST_CMD_TREE_ADD)
			f->own = f->newest = m.tree;
	}
}

/* Takes in at most @most datagrams. */
static void listen_to(struct fuzz *f, struct told *t, int fd, int most, const uint8_t *cmds)
{
	static char buf[65536];
	struct nlmsghdr *h;
	ssize_t got;
	int len;

	while (most--) {
		got = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		t->overruns += got < 0 && errno == ENOBUFS;
		if (got <= 0)
			return;
		len = (int)got;
		for (h = (void *)buf; hf_nlmsg_ok(h, len); h = mnl_nlmsg_next(h, &len))
			one_answer(f, t, h, cmds);
		t->malformed += len > 0;
	}
}

static void fuzzer(int which, uint64_t seed)
{
	static struct fuzz f;
	static uint8_t cmds[65536];
	struct told *t = &all->told[which];
	uint32_t seq = 1, parts;
	uint32_t own[SOCKETS] = { 0 };
	int fd[SOCKETS], i;

	f.random = (seed * 2654435761u + which + 1) * 0x9e3779b97f4a7c15u | 1;
	f.family = nl.family.id;
	f.valid = all->valid;
	open_fds(&f);
	for (i = 0; i < SOCKETS; i++)
		fd[i] = genl(&f);
	while (!all->stop) {
		i = rnd(&f, SOCKETS);
		f.own = own[i];
		f.len = 0;
		for (parts = rnd(&f, 7) ? 1 : 1 + rnd(&f, 12); parts; parts--, seq++, t->parts++)
			cmds[seq % 65536] = fuzz_message(&f, seq);
		if (!rnd(&f, 20))
			noise(&f, rnd(&f, 40));
		t->sent += send(fd[i], f.buf, f.len, MSG_DONTWAIT) >= 0;
		switch (rnd(&f, 16)) {
		case 0:
			/* in the middle of a dump, or with trees */
			close(fd[i]);
			fd[i] = genl(&f);
			f.own = 0;
			t->closed++;
			break;
		case 1: case 2:
			break;
		case 3: case 4:
			listen_to(&f, t, fd[i], 1, cmds);
			break;
		default:
			listen_to(&f, t, fd[i], 64, cmds);
		}
		own[i] = f.own;
	}
	_exit(0);
}

/*
 * All of them.
 */

static pid_t begin(void (*fn)(int which, uint64_t seed), void (*simple)(void), int which, uint64_t seed)
{
	pid_t pid = fork();

	must(pid);
	if (pid)
		return pid;
	if (fn)
		fn(which, seed);
	simple();
	_exit(0);
}

static int status_of(pid_t pid)
{
	int status;

	must(waitpid(pid, &status, 0));
	return status;
}

static uint32_t first_tree;

static int note_first(void *ctx, const struct nlmsghdr *h)
{
	struct hf_nlmsg m;
	int ret = hf_nlmsg_parse(h, &m, NULL, NULL);

	if (!first_tree)
		first_tree = m.tree;
	return ret;
}

/* All trees are forgotten; how many there were, or what stood against it. */
static int forget(void)
{
	int n = 0, ret;

	for (;;) {
		first_tree = 0;
		hf_nl_begin(&nl, HOLDFAST_CMD_TREE_GET);
		ret = hf_nl_call(&nl, true, note_first, NULL);
		if (!ret && !first_tree)
			return n;
		if (!ret)
			ret = hf_nl_tree(&nl, HOLDFAST_CMD_TREE_DEL, first_tree, NULL);
		if (ret && !nl.interrupted)
			return ret;
		n += !ret;
	}
}

static int note_version(void *ctx, const struct nlmsghdr *h)
{
	return hf_nlmsg_parse(h, ctx, NULL, NULL);
}

static void print_errors(void)
{
	for (int c = 1; c < FUZZ_CMDS; c++) {
		unsigned long sum = 0;

		for (int e = 0; e < ERRNOS; e++) {
			unsigned long n = 0;

			for (int i = 0; i < FUZZERS; i++)
				n += all->told[i].error[c][e];
			if (n && !sum)
				printf("# command %d:", c);
			if (n)
				printf(" %s %lu", e ? strerrorname_np(e) ? strerrorname_np(e) : "?" : "done", n);
			sum += n;
		}
		if (sum)
			printf("\n");
	}
}

static void judge(void)
{
	struct told s = { 0 };
	int done = 0, refused = 0;

	for (int i = 0; i < FUZZERS; i++) {
		struct told *t = &all->told[i];

		s.sent += t->sent;
		s.parts += t->parts;
		s.answers += t->answers;
		s.malformed += t->malformed;
		s.closed += t->closed;
		s.overruns += t->overruns;
	}
	for (int c = 1; c <= HOLDFAST_CMD_EXCLUDE; c++) {
		bool good = false, bad = false;

		for (int i = 0; i < FUZZERS; i++) {
			good |= all->told[i].error[c][0];
			bad |= all->told[i].error[c][EINVAL];
		}
		done += good;
		refused += bad;
	}
	print_errors();
	ok(s.sent && s.answers, "%lu datagrams of %lu messages, %lu answers, %lu sockets closed, %lu overruns", s.sent,
	   s.parts, s.answers, s.closed, s.overruns);
	is(s.malformed, 0, "no answer is malformed");
	is(done, HOLDFAST_CMD_EXCLUDE, "every command was done sometimes");
	is(refused, HOLDFAST_CMD_EXCLUDE, "and every one was refused sometimes");
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	unsigned int seconds = argc > 2 ? atoi(argv[2]) : 20;
	struct hf_nlmsg v = { 0 };
	pid_t user, write_pid, pid[FUZZERS];
	int bad = 0, i, n;
	char dir[16];

	begin_module(&nl);
	printf("# seed %llu, %u s\n", (unsigned long long)seed, seconds);
	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		die("memory");
	must(mkdir("valid", 0755));
	for (i = 0; i < 3; i++) {
		snprintf(dir, sizeof(dir), "f%d", i);
		must(mkdir(dir, 0755));
		strcat(dir, "/s");
		must(mkdir(dir, 0755));
	}
	user = begin(NULL, valid, 0, 0);
	while (!all->cycles && !waitpid(user, NULL, WNOHANG))
		usleep(10000);
	write_pid = begin(NULL, writer, 0, 0);
	for (i = 0; i < FUZZERS; i++)
		pid[i] = begin(fuzzer, NULL, i, seed);
	sleep(seconds);
	all->stop = true;
	for (i = 0; i < FUZZERS; i++)
		bad |= status_of(pid[i]);
	bad |= status_of(write_pid);
	is(bad, 0, "fuzzers and writer have ended in order");
	all->last = true;
	bad = status_of(user);
	ok(!bad && all->cycles > CYCLES_AFTER, "who uses it as it is meant to be used notices nothing, %lu times, and %d afterwards%s%s",
	   all->cycles, CYCLES_AFTER, all->why[0] ? ": " : "", all->why);
	judge();
	n = forget();
	ok(n > 0, "trees that were left are deleted (%d)", n);
	/* marks go in the background */
	for (i = 0; i < 600; i++) {
		hf_nl_begin(&nl, HOLDFAST_CMD_VERSION_GET);
		if (hf_nl_call(&nl, false, note_version, &v) || !v.marks)
			break;
		usleep(100000);
	}
	ok(v.abi == HOLDFAST_ABI && !v.marks, "the family answers, and no mark is left (%llu)", (unsigned long long)v.marks);
	hf_nl_close(&nl);
	return tap_done();
}
