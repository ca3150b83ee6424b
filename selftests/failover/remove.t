#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The node that removes another one is killed at each step of that on the disk: each claim, seal, base and release that empties
# the area, and the row. Run again it finishes (or has finished); meanwhile another node may take over one of
# the resources. Nothing confirmed is lost, and the machine that was removed does not come back.
export LEASE=500ms
. "$(dirname "$0")/lib.sh"
export SIZE=12MiB
cluster a b c
for r in r s; do
	mkdir -p "$tmp/c/root/srv/$r" && echo "confirmed in $r" >"$tmp/c/root/srv/$r/f"
done
up c; ok $? "a node with two resources"
for r in r s; do
	hf c resource add $r && hf c checkpoint add $r /srv/$r && hf c online $r && echo more >"$tmp/c/root/srv/$r/g" &&
		hf c sync $r && hf c offline $r
done >/dev/null; ok $? "which it had online"
crash c
mkdir "$tmp/keep"
cp "$tmp/disk" "$tmp/keep/disk" && cp -a "$tmp/a/state" "$tmp/keep/a" && cp -a "$tmp/b/state" "$tmp/keep/b"
as_before() {
	local i
	for i in a b; do
		rm -rf "${tmp:?}/$i/state" "$tmp/$i/root/srv" && cp -a "$tmp/keep/$i" "$tmp/$i/state" && mkdir -p "$tmp/$i/root/srv"
	done
	cp "$tmp/keep/disk" "$tmp/disk"
}

# one SEAM N HOW: 2, it was not reached
one() {
	local rc
	as_before
	up a HOLDFAST_SEAM="$1:$2:$3" && up b || { why="no start"; return 1; }
	hf a node remove c --yes >"$tmp/out" 2>"$tmp/err" &
	local cmd=$!
	until_true 20 eval "stopped a || ! alive a || ! kill -0 $cmd 2>/dev/null"
	if alive a && ! stopped a; then
		wait $cmd; rc=$?
		down a; down b
		[ $rc = 0 ] && return 2
		why="not reached, and exit $rc"
		return 1
	fi
	if [ "$3" = stop ]; then
		# another one removes it; who was stopped goes on
		hf b node remove c --yes >"$tmp/out" 2>"$tmp/err"; rc=$?
		kill -CONT "${pid[a]}"
		wait $cmd
		# what a was at when it stopped may be in the way for a moment
		[ $rc = 0 ] || { hf b node remove c --yes >"$tmp/out" 2>"$tmp/err"; rc=$?; }
	else
		wait $cmd
		crash a
		# a takeover in between
		if [ $((at % 2)) = 1 ]; then
			# once a is dead for b
			until_true 10 hf b online r || { why="r does not come online on b"; return 1; }
		fi
		up a || { why="a does not start"; return 1; }
		hf a node remove c --yes >"$tmp/out" 2>"$tmp/err"; rc=$?
	fi
	case $1:$rc in
	*:0 | remove.done:3) ;;
	*:3) [ "$3" = stop ] || { why="run again: exit $rc"; return 1; } ;;	# who was stopped has done it
	*) why="run again: exit $rc"; return 1 ;;
	esac
	hf a node list >"$tmp/out" 2>"$tmp/err"
	grep -q '^c ' "$tmp/out" && { why="it is still there"; return 1; }
	timeout 20 "$B/holdfastd" -c "$tmp/c/conf" 2>"$tmp/err"; rc=$?
	[ $rc = 5 ] || { why="c starts again: $rc"; return 1; }
	for r in r s; do
		until_true 10 hf b online "$r" || { why="$r does not come online"; return 1; }
		same c b srv/$r || return 1
	done
	hf a online r >"$tmp/out" 2>"$tmp/err"; rc=$?
	[ $rc = 5 ] || { why="two owners: $rc"; return 1; }
	hf b disk check >"$tmp/out" 2>"$tmp/err" || { why="the disk is not sound"; return 1; }
	hf b offline r >/dev/null; hf b offline s >/dev/null
	down a; down b
	return 0
}

steps="
claim.ballot:1 claim.seal:1 claim.accept:1 claim.check:1 base.append:1 trim.confirm:1 trim.row:1 release.append:1 release.row:1
claim.seal:2 claim.accept:2 trim.row:2 release.row:2 claim.accept:3 release.row:3 remove.row:1 remove.done:1"
at=0 reached=0
for s in ${STEPS:-$steps} ; do
	at=$((at + 1))
	one "${s%:*}" "${s#*:}" kill
	case $? in
	0) reached=$((reached + 1)); ok 0 "P1 P4: killed at $s" ;;
	2) ok 0 "killed at $s # SKIP the step was not reached that often" ;;
	*) why="$why
$(tail -3 "$tmp/a/log")"; ok 1 "P1 P4: killed at $s"; for i in a b; do crash $i; done ;;
	esac
done
for s in claim.accept:1 trim.row:2 remove.row:1; do
	one "${s%:*}" "${s#*:}" stop
	case $? in
	0) reached=$((reached + 1)); ok 0 "P1 P4: stopped at $s, while another node removes it" ;;
	*) why="$why
$(tail -3 "$tmp/a/log")"; ok 1 "P1 P4: stopped at $s, while another node removes it"; for i in a b; do crash $i; done ;;
	esac
done
[ -n "$STEPS" ] || { [ $reached -ge 16 ]; ok $? "most steps were reached ($reached)"; }
plan
