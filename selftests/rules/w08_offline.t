#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W8: what was changed while the resource is offline is overwritten when it comes online, and kept aside (P7).
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv B_=$tmp/b/root/srv
mkdir -p "$A/x" "$B_/x"; echo x2 >"$A/x/f"; echo local >"$B_/x/f"; echo mine >"$B_/x/only-here"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/x >/dev/null && hf a online r >/dev/null && hf a offline r >/dev/null; ok $? "a generation"
run 0 "W8: on the other node" b online r
is "$(cat "$B_/x/f")" x2 "W8: what was there is overwritten"
[ ! -e "$B_/x/only-here" ]; ok $? "and what is not in it goes"
id=$(hf b --json displaced list r | $PY -c 'import json,sys; print(json.load(sys.stdin)["sets"][0]["id"])')
run 0 "P7: it is kept aside" b displaced restore r "$id" --to "$B_/back"
is "$(cat "$B_/back/f" "$B_/back/only-here" | tr '\n' ' ')" "local mine " "all of it"
hf b offline r >/dev/null
echo edited >"$B_/x/f"; rm -rf "$B_/x/g"
run 0 "on the node that had it last, too" b online r
is "$(cat "$B_/x/f")" x2 "W8: an edit while it was offline is overwritten"
[ "$(hf b --json displaced list r | grep -o '"reason"' | wc -l)" -ge 2 ]; ok $? "P7: and kept aside"
hf b offline r >/dev/null; echo meant >"$B_/x/f"
run 0 "unless it is meant" b online r --keep-local
is "$(cat "$B_/x/f")" meant "with --keep-local it becomes the newest generation"
hf b offline r >/dev/null; run 0 "elsewhere" a online r
is "$(cat "$A/x/f")" meant "as any other"
plan
