// SPDX-License-Identifier: GPL-2.0-or-later
/* Attributes: there is one encoding of each, so what is read and written again is the same. */
#include "fuzz.h"
#include "tree_int.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct hf_buf b = HF_BUF_INIT;
	struct hf_attr a;

	hf_attr_mode(p, n);
	if (hf_attr_decode(p, n, &a))
		return 0;
	must(hf_attr_mode(p, n) == a.mode);
	must(hf_attr_same(&a, &a));
	must(!hf_attr_encode(&a, &b));
	must(b.len == n && !memcmp(b.p, p, n));
	hf_buf_free(&b);
	hf_attr_free(&a);
	return 0;
}
