#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A file that is still written to is left to settle, also where its worker was just about to do something else.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/lib.sh"
cluster a
T=$tmp/a/root/srv/t
mkdir -p "$T"; echo one >"$T/f"
up a HOLDFAST_SEAM=replicator.run:0:sleep=1000; ok $? "a daemon"
hf a resource add r >/dev/null && hf a resource set r settle=6s >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online"
sleep 9
first=$(field a r generation)
echo two >"$T/f"
until_true 10 eval '[ "$(field a r generation)" -gt "$first" ]'; ok $? "a commit"
second=$(field a r generation)
# now its worker wakes to tell the row of it
sleep 0.4
exec 3>>"$T/f"; echo more >&3
sleep 3
is "$(field a r generation)" "$second" "what is not closed waits for settle"
exec 3>&-
until_true 10 eval '[ "$(field a r generation)" -gt "$second" ]'; ok $? "until it is"
plan
