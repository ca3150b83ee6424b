/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What looks at a disk from outside: shared by disk_info.c, disk_check.c and disk_check_log.c. */
#ifndef HF_DISK_LOOK_H
#define HF_DISK_LOOK_H

#include "dir_int.h"
#include "chunk.h"
#include "conf.h"
#include "reg.h"
#include <json-c/json.h>

/* disk_info.c */
struct look {
	struct hf_conf *conf;
	struct hf_keys *keys;
	struct disk *d;
	const char *path;
	struct json_object *out;	/* what is told; NULL: not even a superblock was found */
};
/** look_open() - on failure @k->out has what can be told all the same */
int look_open(struct look *k, const char *conf, const char *dev, bool need_key, struct hf_err *err);
/** look_close() - ends it; @json, if wanted, is what was told */
void look_close(struct look *k, char **json);
/** look_log() - a claim as an object */
struct json_object *look_log(struct disk *d, uint32_t row, const struct claim_rec *acc);
/** look_each_log() - each log that row @r holds claims of, once, by its newest accepted claim */
int look_each_log(const struct row *r, uint32_t row,
		  int (*fn)(void *ctx, uint32_t row, const struct claim_rec *acc), void *ctx);
/** look_names() - adds the member "resource" to @logs, by what is registered */
void look_names(struct disk *d, struct json_object *logs);
void look_str(struct json_object *o, const char *k, const char *v);
void look_num(struct json_object *o, const char *k, uint64_t v);

/* disk_check.c */
enum { USED_LIVE = 1, USED_OLD = 2 };
struct check {
	struct look look;
	struct disk *d;
	struct chunker ck;
	struct hf_reg *reg;		/* NULL: cannot be read; then that is found in its log */
	struct json_object *logs, *found, *notes;
	uint8_t *map[HF_MAX_NODES];	/* of the blocks of each area: USED_* */
	uint32_t nblk[HF_MAX_NODES];
	bool one;			/* only the log that is @only, and what all logs stand on */
	struct hf_logid only;
	uint64_t rows, records, record_bytes, contents, chunks, generations;
	bool io;			/* something could not be read at all */
	void (*progress)(void *ctx, uint64_t done, uint64_t total, uint64_t bytes);
	void *ctx;
};
/* an object that says what is wrong; @row UINT32_MAX: no row's */
struct json_object *check_say(struct check *k, uint32_t row, const char *kind, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* where: the area of @slot, at @place */
void check_place(struct check *k, struct json_object *o, uint32_t slot, uint64_t place);
void check_tick(struct check *k);
/* What was deleted is told of by its row still, and its space may be another's by now. @anew: since
 * the registrations were read. */
bool check_deleted(struct check *k, uint32_t row, const uint8_t log[16], bool anew);

/* disk_check_log.c */
int check_log(struct check *k, uint32_t row, const struct claim_rec *acc);

#endif
