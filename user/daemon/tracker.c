// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The thread that drains the tracker as soon as there is something, so that
 * neither the main loop nor a busy worker holds events up. Workers drain by
 * themselves as well, as a barrier.
 */
#include "resource.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* for what no event tells of: a mount that went, marks that are to be tried again */
#define LOOK_MS 1000

static pthread_t thread;
static int stop_fd = -1;
static atomic_int calm;

/* A restore floods the queue with its own events: to wake for each of them would cost
 * as much as the restore. */
void tracker_calm(int delta)
{
	atomic_fetch_add(&calm, delta);
}

static void *run(void *arg)
{
	struct pollfd p[2] = {
		{ .fd = hf_track_fd(hfd.track), .events = POLLIN },
		{ .fd = (int)(intptr_t)arg, .events = POLLIN },
	};
	int n;

	while (!(p[1].revents & POLLIN)) {
		if (atomic_load(&calm))
			hf_sleep_ms(10);
		n = poll(p, 2, LOOK_MS);
		if (n < 0)
			continue;
		hf_seam("tracker.drain");
		if ((!n || p[0].revents) && hf_track_drain(hfd.track) < 0)
			hf_sleep_ms(100);	/* said by the tracker; not as fast as poll() */
	}
	return NULL;
}

int tracker_start(struct hf_err *err)
{
	int ret;

	stop_fd = eventfd(0, EFD_CLOEXEC);
	if (stop_fd < 0)
		return hf_fail(err, HF_FAILED, -errno, "eventfd: %s", strerror(errno));
	ret = pthread_create(&thread, NULL, run, (void *)(intptr_t)stop_fd);
	if (ret) {
		close(stop_fd);
		stop_fd = -1;
		return hf_fail(err, HF_FAILED, -ret, "cannot start a thread: %s", strerror(ret));
	}
	return 0;
}

/* Bounded: a thread that hangs in a tree is left behind. */
void tracker_stop(void)
{
	uint64_t one = 1;

	if (stop_fd < 0)
		return;
	if (write(stop_fd, &one, sizeof(one)) != sizeof(one) || !thread_ends(thread, 2000))
		return;
	close(stop_fd);
	stop_fd = -1;
}

/* What its journal says is still to be resumed, or is just on its way: its trees are the
 * successor's. When it is online, what it has not taken up is nobody's. */
static bool wanted(void *arg, const char *name)
{
	struct resource *r = resource_get(name);
	bool keep;

	if (!r)
		return false;
	pthread_mutex_lock(&r->lock);
	keep = !r->live && r->j.state != JR_NONE && r->j.state != JR_STALE;
	pthread_mutex_unlock(&r->lock);
	resource_put(r);
	return keep;
}

void tracker_reap(void)
{
	int ret = hf_track_reap(hfd.track, wanted, NULL);

	if (ret)
		hf_logf(HF_LOG_WARN, "cannot look for trees that an earlier daemon left in the module: %s",
			strerror(-ret));
}
