#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An owner that was dead and is back is not taken for dead by who read the heartbeats before it was back.
LEASE=8s
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/lib.sh"
cluster a b
up a && up b; ok $? "two daemons"
mkdir -p "$tmp/b/root/srv/app"
echo one >"$tmp/b/root/srv/app/main"
hf b resource add pg >/dev/null && hf b checkpoint add pg /srv/app >/dev/null; ok $? "a resource"
run 0 "online on b" b online pg
down_by_a() {
	hf a --json node list | $PY -c "
import json,sys
sys.exit(not [n for n in json.load(sys.stdin)['nodes'] if n['name']=='b' and n['state']=='down'])"
}
crash b
until_true 60 down_by_a; ok $? "b dies, and a knows"
# a beat of this lease is longer than b needs
up b && until_true 30 field_is b pg state online; ok $? "b is back, and has it"
run 5 "a is refused" a online pg
says err "is online on b, which is alive" "  and told why"
is "$(field b pg state)" online "b keeps it"
plan
