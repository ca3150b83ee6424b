// SPDX-License-Identifier: GPL-2.0-or-later
/* tree events: what the module pushes, live. Events are hints: what was lost is in the dirty set. */
#include "tree.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* where the numbers of a tree's events are; they have no gaps */
struct place {
	uint32_t id;
	uint64_t next;
};

struct listener {
	struct cli *c;
	struct trees t;
	struct place *place;
	size_t nplaces;
	uint64_t left;		/* of --count; UINT64_MAX: no end */
	int ret;
};

static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	ended = 1;
}

static struct place *place_of(struct listener *l, uint32_t id)
{
	struct place *p;

	for (size_t i = 0; i < l->nplaces; i++)
		if (l->place[i].id == id)
			return &l->place[i];
	p = realloc(l->place, (l->nplaces + 1) * sizeof(*p));
	if (!p)
		return NULL;
	l->place = p;
	p[l->nplaces] = (struct place){ .id = id };
	return &p[l->nplaces++];
}

static void clock_text(char buf[32], int64_t *when_ms)
{
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	*when_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	if (!localtime_r(&ts.tv_sec, &tm) || !strftime(buf, 32, "%H:%M:%S", &tm))
		strcpy(buf, "?");
	snprintf(buf + strlen(buf), 32 - strlen(buf), ".%03d", (int)(ts.tv_nsec / 1000000));
}

static void print_change(struct listener *l, struct json_object *tree, uint32_t id, struct json_object *o)
{
	char at[32], what[160], state[80], user[64], login[64], *path;
	int64_t when_ms;

	clock_text(at, &when_ms);
	json_object_object_add(o, "tree", json_object_new_int64(id));
	json_object_object_add(o, "resource", json_object_get(jobj(tree, "resource")));
	json_object_object_add(o, "path", json_object_get(jobj(tree, "path")));
	if (l->c->json) {
		json_object_object_add(o, "event", json_object_new_string("change"));
		json_object_object_add(o, "when_ms", json_object_new_int64(when_ms));
		print_json(o);
		return;
	}
	path = tree_path(o);
	words(o, "ops", what, sizeof(what));
	words(o, "state", state, sizeof(state));
	who(o, "login", "loginuid", login, sizeof(login));
	say("%s  %u %-12s %s%s%s%s  %s  by %s%s%s, %s (pid %lld)\n", at, id, jstr(o, "resource"), what, *state ? " [" : "",
	    state, *state ? "]" : "", path ? path : "?", who(o, "user", "uid", user, sizeof(user)),
	    strcmp(login, "-") ? ", login " : "", strcmp(login, "-") ? login : "", jstr(o, "comm"), (long long)jint(o, "pid"));
	free(path);
}

/* @count 0: how many is not known yet */
static void print_lost(struct listener *l, uint32_t id, uint64_t count)
{
	struct json_object *o;

	if (!l->c->json && id)
		say("some events were lost: %llu of tree %u; holdfast tree dirty shows what changed\n", (unsigned long long)count,
		    id);
	else if (!l->c->json)
		say("some events were lost: they came faster than they were read; holdfast tree dirty shows what changed\n");
	if (!l->c->json)
		return;
	o = json_object_new_object();
	json_object_object_add(o, "event", json_object_new_string("lost"));
	if (id) {
		json_object_object_add(o, "tree", json_object_new_int64(id));
		json_object_object_add(o, "count", json_object_new_uint64(count));
	}
	print_json(o);
	json_object_put(o);
}

/* A tree that was not there when this began. It is none of ours when another resource was asked for. */
static struct json_object *tree_of(struct listener *l, uint32_t id)
{
	struct json_object *tree = tree_with(&l->t, id), *all;

	if (tree || hf_nl_trees(l->t.nl, &all))
		return tree;
	for (size_t i = 0; i < json_object_array_length(all); i++) {
		struct json_object *o = json_object_array_get_idx(all, i);

		if (jint(o, "id") == id && (!arg_pos(l->c, 0) || !strcmp(jstr(o, "resource"), arg_pos(l->c, 0)))) {
			json_object_array_add(l->t.list, json_object_get(o));
			tree = o;
		}
	}
	json_object_put(all);
	return tree;
}

static void on_changes(void *arg, uint32_t id, uint64_t number, struct json_object *changes)
{
	struct listener *l = arg;
	struct place *p = place_of(l, id);
	struct json_object *tree;
	size_t n = json_object_array_length(changes);
	bool known = p && p->next;

	if (!p || (arg_pos(l->c, 0) && known && p->next == UINT64_MAX))
		return;
	tree = tree_of(l, id);
	if (!tree && arg_pos(l->c, 0)) {
		p->next = UINT64_MAX;	/* another resource's: not asked about again */
		return;
	}
	if (known && number > p->next)
		print_lost(l, id, number - p->next);
	p->next = number + n;
	for (size_t i = 0; i < n && l->left; i++) {
		if (!json_object_array_get_idx(changes, i))
			continue;
		print_change(l, tree, id, json_object_array_get_idx(changes, i));
		l->left -= l->left != UINT64_MAX;
	}
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* until a signal, enough events, the end of the time, or a failure */
static int listen_on(struct listener *l, const sigset_t *unblocked)
{
	int64_t timeout = arg_number(l->c, "timeout", 0), end = now_ms() + timeout;
	struct pollfd fd = { .fd = hf_nl_fd(l->t.nl), .events = POLLIN };
	bool lost;
	int ret;

	while (!ended && l->left) {
		int64_t left = end - now_ms();
		struct timespec ts = { left / 1000, left % 1000 * 1000000 };

		if (timeout && left <= 0)
			break;
		ret = ppoll(&fd, 1, timeout ? &ts : NULL, unblocked);
		if (ret < 0 && errno != EINTR)
			return because(l->c, HF_FAILED, "change events cannot be read: %s", strerror(errno));
		if (ret <= 0)
			continue;
		ret = hf_nl_events(l->t.nl, on_changes, l, &lost);
		if (ret)
			return ret;
		if (lost)
			print_lost(l, 0, 0);
		if (fflush(stdout))
			return printed(l->c);
	}
	if (l->left && l->left != UINT64_MAX && !ended)
		return because(l->c, HF_FAILED, "the time is over, and %llu of the events that were asked for have not come",
			       (unsigned long long)l->left);
	return 0;
}

int cmd_tree_events(struct cli *c)
{
	struct listener l = { .c = c, .left = arg_number(c, "count", UINT64_MAX) };
	struct sigaction sa = { .sa_handler = on_signal };
	sigset_t block, before;
	int ret;

	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, &before);
	sigdelset(&before, SIGINT);
	sigdelset(&before, SIGTERM);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	ret = trees_get(c, &l.t);
	if (!ret)
		ret = hf_nl_join(l.t.nl);
	if (!ret) {
		if (!c->quiet)
			fprintf(stderr, "holdfast tree events: listening\n");
		ret = listen_on(&l, &before);
	}
	if (ret && *c->err.msg)
		ret = fail(c);
	else if (!ret)
		ret = printed(c);
	trees_put(&l.t);
	free(l.place);
	return ret;
}
