#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon is killed at random while a writer runs, and restarted: every change that a
# sync had confirmed is in the store, and after the writer ends store and tree are equal.
. "$(dirname "$0")/lib.sh"
seed=${SEED:-$$}
RANDOM=$seed
echo "# SEED=$seed"
cluster a b
up a && up b; ok $? "two nodes"
A=$tmp/a/root/srv/w
mkdir -p "$A"; echo start >"$A/start"
hf a resource add w >/dev/null && hf a checkpoint add w /srv/w >/dev/null && hf a online w >/dev/null
ok $? "online"

writer() { # until $tmp/stop exists; ends with a quiet tree
	local i=0 d
	while [ ! -e "$tmp/stop" ]; do
		i=$((i + 1)); d=$A/d$((RANDOM % 6))
		case $((RANDOM % 8)) in
		0) mkdir -p "$d"; echo $i >"$d/n$((RANDOM % 20))" ;;
		1) rm -rf "$d" ;;
		2) mv "$d" "$A/d$((RANDOM % 6))" 2>/dev/null ;;
		3) echo $i >>"$A/log" ;;
		4) echo $i >"$A/t.new" && mv "$A/t.new" "$A/t" ;;
		5) chmod $((600 + RANDOM % 78)) "$A/log" 2>/dev/null ;;
		6) ln -sf "target$i" "$A/link" ;;
		7) dd if=/dev/urandom of="$A/blob" bs=1k count=$((1 + RANDOM % 90)) 2>/dev/null ;;
		esac
	done
}
writer &
extra_pids=$!
for k in 1 2 3 4 5 6 7 8; do
	echo "$k" >"$A/mark"
	hf a sync w >"$tmp/out" 2>"$tmp/err"; rc=$?
	sleep 0.$((RANDOM % 4))
	crash a
	if [ $rc = 0 ] && [ $((k % 4)) = 0 ]; then
		# what another node would see now
		hf b diff w 1 >/dev/null 2>&1
	fi
	up a || { ok 1 "restart $k"; break; }
	until_true 15 field_is a w state online || { why=$(tail -5 "$tmp/a/log"); ok 1 "resumed $k"; }
done
ok 0 "P2: killed and restarted 8 times"
touch "$tmp/stop"; wait $extra_pids 2>/dev/null; extra_pids=
run 0 "sync after the storm" a sync w --allow-delete
run 0 "diff" a diff w
why=$(cat "$tmp/out"); [ -z "$why" ]; ok $? "P1: the store equals the tree"
cp -a "$A" "$tmp/oracle"
crash a
run 0 "takeover" b online w --fenced
why=$(rsync -aHAXc --delete --dry-run -i "$tmp/oracle/" "$tmp/b/root/srv/w/"); [ -z "$why" ]
ok $? "P1 P6: the other node's tree equals what was synced"
# the same, killed in the middle of the storm: what sync confirmed is there
rm -f "$tmp/stop"
A=$tmp/b/root/srv/w
up a
writer &
extra_pids=$!
last=0
for k in $(seq 10); do
	echo "$k" >"$A/mark2"
	hf b sync w --allow-delete >/dev/null 2>"$tmp/err" && last=$k
done
echo 99 >"$A/mark2"
crash b
touch "$tmp/stop"; wait $extra_pids 2>/dev/null; extra_pids=
[ $last -gt 0 ]; ok $? "sync succeeds while a writer runs (last: $last)"
run 0 "takeover in the middle of the storm" a online w --fenced
got=$(cat "$tmp/a/root/srv/w/mark2")
why="last confirmed $last, restored $got"
[ "$got" -ge "$last" ]; ok $? "P1: what sync confirmed last is there"
hf a diff w >"$tmp/out"; why=$(cat "$tmp/out"); [ -z "$why" ]; ok $? "the restored tree equals its generation"
up b
until_true 20 eval '[ "$(field b w unconfirmed.count)" != None ]'; ok $? "P4: the crashed node says what it held"
plan
