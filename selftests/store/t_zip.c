// SPDX-License-Identifier: GPL-2.0-or-later
/* What this zstd does not know it does without: chunks and payloads are compressed, and can be opened. */
#define ZSTD_STATIC_LINKING_ONLY
#include "../tap.h"
#include "chunk.h"
#include "state.h"
#include <dlfcn.h>
#include <sodium.h>
#include <zstd.h>

#define LEN 8192

static int refused_from;	/* of the parameters that are set; 0: none */
static int asked;

size_t ZSTD_CCtx_setParameter(ZSTD_CCtx *z, ZSTD_cParameter p, int v)
{
	static size_t (*real)(ZSTD_CCtx *z, ZSTD_cParameter p, int v);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "ZSTD_CCtx_setParameter");
	/* parameter_unsupported, as an error is given back */
	return ++asked >= refused_from && refused_from ? (size_t)-40 : real(z, p, v);
}

static struct hf_keys keys;
static uint8_t text[LEN], hash[HF_HASH];

/* words that return now and then: there is something in their letters, too */
static void make_text(void)
{
	uint32_t seed = 1;

	for (int i = 0; i < LEN; i++) {
		seed = seed * 1103515245 + 12345;
		text[i] = i > 300 && seed >> 30 ? text[i - 100 - i % 199] : "etaoinshrdlu ,\n="[(seed >> 16) % 16];
	}
}

/* bytes that it takes, 0 if it does not come back */
static uint32_t sealed(void)
{
	struct chunker c;
	struct hf_ref ref = { 0 };
	uint32_t n = 0;

	if (chunker_init(&c, &keys, keys.hash))
		return 0;
	asked = 0;
	if (!chunk_seal(&c, text, LEN, hash, true, &ref) && !chunk_open(&c, &ref) && !memcmp(c.plain, text, LEN))
		n = ref.clen;
	chunker_exit(&c);
	return n;
}

static bool packed(void)
{
	struct hf_buf b = HF_BUF_INIT, back = HF_BUF_INIT;
	struct hf_rec r = { 0 };
	void *zip = NULL;
	unsigned flags = 0;
	bool good;

	hf_buf_put(&b, text, LEN);
	good = !codec_pack(&b, &zip, &flags) && flags == HF_REC_ZSTD && b.len < LEN;
	r.flags = flags;
	r.payload = b.p;
	r.len = b.len;
	good = good && !codec_unpack(&r, &back) && back.len == LEN && !memcmp(back.p, text, LEN);
	ZSTD_freeCCtx(zip);
	hf_buf_free(&b);
	hf_buf_free(&back);
	return good;
}

int main(void)
{
	uint32_t best, n;
	int all;

	ok(!hf_crypto_init(), "libsodium starts");
	randombytes_buf(&keys, sizeof(keys));
	make_text();
	hf_mac(keys.hash, text, LEN, hash);
	best = sealed();
	all = asked;
	ok(best && best < LEN / 8 * 7, "a chunk is compressed, and comes back");
	printf("# %u of %u bytes, by %d parameters\n", best, LEN, all);
	ok(packed(), "so is a payload");
	for (refused_from = 1; refused_from <= all; refused_from++) {
		n = sealed();
		printf("# from parameter %d on: %u bytes\n", refused_from, n);
		ok(n && n < best + best / 8, "parameters from %d on are refused: compressed as well, and comes back", refused_from);
		ok(packed(), "so is a payload");
	}
	return tap_done();
}
