// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * X9, P4: rows and superblocks in the hands of an enemy: swapped, replayed, taken away,
 * from other rows, nodes and disks. Each case says who finds it, and what nobody can.
 */
#include "enemy.h"
#include "ondisk.h"

static struct node a, b;
static struct hf_logid one = LOGID(51, 2), two = LOGID(52, 3);

#define PAIR (2 * SECT)		/* both slots of a node in a row */

static enum hf_node_state state_of(struct node *watcher, const char *name)
{
	struct hf_node_info v[HF_MAX_NODES];
	int n = watcher->st->ops->nodes(watcher->st, v, HF_MAX_NODES);

	for (int i = 0; i < n; i++)
		if (!strcmp(v[i].name, name))
			return v[i].state;
	return HF_NODE_FREE;
}

static void beats(struct node *n, unsigned count)
{
	while (count--) {
		must(n->st->ops->beat(n->st, &err));
		hf_sleep_ms(100);
	}
}

/* Something is put over the slots of alpha in the row of `one`, which it owns: what its owner finds
 * at its next confirmation, what another claimer does, what a check says. */
static void row_case(const char *what, uint64_t at, const void *p, int owner, int claimer, int sound)
{
	struct hf_log *l, *m;
	uint64_t gen;
	uint8_t *was;

	must(hf_log_claim(a.st, &one, HF_CLAIM_FENCED, &l, &err));
	commits(l, &one, 1);
	gen = hf_log_gen(l);
	must(hf_log_note(l, &err));
	was = take(at, PAIR);
	put_at(at, p, PAIR);
	err = (struct hf_err){ 0 };
	if (!tap_ok(hf_log_confirm(l, &err) == owner, __FILE__, __LINE__, "%s: its owner finds it when it confirms", what))
		printf("# %s\n", err.msg);
	hf_log_close(l);
	err = (struct hf_err){ 0 };
	if (sound >= -1000 && !tap_ok(check() == sound, __FILE__, __LINE__, "%s: disk check %s", what, sound ? "names it" : "cannot see it"))
		printf("# %s\n", err.msg);
	err = (struct hf_err){ 0 };
	int ret = hf_log_claim(b.st, &one, HF_CLAIM_FENCED, &m, &err);

	if (!tap_ok(ret == claimer, __FILE__, __LINE__, "%s: another node's claim gives %d", what, claimer))
		printf("# %d %s\n", ret, err.msg);
	if (!ret) {
		ok(hf_log_gen(m) <= gen && !exact(m, &one), "%s: it stands on a generation of this log", what);
		hf_log_release(m, &err);
		hf_log_close(m);
		/* what was there before, with b's claim beside it */
	}
	put_at(at, was, PAIR);
	free(was);
	is(served(&one, &gen), 0, "put right again it reads");
}

static void claims(void)
{
	uint8_t *p, *q, *older, zero[PAIR] = { 0 };
	char second[sizeof(dev) + 10];
	struct hf_format f = { .cluster = "test", .nodes = 2, .lease_ms = 500, .size = 16u << 20 };
	uint64_t at = claim_at(2, a.id.slot, 0);
	struct hf_log *l;
	int fd;

	must(hf_log_claim(a.st, &two, 0, &l, &err));
	commits(l, &two, 3);
	hf_log_close(l);
	must(hf_log_claim(a.st, &one, 0, &l, &err));
	commits(l, &one, 3);
	must(hf_log_note(l, &err));
	older = take(at, PAIR);
	commits(l, &one, 2);
	must(hf_log_note(l, &err));
	must(hf_log_note(l, &err));
	hf_log_close(l);

	/* the two sectors of a slot change places: neither is authentic where it is now */
	p = take(at, PAIR);
	q = malloc(PAIR);
	memcpy(q, p + SECT, SECT);
	memcpy(q + SECT, p, SECT);
	row_case("slots swapped", at, q, -ESTALE, -EAGAIN, -EBADMSG);
	free(p);
	p = take(claim_at(3, a.id.slot, 0), PAIR);
	row_case("another resource's row", at, p, -ESTALE, -EAGAIN, -EBADMSG);
	free(p);
	p = take(claim_at(2, b.id.slot, 0), PAIR);
	row_case("another node's slot", at, p, -ESTALE, -EAGAIN, -EBADMSG);
	free(p);
	/* the same place on another disk */
	snprintf(second, sizeof(second), "%s.2", dev);
	must(hf_disk_format(conf, second, &f, &err));
	{
		char first[300];
		struct node c;

		strcpy(first, dev);
		strcpy(dev, second);
		node_make(&c, "gamma");
		must(hf_log_claim(c.st, &one, 0, &l, &err));
		commits(l, &one, 1);
		hf_log_close(l);
		node_close(&c);
		strcpy(dev, first);
	}
	fd = open(second, O_RDONLY | O_CLOEXEC);
	p = malloc(PAIR);
	must(hf_pread_full(fd, p, PAIR, at));
	row_case("another disk's row, of the same key", at, p, -ESTALE, -EAGAIN, -EBADMSG);
	free(p);
	close(fd);
	memset(q, 0xa5, PAIR);
	row_case("both slots overwritten", at, q, -ESTALE, -EAGAIN, -EBADMSG);
	free(q);

	/* What was authentic there once still is: the owner finds it, whoever comes new cannot. It is an
	 * older state then: a node's own memory is for that (enemy.t). */
	row_case("an old row replayed", at, older, -ESTALE, 0, 0);
	row_case("a row deleted", at, zero, -ESTALE, 0, 0);
	free(older);
}

/* The owner's own row from before its last note: same ballot, same epoch, and still not as it wrote it. */
static void unnoted(void)
{
	uint64_t at = claim_at(2, a.id.slot, 0);
	struct hf_log *l;
	uint8_t *before;

	must(hf_log_claim(a.st, &one, HF_CLAIM_FENCED, &l, &err));
	before = take(at, PAIR);
	commits(l, &one, 1);
	must(hf_log_note(l, &err));
	put_at(at, before, PAIR);
	is(hf_log_confirm(l, &err), -ESTALE, "a note undone: its owner finds it when it confirms");
	hf_log_close(l);
	free(before);
}

/* b takes over, and its claim is taken away again: a, fenced out, sees no higher ballot. It is b,
 * the rightful owner, that finds it. */
static void undone(void)
{
	struct hf_log *l, *m;
	uint64_t at = claim_at(2, b.id.slot, 0);
	uint8_t *before;

	must(hf_log_claim(a.st, &one, HF_CLAIM_FENCED, &l, &err));
	before = take(at, PAIR);
	must(hf_log_claim(b.st, &one, HF_CLAIM_FENCED, &m, &err));
	commits(m, &one, 1);
	put_at(at, before, PAIR);
	is(hf_log_confirm(l, &err), 0, "a takeover undone: who was fenced out cannot know it from the disk");
	is(hf_log_confirm(m, &err), -ESTALE, "the one who took over finds it");
	hf_log_close(m);
	hf_log_close(l);
	free(before);
}

/* A dead node's heartbeats, recorded and played again, or undone. */
static void heartbeats(void)
{
	uint64_t at = node_at(a.id.slot, 0);
	uint8_t *rec[8], *left;
	struct hf_log *l, *m;

	must(hf_log_claim(a.st, &one, HF_CLAIM_FENCED, &l, &err));
	for (int i = 0; i < 8; i++) {
		beats(&a, 1);
		beats(&b, 1);
		rec[i] = take(at, PAIR);
	}
	is(state_of(&b, "alpha"), HF_NODE_UP, "who beats is up");
	hf_log_close(l);
	for (int i = 0; i < 200 && state_of(&b, "alpha") != HF_NODE_DOWN; i++)
		beats(&b, 1);
	is(state_of(&b, "alpha"), HF_NODE_DOWN, "who does not is down");
	for (int i = 0; i < 8; i++) {
		put_at(at, rec[i], PAIR);
		beats(&b, 1);
	}
	ok(state_of(&b, "alpha") != HF_NODE_UP, "old heartbeats keep nobody alive");
	/* to one that never saw them they are news; the lease is then as long as the enemy's tape */
	node_close(&b);
	put_at(at, rec[0], PAIR);
	node_open(&b);
	for (int i = 1; i < 8; i++) {
		put_at(at, rec[i], PAIR);
		beats(&b, 1);
	}
	is(state_of(&b, "alpha"), HF_NODE_UP, "but for a node that saw none of them: it cannot tell");
	is(hf_log_claim(b.st, &one, 0, &l, &err), -EBUSY, "a takeover is refused then");
	must(hf_log_claim(b.st, &one, HF_CLAIM_FENCED, &l, &err));
	ok(!exact(l, &one), "and goes on when the node was fenced");
	hf_log_close(l);

	/* alive, and said to have left in order */
	node_close(&a);
	node_open(&a);
	a.st->ops->leave(a.st);
	left = take(at, PAIR);
	node_close(&a);
	node_open(&a);
	beats(&a, 1);
	beats(&b, 1);
	must(hf_log_claim(a.st, &one, HF_CLAIM_FENCED, &l, &err));
	beats(&a, 1);
	beats(&b, 1);
	put_at(at, left, PAIR);
	beats(&b, 1);
	is(state_of(&b, "alpha"), HF_NODE_UP, "a row that goes back is not believed: who lives has not left");
	is(hf_log_claim(b.st, &one, 0, &m, &err), -EBUSY, "so nothing is taken from it");
	is(a.st->ops->beat(a.st, &err), -ESTALE, "it finds another incarnation in its own row, and stops");
	hf_log_close(l);
	node_close(&a);
	node_open(&a);
	for (int i = 0; i < 8; i++)
		free(rec[i]);
	free(left);
}

/* Two superblocks of one disk, as growing it leaves them behind. */
static void old_superblock(void)
{
	uint8_t *old = take(0, PAIR), now[SECT] __attribute__((aligned(8)));
	struct hf_store_params p = { .keys = keys };
	struct hf_store *st;
	unsigned lease;
	struct super sb;

	must(super_in(&sb, keys, old, &err));
	sb.seq++;
	sb.lease_ms = 3000;
	super_out(&sb, keys, now);
	for (int olds = 0; olds < 4; olds++) {	/* bit by bit, which copies are old */
		put_at(0, olds & 1 ? old : now, SECT);
		put_at(SECT, olds & 2 ? old : now, SECT);
		must(hf_store_open(dev, &p, &st, &err));
		st->ops->info(st, NULL, NULL, &lease, NULL, NULL, NULL);
		st->ops->close(st);
		is(lease, olds < 3 ? 3000 : 2000, olds < 3 ? "of two superblocks the newer one counts" :
		   "with both put back the older one does: nothing on the disk tells");
	}
	put_at(0, old, PAIR);
	free(old);
}

static void superblocks(void)
{
	uint8_t *sb = take(0, PAIR), *x = take(0, PAIR), *foreign;
	char second[sizeof(dev) + 10], key2[300], conf2[310];
	struct hf_format f = { .cluster = "test", .nodes = 2, .lease_ms = 500, .size = 16u << 20 };
	struct hf_store_params p = { .keys = keys };
	struct hf_store *st;
	int fd, bad = 0;
	FILE *c;

	/* one bit anywhere in the copy that counts, then in both */
	for (unsigned i = 0; i < 496; i += 7) {
		x[i] ^= 1 << i % 8;
		put_at(0, x, SECT);
		if (hf_store_open(dev, &p, &st, &err))
			bad++;
		else
			st->ops->close(st);
		put_at(SECT, x, SECT);
		if (!hf_store_open(dev, &p, &st, &err) || err.exit != HF_DAMAGED)
			bad++;
		x[i] ^= 1 << i % 8;
		put_at(0, sb, PAIR);
	}
	is(bad, 0, "a forged superblock is refused, and one copy makes up for the other");

	/* a disk of another cluster with the same key: daemons that run find it at their next beat */
	snprintf(second, sizeof(second), "%s.3", dev);
	must(hf_disk_format(conf, second, &f, &err));
	fd = open(second, O_RDONLY | O_CLOEXEC);
	foreign = malloc(PAIR);
	must(hf_pread_full(fd, foreign, PAIR, 0));
	close(fd);
	put_at(0, foreign, PAIR);
	is(a.st->ops->beat(a.st, &err), -ESTALE, "a foreign superblock of the same key: the beat stops the node");
	is(err.exit, HF_STALE, "with its exit code");
	p.id = &a.id;
	is(hf_store_open(dev, &p, &st, &err), -EBUSY, "and a node that starts refuses");
	p.id = NULL;
	put_at(0, sb, PAIR);
	must(a.st->ops->beat(a.st, &err));

	/* of another key */
	snprintf(key2, sizeof(key2), "%s/key2", dir);
	snprintf(conf2, sizeof(conf2), "%s/conf2", dir);
	snprintf(second, sizeof(second), "%s.4", dev);
	c = fopen(conf2, "w");
	fprintf(c, "[node]\nkey_file = %s\nstate_dir = %s\n[store]\nurl = disk:%s\n", key2, dir, second);
	fclose(c);
	must(hf_keyfile_create(key2, &err));
	must(hf_disk_format(conf2, second, &f, &err));
	fd = open(second, O_RDONLY | O_CLOEXEC);
	must(hf_pread_full(fd, foreign, PAIR, 0));
	close(fd);
	put_at(0, foreign, PAIR);
	is(a.st->ops->beat(a.st, &err), -ESTALE, "a foreign superblock of another key: so it does");
	is(hf_store_open(dev, &p, &st, &err), -EKEYREJECTED, "and nobody opens it");
	put_at(0, sb, PAIR);
	/* one copy of it beside the right one */
	put_at(0, foreign, SECT);
	must(a.st->ops->beat(a.st, &err));
	is(hf_store_open(dev, &p, &st, &err), 0, "one such copy alone: the other counts");
	st->ops->close(st);
	put_at(0, sb, PAIR);
	free(foreign);
	free(sb);
	free(x);
}

int main(void)
{
	setup(2, 16u << 20, 2000);	/* longer than a busy machine stands still */
	raw = open(dev, O_RDWR | O_CLOEXEC);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	claims();
	unnoted();
	undone();
	heartbeats();
	superblocks();
	old_superblock();
	return tap_done();
}
