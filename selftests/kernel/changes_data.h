/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations of changes.c on contents; f is open as fd[0]. */
#ifndef CHANGES_DATA_H
#define CHANGES_DATA_H

#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include "changes.h"

/* g, as fd[1], is where something comes from */
static void a_source(void)
{
	an_open_file();
	make("g");
	fd[1] = open("g", O_RDONLY | O_CLOEXEC);
	must(fd[1], "g");
}

static void a_pipe(void)
{
	an_open_file();
	must(pipe2(fd + 1, O_CLOEXEC), "pipe");
}

static void a_full_pipe(void)
{
	a_pipe();
	must(write(fd[2], page(), 4096), "pipe");
}

static void a_written_file(void)
{
	an_open_file();
	must(write(fd[0], page(), 1), "f");
}

static int do_read(void)
{
	char buf[100];
	int f = open("f", O_RDONLY | O_CLOEXEC);

	must(f, "f");
	must(read(f, buf, sizeof(buf)), "f");
	must(fsync(f), "f");
	return done(close(f));
}

static int do_open_for_writing(void)
{
	return done(close(open("f", O_WRONLY | O_CLOEXEC)));
}

static int do_write(void)
{
	return done(write(fd[0], "1", 1));
}

static int do_writev(void)
{
	struct iovec v[2] = { { page(), 1 }, { page(), 9 } };

	return done(pwritev(fd[0], v, 2, 5));
}

static int do_append(void)
{
	struct iovec v = { page(), 10 };

	return done(pwritev2(fd[0], &v, 1, -1, RWF_APPEND | RWF_DSYNC));
}

static int do_direct(void)
{
	fd[1] = open("f", O_WRONLY | O_DIRECT | O_CLOEXEC);
	if (fd[1] < 0)
		return errno;
	return done(write(fd[1], page(), BLOCK));
}

static int do_truncate(void)
{
	return done(truncate("f", 10));
}

static int do_ftruncate(void)
{
	return done(ftruncate(fd[0], SIZE * 2));
}

static int do_o_trunc(void)
{
	fd[0] = open("f", O_WRONLY | O_TRUNC | O_CLOEXEC);
	return done(fd[0]);
}

static int do_close(void)
{
	int ret = close(fd[0]);

	fd[0] = -1;
	return done(ret);
}

static int do_allocate(void)
{
	return done(fallocate(fd[0], 0, 0, SIZE * 2));
}

static int do_keep_size(void)
{
	return done(fallocate(fd[0], FALLOC_FL_KEEP_SIZE, SIZE, SIZE));
}

static int do_punch(void)
{
	return done(fallocate(fd[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BLOCK, BLOCK));
}

static int do_zero(void)
{
	return done(fallocate(fd[0], FALLOC_FL_ZERO_RANGE, BLOCK, BLOCK));
}

static int do_collapse(void)
{
	return done(fallocate(fd[0], FALLOC_FL_COLLAPSE_RANGE, BLOCK, BLOCK));
}

static int do_insert(void)
{
	return done(fallocate(fd[0], FALLOC_FL_INSERT_RANGE, BLOCK, BLOCK));
}

static int do_unshare(void)
{
	return done(fallocate(fd[0], FALLOC_FL_UNSHARE_RANGE, 0, BLOCK));
}

static int do_copy_range(void)
{
	return done(copy_file_range(fd[1], NULL, fd[0], NULL, BLOCK, 0));
}

static int do_clone(void)
{
	return done(ioctl(fd[0], FICLONE, fd[1]));
}

static int do_clone_range(void)
{
	struct file_clone_range r = { .src_fd = fd[1], .src_length = BLOCK, .dest_offset = BLOCK };

	return done(ioctl(fd[0], FICLONERANGE, &r));
}

static int do_dedupe(void)
{
	union {
		struct file_dedupe_range range;
		char room[sizeof(struct file_dedupe_range) + sizeof(struct file_dedupe_range_info)];
	} d = { .range = { .src_length = BLOCK, .dest_count = 1 } };
	struct file_dedupe_range_info *i = d.range.info;

	i->dest_fd = fd[0];
	if (ioctl(fd[1], FIDEDUPERANGE, &d))
		return errno;
	if (i->status)
		return i->status < 0 ? -i->status : EILSEQ;
	return i->bytes_deduped == BLOCK ? 0 : EIO;
}

static int do_sendfile(void)
{
	return done(sendfile(fd[0], fd[1], NULL, BLOCK));
}

static int do_splice(void)
{
	return done(splice(fd[1], NULL, fd[0], NULL, 4096, 0));
}

static int do_vmsplice(void)
{
	struct iovec v = { page(), 4096 };

	must(vmsplice(fd[2], &v, 1, 0), "vmsplice");
	return do_splice();
}

#endif
