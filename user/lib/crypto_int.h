/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What can be done by another library than libsodium, with the same result. */
#ifndef HF_CRYPTO_INT_H
#define HF_CRYPTO_INT_H

#include "crypto.h"

/**
 * struct hf_crypto_ops - who hashes and seals
 * @hash_begin: a state, NULL where there is no memory: then libsodium does it
 * @hash_end: frees the state, and leaves nothing of it
 * @seal: false, with nothing done, where there is no memory
 * @unseal: the same; *@good: whether it is authentic. If not, @p holds what nobody may see
 */
struct hf_crypto_ops {
	void *(*hash_begin)(const uint8_t key[32]);
	void (*hash_more)(void *state, const void *p, size_t n);
	void (*hash_end)(void *state, uint8_t out[HF_HASH]);
	bool (*seal)(const uint8_t key[32], const void *ad, size_t adlen, void *p, size_t len,
		     const uint8_t nonce[HF_NONCE], uint8_t tag[HF_TAG]);
	bool (*unseal)(const uint8_t key[32], const void *ad, size_t adlen, void *p, size_t len,
		       const uint8_t nonce[HF_NONCE], const uint8_t tag[HF_TAG], bool *good);
};

extern const struct hf_crypto_ops *hf_crypto_ops;	/* NULL: libsodium; set before there are threads */

#endif
