// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Work for the main loop, handed over by other threads through an eventfd.
 *
 * Lock: post_lock, a leaf, protects the list. What is posted runs in order, on
 * the main thread, without it.
 */
#include "daemon.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct item {
	struct item *next;
	void (*fn)(void *arg);
	void *arg;
};

static pthread_mutex_t post_lock = PTHREAD_MUTEX_INITIALIZER;
static struct item *head, **tail = &head;
static int efd = -1;
static sd_event_source *src;

static int run(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct item *list, *i;
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return 0;
	pthread_mutex_lock(&post_lock);
	list = head;
	head = NULL;
	tail = &head;
	pthread_mutex_unlock(&post_lock);
	while ((i = list)) {
		list = i->next;
		i->fn(i->arg);
		free(i);
	}
	return 0;
}

int post_init(sd_event *e)
{
	efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (efd < 0)
		return -errno;
	return sd_event_add_io(e, &src, efd, EPOLLIN, run, NULL);
}

void post_exit(void)
{
	src = sd_event_source_unref(src);
}

void post(void (*fn)(void *arg), void *arg)
{
	struct item *i = malloc(sizeof(*i));
	uint64_t one = 1;
	bool first;

	if (!i) {
		/* an answer that cannot be delivered would leave its client waiting for ever */
		hf_logf(HF_LOG_ERR, "out of memory; stopping");
		abort();
	}
	*i = (struct item){ .fn = fn, .arg = arg };
	pthread_mutex_lock(&post_lock);
	first = !head;
	*tail = i;
	tail = &i->next;
	pthread_mutex_unlock(&post_lock);
	/* what stands before it has woken the loop, which takes all at once */
	if (first && write(efd, &one, sizeof(one)) < 0)
		return;		/* the counter is at its maximum: the loop is awake */
}
