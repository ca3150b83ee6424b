// SPDX-License-Identifier: GPL-2.0-or-later
/* How far a resource's worker is, told to all who wait for it: what one has asked for may
 * begin before its job does, or behind another's. */
#include "resource.h"
#include "server.h"
#include "treedb.h"

#define EVERY_MS 100
#define TOLD 16

void progress_tell(struct resource *r, const char *what, uint64_t done, uint64_t total)
{
	uint64_t now = hf_now_ms(), conn[TOLD];
	struct json_object *o;
	unsigned n = 0;

	if (now - r->told_ms < EVERY_MS && !(total && done == total))
		return;
	r->told_ms = now;
	pthread_mutex_lock(&r->lock);
	if (r->job && r->job->conn)
		conn[n++] = r->job->conn;
	if (r->asker && !(n && conn[0] == r->asker))
		conn[n++] = r->asker;
	for (struct job *j = r->jobs; j && n < TOLD; j = j->next)
		if (j->conn && j->conn != r->asker)
			conn[n++] = j->conn;
	pthread_mutex_unlock(&r->lock);
	while (n) {
		o = jobj();
		jstr(o, "event", "progress");
		jstr(o, "resource", r->name);
		jstr(o, "what", what);
		ju64(o, "done", done);
		ju64(o, "total", total > done ? total : total ? done : 0);
		server_event(conn[--n], o);
	}
}

static void tick(void *arg)
{
	struct resource *r = arg;

	progress_tell(r, r->work, ++r->work_done, r->work_total);
}

void progress_scan(struct resource *r, const char *what, struct treedb *db)
{
	uint64_t puts, dels;

	r->work = what;
	r->work_done = 0;
	hf_log_pending_stat(db->log, db->prefix, TREEDB_PREFIX, &puts, &dels, &r->work_total);
	db->tick = tick;
	db->tick_arg = r;
}
