#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The delete-guard sees a deletion as a whole: of one that comes in several rounds nothing is committed before it holds back the
# rest; one that it allows is committed by itself. (P1, P8; its arithmetic: rules/t_guard)
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/lib.sh"
cluster a
A=$tmp/a/root/srv/t
mkdir -p "$A"
fill() { local i; for i in $(seq 40); do echo "$i" >"$A/$i"; done; }
gen() { field a r generation; }
# shellcheck disable=SC2120	# its callers are until_true's
held() { hf a status r >"$tmp/out" && grep -q "delete-guard${1-}" "$tmp/out"; }
fill
up a; ok $? "a node"
hf a resource add r >/dev/null && hf a resource set r settle=4s >/dev/null && hf a checkpoint add r /srv/t >/dev/null &&
	hf a online r >/dev/null && hf a sync r >/dev/null; ok $? "online, with 40 files"
sleep 5	# the first change after a pause would be committed at once
was=$(gen)
kill -STOP "${pid[a]}"
rm "$A"/1?
kill -CONT "${pid[a]}"
sleep 1	# it is looked at, and put off
is "$(gen)" "$was" "a part of a deletion is not committed while more may go"
rm "$A"/2? "$A"/3?
until_true 30 held '.*: 30 of'; ok $? "the rest goes: the guard holds it back"
is "$(gen)" "$was" "nothing of it was committed"
says out '30 of 41 entries of /srv/t would be deleted, more' "and all of it is counted"
run 5 "sync is refused" a sync r
fill
run 0 "what is put back is as it was" a sync r
! held; ok $? "and nothing is held back"

hf a resource set r settle= >/dev/null
was=$(gen)
rm "$A"/1?
until_true 30 eval '[ "$(gen)" != "$was" ] && [ -z "$(hf a diff r)" ]'; ok $? "one that is allowed is committed by itself"
rm "$A"/2? "$A"/3?
until_true 30 held '.*: 30 of'; ok $? "what follows within a minute is counted with it"
says out '30 of 41 entries of /srv/t would be deleted (10 of them are already, generation' "which is told"
g=$(sed -n 's/.*generation \([0-9]*\) has them.*/\1/p' "$tmp/out" | head -1)
run 0 "the generation that is named" a restore r --generation "$g" --to "$tmp/a/back"
is "$(find "$tmp/a/back" -type f | wc -l)" 40 "has all of them"
run 0 "when it is meant it is said" a sync r --allow-delete
is "$(hf a diff r)" "" "then it is committed"
plan
