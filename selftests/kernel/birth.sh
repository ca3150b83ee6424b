#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# birth.c, on filesystems that make a directory's event wait for different things.
# Plain ext4 hides what ext4 with dirsync shows.

echo "TAP version 13"
modprobe holdfast || { echo "Bail out! the module cannot be loaded"; exit 1; }
# shellcheck source=selftests/kernel/filesystems
. "$(dirname "$0")/filesystems"

fs_up dirsync ext4 tmpfs xfs wsync btrfs
birth dirsync=dirsync=100 ext4=ext4=200 tmpfs=tmpfs=200 xfs=xfs=200 wsync=wsync=24 btrfs=btrfs=100
status=$?
fs_down || status=1
exit $status
