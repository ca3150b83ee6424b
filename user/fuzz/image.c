// SPDX-License-Identifier: GPL-2.0-or-later
/* A small quorum disk in memory, made by the library itself: two nodes, takeovers, bases,
 * deletions, contents in tails and in packs. */
#include "fuzz.h"
#include "disk.h"
#include <sodium.h>
#include <sys/mman.h>
#include <unistd.h>

struct image image = { .fd = -1 };
const struct hf_logid image_log = { .uuid = { 7, 1, 2, 3 }, .row = 1, .name = "res" };

static struct hf_err err;
#define good(expr) do { \
	int r_ = (expr); \
	if (r_) { \
		fprintf(stderr, "%s: %d %s\n", #expr, r_, err.msg); \
		abort(); \
	} \
} while (0)

static int memory(const char *name, const char *text, char path[32])
{
	int fd = memfd_create(name, 0);

	must(fd >= 0);
	must(!fchmod(fd, 0600));
	snprintf(path, 32, "/proc/%d/fd/%d", getpid(), fd);
	must(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

/* One run as the other: where things lie depends on the sizes alone, what they hold on this. */
static uint64_t state;

static uint32_t number(void)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return state >> 32;
}

static void numbers(void *p, const size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)p)[i] = number();
}

static const char *who(void) { return "the same each time"; }

static struct randombytes_implementation same = {
	.implementation_name = who, .random = number, .buf = numbers,
};

static char key_file[64];

static void drop_key(void)
{
	unlink(key_file);
}

void image_keys(void)
{
	char text[66];
	int fd;

	must(!randombytes_set_implementation(&same));
	/* a link is not followed to the key, so it lies in a file for this moment */
	snprintf(key_file, sizeof(key_file), "%.40s/hf-fuzz-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	fd = mkstemp(key_file);
	must(fd >= 0);
	atexit(drop_key);
	memset(text, '5', 64);
	must(write(fd, text, 64) == 64);
	close(fd);
	good(hf_keys_load(key_file, &image.keys, &err));
}

static ssize_t mem_read(void *arg, void *buf, size_t len, uint64_t off)
{
	memcpy(buf, (char *)arg + off, len);
	return len;
}

static void put(struct hf_log *l, const char *key, const void *p, size_t n)
{
	const struct hf_source s = { .size = n, .read = mem_read, .arg = (void *)p };
	/* the attributes of a file: version, times, mode, owner, size, names, one xattr */
	struct hf_buf a = HF_BUF_INIT;

	hf_buf_u8(&a, 1);
	hf_buf_u64(&a, 1700000000);
	hf_buf_u32(&a, 5);
	hf_buf_u32(&a, 0100644);
	hf_buf_u64(&a, 0);
	hf_buf_u64(&a, 1700000001);
	hf_buf_u32(&a, 6);
	hf_buf_u64(&a, 0);
	hf_buf_u64(&a, n);
	hf_buf_blob(&a, "root", 4);
	hf_buf_blob(&a, "root", 4);
	hf_buf_blob(&a, "", 0);
	hf_buf_u32(&a, 1);
	hf_buf_blob(&a, "user.x", 6);
	hf_buf_blob(&a, "value", 5);
	must(!a.bad);
	good(hf_log_put(l, key, strlen(key), a.p, a.len, n ? &s : NULL, NULL, &err));
	hf_buf_free(&a);
}

static void generation(struct hf_log *l, unsigned g)
{
	static uint8_t big[300 << 10];
	uint64_t gen, r = 88172645463325252ull + g;
	char key[32];

	for (size_t i = 0; i < sizeof(big); i++) {
		r ^= r << 13;
		r ^= r >> 7;
		r ^= r << 17;
		big[i] = g % 3 ? r : 'a' + i / 1000 % 26;
	}
	snprintf(key, sizeof(key), "00000001/f%u", g % 5);
	put(l, key, big, g % 4 == 1 || g > IMAGE_GENS / 2 ? sizeof(big) : 700 * g + 3);
	snprintf(key, sizeof(key), "00000001/d%u", g);
	put(l, key, NULL, 0);
	if (g > 2) {
		snprintf(key, sizeof(key), "00000001/d%u", g - 2);
		good(hf_log_del(l, key, strlen(key)));
	}
	good(hf_log_commit(l, g == 7 ? HF_REC_FUZZY : 0, "sync", &gen, &err));
	must(gen == g);
	good(hf_log_confirm(l, &err));
	good(hf_log_note(l, &err));
}

#define AREA_FIRST (1u << 20)
#define AREA_GROWN (3u << 20)

/* records or contents of both nodes lie in the part that came later */
static bool grown(void)
{
	const struct part *p = &image.sb.part[1];
	bool any[2] = { false, false };

	for (uint64_t i = 0; image.sb.nparts == 2 && i < p->size * 2; i++)
		any[i / p->size] |= image.data[p->off + i] != 0;
	return any[0] && any[1];
}

void image_make(void)
{
	struct hf_format f = { .cluster = "fuzz", .nodes = 2, .nodes_max = 2, .lease_ms = 500, .resources = 2, .size = 0 };
	struct hf_identity id[2];
	char text[256];
	unsigned g = 1;

	image_keys();
	snprintf(text, sizeof(text), "[node]\nkey_file = %s\nstate_dir = /\nruntime_dir = /\n", key_file);
	memory("conf", text, image.conf);
	image.fd = memory("disk", "", image.path);
	image.size = (64u << 10) * 3 + 2 * AREA_FIRST;
	must(!ftruncate(image.fd, image.size));
	good(hf_disk_format(image.conf, image.path, &f, &err));
	for (unsigned i = 0; i < 2; i++)
		good(hf_disk_take_slot(image.path, image.keys, NULL, i ? "beta" : "alpha", &id[i], &err));
	for (unsigned term = 0; term < 4; term++) {
		/* the areas get a second part, in which the later terms go on */
		if (term == 2) {
			image.size += 2 * AREA_GROWN;
			must(!ftruncate(image.fd, image.size));
			good(hf_disk_grow(image.conf, image.path, 0, 0, NULL, &err));
		}
		const struct hf_store_params p = { .keys = image.keys, .id = &id[term % 2] };
		struct hf_store *s;
		struct hf_log *l;

		good(hf_store_open(image.path, &p, &s, &err));
		good(s->ops->join(s, &err));
		good(hf_log_claim(s, &image_log, HF_CLAIM_FENCED, &l, &err));
		for (unsigned i = 0; i < IMAGE_GENS / 4; i++)
			generation(l, g++);
		if (term == 1 || term == 2)
			good(hf_log_base(l, 100, &err));
		if (term == 2)
			good(hf_log_release(l, &err));
		hf_log_close(l);
		good(s->ops->leave(s));
		s->ops->close(s);
	}
	image.data = malloc(image.size);
	must(image.data);
	good(hf_pread_full(image.fd, image.data, image.size, 0));
	good(super_in(&image.sb, image.keys, image.data, &err));
	must(grown());
	memcpy(image.bind.cluster, image.sb.cluster_uuid, 16);
	memcpy(image.bind.disk, image.sb.disk_uuid, 16);
	image.bind.keys = image.keys;
}
