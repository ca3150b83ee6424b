// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A log is read ahead beyond the segment at hand. What lies there is not its own: where it cannot
 * be read, the log can all the same.
 */
#include "store_test.h"
#include "disk_int.h"
#include <sys/syscall.h>

static const struct hf_logid id = LOGID(31, 2);
static struct node a;
static uint64_t bad;		/* the sector that cannot be read */
static unsigned hits;

ssize_t pread64(int fd, void *buf, size_t n, off64_t off);

ssize_t pread64(int fd, void *buf, size_t n, off64_t off)
{
	if (bad && (uint64_t)off <= bad && off + n > bad) {
		hits++;
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, buf, n, off);
}

int main(void)
{
	struct row *r = malloc(sizeof(*r));
	const struct claim_rec *acc;
	struct hf_item it = { 0 };
	struct hf_log *l;
	uint64_t gen;

	setup(1, 8u << 20, 500);
	node_make(&a, "alpha");
	must(r ? 0 : -ENOMEM);
	must(hf_log_claim(a.st, &id, 0, &l, &err));
	must(row_read(disk_of(a.st), id.row, r));
	acc = row_accepted(r, id.uuid);
	must(acc ? 0 : -ENOENT);
	/* nearly all of the segment */
	for (uint64_t at = HFD_SECTOR; at + 2 * HFD_SECTOR < acc->acc.first.seglen; at += HFD_SECTOR) {
		must(put(l, "newest", &at, sizeof(at)));
		must(hf_log_commit(l, 0, NULL, &gen, &err));
	}
	must(hf_log_confirm(l, &err));
	hf_log_close(l);

	bad = acc->acc.first.seg + acc->acc.first.seglen;
	must(hf_log_read(a.st, &id, 0, &l, &err));
	ok(hits, "what is beyond the segment was read ahead (%u)", hits);
	ok(hf_log_gen(l) == gen && hf_log_get(l, "newest", 6, &it), "P1: what cannot be read there is not missed");
	hf_log_close(l);
	bad -= HFD_SECTOR * 8;
	is(hf_log_read(a.st, &id, 0, &l, &err), -EIO, "in the segment it is");
	bad = 0;
	node_close(&a);
	free(r);
	return tap_done();
}
