#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# storm.c, on filesystems that make a directory's event wait for different things.
# storm.sh [SEED [CHANGES]]

echo "TAP version 13"
modprobe holdfast || { echo "Bail out! the module cannot be loaded"; exit 1; }
# shellcheck source=selftests/kernel/filesystems
. "$(dirname "$0")/filesystems"

fs_up ext4 dirsync tmpfs xfs wsync btrfs
storm -s "${1:-1}" -n "${2:-400}" dirsync=dirsync,nested,changes=150 \
	wsync=wsync,changes=80 tmpfs=tmpfs,nested ext4=ext4,nested xfs=xfs,nested btrfs=btrfs,nested \
	marks=ext4,marks=12 dirty=ext4,dirty=2000 bounds=tmpfs,nested,marks=20,dirty=3000
status=$?
fs_down || status=1
exit $status
