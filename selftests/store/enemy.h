/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The enemy's hands: a disk image that is cut up and put together again, logs whose
 * contents are known for each generation, and one question: what is served?
 */
#ifndef ENEMY_H
#define ENEMY_H
#include "store_test.h"

#define SECT 4096ul

static int raw = -1;		/* the disk, as the enemy holds it */

__attribute__((unused))
static uint64_t num(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

__attribute__((unused))
static uint8_t *take(uint64_t off, size_t n)
{
	uint8_t *p = malloc(n);

	must(hf_pread_full(raw, p, n, off));
	return p;
}

__attribute__((unused))
static void put_at(uint64_t off, const void *p, size_t n)
{
	must(hf_pwrite_full(raw, p, n, off));
}

/* the whole disk */
__attribute__((unused))
static uint8_t *image(size_t *n)
{
	*n = lseek(raw, 0, SEEK_END);
	return take(0, *n);
}

/* places, from the superblock, which is in the clear */
static uint64_t super_field(unsigned at, unsigned n)
{
	uint8_t *sb = take(0, SECT);
	uint64_t v = num(sb + at, n);

	free(sb);
	return v;
}
#define super_num(at) super_field(at, 8)

__attribute__((unused))
static uint64_t node_at(uint32_t slot, unsigned which)
{
	return super_num(216) + (2ull * slot + which) * SECT;
}

__attribute__((unused))
static uint64_t claim_at(uint32_t row, uint32_t slot, unsigned which)
{
	return super_num(224) + super_num(232) * row + (2ull * slot + which) * SECT;
}

/* areas lie behind the rows, and are of one size as long as nothing grew */
static uint64_t areas(void)
{
	return (super_num(224) + super_num(232) * super_field(180, 4) + 65535) / 65536 * 65536;
}

static uint64_t area_len(void) { return (super_num(208) - areas()) / super_field(176, 4) / 65536 * 65536; }

__attribute__((unused))
static uint64_t area_at(uint32_t slot) { return areas() + area_len() * slot; }

struct rec { uint64_t off; uint32_t sectors, tail; uint64_t seq; };

/* records between two places, by their magic */
__attribute__((unused))
static size_t records(uint64_t from, uint64_t to, struct rec *v, size_t max)
{
	uint8_t *p = take(from, to - from);
	size_t n = 0;

	for (uint64_t at = 0; at + SECT <= to - from && n < max; at += SECT)
		if (!memcmp(p + at, "HFRC", 4))
			v[n++] = (struct rec){ from + at, num(p + at + 8, 4), num(p + at + 12, 4), num(p + at + 16, 8) };
	free(p);
	return n;
}

/* ---- logs whose contents are known ---- */

/* what generation @g of log @which put; every third is too large to travel along */
static size_t value(const struct hf_logid *id, uint64_t g, char *buf)
{
	size_t n = g % 3 == 2 ? 300000 : 20 + g * 97 % 1500;
	unsigned seed = id->uuid[0] * 1000 + g;

	for (size_t i = 0; i < n; i++) {
		seed = seed * 1103515245 + 12345;
		buf[i] = seed >> 16;
	}
	return n;
}

__attribute__((unused))
static void commits(struct hf_log *l, const struct hf_logid *id, unsigned count)
{
	static char buf[300000];
	uint64_t gen;

	while (count--) {
		uint64_t g = hf_log_gen(l) + 1;
		size_t n = value(id, g, buf);
		char key[16];

		snprintf(key, sizeof(key), "k%llu", (unsigned long long)g);
		must(put(l, key, buf, n));
		must(put(l, "newest", buf, n));
		must(hf_log_commit(l, 0, NULL, &gen, &err));
		must(hf_log_confirm(l, &err));
	}
}

#define WRONG (-EILSEQ)

/* Is it exactly some generation of this log? -EBADMSG: named as damaged; WRONG: served
 * what never was. */
static int exact(struct hf_log *l, const struct hf_logid *id)
{
	static char buf[300000];
	uint64_t gen = hf_log_gen(l);

	for (uint64_t g = 1; g <= gen + 2; g++) {
		struct hf_item it;
		struct sunk s = { 0 };
		char key[16];
		size_t n = value(id, g > gen ? gen : g, buf);
		int ret;

		snprintf(key, sizeof(key), "k%llu", (unsigned long long)g);
		if (g == gen + 1)
			continue;
		if (g > gen)
			strcpy(key, "newest");
		if (!hf_log_get(l, key, strlen(key), &it))
			return gen ? WRONG : 0;
		err = (struct hf_err){ 0 };
		ret = hf_log_content(l, key, strlen(key), sink, &s, &err);
		if (!ret && (s.n != n || memcmp(s.p, buf, n)))
			ret = WRONG;
		free(s.p);
		if (ret)
			return ret == -EBADMSG && err.exit != HF_DAMAGED ? WRONG : ret;
	}
	return 0;
}

/* Whoever has the key reads the newest generation afresh. */
__attribute__((unused))
static int served(const struct hf_logid *id, uint64_t *gen)
{
	struct hf_store_params p = { .keys = keys };
	struct hf_store *st;
	struct hf_log *l;
	int ret;

	*gen = 0;
	err = (struct hf_err){ 0 };
	ret = hf_store_open(dev, &p, &st, &err);
	if (ret)
		return ret;
	ret = hf_log_read(st, id, 0, &l, &err);
	if (!ret) {
		*gen = hf_log_gen(l);
		ret = exact(l, id);
		hf_log_close(l);
	} else if (ret == -EBADMSG && err.exit != HF_DAMAGED) {
		ret = WRONG;
	}
	st->ops->close(st);
	return ret;
}

/* `holdfast disk check` */
__attribute__((unused))
static int check(void)
{
	char *json = NULL;
	int ret;

	err = (struct hf_err){ 0 };
	ret = hf_disk_check(conf, dev, &json, &err);
	free(json);
	return ret == -EBADMSG && err.exit != HF_DAMAGED ? WRONG : ret;
}
#endif
