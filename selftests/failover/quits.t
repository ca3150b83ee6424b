#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What ends does not keep others waiting: a request that comes to a resource which has just been deleted is answered,
# and a daemon ends though a tree hangs.
# shellcheck disable=SC2034	# what lib.sh reads
LEASE=30s
. "$(dirname "$0")/lib.sh"
cluster a
mkdir -p "$tmp/a/root/srv/t"; echo one >"$tmp/a/root/srv/t/f"
# the third job is queued when its worker is about to end, and writes what it counted
up a HOLDFAST_SEAM=job.run:3:sleep=3000,account.flush:1:sleep=6000
until_true 60 hf a node list >/dev/null; ok $? "a daemon"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null && hf a offline r >/dev/null; ok $? "a resource"
timeout 25 "$B/holdfast" -c "$tmp/a/conf" sync r </dev/null >"$tmp/sync" 2>&1 & sync=$!
sleep 1
run 0 "it is deleted" a resource delete r
wait $sync; is $? 3 "who asked for something meanwhile is told that there is none"
crash a

up a HOLDFAST_SEAM=tracker.drain:0:sleep=40000
until_true 60 hf a node list >/dev/null; ok $? "a daemon again"
kill -TERM "${pid[a]}"
until_true 15 eval '! alive a'; ok $? "it ends, though who looks for changes does not come back"
plan
