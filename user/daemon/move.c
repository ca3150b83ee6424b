// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Moving a resource to a node that is named. The request is in its registration: its owner sees it with a
 * heartbeat and goes offline, the node that is named sees the release, goes online, and takes the request
 * back when that has come to an end. What nobody fulfils is taken back by who asked.
 */
#include "resource.h"
#include "verbs.h"
#include <stdlib.h>

#define MOVE_MS 60000

/* Whether a move of @r is asked for; *@here: to this node. */
static bool asked(struct resource *r, bool *here)
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	bool any = def && *def->move;

	*here = any && !strcmp(def->move, hfd.id.name);
	regs_put(pin);
	return any;
}

static void take_back(const char *name)
{
	struct hf_err e = { 0 };
	int ret = hf_reg_resource_move(hfd.store, name, NULL, &e);

	if (!ret)
		ret = regs_reload(&e);
	if (ret && ret != -ENOENT)
		hf_logf(HF_LOG_WARN, "%s: the request to move it stays: %s", name, e.msg);
}

static int job_move(struct resource *r, struct job *j)
{
	bool here, any = asked(r, &here);
	int ret = 0;

	if (any && here && !r->live)
		ret = job_online(r, j);
	else if (any && !here && r->live)
		ret = job_offline(r, j);
	if (ret)
		hf_logf(HF_LOG_WARN, "%s: not moved: %s", r->name, j->err.msg);
	if (any && here)
		take_back(r->name);
	pthread_mutex_lock(&r->lock);
	r->moving = false;
	pthread_mutex_unlock(&r->lock);
	return ret;
}

/* With each heartbeat, after the row was looked at. */
void move_look(struct resource *r)
{
	struct job *j = NULL;
	bool here, due;

	if (!asked(r, &here))
		return;
	pthread_mutex_lock(&r->lock);
	if (here)
		due = r->live || (r->state == RS_OFFLINE && r->st_valid && (!r->st.epoch || r->st.released));
	else
		due = r->live && r->state == RS_ONLINE;
	due &= !r->moving && !r->quit;
	r->moving |= due;
	pthread_mutex_unlock(&r->lock);
	if (due)
		j = job_new(job_move);
	if (due && (!j || job_post(r, j, NULL))) {
		pthread_mutex_lock(&r->lock);
		r->moving = false;
		pthread_mutex_unlock(&r->lock);
	}
}

static int node_up(const char *node, struct hf_err *err)
{
	struct hf_node_info *n = calloc(HF_MAX_NODES, sizeof(*n));
	unsigned count = n ? beat_nodes(n, HF_MAX_NODES) : 0;
	int ret = -ENOENT;

	for (unsigned i = 0; i < count; i++)
		if (n[i].state != HF_NODE_FREE && !strcmp(n[i].name, node))
			ret = n[i].state == HF_NODE_UP ? 0 : -EBUSY;
	free(n);
	if (ret == -ENOENT)
		return hf_fail(err, HF_NOTFOUND, ret, "there is no node %s; holdfast node list has those that there are", node);
	if (ret)
		return hf_fail(err, HF_REFUSED, ret, "%s is not up; see that holdfastd runs there and reaches the store", node);
	return 0;
}

/* 0: to be asked for; 1: it is there; else why not */
static int may(const struct hf_resource *def, const char *node, struct hf_err *err)
{
	struct hf_log_stat st;
	int ret;

	if (def->policy.managed)
		return hf_fail(err, HF_REFUSED, -EBUSY,
			       "%s is a cluster manager's (policy managed), which would take this for a failure; let that one move it",
			       def->name);
	ret = owner_now(&def->id, &st, err);
	if (ret && ret != -ENOENT)
		return ret;
	if (ret || !st.epoch || st.released)
		return hf_fail(err, HF_REFUSED, -EBUSY, "%s is online nowhere; `holdfast online %s` on %s brings it online there",
			       def->name, def->name, node);
	if (!strcmp(st.node, node))
		return 1;
	if (st.owner != HF_NODE_UP)
		return hf_fail(err, HF_REFUSED, -EBUSY,
			       "%s, the owner of %s, is not up and cannot release it; `holdfast online %s` on %s takes it over",
			       st.node, def->name, def->name, node);
	return node_up(node, err);
}

/* Until the request is gone, and then: is it there? */
static int wait_moved(struct resource *r, const char *node, uint64_t ms, struct hf_err *err)
{
	uint64_t until = hf_now_ms() + ms;
	struct hf_log_stat st = { 0 };
	const struct hf_resource *def;
	struct hf_err gone = { 0 };
	struct regs *pin;
	bool here, any;
	int ret;

	while ((any = asked(r, &here)) && hf_now_ms() < until && !node_up(node, &gone)) {
		hf_sleep_ms(hfd.beat_ms / 4);
		regs_refresh(NULL);
	}
	def = resource_def(r, &pin);
	ret = def ? hfd.store->ops->stat(hfd.store, &def->id, &st, err) : -ENOENT;
	regs_put(pin);
	if (any)
		take_back(r->name);
	if (ret)
		return ret == -ENOENT ? hf_fail(err, HF_NOTFOUND, ret, "%s was deleted meanwhile", r->name) : ret;
	if (!st.released && !strcmp(st.node, node))
		return 0;
	return hf_fail(err, HF_FAILED, any ? -ETIMEDOUT : -EIO,
		       "%s did not come online on %s%s%s; %s%s: `holdfast status %s` there and the log of holdfastd on %s say why",
		       r->name, node, any && !gone.exit ? " in time" : "", gone.exit ? ", which went down" : "", st.released ? "it is offline, last on " : "it is on ", st.node, r->name, node);
}

static int move(struct req *q, struct hf_err *err)
{
	const char *name = jget_str(q->args, "resource"), *node = jget_str(q->args, "node");
	uint64_t ms = jhas(q->args, "timeout_ms") ? jget_u64(q->args, "timeout_ms") : MOVE_MS;
	const struct hf_resource *def;
	struct resource *r;
	struct regs *pin;
	int ret = verb_resource_now(name, &r, err);

	if (ret)
		return ret;
	def = resource_def(r, &pin);
	ret = def ? may(def, node, err) : hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no resource %s", name);
	regs_put(pin);
	if (ret < 0)
		goto out;
	q->result = jobj();
	jstr(q->result, "node", node);
	if (ret) {
		jbool(q->result, "already", true);
		ret = 0;
		goto out;
	}
	ret = hf_reg_resource_move(hfd.store, name, node, err);
	if (!ret)
		ret = regs_reload(err);
	if (!ret)
		ret = wait_moved(r, node, ms < 86400000 ? ms : 86400000, err);
out:
	if (ret) {
		json_object_put(q->result);
		q->result = NULL;
	}
	resource_put(r);
	return ret;
}

const struct verb verbs_move[] = {
	{ "move", 0, "resource:s! node:s! timeout_ms:u", move },
	{ NULL, 0, NULL, NULL },
};
