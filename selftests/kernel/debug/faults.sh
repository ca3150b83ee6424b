#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The module gets no memory: each of its allocations fails once, in what is asked of
# it and in what happens to a tree; then any of them at random, under the storm,
# whose oracle is a full scan; then under the tests of the module, which are not
# expected to pass, but to leave it in order.

here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

echo "TAP version 13"
[ -d $fault ] || skip_all "this kernel cannot fail allocations"
trap no_fail EXIT
trap 'exit 1' INT TERM HUP
ko=$(modinfo -n holdfast) || exit 1
rmmod holdfast 2>/dev/null

fail_slab 0
faults load "$ko" >load.log 2>&1
relay "load" load.log
modprobe holdfast || { echo "Bail out! the module cannot be loaded"; exit 1; }
for fs in . tmpfs; do
	mkdir -p each "$fs"
	[ $fs != tmpfs ] || mount -t tmpfs each tmpfs
	faults each "$fs" >each.log 2>&1
	status=$?
	relay "$(stat -f -c %T "$fs")" each.log
	[ $status = 0 ] || ok $status "$fs: it runs to its end"
	fail_slab 30
	faults stores "$fs" >stores.log 2>&1
	status=$?
	no_fail
	relay "$(stat -f -c %T "$fs"), 30 % fail" stores.log
	[ $status = 0 ] || ok $status "$fs: stores: it runs to its end"
	[ $fs != tmpfs ] || umount tmpfs
done

for percent in 2 20; do
	mkdir ext4
	fail_slab $percent
	storm -s $percent -n 150 ext4=ext4,nested >storm.log 2>&1
	status=$?
	no_fail
	count=$(faulted)
	relay "$percent % fail" storm.log
	ok $status "P2: the storm, while $percent % fail"
	[ "$count" -gt 20 ]
	ok $? "they did ($count)"
	rm -rf ext4
	delete_trees
done

# What they find is of no interest now. Loading fails more often than not.
mkdir bin
printf '#!/bin/sh\nuntil %s "$@" 2>/dev/null; do :; done\n' "$(command -v modprobe)" >bin/modprobe
chmod +x bin/modprobe
for t in life.sh stores.sh netlink attack.sh; do
	mkdir weather
	fail_slab 5
	(cd weather && PATH=$PWD/../bin:$PATH timeout 1800 "$here/$t" >"../$t.log" 2>&1)
	status=$?
	no_fail
	count=$(faulted)
	grep -e '^not ok' -e Bail "$t.log" | sed "s/^/# $t: /" | head -n 5
	[ $status != 124 ]
	ok $? "$t comes to its end while 5 % fail ($count did)"
	for m in $(awk -v d="$PWD/weather/" 'index($2, d) == 1 { print $2 }' /proc/mounts | sort -r); do
		umount "$m"
	done
	rm -rf weather
	[ -d /sys/module/holdfast ] || modprobe holdfast
	delete_trees
	rmmod holdfast
	ok $? "$t: the module goes when its trees are deleted"
	modprobe holdfast
done
end
