// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * W17: every event in every state. The daemon's table against the one that is
 * written down for people, in Documentation/states.rst, and against what has to
 * hold of any such table.
 */
#include "../tap.h"
#include "../../user/daemon/state.c"
#include <stdbool.h>
#include <string.h>

static int state_of(const char *name)
{
	for (int s = 0; s < RS_COUNT; s++)
		if (!strcmp(name, rstate_name(s)))
			return s;
	return strcmp(name, "never") ? -2 : -1;
}

static const char *cell(int s)
{
	return s < 0 ? "never" : rstate_name(s);
}

/* the rows of the documented table; how many were compared */
static int documented(const char *file)
{
	char line[256], word[RS_COUNT + 1][32];
	int order[RS_COUNT], rows = 0;
	bool in = false;
	FILE *f = fopen(file, "r");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%31s %31s %31s %31s %31s %31s", word[0], word[1], word[2], word[3], word[4],
			   word[5]) != RS_COUNT + 1) {
			in = false;
			continue;
		}
		if (!strcmp(word[0], "event")) {
			in = true;
			for (int i = 0; i < RS_COUNT; i++)
				order[i] = state_of(word[i + 1]);
			continue;
		}
		if (line[0] == '=')
			in &= !rows;
		if (!in || line[0] == '=')
			continue;
		int ev = 0;

		while (ev < EV_COUNT && strcmp(word[0], revent_name(ev)))
			ev++;
		if (!ok(ev < EV_COUNT, "the documented event %s is one", word[0]))
			continue;
		rows++;
		for (int i = 0; i < RS_COUNT; i++) {
			int got = order[i] < 0 ? -3 : rstate_next(order[i], ev);

			if (!ok(got == state_of(word[i + 1]), "W17: %s, %s: %s", order[i] < 0 ? "?" : rstate_name(order[i]),
				word[0], word[i + 1]))
				printf("# the daemon goes to %s\n", cell(got));
		}
	}
	fclose(f);
	return rows;
}

/* which states can be reached from @from, as bits */
static unsigned reach(int from)
{
	unsigned seen = 1u << from, was;

	do {
		was = seen;
		for (int s = 0; s < RS_COUNT; s++)
			for (int ev = 0; ev < EV_COUNT && seen & 1u << s; ev++)
				if (rstate_next(s, ev) >= 0)
					seen |= 1u << rstate_next(s, ev);
	} while (seen != was);
	return seen;
}

int main(int argc, char **argv)
{
	is(documented(argc > 1 ? argv[1] : "Documentation/states.rst"), EV_COUNT, "every event is documented");
	for (int s = 0; s < RS_COUNT; s++) {
		bool leads = true;

		for (int ev = 0; ev < EV_COUNT; ev++)
			leads &= rstate_next(s, ev) >= -1 && rstate_next(s, ev) < RS_COUNT;
		ok(leads, "%s: every event leads to a state, or nowhere", rstate_name(s));
		is(reach(s), (1u << RS_COUNT) - 1, "every state can be reached from every other one");
		is(rstate_next(s, EV_FENCED), RS_OFFLINE, "P4: whoever is fenced out owns nothing, whatever it was at");
	}
	ok(rstate_next(RS_ONLINE_PENDING, EV_TIMEOUT) == RS_FAILED && rstate_next(RS_OFFLINE_PENDING, EV_TIMEOUT) == RS_FAILED,
	   "what pends can time out");
	ok(rstate_next(RS_FAILED, EV_RESET) == RS_OFFLINE && rstate_next(RS_FAILED, EV_REGAIN) == RS_ONLINE,
	   "a failure can be left");
	for (int s = 0; s < RS_COUNT; s++)
		ok(s == RS_ONLINE_PENDING || rstate_next(s, EV_READY) < 0, "P5: nothing is ready that was not on its way (%s)",
		   rstate_name(s));
	return tap_done();
}
