/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unified difference of two texts. */
#ifndef HF_UDIFF_H
#define HF_UDIFF_H

#include "base.h"

/** hf_udiff_text() - whether these bytes are lines that a person can read: valid UTF-8, no
 *  control characters but tab, carriage return and newline */
bool hf_udiff_text(const void *p, size_t n);

/**
 * hf_udiff() - hunks with three lines of context, as diff -u has them
 * @out: they are appended; nothing when the texts are equal
 *
 * Of texts that have little in common one is deleted and the other added as a whole.
 *
 * Return: 0 or -ENOMEM
 */
int hf_udiff(const void *a, size_t na, const void *b, size_t nb, struct hf_buf *out);

#endif
