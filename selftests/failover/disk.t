#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The disk is taken away under the daemons: formatted anew, overwritten, gone and back; a group that may read.
. "$(dirname "$0")/lib.sh"
cluster a b
sed -i 's/^\[store\]/[access]\nread_group = nogroup\n[store]/' "$tmp/a/conf"
chmod 755 "$tmp" "$tmp/a"
mkdir -p "$tmp/a/root/srv/t/in" "$tmp/b/root/srv"; echo 1 >"$tmp/a/root/srv/t/f"; echo 2 >"$tmp/a/root/srv/t/in/g"
echo single >"$tmp/a/root/srv/one.conf"
rmdir "$tmp/a/run"
up a && up b; ok $? "two nodes"

# P10: the group gets as far as to list
setpriv --reuid=65534 --regid=65534 --groups=65534 "$B/holdfast" -c "$tmp/a/conf" node list >"$tmp/out" 2>"$tmp/err"
is $? 0 "P10: a member of read_group may list"
setpriv --reuid=65534 --regid=65534 --groups=65534 "$B/holdfast" -c "$tmp/a/conf" resource add x >"$tmp/out" 2>"$tmp/err"
is $? 9 "and nothing else"
setpriv --reuid=65533 --regid=65533 --clear-groups "$B/holdfast" -c "$tmp/a/conf" node list >"$tmp/out" 2>"$tmp/err"
is $? 9 "others not even that"

# one file: its path says it all
hf a resource add o >/dev/null && hf a checkpoint add o /srv/one.conf >/dev/null && hf a online o >/dev/null
ok $? "a single file"
echo changed >"$tmp/b/root/srv/one.conf"
run 0 "diff on the other node" b diff o
says out '/srv/one.conf$' "names the file"
! grep -q 'one.conf/one.conf' "$tmp/out"; ok $? "once"

# an inner tree that the outer one leaves out
hf a resource add n >/dev/null && hf a checkpoint add n /srv/t --exclude in >/dev/null
run 0 "the inner tree, left out by the outer one" a checkpoint add n /srv/t/in
run 0 "both go online" a online n
hf a offline n >/dev/null

# formatted under a daemon that lives
run 5 "format --force of a disk in use is refused" a disk format "$tmp/disk" --name other --force
says err 'alive' "with the reason"
run 0 "nothing happened to it" a sync o
down b
# by somebody else with another key
cp "$tmp/disk" "$tmp/saved"
dd if=/dev/zero of="$tmp/disk" bs=4k count=2 conv=notrunc 2>/dev/null
for _ in $(seq 100); do kill -0 "${pid[a]}" 2>/dev/null || break; sleep 0.05; done
wait "${pid[a]}"; is $? 6 "a daemon whose disk was overwritten stops by itself"
grep -q 'formatted anew or overwritten' "$tmp/a/log"; ok $? "and says why"
unset 'pid[a]'
dd if="$tmp/saved" of="$tmp/disk" bs=4k count=2 conv=notrunc 2>/dev/null
up a; ok $? "with the disk back it starts"
until_true 10 eval 'hf a sync o'; ok $? "and owns what it owned"
run 0 "the disk is sound" a disk check

# gone and back
cp "$tmp/disk" "$tmp/saved"
truncate -s 4096 "$tmp/disk"
until_true 10 eval '! hf a --json status | grep -q "\"store\":\"ok\""'; ok $? "a disk that is gone is said to be"
kill -0 "${pid[a]}"; ok $? "and waited for"
cat "$tmp/saved" >"$tmp/disk"
until_true 10 eval 'hf a --json status | grep -q "\"store\":\"ok\""'; ok $? "until it is back"

# P11: damage is found, and named
off=$(python3 - "$tmp/disk" <<'P'
import sys
d = open(sys.argv[1], 'rb').read()
print(*[o for o in range(0, len(d), 4096) if d[o:o + 4] == b'HFRC'])
P
)
crash a
for o in $off; do printf 'XXXX' | dd of="$tmp/disk" bs=1 seek=$((o + 100)) conv=notrunc 2>/dev/null; done
run 8 "P11: damage is found" a disk check
plan
