#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# L4, W17: status at a glance: state, owner, generation, age, what is not confirmed, store, source
# of tracking, warnings; colour on a terminal; --watch; and watch, a stream of who did what.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
line() { hf "$1" status | awk -v r="$2" '$1 == r'; }
LEASE=2s
cluster a b
up a
up b
mkdir -p "$tmp/a/root/srv/r" "$tmp/b/root/srv/r"
echo 1 >"$tmp/a/root/srv/r/f"
run 0 "status of nothing" a status
says out "no resources yet" "says so"
hf a resource add r --type t >/dev/null && hf a checkpoint add r /srv/r >/dev/null
hf a resource add other >/dev/null
run 0 "online" a online r
hf a sync r >/dev/null
run 0 "status" a status
says out "^cluster test, node a, tracking with fanotify.*store ok" "cluster, node, source of tracking, store"
head -3 "$tmp/out" | grep -qE '^RESOURCE +STATE +OWNER +GENERATION +AGE +UNCONFIRMED +CHECKPOINTS$'; ok $? "W17: the columns"
g=$(field a r generation)
why=$(line a r); grep -qE "^r +online +a +$g( fuzzy)? +[0-9]+m?s +- +1$" <<<"$why"; ok $? "the owner's line: state, owner, generation, age, nothing unconfirmed"
why=$(line a other); grep -qE '^other +offline +- +- +- +- +0$' <<<"$why"; ok $? "one that was never online"
until_true 10 eval "line b r | grep -qE '^r +online +a +$g +[0-9]+m?s +- +1\$'"; why=$(line b r)
grep -qE "^r +online +a +$g +[0-9]+m?s" <<<"$why"; ok $? "the other node shows owner, generation and age too"
run 3 "of one that is not there: 3" a status nope
is "$(hf a status r | grep -c '^other')" 0 "of one resource only"

# colour, on a terminal only
is "$(hf a status | grep -c $'\033')" 0 "no colour in a pipe"
tty() { script -qec "$*" /dev/null </dev/null; }
tty "$B/holdfast -c $tmp/a/conf status" >"$tmp/tty"
grep -q $'\033\[32monline' "$tmp/tty"; ok $? "colour on a terminal"
NO_COLOR=1 tty "$B/holdfast -c $tmp/a/conf status" >"$tmp/tty"
is "$(grep -c $'\033' "$tmp/tty")" 0 "none with NO_COLOR"

# --watch: again when something changed, and only then
"$B/holdfast" -c "$tmp/b/conf" status --watch >"$tmp/watched" 2>&1 & w=$!; extra_pids+=" $w"
until_true 5 grep -q '^r ' "$tmp/watched"; ok $? "--watch shows it"
sleep 3
is "$(grep -c '^RESOURCE' "$tmp/watched")" 1 "and not again while nothing changes"
"$B/holdfast" -c "$tmp/a/conf" watch >"$tmp/events" 2>&1 & extra_pids+=" $!"
sleep 0.5
sh -c "echo mine >$tmp/a/root/srv/r/by-me; sleep 0.4"
hf a sync r >/dev/null
run 0 "offline" a offline r
until_true 5 grep -qE '^r +offline' "$tmp/watched"; ok $? "--watch shows what changed"
kill "$w"

# watch
until_true 5 grep -q 'offline-pending -> offline' "$tmp/events"
why=$(cat "$tmp/events")
grep -qE '^[0-9:]{8}  r +changed /srv/r/by-me  by root(: | \(login .*\): )sh\[[0-9]+\]$' "$tmp/events"; ok $? "L4: watch tells a change, and who did it"
why=$(cat "$tmp/events"); grep -qE '^[0-9:]{8}  r +generation [0-9]+: [0-9]+ put, 0 deleted, in [0-9]+ ms.*sh\[[0-9]+\] /srv/r' "$tmp/events"; ok $? "L4: the commit, and whose changes are in it"
is "$(grep -c 'online -> offline-pending' "$tmp/events") $(grep -c 'offline-pending -> offline$' "$tmp/events")" "1 1" "W17: each transition once"

# what is wrong is said below
run 0 "online" a online r
hf a resource set r tolerate=0 rpo=100ms >/dev/null
down a
up a HOLDFAST_SEAM=commit.captured:2+:eio
until_true 10 field_is a r state online
for i in 1 2; do echo "$i" >"$tmp/a/root/srv/r/late"; sleep 0.3; done
until_true 5 eval "line a r | grep -q 'online, degraded'"; why=$(line a r)
grep -qE "^r +online, degraded +a +[0-9]+.* +[0-9]+ for [0-9]+m?s +1$" <<<"$why"; ok $? "degraded, and how much waits for how long"
hf a status >"$tmp/out"
says out "^r: degraded: " "the warning below"
says out "^r: rpo: changes wait for" "C50: and that the rpo is not kept"
plan
