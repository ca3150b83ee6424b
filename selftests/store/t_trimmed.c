// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P1: a log is trimmed, and its space used again, while another node reads it to claim
 * it. A record that was overwritten looks like one that was cut off, so what is read
 * ends too early, and what was confirmed after that would be lost.
 */
#include "store_test.h"
#include "disk_int.h"
#include "log_int.h"
#include <pthread.h>

static struct node a, b;
static struct hf_logid id = LOGID(71, 2);
static struct hf_log *owned;
static pthread_t owner;
static bool begun, trimmed;
static uint64_t last_record, seen;
static int fd;

static void *trim(void *arg)
{
	struct hf_err e = { 0 };

	trimmed = !hf_log_base(owned, 0, &e);
	return NULL;
}

static void commit(const char *key)
{
	uint64_t gen;

	must(put(owned, key, key, strlen(key)));
	must(hf_log_commit(owned, 0, NULL, &gen, &err));
	must(hf_log_confirm(owned, &err));
}

/* The reading begins: now the owner, which had confirmed its base before, says so in the row, and
 * somebody uses what is free. */
static void restart(void *ctx)
{
	static const uint8_t other[HFD_SECTOR] = { 1 };

	seen = 0;
	if (begun)
		return;
	begun = true;
	pthread_join(owner, NULL);
	if (trimmed)
		must(hf_pwrite_full(fd, other, sizeof(other), last_record));
}

static int record(void *ctx, const struct hf_rec *r)
{
	seen = r->gen;
	return 0;
}

static uint64_t place_of_last(void)
{
	struct row *r = malloc(sizeof(*r));
	struct rec_hdr h;
	static uint8_t sector[HFD_SECTOR];
	uint64_t at, last = 0;

	must(row_read(disk_of(a.st), id.row, r));
	at = row_accepted(r, id.uuid)->acc.base.place;
	for (;;) {
		must(hf_pread_full(fd, sector, sizeof(sector), at));
		if (!rec_peek(sector, 1u << 20, &h))
			break;
		last = at;
		at += rec_size(&h);
	}
	free(r);
	return last;
}

static void raced(void)
{
	struct hf_claim *c = NULL;
	uint64_t gen;

	setup(2, 8u << 20, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	fd = open(dev, O_RDWR | O_CLOEXEC);
	must(hf_log_claim(a.st, &id, 0, &owned, &err));
	commit("k1");
	must(hf_log_base(owned, 0, &err));
	commit("k2");
	commit("k3");
	gen = hf_log_gen(owned);
	last_record = place_of_last();
	/* between the confirmation of the base and the word in the row there is time to claim */
	hf_seam_init("trim.row:1:sleep=1000");
	must(pthread_create(&owner, NULL, trim, NULL));
	hf_sleep_ms(300);
	is(b.st->ops->claim(b.st, &id, HF_CLAIM_FENCED, NULL, restart, record, NULL, &c, &err), 0, "it is claimed while it is trimmed");
	if (!trimmed)
		skip("the machine was too slow for the two to meet", "");
	else
		ok(seen == gen, "P1: all that was confirmed is in what was adopted (generation %llu of %llu)",
		   (unsigned long long)seen, (unsigned long long)gen);
	c->ops->drop(c);
	hf_log_close(owned);
	close(fd);
	node_close(&a);
	node_close(&b);
	hf_keys_free(keys);
	cleanup();
}

static struct { uint64_t gen; bool gone; } listed[64];
static unsigned nlisted;

static int list(void *ctx, const struct hf_gen_info *g)
{
	listed[nlisted].gone = false;
	listed[nlisted++].gen = g->gen;
	return 0;
}

static void gone(void *ctx, uint64_t gen)
{
	for (unsigned i = 0; i < nlisted; i++)
		listed[i].gone |= listed[i].gen == gen;
}

static int read_one(void *ctx, const struct hf_item *it)
{
	struct sunk s = { 0 };
	int ret = hf_log_content(ctx, it->key, it->keylen, sink, &s, &err);

	free(s.p);
	return ret;
}

/* what is listed and not said to be gone can be read, all of it; what is said to be gone cannot */
static void history(unsigned overwritten)
{
	struct hf_store_params p = { .keys = keys };
	unsigned good = 0, bad = 0, wrong = 0;
	struct hf_store *st;

	nlisted = 0;
	must(hf_store_open(dev, &p, &st, &err));	/* which has read nothing ahead */
	must(hf_log_history(st, &id, list, NULL, &err));
	must(hf_log_gone(st, &id, gone, NULL, &err));
	for (unsigned i = 0; i < nlisted; i++) {
		struct hf_log *l;
		int ret;

		err = (struct hf_err){ 0 };
		ret = hf_log_read(st, &id, listed[i].gen, &l, &err);
		if (!ret) {
			ret = hf_log_each(l, "", 0, read_one, l);
			hf_log_close(l);
		}
		if (!ret)
			good++;
		else if (ret == -EBADMSG && err.exit == HF_DAMAGED && strstr(err.msg, "used again"))
			bad++;
		else
			printf("# generation %llu: %d %s\n", (unsigned long long)listed[i].gen, ret, err.msg);
		wrong += !!ret != listed[i].gone || (ret && ret != -EBADMSG);
	}
	st->ops->close(st);
	ok(!wrong && good && bad == overwritten, "history says which generations are gone (%u, and %u that can be read)", bad, good);
}

/* What an epoch that was released keeps of its past goes when its node needs the room. That is no damage. */
static void released(void)
{
	struct hf_logid other = LOGID(72, 3);
	struct hf_log *l = NULL;
	static char v[60000];
	char *json = NULL, key[8];
	uint64_t gen;
	int ret;

	setup(2, 4u << 20, 500);
	node_make(&a, "alpha");
	must(hf_log_claim(a.st, &id, 0, &owned, &err));
	commit("k1");
	for (unsigned i = 0; i < 4; i++) {	/* so that its past fills blocks of its own */
		for (size_t k = 0; k < sizeof(v); k++)
			v[k] = random();
		must(put(owned, "k2", v, sizeof(v)));
		must(hf_log_commit(owned, 0, NULL, &gen, &err));
	}
	must(hf_log_base(owned, 1000, &err));
	commit("k3");
	must(hf_log_release(owned, &err));
	hf_log_close(owned);
	must(hf_log_claim(a.st, &other, 0, &l, &err));
	for (unsigned i = 0; i < 120; i++) {
		for (size_t k = 0; k < sizeof(v); k++)
			v[k] = random();
		snprintf(key, sizeof(key), "z%u", i % 11);
		must(put(l, key, v, sizeof(v)));
		if (hf_log_commit(l, 0, NULL, &gen, &err))
			hf_log_abort(l);	/* full, for now */
		(void)hf_log_base(l, 0, &err);
	}
	hf_log_close(l);
	must(hf_log_read(a.st, &id, 0, &l, &err));
	ok(holds(l, "k1", "k1", 2) && holds(l, "k3", "k3", 2), "P1: a log that is released is kept in an area that is short of room");
	hf_log_close(l);
	err = (struct hf_err){ 0 };
	ret = hf_disk_check(conf, dev, &json, &err);
	is(ret, 0, "and that its past went is no damage");
	if (ret)
		printf("# %s\n", err.msg);
	free(json);
	node_close(&a);
}

/* Contents of the past are used again while their records are still there. */
static void contents(void)
{
	static char v[60000];
	static const uint8_t other[HFD_SECTOR] = { 1 };
	struct hf_log *l;
	struct ent *e;
	uint64_t gen;

	setup(2, 4u << 20, 500);
	node_make(&a, "alpha");
	fd = open(dev, O_RDWR | O_CLOEXEC);
	must(hf_log_claim(a.st, &id, 0, &owned, &err));
	commit("k1");
	for (unsigned i = 0; i < 4; i++) {
		for (size_t k = 0; k < sizeof(v); k++)
			v[k] = random();
		must(put(owned, "k2", v, sizeof(v)));
		must(hf_log_commit(owned, 0, NULL, &gen, &err));
		if (i % 2)
			commit("k4");
	}
	must(hf_log_base(owned, 1000, &err));
	must(hf_log_release(owned, &err));
	hf_log_close(owned);
	history(0);
	must(hf_log_read(a.st, &id, 3, &l, &err));	/* the next one has its k2, too */
	e = table_get(&l->items, "k2", 2);
	must(e && e->nref ? 0 : -ENOENT);
	/* the middle: the record itself may end in the sector where they begin */
	must(hf_pwrite_full(fd, other, sizeof(other), (e->ref[0].place + sizeof(v) / 2) / HFD_SECTOR * HFD_SECTOR));
	hf_log_close(l);
	history(2);
	must(hf_log_read(a.st, &id, 0, &l, &err));
	ok(holds(l, "k2", v, sizeof(v)), "and the newest state is whole");
	hf_log_close(l);
	close(fd);
	node_close(&a);
	hf_keys_free(keys);
	cleanup();
}

int main(void)
{
	raced();
	released();
	contents();
	return tap_done();
}
