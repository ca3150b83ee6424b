// SPDX-License-Identifier: GPL-2.0-or-later
/* restore: a generation into a directory of its own, beside what is tracked. */
#include "group_look.h"
#include "resource.h"
#include "treedb.h"
#include "verbs.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct into {
	const struct req *q;
	const struct hf_resource *def;
	const char *dir;
	struct hf_log *log;
	struct hf_restore_stat st;
	struct json_object *left_out;
	uint64_t told_ms;
};

static int progress(void *ctx, uint64_t done, uint64_t total)
{
	struct into *i = ctx;
	struct json_object *o;
	uint64_t now = hf_now_ms();

	if (now - i->told_ms < 100)
		return 0;
	i->told_ms = now;
	o = jobj();
	jstr(o, "event", "progress");
	jstr(o, "resource", i->def->name);
	jstr(o, "what", "restore");
	ju64(o, "done", done);
	ju64(o, "total", total);
	server_event(i->q->conn, o);
	return 0;
}

/* The checkpoint as if @i->dir was the root of this node, with all that the generation has of it. */
static int place(struct into *i, const struct hf_checkpoint *cp, struct ckpt **out, struct hf_err *err)
{
	const char *view = hf_conf_view(hfd.conf, cp->view);
	struct hf_checkpoint all = *cp;
	struct ckpt *c;
	char *root, *local;
	int ret;

	all.nexclude = 0;
	all.view = (char *)"native";
	ret = ckpt_make(i->def, &all, &c, err);
	if (ret)
		return ret;
	/* a view's root is below the directory too: no link there leads out of it */
	root = strdup(i->dir);
	local = hf_strf("%s%s", view && strcmp(view, "/") ? view : "", c->local);
	free(c->root);
	c->root = root;
	free(c->local);
	c->local = local;
	if (!root || !local) {
		ckpt_free(c);
		return hf_fail(err, HF_FAILED, -ENOMEM, "out of memory");
	}
	c->file = cp->file || (treedb_has_any(i->log, c->id) && !treedb_has_root(i->log, c->id));
	*out = c;
	return 0;
}

static int taken(const struct ckpt *c, struct hf_err *err)
{
	return hf_fail(err, HF_EXISTS, -EEXIST, "%s%s is there already, and not empty; name a directory in which it is not",
		       c->root, c->local);
}

int verb_outside(const char *dir, struct hf_err *err)
{
	char *up, *slash;
	int fd = -1, ret;

	if (*dir != '/' || strlen(dir) > 4000)
		return hf_fail(err, HF_USAGE, -EINVAL, "'to' must be an absolute path, of at most 4000 bytes");
	up = strdup(dir);
	while (up && (fd = open(*up ? up : "/", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0 && errno == ENOENT &&
	       (slash = strrchr(up, '/')))
		*slash = '\0';
	if (fd < 0)
		ret = hf_fail(err, HF_FAILED, up ? -errno : -ENOMEM, "%s: %s", up ? up : dir, strerror(up ? errno : ENOMEM));
	else
		ret = place_outside(fd, dir, err);
	if (fd >= 0)
		close(fd);
	free(up);
	return ret;
}

static int one(struct into *i, const struct hf_checkpoint *cp, struct hf_err *err)
{
	struct hf_restore_opts o = { .progress = progress, .ctx = i };
	struct hf_restore_stat st = { 0 };
	struct hf_err e = { 0 };
	struct ckpt *c = NULL;
	struct hf_tree_stat had = { 0 };
	struct treedb db;
	struct stat sb;
	int ret;

	if (!treedb_has_any(i->log, cp->id))
		return 0;
	if (cp->crypto) {
		json_object_array_add(i->left_out, json_object_new_string(cp->path));
		return 0;
	}
	ret = place(i, cp, &c, err);
	if (ret)
		return ret;
	ret = hf_mkdirs(c->root, 0700);
	if (ret)
		hf_fail(err, HF_FAILED, ret, "%s cannot be made: %s", c->root, strerror(-ret));
	if (!ret && !ckpt_stat(c, &sb) && (c->file || !S_ISDIR(sb.st_mode)))
		ret = taken(c, err);
	if (!ret)
		ret = ckpt_make_parents(c, err);
	if (!ret)
		ret = ckpt_open(c, i->def, true, err);
	/* a new filesystem's own directory is none, unless there is something in it */
	if (!ret && !c->file)
		ret = hf_tree_measure(c->tree, 0, &had, err);
	if (!ret && (!ckpt_empty(c) || had.files || had.others))
		ret = taken(c, err);
	if (!ret)
		ret = place_outside(hf_tree_fd(c->tree), i->dir, err);
	if (!ret) {
		treedb_init(&db, i->log, hfd.keys, c->id, NULL);
		ret = hf_restore(c->tree, &db.db, &o, &st, &e);
		if (ret)
			hf_fail(err, db.ret ? db.err.exit : e.exit, ret,
				"%s: restore of %s into %s failed, and what is there is not all of it: %s", i->def->name, cp->path, i->dir,
				e.msg[0] ? e.msg : db.ret ? db.err.msg : strerror(-ret));
		treedb_exit(&db);
	}
	i->st.looked += st.looked;
	i->st.written += st.written;
	i->st.meta += st.meta;
	i->st.bytes += st.bytes;
	ckpt_free(c);
	return ret;
}

static int read_generation(struct into *i, uint64_t gen, struct hf_err *err)
{
	int ret = hf_log_read(hfd.store, &i->def->id, gen, &i->log, err);

	if (ret == -ENOENT)
		hf_fail(err, HF_NOTFOUND, ret, "%s has no generation %s; `holdfast history %s` lists those that can be read",
			i->def->name, gen ? "of that number" : "yet", i->def->name);
	return ret;
}

static int restore(struct req *q, struct hf_err *err)
{
	struct into i = { .q = q, .dir = jget_str(q->args, "to"), .left_out = json_object_new_array() };
	uint64_t gen = jget_u64(q->args, "generation");
	struct json_object *t;
	struct resource *r;
	struct regs *pin;
	bool any = false;
	char *note;
	int ret = verb_registered_now(jget_str(q->args, "resource"), &r, &pin, &i.def, err);

	if (ret)
		goto out;
	if (jhas(q->args, "generation") && !gen)
		ret = hf_fail(err, HF_USAGE, -EINVAL, "generations begin at 1; see `holdfast history %s`", r->name);
	if (!ret)
		ret = verb_outside(i.dir, err);
	if (!ret)
		ret = read_generation(&i, gen, err);
	for (unsigned k = 0; !ret && k < i.def->ncp; k++) {
		any |= treedb_has_any(i.log, i.def->cp[k].id);
		ret = one(&i, &i.def->cp[k], err);
	}
	if (!ret && !any)
		ret = hf_fail(err, HF_NOTFOUND, -ENOENT, "generation %llu has nothing of what is registered for %s now: what was kept of a checkpoint goes with it, also when its path is added again",
			      (unsigned long long)hf_log_gen(i.log), r->name);
	if (ret)
		goto out;
	q->result = jobj();
	ju64(q->result, "generation", hf_log_gen(i.log));
	t = jobj();
	ju64(t, "looked", i.st.looked);
	ju64(t, "written", i.st.written);
	ju64(t, "meta", i.st.meta);
	ju64(t, "bytes", i.st.bytes);
	json_object_object_add(q->result, "restored", t);
	json_object_object_add(q->result, "left_out", json_object_get(i.left_out));
	note = hf_log_fuzzy(i.log) ? strdup("the generation is not a consistent cut: files of it belong to slightly different moments") :
	       group_note(pin, i.log);
	if (note)
		jstr(q->result, "note", note);
	free(note);
out:
	hf_log_close(i.log);
	json_object_put(i.left_out);
	regs_put(pin);
	resource_put(r);
	return ret;
}

const struct verb verbs_restore[] = {
	{ "restore", 0, "resource:s! generation:u to:s!", restore },
	{ NULL, 0, NULL, NULL },
};
