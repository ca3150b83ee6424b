#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P1: while a base is made, part by part, commits are made and confirmed; and a takeover, a stop and the daemon's end
# in the middle of it lose nothing, and wait for nothing.
. "$(dirname "$0")/lib.sh"
cluster a b
Ar=$tmp/a/root/srv/t Br=$tmp/b/root/srv/t
mkdir -p "$Ar" "$Br"
for i in $(seq 120); do echo "$i" >"$Ar/a-file-with-a-name-$i"; done
parts() { up "$1" HOLDFAST_SEAM="make.range:0:eio,make.part:0:sleep=400${2:+,$2}"; }
# how many generations are newer than the newest base, which is of this epoch; nothing: there is none yet
since() { hf "$1" --json history r | $PY -c '
import json,sys
h=json.load(sys.stdin); h=h.get("generations",h) if isinstance(h,dict) else h
e=h[-1]["epoch"]; b=[i for i,g in enumerate(h) if g["base"] and g["epoch"]==e]
print(len(h)-1-b[-1] if b else "")'; }
based() { [ -n "$(since "$1")" ]; }
# change NODE N: the first, one in the middle, the last, one before and one behind them, and one that goes
change() {
	local d=$tmp/$1/root/srv/t
	echo "$2" >"$d/a-file-with-a-name-1"; echo "$2" >"$d/a-file-with-a-name-5$2"; echo "$2" >"$d/a-file-with-a-name-99"
	echo "$2" >"$d/A$2"; echo "$2" >"$d/z$2"; rm -f "$d/a-file-with-a-name-10$2"
}
parts a && hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online"
! based a; ok $? "its first base takes a while"
for i in 1 2 3; do
	change a $i
	hf a sync r >"$tmp/out" 2>&1 || break
done
ok $? "what is written meanwhile is committed and confirmed"
! based a; ok $? "before the base is there"
until_true 60 based a; ok $? "then it is"
change a 4; hf a sync r >/dev/null; ok $? "and a commit after it"
crash a
parts b && hf b online r --fenced >/dev/null; ok $? "another node has it"
same a b srv/t; ok $? "all of it"
change b 5; hf b sync r >/dev/null; ok $? "which commits while it makes a base of its own"
! based b; ok $? "which is not there yet"
crash b
parts a && hf a online r --fenced >/dev/null; ok $? "a takeover before it was"
same a b srv/t; ok $? "has all that was confirmed"
change a 6; hf a sync r >/dev/null && hf a offline r >/dev/null; ok $? "offline in the middle of one"
parts b && hf b online r >/dev/null && same a b srv/t; ok $? "loses nothing"
change b 7; hf b sync r >/dev/null; ok $? "a commit"
down b; ok $? "and a daemon that ends in the middle of one"
parts b && until_true 20 field_is b r state online; ok $? "it goes on"
until_true 60 based b; ok $? "to the base"
change b 8; hf b sync r >/dev/null && hf b offline r >/dev/null && hf a online r >/dev/null && same a b srv/t; ok $? "which tells of all there is"
down b; run 0 "disk check" a disk check
plan
