// SPDX-License-Identifier: GPL-2.0-or-later
/* Differences and the way back: diff, verify, rollback, restore. */
#include "cli.h"
#include "show.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* one letter for what happened to a name */
static char letter(const char *change)
{
	static const struct { const char *change; char letter; } t[] = {
		{ "added", 'A' }, { "removed", 'D' }, { "content", 'M' }, { "meta", 'm' }, { "type", 'T' },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		if (!strcmp(change, t[i].change))
			return t[i].letter;
	return '?';
}

/* That a file that was written is of another time goes without saying. */
static void print_meta(struct json_object *o)
{
	size_t n = jlen(o, "meta");
	bool first = true;

	for (size_t i = 0; i < n; i++) {
		const char *s = json_object_get_string(jat(o, "meta", i));

		if (!strncmp(s, "time ", 5) && (n > 1 || !strcmp(jstr(o, "change"), "content")))
			continue;
		say_painted(DIM, "%s%s", first ? "  " : ", ", s);
		first = false;
	}
}

/* Lines of a file, which may hold tabs; carriage returns would overwrite them on a terminal. */
static void print_text(struct json_object *o, const char *from, const char *to)
{
	const char *rel = jstr(o, "rel"), *s = jstr(o, "text");
	bool terminal = isatty(STDOUT_FILENO);

	if (!*s)
		return;
	for (int i = 0; i < 2; i++) {
		say("%s %s%s%s", i ? "+++" : "---", jstr(o, "path"), *rel ? "/" : "", rel);
		printf("\t%s\n", i ? to : from);
	}
	for (; *s; s++) {
		if (*s == '\r' && terminal)
			fputs("^M", stdout);
		else
			putchar(*s);
	}
}

void print_changes(struct json_object *r)
{
	char from[64], to[64] = "this node";

	snprintf(from, sizeof(from), "generation %lld", (long long)jint(r, "from"));
	if (jint(r, "to"))
		snprintf(to, sizeof(to), "generation %lld", (long long)jint(r, "to"));
	for (size_t i = 0; i < jlen(r, "changes"); i++) {
		struct json_object *o = jat(r, "changes", i);
		char l = letter(jstr(o, "change"));
		const char *rel = jstr(o, "rel");

		say_painted(l == 'A' ? GOOD : l == 'D' ? BAD : l == 'm' ? DIM : WARN, "%c", l);
		say(" %s%s%s", jstr(o, "path"), *rel ? "/" : "", rel);
		print_meta(o);
		say("\n");
		print_text(o, from, to);
	}
}

void print_would(const char *name, struct json_object *r, bool quiet)
{
	static const char *const word[] = { "added", "removed", "contents", "mode, owner, times or attributes", "type" };
	static const char key[] = "ADMmT";
	size_t seen[5] = { 0 };
	bool first = true;

	print_changes(r);
	if (quiet)
		return;
	for (size_t i = 0; i < jlen(r, "changes"); i++) {
		const char *at = strchr(key, letter(jstr(jat(r, "changes", i), "change")));

		if (at && *at)
			seen[at - key]++;
	}
	say("%s: ", name);
	if (!jlen(r, "changes"))
		say("nothing would change here");
	for (int i = 0; i < 5; i++)
		if (seen[i]) {
			say("%s%zu %s (%c)", first ? "would change: " : ", ", seen[i], word[i], key[i]);
			first = false;
		}
	say("\n");
}

static struct json_object *about(struct cli *c)
{
	struct json_object *a = args_new();

	args_str(a, "resource", arg_pos(c, 0));
	return a;
}

int cmd_diff(struct cli *c)
{
	struct json_object *a = about(c), *r;
	static const char *const key[] = { NULL, "from", "to" };
	int ret;

	for (int i = 1; i < 3; i++)
		if (arg_pos(c, i))
			json_object_object_add(a, key[i], json_object_new_int64(strtoll(arg_pos(c, i), NULL, 10)));
	args_flag(c, a, "text", "text");
	ret = call(c, "diff", a, &r);
	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
	} else {
		print_changes(r);
		print_note(c, r);
	}
	json_object_put(r);
	return printed(c);
}

int cmd_verify(struct cli *c)
{
	struct json_object *r;
	size_t n;
	int ret = call(c, "diff", about(c), &r);

	if (ret)
		return ret;
	n = jlen(r, "changes");
	if (c->json) {
		print_json(r);
	} else {
		print_changes(r);
		print_note(c, r);
	}
	if (!n && !c->quiet && !c->json)
		say("%s: what is on this node is generation %lld\n", arg_pos(c, 0), (long long)jint(r, "from"));
	fflush(stdout);
	if (n)
		fprintf(stderr, "holdfast verify: %s: %zu difference%s between generation %lld and this node\n", arg_pos(c, 0),
			n, n == 1 ? "" : "s", (long long)jint(r, "from"));
	json_object_put(r);
	ret = printed(c);
	return ret ? ret : n ? HF_FAILED : 0;
}

int cmd_rollback(struct cli *c)
{
	struct json_object *a, *r;
	int ret;

	if (!arg_value(c, "to"))
		return usage(c, "--to is missing; usage: holdfast %s %s", c->cmd->name, c->cmd->synopsis);
	ret = confirm(c, "Make generation %s of %s its newest one, and restore it here?", arg_value(c, "to"), arg_pos(c, 0));
	if (ret)
		return ret;
	a = about(c);
	json_object_object_add(a, "to", json_object_new_int64(strtoll(arg_value(c, "to"), NULL, 10)));
	args_flag(c, a, "dry-run", "dry_run");
	ret = call(c, "rollback", a, &r);
	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
	} else if (arg_flag(c, "dry-run")) {
		print_would(arg_pos(c, 0), r, c->quiet);
	} else if (!c->quiet) {
		if (jbool(r, "committed"))
			say("%s: generation %lld is what generation %s was\n", arg_pos(c, 0), (long long)jint(r, "generation"),
			    arg_value(c, "to"));
		else
			say("%s: generation %lld stays: of what is registered now, generation %s has nothing that differs\n",
			    arg_pos(c, 0), (long long)jint(r, "generation"), arg_value(c, "to"));
		print_restored(arg_pos(c, 0), r);
	}
	print_note(c, r);
	json_object_put(r);
	return printed(c);
}

int cmd_restore(struct cli *c)
{
	const char *to = arg_value(c, "to");
	struct json_object *a, *r;
	int ret;

	if (!to)
		return usage(c, "--to is missing; usage: holdfast %s %s", c->cmd->name, c->cmd->synopsis);
	a = about(c);
	ret = args_dir(c, a, "to");
	if (ret) {
		json_object_put(a);
		return ret;
	}
	if (arg_value(c, "generation"))
		json_object_object_add(a, "generation", json_object_new_int64(strtoll(arg_value(c, "generation"), NULL, 10)));
	ret = call(c, "restore", a, &r);
	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
	} else if (!c->quiet) {
		say("%s: generation %lld is in %s\n", arg_pos(c, 0), (long long)jint(r, "generation"), to);
		print_restored(arg_pos(c, 0), r);
	}
	for (size_t i = 0; i < jlen(r, "left_out") && !c->json; i++) {
		fflush(stdout);
		fprintf(stderr, "holdfast restore: %s is a crypto checkpoint, and is restored nowhere but in its place\n",
			json_object_get_string(jat(r, "left_out", i)));
	}
	print_note(c, r);
	json_object_put(r);
	return printed(c);
}
