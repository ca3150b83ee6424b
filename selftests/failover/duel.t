#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Three daemons that claim one resource at the same moment, again and again, each
# told that the others were fenced: one wins, nothing that sync confirmed is ever missing.
# (selftests/store/t_race.c does the same thousands of times below the daemons.)
. "$(dirname "$0")/lib.sh"
ROUNDS=${ROUNDS:-60}
cluster a b c
mkdir -p "$tmp/a/root/srv/t"; echo 0 >"$tmp/a/root/srv/t/count"
for c in a b c; do up $c || exit 1; done
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null
ok $? "online on a"

confirmed=0 wins=0 none=0 two=0 missing=0 refused=0
for i in $(seq "$ROUNDS"); do
	ps=
	for c in a b c; do
		# a random moment for each, all within a few milliseconds
		{ sleep "0.00$((RANDOM % 10))"; exec "$B/holdfast" -c "$tmp/$c/conf" -q online r --fenced --timeout 20s; } \
			>"$tmp/on.$c" 2>&1 </dev/null & ps+=" $c:$!"
	done
	for p in $ps; do wait "${p#*:}" || refused=$((refused + 1)); done
	# who can confirm is the owner; nobody else may
	owners=
	for c in a b c; do
		echo "$i" >"$tmp/$c/root/srv/t/try-$c"
		hf "$c" sync r >"$tmp/s.$c" 2>&1 && owners+=" $c"
	done
	set -- $owners
	case $# in
	0) none=$((none + 1)) ;;
	1) wins=$((wins + 1)) ;;
	*) two=$((two + 1)); why+="round $i:$owners; " ;;
	esac
	o=${!#}
	[ $# -gt 0 ] || continue
	# the owner's tree holds what was confirmed last
	[ "$(cat "$tmp/$o/root/srv/t/count")" = "$confirmed" ] || { missing=$((missing + 1)); why+="round $i: $o has $(cat "$tmp/$o/root/srv/t/count"), not $confirmed; "; }
	echo "$i" >"$tmp/$o/root/srv/t/count"
	if hf "$o" sync r >"$tmp/out" 2>"$tmp/err"; then confirmed=$i; else echo "$confirmed" >"$tmp/$o/root/srv/t/count"; fi
done
echo "# $wins rounds with one owner, $none with none, $two with two; $refused claims refused or lost"
[ "$two" = 0 ]; ok $? "P4: never two that could confirm"
[ "$missing" = 0 ]; ok $? "P1: what was confirmed was there after each takeover"
[ "$wins" -ge $((ROUNDS / 2)) ]; ok $? "mostly somebody won"
run 0 "the disk is sound" a disk check
plan
