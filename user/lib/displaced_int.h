/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kept-aside copies: what a restore is about to overwrite.
 *
 * A set is one file: magic, secretstream header, frames. A frame is a 32-bit
 * length and that many bytes of ciphertext; its first plain byte says what it
 * is. The file grows only at its end and has its final name from the start, so
 * what a crash leaves is a set that ends early, and lists what is whole in it.
 *
 *   S  reason, resource, checkpoint, time,     once, first
 *      generation that was restored            (0, or not there: none is known)
 *   E  rel, attributes                         begins an entry
 *   D  up to 64 KiB of its contents
 *   H  so many zeros of its contents, 64 KiB at most
 *   Z  size of the contents                    the entry is whole
 *   F  number of entries, a zero byte (tag FINAL)   the set is whole
 *
 * A restore that failed or was interrupted leaves a set without the last. The next one of the same
 * generation goes on with it: in a new file, since a stream cannot be, which then takes its name. One of
 * another generation finds what the former wrote in the place of what is in the set.
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

#define Z_LEN (1 + 8 + ABYTES)
#define END_LEN (1 + 8 + 1 + ABYTES)	/* of an F frame: after one with Z there is no other of that length */
#define REST ".continued"	/* the new file, until it has everything of the old one */

/** hf_displaced_zeros() - whether a D frame holds nothing else */
static inline bool hf_displaced_zeros(const uint8_t *p, size_t n)
{
	return n > 1 && p[0] == 'D' && !p[1] && !memcmp(p + 1, p + 2, n - 2);
}

/** hf_displaced_each_frame() - plain text of each frame of a set, in order, up to where it was cut
 *  short, H as the D that it stands for; nonzero from @fn stops. -EBADMSG where it is damaged or of
 *  another key */
int hf_displaced_each_frame(int dirfd, const char *id, const uint8_t key[32],
			    int (*fn)(void *ctx, const uint8_t *p, size_t n, uint8_t tag), void *ctx);
/** hf_displaced_head() - what an S frame says; texts malloc'ed; -EBADMSG */
struct hf_displaced_head { char *reason, *resource, *checkpoint; uint64_t when, gen; };
int hf_displaced_head(const uint8_t *p, size_t n, struct hf_displaced_head *h);
void hf_displaced_head_free(struct hf_displaced_head *h);
/** hf_displaced_unfinished() - the set of that checkpoint and reason that a restore of generation @gen left
 *  unfinished, if it is the newest: 1 and its name, 0, -errno */
int hf_displaced_unfinished(int dirfd, const uint8_t key[32], const char *checkpoint, const char *reason,
			    uint64_t gen, char id[64]);

/** hf_displaced_escape() - a resource's name as one directory's name; malloc'ed */
char *hf_displaced_escape(const char *name);
/** hf_displaced_when() - the time in a set's name, ns since 1970; 0: not a set's name */
uint64_t hf_displaced_when(const char *id);

#endif
