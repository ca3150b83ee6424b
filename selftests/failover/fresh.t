#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What one node confirmed, another answers with, before its heartbeat looked at the registrations again.
. "$(dirname "$0")/lib.sh"
cluster a b
mkdir -p "$tmp/a/root/srv/t" "$tmp/b/root/srv/t"
echo one >"$tmp/a/root/srv/one.conf"
echo changed >"$tmp/b/root/srv/one.conf"
echo 1 >"$tmp/a/root/srv/t/f"
# b's heartbeat never looks: what it knows, it read for the verb that it answers
up a && up b HOLDFAST_SEAM=beat.registrations:0:eio; ok $? "two nodes"

run 0 "a resource" a resource add o
run 0 "b knows it" b history o
hf a checkpoint add o /srv/one.conf >/dev/null && hf a online o >/dev/null; ok $? "its checkpoint"
run 0 "diff on the other node" b diff o
says out '/srv/one.conf$' "knows the checkpoint"

run 0 "another checkpoint" a checkpoint add o /srv/t
run 0 "is there to be deleted" b checkpoint delete o /srv/t --dry-run
run 0 "and deleted" a checkpoint delete o /srv/t
run 3 "is not any more" b checkpoint delete o /srv/t --dry-run

# the name stays, and means another log
run 0 "generations" b history o
says out '[0-9]' "are listed"
hf a offline o >/dev/null && hf a resource delete o --yes >/dev/null; ok $? "the resource is deleted"
run 3 "history of what is gone" b history o
run 3 "pin" b history pin o 1 --name x
hf a resource add o >/dev/null && hf a resource add p >/dev/null; ok $? "and made again"
hf b history p >/dev/null
hf a resource delete o --yes >/dev/null && hf a resource delete p --yes >/dev/null &&
	hf a resource add p >/dev/null && hf a resource add o >/dev/null &&
	hf a checkpoint add o /srv/one.conf >/dev/null && hf a online o >/dev/null &&
	hf a offline o >/dev/null; ok $? "in another place"
run 0 "the other node's pin goes to the log of now" b history pin o 1 --name x
run 0 "which is listed" a history o
says out x "with it"
run 0 "what there is to delete" b --json resource delete o --dry-run
says out '"checkpoints": *1' "is counted as it is now"
plan
