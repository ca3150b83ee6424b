#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `holdfast move R NODE` of which nobody is left but the owner: it keeps the resource, and lets go for it at no later time.
# And two at once: the later one counts, and who is told that his came to nothing does not undo it. (P1, P4)
export LEASE=3s
. "$(dirname "$0")/lib.sh"
cluster a b c
up a && up b && up c HOLDFAST_SEAM=release.row:1:kill; ok $? "three daemons, one of which dies when it has asked for something"
mkdir -p "$tmp/a/root/srv/app"
echo one >"$tmp/a/root/srv/app/main"
hf a resource add pg >/dev/null && hf a checkpoint add pg /srv/app >/dev/null; ok $? "a resource"
run 0 "online on a" a online pg
until_true 10 field_is c pg owner_state up
kill -STOP "${pid[b]}"
sleep 1.5	# two heartbeats: nobody sees a later one of b
kill -STOP "${pid[a]}"
hf c move pg b >"$tmp/out" 2>"$tmp/err"
says err 'went away' "it is asked for, and who asked is dead"
crash c; crash b
sleep 2		# what a knew of the others is old
kill -CONT "${pid[a]}"
told() { grep -q "not moved: pg is not moved, because b is not up any more" "$tmp/a/log"; }
until_true 30 told; ok $? "the owner finds that the node is gone"
is "$(field a pg state) $(field a pg owner)" "online a" "  and keeps the resource"
up b; ok $? "that node is back"
until_true 20 field_is b pg owner_state up
sleep 2		# some heartbeats
is "$(field b pg state) $(field b pg owner)" "online a" "  and what was asked for in vain does not come about"

up c HOLDFAST_SEAM=claim.ballot:2:sleep=3000; ok $? "a node that takes its time to take over"
until_true 20 field_is c pg owner_state up
kill -STOP "${pid[a]}"
hf b move pg b >"$tmp/bout" 2>"$tmp/berr" & first=$!
sleep 0.7
kill -STOP "${pid[b]}"
hf c move pg c >"$tmp/out" 2>"$tmp/err" & second=$!
sleep 0.7
kill -CONT "${pid[a]}"
until_true 20 field_is a pg state offline; ok $? "two ask for it, and the owner has let go"
kill -CONT "${pid[b]}"
wait $first; is $? 1 "the first one does not get it"
wait $second; is $? 0 "the second one does"
! grep -q 'online on a again' "$tmp/berr"; ok $? "  and nobody is told anything else"
is "$(field c pg state) $(field c pg owner)" "online c" "  as it is"
! grep -q 'stale: pg was taken over' "$tmp/a/log"; ok $? "P4: it was not brought online anywhere meanwhile"
plan
