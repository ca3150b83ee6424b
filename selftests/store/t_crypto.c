// SPDX-License-Identifier: GPL-2.0-or-later
/* libcrypto gives what libsodium gives, is asked where it pays, and is done without where it cannot. */
#include "../tap.h"
#include "crypto_int.h"
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#define MOST (1u << 20)

static struct hf_keys keys;
static uint8_t plain[MOST], work[MOST], out[MOST];
static const struct hf_crypto_ops *ssl;
static unsigned asked;
static bool broken;

static void *count_begin(const uint8_t key[32])
{
	asked++;
	return broken ? NULL : ssl->hash_begin(key);
}

static void count_more(void *c, const void *p, size_t n) { ssl->hash_more(c, p, n); }
static void count_end(void *c, uint8_t h[HF_HASH]) { ssl->hash_end(c, h); }

static bool count_seal(const uint8_t key[32], const void *ad, size_t adlen, void *p, size_t len,
		       const uint8_t nonce[HF_NONCE], uint8_t tag[HF_TAG])
{
	asked++;
	return !broken && ssl->seal(key, ad, adlen, p, len, nonce, tag);
}

static bool count_unseal(const uint8_t key[32], const void *ad, size_t adlen, void *p, size_t len,
			 const uint8_t nonce[HF_NONCE], const uint8_t tag[HF_TAG], bool *good)
{
	asked++;
	return !broken && ssl->unseal(key, ad, adlen, p, len, nonce, tag, good);
}

static const struct hf_crypto_ops counting = { count_begin, count_more, count_end, count_seal, count_unseal };

static void rest(void) { usleep(40000); }

static void warm_up(void)
{
	uint8_t h[HF_HASH];

	for (int i = 0; i < 280; i++)
		hf_mac(keys.mac, plain, 100, h);
}

static bool hash_equal(size_t n)
{
	uint8_t st[HF_HASH_STATE] __attribute__((aligned(64))), want[HF_HASH], got[HF_HASH];
	bool good;

	crypto_generichash(want, HF_HASH, plain, n, keys.hash, 32);
	hf_mac(keys.hash, plain, n, got);
	good = !memcmp(want, got, HF_HASH);
	hf_hash_init(&keys, st);
	for (size_t at = 0, step = 1; at < n; at += step, step = step * 3 + 1) {
		if (step > n - at)
			step = n - at;
		hf_hash_update(st, plain + at, step);
	}
	hf_hash_final(st, got);
	return good && !memcmp(want, got, HF_HASH);
}

/* sealed here and opened there, and the other way round */
static bool seal_equal(size_t n, size_t adlen)
{
	const uint8_t *ad = plain + 7;
	uint8_t nonce[HF_NONCE], tag[HF_TAG];
	bool good;

	memcpy(work, plain, n);
	hf_seal(keys.aead, ad, adlen, work, n, nonce, tag);
	good = !crypto_aead_xchacha20poly1305_ietf_decrypt_detached(out, NULL, work, n, tag, ad, adlen, nonce, keys.aead) &&
	       !memcmp(out, plain, n) && hf_sealed(keys.aead, ad, adlen, work, n, nonce, tag);
	crypto_aead_xchacha20poly1305_ietf_encrypt_detached(work, tag, NULL, plain, n, ad, adlen, NULL, nonce, keys.aead);
	return good && !hf_unseal(keys.aead, ad, adlen, work, n, nonce, tag) && !memcmp(work, plain, n);
}

static const size_t edges[] = { 4095, 4096, 4097, 16383, 16384, 16385, 65536, 65537, MOST };

/* how often libcrypto was asked */
static unsigned all_equal(const char *how)
{
	bool hashes = true, seals = true;
	unsigned before, of_us = 0;

	for (size_t n = 0; n <= 300; n++) {
		/* on a busy machine there may have been a rest */
		warm_up();
		before = asked;
		hashes &= hash_equal(n);
		seals &= seal_equal(n, n % 70);
		of_us += asked - before;
	}
	for (size_t i = 0; i < HF_ARRAY(edges); i++) {
		hashes &= hash_equal(edges[i]);
		seals &= seal_equal(edges[i], 56);
	}
	ok(hashes, "%s: hashes of 0 to 300 bytes, around 4 and 16 KiB, of 1 MiB, whole and in pieces, are libsodium's", how);
	ok(seals, "%s: what either sealed the other opens", how);
	return of_us;
}

/* one bit of what was sealed, of the tag, the nonce or what goes with it */
static void forged(const char *how)
{
	static const size_t len[] = { 1, 200, 5000, 20000 };
	uint8_t ad[56], nonce[HF_NONCE], tag[HF_TAG], *what[] = { NULL, tag, nonce, ad };
	bool refused = true, wiped = true;

	for (size_t i = 0; i < HF_ARRAY(len); i++)
		for (size_t k = 0; k < HF_ARRAY(what); k++) {
			memset(ad, 'a', sizeof(ad));
			memcpy(work, plain, len[i]);
			hf_seal(keys.aead, ad, sizeof(ad), work, len[i], nonce, tag);
			(k ? what[k] : work)[k ? 3 : len[i] / 2] ^= 4;
			refused &= hf_unseal(keys.aead, ad, sizeof(ad), work, len[i], nonce, tag) == -EBADMSG;
			wiped &= sodium_is_zero(work, len[i]);
		}
	ok(refused, "%s: one bit that differs is refused", how);
	ok(wiped, "%s: and nothing of it is left", how);
}

#define DEEP 16384

/* what calls that have returned left below this frame */
__attribute__((noinline, no_sanitize("address")))
static void take_stack(uint8_t *copy)
{
	const volatile uint8_t *below = (const uint8_t *)__builtin_frame_address(0) - DEEP;

	for (size_t i = 0; i < DEEP - 256; i++)
		copy[i] = below[i];
}

static bool left_behind(const void *what, size_t n)
{
	static uint8_t copy[DEEP];

	take_stack(copy);
	for (size_t i = 0; i < DEEP - 256; i += 8)
		if (!sodium_is_zero(copy + i, 8) && memmem(what, n, copy + i, 8))
			return true;
	return false;
}

static void leaves_nothing(const char *how)
{
	uint8_t nonce[HF_NONCE], tag[HF_TAG], h[HF_HASH], st[HF_HASH_STATE] __attribute__((aligned(64)));
	bool hash = false, seal = false, unseal = false, key = false;

	/* the linker saves registers when a function is called for the first time; the rest is this test's own */
	left_behind(plain, 8);
	sodium_stackzero(DEEP);
	for (size_t n = 0; n < 5000; n += n < 520 ? 13 : 777) {
		hf_mac(keys.mac, plain, n, h);
		hash |= left_behind(plain, n);
		hf_hash_init(&keys, st);
		for (size_t at = 0; at < n; at += 50)
			hf_hash_update(st, plain + at, n - at < 50 ? n - at : 50);
		hf_hash_final(st, h);
		hash |= left_behind(plain, n);
		key |= left_behind(&keys, sizeof(keys));
		memcpy(work, plain, n);
		hf_seal(keys.aead, "ad", 2, work, n, nonce, tag);
		seal |= left_behind(plain, n);
		key |= left_behind(&keys, sizeof(keys));
		hf_unseal(keys.aead, "ad", 2, work, n, nonce, tag);
		unseal |= left_behind(plain, n);
		/* what it was sealed with, of the key and the nonce: that leaves it, too */
		crypto_core_hchacha20(h, nonce, keys.aead, NULL);
		sodium_stackzero(DEEP);
		memcpy(work, plain, n);
		crypto_aead_xchacha20poly1305_ietf_encrypt_detached(work, tag, NULL, plain, n, NULL, 0, NULL, nonce, keys.aead);
		sodium_stackzero(DEEP);
		unseal |= hf_unseal(keys.aead, NULL, 0, work, n, nonce, tag);
		key |= left_behind(h, HF_HASH);
		key |= left_behind(&keys, sizeof(keys));
	}
	ok(!hash, "P11: %s: nothing that was hashed is left on the stack", how);
	ok(!seal, "nor that was sealed");
	ok(!unseal, "nor unsealed");
	ok(!key, "nor of the keys");
}

int main(void)
{
	uint8_t h[HF_HASH], st[HF_HASH_STATE] __attribute__((aligned(64)));

	ok(!hf_crypto_init(), "libsodium starts");
	randombytes_buf(&keys, sizeof(keys));
	randombytes_buf(plain, sizeof(plain));
	all_equal("libsodium alone");
	leaves_nothing("libsodium alone");
	ok(hf_crypto_fast(), "libcrypto has what is wanted");
	ssl = hf_crypto_ops;
	hf_crypto_ops = &counting;
	ok(all_equal("libcrypto") > 1000, "which was asked");
	forged("libcrypto");
	warm_up();
	leaves_nothing("libcrypto");

	rest();
	asked = 0;
	hf_mac(keys.mac, plain, 1000, h);
	is(asked, 0, "what is small and comes after a rest is libsodium's");
	hf_mac(keys.mac, plain, 20000, h);
	is(asked, 1, "what is large is not");
	asked = 0;
	/* who is stopped for a while in the midst of it has rested, too */
	for (int tries = 0; tries < 100 && !asked; tries++) {
		rest();
		warm_up();
	}
	ok(asked && asked < 30, "nor what comes after much of it");
	rest();
	asked = 0;
	hf_mac(keys.mac, plain, 1000, h);
	is(asked, 0, "until the next rest");

	hf_hash_init(&keys, st);
	hf_hash_final(st, NULL);
	ok(sodium_is_zero(st, sizeof(void *)), "a hash that nobody wants is ended");

	broken = true;
	ok(all_equal("where libcrypto has no memory") > 1000, "which was asked all the same");
	forged("libsodium");
	return tap_done();
}
