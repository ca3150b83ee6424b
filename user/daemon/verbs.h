/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verbs of Documentation/socket.rst. */
#ifndef HFD_VERBS_H
#define HFD_VERBS_H

#include "server.h"

enum { V_READ = 1, V_MEMORY = 2 };

struct verb {
	const char *name;
	unsigned flags;		/* V_READ: read_group may; V_MEMORY: answers on the main thread */
	/* "name:s! type:s": s string, b bool, u duration in ms or number, l list of
	 * strings, o object of strings; ! required */
	const char *args;
	int (*fn)(struct req *q, struct hf_err *err);
};

extern const struct verb verbs_read[], verbs_store[], verbs_diff[], verbs_restore[], verbs_reg[], verbs_res[], verbs_node[],
	verbs_count[], verbs_doctor[], verbs_move[];	/* end with name NULL */

/* at the start: what node.remove was at when the daemon died */
void node_remove_resume(void);

/* the resource @name for a verb that hands it to a worker, as it was read last: with a store that
 * hangs too. NULL with @err; resource_put() after use */
struct resource;
struct resource *verb_resource(const char *name, struct hf_err *err);
/* for a verb that answers from its registration: with all that any node had confirmed */
int verb_resource_now(const char *name, struct resource **out, struct hf_err *err);
/* the same with the registration itself, held by @pin; that and the resource are put after use also when it fails */
struct regs;
int verb_registered_now(const char *name, struct resource **out, struct regs **pin, const struct hf_resource **def,
			struct hf_err *err);
/* before anything is put into the directory @dir of this machine, that is there or not: that it is named by an
 * absolute path, and in no tree that is online here */
int verb_outside(const char *dir, struct hf_err *err);
struct json_object *res_json(struct resource *r);
struct json_object *verbs_nodes(void);
void verbs_put_health(struct json_object *o);	/* source of tracking, store */
struct json_object *cp_json(const struct hf_resource *def, const struct hf_checkpoint *cp);

#endif
