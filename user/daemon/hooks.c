// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hooks: every executable in hooks_dir is started with EVENT RESOURCE
 * GENERATION. A thread of its own starts and reaps them, so that whoever
 * called never waits.
 */
#include "daemon.h"
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct hook {
	char event[32];
	char resource[HF_NAME_MAX + 1];
	char gen[24];
};

static bool fit(const char *path)
{
	struct stat st;

	/* what others could write to, root does not run */
	return !stat(path, &st) && S_ISREG(st.st_mode) && (st.st_mode & 0111) &&
	       !(st.st_mode & 0022) && st.st_uid == geteuid();
}

static void spawn_one(const char *path, struct hook *h)
{
	char *argv[] = { (char *)path, h->event, h->resource, h->gen, NULL };
	posix_spawnattr_t at;
	sigset_t none, all;
	pid_t pid;
	int ret;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&at);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setsigdefault(&at, &all);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	ret = posix_spawn(&pid, path, NULL, &at, argv, environ);
	posix_spawnattr_destroy(&at);
	if (ret) {
		hf_logf(HF_LOG_WARN, "hook %s: %s", path, strerror(ret));
		return;
	}
	if (waitpid(pid, &ret, 0) == pid && ret)
		hf_logf(HF_LOG_WARN, "hook %s %s %s ended with status %d", path, h->event,
			h->resource, WIFEXITED(ret) ? WEXITSTATUS(ret) : 128 + WTERMSIG(ret));
}

static void *thread(void *arg)
{
	struct hook *h = arg;
	struct dirent **ent = NULL;
	int n = scandir(hfd.conf->hooks_dir, &ent, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		char *path = hf_strf("%s/%s", hfd.conf->hooks_dir, ent[i]->d_name);

		if (path && ent[i]->d_name[0] != '.' && fit(path))
			spawn_one(path, h);
		free(path);
		free(ent[i]);
	}
	free(ent);
	free(h);
	return NULL;
}

void hook_run(const char *event, const char *resource, uint64_t gen)
{
	struct hook *h;
	pthread_t t;

	if (!hfd.conf->hooks_dir)
		return;
	h = hf_alloc(sizeof(*h));
	if (!h)
		return;
	snprintf(h->event, sizeof(h->event), "%s", event);
	snprintf(h->resource, sizeof(h->resource), "%s", resource);
	snprintf(h->gen, sizeof(h->gen), "%llu", (unsigned long long)gen);
	if (pthread_create(&t, NULL, thread, h)) {
		free(h);
		return;
	}
	pthread_detach(t);
}
