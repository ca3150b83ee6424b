#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What changes while it is captured: race.c, by writes, renames and stores.

echo "TAP version 13"
modprobe holdfast || { echo "Bail out! the module cannot be loaded"; exit 1; }
mkdir ext4 tmpfs xfs btrfs
truncate -s 300M image.xfs && truncate -s 128M image.btrfs &&
	mkfs.xfs -q image.xfs && mkfs.btrfs -q image.btrfs >/dev/null &&
	mount -t xfs -o loop image.xfs xfs && mount -t btrfs -o loop image.btrfs btrfs &&
	mount -t tmpfs -o size=64m race tmpfs || { echo "Bail out! there is nothing to mount"; exit 1; }
race tmpfs=tmpfs,write,acks=10000 tmpfs=tmpfs,write,acks=2000,bound \
	tmpfs=tmpfs,rename,acks=1000 tmpfs=tmpfs,rename,acks=500,bound tmpfs=tmpfs,store,acks=500 \
	ext4=ext4,store,acks=400 ext4=ext4,store,acks=100,bound ext4=ext4,write,acks=500 \
	xfs=xfs,store,acks=200 btrfs=btrfs,store,acks=200
status=$?
umount xfs && umount btrfs && umount tmpfs && rm -f image.xfs image.btrfs
exit $status
