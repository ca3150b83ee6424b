/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: libholdfast
 *
 * The public interface of Holdfast for C programs. The `holdfast` command and
 * every hook use nothing else. All strings are NUL-terminated UTF-8; results
 * are JSON texts that the caller frees with free().
 *
 * No function here exits, prints, or keeps a thread.
 */
#ifndef HOLDFAST_H
#define HOLDFAST_H

#include <stdint.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_API __attribute__((visibility("default")))

#define HF_VERSION "0.1.0"

/**
 * enum hf_exit - what became of a request; also the exit code of the command
 * @HF_OK: done
 * @HF_FAILED: failed
 * @HF_USAGE: the request is malformed or names something that cannot be
 * @HF_NOTFOUND: resource, checkpoint, generation or node is not there
 * @HF_EXISTS: it is there already
 * @HF_REFUSED: owner alive, overlap, wrong state, lost mount, delete-guard
 * @HF_STALE: this node was fenced out: a newer epoch exists
 * @HF_UNAVAIL: the store cannot be reached
 * @HF_DAMAGED: damaged, or not authentic (wrong key)
 * @HF_PERM: not permitted
 * @HF_NODAEMON: no daemon answers
 */
enum hf_exit {
	HF_OK = 0,
	HF_FAILED = 1,
	HF_USAGE = 2,
	HF_NOTFOUND = 3,
	HF_EXISTS = 4,
	HF_REFUSED = 5,
	HF_STALE = 6,
	HF_UNAVAIL = 7,
	HF_DAMAGED = 8,
	HF_PERM = 9,
	HF_NODAEMON = 10,
};

/**
 * struct hf_err - why something failed, for a person
 * @exit: the class of the failure, HF_OK while there is none
 * @msg: one sentence or two: what, where, why, and what to do
 */
struct hf_err {
	enum hf_exit exit;
	char msg[1024];
};

struct hf_conn;

/**
 * hf_connect() - connect to the daemon of this node
 * @conf: configuration file, NULL for $HOLDFAST_CONF or the default one
 * @out: receives the connection; hf_disconnect() ends it
 * @err: receives the reason of a failure
 *
 * Return: 0, or a negative errno with @err filled (HF_NODAEMON when no daemon
 * listens, HF_PERM when the socket may not be opened).
 */
HF_API int hf_connect(const char *conf, struct hf_conn **out, struct hf_err *err);

/** hf_disconnect() - end a connection; NULL is allowed */
HF_API void hf_disconnect(struct hf_conn *c);

/** typedef hf_event_fn - one event or progress report of a running request,
 *  a JSON object that is valid during the call only. Non-zero ends the request. */
typedef int (*hf_event_fn)(void *arg, const char *json);

/**
 * hf_call() - send one request and wait for its end
 * @c: connection
 * @verb: name of the request, see Documentation/socket.rst
 * @args: JSON object of the arguments, NULL for none
 * @event: called for each event before the reply, or NULL
 * @arg: passed to @event
 * @result: receives the JSON text of the result (free()), or NULL if not wanted
 * @err: receives the reason of a failure
 *
 * Return: 0, or a negative errno with @err filled.
 */
HF_API int hf_call(struct hf_conn *c, const char *verb, const char *args,
		   hf_event_fn event, void *arg, char **result, struct hf_err *err);

/**
 * DOC: verbs
 *
 * What the command does by way of the daemon, a function for each verb. They
 * are hf_call() with the arguments put together and the answer taken apart;
 * what a verb means is in holdfast(8). Names of resources are 1 to 63 bytes of
 * A-Z a-z 0-9 . _ @ : + -; paths are absolute.
 *
 * All of them return 0, or a negative errno with @err filled, whose exit is
 * what the command would exit with. Each waits until the daemon has answered.
 * One connection serves one call at a time: a thread that wants to go on
 * meanwhile opens another one.
 *
 * Results that are JSON texts are those of Documentation/socket.rst.
 */

/**
 * enum hf_flags - how a verb is meant; each takes those that it names, any other is HF_USAGE
 * @HF_FENCED: the owner was fenced: its claim may be taken although it seems to live
 * @HF_DRY_RUN: only tell what would be done
 * @HF_KEEP_LOCAL: what is on this node becomes the newest generation
 * @HF_ALLOW_EMPTY: a path may be missing or empty
 * @HF_WITHOUT_STORE: what is on this node is to serve, although the store is out of reach
 * @HF_QUICK: what no event reports need not be looked for
 * @HF_ALLOW_DELETE: delete-guard is not to hold a commit back
 * @HF_FORCE: more than 1 GiB may be registered
 * @HF_CRYPTO: a crypto checkpoint
 */
enum hf_flags {
	HF_FENCED = 1 << 0,
	HF_DRY_RUN = 1 << 1,
	HF_KEEP_LOCAL = 1 << 2,
	HF_ALLOW_EMPTY = 1 << 3,
	HF_WITHOUT_STORE = 1 << 4,
	HF_QUICK = 1 << 5,
	HF_ALLOW_DELETE = 1 << 6,
	HF_FORCE = 1 << 7,
	HF_CRYPTO = 1 << 8,
};

/** hf_ping() - the daemon: version, node, cluster, whether the store answers; @json may be NULL */
HF_API int hf_ping(struct hf_conn *c, char **json, struct hf_err *err);

/** hf_resource_add() - register @resource, of @type (free-form, NULL for none). HF_EXISTS */
HF_API int hf_resource_add(struct hf_conn *c, const char *resource, const char *type, struct hf_err *err);

/** hf_resource_delete() - delete @resource, its checkpoints and their history. @flags: HF_DRY_RUN.
 *  HF_NOTFOUND, HF_REFUSED while it is online somewhere. */
HF_API int hf_resource_delete(struct hf_conn *c, const char *resource, unsigned flags, struct hf_err *err);

/** hf_resource_set() - set the policy @key to @value, with its unit ("5ms"); NULL: to its default */
HF_API int hf_resource_set(struct hf_conn *c, const char *resource, const char *key, const char *value,
			   struct hf_err *err);

/** hf_resource_reset() - leave the state failed on this node */
HF_API int hf_resource_reset(struct hf_conn *c, const char *resource, struct hf_err *err);

/**
 * hf_resource_rebuild() - make anew, from the files of its owner, what is damaged of @resource on the store
 * @c: connection to the daemon of the node that owns it, or owned it last
 * @resource: its name
 * @flags: HF_DRY_RUN: only tell what is damaged; HF_ALLOW_EMPTY; HF_KEEP_LOCAL: the files are all there should be, although
 *	   nothing tells that they are those of its newest state
 * @event: called with progress, or NULL
 * @arg: passed to @event
 * @json: receives what was damaged, and what became of its history; may be NULL
 * @err: receives the reason of a failure
 *
 * HF_REFUSED on any other node, where it is not online although its log can be read, and where the log cannot be read and the
 * node is not known to have had all of it, without HF_KEEP_LOCAL.
 */
HF_API int hf_resource_rebuild(struct hf_conn *c, const char *resource, unsigned flags, hf_event_fn event,
			       void *arg, char **json, struct hf_err *err);

/**
 * hf_resource_list() - the names of the resources
 * @c: connection
 * @type: only those of this type; NULL for all
 * @buf: receives them one after the other, in order, each with its NUL, and a
 *       last NUL after the last one; may be NULL when *@size is 0
 * @size: bytes that @buf has; receives how many it takes
 * @err: receives the reason of a failure
 *
 * None at all is no error: *@buf is the last NUL. Return: 0, or a negative
 * errno; -ERANGE when @buf is too small: *@size says how large it must be, what
 * is in @buf is nothing, and @err is HF_FAILED.
 */
HF_API int hf_resource_list(struct hf_conn *c, const char *type, char *buf, size_t *size, struct hf_err *err);

/**
 * struct hf_resource_state - how a resource is
 * @state: offline, online-pending, online, offline-pending, failed (Documentation/states.rst); seen
 *         from a node that does not own it, owner-lost as well
 * @owner: name of the node that owns it; empty when none does
 * @owner_alive: non-zero when that is alive
 * @degraded: non-zero when it is online and commits fail
 * @consistent: non-zero when the newest generation is a consistent cut; on other nodes 0
 * @checkpoints: how many it has
 * @epoch: term of ownership
 * @generation: the newest one
 * @confirmed: the newest one of which its owner has made sure that it is still the owner
 * @dirty: entries that changed and are not confirmed
 * @oldest_dirty_ms: how long the oldest of them has waited
 * @error: why it is failed; empty while it is not
 */
struct hf_resource_state {
	char state[32];
	char owner[64];
	int owner_alive;
	int degraded;
	int consistent;
	unsigned checkpoints;
	uint64_t epoch;
	uint64_t generation;
	uint64_t confirmed;
	uint64_t dirty;
	uint64_t oldest_dirty_ms;
	char error[512];
};

/**
 * hf_resource_stat() - how @resource is, from this node's memory: never waits for the store
 * @c: connection
 * @resource: its name
 * @st: receives it
 * @size: sizeof(*@st): a program that was built with a larger or a smaller one gets what it knows, and
 *        zeroes for what this library does not
 * @err: receives the reason of a failure
 */
HF_API int hf_resource_stat(struct hf_conn *c, const char *resource, struct hf_resource_state *st,
			    size_t size, struct hf_err *err);

/**
 * hf_checkpoint_add() - register a tree, or one file
 * @c: connection
 * @resource: for this resource
 * @path: absolute
 * @view: the root that it is resolved in: native, 32bit, 64bit, or one of [view]; NULL: native
 * @flags: HF_CRYPTO, HF_ALLOW_EMPTY, HF_FORCE
 * @exclude: patterns that leave names out, as in gitignore(5); NULL for none
 * @nexclude: how many
 * @generation: receives the generation that has it, 0 when the resource is online nowhere; may be NULL
 * @err: receives the reason of a failure
 *
 * Where the resource is online, on whichever node, its owner captures it before this returns.
 * HF_EXISTS when it is registered already, in whichever view; HF_USAGE for what cannot be.
 */
HF_API int hf_checkpoint_add(struct hf_conn *c, const char *resource, const char *path, const char *view,
			     unsigned flags, const char *const *exclude, unsigned nexclude,
			     uint64_t *generation, struct hf_err *err);

/** hf_checkpoint_delete() - keep @path no longer. @flags: HF_DRY_RUN. HF_NOTFOUND */
HF_API int hf_checkpoint_delete(struct hf_conn *c, const char *resource, const char *path, unsigned flags,
				struct hf_err *err);

/** hf_checkpoint_list() - the paths of the checkpoints of @resource, NULL for all resources; the rest as for
 *  hf_resource_list(), HF_NOTFOUND when there is no such resource. What else is known of them:
 *  hf_call() with checkpoint.list. */
HF_API int hf_checkpoint_list(struct hf_conn *c, const char *resource, char *buf, size_t *size,
			      struct hf_err *err);

/**
 * hf_online() - take @resource over: claim, restore, track
 * @c: connection
 * @resource: its name
 * @flags: HF_FENCED, HF_KEEP_LOCAL, HF_ALLOW_EMPTY, HF_WITHOUT_STORE
 * @timeout_ms: after which it is failed and this returns; 0 for as long as it takes
 * @event: called with progress, or NULL
 * @arg: passed to @event
 * @generation: receives what its trees are now; may be NULL
 * @err: receives the reason of a failure
 *
 * Online already is 0. HF_REFUSED when another node owns it and lives, and when its trees overlap
 * with those of another resource.
 */
HF_API int hf_online(struct hf_conn *c, const char *resource, unsigned flags, unsigned timeout_ms,
		     hf_event_fn event, void *arg, uint64_t *generation, struct hf_err *err);

/** hf_offline() - last capture, commit, release. Parameters as for hf_online(); @spooled, unless NULL, receives
 *  non-zero when the store did not answer and the last changes are committed when it does. */
HF_API int hf_offline(struct hf_conn *c, const char *resource, unsigned timeout_ms, uint64_t *generation,
		      int *spooled, struct hf_err *err);

/**
 * hf_sync() - wait until everything that was changed before is confirmed
 * @c: connection
 * @resources: names; several as by hf_sync_group()
 * @n: how many
 * @flags: HF_QUICK, HF_ALLOW_DELETE
 * @generations: receives the generation of each, unless NULL
 * @err: receives the reason of a failure
 *
 * 0 means P1: whatever crashes from now on, a restore has it.
 */
HF_API int hf_sync(struct hf_conn *c, const char *const *resources, unsigned n, unsigned flags,
		   uint64_t *generations, struct hf_err *err);

/**
 * hf_sync_group() - make one cut through the trees of several resources a generation of each
 * @c: connection
 * @resources: names, none twice; all online on this node
 * @n: how many, 2 to 64
 * @flags: HF_QUICK, HF_ALLOW_DELETE
 * @generations: receives the generation of each, unless NULL
 * @group: receives what hf_history() of each calls the group, 37 bytes, unless NULL
 * @err: receives the reason of a failure
 *
 * 0 means what it means for hf_sync(), and that a change to any of them which had returned before another
 * one began, to whichever of them, is in these generations if that one is. Each of them gets a new generation,
 * changed or not. On failure there is no such group: HF_REFUSED when one of them is not online here, HF_STALE,
 * HF_UNAVAIL, and HF_FAILED with -EAGAIN when they never all held still at one moment. What was committed of
 * some of them by then stays, correct by itself; @err and hf_history() tell of it.
 */
HF_API int hf_sync_group(struct hf_conn *c, const char *const *resources, unsigned n, unsigned flags,
			 uint64_t *generations, char *group, struct hf_err *err);

/** hf_status() - this node and its resources, or @resource alone (NULL: all) */
HF_API int hf_status(struct hf_conn *c, const char *resource, char **json, struct hf_err *err);

/** hf_watch() - changes, commits and states of @resource (NULL: of all) as they happen, until @event returns
 *  non-zero, which ends the connection; then -ECANCELED */
HF_API int hf_watch(struct hf_conn *c, const char *resource, hf_event_fn event, void *arg,
		    struct hf_err *err);

/** hf_metrics() - the figures that the command prints for Prometheus, as JSON */
HF_API int hf_metrics(struct hf_conn *c, char **json, struct hf_err *err);

/** hf_report() - what happened from @from_ms to @to_ms (0: now), in ms since 1970, to @resource or (NULL) all */
HF_API int hf_report(struct hf_conn *c, const char *resource, uint64_t from_ms, uint64_t to_ms, char **json,
		     struct hf_err *err);

/** hf_doctor() - what the daemon finds wrong with this node, and with @resource or (NULL) all; see also
 *  hf_node_doctor() */
HF_API int hf_doctor(struct hf_conn *c, const char *resource, char **json, struct hf_err *err);

/** hf_history() - the generations of @resource, and those that are pinned */
HF_API int hf_history(struct hf_conn *c, const char *resource, char **json, struct hf_err *err);

/** hf_history_pin() - keep @generation under @name for good; @generation 0: no longer */
HF_API int hf_history_pin(struct hf_conn *c, const char *resource, uint64_t generation, const char *name,
			  struct hf_err *err);

/** hf_diff() - what changed from generation @from (0: the newest) to @to (0: this node's trees) */
HF_API int hf_diff(struct hf_conn *c, const char *resource, uint64_t from, uint64_t to, char **json,
		   struct hf_err *err);

/** hf_rollback() - make generation @to the newest one, and restore it; @generation receives its new number, unless
 *  NULL. Only where @resource is online. */
HF_API int hf_rollback(struct hf_conn *c, const char *resource, uint64_t to, uint64_t *generation,
		       struct hf_err *err);

/** hf_extract() - put generation @generation (0: the newest) below the directory @to, to look at. Crypto
 *  checkpoints are left out; the answer, in @json unless NULL, names them. */
HF_API int hf_extract(struct hf_conn *c, const char *resource, uint64_t generation, const char *to,
		      char **json, struct hf_err *err);

/** hf_displaced() - what restores kept aside, of @resource or (NULL) of all */
HF_API int hf_displaced(struct hf_conn *c, const char *resource, char **json, struct hf_err *err);

/** hf_displaced_bring() - bring the kept-aside set @id of @resource back: all of it, or the name @rel; into the
 *  checkpoint, or into the directory @to. @rel and @to may be NULL. */
HF_API int hf_displaced_bring(struct hf_conn *c, const char *resource, const char *id, const char *rel,
			      const char *to, struct hf_err *err);

/** hf_nodes() - the nodes of the cluster, and which of them are up */
HF_API int hf_nodes(struct hf_conn *c, char **json, struct hf_err *err);

/** hf_node_remove() - free slot and area of a node that is gone. @flags: HF_DRY_RUN. HF_REFUSED while it lives */
HF_API int hf_node_remove(struct hf_conn *c, const char *name, unsigned flags, struct hf_err *err);

/** hf_version() - of the library that is linked at run time, as HF_VERSION */
HF_API const char *hf_version(void);

/** hf_keygen() - write a new random cluster key to @path (mode 0600)
 *  @path: where; NULL for the configured key file
 *  @conf: configuration, as for hf_connect()
 *  Fails with HF_EXISTS rather than replace a key. */
HF_API int hf_keygen(const char *conf, const char *path, struct hf_err *err);

/**
 * struct hf_format - how a quorum disk is laid out
 * @cluster: name of the cluster, 1 to 63 bytes
 * @nodes: areas to make, 1 to 64; 0 for 8
 * @lease_ms: lease time in milliseconds, 500 to 600,000; 0 for 5,000
 * @resources: rows of claims to make; 0 to derive it from the size
 * @size: size in bytes when @dev is a regular file that must be created; 0 to
 *        take the size it has
 * @force: overwrite a foreign or an existing quorum disk
 * @nodes_max: nodes that hf_disk_grow() can make areas for, up to 64; 0 for four more than @nodes
 */
struct hf_format {
	const char *cluster;
	unsigned nodes;
	unsigned lease_ms;
	unsigned resources;
	uint64_t size;
	int force;
	unsigned nodes_max;
};

/** hf_disk_format() - make @dev a quorum disk under the configured key; dir:/one:/two makes a
 *  store of shared directories.
 *  HF_REFUSED when @dev carries something (names what) and @f->force is 0. */
HF_API int hf_disk_format(const char *conf, const char *dev, const struct hf_format *f,
			  struct hf_err *err);

/**
 * hf_disk_grow() - use what @dev became larger by, and make areas for more nodes
 * @conf: configuration, as for hf_connect()
 * @dev: the quorum disk; daemons may use it meanwhile, and use what is new within a heartbeat
 * @nodes: so many nodes in all; 0 to leave their number
 * @force: no other grow is at it on any node, though one was cut off, as the caller knows
 * @json: receives {"size":…,"nodes_max":…,"areas":[{"slot":…,"area_size":…,"grown":…}]}
 * @err: receives the reason of a failure
 *
 * HF_REFUSED when it did not become larger, when there would be fewer nodes than now or more than it
 * was formatted for, or while another grow is at it, or was cut off at it on another machine. What was there before
 * counts until the end.
 */
HF_API int hf_disk_grow(const char *conf, const char *dev, unsigned nodes, int force, char **json,
			 struct hf_err *err);

/** hf_disk_info() - what @dev says of itself; works without the key, and then
 *  says that nothing of it is authenticated. Never writes. @dev NULL: configured. */
HF_API int hf_disk_info(const char *conf, const char *dev, char **json, struct hf_err *err);

/** hf_disk_check() - read and authenticate all of @dev that is in use. Never
 *  writes. HF_DAMAGED with the findings in @json when something is wrong. */
HF_API int hf_disk_check(const char *conf, const char *dev, char **json, struct hf_err *err);

/** hf_disk_check_watched() - the same; @progress is called often: rows of claims that were looked
 *  at, how many there are, bytes of contents that were read */
HF_API int hf_disk_check_watched(const char *conf, const char *dev,
				 void (*progress)(void *ctx, uint64_t done, uint64_t total, uint64_t bytes),
				 void *ctx, char **json, struct hf_err *err);

/** hf_disk_check_resource() - the same of the log of one @resource alone, and of what all logs stand
 *  on: superblock, nodes, registrations. HF_NOTFOUND when it is not registered; NULL: all. */
HF_API int hf_disk_check_resource(const char *conf, const char *dev, const char *resource,
				  void (*progress)(void *ctx, uint64_t done, uint64_t total, uint64_t bytes),
				  void *ctx, char **json, struct hf_err *err);

/** hf_disk_accept() - an older state of the configured disk was put there on purpose: this node
 *  forgets that it saw a newer one. Writes nothing to the disk; @json names what is older. */
HF_API int hf_disk_accept(const char *conf, char **json, struct hf_err *err);

/** hf_dir_set() - the set of a store of shared directories is from now on those of @url
 *  (dir:/one:/two); what they lack is copied. While no daemon runs. HF_UNAVAIL when it cannot be
 *  told that one of them has everything, unless @force. */
HF_API int hf_dir_set(const char *conf, const char *url, int force, struct hf_err *err);

/**
 * hf_node_join() - give this node an identity and an area of the disk
 * @conf: configuration file to write if there is none (HF_EXISTS when it
 *        names another disk)
 * @dev: the quorum disk
 * @json: receives node, slot and cluster
 * @err: receives the reason of a failure
 *
 * The key must be in place. Used by both `init` and `join`.
 */
HF_API int hf_node_join(const char *conf, const char *dev, char **json, struct hf_err *err);

/** hf_node_replace() - as hf_node_join(), but in the place of node @old, which is dead: its slot and its area become
 *  this node's, what it had confirmed stays. @dev NULL: configured. HF_REFUSED while @old is alive; waits for a lease. */
HF_API int hf_node_replace(const char *conf, const char *dev, const char *old, char **json, struct hf_err *err);

/**
 * hf_node_init() - the first node: key if there is none, format, join
 *
 * What can be refused is refused before anything is written: a configuration that names another
 * disk (HF_EXISTS), a daemon that runs here (HF_REFUSED), what hf_disk_format() refuses. Parameters
 * as for hf_disk_format() and hf_node_join().
 */
HF_API int hf_node_init(const char *conf, const char *dev, const struct hf_format *f, char **json,
			struct hf_err *err);

/** hf_cluster_state() - what is set up here: 0 not-installed, 1 not-configured,
 *  3 not-running, 19 running (the values of Windows' GetNodeClusterState).
 *  @json receives {"state":…,"cluster":…,"node":…}. */
HF_API int hf_cluster_state(const char *conf, char **json);

/** hf_node_doctor() - what can be found out about this node without a daemon: configuration, key,
 *  identity, store. @json receives {"findings":[{"check":…,"about":…,"verdict":"ok"|"warn"|"bad",
 *  "what":…,"do":…}],"source":…}, that of changes as configured; the daemon's `doctor` has the rest. Never writes. 0, or -ENOMEM. */
HF_API int hf_node_doctor(const char *conf, char **json);

#ifdef __cplusplus
}
#endif
#endif
