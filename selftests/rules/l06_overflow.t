#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# L6: what is lost of events leads to another look, and no change is lost (P2): a queue that overflows, a daemon that
# does not read; a commit that fails is tried again with growing pauses.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv/t
mkdir -p "$A/d"; for i in $(seq 50); do echo "$i" >"$A/d/$i"; done
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null && hf a sync r >/dev/null; ok $? "online"
kill -STOP "${pid[a]}"
# more names than a queue of the kernel's own measure holds, in directories that nobody marked too
( cd "$A" && mkdir -p new/deep && seq 18000 | sed 's|^|new/deep/f|' | xargs touch && seq 3000 | sed 's|^|new/deep/f|' | xargs rm && mv new/deep moved && echo last >d/1 && rm d/2 && chmod 600 d/3 )
kill -CONT "${pid[a]}"
run 0 "L6: a daemon that read nothing meanwhile" a sync r --quick
cp -a "$A" "$tmp/then"; crash a
run 0 "the other node" b online r --fenced
why=$(rsync -aHAXc --delete --dry-run -i "$tmp/then/" "$tmp/b/root/srv/t/" 2>&1 | head -5); [ -z "$why" ]; ok $? "L6, P2: has every change"
hf b offline r >/dev/null
# back-off: tried again, less and less often
up a HOLDFAST_SEAM=commit.captured:2+:eio; hf a online r >/dev/null; hf a resource set r tolerate=1000 >/dev/null
echo x >"$A/d/4"; hf a sync r >/dev/null 2>&1; echo y >"$A/d/4"
failures() { hf a --json metrics | $PY -c 'import json,sys; print([r["counted"]["failures"] for r in json.load(sys.stdin)["resources"] if r["name"]=="r"][0])'; }
until_true 20 eval '[ "$(failures)" -ge 3 ]'; ok $? "L6: a commit that fails is tried again"
sleep 3; f=$(failures); why=$f; [ "$f" -lt 40 ]; ok $? "L6: with pauses between"
hf a status r >"$tmp/out"; says out 'commit:' "and status tells why"
plan
