// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The daemon's socket (Documentation/socket.rst). All of this file runs on the
 * main thread but for req_done(), server_event() and server_broadcast(), which
 * hand over, and server_tell(), which does so where it must. Everything is bounded: connections,
 * what one may have sent without an end of line, what one that does not read is sent.
 *
 * Lock: conns_lock protects all connections. The main thread holds it while it is at them, over whatever
 * else it takes; others only try to have it, for a write to a socket that does not wait, so they stand in nobody's way.
 */
#include "server.h"
#include "verbs.h"
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_CONN 128		/* of root, and half as many of all others together */
#define MAX_PEER 32		/* of one process; beyond it the one that is idle for longest goes */
#define IDLE_MS 1000		/* nobody's first request is hung up on, however many others come */
#define PAUSE_US 100000		/* until one is accepted for which there is no descriptor */
#define MAX_LINE (1u << 20)
#define MAX_PENDING (4u << 20)	/* of events; a reply may be larger */

struct conn {
	struct conn *next;
	uint64_t id;
	int fd;
	sd_event_source *io;
	struct hf_buf in, out;
	size_t sent;
	bool busy, eof, watching, dead;
	bool root, reader;
	uid_t uid;
	pid_t pid;
	uint64_t idle_ms;	/* since it was accepted, or answered */
	char watch_resource[HF_NAME_MAX + 1];
};

static pthread_mutex_t conns_lock = PTHREAD_MUTEX_INITIALIZER;
static struct conn *conns;
static unsigned nconns[2];	/* of others, of root */
static uint64_t next_id = 1;
static atomic_uint nwatch;
static atomic_uint underway;	/* events that were handed over, and are not delivered */
static int lfd = -1;
static sd_event_source *lsrc, *pause_src;
static gid_t read_gid = (gid_t)-1;

static void conn_free(struct conn *c)
{
	struct conn **p;

	for (p = &conns; *p != c; p = &(*p)->next)
		;
	*p = c->next;
	nconns[c->root]--;
	if (c->watching)
		atomic_fetch_sub(&nwatch, 1);
	sd_event_source_disable_unref(c->io);
	close(c->fd);
	hf_buf_free(&c->in);
	hf_buf_free(&c->out);
	free(c);
}

static struct conn *conn_find(uint64_t id)
{
	for (struct conn *c = conns; c; c = c->next)
		if (c->id == id)
			return c;
	return NULL;
}

/* It does not read what it was sent: it is asked for nothing more until it does. */
static bool full(const struct conn *c)
{
	return c->out.len - c->sent > MAX_PENDING;
}

static void conn_arm(struct conn *c)
{
	uint32_t ev = 0;

	/* while a request runs nothing is read: the client can wait, we need no room */
	if (!c->busy && !c->eof && !full(c))
		ev |= EPOLLIN;
	if (!c->eof)
		ev |= EPOLLRDHUP;
	if (c->out.len > c->sent)
		ev |= EPOLLOUT;
	sd_event_source_set_io_events(c->io, ev);
}

/* false: the connection is gone */
static bool conn_flush(struct conn *c)
{
	while (c->sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.p + c->sent, c->out.len - c->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			conn_free(c);
			return false;
		}
		c->sent += n;
	}
	if (c->sent == c->out.len) {
		if (c->out.cap > 64 << 10)
			hf_buf_free(&c->out);
		c->out.len = c->sent = 0;
		if (c->dead || (c->eof && !c->busy &&
				!(c->in.len && memchr(c->in.p, '\n', c->in.len)))) {
			conn_free(c);
			return false;
		}
	}
	conn_arm(c);
	return true;
}

static bool conn_say(struct conn *c, struct json_object *o)
{
	const char *s = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
						       JSON_C_TO_STRING_NOSLASHESCAPE);

	if (s) {
		hf_buf_put(&c->out, s, strlen(s));
		hf_buf_put(&c->out, "\n", 1);
	}
	if (!s || c->out.bad) {
		conn_free(c);
		return false;
	}
	return conn_flush(c);
}

/* Take one line, if one is complete. */
static void conn_next(struct conn *c)
{
	uint8_t *nl;
	char *line;
	size_t n;

	if (c->busy || c->dead || full(c))
		return;
	nl = c->in.len ? memchr(c->in.p, '\n', c->in.len) : NULL;
	if (!nl) {
		if (c->in.len >= MAX_LINE) {
			struct json_object *o = jobj();

			ju64(o, "exit", HF_USAGE);
			ju64(o, "errno", EMSGSIZE);
			jstr(o, "error", "a request is one line of at most 1 MiB");
			c->dead = true;
			c->eof = true;
			conn_say(c, o);
			json_object_put(o);
		} else if (c->eof && c->out.len == c->sent) {
			conn_free(c);
		}
		return;
	}
	n = nl - c->in.p;
	line = malloc(n + 1);
	if (!line) {
		conn_free(c);
		return;
	}
	memcpy(line, c->in.p, n);
	line[n] = '\0';
	memmove(c->in.p, nl + 1, c->in.len - n - 1);
	c->in.len -= n + 1;
	if (!c->in.len && c->in.cap > 64 << 10)
		hf_buf_free(&c->in);
	c->busy = true;
	conn_arm(c);
	verbs_dispatch(c->id, c->root, c->reader, c->uid, c->pid, line, n);
	free(line);
}

static void io(struct conn *c, int fd, uint32_t revents)
{
	ssize_t n;

	if (revents & (EPOLLHUP | EPOLLERR)) {
		conn_free(c);
		return;
	}
	if ((revents & EPOLLIN) && !c->busy) {
		if (hf_buf_room(&c->in, 4096)) {
			conn_free(c);
			return;
		}
		n = recv(fd, c->in.p + c->in.len, c->in.cap - c->in.len, MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			conn_free(c);
			return;
		}
		if (!n)
			c->eof = true;
		if (n > 0)
			c->in.len += n;
	} else if (revents & EPOLLRDHUP) {
		/* it will not ask again; it may still read the answer, but a watch ends */
		c->eof = true;
		if (c->watching) {
			conn_free(c);
			return;
		}
	}
	if (revents & EPOLLOUT && !conn_flush(c))
		return;
	conn_arm(c);
	conn_next(c);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	pthread_mutex_lock(&conns_lock);
	io(arg, fd, revents);
	pthread_mutex_unlock(&conns_lock);
	return 0;
}

static bool in_group(int fd, const struct ucred *u)
{
	gid_t *g;
	socklen_t len = 0;
	bool yes = u->gid == read_gid;

	if (read_gid == (gid_t)-1)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE)
		return yes;
	g = malloc(len);
	if (g && !getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, g, &len))
		for (size_t i = 0; i < len / sizeof(*g); i++)
			yes |= g[i] == read_gid;
	free(g);
	return yes;
}

/* A connection that waits for nothing, of the same process or (@pid 0) of the same kind. */
static struct conn *idlest(bool root, pid_t pid, uint64_t before)
{
	struct conn *found = NULL;
	int unread;

	for (struct conn *c = conns; c; c = c->next) {
		if (c->root != root || (pid && c->pid != pid) || c->busy || c->watching ||
		    c->out.len > c->sent || c->idle_ms > before || (found && found->idle_ms <= c->idle_ms))
			continue;
		/* what it sent was not looked at yet */
		if (!ioctl(c->fd, FIONREAD, &unread) && !unread)
			found = c;
	}
	return found;
}

/* Room for one more; those who only hold places must not keep others out. */
static bool make_place(const struct conn *c)
{
	struct conn *idle = NULL;
	unsigned n = 0;

	for (struct conn *o = conns; o; o = o->next)
		n += o->pid == c->pid && o->uid == c->uid;
	if (n >= MAX_PEER)
		idle = idlest(c->root, c->pid, UINT64_MAX);
	if (!idle && nconns[c->root] >= (c->root ? MAX_CONN : MAX_CONN / 2))
		idle = idlest(c->root, 0, hf_now_ms() - IDLE_MS);
	if (idle)
		conn_free(idle);
	return nconns[c->root] < (c->root ? MAX_CONN : MAX_CONN / 2);
}

static int accept_again(sd_event_source *s, uint64_t usec, void *arg)
{
	if (lsrc)
		sd_event_source_set_enabled(lsrc, SD_EVENT_ON);
	return 0;
}

/* There is no descriptor for it: it would be told of again at once, for as long as there is none. */
static void accept_later(void)
{
	int ret;

	if (pause_src) {
		ret = sd_event_source_set_time_relative(pause_src, PAUSE_US);
		if (ret >= 0)
			ret = sd_event_source_set_enabled(pause_src, SD_EVENT_ONESHOT);
	} else {
		ret = sd_event_add_time_relative(hfd.event, &pause_src, CLOCK_MONOTONIC, PAUSE_US, 0, accept_again, NULL);
	}
	if (ret >= 0)
		sd_event_source_set_enabled(lsrc, SD_EVENT_OFF);
}

static bool accept_one(int fd)
{
	int cfd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred u;
	socklen_t len = sizeof(u);
	struct conn *c;

	if (cfd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			accept_later();
		return false;
	}
	c = hf_alloc(sizeof(*c));
	if (!c || getsockopt(cfd, SOL_SOCKET, SO_PEERCRED, &u, &len)) {
		free(c);
		close(cfd);
		return true;
	}
	c->root = u.uid == geteuid();
	c->reader = c->root || in_group(cfd, &u);
	c->uid = u.uid;
	c->pid = u.pid;
	if (!make_place(c)) {
		static const char full[] =
			"{\"exit\":1,\"errno\":11,\"error\":\"the daemon has too many connections; try again\"}\n";

		if (send(cfd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			hf_logf(HF_LOG_DEBUG, "a connection was refused and did not listen");
		free(c);
		close(cfd);
		return true;
	}
	c->fd = cfd;
	c->id = next_id++;
	c->idle_ms = hf_now_ms();
	if (sd_event_add_io(hfd.event, &c->io, cfd, EPOLLIN | EPOLLRDHUP, on_io, c) < 0) {
		free(c);
		close(cfd);
		return true;
	}
	c->next = conns;
	conns = c;
	nconns[c->root]++;
	return true;
}

static int on_accept(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	/* a few at a time: those who wait in line must not be turned away by the kernel */
	pthread_mutex_lock(&conns_lock);
	for (int i = 0; i < 32 && accept_one(fd); i++)
		;
	pthread_mutex_unlock(&conns_lock);
	return 0;
}

static void finish(void *arg)
{
	struct req *q = arg;
	struct json_object *o;
	struct conn *c;

	pthread_mutex_lock(&conns_lock);
	c = conn_find(q->conn);
	if (c && q->watch && !q->ret) {
		c->watching = true;
		memcpy(c->watch_resource, q->watch_resource, sizeof(c->watch_resource));
		atomic_fetch_add(&nwatch, 1);
		if (c->eof)
			conn_free(c);
	} else if (c) {
		o = jobj();
		ju64(o, "exit", q->ret ? (q->err.exit ? q->err.exit : hf_exit_of(q->ret)) : 0);
		if (q->ret) {
			ju64(o, "errno", -q->ret);
			jstr(o, "error", q->err.msg[0] ? q->err.msg : strerror(-q->ret));
		}
		/* a refusal may come with findings */
		if (q->result || !q->ret) {
			json_object_object_add(o, "result", q->result ? q->result : jobj());
			q->result = NULL;
		}
		c->busy = false;
		c->idle_ms = hf_now_ms();
		if (conn_say(c, o))
			conn_next(c);
		json_object_put(o);
	}
	pthread_mutex_unlock(&conns_lock);
	json_object_put(q->result);
	json_object_put(q->msg);
	free(q);
}

void req_done(struct req *q)
{
	post(finish, q);
}

struct event {
	uint64_t conn;		/* 0: all that watch */
	char resource[HF_NAME_MAX + 1];
	struct json_object *o;
};

static bool watches(const struct conn *c, const char *resource)
{
	return c->watching && (!c->watch_resource[0] || !strcmp(c->watch_resource, resource));
}

static void deliver(void *arg)
{
	struct event *e = arg;
	struct conn *c, *next;

	pthread_mutex_lock(&conns_lock);
	for (c = conns; c; c = next) {
		next = c->next;
		if (e->conn ? c->id != e->conn : !watches(c, e->resource))
			continue;
		if (full(c)) {
			/* one that does not read may not grow without bound; a watch that
			 * silently lacks events would be worse than one that ends */
			if (c->watching)
				conn_free(c);
			continue;
		}
		conn_say(c, e->o);
	}
	atomic_fetch_sub(&underway, 1);
	pthread_mutex_unlock(&conns_lock);
	json_object_put(e->o);
	free(e);
}

static void hand_over(uint64_t conn, const char *resource, struct json_object *o)
{
	struct event *e = o ? hf_alloc(sizeof(*e)) : NULL;

	if (!e) {
		json_object_put(o);
		return;
	}
	e->conn = conn;
	snprintf(e->resource, sizeof(e->resource), "%s", resource ? resource : "");
	e->o = o;
	atomic_fetch_add(&underway, 1);
	post(deliver, e);
}

void server_event(uint64_t conn, struct json_object *o)
{
	hand_over(conn, NULL, o);
}

bool server_watched(void)
{
	return atomic_load(&nwatch) > 0;
}

void server_broadcast(const char *resource, struct json_object *o)
{
	if (server_watched())
		hand_over(0, resource, o);
	else
		json_object_put(o);
}

/* what a socket had no room for */
static void flush_all(void *arg)
{
	struct conn *c, *next;

	pthread_mutex_lock(&conns_lock);
	for (c = conns; c; c = next) {
		next = c->next;
		if (c->out.bad)
			conn_free(c);
		else if (c->out.len > c->sent && conn_flush(c))
			conn_next(c);
	}
	pthread_mutex_unlock(&conns_lock);
}

/* With the lock; false: something was told before that is still on its way. */
static bool tell_now(const char *resource, const struct hf_buf *line)
{
	bool left = false;

	if (atomic_load(&underway))
		return false;
	for (struct conn *c = conns; c; c = c->next)
		if (watches(c, resource) && c->out.len > c->sent)
			return false;
	for (struct conn *c = conns; c; c = c->next) {
		ssize_t n;

		if (!watches(c, resource))
			continue;
		n = send(c->fd, line->p, line->len, MSG_NOSIGNAL | MSG_DONTWAIT);
		n = n < 0 ? 0 : n;	/* why will be seen by who sends the rest */
		if ((size_t)n == line->len)
			continue;
		hf_buf_put(&c->out, line->p + n, line->len - n);
		left = true;
	}
	if (left)
		post(flush_all, NULL);
	return true;
}

void server_tell(const char *resource, struct json_object *o)
{
	const char *s = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
						       JSON_C_TO_STRING_NOSLASHESCAPE);
	struct hf_buf line = HF_BUF_INIT;
	bool told = false;

	if (s) {
		hf_buf_put(&line, s, strlen(s));
		hf_buf_put(&line, "\n", 1);
	}
	if (s && !line.bad && !pthread_mutex_trylock(&conns_lock)) {
		told = tell_now(resource, &line);
		pthread_mutex_unlock(&conns_lock);
	}
	hf_buf_free(&line);
	if (told)
		json_object_put(o);
	else
		server_broadcast(resource, o);
}

static int find_group(struct hf_err *err)
{
	struct group *g;

	if (!hfd.conf->read_group || !*hfd.conf->read_group)
		return 0;
	g = getgrnam(hfd.conf->read_group);
	if (!g)
		return hf_fail(err, HF_USAGE, -EINVAL, "%s: [access] read_group: there is no group '%s'",
			       hfd.conf->path, hfd.conf->read_group);
	read_gid = g->gr_gid;
	return 0;
}

int server_start(struct hf_err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int ret, probe;

	ret = find_group(err);
	if (ret)
		return ret;
	if (strlen(hfd.socket_path) >= sizeof(a.sun_path))
		return hf_fail(err, HF_USAGE, -ENAMETOOLONG,
			       "%s is too long for a socket (at most 107 bytes); choose a shorter runtime_dir",
			       hfd.socket_path);
	strcpy(a.sun_path, hfd.socket_path);
	/* the socket has its own mode; a read_group must get as far as to it */
	mode_t old = umask(022);

	ret = hf_mkdirs(hfd.conf->runtime_dir, 0755);
	umask(old);
	if (ret)
		return hf_fail(err, HF_FAILED, ret, "cannot make %s: %s", hfd.conf->runtime_dir, strerror(-ret));
	/* the lock in state_dir keeps out a second daemon of this node, not one of
	 * another node with the same runtime_dir */
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe >= 0 && !connect(probe, (struct sockaddr *)&a, sizeof(a))) {
		close(probe);
		return hf_fail(err, HF_REFUSED, -EBUSY,
			       "another daemon listens on %s; give this node a runtime_dir of its own",
			       hfd.socket_path);
	}
	if (probe >= 0)
		close(probe);
	unlink(hfd.socket_path);
	lfd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (lfd < 0)
		return hf_fail(err, HF_FAILED, -errno, "socket: %s", strerror(errno));
	old = umask(0177);
	ret = bind(lfd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	umask(old);
	if (!ret && read_gid != (gid_t)-1 &&
	    (chown(hfd.socket_path, -1, read_gid) || chmod(hfd.socket_path, 0660)))
		ret = -errno;
	if (!ret && listen(lfd, SOMAXCONN))
		ret = -errno;
	if (!ret)
		ret = sd_event_add_io(hfd.event, &lsrc, lfd, EPOLLIN, on_accept, NULL);
	if (ret < 0) {
		hf_fail(err, HF_FAILED, ret, "cannot listen on %s: %s", hfd.socket_path, strerror(-ret));
		server_exit();
		return ret;
	}
	return 0;
}

void server_stop_accepting(void)
{
	if (lfd < 0)
		return;
	lsrc = sd_event_source_disable_unref(lsrc);
	unlink(hfd.socket_path);
	close(lfd);
	lfd = -1;
}

void server_exit(void)
{
	server_stop_accepting();
	pthread_mutex_lock(&conns_lock);
	while (conns)
		conn_free(conns);
	pthread_mutex_unlock(&conns_lock);
}
