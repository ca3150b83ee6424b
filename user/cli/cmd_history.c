// SPDX-License-Identifier: GPL-2.0-or-later
/* The generations of a resource, and those that are kept for good. */
#include "cli.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct json_object *about(struct cli *c)
{
	struct json_object *a = args_new();

	args_str(a, "resource", arg_pos(c, 0));
	return a;
}

/* the pins of a generation, as "[pinned X, Y]" */
static void pin_cell(char *out, size_t n, struct json_object *r, int64_t gen)
{
	size_t len = 0;

	*out = 0;
	for (size_t i = 0; i < jlen(r, "pins") && len < n; i++) {
		struct json_object *p = jat(r, "pins", i);

		if (jint(p, "generation") == gen)
			len += snprintf(out + len, n - len, "%s%s", len ? ", " : " [pinned ", jstr(p, "name"));
	}
	if (len && len < n)
		snprintf(out + len, n - len, "]");
}

/* the group that it belongs to, as "[group 1a2b3c4d: pg 5, cups 7]" */
static void group_cell(char *out, size_t n, struct json_object *o)
{
	struct json_object *g = jobj(o, "group");
	size_t len;

	*out = 0;
	if (!g)
		return;
	len = snprintf(out, n, " [%sgroup %.8s:", jbool(g, "complete") ? "" : "incomplete ", jstr(g, "id"));
	for (size_t i = 0; i < jlen(g, "members") && len < n; i++) {
		struct json_object *m = jat(g, "members", i);

		len += snprintf(out + len, n - len, "%s %s %lld%s%s", i ? "," : "", jstr(m, "resource"), (long long)jint(m, "generation"),
				strcmp(jstr(m, "state"), "there") ? " " : "", strcmp(jstr(m, "state"), "there") ? jstr(m, "state") : "");
	}
	if (len < n)
		snprintf(out + len, n - len, "]");
}

/* a generation that is read from its pin alone */
static void pinned_row(struct table *t, struct json_object *r, struct json_object *p)
{
	char b[32], pins[256], group[512];

	pin_cell(pins, sizeof(pins), r, jint(p, "generation"));
	group_cell(group, sizeof(group), p);
	table_cell(t, PLAIN, "%lld", (long long)jint(p, "generation"));
	table_cell(t, PLAIN, "%s", text_time(jint(p, "when_ms"), b));
	table_cell(t, PLAIN, "-");
	table_cell(t, PLAIN, "-");
	table_cell(t, PLAIN, "%lld", (long long)jint(p, "entries"));
	table_cell(t, PLAIN, "-");
	table_cell(t, PLAIN, "%s", text_bytes(jint(p, "bytes"), b));
	table_cell(t, PLAIN, "%s%s%s", *pins ? pins + 1 : "", jbool(p, "consistent") ? "" : " [fuzzy]", group);
}

static void number_cell(struct table *t, struct json_object *o, const char *key)
{
	if (jhas(o, key))
		table_cell(t, PLAIN, "%lld", (long long)jint(o, key));
	else
		table_cell(t, PLAIN, "-");
}

static int by_gen(const void *a, const void *b)
{
	int64_t x = jint(*(struct json_object *const *)a, "generation");
	int64_t y = jint(*(struct json_object *const *)b, "generation");

	return (x > y) - (x < y);
}

static void pinned_before(struct table *t, struct json_object *r, int64_t first)
{
	size_t n = jlen(r, "pins");
	struct json_object **v = calloc(n + 1, sizeof(*v));

	for (size_t i = 0; v && i < n; i++)
		v[i] = jat(r, "pins", i);
	if (v)
		qsort(v, n, sizeof(*v), by_gen);
	for (size_t i = 0; v && i < n; i++)
		if (jint(v[i], "generation") < first && (!i || by_gen(&v[i - 1], &v[i])))
			pinned_row(t, r, v[i]);
	free(v);
}

int cmd_history(struct cli *c)
{
	static const char *const heads[] = { "GENERATION", "WHEN", "NODE", "EPOCH", "PUT", "DELETED", "SIZE", "WHY, AND WHO", NULL };
	struct json_object *r;
	struct table *t;
	int ret = call(c, "history", about(c), &r);

	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
		goto out;
	}
	if (!jlen(r, "generations")) {
		say("%s has no generation yet\n", arg_pos(c, 0));
		goto out;
	}
	t = table_new(heads);
	pinned_before(t, r, jint(jat(r, "generations", 0), "generation"));
	for (size_t i = 0; i < jlen(r, "generations"); i++) {
		struct json_object *o = jat(r, "generations", i);
		char b[32], pins[256], group[512];

		pin_cell(pins, sizeof(pins), r, jint(o, "generation"));
		group_cell(group, sizeof(group), o);
		table_cell(t, PLAIN, "%lld", (long long)jint(o, "generation"));
		table_cell(t, PLAIN, "%s", text_time(jint(o, "when_ms"), b));
		table_cell(t, PLAIN, "%s", jhas(o, "node") ? jstr(o, "node") : "-");
		number_cell(t, o, "epoch");
		number_cell(t, o, "puts");
		number_cell(t, o, "dels");
		table_cell(t, PLAIN, "%s", text_bytes(jint(o, "bytes"), b));
		table_cell(t, PLAIN, "%s%s%s%s%s%s", jstr(o, "note"), jbool(o, "gone") ? " [gone]" : "", jbool(o, "base") ? " [base]" : "",
			   jhas(o, "consistent") && !jbool(o, "consistent") ? " [fuzzy]" : "", group, pins);
	}
	table_print(t);
	if (jhas(r, "note"))
		say("%s\n", jstr(r, "note"));
out:
	json_object_put(r);
	return printed(c);
}

static int change(struct cli *c, const char *verb, const char *done)
{
	struct json_object *a = about(c), *r;
	int ret;

	if (!arg_value(c, "name")) {
		json_object_put(a);
		return usage(c, "--name is missing; usage: holdfast %s %s", c->cmd->name, c->cmd->synopsis);
	}
	args_str(a, "name", arg_value(c, "name"));
	if (arg_pos(c, 1))
		json_object_object_add(a, "generation", json_object_new_int64(strtoll(arg_pos(c, 1), NULL, 10)));
	ret = call(c, verb, a, &r);
	if (ret)
		return ret;
	if (c->json)
		print_json(r);
	else if (!c->quiet)
		say("%s: %s %s\n", arg_pos(c, 0), arg_value(c, "name"), done);
	json_object_put(r);
	return printed(c);
}

int cmd_history_pin(struct cli *c)
{
	return change(c, "history.pin", "pinned");
}

int cmd_history_unpin(struct cli *c)
{
	return change(c, "history.unpin", "unpinned");
}
