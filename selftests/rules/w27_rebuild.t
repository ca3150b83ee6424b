#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W27: what is lost or damaged on the store is made anew from the files of its owner: contents, and a log
# that cannot be read. Told, audited, by the owner alone; killed anywhere on the way, nobody ever finds
# less than was there and takes it for all.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
cluster a b
A=$tmp/a/root/srv B_=$tmp/b/root/srv
damage() { "$PY" "$here/damage.py" "$1" "$tmp/copy" "$tmp/disk" >"$tmp/out" 2>"$tmp/err"; }
copy() { cp "$tmp/disk" "$tmp/copy"; }
mkdir -p "$A/t/d" "$A/keys"; echo one >"$A/t/f"; ln "$A/t/f" "$A/t/link"; echo deep >"$A/t/d/x"
head -c 20000 /dev/urandom >"$A/keys/k"; chmod 600 "$A/keys/k"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a checkpoint add r /srv/keys --crypto >/dev/null
run 5 "before there is a generation there is nothing to make anew" a resource rebuild r --yes
copy
run 0 "online" a online r
hf a history pin r 1 --name early >/dev/null; ok $? "a generation is pinned"

# nothing is wrong
run 0 "nothing is damaged" a resource rebuild r --dry-run
says out 'log can be read' "a dry run says so"
says out '^0 entries' "and of contents"
before=$(field a r generation)
run 0 "made anew all the same" a --json resource rebuild r
is "$($PY -c "import json; d=json.load(open('$tmp/out')); print(d['unreadable'], d['damaged'], d['paths'], d['pins'], d['state'])")" "False 0 [] [] online" "nothing was damaged"
is "$(field a r generation)" "$before" "so there is no new generation"
run 0 "and history is as it was" a diff r 1 "$before"

# by the owner alone
run 5 "on another node" b resource rebuild r --yes
says err 'owned by a' "it names the owner"
says err 'rebuild it there' "and says what to do"
run 3 "what is not registered" a resource rebuild nope --yes

# contents of files
copy; head -c 3000000 /dev/urandom >"$A/t/large"; ln "$A/t/large" "$A/t/d/same"; hf a sync r >/dev/null
hf a history pin r "$(field a r generation)" --name bad >/dev/null; ok $? "a generation with them is pinned"
damage contents; ok $? "contents are damaged"
run 8 "disk check finds it" a disk check
run 8 "and another node cannot restore it" b restore r --to "$tmp/b/try"; rm -rf "$tmp/b/try"
run 0 "a dry run" a resource rebuild r --dry-run
says out '^  /srv/t/.*\(large\|same\)$' "names the file"
run 8 "and mends nothing" a disk check
run 0 "W27: rebuild" a --json resource rebuild r
$PY -c "
import json; d=json.load(open('$tmp/out'))
assert d['damaged'] >= 1 and not d['unreadable'], d
assert all(p in ('/srv/t/large', '/srv/t/d/same') for p in d['paths']) and d['paths'], d
assert d['pins'] == ['bad'], d" 2>"$tmp/err"; ok $? "it tells of the files, and of the pin that cannot be made again"
run 0 "history" a history r
says out early "a pin that is sound stays"
! grep -q bad "$tmp/out"; ok $? "the other one is gone"
run 0 "P11: all of the newest generation can be read" b restore r --to "$tmp/b/try"
cmp -s "$A/t/large" "$tmp/b/try/srv/t/large" 2>/dev/null || [ -n "$(find "$tmp/b/try" -name large -exec cmp {} "$A/t/large" \; -print)" ]; ok $? "as it is on its owner"
rm -rf "$tmp/b/try"
hf a --json report r >"$tmp/out"
says out '"what":"resource rebuild r"' "it is audited"
is "$(hf b --json report r | $PY -c "import json,sys; print([(f['what'], f['exit']) for f in json.load(sys.stdin)['forced']])")" "[('resource rebuild r', 5)]" "what was refused, too"
grep -q 'AUDIT: rebuilt from this node.s trees' "$tmp/a/log"; ok $? "the log has it"
! grep -q 'keys/k' "$tmp/a/log"; ok $? "and no name of a crypto checkpoint"
crash a
run 0 "the other takes over" b online r --fenced
same a b srv/t && same a b srv/keys; ok $? "with all of it, hard links too"
up a; hf b offline r >/dev/null; run 0 "and back" a online r

# the log itself, while it is online
copy; for i in 1 2 3; do echo "$i" >"$A/t/f"; hf a sync r >/dev/null; done
hf a resource rebuild r >/dev/null		# so that all that counts of it was written since the copy
echo 4 >"$A/t/f"; hf a sync r >/dev/null; hf a offline r >/dev/null; hf a online r >/dev/null; echo 5 >"$A/t/f"; hf a sync r >/dev/null
before=$(field a r generation)
damage records; ok $? "the log is damaged"
run 8 "disk check finds it" a disk check
run 8 "nobody else can read it" b diff r
echo 6 >"$A/t/f"
run 0 "W27: rebuild, while it is online" a resource rebuild r
says out 'could not be read' "says what became of history"
run 0 "the disk is sound" a disk check
[ "$(field a r generation)" -gt "$before" ]; ok $? "generations go on"
crash a
run 0 "the other takes over" b online r --fenced
is "$(cat "$B_/t/f")" 6 "P1: with what was changed last"
same a b srv/t && same a b srv/keys; ok $? "and all the rest"
echo more >"$B_/t/more"; run 0 "it goes on there" b sync r
up a; hf b offline r >/dev/null; run 0 "and back again" a online r
is "$(cat "$A/t/more")" more "with that"

# the log, and the owner's daemon with it
copy; hf a resource rebuild r >/dev/null; hf a offline r >/dev/null; hf a online r >/dev/null; echo 7 >"$A/t/f"; hf a sync r >/dev/null
before=$(field a r generation)
sleep 0.7; crash a; damage records; ok $? "damaged while no daemon runs"
echo 8 >"$A/t/f"; echo new >"$A/t/while-away"
up a; until_true 10 field_is a r state failed; ok $? "its owner cannot go on"
run 8 "nor another one, whatever it says" b online r --fenced
run 5 "rebuild there" b resource rebuild r --yes
says err 'a (epoch' "is refused"
run 0 "a dry run" a resource rebuild r --dry-run; says out 'would begin anew' "says what would be"
is "$(field a r state)" failed "and does nothing"
run 0 "W27: rebuild" a resource rebuild r
says out 'history is gone' "says so"
is "$(field a r state)" online "it is online"
[ "$(field a r generation)" -gt "$before" ]; ok $? "its generations are newer than those that are lost"
run 0 "the disk is sound" a disk check
copy; head -c 1000000 /dev/urandom >"$A/t/late"; hf a sync r >/dev/null
damage contents; ok $? "contents are damaged, in the term in which the log began anew"
run 8 "disk check finds it" a disk check
run 0 "W27: rebuild" a resource rebuild r
says out '^  /srv/t/late$' "names the file"
run 0 "what history has of it stays as it is, the newest generation" a resource rebuild r --dry-run
says out '^0 entries' "has nothing that is damaged"
rm "$A/t/late"
run 0 "sync" a sync r
crash a; run 0 "the other takes over" b online r --fenced
same a b srv/t && same a b srv/keys; ok $? "P1: with all that was there, of when no daemon ran too"
up a; hf b offline r >/dev/null; hf a online r >/dev/null

# all that this node's area had of it
copy; hf a resource rebuild r >/dev/null; hf a offline r >/dev/null; hf a online r >/dev/null; head -c 300000 /dev/urandom >"$A/t/big"; hf a sync r >/dev/null
sleep 0.7; damage lost; ok $? "the log's part of the disk is zeros"
run 8 "disk check finds it" a disk check
run 0 "W27: rebuild" a resource rebuild r
run 0 "the disk is sound" a disk check
hf a offline r >/dev/null; run 0 "another node has it" b online r
same a b srv/t; ok $? "whole"
hf b offline r >/dev/null; hf a online r >/dev/null

# begun anew, and what is here cannot be captured: nobody is told of a log that has not everything
copy; hf a resource rebuild r >/dev/null; hf a offline r >/dev/null; hf a online r >/dev/null; echo 10 >"$A/t/f"; hf a sync r >/dev/null
down a; up a HOLDFAST_SEAM=commit.append:1:eio,commit.captured:2+:eio
until_true 10 field_is a r state online; ok $? "a daemon whose commits fail"
damage records; ok $? "the log is damaged"
echo 11 >"$A/t/f"
run 8 "a write failed, and the log cannot be claimed anew" a sync r
run 7 "rebuild claims it, and cannot commit" a resource rebuild r
! until_true 4 hf b diff r; ok $? "P1: no base tells of what is not whole"
run 8 "nobody else can read it" b diff r
run 8 "and nothing is confirmed in it" a sync r
down a; up a; until_true 10 field_is a r state failed; ok $? "its owner cannot go on"
run 0 "W27: rebuild" a resource rebuild r
run 0 "the disk is sound" a disk check
is "$(hf b restore r --to "$tmp/b/try" >/dev/null; cat "$tmp/b/try/srv/t/f")" 11 "P1: with what was changed last"; rm -rf "$tmp/b/try"

# stopped: nobody owns it, and who had it last has its files
copy; hf a resource rebuild r >/dev/null; echo 9 >"$A/t/f"; hf a offline r >/dev/null
run 5 "while its log can be read it is brought online first" a resource rebuild r
says err 'bring it online first' "says so"
sleep 0.7; damage records
run 8 "a log that is damaged" a online r
run 5 "not by who had it before" b resource rebuild r --yes
run 0 "W27: by who had it last" a resource rebuild r
is "$(field a r state)" offline "and it is offline, as before"
run 0 "another node brings it online" b online r
is "$(cat "$B_/t/f")" 9 "with the files of who had it last"
run 0 "the disk is sound" b disk check
hf b offline r >/dev/null; hf a online r >/dev/null

# killed on the way
for seam in claim.seal claim.accept claim.check commit.captured commit.durable rebuild.base base.append trim.confirm trim.row; do
	copy; hf a resource rebuild r >/dev/null; hf a offline r >/dev/null; hf a online r >/dev/null; echo "$seam" >"$A/t/f"; hf a sync r >/dev/null
	sleep 0.7; crash a; damage records
	up a; until_true 10 field_is a r state failed
	down a; up a HOLDFAST_SEAM=$seam:1:kill
	hf a resource rebuild r >/dev/null 2>&1
	wait "${pid[a]}" 2>/dev/null; rm -f "$tmp/a/run/holdfastd.sock"
	hf b online r --fenced >"$tmp/out" 2>"$tmp/err"; rc=$?
	why="exit $rc"; [ $rc = 8 ] && grep -q 'is damaged' "$tmp/err"; ok $? "P1: killed at $seam: nobody takes what is left for all"
	up a
	run 0 "and it is rebuilt when its owner is back" a resource rebuild r
	is "$(field a r state)" online "online"
done
run 0 "the disk is sound" a disk check
crash a; run 0 "the other takes over" b online r --fenced
same a b srv/t; ok $? "with everything"

# fenced out
up a; until_true 10 field_is a r owner b
run 6 "who was fenced out of it" a resource rebuild r --yes
grep -q "holdfastd: r: AUDIT: rebuilt" "$tmp/a/log"; ok $? "all of it was told"
plan
