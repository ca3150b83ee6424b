#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What the caches forget, and what filesystems use again: directories whose dentry is
# gone keep their path (P2), inode numbers that come back are not mistaken for what they
# were.

# shellcheck source=selftests/kernel/trees
. "$(dirname "$0")/trees"
# shellcheck source=selftests/kernel/filesystems
. "$(dirname "$0")/filesystems"
begin

forget() {
	sync
	echo 2 >/proc/sys/vm/drop_caches
}
settle() { # NAME DIR
	hfnl resource "$1" , add "$2" , settle >/dev/null
}
ino() {
	stat -c %i "$1"
}

deep=1/2/3/4/5/6/7/8/9/10/11/12
fs_up ext4 dirsync xfs btrfs
for fs in ext4 dirsync xfs btrfs; do
	top=$PWD/$fs/t
	mkdir -p "$top/a/$deep" "$top/b/$deep"
	id=$(add C "$top")
	had=$(marks "$id")
	forget
	is "$(marks "$id")" "$had" "$fs: no mark is forgotten with the cache"
	echo 1 >"$top/a/$deep/f"
	is "$(dirty "$id")" "a/$deep/f create,modify,close-write -" "P2: $fs: a change deep inside has its path"
	settle C "$top"
	forget
	mv "$top/b/1" "$top/b/one"
	forget
	echo 1 >"$top/b/one/${deep#*/}/f"
	is "$(dirty "$id" | sort)" "b/1 moved-from -
b/one moved-to subtree
b/one/${deep#*/}/f create,modify,close-write -" "P2: $fs: and the new one after a rename above it"
	forget
	is "$(dirty "$id" | wc -l)" 3 "P2: $fs: what is noted is not in the cache"
	settle C "$top"
	forget
	ln "$top/a/$deep/f" "$top/a/other"
	rm "$top/a/$deep/f"
	forget
	echo 2 >"$top/a/other"
	is "$(dirty "$id" | sort)" "a/$deep/f delete -
a/other create,modify,close-write -" "P2: $fs: a file is known by the name that it is changed by"
	rm -r "$top/b/one"
	like "$(dirty "$id")" '^b/one delete -$' "P2: $fs: a directory removed after that"
	is "$(marks "$id")" $((had - 12)) "$fs: takes its marks with it"
	hfnl resource C , add "$top" , settle , del >/dev/null
done

# --- inode numbers that are used again: ext4 takes the lowest that is free
# again PATH NUMBER: makes that directory until it has the number
again() {
	for try in $(seq 300); do
		mkdir "$1" || return 1
		[ "$(ino "$1")" != "$2" ] || return 0
		mv "$1" "$PWD/dirsync/kept/$try"
	done
	return 1
}
# as many as there may be in between
clear_kept() {
	rm -rf "$PWD/dirsync/kept"
	mkdir "$PWD/dirsync/kept"
}
top=$PWD/dirsync/t
clear_kept
rm -r "$top"
mkdir -p "$top/x" "$top/y"
id=$(add I "$top")
number=$(ino "$top/x")
echo 1 >"$top/x/f"
rm -r "$top/x"
again "$top/z" "$number"
ok $? "a new directory has the number of a deleted one"
like "$(dirty "$id")" '^x delete -$' "P2: the deleted one is noted"
like "$(dirty "$id")" '^z .*create.* subtree$' "P2: and the new one"
echo 2 >"$top/z/f"
like "$(dirty "$id")" '^z/f create,modify,close-write -$' "P2: whose changes are its own"
! dirty "$id" | grep -q '^x/'
ok $? "not those of the old one"
settle I "$top"

# of one that was moved out, so that its mark is ended late
clear_kept
number=$(ino "$top/z")
mv "$top/z" "$PWD/dirsync/out"
rm -r "$PWD/dirsync/out"
again "$top/z" "$number"
ok $? "so has one with that of one moved out"
settle I "$top"
is "$(marks "$id")" "$(find "$top" -type d | wc -l)" "P2: which is marked"
echo 3 >"$top/z/f"
is "$(dirty "$id")" "z/f create,modify,close-write -" "P2: and noted"
settle I "$top"

# a file
echo 1 >"$top/y/one"
echo 1 >"$top/y/keep"
settle I "$top"
number=$(ino "$top/y/one")
echo 2 >"$top/y/one"
hfnl tree "$id" , dirty >before
rm "$top/y/one"
for i in $(seq 300); do
	echo 3 >"$top/y/two"
	[ "$(ino "$top/y/two")" != "$number" ] || break
	mv "$top/y/two" "$PWD/dirsync/kept/f$i"
done
is "$(ino "$top/y/two")" "$number" "a new file has the number of a deleted one"
# shellcheck disable=SC2046
hfnl resource I , add "$top" , ack $(sed -n 's/^entry \([0-9]* [0-9]*\) .*/\1/p' before) >/dev/null
like "$(dirty "$id")" '^y/one .*delete' "P2: an acknowledgement of what it was leaves the deletion"
like "$(dirty "$id")" '^y/two create,' "P2: and the new file"

# the root
clear_kept
number=$(ino "$top")
rm -r "$top"
is_lost "$id"
ok $? "P2: the root is deleted: lost"
again "$top" "$number"
ok $? "another has its number, name and place"
like "$(hfnl resource I , add "$top")" "^tree $((id + 1)) attached(,stores)? " "P2: it is another tree"
is_lost "$id"
ok $? "P2: the old one stays lost"
echo 1 >"$top/f"
is "$(hfnl tree "$id" , dirty | grep -c '^entry')" 0 "and hears nothing of the new one"
clean
fs_down
ok $? "P9: nothing holds the filesystems"
finish
