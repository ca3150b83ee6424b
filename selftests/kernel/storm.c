// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * storm: the module under several writers at once, against an oracle.
 *
 *	storm [-s SEED] [-n CHANGES] [-w WRITERS] NAME=DIR[,OPTION]...
 *
 * For each NAME: writers (storm_writer.h) change DIR/storm/tree and what is beside
 * it, while a consumer keeps a mirror of the tree (storm_consumer.h). When they have
 * stopped the mirror must be what is there, and each directory marked and known by
 * its path.
 *
 *	nested		a second tree inside of the first
 *	marks=N		bound of marked directories while the writers run
 *	dirty=N		bound of the dirty set's bytes while the writers run
 *	changes=N	of each writer, where they are slow
 *
 * Writers are as random as SEED makes them; how they meet is not in it.
 */
#include <time.h>
#include "storm_consumer.h"
#include "storm_writer.h"

#define WRITERS_MAX 16
#define TAKE_OVER 25		/* rounds from one consumer to the next */

static unsigned long takeovers;

/* Another consumer goes on where this one ended. */
static void take_over(struct side *s, unsigned int n)
{
	hf_nl_close(&nl);
	open_socket();
	for (; n--; s++) {
		struct hf_nlmsg m = add(s);

		if (m.tree != s->tree || !(m.flags & HOLDFAST_TREE_FLAG_RESUMED))
			die("the tree was not taken over", 0);
	}
	takeovers++;
}

/* A change in each directory must be noted by the directory's path. */
static int probe(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char file[PATH_MAX];
	int fd;

	if (type != FTW_D)
		return 0;
	snprintf(file, sizeof(file), "%s/probe", path);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		die(file, errno);
	close(fd);
	return 0;
}

static const char *const outer[] = { "tree", "out", NULL };
static const char *const inner[] = { "tree/in", "tree", "out", NULL };

static unsigned long bound(const char *which, unsigned long value)
{
	char path[64];
	unsigned long was = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/holdfast/parameters/%s", which);
	f = fopen(path, "r+");
	if (!f || fscanf(f, "%lu", &was) != 1)
		die(path, errno);
	rewind(f);
	if ((value && fprintf(f, "%lu", value) < 0) || fclose(f))
		die(path, errno);
	return was;
}

/* Waits for all; the consumers go on meanwhile. */
static bool weather(struct side *s, unsigned int trees, pid_t *pid, unsigned int writers)
{
	unsigned int left = writers, before = rounds;
	bool good = true;
	int status;

	while (left) {
		bool more = false;

		for (unsigned int i = 0; i < trees; i++)
			more |= one_round(&s[i]);
		if (rounds - before >= TAKE_OVER) {
			take_over(s, trees);
			before = rounds;
		}
		for (unsigned int i = 0; i < writers; i++) {
			if (pid[i] && waitpid(pid[i], &status, WNOHANG) == pid[i]) {
				good &= !status;
				pid[i] = 0;
				left--;
			}
		}
		if (!more)
			usleep(3000);
	}
	return good;
}

static void storm(const char *name, bool nested, unsigned long marks, unsigned long dirty,
		  uint64_t seed, unsigned int writers, unsigned int changes)
{
	unsigned int trees = nested ? 2 : 1, i;
	const char *const *where = nested ? inner : outer;
	unsigned long marks_max, dirty_max;
	pid_t pid[WRITERS_MAX];
	struct side s[2];
	time_t start = time(NULL);
	bool calm = true;

	if (mkdir("tree", 0755) || mkdir("out", 0755) || (nested && mkdir("tree/in", 0755)))
		die(name, errno);
	entries = scans = rounds = takeovers = 0;
	/* something is there before the trees are, and while they are scanned */
	if (waitpid(start_writer(seed, where, 100), NULL, 0) < 0)
		die("wait", errno);
	for (i = 0; i < writers; i++)
		pid[i] = start_writer(seed + 1 + i, where, changes);
	/* not before: writers would hold it, too */
	open_socket();
	for (i = 0; i < trees; i++)
		begin(&s[i], i ? "tree/in" : "tree");
	/* not before: a root has to be marked */
	marks_max = bound("marks_max", marks);
	dirty_max = bound("dirty_max", dirty);
	for (i = 0; i < trees; i++) {
		take_root(&s[i]);
		s[i].again = s[i].unmarked;
	}

	ok(weather(s, trees, pid, writers), "%s: %u writers made %u changes each", name, writers,
	   changes);
	for (i = 0; i < trees; i++)
		calm &= settle(&s[i]);
	ok(calm, "%s: the dirty set comes to rest", name);
	for (i = 0; i < trees; i++)
		is_mirrored(&s[i], name, "after the storm", !marks);
	bound("marks_max", marks_max);
	bound("dirty_max", dirty_max);
	if (marks || dirty) {
		for (i = 0; i < trees; i++) {
			if (!settle(&s[i]))
				die("the dirty set does not come to rest", 0);
			is_mirrored(&s[i], name, "within bounds", true);
		}
	}
	nftw("tree", probe, 16, FTW_PHYS);
	for (i = 0; i < trees; i++) {
		settle(&s[i]);
		is_mirrored(&s[i], name, "with one more change in each directory",
			    true);
		printf("# %s: %s: %zu names\n", name, s[i].dir, count(s[i].root, false) - 1);
		end(&s[i]);
	}
	printf("# %s: seed %llu: %lu rounds, %lu entries, %lu directories read, %lu consumers more, %ld s\n",
	       name, (unsigned long long)seed, rounds, entries, scans, takeovers,
	       (long)(time(NULL) - start));
	hf_nl_close(&nl);
}

static void one(char *arg, uint64_t seed, unsigned int writers, unsigned int changes)
{
	char *dir = strchr(arg, '='), *option;
	unsigned long marks = 0, dirty = 0;
	bool nested = false;
	int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (!dir)
		die(arg, EINVAL);
	*dir++ = '\0';
	strtok(dir, ",");
	while ((option = strtok(NULL, ","))) {
		if (!strcmp(option, "nested"))
			nested = true;
		else if (sscanf(option, "marks=%lu", &marks) != 1 &&
			 sscanf(option, "dirty=%lu", &dirty) != 1 &&
			 sscanf(option, "changes=%u", &changes) != 1)
			die(option, EINVAL);
	}
	if (chdir(dir) || mkdir("storm", 0755) || chdir("storm"))
		die(dir, errno);
	storm(arg, nested, marks, dirty, seed, writers, changes);
	if (chdir(".."))
		die(dir, errno);
	remove_all("storm");
	if (fchdir(back))
		die(dir, errno);
	close(back);
}

int main(int argc, char **argv)
{
	unsigned int writers = 4, changes = 400;
	uint64_t seed = 1;
	int c;

	umask(0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt(argc, argv, "s:n:w:")) != -1) {
		if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (c == 'n')
			changes = strtoul(optarg, NULL, 0);
		else if (c == 'w')
			writers = strtoul(optarg, NULL, 0);
		else
			return 2;
	}
	if (writers > WRITERS_MAX)
		writers = WRITERS_MAX;
	for (; optind < argc; optind++)
		one(argv[optind], seed, writers, changes);
	return tap_done();
}
