// SPDX-License-Identifier: LGPL-2.1-or-later
/* Errors, buffers, small files, time, and the test seam. */
#include "base.h"
#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void (*hf_log_sink)(enum hf_level level, const char *msg);

enum hf_exit hf_exit_of(int ret)
{
	switch (-ret) {
	case 0: return HF_OK;
	case EINVAL: return HF_USAGE;
	case ENOENT: return HF_NOTFOUND;
	case EEXIST: return HF_EXISTS;
	case EBUSY: return HF_REFUSED;
	case ESTALE: return HF_STALE;
	case ENODEV: case ETIMEDOUT: case EREMOTEIO: return HF_UNAVAIL;
	case EBADMSG: return HF_DAMAGED;
	case EPERM: case EACCES: return HF_PERM;
	default: return HF_FAILED;
	}
}

int hf_fail(struct hf_err *e, enum hf_exit exit, int ret, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return ret;
	/* an argument may be e->msg itself: the reason that is being wrapped */
	char msg[sizeof(e->msg)];

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	memcpy(e->msg, msg, sizeof(msg));
	e->exit = exit != HF_OK ? exit : hf_exit_of(ret);
	return ret;
}

void hf_logf(enum hf_level level, const char *fmt, ...)
{
	char msg[1200];
	va_list ap;

	if (!hf_log_sink)
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	hf_log_sink(level, msg);
}

void hf_buf_free(struct hf_buf *b)
{
	if (b->p)
		sodium_memzero(b->p, b->cap);
	free(b->p);
	*b = (struct hf_buf)HF_BUF_INIT;
}

int hf_buf_room(struct hf_buf *b, size_t more)
{
	size_t cap = b->cap ? b->cap : 256;
	uint8_t *p;

	if (b->bad || more > SIZE_MAX / 2 - b->len) {
		b->bad = true;
		return -ENOMEM;
	}
	if (b->len + more <= b->cap)
		return 0;
	while (cap < b->len + more)
		cap *= 2;
	p = malloc(cap);
	if (!p) {
		b->bad = true;
		return -ENOMEM;
	}
	if (b->p) {
		memcpy(p, b->p, b->len);
		sodium_memzero(b->p, b->cap);
		free(b->p);
	}
	b->p = p;
	b->cap = cap;
	return 0;
}

void hf_buf_put(struct hf_buf *b, const void *p, size_t n)
{
	if (!n || hf_buf_room(b, n))
		return;
	memcpy(b->p + b->len, p, n);
	b->len += n;
}

static void put_le(struct hf_buf *b, uint64_t v, unsigned n)
{
	uint8_t t[8];

	for (unsigned i = 0; i < n; i++)
		t[i] = v >> (8 * i);
	hf_buf_put(b, t, n);
}

void hf_buf_u8(struct hf_buf *b, uint8_t v) { put_le(b, v, 1); }
void hf_buf_u16(struct hf_buf *b, uint16_t v) { put_le(b, v, 2); }
void hf_buf_u32(struct hf_buf *b, uint32_t v) { put_le(b, v, 4); }
void hf_buf_u64(struct hf_buf *b, uint64_t v) { put_le(b, v, 8); }

void hf_buf_blob(struct hf_buf *b, const void *p, uint32_t n)
{
	hf_buf_u32(b, n);
	hf_buf_put(b, p, n);
}

void hf_rd_init(struct hf_rd *r, const void *p, size_t n)
{
	r->p = p ? p : (const void *)"";	/* of nothing: an empty buffer has no address */
	r->end = r->p + n;
	r->bad = false;
}

const uint8_t *hf_rd_bytes(struct hf_rd *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || n > (size_t)(r->end - r->p)) {
		r->bad = true;
		return NULL;
	}
	r->p += n;
	return p;
}

static uint64_t get_le(struct hf_rd *r, unsigned n)
{
	const uint8_t *p = hf_rd_bytes(r, n);
	uint64_t v = 0;

	for (unsigned i = 0; p && i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint8_t hf_rd_u8(struct hf_rd *r) { return get_le(r, 1); }
uint16_t hf_rd_u16(struct hf_rd *r) { return get_le(r, 2); }
uint32_t hf_rd_u32(struct hf_rd *r) { return get_le(r, 4); }
uint64_t hf_rd_u64(struct hf_rd *r) { return get_le(r, 8); }

const uint8_t *hf_rd_blob(struct hf_rd *r, uint32_t *n)
{
	*n = hf_rd_u32(r);
	const uint8_t *p = hf_rd_bytes(r, *n);

	if (!p)
		*n = 0;
	return p;
}

void *hf_alloc(size_t n)
{
	return calloc(1, n ? n : 1);
}

char *hf_strf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return s;
}

static uint64_t clock_ns(clockid_t c)
{
	struct timespec ts;

	clock_gettime(c, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static uint64_t boottime_ns(void) { return clock_ns(CLOCK_BOOTTIME); }

static void boottime_sleep_ms(unsigned ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static const struct hf_clock boottime = { boottime_ns, boottime_sleep_ms };
const struct hf_clock *hf_clock = &boottime;

uint64_t hf_now_ns(void) { return hf_clock->now_ns(); }
uint64_t hf_now_ms(void) { return hf_now_ns() / 1000000; }
uint64_t hf_wall_ns(void) { return clock_ns(CLOCK_REALTIME); }
void hf_sleep_ms(unsigned ms) { hf_clock->sleep_ms(ms); }

void hf_deadline(struct timespec *ts, uint64_t ms)
{
	clock_gettime(CLOCK_MONOTONIC, ts);
	ts->tv_sec += ms / 1000;
	ts->tv_nsec += ms % 1000 * 1000000;
	if (ts->tv_nsec >= 1000000000) {
		ts->tv_sec++;
		ts->tv_nsec -= 1000000000;
	}
}

int hf_pread_full(int fd, void *p, size_t n, uint64_t off)
{
	while (n) {
		ssize_t r = pread(fd, p, n, off);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (!r)
			return -ENODATA;
		p = (char *)p + r;
		n -= r;
		off += r;
	}
	return 0;
}

int hf_pwrite_full(int fd, const void *p, size_t n, uint64_t off)
{
	while (n) {
		ssize_t r = pwrite(fd, p, n, off);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (!r)
			return -EIO;
		p = (const char *)p + r;
		n -= r;
		off += r;
	}
	return 0;
}

static int fsync_dir_of(const char *path)
{
	char dir[PATH_MAX];
	char *slash;
	int fd, ret = 0;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash)
		strcpy(dir, ".");
	else if (slash == dir)
		dir[1] = 0;
	else
		*slash = 0;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd))
		ret = -errno;
	close(fd);
	return ret;
}

int hf_write_file(const char *path, const void *p, size_t n, mode_t mode)
{
	char tmp[PATH_MAX];
	int fd, ret;

	if (snprintf(tmp, sizeof(tmp), "%s.%08x.tmp", path, randombytes_random()) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	ret = hf_pwrite_full(fd, p, n, 0);
	if (!ret && fsync(fd))
		ret = -errno;
	if (close(fd) && !ret)
		ret = -errno;
	if (!ret && rename(tmp, path))
		ret = -errno;
	if (ret) {
		unlink(tmp);
		return ret;
	}
	return fsync_dir_of(path);
}

int hf_read_file(const char *path, size_t max, char **out, size_t *n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0, cap = 4096;
	char *p;
	int ret = 0;

	if (fd < 0)
		return -errno;
	p = malloc(cap + 1);
	while (p) {
		ssize_t r = read(fd, p + len, cap - len);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0) {
			ret = -errno;
			break;
		}
		if (!r)
			break;
		len += r;
		if (len > max) {
			ret = -EFBIG;
			break;
		}
		if (len == cap) {
			char *q = realloc(p, cap * 2 + 1);

			if (!q) {
				ret = -ENOMEM;
				break;
			}
			p = q;
			cap *= 2;
		}
	}
	close(fd);
	if (!p)
		return -ENOMEM;
	if (ret) {
		free(p);
		return ret;
	}
	p[len] = 0;
	*out = p;
	if (n)
		*n = len;
	return 0;
}

int hf_mkdirs(const char *path, mode_t mode)
{
	char tmp[PATH_MAX];

	if (snprintf(tmp, sizeof(tmp), "%s", path) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	for (char *s = tmp + 1; ; s++) {
		char c = *s;

		if (c && c != '/')
			continue;
		*s = 0;
		if (mkdir(tmp, mode) && errno != EEXIST)
			return -errno;
		*s = c;
		if (!c)
			break;
	}
	struct stat st;

	if (stat(path, &st))
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

void hf_uuid_make(uint8_t u[16])
{
	randombytes_buf(u, 16);
	u[6] = (u[6] & 0x0f) | 0x40;	/* RFC 9562, version 4 */
	u[8] = (u[8] & 0x3f) | 0x80;
}

void hf_uuid_str(const uint8_t u[16], char out[37])
{
	static const char *hex = "0123456789abcdef";
	char *p = out;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[u[i] >> 4];
		*p++ = hex[u[i] & 15];
	}
	*p = 0;
}

int hf_uuid_parse(const char *s, uint8_t u[16])
{
	size_t n;

	if (strlen(s) != 36 || sodium_hex2bin(u, 16, s, 36, "-", &n, NULL) || n != 16)
		return -EINVAL;
	return 0;
}

/* length of the valid UTF-8 sequence at p, 0 if there is none (RFC 3629) */
static unsigned utf8_len(const uint8_t *p, size_t n)
{
	unsigned len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 :
		       p[0] < 0xf5 ? 4 : 0;

	if (!len || len > n)
		return 0;
	for (unsigned i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if (len == 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)))
		return 0;
	if (len == 4 && ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)))
		return 0;
	return len;
}

char *hf_unprintable(const char *s)
{
	char *out = strdup(s), *q = out;
	unsigned byte;

	for (; out && *s; s++) {
		if (s[0] == '\\' && s[1] == 'x' && isxdigit((unsigned char)s[2]) && isxdigit((unsigned char)s[3]) &&
		    sscanf(s + 2, "%2x", &byte) == 1 && byte) {
			*q++ = byte;
			s += 3;
		} else {
			*q++ = *s;
		}
	}
	if (out)
		*q = 0;
	return out;
}

char *hf_printable(const void *ptr, size_t n)
{
	const uint8_t *p = ptr;
	char *out = malloc(4 * n + 1), *q = out;

	if (!out)
		return NULL;
	while (n) {
		unsigned len = utf8_len(p, n);
		/* C0, DEL, C1 and the backslash itself */
		bool raw = !len || p[0] < 0x20 || p[0] == 0x7f || p[0] == '\\' ||
			   (len == 2 && p[0] == 0xc2 && p[1] < 0xa0);

		if (raw) {
			unsigned m = len ? len : 1;

			for (unsigned i = 0; i < m; i++)
				q += sprintf(q, "\\x%02x", p[i]);
			p += m;
			n -= m;
			continue;
		}
		memcpy(q, p, len);
		q += len;
		p += len;
		n -= len;
	}
	*q = 0;
	return out;
}

struct seam {
	char name[48];
	long at;
	bool on;		/* and from then on */
	enum { SEAM_STOP, SEAM_KILL, SEAM_EIO, SEAM_SLEEP, SEAM_POWER } what;
	unsigned ms;
	atomic_long hits;
};
static struct seam seams[32];
static unsigned nseams;

void hf_seam_init(const char *spec)
{
	char *copy, *save = NULL;

	nseams = 0;
	if (!spec || !*spec)
		return;
	copy = strdup(spec);
	for (char *s = strtok_r(copy, ",", &save); s && nseams < HF_ARRAY(seams); s = strtok_r(NULL, ",", &save)) {
		struct seam *m = &seams[nseams];
		char what[32];

		m->on = false;
		if (sscanf(s, "%47[^:]:%ld+:%31s", m->name, &m->at, what) == 3)
			m->on = true;
		else if (sscanf(s, "%47[^:]:%ld:%31s", m->name, &m->at, what) != 3)
			continue;
		if (!strcmp(what, "stop"))
			m->what = SEAM_STOP;
		else if (!strcmp(what, "kill"))
			m->what = SEAM_KILL;
		else if (!strcmp(what, "eio"))
			m->what = SEAM_EIO;
		else if (!strcmp(what, "power"))
			m->what = SEAM_POWER;
		else if (sscanf(what, "sleep=%u", &m->ms) == 1)
			m->what = SEAM_SLEEP;
		else
			continue;
		atomic_store(&m->hits, 0);
		nseams++;
	}
	free(copy);
}

/* The machine's, at this step: nothing that is only in memory survives. */
static void cut_power(void)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "b", 1) != 1) {
		hf_logf(HF_LOG_ERR, "HOLDFAST_SEAM: cannot cut the power: /proc/sysrq-trigger: %s",
			strerror(errno));
		raise(SIGKILL);
	}
	/* the processors stop one after the other: this thread does not go on meanwhile */
	for (;;)
		pause();
}

int hf_seam(const char *name)
{
	for (unsigned i = 0; i < nseams; i++) {
		struct seam *m = &seams[i];

		if (strcmp(m->name, name))
			continue;
		long hit = atomic_fetch_add(&m->hits, 1) + 1;

		if (m->on ? hit < m->at : hit != m->at && m->at)
			continue;
		switch (m->what) {
		case SEAM_STOP: raise(SIGSTOP); break;
		case SEAM_KILL: raise(SIGKILL); break;
		case SEAM_EIO: return -EIO;
		case SEAM_POWER: cut_power(); break;
		case SEAM_SLEEP: hf_sleep_ms(m->ms); break;
		}
	}
	return 0;
}
