#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Stores to shared mappings (X2): stores.c on each filesystem; more of them at a
# time than the module takes (stores_many.c); the module without its tracepoint.

n=0 failed=0
ok() { # STATUS NAME
	n=$((n + 1))
	[ "$1" = 0 ] || { failed=1; printf 'not '; }
	echo "ok $n - $2"
}
# a program's points as ours; the numbers may be left out
part() { # COMMAND...
	"$@" >out
	rc=$?
	grep -v '^1\.\.' out | sed 's/^\(not \)\?ok [0-9]*/\1ok/'
	n=$((n + $(grep -c '^\(not \)\?ok ' out)))
	[ $rc = 0 ] || failed=1
	grep -q '^1\.\.' out || { echo "Bail out! $1 did not come to its end: $rc"; exit 1; }
}
load() { # [PARAMETER]...
	modprobe holdfast "$@" || { echo "Bail out! the module cannot be loaded: $*"; exit 1; }
}
unload() {
	rmmod holdfast || { echo "Bail out! the module cannot be unloaded"; exit 1; }
}

echo "TAP version 13"
# a page stays dirty until somebody cleans it. With 0 the flusher comes at once when an inode becomes dirty, and a
# filesystem that was hardly written to has a share of the dirty memory that one page exceeds
echo 360000 >/proc/sys/vm/dirty_writeback_centisecs
mkdir ext4 tmpfs xfs btrfs
truncate -s 300M image.xfs && truncate -s 128M image.btrfs &&
	mkfs.xfs -q image.xfs && mkfs.btrfs -q image.btrfs >/dev/null &&
	mount -t xfs -o loop image.xfs xfs && mount -t btrfs -o loop image.btrfs btrfs &&
	mount -t tmpfs -o size=64m stores tmpfs || { echo "Bail out! there is nothing to mount"; exit 1; }

! [ -d /sys/module/holdfast ] || unload
load
part stores ext4=ext4,big=64,rounds=2000 xfs=xfs,big=8 btrfs=btrfs,big=8 tmpfs=tmpfs,mapped
unload

load stores_max=4
part stores_many "$PWD/ext4" "$PWD/xfs"
unload

dmesg -c >/dev/null
load stores_tracepoint=none
dmesg | grep -q 'holdfast: .*none'
ok $? "the kernel's log says that there is no such tracepoint"
part stores "without, ext4=ext4,unseen" "without, tmpfs=tmpfs,mapped,unseen"
unload
load stores_tracepoint=
part stores "with an empty name, ext4=ext4,unseen"
unload
load

umount xfs && umount btrfs && umount tmpfs
ok $? "nothing holds what was mounted"
rm -f image.xfs image.btrfs
echo "1..$n"
exit $failed
