// SPDX-License-Identifier: GPL-2.0-or-later
/* lib_walk CONF DIR CONF2: every verb of the public header against a daemon, for w02_library.t. */
#include "../tap.h"
#include <holdfast.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

static struct hf_conn *c;
static struct hf_err e;

#define GOOD(call, ...) do { \
	memset(&e, 0, sizeof(e)); \
	int r_ = (call); \
	if (!ok(!r_, __VA_ARGS__)) \
		printf("# %d: %s\n", r_, e.msg); \
} while (0)
/* fails with that class, a negative errno, and a sentence */
#define BAD(call, want, ...) do { \
	memset(&e, 0, sizeof(e)); \
	int r_ = (call); \
	if (!ok(r_ < 0 && e.exit == (want) && e.msg[0], __VA_ARGS__)) \
		printf("# %d, exit %d: %s\n", r_, e.exit, e.msg); \
} while (0)

static void put(const char *dir, const char *name, const char *text)
{
	char path[4200];
	FILE *f;

	snprintf(path, sizeof(path), "%s%s", dir, name);
	f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f))
		printf("Bail out! %s cannot be written\n", path);
}

static void mkdirs(const char *dir, const char *name)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s%s", dir, name);
	mkdir(path, 0755);
}

/* W2: zero is valid; a short buffer says how much it takes */
static void lists(void)
{
	char buf[64], exact[64];
	size_t size = 0, need;

	memset(&e, 0, sizeof(e));
	is(hf_checkpoint_list(c, "lib", NULL, &size, &e), -ERANGE, "W2: a buffer of nothing is too small");
	is(size, 1, "an empty list is one byte");
	GOOD(hf_checkpoint_list(c, "lib", buf, &size, &e), "W2: none is no error");
	ok(size == 1 && !buf[0], "and is the end at once");
	BAD(hf_checkpoint_list(c, "nobody", buf, &size, &e), HF_NOTFOUND, "a resource that is not there");

	uint64_t gen = 7;

	GOOD(hf_checkpoint_add(c, "lib", "/srv/lib/one", NULL, 0, NULL, 0, &gen, &e), "checkpoint add");
	is(gen, 0, "it is online nowhere, so no generation has it");
	const char *out[] = { "*.bak", "/tmp" };

	GOOD(hf_checkpoint_add(c, "lib", "/srv/lib/t\\wo", "native", 0, out, 2, NULL, &e),
	     "another one, with what is excluded, and a backslash in its name");
	size = 3;
	memset(buf, 'x', sizeof(buf));
	is(hf_checkpoint_list(c, "lib", buf, &size, &e), -ERANGE, "W2: a short buffer");
	ok(e.exit == HF_FAILED && e.msg[0] && buf[0] == 'x', "is told, and left alone");
	need = size;
	is(need, strlen("/srv/lib/one") + 1 + strlen("/srv/lib/t\\wo") + 1 + 1, "with the size it takes");
	size = need - 1;
	is(hf_checkpoint_list(c, "lib", exact, &size, &e), -ERANGE, "one byte less is too small");
	size = need;
	GOOD(hf_checkpoint_list(c, "lib", exact, &size, &e), "that much is enough");
	ok(!strcmp(exact, "/srv/lib/one") && !strcmp(exact + strlen(exact) + 1, "/srv/lib/t\\wo") && !exact[need - 1],
	   "the paths as they were registered, in order");
	size = sizeof(buf);
	GOOD(hf_resource_list(c, NULL, buf, &size, &e), "the resources");
	ok(!strcmp(buf, "lib") && !buf[4] && size == 5, "it is the one");
	size = sizeof(buf);
	GOOD(hf_resource_list(c, "other", buf, &size, &e), "those of a type that none has");
	ok(!buf[0], "are none");
}

static void refusals(void)
{
	BAD(hf_resource_add(c, "lib", NULL, &e), HF_EXISTS, "W1: there already");
	BAD(hf_resource_add(c, "../x", NULL, &e), HF_USAGE, "no name");
	BAD(hf_resource_add(c, NULL, NULL, &e), HF_USAGE, "no name at all");
	BAD(hf_resource_add(c, "caf\xe9", NULL, &e), HF_USAGE, "one that is not UTF-8");
	BAD(hf_resource_delete(c, "lib", HF_FORCE, &e), HF_USAGE, "a flag that means nothing there");
	BAD(hf_resource_delete(c, "nobody", 0, &e), HF_NOTFOUND, "deleted, though it is not there");
	BAD(hf_resource_set(c, "lib", "settle", "5x", &e), HF_USAGE, "a bad value");
	BAD(hf_resource_set(c, "lib", "", "5ms", &e), HF_USAGE, "no key");
	BAD(hf_checkpoint_add(c, "lib", "/srv/lib/one", "64bit", 0, NULL, 0, NULL, &e), HF_EXISTS, "W5: in another view");
	BAD(hf_checkpoint_add(c, "lib", "relative", NULL, 0, NULL, 0, NULL, &e), HF_USAGE, "W1: not absolute");
	BAD(hf_checkpoint_add(c, "lib", "/srv/lib/none", NULL, 0, NULL, 0, NULL, &e), HF_REFUSED, "not there");
	BAD(hf_checkpoint_add(c, "lib", "/srv/lib/x", NULL, 1u << 30, NULL, 0, NULL, &e), HF_USAGE, "an unknown flag");
	BAD(hf_checkpoint_delete(c, "lib", "/srv/lib/none", 0, &e), HF_NOTFOUND, "W3: unknown");
	BAD(hf_sync(c, NULL, 0, 0, NULL, &e), HF_USAGE, "sync of nothing");
	BAD(hf_online(c, "nobody", 0, 0, NULL, NULL, NULL, &e), HF_NOTFOUND, "online, though it is not there");
	BAD(hf_online(c, "lib", HF_QUICK, 0, NULL, NULL, NULL, &e), HF_USAGE, "with a flag that means nothing there");
	BAD(hf_rollback(c, "lib", 0, NULL, &e), HF_USAGE, "rollback to nothing");
	BAD(hf_call(c, "nope", NULL, NULL, NULL, NULL, &e), HF_USAGE, "a verb that there is not");
	BAD(hf_call(c, "status", "[]", NULL, NULL, NULL, &e), HF_USAGE, "arguments that are no object");
}

static void states(void)
{
	struct hf_resource_state s;
	char more[sizeof(s) + 64];

	GOOD(hf_resource_stat(c, "lib", &s, sizeof(s), &e), "how it is");
	ok(!strcmp(s.state, "offline") && !s.owner[0] && !s.owner_alive && s.checkpoints == 2, "offline, of nobody");
	memset(more, 'x', sizeof(more));
	GOOD(hf_resource_stat(c, "lib", (struct hf_resource_state *)more, sizeof(more), &e), "into a larger structure");
	ok(!memcmp(more, &s, sizeof(s)) && !more[sizeof(s)] && !more[sizeof(more) - 1], "zeroes where there is nothing to tell");
	memset(more, 'x', sizeof(more));
	GOOD(hf_resource_stat(c, "lib", (struct hf_resource_state *)more, 32, &e), "into a smaller one");
	ok(!strcmp(more, "offline") && more[32] == 'x', "not a byte beyond it");
	BAD(hf_resource_stat(c, "nobody", &s, sizeof(s), &e), HF_NOTFOUND, "of one that is not there");
}

static int count(void *arg, const char *json)
{
	++*(int *)arg;
	return !strchr(json, '{');
}

static int first_only(void *arg, const char *json)
{
	snprintf(arg, 64, "%s", json);
	return 1;
}

static void ownership(const char *dir, const char *conf2)
{
	const char *both[] = { "lib", "lib2" }, *twice[] = { "lib", "lib" };
	char group[37] = "", *json = NULL, *made = NULL;
	uint64_t gen = 0, gens[2] = { 0 };
	struct hf_resource_state s;
	struct hf_conn *other;
	int progress = 0, spooled = 7;

	GOOD(hf_online(c, "lib", 0, 30000, count, &progress, &gen, &e), "online");
	is(gen, 1, "with the first generation");
	GOOD(hf_online(c, "lib", 0, 0, NULL, NULL, &gen, &e), "online already");
	GOOD(hf_resource_stat(c, "lib", &s, sizeof(s), &e), "how it is");
	ok(!strcmp(s.state, "online") && !strcmp(s.owner, "a") && s.owner_alive && s.confirmed == 1 && s.consistent,
	   "online, of this node, confirmed, a cut");
	put(dir, "/srv/lib/one/f", "two");
	GOOD(hf_sync(c, both, 1, HF_QUICK | HF_ALLOW_DELETE, gens, &e), "sync");
	is(gens[0], 2, "is told the generation");
	GOOD(hf_resource_add(c, "lib2", "kind", &e), "another resource");
	mkdirs(dir, "/srv/lib2");
	put(dir, "/srv/lib2/f", "x");
	GOOD(hf_checkpoint_add(c, "lib2", "/srv/lib2", NULL, 0, NULL, 0, &gen, &e), "its tree");
	BAD(hf_sync(c, both, 2, 0, gens, &e), HF_REFUSED, "C45: both, of which one is offline");
	GOOD(hf_online(c, "lib2", 0, 0, NULL, NULL, NULL, &e), "online as well");
	put(dir, "/srv/lib2/f", "y");
	GOOD(hf_sync(c, both, 2, 0, gens, &e), "both");
	ok(gens[0] >= 2 && gens[1] >= 2, "the generation of each");
	BAD(hf_sync_group(c, both, 1, 0, gens, group, &e), HF_USAGE, "a group of one");
	BAD(hf_sync_group(c, twice, 2, 0, gens, group, &e), HF_USAGE, "of one twice");
	BAD(hf_sync_group(c, both, 2, HF_FENCED, gens, group, &e), HF_USAGE, "with a flag that means nothing there");
	GOOD(hf_sync_group(c, both, 2, HF_QUICK, NULL, NULL, &e), "C45: a group");
	GOOD(hf_sync_group(c, both, 2, 0, gens, group, &e), "another one");
	GOOD(hf_history(c, "lib2", &json, &e), "history");
	ok(strlen(group) == 36 && strstr(json, group), "  has the group");
	free(json);
	mkdirs(dir, "/srv/lib/three");
	put(dir, "/srv/lib/three/f", "3");
	GOOD(hf_connect(conf2, &other, &e), "the other node");
	gen = 0;
	GOOD(hf_checkpoint_add(other, "lib", "/srv/lib/three", NULL, 0, NULL, 0, &gen, &e), "W7: a checkpoint added there");
	ok(gen > 2, "is captured here, and the generation told");
	BAD(hf_online(other, "lib", 0, 0, NULL, NULL, NULL, &e), HF_REFUSED, "P4: it does not get what is owned");
	hf_disconnect(other);
	GOOD(hf_checkpoint_delete(c, "lib", "/srv/lib/three", 0, &e), "checkpoint delete");
	GOOD(hf_resource_set(c, "lib", "settle", "20ms", &e), "a policy");
	GOOD(hf_resource_set(c, "lib", "settle", NULL, &e), "and back to its default");
	GOOD(hf_resource_reset(c, "lib", &e), "reset of what is not failed");
	GOOD(hf_resource_rebuild(c, "lib", HF_DRY_RUN, NULL, NULL, NULL, &e), "what rebuilding would do");
	GOOD(hf_resource_rebuild(c, "lib", 0, NULL, NULL, &made, &e), "W27: rebuilt");
	ok(made && strstr(made, "\"damaged\":0"), "nothing was damaged");
	free(made);
	BAD(hf_resource_rebuild(c, "lib", HF_FENCED, NULL, NULL, NULL, &e), HF_USAGE, "no flag of it");
	GOOD(hf_offline(c, "lib2", 0, &gen, &spooled, &e), "offline");
	ok(gen && !spooled, "committed and released");
	GOOD(hf_resource_delete(c, "lib2", HF_DRY_RUN, &e), "what deleting would do");
	GOOD(hf_resource_delete(c, "lib2", 0, &e), "P8: deleted");
}

static void texts(const char *dir, const char *conf)
{
	char *json = NULL, to[4200], seen[64] = "";
	struct hf_conn *w;
	uint64_t gen = 0;

	GOOD(hf_ping(c, &json, &e), "ping");
	ok(json && strstr(json, "\"version\":\"" HF_VERSION "\"") && !strcmp(hf_version(), HF_VERSION), "versions agree");
	free(json);
	GOOD(hf_ping(c, NULL, &e), "without a look at the answer");
	GOOD(hf_status(c, NULL, &json, &e), "status");
	ok(json && strstr(json, "\"name\":\"lib\""), "has it");
	free(json);
	GOOD(hf_metrics(c, &json, &e), "metrics");
	ok(json && strstr(json, "\"counted\":"), "has what is counted");
	free(json);
	GOOD(hf_report(c, "lib", 0, 0, &json, &e), "report");
	ok(json && strstr(json, "\"lag\":"), "has the lag");
	free(json);
	BAD(hf_report(c, "lib", 2, 1, NULL, &e), HF_USAGE, "one that begins after its end");
	GOOD(hf_doctor(c, "lib", &json, &e), "doctor");
	ok(json && strstr(json, "\"verdict\":\"ok\""), "has findings");
	free(json);
	is(hf_node_doctor(conf, &json), 0, "doctor without the daemon");
	ok(json && strstr(json, "\"check\":\"key\",\"about\""), "has the key");
	free(json);
	GOOD(hf_history(c, "lib", &json, &e), "history");
	ok(json && strstr(json, "\"generations\":["), "has generations");
	free(json);
	GOOD(hf_history_pin(c, "lib", 1, "first", &e), "a pin");
	GOOD(hf_history_pin(c, "lib", 0, "first", &e), "and no more");
	GOOD(hf_diff(c, "lib", 1, 2, &json, &e), "diff");
	ok(json && strstr(json, "\"change\":\"content\""), "has the change");
	free(json);
	GOOD(hf_rollback(c, "lib", 1, &gen, &e), "rollback");
	ok(gen > 2, "is a new generation");
	snprintf(to, sizeof(to), "%s/look", dir);
	GOOD(hf_extract(c, "lib", 2, to, &json, &e), "a generation into a directory");
	free(json);
	GOOD(hf_displaced(c, "lib", &json, &e), "what was kept aside");
	free(json);
	BAD(hf_displaced_bring(c, "lib", "20260102T030405.678Z-0123abcd", NULL, NULL, &e), HF_NOTFOUND, "a set that there is not");
	GOOD(hf_nodes(c, &json, &e), "nodes");
	ok(json && strstr(json, "\"name\":\"a\""), "this one among them");
	free(json);
	BAD(hf_node_remove(c, "a", HF_DRY_RUN, &e), HF_REFUSED, "this node is not removed");
	GOOD(hf_connect(conf, &w, &e), "another connection");
	put(dir, "/srv/lib/one/g", "seen");
	memset(&e, 0, sizeof(e));
	is(hf_watch(w, "lib", first_only, seen, &e), -ECANCELED, "watch ends when it is told to");
	ok(strstr(seen, "\"event\":"), "after an event");
	BAD(hf_call(w, "ping", NULL, NULL, NULL, NULL, &e), HF_NODAEMON, "and its connection with it");
	hf_disconnect(w);
	hf_disconnect(NULL);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return HF_USAGE;
	mkdirs(argv[2], "/srv/lib");
	mkdirs(argv[2], "/srv/lib/one");
	mkdirs(argv[2], "/srv/lib/t\\wo");
	put(argv[2], "/srv/lib/one/f", "one");
	put(argv[2], "/srv/lib/t\\wo/f", "1");
	BAD(hf_connect("/nowhere/holdfast.conf", &c, &e), HF_USAGE, "a configuration that is not there");
	GOOD(hf_connect(argv[1], &c, &e), "connect");
	GOOD(hf_resource_add(c, "lib", "kind", &e), "resource add");
	lists();
	refusals();
	states();
	ownership(argv[2], argv[3]);
	texts(argv[2], argv[1]);
	GOOD(hf_offline(c, "lib", 0, NULL, NULL, &e), "offline, and nobody asks for more");
	hf_disconnect(c);
	return tap_done();
}
