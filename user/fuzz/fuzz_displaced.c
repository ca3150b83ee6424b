// SPDX-License-Identifier: GPL-2.0-or-later
/* A kept-aside set. First byte: 1 the rest is frames (length 2, bytes), to be sealed; else it is the file. */
#include "../lib/displaced_read.c"
#include "fuzz.h"

static char dir[64];
static int dirfd_;
#define ID "20240102T030405.678Z-01234567"

static void leave(void)
{
	unlinkat(dirfd_, ID, 0);
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	image_keys();
	snprintf(dir, sizeof(dir), "%.40s/hf-fuzz-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	must(mkdtemp(dir));
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
	must(dirfd_ >= 0);
	atexit(leave);
	must(hf_displaced_when(ID));
	return 0;
}

static int on_set(void *ctx, const char *id, uint64_t when, const char *reason, const char *resource,
		  const char *checkpoint, const char *rel, const struct hf_attr *a)
{
	must(strlen(reason) + strlen(resource) + strlen(checkpoint) < 1u << 26);
	must(!rel == !a);
	return 0;
}

static int on_data(void *ctx, const void *p, size_t n)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct bytes in = { p, p + n };
	struct listing all = { .key = image.keys->local, .fn = on_set };
	struct listing one = { .key = image.keys->local, .want = "f", .sink = on_data };
	unsigned mode = take(&in, 1);
	struct hf_buf b = HF_BUF_INIT;
	int fd;

	if (mode & 1) {
		crypto_secretstream_xchacha20poly1305_state ss;
		uint8_t hdr[HDR - 8];

		hf_buf_put(&b, MAGIC, 8);
		crypto_secretstream_xchacha20poly1305_init_push(&ss, hdr, image.keys->local);
		hf_buf_put(&b, hdr, sizeof(hdr));
		while (left(&in)) {
			size_t want = take(&in, 2), len;
			uint8_t *v = take_copy(&in, want, &len), *z = malloc(len + ABYTES), head[4];
			uint32_t total = len + ABYTES;

			must(z);
			for (int i = 0; i < 4; i++)
				head[i] = total >> (8 * i);
			crypto_secretstream_xchacha20poly1305_push(&ss, z, NULL, v, len, head, 4,
				len && *v == 'F' ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : 0);
			hf_buf_put(&b, head, 4);
			hf_buf_put(&b, z, total);
			free(v);
			free(z);
		}
	} else {
		hf_buf_put(&b, in.p, left(&in));
	}
	must(!b.bad);
	fd = openat(dirfd_, ID, O_RDWR | O_CREAT | O_TRUNC, 0600);
	must(fd >= 0 && !hf_pwrite_full(fd, b.p, b.len, 0));
	close(fd);
	read_set(&all, dirfd_, ID);
	read_set(&one, dirfd_, ID);
	hf_buf_free(&b);
	return 0;
}
