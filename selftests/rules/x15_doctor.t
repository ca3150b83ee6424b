#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# doctor: configuration, key, identity, disk from every node, module, owner's heartbeat, mounts,
# quality of tracking, last error, paths that a takeover would be refused for, what is damaged in the store: each when it
# is well, and when it is not, with what to do.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
# doctor NODE [R]; its findings in $tmp/found, one line each: VERDICT|CHECK|ABOUT|WHAT|DO
doctor() {
	hf "$1" --json doctor "${@:2}" >"$tmp/out" 2>"$tmp/err"
	code=$?
	$PY -c "
import json,sys
for f in json.load(sys.stdin)['findings']:
    print('|'.join(str(f.get(k,'')) for k in ('verdict','check','about','what','do')))" <"$tmp/out" >"$tmp/found"
	why=$(cat "$tmp/found")
}
# finds PATTERN NAME: doctor must have said it
finds() { why="no '$1' in: $(cat "$tmp/found")"; grep -qE -e "$1" "$tmp/found"; ok $? "$2"; }
lacks() { why="'$1' in: $(cat "$tmp/found")"; ! grep -qE -e "$1" "$tmp/found"; ok $? "$2"; }
LEASE=2s
node x
doctor x
is "$code" 1 "a node that was never set up: exit 1"
finds '^bad\|key\|.*holdfast keygen' "the key is missing, and where to get it"
cluster a b
doctor a
is "$code" 1 "no daemon: exit 1"
finds '^ok\|configuration\|' "the configuration is read"
finds '^ok\|key\|' "the key"
finds '^ok\|disk\|.*authenticated' "the disk, from this node"
finds '^ok\|identity\|a\|' "the identity"
finds '^bad\|daemon\|.*\|journalctl' "the daemon that is not there, and where it says why"
finds '^ok\|module\|.+\|.+source = fanotify does not ask for it\|$' "the module is not asked for where the configuration says so"
sed 's/^source = fanotify/source = auto/' "$tmp/a/conf" >"$tmp/auto"
timeout 60 "$B/holdfast" -c "$tmp/auto" doctor >"$tmp/out" 2>&1
! grep -q 'does not ask for it' "$tmp/out"; ok $? "else it is"
up a
up b
mkdir -p "$tmp/a/root/srv/r" "$tmp/b/root/srv/r"
echo 1 >"$tmp/a/root/srv/r/f"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/r >/dev/null && hf a online r >/dev/null
until_true 10 eval "hf a node list | grep -q '^b .*up'"
until_true 10 field_is b r owner a
doctor a
is "$code" 0 "all is well: exit 0"
is "$(grep -c '^bad' "$tmp/found")" 0 "nothing is bad"
finds '^ok\|daemon\|' "the daemon answers"
finds '^ok\|store\|.*heartbeat' "the store answers it"
finds '^ok\|node\|b\|reaches the store' "the disk is reached from the other node"
finds '^ok\|tracking\|fanotify\|' "where changes come from"
finds '^ok\|state\|r\|online on a' "the state"
finds '^ok\|checkpoint\|r /srv/r\|is there' "the checkpoint"
run 0 "in words" a doctor
says out "^ok  *checkpoint " "one line for each finding"
run 0 "of a resource" a doctor r
run 3 "of one that is not there" a doctor nope
run 0 "-q" a -q doctor
is "$(grep -c '^ok' "$tmp/out")" 0 "tells what is not well only"

# each thing that can be wrong
echo 'rubbish = 1' >>"$tmp/b/conf"
doctor b
is "$code" 1 "a bad configuration: exit 1"
finds '^bad\|configuration\|.*conf:[0-9]+.*rubbish' "file, line and key"
sed -i '$d' "$tmp/b/conf"
chmod 644 "$tmp/key"
doctor b
finds '^bad\|key\|.*chmod 600' "a key that others may read"
chmod 600 "$tmp/key"
cp "$tmp/key" "$tmp/key.keep"; rm "$tmp/key"
hf x keygen >/dev/null && ! cmp -s "$tmp/key" "$tmp/key.keep"; ok $? "another key in its place"
doctor b
finds '^bad\|disk\|.*key' "another cluster's key"
cp "$tmp/key.keep" "$tmp/key"
mv "$tmp/disk" "$tmp/disk.away"
doctor b
finds '^bad\|disk\|.*\|see that the device' "a disk that is not there"
mv "$tmp/disk.away" "$tmp/disk"
cp "$tmp/b/state/identity" "$tmp/identity"
sed -i 's/"uuid": *"[0-9a-f]\{8\}/"uuid":"00000000/' "$tmp/b/state/identity"
doctor b
finds '^bad\|identity\|.*\|.*holdfast join' "an identity that is not the one on the disk"
cp "$tmp/identity" "$tmp/b/state/identity"

printf '#!/bin/sh\nexit 1\n' >"$tmp/a/hooks/h"; chmod 775 "$tmp/a/hooks/h"; touch "$tmp/a/hooks/plain"
doctor a
finds '^bad\|hooks\|.*/h\|others may write' "a hook that others may write to"
finds '^warn\|hooks\|.*/plain\|is not executable' "one that is not executable"
touch "$tmp/a/hooks/"{README,notes.md,h~,h.rpmsave,h.dpkg-dist}
doctor a
is "$(grep -c '^warn|hooks' "$tmp/found")" 1 "what is there to be read, and what packages leave, is no hook"
rm "$tmp/a/hooks/"*

# ---- paths, as the next takeover would find them ----
B_=$tmp/b/root/srv
mkdir -p "$tmp/a/root/srv/q"; echo q >"$tmp/a/root/srv/q/f"; echo one >"$tmp/a/root/srv/one"
rmdir "$B_/r"; echo file >"$B_/r"
doctor b r
finds '^bad\|checkpoint\|r /srv/r\|has another type: .*registered as a directory but is a file here.*\|.*holdfast checkpoint delete r /srv/r,' "a file where a directory is registered, and what to do"
rm "$B_/r"
doctor b r
finds '^ok\|checkpoint\|r /srv/r\|is not here yet; a takeover makes it' "one that is missing is made"
mkdir "$B_/r"
doctor b r
finds '^ok\|checkpoint\|r /srv/r\|is there, empty; a takeover fills it' "one that is empty is filled"
run 0 "one file" a checkpoint add r /srv/one
mkdir "$B_/one"
until_true 10 eval "doctor b r; grep -q '^bad.checkpoint.r /srv/one.has another type: .*registered as a file but is a directory here' $tmp/found"
finds '^bad\|checkpoint\|r /srv/one\|has another type' "a directory where a file is registered"
rmdir "$B_/one"
run 0 "another resource" a resource add q
run 0 "its path, which the other node does not have" a checkpoint add q /srv/q
until_true 10 eval "doctor b q; grep -q '.checkpoint.q /srv/q' $tmp/found"
finds '^warn\|checkpoint\|q /srv/q\|is not there, and no generation has it: online is refused here\|.*holdfast online q --allow-empty' "a path that no generation has either"
run 5 "and so it is" b online q
run 0 "with a generation" a online q
run 0 "of the node that has it" a offline q
doctor b q
finds '^ok\|checkpoint\|q /srv/q\|is not here yet' "it is well"
mkdir "$tmp/a/root/srv/q2" "$B_/q2"; echo q2 >"$tmp/a/root/srv/q2/f"
run 0 "a further path" a checkpoint add q /srv/q2
until_true 10 eval "doctor b q; grep -q '.checkpoint.q /srv/q2' $tmp/found"
finds '^bad\|checkpoint\|q /srv/q2\|is empty, and no generation has it: online is refused here' "that the generations before it do not have"
is "$code" 1 "which is bad"
run 5 "and so it is" b online q
run 0 "it goes" a checkpoint delete q /srv/q2 --yes
mkdir "$tmp/a/root/srv/r/sub"; echo s >"$tmp/a/root/srv/r/sub/f"
hf a resource add s >/dev/null && hf a checkpoint add s /srv/r/sub >/dev/null
until_true 10 eval "doctor b s; grep -q '^warn.overlap' $tmp/found"
finds '^warn\|overlap\|s /srv/r/sub\|overlaps /srv/r of r: ' "W11: two resources that overlap, where one of the paths is missing too"
doctor a r
finds '^warn\|overlap\|r /srv/r\|overlaps /srv/r/sub of s: ' "seen from the other of them"
doctor a
is "$(grep -c '|overlap|' "$tmp/found")" 1 "once for both"
run 5 "and so it is" a online s
hf a resource delete s --yes >/dev/null; rm -r "$tmp/a/root/srv/r/sub"
hf a resource delete q --yes >/dev/null

# ---- what is held back ----
for i in $(seq 40); do echo "$i" >"$tmp/a/root/srv/r/g$i"; done
run 0 "many files" a sync r
rm "$tmp/a/root/srv/r/"g*
until_true 10 eval "doctor a r; grep -q '^bad.warning.r.delete-guard: ' $tmp/found"
finds '^bad\|warning\|r\|delete-guard: .*\|holdfast sync r --allow-delete' "what the delete-guard holds back, and what to say"
lacks '^[a-z]*\|warning\|r\|commit: ' "is told once"
run 0 "meant" a sync r --allow-delete
doctor a r
lacks 'delete-guard' "it is over"

# ---- damage ----
finds '^ok\|contents\|r\|[0-9]+ generations?, .* authentic' "what the store has of it was read"
cp "$tmp/disk" "$tmp/copy"
head -c 400000 /dev/urandom >"$tmp/a/root/srv/r/big"
run 0 "large contents" a sync r
$PY "$(dirname "$0")/damage.py" contents "$tmp/copy" "$tmp/disk" >"$tmp/out"; ok $? "are damaged"
doctor b r
is "$code" 1 "damaged contents: exit 1"
finds '^bad\|contents\|r\|.*contents of generation [0-9]+.*damaged.*\|.*holdfast resource rebuild r on' "which, and what to do"
run 0 "which is done" a resource rebuild r --yes
rm "$tmp/copy"
doctor a r
lacks '^bad\|contents' "contents are whole again"
finds '^warn\|contents\|r\|.*contents of generation [0-9]+.*damaged.*\|newer generations do not need it' "but for those of history"

# a mount that is lost, an owner that is gone, a state that is failed
mkdir -p "$tmp/a/root/srv/m" "$tmp/b/root/srv/m"
mount -t tmpfs none "$tmp/a/root/srv/m" && extra_mounts+=" $tmp/a/root/srv/m"
echo m >"$tmp/a/root/srv/m/f"
run 0 "a checkpoint on a mount" a checkpoint add r /srv/m
until_true 5 eval "doctor b; grep -q '^bad.checkpoint.r /srv/m.*mount it' $tmp/found"
finds '^bad\|checkpoint\|r /srv/m\|.*not mounted.*\|mount it' "the other node lacks the mount"
# who noted the mount on the disk reads it from there, too
until_true 5 eval "doctor a r; grep -q '^ok.checkpoint.r /srv/m.*on its own mount' $tmp/found"
finds '^ok\|checkpoint\|r /srv/m\|is there, on its own mount' "the owner has it"
umount -l "$tmp/a/root/srv/m"; extra_mounts=
hf a sync r >/dev/null 2>&1
doctor a r
is "$code" 1 "a mount that is lost: exit 1"
finds '^bad\|warning\|r\|lost: /srv/m.*\|mount it again' "which tree, and what to do"
hf a checkpoint delete r /srv/m --yes >/dev/null
hf a sync r >/dev/null
crash a
sleep 2.5
until_true 10 field_is b r state owner-lost
doctor b
finds '^bad\|node\|a\|no heartbeat of it reaches the store' "a node that is gone"
finds '^bad\|state\|r\|owner-lost, last online on a, which is down\|.*holdfast online r --fenced' "a resource whose owner is gone, and what to do"
hf b resource set r tolerate=0 on-exceed=failed >/dev/null
up a HOLDFAST_SEAM=commit.captured:2+:eio
until_true 10 field_is a r state online
for i in 1 2; do echo "$i" >"$tmp/a/root/srv/r/f"; sleep 0.3; done
until_true 10 field_is a r state failed
doctor a r
finds '^bad\|state\|r\|failed: .*injected failure.*\|.*resource reset r to' "failed: the last error, and what to do"
finds '^bad\|warning\|r\|degraded: ' "degraded"
kill -STOP "${pid[a]}"
hf a -q doctor >"$tmp/out" 2>&1 & d=$!
sleep 1
kill -CONT "${pid[a]}"
wait $d; is $? 1 "it waits for a daemon that is slow"
plan
