#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# one.sh SECONDS TEST: what prove calls for each test. One that hangs is ended, its
# children with it; of one that fails the points that failed are told, which prove keeps
# to itself, with what the test said of them.
said=$(mktemp) || exit 1
trap 'rm -f "$said"' EXIT
timeout -k 20 "$1" "$2" | tee "$said"
status=${PIPESTATUS[0]}
if [ "$status" -ne 0 ]; then
	echo
	awk -v name="$2" '/^ok|^1\.\./ { on = 0 } /^not ok/ { on = 1; left = 25 } /^# Bail/ { on = 1; left = 3 }
		on && left-- > 0 { print name ": " $0 }' "$said"
	[ "$status" -lt 124 ] || echo "$2: ended with $status (124, 137: it took more than $1 seconds)"
fi | tee -a "${HF_FAILED:-/dev/null}" >&2
exit "$status"
