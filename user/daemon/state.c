// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state machine of a resource on a node: this table, drawn in
 * Documentation/states.rst. It knows no resource; resource_event() keeps to it.
 */
#include "state.h"

#define NEVER (-1)

static const char *const states[RS_COUNT] = {
	[RS_OFFLINE] = "offline", [RS_ONLINE_PENDING] = "online-pending", [RS_ONLINE] = "online",
	[RS_OFFLINE_PENDING] = "offline-pending", [RS_FAILED] = "failed",
};

static const char *const events[EV_COUNT] = {
	[EV_BEGIN] = "begin", [EV_READY] = "ready", [EV_REFUSED] = "refused", [EV_BROKEN] = "broken",
	[EV_STOP] = "stop", [EV_STOPPED] = "stopped", [EV_KEPT] = "kept", [EV_FENCED] = "fenced",
	[EV_TIMEOUT] = "timeout", [EV_RESET] = "reset", [EV_REGAIN] = "regain",
};

/* what a late event finds failed stays failed, until somebody leaves it */
static const signed char next[RS_COUNT][EV_COUNT] = {
	[RS_OFFLINE] = {
		[EV_BEGIN] = RS_ONLINE_PENDING, [EV_READY] = NEVER, [EV_REFUSED] = RS_OFFLINE,
		[EV_BROKEN] = NEVER, [EV_STOP] = NEVER, [EV_STOPPED] = RS_OFFLINE, [EV_KEPT] = NEVER,
		[EV_FENCED] = RS_OFFLINE, [EV_TIMEOUT] = NEVER, [EV_RESET] = RS_OFFLINE, [EV_REGAIN] = NEVER,
	},
	[RS_ONLINE_PENDING] = {
		[EV_BEGIN] = RS_ONLINE_PENDING, [EV_READY] = RS_ONLINE, [EV_REFUSED] = RS_OFFLINE,
		[EV_BROKEN] = RS_FAILED, [EV_STOP] = NEVER, [EV_STOPPED] = NEVER, [EV_KEPT] = NEVER,
		[EV_FENCED] = RS_OFFLINE, [EV_TIMEOUT] = RS_FAILED, [EV_RESET] = NEVER, [EV_REGAIN] = NEVER,
	},
	[RS_ONLINE] = {
		[EV_BEGIN] = NEVER, [EV_READY] = NEVER, [EV_REFUSED] = NEVER,
		[EV_BROKEN] = RS_FAILED, [EV_STOP] = RS_OFFLINE_PENDING, [EV_STOPPED] = NEVER, [EV_KEPT] = NEVER,
		[EV_FENCED] = RS_OFFLINE, [EV_TIMEOUT] = NEVER, [EV_RESET] = NEVER, [EV_REGAIN] = RS_ONLINE,
	},
	[RS_OFFLINE_PENDING] = {
		[EV_BEGIN] = NEVER, [EV_READY] = NEVER, [EV_REFUSED] = NEVER,
		[EV_BROKEN] = RS_FAILED, [EV_STOP] = NEVER, [EV_STOPPED] = RS_OFFLINE, [EV_KEPT] = RS_ONLINE,
		[EV_FENCED] = RS_OFFLINE, [EV_TIMEOUT] = RS_FAILED, [EV_RESET] = NEVER, [EV_REGAIN] = NEVER,
	},
	[RS_FAILED] = {
		[EV_BEGIN] = RS_ONLINE_PENDING, [EV_READY] = NEVER, [EV_REFUSED] = RS_FAILED,
		[EV_BROKEN] = RS_FAILED, [EV_STOP] = RS_OFFLINE_PENDING, [EV_STOPPED] = RS_OFFLINE,
		[EV_KEPT] = RS_FAILED, [EV_FENCED] = RS_OFFLINE, [EV_TIMEOUT] = NEVER, [EV_RESET] = RS_OFFLINE,
		[EV_REGAIN] = RS_ONLINE,
	},
};

const char *rstate_name(enum rstate s)
{
	return states[s];
}

const char *revent_name(enum revent ev)
{
	return events[ev];
}

int rstate_next(enum rstate s, enum revent ev)
{
	return next[s][ev];
}
