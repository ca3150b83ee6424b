#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P7, X12: what a fenced-out node held is compared however long that cannot be done.
. "$(dirname "$0")/lib.sh"
cluster a b
A=$tmp/a/root/srv/t
mkdir -p "$A"; echo one >"$A/f"
# a hundred times in a second
up a HOLDFAST_SEAM="stale.examine:0:eio,stale.wait:0:eio" && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null && hf a sync r >/dev/null; ok $? "online on a"
kill -STOP "${pid[a]}"
echo "never confirmed" >"$A/f"
run 0 "b takes it from a, which stands still" b online r --fenced
kill -CONT "${pid[a]}"
until_true 20 eval 'hf a status r 2>&1 | grep -q "fenced out"'; ok $? "a learns of it"
until_true 20 grep -q 'every five minutes' "$tmp/a/log"; ok $? "what it held cannot be compared, which is said"
sleep 1
hf a status r >"$tmp/out" 2>&1; says out 'what it holds is being compared' "that is not given up"
crash a; up a
until_true 20 eval 'hf a --json displaced list r | grep -q unconfirmed'; ok $? "what was never confirmed is kept aside once it can be"
is "$(hf a --json status r | grep -o '"count": *[0-9]*' | grep -o '[0-9]*' | head -1)" 1 "and counted"
plan
