/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Conformance: P1 under a random schedule. Nodes in processes of their own take a log from
 * each other; the parent stops them at any instruction for a random time, and kills some, which
 * start again as new incarnations. Each time one owns the log, all that was confirmed by
 * anybody before it began to claim must be in what it adopted.
 */
#include "conform.h"
#include <sched.h>
#include <sys/mman.h>

#define STORM_NODES 3
#define STORM_GENS 100000
static struct {
	atomic_uint by[STORM_GENS];		/* who confirmed a generation, plus one */
	atomic_ullong top;			/* the newest of them */
	atomic_uint claims, lost, confirmed, stale, twice, missing, errors, starts;
	atomic_int stop;
} *storm_sh;

/* what else is wrong for a node, from its start on */
static void (*storm_weather)(unsigned me, unsigned *seed);

static void storm_pause(unsigned *seed)
{
	if (rand_r(seed) % 6 == 0)
		usleep(rand_r(seed) % 4000);
	else if (rand_r(seed) % 3 == 0)
		sched_yield();
}

static void storm_key(char key[16], uint64_t gen) { snprintf(key, 16, "g%llu", (unsigned long long)gen); }

/* every generation that was confirmed up to @top is in @l */
static unsigned storm_look(struct hf_log *l, uint64_t top)
{
	unsigned missing = hf_log_gen(l) < top;

	for (uint64_t g = 1; g <= top; g++) {
		struct hf_item it;
		char key[16];

		storm_key(key, g);
		if (storm_sh->by[g] && !hf_log_get(l, key, strlen(key), &it))
			missing++;
	}
	return missing;
}

static int storm_own(struct hf_log *l, unsigned me, unsigned *seed)
{
	int ret = 0;

	for (int i = rand_r(seed) % 4; i >= 0 && !ret; i--) {
		uint64_t gen = hf_log_gen(l) + 1;
		char key[16], big[3000];

		if (gen >= STORM_GENS)
			return 0;
		storm_key(key, gen);
		fill(big, sizeof(big), *seed);
		ret = put(l, key, big, rand_r(seed) % sizeof(big));
		storm_pause(seed);
		if (!ret)
			ret = hf_log_commit(l, 0, NULL, &gen, &err);
		storm_pause(seed);
		if (!ret)
			ret = hf_log_confirm(l, &err);
		if (!ret) {
			unsigned long long top = storm_sh->top;

			if (atomic_exchange(&storm_sh->by[gen], me + 1))
				storm_sh->twice++;
			while (top < gen && !atomic_compare_exchange_weak(&storm_sh->top, &top, gen))
				;
			storm_sh->confirmed++;
		}
	}
	if (!ret && rand_r(seed) % 3 == 0)
		ret = rand_r(seed) % 2 ? hf_log_base(l, rand_r(seed) % 10, &err) : hf_log_note(l, &err);
	if (!ret && rand_r(seed) % 8 == 0)
		ret = hf_log_release(l, &err);
	return ret;
}

/* A node until it is told to stop, or killed. */
static void storm_node(unsigned me, unsigned seed)
{
	static struct hf_logid id = LOGID(60, 5);
	struct node *n = me == 0 ? &na : me == 1 ? &nb : &nc;
	unsigned lost = 0;

	if (storm_weather)
		storm_weather(me, &seed);
	node_open(n);
	storm_sh->starts++;
	while (!storm_sh->stop) {
		uint64_t top = storm_sh->top;
		struct hf_log *l;
		int ret;

		err = (struct hf_err){ 0 };
		ret = hf_log_claim(n->st, &id, HF_CLAIM_FENCED, &l, &err);
		if (ret == -EAGAIN) {
			storm_sh->lost++;
			lost += lost < 6;
			usleep(rand_r(&seed) % (1500u << lost));
			continue;
		}
		lost = 0;
		if (!ret) {
			storm_sh->claims++;
			storm_sh->missing += storm_look(l, top);
			ret = storm_own(l, me, &seed);
			hf_log_close(l);
		}
		if (ret == -ESTALE)
			storm_sh->stale++;
		else if (ret && ret != -EAGAIN) {
			fprintf(stderr, "# node %u: %d %s\n", me, ret, err.msg);
			storm_sh->errors++;
			_exit(1);
		}
		storm_pause(&seed);
	}
	_exit(0);
}

static pid_t storm_start(unsigned me, unsigned seed)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		storm_node(me, seed);
	return pid;
}

static void storm(void)
{
	struct node *n[] = { &na, &nb, &nc };
	unsigned seed = seed_of_run(), ms = getenv("HF_STORM_MS") ? atoi(getenv("HF_STORM_MS")) : 5000, kills = 0, stops = 0;
	struct hf_logid id = LOGID(60, 5);
	struct hf_log *l = NULL;
	struct hf_store *st;
	pid_t pid[STORM_NODES];
	uint64_t end;

	store(3, 64u << 20);
	for (unsigned i = 0; i < STORM_NODES; i++)
		kill_node(n[i]);
	storm_sh = mmap(NULL, sizeof(*storm_sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < STORM_NODES; i++)
		pid[i] = storm_start(i, seed + i);
	while (storm_sh->starts < STORM_NODES && !storm_sh->errors)
		usleep(10000);
	for (end = hf_now_ms() + ms; hf_now_ms() < end && !storm_sh->errors; ) {
		unsigned i = rand_r(&seed) % STORM_NODES;

		usleep(rand_r(&seed) % 40000);
		if (rand_r(&seed) % 24 == 0) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], NULL, 0);
			pid[i] = storm_start(i, rand_r(&seed));
			kills++;
			continue;
		}
		kill(pid[i], SIGSTOP);
		usleep(rand_r(&seed) % 60000);
		kill(pid[i], SIGCONT);
		stops++;
	}
	storm_sh->stop = 1;
	for (unsigned i = 0; i < STORM_NODES; i++)
		waitpid(pid[i], NULL, 0);
	printf("# %u claims won, %u lost, %u commits confirmed, %u stale, %u stops, %u kills\n", storm_sh->claims,
	       storm_sh->lost, storm_sh->confirmed, storm_sh->stale, stops, kills);
	is(storm_sh->errors, 0, "no node failed");
	ok(storm_sh->claims > 20 && storm_sh->confirmed > 20 && storm_sh->stale > 0, "the log changed hands");
	is(storm_sh->twice, 0, "P4: no generation was confirmed twice");
	is(storm_sh->missing, 0, "P1: whatever was confirmed was in every later owner's log");
	st = reader();
	is(hf_log_read(st, &id, 0, &l, &err), 0, "in the end it can be read");
	is(l ? storm_look(l, storm_sh->top) : 1, 0, "P1: with all that was confirmed");
	hf_log_close(l);
	st->ops->close(st);
	munmap(storm_sh, sizeof(*storm_sh));
	is(sound(), 0, "the store is sound");
	store_end();
}
