#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# machines.sh DIR ROOTFS: what the machines of machines.t have on their disks, below
# DIR/n1 and DIR/n2, as nodes of lib.sh have it: up (below the overlay), work, mnt, and
# postgresql, which is bound where it belongs.

set -eu
export LC_ALL=C
NODES="n1 n2"
# emulated processors that share real ones are slow, and now and then late
TOKEN=5000 EVERY=10s
# shellcheck source=selftests/cluster/lib.sh
. "$(dirname "$0")/lib.sh"

cib_resources() {
	echo "<resources>"
	cib_power
	echo "<group id=\"pg\"><meta_attributes id=\"pg-m\">$(nv pg target-role Stopped)</meta_attributes>"
	cib_pg $NET.50
	echo "</group></resources><constraints>"
	echo "<rsc_location id=\"first\" rsc=\"pg\" node=\"n1\" score=\"10\"/>"
	echo "</constraints>"
}

W=$1 ROOTFS=$2
for n in $NODES; do
	node_new "$n"
	conf=$W/$n/up/etc/holdfast
	mkdir -p "$conf/holdfast.conf.d"
	chmod 750 "$conf"
	printf '[track]\nrequire = kernel\n' >"$conf/holdfast.conf.d/track.conf"
	cp -a "$ROOTFS/etc/postgresql" "$W/$n"
done
sed -i "s/^#listen_addresses.*/listen_addresses = '*'/" "$W/n1/postgresql/15/main/postgresql.conf"
