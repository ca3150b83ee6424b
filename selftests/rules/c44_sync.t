#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# C44: commits are made behind the writers' backs, whom no store ever makes wait; sync waits for them, and
# reports the failure where there is one.
# shellcheck disable=SC2034	# what lib.sh reads
[ "$1" = inside ] || exec unshare -m --propagation private "$0" inside
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
# shellcheck source=selftests/rules/store.sh
. "$(dirname "$0")/store.sh"
store_mounted || { echo "Bail out! nothing can be mounted here"; exit 1; }
cluster a b
A=$tmp/a/root/srv/t
mkdir -p "$A"; echo 1 >"$A/f"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null
run 5 "C44: what is not online cannot be waited for" a sync r
run 3 "nor what is not registered" a sync nope
hf a online r >/dev/null; hf a resource set r commit-timeout=1s >/dev/null
run 5 "nor what is online elsewhere" b sync r
g=$(field a r confirmed); echo 2 >"$A/f"
run 0 "C44: sync waits" a --json sync r
[ "$(field a r confirmed)" -gt "$g" ]; ok $? "and when it returns, it is confirmed"
is "$($PY -c "import json; r=json.load(open('$tmp/out'))['resources'][0]; print(r['confirmed'], r['generation'])")" "True $(field a r confirmed)" "it says which generation has it"
# several that wait are answered together
p=; for i in $(seq 8); do echo "$i" >"$A/c$i"; hf a sync r >"$tmp/c$i" 2>&1 & p="$p $!"; done
bad=0; for i in $p; do wait "$i" || bad=1; done; ok $bad "C44: eight at once"
is "$(hf a diff r | grep -c srv)" 0 "all of it is there"
freeze
timeout 10 sh -c 'i=0; while [ $i -lt 300 ]; do echo $i >"$1/w$((i % 7))"; i=$((i+1)); done' sh "$A"; ok $? "C44, P9: with a store that hangs nobody waits to write"
timeout 20 "$B/holdfast" -c "$tmp/a/conf" sync r >"$tmp/out" 2>"$tmp/err"; is $? 7 "C44: sync reports that it failed"
says err 'r: ' "of what, and why"
thaw
run 0 "C44: and that it did not, afterwards" a sync r
down a; up a HOLDFAST_SEAM=commit.append:1+:eio; until_true 10 field_is a r state online; echo no >"$A/f"
run 7 "C44: a store that refuses is reported too" a sync r
down a; up a; until_true 20 field_is a r state online
run 0 "sync" a sync r
crash a; run 0 "the other node" b online r --fenced
same a b srv/t; ok $? "P1: has it all"
run 0 "which goes on" b sync r
up a; until_true 10 field_is a r owner b; run 6 "C44: and the node that was fenced out is told so" a sync r
plan
