#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W7: captured when it is added, on the node that owns the resource, whichever was asked, and when it
# goes offline; the first generation; missing and empty paths, a lost mount, the delete-guard.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv B_=$tmp/b/root/srv
mkdir -p "$A/one" "$B_/one"; echo first >"$A/one/f"; echo other >"$B_/one/f"
up a && up b; ok $? "two nodes"

# the first generation is made where it is first brought online
hf b resource add r >/dev/null
run 0 "added on one node while it is offline" b checkpoint add r /srv/one
is "$(field b r generation)" 0 "no generation has it yet"
run 0 "online on the other" a online r
is "$(field a r generation)" 1 "W7: that makes the first"
echo unsaid >"$A/one/late"
run 0 "offline" a offline r
[ "$(field a r generation)" -ge 2 ]; ok $? "W7: and offline the last"
run 0 "the other takes over" b online r
is "$(cat "$B_/one/f" "$B_/one/late" | tr '\n' ' ')" "first unsaid " "P1: with what nobody had asked to be captured"
is "$(hf b --json displaced list r | grep -c '"reason"')" 1 "P7: what it had itself is kept aside"

# added on a node that does not own it
mkdir -p "$B_/two" "$A/two"; echo owner >"$B_/two/f"; echo asker >"$A/two/f"
run 0 "added on a, while b has it" a checkpoint add r /srv/two
says out 'generation [0-9][0-9]* has it' "waits, and prints the generation"
run 0 "its owner has captured it" b diff r
[ ! -s "$tmp/out" ] || grep -q 'no difference\|nothing' "$tmp/out"; ok $? "nothing is left to capture"
crash b
run 0 "P1: whoever takes over" a online r --fenced
is "$(cat "$A/two/f")" owner "has the owner's, not the asker's"
up b; ok $? "b is back"
run 4 "added again" b checkpoint add r /srv/two
rm -r "$A/one/late"; mkdir -p "$B_/three"; echo x >"$B_/three/f"
run 5 "what the owner has not" b checkpoint add r /srv/three
says err 'there' "is refused with its reason"; says err 'a' "by the owner"
mkdir "$A/three"
run 5 "nor what is empty there" b checkpoint add r /srv/three
says err 'is empty on the node that has r online' "said"
run 0 "nothing of that" b --json checkpoint list r
! grep -q three "$tmp/out"; ok $? "stays registered"
run 0 "unless --allow-empty" b checkpoint add r /srv/three --allow-empty
says out 'generation' "captured as empty"
hf a offline r >/dev/null

# missing and empty, before anybody has it
hf a resource add m >/dev/null
run 5 "a path that is not there" a checkpoint add m /srv/none
says err 'allow-empty' "says what would do"
mkdir "$A/none"; run 5 "an empty one" a checkpoint add m /srv/none
says err 'empty' "says so"
rmdir "$A/none"; run 0 "--allow-empty" a checkpoint add m /srv/none --allow-empty
run 5 "seeding it needs it too" a online m
is "$(field a m state)" offline "refused before anything happens"
run 0 "when it is meant" a online m --allow-empty
run 5 "where it is online it must be there" a checkpoint add m /srv/none2 --allow-empty
says err '/srv/none2 is not there, and m is online here.*make it, empty with --allow-empty' "and what to do is said"
hf a checkpoint list m >"$tmp/out"; ! grep -q none2 "$tmp/out"; ok $? "it is not registered"
mkdir "$A/none2"; run 0 "once it is" a checkpoint add m /srv/none2 --allow-empty
hf a checkpoint delete m /srv/none2 --yes >/dev/null
run 0 "offline" a offline m
run 0 "an empty generation is one" b online m
[ -d "$B_/none" ] && [ -z "$(ls "$B_/none")" ]; ok $? "an empty directory"
hf b offline m >/dev/null

# a tree whose mount is gone
if mkdir -p "$A/mnt" && mount -t tmpfs none "$A/mnt" 2>/dev/null; then
	extra_mounts="$A/mnt"; mkdir "$A/mnt/t"; for i in $(seq 20); do echo "$i" >"$A/mnt/t/$i"; done
	hf a resource add l >/dev/null; hf a checkpoint add l /srv/mnt/t >/dev/null; hf a online l >/dev/null; ok $? "a tree on a mount"
	umount -l "$A/mnt"; extra_mounts=
	run 5 "P5: without its mount it is lost, not empty" a sync l
	hf a status l >"$tmp/out"; says out 'lost:' "status says so"
	mkdir -p "$A/mnt/t"
	run 5 "the empty directory below is not taken for it" a sync l
	run 0 "it is stopped with what was confirmed" a offline l
	run 5 "and does not come online without it" a online l
	says err 'mount it, then try again' "says what to do"
	mount -t tmpfs none "$A/mnt"; extra_mounts="$A/mnt"
	run 0 "with the mount it does" a online l
	is "$(find "$A/mnt/t" -type f | wc -l)" 20 "with everything"
	hf a offline l >/dev/null; umount "$A/mnt"; extra_mounts=
else
	ok 0 "a lost mount # SKIP nothing can be mounted here"
fi

# the delete-guard
mkdir -p "$A/g"; for i in $(seq 30); do echo "$i" >"$A/g/$i"; done
hf a resource add g >/dev/null; hf a checkpoint add g /srv/g >/dev/null; hf a online g >/dev/null
rm "$A"/g/[5-9]
run 0 "a handful may go" a sync g
rm "$A"/g/1? "$A"/g/2?
run 5 "more than half may not, without a word" a sync g
says err 'allow-delete' "says which"
hf a status g >"$tmp/out"; says out 'delete-guard:' "status tells that it waits"
run 0 "--allow-delete" a sync g --allow-delete
! hf a status g | grep -q delete-guard; ok $? "and nothing waits"
hf a resource set g delete-guard=100% >/dev/null; rm "$A"/g/*
run 0 "a policy may allow it" a sync g
plan
