#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W14: queries by type of resource, which Windows documents as unsupported.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
cluster a
up a; ok $? "a node"
count() { hf a --json checkpoint list "$@" | $PY -c 'import json,sys; print(len(json.load(sys.stdin)["checkpoints"]))'; }
for r in pg1 pg2 web bare; do mkdir -p "$tmp/a/root/srv/$r"; echo x >"$tmp/a/root/srv/$r/f"; done
hf a resource add pg1 --type db >/dev/null; hf a resource add pg2 --type db >/dev/null; hf a resource add web --type http >/dev/null; hf a resource add bare >/dev/null
for r in pg1 pg2 web bare; do hf a checkpoint add $r "/srv/$r" >/dev/null; done
is "$(count --type db) $(count --type http) $(count --type none) $(count)" "2 1 0 4" "W14: checkpoints of the resources of a type"
is "$(count pg1 --type db) $(count web --type db)" "1 0" "and of one, if it is of it"
is "$(hf a --json resource list --type db | $PY -c 'import json,sys; print([r["name"] for r in json.load(sys.stdin)["resources"]])')" "['pg1', 'pg2']" "W14: resources of a type"
run 0 "of a type that none has" a resource list --type none
run 2 "an empty type is no type" a checkpoint list --type ""
hf a resource show web >"$tmp/out"; says out http "show tells it"
plan
