#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W3, W8, W9, W10, W12, W15: what is deleted is captured and restored no more; what was changed while
# offline is overwritten and kept aside; a start finds what was restored; a restore that is blocked
# names resource, path and cause; a program may add checkpoints inside its own start.
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv B_=$tmp/b/root/srv
mkdir -p "$A/x" "$A/y"; echo x1 >"$A/x/f"; echo y1 >"$A/y/f"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null; hf a checkpoint add r /srv/x >/dev/null; hf a checkpoint add r /srv/y >/dev/null; hf a online r >/dev/null; ok $? "online"

run 3 "W3: an unknown one is not found" a checkpoint delete r /srv/z
was=$(field a r generation)
run 0 "W3: deleted while online" a checkpoint delete r /srv/y
[ "$(field a r generation)" -gt "$was" ]; ok $? "is a generation of its own"
was=$(field a r generation)
echo y2 >"$A/y/f"
run 0 "sync" a sync r
is "$(field a r generation) $(field a r dirty)" "$was 0" "what changes there is captured no more"
hf a --json diff r >"$tmp/out"; ! grep -q '/srv/y' "$tmp/out"; ok $? "nor compared"
echo x2 >"$A/x/f"; hf a offline r >/dev/null

# W8
mkdir -p "$B_/x"; echo local >"$B_/x/f"; echo mine >"$B_/x/only-here"
run 0 "W8: on the other node" b online r
is "$(cat "$B_/x/f")" x2 "what was there is overwritten"
[ ! -e "$B_/x/only-here" ] && [ ! -e "$B_/y" ]; ok $? "W3: and what was deleted does not come"
id=$(hf b --json displaced list r | $PY -c 'import json,sys; print(json.load(sys.stdin)["sets"][0]["id"])')
run 0 "P7: it is kept aside" b displaced restore r "$id" --to "$B_/back"
is "$(cat "$B_/back/f" "$B_/back/only-here" | tr '\n' ' ')" "local mine " "all of it"

# W9
hf b offline r >/dev/null
echo x3 >"$B_/x/f"; hf b online r --keep-local >/dev/null; hf b offline r >/dev/null
hf a online r >/dev/null && cp "$A/x/f" "$tmp/seen"; is "$(cat "$tmp/seen")" x3 "W9: what starts when online has returned reads what was restored"

# W15: an agent's start, which uses Holdfast for the resource that it starts
mkdir "$A/made"; echo m >"$A/made/f"
cat >"$tmp/start" <<X
#!/bin/sh
set -e
hf="$B/holdfast -c $tmp/a/conf"
\$hf online r
\$hf checkpoint add r /srv/made
\$hf sync r
\$hf status r
X
chmod +x "$tmp/start"; hf a offline r >/dev/null
timeout 60 "$tmp/start" >"$tmp/out" 2>"$tmp/err" </dev/null; ok $? "W15: it may add what it has just made"
says out 'online' "and is online"
hf a offline r >/dev/null

# W12
mkdir -p "$B_/block"; rm -rf "$B_/x"; echo "in the way" >"$B_/x"
run 5 "W12: a restore that is blocked" b online r
says err 'r: /srv/x' "names resource and path"
is "$(field b r state)" offline "P5: nothing comes online"
grep -q '/srv/x' "$tmp/b/log"; ok $? "it is in the log"
rm "$B_/x"; run 0 "when it is out of the way it does" b online r
hf b offline r >/dev/null

# W10
run 0 "W10: the resource is deleted" b resource delete r --yes
hf b --json checkpoint list >"$tmp/out"; says out '"checkpoints":\[\]' "P8: and its checkpoints"
[ -e "$B_/x/f" ]; ok $? "its files stay where they are"
run 3 "and it cannot be brought online" a online r
plan
