// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P1: a log begins anew (HF_CLAIM_ANEW) where it is damaged or lost. That a disk fails to read it, once or for a moment,
 * is neither: what is there is adopted. Reads are failed by taking the C library's call over.
 */
#include "store_test.h"
#include "disk_int.h"
#include <sys/syscall.h>

static const struct hf_logid id = LOGID(41, 2);
static struct node a;
static int fails;		/* so many reads of the log still; -1 each */
static unsigned failed;

ssize_t pread64(int fd, void *buf, size_t n, off64_t off);

ssize_t pread64(int fd, void *buf, size_t n, off64_t off)
{
	if (fails && a.st && in_area(disk_of(a.st), a.id.slot, off, n)) {
		fails -= fails > 0;
		failed++;
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, buf, n, off);
}

static void commit(struct hf_log *l)
{
	uint64_t gen;

	must(hf_log_commit(l, 0, NULL, &gen, &err));
	must(hf_log_confirm(l, &err));
}

int main(void)
{
	struct hf_log *l, *r;
	int ret;

	setup(1, 8u << 20, 500);
	node_make(&a, "owner");
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	must(put(l, "k", "confirmed", 9));
	commit(l);
	must(hf_log_release(l, &err));
	hf_log_close(l);

	for (int n = 1; n <= 3; n++) {
		fails = n;
		failed = 0;
		l = NULL;
		ret = hf_log_claim_anew(a.st, &id, 0, &l, &err);
		fails = 0;
		ok(failed == (unsigned)n, "%d reads fail", n);
		/* another time may be luckier */
		ok(ret || (!hf_log_anew(l) && holds(l, "k", "confirmed", 9)), "P1: what is there is adopted, or nothing claimed (%d)", ret);
		if (!ret)
			must(hf_log_release(l, &err));
		hf_log_close(l);
		must(hf_log_read(a.st, &id, 0, &r, &err));
		ok(holds(r, "k", "confirmed", 9), "P1: it is in the log");
		hf_log_close(r);
	}
	l = NULL;
	fails = -1;
	ret = hf_log_claim(a.st, &id, 0, &l, &err);
	fails = 0;
	ok(ret && !l, "who does not say so never begins anew (%d)", ret);

	fails = -1;
	ret = hf_log_claim_anew(a.st, &id, 0, &l, &err);
	fails = 0;
	ok(!ret && hf_log_anew(l), "one that stays lost begins anew (%d, %s)", ret, err.msg);
	if (l)
		hf_log_close(l);
	node_close(&a);
	return tap_done();
}
