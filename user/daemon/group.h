/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One cut through the trees of several resources: what their workers do together. */
#ifndef HFD_GROUP_H
#define HFD_GROUP_H

#include "replicator.h"

/**
 * group_sync() - make the state of all of @v at one moment a confirmed generation of each
 * @v: no resource twice
 * @n: 2 .. HF_GROUP_MAX
 * @how: quick, allow_delete
 * @id: receives the group's
 * @gens: receives the generations
 *
 * On failure none is a generation of a complete group; @err says which of them were
 * committed all the same.
 */
int group_sync(struct resource **v, unsigned n, const struct job *how, uint8_t id[16], uint64_t *gens, struct hf_err *err);

/* For the worker of member @me, on its way; each fails with -ECANCELED when there is no group any
 * more, because of another member. */
/* the next generation of @r is to be its */
int group_enter(struct group *g, unsigned me, struct resource *r, struct hf_err *err);
/* wait until all have come so far */
int group_meet(struct group *g, struct hf_err *err);
/* and let all of them go on in the same way: @still, if all held still; @work of all. *@pause_ms before the next round */
int group_agree(struct group *g, bool still, size_t work, enum verdict *v, unsigned *pause_ms, struct hf_err *err);
/* that it is a group, into the transaction */
int group_tell(struct group *g, unsigned me, struct hf_log *log, struct hf_err *err);
/* all are ready to commit, and those before @me have */
int group_turn(struct group *g, unsigned me, struct hf_err *err);
/* @me has, and is confirmed */
void group_pass(struct group *g, unsigned me);

#endif
