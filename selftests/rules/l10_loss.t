#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# L10, P1, P2: tracked changes survive the loss of the daemon, and of the node. The daemon is killed
# while others write, and comes back; what was changed meanwhile is captured. What was confirmed when
# the node dies is on the other one.
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv B_=$tmp/b/root/srv
mkdir -p "$A/t/d"; echo 0 >"$A/t/f"; echo stays >"$A/t/d/s"; echo goes >"$A/t/g"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null && hf a sync r >/dev/null; ok $? "online"

for round in 1 2 3; do
	( i=0; while :; do i=$((i + 1)); echo "$round.$i" >"$A/t/n$((i % 5))"; done ) & w=$!; extra_pids="$extra_pids $w"
	sleep 0.2
	crash a
	# while nobody looks
	echo "away $round" >"$A/t/f"; mv "$A/t/d" "$A/t/d$round"; mkdir "$A/t/d"; echo "new $round" >"$A/t/d/n"; rm -f "$A/t/g"; chmod 640 "$A/t/f"
	kill -KILL $w; wait $w 2>/dev/null
	up a; until_true 20 field_is a r state online; ok $? "killed while others write, the daemon goes on by itself ($round)"
	run 0 "sync" a sync r
	cp -a "$A/t" "$tmp/then"
	crash a
	run 0 "the node is dead: the other takes over" b online r --fenced
	why=$(rsync -aHAXc --delete --dry-run -i "$tmp/then/" "$B_/t/" 2>&1); [ -z "$why" ]; ok $? "P1, P2: with every change, also of when no daemon ran"
	rm -rf "$tmp/then"
	up a; until_true 20 field_is a r owner b; ok $? "the node comes back, and owns nothing"
	hf b offline r >/dev/null; run 0 "and takes it over again" a online r
done

# a stop is not a loss: nor is one that nobody waited for
echo last >"$A/t/f"; down a; ok $? "the daemon is stopped right after a change"
run 0 "the other takes over" b online r --fenced
is "$(cat "$B_/t/f")" last "it was committed on the way out"
plan
