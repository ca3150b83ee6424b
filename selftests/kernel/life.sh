#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The life of trees: taken over, changed in every way, two at a time, within bounds.

# shellcheck source=selftests/kernel/trees
. "$(dirname "$0")/trees"
begin

mkdir -p t/a/b t/c
echo 1 >t/a/f

consumer "$PWD/t"
like "$(hfnl resource R , add "$PWD/t" 2>&1)" 'EBUSY|busy|consumes' "a second consumer is refused"
rmmod holdfast 2>/dev/null
is $? 1 "P2: the module stays while a tree is registered"
echo 2 >t/a/f
gone
echo 3 >t/a/b/later
mkdir t/d
echo 4 >t/d/inside
like "$(hfnl resource R , add "$PWD/t")" 'attached,resumed' "P2: when it is gone another takes the tree over"
is "$(hfnl resource R , add "$PWD/t" , dirty | entries)" "a/f modify,close-write -
a/b/later create,modify,close-write -
d create subtree
d/inside create,modify,close-write -" "P2: and what changed before and since"
is "$(hfnl resource R , add "$PWD/t" , settle , barrier | awk '/^state/ { print $5 }')" 0 "which it settles"
like "$(hfnl resource other , add "$PWD/t" , del ; hfnl list)" '^state 1 ' "another name is another tree"

# a directory with noted names goes: its name in its parent stays
consumer "$PWD/t"
mkdir t/x
echo 1 >t/x/y
tell settle >/dev/null
echo 2 >t/x/y
rm t/x/y
rmdir t/x
is "$(tell dirty | entries)" "x delete -" "P3: of a deleted directory its name is left"
tell settle >/dev/null

# what is moved out is forgotten, what comes back is scanned
mkdir -p t/m/n/o
tell settle >/dev/null
marks=$(tell barrier | awk '/^state/ { print $6 }')
mv t/m out
fewer() {
	[ "$(marks "$id")" -lt "$marks" ]
}
soon fewer
is "$(marks "$id")" $((marks - 3)) "what was moved out loses its marks"
tell settle >/dev/null
echo 1 >out/n/o/p
is "$(tell dirty | entries)" "" "and is no longer noted"
mv out t/m
like "$(tell dirty | entries)" '^m .*moved-to.* subtree$' "moved in it is to be scanned"
tell settle >/dev/null
echo 2 >t/m/n/o/p
is "$(tell dirty | entries)" "m/n/o/p modify,close-write -" "and marked by who scans it"
mv t/m/n t/a/moved
is "$(tell dirty | entries)" "a/moved/o/p modify,close-write -
m/n moved-from -
a/moved moved-to subtree" "P2: what is noted follows a rename"
tell settle >/dev/null

mkdir t/one t/two
echo 1 >t/one/f
tell settle >/dev/null
echo 2 >t/one/f
like "$(tell exchange t/one t/two)" '^done' "two directories are exchanged"
is "$(tell dirty | entries)" "two/f modify,close-write -
one moved-from,moved-to subtree
two moved-from,moved-to subtree" "P2: what is noted goes where they go"
tell settle >/dev/null

# what one process changes is left out, what others change is not
tell exclude 1 >/dev/null
tell write t/a/f own >/dev/null
tell mkdir t/own >/dev/null
echo other >t/c/other
is "$(tell dirty | entries)" "own create subtree
c/other create,modify,close-write -" "a restore's own changes are left out, but for new directories"
tell exclude 0 >/dev/null
tell write t/a/f again >/dev/null
like "$(tell dirty | entries)" '^a/f ' "until that ends"
tell exclude 1 >/dev/null
gone
like "$(hfnl list)" '^state 1 (-|stores) ' "with the socket the exclusion ends, not the tree"
hfnl tree 1 , del >/dev/null
is "$(hfnl list)" "" "deleted"

# two trees are apart, wherever they lie: equal ones, and one within the other
mkdir -p w/in/deep w/beside
one=$(add One "$PWD/w") same=$(add Same "$PWD/w") inner=$(add Inner "$PWD/w/in")
is "$(marks "$one") $(marks "$same") $(marks "$inner")" "4 4 2" "the same directories are marked for each"
echo 1 >w/beside/f
echo 1 >w/in/deep/f
is "$(dirty "$one") / $(dirty "$same") / $(dirty "$inner")" \
	"$(printf 'beside/f create,modify,close-write -\nin/deep/f create,modify,close-write -%.0s / ' 1 2)deep/f create,modify,close-write -" \
	"P2: each notes what lies in it, by its own paths"
hfnl resource One , add "$PWD/w" , settle >/dev/null
is "$(dirty "$one")" "" "what one has acknowledged"
is "$(dirty "$same" | wc -l) $(dirty "$inner" | wc -l)" "2 1" "P2: the others keep"
mv w/in away
is "$(dirty "$one" | tail -n 1)" "in moved-from -" "the inner one's root leaves the outer"
like "$(flags "$inner")" moved "which the inner one says"
echo 2 >away/deep/f
is "$(dirty "$inner")" "deep/f create,modify,close-write -" "P2: and goes on"
is "$(dirty "$one")" "in moved-from -" "the outer one does not"
del "$one"
echo 3 >w/beside/f
like "$(dirty "$same")" '^beside/f ' "P2: of two equal ones the other outlives one"
mv away w/in
hfnl resource Same , add "$PWD/w" , settle >/dev/null
is "$(marks "$same") $(marks "$inner")" "4 2" "back again it is in both"
rm -r w
like "$(flags "$same") $(flags "$inner")" 'lost.* .*lost' "P2: deleted both are lost"
del "$same"
del "$inner"

# bounds
mkdir -p b/1 b/2 b/3
echo 4 >/sys/module/holdfast/parameters/marks_max
consumer "$PWD/b"
like "$(hfnl list)" 'coarse|attached' "at the bound of marks"
mkdir b/4
like "$(tell dirty | entries)" '^4 create subtree$' "P2: what cannot be marked is to be scanned"
like "$(tell walk)" 'failed .*' "which says so"
like "$(hfnl list)" 'coarse' "and makes the tree coarse"
echo 1000 >/sys/module/holdfast/parameters/dirty_max
for i in $(seq 50); do echo 1 >b/1/$i; done
like "$(tell dirty | entries)" '^1 [^ ]*modify[^ ]* subtree$' "P2: beyond the bound of memory a directory as a whole is noted"
echo 1 >b/1/51
like "$(tell dirty | entries)" '^1 [^ ]*modify[^ ]* subtree$' "which stays"
gone
hfnl tree "$id" , del >/dev/null
finish
