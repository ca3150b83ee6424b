// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Months of churn: many logs on three nodes, with takeovers, restarts, deletions, pins, small
 * and large files, and more written than the disk holds many times over. After each phase the
 * logs hold what was confirmed, and what they stand on is found by reading them alone and
 * compared with what the nodes hold for used: nothing that is needed may be free, and what
 * is used stays within a bound of what is needed. HF_SEED, HF_PHASES.
 */
#include "store_test.h"
#include "disk_int.h"
#include "state.h"
#include "chunk.h"
#include <time.h>

#define NODES 3
#define LOGS 10
#define KEYS 40
#define PINS 2
#define BIG (700u << 10)
/* a log's open segment and pack, and what it writes before the next base */
#define LOG_COST (3u << 19)

struct file { uint64_t seed; uint32_t size; bool there; };
struct model {
	struct hf_logid id;
	struct hf_log *log;		/* NULL: nobody has it */
	unsigned owner, serial, retain;
	struct file f[KEYS], tried[KEYS];
	struct { char name[16]; uint64_t gen; bool there; struct file f[KEYS]; } pin[PINS];
};

static struct node node[NODES];
static struct model logs[LOGS];
static unsigned rnd;
static uint64_t written, commits, claims, full, restarts, deletions, bases, worst;
static char *buf;

static unsigned roll(unsigned n)
{
	rnd = rnd * 1103515245 + 12345;
	return (rnd >> 8) % n;
}

static void fill(uint64_t seed, size_t n)
{
	uint64_t *p = (uint64_t *)buf;

	for (size_t i = 0; i < (n + 7) / 8; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		p[i] = seed ^ seed >> 31;
	}
}

static uint32_t some_size(void)
{
	switch (roll(12)) {
	case 0:
		return 0;
	case 1:
		return 100000 + roll(BIG - 100000);
	case 2:
	case 3:
		return 10000 + roll(60000);
	default:
		return 1 + roll(4000);
	}
}

/* the logs that are registered, told to every node, as their daemons do */
static void tell(unsigned times)
{
	uint8_t known[LOGS][16];

	for (unsigned i = 0; i < LOGS; i++)
		memcpy(known[i], logs[i].id.uuid, 16);
	for (unsigned t = 0; t < times; t++)
		for (unsigned i = 0; i < NODES; i++)
			area_known(disk_of(node[i].st), known, LOGS);
}

static void fresh(struct model *m, unsigned i)
{
	struct model old = *m;

	memset(m, 0, sizeof(*m));
	m->serial = old.serial + 1;
	m->id = (struct hf_logid){ .row = 1 + i };
	snprintf(m->id.name, sizeof(m->id.name), "log%u.%u", i, m->serial);
	memcpy(m->id.uuid, m->id.name, 16);
	m->retain = roll(3) ? roll(6) : roll(30);
}

static void let_go(struct model *m, bool release)
{
	if (!m->log)
		return;
	if (release)
		must(hf_log_release(m->log, &err));
	hf_log_close(m->log);
	m->log = NULL;
}

static struct hf_log *owned(struct model *m)
{
	if (m->log)
		return m->log;
	m->owner = roll(NODES);
	must(hf_log_claim(node[m->owner].st, &m->id, HF_CLAIM_FENCED, &m->log, &err));
	claims++;
	return m->log;
}

static int base(struct model *m)
{
	int ret;

	/* in parts, with a commit between them now and then */
	ret = roll(2) ? hf_log_base_part(m->log, 300000, &err) : 0;
	if (ret == 1)
		return 0;
	ret = hf_log_base(m->log, m->retain, &err);
	if (ret && ret != -ENOSPC)
		must(ret);
	bases += !ret;
	return ret;
}

static int done(struct model *m)
{
	uint64_t gen;
	int ret = hf_log_commit(m->log, 0, NULL, &gen, &err);

	if (ret && ret != -ENOSPC)
		must(ret);
	if (ret) {
		hf_log_abort(m->log);
		memcpy(m->tried, m->f, sizeof(m->f));
		return ret;
	}
	must(hf_log_confirm(m->log, &err));
	commits++;
	memcpy(m->f, m->tried, sizeof(m->f));
	if (hf_log_wants_base(m->log))
		base(m);
	return 0;
}

static int store_some(struct model *m)
{
	struct hf_log *l = owned(m);
	unsigned n = 1 + roll(5);
	int ret = 0;

	memcpy(m->tried, m->f, sizeof(m->f));
	for (unsigned i = 0; i < n && !ret; i++) {
		unsigned k = roll(KEYS);
		struct file *f = &m->tried[k];
		char key[16];

		snprintf(key, sizeof(key), "k%u", k);
		if (f->there && roll(5) == 0) {
			must(hf_log_del(l, key, strlen(key)));
			f->there = false;
			continue;
		}
		/* some contents come again, in this log or in others */
		*f = (struct file){ roll(4) ? (uint64_t)rnd << 20 | k : roll(20), some_size(), true };
		if (f->seed < 20)
			f->size = 5000 * (f->seed + 1);
		fill(f->seed, f->size);
		ret = put(l, key, buf, f->size);
		written += ret ? 0 : f->size;
	}
	if (ret) {
		if (ret != -ENOSPC)
			must(ret);
		hf_log_abort(l);
		memcpy(m->tried, m->f, sizeof(m->f));
		return ret;
	}
	return hf_log_pending(l) ? done(m) : 0;
}

/* as an administrator would: half of what is there goes */
static void thin_out(struct model *m)
{
	struct hf_log *l = owned(m);

	memcpy(m->tried, m->f, sizeof(m->f));
	for (unsigned k = 0; k < KEYS; k++) {
		char key[16];

		if (!m->f[k].there || k % 2 == commits % 2)
			continue;
		snprintf(key, sizeof(key), "k%u", k);
		must(hf_log_del(l, key, strlen(key)));
		m->tried[k].there = false;
	}
	if (hf_log_pending(l) && !done(m))
		base(m);
}

static void change_pin(struct model *m)
{
	struct hf_log *l = owned(m);
	unsigned i = roll(PINS);
	int ret;

	memcpy(m->tried, m->f, sizeof(m->f));
	if (m->pin[i].there) {
		must(hf_log_unpin(l, m->pin[i].name, &err));
		m->pin[i].there = done(m);
		return;
	}
	if (!hf_log_gen(l))
		return;
	snprintf(m->pin[i].name, sizeof(m->pin[i].name), "pin%u-%u", i, roll(1000));
	m->pin[i].gen = hf_log_gen(l);
	ret = hf_log_pin(l, m->pin[i].gen, m->pin[i].name, &err);
	if (ret && ret != -ENOSPC)
		must(ret);
	if (ret || done(m))
		return;
	m->pin[i].there = true;
	memcpy(m->pin[i].f, m->f, sizeof(m->f));
}

static int drop_one(void *ctx, const struct hf_item *it) { return hf_log_del(ctx, it->key, it->keylen); }

static void delete_log(unsigned i)
{
	struct model *m = &logs[i];
	struct hf_log *l = owned(m);
	uint64_t gen;

	must(hf_log_each(l, "", 0, drop_one, l));
	if (hf_log_pending(l) && !hf_log_commit(l, 0, NULL, &gen, &err))
		(void)hf_log_base(l, 0, &err);
	let_go(m, true);
	fresh(m, i);
	deletions++;
}

/* its daemon is gone without a word, and comes back, perhaps after others took over */
static void restart(unsigned n)
{
	for (unsigned i = 0; i < LOGS; i++)
		if (logs[i].log && logs[i].owner == n)
			let_go(&logs[i], false);
	if (roll(2))
		for (unsigned i = 0; i < LOGS; i++)
			if (!logs[i].log && roll(3) == 0) {
				unsigned o = (n + 1 + roll(NODES - 1)) % NODES;

				must(hf_log_claim(node[o].st, &logs[i].id, HF_CLAIM_FENCED, &logs[i].log, &err));
				logs[i].owner = o;
				claims++;
			}
	node_close(&node[n]);
	node_open(&node[n]);
	restarts++;
}

static bool same(struct hf_log *l, const struct file *f)
{
	for (unsigned k = 0; k < KEYS; k++) {
		struct hf_item it;
		char key[16];

		snprintf(key, sizeof(key), "k%u", k);
		if (hf_log_get(l, key, strlen(key), &it) != f[k].there)
			return false;
		if (!f[k].there)
			continue;
		fill(f[k].seed, f[k].size);
		if (!holds(l, key, buf, f[k].size))
			return false;
	}
	return true;
}

static unsigned wrong(void)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < LOGS; i++) {
		struct model *m = &logs[i];
		struct hf_log *l;
		int ret = hf_log_read(node[0].st, &m->id, 0, &l, &err);

		if (ret == -ENOENT)
			continue;
		if (!ret) {
			ret = !same(l, m->f);
			hf_log_close(l);
		}
		for (unsigned p = 0; p < PINS && !ret; p++) {
			if (!m->pin[p].there)
				continue;
			ret = hf_log_read(node[1].st, &m->id, m->pin[p].gen, &l, &err);
			if (!ret) {
				ret = !same(l, m->pin[p].f);
				hf_log_close(l);
			}
		}
		if (ret)
			printf("# %s: %d %s\n", m->id.name, ret, err.msg);
		bad += !!ret;
	}
	return bad;
}

/* ---- what the logs stand on, read from the disk ---- */

struct reach {
	struct disk *d;			/* any node's; reading */
	uint8_t *bits[NODES];
	bool newest;			/* of the newest state alone */
	uint32_t slot;
	uint64_t tail;
};

static void mark(struct reach *r, uint32_t slot, uint64_t place, uint64_t len)
{
	for (uint32_t b = area_block(r->d, slot, place); len && b <= area_block(r->d, slot, place + len - 1); b++)
		r->bits[slot][b] = 1;
}

static int reach_put(void *ctx, struct ent *e)
{
	struct reach *r = ctx;

	for (uint32_t i = 0; i < e->nref; i++)
		mark(r, e->ref[i].slot, e->ref[i].place, chunk_stored(&e->ref[i]));
	ent_put(e);
	return 0;
}

static int reach_del(void *ctx, const void *key, uint32_t keylen) { return 0; }

static int reach_rec(void *ctx, const struct hf_rec *rec)
{
	struct reach *r = ctx;
	const struct codec_fn fn = { .put = reach_put, .del = reach_del, .ctx = r };
	struct hf_buf b = HF_BUF_INIT;
	uint64_t n = rec_sectors(rec->len) * (uint64_t)HFD_SECTOR;
	int ret = 0;

	/* the tail may begin in the last of its sectors */
	mark(r, rec->slot, (rec->tail + HFD_SECTOR - 1) / HFD_SECTOR * HFD_SECTOR - n, n);
	if (rec->kind == HF_REC_DELTA || rec->kind == HF_REC_BASE) {
		ret = codec_unpack(rec, &b);
		if (!ret)
			ret = codec_each(b.p, b.len, rec->slot, rec->tail, rec->gen, &fn);
		hf_buf_free(&b);
	}
	return ret;
}

/* All that is needed to read every generation from the first that @m must keep on, or the newest. */
static void reach(struct reach *r, const struct model *m)
{
	struct row row;
	const struct claim_rec *acc;
	struct walk_opts o = { .history = !r->newest, .fn = reach_rec, .ctx = r };
	struct walk_end end;

	must(row_read(r->d, m->id.row, &row));
	acc = row_accepted(&row, m->id.uuid);
	if (acc)
		must(log_walk(r->d, acc, &o, &end, &err));
}

static unsigned missing(const uint8_t *need, const struct disk *has)
{
	unsigned n = 0;

	for (uint32_t b = 0; b < has->nblk; b++)
		n += need[b] && !has->blk[b].logs && !has->blk[b].chunks;
	return n;
}

static uint64_t bytes_of(const uint8_t *bits, uint32_t nblk)
{
	uint64_t n = 0;

	for (uint32_t b = 0; b < nblk; b++)
		n += bits[b];
	return n * HFD_BLOCK;
}

/* In a process of its own: what a daemon that starts now would take for used. */
static int rebuilt(unsigned n, const uint8_t *need)
{
	uint8_t known[LOGS][16];
	struct disk *d;
	pid_t pid;
	int st;

	fflush(stdout);
	pid = fork();
	if (pid) {
		waitpid(pid, &st, 0);
		return !WIFEXITED(st) || WEXITSTATUS(st);
	}
	if (disk_open_ro(dev, keys, &d, &err))
		_exit(1);
	d->id = node[n].id;
	if (area_rebuild(d, &err)) {
		printf("# rebuild: %s\n", err.msg);
		fflush(stdout);
		_exit(1);
	}
	for (unsigned i = 0; i < LOGS; i++)
		memcpy(known[i], logs[i].id.uuid, 16);
	for (unsigned t = 0; t < 2; t++)
		area_known(d, known, LOGS);
	_exit(missing(need, d) != 0);
}

struct verdict { unsigned overwritten, lost, history; uint64_t used, live, total; };

static struct verdict account(bool fork_too, bool roomy)
{
	struct verdict v = { 0 };
	struct reach all = { .d = disk_of(node[0].st) }, now = { .d = disk_of(node[0].st), .newest = true };
	uint32_t nblk = all.d->nblk;

	for (unsigned i = 0; i < NODES; i++) {
		all.bits[i] = calloc(1, nblk);
		now.bits[i] = calloc(1, nblk);
	}
	tell(2);
	for (unsigned i = 0; i < NODES; i++)
		area_collect(disk_of(node[i].st));
	for (unsigned i = 0; i < LOGS; i++) {
		reach(&now, &logs[i]);
		reach(&all, &logs[i]);
	}
	for (unsigned i = 0; i < NODES; i++) {
		struct disk *d = disk_of(node[i].st);
		uint64_t total, room = area_room(d, &total);

		v.overwritten += missing(now.bits[i], d);
		if (fork_too)
			v.lost += rebuilt(i, roomy ? all.bits[i] : now.bits[i]);
		v.used += total - room;
		v.total += total;
		v.live += bytes_of(now.bits[i], nblk);
		v.history += missing(all.bits[i], d);
		free(all.bits[i]);
		free(now.bits[i]);
	}
	return v;
}

static void phase(unsigned ops)
{
	for (unsigned i = 0; i < ops; i++) {
		unsigned k = roll(LOGS);
		struct model *m = &logs[k];
		int ret = 0;

		switch (roll(60)) {
		case 0:
			restart(roll(NODES));
			break;
		case 1:
			delete_log(k);
			break;
		case 2:
		case 3:
			change_pin(m);
			break;
		case 4:
		case 5:
			let_go(m, roll(2));
			break;
		default:
			ret = store_some(m);
		}
		if (ret == -ENOSPC) {
			full++;
			for (unsigned j = 0; j < LOGS; j++)
				if (logs[j].log && logs[j].owner == m->owner && hf_log_wants_base(logs[j].log))
					base(&logs[j]);
			if (m->log)
				base(m);
			if (roll(2))
				thin_out(&logs[roll(LOGS)]);
		}
		if (i % 50 == 49)
			tell(1);
	}
}

int main(void)
{
	unsigned phases = getenv("HF_PHASES") ? strtoul(getenv("HF_PHASES"), NULL, 0) : 8;
	unsigned bad = 0, overwritten = 0, lost = 0, over = 0, history = 0;
	uint64_t size, before = 0;
	bool roomy;
	struct verdict v = { 0 };
	char name[8], *json = NULL;

	rnd = getenv("HF_SEED") ? strtoul(getenv("HF_SEED"), NULL, 0) : (unsigned)time(NULL);
	printf("# HF_SEED=%u HF_PHASES=%u repeats it\n", rnd, phases);
	buf = malloc(BIG + 8);
	/* with hardly any room, with some, or so much that history never has to go for it */
	size = rnd % 3 == 0 ? 40u << 20 : rnd % 3 == 1 ? 112u << 20 : 900u << 20;
	roomy = size > 500u << 20;
	setup(NODES, size, 500);
	for (unsigned i = 0; i < NODES; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		node_make(&node[i], name);
	}
	for (unsigned i = 0; i < LOGS; i++)
		fresh(&logs[i], i);
	for (unsigned p = 0; p < phases; p++) {
		uint64_t bound;

		phase(150);
		bad += wrong();
		v = account(p % 3 == 2, roomy);
		overwritten += v.overwritten;
		lost += v.lost;
		history += v.history;
		/* history keeps what the newest held before */
		bound = 4 * (v.live > before ? v.live : before) + (uint64_t)LOGS * LOG_COST;
		before = v.live;
		over += v.used > bound;
		worst = v.used * 100 / bound > worst ? v.used * 100 / bound : worst;
		printf("# phase %u: %llu KiB used, %llu needed by the newest, of %llu; written %llu MiB\n", p,
		       (unsigned long long)v.used >> 10, (unsigned long long)v.live >> 10,
		       (unsigned long long)v.total >> 10, (unsigned long long)written >> 20);
	}
	printf("# %llu commits, %llu claims, %llu bases, %llu restarts, %llu deletions, %llu times full, %llu%% of the bound\n",
	       (unsigned long long)commits, (unsigned long long)claims, (unsigned long long)bases,
	       (unsigned long long)restarts, (unsigned long long)deletions, (unsigned long long)full,
	       (unsigned long long)worst);
	is(bad, 0, "P1: every log and every pin holds what was confirmed");
	is(overwritten, 0, "what the logs stand on is never free");
	is(lost, 0, "nor for a daemon that starts now");
	if (roomy)
		is(history, 0, "nor what history stands on that is to be kept");
	else
		printf("# %u blocks of history were given up for space\n", history);
	is(over, 0, "the space in use is bounded by what is needed");
	ok(commits > 100 * phases / 2 && claims > phases && restarts && deletions && bases, "and the work went on");
	for (unsigned i = 0; i < LOGS; i++) {
		delete_log(i);
		tell(2);
	}
	v = account(false, roomy);
	ok(v.used <= (uint64_t)LOGS * HFD_BLOCK, "W8: when all is deleted, all comes back (%llu KiB used)",
	   (unsigned long long)v.used >> 10);
	for (unsigned i = 0; i < NODES; i++) {
		node_close(&node[i]);
		node_open(&node[i]);
	}
	v = account(false, roomy);
	ok(v.used <= (uint64_t)LOGS * HFD_BLOCK, "and a start finds nothing else (%llu KiB used)",
	   (unsigned long long)v.used >> 10);
	free(json);
	return tap_done();
}
