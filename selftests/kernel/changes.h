/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between the parts of changes.c:
 *
 *	changes_nl.h	 the consumer: registers, settles, dumps
 *	changes_names.h	 operations on names and attributes
 *	changes_data.h	 on contents
 *	changes_async.h	 by io_uring and by aio
 *	changes_layers.h through mounts of other kinds, and by file handle
 *	changes_nfs.h	 by the kernel's NFS server
 *	changes_table.h	 what is expected of each: the table
 *
 * An operation works in a new directory of the tree, which is the current
 * directory, and has another one outside, out(). Descriptors in fd[] are closed
 * after it was looked at what is noted.
 */
#ifndef CHANGES_H
#define CHANGES_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXT4, XFS, BTRFS, TMPFS, FILESYSTEMS };

struct row {
	const char *what;
	/*
	 * What is noted, the names sorted: NAME OPS[ STATE]; ... A name in the root
	 * of the tree begins with "/". "whole": the tree as a whole.
	 */
	const char *noted;
	/*
	 * For each filesystem two letters, of 6.1 and of 6.12: y it is noted; n it
	 * is not, which is a gap; - there is no such operation.
	 */
	const char *on[FILESYSTEMS];
	void (*before)(void);
	int (*run)(void);		/* 0, or the errno that it failed with */
	void (*after)(void);
	bool others;			/* it is done by a thread of the kernel */
	const char *needs;		/* a file without which it cannot be tested */
};

#define BLOCK 65536			/* a multiple of every filesystem's */
#define SIZE (4 * BLOCK)

static int fd[4] = { -1, -1, -1, -1 };
static bool was_open;			/* one of them, when the operation had ended */
static char mounted[PATH_MAX];		/* the filesystem */
static char base[PATH_MAX + 64];		/* the directory outside of the tree */
static int number;			/* names both directories */

static void die(const char *what, int error)
{
	printf("Bail out! %s: %s\n", what, strerror(error));
	exit(1);
}

/* what has to work before anything can be tested */
static void must(long ret, const char *what)
{
	if (ret < 0)
		die(what, errno);
}

static int done(long ret)
{
	return ret < 0 ? errno : 0;
}

static const char *out(const char *name)
{
	static char buf[4][PATH_MAX + 128];
	static int next;

	next = (next + 1) % 4;
	snprintf(buf[next], sizeof(buf[next]), "%s/%s", base, name);
	return buf[next];
}

static void put(const char *path, const char *text)
{
	int f = open(path, O_WRONLY | O_CLOEXEC);

	must(f, path);
	must(write(f, text, strlen(text)), path);
	close(f);
}

/* A file of SIZE bytes, written and closed. */
static void make(const char *path)
{
	static char data[SIZE];
	int f = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	must(f, path);
	memset(data, 'x', sizeof(data));
	must(write(f, data, sizeof(data)), path);
	close(f);
}

static void a_file(void)
{
	make("f");
}

static void two_files(void)
{
	make("f");
	make("g");
}

static void an_open_file(void)
{
	make("f");
	fd[0] = open("f", O_RDWR | O_CLOEXEC);
	must(fd[0], "f");
}

static void a_file_outside(void)
{
	make(out("f"));
}

/* BLOCK bytes that can be written directly, too */
static void *page(void)
{
	static char data[BLOCK] __attribute__((aligned(4096)));

	memset(data, 'y', sizeof(data));
	return data;
}

#endif
