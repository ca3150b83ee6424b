#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# node-enter.sh NODE DIR ROOTFS RUN: process 1 of a node, until it has a root of
# its own. In DIR: up, work, mnt (its disk), srv (its trees); in RUN: inst (what
# `make install` made), qdisk, bmc, shared, binds (see lib.sh).

set -eu
n=$1 d=$2 rootfs=$3 run=$4
hostname "$n"
mount -t overlay overlay -o "lowerdir=$run/inst:$rootfs,upperdir=$d/up,workdir=$d/work" "$d/mnt"
cd "$d/mnt"

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for x in null zero full random urandom tty; do
	: >"dev/$x"
	mount --bind "/dev/$x" "dev/$x"
done
ln -s /proc/self/fd dev/fd
mkdir dev/shm
for x in dev/shm run tmp; do mount -t tmpfs tmpfs $x; done

# pacemaker may write to sysrq, and whoever writes to /proc/sys is heard by all
: >"$d/sysrq"
[ ! -e proc/sysrq-trigger ] || mount --bind "$d/sysrq" proc/sysrq-trigger
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
# each boot is one of its own, as on a machine
cat /proc/sys/kernel/random/uuid >"$d/boot_id"
mount --bind "$d/boot_id" proc/sys/kernel/random/boot_id

mkdir -p bmc shared old
mount --bind "$run/bmc" bmc
mount --bind "$run/shared" shared
mount --bind "$d/srv" srv/conf
: >dev/qdisk
mount --bind "$run/qdisk" dev/qdisk
while read -r path target; do
	case $path in
	# a node of its own: what is mounted there the agent would take for the device's
	/dev/*) cp -a "$path" "./$target" ;;
	*)
		mkdir -p "./$target"
		mount --bind "$d/$path" "./$target" ;;
	esac
done <"$run/binds"

pivot_root . old
exec /node-init "$n"
