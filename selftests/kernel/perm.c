// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who may speak to the family (P10): every request and every dump, and the group of
 * change events, by somebody who should not. What holds:
 *
 *   a request	needs CAP_NET_ADMIN in the first user namespace twice: of who opened
 *		the socket and of who sends. So a socket that is handed to a process
 *		without it is of no use there, and neither is one that such a process
 *		has opened and makes a privileged one write to.
 *   the group	needs it of who joins.
 *   receiving	is for whoever has the socket: who hands over one that has joined, or
 *		whose dump was begun, hands over what comes in there.
 *   another network namespace has no such family, and hears of no change.
 */
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "nltree.h"

#define CMDS (HOLDFAST_CMD_MAX + 2)
#define NOBODY 1000

/* What became of somebody's tries. */
struct tried {
	int begun, ret[CMDS][2], join, heard, rest;
	bool admin;		/* it has the capability in the namespace that it is in */
};

struct actor {
	const char *name;
	int (*begin)(void);	/* in a process of its own: becomes it, and has a socket */
	int want, join;		/* of each request; of the group */
	bool admin, hears;
};

static struct hf_nl nl;
static struct tried *tried, root;
static uint32_t tree;
static int rootfd;
static char top[128];
static int passed[2];		/* a socket pair, for descriptors */

static int genl(void)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK };
	struct timeval tv = { .tv_sec = 60 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return fd;
}

static int join(int fd)
{
	int group = nl.family.group;

	return setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) ? -errno : 0;
}

/* As good a request as there can be: nothing but who asks stands against it. */
static struct nlmsghdr *build(char *buf, int cmd, bool dump)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct genlmsghdr *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	struct nlattr *nest;

	h->nlmsg_type = nl.family.id;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (dump ? NLM_F_DUMP : 0);
	g->cmd = cmd;
	g->version = HOLDFAST_FAMILY_VERSION;
	if (cmd == HOLDFAST_CMD_TREE_ADD)
		put_spec(h, rootfd, top, "perm");
	else if (cmd != HOLDFAST_CMD_VERSION_GET && !(cmd == HOLDFAST_CMD_TREE_GET && dump))
		mnl_attr_put_u32(h, HOLDFAST_A_TREE_ID, tree);
	if (cmd == HOLDFAST_CMD_MARK)
		mnl_attr_put_u32(h, HOLDFAST_A_DIR_FD, rootfd);
	if (cmd == HOLDFAST_CMD_EXCLUDE)
		mnl_attr_put_u32(h, HOLDFAST_A_EXCLUDE, 1);
	if (cmd == HOLDFAST_CMD_ACK) {
		nest = mnl_attr_nest_start(h, HOLDFAST_A_ACK);
		mnl_attr_put_u64(h, HOLDFAST_A_ACK_ID, 1);
		mnl_attr_put_u64(h, HOLDFAST_A_ACK_SEQ, UINT64_MAX);
		mnl_attr_nest_end(h, nest);
	}
	return h;
}

static int ask(int fd, int cmd, bool dump)
{
	static char buf[32768];
	static uint32_t seq;
	struct nlmsghdr *h = build(buf, cmd, dump);
	int len, error;

	h->nlmsg_seq = ++seq;
	if (send(fd, h, h->nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		len = recv(fd, buf, sizeof(buf), 0);
		if (len < 0)
			return -errno;
		for (h = (void *)buf; mnl_nlmsg_ok(h, len); h = mnl_nlmsg_next(h, &len)) {
			if (h->nlmsg_seq != seq || (h->nlmsg_type != NLMSG_ERROR && h->nlmsg_type != NLMSG_DONE))
				continue;
			memcpy(&error, mnl_nlmsg_get_payload(h), sizeof(error));
			return error;
		}
	}
}

static void ask_all(int fd, struct tried *t)
{
	for (int cmd = 0; cmd < CMDS; cmd++)
		for (int dump = 0; dump < 2; dump++)
			t->ret[cmd][dump] = ask(fd, cmd, dump);
}

static bool admin(void)
{
	cap_flag_value_t v = CAP_CLEAR;
	cap_t c = cap_get_proc();

	if (c)
		cap_get_flag(c, CAP_NET_ADMIN, CAP_EFFECTIVE, &v);
	cap_free(c);
	return v == CAP_SET;
}

/*
 * Who they are.
 */

static int drop_admin(void)
{
	cap_value_t v = CAP_NET_ADMIN;
	cap_t c = cap_get_proc();
	int ret = 0;

	if (!c || cap_set_flag(c, CAP_EFFECTIVE, 1, &v, CAP_CLEAR) ||
	    cap_set_flag(c, CAP_PERMITTED, 1, &v, CAP_CLEAR) || cap_set_proc(c))
		ret = -errno;
	cap_free(c);
	return ret;
}

static int to_user(void)
{
	if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
		return -errno;
	return admin() ? -EINVAL : 0;
}

static int write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

/* root of a user namespace of its own, with every capability there */
static int to_ns(int with)
{
	char map[64];
	int ret;

	snprintf(map, sizeof(map), "0 %u 1", geteuid());
	prctl(PR_SET_DUMPABLE, 1);
	if (unshare(CLONE_NEWUSER | with))
		return -errno;
	ret = write_to("/proc/self/setgroups", "deny");
	if (!ret)
		ret = write_to("/proc/self/uid_map", map);
	if (!ret && setresuid(0, 0, 0))
		ret = -errno;
	return ret ? ret : admin() ? 0 : -EINVAL;
}

static int user(void)
{
	int ret = to_user();

	return ret ? ret : genl();
}

static int powerless_root(void)
{
	int ret = drop_admin();

	return ret ? ret : genl();
}

static int user_in_ns(void)
{
	int ret = to_user();

	if (!ret)
		ret = to_ns(0);
	return ret ? ret : genl();
}

static int root_in_ns(void)
{
	int ret = to_ns(0);

	return ret ? ret : genl();
}

static int user_in_net(void)
{
	int ret = to_user();

	if (!ret)
		ret = to_ns(CLONE_NEWNET);
	return ret ? ret : genl();
}

static int root_in_net(void)
{
	return unshare(CLONE_NEWNET) ? -errno : genl();
}

/* A socket that takes in what comes from other network namespaces, too: this one has given the
 * first one a number. */
static int all_nsid(void)
{
	char buf[256];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct rtgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	int rt = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), fd = genl(), on = 1, error;

	h->nlmsg_type = RTM_NEWNSID;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	mnl_attr_put_u32(h, NETNSA_PID, getppid());
	mnl_attr_put_u32(h, NETNSA_NSID, 7);
	if (rt < 0 || fd < 0 || send(rt, h, h->nlmsg_len, 0) < 0 || recv(rt, buf, sizeof(buf), 0) < 0)
		return -errno;
	close(rt);
	memcpy(&error, mnl_nlmsg_get_payload((void *)buf), sizeof(error));
	if (error)
		return error;
	return setsockopt(fd, SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, &on, sizeof(on)) ? -errno : fd;
}

static int user_in_net_all(void)
{
	int ret = to_user();

	if (!ret)
		ret = to_ns(CLONE_NEWNET);
	return ret ? ret : all_nsid();
}

static int root_in_net_all(void)
{
	return unshare(CLONE_NEWNET) ? -errno : all_nsid();
}

static int dropped(void)
{
	int fd = genl(), ret = drop_admin();

	return ret ? ret : fd;
}

static int dropped_joined(void)
{
	int fd = genl(), ret = join(fd);

	if (!ret)
		ret = drop_admin();
	return ret ? ret : fd;
}

static void pass(int to, int fd)
{
	char byte = 0, space[CMSG_SPACE(sizeof(fd))] = "";
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	must(sendmsg(to, &m, 0));
}

static int take(int from)
{
	char byte, space[CMSG_SPACE(sizeof(int))] = "";
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space) };
	int fd;

	if (recvmsg(from, &m, 0) < 0 || !CMSG_FIRSTHDR(&m))
		return -EIO;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

static int user_given(void)
{
	int ret = to_user();

	return ret ? ret : take(passed[1]);
}

static int ns_given(void)
{
	int ret = to_user();

	if (!ret)
		ret = to_ns(CLONE_NEWNET);
	return ret ? ret : take(passed[1]);
}

/* The other way round: its opener can do nothing, and gets root to use it. */
static int root_lured(void)
{
	int fd, status;
	pid_t pid = fork();

	if (!pid) {
		fd = user();
		if (fd < 0)
			_exit(1);
		pass(passed[0], fd);
		_exit(0);
	}
	fd = take(passed[1]);
	return pid < 0 || waitpid(pid, &status, 0) < 0 || status ? -ECHILD : fd;
}

static const struct actor actors[] = {
	{ "an unprivileged user", user, -EPERM, -EPERM, .admin = false },
	{ "root without CAP_NET_ADMIN", powerless_root, -EPERM, -EPERM, .admin = false },
	{ "a user who is root of a user namespace", user_in_ns, -EPERM, -EPERM, .admin = true },
	{ "root in a user namespace of its own", root_in_ns, -EPERM, -EPERM, .admin = true },
	{ "a user who is root of a user and a network namespace", user_in_net, -ENOENT, 0, .admin = true },
	{ "the same, listening to all network namespaces", user_in_net_all, -ENOENT, 0, .admin = true },
	{ "root in a network namespace of its own", root_in_net, -ENOENT, 0, .admin = true },
	{ "the same, listening to all network namespaces", root_in_net_all, -ENOENT, 0, .admin = true, .hears = true },
	{ "who opened a socket and then lost the capability", dropped, -EPERM, -EPERM, .admin = false },
	{ "the same, who had joined before", dropped_joined, -EPERM, -EPERM, .admin = false, .hears = true },
	{ "a user whom root has handed its socket", user_given, -EPERM, -EPERM, .admin = false },
	{ "root of other namespaces with root's socket", ns_given, -EPERM, -EPERM, .admin = true },
	{ "root with the socket of a user", root_lured, -EPERM, 0, .admin = true, .hears = true },
};

static bool heard(int fd)
{
	char buf[16384];
	bool any = false;
	int len;

	while ((len = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, len); h = mnl_nlmsg_next(h, &len))
			any |= h->nlmsg_type == nl.family.id;
	return any;
}

static void act(const struct actor *a, int ready, int go)
{
	int fd = a->begin();
	char byte;

	tried->begun = fd < 0 ? fd : 0;
	if (fd >= 0) {
		tried->admin = admin();
		ask_all(fd, tried);
		tried->join = join(fd);
	}
	must(write(ready, "", 1));
	must(read(go, &byte, 1));
	tried->heard = heard(fd);
	_exit(0);
}

/* A change, and when this returns everybody who listens has been told. */
static void change(int ear)
{
	struct pollfd p = { .fd = ear, .events = POLLIN };

	/* what changed before is news again */
	hf_nl_begin(&nl, HOLDFAST_CMD_DIRTY_GET);
	mnl_attr_put_u32((void *)nl.req, HOLDFAST_A_TREE_ID, tree);
	must(hf_nl_call(&nl, true, NULL, NULL));
	touch("tree/f");
	if (poll(&p, 1, 60000) <= 0 || !heard(ear))
		die("no event");
}

static void one(const struct actor *a)
{
	int ready[2], go[2], ear = genl(), mine = genl(), status, wrong = 0;
	char byte;
	pid_t pid;

	memset(tried, 0, sizeof(*tried));
	must(pipe(ready));
	must(pipe(go));
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, passed));
	must(join(ear));
	if (a->begin == user_given || a->begin == ns_given)
		pass(passed[0], mine);
	close(mine);
	pid = fork();
	if (!pid)
		act(a, ready[1], go[0]);
	must(pid);
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 1)
		change(ear);
	must(write(go[1], "", 1));
	must(waitpid(pid, &status, 0));
	for (int cmd = 0; cmd < CMDS; cmd++) {
		for (int dump = 0; dump < 2; dump++) {
			int ret = tried->ret[cmd][dump];

			/* newer kernels say first what nobody can ask for */
			if (ret == a->want || (ret == -EOPNOTSUPP && root.ret[cmd][dump] == ret))
				continue;
			printf("# command %d%s: %d, not %d\n", cmd, dump ? ", dump" : "", ret, a->want);
			wrong++;
		}
	}
	ok(!status && !tried->begun && tried->admin == a->admin && !wrong, "P10 %s: no request, no dump (%d)",
	   a->name, tried->begun);
	ok(tried->join == a->join && !tried->heard == !a->hears, "P10 %s: %s, %s", a->name,
	   a->join ? "joins no group" : "joins a group", a->hears ? "hears of a change" : "hears of no change");
	for (int i = 0; i < 2; i++) {
		close(passed[i]);
		close(go[i]);
	}
	close(ready[0]);
	close(ear);
}

/* What a dump that root began still has to give. */
static void rest_of_dump(void)
{
	int fd = genl(), status, len;
	char buf[32768], name[32];
	struct nlmsghdr *h;
	pid_t pid;

	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "tree/rest%d", i);
		touch(name);
	}
	h = build(buf, HOLDFAST_CMD_DIRTY_GET, true);
	must(send(fd, h, h->nlmsg_len, 0));
	must(recv(fd, buf, 4096, 0));
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, passed));
	pass(passed[0], fd);
	close(fd);
	tried->rest = 0;
	pid = fork();
	if (!pid) {
		fd = user_given();
		while (fd >= 0 && (len = recv(fd, buf, sizeof(buf), 0)) > 0) {
			for (h = (void *)buf; mnl_nlmsg_ok(h, len); h = mnl_nlmsg_next(h, &len)) {
				tried->rest += h->nlmsg_type == nl.family.id;
				if (h->nlmsg_type == NLMSG_DONE)
					_exit(ask(fd, HOLDFAST_CMD_DIRTY_GET, true) == -EPERM ? 0 : 1);
			}
		}
		_exit(2);
	}
	must(pid);
	must(waitpid(pid, &status, 0));
	ok(!status && tried->rest > 100, "what is left of a dump is for who was handed the socket (%d), another dump is not",
	   tried->rest);
	close(passed[0]);
	close(passed[1]);
}

static void as_it_was(void)
{
	struct hf_nlmsg m;
	int ret = hf_nl_tree(&nl, HOLDFAST_CMD_TREE_GET, tree, &m);

	ok(!ret && (m.flags & HOLDFAST_TREE_FLAG_ATTACHED) && !(m.flags & HOLDFAST_TREE_FLAG_EXCLUDING) && m.marks == 1 &&
	   m.dirty >= 1, "the tree is as it was (flags %#x, %llu marks, %llu dirty)", m.flags,
	   (unsigned long long)m.marks, (unsigned long long)m.dirty);
}

int main(void)
{
	int fd, refused = 0;

	begin_module(&nl);
	tried = mmap(NULL, sizeof(*tried), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (tried == MAP_FAILED || !getcwd(top, sizeof(top)))
		die("memory");
	must(mkdir("tree", 0755));
	strcat(top, "/tree");
	tree = tree_add(&nl, top, "perm");
	rootfd = open(top, O_RDONLY | O_DIRECTORY);
	touch("tree/f");

	fd = genl();
	ask_all(fd, &root);
	for (int cmd = 0; cmd < CMDS; cmd++)
		refused += root.ret[cmd][0] == -EPERM || root.ret[cmd][1] == -EPERM;
	ok(!refused && !root.ret[HOLDFAST_CMD_VERSION_GET][0] && !root.ret[HOLDFAST_CMD_TREE_GET][1] &&
	   !root.ret[HOLDFAST_CMD_DIRTY_GET][1] && root.ret[HOLDFAST_CMD_TREE_DEL][0] == -EBUSY, "root may ask for anything");
	close(fd);
	for (size_t i = 0; i < HF_ARRAY(actors); i++)
		one(&actors[i]);
	rest_of_dump();
	as_it_was();
	must(hf_nl_tree(&nl, HOLDFAST_CMD_TREE_DEL, tree, NULL));
	hf_nl_close(&nl);
	return tap_done();
}
