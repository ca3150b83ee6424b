#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What somebody clever, or something slow, could do to the module.

n=0 failed=0
ok() { # STATUS NAME
	n=$((n + 1))
	[ "$1" = 0 ] || { failed=1; printf 'not '; }
	echo "ok $n - $2"
}
has() { # FILE PATTERN
	for _ in $(seq 100); do
		grep -q "$2" "$1" 2>/dev/null && return 0
		sleep 0.1
	done
	return 1
}
state() {
	hfnl list | awk -v id="$1" '$2 == id'
}

echo "TAP version 13"
rmmod holdfast 2>/dev/null

# the group's number can be guessed before the module is there
attack prejoin >heard 2>&1 &
spy=$!
has heard '^joined some'
ok $? "an ordinary user joins groups that are not there yet"
modprobe holdfast || { echo "Bail out! the module cannot be loaded"; exit 1; }
mkdir t
hfnl resource R , add "$PWD/t" >/dev/null
(
	timeout 20 hfnl events 1 >events 2>&1 &
	has events listening
	echo secret >t/secret
	wait
)
has events secret
ok $? "who may hears what changes"
! grep heard heard
ok $? "P10: who may not does not"
kill $spy
hfnl tree 1 , del >/dev/null

# the root goes into what just left the tree, and is about to be unmarked
mkdir -p m/R/M
(cd m/R/M && seq 300 | xargs mkdir)
inner=$(find m/R/M -mindepth 1 -type d | head -n 1)
inner=${inner##*/}
hfnl resource M , add "$PWD/m/R" , walk , settle , rename m/R/M m/M , \
	rename m/R "m/M/$inner/R" >/dev/null
ok $? "a directory leaves the tree, and the root goes below it"
sleep 0.5
echo 1 >"m/M/$inner/R/later"
state 2 | grep -q lost || hfnl tree 2 , dirty | grep -q later
ok $? "P2: the root is still watched"
hfnl tree 2 , del >/dev/null

# what is in a directory before its mkdir has returned
dd if=/dev/zero of=img bs=1M count=32 2>/dev/null
mke2fs -q -t ext4 img && mkdir e && mount -o loop,dirsync img e && mkdir e/t
timeout 200 attack race "$PWD/e/t" 150 >raced 2>&1
sed 's/^/# /' raced
grep -q '^missed 0 of many' raced
ok $? "P1: a barrier misses nothing that was built upon"
for id in $(hfnl list | awk '{ print $2 }'); do
	hfnl tree "$id" , del >/dev/null
done
umount e

# fanotify keeps the marks of an event for as long as its listener thinks
mkdir h
hfnl resource H , add "$PWD/h" >/dev/null
attack hold "$PWD/h" 3 >held 2>&1 &
has held listening && { ls h >/dev/null & }
has held held
ok $? "somebody waits for fanotify's leave"
hfnl tree "$(hfnl list | awk '{ print $2 }')" , del >/dev/null
rmmod holdfast
ok $? "the module waits for the last of its marks"
wait
dmesg | tail -n 3 | grep 'ledger' | sed 's/^/# /'
echo "1..$n"
exit $failed
