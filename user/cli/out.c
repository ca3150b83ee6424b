// SPDX-License-Identifier: GPL-2.0-or-later
/* Printing for people: tables, colour on a terminal, durations, sizes; and JSON for programs. */
#include "cli.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *jstr(struct json_object *o, const char *key)
{
	struct json_object *v = jobj(o, key);

	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

int64_t jint(struct json_object *o, const char *key)
{
	struct json_object *v = jobj(o, key);

	return json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : 0;
}

bool jbool(struct json_object *o, const char *key)
{
	struct json_object *v = jobj(o, key);

	return json_object_is_type(v, json_type_boolean) && json_object_get_boolean(v);
}

bool jhas(struct json_object *o, const char *key)
{
	return jobj(o, key) != NULL;
}

struct json_object *jobj(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_is_type(o, json_type_object) && json_object_object_get_ex(o, key, &v) ? v : NULL;
}

size_t jlen(struct json_object *o, const char *key)
{
	struct json_object *v = jobj(o, key);

	return json_object_is_type(v, json_type_array) ? json_object_array_length(v) : 0;
}

struct json_object *jat(struct json_object *o, const char *key, size_t i)
{
	return i < jlen(o, key) ? json_object_array_get_idx(jobj(o, key), i) : NULL;
}

/* What comes from the daemon is printable already; what is not must not reach a terminal. */
static char *clean(char *s)
{
	for (char *p = s; p && *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			if (*p != '\n')
				*p = '?';
	return s;
}

static const char *paint_code(enum paint p)
{
	static const char *const code[] = { "", "\033[32m", "\033[33m", "\033[31m", "\033[2m" };
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	if ((no && *no) || !isatty(STDOUT_FILENO) || (term && !strcmp(term, "dumb")))
		return "";
	return code[p];
}

static void put(enum paint p, const char *text)
{
	const char *code = paint_code(p);

	printf("%s%s%s", code, text, *code ? "\033[0m" : "");
}

static void vsay(enum paint p, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void vsay(enum paint p, const char *fmt, va_list ap)
{
	char *s = NULL;

	if (vasprintf(&s, fmt, ap) < 0)
		return;
	put(p, clean(s));
	free(s);
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(PLAIN, fmt, ap);
	va_end(ap);
}

void say_painted(enum paint p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(p, fmt, ap);
	va_end(ap);
}

void print_json(struct json_object *o)
{
	puts(o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE) : "{}");
}

struct json_object *taken(struct cli *c, char *text)
{
	struct json_object *o = text ? json_tokener_parse(text) : NULL;

	if (c->json && text)
		puts(text);
	free(text);
	return o;
}

int printed(struct cli *c)
{
	if (!fflush(stdout) && !ferror(stdout))
		return HF_OK;
	if (errno != EPIPE)
		fprintf(stderr, "holdfast %s: the output cannot be written: %s\n", c->cmd->name, strerror(errno));
	return HF_FAILED;
}

struct cell { char *text; enum paint paint; };
struct table {
	unsigned cols;
	size_t n;
	struct cell *cell;
};

/* columns on a terminal, near enough: characters */
static int width(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

struct table *table_new(const char *const *heads)
{
	struct table *t = calloc(1, sizeof(*t));

	while (t && heads[t->cols])
		t->cols++;
	for (unsigned i = 0; t && i < t->cols; i++)
		table_cell(t, DIM, "%s", heads[i]);
	return t;
}

void table_cell(struct table *t, enum paint p, const char *fmt, ...)
{
	struct cell *cell;
	char *s = NULL;
	va_list ap;

	if (!t)
		return;
	cell = realloc(t->cell, (t->n + 1) * sizeof(*cell));
	if (!cell)
		return;
	t->cell = cell;
	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	cell[t->n++] = (struct cell){ clean(s), p };
}

void table_print(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++) {
		const char *text = t->cell[i].text ? t->cell[i].text : "";
		bool last = i % t->cols == t->cols - 1;
		int w = 0;

		for (size_t k = i % t->cols; k < t->n; k += t->cols) {
			int x = t->cell[k].text ? width(t->cell[k].text) : 0;

			w = x > w ? x : w;
		}
		put(t->cell[i].paint, text);
		if (last)
			putchar('\n');
		else
			printf("%*s", w - width(text) + 2, "");
	}
	for (size_t i = 0; i < t->n; i++)
		free(t->cell[i].text);
	free(t->cell);
	free(t);
}

char *text_duration(int64_t ms, char buf[32])
{
	if (ms < 0)
		ms = 0;
	if (ms < 1000)
		snprintf(buf, 32, "%dms", (int)ms);
	else if (ms < 120000)
		snprintf(buf, 32, "%ds", (int)(ms / 1000));
	else if (ms < 7200000)
		snprintf(buf, 32, "%dm", (int)(ms / 60000));
	else if (ms < 172800000)
		snprintf(buf, 32, "%dh", (int)(ms / 3600000));
	else
		snprintf(buf, 32, "%lldd", (long long)(ms / 86400000));
	return buf;
}

char *text_bytes(uint64_t n, char buf[32])
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = n;
	unsigned u = 0;

	while (v >= 1024 && u < 4) {
		v /= 1024;
		u++;
	}
	snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", v, unit[u]);
	return buf;
}

char *text_time(int64_t when_ms, char buf[32])
{
	time_t t = when_ms / 1000;
	struct tm tm;

	if (!localtime_r(&t, &tm) || !strftime(buf, 32, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(buf, 32, "?");
	return buf;
}
