/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Operations of changes.c by io_uring and by aio, of which none is in glibc: a
 * ring, or a context, for each of them. f is open as fd[0], or fd[1] directly.
 */
#ifndef CHANGES_ASYNC_H
#define CHANGES_ASYNC_H

#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "changes_nl.h"

#define OP_FTRUNCATE 55			/* of 6.9 */

static void *map(int ring, size_t size, off_t off)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, off);

	if (p == MAP_FAILED)
		die("io_uring", errno);
	return p;
}

static int by_ring(unsigned int flags, struct io_uring_sqe s)
{
	struct io_uring_params p = { .flags = flags };
	int ring = syscall(SYS_io_uring_setup, 1, &p);
	size_t entries = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	unsigned int enter = IORING_ENTER_GETEVENTS;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	char *rings;
	int ret;

	must(ring, "io_uring_setup");
	rings = map(ring, entries, IORING_OFF_SQ_RING);
	sqe = map(ring, sizeof(*sqe), IORING_OFF_SQES);
	cqe = (void *)(rings + p.cq_off.cqes);
	*sqe = s;
	*(unsigned int *)(rings + p.sq_off.array) = 0;
	__atomic_store_n((unsigned int *)(rings + p.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (flags & IORING_SETUP_SQPOLL)
		enter |= IORING_ENTER_SQ_WAKEUP;
	/* where one submits and waits, the errors of submitting are in the entry */
	while (!__atomic_load_n((unsigned int *)(rings + p.cq_off.tail), __ATOMIC_ACQUIRE)) {
		unsigned int head =
			__atomic_load_n((unsigned int *)(rings + p.sq_off.head), __ATOMIC_ACQUIRE);

		ret = syscall(SYS_io_uring_enter, ring, head ? 0 : 1, 1, enter, NULL, 0);
		if (ret < 0 && errno != EINTR)
			die("io_uring_enter", errno);
	}
	ret = cqe->res;
	munmap(sqe, sizeof(*sqe));
	munmap(rings, entries);
	close(ring);
	if (ret >= 0 && s.opcode == IORING_OP_OPENAT)
		fd[0] = ret;
	return ret < 0 ? -ret : 0;
}

static struct io_uring_sqe sqe_write(int file, unsigned int len)
{
	return (struct io_uring_sqe){
		.opcode = IORING_OP_WRITE, .fd = file, .addr = (uintptr_t)page(), .len = len,
	};
}

static int ring_write(void)
{
	return by_ring(0, sqe_write(fd[0], 100));
}

/* the worker that the kernel makes for what may block */
static int ring_write_async(void)
{
	struct io_uring_sqe s = sqe_write(fd[0], 100);

	s.flags = IOSQE_ASYNC;
	return by_ring(0, s);
}

static int ring_sqpoll(void)
{
	return by_ring(IORING_SETUP_SQPOLL, sqe_write(fd[0], 100));
}

static int open_direct(void)
{
	fd[1] = open("f", O_WRONLY | O_DIRECT | O_CLOEXEC);
	return done(fd[1]);
}

static int ring_direct(void)
{
	int ret = open_direct();

	return ret ? ret : by_ring(0, sqe_write(fd[1], BLOCK));
}

static int ring_iopoll(void)
{
	int ret = open_direct();

	return ret ? ret : by_ring(IORING_SETUP_IOPOLL, sqe_write(fd[1], BLOCK));
}

static int ring_splice(void)
{
	return by_ring(0, (struct io_uring_sqe){
		.opcode = IORING_OP_SPLICE, .fd = fd[0], .off = -1,
		.splice_fd_in = fd[1], .splice_off_in = -1, .len = 4096,
	});
}

static int ring_fallocate(void)
{
	return by_ring(0, (struct io_uring_sqe){
		.opcode = IORING_OP_FALLOCATE, .fd = fd[0], .off = BLOCK, .addr = BLOCK,
		.len = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	});
}

static int ring_ftruncate(void)
{
	return by_ring(0, (struct io_uring_sqe){ .opcode = OP_FTRUNCATE, .fd = fd[0], .off = 1 });
}

static int ring_setxattr(void)
{
	return by_ring(0, (struct io_uring_sqe){
		.opcode = IORING_OP_FSETXATTR, .fd = fd[0], .addr = (uintptr_t)"trusted.b",
		.addr2 = (uintptr_t)"c", .len = 1,
	});
}

static int ring_open(void)
{
	return by_ring(0, (struct io_uring_sqe){
		.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t)"f",
		.open_flags = O_WRONLY | O_TRUNC | O_CLOEXEC,
	});
}

/* of two names */
static int ring_names(uint8_t opcode, const char *from, const char *to)
{
	return by_ring(0, (struct io_uring_sqe){
		.opcode = opcode, .fd = AT_FDCWD, .addr = (uintptr_t)from,
		.len = AT_FDCWD, .addr2 = (uintptr_t)to,
	});
}

static int ring_rename(void)
{
	return ring_names(IORING_OP_RENAMEAT, "f", "g");
}

static int ring_link(void)
{
	return ring_names(IORING_OP_LINKAT, "f", "g");
}

static int ring_unlink(void)
{
	return by_ring(0, (struct io_uring_sqe){
		.opcode = IORING_OP_UNLINKAT, .fd = AT_FDCWD, .addr = (uintptr_t)"f",
	});
}

static int ring_mkdir(void)
{
	return by_ring(0, (struct io_uring_sqe){
		.opcode = IORING_OP_MKDIRAT, .fd = AT_FDCWD, .addr = (uintptr_t)"d", .len = 0755,
	});
}

static int ring_symlink(void)
{
	return by_ring(0, (struct io_uring_sqe){
		.opcode = IORING_OP_SYMLINKAT, .fd = AT_FDCWD, .addr = (uintptr_t)"nowhere",
		.addr2 = (uintptr_t)"f",
	});
}

static int aio(int file, unsigned int len)
{
	aio_context_t context = 0;
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = file,
		.aio_buf = (uintptr_t)page(), .aio_nbytes = len,
	}, *list = &cb;
	struct io_event event = { 0 };

	must(syscall(SYS_io_setup, 1, &context), "io_setup");
	if (syscall(SYS_io_submit, context, 1, &list) != 1) {
		int error = errno;

		syscall(SYS_io_destroy, context);
		return error;
	}
	must(syscall(SYS_io_getevents, context, 1, 1, &event, NULL), "io_getevents");
	syscall(SYS_io_destroy, context);
	return (int64_t)event.res < 0 ? -(int64_t)event.res : 0;
}

static int aio_write(void)
{
	return aio(fd[0], 100);
}

static int aio_direct(void)
{
	int ret = open_direct();

	return ret ? ret : aio(fd[1], BLOCK);
}

/* What the kernel used for it may close the file later than we do, and one by one. */
static void wait_closed(void)
{
	for (int i = 0; was_open && i < 1000; i++) {
		dump(&tree);
		for (size_t k = 0; k < nnoted; k++)
			if ((noted[k].ops & HOLDFAST_OP_CLOSE_WRITE) &&
			    !(noted[k].state & HOLDFAST_STATE_OPEN))
				return;
		usleep(10000);
	}
}

static void aio_written(void)
{
	an_open_file();
	if (aio_write())
		die("aio", errno);
}

#endif
