#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A commit that failed is tried again soon, however long the one before it took.
# shellcheck disable=SC2034	# what lib.sh reads
LEASE=30s	# a heartbeat each 6 s: what would wake it otherwise
. "$(dirname "$0")/lib.sh"
cluster a
mkdir -p "$tmp/a/root/srv/t"; echo one >"$tmp/a/root/srv/t/f"
up a HOLDFAST_SEAM="commit.captured:2:sleep=4000,commit.captured:3:eio"
until_true 60 hf a node list >/dev/null; ok $? "a daemon"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online"
first=$(field a r generation)
echo two >"$tmp/a/root/srv/t/f"
until_true 15 eval '[ "$(field a r generation)" -gt "$first" ]'; ok $? "a commit that takes long"
second=$(field a r generation)
echo three >"$tmp/a/root/srv/t/f"
until_true 5 grep -q "injected failure before the commit" "$tmp/a/log"; ok $? "one that fails"
until_true 10 eval '[ "$(field a r generation)" -gt "$second" ]'; ok $? "is tried again, before ten times as long"
plan
