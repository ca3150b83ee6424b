#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# L3: old versions: which there are, what differs, one of them beside the tree or in its place. (failover/back.t has more.)
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv/t
mkdir -p "$A"; printf 'one\ntwo\n' >"$A/conf"; echo gone >"$A/old"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; g=$(field a r generation)
printf 'one\nTWO\n' >"$A/conf"; rm "$A/old"; echo new >"$A/new"; hf a sync r >/dev/null; now=$(field a r generation)
run 0 "L3: history" a --json history r
is "$($PY -c "import json; g=[x['generation'] for x in json.load(open('$tmp/out'))['generations']]; print($g in g, $now in g)")" "True True" "lists both"
run 0 "L3: diff" a diff r "$g" "$now" --text
says out '^-two' "what a line was"; says out '^+TWO' "and is"; says out '/srv/t/old' "what went"; says out '/srv/t/new' "what came"
run 0 "L3: an old one, beside" b restore r --generation "$g" --to "$tmp/beside"
is "$(find "$tmp/beside" -type f -exec cat {} + | sort | tr '\n' ' ')" "gone one two " "as it was"
is "$(sed -n 2p "$A/conf")" TWO "the tree is left alone"
run 0 "L3: in its place" a rollback r --to "$g" --yes
is "$(sed -n 2p "$A/conf") $(cat "$A/old") $(ls "$A")" "two gone conf
old" "it is back"
run 0 "and that is a generation" a rollback r --to "$now" --yes
is "$(sed -n 2p "$A/conf")" TWO "from which there is a way back too"
run 3 "one that never was" a diff r 999999
plan
