#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P3: a generation that is marked consistent is a cut, under writers that keep an invariant over
# several files by chaining on calls which returned; tracking with fanotify. What it cannot see, stores
# into shared mappings, is not among them: vm/cut-*.t has that. SECONDS_EACH= (6), KINDS=
# shellcheck source=selftests/failover/lib.sh
export LEASE=5s
. "$(dirname "$0")/../failover/lib.sh"
if ! $PY -c 'import nacl.bindings, tdb' 2>/dev/null; then
	echo "1..0 # SKIP needs python3-nacl and python3-tdb"
	exit 0
fi
here=$top/selftests/tree
each=${SECONDS_EACH:-6}
kinds=${KINDS:-counters dirs journal wal tdb-nommap}
SIZE=$((256 + each * 8))MiB cluster a
up a; ok $? "a starts"
for k in $kinds; do
	mkdir -p "$tmp/a/root/srv/$k"
	if ! { hf a resource add "$k" && hf a checkpoint add "$k" "/srv/$k" --allow-empty &&
		hf a resource set "$k" retain=1000000 settle=0 min-pause=0 delete-guard=0% &&
		hf a online "$k" --allow-empty; } >"$tmp/out" 2>"$tmp/err"; then
		ok 1 "$k: online"
		continue
	fi
	"$B/selftests/tree/cut_writer" "$tmp/a/root/srv/$k" "$k" 0 >"$tmp/steps" 2>"$tmp/err" &
	extra_pids=$!
	sleep "$each"
	until_true 60 eval '! kill -0 $extra_pids || [ "$(field a "$k" generation)" -ge 40 ]'
	kill -TERM $extra_pids 2>/dev/null
	wait $extra_pids
	case $? in
	0) run 0 "$k: sync after $(cat "$tmp/steps") steps" a sync "$k"; did+=" $k=$k" ;;
	4) echo "# $k is skipped: $(cat "$tmp/err")"; did+=" $k=counters" ;;
	*) ok 1 "$k: it writes" ;;
	esac
	hf a offline "$k" >/dev/null
done
down a
# shellcheck disable=SC2086
timeout 600 $PY "$here/cut.py" "$tmp/disk" "$tmp/key" $did >"$tmp/said" 2>"$tmp/err"; ok $? "all generations are read"
grep '^#' "$tmp/said"
while read -r name gens consistent fuzzy bad badfuzzy; do
	is "$bad" 0 "P3: $name: each of $consistent consistent generations is a cut"
	[ "$consistent" -ge 10 ]; ok $? "there are enough of them"
	echo "# $name: $gens generations, $fuzzy fuzzy ($((fuzzy * 100 / gens)) %), of which $badfuzzy are none"
done < <(grep -v '^#' "$tmp/said")
plan
