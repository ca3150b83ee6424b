// SPDX-License-Identifier: GPL-2.0-or-later
/* udiff A B: the unified difference of two files, for udiff.t. */
#include "udiff.h"
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	struct hf_buf out = HF_BUF_INIT;
	char *a, *b;
	size_t na, nb;

	if (argc != 3 || hf_read_file(argv[1], 1u << 30, &a, &na) || hf_read_file(argv[2], 1u << 30, &b, &nb))
		return 2;
	if (hf_udiff(a, na, b, nb, &out))
		return 2;
	fwrite(out.p, 1, out.len, stdout);
	printf("%s", hf_udiff_text(a, na) && hf_udiff_text(b, nb) ? "" : "(not text)\n");
	free(a);
	free(b);
	hf_buf_free(&out);
	return fflush(stdout) ? 2 : 0;
}
