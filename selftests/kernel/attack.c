// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What attack.sh needs besides hfnl, whose functions it uses:
 *
 *	attack prejoin		as an ordinary user: join the groups of netlink that
 *				are not there yet, and print every message of the family
 *	attack race DIR N	use what mkdir is about to make before it has returned;
 *				print how often a barrier missed that
 *	attack hold DIR SECONDS	answer one permission event of fanotify after a while
 */
int hfnl_main(int argc, char **argv);
#define main hfnl_main
#include "hfnl.c"
#undef main
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/fanotify.h>

static int prejoin(void)
{
	struct mnl_socket *s = mnl_socket_open(NETLINK_GENERIC);
	int joined = 0, group_id;
	char buf[65536];

	if (!s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) || setgid(1000) || setuid(1000))
		return 1;
	for (group_id = 1; group_id <= 64; group_id++)
		joined += !setsockopt(mnl_socket_get_fd(s), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP,
				      &group_id, sizeof(group_id));
	printf("joined %s\n", joined ? "some" : "none");
	fflush(stdout);
	for (;;) {
		const struct nlmsghdr *h = (const void *)buf;
		ssize_t len = mnl_socket_recvfrom(s, buf, sizeof(buf));
		int left = len;

		for (; len > 0 && mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
			if (h->nlmsg_type != GENL_ID_CTRL)
				printf("heard type %d\n", h->nlmsg_type);
		fflush(stdout);
	}
}

static const char *where;
static _Atomic int made;

static void *maker(void *arg)
{
	int n = *(int *)arg;
	char path[PATH_MAX];

	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/d%d", where, i);
		mkdir(path, 0755);
		usleep(2000);
	}
	made = 1;
	return NULL;
}

static bool noted(const char *path)
{
	for (size_t i = 0; i < nseen; i++)
		if (!*seen[i].path || !strcmp(seen[i].path, path))
			return true;
	return false;
}

static int race(const char *dir, int n)
{
	int tried = 0, missed = 0, fd;
	char path[PATH_MAX];
	pthread_t t;

	where = dir;
	resource = "race";
	if (start() || add(dir, NULL) || walk_at("") || settle() ||
	    pthread_create(&t, NULL, maker, &n))
		return 1;
	for (int i = 0; i < n; i++) {
		bool ok;

		snprintf(path, sizeof(path), "%s/d%d/f", dir, i);
		while ((fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644)) < 0 && !made)
			sched_yield();
		if (fd < 0)
			break;
		close(fd);
		if (simple(HOLDFAST_CMD_BARRIER, NLM_F_ACK, NULL) || dirty(false))
			return 1;
		snprintf(path, sizeof(path), "d%d/f", i);
		tried++;
		ok = noted(path);
		*strchr(path, '/') = 0;
		missed += !ok && !noted(path);
		if (nseen)
			ack(seen, nseen);
	}
	pthread_join(t, NULL);
	printf("missed %d of %s\n", missed, tried > n / 2 ? "many" : "too few");
	return 0;
}

static int hold(const char *dir, unsigned int seconds)
{
	int fd = fanotify_init(FAN_CLASS_CONTENT, O_RDONLY);
	const struct fanotify_event_metadata *m;
	char buf[4096];

	if (fd < 0 || fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN_PERM | FAN_ONDIR, AT_FDCWD, dir)) {
		perror(dir);
		return 1;
	}
	printf("listening\n");
	fflush(stdout);
	if (read(fd, buf, sizeof(buf)) < (ssize_t)sizeof(*m))
		return 1;
	m = (const void *)buf;
	printf("held\n");
	fflush(stdout);
	sleep(seconds);
	return write(fd, &(struct fanotify_response){ m->fd, FAN_ALLOW },
		     sizeof(struct fanotify_response)) < 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "prejoin"))
		return prejoin();
	if (argc == 4 && !strcmp(argv[1], "race"))
		return race(argv[2], atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "hold"))
		return hold(argv[2], atoi(argv[3]));
	fprintf(stderr, "usage: attack prejoin | race DIR N | hold DIR SECONDS\n");
	return 2;
}
