#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who stands by does not read a log once more that is taken from him just then.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/lib.sh"
cluster a b
mkdir -p "$tmp/a/root/srv/t" "$tmp/b/root/srv"
head -c 6M /dev/urandom >"$tmp/noise"
split -b 60k "$tmp/noise" "$tmp/a/root/srv/t/f"
# between that it is to be followed and that it is
up a && up b HOLDFAST_SEAM=follow.step:0:sleep=5000; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online"
until_true 30 eval '[ "$(field b r warm.read)" -gt 6000000 ]'; ok $? "the other stands by"
hf a offline r >/dev/null
until_true 30 field_is b r owner None
before=$(field b r warm.read)
sleep 2.5	# into the next look
run 0 "and takes over" b online r
sleep 7
hf b offline r >/dev/null
after=$(field b r warm.read)
why="$before, then $after"; [ $((after - before)) -lt 3000000 ]; ok $? "it reads the log no second time"
plan
