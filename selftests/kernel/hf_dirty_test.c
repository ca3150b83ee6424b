// SPDX-License-Identifier: GPL-2.0
/*
 * The dirty set, by itself: a module that holds the set's own source, stands in
 * for the rest of the module, and prints TAP into the kernel's log when it is
 * loaded (dirty.sh reads it there). Loading fails where a test does.
 */
#include <linux/module.h>
#include "../../kernel/dirty.c"

unsigned long hf_dirty_max = 1 << 20;
static u64 seq;
static long created, destroyed;
static int tests, failed;

u64 hf_seq_next(void)
{
	return ++seq;
}

void hf_ledger_in(enum hf_object what)
{
	created++;
}

void hf_ledger_out(enum hf_object what)
{
	destroyed++;
}

#define ok(cond, what) do {							\
	bool good = (cond);							\
	failed += !good;							\
	pr_info("hf_dirty_test: %sok %d - %s\n", good ? "" : "not ", ++tests, what); \
} while (0)

static struct hf_dirty set;
static struct hf_names dir, other;

/* tests of their own are about that one */
static void free_spare(void)
{
	hf_dirty_fini(&set);
}

static int note(struct hf_names *in, const char *name, u16 ops, u8 add, u8 clear, bool alloc)
{
	struct hf_change c = {
		.name = name, .len = strlen(name), .ops = ops, .set = add, .clear = clear,
	};
	struct hf_entry *spare = alloc ? hf_entry_alloc(c.len, GFP_KERNEL) : NULL, *e;

	free_spare();
	e = hf_dirty_note(&set, in, &c, &spare);
	hf_entry_free(spare);
	if (e && hf_entry_is_news(e))
		list_add_tail(&e->news, &set.news);
	return e ? 0 : -ENOENT;
}

static int note_quietly(struct hf_names *in, const char *name, bool alloc)
{
	struct hf_who who = { .pid = 42 };
	struct hf_change c = {
		.name = name, .len = strlen(name), .ops = HOLDFAST_OP_MODIFY,
		.set = HOLDFAST_STATE_MAPPED, .quiet = true, .who = &who,
	};
	struct hf_entry *spare = alloc ? hf_entry_alloc(c.len, GFP_KERNEL) : NULL;
	struct hf_entry *e;

	free_spare();
	e = hf_dirty_note(&set, in, &c, &spare);
	hf_entry_free(spare);
	return e ? 0 : -ENOENT;
}

static void drop(struct hf_names *in)
{
	while (hf_dirty_drop(&set, in, 7))
		;
}

static void told_all(void)
{
	struct hf_entry *e, *n;

	list_for_each_entry_safe(e, n, &set.news, news) {
		list_del_init(&e->news);
		e->told |= e->ops;
	}
}

static void test_names(void)
{
	struct hf_entry *e, *f;
	u64 id, was;
	int i;

	ok(note(&dir, "a", HOLDFAST_OP_MODIFY, HOLDFAST_STATE_OPEN, 0, false) == -ENOENT &&
	   !set.count, "a new name needs an entry");
	ok(!note(&dir, "a", HOLDFAST_OP_MODIFY, HOLDFAST_STATE_OPEN, 0, true) && set.count == 1,
	   "with one it is noted");
	e = hf_dirty_next(&set, 0);
	ok(e && e->len == 1 && e->name[0] == 'a' && e->state == HOLDFAST_STATE_OPEN &&
	   e->who.pid == task_tgid_nr(current) && e->since, "with what, who and when");
	id = e->id;
	was = hf_dirty_bytes();
	for (i = 0; i < 10000; i++)
		note(&dir, "a", HOLDFAST_OP_MODIFY, HOLDFAST_STATE_OPEN, 0, false);
	ok(set.count == 1 && e->id == id && e->seq > id + 9000 && hf_dirty_bytes() == was,
	   "P2: ten thousand writes are one entry, with the number of the last");
	note(&dir, "a", HOLDFAST_OP_CLOSE_WRITE, 0, HOLDFAST_STATE_OPEN, false);
	ok(!e->state && e->ops == (HOLDFAST_OP_MODIFY | HOLDFAST_OP_CLOSE_WRITE), "closed");
	note(&other, "a", HOLDFAST_OP_CREATE, HOLDFAST_STATE_SUBTREE, 0, true);
	note(&dir, "b", HOLDFAST_OP_CREATE, 0, 0, true);
	note(&other, "a", HOLDFAST_OP_ATTRIB, 0, HOLDFAST_STATE_SUBTREE, false);
	f = hf_dirty_next(&set, id);
	ok(set.count == 3 && f && f->dir == &other, "the same name elsewhere is another entry");
	ok(f->state == HOLDFAST_STATE_SUBTREE, "\"scan this\" is not taken back");
	ok(hf_dirty_next(&set, f->id) && !hf_dirty_next(&set, hf_dirty_next(&set, f->id)->id),
	   "a walk by number meets all");
	ok(set.seq == f->seq && hf_dirty_since(&set) == e->since,
	   "the newest number, the oldest time");
}

static void test_ack(void)
{
	struct hf_entry *e = hf_dirty_next(&set, 0);
	u64 id = e->id, noted = e->seq;

	note(&dir, "a", HOLDFAST_OP_MODIFY, 0, 0, false);
	ok(hf_dirty_ack(&set, id, noted) && set.count == 3,
	   "P2: what changed since it was noted is not acknowledged");
	ok(hf_dirty_ack(&set, id, e->seq) && set.count == 2, "with its number it is");
	ok(!hf_dirty_ack(&set, id, U64_MAX), "and only once");
	note(&dir, "a", HOLDFAST_OP_MODIFY, 0, 0, true);
	ok(!hf_dirty_ack(&set, id, U64_MAX) && set.count == 3, "noted again it is another entry");
}

static void test_news(void)
{
	struct hf_entry *e;

	told_all();
	note(&dir, "b", HOLDFAST_OP_CREATE, 0, 0, false);
	ok(list_empty(&set.news), "what was told is no news");
	note(&dir, "b", HOLDFAST_OP_CLOSE_WRITE, 0, 0, false);
	ok(!list_empty(&set.news), "another operation is");
	told_all();
	e = hf_dirty_next(&set, 0);
	e->told = 0;
	note(e->dir, "a", HOLDFAST_OP_ATTRIB, 0, 0, false);
	ok(list_first_entry_or_null(&set.news, struct hf_entry, news) == e,
	   "after a dump anything is");
	hf_dirty_ack(&set, e->id, U64_MAX);
	ok(list_empty(&set.news), "what is acknowledged is not told");
}

static void test_whole(void)
{
	u64 count, seen, id;
	int i;

	drop(&dir);
	ok(!hf_dirty_whole(&set, &dir) && !dir.whole,
	   "a directory without an entry can not be one as a whole");
	note(&dir, "a", HOLDFAST_OP_MODIFY, 0, 0, true);
	note(&dir, "b", HOLDFAST_OP_CREATE, HOLDFAST_STATE_SUBTREE, 0, true);
	note(&dir, "c", HOLDFAST_OP_MODIFY, 0, 0, true);
	told_all();
	count = set.count;
	seen = set.seq;
	ok(hf_dirty_whole(&set, &dir) && dir.whole && set.count == count && set.wholes == 1 &&
	   hf_entry_is_news(dir.whole) && dir.whole->id > seen &&
	   dir.whole->state == HOLDFAST_STATE_SUBTREE && !dir.whole->len,
	   "P2: a directory as a whole takes the place of one of its names");
	id = dir.whole->id;
	for (i = 0; i < 2; i++)
		ok(!note(&dir, "new", HOLDFAST_OP_CREATE, 0, 0, false) && dir.whole->id == id &&
		   set.count == --count, "what changes in it needs no memory, and gives some back");
	ok(RB_EMPTY_ROOT(&dir.names) && hf_names_noted(&dir), "until none of the names is left");
	seen = dir.whole->seq;
	note(&dir, "new", HOLDFAST_OP_CREATE, 0, 0, false);
	ok(dir.whole->seq > seen && hf_dirty_ack(&set, id, seen) && dir.whole,
	   "P2: it is not acknowledged when something changed since");
	ok(hf_dirty_whole(&set, &dir) && set.wholes == 1 && dir.whole->id == id, "twice is once");
	ok(!note_quietly(&dir, "new", false) && hf_dirty_ack(&set, id, dir.whole->seq) &&
	   !dir.whole &&
	   !set.wholes, "acknowledged");
	ok(note(&dir, "new", HOLDFAST_OP_CREATE, 0, 0, false) == -ENOENT, "and names count again");
}

static void test_all(void)
{
	u64 count = set.count, id, seq;

	set.all_news = false;
	set.all_told = false;
	hf_dirty_all(&set);
	ok(set.count == count + 1 && set.all_news && set.all_seq == set.seq && hf_dirty_since(&set),
	   "P2: the tree as a whole needs no entry at all");
	id = set.all_id;
	seq = set.all_seq;
	hf_dirty_all(&set);
	ok(set.all_id == id && set.all_seq > seq && set.count == count + 1, "twice is once");
	ok(hf_dirty_ack(&set, id, seq) && set.all_id,
	   "P2: it is not acknowledged when it was noted again");
	ok(hf_dirty_ack(&set, id, set.all_seq) && !set.all_id && set.count == count &&
	   !set.wholes && !hf_dirty_ack(&set, id, U64_MAX) && !hf_dirty_ack(&set, 0, U64_MAX),
	   "acknowledged, once");
}

static void test_quiet(void)
{
	struct hf_entry *e;
	u64 id, seq;

	told_all();
	ok(note_quietly(&dir, "m", false) == -ENOENT && !note_quietly(&dir, "m", true),
	   "what may have changed is noted");
	e = hf_dirty_next(&set, set.seq - 2);
	ok(e && e->who.pid == 42 && list_empty(&set.news) && e->state == HOLDFAST_STATE_MAPPED,
	   "with who it is told to be, and is no news");
	id = e->id;
	seq = e->seq;
	ok(!note_quietly(&dir, "m", false) && e->seq == seq, "once");
	note(&dir, "m", HOLDFAST_OP_MODIFY, 0, 0, false);
	ok(!list_empty(&set.news) && e->seq > seq, "what did change is news");
	hf_dirty_ack(&set, id, U64_MAX);
}

static void test_bound(void)
{
	unsigned long was = hf_dirty_max;
	u64 used = hf_dirty_bytes();
	struct hf_entry *e;

	hf_dirty_max = used + entry_size(ROOM) - 1;
	e = hf_entry_alloc(10, GFP_KERNEL);
	ok(!e && hf_dirty_bytes() == used, "no entry beyond the bound, and nothing charged");
	hf_dirty_max++;
	e = hf_entry_alloc(10, GFP_KERNEL);
	ok(e && hf_dirty_bytes() == hf_dirty_max, "up to it there is");
	hf_entry_free(e);
	hf_dirty_max = was;
}

static void test_spare(void)
{
	struct hf_change c = { .name = "s", .len = 1, .ops = HOLDFAST_OP_MODIFY };
	struct hf_entry *none = NULL, *e, *f;
	unsigned long was = hf_dirty_max;
	u64 used = hf_dirty_bytes();
	char name[8];
	int i;

	note(&dir, "s", HOLDFAST_OP_MODIFY, 0, 0, true);
	hf_dirty_ack(&set, hf_dirty_next(&set, set.seq - 2)->id, U64_MAX);
	e = set.spare;
	ok(e && hf_dirty_bytes() == used,
	   "what is acknowledged stays as a spare one, and is not charged");
	hf_dirty_max = used;
	ok(!hf_dirty_note(&set, &dir, &c, &none) && set.spare == e, "which the bound counts for");
	hf_dirty_max = was;
	f = hf_dirty_note(&set, &dir, &c, &none);
	ok(f && f == e && !set.spare && f->len == 1 &&
	   hf_dirty_bytes() == used + entry_size(ROOM) &&
	   f->ops == HOLDFAST_OP_MODIFY && !f->told, "and is the next name's");
	hf_dirty_ack(&set, f->id, U64_MAX);
	ok(set.spare && set.spares == 1, "again");
	for (i = 0; i < 2 * SPARES; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		note(&dir, name, HOLDFAST_OP_MODIFY, 0, 0, true);
	}
	drop(&dir);
	ok(set.spares == SPARES && hf_dirty_bytes() <= used, "of many some");
	free_spare();
	ok(!set.spare && !set.spares, "until the set ends");
}

static void test_long(void)
{
	static char name[301];
	u64 used = hf_dirty_bytes(), count = set.count, last = set.seq;
	struct hf_entry *e;

	memset(name, 'x', 300);
	note(&other, name, HOLDFAST_OP_CREATE, 0, 0, true);
	note(&other, name, HOLDFAST_OP_MODIFY, 0, 0, false);
	e = hf_dirty_next(&set, last);
	ok(set.count == count + 1 && e && e->len == 300, "a name may have more than 255 bytes");
	hf_dirty_ack(&set, e->id, U64_MAX);
	ok(hf_dirty_bytes() == used, "and what it took comes back");
}

static void test_many(void)
{
	char name[16];
	u64 n = 0, id = 0;
	struct hf_entry *e;
	int i, bad = 0;

	for (i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "n%d", i * 7919);
		bad += note(i & 1 ? &dir : &other, name, HOLDFAST_OP_CREATE, 0, 0, true) != 0;
	}
	for (i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "n%d", i * 7919);
		bad += note(i & 1 ? &dir : &other, name, HOLDFAST_OP_ATTRIB, 0, 0, false) != 0;
		bad += note(i & 1 ? &other : &dir, name, HOLDFAST_OP_ATTRIB, 0, 0,
			    false) != -ENOENT;
	}
	ok(!bad, "five thousand names are found where they are, and nowhere else");
	while ((e = hf_dirty_next(&set, id))) {
		id = e->id;
		n++;
	}
	ok(n == set.count, "a walk meets each once");
	hf_dirty_whole(&set, &other);
	hf_dirty_all(&set);
	hf_dirty_ack(&set, set.all_id, U64_MAX);
	drop(&dir);
	drop(&other);
	free_spare();
	ok(!set.count && !set.wholes && list_empty(&set.news) && RB_EMPTY_ROOT(&set.by_id) &&
	   !hf_dirty_since(&set), "dropped directories leave nothing");
	ok(created && created == destroyed && !hf_dirty_bytes(), "and no memory");
}

static int __init hf_dirty_test_init(void)
{
	hf_dirty_init(&set);
	test_names();
	test_ack();
	test_news();
	test_whole();
	test_all();
	test_quiet();
	test_bound();
	test_spare();
	test_long();
	test_many();
	pr_info("hf_dirty_test: 1..%d\n", tests);
	return failed ? -EINVAL : 0;
}

/* as the module itself does, for the machine's verdict */
static void __exit hf_dirty_test_exit(void)
{
	pr_info("holdfast: ledger: tree 0/0 dir 0/0 entry %ld/%ld\n", created, destroyed);
}

module_init(hf_dirty_test_init);
module_exit(hf_dirty_test_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Tests of Holdfast's dirty set");
