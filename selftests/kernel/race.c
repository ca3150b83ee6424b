// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * race: what is changed while it is captured.
 *
 *	race NAME=DIR,write|store|rename[,acks=N][,bound]...
 *
 * A writer changes files, always to a greater value, and says which value was
 * complete. A consumer reads what is noted and acknowledges it with the number
 * that it was noted with. At no moment may a file have no entry, and a value
 * that is greater than the one that was read last.
 *
 * With "bound" the bound of the dirty set changes all the time, down to nothing.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "consumer.h"

#define FILES 4
#define PAGE 4096
#define PAGES 8
#define ROUNDS 50

struct shared {
	uint64_t done[FILES];
	bool stop;
};

static struct shared *shared;
static const char *const file[FILES] = { "0", "1", "d/2", "e/3" };

static void change(const char *how, int i, uint64_t v, int *fd, uint64_t **map)
{
	if (*how == 's') {
		*(volatile uint64_t *)(map[i] + v % PAGES * (PAGE / 8)) = v;
	} else if (*how == 'w') {
		if (pwrite(fd[i], &v, sizeof(v), v % PAGES * PAGE) != sizeof(v))
			die("pwrite", errno);
	} else {
		char to[16];
		int new = open("new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		snprintf(to, sizeof(to), "tree/%s", file[i]);
		if (new < 0 || write(new, &v, sizeof(v)) != sizeof(v) || close(new) || rename("new", to))
			die("rename", errno);
	}
	__atomic_store_n(&shared->done[i], v, __ATOMIC_SEQ_CST);
}

__attribute__((noreturn))
static void writer(const char *how)
{
	uint64_t v = 0, *map[FILES];
	int fd[FILES];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* a descriptor of the consumer's socket would keep its trees attached */
	close(mnl_socket_get_fd(nl.cmd));
	close(mnl_socket_get_fd(nl.events));
	for (int i = 0; i < FILES; i++) {
		char path[16];

		snprintf(path, sizeof(path), "tree/%s", file[i]);
		fd[i] = open(path, O_RDWR);
		if (fd[i] < 0)
			die(path, errno);
		if (*how != 's')
			continue;
		map[i] = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd[i], 0);
		if (map[i] == MAP_FAILED)
			die(path, errno);
		close(fd[i]);
	}
	srandom(1);
	while (!__atomic_load_n(&shared->stop, __ATOMIC_SEQ_CST)) {
		change(how, random() % FILES, ++v, fd, map);
		if (!(v % 64))
			usleep(random() % 300);
	}
	_exit(0);
}

/* The greatest value in a file, cleaned before. */
static uint64_t greatest(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t max = 0, v;

	if (fd < 0 || sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				      SYNC_FILE_RANGE_WAIT_AFTER))
		die(path, errno);
	for (int p = 0; p < PAGES; p++)
		if (pread(fd, &v, sizeof(v), p * PAGE) == sizeof(v) && v > max)
			max = v;
	close(fd);
	return max;
}

/* Reads and acknowledges what is noted; how much. */
static unsigned int capture(struct consumer *c, uint64_t *got)
{
	char path[PATH_MAX];

	dump(c);
	for (int i = 0; i < FILES; i++) {
		if (!covered(c, file[i]))
			continue;
		snprintf(path, sizeof(path), "tree/%s", file[i]);
		got[i] = greatest(path);
	}
	ack_dumped(c);
	return c->n;
}

static void set_bound(unsigned long bytes)
{
	FILE *f = fopen("/sys/module/holdfast/parameters/dirty_max", "w");

	if (!f || fprintf(f, "%lu", bytes) < 0 || fclose(f))
		die("dirty_max", errno);
}

static void one(char *arg)
{
	char *dir = strchr(arg, '='), *how, *option;
	uint64_t got[FILES] = { 0 }, sample[FILES];
	static const unsigned long bounds[] = { 16ul << 20, 0, 400, 150 };
	unsigned long acks = 10000, done = 0, rounds = 0, lost = 0, wholes = 0;
	bool bounded = false;
	int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), status;
	time_t start = time(NULL);
	struct consumer c;
	pid_t pid;

	if (!dir)
		die(arg, EINVAL);
	*dir++ = '\0';
	strtok(dir, ",");
	how = strtok(NULL, ",");
	if (!how)
		die(arg, EINVAL);
	while ((option = strtok(NULL, ","))) {
		if (!strcmp(option, "bound"))
			bounded = true;
		else if (sscanf(option, "acks=%lu", &acks) != 1)
			die(option, EINVAL);
	}
	if (chdir(dir) || mkdir("race", 0755) || chdir("race") || mkdir("tree", 0755) ||
	    mkdir("tree/d", 0755) || mkdir("tree/e", 0755))
		die(dir, errno);
	for (int i = 0; i < FILES; i++) {
		char path[16];

		snprintf(path, sizeof(path), "tree/%s", file[i]);
		make(path, PAGES * PAGE);
		clean_and_read(path, 0);
	}
	memset(shared, 0, sizeof(*shared));
	add_tree(&c, "tree", NULL);
	if (mark_dir(&c, "d") || mark_dir(&c, "e"))
		die("mark", 0);
	fflush(stdout);
	pid = fork();
	if (!pid)
		writer(how);
	/* as much is noted as the writer has got to do */
	for (; done < acks && rounds < ROUNDS * acks; rounds++) {
		if (bounded && !(rounds % 8))
			set_bound(bounds[rounds / 8 % 4]);
		done += capture(&c, got);
		for (int i = 0; i < FILES; i++)
			sample[i] = __atomic_load_n(&shared->done[i], __ATOMIC_SEQ_CST);
		look(&c);
		for (int i = 0; i < FILES; i++) {
			const struct entry *e = covered(&c, file[i]);

			wholes += e && (e->state & HOLDFAST_STATE_SUBTREE);
			if (got[i] >= sample[i] || e)
				continue;
			if (!lost++)
				printf("# %s: has %llu, read %llu, no entry\n", file[i],
				       (unsigned long long)sample[i], (unsigned long long)got[i]);
		}
	}
	shared->stop = true;
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		die("writer", errno);
	do
		barrier(&c);
	while (capture(&c, got));
	for (int i = 0; i < FILES; i++)
		lost += got[i] != shared->done[i];
	if (bounded)
		set_bound(bounds[0]);
	ok(done >= acks, "%s: a writer (%s) gave something to acknowledge", arg, how);
	ok(!lost, "%s: P2: %lu acknowledgements beside a writer (%s): what has no entry was read%s", arg,
	   acks, how, bounded ? ", while the bound changes" : "");
	if (bounded)
		ok(wholes, "%s: P2: some of it as a whole", arg);
	printf("# %s: %lu rounds, as a whole %lu, %ld s\n", arg, rounds, wholes, (long)(time(NULL) - start));
	del_tree(&c);
	if (chdir("..") || system("rm -rf race") || fchdir(back))
		die("race", errno);
	close(back);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap", errno);
	open_netlink();
	for (int i = 1; i < argc; i++)
		one(argv[i]);
	hf_nl_close(&nl);
	return tap_done();
}
