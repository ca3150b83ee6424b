// SPDX-License-Identifier: LGPL-2.1-or-later
/* Names, paths and values with units, as people write them. */
#include "names.h"
#include "conf.h"
#include "reg.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@:+-"

int hf_name_check(const char *name, const char *what, struct hf_err *err)
{
	size_t n = strlen(name);
	const char *at;
	char *p;
	int ret;

	if (!n)
		return hf_fail(err, HF_USAGE, -EINVAL, "%s is empty", what);
	at = strchr(name, '@');
	/* %i stands in paths: it must not be able to become . or .. */
	if (n <= HF_NAME_MAX && strspn(name, NAME_CHARS) == n && name[0] != '.' && name[0] != '-' &&
	    !(at && at[1] == '.'))
		return 0;
	p = hf_printable(name, n < 80 ? n : 80);
	ret = hf_fail(err, HF_USAGE, -EINVAL,
		      "%s '%s' is not a name; write 1 to %d of A-Z a-z 0-9 . _ @ : + -, beginning with "
		      "neither . nor -, and without . after the first @", what, p ? p : "", HF_NAME_MAX);
	free(p);
	return ret;
}

bool hf_utf8_valid(const char *s)
{
	/* a backslash is valid but not printable(): the one that stays is looked at by itself */
	size_t n = strlen(s);
	bool same = true;

	while (n && same) {
		size_t part = strcspn(s, "\\");
		char *p = hf_printable(s, part);

		same = p && strlen(p) == part && !memcmp(p, s, part);
		free(p);
		s += part;
		n -= part;
		if (n) {
			s++;
			n--;
		}
	}
	return same;
}

static int scaled(const char *s, const char *const *unit, const uint64_t *factor, unsigned nunit,
		  uint64_t *out)
{
	uint64_t v = 0;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *s - '0', &v))
			return -EINVAL;
	for (unsigned i = 0; i < nunit; i++) {
		if (strcmp(s, unit[i]))
			continue;
		if (__builtin_mul_overflow(v, factor[i], &v) || v > INT64_MAX)
			return -EINVAL;
		*out = v;
		return 0;
	}
	return -EINVAL;
}

int hf_parse_duration(const char *s, uint64_t *ms)
{
	static const char *const unit[] = { "ms", "s", "m", "h", "d" };
	static const uint64_t factor[] = { 1, 1000, 60000, 3600000, 86400000 };

	if (!strcmp(s, "0")) {
		*ms = 0;
		return 0;
	}
	return scaled(s, unit, factor, HF_ARRAY(unit), ms);
}

int hf_parse_size(const char *s, uint64_t *bytes)
{
	static const char *const unit[] = {
		"", "B", "kB", "KiB", "MB", "MiB", "GB", "GiB", "TB", "TiB",
	};
	static const uint64_t factor[] = {
		1, 1, 1000, 1ull << 10, 1000000, 1ull << 20, 1000000000, 1ull << 30,
		1000000000000, 1ull << 40,
	};

	return scaled(s, unit, factor, HF_ARRAY(unit), bytes);
}

char *hf_path_expand(const char *path, const char *node, const char *resource)
{
	struct hf_buf b = HF_BUF_INIT;
	const char *at = strchr(resource, '@');
	const char *instance = at ? at + 1 : "";

	for (; *path; path++) {
		if (path[0] == '%' && path[1] == 'n') {
			hf_buf_put(&b, node, strlen(node));
			path++;
		} else if (path[0] == '%' && path[1] == 'i') {
			hf_buf_put(&b, instance, strlen(instance));
			path++;
		} else if (path[0] == '%' && path[1] == '%') {
			hf_buf_u8(&b, '%');
			path++;
		} else {
			hf_buf_u8(&b, *path);
		}
	}
	hf_buf_u8(&b, 0);
	if (b.bad) {
		hf_buf_free(&b);
		return NULL;
	}
	return (char *)b.p;
}

/* whether @path is @dir or lies below it */
static bool below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n > 1 && dir[n - 1] == '/')
		n--;
	return !strncmp(path, dir, n) && (!path[n] || path[n] == '/');
}

static int path_fail(const char *path, struct hf_err *err, const char *why)
{
	char *p = hf_printable(path, strnlen(path, 200));
	int ret = hf_fail(err, HF_USAGE, -EINVAL, "'%s' cannot be registered: %s", p ? p : "", why);

	free(p);
	return ret;
}

int hf_path_check(char *path, const char *const *own, struct hf_err *err)
{
	static const char *const never[] = { "/proc", "/sys", "/dev" };
	char why[512], *out = path;
	const char *in = path;

	if (!*path)
		return path_fail(path, err, "the path is empty");
	if (path[0] != '/')
		return path_fail(path, err, "the path is not absolute; write one that begins with /");
	if (strlen(path) >= PATH_MAX)
		return path_fail(path, err, "the path is too long (4095 bytes at most)");
	if (!hf_utf8_valid(path))
		return path_fail(path, err, "the path is not UTF-8, or holds control characters");

	while (*in) {
		size_t n = strcspn(in, "/");

		if (n > NAME_MAX)
			return path_fail(path, err, "a name in it is longer than 255 bytes");
		if (n == 2 && in[0] == '.' && in[1] == '.')
			return path_fail(path, err, "it holds ..; write the path that is meant");
		if (n && !(n == 1 && in[0] == '.')) {
			*out++ = '/';
			memmove(out, in, n);
			out += n;
		}
		in += n;
		in += *in == '/';
	}
	if (out == path)
		*out++ = '/';
	*out = 0;

	if (!strcmp(path, "/"))
		return path_fail(path, err, "the root of the file system is more than a configuration; "
				 "name a directory below it");
	for (size_t i = 0; i < HF_ARRAY(never); i++)
		if (below(path, never[i]))
			return path_fail(path, err, "the kernel makes what is in it");
	for (; own && *own; own++) {
		if (below(path, *own) || below(*own, path)) {
			snprintf(why, sizeof(why), "Holdfast itself keeps its state in %s", *own);
			return path_fail(path, err, why);
		}
	}
	return 0;
}
