// SPDX-License-Identifier: GPL-2.0-or-later
/* disk info, disk check: what a disk says, in words. Both ask the library, never the daemon. */
#include "cli.h"
#include <string.h>
#include <time.h>
#include <unistd.h>

static void member(const char *name, const char *text)
{
	say("%-14s %s\n", name, text);
}

static void print_superblocks(struct json_object *o)
{
	size_t n = jlen(o, "superblocks"), sound = 0;

	for (size_t i = 0; i < n; i++)
		sound += !strcmp(jstr(jat(o, "superblocks", i), "state"), "sound");
	say("%-14s ", "superblock");
	if (sound == n) {
		say(n > 2 ? "all copies are sound\n" : "both copies are sound\n");
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct json_object *s = jat(o, "superblocks", i);

		if (!strcmp(jstr(s, "state"), "sound"))
			continue;
		if (jhas(s, "directory"))
			say_painted(BAD, "%s: ", jstr(s, "directory"));
		if (jhas(s, "copy"))
			say_painted(BAD, "copy %lld (offset %lld) is %s; ", (long long)jint(s, "copy"),
				    (long long)jint(s, "offset"), jstr(s, "state"));
		else
			say_painted(BAD, "%s; ", jstr(s, "error"));
	}
	say(sound ? n > 2 ? "another one counts\n" : "the other one counts\n" : "none of them is this key's\n");
}

static void print_dirs(struct json_object *o)
{
	static const char *const heads[] = { "DIRECTORY", "STATE", NULL };
	struct table *t;

	if (!jlen(o, "directories"))
		return;
	t = table_new(heads);
	for (size_t i = 0; i < jlen(o, "directories"); i++) {
		struct json_object *d = jat(o, "directories", i);

		if (*jstr(d, "directory"))
			table_cell(t, PLAIN, "%s", jstr(d, "directory"));
		else
			table_cell(t, PLAIN, "(number %zu of the set)", i + 1);
		table_cell(t, strcmp(jstr(d, "state"), "counts") ? WARN : PLAIN, "%s", jstr(d, "state"));
	}
	say("\n");
	table_print(t);
}

static void print_super(struct json_object *o)
{
	char a[32], b[32];

	member("cluster", jstr(o, "cluster"));
	member("authenticated", jbool(o, "authenticated") ? "true" : "false: nothing here is proven, for want of the cluster's key");
	print_superblocks(o);
	member("disk", jstr(o, "disk_uuid"));
	member("made", text_time(jint(o, "created_ms"), a));
	say("%-14s %s: areas of %s for %lld nodes, rows for %lld resources\n", "size", text_bytes(jint(o, "size"), a),
	    text_bytes(jint(o, "area_size"), b), (long long)jint(o, "nodes_max"), (long long)jint(o, "resources_max"));
	say("%-14s %s, a heartbeat each %s\n", "lease", text_duration(jint(o, "lease_ms"), a),
	    text_duration(jint(o, "beat_ms"), b));
	say("%-14s version %lld, features %llx compat, %llx ro-compat, %llx incompat\n", "format",
	    (long long)jint(o, "version"), (long long)jint(o, "compat"), (long long)jint(o, "ro_compat"),
	    (long long)jint(o, "incompat"));
}

static void print_nodes(struct json_object *o)
{
	static const char *const heads[] = { "NODE", "SLOT", "STATE", "HOST", "VERSION", "BEATS", NULL };
	struct table *t;

	if (!jlen(o, "nodes") && !jlen(o, "slots_free"))
		return;
	t = table_new(heads);
	for (size_t i = 0; i < jlen(o, "nodes"); i++) {
		struct json_object *n = jat(o, "nodes", i);

		table_cell(t, PLAIN, "%s", jstr(n, "name"));
		table_cell(t, PLAIN, "%lld", (long long)jint(n, "slot"));
		table_cell(t, strcmp(jstr(n, "state"), "damaged") ? PLAIN : BAD, "%s", jstr(n, "state"));
		table_cell(t, PLAIN, "%s", jstr(n, "host"));
		table_cell(t, PLAIN, "%s", jstr(n, "version"));
		table_cell(t, PLAIN, "%lld", (long long)jint(n, "beats"));
	}
	for (size_t i = 0; i < jlen(o, "slots_free"); i++) {
		table_cell(t, PLAIN, "-");
		table_cell(t, PLAIN, "%lld", (long long)json_object_get_int64(jat(o, "slots_free", i)));
		table_cell(t, PLAIN, "free");
		for (unsigned k = 0; k < 3; k++)
			table_cell(t, PLAIN, "%s", "");
	}
	say("\n");
	table_print(t);
}

static const char *log_name(struct json_object *l)
{
	if (!jint(l, "row"))
		return "(registrations)";
	if (jbool(l, "orphan"))
		return "(deleted)";
	return *jstr(l, "resource") ? jstr(l, "resource") : "?";
}

static void print_logs(struct json_object *o)
{
	static const char *const heads[] = { "RESOURCE", "ROW", "OWNER", "EPOCH", "CONFIRMED", "BASE", NULL };
	struct table *t;

	if (!jlen(o, "logs"))
		return;
	t = table_new(heads);
	for (size_t i = 0; i < jlen(o, "logs"); i++) {
		struct json_object *l = jat(o, "logs", i);

		table_cell(t, PLAIN, "%s", log_name(l));
		table_cell(t, PLAIN, "%lld", (long long)jint(l, "row"));
		table_cell(t, PLAIN, "%s%s", jstr(l, "owner"), jbool(l, "released") ? " (released)" : "");
		table_cell(t, PLAIN, "%lld", (long long)jint(l, "epoch"));
		table_cell(t, PLAIN, "%lld", (long long)jint(l, "confirmed"));
		table_cell(t, PLAIN, "%lld", (long long)jint(l, "base"));
	}
	say("\n");
	table_print(t);
}

int cmd_disk_info(struct cli *c)
{
	char *text = NULL;
	int ret = hf_disk_info(c->conf, arg_pos(c, 0), &text, &c->err), out;
	struct json_object *o = taken(c, text);

	/* what the superblock tells is told even if the rest cannot be */
	if (o && !c->json) {
		print_super(o);
		print_dirs(o);
		print_nodes(o);
		print_logs(o);
	}
	json_object_put(o);
	out = printed(c);
	return ret ? fail(c) : out;
}

static void print_checked(struct json_object *o)
{
	static const char *const heads[] = { "RESOURCE", "ROW", "GENERATIONS", "FUZZY", "BASES", "RECORDS", "ENTRIES",
					     "CONTENTS", NULL };
	struct table *t;
	char b[32];

	if (!jlen(o, "logs"))
		return;
	t = table_new(heads);
	for (size_t i = 0; i < jlen(o, "logs"); i++) {
		struct json_object *l = jat(o, "logs", i);

		table_cell(t, PLAIN, "%s", log_name(l));
		table_cell(t, PLAIN, "%lld", (long long)jint(l, "row"));
		table_cell(t, PLAIN, jint(l, "generations") > 1 ? "%lld to %lld" : "%lld", (long long)jint(l, "oldest"),
			   (long long)jint(l, "newest"));
		table_cell(t, PLAIN, "%lld", (long long)jint(l, "fuzzy"));
		table_cell(t, PLAIN, "%lld", (long long)jint(l, "bases"));
		table_cell(t, PLAIN, "%lld", (long long)jint(l, "records"));
		table_cell(t, PLAIN, "%lld", (long long)jint(l, "items"));
		table_cell(t, PLAIN, "%s", text_bytes(jint(l, "contents_bytes"), b));
	}
	say("\n");
	table_print(t);
}

static void print_space(struct json_object *o)
{
	static const char *const heads[] = { "AREA OF", "SLOT", "IN USE", "FOR HISTORY", "FREE", NULL };
	struct table *t;
	char b[32];

	if (!jlen(o, "space"))
		return;
	t = table_new(heads);
	for (size_t i = 0; i < jlen(o, "space"); i++) {
		struct json_object *s = jat(o, "space", i);

		table_cell(t, PLAIN, "%s", jstr(s, "node"));
		table_cell(t, PLAIN, "%lld", (long long)jint(s, "slot"));
		table_cell(t, PLAIN, "%s", text_bytes(jint(s, "live_bytes"), b));
		table_cell(t, PLAIN, "%s", text_bytes(jint(s, "history_bytes"), b));
		table_cell(t, PLAIN, "%s", text_bytes(jint(s, "free_bytes"), b));
	}
	say("\n");
	table_print(t);
}

static void print_list(struct json_object *o, const char *key, enum paint p, const char *head)
{
	if (!jlen(o, key))
		return;
	say("\n");
	say_painted(p, "%s:\n", head);
	for (size_t i = 0; i < jlen(o, key); i++)
		say("  %s\n", jstr(jat(o, key, i), "what"));
}

static void show(void *ctx, uint64_t done, uint64_t total, uint64_t bytes)
{
	char b[32];

	progress_draw(ctx, "%llu of %llu rows, %s of contents", (unsigned long long)done, (unsigned long long)total,
		      text_bytes(bytes, b));
}

int cmd_disk_check(struct cli *c)
{
	struct progress p;
	struct json_object *o;
	char *text = NULL, b[32];
	int ret, out;

	progress_begin(c, &p);
	ret = hf_disk_check_resource(c->conf, arg_pos(c, 0), arg_value(c, "resource"), show, &p, &text, &c->err);
	progress_end(&p);
	o = taken(c, text);
	if (o && !c->json) {
		print_super(o);
		print_dirs(o);
		print_nodes(o);
		print_checked(o);
		print_space(o);
		print_list(o, "notes", WARN, "worth knowing");
		print_list(o, "findings", BAD, "damaged");
	}
	if (jhas(o, "findings") && !c->json && !c->quiet) {
		say("\nread and authenticated: %lld generations, %lld records, %lld chunks with %s of contents\n",
		    (long long)jint(o, "generations"), (long long)jint(o, "records"), (long long)jint(o, "chunks"),
		    text_bytes(jint(o, "content_bytes"), b));
		say(jlen(o, "findings") ?
		    "what is damaged is never restored; keep an image of the disk before anything is done about it; "
		    "DAMAGE in holdfast(8) says what can be\n" :
		    arg_value(c, "resource") ? "all of its log was read and is authentic\n" :
		    "all that is in use was read and is authentic\n");
	}
	json_object_put(o);
	out = printed(c);
	return ret ? fail(c) : out;
}
