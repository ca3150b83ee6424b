/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The names of a restore's temporary files: `.holdfast-`, eight random characters, and eight that follow from
 * these, by which such a name is told from one that somebody else gave to a file of his own.
 */
#ifndef HF_TMPNAME_H
#define HF_TMPNAME_H

#include <stdbool.h>
#include <stddef.h>

#define HF_TMP_PREFIX ".holdfast-"
#define HF_TMP_RANDOM 8
#define HF_TMP_LEN (sizeof(HF_TMP_PREFIX) - 1 + 2 * HF_TMP_RANDOM)

/** hf_tmpname_make() - the name that has the characters @random, out of a to z and 2 to 7 */
void hf_tmpname_make(const char random[HF_TMP_RANDOM], char out[HF_TMP_LEN + 1]);
/** hf_tmpname_is() - whether @name[0..len) is one */
bool hf_tmpname_is(const char *name, size_t len);

#endif
