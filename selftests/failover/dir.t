#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Shared directories as the store: two daemons, takeovers, directories that go away and come back out of date.
. "$(dirname "$0")/lib.sh"
mkdir "$tmp"/m{0,1,2,other}
STORE=dir:$tmp/m0:$tmp/m1:$tmp/m2

# setting up, as an administrator does
node i
sed -i '/^\[store\]/,/^url/d' "$tmp/i/conf"
run 3 "init: a directory that is not there" i init "dir:$tmp/none" --name one --size 64MiB
touch "$tmp/mother/file"
run 5 "init: one that is not empty" i init "dir:$tmp/mother" --name one --size 64MiB
says err 'carries other files' "says why"
rm "$tmp/mother/file"
run 2 "init: the same one twice" i init "dir:$tmp/mother:$tmp/mother" --name one --size 64MiB
run 2 "init: a path that is not absolute" i init "dir:mother" --name one --size 64MiB
run 2 "init: too small" i init "dir:$tmp/mother" --name one --size 1MiB
is "$(ls "$tmp/mother")" "" "nothing was written"
run 0 "init" i init "dir:$tmp/mother" --name one --size 64MiB
run 0 "disk info" i disk info
says out '^cluster  *one$' "tells the cluster"
run 0 "disk check of a directory that is named" i disk check "dir:$tmp/mother"
run 5 "it is not made anew by mistake" i disk format "dir:$tmp/mother" --name two --size 64MiB
mv "$tmp/key" "$tmp/key.away"
run 0 "disk info without the key" i disk info
says out '^authenticated  *false' "says so"
run 4 "join: this node is another cluster's" i join "$STORE"
rm -rf "$tmp/i" "$tmp/mother" "$tmp/key.away"

cluster a b
mkdir "$tmp/a/root/srv/d"; echo one >"$tmp/a/root/srv/d/f"
sed -i "s|^url = .*|url = dir:$tmp/m0:$tmp/m1|" "$tmp/b/conf"
timeout 20 "$B/holdfastd" -c "$tmp/b/conf" >"$tmp/out" 2>"$tmp/err"; is $? 2 "a configuration with two of the three is refused"
says err 'names 2 of the 3 directories' "and says why"
sed -i "s|^url = .*|url = $STORE|" "$tmp/b/conf"
run 0 "disk info" a disk info
says out "m2  *counts" "so the third is not left out"
up a && up b; ok $? "two daemons share three directories"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/d >/dev/null
run 0 "online a" a online r
for i in $(seq 40); do head -c 30000 /dev/urandom >"$tmp/a/root/srv/d/$i"; done
run 0 "sync" a sync r
run 5 "P4: online elsewhere is refused while the owner lives" b online r
crash a
run 0 "the other one takes over" b online r --fenced
same a b srv/d; ok $? "P1: with all that was confirmed"
up a; ok $? "the first one is back"
run 6 "P4: and not the owner any more" a sync r
run 0 "disk check" a disk check
run 5 "disk set: not while daemons run" a disk set "$STORE"

# the first directory goes away
mv "$tmp/m0" "$tmp/away"
echo two >"$tmp/b/root/srv/d/f"; rm "$tmp/b/root/srv/d/7"
run 0 "the first directory is gone: sync" b sync r
until_true 10 grep -q "$tmp/m0 failed, and counts no more" "$tmp/b/log"; ok $? "it is named"
run 0 "status" b status
says out 'm0 counts no more.*holdfast disk set' "names it, and what to do"
says out 'store ok' "although the store does all it must"
run 0 "status --json" b --json status
says out '"store_warnings":\[".*m0 counts no more' "says so to programs"
run 0 "disk info" b disk info
says out '^(number 1 of the set)  *out of date' "tells of the one that is not there"
run 0 "offline" b offline r
run 0 "online on the other node" a online r
is "$(cat "$tmp/a/root/srv/d/f")" two "P1: with all that was confirmed since"
mv "$tmp/away" "$tmp/m0"
echo three >"$tmp/a/root/srv/d/f"
run 0 "it is back, as it was when it went away: sync" a sync r
run 0 "disk info" a disk info
says out "m0  *out of date" "tells that it is out of date"
says out "m1  *counts" "and who is not"
crash a; crash b
up b; ok $? "a daemon that starts now"
run 0 "takes over" b online r --fenced
is "$(cat "$tmp/b/root/srv/d/f")" three "P1: and does not believe the directory that is out of date"

# so does a second one; two of three know who counts
mv "$tmp/m1" "$tmp/away"
echo four >"$tmp/b/root/srv/d/f"
run 0 "a second one goes away: sync" b sync r
mv "$tmp/m2" "$tmp/away2"
echo five >"$tmp/b/root/srv/d/f"
until_true 10 eval '! hf b --json status | grep -q "\"store\":\"ok\""'; ok $? "with the last one that has everything the store is gone"
run 7 "sync says so" b sync r
mv "$tmp/away2" "$tmp/m2"
until_true 10 hf b sync r; ok $? "it is back, and so is the owner"
mv "$tmp/away" "$tmp/m1"

# taken in again
run 0 "offline" b offline r
down b; is $? 0 "the daemon stops"
run 0 "disk set" b disk set "$STORE"
rm -rf "$tmp/m1" "$tmp/m2"
run 7 "disk set: one of three cannot tell" b disk set "dir:$tmp/m0"
run 0 "disk set --force" b disk set "dir:$tmp/m0" --force --yes
sed -i "s|^url = .*|url = dir:$tmp/m0|" "$tmp/a/conf" "$tmp/b/conf"
up a; ok $? "a daemon on what was out of date, and was filled"
run 0 "online" a online r
is "$(cat "$tmp/a/root/srv/d/f")" five "P1: has all that was confirmed"
down a; is $? 0 "the daemon stops"
run 0 "disk check" a disk check
plan
