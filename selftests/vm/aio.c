// SPDX-License-Identifier: GPL-2.0-or-later
/* aio FILE TEXT: writes TEXT at the begin of FILE by io_submit(), which no event tells of; says so, and
 * keeps FILE open until it is killed, since an event tells that it was closed. */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	aio_context_t ctx = 0;
	struct io_event ev;
	struct iocb cb = { .aio_lio_opcode = IOCB_CMD_PWRITE }, *list = &cb;

	if (argc != 3) {
		fprintf(stderr, "usage: aio FILE TEXT\n");
		return 2;
	}
	cb.aio_fildes = open(argv[1], O_WRONLY | O_CLOEXEC);
	cb.aio_buf = (uintptr_t)argv[2];
	cb.aio_nbytes = strlen(argv[2]);
	if ((int)cb.aio_fildes < 0 || syscall(SYS_io_setup, 1, &ctx) || syscall(SYS_io_submit, ctx, 1, &list) != 1 ||
	    syscall(SYS_io_getevents, ctx, 1, 1, &ev, NULL) != 1 || ev.res != (int64_t)cb.aio_nbytes) {
		perror(argv[1]);
		return 1;
	}
	puts("written");
	fflush(stdout);
	pause();
	return 0;
}
