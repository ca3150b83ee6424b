// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * disks DIR SEED: a quorum disk DIR/disk under DIR/key that three nodes worked on in a way that
 * the seed decides: takeovers, small and large contents, commits of several records, fuzzy
 * generations, deletions, bases, trimming. Prints every generation that can be read, as JSON: for
 * each entry the hashes of its attributes and of its contents.
 */
#include "store_test.h"
#include <sodium.h>
#include "disk_int.h"

static uint64_t state;

static uint32_t dice(uint32_t n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (state >> 33) % n;
}

static uint8_t big[700 << 10];

static size_t contents(void)
{
	static const uint32_t sizes[] = { 1, 100, 600, 5000, 65536, 65537, 200000, sizeof(big) };
	size_t n = sizes[dice(HF_ARRAY(sizes))];
	bool text = dice(2);

	n -= dice(n > 50 ? 50 : 1);
	for (size_t i = 0; i < n; i++)
		big[i] = text ? 'a' + i / 97 % 26 : dice(256);
	return n;
}

static void one_put(struct hf_log *l, const char *key, size_t n, unsigned attrlen)
{
	struct hf_source s = { .size = n, .read = mem_read, .arg = big };
	char attr[4096];

	for (unsigned i = 0; i < attrlen; i++)
		attr[i] = dice(256);
	must(hf_log_put(l, key, strlen(key), attr, attrlen, n ? &s : NULL, NULL, &err));
}

static void commit(struct hf_log *l)
{
	unsigned what = dice(12);
	uint64_t gen;
	char key[64], note[40];

	if (what == 0) {	/* more than one record holds, of what does not compress */
		for (unsigned i = 0; i < 300; i++) {
			snprintf(key, sizeof(key), "00000002/many/%u", i);
			one_put(l, key, 0, 3500);
		}
	}
	for (unsigned i = dice(4) + 1; i; i--) {
		snprintf(key, sizeof(key), "00000001/f%u", dice(12));
		one_put(l, key, what == 1 ? 0 : contents(), dice(200));
	}
	if (what == 2) {
		/* compresses well */
		for (unsigned i = 0; i < 40; i++) {
			snprintf(key, sizeof(key), "00000001/a rather long directory/%u", i);
			one_put(l, key, 0, 10);
		}
	}
	if (what > 6) {
		snprintf(key, sizeof(key), "00000001/f%u", dice(12));
		must(hf_log_del(l, key, strlen(key)));
	}
	if (what == 11)
		for (unsigned i = 0; i < 300; i++) {
			snprintf(key, sizeof(key), "00000002/many/%u", i);
			must(hf_log_del(l, key, strlen(key)));
		}
	snprintf(note, sizeof(note), "roll %u", what);
	must(hf_log_commit(l, dice(4) ? 0 : HF_REC_FUZZY, dice(3) ? note : NULL, &gen, &err));
	must(hf_log_confirm(l, &err));
}

static void term(struct node *n, const struct hf_logid *id, uint64_t retain)
{
	struct hf_log *l;

	must(hf_log_claim(n->st, id, HF_CLAIM_FENCED, &l, &err));
	for (unsigned i = dice(8); i; i--) {
		commit(l);
		if (!dice(6) || hf_log_wants_base(l))
			must(hf_log_base(l, retain, &err));
	}
	must(hf_log_note(l, &err));
	if (dice(2))
		must(hf_log_release(l, &err));
	hf_log_close(l);
}

static int hash_sink(void *ctx, const void *p, size_t n)
{
	return crypto_hash_sha256_update(ctx, p, n);
}

static bool comma;

static int show_item(void *ctx, const struct hf_item *it)
{
	crypto_hash_sha256_state st;
	uint8_t attr[32], data[32];
	char hex[65];
	int ret;

	crypto_hash_sha256(attr, it->attr, it->attrlen);
	crypto_hash_sha256_init(&st);
	printf("%s\n\"%.*s\":[\"%s\",", comma ? "," : "", (int)it->keylen, (const char *)it->key,
	       sodium_bin2hex(hex, sizeof(hex), attr, 32));
	comma = true;
	ret = hf_log_content(ctx, it->key, it->keylen, hash_sink, &st, &err);
	if (ret == -EBADMSG) {	/* of a generation that need not be kept: its space was used again */
		printf("null]");
		return 0;
	}
	must(ret);
	crypto_hash_sha256_final(&st, data);
	printf("\"%s\"]", sodium_bin2hex(hex, sizeof(hex), data, 32));
	return 0;
}

struct shown { struct hf_store *s; const struct hf_logid *id; bool any; };

static int show_gen(void *ctx, const struct hf_gen_info *g)
{
	struct shown *s = ctx;
	struct hf_log *l;

	must(hf_log_read(s->s, s->id, g->gen, &l, &err));
	printf("%s{\"gen\":%llu,\"epoch\":%llu,\"when\":%llu,\"fuzzy\":%s,\"note\":\"%s\",\"items\":{", s->any ? "," : "",
	       (unsigned long long)g->gen, (unsigned long long)g->epoch, (unsigned long long)hf_log_when(l),
	       hf_log_fuzzy(l) ? "true" : "false", g->note);
	comma = false;
	must(hf_log_each(l, "", 0, show_item, l));
	printf("}}\n");
	hf_log_close(l);
	s->any = true;
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "alpha", "beta", "gamma" };
	const struct hf_logid id[] = { LOGID(31, 1), LOGID(32, 2) };
	struct hf_format f = { .cluster = "seeded", .nodes = 3, .lease_ms = 500 };
	struct node n[3];
	char key[300];
	FILE *c;

	if (argc != 3) {
		fprintf(stderr, "usage: disks DIR SEED\n");
		return 2;
	}
	state = strtoull(argv[2], NULL, 0) * 2 + 1;
	f.size = dice(2) ? 48u << 20 : 144u << 20;	/* history has to give way, or not */
	/* not dir, which cleanup() removes */
	snprintf(dev, sizeof(dev), "%s/disk", argv[1]);
	snprintf(conf, sizeof(conf), "%s/conf", argv[1]);
	snprintf(key, sizeof(key), "%s/key", argv[1]);
	snprintf(dir, sizeof(dir), "%s", argv[1]);
	c = fopen(conf, "w");
	if (!c)
		return 1;
	fprintf(c, "[node]\nkey_file = %s\nstate_dir = %s\nruntime_dir = %s\n", key, dir, dir);
	fclose(c);
	must(hf_keyfile_create(key, &err));
	must(hf_disk_format(conf, dev, &f, &err));
	must(hf_keys_load(key, &keys, &err));
	for (unsigned i = 0; i < 3; i++)
		node_make(&n[i], names[i]);
	for (unsigned i = 0; i < 14; i++) {
		unsigned who = dice(3);

		/* the first log keeps its history, the second one does not */
		term(&n[who], &id[0], 1000);
		term(&n[dice(3)], &id[1], 3);
		if (!dice(4)) {
			node_close(&n[who]);
			node_open(&n[who]);
		}
	}
	printf("[");
	for (unsigned i = 0; i < 2; i++) {
		struct shown s = { n[0].st, &id[i], false };

		printf("%s[", i ? "," : "");
		must(hf_log_history(n[0].st, &id[i], show_gen, &s, &err));
		printf("]");
	}
	printf("]\n");
	for (unsigned i = 0; i < 3; i++)
		node_close(&n[i]);
	return 0;
}
