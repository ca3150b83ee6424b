/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the command share: arguments that were checked, and printing. */
#ifndef HF_CLI_H
#define HF_CLI_H

#include <holdfast.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

/* What an argument must look like before anything is asked of anybody. */
enum val {
	V_TEXT,		/* not empty, UTF-8 without control characters */
	V_NAME,		/* of a resource, cluster, type, view */
	V_PATH,		/* absolute */
	V_DEV,
	V_GEN,		/* 1 and up */
	V_COUNT,	/* 1 to 64 */
	V_NUMBER,	/* 1 to 2^32 - 1 */
	V_DURATION,
	V_SIZE,
	V_POLICY,	/* KEY=VALUE */
	V_KIND,		/* tree or crypto */
	V_ANY,		/* whatever a command takes */
};

struct pos {
	const char *label;
	enum val type;
	bool optional, many;	/* many: the last one, any number of times */
};

struct opt {
	const char *name;	/* without -- */
	const char *label;	/* of its value; NULL: a flag */
	enum val type;
	bool many;
};

struct cli;
struct cmd {
	const char *name;	/* "resource add" */
	const char *synopsis;
	const char *help;
	struct pos pos[4];	/* the last one is empty */
	struct opt opt[8];
	int (*run)(struct cli *c);
};

#define MAX_ARGS 4096
struct cli {
	const struct cmd *cmd;
	const char *conf;
	bool json, quiet;
	char **pos;
	int npos;
	int dashes;		/* how many of them stood before a --; -1: there was none */
	struct { const struct opt *opt; char *value; } *given;
	int ngiven;
	struct hf_conn *conn;
	struct hf_err err;
};

/* args.c */
int args_parse(struct cli *c, int argc, char **argv);	/* 0, or HF_USAGE after a sentence */
int usage(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool arg_flag(const struct cli *c, const char *name);
const char *arg_value(const struct cli *c, const char *name);	/* NULL: not given */
const char *arg_pos(const struct cli *c, int i);		/* NULL: not given */
uint64_t arg_number(const struct cli *c, const char *name, uint64_t otherwise);	/* ms, bytes, count */
bool arg_text_ok(const char *s);
unsigned distance(const char *a, const char *b);

/* call.c: requests */
struct json_object *args_new(void);
void args_str(struct json_object *a, const char *key, const char *value);	/* NULL: left out */
/* a directory of this machine, relative to where the command runs, under the option's name; an exit code */
int args_dir(struct cli *c, struct json_object *a, const char *opt);
void args_flag(const struct cli *c, struct json_object *a, const char *option, const char *key);
/* Consumes @args. 0, or the exit code after the reason was printed. @result may be NULL. */
int call(struct cli *c, const char *verb, struct json_object *args, struct json_object **result);
int call_events(struct cli *c, const char *verb, struct json_object *args, hf_event_fn fn, void *arg,
		struct json_object **result);
/* How far long work is, on a terminal's standard error only, after a second. */
struct progress {
	bool terminal, drawn;
	int64_t begun, last;
};
void progress_begin(const struct cli *c, struct progress *p);
void progress_draw(struct progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void progress_end(struct progress *p);
int fail(struct cli *c);		/* prints c->err, returns its exit code */
int out_of_memory(void);
/* 0: go on. Asks on a terminal only, and not with --yes. */
int confirm(struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* out.c */
const char *jstr(struct json_object *o, const char *key);	/* "" when not there */
int64_t jint(struct json_object *o, const char *key);
bool jbool(struct json_object *o, const char *key);
bool jhas(struct json_object *o, const char *key);
struct json_object *jobj(struct json_object *o, const char *key);
size_t jlen(struct json_object *o, const char *key);
struct json_object *jat(struct json_object *o, const char *key, size_t i);

enum paint { PLAIN, GOOD, WARN, BAD, DIM };
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));	/* control characters become ? */
void say_painted(enum paint p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void print_json(struct json_object *o);
/* takes over the library's text; prints it as JSON when that is wanted */
struct json_object *taken(struct cli *c, char *text);
int printed(struct cli *c);	/* 0, or HF_FAILED when the output could not be written */

struct table;
struct table *table_new(const char *const *heads);	/* NULL at the end */
void table_cell(struct table *t, enum paint p, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void table_print(struct table *t);	/* and frees it */

char *text_duration(int64_t ms, char buf[32]);
char *text_bytes(uint64_t n, char buf[32]);
char *text_time(int64_t when_ms, char buf[32]);

/* the verbs */
int cmd_init(struct cli *c);
int cmd_join(struct cli *c);
int cmd_keygen(struct cli *c);
int cmd_disk_format(struct cli *c);
int cmd_disk_set(struct cli *c);
int cmd_disk_info(struct cli *c);
int cmd_disk_check(struct cli *c);
int cmd_disk_grow(struct cli *c);
int cmd_disk_accept(struct cli *c);
int cmd_node_list(struct cli *c);
int cmd_node_replace(struct cli *c);
int cmd_node_remove(struct cli *c);
int cmd_cluster_state(struct cli *c);
int cmd_resource_add(struct cli *c);
int cmd_resource_delete(struct cli *c);
int cmd_resource_list(struct cli *c);
int cmd_resource_show(struct cli *c);
int cmd_resource_set(struct cli *c);
int cmd_resource_reset(struct cli *c);
int cmd_resource_rebuild(struct cli *c);
int cmd_checkpoint_add(struct cli *c);
int cmd_checkpoint_set(struct cli *c);
int cmd_checkpoint_delete(struct cli *c);
int cmd_checkpoint_list(struct cli *c);
int cmd_online(struct cli *c);
int cmd_offline(struct cli *c);
int cmd_sync(struct cli *c);
int cmd_run(struct cli *c);
int cmd_move(struct cli *c);
int cmd_status(struct cli *c);
int cmd_watch(struct cli *c);
int cmd_doctor(struct cli *c);
int cmd_report(struct cli *c);
int cmd_metrics(struct cli *c);
int cmd_history(struct cli *c);
int cmd_history_pin(struct cli *c);
int cmd_history_unpin(struct cli *c);
int cmd_diff(struct cli *c);
int cmd_verify(struct cli *c);
int cmd_rollback(struct cli *c);
int cmd_restore(struct cli *c);
int cmd_displaced_list(struct cli *c);
int cmd_displaced_show(struct cli *c);
int cmd_displaced_restore(struct cli *c);
int cmd_module_status(struct cli *c);
int cmd_module_load(struct cli *c);
int cmd_module_unload(struct cli *c);
int cmd_module_reload(struct cli *c);
int cmd_tree_list(struct cli *c);
int cmd_tree_dirty(struct cli *c);
int cmd_tree_events(struct cli *c);
int cmd_tree_delete(struct cli *c);

#endif
