// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The alarm of a resource's rpo: said once when the oldest change that is not confirmed is older than
 * that, and once when it no longer is.
 *
 * Looked at by the main loop, because nobody else is sure to go on when a store hangs. r->overdue_ms
 * is written here alone, under r->lock.
 */
#include "account.h"
#include "notice.h"

#define LOOK_US 500000

uint64_t alarm_waits_ms(struct resource *r)
{
	uint64_t oldest = account_oldest(r), now = hf_now_ns();

	return oldest && now > oldest ? (now - oldest) / 1000000 : 0;
}

static void look_at(struct resource *r, void *arg)
{
	uint64_t waits, was, rpo;
	struct hf_policy pol;
	bool over, told;

	resource_policy(r, &pol);
	rpo = pol.rpo_ms;
	pthread_mutex_lock(&r->lock);
	was = r->overdue_ms;
	if (!rpo && !was) {
		pthread_mutex_unlock(&r->lock);
		return;
	}
	waits = alarm_waits_ms(r);
	over = rpo && waits > rpo;
	/* what a stop without the store holds back waits on, though no dirty set tells of it */
	if (!over && was && rpo && r->unreleased && !r->live)
		over = true;
	if (over)
		r->overdue_ms = waits > was ? waits : was;
	else
		r->overdue_ms = 0;
	/* of what will never be confirmed others tell: that it is stale, or failed */
	told = rpo && !r->stale && (r->live || r->state == RS_OFFLINE);
	pthread_mutex_unlock(&r->lock);
	if (over && !was)
		notice(N_RPO, HF_LOG_ERR, r->name,
		       "%s: a change has waited for %llu ms to be confirmed, longer than rpo allows (%llu ms)", r->name,
		       (unsigned long long)waits, (unsigned long long)rpo);
	else if (!over && was && told)
		notice(N_RPO_KEPT, HF_LOG_NOTE, r->name,
		       "%s: rpo (%llu ms) is kept again; a change had waited for at least %llu ms", r->name,
		       (unsigned long long)rpo, (unsigned long long)was);
}

static int look(sd_event_source *s, uint64_t usec, void *arg)
{
	resources_each(look_at, NULL);
	if (sd_event_source_set_time_relative(s, LOOK_US) < 0)
		return -EIO;
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

int alarm_start(struct hf_err *err)
{
	int ret = sd_event_add_time_relative(hfd.event, NULL, CLOCK_MONOTONIC, LOOK_US, LOOK_US, look, NULL);

	return ret < 0 ? hf_fail(err, HF_FAILED, ret, "cannot start a timer: %s", strerror(-ret)) : 0;
}
