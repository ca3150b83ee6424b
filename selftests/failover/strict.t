#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# strict-stop: what the delete-guard holds back is not left behind by a stop that succeeds (P1, P8).
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/lib.sh"
cluster a b
A=$tmp/a/root/srv/t
mkdir -p "$A"
for i in $(seq 30); do echo "$i" >"$A/$i"; done
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a resource set r strict-stop=yes >/dev/null && hf a checkpoint add r /srv/t >/dev/null &&
	hf a online r >/dev/null && hf a sync r >/dev/null; ok $? "online"
kill -STOP "${pid[a]}"
rm "$A"/1? "$A"/2?; echo important >"$A/3"
kill -CONT "${pid[a]}"
run 7 "what the guard holds back is not stopped" a offline r
says err 'strict-stop' "which is why"
says err 'delete-guard\|--allow-delete' "and what holds it back"
is "$(field a r state)" online "it stays online"
run 5 "and nobody else takes it" b online r
run 0 "when that is meant it is said" a sync r --allow-delete
run 0 "then it stops" a offline r
run 0 "and the other node" b online r
is "$(cat "$tmp/b/root/srv/t/3")" important "P1: has what was changed last"
hf b offline r >/dev/null; hf a resource set r strict-stop=no >/dev/null; hf a online r >/dev/null
for i in $(seq 10 29); do echo "$i" >"$A/$i"; done; hf a sync r >/dev/null
kill -STOP "${pid[a]}"
rm "$A"/1? "$A"/2?
kill -CONT "${pid[a]}"
run 0 "without strict-stop it stops: a stop that fails would mean fencing" a offline r
says err 'are on this node only' "and says what is left behind"
says err '`holdfast online r --keep-local` here makes' "  and how that becomes the next generation"
says err '`holdfast online r` here restores generation' "  or is given up"
status() { hf "$1" status r >"$tmp/out" 2>"$tmp/err"; }
status a; says out 'left-behind: .*holdfast online r --keep-local' "status says it too"
hf a doctor r >"$tmp/out"; says out 'left-behind: .*delete-guard.*holdfast online r --keep-local' "  and doctor"
status b; ! grep -q left-behind "$tmp/out"; ok $? "  but not on the other node"
down a; up a; status a; says out 'left-behind: .*--keep-local' "  nor is it forgotten when the daemon starts anew"
run 0 "it is done as they say" a online r --keep-local
is "$(ls "$A" | wc -l)" 10 "  what was here is the truth"
status a; ! grep -q left-behind "$tmp/out"; ok $? "  and nothing is left behind"
run 0 "it stops" a offline r
run 0 "the other node" b online r
is "$(ls "$tmp/b/root/srv/t" | wc -l)" 10 "  has it"
run 0 "offline" b offline r; hf a online r >/dev/null
for i in $(seq 10 29); do echo "$i" >"$A/$i"; done; hf a sync r >/dev/null
kill -STOP "${pid[a]}"
rm "$A"/1? "$A"/2?; echo mine >"$A/3"
kill -CONT "${pid[a]}"
run 0 "it stops again, and leaves something behind" a offline r
run 0 "this time another node has it then" b online r; echo yours >"$tmp/b/root/srv/t/4"; hf b offline r >/dev/null
until_true 5 eval 'status a; grep -q "left-behind: .*is newer, from another node" "$tmp/out"'; ok $? "which status says"
! grep -q keep-local "$tmp/out"; ok $? "  and does not offer to overwrite that"
run 0 "it is overwritten" a online r
is "$(ls "$A" | wc -l)" 30 "  by what the other node had"
hf a displaced list r >"$tmp/out"; says out '3' "P7: and kept aside"
status a; ! grep -q left-behind "$tmp/out"; ok $? "  nothing is left behind"
plan
