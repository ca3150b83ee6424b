#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P11, X9: what the disk tells whoever has no key is what Documentation/ondisk.rst says, no more.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
if [ "$(id -u)" -ne 0 ]; then
	echo "1..0 # SKIP needs root (fanotify)"
	exit 0
fi
umask 077
LEASE=500ms
SIZE=16MiB
cluster nodealpha nodebeta
up nodealpha || { echo "Bail out! no daemon: $(cat "$tmp/nodealpha/log")"; exit 1; }
up nodebeta || { echo "Bail out! no daemon: $(cat "$tmp/nodebeta/log")"; exit 1; }
t=$tmp/nodealpha/root/srv/treename
mkdir -p "$t/subdirname"
echo "smallcontents" >"$t/smallfilename"
yes "largecontents of a file" | head -c 400000 >"$t/largefilename"
head -c 500000 /dev/urandom >"$t/randomfilename"
ln -s linktargetname "$t/linkname"
setfattr -n user.xattrname -v xattrvalue "$t/smallfilename" 2>/dev/null
echo "privatekeycontents" >"$t/subdirname/cryptofilename"
for c in "resource add resourcename --type typename" "resource set resourcename settle=7ms" \
	"checkpoint add resourcename /srv/treename --crypto --exclude *.excludedname" "online resourcename" "sync resourcename"; do
	# shellcheck disable=SC2086
	run 0 "$c" nodealpha $c
done
for i in $(seq 40); do
	echo "smallcontents $i" >"$t/subdirname/manynames$i"
	[ $((i % 10)) -ne 0 ] || hf nodealpha sync resourcename >/dev/null
done
run 0 "offline" nodealpha offline resourcename
run 0 "taken over" nodebeta online resourcename
echo "laterchange" >"$tmp/nodebeta/root/srv/treename/smallfilename"
run 0 "sync" nodebeta sync resourcename
run 0 "base and all: offline" nodebeta offline resourcename
down nodealpha
down nodebeta

cat >"$tmp/scan.py" <<'PY'
import base64, json, re, subprocess, sys
disk, key, uuids = sys.argv[1], sys.argv[2], sys.argv[3:]
d = open(disk, 'rb').read()
num = lambda at, n=8: int.from_bytes(d[at:at + n], 'little')
words = ['nodealpha', 'nodebeta', 'resourcename', 'typename', 'treename', 'subdirname', 'smallfilename', 'largefilename',
         'randomfilename', 'linkname', 'linktargetname', 'xattrname', 'xattrvalue', 'cryptofilename', 'manynames',
         'excludedname', 'smallcontents', 'largecontents', 'privatekeycontents', 'laterchange', 'settle',
         'registrations', 'offline', 'sync', subprocess.run(['hostname'], capture_output=True).stdout.decode().strip() * 1]
words = [w for w in words if len(w) > 4 or w == 'settle']
def forms(w):
    b = w.encode()
    yield 'plain', b
    yield 'upper', b.upper()
    yield 'utf-16le', w.encode('utf-16-le')
    yield 'utf-16be', w.encode('utf-16-be')
    yield 'hex', b.hex().encode()
    yield 'HEX', b.hex().upper().encode()
    yield 'reversed', b[::-1]
    for n in range(3):      # whatever it is aligned to
        e = base64.b64encode(b'\0' * n + b).rstrip(b'=')
        yield 'base64', e[(n * 8 + 5) // 6:-1]
bad = [(w, k) for w in words for k, f in forms(w) if len(f) > 4 and f in d]
master = bytes.fromhex(open(key).read().strip())
bad += [('the key', 'raw')] if master in d or master.hex().encode() in d else []
bad += [(u, 'uuid') for u in uuids if bytes.fromhex(u.replace('-', '')) in d[8192:]]
out = {'found': bad, 'words': len(words)}
# what may be in the clear is in the superblock alone: name of the cluster and so on
out['cluster'] = [m.start() for m in re.finditer(b'test\0', d)]
# sectors: rows are 448 sealed bytes behind a head; areas have nothing that is not random
area = num(224) + num(232) * num(180, 4)        # all behind the rows
rows = []
for at in range(65536, area, 4096):
    s = d[at:at + 4096]
    if any(s) and (s[:4] not in (b'HFN1', b'HFC1') or any(s[48:64]) or any(s[512:])):
        rows.append(at)
out['rows'] = rows
runs = []
heads = set()
for at in range(area, len(d), 4096):
    s = d[at:at + 4096]
    if not any(s):
        continue
    if s[:4] == b'HFRC':
        heads.add(at)
        s = s[24:]          # magic, version, lengths, sequence
    m = re.search(rb'(.)\1{7}', s, re.S)
    if m:
        runs.append((at, m.start()))
out['runs'], out['records'] = runs, len(heads)
json.dump(out, sys.stdout)
PY
ids=$(cat "$tmp"/node*/state/identity | sed -n 's/.*"uuid": *"\([^"]*\)".*/\1/p')
# shellcheck disable=SC2086
$PY "$tmp/scan.py" "$tmp/disk" "$tmp/key" $ids >"$tmp/mem" 2>"$tmp/err"
ok $? "the disk is scanned"
ask() {
	$PY -c 'import json, sys; m = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' "$tmp/mem" "$1"
	local code=$?
	why=$(head -c 800 "$tmp/mem")
	ok $code "$2"
}
ask 'm["words"] > 20 and not m["found"]' "P11: no name, no content, no identity, in any of eight forms"
ask 'm["cluster"] and all(x < 8192 for x in m["cluster"])' "the cluster's name is in the superblocks, and nowhere else"
ask 'not m["rows"]' "rows are sealed, all of one length"
ask 'm["records"] > 10 and not m["runs"]' "P11: nothing in the areas tells where contents end: no run of equal bytes"

# it would find them
cp --sparse=always "$tmp/disk" "$tmp/seeded"
for w in smallfilename "$(printf privatekeycontents | base64 -w 0)"; do
	cp --sparse=always "$tmp/disk" "$tmp/seeded"
	printf '%s' "$w" | dd of="$tmp/seeded" bs=1 seek=9000001 conv=notrunc 2>/dev/null
	# shellcheck disable=SC2086
	$PY "$tmp/scan.py" "$tmp/seeded" "$tmp/key" $ids >"$tmp/mem"
	ask 'len(m["found"]) == 1' "what lies open is found: $w"
done
plan
