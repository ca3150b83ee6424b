#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P1: a change wakes its resource's worker also where that one was just about to wait for nothing.
export LEASE=30s	# a heartbeat each 6 s: what would wake it otherwise
. "$(dirname "$0")/lib.sh"
later() { [ "$(field a r generation)" -gt "$1" ]; }
cluster a
mkdir -p "$tmp/a/root/srv/t"; echo one >"$tmp/a/root/srv/t/f"
# it writes what it counted into the record, for a while, before it waits
up a HOLDFAST_SEAM="account.due:0:eio,account.flush:0:sleep=1000"
until_true 60 hf a node list >/dev/null; ok $? "a daemon"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online"
first=$(field a r generation)
echo two >"$tmp/a/root/srv/t/f"
until_true 10 later "$first"; ok $? "a change is committed"
second=$(field a r generation)
echo three >"$tmp/a/root/srv/t/f"
until_true 5 later "$second"; ok $? "and so is the next, which came meanwhile"
grep -q commits "$tmp/a/state/record"; ok $? "the record has what was counted"
plan
