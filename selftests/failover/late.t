#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P1: that a commit took long does not hold up others: not what is written to a file that stays open, when
# it was one only, or somebody had asked for it; nor one that failed and is tried again.
. "$(dirname "$0")/lib.sh"
cluster a
T=$tmp/a/root/srv/t
mkdir -p "$T"; echo one >"$T/f"; echo one >"$T/open"
gen() { field a r confirmed; }
more() { until_true "$1" eval '[ "$(gen)" -gt '"$g"' ]'; }
# the first capture takes 6 s, and so does the third commit
up a HOLDFAST_SEAM="commit.durable:1:sleep=6000,commit.durable:3:sleep=6000"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online, which took a while"
exec 3>>"$T/open"
g=$(gen); echo two >&3
more 20; ok $? "what is written to a file that is open is committed nonetheless"
g=$(gen); echo two >"$T/f"
more 60; ok $? "a commit that takes a while"
g=$(gen); echo three >&3
more 20; ok $? "what is written to the file after it is committed"
exec 3>&-
# now each does, and the third one fails once
down a; up a HOLDFAST_SEAM="commit.durable:0:sleep=4000,commit.captured:3:eio"
until_true 30 field_is a r state online; ok $? "another daemon"
g=$(gen); echo three >"$T/f"
more 60; ok $? "a commit that takes a while"
g=$(gen); echo four >"$T/f"
more 60; ok $? "and another one"
g=$(gen); echo five >"$T/f"
more 25; ok $? "the next one, which fails, is tried again soon"
grep -q 'injected failure' "$tmp/a/log"; ok $? "it did fail"
plan
