#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# C45: `holdfast sync --group R1 R2…`: one cut through the trees of several resources, or none. P3: writers that chain
# from a file of one to a file of another find their invariant in each group; P1: what is committed of a group that failed
# stands by itself, and says that it is no group. SECONDS_EACH= (6)
# shellcheck source=selftests/failover/lib.sh
export LEASE=5s
. "$(dirname "$0")/../failover/lib.sh"
if ! $PY -c 'import nacl.bindings' 2>/dev/null; then
	echo "1..0 # SKIP needs python3-nacl"
	exit 0
fi
here=$top/selftests/rules
each=${SECONDS_EACH:-6}
SIZE=$((256 + each * 8))MiB cluster a b
up a && up b; ok $? "two daemons"

# resources NAME...: each with a tree of its own, online on a
resources() {
	local r
	for r in "$@"; do
		mkdir -p "$tmp/a/root/srv/$r"
		echo first >"$tmp/a/root/srv/$r/f"
		hf a resource add "$r" && hf a checkpoint add "$r" "/srv/$r" &&
			hf a resource set "$r" retain=1000000 settle=0 min-pause=0 delete-guard=0% && hf a online "$r" || return 1
	done >/dev/null
}
# groups NODE R: of its history, a line for each: GENERATION COMPLETE RESOURCE/GENERATION/STATE...
groups() {
	hf "$1" --json history "$2" | $PY -c "
import json,sys
for g in json.load(sys.stdin)['generations']:
    if 'group' in g:
        print(g['generation'], str(g['group']['complete']).lower(),
              *('/'.join(str(m[k]) for k in ('resource', 'generation', 'state')) for m in g['group']['members']))"
}
gen() { field a "$1" generation; }
count() { timeout 300 $PY "$here/c45_group.py" "$tmp/disk" "$tmp/key" "$@"; }

# --- many cuts beside writers, of two and of three
for k in 2 3; do
	names=
	for i in $(seq 0 $((k - 1))); do names+=" w$k$i"; done
	# shellcheck disable=SC2086
	resources $names; ok $? "$k resources are online"
	mkdir "$tmp/w$k"
	for i in $(seq 0 $((k - 1))); do ln -s "$tmp/a/root/srv/w$k$i" "$tmp/w$k/$i"; done
	"$B/selftests/tree/cut_writer" "$tmp/w$k" across 0 >"$tmp/steps" 2>"$tmp/writer" &
	extra_pids=$!
	made=0 none=0 odd=0 end=$((SECONDS + each))
	while [ $SECONDS -lt $end ] || { [ $made -lt 20 ] && [ $SECONDS -lt $((end + 60)) ]; }; do
		# shellcheck disable=SC2086
		hf a sync --group $names --quick >"$tmp/out" 2>"$tmp/err"
		case $? in
		0) made=$((made + 1)) ;;
		1) none=$((none + 1)); grep -q 'no moment at which' "$tmp/err" || odd=$((odd + 1)) ;;
		*) odd=$((odd + 1)) ;;
		esac
	done
	is $odd 0 "each is a group, or none for want of a moment"
	[ $made -ge 20 ]; ok $? "  $made are"
	# shellcheck disable=SC2086
	run 0 "  one with the whole trees compared" a sync --group $names
	kill -TERM $extra_pids; wait $extra_pids; ok $? "  $(cat "$tmp/steps" "$tmp/writer") steps were written meanwhile"
	extra_pids=
	# shellcheck disable=SC2086
	count cut $names >"$tmp/said" 2>"$tmp/err"; ok $? "  all generations are read"
	grep '^#' "$tmp/said"
	read -r complete incomplete bad near nearbad < <(grep -v '^#' "$tmp/said")
	is "$incomplete" 0 "  none is incomplete"
	is "$bad" 0 "P3: the invariant over $k resources holds in each group"
	echo "# $k: $made groups, $none none, of $near neighbours that are none $nearbad hold none"
	[ "$complete" -gt "$made" ]; ok $? "  as many groups are on the disk"
	for r in $names; do hf a offline "$r"; done >/dev/null
done

# --- what is told
resources pg cups db; ok $? "three resources at rest"
before=$(count)
run 0 "a group of what has not changed" a sync --group pg cups
is "$(cat "$tmp/out" | sed 's/group .*/group/')" "pg: generation 2 is confirmed
cups: generation 2 is confirmed
they are one cut, group" "  its generations are said"
is "$(groups a pg)" "2 true pg/2/there cups/2/there" "history of the one knows the other"
is "$(groups b cups)" "2 true pg/2/there cups/2/there" "  and the reverse, on every node"
hf a history pg >"$tmp/out"; says out '^2 .*\[group [0-9a-f]\{8\}: pg 2, cups 2\]' "  people read it too"
echo second >"$tmp/a/root/srv/pg/f"
run 0 "a sync of one alone" a sync pg
is "$(groups a pg)" "2 true pg/2/there cups/2/there" "  is no group"
hf a history pin cups 2 --name keep >/dev/null
hf a --json history cups >"$tmp/out"; says out '"pins":.*"group":.*"complete":true' "a pin of a generation knows the group"
run 0 "a rollback to it" a rollback pg --to 2 --yes
says err 'generation 2 is of a group, .*, with cups generation 2, which is there' "  says what belongs to it"
run 0 "a restore into a directory" a restore cups --generation 2 --to "$tmp/look"
says err 'of a group, .*, with pg generation 2, which is there' "  does as well"

# --- asked for what cannot be
was="$(gen pg) $(gen cups)"
run 3 "one that is not registered" a sync --group pg nothere
hf a offline db >/dev/null
run 5 "one that is offline" a sync --group pg db cups
says err 'db is not online on this node' "  which is named"
hf b online db >"$tmp/out" 2>"$tmp/err"; ok $? "another node has it"
run 5 "one that another node owns" a sync --group cups pg db
says err 'db is not online on this node but on b; ask there; it is no group' "  which is named"
is "$(gen pg) $(gen cups)" "$was" "  nothing was committed of the others"
$PY - "$tmp/a/run/holdfastd.sock" >"$tmp/out" <<'P'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect(sys.argv[1])
s.sendall(b'{"v":1,"verb":"sync","args":{"resources":["pg","cups","pg"]}}\n')
print(s.makefile().readline())
P
says out '"exit":2.*given twice' "one that is given twice"
mv "$tmp/a/root/srv/cups" "$tmp/a/root/srv/gone"
run 5 "one whose tree is lost" a sync --group pg cups
says err 'cups: /srv/cups is gone.*it is no group' "  says so"
is "$(gen pg)" "${was% *}" "  nothing was committed of the other"
mv "$tmp/a/root/srv/gone" "$tmp/a/root/srv/cups"
run 0 "when it is back" a sync --group pg cups

hf a resource set cups delete-guard=50% >/dev/null
touch "$tmp/a/root/srv/cups/x"{1..40}; hf a sync cups >/dev/null
rm "$tmp/a/root/srv/cups/x"*
was="$(gen pg) $(gen cups)"
run 5 "one that the delete-guard holds back" a sync --group pg cups
says err 'cups: .*delete-guard' "  says so"
is "$(gen pg) $(gen cups)" "$was" "  nothing was committed"
run 0 "unless it may" a sync --group pg cups --allow-delete
busy='
import os, sys
f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.truncate(f, 2 << 20)
while True:
    os.pwrite(f, os.urandom(8), 4096 * (os.getpid() % 500))'
for i in 1 2 3; do $PY -c "$busy" "$tmp/a/root/srv/cups/busy" & extra_pids+=" $!"; done
until_true 20 test -s "$tmp/a/root/srv/cups/busy"
# a quiet moment may be found all the same
for i in 1 2 3; do hf a sync --group pg cups >"$tmp/out" 2>"$tmp/err"; rc=$?; [ $rc = 0 ] || break; done
is $rc 1 "one that is written all the time"
says err 'no moment at which.*it is no group' "  says so"
# shellcheck disable=SC2086
kill $extra_pids; wait $extra_pids 2>/dev/null; extra_pids=
run 0 "  and is one when that has ended" a sync --group pg cups

# --- two at a time, in each order: none waits for the other
for i in 1 2 3 4 5 6; do
	timeout 60 "$B/holdfast" -c "$tmp/a/conf" sync --group pg cups >/dev/null 2>"$tmp/err.$i" & one=$!
	timeout 60 "$B/holdfast" -c "$tmp/a/conf" sync --group cups pg >/dev/null 2>&1 & two=$!
	timeout 60 "$B/holdfast" -c "$tmp/a/conf" sync pg >/dev/null 2>&1 & three=$!
	wait $one && wait $two && wait $three || break
done
ok $? "groups of the same resources at the same time, in either order"
grep -q . "$tmp"/err.*; is $? 1 "  in silence"
read -r _ none < <(count)
is "$none" "${before#* }" "none of all this is incomplete"

# --- a crash between the commits of the members
down a
up a HOLDFAST_SEAM=group.pass:1:kill; ok $? "a daemon that will die between them"
until_true 30 field_is a cups state online
until_true 30 field_is a pg state online
p=$(($(gen pg) + 1)) c=$(($(gen cups) + 1))
run 10 "it dies" a sync --group pg cups
crash a
is "$(groups b pg | tail -1)" "$p false pg/$p/there cups/$c/missing" "history tells that the group is incomplete"
is "$(groups b cups | grep -c "^$c ")" 0 "  the other has nothing of it"
up a; ok $? "it comes back"
until_true 30 field_is a cups state online
until_true 30 field_is a pg state online
echo third >"$tmp/a/root/srv/cups/f"
run 0 "P1: and goes on" a sync cups
[ "$(gen cups)" -ge "$c" ]; ok $? "  the other has a generation of that number now"
is "$(groups a pg | tail -1)" "$p false pg/$p/there cups/$c/missing" "  which is not of the group"
hf a history pg >"$tmp/out"; says out "^$p .*\[incomplete group [0-9a-f]*: pg $p, cups $c missing\]" "  people read it too"
run 0 "a rollback to what there is of it" a rollback pg --to "$p" --yes
says err "of an incomplete group, .*, with cups generation $c, which was not committed" "  says so"
run 0 "a restore of it" a restore pg --generation "$p" --to "$tmp/look2"
says err "of an incomplete group" "  says so"
run 0 "the next group" a sync --group pg cups
is "$(groups a cups | tail -1 | cut -d' ' -f2)" true "  is complete"

# --- the store fails for the second member, and for all that is tried after it
down a
up a HOLDFAST_SEAM=group.commit:2+:eio
until_true 30 field_is a cups state online
until_true 30 field_is a pg state online
p=$(($(gen pg) + 1)) c=$(gen cups)
run 7 "the store fails for one of them" a sync --group pg cups
says err "it is no group" "  it is said that there is none"
is "$(gen cups)" "$c" "  nothing of that one was committed"
is "$(groups a pg | tail -1)" "$p false pg/$p/there cups/$((c + 1))/missing" "  the other one's generation tells so"
run 0 "P1: it stands by itself" a sync pg
run 0 "  and so does the one that failed" a sync cups
down a
up a HOLDFAST_SEAM=group.commit:2:eio
until_true 30 field_is a cups state online
until_true 30 field_is a pg state online
run 0 "it fails once: the group is tried again" a sync --group pg cups
is "$(groups a pg | tail -1 | cut -d' ' -f2)" true "  and is complete"

# --- the store does not answer one of them for 20 s, which is more than three leases
down a
up a HOLDFAST_SEAM=commit.append:2:sleep=20000
until_true 30 field_is a cups state online
until_true 30 field_is a pg state online
run 7 "the store hangs for the second one" a sync --group pg cups
says err 'cups: the store has not answered for .*history tells whether.*though pg generation' "  it is said for which"
until_true 30 eval '[ "$(groups a pg | tail -1 | cut -d" " -f2)" = true ]'; ok $? "  the group is there when the store has answered"

# --- one that is busy holds the others up, but no stop
down a
up a HOLDFAST_SEAM=commit.captured:1:sleep=6000
until_true 30 field_is a cups state online
until_true 30 field_is a pg state online
echo busy >"$tmp/a/root/srv/cups/f"
sleep 0.3
"$B/holdfast" -c "$tmp/a/conf" sync --group pg cups >"$tmp/group" 2>&1 & one=$!
sleep 0.7
run 0 "a member of a group that waits for another one goes offline" a offline pg
wait $one; is $? 5 "  the group is refused, rather than to hold it up"
grep -Eq 'pg is (being taken offline|not online)' "$tmp/group"; ok $? "  it is said why"
run 0 "it comes back" a online pg
run 0 "  and there is a group" a sync --group pg cups

# --- fenced out while nobody looked
hf b online cups --fenced >"$tmp/out" 2>"$tmp/err"; ok $? "another node takes one over"
echo fifth >"$tmp/a/root/srv/pg/f"
run 6 "P4: a group with it is stale" a sync --group pg cups
is "$(groups b pg | tail -1 | cut -d' ' -f2)" true "  and none on the disk"
hf a resource delete db --yes >/dev/null 2>&1
down a; down b
read -r complete incomplete < <(count)
is "$incomplete" 3 "what was incomplete is, and nothing else"
plan
