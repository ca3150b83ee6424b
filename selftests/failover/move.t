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
until_true 10 field_is b pg state offline
sleep 1
! field_is b pg state online; ok $? "  and what was asked for in vain does not come about later"
run 0 "it can be brought online again" a online pg
crash a
until_true 20 field_is b pg owner_state down
run 5 "an owner that is dead" b move pg b
says err 'takes it over' "  it is said what to do"
plan
