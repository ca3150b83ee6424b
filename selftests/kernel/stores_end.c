// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * stores_end: filesystems that go away while stores to them are still to be noted.
 *
 *	stores_end DEVICE TYPE DIR ROUNDS
 *	stores_end -w DIR		store, until it is killed
 */
#include <sys/mount.h>
#include <sys/stat.h>
#include "consumer.h"
#include "mapper.h"

#define FILES 4

static void one_round(const char *device, const char *type, const char *dir, int round, char why[64])
{
	struct mapper m[FILES];
	struct consumer c;
	int fd;

	if (mount(device, dir, type, 0, NULL))
		die(device, errno);
	if (chdir(dir))
		die(dir, errno);
	mkdir("tree", 0755);
	for (int i = 0; i < FILES; i++) {
		char path[16];

		sprintf(path, "tree/%d", i);
		make(path, 16 * PAGE);
		m[i] = mapper_start(path, 16 * PAGE, 0);
	}
	add_tree(&c, "tree", NULL);
	/* it would keep the filesystem */
	close(c.fd);
	c.fd = -1;
	for (int i = 0; i < FILES; i++) {
		/* those of odd rounds die in the middle */
		if (round % 2)
			mapper_told(&m[i], &(struct order){ .what = 'f', .value = round });
		else
			fill(&m[i], round);
	}
	for (int i = 0; i < FILES; i++)
		mapper_ends(&m[i]);
	if (chdir("/") || umount(dir))
		snprintf(why, 64, "umount: %s", strerror(errno));
	fd = open(device, O_RDWR | O_EXCL | O_CLOEXEC);
	if (fd < 0 && !*why)
		snprintf(why, 64, "the device: %s", strerror(errno));
	close(fd);
	barrier(&c);
	if (!(c.state.flags & HOLDFAST_TREE_FLAG_LOST) && !*why)
		snprintf(why, 64, "the tree is not lost");
	del_tree(&c);
}

static void work(const char *dir)
{
	struct mapper m[FILES];
	char path[PATH_MAX];

	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "%s/%d", dir, i);
		make(path, 16 * PAGE);
		m[i] = mapper_start(path, 16 * PAGE, 0);
	}
	for (uint64_t v = 0;; v++) {
		snprintf(path, sizeof(path), "%s/%d", dir, (int)(v % FILES));
		fill(&m[v % FILES], v);
		clean_and_read(path, 0);
	}
}

int main(int argc, char **argv)
{
	int rounds = argc == 5 ? atoi(argv[4]) : 0, bad = 0;
	char why[64] = "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && !strcmp(argv[1], "-w"))
		work(argv[2]);
	if (rounds < 1)
		return 2;
	open_netlink();
	for (int i = 0; i < rounds; i++) {
		char now[64] = "";

		one_round(argv[1], argv[2], argv[3], i, now);
		if (*now && !bad++)
			memcpy(why, now, sizeof(why));
	}
	if (!ok(!bad, "%s: P9: unmounted %d times right after who stored had died, and the device is free",
		argv[2], rounds))
		printf("# %d times: %s\n", bad, why);
	hf_nl_close(&nl);
	return tap_done();
}
