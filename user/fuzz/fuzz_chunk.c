// SPDX-License-Identifier: GPL-2.0-or-later
/* A chunk: how long it says it is (4 and 4 bytes), flags (1), and its bytes: as stored if bit
 * 7 of the flags is not set, else sealed here. */
#include "../lib/chunk.c"
#include "fuzz.h"

static struct chunker ck;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	image_keys();
	must(!chunker_init(&ck, image.keys, (const uint8_t *)"0123456789abcdef"));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct bytes in = { p, p + n };
	struct hf_ref r = { .len = take(&in, 4), .clen = take(&in, 4) };
	unsigned mode = take(&in, 1);
	struct chunk_ad ad;
	int ret;

	r.flags = mode & HF_REC_ZSTD;
	take_bytes(&in, ck.buf, HF_CHUNK_MAX + HFD_CHUNK_HDR);
	memset(ck.plain, 0, HF_CHUNK_MAX);
	if (mode & 0x80 && r.clen <= HF_CHUNK_MAX) {
		chunk_ad(&ck, r.hash, &ad);
		hf_seal(image.keys->aead, &ad, sizeof(ad), ck.buf + HFD_CHUNK_HDR, r.clen, ck.buf, ck.buf + HF_NONCE);
	}
	ret = chunk_open(&ck, &r);
	must(!ret || ret == -EBADMSG);
	must(ret || mode & 0x80);
	return 0;
}
