/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the store's benchmark share: a quorum disk that is formatted anew, one
 * node on it, and figures. Each prints NAME VALUE... a line, for store.sh.
 */
#ifndef BENCH_STORE_H
#define BENCH_STORE_H

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "disk_int.h"
#include "log.h"

static const char *dev, *work;
static struct hf_keys *keys;
static struct hf_identity id;
static struct hf_store *st;
static int lock_fd = -1;
static struct hf_err err;

#define must(expr) do { \
	int r_ = (expr); \
	if (r_) { \
		fprintf(stderr, "%s:%d: %s: %s (%s)\n", __FILE__, __LINE__, #expr, strerror(-r_), err.msg); \
		exit(1); \
	} \
} while (0)

static void open_store(void)
{
	struct hf_store_params p = { .keys = keys, .id = &id, .lock_fd = &lock_fd };

	must(hf_store_open(dev, &p, &st, &err));
	must(st->ops->join(st, &err));
}

static void close_store(void)
{
	st->ops->close(st);
	st = NULL;
}

/* @dev becomes a quorum disk with eight areas, as by default; all below @work */
static void setup(uint32_t resources)
{
	struct hf_format f = { .cluster = "bench", .lease_ms = 1000, .resources = resources, .force = true };
	char key[4096], conf[4096];
	FILE *c;

	snprintf(key, sizeof(key), "%s/key", work);
	snprintf(conf, sizeof(conf), "%s/conf", work);
	unlink(key);
	must(hf_keyfile_create(key, &err));
	c = fopen(conf, "w");
	if (!c)
		must(-errno);
	fprintf(c, "[node]\nkey_file = %s\nstate_dir = %s\nruntime_dir = %s\n[store]\nurl = disk:%s\n", key, work,
		work, dev);
	fclose(c);
	must(hf_disk_format(conf, dev, &f, &err));
	must(hf_keys_load(key, &keys, &err));
	must(hf_disk_take_slot(dev, keys, NULL, "bench", &id, &err));
	if (lock_fd >= 0)
		close(lock_fd);
	snprintf(conf, sizeof(conf), "%s/lock", work);
	lock_fd = open(conf, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock_fd < 0 || flock(lock_fd, LOCK_EX | LOCK_NB))
		must(-errno);
	open_store();
}

/* where the area of @slot begins */
__attribute__((unused))
static uint64_t area_begin(uint32_t slot)
{
	uint32_t left;

	return area_at(disk_of(st), slot, 0, &left);
}

#define AT_ONCE (1u << 20)

/* The store, of which the first area is in use alone, goes on at @to, which is of the same size: it
 * was made in memory, where that takes no time. */
__attribute__((unused))
static void move_to(const char *to)
{
	int in = open(dev, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_DIRECT | O_CLOEXEC);
	uint64_t end = area_begin(id.slot + 1);
	void *p = dio_alloc(AT_ONCE);

	if (in < 0 || out < 0 || !p)
		must(-errno);
	close_store();
	for (uint64_t at = 0; at < end; at += AT_ONCE) {
		must(hf_pread_full(in, p, AT_ONCE, at));
		must(hf_pwrite_full(out, p, AT_ONCE, at));
	}
	if (fsync(out))
		must(-errno);
	close(in);
	close(out);
	free(p);
	dev = to;
	open_store();
}

static void logid(struct hf_logid *l, uint32_t n)
{
	memset(l, 0, sizeof(*l));
	l->row = n + 1;
	memcpy(l->uuid, &l->row, sizeof(l->row));
	l->uuid[15] = 0xb;
	snprintf(l->name, sizeof(l->name), "r%u", n);
}

static ssize_t mem_read(void *arg, void *buf, size_t len, uint64_t off)
{
	memcpy(buf, (char *)arg + off, len);
	return len;
}

static uint64_t rng = 0x9e3779b97f4a7c15ull;

static uint64_t next_random(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

/* what no compression makes smaller */
static void fill(void *p, size_t n)
{
	uint64_t v;

	for (size_t i = 0; i < n; i += sizeof(v)) {
		v = next_random();
		memcpy((char *)p + i, &v, n - i < sizeof(v) ? n - i : sizeof(v));
	}
}

/* as a file of a tree: its attributes take about a hundred bytes */
__attribute__((unused))
static void put_file(struct hf_log *l, unsigned n, const void *p, size_t len)
{
	struct hf_source s = { .size = len, .read = mem_read, .arg = (void *)p };
	char key[64], attr[96];
	int k = snprintf(key, sizeof(key), "00000001/conf.d/%02u/part-%06u.conf", n % 100, n);

	memset(attr, 'a', sizeof(attr));
	must(hf_log_put(l, key, (uint32_t)k, attr, sizeof(attr), len ? &s : NULL, NULL, &err));
}

static uint64_t commit(struct hf_log *l)
{
	uint64_t gen;

	must(hf_log_commit(l, 0, "bench", &gen, &err));
	must(hf_log_confirm(l, &err));
	return gen;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* the value below which @of in a thousand lie; sorts */
__attribute__((unused))
static uint64_t quantile(uint64_t *v, size_t n, unsigned of)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n * of / 1000 < n ? n * of / 1000 : n - 1];
}

/* The median of the ratios of rounds, each of the p50s of @round that met the same machine: in
 * thousandths. Sorts them within rounds. */
__attribute__((unused))
static uint64_t ratio_of(uint64_t *a, uint64_t *b, size_t count, size_t round)
{
	size_t n = count / round;
	uint64_t *v = calloc(n, sizeof(*v)), mid;

	if (!v)
		must(-ENOMEM);
	for (size_t i = 0; i < n; i++)
		v[i] = 1000 * quantile(a + i * round, round, 500) / quantile(b + i * round, round, 500);
	mid = quantile(v, n, 500);
	free(v);
	return mid;
}

/* of what the kernel knows of this process, in KiB */
__attribute__((unused))
static uint64_t memory(const char *what)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	uint64_t v = 0;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, what, strlen(what)))
			v = strtoull(line + strlen(what) + 1, NULL, 10);
	if (f)
		fclose(f);
	return v;
}

#endif
