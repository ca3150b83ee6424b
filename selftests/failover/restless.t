#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P1: a large file that never holds still does not fill the store with what is stored of it in vain: what changes
# beside it is committed, in this resource and in another one, and it is itself when it holds still.
# shellcheck disable=SC2034	# what lib.sh reads
SIZE=128MiB
. "$(dirname "$0")/lib.sh"
cluster a
for t in t u; do mkdir -p "$tmp/a/root/srv/$t"; echo one >"$tmp/a/root/srv/$t/f"; done
up a
for t in t u; do hf a resource add $t >/dev/null && hf a checkpoint add $t /srv/$t >/dev/null && hf a online $t >/dev/null; done; ok $? "online"
T=$tmp/a/root/srv/t
$PY - "$T/big" <<'P' & w=$!; extra_pids="$extra_pids $w"
import os, sys
f = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
while 1:
    for i in range(4):
        os.pwrite(f, os.urandom(1 << 20), i << 20)
P
until_true 60 eval '[ "$(stat -c %s "$T/big")" -ge 4194304 ]'; sleep 1
echo two >"$T/f"; echo two >"$tmp/a/root/srv/u/f"
has() { hf a diff "$1" >"$tmp/out" && ! grep -q "/srv/$1/f" "$tmp/out"; }
until_true 60 has t; ok $? "what changes beside it is committed"
until_true 60 has u; ok $? "as in another resource"
kill $w; wait $w 2>/dev/null
until_true 60 eval 'hf a diff t >"$tmp/out" && ! grep -q srv "$tmp/out"'; ok $? "it is itself, when it holds still"
run 0 "sync" a sync t
plan
