/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_CLI_SHOW_H
#define HF_CLI_SHOW_H
void print_changes(struct json_object *r);	/* one line each; nothing when equal */
#endif
