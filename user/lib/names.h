/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What may be a name, a path or a value with a unit; see also reg.h and conf.h. */
#ifndef HF_NAMES_H
#define HF_NAMES_H

#include "base.h"

int hf_name_check(const char *name, const char *what, struct hf_err *err);	/* see reg.h */
bool hf_utf8_valid(const char *s);	/* RFC 3629, and no control characters */
const char *hf_conf_which(const char *path);	/* the file that hf_conf_load(@path) reads */
bool hf_url_same(const char *a, const char *b);	/* whether both name one store */

#endif
