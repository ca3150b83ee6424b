// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * stores_many DIR OTHER: more files are stored to at a time than the module was
 * told to take (stores_max). OTHER is on another filesystem.
 *
 * Who stores has a processor for itself and another process the rest, so that
 * nothing is noted in between. In the same way it is shown that a barrier waits:
 * who asks for it comes right after who has stored.
 */
#include <sys/stat.h>
#include "consumer.h"
#include "mapper.h"

#define FILES 64
#define CPUS_MAX 64
#define BURSTS_MAX 20
#define BARRIERS 200

struct shared { bool spins, done; };

static struct shared *shared;

static void path_of(int i, char *path, const char *dir)
{
	sprintf(path, "%s/f%d", dir, i);
}

static void alone_on(int cpu)
{
	struct sched_param p = { .sched_priority = 10 };
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sched_setaffinity(0, sizeof(set), &set) || sched_setscheduler(0, SCHED_FIFO, &p)) {
		printf("Bail out! scheduler: %s\n", strerror(errno));
		exit(1);
	}
}

static void like_others(void)
{
	struct sched_param p = { 0 };
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int i = 0; i < CPUS_MAX; i++)
		CPU_SET(i, &set);
	if (sched_setscheduler(0, SCHED_OTHER, &p) || sched_setaffinity(0, sizeof(set), &set))
		die("scheduler", errno);
}

static void spinner(int cpu)
{
	alone_on(cpu);
	shared->spins = true;
	while (!*(volatile bool *)&shared->done)
		;
	_exit(0);
}

static void storer(bool wait, uint64_t v)
{
	volatile uint64_t *map[FILES];
	char path[64];

	for (int i = 0; i < FILES; i++) {
		int fd;

		path_of(i, path, "tree");
		fd = open(path, O_RDWR);
		map[i] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (fd < 0 || map[i] == MAP_FAILED)
			die(path, errno);
		close(fd);
		/* read, so that to store is all that is left */
		v += *map[i] * 0;
	}
	alone_on(0);
	while (wait && !*(volatile bool *)&shared->spins)
		;
	for (int i = 0; i < FILES; i++)
		*map[i] = v;
	*(volatile bool *)&shared->done = true;
	/* the mappings end with it, which is an event for each */
	pause();
	_exit(0);
}

static long cpus;
static pid_t spins[CPUS_MAX];

/* From now on there is the first processor only. */
static void spin(void)
{
	memset(shared, 0, sizeof(*shared));
	fflush(stdout);
	for (int i = 1; i < cpus; i++) {
		spins[i] = fork();
		if (!spins[i])
			spinner(i);
	}
}

static void spin_ends(void)
{
	for (int i = 1; i < cpus; i++)
		waitpid(spins[i], NULL, 0);
}

/* All files at a time; returns the process that has them mapped. */
static pid_t burst(uint64_t v)
{
	pid_t pid;

	spin();
	pid = fork();
	if (!pid)
		storer(cpus > 1, v);
	while (!*(volatile bool *)&shared->done)
		usleep(1000);
	spin_ends();
	return pid;
}

/* A store, a message, a barrier, one after the other, and nothing else has a processor. */
static void barriers(struct consumer *c)
{
	unsigned int missed = 0;
	struct mapper m;

	spin();
	alone_on(0);
	m = mapper_start("tree/f0", PAGE, 0);
	for (int i = 0; i < BARRIERS; i++) {
		clean_and_read("tree/f0", 0);
		look(c);
		ack_dumped(c);
		store(&m, 0, i);
		look(c);
		missed += !covered(c, "f0");
	}
	shared->done = true;
	like_others();
	spin_ends();
	mapper_ends(&m);
	ok(!missed, "P2: a barrier waits for what was stored before it (missed %u of %u)", missed, BARRIERS);
}

static unsigned int missed(const struct consumer *c)
{
	unsigned int n = 0;
	char name[64];

	for (int i = 0; i < FILES; i++) {
		sprintf(name, "f%d", i);
		n += !covered(c, name);
	}
	return n;
}

static bool whole(const struct consumer *c)
{
	const struct entry *e = find(c, "");

	return e && (e->state & HOLDFAST_STATE_SUBTREE);
}

static void capture_all(struct consumer *c)
{
	char path[64];

	look(c);
	for (int i = 0; i < FILES; i++) {
		path_of(i, path, "tree");
		clean_and_read(path, 0);
	}
	ack_dumped(c);
}

static void ended(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	struct consumer c, beside, other;
	struct mapper m;
	struct entry was;
	unsigned int n = 0, tries = 0;
	bool over = false;
	char path[PATH_MAX];
	pid_t pid = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (argc != 3 || chdir(argv[1]) || mkdir("tree", 0755) || mkdir("beside", 0755))
		die("stores_many DIR OTHER", errno);
	snprintf(path, sizeof(path), "%s/tree", argv[2]);
	if (mkdir(path, 0755))
		die(path, errno);
	for (int i = 0; i < FILES; i++) {
		path_of(i, path, "tree");
		make(path, PAGE);
	}
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (cpus > CPUS_MAX)
		die("too many processors", 0);
	open_netlink();
	add_tree(&c, "tree", NULL);
	barriers(&c);
	add_tree(&beside, "beside", NULL);
	snprintf(path, sizeof(path), "%s/tree", argv[2]);
	add_tree(&other, path, NULL);
	snprintf(path, sizeof(path), "%s/tree/f", argv[2]);
	make(path, 1);
	look(&other);
	if (other.n != 1)
		die("one change is not one entry", 0);
	was = other.e[0];

	while (!over && tries++ < BURSTS_MAX) {
		if (pid)
			ended(pid);
		capture_all(&c);
		pid = burst(tries);
		look(&c);
		n += missed(&c);
		over = whole(&c);
	}
	ok(over, "beyond stores_max the tree is noted as a whole (%u bursts)", tries);
	ok(!n, "P2: which leaves nothing out");
	look(&beside);
	ok(whole(&beside), "P2: and so is another tree of that filesystem");
	look(&other);
	ok(other.n == 1 && other.e[0].id == was.id && other.e[0].seq == was.seq &&
	   other.e[0].state == was.state, "a tree on another filesystem stays as it was");
	if (other.n != 1)
		show_dump(&other);

	/* as a whole it is acknowledged, after which names are names again */
	capture_all(&c);
	look(&c);
	ok(!c.n, "acknowledged as a whole it is clean");
	m = mapper_start("tree/f7", PAGE, 0);
	store(&m, 0, 4711);
	look(&c);
	ok(c.n == 1 && !strcmp(c.e[0].path, "f7") && c.e[0].state == HOLDFAST_STATE_OPEN,
	   "X2: and the next store is noted by its name");
	show_dump(&c);
	mapper_ends(&m);
	ended(pid);
	del_tree(&c);
	del_tree(&beside);
	del_tree(&other);
	hf_nl_close(&nl);
	return tap_done();
}
