#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P7: what is kept aside is what was changed here, not what merely grew old.
. "$(dirname "$0")/lib.sh"
cluster a b
A=$tmp/a/root/srv/t Bd=$tmp/b/root/srv/t
mkdir -p "$A/d"; for i in 1 2 3 4 5; do echo "old $i" >"$A/f$i"; done; echo x >"$A/d/x"
sleep 0.1
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online on a"
run 0 "offline" a offline r
run 0 "online on b" b online r
for i in 1 2; do echo "new $i" >"$Bd/f$i"; done; rm "$Bd/f3"; rm -r "$Bd/d"
run 0 "offline on b" b offline r
echo "changed on a while offline" >"$A/f2"
echo "made on a while offline" >"$A/mine"
run 0 "back on a" a --json online r
same a b srv/t; ok $? "a has what b had"
hf a --json displaced list r >"$tmp/out"
says out '"rel":"f2"' "P7: what was changed on a is kept"
says out '"rel":"mine"' "and what was made there"
! grep -q '"rel":"f1"' "$tmp/out"; ok $? "what was out of date is not"
! grep -q '"rel":"f3"' "$tmp/out"; ok $? "nor what b deleted and a had not touched"
! grep -q '"rel":"d/x"' "$tmp/out"; ok $? "nor what was in a directory that is gone"

# a crash: what is unconfirmed is kept once the node returns, the rest is out of date
sleep 0.1; hf a sync r >/dev/null
crash a
echo "never confirmed" >"$A/f4"
run 0 "b takes over" b online r --fenced
echo "b's" >"$Bd/f4"; echo "b's" >"$Bd/f5"
run 0 "sync on b" b sync r
up a; until_true 10 field_is a r unconfirmed.generation "$(field a r unconfirmed.generation)"
until_true 10 eval 'hf a --json displaced list r | grep -q unconfirmed'; ok $? "a says what it held"
run 0 "offline on b" b offline r
run 0 "online on a" a online r
same a b srv/t; ok $? "a has what b had"
is "$(hf a --json displaced list r | grep -o '"rel":"f5"' | wc -l)" 0 "f5 was out of date, and is not kept"
plan
