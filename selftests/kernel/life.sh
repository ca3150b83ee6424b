#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Life and death of trees: taken over, lost, deleted, moved; and what the
# consumer's socket means.

n=0 failed=0
ok() { # STATUS NAME
	n=$((n + 1))
	[ "$1" = 0 ] || { failed=1; printf 'not '; }
	echo "ok $n - $2"
}
is() { # GOT WANTED NAME
	[ "$1" = "$2" ]
	ok $? "$3"
	[ "$1" = "$2" ] || printf '%s\n' "got:" "$1" "wanted:" "$2" | sed 's/^/# /'
}
like() { # GOT PATTERN NAME
	printf '%s\n' "$1" | grep -qE -e "$2"
	rc=$?
	ok $rc "$3"
	[ $rc = 0 ] || printf '%s\n' "$1" | sed 's/^/# /'
}

echo "TAP version 13"
modprobe holdfast || { echo "Bail out! the module cannot be loaded"; exit 1; }

# a consumer that lives on: its standard input is descriptor 3
consumer() { # DIR [COMMANDS]
	rm -f in
	mkfifo in
	hfnl hold R "$@" <in >said 2>&1 &
	pid=$!
	exec 3>in
	tell barrier >/dev/null
}
tell() { # COMMAND...: its answer
	before=$(grep -c '^\(done\|failed\)' said)
	echo "$*" >&3
	for _ in $(seq 200); do
		[ "$(grep -c '^\(done\|failed\)' said)" -le "$before" ] || break
		sleep 0.05
	done
	awk -v skip="$before" 'seen >= skip && !/^tree /; /^(done|failed)/ { seen++ }' said
}
gone() { # the consumer ends
	exec 3>&-
	wait "$pid"
}
entries() {
	sed -n 's/^entry [0-9]* [0-9]* \([^ ]*\) \([^ ]*\) .* \([^ ]*\)$/\3 \1 \2/p'
}

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
sleep 0.2
is "$(tell barrier | awk '/^state/ { print $6 }')" $((marks - 3)) "what was moved out loses its marks"
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

# a single file
mkdir s
consumer "$PWD/s" 2>/dev/null
gone
hfnl tree "$(hfnl list | awk '{ print $2 }')" , del >/dev/null
hfnl resource F , add "$PWD/s" only >/dev/null
echo 1 >s/other
mkdir s/dir
is "$(hfnl list | awk '{ print $5 }')" 0 "beside a single file nothing counts"
echo 1 >s/only
mv s/only s/away
is "$(hfnl tree "$(hfnl list | awk '{ print $2 }')" , dirty | entries)" "only create,modify,close-write,moved-from -" \
	"the file itself does"
hfnl tree "$(hfnl list | awk '{ print $2 }')" , del >/dev/null

# the root
mkdir r
hfnl resource G , add "$PWD/r" >/dev/null
mv r r2
like "$(hfnl list)" 'moved' "a root that is renamed is said to be"
rmdir r2
like "$(hfnl list)" 'lost' "P2: deleted: lost, never empty"
like "$(mkdir r; hfnl resource G , add "$PWD/r")" '^tree [0-9]+ attached(,stores)? [0-9]+$' "one in its place is another tree"
for id in $(hfnl list | awk '{ print $2 }'); do
	hfnl tree "$id" , del >/dev/null
done

dd if=/dev/zero of=img bs=1M count=8 2>/dev/null
mke2fs -q -t ext4 img && mkdir mnt && mount -o loop img mnt && mkdir -p mnt/t/u
hfnl resource M , add "$PWD/mnt/t" , walk >/dev/null
echo 1 >mnt/t/u/f
umount mnt
ok $? "P9: a tree is no reason for a filesystem to stay"
like "$(hfnl list)" 'lost' "P2: unmounted: lost"
is "$(hfnl list | awk '{ print $6 }')" 0 "and no mark is left"
hfnl tree "$(hfnl list | awk '{ print $2 }')" , del >/dev/null

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
hfnl tree "$(hfnl list | awk '{ print $2 }')" , del >/dev/null
rmmod holdfast
ok $? "the module goes when nothing is registered"
echo "1..$n"
exit $failed
