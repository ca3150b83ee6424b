/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conformance: a store that is full, out of reach, damaged, or another's (P1, P11). */
#include "conform.h"

static void full(void)
{
	struct hf_logid id = LOGID(20, 2), other = LOGID(21, 3);
	static char big[300000];
	struct hf_log *l, *o = NULL;
	unsigned kept = 0, bad = 0;
	char key[16];
	int ret = 0;

	store(2, 10u << 20);
	must(hf_log_claim(na.st, &id, 0, &l, &err));
	for (unsigned i = 0; i < 100 && !ret; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		fill(big, sizeof(big), i);
		ret = put(l, key, big, sizeof(big));
		if (!ret)
			ret = commit(l);
		kept += !ret;
	}
	is(ret, -ENOSPC, "a store that runs full says so");
	is(err.exit, HF_UNAVAIL, "with exit code 7");
	hf_log_abort(l);
	for (unsigned i = 0; i < kept; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		fill(big, sizeof(big), i);
		bad += !holds(l, key, big, sizeof(big));
	}
	ok(kept > 2 && !bad, "P1: what was confirmed is there (%u)", kept);
	is(set(l, "small", "value"), 0, "what fits is still taken");
	ret = hf_log_claim(na.st, &other, 0, &o, &err);
	is(ret, 0, "another log can be claimed");
	hf_log_close(o);
	for (unsigned i = 0; i < kept; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		must(hf_log_del(l, key, strlen(key)));
	}
	ret = commit(l);
	if (!ret)
		ret = hf_log_base(l, 0, &err);
	is(ret, 0, "P8: deleting works in a full one");
	fill(big, sizeof(big), 1);
	ret = put(l, "again", big, sizeof(big));
	if (!ret)
		ret = commit(l);
	is(ret, 0, "and makes room");
	ok(holds(l, "small", "value", 5), "nothing else is lost");
	hf_log_close(l);
	is(sound(), 0, "the store is sound");
	store_end();
}

/* Each read and each write in turn fails, once or from then on. */
static void out_of_reach(void)
{
	struct hf_logid id = LOGID(22, 2);
	struct hf_log *l = NULL, *r = NULL;
	unsigned failed = 0, odd = 0, lost = 0, value = 0;
	struct hf_item it;

	store(2, 48u << 20);
	must(hf_log_claim(na.st, &id, 0, &l, &err));
	must(set(l, "first", "1"));
	hf_log_close(l);
	l = NULL;
	for (unsigned k = 0; k < 2; k++)
		for (unsigned n = 1; n < 40; n++) {
			char spec[48];
			unsigned v = 0, next = value + 1;
			uint64_t gen;
			int ret;

			snprintf(spec, sizeof(spec), "%s:%u%s:eio", k ? "disk.write" : "disk.read", n, n % 2 ? "" : "+");
			hf_seam_init(spec);
			err = (struct hf_err){ 0 };
			ret = hf_log_claim(na.st, &id, HF_CLAIM_FENCED, &l, &err);
			for (unsigned i = 0; i < 2 && !ret; i++, next++) {
				ret = hf_log_put(l, "v", 1, &next, sizeof(next), NULL, NULL, &err);
				if (!ret)
					ret = hf_log_commit(l, 0, NULL, &gen, &err);
				if (!ret)
					ret = hf_log_confirm(l, &err);
				if (!ret)
					value = next;
			}
			if (!ret)
				ret = hf_log_note(l, &err);
			hf_seam_init("");
			failed += ret != 0;
			/* what the caller is told: out of reach */
			if (ret && (err.exit != HF_UNAVAIL || (ret != -EIO && ret != -EREMOTEIO))) {
				printf("# %s: %d, exit %d, %s\n", spec, ret, err.exit, err.msg);
				odd++;
			}
			hf_log_close(l);
			l = NULL;
			must(hf_log_read(nb.st, &id, 0, &r, &err));
			if (hf_log_get(r, "v", 1, &it))
				memcpy(&v, it.attr, sizeof(v));
			lost += v < value;
			if (v > value)
				value = v;
			hf_log_close(r);
		}
	ok(failed > 30, "reads and writes fail at each step (%u)", failed);
	is(odd, 0, "they are reported as a store that is out of reach");
	is(lost, 0, "P1: what was confirmed is there each time");
	must(hf_log_claim(na.st, &id, HF_CLAIM_FENCED, &l, &err));
	must(hf_log_put(l, "w", 1, "1", 1, NULL, NULL, &err));
	uint64_t gen;

	hf_seam_init("disk.write:1:eio");
	ok(hf_log_commit(l, 0, NULL, &gen, &err) < 0, "after a commit that failed");
	hf_seam_init("");
	is(hf_log_commit(l, 0, NULL, &gen, &err), -EREMOTEIO, "the log must be claimed anew before another one");
	hf_log_close(l);
	must(hf_log_claim(na.st, &id, HF_CLAIM_FENCED, &l, &err));
	is(set(l, "w", "2"), 0, "then it goes on");
	hf_log_close(l);
	is(sound(), 0, "the store is sound");
	store_end();
}

static void wrong_key(void)
{
	struct hf_store_params p = { .keys = NULL };
	struct hf_keys *other = NULL;
	struct hf_store *st = NULL;
	char key[300];
	int ret;

	store(2, 16u << 20);
	snprintf(key, sizeof(key), "%s/other-key", dir);
	must(hf_keyfile_create(key, &err));
	must(hf_keys_load(key, &other, &err));
	p.keys = other;
	ret = hf_store_open(dev, &p, &st, &err);
	is(ret, -EKEYREJECTED, "P11: another key");
	is(err.exit, HF_DAMAGED, "is not taken for an empty store");
	hf_keys_free(other);
	is(hf_store_open("nothing:/x", &p, &st, &err), -EINVAL, "an unknown kind of store");
	store_end();
}

/* ---- one byte is another one, anywhere ---- */

#define FLIP_KEYS 6
static int flip_good(struct hf_log *l)
{
	static char v[3000];
	int good = hf_log_gen(l) == FLIP_KEYS + 1;

	for (unsigned i = 0; i < FLIP_KEYS; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		fill(v, sizeof(v), i);
		good &= holds(l, key, v, sizeof(v) - i * 400);
	}
	return good;
}

/* 0: all is right; -errno: it was refused; 1: something else was served */
static int flip_look(void)
{
	struct hf_logid id = LOGID(23, 2);
	struct hf_store_params p = { .keys = keys };
	struct hf_store *st;
	struct hf_log *l = NULL;
	int ret = hf_store_open(dev, &p, &st, &err);

	if (ret)
		return ret;
	ret = hf_log_read(st, &id, 0, &l, &err);
	if (!ret)
		ret = flip_good(l) ? 0 : err.exit == HF_DAMAGED ? -EBADMSG : 1;
	hf_log_close(l);
	st->ops->close(st);
	return ret;
}

static void flipped(void)
{
	struct hf_logid id = LOGID(23, 2);
	static char file[200][400], v[3000];
	unsigned nfiles, seed = seed_of_run(), flips = 0, found = 0, served = 0, other = 0;
	struct hf_log *l;

	store(2, 10u << 20);
	must(hf_log_claim(na.st, &id, 0, &l, &err));
	for (unsigned i = 0; i < FLIP_KEYS; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		fill(v, sizeof(v), i);
		must(put(l, key, v, sizeof(v) - i * 400));
		must(commit(l));
	}
	/* told twice, so that whichever of its two slots is damaged, the other one tells the same */
	must(hf_log_note(l, &err));
	must(set(l, "last", "one"));
	must(hf_log_note(l, &err));
	hf_log_close(l);
	is(flip_look(), 0, "what was written is there");
	nfiles = be->files(file, 200);
	for (unsigned f = 0; f < nfiles; f++) {
		int fd = open(file[f], O_RDWR | O_CLOEXEC);
		off_t at = 0, end;
		uint8_t page[4096], b;

		if (fd < 0)
			continue;
		end = lseek(fd, 0, SEEK_END);
		for (at = lseek(fd, 0, SEEK_DATA); at >= 0 && at < end; at += 4096) {
			size_t n = end - at < 4096 ? end - at : 4096, used = n;

			if (pread(fd, page, n, at) != (ssize_t)n)
				break;
			while (used && !page[used - 1])
				used--;
			for (unsigned k = 0; used && k < 5; k++) {
				size_t i = k < 2 ? k * (used - 1) : rand_r(&seed) % used;
				int ret;

				b = page[i] ^ (1u << rand_r(&seed) % 8);
				if (pwrite(fd, &b, 1, at + i) != 1)
					break;
				err = (struct hf_err){ 0 };
				ret = flip_look();
				flips++;
				found += ret < 0;
				if (ret == 1) {
					served++;
					printf("# %s: byte %lld: something else is served\n", file[f], (long long)(at + i));
				}
				if (ret < 0 && ret != -EBADMSG && ret != -ENOTSUP && ret != -EKEYREJECTED && ret != -ENODEV) {
					other++;
					printf("# %s: byte %lld: %d %s\n", file[f], (long long)(at + i), ret, err.msg);
				}
				if (pwrite(fd, &page[i], 1, at + i) != 1)
					break;
			}
		}
		close(fd);
	}
	ok(flips > 50 && found > 20, "bytes were flipped in all that was written (%u, of which %u mattered)", flips, found);
	is(served, 0, "P11: never is anything else served");
	is(other, 0, "P11: what is damaged is called damaged");
	is(flip_look(), 0, "with the bytes as they were all is there");
	store_end();
}
