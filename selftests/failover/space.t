#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Space with real daemons: pins across owners, a disk that runs full, what makes room again.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" -eq 0 ] || { echo "1..0 # SKIP needs root (fanotify)"; exit 0; }
SIZE=28MiB
cluster a b
up a && up b || { echo "Bail out! no daemons"; exit 1; }
noise() { head -c "$1" /dev/urandom; }
# gens NODE RESOURCE: the generations of its history, one word each
gens() { hf "$1" --json history "$2" | $PY -c "
import json,sys
print(*[g['generation'] for g in json.load(sys.stdin)['generations']])"; }
# pins NODE RESOURCE: NAME=GENERATION of each pin
pins() { hf "$1" --json history "$2" | $PY -c "
import json,sys
print(*['%s=%d' % (p['name'], p['generation']) for p in json.load(sys.stdin)['pins']])"; }
sound() { run 0 "$1" a disk check; }

hf a resource add r >/dev/null
hf a resource set r retain=3 >/dev/null
da=$tmp/a/root/srv/d db=$tmp/b/root/srv/d
mkdir -p "$da" "$db"
echo golden >"$da/f"
noise 50000 >"$da/g"
hf a checkpoint add r /srv/d >/dev/null
run 0 "r is online on a" a online r
g=$(field a r generation)
run 0 "its generation is pinned" a history pin r "$g" --name golden
run 4 "a name is given once" a history pin r "$g" --name golden
run 3 "what never was cannot be pinned" a history pin r 9999 --name future
run 3 "what is not pinned cannot be unpinned" a history unpin r --name other
run 2 "a pin has a name" a history pin r "$g"
run 5 "the owner is asked for it" b history pin r "$g" --name there
run 0 "history lists it" b history r
says out '\[pinned golden\]' "beside its generation"

# churn [NODE] [ROUNDS] [BYTES]
churn() {
	local i
	for i in $(seq "$2"); do
		noise "$3" >"$tmp/$1/root/srv/d/churn"
		echo "$i" >"$tmp/$1/root/srv/d/f"
		hf "$1" sync r --quick >/dev/null 2>"$tmp/err" || return 1
	done
}
churn a 60 100000
ok $? "sixty changes of 100 kB go into an area of 6 MiB"
case " $(gens a r) " in *" $g "*) false ;; *) true ;; esac
ok $? "the pinned generation has left history"
run 0 "and is listed still" a history r
says out '\[pinned golden\]' "in words"
is "$(pins b r)" "golden=$g" "and in JSON"
run 0 "P1: it is read: against this node" a diff r "$g"
says out '^M.*/srv/d/f' "what changed since"
crash a
run 0 "b takes over" b online r --fenced
churn b 60 100000
ok $? "and goes on"
up a
run 0 "the pin is there, with another owner" b diff r "$g"
says out '^M.*/srv/d/f' "and says what changed"
run 0 "against itself" b diff r "$g" "$g"
is "$(wc -c <"$tmp/out")" 0 "there is no difference"

# ---- full ----
i=0
while [ $i -lt 200 ]; do
	noise 100000 >"$db/fill$i"
	hf b sync r >"$tmp/out" 2>"$tmp/err"
	rc=$?
	[ $rc -eq 0 ] || break
	i=$((i + 1))
done
is $rc 7 "a disk that runs full refuses, after $i files"
says err 'is full' "says so"
says err 'pinned and kept: golden' "and what is pinned"
rm "$db/fill$i"
echo small >"$db/small"
run 0 "what fits is taken still" b sync r
# what is full is taken over by the other node, which has room
run 0 "r goes offline on the full node" b offline r
run 0 "r is online on a" a online r
same a b srv/d
ok $? "P1: with all that was confirmed"
# and back: b is full, and claims all the same
hf b resource add s >/dev/null
mkdir -p "$tmp/a/root/srv/s" "$tmp/b/root/srv/s"
echo s >"$tmp/b/root/srv/s/s"
hf b checkpoint add s /srv/s >/dev/null
run 0 "another resource begins on b" b online s
hf b resource set s retain=1 >/dev/null
for k in $(seq 200); do
	noise 100000 >"$tmp/b/root/srv/s/fill$k"
	hf b sync s >/dev/null 2>&1 || break
done
rm "$tmp/b/root/srv/s/fill$k"
run 0 "it has filled the area of b" b sync s
echo more >"$da/more"
run 0 "r has changed on a" a sync r
crash a
run 0 "P1: a full node takes r over" b online r --fenced
is "$(cat "$db/more")" more "with all that was confirmed"
up a
is "$(cat "$db/small")" small "every file of it"
noise 300000 >"$db/toomuch"
run 7 "what does not fit is refused" b sync r
run 0 "a stop succeeds all the same" b offline r
says err 'not released: another node takes it over with --fenced only' "but does not release"
says err 'is full' "and says why"
! grep -q 'out of reach' "$tmp/err"
ok $? "which is not that the disk is away"
run 5 "so the other node is refused" a online r
says err 'there says why it is not released' "and told where to look"
run 0 "that status is there" b status r
says out 'unreleased: stopped, but its last changes are not committed yet' "and says it"
run 0 "the node that has them takes it up again" b online r
run 0 "s is put offline" b offline s
run 0 "and deleted" b resource delete s --yes
until_true 60 hf b sync r
ok $? "W8: its space comes back, and what did not fit fits"
sound "the disk is sound after a deletion whose space was used again"

# ---- what makes room ----
rm -f "$db"/fill* "$db/toomuch"
run 0 "files are deleted" b sync r --allow-delete
run 0 "r goes offline" b offline r
run 0 "a pin goes while nobody owns the resource" a history unpin r --name golden
is "$(pins b r)" "" "and is listed no more"
run 3 "its generation has gone with it" a diff r "$g"
newest=$(gens a r)
newest=${newest##* }
run 0 "a new one comes, from the other node" b history pin r "$newest" --name late
run 0 "r is online on a" a online r
same a b srv/d
ok $? "as it was"
churn a 70 100000
ok $? "in a disk that was full there is room for months"
is "$(pins a r)" "late=$newest" "the late pin stays"
run 0 "retain by age" a resource set r retain=1,7d
churn a 3 1000
run 0 "history" a --json history r
run 0 "r goes offline" a offline r
run 0 "r is deleted, with its pins" a resource delete r --yes
run 3 "there is no history of it" a history r
sound "the disk is sound"
for c in a b; do
	down $c
	up $c
	ok $? "$c starts again"
done
sound "and stays so"
plan
