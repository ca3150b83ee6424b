// SPDX-License-Identifier: LGPL-2.1-or-later
/* Policies of a resource: KEY=VALUE texts to struct hf_policy and back. */
#include "conf.h"
#include "names.h"
#include "reg_int.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

struct pkey {
	const char *key, *want;
	int (*set)(struct hf_policy *p, const char *value);
	void (*show)(const struct hf_policy *p, char *out, size_t n);
};

void hf_policy_default(struct hf_policy *p)
{
	*p = (struct hf_policy){
		.settle_ms = 5,
		.commit_timeout_ms = 10000,
		.tolerate = 3,
		.retain_gens = 64,
		.delete_guard_pct = 50,
	};
}

static void show_ms(uint64_t ms, char *out, size_t n)
{
	static const struct { uint64_t ms; const char *unit; } u[] = {
		{ 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" },
	};

	for (size_t i = 0; i < HF_ARRAY(u); i++) {
		if (ms && ms % u[i].ms == 0) {
			snprintf(out, n, "%llu%s", (unsigned long long)(ms / u[i].ms), u[i].unit);
			return;
		}
	}
	snprintf(out, n, "0");
}

/* one of two words: 0, 1, or -EINVAL */
static int either(const char *value, const char *no, const char *yes, bool *out)
{
	if (strcmp(value, no) && strcmp(value, yes))
		return -EINVAL;
	*out = !strcmp(value, yes);
	return 0;
}

static int whole(const char *value, uint64_t max, uint64_t *out)
{
	char *end;

	if (*value < '0' || *value > '9')
		return -EINVAL;
	errno = 0;
	*out = strtoull(value, &end, 10);
	return errno || *end || *out > max ? -EINVAL : 0;
}

#define DURATION(name, field, max) \
static int set_##name(struct hf_policy *p, const char *v) \
{ \
	uint64_t ms; \
\
	if (hf_parse_duration(v, &ms) || ms > (max)) \
		return -EINVAL; \
	p->field = ms; \
	return 0; \
} \
static void show_##name(const struct hf_policy *p, char *out, size_t n) \
{ \
	show_ms(p->field, out, n); \
}
#define WORDS(name, field, no, yes) \
static int set_##name(struct hf_policy *p, const char *v) { return either(v, no, yes, &p->field); } \
static void show_##name(const struct hf_policy *p, char *out, size_t n) \
{ \
	snprintf(out, n, "%s", p->field ? yes : no); \
}

DURATION(settle, settle_ms, 60000)
DURATION(min_pause, min_pause_ms, 3600000)
DURATION(rpo, rpo_ms, 86400000)
WORDS(exceed, exceed_failed, "degraded", "failed")
WORDS(takeover, takeover_consistent, "newest", "consistent")
WORDS(owners, owners_number, "name", "number")
WORDS(sockets, sockets_keep, "skip", "keep")
WORDS(strict, strict_stop, "no", "yes")
WORDS(managed, managed, "no", "yes")

static int set_timeout(struct hf_policy *p, const char *v)
{
	uint64_t ms;

	/* without a bound a stuck disk would be waited for without an end */
	if (hf_parse_duration(v, &ms) || !ms || ms > 3600000)
		return -EINVAL;
	p->commit_timeout_ms = ms;
	return 0;
}

static void show_timeout(const struct hf_policy *p, char *out, size_t n)
{
	show_ms(p->commit_timeout_ms, out, n);
}

static int set_tolerate(struct hf_policy *p, const char *v)
{
	uint64_t n;

	if (whole(v, 1000000, &n))
		return -EINVAL;
	p->tolerate = n;
	return 0;
}

static void show_tolerate(const struct hf_policy *p, char *out, size_t n)
{
	snprintf(out, n, "%u", p->tolerate);
}

/* "64", "64,7d", "7d": how many, how old, or both */
static int set_retain(struct hf_policy *p, const char *v)
{
	const char *comma = strchr(v, ',');
	char first[32];
	size_t len = comma ? (size_t)(comma - v) : strlen(v);
	uint64_t gens = 0, age = 0;

	if (!len || len >= sizeof(first))
		return -EINVAL;
	memcpy(first, v, len);
	first[len] = 0;
	if (whole(first, 1000000000, &gens)) {
		if (comma || hf_parse_duration(first, &age))
			return -EINVAL;
	} else if (comma && hf_parse_duration(comma + 1, &age)) {
		return -EINVAL;
	}
	if (age && age < 1000)
		return -EINVAL;
	p->retain_gens = gens;
	p->retain_age_s = age / 1000;
	return 0;
}

static void show_retain(const struct hf_policy *p, char *out, size_t n)
{
	char age[32];

	show_ms(p->retain_age_s * 1000, age, sizeof(age));
	if (!p->retain_age_s)
		snprintf(out, n, "%llu", (unsigned long long)p->retain_gens);
	else if (!p->retain_gens)
		snprintf(out, n, "%s", age);
	else
		snprintf(out, n, "%llu,%s", (unsigned long long)p->retain_gens, age);
}

static int set_guard(struct hf_policy *p, const char *v)
{
	char num[8];
	size_t len = strlen(v);
	uint64_t n;

	if (!strcmp(v, "0")) {
		p->delete_guard_pct = 0;
		return 0;
	}
	if (len < 2 || len >= sizeof(num) || v[len - 1] != '%')
		return -EINVAL;
	memcpy(num, v, len - 1);
	num[len - 1] = 0;
	if (whole(num, 100, &n))
		return -EINVAL;
	p->delete_guard_pct = n;
	return 0;
}

static void show_guard(const struct hf_policy *p, char *out, size_t n)
{
	snprintf(out, n, p->delete_guard_pct ? "%u%%" : "0", p->delete_guard_pct);
}

#define A_DURATION "is not a duration"
static const struct pkey pkeys[] = {
	{ "settle", A_DURATION "; write 5ms, 2s, 1m (at most 1m)", set_settle, show_settle },
	{ "min-pause", A_DURATION "; write 5ms, 2s, 1m (at most 1h)", set_min_pause, show_min_pause },
	{ "commit-timeout", A_DURATION "; write 500ms, 10s, 1m (1ms to 1h)", set_timeout, show_timeout },
	{ "tolerate", "is not a number of commits; write 0 to 1000000", set_tolerate, show_tolerate },
	{ "on-exceed", "is not known; write degraded or failed", set_exceed, show_exceed },
	{ "rpo", A_DURATION "; write 500ms, 2s, 1m (at most 1d), or 0 for none", set_rpo, show_rpo },
	{ "retain", "is not a retention; write 64 (generations), 64,7d (and an age) or 0 for none",
	  set_retain, show_retain },
	{ "takeover-from", "is not known; write newest or consistent", set_takeover, show_takeover },
	{ "owners", "is not known; write name or number", set_owners, show_owners },
	{ "sockets", "is not known; write skip or keep", set_sockets, show_sockets },
	{ "delete-guard", "is not a share; write 50%, or 0 for never", set_guard, show_guard },
	{ "strict-stop", "is not known; write yes or no", set_strict, show_strict },
	{ "managed", "is not known; write yes or no", set_managed, show_managed },
};

bool policy_known(const char *key)
{
	for (size_t i = 0; i < HF_ARRAY(pkeys); i++)
		if (!strcmp(pkeys[i].key, key))
			return true;
	return false;
}

int hf_policy_parse(struct hf_policy *p, const char *key, const char *value, struct hf_err *err)
{
	char *k, *v;
	int ret;

	for (size_t i = 0; i < HF_ARRAY(pkeys); i++) {
		if (strcmp(pkeys[i].key, key))
			continue;
		if (!pkeys[i].set(p, value))
			return 0;
		v = hf_printable(value, strnlen(value, 80));
		ret = hf_fail(err, HF_USAGE, -EINVAL, "%s: '%s' %s", key, v ? v : "", pkeys[i].want);
		free(v);
		return ret;
	}
	if (!strcmp(key, "sync-mode") || !strcmp(key, "validate"))
		return hf_fail(err, HF_USAGE, -EINVAL, "%s: not supported in this version (%s)", key, HF_VERSION);
	k = hf_printable(key, strnlen(key, 80));
	ret = hf_fail(err, HF_USAGE, -EINVAL,
		      "'%s' is not a policy; there are settle, min-pause, commit-timeout, tolerate, on-exceed, "
		      "rpo, retain, takeover-from, owners, sockets, delete-guard, strict-stop and managed", k ? k : "");
	free(k);
	return ret;
}

int hf_policy_each(const struct hf_policy *p, int (*fn)(void *ctx, const char *key, const char *value),
		   void *ctx)
{
	char value[64];
	int ret = 0;

	for (size_t i = 0; i < HF_ARRAY(pkeys) && !ret; i++) {
		pkeys[i].show(p, value, sizeof(value));
		ret = fn(ctx, pkeys[i].key, value);
	}
	return ret;
}
