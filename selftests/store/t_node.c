// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Slots that change hands: a dead node is replaced, or removed and its slot given to another. P1: what
 * lay in its area is there; P4: the machine that comes back writes nothing.
 */
#include "store_test.h"
#include "ondisk.h"
#include <pthread.h>
#include <stdatomic.h>

#define MB (1u << 20)
#define SIZE (8 * MB)

static struct node a, b;
static struct hf_logid id = LOGID(1, 2), empty = LOGID(2, 3);
static char big[200000];
static uint8_t before[SIZE], after[SIZE];

static const char *fill(unsigned seed)
{
	for (size_t i = 0; i < sizeof(big); i++) {
		seed = seed * 1103515245 + 12345;
		big[i] = seed >> 16;
	}
	return big;
}

static int commit(struct hf_log *l)
{
	uint64_t gen;
	int ret = hf_log_commit(l, 0, "t", &gen, &err);

	return ret ? ret : hf_log_confirm(l, &err);
}

static void image(uint8_t *p)
{
	int fd = open(dev, O_RDONLY | O_CLOEXEC);

	must(hf_pread_full(fd, p, SIZE, 0));
	close(fd);
}

static int unchanged(void)
{
	image(after);
	return !memcmp(before, after, SIZE);
}

static void mine(struct hf_log *l)
{
	char key[16];

	for (int i = 0; i < 3; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		must(put(l, key, fill(i), sizeof(big)));
		must(commit(l));
	}
}

static int all_there(struct hf_log *l)
{
	char key[16];
	int bad = 0;

	for (int i = 0; i < 3; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		bad += !holds(l, key, fill(i), sizeof(big));
	}
	return !bad;
}

/* write over all that counts as free in the area of @n */
static void churn(struct node *n)
{
	static struct hf_logid o = LOGID(90, 9);
	struct hf_log *l;

	for (unsigned r = 0; r < 6; r++) {
		uint64_t gen;

		must(hf_log_claim(n->st, &o, HF_CLAIM_FENCED, &l, &err));
		for (unsigned i = 0; i < 8; i++) {
			if (put(l, "z", fill(r * 100 + i), sizeof(big)) || hf_log_commit(l, 0, NULL, &gen, &err))
				hf_log_abort(l);
			if (i % 2)
				(void)hf_log_base(l, 0, &err);
		}
		hf_log_close(l);
	}
}

static int rejoin(struct node *n)
{
	struct hf_store_params p = { .keys = keys, .id = &n->id };
	struct hf_store *st;
	int ret;

	must(hf_store_open(dev, &p, &st, &err));
	err = (struct hf_err){ 0 };
	ret = st->ops->join(st, &err);
	st->ops->close(st);
	return ret;
}

static atomic_int beating;
static void *beats(void *arg)
{
	while (atomic_load(&beating)) {
		a.st->ops->beat(a.st, NULL);
		hf_sleep_ms(50);
	}
	return NULL;
}

static void replace(void)
{
	struct node x = { 0 };
	struct hf_log *l, *m;
	uint64_t gen, epoch;
	pthread_t t;

	setup(3, SIZE, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	mine(l);
	atomic_store(&beating, 1);
	pthread_create(&t, NULL, beats, NULL);
	is(hf_disk_replace(dev, keys, NULL, "alpha", "alpha2", &x.id, &err), -EBUSY, "a node that is alive is not replaced");
	ok(err.exit == HF_REFUSED && strstr(err.msg, "alive"), "%s", err.msg);
	atomic_store(&beating, 0);
	pthread_join(t, NULL);
	is(hf_disk_replace(dev, keys, NULL, "gamma", "x", &x.id, &err), -ENOENT, "nor one that there is not");
	is(hf_disk_replace(dev, keys, NULL, "alpha", "beta", &x.id, &err), -EEXIST, "nor by one that is there already");
	is(hf_disk_replace(dev, keys, NULL, "alpha", "alpha", &x.id, &err), 0, "a dead one is, under its name");
	ok(x.id.slot == a.id.slot && memcmp(x.id.uuid, a.id.uuid, 16), "in its slot, as somebody else");

	/* alpha was only stopped, in the middle of a commit, and goes on */
	must(put(l, "late", "1", 1));
	image(before);
	ok(hf_log_commit(l, 0, NULL, &gen, &err) && unchanged(), "P4: who comes back appends nothing");
	hf_log_abort(l);
	is(a.st->ops->beat(a.st, &err), -ESTALE, "P4: its heartbeat tells it to stop");
	ok(err.exit == HF_STALE && strstr(err.msg, "replaced"), "%s", err.msg);
	ok(hf_log_claim(a.st, &empty, 0, &m, &err) && unchanged(), "P4: it claims nothing");
	a.st->ops->leave(a.st);
	is(rejoin(&a), -EBUSY, "P4: it is refused when it starts again");
	ok(err.exit == HF_REFUSED && strstr(err.msg, "join") && unchanged(), "having written nothing: %s", err.msg);
	epoch = hf_log_epoch(l);

	flock(a.lock, LOCK_UN);	/* another machine has another file */
	node_open(&x);
	must(b.st->ops->beat(b.st, &err));
	must(hf_log_claim(b.st, &id, 0, &m, &err));
	ok(all_there(m), "P1: another node takes over what it owned, though its slot is alive again");
	hf_log_close(m);
	must(hf_log_claim(x.st, &id, HF_CLAIM_FENCED, &m, &err));
	ok(all_there(m), "P1: and so does the one that replaced it");
	ok(hf_log_epoch(m) > epoch, "ballots of the slot go on growing");
	churn(&x);
	ok(all_there(m), "P1: what was in the area is not written over");
	must(hf_log_base(m, 0, &err));
	must(hf_log_base(m, 0, &err));
	hf_log_close(m);
	churn(&x);
	image(before);
	must(put(l, "late", "2", 1));
	ok(hf_log_commit(l, 0, NULL, &gen, &err) && unchanged(), "P4: still nothing, when its place is used anew");
	must(hf_log_read(b.st, &id, 0, &m, &err));
	ok(all_there(m), "P1: all is there");
	hf_log_close(m);
	hf_log_close(l);
	is(sound(), 0, "the disk is sound");
	node_close(&x);
	node_close(&a);
	node_close(&b);
	cleanup();
}

static void removed(int drained)
{
	struct node x = { 0 };
	struct hf_node_info n[4];
	struct hf_log *l, *m;
	uint64_t epoch;
	struct hf_logid *ids[] = { &id, &empty };

	setup(2, SIZE, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	must(hf_log_claim(a.st, &empty, 0, &l, &err));
	must(hf_log_release(l, &err));
	hf_log_close(l);
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	mine(l);
	must(hf_log_release(l, &err));
	epoch = hf_log_epoch(l);
	hf_log_close(l);
	is(hf_disk_stands_on(b.st, &id, 0, &err), 1, "the newest state lies in its area");
	is(hf_disk_stands_on(b.st, &id, 1, &err), 0, "and not in another's");
	a.st->ops->beat(a.st, &err);
	b.st->ops->beat(b.st, &err);
	is(hf_disk_remove(b.st, a.id.slot, a.id.uuid, &err), -EBUSY, "a node that is alive is not removed");
	for (int i = 0; i < 4; i++) {
		hf_sleep_ms(200);
		b.st->ops->beat(b.st, &err);
	}
	for (int i = 0; i < 2 && drained; i++) {
		must(hf_log_claim(b.st, ids[i], 0, &l, &err));
		is(hf_disk_stands_on(b.st, ids[i], 0, &err), !i, i ? "claimed elsewhere, one without a generation is left out" :
		   "claimed elsewhere, it lies there still");
		must(hf_log_base(l, 0, &err));
		is(hf_disk_stands_on(b.st, ids[i], 0, &err), 0, "with a base it does not any more");
		must(hf_log_release(l, &err));
		hf_log_close(l);
	}
	is(hf_disk_remove(b.st, a.id.slot, b.id.uuid, &err), -ENOENT, "the slot of another identity is not freed");
	is(hf_disk_remove(b.st, a.id.slot, a.id.uuid, &err), 0, "a dead one is removed");
	is(b.st->ops->nodes(b.st, n, 4), 1, "and listed no more");

	image(before);
	ok(hf_log_claim(a.st, &id, 0, &m, &err) && unchanged(), "P4: who was only stopped claims nothing");
	is(a.st->ops->beat(a.st, &err), -ESTALE, "P4: and stops");
	ok(err.exit == HF_STALE && strstr(err.msg, "removed"), "%s", err.msg);
	is(rejoin(&a), -EBUSY, "P4: it is refused when it starts again");
	ok(err.exit == HF_REFUSED && strstr(err.msg, "removed") && unchanged(), "having written nothing: %s", err.msg);

	must(hf_disk_take_slot(dev, keys, NULL, "alpha", &x.id, &err));
	is(x.id.slot, a.id.slot, "its slot is given to the next that joins, even of its name");
	is(rejoin(&a), -EBUSY, "P4: the one before is refused then, too");
	flock(a.lock, LOCK_UN);	/* another machine has another file */
	node_open(&x);
	churn(&x);
	churn(&x);
	must(hf_log_read(b.st, &id, 0, &l, &err));
	ok(all_there(l), "P1: what it had confirmed is there when the area is used again");
	hf_log_close(l);
	must(hf_log_claim(x.st, &id, HF_CLAIM_FENCED, &l, &err));
	ok(all_there(l) && hf_log_epoch(l) > epoch, "the next one can own it, with a newer epoch");
	hf_log_close(l);
	must(hf_log_claim(x.st, &empty, HF_CLAIM_FENCED, &l, &err));
	is(hf_log_gen(l), 0, "a log without a generation has none still");
	hf_log_close(l);
	is(sound(), 0, "the disk is sound");
	node_close(&x);
	node_close(&a);
	node_close(&b);
	cleanup();
}

/* One of its two copies is damaged: it goes on, and says so. */
static void superblock(void)
{
	static const char zero[512];
	char text[500] = "", whole[sizeof(zero)];
	int fd;

	setup(2, SIZE, 500);
	node_make(&a, "alpha");
	must(a.st->ops->beat(a.st, &err));
	is(a.st->ops->warning(a.st, 0, text, sizeof(text)), -ENOENT, "nothing is wrong with the disk");
	fd = open(dev, O_RDWR | O_CLOEXEC);
	must(hf_pread_full(fd, whole, sizeof(whole), HFD_SECTOR));
	must(hf_pwrite_full(fd, zero, sizeof(zero), HFD_SECTOR));
	is(a.st->ops->beat(a.st, &err), 0, "a damaged copy of the superblock does not stop it");
	is(a.st->ops->warning(a.st, 0, text, sizeof(text)), 0, "but there is a warning");
	ok(strstr(text, "copy 2 of the superblock") && strstr(text, "disk check"), "which names it, and says what to do: %s", text);
	is(a.st->ops->warning(a.st, 1, text, sizeof(text)), -ENOENT, "one");
	must(hf_pwrite_full(fd, whole, sizeof(whole), HFD_SECTOR));
	must(a.st->ops->beat(a.st, &err));
	is(a.st->ops->warning(a.st, 0, text, sizeof(text)), -ENOENT, "it is gone with the damage");
	close(fd);
	node_close(&a);
	hf_keys_free(keys);
	cleanup();
}

int main(void)
{
	must(hf_crypto_init());
	superblock();
	replace();
	removed(1);
	removed(0);	/* P1 does not hang on that copy */
	return tap_done();
}
