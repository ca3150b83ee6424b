// SPDX-License-Identifier: GPL-2.0-or-later
/* What is registered: resources, their policies, their checkpoints. */
#include "cli.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* a request whose result is only worth a line; @fmt with one %s for the subject */
static int simple(struct cli *c, const char *verb, struct json_object *args, const char *done,
		  const char *subject)
{
	struct json_object *r;
	int ret = call(c, verb, args, &r);

	if (ret)
		return ret;
	if (c->json)
		print_json(r);
	else if (!c->quiet)
		say("%s: %s\n", subject, done);
	json_object_put(r);
	return printed(c);
}

static struct json_object *named(struct cli *c)
{
	struct json_object *a = args_new();

	args_str(a, "name", arg_pos(c, 0));
	return a;
}

int cmd_resource_add(struct cli *c)
{
	struct json_object *a = named(c);

	args_str(a, "type", arg_value(c, "type"));
	return simple(c, "resource.add", a, "registered", arg_pos(c, 0));
}

int cmd_resource_delete(struct cli *c)
{
	struct json_object *a = named(c), *r, *n;
	int64_t count;
	int ret;

	ret = confirm(c, "Delete resource %s with its checkpoints and their history?", arg_pos(c, 0));
	if (ret) {
		json_object_put(a);
		return ret;
	}
	args_flag(c, a, "dry-run", "dry_run");
	ret = call(c, "resource.delete", a, &r);
	if (ret)
		return ret;
	n = jobj(r, "checkpoints");
	count = json_object_is_type(n, json_type_array) ? (int64_t)json_object_array_length(n) : jint(r, "checkpoints");
	if (c->json)
		print_json(r);
	else if (arg_flag(c, "dry-run"))
		say("%s: would be deleted with %lld checkpoint%s\n", arg_pos(c, 0), (long long)count, count == 1 ? "" : "s");
	else if (!c->quiet)
		say("%s: deleted with %lld checkpoint%s\n", arg_pos(c, 0), (long long)count, count == 1 ? "" : "s");
	json_object_put(r);
	return printed(c);
}

int cmd_resource_list(struct cli *c)
{
	static const char *const heads[] = { "RESOURCE", "TYPE", "STATE", "OWNER", "CHECKPOINTS", NULL };
	struct json_object *a = args_new(), *r;
	struct table *t;
	int ret;

	args_str(a, "type", arg_value(c, "type"));
	ret = call(c, "resource.list", a, &r);
	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
		goto out;
	}
	t = table_new(heads);
	for (size_t i = 0; i < jlen(r, "resources"); i++) {
		struct json_object *o = jat(r, "resources", i);

		table_cell(t, PLAIN, "%s", jstr(o, "name"));
		table_cell(t, PLAIN, "%s", *jstr(o, "type") ? jstr(o, "type") : "-");
		table_cell(t, PLAIN, "%s", jstr(o, "state"));
		table_cell(t, PLAIN, "%s", *jstr(o, "owner") ? jstr(o, "owner") : "-");
		table_cell(t, PLAIN, "%lld", (long long)jint(o, "checkpoints"));
	}
	table_print(t);
out:
	json_object_put(r);
	return printed(c);
}

static void checkpoint_table(struct json_object *r, bool resource)
{
	static const char *const with[] = { "RESOURCE", "PATH", "KIND", "VIEW", "EXCLUDED", NULL };
	struct table *t = table_new(resource ? with : with + 1);

	for (size_t i = 0; i < jlen(r, "checkpoints"); i++) {
		struct json_object *o = jat(r, "checkpoints", i);
		char list[256] = "";

		for (size_t k = 0; k < jlen(o, "exclude") && strlen(list) < 200; k++)
			snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", k ? " " : "",
				 json_object_get_string(jat(o, "exclude", k)));
		if (resource)
			table_cell(t, PLAIN, "%s", jstr(o, "resource"));
		table_cell(t, PLAIN, "%s", jstr(o, "path"));
		table_cell(t, PLAIN, "%s%s", jstr(o, "kind"), jbool(o, "file") ? ", file" : "");
		table_cell(t, PLAIN, "%s", jstr(o, "view"));
		table_cell(t, PLAIN, "%s", *list ? list : "-");
	}
	table_print(t);
}

static void line(const char *key, const char *value)
{
	if (*value)
		say("%-12s %s\n", key, value);
}

int cmd_resource_show(struct cli *c)
{
	struct json_object *r, *policy, *set;
	int ret = call(c, "resource.show", named(c), &r);

	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
		goto out;
	}
	line("name", jstr(r, "name"));
	line("type", jstr(r, "type"));
	line("state", jstr(r, "state"));
	line("owner", jstr(r, "owner"));
	say("%-12s %lld\n", "epoch", (long long)jint(r, "epoch"));
	say("%-12s %lld\n", "generation", (long long)jint(r, "generation"));
	line("error", jstr(r, "error"));
	for (size_t i = 0; i < jlen(r, "warnings"); i++)
		line("warning", json_object_get_string(jat(r, "warnings", i)));
	if (jlen(r, "checkpoints")) {
		say("\n");
		checkpoint_table(r, false);
	}
	policy = jobj(r, "policy");
	set = jobj(r, "policy_set");
	if (json_object_is_type(policy, json_type_object)) {
		static const char *const heads[] = { "POLICY", "VALUE", "", NULL };
		struct table *t = table_new(heads);

		json_object_object_foreach(policy, key, val) {
			bool given = jhas(set, key);

			table_cell(t, PLAIN, "%s", key);
			table_cell(t, PLAIN, "%s", val ? json_object_get_string(val) : "-");
			table_cell(t, given ? PLAIN : DIM, "%s", given ? "set" : "default");
		}
		say("\n");
		table_print(t);
	}
out:
	json_object_put(r);
	return printed(c);
}

int cmd_resource_set(struct cli *c)
{
	struct json_object *a, *values;

	for (int i = 1; i < c->npos; i++)
		for (int k = 1; k < i; k++)
			if (!strncmp(c->pos[i], c->pos[k], strcspn(c->pos[i], "=") + 1))
				return usage(c, "'%.*s' is given twice", (int)strcspn(c->pos[i], "="), c->pos[i]);
	a = named(c);
	values = json_object_new_object();
	for (int i = 1; i < c->npos; i++) {
		size_t n = strcspn(c->pos[i], "=");
		const char *value = c->pos[i] + n + 1;
		char *key = strndup(c->pos[i], n);

		if (key)
			json_object_object_add(values, key, *value ? json_object_new_string(value) : NULL);
		free(key);
	}
	json_object_object_add(a, "values", values);
	return simple(c, "resource.set", a, "set", arg_pos(c, 0));
}

int cmd_resource_reset(struct cli *c)
{
	struct json_object *r;
	int ret = call(c, "resource.reset", named(c), &r);

	if (ret)
		return ret;
	if (c->json)
		print_json(r);
	else if (!c->quiet)
		say("%s: %s\n", arg_pos(c, 0), *jstr(r, "state") ? jstr(r, "state") : "reset");
	json_object_put(r);
	return printed(c);
}

static struct json_object *placed(struct cli *c)
{
	struct json_object *a = args_new();

	args_str(a, "resource", arg_pos(c, 0));
	args_str(a, "path", arg_pos(c, 1));
	return a;
}

/* In the order given, as the last one that matches decides: --include G is !G among them. */
static void patterns(struct cli *c, struct json_object *a)
{
	struct json_object *list = json_object_new_array();

	for (int i = 0; i < c->ngiven; i++) {
		bool in = !strcmp(c->given[i].opt->name, "include");
		char *s;

		if (!in && strcmp(c->given[i].opt->name, "exclude"))
			continue;
		if (asprintf(&s, "%s%s", in ? "!" : "", c->given[i].value) < 0)
			continue;
		json_object_array_add(list, json_object_new_string(s));
		free(s);
	}
	json_object_object_add(a, "exclude", list);
}

static void overlaps(struct cli *c, struct json_object *r)
{
	fflush(stdout);
	for (size_t i = 0; i < jlen(r, "overlaps"); i++) {
		struct json_object *o = jat(r, "overlaps", i);

		fprintf(stderr, "holdfast checkpoint add: warning: %s of %s overlaps %s of %s: the two cannot be online on the same node "
				"at once (%%n and %%i in a path keep instances apart)\n",
			arg_pos(c, 1), arg_pos(c, 0), jstr(o, "path"), jstr(o, "resource"));
	}
}

int cmd_checkpoint_add(struct cli *c)
{
	struct json_object *a = placed(c), *r;
	char bytes[32];
	int ret;

	args_str(a, "view", arg_value(c, "view"));
	args_flag(c, a, "crypto", "crypto");
	args_flag(c, a, "allow-empty", "allow_empty");
	args_flag(c, a, "force", "force");
	patterns(c, a);
	ret = call(c, "checkpoint.add", a, &r);
	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
		goto out;
	}
	if (c->quiet)
		goto out;
	say("%s: %s registered", arg_pos(c, 0), arg_pos(c, 1));
	if (jhas(r, "files"))
		say("; %lld file%s in %lld director%s, %s", (long long)jint(r, "files"), jint(r, "files") == 1 ? "" : "s",
		    (long long)jint(r, "directories"), jint(r, "directories") == 1 ? "y" : "ies",
		    text_bytes(jint(r, "bytes"), bytes));
	if (jint(r, "generation"))
		say("; generation %lld has it", (long long)jint(r, "generation"));
	if (jhas(r, "scan_s") && jint(r, "scan_s"))
		say("; tracked by a scan every %lld s", (long long)jint(r, "scan_s"));
	else if (*jstr(r, "quality"))
		say("; tracked by %s", strcmp(jstr(r, "quality"), "events") ? "scans, at each sync" : "events");
	if (jhas(r, "memory"))
		say(", in %s of kernel memory", text_bytes(jint(r, "memory"), bytes));
	say("\n");
	if (*jstr(r, "note"))
		say("%s\n", jstr(r, "note"));
out:
	overlaps(c, r);
	json_object_put(r);
	return printed(c);
}

int cmd_checkpoint_set(struct cli *c)
{
	bool some = arg_value(c, "exclude") || arg_value(c, "include");
	struct json_object *a, *r;
	int ret;

	if (some == arg_flag(c, "all"))
		return usage(c, "say what to exclude, or --all; usage: holdfast %s %s", c->cmd->name, c->cmd->synopsis);
	a = placed(c);
	patterns(c, a);
	ret = call(c, "checkpoint.set", a, &r);
	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
	} else if (!c->quiet) {
		say("%s: %s changed", arg_pos(c, 0), arg_pos(c, 1));
		if (jint(r, "generation"))
			say("; generation %lld goes by it", (long long)jint(r, "generation"));
		say("\n");
		if (*jstr(r, "note"))
			say("%s\n", jstr(r, "note"));
	}
	json_object_put(r);
	return printed(c);
}

int cmd_checkpoint_delete(struct cli *c)
{
	struct json_object *a;
	int ret = confirm(c, "No longer keep %s for %s? What was kept of it goes.", arg_pos(c, 1), arg_pos(c, 0));

	if (ret)
		return ret;
	a = placed(c);
	args_flag(c, a, "dry-run", "dry_run");
	return simple(c, "checkpoint.delete", a, arg_flag(c, "dry-run") ? "would be deleted" : "deleted", arg_pos(c, 1));
}

int cmd_checkpoint_list(struct cli *c)
{
	const char *first = arg_pos(c, 0), *pattern = arg_pos(c, 1), *resource = first;
	struct json_object *a, *r;
	int ret;

	/* a resource's name holds neither a slash nor a wildcard: then it is the pattern */
	if (first && first[strcspn(first, "/*?[")]) {
		if (pattern)
			return usage(c, "R '%s' is not the name of a resource; usage: holdfast %s %s", first, c->cmd->name,
				     c->cmd->synopsis);
		pattern = first;
		resource = NULL;
	}
	if (resource && strspn(resource, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@:+-") !=
			strlen(resource))
		return usage(c, "this is neither the name of a resource nor a pattern; usage: holdfast %s %s", c->cmd->name,
			     c->cmd->synopsis);
	a = args_new();
	args_str(a, "resource", resource);
	args_str(a, "type", arg_value(c, "type"));
	args_str(a, "kind", arg_value(c, "kind"));
	args_str(a, "pattern", pattern);
	ret = call(c, "checkpoint.list", a, &r);
	if (ret)
		return ret;
	if (c->json)
		print_json(r);
	else
		checkpoint_table(r, true);
	json_object_put(r);
	return printed(c);
}
