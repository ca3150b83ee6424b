// SPDX-License-Identifier: GPL-2.0
/*
 * The dirty set: entries by number, for dumps and acknowledgements, and by
 * directory and name, for changes.
 *
 * Numbers are those of the sequence: an entry's is the one of its first change.
 * So a walk by number meets everything that was dirty when it began, whatever
 * comes and goes meanwhile.
 */
#include <linux/audit.h>
#include <linux/cred.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uidgid.h>
#include <uapi/linux/holdfast.h>
#include "base.h"
#include "dirty.h"

static atomic_long_t bytes;

u64 hf_dirty_bytes(void)
{
	return atomic_long_read(&bytes);
}

/* What kmalloc() would round up to anyway, so that a spare one fits most names. */
#define ROOM (192 - offsetof(struct hf_entry, name))
#define SPARES 16

static long entry_size(u32 room)
{
	return struct_size((struct hf_entry *)NULL, name, room);
}

static bool charge(long size)
{
	if (atomic_long_add_return(size, &bytes) <= READ_ONCE(hf_dirty_max))
		return true;
	atomic_long_sub(size, &bytes);
	return false;
}

struct hf_entry *hf_entry_alloc(u32 len, gfp_t gfp)
{
	u32 room = max_t(u32, len, ROOM);
	long size = entry_size(room);
	struct hf_entry *e;

	if (!charge(size))
		return NULL;
	e = kmalloc(size, gfp);
	if (!e) {
		atomic_long_sub(size, &bytes);
		return NULL;
	}
	hf_ledger_in(HF_ENTRY);
	e->room = room;
	return e;
}

static void free_uncharged(struct hf_entry *e)
{
	hf_ledger_out(HF_ENTRY);
	kfree(e);
}

void hf_entry_free(struct hf_entry *e)
{
	if (!e)
		return;
	atomic_long_sub(entry_size(e->room), &bytes);
	free_uncharged(e);
}

/*
 * Names that are written again and again, and acknowledged in between, would take
 * memory and give it back each time. So some entries stay.
 */
static void keep_spare(struct hf_dirty *set, struct hf_entry *e)
{
	if (set->spares == SPARES || e->room != ROOM) {
		hf_entry_free(e);
		return;
	}
	atomic_long_sub(entry_size(ROOM), &bytes);
	e->next = set->spare;
	set->spare = e;
	set->spares++;
}

static struct hf_entry *take_spare(struct hf_dirty *set, u32 len)
{
	struct hf_entry *e = set->spare;

	if (!e || len > ROOM || !charge(entry_size(ROOM)))
		return NULL;
	set->spare = e->next;
	set->spares--;
	return e;
}

void hf_dirty_init(struct hf_dirty *set)
{
	memset(set, 0, sizeof(*set));
	set->by_id = RB_ROOT;
	INIT_LIST_HEAD(&set->news);
}

void hf_dirty_fini(struct hf_dirty *set)
{
	struct hf_entry *e;

	while ((e = set->spare)) {
		set->spare = e->next;
		free_uncharged(e);
	}
	set->spares = 0;
}

/* Any order will do. Names are short: a call of memcmp() would cost more. */
static int compare(const char *a, const char *b, u32 len)
{
	for (; len >= sizeof(u64); len -= sizeof(u64), a += sizeof(u64), b += sizeof(u64)) {
		u64 x, y;

		memcpy(&x, a, sizeof(x));
		memcpy(&y, b, sizeof(y));
		if (x != y)
			return x < y ? -1 : 1;
	}
	for (; len; len--, a++, b++)
		if (*a != *b)
			return *a < *b ? -1 : 1;
	return 0;
}

/* The link to where a name is or would be; the entry, if it is there. */
static struct hf_entry *find(struct hf_names *dir, const struct hf_change *c,
			     struct rb_node ***linkp, struct rb_node **parentp)
{
	struct rb_node **link = &dir->names.rb_node, *parent = NULL;

	while (*link) {
		struct hf_entry *e = rb_entry(*link, struct hf_entry, by_name);
		int order;

		order = (int)c->len - (int)e->len;
		if (!order)
			order = compare(c->name, e->name, c->len);
		if (!order)
			return e;
		parent = *link;
		link = order < 0 ? &parent->rb_left : &parent->rb_right;
	}
	*linkp = link;
	*parentp = parent;
	return NULL;
}

/* Numbers only grow: a new entry goes to the right end. */
static void insert_last(struct hf_dirty *set, struct hf_entry *e)
{
	struct rb_node **link = &set->by_id.rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = &parent->rb_right;
	}
	rb_link_node(&e->by_id, parent, link);
	rb_insert_color(&e->by_id, &set->by_id);
}

static void remove(struct hf_dirty *set, struct hf_entry *e)
{
	rb_erase(&e->by_id, &set->by_id);
	if (e->dir->whole == e) {
		e->dir->whole = NULL;
		set->wholes--;
	} else {
		rb_erase(&e->by_name, &e->dir->names);
	}
	list_del(&e->news);
	set->count--;
	keep_spare(set, e);
}

/* When the first of what has no entry of its own any more became dirty. */
static void since_when(struct hf_dirty *set, u64 since)
{
	set->since = set->wholes ? min(set->since, since) : since;
}

void hf_who_is_it(struct hf_who *who)
{
	who->pid = task_tgid_nr(current);
	/* as the first user namespace has them */
	who->uid = __kuid_val(current_uid());
	who->loginuid = __kuid_val(audit_get_loginuid(current));
	/* its last byte is always 0, even while another thread renames it */
	memcpy(who->comm, current->comm, sizeof(who->comm));
}

/* It happened to @e. */
static struct hf_entry *happened(struct hf_dirty *set, struct hf_entry *e,
				 const struct hf_change *c)
{
	set->seq = hf_seq_next();
	e->seq = set->seq;
	e->ops |= c->ops;
	if (c->who)
		e->who = *c->who;
	else
		hf_who_is_it(&e->who);
	return e;
}

/* A directory as a whole changed: one of the entries that it made superfluous goes. */
static void trim(struct hf_dirty *set, struct hf_names *dir)
{
	struct rb_node *n = dir->names.rb_node;
	struct hf_entry *e;

	if (!n)
		return;
	e = rb_entry(n, struct hf_entry, by_name);
	since_when(set, e->since);
	remove(set, e);
}

struct hf_entry *hf_dirty_note(struct hf_dirty *set, struct hf_names *dir,
			       const struct hf_change *c, struct hf_entry **spare)
{
	struct rb_node **link, *parent;
	struct hf_entry *e = dir->whole;

	if (unlikely(e)) {
		trim(set, dir);
		return c->quiet ? e : happened(set, e, c);
	}
	e = find(dir, c, &link, &parent);
	if (e && c->quiet)
		return e;
	if (!e) {
		e = *spare;
		*spare = NULL;
		if (!e)
			e = take_spare(set, c->len);
		if (!e)
			return NULL;
		memcpy(e->name, c->name, c->len);
		e->len = c->len;
		e->dir = dir;
		e->ops = 0;
		e->told = 0;
		e->state = 0;
		e->since = ktime_get_coarse_boottime_ns();
		e->id = hf_seq_next();
		INIT_LIST_HEAD(&e->news);
		rb_link_node(&e->by_name, parent, link);
		rb_insert_color(&e->by_name, &dir->names);
		insert_last(set, e);
		set->count++;
	}
	e->state = (e->state & ~(c->clear & ~HOLDFAST_STATE_SUBTREE)) | c->set;
	return happened(set, e, c);
}

struct hf_entry *hf_dirty_whole(struct hf_dirty *set, struct hf_names *dir)
{
	static const struct hf_change changed = { .ops = HOLDFAST_OP_MODIFY };
	struct hf_entry *e = dir->whole;

	if (!e) {
		if (RB_EMPTY_ROOT(&dir->names))
			return NULL;
		e = rb_entry(dir->names.rb_node, struct hf_entry, by_name);
		rb_erase(&e->by_name, &dir->names);
		since_when(set, e->since);
		dir->whole = e;
		set->wholes++;
		e->len = 0;
		e->state = HOLDFAST_STATE_SUBTREE;
		e->ops = 0;
		e->told = 0;
		/*
		 * A walk may have met the entry already, and not yet those that it
		 * is to stand for: so it goes to the end.
		 */
		rb_erase(&e->by_id, &set->by_id);
		e->id = hf_seq_next();
		insert_last(set, e);
	}
	return happened(set, e, &changed);
}

void hf_dirty_all(struct hf_dirty *set)
{
	set->seq = hf_seq_next();
	set->all_seq = set->seq;
	if (!set->all_id) {
		since_when(set, ktime_get_coarse_boottime_ns());
		set->all_id = set->all_seq;
		set->wholes++;
		set->count++;
	}
	if (!set->all_told)
		set->all_news = true;
}

bool hf_dirty_drop(struct hf_dirty *set, struct hf_names *dir, unsigned int max)
{
	if (dir->whole)
		remove(set, dir->whole);
	while (max-- && !RB_EMPTY_ROOT(&dir->names))
		remove(set, rb_entry(dir->names.rb_node, struct hf_entry, by_name));
	return !RB_EMPTY_ROOT(&dir->names);
}

bool hf_dirty_ack(struct hf_dirty *set, u64 id, u64 seq)
{
	struct rb_node *n = set->by_id.rb_node;

	while (n) {
		struct hf_entry *e = rb_entry(n, struct hf_entry, by_id);

		if (id == e->id) {
			if (e->seq <= seq)
				remove(set, e);
			return true;
		}
		n = id < e->id ? n->rb_left : n->rb_right;
	}
	if (!id || id != set->all_id)
		return false;
	if (set->all_seq <= seq) {
		set->all_id = 0;
		set->wholes--;
		set->count--;
	}
	return true;
}

struct hf_entry *hf_dirty_next(const struct hf_dirty *set, u64 id)
{
	struct rb_node *n = set->by_id.rb_node;
	struct hf_entry *best = NULL;

	while (n) {
		struct hf_entry *e = rb_entry(n, struct hf_entry, by_id);

		if (e->id > id) {
			best = e;
			n = n->rb_left;
		} else {
			n = n->rb_right;
		}
	}
	return best;
}

u64 hf_dirty_since(const struct hf_dirty *set)
{
	struct hf_entry *e = hf_dirty_next(set, 0);
	u64 since = e ? e->since : 0;

	if (set->wholes && (!since || set->since < since))
		since = set->since;
	return since;
}
