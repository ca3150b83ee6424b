#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# C40: how commits are paced: settle gathers changes, min-pause keeps commits apart, and neither holds back a
# sync, an offline, or a first change; commit-timeout is how long a sync waits for a store that hangs. Nothing is
# lost by any of it. Durations are so long that no machine is too slow for what they are to show.
# shellcheck disable=SC2034	# what lib.sh reads
[ "$1" = inside ] || exec unshare -m --propagation private "$0" inside
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
# shellcheck source=selftests/rules/store.sh
. "$(dirname "$0")/store.sh"
store_mounted || { echo "Bail out! nothing can be mounted here"; exit 1; }
LEASE=10s
cluster a b
A=$tmp/a/root/srv/r
mkdir -p "$A"; echo 0 >"$A/f"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/r >/dev/null && hf a online r >/dev/null; ok $? "online"
gen() { field a r confirmed; }
clean() { field_is a r dirty 0; }
policy() { hf a resource set r "$@" >/dev/null && hf a sync r >/dev/null; }

# settle
policy settle=1s; sleep 1.2
g=$(gen); echo 1 >"$A/f"
until_true 20 eval '[ "$(gen)" -gt '"$g"' ]'; ok $? "C40: the first change after a pause is committed by itself"
policy settle=1m; g=$(gen)
for i in $(seq 30); do echo "$i" >"$A/n$i"; done
until_true 10 eval '[ "$(field a r dirty)" -ge 30 ]'; sleep 1
is "$(gen)" "$g" "C40: settle: what comes soon after waits for company"
run 0 "a sync does not wait" a sync r
is "$(gen)" "$((g + 1))" "and makes one generation of all of it"
run 0 "with every file" a diff r
! grep -q srv "$tmp/out"; ok $? "of it"
( exec 3>"$A/open"; i=0; while [ $i -lt 200 ]; do echo $i >&3; i=$((i + 1)); sleep 0.01; done ) & w=$!; extra_pids="$extra_pids $w"
g=$(gen); until_true 5 eval '[ "$(field a r dirty)" -ge 1 ]'; wait $w
[ "$(gen)" -le "$((g + 1))" ]; ok $? "a file that is still written to is no generation for each write"
policy settle=0; g=$(gen); echo x >"$A/f"
until_true 20 eval '[ "$(gen)" -gt '"$g"' ] && clean'; ok $? "C40: settle=0: nothing waits"

# min-pause
policy min-pause=1h; g=$(gen)
for i in $(seq 5); do echo "p$i" >"$A/f"; done
until_true 10 eval '! clean'; sleep 1
is "$(gen)" "$g" "C40: min-pause: the next commit keeps its distance"
run 0 "a sync does not wait" a sync r
[ "$(gen)" -gt "$g" ]; ok $? "and is a commit"
g=$(gen); echo stop >"$A/f"; until_true 10 eval '! clean'
run 0 "nor does offline" a offline r
run 0 "the other node" b online r
is "$(cat "$tmp/b/root/srv/r/f")" stop "P1: has what had waited"
hf b offline r >/dev/null; hf a online r >/dev/null
echo killed >"$A/f"; run 0 "what a sync has confirmed" a sync r; echo unsaid >"$A/f"; until_true 10 eval '! clean'
crash a; up a; until_true 30 field_is a r state online; ok $? "a daemon that dies with a change that waits"
until_true 20 eval 'hf a diff r 2>/dev/null | grep -c srv | grep -qx 0'; ok $? "P2: its successor has it"
hf a resource set r min-pause=0 >/dev/null; g=$(gen); echo on >"$A/f"
until_true 20 eval '[ "$(gen)" -gt '"$g"' ] && clean'; ok $? "C40: min-pause=0: they flow again"

# commit-timeout: less than the three leases that a claim may take
policy commit-timeout=500ms
freeze; echo hangs >"$A/f"
timeout 20 "$B/holdfast" -c "$tmp/a/conf" sync r >"$tmp/out" 2>"$tmp/err"
is $? 7 "C40: commit-timeout: a sync with a store that hangs ends, and says that it is not confirmed"
says err 'the work goes on' "and what becomes of it"
[ "$(gen)" = "$(field a r confirmed)" ]; ok $? "status answers meanwhile"
thaw
until_true 30 clean; ok $? "C40: when the store is back what waited is committed by itself"
run 0 "sync" a sync r
hf a offline r >/dev/null; run 0 "the other node" b online r
is "$(cat "$tmp/b/root/srv/r/f") $(find "$tmp/b/root/srv/r" -name 'n*' | wc -l)" "hangs 30" "P1: has all of it"

# what they can be, is refused else
for p in settle=2m min-pause=2h commit-timeout=0 commit-timeout=2h settle=5 min-pause=-1s; do run 2 "$p is refused" b resource set r "$p"; done
plan
