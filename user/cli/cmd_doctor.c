// SPDX-License-Identifier: GPL-2.0-or-later
/* doctor: what is wrong with this node and its resources, and what to do. Works without a daemon. */
#include "kmod.h"
#include "module.h"
#include "nl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void find(struct json_object *arr, const char *verdict, const char *check, const char *about, const char *what,
		 const char *todo)
{
	struct json_object *o = json_object_new_object();

	args_str(o, "check", check);
	args_str(o, "about", about);
	args_str(o, "verdict", verdict);
	args_str(o, "what", what);
	args_str(o, "do", todo);
	json_object_array_add(arr, o);
}

static void add_all(struct json_object *arr, struct json_object *from)
{
	for (size_t i = 0; i < jlen(from, "findings"); i++)
		json_object_array_add(arr, json_object_get(jat(from, "findings", i)));
}

static void loaded(struct cli *c, struct json_object *arr, const struct module_facts *f)
{
	char srcversion[160], stores[160], what[700];
	struct json_object *v = NULL;
	struct hf_nl *nl = NULL;
	struct verdict judged;
	int ret = hf_nl_open(c, &nl);

	module_attr("srcversion", srcversion, sizeof(srcversion));
	if (!ret)
		ret = hf_nl_version(nl, &v);
	if (ret == HF_PERM) {
		find(arr, "warn", "module", "holdfast.ko", c->err.msg, "ask as root");
	} else if (ret) {
		find(arr, "bad", "module", "holdfast.ko", c->err.msg, "holdfast module reload takes the one of this version");
	} else {
		snprintf(what, sizeof(what), "is loaded, %s%s; %lld trees, %lld of %lld directories marked",
			 f->is_signed ? "signed" : "not signed", f->is_signed && *f->signer ? " by its builder" : "",
			 (long long)jint(v, "trees"), (long long)jint(v, "marks"), (long long)jint(v, "marks_max"));
		find(arr, "ok", "module", "holdfast.ko", what, NULL);
		if (jhas(v, "stores") && !jbool(v, "stores")) {
			module_judge_stores(module_attr("parameters/stores_tracepoint", stores, sizeof(stores)), &judged);
			find(arr, "warn", "module", "stores to shared mappings", judged.why, judged.what);
		}
		if (*f->file && *srcversion && *f->srcversion && strcmp(srcversion, f->srcversion))
			find(arr, "warn", "module", f->file, "is another build than the one that is loaded",
			     "holdfast module reload, when no resource is online here");
	}
	c->err = (struct hf_err){ 0 };
	json_object_put(v);
	hf_nl_close(nl);
}

/* @needed: the configuration does not do without it; how changes are tracked the daemon's finding tells */
static void module(struct cli *c, struct json_object *arr, bool needed)
{
	struct module_facts *f = malloc(sizeof(*f));
	struct kmod_ctx *ctx;
	const char *why;
	struct kmod_module *mod = kmod_begin(&ctx, &why);
	char text[256];
	struct verdict v;
	int state;

	if (!f || !mod) {
		snprintf(text, sizeof(text), "libkmod cannot be used: %s", f ? why : "out of memory");
		find(arr, "warn", "module", "holdfast.ko", text, NULL);
		goto out;
	}
	state = kmod.module_get_initstate(mod);
	module_facts(mod, f);
	if (state == KMOD_MODULE_LIVE || state == KMOD_MODULE_BUILTIN) {
		loaded(c, arr, f);
	} else if (!needed) {
		find(arr, "ok", "module", "holdfast.ko", "is not loaded, and source = fanotify does not ask for it", NULL);
	} else {
		module_judge(f, &v);
		find(arr, "warn", "module", *f->file ? f->file : "holdfast.ko", v.why, v.what);
	}
out:
	if (mod)
		kmod.module_unref(mod);
	if (ctx)
		kmod.unref(ctx);
	free(f);
}

static int daemon_part(struct cli *c, struct json_object *arr)
{
	struct json_object *a = args_new(), *r = NULL;
	char *text = NULL;
	int ret = hf_connect(c->conf, &c->conn, &c->err);

	args_str(a, "resource", arg_pos(c, 0));
	if (!ret) {
		ret = hf_call(c->conn, "doctor", json_object_to_json_string_ext(a, JSON_C_TO_STRING_PLAIN), NULL, NULL, &text,
			      &c->err);
		if (!ret)
			find(arr, "ok", "daemon", NULL, "answers", NULL);
	}
	json_object_put(a);
	if (!ret) {
		r = text ? json_tokener_parse(text) : NULL;
		add_all(arr, r);
		json_object_put(r);
	} else if (c->err.exit == HF_NODAEMON) {
		find(arr, "bad", "daemon", NULL, c->err.msg, "journalctl -u holdfastd says why it ended");
		ret = 0;
	} else if (c->err.exit == HF_USAGE && !arg_pos(c, 0)) {
		ret = 0;	/* a configuration that cannot be read: the library has said so */
	}
	free(text);
	return ret ? fail(c) : 0;
}

static void drawn(void *ctx, uint64_t done, uint64_t total, uint64_t bytes)
{
	char b[32];

	progress_draw(ctx, "%s of contents read", text_bytes(bytes, b));
}

/* What the store has of @name: all generations that it keeps are read, with their contents. Who may not read the key was
 * told so by then. */
static void contents(struct cli *c, struct json_object *arr, const char *name)
{
	struct json_object *o, *f;
	char *text = NULL, what[200], todo[300], b[32];
	struct progress p;
	long long gens = 0;
	bool old, own;
	int ret;

	progress_begin(c, &p);
	ret = hf_disk_check_resource(c->conf, NULL, name, drawn, &p, &text, &c->err);
	progress_end(&p);
	o = text ? json_tokener_parse(text) : NULL;
	snprintf(todo, sizeof(todo), "keep an image of the disk; then holdfast resource rebuild %s on the node that has it, or had it last, makes it anew from its files (DAMAGE in holdfast(8))",
		 name);
	for (size_t i = 0; i < jlen(o, "findings"); i++) {
		f = jat(o, "findings", i);
		old = jbool(f, "history");
		own = jhas(f, "row") && strcmp(jstr(f, "kind"), "slot") && strcmp(jstr(f, "kind"), "io");
		find(arr, old ? "warn" : "bad", "contents", name, jstr(f, "what"),
		     old ? "newer generations do not need it, and it goes when history is trimmed" :
		     own ? todo : "holdfast disk check tells more; DAMAGE in holdfast(8)");
	}
	if (!ret) {
		/* the registrations were read as well, and are not its own */
		for (size_t i = 0; i < jlen(o, "logs"); i++)
			if (!strcmp(jstr(jat(o, "logs", i), "resource"), name))
				gens = jint(jat(o, "logs", i), "generations");
		snprintf(what, sizeof(what), "%lld generation%s, with %s of contents, %s read in the store and %s authentic", gens,
			 gens == 1 ? "" : "s", text_bytes(jint(o, "content_bytes"), b), gens == 1 ? "was" : "were",
			 gens == 1 ? "is" : "are");
		find(arr, "ok", "contents", name, what, NULL);
	} else if (!jlen(o, "findings") && c->err.exit != HF_NOTFOUND && c->err.exit != HF_PERM) {
		find(arr, "bad", "contents", name, c->err.msg, "holdfast disk check tells more");
	}
	json_object_put(o);
	free(text);
	c->err = (struct hf_err){ 0 };
}

static int rank(struct json_object *o)
{
	return !strcmp(jstr(o, "verdict"), "bad") ? 2 : !strcmp(jstr(o, "verdict"), "warn") ? 1 : 0;
}

static void print_findings(struct cli *c, struct json_object *arr, int worst, int bad, int warn)
{
	static const char *const word[] = { "ok", "warn", "BAD" };
	static const enum paint paint[] = { GOOD, WARN, BAD };
	size_t n = json_object_array_length(arr);

	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(arr, i);
		int k = rank(o);

		if (c->quiet && !k)
			continue;
		say_painted(paint[k], "%-4s", word[k]);
		say("  %-13s %s%s%s\n", jstr(o, "check"), jstr(o, "about"), *jstr(o, "about") ? ": " : "", jstr(o, "what"));
		if (k && *jstr(o, "do"))
			say("      what to do: %s\n", jstr(o, "do"));
	}
	if (c->quiet && !worst)
		return;
	if (!worst)
		say_painted(GOOD, "nothing is wrong");
	else
		say_painted(paint[worst], "%d bad, %d to look at", bad, warn);
	say("\n");
}

int cmd_doctor(struct cli *c)
{
	struct json_object *o = json_object_new_object(), *arr = json_object_new_array(), *lib;
	int ret, count[3] = { 0 }, worst = 0;
	bool sound = true;	/* the store can be looked at */
	char *text = NULL;

	json_object_object_add(o, "findings", arr);
	if (hf_node_doctor(c->conf, &text)) {
		ret = out_of_memory();
		goto out;
	}
	lib = json_tokener_parse(text);
	add_all(arr, lib);
	for (size_t i = 0; i < json_object_array_length(arr); i++)
		sound &= rank(json_object_array_get_idx(arr, i)) < 2;
	module(c, arr, strcmp(jstr(lib, "source"), "fanotify"));
	json_object_put(lib);
	ret = daemon_part(c, arr);
	if (ret)
		goto out;
	if (arg_pos(c, 0) && sound)
		contents(c, arr, arg_pos(c, 0));
	for (size_t i = 0; i < json_object_array_length(arr); i++) {
		int k = rank(json_object_array_get_idx(arr, i));

		count[k]++;
		worst = k > worst ? k : worst;
	}
	if (c->json)
		print_json(o);
	else
		print_findings(c, arr, worst, count[2], count[1]);
	ret = printed(c);
	if (!ret && worst == 2)
		ret = HF_FAILED;
out:
	free(text);
	json_object_put(o);
	return ret;
}
