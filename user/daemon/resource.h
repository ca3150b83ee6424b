/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A resource as this node knows it, its worker thread and its queue of jobs. */
#ifndef HFD_RESOURCE_H
#define HFD_RESOURCE_H

#include <pthread.h>
#include <stdatomic.h>
#include "daemon.h"
#include "journal.h"
#include "state.h"

struct req;
struct resource;
struct place;
struct follow;

/* One checkpoint that is open on this node. Belongs to the worker. */
struct ckpt {
	uint32_t id;
	char *path;		/* as registered */
	char *root;		/* the node's root with the view's below it */
	char *local;		/* path below root, expanded */
	bool crypto, file;
	unsigned flags;		/* HF_TREE_* */
	char **exclude;
	unsigned nexclude;
	char *mount;		/* as registered */
	struct hf_tree *tree;
	struct hf_watch *watch;
	struct place *place;
	bool lost;		/* the root is gone; said once */
	bool seed;		/* the log has nothing of it yet */
	bool scanned;		/* by the capture that runs */
	bool whole;		/* confirmed as a whole since it is tracked: only what is dirty is news */
	struct guard {		/* guard.c */
		uint64_t ref, gen;	/* entries it had, in which generation, */
		uint64_t ms;		/* and when that was; 0: not known */
		uint64_t gone, wait_ms;	/* of them when looked at last; since when the end of it is waited for */
		bool held;		/* it holds the commit back */
	} guard;
	uint64_t taken_out;	/* entries that the transaction deletes because they are excluded now */
	bool made;		/* its root was made for the restore */
	unsigned made_up;	/* directories above it that were */
	uint64_t outside;	/* files with names outside of it, when that was last told */
};

/* Work for a worker, and what became of it. */
struct group;
struct job {
	struct job *next;
	unsigned refs;		/* atomic: the one who waits, and the queue */
	int (*fn)(struct resource *r, struct job *j);
	/* in */
	bool fenced, dry_run, keep_local, allow_empty, without_store;
	bool rollback;		/* what is confirmed need not be kept aside */
	struct hf_log *undone;	/* the generation of a rollback that failed: what it wrote need not be, either */
	bool anew;		/* a log that cannot be read need not be adopted (rebuild.c) */
	uint64_t to_gen;
	char who[128];		/* asked for it */
	bool quick, allow_delete, strict;
	char pin[HF_NAME_MAX + 1];	/* its name */
	uint64_t pin_gen;		/* 0: unpin */
	struct group *group;		/* a reference; NULL none */
	unsigned member;		/* which of it the resource is */
	uint64_t deadline_ms;	/* hf_now_ms(); 0 none */
	uint64_t timeout_ms;	/* what it was made of */
	uint64_t conn;		/* receives progress; 0 none */
	/* out */
	bool done;
	bool pends;		/* may still time out; under r->lock */
	bool expired;		/* it did: the resource is failed */
	char late[256];		/* why it says it is */
	const char *step;	/* what it is at meanwhile */
	int ret;
	struct hf_err err;
	bool already, spooled, consistent, committed;
	uint64_t epoch, gen;
	struct hf_restore_stat restored;
	struct json_object *displaced;	/* array of ids, or NULL */
	struct json_object *stayed;	/* array of paths, or NULL */
	struct json_object *changes;	/* dry run */
	size_t names;			/* bytes of them in it */
	struct rebuilt { bool unreadable; uint64_t damaged, oldest, generations; } rebuilt;
	struct json_object *paths, *pins;	/* rebuild: arrays, or NULL: what was damaged; pins that went */
	uint64_t ms_claim, ms_track, ms_restore, ms_total;
	uint64_t warm_gen, claim_bytes;	/* it went on from there; what the claim read */
	uint64_t claim_read_ns, restore_read_ns;	/* of it waiting for the store */
	char note[256];
};

/* account.c */
#define HF_LAGS 12
struct account {
	uint64_t commits, fuzzy, commit_ms, lag_ms, lag[HF_LAGS], late;
	uint64_t failures, failure_ms, takeovers, takeover_ms;
	uint64_t when_ms;	/* of the newest generation, by the wall clock; 0 not known */
	uint64_t rpo_ms;
	/* what the record has; at_ms 0: all of it */
	struct { uint64_t commits, fuzzy, lag_ms, lag_max_ms, late, failures, at_ms, when_ms; } told;
};

struct resource {
	struct resource *next;	/* table */
	char name[HF_NAME_MAX + 1];
	unsigned refs;		/* atomic */

	pthread_mutex_t lock;
	pthread_cond_t wake;	/* the worker */
	pthread_cond_t done;	/* those who wait for jobs */
	pthread_t thread;
	bool running, quit, gone;

	/* under lock */
	enum rstate state;
	char error[512];	/* why failed */
	struct job *jobs, **jobs_tail;
	struct job *job;	/* the one that is worked on */
	uint64_t asker;		/* connection of who registers what a reload captures; 0 */
	bool reload;		/* the registrations changed */
	bool moving;		/* a job of move.c is queued or runs */
	bool soiled, urgent;	/* there are changes; some were completed */
	uint64_t soiled_ms;
	struct regs *regs;	/* as published */
	struct ckpt **cp;	/* written by the worker under lock, read by it without */
	unsigned ncp;
	bool live;		/* owner, tracked */
	uint64_t epoch, gen, confirmed;
	bool consistent, degraded, stale, unreleased, without_store;
	char warn_guard[512], warn_commit[256], warn_other[256];
	char warn_behind[256];	/* by the heartbeat */
	uint64_t short_from;	/* hf_log_short() */
	uint32_t refused_id;	/* the checkpoint that was taken back last, and why */
	char refused_why[256];
	struct journal j;	/* as last written */
	struct hf_log_stat st;	/* by the heartbeat */
	bool st_valid;

	struct account account;

	/* the worker's alone */
	struct hf_log *log;
	bool log_broken;	/* must be claimed anew */
	uint64_t log_tried_gen;	/* the newest generation that may have become durable */
	bool need_scan;
	bool forget;		/* what is no checkpoint any more leaves the log with the next commit */
	unsigned failures;
	uint64_t retry_ms, last_commit_ms, last_dur_ms, prev_dur_ms, scrub_ms;
	uint64_t fuzzy_ms;	/* how long the last wait for a cut was */
	const char *work;	/* what it goes through, for progress_scan() */
	uint64_t work_done, work_total, told_ms;
	uint64_t mapped_ms;	/* when to look again at what changes without a sign; 0 nothing does */
	uint64_t noted, note_retry_ms;	/* generation that the row tells of */
	uint64_t reload_ms, reload_wait_ms;	/* when a reload that failed is tried again; 0 none did */
	uint64_t base_ms;	/* wanted since; 0 not */
	uint64_t base_retry_ms;
	bool rebase;		/* also where the log itself does not want one */
	bool base_part;		/* a part of it was done: a commit may come first now */
	bool quiet;		/* what it does now is no change of state to others */
	uint64_t spool_ms;	/* when to try to end what was stopped without the store */
	bool examine;		/* fenced out: compare what is here */
	uint64_t examine_ms;
	uint64_t examine_wait_ms;	/* between two tries; 0 the first is still to come */

	uint64_t oldest_ns;	/* account_oldest() when the capture began */
	uint64_t overdue_ms;	/* alarm.c, under lock: longer than rpo a change waits at least for that; 0 none does */
	uint64_t hook_ms;	/* hooks.c: when it is told of a commit next, or was last */

	struct follow *follow;	/* what is kept of another's log (follow.c) */

	atomic_ullong busy;	/* hf_now_ms() when it began to wait for the store; 0 */
	atomic_ullong in_tree;	/* of a group: hf_now_ms() when it last went on in its trees; 0 it is not in them */
};

/* resource.c */
struct resource *resource_get(const char *name);	/* NULL: not registered, nothing here */
void resource_put(struct resource *r);
/* called with every resource, by reference, without the table's lock */
void resources_each(void (*fn)(struct resource *r, void *arg), void *arg);
void resources_publish(struct regs *n);
struct resource *resource_make(const char *name);	/* also if it is not registered (any more) */
void resource_kick(struct resource *r);			/* wake the worker */
int resource_start(struct resource *r, struct hf_err *err);
/* the only way from one state to another; @why is for people, and needed for a failure */
void resource_event(struct resource *r, enum revent ev, const char *why);
/* its two halves, for who has r->lock: the step is made with it, and told without */
struct passage { int from, to; };
struct passage resource_step(struct resource *r, enum revent ev, const char *why);
void resource_tell(struct resource *r, struct passage p, enum revent what, const char *why);
void resource_notify(void *arg, bool urgent);		/* hf_notify_fn */
/* the worker's view of its registration; regs_put() *pin after use; NULL: not registered */
const struct hf_resource *resource_def(struct resource *r, struct regs **pin);
int owner_now(const struct hf_logid *id, struct hf_log_stat *st, struct hf_err *err);
void resource_refresh(struct resource *r);
void resource_policy(struct resource *r, struct hf_policy *p);
int resource_journal(struct resource *r, enum journal_state s, uint64_t epoch, uint64_t gen);
uint64_t resource_tracked(struct resource *r);	/* for journal.tracked; 0: not all are whole */
/* before a tree is added that may be given a number that the journal has already */
void resource_forget_tracked(struct resource *r);
void resources_stop(unsigned ms, bool flush);
bool resources_any_live(void);

/* job.c */
struct job *job_new(int (*fn)(struct resource *r, struct job *j));
void job_put(struct job *j);
/* queue it and wait: the job's own result is in j->ret and j->err. -ETIMEDOUT with @err: the
 * store does not answer, or the deadline passed; the work goes on. */
int job_run(struct resource *r, struct job *j, struct hf_err *err);
int job_post(struct resource *r, struct job *j, struct hf_err *err);	/* does not wait; takes the reference */
void job_finish(struct resource *r, struct job *j, int ret);	/* with r->lock held */
/* the worker goes on to @step; -ETIMEDOUT with @err when there is no time left for it */
int job_step(struct resource *r, struct job *j, const char *step, struct hf_err *err);
bool job_late(struct resource *r, struct job *j);	/* asked on the way */

/* group.c */
void group_put(struct group *g);

/* progress.c; the worker's */
/* @total: 0, not known */
void progress_tell(struct resource *r, const char *what, uint64_t done, uint64_t total);
struct treedb;
void progress_scan(struct resource *r, const char *what, struct treedb *db);	/* what goes through @db from now on */

/* ckpt.c */
char *node_root(const char *view, struct hf_err *err);
int ckpt_make(const struct hf_resource *def, const struct hf_checkpoint *cp, struct ckpt **out,
	      struct hf_err *err);
/* whether it is a single file: as registered, as the log has it, or as it is here */
bool ckpt_is_file(const struct ckpt *c, bool registered, struct hf_log *log);
int ckpt_open(struct ckpt *c, const struct hf_resource *def, bool create, struct hf_err *err);
void ckpt_untrack(struct ckpt *c);
void ckpt_free(struct ckpt *c);
/* the nearest directory above its path that is there; what of the path lies below it into *@rest */
int ckpt_open_above(const struct ckpt *c, const char **rest);
int ckpt_make_parents(struct ckpt *c, struct hf_err *err);
void ckpt_unmake(struct ckpt *c);	/* what was made for it and is empty */
bool ckpt_empty(struct ckpt *c);
int ckpt_stat(const struct ckpt *c, struct stat *st);	/* of what the path leads to; never out of root */
int ckpt_mount_check(struct ckpt *c, const char *resource, struct hf_err *err);
/* the resource's list, replaced as a whole; the worker only */
int ckpts_add(struct resource *r, struct ckpt *c);
void ckpts_drop(struct resource *r, unsigned i);
void ckpts_drop_all(struct resource *r);
void ckpts_leave(struct resource *r);	/* the daemon ends: the source goes on for its successor, if it can */
int ckpt_track(struct resource *r, struct ckpt *c, uint64_t known, struct hf_watch **w, struct hf_err *err);

/* patterns.c */
/* leave alone too what was excluded when @log's generation was captured, until no more */
int patterns_heed(struct ckpt *c, struct hf_log *log);
void patterns_heed_no_more(struct ckpt *c);
bool patterns_are(struct hf_log *log, const struct hf_checkpoint *cp);	/* its newest generation has those of @cp */

/* secret.c: whether @c, of a crypto checkpoint, is kept from others; HF_REFUSED with the reason */
int secret_check(struct ckpt *c, struct hf_err *err);

/* overlap.c */
int place_reserve(struct ckpt *c, const char *resource, struct hf_err *err);
int place_check(struct ckpt *c, const char *resource, struct hf_err *err);	/* only that it is nothing of our own */
/* what is registered of other resources and overlaps @cp here, online or not: an array of {resource, path} */
struct json_object *place_meets(const struct regs *regs, const struct hf_resource *def, const struct hf_checkpoint *cp);
void place_release(struct place *p);
/* for who only looks: where @c lies, or would lie if it were there. NULL: it cannot be told. place_release() after
 * use, before @c goes */
struct place *place_look(struct ckpt *c, const char *resource);
bool place_collides(const struct place *a, const struct place *b);	/* they cannot be online here at once */
/* whether nothing at or below directory @fd is in a tree that is online here; else HF_REFUSED */
int place_outside(int fd, const char *shown, struct hf_err *err);

/* move.c */
void move_look(struct resource *r);	/* the heartbeat's */

/* takeover.c */
int job_online(struct resource *r, struct job *j);
/* of a log that is damaged, by the node it was last owned by: begun anew from what is here */
int online_anew(struct resource *r, struct job *j);
int claim_anew(struct resource *r, const struct hf_resource *def, struct job *j, struct hf_err *err);	/* online already */
/* what resume.c goes on with */
enum mode {
	TAKE_OVER,	/* the log is the truth */
	RESUME,		/* this node was online until its daemon ended: the trees are */
};
int go_online(struct resource *r, struct job *j, enum mode mode);
int online_without_store(struct resource *r, struct job *j, bool resumed);	/* @resumed: it was vouched for before */
void leave_half(struct resource *r);
/* resume.c: at the daemon's start */
int job_resume(struct resource *r, struct job *j);
/* follow.c: standing by */
int follow_start(struct hf_err *err);
void follow_stop(void);
void follow_free(struct follow *f);
/* what is kept of the log, which is the caller's then; NULL: nothing, or it is being read just now
 * and the store does not answer */
struct hf_log *follow_take(struct resource *r);
void follow_give(struct resource *r, struct hf_log *log);	/* back; may be NULL */
struct json_object *follow_json(struct resource *r);		/* NULL: nothing to say */
/* offline.c */
int job_offline(struct resource *r, struct job *j);
void spool_retry(struct resource *r);
int job_reset(struct resource *r, struct job *j);
/* restore.c */
/* takeover-from: the log to restore from; *@from NULL: @log itself */
int choose_generation(struct resource *r, const struct hf_resource *def, struct job *j,
		      struct hf_log *log, struct hf_log **from, struct hf_err *err);
uint64_t displaced_warn(const char *resource, struct ckpt *c, const struct hf_displaced *keep);
int restore_all(struct resource *r, struct hf_log *from, struct job *j, struct hf_err *err);
int restore_would(struct resource *r, struct hf_log *from, struct job *j, struct hf_err *err);	/* into j->changes */
int online_dry_run(struct resource *r, struct job *j, struct hf_err *err);
/* rollback.c */
int job_rollback(struct resource *r, struct job *j);
/* rebuild.c */
int job_rebuild(struct resource *r, struct job *j);
/* it was cut short: what it may have claimed, the newest epoch then, stands on the trees that are here */
void rebuild_stands(struct resource *r, const struct hf_log_stat *st);
/* stale.c */
void step_down(struct resource *r, const char *why);
/* a term that cannot go on: nothing is tracked or captured any more; what is confirmed stands */
void give_up(struct resource *r, bool release);
void stale_examine(struct resource *r);
/* reload.c */
/* @all: why checkpoints were refused too, which those who asked may still want to read */
void forget_unregistered(struct resource *r, bool all);
void note_mounts(struct resource *r);
int checkpoints_reload(struct resource *r, struct hf_err *err);
int job_reload(struct resource *r, struct job *j);

/* hooks.c: told without waiting, from any thread, without r->lock */
enum hook_event {
	HOOK_ONLINE, HOOK_OFFLINE, HOOK_RESTORED, HOOK_COMMITTED, HOOK_STALE, HOOK_DEGRADED, HOOK_FAILED,
};
struct hook_counts { uint64_t runs, failed, timed_out, dropped, waiting, ms; };
void hooks_init(void);
void hooks_stop(unsigned ms);
void hook_run(struct resource *r, enum hook_event event, uint64_t gen, const char *why);
void hook_state(struct resource *r, enum rstate was, enum rstate now, const char *why);
void hooks_counted(struct hook_counts *c);

/* settled.c */
struct settled;
void settled_save(const char *resource, const uint8_t uuid[16], struct hf_log *log);
struct settled *settled_load(const char *resource, const uint8_t uuid[16]);
void settled_free(struct settled *s);
void settled_note(struct resource *r, struct hf_log *log);
/* marks of what the log has and was here then: it is compared by how it looks */
void settled_marks(struct settled *s, struct hf_log *log);
bool settled_has(const struct settled *s, const struct hf_item *it);	/* ... here, unless it was changed since */
size_t settled_bytes(const struct settled *s);
bool settled_is(const struct settled *s, uint32_t id, const char *rel, const struct hf_mark *now);

#endif
