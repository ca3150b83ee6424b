// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Several shared directories: one fails, and it goes on; what comes back out of date is not
 * believed; without a majority nothing is owned; and an administrator's word.
 */
#include "conform_claim.h"
#include "conform_data.h"
#include "conform_storm.h"
#include "ondisk.h"

static unsigned ndirs;
static struct hf_logid id = LOGID(70, 2);

static void make(unsigned nodes, uint64_t size)
{
	store_dirs = ndirs;
	setup(nodes, size, 500);
}

static const struct backend dirs = { "shared directories", make, NULL };

static void start(unsigned n, unsigned nodes)
{
	ndirs = n;
	be = &dirs;
	store(nodes, 32u << 20);
}

static int value_is(struct hf_store *st, const char *v)
{
	struct hf_log *l = NULL;
	int ret = hf_log_read(st, &id, 0, &l, &err), good = !ret && holds(l, "v", v, strlen(v));

	if (ret)
		printf("# %d %s\n", ret, err.msg);
	hf_log_close(l);
	return good;
}

static int put_value(struct node *n, const char *v)
{
	struct hf_log *l = NULL;
	int ret = hf_log_claim(n->st, &id, HF_CLAIM_FENCED, &l, &err);

	if (!ret && (ret = put(l, "v", v, strlen(v))) == 0)
		ret = commit(l);
	hf_log_close(l);
	return ret;
}

/* In the middle of a claim's life: its owner does not even notice. */
static void one_fails(void)
{
	char big[200000], text[500];
	struct hf_log *l;
	struct hf_store *st;

	start(3, 2);
	must(hf_log_claim(na.st, &id, 0, &l, &err));
	must(set(l, "v", "one"));
	hf_seam_init("dir.0:0:eio");
	is(set(l, "v", "two"), 0, "the first directory fails: commits go on");
	fill(big, sizeof(big), 3);
	must(put(l, "big", big, sizeof(big)));
	is(commit(l), 0, "with large contents too");
	ok(holds(l, "big", big, sizeof(big)), "which are there");
	is(hf_log_base(l, 0, &err), 0, "and bases");
	hf_log_close(l);
	is(na.st->ops->warning(na.st, 0, text, sizeof(text)), 0, "there is a warning");
	ok(strstr(text, "dir0 counts no more") && strstr(text, "disk set"), "which names it, and says what to do");
	is(na.st->ops->warning(na.st, 1, text, sizeof(text)), -ENOENT, "one");
	is(nb.st->ops->warning(nb.st, 0, text, sizeof(text)), -ENOENT, "none on a node that has not heard of it yet");
	is(put_value(&nb, "three"), 0, "another node takes over");
	is(nb.st->ops->warning(nb.st, 0, text, sizeof(text)), 0, "and warns too");
	hf_seam_init("");
	/* it is there again, as it was when it failed */
	ok(value_is(na.st, "three") && value_is(nb.st, "three"), "P1: what comes back out of date is not read");
	is(put_value(&na, "four"), 0, "nor written");
	st = reader();
	ok(value_is(st, "four"), "who opens it now knows that too");
	st->ops->close(st);
	kill_node(&na);
	kill_node(&nb);
	node_open(&na);
	ok(value_is(na.st, "four"), "and who starts");
	hf_seam_init("dir.1:0:eio");
	is(put_value(&na, "five"), 0, "a second one fails: two of three still know who counts");
	hf_seam_init("dir.2:0:eio");
	ok(put_value(&na, "six") < 0 && err.exit == HF_UNAVAIL, "the last one that has everything fails: out of reach");
	ok(!value_is(na.st, "four") && !value_is(na.st, "three"), "P1: nothing older is taken for the newest");
	hf_seam_init("");
	ok(value_is(na.st, "five"), "it is back, and so is all");
	is(sound(), 0, "the store is sound");
	store_end();
}

/* An owner reaches one directory only when it writes its last record, whichever that is. What a later
 * owner finds of it must outlast the next directory that fails. */
static void last_words(void)
{
	static const char *const cut[] = { "dir.1:0:eio,dir.2:0:eio", "dir.0:0:eio,dir.2:0:eio", "dir.0:0:eio,dir.1:0:eio" };
	static const char *const next[] = { "dir.0:0:eio", "dir.1:0:eio", "dir.2:0:eio" };
	unsigned lost = 0, kept = 0;

	for (unsigned i = 0; i < 9; i++) {
		struct hf_log *l, *r = NULL;
		struct hf_item it;
		uint64_t gen;

		start(3, 2);
		must(hf_log_claim(na.st, &id, 0, &l, &err));
		must(set(l, "v", "one"));
		must(put(l, "last", "words", 5));
		hf_seam_init(cut[i / 3]);
		ok(hf_log_commit(l, 0, NULL, &gen, &err) < 0, "a record that reaches one directory of three is not written");
		hf_seam_init("");
		must(hf_log_claim(nb.st, &id, HF_CLAIM_FENCED, &r, &err));
		kept += hf_log_get(r, "last", 4, &it);
		must(put(r, "v", "two", 3));
		must(commit(r));
		hf_log_close(r);
		hf_log_close(l);
		hf_seam_init(next[i % 3]);
		lost += !value_is(nb.st, "two");
		hf_seam_init("");
		lost += sound() != 0;
		store_end();
	}
	ok(!lost, "P1: whatever a later owner stood on is in all directories that count (%u times it had those words)", kept);
}

/* Everything was stopped, one directory is gone when it starts again. */
static void cold_start(void)
{
	start(3, 2);
	must(put_value(&na, "one"));
	kill_node(&na);
	kill_node(&nb);
	hf_seam_init("dir.0:0:eio");
	node_open(&na);
	is(put_value(&na, "two"), 0, "a node starts without the first directory");
	hf_seam_init("");
	node_open(&nb);
	ok(value_is(nb.st, "two"), "P1: the next one, which finds all three, does not believe the first");
	hf_seam_init("dir.0:0:eio,dir.1:0:eio");
	struct hf_store *clone;

	ok(open_clone(&na, &clone) < 0 && err.exit == HF_UNAVAIL, "one of three is no majority: no node starts");
	clone->ops->close(clone);
	hf_seam_init("");
	store_end();
}

/* A superblock that is gone is one of several. */
static void no_super(void)
{
	char path[400];

	start(3, 1);
	must(put_value(&na, "one"));
	kill_node(&na);
	snprintf(path, sizeof(path), "%s/dir0/super", dir);
	must(truncate(path, 0));
	node_open(&na);
	ok(value_is(na.st, "one"), "the first superblock is empty: the next one tells the same");
	is(put_value(&na, "two"), 0, "and it goes on");
	is(na.st->ops->beat(na.st, &err), 0, "heartbeats too");
	is(na.st->ops->beat(na.st, &err), 0, "for good");
	store_end();
}

/* A reader manages with one superblock of six: the other five are looked at when it is checked. */
static void bad_super(void)
{
	static const char zero[512];
	char path[400];
	int fd;

	start(3, 1);
	must(put_value(&na, "one"));
	kill_node(&na);
	is(sound(), 0, "the superblocks of all directories are sound");
	snprintf(path, sizeof(path), "%s/dir2/super", dir);
	fd = open(path, O_RDWR);
	must(pwrite(fd, zero, sizeof(zero), HFD_SECTOR) == sizeof(zero) ? 0 : -EIO);
	close(fd);
	is(sound(), -EBADMSG, "one copy in the last directory is damaged: it is found");
	ok(strstr(err.msg, "dir2: copy 2 of the superblock"), "and named");
	must(truncate(path, 0));
	is(sound(), -EBADMSG, "so is a file that is empty");
	ok(strstr(err.msg, "dir2: its superblock cannot be read"), "by its directory's name");
	must(unlink(path));
	is(sound(), -EBADMSG, "and one that is gone");
	node_open(&na);
	ok(value_is(na.st, "one"), "the store can be used all the while");
	hf_seam_init("dir.2:0:eio");
	must(put_value(&na, "two"));
	hf_seam_init("");
	is(sound(), 0, "once that directory counts no more, its superblock does not either");
	store_end();
}

/* of two, the first one decides */
static void two(void)
{
	struct hf_store *st;
	struct hf_claim *c = NULL;

	start(2, 2);
	must(put_value(&na, "one"));
	hf_seam_init("dir.1:0:eio");
	is(put_value(&nb, "two"), 0, "the second of two fails: it goes on");
	hf_seam_init("");
	ok(value_is(na.st, "two"), "for all");
	store_end();

	start(2, 2);
	must(put_value(&na, "one"));
	must(take(&na, &id, HF_CLAIM_FENCED, &c));
	hf_seam_init("dir.0:0:eio");
	ok(c->ops->confirm(c, &err) == -EIO && put_value(&nb, "two") == -EIO && err.exit == HF_UNAVAIL,
	   "P4: the first of two fails: nobody confirms or claims");
	st = reader();
	ok(value_is(st, "one"), "older generations can be read");
	st->ops->close(st);
	hf_seam_init("");
	is(c->ops->confirm(c, &err), 0, "it is back: its owner still is the owner");
	c->ops->drop(c);
	store_end();
}

/* P4: the row of a node that is removed is in that node's file, not in that of who removes it. */
static void removed(void)
{
	struct hf_node_info n[4];
	struct hf_claim *c;

	start(3, 2);
	for (int i = 0; i < 4; i++) {
		usleep(200000);
		must(nb.st->ops->beat(nb.st, &err));
	}
	err = (struct hf_err){ 0 };
	is(hf_disk_remove(nb.st, na.id.slot, na.id.uuid, &err), 0, "a dead node is removed");
	is(nb.st->ops->nodes(nb.st, n, 4), 1, "and listed no more");
	is(na.st->ops->beat(na.st, &err), -ESTALE, "P4: its heartbeat tells it to stop");
	ok(take(&na, &id, 0, &c), "P4: it claims nothing");
	is(nb.st->ops->beat(nb.st, &err), 0, "who removed it goes on");
	is(put_value(&nb, "one"), 0, "and writes its own file");
	is(sound(), 0, "the store is sound");
	store_end();
}

/* ---- an administrator's word ---- */

static void path_of(char *p, const char *name) { snprintf(p, 400, "%s/%s", dir, name); }

static int dir_set_to(int force, const char *a, const char *b, const char *c)
{
	char url[1300];

	snprintf(url, sizeof(url), "dir:%s/%s%s%s%s%s%s%s", dir, a, b ? ":" : "", b ? dir : "", b ? "/" : "", b ? b : "",
		 c ? ":" : "", "");
	if (c)
		snprintf(url + strlen(url), sizeof(url) - strlen(url), "%s/%s", dir, c);
	snprintf(dev, sizeof(dev), "%.999s", url);
	err = (struct hf_err){ 0 };
	return hf_dir_set(conf, url, force, &err);
}

static void administrator(void)
{
	char all[1000], from[400], to[400];
	struct hf_store *st;

	start(3, 1);
	snprintf(all, sizeof(all), "%.999s", dev);
	must(put_value(&na, "one"));
	beat_start(0, &na);
	usleep(100000);
	is(dir_set_to(0, "dir0", "dir1", "dir2"), -EBUSY, "not while a daemon lives");
	is(beat_stop(0), 0, "which is not hurt by the question");
	hf_seam_init("dir.0:0:eio");
	must(put_value(&na, "two"));
	hf_seam_init("");
	kill_node(&na);
	usleep(600000);

	/* the failed one is replaced by an empty directory */
	path_of(from, "dir0");
	path_of(to, "old");
	must(rename(from, to));
	path_of(to, "new");
	must(mkdir(to, 0700));
	is(dir_set_to(0, "new", "dir1", "dir2"), 0, "a new directory takes its place");
	node_open(&na);
	ok(value_is(na.st, "two"), "with all that was confirmed");
	hf_seam_init("dir.1:0:eio,dir.2:0:eio");
	ok(put_value(&na, "three") < 0, "(alone it is no majority)");
	hf_seam_init("dir.1:0:eio");
	is(put_value(&na, "three"), 0, "it is one of three");
	hf_seam_init("");
	kill_node(&na);

	/* a configuration that was not changed names what was taken out */
	path_of(from, "old");
	path_of(to, "dir0");
	must(rename(from, to));
	snprintf(dev, sizeof(dev), "%s", all);
	node_open(&na);
	ok(value_is(na.st, "three"), "P1: a directory that was taken out is not used, though it is named first");
	kill_node(&na);
	usleep(600000);

	is(dir_set_to(0, "dir0", "dir1", NULL), -EIO, "one of three cannot tell whether it has the newest");
	is(err.exit, HF_UNAVAIL, "with exit code 7");
	is(dir_set_to(0, "dir2", NULL, NULL), -EIO, "nor can another");
	is(dir_set_to(1, "dir2", NULL, NULL), 0, "unless its administrator says that it counts");
	node_open(&na);
	ok(value_is(na.st, "three"), "then it is the store");
	is(put_value(&na, "four"), 0, "and can be written");
	kill_node(&na);
	usleep(600000);
	is(dir_set_to(0, "dir2", "dir1", "dir0"), 0, "and others are taken in again");
	node_open(&na);
	ok(value_is(na.st, "four"), "with what it has");
	hf_seam_init("dir.0:0:eio");
	is(put_value(&na, "five"), 0, "which they have too");
	ok(value_is(na.st, "five"), "and go on with");
	hf_seam_init("");
	kill_node(&na);
	st = reader();
	ok(value_is(st, "five"), "all of it can be read");
	st->ops->close(st);
	is(sound(), 0, "the store is sound");
	store_end();
}

/* Without O_DIRECT every file is opened for each reading. */
static void buffered(void)
{
	setenv("HOLDFAST_SEAM", "dir.direct:0:eio", 1);
	hf_seam_init(getenv("HOLDFAST_SEAM"));
	ndirs = 1;
	be = &dirs;
	by_hand();
	racing();
	history();
	hf_seam_init("");
}

/* Each node sees other directories fail, from another time on; one they all can reach. */
static void weather(unsigned me, unsigned *seed)
{
	char spec[100];

	if (me == 2)
		return;
	snprintf(spec, sizeof(spec), "dir.%u:%u+:eio", me ? 2 : 0, 100 + rand_r(seed) % 4000);
	hf_seam_init(spec);
}

/* die in the middle of a vote */
static void votes(unsigned me, unsigned *seed)
{
	static const char *const at[] = { "set.ballot", "set.accept", "set.tell" };
	char spec[100];

	snprintf(spec, sizeof(spec), "dir.%u:%u+:eio,%s:1:%s", rand_r(seed) % 2 * 2, 200 + rand_r(seed) % 3000,
		 at[rand_r(seed) % 3], me == 2 ? "sleep=50" : "sleep=200");
	hf_seam_init(spec);
}

int main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : "";
	static const struct { const char *name; void (*fn)(void); } t[] = {
		{ "one_fails", one_fails }, { "last_words", last_words }, { "cold_start", cold_start }, { "no_super", no_super }, { "bad_super", bad_super }, { "two", two }, { "removed", removed },
		{ "administrator", administrator }, { "buffered", buffered },
	};

	for (size_t i = 0; i < HF_ARRAY(t); i++)
		if (!*only || !strcmp(only, t[i].name)) {
			printf("# %s\n", t[i].name);
			t[i].fn();
		}
	ndirs = 3;
	be = &dirs;
	for (unsigned i = 0; i < 2; i++)
		if (!*only || !strcmp(only, i ? "votes" : "weather")) {
			printf("# %s\n", i ? "votes" : "weather");
			storm_weather = i ? votes : weather;
			storm();
		}
	return tap_done();
}
