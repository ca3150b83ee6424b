// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Groups: generations of several logs that are one cut. Each member's generation puts an item that names
 * all of them, so whoever has one knows what the others must be; the group is whole when each of
 * them is there and names it. The item stays in later states, which do not belong to the group:
 * that of the generation it names for its own log alone counts.
 *
 *	&	u16 version (1), u16 zero, 16 bytes id, u32 members, u32 which of them this log is;
 *		for each: 16 bytes uuid of the log, u64 generation, blob name of the resource
 */
#include "log_int.h"
#include "names.h"
#include <stdlib.h>

static const char key[] = { GROUP_KEY };

bool group_is(const struct ent *e) { return e->keylen == sizeof(key) && *ent_key(e) == *key; }

int hf_log_group_put(struct hf_log *l, const struct hf_group *g, struct hf_err *err)
{
	struct hf_buf b = HF_BUF_INIT;
	int ret;

	hf_buf_u16(&b, 1);
	hf_buf_u16(&b, 0);
	hf_buf_put(&b, g->id, sizeof(g->id));
	hf_buf_u32(&b, g->n);
	hf_buf_u32(&b, g->self);
	for (unsigned i = 0; i < g->n; i++) {
		hf_buf_put(&b, g->m[i].log, sizeof(g->m[i].log));
		hf_buf_u64(&b, g->m[i].gen);
		hf_buf_blob(&b, g->m[i].name, strlen(g->m[i].name));
	}
	ret = b.bad ? -ENOMEM : hf_log_put(l, key, sizeof(key), b.p, b.len, NULL, NULL, err);
	if (ret == -ENOMEM)
		hf_fail(err, HF_FAILED, ret, "%s: out of memory", l->id.name);
	hf_buf_free(&b);
	return ret;
}

static int member_in(struct hf_rd *rd, struct hf_group_member *m)
{
	const uint8_t *log = hf_rd_bytes(rd, sizeof(m->log)), *name;
	uint32_t n;

	if (log)
		memcpy(m->log, log, sizeof(m->log));
	m->gen = hf_rd_u64(rd);
	name = hf_rd_blob(rd, &n);
	if (rd->bad || !n || n > HF_NAME_MAX)
		return -EBADMSG;
	memcpy(m->name, name, n);
	return hf_name_check(m->name, "resource", NULL) ? -EBADMSG : 0;
}

int group_in(const void *attr, uint32_t len, uint64_t gen, struct hf_group **out)
{
	struct hf_group *g;
	const uint8_t *id;
	struct hf_rd rd;
	uint32_t n, self;
	int ret = 0;

	*out = NULL;
	hf_rd_init(&rd, attr, len);
	if (hf_rd_u16(&rd) != 1)
		return rd.bad ? -EBADMSG : 0;	/* of a later version: no group that is known here */
	hf_rd_u16(&rd);
	id = hf_rd_bytes(&rd, sizeof(g->id));
	n = hf_rd_u32(&rd);
	self = hf_rd_u32(&rd);
	if (rd.bad || n > HF_GROUP_MAX || self >= n)
		return -EBADMSG;
	g = hf_alloc(sizeof(*g) + n * sizeof(g->m[0]));
	if (!g)
		return -ENOMEM;
	memcpy(g->id, id, sizeof(g->id));
	g->n = n;
	g->self = self;
	for (uint32_t i = 0; i < n && !ret; i++)
		ret = member_in(&rd, &g->m[i]);
	if (ret || g->m[self].gen != gen)
		free(g);
	else
		*out = g;
	return ret;
}

int hf_log_group(struct hf_log *l, struct hf_group **out)
{
	struct hf_item it;

	*out = NULL;
	return hf_log_get(l, key, sizeof(key), &it) ? group_in(it.attr, it.attrlen, l->gen, out) : 0;
}
