// SPDX-License-Identifier: GPL-2.0-or-later
/* Short words for json-c. Getters take what is absent as NULL, false, 0. */
#include "daemon.h"
#include <stdlib.h>

struct json_object *jobj(void)
{
	return json_object_new_object();
}

void jstr(struct json_object *o, const char *key, const char *s)
{
	json_object_object_add(o, key, s ? json_object_new_string(s) : NULL);
}

void jbytes(struct json_object *o, const char *key, const char *s)
{
	char *p = s ? hf_printable(s, strlen(s)) : NULL;

	jstr(o, key, p);
	free(p);
}

void ju64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

void jbool(struct json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}

static struct json_object *get(struct json_object *o, const char *key, enum json_type t)
{
	struct json_object *v;

	if (!o || !json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, t))
		return NULL;
	return v;
}

const char *jget_str(struct json_object *o, const char *key)
{
	struct json_object *v = get(o, key, json_type_string);

	return v ? json_object_get_string(v) : NULL;
}

bool jget_bool(struct json_object *o, const char *key)
{
	struct json_object *v = get(o, key, json_type_boolean);

	return v && json_object_get_boolean(v);
}

uint64_t jget_u64(struct json_object *o, const char *key)
{
	struct json_object *v = get(o, key, json_type_int);

	return v ? json_object_get_uint64(v) : 0;
}

bool jhas(struct json_object *o, const char *key)
{
	struct json_object *v;

	return o && json_object_object_get_ex(o, key, &v) && v;
}
