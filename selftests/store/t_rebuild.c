// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A row of claims is not read at one moment. A node that starts reads it while two others
 * claim its log at once: of the loser, who found the epoch before empty and left it out, it sees
 * the acceptance; of the winner, who stands on that epoch, it saw the slot too early. What
 * the winner stands on must stay. (selftests/model found this.)
 *
 * Reads and writes of the row are stopped half-way by taking the C library's calls over.
 */
#include "store_test.h"
#include "disk_int.h"
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>

static const struct hf_logid id = LOGID(31, 2), other = LOGID(32, 3);
static struct node a, b, c;
static sem_t loser_stopped, loser_go, loser_done;
static __thread bool loser;
static _Atomic bool straddle;	/* several threads read rows */
static void between(void);

ssize_t pread64(int fd, void *buf, size_t n, off64_t off);
ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t off);

static uint64_t row_off(void)
{
	const struct super *sb = &disk_of(b.st)->sb;

	return sb->row_off + sb->row_stride * id.row;
}

ssize_t pread64(int fd, void *buf, size_t n, off64_t off)
{
	/* with other rows or alone */
	if (!straddle || (uint64_t)off > row_off() || off + n < row_off() + disk_of(b.st)->sb.row_stride)
		return syscall(SYS_pread64, fd, buf, n, off);
	/* the winner's slot now, the loser's after both have claimed */
	straddle = false;
	size_t pair = 2 * HFD_SECTOR, at = pair * b.id.slot;
	uint8_t *early = dio_alloc(pair);

	syscall(SYS_pread64, fd, early, pair, row_off() + at);
	between();
	ssize_t ret = syscall(SYS_pread64, fd, buf, n, off);

	memcpy((uint8_t *)buf + (row_off() - off) + at, early, pair);
	free(early);
	return ret;
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t off)
{
	/* the loser's seal: all has been read by then */
	if (loser && in_area(disk_of(a.st), a.id.slot, off, n)) {
		loser = false;
		sem_post(&loser_stopped);
		sem_wait(&loser_go);
	}
	return syscall(SYS_pwrite64, fd, buf, n, off);
}

static void *lose(void *arg)
{
	struct hf_log *l;

	loser = true;
	is(hf_log_claim(a.st, &id, HF_CLAIM_FENCED, &l, NULL), -EAGAIN, "the loser of two claims gives up");
	sem_post(&loser_done);
	return NULL;
}

static void between(void)
{
	struct hf_log *l;
	uint64_t gen;

	must(hf_log_claim(b.st, &id, HF_CLAIM_FENCED, &l, &err));
	must(put(l, "winner", NULL, 0));
	must(hf_log_commit(l, 0, NULL, &gen, &err));
	is(hf_log_confirm(l, &err), 0, "the winner confirms what it commits");
	hf_log_close(l);
	sem_post(&loser_go);
	sem_wait(&loser_done);
}

int main(void)
{
	static char big[40000];
	struct hf_log *first, *l;
	pthread_t t;
	uint64_t gen;

	setup(3, 8u << 20, 500);
	node_make(&a, "loser");
	node_make(&b, "winner");
	node_make(&c, "starter");
	sem_init(&loser_stopped, 0, 0);
	sem_init(&loser_go, 0, 0);
	sem_init(&loser_done, 0, 0);

	must(hf_log_claim(c.st, &id, 0, &first, &err));
	pthread_create(&t, NULL, lose, NULL);
	sem_wait(&loser_stopped);
	must(put(first, "first", NULL, 0));
	must(hf_log_commit(first, 0, NULL, &gen, &err));
	is(hf_log_confirm(first, &err), -ESTALE, "what the first owner appends now is not confirmed");
	hf_log_close(first);
	node_close(&c);

	straddle = true;
	node_open(&c);
	ok(!straddle, "the row was read while two claimed");
	pthread_join(t, NULL);
	/* use all space that is taken for free, over and over */
	must(hf_log_claim(c.st, &other, 0, &l, &err));
	for (unsigned i = 0; i < 200; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%u", i % 4);
		memset(big, i, sizeof(big));
		for (size_t k = 0; k < sizeof(big); k++)
			big[k] = rand();
		must(put(l, key, big, sizeof(big)));
		must(hf_log_commit(l, 0, NULL, &gen, &err));
		must(hf_log_confirm(l, &err));
		if (i % 8 == 7)
			must(hf_log_base(l, 1, &err));
	}
	hf_log_close(l);

	l = NULL;
	ok(!hf_log_read(b.st, &id, 0, &l, &err), "P1: the log of the winner can be read");
	if (!l)
		printf("# %s\n", err.msg);
	struct hf_item it = { 0 };

	ok(l && hf_log_get(l, "winner", 6, &it) && it.attr, "P1: what was confirmed is there");
	if (l)
		hf_log_close(l);
	node_close(&a);
	node_close(&b);
	node_close(&c);
	return tap_done();
}
