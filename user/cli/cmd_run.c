// SPDX-License-Identifier: GPL-2.0-or-later
/* What cluster managers call: online, offline, move, sync. */
#include "cli.h"
#include "show.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void plural(const char *lead, int64_t n, const char *one, const char *many)
{
	say("%s%lld %s", lead, (long long)n, n == 1 ? one : many);
}

void print_note(struct cli *c, struct json_object *r)
{
	const char *name = arg_pos(c, 0), *note = jstr(r, "note");
	size_t n = strlen(name);

	if (!*note)
		return;
	fflush(stdout);
	if (!strncmp(note, name, n) && note[n] == ':')
		fprintf(stderr, "holdfast %s: %s\n", c->cmd->name, note);
	else
		fprintf(stderr, "holdfast %s: %s: %s\n", c->cmd->name, name, note);
}

void print_restored(const char *name, struct json_object *r)
{
	struct json_object *done = jobj(r, "restored");

	for (size_t i = 0; i < jlen(r, "stayed"); i++)
		say("  %s is not in it, and stays: something in it is excluded, a mount point or a socket\n",
		    json_object_get_string(jat(r, "stayed", i)));
	if (jint(done, "not_kept"))
		fprintf(stderr, "holdfast: %s: %lld of what was overwritten could not be kept aside, and %s gone; the daemon's log says why\n",
			name, (long long)jint(done, "not_kept"), jint(done, "not_kept") == 1 ? "is" : "are");
	if (!done || !(jint(done, "written") || jint(done, "meta") || jint(done, "removed") || jint(done, "displaced")))
		return;
	plural("  ", jint(done, "written"), "entry written", "entries written");
	if (jint(done, "meta"))
		plural(", ", jint(done, "meta"), "mode or owner set", "modes or owners set");
	if (jint(done, "removed"))
		say(", %lld removed", (long long)jint(done, "removed"));
	if (jint(done, "displaced"))
		say(", %lld kept aside (holdfast displaced list %s)", (long long)jint(done, "displaced"), name);
	say("\n");
}

static void print_online(struct cli *c, struct json_object *r)
{
	struct json_object *ms = jobj(r, "ms");
	const char *name = arg_pos(c, 0);

	if (arg_flag(c, "dry-run")) {
		print_would(name, r, c->quiet);
		return;
	}
	if (c->quiet)
		return;
	say("%s: ", name);
	say_painted(GOOD, "%s", *jstr(r, "state") ? jstr(r, "state") : "online");
	if (jbool(r, "already")) {
		say(" already");
		if (jint(r, "generation"))
			say(", epoch %lld, generation %lld", (long long)jint(r, "epoch"), (long long)jint(r, "generation"));
		say("\n");
		return;
	}
	if (arg_flag(c, "without-store"))
		say(" without the store, with what is on this node; nothing is committed");
	else
		say(", epoch %lld, generation %lld", (long long)jint(r, "epoch"), (long long)jint(r, "generation"));
	if (jhas(ms, "total"))
		say(", in %lld ms", (long long)jint(ms, "total"));
	say("\n");
	print_restored(name, r);
}

int cmd_online(struct cli *c)
{
	static const char *const flag[][2] = {
		{ "fenced", "fenced" }, { "dry-run", "dry_run" }, { "keep-local", "keep_local" },
		{ "allow-empty", "allow_empty" }, { "without-store", "without_store" },
	};
	struct json_object *a = args_new(), *r;
	int ret;

	args_str(a, "resource", arg_pos(c, 0));
	for (size_t i = 0; i < sizeof(flag) / sizeof(flag[0]); i++)
		args_flag(c, a, flag[i][0], flag[i][1]);
	if (arg_flag(c, "timeout"))
		json_object_object_add(a, "timeout_ms", json_object_new_int64(arg_number(c, "timeout", 0)));
	ret = call(c, "online", a, &r);
	if (ret)
		return ret;
	if (c->json)
		print_json(r);
	else
		print_online(c, r);
	print_note(c, r);
	json_object_put(r);
	return printed(c);
}

int cmd_offline(struct cli *c)
{
	struct json_object *a = args_new(), *r;
	int ret;

	args_str(a, "resource", arg_pos(c, 0));
	if (arg_flag(c, "timeout"))
		json_object_object_add(a, "timeout_ms", json_object_new_int64(arg_number(c, "timeout", 0)));
	ret = call(c, "offline", a, &r);
	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
	} else if (!c->quiet) {
		say("%s: offline%s", arg_pos(c, 0), jbool(r, "already") ? " already" : "");
		if (jint(r, "generation") && !jbool(r, "already"))
			say(", generation %lld", (long long)jint(r, "generation"));
		say("\n");
	}
	fflush(stdout);
	if (jbool(r, "spooled") && *jstr(r, "note"))
		fprintf(stderr, "holdfast offline: the last changes of %s are kept on this node only, and until they can be "
				"committed it is not released: another node takes it over with --fenced only\n", arg_pos(c, 0));
	else if (jbool(r, "spooled"))
		fprintf(stderr, "holdfast offline: the store is out of reach: the last changes of %s are kept on this node "
				"only, and are committed when it comes back\n", arg_pos(c, 0));
	else if (*jstr(r, "note") && strncmp(jstr(r, "note"), "stale:", 6))
		fprintf(stderr, "holdfast offline: the last changes of %s are on this node only; generation %lld is what others "
				"restore. `holdfast online %s --keep-local` here makes the files of this node the next generation; "
				"`holdfast online %s` here restores generation %lld, and keeps aside what it overwrites\n",
			arg_pos(c, 0), (long long)jint(r, "generation"), arg_pos(c, 0), arg_pos(c, 0), (long long)jint(r, "generation"));
	print_note(c, r);
	json_object_put(r);
	return printed(c);
}

int cmd_move(struct cli *c)
{
	struct json_object *a = args_new(), *r;
	int ret;

	args_str(a, "resource", arg_pos(c, 0));
	args_str(a, "node", arg_pos(c, 1));
	if (arg_flag(c, "timeout"))
		json_object_object_add(a, "timeout_ms", json_object_new_int64(arg_number(c, "timeout", 0)));
	ret = call(c, "move", a, &r);
	if (ret)
		return ret;
	if (c->json)
		print_json(r);
	else if (!c->quiet)
		say("%s: online on %s%s\n", arg_pos(c, 0), arg_pos(c, 1), jbool(r, "already") ? " already" : "");
	json_object_put(r);
	return printed(c);
}

int cmd_sync(struct cli *c)
{
	struct json_object *a, *list, *r;
	int ret;

	if (c->npos > 1 && !arg_flag(c, "group"))
		return usage(c, "'%s' is one argument too many; several resources at once are a --group", c->pos[1]);
	for (int i = 1; i < c->npos; i++)
		for (int k = 0; k < i; k++)
			if (!strcmp(c->pos[i], c->pos[k]))
				return usage(c, "'%s' is given twice", c->pos[i]);
	a = args_new();
	list = json_object_new_array();
	for (int i = 0; i < c->npos; i++)
		json_object_array_add(list, json_object_new_string(c->pos[i]));
	json_object_object_add(a, "resources", list);
	args_flag(c, a, "quick", "quick");
	args_flag(c, a, "allow-delete", "allow_delete");
	ret = call(c, "sync", a, &r);
	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
		goto out;
	}
	for (size_t i = 0; i < jlen(r, "resources") && !c->quiet; i++) {
		struct json_object *o = jat(r, "resources", i);

		say("%s: generation %lld is confirmed%s\n", jstr(o, "resource"), (long long)jint(o, "generation"),
		    jhas(o, "consistent") && !jbool(o, "consistent") ? ", but fuzzy: files changed all the time" : "");
	}
	if (jhas(r, "group") && !c->quiet)
		say("they are one cut, group %.8s\n", jstr(r, "group"));
out:
	json_object_put(r);
	return printed(c);
}
