// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a node's path to the quorum disk and its clocks do to it, for LD_PRELOAD: HF_FAULTS names a file that
 * history.py maps and writes, HF_FAULTS_DISK the disk. Other files are left alone. What is said there counts from
 * the next call on, and for a call that hangs too.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SEEN __attribute__((visibility("default")))

enum mode {
	WORKS,
	CUT,		/* each access fails */
	HANGS,		/* each access waits until it is over, and is done then */
	LATE,		/* as CUT, but writes land all the same, after a while */
};

/* history_node.py packs the same */
struct control {
	_Atomic int32_t mode;
	_Atomic int32_t slow_us;	/* at most, for each access */
	_Atomic int32_t late_us;	/* at most, of LATE */
	_Atomic int32_t rate;		/* of CLOCK_BOOTTIME, in thousandths */
	_Atomic int64_t wall_ns;	/* added to CLOCK_REALTIME */
	_Atomic int64_t boot_ns;	/* added to CLOCK_BOOTTIME */
};
_Static_assert(sizeof(struct control) == 32, "what history_node.py packs");

static struct control works = { .rate = 1000 }, *ctl = &works;
static struct stat disk;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("HF_FAULTS"), *dev = getenv("HF_FAULTS_DISK");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0 || !dev || stat(dev, &disk))
		return;
	p = mmap(NULL, sizeof(*ctl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		ctl = p;
	close(fd);
}

static int is_disk(int fd)
{
	struct stat st;

	if (ctl == &works || fstat(fd, &st))
		return 0;
	return S_ISBLK(disk.st_mode) ? S_ISBLK(st.st_mode) && st.st_rdev == disk.st_rdev :
	       st.st_dev == disk.st_dev && st.st_ino == disk.st_ino;
}

static void nap(uint64_t us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static uint64_t any(uint64_t below)
{
	static _Atomic uint64_t n;
	uint64_t x = (atomic_fetch_add(&n, 1) + getpid()) * 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9ull;
	return below ? (x ^ x >> 29) % below : 0;
}

struct late {
	int fd;
	size_t n;
	off_t off;
	void *p;
	uint64_t us;
};

static void *land(void *arg)
{
	struct late *l = arg;

	nap(l->us);
	(void)!syscall(SYS_pwrite64, l->fd, l->p, l->n, l->off);	/* or it never lands */
	close(l->fd);
	free(l->p);
	free(l);
	return NULL;
}

static void land_later(int fd, const void *p, size_t n, off_t off)
{
	struct late *l = calloc(1, sizeof(*l));
	pthread_t t;

	if (!l || posix_memalign(&l->p, 4096, n)) {
		free(l);
		return;
	}
	memcpy(l->p, p, n);
	*l = (struct late){ fcntl(fd, F_DUPFD_CLOEXEC, 3), n, off, l->p, any(ctl->late_us) };
	if (l->fd < 0 || pthread_create(&t, NULL, land, l)) {
		if (l->fd >= 0)
			close(l->fd);
		free(l->p);
		free(l);
		return;
	}
	pthread_detach(t);
}

/* 0, or -1 with errno: the access fails */
static int pass(void)
{
	while (ctl->mode == HANGS)
		nap(2000);
	if (ctl->mode == CUT || ctl->mode == LATE) {
		errno = EIO;
		return -1;
	}
	if (ctl->slow_us)
		nap(any(ctl->slow_us));
	return 0;
}

SEEN ssize_t pread(int fd, void *p, size_t n, off_t off)
{
	if (is_disk(fd) && pass())
		return -1;
	return syscall(SYS_pread64, fd, p, n, off);
}

SEEN ssize_t pwrite(int fd, const void *p, size_t n, off_t off)
{
	if (is_disk(fd)) {
		if (ctl->mode == LATE && any(2))
			land_later(fd, p, n, off);
		if (pass())
			return -1;
	}
	return syscall(SYS_pwrite64, fd, p, n, off);
}

SEEN int fdatasync(int fd)
{
	if (is_disk(fd) && pass())
		return -1;
	return syscall(SYS_fdatasync, fd);
}

/* what has passed goes on from where it was when the rate changes */
static int64_t boot_extra(int64_t now)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static int64_t since, extra, rate = 1000;
	int64_t ret;

	pthread_mutex_lock(&lock);
	ret = extra + (now - since) / 1000 * (rate - 1000);
	if (rate != ctl->rate) {
		extra = ret;
		since = now;
		rate = ctl->rate;
	}
	pthread_mutex_unlock(&lock);
	return ret + ctl->boot_ns;
}

SEEN int clock_gettime(clockid_t c, struct timespec *ts)
{
	int64_t ns;
	int ret = syscall(SYS_clock_gettime, c, ts);

	if (ret || ctl == &works || (c != CLOCK_BOOTTIME && c != CLOCK_REALTIME))
		return ret;
	ns = ts->tv_sec * 1000000000ll + ts->tv_nsec;
	ns += c == CLOCK_BOOTTIME ? boot_extra(ns) : ctl->wall_ns;
	ts->tv_sec = ns / 1000000000;
	ts->tv_nsec = ns % 1000000000;
	return 0;
}
