// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_store_commit DEVICE WORKDIR COUNT ROUNDS MS
 *
 * COUNT confirmed commits of one small file, and between any two of them the floor: a bare
 * write of 4 KiB and a read of a row of claims, on the same device. Then, ROUNDS times in
 * turn for MS each, one resource that commits and eight at once; the same of the floor, of the
 * write alone and of the read alone; and of two ways to have less of them for many: one flush for
 * all writes that wait for one, and one read for eight rows.
 *
 * DEVICE is formatted. Times are in nanoseconds.
 */
#include "bench_store.h"

#define SMALL 1500u
#define MANY 8u
#define FILES 1000u
#define ROUND 50u

struct floor {
	int fd, plain;		/* plain: not durable by itself */
	uint64_t row, begin, end, at;
	size_t rowlen;
	uint8_t *block, *buf;
};

/* It writes into the area of a slot that nobody has. */
static void floor_open(struct floor *f, uint32_t n)
{
	struct disk *d = disk_of(st);

	f->fd = open(dev, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
	f->plain = open(dev, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (f->fd < 0 || f->plain < 0)
		must(-errno);
	f->rowlen = 2ull * HFD_SECTOR * d->sb.slots;
	f->row = d->sb.row_off + d->sb.row_stride * (n + 1);
	f->begin = area_begin(d->sb.nodes - 1) + n * (1ull << 20);
	f->end = f->begin + (1u << 20);
	f->at = f->begin;
	f->block = dio_alloc(HFD_SECTOR);
	f->buf = dio_alloc(MANY * f->rowlen);
	if (!f->block || !f->buf)
		must(-ENOMEM);
	fill(f->block, HFD_SECTOR);
}

struct waiting { struct waiting *next; bool durable; };
static pthread_mutex_t flush_mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t flush_cv = PTHREAD_COND_INITIALIZER;
static struct waiting *waiting;
static bool flushing;

/* durable with all that was written before; who comes first flushes for all who came until then */
static void shared_flush(int fd)
{
	struct waiting me = { 0 }, *all;

	pthread_mutex_lock(&flush_mu);
	me.next = waiting;
	waiting = &me;
	while (!me.durable) {
		if (flushing) {
			pthread_cond_wait(&flush_cv, &flush_mu);
			continue;
		}
		flushing = true;
		all = waiting;
		waiting = NULL;
		pthread_mutex_unlock(&flush_mu);
		if (fdatasync(fd))
			must(-errno);
		pthread_mutex_lock(&flush_mu);
		flushing = false;
		while (all) {
			struct waiting *next = all->next;

			all->durable = true;
			all = next;
		}
		pthread_cond_broadcast(&flush_cv);
	}
	pthread_mutex_unlock(&flush_mu);
}

enum what { COMMIT = 0, WRITE = 1, READ = 2, FLOOR = WRITE | READ, SHARED = 4, ROWS = 8 };

static void floor_once(struct floor *f, enum what what)
{
	if (what & WRITE)
		must(hf_pwrite_full(f->fd, f->block, HFD_SECTOR, f->at));
	if (what & READ)
		must(hf_pread_full(f->fd, f->buf, f->rowlen, f->row));
	if (what & SHARED) {
		must(hf_pwrite_full(f->plain, f->block, HFD_SECTOR, f->at));
		shared_flush(f->plain);
	}
	if (what & ROWS)	/* from the first one's on */
		must(hf_pread_full(f->fd, f->buf, MANY * f->rowlen, f->row));
	f->at += HFD_SECTOR;
	if (f->at == f->end)
		f->at = f->begin;
}

struct worker {			/* a resource, or a floor, and its thread */
	struct hf_log *log;
	struct floor floor;
	pthread_t thread;
	enum what what;
	uint64_t until, done;
	uint8_t text[SMALL];
	unsigned n;
};
static struct worker worker[MANY];

/* a base where one is due, which the daemon makes in the background */
static void housekeep(struct hf_log *l)
{
	if (hf_log_wants_base(l))
		must(hf_log_base(l, 0, &err));
}

static void change(struct worker *p)
{
	memcpy(p->text, &p->n, sizeof(p->n));
	put_file(p->log, p->n++ % FILES, p->text, SMALL);
}

static void *work_on(void *arg)
{
	struct worker *p = arg;

	for (p->done = 0; hf_now_ns() < p->until; p->done++) {
		if (p->what) {
			floor_once(&p->floor, p->what);
			continue;
		}
		change(p);
		commit(p->log);
	}
	return NULL;
}

/* how many a second @n of them do at once */
static double rate(unsigned n, enum what what, unsigned ms)
{
	uint64_t start = hf_now_ns(), sum = 0;

	for (unsigned i = 0; i < n; i++) {
		worker[i].what = what;
		worker[i].until = start + ms * 1000000ull;
		if (pthread_create(&worker[i].thread, NULL, work_on, &worker[i]))
			must(-EAGAIN);
	}
	for (unsigned i = 0; i < n; i++) {
		pthread_join(worker[i].thread, NULL);
		sum += worker[i].done;
	}
	start = hf_now_ns() - start;
	for (unsigned i = 0; i < n; i++)
		housekeep(worker[i].log);
	return sum * 1e9 / (double)start;
}

static void one_by_one(unsigned count)
{
	uint64_t *a = calloc(count, sizeof(*a)), *b = calloc(count, sizeof(*b));

	if (!a || !b)
		must(-ENOMEM);
	for (unsigned i = 0; i < count; i++) {
		for (unsigned k = 0; k < 2; k++) {
			uint64_t t = hf_now_ns();

			if ((i ^ k) & 1) {
				change(&worker[0]);
				commit(worker[0].log);
				a[i] = hf_now_ns() - t;
			} else {
				floor_once(&worker[0].floor, FLOOR);
				b[i] = hf_now_ns() - t;
			}
		}
		housekeep(worker[0].log);
	}
	printf("ratio %llu\n", (unsigned long long)ratio_of(a, b, count, ROUND));
	printf("commit %llu %llu\n", (unsigned long long)quantile(a, count, 500),
	       (unsigned long long)quantile(a, count, 990));
	printf("floor %llu %llu\n", (unsigned long long)quantile(b, count, 500),
	       (unsigned long long)quantile(b, count, 990));
	free(a);
	free(b);
}

int main(int argc, char **argv)
{
	unsigned rounds, ms;

	if (argc != 6 || strtoul(argv[3], NULL, 10) < ROUND) {
		fprintf(stderr, "usage: bench_store_commit DEVICE WORKDIR COUNT ROUNDS MS   (COUNT: 50 at least)\n");
		return 2;
	}
	dev = argv[1];
	work = argv[2];
	rounds = (unsigned)strtoul(argv[4], NULL, 10);
	ms = (unsigned)strtoul(argv[5], NULL, 10);
	setup(MANY);
	for (unsigned i = 0; i < MANY; i++) {
		struct hf_logid l;

		logid(&l, i);
		must(hf_log_claim(st, &l, 0, &worker[i].log, &err));
		floor_open(&worker[i].floor, i);
		fill(worker[i].text, SMALL);
		change(&worker[i]);
		commit(worker[i].log);
		housekeep(worker[i].log);
	}
	one_by_one((unsigned)strtoul(argv[3], NULL, 10));
	for (unsigned i = 0; i < rounds; i++) {
		static const enum what turn[] = { COMMIT, FLOOR, WRITE, READ, SHARED };

		printf("rate");
		for (unsigned k = 0; k < HF_ARRAY(turn); k++) {
			double one = rate(1, turn[k], ms);

			printf(" %.0f %.0f", one, rate(MANY, turn[k], ms));
		}
		printf(" %.0f\n", MANY * rate(1, ROWS, ms));
	}
	for (unsigned i = 0; i < MANY; i++)
		hf_log_close(worker[i].log);
	close_store();
	return 0;
}
