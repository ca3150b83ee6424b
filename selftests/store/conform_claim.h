/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conformance: who owns a log, who holds an identity (P4). */
#include "conform.h"

/* The interface by itself: claim, append, confirm, read, get_bytes, stat, note, release. */
__attribute__((unused))
static void by_hand(void)
{
	struct hf_logid id = LOGID(1, 2), beyond = LOGID(1, 1u << 30);
	struct hf_log_stat st;
	struct hf_claim *c = NULL, *c2 = NULL;
	struct told t;
	char tail[3000], now[3000], name[HF_NAME_MAX + 1];
	uint64_t place = 0, packed = 0, total = 0;
	unsigned lease, rows, nodes;
	uint8_t uuid[16];

	store(2, 32u << 20);
	na.st->ops->info(na.st, name, uuid, &lease, NULL, &rows, &nodes);
	ok(!strcmp(name, "test") && lease == 500 && rows > 2 && nodes >= 2, "info tells the cluster");
	ok(!na.st->ops->stat(na.st, &id, &st, &err) && !st.epoch && !st.mine, "stat of a log that is not there: no epoch");
	is(read_all(nb.st, &id, &t), -ENOENT, "to read it: -ENOENT");
	is(nb.st->ops->stat(nb.st, &beyond, &st, &err), -ENOENT, "there are only so many logs: stat");
	is(take(&na, &beyond, 0, &c), -EINVAL, "and claim say so");

	is(take(&na, &id, 0, &c), 0, "the first claim");
	ok(c->ops->epoch(c) > 0 && c->ops->slot(c) == na.id.slot, "it has an epoch and its node's slot");
	ok(!na.st->ops->stat(na.st, &id, &st, &err) && st.mine && st.epoch == c->ops->epoch(c) &&
	   st.slot == na.id.slot && !st.released && !strcmp(st.node, "alpha"), "stat: it is mine");
	ok(!nb.st->ops->stat(nb.st, &id, &st, &err) && !st.mine && st.epoch == c->ops->epoch(c), "others see whose it is");
	fill(tail, sizeof(tail), 5);
	struct hf_rec r = { .kind = HF_REC_DELTA, .flags = HF_REC_FIRST, .gen = 1, .payload = "one", .len = 3 };

	is(c->ops->append(c, &r, tail, sizeof(tail), &place, &err), 0, "append, with bytes that travel along");
	is(c->ops->put_bytes(c, tail, 1000, &packed, &err), 0, "put_bytes");
	is(c->ops->flush(c, &err), 0, "flush");
	is(add(c, HF_REC_DELTA, 2, "two"), 0, "append again");
	is(c->ops->confirm(c, &err), 0, "confirm");
	ok(!read_all(nb.st, &id, &t) && !strcmp(t.text, "1:one 2:two "), "another node reads the same, in order");
	ok(!nb.st->ops->get_bytes(nb.st, na.id.slot, place, now, sizeof(now), true, &err) && !memcmp(tail, now, sizeof(now)),
	   "and the bytes that travelled along");
	ok(!nb.st->ops->get_bytes(nb.st, na.id.slot, packed, now, 1000, true, &err) && !memcmp(tail, now, 1000), "and those that were put");
	is(nb.st->ops->get_bytes(nb.st, na.id.slot, UINT64_MAX - 4096, now, 10, true, &err), -EBADMSG, "not what lies outside");
	ok(c->ops->room(c, &total) < total && total, "room: less than all");
	is(c->ops->note(c, &err), 0, "note");
	ok(!nb.st->ops->stat(nb.st, &id, &st, &err) && st.gen == 2, "stat tells what was noted as confirmed");
	is(add(c, HF_REC_RELEASE, 2, ""), 0, "a last record");
	is(c->ops->confirm(c, &err), 0, "is confirmed");
	is(c->ops->release(c, &err), 0, "release");
	c->ops->drop(c);
	ok(!nb.st->ops->stat(nb.st, &id, &st, &err) && st.released, "stat: released");
	is(take(&nb, &id, 0, &c2), 0, "whoever comes next need not say that the owner was fenced");
	ok(c2->ops->epoch(c2) > st.epoch, "epochs only grow");
	c2->ops->drop(c2);
	store_end();
}

__attribute__((unused))
static void owner_alive_test(void)
{
	struct hf_logid id = LOGID(2, 3);
	struct hf_claim *a = NULL, *b = NULL;
	struct hf_log_stat st;
	struct told t;

	store(2, 32u << 20);
	beat_start(0, &na);
	beat_start(1, &nb);
	usleep(1200000);
	must(take(&na, &id, 0, &a));
	must(add(a, HF_REC_DELTA, 1, "one"));
	must(a->ops->confirm(a, &err));
	is(take(&nb, &id, 0, &b), -EBUSY, "P4: a live owner is not overtaken");
	ok(err.exit == HF_REFUSED && strstr(err.msg, "alpha"), "and named");
	is(a->ops->confirm(a, &err), 0, "to be refused costs the owner nothing");
	is(add(a, HF_REC_DELTA, 2, "two"), 0, "it appends, and does not confirm");
	is(take(&nb, &id, HF_CLAIM_FENCED, &b), 0, "unless it is said to be fenced");
	is(a->ops->confirm(a, &err), -ESTALE, "P4: the old owner cannot confirm any more");
	is(add(a, HF_REC_DELTA, 3, "late"), -ESTALE, "nor append");
	ok(a->ops->note(a, &err) == -ESTALE || a->ops->release(a, &err) == -ESTALE, "nor say anything in the row");
	is(a->ops->trim(a, 3, &err), -ESTALE, "nor trim");
	must(add(b, HF_REC_DELTA, 3, "three"));
	is(b->ops->confirm(b, &err), 0, "the new one can");
	is(read_all(na.st, &id, &t), 0, "the log goes on");
	ok(!strcmp(t.text, "1:one 2:two 3:three ") || !strcmp(t.text, "1:one 3:three "), "with all that was confirmed (%s)", t.text);
	a->ops->drop(a);
	ok(!na.st->ops->stat(na.st, &id, &st, &err) && st.slot == nb.id.slot && st.owner == HF_NODE_UP, "stat: another, which is up");
	b->ops->drop(b);
	is(beat_stop(1), 0, "heartbeats went well");
	usleep(1100000);
	is(take(&na, &id, 0, &a), 0, "who died is overtaken after its lease");
	a->ops->drop(a);
	is(beat_stop(0), 0, "heartbeats went well");
	store_end();
}

/* An owner that is paused between its append and its confirm, and one that appends without end. */
__attribute__((unused))
static void paused(void)
{
	struct hf_logid id = LOGID(3, 2);
	struct hf_claim *a = NULL, *b = NULL;
	struct told t;

	store(2, 32u << 20);
	must(take(&na, &id, 0, &a));
	must(add(a, HF_REC_DELTA, 1, "one"));
	must(a->ops->confirm(a, &err));
	must(take(&nb, &id, HF_CLAIM_FENCED, &b));
	/* not told yet, so it goes on: into its own place, which nobody reads */
	for (int i = 2; i < 40; i++)
		(void)add(a, HF_REC_DELTA, i, "of the old owner, after its end");
	must(add(b, HF_REC_DELTA, 2, "two"));
	must(b->ops->confirm(b, &err));
	ok(!read_all(na.st, &id, &t) && !strcmp(t.text, "1:one 2:two "), "P4: what an old owner goes on to append is not read (%s)", t.text);
	is(a->ops->confirm(a, &err), -ESTALE, "nor confirmed");
	a->ops->drop(a);
	b->ops->drop(b);
	store_end();
}

/* ---- many at once ---- */

static struct { pthread_barrier_t at; struct hf_claim *c[3]; int ret[3]; struct node *n[3]; struct hf_logid id; } contest;

static void *contestant(void *arg)
{
	unsigned i = (uintptr_t)arg;
	struct hf_err e = { 0 };
	struct hf_store *st = contest.n[i]->st;

	pthread_barrier_wait(&contest.at);
	contest.ret[i] = st->ops->claim(st, &contest.id, HF_CLAIM_FENCED, NULL, NULL, ignore_rec, NULL, &contest.c[i], &e);
	pthread_barrier_wait(&contest.at);
	return NULL;
}

__attribute__((unused))
static void racing(void)
{
	unsigned won = 0, lost = 0, odd = 0, two = 0, rounds = 60;

	store(3, 48u << 20);
	contest.n[0] = &na;
	contest.n[1] = &nb;
	contest.n[2] = &nc;
	contest.id = (struct hf_logid)LOGID(4, 4);
	pthread_barrier_init(&contest.at, NULL, 3);
	for (unsigned r = 0; r < rounds; r++) {
		pthread_t t[3];
		unsigned owners = 0;

		for (uintptr_t i = 0; i < 3; i++)
			pthread_create(&t[i], NULL, contestant, (void *)i);
		for (unsigned i = 0; i < 3; i++)
			pthread_join(t[i], NULL);
		for (unsigned i = 0; i < 3; i++) {
			won += !contest.ret[i];
			lost += contest.ret[i] == -EAGAIN;
			odd += contest.ret[i] && contest.ret[i] != -EAGAIN;
			if (contest.ret[i])
				continue;
			/* an earlier winner may have been overtaken since */
			owners += !contest.c[i]->ops->confirm(contest.c[i], &err);
		}
		two += owners > 1;
		for (unsigned i = 0; i < 3; i++)
			if (!contest.ret[i])
				contest.c[i]->ops->drop(contest.c[i]);
	}
	pthread_barrier_destroy(&contest.at);
	ok(won && lost && !odd, "who loses a race gets -EAGAIN (%u won, %u lost, %u otherwise)", won, lost, odd);
	is(two, 0, "P4: never two owners that can confirm");
	is(sound(), 0, "the store is sound");
	store_end();
}

/* ---- identity ---- */

__attribute__((unused))
static void identity(void)
{
	struct hf_logid id = LOGID(5, 2);
	struct hf_store *clone = NULL;
	struct hf_claim *a = NULL, *b = NULL;
	struct hf_node_info ni[4];
	struct hf_log_stat st;
	int n;

	store(2, 32u << 20);
	must(take(&na, &id, 0, &a));
	must(add(a, HF_REC_DELTA, 1, "one"));
	must(a->ops->confirm(a, &err));
	beat_start(0, &na);
	usleep(200000);
	is(open_clone(&na, &clone), -EBUSY, "P4: a clone of a live node is refused");
	ok(strstr(err.msg, "alpha"), "and told of which");
	clone->ops->close(clone);
	is(beat_stop(0), 0, "the original did not notice");
	is(a->ops->confirm(a, &err), 0, "and still owns what it owned");
	/* it hangs now, and is started elsewhere */
	is(open_clone(&na, &clone), 0, "an incarnation that gives no sign of life is followed by another");
	is(na.st->ops->beat(na.st, &err), -ESTALE, "P4: the first one learns it at its next heartbeat");
	ok(!clone->ops->stat(clone, &id, &st, &err) && !st.mine && st.slot == na.id.slot, "a new incarnation owns nothing");
	err = (struct hf_err){ 0 };
	is(clone->ops->claim(clone, &id, 0, NULL, NULL, ignore_rec, NULL, &b, &err), 0, "until it claims");
	is(a->ops->confirm(a, &err), -ESTALE, "P4: then the first one cannot confirm");
	n = clone->ops->nodes(clone, ni, 4);
	ok(n == 2 && !strcmp(ni[0].name, "alpha") && ni[0].state == HF_NODE_UP, "nodes are listed");
	a->ops->drop(a);
	b->ops->drop(b);
	is(clone->ops->leave(clone), 0, "it leaves in order");
	clone->ops->close(clone);
	n = nb.st->ops->beat(nb.st, &err) ?: nb.st->ops->nodes(nb.st, ni, 4);
	ok(n == 2 && ni[0].state == HF_NODE_LEFT, "which the others see");
	n = hf_disk_take_slot(dev, keys, NULL, "alpha", &(struct hf_identity){ 0 }, &err);
	is(n, -EEXIST, "no second node of a name");
	must(hf_disk_take_slot(dev, keys, NULL, "last", &(struct hf_identity){ 0 }, &err) == -EBUSY ? 0 : -EINVAL);
	ok(err.exit == HF_REFUSED, "nor more than there is room for");
	store_end();
}
