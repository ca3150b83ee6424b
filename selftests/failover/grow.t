#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A disk that grows under its daemons, in size and in nodes; a node that is replaced, and one that is
# removed; the machines that come back.
. "$(dirname "$0")/lib.sh"
export SIZE=12MiB
cluster a b
for i in c d; do node $i; done
t=$tmp/a/root/srv/t
mkdir -p "$t" "$tmp/a/root/srv/u" "$tmp/a/root/srv/v"
echo 1 >"$t/f" && echo u >"$tmp/a/root/srv/u/f" && echo v >"$tmp/a/root/srv/v/f"
up a && up b; ok $? "two nodes"
for r in t u v; do
	hf a resource add $r && hf a checkpoint add $r /srv/$r && hf a online $r
done >/dev/null; ok $? "three resources"
hf a resource set t delete-guard=1 >/dev/null 2>&1

# --- in size
run 5 "disk grow of one that did not become larger" a disk grow "$tmp/disk"
says err 'did not become larger' "with the reason"
head -c 8M /dev/urandom >"$t/big"
run 7 "an area is full" a sync t
truncate -s 64M "$tmp/disk"
run 0 "the disk grows" b disk grow "$tmp/disk"
says out 'more than before' "and says by how much"
until_true 20 hf a sync t; ok $? "its owner commits what did not fit, without a restart"
run 0 "the disk is sound" a disk check

# --- in nodes
hf c join "$tmp/disk" >/dev/null && hf d join "$tmp/disk" >/dev/null; ok $? "four nodes"
node e
run 5 "a fifth is refused" e join "$tmp/disk"
says err 'disk grow' "and told of disk grow"
[ ! -e "$tmp/e/state/identity" ]; ok $? "it has no identity"
run 5 "more nodes without room" a disk grow "$tmp/disk" --nodes 6
truncate -s 96M "$tmp/disk"
run 5 "more than it was formatted for" a disk grow "$tmp/disk" --nodes 9
run 5 "fewer" a disk grow "$tmp/disk" --nodes 2
run 0 "six nodes" a disk grow "$tmp/disk" --nodes 6 --json
$PY -c 'import json,sys; d=json.load(sys.stdin); sys.exit(not (d["nodes_max"] == 6 and len(d["areas"]) == 6 and all(p["area_size"] > 0 for p in d["areas"])))' <"$tmp/out"
ok $? "as its answer says"
run 0 "the fifth joins" e join "$tmp/disk"
up e; ok $? "and starts"
run 0 "a resource that was committed into the new room moves to it" a offline t
run 0 "online there" e online t
same a e srv/t; ok $? "P1: all of it"
hf b node list | grep -q '^e .*up'; ok $? "nodes that run on list it"
run 0 "and back" e offline t
run 0 "online on the first" a online t

# --- a node that died is replaced
run 4 "one that is a node replaces none" c node replace a "$tmp/disk" --yes
node f
run 5 "a live node is not replaced" f node replace a "$tmp/disk" --yes
says err 'alive' "because it is alive"
echo last >"$t/f"
run 0 "what is confirmed last" a sync t
kill -STOP "${pid[a]}"
run 3 "one that there is not" f node replace nobody "$tmp/disk" --yes
run 0 "a dead one is replaced" f node replace a "$tmp/disk" --yes
up f; ok $? "the new machine starts"
hf b node list | grep -q '^a '; [ $? -ne 0 ]; ok $? "the old name is gone from the list"
run 0 "what it had online comes online on the new one" f online t
same a f srv/t; ok $? "P1: as it was confirmed"
run 0 "and on another" b online u
kill -CONT "${pid[a]}"
wait "${pid[a]}"; is $? 6 "P4: the old machine comes back, and ends"
grep -q 'replaced' "$tmp/a/log"; ok $? "saying why"
unset 'pid[a]'
cp "$tmp/disk" "$tmp/before"
timeout 20 "$B/holdfastd" -c "$tmp/a/conf" 2>"$tmp/err"; is $? 5 "P4: it does not start again"
says err 'join' "and says what to do"
run 0 "the new owner is not disturbed" f sync t

# --- a node is removed
run 5 "this node does not remove itself" b node remove b --yes
run 3 "nor one that there is not" b node remove nobody --yes
run 5 "nor one that is alive" b node remove f --yes
run 0 "what is offline" f offline t
crash f
run 5 "not while what died there has no owner" b node remove f --yes
says err ': v; bring' "which is named"
run 0 "then it is taken over" b online v
run 0 "what would be done" b node remove f --yes --dry-run
says out '^t: .*would be copied' "is said"
run 0 "nothing was" b node remove f --yes --dry-run --json
grep -q '"t"' "$tmp/out"; ok $? "as JSON too"
run 0 "a dead node is removed" b node remove f --yes
says out '^t: .*was copied' "after its area was emptied"
hf b node list | grep -q '^f '; [ $? -ne 0 ]; ok $? "it is not listed"
run 0 "its slot" b disk info "$tmp/disk"
grep -q '^- *0 *free' "$tmp/out"; ok $? "is free"
! grep -q '^f ' "$tmp/out"; ok $? "and nobody's"
timeout 20 "$B/holdfastd" -c "$tmp/f/conf" 2>"$tmp/err"; is $? 5 "P4: it does not start again"
says err 'was removed' "and says why"
run 0 "the machine joins as a new node" f join "$tmp/disk" --json
slot=$($PY -c 'import json,sys; print(json.load(sys.stdin)["slot"])' <"$tmp/out")
is "$slot" 0 "in the slot that is free"
up f; ok $? "and starts"
head -c 6M /dev/urandom >"$tmp/b/root/srv/u/big"
mkdir -p "$tmp/f/root/srv/w"; head -c 6M /dev/urandom >"$tmp/f/root/srv/w/big"
hf f resource add w >/dev/null && hf f checkpoint add w /srv/w >/dev/null
run 0 "its area is written anew" f online w
run 0 "the resource that was last online there comes online" e online t
same a e srv/t; ok $? "P1: with all that was confirmed"
run 0 "the disk is sound" b disk check
for i in b e f; do down $i; ok $? "$i ends"; done
plan
