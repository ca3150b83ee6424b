#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What is left out of a tree, how that is changed, and one file as a checkpoint.
. "$(dirname "$0")/lib.sh"
cluster a b
Ar=$tmp/a/root/srv Br=$tmp/b/root/srv
mkdir -p "$Ar/t/cache/deep" "$Ar/t/d/tmp" "$Ar/t/etc" "$Br"
for f in keep a.swp cache/x cache/deep/y d/f d/tmp/z etc/pg.conf etc/pg.log .hidden; do echo "$f" >"$Ar/t/$f"; done
echo 'ALL' >"$Ar/exports"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null; ok $? "a resource"

# what makes no sense is said
run 2 "--include alone takes back in what nothing left out" a checkpoint add r /srv/t --include '*.conf'
says err "exclude '\*' first" "and what to do is said"
run 2 "a pattern that can match nothing" a checkpoint add r /srv/t --exclude 'a['
says err 'can match nothing' "and why"
run 2 "a pattern with the checkpoint's own path" a checkpoint add r /srv/t --exclude /srv/t/cache
says err 'write /cache' "and what to write"
run 2 "patterns for one file" a checkpoint add r /srv/exports --exclude '*.o'

# --exclude and --include in the order given
run 0 "a tree of which some is left out" a checkpoint add r /srv/t --exclude '*.swp' --exclude cache/ \
	--exclude '/etc/*' --include '/etc/*.conf'
hf a --json checkpoint list r >"$tmp/out"
says out '"exclude":\["\*.swp","cache/","/etc/\*","!/etc/\*.conf"\]' "listed in that order"
hf a online r >/dev/null && hf a sync r >/dev/null; ok $? "online on a"
hf a offline r >/dev/null
mkdir -p "$Br/t/cache" "$Br/t/d" "$Br/t/old"
echo here >"$Br/t/cache/mine"; echo here >"$Br/t/d/m.swp"; echo here >"$Br/t/old/o.swp"; echo here >"$Br/t/old/gone"
run 0 "b takes it" b --json online r
says out '"stayed":\["/srv/t/old"\]' "a directory that is not in it stays for what is excluded in it, and is reported"
is "$(cd "$Br/t" && find . -type f | sort | tr '\n' ' ')" \
	"./.hidden ./cache/mine ./d/f ./d/m.swp ./d/tmp/z ./etc/pg.conf ./keep ./old/o.swp " "what is left out was not brought, nor touched"
hf b sync r >/dev/null
echo change >"$Br/t/d/m.swp"; echo more >"$Br/t/cache/more"
g=$(field b r generation)
run 0 "sync" b sync r
is "$(field b r generation)" "$g" "changes of what is left out are no news"

# a directory becomes what is excluded, and the reverse
mkdir "$Br/t/sub"; echo s >"$Br/t/sub/s"
hf b sync r >/dev/null
mv "$Br/t/sub" "$Br/t/d/cache"
run 0 "what is renamed to an excluded name" b sync r
hf b --json diff r "$(field b r generation)" >"$tmp/out"; says out '"changes":\[\]' "is gone from the generation"
mv "$Br/t/d/cache" "$Br/t/back"
run 0 "and is in it again when it is renamed back" b sync r

# other patterns: what is newly excluded leaves the next generation, what is not any more comes in
g=$(field b r generation)
run 2 "checkpoint set wants patterns, or --all" b checkpoint set r /srv/t
run 3 "of a checkpoint that there is" b checkpoint set r /srv/other --all
run 0 "other patterns, while it is online" b checkpoint set r /srv/t --exclude tmp --exclude '*.swp' --exclude /old
says out 'generation' "the generation that goes by them is named"
run 0 "sync" b sync r
hf b --json diff r "$g" "$(field b r generation)" >"$tmp/out"
says out '"rel":"d/tmp/z","change":"removed"' "what is excluded now is out"
says out '"rel":"cache/mine","change":"added"' "what was excluded is in"
based() { hf b --json history r | grep -q '"base":true,"note":"checkpoints changed"\|"note":"checkpoints changed".*"base":true'; }
until_true 10 eval 'hf b --json history r | $PY -c "
import json,sys
g=[x for x in json.load(sys.stdin)[\"generations\"] if x[\"base\"]]
sys.exit(not g or g[-1][\"generation\"] <= $g)"'; ok $? "a base was committed"
run 0 "a asks for all of it" a checkpoint set r /srv/t --all
says out 'generation' "and waits until the owner, b, goes by it"
hf b offline r >/dev/null
rm -rf "$Ar/t"
run 0 "a brings it online" a online r
same a b srv/t; ok $? "all of it"

# the owner died before it went by other patterns: what the generation left out is not in it, and is not to go
hf a checkpoint set r /srv/t --exclude '*.swp' >/dev/null; hf a sync r >/dev/null
echo precious >"$Br/t/b.swp"
crash a
run 0 "patterns that the dead owner never heard of" b checkpoint set r /srv/t --exclude nothing
run 0 "b takes over" b online r --fenced
is "$(cat "$Br/t/b.swp" 2>&1)" precious "P7: what the generation had left out stays"
run 0 "and" b sync r
hf b --json displaced list r >"$tmp/out"; ! grep -q b.swp "$tmp/out"; ok $? "was not taken for a change"
up a
run 0 "is in the next one" b offline r
run 0 "so that a gets it" a online r
is "$(cat "$Ar/t/b.swp" 2>&1)" precious "as it is"

# the owner dies while it cannot capture another tree: what it took in by other patterns was committed, and stays
mkdir -p "$Ar/p1/cache" "$Ar/p2"; echo in >"$Ar/p1/cache/x"; echo 2 >"$Ar/p2/f"
hf a resource add q >/dev/null && hf a checkpoint add q /srv/p1 --exclude cache/ >/dev/null &&
	hf a checkpoint add q /srv/p2 >/dev/null && hf a online q >/dev/null; ok $? "another resource"
g=$(field a q generation)
mv "$Ar/p2" "$Ar/p2.away"
hf a checkpoint set q /srv/p1 --all >/dev/null 2>&1
has_x() { hf a --json diff q "$g" "$(field a q generation)" | grep -q '"rel":"cache/x","change":"added"'; }
until_true 10 has_x; ok $? "other patterns while one of its trees is lost"
crash a
run 0 "b takes over" b online q --fenced
is "$(cat "$Br/p1/cache/x" 2>&1)" in "P1: what was taken in is there"
hf b offline q >/dev/null; mv "$Ar/p2.away" "$Ar/p2"
up a; hf a online r >/dev/null

# one that is excluded from another may be one of its own, and its exclusion stays
hf a checkpoint set r /srv/t --exclude etc >/dev/null
run 0 "what is excluded may be a checkpoint of its own" a checkpoint add r /srv/t/etc
run 5 "then it stays excluded" a checkpoint set r /srv/t --all
hf a checkpoint delete r /srv/t/etc --yes >/dev/null && hf a checkpoint delete r /srv/t --yes >/dev/null

# one file, followed through its directory
run 0 "one file" a checkpoint add r /srv/exports
hf a --json checkpoint list r >"$tmp/out"; says out '"file":true' "is known as one"
is_confirmed() { hf a --json diff r | grep -q '"changes":\[\]'; }
echo 'in place' >>"$Ar/exports"; until_true 10 is_confirmed; ok $? "written in place: followed without a sync"
printf 'renamed\n' >"$Ar/.exports.new" && mv "$Ar/.exports.new" "$Ar/exports"
until_true 10 is_confirmed; ok $? "replaced by rename: followed"
g=$(field a r generation)
echo beside >"$Ar/other"; mkdir "$Ar/dir"; hf a sync r >/dev/null
is "$(field a r generation)" "$g" "what lies beside it is not in it"
rm "$Ar/exports"; hf a sync r >/dev/null
is "$(hf a --json diff r "$g" "$(field a r generation)" | grep -c '"change":"removed"')" 1 "deleted: so the generation has none"
hf a offline r >/dev/null; echo stale >"$Br/exports"
hf b online r >/dev/null; [ ! -e "$Br/exports" ]; ok $? "nor has the node that takes over"
run 0 "what that had is kept aside" b displaced list r; says out '^  /srv/exports  6 B' "under its path"
hf b offline r >/dev/null; hf a online r >/dev/null; ok $? "back on a"
echo 'made again' >"$Ar/exports"; hf a sync r >/dev/null
rm "$Ar/exports"; echo 'and in one go' >"$Ar/exports"; chmod 640 "$Ar/exports"
until_true 10 is_confirmed; ok $? "deleted and made again: followed"
hf a offline r >/dev/null; hf b online r >/dev/null; ok $? "b takes it"
is "$(cat "$Br/exports")$(stat -c %a "$Br/exports")" 'and in one go640' "with its last contents and mode"
[ ! -e "$Br/other" ] && [ ! -e "$Br/dir" ]; ok $? "and nothing from beside it"
mv "$Br/exports" "$Br/exports.old"; ln -s exports.old "$Br/exports"
run 5 "a link in its place is not that file" b sync r
mv "$Br/exports.old" "$Br/exports"; run 0 "until the file is back" b sync r
plan
