/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The shared directories of a store, from inside. Documentation/dirstore.rst argues why
 * what was confirmed is kept when one of them fails.
 *
 *	dir_member.c	one directory: its files
 *	dir_quorum.c	which directories count, decided by a majority of them
 *	dir_held.c	whose the own slot is
 *	dir_set.c	blocks of a store (struct blocks_ops) on several directories
 *	dir_format.c	making one
 *	dir_change.c	saying which directories are in it
 *
 * Locks, in the order in which they are taken: vote_mu (one vote at a time, held over its I/O),
 * member.use (held over I/O; for writing to close what is open), mu (which files are open, which
 * directories count). All of them come after those of disk_int.h.
 */
#ifndef HF_DIR_INT_H
#define HF_DIR_INT_H

#include "disk_int.h"

#define DIR_MAX 7			/* directories of a set */

/* what the file `member` of a directory says */
struct member_rec {
	uint8_t set_uuid[16], disk_uuid[16];
	uint64_t set_epoch;
	uint32_t index, count;		/* which of how many */
};

struct member {
	char *path;
	struct member_rec rec;
	bool direct;			/* O_DIRECT is to be had: no cache lies in between */
	int fd[HF_MAX_NODES];		/* node-NN, for reading; -1 */
	int own_fd, put_fd;		/* node-OWN, for writing; O_DSYNC, and not */
	uint32_t own;
	uint64_t dev, ino;		/* of the file `member`; 0: nothing is open */
	pthread_rwlock_t use;		/* held over I/O, for writing to close */
};

enum dir_phase {
	DIR_READER,		/* opened without an identity */
	DIR_WRITER,		/* not joined: every directory that counts must answer */
	DIR_JOINING,		/* what did not answer is left out once joined */
	DIR_MEMBER,		/* may vote */
};

struct dirset {
	struct member *m[DIR_MAX];	/* by index; NULL: not named, or out of date */
	unsigned count;			/* of the set; quorum is counted among these */
	enum dir_phase phase;
	bool write;
	pthread_mutex_t mu, vote_mu;
	uint64_t inst, inst0;		/* number of the last decision; of what was formatted: no vote yet */
	uint32_t live;			/* which directories have everything */
	uint32_t missed;		/* did not answer while joining */
	bool fresh;			/* this incarnation has voted: ballots go on from there */
	uint64_t seq;			/* of the own vote */
	unsigned which;
};

/* dir_member.c */
int member_load(const char *path, const struct hf_keys *keys, struct member_rec *rec, struct hf_err *err);
int member_save(const char *path, const struct hf_keys *keys, const struct member_rec *rec);
struct member *member_new(const char *path, const struct member_rec *rec);
void member_free(struct member *m);
/** member_same() - is it the directory whose files are open? Else they are opened anew when used */
int member_same(struct member *m);
int member_super(struct member *m, bool write);		/* descriptor of its superblock */
int member_read(struct disk *d, struct member *m, uint32_t slot, void *p, size_t n, uint64_t off);
int member_write(struct disk *d, struct member *m, uint32_t slot, const void *p, size_t n, uint64_t off, bool durable);
int member_flush(struct disk *d, struct member *m);
int dir_file(const char *dir, const char *name, int slot, char path[], size_t n);	/* slot -1: none */

/* dir_quorum.c */
bool dir_quorum(const struct dirset *s, uint32_t members);
/** set_learn() - what a majority knows. 1: it was decided anew, and the set changed; 0: as before */
int set_learn(struct disk *d);
/** set_seen() - the same for a reader, from what answers; an error: that is no majority */
int set_seen(struct disk *d);
/** set_drop() - decide that the directories @bad, which failed, count no more */
int set_drop(struct disk *d, uint32_t bad);
void set_adopt(struct disk *d, uint64_t inst, uint32_t live);

/* dir_held.c */
/** dir_settled() - a majority has the own row as it was written when joining: another with this identity
 *  would have written to one of them as well, before or after, and then it is -EBUSY */
int dir_settled(struct disk *d);
/** dir_held() - has nobody taken the own slot since? struct blocks_ops. -EIO, ...: it cannot be told */
int dir_held(struct disk *d, uint64_t *asked);

/* dir_set.c */
int dir_open(struct disk *d, const char *arg, bool write, struct hf_err *err);
/** dir_look() - what is to be said of directory @i; -ENOENT: there are not so many */
int dir_look(struct disk *d, unsigned i, const char **path, const char **state);
/** dir_warning() - the directories that count no more, from memory; as store.h */
int dir_warning(struct disk *d, unsigned i, char *text, size_t n);
/** dir_super() - open the superblock of directory @i. -ENODEV: it does not count, or is not named;
 *  -ECHILD: there are not so many */
int dir_super(struct disk *d, unsigned i, const char **path);
/** dir_split() - "/a:/b" into paths, absolute ones. -EINVAL: not that. Free with dir_unsplit() */
int dir_split(const char *arg, char *path[DIR_MAX], struct hf_err *err);
void dir_unsplit(char *path[DIR_MAX]);
/** dir_failed() - is it the directory that failed, not the request? */
bool dir_failed(int ret);
static inline uint64_t dir_inst0(uint64_t set_epoch) { return set_epoch << 32; }

/* dir_format.c */
int dir_format(const char *arg, const struct hf_keys *keys, const struct hf_format *f, struct hf_err *err);
uint32_t dir_files(const struct super *sb);	/* of nodes */
int dir_check_target(const char *path, bool force, struct hf_err *err);
int dir_check_distinct(char *path[DIR_MAX], struct hf_err *err);
int dir_create_node(const char *dir, uint32_t slot, const struct super *sb);
int dir_create_super(const char *dir, const struct super *sb, const struct hf_keys *keys);
int dir_unlink_member(const char *dir);
struct member_rec dir_rec(const struct super *sb, unsigned index, unsigned count);

#endif
