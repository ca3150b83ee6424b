#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# X12: a node that was dead or fenced out says what it held that was never confirmed: how many, which, where
# they are kept aside; they can be looked at, and brought back.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/lib.sh"
cluster a b
A=$tmp/a/root/srv Bd=$tmp/b/root/srv
mkdir -p "$A/one/d" "$A/two" "$A/keys"
for i in 1 2 3; do echo "first $i" >"$A/one/d/$i"; done
echo first >"$A/two/conf"; echo secret >"$A/keys/private-name"; chmod 600 "$A/keys/private-name"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null
hf a checkpoint add r /srv/one >/dev/null && hf a checkpoint add r /srv/two >/dev/null &&
	hf a checkpoint add r /srv/keys --crypto >/dev/null && hf a online r >/dev/null && hf a sync r >/dev/null
ok $? "three checkpoints"
log() { tail -c +$((at + 1)) "$tmp/a/log" >"$tmp/out"; }
# lost: a dies with changes that nobody saw; b takes over; a returns
lost() {
	crash a
	echo "late $1" >"$A/one/d/1"; rm -f "$A/one/d/2"; echo "new $1" >"$A/one/new $1"
	echo "late $1" >"$A/two/conf"; echo "late $1" >"$A/keys/private-name"
	run 0 "another node takes over" b online r --fenced
	at=$(stat -c %s "$tmp/a/log")
	up a; until_true 20 eval '[ "$(field a r unconfirmed.count)" != None ]'; ok $? "the dead one returns"
}
sets() { field a r unconfirmed.displaced; }
# of which checkpoint: its set
set_of() {
	hf a --json displaced list r | $PY -c '
import json, sys
print(*[s["id"] for s in json.load(sys.stdin)["sets"] if s["checkpoint"] == sys.argv[1] and s["id"] in sys.argv[2]])' "$1" "$(sets)"
}

lost 1
# the directory of what was made and deleted is one of them
n1=$(field a r unconfirmed.count)
[ "$n1" -ge 5 ] && [ "$n1" -le 7 ]; ok $? "X12: status says how many: $n1"
is "$(wc -w <<<"$(sets)")" 3 "and all sets that they are kept aside in"
hf a status r >"$tmp/out" 2>&1
says out "$n1 changes here were never confirmed.* kept aside as $(sets) (holdfast displaced list r)" "the same in words"
log
says out "never confirmed: contents of /srv/one/d/1" "X12: the log names what was changed"
says out "never confirmed: removed /srv/one/d/2" "what was deleted"
says out "never confirmed: added /srv/one/new 1" "what was made"
says out "never confirmed: contents of /srv/two/conf" "in each checkpoint"
says out "$n1 entries of this node were never confirmed; they are kept aside as $(sets)" "and where it is kept"
! grep -q private-name "$tmp/a/log"; ok $? "P11: but no name in a crypto checkpoint"
down a; up a
is "$(field a r unconfirmed.count) $(wc -w <<<"$(sets)")" "$n1 3" "a restart of the daemon forgets nothing of it"

one=$(set_of /srv/one) two=$(set_of /srv/two)
run 0 "displaced show" a displaced show r "$one"
says out "/srv/one/d/1 .* 7 bytes\|/srv/one/d/1  7" "names, and sizes"
says out "/srv/one/new 1" "of all of them"
! grep -q two "$tmp/out"; ok $? "of that set alone"
run 0 "as JSON" a --json displaced show r "$one"
is "$($PY -c 'import json, sys
s = json.load(open(sys.argv[1]))["sets"]
print(len(s), s[0]["id"] == sys.argv[2], s[0]["reason"], sorted(e["rel"] for e in s[0]["entries"] if e["mode"][:2] == "10"))' "$tmp/out" "$one")" \
	"1 True unconfirmed ['d/1', 'new 1']" "the same"
run 3 "one that is not there" a displaced show r 20260102T030405.678Z-0123abcd
says err "no kept-aside set 20260102T030405.678Z-0123abcd" "is named"
run 3 "of another resource" a displaced show other "$one"

run 0 "brought back to look at" a displaced restore r "$one" --to "$tmp/a/root/look"
is "$(cat "$tmp/a/root/look/d/1" "$tmp/a/root/look/new 1")" "late 1
new 1" "it is what was lost"
# it comes home, and what was lost is made part of it again
run 0 "move back" b offline r
run 0 "online" a online r
is "$(cat "$A/one/d/1" "$A/one/d/2" "$A/two/conf")" "first 1
first 2
first" "the tree is what was confirmed"
is "$(field a r unconfirmed)" None "status says no more of it: this node owns it"
run 0 "one name is brought back" a displaced restore r "$one" d/1
run 0 "and a whole checkpoint" a displaced restore r "$two"
is "$(cat "$A/one/d/1" "$A/two/conf") $(ls "$A/one")" "late 1
late 1 d" "they are there, and nothing else"
run 0 "sync" a sync r
run 0 "offline" a offline r
run 0 "and another node" b online r
is "$(cat "$Bd/one/d/1" "$Bd/two/conf")" "late 1
late 1" "has them: a change like any other"

# its tree's filesystem is not mounted when it returns: that is no loss of all that was in it
mkdir "$A/mnt" "$Bd/mnt"
if mount -t tmpfs none "$A/mnt" 2>/dev/null && mount -t tmpfs none "$Bd/mnt"; then
	extra_mounts="$A/mnt $Bd/mnt"
	mkdir "$A/mnt/t"; for i in 1 2 3 4; do echo "$i" >"$A/mnt/t/$i"; done
	hf a resource add m >/dev/null; hf a checkpoint add m /srv/mnt/t >/dev/null; hf a online m >/dev/null; ok $? "a tree on a mount"
	crash a; umount -l "$A/mnt"; extra_mounts=$Bd/mnt; mkdir -p "$A/mnt/t"
	run 0 "another node takes over" b online m --fenced
	at=$(stat -c %s "$tmp/a/log")
	up a; until_true 20 eval '[ "$(field a m unconfirmed.count)" != None ]'; ok $? "the dead one returns without the mount"
	is "$(field a m unconfirmed.count)" 0 "X12: nothing is taken for removed"
	log; says out "/srv/mnt/t cannot be compared: .*not mounted" "and it says why"
	umount -l "$Bd/mnt"; extra_mounts=
else
	ok 0 "a tree on a mount # SKIP no mount here"
fi
plan
