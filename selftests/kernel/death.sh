#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The end of trees: unmounted, deleted, renamed, read-only for a while. A tree whose
# root is gone is lost, which is never to be taken for empty (P2), and it is no reason
# for a filesystem to stay (P9).

# shellcheck source=selftests/kernel/trees
. "$(dirname "$0")/trees"
# shellcheck source=selftests/kernel/filesystems
. "$(dirname "$0")/filesystems"
begin

fill() { # DIR: 200 directories
	mkdir -p "$1"
	for i in $(seq 20); do
		mkdir -p "$1/$i/1" "$1/$i/2" "$1/$i/3" "$1/$i/4" "$1/$i/5/6/7/8/9"
	done
}
# lost ID NAME: what a consumer sees of it
lost() {
	like "$(hfnl tree "$1" , barrier | grep '^state')" '^state [0-9]+ [a-z,]*lost' "P2: $2: lost"
	is "$(marks "$1")" 0 "$2: no mark is left"
}

# --- on each filesystem: unmounted with all that was noted, and mounted again
for fs in dirsync tmpfs xfs btrfs; do
	fs_up $fs
	fill "$PWD/$fs/t"
	id=$(add M "$PWD/$fs/t")
	is "$(marks "$id")" 201 "$fs: 201 directories are marked"
	echo 1 >$fs/t/1/1/f
	like "$(dirty "$id")" '^1/1/f ' "$fs: and known"
	umount $fs
	ok $? "P9: $fs: is unmounted under a tree"
	lost "$id" "$fs: unmounted"
	is "$(hfnl tree "$id" , dirty | grep -c '^entry')" 0 "$fs: what nobody can read any more is not dirty"
	fs_again $fs
	if [ $fs != tmpfs ]; then
		echo 2 >$fs/t/1/1/f
		is_lost "$id"
		ok $? "P2: $fs: mounted again it is not the same tree"
		like "$(hfnl resource M , add "$PWD/$fs/t")" "^tree [0-9]+ attached(,stores)? " "$fs: which who adds it is told"
	fi
	soon clean
	fs_down
	ok $? "P9: $fs: nothing holds it"
done

# --- lazily: as long as somebody uses it, it lives, and so does the tree
fs_up tmpfs
mkdir -p tmpfs/t/u
id=$(add L "$PWD/tmpfs/t")
exec 8>tmpfs/t/u/f
umount -l tmpfs
ok $? "P9: a lazy umount succeeds"
! is_lost "$id"
ok $? "the filesystem is there while a file is open, and not lost"
echo 1 >&8
like "$(dirty "$id")" '^u/f ' "P2: what is written there is noted"
exec 8>&-
soon is_lost "$id"
lost "$id" "when the last file is closed"
del "$id"
fs_down

# --- while a consumer dumps, asks, and walks
fs_up dirsync
round=0 bad=0 busy=0
while [ $round -lt 5 ]; do
	round=$((round + 1))
	fill "$PWD/dirsync/t"
	id=$(add D "$PWD/dirsync/t")
	for i in $(seq 20); do echo 1 >"dirsync/t/$i/f"; done
	(while :; do
		hfnl tree "$id" , dirty , barrier , resource D , add "$PWD/dirsync/t" , walk || :
	done) >/dev/null 2>&1 &
	dumper=$!
	for i in $(seq 20); do echo 2 >"dirsync/t/$i/2/f"; done
	# a descriptor of who walks is a reason to stay, a tree is not
	tries=0
	until umount dirsync 2>/dev/null; do
		busy=$((busy + 1)) tries=$((tries + 1))
		[ $tries -lt 200 ] || { bad=$((bad + 1)); break; }
	done
	is_lost "$id" || bad=$((bad + 1))
	kill $dumper
	wait $dumper 2>/dev/null
	# its last program may still consume the tree
	soon clean || bad=$((bad + 1))
	fs_again dirsync
done
is $bad 0 "P9: unmounted $round times under who dumps it (busy $busy times), lost each time"
fs_down

# --- read-only, and back
fs_up xfs
mkdir -p xfs/t/u
consumer "$PWD/xfs/t"
echo 1 >xfs/t/u/f
had=$(marks "$id")
mount -o remount,ro xfs
ok $? "P9: a filesystem with a tree can become read-only"
(echo 2 >xfs/t/u/f) 2>/dev/null
ok $((! $?)) "which it is"
! is_lost "$id"
ok $? "P2: its tree is not lost"
like "$(tell dirty | entries)" '^u/f create,modify,close-write -$' "P2: what was noted is kept"
like "$(tell settle)" '^done' "and can be settled"
mount -o remount,rw xfs
echo 3 >xfs/t/u/f
mkdir xfs/t/new
is "$(tell dirty | entries)" "u/f modify,close-write -
new create subtree" "P2: writable again it goes on"
tell settle >/dev/null
is "$(marks "$id")" $((had + 1)) "with all its marks"
gone
del "$id"
fs_down
ok $? "P9: and it can be unmounted"

# --- the root renamed: still the tree
mkdir -p r/sub elsewhere
consumer "$PWD/r"
mv r r2
like "$(flags "$id")" '^moved,attached' "a root that is renamed is said to be"
echo 1 >r2/sub/f
like "$(tell dirty | entries)" '^sub/f create,modify,close-write -$' "P2: its changes are noted by their paths"
mv r2 elsewhere/
mkdir r
echo 1 >r/other
is "$(tell dirty | entries | wc -l)" 1 "what took its place is another one"
echo 2 >elsewhere/r2/sub/g
like "$(tell dirty | entries)" '^sub/g ' "in another directory too"
tell settle >/dev/null
gone
like "$(hfnl resource R , path "$PWD/r" , add elsewhere/r2)" 'moved,attached,resumed' "it is taken over where it is"
like "$(hfnl resource R , add "$PWD/r" | grep '^tree')" 'attached' "the other one"
is "$(field 2 | wc -l)" 2 "is a tree of its own"
clean

# --- the root deleted
mkdir -p e/sub
id=$(add E "$PWD/e")
rmdir e/sub e
lost "$id" "the root removed"
mkdir -p e/sub
echo 1 >e/sub/f
is "$(dirty "$id" | wc -l)" 0 "what takes its place is not noted"
is_lost "$id"
ok $? "P2: and makes the tree no less lost"
del "$id"
rm -r e

# by who has it open: its inode stays for that long, and is nobody's root
mkdir e
id=$(add E "$PWD/e")
exec 8<e
rmdir e
like "$(hfnl tree "$id" , barrier | grep '^state')" '^state [0-9]+ [a-z,]*lost' \
	"P2: the root removed, and still open: lost"
exec 8<&-
lost "$id" "the root removed, and closed"
del "$id"

fill "$PWD/e"
consumer "$PWD/e"
echo 1 >e/1/1/f
rm -rf e
lost "$id" "the root removed with all below, under a consumer"
like "$(tell walk)" '^done' "its consumer finds nothing to walk"
like "$(tell settle)" '^done' "nor to settle"
like "$(tell mark "$PWD")" '^failed ESTALE' "and marks nothing any more"
gone
like "$(flags "$id")" '^lost(,stores)?$' "P2: it stays lost without one"
mkdir e
like "$(hfnl resource R , add "$PWD/e")" "^tree $((id + 1)) attached" "one in its place is another tree"
del "$id"
del $((id + 1))
rm -r e

# the events of a lost tree tell of it, once
mkdir -p v/sub
id=$(add V "$PWD/v")
hfnl events 3 >events &
listener=$!
soon grep -q listening events
rm -r v
soon grep -q "^event $id [0-9]* .* \.\$" events
ok $? "P2: who listens hears that a tree is lost, as its root"
{ kill $listener && wait $listener; } 2>/dev/null
del "$id"
finish
