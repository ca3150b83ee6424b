#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What waits for the store is not forgotten when it is back: what was here when a resource went online without it,
# and a checkpoint that came while it was away, though nothing has changed since.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/lib.sh"
SIZE=20MiB cluster a b
Ar=$tmp/a/root/srv

mkdir -p "$Ar/t"; echo one >"$Ar/t/f"
faulty a; ok $? "a daemon"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null &&
	hf a offline r >/dev/null; ok $? "a generation"
until_true 20 eval '[ "$(field a r owner)" = None ]'
first=$(field a r generation)
echo two >"$Ar/t/f"
silent a; ok $? "the store is gone"
run 0 "online without it" a online r --without-store
back a
until_true 20 eval 'grep -q "the store is back" "$tmp/a/log"'; ok $? "it is back"
until_true 10 eval '[ "$(field a r generation)" -gt "$first" ]'; ok $? "P1: what was here is committed, though nothing has changed since"
crash a
up b; ok $? "the other node"
run 0 "takes over" b online r --fenced
is "$(cat "$tmp/b/root/srv/t/f")" two "with it"
hf b offline r >/dev/null

# its log must be claimed anew, which fails once
mkdir -p "$Ar/u"; echo three >"$Ar/u/f"
up a HOLDFAST_SEAM=note.row:1:eio,claim.read:2:eio && hf a online r >/dev/null; ok $? "online again"
first=$(field a r generation)
sleep 2		# its row is to tell of that
hf b checkpoint add r /srv/u >"$tmp/add" 2>&1 & add=$!
until_true 15 eval '[ "$(field a r generation)" -gt "$first" ]'; ok $? "P1: a checkpoint that came is captured when the log is claimed again"
wait $add; is $? 0 "it is told"
hf a offline r >/dev/null; crash a

# a checkpoint that cannot be taken up just then: for want of descriptors, or of memory
up a HOLDFAST_SEAM=reload.add:1:eio && hf a online r >/dev/null; ok $? "online once more"
mkdir -p "$Ar/v"; echo five >"$Ar/v/f"
first=$(field a r generation)
hf b checkpoint add r /srv/v >"$tmp/add" 2>&1 & add=$!
until_true 10 grep -q "srv/v cannot be captured" "$tmp/a/log"; ok $? "a checkpoint that cannot be captured yet"
until_true 15 eval '[ "$(field a r generation)" -gt "$first" ]'; ok $? "P1: it is tried again"
wait $add; is $? 0 "and who registered it is told"
run 0 "its warning" a status r
! grep -q "checkpoint:" "$tmp/out"; ok $? "is over"
hf a offline r >/dev/null; crash a

# a base that fails, with nothing to commit after it
up a HOLDFAST_SEAM=base.append:1:eio; ok $? "a again"
mkdir -p "$Ar/q"; echo one >"$Ar/q/f"
hf b resource add q >/dev/null && hf b checkpoint add q /srv/q --allow-empty >/dev/null && hf a online q >/dev/null; ok $? "another resource"
until_true 10 grep -q "q: base:" "$tmp/a/log"; ok $? "its first base fails"
until_true 15 eval 'hf a --json history q | grep -q "\"base\":true"'; ok $? "it is tried again, though nothing has changed since"
plan
