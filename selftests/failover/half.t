#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P1: a log that cannot be read begins anew only from trees that are known to be all that was in it: not from those of
# a node that owned it last, and never came to the end of its restore or of a rollback, nor from what a power cut left.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/lib.sh"
cluster a b
A=$tmp/a/root/srv/t B_=$tmp/b/root/srv/t
mkdir -p "$A" "$B_"
damage() { "$PY" "$top/selftests/rules/damage.py" records "$tmp/copy" "$tmp/disk" >"$tmp/out" 2>"$tmp/err"; }
journal() { $PY -c 'import json,sys; print(json.load(open(sys.argv[1])).get("'"$1"'"))' "$tmp/b/state/resources/r"; }
all() { cat "$1"/[1-6] | sort -u; }
# died in what it was told, at a seam
dies() {
	local seam=$1
	shift
	down b; up b HOLDFAST_SEAM="$seam:kill"
	until_true 20 eval '[ "$(field b r state)" != online-pending ]'
	hf b "$@" >/dev/null 2>&1
	until_true 10 eval '! alive b'; ok $? "b dies at $seam"
	crash b
}
settles() { until_true 20 eval '[ "$(field b r state)" != online-pending ]'; }
# all that counts of it is written after the copy
anew() { cp "$tmp/disk" "$tmp/copy" && hf b resource rebuild r >/dev/null; }

for i in 1 2 3 4 5 6; do echo old >"$B_/$i"; done
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf b checkpoint add r /srv/t >/dev/null
cp "$tmp/disk" "$tmp/copy"
hf b online r >/dev/null && hf b offline r >/dev/null && hf a online r >/dev/null; ok $? "b had it, a has it"
for i in 1 2 3 4 5 6; do echo new >"$A/$i"; done
run 0 "P1: sync" a sync r
run 0 "offline" a offline r

# a log that was to begin anew here once, and was not, says nothing of a takeover that comes later
down b; sed -i 's/"anew":false/"anew":true/' "$tmp/b/state/resources/r"; is "$(journal state),$(journal anew)" offline,True "b was to rebuild it once"
up b
dies restore.rename:3 online r
is "$(all "$B_" | tr '\n' ' ')" "new old " "b claimed it, and died while it restored"
damage; ok $? "the log is damaged"
up b; settles
run 5 "rebuild" b resource rebuild r --yes
says err 'nothing tells that this node.s trees are all' "P1: is refused, as its trees are between two states"
says err 'say --keep-local' "and it says what to do"
run 5 "a dry run" b resource rebuild r --dry-run
run 8 "the log is as it was" a diff r
run 5 "another node" a resource rebuild r --yes
down b; up b; settles
run 5 "a restart of the daemon" b resource rebuild r --yes
cp -a "$A/." "$B_/"
run 0 "an administrator mends the trees, and says so" b resource rebuild r --keep-local
is "$(field b r state)" online "it is online"
run 0 "the disk is sound" b disk check
hf b offline r >/dev/null; run 0 "the other node has it" a online r
is "$(all "$A")" new "P1: all of it"
hf a offline r >/dev/null; hf b online r >/dev/null

# in order: known, whatever daemon runs
anew; hf b offline r >/dev/null
is "$(journal state)" offline "stopped"
damage; down b; up b
run 8 "online" b online r
run 0 "rebuild: it is known to have all of it" b resource rebuild r
hf b online r >/dev/null

# a machine that booted since
anew; hf b offline r >/dev/null; crash b; damage
sed -i 's/"boot":"[^"]*"/"boot":"another"/' "$tmp/b/state/resources/r"
up b
run 5 "rebuild on a machine that booted since" b resource rebuild r --yes
says err 'or was booted since' "P1: is refused: not all may have been written back"
run 0 "unless it is said" b resource rebuild r --keep-local
hf b online r >/dev/null
anew; hf b sync r >/dev/null; crash b; damage
sed -i 's/"boot":"[^"]*"/"boot":"another"/' "$tmp/b/state/resources/r"
up b; settles
run 5 "the same, of one that was online" b resource rebuild r --yes
run 0 "unless it is said" b resource rebuild r --keep-local

# a rollback that was cut short
anew; G=$(field b r generation)
for i in 1 2 3 4 5 6; do echo newer >"$B_/$i"; done
hf b sync r >/dev/null
dies restore.rename:3 rollback r --to "$G"
is "$(all "$B_" | tr '\n' ' ')" "new newer " "died in a rollback"
damage; up b; settles
run 5 "rebuild" b resource rebuild r --yes
says err 'nothing tells' "P1: is refused"

run 0 "unless it is said" b resource rebuild r --keep-local

# what is noted of another log, of a resource that had the same name
anew; hf b offline r >/dev/null; down b; damage
sed -i 's/"uuid":"[^"]*"/"uuid":"00000000-0000-4000-8000-000000000000"/' "$tmp/b/state/resources/r"
up b
run 5 "rebuild, with what is noted of another log" b resource rebuild r --yes
plan
