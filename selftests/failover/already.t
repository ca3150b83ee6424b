#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P4: `online` on an owner that was fenced out, and whose next heartbeat is far away, does not say that it is online already.
# shellcheck disable=SC2034	# what lib.sh reads
LEASE=10s	# a heartbeat each 2 s
. "$(dirname "$0")/lib.sh"
cluster a b
up a && up b; ok $? "two daemons"
mkdir -p "$tmp/a/root/srv/app"
echo one >"$tmp/a/root/srv/app/main"
hf a resource add pg >/dev/null && hf a checkpoint add pg /srv/app >/dev/null; ok $? "a resource"
run 0 "online on a" a online pg
run 0 "once more" a online pg
run 0 "taken over by b" b online pg --fenced
echo two >"$tmp/b/root/srv/app/main"
run 0 "b confirms" b sync pg
run 5 "online on a is refused: b is alive" a online pg
says err "pg is online on b" "and says so"
hf a --json status pg | grep -q 'stale:'; ok $? "a knows that it was fenced out"
run 0 "with --fenced it takes over" a online pg --fenced
is "$(cat "$tmp/a/root/srv/app/main")" two "P1: what b had confirmed is there"
run 0 "sync on a" a sync pg
run 0 "taken over by b" b online pg --fenced
run 0 "a is told to take it, while it believes to have it" a online pg --fenced
run 0 "and has it" a sync pg
run 0 "offline on b, which was fenced out" b offline pg
# one whose log broke, and who has nothing to write since, does not know either
down a; up a HOLDFAST_SEAM=trim.confirm:1+:eio; ok $? "a daemon that cannot tell of a base"
run 0 "online on a" a online pg --fenced
until_true 20 grep -q 'pg: base:' "$tmp/a/log"; ok $? "its log is broken"
run 0 "taken over by b" b online pg --fenced
run 5 "online on a is refused: b is alive" a online pg
plan
