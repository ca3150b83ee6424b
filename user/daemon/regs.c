// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The registrations as this node last read them. A reader takes a reference
 * and keeps what it saw for as long as it needs it; a reload publishes another.
 *
 * Locks: load_lock serialises loads (held while the store is read, so that an
 * older reading cannot replace a newer one); cur_lock, a leaf, protects the
 * pointer and row_seen. load_lock before cur_lock, and before those of resource.c.
 */
#include "daemon.h"
#include "memory.h"
#include "resource.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t cur_lock = PTHREAD_MUTEX_INITIALIZER;
static struct regs *cur;
static uint64_t row_seen[3] = { UINT64_MAX };	/* of a row all of whose changes are in cur */

struct regs *regs_get(void)
{
	struct regs *r;

	pthread_mutex_lock(&cur_lock);
	r = cur;
	if (r)
		__atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&cur_lock);
	return r;
}

void regs_put(struct regs *r)
{
	if (!r || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL))
		return;
	hf_reg_free(r->reg);
	free(r);
}

const struct hf_resource *regs_find(const struct regs *r, const char *name)
{
	return r ? hf_reg_find(r->reg, name) : NULL;
}

int regs_reload(struct hf_err *err)
{
	struct regs *n, *old;
	int ret;

	n = hf_alloc(sizeof(*n));
	if (!n)
		return hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
	n->refs = 1;
	pthread_mutex_lock(&load_lock);
	ret = hf_reg_load(hfd.store, &n->reg, err);
	if (ret) {
		pthread_mutex_unlock(&load_lock);
		free(n);
		return ret;
	}
	pthread_mutex_lock(&cur_lock);
	old = cur;
	cur = n;
	pthread_mutex_unlock(&cur_lock);
	resources_publish(n);
	pthread_mutex_unlock(&load_lock);
	regs_put(old);
	return 0;
}

int regs_follow(const struct hf_log_stat *row, struct hf_err *err)
{
	const uint64_t now[3] = { row->epoch, row->gen, row->ballot };
	bool same;
	int ret;

	pthread_mutex_lock(&cur_lock);
	same = !memcmp(row_seen, now, sizeof(now));
	pthread_mutex_unlock(&cur_lock);
	if (same)
		return 0;
	ret = regs_reload(err);
	/* a change may become visible after its row did: read again while its owner is at it */
	if (!ret && row->released) {
		pthread_mutex_lock(&cur_lock);
		memcpy(row_seen, now, sizeof(now));
		pthread_mutex_unlock(&cur_lock);
	}
	return ret;
}

int regs_refresh(struct hf_err *err)
{
	struct hf_log_stat st;
	struct hf_logid id;
	int ret;

	hf_reg_logid(&id);
	ret = hfd.store->ops->stat(hfd.store, &id, &st, err);
	return ret ? ret : regs_follow(&st, err);
}

/* P8: the space of logs that are registered no more comes back. */
void regs_tell_store(void)
{
	struct regs *r = regs_get();
	uint8_t (*uuid)[16] = r ? calloc(r->reg->nres + 1, 16) : NULL;

	for (unsigned i = 0; uuid && i < r->reg->nres; i++)
		memcpy(uuid[i], r->reg->res[i].id.uuid, 16);
	if (uuid) {
		hfd.store->ops->known(hfd.store, uuid, r->reg->nres);
		memory_known(uuid, r->reg->nres);
	}
	free(uuid);
	regs_put(r);
}
