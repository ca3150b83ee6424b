// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Commits, how long changes waited for them, failures, takeovers. The counters, which only
 * grow while the daemon runs, are for `metrics`; every FLUSH_MS what was added to them goes
 * into the record, for `report`.
 *
 * r->account is written under r->lock.
 */
#include "account.h"
#include "notice.h"
#include <assert.h>

#define FLUSH_MS 900000

static const uint64_t classes[] = LAG_CLASSES;
static_assert(HF_ARRAY(classes) == HF_LAGS, "struct account.lag has a counter for each class");

uint64_t account_oldest(struct resource *r)
{
	uint64_t oldest = 0, t;

	for (unsigned i = 0; i < r->ncp; i++) {
		t = r->cp[i]->watch ? hf_watch_oldest_ns(r->cp[i]->watch) : 0;
		if (t && (!oldest || t < oldest))
			oldest = t;
	}
	return oldest;
}

/* The record has all of it then. */
void account_flush(struct resource *r)
{
	struct account *a = &r->account;
	struct json_object *o = NULL;

	pthread_mutex_lock(&r->lock);
	if (a->told.at_ms) {
		o = jobj();
		jstr(o, "kind", "commits");
		jstr(o, "resource", r->name);
		ju64(o, "from_ms", a->told.when_ms);
		ju64(o, "commits", a->commits - a->told.commits);
		ju64(o, "fuzzy", a->fuzzy - a->told.fuzzy);
		ju64(o, "lag_sum_ms", a->lag_ms - a->told.lag_ms);
		ju64(o, "lag_max_ms", a->told.lag_max_ms);
		ju64(o, "late", a->late - a->told.late);
		ju64(o, "rpo_ms", a->rpo_ms);
		ju64(o, "failures", a->failures - a->told.failures);
		a->told.commits = a->commits;
		a->told.fuzzy = a->fuzzy;
		a->told.lag_ms = a->lag_ms;
		a->told.late = a->late;
		a->told.failures = a->failures;
		a->told.lag_max_ms = a->told.at_ms = 0;
	}
	pthread_mutex_unlock(&r->lock);
	if (o) {
		record_line(o);
		hf_seam("account.flush");
	}
}

/* with r->lock held */
static void news(struct resource *r)
{
	struct account *a = &r->account;

	if (!a->told.at_ms) {
		a->told.at_ms = hf_now_ms();
		a->told.when_ms = hf_wall_ns() / 1000000;
	}
}

void account_commit(struct resource *r, bool consistent, uint64_t oldest, uint64_t ms)
{
	uint64_t now = hf_now_ns(), lag = oldest && oldest < now ? (now - oldest) / 1000000 : ms;
	struct account *a = &r->account;
	struct hf_policy pol;
	unsigned i = 0;

	resource_policy(r, &pol);
	while (i < HF_ARRAY(classes) && lag > classes[i])
		i++;
	pthread_mutex_lock(&r->lock);
	a->commits++;
	a->fuzzy += !consistent;
	a->commit_ms += ms;
	a->lag_ms += lag;
	if (i < HF_ARRAY(classes))
		a->lag[i]++;
	a->late += pol.rpo_ms && lag > pol.rpo_ms;
	a->rpo_ms = pol.rpo_ms;
	a->when_ms = hf_wall_ns() / 1000000;
	if (lag > a->told.lag_max_ms)
		a->told.lag_max_ms = lag;
	news(r);
	pthread_mutex_unlock(&r->lock);
}

void account_failure(struct resource *r, uint64_t ms)
{
	pthread_mutex_lock(&r->lock);
	r->account.failures++;
	r->account.failure_ms += ms;
	news(r);
	pthread_mutex_unlock(&r->lock);
}

/* Of a takeover that was slow somebody will ask what was. */
static void account_parts(const char *name, const struct job *j)
{
	const struct hf_restore_stat *s = &j->restored;

	hf_logf(HF_LOG_INFO,
		"%s: claimed in %llu ms (%.1f of them reading its log), tracked in %llu, compared in %.1f, kept aside in %.1f, written in %.1f, synced in %.1f",
		name, (unsigned long long)j->ms_claim, j->claim_read_ns / 1e6, (unsigned long long)j->ms_track,
		s->ns_compare / 1e6, s->ns_keep / 1e6, s->ns_write / 1e6, s->ns_sync / 1e6);
}

void account_takeover(struct resource *r, const struct job *j)
{
	struct json_object *o = jobj();

	pthread_mutex_lock(&r->lock);
	r->account.takeovers++;
	r->account.takeover_ms += j->ms_total;
	pthread_mutex_unlock(&r->lock);
	notice(N_TAKEN_OVER, HF_LOG_NOTE, r->name,
	       "%s: taken over in %llu ms: epoch %llu, generation %llu, %llu entries written, %llu kept aside", r->name,
	       (unsigned long long)j->ms_total, (unsigned long long)j->epoch, (unsigned long long)j->gen,
	       (unsigned long long)j->restored.written, (unsigned long long)j->restored.displaced);
	account_parts(r->name, j);
	jstr(o, "kind", "takeover");
	jstr(o, "resource", r->name);
	ju64(o, "epoch", j->epoch);
	ju64(o, "generation", j->gen);
	ju64(o, "ms", j->ms_total);
	jbool(o, "fenced", j->fenced);
	record_line(o);
}

uint64_t account_due(struct resource *r)
{
	if (!r->account.told.at_ms)
		return UINT64_MAX;
	return hf_seam("account.due") ? 0 : r->account.told.at_ms + FLUSH_MS;
}

struct json_object *account_json(struct resource *r)
{
	struct json_object *o = jobj(), *lag = json_object_new_array();
	const struct account *a = &r->account;

	ju64(o, "commits", a->commits);
	ju64(o, "fuzzy", a->fuzzy);
	ju64(o, "commit_ms", a->commit_ms);
	ju64(o, "lag_ms", a->lag_ms);
	for (unsigned i = 0; i < HF_LAGS; i++) {
		struct json_object *c = jobj();

		ju64(c, "upto_ms", classes[i]);
		ju64(c, "commits", a->lag[i]);
		json_object_array_add(lag, c);
	}
	json_object_object_add(o, "lag", lag);
	ju64(o, "late", a->late);
	ju64(o, "failures", a->failures);
	ju64(o, "failure_ms", a->failure_ms);
	ju64(o, "takeovers", a->takeovers);
	ju64(o, "takeover_ms", a->takeover_ms);
	return o;
}
