// SPDX-License-Identifier: GPL-2.0-or-later
/* The superblock. First byte: 1 make its sum right, 2 make its MAC right. */
#include "fuzz.h"
#include <sodium.h>

#define SUM offsetof(struct hfd_super, sum)

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	image_keys();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct bytes in = { p, p + n };
	unsigned mode = take(&in, 1);
	struct super s, again;
	struct hf_err err = { 0 };
	uint8_t *sector = malloc(HFD_SECTOR), twice[HFD_SECTOR];

	must(sector);
	take_bytes(&in, sector, HFD_SECTOR);
	if (mode & 1)
		crypto_generichash(sector + SUM, 32, sector, SUM, NULL, 0);
	if (mode & 2)
		hf_mac(image.keys->mac, sector, SUM, sector + SUM + 32);
	if (super_in(&s, NULL, sector, &err))
		must(err.exit && err.msg[0]);
	if (!super_in(&s, image.keys, sector, &err)) {
		/* what passes cannot lead outside, and is written as it was read */
		for (uint32_t i = 0; i < s.nparts; i++) {
			must(s.part[i].off + s.part[i].size * s.part[i].count <= s.size);
			must(s.row_off + s.row_stride * s.rows <= s.part[i].off);
		}
		super_out(&s, image.keys, sector);
		must(!super_in(&again, image.keys, sector, &err));
		super_out(&again, image.keys, twice);
		must(!memcmp(sector, twice, sizeof(twice)));
	}
	free(sector);
	return 0;
}
