/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What became of the groups that generations say they belong to, for who reads history. Reads the members' logs. */
#ifndef HFD_GROUP_LOOK_H
#define HFD_GROUP_LOOK_H

#include "daemon.h"

struct group_look;
struct group_look *group_look_new(struct regs *regs);	/* which stay the caller's; NULL: out of memory */
void group_look_free(struct group_look *l);
/* {id, complete, members:[{resource, generation, state}]} */
struct json_object *group_json(struct group_look *l, const struct hf_group *g);
/* what who restores the generation of @log has to know of its group; malloc'ed, NULL: it is of none */
char *group_note(struct regs *regs, struct hf_log *log);

#endif
