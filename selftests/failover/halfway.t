#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P1, P5: half of a restore is not taken for this node's truth, whoever says --keep-local.
. "$(dirname "$0")/lib.sh"
cluster a b
A=$tmp/a/root/srv/t B_=$tmp/b/root/srv/t
mkdir -p "$A"; for i in 1 2 3 4 5 6; do echo old >"$A/f$i"; done
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null && hf a offline r >/dev/null &&
	hf b online r >/dev/null && hf b offline r >/dev/null; ok $? "both have had it"
hf a online r >/dev/null; for i in 1 2 3 4 5 6; do echo new >"$A/f$i"; done
hf a offline r >/dev/null; ok $? "then all of it changed"
down b; up b HOLDFAST_SEAM="restore.rename:4:eio"
run 1 "a restore that fails in the middle" b online r
is "$(cat "$B_"/f* | sort -u | wc -l)" 2 "leaves half of it"
run 5 "that is not kept" b online r --keep-local
says err 'may be half of a generation' "  because it is half"
says err 'holdfast resource reset r' "  with a way out"
down b; up b
run 5 "nor is it by the next daemon" b online r --keep-local
hf b status r >"$tmp/out"; says out 'halfway:' "  which says so in status"
run 0 "which ends what was begun" b online r
is "$(cat "$B_"/f* | sort -u)" new "all is there"
hf b status r >"$tmp/out"; ! grep -q halfway: "$tmp/out"; ok $? "  and nothing is halfway"
hf b offline r >/dev/null; echo mine >"$B_/f1"
run 0 "then --keep-local does what it says" b online r --keep-local
is "$(cat "$B_/f1")" mine "  and overwrites nothing"

# who vouches for it all the same
hf b offline r >/dev/null; hf a online r >/dev/null; for i in 1 2 3 4 5 6; do echo newer >"$A/f$i"; done; hf a offline r >/dev/null
down b; up b HOLDFAST_SEAM="restore.rename:4:eio"
run 1 "it fails once more" b online r
run 0 "a stop by the cluster manager" b offline r
run 5 "  vouches for nothing" b online r --keep-local
run 0 "resource reset does" b resource reset r
run 0 "then it is kept" b online r --keep-local

# who was killed in the middle, and comes back when another node has had it
hf b offline r >/dev/null; hf a online r >/dev/null; for i in 1 2 3 4 5 6; do echo newest >"$A/f$i"; done; hf a offline r >/dev/null
down b; up b HOLDFAST_SEAM="restore.rename:4:kill"
hf b online r >/dev/null 2>&1; wait "${pid[b]}" 2>/dev/null
run 0 "a has it when b was killed in a restore" a online r --fenced
run 0 "  and stops it" a offline r
up b
until_true 20 eval '[ "$(field b r state)" = offline ]'; ok $? "b finds that its takeover is void"
run 5 "what it has is no generation" b online r --keep-local
run 0 "online restores it" b online r

# a rollback that fails, and whose return fails as well
first=$(field b r generation)
for i in 1 2 3 4 5 6; do echo "of $i" >"$B_/f$i"; done; run 0 "sync" b sync r
down b; up b HOLDFAST_SEAM="restore.rename:3+:eio"
until_true 20 eval '[ "$(field b r state)" = online ]'; ok $? "b goes on"
run 1 "a rollback that goes wrong, and its return too" b rollback r --to "$first"
hf b offline r >/dev/null
run 5 "what is there is neither" b online r --keep-local
plan
