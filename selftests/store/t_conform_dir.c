// SPDX-License-Identifier: GPL-2.0-or-later
/* Shared directories conform to the store interface: one, a set of three, and one without O_DIRECT. */
#include "conform_all.h"

static unsigned ndirs;

static void make(unsigned nodes, uint64_t size)
{
	store_dirs = ndirs;
	setup(nodes, size, 500);
}

/* of the first directory: what is read */
static unsigned files(char path[][400], unsigned max)
{
	unsigned n = 0;

	snprintf(path[n++], 400, "%s/dir0/super", dir);
	snprintf(path[n++], 400, "%s/dir0/member", dir);
	for (unsigned i = 0; i < 2 && n < max; i++)
		snprintf(path[n++], 400, "%s/dir0/node-%02u", dir, i);
	return n;
}

int main(int argc, char **argv)
{
	static const struct backend one = { "one shared directory", make, files },
				    three = { "three shared directories", make, files };
	const char *only = argc > 1 ? argv[1] : "";

	ndirs = 1;
	conform(&one, only);
	ndirs = 3;
	conform(&three, only);
	return tap_done();
}
