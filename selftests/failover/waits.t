#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P1: what could not be marked is marked later, and what a mount covered is captured when it comes to light, though
# nothing else changes meanwhile.
# shellcheck disable=SC2034	# what lib.sh reads
LEASE=30s
. "$(dirname "$0")/lib.sh"
cluster a
T=$tmp/a/root/srv/t U=$tmp/a/root/srv/u
mkdir -p "$T/m" "$U/d"; echo one >"$T/f"; echo below >"$T/m/f"; echo one >"$U/d/f"
# the third mark is that of u/d
up a HOLDFAST_SEAM=track.mark:3:eio
until_true 60 hf a node list >/dev/null; ok $? "a daemon"
hf a resource add u >/dev/null && hf a checkpoint add u /srv/u >/dev/null && hf a online u >/dev/null; ok $? "online"
first=$(field a u generation)
grep -q "can be marked" "$tmp/a/log"; ok $? "a directory could not be marked"
echo two >"$U/d/f"
until_true 10 eval '[ "$(field a u generation)" -gt "$first" ]'; ok $? "what was written in it is committed when it can be"

if mount -t tmpfs none "$T/m" 2>/dev/null; then
	extra_mounts=$T/m
	hf a resource add t >/dev/null && hf a checkpoint add t /srv/t >/dev/null && hf a online t >/dev/null; ok $? "another with a mount in it"
	first=$(field a t generation)
	umount "$T/m"; extra_mounts=
	until_true 10 eval '[ "$(field a t generation)" -gt "$first" ]'; ok $? "what it covered is captured when it is gone"
else
	ok 0 "# SKIP nothing can be mounted here"
fi
plan
