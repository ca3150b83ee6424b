#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# How old something is, is no large number where it becomes new while it is looked at.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/lib.sh"
cluster a b
mkdir -p "$tmp/a/root/srv/t"; echo one >"$tmp/a/root/srv/t/f"
up a && up b HOLDFAST_SEAM="beat.nodes:0:sleep=700,follow.json:0:sleep=1500,follow.step:0:sleep=1000"; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online"
until_true 20 eval '[ "$(field b r warm.state)" = warm ]'; ok $? "the other stands by"
small() { grep -q "\"$1\":" "$tmp/out" && ! grep -qE "\"$1\": *[0-9]{9}" "$tmp/out"; }
run 0 "the nodes" b --json node list
small age_ms; ok $? "their heartbeats are not older than they can be"
large=
for _ in 1 2 3 4 5; do
	hf b --json status r >"$tmp/out"
	small age_ms || large=$(cat "$tmp/out")
done
is "$large" "" "nor is what stands by"
plan
