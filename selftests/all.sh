#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# all.sh SECONDS JOBS TEST...: prove runs them, each for SECONDS at most. Where some failed, what they said of
# it stands once more at the end, where a log that is cut off still has it, and then prove's verdict.
HF_FAILED=$(mktemp) log=$(mktemp) || exit 1
export HF_FAILED
trap 'rm -f "$HF_FAILED" "$log"' EXIT
seconds=$1 jobs=$2
shift 2
prove --timer -j"$jobs" -e "selftests/one.sh $seconds" "$@" | tee "$log"
status=${PIPESTATUS[0]}
if [ "$status" -ne 0 ] && [ -s "$HF_FAILED" ]; then
	echo
	cut -c 1-200 "$HF_FAILED" | head -n 100
	tail -n 2 "$log"
fi
exit "$status"
