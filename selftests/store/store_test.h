/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A store in a temporary directory, opened as several nodes by one process: a quorum disk, or
 * `store_dirs` shared directories. */
#ifndef STORE_TEST_H
#define STORE_TEST_H
#include "../tap.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "disk.h"
#include "log.h"

static char dir[256], dev[1000], conf[300];
static unsigned store_dirs;
static struct hf_keys *keys;
static struct hf_err err;

#define must(expr) do { \
	int r_ = (expr); \
	if (r_) { \
		printf("Bail out! %s:%d: %s: %d %s (%s)\n", __FILE__, __LINE__, #expr, r_, strerror(-r_), err.msg); \
		exit(1); \
	} \
} while (0)

static void cleanup(void)
{
	char cmd[320];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	if (*dir && system(cmd))
		fprintf(stderr, "cannot remove %s\n", dir);
}

__attribute__((unused))
static void setup(unsigned nodes, uint64_t size, unsigned lease_ms)
{
	char key[300];
	struct hf_format f = { .cluster = "test", .nodes = nodes, .lease_ms = lease_ms, .size = size };
	FILE *c;

	snprintf(dir, sizeof(dir), "%s/hf-store-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(dir))
		exit(1);
	atexit(cleanup);
	snprintf(dev, sizeof(dev), "%s/disk", dir);
	for (unsigned i = 0; i < store_dirs; i++) {
		char one[300];

		snprintf(one, sizeof(one), "%s/dir%u", dir, i);
		if (mkdir(one, 0700))
			exit(1);
		snprintf(dev + (i ? strlen(dev) : 0), sizeof(dev) - (i ? strlen(dev) : 0), "%s%s", i ? ":" : "dir:", one);
	}
	snprintf(conf, sizeof(conf), "%s/conf", dir);
	snprintf(key, sizeof(key), "%s/key", dir);
	c = fopen(conf, "w");
	fprintf(c, "[node]\nkey_file = %s\nstate_dir = %s\nruntime_dir = %s\n[store]\nurl = %s%s\n", key, dir, dir,
		store_dirs ? "" : "disk:", dev);
	fclose(c);
	must(hf_keyfile_create(key, &err));
	must(hf_disk_format(conf, dev, &f, &err));
	must(hf_keys_load(key, &keys, &err));
}

struct node { struct hf_identity id; struct hf_store *st; int lock; };

__attribute__((unused))
static void node_open(struct node *n)
{
	struct hf_store_params p = { .keys = keys, .id = &n->id, .lock_fd = &n->lock };
	char path[400];

	snprintf(path, sizeof(path), "%s/%s.lock", dir, n->id.name);
	n->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	must(flock(n->lock, LOCK_EX | LOCK_NB));
	must(hf_store_open(dev, &p, &n->st, &err));
	must(n->st->ops->join(n->st, &err));
}

__attribute__((unused))
static void node_make(struct node *n, const char *name)
{
	must(hf_disk_take_slot(dev, keys, NULL, name, &n->id, &err));
	node_open(n);
}

__attribute__((unused))
static void node_close(struct node *n)
{
	n->st->ops->close(n->st);
	close(n->lock);
}

static ssize_t mem_read(void *arg, void *buf, size_t len, uint64_t off)
{
	memcpy(buf, (char *)arg + off, len);
	return len;
}

__attribute__((unused))
static int put(struct hf_log *l, const char *key, const void *p, size_t n)
{
	struct hf_source s = { .size = n, .read = mem_read, .arg = (void *)p };

	return hf_log_put(l, key, strlen(key), "attr", 4, n ? &s : NULL, NULL, &err);
}

struct sunk { char *p; size_t n; };
__attribute__((unused))
static int sink(void *ctx, const void *p, size_t n)
{
	struct sunk *s = ctx;

	s->p = realloc(s->p, s->n + n + 1);
	memcpy(s->p + s->n, p, n);
	s->n += n;
	s->p[s->n] = 0;
	return 0;
}

/* whether @key holds exactly these bytes */
__attribute__((unused))
static int holds(struct hf_log *l, const char *key, const void *p, size_t n)
{
	struct sunk s = { 0 };
	int good = !hf_log_content(l, key, strlen(key), sink, &s, &err) && s.n == n && (!n || !memcmp(s.p, p, n));

	free(s.p);
	return good;
}

/* what `disk check` finds; it is told */
__attribute__((unused))
static int sound(void)
{
	char *json = NULL;
	int ret;

	err = (struct hf_err){ 0 };
	ret = hf_disk_check(conf, dev, &json, &err);
	if (ret)
		printf("# %s\n", err.msg);
	free(json);
	return ret;
}

#define LOGID(n, r) { .uuid = { (n), 1, 2, 3 }, .row = (r), .name = "res" }
#endif
