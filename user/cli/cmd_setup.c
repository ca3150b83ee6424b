// SPDX-License-Identifier: GPL-2.0-or-later
/* Setting up: init, join, keygen, disk, node, cluster-state. */
#include "cli.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int layout(struct cli *c, struct hf_format *f)
{
	uint64_t lease = arg_number(c, "lease", 0);
	struct stat st;

	*f = (struct hf_format){
		.cluster = arg_value(c, "name"),
		.nodes = arg_number(c, "nodes", 0),
		.nodes_max = arg_number(c, "nodes-max", 0),
		.lease_ms = lease,
		.size = arg_number(c, "size", 0),
		.force = arg_flag(c, "force"),
	};
	if (!f->cluster)
		return usage(c, "--name CLUSTER is missing; usage: holdfast %s %s", c->cmd->name, c->cmd->synopsis);
	if (arg_flag(c, "lease") && (lease < 500 || lease > 600000))
		return usage(c, "--lease '%s' is out of range; write 500ms to 10m", arg_value(c, "lease"));
	/* a shared directory is there in any case */
	if (f->force && (!strncmp(arg_pos(c, 0), "dir:", 4) || !stat(arg_pos(c, 0), &st)) &&
	    confirm(c, "Overwrite whatever is on %s? Every generation in it is lost.", arg_pos(c, 0)))
		return HF_FAILED;
	return 0;
}

static int joined(struct cli *c, char *text, bool first)
{
	const char *conf = c->conf ? c->conf : getenv("HOLDFAST_CONF");
	struct json_object *o = taken(c, text);

	if (!c->json && !c->quiet) {
		say("this is node %s of cluster %s (area %lld)\n", jstr(o, "node"), jstr(o, "cluster"),
		    (long long)jint(o, "slot"));
		if (first)
			say("the other nodes need a copy of this node's key before they join; without it the disk cannot be read\n");
		/* the unit knows the usual configuration only */
		if (conf && *conf)
			say("now start the daemon: holdfastd -c %s\n", conf);
		else
			say("now start the daemon: systemctl start holdfastd\n");
	}
	json_object_put(o);
	return printed(c);
}

int cmd_init(struct cli *c)
{
	struct hf_format f;
	char *text = NULL;
	int ret = layout(c, &f);

	if (ret)
		return ret;
	if (hf_node_init(c->conf, arg_pos(c, 0), &f, &text, &c->err))
		return fail(c);
	return joined(c, text, true);
}

int cmd_join(struct cli *c)
{
	char *text = NULL;

	if (hf_node_join(c->conf, arg_pos(c, 0), &text, &c->err))
		return fail(c);
	return joined(c, text, false);
}

int cmd_keygen(struct cli *c)
{
	if (hf_keygen(c->conf, NULL, &c->err))
		return fail(c);
	if (c->json)
		puts("{}");
	else if (!c->quiet)
		say("a new key was made; copy it to every node of the cluster, and keep a copy in a safe place: "
		    "without it nothing on the disk can be read\n");
	return printed(c);
}

int cmd_disk_format(struct cli *c)
{
	struct hf_format f;
	int ret = layout(c, &f);

	if (ret)
		return ret;
	if (hf_disk_format(c->conf, arg_pos(c, 0), &f, &c->err))
		return fail(c);
	if (c->json)
		puts("{}");
	else if (!c->quiet)
		say("%s is a %s of cluster %s\n", arg_pos(c, 0),
		    strncmp(arg_pos(c, 0), "dir:", 4) ? "quorum disk" : "shared store", f.cluster);
	return printed(c);
}

int cmd_disk_set(struct cli *c)
{
	const char *url = arg_pos(c, 0);

	if (arg_flag(c, "force") &&
	    confirm(c, "Make %s the whole store? What was confirmed on directories that are not named is lost.", url))
		return HF_FAILED;
	if (hf_dir_set(c->conf, url, arg_flag(c, "force"), &c->err))
		return fail(c);
	if (c->json)
		puts("{}");
	else if (!c->quiet)
		say("the store is %s now; write that into the configuration of every node ([store] url)\n", url);
	return printed(c);
}

int cmd_disk_grow(struct cli *c)
{
	struct json_object *o;
	char *text = NULL, b[2][32];
	uint64_t grown = 0;

	if (hf_disk_grow(c->conf, arg_pos(c, 0), arg_number(c, "nodes", 0), arg_flag(c, "force"), &text,
			 &c->err))
		return fail(c);
	o = taken(c, text);
	for (size_t i = 0; i < jlen(o, "areas"); i++)
		grown += jint(jat(o, "areas", i), "grown");
	if (!c->json && !c->quiet)
		say("%s has %s, %s more than before in the areas of %lld nodes; running daemons use them within a heartbeat\n",
		    arg_pos(c, 0), text_bytes(jint(o, "size"), b[0]), text_bytes(grown, b[1]),
		    (long long)jint(o, "nodes_max"));
	json_object_put(o);
	return printed(c);
}

int cmd_disk_accept(struct cli *c)
{
	char *text = NULL;
	struct json_object *o;
	size_t n;

	if (confirm(c, "Use the disk as it is, though this node has seen a newer state of it? What was confirmed since is lost."))
		return HF_FAILED;
	if (hf_disk_accept(c->conf, &text, &c->err)) {
		free(text);
		return fail(c);
	}
	o = taken(c, text);
	n = jlen(o, "accepted");
	for (size_t i = 0; i < n && !c->json; i++)
		say("accepted: %s\n", json_object_get_string(jat(o, "accepted", i)));
	if (!n && !c->json && !c->quiet)
		say("the disk is not older than what this node has seen of it\n");
	json_object_put(o);
	return printed(c);
}

int cmd_node_list(struct cli *c)
{
	static const char *const heads[] = { "NODE", "STATE", "SLOT", "HOST", "VERSION", "SEEN", NULL };
	struct json_object *r;
	struct table *t;
	char b[32];
	int ret = call(c, "node.list", args_new(), &r);

	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
		goto out;
	}
	t = table_new(heads);
	for (size_t i = 0; i < jlen(r, "nodes"); i++) {
		struct json_object *n = jat(r, "nodes", i);
		const char *state = jstr(n, "state");

		table_cell(t, PLAIN, "%s%s", jstr(n, "name"), jbool(n, "self") ? " *" : "");
		table_cell(t, !strcmp(state, "up") ? GOOD : !strcmp(state, "down") ? BAD : WARN, "%s", state);
		table_cell(t, PLAIN, "%lld", (long long)jint(n, "slot"));
		table_cell(t, PLAIN, "%s", jstr(n, "host"));
		table_cell(t, PLAIN, "%s", jstr(n, "version"));
		table_cell(t, PLAIN, "%s ago", text_duration(jint(n, "age_ms"), b));
	}
	table_print(t);
out:
	json_object_put(r);
	return printed(c);
}

int cmd_node_replace(struct cli *c)
{
	char *text = NULL;

	if (confirm(c, "Take the place of node %s for good? The old machine cannot come back.", arg_pos(c, 0)))
		return HF_FAILED;
	if (hf_node_replace(c->conf, arg_pos(c, 1), arg_pos(c, 0), &text, &c->err))
		return fail(c);
	return joined(c, text, false);
}

int cmd_node_remove(struct cli *c)
{
	struct json_object *a = args_new(), *r;
	bool dry = arg_flag(c, "dry-run");
	int ret;

	ret = confirm(c, "Remove node %s for good? It cannot come back but as a new node.", arg_pos(c, 0));
	if (ret) {
		json_object_put(a);
		return ret;
	}
	args_str(a, "name", arg_pos(c, 0));
	args_flag(c, a, "dry-run", "dry_run");
	ret = call(c, "node.remove", a, &r);
	if (ret)
		return ret;
	if (c->json) {
		print_json(r);
	} else if (!c->quiet) {
		for (size_t i = 0; i < jlen(r, "moved"); i++)
			say("%s: its newest state %s\n", json_object_get_string(jat(r, "moved", i)),
			    dry ? "would be copied out of that area" : "was copied out of that area");
		say("%s: %s; slot %lld %s\n", arg_pos(c, 0), dry ? "would be removed" : "removed", (long long)jint(r, "slot"),
		    dry ? "would be free" : "is free for another node");
	}
	json_object_put(r);
	return printed(c);
}

int cmd_cluster_state(struct cli *c)
{
	char *text = NULL;
	int state = hf_cluster_state(c->conf, &text), ret;
	struct json_object *o = taken(c, text);

	if (!c->json) {
		say_painted(state == 19 ? GOOD : WARN, "%s", jstr(o, "state"));
		if (*jstr(o, "cluster"))
			say("  cluster %s", jstr(o, "cluster"));
		if (*jstr(o, "node"))
			say("  node %s", jstr(o, "node"));
		say("\n");
		if (*jstr(o, "why") && !c->quiet)
			say("%s\n", jstr(o, "why"));
	}
	json_object_put(o);
	ret = printed(c);
	return ret ? ret : arg_flag(c, "exit-code") ? state : 0;
}
