// SPDX-License-Identifier: LGPL-2.1-or-later
/* Which store a URL means. */
#include "store.h"

static const struct hf_store_ops *const stores[] = { &hf_store_disk, &hf_store_dir };

int hf_store_open(const char *url, const struct hf_store_params *p, struct hf_store **out,
		  struct hf_err *err)
{
	if (url[0] == '/')
		return hf_store_disk.open(url, p, out, err);
	for (size_t i = 0; i < HF_ARRAY(stores); i++) {
		size_t n = strlen(stores[i]->scheme);

		if (!strncmp(url, stores[i]->scheme, n) && url[n] == ':')
			return stores[i]->open(url + n + 1, p, out, err);
	}
	return hf_fail(err, HF_USAGE, -EINVAL, "%s: no such kind of store; write disk:/dev/disk/by-id/NAME or dir:/a/shared/directory", url);
}
