/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration of this node: holdfast.conf and holdfast.conf.d (libinih). */
#ifndef HF_CONF_H
#define HF_CONF_H

#include "base.h"

#define HF_CONF_DEFAULT "/etc/holdfast/holdfast.conf"

struct hf_view { char *name, *root; };		/* root below the node's root */
struct hf_conf {
	char *path;			/* of the file; what was asked for when there is none */
	bool exists;
	char *node_name;		/* default: the host's name */
	char *root;			/* "/" */
	char *state_dir, *runtime_dir, *key_file, *hooks_dir;
	uint64_t hooks_timeout_ms;
	char *url;			/* store url, NULL when not configured */
	char *track_source;		/* auto, kernel, fanotify */
	bool require_kernel;
	unsigned scrub_s;		/* 0: off */
	struct hf_view *view;
	unsigned nview;
	char *read_group, *job_group;
	uint64_t displaced_keep_s, displaced_bytes;
	uint64_t standby_bytes, standby_rate;	/* memory for what others own; read per second */
};

/** hf_conf_load() - @path NULL: $HOLDFAST_CONF, else the default. A missing file gives the
 *  defaults with exists=false. Unknown section or key, bad value: -EINVAL, HF_USAGE,
 *  "FILE:LINE: KEY: what is wrong and what would be right". */
int hf_conf_load(const char *path, struct hf_conf **out, struct hf_err *err);
void hf_conf_free(struct hf_conf *c);
/** hf_conf_socket() - path of the daemon's socket, malloc'ed */
char *hf_conf_socket(const struct hf_conf *c);
/** hf_conf_write() - a new configuration file for @url; -EEXIST when it exists and
 *  names another store */
int hf_conf_write(const char *path, const char *url, struct hf_err *err);
const char *hf_conf_view(const struct hf_conf *c, const char *view);	/* root, NULL unknown; "native" is "/", and so are "32bit" and "64bit" unless set */

/* values with units, also used by `resource set`; whole string or -EINVAL */
int hf_parse_duration(const char *s, uint64_t *ms);	/* 5ms 1s 2m 3h 4d; bare 0 */
int hf_parse_size(const char *s, uint64_t *bytes);	/* 64MiB 1GiB 10kB 512 */

#endif
