#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A root that goes away while its tree is captured: what is missing in it then was not removed.
. "$(dirname "$0")/lib.sh"
cluster a
A=$tmp/a/root/srv
mkdir -p "$A/one/d" "$A/two"
for i in 1 2 3; do echo "first $i" >"$A/one/d/$i"; done
echo first >"$A/two/conf"
up a
hf a resource add r >/dev/null && hf a checkpoint add r /srv/one >/dev/null && hf a checkpoint add r /srv/two >/dev/null &&
	hf a online r >/dev/null && hf a sync r >/dev/null
ok $? "two checkpoints"
down a

# gone NAME HOW: the root goes, as HOW does it, in the middle of a capture that a change of d/1 brought about
gone() {
	up a HOLDFAST_SEAM=capture.names:1:stop
	want="second $1"
	echo "$want" >"$A/one/d/1"
	until_true 20 stopped a
	ok $? "$1: stopped with the names of what has changed"
	echo "$want" >"$A/two/conf"
	eval "$2"
	kill -CONT "${pid[a]}"
	until_true 20 eval '[ "$(shown two/conf)" = "$want" ]'
	ok $? "what has changed in the other tree is committed"
	is "$(shown one/d/1) $(shown one/d/2) $(shown one/d/3)" "first 1 first 2 first 3" "nothing was removed from this one"
	run 5 "sync is refused" a sync r
	says err "/srv/one is gone or not the tree it was" "and says why"
	mkdir -p "$A/one/d"
	for i in 1 2 3; do echo "first $i" >"$A/one/d/$i"; done
	run 0 "until it is back" a sync r
	down a
}
# shown REL: what the newest generation has
shown() {
	rm -rf "$tmp/look"
	hf a restore r --to "$tmp/look" >/dev/null 2>&1
	cat "$tmp/look/srv/$1" 2>/dev/null
}
gone removed 'rm -rf "$A/one"'
gone emptied 'mv "$A/one" "$A/gone" && rm -rf "$A/gone"/*'

# what comes in the place of a registered file cannot be restored as that file: no generation has it
up a
echo first >"$A/file"; echo other >"$A/other"
hf a resource add f >/dev/null && hf a checkpoint add f /srv/file >/dev/null && hf a online f >/dev/null
for by in 'ln -sf other' 'rm -f "$A/file" && mkdir'; do
	eval "$by \"$A/file\""
	run 5 "a file that was replaced by something else (${by%% *}): sync is refused" a sync f
	says err "/srv/file is gone or not the tree it was" "  and says why"
	hf a status f >"$tmp/out" 2>&1
	says out "lost: /srv/file" "  so does status"
	rm -rf "$tmp/look"; hf a restore f --to "$tmp/look" >/dev/null 2>&1
	[ ! -d "$tmp/look/srv/file" ] && [ ! -L "$tmp/look/srv/file" ]; ok $? "  no generation has what came instead"
	rm -rf "$A/file"; echo "again $by" >"$A/file"
	run 0 "until a file is there again" a sync f
	run 0 "  which is captured" a verify f
done
down a
plan
