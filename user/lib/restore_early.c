// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What a restore wrote is durable when it ends, which takes a third of its time where it writes much. So in its middle
 * a thread begins with what was written by then. It promises nothing, and has a descriptor of its own: each
 * has its errors told once (errseq), and all of them belong to who syncs in the end.
 */
#include "restore_int.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define WORTH_IT 4096	/* entries */

struct hf_early {
	pthread_t thread;
	int fd;
};

static void *run(void *arg)
{
	struct hf_early *e = arg;

	syncfs(e->fd);
	return NULL;
}

void hf_early_step(struct restore *r, size_t done)
{
	struct hf_early *e;

	if (r->early || r->items.n < WORTH_IT || done < r->items.n / 2)
		return;
	e = hf_alloc(sizeof(*e));
	if (!e)
		return;
	e->fd = openat(r->t->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (e->fd >= 0 && !pthread_create(&e->thread, NULL, run, e)) {
		r->early = e;
		return;
	}
	if (e->fd >= 0)
		close(e->fd);
	free(e);
}

void hf_early_end(struct restore *r)
{
	if (!r->early)
		return;
	pthread_join(r->early->thread, NULL);
	close(r->early->fd);
	free(r->early);
	r->early = NULL;
}
