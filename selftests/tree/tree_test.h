/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A scratch directory and small helpers for the tests of the tree library. */
#ifndef HF_TREE_TEST_H
#define HF_TREE_TEST_H
#include "../tap.h"
#include "memdb.h"
#include "tmpname.h"
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

static char top[512];

__attribute__((unused, format(printf, 1, 2)))
static int sh(const char *fmt, ...)
{
	char cmd[8192], full[9000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	snprintf(full, sizeof(full), "cd '%s' && { %s\n}", top, cmd);
	return system(full);
}

/* output of a command, at most 64 KiB */
__attribute__((unused, format(printf, 1, 2)))
static const char *shout(const char *fmt, ...)
{
	static char out[65536];
	char cmd[4096], full[5000];
	va_list ap;
	FILE *f;
	size_t n;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	snprintf(full, sizeof(full), "cd '%s' && { %s\n}", top, cmd);
	f = popen(full, "r");
	n = f ? fread(out, 1, sizeof(out) - 1, f) : 0;
	out[n] = 0;
	if (f)
		pclose(f);
	return out;
}

__attribute__((unused))
static char *path_of(const char *name)
{
	static char p[4][PATH_MAX];
	static unsigned i;

	snprintf(p[++i % 4], sizeof(p[0]), "%s/%s", top, name);
	return p[i % 4];
}

/* a name of a restore's temporary file */
__attribute__((unused))
static const char *tmpname(const char *random)
{
	static char name[16][HF_TMP_LEN + 1];
	static unsigned i;

	hf_tmpname_make(random, name[++i % 16]);
	return name[i % 16];
}

__attribute__((unused))
static void scratch_begin(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(top, sizeof(top), "%s/hf-tree.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(top) || sodium_init() < 0) {
		printf("Bail out! no scratch directory\n");
		exit(1);
	}
}

__attribute__((unused))
static int scratch_end(void)
{
	sh("chattr -R -i . 2>/dev/null; true");
	if (chdir("/") || system(NULL) == 0)
		return 1;
	char cmd[PATH_MAX + 20];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", top);
	if (system(cmd))
		printf("# cannot clean up %s\n", top);
	return tap_done();
}

/* open a tree below the scratch directory */
__attribute__((unused))
static struct hf_tree *opent(const char *name, unsigned flags, bool create)
{
	struct hf_tree *t = NULL;
	struct hf_err err = { 0 };
	int ret = hf_tree_open("/", path_of(name), flags, create, NULL, 0, &t, &err);

	if (ret)
		printf("# open %s: %d %s\n", name, ret, err.msg);
	return t;
}

__attribute__((unused))
static struct hf_capture_stat scan(struct hf_tree *t, struct memdb *m, bool full)
{
	struct hf_capture_stat st = { 0 };
	struct hf_err err = { 0 };
	int ret = hf_capture_scan(t, &m->db, "", full, &st, &err);

	if (ret)
		printf("# scan: %d %s\n", ret, err.msg);
	ok(!ret, "scan");
	return st;
}

__attribute__((unused))
static int capture(struct hf_tree *t, struct memdb *m, const char *rel, struct hf_capture_stat *st)
{
	struct hf_err err = { 0 };
	int ret;

	memset(st, 0, sizeof(*st));
	ret = hf_capture_name(t, &m->db, rel, st, &err);
	if (ret)
		printf("# capture %s: %d %s\n", rel, ret, err.msg);
	return ret;
}

__attribute__((unused))
static int restore(struct hf_tree *t, struct memdb *m, struct hf_restore_stat *st, struct hf_err *err)
{
	struct hf_err e = { 0 };
	int ret;

	memset(st, 0, sizeof(*st));
	ret = hf_restore(t, &m->db, NULL, st, err ? err : &e);
	if (ret && !err)
		printf("# restore: %d %s\n", ret, e.msg);
	return ret;
}

/* a restore to @name, which others change meanwhile: it may fail */
__attribute__((unused))
static int restore_amid(const char *name, struct memdb *m)
{
	struct hf_restore_stat rst;
	struct hf_err err = { 0 };
	struct hf_tree *t = opent(name, 0, true);
	int ret = t ? restore(t, m, &rst, &err) : 0;

	hf_tree_close(t);
	return ret;
}

static int count_diff(void *ctx, enum hf_change ch, const char *rel)
{
	static const char *const what[] = { "added", "removed", "content", "meta", "type" };

	if (getenv("HF_TEST_VERBOSE"))
		printf("# differs: %s %s\n", what[ch], rel);
	++*(unsigned *)ctx;
	return 0;
}

__attribute__((unused))
static int differences(struct hf_tree *t, struct memdb *m)
{
	unsigned n = 0;
	struct hf_err err = { 0 };
	int ret = hf_compare(t, &m->db, count_diff, &n, &err);

	if (ret)
		printf("# compare: %d %s\n", ret, err.msg);
	return ret ? ret : (int)n;
}
#endif
