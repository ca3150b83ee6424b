#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# changes.c on one filesystem after the other.
# changes.sh [FILESYSTEM...]

nfs=
echo "TAP version 13"
modprobe holdfast || { echo "Bail out! the module cannot be loaded"; exit 1; }
# nothing but what is tested is to change anything
modprobe -a overlay loop

# A server without lockd, without a portmapper and without delegations. For a
# grace period of its own it waits for clients of before: so it begins early.
if modprobe nfsd && modprobe nfsv4 && mount -t nfsd nfsd /proc/fs/nfsd; then
	echo 0 >/proc/sys/fs/leases-enable
	echo -3 +4 +4.2 >/proc/fs/nfsd/versions
	echo 10 >/proc/fs/nfsd/nfsv4leasetime
	echo 10 >/proc/fs/nfsd/nfsv4gracetime
	echo tcp 2049 >/proc/fs/nfsd/portlist
	echo 2 >/proc/fs/nfsd/threads
	nfs=1
fi

new() { # FILESYSTEM: mounted at ./FILESYSTEM
	mkdir "$1" || return 1
	case $1 in
	ext4) truncate -s 64M image && mke2fs -q -t ext4 image ;;
	xfs) truncate -s 300M image && mkfs.xfs -q image ;;
	btrfs) truncate -s 120M image && mkfs.btrfs -q image ;;
	tmpfs) mount -t tmpfs -o size=64m tmpfs tmpfs && return ;;
	esac && mount -t "$1" -o loop image "$1"
}

[ $# -gt 0 ] || set -- ext4 xfs btrfs tmpfs
on=
for fs; do
	new "$fs" >log 2>&1 || { cat log; echo "Bail out! there is no $fs"; exit 1; }
	# mounted, it stays for as long as somebody has it open
	rm -f image
	on="$on $fs=$fs"
done
# shellcheck disable=SC2086
changes $on
status=$?
if [ -n "$nfs" ]; then
	echo 0 >/proc/fs/nfsd/threads
	umount /proc/fs/nfsd
	echo 1 >/proc/sys/fs/leases-enable
fi
for fs; do
	umount "$fs" || status=1
done
exit $status
