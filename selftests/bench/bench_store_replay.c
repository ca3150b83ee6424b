// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_store_replay DEVICE SCRATCH WORKDIR ENTRIES SIZE BATCH ROUNDS
 *
 * A log of ENTRIES with contents of SIZE bytes that do not compress, BATCH in a commit.
 * ROUNDS times in turn: the state read from it; all contents read then; as many bytes as
 * the log has on the disk only read, in order; as many as its records have that are sealed
 * only opened by the AEAD, in pieces of a record's size; and as many as it has in all, in
 * pieces of a file's.
 *
 * The log is made in the file SCRATCH, and copied to DEVICE, which is overwritten. Times are in nanoseconds.
 */
#include "bench_store.h"


static uint64_t sunk;

static int sink(void *ctx, const void *p, size_t n)
{
	sunk += n;
	return 0;
}

static int content(void *ctx, const struct hf_item *it)
{
	return hf_log_content(ctx, it->key, it->keylen, sink, NULL, &err);
}

static uint64_t sealed, records;

static int count(void *ctx, const struct hf_rec *r)
{
	struct rec_shape s = rec_shape(r->len, 1);

	sealed += rec_tail_at(&s) - sizeof(struct hfd_rec);
	records++;
	return 0;
}

/* @state: how long until the state is there; returns how long the contents take then */
static uint64_t replay(struct hf_logid *l, uint64_t want, uint64_t *state)
{
	uint64_t t = hf_now_ns();
	struct hf_log *log;

	sunk = 0;
	must(hf_log_read(st, l, 0, &log, &err));
	*state = hf_now_ns() - t;
	t = hf_now_ns();
	must(hf_log_each(log, "", 0, content, log));
	t = hf_now_ns() - t;
	hf_log_close(log);
	if (sunk != want) {
		fprintf(stderr, "%llu bytes of contents were read, not %llu\n", (unsigned long long)sunk,
			(unsigned long long)want);
		exit(1);
	}
	return t;
}

static uint64_t bare_read(uint64_t bytes)
{
	struct disk *d = disk_of(st);
	uint64_t off = area_begin(d->id.slot), t;
	void *p = dio_alloc(AT_ONCE);
	int fd = open(dev, O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd < 0 || !p)
		must(-errno);
	t = hf_now_ns();
	for (uint64_t done = 0; done < bytes; done += AT_ONCE)
		must(hf_pread_full(fd, p, bytes - done < AT_ONCE ? bytes - done : AT_ONCE, off + done));
	t = hf_now_ns() - t;
	close(fd);
	free(p);
	return t;
}

static uint64_t bare_aead(uint64_t bytes, size_t piece)
{
	uint8_t nonce[HF_NONCE], tag[HF_TAG], *p = malloc(piece), *q = malloc(piece);
	uint64_t t;

	if (!p || !q)
		must(-ENOMEM);
	fill(p, piece);
	hf_seal(keys->aead, "", 0, p, piece, nonce, tag);
	t = hf_now_ns();
	for (uint64_t done = 0; done < bytes; done += piece) {
		memcpy(q, p, piece);
		must(hf_unseal(keys->aead, "", 0, q, piece, nonce, tag));
	}
	t = hf_now_ns() - t;
	free(p);
	free(q);
	return t;
}

int main(int argc, char **argv)
{
	unsigned entries, rounds, batch;
	uint64_t total, used;
	struct hf_logid l;
	struct hf_log *log;
	uint8_t *text;
	size_t size;

	if (argc != 8) {
		fprintf(stderr, "usage: bench_store_replay DEVICE SCRATCH WORKDIR ENTRIES SIZE BATCH ROUNDS\n");
		return 2;
	}
	dev = argv[2];
	work = argv[3];
	entries = (unsigned)strtoul(argv[4], NULL, 10);
	size = strtoul(argv[5], NULL, 10);
	batch = (unsigned)strtoul(argv[6], NULL, 10);
	rounds = (unsigned)strtoul(argv[7], NULL, 10);
	text = malloc(size);
	if (!text)
		must(-ENOMEM);
	setup(16);
	logid(&l, 0);
	must(hf_log_claim(st, &l, 0, &log, &err));
	for (unsigned i = 0; i < entries; i++) {
		char key[64], attr[96];
		struct hf_source s = { .size = size, .read = mem_read, .arg = text };
		int k = snprintf(key, sizeof(key), "00000001/conf.d/part-%06u.conf", i);

		fill(text, size);
		memset(attr, 'a', sizeof(attr));
		must(hf_log_put(log, key, (uint32_t)k, attr, sizeof(attr), &s, NULL, &err));
		if (i % batch == batch - 1 || i + 1 == entries)
			commit(log);
	}
	used = area_room(disk_of(st), &total);
	used = total - used;
	hf_log_close(log);
	move_to(argv[1]);
	must(st->ops->read(st, &l, 0, NULL, NULL, count, NULL, &err));
	printf("bytes %llu %llu %llu\n", (unsigned long long)used, (unsigned long long)sealed,
	       (unsigned long long)records);
	for (unsigned i = 0; i < rounds; i++) {
		uint64_t state, contents = replay(&l, (uint64_t)entries * size, &state);

		printf("replay %llu %llu %llu %llu %llu\n", (unsigned long long)state,
		       (unsigned long long)contents, (unsigned long long)bare_read(used),
		       (unsigned long long)bare_aead(sealed, sealed / records),
		       (unsigned long long)bare_aead(used, size));
	}
	close_store();
	free(text);
	return 0;
}
