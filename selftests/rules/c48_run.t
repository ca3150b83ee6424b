#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# C48: `holdfast run R -- command`: online, run, SIGTERM: the command ends, what it wrote is committed, R is released,
# and the command goes on elsewhere from there; P4: it does not outlive its ownership.
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
up a && up b; ok $? "two daemons"
mkdir -p "$tmp/a/root/srv/job"
echo 0 >"$tmp/a/root/srv/job/count"
hf a resource add job >/dev/null && hf a checkpoint add job /srv/job >/dev/null; ok $? "a resource"

# A job: counts, and writes down where it is when it is told to end.
cat >"$tmp/job" <<'X'
#!/bin/bash
i=$(cat "$1/count")
trap 'echo $i >"$1/count"; echo "ended at $i" >"$1/word"; exit 75' TERM
: >"$2"
while :; do
	i=$((i + 1))
	[ "$i" != 5 ] || : >"$2.5"
	sleep 0.02
done
X
chmod 755 "$tmp/job"
# job_on NODE: starts it under `run`; its number in $last
job_on() {
	"$B/holdfast" -c "$tmp/$1/conf" run job -- "$tmp/job" "$tmp/$1/root/srv/job" "$tmp/$1/begun" >"$tmp/$1/said" 2>&1 &
	last=$!
	extra_pids+=" $last"
}

job_on a; on_a=$last
until_true 20 test -e "$tmp/a/begun.5"; ok $? "the command runs"
field_is a job state online; ok $? "  while the resource is online here"
run 5 "P4: and on no other node" b run job -- true
run 0 "a sync beside it" a sync job
kill -TERM "$on_a"; wait "$on_a"
is $? 75 "SIGTERM: it ends with the command's exit code"
field_is a job state offline; ok $? "  the resource is released"
is "$(cat "$tmp/a/said")" "" "  and it said nothing"
count=$(cat "$tmp/a/root/srv/job/count")
job_on b; on_b=$last
until_true 20 test -e "$tmp/b/begun"; ok $? "the command is started on another node"
is "$(cat "$tmp/b/root/srv/job/word")" "ended at $count" "P1, P5: with what it wrote last"

# --- the node is fenced out while the command runs
hf a online job --fenced >"$tmp/out" 2>"$tmp/err"; ok $? "another node takes over"
wait "$on_b"
is $? 6 "P4: the command is ended, exit 6"
grep -q 'job is not online on this node any more' "$tmp/b/said"; ok $? "  and it is said"
field_is a job owner a; ok $? "  the new owner keeps it"
run 0 "the new owner lets go" a offline job

# --- a daemon that comes back in between changes nothing
rm -f "$tmp/a/begun"
job_on a; on_a=$last
until_true 20 test -e "$tmp/a/begun"
crash a; up a; ok $? "the daemon is killed, and started again"
until_true 20 field_is a job state online; ok $? "  the resource is online again"
sleep 1.2	# a look of `run`
alive_is() { kill -0 "$1" 2>/dev/null; }
alive_is "$on_a"; ok $? "  the command runs on"
kill -TERM "$on_a"; wait "$on_a"
is $? 75 "  until it is told to end"

# --- exit codes
run 3 "exit code of the command" a run job -- sh -c 'exit 3'
run 0 "arguments as they are" a run job -- sh -c '[ "$1" = "" ] && [ "$2" = "--fenced" ] && [ "$3" = "a
b" ]' sh "" --fenced "a
b"
run 143 "one that is ended by a signal" a run job -- sh -c 'kill -TERM $$'
run 127 "one that is not there" a run job -- "$tmp/none"
run 126 "one that cannot be run" a run job -- "$tmp/a/conf"
field_is a job state offline; ok $? "  each time it was released"
run 3 "no such resource: nothing is run" a run none -- touch "$tmp/ran"
run 2 "no command" a run job
run 2 "an option of the command before --" a run job touch -x "$tmp/ran"
[ ! -e "$tmp/ran" ]; ok $? "  nothing was run"
run 2 "no -- before the command" a run job touch "$tmp/ran"
says err '-- is missing' "  which is said"
run 2 "nor is an option of the command taken for one of this" a run job touch --fenced "$tmp/ran"
[ ! -e "$tmp/ran" ]; ok $? "  nothing was run"

# --- what was online before, as a run that was killed leaves it
run 0 "brought online by somebody else" a online job
run 4 "run beside that" a run job -- sh -c 'echo beside >"$1/word"; exit 4' sh "$tmp/a/root/srv/job"
says err 'job was online here already; it is released when' "  that is said"
field_is a job state offline; ok $? "  it is released"
run 0 "brought online again" a online job
run 0 "-q" a -q run job -- true
[ ! -s "$tmp/err" ]; ok $? "  does not say it"
run 0 "on the other node" b online job
is "$(cat "$tmp/b/root/srv/job/word")" beside "P1: is what the command wrote"
rm -f "$tmp/b/begun"
job_on b; on_b=$last
until_true 20 test -e "$tmp/b/begun"; ok $? "the command, beside one that has it online"
hf a online job --fenced >"$tmp/out" 2>"$tmp/err"; ok $? "another node takes over"
wait "$on_b"
is $? 6 "P4: it is ended, exit 6"
field_is a job owner a; ok $? "  and the new owner keeps it"
down b
down a
run 10 "no daemon: nothing is run" a run job -- touch "$tmp/ran"
[ ! -e "$tmp/ran" ]; ok $? "  nothing was run"
plan
