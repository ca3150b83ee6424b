#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The benchmark of the module runs, and prints every row and every goal; few rounds,
# so what it says is not asked for.

here=$(cd "$(dirname "$0")" && pwd)
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
n=0
ok() {
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		sed 's/^/# /' "$out"
	fi
}

ROUNDS=3 DIRS=100 RUNS=1 timeout 300 "$here/kernel.py" 6.12 >"$out" 2>&1
ok $? "it runs to its end"
[ "$(grep -c '^    .*[+-][0-9]' "$out")" -ge 16 ]
ok $? "every row"
[ "$(grep -c ' \(met\|MISSED\)$' "$out")" = 15 ]
ok $? "every goal"
grep -q '^    the machine is sound (ok)' "$out"
ok $? "the machine is sound"
echo "1..$n"
