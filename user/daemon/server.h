/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket: connections, framing, credentials, answers. */
#ifndef HFD_SERVER_H
#define HFD_SERVER_H

#include "daemon.h"

/* One request. Made by the main thread, filled by whoever works on it, ended by
 * req_done(), from any thread. */
struct req {
	uint64_t conn;			/* which may be gone by then */
	bool root;			/* uid 0; else a member of read_group */
	uid_t uid;
	pid_t pid;
	const struct verb *verb;
	struct json_object *msg;	/* owns args */
	struct json_object *args;
	struct json_object *result;
	char *forced, who[128];		/* record.c */
	int ret;
	struct hf_err err;
	bool watch;			/* stays open and receives events */
	char watch_resource[HF_NAME_MAX + 1];
};

int server_start(struct hf_err *err);
void server_stop_accepting(void);
void server_exit(void);
void req_done(struct req *q);		/* takes @q */
/* an event for one connection, or for all that watch; both take @o, any thread */
void server_event(uint64_t conn, struct json_object *o);
void server_broadcast(const char *resource, struct json_object *o);
/* the same, for what somebody waits for: from here to the socket, if nothing told before is still on its way */
void server_tell(const char *resource, struct json_object *o);
bool server_watched(void);

/* verbs.c: a line from a client becomes a request, is checked, and runs */
void verbs_dispatch(uint64_t conn, bool root, bool reader, uid_t uid, pid_t pid,
		    const char *line, size_t len);
unsigned verbs_running(void);

#endif
