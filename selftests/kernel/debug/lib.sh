# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# What the tests of this directory share: points, and allocations that fail.

n=0 failed=0
ok() { # STATUS NAME
	n=$((n + 1))
	[ "$1" = 0 ] || { failed=1; printf 'not '; }
	echo "ok $n - $2"
}
end() {
	echo "1..$n"
	exit $failed
}
skip_all() {
	echo "1..0 # SKIP $*"
	exit 4
}
# relay NAME FILE: the points that a test printed, as ours
relay() {
	while IFS= read -r line; do
		case $line in
		"ok "*) ok 0 "$1: ${line#* - }" ;;
		"not ok "*) ok 1 "$1: ${line#* - }" ;;
		"TAP "* | 1..[0-9]*) ;;
		*) echo "# ${line#"# "}" ;;
		esac
	done <"$2"
}

fault=/sys/kernel/debug/failslab
MANY=1000000
# Nothing but the module lies where this kernel puts modules: an allocation with
# code from there above it is the module's own, or made on its behalf.
fail_slab() { # PERCENT
	echo 0 >$fault/probability
	echo 0xffffffffa0000000 >$fault/require-start
	echo 0xffffffffff000000 >$fault/require-end
	echo 32 >$fault/stacktrace-depth
	echo N >$fault/ignore-gfp-wait
	echo N >$fault/cache-filter
	echo N >$fault/task-filter
	echo 0 >$fault/verbose
	echo 0 >$fault/space
	echo 1 >$fault/interval
	echo $MANY >$fault/times
	echo "$1" >$fault/probability
}
no_fail() {
	echo 0 >$fault/probability
}
# how many allocations failed since fail_slab()
faulted() {
	echo $((MANY - $(cat $fault/times)))
}

# whoever was killed has left them
delete_trees() {
	for id in $(hfnl list 2>/dev/null | awk '{ print $2 }'); do
		hfnl tree "$id" , del >/dev/null
	done
}
