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
#include <linux/stringhash.h>
#include <linux/timekeeping.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>
#include <uapi/linux/holdfast.h>
#include "base.h"
#include "dirty.h"

static atomic_long_t bytes;

u64 hf_dirty_bytes(void)
{
	return atomic_long_read(&bytes);
}

u32 hf_name_hash(const char *name, u32 len)
{
	return full_name_hash(NULL, name, len);
}

static long entry_size(u32 len)
{
	return struct_size((struct hf_entry *)NULL, name, len);
}

struct hf_entry *hf_entry_alloc(u32 len, gfp_t gfp)
{
	long size = entry_size(len);
	struct hf_entry *e;

	if (atomic_long_add_return(size, &bytes) > READ_ONCE(hf_dirty_max))
		goto err_uncharge;
	e = kmalloc(size, gfp);
	if (!e)
		goto err_uncharge;
	hf_ledger_in(HF_ENTRY);
	e->len = len;
	return e;

err_uncharge:
	atomic_long_sub(size, &bytes);
	return NULL;
}

void hf_entry_free(struct hf_entry *e)
{
	if (!e)
		return;
	atomic_long_sub(entry_size(e->len), &bytes);
	hf_ledger_out(HF_ENTRY);
	kfree(e);
}

void hf_dirty_init(struct hf_dirty *set)
{
	memset(set, 0, sizeof(*set));
	set->by_id = RB_ROOT;
	INIT_LIST_HEAD(&set->news);
	INIT_LIST_HEAD(&set->whole);
}

/* The link to where a name is or would be; the entry, if it is there. */
static struct hf_entry *find(struct hf_names *dir, const struct hf_change *c,
			     struct rb_node ***linkp, struct rb_node **parentp)
{
	struct rb_node **link = &dir->names.rb_node, *parent = NULL;

	while (*link) {
		struct hf_entry *e = rb_entry(*link, struct hf_entry, by_name);
		int order;

		if (c->hash != e->hash)
			order = c->hash < e->hash ? -1 : 1;
		else if (c->len != e->len)
			order = c->len < e->len ? -1 : 1;
		else
			order = memcmp(c->name, e->name, c->len);
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
	rb_erase(&e->by_name, &e->dir->names);
	list_del(&e->news);
	set->count--;
	hf_entry_free(e);
}

static void who_is_it(struct hf_who *who)
{
	who->pid = task_tgid_nr(current);
	who->uid = from_kuid(&init_user_ns, current_uid());
	who->loginuid = from_kuid(&init_user_ns, audit_get_loginuid(current));
	/* its last byte is always 0, even while another thread renames it */
	memcpy(who->comm, current->comm, sizeof(who->comm));
}

static void scan_changed(struct hf_dirty *set, struct hf_names *dir)
{
	dir->scan_seq = set->seq = hf_seq_next();
	if (!set->scan_told)
		set->scan_news = true;
}

int hf_dirty_note(struct hf_dirty *set, struct hf_names *dir, const struct hf_change *c,
		  struct hf_entry **spare)
{
	struct rb_node **link, *parent;
	struct hf_entry *e;

	if (dir->scan_id) {
		scan_changed(set, dir);
		return 0;
	}
	e = find(dir, c, &link, &parent);
	if (!e) {
		e = *spare;
		if (!e)
			return -ENOENT;
		*spare = NULL;
		memcpy(e->name, c->name, c->len);
		e->hash = c->hash;
		e->dir = dir;
		e->ops = 0;
		e->told = 0;
		e->state = 0;
		e->since = ktime_get_boottime_ns();
		e->id = e->seq = set->seq = hf_seq_next();
		INIT_LIST_HEAD(&e->news);
		rb_link_node(&e->by_name, parent, link);
		rb_insert_color(&e->by_name, &dir->names);
		insert_last(set, e);
		set->count++;
	} else {
		e->seq = set->seq = hf_seq_next();
	}
	e->ops |= c->ops;
	e->state = (e->state & ~(c->clear & ~HOLDFAST_STATE_SUBTREE)) | c->set;
	who_is_it(&e->who);
	if ((e->ops & ~e->told) && list_empty(&e->news))
		list_add_tail(&e->news, &set->news);
	return 0;
}

void hf_dirty_scan(struct hf_dirty *set, struct hf_names *dir)
{
	u64 since = ktime_get_boottime_ns();
	struct rb_node *n;

	while ((n = rb_first(&dir->names))) {
		struct hf_entry *e = rb_entry(n, struct hf_entry, by_name);

		since = min(since, e->since);
		remove(set, e);
	}
	scan_changed(set, dir);
	set->since = set->scans ? min(set->since, since) : since;
	if (!dir->scan_id) {
		dir->scan_id = dir->scan_seq;
		list_add_tail(&dir->whole, &set->whole);
		set->scans++;
		set->count++;
	}
}

static void ack_whole(struct hf_dirty *set, struct hf_names *dir, u64 seq)
{
	if (!dir->scan_id || dir->scan_seq > seq)
		return;
	dir->scan_id = 0;
	list_del(&dir->whole);
	set->scans--;
	set->count--;
}

void hf_dirty_drop(struct hf_dirty *set, struct hf_names *dir)
{
	struct rb_node *n;

	while ((n = rb_first(&dir->names)))
		remove(set, rb_entry(n, struct hf_entry, by_name));
	ack_whole(set, dir, U64_MAX);
}

bool hf_dirty_ack(struct hf_dirty *set, u64 id, u64 seq)
{
	struct rb_node *n = set->by_id.rb_node;
	struct hf_names *dir;

	while (n) {
		struct hf_entry *e = rb_entry(n, struct hf_entry, by_id);

		if (id == e->id) {
			if (e->seq <= seq)
				remove(set, e);
			return true;
		}
		n = id < e->id ? n->rb_left : n->rb_right;
	}
	list_for_each_entry(dir, &set->whole, whole) {
		if (dir->scan_id == id) {
			ack_whole(set, dir, seq);
			return true;
		}
		if (dir->scan_id > id)
			break;
	}
	return false;
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

	if (set->scans && (!since || set->since < since))
		since = set->since;
	return since;
}
