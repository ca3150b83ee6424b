#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the daemon refuses, and that it refuses before anything has happened: seeding,
# empty paths, overlaps, lost trees, the delete-guard, crypto, hostile requests, starts.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/lib.sh"
cluster a b
up a && up b; ok $? "two nodes"
R=$tmp/a/root/srv
add() { hf a resource add "$1" >/dev/null; shift; }

# seeding
add s
run 5 "a path that is not there is not registered" a checkpoint add s /srv/none
says err allow-empty "and says what would do"
mkdir -p "$R/none"
run 5 "nor one that is empty" a checkpoint add s /srv/none
rmdir "$R/none"
run 0 "unless --allow-empty" a checkpoint add s /srv/none --allow-empty
run 5 "dry run: seeding a missing path would be refused" a online s --dry-run
run 5 "seeding a missing path is refused" a online s
says err allow-empty "and says what would do"
is "$(field a s state)" offline "the resource stays offline"
mkdir -p "$R/none"
run 5 "an empty one too" a online s
run 0 "unless --allow-empty" a online s --allow-empty
run 0 "offline" a offline s
run 0 "the generation of an empty tree is one" b online s
[ -d "$tmp/b/root/srv/none" ]; ok $? "restored as an empty directory"
run 0 "offline" b offline s

# adding while online
mkdir -p "$R/one" "$R/two/sub" "$R/three"; echo 1 >"$R/one/f"; echo 2 >"$R/two/f"; echo 3 >"$R/three/f"
add o; hf a checkpoint add o /srv/one >/dev/null; hf a online o >/dev/null
run 0 "a checkpoint added while online is captured at once" a --json checkpoint add o /srv/three
says out '"generation":2' "its generation is told"
run 5 "a missing path while online is refused" a checkpoint add o /srv/missing
run 0 "checkpoints" a --json checkpoint list o
grep -q missing "$tmp/out"; [ $? = 1 ]; ok $? "and not registered"
mkdir -p "$R/four"; echo 4 >"$R/four/f"
run 0 "added through another node" b --json checkpoint add o /srv/four
says out '"generation":3' "its owner captured it"
run 0 "checkpoint delete" a checkpoint delete o /srv/three
hf a offline o >/dev/null; hf b online o >/dev/null
[ -e "$tmp/b/root/srv/four/f" ] && [ ! -e "$tmp/b/root/srv/three" ]; ok $? "P8: a deleted checkpoint is not restored, an added one is"
hf b offline o >/dev/null

# one file
echo file >"$R/single.conf"; echo other >"$R/neighbour"
add f; run 0 "a single file" a checkpoint add f /srv/single.conf
run 0 "online" a online f
echo changed >"$R/single.conf.new"; mv "$R/single.conf.new" "$R/single.conf"
run 0 "sync" a sync f
run 0 "offline" a offline f
run 0 "on the other node" b online f
is "$(cat "$tmp/b/root/srv/single.conf")" changed "restored"
[ ! -e "$tmp/b/root/srv/neighbour" ]; ok $? "and nothing else"
hf b offline f >/dev/null

# overlaps
hf a online o >/dev/null; ok $? "o is online"
add p; hf a checkpoint add p /srv/one >/dev/null
run 5 "dry run: the same tree in two online resources" a online p --dry-run
run 0 "dry run: a standby may look while the owner is alive" b online o --dry-run
says err alive "which is said"
run 5 "nor is a resource deleted that is online elsewhere" b resource delete o --yes
grep -q -e --fenced "$tmp/err"; [ $? = 1 ]; ok $? "without advice that this verb has no option for"
says err 'offline' "but what to do"
run 5 "the same tree in two online resources" a online p
says err "/srv/one" "names the path"; says err " o" "and the other resource"
add q; mkdir -p "$R/one/deep"; hf a checkpoint add q /srv/one/deep --allow-empty >/dev/null
run 5 "a tree inside another's" a online q --allow-empty
add u; hf a checkpoint add u /srv >/dev/null
run 5 "a tree around another's" a online u
mkdir -p "$R/bind"
if mount --bind "$R/one" "$R/bind" 2>/dev/null; then
	extra_mounts="$R/bind"
	add v; hf a checkpoint add v /srv/bind >/dev/null
	run 5 "the same tree through a bind mount" a online v
	umount "$R/bind"; extra_mounts=
else
	ok 0 "the same tree through a bind mount # SKIP no mount here"
fi
is "$(field a p state)" offline "a refused resource stays offline"
is "$(field a o state)" online "the other is not disturbed"

# a lost mount
if mkdir -p "$R/mnt" && mount -t tmpfs none "$R/mnt" 2>/dev/null; then
	extra_mounts="$R/mnt"
	mkdir "$R/mnt/t"; echo m >"$R/mnt/t/f"
	add m; hf a checkpoint add m /srv/mnt/t >/dev/null; hf a online m >/dev/null; ok $? "a tree on a mount"
	umount -l "$R/mnt"; extra_mounts=
	was=$(field a m consistent)
	run 5 "P5: a tree that is gone is not captured as empty" a sync m
	says err 'gone' "said"
	is "$was $(field a m consistent)" "true true" "what is confirmed stays what it was"
	hf a offline m >/dev/null
	mkdir -p "$R/mnt/t"
	run 5 "dry run: it would not come online" a online m --dry-run
	run 5 "and without the mount it does not come online" a online m
	says err 'mounted' "said why"
else
	ok 0 "a lost mount # SKIP no mount here"
fi

# delete-guard
mkdir -p "$R/g"; for i in $(seq 40); do echo $i >"$R/g/$i"; done
add g; hf a checkpoint add g /srv/g >/dev/null; hf a online g >/dev/null
rm -f "$R"/g/[123]?
run 5 "delete-guard holds a large deletion back" a sync g
says err allow-delete "and says how to go on"
crash a; rm -f "$tmp/x"
run 0 "another node still has it" b online g --fenced
# a commit may have caught the deletion at its beginning
why="$(find "$tmp/b/root/srv/g" -type f | wc -l) of 40"
[ "${why%% *}" -ge 20 ]; ok $? "at least half of it"
hf b offline g >/dev/null
for i in $(seq 40); do echo $i >"$tmp/b/root/srv/g/$i"; done; hf b online g --keep-local >/dev/null
hf b offline g >/dev/null
up a; until_true 10 field_is a g state offline
hf a online g >/dev/null
mkdir "$R/other"; touch "$R/other/"{1,2,3,4,5}; hf a checkpoint add g /srv/other >/dev/null; hf a sync g >/dev/null
g0=$(field a g generation)
rm -f "$R"/g/[123]?
run 5 "held back again" a sync g
hf a checkpoint delete g /srv/other --yes >/dev/null 2>&1
run 5 "and with it the end of another checkpoint" a sync g
run 0 "--allow-delete" a sync g --allow-delete
deleted() { # since generation $g0
	hf a --json history g | $PY -c "
import json,sys
print(sum(x['dels'] for x in json.load(sys.stdin)['generations'] if x['generation'] > $g0))"
}
dels=$(deleted)
why="$dels entries"; [ "$dels" -ge 37 ]; ok $? "P8: then its entries leave the log too, not with the next takeover"
# the same, and the daemon of its owner was away
for i in $(seq 40); do echo $i >"$R/g/$i"; done
mkdir "$R/third"; touch "$R/third/"{1,2,3,4,5}; hf a checkpoint add g /srv/third >/dev/null; hf a sync g >/dev/null
g0=$(field a g generation)
crash a
rm -f "$R"/g/[123]?; hf b checkpoint delete g /srv/third --yes >/dev/null
up a; until_true 20 field_is a g state online; ok $? "resumed, without a checkpoint that it had"
run 5 "what was deleted meanwhile is held back" a sync g
run 0 "--allow-delete" a sync g --allow-delete
dels=$(deleted)
why="$dels entries"; [ "$dels" -ge 37 ]; ok $? "P8: the entries of the checkpoint leave the log with that"
mv "$R/g" "$R/g2"; mkdir "$R/g"; mv "$R/g2"/* "$R/g/"; rmdir "$R/g2"
run 0 "a root that was replaced is taken up" a sync g
hf a offline g >/dev/null

# crypto
mkdir -p "$R/keys"; echo secret >"$R/keys/k"; chmod 644 "$R/keys/k"
add c
run 5 "crypto: what everybody can read" a checkpoint add c /srv/keys --crypto
says err "k can be read by everybody (mode 0644)" "names the file"
run 5 "crypto: what is not there" a checkpoint add c /srv/nokeys --crypto
chmod 600 "$R/keys/k"
run 0 "crypto: accepted" a checkpoint add c /srv/keys --crypto
hf a online c >/dev/null; echo more >>"$R/keys/k"
run 0 "sync" a sync c
grep -q "secret" "$tmp/disk"; [ $? = 1 ]; ok $? "P11: nothing of it is on the disk in the clear"

# keep-local, dry-run
mkdir -p "$R/k"; echo disk >"$R/k/f"; add k; hf a checkpoint add k /srv/k >/dev/null; hf a online k >/dev/null; hf a offline k >/dev/null
echo mine >"$R/k/f"
run 0 "dry run" a --json online k --dry-run
says out '"change":"content"' "shows what would be overwritten"
is "$(cat "$R/k/f")" mine "and overwrites nothing"
run 0 "dry run" a online k --dry-run
says out '^k: would change: 1 contents (M)$' "in words"
run 2 "of what would keep it" a online k --keep-local --dry-run
is "$(cat "$tmp/err")" "holdfast online: --keep-local overwrites nothing here, so there is nothing for --dry-run to show" "there is none, and why"
run 0 "keep-local" a online k --keep-local
is "$(cat "$R/k/f")" mine "keeps it"
run 0 "and makes it the generation" a offline k
run 0 "the other node" b online k
is "$(cat "$tmp/b/root/srv/k/f")" mine "gets it"

# starts that must fail, and leave nothing behind
"$B/holdfastd" -c "$tmp/a/conf" 2>"$tmp/err"; is $? 5 "a second daemon on the same state"
says err state_dir "says why"
sed "s/name = b/name = c/; s#$tmp/b/#$tmp/c/#" "$tmp/b/conf" >"$tmp/cconf"
mkdir -p "$tmp/c/root" "$tmp/c/state" "$tmp/c/run"; cp "$tmp/b/state/identity" "$tmp/c/state/"
timeout 30 "$B/holdfastd" -c "$tmp/cconf" 2>"$tmp/err"; is $? 5 "P4: a cloned identity is refused"
says err ' b' "and says which node holds it"
[ ! -S "$tmp/c/run/holdfastd.sock" ]; ok $? "no socket is left"
is "$(hf b ping >/dev/null 2>&1; field b k state)" online "the real one is not disturbed"
printf '%064d\n' 7 >"$tmp/badkey"; chmod 600 "$tmp/badkey"
sed "s#$tmp/key#$tmp/badkey#" "$tmp/cconf" >"$tmp/dconf"
timeout 30 "$B/holdfastd" -c "$tmp/dconf" 2>"$tmp/err"; is $? 8 "a wrong key"
sed '/^url/d' "$tmp/cconf" >"$tmp/econf"
"$B/holdfastd" -c "$tmp/econf" 2>"$tmp/err"; is $? 2 "no store"
says err 'holdfast init' "says what to do"

# hostile requests
cat >"$tmp/hostile.py" <<'P'
import socket, sys, json, os
def ask(raw, close=False):
    s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])
    s.sendall(raw)
    if close: s.close(); return None
    b = b''
    while not b.endswith(b'\n'):
        d = s.recv(65536)
        if not d: break
        b += d
    return json.loads(b) if b else None
bad = [b'\n', b'{}\n', b'[]\n', b'null\n', b'{"v":1}\n', b'{"v":2,"verb":"ping"}\n', b'\xff\xfe\n',
  b'{"v":1,"verb":"nope"}\n', b'{"v":1,"verb":"status","args":[]}\n', b'{"v":1,"verb":"status","args":{"x":1}}\n',
  b'{"v":1,"verb":"status","args":{"resource":7}}\n', b'{"v":1,"verb":"online"}\n', b'{"v":1,"verb":"online","args":{"resource":"../x"}}\n',
  b'{"v":1,"verb":"online","args":{"resource":"a\\u0000b"}}\n', b'{"v":1,"verb":"sync","args":{"resources":[]}}\n',
  b'{"v":1,"verb":"sync","args":{"resources":[1]}}\n', b'{"v":1,"verb":"online","args":{"resource":"k","timeout_ms":-1}}\n',
  b'{"v":1,"verb":"ping"} trailing\n', b'['*100000 + b'\n', b'{"v":1,"verb":"' + b'x'*5000 + b'"}\n']
for r in bad:
    a = ask(r)
    assert a and a['exit'] == 2, (r[:60], a)
assert ask(b'x'*(1 << 20) + b'y'*10)['exit'] == 2
for i in range(200): ask(b'{"v":1,"verb":"status"}\n', close=True)
slow = []
for i in range(100):
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'{"v":1,"ver'); slow.append(s)
assert ask(b'{"v":1,"verb":"ping"}\n')['exit'] == 0
two = socket.socket(socket.AF_UNIX); two.connect(sys.argv[1])
two.sendall(b'{"v":1,"verb":"ping"}\n{"v":1,"verb":"ping"}\n'); two.shutdown(socket.SHUT_WR)
f = two.makefile(); assert json.loads(f.readline())['exit'] == 0 and json.loads(f.readline())['exit'] == 0 and f.readline() == ''
P
why=$("$PY" "$tmp/hostile.py" "$tmp/b/run/holdfastd.sock" 2>&1); [ -z "$why" ]; ok $? "hostile and slow clients disturb nobody"
why=$(setpriv --reuid 65534 --regid 65534 --clear-groups "$PY" -c "
import socket,sys
s=socket.socket(socket.AF_UNIX)
try: s.connect('$tmp/b/run/holdfastd.sock')
except PermissionError: sys.exit(0)
sys.exit('connected')" 2>&1); ok $? "P10: without privilege the socket does not open"
chmod 755 "$tmp" "$tmp/b" "$tmp/b/run"; chmod 666 "$tmp/b/run/holdfastd.sock"
why=$(setpriv --reuid 65534 --regid 65534 --clear-groups "$PY" -c "
import socket,sys,json
s=socket.socket(socket.AF_UNIX); s.connect('$tmp/b/run/holdfastd.sock')
s.sendall(b'{\"v\":1,\"verb\":\"ping\"}\n'); print(json.loads(s.makefile().readline())['exit'])" 2>&1)
is "$why" 9 "P10: nor does the daemon answer if it did"
run 0 "and all is well" b status
plan
