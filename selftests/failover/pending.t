#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# a checkpoint added while its resource is on its way online
. "$(dirname "$0")/lib.sh"
cluster a b
up b; up a HOLDFAST_SEAM=restore.write:1:sleep=4000; ok $? "up"
hf b resource add r >/dev/null
mkdir "$tmp/b/root/srv/d" "$tmp/a/root/srv/e"; echo one >"$tmp/b/root/srv/d/f"; echo e >"$tmp/a/root/srv/e/f"
hf b checkpoint add r /srv/d >/dev/null
run 0 "online b" b online r
run 0 "offline b" b offline r
hf a online r >/dev/null & o=$!
until_true 5 field_is a r state online-pending; ok $? "a is on its way"
run 0 "add a checkpoint meanwhile" ${NODE:-a} checkpoint add r /srv/e
cat $tmp/out | sed 's/^/# /'
wait $o; ok $? "online"
sleep 2
echo two >"$tmp/a/root/srv/e/f"
run 0 "sync" a sync r
hf a status r | sed 's/^/# a /'
crash a
run 0 "b takes over" b online r --fenced --allow-empty
is "$(cat $tmp/b/root/srv/e/f)" two "P1: the added checkpoint came along"
plan
