// SPDX-License-Identifier: GPL-2.0-or-later
/* crash_step DIR TMP STEP: one step of crash_tree.h. Each name is changed by one system
 * call; TMP is a directory outside of the tree, on the same filesystem. */
#include <err.h>
#include <errno.h>
#include <unistd.h>
#include "crash_tree.h"

int main(int argc, char **argv)
{
	static uint8_t buf[CRASH_MAX];
	unsigned step = argc == 4 ? atoi(argv[3]) : 0;
	char name[16], path[4096], tmp[4096];

	if (!step)
		errx(2, "usage: crash_step DIR TMP STEP");
	for (unsigned k = 0; k < CRASH_NAMES; k++) {
		long n;
		FILE *f;

		if (!crash_touches(step, k))
			continue;
		crash_name(k, name);
		snprintf(path, sizeof(path), "%s/%s", argv[1], name);
		snprintf(tmp, sizeof(tmp), "%s/%s", argv[2], name);
		n = crash_content(step, k, buf);
		if (n < 0) {
			if (unlink(path) && errno != ENOENT)
				err(1, "%s", path);
			continue;
		}
		f = fopen(tmp, "w");
		if (!f || fwrite(buf, 1, n, f) != (size_t)n || fclose(f) || rename(tmp, path))
			err(1, "%s", path);
	}
	return 0;
}
