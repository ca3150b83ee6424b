// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The timing table of Documentation/claims.rst, row by row, on a clock that goes on only while
 * somebody sleeps. All nodes are in this process; who is `alive` beats each second.
 */
#include "store_test.h"
#include "disk_int.h"
#include "reg.h"

#define LEASE 5000u
#define STEP 100u

static uint64_t now = 1000000;	/* ms */
static struct world { struct node n; bool alive; } w[4];
static int stale;		/* what the last beat that failed said */
static void (*meanwhile)(void);	/* once, at `when` */
static uint64_t when;

static uint64_t fake_now(void) { return now * 1000000; }

static void tick(unsigned ms)
{
	now += ms;
	if (meanwhile && now >= when) {
		void (*fn)(void) = meanwhile;

		meanwhile = NULL;
		fn();
	}
	/* node 0 last: what it writes the others read a second later */
	for (unsigned i = 4; i-- > 0; )
		if (w[i].alive && now / 1000 != (now - ms) / 1000) {
			int ret = w[i].n.st->ops->beat(w[i].n.st, NULL);

			if (ret) {
				stale = ret;
				w[i].alive = false;
			}
		}
}

static void fake_sleep(unsigned ms)
{
	for (; ms > STEP; ms -= STEP)
		tick(STEP);
	tick(ms);
}

static const struct hf_clock fake = { fake_now, fake_sleep };

static enum hf_node_state seen(unsigned by, unsigned who)
{
	return node_state(disk_of(w[by].n.st), w[who].n.id.slot);
}

/* up to the next whole second, at which all that are alive beat */
static void second(void) { fake_sleep(1000 - now % 1000); }

static int claim(unsigned by, const struct hf_logid *id, unsigned flags, struct hf_log **l)
{
	memset(&err, 0, sizeof(err));
	return hf_log_claim(w[by].n.st, id, flags, l, &err);
}

/* the same identity, as it starts on another machine: another lock file */
static int start(struct node *n, const struct node *of, const char *machine)
{
	struct hf_store_params p = { .keys = keys, .id = &n->id, .lock_fd = &n->lock };
	char path[400];
	int ret;

	n->id = of->id;
	snprintf(path, sizeof(path), "%s/%s.lock", dir, machine);
	n->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	must(hf_store_open(dev, &p, &n->st, &err));
	memset(&err, 0, sizeof(err));
	ret = n->st->ops->join(n->st, &err);
	if (ret)
		node_close(n);
	return ret;
}

/* an owner dies right after a heartbeat at 0.0 s */
static void owner_dies(void)
{
	static const struct hf_logid id = LOGID(41, 2);
	struct hf_log *l, *l2;
	bool up = true, refused = true;
	uint64_t t0;

	second();
	must(claim(0, &id, 0, &l));
	second();
	w[0].alive = false;
	t0 = now;
	second();
	is(now - t0, 1000, "1.0 s: another node reads the last heartbeat");
	for (unsigned s = 1; s < 6; s++, second()) {
		up &= seen(1, 0) == HF_NODE_UP;
		refused &= claim(1, &id, 0, &l2) == -EBUSY && err.exit == HF_REFUSED;
		if (now - t0 != s * 1000)
			printf("# a refusal took until %llu\n", (unsigned long long)(now - t0));
	}
	ok(up, "1.0-6.0 s: it is up to a watcher");
	ok(refused, "1.0-6.0 s: its log is refused, with exit 5");
	is(now - t0, 6000, "at once each time");
	is(seen(1, 0), HF_NODE_DOWN, "6.0 s: it is down");
	is(claim(1, &id, 0, &l2), 0, "6.0 s: its log can be claimed");
	is(now - t0, 6000, "a claim waits for nothing");
	hf_log_close(l2);
	hf_log_close(l);
}

static void fenced(void)
{
	static const struct hf_logid id = LOGID(42, 3);
	struct hf_log *l, *l2;

	must(claim(1, &id, 0, &l));
	second();
	second();
	is(claim(2, &id, 0, &l2), -EBUSY, "an owner that is up is not overtaken");
	is(claim(2, &id, HF_CLAIM_FENCED, &l2), 0, "but for --fenced");
	hf_log_close(l2);
	hf_log_close(l);
}

static void begins_to_watch(void)
{
	uint64_t t0;
	bool unknown = true;
	struct world *n = &w[3];

	/* it was not watched by a node that starts now */
	node_make(&n->n, "late");
	n->alive = true;
	t0 = disk_of(n->n.st)->seen[w[0].n.id.slot].watched_ms;
	for (; now - t0 < LEASE; fake_sleep(STEP))
		unknown &= seen(3, 0) == HF_NODE_UNKNOWN;
	ok(unknown, "who began to watch cannot tell for a lease");
	is(now - t0, LEASE, "of 5 s");
	is(seen(3, 0), HF_NODE_DOWN, "then it can");
}

static void watcher_stalls(void)
{
	uint64_t t0;
	bool unknown = true;

	/* node 2 dies; node 1 does not look for 2 s: that is nothing */
	second();
	w[2].alive = w[1].alive = false;
	fake_sleep(1000);
	w[1].alive = true;
	second();
	is(seen(1, 0), HF_NODE_DOWN, "a watcher that did not read for less than lease / 2 still can tell");
	w[1].alive = false;
	fake_sleep(2600);
	is(seen(1, 0), HF_NODE_UNKNOWN, "after lease / 2 it cannot");
	fake_sleep(3000);
	w[1].alive = true;
	second();
	t0 = now;
	for (; now - t0 < LEASE; second())
		unknown &= seen(1, 0) == HF_NODE_UNKNOWN && seen(1, 2) == HF_NODE_UNKNOWN;
	ok(unknown, "and begins anew when it reads again, for a lease");
	is(seen(1, 2), HF_NODE_DOWN, "then it can tell again");
	is(seen(3, 2), HF_NODE_DOWN, "as who never stopped could all the time");
}

/* two threads read the heartbeats: a claim, and the heartbeat between what that reads and what it makes of it */
static void two_read(void)
{
	second();
	is(seen(1, 2), HF_NODE_DOWN, "a node that is down");
	hf_seam_init("nodes.read:1:sleep=1000");
	must(nodes_read(disk_of(w[1].n.st)));
	hf_seam_init("");
	is(seen(1, 2), HF_NODE_DOWN, "is so when two threads look at once");
}

static struct node clone1, clone2;
static uint64_t clone_took;
static int clone_ret;

static void start_clone(void)
{
	clone_took = now;
	clone_ret = start(&clone2, &w[0].n, "third");
	clone_took = now - clone_took;
}

static void starts(void)
{
	uint64_t t0 = now;
	struct node old = w[0].n;

	node_close(&w[0].n);
	node_open(&w[0].n);
	is(now - t0, 0, "start after a crash of the daemon, same boot: 0 s");
	w[0].alive = true;
	second();
	is(seen(1, 0), HF_NODE_UP, "a node that starts is up");

	/* a clone of a machine that is alive */
	t0 = now;
	is(start(&clone1, &w[0].n, "second"), -EBUSY, "a clone of a node that is alive refuses");
	ok(now - t0 <= LEASE, "after %llu ms, at most a lease", (unsigned long long)(now - t0));
	second();
	ok(w[0].alive && seen(1, 0) == HF_NODE_UP, "and has written nothing: the original goes on");

	/* power cut: nothing is known of the writes under way */
	node_close(&w[0].n);
	w[0].alive = false;
	t0 = now;
	is(start(&w[0].n, &old, "second"), 0, "start after a power cut");
	is(now - t0, LEASE + LEASE / 2, "takes lease + lease / 2: 7.5 s");

	must(w[0].n.st->ops->leave(w[0].n.st));
	second();
	is(seen(1, 0), HF_NODE_LEFT, "who leaves in order is not taken for dead");
	node_close(&w[0].n);
	t0 = now;
	is(start(&w[0].n, &old, "third"), 0, "start of a node that left in order, elsewhere");
	is(now - t0, LEASE / 2, "takes lease / 2: 2.5 s");

	/* two clones of a node that is dead start 3 s apart */
	node_close(&w[0].n);
	t0 = now;
	w[0].n.id = old.id;
	meanwhile = start_clone;
	when = now + 3000;
	is(start(&clone1, &w[0].n, "second"), -EBUSY, "of two clones one refuses");
	is(clone_ret, 0, "the other has the identity");
	node_close(&clone2);

	/* an identity that was taken over in spite of all ends its daemon at the next beat */
	must(start(&clone1, &w[0].n, "second"));
	w[0].n = clone1;
	w[0].alive = true;
	disk_of(w[0].n.st)->incarnation[0] ^= 1;
	second();
	is(stale, -ESTALE, "another incarnation in the own row ends a daemon at its next beat");
}

/* the registrations: row 0 */
static void holder_hangs(void)
{
	static const struct hf_logid id = { .uuid = "registrations", .row = 0, .name = "registrations" };
	struct hf_log *l, *l2;
	uint64_t t0;

	must(claim(1, &id, HF_CLAIM_WAIT, &l));
	t0 = now;
	is(claim(3, &id, HF_CLAIM_WAIT, &l2), 0, "a holder of the registrations that hangs is overtaken");
	ok(now - t0 >= 1000 && now - t0 < 1100, "after 1 s (%llu ms)", (unsigned long long)(now - t0));
	is(hf_log_confirm(l, &err), -ESTALE, "and cannot confirm what it hung in");
	hf_log_close(l);
	must(hf_log_release(l2, &err));
	hf_log_close(l2);
	t0 = now;
	must(claim(1, &id, HF_CLAIM_WAIT, &l));
	is(now - t0, 0, "nobody waits for one that let go");
	hf_log_close(l);
}

/* A change of the registrations in the midst of which another node claims them; *quiet: it leaves off. */
static int others_change(void *ctx, struct hf_log *l, const struct hf_reg *reg, struct hf_err *e)
{
	struct hf_log *l2;
	struct hf_logid id;

	if (!*(bool *)ctx) {
		hf_reg_logid(&id);
		must(claim(3, &id, HF_CLAIM_FENCED, &l2));
		must(hf_log_release(l2, &err));
		hf_log_close(l2);
	}
	return hf_log_put(l, "x", 1, "{}", 2, NULL, NULL, e);
}

static void others_busy(void)
{
	bool quiet = false;
	uint64_t t0 = now;

	memset(&err, 0, sizeof(err));
	is(hf_reg_change(w[1].n.st, others_change, &quiet, "t", &err), -ETIMEDOUT,
	   "a change of the registrations, while others change them all the time, gives up");
	ok(err.exit == HF_UNAVAIL, "with exit 7: %s", err.msg);
	ok(now - t0 <= 10000 && now - t0 > 9000, "after 10 s at most (%llu ms), and not before a pause would pass them",
	   (unsigned long long)(now - t0));
	quiet = true;
	t0 = now;
	is(hf_reg_change(w[1].n.st, others_change, &quiet, "t", &err), 0, "it is made when they leave off");
	is(now - t0, 0, "at once");
}

int main(void)
{
	hf_clock = &fake;
	setup(4, 16u << 20, LEASE);
	for (unsigned i = 0; i < 3; i++) {
		char name[8];

		snprintf(name, sizeof(name), "n%u", i);
		node_make(&w[i].n, name);
		w[i].alive = true;
	}
	owner_dies();
	fenced();
	begins_to_watch();
	watcher_stalls();
	two_read();
	starts();
	holder_hangs();
	others_busy();
	for (unsigned i = 0; i < 4; i++)
		node_close(&w[i].n);
	return tap_done();
}
