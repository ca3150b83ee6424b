/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The states of a resource on a node, and what leads from one to the next. */
#ifndef HFD_STATE_H
#define HFD_STATE_H

enum rstate { RS_OFFLINE, RS_ONLINE_PENDING, RS_ONLINE, RS_OFFLINE_PENDING, RS_FAILED, RS_COUNT };

enum revent {
	EV_BEGIN,	/* going online has begun */
	EV_READY,	/* owned, restored, tracked, confirmed */
	EV_REFUSED,	/* it does not go online; what is here is as it was */
	EV_BROKEN,	/* half restored, or commits fail beyond what is tolerated */
	EV_STOP,	/* going offline has begun */
	EV_STOPPED,	/* released, or put off until the store answers */
	EV_KEPT,	/* the stop failed, and strict-stop is set, or it was to be moved */
	EV_FENCED,	/* a newer epoch exists */
	EV_TIMEOUT,	/* not done within the time that was given */
	EV_RESET,	/* an administrator leaves the failure; nothing is owned here */
	EV_REGAIN,	/* the same, of one that is still owned and tracked here */
	EV_COUNT
};

const char *rstate_name(enum rstate s);
const char *revent_name(enum revent ev);
/* where @ev leads from @s; negative: it cannot happen there */
int rstate_next(enum rstate s, enum revent ev);

#endif
