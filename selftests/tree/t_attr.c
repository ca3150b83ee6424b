// SPDX-License-Identifier: GPL-2.0-or-later
/* Attributes: encoding there and back, canonical, and what hostile bytes do (P11). */
#include "tree_test.h"
#include <sys/stat.h>

static struct hf_attr sample(mode_t type)
{
	struct hf_attr a = {
		.mode = type | 0640, .uid = 1, .gid = 12, .user = strdup("daemon"), .group = strdup("man"),
		.mtime_s = -5, .mtime_ns = 999999999, .atime_s = 1700000000, .atime_ns = 1,
		.size = type == S_IFREG ? 123456789012ull : 0,
	};

	if (type == S_IFLNK)
		a.target = strdup("../somewhere/else");
	if (type == S_IFCHR)
		a.rdev_major = 259, a.rdev_minor = 70000;
	a.nxattr = 3;
	a.xattr = calloc(3, sizeof(*a.xattr));
	for (int i = 0; i < 3; i++) {
		char name[] = "user.a";

		name[5] += i;
		a.xattr[i].name = strdup(name);
		a.xattr[i].len = i * 10;
		a.xattr[i].value = calloc(1, i * 10 + 1);
	}
	a.link = S_ISDIR(type) ? 0 : 0x1122334455667788ull;
	a.nacl = 2;
	a.acl = calloc(2, sizeof(*a.acl));
	a.acl[0] = (struct hf_acl_name){ false, 7, strdup("someone") };
	a.acl[1] = (struct hf_acl_name){ true, 5, strdup("some") };
	return a;
}

static bool decodes(const void *p, size_t n)
{
	struct hf_attr a;
	struct hf_buf b = HF_BUF_INIT;
	int ret = hf_attr_decode(p, n, &a);

	if (ret)
		return false;
	/* what is accepted is canonical: it encodes to the same bytes */
	hf_attr_encode(&a, &b);
	if (b.len != n || memcmp(b.p, p, n))
		printf("# accepted, but not canonical\n"), tap_failed++;
	hf_buf_free(&b);
	hf_attr_free(&a);
	return true;
}

static void hostile(const uint8_t *p, size_t n)
{
	unsigned cut = 0, mutated = 0;
	uint8_t *copy;

	for (size_t i = 0; i < n; i++) {
		/* exact allocation: a read past the end is seen by the sanitizer */
		copy = malloc(i ? i : 1);
		memcpy(copy, p, i);
		cut += decodes(copy, i);
		free(copy);
	}
	is(cut, 0, "no prefix is accepted");
	for (int i = 0; i < 30000; i++) {
		size_t len = n + (randombytes_uniform(20) ? 0 : randombytes_uniform(30));
		unsigned edits = 1 + randombytes_uniform(4);

		copy = calloc(1, len);
		memcpy(copy, p, n);
		while (edits--) {
			size_t at = randombytes_uniform(len);

			switch (randombytes_uniform(4)) {
			case 0: copy[at] = 0xff; break;
			case 1: copy[at] = 0; break;
			case 2: copy[at] ^= 1u << randombytes_uniform(8); break;
			case 3: copy[at] = randombytes_random(); break;
			}
		}
		mutated += decodes(copy, len);
		free(copy);
	}
	ok(mutated < 30000, "30,000 mutations did not crash it (%u were valid)", mutated);
}

int main(void)
{
	static const mode_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR };
	struct hf_buf b = HF_BUF_INIT, c = HF_BUF_INIT;
	struct hf_attr a, d;

	if (sodium_init() < 0)
		return 1;
	for (unsigned i = 0; i < HF_ARRAY(types); i++) {
		a = sample(types[i]);
		b.len = c.len = 0;
		is(hf_attr_encode(&a, &b), 0, "encode");
		is(hf_attr_decode(b.p, b.len, &d), 0, "decode");
		ok(hf_attr_same(&a, &d), "the same");
		is(d.mtime_s, -5, "times before 1970");
		hf_attr_encode(&d, &c);
		ok(c.len == b.len && !memcmp(b.p, c.p, b.len), "equal attributes give equal bytes");
		d.atime_s++;
		ok(hf_attr_same(&a, &d), "atime does not count");
		d.mtime_ns--;
		ok(!hf_attr_same(&a, &d), "mtime does");
		d.mtime_ns++;
		((char *)d.xattr[2].value)[3] = 1;
		ok(!hf_attr_same(&a, &d), "xattrs do");
		((char *)d.xattr[2].value)[3] = 0;
		d.acl[1].name[0] = 'S';
		ok(!hf_attr_same(&a, &d), "names in ACLs do");
		d.acl[1].name[0] = 's';
		d.link++;
		ok(!hf_attr_same(&a, &d), "other names of the file do");
		hf_attr_free(&d);
		hostile(b.p, b.len);
		hf_attr_free(&a);
	}
	/* each rule by itself */
	a = sample(S_IFREG);
#define REFUSED(change, what) do { \
	struct hf_attr *x = &a; \
	change; \
	b.len = 0; \
	hf_attr_encode(x, &b); \
	ok(!decodes(b.p, b.len), "refused: %s", what); \
	hf_attr_free(&a); \
	a = sample(S_IFREG); \
} while (0)
	REFUSED((x->mode = S_IFSOCK | 0600), "a socket with contents");
	REFUSED(x->mode = 0600, "no type");
	REFUSED(x->mode |= 1u << 20, "unknown mode bits");
	REFUSED(x->mtime_ns = 1000000000, "too many nanoseconds");
	REFUSED(x->target = strdup("x"), "a file with a target");
	REFUSED(x->rdev_major = 1, "a file with a device number");
	REFUSED(x->uid = UINT32_MAX, "no owner");
	REFUSED((x->mode = S_IFLNK | 0777, x->size = 0), "a link without a target");
	REFUSED(strcpy(x->xattr[1].name, "user.a"), "an xattr twice");
	REFUSED(strcpy(x->xattr[0].name, "user.z"), "xattrs out of order");
	REFUSED(x->xattr[0].name[0] = 0, "an xattr without a name");
	REFUSED(x->size = UINT64_MAX, "an impossible size");
	REFUSED((x->mode = S_IFDIR | 0700, x->size = 0), "a directory with other names");
	REFUSED(x->acl[0].name[0] = 0, "an ACL's number with an empty name");
	REFUSED(x->acl[0].group = true, "names of an ACL out of order");
	REFUSED((x->acl[0].group = true, x->acl[0].id = 5), "a number of an ACL twice");
	hf_attr_free(&a);
	hf_buf_free(&b);
	hf_buf_free(&c);
	return tap_done();
}
