#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Which source of changes the daemon takes, and what it says when the module is not to be had.
. "$(dirname "$0")/../failover/lib.sh"
cluster a
set_track() { sed -i "/^\[track\]/,\$d" "$tmp/a/conf"; printf '[track]\n%s\nscrub = 0\n' "$1" >>"$tmp/a/conf"; }
source_of() { hf a --json status | $PY -c "import json,sys; d=json.load(sys.stdin); print(d['source'], d.get('source_why', ''))"; }
daemon() { : >"$tmp/err"; timeout 30 "$B/holdfastd" -c "$tmp/a/conf" 2>"$tmp/err"; }

if [ -d /sys/module/holdfast ]; then
	set_track 'source = auto'
	up a; ok $? "starts"
	is "$(source_of)" "kernel " "auto takes the module that is loaded"
	down a
	plan
fi
set_track 'source = kernel'
daemon; is $? 7 "source = kernel without the module: exit 7"
says err "holdfast module load" "and what to do"
set_track 'require = kernel'
daemon; is $? 7 "the same with require = kernel"
set_track 'source = auto'
up a; ok $? "auto starts"
says a/log "without the module: the holdfast module is not loaded" "the log says why not the module"
case $(source_of) in "fanotify the holdfast module is not loaded"*) ok 0 "and so does status" ;; *) ok 1 "and so does status" ;; esac
caps() { capsh --decode="$(sed -n 's/^CapEff:\t//p' "/proc/${pid[a]}/status")"; }
caps | grep -q cap_net_admin; ok $? "it keeps CAP_NET_ADMIN, which the module asks for"
down a
set_track 'source = fanotify'
up a; ok $? "fanotify starts"
caps | grep -vq cap_net_admin; ok $? "and does without"
is "$(source_of)" "fanotify " "and nobody asked for the module"
down a
plan
