// SPDX-License-Identifier: GPL-2.0-or-later
/* report: commits, lag, takeovers, whether the RPO was kept, and who forced what, over a period. */
#include "cli.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SINCE_MS (7 * 86400000ull)

static void lag_cells(struct table *t, struct json_object *o)
{
	struct json_object *lag = jobj(o, "lag");
	char b[32];

	if (!jint(o, "commits")) {
		table_cell(t, PLAIN, "-");
		table_cell(t, PLAIN, "-");
	} else {
		table_cell(t, PLAIN, "%s", text_duration(jint(lag, "mean_ms"), b));
		table_cell(t, PLAIN, "%s", text_duration(jint(lag, "max_ms"), b));
	}
	if (!jint(o, "rpo_ms"))
		table_cell(t, PLAIN, "-");
	else if (jbool(o, "rpo_kept"))
		table_cell(t, GOOD, "kept (%s)", text_duration(jint(o, "rpo_ms"), b));
	else if (jint(o, "late"))
		table_cell(t, BAD, "%lld times late (%s)", (long long)jint(o, "late"), text_duration(jint(o, "rpo_ms"), b));
	else
		table_cell(t, BAD, "not kept (%s)", text_duration(jint(o, "rpo_ms"), b));
}

static void print_table(struct json_object *r)
{
	static const char *const heads[] = { "RESOURCE", "COMMITS", "FUZZY", "FAILURES", "MEAN LAG", "WORST LAG", "RPO", "TAKEN OVER", NULL };
	struct table *t = table_new(heads);

	for (size_t i = 0; i < jlen(r, "resources"); i++) {
		struct json_object *o = jat(r, "resources", i);

		table_cell(t, PLAIN, "%s", jstr(o, "resource"));
		table_cell(t, PLAIN, "%lld", (long long)jint(o, "commits"));
		table_cell(t, PLAIN, "%lld", (long long)jint(o, "fuzzy"));
		table_cell(t, jint(o, "failures") ? WARN : PLAIN, "%lld", (long long)jint(o, "failures"));
		lag_cells(t, o);
		table_cell(t, PLAIN, "%lld", (long long)jint(o, "taken_over_here"));
	}
	table_print(t);
}

/* what the logs tell, of all nodes */
static void print_history(struct json_object *r)
{
	char b[32];

	for (size_t i = 0; i < jlen(r, "resources"); i++) {
		struct json_object *o = jat(r, "resources", i), *n = jobj(o, "generations");
		const char *name = jstr(o, "resource");
		bool any = false;

		json_object_object_foreach(n, node, count) {
			say("%s%s %lld on %s", any ? ", " : name, any ? "" : ": generations in history:",
			    (long long)json_object_get_int64(count), node);
			any = true;
		}
		if (any && jint(o, "history_ms"))
			say("; history begins %s", text_time(jint(o, "history_ms"), b));
		if (any)
			say("\n");
		for (size_t k = 0; k < jlen(o, "owners"); k++) {
			struct json_object *e = jat(o, "owners", k);

			say("%s: %s  epoch %lld on %s\n", name, text_time(jint(e, "when_ms"), b), (long long)jint(e, "epoch"), jstr(e, "node"));
		}
		if (jint(o, "unconfirmed")) {
			say_painted(BAD, "%s: %lld changes of this node were never confirmed", name, (long long)jint(o, "unconfirmed"));
			say(" (holdfast displaced list %s)\n", name);
		}
	}
}

static void print_report(struct json_object *r)
{
	char b[2][32];

	say("node %s, %s to %s\n\n", jstr(r, "node"), text_time(jint(r, "from_ms"), b[0]), text_time(jint(r, "to_ms"), b[1]));
	if (jlen(r, "resources"))
		print_table(r);
	else
		say("no resources\n");
	print_history(r);
	if (jlen(r, "forced"))
		say("\nforced:\n");
	for (size_t i = 0; i < jlen(r, "forced"); i++) {
		struct json_object *o = jat(r, "forced", i);

		say("  %s  %s  by %s", text_time(jint(o, "when_ms"), b[0]), jstr(o, "what"), jstr(o, "who"));
		if (jint(o, "exit"))
			say("; exit %lld: %s", (long long)jint(o, "exit"), jstr(o, "why"));
		say("\n");
	}
	for (size_t i = 0, any = 0; i < jlen(r, "states"); i++) {
		struct json_object *o = jat(r, "states", i);

		if (strcmp(jstr(o, "to"), "failed"))
			continue;
		if (!any++)
			say("\nfailed:\n");
		say("  %s  %s", text_time(jint(o, "when_ms"), b[0]), jstr(o, "resource"));
		say_painted(BAD, "  %s", jstr(o, "why"));
		say("\n");
	}
	if (jhas(r, "note"))
		say("\nwithout the logs' history: %s\n", jstr(r, "note"));
}

int cmd_report(struct cli *c)
{
	struct json_object *a = args_new(), *r;
	int64_t now, since = arg_number(c, "since", SINCE_MS);
	struct timespec ts;
	int ret;

	clock_gettime(CLOCK_REALTIME, &ts);
	now = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	args_str(a, "resource", arg_pos(c, 0));
	json_object_object_add(a, "from_ms", json_object_new_int64(now > since ? now - since : 0));
	ret = call(c, "report", a, &r);
	if (ret)
		return ret;
	if (c->json)
		print_json(r);
	else
		print_report(r);
	json_object_put(r);
	return printed(c);
}
