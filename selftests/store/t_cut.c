// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * W23: the log cut at every byte. A write that was cut off leaves a prefix of the
 * new bytes over the old ones: the commits before it are served, it is not, and
 * nothing else ever is. Before what is noted as confirmed, the same is damage, and named.
 */
#include "store_test.h"

static struct node a, b;
static struct hf_logid id = LOGID(31, 2);
static uint8_t *img;
static size_t img_len;
static int fd;

static void load(void)
{
	img_len = lseek(fd, 0, SEEK_END);
	free(img);
	img = malloc(img_len);
	must(hf_pread_full(fd, img, img_len, 0));
}

struct rec { size_t off, len; };

/* records by their magic, in the order of their places */
static size_t records(struct rec *v, size_t max)
{
	size_t n = 0;

	for (size_t off = 0; off + 4096 <= img_len && n < max; off += 4096)
		if (!memcmp(img + off, "HFRC", 4)) {
			uint32_t sectors, tail;

			memcpy(&sectors, img + off + 8, 4);
			memcpy(&tail, img + off + 12, 4);
			v[n++] = (struct rec){ off, (sectors + tail) * 4096ul };
		}
	return n;
}

static int gen_now(uint64_t *gen)
{
	struct hf_log *l;
	int ret = hf_log_read(b.st, &id, 0, &l, &err);

	*gen = 0;
	if (ret)
		return ret;
	*gen = hf_log_gen(l);
	for (uint64_t g = 1; g <= *gen; g++) {
		char key[16], val[4000];

		snprintf(key, sizeof(key), "k%llu", (unsigned long long)g);
		memset(val, 'a' + (int)g, sizeof(val));
		if (!holds(l, key, val, g % 2 ? 5 : 3000))
			ret = -EILSEQ;
	}
	hf_log_close(l);
	return ret;
}

static void patch(size_t off, const void *p, size_t n)
{
	must(hf_pwrite_full(fd, p, n, off));
}

int main(void)
{
	struct rec rec[64];
	struct hf_log *l;
	uint64_t gen;
	size_t n, cuts = 0, bad = 0, named = 0, flips = 0, served = 0, sealed = 0;
	static uint8_t zero[1 << 16];

	/* in memory, where that can be: each byte is a write and many reads */
	if (!access("/dev/shm", W_OK))
		setenv("TMPDIR", "/dev/shm", 1);
	setup(2, 8u << 20, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	fd = open(dev, O_RDWR | O_CLOEXEC);
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	for (int g = 1; g <= 4; g++) {
		char key[16], val[4000];

		snprintf(key, sizeof(key), "k%d", g);
		memset(val, 'a' + g, sizeof(val));
		/* contents that do not compress to nothing, in the tail */
		must(put(l, key, val, g % 2 ? 5 : 3000));
		must(hf_log_commit(l, 0, NULL, &gen, &err));
		must(hf_log_confirm(l, &err));
	}
	load();
	n = records(rec, 64);
	ok(n == 5, "a seal and four commits are on the disk (%zu)", n);
	is(gen_now(&gen), 0, "the log reads");
	is(gen, 4, "to its end");
	for (size_t i = 1; i < n; i++) {
		for (size_t cut = 0; cut <= rec[i].len; cut++) {
			int ret;

			/* of record i the first @cut bytes landed; of what follows nothing */
			if (!cut)
				for (size_t k = i; k < n; k++)
					patch(rec[k].off, zero, rec[k].len);
			else
				patch(rec[i].off + cut - 1, img + rec[i].off + cut - 1, 1);
			ret = gen_now(&gen);
			/* what is behind the last byte that is not zero may be cut without loss */
			size_t need = rec[i].len;

			while (need && !img[rec[i].off + need - 1])
				need--;
			if (ret || gen != i - 1 + (cut >= need)) {
				if (bad++ < 5)
					printf("# record %zu cut at %zu of %zu: %d, generation %llu: %s\n", i, cut, need,
					       ret, (unsigned long long)gen, err.msg);
			}
			cuts++;
		}
		for (size_t k = i; k < n; k++)
			patch(rec[k].off, img + rec[k].off, rec[k].len);
	}
	ok(!bad, "%zu cuts: each time exactly the commits before it are served", cuts);

	/* now the owner notes what is confirmed: the same is damage */
	must(hf_log_note(l, &err));
	load();
	bad = 0;
	for (size_t i = 0; i < n; i++)
		for (size_t at = 0; at < rec[i].len; at += i == 2 ? 1 : 97) {
			uint8_t x = img[rec[i].off + at] ^ (1 << at % 8);
			size_t tail0;
			uint32_t sectors;
			uint16_t lead;
			int ret;

			memcpy(&sectors, img + rec[i].off + 8, 4);
			memcpy(&lead, img + rec[i].off + 6, 2);
			tail0 = sectors * 4096ul - lead;
			sealed += at < tail0;
			patch(rec[i].off + at, &x, 1);
			err = (struct hf_err){ 0 };
			ret = gen_now(&gen);
			flips++;
			if (ret == -EBADMSG && err.exit == HF_DAMAGED)
				named++;
			else if (!ret && gen == 4 && at >= tail0)
				served++;	/* padding behind the chunks of a record that is not the last */
			else if (bad++ < 5)
				printf("# byte %zu of record %zu flipped: %d, generation %llu %s\n", at, i, ret,
				       (unsigned long long)gen, err.msg);
			patch(rec[i].off + at, img + rec[i].off + at, 1);
		}
	ok(!bad, "P11: %zu flipped bytes: %zu named as damage, %zu in unused padding, none served wrongly", flips, named, served);
	ok(named > sealed, "all of a record is named, and contents behind it (%zu, %zu)", named, sealed);
	is(gen_now(&gen), 0, "put right again it reads");
	hf_log_close(l);
	return tap_done();
}
