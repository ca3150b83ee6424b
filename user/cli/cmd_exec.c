// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * run: a resource is online for as long as a command runs. A signal that asks this process to end
 * is passed on; when the command has ended, what it wrote last is committed and the resource released, also
 * where it was online before: that is what a run leaves that was killed, and nobody else would release it.
 */
#include "cli.h"
#include "show.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_S 1	/* how often it is asked whether the resource is still this node's */
#define KILL_S 10	/* how long a command may take to end when it is not */

static const int passed_on[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 };

static struct json_object *about(struct cli *c)
{
	struct json_object *a = args_new();

	args_str(a, "resource", arg_pos(c, 0));
	return a;
}

/* A connection of its own for each request: the command may take days. *@already may be NULL. */
static int ask(struct cli *c, const char *verb, struct json_object *args, bool *already)
{
	struct json_object *r = NULL;
	int ret = call(c, verb, args, &r);

	if (!ret)
		print_note(c, r);
	if (already)
		*already = !ret && jbool(r, "already");
	json_object_put(r);
	hf_disconnect(c->conn);
	c->conn = NULL;
	return ret;
}

/* Whether the resource is certainly not this node's any more; a daemon that is away says nothing. */
static bool fenced_out(struct cli *c)
{
	struct json_object *args = about(c), *o, *r = NULL;
	struct hf_conn *conn = NULL;
	struct hf_err e = { 0 };
	char *text = NULL;
	bool gone = false;

	if (args && !hf_connect(c->conf, &conn, &e) &&
	    !hf_call(conn, "status", json_object_to_json_string_ext(args, JSON_C_TO_STRING_PLAIN), NULL, NULL, &text, &e))
		r = json_tokener_parse(text);
	o = jat(r, "resources", 0);
	if (o) {
		const char *state = jstr(o, "state"), *owner = jstr(o, "owner");
		bool another = *owner && strcmp(owner, jstr(r, "node"));

		gone = !strcmp(state, "offline") || (another && (!strcmp(state, "online") || !strcmp(state, "owner-lost")));
	}
	json_object_put(r);
	json_object_put(args);
	free(text);
	hf_disconnect(conn);
	return gone;
}

static pid_t start(struct cli *c, const sigset_t *before)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	sigprocmask(SIG_SETMASK, before, NULL);
	signal(SIGPIPE, SIG_DFL);
	execvp(c->pos[1], c->pos + 1);
	fprintf(stderr, "holdfast run: %s cannot be run: %s\n", c->pos[1], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Until it has ended: its wait status. *@lost: it was made to, because another node owns the resource. */
static int wait_for(struct cli *c, pid_t pid, const sigset_t *set, bool *lost)
{
	const struct timespec look = { .tv_sec = LOOK_S };
	unsigned looks = 0;
	siginfo_t si;
	int status, sig;

	for (;;) {
		sig = sigtimedwait(set, &si, &look);
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		/* what a terminal sends, it has sent to the command as well */
		if (sig > 0 && sig != SIGCHLD && si.si_code != SI_KERNEL)
			kill(pid, sig);
		if (sig >= 0 || errno != EAGAIN)
			continue;
		if (*lost) {
			if (++looks == KILL_S / LOOK_S)
				kill(pid, SIGKILL);
		} else if (fenced_out(c)) {
			fprintf(stderr, "holdfast run: %s is not online on this node any more; %s is ended\n",
				arg_pos(c, 0), c->pos[1]);
			*lost = true;
			kill(pid, SIGTERM);
		}
	}
}

static bool told_to_end(void)
{
	sigset_t pending;

	return !sigpending(&pending) && (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT) ||
					 sigismember(&pending, SIGHUP) || sigismember(&pending, SIGQUIT));
}

int cmd_run(struct cli *c)
{
	bool lost = false, already;
	int ret, end, status = 0;
	struct json_object *a;
	sigset_t set, before;
	pid_t pid;

	/* without it options of the command could be taken for some of this one */
	if (c->dashes != 1)
		return usage(c, "-- is missing before COMMAND; usage: holdfast %s %s", c->cmd->name, c->cmd->synopsis);
	a = about(c);
	args_flag(c, a, "fenced", "fenced");
	if (arg_flag(c, "timeout"))
		json_object_object_add(a, "timeout_ms", json_object_new_int64(arg_number(c, "timeout", 0)));
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
		sigaddset(&set, passed_on[i]);
	sigprocmask(SIG_BLOCK, &set, &before);
	signal(SIGCHLD, SIG_DFL);	/* ignored by who started this, perhaps */
	ret = ask(c, "online", a, &already);
	if (ret)
		return ret;
	if (already && !c->quiet)
		fprintf(stderr, "holdfast run: %s was online here already; it is released when the command has ended\n",
			arg_pos(c, 0));
	if (told_to_end()) {
		fprintf(stderr, "holdfast run: told to end; %s was not run\n", c->pos[1]);
		ret = 128 + SIGTERM;
	} else {
		pid = start(c, &before);
		if (pid < 0) {
			fprintf(stderr, "holdfast run: %s cannot be run: %s\n", c->pos[1], strerror(errno));
			ret = 126;
		} else {
			status = wait_for(c, pid, &set, &lost);
			ret = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		}
	}
	end = ask(c, "offline", about(c), NULL);
	return lost ? HF_STALE : ret ? ret : end;
}
