// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Moving a resource to a node that is named. The request is in its registration: its owner sees it with a
 * heartbeat and goes offline, the node that is named sees the release, goes online, and takes the request
 * back when that has come to an end. Who of them cannot takes it back with the reason, which is what the one
 * who asked tells; that one also asks the former owner to have it again, and takes back what nobody fulfils.
 *
 * It is no failover: an owner that cannot commit all that was written stays the owner.
 */
#include "resource.h"
#include "verbs.h"
#include <stdlib.h>

#define MOVE_MS 60000

/* Which node is asked to have @r; false: none */
static bool asked(struct resource *r, char node[HF_NAME_MAX + 1])
{
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);

	snprintf(node, HF_NAME_MAX + 1, "%s", def ? def->move : "");
	regs_put(pin);
	return *node;
}

/* The request that @node have it is over. */
static void over(const char *name, const char *node, const struct hf_err *why)
{
	struct hf_err e = { 0 };
	int ret = hf_reg_resource_moved(hfd.store, name, node, why, &e);

	if (!ret)
		ret = regs_reload(&e);
	if (ret && ret != -ENOENT)
		hf_logf(HF_LOG_WARN, "%s: the request to move it stays: %s", name, e.msg);
}

/* without the name that it begins with */
static const char *bare(const struct resource *r, const char *msg)
{
	size_t n = strlen(r->name);

	return strncmp(msg, r->name, n) || strncmp(msg + n, ": ", 2) ? msg : msg + n + 2;
}

static int node_state(const char *node)
{
	struct hf_node_info *n = calloc(HF_MAX_NODES, sizeof(*n));
	unsigned count = n ? beat_nodes(n, HF_MAX_NODES) : 0;
	int ret = -ENOENT;

	for (unsigned i = 0; i < count; i++)
		if (n[i].state != HF_NODE_FREE && !strcmp(n[i].name, node))
			ret = n[i].state;
	free(n);
	return ret;
}

/* Who asked gave up while this node let go: nobody else would bring it online. */
static void take_again(struct resource *r, struct job *j)
{
	char node[HF_NAME_MAX + 1];
	struct hf_log_stat st;

	if (regs_refresh(NULL) || asked(r, node))
		return;
	resource_refresh(r);
	pthread_mutex_lock(&r->lock);
	st = r->st;
	pthread_mutex_unlock(&r->lock);
	if (!st.released || st.slot != hfd.id.slot)
		return;
	hf_logf(HF_LOG_WARN, "%s: who wanted it moved does not wait any more; it is brought online again", r->name);
	memset(&j->err, 0, sizeof(j->err));
	if (job_online(r, j))
		hf_logf(HF_LOG_WARN, "%s: it stays offline: %s", r->name, j->err.msg);
}

static int let_go(struct resource *r, const char *node, struct job *j)
{
	const char *here = hfd.id.name;
	struct hf_err e;
	int ret;

	if (!r->live && r->unreleased)
		return hf_fail(&j->err, HF_REFUSED, -EBUSY,
			       "%s was stopped on %s, and its last changes are not committed yet; `holdfast status %s` there says more",
			       r->name, here, r->name);
	if (!r->live)
		return 0;
	if (r->state == RS_FAILED)
		return hf_fail(&j->err, HF_REFUSED, -EBUSY,
			       "%s is failed on %s: %.300s; `holdfast resource reset %s` or `holdfast offline %s` there first",
			       r->name, here, r->error, r->name, r->name);
	/* it may be gone since, and who asked as well: then it would be online nowhere */
	if (node_state(node) != HF_NODE_UP)
		return hf_fail(&j->err, HF_FAILED, -EBUSY, "%s is not moved, because %s is not up any more", r->name, node);
	j->strict = true;
	ret = job_offline(r, j);
	if (ret) {
		e = j->err;
		return hf_fail(&j->err, e.exit, ret, "%s is not moved, because its last changes cannot be committed on %s: %.700s%s",
			       r->name, here, bare(r, e.msg),
			       ret == -EAGAIN ? "; stop what writes to them first" : "");
	}
	take_again(r, j);
	return 0;
}

static int job_move(struct resource *r, struct job *j)
{
	char node[HF_NAME_MAX + 1];
	bool any = asked(r, node), here = any && !strcmp(node, hfd.id.name);
	struct hf_err e;
	int ret = 0;

	if (here && !r->live)
		ret = job_online(r, j);
	else if (any && !here)
		ret = let_go(r, node, j);
	if (ret && here) {
		e = j->err;
		hf_fail(&j->err, HF_FAILED, ret, "%s could not be brought online on %s: %.800s", r->name, node, bare(r, e.msg));
	}
	if (ret)
		hf_logf(HF_LOG_WARN, "not moved: %s", j->err.msg);
	if (here || ret)
		over(r->name, node, ret ? &j->err : NULL);
	pthread_mutex_lock(&r->lock);
	r->moving = false;
	pthread_mutex_unlock(&r->lock);
	return ret;
}

/* With each heartbeat, after the row was looked at. */
void move_look(struct resource *r)
{
	char node[HF_NAME_MAX + 1];
	struct job *j = NULL;
	bool due, known;

	if (!asked(r, node))
		return;
	known = node_state(node) != HF_NODE_UNKNOWN;
	pthread_mutex_lock(&r->lock);
	if (r->state == RS_ONLINE_PENDING || r->state == RS_OFFLINE_PENDING)
		due = false;
	else if (!strcmp(node, hfd.id.name))
		due = r->live || (r->st_valid && (!r->st.epoch || r->st.released));
	else
		due = known && (r->live || r->unreleased);
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
	uint64_t until = hf_now_ms() + 2 * hfd.lease_ms;
	int st;

	/* a daemon that was just started has to see a heartbeat first */
	while ((st = node_state(node)) == HF_NODE_UNKNOWN && hf_now_ms() < until)
		hf_sleep_ms(hfd.beat_ms / 4);
	if (st < 0)
		return hf_fail(err, HF_NOTFOUND, st, "there is no node %s; holdfast node list has those that there are", node);
	if (st != HF_NODE_UP)
		return hf_fail(err, HF_REFUSED, -EBUSY, "%s is not up; see that holdfastd runs there and reaches the store", node);
	return 0;
}

/* 0: to be asked for, of @from; 1: it is there; else why not */
static int may(const struct hf_resource *def, const char *node, char from[HF_NAME_MAX + 1], struct hf_err *err)
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
	snprintf(from, HF_NAME_MAX + 1, "%s", st.node);
	if (!strcmp(st.node, node))
		return 1;
	if (st.owner != HF_NODE_UP)
		return hf_fail(err, HF_REFUSED, -EBUSY,
			       "%s, the owner of %s, is not up and cannot release it; `holdfast online %s` on %s takes it over",
			       st.node, def->name, def->name, node);
	return node_up(node, err);
}

/*
 * Asks that @node have it, and waits until that has come to an end. *@st: whose it is then; @why: what stood
 * in the way, exit 0 nothing; @other: who is asked by somebody else meanwhile, or "". The return value is only
 * that of the store.
 */
static int bring(struct resource *r, const char *node, uint64_t ms, struct hf_log_stat *st, struct hf_err *why,
		 char other[HF_NAME_MAX + 1], struct hf_err *err)
{
	uint64_t until = hf_now_ms() + ms;
	const struct hf_resource *def;
	struct regs *pin;
	bool wanted;
	int ret;

	memset(why, 0, sizeof(*why));
	ret = hf_reg_resource_move(hfd.store, r->name, node, err);
	if (!ret)
		ret = regs_reload(err);
	while ((wanted = asked(r, other) && !strcmp(other, node)) && !ret && hf_now_ms() < until && !node_up(node, why)) {
		hf_sleep_ms(hfd.beat_ms / 4);
		regs_refresh(NULL);
	}
	if (wanted || ret)
		over(r->name, node, NULL);
	if (wanted)
		*other = '\0';
	if (ret)
		return ret;
	if (why->exit)
		why->exit = HF_FAILED;
	else if (wanted)
		hf_fail(why, HF_FAILED, -ETIMEDOUT, "%s did not come online on %s in time", r->name, node);
	def = resource_def(r, &pin);
	ret = def ? hfd.store->ops->stat(hfd.store, &def->id, st, err) :
	      hf_fail(err, HF_NOTFOUND, -ENOENT, "%s was deleted meanwhile", r->name);
	if (def && def->unmoved && !wanted)
		hf_fail(why, def->unmoved_exit, -EIO, "%s", def->unmoved);
	else if (!ret && !why->exit && (st->released || strcmp(st->node, node)))
		hf_fail(why, HF_FAILED, -EIO, "%s is not online on %s: something else was asked for meanwhile", r->name, node);
	regs_put(pin);
	return ret;
}

/* Where it cannot be brought online it is to be again where it was. */
static int go(struct resource *r, const char *from, const char *node, uint64_t ms, struct hf_err *err)
{
	struct hf_err why, back = { 0 };
	struct hf_log_stat st = { 0 };
	char other[HF_NAME_MAX + 1];
	int ret = bring(r, node, ms, &st, &why, other, err);

	if (ret || !why.exit)
		return ret;
	/* the owner may have let go for that one */
	if (*other)
		return hf_fail(err, why.exit, -EIO, "%.700s; it is being moved to %s", why.msg, other);
	if (st.released && !node_up(from, &back)) {
		ret = bring(r, from, MOVE_MS, &st, &back, other, err);
		if (!ret && !back.exit)
			return hf_fail(err, why.exit, -EIO, "%.900s; it is online on %s again", why.msg, from);
	}
	/* nobody else waits for the word on it */
	over(r->name, "", NULL);
	if (ret)
		return ret;
	if (st.released)
		return hf_fail(err, why.exit, -EIO, "%.500s; it is offline: `holdfast online %s` on %s brings it back (%.300s)",
			       why.msg, r->name, from, back.msg);
	return hf_fail(err, why.exit, -EIO, "%.900s; it %s on %s", why.msg, strcmp(st.node, from) || back.exit ? "is" : "stays",
		       st.node);
}

static int move(struct req *q, struct hf_err *err)
{
	const char *name = jget_str(q->args, "resource"), *node = jget_str(q->args, "node");
	uint64_t ms = jhas(q->args, "timeout_ms") ? jget_u64(q->args, "timeout_ms") : MOVE_MS;
	const struct hf_resource *def;
	char from[HF_NAME_MAX + 1];
	struct resource *r;
	struct regs *pin;
	int ret = verb_resource_now(name, &r, err);

	if (ret)
		return ret;
	def = resource_def(r, &pin);
	ret = def ? may(def, node, from, err) : hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no resource %s", name);
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
	ret = go(r, from, node, ms < 86400000 ? ms : 86400000, err);
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
