// SPDX-License-Identifier: GPL-2.0-or-later
/* resource rebuild: what was damaged, what became of it and of history. */
#include "cli.h"

static void list(struct json_object *r, const char *key)
{
	for (size_t i = 0; i < jlen(r, key); i++)
		say("  %s\n", json_object_get_string(jat(r, key, i)));
}

static void would(const char *name, struct json_object *r)
{
	if (jbool(r, "unreadable"))
		say("%s: its log cannot be read: it would begin anew with this node's trees, without its history%s\n", name,
		    jlen(r, "pins") ? "" : " and, unless it is online here, without what is pinned");
	else
		say("%s: its log can be read\n", name);
	say("%lld entr%s whose contents are damaged would be written anew\n", (long long)jint(r, "damaged"),
	    jint(r, "damaged") == 1 ? "y" : "ies");
	list(r, "paths");
	if (jlen(r, "pins"))
		say("pinned generations with damaged contents, which would go:\n");
	list(r, "pins");
}

static void done(const char *name, struct json_object *r)
{
	say("%s: generation %lld is confirmed, made anew from this node's trees\n", name, (long long)jint(r, "generation"));
	if (jint(r, "damaged"))
		say("%lld entr%s whose contents were damaged:\n", (long long)jint(r, "damaged"),
		    jint(r, "damaged") == 1 ? "y" : "ies");
	list(r, "paths");
	if (jlen(r, "pins"))
		say("pinned generations with damaged contents, which are gone:\n");
	list(r, "pins");
	if (jbool(r, "unreadable"))
		say("its log could not be read: history is gone, and begins with generation %lld\n", (long long)jint(r, "oldest"));
	else if (jint(r, "generations"))
		say("history: %lld generation%s can be read, from %lld on\n", (long long)jint(r, "generations"),
		    jint(r, "generations") == 1 ? "" : "s", (long long)jint(r, "oldest"));
	if (*jstr(r, "note"))
		say("%s\n", jstr(r, "note"));
}

int cmd_resource_rebuild(struct cli *c)
{
	const char *name = arg_pos(c, 0);
	struct json_object *a, *r;
	int ret = arg_flag(c, "dry-run") ? 0 :
		  confirm(c, "Make anew, from this node's files, what the store has of %s? What is damaged of its history goes.", name);

	if (ret)
		return ret;
	a = args_new();
	args_str(a, "name", name);
	args_flag(c, a, "keep-local", "keep_local");
	args_flag(c, a, "allow-empty", "allow_empty");
	args_flag(c, a, "dry-run", "dry_run");
	ret = call(c, "resource.rebuild", a, &r);
	if (ret)
		return ret;
	if (c->json)
		print_json(r);
	else if (!c->quiet && arg_flag(c, "dry-run"))
		would(name, r);
	else if (!c->quiet)
		done(name, r);
	json_object_put(r);
	return printed(c);
}
