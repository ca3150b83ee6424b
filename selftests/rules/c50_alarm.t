#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# C50: the alarm of rpo: said once when a change has waited for longer than that, once when it is kept
# again, and anew the next time; in status and metrics meanwhile. With a store that hangs, one that
# refuses, and one that a stop did not reach.
# shellcheck disable=SC2034	# what lib.sh reads
[ "$1" = inside ] || exec unshare -m --propagation private "$0" inside
. "$(dirname "$0")/../failover/lib.sh"
. "$(dirname "$0")/store.sh"
store_mounted && journal_stands_in || { echo "Bail out! nothing can be mounted here"; exit 1; }
LEASE=2s
cluster a b
A=$tmp/a/root/srv/r
mkdir -p "$A"; echo 1 >"$A/f"
up_journal a && up_journal b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/r >/dev/null && hf a online r >/dev/null; ok $? "online"
exceeded() { field_is a r rpo_exceeded "$1"; }
metric() { hf a metrics | grep -q "^holdfast_resource_rpo_exceeded{resource=\"r\"} $1$"; }

is "$(field a r rpo_exceeded)" None "without an rpo there is no such question"
! hf a metrics | grep -q '^holdfast_resource_rpo_exceeded'; ok $? "nor a metric of it"
hf a resource set r rpo=700ms commit-timeout=1s tolerate=1000 >/dev/null
hf a sync r >/dev/null
until_true 5 exceeded false; ok $? "C50: it is kept"
metric 0; ok $? "the metric says so"

for round in 1 2; do
	freeze; echo "hangs $round" >"$A/f"
	until_true 10 exceeded true; ok $? "C50: a store that hangs: status tells that rpo is exceeded ($round)"
	hf a status r >"$tmp/out"; says out 'rpo: changes wait' "with a warning"
	metric 1; ok $? "the metric says so"
	until_true 10 eval '[ "$(told RPO a)" -ge '$round' ]'; ok $? "C50: the alarm comes to the journal, while the store hangs"
	run 1 "doctor" a doctor r
	says out 'rpo: changes wait' "names it"
	sleep 1.2
	is "$(told RPO a) $(told RPO_KEPT a)" "$round $((round - 1))" "once, and not that it is over"
	thaw
	until_true 20 eval '[ "$(told RPO_KEPT a)" = '$round' ]'; ok $? "C50: and when it is kept again"
	run 0 "sync" a sync r
	exceeded false && metric 0; ok $? "status and metric too"
	sleep 0.6
	is "$(told RPO a)" "$round" "no second alarm"
done
grep -F "$(sed -n 's/.*X(N_RPO, "\([0-9a-f]*\)").*/\1/p' "$top/user/daemon/notice.h")" "$tmp/journal" | tail -1 >"$tmp/out"
says out '"HOLDFAST_RESOURCE": "r"' "the message has its resource"
says out '"PRIORITY": "3"' "and the priority of an error"
says out 'longer than rpo allows (700 ms)' "and what was allowed"
is "$(told RPO b) $(told RPO_KEPT b)" "0 0" "nothing on the other node"
is "$(hf a --json report r | $PY -c 'import json,sys; print(json.load(sys.stdin)["resources"][0]["rpo_kept"])')" False "the report knows it afterwards"

# another policy ends or begins it
freeze; echo more >"$A/f"
until_true 10 eval '[ "$(told RPO a)" = 3 ]'; ok $? "again"
thaw; until_true 20 eval '[ "$(told RPO_KEPT a)" = 3 ]'; ok $? "and kept"

# a stop without the store holds back changes: the alarm stands until they are confirmed
freeze; echo late >"$A/f"
until_true 10 eval '[ "$(told RPO a)" = 4 ]'; ok $? "a change waits"
timeout 30 "$B/holdfast" -c "$tmp/a/conf" offline r >"$tmp/out" 2>"$tmp/err"; is $? 0 "it is stopped without the store"
until_true 5 metric 1; ok $? "C50: what was held back still waits"
is "$(told RPO_KEPT a)" 3 "and nobody says that it is over"
thaw
until_true 20 eval '[ "$(told RPO_KEPT a)" = 4 ]'; ok $? "until it is"
until_true 20 field_is a r state offline; ok $? "offline"
run 0 "the other node" b online r
is "$(cat "$tmp/b/root/srv/r/f")" late "P1: has it all"
is "$(told RPO a)" 4 "no alarm more"

# fenced out with an alarm: that it is kept again would be a lie
hf b offline r >/dev/null; hf a online r >/dev/null
down a; up_journal a HOLDFAST_SEAM="$(printf 'commit.captured:2:eio,%.0s' 1 2 3 4 5)"; until_true 10 field_is a r state online
for i in 1 2; do echo "never $i" >"$A/f"; sleep 0.2; done
until_true 10 eval '[ "$(told RPO a)" = 5 ]'; ok $? "a store that refuses: the alarm"
kill -STOP "${pid[a]}"
run 0 "the other takes over" b online r --fenced
kill -CONT "${pid[a]}"
until_true 20 field_is a r owner b; ok $? "this one is fenced out"
until_true 10 eval '[ "$(told STALE a)" = 1 ]'; sleep 0.6
is "$(told RPO_KEPT a)" 4 "C50: it is not said that rpo was kept again"
plan
