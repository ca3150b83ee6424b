// SPDX-License-Identifier: GPL-2.0-or-later
/* Values with units, policies, names and paths as people write them. */
#include "../tap.h"
#include "conf.h"
#include "reg.h"
#include <unistd.h>

static void units(void)
{
	static const struct { const char *s; long long v; } d[] = {
		{ "5ms", 5 }, { "1s", 1000 }, { "2m", 120000 }, { "3h", 10800000 }, { "4d", 345600000 }, { "0", 0 },
		{ "0s", 0 }, { "5", -1 }, { "", -1 }, { "s", -1 }, { "5x", -1 }, { " 5s", -1 }, { "5s ", -1 },
		{ "-5s", -1 }, { "1.5s", -1 }, { "5S", -1 }, { "18446744073709551616s", -1 },
		{ "18446744073709551615d", -1 },
	}, z[] = {
		{ "512", 512 }, { "10kB", 10000 }, { "1KiB", 1024 }, { "64MiB", 64 << 20 }, { "1GiB", 1 << 30 },
		{ "2MB", 2000000 }, { "0", 0 }, { "7B", 7 }, { "", -1 }, { "1gib", -1 }, { "1 GiB", -1 }, { "-1", -1 },
		{ "99999999999TiB", -1 }, { "1G", -1 },
	};
	uint64_t v;

	for (size_t i = 0; i < HF_ARRAY(d); i++)
		ok(d[i].v < 0 ? hf_parse_duration(d[i].s, &v) == -EINVAL :
		   !hf_parse_duration(d[i].s, &v) && v == (uint64_t)d[i].v, "duration '%s'", d[i].s);
	for (size_t i = 0; i < HF_ARRAY(z); i++)
		ok(z[i].v < 0 ? hf_parse_size(z[i].s, &v) == -EINVAL :
		   !hf_parse_size(z[i].s, &v) && v == (uint64_t)z[i].v, "size '%s'", z[i].s);
}

static const char *texts;
static int show(void *ctx, const char *key, const char *value)
{
	struct hf_policy *p = ctx, q = *p;
	struct hf_err err = { 0 };

	/* what is shown is read back as what it was */
	if (hf_policy_parse(&q, key, value, &err) || memcmp(p, &q, sizeof(q)))
		texts = key;
	return 0;
}

static void policies(void)
{
	static const struct { const char *key, *value, *msg; } t[] = {
		{ "settle", "0", NULL }, { "settle", "1m", NULL },
		{ "settle", "5x", "settle: '5x' is not a duration; write 5ms, 2s, 1m" },
		{ "settle", "2m", "settle: '2m' is not" }, { "settle", "", "settle: '' is not" },
		{ "min-pause", "100ms", NULL }, { "min-pause", "2h", "min-pause:" },
		{ "commit-timeout", "30s", NULL }, { "commit-timeout", "0", "commit-timeout:" },
		{ "tolerate", "0", NULL }, { "tolerate", "7", NULL }, { "tolerate", "-1", "tolerate:" },
		{ "tolerate", "1e3", "tolerate:" },
		{ "on-exceed", "failed", NULL }, { "on-exceed", "Failed", "on-exceed: 'Failed' is not known" },
		{ "rpo", "2s", NULL }, { "rpo", "2", "rpo:" },
		{ "retain", "64", NULL }, { "retain", "64,7d", NULL }, { "retain", "7d", NULL }, { "retain", "0", NULL },
		{ "retain", "7d,64", "retain:" }, { "retain", ",", "retain:" }, { "retain", "64,", "retain:" },
		{ "retain", "64,5ms", "retain:" },
		{ "takeover-from", "consistent", NULL }, { "takeover-from", "", "takeover-from:" },
		{ "owners", "number", NULL }, { "owners", "uid", "owners:" },
		{ "sockets", "keep", NULL }, { "sockets", "yes", "sockets:" },
		{ "delete-guard", "0", NULL }, { "delete-guard", "50%", NULL }, { "delete-guard", "100%", NULL },
		{ "delete-guard", "101%", "delete-guard:" }, { "delete-guard", "50", "delete-guard:" },
		{ "delete-guard", "%", "delete-guard:" },
		{ "strict-stop", "yes", NULL }, { "strict-stop", "true", "strict-stop:" },
		{ "managed", "yes", NULL }, { "managed", "1", "managed:" },
		{ "sync-mode", "on", "sync-mode: not supported in this version" },
		{ "validate", "x", "validate: not supported in this version" },
		{ "setle", "5ms", "'setle' is not a policy; there are settle," }, { "", "", "'' is not a policy" },
		{ "settle", "\x1b[31m", "settle: '\\x1b[31m' is not" },
	};
	struct hf_policy p, was;

	hf_policy_default(&p);
	ok(p.settle_ms == 5 && p.commit_timeout_ms == 10000 && p.tolerate == 3 && p.retain_gens == 64 &&
	   !p.retain_age_s && p.delete_guard_pct == 50 && !p.strict_stop && !p.owners_number, "defaults");
	for (size_t i = 0; i < HF_ARRAY(t); i++) {
		struct hf_err err = { 0 };
		int ret;

		was = p;
		ret = hf_policy_parse(&p, t[i].key, t[i].value, &err);
		texts = NULL;
		hf_policy_each(&p, show, &p);
		if (!ok(t[i].msg ? ret == -EINVAL && err.exit == HF_USAGE && !memcmp(&p, &was, sizeof(p)) &&
			!strncmp(err.msg, t[i].msg, strlen(t[i].msg)) : !ret && !texts, "policy entry %zu: %s",
			i, t[i].key))
			printf("# %d %s %s\n", ret, err.msg, texts ? texts : "");
	}
}

static void names(void)
{
	static const char *const good[] = { "a", "pg", "pg@main", "a.b-c:d+e_f", "9", "@x", "x@" };
	static const char *const bad[] = { "", ".", "..", ".a", "-a", "a b", "a/b", "a\n", "\xc3\xa4", "a@..", "a@.x", "a%n",
		"0123456789012345678901234567890123456789012345678901234567890123" };
	struct hf_err err;

	for (size_t i = 0; i < HF_ARRAY(good); i++)
		is(hf_name_check(good[i], "resource", &err), 0, good[i]);
	for (size_t i = 0; i < HF_ARRAY(bad); i++)
		ok(hf_name_check(bad[i], "resource", &err) == -EINVAL && err.exit == HF_USAGE && !strchr(err.msg, '\n'),
		   "bad name %zu", i);
	ok(!hf_name_check(bad[HF_ARRAY(bad) - 1] + 1, "resource", &err), "63 bytes are a name");
}

static void paths(void)
{
	static const char *const own[] = { "/var/lib/holdfast", "/run/holdfast/", NULL };
	static const struct { const char *in, *out; } t[] = {
		{ "/etc/x", "/etc/x" }, { "//etc///x//", "/etc/x" }, { "/./etc/./x/.", "/etc/x" },
		{ "/etc/...", "/etc/..." }, { "/etc/a\\b", "/etc/a\\b" }, { "/etc/\xc3\xa4", "/etc/\xc3\xa4" },
		{ "/procs", "/procs" }, { "/var/lib/holdfast2", "/var/lib/holdfast2" }, { "/srv/%n", "/srv/%n" },
		{ "", NULL }, { "etc", NULL }, { "/", NULL }, { "///", NULL }, { "/.", NULL }, { "/etc/../x", NULL },
		{ "/..", NULL }, { "/proc", NULL }, { "/proc/1", NULL }, { "/sys/", NULL }, { "//dev/shm", NULL },
		{ "/var/lib/holdfast", NULL }, { "/var/lib/holdfast/x", NULL }, { "/var/lib", NULL }, { "/run", NULL },
		{ "/run/holdfast", NULL }, { "/etc/\xff", NULL }, { "/etc/a\nb", NULL }, { "/etc/\xc2\x85", NULL },
	};
	char buf[6000], *s;
	struct hf_err err;

	for (size_t i = 0; i < HF_ARRAY(t); i++) {
		int ret;

		strcpy(buf, t[i].in);
		ret = hf_path_check(buf, own, &err);
		if (!ok(t[i].out ? !ret && !strcmp(buf, t[i].out) : ret == -EINVAL && err.exit == HF_USAGE &&
			!strchr(err.msg, '\n'), "path %zu", i))
			printf("# %s %d %s\n", t[i].in, ret, buf);
	}
	memset(buf, 'a', sizeof(buf));
	buf[0] = '/';
	buf[300] = 0;
	is(hf_path_check(buf, NULL, &err), -EINVAL, "a name of more than 255 bytes");
	for (int i = 0; i < 5000; i += 100)
		buf[i] = '/';
	buf[300] = 'a';
	buf[5000] = 0;
	is(hf_path_check(buf, NULL, &err), -EINVAL, "a path of more than 4095 bytes");

	s = hf_path_expand("/srv/%n/%i/%%x/%z%", "alpha", "pg@main@2");
	ok(s && !strcmp(s, "/srv/alpha/main@2/%x/%z%"), "%%n, %%i and %%%% are replaced");
	free(s);
	s = hf_path_expand("/srv/%i", "alpha", "pg");
	ok(s && !strcmp(s, "/srv/"), "no instance, no %%i");
	free(s);
}

int main(void)
{
	units();
	policies();
	names();
	paths();
	return tap_done();
}
