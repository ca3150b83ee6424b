// SPDX-License-Identifier: GPL-2.0-or-later
/* The trees of the module: list, dirty, delete. */
#include "tree.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uapi/linux/holdfast.h>

static int same_abi(struct cli *c, struct hf_nl *nl)
{
	struct json_object *o = NULL;
	int ret = hf_nl_version(nl, &o);

	if (!ret && jint(o, "abi") != HOLDFAST_ABI)
		ret = because(c, HF_FAILED, "the holdfast.ko that is loaded speaks ABI %lld, and this command %d: install the same "
			      "version of both, then run holdfast module reload", (long long)jint(o, "abi"), HOLDFAST_ABI);
	json_object_put(o);
	return ret;
}

int trees_get(struct cli *c, struct trees *t)
{
	const char *resource = c->cmd->pos[0].type == V_NAME ? arg_pos(c, 0) : NULL;
	struct json_object *all;
	int ret;

	*t = (struct trees){ 0 };
	ret = hf_nl_open(c, &t->nl);
	if (!ret)
		ret = same_abi(c, t->nl);
	if (!ret)
		ret = hf_nl_trees(t->nl, &t->list);
	if (ret || !resource)
		return ret;
	all = t->list;
	t->list = json_object_new_array();
	for (size_t i = 0; i < json_object_array_length(all); i++) {
		struct json_object *o = json_object_array_get_idx(all, i);

		if (!strcmp(jstr(o, "resource"), resource))
			json_object_array_add(t->list, json_object_get(o));
	}
	json_object_put(all);
	if (json_object_array_length(t->list))
		return 0;
	return because(c, HF_NOTFOUND, "the module has no tree of %s: it is not online here, or its trees are tracked with "
		       "fanotify (holdfast status tells)", resource);
}

void trees_put(struct trees *t)
{
	json_object_put(t->list);
	hf_nl_close(t->nl);
}

struct json_object *tree_with(const struct trees *t, uint32_t id)
{
	for (size_t i = 0; t->list && i < json_object_array_length(t->list); i++) {
		struct json_object *o = json_object_array_get_idx(t->list, i);

		if (jint(o, "id") == id)
			return o;
	}
	return NULL;
}

char *tree_path(struct json_object *o)
{
	const char *path = *jstr(o, "path") ? jstr(o, "path") : "?", *rel = jstr(o, jhas(o, "rel") ? "rel" : "file");
	char *s;

	if (asprintf(&s, "%s%s%s", path, *rel && strcmp(path, "/") ? "/" : "", rel) < 0)
		return NULL;
	return s;
}

char *words(struct json_object *o, const char *key, char *buf, size_t size)
{
	*buf = 0;
	for (size_t i = 0; i < jlen(o, key); i++) {
		size_t n = strlen(buf);

		snprintf(buf + n, size - n, "%s%s", i ? "," : "", json_object_get_string(jat(o, key, i)));
	}
	return buf;
}

char *who(struct json_object *o, const char *name, const char *number, char *buf, size_t size)
{
	if (*jstr(o, name))
		snprintf(buf, size, "%s", jstr(o, name));
	else if (jhas(o, number))
		snprintf(buf, size, "%lld", (long long)jint(o, number));
	else
		snprintf(buf, size, "-");
	return buf;
}

static bool has(struct json_object *tree, const char *flag)
{
	for (size_t i = 0; i < jlen(tree, "flags"); i++)
		if (!strcmp(json_object_get_string(jat(tree, "flags", i)), flag))
			return true;
	return false;
}

static void tree_cells(struct table *t, struct json_object *o)
{
	char b[160], *path = tree_path(o);

	table_cell(t, PLAIN, "%lld", (long long)jint(o, "id"));
	table_cell(t, PLAIN, "%s", *jstr(o, "resource") ? jstr(o, "resource") : "-");
	table_cell(t, PLAIN, "%s", path ? path : "?");
	table_cell(t, has(o, "lost") ? BAD : has(o, "moved") || has(o, "coarse") || !has(o, "attached") ? WARN : GOOD, "%s",
		   jlen(o, "flags") ? words(o, "flags", b, sizeof(b)) : "-");
	table_cell(t, strcmp(jstr(o, "quality"), "scan") ? PLAIN : WARN, "%s", *jstr(o, "quality") ? jstr(o, "quality") : "-");
	table_cell(t, PLAIN, "%s", jbool(o, "stores") ? "noted" : "missed");
	table_cell(t, PLAIN, "%lld", (long long)jint(o, "marks"));
	table_cell(t, PLAIN, "%lld", (long long)jint(o, "dirty"));
	table_cell(t, PLAIN, "%s", jhas(o, "oldest_dirty_ms") ? text_duration(jint(o, "oldest_dirty_ms"), b) : "-");
	table_cell(t, PLAIN, "%lld", (long long)jint(o, "seq"));
	free(path);
}

/* prints {@key: @list}; takes @list over */
static void print_list(const char *key, struct json_object *list)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, key, list);
	print_json(o);
	json_object_put(o);
}

int cmd_tree_list(struct cli *c)
{
	static const char *const heads[] = {
		"ID", "RESOURCE", "PATH", "FLAGS", "QUALITY", "STORES", "MARKS", "DIRTY", "OLDEST", "SEQUENCE", NULL,
	};
	struct table *table;
	struct trees t;
	size_t n;
	int ret = trees_get(c, &t);

	if (ret) {
		ret = fail(c);
		goto out;
	}
	n = json_object_array_length(t.list);
	if (c->json) {
		print_list("trees", json_object_get(t.list));
	} else if (!n) {
		say("the module has no tree; holdfast online R registers those of R\n");
	} else {
		table = table_new(heads);
		for (size_t i = 0; i < n; i++)
			tree_cells(table, json_object_array_get_idx(t.list, i));
		table_print(table);
	}
	ret = printed(c);
out:
	trees_put(&t);
	return ret;
}

static void dirty_cells(struct table *t, struct json_object *o)
{
	char b[160], s[80], *path = tree_path(o);

	table_cell(t, PLAIN, "%lld", (long long)jint(o, "tree"));
	table_cell(t, PLAIN, "%s", *jstr(o, "resource") ? jstr(o, "resource") : "-");
	table_cell(t, PLAIN, "%s", jhas(o, "age_ms") ? text_duration(jint(o, "age_ms"), b) : "-");
	words(o, "ops", b, sizeof(b));
	table_cell(t, PLAIN, "%s", *b ? b : "-");
	table_cell(t, jlen(o, "state") ? WARN : PLAIN, "%s", jlen(o, "state") ? words(o, "state", s, sizeof(s)) : "-");
	table_cell(t, PLAIN, "%s", who(o, "user", "uid", b, sizeof(b)));
	table_cell(t, PLAIN, "%s", who(o, "login", "loginuid", b, sizeof(b)));
	table_cell(t, PLAIN, "%lld", (long long)jint(o, "pid"));
	table_cell(t, PLAIN, "%s", jstr(o, "comm"));
	table_cell(t, PLAIN, "%s", path ? path : "?");
	free(path);
}

int cmd_tree_dirty(struct cli *c)
{
	static const char *const heads[] = {
		"TREE", "RESOURCE", "AGE", "WHAT", "STATE", "USER", "LOGIN", "PID", "COMMAND", "PATH", NULL,
	};
	struct json_object *list = json_object_new_array();
	struct table *table;
	struct trees t;
	int ret = trees_get(c, &t);

	for (size_t i = 0; !ret && i < json_object_array_length(t.list); i++) {
		ret = hf_nl_dirty(t.nl, json_object_array_get_idx(t.list, i), list);
		/* one that was deleted meanwhile has no dirty set */
		if (ret == HF_NOTFOUND)
			ret = 0;
	}
	if (ret) {
		ret = fail(c);
		goto out;
	}
	if (c->json) {
		print_list("dirty", json_object_get(list));
	} else if (json_object_array_length(list)) {
		table = table_new(heads);
		for (size_t i = 0; i < json_object_array_length(list); i++)
			dirty_cells(table, json_object_array_get_idx(list, i));
		table_print(table);
	}
	ret = printed(c);
out:
	json_object_put(list);
	trees_put(&t);
	return ret;
}

int cmd_tree_delete(struct cli *c)
{
	uint32_t id = strtoul(arg_pos(c, 0), NULL, 10);
	struct json_object *tree;
	char *path = NULL;
	struct trees t;
	int ret = trees_get(c, &t);

	tree = tree_with(&t, id);
	path = tree_path(tree);
	if (!ret && !tree)
		ret = because(c, HF_NOTFOUND, "there is no tree %u; holdfast tree list shows them", id);
	else if (!ret && has(tree, "attached"))
		ret = because(c, HF_REFUSED, "tree %u (%s) is in use by a daemon; take the resource offline: holdfast offline %s",
			      id, path ? path : "?", jstr(tree, "resource"));
	if (ret) {
		ret = fail(c);
		goto out;
	}
	ret = confirm(c, "Forget tree %u (%s of %s), and the %lld changes in it that nobody has acknowledged?", id,
		      path ? path : "?", jstr(tree, "resource"), (long long)jint(tree, "dirty"));
	if (ret)
		goto out;
	if (!arg_flag(c, "dry-run"))
		ret = hf_nl_tree_delete(t.nl, id);
	if (ret) {
		ret = fail(c);
		goto out;
	}
	if (c->json)
		puts("{}");
	else if (!c->quiet)
		say("tree %u (%s of %s) %s deleted\n", id, path ? path : "?", jstr(tree, "resource"),
		    arg_flag(c, "dry-run") ? "would be" : "is");
	ret = printed(c);
out:
	free(path);
	trees_put(&t);
	return ret;
}
