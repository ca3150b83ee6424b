// SPDX-License-Identifier: GPL-2.0-or-later
/* X9: what a node remembers of the disk tells an older one; its file, and what becomes of it. */
#include "enemy.h"
#include "seen.h"
#include <sys/stat.h>

static const uint8_t disk[16] = { 7 };
static struct hf_logid one = LOGID(61, 2), two = LOGID(62, 3), regs = LOGID(9, 0);

static struct hf_seen *load(void)
{
	struct hf_seen *s;

	must(hf_seen_load(dir, disk, &s, &err));
	return s;
}

static int look(struct hf_seen *s, const struct hf_logid *id, uint64_t epoch, uint64_t gen, uint64_t confirmed)
{
	struct hf_log_stat st = { .epoch = epoch, .gen = gen };

	err = (struct hf_err){ 0 };
	return hf_seen_log(s, id, &st, confirmed, &err);
}

static ino_t file(void)
{
	char path[300];
	struct stat st;

	snprintf(path, sizeof(path), "%s/seen", dir);
	return stat(path, &st) ? 0 : st.st_ino;
}

int main(void)
{
	struct hf_node_info n = { .name = "alpha", .uuid = { 3 }, .counter = 50 };
	struct hf_log_stat st = { .epoch = 64, .gen = 3 };
	struct hf_seen *s, *t;
	uint8_t other[16] = { 8 };
	char path[300];
	ino_t was;
	int fd;

	setup(1, 4u << 20, 500);
	snprintf(path, sizeof(path), "%s/seen", dir);
	s = load();
	must(hf_seen_sync(s, false));
	ok(file(), "the file is made");
	was = file();
	must(hf_seen_sync(s, false));
	ok(file() == was, "and not written again without news");
	must(look(s, &one, 128, 5, 0));
	must(hf_seen_sync(s, false));
	ok(file() == was, "what was seen once is not remembered yet: it may not be durable");
	must(look(s, &one, 128, 6, 7));
	must(look(s, &two, 64, 1, 0));
	must(look(s, &two, 64, 1, 0));
	must(look(s, &regs, 640, 9, 0));
	must(look(s, &regs, 640, 9, 0));
	must(hf_seen_node(s, &n, &err));
	must(hf_seen_node(s, &n, &err));
	must(hf_seen_sync(s, false));
	ok(file() != was, "what was seen twice is");
	hf_seen_free(s);

	s = load();
	is(look(s, &one, 127, 5, 0), 0, "one reading that is behind may be a slot that is being written");
	is(look(s, &one, 127, 5, 0), 0, "so may two");
	is(look(s, &one, 127, 5, 0), -EBADMSG, "three are an older disk");
	is(err.exit, HF_DAMAGED, "with the exit code of damage");
	ok(strstr(err.msg, "epoch 127") && strstr(err.msg, "had 128") && strstr(err.msg, "disk accept"),
	   "it says what, and what to do");
	is(look(s, &one, 128, 5, 0), 0, "the state that was remembered is not behind");
	is(hf_seen_stat(s, &one, &st, &err), -EBADMSG, "an older epoch is refused before a claim");
	st = (struct hf_log_stat){ .epoch = 128, .gen = 4 };
	is(hf_seen_stat(s, &one, &st, &err), -EBADMSG, "a generation that was confirmed and is not, too");
	st = (struct hf_log_stat){ 0 };
	is(hf_seen_stat(s, &one, &st, &err), -EBADMSG, "and a row that was emptied");
	is(hf_seen_gen(s, &one, 6, &err), -EBADMSG, "a log that ends before what this node confirmed");
	is(hf_seen_gen(s, &one, 7, &err), 0, "and not one that reaches it");
	is(hf_seen_gen(s, &(struct hf_logid)LOGID(99, 9), 0, &err), 0, "of others nothing is known");
	n.counter = 48;
	is(hf_seen_node(s, &n, &err), -EBADMSG, "a heartbeat that goes back");
	n.counter = 49;
	is(hf_seen_node(s, &n, &err), 0, "one less is a torn sector");
	hf_seen_known(s, &one.uuid, 1);
	must(hf_seen_sync(s, false));
	hf_seen_free(s);

	s = load();
	st = (struct hf_log_stat){ 0 };
	is(hf_seen_stat(s, &two, &st, &err), 0, "what was deleted is forgotten");
	is(hf_seen_stat(s, &regs, &st, &err), -EBADMSG, "the registrations are not");
	/* `disk accept` beside a daemon that runs */
	must(hf_seen_new(dir, disk, &t));
	must(hf_seen_sync(t, true));
	hf_seen_free(t);
	must(hf_seen_sync(s, true));
	is(hf_seen_stat(s, &one, &st, &err), 0, "what somebody else wrote there is believed");
	must(look(s, &one, 5, 1, 1));
	must(look(s, &one, 5, 1, 1));
	must(hf_seen_sync(s, false));
	/* said twice between two beats: the second file may have the inode number of the daemon's */
	must(hf_seen_new(dir, disk, &t));
	was = file();
	for (fd = 0; fd < 10 && (!fd || file() != was); fd++)
		must(hf_seen_sync(t, true));
	hf_seen_free(t);
	must(hf_seen_sync(s, false));
	st = (struct hf_log_stat){ 0 };
	is(hf_seen_stat(s, &one, &st, &err), 0, "so it is when it was written more than once");
	must(look(s, &one, 5, 1, 1));
	must(look(s, &one, 5, 1, 1));
	must(hf_seen_sync(s, false));
	hf_seen_free(s);
	must(hf_seen_load(dir, other, &s, &err));
	is(hf_seen_gen(s, &one, 0, &err), 0, "nothing is remembered of another disk");
	hf_seen_free(s);

	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	must(hf_pwrite_full(fd, "{\"v\":1,\"di", 10, 0));
	close(fd);
	is(hf_seen_load(dir, disk, &s, &err), -EBADMSG, "a file that is damaged is named");
	ok(strstr(err.msg, path) && strstr(err.msg, "disk accept"), "with its path, and what to do");
	return tap_done();
}
