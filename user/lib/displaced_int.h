/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kept-aside copies: what a restore is about to overwrite.
 *
 * A set is one file: magic, secretstream header, frames. A frame is a 32-bit
 * length and that many bytes of ciphertext; its first plain byte says what it
 * is. The file grows only at its end and has its final name from the start, so
 * what a crash leaves is a set that ends early, and lists what is whole in it.
 *
 *   S  reason, resource, checkpoint, time      once, first
 *   E  rel, attributes                         begins an entry
 *   D  up to 64 KiB of its contents
 *   Z  size of the contents                    the entry is whole
 *   F  number of entries (tag FINAL)           the set is whole
 */
#ifndef HF_DISPLACED_INT_H
#define HF_DISPLACED_INT_H

#include "tree_int.h"
#include <sodium.h>

#define MAGIC "HFDISPL1"
#define HDR (8 + crypto_secretstream_xchacha20poly1305_HEADERBYTES)
#define ABYTES crypto_secretstream_xchacha20poly1305_ABYTES
#define DATA_MAX 65536u
#define FRAME_MAX (32u << 20)	/* attributes with many xattrs are the largest */

/** hf_displaced_escape() - a resource's name as one directory's name; malloc'ed */
char *hf_displaced_escape(const char *name);
/** hf_displaced_when() - the time in a set's name, ns since 1970; 0: not a set's name */
uint64_t hf_displaced_when(const char *id);

#endif
