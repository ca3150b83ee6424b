#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W17: the states of a resource, walked by a daemon: each step told once, what each command does
# in each of them, what times out, and that a failure says why and can be left. The table itself
# is compared with Documentation/states.rst by t_w17_states.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
R=$tmp/a/root/srv
mkdir -p "$R/t" "$R/other"
echo one >"$R/t/f"; echo o >"$R/other/f"

# watching: what `watch` tells of states, as "from>to"
watching() {
	: >"$tmp/events"
	timeout 120 "$B/holdfast" -c "$tmp/a/conf" --json watch r >>"$tmp/events" 2>/dev/null &
	watcher=$!
	extra_pids="$extra_pids $watcher"
	until_true 10 eval 'hf a --json status r >/dev/null && sleep 0.2'
}
steps() {
	$PY - "$tmp/events" <<-'P'
	import json, sys
	print(' '.join(e['from'] + '>' + e['to'] for e in map(json.loads, open(sys.argv[1])) if e.get('event') == 'state'))
	P
}
told() {	# told NAME STEP...: these, in this order, each once; then anew
	local name=$1 want
	shift
	want=$*
	until_true 5 eval '[ "$(steps)" = "$want" ]'
	is "$(steps)" "$want" "watch: $name"
	: >"$tmp/events"
}

up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null; ok $? "a resource"
watching
is "$(field a r state)" offline "offline"
run 0 "online" a online r
told "online" "offline>online-pending" "online-pending>online"
run 0 "online is done when it is online" a online r
run 0 "offline" a offline r
told "offline" "online>offline-pending" "offline-pending>offline"
run 0 "offline is done when it is offline" a offline r
told "nothing of what changed nothing"

# refused: back to where it was
mv "$R/t" "$R/kept"; ln -s nowhere "$R/t"
run 5 "what cannot be restored is refused" a online r
rm "$R/t"; mv "$R/kept" "$R/t"
told "refused" "offline>online-pending" "online-pending>offline"
is "$(field a r error)" None "and is no failure"

# what each command does in each state that lasts
does() { # does STATE WANT-EXIT ARG...
	local state=$1 want=$2
	shift 2
	hf a "$@" >"$tmp/out" 2>"$tmp/err"
	is "$?" "$want" "$state: $*"
}
does offline 5 rollback r --to 1 --yes
does offline 5 sync r
does offline 0 resource reset r
is "$(field a r state)" offline "reset leaves alone what is not failed"
does offline 0 diff r
hf a online r >/dev/null
does online 0 sync r
does online 0 resource reset r
does online 5 resource delete r --yes
does online 0 rollback r --to 1 --yes
is "$(field a r state)" online "online all the time"
hf a offline r >/dev/null
: >"$tmp/events"

# a daemon that comes back
hf a online r >/dev/null
kill "$watcher"; crash a; up a; ok $? "the daemon comes back"
until_true 10 field_is a r state online; ok $? "and so does the resource"
grep -q 'r: offline -> online-pending: resumed' "$tmp/a/log"; ok $? "by way of online-pending"
run 0 "offline" a offline r
down a

# online in time, or failed: while claiming
up a HOLDFAST_SEAM=claim.accept:1+:sleep=2500; ok $? "claims take long"
watching
timeout 60 "$B/holdfast" -c "$tmp/a/conf" online r --timeout 1s >"$tmp/o" 2>"$tmp/e" &
o=$!
until_true 10 field_is a r state online-pending; ok $? "online-pending"
run 1 "what waits behind it is taken back" a online r --timeout 200ms
says err 'not begun within 200 ms' "said"
until_true 20 field_is a r state failed; ok $? "failed when its time is over"
wait $o; is $? 1 "the command fails"
mv "$tmp/e" "$tmp/err"; says err 'not done within 1000 ms; it was still claiming it' "and says what it was at"
field a r error >"$tmp/out"; says out 'not online within 1000 ms: it was still claiming it' "and so does status"
until_true 20 eval 'hf b online r'; ok $? "what was claimed is released: another node gets it"
hf b offline r >/dev/null
is "$(field a r state)" failed "it stays failed until somebody leaves it"
told "timed out" "offline>online-pending" "online-pending>failed"
kill "$watcher"; down a
up a; ok $? "claims are quick again"
is "$(field a r state)" offline "a failure that left nothing behind does not outlive the daemon"

# while restoring
hf b online r >/dev/null
for i in $(seq 20); do echo "$i" >"$tmp/b/root/srv/t/n$i"; done
hf b offline r >/dev/null
down a; up a HOLDFAST_SEAM=restore.rename:3+:sleep=500; ok $? "restores take long"
watching
run 1 "restoring is not done in time" a online r --timeout 1500ms
until_true 20 eval 'hf a status r | grep -q restoring'
field a r error >"$tmp/out"; says out 'still restoring it' "status says so"
is "$(field a r state)" failed "failed"
# in the state failed, with nothing owned
does failed 5 sync r
does failed 5 rollback r --to 1 --yes
is "$(field a r state)" failed "still failed"
run 0 "reset" a --json resource reset r
says out '"state":"offline"' "leaves it"
is "$(field a r error)" None "with nothing left to say"
until_true 5 eval '[ "$(steps)" = "offline>online-pending online-pending>failed failed>offline" ]'
is "$(steps)" "offline>online-pending online-pending>failed failed>offline" "watch: each step once"
kill "$watcher"; down a; up a; ok $? "restores are quick again"
run 0 "the next online finishes what was begun" a online r
ls "$R/t" | wc -l >"$tmp/out"; says out '^21$' "with everything"
run 0 "offline" a offline r

# commits fail: failed, and still owned
down a; up a HOLDFAST_SEAM=commit.append:3+:eio; ok $? "commits fail"
hf b resource set r tolerate=1 on-exceed=failed >/dev/null
run 0 "online" a online r
watching
for i in 1 2 3 4 5 6; do echo "$i" >"$R/t/f"; hf a sync r >/dev/null 2>&1; done
until_true 10 field_is a r state failed; ok $? "online, and failed"
[ "$(field a r error)" != None ]; ok $? "it says why"
does "failed, owned" 5 online r
says err 'resource reset r' "and what to do"
run 0 "reset" a --json resource reset r
says out '"state":"online"' "leads back to online: it is owned still"
until_true 20 field_is a r state failed; ok $? "and failed again while commits fail"
run 0 "offline of what is failed is done" a offline r
until_true 5 eval 'steps | grep -q "offline-pending>offline$"'; ok $? "and is offline"
is "$(field a r error)" None "with nothing left to say"
kill "$watcher"
down a; up a; until_true 20 field_is a r owner None; ok $? "released when commits succeed again"
hf b resource set r tolerate= on-exceed= >/dev/null

# stops: strict ones time out, others never fail
hf b resource set r strict-stop=yes >/dev/null
down a; up a HOLDFAST_SEAM=release.append:1+:sleep=2500; hf a online r >/dev/null; ok $? "releases take long"
watching
run 1 "strict-stop: offline is not done in time" a offline r --timeout 1s
is "$(field a r state)" failed "failed"
field a r error >"$tmp/out"; says out 'not offline within 1000 ms: it was still committing the last changes' "it says why"
until_true 20 field_is a r state offline; ok $? "it goes on, and is offline when it is done"
told "a stop that timed out" "online>offline-pending" "offline-pending>failed" "failed>offline"
hf b resource set r strict-stop=no >/dev/null
hf a online r >/dev/null; : >"$tmp/events"
run 0 "otherwise a stop that takes longer is none that failed" a offline r --timeout 1s
until_true 20 field_is a r state offline; ok $? "offline"
told "a stop that took its time" "online>offline-pending" "offline-pending>offline"
kill "$watcher"; down a
hf b resource set r strict-stop=yes >/dev/null
up a HOLDFAST_SEAM=release.append:1:eio,release.append:2:eio; hf a online r >/dev/null; ok $? "a release that fails"
watching
hf a offline r >"$tmp/out" 2>"$tmp/err"; rc=$?
[ $rc != 0 ]; ok $? "strict-stop: the stop fails"
is "$(field a r state)" online "and it stays what it was"
told "kept" "online>offline-pending" "offline-pending>online"
hf b resource set r strict-stop= >/dev/null
kill "$watcher"; hf a offline r >/dev/null; down a; up a
until_true 20 field_is a r owner None; ok $? "released"

# P4: fenced, from whatever state
hf a online r >/dev/null; watching
run 0 "b takes it from a" b online r --fenced
run 6 "a is stale" a sync r
told "fenced while online" "online>offline"
kill "$watcher"
hf b offline r >/dev/null
down a; up a HOLDFAST_SEAM=commit.append:2+:eio
hf b resource set r tolerate=1 on-exceed=failed >/dev/null
hf a online r >/dev/null
for i in 1 2 3 4 5 6; do echo "x$i" >"$R/t/f"; hf a sync r >/dev/null 2>&1; done
until_true 10 field_is a r state failed; ok $? "failed"
run 0 "b takes it from a" b online r --fenced
until_true 20 eval '[ "$(hf a --json status r | grep -c "\"state\":\"failed\"")" = 0 ]'; ok $? "fenced while failed: it owns nothing"

grep -h 'bug of holdfastd' "$tmp/a/log" "$tmp/b/log" >"$tmp/out"; [ ! -s "$tmp/out" ]
ok $? "nothing happened in a state where it cannot"
plan
