// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The blocks of a store on several shared directories. What is written goes to all that count,
 * the last one first; what is read comes from the first one. So whatever can be read is on all
 * others as well, and when the first one fails the next one has it. Which ones count is decided
 * by a majority (dir_quorum.c), and each reading of a row ends with a look at that: rows are
 * read from a directory that nobody had left out by then.
 */
#include "dir_int.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TRIES 20

void dir_unsplit(char *path[DIR_MAX])
{
	for (unsigned i = 0; i < DIR_MAX; i++) {
		free(path[i]);
		path[i] = NULL;
	}
}

int dir_split(const char *arg, char *path[DIR_MAX], struct hf_err *err)
{
	unsigned n = 0;

	memset(path, 0, DIR_MAX * sizeof(*path));
	do {
		size_t len = strcspn(arg, ":");

		if (!len || *arg != '/' || n == DIR_MAX) {
			dir_unsplit(path);
			return hf_fail(err, HF_USAGE, -EINVAL, n == DIR_MAX ? "dir: takes at most %d directories" :
				       "dir: takes 1 to %d absolute paths, separated by colons: dir:/srv/one:/srv/two", DIR_MAX);
		}
		path[n++] = strndup(arg, len);
		arg += len;
	} while (*arg++);
	return (int)n;
}

bool dir_failed(int ret)
{
	return ret && ret != -ENOSPC && ret != -EDQUOT && ret != -ENOMEM && ret != -EMFILE && ret != -ENFILE;
}

/* That one failed, with @ret. 0: it counts no more, go on without; else what there is to say */
static int leave_out(struct disk *d, unsigned i, int ret)
{
	int voted = d->dirs->phase == DIR_MEMBER ? set_drop(d, 1u << i) : ret;

	return voted && voted != -ESTALE ? ret : voted;
}

static uint32_t live_now(struct dirset *s)
{
	uint32_t live;

	pthread_mutex_lock(&s->mu);
	live = s->live;
	pthread_mutex_unlock(&s->mu);
	return live;
}

/* Whose file? *n: no more than what lies there in a row; *row: it is a row's. */
static uint32_t slot_of(const struct disk *d, uint64_t off, size_t *n, bool *row)
{
	const uint64_t each = 2 * HFD_SECTOR, stride = d->sb.row_stride;
	uint64_t at = UINT64_MAX;
	uint32_t slot = 0;

	if (off >= d->sb.node_off && off < d->sb.node_off + stride)
		at = off - d->sb.node_off;
	else if (off >= d->sb.row_off && off < d->sb.row_off + stride * d->sb.rows)
		at = (off - d->sb.row_off) % stride;
	*row = at != UINT64_MAX;
	if (*row) {
		if (*n > each - at % each)
			*n = each - at % each;
		return at / each;
	}
	while (slot < d->sb.nodes && !in_area(d, slot, off, 1))
		slot++;
	return slot;
}

static int read_from(struct disk *d, struct member *m, uint8_t *p, size_t n, uint64_t off)
{
	if (!m)
		return -ENODEV;
	while (n) {
		size_t len = n;
		bool row;
		uint32_t slot = slot_of(d, off, &len, &row);
		int ret = slot < HF_MAX_NODES ? member_read(d, m, slot, p, len, off) : -EINVAL;

		if (ret)
			return ret;
		p += len;
		off += len;
		n -= len;
	}
	return 0;
}

/* The first directory may be another one by now; its superblock stands for all. */
static int follow(struct disk *d, unsigned first)
{
	struct dirset *s = d->dirs;
	int fd = member_super(s->m[first], s->write), ret = 0;

	if (fd < 0)
		return fd;
	if (d->fd < 0)
		d->fd = fd;
	else if (dup3(fd, d->fd, O_CLOEXEC) < 0)
		ret = -errno;
	if (d->fd != fd)
		close(fd);
	return ret;
}

/* the superblock that was followed */
static bool super_good(struct disk *d)
{
	struct super *sb = malloc(sizeof(*sb));
	bool good = sb && !super_read(d->fd, d->keys, sb, NULL) && !memcmp(sb->disk_uuid, d->sb.disk_uuid, 16);

	free(sb);
	return good;
}

/* Are they still what they were? Ahead of each heartbeat, which looks at the superblock. */
static int blocks_beat(struct disk *d)
{
	struct dirset *s = d->dirs;
	int ret = -EIO;

	for (unsigned i = 0; i < s->count; i++)
		if (s->m[i])
			(void)member_same(s->m[i]);
	for (unsigned tries = 0; tries <= s->count; tries++) {
		int first = __builtin_ffs(live_now(s)) - 1;

		ret = s->m[first] ? follow(d, first) : -ENODEV;
		if (ret == -ESTALE || (!ret && s->count > 1 && !super_good(d)))
			ret = -EIO;	/* a stale handle of NFS is no stale epoch */
		if (!dir_failed(ret))
			break;
		ret = leave_out(d, first, ret);
		if (ret)
			break;
		ret = -EIO;
	}
	return ret;
}

static int blocks_read(struct disk *d, void *p, size_t n, uint64_t off)
{
	struct dirset *s = d->dirs;
	size_t len = n;
	uint32_t skip = 0;
	bool row;
	int ret = -EIO;

	slot_of(d, off, &len, &row);
	for (unsigned tries = 0; tries < TRIES; tries++) {
		uint32_t live = live_now(s) & ~skip & ~s->missed;
		int first = __builtin_ffs(live) - 1;

		if (first < 0)
			return ret ? ret : -EIO;
		ret = read_from(d, s->m[first], p, n, off);
		if (dir_failed(ret)) {
			if (s->phase != DIR_MEMBER)
				skip |= 1u << first;
			else if ((ret = leave_out(d, first, ret)))
				return ret;
			continue;
		}
		if (ret || !row || s->count == 1)
			break;
		ret = set_learn(d);
		if (ret < 0 && s->phase == DIR_READER)
			return 0;	/* all that can be had, and said by dir_open() */
		if (ret <= 0)
			break;
	}
	return ret > 0 ? -EIO : ret;
}

/* The last one first. One that failed is left out before the next one is written: else an earlier
 * one could be read that has more than a later one which still counts. */
static int each_live(struct disk *d, int (*fn)(struct disk *d, struct member *m, const void *p, size_t n, uint64_t off),
		     const void *p, size_t n, uint64_t off)
{
	struct dirset *s = d->dirs;
	uint32_t live = live_now(s);

	for (int i = s->count - 1; i >= 0; i--) {
		int ret;

		if (!(live & 1u << i))
			continue;
		/* the one before may have taken its time */
		ret = node_held(d);
		if (ret)
			return ret;
		ret = s->m[i] ? fn(d, s->m[i], p, n, off) : -ENODEV;
		if (dir_failed(ret))
			ret = leave_out(d, i, ret);
		if (ret)
			return ret;
	}
	return 0;
}

/* An identity is taken on a majority of all directories, whichever count. */
static int write_joining(struct disk *d, const void *p, size_t n, uint64_t off)
{
	struct dirset *s = d->dirs;
	uint32_t wrote = 0;
	int last = -EIO;

	for (unsigned i = 0; i < s->count; i++) {
		int ret = s->m[i] ? member_write(d, s->m[i], d->id.slot, p, n, off, true) : -ENODEV;

		if (ret)
			last = ret;
		else
			wrote |= 1u << i;
	}
	s->missed |= ((1u << s->count) - 1) & ~wrote;
	return dir_quorum(s, wrote) ? 0 : last;
}

static int write_one(struct disk *d, struct member *m, const void *p, size_t n, uint64_t off)
{
	bool row;
	uint32_t slot = slot_of(d, off, &(size_t){ n }, &row);

	return member_write(d, m, row ? slot : d->id.slot, p, n, off, true);
}

static int put_one(struct disk *d, struct member *m, const void *p, size_t n, uint64_t off)
{
	return member_write(d, m, d->id.slot, p, n, off, false);
}

static int flush_one(struct disk *d, struct member *m, const void *p, size_t n, uint64_t off)
{
	return member_flush(d, m);
}

static int blocks_write(struct disk *d, const void *p, size_t n, uint64_t off)
{
	return d->dirs->phase == DIR_JOINING ? write_joining(d, p, n, off) : each_live(d, write_one, p, n, off);
}

static int blocks_put(struct disk *d, const void *p, size_t n, uint64_t off)
{
	return each_live(d, put_one, p, n, off);
}

static int blocks_flush(struct disk *d)
{
	return each_live(d, flush_one, NULL, 0, 0);
}

static void blocks_close(struct disk *d)
{
	struct dirset *s = d->dirs;

	for (unsigned i = 0; s && i < DIR_MAX; i++)
		member_free(s->m[i]);
	if (s) {
		pthread_mutex_destroy(&s->mu);
		pthread_mutex_destroy(&s->vote_mu);
	}
	free(s);
	d->dirs = NULL;
}

static int blocks_join(struct disk *d, bool done, struct hf_err *err)
{
	struct dirset *s = d->dirs;
	int ret;

	if (!done) {
		s->phase = DIR_JOINING;
		s->missed = 0;
		d->lock_fd = -1;	/* a killed process does not wait for what NFS still writes */
		return 0;
	}
	ret = s->count == 1 ? 0 : dir_settled(d);
	if (ret == -EBUSY)
		return hf_fail(err, HF_REFUSED, ret, "node %s is held by another daemon; if this machine is a copy of it, remove the copied identity from the state directory and run holdfast join",
			       d->id.name);
	/* what counts has all that was written; only now, because a vote is one identity's */
	s->phase = DIR_MEMBER;
	if (!ret && s->missed)
		ret = set_drop(d, s->missed);
	s->missed = 0;
	return ret ? hf_fail(err, HF_UNAVAIL, ret, "too few directories of %s answer: %s", d->path, strerror(-ret)) : 0;
}

int dir_look(struct disk *d, unsigned i, const char **path, const char **state)
{
	struct dirset *s = d->dirs;

	if (!s || i >= s->count)
		return -ENOENT;
	*path = s->m[i] ? s->m[i]->path : "";
	*state = !(live_now(s) & 1u << i) ? "out of date" : !s->m[i] || member_same(s->m[i]) ? "not reached" : "counts";
	return 0;
}

int dir_warning(struct disk *d, unsigned i, char *text, size_t n)
{
	struct dirset *s = d->dirs;
	uint32_t out = ((1u << s->count) - 1) & ~live_now(s);
	char name[PATH_MAX];
	unsigned at;

	while (i-- && out)
		out &= out - 1;
	if (!out)
		return -ENOENT;
	at = __builtin_ffs(out) - 1;
	if (s->m[at])
		snprintf(name, sizeof(name), "%s", s->m[at]->path);
	else
		snprintf(name, sizeof(name), "directory number %u of the set, which was not there when the daemon started,", at + 1);
	snprintf(text, n, "%s counts no more: what is confirmed is not there. When it is whole again, stop all daemons and run holdfast disk set", name);
	return 0;
}

int dir_super(struct disk *d, unsigned i, const char **path)
{
	struct dirset *s = d->dirs;

	if (i >= s->count)
		return -ECHILD;
	if (!s->m[i] || !(live_now(s) & 1u << i))
		return -ENODEV;
	*path = s->m[i]->path;
	return member_super(s->m[i], false);
}

const struct blocks_ops blocks_dir = {
	.read = blocks_read,
	.write = blocks_write,
	.put = blocks_put,
	.flush = blocks_flush,
	.close = blocks_close,
	.join = blocks_join,
	.beat = blocks_beat,
	.held = dir_held,
};

/* What of @path counts: the directories with the newest epoch of the set. */
static int gather(struct disk *d, char *path[DIR_MAX], struct hf_err *err)
{
	struct dirset *s = d->dirs;
	struct member_rec rec[DIR_MAX], *top = NULL;
	bool have[DIR_MAX] = { false };
	struct hf_err e[DIR_MAX];
	int ret = 0;

	for (unsigned i = 0; i < DIR_MAX && path[i]; i++) {
		int r = member_load(path[i], d->keys, &rec[i], &e[i]);

		have[i] = !r;
		if (r && !ret) {
			ret = r;
			hf_fail(err, e[i].exit, r, "%s", e[i].msg);
		}
		if (!r && (!top || rec[i].set_epoch > top->set_epoch))
			top = &rec[i];
	}
	if (!top)
		return ret;
	s->count = top->count;
	s->live = (1u << s->count) - 1;
	s->inst = s->inst0 = dir_inst0(top->set_epoch);
	for (unsigned i = 0; i < DIR_MAX && path[i]; i++) {
		if (!have[i]) {
			hf_logf(HF_LOG_WARN, "%s", e[i].msg);
			continue;
		}
		if (memcmp(rec[i].set_uuid, top->set_uuid, 16))
			return hf_fail(err, HF_REFUSED, -EBUSY, "%s holds another store than the other directories of %s",
				       path[i], d->path);
		if (rec[i].set_epoch < top->set_epoch) {
			hf_logf(HF_LOG_WARN, "%s was taken out of its set, and is not used", path[i]);
			continue;
		}
		if (s->m[rec[i].index])
			return hf_fail(err, HF_REFUSED, -EBUSY, "%s and %s are the same directory, or copies of one",
				       path[i], s->m[rec[i].index]->path);
		s->m[rec[i].index] = member_new(path[i], &rec[i]);
		if (!s->m[rec[i].index])
			return -ENOMEM;
	}
	return 0;
}

int dir_open(struct disk *d, const char *arg, bool write, struct hf_err *err)
{
	struct dirset *s = hf_alloc(sizeof(*s));
	char *path[DIR_MAX];
	uint32_t here = 0;
	int n = s ? dir_split(arg, path, err) : -ENOMEM, ret;

	if (n < 0) {
		free(s);
		return n;
	}
	pthread_mutex_init(&s->mu, NULL);
	pthread_mutex_init(&s->vote_mu, NULL);
	s->write = write;
	s->phase = write ? DIR_WRITER : DIR_READER;
	d->dirs = s;
	d->io = &blocks_dir;
	ret = gather(d, path, err);
	for (unsigned i = 0; i < s->count && !ret; i++)
		here |= s->m[i] ? 1u << i : 0;
	/* a writer leaves out what it does not reach, for all nodes */
	if (!ret && write && (unsigned)n < s->count)
		ret = hf_fail(err, HF_USAGE, -EINVAL, "%s names %d of the %u directories of the store; name all of them, on every node, or say with holdfast disk set of which it consists",
			      d->path, n, s->count);
	if (!ret && write && !dir_quorum(s, here))
		ret = hf_fail(err, HF_UNAVAIL, -ENODEV, "%d of the %u directories of %s can be reached, which is no majority: who holds what cannot be told; see holdfast disk set",
			      __builtin_popcount(here), s->count, d->path);
	/* what a directory lacks shows later; but without a superblock nothing can be located */
	for (unsigned i = 0; i < s->count && !ret; i++)
		if ((here & 1u << i) && !follow(d, i) && !super_read(d->fd, d->keys, &d->sb, NULL))
			break;
	if (!ret && d->fd < 0)
		ret = hf_fail(err, HF_UNAVAIL, -ENODEV, "%s cannot be read", d->path);
	dir_unsplit(path);
	return ret;
}
