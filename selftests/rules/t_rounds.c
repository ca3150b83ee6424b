// SPDX-License-Identifier: GPL-2.0-or-later
/* When a capture gives up on a cut, by a clock that this file plays: a burst is waited for, what only grows is not. */
#include "../tap.h"
#include "../../user/daemon/replicator.h"

static uint64_t clock_ms = 1000;
static uint64_t fake_now(void) { return clock_ms; }
#define hf_now_ms() fake_now()
#include "../../user/daemon/rounds.c"

/* rounds until it is enough, each of which takes @by times as long as the one before; *at: when it was */
static unsigned rounds(double ms, double by, size_t work, unsigned settles, uint64_t patience, uint64_t *at)
{
	uint64_t from = clock_ms;
	struct rounds t;
	unsigned n = 0;

	rounds_begin(&t, patience);
	while (n < 1000 && rounds_look(&t, n && n == settles) == ROUND_AGAIN) {
		clock_ms += (uint64_t)ms + t.pause_ms;
		rounds_worked(&t, work);
		ms *= by;
		n++;
	}
	*at = clock_ms - from;
	return n;
}

int main(void)
{
	uint64_t at;

	is(rounds(2, 1, 3, 1, 0, &at), 1, "what holds still is a cut");
	is(rounds(2, 1, 3, 0, 0, &at), 5, "five rounds of a few names");
	ok(rounds(20, 1, 100, 30, 0, &at) == 30, "a burst is waited for");
	rounds(20, 1, 100, 0, 0, &at);
	ok(at < 1500, "for a second, and not much longer (%llu ms)", (unsigned long long)at);
	rounds(100, 2, 5000, 0, 0, &at);
	ok(at < 4000, "what takes twice as long each time is not followed for five rounds more (%llu ms)", (unsigned long long)at);
	rounds(3000, 1.5, 1, 0, 0, &at);
	ok(at < 9000, "nor a tree that takes seconds to look at, and grows (%llu ms)", (unsigned long long)at);
	is(rounds(3000, 0.1, 5000, 3, 0, &at), 3, "what gets shorter is, though its first round took long");
	rounds(100, 2, 5000, 0, 8000, &at);
	ok(at >= 8000, "who asked waits for as long as he said (%llu ms)", (unsigned long long)at);
	return tap_done();
}
