// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapper: has a file mapped, and nothing else of it.
 *
 *	mapper FILE FIFO	stores each line of the FIFO at the beginning of FILE, and says so
 *	mapper -p FILE OTHER	stores a number to FILE, then writes it to OTHER; again and again
 *
 * It never closes, unmaps, or calls msync().
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 4096

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static char *map_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd < 0 || map == MAP_FAILED)
		die(path);
	close(fd);
	return map;
}

/* What is in OTHER was in FILE before. */
static void pairs(const char *file, const char *other)
{
	volatile uint64_t *map = (void *)map_file(file);
	int fd = open(other, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		die(other);
	for (uint64_t v = *map + 1;; v++) {
		*map = v;
		if (pwrite(fd, &v, sizeof(v), 0) != sizeof(v))
			die(other);
		/* bursts that are longer than a capture, and pauses in which a cut can be had */
		usleep(v % 128 ? 500 : 150000);
	}
}

int main(int argc, char **argv)
{
	char line[256], *map;
	FILE *in;

	if (argc == 4 && !strcmp(argv[1], "-p"))
		pairs(argv[2], argv[3]);
	if (argc != 3)
		return 2;
	map = map_file(argv[1]);
	/* to be its own writer, so that it never ends */
	in = fdopen(open(argv[2], O_RDWR | O_CLOEXEC), "r");
	if (!in)
		die(argv[2]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("mapped\n");
	while (fgets(line, sizeof(line), in)) {
		size_t len = strlen(line);

		for (size_t i = 0; i < len; i++)
			((volatile char *)map)[i] = line[i];
		printf("stored %s", line);
	}
	return 1;
}
