/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doctor.c and doctor_ckpt.c: findings. */
#ifndef HFD_DOCTOR_H
#define HFD_DOCTOR_H

#include "resource.h"

enum finding { OK, WARN, BAD };

struct found {
	struct json_object *arr;
	const char *only;		/* a resource; NULL: all */
	const char *resource, *path;	/* what the findings are about just now; NULL */
};

/* @todo: in it the words R and PATH stand for f->resource and f->path; NULL: nothing is to be done */
void find(struct found *f, enum finding v, const char *check, const char *about, const char *todo, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

/* each checkpoint as this node has it, or would find it. @here: it is online here; @elsewhere: on another node that lives */
void doctor_checkpoints(struct found *f, struct resource *r, const struct hf_resource *def, bool here, bool elsewhere);
/* of all that are registered, those that cannot be online on this node at once */
void doctor_overlaps(struct found *f);

#endif
