#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The storm in a memory cgroup of which memory is taken all the time, while the
# caches of names and inodes are dropped as well: what is reclaimed is what the
# module's marks, table and paths have to outlast.

here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

echo "TAP version 13"
modprobe holdfast || { echo "Bail out! the module cannot be loaded"; exit 1; }
group=/sys/fs/cgroup/pressure.$$
echo +memory >/sys/fs/cgroup/cgroup.subtree_control && mkdir $group ||
	skip_all "there are no memory cgroups"
echo $((48 << 20)) >$group/memory.max

# A limit that stays would have the storm sleep more than it changes.
squeeze() {
	while read -r now <$group/memory.current; do
		echo $((now / 2)) >$group/memory.high
		echo max >$group/memory.high
		sleep 2
	done
}
# 4: without a word
echo 4 >/proc/sys/vm/drop_caches
(while echo 3 >/proc/sys/vm/drop_caches; do sleep 3; done) &
dropper=$!
squeeze &
squeezer=$!
trap 'kill $dropper $squeezer; wait 2>/dev/null; rmdir $group' EXIT
trap 'exit 1' INT TERM HUP

mkdir ext4 dirsync
truncate -s 48M image && mke2fs -q -t ext4 image && mount -o loop,dirsync image dirsync ||
	{ echo "Bail out! there is nothing to mount"; exit 1; }
sh -c "echo \$\$ >$group/cgroup.procs && exec storm -s ${SEED:-3} -n ${CHANGES:-20} \
	dirsync=dirsync,nested ext4=ext4,nested dirty=ext4,dirty=2000" >storm.log 2>&1
status=$?
relay "pressure" storm.log
ok $status "P2: the storm, short of memory"
umount dirsync
scanned=$(awk '$1 == "pgscan" { print $2 }' $group/memory.stat)
[ "$scanned" -gt 100 ]
ok $? "memory was taken from it ($scanned pages were looked at)"
kill -0 $dropper && kill -0 $squeezer
ok $? "all the time"
end
