/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tree verbs share. */
#ifndef HF_CLI_TREE_H
#define HF_CLI_TREE_H

#include "nl.h"

struct trees {
	struct hf_nl *nl;
	struct json_object *list;	/* of the resource that was asked for, or all */
};

/** trees_get() - reaches the module, and the trees of R; 0, or an exit code with c->err filled */
int trees_get(struct cli *c, struct trees *t);
void trees_put(struct trees *t);
/** tree_with() - the one with @id, or NULL */
struct json_object *tree_with(const struct trees *t, uint32_t id);
/** tree_path() - of @o, a tree or a change: its path, with the name below it; for free() */
char *tree_path(struct json_object *o);
/** words() - the members of a list of strings, joined */
char *words(struct json_object *o, const char *key, char *buf, size_t size);
/** who() - user, or number */
char *who(struct json_object *o, const char *name, const char *number, char *buf, size_t size);

#endif
