// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Files that are captured one after the other are cleaned one after the other, each of which waits for
 * the disk. So a thread goes ahead and has their writing begun; what it does not come to, or cannot
 * open, is cleaned all the same. It looks at nothing of the tree but what does not change.
 */
#include "tree_int.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define WORTH_IT 4

struct hf_ahead {
	const struct hf_tree *t;
	const char *const *rel;
	size_t n;
	atomic_size_t at;	/* the one that is being captured; n: enough */
	pthread_t thread;
};

static void begin_writing(const struct hf_tree *t, const char *rel)
{
	struct statx stx;
	int fd, ret;

	if (!*rel || hf_tree_out(t, rel) == HF_OUT)
		return;
	/* what opening does something to is not opened; a link on the way may lead to where even a look does not end */
	fd = hf_tree_openat(t->root, rel, O_PATH);
	if (fd < 0)
		return;
	ret = hf_fd_statx(fd, &stx);
	close(fd);
	if (ret || !S_ISREG(stx.stx_mode))
		return;
	fd = hf_open_regular(t->root, rel);
	if (fd < 0)
		return;
	sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	close(fd);
}

static void *run(void *arg)
{
	struct hf_ahead *a = arg;

	for (size_t i = 0; i < a->n; i++) {
		size_t at = atomic_load(&a->at);

		if (i <= at)
			i = at + 1;
		if (i < a->n)
			begin_writing(a->t, a->rel[i]);
	}
	return NULL;
}

struct hf_ahead *hf_ahead_start(const struct hf_tree *t, const char *const *rel, size_t n)
{
	struct hf_ahead *a = n < WORTH_IT ? NULL : hf_alloc(sizeof(*a));

	if (!a)
		return NULL;
	a->t = t;
	a->rel = rel;
	a->n = n;
	if (pthread_create(&a->thread, NULL, run, a)) {
		free(a);
		return NULL;
	}
	return a;
}

void hf_ahead_at(struct hf_ahead *a, size_t i)
{
	if (a)
		atomic_store(&a->at, i);
}

void hf_ahead_stop(struct hf_ahead *a)
{
	if (!a)
		return;
	atomic_store(&a->at, a->n);
	pthread_join(a->thread, NULL);
	free(a);
}
