#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W23: disks on which three nodes worked as a seed decides, read by the decoder that knows only
# Documentation/ondisk.rst: every generation, its entries, attributes and contents are those
# that the library reads. P11: and what is damaged, neither serves.
# shellcheck source=selftests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
# the distribution's, where another one comes first
py=
for p in python3 /usr/bin/python3; do
	[ -z "$py" ] && $p -c 'import nacl.bindings' 2>/dev/null && py=$p
done
if [ -z "$py" ]; then
	echo "1..0 # SKIP needs python3-nacl"
	exit 0
fi
cat >"$tmp/compare.py" <<'P'
import json, sys
lib = {i + 1: log for i, log in enumerate(json.load(open('lib.json')))}
doc = {int(k): v for k, v in json.load(open('doc.json'))['logs'].items()}
bad = 0
for row in sorted(lib.keys() | doc.keys()):
    a, b = ({g['gen']: g for g in x.get(row, [])} for x in (lib, doc))
    for g in sorted(a.keys() | b.keys()):
        x, y = a.get(g), b.get(g)
        if x != y:
            bad += 1
            diff = [k for k in ('epoch', 'when', 'fuzzy', 'note') if x and y and x[k] != y[k]]
            keys = [k for k in (x['items'].keys() | y['items'].keys() if x and y else ()) if x['items'].get(k) != y['items'].get(k)]
            print('row %d generation %d: library %s, document %s, differ in %s %s' % (row, g, bool(x), bool(y), diff, keys[:3]))
    # what an older one held may be gone; of the newest one nothing is
    last = a[max(a)]['items'] if a else {'': [None]}
    bad += any(None in v for v in last.values())
print('%d generations' % sum(map(len, lib.values())))
sys.exit(bad != 0)
P
cd "$tmp" || exit 1
for seed in ${SEEDS:-2 3 5}; do
	rm -rf d
	mkdir d
	"$build/selftests/store/disks" "$tmp/d" "$seed" >lib.json 2>err
	ok $? "seed $seed: a disk"
	$py "$here/decode.py" -a d/disk d/key >doc.json 2>err
	ok $? "the document suffices to read all generations of it"
	$py compare.py >out 2>err
	ok $? "P1: and they are what the library reads: $(tail -n 1 out)"
	$py -c 'import json; print(*json.load(open("doc.json"))["seen"])' >>seen
	"$HF" -c d/conf disk check d/disk >out 2>err
	ok $? "which disk check says is sound"
done

# what there is in the format was there
cat >kinds.py <<'P'
import json, sys, collections
want = ['kind %d' % i for i in (1, 2, 3, 4, 5, 6)] + ['seal', 'several records', 'zstd payload', 'fuzzy', 'del', 'tail', 'pack',
        'zstd chunk', 'plain chunk', 'several chunks']
text = open('seen').read()
missing = [w for w in want if w not in text]
print('missing:', missing)
sys.exit(bool(missing))
P
$py kinds.py >out 2>err
ok $? "each part of the format was met on one of them"
plan
