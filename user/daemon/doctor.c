// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `doctor`: what the daemon can say about itself, the other nodes and each resource, finding by
 * finding: {check, about, verdict (ok, warn, bad), what, do?}. Looks only; trees are opened
 * beside those that the workers have.
 */
#include "doctor.h"
#include "verbs.h"
#include <dirent.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOW_BYTES (64ull << 20)

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* What is to be done, to be copied: the words R and PATH are the resource and the checkpoint that it is about. */
static char *advice(const struct found *f, const char *todo)
{
	struct hf_buf b = HF_BUF_INIT;
	const char *p = todo, *is;
	size_t n;

	while (*p) {
		n = strspn(p, LETTERS);
		is = n == 1 && *p == 'R' ? f->resource : n == 4 && !memcmp(p, "PATH", 4) ? f->path : NULL;
		n = n ? n : 1;
		hf_buf_put(&b, is ? is : p, is ? strlen(is) : n);
		p += n;
	}
	hf_buf_u8(&b, 0);
	if (b.bad)
		hf_buf_free(&b);
	return (char *)b.p;
}

void find(struct found *f, enum finding v, const char *check, const char *about, const char *todo, const char *fmt, ...)
{
	static const char *const words[] = { "ok", "warn", "bad" };
	struct json_object *o = jobj();
	char s[1200], *text;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s, sizeof(s), fmt, ap);
	va_end(ap);
	jstr(o, "check", check);
	jbytes(o, "about", about);
	jstr(o, "verdict", words[v]);
	jstr(o, "what", s);
	if (todo) {
		text = advice(f, todo);
		jbytes(o, "do", text ? text : todo);
		free(text);
	}
	json_object_array_add(f->arr, o);
}

static void store(struct found *f)
{
	char *text = beat_store_text(), w[512];
	struct hf_space sp;

	if (strcmp(text ? text : "", "ok"))
		find(f, BAD, "store", hfd.conf->url,
		     "look at the path to it: multipath, iSCSI, the array, or the mounts of shared directories; nothing is lost meanwhile",
		     "%s", text ? text : "it cannot be told");
	else
		find(f, OK, "store", hfd.conf->url, NULL, "answers; this node's heartbeat was written %llu ms ago",
		     (unsigned long long)beat_silent_ms());
	for (unsigned i = 0; !hfd.store->ops->warning(hfd.store, i, w, sizeof(w)); i++)
		find(f, WARN, "store", hfd.conf->url, NULL, "%s", w);
	hfd.store->ops->space(hfd.store, &sp);
	if (sp.total)
		find(f, OK, "space", hfd.id.name, NULL, "%llu of %llu MiB are free in this node's area of the store",
		     (unsigned long long)sp.free >> 20, (unsigned long long)sp.total >> 20);
	free(text);
}

/* Each node that beats reaches the disk: that is what a heartbeat is. */
static void nodes(struct found *f)
{
	struct hf_node_info *n = calloc(HF_MAX_NODES, sizeof(*n));
	unsigned count = n ? beat_nodes(n, HF_MAX_NODES) : 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned long long ms = n[i].age_ms;

		if (n[i].state == HF_NODE_FREE)
			continue;
		if (n[i].slot == hfd.id.slot)
			find(f, OK, "node", n[i].name, NULL, "this node, area %u, Holdfast %s", n[i].slot, n[i].version);
		else if (n[i].state == HF_NODE_UP && strcmp(n[i].version, HF_VERSION))
			find(f, WARN, "node", n[i].name, "when the upgrade of the cluster is over, all should be the same",
			     "reaches the store (heartbeat %llu ms ago), with Holdfast %s; here it is %s", ms, n[i].version, HF_VERSION);
		else if (n[i].state == HF_NODE_UP)
			find(f, OK, "node", n[i].name, NULL, "reaches the store: heartbeat %llu ms ago", ms);
		else if (n[i].state == HF_NODE_LEFT)
			find(f, WARN, "node", n[i].name, "start holdfastd there if the node is to take over",
			     "its daemon was stopped; it cannot take anything over");
		else if (n[i].state == HF_NODE_DOWN)
			find(f, BAD, "node", n[i].name,
			     "if the node lives: start holdfastd there, and see whether it reaches the store (holdfast doctor there); if it is gone for good: holdfast node remove",
			     "no heartbeat of it reaches the store, for %llu s", ms / 1000);
		else
			find(f, WARN, "node", n[i].name, "ask again in a moment", "has not been watched for a lease yet");
	}
	free(n);
}

static void tracking(struct found *f)
{
	if (!strcmp(hf_track_source(hfd.track), "kernel"))
		find(f, OK, "tracking", "kernel", NULL, "changes come from the kernel module");
	else
		find(f, hf_track_why(hfd.track)[0] ? WARN : OK, "tracking", hf_track_source(hfd.track),
		     hf_track_why(hfd.track)[0] ? "holdfast module status says why the module is not loaded, and what to do" : NULL,
		     "changes come from fanotify%s%s", hf_track_why(hfd.track)[0] ? ", because the module is not to be had: " :
		     ", as configured", hf_track_why(hfd.track));
}

static bool others_write(const struct stat *st)
{
	return (st->st_mode & 0022) || st->st_uid != geteuid();
}

/* What packages and editors leave beside programs, and what is there to be read. */
static bool no_hook(const char *name)
{
	static const char *const like[] = { "README*", "*.md", "*.rst", "*.txt", "*~", "*.bak", "*.orig", "*.rej", "*.rpmsave",
					    "*.rpmnew", "*.rpmorig", "*.dpkg-*", "*.ucf-*" };

	for (unsigned i = 0; i < HF_ARRAY(like); i++)
		if (!fnmatch(like[i], name, 0))
			return true;
	return false;
}

static void hooks(struct found *f)
{
	const char *dir = hfd.conf->hooks_dir;
	struct hook_counts c;
	struct dirent *d;
	struct stat st;
	unsigned n = 0;
	DIR *h;

	h = opendir(dir);
	if (!h)
		return;
	if (!fstat(dirfd(h), &st) && others_write(&st))
		find(f, BAD, "hooks", dir, "chown root and chmod go-w it", "others may write to it: no hook in it is run");
	while ((d = readdir(h))) {
		char *path = hf_strf("%s/%s", dir, d->d_name);

		if (d->d_name[0] != '.' && path && !stat(path, &st) && S_ISREG(st.st_mode)) {
			n += (st.st_mode & 0111) && !others_write(&st);
			if (!(st.st_mode & 0111) && no_hook(d->d_name))
				;
			else if (!(st.st_mode & 0111))
				find(f, WARN, "hooks", path, "chmod +x it, or move it away", "is not executable: it is not run");
			else if (others_write(&st))
				find(f, BAD, "hooks", path, "chown root and chmod go-w it", "others may write to it: it is not run");
		}
		free(path);
	}
	closedir(h);
	hooks_counted(&c);
	if (c.failed)
		find(f, WARN, "hooks", dir, "run it by hand with the arguments that the log names",
		     "%llu of %llu runs failed, %llu of them took longer than hooks_timeout; %llu events wait",
		     (unsigned long long)c.failed, (unsigned long long)c.runs, (unsigned long long)c.timed_out,
		     (unsigned long long)c.waiting);
	else if (n)
		find(f, OK, "hooks", dir, NULL, "%u programs; %llu runs", n, (unsigned long long)c.runs);
}

static void space(struct found *f)
{
	struct statvfs v;

	if (statvfs(hfd.conf->state_dir, &v))
		find(f, BAD, "state", hfd.conf->state_dir, "see what became of it", "cannot be looked at: %s", strerror(errno));
	else if ((uint64_t)v.f_bavail * v.f_frsize < LOW_BYTES || (v.f_files && !v.f_favail))
		find(f, BAD, "state", hfd.conf->state_dir, "make room there",
		     "is nearly full: the journal of what is online here may not be written, and no takeover begins then");
	else if (v.f_flag & ST_RDONLY)
		find(f, BAD, "state", hfd.conf->state_dir, "mount it writable", "is mounted read-only");
}

static const char *todo_of(const char *state, bool failed_here, bool here)
{
	if (failed_here && !here)
		return "mend that, then holdfast online R again, here or on another node, or holdfast offline R to leave the state";
	if (failed_here)
		return "mend that, then holdfast resource reset R to leave the state, or holdfast offline R";
	if (!strcmp(state, "owner-lost"))
		return "see that its node is dead or fenced, then holdfast online R --fenced on the node that is to have it; a cluster manager does that by itself";
	return NULL;
}

/* The first words of warnings, which are an interface of their own, and what to do about each. */
static const struct { const char *word; enum finding v; const char *todo; } known[] = {
	{ "stale:", WARN, "stop the service here if it runs; holdfast displaced list R shows what was kept aside" },
	{ "without-store:", BAD, "bring the store back: what is here is committed then" },
	{ "unreleased:", WARN, "bring the store back, or make room on it; it ends by itself then" },
	{ "left-behind:", WARN, "decide which of the two is right before it is brought online anywhere" },
	{ "degraded:", BAD, "see the store's findings, and the warning of the commit" },
	{ "delete-guard:", BAD, "holdfast sync R --allow-delete if the deletion is meant; else put back what is missing" },
	{ "commit:", WARN, "it is tried again by itself; see the store's findings" },
	{ "behind:", BAD, "if the disk was put back on purpose: holdfast disk accept; else find out who did it" },
	{ "history:", WARN, "set a smaller retain (holdfast resource set R retain=N), unpin generations, or grow the disk; SPACE in holdfast(8)" },
	{ "lost:", BAD, "mount it again, or bring it back; or delete the checkpoint (holdfast checkpoint delete)" },
	{ "coarse:", WARN, "exclude what need not be kept (holdfast checkpoint set), or let the module mark more directories: holdfast module status shows its bound" },
	{ "rpo:", BAD, "see what holds the commits up: the store's findings, degraded, delete-guard" },
};

static void warnings(struct found *f, struct json_object *res, const char *name)
{
	struct json_object *arr, *o;

	if (!json_object_object_get_ex(res, "warnings", &arr))
		return;
	for (size_t i = 0; i < json_object_array_length(arr); i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(arr, i)), *todo = NULL;
		enum finding v = WARN;

		for (unsigned k = 0; k < HF_ARRAY(known); k++)
			if (!strncmp(text, known[k].word, strlen(known[k].word))) {
				v = known[k].v;
				todo = known[k].todo;
			}
		find(f, v, "warning", name, todo, "%s", text);
	}
	if (json_object_object_get_ex(res, "unconfirmed", &o) && jget_u64(o, "count"))
		find(f, WARN, "unconfirmed", name, "holdfast displaced list R, then displaced restore for what is wanted",
		     "%llu changes of this node were never confirmed", (unsigned long long)jget_u64(o, "count"));
	if (json_object_object_get_ex(res, "warm", &o) && jget_str(o, "error"))
		find(f, WARN, "standby", name, "see the store's findings", "this node's copy of its log does not follow: %s", jget_str(o, "error"));
	else if (json_object_object_get_ex(res, "warm", &o) && jget_str(o, "state") && !strcmp(jget_str(o, "state"), "too-large"))
		find(f, WARN, "standby", name, "[standby] memory in holdfast.conf", "its log does not fit into memory here: a takeover reads all of it");
}

static void one(struct resource *r, void *arg)
{
	struct found *f = arg;
	struct regs *pin;
	const struct hf_resource *def = resource_def(r, &pin);
	const char *state, *owner, *owner_state;
	struct json_object *res;
	bool here, failed;

	if (!def || (f->only && strcmp(f->only, r->name))) {
		regs_put(pin);
		return;
	}
	f->resource = r->name;
	res = res_json(r);
	state = jget_str(res, "state");
	owner = jget_str(res, "owner");
	owner_state = jget_str(res, "owner_state");
	pthread_mutex_lock(&r->lock);
	here = r->live;
	failed = r->state == RS_FAILED;
	pthread_mutex_unlock(&r->lock);
	if (failed || !strcmp(state, "owner-lost"))
		find(f, BAD, "state", r->name, todo_of(state, failed, here), "%s%s%s%s%s", state, failed ? ": " : owner ? ", last online on " : "",
		     failed ? jget_str(res, "error") ? jget_str(res, "error") : "not known why" : owner ? owner : "",
		     failed || !owner_state ? "" : ", which is ", failed || !owner_state ? "" : owner_state);
	else if (strstr(state, "pending"))
		find(f, WARN, "state", r->name, "wait; holdfast watch shows how it goes on", "%s", state);
	else
		find(f, OK, "state", r->name, NULL, "%s%s%s, generation %llu", state, owner ? " on " : "", owner ? owner : "",
		     (unsigned long long)jget_u64(res, "generation"));
	warnings(f, res, r->name);
	if (here && jget_str(res, "quality") && strcmp(jget_str(res, "quality"), "events"))
		find(f, WARN, "tracking", r->name, NULL, "by %s: changes are found by comparing, as often as scrub says", jget_str(res, "quality"));
	if (!def->ncp)
		find(f, WARN, "checkpoint", r->name, "holdfast checkpoint add R PATH", "it has no checkpoint: nothing is kept of it");
	doctor_checkpoints(f, r, def, here, !here && !strcmp(state, "online"));
	f->resource = NULL;
	json_object_put(res);
	regs_put(pin);
}

static int doctor(struct req *q, struct hf_err *err)
{
	struct found f = { .only = jget_str(q->args, "resource") };
	struct resource *r = NULL;

	if (f.only) {
		r = verb_resource(f.only, err);
		if (!r)
			return err->exit == HF_USAGE ? -EINVAL : -ENOENT;
	}
	f.arr = json_object_new_array();
	store(&f);
	nodes(&f);
	tracking(&f);
	space(&f);
	hooks(&f);
	if (r)
		one(r, &f);
	else
		resources_each(one, &f);
	doctor_overlaps(&f);
	resource_put(r);
	q->result = jobj();
	json_object_object_add(q->result, "findings", f.arr);
	return 0;
}

const struct verb verbs_doctor[] = {
	{ "doctor", V_READ, "resource:s", doctor },
	{ NULL, 0, NULL, NULL },
};
