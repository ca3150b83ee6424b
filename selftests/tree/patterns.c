// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * patterns: answers for patterns.t. Standard input, each ended by a NUL: the number of
 * patterns, the patterns, the number of paths, the paths, each as `d` or `f` and the path;
 * and so on until it ends. Answers a line for each list: a character for each path, 1 where
 * it is left out.
 */
#include "pattern.h"
#include <stdio.h>
#include <stdlib.h>

static char *next(void)
{
	char *s = NULL;
	size_t cap = 0;

	if (getdelim(&s, &cap, 0, stdin) <= 0) {
		free(s);
		return NULL;
	}
	return s;
}

static char **list(unsigned int *n)
{
	char *count = next(), **v;

	if (!count)
		return NULL;
	*n = atoi(count);
	free(count);
	v = calloc(*n + 1, sizeof(*v));
	for (unsigned int i = 0; v && i < *n; i++)
		v[i] = next();
	return v;
}

int main(void)
{
	unsigned int np, nt;
	char **pat, **path;

	while ((pat = list(&np))) {
		struct hf_patterns *p;

		path = list(&nt);
		if (!path || hf_patterns_new((const char *const *)pat, np, &p))
			return 1;
		for (unsigned int i = 0; i < nt; i++) {
			unsigned int bit = path[i][0] == 'd' ? HF_OUT_DIR : HF_OUT_FILE;

			putchar(hf_patterns_path(p, path[i] + 1) & bit ? '1' : '0');
			free(path[i]);
		}
		putchar('\n');
		fflush(stdout);
		hf_patterns_free(p);
		for (unsigned int i = 0; i < np; i++)
			free(pat[i]);
		free(pat);
		free(path);
	}
	return 0;
}
