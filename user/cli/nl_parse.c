// SPDX-License-Identifier: GPL-2.0-or-later
/* The attributes of the module's messages, as JSON objects. */
#include "nl_parse.h"
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uapi/linux/holdfast.h>

const struct nla_policy nl_policy[HOLDFAST_A_MAX + 1] = {
	[HOLDFAST_A_TREE_ID] = { .type = NLA_U32 },
	[HOLDFAST_A_RESOURCE] = { .type = NLA_STRING },
	[HOLDFAST_A_CONSUMER] = { .type = NLA_STRING },
	[HOLDFAST_A_TREE_FLAGS] = { .type = NLA_U32 },
	[HOLDFAST_A_SEQ] = { .type = NLA_U64 },
	[HOLDFAST_A_DIRTY] = { .type = NLA_U64 },
	[HOLDFAST_A_MARKS] = { .type = NLA_U64 },
	[HOLDFAST_A_SINCE] = { .type = NLA_U64 },
	[HOLDFAST_A_DEVICE] = { .type = NLA_U32 },
	[HOLDFAST_A_INODE] = { .type = NLA_U64 },
	[HOLDFAST_A_NUMBER] = { .type = NLA_U64 },
	[HOLDFAST_A_CHANGE] = { .type = NLA_NESTED },
	[HOLDFAST_A_VERSION] = { .type = NLA_STRING },
	[HOLDFAST_A_ABI] = { .type = NLA_U32 },
	[HOLDFAST_A_TREES] = { .type = NLA_U32 },
	[HOLDFAST_A_DIRTY_BYTES] = { .type = NLA_U64 },
	[HOLDFAST_A_DIRTY_MAX] = { .type = NLA_U64 },
	[HOLDFAST_A_MARKS_MAX] = { .type = NLA_U64 },
	[HOLDFAST_A_QUALITY] = { .type = NLA_U32 },
	[HOLDFAST_A_STORES] = { .type = NLA_U32 },
};

static const struct nla_policy change_policy[HOLDFAST_A_CHANGE_MAX + 1] = {
	[HOLDFAST_A_CHANGE_ID] = { .type = NLA_U64 },
	[HOLDFAST_A_CHANGE_SEQ] = { .type = NLA_U64 },
	[HOLDFAST_A_CHANGE_OPS] = { .type = NLA_U32 },
	[HOLDFAST_A_CHANGE_STATE] = { .type = NLA_U32 },
	[HOLDFAST_A_CHANGE_PID] = { .type = NLA_U32 },
	[HOLDFAST_A_CHANGE_UID] = { .type = NLA_U32 },
	[HOLDFAST_A_CHANGE_LOGINUID] = { .type = NLA_U32 },
	[HOLDFAST_A_CHANGE_COMM] = { .type = NLA_STRING },
	[HOLDFAST_A_CHANGE_SINCE] = { .type = NLA_U64 },
};

struct json_object *text_of_bytes(const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	char *s = malloc(4 * n + 1), *q = s;
	struct json_object *o;

	if (!s)
		return NULL;
	while (n) {
		char one[5] = "";
		size_t len;

		/* the shortest that is a character */
		for (len = 1; len <= 4 && len <= n; len++) {
			memcpy(one, p, len);
			if (p[0] && p[0] != '\\' && arg_text_ok(one))
				break;
		}
		if (len > 4 || len > n) {
			len = 1;
			q += sprintf(q, "\\x%02x", *p);
		} else {
			q = mempcpy(q, p, len);
		}
		p += len;
		n -= len;
	}
	o = json_object_new_string_len(s, q - s);
	free(s);
	return o;
}

static void add(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static void add_u32(struct json_object *o, const char *key, struct nlattr *a)
{
	if (a)
		add(o, key, nla_get_u32(a));
}

static void add_u64(struct json_object *o, const char *key, struct nlattr *a)
{
	if (a)
		add(o, key, nla_get_u64(a));
}

static void add_bytes(struct json_object *o, const char *key, struct nlattr *a)
{
	if (a)
		json_object_object_add(o, key, text_of_bytes(nla_data(a), nla_len(a)));
}

static void add_text(struct json_object *o, const char *key, struct nlattr *a)
{
	if (a)
		json_object_object_add(o, key, text_of_bytes(nla_data(a), strnlen(nla_data(a), nla_len(a))));
}

/* how long ago it was, of a time as the module tells it */
static void add_age(struct json_object *o, const char *key, struct nlattr *a)
{
	struct timespec ts;
	uint64_t now;

	if (!a || !nla_get_u64(a))
		return;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	now = ts.tv_sec * 1000000000ull + ts.tv_nsec;
	add(o, key, now > nla_get_u64(a) ? (now - nla_get_u64(a)) / 1000000 : 0);
}

/* bits that are not known, of a newer module, are told as a number */
static struct json_object *flags(uint32_t bits, const char *const *name)
{
	struct json_object *list = json_object_new_array();
	char b[16];

	for (unsigned i = 0; name[i]; i++) {
		if (bits & (1u << i))
			json_object_array_add(list, json_object_new_string(name[i]));
		bits &= ~(1u << i);
	}
	if (bits) {
		snprintf(b, sizeof(b), "0x%x", bits);
		json_object_array_add(list, json_object_new_string(b));
	}
	return list;
}

struct json_object *parse_version(struct nlattr *const *a)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "version", a[HOLDFAST_A_VERSION]);
	add_u32(o, "abi", a[HOLDFAST_A_ABI]);
	add_u32(o, "trees", a[HOLDFAST_A_TREES]);
	add_u64(o, "marks", a[HOLDFAST_A_MARKS]);
	add_u64(o, "marks_max", a[HOLDFAST_A_MARKS_MAX]);
	add_u64(o, "dirty_bytes", a[HOLDFAST_A_DIRTY_BYTES]);
	add_u64(o, "dirty_max", a[HOLDFAST_A_DIRTY_MAX]);
	add_u64(o, "seq", a[HOLDFAST_A_SEQ]);
	if (a[HOLDFAST_A_STORES])
		json_object_object_add(o, "stores", json_object_new_boolean(nla_get_u32(a[HOLDFAST_A_STORES])));
	return o;
}

/* one that is not known, of a newer module, is no promise of events */
static const char *quality(struct nlattr *a)
{
	return nla_get_u32(a) == HOLDFAST_QUALITY_EVENTS ? "events" : "scan";
}

struct json_object *parse_tree(struct nlattr *const *a)
{
	static const char *const name[] = { "lost", "moved", "coarse", "attached", "resumed", "excluding", NULL };
	struct json_object *o = json_object_new_object();
	uint32_t bits = a[HOLDFAST_A_TREE_FLAGS] ? nla_get_u32(a[HOLDFAST_A_TREE_FLAGS]) : 0;

	add_u32(o, "id", a[HOLDFAST_A_TREE_ID]);
	add_text(o, "resource", a[HOLDFAST_A_RESOURCE]);
	add_bytes(o, "path", a[HOLDFAST_A_PATH]);
	add_bytes(o, "file", a[HOLDFAST_A_FILE]);
	json_object_object_add(o, "flags", flags(bits & ~HOLDFAST_TREE_FLAG_STORES, name));
	if (a[HOLDFAST_A_QUALITY])
		json_object_object_add(o, "quality", json_object_new_string(quality(a[HOLDFAST_A_QUALITY])));
	json_object_object_add(o, "stores", json_object_new_boolean(bits & HOLDFAST_TREE_FLAG_STORES));
	add_text(o, "consumer", a[HOLDFAST_A_CONSUMER]);
	add_u64(o, "marks", a[HOLDFAST_A_MARKS]);
	add_u64(o, "dirty", a[HOLDFAST_A_DIRTY]);
	add_u64(o, "seq", a[HOLDFAST_A_SEQ]);
	add_age(o, "oldest_dirty_ms", a[HOLDFAST_A_SINCE]);
	add_u32(o, "device", a[HOLDFAST_A_DEVICE]);
	add_u64(o, "inode", a[HOLDFAST_A_INODE]);
	return o;
}

static void add_user(struct json_object *o, const char *number, const char *name, struct nlattr *a)
{
	struct passwd *pw;

	if (!a || nla_get_u32(a) == UINT32_MAX)
		return;
	add(o, number, nla_get_u32(a));
	pw = getpwuid(nla_get_u32(a));
	if (pw)
		json_object_object_add(o, name, text_of_bytes(pw->pw_name, strlen(pw->pw_name)));
}

struct json_object *parse_change(struct nlattr *change)
{
	static const char *const op[] = {
		"create", "modify", "close-write", "attrib", "delete", "moved-from", "moved-to", NULL,
	}, *const state[] = { "subtree", "open", "mapped", NULL };
	struct nlattr *a[HOLDFAST_A_CHANGE_MAX + 1];
	struct json_object *o;

	if (nla_parse_nested(a, HOLDFAST_A_CHANGE_MAX, change, change_policy) < 0)
		return NULL;
	o = json_object_new_object();
	add_u64(o, "id", a[HOLDFAST_A_CHANGE_ID]);
	add_u64(o, "seq", a[HOLDFAST_A_CHANGE_SEQ]);
	add_bytes(o, "rel", a[HOLDFAST_A_CHANGE_PATH]);
	json_object_object_add(o, "ops", flags(a[HOLDFAST_A_CHANGE_OPS] ? nla_get_u32(a[HOLDFAST_A_CHANGE_OPS]) : 0, op));
	json_object_object_add(o, "state", flags(a[HOLDFAST_A_CHANGE_STATE] ? nla_get_u32(a[HOLDFAST_A_CHANGE_STATE]) : 0,
						 state));
	add_u32(o, "pid", a[HOLDFAST_A_CHANGE_PID]);
	add_user(o, "uid", "user", a[HOLDFAST_A_CHANGE_UID]);
	add_user(o, "loginuid", "login", a[HOLDFAST_A_CHANGE_LOGINUID]);
	add_text(o, "comm", a[HOLDFAST_A_CHANGE_COMM]);
	add_age(o, "age_ms", a[HOLDFAST_A_CHANGE_SINCE]);
	return o;
}

struct json_object *parse_dirty(struct nlattr *const *a)
{
	return a[HOLDFAST_A_CHANGE] ? parse_change(a[HOLDFAST_A_CHANGE]) : NULL;
}
