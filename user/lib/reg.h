/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Registrations: resources, their checkpoints and policies, kept in the log of
 * the cluster (row 0) that any node may change: claim, append, confirm,
 * release, and again from the start when another node was first.
 *
 * Items: key "r/NAME" a resource, "c/NAME/ID" a checkpoint of it; the
 * attributes are JSON objects with the member names used below. Unknown members
 * are kept.
 */
#ifndef HF_REG_H
#define HF_REG_H

#include "log.h"

struct hf_checkpoint {
	uint32_t id;		/* unique within its resource, never used again */
	char *path;		/* absolute, as given, %n and %i not yet replaced */
	char *view;		/* "native", … */
	bool crypto, file;	/* kind crypto; a single file */
	char **exclude; unsigned nexclude;	/* patterns, in order (pattern.h) */
	char *mount;		/* hf_tree_mounted() when it was first captured; NULL or "" none */
};

/* policies, with their defaults; `resource set` knows exactly these */
struct hf_policy {
	uint64_t settle_ms;		/* 5ms */
	uint64_t min_pause_ms;		/* 0 */
	uint64_t commit_timeout_ms;	/* 10s */
	unsigned tolerate;		/* 3 */
	bool exceed_failed;		/* on-exceed = degraded | failed */
	uint64_t rpo_ms;		/* 0: none */
	uint64_t retain_gens;		/* retain = 64 */
	uint64_t retain_age_s;		/* retain = 64,7d ; 0 none */
	bool takeover_consistent;	/* takeover-from = newest | consistent */
	bool owners_number;		/* owners = name | number */
	bool sockets_keep;		/* sockets = skip | keep */
	unsigned delete_guard_pct;	/* delete-guard = 50% ; 0 off */
	bool strict_stop;		/* no */
	bool managed;			/* no: by a cluster manager */
};

struct hf_resource {
	struct hf_logid id;	/* row and uuid of its log */
	char *name, *type;
	struct hf_policy policy;
	char *policy_json;	/* as set: {"settle":"5ms",…} */
	char move[HF_NAME_MAX + 1];	/* node that is asked to have it; "" none */
	char *unmoved;		/* why the last such request came to nothing, for who asked; NULL none */
	int unmoved_exit;
	struct hf_checkpoint *cp;
	unsigned ncp;
};

struct hf_reg {			/* immutable once loaded */
	uint64_t gen;
	struct hf_resource *res;	/* sorted by name */
	unsigned nres;
};

/** hf_reg_logid() - the log that holds the registrations */
void hf_reg_logid(struct hf_logid *id);
/** hf_reg_load() - read the registrations without claiming */
int hf_reg_load(struct hf_store *s, struct hf_reg **out, struct hf_err *err);
void hf_reg_free(struct hf_reg *r);
const struct hf_resource *hf_reg_find(const struct hf_reg *r, const char *name);

/** hf_reg_change() - claim the log, let @fn put and delete in it, commit, confirm,
 *  release; again when another node was first. @fn sees the state it changes, may be called
 *  several times, and stops all with a non-zero value. Ends within a stated
 *  bound (Documentation/claims.rst): -ETIMEDOUT. */
int hf_reg_change(struct hf_store *s, int (*fn)(void *ctx, struct hf_log *l, const struct hf_reg *now,
						struct hf_err *err),
		  void *ctx, const char *note, struct hf_err *err);

/* The changes. Each checks names and values (-EINVAL), and fails with
 * -ENOENT, -EEXIST as its verb must. */
int hf_reg_resource_add(struct hf_store *s, const char *name, const char *type, struct hf_err *err);
/** takes the resource's log (claim) first, so that a forgotten owner is fenced; -EBUSY when online on a live node */
int hf_reg_resource_delete(struct hf_store *s, const char *name, struct hf_err *err);
/** @key NULL: reset all to defaults; @value NULL: that one */
int hf_reg_resource_set(struct hf_store *s, const char *name, const char *const *keys,
			const char *const *values, unsigned n, struct hf_err *err);
/** hf_reg_resource_move() - ask that @node have it */
int hf_reg_resource_move(struct hf_store *s, const char *name, const char *node, struct hf_err *err);
/** hf_reg_resource_moved() - the request that @node have it is over, unless there is another one by now;
 *  @why: it came to nothing, which stays for who asked until there is a request again, or another word
 *  on none (@node ""); NULL it did not, or nobody wants to know */
int hf_reg_resource_moved(struct hf_store *s, const char *name, const char *node, const struct hf_err *why,
			  struct hf_err *err);
/** @cp->id is filled. Same path in the same or another view: -EEXIST. */
int hf_reg_checkpoint_add(struct hf_store *s, const char *resource, struct hf_checkpoint *cp,
			  struct hf_err *err);
int hf_reg_checkpoint_delete(struct hf_store *s, const char *resource, const char *path,
			     struct hf_err *err);
/** hf_reg_checkpoint_patterns() - what is left out of it from now on, instead of what was */
int hf_reg_checkpoint_patterns(struct hf_store *s, const char *resource, const char *path,
			       char *const *exclude, unsigned nexclude, struct hf_err *err);
int hf_reg_checkpoint_mount(struct hf_store *s, const char *resource, uint32_t id,
			    const char *mount, struct hf_err *err);

int hf_name_check(const char *name, const char *what, struct hf_err *err);	/* 1-63 of [A-Za-z0-9._@:+-], not starting with . or - */
/** hf_policy_parse() - one key=value into @p; -EINVAL says what would be right */
int hf_policy_parse(struct hf_policy *p, const char *key, const char *value, struct hf_err *err);
void hf_policy_default(struct hf_policy *p);
/** hf_policy_each() - every key with its value as hf_policy_parse() reads it; nonzero stops */
int hf_policy_each(const struct hf_policy *p, int (*fn)(void *ctx, const char *key, const char *value),
		   void *ctx);
/** hf_path_expand() - %n, %i, %% in a checkpoint's path; malloc'ed */
char *hf_path_expand(const char *path, const char *node, const char *resource);
/** hf_path_check() - absolute, normalised in place, none of /, /proc, /sys, /dev, nor @own (state, runtime dir): -EINVAL with why */
int hf_path_check(char *path, const char *const *own, struct hf_err *err);

#endif
