// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * disk grow: while nodes use the disk, which do not know of it yet; cut off at every write; stopped at
 * every write while others grow it; two at once; and what is refused. P1 and P4 across the change of the layout.
 */
#include "store_test.h"
#include "ondisk.h"
#include <pthread.h>
#include <stdatomic.h>

#define MB (1u << 20)

static struct node a, b;
static struct hf_logid id = LOGID(1, 2);
static char big[200000];

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

static int put_big(struct hf_log *l, int i)
{
	char key[16];
	int ret;

	snprintf(key, sizeof(key), "k%d", i);
	ret = put(l, key, fill(i), sizeof(big));
	if (!ret)
		ret = commit(l);
	if (ret)
		hf_log_abort(l);
	return ret;
}

static int all_there(struct hf_log *l, int n)
{
	char key[16];
	int bad = 0;

	for (int i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		bad += !holds(l, key, fill(i), sizeof(big));
	}
	return n && !bad;
}

static int grow_as(unsigned nodes, bool force)
{
	err = (struct hf_err){ 0 };
	return hf_disk_grow(conf, dev, nodes, force, NULL, &err);
}

static int grow(unsigned nodes) { return grow_as(nodes, false); }

static void end(void)
{
	node_close(&a);
	if (b.st)
		node_close(&b);
	b.st = NULL;
	hf_keys_free(keys);
	cleanup();
}

/* An area that is full takes more after the disk has grown, and others can read it, without
 * that anybody starts anew. */
static void size(void)
{
	struct hf_log *l, *r;
	uint64_t room;
	int n = 0, more;

	setup(2, 6 * MB, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	is(grow(0), -EBUSY, "a disk that did not become larger");
	ok(err.exit == HF_REFUSED && strstr(err.msg, "did not become larger"), "is refused, with the reason");
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	while (!put_big(l, n))
		n++;
	ok(n > 2, "an area is filled (%d)", n);
	must(truncate(dev, 16 * MB));
	is(grow(0), 0, "the disk grows under two nodes");
	is(put_big(l, n), -ENOSPC, "who has not looked yet keeps to what it knows");
	must(a.st->ops->beat(a.st, &err));
	must(a.st->ops->nodes(a.st, (struct hf_node_info[2]){ 0 }, 2) == 2 ? 0 : -EIO);
	for (more = n; !put_big(l, more); more++)
		;
	ok(more > 2 * n, "the area takes more, without a restart (%d, then %d)", n, more);
	must(hf_log_read(b.st, &id, 0, &r, &err));
	ok(all_there(r, more), "P1: another node that did not know of it reads all");
	hf_log_close(r);
	is(sound(), 0, "the disk is sound");
	hf_log_close(l);
	node_close(&a);
	node_open(&a);
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	ok(all_there(l, more), "P1: after a restart too");
	for (int i = 0; i < more; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		must(hf_log_del(l, key, strlen(key)));
	}
	must(commit(l));
	must(hf_log_base(l, 0, &err));
	a.st->ops->beat(a.st, &err);
	must(put(l, "x", "1", 1));
	must(commit(l));
	n = 0;
	while (!put_big(l, n))
		n++;
	ok(n > more / 2, "and what is deleted comes back in all parts of the area (%d)", n);
	ok(all_there(l, n), "P1: none of it lies over another");
	must(truncate(dev, 17 * MB));
	is(grow(0), 0, "and again");
	must(a.st->ops->beat(a.st, &err));
	is(put_big(l, n), 0, "a third part");
	is(sound(), 0, "the disk is sound");
	hf_log_close(l);
	must(truncate(dev, 12 * MB));
	room = grow(0);
	ok(room && err.exit == HF_DAMAGED && strstr(err.msg, "smaller"), "one that became smaller is refused: %s", err.msg);
	must(truncate(dev, 17 * MB));
	end();
}

/* More nodes, while an owner does not know of it. */
static void nodes(void)
{
	struct node c = { 0 }, x;
	struct hf_log *l, *m;
	uint64_t gen;

	setup(2, 6 * MB, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	err = (struct hf_err){ 0 };
	is(hf_disk_take_slot(dev, keys, NULL, "gamma", &c.id, &err), -EBUSY, "a join beyond the areas is refused");
	ok(err.exit == HF_REFUSED && strstr(err.msg, "disk grow"), "and told what to do");
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	must(put(l, "k", "old", 3));
	must(commit(l));
	is(grow(4), -EBUSY, "more nodes on a disk without room");
	ok(err.exit == HF_REFUSED && strstr(err.msg, "larger"), "are refused: %s", err.msg);
	must(truncate(dev, 12 * MB));
	is(grow(7), -EBUSY, "more than it was formatted for");
	ok(err.exit == HF_REFUSED && strstr(err.msg, "--nodes-max"), "are refused: %s", err.msg);
	is(grow(1), -EBUSY, "fewer than now");
	is(grow(4), 0, "four instead of two");
	node_make(&c, "gamma");
	is(c.id.slot, 2, "the next node has a new area");

	/* alpha has not had a heartbeat since; the first commit below is in flight when it is overtaken */
	must(put(l, "k", "late", 4));
	must(hf_log_commit(l, 0, NULL, &gen, &err));
	must(hf_log_claim(c.st, &id, HF_CLAIM_FENCED, &m, &err));
	is(hf_log_confirm(l, &err), -ESTALE, "P4: an owner that does not know of more nodes sees their claim");
	must(put(m, "g", fill(3), sizeof(big)));
	must(commit(m));
	ok(holds(m, "k", "late", 4), "P1: the new node has all of it");
	must(hf_log_base(m, 0, &err));
	hf_log_close(l);
	must(hf_log_claim(b.st, &id, HF_CLAIM_FENCED, &l, &err));
	ok(holds(l, "g", fill(3), sizeof(big)), "P1: and those that run on take it over from there");
	hf_log_close(l);
	hf_log_close(m);
	node_make(&x, "delta");
	is(x.id.slot, 3, "the fourth");
	node_close(&x);
	is(hf_disk_take_slot(dev, keys, NULL, "epsilon", &x.id, &err), -EBUSY, "and no fifth");
	is(sound(), 0, "the disk is sound");
	node_close(&c);
	end();
}

static void slurp(uint8_t *p, size_t n, const char *what)
{
	int fd = open(dev, (*what == 'r' ? O_RDONLY : O_RDWR) | O_CLOEXEC);

	must(fd < 0 ? -errno : *what == 'r' ? hf_pread_full(fd, p, n, 0) : hf_pwrite_full(fd, p, n, 0));
	close(fd);
}

static void layout(struct super *sb)
{
	uint8_t *p = malloc(2 * HFD_SECTOR);
	struct super s[2];
	int r[2];

	slurp(p, 2 * HFD_SECTOR, "r");
	for (int i = 0; i < 2; i++)
		r[i] = super_in(&s[i], keys, p + i * HFD_SECTOR, NULL);
	free(p);
	*sb = !r[0] && (r[1] || s[0].seq >= s[1].seq) ? s[0] : s[1];
	must(r[0] && r[1] ? -EBADMSG : 0);
}

static int log_there(void)
{
	struct hf_store_params p = { .keys = keys };
	struct hf_store *st;
	struct hf_log *l;
	int good = 0;

	if (hf_store_open(dev, &p, &st, &err))
		return 0;
	if (!hf_log_read(st, &id, 0, &l, &err)) {
		good = all_there(l, 3);
		hf_log_close(l);
	}
	st->ops->close(st);
	return good;
}

/* Power goes at each of its writes; a write of the superblock may be torn besides. */
static void cuts(void)
{
	static uint8_t before[8 * MB], after[8 * MB], now[2 * HFD_SECTOR];
	struct super sb;
	struct hf_log *l;
	int cut = 0, old = 0, bad = 0, torn = 0, forced = 0;

	setup(2, 8 * MB, 500);
	node_make(&a, "alpha");
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	for (int i = 0; i < 3; i++)
		must(put_big(l, i));
	hf_log_close(l);
	slurp(before, sizeof(before), "r");
	for (;;) {
		char seam[64];
		int status;

		slurp(before, sizeof(before), "w");
		must(truncate(dev, 8 * MB));
		must(truncate(dev, 14 * MB));
		fflush(stdout);
		snprintf(seam, sizeof(seam), "disk.write:%d:kill", cut + 1);
		pid_t pid = fork();

		if (!pid) {
			hf_seam_init(seam);
			_exit(grow(4) ? 1 : 0);
		}
		waitpid(pid, &status, 0);
		layout(&sb);
		old += sb.nodes == 2 && sb.nparts == 1;
		if (!((sb.nodes == 2 && sb.nparts == 1) || (sb.nodes == 4 && sb.nparts > 1)) || sound() || !log_there())
			bad++;
		if (WIFEXITED(status)) {
			bad += WEXITSTATUS(status) != 0 || sb.nodes != 4;
			break;
		}
		cut++;
		/* between its two writes at the door nobody can tell that it was alone */
		if (grow(4) && err.exit == HF_REFUSED && strstr(err.msg, "--force")) {
			forced++;
			grow_as(4, true);
		}
		bad += err.exit && err.exit != HF_REFUSED;
		layout(&sb);
		bad += sb.nodes != 4 || sound();
	}
	ok(cut >= 4 && old >= 2 && old < cut, "cut off at each of its %d writes, %d of them before it counted", cut, old);
	is(bad, 0, "P1: one layout or the other, sound, and the next one completes it");
	is(forced, 1, "on the same machine by itself, but after one of the writes");

	slurp(after, sizeof(after), "r");
	for (unsigned which = 0; which < 2; which++)
		for (size_t n = 512; n < HFD_SECTOR; n += 512) {
			for (unsigned i = 0; i < 2; i++)	/* the first one is written first */
				memcpy(now + i * HFD_SECTOR, (i < which ? after : before) + i * HFD_SECTOR, HFD_SECTOR);
			memcpy(now + which * HFD_SECTOR, after + which * HFD_SECTOR, n);
			slurp(now, sizeof(now), "w");
			layout(&sb);
			torn += sb.nodes == (which ? 4 : 2) && log_there();
		}
	is(torn, 14, "a torn superblock leaves the other one");
	is(grow(4), 0, "which is mended by the next grow");
	slurp(now, sizeof(now), "r");
	ok(!memcmp(now, now + HFD_SECTOR, HFD_SECTOR), "in both copies");
	end();
}

/* Two at once, from two machines: one is refused, or finds it done. */
static void both(void)
{
	struct super sb;
	pid_t pid[2];
	int code[2];

	setup(2, 8 * MB, 500);
	node_make(&a, "alpha");
	must(truncate(dev, 16 * MB));
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		pid[i] = fork();
		if (!pid[i])
			_exit(grow(3 + i) ? err.exit : 0);
	}
	for (int i = 0; i < 2; i++) {
		int status;

		waitpid(pid[i], &status, 0);
		code[i] = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	}
	layout(&sb);
	ok((!code[0] && code[1] == HF_REFUSED && sb.nodes == 3) || (!code[1] && code[0] == HF_REFUSED && sb.nodes == 4) ||
	   (!code[0] && !code[1] && sb.nodes == 4), "two at once: %d %d, %u nodes", code[0], code[1], sb.nodes);
	is(sound(), 0, "the disk is sound");
	end();
}

#define NOWHERE 1000
/* In a process of its own, which stops before write @at; @there: it is another machine, as far as
 * its lock can tell. */
static pid_t start(unsigned nodes, int at, bool there)
{
	char seam[64];
	pid_t pid;

	fflush(stdout);
	snprintf(seam, sizeof(seam), "disk.write:%d:stop%s", at, there ? ",grow.lock:1+:eio" : "");
	pid = fork();
	if (!pid) {
		hf_seam_init(seam);
		_exit(grow(nodes) ? err.exit : 0);
	}
	return pid;
}

/* its exit code; -1: it is stopped */
static int ended(pid_t pid)
{
	int status;

	waitpid(pid, &status, WUNTRACED);
	return WIFSTOPPED(status) ? -1 : WIFEXITED(status) ? WEXITSTATUS(status) : -2;
}

static int go_on(pid_t pid)
{
	kill(pid, SIGCONT);
	return ended(pid);
}

/* @sb has what @was told of, in the same places */
static bool follows(const struct super *was, const struct super *sb)
{
	return sb->seq >= was->seq && sb->nodes >= was->nodes && sb->nparts >= was->nparts &&
	       !memcmp(was->part, sb->part, was->nparts * sizeof(*was->part));
}

#define WRITES 6	/* asks, holds, in, two superblocks, holds */

/* One stops (SIGSTOP) before each of its writes; another machine grows the disk, and larger, meanwhile, if
 * it may; the first goes on. What somebody was told of the layout must hold for ever. */
static void paused(void)
{
	static uint8_t before[8 * MB];
	struct super one, two, sb;
	int done = 0, refused = 0, lost = 0, bad = 0;
	struct hf_log *l;

	setup(2, 8 * MB, 500);
	node_make(&a, "alpha");
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	for (int i = 0; i < 3; i++)
		must(put_big(l, i));
	hf_log_close(l);
	slurp(before, sizeof(before), "r");
	for (int at = 1; at <= WRITES; at++) {
		int code[2];
		pid_t pid;

		slurp(before, sizeof(before), "w");
		must(truncate(dev, 8 * MB));
		must(truncate(dev, 14 * MB));
		pid = start(4, at, false);
		must(ended(pid) == -1 ? 0 : -EIO);
		layout(&one);
		must(truncate(dev, 20 * MB));
		code[0] = ended(start(3, NOWHERE, true));
		layout(&two);
		must(truncate(dev, 26 * MB));
		code[1] = go_on(pid);
		layout(&sb);
		if (!code[0])
			done++;
		else if (code[0] == HF_REFUSED)
			refused++;
		lost += !code[0] && code[1] == HF_REFUSED;
		if (!follows(&one, &two) || !follows(&two, &sb) || sound() || !log_there() ||
		    (code[0] && code[0] != HF_REFUSED) || (code[1] && code[1] != HF_REFUSED) || (code[0] && code[1])) {
			printf("# stopped before write %d: the other %d, %u nodes; then %d, %u nodes\n", at, code[0],
			       two.nodes, code[1], sb.nodes);
			bad++;
		}
		/* and nobody is locked out for good */
		must(truncate(dev, 32 * MB));
		bad += grow_as(0, true) != 0 || sound();
	}
	is(bad, 0, "P4: who is stopped before any of its writes, while another machine grows the disk, destroys nothing");
	ok(done >= 2 && refused >= 3 && lost == 1, "the other one is let in %d times, kept out %d times; who was stopped is too late %d times",
	   done, refused, lost);
	end();
}

/* Both stop: the first when it had found nobody there, the second when it is in and about to write a superblock. */
static void paused_both(void)
{
	struct super mid, sb;
	pid_t p, q;
	int code;

	setup(2, 8 * MB, 500);
	node_make(&a, "alpha");
	for (int at = 2; at < WRITES - 1; at += 2) {
		must(truncate(dev, (14 + 6 * at) * MB));
		p = start(4, at, false);
		must(ended(p) == -1 ? 0 : -EIO);
		q = start(3, 4, true);
		code = ended(q);
		if (at == 2) {
			must(code == -1 ? 0 : -EIO);
			is(go_on(p), HF_REFUSED, "P4: two that are stopped: who finds that he was overtaken is refused");
			layout(&mid);
			is(mid.nodes, 2, "and wrote nothing");
			code = go_on(q);
			ok(!code || code == HF_REFUSED, "the other goes on");
		} else {
			is(code, HF_REFUSED, "who comes when one is in is refused");
			is(go_on(p), 0, "and that one goes on");
		}
		layout(&sb);
		is(sound(), 0, "the disk is sound");
		must(truncate(dev, (20 + 6 * at) * MB));
		is(grow_as(0, true), 0, "--force opens it again");
	}
	end();
}

static atomic_int going, beats, commits, reads, wrong;

static void *beating(void *arg)
{
	while (atomic_load(&going)) {
		if (!a.st->ops->beat(a.st, NULL) && !b.st->ops->beat(b.st, NULL))
			atomic_fetch_add(&beats, 1);
		hf_sleep_ms(5);
	}
	return NULL;
}

static void *writing(void *arg)
{
	struct hf_log *l = arg;
	struct hf_err e;
	uint64_t gen;
	char v[32];

	for (unsigned i = 0; atomic_load(&going); i++) {
		struct hf_source s = { .size = sizeof(v), .read = mem_read, .arg = v };

		memset(v, 0, sizeof(v));
		snprintf(v, sizeof(v), "%u", i);
		if (hf_log_put(l, "n", 1, "attr", 4, &s, NULL, &e) || hf_log_commit(l, 0, NULL, &gen, &e) ||
		    hf_log_confirm(l, &e) || (i % 16 == 0 && hf_log_base(l, 0, &e))) {
			printf("# writer: %s\n", e.msg);
			atomic_fetch_add(&wrong, 1);
			break;
		}
		atomic_store(&commits, i);
	}
	return NULL;
}

static void *reading(void *arg)
{
	while (atomic_load(&going)) {
		int least = atomic_load(&commits);
		struct sunk s = { 0 };
		struct hf_err e = { 0 };
		struct hf_log *l;

		if (hf_log_read(b.st, &id, 0, &l, &e)) {
			printf("# reader: %s\n", e.msg);
			atomic_fetch_add(&wrong, 1);
			break;
		}
		if (!hf_log_content(l, "n", 1, sink, &s, &e)) {	/* else it was trimmed under the reader */
			if (atoi(s.p) < least)
				atomic_fetch_add(&wrong, 1);
			atomic_fetch_add(&reads, 1);
		}
		free(s.p);
		hf_log_close(l);
	}
	return NULL;
}

/* Grown again and again under threads that write, read and beat. */
static void live(void)
{
	pthread_t t[3];
	struct hf_log *l;
	int grown = 0;

	setup(2, 6 * MB, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	must(put(l, "n", "0", 1));
	must(commit(l));
	atomic_store(&going, 1);
	pthread_create(&t[0], NULL, beating, NULL);
	pthread_create(&t[1], NULL, writing, l);
	pthread_create(&t[2], NULL, reading, NULL);
	for (unsigned i = 1; i <= 5; i++) {
		int n = atomic_load(&beats), r = atomic_load(&reads);

		must(truncate(dev, (6 + 2 * i) * MB));
		grown += !grow(i == 3 ? 4 : 0);
		while (!atomic_load(&wrong) && (atomic_load(&beats) < n + 2 || atomic_load(&reads) < r + 2))
			hf_sleep_ms(2);
	}
	atomic_store(&going, 0);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	is(grown, 5, "grown five times under who writes and reads");
	is(atomic_load(&wrong), 0, "P1: nobody is stopped, and every reading has what was confirmed before");
	printf("# %d commits, %d readings, %d heartbeats\n", atomic_load(&commits), atomic_load(&reads), atomic_load(&beats));
	is(put_big(l, 0), 0, "and the area takes more");
	hf_log_close(l);
	is(sound(), 0, "the disk is sound");
	end();
}

/* Alone on a disk, a node's parts lie side by side; what is written at once lies in one of them still. */
static void alone(void)
{
	struct hf_log *l, *r;
	char key[16];
	int n = 0, ret;

	setup(1, 4 * MB, 500);
	node_make(&a, "alpha");
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	for (unsigned size = 5; size < 12; size++) {
		must(truncate(dev, size * MB));
		must(grow(0));
		must(a.st->ops->beat(a.st, &err));
		ret = 0;
		do {	/* several at once: most of it goes into packs */
			for (int i = n; i < n + 4 && !ret; i++) {
				snprintf(key, sizeof(key), "k%d", i);
				ret = put(l, key, fill(i), sizeof(big));
			}
			if (!ret)
				ret = commit(l);
			n += ret ? 0 : 4;
		} while (!ret);
		hf_log_abort(l);
	}
	must(hf_log_read(a.st, &id, 0, &r, &err));
	ok(all_there(r, n), "P1: what was put where one part ends and the next begins can be read (%d)", n);
	hf_log_close(r);
	is(sound(), 0, "the disk is sound");
	hf_log_close(l);
	end();
}

int main(void)
{
	must(hf_crypto_init());
	size();
	alone();
	nodes();
	cuts();
	paused();
	paused_both();
	both();
	live();
	return tap_done();
}
