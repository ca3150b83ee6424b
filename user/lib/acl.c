// SPDX-License-Identifier: LGPL-2.1-or-later
/* POSIX ACLs: the kernel gives them by number; beside them go the names that the numbers have. */
#include "tree_int.h"
#include <stdlib.h>

#define ACL_HEAD 4u		/* version */
#define ACL_ENT 8u		/* tag (2), permissions (2), id (4), all little-endian */
#define ACL_USER 2
#define ACL_GROUP 8

static bool is_acl(const struct hf_xattr *x)
{
	return !strncmp(x->name, "system.posix_acl_", 17) && x->len >= ACL_HEAD &&
	       (x->len - ACL_HEAD) % ACL_ENT == 0;
}

static unsigned tag_of(const uint8_t *e)
{
	return e[0] | e[1] << 8;
}

static uint32_t id_in(const uint8_t *e)
{
	return e[4] | e[5] << 8 | e[6] << 16 | (uint32_t)e[7] << 24;
}

static int by_tag_and_id(const void *a, const void *b)
{
	uint32_t x = id_in(a), y = id_in(b);

	if (tag_of(a) != tag_of(b))
		return tag_of(a) < tag_of(b) ? -1 : 1;
	return x < y ? -1 : x > y;
}

static void sort_entries(struct hf_xattr *x)
{
	qsort((uint8_t *)x->value + ACL_HEAD, (x->len - ACL_HEAD) / ACL_ENT, ACL_ENT, by_tag_and_id);
}

/* calls @fn for every entry that has a number */
static int each_id(struct hf_attr *a, int (*fn)(void *ctx, bool group, uint8_t *e), void *ctx)
{
	int ret = 0;

	for (uint32_t i = 0; i < a->nxattr; i++) {
		struct hf_xattr *x = &a->xattr[i];
		uint8_t *e = (uint8_t *)x->value + ACL_HEAD, *end = (uint8_t *)x->value + x->len;

		if (!is_acl(x))
			continue;
		for (; !ret && e < end; e += ACL_ENT)
			if (tag_of(e) == ACL_USER || tag_of(e) == ACL_GROUP)
				ret = fn(ctx, tag_of(e) == ACL_GROUP, e);
		sort_entries(x);
	}
	return ret;
}

static int by_group_and_id(const void *a, const void *b)
{
	const struct hf_acl_name *x = a, *y = b;

	if (x->group != y->group)
		return x->group ? 1 : -1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static const struct hf_acl_name *find_name(const struct hf_attr *a, bool group, uint32_t id)
{
	const struct hf_acl_name want = { .group = group, .id = id };

	return a->nacl ? bsearch(&want, a->acl, a->nacl, sizeof(want), by_group_and_id) : NULL;
}

struct naming { struct hf_tree *t; struct hf_attr *a; const char *rel; struct hf_err *err; };

static int add_name(void *ctx, bool group, uint8_t *e)
{
	struct naming *n = ctx;
	const char *name;
	uint32_t id = id_in(e);
	void *p;
	int ret;

	if (find_name(n->a, group, id))
		return 0;
	ret = hf_name_of(n->t, group, id, &name);
	if (ret || !*name)
		return ret;
	p = realloc(n->a->acl, (n->a->nacl + 1) * sizeof(*n->a->acl));
	if (!p)
		return -ENOMEM;
	n->a->acl = p;
	n->a->acl[n->a->nacl] = (struct hf_acl_name){ group, id, strdup(name) };
	if (!n->a->acl[n->a->nacl].name)
		return -ENOMEM;
	qsort(n->a->acl, ++n->a->nacl, sizeof(*n->a->acl), by_group_and_id);
	return 0;
}

int hf_acl_names(struct hf_tree *t, struct hf_attr *a)
{
	struct naming n = { .t = t, .a = a };

	return each_id(a, add_name, &n);
}

static int to_local(void *ctx, bool group, uint8_t *e)
{
	struct naming *n = ctx;
	const struct hf_acl_name *name = find_name(n->a, group, id_in(e));
	uint32_t id;
	int ret;

	if (!name)
		return 0;
	ret = hf_id_here(n->t, group, name->name, "that an ACL names, of", &id, n->rel, n->err);
	for (int i = 0; !ret && i < 4; i++)
		e[4 + i] = id >> (8 * i);
	return ret;
}

int hf_acl_here(struct hf_tree *t, struct hf_attr *a, const char *rel, struct hf_err *err)
{
	struct naming n = { t, a, rel, err };

	return each_id(a, to_local, &n);
}
