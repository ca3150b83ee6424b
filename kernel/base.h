/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every part may use: the bounds, the sequence, the ledger of objects.
 */
#ifndef HF_BASE_H
#define HF_BASE_H

#include <linux/types.h>

extern unsigned long hf_dirty_max;	/* bytes of dirty sets, all trees */
extern unsigned long hf_marks_max;	/* marked directories, all trees */

/** hf_seq_next() - a new number of the one sequence that all trees share; never 0 */
u64 hf_seq_next(void);
/** hf_seq_read() - the newest one */
u64 hf_seq_read(void);

enum hf_object { HF_TREE, HF_DIR, HF_ENTRY, HF_OBJECTS };
/**
 * hf_ledger_in() - an object was created; hf_ledger_out(): destroyed. They are
 * reconciled when the module goes.
 */
void hf_ledger_in(enum hf_object what);
void hf_ledger_out(enum hf_object what);
/** hf_ledger_open() - how many there are */
u64 hf_ledger_open(enum hf_object what);

#endif
