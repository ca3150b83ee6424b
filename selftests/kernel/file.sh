#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A tree that is one file: one name in a directory, whatever lies there, and all that
# can be done to a name. What happens beside it is not noted.

# shellcheck source=selftests/kernel/trees
. "$(dirname "$0")/trees"
begin

mkdir s
echo 1 >s/other
id=$(add F "$PWD/s" only)
where=$PWD/s
settle() { # whoever takes it over names where it was
	hfnl resource F , path "$PWD/s" , add "$where" only , settle >/dev/null
}
# noted NAME WANTED: of what was done since the last time
noted() {
	is "$(dirty "$id")" "$2" "$1"
	settle
	is "$(dirty "$id")" "" "$1: acknowledged"
}

is "$(marks "$id")" 1 "its directory is marked"
echo 2 >s/other
mkdir s/dir s/only2 s/onl
echo 3 >s/dir/only
chmod 700 s
touch s
mv s/other s/another
ln s/another s/link
noted "beside it nothing counts, nor does its directory" ""
echo 1 >s/only
noted "P2: it is made" "only create,modify,close-write -"
echo 2 >>s/only
noted "P2: written in place" "only modify,close-write -"
chmod 600 s/only
noted "P2: its attributes" "only attrib -"
exec 8>>s/only
echo 3 >&8
noted "P2: written, and still open" "only modify open"
exec 8>&-
noted "P2: closed" "only close-write -"
echo 4 >s/temporary
mv s/temporary s/only
noted "P2: replaced by a rename" "only moved-to -"
echo 5 >outside
mv outside s/only
noted "P2: replaced from another directory" "only moved-to -"
echo 6 >s/only
noted "P2: the new one is written" "only modify,close-write -"
ln s/only s/keep
noted "another name of it changes neither" ""
rm s/only
noted "P2: deleted" "only delete -"
echo 7 >s/keep
noted "what was it once is nobody's now" ""
echo 8 >s/only
noted "P2: made again" "only create,modify,close-write -"
rm s/only
ln s/keep s/only
noted "P2: deleted, and another linked in its place" "only create,delete -"
ln -f s/another s/only
like "$(dirty "$id")" '^only .*(create|moved-to)' "P2: linked over"
settle
ln -sf another s/only
like "$(dirty "$id")" '^only .*(create|moved-to)' "P2: a symbolic link over it"
settle
echo 9 >s/only
noted "what a symbolic link leads to is another file" ""
mv s/only s/aside
noted "P2: renamed away" "only moved-from -"
mv s/aside s/only
noted "P2: and back" "only moved-to -"
hfnl exchange s/only s/another
noted "P2: exchanged for another" "only moved-from,moved-to -"

# a directory in its place is one name, too: nothing in it is noted
mkdir s/d
echo 1 >s/d/f
rm s/only
mv s/d s/only
noted "P2: a directory takes its place" "only delete,moved-to -"
echo 2 >s/only/f
mkdir s/only/below
noted "in which nothing counts" ""
is "$(marks "$id")" 1 "nor is it marked"
rm -r s/only
noted "P2: it goes" "only delete -"
echo 1 >s/only
settle

# beside a tree of the whole directory, and one of another file
other=$(add G "$PWD/s" other) whole=$(add H "$PWD/s")
echo 2 >s/only
echo 2 >s/other
is "$(dirty "$other")" "other create,modify,close-write -" "P2: two files of one directory are two trees"
is "$(dirty "$whole" | wc -l)" 2 "P2: and both are of the directory's own"
noted "P2: each its own" "only modify,close-write -"
like "$(hfnl resource F , add "$PWD/s" other)" '^tree [0-9]+ attached(,stores)? ' "another name of it is another tree"
for i in $(field 2); do [ "$i" = "$id" ] || del "$i"; done

# its directory moves, and ends
mv s s2
where=$PWD/s2
like "$(flags "$id")" moved "its directory is renamed: the tree is said to be"
echo 3 >s2/only
noted "P2: and goes on" "only modify,close-write -"
mkdir s
echo 1 >s/only
noted "in its old place is another one" ""
rm -r s2
is_lost "$id"
ok $? "P2: its directory is deleted: lost, not empty"
clean
finish
