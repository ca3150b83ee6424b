// SPDX-License-Identifier: GPL-2.0-or-later
/* holdfast: the table of verbs, and how one is found. */
#include "cli.h"
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define R { "R", V_NAME, false, false }
#define R_OPT { "R", V_NAME, true, false }
#define DEV { "DEV", V_DEV, false, false }
#define DEV_OPT { "DEV", V_DEV, true, false }
#define FLAG(n) { n, NULL, V_TEXT, false }

static const struct cmd cmds[] = {
	{ "init", "DEV --name CLUSTER [--nodes 8] [--nodes-max 12] [--lease 5s] [--size SIZE] [--force] [--yes]",
	  "set up the first node: key, quorum disk, identity, configuration", { DEV },
	  { { "name", "CLUSTER", V_NAME, false }, { "nodes", "N", V_COUNT, false },
	    { "nodes-max", "N", V_COUNT, false }, { "lease", "T", V_DURATION, false }, { "size", "SIZE", V_SIZE, false }, FLAG("force"), FLAG("yes") },
	  cmd_init },
	{ "join", "DEV", "set up a further node (copy the key before)", { DEV }, { { 0 } }, cmd_join },
	{ "keygen", "", "make the cluster's key", { { 0 } }, { { 0 } }, cmd_keygen },
	{ "disk format", "DEV --name CLUSTER [--nodes 8] [--nodes-max 12] [--lease 5s] [--size SIZE] [--force] [--yes]",
	  "make DEV a quorum disk", { DEV },
	  { { "name", "CLUSTER", V_NAME, false }, { "nodes", "N", V_COUNT, false },
	    { "nodes-max", "N", V_COUNT, false }, { "lease", "T", V_DURATION, false }, { "size", "SIZE", V_SIZE, false }, FLAG("force"), FLAG("yes") },
	  cmd_disk_format },
	{ "disk set", "dir:DIR[:DIR...] [--force] [--yes]",
	  "say which shared directories a store consists of", { DEV }, { FLAG("force"), FLAG("yes") }, cmd_disk_set },
	{ "disk info", "[DEV]", "what a quorum disk says of itself", { DEV_OPT }, { { 0 } }, cmd_disk_info },
	{ "disk check", "[DEV] [--resource R]", "read and authenticate all that is in use", { DEV_OPT },
	  { { "resource", "R", V_NAME, false } }, cmd_disk_check },
	{ "disk grow", "DEV [--nodes N] [--force]", "use what DEV became larger by; areas for more nodes", { DEV },
	  { { "nodes", "N", V_COUNT, false }, FLAG("force") }, cmd_disk_grow },
	{ "disk accept", "[--yes]", "use a disk that was put back to an earlier state", { { 0 } }, { FLAG("yes") },
	  cmd_disk_accept },
	{ "node list", "", "the nodes of the cluster", { { 0 } }, { { 0 } }, cmd_node_list },
	{ "node replace", "OLD [DEV] [--yes]", "this machine takes the place of a node that is dead for good",
	  { { "OLD", V_NAME, false, false }, DEV_OPT }, { FLAG("yes") }, cmd_node_replace },
	{ "node remove", "NODE [--yes] [--dry-run]", "free the slot and area of a node that is gone",
	  { { "NODE", V_NAME, false, false } }, { FLAG("yes"), FLAG("dry-run") }, cmd_node_remove },
	{ "cluster-state", "[--exit-code]", "what is set up here", { { 0 } }, { FLAG("exit-code") },
	  cmd_cluster_state },
	{ "module status", "", "whether holdfast.ko is loaded; if not, why not, and what to do", { { 0 } }, { { 0 } },
	  cmd_module_status },
	{ "module load", "", "load holdfast.ko", { { 0 } }, { { 0 } }, cmd_module_load },
	{ "module unload", "", "unload it; refused while trees are registered", { { 0 } }, { { 0 } }, cmd_module_unload },
	{ "module reload", "", "unload and load it, after it was replaced", { { 0 } }, { { 0 } }, cmd_module_reload },
	{ "tree list", "[R]", "the trees that the module watches", { R_OPT }, { { 0 } }, cmd_tree_list },
	{ "tree dirty", "[R]", "what changed and is not acknowledged, and who did it", { R_OPT }, { { 0 } },
	  cmd_tree_dirty },
	{ "tree events", "[R] [--count N] [--timeout T]", "changes as the module tells them", { R_OPT },
	  { { "count", "N", V_NUMBER, false }, { "timeout", "T", V_DURATION, false } }, cmd_tree_events },
	{ "tree delete", "ID [--yes] [--dry-run]", "make the module forget a tree that nobody consumes",
	  { { "ID", V_NUMBER, false, false } }, { FLAG("yes"), FLAG("dry-run") }, cmd_tree_delete },
	{ "resource add", "R [--type T]", "register a resource", { R }, { { "type", "T", V_NAME, false } },
	  cmd_resource_add },
	{ "resource delete", "R [--yes] [--dry-run]", "delete a resource, its checkpoints and their history", { R },
	  { FLAG("yes"), FLAG("dry-run") }, cmd_resource_delete },
	{ "resource list", "[--type T]", "the resources", { { 0 } }, { { "type", "T", V_NAME, false } },
	  cmd_resource_list },
	{ "resource show", "R", "one resource: state, checkpoints, policies", { R }, { { 0 } }, cmd_resource_show },
	{ "resource set", "R KEY=VALUE...", "set policies; KEY= goes back to the default",
	  { R, { "KEY=VALUE", V_POLICY, false, true } }, { { 0 } }, cmd_resource_set },
	{ "resource reset", "R", "leave the state failed on this node", { R }, { { 0 } }, cmd_resource_reset },
	{ "resource rebuild", "R [--keep-local] [--allow-empty] [--yes] [--dry-run]", "make anew, from its owner's files, what is damaged on the store",
	  { R }, { FLAG("keep-local"), FLAG("allow-empty"), FLAG("yes"), FLAG("dry-run") }, cmd_resource_rebuild },
	{ "checkpoint add", "R PATH [--crypto] [--view V] [--exclude G]... [--include G]... [--allow-empty] [--force]",
	  "register a tree, or one file", { R, { "PATH", V_PATH, false, false } },
	  { FLAG("crypto"), { "view", "V", V_NAME, false }, { "exclude", "G", V_TEXT, true },
	    { "include", "G", V_TEXT, true }, FLAG("allow-empty"), FLAG("force") }, cmd_checkpoint_add },
	{ "checkpoint set", "R PATH [--exclude G]... [--include G]... | --all", "change what is left out of a tree",
	  { R, { "PATH", V_PATH, false, false } },
	  { { "exclude", "G", V_TEXT, true }, { "include", "G", V_TEXT, true }, FLAG("all") }, cmd_checkpoint_set },
	{ "checkpoint delete", "R PATH [--yes] [--dry-run]", "no longer keep a tree",
	  { R, { "PATH", V_PATH, false, false } }, { FLAG("yes"), FLAG("dry-run") }, cmd_checkpoint_delete },
	{ "checkpoint list", "[R] [--type T] [--kind tree|crypto] [PATTERN]", "the checkpoints",
	  { { "R or PATTERN", V_TEXT, true, false }, { "PATTERN", V_TEXT, true, false } },
	  { { "type", "T", V_NAME, false }, { "kind", "tree|crypto", V_KIND, false } }, cmd_checkpoint_list },
	{ "online", "R [--fenced] [--dry-run] [--keep-local] [--allow-empty] [--without-store] [--timeout T]",
	  "take a resource over: claim, restore, track", { R },
	  { FLAG("fenced"), FLAG("dry-run"), FLAG("keep-local"), FLAG("allow-empty"), FLAG("without-store"),
	    { "timeout", "T", V_DURATION, false } }, cmd_online },
	{ "offline", "R [--timeout T]", "last capture, release", { R }, { { "timeout", "T", V_DURATION, false } },
	  cmd_offline },
	{ "sync", "R [--quick] [--allow-delete] | --group R...", "wait until everything is confirmed",
	  { { "R", V_NAME, false, true } }, { FLAG("quick"), FLAG("allow-delete"), FLAG("group") }, cmd_sync },
	{ "move", "R NODE [--timeout T]", "make another node have it", { R, { "NODE", V_NAME, false, false } },
	  { { "timeout", "T", V_DURATION, false } }, cmd_move },
	{ "run", "R [--fenced] [--timeout T] -- COMMAND [ARGUMENT...]",
	  "run a command while a resource is online here", { R, { "COMMAND", V_ANY, false, true } },
	  { FLAG("fenced"), { "timeout", "T", V_DURATION, false } }, cmd_run },
	{ "status", "[R] [--watch]", "how the resources are", { R_OPT }, { FLAG("watch") }, cmd_status },
	{ "watch", "[R]", "changes, commits and states of this node as they happen", { R_OPT }, { { 0 } }, cmd_watch },
	{ "doctor", "[R]", "what is wrong here, and what to do", { R_OPT }, { { 0 } }, cmd_doctor },
	{ "report", "[R] [--since T]", "commits, lag, takeovers, RPO, and who forced what", { R_OPT },
	  { { "since", "T", V_DURATION, false } }, cmd_report },
	{ "metrics", "", "figures for Prometheus (OpenMetrics)", { { 0 } }, { { 0 } }, cmd_metrics },
	{ "history pin", "R GENERATION --name X", "keep a generation for good",
	  { R, { "GENERATION", V_GEN, false, false } }, { { "name", "X", V_NAME, false } }, cmd_history_pin },
	{ "history unpin", "R --name X", "no longer keep it", { R }, { { "name", "X", V_NAME, false } },
	  cmd_history_unpin },
	{ "history", "R", "the generations, and what is pinned", { R }, { { 0 } }, cmd_history },
	{ "diff", "R [GENERATION [GENERATION]] [--text]", "what differs; the newest against this node, if none is given",
	  { R, { "GENERATION", V_GEN, true, false }, { "GENERATION", V_GEN, true, false } }, { FLAG("text") }, cmd_diff },
	{ "verify", "R", "whether this node's trees are the newest generation", { R }, { { 0 } }, cmd_verify },
	{ "rollback", "R --to GENERATION [--yes] [--dry-run]", "make an earlier generation the newest one, and restore it", { R },
	  { { "to", "GENERATION", V_GEN, false }, FLAG("yes"), FLAG("dry-run") }, cmd_rollback },
	{ "restore", "R [--generation GENERATION] --to DIR", "put a generation into a directory, to look at", { R },
	  { { "generation", "GENERATION", V_GEN, false }, { "to", "DIR", V_TEXT, false } }, cmd_restore },
	{ "displaced list", "[R]", "what restores kept aside", { R_OPT }, { { 0 } }, cmd_displaced_list },
	{ "displaced show", "R ID", "what is in a kept-aside set", { R, { "ID", V_TEXT, false, false } }, { { 0 } },
	  cmd_displaced_show },
	{ "displaced restore", "R ID [NAME] [--to DIR]", "bring a kept-aside set back, or one name of it",
	  { R, { "ID", V_TEXT, false, false }, { "NAME", V_TEXT, true, false } },
	  { { "to", "DIR", V_TEXT, false } }, cmd_displaced_restore },
};
#define NCMDS (sizeof(cmds) / sizeof(cmds[0]))

static int help(const struct cmd *one)
{
	if (one) {
		printf("holdfast %s%s%s\n    %s\n", one->name, *one->synopsis ? " " : "", one->synopsis, one->help);
		return fflush(stdout) ? HF_FAILED : 0;
	}
	printf("usage: holdfast [-c FILE] [--json] [-q] VERB ...\n\n");
	for (size_t i = 0; i < NCMDS; i++)
		printf("  %-18s %s\n", cmds[i].name, cmds[i].help);
	printf("  %-18s %s\n  %-18s %s\n\n", "help [VERB]", "this, or how a verb is used", "version",
	       "the version of this command");
	printf("-c FILE   another configuration than /etc/holdfast/holdfast.conf (or $HOLDFAST_CONF)\n"
	       "--json    the result as JSON\n"
	       "-q        say nothing when all is well\n\n"
	       "exit: 0 done, 1 failed, 2 usage, 3 not found, 4 exists, 5 refused, 6 stale,\n"
	       "      7 store unavailable, 8 damaged, 9 not permitted, 10 no daemon\n");
	return fflush(stdout) ? HF_FAILED : 0;
}

/* the verb that @words begin with; *used: how many of them it is */
static const struct cmd *find(int n, char **words, int *used)
{
	for (size_t i = 0; i < NCMDS; i++) {
		const char *name = cmds[i].name, *sp = strchr(name, ' ');
		size_t len = sp ? (size_t)(sp - name) : strlen(name);

		if (strlen(words[0]) != len || strncmp(words[0], name, len))
			continue;
		if (sp && (n < 2 || strcmp(words[1], sp + 1)))
			continue;
		*used = sp ? 2 : 1;
		return &cmds[i];
	}
	return NULL;
}

static size_t common(const char *a, const char *b)
{
	size_t n = 0;

	while (a[n] && a[n] == b[n])
		n++;
	return n;
}

/* Of two that are as near the one that begins alike: "ofline" is not "online". */
static const char *nearest(const char *word)
{
	const char *best = NULL;
	unsigned d = 2;

	for (size_t i = 0; i < NCMDS; i++) {
		const char *name = cmds[i].name;
		unsigned x = distance(word, name);

		if (x < d || (x == d && (!best || common(word, name) > common(word, best)))) {
			d = x;
			best = name;
		}
	}
	return best;
}

/* no verb fits: say what is nearest */
static int unknown(struct cli *c, int n, char **words)
{
	char group[32], list[256] = "", two[64];
	const char *best = NULL;
	size_t len = strlen(words[0]);
	unsigned d = 3;

	if (!arg_text_ok(words[0]) || !len || len > 24)
		return usage(c, "this is not a verb; holdfast help lists them");
	for (size_t i = 0; i < NCMDS; i++) {
		const char *sp = strchr(cmds[i].name, ' ');
		unsigned x;

		if (!sp)
			continue;
		snprintf(group, sizeof(group), "%.*s", (int)(sp - cmds[i].name), cmds[i].name);
		x = distance(words[0], group);
		if (!x)
			snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", *list ? ", " : "", sp + 1);
		if (x < d) {
			d = x;
			best = cmds[i].name;
		}
	}
	if (*list && (n < 2 || words[1][0] == '-'))
		return usage(c, "%s: which? There is %s", words[0], list);
	if (n > 1 && strlen(words[1]) <= 24 && arg_text_ok(words[1])) {
		snprintf(two, sizeof(two), "%s %s", words[0], words[1]);
		if (nearest(two))
			return usage(c, "unknown verb '%s'; did you mean '%s'?", two, nearest(two));
	}
	if (*list)
		return usage(c, "%s: unknown verb; there is %s", words[0], list);
	if (nearest(words[0]))
		return usage(c, "unknown verb '%s'; did you mean '%s'?", words[0], nearest(words[0]));
	if (best)
		return usage(c, "unknown verb '%s'; did you mean '%.*s'?", words[0], (int)strcspn(best, " "), best);
	return usage(c, "unknown verb '%s'; holdfast help lists them", words[0]);
}

static int help_on(struct cli *c, int n, char **words)
{
	const struct cmd *cmd;
	int used;

	if (!n)
		return help(NULL);
	cmd = find(n, words, &used);
	if (!cmd)
		return unknown(c, n, words);
	if (n > used)
		return usage(c, "help %s: there is an argument too many", cmd->name);
	return help(cmd);
}

static int version(struct cli *c, int n)
{
	if (n)
		return usage(c, "version takes no argument");
	if (c->json)
		printf("{\"version\":\"%s\"}\n", HF_VERSION);
	else
		printf("holdfast %s\n", HF_VERSION);
	return fflush(stdout) ? HF_FAILED : 0;
}

static int run(struct cli *c, int argc, char **argv)
{
	int globals = 0, used, ret;
	const char *word;
	char **rest;

	while (globals < argc && argv[globals][0] == '-') {
		if (!strcmp(argv[globals], "-h") || !strcmp(argv[globals], "--help"))
			return help(NULL);
		if (!strcmp(argv[globals], "-V") || !strcmp(argv[globals], "--version"))
			return version(c, argc - globals - 1);
		if (!strcmp(argv[globals], "--json"))
			c->json = true;
		else if (!strcmp(argv[globals], "-c") && globals + 1 < argc)
			globals++;
		else if (!strcmp(argv[globals], "-c"))
			return usage(c, "-c needs the name of a configuration file");
		else if (strcmp(argv[globals], "-q") && strcmp(argv[globals], "--quiet"))
			return usage(c, "%s: before the verb there can be -c FILE, --json and -q only; see holdfast help",
				     arg_text_ok(argv[globals]) ? argv[globals] : "an option that is not text");
		globals++;
	}
	if (globals >= argc)
		return usage(c, "no verb; holdfast help lists them");
	word = argv[globals];
	if (!strcmp(word, "help"))
		return help_on(c, argc - globals - 1, argv + globals + 1);
	if (!strcmp(word, "version"))
		return version(c, argc - globals - 1);
	c->cmd = find(argc - globals, argv + globals, &used);
	if (!c->cmd)
		return unknown(c, argc - globals, argv + globals);
	for (int i = globals + used; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return help(c->cmd);

	/* what stood before the verb is read along with what follows it */
	rest = argv + used;
	memmove(rest, argv, globals * sizeof(*argv));
	ret = args_parse(c, argc - used, rest);
	return ret ? ret : c->cmd->run(c);
}

int main(int argc, char **argv)
{
	struct cli c = { 0 };
	int ret;

	signal(SIGPIPE, SIG_IGN);	/* a reader that has gone is a failed write */
	if (argc < 1)
		return HF_USAGE;
	c.pos = calloc(argc + 1, sizeof(*c.pos));
	c.given = calloc(argc + 1, sizeof(*c.given));
	ret = c.pos && c.given ? run(&c, argc - 1, argv + 1) : out_of_memory();
	hf_disconnect(c.conn);
	free(c.pos);
	free(c.given);
	return ret;
}
