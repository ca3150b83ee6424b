// SPDX-License-Identifier: GPL-2.0-or-later
/* Verbs that look into the store or into what was kept aside: history, displaced. */
#include "group_look.h"
#include "replicator.h"
#include "treedb.h"
#include "verbs.h"
#include <stdlib.h>

struct gens {
	struct json_object *arr;
	struct json_object *last;
	uint64_t last_gen;
	struct hf_node_info *nodes;
	unsigned nnodes;
	struct json_object *pins;
	struct hf_log *log;
	struct group_look *look;
	uint64_t first;
	uint64_t first_ms;
	uint64_t epoch;			/* of all of them, */
	bool epochs, pinned;		/* or there are several; a pin was put in one */
};

static void put_node(struct gens *g, struct json_object *o, uint32_t slot)
{
	char s[32];

	for (unsigned i = 0; i < g->nnodes; i++)
		if (g->nodes[i].slot == slot && g->nodes[i].state != HF_NODE_FREE) {
			jbytes(o, "node", g->nodes[i].name);
			return;
		}
	snprintf(s, sizeof(s), "slot %u", slot);
	jstr(o, "node", s);
}

static int add_gen(void *ctx, const struct hf_gen_info *i)
{
	struct gens *g = ctx;
	struct json_object *o;

	if (i->kind != HF_REC_DELTA && i->kind != HF_REC_BASE)
		return 0;
	g->epochs |= g->epoch && g->epoch != i->epoch;
	g->epoch = i->epoch;
	g->pinned |= i->pins;
	/* a base of a generation that is listed: the same state once more */
	if (i->kind == HF_REC_BASE && g->last && g->last_gen == i->gen) {
		jbool(g->last, "base", true);
		return 0;
	}
	o = jobj();
	ju64(o, "generation", i->gen);
	if (!i->whole) {
		ju64(o, "epoch", i->epoch);
		put_node(g, o, i->slot);
	}
	ju64(o, "when_ms", i->when_ns / 1000000);
	if (!g->first) {
		g->first = i->gen;
		g->first_ms = i->when_ns / 1000000;
	}
	jbool(o, "consistent", !(i->flags & HF_REC_FUZZY));
	if (!i->whole) {
		ju64(o, "puts", i->puts);
		ju64(o, "dels", i->dels);
	}
	ju64(o, "bytes", i->bytes);
	jbool(o, "base", i->kind == HF_REC_BASE);
	jbytes(o, "note", i->note);
	if (i->group && g->look)
		json_object_object_add(o, "group", group_json(g->look, i->group));
	json_object_array_add(g->arr, o);
	g->last = o;
	g->last_gen = i->gen;
	return 0;
}

static int add_pin(void *ctx, const struct hf_pin_info *p)
{
	struct gens *g = ctx;
	struct json_object *o = jobj();
	struct hf_group *group;
	int ret = hf_log_pin_group(g->log, p, &group);

	jstr(o, "name", p->name);
	ju64(o, "generation", p->gen);
	ju64(o, "when_ms", p->when_ns / 1000000);
	ju64(o, "pinned_ms", p->made_ns / 1000000);
	jbool(o, "consistent", !(p->flags & HF_REC_FUZZY));
	ju64(o, "entries", p->items);
	ju64(o, "bytes", p->bytes);
	if (group && g->look)
		json_object_object_add(o, "group", group_json(g->look, group));
	free(group);
	json_object_array_add(g->pins, o);
	return ret;
}

static int pins(const struct hf_resource *def, struct gens *g, struct hf_err *err)
{
	int ret = hf_log_read(hfd.store, &def->id, 0, &g->log, err);

	if (ret)
		return ret;
	ret = hf_log_pins(g->log, add_pin, g);
	hf_log_close(g->log);
	return ret;
}

/* Space goes before history; then who counts on it is told. */
static char *shortened(const struct hf_resource *def, const struct gens *g)
{
	uint64_t now = hf_wall_ns() / 1000000, age = def->policy.retain_age_s * 1000;
	uint64_t from = g->last_gen > def->policy.retain_gens ? g->last_gen - def->policy.retain_gens : 1;

	if (g->first <= 1 || (g->first <= from && (!age || g->first_ms + age <= now)))
		return NULL;
	return hf_strf("history begins at generation %llu, later than retain asks for: what is older went for want of space, or before retain was set so",
		       (unsigned long long)g->first);
}

static void mark_gone(void *ctx, uint64_t gen)
{
	struct json_object *arr = ctx, *o, *v;

	for (size_t i = 0; i < json_object_array_length(arr); i++) {
		o = json_object_array_get_idx(arr, i);
		if (json_object_object_get_ex(o, "generation", &v) && json_object_get_uint64(v) == gen)
			jbool(o, "gone", true);
	}
}

/* What the epoch that is held wrote is there: with nothing else, nothing need be looked for. */
static int gone(const struct hf_resource *def, const struct gens *g, struct hf_err *err)
{
	struct hf_log_stat st;
	int ret = hfd.store->ops->stat(hfd.store, &def->id, &st, err);

	if (ret || (!g->epochs && !st.released && st.epoch == g->epoch))
		return ret;
	return hf_log_gone(hfd.store, &def->id, mark_gone, g->arr, err);
}

static int history(struct req *q, struct hf_err *err)
{
	struct gens g = { .arr = json_object_new_array(), .pins = json_object_new_array() };
	const struct hf_resource *def;
	struct resource *r;
	struct regs *pin;
	int ret = verb_registered_now(jget_str(q->args, "resource"), &r, &pin, &def, err);

	if (ret)
		goto out;
	g.look = group_look_new(pin);
	g.nodes = calloc(HF_MAX_NODES, sizeof(*g.nodes));
	g.nnodes = g.nodes ? beat_nodes(g.nodes, HF_MAX_NODES) : 0;
	ret = hf_log_history(hfd.store, &def->id, add_gen, &g, err);
	if (!ret)
		ret = gone(def, &g, err);
	/* a base tells of all there are, so of one that is there what was read told */
	if (!ret && g.pinned)
		ret = pins(def, &g, err);
	if (ret == -ENOENT)
		ret = 0;	/* registered, and never online: no generations */
	if (!ret) {
		char *note = shortened(def, &g);

		q->result = jobj();
		json_object_object_add(q->result, "generations", json_object_get(g.arr));
		json_object_object_add(q->result, "pins", json_object_get(g.pins));
		if (note)
			jstr(q->result, "note", note);
		free(note);
	}
out:
	group_look_free(g.look);
	free(g.nodes);
	json_object_put(g.arr);
	json_object_put(g.pins);
	regs_put(pin);
	resource_put(r);
	return ret;
}

static int pin(struct req *q, uint64_t gen, struct hf_err *err)
{
	const char *name = jget_str(q->args, "name");
	struct resource *r;
	struct job *j;
	int ret = hf_name_check(name, "pin", err);

	if (ret)
		return ret;
	r = verb_resource(jget_str(q->args, "resource"), err);
	if (!r)
		return err->exit == HF_USAGE ? -EINVAL : -ENOENT;
	j = job_new(job_pin);
	if (!j) {
		ret = hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
		goto out;
	}
	snprintf(j->pin, sizeof(j->pin), "%s", name);
	j->pin_gen = gen;
	ret = job_run(r, j, err);
	if (!ret && j->ret) {
		*err = j->err;
		ret = j->ret;
	}
	if (!ret) {
		q->result = jobj();
		jstr(q->result, "name", name);
		ju64(q->result, "generation", j->gen);
	}
	job_put(j);
out:
	resource_put(r);
	return ret;
}

static int history_pin(struct req *q, struct hf_err *err)
{
	uint64_t gen = jget_u64(q->args, "generation");

	if (!gen)
		return hf_fail(err, HF_USAGE, -EINVAL, "generations begin at 1");
	return pin(q, gen, err);
}

static int history_unpin(struct req *q, struct hf_err *err)
{
	return pin(q, 0, err);
}

struct sets {
	struct json_object *arr, *entries;
	bool nameless;
	struct regs *regs;
	const char *only;	/* this set; NULL: all */
};

/* Names inside crypto checkpoints are not told; of what is not registered any more, neither. That of a
 * single file is the checkpoint's. */
static bool is_nameless(struct regs *regs, const char *resource, const char *path)
{
	const struct hf_resource *def = regs_find(regs, resource);

	for (unsigned i = 0; def && i < def->ncp; i++)
		if (!strcmp(def->cp[i].path, path))
			return def->cp[i].crypto || def->cp[i].file;
	return true;
}

static int add_set(void *ctx, const char *id, uint64_t when_ns, const char *reason, const char *resource,
		   const char *checkpoint, const char *rel, const struct hf_attr *a)
{
	struct sets *s = ctx;
	struct json_object *o = jobj();
	char mode[16];

	if (s->only && strcmp(id, s->only)) {
		json_object_put(o);
		return 0;
	}
	if (!rel) {
		jstr(o, "id", id);
		jbytes(o, "resource", resource);
		jbytes(o, "checkpoint", checkpoint);
		ju64(o, "when_ms", when_ns / 1000000);
		jbytes(o, "reason", reason);
		s->entries = json_object_new_array();
		json_object_object_add(o, "entries", s->entries);
		json_object_array_add(s->arr, o);
		s->nameless = is_nameless(s->regs, resource, checkpoint);
		return 0;
	}
	jbytes(o, "rel", s->nameless ? "" : rel);
	ju64(o, "size", a ? a->size : 0);
	snprintf(mode, sizeof(mode), "%06o", a ? a->mode : 0);
	jstr(o, "mode", mode);
	json_object_array_add(s->entries, o);
	return 0;
}

static int displaced_list(struct req *q, struct hf_err *err)
{
	const char *name = jget_str(q->args, "resource");
	struct sets s = { .arr = json_object_new_array(), .regs = regs_get() };
	int ret = 0;

	if (name)
		ret = hf_name_check(name, "resource", err);
	if (!ret)
		ret = hf_displaced_list(hfd.displaced_dir, hfd.keys->local, name, add_set, &s, err);
	if (ret == -ENOENT)
		ret = 0;
	if (!ret) {
		q->result = jobj();
		json_object_object_add(q->result, "sets", json_object_get(s.arr));
	}
	json_object_put(s.arr);
	regs_put(s.regs);
	return ret;
}

static int displaced_show(struct req *q, struct hf_err *err)
{
	const char *name = jget_str(q->args, "resource");
	struct sets s = { .arr = json_object_new_array(), .regs = regs_get(), .only = jget_str(q->args, "id") };
	int ret = hf_name_check(name, "resource", err);

	if (!ret)
		ret = hf_displaced_list(hfd.displaced_dir, hfd.keys->local, name, add_set, &s, err);
	/* others that are damaged are no reason */
	if ((!ret || ret == -EBADMSG) && json_object_array_length(s.arr)) {
		q->result = jobj();
		json_object_object_add(q->result, "sets", json_object_get(s.arr));
		ret = 0;
	} else if (!ret || ret == -ENOENT) {
		ret = hf_fail(err, HF_NOTFOUND, -ENOENT, "%s has no kept-aside set %s on this node; see holdfast displaced list %s",
			      name, s.only, name);
	}
	json_object_put(s.arr);
	regs_put(s.regs);
	return ret;
}

struct found_set { const char *id; char *checkpoint; };

static int find_set(void *ctx, const char *id, uint64_t when_ns, const char *reason, const char *resource,
		    const char *checkpoint, const char *rel, const struct hf_attr *a)
{
	struct found_set *f = ctx;

	if (!rel && !strcmp(id, f->id) && !f->checkpoint)
		f->checkpoint = strdup(checkpoint);
	return 0;
}

/* What lists show is the whole path, and names below the checkpoint never begin with a slash. NULL: all */
static const char *below(const char *rel, const char *path)
{
	size_t n = strlen(path);

	if (!rel || strncmp(rel, path, n) || (rel[n] && rel[n] != '/'))
		return rel;
	return rel[n] && rel[n + 1] ? rel + n + 1 : NULL;
}

/* Back into the checkpoint that it was of, or into directory @to of this machine. What that overwrites is kept aside too. */
static int bring_back(struct req *q, const struct hf_resource *def, const struct hf_checkpoint *cp,
		      const char *id, const char *rel, const char *to, struct hf_err *err)
{
	struct hf_displaced *keep = NULL;
	struct hf_tree *tree = NULL;
	struct ckpt *c = NULL;
	char kept[64] = "";
	uint64_t count = 0, not_kept, n;
	struct hf_tree_stat had;
	struct hf_err e = { 0 };
	int ret;

	if (to && cp->crypto)
		return hf_fail(err, HF_REFUSED, -EPERM, "%s is a crypto checkpoint: what was in it is not put elsewhere", cp->path);
	ret = ckpt_make(def, cp, &c, err);
	if (ret)
		return ret;
	if (to) {
		ret = verb_outside(to, err);
		if (!ret)
			ret = hf_tree_open("/", to, c->flags, true, NULL, 0, &tree, err);
		if (!ret)
			ret = place_outside(hf_tree_fd(tree), to, err);
		if (!ret)
			ret = hf_tree_measure(tree, 0, &had, err);
		/* of what is overwritten there nothing would be kept */
		if (!ret && had.dirs + had.files + had.others > 1)
			ret = hf_fail(err, HF_EXISTS, -EEXIST, "%s is there already; name a directory that is empty, or not there", to);
	} else {
		c->file = cp->file;
		ret = ckpt_open(c, def, true, err);
		if (!ret)
			ret = hf_displaced_begin(hfd.displaced_dir, hfd.keys->local, def->id.name, cp->path, "brought-back",
						 &keep, err);
		tree = c->tree;
	}
	if (!ret)
		ret = hf_displaced_restore(hfd.displaced_dir, hfd.keys->local, def->id.name, id, rel, tree, keep,
					   &count, err);
	if (ret == -ENOENT && err->exit == HF_NOTFOUND && rel)
		hf_fail(err, HF_NOTFOUND, ret, "kept-aside set %s has no %s; `holdfast displaced show %s %s` lists what is in it",
			id, jget_str(q->args, "rel"), def->id.name, id);
	if (ret && count)
		hf_fail(err, err->exit, 0, "%.900s; %llu entries before it were brought back", err->msg, (unsigned long long)count);
	not_kept = keep ? displaced_warn(def->id.name, c, keep) : 0;
	if (keep && hf_displaced_end(keep, true, kept, &n, &e))
		hf_logf(HF_LOG_WARN, "%s: %s: %s", def->id.name, cp->path, e.msg);
	if (!ret) {
		hf_logf(HF_LOG_NOTE, "%s: %llu entries of kept-aside set %s were brought back to %s", def->id.name,
			(unsigned long long)count, id, to ? to : cp->path);
		q->result = jobj();
		ju64(q->result, "count", count);
		ju64(q->result, "not_kept", not_kept);
		if (kept[0])
			jstr(q->result, "displaced", kept);
	}
	if (to)
		hf_tree_close(tree);
	ckpt_free(c);
	return ret;
}

static int displaced_restore(struct req *q, struct hf_err *err)
{
	const char *name = jget_str(q->args, "resource"), *to = jget_str(q->args, "to"), *shown = jget_str(q->args, "rel");
	char *rel = shown ? hf_unprintable(shown) : NULL;
	struct found_set f = { .id = jget_str(q->args, "id") };
	struct regs *regs = regs_get();
	const struct hf_resource *def = regs_find(regs, name);
	const struct hf_checkpoint *cp = NULL;
	struct hf_err e = { 0 };
	int ret = def ? 0 : hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no resource %s", name);

	/* others that are damaged are no reason */
	if (!ret)
		hf_displaced_list(hfd.displaced_dir, hfd.keys->local, name, find_set, &f, &e);
	for (unsigned i = 0; !ret && f.checkpoint && i < def->ncp; i++)
		if (!strcmp(def->cp[i].path, f.checkpoint))
			cp = &def->cp[i];
	if (!ret && !f.checkpoint)
		ret = hf_fail(err, HF_NOTFOUND, -ENOENT, "%s has no kept-aside set %s; see holdfast displaced list %s", name,
			      f.id, name);
	else if (!ret && !cp)
		ret = hf_fail(err, HF_NOTFOUND, -ENOENT, "%s is no checkpoint of %s any more; register it to bring back what was in it",
			      f.checkpoint, name);
	if (!ret && shown && !rel)
		ret = hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
	if (!ret)
		ret = bring_back(q, def, cp, f.id, below(rel, cp->path), to, err);
	free(f.checkpoint);
	free(rel);
	regs_put(regs);
	return ret;
}

const struct verb verbs_store[] = {
	{ "history", V_READ, "resource:s!", history },
	{ "history.pin", 0, "resource:s! generation:u! name:s!", history_pin },
	{ "history.unpin", 0, "resource:s! name:s!", history_unpin },
	{ "displaced.list", V_READ, "resource:s", displaced_list },
	{ "displaced.show", V_READ, "resource:s! id:s!", displaced_show },
	{ "displaced.restore", 0, "resource:s! id:s! rel:s to:s", displaced_restore },
	{ NULL, 0, NULL, NULL },
};
