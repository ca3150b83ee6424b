// SPDX-License-Identifier: GPL-2.0-or-later
/* What is counted: `metrics`, from memory; `report`, from this node's record and the logs' history. */
#include "account.h"
#include "verbs.h"
#include <stdlib.h>

struct collect { struct json_object *arr; };

static void add_metrics(struct resource *r, void *arg)
{
	struct json_object *o;
	struct regs *pin;
	bool known = resource_def(r, &pin) != NULL;

	regs_put(pin);
	if (!known)
		return;
	o = res_json(r);
	pthread_mutex_lock(&r->lock);
	json_object_object_add(o, "counted", account_json(r));
	pthread_mutex_unlock(&r->lock);
	json_object_array_add(((struct collect *)arg)->arr, o);
}

static struct json_object *hooks_json(void)
{
	struct json_object *o = jobj();
	struct hook_counts c;

	hooks_counted(&c);
	ju64(o, "runs", c.runs);
	ju64(o, "ms", c.ms);
	ju64(o, "failed", c.failed);
	ju64(o, "timed_out", c.timed_out);
	ju64(o, "dropped", c.dropped);
	ju64(o, "waiting", c.waiting);
	return o;
}

static int metrics(struct req *q, struct hf_err *err)
{
	struct collect c = { .arr = json_object_new_array() };
	struct json_object *nodes;

	resources_each(add_metrics, &c);
	q->result = jobj();
	jstr(q->result, "version", HF_VERSION);
	jstr(q->result, "node", hfd.id.name);
	jstr(q->result, "cluster", hfd.cluster);
	verbs_put_health(q->result);
	ju64(q->result, "store_silent_ms", beat_silent_ms());
	nodes = verbs_nodes();
	json_object_object_add(q->result, "nodes", nodes);
	json_object_object_add(q->result, "hooks", hooks_json());
	json_object_object_add(q->result, "resources", c.arr);
	return 0;
}

/* One resource, or what is of none. */
struct part {
	struct part *next;
	char name[HF_NAME_MAX + 1];
	uint64_t commits, fuzzy, lag_ms, lag_max_ms, late, failures, rpo_ms, took_over, failed, lost;
	struct json_object *by_node, *takeovers;
	uint64_t history_ms, epoch, gen;	/* of the generation that was read last */
	uint32_t slot;
};

struct report {
	uint64_t from, to;
	const char *only;
	struct part *parts;
	struct json_object *forced, *states;
	struct hf_node_info *nodes;
	unsigned nnodes;
	struct part *now;	/* whose history is read */
	bool oom;
};

static struct part *part_of(struct report *p, const char *name)
{
	struct part **at, *n;

	for (at = &p->parts; *at && strcmp((*at)->name, name) < 0; at = &(*at)->next)
		;
	if (*at && !strcmp((*at)->name, name))
		return *at;
	n = hf_alloc(sizeof(*n));
	if (!n) {
		p->oom = true;
		return NULL;
	}
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->by_node = jobj();
	n->takeovers = json_object_new_array();
	n->next = *at;
	*at = n;
	return n;
}

static int read_line(void *ctx, struct json_object *o)
{
	const char *kind = jget_str(o, "kind"), *name = jget_str(o, "resource");
	struct report *p = ctx;
	struct part *t;

	if (!kind || (p->only && (!name || strcmp(name, p->only))))
		return 0;
	if (!strcmp(kind, "forced")) {
		json_object_array_add(p->forced, json_object_get(o));
		return 0;
	}
	t = name && !hf_name_check(name, "resource", NULL) ? part_of(p, name) : NULL;
	if (!t)
		return 0;
	if (!strcmp(kind, "commits")) {
		t->commits += jget_u64(o, "commits");
		t->fuzzy += jget_u64(o, "fuzzy");
		t->lag_ms += jget_u64(o, "lag_sum_ms");
		if (jget_u64(o, "lag_max_ms") > t->lag_max_ms)
			t->lag_max_ms = jget_u64(o, "lag_max_ms");
		t->late += jget_u64(o, "late");
		t->failures += jget_u64(o, "failures");
	} else if (!strcmp(kind, "takeover")) {
		t->took_over++;
	} else if (!strcmp(kind, "unconfirmed")) {
		t->lost += jget_u64(o, "count");
	} else if (!strcmp(kind, "state")) {
		t->failed += jget_str(o, "to") && !strcmp(jget_str(o, "to"), "failed");
		json_object_array_add(p->states, json_object_get(o));
	}
	return 0;
}

static void begin_one(struct resource *r, void *arg)
{
	struct report *p = arg;
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	struct part *t = def && (!p->only || !strcmp(p->only, r->name)) ? part_of(p, r->name) : NULL;
	uint64_t oldest, now = hf_now_ns();

	if (t) {
		t->rpo_ms = def->policy.rpo_ms;
		account_flush(r);
		/* what still waits is late already */
		pthread_mutex_lock(&r->lock);
		oldest = account_oldest(r);
		pthread_mutex_unlock(&r->lock);
		if (oldest && oldest < now && (now - oldest) / 1000000 > t->lag_max_ms)
			t->lag_max_ms = (now - oldest) / 1000000;
	}
	regs_put(pin);
}

static const char *node_name(struct report *p, uint32_t slot, char buf[32])
{
	for (unsigned i = 0; i < p->nnodes; i++)
		if (p->nodes[i].slot == slot && p->nodes[i].state != HF_NODE_FREE)
			return p->nodes[i].name;
	snprintf(buf, 32, "slot %u", slot);
	return buf;
}

static int read_gen(void *ctx, const struct hf_gen_info *g)
{
	struct report *p = ctx;
	struct part *t = p->now;
	uint64_t ms = g->when_ns / 1000000;
	struct json_object *o;
	char b[32];

	if (g->kind != HF_REC_DELTA && g->kind != HF_REC_BASE)
		return 0;
	if (!t->history_ms)
		t->history_ms = ms;
	/* a base of a generation that was counted is the same state once more */
	if (ms >= p->from && ms <= p->to && g->gen != t->gen && !g->whole) {
		const char *node = node_name(p, g->slot, b);

		ju64(t->by_node, node, jget_u64(t->by_node, node) + 1);
		if (g->slot != t->slot && t->epoch) {
			o = jobj();
			ju64(o, "epoch", g->epoch);
			jbytes(o, "node", node);
			ju64(o, "when_ms", ms);
			json_object_array_add(t->takeovers, o);
		}
	}
	t->epoch = g->epoch;
	t->slot = g->slot;
	t->gen = g->gen;
	return 0;
}

static int read_history(struct report *p, struct hf_err *err)
{
	struct regs *pin = regs_get();
	int ret = 0;

	for (unsigned i = 0; i < pin->reg->nres && !ret; i++) {
		if (p->only && strcmp(p->only, pin->reg->res[i].name))
			continue;
		p->now = part_of(p, pin->reg->res[i].name);
		if (!p->now)
			break;
		ret = hf_log_history(hfd.store, &pin->reg->res[i].id, read_gen, p, err);
		if (ret == -ENOENT)	/* never online: no generations */
			ret = 0;
	}
	regs_put(pin);
	return ret;
}

static struct json_object *part_json(const struct part *t, const struct report *p)
{
	struct json_object *o = jobj(), *lag = jobj();

	jstr(o, "resource", t->name);
	ju64(o, "commits", t->commits);
	ju64(o, "fuzzy", t->fuzzy);
	ju64(o, "failures", t->failures);
	ju64(lag, "mean_ms", t->commits ? t->lag_ms / t->commits : 0);
	ju64(lag, "max_ms", t->lag_max_ms);
	json_object_object_add(o, "lag", lag);
	ju64(o, "rpo_ms", t->rpo_ms);
	ju64(o, "late", t->late);
	ju64(o, "unconfirmed", t->lost);
	if (t->rpo_ms)
		jbool(o, "rpo_kept", !t->late && t->lag_max_ms <= t->rpo_ms && !t->lost);
	else
		json_object_object_add(o, "rpo_kept", NULL);
	ju64(o, "failed", t->failed);
	ju64(o, "taken_over_here", t->took_over);
	json_object_object_add(o, "generations", json_object_get(t->by_node));
	json_object_object_add(o, "owners", json_object_get(t->takeovers));
	if (t->history_ms > p->from)
		ju64(o, "history_ms", t->history_ms);
	return o;
}

static int report(struct req *q, struct hf_err *err)
{
	struct report p = { .from = jget_u64(q->args, "from_ms"), .to = hf_wall_ns() / 1000000,
			    .only = jget_str(q->args, "resource"), .forced = json_object_new_array(),
			    .states = json_object_new_array() };
	struct json_object *arr = json_object_new_array();
	struct hf_err e = { 0 };
	struct resource *r = NULL;
	struct part *t;
	uint64_t to = 0;
	int ret = 0;

	if (jhas(q->args, "to_ms") && jget_u64(q->args, "to_ms") < p.to)
		p.to = to = jget_u64(q->args, "to_ms");
	if (p.from > p.to)
		ret = hf_fail(err, HF_USAGE, -EINVAL, "report: it begins after its end");
	if (!ret && p.only) {
		r = verb_resource(p.only, err);
		if (!r)
			ret = err->exit == HF_USAGE ? -EINVAL : -ENOENT;
	}
	if (ret)
		goto out;
	resources_each(begin_one, &p);
	/* what was just written is of the period */
	if (!to)
		p.to = hf_wall_ns() / 1000000;
	record_each(p.from, p.to, read_line, &p);
	p.nodes = calloc(HF_MAX_NODES, sizeof(*p.nodes));
	p.nnodes = p.nodes ? beat_nodes(p.nodes, HF_MAX_NODES) : 0;
	ret = read_history(&p, &e);
	if (p.oom) {
		ret = hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
		goto out;
	}
	for (t = p.parts; t; t = t->next)
		json_object_array_add(arr, part_json(t, &p));
	q->result = jobj();
	jstr(q->result, "node", hfd.id.name);
	ju64(q->result, "from_ms", p.from);
	ju64(q->result, "to_ms", p.to);
	json_object_object_add(q->result, "resources", json_object_get(arr));
	json_object_object_add(q->result, "forced", json_object_get(p.forced));
	json_object_object_add(q->result, "states", json_object_get(p.states));
	/* what this node knows itself is there without the store */
	if (ret)
		jstr(q->result, "note", e.msg[0] ? e.msg : strerror(-ret));
	ret = 0;
out:
	while ((t = p.parts)) {
		p.parts = t->next;
		json_object_put(t->by_node);
		json_object_put(t->takeovers);
		free(t);
	}
	free(p.nodes);
	json_object_put(arr);
	json_object_put(p.forced);
	json_object_put(p.states);
	resource_put(r);
	return ret;
}

const struct verb verbs_count[] = {
	{ "metrics", V_READ | V_MEMORY, "", metrics },
	{ "report", V_READ, "resource:s from_ms:u to_ms:u", report },
	{ NULL, 0, NULL, NULL },
};
