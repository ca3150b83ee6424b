#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A machine lost its power, and with it what its owner's trees had only in memory. Before the tree is restored
# the resource is stopped: what is there then must not become a generation. (P1)

# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/lib.sh"
cluster a b
mkdir -p "$tmp/a/root/srv/t" "$tmp/b/root/srv"
file=$tmp/a/root/srv/t/f
journal() { $PY -c 'import json,sys; print(json.load(open(sys.argv[1]))["'"$1"'"])' "$tmp/a/state/resources/r"; }
released() { ! hf a status r | grep -q unreleased && field_is a r state offline; }
lost_power() {
	crash a
	until_true 5 flock -n "$tmp/a/state/lock" true
	sed -i 's/"boot":"[^"]*"/"boot":"another"/' "$tmp/a/state/resources/r"
	echo "as before" >"$file"
}
taken() { # by b, and given back
	until_true 20 released; ok $? "released when the store answers"
	run 0 "b takes it" b online r
	is "$(cat "$tmp/b/root/srv/t/f")" "$1" "P1: with what sync had confirmed"
	run 0 "b gives it back" b offline r
	run 0 "a has it again" a online r
	is "$(cat "$file")" "$1" "P1: that is what a has as well"
}

echo "as before" >"$file"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online on a"

echo confirmed >"$file"
run 0 "P1: sync" a sync r
lost_power
# The store falls silent once the daemon has started, before it takes the resource up: after how many reads that
# is differs. One too few ends the daemon, and changes nothing.
reads=18
until up a HOLDFAST_SEAM=disk.read:$reads+:eio || [ $reads -ge 60 ]; do
	crash a
	until_true 5 flock -n "$tmp/a/state/lock" true
	reads=$((reads + 1))
done
until_true 20 field_is a r state failed; ok $? "a's daemon runs, and cannot take it up ($reads reads)"
is "$(journal state),$(journal boot)" online,another "it is as it was"
run 0 "stopped without the store" a offline r
crash a
until_true 5 flock -n "$tmp/a/state/lock" true
up a; ok $? "the store is back"
taken confirmed

echo "confirmed too" >"$file"
run 0 "P1: sync" a sync r
lost_power
mv "$tmp/disk" "$tmp/away"
"$B/holdfastd" -c "$tmp/a/conf" -s r >"$tmp/out" 2>"$tmp/err"; is $? 0 "stopped with neither daemon nor store"
is "$(journal state)" unreleased "written down"
mv "$tmp/away" "$tmp/disk"
up a; ok $? "the store is back"
taken "confirmed too"

# resumed in vain, and stopped, before the power is lost: nobody had the trees written back
echo "confirmed again" >"$file"
run 0 "P1: sync" a sync r
crash a
until_true 5 flock -n "$tmp/a/state/lock" true
until up a HOLDFAST_SEAM=disk.read:$reads+:eio || [ $reads -ge 80 ]; do
	crash a
	until_true 5 flock -n "$tmp/a/state/lock" true
	reads=$((reads + 1))
done
until_true 20 field_is a r state failed; ok $? "a's daemon runs, and cannot take it up ($reads reads)"
run 0 "stopped without the store" a offline r
is "$(journal state),$(journal torn)" unreleased,False "what is here was confirmed by then"
lost_power
up a; ok $? "the store is back"
taken "confirmed again"

# Online without the store, with what was confirmed a moment before and is not written back: that is what is
# there after a power cut, and it must not become a generation when the store is back.
gone=$tmp/gone
faulty() { up a LD_PRELOAD="$B/selftests/failover/preload_gone.so" FAULT_DISK="$tmp/disk" FAULT_FLAG="$gone" ASAN_OPTIONS=verify_asan_link_order=0; }
without() {
	echo "$1" >"$file"
	run 0 "P1: sync" a sync r
	run 0 "offline" a offline r
	down a; faulty
	until_true 10 eval '[ "$(field a r epoch)" = "$(field b r epoch)" ]'
	touch "$gone"; until_true 30 eval "! hf a --json status | grep -q '\"store\":\"ok\"'"
	run 0 "online without the store" a online r --without-store
	is "$(journal state),$(journal without_store)" online,True "which is written down"
	lost_power
	rm "$gone"
}
without "the last"
up a; until_true 20 field_is a r state online; ok $? "the machine is back, and the store"
is "$(cat "$file")" "the last" "P1: with what sync had confirmed"
hf a displaced list r >"$tmp/out"; says out r "P7: what was there is kept aside"
run 0 "offline" a offline r
taken "the last"

without "the very last"
mv "$tmp/disk" "$tmp/away"
"$B/holdfastd" -c "$tmp/a/conf" -s r >"$tmp/out" 2>"$tmp/err"; is $? 0 "stopped before the store is back"
is "$(journal state),$(journal torn),$(journal without_store)" unreleased,True,True "written down"
mv "$tmp/away" "$tmp/disk"
up a; ok $? "the store is back"
taken "the very last"
plan
