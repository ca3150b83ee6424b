/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is counted of a resource since the daemon began; and the record, on this node's disk, that
 * `report` is made of. */
#ifndef HFD_ACCOUNT_H
#define HFD_ACCOUNT_H

#include "resource.h"

struct req;

/* upper ends of the classes of lag, in ms */
#define LAG_CLASSES { 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 60000 }

/* account.c; all by the worker, without r->lock */
/* hf_now_ns() of its oldest change that is not confirmed; 0 none. Others: with r->lock */
uint64_t account_oldest(struct resource *r);
/* @oldest: account_oldest() before the capture; 0: what it found was not known before */
void account_commit(struct resource *r, bool consistent, uint64_t oldest, uint64_t ms);
void account_failure(struct resource *r, uint64_t ms);
void account_takeover(struct resource *r, const struct job *j);
uint64_t account_due(struct resource *r);	/* hf_now_ms() when the record is too far behind; with r->lock */
void account_flush(struct resource *r);		/* the record has all; any thread */
struct json_object *account_json(struct resource *r);	/* under r->lock, any thread */

/* alarm.c: whether rpo is kept */
int alarm_start(struct hf_err *err);		/* on the main loop */
uint64_t alarm_waits_ms(struct resource *r);	/* for how long the oldest unconfirmed change waits; with r->lock held */

/* record.c: lines of JSON in state_dir/record, oldest files first to go; any thread, no lock of others held */
void record_line(struct json_object *o);	/* takes @o; adds when_ms */
void record_state(const char *resource, const char *from, const char *to, const char *why);
void record_unconfirmed(const char *resource, uint64_t gen, uint64_t count);
/* before a verb is done: what it forces, as it would be typed, and by whom; NULL nothing */
void record_forced_begin(struct req *q);
void record_forced_end(struct req *q);
/* each line of [@from, @to], in ms since 1970, oldest first; nonzero stops */
int record_each(uint64_t from, uint64_t to, int (*fn)(void *ctx, struct json_object *o), void *ctx);

#endif
