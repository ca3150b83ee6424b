// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P1, P4: what three nodes confirmed of four logs, and what they pinned, is there whatever they did: files of all sizes, of
 * which many are the same; what is put and taken back, cut off or given up; bases in parts; areas that are full; writes
 * that fail; takeovers and restarts. And disk check, in between, takes none of it for damage.
 */
#include "store_test.h"
#include "chunk.h"
#include "disk_int.h"

#define NODES 3
#define LOGS 4
#define KEYS 7
#define POOL 30

struct state { int v[KEYS]; };		/* which of the pool; -1 none */

struct one {
	struct hf_logid id;
	struct hf_log *l;
	int owner;
	uint64_t gen, pin;
	struct state conf, now, maybe, pinned;	/* confirmed; with the transaction; not known whether committed */
	bool unsure;
};

static struct node nd[NODES];
static bool up[NODES];
static struct one logs[LOGS];
static char *pool[POOL];
static size_t len[POOL];
static uint64_t rs;
static unsigned commits, wrong;

static unsigned rnd(unsigned n)
{
	rs = rs * 6364136223846793005ull + 1442695040888963407ull;
	return (rs >> 33) % n;
}

static void bad(const char *what, const struct one *o)
{
	if (wrong++ < 5)
		printf("# log %u: %s: %.600s\n", o ? o->id.row : 0, what, err.msg);
}

static int is_state(struct hf_log *l, const struct state *s)
{
	struct hf_item it;
	char key[8];
	int good = 1;

	for (int k = 0; k < KEYS && good; k++) {
		snprintf(key, sizeof(key), "k%d", k);
		good = hf_log_get(l, key, 2, &it) == (s->v[k] >= 0) &&
		       (s->v[k] < 0 || holds(l, key, pool[s->v[k]], len[s->v[k]]));
	}
	return good;
}

static void lost(struct one *o)
{
	hf_log_close(o->l);
	o->l = NULL;
	o->owner = -1;
}

static void look(struct one *o)
{
	int n = rnd(NODES), ret;
	struct hf_log *l;

	if (!up[n])
		return;
	ret = hf_log_read(nd[n].st, &o->id, 0, &l, &err);
	if (ret) {
		if (ret != -ENOENT || o->gen)
			bad("cannot be read", o);
		return;
	}
	if (!is_state(l, &o->conf) && !(o->unsure && is_state(l, &o->maybe)))
		bad("is not what was confirmed", o);
	hf_log_close(l);
	if (!o->pin)
		return;
	if (hf_log_read(nd[n].st, &o->id, o->pin, &l, &err)) {
		bad("a pinned generation cannot be read", o);
		return;
	}
	if (!is_state(l, &o->pinned))
		bad("a pinned generation is not what it was", o);
	hf_log_close(l);
}

static void claim(struct one *o, int n)
{
	struct hf_log *l;

	if (!up[n])
		return;
	if (o->owner == n)
		lost(o);
	if (hf_log_claim(nd[n].st, &o->id, HF_CLAIM_FENCED, &l, &err))
		return;		/* a write failed, or there are too many seals by now that were written in vain */
	if (o->l && !hf_log_confirm(o->l, &err))
		bad("has two owners", o);
	lost(o);
	if (hf_log_gen(l) < o->gen)
		bad("goes back", o);
	if (o->unsure && is_state(l, &o->maybe))
		o->conf = o->maybe;
	else if (!is_state(l, &o->conf))
		bad("is taken over as another", o);
	o->gen = hf_log_gen(l);
	o->unsure = false;
	o->now = o->conf;
	o->l = l;
	o->owner = n;
}

/* no room: history goes; else it is not known what came of it */
static void failed(struct one *o, int ret)
{
	if (ret == -ENOSPC) {
		hf_log_abort(o->l);
		o->now = o->conf;
		ret = o->gen ? hf_log_base(o->l, 0, &err) : 0;
		if (!ret || ret == -ENOSPC)
			return;
	}
	lost(o);
}

static int end_of(struct one *o, const struct state *s)
{
	uint64_t gen;
	int ret = hf_log_commit(o->l, 0, NULL, &gen, &err);

	if (ret != -ENOSPC) {
		o->maybe = *s;
		o->unsure = true;
	}
	if (!ret)
		ret = hf_log_confirm(o->l, &err);
	if (ret) {
		failed(o, ret);
		return ret;
	}
	o->unsure = false;
	o->conf = *s;
	o->gen = gen;
	commits++;
	return 0;
}

static ssize_t cut_off(void *arg, void *buf, size_t n, uint64_t off)
{
	if (off >= HF_CHUNK_MAX)
		return -EAGAIN;
	memcpy(buf, (char *)arg + off, n);
	return n;
}

static void pin(struct one *o)
{
	uint64_t gen = o->gen;
	int ret;

	if (o->pin) {
		must(hf_log_unpin(o->l, "p", &err));
		o->pin = 0;
		/* either way, what comes of it: an unpinned name may be there still */
		(void)end_of(o, &o->conf);
		return;
	}
	ret = hf_log_pin(o->l, gen, "p", &err);
	if (ret == -EEXIST)
		return;
	if (ret)
		failed(o, ret);
	else if (!end_of(o, &o->conf)) {
		o->pin = gen;
		o->pinned = o->conf;
	}
}

static void restart(int n)
{
	hf_seam_init("");
	for (int i = 0; i < LOGS; i++)
		if (logs[i].owner == n)
			lost(&logs[i]);
	if (up[n])
		node_close(&nd[n]);
	up[n] = !up[n] || rnd(2);
	if (up[n])
		node_open(&nd[n]);
}

static void eio(void)
{
	static const char *const at[] = { "disk.write", "disk.pack", "disk.read" };
	char s[48];

	snprintf(s, sizeof(s), "%s:%u:eio", at[rnd(3)], 1 + rnd(3));
	hf_seam_init(s);
}

static void step(struct one *o)
{
	int k = rnd(KEYS), c = rnd(POOL), ret = 0;
	struct hf_source part = { .size = 140000, .read = cut_off, .arg = pool[c] };
	bool idle = o->l && !hf_log_pending(o->l);
	char key[8];

	snprintf(key, sizeof(key), "k%d", k);
	switch (o->l ? rnd(26) : 20) {
	case 0 ... 8:
		ret = put(o->l, key, pool[c], len[c]);
		if (!ret)
			o->now.v[k] = c;
		break;
	case 9:
		must(hf_log_del(o->l, key, 2));
		o->now.v[k] = -1;
		break;
	case 10:
		must(hf_log_unput(o->l, key, 2));
		o->now.v[k] = o->conf.v[k];
		break;
	case 11:
		if (len[c] >= part.size)
			ret = hf_log_put(o->l, key, 2, "attr", 4, &part, NULL, &err);
		ret = ret == -EAGAIN ? 0 : ret;
		break;
	case 12:
		hf_log_abort(o->l);
		o->now = o->conf;
		break;
	case 13 ... 17:
		if (!idle)
			(void)end_of(o, &o->now);
		break;
	case 18:
		ret = idle && o->gen ? hf_log_base_part(o->l, 100000, &err) : 0;
		break;
	case 19:
		ret = idle && o->gen ? hf_log_base(o->l, rnd(2) * 10, &err) : 0;
		break;
	case 20:
		if (!o->l || !rnd(4))
			claim(o, rnd(NODES));
		break;
	case 21:
		if (idle && rnd(2)) {
			(void)hf_log_release(o->l, &err);
			lost(o);
		}
		break;
	case 22:
		if (!rnd(3))
			lost(o);
		break;
	case 23:
		if (idle && o->gen)
			pin(o);
		break;
	case 24:
		if (!rnd(12))
			restart(rnd(NODES));
		break;
	case 25:
		if (!rnd(4))
			eio();
	}
	if (ret < 0)
		failed(o, ret);
	if (!rnd(6))
		hf_seam_init("");
}

static void check(void)
{
	char *json = NULL;

	if (hf_disk_check(conf, dev, &json, &err))
		bad("disk check", NULL);
	free(json);
}

static void storm(unsigned seed, unsigned steps, unsigned mb)
{
	rs = seed;
	wrong = commits = 0;
	setup(NODES, (uint64_t)mb << 20, 500);
	for (int i = 0; i < NODES; i++) {
		char name[8];

		snprintf(name, sizeof(name), "n%d", i);
		node_make(&nd[i], name);
		up[i] = true;
	}
	memset(logs, 0, sizeof(logs));
	for (int i = 0; i < LOGS; i++) {
		logs[i].id = (struct hf_logid)LOGID(i + 1, i + 1);
		logs[i].owner = -1;
		memset(&logs[i].conf, -1, sizeof(logs[i].conf));
	}
	for (unsigned i = 0; i < steps; i++) {
		step(&logs[rnd(LOGS)]);
		if (i % 5 == 0) {
			hf_seam_init("");
			look(&logs[rnd(LOGS)]);
		}
		if (i % 400 == 399)
			check();
	}
	hf_seam_init("");
	for (int i = 0; i < LOGS; i++)
		look(&logs[i]);
	ok(!wrong && commits > 20, "P1, P4: seed %u, %u MiB: %u commits of %u logs on %u nodes", seed, mb, commits, LOGS, NODES);
	for (int i = 0; i < NODES; i++)
		if (up[i])
			restart(i);
	for (int i = 0; i < NODES; i++)
		if (up[i])
			node_close(&nd[i]);
	hf_keys_free(keys);
	cleanup();
}

int main(int argc, char **argv)
{
	unsigned from = argc > 1 ? atoi(argv[1]) : 4, to = argc > 2 ? atoi(argv[2]) : 6;

	rs = 7;
	for (int i = 0; i < POOL; i++) {
		len[i] = i % 3 ? rnd(300000) + 1 : rnd(2000) + 1;
		if (i % 7 == 0)
			len[i] = (size_t)HF_CHUNK_MAX * (1 + rnd(4));
		pool[i] = malloc(len[i]);
		for (size_t k = 0; k < len[i]; k++)
			pool[i][k] = i % 5 == 4 && k % 64 ? 0 : rnd(256);
	}
	for (unsigned seed = from; seed <= to; seed++)
		storm(seed, 1600, 20 + seed % 3 * 8);
	for (int i = 0; i < POOL; i++)
		free(pool[i]);
	return tap_done();
}
