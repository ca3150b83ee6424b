#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a resource leaves for the next one to find: a stop that came before the store was back,
# files that their owner deleted or whose directory another node lacks, checkpoints that
# nobody can capture, directories that were made for nothing.
. "$(dirname "$0")/lib.sh"
SIZE=20MiB cluster a b
Ar=$tmp/a/root/srv Br=$tmp/b/root/srv
offline_everywhere() { until_true 20 eval '[ "$(field b r owner)" = None ]'; }
# what a start without the store goes by is what was seen last
seen() { until_true 20 eval '[ "$(field a r owner)" = None ] && [ "$(field a r epoch)" = "$(field b r epoch)" ]'; }
gen_of() { field b r generation; }

mkdir -p "$Ar/t" "$Br"
echo one >"$Ar/t/f"
faulty a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null &&
	hf a offline r >/dev/null; ok $? "a generation"

# started without the store, stopped without it
silent a; ok $? "the store is gone for a"
run 0 "online --without-store" a online r --without-store
echo two >"$Ar/t/f"
run 0 "stopped before the store is back" a --json offline r
says out '"spooled":true' "spooled"
back a
offline_everywhere; ok $? "the store is back"
until_true 20 eval '! hf a status r | grep -q unreleased'; ok $? "the stop is ended"
is "$(field a r state)" offline "a stop stays a stop: it is not online"
run 0 "online is asked for" a --json online r
grep -q already "$tmp/out"; [ $? = 1 ]; ok $? "and goes online, instead of saying that it is"
is "$(field a r state)" online "really"
run 0 "offline" a offline r
run 0 "the other node" b online r
is "$(cat "$Br/t/f")" two "P1: has what was written without the store"
hf b offline r >/dev/null

# the same with a restart of the daemon between
seen
silent a; hf a online r --without-store >/dev/null; echo three >"$Ar/t/f"
run 0 "stopped without the store again" a offline r
crash a; rm -f "$tmp/a.gone"; faulty a; ok $? "the daemon starts again, with the store"
until_true 20 eval '! hf a status r | grep -q unreleased'; ok $? "the stop is ended"
is "$(field a r state)/$(field a r owner)" offline/None "and it is offline everywhere"
hf b online r >/dev/null; is "$(cat "$Br/t/f")" three "P1: with what was written"
hf b offline r >/dev/null

# the store is back when it is stopped
seen
silent a; hf a online r --without-store >/dev/null; echo four >"$Ar/t/f"
back a
run 0 "stopped with the store back" a --json offline r
grep -q 'spooled' "$tmp/out"; [ $? = 1 ]; ok $? "nothing is said of a store that is out of reach"
hf b online r >/dev/null; is "$(cat "$Br/t/f")" four "P1: it was committed at once"

# another node owned it meanwhile
hf b offline r >/dev/null; seen
silent a; hf a online r --without-store >/dev/null; echo lost >"$Ar/t/f"
hf a offline r >/dev/null
run 0 "P4: another node owns it meanwhile" b online r
echo five >"$Br/t/f"
run 0 "and commits" b offline r
g=$(gen_of)
back a
until_true 20 eval '! hf a status r | grep -q unreleased'; ok $? "the store is back"
is "$(gen_of)" "$g" "P4: what was stopped does not go over what the other committed"
until_true 20 eval 'hf a --json displaced list r | grep -q unconfirmed'; ok $? "P7: it is kept aside"
run 0 "online" a online r
is "$(cat "$Ar/t/f")" five "P1: restores what was confirmed"
hf a offline r >/dev/null
# and while it still runs
seen
silent a; hf a online r --without-store >/dev/null; echo lost >"$Ar/t/f"
hf b online r >/dev/null; ok $? "another node owns it while it runs without the store"
back a
until_true 20 eval 'hf a status r | grep -q stale'; ok $? "P4: it is stale"
hf b offline r >/dev/null; crash a; faulty a

# one file whose directory the other node has not
mkdir -p "$Ar/deep/er"; echo key >"$Ar/deep/er/f.conf"; chmod 640 "$Ar/deep/er/f.conf"
hf a resource add f >/dev/null; hf a checkpoint add f /srv/deep/er/f.conf >/dev/null
run 0 "one file in a directory" a online f
run 0 "offline" a offline f
touch "$Br/deep"
run 5 "what is in the way of its directory is a refusal" b online f
says err 'move away' "that says what to do"
rm "$Br/deep"
run 0 "the missing directory is made" b online f
is "$(cat "$Br/deep/er/f.conf") $(stat -c %a "$Br/deep/er/f.conf")" "key 640" "P6: with the file"
is "$(stat -c '%a %U' "$Br/deep/er")" "755 root" "as for a tree"

# a file that its owner deleted is no missing one
rm "$Br/deep/er/f.conf"
run 0 "its owner deletes it" b sync f
crash b; up b; until_true 10 field_is b f state online; ok $? "the daemon starts again without it"
run 0 "sync" b sync f
run 0 "offline" b offline f
[ -e "$Ar/deep/er/f.conf" ]; ok $? "(the other node has an old one)"
run 0 "dry run" a online f --dry-run
run 0 "P5: the other node goes online" a online f
[ ! -e "$Ar/deep/er/f.conf" ]; ok $? "P1: without the file"
run 0 "offline" a offline f
run 0 "and the first" b online f
echo again >"$Br/deep/er/f.conf"
run 0 "it comes back" b sync f
hf b offline f >/dev/null; hf a online f >/dev/null
is "$(cat "$Ar/deep/er/f.conf")" again "P1: everywhere"
run 0 "diff" a diff f; why=$(cat "$tmp/out"); [ -z "$why" ]; ok $? "the marks beside the entries are no entries"
hf a offline f >/dev/null

# a checkpoint that its owner cannot capture
run 0 "r is online on a" a online r
mkdir -p "$Br/typo"; echo x >"$Br/typo/x"
crash b; up b; ok $? "b starts just now: it cannot know yet whether a lives"
run 5 "a path that its owner has not" b checkpoint add r /srv/typo
says err 'not there' "the owner's reason is told"
run 0 "checkpoints" b --json checkpoint list r
grep -q typo "$tmp/out"; [ $? = 1 ]; ok $? "it is not registered"
mkdir -p "$Ar/empty"
run 5 "one that is empty on its owner" b checkpoint add r /srv/empty
says err empty "said"
run 0 "unless --allow-empty" b checkpoint add r /srv/empty --allow-empty
run 5 "not there on its owner, asked there" a checkpoint add r /srv/typo2
hf a offline r >/dev/null
run 0 "P5: none of it is in the way of a failover" b online r
hf b offline r >/dev/null
mkdir -p "$Ar/typo"; echo x >"$Ar/typo/x"
hf a online r >/dev/null
run 0 "added again when its owner has it" b checkpoint add r /srv/typo
hf a offline r >/dev/null

# a failed online leaves nothing that it made
mkdir -p "$Ar/n1/m/t" "$Ar/n2"; echo x >"$Ar/n1/m/t/x"; echo y >"$Ar/n2/y"
hf a resource add n >/dev/null; hf a checkpoint add n /srv/n1/m/t >/dev/null; hf a checkpoint add n /srv/n2 >/dev/null
hf a online n >/dev/null; hf a offline n >/dev/null
touch "$Br/n2"
hf b online n >"$tmp/out" 2>"$tmp/err"; is $? 5 "one checkpoint cannot be restored"
[ ! -e "$Br/n1" ]; ok $? "the directories of the other are not left"
rm "$Br/n2"
run 0 "and when it can" b online n
is "$(cat "$Br/n1/m/t/x" "$Br/n2/y" | tr -d '\n')" xy "both are there"
run 0 "the disk is sound" b disk check
plan
