// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * W23: a base that is zeroed, or damaged anywhere. Where what came before it is still
 * there, that is read in its place: nothing is missing, and it is said. Where it
 * is not, the log is refused as damaged (P11), and nothing is written.
 */
#include "store_test.h"
#include "disk_int.h"

static struct node a, b;
static struct hf_logid id = LOGID(61, 2);
static int fd, said;

static void heard(enum hf_level level, const char *msg)
{
	said += level == HF_LOG_ERR && strstr(msg, "damaged") && strstr(msg, "base of generation");
}

static void commit(struct hf_log *l, const char *key, const char *v)
{
	uint64_t gen;

	must(put(l, key, v, strlen(v)));
	must(hf_log_commit(l, 0, NULL, &gen, &err));
	must(hf_log_confirm(l, &err));
}

static void start(void)
{
	setup(2, 8u << 20, 500);
	node_make(&a, "alpha");
	node_make(&b, "beta");
	fd = open(dev, O_RDWR | O_CLOEXEC);
	said = 0;
}

static void end(void)
{
	close(fd);
	node_close(&a);
	node_close(&b);
	hf_keys_free(keys);
	cleanup();
}

/* what the row tells of the newest epoch */
static struct epoch_desc newest(void)
{
	struct row *r = malloc(sizeof(*r));
	struct epoch_desc e;

	must(row_read(disk_of(a.st), id.row, r));
	e = row_accepted(r, id.uuid)->acc;
	free(r);
	return e;
}

static void zero(uint64_t from, uint64_t to)
{
	static const uint8_t z[1 << 16];

	must(hf_pwrite_full(fd, z, to - from, from));
}

static int check(void)
{
	char *json = NULL;
	int ret;

	err = (struct hf_err){ 0 };
	ret = hf_disk_check(conf, dev, &json, &err);
	free(json);
	return ret;
}

/* whether a reading by @n finds v1 under k1, and so on up to @last */
static int reads(struct node *n, int last)
{
	struct hf_log *l = NULL;
	int ret = hf_log_read(n->st, &id, 0, &l, &err);

	for (int i = 1; i <= last && !ret; i++) {
		char key[8], v[8];

		snprintf(key, sizeof(key), "k%d", i);
		snprintf(v, sizeof(v), "v%d", i);
		if (!holds(l, key, v, 2))
			ret = -EILSEQ;
	}
	hf_log_close(l);
	return ret;
}

/* the base is gone; @from is what begins it */
static void around(const char *what, int last)
{
	struct epoch_desc e = newest();
	struct hf_log *l;

	ok(e.base.place && e.after.place > e.base.place && e.after.seg == e.base.seg, "%s: there is a base", what);
	zero(e.base.place, e.after.place);
	is(reads(&b, last), 0, "W23: a zeroed base: what came before it, and after it, is read");
	ok(said, "and it is said");
	is(check(), -EBADMSG, "disk check names it");
	ok(err.exit == HF_DAMAGED && strstr(err.msg, "base of generation"), "as what it is: %s", err.msg);
	/* whoever finds its area in use again after a start knows all of it */
	node_close(&a);
	node_open(&a);
	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &l, &err));
	commit(l, "more", "more");
	hf_log_close(l);
	is(reads(&b, last), 0, "P1: it is claimed, and nothing is lost");
	must(hf_log_claim(b.st, &id, HF_CLAIM_FENCED, &l, &err));
	ok(holds(l, "more", "more", 4), "again, over two epochs");
	must(hf_log_base(l, 1000, &err));
	commit(l, "most", "most");
	hf_log_close(l);
	said = 0;
	is(reads(&a, last), 0, "with a new base it is as ever");
	ok(!said, "and nothing more is to be said");
	is(check(), 0, "the disk is sound");
}

static void in_one_epoch(void)
{
	struct hf_log *l;

	start();
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	commit(l, "k1", "v1");
	commit(l, "k2", "v2");
	must(hf_log_base(l, 1000, &err));
	commit(l, "k3", "v3");
	hf_log_close(l);
	around("in one epoch", 3);
	end();
}

static void before_it_another(void)
{
	struct hf_log *l;

	start();
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	commit(l, "k1", "v1");
	must(hf_log_base(l, 1, &err));
	commit(l, "k2", "v2");
	must(hf_log_base(l, 1, &err));
	commit(l, "k3", "v3");
	hf_log_close(l);
	around("two bases", 3);
	end();
}

static void across_epochs(void)
{
	struct hf_log *l;

	start();
	must(hf_log_claim(b.st, &id, 0, &l, &err));
	commit(l, "k1", "v1");
	commit(l, "k2", "v2");
	hf_log_close(l);
	must(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &l, &err));
	must(hf_log_base(l, 1000, &err));
	commit(l, "k3", "v3");
	hf_log_close(l);
	around("the first of its epoch", 3);
	end();
}

/* Nothing before it, or not all of it: refused. */
static void refused(bool trimmed)
{
	struct hf_log *l;
	struct epoch_desc e;
	static uint8_t before[8u << 20], after[8u << 20];

	start();
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	commit(l, "k1", "v1");
	commit(l, "k2", "v2");
	must(hf_log_base(l, trimmed ? 0 : 1000, &err));
	commit(l, "k3", "v3");
	hf_log_close(l);
	e = newest();
	zero(e.base.place, e.after.place);
	if (!trimmed)
		zero(e.first.place + HFD_SECTOR, e.first.place + 2 * HFD_SECTOR);
	must(hf_pread_full(fd, before, sizeof(before), 0));
	is(reads(&b, 3), -EBADMSG, trimmed ? "P11: nothing older is kept: it is refused" : "P11: what is older is damaged too: it is refused");
	is(hf_exit_of(hf_log_claim(b.st, &id, HF_CLAIM_FENCED, &l, &err)), HF_DAMAGED, "nor can it be claimed: exit 8");
	is(check(), -EBADMSG, "disk check names it");
	must(hf_pread_full(fd, after, sizeof(after), 0));
	ok(!memcmp(before + e.first.place, after + e.first.place, e.first.seglen), "nothing of the log was written over");
	end();
}

int main(void)
{
	hf_log_sink = heard;
	in_one_epoch();
	before_it_another();
	across_epochs();
	refused(true);
	refused(false);
	return tap_done();
}
