#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# an owner that restarts, paused inside its claim, while another takes over
. "$(dirname "$0")/lib.sh"
# the slot decides whose ballot is higher: ORDER="b a" for the other case
cluster ${ORDER:-a b}
up a && up b; ok $? "up"
hf a resource add r >/dev/null
mkdir "$tmp/a/root/srv/d"; echo one >"$tmp/a/root/srv/d/f"
hf a checkpoint add r /srv/d >/dev/null
run 0 "online a" a online r
run 0 "sync a" a sync r
crash a
HOLDFAST_SEAM=${SEAM:-claim.ballot:1:stop} "$B/holdfastd" -c "$tmp/a/conf" 2>>"$tmp/a/log" & pid[a]=$!
until_true 10 stopped a; ok $? "a restarts and is paused in its claim"
run 0 "b takes over" b online r --fenced
echo two >"$tmp/b/root/srv/d/f"; echo new >"$tmp/b/root/srv/d/g"
run 0 "sync b: confirmed" b sync r
kill -CONT ${pid[a]}
sleep 3
hf a status r | sed 's/^/# a /'
hf b status r | sed 's/^/# b /'
hf b history r | sed 's/^/# /'
sed 's/^/# alog /' $tmp/a/log | tail -8
[ "$(field b r owner)" != a ]; ok $? "P4: a did not take it from b"
crash b; crash a
up a; up b
hf b online r --fenced >/dev/null
is "$(cat $tmp/b/root/srv/d/f)" two "P1: what b confirmed is there"
plan
