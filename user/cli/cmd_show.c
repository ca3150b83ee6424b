// SPDX-License-Identifier: GPL-2.0-or-later
/* Looking: status, watch, displaced list. */
#include "cli.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum paint paint_of(struct json_object *o)
{
	const char *state = jstr(o, "state");

	if (!strcmp(state, "failed") || !strcmp(state, "owner-lost") || *jstr(o, "error"))
		return BAD;
	if (jbool(o, "degraded") || jhas(o, "unconfirmed") || strstr(state, "pending"))
		return WARN;
	return !strcmp(state, "online") ? GOOD : PLAIN;
}

/* What this node keeps for a takeover. */
static void warm(const char *name, struct json_object *w)
{
	const char *state = jstr(w, "state");

	if (!json_object_is_type(w, json_type_object) || !strcmp(state, "cold"))
		return;
	say("%s: standing by, ", name);
	if (!strcmp(state, "too-large"))
		say("but its log does not fit into [standby] memory; a takeover reads all of it\n");
	else if (!jint(w, "generation"))
		say("its log is being read%s%s\n", *jstr(w, "error") ? ": " : "", jstr(w, "error"));
	else
		say("warm for generation %lld%s%s\n", (long long)jint(w, "generation"), *jstr(w, "error") ? ": " : "",
		    jstr(w, "error"));
}

/* what cannot be told in a column */
static void sentences(struct json_object *o)
{
	struct json_object *u = jobj(o, "unconfirmed");
	const char *name = jstr(o, "name"), *error = jstr(o, "error");
	size_t n = strlen(name);

	/* most errors name the resource themselves */
	if (*error && !strncmp(error, name, n) && error[n] == ':')
		say("%s\n", error);
	else if (*error)
		say("%s: %s\n", name, error);
	for (size_t i = 0; i < jlen(o, "warnings"); i++)
		say("%s: %s\n", name, json_object_get_string(jat(o, "warnings", i)));
	warm(name, jobj(o, "warm"));
	if (!json_object_is_type(u, json_type_object))
		return;
	say("%s: this node was fenced out after generation %lld; ", name, (long long)jint(u, "generation"));
	if (!jint(u, "count"))
		say("it held nothing that was not confirmed\n");
	else
		say("%lld change%s here %s never confirmed, or lost with the power", (long long)jint(u, "count"), jint(u, "count") == 1 ? "" : "s",
		    jint(u, "count") == 1 ? "was" : "were");
	if (jint(u, "count") && *jstr(u, "displaced"))
		say(", kept aside as %s (holdfast displaced list %s)\n", jstr(u, "displaced"), name);
	else if (jint(u, "count"))
		say("\n");
}

static void cells(struct table *t, struct json_object *o, bool age)
{
	int64_t gen = jint(o, "generation"), confirmed = jint(o, "confirmed"), dirty = jint(o, "dirty");
	char b[32];

	table_cell(t, PLAIN, "%s", jstr(o, "name"));
	table_cell(t, paint_of(o), "%s%s", jstr(o, "state"), jbool(o, "degraded") ? ", degraded" : "");
	table_cell(t, PLAIN, "%s", *jstr(o, "owner") ? jstr(o, "owner") : "-");
	if (!gen)
		table_cell(t, PLAIN, "-");
	else if (json_object_is_type(jobj(o, "confirmed"), json_type_int) && confirmed < gen)
		table_cell(t, WARN, "%lld (%lld confirmed)", (long long)gen, (long long)confirmed);
	else
		table_cell(t, PLAIN, "%lld%s", (long long)gen,
			   jhas(o, "consistent") && !jbool(o, "consistent") ? " fuzzy" : "");
	if (age)
		table_cell(t, PLAIN, "%s", jint(o, "when_ms") > 0 ?
			   text_duration((int64_t)time(NULL) * 1000 - jint(o, "when_ms"), b) : "-");
	if (!dirty)
		table_cell(t, PLAIN, "-");
	else
		table_cell(t, jint(o, "rpo_ms") && jint(o, "oldest_dirty_ms") > jint(o, "rpo_ms") ? BAD : WARN, "%lld for %s",
			   (long long)dirty, text_duration(jint(o, "oldest_dirty_ms"), b));
	table_cell(t, PLAIN, "%lld", (long long)jint(o, "checkpoints"));
}

static void print_status(struct json_object *r)
{
	static const char *const with[] = {
		"RESOURCE", "STATE", "OWNER", "GENERATION", "AGE", "UNCONFIRMED", "CHECKPOINTS", NULL,
	}, *const without[] = {
		"RESOURCE", "STATE", "OWNER", "GENERATION", "UNCONFIRMED", "CHECKPOINTS", NULL,
	};
	bool age = false;
	const char *store = jstr(r, "store");
	struct table *t;

	say("cluster %s, node %s, tracking with %s", jstr(r, "cluster"), jstr(r, "node"), jstr(r, "source"));
	if (*jstr(r, "source_why"))
		say_painted(WARN, " (holdfast doctor says why not the module)");
	if (strcmp(store, "ok")) {
		say("\n");
		say_painted(BAD, "%s", store);
	} else {
		say(", store ");
		say_painted(GOOD, "%s", store);
	}
	say("\n");
	for (size_t i = 0; i < jlen(r, "store_warnings"); i++) {
		say_painted(WARN, "%s", json_object_get_string(jat(r, "store_warnings", i)));
		say("\n");
	}
	say("\n");
	if (!jlen(r, "resources")) {
		say("no resources yet; holdfast resource add R registers one\n");
		return;
	}
	for (size_t i = 0; i < jlen(r, "resources"); i++)
		age |= jint(jat(r, "resources", i), "when_ms") > 0;
	t = table_new(age ? with : without);
	for (size_t i = 0; i < jlen(r, "resources"); i++)
		cells(t, jat(r, "resources", i), age);
	table_print(t);
	for (size_t i = 0; i < jlen(r, "resources"); i++)
		sentences(jat(r, "resources", i));
}

static struct json_object *about(struct cli *c)
{
	struct json_object *a = args_new();

	args_str(a, "resource", arg_pos(c, 0));
	return a;
}

/* What is there, without what only grows older. */
static char *lasting(struct json_object *r)
{
	struct json_object *copy = NULL;
	char *text;

	if (json_object_deep_copy(r, &copy, NULL))
		return NULL;
	for (size_t i = 0; i < jlen(copy, "resources"); i++) {
		struct json_object *o = jat(copy, "resources", i), *w = jobj(o, "warm");

		json_object_object_del(o, "oldest_dirty_ms");
		if (json_object_is_type(w, json_type_object)) {
			json_object_object_del(w, "age_ms");
			json_object_object_del(w, "read");
		}
	}
	text = strdup(json_object_to_json_string_ext(copy, JSON_C_TO_STRING_PLAIN));
	json_object_put(copy);
	return text;
}

/* Draws again each second on a terminal; elsewhere says what changed. */
static int watch_status(struct cli *c)
{
	bool terminal = isatty(STDOUT_FILENO) && !c->json;
	struct json_object *r;
	char *last = NULL;
	int ret;

	for (;;) {
		char *now;

		ret = call(c, "status", about(c), &r);
		if (ret)
			break;
		now = lasting(r);
		if (terminal)
			printf("\033[H\033[2J");
		if (terminal || !last || !now || strcmp(last, now)) {
			if (c->json)
				print_json(r);
			else
				print_status(r);
		}
		free(last);
		last = now;
		json_object_put(r);
		ret = printed(c);
		if (ret)
			break;
		sleep(1);
	}
	free(last);
	return ret;
}

int cmd_status(struct cli *c)
{
	struct json_object *r;
	int ret;

	if (arg_flag(c, "watch"))
		return watch_status(c);
	ret = call(c, "status", about(c), &r);
	if (ret)
		return ret;
	if (c->json)
		print_json(r);
	else
		print_status(r);
	json_object_put(r);
	return printed(c);
}

static void print_event(struct json_object *e)
{
	const char *kind = jstr(e, "event"), *rel = jstr(e, "rel");
	time_t t = time(NULL);
	struct tm tm;
	char clock[16] = "";

	if (localtime_r(&t, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	say("%s  %-12s ", clock, jstr(e, "resource"));
	if (!strcmp(kind, "change")) {
		say("changed %s%s%s", jstr(e, "path"), *rel ? "/" : "", rel);
		if (*jstr(e, "who"))
			say("  by %s", jstr(e, "who"));
		else
			say("  (not known by whom)");
	} else if (!strcmp(kind, "commit")) {
		say("generation %lld: %lld put, %lld deleted", (long long)jint(e, "generation"),
		    (long long)jint(e, "puts"), (long long)jint(e, "dels"));
		if (jhas(e, "ms"))
			say(", in %lld ms", (long long)jint(e, "ms"));
		if (jhas(e, "consistent") && !jbool(e, "consistent"))
			say(", fuzzy");
		if (*jstr(e, "note"))
			say("  %s", jstr(e, "note"));
	} else if (!strcmp(kind, "state")) {
		say("%s -> %s", jstr(e, "from"), jstr(e, "to"));
		if (*jstr(e, "why"))
			say(": %s", jstr(e, "why"));
	} else {
		say("%s", kind);
	}
	say("\n");
}

static int on_event(void *arg, const char *json)
{
	struct cli *c = arg;
	struct json_object *e = json_tokener_parse(json);

	if (c->json)
		print_json(e);
	else if (e)
		print_event(e);
	json_object_put(e);
	return fflush(stdout) ? 1 : 0;	/* who read it has gone */
}

int cmd_watch(struct cli *c)
{
	return call_events(c, "watch", about(c), on_event, c, NULL);
}

int cmd_displaced_restore(struct cli *c)
{
	struct json_object *a = about(c), *r;
	int ret;

	args_str(a, "id", arg_pos(c, 1));
	args_str(a, "rel", arg_pos(c, 2));
	ret = args_dir(c, a, "to");
	if (ret) {
		json_object_put(a);
		return ret;
	}
	ret = call(c, "displaced.restore", a, &r);
	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
	} else {
		say("%lld %s brought back", (long long)jint(r, "count"), jint(r, "count") == 1 ? "entry" : "entries");
		if (*jstr(r, "displaced"))
			say("; what was there is kept aside as %s", jstr(r, "displaced"));
		if (jint(r, "not_kept"))
			say("; of what was there %lld could not be kept aside: the daemon's log says why", (long long)jint(r, "not_kept"));
		say("\n");
	}
	json_object_put(r);
	return printed(c);
}

static int show_sets(struct cli *c, const char *verb, struct json_object *args)
{
	struct json_object *r;
	int ret = call(c, verb, args, &r);

	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
		goto out;
	}
	for (size_t i = 0; i < jlen(r, "sets"); i++) {
		struct json_object *o = jat(r, "sets", i);
		char b[32];

		say("%s%s  %s  %s  %s\n", i ? "\n" : "", text_time(jint(o, "when_ms"), b), jstr(o, "resource"),
		    jstr(o, "reason"), jstr(o, "id"));
		for (size_t k = 0; k < jlen(o, "entries"); k++) {
			struct json_object *e = jat(o, "entries", k);
			const char *rel = jstr(e, "rel");

			say("  %s%s%s  %s\n", jstr(o, "checkpoint"), *rel ? "/" : "", rel, text_bytes(jint(e, "size"), b));
		}
	}
out:
	json_object_put(r);
	return printed(c);
}

int cmd_displaced_list(struct cli *c)
{
	return show_sets(c, "displaced.list", about(c));
}

int cmd_displaced_show(struct cli *c)
{
	struct json_object *a = about(c);

	args_str(a, "id", arg_pos(c, 1));
	return show_sets(c, "displaced.show", a);
}
