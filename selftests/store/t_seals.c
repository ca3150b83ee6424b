// SPDX-License-Identifier: GPL-2.0-or-later
/* Claims that fail at a write, time and again, do not use up the space that others need. */
#include "store_test.h"
#include "disk_int.h"
#include <pthread.h>

#define LEASE_MS 500

static struct node a, b;

static int claim(struct node *n, const struct hf_logid *id, const char *seam)
{
	struct hf_log *l = NULL;
	int ret;

	err = (struct hf_err){ 0 };
	hf_seam_init(seam);
	ret = hf_log_claim(n->st, id, HF_CLAIM_FENCED, &l, &err);
	hf_seam_init("");
	hf_log_close(l);
	return ret;
}

static uint64_t free_blocks(struct node *n) { return area_room(disk_of(n->st), NULL) / HFD_BLOCK; }

static int value(struct node *n, const struct hf_logid *id, const char *v, bool base)
{
	struct hf_log *l;
	uint64_t gen;
	int ret = hf_log_claim(n->st, id, HF_CLAIM_FENCED, &l, &err);

	if (ret)
		return ret;
	ret = put(l, "v", v, strlen(v));
	if (!ret)
		ret = hf_log_commit(l, 0, NULL, &gen, &err);
	if (!ret)
		ret = hf_log_confirm(l, &err);
	if (!ret && base)
		ret = hf_log_base(l, 0, &err);
	hf_log_close(l);
	return ret;
}

static int value_is(struct node *n, const struct hf_logid *id, const char *v)
{
	struct hf_log *l = NULL;
	int good = !hf_log_read(n->st, id, 0, &l, &err) && holds(l, "v", v, strlen(v));

	hf_log_close(l);
	return good;
}

/* contents until there is no more room for any */
static void fill_up(struct node *n)
{
	static char noise[100000];
	struct hf_logid id = LOGID(9, 9);
	struct hf_log *l;
	unsigned seed = 1, i = 0;
	uint64_t gen;
	int ret;

	must(hf_log_claim(n->st, &id, HF_CLAIM_FENCED, &l, &err));
	do {
		char key[16];

		for (size_t k = 0; k < sizeof(noise); k++) {
			seed = seed * 1103515245 + 12345;
			noise[k] = seed >> 16;
		}
		snprintf(key, sizeof(key), "%u", i++);
		ret = put(l, key, noise, sizeof(noise));
		if (!ret)
			ret = hf_log_commit(l, 0, NULL, &gen, &err);
		if (!ret)
			ret = hf_log_confirm(l, &err);
		if (!ret && i % 8 == 0)
			(void)hf_log_base(l, 0, &err);
	} while (!ret);
	if (ret != -ENOSPC)
		must(ret);
	hf_log_close(l);
}

static const char *fails;	/* the seal, after the ballot; or one of the two sectors that tell of it */

/* @n times, no more than @fast within a lease */
static void in_vain(const struct hf_logid *id, unsigned n, unsigned fast, const char *what)
{
	unsigned wrong = 0;
	int ret;

	for (unsigned i = 0; i < n; i++) {
		if (i % fast == 0)
			usleep(LEASE_MS * 1000);
		ret = claim(&a, id, fails);
		if (ret != -EIO && !wrong++)
			printf("# after %u: %d %s\n", i, ret, err.msg);
	}
	is(wrong, 0, what);
	printf("# %llu blocks are free\n", (unsigned long long)free_blocks(&a));
}

static void again(const char *what)
{
	struct hf_logid own = LOGID(1, 1), theirs = LOGID(2, 2), fresh = LOGID(3, 3), reg = LOGID(4, 0);
	unsigned many;

	fails = what;
	printf("# %s\n", fails);
	setup(2, 16u << 20, LEASE_MS);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	many = disk_of(a.st)->nblk + 20;
	must(value(&a, &own, "own", true));
	must(value(&b, &theirs, "theirs", false));
	must(claim(&b, &theirs, ""));
	must(value(&a, &reg, "reg", true));

	in_vain(&own, many, 50, "its own log: always for the same reason");
	in_vain(&reg, many, 50, "registrations");
	in_vain(&fresh, many, 50, "one that nobody had before");
	in_vain(&theirs, many, 50, "one whose newest epoch, another's, holds its seal alone");
	usleep(LEASE_MS * 1000);
	is(value(&a, &fresh, "fresh", false), 0, "what can be written again can be claimed");
	is(value(&a, &own, "own again", false), 0, "all of it");

	fill_up(&a);
	printf("# full: %llu blocks are free\n", (unsigned long long)free_blocks(&a));
	in_vain(&own, 12, 3, "in a full area: its own log");
	in_vain(&theirs, 12, 3, "another's");
	usleep(LEASE_MS * 1000);
	is(value(&a, &own, "one more", false), 0, "P1: then one that succeeds");
	is(value(&a, &theirs, "taken", false), 0, "the other one too");
	ok(value_is(&b, &own, "one more") && value_is(&b, &theirs, "taken"), "which all can read");
	{
		char *json = NULL;

		is(hf_disk_check(conf, dev, &json, &err), 0, "the disk is sound");
		free(json);
	}
	node_close(&a);
	node_close(&b);
	hf_keys_free(keys);
	cleanup();
}

static void *collect(void *arg)
{
	area_collect(disk_of(a.st));
	return NULL;
}

/* What failed while another claim looks for space is as new as any: its write may still land. */
static void meanwhile(void)
{
	struct hf_logid own = LOGID(1, 1);
	uint64_t before, failed;
	pthread_t t;

	setup(1, 16u << 20, 4 * LEASE_MS);
	node_make(&a, "alpha");
	must(value(&a, &own, "own", true));
	before = free_blocks(&a);
	hf_seam_init("collect.vain:1:sleep=500");
	must(-pthread_create(&t, NULL, collect, NULL));
	usleep(100000);
	is(claim(&a, &own, "disk.write:2:eio"), -EIO, "a claim that fails while space is looked for");
	failed = free_blocks(&a);
	ok(failed < before, "holds its block (%llu are free, of %llu)", (unsigned long long)failed, (unsigned long long)before);
	pthread_join(t, NULL);
	is(free_blocks(&a), failed, "until nothing can land there any more");
	node_close(&a);
	hf_keys_free(keys);
	cleanup();
}

int main(void)
{
	meanwhile();
	again("disk.write:2:eio");
	again("disk.write:3:eio");
	again("disk.write:4:eio");
	return tap_done();
}
