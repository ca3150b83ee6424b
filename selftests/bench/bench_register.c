// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_register inotify|holdfast DIR	watch DIR with all directories below, say
 *					"Watches established.", stay until SIGTERM
 * bench_register until TEXT COMMAND...	what the time stamp counter counts from the
 *					start of COMMAND until it says TEXT; stay
 *					until SIGTERM, and end COMMAND by that
 *
 * holdfast is what the daemon does: its library, with the module.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>
#include "track.h"

#define ESTABLISHED "Watches established."

static int inotify;

__attribute__((noreturn))
static void die(const char *what)
{
	fprintf(stderr, "bench_register: %s: %s\n", what, strerror(errno));
	exit(1);
}

static sigset_t end_signal(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return set;
}

static void until_end(void)
{
	sigset_t set = end_signal();
	int number;

	sigwait(&set, &number);
}

static void established(void)
{
	end_signal();
	puts(ESTABLISHED);
	fflush(stdout);
	until_end();
}

static int add(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	if (type == FTW_D && inotify_add_watch(inotify, path, IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
					       IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF) < 0)
		die(path);
	return 0;
}

static int with_inotify(const char *dir)
{
	inotify = inotify_init1(IN_CLOEXEC);
	if (inotify < 0 || nftw(dir, add, 20, FTW_PHYS | FTW_MOUNT))
		die(dir);
	established();
	return 0;
}

static void notify(void *arg, bool urgent)
{
}

static int with_holdfast(const char *dir)
{
	struct hf_track_label label = { .resource = "bench", .path = dir };
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct hf_err err = { 0 };
	struct hf_track *t;
	struct hf_watch *w;

	if (fd < 0)
		die(dir);
	if (hf_track_open("kernel", "bench", &t, &err) ||
	    hf_track_add(t, fd, NULL, &label, notify, NULL, &w, &err)) {
		fprintf(stderr, "bench_register: %s\n", err.msg);
		return 1;
	}
	if (strcmp(hf_watch_quality(w), "events")) {
		fprintf(stderr, "bench_register: not all of it could be marked\n");
		return 1;
	}
	established();
	hf_track_del(w);
	hf_track_close(t);
	close(fd);
	return 0;
}

static int until(const char *text, char **argv)
{
	char line[4096];
	uint64_t from;
	int fd[2];
	pid_t pid;
	FILE *said;

	if (pipe2(fd, O_CLOEXEC))
		die("pipe");
	from = __rdtsc();
	pid = fork();
	if (!pid) {
		dup2(fd[1], 1);
		dup2(fd[1], 2);
		execvp(argv[0], argv);
		die(argv[0]);
	}
	end_signal();
	close(fd[1]);
	said = fdopen(fd[0], "r");
	while (fgets(line, sizeof(line), said)) {
		if (strncmp(line, text, strlen(text)))
			continue;
		printf("%llu\n", (unsigned long long)(__rdtsc() - from));
		fflush(stdout);
		until_end();
		kill(pid, SIGTERM);
		waitpid(pid, NULL, 0);
		return 0;
	}
	fprintf(stderr, "bench_register: %s ended: %s\n", argv[0], line);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc > 3 && !strcmp(argv[1], "until"))
		return until(argv[2], argv + 3);
	if (argc == 3 && !strcmp(argv[1], "inotify"))
		return with_inotify(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "holdfast"))
		return with_holdfast(argv[2]);
	fprintf(stderr, "usage: bench_register inotify|holdfast DIR, or until TEXT COMMAND...\n");
	return 2;
}
