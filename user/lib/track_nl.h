/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside the kernel source: track_nlmsg.c takes messages of the module apart
 * and needs no kernel for it, track_nl.c sends and receives, track_walk.c marks
 * directories, track_kernel.c is the source.
 */
#ifndef HF_TRACK_NL_H
#define HF_TRACK_NL_H

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include "uapi/linux/holdfast.h"
#include "track_int.h"

/* track_nlmsg.c: nothing in a message is taken on trust; -EBADMSG */

struct hf_nlchange {
	uint64_t id, seq, since;
	uint32_t ops, state, pid, uid, login;
	const char *path;		/* not terminated */
	uint32_t len;
	char comm[16];
};

/* The attributes of any message of the family; what is not there is 0 or NULL. */
struct hf_nlmsg {
	uint8_t cmd;
	uint32_t tree, flags, abi, quality, stores;
	uint64_t seq, dirty, marks, since, number;
	const char *version, *consumer, *resource;
	unsigned int changes;
};
typedef int (*hf_nlchange_fn)(void *ctx, const struct hf_nlchange *c);
/** hf_nlmsg_parse() - @fn, if not NULL, for each change; its first failure is returned */
int hf_nlmsg_parse(const struct nlmsghdr *h, struct hf_nlmsg *m, hf_nlchange_fn fn, void *ctx);

/** hf_nlmsg_ok() - whether a whole message begins @h, of @len bytes; libmnl's own
 *  takes a length above 2 GiB for one below 0 */
static inline bool hf_nlmsg_ok(const struct nlmsghdr *h, int len)
{
	return len >= (int)sizeof(*h) && h->nlmsg_len >= sizeof(*h) && h->nlmsg_len <= (uint32_t)len;
}

struct hf_nlfamily { uint16_t id; uint32_t group; };
int hf_nlmsg_family(const struct nlmsghdr *h, struct hf_nlfamily *f);

struct hf_nlerror {
	int error;			/* 0 or a negative errno */
	uint32_t offset;		/* of the attribute at fault, from the request's header; 0 not told */
	char text[128];
};
/** hf_nlmsg_error() - of NLMSG_ERROR, or of NLMSG_DONE */
int hf_nlmsg_error(const struct nlmsghdr *h, struct hf_nlerror *e);

/* One message of the group. */
struct hf_nlevent {
	uint32_t tree;
	uint64_t number;		/* of the first change */
	unsigned int changes;
	bool urgent;			/* more than writes to what is open */
};
/** hf_nlmsg_events() - what one read of the group's socket gave; -EBADMSG: not
 *  all of it could be read, which is a loss */
int hf_nlmsg_events(const void *buf, size_t n, uint16_t family,
		    void (*fn)(void *ctx, const struct hf_nlevent *e), void *ctx);
/** hf_nlevent_gap() - whether events are missing before @e
 *  @next: the number that comes next in its tree, 0 when any may; moved on */
bool hf_nlevent_gap(uint64_t *next, const struct hf_nlevent *e);

/* track_nl.c */

struct hf_nl {
	struct mnl_socket *cmd, *events;
	pthread_mutex_t lock;		/* one request at a time: cmd, buf, req, error, family */
	struct hf_nlfamily family;
	uint32_t seq;
	char *buf, *req;
	struct hf_nlerror error;	/* of the last request */
	bool interrupted;		/* the last dump was not of one moment */
};
#define HF_NL_BUF 65536
#define HF_NL_REQ 16384

/** hf_nl_open() - -ENODEV: not loaded; -EPERM; -EPROTO: another ABI; each with @err */
int hf_nl_open(struct hf_nl *n, struct hf_err *err);
void hf_nl_close(struct hf_nl *n);
/** hf_nl_again() - after the module was loaded anew: find the family, join its group; n->lock held */
int hf_nl_again(struct hf_nl *n, struct hf_err *err);
/** hf_nl_begin() - a request for @cmd in n->req, for mnl_attr_put_*(); n->lock held */
struct nlmsghdr *hf_nl_begin(struct hf_nl *n, uint8_t cmd);
/**
 * hf_nl_call() - send what was begun, and receive; n->lock held
 * @dump: of many messages
 * @fn: for each message; its first failure is returned, after all were read
 *
 * Return: the module's error, -ETIMEDOUT when it does not answer
 */
int hf_nl_call(struct hf_nl *n, bool dump, int (*fn)(void *ctx, const struct nlmsghdr *h), void *ctx);
/** hf_nl_tree() - a request that has the number of a tree alone; @m: the answer, may be NULL; n->lock held */
int hf_nl_tree(struct hf_nl *n, uint8_t cmd, uint32_t tree, struct hf_nlmsg *m);

/* track_walk.c */

/** hf_nl_walk() - mark the directories at and below @rel, each before it is read
 *  @skipped: set when mount points were met, which are not entered
 *  Return: 0, also when what was there is gone or moves; else why not all is marked */
int hf_nl_walk(struct hf_nl *n, uint32_t tree, int rootfd, const char *rel, bool *skipped);
/** hf_nl_is_temp() - whether a component of @rel is a restore's temporary name */
bool hf_nl_is_temp(const char *rel);

#endif
