/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the module answers, as JSON objects; only nl.c knows netlink. */
#ifndef HF_CLI_NL_H
#define HF_CLI_NL_H

#include "cli.h"

struct hf_nl;

/* All return 0, or an exit code with c->err filled, for fail(). */

/** hf_nl_open() - HF_NOTFOUND: the module is not loaded; HF_PERM: it is, but is not reached from here */
int hf_nl_open(struct cli *c, struct hf_nl **out);
void hf_nl_close(struct hf_nl *nl);	/* NULL is allowed */
/** hf_nl_version() - {version, abi, trees, marks, marks_max, dirty_bytes, dirty_max, seq, stores} */
int hf_nl_version(struct hf_nl *nl, struct json_object **out);
/** hf_nl_trees() - [{id, resource, path, file?, flags[], quality, stores, consumer, marks, dirty, seq,
 *  oldest_dirty_ms, …}] */
int hf_nl_trees(struct hf_nl *nl, struct json_object **out);
/** hf_nl_dirty() - adds the dirty set of @tree, one of hf_nl_trees(), to @list; HF_NOTFOUND when it is gone */
int hf_nl_dirty(struct hf_nl *nl, struct json_object *tree, struct json_object *list);
int hf_nl_tree_delete(struct hf_nl *nl, uint32_t id);

/* One message of change events: @number is that of the first of @changes in tree @id. */
typedef void (*hf_nl_event_fn)(void *arg, uint32_t id, uint64_t number, struct json_object *changes);
/** hf_nl_join() - change events from now on come in at hf_nl_fd(), for hf_nl_events() */
int hf_nl_join(struct hf_nl *nl);
int hf_nl_fd(struct hf_nl *nl);
/** hf_nl_events() - hands over what has come; @lost when some did not fit */
int hf_nl_events(struct hf_nl *nl, hf_nl_event_fn fn, void *arg, bool *lost);

/* Bytes as listings show them: what is not UTF-8, control characters and backslashes as \xHH. */
struct json_object *text_of_bytes(const void *bytes, size_t n);
/* Fills c->err and returns @exit. */
int because(struct cli *c, enum hf_exit exit, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
