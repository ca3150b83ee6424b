// SPDX-License-Identifier: LGPL-2.1-or-later
/* Keys, seals and hashes: libsodium's, or what gives the same bytes in less time (crypto_ssl.c). */
#include "crypto_int.h"
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static_assert(HF_NONCE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
static_assert(HF_TAG == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");

const struct hf_crypto_ops *hf_crypto_ops;

int hf_crypto_init(void)
{
	return sodium_init() < 0 ? -EIO : 0;
}

/* Whether any amount of memory may be locked: by asking for more than the limit. */
static bool may_lock_all(void)
{
	struct rlimit rl;
	size_t n;
	bool may;
	void *p;

	if (getrlimit(RLIMIT_MEMLOCK, &rl))
		return false;
	if (rl.rlim_cur == RLIM_INFINITY)
		return true;
	n = (rl.rlim_cur / 4096 + 2) * 4096;
	p = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return false;
	may = !mlock2(p, n, MLOCK_ONFAULT);
	munmap(p, n);
	return may;
}

/*
 * A process that holds keys leaves no core, and what it decrypts stays out of swap: that passes
 * through buffers, stacks and zstd's workspaces, so all pages are locked as they are touched.
 * Under a limit that would make later allocations fail; then only the keys are.
 */
static void hide_process(void)
{
	static bool told;

	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (may_lock_all() && !mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		return;
	if (!told)
		hf_logf(HF_LOG_WARN,
			"contents of crypto checkpoints could be swapped: memory cannot be locked; give the daemon CAP_IPC_LOCK or LimitMEMLOCK=infinity, or encrypt the swap");
	told = true;
}

/* Locked, with guard pages on either side, left out of core dumps, wiped by sodium_free(). That
 * leaves it at trying to lock, so it is asked for again. */
static void *secret_alloc(size_t n, struct hf_err *err)
{
	void *p = sodium_malloc(n);

	if (!p) {
		hf_fail(err, HF_FAILED, -ENOMEM, "out of memory for keys");
	} else if (mlock(p, n)) {
		hf_fail(err, HF_FAILED, -errno,
			"the cluster's key cannot be kept out of swap: %s; raise the limit of locked memory (LimitMEMLOCK= in the unit, ulimit -l) to 64 kB at least, or give CAP_IPC_LOCK",
			strerror(errno));
		sodium_free(p);
		p = NULL;
	}
	return p;
}

static int derive(const uint8_t master[32], struct hf_keys **out, struct hf_err *err)
{
	static const struct { size_t off; uint64_t id; } sub[] = {
		{ offsetof(struct hf_keys, aead), 1 },
		{ offsetof(struct hf_keys, mac), 2 },
		{ offsetof(struct hf_keys, hash), 3 },
		{ offsetof(struct hf_keys, local), 4 },
	};
	struct hf_keys *k = secret_alloc(sizeof(*k), err);

	if (!k)
		return -ENOMEM;
	for (size_t i = 0; i < HF_ARRAY(sub); i++)
		crypto_kdf_derive_from_key((uint8_t *)k + sub[i].off, 32, sub[i].id, "holdfast", master);
	/* what the derivation left below this frame */
	sodium_stackzero(4096);
	sodium_mprotect_readonly(k);
	*out = k;
	return 0;
}

int hf_keys_load(const char *path, struct hf_keys **out, struct hf_err *err)
{
	const char *creds = getenv("CREDENTIALS_DIRECTORY");
	struct { uint8_t key[32]; char text[128]; } *master = NULL;
	char cred[PATH_MAX];
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
	hide_process();
	master = secret_alloc(sizeof(*master), err);
	if (!master) {
		ret = -ENOMEM;
		goto out;
	}
	ssize_t r = read(fd, master->text, sizeof(master->text));

	if (r < 0) {
		ret = hf_fail(err, HF_FAILED, -errno, "%s: %s", path, strerror(errno));
		goto out;
	}
	if (sodium_hex2bin(master->key, 32, master->text, r, " \n", &n, NULL) || n != 32) {
		ret = hf_fail(err, HF_USAGE, -EINVAL, "%s is not a key file: 64 hexadecimal digits are wanted", path);
		goto out;
	}
	ret = derive(master->key, out, err);
out:
	close(fd);
	sodium_free(master);
	return ret;
}

void hf_keys_free(struct hf_keys *k)
{
	sodium_free(k);
}

int hf_keyfile_create(const char *path, struct hf_err *err)
{
	struct { uint8_t key[32]; char text[66]; } *master;
	int fd, ret = hf_crypto_init();

	if (ret)
		return ret;
	hide_process();
	master = secret_alloc(sizeof(*master), err);
	if (!master)
		return -ENOMEM;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		ret = -errno;
		sodium_free(master);
		return hf_fail(err, HF_OK, ret, ret == -EEXIST ?
			       "%s exists already; a cluster's key is never overwritten%.0s" :
			       "the key cannot be written to %s: %s", path, strerror(-ret));
	}
	randombytes_buf(master->key, sizeof(master->key));
	sodium_bin2hex(master->text, 65, master->key, 32);
	master->text[64] = '\n';
	ret = hf_pwrite_full(fd, master->text, 65, 0);
	if (!ret && fsync(fd))
		ret = -errno;
	if (close(fd) && !ret)
		ret = -errno;
	sodium_free(master);
	if (ret) {
		unlink(path);
		return hf_fail(err, HF_FAILED, ret, "the key cannot be written to %s: %s", path, strerror(-ret));
	}
	return 0;
}

/*
 * Whether hf_crypto_ops takes less time for @n bytes. It is much code, which after a rest is in no cache: then it
 * takes longer for what is small, unless there is much of it.
 */
#define LARGE (16u << 10)
#define REST_MS 10
#define MUCH 256

static bool faster(size_t n)
{
	static _Thread_local uint64_t last;
	static _Thread_local unsigned uses;
	struct timespec ts;
	uint64_t now;

	if (!hf_crypto_ops || n >= LARGE)
		return hf_crypto_ops;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	now = (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	uses = now - last > REST_MS ? 1 : uses < MUCH ? uses + 1 : uses;
	last = now;
	return uses == MUCH;
}

/* libsodium leaves on its stack the last block that it hashed, which may be all of a small file, and parts of keys */
static void wipe_stack(void)
{
	sodium_stackzero(4096);
}

void hf_seal(const uint8_t key[32], const void *ad, size_t adlen, void *p, size_t len,
	     uint8_t nonce[HF_NONCE], uint8_t tag[HF_TAG])
{
	randombytes_buf(nonce, HF_NONCE);
	if (faster(len) && hf_crypto_ops->seal(key, ad, adlen, p, len, nonce, tag))
		return;
	crypto_aead_xchacha20poly1305_ietf_encrypt_detached(p, tag, NULL, p, len, ad, adlen, NULL, nonce, key);
	wipe_stack();
}

int hf_unseal(const uint8_t key[32], const void *ad, size_t adlen, void *p, size_t len,
	      const uint8_t nonce[HF_NONCE], const uint8_t tag[HF_TAG])
{
	bool good;

	if (!faster(len) || !hf_crypto_ops->unseal(key, ad, adlen, p, len, nonce, tag, &good)) {
		good = !crypto_aead_xchacha20poly1305_ietf_decrypt_detached(p, NULL, p, len, tag, ad, adlen, nonce, key);
		wipe_stack();
	}
	if (!good)
		sodium_memzero(p, len);
	return good ? 0 : -EBADMSG;
}

bool hf_sealed(const uint8_t key[32], const void *ad, size_t adlen, const void *p, size_t len,
	       const uint8_t nonce[HF_NONCE], const uint8_t tag[HF_TAG])
{
	bool good = !crypto_aead_xchacha20poly1305_ietf_decrypt_detached(NULL, NULL, p, len, tag, ad, adlen, nonce, key);

	wipe_stack();
	return good;
}

void hf_padding(void *p, size_t len)
{
	uint8_t seed[randombytes_SEEDBYTES];

	if (!len)
		return;
	/* one small question to the kernel instead of a sector's worth */
	randombytes_buf(seed, sizeof(seed));
	randombytes_buf_deterministic(p, len, seed);
	sodium_memzero(seed, sizeof(seed));
}

struct hash {
	crypto_generichash_state st;
	const uint8_t *key;	/* until the first of it is there */
	void *fast;
};

static_assert(sizeof(struct hash) <= HF_HASH_STATE, "state");

static void begin(struct hash *h, size_t n)
{
	h->fast = faster(n) ? hf_crypto_ops->hash_begin(h->key) : NULL;
	if (!h->fast)
		crypto_generichash_init(&h->st, h->key, 32, HF_HASH);
	h->key = NULL;
}

void hf_mac(const uint8_t key[32], const void *p, size_t len, uint8_t out[HF_HASH])
{
	struct hash h = { .key = key };

	hf_hash_update(&h, p, len);
	hf_hash_final(&h, out);
}

void hf_hash_init(const struct hf_keys *k, void *st)
{
	((struct hash *)st)->key = k->hash;
}

void hf_hash_update(void *st, const void *p, size_t n)
{
	struct hash *h = st;

	if (h->key)
		begin(h, n);
	if (h->fast)
		hf_crypto_ops->hash_more(h->fast, p, n);
	else
		crypto_generichash_update(&h->st, p, n);
}

void hf_hash_final(void *st, uint8_t out[HF_HASH])
{
	struct hash *h = st;
	uint8_t own[HF_HASH];

	if (h->key)
		begin(h, 0);
	if (!out)
		out = own;
	if (h->fast) {
		hf_crypto_ops->hash_end(h->fast, out);
	} else {
		crypto_generichash_final(&h->st, out, HF_HASH);
		wipe_stack();
	}
	sodium_memzero(h, sizeof(*h));
}
