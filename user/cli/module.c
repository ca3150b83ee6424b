// SPDX-License-Identifier: GPL-2.0-or-later
/* The module: status, load, unload, reload. */
#include "kmod.h"
#include "module.h"
#include "nl.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMED 4		/* trees that a refusal names */

struct mod {
	struct kmod_ctx *ctx;
	struct kmod_module *mod;
};

static int mod_open(struct cli *c, struct mod *m)
{
	const char *why;

	m->mod = kmod_begin(&m->ctx, &why);
	return m->mod ? 0 : because(c, HF_FAILED, "libkmod cannot be used: %s", why);
}

static void mod_close(struct mod *m)
{
	if (m->mod)
		kmod.module_unref(m->mod);
	if (m->ctx)
		kmod.unref(m->ctx);
}

static bool loaded(const struct mod *m)
{
	int state = kmod.module_get_initstate(m->mod);

	return state == KMOD_MODULE_LIVE || state == KMOD_MODULE_BUILTIN;
}

static void put_str(struct json_object *o, const char *key, const char *s)
{
	json_object_object_add(o, key, *s ? text_of_bytes(s, strlen(s)) : NULL);
}

static void put_yes(struct json_object *o, const char *key, enum yes y)
{
	json_object_object_add(o, key, y == UNKNOWN ? NULL : json_object_new_boolean(y == YES));
}

static struct json_object *file_of(const struct module_facts *f, bool same)
{
	struct json_object *o;

	if (!*f->file)
		return NULL;
	o = json_object_new_object();
	put_str(o, "path", f->file);
	put_str(o, "version", f->version);
	put_str(o, "srcversion", f->srcversion);
	put_str(o, "vermagic", f->vermagic);
	json_object_object_add(o, "signed", json_object_new_boolean(f->is_signed));
	put_str(o, "signer", f->signer);
	json_object_object_add(o, "is_loaded", json_object_new_boolean(same));
	return o;
}

static struct json_object *kernel_of(const struct module_facts *f)
{
	struct json_object *o = json_object_new_object();

	put_str(o, "release", f->uts.release);
	put_yes(o, "secure_boot", f->secure_boot);
	put_str(o, "lockdown", f->lockdown);
	put_yes(o, "sig_enforce", f->sig_enforce);
	json_object_object_add(o, "modules_disabled", json_object_new_boolean(f->disabled));
	json_object_object_add(o, "tainted", json_object_new_uint64(f->tainted));
	json_object_object_add(o, "taints", module_taints(f->tainted));
	return o;
}

static void add_stores_why(struct json_object *o)
{
	struct verdict v;
	char b[160];

	module_judge_stores(module_attr("parameters/stores_tracepoint", b, sizeof(b)), &v);
	put_str(o, "stores_why", v.why);
	put_str(o, "stores_what", v.what);
}

/* What the running module tells of itself, or why it does not, which is no failure here. */
static void add_figures(struct cli *c, struct json_object *o)
{
	struct json_object *figures = NULL;
	struct hf_nl *nl = NULL;

	if (hf_nl_open(c, &nl) || hf_nl_version(nl, &figures)) {
		put_str(o, "note", c->err.msg);
	} else {
		json_object_object_foreach(figures, key, value)
			json_object_object_add(o, key, json_object_get(value));
	}
	if (jhas(o, "stores") && !jbool(o, "stores"))
		add_stores_why(o);
	c->err = (struct hf_err){ 0 };
	json_object_put(figures);
	hf_nl_close(nl);
}

static struct json_object *status_of(struct cli *c, const struct mod *m, const struct module_facts *f)
{
	struct json_object *o = json_object_new_object();
	char b[160], version[160];
	struct verdict v;

	json_object_object_add(o, "loaded", json_object_new_boolean(loaded(m)));
	if (loaded(m)) {
		put_str(o, "version", module_attr("version", version, sizeof(version)));
		put_str(o, "srcversion", module_attr("srcversion", b, sizeof(b)));
		json_object_object_add(o, "file", file_of(f, *b ? !strcmp(b, f->srcversion) :
							  !strcmp(version, f->version)));
		put_str(o, "taint", module_attr("taint", b, sizeof(b)));
		add_figures(c, o);
	} else {
		module_judge(f, &v);
		json_object_object_add(o, "file", file_of(f, false));
		put_str(o, "built_for", f->built_for);
		put_str(o, "reason", v.reason);
		put_str(o, "why", v.why);
		put_str(o, "what", v.what);
	}
	json_object_object_add(o, "kernel", kernel_of(f));
	return o;
}

static const char *word(struct json_object *o, const char *key, const char *yes, const char *no)
{
	struct json_object *v = jobj(o, key);

	return !v ? "not known" : json_object_get_boolean(v) ? yes : no;
}

static void print_file(struct json_object *o, bool is_loaded)
{
	struct json_object *file = jobj(o, "file");

	if (!file) {
		say("%-12s none for this kernel\n", "file");
		if (*jstr(o, "built_for"))
			say("%-12s %s\n", "built for", jstr(o, "built_for"));
		return;
	}
	say("%-12s %s", "file", jstr(file, "path"));
	if (is_loaded && !jbool(file, "is_loaded"))
		say_painted(WARN, " (another build than the one that is loaded; holdfast module reload takes it)");
	say("\n%-12s %s%s%s\n", "signed", jbool(file, "signed") ? "yes" : "no", *jstr(file, "signer") ? ", by " : "",
	    jstr(file, "signer"));
}

static void print_stores(struct json_object *o)
{
	if (!jhas(o, "stores"))
		return;
	say("%-12s ", "stores");
	if (jbool(o, "stores")) {
		say("to shared mappings are noted\n");
		return;
	}
	say_painted(WARN, "to shared mappings are missed");
	say(": %s\n%-12s what to do: %s\n", jstr(o, "stores_why"), "", jstr(o, "stores_what"));
}

static void print_status(struct json_object *o)
{
	struct json_object *k = jobj(o, "kernel");
	bool is_loaded = jbool(o, "loaded");
	char used[32], most[32];

	say("%-12s ", "holdfast.ko");
	say_painted(is_loaded ? GOOD : WARN, is_loaded ? "loaded" : "not loaded");
	say("\n");
	if (is_loaded) {
		say("%-12s %s", "version", *jstr(o, "version") ? jstr(o, "version") : "not known");
		if (jhas(o, "abi"))
			say(", ABI %lld", (long long)jint(o, "abi"));
		if (*jstr(o, "srcversion"))
			say(", source %s", jstr(o, "srcversion"));
		say("\n");
	}
	if (jhas(o, "trees"))
		say("%-12s %lld\n%-12s %lld directories of %lld\n%-12s %s of %s\n%-12s %lld\n", "trees",
		    (long long)jint(o, "trees"), "marks", (long long)jint(o, "marks"), (long long)jint(o, "marks_max"),
		    "dirty sets", text_bytes(jint(o, "dirty_bytes"), used), text_bytes(jint(o, "dirty_max"), most),
		    "sequence", (long long)jint(o, "seq"));
	else if (is_loaded)
		say("%-12s not told: %s\n", "trees", jstr(o, "note"));
	print_stores(o);
	print_file(o, is_loaded);
	say("%-12s %s\n", "kernel", jstr(k, "release"));
	say("%-12s %s\n", "secure boot", word(k, "secure_boot", "on", "off"));
	say("%-12s %s\n", "lockdown", *jstr(k, "lockdown") ? jstr(k, "lockdown") : "not known");
	say("%-12s %s\n", "signatures", word(k, "sig_enforce", "enforced", "not enforced by module.sig_enforce"));
	if (*jstr(o, "taint"))
		say("%-12s %s by holdfast.ko\n", "taint", jstr(o, "taint"));
	for (size_t i = 0; i < jlen(k, "taints"); i++)
		say("%-12s %s\n", i ? "" : "tainted", json_object_get_string(jat(k, "taints", i)));
	if (!is_loaded)
		say("\n%s\nwhat to do: %s\n", jstr(o, "why"), jstr(o, "what"));
}

int cmd_module_status(struct cli *c)
{
	struct module_facts *f = malloc(sizeof(*f));
	struct json_object *o;
	struct mod m;
	int ret;

	if (!f)
		return out_of_memory();
	ret = mod_open(c, &m);
	if (ret) {
		ret = fail(c);
		goto out;
	}
	module_facts(m.mod, f);
	o = status_of(c, &m, f);
	if (c->json)
		print_json(o);
	else
		print_status(o);
	ret = printed(c);
	if (!ret && !loaded(&m))
		ret = HF_NOTFOUND;
	json_object_put(o);
out:
	mod_close(&m);
	free(f);
	return ret;
}

static int load(struct cli *c, struct mod *m)
{
	struct module_facts *f;
	struct verdict v;
	int ret = kmod.module_probe_insert_module(m->mod, 0, NULL, NULL, NULL, NULL);

	/* built in, or there already: 0 */
	if (!ret && loaded(m))
		return 0;
	f = malloc(sizeof(*f));
	if (!f)
		return because(c, HF_FAILED, "out of memory");
	module_facts(m->mod, f);
	/* nothing was inserted where modprobe.d has a command in place of the module */
	if (ret >= 0) {
		because(c, HF_FAILED, "it was not loaded: an install line in modprobe.d stands in place of it "
			"(modprobe --showconfig shows it)");
	} else {
		module_judge_errno(f, -ret, &v);
		because(c, v.exit, "%s; %s", v.why, v.what);
	}
	free(f);
	return c->err.exit;
}

/* Refused while there are trees: what they collect is nowhere else. */
static int no_trees(struct cli *c)
{
	struct json_object *list = NULL;
	struct hf_nl *nl = NULL;
	char names[512] = "";
	size_t n = 0;
	int ret = hf_nl_open(c, &nl);

	if (!ret)
		ret = hf_nl_trees(nl, &list);
	if (!ret)
		n = json_object_array_length(list);
	for (size_t i = 0; i < n && i < NAMED; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		size_t len = strlen(names);

		snprintf(names + len, sizeof(names) - len, "%s%lld %.63s %.80s", i ? ", " : "", (long long)jint(o, "id"),
			 jstr(o, "resource"), jstr(o, "path"));
	}
	if (n)
		ret = because(c, HF_REFUSED, "%zu tree%s registered (%s%s): take the resources offline (holdfast offline R); "
			      "holdfast tree list shows them, holdfast tree delete ID makes the module forget one that "
			      "nobody comes back for", n, n == 1 ? " is" : "s are", names, n > NAMED ? ", ..." : "");
	json_object_put(list);
	hf_nl_close(nl);
	return ret;
}

static int unload(struct cli *c, struct mod *m)
{
	int ret = no_trees(c);

	if (ret == HF_NOTFOUND)	/* it has gone meanwhile */
		return 0;
	if (ret)
		return ret;
	ret = kmod.module_remove_module(m->mod, 0);
	switch (-ret) {
	case 0:
	case ENOENT:
		return 0;
	case EPERM:
		return because(c, HF_PERM, "not permitted; this needs CAP_SYS_MODULE outside of containers%s",
			       ": run it as root (or kernel.modules_disabled is 1: then it stays until the next boot)");
	case EBUSY:
	case EAGAIN:
		return because(c, HF_REFUSED, "it is in use; a tree may have been registered just now (holdfast tree list)");
	default:
		return because(c, HF_FAILED, "the kernel did not unload it: %s", strerror(-ret));
	}
}

/* @out, @in: what is to be done; what is so already is not */
static int change(struct cli *c, bool out, bool in)
{
	struct json_object *o;
	bool did = false;
	struct mod m;
	int ret = mod_open(c, &m);

	if (!ret && out && loaded(&m)) {
		did = true;
		ret = unload(c, &m);
	}
	if (!ret && in && !loaded(&m)) {
		did = true;
		ret = load(c, &m);
	}
	mod_close(&m);
	if (ret)
		return fail(c);
	if (c->json) {
		o = json_object_new_object();
		json_object_object_add(o, "loaded", json_object_new_boolean(in));
		json_object_object_add(o, "already", json_object_new_boolean(!did));
		print_json(o);
		json_object_put(o);
	} else if (!c->quiet) {
		say("holdfast.ko is %s\n", in ? (did ? "loaded" : "already loaded") : did ? "unloaded" : "not loaded");
	}
	return printed(c);
}

int cmd_module_load(struct cli *c)
{
	return change(c, false, true);
}

int cmd_module_unload(struct cli *c)
{
	return change(c, true, false);
}

int cmd_module_reload(struct cli *c)
{
	return change(c, true, true);
}
