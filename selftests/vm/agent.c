// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * agent.c: process 1 of a test machine after its init: runs the commands that
 * come over a virtio-serial port, several at a time, and reaps what is orphaned.
 *
 * A frame is length of the payload, id of the command, type, payload; numbers
 * are little-endian. From the host: R run this shell line, I input for it (none:
 * end of input), K kill its process group with this signal. To the host: H here
 * I am, O output, X it ended with this status.
 *
 * A command has ended when its process has; what it left behind with its output
 * still open is not waited for.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS_MAX 64
#define FRAME_MAX (1 << 20)

struct frame {
	uint32_t len;
	uint32_t id;
	uint8_t type;
} __attribute__((packed));

struct job {
	uint32_t id;
	pid_t pid;		/* 0: the slot is free */
	int out;
	int in;			/* -1: closed */
	int in_end;		/* close when the input is written */
	char *input;
	size_t input_len;
};

static struct job jobs[JOBS_MAX];
static int port;
static char buf[FRAME_MAX];

static void die(const char *what)
{
	fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void write_all(const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(port, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("write to the port");
		p += n;
		len -= n;
	}
}

/* false at the end: the host has closed the port */
static int read_all(void *data, size_t len)
{
	char *p = data;

	while (len) {
		ssize_t n = read(port, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			die("read from the port");
		if (n == 0)
			return 0;
		p += n;
		len -= n;
	}
	return 1;
}

static void put(uint8_t type, uint32_t id, const void *data, uint32_t len)
{
	struct frame f = { htole32(len), htole32(id), type };

	write_all(&f, sizeof(f));
	write_all(data, len);
}

static void put_exit(uint32_t id, uint32_t status)
{
	uint32_t s = htole32(status);

	put('X', id, &s, sizeof(s));
}

static struct job *find(uint32_t id)
{
	for (int i = 0; i < JOBS_MAX; i++)
		if (jobs[i].pid && jobs[i].id == id)
			return &jobs[i];
	return NULL;
}

static void close_input(struct job *j)
{
	if (j->in >= 0)
		close(j->in);
	j->in = -1;
	free(j->input);
	j->input = NULL;
	j->input_len = 0;
}

static void refuse(uint32_t id, const char *why)
{
	put('O', id, why, strlen(why));
	put_exit(id, 255);
}

static void child(const char *line, int in, int out)
{
	sigset_t none;

	setsid();
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execl("/bin/sh", "sh", "-c", line, (char *)NULL);
	_exit(127);
}

static void run(uint32_t id, const char *line)
{
	struct job *j = NULL;
	int in[2], out[2];

	for (int i = 0; i < JOBS_MAX && !j; i++)
		if (!jobs[i].pid)
			j = &jobs[i];
	if (!j) {
		refuse(id, "agent: too many commands at a time\n");
		return;
	}
	if (pipe2(in, O_CLOEXEC))
		die("pipe");
	if (pipe2(out, O_CLOEXEC))
		die("pipe");
	memset(j, 0, sizeof(*j));
	j->pid = fork();
	if (j->pid == 0)
		child(line, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	if (j->pid < 0) {
		j->pid = 0;
		close(in[1]);
		close(out[0]);
		refuse(id, "agent: cannot fork\n");
		return;
	}
	j->id = id;
	j->in = in[1];
	j->out = out[0];
	fcntl(j->in, F_SETFL, O_NONBLOCK);
	fcntl(j->out, F_SETFL, O_NONBLOCK);
}

static void add_input(struct job *j, const char *data, size_t len)
{
	if (j->in < 0)
		return;
	if (!len) {
		j->in_end = 1;
		if (!j->input_len)
			close_input(j);
		return;
	}
	j->input = realloc(j->input, j->input_len + len);
	if (!j->input)
		die("input");
	memcpy(j->input + j->input_len, data, len);
	j->input_len += len;
}

static void feed(struct job *j)
{
	ssize_t n = write(j->in, j->input, j->input_len);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		close_input(j);
		return;
	}
	j->input_len -= n;
	memmove(j->input, j->input + n, j->input_len);
	if (!j->input_len && j->in_end)
		close_input(j);
}

/* false: there is no more now */
static int drain(struct job *j)
{
	ssize_t n;

	if (j->out < 0)
		return 0;
	n = read(j->out, buf, 65536);
	if (n > 0) {
		put('O', j->id, buf, n);
		return 1;
	}
	if (n == 0) {
		close(j->out);
		j->out = -1;
	}
	return 0;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < JOBS_MAX; i++) {
			struct job *j = &jobs[i];

			if (j->pid != pid)
				continue;
			while (drain(j))
				;
			if (j->out >= 0)
				close(j->out);
			close_input(j);
			j->pid = 0;
			put_exit(j->id, WIFEXITED(status) ? WEXITSTATUS(status) :
						128 + WTERMSIG(status));
		}
	}
}

static int receive(void)
{
	struct frame f;
	struct job *j;
	uint32_t len;

	if (!read_all(&f, sizeof(f)))
		return 0;
	len = le32toh(f.len);
	if (len >= FRAME_MAX) {
		errno = EMSGSIZE;
		die("frame from the host");
	}
	if (!read_all(buf, len))
		return 0;
	buf[len] = '\0';
	f.id = le32toh(f.id);
	if (f.type == 'R') {
		run(f.id, buf);
		return 1;
	}
	j = find(f.id);
	if (!j)
		return 1;
	if (f.type == 'I')
		add_input(j, buf, len);
	else if (f.type == 'K' && len == 1)
		kill(-j->pid, buf[0]);
	return 1;
}

int main(int argc, char **argv)
{
	struct pollfd p[2 + 2 * JOBS_MAX];
	struct signalfd_siginfo si;
	sigset_t chld;
	int sfd;

	if (argc != 2) {
		fprintf(stderr, "usage: agent PORT\n");
		return 2;
	}
	port = open(argv[1], O_RDWR | O_CLOEXEC);
	if (port < 0)
		die(argv[1]);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	signal(SIGPIPE, SIG_IGN);
	sfd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sfd < 0)
		die("signalfd");
	put('H', 0, "", 0);

	for (;;) {
		p[0] = (struct pollfd) { .fd = port, .events = POLLIN };
		p[1] = (struct pollfd) { .fd = sfd, .events = POLLIN };
		for (int i = 0; i < JOBS_MAX; i++) {
			struct job *j = &jobs[i];

			p[2 + 2 * i] = (struct pollfd) { .fd = j->pid ? j->out : -1,
							 .events = POLLIN };
			p[3 + 2 * i] = (struct pollfd) { .fd = j->pid && j->input_len ? j->in : -1,
							 .events = POLLOUT };
		}
		if (poll(p, 2 + 2 * JOBS_MAX, -1) < 0) {
			if (errno == EINTR)
				continue;
			die("poll");
		}
		for (int i = 0; i < JOBS_MAX; i++) {
			if (p[2 + 2 * i].revents)
				drain(&jobs[i]);
			if (p[3 + 2 * i].revents)
				feed(&jobs[i]);
		}
		if (p[1].revents) {
			while (read(sfd, &si, sizeof(si)) > 0)
				;
			reap();
		}
		/* last: what it starts may take the slot of one that ended */
		if (p[0].revents & POLLIN && !receive())
			break;
		if (p[0].revents & POLLHUP && !(p[0].revents & POLLIN))
			break;
	}
	errno = EPIPE;
	die("the host closed the port");
}
