// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P1 and P4 of the store: nodes in processes of their own claim one log at the same
 * time, thousands of times, each taking it from the other, and pause at random
 * between any two steps. Whatever was confirmed must be in the end's state.
 */
#include "store_test.h"
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#define NODES 3
#define MAXGEN 200000
static struct hf_logid id = LOGID(21, 2);
static struct { volatile uint32_t who[MAXGEN]; volatile uint64_t claims, lost, confirmed, stale, twice, errors; uint32_t last[NODES][500][3]; } *sh;

static void pause_a_little(unsigned *seed)
{
	if (rand_r(seed) % 8 == 0)
		usleep(rand_r(seed) % 3000);
	else if (rand_r(seed) % 4 == 0)
		sched_yield();
}

static int worker(unsigned me, unsigned rounds, unsigned seed)
{
	struct node n;
	char name[16];
	unsigned lost = 0;

	snprintf(name, sizeof(name), "node%u", me);
	node_make(&n, name);
	for (unsigned r = 0; r < rounds; r++) {
		struct hf_log *l;
		int ret = hf_log_claim(n.st, &id, HF_CLAIM_FENCED, &l, &err);

		if (ret == -EAGAIN) {
			__sync_fetch_and_add(&sh->lost, 1);
			lost += lost < 6;
			usleep(rand_r(&seed) % (2000u << lost));
			continue;
		}
		if (ret) {
			fprintf(stderr, "# node%u: claim: %d %s\n", me, ret, err.msg);
			__sync_fetch_and_add(&sh->errors, 1);
			return 1;
		}
		__sync_fetch_and_add(&sh->claims, 1);
		lost = 0;
		for (unsigned i = 0; i < 1 + r % 3; i++) {
			char key[32];
			uint64_t gen;

			snprintf(key, sizeof(key), "%u-%u-%u", me, r % 500, i);
			/* what is confirmed last under a key is what must be found */
			ret = hf_log_put(l, key, strlen(key), &r, sizeof(r), NULL, NULL, &err);
			pause_a_little(&seed);
			if (!ret)
				ret = hf_log_commit(l, 0, NULL, &gen, &err);
			pause_a_little(&seed);
			if (!ret)
				ret = hf_log_confirm(l, &err);
			if (!ret) {
				uint32_t before = __sync_val_compare_and_swap(&sh->who[gen % MAXGEN], 0, me + 1);

				if (before)
					__sync_fetch_and_add(&sh->twice, 1);
				__sync_fetch_and_add(&sh->confirmed, 1);
				sh->last[me][r % 500][i] = r + 1;
			} else if (ret == -ESTALE) {
				__sync_fetch_and_add(&sh->stale, 1);
				break;
			} else {
				fprintf(stderr, "# node%u: %d %s\n", me, ret, err.msg);
				__sync_fetch_and_add(&sh->errors, 1);
				return 1;
			}
		}
		if (!ret && hf_log_wants_base(l) && rand_r(&seed) % 3 == 0) {
			ret = hf_log_base(l, 20, &err);
			if (ret && ret != -ESTALE) {
				fprintf(stderr, "# node%u: base: %d %s\n", me, ret, err.msg);
				__sync_fetch_and_add(&sh->errors, 1);
				return 1;
			}
		}
		pause_a_little(&seed);
		hf_log_close(l);
	}
	node_close(&n);
	return 0;
}

int main(void)
{
	unsigned seed = getenv("HF_SEED") ? strtoul(getenv("HF_SEED"), NULL, 0) : (unsigned)time(NULL);
	unsigned rounds = getenv("HF_ROUNDS") ? strtoul(getenv("HF_ROUNDS"), NULL, 0) : 600;
	struct hf_log *l;
	pid_t pid[NODES];
	int bad = 0;
	char *json = NULL;
	uint64_t max = 0;

	printf("# HF_SEED=%u HF_ROUNDS=%u repeats it\n", seed, rounds);
	fflush(stdout);
	setup(NODES, 24u << 20, 500);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < NODES; i++) {
		pid[i] = fork();
		if (!pid[i])
			_exit(worker(i, rounds, seed + i));
	}
	for (unsigned i = 0; i < NODES; i++) {
		int st;

		waitpid(pid[i], &st, 0);
		bad |= !WIFEXITED(st) || WEXITSTATUS(st);
	}
	printf("# %llu claims won, %llu lost, %llu commits confirmed, %llu stale\n", (unsigned long long)sh->claims,
	       (unsigned long long)sh->lost, (unsigned long long)sh->confirmed, (unsigned long long)sh->stale);
	ok(!bad && !sh->errors, "no node failed");
	ok(sh->claims > rounds / 2, "claims were won");
	ok(sh->stale > 0, "owners were fenced out in between");
	is(sh->twice, 0, "P4: no generation was confirmed by two");
	struct hf_store_params p = { .keys = keys };
	struct hf_store *st;

	must(hf_store_open(dev, &p, &st, &err));
	must(hf_log_read(st, &id, 0, &l, &err));
	for (uint64_t g = 1; g < MAXGEN; g++)
		if (sh->who[g])
			max = g;
	ok(hf_log_gen(l) >= max, "P1: the newest state is at least the newest confirmed generation (%llu of %llu)",
	   (unsigned long long)max, (unsigned long long)hf_log_gen(l));
	unsigned missing = 0, looked = 0;

	for (unsigned k = 0; k < NODES * 500 * 3; k++) {
		unsigned me = k / 1500, r = k / 3 % 500, i = k % 3, v = 0;
		char key[32];
		struct hf_item it = { 0 };

		if (!sh->last[me][r][i])
			continue;
		looked++;
		snprintf(key, sizeof(key), "%u-%u-%u", me, r, i);
		if (hf_log_get(l, key, strlen(key), &it) && it.attrlen == sizeof(v))
			memcpy(&v, it.attr, sizeof(v));
		/* a later commit that was not confirmed may have been adopted */
		missing += !it.attr || v + 1 < sh->last[me][r][i];
	}
	ok(looked && !missing, "P1: every confirmed value is there (%u looked at, %u missing)", looked, missing);
	hf_log_close(l);
	st->ops->close(st);
	is(hf_disk_check(conf, dev, &json, &err), 0, "the disk is sound");
	if (err.exit)
		printf("# %s\n", err.msg);
	free(json);
	return tap_done();
}
