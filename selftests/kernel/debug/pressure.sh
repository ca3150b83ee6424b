#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The storm in a memory cgroup that has too little, while the caches of names and
# inodes are dropped all the time: what is reclaimed is what the module's marks,
# table and paths have to outlast.

here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

echo "TAP version 13"
modprobe holdfast || { echo "Bail out! the module cannot be loaded"; exit 1; }
group=/sys/fs/cgroup/pressure.$$
echo +memory >/sys/fs/cgroup/cgroup.subtree_control && mkdir $group ||
	skip_all "there are no memory cgroups"
echo "$((${HIGH:-6} << 20))" >$group/memory.high
echo "$((${MAX:-64} << 20))" >$group/memory.max

# 4: without a word
echo 4 >/proc/sys/vm/drop_caches
(while echo 3 >/proc/sys/vm/drop_caches; do sleep 0.5; done) &
dropper=$!
trap 'kill $dropper; wait $dropper 2>/dev/null; rmdir $group' EXIT
trap 'exit 1' INT TERM HUP

mkdir ext4 dirsync
truncate -s 48M image && mke2fs -q -t ext4 image && mount -o loop,dirsync image dirsync ||
	{ echo "Bail out! there is nothing to mount"; exit 1; }
sh -c "echo \$\$ >$group/cgroup.procs && exec storm -s ${SEED:-3} -n ${CHANGES:-200} \
	dirsync=dirsync,nested ext4=ext4,nested dirty=ext4,dirty=2000" >storm.log 2>&1
status=$?
relay "pressure" storm.log
ok $status "P2: the storm, short of memory"
umount dirsync
sed 's/^/# /' $group/memory.events
times=$(awk '$1 == "high" || $1 == "max" { n += $2 } END { print n }' $group/memory.events)
[ "$times" -gt 100 ]
ok $? "it was short ($times times)"
kill -0 $dropper
ok $? "the caches were dropped all the time"
end
