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
ln -s ../pg/pg.conf $t/link
mkfifo -m 620 $t/fifo
mkdir -m 2751 "$t/sub/a name"
echo x >"$t/sub/a name/"$'\n\303\244 \\odd'
chown 65534:12 $t/empty
chmod 4711 $t/empty
truncate -s 3M $t/hole
echo end >>$t/hole
touch -h -d '1969-12-24 10:00:00.123456789' $t/numbers $t/link
setfattr -n user.note -v 'a value' $t/pg.conf 2>/dev/null
ln $t/pg.conf $t/pg.second && setfacl -m u:daemon:r,g:mail:r $t/pg.conf 2>/dev/null
setfattr -n user.more -v 0x00ff0a $t/pg.conf 2>/dev/null
setfacl -m u:12:r,g:34:rw $t/hole 2>/dev/null
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
            path = d + '/' + f
            if os.path.isfile(path) and not os.path.islink(path):
                out[os.fsencode(os.path.relpath(path, n + '/root/etc/pg')).decode('latin-1')] = open(path, 'rb').read()
    return out
def entries(row):
    return {i['key'].split('/', 1)[1]: i['is'] for i in logs[row]['items'] if '/' in i['key']}
# the attributes that the document tells, and those of the tree that was restored from it and has
# been in use since
def differ(n):
    import grp, pwd, stat
    top, out = n + '/root/etc/pg', []
    def name(f, i):
        try:
            return f(i)[0]
        except KeyError:
            return ''
    for rel, a in entries(1).items():
        path = os.fsencode(top + '/') + rel.encode('latin-1') if rel else os.fsencode(top)
        s = os.lstat(path)
        x = {}
        for k in os.listxattr(path, follow_symlinks=False):
            if k.startswith(('user.', 'system.posix_acl')):
                x[k] = base64.b64encode(os.getxattr(path, k, follow_symlinks=False)).decode()
        got = {'mode': s.st_mode, 'uid': s.st_uid, 'gid': s.st_gid, 'mtime': s.st_mtime_ns // 10**9, 'mtime_ns': s.st_mtime_ns % 10**9,
               'size': s.st_size if stat.S_ISREG(s.st_mode) else 0, 'major': 0, 'minor': 0, 'user': name(pwd.getpwuid, s.st_uid),
               'group': name(grp.getgrgid, s.st_gid), 'target': os.fsdecode(os.readlink(path)) if stat.S_ISLNK(s.st_mode) else ''}
        want = {k: a[k] for k in got}
        have = dict(k for k in a['xattr'] if k[0].startswith(('user.', 'system.posix_acl')))
        if got != want or have != x:
            out.append((rel, got, want, x, have))
        linked = sorted(r for r, b in entries(1).items() if a['link'] and b['link'] == a['link'])
        if not stat.S_ISDIR(s.st_mode) and (len(linked) or 1) != s.st_nlink:
            out.append((rel, linked, s.st_nlink))
        if rel == 'pg.conf' and [n for _, _, n in a['acl']] != ['daemon', 'mail']:
            out.append((rel, a['acl']))
    return out
def files(row):
    return {i['key'].split('/', 1)[1]: base64.b64decode(i['data']) for i in logs[row]['items'] if i['data']}
v = eval(sys.argv[1])
if not v and 'differ' in sys.argv[1]:
    print(*differ('beta'), sep='\n')
elif not v:
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
ask '{"link", "fifo", "sub", "sub/a name", "hole", ""} <= set(entries(1)) and len(entries(1)) > 120' "links, pipes, directories and the root are there"
ask 'not differ("beta")' "P6: attributes, byte by byte: mode, owner by name and number, times, size, target, xattrs, ACLs"
ask 'len(entries(1)["pg.conf"]["xattr"]) >= 2 and [x for x in entries(1)["hole"]["xattr"] if x[0] == "system.posix_acl_access"]' "xattrs and ACLs among them"
# another key reads nothing
tr 0-9a-f 1-9a-f0 <key >wrong
! $py "$here/decode.py" disk wrong >/dev/null 2>&1
ok $? "P11: without the key nothing is read"
! grep -a -q -e 'port = 543' -e '/etc/pg' -e 'pg.conf' disk
ok $? "P11: neither names nor contents are in the clear"
plan
