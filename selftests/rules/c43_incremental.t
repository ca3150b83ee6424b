#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# C43: a commit costs what changed, equal contents are kept once, and what goes with history takes nothing along
# that newer generations share.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
SIZE=128MiB
cluster a b
A=$tmp/a/root/srv/t
mkdir -p "$A"; for i in $(seq 200); do head -c 20000 /dev/urandom >"$A/$i"; done
up a && up b; ok $? "two nodes"
live() { hf a --json disk check | $PY -c 'import json,sys; a=json.load(sys.stdin)["space"]; print(sum(x["live_bytes"] + x["history_bytes"] for x in a))'; }
empty=$(live)
hf a resource add r >/dev/null && hf a resource set r retain=1 >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null && hf a sync r >/dev/null; ok $? "200 files, 4 MB"
whole=$(( $(live) - empty ))
why=$whole; [ $whole -gt 3900000 ]; ok $? "the first generation has all of it"
for f in 1 2; do head -c 20000 /dev/urandom >"$A/$f"; done; hf a sync r >/dev/null
one=$(( $(live) - empty - whole ))
# a block of the area, of 64 KiB, is the least that is counted
why="$one of $whole"; [ $one -le $((whole / 100 + 262144)) ]; ok $? "C43: 1% changed: about 1% is written"
cp -r "$A" "$tmp/copy"; mkdir "$A/again"; cp "$tmp/copy"/* "$A/again/"; hf a sync r >/dev/null
same_=$(( $(live) - empty - whole - one ))
why="$same_"; [ $same_ -le 524288 ]; ok $? "C43: the same contents once more cost next to nothing"
mv "$A/again" "$A/moved"; hf a sync r >/dev/null
# history goes, in which the shared contents came
for i in 1 2 3 4; do echo "$i" >"$A/n$i"; hf a sync r >/dev/null; done; hf a resource rebuild r >/dev/null; echo x >"$A/x"; hf a sync r >/dev/null; hf a resource rebuild r >/dev/null
rm "$A"/1?; hf a sync r --allow-delete >/dev/null; echo y >"$A/x"; hf a sync r >/dev/null; hf a resource rebuild r >/dev/null
run 0 "the disk is sound" a disk check
hf a offline r >/dev/null; run 0 "the other node" b online r
same a b srv/t; ok $? "C43: what is shared stays"
plan
