/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzzers share: a cursor over the fuzzer's bytes, one set of keys, and a
 * small quorum disk in memory that real code has written.
 *
 * A fuzzer's input begins with a byte that says how to take the rest: as it lies on the
 * disk, or as what is sealed, so that the parsers behind the authentication are
 * reached. seeds.c writes inputs of both kinds from a real disk.
 */
#ifndef HF_FUZZ_H
#define HF_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include "ondisk.h"
#include "log.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* what must never happen: the fuzzer keeps the input */
#define must(cond) do { \
	if (!(cond)) { \
		fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #cond); \
		abort(); \
	} \
} while (0)

struct bytes { const uint8_t *p, *end; };

static inline uint64_t take(struct bytes *b, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= b->p < b->end ? (uint64_t)*b->p++ << (8 * i) : 0;
	return v;
}

static inline size_t left(const struct bytes *b) { return b->end - b->p; }

/* @n bytes into @out, zeros where there are no more */
static inline void take_bytes(struct bytes *b, void *out, size_t n)
{
	size_t have = left(b) < n ? left(b) : n;

	memset(out, 0, n);
	if (have)
		memcpy(out, b->p, have);
	b->p += have;
}

/* up to @max bytes in memory of their own, of exactly that length: a read beyond is seen */
static inline uint8_t *take_copy(struct bytes *b, size_t max, size_t *n)
{
	uint8_t *v;

	*n = left(b) < max ? left(b) : max;
	v = malloc(*n ? *n : 1);
	must(v);
	take_bytes(b, v, *n);
	return v;
}

/* image.c: a disk of two nodes in a file in memory; every fuzzer's keys are its keys */
struct image {
	int fd;
	char path[32], conf[32];
	uint8_t *data;		/* as it was made */
	size_t size;
	struct hf_keys *keys;
	struct super sb;
	struct bind bind;
};
extern struct image image;
extern const struct hf_logid image_log;
void image_make(void);		/* with the log of IMAGE_GENS generations, by both nodes */
void image_keys(void);		/* the keys alone */
#define IMAGE_GENS 12

#endif
