/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Superblocks with trees. Between place.c and stores.c.
 */
#ifndef HF_PLACE_H
#define HF_PLACE_H

#include "holdfast.h"

struct hf_place;

/** hf_place_find() - that of a superblock, or NULL; under rcu_read_lock() */
struct hf_place *hf_place_find(const struct super_block *sb);
/** hf_place_of() - that of a tree, kept; NULL when its filesystem is gone. Sleeps */
struct hf_place *hf_place_of(struct hf_tree *tree);
/**
 * hf_place_keep() - an inode on it, or its list of inodes, is about to be used
 *
 * An unmount waits until that is let go of. In any context.
 * Return: false when no tree lies there any more: nothing may be kept then
 */
bool hf_place_keep(struct hf_place *place);
/** hf_place_release() - let go of it; sleeps */
void hf_place_release(struct hf_place *place);
/** hf_place_fill() - no room to keep what changed: all of it is to be noted. In any context */
void hf_place_fill(struct hf_place *place);
/** hf_places_note_full() - do that; sleeps */
void hf_places_note_full(void);
/** hf_place_note_all() - note its trees as a whole; sleeps */
void hf_place_note_all(struct hf_place *place);
struct super_block *hf_place_sb(const struct hf_place *place);

#endif
