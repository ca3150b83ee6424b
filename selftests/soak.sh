#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# soak.sh FILE.soak...: run the long tests under prove, one after the other. Each is
# told in SOAK_SECONDS how long it may go on, and ended when it takes twice
# that and five minutes.

set -u
cd "$(dirname "$0")/.." || exit 1
minutes=${SOAK_MINUTES:-30}
if [ $# -eq 0 ]; then
	echo "soak.sh: there are no long tests (selftests/*/*.soak)" >&2
	exit 1
fi
case $minutes in
'' | *[!0-9]* | 0)
	echo "soak.sh: SOAK_MINUTES=$minutes is no number of minutes" >&2
	exit 2 ;;
esac
SOAK_SECONDS=$((minutes * 60 / $#))
export SOAK_SECONDS
echo "$# long tests, $SOAK_SECONDS seconds each"
exec prove --timer -e "timeout -k 20 $((2 * SOAK_SECONDS + 300))" "$@"
