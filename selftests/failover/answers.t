#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who asks is answered while the tracker waits for a tree.
# shellcheck disable=SC2034	# what lib.sh reads
LEASE=30s
. "$(dirname "$0")/lib.sh"
cluster a
mkdir -p "$tmp/a/root/srv/t"; echo one >"$tmp/a/root/srv/t/f"
# the second walk is that of a directory that is made
up a HOLDFAST_SEAM=track.walk:2:sleep=20000
until_true 60 hf a node list >/dev/null; ok $? "a daemon"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online"
until_true 10 field_is a r quality events; ok $? "tracked by events"
mkdir "$tmp/a/root/srv/t/new"
sleep 1
timeout 5 "$B/holdfast" -c "$tmp/a/conf" --json status r </dev/null >"$tmp/out" 2>"$tmp/err"; ok $? "status answers"
says out '"quality":"events"' "what it said before"
first=$(field a r generation)
until_true 30 eval '[ "$(field a r generation)" -gt "$first" ]'; ok $? "what was made is committed in the end"
plan
