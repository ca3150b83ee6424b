#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W10: when a resource is deleted its checkpoints are, and their space comes back (P8); its files stay.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv
mkdir -p "$A/x" "$A/y"; head -c 3000000 /dev/urandom >"$A/x/f"; echo y >"$A/y/f"
free() { hf a --json disk check | $PY -c 'import json,sys; print(sum(x["free_bytes"] for x in json.load(sys.stdin)["space"]))'; }
up a && up b; ok $? "two nodes"
was=$(free)
for r in r keep; do hf a resource add $r >/dev/null; done
hf a checkpoint add r /srv/x >/dev/null && hf a checkpoint add keep /srv/y >/dev/null && hf a online r >/dev/null && hf a online keep >/dev/null; ok $? "two resources"
[ "$(free)" -lt $((was - 2900000)) ]; ok $? "they take space"
run 5 "while it is online it stays" a resource delete r --yes
hf a offline r >/dev/null
run 0 "a dry run" a resource delete r --dry-run
run 0 "deletes nothing" a resource show r
run 0 "W10: the resource is deleted" b resource delete r --yes
hf b --json checkpoint list >"$tmp/out"; ! grep -q '/srv/x' "$tmp/out"; ok $? "W10, P8: and its checkpoints"
says out /srv/y "no others"
[ -s "$A/x/f" ]; ok $? "its files stay where they are"
run 3 "it cannot be brought online" a online r
run 3 "nor told of" a history r
until_true 30 eval '[ "$(free)" -ge $((was - 1000000)) ]'; ok $? "P8: its space comes back"
run 0 "the other one goes on" a sync keep
run 0 "the disk is sound" a disk check
hf a resource add r >/dev/null && hf a checkpoint add r /srv/x >/dev/null; run 0 "the name can be used again" a online r
is "$(field a r generation)" 1 "for something new"
plan
