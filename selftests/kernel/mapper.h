/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process that has a file mapped and nothing else of it: the descriptor is
 * closed at once, and it neither calls msync() nor unmaps. It stores when it is
 * told to, and answers when the store has returned.
 */
#ifndef MAPPER_H
#define MAPPER_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul

enum {
	MAP_WROTE = 1,		/* write() to it before it is mapped */
	MAP_OWN_PIDS = 2,	/* in a pid namespace of its own */
	MAP_COPY = 4,		/* MAP_PRIVATE */
	MAP_LOOK = 8,		/* not to be stored to */
	MAP_NO_NAME = 16,	/* it has no name when it is mapped: O_TMPFILE in this directory */
};

struct mapper {
	pid_t pid;
	int sock;
};

struct order {
	char what;		/* 's'tore, 'f'ill, 'l'ink */
	uint64_t at, value;
	char name[64];
};

static inline void mapper_bad(const char *what)
{
	printf("Bail out! mapper: %s: %s\n", what, strerror(errno));
	exit(1);
}

__attribute__((noreturn))
static inline void mapper_runs(int sock, const char *path, size_t size, int how)
{
	int prot = how & MAP_LOOK ? PROT_READ : PROT_READ | PROT_WRITE;
	int fd, kept = -1;
	char proc[32], ready = 'r';
	struct order o;
	uint8_t *map;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "mapper");
	if (how & MAP_NO_NAME)
		fd = open(path, O_RDWR | O_TMPFILE, 0644);
	else
		fd = open(path, how & (MAP_LOOK | MAP_COPY) ? O_RDONLY : O_RDWR);
	if (fd < 0)
		mapper_bad(path);
	if ((how & MAP_NO_NAME) && ftruncate(fd, size))
		mapper_bad("ftruncate");
	if ((how & MAP_WROTE) && pwrite(fd, "w", 1, 0) != 1)
		mapper_bad("pwrite");
	map = mmap(NULL, size, prot, how & MAP_COPY ? MAP_PRIVATE : MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		mapper_bad("mmap");
	if (how & MAP_NO_NAME)
		kept = fd;
	else
		close(fd);
	if (send(sock, &ready, 1, 0) != 1)
		_exit(1);
	while (recv(sock, &o, sizeof(o), 0) == sizeof(o)) {
		if (o.what == 's') {
			*(volatile uint64_t *)(map + o.at) = o.value;
		} else if (o.what == 'f') {
			for (size_t at = 0; at < size; at += PAGE)
				*(volatile uint64_t *)(map + at) = o.value;
		} else {
			snprintf(proc, sizeof(proc), "/proc/self/fd/%d", kept);
			if (linkat(AT_FDCWD, proc, AT_FDCWD, o.name, AT_SYMLINK_FOLLOW))
				mapper_bad("linkat");
			close(kept);
		}
		if (send(sock, &ready, 1, 0) != 1)
			break;
	}
	_exit(0);
}

static inline void mapper_answers(struct mapper *m)
{
	char c;

	if (recv(m->sock, &c, 1, 0) != 1)
		mapper_bad("it does not answer");
}

/* The tests open their sockets with O_CLOEXEC, which a fork does not mind: but what a
 * child holds open is closed here, so that the end of the test is the end of them. */
static inline struct mapper mapper_start(const char *path, size_t size, int how)
{
	struct mapper m;
	int s[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s))
		mapper_bad("socketpair");
	fflush(stdout);
	m.pid = syscall(SYS_clone, SIGCHLD | (how & MAP_OWN_PIDS ? CLONE_NEWPID : 0), 0, 0, 0, 0);
	if (m.pid < 0)
		mapper_bad("clone");
	if (!m.pid) {
		int sock = fcntl(s[1], F_DUPFD, 100);

		close_range(3, sock - 1, 0);
		close_range(sock + 1, ~0u, 0);
		mapper_runs(sock, path, size, how);
	}
	close(s[1]);
	m.sock = s[0];
	mapper_answers(&m);
	return m;
}

static inline void mapper_told(struct mapper *m, const struct order *o)
{
	if (send(m->sock, o, sizeof(*o), 0) != sizeof(*o))
		mapper_bad("send");
}

static inline void mapper_does(struct mapper *m, const struct order *o)
{
	mapper_told(m, o);
	mapper_answers(m);
}

static inline void store(struct mapper *m, uint64_t at, uint64_t value)
{
	mapper_does(m, &(struct order){ .what = 's', .at = at, .value = value });
}

/* a store to each of its pages */
static inline void fill(struct mapper *m, uint64_t value)
{
	mapper_does(m, &(struct order){ .what = 'f', .value = value });
}

/* It ends, and so does its mapping. */
static inline void mapper_ends(struct mapper *m)
{
	kill(m->pid, SIGKILL);
	if (waitpid(m->pid, NULL, 0) != m->pid)
		mapper_bad("waitpid");
	close(m->sock);
}

#endif
