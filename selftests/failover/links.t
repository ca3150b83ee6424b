#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A file is changed through one of its names, and that name is gone before anybody looks: events tell of that name
# alone. P1 P3: what is captured by events alone has the change under the other names.
. "$(dirname "$0")/lib.sh"
cluster a b
up a && up b; ok $? "two daemons"
A=$tmp/a/root/srv/t
mkdir -p "$A/d"
for i in 1 2 3; do echo 1111 >"$A/x$i"; ln "$A/x$i" "$A/y$i"; done
echo 1111 >"$A/d/x4"; ln "$A/d/x4" "$A/y4"
hf a resource add h >/dev/null && hf a checkpoint add h /srv/t >/dev/null && hf a online h >/dev/null; ok $? "online"
run 0 "names of files are known" a sync h
change() {
	kill -STOP "${pid[a]}"
	printf '%s\n' "$1" 1<>"$A/x1"; rm "$A/x1"
	printf '%s\n' "$1" 1<>"$A/x2"; echo other >"$A/new"; mv "$A/new" "$A/x2"
	chmod 600 "$A/x3"; mv "$A/x3" "$tmp/a/root/srv/away"
	printf '%s\n' "$1" 1<>"$A/d/x4"; rm -r "$A/d"
	kill -CONT "${pid[a]}"
}
change 2222
run 0 "what events report is synchronised" a sync --quick h
run 0 "diff" a diff h
why=$(cat "$tmp/out"); [ -z "$why" ]; ok $? "the generation is the tree"
cp -a "$A" "$tmp/want"
crash a
run 0 "another node takes over" b online h --fenced
why=$(rsync -aHXc --delete --dry-run -i "$tmp/want/" "$tmp/b/root/srv/t/"); [ -z "$why" ]; ok $? "P1: and has it"
is "$(cat "$tmp/b/root/srv/t/y1" "$tmp/b/root/srv/t/y2" "$tmp/b/root/srv/t/y4"; stat -c %a "$tmp/b/root/srv/t/y3")" "2222
2222
2222
600" "what was changed through a name that was removed, replaced, moved away, or went with its directory"
plan
