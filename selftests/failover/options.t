#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What is used when something is wrong: without the store, a full disk, too many failures in
# a row, a generation that is no cut, and the hook of a fenced-out owner.
. "$(dirname "$0")/lib.sh"
SIZE=20MiB cluster a b
Ar=$tmp/a/root/srv Br=$tmp/b/root/srv
mkdir -p "$Ar/t" "$Br"
echo one >"$Ar/t/f"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online on a"

# L6, P2: a generation that is no cut is marked, and a takeover may ask for one that is
hf a sync r >/dev/null
cp -a "$Ar/t" "$tmp/cut"
# several, so that one of them runs whatever else this machine does
for w in 1 2 3 4; do
	( i=0; while :; do i=$((i + 1)); echo $i >"$Ar/t/g$w$((i % 7))"; done ) &
	extra_pids="$extra_pids $!"
done
for _ in $(seq 40); do
	hf a --json sync r >"$tmp/out" 2>"$tmp/err"
	grep -q '"consistent":false' "$tmp/out" && break
done
says out '"consistent":false' "P3: a tree that never settles is committed all the same, and marked"
crash a
kill -KILL $extra_pids; wait $extra_pids 2>/dev/null; extra_pids=
hf b resource set r takeover-from=consistent >/dev/null; ok $? "takeover-from = consistent"
run 0 "P3: online restores the newest generation that is a cut" b online r --fenced
is "$(field b r consistent)" true "as status says"
[ "$(cat "$Br/t/f")" = one ]; ok $? "with what it held"
hf b resource set r takeover-from=newest >/dev/null

# the hook of a fenced-out owner
printf '#!/bin/sh\necho "$@" >>%s/hook.log\n' "$tmp" >"$tmp/b/hooks/stale"; chmod +x "$tmp/b/hooks/stale"
up a; until_true 10 field_is a r owner b
run 0 "a takes it from b" a online r --fenced
echo x >"$Br/t/x"
run 6 "b is stale" b sync r
until_true 5 test -s "$tmp/hook.log"
grep -q '^stale r ' "$tmp/hook.log"; ok $? "its hook ran with event and resource"

# a disk that runs full loses nothing, says so, and recovers when room is made
cp -a "$Ar/t" "$tmp/before"
head -c 12M /dev/urandom >"$Ar/t/big"
run 7 "P1: a change that does not fit is not confirmed" a sync r
says err 'full' "and it says why"
run 0 "a bound for what waits" a resource set r rpo=1ms
run 0 "what waits for longer" a status r
says out 'rpo: changes wait for .* longer than rpo allows (1 ms)' "is told"
rm "$Ar/t/big"
run 0 "what fits is still taken" a sync r
! hf a status r | grep -q 'rpo:'; ok $? "and no more when nothing waits"
hf a resource set r rpo= >/dev/null
echo after >"$Ar/t/f"
run 0 "and what comes after it" a sync r
run 0 "the disk is sound" a disk check
crash a
run 0 "the other node has it" b online r --fenced
same a b srv/t; ok $? "all of it"

# more failures in a row than tolerated
hf b offline r >/dev/null; down b
up a; until_true 10 field_is a r owner None
hf a resource set r tolerate=1 on-exceed=failed >/dev/null; ok $? "on-exceed = failed"
down a
up a HOLDFAST_SEAM=commit.append:3+:eio
run 0 "online" a online r
for i in 1 2 3 4 5 6; do echo $i >"$Ar/t/f"; hf a sync r >/dev/null 2>&1; done
until_true 10 field_is a r state failed; ok $? "C41: the resource is failed"
hf a status r >"$tmp/out"; says out 'commit' "and says why"
crash a

# without the store
up a; ok $? "a comes back"
run 0 "what it held is confirmed" a sync r
run 0 "offline" a offline r
down a
up a HOLDFAST_SEAM=disk.read:400+:eio,disk.write:400+:eio
until_true 30 eval '! hf a --json status | grep -q "\"store\":\"ok\""'; ok $? "the store is out of reach"
run 7 "online needs it" a online r
run 0 "--without-store starts with what is here" a online r --without-store
grep -q AUDIT "$tmp/a/log"; ok $? "which is audited"
echo without >"$Ar/t/without"
run 7 "nothing is confirmed meanwhile" a sync r
crash a; up a; ok $? "the store is back"
until_true 20 eval 'hf a sync r'; ok $? "this node's trees become the next generation"
crash a
up b; ok $? "b starts"
run 0 "b takes over" b online r --fenced
is "$(cat "$Br/t/without")" without "P1: with what was written without the store"
plan
