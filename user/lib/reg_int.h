/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Registrations from inside: reg.c (reading, changing at all) and regops.c (each change). */
#ifndef HF_REG_INT_H
#define HF_REG_INT_H

#include "reg.h"
#include <json-c/json.h>

#define REG_KEY_MAX 96		/* "c/" name "/" id */

struct json_object *reg_attr(struct hf_log *l, const char *key);	/* NULL: no such item */
int reg_attr_put(struct hf_log *l, const char *key, struct json_object *o, struct hf_err *err);
void reg_resource_key(char key[REG_KEY_MAX], const char *name);
void reg_checkpoint_key(char key[REG_KEY_MAX], const char *name, uint32_t id);
const char *reg_str(struct json_object *o, const char *member);	/* NULL: not there, no string */
uint64_t reg_num(struct json_object *o, const char *member);	/* 0: not there, no number */
bool policy_known(const char *key);
struct json_object *reg_strings(char *const *list, unsigned n);

#endif
