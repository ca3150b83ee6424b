#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P1: what comes after a generation that a burst made fuzzy does not wait as if the burst would never end.
. "$(dirname "$0")/lib.sh"
cluster a
T=$tmp/a/root/srv/t
mkdir -p "$T"; echo one >"$T/f"
# each look at names takes long, so that it always finds new ones; and what waits after it waits for seconds
up a HOLDFAST_SEAM="capture.names:0:sleep=200,fuzzy.wait:0:eio"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online"
( i=0; while :; do i=$((i + 1)); echo $i >"$T/n$i"; sleep 0.05; done ) & w=$!; extra_pids="$extra_pids $w"
until_true 60 field_is a r consistent false; ok $? "a burst, and a fuzzy generation of it"
kill $w; wait $w 2>/dev/null
until_true 40 eval 'field_is a r dirty 0 && field_is a r consistent true'; ok $? "what came last is committed when it has ended"
run 0 "nothing is left" a diff r
! grep -q srv "$tmp/out"; ok $? "of it"
plan
