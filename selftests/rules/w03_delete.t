#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W3: a checkpoint that is deleted is captured and restored no more; an unknown one is not found.
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv B_=$tmp/b/root/srv
mkdir -p "$A/x" "$A/y"; echo x1 >"$A/x/f"; echo y1 >"$A/y/f"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null; hf a checkpoint add r /srv/x >/dev/null; hf a checkpoint add r /srv/y >/dev/null; hf a online r >/dev/null; ok $? "online"

run 3 "W3: an unknown one is not found" a checkpoint delete r /srv/z
was=$(field a r generation)
run 0 "W3: deleted while online" a checkpoint delete r /srv/y
[ "$(field a r generation)" -gt "$was" ]; ok $? "is a generation of its own"
was=$(field a r generation)
echo y2 >"$A/y/f"
run 0 "sync" a sync r
is "$(field a r generation) $(field a r dirty)" "$was 0" "what changes there is captured no more"
hf a --json diff r >"$tmp/out"; ! grep -q '/srv/y' "$tmp/out"; ok $? "nor compared"
echo x2 >"$A/x/f"; hf a offline r >/dev/null

run 0 "on the other node" b online r
[ -e "$B_/x/f" ] && [ ! -e "$B_/y" ]; ok $? "W3: what was deleted does not come"
plan
