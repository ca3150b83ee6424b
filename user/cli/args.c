// SPDX-License-Identifier: GPL-2.0-or-later
/* Arguments: taken apart and checked before anything is asked of anybody. */
#include "cli.h"
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@:+-"
#define NAME_BYTES 63
#define TEXT_BYTES 4095
#define SHOWN 60

int usage(const struct cli *c, const char *fmt, ...)
{
	char msg[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	fprintf(stderr, "holdfast%s%s: %s\n", c->cmd ? " " : "", c->cmd ? c->cmd->name : "", msg);
	return HF_USAGE;
}

static unsigned utf8_len(const unsigned char *p)
{
	static const struct { unsigned char lo, hi; unsigned len; unsigned char second_lo, second_hi; } t[] = {
		{ 0xc2, 0xdf, 2, 0x80, 0xbf }, { 0xe0, 0xe0, 3, 0xa0, 0xbf }, { 0xe1, 0xec, 3, 0x80, 0xbf },
		{ 0xed, 0xed, 3, 0x80, 0x9f }, { 0xee, 0xef, 3, 0x80, 0xbf }, { 0xf0, 0xf0, 4, 0x90, 0xbf },
		{ 0xf1, 0xf3, 4, 0x80, 0xbf }, { 0xf4, 0xf4, 4, 0x80, 0x8f },
	};

	if (*p < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (*p < t[i].lo || *p > t[i].hi)
			continue;
		if (p[1] < t[i].second_lo || p[1] > t[i].second_hi)
			return 0;
		for (unsigned k = 2; k < t[i].len; k++)
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		return t[i].len;
	}
	return 0;
}

bool arg_text_ok(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	while (*p) {
		unsigned n = utf8_len(p);

		if (!n || *p < 0x20 || *p == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0))
			return false;
		p += n;
	}
	return true;
}

/* @s as an error message may show it: short, and safe on a terminal */
static const char *shown(const char *s, char buf[4 * SHOWN + 8])
{
	const unsigned char *p = (const unsigned char *)s;
	char *q = buf;
	unsigned i;

	for (i = 0; i < SHOWN && *p; i++, p++) {
		if (*p < 0x20 || *p >= 0x7f)
			q += sprintf(q, "\\x%02x", *p);
		else
			*q++ = *p;
	}
	strcpy(q, *p ? "..." : "");
	return buf;
}

static bool scaled(const char *s, const char *const *unit, const uint64_t *factor, uint64_t *out)
{
	uint64_t v = 0;

	if (*s < '0' || *s > '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *s - '0', &v))
			return false;
	for (unsigned i = 0; unit[i]; i++)
		if (!strcmp(s, unit[i]))
			return !__builtin_mul_overflow(v, factor[i], out) && *out <= INT64_MAX;
	return false;
}

static bool number(enum val type, const char *s, uint64_t *out)
{
	static const char *const plain[] = { "", NULL };
	static const char *const time[] = { "ms", "s", "m", "h", "d", NULL };
	static const char *const size[] = { "", "B", "kB", "KiB", "MB", "MiB", "GB", "GiB", "TB", "TiB", NULL };
	static const uint64_t one[] = { 1 };
	static const uint64_t ms[] = { 1, 1000, 60000, 3600000, 86400000 };
	static const uint64_t bytes[] = {
		1, 1, 1000, 1ull << 10, 1000000, 1ull << 20, 1000000000, 1ull << 30,
		1000000000000, 1ull << 40,
	};

	switch (type) {
	case V_GEN: return scaled(s, plain, one, out) && *out;
	case V_NUMBER: return scaled(s, plain, one, out) && *out && *out <= UINT32_MAX;
	case V_COUNT: return scaled(s, plain, one, out) && *out && *out <= 64;
	case V_DURATION: return scaled(s, time, ms, out) && *out;
	case V_SIZE: return scaled(s, size, bytes, out) && *out;
	default: return false;
	}
}

static bool name_ok(const char *s)
{
	size_t n = strlen(s);
	const char *at = strchr(s, '@');

	return n <= NAME_BYTES && strspn(s, NAME_CHARS) == n && *s != '.' && *s != '-' && !(at && at[1] == '.');
}

/* 0, or HF_USAGE after a sentence */
static int check(const struct cli *c, const char *label, enum val type, const char *s)
{
	char b[4 * SHOWN + 8];
	uint64_t n;

	if (type == V_ANY)
		return 0;
	if (!*s)
		return usage(c, "%s is empty", label);
	if (strlen(s) > TEXT_BYTES)
		return usage(c, "%s is longer than %d bytes", label, TEXT_BYTES);
	if (!arg_text_ok(s))
		return usage(c, "%s '%s' is not UTF-8, or holds control characters", label, shown(s, b));
	shown(s, b);
	switch (type) {
	case V_NAME:
		if (!name_ok(s))
			return usage(c, "%s '%s' is not a name; write 1 to 63 of A-Z a-z 0-9 . _ @ : + -, beginning "
				     "with neither . nor -", label, b);
		break;
	case V_PATH:
		if (*s != '/')
			return usage(c, "%s '%s' is not absolute; write a path that begins with /", label, b);
		break;
	case V_GEN:
		if (!number(type, s, &n))
			return usage(c, "%s '%s' is not a generation; write a number that holdfast history shows", label, b);
		break;
	case V_COUNT:
		if (!number(type, s, &n))
			return usage(c, "%s '%s' is not a number from 1 to 64", label, b);
		break;
	case V_NUMBER:
		if (!number(type, s, &n))
			return usage(c, "%s '%s' is not a number from 1 to %u", label, b, UINT32_MAX);
		break;
	case V_DURATION:
		if (!number(type, s, &n))
			return usage(c, "%s '%s' is not a duration; write 500ms, 5s, 2m", label, b);
		break;
	case V_SIZE:
		if (!number(type, s, &n))
			return usage(c, "%s '%s' is not a size; write 64MiB, 1GiB", label, b);
		break;
	case V_POLICY:
		if (*s == '=' || !strchr(s, '='))
			return usage(c, "'%s' is not KEY=VALUE; write for instance settle=5ms", b);
		break;
	case V_KIND:
		if (strcmp(s, "tree") && strcmp(s, "crypto"))
			return usage(c, "%s '%s' is not known; write tree or crypto", label, b);
		break;
	case V_TEXT:
	case V_DEV:
	case V_ANY:
		break;
	}
	return 0;
}

/* optimal string alignment: a swap of neighbours counts as one slip */
unsigned distance(const char *a, const char *b)
{
	unsigned row[3][34], n = strlen(a), m = strlen(b);

	if (n > 32 || m > 32)
		return UINT_MAX;
	for (unsigned j = 0; j <= m; j++)
		row[0][j] = j;
	for (unsigned i = 1; i <= n; i++) {
		unsigned *now = row[i % 3], *last = row[(i - 1) % 3], *before = row[(i + 1) % 3];

		now[0] = i;
		for (unsigned j = 1; j <= m; j++) {
			unsigned d = last[j - 1] + (a[i - 1] != b[j - 1]);

			d = d < last[j] + 1 ? d : last[j] + 1;
			d = d < now[j - 1] + 1 ? d : now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < d)
				d = before[j - 2] + 1;
			now[j] = d;
		}
	}
	return row[n % 3][m];
}

static int unknown_option(const struct cli *c, const char *arg)
{
	const struct opt *best = NULL;
	unsigned d = 3;
	char b[4 * SHOWN + 8];

	for (const struct opt *o = c->cmd->opt; o->name; o++) {
		unsigned x = arg[0] == '-' && arg[1] == '-' ? distance(arg + 2, o->name) : UINT_MAX;

		if (x < d) {
			d = x;
			best = o;
		}
	}
	shown(arg, b);
	if (best)
		return usage(c, "unknown option '%s'; did you mean --%s?", b, best->name);
	return usage(c, "unknown option '%s'; see holdfast help %s", b, c->cmd->name);
}

/* one "--name", "--name VALUE" or "--name=VALUE"; returns how many arguments it took, or -1 */
static int option(struct cli *c, int argc, char **argv)
{
	const char *arg = argv[0], *eq = strchr(arg, '=');
	const struct opt *o;
	char label[64], *value;
	size_t n;
	int took = 1;

	if (!strcmp(arg, "--json")) {
		c->json = true;
		return 1;
	}
	if (!strcmp(arg, "-q") || !strcmp(arg, "--quiet")) {
		c->quiet = true;
		return 1;
	}
	if (!strcmp(arg, "-c")) {
		if (argc < 2 || !*argv[1])
			return usage(c, "-c needs the name of a configuration file"), -1;
		if (strlen(argv[1]) > TEXT_BYTES || !arg_text_ok(argv[1]))
			return usage(c, "-c: the name of the configuration file is too long, or not UTF-8"), -1;
		c->conf = argv[1];
		return 2;
	}
	if (arg[1] != '-')
		return unknown_option(c, arg), -1;
	n = eq ? (size_t)(eq - arg - 2) : strlen(arg + 2);
	for (o = c->cmd->opt; o->name; o++)
		if (strlen(o->name) == n && !strncmp(arg + 2, o->name, n))
			break;
	if (!o->name)
		return unknown_option(c, arg), -1;
	if (!o->label && eq)
		return usage(c, "--%s takes no value", o->name), -1;
	for (int i = 0; i < c->ngiven && !o->many; i++)
		if (c->given[i].opt == o)
			return usage(c, "--%s is given twice", o->name), -1;
	value = eq ? (char *)eq + 1 : NULL;
	if (o->label && !eq) {
		if (argc < 2)
			return usage(c, "--%s needs a value: --%s %s", o->name, o->name, o->label), -1;
		value = argv[1];
		took = 2;
	}
	snprintf(label, sizeof(label), "--%s", o->name);
	if (o->label && check(c, label, o->type, value))
		return -1;
	c->given[c->ngiven].opt = o;
	c->given[c->ngiven++].value = value;
	return took;
}

int args_parse(struct cli *c, int argc, char **argv)
{
	const struct pos *p = c->cmd->pos;
	bool ended = false;
	int i, n;

	c->dashes = -1;
	if (argc > MAX_ARGS)
		return usage(c, "more than %d arguments", MAX_ARGS);
	for (i = 0; i < argc; i += n) {
		char b[4 * SHOWN + 8];

		n = 1;
		if (!ended && !strcmp(argv[i], "--")) {
			ended = true;
			c->dashes = c->npos;
			continue;
		}
		if (!ended && argv[i][0] == '-' && argv[i][1]) {
			n = option(c, argc - i, argv + i);
			if (n < 0)
				return HF_USAGE;
			continue;
		}
		if (!p->label)
			return usage(c, "'%s' is one argument too many; usage: holdfast %s %s", shown(argv[i], b),
				     c->cmd->name, c->cmd->synopsis);
		if (check(c, p->label, p->type, argv[i]))
			return HF_USAGE;
		c->pos[c->npos++] = argv[i];
		p += !p->many;
	}
	/* of one that may be repeated, the first may still be missing */
	if (p->label && !p->optional && !(p->many && c->npos && c->npos > p - c->cmd->pos))
		return usage(c, "%s is missing; usage: holdfast %s %s", p->label, c->cmd->name, c->cmd->synopsis);
	return 0;
}

bool arg_flag(const struct cli *c, const char *name)
{
	for (int i = 0; i < c->ngiven; i++)
		if (!strcmp(c->given[i].opt->name, name))
			return true;
	return false;
}

const char *arg_value(const struct cli *c, const char *name)
{
	for (int i = 0; i < c->ngiven; i++)
		if (!strcmp(c->given[i].opt->name, name))
			return c->given[i].value;
	return NULL;
}

const char *arg_pos(const struct cli *c, int i)
{
	return i < c->npos ? c->pos[i] : NULL;
}

uint64_t arg_number(const struct cli *c, const char *name, uint64_t otherwise)
{
	uint64_t v;

	for (int i = 0; i < c->ngiven; i++)
		if (!strcmp(c->given[i].opt->name, name) &&
		    number(c->given[i].opt->type, c->given[i].value, &v))
			return v;
	return otherwise;
}
