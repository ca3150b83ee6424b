#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W23: a quorum disk that two daemons made, read by a second program that knows only
# Documentation/ondisk.rst, agrees with what `holdfast disk info` says and with the trees.
# shellcheck source=selftests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" -ne 0 ]; then
	echo "1..0 # SKIP needs root (fanotify)"
	exit 0
fi
# the distribution's, where another one comes first
py=
for p in python3 /usr/bin/python3; do
	[ -z "$py" ] && $p -c 'import nacl.bindings' 2>/dev/null && py=$p
done
if [ -z "$py" ]; then
	echo "1..0 # SKIP needs python3-nacl"
	exit 0
fi
if [ ! -x "$HFD" ]; then
	echo "1..0 # SKIP no $HFD"
	exit 0
fi
cd "$tmp" || exit 1

for node in alpha beta; do
	mkdir -p $node/root/etc/pg/sub
	printf '[node]\nname = %s\nroot = %s/%s/root\nstate_dir = %s/%s/state\nruntime_dir = %s/%s/run\nkey_file = %s/key\n' \
		$node "$tmp" $node "$tmp" $node "$tmp" $node "$tmp" >$node.conf
done
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
must() {
	"$HF" "$@" >out 2>err </dev/null && return
	echo "Bail out! holdfast $*: $(cat err)"
	exit 1
}

must -c alpha.conf init disk --name web --nodes 3 --lease 500ms --size 64MiB
must -c beta.conf join disk
up alpha
up beta
t=alpha/root/etc/pg
echo 'port = 5432' >$t/pg.conf
: >$t/empty
head -c 300000 /dev/urandom >$t/sub/random
seq 200000 >$t/numbers		# compresses, in several chunks
must -c alpha.conf resource add pg --type db
must -c alpha.conf checkpoint add pg /etc/pg
must -c alpha.conf online pg
must -c alpha.conf sync pg
for i in $(seq 120); do
	echo "$i" >$t/sub/f$i
done
must -c alpha.conf sync pg
rm $t/sub/f7
must -c alpha.conf sync pg
must -c alpha.conf offline pg
truncate -s 96M disk
must -c beta.conf disk grow disk --nodes 5
must -c beta.conf online pg
echo 'port = 5433' >beta/root/etc/pg/pg.conf
rm beta/root/etc/pg/sub/f8
must -c beta.conf sync pg
must -c alpha.conf resource add other
for p in $pids; do
	kill -TERM "$p"
	wait "$p"
done
pids=

run 0 "disk info" -c alpha.conf disk info disk --json
cp out info.json
$py "$here/decode.py" disk key >decoded.json 2>err
ok $? "the document suffices to read the disk"
# ask EXPRESSION NAME: a Python expression over info (the library's), mine, logs (by row)
ask() {
	$py - "$1" >out 2>err <<'PY'
import base64, json, os, sys
info, doc = json.load(open('info.json')), json.load(open('decoded.json'))
mine, logs = doc['info'], {w['row']: w for w in doc['walked']}
def tree(n):
    out = {}
    for d, _, fs in os.walk(n + '/root/etc/pg'):
        for f in fs:
            out[os.path.relpath(d + '/' + f, n + '/root/etc/pg')] = open(d + '/' + f, 'rb').read()
    return out
def files(row):
    return {i['key'].split('/', 1)[1]: base64.b64decode(i['data']) for i in logs[row]['items'] if i['data']}
v = eval(sys.argv[1])
if not v:
    print(json.dumps(info, sort_keys=True), json.dumps(mine, sort_keys=True), sep='\n')
sys.exit(not v)
PY
	ok $? "$2"
}
ask 'all(info[k] == mine[k] for k in mine if k not in ("nodes", "logs"))' "the superblock"
ask 'info["nodes"] == mine["nodes"] and len(mine["nodes"]) == 2' "the nodes"
ask 'info["logs"] == mine["logs"] and {l["row"] for l in mine["logs"]} >= {0, 1}' "the claims"
ask 'set(info) == set(mine)' "nothing is told that was not decoded"
ask '{i["key"] for i in logs[0]["items"]} >= {"r/pg", "r/other"} and all(isinstance(json.loads(base64.b64decode(i["attr"])), dict) for i in logs[0]["items"])' \
	"the registrations: keys, and attributes that are JSON"
ask '[i["key"].split("/")[1] for i in logs[0]["items"] if i["key"].startswith("c/")] == ["pg"]' "and a checkpoint"
ask 'files(1) == {k: v for k, v in tree("beta").items() if v}' "P1: the contents of the tree, byte by byte"
ask '{"empty", "sub/f9"} <= {i["key"].split("/", 1)[1] for i in logs[1]["items"] if "/" in i["key"]} and not {"sub/f7", "sub/f8"} & {i["key"].split("/", 1)[1] for i in logs[1]["items"] if "/" in i["key"]}' \
	"what was deleted is not there, and what is empty is"
# another key reads nothing
tr 0-9a-f 1-9a-f0 <key >wrong
! $py "$here/decode.py" disk wrong >/dev/null 2>&1
ok $? "P11: without the key nothing is read"
! grep -a -q -e 'port = 543' -e '/etc/pg' -e 'pg.conf' disk
ok $? "P11: neither names nor contents are in the clear"
plan
