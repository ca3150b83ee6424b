/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cluster's key and what is derived from it (libsodium). Keys live in
 * locked memory with guard pages, and are wiped. Who loads them leaves no core
 * any more, and has its memory locked where it may (Documentation/security.rst).
 */
#ifndef HF_CRYPTO_H
#define HF_CRYPTO_H

#include "base.h"

#define HF_NONCE 24
#define HF_TAG 16
#define HF_HASH 32

struct hf_keys {
	uint8_t aead[32];	/* rows, records, chunks */
	uint8_t mac[32];	/* superblock */
	uint8_t hash[32];	/* names of chunks, hashes of contents */
	uint8_t local[32];	/* what this node keeps aside */
};

int hf_crypto_init(void);
/** hf_crypto_fast() - from now on hash and seal by OpenSSL's libcrypto, with the same result; false: it cannot, and
 *  nothing is different. Before there are threads. */
bool hf_crypto_fast(void);
/** hf_keys_load() - from the key file (64 hex digits, mode 0600, owner root), or the
 *  systemd credential "holdfast.key" when the file is not there. hf_keys_free() wipes. */
int hf_keys_load(const char *path, struct hf_keys **out, struct hf_err *err);
void hf_keys_free(struct hf_keys *k);
/** hf_keyfile_create() - new random key; -EEXIST rather than replace one */
int hf_keyfile_create(const char *path, struct hf_err *err);

/** hf_seal() - XChaCha20-Poly1305 in place, random nonce (RFC draft-irtf-cfrg-xchacha) */
void hf_seal(const uint8_t key[32], const void *ad, size_t adlen, void *p, size_t len,
	     uint8_t nonce[HF_NONCE], uint8_t tag[HF_TAG]);
/** hf_sealed() - whether hf_unseal() would open it; nothing is decrypted */
bool hf_sealed(const uint8_t key[32], const void *ad, size_t adlen, const void *p, size_t len,
	       const uint8_t nonce[HF_NONCE], const uint8_t tag[HF_TAG]);
/** hf_unseal() - in place; -EBADMSG, and @p is wiped, when not authentic */
int hf_unseal(const uint8_t key[32], const void *ad, size_t adlen, void *p, size_t len,
	      const uint8_t nonce[HF_NONCE], const uint8_t tag[HF_TAG]);
/** hf_padding() - fill what is left of a sector so that it looks as what is sealed before it */
void hf_padding(void *p, size_t len);
void hf_mac(const uint8_t key[32], const void *p, size_t len, uint8_t out[HF_HASH]);
/* keyed BLAKE2b, streamed; st as in struct hf_tree_db. What was begun is ended: @out may be NULL. Nothing of it
 * stays in @st. */
void hf_hash_init(const struct hf_keys *k, void *st);
void hf_hash_update(void *st, const void *p, size_t n);
void hf_hash_final(void *st, uint8_t out[HF_HASH]);

#endif
