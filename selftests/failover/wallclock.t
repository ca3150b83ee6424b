#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A wall clock that is set while something waits for something else does not end the wait, or make it an hour longer.
. "$(dirname "$0")/lib.sh"
cluster a
ctl=$tmp/a/faults
clock() { $PY -c 'import struct, sys; open(sys.argv[1], "r+b").write(struct.pack("=iiiiqq", 0, 0, 0, 1000, int(sys.argv[2]) * 10**9, 0))' "$ctl" "$1"; }
: >"$ctl"; truncate -s 32 "$ctl"; clock 0
# each change of the registrations takes a second
up a HF_FAULTS="$ctl" HF_FAULTS_DISK="$tmp/disk" LD_PRELOAD="$B/selftests/failover/preload_faults.so" \
	ASAN_OPTIONS=verify_asan_link_order=0 HOLDFAST_SEAM=claim.ballot:0:sleep=1000
ok $? "a node whose wall clock can be set"
clock -3600
hf a resource add first >"$tmp/first" 2>&1 & p=$!
sleep 0.3
run 0 "one change waits for another, while the clock is set back" a resource add second
wait $p; ok $? "which is made too"
run 0 "both are there" a resource show first
run 0 "the second one" a resource show second
down a; ok $? "it ends in order"
plan
