/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Patterns that leave names out of a tree, with gitignore's meaning: a list in
 * order, of which the last one that matches decides; `!` takes back in; a slash at
 * the beginning or in the middle ties a pattern to the root; one at the end wants a
 * directory; `**` stands for any number of directories; a backslash takes away what
 * a character means. What lies below a directory that is left out cannot be taken
 * back in. Names are bytes.
 */
#ifndef HF_PATTERN_H
#define HF_PATTERN_H

#include "base.h"

struct hf_patterns;

/* what a name is left out as */
enum { HF_OUT_FILE = 1, HF_OUT_DIR = 2, HF_OUT = HF_OUT_FILE | HF_OUT_DIR };

/** hf_pattern_check() - whether @pattern can match anything; -EINVAL with why */
int hf_pattern_check(const char *pattern, struct hf_err *err);

/**
 * hf_patterns_new() - of @n patterns, in order; they are copied
 * @out: NULL when there is none, which every function here takes
 *
 * Return: 0 or -ENOMEM
 */
int hf_patterns_new(const char *const *list, unsigned int n, struct hf_patterns **out);
void hf_patterns_free(struct hf_patterns *p);

/** hf_patterns_name() - what @rel, of @len bytes, would be left out as, by its own name;
 *  that the directories above it are in is taken for granted */
unsigned int hf_patterns_name(const struct hf_patterns *p, const char *rel, size_t len);
/** hf_patterns_path() - the same, with the directories above it: HF_OUT if one of them is out */
unsigned int hf_patterns_path(const struct hf_patterns *p, const char *rel);

#endif
