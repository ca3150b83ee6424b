// SPDX-License-Identifier: GPL-2.0-or-later
/* Slots of rows. First byte: 1 a claim (else a node), 2 the rest is the body, to be sealed. */
#include "../lib/ondisk.c"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	image_keys();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct bytes in = { p, p + n };
	unsigned mode = take(&in, 1);
	struct bind b = { .cluster = "cluster", .disk = "disk", .keys = image.keys };
	enum slot_kind kind = mode & 1 ? SLOT_CLAIM : SLOT_NODE;
	uint8_t *sector = malloc(HFD_SECTOR), body[HFD_SLOT_BODY];

	must(sector);
	if (mode & 2) {
		take_bytes(&in, body, sizeof(body));
		slot_out(kind, &b, 0, 3, 1, body, sizeof(body), sector);
	} else {
		take_bytes(&in, sector, HFD_SECTOR);
	}
	if (mode & 1) {
		struct claim_rec c, again;
		enum slot_status st = claim_in(&c, &b, 0, 3, 1, sector);

		must(st == SLOT_OK || !(mode & 2));
		if (st == SLOT_OK) {
			claim_out(&c, &b, 0, 3, 1, sector);
			must(claim_in(&again, &b, 0, 3, 1, sector) == SLOT_OK);
			must(c.ballot == again.ballot && c.acc.end_seq == again.acc.end_seq && c.based == again.based);
		}
	} else {
		struct node_rec r, again;
		enum slot_status st = node_in(&r, &b, 3, 1, sector);

		must(st == SLOT_OK || !(mode & 2));
		if (st == SLOT_OK) {
			must(strlen(r.name) < sizeof(r.name) && strlen(r.host) < sizeof(r.host));
			node_out(&r, &b, 3, 1, sector);
			must(node_in(&again, &b, 3, 1, sector) == SLOT_OK);
			must(!strcmp(r.name, again.name) && r.counter == again.counter);
		}
	}
	/* in another place it is nothing */
	struct claim_rec c;

	must(claim_in(&c, &b, 1, 3, 1, sector) != SLOT_OK);
	free(sector);
	return 0;
}
