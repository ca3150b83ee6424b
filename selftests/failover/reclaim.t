#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# reclaim after a failed commit, paused inside the claim, while another takes over, commits one generation
. "$(dirname "$0")/lib.sh"
cluster ${ORDER:-b a}
up b; up a "HOLDFAST_SEAM=${SEAM:-commit.append:2:eio,claim.ballot:2:stop}"; ok $? "up"
hf b resource add r >/dev/null
mkdir "$tmp/a/root/srv/d"; echo one >"$tmp/a/root/srv/d/f"
mkdir -p "$tmp/b/root/srv/d"; hf b checkpoint add r /srv/d --allow-empty >/dev/null
run 0 "online a" a online r
hf b offline r >/dev/null 2>&1
echo x >$tmp/a/root/srv/d/f
hf a sync r >/dev/null 2>&1 &
until_true 10 stopped a; ok $? "a is paused in its claim"
hf b history r | sed 's/^/# /'
run 0 "b takes over" b online r --fenced
echo two >"$tmp/b/root/srv/d/f"; echo new >"$tmp/b/root/srv/d/g"
run 0 "sync b: confirmed" b sync r
hf b history r | sed 's/^/# /'
kill -CONT ${pid[a]}
sleep 3
hf a status r | sed 's/^/# a /'
hf b history r | sed 's/^/# /'
sed 's/^/# alog /' $tmp/a/log | tail -8
[ "$(field b r owner)" != a ]; ok $? "P4: a did not take it from b"
crash b; crash a
up b
hf b online r --fenced >/dev/null
is "$(cat $tmp/b/root/srv/d/f)" two "P1: what b confirmed is there"
plan
