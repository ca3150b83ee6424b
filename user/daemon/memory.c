// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What this node remembers of the disk (seen.h): looked up before the disk is joined, at each
 * beat, and when a log is claimed. A thread of its own writes it: a local file system that is slow
 * must not hold up the heartbeat.
 */
#include "daemon.h"
#include "memory.h"
#include "seen.h"
#include <pthread.h>
#include <stdlib.h>

static struct hf_seen *seen;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;	/* a leaf: what the thread is to do */
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_t thread;
static bool started, wanted, ending;

static int nodes(struct hf_err *err)
{
	struct hf_node_info *n = calloc(HF_MAX_NODES, sizeof(*n));
	int count = n ? hfd.store->ops->nodes(hfd.store, n, HF_MAX_NODES) : -ENOMEM, ret = 0;

	for (int i = 0; i < count && !ret; i++)
		if (!memcmp(n[i].uuid, hfd.id.uuid, 16))
			ret = hf_seen_node(seen, &n[i], err);
	free(n);
	return count < 0 ? hf_fail(err, HF_OK, count, "the nodes of the disk cannot be read: %s", strerror(-count)) : ret;
}

static int fresh(const struct hf_logid *id, struct hf_err *err)
{
	struct hf_log_stat st;
	int ret = 0;

	/* one reading may meet a slot that cannot be decided just then */
	for (unsigned tries = 0; tries < 3; tries++) {
		ret = hfd.store->ops->stat(hfd.store, id, &st, err);
		if (ret == -ENOENT)
			memset(&st, 0, sizeof(st));
		else if (ret)
			return ret;
		ret = hf_seen_stat(seen, id, &st, err);
		if (!ret)
			break;
		hf_sleep_ms(50);
	}
	return ret;
}

int memory_open(struct hf_err *err)
{
	struct hf_logid regs;
	int ret = hf_seen_load(hfd.conf->state_dir, hfd.id.disk, &seen, err);

	hf_reg_logid(&regs);
	if (!ret)
		ret = fresh(&regs, err);
	if (!ret)
		ret = nodes(err);
	return ret;
}

int memory_claim(const struct hf_logid *id, struct hf_err *err)
{
	return fresh(id, err);
}

int memory_claimed(const struct hf_logid *id, uint64_t gen, struct hf_err *err)
{
	return hf_seen_gen(seen, id, gen, err);
}

uint64_t memory_newest(const struct hf_logid *id)
{
	return hf_seen_newest(seen, id);
}

int memory_look(const struct hf_logid *id, const struct hf_log_stat *st, uint64_t confirmed, struct hf_err *err)
{
	return hf_seen_log(seen, id, st, confirmed, err);
}

void memory_known(const uint8_t (*uuid)[16], size_t n)
{
	hf_seen_known(seen, uuid, n);
}

void memory_beat(void)
{
	struct hf_err e = { 0 };

	if (nodes(&e) == -EBADMSG)
		hf_logf(HF_LOG_ERR, "%s", e.msg);
	pthread_mutex_lock(&lock);
	wanted = true;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
}

static void *run(void *arg)
{
	bool told = false, begun = false;

	pthread_mutex_lock(&lock);
	while (!ending || wanted) {
		bool last = ending;
		int ret;

		if (!wanted) {
			pthread_cond_wait(&wake, &lock);
			continue;
		}
		wanted = false;
		pthread_mutex_unlock(&lock);
		ret = hf_seen_sync(seen, last || !begun);
		if (ret && !told)
			hf_logf(HF_LOG_WARN, "%s/seen cannot be written: %s; an older disk would not be noticed after a restart",
				hfd.conf->state_dir, strerror(-ret));
		told = ret;
		begun = true;
		pthread_mutex_lock(&lock);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

int memory_start(struct hf_err *err)
{
	int ret = pthread_create(&thread, NULL, run, NULL);

	started = !ret;
	return ret ? hf_fail(err, HF_FAILED, -ret, "cannot start a thread: %s", strerror(ret)) : 0;
}

void memory_stop(void)
{
	if (!started)
		return;
	pthread_mutex_lock(&lock);
	wanted = ending = true;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
	thread_ends(thread, 2000);
}
