// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hooks: every program in hooks_dir is started with EVENT RESOURCE GENERATION, in the order of
 * their names, one after the other for each resource. Threads of their own start and reap
 * them, so that whoever tells an event never waits, and a hook may ask the daemon whatever it
 * wants.
 *
 * Lock: hook_lock, a leaf, protects the queue and what is running; never held over a hook.
 * Bounded: QUEUE events wait, WORKERS hooks run, each for hooks_timeout. `committed`, which
 * comes with every change, is told once in a COMMITTED_MS, with the newest generation.
 */
#include "resource.h"
#include "notice.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 8
#define QUEUE 256
#define COMMITTED_MS 1000
#define GRACE_MS 2000		/* between SIGTERM and SIGKILL */
#define ENV_MAX 16

static const char *const names[] = {
	[HOOK_ONLINE] = "online", [HOOK_OFFLINE] = "offline", [HOOK_RESTORED] = "restored",
	[HOOK_COMMITTED] = "committed", [HOOK_STALE] = "stale", [HOOK_DEGRADED] = "degraded",
	[HOOK_FAILED] = "failed",
};

struct hook {
	struct hook *next;
	enum hook_event event;
	char resource[HF_NAME_MAX + 1];
	uint64_t gen, due_ms;
	char *why;
};

static pthread_mutex_t hook_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t hook_cond, hook_done;
static struct hook *queue;
static unsigned queued, workers, idle;
static const struct hook *running[WORKERS];
static bool hurry;
static struct hook_counts counts;

static bool ours(const struct stat *st)
{
	/* what others could write to, root does not run */
	return !(st->st_mode & 0022) && st->st_uid == geteuid();
}

static bool fit(const char *path, const struct hook *h)
{
	struct stat st;

	if (stat(path, &st) || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return false;
	if (!ours(&st) && h->event != HOOK_COMMITTED)
		notice(N_HOOK, HF_LOG_WARN, NULL,
		       "hook %s is not run: others may write to it; chown root and chmod go-w it", path);
	return ours(&st);
}

static void count(uint64_t ms, bool bad, bool late)
{
	pthread_mutex_lock(&hook_lock);
	counts.runs++;
	counts.ms += ms;
	counts.failed += bad;
	counts.timed_out += late;
	pthread_mutex_unlock(&hook_lock);
}

/* Waits for @pid until @deadline; false: it still runs. */
static bool reap(pid_t pid, int pidfd, uint64_t deadline, int *status)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	for (;;) {
		uint64_t now = hf_now_ms();

		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		if (now >= deadline)
			return false;
		if (pidfd < 0)
			hf_sleep_ms(20);
		else
			poll(&p, 1, deadline - now < 60000 ? deadline - now : 60000);
	}
}

static void spawn_one(const char *path, const struct hook *h, char *gen, char **env)
{
	char *argv[] = { (char *)path, (char *)names[h->event], (char *)h->resource, gen, NULL };
	uint64_t t0 = hf_now_ms();
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none, all;
	int ret, fd, status = 0;
	bool late = false;
	pid_t pid;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&at);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setsigdefault(&at, &all);
	posix_spawnattr_setpgroup(&at, 0);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, STDERR_FILENO, STDOUT_FILENO);
	posix_spawn_file_actions_addchdir_np(&fa, "/");
	ret = posix_spawn(&pid, path, &fa, &at, argv, env);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&at);
	if (ret) {
		notice(N_HOOK, HF_LOG_WARN, h->resource, "hook %s cannot be started: %s", path, strerror(ret));
		count(0, true, false);
		return;
	}
	fd = pidfd_open(pid, 0);
	if (!reap(pid, fd, t0 + hfd.conf->hooks_timeout_ms, &status)) {
		late = true;
		kill(-pid, SIGTERM);
		if (!reap(pid, fd, hf_now_ms() + GRACE_MS, &status)) {
			kill(-pid, SIGKILL);
			reap(pid, fd, UINT64_MAX, &status);
		}
	}
	if (fd >= 0)
		close(fd);
	count(hf_now_ms() - t0, late || status, late);
	if (late)
		notice(N_HOOK, HF_LOG_WARN, h->resource, "hook %s %s %s took longer than hooks_timeout (%llu ms) and was ended",
		       path, names[h->event], h->resource, (unsigned long long)hfd.conf->hooks_timeout_ms);
	else if (status)
		notice(N_HOOK, HF_LOG_WARN, h->resource, "hook %s %s %s ended with status %d", path, names[h->event], h->resource,
		       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* Nothing of the daemon's own environment that is meant for the daemon alone. */
static void environment(const struct hook *h, const char *gen, char *env[ENV_MAX])
{
	static const char *const keep[] = { "PATH", "HOME", "LANG", "TZ" };
	char *conf = realpath(hfd.conf->path, NULL);
	unsigned n = 0;

	for (unsigned i = 0; i < HF_ARRAY(keep); i++) {
		const char *v = getenv(keep[i]);

		if (v || !i)
			env[n++] = hf_strf("%s=%s", keep[i], v ? v : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	}
	env[n++] = hf_strf("HOLDFAST_EVENT=%s", names[h->event]);
	env[n++] = hf_strf("HOLDFAST_RESOURCE=%s", h->resource);
	env[n++] = hf_strf("HOLDFAST_GENERATION=%s", gen);
	env[n++] = hf_strf("HOLDFAST_NODE=%s", hfd.id.name);
	env[n++] = hf_strf("HOLDFAST_CLUSTER=%s", hfd.cluster);
	env[n++] = hf_strf("HOLDFAST_CONF=%s", conf ? conf : hfd.conf->path);
	env[n++] = hf_strf("HOLDFAST_WHY=%s", h->why ? h->why : "");
	env[n] = NULL;
	free(conf);
}

static void run(const struct hook *h)
{
	char gen[24], *env[ENV_MAX], *dir = hfd.conf->hooks_dir;
	struct dirent **ent = NULL;
	struct stat st;
	int n = scandir(dir, &ent, NULL, alphasort);

	if (n > 2 && (stat(dir, &st) || !ours(&st))) {
		if (h->event != HOOK_COMMITTED)
				notice(N_HOOK, HF_LOG_WARN, NULL,
			       "no hook in %s is run: others may write to the directory; chown root and chmod go-w it",
			       dir);
	} else if (n > 2) {
		snprintf(gen, sizeof(gen), "%llu", (unsigned long long)h->gen);
		environment(h, gen, env);
		for (int i = 0; i < n; i++) {
			char *path = hf_strf("%s/%s", dir, ent[i]->d_name);

			if (path && ent[i]->d_name[0] != '.' && fit(path, h))
				spawn_one(path, h, gen, env);
			free(path);
		}
		for (unsigned i = 0; env[i]; i++)
			free(env[i]);
	}
	for (int i = 0; i < n; i++)
		free(ent[i]);
	free(ent);
}

static bool is_running(const char *resource)
{
	for (unsigned i = 0; i < WORKERS; i++)
		if (running[i] && !strcmp(running[i]->resource, resource))
			return true;
	return false;
}

/* The first event of a resource of which no hook runs; *@wait: how long until there may be one. */
static struct hook *take(uint64_t *wait)
{
	uint64_t now = hf_now_ms();
	struct hook *h, *o, **p;

	*wait = 60000;
	for (p = &queue; (h = *p); p = &h->next) {
		bool later = false, first = true;

		for (o = queue; o != h && first; o = o->next)
			first = strcmp(o->resource, h->resource);
		if (!first || is_running(h->resource))
			continue;
		/* what follows it is not held up by it */
		for (o = h->next; o && !later; o = o->next)
			later = !strcmp(o->resource, h->resource);
		if (hurry || later || h->due_ms <= now) {
			*p = h->next;
			queued--;
			return h;
		}
		if (h->due_ms - now < *wait)
			*wait = h->due_ms - now;
	}
	return NULL;
}

static void *worker(void *arg)
{
	const struct hook **mine = arg;
	struct timespec ts;
	struct hook *h;
	uint64_t wait;

	pthread_mutex_lock(&hook_lock);
	for (;;) {
		h = take(&wait);
		if (h) {
			*mine = h;
			pthread_mutex_unlock(&hook_lock);
			run(h);
			pthread_mutex_lock(&hook_lock);
			*mine = NULL;
			free(h->why);
			free(h);
			/* one that waited for this resource, or hooks_stop() */
			pthread_cond_broadcast(&hook_cond);
			pthread_cond_broadcast(&hook_done);
			continue;
		}
		hf_deadline(&ts, wait);
		idle++;
		pthread_cond_timedwait(&hook_cond, &hook_lock, &ts);
		idle--;
	}
	return NULL;
}

/* One more, where those that wait are too few: who was woken for an event before waits still until it has the lock.
 * With hook_lock held. */
static void more_workers(void)
{
	pthread_t t;

	if (idle >= queued || workers == WORKERS || pthread_create(&t, NULL, worker, &running[workers]))
		return;
	pthread_detach(t);
	workers++;
}

static struct hook *waiting(enum hook_event event, const char *resource)
{
	for (struct hook *h = queue; h; h = h->next)
		if (h->event == event && !strcmp(h->resource, resource))
			return h;
	return NULL;
}

void hook_run(struct resource *r, enum hook_event event, uint64_t gen, const char *why)
{
	bool often = event == HOOK_COMMITTED, dropped = false;
	struct hook *h, **p;

	if (!hfd.conf->hooks_dir || access(hfd.conf->hooks_dir, F_OK))
		return;
	h = hf_alloc(sizeof(*h));
	if (!h)
		return;
	pthread_mutex_lock(&hook_lock);
	if (often && waiting(event, r->name)) {
		waiting(event, r->name)->gen = gen;
		free(h);
		goto out;
	}
	if (queued == QUEUE) {
		dropped = !counts.dropped++;
		free(h);
		goto out;
	}
	h->event = event;
	memcpy(h->resource, r->name, sizeof(h->resource));
	h->gen = gen;
	h->why = why ? strdup(why) : NULL;
	if (often) {
		h->due_ms = hf_now_ms();
		if (h->due_ms < r->hook_ms + COMMITTED_MS)
			h->due_ms = r->hook_ms + COMMITTED_MS;
		r->hook_ms = h->due_ms;
	}
	for (p = &queue; *p; p = &(*p)->next)
		;
	*p = h;
	queued++;
	more_workers();
	pthread_cond_signal(&hook_cond);
	hf_seam("hooks.queued");
out:
	pthread_mutex_unlock(&hook_lock);
	if (dropped)
		notice(N_HOOK, HF_LOG_WARN, r->name, "%d events wait for hooks that take too long: more are not told to hooks",
		       QUEUE);
}

void hook_state(struct resource *r, enum rstate was, enum rstate now, const char *why)
{
	bool stale;
	uint64_t gen;

	pthread_mutex_lock(&r->lock);
	stale = r->stale;
	gen = r->confirmed;
	pthread_mutex_unlock(&r->lock);
	if (now == RS_FAILED)
		hook_run(r, HOOK_FAILED, gen, why);
	else if (now == RS_ONLINE && was != RS_OFFLINE_PENDING)
		hook_run(r, HOOK_ONLINE, gen, why);
	else if (now == RS_OFFLINE && was != RS_ONLINE_PENDING && !stale)
		hook_run(r, HOOK_OFFLINE, gen, why);
}

void hooks_counted(struct hook_counts *c)
{
	pthread_mutex_lock(&hook_lock);
	*c = counts;
	c->waiting = queued;
	pthread_mutex_unlock(&hook_lock);
}

void hooks_init(void)
{
	pthread_condattr_t a;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&hook_cond, &a);
	pthread_cond_init(&hook_done, &a);
	pthread_condattr_destroy(&a);
}

/* What waits is started, within @ms; what runs then goes on without the daemon. */
void hooks_stop(unsigned ms)
{
	struct timespec ts;

	hf_deadline(&ts, ms);
	pthread_mutex_lock(&hook_lock);
	hurry = true;
	pthread_cond_broadcast(&hook_cond);
	while (queue && !pthread_cond_timedwait(&hook_done, &hook_lock, &ts))
		;
	pthread_mutex_unlock(&hook_lock);
}
