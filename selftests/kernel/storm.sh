#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# storm.c, on filesystems that make a directory's event wait for different things.
# storm.sh [SEED [CHANGES]]

echo "TAP version 13"
modprobe holdfast || { echo "Bail out! the module cannot be loaded"; exit 1; }

mkdir ext4 dirsync tmpfs xfs
# each change of a directory waits for the journal; not for a disk as well
mount -t tmpfs -o size=96m storm tmpfs && truncate -s 48M tmpfs/image &&
	mke2fs -q -t ext4 tmpfs/image &&
	mount -o loop,dirsync tmpfs/image dirsync ||
	{ echo "Bail out! there is nothing to mount"; exit 1; }
on="dirsync=dirsync,nested tmpfs=tmpfs,nested ext4=ext4,nested
	marks=ext4,marks=12 dirty=ext4,dirty=2000 bounds=tmpfs,nested,marks=20,dirty=3000"
if command -v mkfs.xfs >/dev/null; then
	truncate -s 300M image.xfs
	mkfs.xfs -q image.xfs && mount -t xfs -o loop image.xfs xfs && on="$on xfs=xfs,nested"
fi
# shellcheck disable=SC2086
storm -s "${1:-1}" -n "${2:-400}" $on
status=$?
! grep -q " $PWD/xfs " /proc/mounts || umount xfs
umount dirsync && umount tmpfs
exit $status
