// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Each change of the registrations.
 *
 * hf_reg_change() may call a function again after its commit became durable but
 * could not be confirmed: the next claimer may have adopted it. So every function
 * here knows its own work again (by UUID), and is content to find it done.
 */
#include "reg_int.h"
#include "names.h"
#include "pattern.h"
#include <stdio.h>
#include <stdlib.h>

#define LIST_MAX 64		/* patterns of a checkpoint */
#define PATTERN_MAX 1024

static int no_resource(struct hf_err *err, const char *name)
{
	return hf_fail(err, HF_NOTFOUND, -ENOENT, "%s: no such resource; holdfast resource list names them", name);
}

static int not_registered(struct hf_err *err, const char *resource, const char *path)
{
	return hf_fail(err, HF_NOTFOUND, -ENOENT, "%s: %s is not registered; holdfast checkpoint list %s names what is",
		       resource, path, resource);
}

static int no_memory(struct hf_err *err)
{
	return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
}

static void add_str(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

/* --- resources -------------------------------------------------------------- */

struct res_add {
	const char *name, *type;
	uint8_t uuid[16];
	uint32_t rows;
};

static int res_add(void *ctx, struct hf_log *l, const struct hf_reg *now, struct hf_err *err)
{
	struct res_add *a = ctx;
	const struct hf_resource *r = hf_reg_find(now, a->name);
	char key[REG_KEY_MAX], uuid[37];
	struct json_object *o;
	uint32_t row;
	int ret;

	if (r && !memcmp(r->id.uuid, a->uuid, 16))
		return 0;
	if (r)
		return hf_fail(err, HF_EXISTS, -EEXIST, "%s: there is a resource of that name already", a->name);
	for (row = 1; row < a->rows; row++) {
		unsigned i;

		for (i = 0; i < now->nres && now->res[i].id.row != row; i++)
			;
		if (i == now->nres)
			break;
	}
	if (row >= a->rows)
		return hf_fail(err, HF_REFUSED, -ENOSPC, "%s: the store has room for %u resources and all are taken; "
			       "delete one, or format a larger disk", a->name, a->rows ? a->rows - 1 : 0);
	o = json_object_new_object();
	if (!o)
		return no_memory(err);
	hf_uuid_str(a->uuid, uuid);
	add_str(o, "uuid", uuid);
	json_object_object_add(o, "row", json_object_new_int64(row));
	add_str(o, "type", a->type);
	json_object_object_add(o, "next", json_object_new_int64(1));
	json_object_object_add(o, "policy", json_object_new_object());
	reg_resource_key(key, a->name);
	ret = reg_attr_put(l, key, o, err);
	json_object_put(o);
	return ret;
}

int hf_reg_resource_add(struct hf_store *s, const char *name, const char *type, struct hf_err *err)
{
	struct res_add a = { .name = name, .type = type ? type : "" };
	char cluster[HF_NAME_MAX + 1];
	unsigned lease, beat, rows = 0, nodes;
	uint8_t uuid[16];
	int ret;

	ret = hf_name_check(name, "resource", err);
	if (!ret && *a.type)
		ret = hf_name_check(a.type, "type", err);
	if (ret)
		return ret;
	s->ops->info(s, cluster, uuid, &lease, &beat, &rows, &nodes);
	a.rows = rows;
	hf_uuid_make(a.uuid);
	return hf_reg_change(s, res_add, &a, "resource add", err);
}

struct res_del {
	const char *name;
	const uint8_t *uuid;
	bool tried;
};

static int res_del(void *ctx, struct hf_log *l, const struct hf_reg *now, struct hf_err *err)
{
	struct res_del *d = ctx;
	const struct hf_resource *r = hf_reg_find(now, d->name);
	char key[REG_KEY_MAX];
	int ret;

	if (!r || memcmp(r->id.uuid, d->uuid, 16))
		return d->tried ? 0 : no_resource(err, d->name);
	d->tried = true;
	for (unsigned i = 0; i < r->ncp; i++) {
		reg_checkpoint_key(key, r->name, r->cp[i].id);
		ret = hf_log_del(l, key, strlen(key));
		if (ret)
			return hf_fail(err, HF_OK, ret, "%s: %s", key, strerror(-ret));
	}
	reg_resource_key(key, r->name);
	ret = hf_log_del(l, key, strlen(key));
	return ret ? hf_fail(err, HF_OK, ret, "%s: %s", key, strerror(-ret)) : 0;
}

struct emptier { struct hf_log *l; };

static int empty_one(void *ctx, const struct hf_item *it)
{
	struct emptier *e = ctx;

	return hf_log_del(e->l, it->key, it->keylen);
}

/* What a deleted resource held gives its space back (P8). Only after the
 * deletion is confirmed: a registered resource with an emptied log would be
 * restored as empty. */
static int empty_log(struct hf_log *l, struct hf_err *err)
{
	struct emptier e = { l };
	uint64_t gen;
	int ret;

	ret = hf_log_each(l, "", 0, empty_one, &e);
	if (ret)
		return hf_fail(err, HF_OK, ret, "%s", strerror(-ret));
	if (!hf_log_pending(l))
		return 0;
	ret = hf_log_commit(l, 0, "resource delete", &gen, err);
	if (!ret)
		ret = hf_log_confirm(l, err);
	return ret ? ret : hf_log_base(l, 0, err);
}

int hf_reg_resource_delete(struct hf_store *s, const char *name, struct hf_err *err)
{
	struct res_del d = { .name = name };
	const struct hf_resource *r;
	struct hf_reg *reg = NULL;
	struct hf_log *l = NULL;
	struct hf_err later;
	int ret;

	ret = hf_name_check(name, "resource", err);
	if (!ret)
		ret = hf_reg_load(s, &reg, err);
	if (ret)
		return ret;
	r = hf_reg_find(reg, name);
	if (!r) {
		ret = no_resource(err, name);
		goto out_reg;
	}
	d.uuid = r->id.uuid;
	ret = hf_log_claim(s, &r->id, 0, &l, err);
	/* a damaged log cannot be adopted, but its ballot is written: whoever owned it is fenced */
	if (ret && ret != -EBADMSG)
		goto out_reg;
	if (ret)
		hf_logf(HF_LOG_WARN, "%s: deleted although its log is damaged: %s", name, err ? err->msg : "");
	ret = hf_reg_change(s, res_del, &d, "resource delete", err);
	if (l && !ret && empty_log(l, &later))
		hf_logf(HF_LOG_WARN, "%s: deleted, but its space is not back yet: %s", name, later.msg);
	if (l && hf_log_release(l, &later))
		hf_logf(HF_LOG_WARN, "%s: %s", name, later.msg);
	hf_log_close(l);
out_reg:
	hf_reg_free(reg);
	return ret;
}

struct res_set {
	const char *name;
	const char *const *keys;
	const char *const *values;
	unsigned n;
};

static int res_set(void *ctx, struct hf_log *l, const struct hf_reg *now, struct hf_err *err)
{
	struct res_set *a = ctx;
	char key[REG_KEY_MAX];
	struct json_object *o, *set;
	int ret;

	if (!hf_reg_find(now, a->name))
		return no_resource(err, a->name);
	reg_resource_key(key, a->name);
	o = reg_attr(l, key);
	if (!o)
		return no_memory(err);
	if (!a->keys || !json_object_object_get_ex(o, "policy", &set) ||
	    !json_object_is_type(set, json_type_object)) {
		set = json_object_new_object();
		json_object_object_add(o, "policy", set);
	}
	for (unsigned i = 0; i < a->n && a->keys; i++) {
		if (a->values[i])
			add_str(set, a->keys[i], a->values[i]);
		else
			json_object_object_del(set, a->keys[i]);
	}
	ret = reg_attr_put(l, key, o, err);
	json_object_put(o);
	return ret;
}

int hf_reg_resource_set(struct hf_store *s, const char *name, const char *const *keys,
			const char *const *values, unsigned n, struct hf_err *err)
{
	struct res_set a = { name, keys, values, n };
	struct hf_policy p;
	int ret;

	ret = hf_name_check(name, "resource", err);
	hf_policy_default(&p);
	for (unsigned i = 0; i < n && keys && !ret; i++) {
		if (values[i] || !policy_known(keys[i]))
			ret = hf_policy_parse(&p, keys[i], values[i] ? values[i] : "", err);
	}
	return ret ? ret : hf_reg_change(s, res_set, &a, keys ? "resource set" : "resource set: defaults", err);
}

struct res_move {
	const char *name, *node;
	const struct hf_err *why;
	bool over;
};

static int moved_put(struct json_object *o, const struct hf_err *why)
{
	/* names of files need not be UTF-8 */
	char *text = hf_printable(why->msg, strlen(why->msg));
	struct json_object *m = json_object_new_object();

	if (!text || !m) {
		free(text);
		json_object_put(m);
		return -ENOMEM;
	}
	json_object_object_add(m, "exit", json_object_new_int(why->exit));
	add_str(m, "why", text);
	json_object_object_add(o, "moved", m);
	free(text);
	return 0;
}

static int res_move(void *ctx, struct hf_log *l, const struct hf_reg *now, struct hf_err *err)
{
	struct res_move *a = ctx;
	const struct hf_resource *r = hf_reg_find(now, a->name);
	char key[REG_KEY_MAX];
	struct json_object *o;
	int ret = 0;

	if (!r)
		return no_resource(err, a->name);
	/* over already, or not any more what it was asked for */
	if (a->over && (strcmp(r->move, a->node) || (!*r->move && !r->unmoved)))
		return 0;
	reg_resource_key(key, a->name);
	o = reg_attr(l, key);
	if (!o)
		return no_memory(err);
	json_object_object_del(o, "move");
	json_object_object_del(o, "moved");
	if (!a->over)
		add_str(o, "move", a->node);
	else if (a->why)
		ret = moved_put(o, a->why);
	ret = ret ? no_memory(err) : reg_attr_put(l, key, o, err);
	json_object_put(o);
	return ret;
}

int hf_reg_resource_move(struct hf_store *s, const char *name, const char *node, struct hf_err *err)
{
	struct res_move a = { .name = name, .node = node };
	int ret = hf_name_check(name, "resource", err);

	if (!ret)
		ret = hf_name_check(node, "node", err);
	return ret ? ret : hf_reg_change(s, res_move, &a, "move", err);
}

int hf_reg_resource_moved(struct hf_store *s, const char *name, const char *node, const struct hf_err *why,
			  struct hf_err *err)
{
	struct res_move a = { .name = name, .node = node, .why = why, .over = true };
	int ret = hf_name_check(name, "resource", err);

	return ret ? ret : hf_reg_change(s, res_move, &a, "move: over", err);
}

/* --- checkpoints -------------------------------------------------------------- */

/* Whether @inner is left out of @outer, below whose path it lies; in doubt it is not. */
static bool excluded(const struct hf_checkpoint *outer, const struct hf_checkpoint *inner)
{
	const char *rel = inner->path + strlen(outer->path) + 1;
	struct hf_patterns *p;
	unsigned out;

	if (hf_patterns_new((const char *const *)outer->exclude, outer->nexclude, &p))
		return false;
	out = hf_patterns_path(p, rel);
	hf_patterns_free(p);
	return out & (inner->file ? HF_OUT_FILE : HF_OUT_DIR);
}

static bool lies_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && path[n] == '/';
}

static int overlap(const struct hf_resource *r, const struct hf_checkpoint *cp, struct hf_err *err)
{
	for (unsigned i = 0; i < r->ncp; i++) {
		const struct hf_checkpoint *o = &r->cp[i];

		if (cp->id && o->id == cp->id)
			continue;
		const struct hf_checkpoint *outer = lies_below(cp->path, o->path) ? o :
						    lies_below(o->path, cp->path) ? cp : NULL;

		if (!strcmp(o->path, cp->path))
			return hf_fail(err, HF_EXISTS, -EEXIST, "%s: %s is registered already (view %s)", r->name,
				       cp->path, o->view);
		if (outer && !strcmp(o->view, cp->view) &&
		    !excluded(outer, outer == o ? cp : o))
			return hf_fail(err, HF_REFUSED, -EBUSY, "%s: %s and %s overlap, and each would restore over the "
				       "other; exclude the inner one from the outer, or leave it out", r->name,
				       cp->path, o->path);
	}
	return 0;
}

struct cp_add {
	const char *resource;
	struct hf_checkpoint *cp;
	uint8_t uuid[16];
};

static int cp_add(void *ctx, struct hf_log *l, const struct hf_reg *now, struct hf_err *err)
{
	struct cp_add *a = ctx;
	const struct hf_resource *r = hf_reg_find(now, a->resource);
	struct json_object *res = NULL, *o = NULL;
	char key[REG_KEY_MAX], uuid[37];
	const char *had;
	uint64_t id;
	int ret;

	if (!r)
		return no_resource(err, a->resource);
	hf_uuid_str(a->uuid, uuid);
	for (unsigned i = 0; i < r->ncp; i++) {
		reg_checkpoint_key(key, r->name, r->cp[i].id);
		o = reg_attr(l, key);
		had = o ? reg_str(o, "uuid") : NULL;
		if (had && !strcmp(had, uuid)) {
			a->cp->id = r->cp[i].id;
			json_object_put(o);
			return 0;
		}
		json_object_put(o);
		o = NULL;
	}
	ret = overlap(r, a->cp, err);
	if (ret)
		return ret;
	reg_resource_key(key, r->name);
	res = reg_attr(l, key);
	o = json_object_new_object();
	if (!res || !o) {
		ret = no_memory(err);
		goto out;
	}
	id = reg_num(res, "next");
	for (unsigned i = 0; i < r->ncp; i++)	/* sorted; and the counter may be an old one's */
		id = id > r->cp[i].id ? id : r->cp[i].id + 1ull;
	if (!id)
		id = 1;
	if (id >= UINT32_MAX) {
		ret = hf_fail(err, HF_REFUSED, -ENOSPC, "%s: has had all checkpoints it can have; delete and add "
			      "the resource again", r->name);
		goto out;
	}
	json_object_object_add(res, "next", json_object_new_int64(id + 1));
	ret = reg_attr_put(l, key, res, err);
	if (ret)
		goto out;
	add_str(o, "uuid", uuid);
	add_str(o, "path", a->cp->path);
	add_str(o, "view", a->cp->view);
	json_object_object_add(o, "crypto", json_object_new_boolean(a->cp->crypto));
	json_object_object_add(o, "file", json_object_new_boolean(a->cp->file));
	json_object_object_add(o, "exclude", reg_strings(a->cp->exclude, a->cp->nexclude));
	if (a->cp->mount)
		add_str(o, "mount", a->cp->mount);
	reg_checkpoint_key(key, r->name, id);
	ret = reg_attr_put(l, key, o, err);
	if (!ret)
		a->cp->id = id;
out:
	json_object_put(o);
	json_object_put(res);
	return ret;
}

static int pattern_check(const char *p, bool first, const char *path, struct hf_err *err)
{
	const char *text = p + (*p == '!');
	size_t n = strlen(path);

	if (strlen(p) > PATTERN_MAX || !hf_utf8_valid(p))
		return hf_fail(err, HF_USAGE, -EINVAL, "a pattern is longer than %d bytes, not UTF-8, or holds control "
			       "characters", PATTERN_MAX);
	if (*text == '/' && !strncmp(text, path, n) && text[n] == '/')
		return hf_fail(err, HF_USAGE, -EINVAL, "the pattern %s begins with the path of the checkpoint; patterns begin "
			       "below it: write %s", text, text + n);
	if (first && *p == '!')
		return hf_fail(err, HF_USAGE, -EINVAL, "the pattern %s takes back in what none before it leaves out; they count "
			       "in the order given: to keep that alone, exclude '*' first", text);
	return hf_pattern_check(p, err);
}

static int patterns_check(char *const *list, unsigned n, const char *path, struct hf_err *err)
{
	int ret = 0;

	if (n > LIST_MAX)
		return hf_fail(err, HF_USAGE, -EINVAL, "%s: more than %d patterns", path, LIST_MAX);
	for (unsigned i = 0; i < n && !ret; i++)
		ret = pattern_check(list[i], !i, path, err);
	return ret;
}

/* what the path becomes on a node must be a path as well */
static int expanded_check(const char *path, const char *resource, struct hf_err *err)
{
	const char *at = strchr(resource, '@');
	char *p;
	int ret;

	for (const char *s = strchr(path, '%'); s; s = strchr(s + 2, '%')) {
		if (s[1] != 'n' && s[1] != 'i' && s[1] != '%')
			return hf_fail(err, HF_USAGE, -EINVAL, "%s: of %% only %%n (the node), %%i (what follows @ in the "
				       "resource's name) and %%%% are known", path);
		if (s[1] == 'i' && (!at || !at[1]))
			return hf_fail(err, HF_USAGE, -EINVAL, "%s: %%i stands for what follows @ in the resource's name, "
				       "and '%s' has none", path, resource);
	}
	p = hf_path_expand(path, "node", resource);
	if (!p)
		return no_memory(err);
	ret = hf_path_check(p, NULL, err);
	free(p);
	return ret;
}

int hf_reg_checkpoint_add(struct hf_store *s, const char *resource, struct hf_checkpoint *cp,
			  struct hf_err *err)
{
	struct cp_add a = { .resource = resource, .cp = cp };
	int ret;

	if (cp->file && cp->nexclude)
		return hf_fail(err, HF_USAGE, -EINVAL, "%s is one file; there is nothing to exclude from it", cp->path);
	cp->id = 0;
	ret = hf_name_check(resource, "resource", err);
	if (!ret)
		ret = hf_path_check(cp->path, NULL, err);
	if (!ret)
		ret = hf_name_check(cp->view, "view", err);
	if (!ret)
		ret = patterns_check(cp->exclude, cp->nexclude, cp->path, err);
	if (!ret)
		ret = expanded_check(cp->path, resource, err);
	if (ret)
		return ret;
	hf_uuid_make(a.uuid);
	return hf_reg_change(s, cp_add, &a, "checkpoint add", err);
}

struct cp_del {
	const char *resource, *path;
	bool tried;
};

static int cp_del(void *ctx, struct hf_log *l, const struct hf_reg *now, struct hf_err *err)
{
	struct cp_del *d = ctx;
	const struct hf_resource *r = hf_reg_find(now, d->resource);
	char key[REG_KEY_MAX];
	int ret;

	if (!r && !d->tried)
		return no_resource(err, d->resource);
	for (unsigned i = 0; r && i < r->ncp; i++) {
		if (strcmp(r->cp[i].path, d->path))
			continue;
		d->tried = true;
		reg_checkpoint_key(key, r->name, r->cp[i].id);
		ret = hf_log_del(l, key, strlen(key));
		return ret ? hf_fail(err, HF_OK, ret, "%s: %s", key, strerror(-ret)) : 0;
	}
	if (d->tried)
		return 0;
	return not_registered(err, d->resource, d->path);
}

int hf_reg_checkpoint_delete(struct hf_store *s, const char *resource, const char *path,
			     struct hf_err *err)
{
	struct cp_del d = { .resource = resource };
	char *p = strdup(path);
	int ret;

	if (!p)
		return no_memory(err);
	ret = hf_name_check(resource, "resource", err);
	if (!ret)
		ret = hf_path_check(p, NULL, err);
	d.path = p;
	if (!ret)
		ret = hf_reg_change(s, cp_del, &d, "checkpoint delete", err);
	free(p);
	return ret;
}

struct cp_patterns {
	const char *resource, *path;
	char *const *exclude;
	unsigned n;
};

static int cp_patterns(void *ctx, struct hf_log *l, const struct hf_reg *now, struct hf_err *err)
{
	struct cp_patterns *a = ctx;
	const struct hf_resource *r = hf_reg_find(now, a->resource);
	struct hf_checkpoint cp = { 0 };
	char key[REG_KEY_MAX];
	struct json_object *o;
	int ret;

	if (!r)
		return no_resource(err, a->resource);
	for (unsigned i = 0; i < r->ncp; i++)
		if (!strcmp(r->cp[i].path, a->path))
			cp = r->cp[i];
	if (!cp.id)
		return not_registered(err, a->resource, a->path);
	if (cp.file && a->n)
		return hf_fail(err, HF_USAGE, -EINVAL, "%s is one file; there is nothing to exclude from it", cp.path);
	cp.exclude = (char **)a->exclude;
	cp.nexclude = a->n;
	/* one that lies in another was excluded from it, and must stay so */
	ret = overlap(r, &cp, err);
	if (ret)
		return ret;
	reg_checkpoint_key(key, r->name, cp.id);
	o = reg_attr(l, key);
	if (!o)
		return no_memory(err);
	json_object_object_add(o, "exclude", reg_strings(a->exclude, a->n));
	ret = reg_attr_put(l, key, o, err);
	json_object_put(o);
	return ret;
}

int hf_reg_checkpoint_patterns(struct hf_store *s, const char *resource, const char *path,
			       char *const *exclude, unsigned nexclude, struct hf_err *err)
{
	struct cp_patterns a = { .resource = resource, .exclude = exclude, .n = nexclude };
	char *p = strdup(path);
	int ret;

	if (!p)
		return no_memory(err);
	ret = hf_name_check(resource, "resource", err);
	if (!ret)
		ret = hf_path_check(p, NULL, err);
	if (!ret)
		ret = patterns_check(exclude, nexclude, p, err);
	a.path = p;
	if (!ret)
		ret = hf_reg_change(s, cp_patterns, &a, "checkpoint set", err);
	free(p);
	return ret;
}

struct cp_mount {
	const char *resource, *mount;
	uint32_t id;
};

static int cp_mount(void *ctx, struct hf_log *l, const struct hf_reg *now, struct hf_err *err)
{
	struct cp_mount *m = ctx;
	char key[REG_KEY_MAX];
	struct json_object *o;
	const char *had;
	int ret = 0;

	reg_checkpoint_key(key, m->resource, m->id);
	o = reg_attr(l, key);
	if (!o)
		return hf_fail(err, HF_NOTFOUND, -ENOENT, "%s: checkpoint %u is not registered", m->resource, m->id);
	had = reg_str(o, "mount");
	if (!had || strcmp(had, m->mount)) {
		add_str(o, "mount", m->mount);
		ret = reg_attr_put(l, key, o, err);
	}
	json_object_put(o);
	return ret;
}

int hf_reg_checkpoint_mount(struct hf_store *s, const char *resource, uint32_t id,
			    const char *mount, struct hf_err *err)
{
	struct cp_mount m = { resource, mount ? mount : "", id };
	int ret = hf_name_check(resource, "resource", err);

	return ret ? ret : hf_reg_change(s, cp_mount, &m, "checkpoint mount", err);
}
