/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the writer of the crash tests does to a tree, in numbered steps: who makes
 * the steps in the machine and who checks what is left share it. A name holds what the last
 * step gave it that touched it, or nothing.
 */
#ifndef CRASH_TREE_H
#define CRASH_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CRASH_SMALL 7u
#define CRASH_BIG 2u
#define CRASH_COMING 5u		/* come and go */
#define CRASH_NAMES (CRASH_SMALL + CRASH_BIG + CRASH_COMING)
#define CRASH_MAX (500u << 10)

static inline void crash_name(unsigned k, char name[16])
{
	if (k < CRASH_SMALL)
		snprintf(name, 16, "f%u", k);
	else if (k < CRASH_SMALL + CRASH_BIG)
		snprintf(name, 16, "big%u", k - CRASH_SMALL);
	else
		snprintf(name, 16, "t%u", k - CRASH_SMALL - CRASH_BIG);
}

static inline bool crash_touches(unsigned step, unsigned k)
{
	if (k < CRASH_SMALL)
		return step % CRASH_SMALL == k;
	if (k < CRASH_SMALL + CRASH_BIG)
		return !(step % 2) && step / 2 % CRASH_BIG == k - CRASH_SMALL;
	return step % CRASH_COMING == k - CRASH_SMALL - CRASH_BIG;
}

/* bytes that do not compress, the same for the same seed */
static inline void crash_noise(uint8_t *p, size_t n, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15ull + 1;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = x >> 32;
	}
}

/* What name @k holds after @step touched it, into @p of CRASH_MAX bytes; -1: it is gone. */
static inline long crash_content(unsigned step, unsigned k, uint8_t *p)
{
	size_t n = 30 + step * 997 % 6000;
	int head;

	if (k >= CRASH_SMALL + CRASH_BIG && step / CRASH_COMING % 2)
		return -1;
	if (k >= CRASH_SMALL && k < CRASH_SMALL + CRASH_BIG) {
		/* the first part stays the same, so its chunks are not stored again; the other is
		 * more than travels with a record */
		n = (400u << 10) + step * 509 % 20000;
		crash_noise(p, 128u << 10, k);
		crash_noise(p + (128u << 10), n - (128u << 10), (uint64_t)step << 8 | k);
		return n;
	}
	head = snprintf((char *)p, 64, "step %u of name %u\n", step, k);
	if (step % 2)
		crash_noise(p + head, n, (uint64_t)step << 8 | k);
	else
		memset(p + head, 'a' + step % 26, n);
	return n + head;
}

#endif
