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
 *
 * The key must be in place. Used by both `init` and `join`. Prints nothing;
 * @json tells node, slot and cluster.
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

/** hf_doctor() - what can be found out about this node without a daemon: configuration, key,
 *  identity, store. @json receives {"findings":[{"check":…,"about":…,"verdict":"ok"|"warn"|"bad",
 *  "what":…,"do":…}]}; the daemon's `doctor` has the rest. Never writes. 0, or -ENOMEM. */
HF_API int hf_doctor(const char *conf, char **json);

#ifdef __cplusplus
}
#endif
#endif
