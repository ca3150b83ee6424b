// SPDX-License-Identifier: GPL-2.0-or-later
/* Verbs that only look, from memory. What reads the store is in verbs_store.c. */
#include "account.h"
#include "verbs.h"
#include <fnmatch.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const node_states[] = {
	[HF_NODE_FREE] = "free", [HF_NODE_UP] = "up", [HF_NODE_DOWN] = "down",
	[HF_NODE_LEFT] = "left", [HF_NODE_UNKNOWN] = "unknown",
};

/* With why it is not the module, where that was looked for. */
static void put_source(struct json_object *o)
{
	jstr(o, "source", hf_track_source(hfd.track));
	if (hf_track_why(hfd.track)[0])
		jstr(o, "source_why", hf_track_why(hfd.track));
}

/* "ok", or what is wrong with it; and what is to be mended while it is */
static void put_store(struct json_object *o)
{
	struct json_object *arr = json_object_new_array();
	char *text = beat_store_text(), w[512];

	jstr(o, "store", text);
	free(text);
	for (unsigned i = 0; !hfd.store->ops->warning(hfd.store, i, w, sizeof(w)); i++)
		json_object_array_add(arr, json_object_new_string(w));
	json_object_object_add(o, "store_warnings", arr);
}

void verbs_put_health(struct json_object *o)
{
	put_source(o);
	put_store(o);
}

static int ping(struct req *q, struct hf_err *err)
{
	q->result = jobj();
	jstr(q->result, "version", HF_VERSION);
	jstr(q->result, "node", hfd.id.name);
	jstr(q->result, "cluster", hfd.cluster);
	ju64(q->result, "slot", hfd.id.slot);
	ju64(q->result, "pid", getpid());
	jstr(q->result, "incarnation", hfd.incarnation);
	verbs_put_health(q->result);
	return 0;
}

struct json_object *verbs_nodes(void)
{
	struct json_object *arr = json_object_new_array(), *o;
	struct hf_node_info *n = calloc(HF_MAX_NODES, sizeof(*n));
	unsigned count = n ? beat_nodes(n, HF_MAX_NODES) : 0;
	char uuid[37];

	for (unsigned i = 0; i < count; i++) {
		if (n[i].state == HF_NODE_FREE)
			continue;
		o = jobj();
		jbytes(o, "name", n[i].name);
		ju64(o, "slot", n[i].slot);
		hf_uuid_str(n[i].uuid, uuid);
		jstr(o, "uuid", uuid);
		jstr(o, "state", n[i].state <= HF_NODE_UNKNOWN ? node_states[n[i].state] : "unknown");
		jbytes(o, "host", n[i].host);
		jbytes(o, "version", n[i].version);
		ju64(o, "age_ms", n[i].age_ms);
		jbool(o, "self", n[i].slot == hfd.id.slot);
		json_object_array_add(arr, o);
	}
	free(n);
	return arr;
}

static int node_list(struct req *q, struct hf_err *err)
{
	q->result = jobj();
	json_object_object_add(q->result, "nodes", verbs_nodes());
	return 0;
}

static void warn(struct json_object *arr, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void warn(struct json_object *arr, const char *fmt, ...)
{
	char s[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s, sizeof(s), fmt, ap);
	va_end(ap);
	json_object_array_add(arr, json_object_new_string(s));
}

/* State and owner as seen from here, when this node does nothing with it. */
static const char *state_elsewhere(const struct hf_log_stat *st)
{
	if (!st->epoch || st->released)
		return "offline";
	if (st->owner == HF_NODE_UP || st->owner == HF_NODE_UNKNOWN)
		return st->mine ? "owner-lost" : "online";
	return "owner-lost";
}

static void put_unconfirmed(struct json_object *o, const struct journal *j)
{
	struct json_object *u = jobj();

	ju64(u, "generation", j->unc_generation);
	ju64(u, "count", j->unc_count);
	jstr(u, "displaced", j->unc_displaced[0] ? j->unc_displaced : NULL);
	json_object_object_add(o, "unconfirmed", u);
}

/* Stopped with changes that were not committed: how to keep them, or not. */
static void put_left(struct json_object *w, const struct resource *r)
{
	const char *name = r->name;
	char keep[200];

	if (r->st_valid && r->st.gen > r->j.left_generation)
		snprintf(keep, sizeof(keep), "; generation %llu is newer, from another node, so", (unsigned long long)r->st.gen);
	else
		snprintf(keep, sizeof(keep), ", `holdfast online %s --keep-local` here makes them the next generation,", name);
	warn(w, "left-behind: stopped at generation %llu, with changes on this node that could not be committed (%s); `holdfast diff %s` shows them%s `holdfast online %s` here overwrites them, and keeps them aside",
	     (unsigned long long)r->j.left_generation, r->j.left_why, name, keep, name);
}

static void put_warnings(struct json_object *w, struct resource *r)
{
	if (r->stale)
		warn(w, "stale: this node was fenced out%s",
		     r->examine ? "; what it holds is being compared" : "");
	if (r->without_store)
		warn(w, "without-store: online with what is on this node; nothing is committed");
	if (r->unreleased)
		warn(w, "unreleased: stopped, but its last changes are not committed yet, and it still belongs to this node; that is tried again every few seconds");
	if (r->j.has_left && !r->live)
		put_left(w, r);
	if (r->j.half && !r->live)
		warn(w, "halfway: a takeover or rollback did not end here, so its trees may be half of a generation; `holdfast online %s` ends it", r->name);
	if (r->degraded)
		warn(w, "degraded: commits fail; changes are kept and tried again");
	if (r->warn_guard[0])
		warn(w, "%s", r->warn_guard);
	if (r->warn_commit[0])
		warn(w, "%s", r->warn_commit);
	if (r->warn_other[0])
		warn(w, "%s", r->warn_other);
	if (r->warn_behind[0])
		warn(w, "behind: %s", r->warn_behind);
	if (r->live && r->short_from)
		warn(w, "history: begins at generation %llu, later than retain asks for: what is older went for want of space",
		     (unsigned long long)r->short_from);
	for (unsigned i = 0; i < r->ncp; i++) {
		if (r->cp[i]->lost)
			warn(w, "lost: %s is gone or not the tree it was; it is not captured", r->cp[i]->path);
		if (r->cp[i]->watch && strcmp(hf_watch_quality(r->cp[i]->watch), "events"))
			warn(w, "coarse: %s is scanned, because not all of it can be tracked", r->cp[i]->path);
	}
}

struct json_object *res_json(struct resource *r)
{
	struct json_object *o = jobj(), *w = json_object_new_array(), *warm = NULL;
	const struct hf_resource *def;
	uint64_t dirty = 0, waits;
	const char *quality = NULL;
	bool here, late;

	pthread_mutex_lock(&r->lock);
	def = regs_find(r->regs, r->name);
	here = r->live || r->state == RS_ONLINE_PENDING || r->state == RS_OFFLINE_PENDING;
	jstr(o, "name", r->name);
	jstr(o, "type", def && def->type ? def->type : "");
	jstr(o, "state", r->state != RS_OFFLINE ? rstate_name(r->state) : state_elsewhere(&r->st));
	if (here) {
		jstr(o, "owner", hfd.id.name);
		jstr(o, "owner_state", "up");
		ju64(o, "epoch", r->epoch);
		ju64(o, "generation", r->gen);
		ju64(o, "confirmed", r->confirmed);
		jbool(o, "consistent", r->consistent);
	} else {
		jstr(o, "owner", r->st.epoch && !r->st.released ? r->st.node : NULL);
		jstr(o, "owner_state", r->st.epoch && !r->st.released ? node_states[r->st.owner] : NULL);
		ju64(o, "epoch", r->st.epoch);
		ju64(o, "generation", r->st.gen);
		ju64(o, "confirmed", r->st.gen);
		json_object_object_add(o, "consistent", NULL);
	}
	if (here && r->account.when_ms)
		ju64(o, "when_ms", r->account.when_ms);
	jbool(o, "degraded", r->degraded);
	for (unsigned i = 0; i < r->ncp; i++) {
		struct hf_watch *watch = r->cp[i]->watch;

		if (!watch)
			continue;
		dirty += hf_watch_count(watch);
		if (!quality || strcmp(quality, "events") == 0)
			quality = hf_watch_quality(watch);
	}
	ju64(o, "dirty", dirty);
	waits = alarm_waits_ms(r);
	ju64(o, "oldest_dirty_ms", waits);
	ju64(o, "checkpoints", def ? def->ncp : r->ncp);
	jstr(o, "quality", quality);
	if (!here)
		warm = follow_json(r);
	if (warm) {
		/* of the newest generation that this node has seen of another's log */
		if (jget_u64(warm, "when_ms"))
			ju64(o, "when_ms", jget_u64(warm, "when_ms"));
		json_object_object_add(o, "warm", warm);
	}
	/* a stop without the store holds back what no dirty set tells of */
	late = def && def->policy.rpo_ms && (waits > def->policy.rpo_ms || (r->overdue_ms && r->unreleased && !r->live));
	if (late && waits < r->overdue_ms)
		waits = r->overdue_ms;
	if (def && def->policy.rpo_ms) {
		ju64(o, "rpo_ms", def->policy.rpo_ms);
		jbool(o, "rpo_exceeded", late);
	}
	if (r->error[0])
		jstr(o, "error", r->error);
	put_warnings(w, r);
	if (late)
		warn(w, "rpo: changes wait for %llu s to be confirmed, longer than rpo allows (%llu ms)",
		     (unsigned long long)waits / 1000, (unsigned long long)def->policy.rpo_ms);
	json_object_object_add(o, "warnings", w);
	if (r->j.has_unconfirmed)
		put_unconfirmed(o, &r->j);
	pthread_mutex_unlock(&r->lock);
	return o;
}

struct json_object *cp_json(const struct hf_resource *def, const struct hf_checkpoint *cp)
{
	struct json_object *o = jobj(), *x = json_object_new_array();

	jstr(o, "resource", def->name);
	ju64(o, "id", cp->id);
	jbytes(o, "path", cp->path);
	jstr(o, "view", cp->view && *cp->view ? cp->view : "native");
	jstr(o, "kind", cp->crypto ? "crypto" : "tree");
	jbool(o, "file", cp->file);
	for (unsigned i = 0; i < cp->nexclude; i++)
		json_object_array_add(x, json_object_new_string(cp->exclude[i]));
	json_object_object_add(o, "exclude", x);
	return o;
}

struct collect { struct json_object *arr; const char *type, *name; };

static void add_res(struct resource *r, void *arg)
{
	struct collect *c = arg;
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	bool fits = def && (!c->type || !strcmp(def->type ? def->type : "", c->type)) &&
		    (!c->name || !strcmp(r->name, c->name));

	regs_put(pin);
	if (fits)
		json_object_array_add(c->arr, res_json(r));
}

static int resource_list(struct req *q, struct hf_err *err)
{
	struct collect c = { .arr = json_object_new_array(), .type = jget_str(q->args, "type") };

	resources_each(add_res, &c);
	q->result = jobj();
	json_object_object_add(q->result, "resources", c.arr);
	return 0;
}

/* from memory alone: an unknown name is not looked for in the store */
static struct resource *known(const char *name, struct hf_err *err)
{
	struct resource *r;

	if (hf_name_check(name, "resource", err))
		return NULL;
	r = resource_get(name);
	if (!r)
		hf_fail(err, HF_NOTFOUND, -ENOENT,
			"there is no resource %s; `holdfast resource list` shows those there are", name);
	return r;
}

static int status(struct req *q, struct hf_err *err)
{
	struct collect c = { .name = jget_str(q->args, "resource") };
	struct resource *r;

	if (c.name) {
		r = known(c.name, err);
		if (!r)
			return err->exit == HF_USAGE ? -EINVAL : -ENOENT;
		resource_put(r);
	}
	c.arr = json_object_new_array();
	resources_each(add_res, &c);
	q->result = jobj();
	jstr(q->result, "node", hfd.id.name);
	jstr(q->result, "cluster", hfd.cluster);
	verbs_put_health(q->result);
	json_object_object_add(q->result, "resources", c.arr);
	return 0;
}

static void put_ms_value(struct json_object *o, const char *key, uint64_t ms)
{
	char s[32];

	if (ms % 1000 == 0)
		snprintf(s, sizeof(s), "%llus", (unsigned long long)ms / 1000);
	else
		snprintf(s, sizeof(s), "%llums", (unsigned long long)ms);
	jstr(o, key, s);
}

static struct json_object *policy_json(const struct hf_policy *p)
{
	struct json_object *o = jobj();
	char s[64];

	put_ms_value(o, "settle", p->settle_ms);
	put_ms_value(o, "min-pause", p->min_pause_ms);
	put_ms_value(o, "commit-timeout", p->commit_timeout_ms);
	snprintf(s, sizeof(s), "%u", p->tolerate);
	jstr(o, "tolerate", s);
	jstr(o, "on-exceed", p->exceed_failed ? "failed" : "degraded");
	put_ms_value(o, "rpo", p->rpo_ms);
	snprintf(s, sizeof(s), "%llu", (unsigned long long)p->retain_gens);
	if (p->retain_age_s)
		snprintf(s + strlen(s), sizeof(s) - strlen(s), ",%llus", (unsigned long long)p->retain_age_s);
	jstr(o, "retain", s);
	jstr(o, "takeover-from", p->takeover_consistent ? "consistent" : "newest");
	jstr(o, "owners", p->owners_number ? "number" : "name");
	jstr(o, "sockets", p->sockets_keep ? "keep" : "skip");
	snprintf(s, sizeof(s), "%u%%", p->delete_guard_pct);
	jstr(o, "delete-guard", s);
	jstr(o, "strict-stop", p->strict_stop ? "yes" : "no");
	jstr(o, "managed", p->managed ? "yes" : "no");
	return o;
}

static int resource_show(struct req *q, struct hf_err *err)
{
	struct resource *r = known(jget_str(q->args, "name"), err);
	struct json_object *arr, *set;
	struct regs *pin;
	const struct hf_resource *def;
	int ret = 0;

	if (!r)
		return err->exit == HF_USAGE ? -EINVAL : -ENOENT;
	def = resource_def(r, &pin);
	if (!def) {
		ret = hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no resource %s", r->name);
		goto out;
	}
	q->result = res_json(r);
	arr = json_object_new_array();
	for (unsigned i = 0; i < def->ncp; i++)
		json_object_array_add(arr, cp_json(def, &def->cp[i]));
	/* in `resource show` it is the list, elsewhere their number */
	json_object_object_add(q->result, "checkpoints", arr);
	json_object_object_add(q->result, "policy", policy_json(&def->policy));
	set = def->policy_json ? json_tokener_parse(def->policy_json) : NULL;
	json_object_object_add(q->result, "policy_set", set ? set : jobj());
out:
	regs_put(pin);
	resource_put(r);
	return ret;
}

static int checkpoint_list(struct req *q, struct hf_err *err)
{
	const char *name = jget_str(q->args, "resource"), *type = jget_str(q->args, "type");
	const char *kind = jget_str(q->args, "kind"), *pattern = jget_str(q->args, "pattern");
	struct json_object *arr;
	struct regs *pin;

	if (kind && strcmp(kind, "tree") && strcmp(kind, "crypto"))
		return hf_fail(err, HF_USAGE, -EINVAL, "checkpoint.list: kind is tree or crypto");
	if (name && hf_name_check(name, "resource", err))
		return -EINVAL;
	pin = regs_get();
	if (name && !regs_find(pin, name)) {
		regs_put(pin);
		return hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no resource %s", name);
	}
	arr = json_object_new_array();
	for (unsigned i = 0; pin && i < pin->reg->nres; i++) {
		const struct hf_resource *d = &pin->reg->res[i];

		if ((name && strcmp(name, d->name)) || (type && strcmp(type, d->type ? d->type : "")))
			continue;
		for (unsigned k = 0; k < d->ncp; k++) {
			const struct hf_checkpoint *cp = &d->cp[k];

			if (kind && cp->crypto != !strcmp(kind, "crypto"))
				continue;
			if (pattern && fnmatch(pattern, cp->path, 0))
				continue;
			json_object_array_add(arr, cp_json(d, cp));
		}
	}
	regs_put(pin);
	q->result = jobj();
	json_object_object_add(q->result, "checkpoints", arr);
	return 0;
}

static int watch(struct req *q, struct hf_err *err)
{
	const char *name = jget_str(q->args, "resource");
	struct resource *r;

	if (name) {
		r = known(name, err);
		if (!r)
			return err->exit == HF_USAGE ? -EINVAL : -ENOENT;
		resource_put(r);
		snprintf(q->watch_resource, sizeof(q->watch_resource), "%s", name);
	}
	q->watch = true;
	return 0;
}

const struct verb verbs_read[] = {
	{ "ping", V_READ | V_MEMORY, "", ping },
	{ "node.list", V_READ | V_MEMORY, "", node_list },
	{ "resource.list", V_READ | V_MEMORY, "type:s", resource_list },
	{ "resource.show", V_READ | V_MEMORY, "name:s!", resource_show },
	{ "checkpoint.list", V_READ | V_MEMORY, "resource:s type:s kind:s pattern:s", checkpoint_list },
	{ "status", V_READ | V_MEMORY, "resource:s", status },
	{ "watch", V_READ | V_MEMORY, "resource:s", watch },
	{ NULL, 0, NULL, NULL },
};
