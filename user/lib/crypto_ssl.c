// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Hashes and seals by OpenSSL's libcrypto: the same functions, so the same bytes, as libsodium's, in half
 * the time and less. For who has much to hash; nothing else refers to this file, so the command and the
 * library do without libcrypto.
 *
 * A context is made for each use: that costs a tenth of a microsecond, and leaves no key behind. That one
 * cannot be had is told before anything was touched; afterwards nothing here can fail.
 *
 * libcrypto wipes its contexts, not its stack, where for example a block lies that was hashed.
 */
#include "crypto_int.h"
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>

static EVP_MAC *blake2b;
static EVP_CIPHER *chacha;

#define STACK 4096	/* of the deepest call below */

static void must(bool good)
{
	if (!good)
		abort();
}

static void *hash_begin(const uint8_t key[32])
{
	size_t size = HF_HASH;
	OSSL_PARAM p[] = { OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_construct_end() };
	EVP_MAC_CTX *c = EVP_MAC_CTX_new(blake2b);

	if (c && EVP_MAC_init(c, key, 32, p))
		return c;
	EVP_MAC_CTX_free(c);
	return NULL;
}

static void hash_more(void *c, const void *p, size_t n)
{
	must(EVP_MAC_update(c, p, n));
	sodium_stackzero(STACK);
}

static void hash_end(void *c, uint8_t out[HF_HASH])
{
	size_t n;

	must(EVP_MAC_final(c, out, &n, HF_HASH) && n == HF_HASH);
	EVP_MAC_CTX_free(c);
	sodium_stackzero(STACK);
}

/* XChaCha20: HChaCha20 of the key and the first 16 bytes of the nonce; the rest is the nonce of what follows */
static EVP_CIPHER_CTX *cipher(const uint8_t key[32], const uint8_t nonce[HF_NONCE], bool seals)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t sub[32], iv[12] = { 0 };

	crypto_core_hchacha20(sub, nonce, key, NULL);
	memcpy(iv + 4, nonce + 16, 8);
	if (c && !EVP_CipherInit_ex2(c, chacha, sub, iv, seals, NULL)) {
		EVP_CIPHER_CTX_free(c);
		c = NULL;
	}
	sodium_memzero(sub, sizeof(sub));
	return c;
}

static bool seal(const uint8_t key[32], const void *ad, size_t adlen, void *p, size_t len,
		 const uint8_t nonce[HF_NONCE], uint8_t tag[HF_TAG])
{
	EVP_CIPHER_CTX *c = len <= INT_MAX && adlen <= INT_MAX ? cipher(key, nonce, true) : NULL;
	int n;

	if (!c)
		return false;
	must((!adlen || EVP_EncryptUpdate(c, NULL, &n, ad, adlen)) && (!len || EVP_EncryptUpdate(c, p, &n, p, len)) &&
	     EVP_EncryptFinal_ex(c, tag, &n) && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, HF_TAG, tag) > 0);
	EVP_CIPHER_CTX_free(c);
	sodium_stackzero(STACK);
	return true;
}

static bool unseal(const uint8_t key[32], const void *ad, size_t adlen, void *p, size_t len,
		   const uint8_t nonce[HF_NONCE], const uint8_t tag[HF_TAG], bool *good)
{
	EVP_CIPHER_CTX *c = len <= INT_MAX && adlen <= INT_MAX ? cipher(key, nonce, false) : NULL;
	uint8_t want[HF_TAG], none;
	int n;

	if (!c)
		return false;
	memcpy(want, tag, HF_TAG);
	must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, HF_TAG, want) > 0 &&
	     (!adlen || EVP_DecryptUpdate(c, NULL, &n, ad, adlen)) && (!len || EVP_DecryptUpdate(c, p, &n, p, len)));
	*good = EVP_DecryptFinal_ex(c, &none, &n) > 0;
	EVP_CIPHER_CTX_free(c);
	sodium_stackzero(STACK);
	return true;
}

static const struct hf_crypto_ops ops = {
	.hash_begin = hash_begin, .hash_more = hash_more, .hash_end = hash_end, .seal = seal, .unseal = unseal,
};

bool hf_crypto_fast(void)
{
	/* what the machine's openssl.cnf wants is not asked for: libsodium does not either. Threads may be
	 * at work when the process ends. */
	if (!OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL))
		return false;
	blake2b = EVP_MAC_fetch(NULL, "BLAKE2BMAC", NULL);
	chacha = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
	if (!blake2b || !chacha) {
		EVP_MAC_free(blake2b);
		EVP_CIPHER_free(chacha);
		return false;
	}
	hf_crypto_ops = &ops;
	return true;
}
