// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * metrics: the daemon's figures as OpenMetrics 1.0. Gauges, histograms and summaries alone, which
 * are the same in Prometheus' older text format, so that both kinds of readers take it: what is
 * counted is the _count of how long it took.
 */
#include "cli.h"
#include <stdio.h>
#include <string.h>

static const char *const states[] = { "offline", "online-pending", "online", "offline-pending", "failed", "owner-lost" };

/* @name ends with its unit, where it has one */
static void family(const char *type, const char *name, const char *unit, const char *help)
{
	printf("# TYPE holdfast_%s %s\n", name, type);
	if (unit)
		printf("# UNIT holdfast_%s %s\n", name, unit);
	printf("# HELP holdfast_%s %s\n", name, help);
}

static void gauge(const char *name, const char *unit, const char *help)
{
	family("gauge", name, unit, help);
}

static void label(const char *key, const char *value, bool first)
{
	printf("%s%s=\"", first ? "{" : ",", key);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			putchar('\\');
		if (*value == '\n')
			fputs("\\n", stdout);
		else
			putchar(*value);
	}
	putchar('"');
}

/* one label at most */
static void sample(const char *name, const char *suffix, const char *key, const char *value)
{
	printf("holdfast_%s%s", name, suffix);
	if (key) {
		label(key, value, true);
		putchar('}');
	}
}

static void number(int64_t v)
{
	printf(" %lld\n", (long long)v);
}

static void seconds(int64_t ms)
{
	printf(" %lld.%03d\n", (long long)(ms / 1000), (int)(ms % 1000));
}

struct figure {
	const char *name, *help, *key;
	enum { NUMBER, SECONDS, TRUTH, LENGTH } how;
	bool if_there;
};

/* gauges that each resource, or node, has */
static const struct figure of_resource[] = {
	{ "resource_degraded", "Whether commits fail or wait more often than tolerate allows.", "degraded", TRUTH, false },
	{ "resource_epoch", "Newest epoch of the resource.", "epoch", NUMBER, false },
	{ "resource_generation", "Newest generation that this node knows.", "generation", NUMBER, false },
	{ "resource_confirmed_generation", "Newest generation that is confirmed.", "confirmed", NUMBER, false },
	{ "resource_consistent", "Whether the newest generation is a consistent cut.", "consistent", TRUTH, true },
	{ "resource_generation_timestamp_seconds", "When the newest generation was committed.", "when_ms", SECONDS, true },
	{ "resource_dirty_entries", "Changed names that are not confirmed.", "dirty", NUMBER, false },
	{ "resource_unconfirmed_seconds", "Age of the oldest change that is not confirmed.", "oldest_dirty_ms", SECONDS, false },
	{ "resource_rpo_seconds", "The resource's policy rpo.", "rpo_ms", SECONDS, true },
	{ "resource_rpo_exceeded", "Whether a change has waited for longer than rpo to be confirmed.", "rpo_exceeded", TRUTH, true },
	{ "resource_checkpoints", "Checkpoints of the resource.", "checkpoints", NUMBER, false },
	{ "resource_warnings", "Warnings that status shows.", "warnings", LENGTH, false },
}, of_hooks[] = {
	{ "hooks_failed", "Runs of hooks that failed since the daemon began.", "failed", NUMBER, false },
	{ "hooks_timed_out", "Runs that took longer than hooks_timeout, among them.", "timed_out", NUMBER, false },
	{ "hooks_dropped", "Events that were not told to hooks, as too many waited.", "dropped", NUMBER, false },
	{ "hooks_waiting", "Events that wait for hooks.", "waiting", NUMBER, false },
};

static void value(struct json_object *o, const struct figure *f, const char *key, const char *name)
{
	struct json_object *v = jobj(o, f->key);

	if (f->if_there && !v)
		return;
	sample(f->name, "", key, name);
	if (f->how == SECONDS)
		seconds(jint(o, f->key));
	else
		number(f->how == TRUTH ? jbool(o, f->key) : f->how == LENGTH ? (int64_t)jlen(o, f->key) : jint(o, f->key));
}

static void head(const struct figure *f)
{
	gauge(f->name, f->how == SECONDS ? "seconds" : NULL, f->help);
}

static void each(struct json_object *r, const char *list, const struct figure *f, size_t n, const char *key)
{
	for (size_t k = 0; k < n; k++) {
		head(&f[k]);
		for (size_t i = 0; i < jlen(r, list); i++)
			value(jat(r, list, i), &f[k], key, jstr(jat(r, list, i), "name"));
	}
}

static void summary(struct json_object *r, const char *name, const char *help, const char *count, const char *ms)
{
	family("summary", name, "seconds", help);
	for (size_t i = 0; i < jlen(r, "resources"); i++) {
		struct json_object *o = jat(r, "resources", i), *n = jobj(o, "counted");

		sample(name, "_count", "resource", jstr(o, "name"));
		number(jint(n, count));
		sample(name, "_sum", "resource", jstr(o, "name"));
		seconds(jint(n, ms));
	}
}

static void lags(struct json_object *r)
{
	family("histogram", "commit_lag_seconds", "seconds",
	       "How old the oldest change of a commit was when the commit was confirmed.");
	for (size_t i = 0; i < jlen(r, "resources"); i++) {
		struct json_object *o = jat(r, "resources", i), *n = jobj(o, "counted");
		int64_t sum = 0;

		for (size_t k = 0; k < jlen(n, "lag"); k++) {
			char le[32];

			sum += jint(jat(n, "lag", k), "commits");
			snprintf(le, sizeof(le), "%.3f", jint(jat(n, "lag", k), "upto_ms") / 1000.0);
			/* as few digits as there can be, but a float: 1.0 */
			for (size_t len = strlen(le); le[len - 1] == '0' && le[len - 2] != '.'; len--)
				le[len - 1] = 0;
			printf("holdfast_commit_lag_seconds_bucket");
			label("resource", jstr(o, "name"), true);
			label("le", le, false);
			printf("}");
			number(sum);
		}
		printf("holdfast_commit_lag_seconds_bucket");
		label("resource", jstr(o, "name"), true);
		printf(",le=\"+Inf\"}");
		number(jint(n, "commits"));
		sample("commit_lag_seconds", "_count", "resource", jstr(o, "name"));
		number(jint(n, "commits"));
		sample("commit_lag_seconds", "_sum", "resource", jstr(o, "name"));
		seconds(jint(n, "lag_ms"));
	}
}

static void node(struct json_object *r)
{
	static const struct figure silent = { "store_silent_seconds", "How long ago the store answered this node last.",
					      "store_silent_ms", SECONDS, false },
		warnings = { "store_warnings", "What is to be mended although the store does all it must.", "store_warnings", LENGTH, false },
		age = { "node_silent_seconds", "How long ago a heartbeat of the node was seen.", "age_ms", SECONDS, false };

	gauge("build_info", NULL, "Version, node, cluster, and where changes are learnt from.");
	printf("holdfast_build_info");
	label("version", jstr(r, "version"), true);
	label("node", jstr(r, "node"), false);
	label("cluster", jstr(r, "cluster"), false);
	label("source", jstr(r, "source"), false);
	printf("} 1\n");
	gauge("store_ok", NULL, "Whether the store answers this node.");
	printf("holdfast_store_ok %d\n", !strcmp(jstr(r, "store"), "ok"));
	head(&silent);
	value(r, &silent, NULL, NULL);
	head(&warnings);
	value(r, &warnings, NULL, NULL);
	gauge("node_up", NULL, "Whether the node beats on the store.");
	for (size_t i = 0; i < jlen(r, "nodes"); i++) {
		struct json_object *o = jat(r, "nodes", i);

		sample("node_up", "", "node", jstr(o, "name"));
		number(!strcmp(jstr(o, "state"), "up"));
	}
	each(r, "nodes", &age, 1, "node");
}

static void resources(struct json_object *r)
{
	gauge("resource_state", NULL, "1 for the state that the resource has, as status shows it.");
	for (size_t i = 0; i < jlen(r, "resources"); i++)
		for (size_t k = 0; k < sizeof(states) / sizeof(*states); k++) {
			struct json_object *o = jat(r, "resources", i);

			printf("holdfast_resource_state");
			label("resource", jstr(o, "name"), true);
			label("state", states[k], false);
			printf("} %d\n", !strcmp(jstr(o, "state"), states[k]));
		}
	gauge("resource_owned", NULL, "Whether this node is the owner.");
	for (size_t i = 0; i < jlen(r, "resources"); i++) {
		struct json_object *o = jat(r, "resources", i);

		sample("resource_owned", "", "resource", jstr(o, "name"));
		number(!strcmp(jstr(o, "owner"), jstr(r, "node")));
	}
	each(r, "resources", of_resource, sizeof(of_resource) / sizeof(*of_resource), "resource");
	gauge("resource_lost_entries", NULL, "What this node held when it was fenced out, and never confirmed.");
	for (size_t i = 0; i < jlen(r, "resources"); i++) {
		struct json_object *o = jat(r, "resources", i);

		sample("resource_lost_entries", "", "resource", jstr(o, "name"));
		number(jint(jobj(o, "unconfirmed"), "count"));
	}
	gauge("resource_standby_generation", NULL, "For which generation this node stands by.");
	for (size_t i = 0; i < jlen(r, "resources"); i++) {
		struct json_object *o = jat(r, "resources", i);

		if (!jhas(o, "warm"))
			continue;
		sample("resource_standby_generation", "", "resource", jstr(o, "name"));
		number(jint(jobj(o, "warm"), "generation"));
	}
	gauge("resource_late_commits", NULL, "Commits since the daemon began with a change that waited longer than rpo.");
	for (size_t i = 0; i < jlen(r, "resources"); i++) {
		struct json_object *o = jat(r, "resources", i);

		sample("resource_late_commits", "", "resource", jstr(o, "name"));
		number(jint(jobj(o, "counted"), "late"));
	}
	lags(r);
	summary(r, "commit_duration_seconds", "Commits that were confirmed, and how long they took.", "commits", "commit_ms");
	summary(r, "commit_failure_duration_seconds", "Commits that failed and are tried again.", "failures", "failure_ms");
	summary(r, "takeover_duration_seconds", "Takeovers by this node, until it was online.", "takeovers", "takeover_ms");
}

static void hooks(struct json_object *r)
{
	struct json_object *h = jobj(r, "hooks");

	for (size_t i = 0; i < sizeof(of_hooks) / sizeof(*of_hooks); i++) {
		head(&of_hooks[i]);
		value(h, &of_hooks[i], NULL, NULL);
	}
	family("summary", "hook_duration_seconds", "seconds", "Runs of hooks, and how long they took.");
	sample("hook_duration_seconds", "_count", NULL, NULL);
	number(jint(h, "runs"));
	sample("hook_duration_seconds", "_sum", NULL, NULL);
	seconds(jint(h, "ms"));
}

int cmd_metrics(struct cli *c)
{
	struct json_object *r;
	int ret = call(c, "metrics", args_new(), &r);

	if (c->json) {
		if (!ret)
			print_json(r);
		json_object_put(r);
		return ret ? ret : printed(c);
	}
	/* who scrapes is told of a daemon that is away, not of nothing */
	if (ret && ret != HF_NODAEMON)
		return ret;
	gauge("up", NULL, "Whether the daemon of this node answers.");
	printf("holdfast_up %d\n", !ret);
	if (!ret) {
		node(r);
		resources(r);
		hooks(r);
		json_object_put(r);
	}
	printf("# EOF\n");
	return ret ? ret : printed(c);
}
