/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the writers of storm.c do: anything that names and files allow, in a few
 * names that they share, below the directories of where[].
 *
 * d are directories, f files, s symbolic links; RENAME_EXCHANGE makes any of them
 * anything. h are files with further names (link), empty and left alone, as a
 * change through a name outside of a tree is no change of the one inside.
 */
#ifndef STORM_WRITER_H
#define STORM_WRITER_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "storm_mirror.h"

#define STORM_PATH 256
#define STORM_DEPTH 4
#define STORM_DEEP 16
#define STORM_TRIES 3000
#define STORM_RACES 10

struct writer {
	uint64_t seed;
	const char *const *where;	/* NULL at the end; the first ones more often */
	int held;			/* a file that stays open, or -1 */
};

static unsigned int dice(struct writer *w, unsigned int n)
{
	w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
	return (w->seed >> 33) % n;
}

/* The path of a directory with @least names or more below one of where[] */
static char *some_dir(struct writer *w, char *p, unsigned int least)
{
	unsigned int n, depth = least + dice(w, STORM_DEPTH + 1 - least);
	size_t at;

	for (n = 0; w->where[n + 1] && dice(w, 2); n++)
		;
	at = snprintf(p, STORM_PATH, "%s", w->where[n]);
	while (depth--)
		at += snprintf(p + at, STORM_PATH - at, "/d%u", dice(w, 3));
	return p;
}

static char *some_name(struct writer *w, char *p, char kind)
{
	size_t at = strlen(some_dir(w, p, 0));

	snprintf(p + at, STORM_PATH - at, "/%c%u", kind, dice(w, 3));
	return p;
}

/* any but h */
static char *anything(struct writer *w, char *p)
{
	return some_name(w, p, "ddffs"[dice(w, 5)]);
}

static void make_path(char *p)
{
	for (char *slash = strchr(p, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(p, 0755);
		*slash = '/';
	}
	mkdir(p, 0755);
}

/* A deep tree, of which others know the upper end: they remove and rename it. */
static void make_deep(struct writer *w, char *p)
{
	size_t at = strlen(some_dir(w, p, 1));

	for (int i = 0; i < STORM_DEEP; i++)
		at += snprintf(p + at, STORM_PATH - at, "/d%u", dice(w, 3));
	make_path(p);
	snprintf(p + at, STORM_PATH - at, "/f0");
	close(open(p, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
}

static void put(struct writer *w, int fd)
{
	static const char text[200] = "storm";

	/* a full disk is weather, too */
	if (fd >= 0 && write(fd, text, 1 + dice(w, sizeof(text) - 1)) < 0)
		return;
}

static void write_file(struct writer *w, const char *path, int flags)
{
	int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | flags, 0644);

	put(w, fd);
	if (fd < 0)
		return;
	if (dice(w, 6)) {
		close(fd);
		return;
	}
	if (w->held >= 0)
		close(w->held);
	w->held = fd;
}

/*
 * A directory is made while another process waits to make something in it: it is
 * there before its event is, which is all that can mark it.
 */
static void race(struct writer *w, char *path)
{
	char below[STORM_PATH + 16], ready;
	int p[2];
	pid_t pid;

	remove_all(path);
	if (pipe2(p, O_CLOEXEC))
		return;
	pid = fork();
	if (!pid) {
		int fd = -1;

		snprintf(below, sizeof(below), "%s/f0", path);
		for (int i = 0; fd < 0 && i < STORM_TRIES; i++) {
			fd = open(below, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
			if (i == 1)
				close(p[1]);
		}
		put(w, fd);
		snprintf(below, sizeof(below), "%s/d0", path);
		mkdir(below, 0755);
		snprintf(below, sizeof(below), "%s/d0/f0", path);
		write_file(w, below, O_CREAT);
		_exit(0);
	}
	close(p[1]);
	/* until it is at it */
	if (read(p[0], &ready, 1) <= 0)
		mkdir(path, 0755);
	close(p[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void one_change(struct writer *w)
{
	struct timespec ts[2] = { { 0, UTIME_OMIT }, { 0, 0 } };
	char a[STORM_PATH], b[STORM_PATH], kind;

	switch (dice(w, 25)) {
	case 0: case 1: case 2: case 3:
		make_path(some_dir(w, a, 1));
		break;
	case 4: case 5: case 6: case 7:
		write_file(w, some_name(w, a, 'f'), O_CREAT | (dice(w, 2) ? O_TRUNC : 0));
		break;
	case 8: case 9:
		write_file(w, some_name(w, a, 'f'), O_APPEND);
		break;
	case 10:
		if (truncate(some_name(w, a, 'f'), dice(w, 300)))
			break;
		break;
	case 11:
		put(w, w->held);
		break;
	case 12:
		/* at depth 0 it is a root, too */
		chmod(dice(w, 2) ? some_dir(w, a, 0) : some_name(w, a, 'f'), 0700 | dice(w, 64));
		break;
	case 13:
		ts[1].tv_sec = dice(w, 1000000);
		utimensat(AT_FDCWD, anything(w, a), ts, AT_SYMLINK_NOFOLLOW);
		break;
	case 14:
		unlink(some_name(w, a, "fsh"[dice(w, 3)]));
		break;
	case 15:
		rmdir(some_dir(w, a, 1));
		break;
	case 16:
		if (!dice(w, 2))
			remove_all(some_dir(w, a, 1));
		break;
	case 17:
		kind = "fsh"[dice(w, 3)];
		rename(some_name(w, a, kind), some_name(w, b, kind));
		break;
	case 18: case 19: case 20:
		some_dir(w, a, 1);
		if (rename(a, some_dir(w, b, 1)) && dice(w, 2))
			renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
		break;
	case 21:
		anything(w, a);
		renameat2(AT_FDCWD, a, AT_FDCWD, anything(w, b), RENAME_EXCHANGE);
		break;
	case 22:
		if (dice(w, 2)) {
			if (symlink(dice(w, 2) ? "d0" : "nowhere", some_name(w, a, 's')))
				break;
			break;
		}
		close(open(some_name(w, a, 'h'), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
		if (link(a, some_name(w, b, 'h')))
			break;
		break;
	case 23:
		race(w, some_dir(w, a, 1));
		break;
	case 24:
		if (!dice(w, 3))
			make_deep(w, a);
		break;
	}
}

/* A process of its own. */
static pid_t start_writer(uint64_t seed, const char *const *where, unsigned int changes)
{
	struct writer w = { .seed = seed, .where = where, .held = -1 };
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* numbers that are close are not to begin alike */
	for (int i = 0; i < 8; i++)
		dice(&w, 2);
	while (changes--)
		one_change(&w);
	/* nothing comes after these that would have them scanned for another reason */
	for (int i = 0; i < STORM_RACES; i++) {
		char path[STORM_PATH];

		snprintf(path, sizeof(path), "%s/d%d.%d", where[0], getpid(), i);
		race(&w, path);
	}
	_exit(0);
}

#endif
