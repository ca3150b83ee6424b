// SPDX-License-Identifier: GPL-2.0-or-later
/* Verbs that change the registrations. */
#include "resource.h"
#include "treedb.h"
#include "verbs.h"
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/vfs.h>

#define BIG (1ull << 30)	/* more than that is data, not configuration */
#define DIR_MEMORY 1426		/* of the kernel, for each marked directory; Documentation/performance.md */

/* After a change: what it made is known here at once. */
static int changed(int ret)
{
	struct hf_err e = { 0 };

	if (!ret && regs_reload(&e))
		hf_logf(HF_LOG_WARN, "registrations: %s", e.msg);
	return ret;
}

static int resource_add(struct req *q, struct hf_err *err)
{
	const char *type = jget_str(q->args, "type");

	return changed(hf_reg_resource_add(hfd.store, jget_str(q->args, "name"), type ? type : "", err));
}

static int resource_delete(struct req *q, struct hf_err *err)
{
	const char *name = jget_str(q->args, "name");
	struct resource *r;
	struct regs *pin;
	const struct hf_resource *def;
	struct hf_log_stat st = { 0 };
	unsigned n;
	bool live;
	int ret = verb_resource_now(name, &r, err);

	if (ret)
		return ret;
	def = resource_def(r, &pin);
	n = def ? def->ncp : 0;
	if (def && owner_now(&def->id, &st, NULL))
		memset(&st, 0, sizeof(st));
	regs_put(pin);
	pthread_mutex_lock(&r->lock);
	live = r->live || r->state == RS_ONLINE_PENDING;
	pthread_mutex_unlock(&r->lock);
	resource_put(r);
	if (live)
		return hf_fail(err, HF_REFUSED, -EBUSY, "%s is online on this node; `holdfast offline %s` first",
			       name, name);
	if (st.epoch && !st.released && st.slot != hfd.id.slot && st.owner == HF_NODE_UP)
		ret = -EBUSY;
	else if (!jget_bool(q->args, "dry_run"))
		ret = changed(hf_reg_resource_delete(hfd.store, name, err));
	/* to delete is nothing that fencing its owner would allow */
	if (ret == -EBUSY)
		hf_fail(err, HF_REFUSED, ret, "%s is online on %s, which is alive; `holdfast offline %s` there first",
			name, st.node[0] ? st.node : "another node", name);
	if (!ret) {
		q->result = jobj();
		ju64(q->result, "checkpoints", n);
	}
	return ret;
}

static int resource_set(struct req *q, struct hf_err *err)
{
	struct json_object *values = NULL;
	const char **k, **v;
	unsigned n = 0;
	int ret;

	json_object_object_get_ex(q->args, "values", &values);
	k = calloc(json_object_object_length(values) + 1, sizeof(*k));
	v = calloc(json_object_object_length(values) + 1, sizeof(*v));
	if (!k || !v) {
		ret = hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
		goto out;
	}
	json_object_object_foreach(values, key, val) {
		k[n] = key;
		v[n++] = val ? json_object_get_string(val) : NULL;
	}
	ret = n ? changed(hf_reg_resource_set(hfd.store, jget_str(q->args, "name"), k, v, n, err)) :
	      hf_fail(err, HF_USAGE, -EINVAL, "resource.set: name at least one KEY=VALUE");
out:
	free(k);
	free(v);
	return ret;
}

static char **strings(struct json_object *args, const char *key, unsigned *n)
{
	struct json_object *a;
	char **v;

	*n = 0;
	if (!json_object_object_get_ex(args, key, &a))
		return NULL;
	v = calloc(json_object_array_length(a) + 1, sizeof(*v));
	for (; v && *n < json_object_array_length(a); ++*n)
		v[*n] = (char *)json_object_get_string(json_object_array_get_idx(a, *n));
	return v;
}

/* What is changed in a lower layer is told by no event. */
static bool layered(const struct ckpt *c)
{
	struct statfs fs;

	return !fstatfs(hf_tree_fd(c->tree), &fs) && fs.f_type == OVERLAYFS_SUPER_MAGIC;
}

/* What the path is on this node; fills the answer. @online: here, so it must be there. */
static int look_here(struct req *q, const struct hf_resource *def, struct hf_checkpoint *cp, bool here,
		     bool elsewhere, struct hf_err *err)
{
	const char *name = jget_str(q->args, "resource");
	bool allow_empty = jget_bool(q->args, "allow_empty"), force = jget_bool(q->args, "force");
	struct hf_tree_stat ts = { 0 };
	struct ckpt *c = NULL;
	struct stat st;
	int ret = ckpt_make(def, cp, &c, err);

	if (ret)
		return ret;
	ret = ckpt_stat(c, &st);
	if (!ret && S_ISLNK(st.st_mode)) {
		ret = hf_fail(err, HF_REFUSED, -ELOOP,
			      "%s is a symbolic link; name the directory or file that it leads to", cp->path);
		goto out;
	}
	if (!ret && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		ret = hf_fail(err, HF_REFUSED, -EINVAL, "%s is neither a directory nor a regular file", cp->path);
		goto out;
	}
	if (!ret)
		cp->file = c->file = S_ISREG(st.st_mode);
	if (ret && !(cp->crypto && !elsewhere)) {
		/* it need not be there before its resource is online somewhere */
		ret = 0;
		if (here)
			ret = hf_fail(err, HF_REFUSED, -EBUSY,
				      "%s is not there, and %s is online here: it must be there to be captured; make it, empty with --allow-empty",
				      cp->path, name);
		else if (!elsewhere && !allow_empty)
			ret = hf_fail(err, HF_REFUSED, -EBUSY,
				      "%s is not there on this node; make it, or add it on the node that brings %s online first, which must have it; --allow-empty registers it all the same",
				      cp->path, name);
		goto out;
	}
	ret = ckpt_open(c, def, false, err);
	if (ret && !cp->crypto)
		goto out;
	if (ret) {
		ret = hf_fail(err, HF_REFUSED, -EBUSY,
			      "%s is not there; a crypto checkpoint is added where its key lies", cp->path);
		goto out;
	}
	ret = place_check(c, def->name, err);
	/* of what is online elsewhere its owner looks at the original */
	if (!ret && cp->crypto && !elsewhere)
		ret = secret_check(c, err);
	if (ret)
		goto out;
	ret = hf_tree_measure(c->tree, force ? 0 : BIG, &ts, err);
	if (ret == -EFBIG)
		ret = hf_fail(err, HF_REFUSED, ret,
			      "%s holds more than 1 GiB; that is data rather than configuration. --force registers it all the same",
			      cp->path);
	if (ret)
		goto out;
	if (!elsewhere && !allow_empty && ckpt_empty(c)) {
		ret = hf_fail(err, HF_REFUSED, -EBUSY, "%s is empty; fill it, or use --allow-empty", cp->path);
		goto out;
	}
	ju64(q->result, "directories", ts.dirs);
	ju64(q->result, "files", ts.files);
	ju64(q->result, "bytes", ts.bytes);
	ju64(q->result, "memory", ts.dirs * DIR_MEMORY);
	/* whoever has it online knows better, and says so */
	jstr(q->result, "quality", layered(c) ? "scan" : "events");
out:
	ckpt_free(c);
	return ret;
}

struct found { unsigned n; bool root; };

static int count_two(void *ctx, const struct hf_item *it)
{
	struct found *f = ctx;

	f->root |= it->keylen == TREEDB_PREFIX;
	return ++f->n == 2;
}

/* 1: not captured yet; 0: captured; else why it is not */
static int look_elsewhere(struct req *q, const struct hf_resource *def, const struct hf_checkpoint *cp,
			  struct hf_err *err)
{
	char prefix[TREEDB_PREFIX + 1];
	struct hf_log *log = NULL;
	struct found f = { 0 };
	struct hf_item it;
	int ret = 1;

	if (hf_log_read(hfd.store, &def->id, 0, &log, NULL))
		return 1;
	treedb_prefix(cp->id, prefix);
	hf_log_each(log, prefix, TREEDB_PREFIX, count_two, &f);
	if (f.n == 1 && f.root && !jget_bool(q->args, "allow_empty")) {
		ret = hf_fail(err, HF_REFUSED, -EBUSY,
			      "%s is empty on the node that has %s online; fill it, or use --allow-empty",
			      cp->path, def->name);
	} else if (f.n) {
		ju64(q->result, "generation", hf_log_gen(log));
		jstr(q->result, "quality", "events");
		ret = 0;
	} else if (treedb_marked(log, cp->id, TREEDB_REFUSED, &it)) {
		ret = hf_fail(err, HF_REFUSED, -EBUSY, "%s is not registered, because the node that has %s online cannot capture it: %.*s",
			      cp->path, def->name, (int)it.attrlen, (const char *)it.attr);
	}
	hf_log_close(log);
	return ret;
}

/* The owner is another node: it notices the registration and captures. */
static int wait_elsewhere(struct req *q, const struct hf_resource *def, const struct hf_checkpoint *cp,
			  struct hf_err *err)
{
	uint64_t until = hf_now_ms() + 30000;
	int ret = 1;

	while ((ret = look_elsewhere(q, def, cp, err)) > 0 && hf_now_ms() < until)
		hf_sleep_ms(200);
	if (ret > 0) {
		jstr(q->result, "note",
		     "registered, but its owner has not captured it within 30 s; see `holdfast status` there");
		ret = 0;
	}
	return ret;
}

/* What its owner cannot capture; the owner does the same, and may be first. */
static void take_back(const char *name, const char *path)
{
	hf_reg_checkpoint_delete(hfd.store, name, path, NULL);
	changed(0);
}

static int capture_here(struct req *q, struct resource *r, uint32_t id, struct hf_err *err)
{
	struct job *j = job_new(job_reload);
	int ret = j ? 0 : -ENOMEM;

	if (j) {
		j->conn = q->conn;
		ret = job_run(r, j, err);
	}
	if (!ret && j->ret) {
		*err = j->err;
		ret = j->ret;
	}
	if (!ret) {
		ju64(q->result, "generation", j->gen);
		pthread_mutex_lock(&r->lock);
		for (unsigned i = 0; i < r->ncp; i++)
			if (r->cp[i]->id == id && r->cp[i]->watch)
				jstr(q->result, "quality", hf_watch_quality(r->cp[i]->watch));
		/* the worker was told of the registration too, and may have been first */
		if (r->refused_id == id)
			ret = hf_fail(err, HF_REFUSED, -EBUSY, "%s", r->refused_why);
		pthread_mutex_unlock(&r->lock);
	}
	job_put(j);
	return ret;
}

/* What Holdfast itself keeps below the node's root, as paths there. */
static void own_paths(const char *own[4])
{
	const char *const all[] = { hfd.conf->state_dir, hfd.conf->runtime_dir, hfd.conf->key_file };
	const char *root = hfd.conf->root ? hfd.conf->root : "/";
	size_t n = strlen(root), k = 0;

	while (n && root[n - 1] == '/')
		n--;
	for (unsigned i = 0; i < HF_ARRAY(all); i++)
		if (all[i] && !strncmp(all[i], root, n) && all[i][n] == '/')
			own[k++] = all[i] + n;
	own[k] = NULL;
}

static void asker(struct resource *r, uint64_t conn)
{
	pthread_mutex_lock(&r->lock);
	r->asker = conn;
	pthread_mutex_unlock(&r->lock);
}

/* How well it can be tracked, in words of the node that captures it. */
static void say_scan(struct req *q)
{
	const char *quality = jget_str(q->result, "quality");

	if (quality && strcmp(quality, "events"))
		ju64(q->result, "scan_s", hfd.conf->scrub_s);
}

/* Going online would refuse it, at a time when nobody looks. */
static void say_overlaps(struct req *q, const struct regs *regs, const struct hf_resource *def, const struct hf_checkpoint *cp)
{
	struct json_object *arr = place_meets(regs, def, cp);

	if (json_object_array_length(arr))
		json_object_object_add(q->result, "overlaps", arr);
	else
		json_object_put(arr);
}

static int checkpoint_add(struct req *q, struct hf_err *err)
{
	const char *name = jget_str(q->args, "resource"), *view = jget_str(q->args, "view");
	const char *own[4];
	struct hf_checkpoint cp = { 0 };
	struct resource *r;
	struct regs *pin = NULL;
	const struct hf_resource *def;
	struct hf_log_stat st;
	bool here, elsewhere;
	int ret;

	r = verb_resource(name, err);
	if (!r)
		return err->exit == HF_USAGE ? -EINVAL : -ENOENT;
	q->result = jobj();
	cp.path = strdup(jget_str(q->args, "path"));
	cp.view = strdup(view && *view ? view : "native");
	cp.crypto = jget_bool(q->args, "crypto");
	cp.exclude = strings(q->args, "exclude", &cp.nexclude);
	if (!cp.path || !cp.view) {
		ret = hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
		goto out;
	}
	own_paths(own);
	ret = hf_path_check(cp.path, own, err);
	if (ret)
		goto out;
	ret = regs_reload(err);
	if (ret)
		goto out;
	def = resource_def(r, &pin);
	if (!def) {
		ret = hf_fail(err, HF_NOTFOUND, -ENOENT, "there is no resource %s", name);
		goto out;
	}
	/* whatever view, and whether it is there or not */
	for (unsigned i = 0; i < def->ncp && !ret; i++)
		if (!strcmp(def->cp[i].path, cp.path))
			ret = hf_fail(err, HF_EXISTS, -EEXIST, "%s: %s is registered already (view %s)", name, cp.path,
				      def->cp[i].view);
	if (ret)
		goto out;
	if (owner_now(&def->id, &st, NULL))
		memset(&st, 0, sizeof(st));
	pthread_mutex_lock(&r->lock);
	here = r->live;
	pthread_mutex_unlock(&r->lock);
	elsewhere = !here && st.epoch && !st.released && !st.mine && st.owner == HF_NODE_UP;
	ret = look_here(q, def, &cp, here, elsewhere, err);
	/* the worker may have captured it before it is asked to */
	asker(r, q->conn);
	if (!ret)
		ret = changed(hf_reg_checkpoint_add(hfd.store, name, &cp, err));
	if (ret)
		goto out;
	if (here) {
		ret = capture_here(q, r, cp.id, err);
		/* what its owner cannot capture does not stay registered */
		if (ret && ret != -ETIMEDOUT && ret != -ESTALE && err->exit != HF_UNAVAIL)
			take_back(name, cp.path);
	} else if (elsewhere) {
		ret = wait_elsewhere(q, def, &cp, err);
		if (ret)
			take_back(name, cp.path);
	}
	say_scan(q);
	if (!ret)
		say_overlaps(q, pin, def, &cp);
out:
	if (ret) {
		json_object_put(q->result);
		q->result = NULL;
	}
	asker(r, 0);
	regs_put(pin);
	free(cp.path);
	free(cp.view);
	free(cp.mount);
	free(cp.exclude);
	resource_put(r);
	return ret;
}

/* Its owner is another node: wait until it goes by them. 1: it did not yet */
static int wait_patterns(const struct hf_resource *def, const struct hf_checkpoint *cp, uint64_t *gen)
{
	uint64_t until = hf_now_ms() + 30000;
	bool same;

	do {
		struct hf_log *log = NULL;

		if (hf_log_read(hfd.store, &def->id, 0, &log, NULL))
			return 1;
		same = patterns_are(log, cp);
		*gen = hf_log_gen(log);
		hf_log_close(log);
		if (!same)
			hf_sleep_ms(200);
	} while (!same && hf_now_ms() < until);
	return !same;
}

static int checkpoint_set(struct req *q, struct hf_err *err)
{
	const char *name = jget_str(q->args, "resource"), *path = jget_str(q->args, "path");
	struct hf_checkpoint *cp = NULL;
	struct resource *r;
	struct regs *pin = NULL;
	const struct hf_resource *def;
	struct hf_log_stat st = { 0 };
	char **list = NULL;
	uint64_t gen = 0;
	unsigned n;
	bool here;
	int ret = verb_resource_now(name, &r, err);

	if (ret)
		return ret;
	q->result = jobj();
	list = strings(q->args, "exclude", &n);
	asker(r, q->conn);
	ret = changed(hf_reg_checkpoint_patterns(hfd.store, name, path, list, n, err));
	if (ret)
		goto out;
	def = resource_def(r, &pin);
	for (unsigned i = 0; def && i < def->ncp; i++)
		if (!strcmp(def->cp[i].path, path))
			cp = &def->cp[i];
	pthread_mutex_lock(&r->lock);
	here = r->live;
	pthread_mutex_unlock(&r->lock);
	if (!cp || hfd.store->ops->stat(hfd.store, &def->id, &st, NULL))
		goto out;
	if (here) {
		ret = capture_here(q, r, cp->id, err);
	} else if (st.epoch && !st.released && !st.mine && st.owner == HF_NODE_UP) {
		if (wait_patterns(def, cp, &gen))
			jstr(q->result, "note", "registered, but its owner has not gone by it within 30 s; see `holdfast status` there");
		else
			ju64(q->result, "generation", gen);
	}
out:
	if (ret) {
		json_object_put(q->result);
		q->result = NULL;
	}
	free(list);
	asker(r, 0);
	regs_put(pin);
	resource_put(r);
	return ret;
}

static int checkpoint_delete(struct req *q, struct hf_err *err)
{
	const char *name = jget_str(q->args, "resource");
	char *path = strdup(jget_str(q->args, "path"));
	struct resource *r;
	struct regs *pin = NULL;
	const struct hf_resource *def;
	bool found = false, live;
	struct job *j;
	int ret = verb_resource_now(name, &r, err);

	if (ret)
		goto out;
	if (!path) {
		ret = -ENOMEM;
		goto out;
	}
	ret = hf_path_check(path, NULL, err);
	if (ret)
		goto out;
	if (jget_bool(q->args, "dry_run")) {
		def = resource_def(r, &pin);
		for (unsigned i = 0; def && i < def->ncp; i++)
			found |= !strcmp(def->cp[i].path, path);
		if (!found)
			ret = hf_fail(err, HF_NOTFOUND, -ENOENT, "%s has no checkpoint %s", name, path);
		goto out;
	}
	ret = changed(hf_reg_checkpoint_delete(hfd.store, name, path, err));
	pthread_mutex_lock(&r->lock);
	live = r->live;
	pthread_mutex_unlock(&r->lock);
	if (!ret && live) {
		j = job_new(job_reload);
		if (j) {
			struct hf_err e = { 0 };

			/* it is deleted; that its entries go too is the owner's business */
			if (job_run(r, j, &e))
				hf_logf(HF_LOG_WARN, "%s: %s", name, e.msg);
			job_put(j);
		}
	}
out:
	regs_put(pin);
	free(path);
	resource_put(r);
	return ret;
}

const struct verb verbs_reg[] = {
	{ "resource.add", 0, "name:s! type:s", resource_add },
	{ "resource.delete", 0, "name:s! dry_run:b", resource_delete },
	{ "resource.set", 0, "name:s! values:o!", resource_set },
	{ "checkpoint.add", 0,
	  "resource:s! path:s! crypto:b view:s exclude:l allow_empty:b force:b", checkpoint_add },
	{ "checkpoint.set", 0, "resource:s! path:s! exclude:l!", checkpoint_set },
	{ "checkpoint.delete", 0, "resource:s! path:s! dry_run:b", checkpoint_delete },
	{ NULL, 0, NULL, NULL },
};
