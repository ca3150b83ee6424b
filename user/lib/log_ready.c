// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Contents that will most likely be put next, made ready while who reads them waits for a disk: hashed, and
 * sealed as a chunk. Nothing is believed of it: what is put is compared with it, byte by byte, and where it is
 * something else only time was lost.
 *
 * Not beside a sealer, which has what is used here for itself (log_seal.c).
 */
#include "log_int.h"
#include <stdlib.h>

void ready_drop(struct hf_log *l)
{
	if (l->ready.p)
		explicit_bzero(l->ready.p, l->ready.n);
	free(l->ready.p);
	memset(&l->ready, 0, sizeof(l->ready));
}

bool ready_hash(const struct hf_log *l, const void *p, size_t n, uint8_t hash[HF_HASH])
{
	if (!n || n != l->ready.n || memcmp(p, l->ready.p, n))
		return false;
	memcpy(hash, l->ready.ref.hash, HF_HASH);
	return true;
}

bool ready_take(struct hf_log *l, uint32_t len, const uint8_t hash[HF_HASH], struct hf_ref *r)
{
	if (!l->ready.sealed || len != l->ready.n || memcmp(hash, l->ready.ref.hash, HF_HASH))
		return false;
	*r = l->ready.ref;
	memcpy(l->ck.buf, l->ready.p + l->ready.n, chunk_stored(r));
	l->ready.sealed = false;
	return true;
}

void hf_log_ready(struct hf_log *l, const void *p, size_t n)
{
	struct hf_ref r = { .flags = 0 };
	uint8_t hash[HF_HASH];
	size_t stored = 0;

	if (!l->claim || l->sealer || ready_hash(l, p, n, hash))
		return;
	ready_drop(l);
	if (!n || n > HF_CHUNK_MAX)
		return;
	log_hash(l, p, n, hash);
	if (!log_has_chunk(l, n, hash)) {
		if (log_seal_chunk(l, p, n, hash, &r))
			return;
		stored = chunk_stored(&r);
	}
	l->ready.p = malloc(n + stored);
	if (!l->ready.p)
		return;
	memcpy(l->ready.p, p, n);
	memcpy(l->ready.p + n, l->ck.buf, stored);
	memcpy(r.hash, hash, HF_HASH);
	l->ready.n = n;
	l->ready.ref = r;
	l->ready.sealed = stored;
}
