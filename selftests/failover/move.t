#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `holdfast move R NODE`: the owner releases, the node that is named goes online with all that was there; what cannot be is
# refused, and a request that nobody fulfils does not stay. (P1, P4, P5)
. "$(dirname "$0")/lib.sh"
cluster a b c
up a && up b && up c; ok $? "three daemons"
mkdir -p "$tmp/a/root/srv/app"
echo one >"$tmp/a/root/srv/app/main"
hf a resource add pg >/dev/null && hf a checkpoint add pg /srv/app >/dev/null; ok $? "a resource"
run 5 "online nowhere" a move pg b
says err 'holdfast online pg' "  it is said what to do"
run 0 "online on a" a online pg
run 0 "already there" a move pg a
says out 'already' "  is said"
echo two >"$tmp/a/root/srv/app/main"
echo late >"$tmp/a/root/srv/app/late"
run 0 "asked of the owner" a move pg b
field_is b pg state online && field_is b pg owner b; ok $? "it is online on b"
until_true 5 field_is a pg owner b; ok $? "  as a knows"
same a b srv/app; ok $? "P1, P5: with all that was there, which no sync confirmed"
echo three >"$tmp/b/root/srv/app/main"
run 0 "asked of a third node" c move pg a
field_is a pg owner a; ok $? "it is online on a"
same a b srv/app; ok $? "P1: with all that was there"
run 0 "--json" a --json move pg c
says out '"node":"c"' "  is an object"
run 0 "offline after a move stays offline" c offline pg
sleep 1	# some heartbeats
field_is c pg state offline && field_is b pg state offline; ok $? "  on all nodes"

run 0 "online on a" a online pg
run 3 "a node that there is not" a move pg nobody
run 3 "a resource that there is not" a move none b
run 2 "no node" a move pg
run 0 "a cluster manager has it" a resource set pg managed=yes
run 5 "P4: then it is refused" b move pg b
says err managed "  and said why"
run 0 "no longer" a resource set pg managed=
down c
left() { hf a --json node list | grep -q '"name":"c"[^}]*"state":"left"'; }
until_true 10 left; ok $? "a node leaves"
run 5 "a node that is not up" a move pg c
field_is a pg state online; ok $? "  it stays where it is"

# the node that is named dies before it can
mkdir -p "$tmp/b/root/srv"
kill -STOP "${pid[b]}"
hf a move pg b --timeout 2s >"$tmp/out" 2>"$tmp/err"
rc=$?
kill -CONT "${pid[b]}"
[ $rc = 1 ] || [ $rc = 5 ]; ok $? "a node that stops meanwhile: it fails, or is refused"
until_true 10 field_is a pg state online; ok $? "  it is online again where it was"
sleep 1
field_is a pg owner a; ok $? "  and what was asked for in vain does not come about later"

# what cannot be committed stays where it is, and so does the resource
for i in $(seq 30); do echo "$i" >"$tmp/a/root/srv/app/$i"; done
run 0 "many files" a sync pg
kill -STOP "${pid[a]}"
rm "$tmp/a/root/srv/app/"1? "$tmp/a/root/srv/app/"2?; echo important >"$tmp/a/root/srv/app/main"
kill -CONT "${pid[a]}"
run 7 "P1: with a deletion that the guard holds back it is not moved" a move pg b
says err 'delete-guard' "  it is said why"; says err 'holdfast sync pg --allow-delete' "  and what to do"
says err 'stays on a' "  and where it is"
is "$(field a pg state) $(field a pg owner)" "online a" "  which is so"
run 7 "nor when another node asks" b move pg b
says err 'holdfast sync pg --allow-delete' "  which is told the same"
run 0 "it is meant" a sync pg --allow-delete
run 0 "then it moves" a move pg b
is "$(cat "$tmp/b/root/srv/app/main") $(ls "$tmp/b/root/srv/app" | wc -l)" "important 12" "P1: with what was changed last"

mv "$tmp/b/root/srv/app" "$tmp/b/root/srv/away"
run 7 "nor with a tree that is gone" b move pg a
says err 'srv/app is gone or not the tree it was; bring it back.*stays on b' "  it is said why, and what to do"
mv "$tmp/b/root/srv/away" "$tmp/b/root/srv/app"
run 0 "it is back" b sync pg

# the node that is named cannot
rm -rf "$tmp/a/root/srv"; echo x >"$tmp/a/root/srv"
run 1 "P5: a node that cannot restore it" b move pg a
says err 'could not be brought online on a: .*move away what is in its way' "  its reason is told"
says err 'online on b again' "  and where it is"
is "$(field b pg state) $(field b pg owner)" "online b" "  which is so"
up c; ok $? "a third node is up again"
run 1 "a third one asks for it" c move pg a
says err 'move away what is in its way.*online on b again' "  and is told the same"
is "$(field b pg state) $(field b pg owner)" "online b" "  as it is"
sees() { hf c --json node list | grep -q "\"name\":\"$1\"[^}]*\"state\":\"up\""; }
down a; up a HOLDFAST_SEAM=claim.ballot:1:sleep=4000; ok $? "one that takes its time before it cannot"
until_true 20 sees a
hf c move pg a >"$tmp/out" 2>"$tmp/err" & last=$!
until_true 20 field_is c pg state offline; ok $? "  the owner has let go"
crash b
wait $last; is $? 1 "  and dies: the move fails"
says err 'it is offline: .holdfast online pg. on b brings it back' "  and says what brings it back"
rm "$tmp/a/root/srv"; mkdir "$tmp/a/root/srv"
run 0 "it is brought online elsewhere" c online pg

# --- the time is over while it is being restored
down a; up a HOLDFAST_SEAM=restore.rename:1:sleep=4000; until_true 20 sees a
run 1 "P5: what is not online in time is no success" c move pg a --timeout 2s
says err 'in time; it is on a' "  it is said where it is"
until_true 20 field_is a pg state online; ok $? "  it gets there"
until_true 5 field_is c pg owner a; same c a srv/app; ok $? "  whole"

# --- the time is over while its owner is at it
down a; up a HOLDFAST_SEAM=release.append:1:sleep=3000
until_true 20 field_is a pg state online && until_true 20 sees a; ok $? "an owner that takes its time"
echo late >"$tmp/a/root/srv/app/main"
run 1 "it has not let go in time" c move pg c --timeout 1s
until_true 30 grep -q 'pg: who wanted it moved does not wait any more' "$tmp/a/log"; ok $? "when it has, nobody waits any more"
until_true 30 field_is a pg state online && field_is a pg owner a; ok $? "  and it brings it online again"
is "$(cat "$tmp/a/root/srv/app/main")" late "  as it was"
crash a
until_true 20 field_is c pg owner_state down
run 5 "an owner that is dead" c move pg c
says err 'takes it over' "  it is said what to do"
plan
