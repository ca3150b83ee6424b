#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# C42: retain: so many generations stay, older ones go; what was pinned stays whatever goes, until it is unpinned.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv/t
mkdir -p "$A"; echo 1 >"$A/f"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a resource set r retain=3 >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "retain=3"
for i in 2 3 4 5 6; do echo "$i" >"$A/f"; hf a sync r >/dev/null; done
g2=$(hf a --json history r | $PY -c 'import json,sys; print(json.load(sys.stdin)["generations"][1]["generation"])')
run 0 "a generation is pinned" a history pin r "$g2" --name golden
run 4 "its name is taken then" a history pin r "$g2" --name golden
there() { hf "$1" --json history r | $PY -c "import json,sys; print(sum(g['generation'] == $2 for g in json.load(sys.stdin)['generations']))"; }
extract() { rm -rf "$tmp/to"; hf "$1" restore r --generation "$2" --to "$tmp/to" >/dev/null 2>&1 && find "$tmp/to" -name f -exec cat {} \;; }
# history is cut where a generation is written as a whole, which happens when it pays
for i in $(seq 7 30); do echo "$i" >"$A/f"; hf a sync r >/dev/null; done
hf a resource rebuild r >/dev/null; for i in 31 32 33 34 35; do echo "$i" >"$A/f"; hf a sync r >/dev/null; done; hf a resource rebuild r >/dev/null
until_true 20 eval '[ "$(there a 1)" = 0 ]'; ok $? "C42: what is older than retain asks for goes"
now=$(field a r generation)
is "$(there a $((now - 1))) $(there a $((now - 3)))" "1 1" "C42: so many stay"
is "$(extract a $((now - 3)))" 32 "and can be read"
# of the oldest one only a base is left: that is another commit's record
first() { hf "$1" --json history r | $PY -c '
import json,sys
g = json.load(sys.stdin)["generations"][0]
print(g["generation"], g["base"], [g.get(k) for k in ("node", "epoch", "puts", "dels")], repr(g["note"]))'; }
oldest=$(first a)
why=$oldest; [[ $oldest == *" True [None, None, None, None] ''" ]]; ok $? "of the oldest one nobody claims to know who made it, and what it changed"
hf a history r >"$tmp/out"; grep -q "^${oldest%% *} .* -  *-  *-  *-  *[0-9]" "$tmp/out"; ok $? "as the list says"
hf a --json history r | $PY -c '
import json,sys
assert all(g["node"] == "a" and g["puts"] < 5 for g in json.load(sys.stdin)["generations"][1:])'; ok $? "of the others it is known"
run 3 "what went cannot" a restore r --generation 1 --to "$tmp/none"
is "$(extract a "$g2")" 2 "C42: what was pinned stays"
is "$(extract b "$g2")" 2 "for every node"
hf a offline r >/dev/null; run 0 "another owner" b online r
is "$(extract b "$g2")" 2 "C42: and with it"
run 0 "a rollback to it" b rollback r --to "$g2" --yes
is "$(cat "$tmp/b/root/srv/t/f")" 2 "C42: is possible"
run 0 "unpinned" b history unpin r --name golden
run 3 "it is no more" b history unpin r --name golden
hf b resource rebuild r >/dev/null
until_true 20 eval '[ -z "$(extract b '"$g2"')" ]'; ok $? "C42: and goes as others do"
run 0 "the disk is sound" b disk check
plan
