#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# C41: so many commits may fail in a row; one more, and the resource is degraded, or failed, as on-exceed says.
# With a store that refuses and comes back, and one that hangs and comes back; nothing is lost by any of it.
# shellcheck disable=SC2034	# what lib.sh reads
[ "$1" = inside ] || exec unshare -m --propagation private "$0" inside
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
# shellcheck source=selftests/rules/store.sh
. "$(dirname "$0")/store.sh"
store_mounted && journal_stands_in || { echo "Bail out! nothing can be mounted here"; exit 1; }
LEASE=2s
cluster a b
A=$tmp/a/root/srv/r B_=$tmp/b/root/srv/r
mkdir -p "$A" "$tmp/a/root/srv/other"; echo 0 >"$A/f"; echo o >"$tmp/a/root/srv/other/f"
up_journal a && up_journal b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/r >/dev/null && hf a online r >/dev/null; ok $? "online"
# fails N: the second commit of the next daemon, and the N - 1 after it, are refused by the store
fails() {
	down a; degraded=$(told DEGRADED a) recovered=$(told RECOVERED a)
	up_journal a HOLDFAST_SEAM="$(for _ in $(seq "$1"); do printf 'commit.append:2:eio,'; done)"
	until_true 20 field_is a r state online; ok $? "a store that will refuse $1 commits"
	echo "before $1" >"$A/f"; hf a sync r >/dev/null
}
confirmed() { hf a status r >/dev/null && field_is a r dirty 0 && [ "$(field a r confirmed)" -gt "$g" ]; }
failures() { hf a --json metrics | $PY -c 'import json,sys; print([r["counted"]["failures"] for r in json.load(sys.stdin)["resources"] if r["name"]=="r"][0])'; }

hf a resource set r tolerate=2 >/dev/null
fails 2; g=$(field a r confirmed); echo "two" >"$A/f"; echo two >"$A/two"
until_true 30 confirmed; ok $? "C41: two failures of two that are tolerated: then it is committed, by itself"
is "$(failures)" 2 "there were two"
is "$(told DEGRADED a)" "$degraded" "C41: that is not degraded"

fails 3; g=$(field a r confirmed); echo "three" >"$A/f"; echo three >"$A/three"
until_true 30 confirmed; ok $? "a third one"
is "$(failures)" 3 "there were three"
is "$(told DEGRADED a) $(told RECOVERED a)" "$((degraded + 1)) $((recovered + 1))" "C41: is degraded, said once; and over when a commit is confirmed"
field_is a r degraded false && field_is a r state online; ok $? "it is online, and not degraded"
run 0 "sync" a sync r
crash a; run 0 "the other takes over" b online r --fenced
same a b srv/r; ok $? "P1: all of it is there"
up_journal a; hf b offline r >/dev/null; run 0 "and back" a online r

# counted in a row: a success begins anew
hf a resource set r tolerate=1 >/dev/null
down a; degraded=$(told DEGRADED a)
up_journal a HOLDFAST_SEAM=commit.captured:3:eio,commit.captured:5:eio,commit.captured:7:eio
until_true 20 field_is a r state online
for i in 1 2 3 4 5 6 7 8 9; do g=$(field a r confirmed); echo "row $i" >"$A/f"; until_true 30 confirmed || break; done; ok $? "failures with successes between"
is "$(failures)" 3 "three of them"
is "$(told DEGRADED a)" "$degraded" "C41: are not two in a row"

# on-exceed=failed
hf a resource set r tolerate=1 on-exceed=failed >/dev/null
fails 2; echo failed >"$A/f"; echo failed >"$A/failed"
until_true 30 field_is a r state failed; ok $? "C41: on-exceed=failed: it is failed"
hf a status r >"$tmp/out"; says out 'commit.append\|injected\|append' "and says why"
until_true 30 field_is a r dirty 0; ok $? "its changes are committed all the same, when the store takes them"
run 0 "reset" a resource reset r
is "$(field a r state)" online "leaves the state: it never lost its resource"
run 0 "sync" a sync r
hf a resource set r on-exceed=degraded >/dev/null

# a store that hangs: for all, heartbeat too
down a; up_journal a; until_true 20 field_is a r state online
hf a resource add other >/dev/null && hf a checkpoint add other /srv/other >/dev/null && hf a online other >/dev/null
hf a resource set r commit-timeout=500ms tolerate=0 >/dev/null; hf a sync r >/dev/null
freeze; for i in 1 2 3; do echo "hang $i" >"$A/hang$i"; done; mv "$A/two" "$A/two-moved"; rm "$A/three"; chmod 600 "$A/f"; mkdir "$A/dir"; echo deep >"$A/dir/x"
timeout 20 "$B/holdfast" -c "$tmp/a/conf" sync r >"$tmp/out" 2>"$tmp/err"; is $? 7 "a sync says that it is not confirmed"
until_true 20 eval 'hf a --json status | grep -q "silent for"'; ok $? "status says that the store is silent"
until_true 10 eval '[ "$(told STORE_SILENT a)" -ge 1 ] || hf a doctor r | grep -q silent'; ok $? "and doctor"
timeout 5 "$B/holdfast" -c "$tmp/a/conf" status r >/dev/null; ok $? "nothing that is answered from memory waits"
thaw
until_true 30 field_is a r dirty 0; ok $? "C41: when it is back, what was held back is committed by itself"
run 0 "sync" a sync r
field_is a r degraded false && field_is a r state online; ok $? "and all is well"
run 0 "the other resource, too" a sync other

# one that refuses for good, and then the node is lost: what was confirmed is there, what was not is told
down a; up_journal a HOLDFAST_SEAM=commit.append:2+:eio; until_true 20 field_is a r state online
echo kept >"$A/f"; run 0 "confirmed" a sync r; cp -a "$A" "$tmp/then"
echo never >"$A/f"; until_true 20 field_is a r degraded true; ok $? "tolerate=0: degraded with the first one"
crash a; run 0 "the other takes over" b online r --fenced
why=$(rsync -aHAXc --delete --dry-run -i "$tmp/then/" "$B_/" 2>&1); [ -z "$why" ]; ok $? "P1: what was confirmed is there"
up_journal a; until_true 20 field_is a r unconfirmed.count 1; ok $? "P7: what was not is told, and kept aside"
plan
