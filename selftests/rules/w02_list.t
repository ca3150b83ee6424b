#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W2: listing: none is valid; by type, by kind, by pattern, as JSON. The caller's buffer: w02_library.t.
. "$(dirname "$0")/../failover/lib.sh"
cluster a
R=$tmp/a/root/srv; up a; ok $? "a node"
count() { hf a --json checkpoint list "$@" | $PY -c 'import json,sys; print(len(json.load(sys.stdin)["checkpoints"]))'; }
run 0 "W2: none is valid" a checkpoint list
is "$(count)" 0 "and is an empty list"
for r in pg1 pg2 web; do
	mkdir -p "$R/$r/conf" "$R/$r/keys"; echo x >"$R/$r/conf/f"; echo k >"$R/$r/keys/k"; chmod 600 "$R/$r/keys/k"
	hf a resource add $r --type "$(echo $r | tr -d 0-9)" >/dev/null
	is "$(count $r)" 0 "W2: $r has none"
	hf a checkpoint add $r "/srv/$r/conf" >/dev/null; hf a checkpoint add $r "/srv/$r/keys" --crypto >/dev/null
done
is "$(count) $(count pg1)" "6 2" "all, and those of one"
is "$(count --type pg) $(count --type web) $(count --type none)" "4 2 0" "by type of resource"
is "$(count --kind crypto) $(count --kind tree) $(count --type pg --kind crypto)" "3 3 2" "by kind, and both"
is "$(count '/srv/pg*') $(count '*/keys') $(count pg2 '*/conf') $(count '/none/*')" "4 3 1 0" "by pattern"
run 3 "of a resource that is not there" a checkpoint list nobody
run 0 "as a table" a checkpoint list pg1
says out '/srv/pg1/conf' "with its paths"; says out crypto "and kinds"
run 3 "W3: what is not there is not found" a checkpoint delete pg1 /srv/pg1/none --yes
run 0 "W3: deleted without asking" a checkpoint delete pg2 /srv/pg2/conf --yes
is "$(count pg2)" 1 "gone"
run 0 "a resource" a resource delete web --yes
is "$(count web 2>/dev/null) $(count)" " 3" "its checkpoints with it"
run 3 "and it is not found" a resource delete web --yes
plan
