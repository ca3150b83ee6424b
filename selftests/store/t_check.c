// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P11: `disk check` finds whatever is damaged of what can still be read, says where it lies, writes
 * nothing, and takes a log that is trimmed under it for no damage.
 */
#include "store_test.h"
#include <dirent.h>
#include <json-c/json.h>
#include "disk_int.h"
#include "state.h"

static struct node a, b;
static struct hf_logid id = LOGID(31, 2);
static uint8_t *img;
static size_t img_len;
static int fd;
static unsigned gens;

static void generation(struct hf_log *l, unsigned seed)
{
	static uint8_t big[300000];
	uint64_t gen, r = 88172645463325252ull + seed;
	char key[32];

	for (size_t i = 0; i < sizeof(big); i++) {
		r ^= r << 13;
		r ^= r >> 7;
		r ^= r << 17;
		big[i] = r;
	}
	snprintf(key, sizeof(key), "00000001/f%u", seed % 3);
	must(put(l, key, big, seed % 3 ? 3000 + seed : sizeof(big) - seed));
	if (seed % 5 == 4)
		must(hf_log_del(l, "00000001/f1", 11));
	must(hf_log_commit(l, seed == 3 ? HF_REC_FUZZY : 0, NULL, &gen, &err));
	must(hf_log_confirm(l, &err));
	gens++;
}

static void term(struct node *n, unsigned many, bool base)
{
	struct hf_log *l;

	must(hf_log_claim(n->st, &id, HF_CLAIM_FENCED, &l, &err));
	for (unsigned i = 0; i < many; i++)
		generation(l, gens);
	if (base) {
		must(hf_log_base(l, 1000, &err));
		generation(l, gens);
	}
	must(hf_log_note(l, &err));
	hf_log_close(l);
}

static struct json_object *out;

static int check(void)
{
	char *json = NULL;
	int ret;

	json_object_put(out);
	err = (struct hf_err){ 0 };
	ret = hf_disk_check(conf, dev, &json, &err);
	out = json ? json_tokener_parse(json) : NULL;
	free(json);
	return ret;
}

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(o, key, &v);
	return v;
}

#define ANYWHERE UINT64_MAX
/* does @list tell of @kind, at @offset? */
static int tells(const char *list, const char *kind, uint64_t offset)
{
	struct json_object *v = member(out, list);

	for (size_t i = 0; v && i < json_object_array_length(v); i++) {
		struct json_object *f = json_object_array_get_idx(v, i);

		if (!strcmp(json_object_get_string(member(f, "kind")), kind) &&
		    (offset == ANYWHERE || json_object_get_uint64(member(f, "offset")) == offset) && *json_object_get_string(member(f, "what")))
			return 1;
	}
	return 0;
}

static void patch(uint64_t off, const void *p, size_t n) { must(hf_pwrite_full(fd, p, n, off)); }
static void mend(uint64_t off, size_t n) { patch(off, img + off, n); }

static void flip(uint64_t off)
{
	uint8_t c = img[off] ^ 0x40;

	patch(off, &c, 1);
}

static struct hf_ref ref[512];
static size_t nref;

static int on_put(void *ctx, struct ent *e)
{
	for (uint32_t i = 0; i < e->nref && nref < HF_ARRAY(ref); i++)
		ref[nref++] = e->ref[i];
	ent_put(e);
	return 0;
}

static int on_del(void *ctx, const void *key, uint32_t n) { return 0; }

static int on_rec(void *ctx, const struct hf_rec *r)
{
	const struct codec_fn fn = { .put = on_put, .del = on_del };
	struct hf_buf raw = HF_BUF_INIT;

	if (r->kind == HF_REC_DELTA || r->kind == HF_REC_BASE) {
		must(codec_unpack(r, &raw));
		must(codec_each(raw.p, raw.len, r->slot, r->tail, r->gen, &fn));
		hf_buf_free(&raw);
	}
	return 0;
}

/* what generations refer to: all, or those from the newest base on */
static void refs(bool all)
{
	struct walk_opts o = { .history = all, .fn = on_rec };
	struct walk_end end;
	struct disk *d;
	struct row r;

	nref = 0;
	must(disk_open_ro(dev, keys, &d, &err));
	must(row_read(d, id.row, &r));
	must(log_walk(d, row_accepted(&r, id.uuid), &o, &end, &err));
	disk_close(&d->store);
}

/* Told as damage, or, of history that another epoch's owner may have given up, in a note. */
static int told(const char *kind, uint64_t place, size_t *found)
{
	int ret = check();

	if (ret == -EBADMSG && err.exit == HF_DAMAGED && tells("findings", kind, place))
		return ++*found;
	return !ret && tells("notes", kind, place);
}

static void records(void)
{
	size_t n = 0, found = 0, named = 0, seals = 0;

	for (uint64_t off = 0; off + 4096 <= img_len; off += 4096) {
		uint32_t sectors;

		if (memcmp(img + off, "HFRC", 4))
			continue;
		memcpy(&sectors, img + off + 8, 4);
		/* its head, its body, its last byte */
		for (unsigned w = 0; w < 3; w++) {
			uint64_t at = off + (w == 0 ? 17 : w == 1 ? 90 : sectors * 4096ul - 1);
			bool seal = !img[off + 16];

			flip(at);
			named += !!told(seal ? "seal" : "record", off, &found);
			seals += seal;
			mend(at, 1);
			n++;
		}
	}
	ok(n > 40 && named == n, "P11: each record that is damaged is told by its place (%zu of %zu)", named, n);
	ok(found > n * 3 / 4, "most as damage for certain (%zu)", found);
	ok(seals >= 9, "some are seals (%zu)", seals);
	is(check(), 0, "mended, the disk is sound");
}

/* a tail is in its record's hash as well, and its record is told then */
static size_t contents(size_t *found)
{
	size_t named = 0;

	for (size_t i = 0; i < nref; i++) {
		uint64_t at = ref[i].place + (i % 3 ? HFD_CHUNK_HDR + ref[i].clen - 1 : 3);
		size_t before = *found;

		flip(at);
		if (!told("contents", ref[i].place, found) && *found == before) {
			*found += tells("findings", "record", ANYWHERE);
			named += tells("findings", "record", ANYWHERE) || tells("notes", "record", ANYWHERE);
		} else {
			named++;
		}
		mend(at, 1);
	}
	return named;
}

static void damage(void)
{
	size_t found = 0, named;

	records();
	refs(true);
	named = contents(&found);
	ok(nref > 40 && named == nref, "P11: damaged contents of any generation are told (%zu of %zu)", named, nref);
	ok(found > nref / 3, "many as damage for certain (%zu)", found);
	refs(false);
	found = 0;
	contents(&found);
	ok(nref > 5 && found == nref, "P11: of what the newest one stands on, all (%zu of %zu)", found, nref);
}

static void rows(void)
{
	struct disk *d;
	uint64_t node, claim;
	static const uint8_t junk[4096] = { 'x' };

	must(disk_open_ro(dev, keys, &d, &err));
	node = d->sb.node_off;
	claim = d->sb.row_off + d->sb.row_stride * id.row + 2 * HFD_SECTOR * b.id.slot;
	disk_close(&d->store);
	patch(node, junk, 4096);
	is(check(), 0, "one sector of a node's row is torn: the other counts");
	ok(tells("notes", "torn", node), "and it is told");
	patch(node + 4096, junk, 4096);
	ok(check() == -EBADMSG && tells("findings", "slot", node), "both: it is damage");
	mend(node, 8192);
	patch(claim, junk, 4096);
	patch(claim + 4096, junk, 4096);
	ok(check() == -EBADMSG && tells("findings", "slot", claim), "P11: a claim that cannot be told is damage");
	mend(claim, 8192);

	for (int i = 0; i < 2; i++) {
		char *json = NULL;

		flip(i * 4096 + 100);
		ok(check() == -EBADMSG && tells("findings", "superblock", i * 4096ul), "copy %d of the superblock is damaged", i + 1);
		is(hf_disk_info(conf, dev, &json, &err), 0, "disk info reads the other one");
		ok(json && strstr(json, "\"damaged\""), "and tells");
		free(json);
		mend(i * 4096, 4096);
	}
	flip(100);
	flip(4096 + 100);
	ok(check() == -EBADMSG && err.exit == HF_DAMAGED && strstr(err.msg, "both copies"), "both copies: %s", err.msg);
	mend(0, 8192);
	is(check(), 0, "mended, the disk is sound");
}

/* stopped while it reads, a check has the device open for reading, and no other way */
static void reads_only(void)
{
	pid_t pid = fork();
	struct dirent *e;
	unsigned ro = 0, rw = 0;
	char path[300];
	int status;
	DIR *dp;

	if (!pid) {
		close_range(3, ~0u, 0);		/* what this test has open itself */
		hf_seam_init("disk.read:8:stop");
		_exit(-hf_disk_check(conf, dev, &(char *){ NULL }, &err));
	}
	must(waitpid(pid, &status, WUNTRACED) != pid);
	ok(WIFSTOPPED(status), "a check is stopped in the middle");
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dp = opendir(path);
	while (dp && (e = readdir(dp))) {
		char link[400], to[300] = "", line[64];
		unsigned flags = 0;
		FILE *f;

		snprintf(link, sizeof(link), "%s/%.20s", path, e->d_name);
		if (readlink(link, to, sizeof(to) - 1) < 0 || strcmp(to, dev))
			continue;
		snprintf(link, sizeof(link), "/proc/%d/fdinfo/%.20s", pid, e->d_name);
		f = fopen(link, "r");
		while (f && fgets(line, sizeof(line), f))
			sscanf(line, "flags: %o", &flags);
		if (f)
			fclose(f);
		if ((flags & O_ACCMODE) == O_RDONLY)
			ro++;
		else
			rw++;
	}
	if (dp)
		closedir(dp);
	ok(ro >= 1 && !rw, "the disk is open for reading alone (%u, %u)", ro, rw);
	kill(pid, SIGCONT);
	must(waitpid(pid, &status, 0) != pid);
	ok(WIFEXITED(status) && !WEXITSTATUS(status), "and goes on");
}

/*
 * A check that is stopped before any of its reads, while the log is written and trimmed until its
 * small area was filled several times over; then it goes on.
 */
static void live(void)
{
	struct hf_format f = { .cluster = "test", .nodes = 8, .lease_ms = 500, .resources = 3, .force = 1 };
	unsigned n = 0, sound = 0, busy = 0;
	struct hf_logid trimmed = LOGID(32, 1);
	struct hf_log *l;
	int status = 0;

	node_close(&a);
	node_close(&b);
	must(hf_disk_format(conf, dev, &f, &err));
	node_make(&a, "alpha");
	must(hf_log_claim(a.st, &trimmed, 0, &l, &err));
	for (unsigned i = 0; i < 4; i++)
		generation(l, i);
	for (unsigned at = 1; at < 400; at += at < 60 ? 1 : 7) {
		char seam[40];
		pid_t pid;

		snprintf(seam, sizeof(seam), "disk.read:%u:stop", at);
		fflush(stdout);
		pid = fork();
		if (!pid) {
			int ret;

			hf_seam_init(seam);
			ret = check();
			if (ret)
				printf("# stopped before read %u: %s\n", at, err.msg);
			fflush(stdout);
			_exit(ret ? 1 : tells("notes", "busy", ANYWHERE) ? 2 : 0);
		}
		must(waitpid(pid, &status, WUNTRACED) != pid);
		if (!WIFSTOPPED(status))
			break;
		for (unsigned i = 0; i < 16; i++) {
			generation(l, i);
			must(hf_log_base(l, 2, &err));
		}
		kill(pid, SIGCONT);
		must(waitpid(pid, &status, 0) != pid);
		sound += WIFEXITED(status) && WEXITSTATUS(status) != 1;
		busy += WIFEXITED(status) && WEXITSTATUS(status) == 2;
		n++;
	}
	ok(n > 10 && !WIFSTOPPED(status), "a check was stopped before each of its reads (%u)", n);
	is(sound, n, "a log that is trimmed while it is checked is not damaged");
	is(busy, 0, "and the check keeps up");
	must(hf_log_release(l, &err));	/* nobody holds it any more, so it gives way, too */
	hf_log_close(l);
	is(check(), 0, "the disk is sound");
}

/* What an owner left behind gives way when its node's area fills up, and no row says so. */
static void gave_way(void)
{
	struct hf_logid left = LOGID(33, 2), full = LOGID(34, 3);
	static uint8_t big[300000];
	struct hf_log *l;
	unsigned n = 0;
	uint64_t gen;
	char key[32];

	node_make(&b, "beta");
	for (unsigned i = 0; i < 2; i++) {
		must(hf_log_claim(i ? b.st : a.st, &left, HF_CLAIM_FENCED, &l, &err));
		for (unsigned k = 0; k < 3; k++)
			generation(l, k);
		must(i ? hf_log_base(l, 1000, &err) : hf_log_note(l, &err));
		hf_log_close(l);
	}
	must(hf_log_claim(a.st, &full, 0, &l, &err));
	for (unsigned round = 0; round < 3; round++) {
		for (int ret = 0; !ret && n < 200; n++) {
			snprintf(key, sizeof(key), "%u", n);
			for (size_t i = 0; i < sizeof(big); i++)
				big[i] = rand();
			ret = put(l, key, big, sizeof(big));
			if (!ret)
				ret = hf_log_commit(l, 0, NULL, &gen, &err);
			if (ret)
				hf_log_abort(l);
			else
				must(hf_log_base(l, 0, &err));
		}
		while (n--) {
			snprintf(key, sizeof(key), "%u", n);
			must(hf_log_del(l, key, strlen(key)));
		}
		must(hf_log_commit(l, 0, NULL, &gen, &err));
		for (n = 0; n < 2; n++)
			must(hf_log_base(l, 0, &err));
		n = 0;
	}
	hf_log_close(l);
	is(check(), 0, "history that gave way to what filled the disk is no damage");
	printf("# %s\n", json_object_to_json_string(member(out, "notes")));
	node_close(&a);
	node_close(&b);
}

int main(void)
{
	uint8_t *now;

	setup(2, 24u << 20, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	term(&a, 6, false);
	term(&b, 3, true);
	term(&a, 3, false);
	term(&b, 2, true);
	fd = open(dev, O_RDWR | O_CLOEXEC);
	img_len = lseek(fd, 0, SEEK_END);
	img = malloc(img_len);
	now = malloc(img_len);
	must(hf_pread_full(fd, img, img_len, 0));
	is(check(), 0, "the disk is sound");
	is(json_object_get_uint64(member(out, "generations")), gens, "all generations were read");
	is(json_object_array_length(member(out, "findings")), 0, "no findings");
	is(json_object_array_length(member(out, "notes")), 0, "nothing else to tell");
	is(json_object_array_length(member(out, "space")), 2, "the use of two areas");
	damage();
	rows();
	must(hf_pread_full(fd, now, img_len, 0));
	ok(!memcmp(img, now, img_len), "nothing was ever written");
	free(now);
	reads_only();
	live();
	gave_way();
	json_object_put(out);
	return tap_done();
}
