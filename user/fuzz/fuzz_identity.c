// SPDX-License-Identifier: GPL-2.0-or-later
/* state_dir/identity */
#include "../lib/identity.c"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct hf_identity id;
	char *text = malloc(n + 1);

	must(text);
	memcpy(text, p, n);
	text[n] = 0;
	if (!parse(text, &id))
		must(id.slot < HF_MAX_NODES && !hf_name_check(id.name, "node", NULL));
	free(text);
	return 0;
}
