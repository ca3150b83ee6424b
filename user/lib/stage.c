// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A commit is read record by record, and counts when its last one was: parts of one that never
 * came to its end are forgotten, as the next one says that it begins.
 */
#include "state.h"
#include <stdlib.h>

struct staged { struct hf_buf ops; uint64_t tail; uint32_t slot; };

void stage_drop(struct staging *s)
{
	for (size_t i = 0; i < s->n; i++)
		hf_buf_free(&s->v[i].ops);
	free(s->v);
	s->v = NULL;
	s->n = 0;
}

size_t stage_bytes(const struct staging *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += sizeof(*s->v) + s->v[i].ops.cap;
	return n;
}

int stage_rec(struct staging *s, const struct hf_rec *r)
{
	struct staged *v;
	int ret;

	if (s->n && (s->epoch != r->epoch || s->kind != r->kind || (r->flags & HF_REC_FIRST)))
		stage_drop(s);
	s->epoch = r->epoch;
	s->kind = r->kind;
	v = realloc(s->v, (s->n + 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	s->v = v;
	v += s->n;
	*v = (struct staged){ .ops = HF_BUF_INIT, .tail = r->tail, .slot = r->slot };
	ret = codec_unpack(r, &v->ops);
	if (ret) {
		hf_buf_free(&v->ops);
		return ret;
	}
	s->n++;
	return !(r->flags & HF_REC_PART);
}

int stage_play(struct staging *s, uint64_t gen, struct codec_fn fn)
{
	struct codec_part part = { 0 };
	int ret = 0;

	fn.part = &part;
	for (size_t i = 0; i < s->n && !ret; i++)
		ret = codec_each(s->v[i].ops.p, s->v[i].ops.len, s->v[i].slot, s->v[i].tail, gen, &fn);
	stage_drop(s);
	if (!ret && part.e)
		ret = -EBADMSG;
	codec_part_drop(&part);
	return ret;
}
