// SPDX-License-Identifier: LGPL-2.1-or-later
/* Keys, seals and hashes, all of them libsodium's. */
#include "crypto.h"
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static_assert(HF_NONCE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
static_assert(HF_TAG == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");

int hf_crypto_init(void)
{
	return sodium_init() < 0 ? -EIO : 0;
}

static int derive(const uint8_t master[32], struct hf_keys **out)
{
	static const struct { size_t off; uint64_t id; } sub[] = {
		{ offsetof(struct hf_keys, aead), 1 },
		{ offsetof(struct hf_keys, mac), 2 },
		{ offsetof(struct hf_keys, hash), 3 },
		{ offsetof(struct hf_keys, local), 4 },
	};
	struct hf_keys *k = sodium_malloc(sizeof(*k));

	if (!k)
		return -ENOMEM;
	for (size_t i = 0; i < HF_ARRAY(sub); i++)
		crypto_kdf_derive_from_key((uint8_t *)k + sub[i].off, 32, sub[i].id, "holdfast", master);
	sodium_mprotect_readonly(k);
	*out = k;
	return 0;
}

int hf_keys_load(const char *path, struct hf_keys **out, struct hf_err *err)
{
	const char *creds = getenv("CREDENTIALS_DIRECTORY");
	char cred[PATH_MAX], text[129] = "";
	uint8_t *master = NULL;
	struct stat st;
	size_t n = 0;
	int fd, ret;

	ret = hf_crypto_init();
	if (ret)
		return hf_fail(err, HF_FAILED, ret, "libsodium does not start");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT && creds) {
		snprintf(cred, sizeof(cred), "%s/holdfast.key", creds);
		fd = open(cred, O_RDONLY | O_CLOEXEC);
		path = cred;
	}
	if (fd < 0)
		return errno == ENOENT ?
			hf_fail(err, HF_FAILED, -ENOENT,
				"the cluster's key is not there: %s; copy it from another node (only for a new cluster: holdfast keygen)", path) :
			hf_fail(err, HF_OK, -errno, "the cluster's key cannot be read from %s: %s", path, strerror(errno));
	if (fstat(fd, &st)) {
		ret = hf_fail(err, HF_FAILED, -errno, "%s: %s", path, strerror(errno));
		goto out;
	}
	if ((st.st_mode & 077) || (st.st_uid && st.st_uid != geteuid())) {
		ret = hf_fail(err, HF_PERM, -EPERM,
			      "the key file %s may be read by others; chown root and chmod 600 it", path);
		goto out;
	}
	ssize_t r = read(fd, text, sizeof(text) - 1);

	if (r < 0) {
		ret = hf_fail(err, HF_FAILED, -errno, "%s: %s", path, strerror(errno));
		goto out;
	}
	master = sodium_malloc(32);
	if (!master) {
		ret = -ENOMEM;
		goto out;
	}
	if (sodium_hex2bin(master, 32, text, r, " \n", &n, NULL) || n != 32) {
		ret = hf_fail(err, HF_USAGE, -EINVAL, "%s is not a key file: 64 hexadecimal digits are wanted", path);
		goto out;
	}
	ret = derive(master, out);
out:
	close(fd);
	sodium_memzero(text, sizeof(text));
	sodium_free(master);
	return ret;
}

void hf_keys_free(struct hf_keys *k)
{
	sodium_free(k);
}

int hf_keyfile_create(const char *path, struct hf_err *err)
{
	uint8_t key[32];
	char text[66];
	int fd, ret = hf_crypto_init();

	if (ret)
		return ret;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return hf_fail(err, HF_OK, -errno, errno == EEXIST ?
			       "%s exists already; a cluster's key is never overwritten%.0s" :
			       "the key cannot be written to %s: %s", path, strerror(errno));
	randombytes_buf(key, sizeof(key));
	sodium_bin2hex(text, 65, key, 32);
	text[64] = '\n';
	ret = hf_pwrite_full(fd, text, 65, 0);
	if (!ret && fsync(fd))
		ret = -errno;
	if (close(fd) && !ret)
		ret = -errno;
	sodium_memzero(key, sizeof(key));
	sodium_memzero(text, sizeof(text));
	if (ret) {
		unlink(path);
		return hf_fail(err, HF_FAILED, ret, "the key cannot be written to %s: %s", path, strerror(-ret));
	}
	return 0;
}

void hf_seal(const uint8_t key[32], const void *ad, size_t adlen, void *p, size_t len,
	     uint8_t nonce[HF_NONCE], uint8_t tag[HF_TAG])
{
	randombytes_buf(nonce, HF_NONCE);
	crypto_aead_xchacha20poly1305_ietf_encrypt_detached(p, tag, NULL, p, len, ad, adlen, NULL, nonce, key);
}

int hf_unseal(const uint8_t key[32], const void *ad, size_t adlen, void *p, size_t len,
	      const uint8_t nonce[HF_NONCE], const uint8_t tag[HF_TAG])
{
	if (crypto_aead_xchacha20poly1305_ietf_decrypt_detached(p, NULL, p, len, tag, ad, adlen, nonce, key)) {
		sodium_memzero(p, len);
		return -EBADMSG;
	}
	return 0;
}

void hf_mac(const uint8_t key[32], const void *p, size_t len, uint8_t out[HF_HASH])
{
	crypto_generichash(out, HF_HASH, p, len, key, 32);
}

void hf_hash_init(const struct hf_keys *k, void *st)
{
	crypto_generichash_init(st, k->hash, 32, HF_HASH);
}

void hf_hash_update(void *st, const void *p, size_t n)
{
	crypto_generichash_update(st, p, n);
}

void hf_hash_final(void *st, uint8_t out[HF_HASH])
{
	crypto_generichash_final(st, out, HF_HASH);
}
