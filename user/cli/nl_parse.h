/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between nl.c and nl_parse.c: attributes, by number, to objects. */
#ifndef HF_CLI_NL_PARSE_H
#define HF_CLI_NL_PARSE_H

#include "nl.h"
#include <netlink/attr.h>

extern const struct nla_policy nl_policy[];	/* of a message */
struct json_object *parse_version(struct nlattr *const *a);
struct json_object *parse_tree(struct nlattr *const *a);
struct json_object *parse_dirty(struct nlattr *const *a);	/* NULL when it is malformed */
struct json_object *parse_change(struct nlattr *change);	/* the same */

#endif
