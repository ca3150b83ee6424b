// SPDX-License-Identifier: LGPL-2.1-or-later
/* Owners by name and number, as this node's databases have them. */
#include "tree_int.h"
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

static void ids_clear(struct hf_idcache *c)
{
	for (unsigned i = 0; i < c->n; i++)
		free(c->e[i].name);
	free(c->e);
	memset(c, 0, sizeof(*c));
}

void hf_ids_free(struct hf_tree *t)
{
	ids_clear(&t->users);
	ids_clear(&t->groups);
}

/* a user may have been made since: nothing is believed for long, and a restore asks anew */
void hf_ids_begin(struct hf_tree *t, bool fresh)
{
	uint64_t now = hf_now_ns();

	if (!fresh && now - t->ids_ns < 5000000000ull)
		return;
	hf_ids_free(t);
	t->ids_ns = now;
}

static const struct hf_idname *ids_add(struct hf_idcache *c, uint32_t id, bool by_id, bool known,
				       const char *name)
{
	struct hf_idname *e;

	if (c->n == c->cap) {
		unsigned cap = c->cap ? 2 * c->cap : 16;

		e = realloc(c->e, cap * sizeof(*e));
		if (!e)
			return NULL;
		c->e = e;
		c->cap = cap;
	}
	e = &c->e[c->n];
	e->id = id;
	e->by_id = by_id;
	e->known = known;
	e->name = strdup(name);
	if (!e->name)
		return NULL;
	c->n++;
	return e;
}

/* one question to the databases; by name if @name, else by @id.
 * -ENOENT: no such entry */
static int ask(bool group, const char *name, uint32_t *id, char **out)
{
	size_t cap = 1024;

	for (;; cap *= 4) {
		char *buf = malloc(cap);
		struct passwd pw, *pp = NULL;
		struct group gr, *gp = NULL;
		int rc;

		if (!buf)
			return -ENOMEM;
		if (group)
			rc = name ? getgrnam_r(name, &gr, buf, cap, &gp) : getgrgid_r(*id, &gr, buf, cap, &gp);
		else
			rc = name ? getpwnam_r(name, &pw, buf, cap, &pp) : getpwuid_r(*id, &pw, buf, cap, &pp);
		if (!gp && !pp) {
			free(buf);
			if (rc == ERANGE && cap < (16u << 20))
				continue;
			if (rc == EINTR) {
				cap /= 4;
				continue;
			}
			/* what the manual calls "0 or ENOENT or ESRCH or EBADF or EPERM or ..." */
			return rc == EIO || rc == EMFILE || rc == ENFILE || rc == ENOMEM ? -rc : -ENOENT;
		}
		*id = group ? gp->gr_gid : pp->pw_uid;
		*out = strdup(group ? gp->gr_name : pp->pw_name);
		free(buf);
		return *out ? 0 : -ENOMEM;
	}
}

int hf_name_of(struct hf_tree *t, bool group, uint32_t id, const char **name)
{
	struct hf_idcache *c = group ? &t->groups : &t->users;
	const struct hf_idname *e = NULL;
	char *got = NULL;

	for (unsigned i = 0; !e && i < c->n; i++)
		if (c->e[i].by_id && c->e[i].id == id)
			e = &c->e[i];
	if (!e) {
		int ret = ask(group, NULL, &id, &got);

		if (ret && ret != -ENOENT)
			return ret;
		e = ids_add(c, id, true, !ret, ret ? "" : got);
		free(got);
		if (!e)
			return -ENOMEM;
	}
	*name = e->name;
	return 0;
}

static int id_of(struct hf_tree *t, bool group, const char *name, uint32_t *id)
{
	struct hf_idcache *c = group ? &t->groups : &t->users;
	char *got = NULL;
	int ret;

	for (unsigned i = 0; i < c->n; i++)
		if (!strcmp(c->e[i].name, name)) {
			*id = c->e[i].id;
			return c->e[i].known ? 0 : -ENOENT;
		}
	*id = UINT32_MAX;
	ret = ask(group, name, id, &got);
	free(got);
	if (ret && ret != -ENOENT)
		return ret;
	if (!ids_add(c, *id, false, !ret, name))
		return -ENOMEM;
	return ret;
}

int hf_id_here(struct hf_tree *t, bool group, const char *name, const char *role, uint32_t *id,
	       const char *rel, struct hf_err *err)
{
	int ret = id_of(t, group, name, id);

	if (ret) {
		char *text = hf_tree_text(t, rel), *who = hf_printable(name, strlen(name));

		hf_fail(err, HF_FAILED, ret,
			ret == -ENOENT ? "%s '%.64s' %s %.600s does not exist on this node; "
			"create it, or set owners=number" : "cannot look up %s '%.64s' %s %.600s",
			group ? "group" : "user", who ? who : "?", role, text ? text : "?");
		free(who);
		free(text);
	}
	return ret;
}

int hf_attr_here(struct hf_tree *t, struct hf_attr *a, const char *rel, struct hf_err *err)
{
	int ret = 0;

	if (a->here || (t->flags & HF_TREE_NUMBERS))
		return 0;
	if (a->user && *a->user)
		ret = hf_id_here(t, false, a->user, "that owns", &a->uid, rel, err);
	if (!ret && a->group && *a->group)
		ret = hf_id_here(t, true, a->group, "that owns", &a->gid, rel, err);
	if (!ret && a->nacl)
		ret = hf_acl_here(t, a, rel, err);
	a->here = !ret;
	return ret;
}

struct owning { struct hf_tree t; struct hf_err *err; };

static int owner_here(void *ctx, const char *rel, const struct hf_known *k)
{
	struct owning *o = ctx;
	struct hf_attr a;
	int ret = hf_attr_decode(k->attr, k->attrlen, &a);

	if (ret)
		return hf_tree_fail(&o->t, o->err, ret, "the generation's entry for", rel);
	ret = hf_attr_here(&o->t, &a, rel, o->err);
	hf_attr_free(&a);
	return ret;
}

int hf_owners_here(const char *path, unsigned flags, const struct hf_tree_db *db, struct hf_err *err)
{
	struct owning o = { .t = { .root = -1, .flags = flags, .path = strdup(path), .dirpath = strdup(path) }, .err = err };
	int ret = o.t.path && o.t.dirpath ? db->each(db->arg, "", owner_here, &o) :
		  hf_fail(err, HF_OK, -ENOMEM, "out of memory");

	hf_ids_free(&o.t);
	free(o.t.path);
	free(o.t.dirpath);
	return ret;
}
