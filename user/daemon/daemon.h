/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all parts of holdfastd share, and the small parts that have no header of their own. */
#ifndef HFD_DAEMON_H
#define HFD_DAEMON_H

#include <pthread.h>
#include <stdio.h>
#include <json-c/json.h>
#include <systemd/sd-event.h>
#include "conf.h"
#include "crypto.h"
#include "log.h"
#include "reg.h"
#include "store.h"
#include "track.h"
#include "tree.h"

/* Set up by main() before any other thread runs, then read only. */
struct hfd {
	struct hf_conf *conf;
	struct hf_keys *keys;
	struct hf_identity id;
	struct hf_store *store;
	struct hf_track *track;
	sd_event *event;
	char *socket_path;
	char *displaced_dir;
	char *journal_dir;
	char cluster[HF_NAME_MAX + 1];
	unsigned lease_ms, beat_ms;
	char host[HF_NAME_MAX + 1];
	char incarnation[37];
};
extern struct hfd hfd;

/* Joined if it ends within @ms; one that hangs is left behind. */
static inline bool thread_ends(pthread_t t, unsigned ms)
{
	struct timespec ts;

	hf_deadline(&ts, ms);
	return !pthread_clockjoin_np(t, NULL, CLOCK_MONOTONIC, &ts);
}

/* caps.c */
int caps_keep(struct hf_err *err);

/* halt.c: without a daemon and a store; needs state_dir's lock */
int halt(const char *name, struct hf_err *err);

/* post.c: work handed to the main loop from any thread */
int post_init(sd_event *e);
void post_exit(void);
void post(void (*fn)(void *arg), void *arg);

/* beat.c: the heartbeat, and what is known of the store from memory */
int beat_start(struct hf_err *err);
void beat_stop(void);
bool beat_lost(void);		/* another incarnation holds the identity */
/* "ok", or a sentence that says for how long the store has been silent; malloc'ed */
char *beat_store_text(void);
uint64_t beat_silent_ms(void);	/* since the store answered last */
unsigned beat_nodes(struct hf_node_info *arr, unsigned max);

/* regs.c: the registrations as last read, shared by reference */
struct regs {
	unsigned refs;		/* atomic */
	struct hf_reg *reg;
};
struct regs *regs_get(void);	/* NULL before the first load */
void regs_put(struct regs *r);
int regs_reload(struct hf_err *err);	/* reads the store, publishes */
/* the same, unless @row, just read, is as it was then */
int regs_follow(const struct hf_log_stat *row, struct hf_err *err);
/* every change that was confirmed before this call is known here after it; mostly one read */
int regs_refresh(struct hf_err *err);
void regs_tell_store(void);
const struct hf_resource *regs_find(const struct regs *r, const char *name);

/* tracker.c: the thread that drains the tracker */
int tracker_start(struct hf_err *err);
void tracker_stop(void);
void tracker_calm(int delta);	/* 1 while a restore runs, -1 after it */
/* forget the trees that an earlier daemon left in the module and no resource will take up again */
void tracker_reap(void);


/* jutil.c */
struct json_object *jobj(void);
void jstr(struct json_object *o, const char *key, const char *s);	/* NULL gives null */
void jbytes(struct json_object *o, const char *key, const char *s);	/* hf_printable() */
void ju64(struct json_object *o, const char *key, uint64_t v);
void jbool(struct json_object *o, const char *key, bool v);
const char *jget_str(struct json_object *o, const char *key);	/* NULL when absent */
bool jget_bool(struct json_object *o, const char *key);
uint64_t jget_u64(struct json_object *o, const char *key);
bool jhas(struct json_object *o, const char *key);

#endif
