/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A log from inside: shared by log.c, log_base.c and log_history.c. */
#ifndef HF_LOG_INT_H
#define HF_LOG_INT_H

#include "log.h"
#include "state.h"
#include "chunk.h"

struct staged { struct hf_buf ops; uint64_t tail; uint32_t slot; };

struct hf_log {
	struct hf_store *store;
	struct hf_claim *claim;		/* NULL: only read */
	struct hf_logid id;
	uint32_t slot;			/* own area */
	struct chunker ck;
	struct table items;
	struct dedup dedup;
	uint64_t gen, when_ns;
	uint64_t gen_epoch;		/* the newest one in which something was written */
	bool fuzzy;
	uint64_t since, base_bytes;	/* written since the last base; its size */
	bool loaded_base;		/* there is a base in this epoch */
	uint64_t base_gen;		/* of the last one */

	struct pend **pend;		/* the transaction */
	size_t npend, pend_cap;
	struct hf_buf tail;		/* sealed chunks that travel with its record */

	struct staged *stage;		/* records of a commit that is being read */
	size_t nstage;
	uint64_t stage_epoch;
	enum hf_rec_kind stage_kind;
	uint64_t stop_gen;
};

void log_refs(struct hf_log *l, const struct ent *e, int delta, uint64_t gen);
/* a chunk into l->ck.plain */
int log_fetch(struct hf_log *l, const struct hf_ref *r, struct hf_err *err);
int log_append(struct hf_log *l, struct hf_buf *b, enum hf_rec_kind kind, unsigned flags, uint64_t gen,
	       uint64_t *tail_place, struct hf_err *err);
/* raw payload of one record: fits even if it does not compress */
#define LOG_PART_MAX (768u << 10)

#endif
