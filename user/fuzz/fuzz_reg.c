// SPDX-License-Identifier: GPL-2.0-or-later
/* Registrations: items of the log of row 0: length of the key (1), of the attributes (2), both. */
#include "../lib/reg.c"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct bytes in = { p, p + n };
	struct hf_err err = { 0 };
	struct hf_reg *reg = hf_alloc(sizeof(*reg));
	struct loader ld = { reg, &err };
	int ret = 0;

	must(reg);
	for (unsigned i = 0; i < 64 && left(&in) && !ret; i++) {
		size_t klen = take(&in, 1), alen = take(&in, 2);
		uint8_t *key = take_copy(&in, klen, &klen), *attr = take_copy(&in, alen, &alen);
		struct hf_item it = { .key = key, .keylen = klen, .attr = attr, .attrlen = alen };

		/* as hf_log_each() hands them on */
		if (klen >= 2 && !memcmp(key, "r/", 2))
			ret = load_resource(&ld, &it);
		else if (klen >= 2 && !memcmp(key, "c/", 2))
			ret = load_checkpoint(&ld, &it);
		free(key);
		free(attr);
	}
	must(!ret || (err.exit == HF_DAMAGED && err.msg[0]));
	for (unsigned i = 0; i < reg->nres && !ret; i++) {
		const struct hf_resource *r = &reg->res[i];

		must(!hf_name_check(r->name, "resource", NULL) && r->type && r->policy_json);
		for (unsigned k = 0; k < r->ncp; k++)
			must(r->cp[k].path[0] == '/' && r->cp[k].view && r->cp[k].id);
	}
	hf_reg_free(reg);
	return 0;
}
