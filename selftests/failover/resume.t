#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A restore that was interrupted at any step is finished first, or void when a newer epoch
# exists; a restore that fails keeps the resource offline; the store going away and back.
. "$(dirname "$0")/lib.sh"
cluster a b
up a; ok $? "a starts"
A=$tmp/a/root/srv/r Bd=$tmp/b/root/srv/r
mkdir -p "$A/d"; for i in $(seq 20); do echo "good $i" >"$A/d/$i"; done
hf a resource add r >/dev/null; hf a checkpoint add r /srv/r >/dev/null; hf a online r >/dev/null
run 0 "sync" a sync r
hf a offline r >/dev/null
prepare() { rm -rf "$Bd"; mkdir -p "$Bd/d"; echo old >"$Bd/d/1"; chmod 700 "$Bd/d"; echo extra >"$Bd/extra"; }
for s in restore.write:3 restore.rename:1 restore.rename:10 restore.remove:1 restore.meta:1 claim.seal:1 claim.accept:1 claim.check:1; do
	prepare
	up b HOLDFAST_SEAM="$s:kill"
	hf b online r >"$tmp/out" 2>"$tmp/err"
	if ! until_true 2 eval '! alive b'; then
		ok 0 "killed at $s # SKIP the step was not reached"
		hf b offline r >/dev/null; down b
		continue
	fi
	wait "${pid[b]}" 2>/dev/null
	up b; ok $? "killed at $s: the daemon starts again"
	# when the claim was not accepted, nothing was begun, and online is asked for again
	until_true 10 eval '[ "$(field b r state)" != online-pending ]'
	[ "${s%%.*}" = claim ] && hf b online r >/dev/null 2>"$tmp/err"
	is "$(field b r owner)" b "P5: and the takeover is finished"
	why=$(rsync -aHAXc --delete --dry-run -i "$A/" "$Bd/"); [ -z "$why" ]; ok $? "P6: the tree is the generation"
	why=$(find "$Bd" -name '.holdfast*'); [ -z "$why" ]; ok $? "no temporary file is left"
	hf b offline r >/dev/null; down b
done
prepare
up b HOLDFAST_SEAM=restore.rename:5:kill
hf b online r >/dev/null 2>&1; crash b
run 0 "another node takes over after the interruption" a online r --fenced
up b; ok $? "the interrupted one comes back"
until_true 10 field_is b r owner a
[ "$(field b r owner)" = a ]; rc=$?; why=$(hf b --json status r; tail -4 "$tmp/b/log"); ok $rc "P5: its restore is void"
run 5 "it does not own it" b sync r
hf a offline r >/dev/null; down b

# a failing restore
prepare
up b HOLDFAST_SEAM=restore.rename:5:eio
hf b online r >"$tmp/out" 2>"$tmp/err"; [ $? -ne 0 ]; ok $? "P5: a restore that fails fails the takeover"
says err /srv/r "names the path"
is "$(field b r state)" failed "the state is failed"
run 0 "another node may try: the claim was released" a online r
hf a offline r >/dev/null
run 0 "reset" b resource reset r
until_true 10 field_is b r state offline; ok $? "reset leaves failed"
run 0 "and the next attempt works" b online r
hf b offline r >/dev/null; down b

# errors of the store
up b HOLDFAST_SEAM=commit.append:2:eio
hf b online r >/dev/null
echo x >"$Bd/x"; hf b sync r >/dev/null 2>&1
echo y >"$Bd/y"
run 0 "a failed append is tried again under a new claim" b sync r
run 0 "diff" b diff r; why=$(cat "$tmp/out"); [ -z "$why" ]; ok $? "P1: and everything is there"
cp -a "$Bd" "$tmp/oracle"
crash b
run 0 "for the next owner too" a online r --fenced
why=$(rsync -aHAXc --delete --dry-run -i "$tmp/oracle/" "$A/"); [ -z "$why" ]; ok $? "P1: byte for byte"

# a stop without the store: spooled, and ended when the store is back
up b HOLDFAST_SEAM=commit.append:0:eio
until_true 10 field_is b r owner a
hf a offline r >/dev/null
hf b online r >/dev/null; ok $? "b owns it, and cannot append"
echo spooled >"$Bd/spooled"
hf b sync r >"$tmp/out" 2>"$tmp/err"; [ $? -ne 0 ]; ok $? "sync does not say that it is confirmed"
run 0 "a stop without the store is no failure" b --json offline r
says out '"spooled":true' "but says so"
until_true 3 field_is b r state online; [ $? -ne 0 ]; ok $? "it is not online here any more"
crash b; up b; ok $? "the store is back"
until_true 15 eval '[ "$(field b r owner)" = None ]'; ok $? "the last changes are committed and released"
run 0 "another node goes online without --fenced" a online r
is "$(cat "$A/spooled")" spooled "P1: with what was spooled"
cmp -s "$A/y" "$Bd/y"; ok $? "and all before"
down b

# one that does not answer at all: status is memory only
hf a resource set r commit-timeout=2s >/dev/null
hf a offline r >/dev/null; down a
up a HOLDFAST_SEAM=commit.append:1:sleep=9000
hf a online r >/dev/null
echo z >"$A/z"
until_true 5 field_is a r state online; ok $? "status answers while the store does not"
hf a sync r >"$tmp/out" 2>"$tmp/err"; is $? 7 "sync gives up with 7 while the store is silent"
until_true 15 hf a sync r; ok $? "and works when it answers again"
plan
