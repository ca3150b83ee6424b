// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * node.remove: the slot of a node that is gone becomes another's to take. Before that, whatever the newest state
 * of a log needs from its area is put elsewhere: a live owner does that by itself, soon after it took
 * the log over; for a log that nobody owns this node does, by a claim, a base and a release.
 *
 * A daemon that dies between that claim and its release would own the log of a resource that is online nowhere,
 * for as long as its node is up. So state_dir/emptying has the resource's name meanwhile, and the next start lets go of it.
 */
#include "resource.h"
#include "disk.h"
#include "verbs.h"
#include <stdlib.h>
#include <unistd.h>

#define OWNER_MS 15000		/* how long an owner elsewhere is waited for */
#define TRIES 5

/* 1: @id stands on the area of @slot */
static int stands(const struct hf_logid *id, uint32_t slot, struct hf_err *err)
{
	int ret = hf_disk_stands_on(hfd.store, id, slot, err);

	return ret == -ENOENT ? 0 : ret;
}

static char *note_path(void) { return hf_strf("%s/emptying", hfd.conf->state_dir); }

static int note(const char *resource, struct hf_err *err)
{
	char *path = note_path();
	int ret = path ? hf_write_file(path, resource, strlen(resource), 0600) : -ENOMEM;

	if (ret)
		hf_fail(err, HF_OK, ret, "%s: cannot be written: %s", path ? path : hfd.conf->state_dir, strerror(-ret));
	free(path);
	return ret;
}

static void note_end(void)
{
	char *path = note_path();

	if (path)
		unlink(path);
	free(path);
}

/* Nothing of it is online here, or about to be, or left from when it was. */
static bool idle_here(const char *resource)
{
	struct resource *r = resource_get(resource);
	bool idle;

	if (!r)
		return true;
	pthread_mutex_lock(&r->lock);
	idle = !r->live && !r->jobs && !r->unreleased && r->state == RS_OFFLINE && r->j.state == JR_NONE;
	pthread_mutex_unlock(&r->lock);
	resource_put(r);
	return idle;
}

/* an epoch of this node that is nobody's term of a resource */
static bool left_behind(const struct hf_logid *id, const struct hf_log_stat *st)
{
	return st->epoch && !st->released && st->slot == hfd.id.slot && st->owner == HF_NODE_UP && idle_here(id->name);
}

static void let_go(const struct hf_logid *id)
{
	struct hf_err err = { 0 };
	struct hf_log_stat st;
	struct hf_log *l;
	int ret = hfd.store->ops->stat(hfd.store, id, &st, &err);

	if (!ret && left_behind(id, &st)) {
		ret = hf_log_claim(hfd.store, id, 0, &l, &err);
		if (!ret) {
			ret = hf_log_release(l, &err);
			hf_log_close(l);
		}
	}
	if (ret)
		hf_logf(HF_LOG_WARN, "%s: is owned by this node since a `holdfast node remove` was cut off, which does not end yet: %s; say that again, or holdfast online and offline here",
			id->name, err.msg);
	else
		note_end();
}

void node_remove_resume(void)
{
	char *path = note_path(), *name = NULL;
	struct regs *regs = regs_get();
	bool found = false;

	if (path && !hf_read_file(path, HF_NAME_MAX, &name, NULL)) {
		for (unsigned i = 0; i < regs->reg->nres && !found; i++)
			if (!strcmp(regs->reg->res[i].name, name)) {
				found = true;
				let_go(&regs->reg->res[i].id);
			}
		if (!found)
			note_end();
	}
	regs_put(regs);
	free(name);
	free(path);
}

static int rebase(const struct hf_logid *id, uint64_t retain, struct hf_err *err)
{
	struct hf_log *l;
	int ret = -EAGAIN;

	if (id->row) {
		ret = note(id->name, err);
		if (ret)
			return ret;
		ret = -EAGAIN;
	}

	for (unsigned i = 0; i < TRIES && (ret == -EAGAIN || ret == -ESTALE); i++) {
		if (i)
			hf_sleep_ms(20 + random() % 100);
		ret = hf_log_claim(hfd.store, id, id->row ? 0 : HF_CLAIM_WAIT, &l, err);
		if (ret)
			continue;
		ret = hf_log_base(l, retain, err);
		if (!ret)
			ret = hf_log_release(l, err);
		hf_log_close(l);
	}
	if (id->row && (!ret || ret == -EAGAIN || ret == -ESTALE || ret == -EBUSY))
		note_end();
	if (ret == -EAGAIN || ret == -ESTALE)
		hf_fail(err, HF_REFUSED, -EBUSY, "%s is being taken over by another node; try again", id->name);
	return ret;
}

/* Its owner will have put it elsewhere in a moment. */
static int wait_for(const struct hf_logid *id, uint32_t slot, const char *owner, struct hf_err *err)
{
	uint64_t until = hf_now_ms() + OWNER_MS;
	int ret;

	while ((ret = stands(id, slot, err)) == 1 && hf_now_ms() < until)
		hf_sleep_ms(hfd.beat_ms < 200 ? hfd.beat_ms : 200);
	return ret == 1 ? hf_fail(err, HF_REFUSED, -EBUSY,
				  "%s, which is online on %s, still needs what lies there; try again when %s has written a base",
				  id->name, owner, owner) : ret;
}

static int one_log(const struct hf_logid *id, const struct hf_node_info *n, uint64_t retain, bool dry,
		   struct json_object *moved, struct hf_err *err)
{
	struct hf_log_stat st;
	int ret = stands(id, n->slot, err);

	if (ret != 1)
		return ret;
	ret = hfd.store->ops->stat(hfd.store, id, &st, err);
	if (ret)
		return ret;
	if (!dry && id->row && !st.released && !left_behind(id, &st))
		return wait_for(id, n->slot, st.node, err);
	if (!dry)
		ret = rebase(id, retain, err);
	if (!ret)
		json_object_array_add(moved, json_object_new_string(id->name));
	return ret;
}

/* What was online there, or elsewhere on a node that died, has an owner first: an administrator's decision. */
static int unowned(const struct hf_reg *reg, const struct hf_node_info *n, struct hf_err *err)
{
	char list[512] = "";
	unsigned count = 0;

	for (unsigned i = 0; i < reg->nres; i++) {
		const struct hf_resource *def = &reg->res[i];
		struct hf_log_stat st;
		int ret = stands(&def->id, n->slot, err);

		if (!ret)
			continue;
		if (ret > 0)
			ret = hfd.store->ops->stat(hfd.store, &def->id, &st, err);
		if (ret)
			return ret;
		if (!st.epoch || st.released || (st.owner == HF_NODE_UP && st.slot != n->slot))
			continue;
		if (strlen(list) + strlen(def->name) + 8 < sizeof(list))
			sprintf(list + strlen(list), "%s%s", count ? ", " : "", def->name);
		count++;
	}
	return count ? hf_fail(err, HF_REFUSED, -EBUSY,
			       "the newest state of %u resources lies in the area of %s, and their owner died without taking them offline: %s; bring them online on another node first, and offline again if they need not run",
			       count, n->name, list) : 0;
}

/* Who has just died is dead a lease later; who beats meanwhile is alive. One heartbeat may be news of
 * before. */
static int find_node(const char *name, struct hf_node_info *out, struct hf_err *err)
{
	uint64_t until = hf_now_ms() + 2ull * hfd.lease_ms, counter = 0;
	struct hf_node_info *v = calloc(HF_MAX_NODES, sizeof(*v));
	bool found;
	unsigned beats = 0;
	int count;

	for (;;) {
		found = false;
		count = v ? hfd.store->ops->nodes(hfd.store, v, HF_MAX_NODES) : -ENOMEM;
		for (int i = 0; i < count && !found; i++)
			if (!strcmp(v[i].name, name)) {
				*out = v[i];
				found = true;
			}
		if (out->counter != counter)
			beats++;
		counter = out->counter;
		if (!found || out->slot == hfd.id.slot || beats > 2 || hf_now_ms() > until ||
		    (out->state != HF_NODE_UP && out->state != HF_NODE_UNKNOWN))
			break;
		hf_sleep_ms(hfd.beat_ms);
	}
	free(v);
	if (count < 0)
		return hf_fail(err, HF_OK, count, "the nodes cannot be read: %s", strerror(-count));
	if (!found)
		return hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no node %s; `holdfast node list` shows those there are", name);
	if (out->slot == hfd.id.slot)
		return hf_fail(err, HF_REFUSED, -EBUSY, "%s is this node; remove it from another one, after its daemon was stopped", name);
	if (out->state == HF_NODE_UP)
		return hf_fail(err, HF_REFUSED, -EBUSY, "node %s is alive, on host %s; stop its daemon first", name, out->host);
	if (out->state == HF_NODE_UNKNOWN)
		return hf_fail(err, HF_UNAVAIL, -ETIMEDOUT, "it cannot be told whether node %s is alive", name);
	return 0;
}

static int node_remove(struct req *q, struct hf_err *err)
{
	bool dry = jget_bool(q->args, "dry_run");
	struct json_object *moved = json_object_new_array();
	struct regs *regs = NULL;
	struct hf_node_info n = { 0 };
	struct hf_logid id;
	int ret;

	if (hfd.store->ops != &hf_store_disk) {
		ret = hf_fail(err, HF_FAILED, -ENOTSUP, "only a quorum disk has areas of nodes");
		goto out;
	}
	ret = find_node(jget_str(q->args, "name"), &n, err);
	if (!ret)
		ret = regs_reload(err);
	if (ret)
		goto out;
	regs = regs_get();
	ret = unowned(regs->reg, &n, err);
	for (unsigned i = 0; i < regs->reg->nres && !ret; i++) {
		const struct hf_resource *def = &regs->reg->res[i];

		ret = one_log(&def->id, &n, def->policy.retain_gens ? def->policy.retain_gens : 1, dry, moved, err);
	}
	hf_reg_logid(&id);
	if (!ret)
		ret = one_log(&id, &n, 1, dry, moved, err);
	if (!ret && !dry)
		ret = hf_disk_remove(hfd.store, n.slot, n.uuid, err);
	if (ret)
		goto out;
	if (!dry)
		hf_logf(HF_LOG_NOTE, "node %s (slot %u) was removed", n.name, n.slot);
	q->result = jobj();
	jbytes(q->result, "name", n.name);
	ju64(q->result, "slot", n.slot);
	json_object_object_add(q->result, "moved", json_object_get(moved));
out:
	json_object_put(moved);
	regs_put(regs);
	return ret;
}

const struct verb verbs_node[] = {
	{ "node.remove", 0, "name:s! dry_run:b", node_remove },
	{ NULL, 0, NULL, NULL },
};
