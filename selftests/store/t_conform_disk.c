// SPDX-License-Identifier: GPL-2.0-or-later
/* The quorum disk conforms to the store interface. */
#include "conform_all.h"

static void make(unsigned nodes, uint64_t size)
{
	store_dirs = 0;
	setup(nodes, size, 500);
}

static unsigned files(char path[][400], unsigned max)
{
	snprintf(path[0], sizeof(path[0]), "%s/disk", dir);
	return 1;
}

int main(int argc, char **argv)
{
	static const struct backend disk = { "quorum disk", make, files };

	conform(&disk, argc > 1 ? argv[1] : "");
	return tap_done();
}
