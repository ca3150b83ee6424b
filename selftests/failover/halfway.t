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
says err 'may be half of generation' "  because it is half"
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
plan
