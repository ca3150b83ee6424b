// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Standing by: a thread that follows the logs of resources which are not online here, so that a
 * takeover reads what came since alone. It keeps the newest state of each, and the contents
 * that were put last, sealed as the store has them, in memory: nothing of it is written anywhere,
 * and what a daemon keeps ends with it. [standby] memory bounds it, rate what is read for it.
 *
 * Nothing here is believed by anybody: a claim goes on from a log that was followed only if
 * the store shows that it leads on from there (Documentation/claims.rst).
 *
 * Lock: follow_lock, a leaf, protects all of struct follow; never held while the store is
 * used. A log that is `busy` is the thread's alone meanwhile.
 */
#include "resource.h"
#include <stdlib.h>

#define POLL_MS 1000u		/* or a beat, if that is longer */
#define TAKE_MS 500		/* so long a takeover waits for one that reads */
#define LOOK_MS 100u		/* between two looks whether it is registered still, while it is read */
#define MEASURE (1u << 20)	/* bytes of records between two looks at the memory they take */

struct follow {
	struct follow *next;
	struct hf_logid id;
	struct hf_log *log;
	struct settled *settled;	/* what is here and need not be kept; the thread's */
	bool busy, called_off;
	size_t state, contents;	/* bytes of memory */
	uint64_t made_ms;	/* when that generation was committed, by its owner's clock */
	uint64_t gen, when_ms;	/* what it is warm for; when that was found to be so last */
	uint64_t ordered_ms, order_ms;	/* when it was put in order last, and how long that took */
	uint64_t missing;	/* bytes of contents that there was no room for */
	uint64_t read;		/* bytes from the store, in all */
	bool large, reading;
	size_t large_room;	/* it had no more than that then, and the log that base */
	uint64_t large_base;
	char err[256];
};

static pthread_mutex_t follow_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t follow_cond;
static pthread_t thread;
static bool started, stopping;
static struct follow *all;

static uint64_t read_so_far(void)
{
	uint64_t calls, bytes;

	hf_store_reads(&calls, &bytes);
	return bytes;
}

/* What all others take. */
static size_t others(const struct follow *f, bool contents)
{
	size_t n = 0;

	for (const struct follow *o = all; o; o = o->next)
		if (o != f)
			n += o->state + (contents ? o->contents : 0);
	return n;
}

static size_t room_for(const struct follow *f, bool contents)
{
	size_t n, taken;

	pthread_mutex_lock(&follow_lock);
	taken = others(f, contents) + (contents ? f->state : 0);
	pthread_mutex_unlock(&follow_lock);
	n = hfd.conf->standby_bytes > SIZE_MAX ? SIZE_MAX : hfd.conf->standby_bytes;
	return taken < n ? n - taken : 0;
}

static bool called_off(const struct follow *f)
{
	bool off;

	pthread_mutex_lock(&follow_lock);
	off = f->called_off || stopping;
	pthread_mutex_unlock(&follow_lock);
	return off;
}

struct pacing { struct resource *r; struct follow *f; uint64_t since, looked_ms; };

/* It was not deleted since, nor added anew: what may be large is not read for nobody. */
static bool registered(struct resource *r, const struct follow *f)
{
	const struct hf_resource *def;
	bool is;

	pthread_mutex_lock(&r->lock);
	def = regs_find(r->regs, r->name);
	is = def && !r->gone && !memcmp(def->id.uuid, f->id.uuid, 16);
	pthread_mutex_unlock(&r->lock);
	return is;
}

static bool wanted(void *ctx, const struct hf_item *it)
{
	return !settled_has(((struct pacing *)ctx)->f->settled, it);
}

/* Never faster than the rate; what was not read in a second is not made up for later. */
static int pace(void *ctx, struct hf_log *l, size_t bytes)
{
	static uint64_t base_ms, base;
	struct pacing *p = ctx;
	uint64_t now = hf_now_ms(), due, n = read_so_far();

	if (!base_ms || base_ms + 1000 + (n - base) * 1000 / hfd.conf->standby_rate < now) {
		base_ms = now;
		base = n;
	}
	due = base_ms + (n - base) * 1000 / hfd.conf->standby_rate;
	for (; !called_off(p->f) && now < due; now = hf_now_ms())
		hf_sleep_ms(due - now > 20 ? 20 : due - now);
	if (called_off(p->f))
		return -ECANCELED;
	/* among many resources that takes as long as a small record, or chunk */
	if (now - p->looked_ms >= LOOK_MS) {
		p->looked_ms = now;
		if (!registered(p->r, p->f))
			return -ECANCELED;
	}
	p->since += bytes;
	if (p->since < MEASURE)
		return 0;
	p->since = 0;
	return hf_log_memory(l, NULL) > room_for(p->f, false) ? -E2BIG : 0;
}

static void unsettle(struct follow *f)
{
	settled_free(f->settled);
	f->settled = NULL;
}

/* It had no room, and nothing has come that may have changed that: to find it out again takes as long as
 * to read it, and the others wait meanwhile. */
static bool still_large(const struct follow *f, const struct hf_log_stat *st)
{
	return f->large && st->base_gen == f->large_base && room_for(f, false) <= f->large_room + f->large_room / 8;
}

/* What is in the log is read, and what a takeover would read next. */
static int bring_up(struct resource *r, struct follow *f, struct hf_log **log, const struct hf_log_stat *st, struct hf_err *err)
{
	struct pacing p = { .r = r, .f = f };
	uint64_t epoch = 0, missing = 0, now;
	bool first = !*log;
	int ret;

	if (still_large(f, st))
		return -E2BIG;
	pthread_mutex_lock(&follow_lock);
	f->large = false;
	pthread_mutex_unlock(&follow_lock);
	if (first)
		unsettle(f);
	if (!f->settled)
		f->settled = settled_load(r->name, f->id.uuid);
	ret = *log ? hf_log_more(*log, &epoch) : 1;

	if (ret > 0 || (!ret && epoch != st->epoch)) {
		pthread_mutex_lock(&follow_lock);
		f->reading = true;
		pthread_mutex_unlock(&follow_lock);
		ret = hf_log_follow(hfd.store, &f->id, log, pace, &p, err);
	} else if (!ret) {
		ret = 1;
	}
	if (ret < 0)
		return ret;
	if (hf_log_memory(*log, NULL) > room_for(f, false))
		return -E2BIG;
	/* What a takeover would begin with, while there is time for it; with an owner that commits all the time
	 * it takes a fiftieth of ours. What comes takes the order away. */
	now = hf_now_ms();
	if (!hf_log_ordered(*log) && (first || ret == 1 || now - f->ordered_ms > 50 * f->order_ms)) {
		settled_marks(f->settled, *log);
		hf_log_order(*log);
		f->ordered_ms = hf_now_ms();
		f->order_ms = f->ordered_ms - now;
	}
	pthread_mutex_lock(&follow_lock);
	f->state = hf_log_memory(*log, NULL) + settled_bytes(f->settled);
	f->gen = hf_log_gen(*log);
	f->made_ms = hf_log_when(*log) / 1000000;
	f->when_ms = hf_now_ms();
	pthread_mutex_unlock(&follow_lock);
	/* nothing came: contents are as complete as they were, unless somebody needs the room */
	if (ret == 1 && !f->err[0] && f->contents <= room_for(f, true) && !(f->missing && f->contents < room_for(f, true) / 2))
		return 0;
	ret = hf_log_warm(*log, room_for(f, true), wanted, pace, &p, &missing, err);
	pthread_mutex_lock(&follow_lock);
	f->missing = missing;
	pthread_mutex_unlock(&follow_lock);
	return ret;
}

/* Not online here, nor about to be; registered, and somebody had it. */
static bool stands_by(struct resource *r, struct hf_logid *id, struct hf_log_stat *st)
{
	const struct hf_resource *def;
	bool is;

	pthread_mutex_lock(&r->lock);
	def = regs_find(r->regs, r->name);
	is = def && !r->gone && !r->quit && !r->live && r->state == RS_OFFLINE && !r->jobs && r->st_valid &&
	     r->st.epoch;
	if (is) {
		*id = def->id;
		*st = r->st;
	}
	pthread_mutex_unlock(&r->lock);
	return is;
}

static struct follow *follow_new(const struct hf_logid *id)
{
	struct follow *f = hf_alloc(sizeof(*f));

	if (!f)
		return NULL;
	f->id = *id;
	f->next = all;
	all = f;
	return f;
}

/* with follow_lock held; the log is the caller's to close */
static struct hf_log *forget(struct follow *f)
{
	struct hf_log *log = f->log;

	f->log = NULL;
	f->state = f->contents = 0;
	f->gen = f->made_ms = f->when_ms = f->missing = 0;
	f->large = f->reading = false;
	f->err[0] = '\0';
	return log;
}

static void step(struct resource *r, void *arg)
{
	struct hf_log *log = NULL, *old = NULL;
	struct hf_err e = { 0 };
	struct hf_log_stat st;
	struct hf_logid id;
	struct follow *f;
	uint64_t read = read_so_far();
	size_t room;
	bool is;
	int ret;

	pthread_mutex_lock(&follow_lock);
	if (r->follow)
		r->follow->called_off = false;
	pthread_mutex_unlock(&follow_lock);
	is = stands_by(r, &id, &st);
	hf_seam("follow.step");
	pthread_mutex_lock(&follow_lock);
	f = r->follow;
	if (f && (!is || memcmp(f->id.uuid, id.uuid, 16)))
		old = forget(f);
	/* taken since it was looked at: what it is now is seen the next time */
	if (stopping || !is || (f && f->called_off)) {
		pthread_mutex_unlock(&follow_lock);
		hf_log_close(old);
		if (f)
			unsettle(f);
		return;
	}
	if (!f)
		f = r->follow = follow_new(&id);
	if (!f) {
		pthread_mutex_unlock(&follow_lock);
		return;
	}
	f->id = id;
	f->busy = true;
	log = f->log;
	pthread_mutex_unlock(&follow_lock);
	hf_log_close(old);

	ret = bring_up(r, f, &log, &st, &e);
	room = room_for(f, false);
	old = NULL;
	pthread_mutex_lock(&follow_lock);
	f->log = log;
	f->busy = f->reading = false;
	f->read += read_so_far() - read;
	if (ret == -E2BIG && !f->large) {
		f->large_room = room;
		f->large_base = st.base_gen;
	}
	if (ret == -E2BIG || !log)
		old = forget(f);
	f->large = ret == -E2BIG;
	if (f->log)
		f->state = hf_log_memory(f->log, &f->contents) + settled_bytes(f->settled);
	if (!ret || ret == -ECANCELED || ret == -E2BIG || ret == -ENOENT)
		f->err[0] = '\0';
	else
		snprintf(f->err, sizeof(f->err), "%.255s", e.msg[0] ? e.msg : strerror(-ret));
	pthread_cond_broadcast(&follow_cond);
	pthread_mutex_unlock(&follow_lock);
	hf_log_close(old);
	if (ret == -E2BIG)
		unsettle(f);
}

static void *run(void *arg)
{
	struct timespec ts;

	pthread_mutex_lock(&follow_lock);
	while (!stopping) {
		pthread_mutex_unlock(&follow_lock);
		resources_each(step, NULL);
		pthread_mutex_lock(&follow_lock);
		hf_deadline(&ts, hfd.beat_ms > POLL_MS ? hfd.beat_ms : POLL_MS);
		if (!stopping)
			pthread_cond_timedwait(&follow_cond, &follow_lock, &ts);
	}
	pthread_mutex_unlock(&follow_lock);
	return NULL;
}

int follow_start(struct hf_err *err)
{
	pthread_condattr_t a;
	int ret;

	if (!hfd.conf->standby_bytes)
		return 0;
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&follow_cond, &a);
	pthread_condattr_destroy(&a);
	ret = pthread_create(&thread, NULL, run, NULL);
	if (ret)
		return hf_fail(err, HF_FAILED, -ret, "cannot start a thread: %s", strerror(ret));
	started = true;
	return 0;
}

/* Bounded: a thread that hangs in the store is left behind. */
void follow_stop(void)
{
	if (!started)
		return;
	pthread_mutex_lock(&follow_lock);
	stopping = true;
	pthread_cond_broadcast(&follow_cond);
	pthread_mutex_unlock(&follow_lock);
	if (thread_ends(thread, 1000))
		started = false;
}

void follow_free(struct follow *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&follow_lock);
	for (struct follow **p = &all; *p; p = &(*p)->next)
		if (*p == f) {
			*p = f->next;
			break;
		}
	pthread_mutex_unlock(&follow_lock);
	hf_log_close(f->log);
	settled_free(f->settled);
	free(f);
}

struct hf_log *follow_take(struct resource *r)
{
	struct hf_log *log = NULL;
	struct timespec ts;
	struct follow *f;
	int ret = 0;

	if (!started)
		return NULL;
	hf_deadline(&ts, TAKE_MS);
	pthread_mutex_lock(&follow_lock);
	f = r->follow;
	if (f) {
		f->called_off = true;
		while (f->busy && !ret)
			ret = pthread_cond_timedwait(&follow_cond, &follow_lock, &ts);
		if (!f->busy)
			log = forget(f);
	}
	pthread_mutex_unlock(&follow_lock);
	return log;
}

void follow_give(struct resource *r, struct hf_log *log)
{
	struct follow *f;

	pthread_mutex_lock(&follow_lock);
	f = r->follow;
	if (f && log && !f->busy && !f->log) {
		f->log = log;
		f->state = hf_log_memory(log, &f->contents);
		log = NULL;
	}
	pthread_mutex_unlock(&follow_lock);
	hf_log_close(log);
}

/* Under r->lock. */
struct json_object *follow_json(struct resource *r)
{
	struct json_object *o = NULL;
	struct follow *f;
	uint64_t now;

	hf_seam("follow.json");
	pthread_mutex_lock(&follow_lock);
	now = hf_now_ms();
	f = r->follow;
	if (f) {
		o = jobj();
		jstr(o, "state", f->large ? "too-large" : f->err[0] ? "unavailable" :
		     f->reading ? "reading" : f->when_ms ? "warm" : "cold");
		ju64(o, "generation", f->gen);
		ju64(o, "when_ms", f->made_ms);
		ju64(o, "age_ms", f->when_ms ? now - f->when_ms : 0);
		ju64(o, "bytes", f->state + f->contents);
		ju64(o, "contents", f->contents);
		ju64(o, "missing", f->missing);
		ju64(o, "read", f->read);
		if (f->err[0])
			jstr(o, "error", f->err);
	}
	pthread_mutex_unlock(&follow_lock);
	return o;
}
