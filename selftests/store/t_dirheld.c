// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * P4 with several shared directories: who comes back after another took its slot writes nothing there,
 * no vote either, whichever directories it reaches. And who was not replaced is not stopped by what
 * a predecessor left in a directory.
 */
#include "store_test.h"
#include "disk_int.h"

#define NDIRS 3
#define LEASE_MS 500

static struct hf_logid id = LOGID(70, 2);

static struct node na, nb, nc;

static void start(void)
{
	store_dirs = NDIRS;
	setup(2, 32u << 20, LEASE_MS);
	node_make(&na, "alpha");
	node_make(&nb, "beta");
}

static void end(bool third)
{
	is(sound(), 0, "the store is sound");
	node_close(&na);
	node_close(&nb);
	if (third)
		node_close(&nc);
	hf_keys_free(keys);
	cleanup();
}

static int put_value(struct node *n, const char *v)
{
	struct hf_log *l = NULL;
	uint64_t gen;
	int ret = hf_log_claim(n->st, &id, HF_CLAIM_FENCED, &l, &err);

	if (!ret)
		ret = put(l, "v", v, strlen(v));
	if (!ret)
		ret = hf_log_commit(l, 0, NULL, &gen, &err);
	if (!ret)
		ret = hf_log_confirm(l, &err);
	hf_log_close(l);
	return ret;
}

static int file_of(unsigned d, unsigned slot)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/dir%u/node-%02u", dir, d, slot);
	fd = open(path, O_RDWR | O_CLOEXEC);
	must(fd < 0 ? -errno : 0);
	return fd;
}

/* the votes of one slot in all directories */
static void votes_of(unsigned slot, char p[NDIRS][2 * HFD_SECTOR])
{
	for (unsigned i = 0; i < NDIRS; i++) {
		int fd = file_of(i, slot);

		must(hf_pread_full(fd, p[i], 2 * HFD_SECTOR, 0));
		close(fd);
	}
}

/* the same place as on a quorum disk */
static void row_io(unsigned d, unsigned slot, char p[2 * HFD_SECTOR], bool write)
{
	int fd = file_of(d, slot);
	uint64_t off = node_off(disk_of(nb.st), slot, 0);

	must(write ? hf_pwrite_full(fd, p, 2 * HFD_SECTOR, off) : hf_pread_full(fd, p, 2 * HFD_SECTOR, off));
	close(fd);
}

/* alpha, which gives no sign of life, is replaced by gamma; @joins: which directories do not answer then */
static void replaced(const char *replace, const char *joins)
{
	hf_seam_init(replace);
	must(hf_disk_replace(dev, keys, NULL, "alpha", "gamma", &nc.id, &err));
	hf_seam_init(joins);
	node_open(&nc);
	hf_seam_init("");
}

/* What alpha tries when it is back, with directories that fail. */
static void back(const char *fails, const char *what)
{
	static char before[NDIRS][2 * HFD_SECTOR], after[NDIRS][2 * HFD_SECTOR];
	struct hf_log *l = NULL;
	int beat, claim, read;

	err = (struct hf_err){ 0 };
	votes_of(na.id.slot, before);
	hf_seam_init(fails);
	read = hf_log_read(na.st, &id, 0, &l, &err);
	hf_log_close(l);
	claim = put_value(&na, "mine");
	ok(claim == -ESTALE || claim == -EIO, "P4: %s: it claims nothing (%d; reading: %d)", what, claim, read);
	ok(err.exit == (claim == -ESTALE ? HF_STALE : HF_UNAVAIL), "%s", err.msg);
	err = (struct hf_err){ 0 };
	beat = na.st->ops->beat(na.st, &err);
	hf_seam_init("");
	is(beat, -ESTALE, "its heartbeat tells it to stop");
	ok(err.exit == HF_STALE, "with exit code 6: %s", err.msg);
	votes_of(na.id.slot, after);
	ok(!memcmp(before, after, sizeof(before)), "P4: the votes of who has its slot are as they were");
	is(put_value(&nc, "theirs"), 0, "who has it goes on");
	is(nc.st->ops->beat(nc.st, &err), 0, "and is alive");
}

/* The directory that it reads first fails: it would leave that out by a vote. */
static void returns(void)
{
	start();
	must(put_value(&na, "one"));
	replaced("", "");
	is(nc.id.slot, na.id.slot, "it has the same slot");
	back("dir.0:0:eio", "the first directory fails");
	back("dir.2:0:eio", "the last directory fails");
	back("", "no directory fails");
	end(true);
}

/* It has voted before, and so has who replaced it. */
static void returns_voter(void)
{
	start();
	hf_seam_init("dir.1:0:eio");
	must(put_value(&na, "one"));
	hf_seam_init("");
	replaced("", "");
	back("dir.0:0:eio", "it voted before");
	hf_seam_init("dir.0:0:eio");
	must(put_value(&nc, "two"));
	hf_seam_init("");
	back("dir.2:0:eio", "others have voted since");
	end(true);
}

/* All that tells of its successor lies in a directory that counts no more, beside one that never heard of it. */
static void returns_elsewhere(void)
{
	start();
	must(put_value(&na, "one"));
	hf_seam_init("dir.1:0:eio");
	must(put_value(&nb, "two"));
	replaced("dir.1:0:eio", "dir.1:0:eio");
	hf_seam_init("dir.0:0:eio");
	must(put_value(&nb, "three"));
	back("dir.2:0:eio", "the directory that counts is out of its reach");
	end(true);
}

/* What a predecessor wrote to one directory alone, time and again, does not stop who came after. */
static void predecessor(void)
{
	static char old[2][2 * HFD_SECTOR];
	unsigned slot;

	start();
	slot = na.id.slot;
	row_io(0, slot, old[0], false);
	row_io(1, slot, old[1], false);
	for (unsigned i = 0; i < 9; i++)
		must(na.st->ops->beat(na.st, &err));
	node_close(&na);
	/* as if these two had not answered */
	row_io(0, slot, old[0], true);
	row_io(1, slot, old[1], true);
	hf_seam_init("dir.2:0:eio");
	node_open(&na);
	hf_seam_init("");
	must(put_value(&na, "one"));
	usleep(LEASE_MS * 1000);
	hf_seam_init("dir.0:0:eio");
	is(put_value(&na, "two"), 0, "P4: an old incarnation in a directory that missed the start is no successor");
	is(na.st->ops->beat(na.st, &err), 0, "nor for the heartbeat");
	hf_seam_init("");
	end(false);
}

int main(void)
{
	returns();
	returns_voter();
	returns_elsewhere();
	predecessor();
	return tap_done();
}
