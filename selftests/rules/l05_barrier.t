#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# L5: a barrier whose answer covers all that came before it: what was changed before sync was called is in what
# it answers, by events alone (--quick) too, while others go on writing. (P1)
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv/t
mkdir -p "$A/busy"; echo 0 >"$A/f"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online"
hf a resource set r settle=1m >/dev/null	# only the barrier makes them go
( i=0; while :; do i=$((i + 1)); echo "$i" >"$A/busy/$((i % 9))"; mv -f "$A/busy/$((i % 9))" "$A/busy/m$((i % 5))"; done ) 2>/dev/null & w=$!; extra_pids="$extra_pids $w"
bad=0 why_=
for i in $(seq 12); do
	quick=; [ $((i % 2)) = 0 ] && quick=--quick
	echo "$i" >"$A/f"; mkdir "$A/d$i"; echo "$i" >"$A/d$i/in"; ln "$A/f" "$A/d$i/link"; mv "$A/d$i" "$A/e$i"
	g=$(hf a --json sync r $quick | $PY -c 'import json,sys; print(json.load(sys.stdin)["resources"][0]["generation"])')
	rm -rf "$tmp/to"; hf b restore r --generation "$g" --to "$tmp/to" >/dev/null 2>"$tmp/err" || { bad=1; why_="generation $g"; }
	[ "$(cat "$tmp/to"/srv/t/f "$tmp/to/srv/t/e$i/in" 2>&1 | tr '\n' ' ')" = "$i $i " ] || { bad=1; why_="$why_ $i: $(find "$tmp/to" | head -3)"; }
done
kill -KILL $w; wait $w 2>/dev/null
why=$why_; ok $bad "L5: twelve barriers, each with all that came before it"
run 0 "the last one" a sync r
cp -a "$A" "$tmp/then"; crash a
run 0 "the other node" b online r --fenced
why=$(rsync -aHAXc --delete --dry-run -i "$tmp/then/" "$tmp/b/root/srv/t/" 2>&1); [ -z "$why" ]; ok $? "P1: has what it covered"
plan
