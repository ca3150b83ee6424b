#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P6: a file of more than 1 GiB, mostly a hole, goes to another node and comes back: byte by byte,
# and neither the store nor what is kept aside grows by it.
. "$(dirname "$0")/../failover/lib.sh"
A=$tmp/a/root/srv/r Bd=$tmp/b/root/srv/r
cluster a b
mkdir -p "$A"
big() { truncate -s 1200M "$1" && printf begin | dd of="$1" conv=notrunc 2>/dev/null && echo "$2" >>"$1"; }
big "$A/big" end
echo small >"$A/small"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null; hf a checkpoint add r /srv/r --force >/dev/null
run 0 "online" a online r
echo more >>"$A/big"
run 0 "a change of it" a sync r
run 0 "offline" a offline r
mkdir -p "$Bd" && big "$Bd/big" other
run 0 "another node, that has another one" b online r
cmp -s "$A/big" "$Bd/big"; ok $? "P6: it is the same, byte by byte"
[ "$(du -k "$Bd/big" | cut -f 1)" -lt 1024 ]; ok $? "and its hole is one"
id=$(hf b --json displaced list r | $PY -c 'import json, sys; print(json.load(sys.stdin)["sets"][0]["id"])')
mkdir "$tmp/b/root/back"
run 0 "what was there is brought back" b displaced restore r "$id" --to "$tmp/b/root/back"
[ "$(tail -c 6 "$tmp/b/root/back/big")" = other ] && [ "$(stat -c %s "$tmp/b/root/back/big")" -eq $((1200 * 1024 * 1024 + 6)) ]
ok $? "P7: and is that"
[ "$(du -k "$tmp/b/root/back/big" | cut -f 1)" -lt 1024 ]; ok $? "with its hole"
run 0 "verify" b verify r
run 0 "offline there" b offline r
down a; down b
run 0 "disk check" a disk check
plan
