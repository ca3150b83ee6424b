#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P4: an owner that has nothing to commit learns with its heartbeat that another node has taken over.
. "$(dirname "$0")/lib.sh"
cluster a b
up a && up b; ok $? "two daemons"
mkdir -p "$tmp/a/root/srv/app"
echo one >"$tmp/a/root/srv/app/main"
hf a resource add pg >/dev/null && hf a checkpoint add pg /srv/app >/dev/null; ok $? "a resource"
run 0 "online on a" a online pg
run 0 "taken over by b" b online pg --fenced
until_true 10 field_is a pg owner b; ok $? "a knows, though nobody asked it for anything"
hf a --json status pg | grep -q 'stale:'; ok $? "  and says that it was fenced out"
field_is b pg state online; ok $? "b keeps it"
plan
