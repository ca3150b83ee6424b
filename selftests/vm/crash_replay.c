// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * crash_replay LOG OFFSET MB KEYFILE DIR SEED SAMPLES RECOVERIES RESOURCE...: rebuilds a
 * quorum disk of MB MiB from what dm-log-writes recorded (in LOG, from OFFSET on) as it may
 * have been when the power went, and checks each of these disks.
 *
 * What came before a flush (or FUA write) that returned is on the disk. Of what was
 * written between it and the next one, anything may be: SAMPLES random subsets, in random orders,
 * each write whole or torn at sectors of 512 bytes. Marks in the log say what was confirmed
 * then. Heartbeats alone, which nothing else depends on, are checked one in eight times.
 * RECOVERIES times, spread over the log, a node claims what is on the disk, and goes on.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "crash_tree.h"
#include "disk.h"
#include "log.h"
#include "reg.h"

#define MAGIC 0x6a736677736872ull
enum { FLUSH = 1, FUA = 2, DISCARD = 4, MARK = 8 };
#define SECTOR 512u
#define GROUP_MAX 256u

struct entry {
	uint64_t at, len;	/* bytes */
	unsigned flags;
	const uint8_t *data;
	char mark[80];
};

struct res { const char *name; struct hf_logid id; unsigned done; };

static struct entry *log_of;
static size_t nlog;
static uint8_t *img, *saved;
static size_t img_len;
static char dev[300], conf[300];
static struct hf_keys *keys;
static struct res *res;
static unsigned nres;
static bool formatted;
static uint64_t rows_at, areas_at;
static uint8_t *used;		/* sectors of areas that were written */
static size_t again;		/* and written again */
static uint64_t rng;
static size_t images, failures;

static uint64_t le64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static unsigned pick(unsigned n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (rng >> 33) % n;
}

static void log_read(const char *path, uint64_t off)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	const uint8_t *p;
	uint64_t n, at = off + SECTOR;

	if (fd < 0 || fstat(fd, &st))
		err(2, "%s", path);
	p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		err(2, "%s", path);
	close(fd);
	if (le64(p + off) != MAGIC || le64(p + off + 8) != 1 || (le64(p + off + 24) & 0xffffffff) != SECTOR)
		errx(2, "%s has no log of dm-log-writes at %llu", path, (unsigned long long)off);
	n = le64(p + off + 16);
	log_of = calloc(n, sizeof(*log_of));
	for (uint64_t i = 0; i < n; i++) {
		struct entry *e = &log_of[nlog++];
		uint64_t len;

		if (at + SECTOR > (uint64_t)st.st_size)
			errx(2, "the log is cut off");
		e->at = le64(p + at) * SECTOR;
		e->len = le64(p + at + 8) * SECTOR;
		e->flags = le64(p + at + 16);
		len = le64(p + at + 24);
		if (e->flags & MARK) {
			snprintf(e->mark, sizeof(e->mark), "%.*s", (int)len, p + at + 32);
			e->len = 0;
		}
		e->data = p + at + SECTOR;
		at += SECTOR + (e->flags & DISCARD ? 0 : e->len);
		if (e->at + e->len > img_len || at > (uint64_t)st.st_size)
			errx(2, "entry %llu of the log leads outside", (unsigned long long)i);
	}
}

static void apply(const struct entry *e)
{
	if (e->flags & DISCARD)
		memset(img + e->at, 0, e->len);
	else
		memcpy(img + e->at, e->data, e->len);
}

/* for good */
static void land(const struct entry *e)
{
	for (uint64_t at = e->at; at < e->at + e->len; at += SECTOR) {
		again += at >= areas_at && used[at / SECTOR];
		used[at / SECTOR] = 1;
	}
	apply(e);
}

/* ---- one disk ---- */

struct held { uint8_t *p; size_t n; };

static int sink(void *ctx, const void *p, size_t n)
{
	struct held *h = ctx;

	if (h->n + n > CRASH_MAX)
		return -E2BIG;
	memcpy(h->p + h->n, p, n);
	h->n += n;
	return 0;
}

struct look { struct hf_log *l; bool there[CRASH_NAMES]; struct held v[CRASH_NAMES]; struct hf_err *err; };

static int item(void *ctx, const struct hf_item *it)
{
	struct look *k = ctx;
	const char *slash = memchr(it->key, '/', it->keylen);
	size_t n = slash ? (const char *)it->key + it->keylen - slash - 1 : 0;
	char name[16];

	if (!n)
		return 0;	/* the root, or a note of the daemon */
	for (unsigned i = 0; i < CRASH_NAMES; i++) {
		crash_name(i, name);
		if (strlen(name) != n || memcmp(name, slash + 1, n))
			continue;
		k->there[i] = true;
		return hf_log_content(k->l, it->key, it->keylen, sink, &k->v[i], k->err);
	}
	return hf_fail(k->err, HF_FAILED, -EILSEQ, "there is a name that nobody made");
}

static bool is_state(const struct look *k, unsigned i, unsigned step)
{
	static uint8_t want[CRASH_MAX];
	long n = step ? crash_content(step, i, want) : -1;

	if (n < 0)
		return !k->there[i];
	return k->there[i] && k->v[i].n == (size_t)n && !memcmp(k->v[i].p, want, n);
}

/* Does @l hold what step @done left, or what the next one, which may have begun, makes of it? */
static int matches(struct hf_log *l, unsigned done, struct hf_err *e)
{
	static struct look k;
	int ret;

	for (unsigned i = 0; i < CRASH_NAMES; i++) {
		if (!k.v[i].p && !(k.v[i].p = malloc(CRASH_MAX)))
			err(2, "malloc");
		k.v[i].n = 0;
		k.there[i] = false;
	}
	k.l = l;
	k.err = e;
	ret = hf_log_each(l, "", 0, item, &k);
	for (unsigned i = 0; i < CRASH_NAMES && !ret; i++) {
		unsigned last = done;

		while (last && !crash_touches(last, i))
			last--;
		if (!is_state(&k, i, last) && !(crash_touches(done + 1, i) && is_state(&k, i, done + 1)))
			ret = hf_fail(e, HF_FAILED, -EILSEQ, "name %u is not as step %u left it", i, done);
	}
	return ret;
}

static void failed(size_t at, const char *how, const char *what, const struct hf_err *e)
{
	if (failures++ < 10)
		printf("# entry %zu, %s: %s: %s\n", at, how, what, e->msg);
}

static struct hf_store *open_store(const struct hf_identity *id, struct hf_err *e)
{
	struct hf_store_params p = { .keys = keys, .id = id };
	struct hf_store *s = NULL;

	return hf_store_open(dev, &p, &s, e) ? NULL : s;
}

static void check(size_t at, const char *how)
{
	struct hf_err e = { 0 };
	struct hf_store *s;
	char *json = NULL;
	int ret = hf_disk_check(conf, dev, &json, &e);

	images++;
	free(json);
	if (!formatted)
		return;		/* it may be no quorum disk yet */
	if (ret)
		failed(at, how, "disk check", &e);
	s = open_store(NULL, &e);
	if (!s) {
		failed(at, how, "it cannot be opened", &e);
		return;
	}
	for (unsigned i = 0; i < nres; i++) {
		struct hf_log *l = NULL;

		if (!res[i].done)
			continue;
		e = (struct hf_err){ 0 };
		ret = hf_log_read(s, &res[i].id, 0, &l, &e);
		if (!ret)
			ret = matches(l, res[i].done, &e);
		if (ret)
			failed(at, how, res[i].name, &e);
		hf_log_close(l);
	}
	s->ops->close(s);
}

/* ---- what may be on the disk after a cut ---- */

static void tear(const struct entry *e)
{
	unsigned n = e->len / SECTOR, cut = pick(n + 1), how = pick(4);

	for (unsigned i = 0; i < n; i++) {
		bool there = how == 0 ? i < cut : how == 1 ? i >= cut : how == 2 ? pick(2) : i != cut % n;

		if (there)
			memcpy(img + e->at + i * SECTOR, e->data + i * SECTOR, SECTOR);
	}
}

static void sample(const struct entry *const *g, unsigned n, size_t at)
{
	unsigned order[GROUP_MAX];
	size_t save = 0;

	for (unsigned i = 0; i < n; i++) {
		unsigned k = pick(i + 1);

		order[i] = order[k];
		order[k] = i;
	}
	for (unsigned i = 0; i < n; i++) {
		memcpy(saved + save, img + g[i]->at, g[i]->len);
		save += g[i]->len;
	}
	for (unsigned i = 0; i < n; i++) {
		const struct entry *e = g[order[i]];

		if (e->flags & DISCARD || (n > 1 && pick(2)))
			continue;
		if (n == 1 || pick(2))
			tear(e);
		else
			apply(e);
	}
	check(at, "torn");
	for (unsigned i = n; i-- > 0; ) {
		save -= g[i]->len;
		memcpy(img + g[i]->at, saved + save, g[i]->len);
	}
}

/* ---- going on after a cut ---- */

static int go_on(struct hf_store *s, struct res *r, struct hf_err *e)
{
	struct hf_log *l = NULL;
	uint64_t gen;
	int ret = hf_log_claim(s, &r->id, HF_CLAIM_FENCED, &l, e);

	if (!ret)
		ret = matches(l, r->done, e);
	if (!ret)
		ret = hf_log_put(l, "00000001/", 9, "again", 5, NULL, NULL, e);
	if (!ret)
		ret = hf_log_commit(l, 0, NULL, &gen, e);
	if (!ret)
		ret = hf_log_confirm(l, e);
	if (!ret)
		ret = hf_log_base(l, 1, e);
	hf_log_close(l);
	return ret;
}

/* Each node in turn joins again, claims everything and goes on; then the disk is as it was. */
static void recover(size_t at)
{
	static struct hf_node_info v[HF_MAX_NODES];
	uint8_t *before = malloc(img_len);
	struct hf_err e = { 0 };
	struct hf_store *s = open_store(NULL, &e);
	struct hf_identity id = { 0 };
	int n = s ? s->ops->nodes(s, v, HF_MAX_NODES) : 0, ret = 0;

	if (!before)
		err(2, "malloc");
	memcpy(before, img, img_len);
	if (s) {
		s->ops->info(s, NULL, id.disk, NULL, NULL, NULL, NULL);
		s->ops->close(s);
	}
	if (n <= 0)
		failed(at, "recovery", "no nodes", &e);
	for (int i = 0; i < n; i++) {
		memcpy(id.uuid, v[i].uuid, 16);
		id.slot = v[i].slot;
		snprintf(id.name, sizeof(id.name), "%s", v[i].name);
		e = (struct hf_err){ 0 };
		s = open_store(&id, &e);
		ret = s ? s->ops->join(s, &e) : -EIO;
		for (unsigned k = 0; k < nres && !ret; k++)
			if (res[k].done)
				ret = go_on(s, &res[k], &e);
		if (!ret)
			ret = s->ops->leave(s);
		if (s)
			s->ops->close(s);
		if (ret)
			failed(at, "recovery", id.name, &e);
		check(at, "after recovery");
	}
	memcpy(img, before, img_len);
	free(before);
}

/* ---- all of it ---- */

static void confirmed(const char *mark)
{
	char name[64];
	unsigned step;

	if (!strcmp(mark, "formatted")) {
		formatted = true;
		return;
	}
	if (sscanf(mark, "step:%63[^:]:%u", name, &step) != 2)
		return;
	for (unsigned i = 0; i < nres; i++)
		if (!strcmp(res[i].name, name))
			res[i].done = step;
}

/* which logs they are is told by the disk at its end; then it is made empty again */
static void find_logs(void)
{
	struct hf_err e = { 0 };
	struct hf_reg *reg = NULL;
	struct hf_store *s;

	for (size_t i = 0; i < nlog; i++)
		apply(&log_of[i]);
	s = open_store(NULL, &e);
	if (!s || hf_reg_load(s, &reg, &e))
		errx(2, "the disk at its end: %s", e.msg);
	for (unsigned i = 0; i < nres; i++) {
		const struct hf_resource *r = hf_reg_find(reg, res[i].name);

		if (!r)
			errx(2, "there is no resource %s at the end", res[i].name);
		res[i].id = r->id;
	}
	hf_reg_free(reg);
	s->ops->close(s);
	rows_at = le64(img + 224);
	areas_at = le64(img + 264);	/* of the first part */
	memset(img, 0, img_len);
}

static void setup(const char *dir, const char *keyfile)
{
	struct hf_err e = { 0 };
	FILE *f;
	int fd;

	snprintf(dev, sizeof(dev), "%s/disk", dir);
	snprintf(conf, sizeof(conf), "%s/conf", dir);
	f = fopen(conf, "w");
	if (!f)
		err(2, "%s", conf);
	fprintf(f, "[node]\nkey_file = %s\nstate_dir = %s\nruntime_dir = %s\n[store]\nurl = disk:%s\n", keyfile, dir, dir, dev);
	fclose(f);
	if (hf_keys_load(keyfile, &keys, &e))
		errx(2, "%s", e.msg);
	fd = open(dev, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, img_len))
		err(2, "%s", dev);
	img = mmap(NULL, img_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	saved = malloc(img_len);
	used = calloc(img_len / SECTOR, 1);
	if (img == MAP_FAILED || !saved || !used)
		err(2, "%s", dev);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct entry *g[GROUP_MAX];
	unsigned n = 0, samples, recoveries, beats = 0;
	size_t cuts = 0, torn = 0, flushes = 0, next = 0;

	if (argc < 10)
		errx(2, "usage: crash_replay LOG OFFSET MB KEYFILE DIR SEED SAMPLES RECOVERIES RESOURCE...");
	img_len = strtoull(argv[3], NULL, 10) << 20;
	rng = strtoull(argv[6], NULL, 10) * 2 + 1;
	samples = atoi(argv[7]);
	recoveries = atoi(argv[8]);
	nres = argc - 9;
	res = calloc(nres, sizeof(*res));
	for (unsigned i = 0; i < nres; i++)
		res[i].name = argv[9 + i];
	log_read(argv[1], strtoull(argv[2], NULL, 10));
	setup(argv[5], argv[4]);
	find_logs();
	for (size_t i = 0; i < nlog; i++) {
		const struct entry *e = &log_of[i];
		bool beat;

		if (e->flags & MARK) {
			/* what was not flushed then may be missing, and what was confirmed may not */
			confirmed(e->mark);
			check(i, e->mark);
			cuts++;
			if (formatted && recoveries && i >= next) {
				recover(i);
				next = i + nlog / (recoveries + 1);
			}
			continue;
		}
		if (e->len)
			g[n++] = e;
		if (!(e->flags & (FLUSH | FUA)) && n < GROUP_MAX)
			continue;
		flushes++;
		beat = n == 1 && g[0]->at < rows_at && g[0]->at >= 65536;
		if (n && (!beat || !(beats++ % 8))) {
			for (unsigned k = 0; k < samples; k++, torn++)
				sample(g, n, i);
			for (unsigned k = 0; k < n; k++)
				land(g[k]);
			check(i, "at a flush");
			cuts++;
		} else {
			for (unsigned k = 0; k < n; k++)
				land(g[k]);
		}
		n = 0;
	}
	printf("# %zu entries, %zu flushes and FUA writes; %zu disks whole, %zu torn, %u recovered; %zu checks\n",
	       nlog, flushes, cuts, torn, recoveries, images);
	printf("# %zu KiB of areas written where something was before\n", again / 2);
	for (unsigned i = 0; i < nres; i++) {
		printf("# %s: %u steps confirmed\n", res[i].name, res[i].done);
		if (!res[i].done)
			failures++;
	}
	printf("# %zu failures\n", failures);
	return failures ? 1 : 0;
}
