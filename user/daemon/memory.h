/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this node remembers of the disk, so that it notices one that was put back to an earlier state. */
#ifndef HFD_MEMORY_H
#define HFD_MEMORY_H

#include "store.h"

/* All that compare return -EBADMSG, HF_DAMAGED where the disk is behind. */
int memory_open(struct hf_err *err);	/* before the disk is joined: registrations, own heartbeat */
int memory_claim(const struct hf_logid *id, struct hf_err *err);	/* before a claim: reads the row */
int memory_claimed(const struct hf_logid *id, uint64_t gen, struct hf_err *err);	/* after it: the end */
uint64_t memory_newest(const struct hf_logid *id);	/* that this node knows to have been confirmed */
/* at each beat; @confirmed: by this node, 0 nothing */
int memory_look(const struct hf_logid *id, const struct hf_log_stat *st, uint64_t confirmed, struct hf_err *err);
void memory_known(const uint8_t (*uuid)[16], size_t n);	/* what is registered */
void memory_beat(void);			/* what grew is written, by a thread of its own */
int memory_start(struct hf_err *err);
void memory_stop(void);			/* bounded; heartbeats are written down too */

#endif
