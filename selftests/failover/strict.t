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
plan
