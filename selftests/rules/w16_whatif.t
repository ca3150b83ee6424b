#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W16: wildcard listing, confirmation, what-if: patterns; on a terminal what deletes asks, --yes does not;
# --dry-run changes nothing.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
cluster a
up a; ok $? "a node"
count() { hf a --json checkpoint list "$@" | $PY -c 'import json,sys; print(len(json.load(sys.stdin)["checkpoints"]))'; }
for r in pg1 pg2 web; do
	mkdir -p "$tmp/a/root/srv/$r/conf" "$tmp/a/root/srv/$r/data.d"; echo x >"$tmp/a/root/srv/$r/conf/f"; echo d >"$tmp/a/root/srv/$r/data.d/f"
	hf a resource add $r >/dev/null; hf a checkpoint add $r "/srv/$r/conf" >/dev/null; hf a checkpoint add $r "/srv/$r/data.d" >/dev/null
done
is "$(count '/srv/pg*') $(count '*/conf') $(count pg2 '*/conf') $(count '/srv/pg[12]/data.?') $(count '/none/*')" "4 3 1 2 0" "W16: listing by pattern"
before=$(hf a --json checkpoint list)
run 0 "W16: what deleting would do" a checkpoint delete pg1 /srv/pg1/conf --dry-run
run 0 "of a resource" a resource delete pg1 --dry-run
run 3 "of one that is not there" a checkpoint delete pg1 /srv/none --dry-run
hf a online web >/dev/null; echo y >"$tmp/a/root/srv/web/conf/f"; hf a sync web >/dev/null
g=$(field a web generation)
run 0 "of a rollback" a rollback web --to 1 --dry-run
run 0 "of going online" a online pg1 --dry-run
run 0 "of a rebuild" a resource rebuild web --dry-run
is "$(hf a --json checkpoint list)" "$before" "W16: changed nothing"
is "$(field a web generation) $(field a pg1 state) $(cat "$tmp/a/root/srv/web/conf/f")" "$g offline y" "nothing at all"
answer() { # answer TEXT COMMAND...: on a terminal
	local text=$1
	shift
	printf '%s\n' "$text" | timeout 20 script -qec "$(printf '%q ' "$B/holdfast" -c "$tmp/a/conf" "$@")" /dev/null >"$tmp/out" 2>&1
}
answer n checkpoint delete pg1 /srv/pg1/conf; says out '?' "W16: on a terminal it asks"
is "$(count pg1)" 2 "no means no"
answer '' checkpoint delete pg1 /srv/pg1/conf; is "$(count pg1)" 2 "so does nothing"
answer y checkpoint delete pg1 /srv/pg1/conf; is "$(count pg1)" 1 "yes means yes"
answer n resource rebuild web; says out '?' "a rebuild asks"
answer n resource delete pg2; is "$(count pg2)" 2 "deleting a resource too"
run 0 "W16: --yes: nobody is asked" a resource delete pg2 --yes
is "$(count pg2 2>/dev/null)" "" "and it is gone"
plan
