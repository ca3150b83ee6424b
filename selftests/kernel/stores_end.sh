#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Who has stored ends, and its filesystem is unmounted, at once (stores_end.c); the
# module comes and goes while others store.

n=0 failed=0
ok() { # STATUS NAME
	n=$((n + 1))
	[ "$1" = 0 ] || { failed=1; printf 'not '; }
	echo "ok $n - $2"
}
part() { # COMMAND...
	"$@" >out
	rc=$?
	grep -v '^1\.\.' out | sed 's/^\(not \)\?ok [0-9]*/\1ok/'
	n=$((n + $(grep -c '^\(not \)\?ok ' out)))
	[ $rc = 0 ] || failed=1
	grep -q '^1\.\.' out || { echo "Bail out! $1 did not come to its end: $rc"; exit 1; }
}

echo "TAP version 13"
modprobe holdfast || { echo "Bail out! the module cannot be loaded"; exit 1; }
modprobe loop
mkdir mnt work
dmesg -c >/dev/null
for type in ext4 xfs btrfs; do
	rounds=20
	case $type in
	ext4) truncate -s 16M image && mke2fs -q -F -t ext4 image; rounds=200 ;;
	xfs) truncate -s 300M image && mkfs.xfs -q image ;;
	btrfs) truncate -s 128M image && mkfs.btrfs -q image >/dev/null ;;
	esac
	device=$(losetup -f) && losetup "$device" image || { echo "Bail out! no loop device"; exit 1; }
	part stores_end "$device" $type "$PWD/mnt" $rounds
	losetup -d "$device"
	rm image
done
! dmesg | grep -i 'busy inodes\|still in use'
ok $? "P9: no inode was held any more"

# With code being patched under it, qemu's emulation of several processors runs into
# breakpoints that are no more (any tracepoint will do, and no module of ours).
others=$(ls -d /sys/devices/system/cpu/cpu[1-9]* 2>/dev/null)
for cpu in $others; do echo 0 >"$cpu/online"; done
stores_end -w "$PWD/work" &
pid=$!
i=0 noted=0
while [ $i -lt 20 ]; do
	{ sleep 0.1; printf '%s\n' barrier dirty ack-all barrier del; } |
		hfnl hold W "$PWD/work" >said 2>&1 || break
	! grep -q ' modify ' said || noted=$((noted + 1))
	rmmod holdfast && modprobe holdfast || break
	i=$((i + 1))
done
[ $i = 20 ]
ok $? "unloaded $i times while others stored"
[ $noted != 0 ]
ok $? "X2: which was noted, $noted times"
[ $i = 20 ] && [ $noted != 0 ] || sed 's/^/# /' said
kill $pid
wait $pid 2>/dev/null
for cpu in $others; do echo 1 >"$cpu/online"; done
echo "1..$n"
exit $failed
