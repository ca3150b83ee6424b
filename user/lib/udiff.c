// SPDX-License-Identifier: LGPL-2.1-or-later
/* Unified difference of two texts: the shortest script of Myers, bounded. */
#include "udiff.h"
#include <stdio.h>
#include <stdlib.h>

#define CONTEXT 3
#define EDITS_MAX 1000		/* the table of the search grows with their square */

struct lines {
	struct line { const char *p; size_t n; } *v;
	bool *changed;
	size_t n;
	bool open;		/* the last line has no newline */
};

bool hf_udiff_text(const void *bytes, size_t n)
{
	const unsigned char *p = bytes, *end = p + n;

	while (p < end) {
		const char *next;
		size_t len;

		if (*p < 0x80) {
			if ((*p < 0x20 && *p != '\t' && *p != '\n' && *p != '\r') || *p == 0x7f)
				return false;
			p++;
			continue;
		}
		len = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
		if (len > (size_t)(end - p))
			return false;
		next = hf_printable((const char *)p, len);
		if (!next)
			return false;
		len = strlen(next) == len ? len : 0;
		free((void *)next);
		if (!len)
			return false;
		p += len;
	}
	return true;
}

static int split(const char *p, size_t n, struct lines *l)
{
	const char *end = p + n;
	size_t count = 0;

	for (const char *s = p; s < end; count++) {
		s = memchr(s, '\n', end - s);
		s = s ? s + 1 : end;
	}
	memset(l, 0, sizeof(*l));
	l->v = calloc(count + 1, sizeof(*l->v));
	l->changed = calloc(count + 1, sizeof(*l->changed));
	if (!l->v || !l->changed)
		return -ENOMEM;
	while (p < end) {
		const char *s = memchr(p, '\n', end - p);

		l->open = !s;
		s = s ? s + 1 : end;
		l->v[l->n++] = (struct line){ p, s - p };
		p = s;
	}
	return 0;
}

static void drop(struct lines *l)
{
	free(l->v);
	free(l->changed);
}

static bool same(const struct lines *a, size_t i, const struct lines *b, size_t k)
{
	return a->v[i].n == b->v[k].n && !memcmp(a->v[i].p, b->v[k].p, a->v[i].n);
}

/*
 * Marks what was changed between the lines @skip from the start, and those of both
 * texts that are equal at the end. round[d] is how far each diagonal came with fewer than d edits.
 */
static int search(struct lines *a, struct lines *b, size_t skip, size_t na, size_t nb)
{
	long n = na, m = nb, max = n + m < EDITS_MAX ? n + m : EDITS_MAX, d, k, x = 0, y;
	int **round = calloc(max + 1, sizeof(*round)), *mem = calloc(2 * max + 3, sizeof(*mem)), *v = mem + max + 1;
	bool found = false;
	int ret = -ENOMEM;

	if (!round || !mem)
		goto out;
	for (d = 0; d <= max && !found; d++) {
		round[d] = malloc((2 * d + 3) * sizeof(int));
		if (!round[d])
			goto out;
		memcpy(round[d], v - d - 1, (2 * d + 3) * sizeof(int));
		for (k = -d; k <= d; k += 2) {
			x = k == -d || (k != d && v[k - 1] < v[k + 1]) ? v[k + 1] : v[k - 1] + 1;
			y = x - k;
			while (x < n && y < m && same(a, skip + x, b, skip + y)) {
				x++;
				y++;
			}
			v[k] = x;
			if (x >= n && y >= m) {
				found = true;
				break;
			}
		}
	}
	ret = 0;
	if (!found) {
		memset(a->changed + skip, true, na);
		memset(b->changed + skip, true, nb);
		goto out;
	}
	x = n;
	y = m;
	for (d--; d > 0; d--) {
		int *was = round[d] + d + 1;

		k = x - y;
		if (k == -d || (k != d && was[k - 1] < was[k + 1])) {
			x = was[k + 1];
			y = x - k - 1;
			b->changed[skip + y] = true;
		} else {
			x = was[k - 1];
			y = x - k + 1;
			a->changed[skip + x] = true;
		}
	}
out:
	for (d = 0; round && d <= max; d++)
		free(round[d]);
	free(round);
	free(mem);
	return ret;
}

static const char no_newline[] = "\n\\ No newline at end of file\n";

static void put_lines(struct hf_buf *out, char sign, const struct lines *l, size_t from, size_t to)
{
	for (; from < to; from++) {
		hf_buf_u8(out, sign);
		hf_buf_put(out, l->v[from].p, l->v[from].n);
		if (from + 1 == l->n && l->open)
			hf_buf_put(out, no_newline, sizeof(no_newline) - 1);
	}
}

static void put_range(struct hf_buf *out, char sign, size_t from, size_t n)
{
	char s[64];

	/* a range of no lines is named by the line before it */
	if (n == 1)
		snprintf(s, sizeof(s), "%c%zu", sign, from + 1);
	else
		snprintf(s, sizeof(s), "%c%zu,%zu", sign, n ? from + 1 : from, n);
	hf_buf_put(out, s, strlen(s));
}

static void put_hunk(struct hf_buf *out, const struct lines *a, size_t i, size_t iend, const struct lines *b, size_t k,
		     size_t kend)
{
	hf_buf_put(out, "@@ ", 3);
	put_range(out, '-', i, iend - i);
	hf_buf_u8(out, ' ');
	put_range(out, '+', k, kend - k);
	hf_buf_put(out, " @@\n", 4);
	while (i < iend || k < kend) {
		size_t from = i;

		while (i < iend && a->changed[i])
			i++;
		put_lines(out, '-', a, from, i);
		from = k;
		while (k < kend && b->changed[k])
			k++;
		put_lines(out, '+', b, from, k);
		if (i < iend && k < kend) {
			put_lines(out, ' ', a, i, i + 1);
			i++;
			k++;
		}
	}
}

static void hunks(struct hf_buf *out, const struct lines *a, const struct lines *b)
{
	size_t i = 0, k = 0;

	while (i < a->n || k < b->n) {
		size_t i0, k0, i1, k1, equal = 0;

		while (i < a->n && k < b->n && !a->changed[i] && !b->changed[k]) {
			i++;
			k++;
		}
		if (i == a->n && k == b->n)
			return;
		i0 = i > CONTEXT ? i - CONTEXT : 0;
		k0 = k - (i - i0);
		/* on until there are more equal lines than the contexts of two hunks */
		for (i1 = i, k1 = k; (i < a->n || k < b->n) && equal <= 2 * CONTEXT; ) {
			if (i < a->n && k < b->n && !a->changed[i] && !b->changed[k]) {
				i++;
				k++;
				equal++;
				continue;
			}
			equal = 0;
			while (i < a->n && a->changed[i])
				i++;
			while (k < b->n && b->changed[k])
				k++;
			i1 = i;
			k1 = k;
		}
		equal = a->n - i1 < CONTEXT ? a->n - i1 : CONTEXT;
		put_hunk(out, a, i0, i1 + equal, b, k0, k1 + equal);
		i = i1 + equal;
		k = k1 + equal;
	}
}

int hf_udiff(const void *pa, size_t na, const void *pb, size_t nb, struct hf_buf *out)
{
	struct lines a = { 0 }, b = { 0 };
	size_t skip = 0, tail = 0;
	int ret = split(pa, na, &a);

	if (!ret)
		ret = split(pb, nb, &b);
	if (ret)
		goto out;
	while (skip < a.n && skip < b.n && same(&a, skip, &b, skip))
		skip++;
	while (tail < a.n - skip && tail < b.n - skip && same(&a, a.n - tail - 1, &b, b.n - tail - 1))
		tail++;
	ret = search(&a, &b, skip, a.n - skip - tail, b.n - skip - tail);
	if (!ret)
		hunks(out, &a, &b);
	if (out->bad)
		ret = -ENOMEM;
out:
	drop(&a);
	drop(&b);
	return ret;
}
