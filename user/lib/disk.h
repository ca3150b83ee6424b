/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What may be done with a quorum disk besides using it as a store. */
#ifndef HF_DISK_H
#define HF_DISK_H

#include "store.h"

/** hf_disk_take_slot() - give a node that has no identity yet a free area, durably:
 *  one that never was in use, or that of a node that was removed. @uuid: of the identity; NULL: a new one.
 *  -EBUSY (5) when all are taken, -EEXIST (4) when a node of that name exists. */
int hf_disk_take_slot(const char *dev, const struct hf_keys *keys, const uint8_t uuid[16],
		      const char *node_name, struct hf_identity *out, struct hf_err *err);

/** hf_disk_replace() - give @out the slot and area of node @old, which is dead: what is there stays readable.
 *  Waits for a lease. -EBUSY (5) while @old is alive, -ENOENT (3), -EEXIST (4) as hf_disk_take_slot(). */
int hf_disk_replace(const char *dev, const struct hf_keys *keys, const uint8_t uuid[16], const char *old,
		    const char *node_name, struct hf_identity *out, struct hf_err *err);

/** hf_disk_slot_of() - what the two above have given to the identity @uuid, by one that was cut off. Waits as they do.
 *  -ENOENT: nothing */
int hf_disk_slot_of(const char *dev, const struct hf_keys *keys, const uint8_t uuid[16], struct hf_identity *out,
		    struct hf_err *err);

/** hf_disk_stands_on() - does the newest state of @id, or the way to it, lie in the area of @slot?
 *  1 or 0; -ENOENT: it has none */
int hf_disk_stands_on(struct hf_store *s, const struct hf_logid *id, uint32_t slot, struct hf_err *err);

/** hf_disk_remove() - the identity @uuid holds @slot no more, and another may take it. Before it no log should
 *  stand on its area; one that does keeps its blocks, whoever has the slot. -EBUSY (5): it is alive. */
int hf_disk_remove(struct hf_store *s, uint32_t slot, const uint8_t uuid[16], struct hf_err *err);

#endif
