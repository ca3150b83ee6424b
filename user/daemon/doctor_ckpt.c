// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `doctor`: checkpoints as they are on this node. Trees are opened beside those that the workers have.
 * Whether a generation has a path is asked of the store only where that decides something: the path is missing
 * or empty, or a file where a directory may be meant.
 */
#include "doctor.h"
#include "treedb.h"
#include <stdlib.h>
#include <sys/stat.h>

struct newest {			/* generation of a resource */
	struct hf_logid id;
	struct hf_log *log;
	bool asked;
	int ret;
	struct hf_err err;
};

/* 0, -ENOENT: there is none yet, or it cannot be read. A store that does not answer has its own finding, and is not
 * waited for. */
static int newest(struct newest *n)
{
	char *text;

	if (!n->asked) {
		text = beat_store_text();
		n->ret = -ENODEV;
		if (text && !strcmp(text, "ok"))
			n->ret = hf_log_read(hfd.store, &n->id, 0, &n->log, &n->err);
		free(text);
	}
	n->asked = true;
	return n->ret;
}

/* 1: a generation has it, 0: none, or an error */
static int captured(struct newest *n, uint32_t id)
{
	int ret = newest(n);

	return ret == -ENOENT ? 0 : ret ? ret : treedb_seeded(n->log, id);
}

/* What the worker knows of it, where it is online. */
static bool known_here(struct resource *r, uint32_t id, bool *file)
{
	bool known = false;

	pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; i < r->ncp && !known; i++)
		if (r->cp[i]->id == id) {
			*file = r->cp[i]->file;
			known = true;
		}
	pthread_mutex_unlock(&r->lock);
	return known;
}

/* Is it one file? @st: what is here; NULL: nothing. Without a word from the registration and the log, what is here. */
static bool is_file(struct found *f, struct resource *r, const struct hf_checkpoint *cp, bool here, const struct stat *st,
		    struct newest *n)
{
	bool file;

	if (cp->file)
		return true;
	if (here && known_here(r, cp->id, &file))
		return file;
	if (st && (f->only || S_ISREG(st->st_mode)) && captured(n, cp->id) == 1)
		return !treedb_has_root(n->log, cp->id);
	return st && !S_ISDIR(st->st_mode);
}

/* Missing, or empty: does a takeover bring it back? */
static void absent(struct found *f, const char *about, const struct ckpt *c, uint64_t id, bool elsewhere, struct newest *n)
{
	const char *how = c->tree && !c->file ? "empty" : "not there";
	int ret = captured(n, id);

	if (ret == 1 && c->tree)
		find(f, OK, "checkpoint", about, NULL, "is there, %s; a takeover fills it", how);
	else if (ret == 1)
		find(f, OK, "checkpoint", about, NULL, "is not here yet; a takeover makes it");
	else if (ret)
		find(f, WARN, "checkpoint", about, "see what is said of the store and of the resource's log",
		     "is %s, and whether a generation has it cannot be told", how);
	else if (elsewhere)
		find(f, WARN, "checkpoint", about, "see holdfast doctor R on the node that has R online",
		     "is %s here, and no generation has it yet: its owner has not captured it", how);
	else
		find(f, n->log ? BAD : WARN, "checkpoint", about,
		     "bring R online first on the node that has PATH; or fill it here, or say holdfast online R --allow-empty; or holdfast checkpoint delete R PATH",
		     "is %s, and no generation has it: online is refused here", how);
}

static void checkpoint(struct found *f, struct resource *r, const struct hf_resource *def, const struct hf_checkpoint *cp,
		       bool here, bool elsewhere, struct newest *n)
{
	char *about = hf_strf("%s %s", def->name, cp->path);
	struct hf_err e = { 0 };
	struct ckpt *c = NULL;
	struct stat st;
	int ret;

	f->path = cp->path;
	if (ckpt_make(def, cp, &c, &e)) {
		find(f, BAD, "checkpoint", about, "this node cannot take the resource over before", "%s", e.msg);
		goto out;
	}
	ret = ckpt_stat(c, &st);
	c->file = is_file(f, r, cp, here, ret ? NULL : &st, n);
	if (!ret)
		ret = ckpt_open(c, def, false, &e);
	if (!ret || ret == -ENOENT)
		ret = ckpt_mount_check(c, def->name, &e) ? -EBUSY : ret;
	if (ret == -EBUSY)
		find(f, BAD, "checkpoint", about, "mount it; before, the resource is not brought online here", "%s", e.msg);
	else if (ret == -ENOENT && here)
		find(f, BAD, "checkpoint", about, "bring it back, or holdfast checkpoint delete R PATH", "is not there");
	else if ((ret == -EISDIR || ret == -ENOTDIR) && e.exit == HF_REFUSED)
		find(f, BAD, "checkpoint", about,
		     "move it away: what belongs there is in the store; if it is meant to be that from now on: holdfast checkpoint delete R PATH, then add it anew",
		     "has another type: %s", e.msg);
	else if (ret && ret != -ENOENT)
		find(f, BAD, "checkpoint", about, "the path must lead to a directory, or to a file of which it is a checkpoint, below root",
		     "cannot be opened: %s", e.msg[0] ? e.msg : strerror(-ret));
	else if (!here && (ret || ckpt_empty(c)))
		absent(f, about, c, cp->id, elsewhere, n);
	else if (cp->crypto && (st.st_mode & 0007))
		find(f, WARN, "checkpoint", about, "chmod o-rwx it", "holds keys, and others may look into it (mode %04o)", st.st_mode & 07777);
	else
		find(f, OK, "checkpoint", about, NULL, "is there%s", *c->mount ? ", on its own mount" : "");
out:
	ckpt_free(c);
	free(about);
	f->path = NULL;
}

void doctor_checkpoints(struct found *f, struct resource *r, const struct hf_resource *def, bool here, bool elsewhere)
{
	struct newest n = { .id = def->id };

	for (unsigned i = 0; i < def->ncp; i++)
		checkpoint(f, r, def, &def->cp[i], here, elsewhere, &n);
	if (n.ret && n.ret != -ENOENT && n.err.msg[0])
		find(f, BAD, "log", def->name, n.err.exit == HF_DAMAGED ?
		     "holdfast disk check --resource R says what is damaged; DAMAGE in holdfast(8) has what can be done" :
		     "see the store's findings", "%s", n.err.msg);
	hf_log_close(n.log);
}

struct spot { struct ckpt *c; const char *resource; };

static struct spot *spots(const struct hf_reg *reg, size_t *n)
{
	struct spot *v;
	size_t max = 0;

	*n = 0;
	for (unsigned i = 0; i < reg->nres; i++)
		max += reg->res[i].ncp;
	v = calloc(max + 1, sizeof(*v));
	for (unsigned i = 0; v && i < reg->nres; i++) {
		const struct hf_resource *def = &reg->res[i];

		for (unsigned k = 0; k < def->ncp; k++) {
			struct ckpt *c;
			struct stat st;

			if (ckpt_make(def, &def->cp[k], &c, NULL))
				continue;
			c->file = def->cp[k].file || (!ckpt_stat(c, &st) && !S_ISDIR(st.st_mode));
			ckpt_open(c, def, false, NULL);
			c->place = place_look(c, def->name);
			hf_tree_close(c->tree);		/* of a thousand of them not all are open at once */
			c->tree = NULL;
			v[(*n)++] = (struct spot){ c, def->name };
		}
	}
	return v;
}

static void overlap(struct found *f, const struct spot *a, const struct spot *b)
{
	char *about = hf_strf("%s %s", a->resource, a->c->path);

	f->resource = a->resource;
	f->path = a->c->path;
	if (strcmp(a->resource, b->resource))
		find(f, WARN, "overlap", about,
		     "give each resource a path of its own (%i in it is what follows @ in the resource's name), or see that they are never on one node",
		     "overlaps %s of %s: where one of them is online the other is refused", b->c->path, b->resource);
	else
		find(f, BAD, "overlap", about, "holdfast checkpoint delete R PATH, or exclude the inner one from the outer: holdfast checkpoint set",
		     "overlaps %s of the same resource: online is refused here", b->c->path);
	f->resource = f->path = NULL;
	free(about);
}

void doctor_overlaps(struct found *f)
{
	struct regs *pin = regs_get();
	size_t n = 0;
	struct spot *v = pin ? spots(pin->reg, &n) : NULL;

	for (size_t i = 0; i < n; i++)
		for (size_t k = i + 1; k < n; k++) {
			bool first = !f->only || !strcmp(v[i].resource, f->only);

			if (!v[i].c->place || !v[k].c->place || (!first && strcmp(v[k].resource, f->only)))
				continue;
			if (place_collides(v[i].c->place, v[k].c->place))
				overlap(f, first ? &v[i] : &v[k], first ? &v[k] : &v[i]);
		}
	for (size_t i = 0; i < n; i++)
		ckpt_free(v[i].c);
	free(v);
	regs_put(pin);
}
