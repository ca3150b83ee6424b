// SPDX-License-Identifier: LGPL-2.1-or-later
/* Names of temporary files: see tmpname.h. */
#include "tmpname.h"
#include <sodium.h>
#include <string.h>

#define AT (sizeof(HF_TMP_PREFIX) - 1)

void hf_tmpname_make(const char random[HF_TMP_RANDOM], char out[HF_TMP_LEN + 1])
{
	static const char az[] = "abcdefghijklmnopqrstuvwxyz234567", what[16] = "temporary file";
	uint8_t h[crypto_generichash_BYTES_MIN];

	memcpy(out, HF_TMP_PREFIX, AT);
	memcpy(out + AT, random, HF_TMP_RANDOM);
	crypto_generichash(h, sizeof(h), (const uint8_t *)out, AT + HF_TMP_RANDOM, (const uint8_t *)what, sizeof(what));
	for (unsigned i = 0; i < HF_TMP_RANDOM; i++)
		out[AT + HF_TMP_RANDOM + i] = az[h[i] & 31];
	out[HF_TMP_LEN] = 0;
}

bool hf_tmpname_is(const char *name, size_t len)
{
	char want[HF_TMP_LEN + 1];

	if (len != HF_TMP_LEN || memcmp(name, HF_TMP_PREFIX, AT))
		return false;
	hf_tmpname_make(name + AT, want);
	return !memcmp(name, want, len);
}
