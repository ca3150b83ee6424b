/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this node has seen on its store, in state_dir/seen: a store that is put back to an earlier
 * state as a whole is authentic, so that only somebody's memory tells. Rewritten
 * atomically when something grew, at most once a beat, never for a commit.
 *
 * Any thread may call these; none waits for the file but hf_seen_sync().
 */
#ifndef HF_SEEN_H
#define HF_SEEN_H

#include "store.h"

struct hf_seen;

/** hf_seen_new() - nothing is remembered */
int hf_seen_new(const char *state_dir, const uint8_t disk[16], struct hf_seen **out);
/** hf_seen_load() - what is remembered of the disk @disk; nothing of another one.
 *  -EBADMSG: the file is not readable as such */
int hf_seen_load(const char *state_dir, const uint8_t disk[16], struct hf_seen **out, struct hf_err *err);
void hf_seen_free(struct hf_seen *s);

/**
 * hf_seen_log() - compare a log with what is remembered, and remember it
 * @confirmed: a generation that this node knows to be confirmed; 0 none
 *
 * What others wrote counts from the next call on: a write that somebody saw is not
 * yet durable for certain.
 *
 * Return: 0, or -EBADMSG (HF_DAMAGED): the store is behind, three times in a row. Nothing is
 * remembered of a store that is.
 */
int hf_seen_log(struct hf_seen *s, const struct hf_logid *id, const struct hf_log_stat *st,
		uint64_t confirmed, struct hf_err *err);
/** hf_seen_stat() - the same comparison alone */
int hf_seen_stat(struct hf_seen *s, const struct hf_logid *id, const struct hf_log_stat *st, struct hf_err *err);
/** hf_seen_newest() - the newest generation of it that this node knows to have been confirmed */
uint64_t hf_seen_newest(struct hf_seen *s, const struct hf_logid *id);
/** hf_seen_gen() - after a claim: may @gen be where that log ends? */
int hf_seen_gen(struct hf_seen *s, const struct hf_logid *id, uint64_t gen, struct hf_err *err);
/** hf_seen_node() - the same for a node's heartbeats, which only grow */
int hf_seen_node(struct hf_seen *s, const struct hf_node_info *n, struct hf_err *err);
/** hf_seen_known() - logs that are registered now; others are forgotten */
void hf_seen_known(struct hf_seen *s, const uint8_t (*uuid)[16], size_t n);
/** hf_seen_sync() - write what grew (@always: heartbeats too); or, if somebody else wrote the
 *  file, believe that. By one thread at a time. */
int hf_seen_sync(struct hf_seen *s, bool always);
/** hf_seen_each() - the logs that are remembered */
int hf_seen_each(struct hf_seen *s, int (*fn)(void *ctx, const struct hf_logid *id), void *ctx);

#endif
