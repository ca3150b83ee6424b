// SPDX-License-Identifier: GPL-2.0-or-later
/* How often it is tried to get a cut (capture.c, group.c). */
#include "replicator.h"

#define ROUNDS 5
/* A round with so many names in it is one of a burst, which has an end; it is waited for so long. */
#define BURST 32
#define BURST_MS 1000

void rounds_begin(struct rounds *t, uint64_t patience_ms)
{
	uint64_t now = hf_now_ms();

	*t = (struct rounds){ .until = now + patience_ms, .from = now };
	t->burst = patience_ms && patience_ms < BURST_MS ? t->until : now + BURST_MS;
}

/* the first round always collects; afterwards only what moved */
enum verdict rounds_look(struct rounds *t, bool still)
{
	if (t->n++ && still)
		return ROUND_SETTLED;
	if (t->tries >= ROUNDS && hf_now_ms() >= t->until)
		return ROUND_ENOUGH;
	t->pause_ms = t->tries < ROUNDS ? 0 : t->tries < 20 ? 1 : 10;
	return ROUND_AGAIN;
}

void rounds_worked(struct rounds *t, size_t work)
{
	uint64_t now = hf_now_ms(), took = now - t->from;

	t->tries += work < BURST || now >= t->burst;
	/* longer than the one before: it falls ever further behind, and others wait */
	if (now >= t->burst && t->took && took >= t->took)
		t->tries = t->tries > ROUNDS ? t->tries : ROUNDS;
	t->took = took ? took : 1;
	t->from = now;
}
