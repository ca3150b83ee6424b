// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Patterns with gitignore's meaning. The C library's fnmatch() knows neither `**`
 * nor what a slash ties, and takes another view of what is malformed; so the
 * matching is done here, byte by byte, and git itself is the judge in the tests.
 *
 * A match takes time in the order of pattern times path, times the number of
 * directories where there is a `**`: of several `*` in one name, and of several
 * `**`, only the last one ever needs another try.
 */
#include "pattern.h"
#include <ctype.h>
#include <stdlib.h>

struct pattern {
	char *text;		/* without `!`, and the slashes that only say something */
	bool in;		/* takes back in */
	bool dir;		/* directories only */
	bool tied;		/* to the whole path; else the last name is matched */
};

struct hf_patterns {
	unsigned int n;
	struct pattern v[];
};

static int class_has(const char *name, size_t n, unsigned char c)
{
	static const struct { const char *name; int (*is)(int c); } of[] = {
		{ "alnum", isalnum }, { "alpha", isalpha }, { "blank", isblank }, { "cntrl", iscntrl },
		{ "digit", isdigit }, { "graph", isgraph }, { "lower", islower }, { "print", isprint },
		{ "punct", ispunct }, { "space", isspace }, { "upper", isupper }, { "xdigit", isxdigit },
	};

	for (size_t i = 0; i < HF_ARRAY(of); i++)
		if (strlen(of[i].name) == n && !strncmp(of[i].name, name, n))
			return c < 0x80 && of[i].is(c);
	return -1;
}

/*
 * @p: behind a `[`. Whether @c is in the set, and in *@end what follows it; NULL when the
 * set has no end or names a class that there is not: nothing matches that.
 */
static bool in_set(const char *p, unsigned char c, const char **end)
{
	bool not = *p == '!' || *p == '^', hit = false;
	unsigned char low = 0, x;

	*end = NULL;
	p += not;
	do {
		x = *p;
		if (!x)
			return false;
		if (x == '\\') {
			x = *++p;
			if (!x)
				return false;
			hit |= c == x;
		} else if (x == '-' && low && p[1] && p[1] != ']') {
			x = *++p;
			if (x == '\\')
				x = *++p;
			if (!x)
				return false;
			hit |= c >= low && c <= x;
			x = 0;
		} else if (x == '[' && p[1] == ':') {
			size_t n = strcspn(p + 2, "]");
			int has;

			if (!p[2 + n])
				return false;
			if (n && p[1 + n] == ':') {
				has = class_has(p + 2, n - 1, c);
				if (has < 0)
					return false;
				hit |= has;
				p += 2 + n;
				x = 0;
			} else {
				hit |= c == '[';
			}
		} else {
			hit |= c == x;
		}
		low = x;
	} while (*++p != ']');
	*end = p + 1;
	return hit != not;
}

/* One character of the pattern against one of the path; *@p goes on behind it. */
static bool one(const char **p, unsigned char c)
{
	const char *end;
	bool hit;

	switch (**p) {
	case '?':
		++*p;
		return c != '/';
	case '[':
		hit = in_set(*p + 1, c, &end);
		if (!end)
			return false;
		*p = end;
		return hit && c != '/';
	case '\\':
		++*p;
		break;
	}
	if (!**p || (unsigned char)**p != c)
		return false;
	++*p;
	return true;
}

static bool glob(const char *pattern, const char *t, const char *end)
{
	const char *p = pattern, *star = NULL, *star_t = NULL, *dirs = NULL, *dirs_t = NULL;

	for (;;) {
		if (*p == '*') {
			const char *q = p + strspn(p, "*");
			bool any = q - p > 1 && (p == pattern || p[-1] == '/') &&
				   (!*q || *q == '/' || (q[0] == '\\' && q[1] == '/'));

			if (any && !*q)
				return true;
			if (!any) {
				star = p = q;
				star_t = t;
				continue;
			}
			star = NULL;
			dirs_t = t;
			dirs = q + (*q == '/' ? 1 : 2);
			if (*q == '/') {
				p = dirs;
				continue;
			}
		} else if (t == end) {
			if (!*p)
				return true;
		} else {
			const char *q = p;

			if (one(&q, *t)) {
				if (*t++ == '/')
					star = NULL;
				p = q;
				continue;
			}
		}
		if (star && star_t < end && *star_t != '/') {
			p = star;
			t = ++star_t;
			continue;
		}
		star = NULL;
		if (dirs)
			dirs_t = memchr(dirs_t, '/', end - dirs_t);
		if (!dirs || !dirs_t)
			return false;
		p = dirs;
		t = ++dirs_t;
	}
}

static int compile(const char *text, struct pattern *out)
{
	size_t n;

	out->in = *text == '!';
	text += out->in;
	n = strlen(text);
	out->dir = n && text[n - 1] == '/';
	n -= out->dir;
	out->tied = memchr(text, '/', n) != NULL;
	if (n && *text == '/') {
		text++;
		n--;
	}
	out->text = strndup(text, n);
	return out->text ? 0 : -ENOMEM;
}

int hf_patterns_new(const char *const *list, unsigned int n, struct hf_patterns **out)
{
	struct hf_patterns *p;

	*out = NULL;
	if (!n)
		return 0;
	p = hf_alloc(sizeof(*p) + n * sizeof(p->v[0]));
	if (!p)
		return -ENOMEM;
	for (; p->n < n; p->n++) {
		if (compile(list[p->n], &p->v[p->n])) {
			hf_patterns_free(p);
			return -ENOMEM;
		}
	}
	*out = p;
	return 0;
}

void hf_patterns_free(struct hf_patterns *p)
{
	for (unsigned int i = 0; p && i < p->n; i++)
		free(p->v[i].text);
	free(p);
}

unsigned int hf_patterns_name(const struct hf_patterns *p, const char *rel, size_t len)
{
	const char *end = rel + len, *name = memrchr(rel, '/', len);
	unsigned int open = HF_OUT, out = 0;

	if (!len)
		return 0;
	name = name ? name + 1 : rel;
	for (unsigned int i = p ? p->n : 0; open && i-- > 0; ) {
		const struct pattern *x = &p->v[i];
		unsigned int about = open & (x->dir ? HF_OUT_DIR : HF_OUT);

		if (!about || !glob(x->text, x->tied ? rel : name, end))
			continue;
		out |= x->in ? 0 : about;
		open &= ~about;
	}
	return out;
}

unsigned int hf_patterns_path(const struct hf_patterns *p, const char *rel)
{
	if (!p)
		return 0;
	for (const char *s = strchr(rel, '/'); s; s = strchr(s + 1, '/'))
		if (hf_patterns_name(p, rel, s - rel) & HF_OUT_DIR)
			return HF_OUT;
	return hf_patterns_name(p, rel, strlen(rel));
}

static int never(struct hf_err *err, const char *pattern, const char *why)
{
	char *p = hf_printable(pattern, strnlen(pattern, 200));
	int ret = hf_fail(err, HF_USAGE, -EINVAL, "the pattern '%s' can match nothing: %s", p ? p : "", why);

	free(p);
	return ret;
}

int hf_pattern_check(const char *pattern, struct hf_err *err)
{
	const char *end, *text;
	struct pattern x;
	int ret = 0;

	if (compile(pattern, &x))
		return hf_fail(err, HF_OK, -ENOMEM, "out of memory");
	text = x.text;
	if (!*text)
		ret = never(err, pattern, "it is empty");
	else if (strstr(text, "//") || text[0] == '/' || text[strlen(text) - 1] == '/')
		ret = never(err, pattern, "it has two slashes in a row");
	for (const char *s = text; !ret && *s; s += strcspn(s, "/"), s += *s == '/') {
		size_t n = strcspn(s, "/");

		if ((n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
			ret = never(err, pattern, "no path holds . or .., write names as they are in the tree");
	}
	for (const char *p = text; !ret && *p; ) {
		if (*p == '[') {
			in_set(p + 1, 0, &end);
			if (!end)
				ret = never(err, pattern, "a [ has no ] that ends it, or names a class that there is not; write \\[ for a bracket");
			p = end;
		} else if (*p == '\\' && !*++p) {
			ret = never(err, pattern, "it ends with a backslash; write \\\\ for one");
		} else {
			p++;
		}
	}
	free(x.text);
	return ret;
}
