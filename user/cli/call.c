// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests to the daemon, progress while they run, questions before them. */
#include "cli.h"
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_AFTER_MS 1000
#define PROGRESS_EVERY_MS 100

struct json_object *args_new(void)
{
	return json_object_new_object();
}

void args_str(struct json_object *a, const char *key, const char *value)
{
	if (value)
		json_object_object_add(a, key, json_object_new_string(value));
}

int args_dir(struct cli *c, struct json_object *a, const char *opt)
{
	const char *dir = arg_value(c, opt);
	char here[PATH_MAX], *path;

	if (!dir || *dir == '/') {
		args_str(a, opt, dir);
		return 0;
	}
	if (!getcwd(here, sizeof(here)))
		return usage(c, "--%s '%s' is relative, and the directory that this runs in is gone", opt, dir);
	if (asprintf(&path, "%s/%s", here, dir) < 0)
		return out_of_memory();
	args_str(a, opt, path);
	free(path);
	return 0;
}

void args_flag(const struct cli *c, struct json_object *a, const char *option, const char *key)
{
	if (arg_flag(c, option))
		json_object_object_add(a, key, json_object_new_boolean(true));
}

int fail(struct cli *c)
{
	fflush(stdout);
	for (char *p = c->err.msg; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	fprintf(stderr, "holdfast %s: %s\n", c->cmd->name, c->err.msg[0] ? c->err.msg : "failed");
	return c->err.exit != HF_OK ? c->err.exit : HF_FAILED;
}

int out_of_memory(void)
{
	fprintf(stderr, "holdfast: out of memory\n");
	return HF_FAILED;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void progress_begin(const struct cli *c, struct progress *p)
{
	const char *term = getenv("TERM");

	*p = (struct progress){
		.terminal = isatty(STDERR_FILENO) && !c->quiet && !c->json && !(term && !strcmp(term, "dumb")),
		.begun = now_ms(),
	};
}

void progress_draw(struct progress *p, const char *fmt, ...)
{
	int64_t now = now_ms();
	char line[80];
	va_list ap;

	if (!p->terminal || now - p->begun < PROGRESS_AFTER_MS || now - p->last < PROGRESS_EVERY_MS)
		return;
	p->last = now;
	p->drawn = true;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fprintf(stderr, "\r\033[K%s", line);
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->drawn)
		fprintf(stderr, "\r\033[K");
	p->drawn = false;
}

struct listening {
	hf_event_fn fn;
	void *arg;
	struct progress p;
};

static void draw(struct progress *p, struct json_object *e)
{
	long long done = jint(e, "done"), total = jint(e, "total");
	const char *what = jstr(e, "what"), *name = jstr(e, "resource");

	if (total > 0)
		progress_draw(p, "%.30s: %.20s %lld of %lld (%lld%%)", name, what, done, total, done * 100 / total);
	else
		progress_draw(p, "%.30s: %.20s %lld", name, what, done);
}

static int on_event(void *arg, const char *json)
{
	struct listening *l = arg;
	struct json_object *e = json_tokener_parse(json);
	int ret = 0;

	if (!strcmp(jstr(e, "event"), "progress"))
		draw(&l->p, e);
	else if (l->fn)
		ret = l->fn(l->arg, json);
	json_object_put(e);
	return ret;
}

int call_events(struct cli *c, const char *verb, struct json_object *args, hf_event_fn fn, void *arg,
		struct json_object **result)
{
	struct listening l = { .fn = fn, .arg = arg };
	char *text = NULL;
	int ret = 0;

	progress_begin(c, &l.p);
	if (result)
		*result = NULL;
	if (!args)
		return out_of_memory();
	if (!c->conn)
		ret = hf_connect(c->conf, &c->conn, &c->err);
	if (!ret)
		ret = hf_call(c->conn, verb, json_object_to_json_string_ext(args, JSON_C_TO_STRING_PLAIN), on_event,
			      &l, &text, &c->err);
	json_object_put(args);
	progress_end(&l.p);
	if (ret)
		return fail(c);
	if (result) {
		*result = json_tokener_parse(text);
		if (!*result)		/* a result nested deeper than any that there is */
			*result = json_object_new_object();
	}
	free(text);
	return 0;
}

int call(struct cli *c, const char *verb, struct json_object *args, struct json_object **result)
{
	return call_events(c, verb, args, NULL, NULL, result);
}

int confirm(struct cli *c, const char *fmt, ...)
{
	char line[16];
	va_list ap;

	if (arg_flag(c, "yes") || arg_flag(c, "dry-run") || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return 0;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, " [y/N] ");
	if (fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y'))
		return 0;
	fprintf(stderr, "holdfast %s: nothing was changed\n", c->cmd->name);
	return HF_FAILED;
}
