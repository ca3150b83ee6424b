// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * writer.c: writer DIR SEED PROCESSES PAUSE_US changes the tree DIR in every way
 * that a program does, until SIGTERM; then it prints how many changes it made.
 *
 * The names are few, so that the processes meet: a directory is renamed while
 * another process writes into it, and made again while one removes it. And there
 * are files that are written once: a change of one that was missed stays missed.
 */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t ended;
static unsigned long *changes;	/* by process, shared */

static void on_term(int sig)
{
	(void)sig;
	ended = 1;
}

static unsigned pick(unsigned n)
{
	return (unsigned)random() % n;
}

/* A directory, at most three deep; "." often, where files are renamed to and fro. */
static void dir_name(char *p, size_t n)
{
	unsigned depth = pick(4), at = 0;

	at += snprintf(p, n, ".");
	for (unsigned i = 0; i < depth; i++)
		at += snprintf(p + at, n - at, "/%c%u", 'd' + i, pick(4));
}

static void file_name(char *p, size_t n)
{
	size_t at;

	dir_name(p, n);
	at = strlen(p);
	snprintf(p + at, n - at, "/n%u", pick(12));
}

static void make_dirs(char *p)
{
	for (char *s = strchr(p + 2, '/'); s; s = strchr(s + 1, '/')) {
		*s = 0;
		mkdir(p, 0755);
		*s = '/';
	}
	mkdir(p, 0700 | pick(0100));
}

static void remove_below(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
		    unlinkat(dirfd(d), e->d_name, 0))
			remove_below(dirfd(d), e->d_name);
	if (d)
		closedir(d);
	unlinkat(at, name, AT_REMOVEDIR);
}

static void put(const char *path, int flags, unsigned max)
{
	static char data[40000];
	int fd = open(path, O_WRONLY | flags, 0600 | pick(0100));
	unsigned n = 1 + pick(max), off = pick(2000);

	if (fd < 0)
		return;
	memset(data, 'a' + pick(26), n);
	data[n - 1] = '\n';
	/* in two steps, so that there is a half written file to be seen */
	if (flags & (O_TRUNC | O_APPEND)) {
		if (write(fd, data, n / 2) < 0 || write(fd, data + n / 2, n - n / 2) < 0)
			warn("write %s", path);
	} else if (pwrite(fd, data, n, off) < 0) {
		warn("pwrite %s", path);
	}
	close(fd);
}

static void change(void)
{
	char a[128], b[128];

	static unsigned once;

	switch (pick(17)) {
	case 0: case 1: case 2:
		file_name(a, sizeof(a));
		put(a, O_CREAT | O_TRUNC, 3000);
		break;
	case 3: case 4:
		file_name(a, sizeof(a));
		put(a, O_CREAT | O_APPEND, 200);
		break;
	case 5:
		file_name(a, sizeof(a));
		put(a, 0, 500);
		break;
	case 6:				/* as editors save */
		file_name(a, sizeof(a));
		snprintf(b, sizeof(b), "%s.new", a);
		put(b, O_CREAT | O_TRUNC, 40000);
		rename(b, a);
		break;
	case 7: case 8:
		dir_name(a, sizeof(a));
		if (a[1])
			make_dirs(a);
		break;
	case 9:
		dir_name(a, sizeof(a));
		dir_name(b, sizeof(b));
		if (a[1] && b[1])
			rename(a, b);
		break;
	case 10:
		file_name(a, sizeof(a));
		file_name(b, sizeof(b));
		rename(a, b);
		break;
	case 11:
		file_name(a, sizeof(a));
		unlink(a);
		break;
	case 12:
		dir_name(a, sizeof(a));
		if (a[1] && !pick(3))
			remove_below(AT_FDCWD, a);
		break;
	case 13:
		if (pick(2))
			file_name(a, sizeof(a));
		else
			dir_name(a, sizeof(a));
		if (a[1])
			chmod(a, 0700 | pick(0100));
		break;
	case 14:
		file_name(a, sizeof(a));
		snprintf(b, sizeof(b), "target%u", pick(1000));
		if (symlink(b, a)) {
			unlink(a);
			if (symlink(b, a))
				break;
		}
		break;
	case 15:
		file_name(a, sizeof(a));
		if (truncate(a, pick(4000)))
			break;
		break;
	case 16:
		snprintf(a, sizeof(a), "once/%d.%u", getpid(), once++);
		put(a, O_CREAT | O_EXCL | O_APPEND, 100);
		break;
	}
}

static void work(unsigned seed, unsigned pause_us, unsigned long *count)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	srandom(seed);
	while (!ended) {
		change();
		++*count;
		usleep(pause_us / 2 + pick(pause_us));
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	unsigned n, seed, pause_us;
	unsigned long sum = 0;
	struct sigaction sa = { .sa_handler = on_term };

	if (argc != 5)
		errx(2, "usage: writer DIR SEED PROCESSES PAUSE_US");
	seed = strtoul(argv[2], NULL, 10);
	n = strtoul(argv[3], NULL, 10);
	pause_us = strtoul(argv[4], NULL, 10);
	if (chdir(argv[1]))
		err(1, "%s", argv[1]);
	umask(0);
	if (mkdir("once", 0755))
		err(1, "%s/once", argv[1]);
	changes = mmap(NULL, n * sizeof(*changes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (changes == MAP_FAILED)
		err(1, "mmap");
	sigaction(SIGTERM, &sa, NULL);
	for (unsigned i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (!pid)
			work(seed + i, pause_us, &changes[i]);
	}
	/* the signal goes to the whole process group, and interrupts the wait */
	for (unsigned i = 0; i < n;)
		i += wait(NULL) > 0;
	for (unsigned i = 0; i < n; i++)
		sum += changes[i];
	printf("%lu changes\n", sum);
	return 0;
}
