// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hfnl: the module's netlink family for shell scripts, bare: what it is told it
 * does, and what the module answers it prints.
 *
 *	hfnl COMMAND [ARGUMENT]... [, COMMAND [ARGUMENT]...]...
 *	hfnl hold RESOURCE DIR	 = resource RESOURCE , add DIR , walk , -
 *
 * One socket for all commands of a process. "-" reads further ones from standard
 * input, one on a line (\xHH for a byte, spaces separate), and ends each with a
 * line "done" or "failed ERRNO SENTENCE"; their failures are no failure of the
 * process, in the arguments the first one is. At the end of the input it ends, so
 * that its trees stay without a consumer.
 *
 *	resource R	consumer C	path P		of trees that are added
 *	add DIR [FILE]		tree ID FLAGS SEQ	the tree that is meant from now on
 *	tree ID						the same, one that is there
 *	mark DIR...					in one request
 *	walk [DIR]					mark first, then read, what lies below
 *	list, barrier		state ID FLAGS SEQ DIRTY MARKS SINCE [RESOURCE PATH FILE]
 *	dirty			entry ID SEQ OPS STATE PID UID LOGINUID COMM PATH, total N
 *	ack ID SEQ, ack-all
 *	settle			walks what is to be scanned, and acknowledges, until all is clean
 *	exclude 1|0, del
 *	exclude-run COMMAND...				becomes COMMAND, whose changes are left out
 *	write FILE TEXT, mkdir D, unlink F, rmdir D, rename A B, exchange A B	done by this process
 *	events [COUNT]		event TREE NUMBER OPS STATE PID COMM PATH, lost, listening
 *	version			version V abi N trees N marks N/MAX bytes N/MAX seq N
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uapi/linux/holdfast.h>

#define ARGS 600
#define ACKS 256

static struct mnl_socket *sk;
static uint16_t family;
static uint32_t group, tree;
static const char *resource = "test", *consumer = "hfnl", *place;
static char *rootdir;
static char out[32768], in[65536];
static char why[200];

struct acked {
	uint64_t id, seq;
	bool scan;
	char *path;
};
static struct acked *seen;
static size_t nseen;
static bool say_entries;

typedef void (*message_fn)(const struct nlmsghdr *h);

static void get(const struct nlattr **a, unsigned max, const void *data, size_t len)
{
	const struct nlattr *at = data;

	memset(a, 0, (max + 1) * sizeof(*a));
	while (mnl_attr_ok(at, (const char *)data + len - (const char *)at)) {
		if (mnl_attr_get_type(at) <= max)
			a[mnl_attr_get_type(at)] = at;
		at = mnl_attr_next(at);
	}
}

static void get_message(const struct nlattr **a, const struct nlmsghdr *h)
{
	get(a, HOLDFAST_A_MAX, mnl_nlmsg_get_payload_offset(h, GENL_HDRLEN), mnl_nlmsg_get_payload_len(h) - GENL_HDRLEN);
}

static unsigned long long num(const struct nlattr *a)
{
	return !a ? 0 : mnl_attr_get_payload_len(a) == 8 ? mnl_attr_get_u64(a) : mnl_attr_get_u32(a);
}

static const char *text(const struct nlattr *a)
{
	return a && *mnl_attr_get_str(a) ? mnl_attr_get_str(a) : "-";
}

static void print_bytes(const struct nlattr *a)
{
	const unsigned char *p = a ? mnl_attr_get_payload(a) : NULL;
	size_t n = a ? mnl_attr_get_payload_len(a) : 0;

	if (!n)
		putchar('.');
	for (; n; n--, p++)
		printf(isgraph(*p) && *p != '\\' ? "%c" : "\\x%02x", *p);
}

static const char *names(char *buf, unsigned bits, const char *const *name)
{
	strcpy(buf, bits ? "" : "-");
	for (; bits; bits &= bits - 1)
		sprintf(buf + strlen(buf), "%s%s", *buf ? "," : "", name[__builtin_ctz(bits)]);
	return buf;
}

static const char *const flag_name[32] = { "lost", "moved", "coarse", "attached", "resumed", "excluding", "stores" };
static const char *const op_name[32] = {
	"create", "modify", "close-write", "attrib", "delete", "moved-from", "moved-to",
};
static const char *const state_name[32] = { "subtree", "open", "mapped" };

/* Sends what is in @out; all answers to @fn. -errno of the module, 0 */
static int exchange(message_fn fn)
{
	static unsigned seq;
	struct nlmsghdr *h = (struct nlmsghdr *)out;
	bool interrupted = false;

	h->nlmsg_seq = ++seq;
	*why = 0;
	if (mnl_socket_sendto(sk, h, h->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t n = mnl_socket_recvfrom(sk, in, sizeof(in));
		int left = n;

		if (n < 0)
			return -errno;
		for (h = (struct nlmsghdr *)in; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			const struct nlattr *a[NLMSGERR_ATTR_OFFS + 1];
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
			size_t skip;

			if (h->nlmsg_seq != seq)
				continue;
			interrupted |= h->nlmsg_flags & NLM_F_DUMP_INTR;
			if (h->nlmsg_type == NLMSG_DONE) {
				if (interrupted)
					printf("interrupted\n");
				return *(const int *)e;
			}
			if (h->nlmsg_type != NLMSG_ERROR) {
				if (fn)
					fn(h);
				continue;
			}
			skip = sizeof(*e) + (h->nlmsg_flags & NLM_F_CAPPED ? 0 : MNL_ALIGN(e->msg.nlmsg_len) -
					     sizeof(e->msg));
			if (h->nlmsg_flags & NLM_F_ACK_TLVS) {
				get(a, NLMSGERR_ATTR_OFFS, (const char *)e + skip, mnl_nlmsg_get_payload_len(h) - skip);
				if (a[NLMSGERR_ATTR_MSG])
					snprintf(why, sizeof(why), "%s (offset %llu)", text(a[NLMSGERR_ATTR_MSG]),
						 num(a[NLMSGERR_ATTR_OFFS]));
			}
			return e->error;
		}
	}
}

static struct nlmsghdr *request(int type, int cmd, int flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(out);
	struct genlmsghdr *g;

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->cmd = cmd;
	g->version = 1;
	return h;
}

static struct nlmsghdr *of_tree(int cmd, int flags)
{
	struct nlmsghdr *h = request(family, cmd, flags);

	mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, tree);
	return h;
}

static void on_family(const struct nlmsghdr *h)
{
	const struct nlattr *a[CTRL_ATTR_MAX + 1], *g, *b[CTRL_ATTR_MCAST_GRP_MAX + 1];

	get(a, CTRL_ATTR_MAX, mnl_nlmsg_get_payload_offset(h, GENL_HDRLEN), mnl_nlmsg_get_payload_len(h) - GENL_HDRLEN);
	family = a[CTRL_ATTR_FAMILY_ID] ? mnl_attr_get_u16(a[CTRL_ATTR_FAMILY_ID]) : 0;
	if (!a[CTRL_ATTR_MCAST_GROUPS])
		return;
	mnl_attr_for_each_nested(g, a[CTRL_ATTR_MCAST_GROUPS]) {
		get(b, CTRL_ATTR_MCAST_GRP_MAX, mnl_attr_get_payload(g), mnl_attr_get_payload_len(g));
		group = num(b[CTRL_ATTR_MCAST_GRP_ID]);
	}
}

static void on_version(const struct nlmsghdr *h)
{
	const struct nlattr *a[HOLDFAST_A_MAX + 1];

	get_message(a, h);
	printf("version %s abi %llu trees %llu marks %llu/%llu bytes %llu/%llu seq %llu\n", text(a[HOLDFAST_A_VERSION]),
	       num(a[HOLDFAST_A_ABI]), num(a[HOLDFAST_A_TREES]), num(a[HOLDFAST_A_MARKS]), num(a[HOLDFAST_A_MARKS_MAX]),
	       num(a[HOLDFAST_A_DIRTY_BYTES]), num(a[HOLDFAST_A_DIRTY_MAX]), num(a[HOLDFAST_A_SEQ]));
}

static void on_added(const struct nlmsghdr *h)
{
	const struct nlattr *a[HOLDFAST_A_MAX + 1];
	char f[200];

	get_message(a, h);
	tree = num(a[HOLDFAST_A_TREE_ID]);
	printf("tree %u %s %llu\n", tree, names(f, num(a[HOLDFAST_A_TREE_FLAGS]), flag_name), num(a[HOLDFAST_A_SEQ]));
}

static void on_state(const struct nlmsghdr *h)
{
	const struct nlattr *a[HOLDFAST_A_MAX + 1];
	char f[200];

	get_message(a, h);
	printf("state %llu %s %llu %llu %llu %llu", num(a[HOLDFAST_A_TREE_ID]),
	       names(f, num(a[HOLDFAST_A_TREE_FLAGS]), flag_name), num(a[HOLDFAST_A_SEQ]), num(a[HOLDFAST_A_DIRTY]),
	       num(a[HOLDFAST_A_MARKS]), num(a[HOLDFAST_A_SINCE]));
	if (a[HOLDFAST_A_RESOURCE]) {
		printf(" %s ", text(a[HOLDFAST_A_RESOURCE]));
		print_bytes(a[HOLDFAST_A_PATH]);
		putchar(' ');
		print_bytes(a[HOLDFAST_A_FILE]);
	}
	putchar('\n');
}

static void print_change(const struct nlattr *const *a, bool whose)
{
	char ops[200], state[64];

	printf(" %s %s %llu", names(ops, num(a[HOLDFAST_A_CHANGE_OPS]), op_name),
	       names(state, num(a[HOLDFAST_A_CHANGE_STATE]), state_name), num(a[HOLDFAST_A_CHANGE_PID]));
	if (whose)
		printf(" %llu %llu", num(a[HOLDFAST_A_CHANGE_UID]), num(a[HOLDFAST_A_CHANGE_LOGINUID]));
	printf(" %s ", text(a[HOLDFAST_A_CHANGE_COMM]));
	print_bytes(a[HOLDFAST_A_CHANGE_PATH]);
	putchar('\n');
}

static void on_dirty(const struct nlmsghdr *h)
{
	const struct nlattr *a[HOLDFAST_A_MAX + 1], *c[HOLDFAST_A_CHANGE_MAX + 1], *p;
	struct acked *s;

	get_message(a, h);
	get(c, HOLDFAST_A_CHANGE_MAX, mnl_attr_get_payload(a[HOLDFAST_A_CHANGE]),
	    mnl_attr_get_payload_len(a[HOLDFAST_A_CHANGE]));
	p = c[HOLDFAST_A_CHANGE_PATH];
	seen = realloc(seen, (nseen + 1) * sizeof(*seen));
	s = &seen[nseen++];
	*s = (struct acked){
		.id = num(c[HOLDFAST_A_CHANGE_ID]), .seq = num(c[HOLDFAST_A_CHANGE_SEQ]),
		.scan = num(c[HOLDFAST_A_CHANGE_STATE]) & HOLDFAST_STATE_SUBTREE,
		.path = p ? strndup(mnl_attr_get_payload(p), mnl_attr_get_payload_len(p)) : strdup(""),
	};
	if (!say_entries)
		return;
	printf("entry %llu %llu", (unsigned long long)s->id, (unsigned long long)s->seq);
	print_change(c, true);
}

static int dirty(bool say)
{
	int ret;

	while (nseen)
		free(seen[--nseen].path);
	say_entries = say;
	of_tree(HOLDFAST_CMD_DIRTY_GET, NLM_F_DUMP);
	ret = exchange(on_dirty);
	if (say && !ret)
		printf("total %zu\n", nseen);
	return ret;
}

static int ack(const struct acked *list, size_t n)
{
	int ret = 0;

	for (size_t i = 0; i < n && !ret; i += ACKS) {
		struct nlmsghdr *h = of_tree(HOLDFAST_CMD_ACK, NLM_F_ACK);

		for (size_t k = i; k < n && k < i + ACKS; k++) {
			struct nlattr *nest = mnl_attr_nest_start(h, HOLDFAST_A_ACK);

			mnl_attr_put_u64(h, HOLDFAST_A_ACK_ID, list[k].id);
			mnl_attr_put_u64(h, HOLDFAST_A_ACK_SEQ, list[k].seq);
			mnl_attr_nest_end(h, nest);
		}
		ret = exchange(NULL);
	}
	return ret;
}

static int open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int mark(const int *fd, int n)
{
	struct nlmsghdr *h = of_tree(HOLDFAST_CMD_MARK, NLM_F_ACK);

	for (int i = 0; i < n; i++)
		mnl_attr_put_u32(h, HOLDFAST_A_DIR_FD, fd[i]);
	return exchange(NULL);
}

/* what was moved or deleted meanwhile has made an entry of its own */
static bool gone(int ret)
{
	return ret == -ENOENT || ret == -ESTALE || ret == -ENOTDIR || ret == -ELOOP;
}

/* Takes @fd over. */
static int walk(int fd)
{
	int ret = mark(&fd, 1);
	struct dirent *e;
	DIR *d;

	if (ret) {
		close(fd);
		return gone(ret) ? 0 : ret;
	}
	d = fdopendir(fd);
	/* btrfs shows what was there when it was opened, which was before the mark */
	rewinddir(d);
	while (!ret && (e = readdir(d))) {
		int sub;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || (e->d_type != DT_DIR && e->d_type != DT_UNKNOWN))
			continue;
		sub = open_dir(fd, e->d_name);
		ret = sub >= 0 ? walk(sub) : gone(sub) ? 0 : sub;
	}
	closedir(d);
	return ret;
}

static int walk_at(const char *below)
{
	char *path;
	int fd;

	if (asprintf(&path, "%s%s%s", *below == '/' ? "" : rootdir, *below && *below != '/' ? "/" : "", below) < 0)
		return -ENOMEM;
	fd = open_dir(AT_FDCWD, path);
	free(path);
	return fd >= 0 ? walk(fd) : gone(fd) ? 0 : fd;
}

static int settle(void)
{
	for (int round = 0; round < 1000; round++) {
		int ret = dirty(false);

		if (ret || !nseen)
			return ret;
		for (size_t i = 0; i < nseen && !ret; i++) {
			struct acked s = seen[i];

			ret = s.scan ? walk_at(s.path) : 0;
		}
		if (!ret)
			ret = ack(seen, nseen);
		if (ret)
			return ret;
	}
	return -ETIMEDOUT;
}

static int add(const char *dir, const char *file)
{
	struct nlmsghdr *h;
	int fd = open(dir, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	free(rootdir);
	rootdir = strdup(dir);
	h = request(family, HOLDFAST_CMD_TREE_ADD, 0);
	mnl_attr_put_u32(h, HOLDFAST_A_ROOT_FD, fd);
	mnl_attr_put_strz(h, HOLDFAST_A_RESOURCE, resource);
	mnl_attr_put(h, HOLDFAST_A_PATH, strlen(place ? place : dir), place ? place : dir);
	mnl_attr_put_strz(h, HOLDFAST_A_CONSUMER, consumer);
	if (file)
		mnl_attr_put(h, HOLDFAST_A_FILE, strlen(file), file);
	h->nlmsg_flags |= NLM_F_ACK;
	ret = exchange(on_added);
	close(fd);
	return ret;
}

static int exclude(bool on)
{
	struct nlmsghdr *h = of_tree(HOLDFAST_CMD_EXCLUDE, NLM_F_ACK);

	mnl_attr_put_u32(h, HOLDFAST_A_EXCLUDE, on);
	return exchange(NULL);
}

static int exclude_run(char **argv)
{
	int fd = mnl_socket_get_fd(sk), ret = exclude(true);

	if (ret)
		return ret;
	/* the exclusion lasts as long as the socket */
	fcntl(fd, F_SETFD, 0);
	fflush(stdout);
	execvp(argv[0], argv);
	return -errno;
}

static int events(unsigned long count)
{
	struct mnl_socket *ev = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);

	if (!ev || mnl_socket_bind(ev, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_setsockopt(ev, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return -errno;
	printf("listening\n");
	while (count) {
		ssize_t n;
		struct nlmsghdr *h;
		int left;

		fflush(stdout);
		n = mnl_socket_recvfrom(ev, in, sizeof(in));
		if (n < 0 && errno == ENOBUFS)
			printf("lost\n");
		else if (n < 0)
			return -errno;
		left = n;
		for (h = (struct nlmsghdr *)in; n > 0 && mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			const struct nlattr *a[HOLDFAST_A_MAX + 1], *c[HOLDFAST_A_CHANGE_MAX + 1], *at;
			unsigned long long number;

			get_message(a, h);
			number = num(a[HOLDFAST_A_NUMBER]);
			mnl_attr_for_each(at, h, GENL_HDRLEN) {
				if (mnl_attr_get_type(at) != HOLDFAST_A_CHANGE || !count)
					continue;
				get(c, HOLDFAST_A_CHANGE_MAX, mnl_attr_get_payload(at), mnl_attr_get_payload_len(at));
				printf("event %llu %llu", num(a[HOLDFAST_A_TREE_ID]), number++);
				print_change(c, false);
				count--;
			}
		}
	}
	mnl_socket_close(ev);
	return 0;
}

static int write_file(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ssize_t n = fd < 0 ? -1 : write(fd, what, strlen(what));
	int ret = n < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return ret;
}

static int mark_dirs(int n, char **dir)
{
	int fd[ARGS], ret = 0, have;

	for (have = 0; have < n && ret >= 0; have++) {
		ret = open(dir[have], O_RDONLY | O_CLOEXEC);
		fd[have] = ret;
		ret = ret < 0 ? -errno : 0;
	}
	if (!ret)
		ret = mark(fd, n);
	while (have--)
		close(fd[have]);
	return ret;
}

static int simple(int cmd, int flags, message_fn fn)
{
	of_tree(cmd, flags);
	return exchange(fn);
}

static int read_commands(void);

static int command(int n, char **a)
{
	const char *c = a[0];
#define IS(name, least, most) (!strcmp(c, name) && n > (least) && n - 1 <= (most))
#define SYS(call) ((call) ? -errno : 0)
	if (IS("resource", 1, 1))
		return resource = strdup(a[1]), 0;
	if (IS("consumer", 1, 1))
		return consumer = strdup(a[1]), 0;
	if (IS("path", 1, 1))
		return place = strdup(a[1]), 0;
	if (IS("tree", 1, 1))
		return tree = strtoul(a[1], NULL, 10), 0;
	if (IS("add", 1, 2))
		return add(a[1], a[2]);
	if (IS("mark", 1, ARGS))
		return mark_dirs(n - 1, a + 1);
	if (IS("walk", 0, 1))
		return walk_at(n > 1 ? a[1] : "");
	if (IS("list", 0, 0)) {
		request(family, HOLDFAST_CMD_TREE_GET, NLM_F_DUMP);
		return exchange(on_state);
	}
	if (IS("barrier", 0, 0))
		return simple(HOLDFAST_CMD_BARRIER, NLM_F_ACK, on_state);
	if (IS("dirty", 0, 0))
		return dirty(true);
	if (IS("ack", 2, 2)) {
		struct acked s = { .id = strtoull(a[1], NULL, 10), .seq = strtoull(a[2], NULL, 10) };

		return ack(&s, 1);
	}
	if (IS("ack-all", 0, 0)) {
		int ret = dirty(false);

		return ret ? ret : ack(seen, nseen);
	}
	if (IS("settle", 0, 0))
		return settle();
	if (IS("exclude", 1, 1))
		return exclude(*a[1] == '1');
	if (IS("exclude-run", 1, ARGS))
		return exclude_run(a + 1);
	if (IS("del", 0, 0))
		return simple(HOLDFAST_CMD_TREE_DEL, NLM_F_ACK, NULL);
	if (IS("write", 2, 2))
		return write_file(a[1], a[2]);
	if (IS("mkdir", 1, 1))
		return SYS(mkdir(a[1], 0755));
	if (IS("unlink", 1, 1))
		return SYS(unlink(a[1]));
	if (IS("rmdir", 1, 1))
		return SYS(rmdir(a[1]));
	if (IS("rename", 2, 2))
		return SYS(rename(a[1], a[2]));
	if (IS("exchange", 2, 2))
		return SYS(renameat2(AT_FDCWD, a[1], AT_FDCWD, a[2], RENAME_EXCHANGE));
	if (IS("events", 0, 1))
		return events(n > 1 ? strtoul(a[1], NULL, 10) : -1ul);
	if (IS("version", 0, 0)) {
		request(family, HOLDFAST_CMD_VERSION_GET, NLM_F_ACK);
		return exchange(on_version);
	}
	if (IS("hold", 2, 2)) {
		int ret;

		resource = strdup(a[1]);
		ret = add(a[2], NULL);
		if (!ret)
			ret = walk_at("");
		return ret ? ret : read_commands();
	}
	if (IS("-", 0, 0))
		return read_commands();
	snprintf(why, sizeof(why), "no such command, or not with so many arguments");
	return -EINVAL;
}

static void unescape(char *s)
{
	char *q = s;
	unsigned v;

	for (; *s; s++) {
		if (sscanf(s, "\\x%2x", &v) == 1) {
			*q++ = v;
			s += 3;
		} else {
			*q++ = *s;
		}
	}
	*q = 0;
}

static int read_commands(void)
{
	char *line = NULL, *a[ARGS + 2], *save;
	size_t size = 0;

	fflush(stdout);
	while (getline(&line, &size, stdin) > 0) {
		int n = 0, ret;

		for (char *w = strtok_r(line, " \n", &save); w && n < ARGS; w = strtok_r(NULL, " \n", &save)) {
			unescape(w);
			a[n++] = w;
		}
		a[n] = a[n + 1] = NULL;
		if (!n)
			continue;
		ret = command(n, a);
		if (ret)
			printf("failed %s %s\n", strerrorname_np(-ret), why);
		else
			printf("done\n");
		*why = 0;
		fflush(stdout);
	}
	free(line);
	return 0;
}

static int start(void)
{
	struct timeval limit = { .tv_sec = 60 };
	struct nlmsghdr *h;
	int one = 1, ret;

	sk = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	if (!sk || mnl_socket_bind(sk, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	mnl_socket_setsockopt(sk, NETLINK_EXT_ACK, &one, sizeof(one));
	setsockopt(mnl_socket_get_fd(sk), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	h = request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK);
	mnl_attr_put_strz(h, CTRL_ATTR_FAMILY_NAME, HOLDFAST_FAMILY_NAME);
	ret = exchange(on_family);
	return ret ? ret : family ? 0 : -ENOENT;
}

int main(int argc, char **argv)
{
	char *a[ARGS + 2];
	int ret = start();

	if (ret) {
		fprintf(stderr, "hfnl: the family %s is not there: %s\n", HOLDFAST_FAMILY_NAME, strerrorname_np(-ret));
		return 2;
	}
	for (int i = 1, n; i < argc && !ret; i += n + 1) {
		for (n = 0; i + n < argc && strcmp(argv[i + n], ",") && n < ARGS; n++)
			a[n] = argv[i + n];
		a[n] = a[n + 1] = NULL;
		ret = n ? command(n, a) : 0;
		fflush(stdout);
		if (ret)
			fprintf(stderr, "hfnl: %s: %s %s\n", a[0], strerrorname_np(-ret), why);
	}
	mnl_socket_close(sk);
	return ret ? 1 : 0;
}
