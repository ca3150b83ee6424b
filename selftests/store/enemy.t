#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# X9: disks that an enemy put back to an earlier state, under daemons: what they find, when, and
# what an administrator does about it.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
if [ "$(id -u)" -ne 0 ]; then
	echo "1..0 # SKIP needs root (fanotify)"
	exit 0
fi
LEASE=500ms
dd() { command dd "$@" 2>/dev/null; }
# at OFFSET [BYTES]: an integer of the superblock
at() { od -A n -t "u${2:-8}" -j "$1" -N "${2:-8}" "$tmp/disk" | tr -d ' '; }
# row R: where the row of claims R lies, in sectors; its length
row() { echo $((($(at 224) + $1 * $(at 232)) / 4096)); }
rowlen() { echo $(($(at 232) / 4096)); }
# replace IMAGE FROM COUNT: sectors of the disk by those of an image
replace() { dd if="$1" of="$tmp/disk" bs=4096 skip="$2" seek="$2" count="$3" conv=notrunc; }
beats() { sleep 0.7; }		# for memory: some beats of 100 ms
begin() {
	local c
	for c in "$@"; do
		up "$c" || { echo "Bail out! no daemon: $(cat "$tmp/$c/log")"; exit 1; }
	done
}
# ends NODE: its daemon, started, ends by itself; its exit code
ends() {
	timeout 30 "$B/holdfastd" -c "$tmp/$1/conf" >"$tmp/out" 2>"$tmp/err"
	echo $?
}

SIZE=16MiB
cluster a b
begin a b
A=$tmp/a/root/srv/pg
mkdir -p "$A" "$tmp/a/root/srv/web"
echo 1 >"$A/f"
echo 1 >"$tmp/a/root/srv/web/f"
for c in "resource add web" "checkpoint add web /srv/web" "online web" "resource add pg" "checkpoint add pg /srv/pg" \
	"online pg" "sync pg"; do
	# shellcheck disable=SC2086
	run 0 "$c" a $c
done
beats
down a
down b
cp --sparse=always "$tmp/disk" "$tmp/old"
begin a b
for i in 2 3 4; do
	echo $i >"$A/f"
	hf a sync pg >/dev/null
done
run 0 "sync" a sync pg
run 0 "offline" a offline pg
run 0 "it moves to b" b online pg
run 0 "and ends" b offline pg
beats

# --- one row, under daemons that run
cp --sparse=always "$tmp/disk" "$tmp/new"
pg=$(hf a --json disk info | $PY -c 'import json, sys; print(max(l["row"] for l in json.load(sys.stdin)["logs"]))')
replace "$tmp/old" "$(row "$pg")" "$(rowlen)"
until_true 10 grep -q "pg: the disk is older than what this node has seen" "$tmp/a/log"
ok $? "an old row: a node that runs says so at a beat"
until_true 10 eval 'hf b status pg | grep -q "behind: "'
ok $? "its status warns"
run 8 "online is refused" b online pg
says err "pg has epoch" "and says what is older"
says err "holdfast disk accept" "and what to do"
run 0 "other resources are not" a sync web
is "$(cat "$A/f")" 4 "nothing was restored"
replace "$tmp/new" "$(row "$pg")" "$(rowlen)"
until_true 10 eval '! hf b status pg | grep -q "behind: "'
ok $? "the newest one put back: the warning goes"
run 0 "and it goes online" b online pg
is "$(cat "$tmp/b/root/srv/pg/f")" 4 "with what was confirmed"
run 0 "offline" b offline pg
run 0 "offline" a offline web
beats
cp --sparse=always "$tmp/disk" "$tmp/new"

# --- emptied, while nobody looks
down a
down b
dd if=/dev/zero of="$tmp/disk" bs=4096 seek="$(row "$pg")" count="$(rowlen)" conv=notrunc
begin a
run 8 "a row emptied while all were off: what was there is missed" a online pg
says err "has epoch 0" "and named"
run 0 "the rest works" a online web
run 0 "offline" a offline web
down a
cp --sparse=always "$tmp/new" "$tmp/disk"

# --- the whole disk, while all were off
cp --sparse=always "$tmp/old" "$tmp/disk"
is "$(ends a)" 8 "an old disk as a whole: the daemon does not start"
says err "the disk is older than what this node has seen of it" "and says why"
cmp -s "$tmp/old" "$tmp/disk"
ok $? "and wrote nothing"
is "$(ends b)" 8 "nor does the other"
node c
sed "s|$tmp/a|$tmp/c|" "$tmp/a/conf" >"$tmp/c/conf"	# a reinstalled: its identity, nothing else
cp -p "$tmp/a/state/identity" "$tmp/c/state/"
up c
ok $? "a node without a memory cannot know it"
hf c status >/dev/null
ok $? "and serves what is there"
down c
run 0 "disk accept" a disk accept --yes
says out "accepted: the disk is older" "says what is accepted"
begin a
run 0 "then the older state is used" a online pg
run 0 "status" a status pg
run 0 "disk accept again" a disk accept --yes
says out "not older" "has nothing to accept"
run 0 "disk check" a disk check
run 0 "offline" a offline pg
beats

# --- accept beside a daemon that runs
cp --sparse=always "$tmp/disk" "$tmp/new"
replace "$tmp/old" "$(row "$pg")" "$(rowlen)"
until_true 10 eval 'hf a status pg | grep -q "behind: "'
ok $? "an old row again"
run 8 "refused" a online pg
run 0 "accepted while the daemon runs" a disk accept --yes
until_true 10 eval '! hf a status pg | grep -q "behind: "'
ok $? "it believes the disk from then on"

# --- a row that is no row
run 0 "online" a online pg
dd if=/dev/urandom of="$tmp/disk" bs=4096 seek="$(row "$pg")" count=2 conv=notrunc
run 6 "the owner's row overwritten: it steps down at its next confirmation" a sync pg
says a/log "pg: stale: .*not as it was written" "and says why"
run 8 "disk check names it" a disk check
run 8 "nobody claims over it" a online pg --timeout 1s
says err "damaged" "and it is said"
cp --sparse=always "$tmp/new" "$tmp/disk"
down a
run 0 "put right" a disk accept --yes
begin a

# --- the newest log cut short, before its owner noted in the row how far it was confirmed
run 0 "online" a online pg
run 0 "sync" a sync pg
beats
for i in $(seq 24); do		# not so many that a base is made
	echo "$i" >"$A/f"
	hf a sync pg >/dev/null
	sleep 0.02	# what is remembered is remembered at a beat
done
crash a
# commits follow each other in less than a beat, so no note was taken of the last ones
$PY - "$tmp/disk" "$(($(at 224) + $(at 232) * $(at 180 4)))" >"$tmp/out" <<'PY'
import sys
path, area = sys.argv[1], int(sys.argv[2])      # all behind the rows
with open(path, 'r+b') as f:
    f.seek(area)
    d = f.read()
    num = lambda at, n: int.from_bytes(d[at:at + n], 'little')
    recs = sorted((num(at + 16, 8), at, num(at + 8, 4) + num(at + 12, 4)) for at in range(0, len(d), 4096) if d[at:at + 4] == b'HFRC')
    for seq, at, n in recs[-12:]:
        f.seek(area + at)
        f.write(bytes(4096 * n))
        print(seq)
PY
begin a
until_true 20 field_is a pg state failed
run 8 "a log that was cut short" a online pg
# where the machine was slow it was noted after all, and then what is missing is damage
says err "pg has generation [0-9]*, and had [0-9]*;\|record [0-9]* of epoch [0-9]* .* is damaged" "is missed, and named"
echo "# $(cut -c 1-200 "$tmp/err")"
is "$(cat "$A/f")" 24 "the tree is as it was"
down a
cp --sparse=always "$tmp/new" "$tmp/disk"
run 0 "put right" a disk accept --yes
begin a

# --- a foreign superblock
for i in 100 4196; do
	printf 'x' | dd of="$tmp/disk" bs=1 seek=$i conv=notrunc
done
sleep 0.5
alive a
ok $? "a damaged superblock stops nobody who knows the disk"
hf a disk format "$tmp/disk2" --name other --nodes 4 --lease 500ms --size 16MiB >/dev/null
dd if="$tmp/disk2" of="$tmp/disk" bs=4096 count=2 conv=notrunc
wait "${pid[a]}"
is $? 6 "a foreign one: the daemon ends with 6"
grep -q "is not the disk of cluster test any more" "$tmp/a/log"
ok $? "and says so"
is "$(ends a)" 5 "and does not start on it"
plan
