/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_CLI_SHOW_H
#define HF_CLI_SHOW_H
struct cli;
/* what is not as it should be, although it worked: with -q as well, and never among the output */
void print_note(struct cli *c, struct json_object *r);
/* what was restored, and what stayed; nothing when that is nothing */
void print_restored(const char *name, struct json_object *r);
void print_changes(struct json_object *r);	/* one line each; nothing when equal */
/* what a dry run found: the same, with what the letters mean, or that there is nothing */
void print_would(const char *name, struct json_object *r, bool quiet);
#endif
