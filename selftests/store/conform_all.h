/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conformance: all of it, for one kind of store. */
#include "conform_claim.h"
#include "conform_data.h"
#include "conform_fault.h"
#include "conform_storm.h"

static void conform(const struct backend *b, const char *only)
{
	static const struct { const char *name; void (*fn)(void); } t[] = {
		{ "by_hand", by_hand }, { "owner_alive", owner_alive_test }, { "paused", paused },
		{ "racing", racing }, { "identity", identity }, { "history", history }, { "first_base", first_base },
		{ "followed", followed }, { "parts", parts },
		{ "contents", contents }, { "space", space }, { "trimmed", trimmed }, { "full", full },
		{ "out_of_reach", out_of_reach }, { "wrong_key", wrong_key }, { "flipped", flipped }, { "storm", storm },
	};

	be = b;
	printf("# %s\n", b->name);
	for (size_t i = 0; i < HF_ARRAY(t); i++)
		if (!*only || !strcmp(only, t[i].name)) {
			printf("# %s: %s\n", b->name, t[i].name);
			fflush(stdout);
			t[i].fn();
		}
}
