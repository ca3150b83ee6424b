#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# C42 where room gets short: who owns a resource, and who looks at the node, is warned before any history goes that retain
# asks for, and told when it has gone.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" -eq 0 ] || { echo "1..0 # SKIP needs root (fanotify)"; exit 0; }
SIZE=28MiB
cluster a b
up a && up b || { echo "Bail out! no daemons"; exit 1; }
A=$tmp/a/root/srv/d
mkdir -p "$A"; echo 1 >"$A/f"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/d >/dev/null
run 0 "r is online" a online r
first() { hf "$1" --json history r | $PY -c 'import json,sys; print(json.load(sys.stdin)["generations"][0]["generation"])'; }
warned() { hf a --json status | $PY -c 'import json,sys; sys.exit(not any("MiB are free in the area of node a" in w for w in json.load(sys.stdin)["store_warnings"]))'; }
warned; is $? 1 "there is room, and no warning"
hf a doctor >"$tmp/out" 2>&1; says out '^ok *space *a: ' "doctor says how much"
k=0; gone=
until warned; do
	[ "$(first a)" = 1 ] || gone=1
	k=$((k + 1))
	[ $k -lt 300 ] || break
	head -c 30000 /dev/urandom >"$A/f$((k % 5))"
	hf a sync r --quick >/dev/null || break
done
why="after $k changes"; warned && [ -z "$gone" ] && [ "$(first a)" = 1 ]
ok $? "C42: room gets short: warned before any history goes"
hf a status >"$tmp/out"; says out 'history goes earlier than retain asks for' "by status, in words"
hf a doctor >"$tmp/out" 2>&1; says out '^warn *store .*history goes earlier than retain asks for' "by doctor"
hf b --json status | grep -q 'MiB are free'; is $? 1 "the other node has room"
# so that retain asks for more than there can be
run 0 "more is asked for" a resource set r retain=5000
until [ "$(first a)" != 1 ]; do
	k=$((k + 1))
	[ $k -lt 900 ] || break
	head -c 30000 /dev/urandom >"$A/f$((k % 5))"
	hf a sync r --quick >/dev/null || break
done
why="after $k changes"; [ "$(first a)" -gt 1 ]; ok $? "history goes"
until_true 10 eval "hf a status r | grep -q 'history: begins at generation'"
hf a status r >"$tmp/out"; says out 'history: begins at generation [0-9]*, later than retain asks for' "C42: status says so"
hf a doctor r >"$tmp/out" 2>&1; says out '^warn *warning *r: history: begins at' "and doctor"
says out 'what to do: set a smaller retain (holdfast resource set r retain=N)' "with what to do"
run 0 "and history" a history r
says out 'later than retain asks for' "itself"
# when it would have gone anyway nothing is amiss
run 0 "less is asked for" a resource set r retain=2
for i in $(seq 40); do
	head -c 30000 /dev/urandom >"$A/f$((i % 5))"
	hf a sync r --quick >/dev/null
done
hf a resource rebuild r >/dev/null
until_true 20 eval "! hf a status r | grep -q 'history: begins'"
hf a status r >"$tmp/out"; ! grep -q 'history: begins' "$tmp/out"; ok $? "the warning ends with what it warned of"
run 0 "the disk is sound" a disk check
plan
