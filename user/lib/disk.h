/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What may be done with a quorum disk besides using it as a store. */
#ifndef HF_DISK_H
#define HF_DISK_H

#include "store.h"

/** hf_disk_take_slot() - give a node that has no identity yet a free area, durably.
 *  -EBUSY (5) when all are taken, -EEXIST (4) when a node of that name exists. */
int hf_disk_take_slot(const char *dev, const struct hf_keys *keys, const char *node_name,
		      struct hf_identity *out, struct hf_err *err);

#endif
