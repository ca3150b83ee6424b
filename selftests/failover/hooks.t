#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A hook that takes long holds up the hooks of no other resource.
# shellcheck disable=SC2034	# what lib.sh reads
LEASE=30s
. "$(dirname "$0")/lib.sh"
cluster a
cat >"$tmp/a/hooks/slow" <<EOH
#!/bin/sh
[ -e $tmp/slow ] || exit 0
echo "\$2" >>$tmp/began
sleep 15
EOH
chmod 755 "$tmp/a/hooks/slow" "$tmp/a/hooks"
# those who tell of an event stand in line for a moment, with who is to run it
up a HOLDFAST_SEAM=hooks.queued:0:sleep=100
until_true 60 hf a node list >/dev/null; ok $? "a daemon"
for i in 1 2 3 4 5 6; do
	mkdir -p "$tmp/a/root/srv/$i"; echo one >"$tmp/a/root/srv/$i/f"
	hf a resource add "r$i" >/dev/null && hf a checkpoint add "r$i" "/srv/$i" >/dev/null && hf a online "r$i" >/dev/null || break
done
is "$i" 6 "six resources"
sleep 2
touch "$tmp/slow"
for i in 1 2 3 4 5 6; do echo two >"$tmp/a/root/srv/$i/f"; done
until_true 8 eval '[ "$(sort -u "$tmp/began" | wc -l)" = 6 ]'; why=$(cat "$tmp/began"); [ "$(sort -u "$tmp/began" | wc -l)" = 6 ]; ok $? "a hook of each runs"
plan
