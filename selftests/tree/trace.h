/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stops a child at every system call, where it may be looked at or killed. */
#ifndef HF_TRACE_H
#define HF_TRACE_H
#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool trace_changes(unsigned long long nr)
{
	switch (nr) {
	case SYS_write: case SYS_pwrite64: case SYS_openat: case SYS_ftruncate: case SYS_fallocate:
	case SYS_renameat: case SYS_renameat2: case SYS_unlinkat: case SYS_mkdirat: case SYS_mknodat:
	case SYS_symlinkat: case SYS_linkat: case SYS_fchmod: case SYS_fchmodat: case SYS_fchown:
	case SYS_fchownat: case SYS_utimensat: case SYS_setxattr: case SYS_lsetxattr: case SYS_fsetxattr:
	case SYS_removexattr: case SYS_lremovexattr: case SYS_fremovexattr:
#ifdef SYS_rename
	case SYS_rename: case SYS_unlink: case SYS_mkdir: case SYS_rmdir: case SYS_link: case SYS_symlink:
	case SYS_mknod: case SYS_chmod: case SYS_chown: case SYS_lchown: case SYS_open: case SYS_creat:
#endif
		return true;
	default:
		return false;
	}
}

/*
 * traced() - runs @child, and calls @at before the n-th system call (from 1); nonzero kills it
 * there. @changed: the call before that was one that can change a file. Returns the number of calls that were made, negative if it was killed, 0 if that
 * is not possible here.
 */
__attribute__((unused))
static long traced(void (*child)(void *arg), int (*at)(void *arg, long n, bool changed), void *arg)
{
	bool changes = false, changed;
	long n = 0;
	int status;
	bool entry = true;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(99);
		raise(SIGSTOP);
		child(arg);
		fflush(stdout);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return 0;
	ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) || waitpid(pid, &status, 0) != pid)
			return 0;
		if (WIFEXITED(status) || WIFSIGNALED(status))
			return n;
		if (!WIFSTOPPED(status) || WSTOPSIG(status) != (SIGTRAP | 0x80))
			continue;
		if (entry) {
			struct __ptrace_syscall_info in = { 0 };

			ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(in), &in);
			changed = changes;
			changes = trace_changes(in.entry.nr);
			if (at(arg, ++n, changed)) {
				kill(pid, SIGKILL);
				waitpid(pid, &status, 0);
				return -n;
			}
		}
		entry = !entry;
	}
}
#endif
