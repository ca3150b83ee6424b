#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# X8: nodes that do not own a resource follow its log; a takeover then reads the tail only. What is
# followed is bounded, in the clear nowhere on a disk of theirs, and follows whatever becomes of the log.
. "$(dirname "$0")/lib.sh"
SIZE=128MiB cluster a b
node b '[standby]' 'memory = 16MiB' 'rate = 64MiB'
node c '[standby]' 'memory = 0'
hf c join "$tmp/disk" >/dev/null || exit 1
A=$tmp/a/root/srv/pg
mkdir -p "$A/d" "$tmp/a/root/srv/keys"
for i in $(seq 1500); do echo "value $i $RANDOM$RANDOM" >"$A/d/file-with-a-name-$i"; done
head -c 3000000 /dev/urandom >"$A/blob"
SECRET=PRIVATE-KEY-$RANDOM$RANDOM-of-nobody
(umask 077; echo "$SECRET" >"$tmp/a/root/srv/keys/k")
up a && up b && up c; ok $? "three nodes"
hf a resource add pg && hf a checkpoint add pg /srv/pg && hf a checkpoint add pg /srv/keys --crypto &&
	hf a online pg && hf a sync pg; ok $? "online on a"

gen() { field a pg generation; }
warm() { field b "$1" warm.generation; }
caught_up() { [ "$(warm pg)" = "$(gen)" ] && field_is b pg warm.state warm; }
until_true 30 caught_up; ok $? "X8: b keeps the newest generation"
hf b status pg >"$tmp/out"
says out "pg: standing by, warm for generation $(gen)" "status says so"
is "$(field c pg warm)" None "a node with memory = 0 keeps nothing"
for i in $(seq 40); do echo "$i" >"$A/d/changing"; hf a sync pg --quick; done >/dev/null
until_true 30 caught_up; ok $? "and follows"
[ "$(field b pg warm.contents)" -gt 3000000 ]; ok $? "with contents"
[ "$(field b pg warm.missing)" -eq 0 ]; ok $? "all of them"

# idle: what it reads is counted, not timed
r0=$(field b pg warm.read); t0=$(date +%s%N)
sleep 3
r1=$(field b pg warm.read) t1=$(date +%s%N)
echo "# idle: $(((r1 - r0) * 1000000000 / (t1 - t0))) bytes in a second"
[ $((r1 - r0)) -le $((4096 * ((t1 - t0) / 1000000000 + 2))) ]; ok $? "an idle follower reads a sector in a second"

# in the clear nowhere: neither in its files nor in memory that may be swapped
why=$(grep -rl "$SECRET" "$tmp/b"); [ -z "$why" ]; ok $? "P11: no file of b's has what is secret"
# contents are sealed in memory too: b has not opened them
cat >"$tmp/grep.py" <<'P'
import re, sys
pid, what = sys.argv[1], sys.argv[2].encode()
hits = locked = 0
with open(f'/proc/{pid}/mem', 'rb', 0) as mem:
    for line in open(f'/proc/{pid}/maps'):
        m = re.match(r'([0-9a-f]+)-([0-9a-f]+) rw', line)
        if not m or '[vvar' in line:
            continue
        lo, hi = int(m[1], 16), int(m[2], 16)
        for at in range(lo, hi, 1 << 20):
            try:
                mem.seek(at)
                hits += mem.read(min(1 << 20, hi - at)).count(what)
            except OSError:
                pass
print(hits)
P
is "$($PY "$tmp/grep.py" "${pid[b]}" "$SECRET")" 0 "P11: nor has its memory"
[ "$($PY "$tmp/grep.py" "${pid[b]}" file-with-a-name-77)" -gt 0 ]; ok $? "in which names are found, so it was looked through"

echo tail >"$A/d/tail"
hf a sync pg >/dev/null
cp -a "$A" "$tmp/oracle"
crash a
hf b --json online pg --fenced >"$tmp/out"; ok $? "takeover"
read -r from read < <($PY -c "import json;c=json.load(open('$tmp/out'))['claim'];print(c['warm'],c['read'])")
[ "$from" -gt 0 ] && [ "$read" -le 700000 ]; ok $? "X8: it went on from generation $from, and read $read bytes, rows of claims included"
why=$(rsync -aHAXc --delete --dry-run -i "$tmp/oracle/" "$tmp/b/root/srv/pg/"); [ -z "$why" ]; ok $? "P1 P6: it is what was synced"
is "$(cat "$tmp/b/root/srv/keys/k")" "$SECRET" "the crypto checkpoint too"
is "$(field b pg warm)" None "an owner keeps nothing aside"
until_true 10 [ "$(field b pg confirmed)" -ge 1 ]
hf b offline pg; ok $? "offline"
up a; ok $? "a is back"
hf a online pg; ok $? "online on a again"
until_true 30 caught_up; ok $? "b follows through the epochs"

# deleted, and made again under its name
hf a offline pg && hf a resource add other && mkdir -p "$tmp/a/root/srv/o" && echo 1 >"$tmp/a/root/srv/o/f" &&
	hf a checkpoint add other /srv/o && hf a online other && hf a sync other
until_true 20 eval '[ "$(warm other)" = "$(field a other generation)" ]'; ok $? "a second resource"
hf a offline other && hf a resource delete other; ok $? "is deleted"
until_true 20 eval '! hf b status other'; ok $? "P8: b forgets it"
hf a resource add other && hf a checkpoint add other /srv/o && hf a online other && hf a sync other; ok $? "made again"
until_true 20 eval '[ "$(warm other)" = "$(field a other generation)" ]'; ok $? "and followed anew"

# bounded: the state alone must fit, then contents as far as they do
down b
rm -f "$tmp/b/state/settled/pg"	# what is here as it was needs no room
node b '[standby]' 'memory = 2MiB' 'rate = 64MiB'
up b; ok $? "b with 2 MiB"
hf a online pg; hf a sync pg >/dev/null
until_true 30 eval '[ "$(warm pg)" = "$(gen)" ]'; ok $? "is warm"
until_true 10 eval '[ "$(field b pg warm.missing)" -gt 0 ]'; ok $? "has no room for all contents, and says so"
sum=$(($(field b pg warm.bytes) + $(field b other warm.bytes)))
why="$sum bytes"; [ $sum -le 2097152 ]; ok $? "and takes no more than it may"
down b
node b '[standby]' 'memory = 300KiB' 'rate = 64MiB'
up b; ok $? "b with 300 KiB"
until_true 30 field_is b pg warm.state too-large; ok $? "cannot follow, and says so"
hf b status pg >"$tmp/out"
says out "does not fit" "to people too"
[ "$(field b pg warm.bytes)" -eq 0 ]; ok $? "and takes nothing for it"
idle() { local r; r=$(field b pg warm.read); sleep 2; [ "$(field b pg warm.read)" = "$r" ]; }
until_true 1 idle; ok $? "nor reads it again and again, which would keep those waiting that fit"
hf a sync pg >/dev/null; crash a
run 0 "a takeover reads all then" b online pg --fenced
same a b srv/pg; ok $? "P1: and is right"
hf b offline pg; ok $? "offline"
down b

# the store goes away and comes back; bases and trims meanwhile; the disk grows
node b '[standby]' 'memory = 32MiB' 'rate = 64MiB'
up a; hf a online pg; ok $? "online on a"
up b HOLDFAST_SEAM=disk.read:500+:eio; ok $? "b, for which the store will be out of reach"
until_true 60 field_is b pg warm.state unavailable; ok $? "says so"
alive b; ok $? "and lives on"
crash b
up b; ok $? "b with the store again"
for i in $(seq 6); do head -c 1500000 /dev/urandom >"$A/blob"; hf a sync pg; done >/dev/null
until_true 30 caught_up; ok $? "bases and trims are followed"
truncate -s 192M "$tmp/disk"
hf a disk grow "$tmp/disk" >/dev/null; ok $? "the disk grows"
for i in $(seq 4); do head -c 3000000 /dev/urandom >"$A/blob$i"; hf a sync pg; done >/dev/null
until_true 30 caught_up; ok $? "and is followed"
crash a
hf b --json online pg --fenced >"$tmp/out"; ok $? "takeover"
same a b srv/pg; ok $? "P1: with everything"

# what both have is neither kept nor read: it looks as it did when it was equal
cat >"$tmp/accessed.py" <<'P'
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
fd = libc.inotify_init1(0)
for d in sys.argv[1:]:
    if libc.inotify_add_watch(fd, d.encode(), 1) < 0:	# IN_ACCESS
        sys.exit('no watch')
print('watching', flush=True)
while True:
    b = os.read(fd, 65536)
    while b:
        mask, _, n = struct.unpack_from('4xIII', b)
        if not mask & 0x40000000:
            print(b[16:16 + n].rstrip(b'\0').decode(), flush=True)
        b = b[16 + n:]
P
up a && hf b offline pg && hf a online pg && hf a sync pg; ok $? "back to a"
until_true 30 caught_up
[ "$(field b pg warm.contents)" -lt 1000000 ]; ok $? "b keeps no contents of what it has"
echo news >"$A/d/news"
head -c 700000 /dev/urandom >"$A/blob2"
hf a sync pg >/dev/null
until_true 30 caught_up
[ "$(field b pg warm.contents)" -gt 700000 ]; ok $? "but those of what is new"
touch "$tmp/b/root/srv/pg/blob3"
echo mine >"$tmp/b/root/srv/pg/d/file-with-a-name-5"
crash a
$PY "$tmp/accessed.py" "$tmp/b/root/srv/pg" "$tmp/b/root/srv/pg/d" >"$tmp/accessed" &
extra_pids=$!
until_true 10 grep -q watching "$tmp/accessed"
hf b --json online pg --fenced >"$tmp/out"; ok $? "takeover"
kill $extra_pids
sort -u "$tmp/accessed" | grep -v watching >"$tmp/read"
why=$(head -5 "$tmp/read"); ! grep -qx -e blob -e blob1 -e blob4 -e file-with-a-name-6 "$tmp/read"
ok $? "X8: what looks as it did when it was equal is not read"
grep -qx blob3 "$tmp/read"; ok $? "what does not is"
same a b srv/pg; ok $? "P1 P6: and all is as it should be, what was changed here too"

# what was deleted meanwhile is not read to its end
chars() { awk '/^rchar/ { print $2 }' "/proc/${pid[a]}/io"; }
in3s() { local r; r=$(chars); sleep 3; echo $(($(chars) - r)); }
node a '[standby]' 'memory = 32MiB' 'rate = 2MiB'
up a && until_true 20 field_is a pg warm.state warm; ok $? "a is back"
idle=$(in3s)
mkdir "$tmp/b/root/srv/big"
head -c 24000000 /dev/urandom >"$tmp/b/root/srv/big/blob"
hf b resource add big && hf b checkpoint add big /srv/big && hf b online big && hf b sync big; ok $? "one that is large"
until_true 20 field_is a big warm.state reading; ok $? "a begins to follow it"
hf b offline big && hf b resource delete big --yes; ok $? "it is deleted"
unknown() { ! hf a status big >/dev/null 2>&1; }
until_true 10 unknown; ok $? "which a gets to know"
after=$(in3s) why="$after bytes, $idle when nothing was followed"
[ "$after" -lt $((idle + 2000000)) ]; ok $? "and reads no more of it"
plan
