// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_kernel [-w] [-f] [-t] [-n ROUNDS] none|inotify|fanotify|holdfast WATCHED DIR
 *
 * What operations in DIR cost while WATCHED is watched, in instructions, where
 * the time stamp counter counts them (qemu -icount shift=0). Prints
 * "OPERATION MEDIAN" a line. Before each operation what was told is taken away,
 * and the machine becomes idle.
 *
 *	-w	a reader sleeps until it is woken; else nobody waits for events
 *	-f	nothing is taken away: the same happened before each operation
 *	-t	the whole machine's instructions until it is idle again, not only those
 *		between the begin and the end of the operation
 *
 * It runs before everything else (SCHED_FIFO), so that what it wakes is not in
 * its figures. holdfast needs hfnl, which consumes the tree.
 */
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <limits.h>
#include <linux/genetlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uapi/linux/holdfast.h>
#include <x86intrin.h>

#define PAGE 4096
#define ROUNDS_MAX 10000u
#define NAMES 4	/* few enough that none is written in two ticks, which costs its times */
#define IDLE_US 100
#define GAP 300		/* instructions between two looks of the idle process */

static bool woken, further, total;
static unsigned rounds = 601;
static int events = -1;		/* where they come to, when no other process reads them */
static FILE *consumer, *answers;	/* hfnl's input and output */
static volatile uint64_t *stolen;	/* from the process that runs when nothing else does */
static int file, pages, name[NAMES];
static char block[PAGE], *mapped;

__attribute__((format(printf, 1, 2), noreturn))
static void die(const char *fmt, ...)
{
	va_list ap;
	int err = errno;

	va_start(ap, fmt);
	fprintf(stderr, "bench_kernel: ");
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(err));
	exit(1);
}

static int must(int ret, const char *what)
{
	if (ret < 0)
		die("%s", what);
	return ret;
}

static pid_t children[8];
static int nchildren;

/* A process of its own, at @policy, which ends with this one. */
static bool child(int policy)
{
	struct sched_param param = { 0 };
	pid_t pid = must(fork(), "fork");

	if (pid) {
		children[nchildren++] = pid;
		return false;
	}
	must(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
	must(sched_setscheduler(0, policy, &param), "sched_setscheduler");
	return true;
}

static void end_children(void)
{
	while (nchildren) {
		kill(children[--nchildren], SIGKILL);
		waitpid(children[nchildren], NULL, 0);
	}
}

static void start_idle(void)
{
	stolen = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stolen == MAP_FAILED)
		die("mmap");
	if (child(SCHED_IDLE)) {
		for (uint64_t now, last = __rdtsc();; last = now) {
			now = __rdtsc();
			if (now - last > GAP)
				*stolen += now - last;
		}
	}
}

static void start_reader(void)
{
	static char buf[65536];

	if (child(SCHED_OTHER)) {
		struct pollfd p = { .fd = events, .events = POLLIN };

		for (;;) {
			poll(&p, 1, -1);
			while (read(events, buf, sizeof(buf)) > 0)
				;
		}
	}
	close(events);
	events = -1;
}

static void start_inotify(const char *dir)
{
	events = must(inotify_init1(IN_NONBLOCK), "inotify_init1");
	must(inotify_add_watch(events, dir, IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY |
			       IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF), dir);
}

static void start_fanotify(const char *dir)
{
	events = must(fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE |
				    FAN_REPORT_FID | FAN_REPORT_DFID_NAME, 0), "fanotify_init");
	must(fanotify_mark(events, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM |
			   FAN_MOVED_TO | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB | FAN_ONDIR,
			   AT_FDCWD, dir), "fanotify_mark");
}

/* hfnl's answer up to the line that begins with @end */
static void expect(const char *end)
{
	char line[PATH_MAX + 200];

	while (fgets(line, sizeof(line), answers)) {
		if (!strncmp(line, end, strlen(end)))
			return;
		if (!strncmp(line, "failed", 6))
			break;
	}
	errno = EPROTO;
	die("hfnl says nothing of '%s'", end);
}

static void start_hfnl(const char *dir)
{
	int to[2], from[2];

	must(pipe2(to, O_CLOEXEC), "pipe");
	must(pipe2(from, O_CLOEXEC), "pipe");
	if (child(SCHED_OTHER)) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		execlp("hfnl", "hfnl", "hold", "bench", dir, NULL);
		die("hfnl");
	}
	close(to[0]);
	close(from[1]);
	consumer = fdopen(to[1], "w");
	answers = fdopen(from[0], "r");
	setlinebuf(consumer);
	expect("tree ");
	fputs("barrier\n", consumer);
	expect("done");
}

static int group_of(const struct nlmsghdr *h, void *data)
{
	const struct nlattr *at, *group, *in;

	mnl_attr_for_each(at, h, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(at) != CTRL_ATTR_MCAST_GROUPS)
			continue;
		mnl_attr_for_each_nested(group, at)
			mnl_attr_for_each_nested(in, group)
				if (mnl_attr_get_type(in) == CTRL_ATTR_MCAST_GRP_ID)
					*(uint32_t *)data = mnl_attr_get_u32(in);
	}
	return MNL_CB_OK;
}

/* A socket that the module's change events come to */
static int join(void)
{
	struct mnl_socket *sk = mnl_socket_open(NETLINK_GENERIC);
	struct genlmsghdr *g;
	struct nlmsghdr *h;
	char buf[8192];
	uint32_t group = 0;
	int fd;

	if (!sk || mnl_socket_bind(sk, 0, MNL_SOCKET_AUTOPID) < 0)
		die("netlink");
	h = mnl_nlmsg_put_header(buf);
	h->nlmsg_type = GENL_ID_CTRL;
	h->nlmsg_flags = NLM_F_REQUEST;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->cmd = CTRL_CMD_GETFAMILY;
	g->version = 1;
	mnl_attr_put_strz(h, CTRL_ATTR_FAMILY_NAME, HOLDFAST_FAMILY_NAME);
	must(mnl_socket_sendto(sk, h, h->nlmsg_len), "the family");
	mnl_cb_run(buf, must(mnl_socket_recvfrom(sk, buf, sizeof(buf)), "the family"), 0, 0, group_of, &group);
	fd = mnl_socket_get_fd(sk);
	must(mnl_socket_setsockopt(sk, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)), "the group");
	must(fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
	return fd;
}

static void start_holdfast(const char *dir)
{
	start_hfnl(dir);
	if (woken)
		events = join();
}

static void until_idle(void)
{
	struct timespec ts = { .tv_nsec = IDLE_US * 1000 };

	nanosleep(&ts, NULL);
}

static void settle(bool take)
{
	static char buf[65536];

	if (take && events >= 0)
		while (read(events, buf, sizeof(buf)) > 0)
			;
	if (take && consumer) {
		fputs("ack-all\n", consumer);
		expect("done");
	}
	until_idle();
}

static void do_write(unsigned i)
{
	must(pwrite(file, "x", 1, 0), "write");
}

static void do_names(unsigned i)
{
	must(pwrite(name[i % NAMES], "x", 1, 0), "write");
}

static void names(void)
{
	char path[16];

	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(path, sizeof(path), "name%u", i);
		name[i] = must(open(path, O_RDWR | O_CREAT | O_TRUNC, 0644), path);
		do_names(i);
	}
	settle(true);
}

static void do_open(unsigned i)
{
	int fd = open("file", O_WRONLY);

	must(write(fd, "x", 1), "write");
	close(fd);
}

static void do_dirty(unsigned i)
{
	must(pwrite(pages, "x", 1, (off_t)i * PAGE), "write");
}

static void do_store(unsigned i)
{
	mapped[(size_t)i * PAGE] = 'y';
}

/* All of its pages are clean, and seen by this process. */
static void map(void)
{
	must(munlockall(), "munlockall");
	mapped = mmap(NULL, (size_t)rounds * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, pages, 0);
	if (mapped == MAP_FAILED)
		die("mmap");
	for (unsigned i = 0; i < rounds; i++)
		do_store(i);
	must(msync(mapped, (size_t)rounds * PAGE, MS_SYNC), "msync");
}

static void do_create(unsigned i)
{
	close(must(open("new", O_WRONLY | O_CREAT | O_EXCL, 0644), "new"));
	must(rename("new", "renamed"), "rename");
}

static void do_unlink(unsigned i)
{
	must(unlink("renamed"), "unlink");
}

/* The block of a deleted directory can not be used again before its transaction
 * is committed, and looking for others costs more and more. */
static void commit(void)
{
	must(syncfs(file), "syncfs");
}

static void do_mkdir(unsigned i)
{
	must(mkdir("dir", 0755), "mkdir");
}

static void do_rmdir(unsigned i)
{
	must(rmdir("dir"), "rmdir");
}

typedef void (*operation)(unsigned i);

static uint64_t measure(operation op, unsigned i, bool take)
{
	uint64_t from, to;

	settle(take);
	if (total) {
		from = *stolen;
		op(i);
		until_idle();
		return *stolen - from;
	}
	from = __rdtsc();
	op(i);
	to = __rdtsc();
	return to - from;
}

static int order(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void nothing(unsigned i)
{
}

static uint64_t median(uint64_t *v)
{
	qsort(v, rounds, sizeof(*v), order);
	return v[rounds / 2];
}

struct test {
	const char *name;
	operation op;
	const char *back;	/* what takes it back, and how that is called */
	operation undo;
	void (*first)(void);	/* before all rounds */
	void (*before)(void);	/* before each */
	bool several;		/* taken away is what happened to all names at once */
	unsigned passes;	/* the least median of so many; 0: of one */
};

static const struct test tests[] = {
	/* some paths are a little longer about half of the time */
	{ "dirty", .op = do_dirty, .first = sync, .passes = 5 },
	{ "write", .op = do_write },
	{ "open", .op = do_open },
	{ "create", .op = do_create, .back = "unlink", .undo = do_unlink, .passes = 3 },
	{ "mkdir", .op = do_mkdir, .back = "rmdir", .undo = do_rmdir, .before = commit },
	{ "store", .op = do_store, .first = map },
	{ "names", .op = do_names, .first = names, .several = true },
};

static int64_t least(int64_t a, uint64_t *v)
{
	int64_t b = median(v);

	return a < b ? a : b;
}

static void run(const struct test *t, uint64_t overhead)
{
	static uint64_t there[ROUNDS_MAX], home[ROUNDS_MAX];
	int64_t to = INT64_MAX, back = INT64_MAX;
	unsigned pass = 0, i;

	do {
		if (t->first)
			t->first();
		for (i = 0; i < rounds; i++) {
			if (t->before)
				t->before();
			there[i] = measure(t->op, i, !further && !(t->several && i % NAMES));
			if (t->undo)
				home[i] = measure(t->undo, i, !further);
		}
		to = least(to, there);
		if (t->undo)
			back = least(back, home);
	} while (++pass < t->passes && !total);
	printf("%s %lld\n", t->name, (long long)(to - overhead));
	if (t->undo)
		printf("%s %lld\n", t->back, (long long)(back - overhead));
}

static uint64_t overhead_of(void)
{
	static uint64_t v[ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++)
		v[i] = measure(nothing, i, !further);
	return median(v);
}

static void start(const char *mechanism, const char *dir)
{
	if (!strcmp(mechanism, "inotify"))
		start_inotify(dir);
	else if (!strcmp(mechanism, "fanotify"))
		start_fanotify(dir);
	else if (!strcmp(mechanism, "holdfast"))
		start_holdfast(dir);
	else if (strcmp(mechanism, "none")) {
		errno = EINVAL;
		die("%s", mechanism);
	}
	if (events >= 0 && woken)
		start_reader();
}

int main(int argc, char **argv)
{
	struct sched_param first = { .sched_priority = 50 };
	uint64_t overhead;
	unsigned i;
	int c;

	while ((c = getopt(argc, argv, "wftn:")) != -1) {
		if (c == 'w')
			woken = true;
		else if (c == 'f')
			further = true;
		else if (c == 't')
			total = true;
		else if (c == 'n')
			rounds = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (argc - optind != 3 || !rounds || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: bench_kernel [-w] [-f] [-t] [-n ROUNDS] MECHANISM WATCHED DIR\n");
		return 2;
	}
	must(chdir(argv[optind + 2]), argv[optind + 2]);
	file = must(open("file", O_RDWR | O_CREAT | O_TRUNC, 0644), "file");
	pages = must(open("pages", O_RDWR | O_CREAT | O_TRUNC, 0644), "pages");
	for (i = 0; i < rounds; i++)
		must(write(pages, block, PAGE), "write");
	do_write(0);
	sync();

	start(argv[optind], argv[optind + 1]);
	if (total)
		start_idle();
	must(mlockall(MCL_CURRENT | MCL_FUTURE), "mlockall");
	must(sched_setscheduler(0, SCHED_FIFO, &first), "sched_setscheduler");

	overhead = overhead_of();
	for (i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		run(&tests[i], overhead);

	if (consumer) {
		fputs("del\n", consumer);
		expect("done");
	}
	end_children();
	return 0;
}
