#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# C50: report over a period: commits, lag, takeovers, whether the RPO was kept, who forced what.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
# part NODE RESOURCE EXPRESSION, of d: its part of the report; of r: the whole
part() {
	hf "$1" --json report | $PY -c "
import json,sys
r=json.load(sys.stdin)
d=next((p for p in r['resources'] if p['resource']=='$2'),{})
print(($3))"
}
LEASE=2s
cluster a b
up a
up b
run 0 "a report of nothing" a report
says out "no resources" "says so"
mkdir -p "$tmp/a/root/srv/r" "$tmp/b/root/srv/r"
echo 1 >"$tmp/a/root/srv/r/f"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/r >/dev/null && hf a online r >/dev/null
for i in 1 2 3 4 5; do echo "$i" >"$tmp/a/root/srv/r/f"; hf a sync r >/dev/null; done
[ "$(part a r "d['commits']")" -ge 6 ]; ok $? "C50: commits"
[ "$(part a r "d['lag']['max_ms']")" -lt 60000 ] && [ "$(part a r "d['lag']['max_ms'] >= d['lag']['mean_ms']")" = True ]; ok $? "C50: lag"
is "$(part a r "d['rpo_kept']")" None "without an rpo nothing is kept or not"
is "$(part a r "d['taken_over_here'], d['failures'], d['late'], d['unconfirmed']")" "(1, 0, 0, 0)" "C50: takeovers, failures, late, lost"
hf a resource set r rpo=1m >/dev/null
is "$(part a r "d['rpo_ms'], d['rpo_kept']")" "(60000, True)" "C50: the RPO is kept"
count=$(part a r "d['commits']")
is "$(part a r "sum(d['generations'].values()) >= $count - 1")" True "generations of the log's history, by node"

# RPO not kept: a commit that had to wait
hf a resource set r rpo=300ms >/dev/null
down a
up a HOLDFAST_SEAM=commit.captured:2:eio,commit.captured:2:eio,commit.captured:2:eio,commit.captured:2:eio
until_true 10 field_is a r state online
is "$(part a r "d['commits'] >= $count")" True "what was counted before the daemon ended is there"
for i in 1 2 3; do echo "late $i" >"$tmp/a/root/srv/r/f"; sleep 0.3; done
until_true 20 eval "[ \"\$(part a r \"d['late']\")\" -ge 1 ]"; ok $? "C50: a commit that came later than rpo is counted"
is "$(part a r "d['rpo_kept'], d['failures'] >= 1, d['lag']['max_ms'] > 300")" "(False, True, True)" "C50: the RPO was not kept"
run 0 "in words" a report
says out "^r .* times late (300ms)" "the table says so"

# who forced what
run 0 "a deletion" a sync r --allow-delete
run 2 "one that is refused leaves no trace" a sync r --nonsense
run 3 "one that fails" a rollback nope --to 1 --yes
part a r "[(f['what'], f['who'].split('[')[0].split(': ')[-1], f['exit']) for f in r['forced']]" >"$tmp/out"
grep -q "('sync r --allow-delete', 'holdfast', 0), ('rollback nope --to 1', 'holdfast', 3)" "$tmp/out"; ok $? "C50: who forced what: the verb, the flag, the program"
part a r "[f['who'] for f in r['forced'] if f['what'].startswith('sync')][0]" | grep -qE '^root(: | \(login .*\): )holdfast\[[0-9]+\]$'; ok $? "with user and process"
kill -STOP "${pid[a]}"
sleep 2.5
run 0 "b takes it over" b online r --fenced
echo b >"$tmp/b/root/srv/r/b"; hf b sync r >/dev/null
run 0 "with a dry run, which forces nothing" b online r --fenced --dry-run
is "$(part b r "[f['what'] for f in r['forced']]")" "['online r --fenced']" "C50: the takeover that was forced"
grep -q "AUDIT: online r --fenced, by root" "$tmp/b/log"; ok $? "the log has it too"
is "$(part b r "d['taken_over_here']")" 1 "C50: b took it over"
is "$(part b r "[o['node'] for o in d['owners']]")" "['b']" "C50: the log's history tells of the new owner"
is "$(part b r "sorted(d['generations'])")" "['a', 'b']" "and whose generations they are"
kill -CONT "${pid[a]}"
echo lost >"$tmp/a/root/srv/r/lost"
until_true 10 field_is a r unconfirmed.count 2
is "$(part a r "d['unconfirmed'], d['rpo_kept']")" "(2, False)" "C50: what was never confirmed is in it"
run 0 "in words" b report r
says out "online r --fenced  by root" "the force is named"
says out "^r: .* epoch [0-9]* on b" "and the owner"

# period, state, bad input
sleep 1.1
is "$(hf b --json report --since 1s | $PY -c 'import json,sys; r=json.load(sys.stdin); print(r["forced"], r["to_ms"]-r["from_ms"]>=1000)')" "[] True" "--since"
run 3 "of a resource that is not there" b report nope
run 2 "--since nothing" b report --since 0s
printf 'half a li' >>"$tmp/b/state/record"
printf '\377\376{"when_ms":\n[1,2]\n{"kind":5}\n' >>"$tmp/b/state/record"
run 0 "a record that was cut off or damaged" b report
is "$(part b r "[f['what'] for f in r['forced']]")" "['online r --fenced']" "is read all the same"
hf b sync r --allow-delete >/dev/null
is "$(part b r "len(r['forced'])")" 2 "and written on"
is "$(stat -c %a "$tmp/b/state/record")" 600 "P10: nobody else reads it"
for i in 1 2 3 4 5; do
	truncate -s 4M "$tmp/b/state/record"
	hf b sync r --allow-delete >/dev/null
done
is "$(find "$tmp/b/state" -name 'record*' | wc -l)" 4 "the record is bounded: four files"
run 0 "and can be read" b report
down a
down b
plan
