/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every part of the library leans on: errors, growing buffers, a
 * bounds-checked reader, time.
 *
 * Functions return 0 or a negative errno. Where a person will read of the
 * failure they take a struct hf_err as well, which may be NULL.
 */
#ifndef HF_BASE_H
#define HF_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <sys/types.h>
#include "holdfast.h"

#define HF_ARRAY(a) (sizeof(a) / sizeof((a)[0]))
#define HF_HASH_STATE 512	/* of a hash that was begun, whoever makes it */
#define hf_container(p, t, m) ((t *)((char *)(p) - offsetof(t, m)))

/** hf_fail() - fill @e and return @ret
 *  @exit: HF_OK means "the class that belongs to @ret" (hf_exit_of()) */
int hf_fail(struct hf_err *e, enum hf_exit exit, int ret, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/** hf_exit_of() - the exit class of a negative errno: ENOENT 3, EEXIST 4, EBUSY 5,
 *  ESTALE 6, ENODEV/ETIMEDOUT/EREMOTEIO 7, EBADMSG 8, EPERM/EACCES 9, EINVAL 2, else 1 */
enum hf_exit hf_exit_of(int ret);

enum hf_level { HF_LOG_ERR = 3, HF_LOG_WARN = 4, HF_LOG_NOTE = 5, HF_LOG_INFO = 6, HF_LOG_DEBUG = 7 };
/** hf_log_sink - where messages go; the daemon points it to the journal.
 *  Never a name or value of a crypto checkpoint. Default: none. */
extern void (*hf_log_sink)(enum hf_level level, const char *msg);
void hf_logf(enum hf_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A buffer that grows. `bad` is sticky: check once, at the end. */
struct hf_buf {
	uint8_t *p;
	size_t len, cap;
	bool bad;
};
#define HF_BUF_INIT { NULL, 0, 0, false }
void hf_buf_free(struct hf_buf *b);		/* wipes before it frees */
int hf_buf_room(struct hf_buf *b, size_t more);
void hf_buf_put(struct hf_buf *b, const void *p, size_t n);
void hf_buf_u8(struct hf_buf *b, uint8_t v);
void hf_buf_u16(struct hf_buf *b, uint16_t v);	/* all little-endian */
void hf_buf_u32(struct hf_buf *b, uint32_t v);
void hf_buf_u64(struct hf_buf *b, uint64_t v);
void hf_buf_blob(struct hf_buf *b, const void *p, uint32_t n);	/* u32 length, bytes */

/* Reads what hf_buf_* wrote; never past the end. `bad` is sticky, and what is
 * read after it is zero. */
struct hf_rd {
	const uint8_t *p, *end;
	bool bad;
};
void hf_rd_init(struct hf_rd *r, const void *p, size_t n);
const uint8_t *hf_rd_bytes(struct hf_rd *r, size_t n);	/* NULL when short */
uint8_t hf_rd_u8(struct hf_rd *r);
uint16_t hf_rd_u16(struct hf_rd *r);
uint32_t hf_rd_u32(struct hf_rd *r);
uint64_t hf_rd_u64(struct hf_rd *r);
const uint8_t *hf_rd_blob(struct hf_rd *r, uint32_t *n);

void *hf_alloc(size_t n);	/* zeroed; NULL when out of memory */
char *hf_strf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Time comes from outside: CLOCK_BOOTTIME (the machine's sleep counts for leases), or a clock
 * that somebody walks through a lease. */
struct hf_clock { uint64_t (*now_ns)(void); void (*sleep_ms)(unsigned ms); };
extern const struct hf_clock *hf_clock;
uint64_t hf_now_ms(void);
uint64_t hf_now_ns(void);
void hf_sleep_ms(unsigned ms);
void hf_deadline(struct timespec *ts, uint64_t ms);	/* for what waits by CLOCK_MONOTONIC: in @ms from now */
uint64_t hf_wall_ns(void);	/* CLOCK_REALTIME, for people only */
int hf_pread_full(int fd, void *p, size_t n, uint64_t off);	/* -ENODATA when short */
int hf_pwrite_full(int fd, const void *p, size_t n, uint64_t off);
/** hf_write_file() - replace @path atomically and durably (temp, fsync, rename, fsync of the directory) */
int hf_write_file(const char *path, const void *p, size_t n, mode_t mode);
/** hf_read_file() - whole file, at most @max bytes, NUL-terminated */
int hf_read_file(const char *path, size_t max, char **out, size_t *n);
int hf_mkdirs(const char *path, mode_t mode);	/* as mkdir -p */
void hf_uuid_make(uint8_t u[16]);
void hf_uuid_str(const uint8_t u[16], char out[37]);
int hf_uuid_parse(const char *s, uint8_t u[16]);
/** hf_printable() - @p as text that is safe on a terminal and in JSON: valid UTF-8
 *  stays, control bytes, backslashes and invalid bytes become \xHH. malloc'ed. */
char *hf_printable(const void *p, size_t n);
/** hf_unprintable() - the bytes of what hf_printable() made; what is no \xHH stays */
char *hf_unprintable(const char *s);

/**
 * hf_seam() - a named step of the commit, confirm, claim and restore protocols
 *
 * Does nothing unless the daemon was started with HOLDFAST_SEAM="NAME:N:ACTION"
 * (several with commas): at the N-th time step NAME is reached (0: each time; N+: from then on), ACTION is
 * `stop` (SIGSTOP of the process), `kill` (SIGKILL), `power` (of the machine,
 * which is reset without a sync), `eio` (the seam returns -EIO and the step
 * fails as a device would) or `sleep=MS`. It is how the tests pause an owner
 * between two steps; NAME is the step's name in Documentation/claims.rst.
 *
 * Return: 0, or the injected negative errno.
 */
int hf_seam(const char *name);
void hf_seam_init(const char *spec);

#endif
