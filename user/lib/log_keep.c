// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which generations are kept. The rules ask for the newest ones by number and by age; a
 * generation is read from a base at or before it, so all from that base on is kept.
 *
 * The owner notes when generations were committed and of which there is a base. Not
 * of all: what is not known only makes it keep more. A base tells its successors.
 */
#include "log_int.h"
#include <stdlib.h>

#define MARKS 256

/* Of the older half, every second: of the bases, and of the others. */
static void thin(struct hf_log *l)
{
	size_t n = 1, half = l->nmark / 2;
	unsigned seen[2] = { 0 };

	for (size_t i = 1; i < l->nmark; i++)
		if (i >= half || seen[l->mark[i].base]++ % 2)
			l->mark[n++] = l->mark[i];
	l->nmark = n;
}

void keep_note(struct hf_log *l, uint64_t gen, uint64_t when_ns, bool base)
{
	struct gen_mark *m = l->nmark ? &l->mark[l->nmark - 1] : NULL;

	if (m && m->gen >= gen) {
		if (m->gen == gen)
			m->base |= base;
		return;
	}
	if (!l->mark && !(l->mark = malloc(MARKS * sizeof(*l->mark))))
		return;
	if (l->nmark == MARKS)
		thin(l);
	l->mark[l->nmark++] = (struct gen_mark){ gen, when_ns, base };
}

uint64_t keep_when(const struct hf_log *l, uint64_t gen)
{
	for (size_t i = l->nmark; i-- && l->mark[i].gen >= gen; )
		if (l->mark[i].gen == gen)
			return l->mark[i].when_ns;
	return 0;
}

/* The oldest generation to be kept, so that those can be read that either rule wants: the newest
 * @gens beside the last one, and whatever was the newest state within the age. */
uint64_t keep_from(const struct hf_log *l, uint64_t gens)
{
	uint64_t now = hf_wall_ns(), age = l->retain_age_s * 1000000000ull;
	uint64_t want = l->gen > gens ? l->gen - gens : 0, old = 0, base = 0;

	if (age) {
		for (size_t i = 0; i < l->nmark; i++)
			if (l->mark[i].when_ns + age <= now)
				old = l->mark[i].gen;
		want = old < want ? old : want;
	}
	for (size_t i = 0; i < l->nmark && l->mark[i].gen <= want; i++)
		if (l->mark[i].base)
			base = l->mark[i].gen;
	return base;
}

void keep_forget(struct hf_log *l, uint64_t before)
{
	size_t n = 0;

	while (n < l->nmark && l->mark[n].gen < before)
		n++;
	l->nmark -= n;
	memmove(l->mark, l->mark + n, l->nmark * sizeof(*l->mark));
}

/* Beside the bases only an age needs them; the base's own generation is told in any case. */
void keep_out(const struct hf_log *l, struct hf_buf *b)
{
	for (size_t i = 0; i < l->nmark; i++)
		if (l->retain_age_s || l->mark[i].base || l->mark[i].gen == l->gen)
			codec_when(b, &l->mark[i]);
}

void hf_log_retain_age(struct hf_log *l, uint64_t seconds)
{
	l->retain_age_s = seconds < UINT64_MAX / 1000000000 / 4 ? seconds : UINT64_MAX / 1000000000 / 4;
}
