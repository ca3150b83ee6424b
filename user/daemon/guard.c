// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The delete-guard: what would delete more of a checkpoint than an accident should waits until somebody
 * decides. Commits follow each other within milliseconds, so a large deletion comes in many of them. What
 * counts is what the tree had at the beginning of the last minute; and a commit that nobody waits for is put
 * off while more goes with each look, so that a deletion is seen as a whole before any of it is committed.
 */
#include "replicator.h"
#include "treedb.h"

#define FREE_ENTRIES 8		/* a handful of files may always go */
#define WINDOW_MS 60000
#define PAUSE_MS 50		/* a deletion has ended when nothing more has gone for that long */
#define PUT_OFF_MS 1000		/* its end is waited for that long at most */

static int count_item(void *ctx, const struct hf_item *it)
{
	++*(uint64_t *)ctx;
	return 0;
}

/* Whether the commit is better made when the deletion has ended. */
static bool goes_on(struct guard *g, uint64_t gone, const struct hf_policy *pol)
{
	uint64_t now = hf_now_ms(), longest = pol->settle_ms > PUT_OFF_MS ? pol->settle_ms : PUT_OFF_MS;
	bool more = gone > g->gone;

	if (pol->rpo_ms && longest > pol->rpo_ms / 2)
		longest = pol->rpo_ms / 2;
	g->gone = gone;
	if (more && !g->wait_ms)
		g->wait_ms = now;
	if (!more || now - g->wait_ms >= longest)
		g->wait_ms = 0;
	return g->wait_ms;
}

static int look(struct resource *r, struct ckpt *c, const struct hf_policy *pol, bool waits, struct hf_err *err)
{
	uint64_t puts, dels, before, after, now = hf_now_ms();
	char prefix[TREEDB_PREFIX + 1], part[128] = "";
	struct guard *g = &c->guard;

	treedb_prefix(c->id, prefix);
	hf_log_pending_stat(r->log, prefix, TREEDB_PREFIX, &puts, &dels, &before);
	/* what somebody chose to exclude was not lost */
	before -= c->taken_out;
	dels -= c->taken_out;
	/* What is held back is so for as long as it takes to decide. What is excluded is taken out in each transaction
	 * anew until one is committed: the end of a deletion is waited for through all of them. */
	if (!g->ms || (!g->held && now - g->ms > WINDOW_MS) || before > g->ref || (c->taken_out && before != g->ref))
		*g = (struct guard){ .ref = before, .gen = hf_log_gen(r->log), .ms = now };
	g->held = false;
	/* it is committed now: what goes later is another deletion */
	if (!waits || !dels)
		g->gone = g->wait_ms = 0;
	if (!dels)
		return 0;
	after = before - dels;
	/* what only moved is not gone */
	if (after + FREE_ENTRIES < g->ref) {
		after = 0;
		hf_log_each(r->log, prefix, TREEDB_PREFIX, count_item, &after);
	}
	if (after + FREE_ENTRIES >= g->ref) {
		g->gone = g->wait_ms = 0;
		return 0;
	}
	if (after + g->ref * pol->delete_guard_pct / 100 >= g->ref)
		return waits && goes_on(g, g->ref - after, pol) ? -EINPROGRESS : 0;
	g->held = true;
	if (before < g->ref)
		snprintf(part, sizeof(part), " (%llu of them are already, generation %llu has them)",
			 (unsigned long long)(g->ref - before), (unsigned long long)g->gen);
	return hf_fail(err, HF_REFUSED, -EBUSY,
		       "%s: %llu of %llu entries of %s would be deleted%s, more than delete-guard (%u%%) allows at once; if that is meant, `holdfast sync %s --allow-delete`",
		       r->name, (unsigned long long)(g->ref - after), (unsigned long long)g->ref, c->path, part,
		       pol->delete_guard_pct, r->name);
}

int guard_look(struct resource *r, const struct rep *a, struct hf_err *err)
{
	struct hf_policy pol;
	int ret = 0, one;

	resource_policy(r, &pol);
	for (unsigned i = 0; i < r->ncp && ret != -EBUSY; i++) {
		if (a->allow_delete || !pol.delete_guard_pct)
			r->cp[i]->guard = (struct guard){ 0 };
		else if ((one = look(r, r->cp[i], &pol, a->waits, err)))
			ret = one;
	}
	return ret;
}

uint64_t guard_pause(struct resource *r)
{
	struct hf_policy pol;

	resource_policy(r, &pol);
	return pol.settle_ms > PAUSE_MS ? pol.settle_ms : PAUSE_MS;
}
