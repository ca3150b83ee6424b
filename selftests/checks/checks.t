#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# checks.t [NAME...]: the checks of the source that are quick enough for every
# run. Those of the module are in kernel.t, so that both run at the same time, the
# others (sanitizers, what is untracked) in `make lint`.

cd "$(dirname "$0")/../.." || exit 1
[ $# -gt 0 ] || set -- spdx binary length layers shellcheck man seen ocf symbols install gcc clang
echo "1..$#"
n=0
for name; do
	n=$((n + 1))
	if out=$(scripts/check.sh "$name" 2>&1); then
		case $out in
		*skip:*) echo "ok $n - $name # SKIP ${out#*skip: }" | head -n 1 ;;
		*) echo "ok $n - $name" ;;
		esac
	else
		echo "not ok $n - $name"
		echo "$out" | head -n 40 | sed "s/^/# $name: /" >&2
	fi
done
