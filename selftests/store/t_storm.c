// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P1 and P4 in a storm: a random workload of several nodes, each in a process of its
 * own, with errors and kills at each named step and at any write, read or pack.
 * Whatever was confirmed must be there after each round, and the disk must be sound.
 */
#include "store_test.h"
#include <sys/mman.h>
#include <time.h>

static void fill(char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = seed >> 16;
	}
}

#define NODES 3
#define LOGS 3
#define KEYS 24
struct shared {
	struct { uint64_t ver, gen, tried_del; bool del; } k[LOGS][KEYS];
	volatile uint64_t ver, confirmed, claims, killed, broken, joins_failed, full, bases, alarms;
	char alarm[1400];
};
static struct shared *sh;
static struct hf_logid logs[LOGS] = { LOGID(11, 0), LOGID(12, 2), LOGID(13, 3) };

static void alarm_of(const char *what, int ret)
{
	if (!__sync_fetch_and_add(&sh->alarms, 1))
		snprintf(sh->alarm, sizeof(sh->alarm), "%s: %d %s", what, ret, err.msg);
}

static size_t size_of_ver(uint64_t v) { return v % 5 == 0 ? 0 : v % 7 == 0 ? 90000 + v % 30000 : 1 + v * 37 % 3000; }

static int transaction(struct hf_log *l, unsigned g, unsigned *seed)
{
	static char buf[200000];
	struct { unsigned k; uint64_t ver; bool del; } t[6];
	unsigned n = 1 + rand_r(seed) % 6;
	uint64_t gen;
	int ret = 0;

	for (unsigned i = 0; i < n && !ret; i++) {
		uint64_t v = __sync_add_and_fetch(&sh->ver, 1);
		struct hf_source s = { .size = size_of_ver(v), .read = mem_read, .arg = buf };
		char key[16];

		t[i].k = rand_r(seed) % KEYS;
		t[i].ver = v;
		t[i].del = rand_r(seed) % 6 == 0;
		snprintf(key, sizeof(key), "key%u", t[i].k);
		if (t[i].del) {
			sh->k[g][t[i].k].tried_del = v;
			ret = hf_log_del(l, key, strlen(key));
			continue;
		}
		fill(buf, s.size, v);
		ret = hf_log_put(l, key, strlen(key), &v, sizeof(v), s.size ? &s : NULL, NULL, &err);
	}
	if (!ret && rand_r(seed) % 12 == 0) {
		hf_log_abort(l);
		return 0;
	}
	if (!ret)
		ret = hf_log_commit(l, 0, NULL, &gen, &err);
	if (!ret)
		ret = hf_log_confirm(l, &err);
	if (ret)
		return ret;
	__sync_fetch_and_add(&sh->confirmed, 1);
	for (unsigned i = 0; i < n; i++)
		if (gen > sh->k[g][t[i].k].gen || t[i].ver > sh->k[g][t[i].k].ver) {
			sh->k[g][t[i].k].gen = gen;
			sh->k[g][t[i].k].ver = t[i].ver;
			sh->k[g][t[i].k].del = t[i].del;
		}
	return 0;
}

static void work(struct node *n, unsigned rounds, const char *spec, unsigned seed)
{
	struct hf_store_params p = { .keys = keys, .id = &n->id, .lock_fd = &n->lock };
	char path[400];
	int ret;

	snprintf(path, sizeof(path), "%s/%s.lock", dir, n->id.name);
	n->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	must(flock(n->lock, LOCK_EX));
	must(hf_store_open(dev, &p, &n->st, &err));
	hf_seam_init(spec);
	ret = n->st->ops->join(n->st, &err);
	if (ret) {
		__sync_fetch_and_add(&sh->joins_failed, 1);
		return;
	}
	for (unsigned r = 0; r < rounds; r++) {
		unsigned g = rand_r(&seed) % LOGS;
		struct hf_log *l;

		ret = hf_log_claim(n->st, &logs[g], HF_CLAIM_FENCED, &l, &err);
		if (ret == -EAGAIN || ret == -EIO || ret == -ENOSPC) {
			usleep(rand_r(&seed) % 3000);
			continue;
		}
		if (ret) {
			alarm_of("claim", ret);
			return;
		}
		__sync_fetch_and_add(&sh->claims, 1);
		for (unsigned i = rand_r(&seed) % 6; i-- && !ret; ) {
			ret = transaction(l, g, &seed);
			if (ret == -ENOSPC) {
				__sync_fetch_and_add(&sh->full, 1);
				hf_log_abort(l);
				ret = hf_log_base(l, 0, &err);
			} else if (!ret && (hf_log_wants_base(l) || rand_r(&seed) % 8 == 0)) {
				ret = hf_log_base(l, rand_r(&seed) % 20, &err);
				__sync_fetch_and_add(&sh->bases, !ret);
			} else if (!ret && rand_r(&seed) % 6 == 0) {
				ret = hf_log_note(l, &err);
			} else if (ret == -EIO && rand_r(&seed) % 2) {
				hf_log_abort(l);	/* go on where that is possible */
				ret = 0;
			}
		}
		if (!ret && rand_r(&seed) % 4 == 0)
			ret = hf_log_release(l, &err);
		if (ret && ret != -EIO && ret != -EREMOTEIO && ret != -ESTALE && ret != -ENOSPC)
			alarm_of("work", ret);
		__sync_fetch_and_add(&sh->broken, ret == -EREMOTEIO);
		hf_log_close(l);
	}
}

/* generations without a gap, up to the newest */
static int next_gen(void *ctx, const struct hf_gen_info *g)
{
	uint64_t *last = ctx;
	int ret = *last && g->gen != *last + 1 ? -EILSEQ : 0;

	*last = g->gen;
	return ret;
}

static void check_logs(struct hf_store *st, unsigned round, const char *spec)
{
	static char want[200000];

	for (unsigned g = 0; g < LOGS; g++) {
		struct hf_log *l;
		int ret;

		err = (struct hf_err){ 0 };
		ret = hf_log_read(st, &logs[g], 0, &l, &err);
		if (ret == -ENOENT && !err.msg[0])
			continue;
		if (ret) {
			bool any = false;

			for (unsigned k = 0; k < KEYS; k++)
				any |= sh->k[g][k].ver;
			if (any || ret != -ENOENT)
				alarm_of("reading", ret);
			continue;
		}
		for (unsigned k = 0; k < KEYS; k++) {
			struct hf_item it;
			uint64_t v = 0;
			char key[16], what[200];

			snprintf(key, sizeof(key), "key%u", k);
			if (!hf_log_get(l, key, strlen(key), &it)) {
				if (!sh->k[g][k].ver || sh->k[g][k].del || sh->k[g][k].tried_del > sh->k[g][k].ver)
					continue;
			} else {
				memcpy(&v, it.attr, sizeof(v));
				fill(want, size_of_ver(v), v);
				if (v >= sh->k[g][k].ver && holds(l, key, want, size_of_ver(v)))
					continue;
			}
			snprintf(what, sizeof(what), "round %u (%s): log %u %s holds version %llu, confirmed was %llu",
				 round, spec, g, key, (unsigned long long)v, (unsigned long long)sh->k[g][k].ver);
			alarm_of(what, -EBADMSG);
		}
		uint64_t last = 0, newest = hf_log_gen(l);

		ret = hf_log_history(st, &logs[g], next_gen, &last, &err);
		if (ret || last != newest)
			alarm_of("history", ret);
		hf_log_close(l);
	}
}

static void storm(unsigned secs, unsigned seed)
{
	static const char *const step[] = {
		"claim.ballot", "claim.read", "claim.seal", "claim.accept", "claim.check", "commit.append",
		"base.append", "trim.confirm", "trim.row", "release.append", "release.row",
	};
	struct node n[NODES] = { 0 };
	struct hf_store_params p;
	struct hf_store *st;
	unsigned round = 0;
	time_t until;

	setup(NODES, seed % 2 ? 14u << 20 : 5u << 20, 500);
	for (unsigned i = 0; i < NODES; i++) {
		char name[8];

		snprintf(name, sizeof(name), "n%u", i);
		must(hf_disk_take_slot(dev, keys, NULL, name, &n[i].id, &err));
	}
	p = (struct hf_store_params){ .keys = keys };
	must(hf_store_open(dev, &p, &st, &err));
	for (until = time(NULL) + secs; time(NULL) < until && !sh->alarms; round++) {
		unsigned both = 1 + rand_r(&seed) % 2, first = rand_r(&seed) % NODES;
		char spec[2][80];
		pid_t pid[2];

		for (unsigned i = 0; i < both; i++) {
			const char *what = rand_r(&seed) % 2 ? "kill" : "eio";
			unsigned s = seed = seed * 1103515245 + 12345;

			if (round < 2 * HF_ARRAY(step) * 2)	/* each of them, both ways */
				snprintf(spec[i], sizeof(spec[i]), "%s:%u:%s", step[round / 2 % HF_ARRAY(step)],
					 round < 2 * HF_ARRAY(step) ? 1 : 1 + rand_r(&seed) % 4, round % 2 ? "kill" : "eio");
			else if (rand_r(&seed) % 2)
				snprintf(spec[i], sizeof(spec[i]), "%s:%u:%s", step[rand_r(&seed) % HF_ARRAY(step)],
					 1 + rand_r(&seed) % 6, what);
			else
				snprintf(spec[i], sizeof(spec[i]), "disk.write:%u:%s,disk.read:%u:%s,disk.pack:%u:%s",
					 1 + rand_r(&seed) % 120, what, 1 + rand_r(&seed) % 400,
					 rand_r(&seed) % 4 ? "eio" : "kill", 1 + rand_r(&seed) % 20, what);
			pid[i] = fork();
			if (!pid[i]) {
				work(&n[(first + i) % NODES], 4 + s % 8, spec[i], s);
				_exit(0);
			}
		}
		for (unsigned i = 0; i < both; i++) {
			int st_;

			waitpid(pid[i], &st_, 0);
			if (WIFSIGNALED(st_) && WTERMSIG(st_) == SIGKILL)
				sh->killed++;
			else if (!WIFEXITED(st_) || WEXITSTATUS(st_))
				alarm_of("a node crashed", st_);
		}
		check_logs(st, round, spec[0]);
		if (round % 10 == 9 && sound())
			alarm_of("disk check", -EBADMSG);
	}
	printf("# %u rounds: %llu claims, %llu commits confirmed, %llu bases, %llu kills, %llu broken logs, %llu times full, %llu failed starts\n",
	       round, (unsigned long long)sh->claims, (unsigned long long)sh->confirmed, (unsigned long long)sh->bases,
	       (unsigned long long)sh->killed, (unsigned long long)sh->broken, (unsigned long long)sh->full,
	       (unsigned long long)sh->joins_failed);
	ok(!sh->alarms, "P1, P4: whatever fails or is killed where, what was confirmed is there");
	if (sh->alarms)
		printf("# %s\n", sh->alarm);
	ok(sh->confirmed > 50 && sh->killed > 5 && sh->bases, "and the work went on");
	is(sound(), 0, "the disk is sound");
	st->ops->close(st);
	hf_keys_free(keys);
}

int main(void)
{
	unsigned seed = getenv("HF_SEED") ? strtoul(getenv("HF_SEED"), NULL, 0) : (unsigned)time(NULL);
	unsigned secs = getenv("HF_SECS") ? strtoul(getenv("HF_SECS"), NULL, 0) : 10;

	printf("# HF_SEED=%u HF_SECS=%u repeats it\n", seed, secs);
	fflush(stdout);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	storm(secs, seed);
	return tap_done();
}
