#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The command against two real daemons: results, exit codes, what people read.
# shellcheck source=selftests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
if [ "$(id -u)" -ne 0 ]; then
	echo "1..0 # SKIP needs root (fanotify)"
	exit 0
fi
if [ ! -x "$HFD" ]; then
	echo "1..0 # SKIP no $HFD"
	exit 0
fi
cd "$tmp" || exit 1

for node in alpha beta; do
	mkdir -p $node/root/etc/pg
	printf '[node]\nname = %s\nroot = %s/%s/root\nstate_dir = %s/%s/state\nruntime_dir = %s/%s/run\nkey_file = %s/key\n' \
		$node "$tmp" $node "$tmp" $node "$tmp" $node "$tmp" >$node.conf
done
a() { hf -c alpha.conf "$@"; }
b() { hf -c beta.conf "$@"; }
ra() { w=$1 t=$2; shift 2; run "$w" "$t" -c alpha.conf "$@"; }
rb() { w=$1 t=$2; shift 2; run "$w" "$t" -c beta.conf "$@"; }
# json NAME: the output is one JSON object
json() {
	python3 -c 'import json,sys; assert isinstance(json.load(sys.stdin), dict)' <out 2>/dev/null
	ok $? "$1: --json is an object"
}
# up NODE: starts its daemon and waits until it answers
up() {
	"$HFD" -c "$1.conf" >"$1.log" 2>&1 &
	pids="$pids $!"
	for _ in $(seq 100); do
		"$HF" -c "$1.conf" cluster-state --exit-code >/dev/null 2>&1
		[ $? -eq 19 ] && return
		sleep 0.1
	done
	echo "Bail out! no daemon: $(cat "$1.log")"
	exit 1
}

ra 0 "init" init disk --name web --nodes 2 --lease 500ms --size 128MiB
rb 0 "join" join disk
up alpha
up beta

ra 19 "running" cluster-state --exit-code
says out "running  cluster web  node alpha" "says of which cluster"
ra 5 "init --force under a running daemon" init disk --name web --force
says err "stop it first" "says what to do"
ra 0 "node list" node list
says out "^alpha \*  *up" "marks itself"
says out "^beta  *up" "sees the other"
ra 0 "an empty status" status
says out "no resources yet" "says what to do"

# --- resources
ra 0 "resource add" resource add pg --type db
ra 4 "twice" resource add pg
rb 0 "the other node knows it at once" resource set pg settle=5ms
i=0
bad=0
while [ $i -lt 20 ]; do		# an answer must not be lost to a race
	a resource set pg settle=5x
	[ "$code" -eq 2 ] || bad=$((bad + 1))
	i=$((i + 1))
done
is $bad 0 "a bad value is refused each of 20 times"
says err "settle: '5x' is not a duration; write 5ms, 2s, 1m" "and says what would be right"
ra 2 "an unknown policy" resource set pg settel=5ms
ra 2 "one of a later version" resource set pg sync-mode=on
ra 3 "an unknown resource" resource set nobody settle=5ms
ra 3 "shown" resource show nobody
ra 3 "online" online nobody
ra 3 "synced" sync nobody
ra 3 "its status" status nobody
ra 3 "its history" history nobody
ra 0 "several policies" resource set pg settle=20ms retain=8,1d
ra 0 "are shown" resource show pg
says out "^settle  *20ms  *set" "as set"
says out "^tolerate  *3  *default" "or default"
ra 0 "and reset" resource set pg settle= retain=
ra 0 "list by type" resource list --type db
says out "^pg  *db  *offline" "has it"
ra 0 "list by another type" resource list --type web
if grep -q '^pg' out; then false; else true; fi
ok $? "has it not"

# --- checkpoints
ra 2 "a path of the kernel's" checkpoint add pg /proc/sys
ra 2 "a path with .." checkpoint add pg /etc/../etc/pg
ra 2 "an unknown view" checkpoint add pg /etc/pg --view other
ra 3 "of an unknown resource" checkpoint add nobody /etc/pg
echo one >alpha/root/etc/pg/pg.conf
ra 0 "checkpoint add" checkpoint add pg /etc//pg/ --exclude '*.tmp'
says out "1 file in 1 directory" "says what it is"
ra 4 "twice" checkpoint add pg /etc/pg
ra 5 "one that overlaps" checkpoint add pg /etc
for _ in $(seq 50); do		# it learns of it within a heartbeat
	b checkpoint list pg
	grep -q /etc/pg out && break
	sleep 0.1
done
says out "^pg  */etc/pg  *tree  *native  *\*.tmp" "the other node lists it, with what is excluded"
ra 0 "list by pattern" checkpoint list '/etc/*'
says out "/etc/pg" "has it"
ra 0 "list by kind" checkpoint list --kind crypto
if grep -q /etc/pg out; then false; else true; fi
ok $? "has it not"

# --- who may not, can't (P10)
chmod 711 "$tmp"
cp "$HF" hf		# where nobody may execute it
chmod 755 hf
if command -v setpriv >/dev/null; then
	for v in status "online pg" "resource add mine" watch; do
		# shellcheck disable=SC2086
		setpriv --reuid=65534 --regid=65534 --clear-groups ./hf -c alpha.conf $v >out 2>err </dev/null
		is $? 9 "P10: nobody: $v"
	done
	says err "only root" "says who may"
	setpriv --reuid=65534 --regid=65534 --clear-groups ./hf -c alpha.conf disk check >out 2>err </dev/null
	is $? 9 "P10: nobody: disk check"
else
	echo "ok $((n += 1)) - # SKIP no setpriv(1)"
fi

# --- running
ra 5 "sync of what is offline" sync pg
ra 0 "online" online pg
says out "^pg: online, epoch [0-9]*, generation 1, in [0-9]* ms" "one line"
ra 0 "online again" online pg
says out "already" "is already"
ra 0 "status" status
says out "^pg  *online  *alpha  *1" "one line"
echo two >alpha/root/etc/pg/new.conf
: >alpha/root/etc/pg/x.tmp
ra 0 "sync" sync pg
says out "^pg: generation [2-9][0-9]* is confirmed" "says which generation"
ra 0 "sync -q" -q sync pg
is "$(cat out)" "" "says nothing"
ra 0 "diff with this node" diff pg
is "$(cat out)" "" "is empty"
ra 0 "diff with the first generation" diff pg 1
says out "^A /etc/pg/new.conf" "names what was added"
ra 0 "history" history pg
says out "^1  .*alpha" "has the first"
ra 3 "a generation that is not there" diff pg 999
rb 5 "online elsewhere" online pg
says err "alpha" "names the owner"
ra 5 "delete what is online" resource delete pg
for v in "node list" "resource list" "resource show pg" "checkpoint list" status "history pg" "diff pg 1" "displaced list" \
	"sync pg" "online pg" "cluster-state" "disk info" "disk check"; do
	# shellcheck disable=SC2086
	a --json $v
	json "$v"
done
timeout 20 "$HF" -c alpha.conf --json watch pg >events 2>/dev/null &
watcher=$!
pids="$pids $watcher"
sleep 0.3
echo three >alpha/root/etc/pg/new.conf
for _ in $(seq 100); do
	grep -q '"commit"' events && break
	sleep 0.1
done
kill $watcher 2>/dev/null
grep -q '"event":"commit".*"pg"\|"pg".*"event":"commit"' events
ok $? "watch shows the commit"
# one that does not read while there are more events than its socket holds, and one that does
python3 - alpha/run/holdfastd.sock alpha/root/etc/pg/new.conf <<'EOF'
import json, socket, sys, threading, time

def watch():
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(b'{"v":1,"verb":"watch","args":{"resource":"pg"}}\n')
    return s

slow, quick, got = watch(), watch(), bytearray()
def read():
    while True:
        b = quick.recv(65536)
        if not b:
            return
        got.extend(b)
threading.Thread(target=read, daemon=True).start()
time.sleep(0.3)
for i in range(700):
    with open(sys.argv[2], 'w') as f:
        f.write(f'{i}\n')
    time.sleep(0.004)
end = time.monotonic() + 20
text = bytearray()
slow.settimeout(1)
while time.monotonic() < end:
    try:
        text.extend(slow.recv(65536))
    except socket.timeout:
        if text.count(b'"commit"') == got.count(b'"commit"'):
            break
for what, t in (('quick', got), ('slow', text)):
    events = [json.loads(line) for line in t.decode().splitlines()]
    gens = [e['generation'] for e in events if e['event'] == 'commit']
    if len(gens) < 50 or gens != list(range(gens[0], gens[0] + len(gens))):
        sys.exit(f'{what}: {len(gens)} commits: {gens}')
    changed = False
    for e in events:
        if e['event'] == 'commit' and not changed:
            sys.exit(f'{what}: a commit before its change: {e}')
        changed = e['event'] == 'change'
EOF
ok $? "each commit is told in order, after its change, to who reads late too"
timeout 20 "$HF" -c alpha.conf status --watch >statuses 2>&1 &
watcher=$!
pids="$pids $watcher"
sleep 1.5
kill $watcher 2>/dev/null
is "$(grep -c '^cluster' statuses)" 1 "status --watch says an unchanged status once"
"$HF" -c alpha.conf status >/dev/full 2>err
is $? 1 "output that cannot be written is a failure"

ra 0 "offline" offline pg
ra 0 "offline again" offline pg
says out "already" "is already"
echo local >beta/root/etc/pg/pg.conf
rb 0 "what a takeover would overwrite" online pg --dry-run
says out "^M /etc/pg/pg.conf" "names it"
is "$(cat beta/root/etc/pg/pg.conf)" local "and does not"
rb 0 "takeover" online pg
says out "kept aside (holdfast displaced list pg)" "says what was kept aside"
is "$(cat beta/root/etc/pg/pg.conf)" one "restored"
rb 0 "displaced list" displaced list pg
says out "/etc/pg/pg.conf  6 B" "has it"
rb 0 "diff" diff pg
is "$(cat out)" "" "is empty"
rb 0 "offline there" offline pg

# --- deleting (P8)
ra 0 "checkpoint delete --dry-run" checkpoint delete pg /etc/pg --dry-run
ra 0 "does not" checkpoint list pg
says out "/etc/pg" "delete"
ra 0 "resource delete --dry-run" resource delete pg --dry-run
says out "would be deleted with 1 checkpoint$" "counts"
ra 0 "P8: resource delete" resource delete pg
ra 0 "its checkpoints are gone" checkpoint list
if grep -q /etc/pg out; then false; else true; fi
ok $? "as well"
ra 0 "added again" resource add pg
ra 0 "it has no history" --json history pg
says out '"generations":\[ *\]' "of the one before"

# --- two nodes change the registrations at once
for k in $(seq 12); do
	"$HF" -c alpha.conf -q resource add "a$k" 2>>race.err &
	ja=$!
	"$HF" -c beta.conf -q resource add "b$k" 2>>race.err &
	jb=$!
	wait $ja || echo "a$k failed" >>race.err
	wait $jb || echo "b$k failed" >>race.err
	"$HF" -c alpha.conf -q resource add "same$k" 2>/dev/null &
	ja=$!
	"$HF" -c beta.conf -q resource add "same$k" 2>/dev/null &
	jb=$!
	wait $ja
	x=$?
	wait $jb
	y=$?
	case $x$y in
	04|40) ;;
	*) echo "same$k: $x and $y" >>race.err ;;
	esac
done
why=$(head -5 race.err 2>/dev/null)
[ ! -s race.err ]
ok $? "12 times: both nodes add one, and one of them the same name"
for node in alpha beta; do
	for _ in $(seq 50); do		# the other node learns of it within a heartbeat
		hf -c $node.conf --json resource list
		count=$(grep -o '"name":"\(a\|b\|same\)[0-9]*"' out | sort -u | wc -l)
		[ "$count" -eq 36 ] && break
		sleep 0.1
	done
	is "$count" 36 "$node sees all of them"
done
ra 0 "and the disk is sound" disk check
plan
